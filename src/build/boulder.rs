//! The boulder executor: one order becomes packages by way of the distribution's own tool, called as its own build daemon
//! calls it. What it may rewrite is a copy; its cache, configuration, data and root belong to the slot alone. It makes its
//! own containers, so there is no sandbox of ours around it; all its processes carry a mark and are killed by it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sha2::Digest as _;

use super::archive::{self, Unpack};
use super::emit::{Alive, Heard};
use super::native::log::{self, Log};
use super::native::{BuildContext, BuildEvent, Built, Failure, LANDMARK, Stage};
use super::procs;
use super::sandbox::LogReader;
use super::trash;
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
const MARK: &str = "MASSIF_ATTEMPT";
/// Killed processes take a moment to be gone.
const KILL: Duration = Duration::from_secs(5);
/// Where the tool's macros lie on a machine that has it.
const MACROS: &str = "/usr/share/boulder";

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

/// A text as a KDL string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A name as the tool keeps it: letters, digits and `-`; everything else becomes `_`. Never one that starts with a digit,
/// which KDL would read as a number.
fn identifier(name: &str) -> String {
    let kept = name.chars().map(|c| match c {
        c if c.is_ascii_alphanumeric() || c == '-' => c,
        _ => '_',
    });
    format!("r_{}", kept.collect::<String>())
}

/// The profile file: the farm's channel and remotes.
fn profile_text(spec: &ToolSpec) -> String {
    let mut text = format!("{PROFILE} {{\n    repositories {{\n");
    let mut names = BTreeSet::new();
    for (at, repository) in spec.repositories.iter().enumerate() {
        let mut name = identifier(&repository.name);
        if !names.insert(name.clone()) {
            name = format!("{name}_{at}");
        }
        text.push_str(&format!(
            "        {name} {{\n            description {}\n            uri {}\n            priority {}\n            active #true\n        }}\n",
            quoted(&repository.name),
            quoted(&repository.uri),
            repository.priority
        ));
    }
    text.push_str("    }\n}\n");
    text
}

/// The stage that a line of the tool's output begins, if it does.
fn stage_in(line: &str) -> Option<Stage> {
    let plain = without_colours(line);
    let word = plain
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty() && !word.contains("x86") && *word != "aarch64")
        .find(|word| word.parse::<u64>().is_err())?;
    // Its own lines stand behind a frame; what recipes print does not.
    let framed = plain
        .trim_start()
        .chars()
        .next()
        .is_some_and(|c| !c.is_ascii_alphanumeric());
    match (framed, word) {
        (true, "Prepare" | "Fetch" | "Install_dependencies") => Some(Stage::Prepare),
        (true, "Setup") => Some(Stage::Setup),
        (true, "Build") => Some(Stage::Build),
        (true, "Install") => Some(Stage::Install),
        (true, "Check") => Some(Stage::Check),
        (true, "Package" | "Packaging" | "Analyzing" | "Emitting") => Some(Stage::Package),
        _ => None,
    }
}

/// A line without escape sequences.
fn without_colours(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            for c in rest.by_ref() {
                if c.is_ascii_alphabetic() {
                    break;
                }
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// The tool's own directories of one slot.
struct Places {
    cache: PathBuf,
    config: PathBuf,
    data: PathBuf,
    root: PathBuf,
    recipe: PathBuf,
    out: PathBuf,
}

fn cannot(path: &Path, error: &std::io::Error) -> Fault {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Kind::TryAgain,
        _ => Kind::Builder,
    };
    Fault::new(kind, format!("cannot write {}", path.display()))
        .because(error)
        .next("look at the disk of this builder and at the rights of its state directory")
}

fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (entry, to) = (entry?, to);
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy_tree(&entry.path(), &to)?,
            false => fs::copy(entry.path(), &to).map(drop)?,
        }
    }
    Ok(())
}

impl Places {
    fn make(ctx: &BuildContext, order: &BuildOrder, spec: &ToolSpec) -> Result<Places> {
        let slot = ctx
            .state_dir
            .join("boulder")
            .join(format!("slot-{}", ctx.slot));
        let places = Places {
            cache: slot.join("cache"),
            config: slot.join("config"),
            data: slot.join("data"),
            root: slot.join("root"),
            recipe: ctx.attempt_dir.join("recipe"),
            out: ctx.out_dir(),
        };
        // Written anew for each attempt: remotes change.
        let profiles = places.config.join("profile.d");
        let dirs = [
            &places.cache,
            &profiles,
            &places.root,
            &places.recipe,
            &places.out,
        ];
        for dir in dirs {
            fs::create_dir_all(dir).map_err(|error| cannot(dir, &error))?;
        }
        if !places.data.exists() {
            let made = match Path::new(MACROS).is_dir() {
                true => copy_tree(Path::new(MACROS), &places.data),
                false => fs::create_dir_all(&places.data),
            };
            made.map_err(|error| cannot(&places.data, &error))?;
        }
        let file = profiles.join(format!("{PROFILE}.kdl"));
        fs::write(&file, profile_text(spec)).map_err(|error| cannot(&file, &error))?;
        let tar = (ctx.blob)(order.recipe_tar.sha256);
        let what = Unpack::new(&tar, "the recipe's directory", &places.recipe);
        archive::unpack(&what, &mut |_| true)?;
        Ok(places)
    }

    /// The committed manifest, if the recipe has one.
    fn manifest(&self, order: &BuildOrder) -> Option<PathBuf> {
        let path = self
            .recipe
            .join(format!("manifest.{}.bin", order.profile.arch));
        path.is_file().then_some(path)
    }

    fn arguments(&self, order: &BuildOrder, verify: Verify) -> Vec<OsString> {
        let mut all: Vec<OsString> = Vec::new();
        for (name, dir) in [
            ("--cache-dir", &self.cache),
            ("--config-dir", &self.config),
            ("--data-dir", &self.data),
            ("--moss-root", &self.root),
        ] {
            all.push(name.into());
            all.push(dir.into());
        }
        all.extend(["build", "-p", PROFILE, "--update", "--cleanup", "-b"].map(OsString::from));
        all.push(order.build_release.to_string().into());
        if let (Verify::Require, Some(manifest)) = (verify, self.manifest(order)) {
            all.push("--verify".into());
            all.push(manifest.into());
        }
        all.push("-o".into());
        all.push((&self.out).into());
        all.push("--".into());
        all.push((&self.recipe).into());
        all
    }

    /// Throws away what a build that failed left of itself: trees named after it, below the cache and in the root.
    fn clean_up(&self, state_dir: &Path, order: &BuildOrder) {
        let name = format!("{}-{}-{}", order.recipe, order.version, order.release);
        let mut rest = vec![(self.cache.clone(), 0), (self.root.clone(), 0)];
        while let Some((dir, depth)) = rest.pop() {
            for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if entry.file_name().to_string_lossy().starts_with(&name) {
                    if let Err(fault) = trash::discard(state_dir, &path) {
                        tracing::warn!(%fault, "cannot clean up after boulder");
                    }
                } else if depth < 2 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    rest.push((path, depth + 1));
                }
            }
        }
    }
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
    let dog = Dog::start(ctx.rules, idle_max, &ctx.attempt_dir, move |seen| {
        glance(seen);
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
        let make = move |_: Alive<'_>| Ok(Places::make(&ctx, &order, &its)?);
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
        let mut child = command.spawn().map_err(|error| {
            let what = format!("cannot run {}", program.display());
            Fault::new(Kind::Builder, what).because(&error)
        })?;
        drop(command); // and with it our write ends of the pipe
        if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
            let idle_max = Duration::from_secs(self.order.limits.silence_s);
            self.dog.follow(pid, idle_max);
            (self.events)(BuildEvent::Started { init_pid: pid });
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
            let ended = self.wait(&mut child).await;
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

    fn heard(&self, line: &str) {
        let Some(stage) = stage_in(line) else { return };
        let mut stages = self
            .stages
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if stages.last().is_none_or(|(last, ..)| *last < stage) {
            stages.push((stage, Instant::now(), self.log.written()));
            (self.events)(BuildEvent::Entered(stage));
        }
    }

    async fn wait(&self, child: &mut tokio::process::Child) -> std::result::Result<(), Ended> {
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
        let lines = self.log.last_lines();
        let full = lines
            .iter()
            .any(|line| line.contains("No space left on device"));
        let (kind, what) = match (full, status.code()) {
            (true, _) => (Kind::TryAgain, "the builder's disk is full".to_string()),
            (false, Some(code)) => (
                Kind::Recipe,
                format!("boulder ended with code {code} for {}", self.order.recipe),
            ),
            (false, None) => (Kind::Builder, "boulder was ended by a signal".to_string()),
        };
        let mut fault = Fault::new(kind, what).next(format!(
            "read the end of its log: massif job log {}",
            self.order.attempt.job
        ));
        fault.causes.extend(lines.last().cloned());
        Err(Ended {
            code: status.code(),
            ..fault.into()
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::say::Repository;

    #[test]
    fn names_and_addresses_cannot_break_out_of_the_profile() {
        let spec = ToolSpec {
            repositories: vec![
                Repository {
                    name: "base } evil {".into(),
                    uri: "file:///a\"b\\c\nd".into(),
                    priority: -5,
                },
                Repository {
                    name: "base } evil {".into(),
                    uri: "https://example.org/stone.index".into(),
                    priority: 100,
                },
            ],
        };
        let text = profile_text(&spec);
        assert!(text.contains(r#"uri "file:///a\"b\\c\nd""#), "{text}");
        assert!(
            text.contains("r_base___evil__ {") && text.contains("r_base___evil___1 {"),
            "{text}"
        );
        assert!(
            text.contains("priority -5\n") && text.contains("active #true"),
            "{text}"
        );
    }

    #[test]
    fn its_own_lines_tell_the_stage_and_what_recipes_print_does_not() {
        for (line, stage) in [
            (
                "\u{1b}[2m│\u{1b}[0m \u{1b}[33mSetup\u{1b}[0m │",
                Some(Stage::Setup),
            ),
            ("• x86_64 │ Build", Some(Stage::Build)),
            ("│Install│ cp a b", Some(Stage::Install)),
            ("│ Check", Some(Stage::Check)),
            ("│Package│", Some(Stage::Package)),
            ("Build files have been written to: /mason", None),
            ("│A│ Build", None),
            ("", None),
        ] {
            assert_eq!(stage_in(line), stage, "{line:?}");
        }
    }
}
