//! The native executor: one order becomes packages. It prepares (upstreams, layers, unpacking), runs the phases of the
//! recipe in one sandbox session, splits, collects and writes the artefacts. It decides nothing and keeps no state.

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::id::Digest;
use crate::model::who::Blame;

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
    /// Something worth a line beside the log: a tool that is missing, a flag that was left out.
    Noted(String),
}

/// One file that a build made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artefact {
    /// File name in the attempt's directory.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
}

/// A build that made packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Stones and both manifests, sorted by name.
    pub artefacts: Vec<Artefact>,
    /// How long each stage took, in milliseconds, in the order in which they ran.
    pub stages_ms: Vec<(Stage, u64)>,
    /// What was noted on the way.
    pub notes: Vec<String>,
}

/// A build that ended without packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Whose doing.
    pub blame: Blame,
    /// Where.
    pub stage: Stage,
    /// Exit code of the phase's shell, when it was one that failed.
    pub code: Option<i32>,
    /// What happened and the next step.
    pub fault: Fault,
    /// The last lines of the log.
    pub tail: Vec<String>,
}
