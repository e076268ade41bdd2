//! The boulder executor: one order becomes packages by way of the distribution's own tool, called as its own build daemon
//! calls it. What it may rewrite is a copy; its cache, configuration, data and root belong to the slot alone. It makes its
//! own containers, so there is no sandbox of ours around it; all its processes carry a mark and are killed by it.

mod output;
mod places;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sha2::Digest as _;

use self::output::{progress_in, stage_in, unreached};
use self::places::{Places, cannot};
use super::cgroup::Group;
use super::emit::{Alive, Heard};
use super::native::log::{self, Log};
use super::native::{
    BuildContext, BuildEvent, Built, Failure, LANDMARK, Stage, is_full, is_read_only,
};
use super::procs;
use super::sandbox::LogReader;
use super::watch::{Alarm, Bark, Dog};
use crate::fault::{Fault, Kind, Result};
use crate::id::Digest;
use crate::limit;
use crate::model::measure::PhaseTime;
use crate::model::order::{Artefact, ArtefactKind, BlobRef, BuildOrder, Usage};
use crate::model::say::ToolSpec;
use crate::model::who::Blame;

/// The profile's name in the tool's configuration.
const PROFILE: &str = "farm";
/// What every process of an attempt carries in its environment.
pub(super) const MARK: &str = "MASSIF_ATTEMPT";
/// Killed processes take a moment to be gone.
const KILL: Duration = Duration::from_secs(5);
/// How the committed manifest is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// Not at all.
    Off,
    /// A difference is a line in the log.
    Warn,
    /// A difference ends the build, by the tool itself.
    Require,
}

/// The tool on this host.
#[derive(Debug, Clone)]
pub struct Tool {
    /// Its program: a path, or a name that is looked up.
    pub program: String,
    /// What to do about the committed manifest.
    pub verify: Verify,
}

impl Tool {
    /// The program's path; a refusal with the next step when it is not there.
    pub fn find(&self) -> Result<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let places: Vec<PathBuf> = match self.program.contains('/') {
            true => vec![PathBuf::new()],
            false => std::env::split_paths(&path).collect(),
        };
        let found = places
            .into_iter()
            .map(|dir| dir.join(&self.program))
            .find(|path| path.is_file());
        found.ok_or_else(|| {
            let what = format!("this builder has no {}", self.program);
            Fault::new(Kind::Operator, what).next(
                "install boulder there, name it with `boulder = PATH` in the [builder] of its massif.toml, or give the profile executor = \"native\"",
            )
        })
    }
}

/// Starts something that keeps to these cores, as all that it starts does; none: to all that this process has. A new process
/// takes them over from the thread that starts it.
fn on_cores<T>(cores: &[u32], start: impl FnOnce() -> T) -> T {
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    let this_thread = nix::unistd::Pid::from_raw(0);
    let before = sched_getaffinity(this_thread);
    let mut wanted = CpuSet::new();
    let fits = cores.iter().all(|core| wanted.set(*core as usize).is_ok());
    let moved = match &before {
        Ok(_) if fits && !cores.is_empty() => sched_setaffinity(this_thread, &wanted),
        _ => return start(),
    };
    if let Err(error) = moved {
        tracing::warn!(%error, "cannot keep boulder to the cores of its slot");
    }
    let started = start();
    if let Ok(before) = before
        && let Err(error) = sched_setaffinity(this_thread, &before)
    {
        tracing::warn!(%error, "a thread of this host stays on the cores of a slot");
    }
    started
}

/// Live processes that carry this attempt's mark.
fn marked(mark: &str) -> Vec<Pid> {
    procs::that_hold("environ", &format!("{MARK}={mark}\0"))
}

/// Kills every process of an attempt, also those that forked away. Blocking, until none is left or the kernel holds it.
fn kill_all(mark: &str) {
    let deadline = Instant::now() + KILL;
    loop {
        let left = marked(mark);
        if left.is_empty() || Instant::now() > deadline {
            return;
        }
        for pid in left {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::KILL);
        }
        // There is no event for the end of what is not our child.
        std::thread::sleep(Duration::from_millis(5));
    }
}

struct Ended {
    blame: Blame,
    fault: Fault,
    code: Option<i32>,
    cancelled: bool,
    evidence: Vec<String>,
}

impl From<Fault> for Ended {
    fn from(fault: Fault) -> Ended {
        Ended {
            blame: match fault.kind {
                Kind::Recipe | Kind::Usage => Blame::Recipe,
                Kind::Operator | Kind::NotPermitted => Blame::Operator,
                Kind::Network | Kind::Unreachable => Blame::Network,
                Kind::Upstream => Blame::Upstream,
                _ => Blame::Builder,
            },
            fault,
            code: None,
            cancelled: false,
            evidence: Vec::new(),
        }
    }
}

/// Builds one order with the tool; the same promises as `native::build`.
pub async fn build(
    ctx: &BuildContext,
    order: &BuildOrder,
    (tool, spec): (&Tool, &ToolSpec),
    events: &(dyn Fn(BuildEvent) + Send + Sync),
) -> std::result::Result<Built, Failure> {
    let begun = Instant::now();
    let log = match Log::create(&ctx.log, order.limits.log_bytes.min(limit::LOG_BYTES_MAX)) {
        Ok(log) => log,
        Err(error) => return Err(failure(cannot(&ctx.log, &error).into(), Vec::new())),
    };
    let glance = ctx.glance.clone();
    let idle_max = Duration::from_secs(order.limits.silence_s);
    let dog = Dog::start(ctx.rules, idle_max, &ctx.attempt_dir, move |seen, moved| {
        glance(seen, moved);
    });
    log.say(&format!(
        "{LANDMARK} {} {}-{} (build release {}), attempt {}, by boulder, on {} slot {}",
        order.recipe,
        order.version,
        order.release,
        order.build_release,
        order.attempt,
        ctx.host,
        ctx.slot
    ));
    let stages = std::sync::Mutex::new(vec![(Stage::Prepare, begun, 0)]);
    events(BuildEvent::Entered(Stage::Prepare));
    let heard = |event: BuildEvent| {
        dog.hear();
        events(event);
    };
    let run = Run {
        ctx,
        order,
        tool,
        log: &log,
        dog: &dog,
        events: &heard,
        stages: &stages,
    };
    let ended = run.whole(spec).await;
    let mut usage = Usage {
        wall_ms: Some(millis(begun.elapsed())),
        cpu_ms: Some(dog.glance().cpu_ms),
        memory_bytes: Some(dog.glance().memory_peak_bytes).filter(|bytes| *bytes > 0),
        disk_bytes: dog.disk_peak_bytes().await,
        log_bytes: None,
        silence_ms: Some(dog.longest_idle_ms()),
    };
    let phases = phases_of(&stages, begun);
    match ended {
        Ok(artefacts) => {
            log.say(&format!("{LANDMARK} made {} files", artefacts.len()));
            usage.log_bytes = Some(log.close());
            Ok(Built {
                artefacts,
                usage,
                phases,
            })
        }
        Err(end) => {
            let tail = log.last_lines();
            log.say(&format!(
                "{LANDMARK} failed, by {}: {}",
                end.blame, end.fault
            ));
            usage.log_bytes = Some(log.close());
            Err(Failure {
                tail,
                usage,
                ..failure(end, phases)
            })
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

type Stages = std::sync::Mutex<Vec<(Stage, Instant, u64)>>;

fn phases_of(stages: &Stages, begun: Instant) -> Vec<PhaseTime> {
    let stages = stages
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let ends = stages.iter().skip(1).map(|(_, at, _)| *at);
    let ends = ends.chain([Instant::now()]);
    let phase = |((stage, at, offset), end): (&(Stage, Instant, u64), Instant)| PhaseTime {
        name: stage.as_str().into(),
        started_ms: millis(at.duration_since(begun)),
        took_ms: millis(end.duration_since(*at)),
        log_offset: *offset,
    };
    stages.iter().zip(ends).map(phase).collect()
}

fn failure(end: Ended, phases: Vec<PhaseTime>) -> Failure {
    let stage = match phases.last().map(|phase| phase.name.as_str()) {
        Some("setup") => Stage::Setup,
        Some("build") => Stage::Build,
        Some("install") => Stage::Install,
        Some("check") => Stage::Check,
        Some("package") => Stage::Package,
        _ => Stage::Prepare,
    };
    Failure {
        blame: end.blame,
        stage,
        code: end.code,
        cancelled: end.cancelled,
        fault: end.fault,
        tail: Vec::new(),
        phases,
        evidence: end.evidence,
        usage: Usage::default(),
    }
}

struct Run<'a> {
    ctx: &'a BuildContext,
    order: &'a BuildOrder,
    tool: &'a Tool,
    log: &'a Log,
    dog: &'a Dog,
    events: &'a (dyn Fn(BuildEvent) + Send + Sync),
    stages: &'a Stages,
}

impl Run<'_> {
    async fn whole(&self, spec: &ToolSpec) -> std::result::Result<Vec<Artefact>, Ended> {
        let program = self.tool.find()?;
        let (ctx, order, its) = (self.ctx.clone(), self.order.clone(), spec.clone());
        let its_program = program.clone();
        let make = move |_: Alive<'_>| Ok(Places::make(&ctx, &order, &its, &its_program)?);
        let places = self.own_work("preparing", make).await?;
        let done = match self.call(&program, &places).await {
            Ok(()) => self.artefacts(&places).await,
            Err(end) => Err(end),
        };
        if done.is_err() {
            places.clean_up(&self.ctx.state_dir, self.order);
        }
        done
    }

    /// Work of this process on a thread of its own, watched as the tool is.
    async fn own_work<T: Send + 'static>(
        &self,
        what: &str,
        work: impl FnOnce(Alive<'_>) -> std::result::Result<T, Ended> + Send + 'static,
    ) -> std::result::Result<T, Ended> {
        let ear = self.dog.ear();
        let work = tokio::task::spawn_blocking(move || work(&|| ear.hear()));
        tokio::select! {
            done = work => match done {
                Ok(done) => done,
                Err(error) => Err(Fault::bug(format!("{what} ended oddly")).because(&error).into()),
            },
            () = self.ctx.cancel.cancelled() => Err(cancelled()),
            _ = self.dog.barks() => {
                let recipe = &self.order.recipe;
                let text = format!("{what} of {recipe} stands still, and nothing of the recipe runs");
                Err(Fault::new(Kind::Builder, text)
                    .next("look at the disks of this builder and at the kernel's log")
                    .into())
            }
        }
    }

    async fn call(&self, program: &Path, places: &Places) -> std::result::Result<(), Ended> {
        let what = |error: std::io::Error| cannot(program, &error);
        let (end, start) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|error| what(error.into()))?;
        let errors = start.try_clone().map_err(what)?;
        let reader = LogReader::from_owned_fd(end).map_err(what)?;
        // Another farm on this machine has attempts of the same numbers.
        let farm = super::sandbox_session::marker(&self.ctx.state_dir).map_err(what)?;
        let mark = format!("{farm}:{}", self.order.attempt);
        let mut command = tokio::process::Command::new(program);
        command
            .args(places.arguments(self.order, self.tool.verify))
            .current_dir(&places.recipe)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &places.root)
            .env("LC_ALL", "C.UTF-8")
            .env(MARK, &mark)
            .env(
                "SOURCE_DATE_EPOCH",
                self.order.source_date_epoch.to_string(),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::from(start))
            .stderr(Stdio::from(errors))
            .process_group(0)
            .kill_on_drop(true);
        let spawned = on_cores(&self.ctx.cores, || command.spawn());
        let mut child = spawned.map_err(|error| {
            let what = format!("cannot run {}", program.display());
            Fault::new(Kind::Builder, what).because(&error)
        })?;
        drop(command); // and with it our write ends of the pipe
        if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
            let idle_max = Duration::from_secs(self.order.limits.silence_s);
            self.dog.follow(pid, idle_max);
            (self.events)(BuildEvent::Started { init_pid: pid });
            self.bound(pid);
        }
        let group = self.ctx.group(self.order.attempt);
        if let (Some(group), Some(pid)) = (&group, child.id())
            && let Err(error) = i32::try_from(pid).map_or(Ok(()), |pid| group.add(pid))
        {
            // Its processes carry a mark as well.
            tracing::warn!(%error, "cannot put boulder into its control group");
        }
        let seen = |line: &str| self.heard(line);
        let reading = log::pump_lines(reader, self.log, self.events, &seen);
        let waiting = async {
            let ended = self.wait(&mut child, places, group.as_deref()).await;
            // Also after a good end: what stayed behind would hold the log open.
            let mark = mark.clone();
            if let Some(group) = &group {
                group.kill();
                group.emptied().await;
            }
            // A kill that broke off is repeated when the host starts again.
            tokio::task::spawn_blocking(move || kill_all(&mark))
                .await
                .ok();
            ended
        };
        let (ended, ()) = futures_util::future::join(waiting, reading).await;
        self.dog.leave(Duration::from_secs(limit::SILENCE_S_MAX));
        ended
    }

    /// What one process of it may write to in memory: it starts the others, so they have the same bound.
    fn bound(&self, pid: i32) {
        use rustix::process::{Resource, Rlimit, prlimit};
        let (Some(max), Some(pid)) = (self.ctx.limits.memory_bytes_max, Pid::from_raw(pid)) else {
            return;
        };
        let both = Rlimit {
            current: Some(max),
            maximum: Some(max),
        };
        if let Err(error) = prlimit(Some(pid), Resource::Data, both) {
            // The watchdog looks at the sum in any case.
            tracing::warn!(%error, "cannot bound the memory of boulder's processes");
        }
    }

    fn heard(&self, line: &str) {
        let Some(stage) = stage_in(line) else {
            if let Some(text) = progress_in(line, self.stage() == Stage::Prepare) {
                (self.events)(BuildEvent::Noted(text));
            }
            return;
        };
        let mut stages = self
            .stages
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if stages.last().is_none_or(|(last, ..)| *last < stage) {
            stages.push((stage, Instant::now(), self.log.written()));
            (self.events)(BuildEvent::Entered(stage));
        }
    }

    /// The last stage that its output told.
    fn stage(&self) -> Stage {
        let stages = self
            .stages
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        stages.last().map_or(Stage::Prepare, |(stage, ..)| *stage)
    }

    async fn wait(
        &self,
        child: &mut tokio::process::Child,
        places: &Places,
        group: Option<&Group>,
    ) -> std::result::Result<(), Ended> {
        let limits = self.order.limits;
        let status = tokio::select! {
            status = child.wait() => status,
            () = self.ctx.cancel.cancelled() => {
                return Err(cancelled());
            }
            () = tokio::time::sleep(Duration::from_secs(limits.time_s)) => {
                let evidence = self.dog.evidence().await;
                let what = format!("the build was not done after {} s", limits.time_s);
                let fault = Fault::new(Kind::Recipe, what).next("see in the log what it waits for");
                return Err(Ended { evidence, ..fault.into() });
            }
            bark = self.dog.barks() => return Err(self.barked(bark)),
        };
        let status = status.map_err(|error| {
            Fault::new(Kind::Builder, "cannot wait for boulder").because(&error)
        })?;
        if status.success() {
            return Ok(());
        }
        Err(self.failed(status.code(), places, group))
    }

    /// Whose doing an end with this code was, by what the machine and the output say.
    fn failed(&self, code: Option<i32>, places: &Places, group: Option<&Group>) -> Ended {
        let lines = self.log.last_lines();
        let said = |text: &str| lines.iter().any(|line| line.contains(text));
        let attempt_dir = &self.ctx.attempt_dir;
        let full = is_full(attempt_dir) || is_full(&places.cache) || is_full(&places.root);
        let killed = group.is_some_and(|group| group.memory_kills() > 0);
        let early = self.stage() == Stage::Prepare;
        let read_log = format!(
            "read the end of its log: massif job log {}",
            self.order.attempt.job
        );
        let (kind, what, next) = if full || said("No space left on device") {
            let next = "make room on this builder; the job is tried again by itself";
            (
                Kind::TryAgain,
                "the builder's disk is full".to_string(),
                next.to_string(),
            )
        } else if is_read_only(attempt_dir) || is_read_only(&places.cache) {
            let next = "look in the kernel's log of this builder; the job is tried again by itself";
            (
                Kind::TryAgain,
                "the builder's disk became read-only".to_string(),
                next.to_string(),
            )
        } else if killed || said("Cannot allocate memory") {
            let next = "give the builder fewer slots or more memory (slot_memory_mib)";
            (
                Kind::Builder,
                "the builder had too little memory".to_string(),
                next.to_string(),
            )
        } else if early && lines.iter().any(|line| unreached(line)) {
            let what = format!(
                "boulder could not fetch what it builds {} with",
                self.order.recipe
            );
            let next = "look at the network of this builder, and at the remotes of the profile";
            (Kind::Network, what, next.to_string())
        } else if let Some(code) = code {
            let what = format!("boulder ended with code {code} for {}", self.order.recipe);
            (Kind::Recipe, what, read_log)
        } else {
            (
                Kind::Builder,
                "boulder was ended by a signal".to_string(),
                read_log,
            )
        };
        let mut fault = Fault::new(kind, what).next(next);
        fault.causes.extend(lines.last().cloned());
        Ended {
            code,
            ..fault.into()
        }
    }

    fn barked(&self, bark: Bark) -> Ended {
        let (kind, what) = match bark.alarm {
            Alarm::Stalled { idle, on_disk } => (
                if on_disk { Kind::Builder } else { Kind::Recipe },
                format!(
                    "boulder stalled: no output, no processor time, no input or output for {} s",
                    idle.as_secs()
                ),
            ),
            Alarm::Memory { bytes, max } => (
                Kind::Builder,
                format!(
                    "boulder took {} MiB of memory, the slot has {} MiB",
                    bytes >> 20,
                    max >> 20
                ),
            ),
            Alarm::Processes { count } => (Kind::Recipe, format!("boulder kept {count} processes")),
        };
        for line in &bark.evidence {
            self.log.say(&format!("{LANDMARK} {line}"));
        }
        let fault = Fault::new(kind, what).next("see in the log what its processes waited for");
        Ended {
            evidence: bark.evidence,
            ..fault.into()
        }
    }

    /// What lies in the output directory, and what the policy says about the manifest.
    async fn artefacts(&self, places: &Places) -> std::result::Result<Vec<Artefact>, Ended> {
        let out = places.out.clone();
        let look = move |alive: Alive<'_>| found_in(&out, alive);
        let found = self.own_work("reading what was made", look).await?;
        if !found.iter().any(|file| file.kind == ArtefactKind::Stone) {
            return Err(
                Fault::new(Kind::Recipe, "boulder ended well and made no package")
                    .next("read its log")
                    .into(),
            );
        }
        let made = places
            .out
            .join(format!("manifest.{}.bin", self.order.profile.arch));
        if let (Verify::Warn, Some(committed)) = (self.tool.verify, places.manifest(self.order))
            && fs::read(&committed).ok() != fs::read(&made).ok()
        {
            let text = "the manifest differs from the committed one";
            self.log.say(&format!("{LANDMARK} note: {text}"));
            (self.events)(BuildEvent::Noted(text.into()));
        }
        Ok(found)
    }
}

/// The artefacts in an output directory, sorted by name.
fn found_in(out: &Path, alive: Alive<'_>) -> std::result::Result<Vec<Artefact>, Ended> {
    let mut found = Vec::new();
    let entries = fs::read_dir(out).map_err(|error| cannot(out, &error))?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = match name.as_str() {
            name if name.ends_with(".stone") => ArtefactKind::Stone,
            name if name.starts_with("manifest.") && name.ends_with(".bin") => {
                ArtefactKind::ManifestBin
            }
            name if name.starts_with("manifest.") && name.ends_with(".jsonc") => {
                ArtefactKind::ManifestJson
            }
            _ => continue,
        };
        let path = entry.path();
        let blob = hash(&path, alive).map_err(|error| cannot(&path, &error))?;
        found.push(Artefact { name, kind, blob });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn cancelled() -> Ended {
    Ended {
        cancelled: true,
        ..Fault::new(Kind::Operator, "the build was cancelled").into()
    }
}

fn hash(path: &Path, alive: Alive<'_>) -> std::io::Result<BlobRef> {
    let mut file = Heard(fs::File::open(path)?, alive);
    let mut sha256 = sha2::Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut size = 0;
    loop {
        let read = std::io::Read::read(&mut file, &mut buffer)?;
        if read == 0 {
            break;
        }
        sha256.update(buffer.get(..read).unwrap_or_default());
        size += read as u64;
    }
    Ok(BlobRef {
        sha256: Digest(sha256.finalize().into()),
        size,
    })
}
