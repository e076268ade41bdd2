//! What may change a channel, and how: pure rules from a state and a wish to a change or a refusal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Cause, ChannelState, Edit, PackageMap, PublishedPackage, Step, Version};
use crate::fault::{Fault, Kind, Result};
use crate::id::{Arch, ChannelName, Digest, PackageName, RecipeName, Stamp, VersionId};
use crate::model::Who;
use crate::model::say::Expectation;

/// A version to come. `step.version.index` is filled in by whoever writes the index files.
#[derive(Debug, Clone)]
pub struct Change {
    /// The version and its edits.
    pub step: Step,
    /// What the channel holds afterwards.
    pub packages: PackageMap,
    /// The packages that were not in the version before.
    pub added: Vec<Arc<PublishedPackage>>,
    /// Sources with a package that changed, came or went.
    pub sources: BTreeSet<RecipeName>,
}

impl Change {
    /// The architectures whose index is another one now.
    pub fn arches(&self) -> BTreeSet<Arch> {
        self.step.edits.iter().map(|edit| edit.arch).collect()
    }
}

fn release_text(package: &PublishedPackage) -> String {
    let meta = &package.meta;
    format!("{}-{}-{}", meta.version, meta.release, meta.build_release)
}

impl ChannelState {
    /// A new channel: version 1, empty.
    pub fn created(name: ChannelName, arch: Arch, at: Stamp) -> ChannelState {
        let version = Version {
            id: VersionId(1),
            parent: None,
            at,
            cause: Cause::Created,
            changed: 0,
            packages: 0,
            index: Vec::new(),
        };
        ChannelState {
            name,
            packages: PackageMap::default(),
            arches: [arch].into(),
            steps: vec![Arc::new(Step {
                version,
                edits: Vec::new(),
            })],
            streams: BTreeMap::new(),
            tags: BTreeMap::new(),
        }
    }

    /// An attempt's packages take the place of all of their source's. `None`: they are there already.
    pub fn weigh_built(
        &self,
        expected: &Expectation,
        packages: &[Arc<PublishedPackage>],
        at: Stamp,
    ) -> Result<Option<Change>> {
        let Some(first) = packages.first() else {
            return Err(Fault::new(
                Kind::Recipe,
                format!("attempt {} made no package", expected.attempt),
            )
            .next("let the recipe install something below /usr"));
        };
        if let Some(other) = packages
            .iter()
            .find(|p| p.source != expected.source || p.meta.arch != expected.arch)
        {
            return Err(Fault::bug(format!(
                "{} of {} among the packages of {}",
                other.name, other.source, expected.source
            )));
        }
        let cause = Cause::Built {
            attempt: expected.attempt,
            source: expected.source.clone(),
            what: release_text(first),
        };
        let keeps = |_: &PublishedPackage| false;
        let edits = self.replace(packages, &keeps)?;
        Ok(self.change(edits, packages, cause, at))
    }

    /// Package files that somebody brought become one version. They take the place of their sources' packages, except
    /// that packages of the very same release and build release are added to those.
    pub fn weigh_import(
        &self,
        packages: &[Arc<PublishedPackage>],
        by: Who,
        at: Stamp,
    ) -> Result<Option<Change>> {
        let mut releases = BTreeMap::new();
        for package in packages {
            let release = (package.meta.release, package.meta.build_release);
            let key = (package.meta.arch, package.source.clone());
            let first = releases.entry(key).or_insert(release);
            if *first != release {
                return Err(Fault::new(
                    Kind::Conflict,
                    format!(
                        "packages of {} with different releases in one import",
                        package.source
                    ),
                )
                .next("import one release of it"));
            }
        }
        let keeps = |published: &PublishedPackage| {
            let key = (published.meta.arch, published.source.clone());
            releases.get(&key) == Some(&(published.meta.release, published.meta.build_release))
        };
        let edits = self.replace(packages, &keeps)?;
        let what = match packages {
            [one] => format!("{} {}", one.name, release_text(one)),
            many => format!("{} packages", many.len()),
        };
        Ok(self.change(edits, packages, Cause::Imported { by, what }, at))
    }

    /// The content of an older version becomes the newest. `found` has the packages that `differences` names.
    /// `None`: the content is that already.
    pub fn weigh_rollback(
        &self,
        to: VersionId,
        found: &BTreeMap<Digest, Arc<PublishedPackage>>,
        by: Who,
        at: Stamp,
    ) -> Result<Option<Change>> {
        let mut edits = Vec::new();
        let mut back = Vec::new();
        for ((arch, name), after) in self.differences(to)? {
            if let Some(digest) = &after {
                let package = found.get(digest).ok_or_else(|| {
                    Fault::bug(format!("{name} of version {to} is not known any more"))
                })?;
                back.push(package.clone());
            }
            let before = self.packages.get(arch, name.as_str());
            edits.push(Edit {
                arch,
                before: before.map(|package| package.file.sha256),
                after,
                name,
            });
        }
        Ok(self.change(edits, &back, Cause::RolledBack { by, to }, at))
    }

    /// The edits by which `packages` take the place of their sources' packages, but for those that `keeps` spares.
    fn replace(
        &self,
        packages: &[Arc<PublishedPackage>],
        keeps: &dyn Fn(&PublishedPackage) -> bool,
    ) -> Result<Vec<Edit>> {
        let mut wanted: BTreeMap<(Arch, PackageName), Option<Digest>> = BTreeMap::new();
        let mut sources = BTreeMap::new();
        for package in packages {
            let key = (package.meta.arch, package.name.clone());
            let other = wanted.insert(key, Some(package.file.sha256));
            if other.is_some_and(|other| other != Some(package.file.sha256)) {
                return Err(Fault::new(
                    Kind::Recipe,
                    format!("two packages are named {}", package.name),
                )
                .next("publish one of them"));
            }
            self.check_owner(package)?;
            sources.insert((package.meta.arch, &package.source), package);
        }
        for published in self.packages.iter() {
            let key = (published.meta.arch, &published.source);
            let Some(new) = sources.get(&key) else {
                continue;
            };
            let place = (published.meta.arch, published.name.clone());
            let same = wanted.get(&place) == Some(&Some(published.file.sha256));
            if !same {
                self.check_release(published, new, keeps(published))?;
            }
            if !keeps(published) {
                wanted.entry(place).or_insert(None);
            } else if !same && wanted.contains_key(&place) {
                return Err(already(published, &self.name));
            }
        }
        let mut edits = Vec::new();
        for ((arch, name), after) in wanted {
            let before = self.packages.get(arch, name.as_str());
            let before = before.map(|package| package.file.sha256);
            if before != after {
                edits.push(Edit {
                    arch,
                    name,
                    before,
                    after,
                });
            }
        }
        Ok(edits)
    }

    /// A name belongs to the source that published it first.
    fn check_owner(&self, package: &PublishedPackage) -> Result<()> {
        match self.packages.get(package.meta.arch, package.name.as_str()) {
            Some(owner) if owner.source != package.source => Err(Fault::new(
                Kind::Recipe,
                format!(
                    "package {} belongs to {} in channel {}, and {} made one too",
                    package.name, owner.source, self.name, package.source
                ),
            )
            .next("rename the package in one of the two recipes")),
            Some(_) | None => Ok(()),
        }
    }

    /// Clients go by release and build release, so neither may go down, and a new file needs a new number.
    fn check_release(
        &self,
        published: &PublishedPackage,
        new: &PublishedPackage,
        is_same_release: bool,
    ) -> Result<()> {
        let (old, now) = (&published.meta, &new.meta);
        if now.release < old.release {
            return Err(Fault::new(
                Kind::Recipe,
                format!(
                    "{} release {} is lower than the published release {} in channel {}",
                    new.source, now.release, old.release, self.name
                ),
            )
            .next(format!(
                "raise `release` in the recipe to {} or more",
                old.release.saturating_add(1)
            )));
        }
        let is_older = now.release == old.release && now.build_release <= old.build_release;
        if is_older && !is_same_release {
            return Err(already(published, &self.name));
        }
        Ok(())
    }

    fn change(
        &self,
        edits: Vec<Edit>,
        packages: &[Arc<PublishedPackage>],
        cause: Cause,
        at: Stamp,
    ) -> Option<Change> {
        if edits.is_empty() {
            return None;
        }
        let by_digest: BTreeMap<Digest, &Arc<PublishedPackage>> =
            packages.iter().map(|p| (p.file.sha256, p)).collect();
        let mut after = self.packages.clone();
        let mut added = Vec::new();
        let mut sources = BTreeSet::new();
        for edit in &edits {
            let name = edit.name.as_str();
            if let Some(gone) = self.packages.get(edit.arch, name) {
                sources.insert(gone.source.clone());
            }
            match edit.after.and_then(|digest| by_digest.get(&digest)) {
                Some(package) => {
                    sources.insert(package.source.clone());
                    added.push((*package).clone());
                    after.insert((*package).clone());
                }
                None => after.remove(edit.arch, name),
            }
        }
        let parent = self.newest();
        let version = Version {
            id: VersionId(parent.0 + 1),
            parent: Some(parent),
            at,
            cause,
            changed: u32::try_from(edits.len()).unwrap_or(u32::MAX),
            packages: u32::try_from(after.len()).unwrap_or(u32::MAX),
            index: Vec::new(),
        };
        Some(Change {
            step: Step { version, edits },
            packages: after,
            added,
            sources,
        })
    }

    /// The change is on disk: now it is so.
    pub fn adopt(&mut self, change: &Change) {
        self.packages = change.packages.clone();
        self.arches.extend(change.arches());
        self.steps.push(Arc::new(change.step.clone()));
    }
}

fn already(published: &PublishedPackage, channel: &ChannelName) -> Fault {
    Fault::new(
        Kind::Conflict,
        format!(
            "{} {} is published in channel {channel} with other content",
            published.name,
            release_text(published)
        ),
    )
    .next("raise the release or build again with a higher build release")
}
