//! Builders as summit sees them: stops that people and the farm put on them, how they were lately, what attempts took, and
//! whose doing a failure is when several are looked at together.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::state::{Done, State, refused};
use crate::actors::moments::Moments;
use crate::admin::Caller;
use crate::admin::summit::{
    Builder as BuilderReply, BuilderDrain, BuilderQuarantine, BuilderRelease, BuilderResume,
};
use crate::admin::view::HoldView;
use crate::fault::{Fault, Kind, Result};
use crate::health::Verdict;
use crate::id::{AttemptId, HostId, JobId, RecipeName, Stamp};
use crate::limit;
use crate::model::cache::{CACHES_MAX, CacheState};
use crate::model::{
    AttemptState, Base, BaseSeen, Blame, BuilderReport, Event, Farm, Glance, Hold, JobState,
    Measures, Outcome, Role, Say, StopKind, Target, Then, Usage, Vitals, Who,
};
use crate::plan::schedule::{self, BuilderSpec, Happened};

/// Attempts of a target whose use of resources is remembered.
const REMEMBERED: usize = 20;
/// Ends on one builder that are looked at together.
const ENDS: usize = 16;
/// Recipes that fail one after the other on one host by their own doing, while others build elsewhere, before the host is
/// suspected: more than for failures that are the builder's anyway.
const FAILING_RECIPES: usize = 5;
/// First pause between two canaries; doubles up to an hour.
const CANARY_MS: u64 = 60_000;
const CANARY_MS_MAX: u64 = 3_600_000;
/// Canaries are no jobs; this number is none's.
pub const CANARY: JobId = JobId(u64::MAX);

/// Features of a processor that are kept of a builder, and bytes of each: this version tells 31.
const FEATURES_MAX: usize = 256;
const FEATURE_BYTES_MAX: usize = 40;

/// How an attempt on a builder ended.
#[derive(Debug, Clone)]
struct End {
    job: JobId,
    recipe: RecipeName,
    /// `None`: it made packages.
    blame: Option<Blame>,
}

/// A known-good recipe on its way through a builder in quarantine.
#[derive(Debug, Default)]
struct Canary {
    attempt: Option<AttemptId>,
    recipe: String,
    tried: u32,
    not_before_ms: u64,
    since_ms: u64,
}

/// What is remembered of builders beside their reports. Lost with the process but for what the rows give back.
#[derive(Default)]
pub struct Wards {
    /// The last look at each running attempt.
    pub glances: HashMap<AttemptId, Glance>,
    /// What each running attempt read and wrote.
    pub moved: HashMap<AttemptId, u64>,
    /// What the caches of each builder could give back where attempts are built.
    pub cached: BTreeMap<HostId, u64>,
    /// Beside the reports.
    pub vitals: BTreeMap<HostId, Vitals>,
    /// What their slots have: cores in all, each counted once, and bytes of memory of one slot.
    pub shares: BTreeMap<HostId, (u32, Option<u64>)>,
    /// What bases of their own bring now.
    pub bases: BTreeMap<HostId, Vec<(Base, BaseSeen)>>,
    /// Their compiler caches.
    pub caches: BTreeMap<HostId, Vec<CacheState>>,
    /// How they keep their slots to their share.
    pub means: BTreeMap<HostId, String>,
    /// What the processor of each builder can do.
    pub features: BTreeMap<HostId, Vec<String>>,
    moments: BTreeMap<HostId, Moments>,
    pub(super) used: HashMap<Target, VecDeque<Usage>>,
    ends: BTreeMap<HostId, VecDeque<End>>,
    canaries: BTreeMap<HostId, Canary>,
}

impl State {
    /// What the rows remember of attempts and builders; after a start.
    pub fn know_wards(&mut self) {
        let measures: Vec<_> = self.farm.measures.values().cloned().collect();
        for measures in measures {
            self.learn(&measures);
        }
    }

    /// Remembers what a build that made packages took.
    pub fn learn(&mut self, measures: &Measures) {
        // One that was given back in the middle took less than it needs.
        let whole = measures.phases.iter().any(|phase| phase.name == "package");
        let Some(job) = self.farm.jobs.get(&measures.attempt.job).filter(|_| whole) else {
            return;
        };
        let used = self.wards.used.entry(job.target.clone()).or_default();
        used.push_back(measures.usage);
        if used.len() > REMEMBERED {
            used.pop_front();
        }
    }

    /// What builders say that changes no row.
    pub async fn ward_said(&mut self, from: HostId, say: Say) -> Done<()> {
        match say {
            Say::Measured(measures) => {
                let event = Event::Observed {
                    measures: Box::new(measures.bounded()),
                };
                self.record_one(Who::Key(from), event).await?.ok();
            }
            Say::Glanced { attempt, glance } => {
                self.wards.glances.insert(attempt, glance);
            }
            Say::Moved { attempt, bytes } => {
                self.wards.moved.insert(attempt, bytes);
            }
            Say::Cached { bytes } => {
                if self.wards.cached.insert(from, bytes) != Some(bytes) {
                    self.refresh_builder(from, None);
                }
            }
            Say::Vitals(vitals) => {
                self.wards.vitals.insert(from, *vitals);
            }
            Say::Confined { means } if means.len() <= limit::FAULT_TEXT_BYTES_MAX => {
                self.wards.means.insert(from, means);
            }
            Say::Processor { mut features } => {
                features.truncate(FEATURES_MAX);
                features.retain(|feature| feature.len() <= FEATURE_BYTES_MAX);
                self.wards.features.insert(from, features);
            }
            Say::Base { of, seen } => self.base_said(from, of, *seen),
            Say::Caches { mut caches } => {
                caches.truncate(CACHES_MAX);
                self.wards.caches.insert(from, caches);
            }
            Say::Shares {
                cores,
                slot_memory_bytes,
            } => {
                let before = self.wards.shares.insert(from, (cores, slot_memory_bytes));
                if before != Some((cores, slot_memory_bytes)) {
                    self.refresh_builder(from, None);
                }
            }
            other => tracing::warn!(?other, "no look of a builder"),
        }
        Ok(())
    }

    /// Keeps a moment of a builder now and then.
    pub fn keep_moment(&mut self, from: HostId, report: &BuilderReport) {
        let at = crate::actors::now().wall;
        self.wards.moments.entry(from).or_default().keep(at, report);
    }

    /// How a builder was lately.
    pub fn moments(&self, id: &HostId) -> Vec<crate::admin::view::MomentView> {
        let moments = self.wards.moments.get(id);
        moments.map(Moments::views).unwrap_or_default()
    }

    /// The stops on a builder, for people.
    pub fn holds_on(&self, id: &HostId) -> Vec<HoldView> {
        holds_of(&self.farm, id)
    }

    /// `draining` or `quarantined`, when it is.
    pub fn stop_word(&self, id: &HostId) -> Option<&'static str> {
        stop_word_of(&self.farm, id)
    }

    /// Tells the schedule how a builder is now.
    pub fn refresh_builder(&mut self, id: HostId, silent: Option<String>) {
        let Some(builder) = self.builders.get(&id) else {
            return;
        };
        let mut spec: BuilderSpec = super::attempts::builder_spec(id, &builder.report, silent);
        spec.speed = self.estimates.speed(&id);
        spec.trust = self.trust_of(id);
        if let Some(stop) = self.farm.builder_stops.get(&id) {
            let told =
                |word: &str, hold: &Hold| format!("{word} by {}: {}", hold.owner, hold.reason);
            let drain = stop.drain.as_ref().map(|hold| told("draining", hold));
            let quarantine = stop
                .quarantine
                .as_ref()
                .map(|hold| told("quarantine", hold));
            if let Some(why) = drain.or(quarantine) {
                spec.away = Some(why.into());
            }
        }
        if let Some(share) = self.slot_memory_mib(&id) {
            spec.slot_memory_mib = Some(share);
            let all = share.saturating_mul(spec.slots);
            spec.memory_mib = spec.memory_mib.map(|mib| mib.min(all));
        }
        // What running attempts took already is promised to them, so it counts as there. One may stand in several slots.
        let attempts: BTreeSet<&AttemptId> = builder.report.slots.iter().flatten().collect();
        let taken: u64 = attempts
            .into_iter()
            .filter_map(|attempt| self.wards.glances.get(attempt)?.disk_bytes)
            .sum();
        let floor = match self.wards.vitals.get(&id) {
            Some(vitals) => vitals.disk_floor_bytes,
            None => limit::DISK_FLOOR_BYTES,
        };
        // Caches go when a build needs their room.
        let cached = self.wards.cached.get(&id).copied().unwrap_or(0);
        spec.disk_whole_mib = spec
            .disk_whole_mib
            .map(|mib| mib.saturating_sub(u32::try_from(floor >> 20).unwrap_or(u32::MAX)));
        spec.disk_mib = spec.disk_mib.map(|mib| {
            let mib = u64::from(mib) + (taken.saturating_add(cached) >> 20);
            u32::try_from(mib.saturating_sub(floor >> 20)).unwrap_or(u32::MAX)
        });
        self.schedule
            .take(Happened::Builder(spec), crate::actors::now());
    }

    /// What one slot's processes may take there, in MiB; `None`: it did not say.
    fn slot_memory_mib(&self, id: &HostId) -> Option<u32> {
        let (_, bytes) = self.wards.shares.get(id)?;
        Some(u32::try_from((*bytes)? >> 20).unwrap_or(u32::MAX))
    }

    /// Cores that a builder offers, each counted once.
    pub fn cores_of(&self, id: &HostId, report: &BuilderReport) -> u32 {
        let all: u32 = report.slot_cores.iter().sum();
        let told = self.wards.shares.get(id).map(|(cores, _)| *cores);
        told.map_or(all, |cores| cores.min(all))
    }

    /// Whether a builder has as many free slots as so many cores and MiB of memory take.
    pub fn has_slots_for(&self, id: &HostId, report: &BuilderReport, asks: (u32, u32)) -> bool {
        let slots = u32::try_from(report.slots.len()).unwrap_or(u32::MAX);
        let all = (slots, self.cores_of(id, report), self.slot_memory_mib(id));
        let free = report.slots.iter().filter(|slot| slot.is_none()).count();
        free as u64 >= u64::from(schedule::slots_for(all, asks))
    }

    /// `builder drain`.
    pub async fn builder_drain(
        &mut self,
        caller: &Caller,
        wish: &BuilderDrain,
    ) -> Done<Result<BuilderReply>> {
        let now = crate::actors::now().wall;
        let deadline = wish.deadline_s.map(|seconds| {
            let ms = i64::try_from(seconds)
                .unwrap_or(i64::MAX)
                .saturating_mul(1000);
            Stamp(now.0.saturating_add(ms))
        });
        let reason = wish.reason.clone().unwrap_or_else(|| "maintenance".into());
        self.stop_builder(caller, &wish.name, (StopKind::Drain, deadline), reason)
            .await
    }

    /// `builder resume`.
    pub async fn builder_resume(
        &mut self,
        caller: &Caller,
        wish: &BuilderResume,
    ) -> Done<Result<BuilderReply>> {
        self.let_builder_go(caller, &wish.name, StopKind::Drain)
            .await
    }

    /// `builder quarantine`.
    pub async fn builder_quarantine(
        &mut self,
        caller: &Caller,
        wish: &BuilderQuarantine,
    ) -> Done<Result<BuilderReply>> {
        let reason = wish.reason.clone().unwrap_or_else(|| "suspected".into());
        self.stop_builder(caller, &wish.name, (StopKind::Quarantine, None), reason)
            .await
    }

    /// `builder release`.
    pub async fn builder_release(
        &mut self,
        caller: &Caller,
        wish: &BuilderRelease,
    ) -> Done<Result<BuilderReply>> {
        self.let_builder_go(caller, &wish.name, StopKind::Quarantine)
            .await
    }

    async fn stop_builder(
        &mut self,
        caller: &Caller,
        name: &str,
        (kind, deadline): (StopKind, Option<Stamp>),
        reason: String,
    ) -> Done<Result<BuilderReply>> {
        if reason.len() > limit::FAULT_TEXT_BYTES_MAX {
            return Ok(Err(Fault::new(Kind::Usage, "the reason is too long")));
        }
        let builder = match self.locate_builder(name) {
            Ok(builder) => builder,
            Err(fault) => return Ok(Err(fault)),
        };
        let event = Event::BuilderStopped {
            builder,
            kind,
            hold: Hold {
                owner: Who::Uid(caller.uid),
                reason,
                since: crate::actors::now().wall,
                until: None,
            },
            deadline,
        };
        let answer = self.record_one(Who::Uid(caller.uid), event).await?;
        Ok(match answer {
            Ok(()) => self.builder_reply(&builder),
            Err(refusal) => {
                Err(refused(&refusal)
                    .next(format!("`massif builder show {name}` says how it stands")))
            }
        })
    }

    async fn let_builder_go(
        &mut self,
        caller: &Caller,
        name: &str,
        kind: StopKind,
    ) -> Done<Result<BuilderReply>> {
        let builder = match self.locate_builder(name) {
            Ok(builder) => builder,
            Err(fault) => return Ok(Err(fault)),
        };
        let who = Who::Uid(caller.uid);
        let event = Event::BuilderLetGo {
            builder,
            kind,
            why: format!("released by {who}"),
        };
        let answer = self.record_one(who, event).await?;
        Ok(match (answer, kind) {
            (Ok(()), _) => self.builder_reply(&builder),
            (Err(_), StopKind::Drain) => Err(Fault::new(
                Kind::Conflict,
                format!("builder {name} is not draining"),
            )
            .next("`massif builder show` says what stops it; `release` ends a quarantine")),
            (Err(_), StopKind::Quarantine) => Err(Fault::new(
                Kind::Conflict,
                format!("builder {name} is not in quarantine"),
            )
            .next("`massif builder show` says what stops it; `resume` ends a drain")),
        })
    }

    fn builder_reply(&self, id: &HostId) -> Result<BuilderReply> {
        let builder = self
            .builder_view(id)
            .ok_or_else(|| Fault::bug("a builder is gone"))?;
        Ok(BuilderReply { builder })
    }

    /// Whose doing a failure is when others of the same job are looked at too: the same recipe failing in a phase on two
    /// hosts is the recipe's.
    pub fn weigh_blame(
        &self,
        attempt: AttemptId,
        from: HostId,
        blame: Blame,
        fault: &Fault,
    ) -> Blame {
        let in_phase = |attempt: &AttemptId| {
            self.farm.measures.get(attempt).is_some_and(|measures| {
                let early = ["fetch", "prepare"];
                let last = measures.phases.last();
                last.is_some_and(|phase| !early.contains(&phase.name.as_str()))
            })
        };
        if blame != Blame::Builder || fault.kind == Kind::TryAgain || !in_phase(&attempt) {
            return blame;
        }
        let mut hosts = BTreeSet::from([from]);
        for other in self.farm.attempts_of(attempt.job) {
            if let AttemptState::Ended { blame, fault } = &other.state
                && *blame == Blame::Builder
                && fault.kind != Kind::TryAgain
                && in_phase(&other.id)
            {
                hosts.insert(other.builder);
            }
        }
        match hosts.len() >= limit::HOSTS_FAILED_MAX {
            true => Blame::Recipe,
            false => blame,
        }
    }

    /// Keeps how an attempt ended, and suspects a host on which one recipe after the other fails.
    pub async fn note_end(
        &mut self,
        from: HostId,
        attempt: AttemptId,
        failed: Option<(Blame, Kind)>,
    ) -> Done<()> {
        let Some(job) = self.farm.jobs.get(&attempt.job).cloned() else {
            return Ok(());
        };
        if let Some((blame, kind)) = failed {
            let counts = matches!(blame, Blame::Builder | Blame::Recipe) && kind != Kind::TryAgain;
            if !counts {
                return Ok(());
            }
        }
        let ends = self.wards.ends.entry(from).or_default();
        // What was built and then refused did not come out well after all.
        ends.retain(|end| failed.is_none() || end.job != job.id || end.blame.is_some());
        ends.push_back(End {
            job: job.id,
            recipe: job.target.recipe.clone(),
            blame: failed.map(|(blame, _)| blame),
        });
        if ends.len() > ENDS {
            ends.pop_front();
        }
        let Some((why, jobs)) = self.suspicion(&from) else {
            return Ok(());
        };
        if self.known_good().is_none() {
            tracing::warn!(builder = %from.short(), why, "suspected, and there is no known-good recipe to test it with");
            return Ok(());
        }
        let hold = Hold {
            owner: Who::Farm,
            reason: why,
            since: crate::actors::now().wall,
            until: None,
        };
        let event = Event::BuilderStopped {
            builder: from,
            kind: StopKind::Quarantine,
            hold,
            deadline: None,
        };
        if self.record_one(Who::Farm, event).await?.is_ok() {
            self.wards.ends.remove(&from);
            let events = jobs
                .into_iter()
                .map(|job| (Who::Farm, Event::Retried { job }))
                .collect();
            self.record(events).await?;
        }
        Ok(())
    }

    /// Why a host is suspected, and the jobs that were given up because of it.
    fn suspicion(&self, host: &HostId) -> Option<(String, Vec<JobId>)> {
        let ends = self.wards.ends.get(host)?;
        let since_good: Vec<&End> = ends
            .iter()
            .rev()
            .take_while(|end| end.blame.is_some())
            .collect();
        let recipes = |blame: Option<Blame>| {
            let these = since_good
                .iter()
                .filter(|end| blame.is_none() || end.blame == blame);
            these.map(|end| &end.recipe).collect::<BTreeSet<_>>()
        };
        let by_host = recipes(Some(Blame::Builder));
        let all = recipes(None);
        // With one builder only, many failing recipes may as well have one broken dependency.
        let others = self.builders.iter().any(|(id, builder)| {
            id != host
                && matches!(
                    builder.report.judgement.verdict,
                    Verdict::Fit | Verdict::Stalled
                )
                && self.stop_word(id).is_none()
        });
        let names = if by_host.len() >= limit::SUSPECT_RECIPES {
            by_host
        } else if others && all.len() >= FAILING_RECIPES {
            all
        } else {
            return None;
        };
        let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        let given_up = since_good.iter().map(|end| end.job).filter(|job| {
            let job = self.farm.jobs.get(job);
            job.is_some_and(|job| job.state == JobState::Failed)
        });
        Some((
            format!(
                "{} recipes failed on it one after the other: {}",
                names.len(),
                names.join(", ")
            ),
            given_up.collect::<BTreeSet<_>>().into_iter().collect(),
        ))
    }

    /// The published job that was built in the shortest time, and is still what its recipe says.
    fn known_good(&self) -> Option<JobId> {
        let published = self.farm.jobs.values().filter(|job| {
            job.state == JobState::Published
                && self.farm.profiles.contains_key(&job.target.profile)
                && self.farm.projects.contains_key(&job.target.project)
                && self
                    .farm
                    .newest(&job.target)
                    .is_some_and(|newest| newest.id == job.id)
        });
        let took = |job: &JobId| {
            let attempt = self.farm.attempts_of(*job).next_back()?;
            self.farm.measures.get(&attempt.id)?.usage.wall_ms
        };
        published
            .map(|job| job.id)
            .min_by_key(|job| (took(job).unwrap_or(u64::MAX), *job))
    }

    /// Whether this is the canary that this host has.
    pub fn is_canary(&self, from: HostId, attempt: AttemptId) -> bool {
        self.wards
            .canaries
            .get(&from)
            .is_some_and(|canary| canary.attempt == Some(attempt))
    }

    /// By the clock: builders in quarantine get canaries, and what runs on a draining one past its deadline is given back.
    pub async fn tend_builders(&mut self) -> Done<()> {
        let now = crate::actors::now();
        let stops: Vec<_> = self.farm.builder_stops.values().cloned().collect();
        let quarantined: BTreeSet<HostId> = stops
            .iter()
            .filter(|stop| stop.quarantine.is_some())
            .map(|stop| stop.builder)
            .collect();
        self.wards.canaries.retain(|id, _| quarantined.contains(id));
        for stop in stops {
            if stop.drain_deadline.is_some_and(|until| until <= now.wall) {
                self.give_back_all(stop.builder).await?;
            }
        }
        for builder in quarantined {
            // One that was wrong alone builds well: a canary would prove nothing, so a person decides.
            if self.farm.convictions.contains_key(&builder) {
                continue;
            }
            self.send_canary(builder);
        }
        Ok(())
    }

    async fn give_back_all(&mut self, builder: HostId) -> Done<()> {
        let live: Vec<AttemptId> = self
            .farm
            .jobs
            .values()
            .filter(|job| job.state == JobState::Building)
            .filter_map(|job| self.farm.live_attempt(job.id))
            .filter(|attempt| attempt.builder == builder)
            .map(|attempt| attempt.id)
            .collect();
        for attempt in live {
            let fault = Fault::new(
                Kind::TryAgain,
                "its builder drains, and the deadline is over",
            )
            .next("nothing is to be done: the job goes elsewhere");
            let event = Event::AttemptEnded {
                attempt,
                blame: Blame::Builder,
                fault,
                then: Then::Again {
                    not_before: None,
                    counts: false,
                },
            };
            if self.record_one(Who::Farm, event).await?.is_ok() {
                self.stop_attempt(attempt, builder, "the builder drains");
            }
        }
        Ok(())
    }

    fn send_canary(&mut self, builder: HostId) {
        let now = crate::actors::now();
        let lease_ms = self.lease_ms();
        let free = self.builders.get(&builder).is_some_and(|known| {
            now.mono_ms.saturating_sub(known.heard_ms) <= lease_ms
                && known.report.leaving.is_none()
                && known.report.slots.iter().any(Option::is_none)
                && matches!(
                    known.report.judgement.verdict,
                    Verdict::Fit | Verdict::Stalled
                )
        });
        let drained = self
            .farm
            .builder_stops
            .get(&builder)
            .is_some_and(|stop| stop.drain.is_some());
        let canary = self.wards.canaries.entry(builder).or_default();
        // One that was lost on the way is sent again.
        if canary.attempt.is_some() && now.mono_ms >= canary.since_ms + CANARY_MS_MAX {
            canary.attempt = None;
        }
        if drained || !free || canary.attempt.is_some() || now.mono_ms < canary.not_before_ms {
            return;
        }
        let Some(job) = self
            .known_good()
            .and_then(|id| self.farm.jobs.get(&id).cloned())
        else {
            return;
        };
        let needs = self.needs_of(&job.target).rounded();
        let asks = (needs.cores, needs.memory_mib);
        let room = self.builders.get(&builder);
        if !room.is_some_and(|known| self.has_slots_for(&builder, &known.report, asks)) {
            return;
        }
        // Seconds tell it from one that an earlier process of summit sent.
        let try_no = u32::try_from(now.wall.0 / 1000).unwrap_or(u32::MAX);
        let attempt = AttemptId {
            job: CANARY,
            try_no,
        };
        if let Some(canary) = self.wards.canaries.get_mut(&builder) {
            canary.attempt = Some(attempt);
            canary.recipe = job.target.recipe.to_string();
            canary.since_ms = now.mono_ms;
            canary.tried += 1;
        }
        tracing::info!(builder = %builder.short(), recipe = %job.target.recipe, "a canary goes to a builder in quarantine");
        self.prepare_canary(attempt, &job);
    }

    /// The order for a canary is ready, or cannot be made.
    pub fn canary_ready(&mut self, attempt: AttemptId, order: Result<crate::model::BuildOrder>) {
        let found = self
            .wards
            .canaries
            .iter()
            .find(|(_, canary)| canary.attempt == Some(attempt))
            .map(|(builder, _)| *builder);
        let Some(builder) = found else { return };
        match order {
            // Vessel is not told to expect it: what a suspect makes is published nowhere.
            Ok(order) => {
                let say = self.order_said(order);
                self.args.post.say(builder, Role::Avalanche, say);
            }
            Err(fault) => {
                tracing::warn!(%fault, "cannot make the order of a canary");
                self.canary_again(builder);
            }
        }
    }

    /// A builder in quarantine that is here anew was most likely mended: it is tested at once.
    pub fn canary_soon(&mut self, builder: HostId) {
        if let Some(canary) = self.wards.canaries.get_mut(&builder) {
            canary.not_before_ms = 0;
        }
    }

    fn canary_again(&mut self, builder: HostId) {
        let now_ms = crate::actors::now().mono_ms;
        if let Some(canary) = self.wards.canaries.get_mut(&builder) {
            let pause = CANARY_MS << canary.tried.saturating_sub(1).min(10);
            canary.not_before_ms = now_ms + pause.min(CANARY_MS_MAX);
            canary.attempt = None;
        }
    }

    /// A canary is over: it lets the builder go, or is sent again later.
    pub async fn canary_ended(
        &mut self,
        from: HostId,
        attempt: AttemptId,
        outcome: &Outcome,
    ) -> Done<()> {
        let heard = Say::Heard { attempt };
        self.args.post.say(from, Role::Avalanche, heard);
        // Nobody fetches what it made.
        self.stop_attempt(attempt, from, "it was a canary");
        let recipe = self
            .wards
            .canaries
            .get(&from)
            .map(|canary| canary.recipe.clone())
            .unwrap_or_default();
        match outcome {
            Outcome::Built { .. } => {
                self.wards.canaries.remove(&from);
                let event = Event::BuilderLetGo {
                    builder: from,
                    kind: StopKind::Quarantine,
                    why: format!("it built {recipe}, which is known to be good"),
                };
                self.record_one(Who::Farm, event).await?.ok();
            }
            Outcome::Failed { fault, .. } => {
                tracing::warn!(builder = %from.short(), recipe, %fault, "a canary failed");
                self.canary_again(from);
            }
            Outcome::Cancelled | Outcome::Timed { .. } => self.canary_again(from),
        }
        Ok(())
    }
}

/// The stops on a builder, for people.
pub fn holds_of(farm: &Farm, id: &HostId) -> Vec<HoldView> {
    let Some(stop) = farm.builder_stops.get(id) else {
        return Vec::new();
    };
    let view = |hold: &Hold, what: &str, expires| HoldView {
        owner: hold.owner.to_string(),
        reason: format!("{what}: {}", hold.reason),
        since: Some(hold.since),
        expires,
    };
    let drain = stop
        .drain
        .iter()
        .map(|hold| view(hold, "draining", stop.drain_deadline));
    let quarantine = stop
        .quarantine
        .iter()
        .map(|hold| view(hold, "quarantine", None));
    drain.chain(quarantine).collect()
}

/// `draining` or `quarantined`, when a builder is.
pub fn stop_word_of(farm: &Farm, id: &HostId) -> Option<&'static str> {
    let stop = farm.builder_stops.get(id)?;
    match (&stop.drain, &stop.quarantine) {
        (Some(_), _) => Some("draining"),
        (None, Some(_)) => Some("quarantined"),
        (None, None) => None,
    }
}
