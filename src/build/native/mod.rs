//! The native executor: one order becomes packages. It prepares (upstreams, layers, unpacking), runs the phases of the
//! recipe in one sandbox session, splits, collects and writes the artefacts. It decides nothing and keeps no state.

mod blame;
mod cached;
mod flags;
pub(super) mod log;
pub mod measure;
mod package;
mod prepare;
pub(super) mod run;

pub(super) use self::blame::{is_full, is_read_only};

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::build::cgroup::{Bounds, Confine, Group};
use crate::build::gitsource::GitMirror;
use crate::build::layers::Layers;
use crate::build::sandbox;
use crate::build::upstream::Upstreams;
use crate::build::watch::Rules;
use crate::fault::Fault;
use crate::id::{AttemptId, Digest};
use crate::model::Glance;
use crate::model::cache::{CacheSpec, CacheState};
use crate::model::measure::PhaseTime;
use crate::model::order::{Artefact, BuildOrder, Usage};
use crate::model::who::Blame;

/// What our own lines in a log start with.
pub const LANDMARK: &str = "==>";

/// Who hears what a build tells.
type Events<'a> = &'a (dyn Fn(BuildEvent) + Send + Sync);

/// A step of a build, as the log and the dashboard name it. Grows at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Fetching upstreams, making the build root, unpacking.
    Prepare,
    /// The recipe's `setup`.
    Setup,
    /// The recipe's `build`.
    Build,
    /// The recipe's `install`.
    Install,
    /// The recipe's `check`.
    Check,
    /// Splitting, analysing, writing packages and manifests.
    Package,
}

impl Stage {
    /// The word in logs, tables and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Prepare => "prepare",
            Stage::Setup => "setup",
            Stage::Build => "build",
            Stage::Install => "install",
            Stage::Check => "check",
            Stage::Package => "package",
        }
    }
}

/// What a build tells while it runs. Log bytes are in the log file, not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildEvent {
    /// A stage began.
    Entered(Stage),
    /// The log file has this many bytes now.
    LogGrew {
        /// Bytes in the file.
        bytes: u64,
    },
    /// Bytes of an upstream or of unpacking; told a few times a second at most.
    Moved {
        /// What is moved, for people (`fetching hello-2.10.tar.gz`).
        what: String,
        /// Bytes so far.
        bytes: u64,
        /// Of how many, when known.
        of: Option<u64>,
    },
    /// The sandbox runs; all its processes are below this one.
    Started {
        /// Its first process as the host numbers it.
        init_pid: i32,
    },
    /// Something worth a line beside the log: a tool that is missing, a flag that was left out.
    Noted(String),
}

/// A build that made packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Stones and both manifests, sorted by name; they lie in `BuildContext::out_dir`.
    pub artefacts: Vec<Artefact>,
    /// What it took.
    pub usage: Usage,
    /// How long each stage took, in the order in which they ran.
    pub phases: Vec<PhaseTime>,
}

/// A build that ended without packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Whose doing.
    pub blame: Blame,
    /// Where.
    pub stage: Stage,
    /// Exit code of the phase's shell, when it was one that failed; 128 and the signal's number when one ended it.
    pub code: Option<i32>,
    /// Somebody asked for the end: `BuildContext::cancel`.
    pub cancelled: bool,
    /// What happened and the next step.
    pub fault: Fault,
    /// The last lines of the log, without landmarks.
    pub tail: Vec<String>,
    /// How long each stage took.
    pub phases: Vec<PhaseTime>,
    /// What was seen before something was killed.
    pub evidence: Vec<String>,
    /// What it took.
    pub usage: Usage,
}

/// Where a blob of this hash lies on this host; the order's blobs must be there when a build starts.
pub type BlobPath = Arc<dyn Fn(Digest) -> PathBuf + Send + Sync>;

/// What a build has of its host. Nothing in here may show in an artefact.
#[derive(Clone)]
pub struct BuildContext {
    /// The host's state directory.
    pub state_dir: PathBuf,
    /// A directory of this attempt alone (`attempts/17.2`), which is made: sources, build, install root and `out`.
    pub attempt_dir: PathBuf,
    /// The log file, which is made.
    pub log: PathBuf,
    /// The host's name, for the log.
    pub host: String,
    /// The slot, for the log.
    pub slot: u32,
    /// Cores of the slot; empty means all.
    pub cores: Vec<u32>,
    /// The unprivileged id of the sandbox when the host runs as root (`sandbox::SANDBOX_UID` and the slot's number).
    pub outer_uid: u32,
    /// Bounds of every process inside.
    pub limits: sandbox::Limits,
    /// Bounds of all of them together.
    pub rules: Rules,
    /// How the kernel keeps them to it, where it does.
    pub confine: Confine,
    /// Hears of each look at the attempt, about once a second.
    pub glance: Arc<dyn Fn(Glance, u64) + Send + Sync>,
    /// The layer cache.
    pub layers: Layers,
    /// The upstream cache.
    pub upstreams: Upstreams,
    /// Where the objects of git upstreams come from.
    pub git: GitMirror,
    /// Where blobs lie.
    pub blob: BlobPath,
    /// Ends the build when cancelled.
    pub cancel: CancellationToken,
    /// The compiler cache that it may use.
    pub cache: Option<CacheSpec>,
    /// Hears what that did.
    pub cache_seen: CacheSeen,
}

/// Who hears what a compiler cache did in a build.
pub type CacheSeen = Arc<dyn Fn(CacheState) + Send + Sync>;

impl BuildContext {
    /// Where the artefacts of the attempt lie.
    pub fn out_dir(&self) -> PathBuf {
        self.attempt_dir.join("out")
    }

    /// The control group of an attempt, where there are any.
    pub(in crate::build) fn group(&self, attempt: AttemptId) -> Option<Arc<Group>> {
        let bounds = Bounds {
            memory_bytes: self.rules.memory_bytes,
            processes: self.rules.processes,
        };
        self.confine.group(&attempt.to_string(), bounds)
    }
}

/// Builds one order. Events come while it runs, from one task and in order; the log file holds all that was said.
/// On success the working directories are gone and `out` remains; on failure they remain until the caller discards them.
pub async fn build(
    ctx: &BuildContext,
    order: &BuildOrder,
    events: &(dyn Fn(BuildEvent) + Send + Sync),
) -> Result<Built, Failure> {
    run::build(ctx, order, events).await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds run in tasks of their own, so their future must be able to move between threads.
    #[test]
    fn a_build_can_be_spawned() {
        fn spawnable<T: Send>(_: impl Fn(&'static BuildContext, &'static BuildOrder) -> T) {}
        spawnable(|ctx, order| build(ctx, order, &|_| {}));
    }
}
