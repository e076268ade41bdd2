//! What summit knows, how an event is recorded, and what follows from the new state.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use ractor::{ActorProcessingErr, ActorRef};

use super::estimates::Estimates;
use super::{Args, Msg, watcher};
use crate::admin::view::ReleaseView;
use crate::channel::{ChannelState, PublishedPackage};
use crate::fault::{Fault, Kind};
use crate::id::{Arch, AttemptId, ChannelName, HostId, JobId, ProjectName, RecipeName, Seq, Stamp};
use crate::model::{
    AttemptState, Because, BuilderReport, Catalog, Change, Event, Farm, Hold, IsaLevel, Job,
    JobState, Profile, Recorded, Refusal, Target, Who,
};
use crate::plan::schedule::{Happened, Isolation, JobSpec, Requirements, Schedule, Trust};
use crate::plan::{Edges, Planner, Readiness, Source};
use crate::store::WriteSet;
use crate::store::events::Chain;

/// What an actor's function answers: an error ends the actor, and its restart rereads the store.
pub type Done<T> = Result<T, ActorProcessingErr>;

/// A builder as far as it told us.
pub struct Builder {
    /// Its last report.
    pub report: BuilderReport,
    /// When we last heard of it, in milliseconds of the monotonic clock.
    pub heard_ms: u64,
}

/// Where a running attempt stands; lost with the process, and told again.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// `prepare`, `setup`, `build`...
    pub stage: String,
    /// Seconds since it began.
    pub elapsed_s: u64,
    /// Bytes in its log.
    pub log_bytes: u64,
    /// What is going on beside the stage.
    pub doing: Option<String>,
}

/// All of it. The farm is what the rows say; the rest is derived or told again by others.
pub struct State {
    /// What it was started with.
    pub args: Args,
    /// The own address, for tasks that report back.
    pub me: ActorRef<Msg>,
    /// What the rows say.
    pub farm: Farm,
    /// The end of the log of events.
    pub chain: Chain,
    /// Names, edges and cuts.
    pub planner: Planner,
    /// Ready jobs and builders.
    pub schedule: Schedule,
    /// What each project holds at its recorded commit.
    pub catalogs: BTreeMap<ProjectName, Arc<Catalog>>,
    /// One per project.
    pub watchers: BTreeMap<ProjectName, watcher::Watcher>,
    /// Looks at each project's remote so far.
    pub intakes: BTreeMap<ProjectName, u64>,
    /// The channels as the planner knows them.
    pub channels: BTreeMap<ChannelName, Arc<ChannelState>>,
    /// What is published of each recipe, by channel and architecture.
    pub releases: BTreeMap<(ChannelName, Arch), HashMap<RecipeName, ReleaseView>>,
    /// Those that were heard of since the start.
    pub builders: BTreeMap<HostId, Builder>,
    /// Running attempts.
    pub progress: HashMap<AttemptId, Progress>,
    /// When each live attempt is given up, in milliseconds of the monotonic clock.
    pub leases: BTreeMap<AttemptId, u64>,
    /// Bases whose content is known or being looked at.
    pub bases: BTreeSet<String>,
    /// Faults of remotes and bases, by name.
    pub faults: BTreeMap<String, Fault>,
    /// Jobs that the planner knows as open.
    pub open: BTreeSet<JobId>,
    /// The last job that was opened for each target.
    pub of_target: HashMap<Target, JobId>,
    /// What is remembered of builders.
    pub wards: super::builders::Wards,
    /// Recipes that are tried without being in a repository.
    pub trials: super::tries::Trials,
    /// Comparisons that are under way.
    pub proofs: super::proof::Proofs,
    /// How long builds took.
    pub estimates: Estimates,
    /// When holds end by themselves, because their owners said so.
    pub hold_ends: BTreeSet<(Stamp, JobId)>,
    /// Which alarms stay.
    pub alarm_watch: crate::model::alarm::AlarmWatch,
    /// The walk over everything that looks for what was missed.
    pub reconcile: super::reconcile::Walk,
    /// When so many jobs are over, those that may be forgotten are counted.
    pub history_look: usize,
    /// Something changed that may make or unmake jobs.
    pub replan: bool,
    /// Bases are not known yet: planning waits for them, so that nothing is called missing that is there.
    pub bases_pending: usize,
}

/// A refusal as a person meets it.
pub fn refused(refusal: &Refusal) -> Fault {
    let kind = match refusal {
        Refusal::Unknown { .. } => Kind::NotFound,
        Refusal::Exists { .. }
        | Refusal::State { .. }
        | Refusal::Stale { .. }
        | Refusal::Repeat => Kind::Conflict,
    };
    Fault::new(kind, refusal.to_string())
}

impl State {
    /// Reads the store and starts the watchers.
    pub async fn load(me: ActorRef<Msg>, args: Args) -> Done<State> {
        let (store, upstreams) = (args.store.clone(), args.upstreams.clone());
        let (mut farm, chain, sizes) = tokio::task::spawn_blocking(move || {
            let rows = (crate::store::farm::load(&store)?, Chain::load(&store)?);
            Ok::<_, Fault>((rows.0, rows.1, upstreams.sizes()))
        })
        .await??;
        farm.seq = chain.seq;
        let mut state = State {
            args,
            me,
            farm,
            chain,
            planner: Planner::new(Edges::All),
            schedule: Schedule::new(),
            catalogs: BTreeMap::new(),
            watchers: BTreeMap::new(),
            intakes: BTreeMap::new(),
            channels: BTreeMap::new(),
            releases: BTreeMap::new(),
            builders: BTreeMap::new(),
            progress: HashMap::new(),
            leases: BTreeMap::new(),
            bases: BTreeSet::new(),
            faults: BTreeMap::new(),
            open: BTreeSet::new(),
            of_target: HashMap::new(),
            wards: super::builders::Wards::default(),
            trials: super::tries::Trials::default(),
            proofs: super::proof::Proofs::default(),
            estimates: Estimates::default(),
            hold_ends: BTreeSet::new(),
            alarm_watch: crate::model::alarm::AlarmWatch::default(),
            reconcile: super::reconcile::Walk::default(),
            history_look: 0,
            replan: true,
            bases_pending: 0,
        };
        let own = Event::HostSeen {
            host: state.args.own,
            name: state.args.name.clone(),
        };
        let mut first = vec![(Who::Farm, own)];
        if state.farm.profiles.is_empty()
            && let Some(profile) = state.args.first_profile.clone()
        {
            first.push((
                Who::Farm,
                Event::ProfileSet {
                    profile: Box::new(profile),
                },
            ));
        }
        state.record(first).await?;
        state.know_trials()?;
        let profiles: Vec<Profile> = state.farm.profiles.values().cloned().collect();
        profiles
            .iter()
            .for_each(|profile| state.know_profile(profile));
        state.never_in_roots();
        state.channels_moved();
        let projects: Vec<ProjectName> = state.farm.projects.keys().cloned().collect();
        for project in &projects {
            state.know_project(project).await;
        }
        state.estimates.know_sizes(sizes);
        for attempt in state.farm.attempts.values() {
            let job = state.farm.jobs.get(&attempt.id.job);
            let facts = job.and_then(|job| state.planner.facts_of(&job.target));
            state.estimates.learn_from(&state.farm, attempt, facts);
        }
        state.know_wards();
        let remembered: Vec<AttemptId> = state.farm.built_with.keys().copied().collect();
        for attempt in remembered {
            state.know_built_with(attempt);
        }
        state.know_jobs();
        Ok(state)
    }

    /// After a start: tells planner and schedule what the rows say of jobs that are not over.
    fn know_jobs(&mut self) {
        let now = crate::actors::now();
        let failed: Vec<_> = self
            .farm
            .jobs
            .values()
            .filter(|job| job.state == JobState::Failed)
            .cloned()
            .collect();
        for job in failed {
            if self
                .farm
                .newest(&job.target)
                .is_some_and(|newest| newest.id == job.id)
            {
                self.planner.open(&job.target, job.id, &job.because);
                self.planner.fail(&job.target);
            }
        }
        let jobs: Vec<_> = self
            .farm
            .jobs
            .values()
            .filter(|job| !job.state.is_over())
            .cloned()
            .collect();
        for job in jobs {
            self.open_job(job.id);
            // Its slot is booked when its builder reports: nobody is known yet.
            if let Some(attempt) = self.farm.live_attempt(job.id).cloned()
                && attempt.state != AttemptState::Built
            {
                self.leases
                    .insert(attempt.id, now.mono_ms + self.lease_ms());
            }
        }
    }

    /// Packages that stand for a base never go into a build root: the base is there already.
    fn never_in_roots(&mut self) {
        self.planner
            .set_never(self.farm.base_packages.keys().map(ToString::to_string));
    }

    /// How long an attempt belongs to a builder without news, in milliseconds.
    pub fn lease_ms(&self) -> u64 {
        u64::try_from(self.args.lease.as_millis()).unwrap_or(u64::MAX)
    }

    /// Records one event; the inner error says why it was refused, which changes nothing.
    pub async fn record_one(&mut self, who: Who, event: Event) -> Done<Result<(), Refusal>> {
        Ok(self
            .record(vec![(who, event)])
            .await?
            .pop()
            .unwrap_or(Err(Refusal::Repeat)))
    }

    /// Weighs events one after another, each against the state that the one before it left, makes their rows and the
    /// events durable in one commit, and answers for each whether it was taken.
    ///
    /// Memory takes a change in before the disk has it, because the next event of the batch must be weighed against it.
    /// That is safe: nobody is told anything before the commit, and a failed commit ends the actor, whose restart
    /// rereads the rows.
    pub async fn record(&mut self, events: Vec<(Who, Event)>) -> Done<Vec<Result<(), Refusal>>> {
        let at = crate::actors::now().wall;
        let mut answers = Vec::with_capacity(events.len());
        let mut all = Change::default();
        let mut set = WriteSet::new();
        let mut taken = Vec::new();
        for (who, event) in events {
            let recorded = Recorded {
                seq: Seq(self.farm.seq.0 + 1),
                at,
                who,
                event,
            };
            match self.farm.weigh(&recorded) {
                Ok(change) => {
                    self.farm.adopt(change.clone());
                    all.append(change);
                    self.farm.seq = recorded.seq;
                    self.chain.append(
                        &mut set,
                        at,
                        postcard::to_stdvec(&(&recorded.who, &recorded.event))?,
                    );
                    taken.push(recorded);
                    answers.push(Ok(()));
                }
                Err(Refusal::Repeat) => answers.push(Err(Refusal::Repeat)),
                Err(refusal) => {
                    tracing::warn!(event = ?recorded.event, %refusal, "refused");
                    answers.push(Err(refusal));
                }
            }
        }
        if taken.is_empty() {
            return Ok(answers);
        }
        let mut rows = crate::store::farm::writes(&all);
        rows.extend(set);
        crate::actors::kill_point("summit:before-commit");
        self.args.store.commit_async(rows).await?;
        crate::actors::kill_point("summit:after-commit");
        for recorded in taken {
            self.follow(&recorded.event);
            // Nobody may be watching.
            self.args.recorded.send(recorded).ok();
        }
        Ok(answers)
    }

    /// Keeps planner and schedule in step with a recorded event.
    fn follow(&mut self, event: &Event) {
        let now = crate::actors::now();
        match event {
            Event::Planned { job, target, .. } => {
                if let Some(older) = self
                    .of_target
                    .insert(target.clone(), *job)
                    .filter(|older| older != job)
                {
                    self.close_job(older);
                }
                self.open_job(*job);
            }
            Event::Unwanted { job, .. } | Event::Cancelled { job } => self.close_job(*job),
            Event::Retried { job } => self.open_job(*job),
            Event::BaseDeclared { .. } => self.never_in_roots(),
            Event::Observed { measures } => self.learn(measures),
            Event::Resolved { with } => self.know_built_with(with.attempt),
            Event::BuilderStopped { builder, .. } | Event::BuilderLetGo { builder, .. } => {
                self.refresh_builder(*builder, None)
            }
            Event::Convicted { conviction, .. } => self.refresh_builder(conviction.builder, None),
            Event::AttemptEnded { attempt, .. } => {
                self.wards.glances.remove(attempt);
                self.wards.moved.remove(attempt);
                self.leases.remove(attempt);
                self.progress.remove(attempt);
                self.schedule.take(Happened::Ended(attempt.job), now);
                self.job_may_start_again(attempt.job);
            }
            Event::Built { attempt, .. } => {
                self.wards.glances.remove(attempt);
                self.wards.moved.remove(attempt);
                self.leases.remove(attempt);
                self.progress.remove(attempt);
                self.schedule.take(Happened::Ended(attempt.job), now);
                if let Some(attempt) = self.farm.attempts.get(attempt) {
                    let job = self.farm.jobs.get(&attempt.id.job);
                    let facts = job.and_then(|job| self.planner.facts_of(&job.target));
                    self.estimates.learn_from(&self.farm, attempt, facts);
                }
            }
            Event::Published { attempt, .. } => {
                self.close_job(attempt.job);
                self.replan = true;
            }
            Event::JobHeld { job, hold } => self.hold_job(*job, hold),
            Event::PolicySet { policy } => {
                let rules = self.rules(&policy.project);
                self.planner.set_project(&policy.project, rules);
                self.weigh_accounts(&policy.project);
                self.replan = true;
            }
            Event::PrioritySet { priority } => {
                let rules = self.rules(&priority.project);
                self.planner.set_project(&priority.project, rules);
                self.replan = true;
            }
            Event::LevelChosen { choice } => self.choice_moved(&choice.project.clone()),
            Event::LevelDropped { project, .. } => self.choice_moved(project),
            Event::JobReleased { job } => self.schedule.take(Happened::Held(*job, None), now),
            Event::Raised { job, raise } => self.schedule.take(Happened::Raised(*job, *raise), now),
            Event::TipMoved { .. }
            | Event::ProjectOpened { .. }
            | Event::ProjectRemoved { .. }
            | Event::ProfileSet { .. }
            | Event::LayerSet { .. }
            | Event::ProfileRemoved { .. }
            | Event::LimitSet { .. }
            | Event::RecipeHeld { .. }
            | Event::RecipeReleased { .. }
            | Event::Imported { .. }
            | Event::RolledBack { .. } => self.replan = true,
            Event::ProjectAdded { .. }
            | Event::Measured { .. }
            | Event::Assigned { .. }
            | Event::Accepted { .. }
            | Event::HostSeen { .. }
            | Event::Compared { .. }
            | Event::IsaMeasured { .. }
            | Event::ProofPolicySet { .. }
            | Event::RiseRuleSet { .. }
            | Event::OwnerSet { .. }
            | Event::BaseNoted { .. }
            | Event::StoodOn { .. }
            | Event::CacheSet { .. }
            | Event::JobsForgotten { .. }
            | Event::AlarmRaised { .. }
            | Event::AlarmLifted { .. }
            | Event::Peer { .. } => {}
        }
    }

    /// Tells the planner what an attempt is built with: what is built again follows from it.
    fn know_built_with(&mut self, attempt: AttemptId) {
        if let Some(job) = self.farm.jobs.get(&attempt.job)
            && let Some(known) = self.farm.attempts.get(&attempt)
            && let Some(with) = self.farm.built_with.get(&attempt)
        {
            let rebuild = matches!(job.because, Because::DependencyChanged { .. });
            let build = (job.release, known.build_release);
            self.planner.made(&job.target, build, with.clone(), rebuild);
        }
    }

    fn job_may_start_again(&mut self, id: JobId) {
        let now = crate::actors::now();
        let Some(job) = self.farm.jobs.get(&id).cloned() else {
            return;
        };
        if job.state == JobState::Failed {
            self.planner.fail(&job.target);
            self.schedule.take(Happened::Gone(id), now);
            self.open.remove(&id);
            return;
        }
        if job.state != JobState::Open {
            return self.close_job(id);
        }
        if let Some(not_before) = job.not_before {
            let wait_ms = u64::try_from(not_before.0 - now.wall.0).unwrap_or(0);
            self.schedule
                .take(Happened::NotBefore(id, now.mono_ms + wait_ms), now);
        }
        if self.planner.waits_for(&job.target).is_empty() {
            self.schedule.take(Happened::Ready(id), now);
        }
    }

    /// Tells planner and schedule of a job that is to be built.
    pub fn open_job(&mut self, id: JobId) {
        let Some(job) = self.farm.jobs.get(&id).cloned() else {
            return;
        };
        let now = crate::actors::now();
        self.planner.open(&job.target, id, &job.because);
        if let Some(spec) = self.job_spec(&job) {
            let weight = self.weight(&job.target.project);
            self.schedule
                .take(Happened::Weight(spec.account.clone(), weight), now);
            self.schedule.take(Happened::Added(spec), now);
        }
        let seconds = self.expected_s(&job.target);
        self.planner.expect(&job.target, seconds);
        if let Some(hold) = &job.hold {
            self.hold_job(id, hold);
        }
        if let Some(until) = job.not_before.filter(|until| *until > now.wall) {
            let wait_ms = u64::try_from(until.0 - now.wall.0).unwrap_or(0);
            self.schedule
                .take(Happened::NotBefore(id, now.mono_ms + wait_ms), now);
        }
        self.open.insert(id);
        self.of_target.insert(job.target.clone(), id);
    }

    /// A project's share, and that of those who ask for its recipes.
    fn weight(&self, project: &ProjectName) -> f64 {
        let policy = self.farm.policies.get(project);
        f64::from(policy.map_or(1, |policy| policy.weight.max(1)))
    }

    /// Tells the schedule the share of all accounts of a project.
    fn weigh_accounts(&mut self, project: &ProjectName) {
        let weight = self.weight(project);
        let open = self.open.iter().filter_map(|id| self.farm.jobs.get(id));
        let accounts: BTreeSet<Arc<str>> = open
            .filter(|job| job.target.project == *project)
            .map(|job| account_of(job))
            .collect();
        for account in accounts {
            self.schedule
                .take(Happened::Weight(account, weight), crate::actors::now());
        }
    }

    /// Tells the schedule of a hold, and remembers when it ends.
    fn hold_job(&mut self, id: JobId, hold: &Hold) {
        let text = format!("by {}: {}", hold.owner, hold.reason);
        self.schedule
            .take(Happened::Held(id, Some(text.into())), crate::actors::now());
        self.hold_ends.extend(hold.until.map(|until| (until, id)));
    }

    /// Holds whose owners said when they end, and that are over by now.
    pub fn holds_over(&mut self, wall: Stamp) -> Vec<(Who, Event)> {
        let mut over = Vec::new();
        while let Some((_, job)) = self
            .hold_ends
            .first()
            .copied()
            .filter(|(at, _)| *at <= wall)
        {
            self.hold_ends.pop_first();
            let hold = self.farm.jobs.get(&job).and_then(|job| job.hold.as_ref());
            // It may have been released, or set anew for longer.
            if hold.is_some_and(|hold| hold.until.is_some_and(|until| until <= wall)) {
                over.push((Who::Farm, Event::JobReleased { job }));
            }
        }
        for ((project, recipe), hold) in &self.farm.recipe_holds {
            if hold.until.is_some_and(|until| until <= wall) {
                let (project, recipe) = (project.clone(), recipe.clone());
                over.push((Who::Farm, Event::RecipeReleased { project, recipe }));
            }
        }
        over
    }

    /// A job is over, or is not wanted any more: nobody builds it.
    pub fn close_job(&mut self, id: JobId) {
        if self.open.remove(&id)
            && let Some(job) = self.farm.jobs.get(&id).cloned()
        {
            self.planner.close(&job.target);
            self.schedule.take(Happened::Gone(id), crate::actors::now());
        }
        self.cancel_stale_attempt(id);
    }

    /// An attempt whose job is over is of no use: its builder stops, vessel does not expect it any more.
    fn cancel_stale_attempt(&mut self, id: JobId) {
        let Some(job) = self.farm.jobs.get(&id) else {
            return;
        };
        if !matches!(job.state, JobState::Cancelled | JobState::Superseded) {
            return;
        }
        let state = job.state.as_str();
        if let Some(attempt) = self.farm.attempts_of(id).next_back().cloned() {
            self.leases.remove(&attempt.id);
            self.progress.remove(&attempt.id);
            self.stop_attempt(attempt.id, attempt.builder, &format!("the job is {state}"));
        }
    }

    /// Repeats until nothing follows: plans what should exist, gives out what can start.
    pub async fn settle(&mut self) -> Done<()> {
        // Each round either records something or ends; a bound keeps a bug from spinning.
        for _ in 0..64 {
            let planned = self.plan_what_is_wanted().await?;
            self.pass_on_changes();
            if !planned && !self.give_out().await? {
                return Ok(());
            }
        }
        tracing::error!("the farm did not settle in 64 rounds; it goes on with the next message");
        Ok(())
    }

    /// Makes jobs that should exist and ends those that should not. Whether anything was recorded.
    async fn plan_what_is_wanted(&mut self) -> Done<bool> {
        if self.bases_pending > 0 {
            return Ok(false);
        }
        // After a start, and when a policy changed, rows say what is owed.
        self.replan |= self.planner.look_back();
        if !self.replan {
            return Ok(false);
        }
        self.replan = false;
        let mut events = self.wanted_events();
        number(&mut events, self.farm.last_job);
        let any = !events.is_empty();
        self.record(events).await?;
        Ok(any)
    }

    /// What the planner finds out from all that changed goes to the schedule.
    fn pass_on_changes(&mut self) {
        let now = crate::actors::now();
        let changes = self.planner.settle(crate::limit::SETTLE_STEPS);
        if changes.is_empty() {
            return;
        }
        for (job, readiness) in changes {
            let open = self
                .farm
                .jobs
                .get(&job)
                .is_some_and(|job| job.state == JobState::Open);
            if open {
                let happened = match readiness {
                    Readiness::Ready => Happened::Ready(job),
                    Readiness::Waits => Happened::Blocked(job),
                };
                self.schedule.take(happened, now);
            }
        }
        // What was published leaves the chains of the others as they were.
        if self.planner.take_order_moved() {
            for (job, path_s) in self.planner.paths(|target| self.expected_s(target)) {
                self.schedule.take(Happened::Path(job, path_s), now);
            }
        }
    }

    /// What a job asks of a builder.
    pub fn needs_of(&self, target: &Target) -> Requirements {
        let profile = self.farm.profiles.get(&target.profile);
        let (memory_mib, disk_mib) = self.expected_mib(target);
        Requirements {
            arch: profile.map_or(Arch::OF_THIS_PROGRAM, |profile| profile.arch),
            level: profile.map_or(IsaLevel::Baseline, |profile| profile.level),
            trust: Trust::Trusted,
            isolation: Isolation::Sandbox,
            cores: self.expected_cores(target),
            memory_mib,
            disk_mib,
        }
    }

    /// A job as the dispatcher sees it.
    pub fn job_spec(&self, job: &Job) -> Option<JobSpec> {
        self.farm.profiles.get(&job.target.profile)?;
        let seconds = self.expected_s(&job.target);
        Some(JobSpec {
            job: job.id,
            label: format!("{} {}-{}", job.target.recipe, job.version, job.release).into(),
            account: account_of(job),
            needs: self.needs_of(&job.target),
            seconds,
            path_s: seconds,
            raise: job.raise,
        })
    }

    /// Takes over what vessel published since the last look.
    pub fn channels_moved(&mut self) {
        let view = self.args.channels.borrow_and_update().clone();
        let profiles: Vec<Profile> = self.farm.profiles.values().cloned().collect();
        for (name, now) in &view.channels {
            let before = self.channels.insert(name.clone(), now.clone());
            if before.as_ref().map(|state| state.newest()) == Some(now.newest()) {
                continue;
            }
            self.replan = true;
            let archs: BTreeSet<_> = profiles
                .iter()
                .filter(|p| p.channel == *name)
                .map(|p| p.arch)
                .collect();
            for arch in archs {
                self.index_moved(
                    &Source::Channel(name.clone(), arch),
                    arch,
                    before.as_deref(),
                    now,
                );
            }
        }
    }

    fn index_moved(
        &mut self,
        source: &Source,
        arch: Arch,
        before: Option<&ChannelState>,
        now: &ChannelState,
    ) {
        let channel = self.releases.entry((now.name.clone(), arch)).or_default();
        let Some(known) = before.map(ChannelState::newest) else {
            *channel = now
                .packages
                .of_arch(arch)
                .map(|package| release_of(&now.name, package))
                .collect();
            let metas: Vec<_> = now
                .packages
                .of_arch(arch)
                .map(|package| package.meta.clone())
                .collect();
            self.planner.set_index(source, &metas);
            return;
        };
        let mut names = BTreeSet::new();
        for step in now
            .steps
            .iter()
            .rev()
            .take_while(|step| step.version.id > known)
        {
            names.extend(
                step.edits
                    .iter()
                    .filter(|edit| edit.arch == arch)
                    .map(|edit| edit.name.clone()),
            );
        }
        let mut came = Vec::new();
        let mut gone = Vec::new();
        for name in names {
            match now.packages.get(arch, name.as_str()) {
                Some(package) => {
                    channel.extend([release_of(&now.name, package)]);
                    came.push(package.meta.clone());
                }
                None => gone.push(name.to_string()),
            }
        }
        if !gone.is_empty() {
            *channel = now
                .packages
                .of_arch(arch)
                .map(|package| release_of(&now.name, package))
                .collect();
        }
        self.planner.change_index(source, &gone, &came);
    }
}

fn release_of(channel: &ChannelName, package: &PublishedPackage) -> (RecipeName, ReleaseView) {
    let release = ReleaseView {
        version: package.meta.version.clone(),
        release: package.meta.release,
        build_release: package.meta.build_release,
        channel: channel.clone(),
    };
    (package.source.clone(), release)
}

/// Whose share a job uses: its project's, or that of the person who asked for it there.
fn account_of(job: &Job) -> Arc<str> {
    let project = &job.target.project;
    match &job.because {
        Because::Asked { by, .. } if *by != Who::Farm => format!("{project} for {by}").into(),
        _ => project.as_str().into(),
    }
}

/// Gives planned jobs their numbers, in order.
pub fn number(events: &mut [(Who, Event)], last: JobId) {
    let mut next = last.0;
    for (_, event) in events {
        if let Event::Planned { job, .. } = event {
            next += 1;
            *job = JobId(next);
        }
    }
}
