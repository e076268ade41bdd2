//! What a builder is asked to do and what it answers: the values that summit, avalanche and vessel share, in one
//! process and over the wire alike. Wire types: fields are never reordered, enums grow at the end only.

use serde::{Deserialize, Serialize};

use super::profile::{Base, Executor, IsaLevel, Profile};
use super::who::Blame;
use crate::fault::Fault;
use crate::id::{Arch, AttemptId, ChannelName, Digest, PackageName, ProfileName, RecipeName};
use crate::recipe::Toolchain;

/// Bytes known by their hash: a blob of the store, or a file that is about to become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlobRef {
    /// SHA-256 of the bytes.
    pub sha256: Digest,
    /// How many there are.
    pub size: u64,
}

/// A profile as far as a builder has to know it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProfileSpec {
    /// Its name.
    pub name: ProfileName,
    /// What it builds for.
    pub arch: Arch,
    /// How new a processor the packages ask for.
    pub level: IsaLevel,
    /// For recipes that name no toolchain.
    pub toolchain: Toolchain,
    /// What build roots stand on.
    pub base: Base,
    /// Who runs the phases.
    pub executor: Executor,
    /// Where the packages will be published.
    pub channel: ChannelName,
}

impl From<&Profile> for ProfileSpec {
    fn from(profile: &Profile) -> ProfileSpec {
        ProfileSpec {
            name: profile.name.clone(),
            arch: profile.arch,
            level: profile.level,
            toolchain: profile.toolchain,
            base: profile.base.clone(),
            executor: profile.executor,
            channel: profile.channel.clone(),
        }
    }
}

/// Where a builder gets an input's bytes when it has no blob of that hash.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputFrom {
    /// The farm's own blobs, over the transfer interface.
    Farm,
    /// A remote's pool, over HTTP.
    Url(String),
}

/// One package of the build root. The order lists the whole closure, so a builder resolves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Input {
    /// The package.
    pub name: PackageName,
    /// SHA-256 of its stone.
    pub sha256: Digest,
    /// Bytes of its stone.
    pub size: u64,
    /// Where from.
    pub from: InputFrom,
}

/// Bounds of one attempt; a builder may hold it to tighter ones of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OrderLimits {
    /// Wall time of one phase; `None`: the builder's own limit.
    pub phase_s: Option<u64>,
    /// Wall time of the whole attempt.
    pub time_s: u64,
    /// Silence without processor time and I/O after which the attempt is stalled.
    pub silence_s: u64,
    /// Bytes of log before only the tail is kept.
    pub log_bytes: u64,
    /// Memory that it asks for: the builder gives it as many slots as have that together, and what they have is its limit.
    /// `None`: one slot's.
    pub memory_bytes: Option<u64>,
}

/// Build this. Everything that the result depends on is in here or named by hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildOrder {
    /// The fencing key.
    pub attempt: AttemptId,
    /// The recipe's name.
    pub recipe: RecipeName,
    /// Its version text.
    pub version: String,
    /// Its release.
    pub release: u64,
    /// The farm's rebuild counter that the stones will carry.
    pub build_release: u64,
    /// What for, how and on what.
    pub profile: ProfileSpec,
    /// The recipe's directory at the recorded commit as a deterministic tar archive.
    pub recipe_tar: BlobRef,
    /// `SOURCE_DATE_EPOCH` of the build: seconds since 1970.
    pub source_date_epoch: i64,
    /// Cores that it asks for: the builder gives it as many slots as have them together. `None`: those of one slot.
    pub jobs: Option<u32>,
    /// The whole closure of packages for the build root, sorted by name.
    pub inputs: Vec<Input>,
    /// Bounds.
    pub limits: OrderLimits,
}

impl BuildOrder {
    /// Cores, and MiB of memory, that it asks for; none is 1 and 0.
    pub fn asks(&self) -> (u32, u32) {
        let mib = self.limits.memory_bytes.map_or(0, |bytes| bytes >> 20);
        (
            self.jobs.unwrap_or(1),
            u32::try_from(mib).unwrap_or(u32::MAX),
        )
    }
}

/// What kind of file an attempt made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArtefactKind {
    /// A package.
    Stone,
    /// `manifest.<arch>.bin`.
    ManifestBin,
    /// `manifest.<arch>.jsonc`.
    ManifestJson,
}

/// One file that an attempt made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Artefact {
    /// Its file name, without directories.
    pub name: String,
    /// What it is.
    pub kind: ArtefactKind,
    /// Its bytes.
    pub blob: BlobRef,
}

/// What an attempt used, for the next prediction. Unknown is `None`, never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Wall time from the order's start to the last artefact.
    pub wall_ms: Option<u64>,
    /// Processor time of all its processes.
    pub cpu_ms: Option<u64>,
    /// Peak memory of all its processes.
    pub memory_bytes: Option<u64>,
    /// Peak disk of its directories.
    pub disk_bytes: Option<u64>,
    /// Its log.
    pub log_bytes: Option<u64>,
    /// The longest time without output, processor time and I/O.
    pub silence_ms: Option<u64>,
}

/// How an attempt ended on the builder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The artefacts are kept by the builder until vessel's receipt.
    Built {
        /// Sorted by name.
        artefacts: Vec<Artefact>,
        /// What it took.
        usage: Usage,
    },
    /// Nothing was made.
    Failed {
        /// Whose fault.
        blame: Blame,
        /// The phase that it ended in (`build`), when it got that far.
        phase: Option<String>,
        /// What happened and the next step.
        fault: Fault,
        /// What it took.
        usage: Usage,
    },
    /// Stopped because somebody asked.
    Cancelled,
    /// Levels were measured; nothing was made.
    Timed {
        /// What was measured.
        run: Box<super::isa::IsaRun>,
        /// What it took.
        usage: Usage,
    },
}
