//! Channels as values: what is published, how it changes, and what may not be published. A version costs its change.

pub mod packages;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use packages::PackageMap;

use crate::id::{
    Arch, AttemptId, ChannelName, Digest, HostId, PackageName, ProfileName, RecipeName, Stamp,
    VersionId,
};
use crate::model::Who;
use crate::stone::Meta;

/// The stream that always follows the newest version.
pub const VOLATILE: &str = "volatile";

/// A file that an attempt made, as its builder reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artefact {
    /// Its file name, without a directory.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
}

/// What summit lets an attempt publish. Vessel takes nothing from an attempt that it does not expect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// The fencing key.
    pub attempt: AttemptId,
    /// The builder: artefacts from another host are refused.
    pub host: HostId,
    /// The recipe's name, which the packages must carry as their source.
    pub source: RecipeName,
    /// The recipe's release.
    pub release: u64,
    /// The farm's rebuild counter.
    pub build_release: u64,
    /// The profile that it is built for.
    pub profile: ProfileName,
    /// Where it goes.
    pub channel: ChannelName,
    /// The architecture that the packages must have.
    pub arch: Arch,
}

/// A package that a channel has or had: its metadata as the index shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedPackage {
    /// Its name, checked.
    pub name: PackageName,
    /// The recipe that made it, checked.
    pub source: RecipeName,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// Bytes of the file.
    pub size: u64,
    /// The metadata, `uri`, `hash` and `size` included.
    pub meta: Meta,
}

/// Why a version exists. Grows at the end only: it lies in rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The channel was made: version 1, empty.
    Created,
    /// An attempt's packages replaced all of its source's.
    Built {
        /// The attempt.
        attempt: AttemptId,
        /// The source.
        source: RecipeName,
        /// The version of the packages, with release and build release (`8.4-35-1`).
        what: String,
    },
    /// Somebody brought package files.
    Imported {
        /// Who.
        by: Who,
        /// Which, in words.
        what: String,
    },
    /// The content of an older version came back.
    RolledBack {
        /// Who wanted it.
        by: Who,
        /// Whose content.
        to: VersionId,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Created => f.write_str("created"),
            Cause::Built {
                attempt,
                source,
                what,
            } => {
                write!(f, "{source} {what} built by attempt {attempt}")
            }
            Cause::Imported { by, what } => write!(f, "{what} imported by {by}"),
            Cause::RolledBack { by, to } => write!(f, "rolled back to {to} by {by}"),
        }
    }
}

/// One package's part in a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// The architecture.
    pub arch: Arch,
    /// The package.
    pub name: PackageName,
    /// The file before; `None`: there was none.
    pub before: Option<Digest>,
    /// The file now; `None`: there is none any more.
    pub after: Option<Digest>,
}

/// One immutable state of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its number.
    pub id: VersionId,
    /// The version that it changed; `None` for the first.
    pub parent: Option<VersionId>,
    /// When it was published.
    pub at: Stamp,
    /// Why.
    pub cause: Cause,
    /// Packages that came, changed or went.
    pub changed: u32,
    /// Packages in it.
    pub packages: u32,
}

/// A channel: its newest content and its history.
#[derive(Debug, Clone)]
pub struct ChannelState {
    /// Its name.
    pub name: ChannelName,
    /// What the newest version holds.
    pub packages: PackageMap,
    /// Every version with its edits, oldest first.
    pub versions: Vec<Arc<(Version, Vec<Edit>)>>,
    /// Names that move; `volatile` follows the newest version and is always there.
    pub streams: BTreeMap<String, VersionId>,
    /// Names that stay.
    pub tags: BTreeMap<String, VersionId>,
}
