//! vessel's rows, which it alone writes, and its state read back from them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::channel::{ChannelState, Edit, PackageMap, PublishedPackage, Step, Version};
use crate::fault::{Fault, Result};
use crate::id::{
    Arch, AttemptId, ChannelName, Digest, HostId, PackageName, RecipeName, Stamp, VersionId,
};
use crate::model::{Artefact, Blame, Expectation, Who};
use crate::store::trees::Tree;
use crate::store::{Row, Store, WriteSet};

/// Every tree of vessel's, for checks and dumps of the whole store.
pub fn trees() -> Vec<Tree> {
    vec![
        Tree::of::<ChannelRow>(),
        Tree::of::<VersionRow>(),
        Tree::of::<EditsRow>(),
        Tree::of::<EntryRow>(),
        Tree::of::<PoolRow>(),
        Tree::of::<BuildReleaseRow>(),
        Tree::of::<ExpectedRow>(),
        Tree::of::<ArtefactRow>(),
        Tree::of::<ReceiptRow>(),
    ]
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelRow {
    /// Its name.
    pub name: ChannelName,
    /// What it serves.
    pub arches: BTreeSet<Arch>,
    /// Streams besides `volatile`.
    pub streams: BTreeMap<String, VersionId>,
    /// Tags.
    pub tags: BTreeMap<String, VersionId>,
}

impl Row for ChannelRow {
    const TREE: &'static str = "channel";
    const SHAPE: u8 = 1;
    type Key = ChannelName;
    fn key(&self) -> ChannelName {
        self.name.clone()
    }
}

/// A version of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRow {
    /// The channel.
    pub channel: ChannelName,
    /// The version.
    pub version: Version,
}

impl Row for VersionRow {
    const TREE: &'static str = "version";
    const SHAPE: u8 = 1;
    type Key = (ChannelName, VersionId);
    fn key(&self) -> Self::Key {
        (self.channel.clone(), self.version.id)
    }
}

/// Some of a version's edits: so many that a row stays below the store's limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditsRow {
    /// The channel.
    pub channel: ChannelName,
    /// The version.
    pub version: VersionId,
    /// From 0.
    pub part: u32,
    /// By architecture and name over all parts.
    pub edits: Vec<Edit>,
}

/// An edit takes at most 200 bytes: a name and two hashes.
const EDITS_PER_ROW: usize = 32;

impl Row for EditsRow {
    const TREE: &'static str = "edit";
    const SHAPE: u8 = 1;
    type Key = (ChannelName, VersionId, u32);
    fn key(&self) -> Self::Key {
        (self.channel.clone(), self.version, self.part)
    }
}

/// A part of what the index says of a package: its payload there. Packages are never forgotten, so that every version can
/// be brought back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRow {
    /// SHA-256 of the package file.
    pub sha256: Digest,
    /// From 0.
    pub part: u32,
    /// Bytes of the payload.
    pub bytes: Vec<u8>,
}

const ENTRY_BYTES_PER_ROW: usize = 7 * 1024;

impl Row for EntryRow {
    const TREE: &'static str = "package";
    const SHAPE: u8 = 1;
    type Key = (Digest, u32);
    fn key(&self) -> Self::Key {
        (self.sha256, self.part)
    }
}

/// A name in a channel's pool, which belongs to these bytes for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolRow {
    /// The channel.
    pub channel: ChannelName,
    /// Below the channel's directory.
    pub path: String,
    /// The file.
    pub sha256: Digest,
}

impl Row for PoolRow {
    const TREE: &'static str = "pool";
    const SHAPE: u8 = 1;
    type Key = (ChannelName, String);
    fn key(&self) -> Self::Key {
        (self.channel.clone(), self.path.clone())
    }
    fn blobs(&self) -> Vec<Digest> {
        vec![self.sha256]
    }
}

/// The highest build release ever published of a source's release, in any channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildReleaseRow {
    /// The source.
    pub source: RecipeName,
    /// Its release.
    pub release: u64,
    /// The highest.
    pub highest: u64,
}

impl Row for BuildReleaseRow {
    const TREE: &'static str = "build_release";
    const SHAPE: u8 = 1;
    type Key = (RecipeName, u64);
    fn key(&self) -> Self::Key {
        (self.source.clone(), self.release)
    }
}

/// An attempt that may publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExpectedRow(pub Expectation);

impl Row for ExpectedRow {
    const TREE: &'static str = "expected";
    const SHAPE: u8 = 1;
    type Key = AttemptId;
    fn key(&self) -> AttemptId {
        self.0.attempt
    }
}

/// A file that an attempt made; its bytes are a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtefactRow {
    /// The attempt.
    pub attempt: AttemptId,
    /// The file.
    pub artefact: Artefact,
}

impl Row for ArtefactRow {
    const TREE: &'static str = "artefact";
    const SHAPE: u8 = 1;
    type Key = (AttemptId, String);
    fn key(&self) -> Self::Key {
        (self.attempt, self.artefact.name.clone())
    }
    fn blobs(&self) -> Vec<Digest> {
        vec![self.artefact.blob.sha256]
    }
}

/// What came of an attempt's offer. Grows at the end only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// It is in the channel.
    Published {
        /// The channel.
        channel: ChannelName,
        /// The version.
        version: VersionId,
    },
    /// It cannot be published.
    Rejected {
        /// Whose doing.
        blame: Blame,
        /// Why.
        why: Fault,
    },
}

/// The answer to an attempt's offer, for every repeat of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptRow {
    /// The attempt.
    pub attempt: AttemptId,
    /// Who built it.
    pub builder: HostId,
    /// What came of it.
    pub ended: Ended,
}

impl Row for ReceiptRow {
    const TREE: &'static str = "receipt";
    const SHAPE: u8 = 1;
    type Key = AttemptId;
    fn key(&self) -> AttemptId {
        self.attempt
    }
}

/// Puts the rows of a version in: itself and its edits.
pub fn put_step(set: &mut WriteSet, channel: &ChannelName, step: &Step) {
    set.put(&VersionRow {
        channel: channel.clone(),
        version: step.version.clone(),
    });
    for (part, edits) in (0..).zip(step.edits.chunks(EDITS_PER_ROW)) {
        set.put(&EditsRow {
            channel: channel.clone(),
            version: step.version.id,
            part,
            edits: edits.to_vec(),
        });
    }
}

/// Puts the rows of a package in.
pub fn put_package(set: &mut WriteSet, channel: &ChannelName, package: &PublishedPackage) {
    put_entry(set, package);
    set.put(&PoolRow {
        channel: channel.clone(),
        path: package.pool.clone(),
        sha256: package.file.sha256,
    });
}

/// Puts what the index says of a package in.
pub fn put_entry(set: &mut WriteSet, package: &PublishedPackage) {
    for (part, bytes) in (0..).zip(package.entry.chunks(ENTRY_BYTES_PER_ROW)) {
        set.put(&EntryRow {
            sha256: package.file.sha256,
            part,
            bytes: bytes.to_vec(),
        });
    }
}

/// Puts the row of a channel in.
pub fn put_channel(set: &mut WriteSet, state: &ChannelState) {
    set.put(&ChannelRow {
        name: state.name.clone(),
        arches: state.arches.clone(),
        streams: state.streams.clone(),
        tags: state.tags.clone(),
    });
}

/// The payload of a package in an index.
fn entry(store: &Store, sha256: &Digest) -> Result<Arc<[u8]>> {
    let mut entry = Vec::new();
    for part in 0.. {
        let Some(row) = store.get::<EntryRow>(&(*sha256, part))? else {
            break;
        };
        entry.extend_from_slice(&row.bytes);
        if row.bytes.len() < ENTRY_BYTES_PER_ROW {
            break;
        }
    }
    match entry.is_empty() {
        true => Err(Fault::bug(format!("package {sha256} has no row"))),
        false => Ok(entry.into()),
    }
}

/// Packages that are or were published, in the order asked for.
pub fn packages(store: &Store, wanted: &[Digest]) -> Result<Vec<Arc<PublishedPackage>>> {
    let entries: Result<Vec<_>> = wanted.iter().map(|sha256| entry(store, sha256)).collect();
    let found = PublishedPackage::from_entries(entries?)?;
    Ok(found.into_iter().map(Arc::new).collect())
}

/// All channels.
pub fn channels(store: &Store) -> Result<BTreeMap<ChannelName, ChannelState>> {
    let mut states = BTreeMap::new();
    for row in store.scan::<ChannelRow>() {
        let row = row?;
        let steps = steps(store, &row.name)?;
        let mut held: BTreeMap<(Arch, PackageName), Digest> = BTreeMap::new();
        for edit in steps.iter().flat_map(|step| &step.edits) {
            let place = (edit.arch, edit.name.clone());
            match edit.after {
                Some(sha256) => held.insert(place, sha256),
                None => held.remove(&place),
            };
        }
        let mut packages = PackageMap::default();
        let held: Vec<Digest> = held.into_values().collect();
        for package in self::packages(store, &held)? {
            packages.insert(package);
        }
        let state = ChannelState {
            name: row.name.clone(),
            packages,
            arches: row.arches,
            steps,
            streams: row.streams,
            tags: row.tags,
        };
        states.insert(row.name, state);
    }
    Ok(states)
}

fn steps(store: &Store, channel: &ChannelName) -> Result<Vec<Arc<Step>>> {
    let mut edits: BTreeMap<VersionId, Vec<Edit>> = BTreeMap::new();
    for row in store.scan_within::<EditsRow, _>(channel) {
        let row = row?;
        edits.entry(row.version).or_default().extend(row.edits);
    }
    let mut steps = Vec::new();
    for row in store.scan_within::<VersionRow, _>(channel) {
        let version = row?.version;
        let edits = edits.remove(&version.id).unwrap_or_default();
        steps.push(Arc::new(Step { version, edits }));
    }
    Ok(steps)
}

/// Puts the rows of an offer that is dealt with in: its receipt and what was fetched.
pub fn put_end(
    set: &mut WriteSet,
    attempt: AttemptId,
    builder: HostId,
    artefacts: &[Artefact],
    ended: &Ended,
) {
    set.delete::<ExpectedRow>(&attempt);
    set.put(&ReceiptRow {
        attempt,
        builder,
        ended: ended.clone(),
    });
    for artefact in artefacts {
        set.put(&ArtefactRow {
            attempt,
            artefact: artefact.clone(),
        });
    }
}

/// The packages of an older version that differ from the newest, by hash.
pub fn older(
    store: &Store,
    state: &ChannelState,
    to: VersionId,
) -> Result<BTreeMap<Digest, Arc<PublishedPackage>>> {
    let differing = state.differences(to)?;
    let wanted: Vec<Digest> = differing.into_values().flatten().collect();
    let found = packages(store, &wanted)?;
    Ok(found.into_iter().map(|p| (p.file.sha256, p)).collect())
}

/// The packages of an older version; refused when the channel has no such version.
pub fn packages_at(store: &Store, state: &ChannelState, id: VersionId) -> Result<PackageMap> {
    let older = older(store, state, id)?;
    let mut packages = state.packages.clone();
    for ((arch, name), sha256) in state.differences(id)? {
        match sha256.and_then(|sha256| older.get(&sha256)) {
            Some(package) => packages.insert(package.clone()),
            None => packages.remove(arch, name.as_str()),
        }
    }
    Ok(packages)
}

/// The sources whose packages a rollback to this version would take back or away.
pub fn would_go_back(
    store: &Store,
    state: &ChannelState,
    to: VersionId,
) -> Result<Vec<RecipeName>> {
    let found = older(store, state, to)?;
    let change = state.weigh_rollback(to, &found, Who::Farm, Stamp(0))?;
    Ok(change
        .map(|change| change.sources.iter().cloned().collect())
        .unwrap_or_default())
}
