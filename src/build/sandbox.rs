//! One build root and what runs in it, as values: what a sandbox is made of, a step, how it ended. `Session` runs them:
//! `Session::start` makes the namespaces and mounts by way of the hidden sub-command `__sandbox` of our own binary,
//! `Session::run` runs one step after another, `Session::finish` or `Session::kill` ends every process that is left.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use super::sandbox_session::{Killer, LogReader, Session, use_helper};

/// The id that processes of a sandbox have outside of it when the host runs as root. Below systemd's dynamic users
/// (61,184), above what distributions give to people (60,000); slots may count upwards from it.
pub const SANDBOX_UID: u32 = 61_000;

/// What one sandbox is made of. Paths are absolute; everything that belongs to massif lies below `state_dir`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The host's state directory. Reached through the working directory, so it may lie below a private one.
    pub state_dir: PathBuf,
    /// What is seen as `/usr`.
    pub root: Root,
    /// Directories and files of the host that are seen inside.
    pub binds: Vec<Bind>,
    /// The unprivileged id outside, when the host runs as root; an ordinary user keeps its own.
    pub outer_uid: u32,
    /// With the host's network, its `resolv.conf` and its certificates; without, there is only a loopback.
    pub network: bool,
    /// Cores of the slot; empty means all. `nproc` inside tells the same.
    pub cores: Vec<u32>,
    /// Resource limits of every process inside.
    pub limits: Limits,
}

/// What is seen as `/usr`, as [`crate::build::layers::Layers::root`] makes it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Root {
    /// Directories that are merged into `/usr`, the topmost first: packages, mask, base.
    pub usr: Vec<PathBuf>,
    /// `/etc/alternatives` of the base, if it has one.
    pub alternatives: Option<PathBuf>,
    /// The loader's cache for exactly this root: read when it exists, else made inside and written there.
    pub loader_cache: Option<PathBuf>,
}

/// One directory or file of the host inside the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Where it is on the host. A writable directory is given to the sandbox's id when the host runs as root.
    pub from: PathBuf,
    /// Where it is seen: absolute, made if missing.
    pub to: PathBuf,
    /// Whether it may be written to.
    pub writable: bool,
}

impl Bind {
    /// Seen inside, not writable.
    pub fn read_only(from: impl Into<PathBuf>, to: impl Into<PathBuf>) -> Bind {
        Bind {
            from: from.into(),
            to: to.into(),
            writable: false,
        }
    }

    /// Seen inside and writable.
    pub fn writable(from: impl Into<PathBuf>, to: impl Into<PathBuf>) -> Bind {
        Bind {
            from: from.into(),
            to: to.into(),
            writable: true,
        }
    }
}

/// Resource limits of each process of a sandbox. `None`: the host's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Processes and threads of the whole sandbox.
    pub processes_max: Option<u64>,
    /// Private memory that one process may write to (RLIMIT_DATA): a stop for one that is faster than the watchdog. What is
    /// only reserved does not count, as garbage collectors reserve much.
    pub memory_bytes_max: Option<u64>,
    /// CPU seconds of one process.
    pub cpu_s_max: Option<u64>,
    /// Size of one file.
    pub file_bytes_max: Option<u64>,
}

/// One program run in a sandbox. Nothing of the host's environment comes along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// For messages: `setup`, `build`, `unpack`...
    pub name: String,
    /// The program, an absolute path inside or a name that is looked up in the step's `PATH`, and its arguments.
    pub argv: Vec<String>,
    /// Where it starts: an absolute path inside.
    pub cwd: PathBuf,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// Written into the log before the program starts, in order with what steps write; may be empty.
    pub banner: String,
}

impl Step {
    /// A step that runs this script with bash; `script` is a path inside.
    pub fn script(name: impl Into<String>, script: impl Into<String>) -> Step {
        Step {
            name: name.into(),
            argv: vec!["/usr/bin/bash".into(), script.into()],
            cwd: PathBuf::from("/mason/build"),
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            banner: String::new(),
        }
    }
}

/// How a step's program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// With this code; 0 is success.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// The end of a step. Everything that it wrote is in the log pipe by then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepEnd {
    /// How its program ended.
    pub exit: Exit,
    /// From start to end.
    pub wall_ms: u64,
    /// User and system time of all its processes.
    pub cpu_ms: u64,
    /// The largest resident set of one of its processes.
    pub rss_kib_max: u64,
    /// Bytes that its processes made the disks read.
    pub read_bytes: u64,
    /// Bytes that its processes made the disks write.
    pub written_bytes: u64,
    /// Names of processes that outlived the program and were killed; the log says so too.
    pub outlived: Vec<String>,
}

impl StepEnd {
    /// Whether the program ended with code 0.
    pub fn ok(&self) -> bool {
        self.exit == Exit::Code(0)
    }
}

/// The directories of one attempt as phases see them: `recipe` (read-only), `sourcedir`, `build` and `install`.
pub fn mason_binds(recipe: &Path, attempt_dir: &Path) -> Vec<Bind> {
    vec![
        Bind::read_only(recipe, "/mason/recipe"),
        Bind::read_only(attempt_dir.join("sourcedir"), "/mason/sourcedir"),
        Bind::writable(attempt_dir.join("build"), "/mason/build"),
        Bind::writable(attempt_dir.join("install"), "/mason/install"),
        Bind::writable(attempt_dir.join("tmp"), "/tmp"),
    ]
}
