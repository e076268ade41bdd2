//! `massif try`: a recipe that is in no repository, built on the farm with the same rules. A try is no job: it is kept
//! until its owner has what came out, and what it made goes nowhere but to a channel that its owner named. Sole writer of
//! the tree `try`.

mod bring;
mod order;

use std::collections::BTreeMap;

use self::order::read_packed;
use super::super::avalanche::builder;
use super::state::{Done, State};
use crate::admin::summit::{Tried, Try, TryDone, TryPage, TryShow};
use crate::admin::view::FaultView;
use crate::fault::{Fault, Kind, Result};
use crate::health::Verdict;
use crate::id::{AttemptId, Digest, HostId, JobId, Stamp};
use crate::limit;
use crate::model::{Artefact, Blame, BuildOrder, Expectation, Outcome, Profile, Role, Say};
use crate::store::WriteSet;
use crate::store::tries::{TryRow, TryStage};

/// Tries have numbers from here on, far above any job's.
const FIRST: u64 = 1 << 62;
/// Tries that are remembered; the oldest that ended goes first.
const REMEMBERED: usize = 64;
/// A try whose owner does not come back is forgotten after this long.
const FORGET_MS: u64 = 3_600_000;
/// Pause after a builder refused.
const REFUSED_MS: u64 = 2_000;
/// Times that a try is built again because its builder gave it back: it was restarted, or its disk was full.
const GIVEN_BACK_MAX: u32 = 5;

/// Whether this is the number of a try.
pub fn is_try(job: JobId) -> bool {
    job.0 >= FIRST && job.0 != u64::MAX
}

#[derive(Debug)]
enum Standing {
    Waiting(String),
    Building,
    Publishing,
    Built,
    Published(String),
    Failed(Blame, Fault),
}

/// One try.
#[derive(Debug)]
struct Trial {
    order: BuildOrder,
    /// Only on this builder.
    on: Option<HostId>,
    /// It is published, into the channel of its order.
    publishes: bool,
    builder: Option<HostId>,
    standing: Standing,
    not_before_ms: u64,
    changed_ms: u64,
    phase: Option<String>,
    log_bytes: u64,
    /// Seconds that it should take; a restart forgets it.
    expected_s: Option<f64>,
    given_back: u32,
    /// The blob that holds the order.
    stored: Digest,
    /// When it changed last, by the wall's clock: what a restart remembers.
    changed: Stamp,
    /// What another host made of it, once it is here.
    made: Vec<Artefact>,
    /// That is on its way.
    coming: bool,
}

impl Trial {
    fn is_over(&self) -> bool {
        matches!(
            self.standing,
            Standing::Built | Standing::Published(_) | Standing::Failed(..)
        )
    }

    fn stand(&mut self, standing: Standing) {
        let now = crate::actors::now();
        self.standing = standing;
        self.changed_ms = now.mono_ms;
        self.changed = now.wall;
    }

    fn row(&self) -> TryRow {
        TryRow {
            id: self.order.attempt.job,
            order: self.stored,
            on: self.on,
            publishes: self.publishes,
            builder: self.builder,
            stage: match &self.standing {
                Standing::Waiting(_) => TryStage::Waiting,
                Standing::Building => TryStage::Building,
                Standing::Publishing => TryStage::Publishing,
                Standing::Built => TryStage::Built,
                Standing::Published(text) => TryStage::Published(text.clone()),
                Standing::Failed(blame, fault) => TryStage::Failed(*blame, fault.clone().bounded()),
            },
            changed: self.changed,
            given_back: self.given_back,
        }
    }

    /// The same after a restart. Its time to be forgotten counts anew.
    fn of(row: TryRow, order: BuildOrder) -> Trial {
        Trial {
            order,
            on: row.on,
            publishes: row.publishes,
            builder: row.builder,
            standing: match row.stage {
                TryStage::Waiting => Standing::Waiting("the farm was restarted".into()),
                TryStage::Building => Standing::Building,
                TryStage::Publishing => Standing::Publishing,
                TryStage::Built => Standing::Built,
                TryStage::Published(text) => Standing::Published(text),
                TryStage::Failed(blame, fault) => Standing::Failed(blame, fault),
            },
            not_before_ms: 0,
            changed_ms: crate::actors::now().mono_ms,
            phase: None,
            log_bytes: 0,
            expected_s: None,
            given_back: row.given_back,
            stored: row.order,
            changed: row.changed,
            made: Vec::new(),
            coming: false,
        }
    }

    /// Its builder does not have it (any more): another one, or the same one later.
    fn wait_again(&mut self, why: String) {
        self.builder = None;
        self.not_before_ms = crate::actors::now().mono_ms + REFUSED_MS;
        (self.phase, self.log_bytes) = (None, 0);
        self.stand(Standing::Waiting(why));
    }

    /// Its build failed. What was the builder's doing is tried again, as it would be for a job.
    fn failed(&mut self, blame: Blame, fault: Fault) {
        let again = matches!(blame, Blame::Builder | Blame::Network);
        if again && self.given_back < GIVEN_BACK_MAX {
            self.given_back += 1;
            self.wait_again(fault.what);
        } else {
            self.stand(Standing::Failed(blame, fault));
        }
    }

    fn expectation(&self) -> Option<Expectation> {
        let (order, builder) = (&self.order, self.builder?);
        self.publishes.then(|| Expectation {
            attempt: order.attempt,
            builder,
            source: order.recipe.clone(),
            version: order.version.clone(),
            release: order.release,
            build_release: order.build_release,
            arch: order.profile.arch,
            channel: order.profile.channel.clone(),
        })
    }
}

/// All tries, by number.
#[derive(Default)]
pub struct Trials(BTreeMap<JobId, Trial>);

impl Trials {
    /// Whether none of them waits or runs.
    pub fn are_over(&self) -> bool {
        self.0.values().all(Trial::is_over)
    }
}

impl State {
    /// Tries of an earlier process of summit; after a start.
    pub fn know_trials(&mut self) -> Result<()> {
        for row in self.args.store.scan::<TryRow>() {
            let row = row?;
            let bytes = self
                .args
                .blobs
                .read(&row.order, limit::FRAME_BYTES_MAX as u64);
            let order = bytes.and_then(|bytes| {
                postcard::from_bytes(&bytes).map_err(|error| {
                    Fault::bug(format!("the order {} cannot be read", row.order)).because(&error)
                })
            });
            match order {
                Ok(order) => {
                    let id = row.id;
                    let mut trial = Trial::of(row, order);
                    // What had come is gone with the process; its builder keeps it and says so again.
                    let far = trial
                        .builder
                        .is_some_and(|builder| builder != self.args.own);
                    if far && matches!(trial.standing, Standing::Built) {
                        trial.standing = Standing::Building;
                    }
                    self.trials.0.insert(id, trial);
                }
                Err(fault) => tracing::warn!(%fault, id = %row.id, "a try is lost"),
            }
        }
        Ok(())
    }

    async fn keep_trial(&self, id: JobId) -> Done<()> {
        let mut set = WriteSet::new();
        match self.trials.0.get(&id) {
            Some(trial) => set.put(&trial.row()),
            None => set.delete::<TryRow>(&id),
        };
        self.args.store.commit_async(set).await?;
        Ok(())
    }

    /// A host is there (again): what it may have missed of tries.
    pub fn tell_trials_again(&self, peer: HostId) {
        for trial in self.trials.0.values() {
            let live = matches!(trial.standing, Standing::Building | Standing::Publishing);
            if !live || trial.builder != Some(peer) && peer != self.vessel() {
                continue;
            }
            self.send_trial(trial);
        }
    }

    /// Tells vessel and the builder of a try; repeats are no-ops there.
    fn send_trial(&self, trial: &Trial) {
        let Some(builder) = trial.builder else {
            return;
        };
        if let Some(expectation) = trial.expectation() {
            let say = Say::Expect(Box::new(expectation));
            self.args.post.say(self.vessel(), Role::Vessel, say);
        }
        let say = self.order_said(trial.order.clone());
        self.args.post.say(builder, Role::Avalanche, say);
    }

    /// `try`: takes a recipe whose packed directory was uploaded before.
    pub async fn try_recipe(&mut self, wish: &Try) -> Done<Result<Tried>> {
        if self.bases_pending > 0 {
            return Ok(Err(Fault::new(
                Kind::TryAgain,
                "what the bases of the profiles provide is still being looked at",
            )
            .next("try again in a moment")));
        }
        let (blobs, tar) = (self.args.blobs.clone(), wish.recipe_tar);
        let read = tokio::task::spawn_blocking(move || {
            let bytes = blobs.read(&tar, limit::RECIPE_PACK_BYTES_MAX)?;
            Ok::<_, Fault>((bytes.len() as u64, read_packed(&bytes)?))
        });
        let prepared = match read.await? {
            Ok((size, facts)) => self.trial(wish, facts, size),
            Err(fault) => Err(fault),
        };
        let mut trial = match prepared {
            Ok(trial) => trial,
            Err(fault) => return Ok(Err(fault)),
        };
        let bytes = postcard::to_stdvec(&trial.order)?;
        let blobs = self.args.blobs.clone();
        let stored = tokio::task::spawn_blocking(move || blobs.put_bytes(&bytes));
        trial.stored = stored.await??.sha256;
        let id = trial.order.attempt.job;
        if trial.publishes
            && let Some(profile) = self.farm.profiles.get(&trial.order.profile.name).cloned()
        {
            self.open_channel(&Profile {
                channel: trial.order.profile.channel.clone(),
                ..profile
            });
        }
        let over = self.trials.0.iter().find(|(_, trial)| trial.is_over());
        if self.trials.0.len() >= REMEMBERED {
            let Some(oldest) = over.map(|(id, _)| *id) else {
                return Ok(Err(Fault::new(
                    Kind::TryAgain,
                    format!("{REMEMBERED} tries are under way"),
                )));
            };
            self.forget_trial(oldest).await?;
        }
        let (recipe, version) = (trial.order.recipe.clone(), trial.order.version.clone());
        self.trials.0.insert(id, trial);
        self.keep_trial(id).await?;
        self.tend_trials().await?;
        Ok(Ok(Tried {
            id,
            recipe,
            version,
        }))
    }

    /// By the clock, and when something changed: gives waiting tries to builders, forgets old ones.
    pub async fn tend_trials(&mut self) -> Done<()> {
        let now_ms = crate::actors::now().mono_ms;
        let old: Vec<JobId> = self
            .trials
            .0
            .iter()
            .filter(|(_, trial)| trial.is_over() && now_ms > trial.changed_ms + FORGET_MS)
            .map(|(id, _)| *id)
            .collect();
        for id in old {
            self.forget_trial(id).await?;
        }
        let mut taken = Vec::new();
        let waiting: Vec<JobId> = self
            .trials
            .0
            .iter()
            .filter(|(_, trial)| matches!(trial.standing, Standing::Waiting(_)))
            .filter(|(_, trial)| trial.not_before_ms <= now_ms)
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            let Some(trial) = self.trials.0.get(&id) else {
                continue;
            };
            let found = self.builder_for(trial, &taken);
            let Some(trial) = self.trials.0.get_mut(&id) else {
                continue;
            };
            match found {
                Ok(builder) => {
                    taken.push(builder);
                    trial.builder = Some(builder);
                    trial.stand(Standing::Building);
                    // On disk before anybody is told.
                    self.keep_trial(id).await?;
                    if let Some(trial) = self.trials.0.get(&id) {
                        if builder != self.args.own {
                            // The copy of an earlier builder's log, which would pass for the whole one. Most have none.
                            let log = builder::log_path(&self.args.dir, trial.order.attempt);
                            std::fs::remove_file(log).ok();
                        }
                        self.send_trial(trial);
                    }
                }
                Err(why) => {
                    let on = trial.on;
                    trial.standing = Standing::Waiting(why);
                    self.make_room_for_try(on);
                }
            }
        }
        Ok(())
    }

    /// A builder with a free slot for this try, or what it waits for.
    fn builder_for(&self, trial: &Trial, taken: &[HostId]) -> std::result::Result<HostId, String> {
        let mut why = "no builder is here".to_string();
        for (id, builder) in &self.builders {
            if trial.on.is_some_and(|on| on != *id) {
                continue;
            }
            let (report, profile) = (&builder.report, &trial.order.profile);
            let name = &report.name;
            why = if let Some(why) = self.unfit(id, builder, profile) {
                why
            } else if taken.contains(id) || report.slots.iter().all(Option::is_some) {
                format!("all slots of builder {name} are busy")
            } else if !self.has_slots_for(id, report, trial.order.asks()) {
                format!("builder {name} has not as many free slots as it asks for")
            } else {
                return Ok(*id);
            };
        }
        Err(why)
    }

    /// Why a builder that may have a free slot cannot build for a profile now.
    pub(super) fn unfit(
        &self,
        id: &HostId,
        builder: &super::state::Builder,
        profile: &crate::model::ProfileSpec,
    ) -> Option<String> {
        let (report, name) = (&builder.report, &builder.report.name);
        let now_ms = crate::actors::now().mono_ms;
        if now_ms.saturating_sub(builder.heard_ms) > self.lease_ms() {
            Some(format!("builder {name} is not heard of"))
        } else if report.slots.is_empty() {
            Some(format!("builder {name} has no slots"))
        } else if report.arch != profile.arch || !report.levels.contains(&profile.level) {
            Some(format!(
                "builder {name} cannot build for profile {}",
                profile.name
            ))
        } else if let Some(word) = self.stop_word(id) {
            Some(format!("builder {name} is {word}"))
        } else if let Some(why) = &report.leaving {
            Some(format!("builder {name} takes no new work: {why}"))
        } else if !matches!(report.judgement.verdict, Verdict::Fit | Verdict::Stalled) {
            Some(format!(
                "builder {name} is {}: {}",
                report.judgement.verdict.as_str(),
                report.judgement.evidence.join("; ")
            ))
        } else {
            None
        }
    }

    /// Tries that this builder has.
    pub(super) fn trials_on(&self, id: &HostId) -> usize {
        let all = self.trials.0.values();
        all.filter(|trial| {
            trial.builder == Some(*id) && matches!(trial.standing, Standing::Building)
        })
        .count()
    }

    /// What a builder or vessel says about a try.
    pub async fn trial_said(&mut self, from: HostId, attempt: AttemptId, say: Say) -> Done<()> {
        let vessel = self.vessel();
        let Some(trial) = self.trials.0.get_mut(&attempt.job) else {
            // Of an earlier summit, or forgotten: nobody waits for it.
            if matches!(say, Say::Ended { .. }) {
                let heard = Say::Heard { attempt };
                self.args.post.say(from, Role::Avalanche, heard);
                self.stop_attempt(attempt, from, "nobody waits for this try any more");
            }
            return Ok(());
        };
        if trial.builder != Some(from) && from != vessel {
            // It had it once, and may forget it. What another one makes of it now is not touched.
            if matches!(say, Say::Ended { .. }) {
                let why = "another builder has it".to_string();
                for say in [Say::Heard { attempt }, Say::Cancel { attempt, why }] {
                    self.args.post.say(from, Role::Avalanche, say);
                }
            }
            return Ok(());
        }
        if let Say::Ended {
            outcome: Outcome::Built { artefacts, .. },
            ..
        } = &say
            && !trial.publishes
            && from != self.args.own
        {
            // It is heard when its owner has what came out: until then its builder keeps it.
            let artefacts = artefacts.clone();
            self.bring_back(from, attempt, artefacts);
            return Ok(());
        }
        match say {
            Say::Progress {
                stage, log_bytes, ..
            } => {
                (trial.phase, trial.log_bytes) = (Some(stage), log_bytes);
                return Ok(());
            }
            Say::Refused { why, .. } => trial.wait_again(why.what),
            Say::Ended { outcome, .. } => {
                let publishes = trial.publishes;
                match outcome {
                    Outcome::Built { .. } if publishes => {
                        if !trial.is_over() {
                            trial.stand(Standing::Publishing);
                        }
                    }
                    Outcome::Built { .. } => trial.stand(Standing::Built),
                    Outcome::Failed { blame, fault, .. } => trial.failed(blame, fault),
                    Outcome::Cancelled | Outcome::Timed { .. } => {
                        let fault = Fault::new(Kind::Operator, "the builder stopped it");
                        trial.stand(Standing::Failed(Blame::Operator, fault));
                    }
                }
                self.keep_trial(attempt.job).await?;
                let heard = Say::Heard { attempt };
                self.args.post.say(from, Role::Avalanche, heard);
                return Ok(());
            }
            Say::Published {
                channel, version, ..
            } if from == vessel => {
                trial.stand(Standing::Published(format!(
                    "version {version} of {channel}"
                )));
            }
            Say::Rejected { blame, why, .. } if from == vessel => {
                trial.stand(Standing::Failed(blame, why));
            }
            _ => return Ok(()),
        }
        self.keep_trial(attempt.job).await
    }

    /// Whether an attempt is a try that this host was given.
    pub fn holds_trial(&self, host: HostId, attempt: AttemptId) -> bool {
        self.trials
            .0
            .get(&attempt.job)
            .is_some_and(|trial| trial.builder == Some(host))
    }

    /// Whether a try's log will not grow any more.
    pub fn trial_is_over(&self, id: JobId) -> bool {
        self.trials
            .0
            .get(&id)
            .is_none_or(|trial| trial.is_over() || matches!(trial.standing, Standing::Publishing))
    }

    /// `TryShow`.
    pub fn try_show(&self, wish: &TryShow) -> Result<TryPage> {
        let trial = self.trials.0.get(&wish.id).ok_or_else(|| {
            Fault::new(Kind::NotFound, "there is no such try")
                .next("tries are forgotten after an hour")
        })?;
        let (state, text) = match &trial.standing {
            Standing::Waiting(why) => ("waiting", Some(why.clone())),
            Standing::Building => ("building", None),
            Standing::Publishing => ("publishing", None),
            Standing::Built => ("built", None),
            Standing::Published(text) => ("published", Some(text.clone())),
            Standing::Failed(..) => ("failed", None),
        };
        let (blame, fault) = match &trial.standing {
            Standing::Failed(blame, fault) => (
                Some(super::view::blame_view(*blame)),
                Some(FaultView::from(fault)),
            ),
            _ => (None, None),
        };
        Ok(TryPage {
            id: wish.id,
            state: state.into(),
            text,
            builder: trial.builder.map(|builder| self.host_name(&builder)),
            phase: trial.phase.clone(),
            took_s: matches!(trial.standing, Standing::Building).then(|| {
                crate::actors::now()
                    .wall
                    .seconds_since(trial.changed)
                    .max(0.0)
            }),
            expected_s: trial.expected_s,
            log_bytes: trial.log_bytes,
            blame,
            fault,
            over: trial.is_over(),
        })
    }

    /// `TryDone`: its owner has what it wants, or gives it up.
    pub async fn try_done(&mut self, wish: &TryDone) -> Done<Result<TryPage>> {
        let shown = self.try_show(&TryShow { id: wish.id });
        if shown.is_ok() {
            self.forget_trial(wish.id).await?;
        }
        Ok(shown)
    }

    async fn forget_trial(&mut self, id: JobId) -> Done<()> {
        let Some(trial) = self.trials.0.remove(&id) else {
            return Ok(());
        };
        self.keep_trial(id).await?;
        // What vessel has taken over it publishes by itself; everything else is thrown away.
        let publishing = matches!(
            trial.standing,
            Standing::Publishing | Standing::Published(_)
        );
        if trial.builder != Some(self.args.own) {
            builder::discard(&self.args.dir, trial.order.attempt);
        }
        if let Some(builder) = trial.builder.filter(|_| !publishing) {
            self.stop_attempt(
                trial.order.attempt,
                builder,
                "its owner has it, or gave it up",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_tries_are_no_jobs_and_no_canary() {
        assert!(!is_try(JobId(1)) && !is_try(JobId(u64::MAX)));
        assert!(is_try(JobId(FIRST)));
    }
}
