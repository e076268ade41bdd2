//! The way of one build from order to artefacts: stages in their order, the clock over each, and whose doing an end was.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::blame::{End, Ended, cancelled, missing};
use super::cached::Cached;
use super::log::{self, Log};
use super::prepare::{self, Places};
use super::{BuildContext, BuildEvent, Built, Events, Failure, LANDMARK, Stage, package};
use crate::build::base::Base;
use crate::build::cgroup::Group;
use crate::build::emit::Alive;
use crate::build::layers::{self, Held};
use crate::build::sandbox::{self, Bind, Session, Spec, Step, StepEnd, mason_binds};
use crate::build::watch::Dog;
use crate::fault::{Fault, Kind, Result};
use crate::id::Arch;
use crate::limit;
use crate::model::measure::PhaseTime;
use crate::model::order::{BuildOrder, Usage};
use crate::model::profile::{self, IsaLevel};
use crate::model::who::Blame;
use crate::recipe::Recipe;
use crate::recipe::script::{self, Phase, Scripts, Setting};
use crate::recipe::tuning::Isa;

/// Where the scripts of the phases are seen inside.
pub(super) const SCRIPTS: &str = "/mason/scripts";

/// What we do ourselves after the phases is heard of file by file, but a disk may take its time to write one down.
const OWN_SILENCE_S_MIN: u64 = 10;

/// One build under way.
pub(super) struct Run<'a> {
    pub(super) ctx: &'a BuildContext,
    pub(super) order: &'a BuildOrder,
    pub(super) log: &'a Log,
    pub(super) events: Events<'a>,
    pub(super) dog: &'a Dog,
    pub(super) group: Option<Arc<Group>>,
    pub(super) begun: Instant,
    pub(super) stage: Stage,
    stage_begun: Instant,
    stage_offset: u64,
    phases: Vec<PhaseTime>,
    pub(super) usage: Usage,
    /// What the scripts depend on, once it is known what the compiler refuses.
    pub(super) fitted: Option<Setting>,
    /// The compiler cache that it uses.
    pub(super) cached: Option<Cached>,
}

/// Whether an event shows that something moved: a count of bytes that stands still is none.
pub(in crate::build) fn shows_life(event: &BuildEvent, last: &mut Option<(String, u64)>) -> bool {
    match event {
        BuildEvent::Moved { what, bytes, .. } => {
            let now = (what.clone(), *bytes);
            let moved = last.as_ref() != Some(&now);
            *last = Some(now);
            moved
        }
        BuildEvent::Entered(_)
        | BuildEvent::LogGrew { .. }
        | BuildEvent::Started { .. }
        | BuildEvent::Noted(_) => true,
    }
}

/// The log of a build, and what watches over it.
pub(super) fn watched(
    ctx: &BuildContext,
    order: &BuildOrder,
) -> std::result::Result<(Log, Dog), Failure> {
    let log = match Log::create(&ctx.log, order.limits.log_bytes.min(limit::LOG_BYTES_MAX)) {
        Ok(log) => log,
        Err(error) => return Err(no_log(&ctx.log, &error)),
    };
    let glance = ctx.glance.clone();
    // What we do ourselves before there is a process, such as hiding a whole machine's headers, says little meanwhile.
    let idle_max = Duration::from_secs(order.limits.silence_s.max(limit::SILENCE_S_MIN));
    let dog = Dog::start(ctx.rules, idle_max, &ctx.attempt_dir, move |seen, moved| {
        glance(seen, moved)
    });
    Ok((log, dog))
}

/// Passes events on, and lets the watchdog hear those that show life.
pub(super) fn heard<'a>(
    dog: &'a Dog,
    events: Events<'a>,
) -> impl Fn(BuildEvent) + Send + Sync + 'a {
    let moved = std::sync::Mutex::new(None);
    move |event| {
        let mut last = moved
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if shows_life(&event, &mut last) {
            dog.hear();
        }
        drop(last);
        events(event);
    }
}

pub(super) async fn build(
    ctx: &BuildContext,
    order: &BuildOrder,
    events: Events<'_>,
) -> std::result::Result<Built, Failure> {
    let (log, dog) = watched(ctx, order)?;
    let hear = heard(&dog, events);
    let events: Events<'_> = &hear;
    let mut run = Run::new(ctx, order, &log, events, &dog);
    run.group = ctx.group(order.attempt);
    run.header();
    let result = run.whole().await;
    run.leave_stage();
    if result.is_err() {
        run.measure_disk().await;
    }
    run.usage.wall_ms = Some(millis(run.begun));
    run.usage.silence_ms = Some(dog.longest_idle_ms());
    let peak = dog.glance().memory_peak_bytes;
    run.usage.memory_bytes = run.usage.memory_bytes.max((peak > 0).then_some(peak));
    match result {
        Ok(artefacts) => {
            run.landmark(&format!("made {} files", artefacts.len()));
            run.usage.log_bytes = Some(log.close());
            Ok(Built {
                artefacts,
                usage: run.usage,
                phases: run.phases,
            })
        }
        Err(end) => {
            let end = run.settle_blame(end);
            let tail = log.last_lines();
            run.landmark(&format!(
                "{} failed, by {}: {}",
                run.stage.as_str(),
                end.blame,
                end.fault
            ));
            run.usage.log_bytes = Some(log.close());
            Err(Failure {
                blame: end.blame,
                stage: run.stage,
                code: end.code,
                cancelled: end.cancelled,
                fault: end.fault,
                tail,
                phases: run.phases,
                evidence: end.evidence,
                usage: run.usage,
            })
        }
    }
}

pub(super) fn no_log(path: &Path, error: &std::io::Error) -> Failure {
    Failure {
        blame: Blame::Builder,
        stage: Stage::Prepare,
        code: None,
        cancelled: false,
        fault: match prepare::disk(path, error) {
            fault if fault.is_no_room() => Fault {
                kind: Kind::TryAgain,
                ..fault
            },
            fault => fault,
        },
        tail: Vec::new(),
        phases: Vec::new(),
        evidence: Vec::new(),
        usage: Usage::default(),
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl<'a> Run<'a> {
    /// One that begins now, in no control group.
    pub(super) fn new(
        ctx: &'a BuildContext,
        order: &'a BuildOrder,
        log: &'a Log,
        events: Events<'a>,
        dog: &'a Dog,
    ) -> Run<'a> {
        let now = Instant::now();
        Run {
            ctx,
            order,
            log,
            events,
            dog,
            group: None,
            begun: now,
            stage: Stage::Prepare,
            stage_begun: now,
            stage_offset: 0,
            phases: Vec::new(),
            usage: Usage::default(),
            fitted: None,
            cached: None,
        }
    }
}

impl Run<'_> {
    pub(super) fn header(&self) {
        let (order, ctx) = (self.order, self.ctx);
        let moment = jiff::Timestamp::now();
        self.log.say(&format!(
            "{LANDMARK} {} {}-{} (build release {}), attempt {}, profile {}, on {} slot {}, {moment:.0}",
            order.recipe, order.version, order.release, order.build_release, order.attempt, order.profile.name, ctx.host, ctx.slot
        ));
        self.log.say(&format!(
            "{LANDMARK} base {}, {} input packages, {} jobs, SOURCE_DATE_EPOCH {}",
            order.profile.base,
            order.inputs.len(),
            self.jobs(),
            order.source_date_epoch
        ));
        (self.events)(BuildEvent::Entered(Stage::Prepare));
    }

    pub(super) fn jobs(&self) -> u32 {
        let cores = match self.ctx.cores.len() {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            cores => cores,
        };
        self.order
            .jobs
            .unwrap_or(u32::try_from(cores).unwrap_or(1))
            .max(1)
    }

    pub(super) fn mark(&self, text: &str) -> String {
        let at = self.begun.elapsed().as_secs_f64();
        format!("{LANDMARK} [{at:8.3}] {text}\n")
    }

    pub(super) fn landmark(&self, text: &str) {
        let bytes = self.log.write(self.mark(text).as_bytes());
        (self.events)(BuildEvent::LogGrew { bytes });
    }

    /// A line for people, in the log and beside it.
    pub(super) fn note(&self, text: &str) {
        self.landmark(&format!("note: {text}"));
        (self.events)(BuildEvent::Noted(text.to_owned()));
    }

    pub(super) fn leave_stage(&mut self) {
        let since = self.stage_begun.duration_since(self.begun);
        self.phases.push(PhaseTime {
            name: self.stage.as_str().into(),
            started_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            took_ms: millis(self.stage_begun),
            log_offset: self.stage_offset,
        });
        self.stage_begun = Instant::now();
        self.stage_offset = self.log.written();
    }

    pub(super) fn enter(&mut self, stage: Stage) {
        self.leave_stage();
        self.stage = stage;
        (self.events)(BuildEvent::Entered(stage));
    }

    /// The most that the attempt's directories took; they are still there.
    async fn measure_disk(&mut self) {
        self.usage.disk_bytes = self.dog.disk_peak_bytes().await;
    }

    async fn whole(&mut self) -> Ended<Vec<crate::model::order::Artefact>> {
        let places = Places::make(self.ctx)?;
        let (recipe, mut scripts, held) = self.prepare(&places).await?;
        self.cached = self.cache(&places, &held.root)?;
        let (mut session, reader) = Session::start_in(
            self.spec(&places, &held, recipe.options.networking),
            self.group.clone(),
        )
        .await?;
        let idle_max = Duration::from_secs(self.order.limits.silence_s);
        self.dog.follow(session.init_pid(), idle_max);
        (self.events)(BuildEvent::Started {
            init_pid: session.init_pid(),
        });
        let reading = log::pump(reader, self.log, self.events);
        let work = async {
            let root = &held.root;
            let done = match self
                .fit(&recipe, &mut scripts, root, &places, &mut session)
                .await
            {
                Ok(()) => self.phases(&recipe, &scripts, &places, &mut session).await,
                Err(end) => Err(end),
            };
            match done {
                Ok(()) => session.finish().await.map_err(End::from),
                Err(end) => {
                    // The step's own end is what counts; what cannot be killed shows when the slot is used again.
                    let _ = session.kill().await;
                    Err(end)
                }
            }
        };
        let (worked, ()) = futures_util::future::join(work, reading).await;
        self.tell_cache().await;
        self.dog
            .leave(idle_max.max(Duration::from_secs(OWN_SILENCE_S_MIN)));
        worked?;
        self.check_log()?;
        self.landmark("writing packages");
        let artefacts = self.packages(recipe, &places, &held).await?;
        drop(held);
        self.measure_disk().await;
        for dir in places.workings() {
            layers::discard(&self.ctx.state_dir, dir)?;
        }
        Ok(artefacts)
    }

    fn check_log(&self) -> Ended<()> {
        match self.log.broken() {
            None => Ok(()),
            Some(why) => Err(Fault::new(
                Kind::Builder,
                format!("the log could not be written: {why}"),
            )
            .next("look at the disk of this builder")
            .into()),
        }
    }

    /// Everything that needs no sandbox: recipe, upstreams, layers, sources. Ends at once when cancelled or out of time.
    pub(super) async fn prepare(&self, places: &Places) -> Ended<(Recipe, Scripts, Held)> {
        let work = async {
            let file = format!("{}/stone.yaml", self.order.recipe);
            let tar = (self.ctx.blob)(self.order.recipe_tar.sha256);
            let (recipe, warnings) = prepare::recipe(&tar, places, &file)?;
            for warning in &warnings {
                self.note(&warning.to_string());
            }
            let scripts = script::scripts(&recipe, &self.setting(&recipe))?;
            let (held, fetched) =
                tokio::try_join!(self.root(), prepare::fetch(self.ctx, &recipe, self.events))?;
            for warning in &held.warnings {
                self.note(warning);
            }
            let build_root = outside(&places.build, &scripts.build_root)?;
            prepare::sources(self.ctx, &recipe, fetched, places, &build_root, self.events).await?;
            let work_dir = outside(&places.build, &scripts.work_dir)?;
            own_directories(&places.build, &work_dir, prepare::owner(self.ctx))?;
            Ok::<_, Fault>((recipe, scripts, held))
        };
        tokio::select! {
            done = work => Ok(done?),
            () = self.ctx.cancel.cancelled() => Err(cancelled()),
            () = tokio::time::sleep(self.time_left()) => Err(self.out_of_time("preparing")),
            bark = self.dog.barks() => Err(self.barked("preparing", bark)),
        }
    }

    pub(super) fn setting(&self, recipe: &Recipe) -> Setting {
        let profile = &self.order.profile;
        Setting {
            isa: match (profile.arch, profile.level) {
                (Arch::X86_64, IsaLevel::Baseline) => Isa::X86_64,
                (Arch::X86_64, IsaLevel::V3x) => Isa::X86_64V3x,
                (Arch::X86_64, IsaLevel::V4) => Isa::X86_64V4,
                (Arch::Aarch64 | Arch::Riscv64 | Arch::X86, _) => Isa::Generic,
            },
            toolchain: recipe.toolchain.unwrap_or(profile.toolchain),
            jobs: self.jobs(),
            source_date_epoch: self.order.source_date_epoch,
            unknown_flags: std::collections::BTreeSet::new(),
        }
    }

    /// Unpacks what is not in the layer cache yet and merges the root.
    async fn root(&self) -> Result<Held> {
        let (layers, blob) = (self.ctx.layers.clone(), self.ctx.blob.clone());
        let inputs: Vec<_> = self.order.inputs.iter().map(|input| input.sha256).collect();
        let base = match &self.order.profile.base {
            profile::Base::Host => Base::Host,
            profile::Base::Directory(path) => Base::Directory(path.into()),
            profile::Base::Stones => Base::Stones,
        };
        let ear = self.dog.ear();
        let work = move || {
            // Pinned until the root holds them: another slot may be making room.
            let mut pins = Vec::new();
            for input in &inputs {
                let pin = match layers.pin(input) {
                    Some(pin) => pin,
                    None => {
                        let path = blob(*input);
                        let file = File::open(&path).map_err(|error| missing(&path, &error))?;
                        layers.add_stone(input, &mut BufReader::new(file))?
                    }
                };
                pins.push(pin);
                ear.hear();
            }
            layers.root(&base, &inputs)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => Err(Fault::bug("making the build root ended oddly").because(&error)),
        }
    }

    pub(super) fn spec(&self, places: &Places, held: &Held, network: bool) -> Spec {
        let mut binds = mason_binds(&places.recipe, &self.ctx.attempt_dir);
        binds.push(Bind::read_only(&places.scripts, SCRIPTS));
        let mut root = held.root.clone();
        if let Some(cached) = &self.cached {
            cached.seen_in(&mut root, &mut binds);
        }
        Spec {
            state_dir: self.ctx.state_dir.clone(),
            root,
            binds,
            outer_uid: self.ctx.outer_uid,
            network,
            cores: self.ctx.cores.clone(),
            limits: self.ctx.limits,
        }
    }

    /// Leaves out what the compiler of this root does not know, and writes the scripts to where the phases find them.
    pub(super) async fn fit(
        &mut self,
        recipe: &Recipe,
        scripts: &mut Scripts,
        root: &sandbox::Root,
        places: &Places,
        session: &mut Session,
    ) -> Ended<()> {
        let mut setting = self.setting(recipe);
        setting.unknown_flags = self
            .unknown_flags(root, recipe, &setting, scripts, places, session)
            .await?;
        if !setting.unknown_flags.is_empty() {
            *scripts = script::scripts(recipe, &setting)?;
        }
        self.fitted = Some(setting);
        for script in &scripts.phases {
            let path = places.scripts.join(stage_of(script.phase).as_str());
            std::fs::write(&path, &script.text).map_err(|error| prepare::disk(&path, &error))?;
        }
        Ok(())
    }

    /// Runs the recipe's phases and then the split, all in one session.
    async fn phases(
        &mut self,
        recipe: &Recipe,
        scripts: &Scripts,
        places: &Places,
        session: &mut Session,
    ) -> Ended<()> {
        for script in &scripts.phases {
            let stage = stage_of(script.phase);
            self.enter(stage);
            let step = self.step(stage, &scripts.work_dir, scripts);
            let end = self
                .run_step(session, step, self.order.limits.phase_s)
                .await?;
            if !end.ok() {
                return Err(self.phase_failed(stage, end.exit));
            }
        }
        self.enter(Stage::Package);
        self.split(recipe, scripts, places, session).await
    }

    pub(super) fn step(&self, stage: Stage, cwd: &str, scripts: &Scripts) -> Step {
        let mut env = scripts.env.clone();
        if let Some(cached) = &self.cached {
            env.extend(cached.environment(stage != Stage::Prepare));
        }
        Step {
            name: stage.as_str().to_owned(),
            argv: vec![
                "/usr/bin/bash".into(),
                format!("{SCRIPTS}/{}", stage.as_str()),
            ],
            cwd: PathBuf::from(cwd),
            env: env.into_iter().collect(),
            banner: self.mark(stage.as_str()),
        }
    }

    /// One step under the clock: its own, when it is a phase, and the whole build's. Cancelled or out of time, everything in the sandbox is killed.
    pub(super) async fn run_step(
        &mut self,
        session: &mut Session,
        step: Step,
        phase_s: Option<u64>,
    ) -> Ended<StepEnd> {
        let name = step.name.clone();
        let longest = Duration::from_secs(phase_s.unwrap_or(u64::MAX));
        let time = self.time_left().min(longest);
        let killer = session.killer();
        let mut stopped = None;
        let mut running = std::pin::pin!(session.run(step));
        let clock = tokio::time::sleep(time);
        tokio::pin!(clock);
        let ended = loop {
            tokio::select! {
                ended = &mut running => break ended,
                () = self.ctx.cancel.cancelled(), if stopped.is_none() => {
                    killer.kill();
                    stopped = Some(cancelled());
                }
                () = &mut clock, if stopped.is_none() => {
                    let seen = self.dog.evidence().await;
                    killer.kill();
                    stopped = Some(self.witnessed(self.out_of_time(&name), seen));
                }
                bark = self.dog.barks(), if stopped.is_none() => {
                    killer.kill();
                    stopped = Some(self.barked(&name, bark));
                }
            }
        };
        if let Some(end) = stopped {
            return Err(end);
        }
        let end = ended?;
        self.count(&end);
        Ok(end)
    }

    fn count(&mut self, end: &StepEnd) {
        let usage = &mut self.usage;
        usage.cpu_ms = Some(usage.cpu_ms.unwrap_or(0) + end.cpu_ms);
        let memory = end.rss_kib_max * 1024;
        usage.memory_bytes = Some(usage.memory_bytes.unwrap_or(0).max(memory));
    }

    fn time_left(&self) -> Duration {
        Duration::from_secs(self.order.limits.time_s).saturating_sub(self.begun.elapsed())
    }

    /// Work of this process on a thread of its own, watched like a phase. Given up, the thread goes on for a while with
    /// directories that are thrown away.
    pub(super) async fn own_work<T: Send + 'static>(
        &self,
        what: &str,
        work: impl FnOnce(Alive<'_>) -> Result<T> + Send + 'static,
    ) -> Ended<T> {
        let ear = self.dog.ear();
        let work = tokio::task::spawn_blocking(move || work(&|| ear.hear()));
        let done = tokio::select! {
            done = work => done,
            () = self.ctx.cancel.cancelled() => return Err(cancelled()),
            () = tokio::time::sleep(self.time_left()) => return Err(self.out_of_time(what)),
            bark = self.dog.barks() => return Err(self.barked(what, bark)),
        };
        match done {
            Ok(result) => Ok(result?),
            Err(error) => Err(Fault::bug(format!("{what} ended oddly"))
                .because(&error)
                .into()),
        }
    }

    async fn packages(
        &mut self,
        recipe: Recipe,
        places: &Places,
        held: &Held,
    ) -> Ended<Vec<crate::model::order::Artefact>> {
        let order = self.order.clone();
        let (install, out, workers) = (places.install.clone(), places.out.clone(), self.jobs());
        let beside = held.root.usr.clone();
        let work = move |alive: Alive<'_>| {
            package::write(&order, &recipe, &install, &beside, &out, workers, alive)
        };
        let made = self.own_work("packaging", work).await?;
        for note in &made.notes {
            self.note(note);
        }
        Ok(made.artefacts)
    }
}

pub(super) fn stage_of(phase: Phase) -> Stage {
    match phase {
        Phase::Setup => Stage::Setup,
        Phase::Build => Stage::Build,
        Phase::Install => Stage::Install,
        Phase::Check => Stage::Check,
    }
}

/// A path of the sandbox below `/mason/build`, as the host sees it.
fn outside(build: &Path, inside: &str) -> Result<PathBuf> {
    match Path::new(inside).strip_prefix("/mason/build") {
        Ok(rest) => prepare::below(build, &rest.to_string_lossy()),
        Err(_) => Err(Fault::bug(format!("{inside} is not below /mason/build"))),
    }
}

/// Makes the directories from `build` down to where the phases start, for the sandbox's user.
fn own_directories(
    build: &Path,
    work_dir: &Path,
    owner: crate::build::archive::Owner,
) -> Result<()> {
    std::fs::create_dir_all(work_dir).map_err(|error| prepare::disk(work_dir, &error))?;
    let Some((uid, gid)) = owner else {
        return Ok(());
    };
    for dir in work_dir
        .ancestors()
        .take_while(|dir| dir.starts_with(build))
    {
        std::os::unix::fs::lchown(dir, Some(uid), Some(gid))
            .map_err(|error| prepare::disk(dir, &error))?;
    }
    Ok(())
}
