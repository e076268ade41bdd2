//! One build as a task of its own: fetches the inputs, calls the executor, and reports its end to avalanche.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ractor::ActorRef;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Msg;
use crate::actors::links::Links;
use crate::build::base::Base;
use crate::build::boulder::{self, Tool};
use crate::build::cgroup::Confine;
use crate::build::gitsource::GitMirror;
use crate::build::layers::Layers;
use crate::build::native::{self, BuildContext, BuildEvent};
use crate::build::sandbox::{Limits, SANDBOX_UID};
use crate::build::upstream::Upstreams;
use crate::build::watch::Rules;
use crate::fault::{Fault, Kind, Result};
use crate::id::{AttemptId, Digest, HostId, HostName};
use crate::model::cache::CacheSpec;
use crate::model::say::ToolSpec;
use crate::model::{
    BaseSeen, Blame, BlobRef, BuildOrder, Executor, Glance, InputFrom, IsaLevel, Measures, Outcome,
    PhaseTime, Usage,
};
use crate::store::Blobs;

/// What all builds of a host share.
#[derive(Clone)]
pub struct Tools {
    /// Blobs of this host.
    pub blobs: Blobs,
    /// The layer cache.
    pub layers: Layers,
    /// The upstream cache and its mirrors.
    pub upstreams: Upstreams,
    /// Mirrors of git upstreams.
    pub git: GitMirror,
    /// The distribution's own tool.
    pub boulder: Tool,
    /// How slots are kept to their share.
    pub confine: Confine,
    /// Where the files of orders come from, when that is another host.
    pub farm: Option<(Links, HostId)>,
}

/// One order and where it is built.
pub struct Job {
    /// The order.
    pub order: BuildOrder,
    /// The slot.
    pub slot: u32,
    /// Its cores; empty: all.
    pub cores: Vec<u32>,
    /// The state directory.
    pub dir: PathBuf,
    /// The host's name, for the log.
    pub host: HostName,
    /// What its slots may take.
    pub bounds: Bounds,
    /// What the distribution's own tool has to know; `None`: the native executor.
    pub tool: Option<ToolSpec>,
    /// Nothing is made: levels are measured.
    pub measure: Option<Turns>,
    /// The compiler cache that it may use.
    pub cache: Option<CacheSpec>,
}

/// Levels whose workload is run in turns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turns {
    /// The first one is what the others are held against.
    pub levels: Vec<IsaLevel>,
    /// Runs of each.
    pub runs: u32,
}

/// What a slot may take of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Memory of all its processes; `None`: the machine's is not known.
    pub memory_bytes: Option<u64>,
    /// Its processes and threads.
    pub processes: u64,
    /// Silence after which an attempt is stalled, at most.
    pub silence_s_max: u64,
}

impl Bounds {
    /// What so many slots may take together, of a machine that has so much memory.
    pub fn times(self, slots: usize, machine_bytes: Option<u64>) -> Bounds {
        let slots = u64::try_from(slots).unwrap_or(1).max(1);
        let all = |bytes: u64| bytes.saturating_mul(slots);
        Bounds {
            memory_bytes: match slots {
                1 => self.memory_bytes,
                // Slots may have been promised more than there is, but one build cannot have it.
                _ => self
                    .memory_bytes
                    .map(|bytes| all(bytes).min(machine_bytes.unwrap_or(u64::MAX).max(bytes))),
            },
            processes: all(self.processes),
            silence_s_max: self.silence_s_max,
        }
    }
}

/// A base of this builder's own that something was built on.
#[derive(Debug, Clone)]
pub struct Stood {
    /// Which: this machine's `/usr`, or a directory.
    pub of: crate::model::Base,
    /// What it brings now.
    pub seen: Arc<BaseSeen>,
    /// What it was for that build: another one than any where it changed under it.
    pub digest: Digest,
}

/// Where a build stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// `fetch`, `prepare`, `setup`, `build`...
    pub stage: String,
    /// Seconds since it began.
    pub elapsed_s: u64,
    /// Bytes in its log.
    pub log_bytes: u64,
    /// What is going on beside the stage.
    pub doing: Option<String>,
    /// The watchdog's last look.
    pub glance: Glance,
    /// What its processes read and wrote so far.
    pub moved_bytes: u64,
}

/// A look at a running build, and the means to end it.
pub struct Watch {
    seen: Arc<Mutex<Seen>>,
    began: Instant,
    cancel: CancellationToken,
    task: Option<JoinHandle<()>>,
}

/// An avalanche that fails leaves no build behind.
impl Drop for Watch {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Watch {
    /// Where it stands now.
    pub fn look(&self) -> Seen {
        let mut seen = self
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        seen.elapsed_s = self.began.elapsed().as_secs();
        seen
    }

    /// Ends it; `Msg::Finished` says when it has ended.
    pub fn cancel(&self, why: &str) {
        tracing::info!(why, "a build is cancelled");
        self.cancel.cancel();
    }

    /// Ends it and returns when no process of it is left; nobody is told.
    pub async fn kill(mut self) {
        self.cancel.cancel();
        let Some(task) = self.task.take() else { return };
        if tokio::time::timeout(std::time::Duration::from_secs(3), task)
            .await
            .is_err()
        {
            tracing::warn!("a build did not end in 3 s; its processes die with the sandbox");
        }
    }
}

/// The log of an attempt.
pub fn log_path(dir: &Path, attempt: AttemptId) -> PathBuf {
    dir.join("logs").join(format!("{attempt}.log"))
}

/// The directory of an attempt.
pub fn attempt_dir(dir: &Path, attempt: AttemptId) -> PathBuf {
    dir.join("attempts").join(attempt.to_string())
}

/// Where an attempt's artefacts lie.
pub fn out_dir(dir: &Path, attempt: AttemptId) -> PathBuf {
    attempt_dir(dir, attempt).join("out")
}

/// Throws the directory of an attempt away, in the background.
pub fn discard(dir: &Path, attempt: AttemptId) {
    let path = attempt_dir(dir, attempt);
    if path.exists()
        && let Err(fault) = crate::build::trash::discard(dir, &path)
    {
        tracing::warn!(%fault, %attempt, "cannot throw away an attempt's directory");
    }
}

/// Starts a build; its end is told to `to`.
pub fn start(to: ActorRef<Msg>, tools: Arc<Tools>, job: Job) -> Watch {
    let seen = Arc::new(Mutex::new(Seen {
        stage: "fetch".into(),
        ..Seen::default()
    }));
    let cancel = CancellationToken::new();
    let attempt = job.order.attempt;
    let (their_seen, their_cancel) = (seen.clone(), cancel.clone());
    let seer = to.clone();
    let cache_seen: native::CacheSeen = Arc::new(move |state| {
        // An avalanche that is gone counts anew.
        seer.cast(Msg::CacheSeen(Box::new(state))).ok();
    });
    let task = tokio::spawn(async move {
        // A panic in the executor is this host's failure, never the recipe's, and must free the slot.
        let build = tokio::spawn(run(tools, (job, cache_seen), their_seen, their_cancel));
        let (outcome, measures, stood) = match build.await {
            Ok(ended) => ended,
            Err(error) => {
                let fault = Fault::bug(format!("the build of attempt {attempt} broke off"));
                let told = Told::default().of(attempt);
                (failed(fault.because(&error)), told, None)
            }
        };
        if let Some(stood) = stood {
            // Before the end, which is written down with it; gone with an avalanche that is gone.
            to.cast(Msg::StoodOn(attempt, Box::new(stood))).ok();
        }
        // When avalanche is gone, its restart finds the row and ends the attempt.
        to.cast(Msg::Finished {
            attempt,
            outcome: Box::new(outcome),
            measures: Box::new(measures),
        })
        .ok();
    });
    Watch {
        seen,
        began: Instant::now(),
        cancel,
        task: Some(task),
    }
}

fn failed(fault: Fault) -> Outcome {
    Outcome::Failed {
        blame: Blame::Builder,
        phase: None,
        fault,
        usage: Usage::default(),
    }
}

/// What an attempt took, before it is told as `Measures`.
#[derive(Default)]
struct Told {
    usage: Usage,
    phases: Vec<PhaseTime>,
    evidence: Vec<String>,
    stood: Option<Stood>,
}

impl Told {
    fn of(self, attempt: AttemptId) -> Measures {
        Measures {
            attempt,
            usage: self.usage,
            phases: self.phases,
            evidence: self.evidence,
        }
        .bounded()
    }
}

async fn run(
    tools: Arc<Tools>,
    (job, cache_seen): (Job, native::CacheSeen),
    seen: Arc<Mutex<Seen>>,
    cancel: CancellationToken,
) -> (Outcome, Measures, Option<Stood>) {
    let (attempt, began) = (job.order.attempt, Instant::now());
    let (outcome, mut told) = run_timed(tools, (job, cache_seen), seen, cancel).await;
    // Native stages count from the end of the fetch, which was before there was a log.
    let took_ms = |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let ours: u64 = told.phases.iter().map(|phase| phase.took_ms).sum();
    let fetched_ms = took_ms(began.elapsed()).saturating_sub(ours);
    for phase in &mut told.phases {
        phase.started_ms += fetched_ms;
    }
    let fetch = PhaseTime {
        name: "fetch".into(),
        started_ms: 0,
        took_ms: fetched_ms,
        log_offset: 0,
    };
    told.phases.insert(0, fetch);
    let stood = told.stood.take();
    (outcome, told.of(attempt), stood)
}

/// What a base of this builder's own brings now; `None`: it is made of packages, or cannot be looked at.
async fn base_now(base: &crate::model::Base, dir: &Path) -> Option<Arc<BaseSeen>> {
    let (base, dir) = (Base::from(base), dir.to_owned());
    let looked = tokio::task::spawn_blocking(move || crate::build::tools::look(&base, &dir));
    match looked.await {
        Ok(Ok(seen)) => seen,
        // What is not known is told as that: such a build is held against none that is.
        Ok(Err(fault)) => {
            tracing::warn!(%fault, "cannot look at what the base brings");
            None
        }
        Err(_) => None,
    }
}

async fn run_timed(
    tools: Arc<Tools>,
    (mut job, cache_seen): (Job, native::CacheSeen),
    seen: Arc<Mutex<Seen>>,
    cancel: CancellationToken,
) -> (Outcome, Told) {
    let tool = job.tool.take();
    if job.order.profile.executor == Executor::Boulder && tool.is_none() {
        let fault = Fault::new(
            Kind::Operator,
            format!("profile {} asks for boulder", job.order.profile.name),
        )
        .next("its summit does not say which repositories boulder may use: bring it up to this version");
        let outcome = Outcome::Failed {
            blame: Blame::Operator,
            phase: None,
            fault,
            usage: Usage::default(),
        };
        return (outcome, Told::default());
    }
    if tool.is_some() {
        // It fetches what it needs by itself.
        job.order.inputs.clear();
    }
    let fetched = tokio::select! {
        fetched = inputs(&tools, &job.order) => fetched,
        () = cancel.cancelled() => return (Outcome::Cancelled, Told::default()),
    };
    if let Err(mut fault) = fetched {
        let blame = match fault.kind {
            Kind::Builder | Kind::Bug => Blame::Builder,
            _ if fault.is_no_room() => Blame::Builder,
            _ => Blame::Network,
        };
        if fault.is_no_room() {
            // The job goes elsewhere, or waits for room, and its try does not count.
            fault.kind = Kind::TryAgain;
        }
        let outcome = Outcome::Failed {
            blame,
            phase: Some("fetch".into()),
            fault,
            usage: Usage::default(),
        };
        return (outcome, Told::default());
    }
    crate::actors::kill_point("builder:inputs-fetched");
    let bounds = job.bounds;
    let limits = &mut job.order.limits;
    limits.silence_s = limits.silence_s.min(bounds.silence_s_max);
    // What it asked for decided how many slots it has; from here on it has what they have.
    job.order.jobs = None;
    let order = job.order;
    let memory_bytes = bounds.memory_bytes;
    let glanced = seen.clone();
    let blobs = tools.blobs.clone();
    let context = BuildContext {
        state_dir: job.dir.clone(),
        attempt_dir: attempt_dir(&job.dir, order.attempt),
        log: log_path(&job.dir, order.attempt),
        host: job.host.to_string(),
        slot: job.slot,
        cores: job.cores,
        outer_uid: SANDBOX_UID + job.slot,
        limits: Limits {
            processes_max: Some(bounds.processes),
            // Twice, because what one process may write to it need not touch.
            memory_bytes_max: memory_bytes.map(|bytes| bytes.saturating_mul(2)),
            ..Limits::default()
        },
        rules: Rules {
            memory_bytes,
            processes: Some(bounds.processes),
        },
        confine: tools.confine.clone(),
        glance: Arc::new(move |glance, moved_bytes| {
            let mut seen = glanced.lock().unwrap_or_else(PoisonError::into_inner);
            (seen.glance, seen.moved_bytes) = (glance, moved_bytes);
        }),
        layers: tools.layers.clone(),
        upstreams: tools.upstreams.clone(),
        git: tools.git.clone(),
        blob: Arc::new(move |digest| blobs.path(&digest)),
        cancel: cancel.clone(),
        cache: job.cache,
        cache_seen,
    };
    let mut stood = None;
    if let Some(turns) = job.measure {
        let hear = |event| note(&seen, event);
        let (levels, runs) = (&turns.levels, turns.runs);
        let measured = native::measure::measure(&context, &order, levels, runs, &hear).await;
        return match measured {
            Ok((run, usage)) => {
                let told = Told {
                    usage,
                    ..Told::default()
                };
                let run = Box::new(run);
                (Outcome::Timed { run, usage }, told)
            }
            Err(failure) => ended(failure),
        };
    }
    let built = match &tool {
        None => {
            let base = &order.profile.base;
            let before = base_now(base, &job.dir).await;
            let built = native::build(&context, &order, &|event| note(&seen, event)).await;
            let after = base_now(base, &job.dir).await;
            stood = before.zip(after).map(|(before, after)| Stood {
                of: base.clone(),
                digest: match before.digest() == after.digest() {
                    true => after.digest(),
                    false => before.changed_into(&after),
                },
                seen: after,
            });
            built
        }
        // It makes its build root of packages by itself.
        Some(spec) => {
            let with = (&tools.boulder, spec);
            boulder::build(&context, &order, with, &|event| note(&seen, event)).await
        }
    };
    crate::actors::kill_point("builder:built");
    match built {
        Ok(built) => {
            let told = Told {
                usage: built.usage,
                phases: built.phases,
                evidence: Vec::new(),
                stood,
            };
            let outcome = Outcome::Built {
                artefacts: built.artefacts,
                usage: built.usage,
            };
            (outcome, told)
        }
        Err(failure) => ended(failure),
    }
}

fn ended(failure: native::Failure) -> (Outcome, Told) {
    let told = Told {
        usage: failure.usage,
        phases: failure.phases,
        evidence: failure.evidence,
        stood: None,
    };
    let outcome = match failure.cancelled {
        true => Outcome::Cancelled,
        false => Outcome::Failed {
            blame: failure.blame,
            phase: Some(failure.stage.as_str().into()),
            fault: failure.fault.bounded(),
            usage: failure.usage,
        },
    };
    (outcome, told)
}

fn note(seen: &Mutex<Seen>, event: BuildEvent) {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    match event {
        BuildEvent::Entered(stage) => {
            seen.stage = stage.as_str().into();
            seen.doing = None;
            crate::actors::kill_point(match seen.stage.as_str() {
                "prepare" => "builder:prepare",
                "build" => "builder:build",
                "package" => "builder:package",
                _ => "builder:other-stage",
            });
        }
        BuildEvent::LogGrew { bytes } => seen.log_bytes = bytes,
        BuildEvent::Moved { what, bytes, of } => {
            seen.doing = Some(match of {
                Some(of) => format!("{what}: {} of {} KiB", bytes >> 10, of >> 10),
                None => format!("{what}: {} KiB", bytes >> 10),
            });
        }
        BuildEvent::Started { .. } => {}
        BuildEvent::Noted(text) => seen.doing = Some(text),
    }
}

/// Makes sure that every package of the build root is a blob of this host.
async fn inputs(tools: &Tools, order: &BuildOrder) -> Result<()> {
    from_farm(tools, order, order.recipe_tar).await?;
    for input in &order.inputs {
        if tools.blobs.contains(&input.sha256) {
            continue;
        }
        match &input.from {
            InputFrom::Url(url) => {
                let path = tools.upstreams.fetch(url, input.sha256, &|_| {}).await?;
                let blobs = tools.blobs.clone();
                let put = tokio::task::spawn_blocking(move || {
                    blobs.put_many(&[path], crate::limit::STONE_CONTENT_BYTES_MAX)
                });
                put.await
                    .map_err(|error| Fault::bug("storing a package broke off").because(&error))??;
            }
            InputFrom::Farm if tools.farm.is_some() => {
                let blob = BlobRef {
                    sha256: input.sha256,
                    size: input.size,
                };
                published(tools, order, blob).await?;
            }
            InputFrom::Farm => {
                let what = format!(
                    "package {} ({}) is not on this host",
                    input.name, input.sha256
                );
                return Err(Fault::new(Kind::Network, what)
                    .next("massif channel verify shows what vessel still has"));
            }
        }
    }
    Ok(())
}

/// Fetches a package of the farm from the host that published it, unless it is here.
async fn published(tools: &Tools, order: &BuildOrder, blob: BlobRef) -> Result<()> {
    match &tools.farm {
        Some((links, farm)) => {
            let from = links.vessel().unwrap_or(*farm);
            links
                .fetch_blob(from, Some(order.attempt), blob, &tools.blobs)
                .await
        }
        None => Ok(()),
    }
}

/// Fetches a file of the order from the host that ordered, unless it is here.
async fn from_farm(tools: &Tools, order: &BuildOrder, blob: BlobRef) -> Result<()> {
    match &tools.farm {
        Some((links, farm)) => {
            links
                .fetch_blob(*farm, Some(order.attempt), blob, &tools.blobs)
                .await
        }
        None => Ok(()),
    }
}
