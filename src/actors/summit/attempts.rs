//! What builders and vessel report, and leases.

use super::state::{Builder, Done, Progress, State};
use super::tries::is_try;
use crate::admin::view::MadeView;
use crate::fault::{Fault, Kind};
use crate::health::Verdict;
use crate::id::{AttemptId, HostId, Stamp};
use crate::model::proof::is_comparison;
use crate::model::{
    AttemptState, Blame, BuilderReport, Event, JobState, Outcome, PeerTrust, Refusal, Role, Say,
    Then, Who,
};
use crate::plan::schedule::{BuilderSpec, Happened, Isolation, Trust};

/// A builder that is not heard of for this many leases takes no work.
const SILENT_LEASES: u64 = 1;
/// A builder that built something and went away has so many leases to come back with it, and at least a minute and a half:
/// building it again costs more than waiting.
const UNFETCHED_LEASES: u64 = 4;
const UNFETCHED_MS_MIN: u64 = 90_000;
/// How long a builder is left alone whose slot is still being cleared of a build that was stopped, in milliseconds;
/// doubles with each try.
const BUSY_MS: u64 = 500;
/// First pause after a refusal; where a person has to mend something it doubles with each try, up to ten minutes.
const REFUSED_MS: u64 = 10_000;

impl State {
    /// One message of a host.
    pub async fn said(&mut self, from: HostId, say: Say) -> Done<()> {
        if let Some(attempt) = about(&say).filter(|attempt| is_try(attempt.job)) {
            return self.trial_said(from, attempt, say).await;
        }
        if let Some(attempt) = about(&say).filter(|attempt| is_comparison(attempt.job)) {
            return self.comparison_said(from, attempt, say).await;
        }
        match say {
            Say::Report(report) => self.reported(from, *report),
            Say::Renew { attempts } => self.renewed(from, &attempts),
            Say::Progress {
                attempt,
                stage,
                elapsed_s,
                log_bytes,
                doing,
            } if self.holds(from, attempt) => {
                self.progress.insert(
                    attempt,
                    Progress {
                        stage,
                        elapsed_s,
                        log_bytes,
                        doing,
                    },
                );
            }
            Say::Measured(measures) if self.owns(from, measures.attempt) => {
                self.ward_said(from, Say::Measured(measures)).await?
            }
            // Of a canary, which has no row.
            Say::Measured(_) => {}
            Say::Glanced { attempt, .. } | Say::Moved { attempt, .. }
                if self.holds(from, attempt) =>
            {
                self.ward_said(from, say).await?
            }
            Say::Vitals(_)
            | Say::Confined { .. }
            | Say::Processor { .. }
            | Say::Shares { .. }
            | Say::Caches { .. }
            | Say::Cached { .. }
            | Say::Base { .. } => {
                self.ward_said(from, say).await?;
            }
            Say::StoodOn(stood) if self.owns(from, stood.attempt) => {
                let events = self.stood_events(from, stood);
                self.record(events).await?;
            }
            // Of a canary, which has no row.
            Say::StoodOn(_) => {}
            Say::Accepted { attempt }
            | Say::Progress { attempt, .. }
            | Say::Glanced { attempt, .. }
            | Say::Moved { attempt, .. }
                if self.is_canary(from, attempt) => {}
            Say::Refused { attempt, why } if self.is_canary(from, attempt) => {
                let usage = crate::model::Usage::default();
                let outcome = Outcome::Failed {
                    blame: Blame::Builder,
                    phase: None,
                    fault: why,
                    usage,
                };
                self.canary_ended(from, attempt, &outcome).await?
            }
            Say::Ended { attempt, outcome } if self.is_canary(from, attempt) => {
                self.canary_ended(from, attempt, &outcome).await?
            }
            // A canary of an earlier process of summit: nobody waits for it.
            Say::Ended { attempt, .. } if attempt.job == super::builders::CANARY => {
                let heard = Say::Heard { attempt };
                self.args.post.say(from, Role::Avalanche, heard);
                self.stop_attempt(attempt, from, "nobody waits for this canary any more");
            }
            Say::Accepted { attempt } if self.owns(from, attempt) => {
                match self
                    .record_one(Who::Key(from), Event::Accepted { attempt })
                    .await?
                {
                    Ok(()) | Err(Refusal::Repeat) => {}
                    Err(refusal) => self.stop_attempt(attempt, from, &refusal.to_string()),
                }
            }
            Say::Refused { attempt, why } if self.owns(from, attempt) => {
                let now = crate::actors::now();
                // What only a person can mend on that builder is asked for less and less often.
                let tried = self.farm.jobs.get(&attempt.job).map_or(0, |job| job.tries);
                let doubled = match why.kind {
                    Kind::Operator => tried.saturating_sub(1).min(6),
                    _ => 0,
                };
                let pause_ms = match why.kind {
                    Kind::TryAgain => BUSY_MS << tried.saturating_sub(1).min(5),
                    _ => REFUSED_MS << doubled,
                };
                let until_ms = now.mono_ms + pause_ms;
                let happened = Happened::Refused {
                    job: attempt.job,
                    builder: from,
                    why: why.what.clone().into(),
                    until_ms,
                };
                self.schedule.take(happened, now);
                let then = Then::Again {
                    not_before: None,
                    counts: false,
                };
                let event = Event::AttemptEnded {
                    attempt,
                    blame: Blame::Builder,
                    fault: why.bounded(),
                    then,
                };
                self.record_one(Who::Key(from), event).await?.ok();
            }
            Say::Ended { attempt, outcome } if self.owns(from, attempt) => {
                self.ended(from, attempt, outcome).await?
            }
            Say::Published {
                attempt,
                channel,
                version,
            } if from == self.vessel() => {
                self.channels_moved();
                let event = Event::Published {
                    attempt,
                    channel,
                    version,
                };
                if let Err(refusal) = self.record_one(Who::Key(from), event).await?
                    && refusal != Refusal::Repeat
                {
                    tracing::warn!(%attempt, %refusal, "vessel published what the farm does not know");
                }
                crate::actors::kill_point("summit:published-recorded");
            }
            Say::Staged { attempt } if from == self.vessel() => self.staged(attempt),
            Say::Rejected {
                attempt,
                blame,
                why,
            } if from == self.vessel() => {
                let then = self.then(attempt, blame, &why);
                let text = format!("offered what cannot be published: {why}");
                let event = Event::AttemptEnded {
                    attempt,
                    blame,
                    fault: why.bounded(),
                    then,
                };
                self.record_one(Who::Key(from), event).await?.ok();
                if let Some(builder) = self.farm.attempts.get(&attempt).map(|known| known.builder) {
                    if blame == Blame::Builder {
                        // Its key stands in the audit trail. Whether that was a lie or a bad disk, its next builds show.
                        self.args.post.not_taken(builder, &text);
                        let failed = Some((blame, Kind::Builder));
                        self.note_end(builder, attempt, failed).await?;
                    }
                    self.stop_attempt(attempt, builder, "vessel refused what it made");
                }
            }
            // One that was taken away meanwhile; the builder is told with its next sign of life.
            Say::Progress { .. } | Say::Glanced { .. } | Say::Moved { .. } => {}
            other => {
                tracing::debug!(?other, "not heard");
                self.args
                    .post
                    .misbehaved(from, "speaks of an attempt that is not its own");
            }
        }
        Ok(())
    }

    /// The key of a builder was revoked: what it holds goes elsewhere, also what it built and nobody fetched yet.
    pub async fn builder_gone(&mut self, builder: HostId) -> Done<()> {
        self.builders.remove(&builder);
        let now = crate::actors::now();
        let live = self.farm.attempts.values();
        let live: Vec<AttemptId> = live
            .filter(|attempt| attempt.builder == builder && attempt.state.is_live())
            .map(|attempt| attempt.id)
            .collect();
        for attempt in live {
            self.take_away(attempt, builder, "the key of its builder was revoked")
                .await?;
        }
        self.schedule.take(Happened::BuilderGone(builder), now);
        Ok(())
    }

    /// Ends an attempt that its builder cannot end any more. It costs the job no try.
    pub(super) async fn take_away(
        &mut self,
        attempt: AttemptId,
        builder: HostId,
        why: &str,
    ) -> Done<()> {
        let fault = Fault::new(Kind::TryAgain, why).next("the job goes to another builder");
        let then = self.then(attempt, Blame::Builder, &fault);
        let fault = Fault {
            kind: Kind::Builder,
            ..fault
        };
        let event = Event::AttemptEnded {
            attempt,
            blame: Blame::Builder,
            fault,
            then,
        };
        self.record_one(Who::Farm, event).await?.ok();
        self.stop_attempt(attempt, builder, why);
        Ok(())
    }

    /// Attempts that were built, and whose builder went away before vessel had everything.
    async fn take_away_unfetched(&mut self, now_ms: u64) -> Done<()> {
        let patience_ms = (self.lease_ms() * UNFETCHED_LEASES).max(UNFETCHED_MS_MIN);
        let busy = self
            .open
            .iter()
            .filter_map(|job| self.farm.live_attempt(*job));
        let lost: Vec<(AttemptId, HostId)> = busy
            .filter(|attempt| attempt.state == AttemptState::Built)
            .filter(|attempt| attempt.builder != self.args.own && !self.is_staged(attempt.id))
            .filter(|attempt| {
                let heard_ms = self.builders.get(&attempt.builder).map(|b| b.heard_ms);
                now_ms.saturating_sub(heard_ms.unwrap_or(0)) > patience_ms
            })
            .map(|attempt| (attempt.id, attempt.builder))
            .collect();
        for (attempt, builder) in lost {
            let why = "its builder went away with what it had built";
            self.take_away(attempt, builder, why).await?;
        }
        Ok(())
    }

    /// What this host built that was published since then, the newest first.
    pub fn made_by(&self, builder: HostId, since: Option<Stamp>) -> Vec<MadeView> {
        let mut made: Vec<MadeView> = self
            .farm
            .attempts
            .values()
            .filter(|attempt| attempt.builder == builder)
            .filter(|attempt| matches!(attempt.state, AttemptState::Published { .. }))
            .filter(|attempt| since.is_none_or(|since| attempt.assigned >= since))
            .filter_map(|attempt| {
                let job = self.farm.jobs.get(&attempt.id.job)?;
                Some(MadeView {
                    job: attempt.id.job,
                    try_no: attempt.id.try_no,
                    recipe: job.target.recipe.clone(),
                    version: job.version.clone(),
                    release: job.release,
                    assigned: attempt.assigned,
                })
            })
            .collect();
        made.sort_by_key(|made| std::cmp::Reverse(made.assigned));
        made
    }

    pub(super) fn trust_of(&self, host: HostId) -> Trust {
        match self.args.post.trust_of(host) {
            PeerTrust::Trusted => Trust::Trusted,
            PeerTrust::Test => Trust::Test,
        }
    }

    /// Whether this host was given that attempt.
    fn owns(&self, host: HostId, attempt: AttemptId) -> bool {
        self.farm
            .attempts
            .get(&attempt)
            .is_some_and(|known| known.builder == host)
    }

    /// Whether that attempt is running there, as far as the rows know.
    fn holds(&self, host: HostId, attempt: AttemptId) -> bool {
        self.farm.attempts.get(&attempt).is_some_and(|known| {
            known.builder == host
                && matches!(known.state, AttemptState::Assigned | AttemptState::Building)
        })
    }

    fn reported(&mut self, from: HostId, mut report: BuilderReport) {
        let now = crate::actors::now();
        // What a host is called is decided here, not by the host.
        if let Some(name) = self.args.post.name_of(from) {
            report.name = name;
        }
        self.keep_moment(from, &report);
        let largest = self.schedule.largest();
        self.builders.insert(
            from,
            Builder {
                report,
                heard_ms: now.mono_ms,
            },
        );
        self.refresh_builder(from, None);
        // After a restart, what runs there is known from the rows before the builder is.
        let live: Vec<AttemptId> = self.leases.keys().copied().collect();
        for attempt in live {
            if self.holds(from, attempt) {
                self.book_running(attempt.job, now);
            }
        }
        // What jobs ask for is bounded by the largest builder. Free disk moves all the time, and only its growth frees anybody.
        let now_largest = self.schedule.largest();
        let fixed = |most: crate::plan::schedule::Largest| {
            (most.memory_mib, most.slot_memory_mib, most.cores)
        };
        if largest.map(fixed) != now_largest.map(fixed) || largest.is_none() {
            self.ask_anew();
        }
    }

    /// Tells the schedule again what open jobs ask for.
    fn ask_anew(&mut self) {
        let now = crate::actors::now();
        let open: Vec<_> = self.open.iter().copied().collect();
        for id in open {
            // Jobs that the schedule does not have wait for something else: a time, or what an attempt made.
            if let Some(path_s) = self.schedule.path_s(id)
                && let Some(job) = self.farm.jobs.get(&id).cloned()
                && let Some(mut spec) = self.job_spec(&job)
            {
                spec.path_s = path_s;
                self.schedule.take(Happened::Added(spec), now);
            }
        }
    }

    fn renewed(&mut self, from: HostId, attempts: &[AttemptId]) {
        let now = crate::actors::now();
        if let Some(builder) = self.builders.get_mut(&from) {
            builder.heard_ms = now.mono_ms;
        }
        for attempt in attempts {
            if self.holds(from, *attempt)
                && self
                    .farm
                    .live_attempt(attempt.job)
                    .is_some_and(|live| live.id == *attempt)
            {
                self.leases.insert(*attempt, now.mono_ms + self.lease_ms());
            } else if !self.is_canary(from, *attempt)
                && !self.holds_trial(from, *attempt)
                && !self.holds_comparison(from, *attempt)
            {
                self.stop_attempt(*attempt, from, "it is not yours any more");
            }
        }
    }

    /// Tells a builder that an attempt is not wanted, and vessel not to expect it.
    pub fn stop_attempt(&self, attempt: AttemptId, builder: HostId, why: &str) {
        self.args.post.say(
            builder,
            Role::Avalanche,
            Say::Cancel {
                attempt,
                why: why.to_string(),
            },
        );
        self.args
            .post
            .say(self.vessel(), Role::Vessel, Say::Forget { attempt });
    }

    /// Ends attempts without news, and takes silent builders out of the count.
    pub async fn tick(&mut self) -> Done<()> {
        let now = crate::actors::now();
        let expired: Vec<AttemptId> = self
            .leases
            .iter()
            .filter(|(_, until)| **until <= now.mono_ms)
            .map(|(attempt, _)| *attempt)
            .collect();
        for attempt in expired {
            self.leases.remove(&attempt);
            let Some(builder) = self.farm.attempts.get(&attempt).map(|known| known.builder) else {
                continue;
            };
            let seconds = self.args.lease.as_secs();
            let fault = Fault::new(
                Kind::Builder,
                format!("no news of the builder for {seconds} s"),
            )
            .next("look at the builder; the job goes elsewhere");
            let then = Then::Again {
                not_before: None,
                counts: false,
            };
            self.record_one(
                Who::Farm,
                Event::AttemptEnded {
                    attempt,
                    blame: Blame::Builder,
                    fault,
                    then,
                },
            )
            .await?
            .ok();
            self.stop_attempt(attempt, builder, "its lease ended");
        }
        let over = self.holds_over(now.wall);
        if !over.is_empty() {
            self.record(over).await?;
        }
        self.record_alarms(now.mono_ms).await?;
        self.walk_on().await?;
        self.forget_past_jobs().await?;
        self.take_away_unfetched(now.mono_ms).await?;
        let silent_ms = self.lease_ms() * SILENT_LEASES;
        let silent: Vec<(HostId, u64)> = self
            .builders
            .iter()
            .map(|(id, builder)| (*id, now.mono_ms.saturating_sub(builder.heard_ms)))
            .filter(|(_, silent)| *silent > silent_ms)
            .collect();
        for (id, ms) in silent {
            self.refresh_builder(id, Some(format!("not heard of for {} s", ms / 1000)));
        }
        self.tend_trials().await?;
        self.tend_proven();
        self.tend_comparisons();
        self.tend_builders().await
    }

    /// The time until the next look.
    pub fn until_tick(&self) -> std::time::Duration {
        let busy = !self.leases.is_empty()
            || !self.open.is_empty()
            || !self.trials.are_over()
            || self.reconcile.is_walking()
            || self.may_compare();
        if busy {
            super::TICK_BUSY
        } else {
            super::TICK_IDLE
        }
    }

    /// The host that publishes now.
    pub fn vessel(&self) -> crate::id::HostId {
        self.args.post.vessel()
    }

    /// A host is there (again): says what it may have missed.
    pub fn peer_up(&mut self, peer: HostId) {
        if peer == self.vessel() && peer != self.args.own {
            for profile in self.farm.profiles.values() {
                self.open_channel(profile);
            }
        }
        let lease_ms = self.lease_ms();
        self.args
            .post
            .say(peer, Role::Avalanche, Say::Terms { lease_ms });
        self.tell_trials_again(peer);
        self.canary_soon(peer);
        let live: Vec<_> = self
            .farm
            .attempts
            .values()
            .filter(|attempt| attempt.state.is_live())
            .map(|attempt| attempt.id)
            .collect();
        for attempt in live {
            let Some(known) = self.farm.attempts.get(&attempt).cloned() else {
                continue;
            };
            if self
                .farm
                .jobs
                .get(&attempt.job)
                .is_none_or(|job| job.tries != attempt.try_no || job.state.is_over())
            {
                continue;
            }
            if known.builder == peer || peer == self.vessel() {
                self.prepare_order(attempt);
            }
        }
    }

    /// Whether a job is being built or published.
    pub fn is_busy(&self, job: crate::id::JobId) -> bool {
        let state = self.farm.jobs.get(&job).map(|job| job.state);
        matches!(state, Some(JobState::Building | JobState::Publishing))
    }
}

/// The attempt that something said is about.
fn about(say: &Say) -> Option<AttemptId> {
    match say {
        Say::Cancel { attempt, .. }
        | Say::Heard { attempt }
        | Say::Forget { attempt }
        | Say::Accepted { attempt }
        | Say::Refused { attempt, .. }
        | Say::Progress { attempt, .. }
        | Say::Ended { attempt, .. }
        | Say::Offer { attempt, .. }
        | Say::Receipt { attempt }
        | Say::Unexpected { attempt }
        | Say::Published { attempt, .. }
        | Say::Rejected { attempt, .. }
        | Say::Examine { attempt, .. }
        | Say::Examined { attempt, .. }
        | Say::Staged { attempt }
        | Say::Glanced { attempt, .. }
        | Say::Moved { attempt, .. } => Some(*attempt),
        Say::Measured(measures) => Some(measures.attempt),
        Say::StoodOn(stood) => Some(stood.attempt),
        Say::BuildWith { order, .. }
        | Say::BuildCached { order, .. }
        | Say::Measure { order, .. } => Some(order.attempt),
        Say::Build(_)
        | Say::Expect(_)
        | Say::Stage(_)
        | Say::Report(_)
        | Say::Renew { .. }
        | Say::Vitals(_)
        | Say::Confined { .. }
        | Say::Processor { .. }
        | Say::Shares { .. }
        | Say::Caches { .. }
        | Say::Cached { .. }
        | Say::Base { .. }
        | Say::Terms { .. }
        | Say::Open { .. } => None,
    }
}

/// A builder as the dispatcher sees it.
pub fn builder_spec(id: HostId, report: &BuilderReport, silent: Option<String>) -> BuilderSpec {
    let away =
        silent
            .or_else(|| report.leaving.clone())
            .or_else(|| match report.judgement.verdict {
                Verdict::Fit | Verdict::Stalled => None,
                Verdict::Low | Verdict::Unknown => {
                    let evidence = report.judgement.evidence.join("; ");
                    Some(format!("{}: {evidence}", report.judgement.verdict.as_str()))
                }
            });
    let mib =
        |bytes: Option<u64>| bytes.map(|bytes| u32::try_from(bytes >> 20).unwrap_or(u32::MAX));
    BuilderSpec {
        id,
        name: report.name.clone(),
        archs: vec![report.arch],
        level: report
            .levels
            .iter()
            .copied()
            .max()
            .unwrap_or(crate::model::IsaLevel::Baseline),
        trust: Trust::Trusted,
        isolation: Isolation::Sandbox,
        slots: u32::try_from(report.slot_cores.len()).unwrap_or(u32::MAX),
        cores: report.slot_cores.iter().sum(),
        memory_mib: mib(report.memory_bytes),
        slot_memory_mib: None,
        disk_mib: mib(report
            .sample
            .disks
            .iter()
            .map(|disk| disk.free_bytes)
            .min()
            .flatten()),
        disk_whole_mib: mib(report
            .sample
            .disks
            .iter()
            .map(|disk| disk.total_bytes)
            .min()
            .flatten()),
        speed: 1.0,
        away: away.map(Into::into),
    }
}
