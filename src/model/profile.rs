//! A profile: a named build target, and where its packages and dependencies come from and go to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{Arch, BadId, ChannelName, ProfileName};
use crate::limit;
use crate::recipe::Toolchain;

/// The processor level that packages are built for. Grows at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum IsaLevel {
    /// The baseline of the architecture (x86-64-v2 on x86_64).
    Baseline,
    /// x86-64-v3 with AES, FSGSBASE, PCLMUL, RDRND and XSAVEOPT.
    V3x,
    /// x86-64-v4.
    V4,
}

/// How a recipe is built. Grows at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Executor {
    /// All by us.
    Native,
    /// The distribution's own tool.
    Boulder,
}

/// What lies below the dependencies in a build root. Grows at the end only.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Base {
    /// The builder's own `/usr`, read-only, without its development files.
    Host,
    /// A bootstrapped root in this directory of the builder.
    Directory(String),
    /// Nothing: packages only.
    Stones,
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Base::Host => f.write_str("host"),
            Base::Directory(path) => f.write_str(path),
            Base::Stones => f.write_str("stones"),
        }
    }
}

impl FromStr for Base {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        match text {
            "host" => Ok(Base::Host),
            "stones" => Ok(Base::Stones),
            path if path.starts_with('/') => Ok(Base::Directory(path.into())),
            _ => Err(BadId {
                text: text.chars().take(80).collect(),
                expected: "a base (host, stones, or the absolute path of a bootstrapped root)",
            }),
        }
    }
}

/// An index that dependencies may be taken from, beside the farm's own channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remote {
    /// A name for people.
    pub name: String,
    /// The URL or path of a `stone.index`.
    pub uri: String,
    /// Higher is asked first.
    pub priority: i32,
}

/// One profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Its name.
    pub name: ProfileName,
    /// What its packages run on.
    pub arch: Arch,
    /// How new a processor they ask for.
    pub level: IsaLevel,
    /// The compiler family for recipes that name none.
    pub toolchain: Toolchain,
    /// How they are built.
    pub executor: Executor,
    /// What lies below.
    pub base: Base,
    /// Where they are published.
    pub channel: ChannelName,
    /// Where dependencies may come from too.
    pub remotes: Vec<Remote>,
    /// A phase that runs longer is given up; `None`: the builder's own limit.
    pub phase_s_max: Option<u64>,
    /// Bytes that a log takes before only its tail is kept.
    pub log_bytes_max: u64,
}

impl Profile {
    /// What a laptop starts with: this architecture, its own `/usr`, gcc, the channel `main`.
    pub fn laptop(name: ProfileName, channel: ChannelName) -> Profile {
        Profile {
            name,
            arch: Arch::OF_THIS_PROGRAM,
            level: IsaLevel::Baseline,
            toolchain: Toolchain::Gnu,
            executor: Executor::Native,
            base: Base::Host,
            channel,
            remotes: Vec::new(),
            phase_s_max: None,
            log_bytes_max: limit::LOG_BYTES_MAX,
        }
    }
}
