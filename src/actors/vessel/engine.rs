//! vessel without its mailbox: weigh, commit, adopt, serve. One caller at a time; every step may be cut by a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::check::{Checked, blame, listed, shortened};
use super::rows::{
    self, ArtefactRow, BuildReleaseRow, Ended, ExpectedRow, PoolRow, ReceiptRow, put_end,
};
use super::shelf::{self, Repaired, Shelf};
use super::{Changed, View};
use crate::actors::kill_point;
use crate::channel::{Change, ChannelState, PublishedPackage};
use crate::fault::{Fault, Kind, Result, nearest};
use crate::id::{Arch, AttemptId, ChannelName, Digest, HostId, RecipeName, Stamp, VersionId};
use crate::model::{Artefact, Expectation, Who};
use crate::store::{Blobs, Row, Store, WriteSet};

/// All that vessel knows, as its rows say it.
pub struct Engine {
    store: Store,
    blobs: Blobs,
    shelf: Shelf,
    channels: BTreeMap<ChannelName, Arc<ChannelState>>,
    build_releases: Arc<BTreeMap<(RecipeName, u64), u64>>,
    expected: BTreeMap<AttemptId, Expectation>,
    /// Channels whose files are not as their rows say, because a write failed.
    unserved: BTreeSet<ChannelName>,
    /// Why the last write of files failed.
    trouble: Option<Fault>,
}

/// Whether an attempt's offer is worth fetching.
#[derive(Debug)]
pub enum Admission {
    /// Fetch and check it against this.
    Expected(Expectation),
    /// It was dealt with before.
    Over(Ended),
    /// Nobody asked for it.
    Unexpected,
}

impl Engine {
    /// Reads the rows and puts right what is served.
    pub fn open(dir: &Path, store: Store, blobs: Blobs) -> Result<Engine> {
        let shelf = Shelf::open(dir, blobs.clone())?;
        let channels = rows::channels(&store)?;
        let mut build_releases = BTreeMap::new();
        for row in store.scan::<BuildReleaseRow>() {
            let row = row?;
            build_releases.insert((row.source, row.release), row.highest);
        }
        let mut expected = BTreeMap::new();
        for row in store.scan::<ExpectedRow>() {
            let ExpectedRow(row) = row?;
            expected.insert(row.attempt, row);
        }
        let mut engine = Engine {
            store,
            blobs,
            shelf,
            unserved: channels.keys().cloned().collect(),
            channels: channels
                .into_iter()
                .map(|(name, state)| (name, Arc::new(state)))
                .collect(),
            build_releases: Arc::new(build_releases),
            expected,
            trouble: None,
        };
        // A disk that is full now does not keep the host from starting: what is served stays as it was.
        engine.serve_all();
        Ok(engine)
    }

    /// What others may see.
    pub fn view(&self) -> View {
        View {
            channels: self.channels.clone(),
            build_releases: self.build_releases.clone(),
        }
    }

    /// The channel of this name.
    pub fn channel(&self, name: &ChannelName) -> Result<&Arc<ChannelState>> {
        self.channels.get(name).ok_or_else(|| {
            let known = self.channels.keys().map(ChannelName::as_str);
            let next = match nearest(name.as_str(), known) {
                Some(near) => format!("did you mean {near}?"),
                None => "`massif channel list` shows what there is".into(),
            };
            Fault::new(Kind::NotFound, format!("there is no channel {name}")).next(next)
        })
    }

    /// `Ok` when every channel's files are as its rows say, else why not.
    pub fn served(&self) -> Result<()> {
        match &self.trouble {
            None => Ok(()),
            Some(fault) => Err(fault.clone()),
        }
    }

    /// Tries to bring the files of all channels to what the rows say. What fails is made up for at the next try.
    pub fn serve_all(&mut self) {
        self.trouble = None;
        for name in self.unserved.clone() {
            match self.repair(&name) {
                Ok(done) if done.is_nothing() => {}
                Ok(done) => tracing::info!("files of channel {name} put right: {done:?}"),
                Err(fault) => {
                    self.unserved_because(&name, fault);
                    continue;
                }
            }
            self.unserved.remove(&name);
        }
    }

    fn repair(&self, name: &ChannelName) -> Result<Repaired> {
        let state = self.channel(name)?;
        let needed = self.needed(state)?;
        let at = |id| rows::packages_at(&self.store, state, id);
        self.shelf.repair(state, &needed, &at)
    }

    fn unserved_because(&mut self, name: &ChannelName, fault: Fault) {
        tracing::error!("channel {name} is not served as it is recorded: {fault}");
        self.unserved.insert(name.clone());
        self.trouble = Some(fault);
    }

    /// Every package that a served version names.
    pub fn needed(&self, state: &ChannelState) -> Result<Vec<Arc<PublishedPackage>>> {
        let oldest = state.served().first().copied().unwrap_or_default();
        let mut needed: BTreeMap<Digest, Arc<PublishedPackage>> = state
            .packages
            .iter()
            .map(|package| (package.file.sha256, package.clone()))
            .collect();
        let newer = state.steps.iter().filter(|step| step.version.id > oldest);
        let gone: BTreeSet<Digest> = newer
            .flat_map(|step| &step.edits)
            .filter_map(|edit| edit.before)
            .filter(|sha256| !needed.contains_key(sha256))
            .collect();
        let gone: Vec<Digest> = gone.into_iter().collect();
        for package in rows::packages(&self.store, &gone)? {
            needed.insert(package.file.sha256, package);
        }
        Ok(needed.into_values().collect())
    }

    /// Makes sure that a channel exists and serves this architecture.
    pub fn open_channel(&mut self, name: &ChannelName, arch: Arch, at: Stamp) -> Result<VersionId> {
        let mut state = match self.channels.get(name) {
            Some(state) if state.arches.contains(&arch) => return Ok(state.newest()),
            Some(state) => {
                let mut state = ChannelState::clone(state);
                state.arches.insert(arch);
                state
            }
            None => ChannelState::created(name.clone(), arch, at),
        };
        // The newest version gets an empty index for the new architecture, so that its clients find one.
        let indexes = shelf::indexes(&state.packages, &state.arches)?;
        let mut set = WriteSet::new();
        if let Some(newest) = state.steps.last_mut() {
            let newest = Arc::make_mut(newest);
            newest.version.index = indexes.iter().map(|(file, _)| *file).collect();
            rows::put_step(&mut set, name, newest);
        }
        rows::put_channel(&mut set, &state);
        self.store.commit(set)?;
        let newest = state.newest();
        self.channels.insert(name.clone(), Arc::new(state));
        self.unserved.insert(name.clone());
        self.serve_all();
        Ok(newest)
    }

    /// Remembers what summit lets an attempt publish; a later try of the job takes the place of earlier ones.
    /// Answers what came of the attempt if it is over already.
    pub fn expect(&mut self, expected: Expectation) -> Result<Option<Ended>> {
        if let Some(receipt) = self.store.get::<ReceiptRow>(&expected.attempt)? {
            return Ok(Some(receipt.ended));
        }
        if self.expected.get(&expected.attempt) == Some(&expected) {
            return Ok(None);
        }
        let earlier: Vec<AttemptId> = self
            .expected
            .keys()
            .filter(|id| id.job == expected.attempt.job && id.try_no < expected.attempt.try_no)
            .copied()
            .collect();
        let mut set = WriteSet::new();
        for id in &earlier {
            set.delete::<ExpectedRow>(id);
        }
        set.put(&ExpectedRow(expected.clone()));
        self.store.commit(set)?;
        for id in &earlier {
            self.expected.remove(id);
        }
        self.expected.insert(expected.attempt, expected);
        Ok(None)
    }

    /// The attempt may not publish for now; what came of it, if it is over already.
    pub fn unexpect(&mut self, attempt: AttemptId) -> Result<Option<Ended>> {
        if let Some(receipt) = self.store.get::<ReceiptRow>(&attempt)? {
            return Ok(Some(receipt.ended));
        }
        self.forget(attempt).map(|()| None)
    }

    /// Whether files of this attempt are kept that nobody decided about.
    pub fn is_kept(&self, attempt: AttemptId) -> Result<bool> {
        let is_over = self.store.get::<ReceiptRow>(&attempt)?.is_some();
        Ok(!is_over && !self.artefacts(attempt)?.is_empty())
    }

    /// The attempt will not be offered.
    pub fn forget(&mut self, attempt: AttemptId) -> Result<()> {
        if self.expected.contains_key(&attempt) {
            let mut set = WriteSet::new();
            set.delete::<ExpectedRow>(&attempt);
            self.store.commit(set)?;
            self.expected.remove(&attempt);
        }
        Ok(())
    }

    /// Whether to fetch what this builder offers.
    pub fn admit(&self, attempt: AttemptId, builder: HostId) -> Result<Admission> {
        if let Some(receipt) = self.store.get::<ReceiptRow>(&attempt)? {
            return Ok(match receipt.builder == builder {
                true => Admission::Over(receipt.ended),
                false => Admission::Unexpected,
            });
        }
        Ok(match self.expected.get(&attempt) {
            Some(expected) if expected.builder == builder => Admission::Expected(expected.clone()),
            Some(_) | None => Admission::Unexpected,
        })
    }

    /// Publishes what an attempt made and `check` found good. A fault means that it did not come about for now;
    /// `served` says whether clients see it yet; a refusal is an answer like any other, and kept.
    pub fn publish(
        &mut self,
        attempt: AttemptId,
        builder: HostId,
        artefacts: &[Artefact],
        packages: &[Checked],
        at: Stamp,
    ) -> Result<Admission> {
        let expected = match self.admit(attempt, builder)? {
            Admission::Expected(expected) => expected,
            over => return Ok(over),
        };
        let weighed = self.weigh_built(&expected, packages, at);
        let (state, change) = match weighed {
            Ok(weighed) => weighed,
            Err(fault) if fault.kind == Kind::Bug => return Err(fault),
            Err(fault) => return self.reject(attempt, builder, artefacts, fault),
        };
        let version = match &change {
            Some(change) => change.step.version.id,
            None => state.newest(),
        };
        let ended = Ended::Published {
            channel: expected.channel.clone(),
            version,
        };
        let mut set = WriteSet::new();
        put_end(&mut set, attempt, builder, artefacts, &ended);
        match change {
            Some(change) => self.make(state, change, set)?,
            None => self.store.commit(set)?,
        };
        self.expected.remove(&attempt);
        Ok(Admission::Over(ended))
    }

    /// Keeps the refusal of an attempt's offer.
    pub fn reject(
        &mut self,
        attempt: AttemptId,
        builder: HostId,
        artefacts: &[Artefact],
        why: Fault,
    ) -> Result<Admission> {
        if !self.expected.contains_key(&attempt) {
            return self.admit(attempt, builder);
        }
        let ended = Ended::Rejected {
            blame: blame(&why),
            why: shortened(why),
        };
        let mut set = WriteSet::new();
        put_end(&mut set, attempt, builder, artefacts, &ended);
        self.store.commit(set)?;
        self.expected.remove(&attempt);
        Ok(Admission::Over(ended))
    }

    fn weigh_built(
        &self,
        expected: &Expectation,
        packages: &[Checked],
        at: Stamp,
    ) -> Result<(Arc<ChannelState>, Option<Change>)> {
        let state = self.channel(&expected.channel)?.clone();
        let packages = listed(packages)?;
        let change = state.weigh_built(expected, &packages, at)?;
        self.check_pool(&state, change.as_ref())?;
        Ok((state, change))
    }

    /// Package files become one version.
    pub fn import(
        &mut self,
        channel: &ChannelName,
        packages: &[Checked],
        by: Who,
        at: Stamp,
    ) -> Result<Changed> {
        let state = self.channel(channel)?.clone();
        if let Some(other) = packages
            .iter()
            .find(|package| !state.arches.contains(&package.meta.arch))
        {
            return Err(Fault::new(
                Kind::Conflict,
                format!(
                    "{} is for {}, which channel {channel} does not serve",
                    other.meta.name, other.meta.arch
                ),
            )
            .next("add a profile of that architecture for the channel first"));
        }
        let packages = listed(packages)?;
        let change = state.weigh_import(&packages, by, at)?;
        self.check_pool(&state, change.as_ref())?;
        self.make_or_not(state, change)
    }

    /// The content of an older version becomes the newest.
    pub fn roll_back(
        &mut self,
        channel: &ChannelName,
        to: VersionId,
        by: Who,
        at: Stamp,
    ) -> Result<Changed> {
        let state = self.channel(channel)?.clone();
        let found = rows::older(&self.store, &state, to)?;
        let change = state.weigh_rollback(to, &found, by, at)?;
        self.make_or_not(state, change)
    }

    fn make_or_not(&mut self, state: Arc<ChannelState>, change: Option<Change>) -> Result<Changed> {
        let channel = state.name.clone();
        let Some(change) = change else {
            return Ok(Changed {
                version: state.newest(),
                channel,
                changed: 0,
                sources: Vec::new(),
            });
        };
        let done = Changed {
            channel,
            version: change.step.version.id,
            changed: change.step.version.changed,
            sources: change.sources.iter().cloned().collect(),
        };
        self.make(state, change, WriteSet::new())?;
        Ok(done)
    }

    /// A file name in the pool is never reused for other bytes: clients and caches may hold it.
    fn check_pool(&self, state: &ChannelState, change: Option<&Change>) -> Result<()> {
        for package in change.iter().flat_map(|change| &change.added) {
            let key = (state.name.clone(), package.pool.clone());
            match self.store.get::<PoolRow>(&key)? {
                Some(row) if row.sha256 != package.file.sha256 => {
                    return Err(Fault::new(
                        Kind::Conflict,
                        format!(
                            "{} was published in channel {} with other bytes",
                            package.meta.file_name(),
                            state.name
                        ),
                    )
                    .next("build it again: it gets a higher build release"));
                }
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    /// Commits a change with whatever belongs to it, then serves it. A write of files that fails is made up for later:
    /// the version exists from the commit on.
    fn make(
        &mut self,
        state: Arc<ChannelState>,
        mut change: Change,
        mut set: WriteSet,
    ) -> Result<()> {
        let mut arches = state.arches.clone();
        arches.extend(change.arches());
        let indexes = shelf::indexes(&change.packages, &arches)?;
        change.step.version.index = indexes.iter().map(|(file, _)| *file).collect();
        let mut after = ChannelState::clone(&state);
        after.adopt(&change);
        rows::put_channel(&mut set, &after);
        rows::put_step(&mut set, &after.name, &change.step);
        let mut highest = BTreeMap::new();
        for package in &change.added {
            rows::put_package(&mut set, &after.name, package);
            let key = (package.source.clone(), package.meta.release);
            let known = self.build_releases.get(&key).copied();
            let highest = highest.entry(key).or_insert(known.unwrap_or(0));
            *highest = package.meta.build_release.max(*highest);
        }
        for ((source, release), highest) in &highest {
            set.put(&BuildReleaseRow {
                source: source.clone(),
                release: *release,
                highest: *highest,
            });
        }
        kill_point("vessel:before-commit");
        self.store.commit(set)?;
        kill_point("vessel:after-commit");
        Arc::make_mut(&mut self.build_releases).extend(highest);
        let name = after.name.clone();
        let after = Arc::new(after);
        self.channels.insert(name.clone(), after.clone());
        if self.unserved.contains(&name) {
            self.serve_all();
            return Ok(());
        }
        let added = change.added.iter().map(Arc::as_ref);
        if let Err(fault) = self.shelf.publish(&after, added, &indexes) {
            self.unserved_because(&name, fault);
        }
        Ok(())
    }

    /// Keeps files of a comparison that differ.
    pub fn keep(&mut self, attempt: AttemptId, evidence: &[Artefact]) -> Result<()> {
        let mut set = WriteSet::new();
        for artefact in evidence {
            set.put(&ArtefactRow {
                attempt,
                artefact: artefact.clone(),
            });
        }
        self.store.commit(set)?;
        Ok(())
    }

    /// Forgets the files of a comparison that is not kept any more. Their bytes stay as long as another row names them.
    pub fn drop_evidence(&mut self, attempt: AttemptId) -> Result<()> {
        let mut left = BTreeSet::new();
        let mut set = WriteSet::new();
        for row in self.store.scan_within::<ArtefactRow, _>(&attempt) {
            let row = row?;
            left.insert(row.artefact.blob.sha256);
            set.delete::<ArtefactRow>(&row.key());
        }
        if left.is_empty() {
            return Ok(());
        }
        self.store.commit(set)?;
        for row in self.store.scan::<ArtefactRow>() {
            left.remove(&row?.artefact.blob.sha256);
        }
        for row in self.store.scan::<PoolRow>() {
            left.remove(&row?.sha256);
        }
        left.iter().try_for_each(|sha256| self.blobs.remove(sha256))
    }

    /// Removes blobs that came with a comparison and that no row names.
    pub fn drop_blobs(&mut self, unneeded: &[Digest]) -> Result<()> {
        unneeded
            .iter()
            .try_for_each(|sha256| self.blobs.remove(sha256))
    }

    /// What an attempt made, as far as it was fetched.
    pub fn artefacts(&self, attempt: AttemptId) -> Result<Vec<Artefact>> {
        self.store
            .scan_within::<ArtefactRow, _>(&attempt)
            .map(|row| row.map(|row| row.artefact))
            .collect()
    }

    /// What `channel verify` needs, so that it can run while vessel goes on.
    pub fn to_verify(
        &self,
        channel: &ChannelName,
    ) -> Result<(Shelf, Arc<ChannelState>, Vec<Arc<PublishedPackage>>)> {
        let state = self.channel(channel)?;
        Ok((self.shelf.clone(), state.clone(), self.needed(state)?))
    }
}
