//! What follows for a job whose attempt ended: whose doing it was, whether it is tried again, when, and where.

use super::state::{Done, State};
use crate::fault::{Fault, Kind};
use crate::health::Verdict;
use crate::id::{AttemptId, HostId, Stamp};
use crate::limit;
use crate::model::{Blame, Event, Outcome, Refusal, Role, Say, Then, Who};
use crate::plan::schedule::Happened;

/// First back-off after a failure that was not the recipe's; doubles with each.
const BACK_OFF_MS: i64 = 5_000;
/// Attempts of a job that were given back without counting; one more counts.
const GIVEN_BACK_MAX: u32 = 20;
/// What failed by a builder's doing is kept away from it for so long, while there is another one.
const ELSEWHERE_MS: u64 = 300_000;
/// Longest back-off.
const BACK_OFF_MS_MAX: i64 = 3_600_000;

impl State {
    /// A builder says how an attempt ended.
    pub(super) async fn ended(
        &mut self,
        from: HostId,
        attempt: AttemptId,
        outcome: Outcome,
    ) -> Done<()> {
        let who = Who::Key(from);
        let mut ended_by = None;
        let answer = match outcome {
            Outcome::Built { artefacts, usage } => {
                let bytes = artefacts.iter().map(|artefact| artefact.blob.size).sum();
                let artefacts = u32::try_from(artefacts.len()).unwrap_or(u32::MAX);
                self.note_end(from, attempt, None).await?;
                let built = Event::Built {
                    attempt,
                    artefacts,
                    bytes,
                };
                // In one commit, and the measures after the fact that they are about.
                let measured = Event::Measured { attempt, usage };
                let events = vec![(who.clone(), built), (who, measured)];
                let mut answers = self.record(events).await?.into_iter();
                answers.next().unwrap_or(Err(Refusal::Repeat))
            }
            Outcome::Failed {
                blame,
                phase,
                fault,
                usage: _,
            } => {
                let weighed = self.weigh_blame(attempt, from, blame, &fault);
                let mut fault = fault.bounded();
                if weighed != blame {
                    fault
                        .causes
                        .insert(0, "it failed like this on two builders".into());
                    fault.kind = Kind::Recipe;
                }
                let blame = weighed;
                let then = self.then(attempt, blame, &fault);
                ended_by = Some((blame, fault.kind));
                if let Some(phase) = phase.filter(|phase| !fault.what.contains(phase.as_str())) {
                    fault.what = format!("{phase}: {}", fault.what);
                }
                self.record_one(
                    who,
                    Event::AttemptEnded {
                        attempt,
                        blame,
                        fault,
                        then,
                    },
                )
                .await?
            }
            // A builder that measures what it was to build made nothing.
            Outcome::Cancelled | Outcome::Timed { .. } => {
                let fault = Fault::new(Kind::TryAgain, "the builder stopped it");
                let then = Then::Again {
                    not_before: None,
                    counts: false,
                };
                self.record_one(
                    who,
                    Event::AttemptEnded {
                        attempt,
                        blame: Blame::Operator,
                        fault,
                        then,
                    },
                )
                .await?
            }
        };
        if let (Ok(()), Some((blame, _))) = (&answer, ended_by) {
            if blame == Blame::Builder {
                self.prefer_elsewhere(attempt, from);
            }
            self.note_end(from, attempt, ended_by).await?;
        }
        match answer {
            Ok(()) | Err(Refusal::Repeat) => {
                self.args
                    .post
                    .say(from, Role::Avalanche, Say::Heard { attempt })
            }
            Err(refusal) => {
                tracing::warn!(%attempt, %refusal, "a report came too late; the builder may forget it");
                self.stop_attempt(attempt, from, &refusal.to_string());
            }
        }
        Ok(())
    }

    /// What failed by a builder's doing is built by another one for a while, if there is one: the same machine would most
    /// likely fail in the same way, and two hosts tell whose doing it was.
    fn prefer_elsewhere(&mut self, attempt: AttemptId, from: HostId) {
        let now = crate::actors::now();
        let Some(here) = self.builders.get(&from).map(|known| known.report.clone()) else {
            return;
        };
        let lease_ms = self.lease_ms();
        let others = self.builders.iter().any(|(id, known)| {
            let report = &known.report;
            *id != from
                && now.mono_ms.saturating_sub(known.heard_ms) <= lease_ms
                && self.stop_word(id).is_none()
                && report.leaving.is_none()
                && !report.slot_cores.is_empty()
                && report.arch == here.arch
                && here
                    .levels
                    .iter()
                    .all(|level| report.levels.contains(level))
                && self.trust_of(*id) == self.trust_of(from)
                && matches!(report.judgement.verdict, Verdict::Fit | Verdict::Stalled)
        });
        if others {
            let happened = Happened::Refused {
                job: attempt.job,
                builder: from,
                why: format!("try {} failed there by the builder's doing", attempt.try_no).into(),
                until_ms: now.mono_ms + ELSEWHERE_MS,
            };
            self.schedule.take(happened, now);
        }
    }

    /// What follows for the job of an attempt that made nothing.
    pub(super) fn then(&self, attempt: AttemptId, blame: Blame, fault: &Fault) -> Then {
        let Some(job) = self.farm.jobs.get(&attempt.job) else {
            return Then::Over;
        };
        if job.state.is_over() {
            return Then::Over;
        }
        let given_back = fault.kind == Kind::TryAgain;
        let tries_max = match blame {
            Blame::Recipe | Blame::Operator => 1,
            Blame::Upstream => limit::UPSTREAM_ATTEMPTS_MAX,
            Blame::Builder | Blame::Network => limit::TRIES_MAX,
        };
        let wait = |ms: i64| Some(Stamp(crate::actors::now().wall.0 + ms));
        if given_back {
            // One that is given back again and again (it fills every disk) waits longer each time, and in the end it counts.
            let uncounted = job.tries.saturating_sub(job.failures);
            let wait_ms = 1_000_i64 << uncounted.saturating_sub(1).min(8);
            return Then::Again {
                not_before: wait(wait_ms),
                counts: uncounted > GIVEN_BACK_MAX,
            };
        }
        if job.failures + 1 >= tries_max {
            return Then::GiveUp;
        }
        let wait_ms = BACK_OFF_MS
            .saturating_mul(1 << job.failures.min(16))
            .min(BACK_OFF_MS_MAX);
        Then::Again {
            not_before: wait(wait_ms),
            counts: true,
        }
    }
}
