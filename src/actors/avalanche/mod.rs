//! avalanche: takes orders, builds them in its slots, and keeps what came out until summit and vessel have it.
//! Sole writer of the tree `taken`.

mod bases;
pub mod builder;
mod caching;
mod clock;
pub mod disk;
mod ends;
pub mod gauge;
mod owner;
mod room;
mod share;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::sync::watch;

use self::builder::{Bounds, Job, Watch};
use self::caching::How;
use self::disk::Caches;
use self::gauge::Look;
use self::share::{choose, distinct};
use super::post::Post;
use crate::fault::{Fault, Kind, Result};
use crate::health::{Floors, Judgement, Sample, Verdict};
use crate::id::{Arch, AttemptId, Digest, HostId, HostName};
use crate::model::cache::CacheState;
use crate::model::isa;
use crate::model::{
    Artefact, BaseSeen, Blame, BuildOrder, BuilderReport, Executor, IsaLevel, Measures, Outcome,
    Role, Say, Usage, Vitals,
};
use crate::plan::schedule::slots_for;
use crate::store::taken::{Taken, TakenStage};
use crate::store::{Blobs, Store, WriteSet};

/// A start waits so long for the first look at this machine, which takes some milliseconds.
const FIRST_LOOK: std::time::Duration = std::time::Duration::from_secs(2);

/// What avalanche hears.
#[derive(Debug)]
pub enum Msg {
    /// A host says something.
    Said {
        /// Who.
        from: HostId,
        /// What.
        say: Say,
    },
    /// A build is over; sent by its own task.
    Finished {
        /// The attempt.
        attempt: AttemptId,
        /// How.
        outcome: Box<Outcome>,
        /// What it took.
        measures: Box<Measures>,
    },
    /// Say again that this attempt can be fetched, if nobody has confirmed it.
    OfferAgain(AttemptId),
    /// What a compiler cache did in a build.
    CacheSeen(Box<CacheState>),
    /// What this machine's base brings now.
    BaseSeen(Box<BaseSeen>),
    /// Which base of this builder's own an attempt was built on; sent before its end.
    StoodOn(AttemptId, Box<builder::Stood>),
    /// A host can be spoken to (again).
    PeerUp(HostId),
    /// Time passed. Carries the number of the alarm that it comes from: an older one than the present counts for nothing.
    Tick(u64),
    /// A fresh look at this machine.
    Sampled(Box<Look>),
    /// Caches were looked through for room.
    Reclaimed {
        /// Bytes on their way out; `None`: it failed.
        freed: Option<u64>,
        /// The disks after it.
        look: Box<Look>,
    },
    /// What the caches could give back.
    Cached(u64),
    /// Finish what runs and take nothing new: the host's owner wants it to end.
    Drain(String),
    /// How many builds run, and how many are built and not fetched yet.
    Busy(RpcReplyPort<(usize, usize)>),
    /// This builder as its owner sees it, also while summit is out of reach.
    Show(RpcReplyPort<crate::admin::view::BuilderView>),
    /// The builds that run here, for the same owner.
    Works(RpcReplyPort<Vec<crate::admin::view::JobView>>),
    /// What an attempt made that this host still has.
    Artefacts(AttemptId, RpcReplyPort<Result<Vec<Artefact>>>),
    /// Give everything back and answer when no process of a build is left.
    Leave(RpcReplyPort<()>),
}

/// What it needs to start.
#[derive(Clone)]
pub struct Args {
    /// This host.
    pub own: HostId,
    /// Its name.
    pub name: HostName,
    /// The host whose orders are taken.
    pub summit: HostId,
    /// The state directory.
    pub dir: PathBuf,
    /// Rows.
    pub store: Store,
    /// Blobs.
    pub blobs: Blobs,
    /// To other actors.
    pub post: Post,
    /// Cores of each slot, by number.
    pub slots: Vec<Vec<u32>>,
    /// What it builds for.
    pub arch: Arch,
    /// The processor levels that run here.
    pub levels: Vec<IsaLevel>,
    /// What the processor can do, as far as levels ask.
    pub features: Vec<String>,
    /// What is kept free.
    pub floors: Floors,
    /// Seconds of a lease: signs of life are sent three times as often at least.
    pub lease_s: u64,
    /// What builds share.
    pub tools: Arc<builder::Tools>,
    /// What a slot may take.
    pub bounds: Bounds,
    /// What is thrown away when room is short.
    pub caches: Caches,
}

/// The actor.
#[derive(Debug)]
pub struct Avalanche;

/// Its state.
pub struct State {
    args: Args,
    taken: BTreeMap<AttemptId, Taken>,
    running: BTreeMap<AttemptId, Running>,
    sample: Sample,
    judgement: Judgement,
    renewed_ms: u64,
    reported: Option<BuilderReport>,
    leaving: Option<String>,
    vitals: Vitals,
    room: room::Room,
    moments: super::moments::Moments,
    compiler_caches: Vec<CacheState>,
    bases: bases::Bases,
    /// Bases of attempts whose ends are not written down yet.
    stood: BTreeMap<AttemptId, Digest>,
    clock: clock::Clock,
    /// Ends that wait for room to be written down.
    unwritten: BTreeMap<AttemptId, (Outcome, Option<Measures>)>,
    /// Receipts that do: whether summit heard, and vessel received.
    unconfirmed: BTreeMap<AttemptId, (bool, bool)>,
    /// Whether anything is built: the gauge looks more often then.
    busy: watch::Sender<bool>,
}

struct Running {
    /// The first of them names it.
    slots: Vec<u32>,
    recipe: String,
    brief: owner::Brief,
    since: crate::id::Stamp,
    watch: Watch,
    told: Option<(String, u64, Option<String>)>,
    glanced_ms: u64,
    /// It is given back for this reason, and costs no try.
    parked: Option<Fault>,
}

impl Actor for Avalanche {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    /// Memory is rebuilt from the rows. What was running when the host went down ended with it.
    async fn pre_start(
        &self,
        me: ActorRef<Msg>,
        args: Args,
    ) -> std::result::Result<State, ActorProcessingErr> {
        let mut taken = BTreeMap::new();
        for row in args.store.scan::<Taken>() {
            let row = row?;
            taken.insert(row.attempt, row);
        }
        let judgement = Judgement {
            verdict: Verdict::Unknown,
            evidence: vec!["not looked at yet".into()],
        };
        let mut state = State {
            args,
            taken,
            running: BTreeMap::new(),
            sample: Sample::default(),
            judgement,
            renewed_ms: 0,
            reported: None,
            leaving: None,
            vitals: Vitals::default(),
            room: room::Room::default(),
            moments: super::moments::Moments::default(),
            compiler_caches: Vec::new(),
            bases: bases::Bases::default(),
            stood: BTreeMap::new(),
            clock: clock::Clock::default(),
            unwritten: BTreeMap::new(),
            unconfirmed: BTreeMap::new(),
            busy: watch::Sender::new(false),
        };
        state.end_what_ran().await?;
        let (dir, floors) = (state.args.dir.clone(), state.args.floors);
        // Nobody is told of a builder that was not looked at; a file system that hangs does not hold the start up.
        let place = dir.clone();
        let first = tokio::task::spawn_blocking(move || gauge::look(&place));
        if let Ok(Ok(look)) = tokio::time::timeout(FIRST_LOOK, first).await {
            state.take_look(look);
        }
        gauge::start(me.clone(), dir, floors, state.busy.subscribe());
        state.look_at_base(&me);
        state.wind(&me);
        Ok(state)
    }

    async fn handle(
        &self,
        me: ActorRef<Msg>,
        msg: Msg,
        state: &mut State,
    ) -> std::result::Result<(), ActorProcessingErr> {
        match msg {
            Msg::Said { from, say } => state.said(&me, from, say).await?,
            Msg::Finished {
                attempt,
                outcome,
                measures,
            } => state.finished(attempt, *outcome, *measures).await?,
            Msg::OfferAgain(attempt) => state.report_end(attempt),
            Msg::PeerUp(peer) => state.peer_up(peer),
            Msg::Tick(alarm) => {
                if state.clock.rang(alarm) {
                    state.write_again().await?;
                    state.keep_house(&me);
                    state.look_at_base(&me);
                }
            }
            Msg::Sampled(look) => state.looked(&me, *look),
            Msg::Reclaimed { freed, look } => state.reclaimed(&me, freed, *look),
            Msg::Cached(bytes) => state.room.cached_bytes = Some(bytes),
            Msg::Drain(why) => state.leaving = Some(why),
            Msg::Busy(reply) => {
                let unfetched = state.taken.values().filter(|row| row.is_unfetched());
                reply.send((state.running.len(), unfetched.count())).ok();
            }
            Msg::Show(reply) => {
                reply.send(state.own_view()).ok();
            }
            Msg::Works(reply) => {
                reply.send(state.works()).ok();
            }
            Msg::CacheSeen(seen) => state.cache_seen(*seen),
            Msg::BaseSeen(seen) => state.base_seen(*seen),
            Msg::StoodOn(attempt, stood) => state.stood_on(attempt, *stood),
            Msg::Artefacts(attempt, reply) => {
                // The asker may be gone; there is nothing to repair then.
                reply.send(state.artefacts(attempt)).ok();
            }
            Msg::Leave(reply) => {
                state.leave().await?;
                reply.send(()).ok();
            }
        }
        state.tell();
        state.wind(&me);
        Ok(())
    }
}

impl State {
    async fn said(
        &mut self,
        me: &ActorRef<Msg>,
        from: HostId,
        say: Say,
    ) -> std::result::Result<(), ActorProcessingErr> {
        match say {
            Say::Build(order) if from == self.args.summit => {
                self.ordered(me, *order, How::default()).await?
            }
            Say::BuildCached { order, cache } if from == self.args.summit => {
                self.ordered(me, *order, How::cached(cache)).await?
            }
            Say::BuildWith { order, tool } if from == self.args.summit => {
                self.ordered(me, *order, How::with_tool(*tool)).await?
            }
            Say::Measure {
                order,
                levels,
                runs,
            } if from == self.args.summit => {
                let how = How::measured(builder::Turns { levels, runs });
                self.ordered(me, *order, how).await?
            }
            Say::Cancel { attempt, why } if from == self.args.summit => {
                self.cancel(attempt, &why).await?
            }
            Say::Heard { attempt } if from == self.args.summit => {
                self.confirmed(attempt, true, false).await?
            }
            Say::Receipt { attempt } if from == self.args.post.vessel() => {
                self.confirmed(attempt, false, true).await?
            }
            Say::Terms { lease_ms } if from == self.args.summit => {
                self.args.lease_s = (lease_ms / 1000).max(1);
            }
            // Kept: summit decides what happens to it, and says `Cancel` when nobody will ever want it.
            Say::Unexpected { attempt } => {
                tracing::warn!(%attempt, "vessel does not expect this attempt (yet)");
                // Summit may have had no link to vessel when it sent the order, and then vessel hears of it later than the builder.
                let again = std::time::Duration::from_secs(crate::limit::VESSEL_RETRY_S);
                drop(me.send_after(again, move || Msg::OfferAgain(attempt)));
            }
            other => {
                tracing::warn!(from = %from.short(), ?other, "not for a builder, or not from that host")
            }
        }
        Ok(())
    }

    async fn ordered(
        &mut self,
        me: &ActorRef<Msg>,
        order: BuildOrder,
        how: How,
    ) -> std::result::Result<(), ActorProcessingErr> {
        let attempt = order.attempt;
        if let Some(row) = self.taken.get(&attempt) {
            match row.stage {
                TakenStage::Running => {
                    self.args
                        .post
                        .say(self.args.summit, Role::Summit, Say::Accepted { attempt })
                }
                TakenStage::Ended { .. } => self.report_end(attempt),
            }
            return Ok(());
        }
        let free = match &how.measure {
            Some(turns) => self
                .can_measure(turns)
                .and_then(|()| self.free_slots(&order)),
            None => self.free_slots(&order),
        };
        let slots = match free {
            Ok(slots) => slots,
            Err(why) => {
                self.args.post.say(
                    self.args.summit,
                    Role::Summit,
                    Say::Refused { attempt, why },
                );
                return Ok(());
            }
        };
        let summit = self.args.summit;
        let at = super::now().wall;
        let slot = slots.first().copied().unwrap_or(0);
        match self.take(&order, slot, at).await {
            Ok(()) => {}
            Err(fault) if fault.is_no_room() => {
                let what = format!("{} has no room to take an order", self.args.name);
                let why = Fault::new(Kind::Builder, what).because(&fault);
                let refused = Say::Refused { attempt, why };
                self.args.post.say(summit, Role::Summit, refused);
                return Ok(());
            }
            Err(fault) => return Err(fault.into()),
        }
        super::kill_point("avalanche:order-recorded");
        self.args
            .post
            .say(summit, Role::Summit, Say::Accepted { attempt });
        let mut cores: Vec<u32> = slots
            .iter()
            .filter_map(|slot| self.args.slots.get(*slot as usize))
            .flatten()
            .copied()
            .collect();
        cores.sort_unstable();
        cores.dedup();
        let job = Job {
            order,
            slot,
            cores,
            dir: self.args.dir.clone(),
            host: self.args.name.clone(),
            bounds: self
                .args
                .bounds
                .times(slots.len(), self.sample.memory_total_bytes),
            tool: how.tool,
            measure: how.measure,
            cache: how.cache,
        };
        let recipe = job.order.recipe.to_string();
        let brief = owner::Brief::of(&job.order);
        let watch = builder::start(me.clone(), self.args.tools.clone(), job);
        self.running.insert(
            attempt,
            Running {
                slots,
                recipe,
                brief,
                since: at,
                watch,
                told: None,
                glanced_ms: 0,
                parked: None,
            },
        );
        Ok(())
    }

    /// Writes down that an order is being built.
    async fn take(&mut self, order: &BuildOrder, slot: u32, at: crate::id::Stamp) -> Result<()> {
        let bug = |error: &dyn std::error::Error| Fault::bug("cannot keep an order").because(error);
        let bytes = postcard::to_stdvec(order).map_err(|error| bug(&error))?;
        let blobs = self.args.blobs.clone();
        let blob = tokio::task::spawn_blocking(move || blobs.put_bytes(&bytes))
            .await
            .map_err(|error| bug(&error))??;
        let row = Taken {
            attempt: order.attempt,
            summit: self.args.summit,
            slot,
            order: blob.sha256,
            at,
            stage: TakenStage::Running,
        };
        let mut set = WriteSet::new();
        set.put(&row);
        self.args.store.commit_async(set).await?;
        self.taken.insert(row.attempt, row);
        Ok(())
    }

    /// As many free slots as the order asks for.
    fn free_slots(&self, order: &BuildOrder) -> Result<Vec<u32>> {
        if let Some(why) = &self.leaving {
            return Err(Fault::new(
                Kind::Builder,
                format!("{} takes no new work: {why}", self.args.name),
            ));
        }
        if order.profile.arch != self.args.arch {
            let what = format!(
                "{} builds for {}, not for {}",
                self.args.name, self.args.arch, order.profile.arch
            );
            return Err(Fault::new(Kind::Builder, what));
        }
        if !self.args.levels.contains(&order.profile.level) {
            let what = format!(
                "the processor of {} lacks the level of profile {}",
                self.args.name, order.profile.name
            );
            return Err(Fault::new(Kind::Builder, what));
        }
        if order.profile.executor == Executor::Boulder {
            self.args.tools.boulder.find()?;
        }
        match self.judgement.verdict {
            Verdict::Low | Verdict::Unknown => {
                let what = format!(
                    "{} takes no new work: {}",
                    self.args.name,
                    self.judgement.evidence.join("; ")
                );
                return Err(
                    Fault::new(Kind::Builder, what).next("free space below its state directory")
                );
            }
            Verdict::Fit | Verdict::Stalled => {}
        }
        let busy: BTreeSet<u32> = self
            .running
            .values()
            .flat_map(|running| running.slots.iter().copied())
            .collect();
        let all = &self.args.slots;
        let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
        let share = self.args.bounds.memory_bytes;
        let share_mib = share.map(|bytes| u32::try_from(bytes >> 20).unwrap_or(u32::MAX));
        let wanted = slots_for((count, distinct(all), share_mib), order.asks());
        let chosen = choose(all, &busy, wanted as usize);
        let free = all.len().saturating_sub(busy.len());
        chosen.ok_or_else(|| {
            let what = match wanted {
                1 => format!("all {count} slots of {} are busy", self.args.name),
                _ => format!(
                    "it takes {wanted} of the {count} slots of {}, and {free} are free",
                    self.args.name
                ),
            };
            Fault::new(Kind::TryAgain, what)
        })
    }

    async fn cancel(
        &mut self,
        attempt: AttemptId,
        why: &str,
    ) -> std::result::Result<(), ActorProcessingErr> {
        if let Some(running) = self.running.get(&attempt) {
            running.watch.cancel(why);
            return Ok(());
        }
        // Built or ended, and nobody will fetch it.
        self.confirmed(attempt, true, true).await
    }

    fn peer_up(&mut self, peer: HostId) {
        let ended: Vec<AttemptId> = self.taken.keys().copied().collect();
        ended
            .into_iter()
            .for_each(|attempt| self.report_end(attempt));
        if peer == self.args.summit || peer == self.args.own {
            self.reported = None;
            self.renewed_ms = 0;
        }
    }

    fn artefacts(&self, attempt: AttemptId) -> Result<Vec<Artefact>> {
        match self.taken.get(&attempt).map(|row| row.stage) {
            Some(TakenStage::Ended { outcome, .. }) => match self.outcome(outcome)? {
                (Outcome::Built { artefacts, .. }, ..) => Ok(artefacts),
                (Outcome::Failed { .. } | Outcome::Cancelled | Outcome::Timed { .. }, ..) => {
                    Ok(Vec::new())
                }
            },
            Some(TakenStage::Running) => Err(Fault::new(
                Kind::TryAgain,
                format!("attempt {attempt} is still being built"),
            )),
            None => Err(Fault::new(
                Kind::NotFound,
                format!("{} has nothing of attempt {attempt}", self.args.name),
            )),
        }
    }

    /// Kills every build; each ends as given back, which costs it no try.
    async fn leave(&mut self) -> std::result::Result<(), ActorProcessingErr> {
        self.leaving = Some("the host is stopping".into());
        let running = std::mem::take(&mut self.running);
        for (attempt, running) in running {
            running.watch.kill().await;
            let fault = Fault::new(
                Kind::Builder,
                format!("{} was stopped during the build", self.args.name),
            );
            self.record_end(attempt, ended_by_builder(fault), None)
                .await?;
        }
        Ok(())
    }

    /// After every message: progress that changed, signs of life that are due, a report that changed.
    fn tell(&mut self) {
        let summit = self.args.summit;
        let now_ms = super::now().mono_ms;
        for (attempt, running) in &mut self.running {
            let seen = running.watch.look();
            let now = (seen.stage.clone(), seen.log_bytes, seen.doing.clone());
            if running.told.as_ref() != Some(&now) {
                let say = Say::Progress {
                    attempt: *attempt,
                    stage: seen.stage,
                    elapsed_s: seen.elapsed_s,
                    log_bytes: seen.log_bytes,
                    doing: seen.doing,
                };
                self.args.post.say(summit, Role::Summit, say);
                running.told = Some(now);
            }
            let due = now_ms.saturating_sub(running.glanced_ms) >= crate::limit::GLANCE_MS;
            if due && seen.glance != crate::model::Glance::default() {
                let say = Say::Glanced {
                    attempt: *attempt,
                    glance: seen.glance,
                };
                self.args.post.say(summit, Role::Summit, say);
                let say = Say::Moved {
                    attempt: *attempt,
                    bytes: seen.moved_bytes,
                };
                self.args.post.say(summit, Role::Summit, say);
                running.glanced_ms = now_ms;
            }
        }
        // Before the report, which is read with it, and before the ends of what was built on them.
        let anew = self.reported.is_none();
        self.tell_bases(anew);
        let due_ms = self.renewal_ms();
        let report = self.report();
        self.moments.keep(super::now().wall, &report);
        if self.reported.as_ref() != Some(&report)
            || now_ms.saturating_sub(self.renewed_ms) >= due_ms
            || self.renewed_ms == 0
        {
            let attempts = self
                .taken
                .values()
                .filter(|row| row.stage == TakenStage::Running);
            let attempts = attempts.map(|row| row.attempt).collect();
            self.args
                .post
                .say(summit, Role::Summit, Say::Renew { attempts });
            if self.reported.is_none() {
                // Before the report, which is read with it.
                let say = Say::Shares {
                    cores: distinct(&self.args.slots),
                    slot_memory_bytes: self.args.bounds.memory_bytes,
                };
                self.args.post.say(summit, Role::Summit, say);
            }
            self.args
                .post
                .say(summit, Role::Summit, Say::Report(Box::new(report.clone())));
            let say = Say::Vitals(Box::new(self.vitals.clone()));
            self.args.post.say(summit, Role::Summit, say);
            if let Some(bytes) = self.room.cached_bytes {
                let say = Say::Cached { bytes };
                self.args.post.say(summit, Role::Summit, say);
            }
            if self.reported.is_none() {
                let means = self.args.tools.confine.means();
                let say = Say::Confined { means };
                self.args.post.say(summit, Role::Summit, say);
                let features = self.args.features.clone();
                let say = Say::Processor { features };
                self.args.post.say(summit, Role::Summit, say);
                self.tell_caches();
            }
            self.reported = Some(report);
            self.renewed_ms = now_ms.max(1);
        }
    }

    fn report(&self) -> BuilderReport {
        let mut slots = vec![None; self.args.slots.len()];
        for (attempt, running) in &self.running {
            for slot in &running.slots {
                if let Some(slot) = slots.get_mut(*slot as usize) {
                    *slot = Some(*attempt);
                }
            }
        }
        BuilderReport {
            name: self.args.name.clone(),
            arch: self.args.arch,
            levels: self.args.levels.clone(),
            slot_cores: self
                .args
                .slots
                .iter()
                .map(|cores| u32::try_from(cores.len()).unwrap_or(1))
                .collect(),
            slots,
            memory_bytes: self.sample.memory_total_bytes,
            sample: self.sample.clone(),
            judgement: self.judgement.clone(),
            leaving: self.leaving.clone(),
        }
    }
}

fn ended_by_builder(fault: Fault) -> Outcome {
    Outcome::Failed {
        blame: Blame::Builder,
        phase: None,
        fault,
        usage: Usage::default(),
    }
}
