//! A copy of another host's channels, in the same rows: what summit plans with when vessel is a host of its own. Sole writer of
//! vessel's trees where no vessel runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::View;
use super::rows::{self, BuildReleaseRow, ChannelRow, EditsRow, VersionRow};
use crate::channel::{ChannelState, Edit, PackageMap, PublishedPackage, Step};
use crate::fault::{Fault, Kind, Result};
use crate::id::{ChannelName, VersionId};
use crate::net::wire::Shelf;
use crate::store::{Store, WriteSet};

/// Edits of one version: more packages than any distribution has.
const EDITS_MAX: usize = 1_000_000;

/// The copy.
pub struct Replica {
    store: Store,
    view: View,
    edits: Vec<Edit>,
    packages: Vec<Arc<PublishedPackage>>,
}

impl Replica {
    /// As the rows say it.
    pub fn open(store: Store) -> Result<Replica> {
        let channels = rows::channels(&store)?;
        let mut build_releases = BTreeMap::new();
        for row in store.scan::<BuildReleaseRow>() {
            let row = row?;
            build_releases.insert((row.source, row.release), row.highest);
        }
        Ok(Replica {
            store,
            view: View {
                channels: channels
                    .into_iter()
                    .map(|(name, state)| (name, Arc::new(state)))
                    .collect(),
                build_releases: Arc::new(build_releases),
            },
            edits: Vec::new(),
            packages: Vec::new(),
        })
    }

    /// What may be seen.
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// The newest version of each channel.
    pub fn known(&self) -> Vec<(ChannelName, VersionId)> {
        let channels = self.view.channels.iter();
        channels
            .map(|(name, state)| (name.clone(), state.newest()))
            .collect()
    }

    /// Takes a part of a version; whether the view moved.
    pub fn take(&mut self, shelf: Shelf) -> Result<bool> {
        let wrong = |how: &str| Fault::new(Kind::Network, format!("a version that {how}"));
        if shelf.fresh {
            self.forget(&shelf.channel)?;
        }
        let entries: Vec<Arc<[u8]>> = shelf.entries.into_iter().map(Into::into).collect();
        let new = PublishedPackage::from_entries(entries)?;
        let wanted = shelf.edits.iter().filter_map(|edit| edit.after);
        if !wanted.eq(new.iter().map(|package| package.file.sha256)) {
            return Err(wrong("does not have the packages that it names"));
        }
        if self.edits.len() + shelf.edits.len() > EDITS_MAX {
            return Err(wrong("has no end"));
        }
        self.edits.extend(shelf.edits);
        self.packages.extend(new.into_iter().map(Arc::new));
        if !shelf.whole {
            return Ok(false);
        }
        let step = Step {
            version: shelf.version,
            edits: std::mem::take(&mut self.edits),
        };
        let packages = std::mem::take(&mut self.packages);
        let before = self.view.channels.get(&shelf.channel);
        let mut state = match before {
            Some(before) => ChannelState::clone(before),
            None => ChannelState {
                name: shelf.channel.clone(),
                packages: PackageMap::default(),
                arches: Default::default(),
                steps: Vec::new(),
                streams: BTreeMap::new(),
                tags: BTreeMap::new(),
            },
        };
        let newest = state.newest();
        let is_repeat = newest == step.version.id;
        if !is_repeat && step.version.id.0 != newest.0 + 1 {
            return Err(wrong("does not follow the one before"));
        }
        state.arches = shelf.arches.into_iter().collect();
        state.streams = shelf.streams;
        state.tags = shelf.tags;
        if is_repeat {
            state.steps.pop();
        } else {
            for edit in step.edits.iter().filter(|edit| edit.after.is_none()) {
                state.packages.remove(edit.arch, edit.name.as_str());
            }
            for package in &packages {
                state.packages.insert(package.clone());
            }
        }
        let mut set = WriteSet::new();
        rows::put_step(&mut set, &state.name, &step);
        self.put_packages(&mut set, &state.name, &packages);
        state.steps.push(Arc::new(step));
        rows::put_channel(&mut set, &state);
        self.store.commit(set)?;
        self.view.channels.insert(shelf.channel, Arc::new(state));
        Ok(true)
    }

    fn put_packages(
        &mut self,
        set: &mut WriteSet,
        channel: &ChannelName,
        packages: &[Arc<PublishedPackage>],
    ) {
        let releases = Arc::make_mut(&mut self.view.build_releases);
        for package in packages {
            rows::put_entry(set, package);
            let key = (package.source.clone(), package.meta.release);
            let highest = releases.entry(key.clone()).or_insert(0);
            *highest = package.meta.build_release.max(*highest);
            set.put(&BuildReleaseRow {
                source: key.0,
                release: key.1,
                highest: *highest,
            });
        }
        tracing::debug!(%channel, packages = packages.len(), "copied from vessel");
    }

    /// Begins a channel anew. Its packages stay: rows of them are the same wherever they come from.
    fn forget(&mut self, channel: &ChannelName) -> Result<()> {
        if self.view.channels.remove(channel).is_none() {
            return Ok(());
        }
        let mut set = WriteSet::new();
        for row in self.store.scan_within::<EditsRow, _>(channel) {
            let row = row?;
            set.delete::<EditsRow>(&(channel.clone(), row.version, row.part));
        }
        for row in self.store.scan_within::<VersionRow, _>(channel) {
            set.delete::<VersionRow>(&(channel.clone(), row?.version.id));
        }
        set.delete::<ChannelRow>(channel);
        self.store.commit(set)
    }
}
