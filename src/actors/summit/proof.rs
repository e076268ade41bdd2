//! Comparisons: what is published is built again elsewhere from what it was built from, published nowhere, and held against
//! what is published. One that runs lives in memory; what came of it is a row. Builders with nothing to do are given some
//! where a channel's policy says so, and give them back when there is real work.

use std::collections::{BTreeMap, HashMap};

use super::Msg;
pub(super) use super::published::Publication;
use super::state::{Done, State};
use crate::actors::avalanche::builder::Turns;
use crate::fault::{Fault, Kind, Result};
use crate::id::{AttemptId, Digest, HostId, Stamp};
use crate::model::proof::{
    Comparison, Conviction, Finding, Judgement, conviction_hold, job_of_comparison,
};
use crate::model::{
    Artefact, AttemptState, Blame, BuildOrder, Event, Executor, Outcome, PeerTrust, Role, Say,
    StoodOn, Who,
};

/// Comparisons under way or failed that are remembered.
const REMEMBERED: usize = 64;
/// One that failed is forgotten after this long.
const FORGET_MS: u64 = 3_600_000;
/// Pause after a builder refused, or gave way.
const AGAIN_MS: u64 = 1_000;
/// A comparison that nobody asked for waits so long for the builder that it was meant for.
const PATIENCE_MS: u64 = 5_000;
/// A publication whose rebuild failed is left alone for this long.
const LEAVE_MS: u64 = 3_600_000;
/// Vessel has this long to fetch and compare.
const EXAMINE_MS: u64 = 1_800_000;
/// A builder that was given one and does not show it in a slot after this long, or after a lease, has lost it.
const LOST_MS: u64 = 10_000;
/// A slot that a comparison leaves is waited for this long, or for half a lease: its processes end at once, and a slow disk is a
/// while at its files.
const GIVE_WAY_MS: u64 = 5_000;

/// Where one stands.
#[derive(Debug)]
pub(super) enum Standing {
    /// What it was built from is being read.
    Preparing,
    /// For a builder.
    Waiting(String),
    /// A builder has it.
    Building,
    /// It is being stopped because of real work.
    GivingWay,
    /// Vessel fetches and compares.
    Examining,
    /// It is a row.
    Done,
    /// It cannot be told.
    Failed(Blame, Fault),
}

/// One under way.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) attempt: AttemptId,
    pub(super) publication: Publication,
    pub(super) order: Option<BuildOrder>,
    pub(super) on: Option<HostId>,
    pub(super) by: Who,
    /// A person asked for it.
    asked: bool,
    /// Nothing is compared: the levels of this are measured.
    pub(super) isa: Option<Turns>,
    pub(super) builder: Option<HostId>,
    pub(super) standing: Standing,
    pub(super) began: Stamp,
    not_before_ms: u64,
    changed_ms: u64,
    pub(super) phase: Option<String>,
    /// Which base of its builder's own it was built on, as the builder says with its end.
    base: Option<Digest>,
    /// What vessel found before that was heard.
    found: Option<(Finding, Vec<Artefact>)>,
}

impl Running {
    pub(super) fn stand(&mut self, standing: Standing) {
        self.standing = standing;
        self.changed_ms = crate::actors::now().mono_ms;
    }

    /// Whether it takes a slot.
    fn is_in_a_slot(&self) -> bool {
        matches!(self.standing, Standing::Building | Standing::GivingWay)
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.standing, Standing::Done | Standing::Failed(..))
    }
}

/// Those under way, and what idle builders leave alone.
#[derive(Default)]
pub struct Proofs {
    pub(super) running: BTreeMap<u64, Running>,
    pub(super) leave: HashMap<AttemptId, u64>,
    pub(super) idle_since: BTreeMap<HostId, u64>,
    pub(super) look_at_ms: u64,
    /// When orders that nobody will need are next looked for.
    pub(super) forget_at_ms: Option<u64>,
    /// What vessel keeps until others have made the same.
    pub(super) staged: BTreeMap<AttemptId, super::proven::Stage>,
}

impl State {
    /// Begins a comparison; its number.
    pub(super) fn begin_comparison(
        &mut self,
        publication: Publication,
        on: Option<HostId>,
        by: Who,
        asked: bool,
        isa: Option<Turns>,
    ) -> Result<u64> {
        if self.proofs.running.len() >= REMEMBERED {
            let over = self.proofs.running.iter().find(|(_, one)| one.is_over());
            let over = over.map(|(id, _)| *id);
            let Some(over) = over else {
                let what = format!("{REMEMBERED} comparisons are under way");
                return Err(Fault::new(Kind::TryAgain, what));
            };
            self.proofs.running.remove(&over);
        }
        let now = crate::actors::now();
        let last = self.farm.comparisons.last_key_value().map(|(id, _)| *id);
        let running = self.proofs.running.last_key_value().map(|(id, _)| *id);
        let measured = self.farm.measurements.last_key_value().map(|(id, _)| *id);
        let id = last.max(running).max(measured).unwrap_or(0) + 1;
        let attempt = AttemptId {
            job: job_of_comparison(id),
            // Seconds tell it from one that an earlier process of summit sent under the same number.
            try_no: u32::try_from(now.wall.0 / 1000).unwrap_or(u32::MAX / 2),
        };
        let (store, me, published) = (
            self.args.store.clone(),
            self.me.clone(),
            publication.attempt,
        );
        tokio::spawn(async move {
            let read = tokio::task::spawn_blocking(move || {
                crate::store::farm::order_of(&store, published)
            });
            let order = match read.await {
                Ok(Ok(Some(order))) => just_so(order, attempt),
                Ok(Ok(None)) => Err(Fault::new(
                    Kind::NotFound,
                    "what it was built from was not kept: it was built by an earlier version of massif, or is not the newest",
                )
                .next("build it once more: massif build NAME --rebuild")),
                Ok(Err(fault)) => Err(fault),
                Err(error) => Err(Fault::bug("reading an order broke off").because(&error)),
            };
            // A summit that is gone has no comparisons under way.
            me.cast(Msg::OrderReady {
                attempt,
                order: Box::new(order),
                with: None,
            })
            .ok();
        });
        let running = Running {
            attempt,
            publication,
            order: None,
            on,
            by,
            asked,
            isa,
            builder: None,
            standing: Standing::Preparing,
            began: now.wall,
            not_before_ms: 0,
            changed_ms: now.mono_ms,
            phase: None,
            base: None,
            found: None,
        };
        self.proofs.running.insert(id, running);
        Ok(id)
    }

    fn comparison_of(&self, attempt: AttemptId) -> Option<u64> {
        let mut all = self.proofs.running.iter();
        all.find(|(_, one)| one.attempt == attempt)
            .map(|(id, _)| *id)
    }

    /// What a comparison is built from was read, or cannot be.
    pub fn comparison_ready(&mut self, attempt: AttemptId, order: Result<BuildOrder>) {
        let Some(id) = self.comparison_of(attempt) else {
            return;
        };
        match order {
            Ok(order) => {
                if let Some(running) = self.proofs.running.get_mut(&id) {
                    running.order = Some(order);
                    running.stand(Standing::Waiting(
                        "it is about to be given to a builder".into(),
                    ));
                }
                self.tend_comparisons();
            }
            Err(fault) => self.comparison_failed(id, Blame::Operator, fault),
        }
    }

    pub(super) fn comparison_failed(&mut self, id: u64, blame: Blame, fault: Fault) {
        let now_ms = crate::actors::now().mono_ms;
        let Some(running) = self.proofs.running.get_mut(&id) else {
            return;
        };
        let leave_ms = match fault.kind {
            // What was never kept will not be found later either.
            Kind::NotFound => u64::MAX,
            _ => now_ms + LEAVE_MS,
        };
        tracing::info!(comparison = id, %fault, "nothing to compare");
        let (attempt, builder) = (running.attempt, running.builder);
        let published = running.publication.attempt;
        running.stand(Standing::Failed(blame, fault));
        if let Some(builder) = builder {
            self.stop_attempt(attempt, builder, "there is nothing to compare");
        }
        self.proofs.leave.insert(published, leave_ms);
    }

    /// It is given to a builder again, under another try.
    fn comparison_again(&mut self, id: u64, why: &str) {
        let now_ms = crate::actors::now().mono_ms;
        let Some(running) = self.proofs.running.get_mut(&id) else {
            return;
        };
        let (attempt, builder) = (running.attempt, running.builder.take());
        running.attempt.try_no = running.attempt.try_no.saturating_add(1);
        if let Some(order) = &mut running.order {
            order.attempt = running.attempt;
        }
        (running.phase, running.base, running.found) = (None, None, None);
        running.not_before_ms = now_ms + AGAIN_MS;
        running.stand(Standing::Waiting(why.to_string()));
        if let Some(builder) = builder {
            self.stop_attempt(attempt, builder, why);
        }
    }

    /// Whether an attempt is a comparison that this host was given.
    pub fn holds_comparison(&self, host: HostId, attempt: AttemptId) -> bool {
        let mut all = self.proofs.running.values();
        all.any(|one| one.attempt == attempt && one.builder == Some(host) && one.is_in_a_slot())
    }

    /// The recipe and phase of a comparison in a slot.
    pub(super) fn compared_in(&self, attempt: AttemptId) -> Option<(String, Option<String>)> {
        let mut all = self.proofs.running.values();
        let found = all.find(|one| one.attempt == attempt)?;
        let recipe = format!("{} (compared)", found.publication.target.recipe);
        Some((recipe, found.phase.clone()))
    }

    /// Whether a builder says that it has this one in a slot.
    fn is_in_report(&self, one: &Running) -> bool {
        let builder = one.builder.and_then(|host| self.builders.get(&host));
        builder.is_some_and(|known| {
            let mut slots = known.report.slots.iter().flatten();
            slots.any(|attempt| *attempt == one.attempt)
        })
    }

    fn comparisons_on(&self, host: &HostId) -> usize {
        let all = self.proofs.running.values();
        all.filter(|one| one.builder == Some(*host) && one.is_in_a_slot())
            .count()
    }

    fn jobs_on(&self, host: &HostId) -> usize {
        let live = self.leases.keys();
        let live = live.filter_map(|attempt| self.farm.attempts.get(attempt));
        live.filter(|attempt| {
            attempt.builder == *host
                && matches!(
                    attempt.state,
                    AttemptState::Assigned | AttemptState::Building
                )
        })
        .count()
    }

    /// Slots of a builder that nobody has, by its own word and by ours.
    pub(super) fn free_slots(&self, host: &HostId) -> usize {
        let Some(builder) = self.builders.get(host) else {
            return 0;
        };
        let slots = &builder.report.slots;
        let taken = self.jobs_on(host) + self.trials_on(host) + self.comparisons_on(host);
        let free = slots.iter().filter(|slot| slot.is_none()).count();
        free.min(slots.len().saturating_sub(taken))
    }

    /// Hosts that said what a publication comes to; the publisher is the first.
    pub(super) fn opined(&self, publication: &Publication) -> Vec<HostId> {
        let mut said = vec![publication.publisher];
        let others = self.farm.comparisons_of(publication.attempt);
        said.extend(others.map(|comparison| comparison.builder));
        said
    }

    /// Who builds a waiting one now, or what it waits for. A host that has not said anything about it comes first, and is
    /// waited for; on a farm of one host it is that.
    fn builder_for_comparison(
        &self,
        running: &Running,
        taken: &[HostId],
    ) -> std::result::Result<HostId, String> {
        let Some(order) = &running.order else {
            return Err("what it was built from is being read".into());
        };
        let mut why = "no builder is here".to_string();
        let mut fit = Vec::new();
        for (id, builder) in &self.builders {
            let never = builder.report.slots.is_empty() && running.on.is_none();
            if never || running.on.is_some_and(|on| on != *id) {
                continue;
            }
            let lacks = running
                .isa
                .as_ref()
                .and_then(|turns| self.cannot_measure(builder, turns));
            match lacks.or_else(|| self.unfit(id, builder, &order.profile)) {
                Some(reason) => why = reason,
                None => fit.push(*id),
            }
        }
        if running.isa.is_some() {
            let alone = |id: &&HostId| self.is_empty(id) && !taken.contains(id);
            let wait =
                (!fit.is_empty()).then(|| "every builder that runs them builds something".into());
            return fit.iter().find(alone).copied().ok_or(wait.unwrap_or(why));
        }
        let said = self.opined(&running.publication);
        let is_new = |id: &HostId| !said.contains(id);
        if fit.iter().any(is_new) {
            fit.retain(is_new);
        } else if fit.iter().any(|id| *id != running.publication.publisher) {
            fit.retain(|id| *id != running.publication.publisher);
        }
        let owner = self.farm.owner_of(&running.publication.publisher);
        fit.sort_by_key(|id| {
            let same = self.farm.owner_of(id) == owner;
            let other = self.base_differs(id, &running.publication);
            let test = self.args.post.trust_of(*id) != PeerTrust::Trusted;
            (other, same, test)
        });
        if let Some(busy) = fit.first() {
            why = format!("all slots of builder {} are busy", self.host_name(busy));
        }
        let mut free = fit.into_iter();
        free.find(|id| self.free_slots(id) > 0 && !taken.contains(id))
            .ok_or(why)
    }

    /// By the clock, and when something changed: gives waiting comparisons to builders, begins some on idle ones, and gives
    /// up those of which nothing is heard.
    pub fn tend_comparisons(&mut self) {
        let now = crate::actors::now();
        self.tidy_comparisons(now.mono_ms);
        self.forget_orders(now.mono_ms);
        let mut taken = Vec::new();
        let waiting: Vec<u64> = self
            .proofs
            .running
            .iter()
            .filter(|(_, one)| matches!(one.standing, Standing::Waiting(_)))
            .filter(|(_, one)| one.not_before_ms <= now.mono_ms)
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            let Some(running) = self.proofs.running.get(&id) else {
                continue;
            };
            let found = self.builder_for_comparison(running, &taken);
            let Some(running) = self.proofs.running.get_mut(&id) else {
                continue;
            };
            match (found, running.order.clone()) {
                (Ok(builder), Some(order)) => {
                    taken.push(builder);
                    running.builder = Some(builder);
                    running.began = now.wall;
                    running.stand(Standing::Building);
                    if let Some(turns) = &running.isa {
                        let say = Say::Measure {
                            order: Box::new(order),
                            levels: turns.levels.clone(),
                            runs: turns.runs,
                        };
                        self.args.post.say(builder, Role::Avalanche, say);
                        continue;
                    }
                    let examine = Say::Examine {
                        attempt: running.attempt,
                        builder,
                        publication: running.publication.attempt,
                    };
                    self.args.post.say(self.vessel(), Role::Vessel, examine);
                    let say = self.order_said(order);
                    self.args.post.say(builder, Role::Avalanche, say);
                }
                (Err(why), _) => running.standing = Standing::Waiting(why),
                (Ok(_), None) => {}
            }
        }
        self.compare_on_idle_builders(now.mono_ms);
    }

    fn tidy_comparisons(&mut self, now_ms: u64) {
        let lease_ms = self.lease_ms();
        let heard = |host: &Option<HostId>| {
            let builder = host.and_then(|host| self.builders.get(&host));
            builder.is_some_and(|known| now_ms.saturating_sub(known.heard_ms) <= lease_ms)
        };
        let (mut again, mut late, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for (id, one) in &self.proofs.running {
            let age_ms = now_ms.saturating_sub(one.changed_ms);
            match &one.standing {
                Standing::Building | Standing::GivingWay if !heard(&one.builder) => again.push(*id),
                // It is there, and says that it has nothing of the kind: the order or the end was lost on the way.
                Standing::Building | Standing::GivingWay
                    if age_ms > lease_ms.max(LOST_MS) && !self.is_in_report(one) =>
                {
                    again.push(*id);
                }
                Standing::Examining if age_ms > EXAMINE_MS => late.push(*id),
                // The builder that it was meant for has something better to do.
                Standing::Waiting(_) if !one.asked && age_ms > PATIENCE_MS => gone.push(*id),
                Standing::Done if age_ms > PATIENCE_MS => gone.push(*id),
                Standing::Failed(..) if age_ms > FORGET_MS => gone.push(*id),
                _ => {}
            }
        }
        for id in again {
            self.comparison_again(id, "its builder is not heard of, or does not know of it");
        }
        for id in late {
            let fault = Fault::new(Kind::Network, "what it made was not fetched in time");
            self.comparison_failed(id, Blame::Network, fault);
        }
        for id in gone {
            self.proofs.running.remove(&id);
        }
        self.proofs.leave.retain(|_, until_ms| *until_ms > now_ms);
    }

    /// What a builder or vessel says about a comparison.
    pub async fn comparison_said(
        &mut self,
        from: HostId,
        attempt: AttemptId,
        say: Say,
    ) -> Done<()> {
        let vessel = self.vessel();
        let heard = Say::Heard { attempt };
        let found = self.comparison_of(attempt);
        let Some((id, running)) =
            found.and_then(|id| Some((id, self.proofs.running.get_mut(&id)?)))
        else {
            let is_kept = |one: &Comparison| one.attempt == attempt;
            if self.farm.comparisons.values().any(|one| is_kept(one)) {
                // Repeated by a builder that did not hear the receipt; what it differed in stays.
                let why = "it was compared".to_string();
                for say in [heard, Say::Cancel { attempt, why }] {
                    self.args.post.say(from, Role::Avalanche, say);
                }
                return Ok(());
            }
            // Of an earlier summit, or stopped: nobody waits for it.
            if matches!(say, Say::Ended { .. } | Say::Accepted { .. }) {
                self.args.post.say(from, Role::Avalanche, heard);
                self.stop_attempt(attempt, from, "nobody waits for this comparison any more");
            }
            return Ok(());
        };
        if running.builder != Some(from) && from != vessel {
            return Ok(());
        }
        match say {
            Say::Progress { stage, .. } => running.phase = Some(stage),
            Say::Refused { why, .. } => self.comparison_again(id, &why.what),
            Say::StoodOn(stood) => running.base = Some(stood.base),
            Say::Ended { outcome, .. } => {
                let waits = running.is_in_a_slot();
                let mut found = None;
                if waits && matches!(outcome, Outcome::Built { .. }) {
                    running.stand(Standing::Examining);
                    found = running.found.take();
                }
                self.args.post.say(from, Role::Avalanche, heard);
                if let Some((finding, evidence)) = found {
                    return self.examined(id, finding, evidence).await;
                }
                match outcome {
                    Outcome::Timed { run, usage } if waits => {
                        self.measured(id, *run, usage).await?;
                    }
                    Outcome::Cancelled if waits => {
                        self.comparison_again(id, "it gave way to other work");
                    }
                    Outcome::Failed { fault, .. } if waits && fault.kind == Kind::TryAgain => {
                        self.comparison_again(id, &fault.what);
                    }
                    Outcome::Failed { blame, fault, .. } if waits => {
                        self.comparison_failed(id, blame, fault);
                    }
                    _ => {}
                }
            }
            // Vessel was quicker than the builder's own word, which says what it was built on.
            Say::Examined {
                finding, evidence, ..
            } if from == vessel && running.is_in_a_slot() => {
                running.found = Some((*finding, evidence));
            }
            Say::Examined {
                finding, evidence, ..
            } if from == vessel => self.examined(id, *finding, evidence).await?,
            Say::Rejected { blame, why, .. } if from == vessel => {
                self.comparison_failed(id, blame, why);
            }
            _ => {}
        }
        Ok(())
    }

    /// What came of a comparison becomes a row, and a builder that is wrong alone goes to quarantine with it.
    async fn examined(&mut self, id: u64, finding: Finding, evidence: Vec<Artefact>) -> Done<()> {
        let Some(running) = self.proofs.running.get_mut(&id) else {
            return Ok(());
        };
        let Some(builder) = running.builder else {
            return Ok(());
        };
        running.stand(Standing::Done);
        let base = running.base;
        let publication = running.publication.clone();
        let comparison = Comparison {
            id,
            attempt: running.attempt,
            publication: publication.attempt,
            target: publication.target.clone(),
            release: publication.release.clone(),
            channel: publication.channel.clone(),
            publisher: publication.publisher,
            builder,
            trusted: self.args.post.trust_of(builder) == PeerTrust::Trusted,
            began: running.began,
            by: running.by.clone(),
            finding: finding.bounded(),
            evidence,
        };
        let convicted = self.convicts(&comparison, base);
        let by = comparison.by.clone();
        let at = crate::actors::now().wall;
        let hold = conviction_hold(&comparison, at);
        let attempt = comparison.attempt;
        // What it stood on first: that is what it is judged by.
        let stood = base.map(|base| StoodOn { attempt, base });
        let mut events = match stood {
            Some(stood) => self.stood_events(builder, stood),
            None => Vec::new(),
        };
        events.push((
            by,
            Event::Compared {
                comparison: Box::new(comparison),
            },
        ));
        events.extend(convicted.map(|host| {
            let conviction = Conviction {
                builder: host,
                comparison: id,
                publication: publication.attempt,
                at,
            };
            (Who::Farm, Event::Convicted { conviction, hold })
        }));
        let before: Vec<(u64, AttemptId)> = self.oldest_comparisons();
        self.record(events).await?;
        for (id, attempt) in before {
            if !self.farm.comparisons.contains_key(&id) {
                let say = Say::Forget { attempt };
                self.args.post.say(self.vessel(), Role::Vessel, say);
            }
        }
        self.proofs.look_at_ms = 0;
        if let Some(host) = convicted {
            self.take_all_away(host).await?;
        }
        self.tend_proven();
        Ok(())
    }

    /// Those that may have to make room for a new one.
    fn oldest_comparisons(&self) -> Vec<(u64, AttemptId)> {
        let oldest = self.farm.comparisons.values().take(2);
        oldest.map(|one| (one.id, one.attempt)).collect()
    }

    /// Who is wrong alone because of this comparison, and was not before.
    fn convicts(&self, comparison: &Comparison, base: Option<Digest>) -> Option<HostId> {
        let before = self.farm.judge_publication(comparison.publication);
        let after = self.farm.judge_with(comparison, base);
        let Judgement::WrongAlone(host) = &after else {
            return None;
        };
        let is_news = before.as_ref() != Some(&after) && !self.farm.convictions.contains_key(host);
        // A recipe that comes out differently by its nature proves nothing.
        let blamed_before = self.farm.judged().into_iter().any(|(all, judgement)| {
            let same = all
                .first()
                .is_some_and(|one| one.target.recipe == comparison.target.recipe);
            same && matches!(&judgement, Judgement::WrongAlone(other) if other != host)
        });
        let varies = blamed_before || self.farm.varies(&comparison.target.recipe);
        (is_news && !varies).then_some(*host)
    }

    /// What a convicted builder has is not published any more.
    async fn take_all_away(&mut self, host: HostId) -> Done<()> {
        let open: Vec<_> = self.open.iter().copied().collect();
        let live: Vec<AttemptId> = open
            .into_iter()
            .filter_map(|job| self.farm.live_attempt(job))
            .filter(|attempt| attempt.builder == host)
            .map(|attempt| attempt.id)
            .collect();
        for attempt in live {
            self.take_away(attempt, host, "its builder was wrong alone")
                .await?;
        }
        let running: Vec<u64> = self
            .proofs
            .running
            .iter()
            .filter(|(_, one)| one.builder == Some(host) && one.is_in_a_slot())
            .map(|(id, _)| *id)
            .collect();
        for id in running {
            self.comparison_again(id, "its builder was wrong alone");
        }
        Ok(())
    }

    /// A job was given to a builder: a comparison in its way is stopped.
    pub(super) fn make_room_for(&mut self, attempt: AttemptId) {
        let Some(host) = self.farm.attempts.get(&attempt).map(|known| known.builder) else {
            return;
        };
        let slots = self
            .builders
            .get(&host)
            .map_or(0, |known| known.report.slots.len());
        let taken = self.jobs_on(&host) + self.trials_on(&host) + self.comparisons_on(&host);
        for _ in slots..taken {
            self.give_way(&host);
        }
    }

    /// A person's try waits for a slot: a comparison that nobody asked for leaves one.
    pub(super) fn make_room_for_try(&mut self, on: Option<HostId>) {
        let mut all = self.proofs.running.values();
        let found = all.find(|one| {
            !one.asked
                && matches!(one.standing, Standing::Building)
                && on.is_none_or(|on| one.builder == Some(on))
        });
        if let Some(host) = found.and_then(|one| one.builder) {
            self.give_way(&host);
        }
    }

    /// Stops one comparison on a builder: the one that nobody asked for, the youngest of them.
    fn give_way(&mut self, host: &HostId) {
        let on_it = self.proofs.running.iter_mut().filter(|(_, one)| {
            one.builder == Some(*host) && matches!(one.standing, Standing::Building)
        });
        let Some((_, one)) = on_it.max_by_key(|(_, one)| (!one.asked, one.changed_ms)) else {
            return;
        };
        one.stand(Standing::GivingWay);
        let say = Say::Cancel {
            attempt: one.attempt,
            why: "there is real work".into(),
        };
        self.args.post.say(*host, Role::Avalanche, say);
    }

    /// Whether a slot of that builder is being left by a comparison.
    pub(super) fn is_giving_way(&self, host: &HostId) -> bool {
        let now_ms = crate::actors::now().mono_ms;
        let patience_ms = GIVE_WAY_MS.max(self.lease_ms() / 2);
        self.proofs.running.values().any(|one| {
            one.builder == Some(*host)
                && matches!(one.standing, Standing::GivingWay)
                && now_ms < one.changed_ms + patience_ms
        })
    }
}

/// The order of a comparison: the recorded one under another attempt.
fn just_so(order: BuildOrder, attempt: AttemptId) -> Result<BuildOrder> {
    if order.profile.executor == Executor::Boulder {
        return Err(Fault::new(
            Kind::NotFound,
            "it was built by boulder, which chooses its inputs itself: they are not the same again",
        )
        .next("profiles with the native executor can be compared"));
    }
    Ok(BuildOrder { attempt, ..order })
}
