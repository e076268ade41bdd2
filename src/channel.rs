//! Channels as values: what is published, how it changes, and what may not be published. A version costs its change.

pub mod packages;
pub mod pool;
pub mod weigh;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use packages::PackageMap;
pub use weigh::Change;

use crate::fault::{Fault, Kind, Result, nearest};
use crate::id::{Arch, AttemptId, ChannelName, Digest, PackageName, RecipeName, Stamp, VersionId};
use crate::limit;
use crate::model::{BlobRef, Who};
use crate::stone::root_index::{Format, History, Pointer};
use crate::stone::{Meta, RootIndex};

/// The stream that always follows the newest version.
pub const VOLATILE: &str = "volatile";
/// The format of what we serve, in the words of the root index.
const FORMAT: &str = "v0";

/// A package that a channel has or had: its metadata as the index shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedPackage {
    /// Its name, checked.
    pub name: PackageName,
    /// The recipe that made it, checked.
    pub source: RecipeName,
    /// The `.stone` file.
    pub file: BlobRef,
    /// Where the file is served, below the channel's directory.
    pub pool: String,
    /// The metadata, `uri`, `hash` and `size` included.
    pub meta: Meta,
    /// Its payload in the index: header and compressed body, so that a new index compresses nothing again.
    pub entry: Arc<[u8]>,
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
            } => write!(f, "{source} {what} built by attempt {attempt}"),
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

/// A version's `stone.index` of one architecture, as it must be on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexFile {
    /// The architecture.
    pub arch: Arch,
    /// Bytes.
    pub size: u64,
    /// XXH3-64 of the bytes: noticing damage, not attacks.
    pub checksum: u64,
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
    /// Its index files, one for each architecture that the channel serves.
    pub index: Vec<IndexFile>,
}

/// A version and what it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The version.
    pub version: Version,
    /// Against its parent, by architecture and name.
    pub edits: Vec<Edit>,
}

/// A channel: its newest content and its history. Clones share nearly everything.
#[derive(Debug, Clone)]
pub struct ChannelState {
    /// Its name.
    pub name: ChannelName,
    /// What the newest version holds.
    pub packages: PackageMap,
    /// The architectures that it serves, also while they have no package.
    pub arches: BTreeSet<Arch>,
    /// Every version, oldest first; there is at least one.
    pub steps: Vec<Arc<Step>>,
    /// Names that move, besides `volatile`, which follows the newest version.
    pub streams: BTreeMap<String, VersionId>,
    /// Names that stay.
    pub tags: BTreeMap<String, VersionId>,
}

impl ChannelState {
    /// The newest version.
    pub fn newest(&self) -> VersionId {
        self.steps.last().map_or(VersionId(0), |s| s.version.id)
    }

    /// A version by its number.
    pub fn step(&self, id: VersionId) -> Result<&Arc<Step>> {
        // Numbers rise by one from 1, so the place is the number.
        let place = id.0.checked_sub(1).and_then(|at| usize::try_from(at).ok());
        place
            .and_then(|at| self.steps.get(at))
            .filter(|step| step.version.id == id)
            .ok_or_else(|| {
                Fault::new(
                    Kind::NotFound,
                    format!("channel {} has no version {id}", self.name),
                )
                .next(format!("its versions are 1 to {}", self.newest()))
            })
    }

    /// The streams that stand at this version, `volatile` included.
    pub fn streams_at(&self, id: VersionId) -> Vec<&str> {
        let newest = (id == self.newest()).then_some(VOLATILE);
        let named = self.streams.iter().filter(|(_, at)| **at == id);
        newest
            .into_iter()
            .chain(named.map(|(name, _)| name.as_str()))
            .collect()
    }

    /// The tags of this version.
    pub fn tags_at(&self, id: VersionId) -> Vec<&str> {
        let named = self.tags.iter().filter(|(_, at)| **at == id);
        named.map(|(name, _)| name.as_str()).collect()
    }

    /// The versions that are served as files: the newest, and all that a stream or tag names.
    pub fn served(&self) -> BTreeSet<VersionId> {
        let newest = self.steps.iter().rev().take(limit::VERSIONS_SERVED);
        newest
            .map(|step| step.version.id)
            .chain(self.streams.values().copied())
            .chain(self.tags.values().copied())
            .collect()
    }

    /// `moss-root-index.json` as a value.
    pub fn root_index(&self) -> RootIndex {
        let pointer = |id: &VersionId| Pointer {
            format: FORMAT.into(),
            history: id.to_string(),
            tag: None,
        };
        let volatile = (VOLATILE.to_string(), pointer(&self.newest()));
        let named = |names: &BTreeMap<String, VersionId>| -> BTreeMap<String, Pointer> {
            let pairs = names.iter().map(|(name, id)| (name.clone(), pointer(id)));
            pairs.collect()
        };
        let mut streams = named(&self.streams);
        streams.extend([volatile]);
        let history = |id: VersionId| {
            let format = FORMAT.into();
            (id.to_string(), History { format })
        };
        RootIndex {
            formats: [(FORMAT.to_string(), Format::default())].into(),
            streams,
            tags: named(&self.tags),
            history: self.served().into_iter().map(history).collect(),
        }
    }

    /// What differs between the newest version and an older one: for every package that does, its file in the older one.
    pub fn differences(
        &self,
        to: VersionId,
    ) -> Result<BTreeMap<(Arch, PackageName), Option<Digest>>> {
        self.step(to)?;
        let mut then = BTreeMap::new();
        // The oldest change after `to` knows what `to` held, so it is written last.
        for step in self.steps.iter().rev() {
            if step.version.id == to {
                break;
            }
            for edit in &step.edits {
                then.insert((edit.arch, edit.name.clone()), edit.before);
            }
        }
        then.retain(|(arch, name), file| {
            let now = self.packages.get(*arch, name.as_str());
            now.map(|package| package.file.sha256) != *file
        });
        Ok(then)
    }

    /// The package of this name, or who was probably meant.
    pub fn package(&self, arch: Arch, name: &str) -> Result<&Arc<PublishedPackage>> {
        self.packages.get(arch, name).ok_or_else(|| {
            let known = self.packages.of_arch(arch).map(|p| p.name.as_str());
            let hint = match nearest(name, known) {
                Some(near) => format!("did you mean {near}?"),
                None => "`massif package list` shows what there is".into(),
            };
            Fault::new(
                Kind::NotFound,
                format!("channel {} has no package {name:?}", self.name),
            )
            .next(hint)
        })
    }
}

#[cfg(test)]
mod tests;
