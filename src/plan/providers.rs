//! The packages of one index, by what they provide. Changes in place: a publication costs its packages.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::names::{NameId, Names};
use crate::id::{Arch, Digest};
use crate::stone::{Dependency, DependencyKind, Meta};

/// One package of an index, in numbers.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its name.
    pub name: Arc<str>,
    /// What it runs on.
    pub arch: Arch,
    /// The recipe that made it.
    pub recipe: Arc<str>,
    /// The recipe's version.
    pub version: Arc<str>,
    /// The recipe's release.
    pub release: u64,
    /// The rebuild counter of whoever built it.
    pub build_release: u64,
    /// What it needs at run time.
    pub depends: Box<[NameId]>,
    /// What it provides, its own name included.
    pub provides: Box<[NameId]>,
    /// SHA-256 of the stone; `None`: there is no stone, it is simply there.
    pub sha256: Option<Digest>,
    /// Bytes of the stone.
    pub size: u64,
    /// Where the index says it is.
    pub uri: Arc<str>,
}

/// What a change of an index means to those who need its names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Names that something provides now and nothing did before.
    pub gained: BTreeSet<NameId>,
    /// Names that nothing provides any more.
    pub lost: BTreeSet<NameId>,
    /// Recipes whose packages came, changed or went.
    pub recipes: BTreeSet<Arc<str>>,
    /// Of those, the ones that provide and export the same names as before.
    pub same_names: BTreeSet<Arc<str>>,
}

/// Packages by name, by provided name and by recipe.
#[derive(Debug, Default, Clone)]
pub struct Index {
    slots: Vec<Option<Package>>,
    free: Vec<u32>,
    by_name: HashMap<Arc<str>, u32>,
    providers: HashMap<NameId, Vec<u32>>,
    by_recipe: HashMap<Arc<str>, Vec<u32>>,
}

impl Index {
    /// Replaces everything.
    pub fn set(&mut self, names: &mut Names, metas: &[Meta]) -> Moved {
        let old: Vec<Arc<str>> = self.by_name.keys().cloned().collect();
        self.change(names, &old, metas)
    }

    /// Takes packages out by name and puts others in; one that is there already is replaced.
    pub fn change(&mut self, names: &mut Names, gone: &[impl AsRef<str>], came: &[Meta]) -> Moved {
        let leaving: BTreeSet<u32> = gone
            .iter()
            .map(AsRef::as_ref)
            .chain(came.iter().map(|meta| meta.name.as_str()))
            .filter_map(|name| self.by_name.get(name).copied())
            .collect();
        let coming: Vec<Package> = came.iter().map(|meta| self.read(names, meta)).collect();
        let mut touched: BTreeSet<NameId> = BTreeSet::new();
        let mut before: HashMap<Arc<str>, Vec<NameId>> = HashMap::new();
        let left = leaving.iter().filter_map(|slot| self.get(*slot));
        for package in left.chain(&coming) {
            touched.extend(package.provides.iter());
            if !before.contains_key(&package.recipe) {
                before.insert(package.recipe.clone(), self.exports(&package.recipe));
            }
        }
        let had: BTreeSet<NameId> = touched
            .iter()
            .copied()
            .filter(|name| self.provides(*name))
            .collect();
        for slot in leaving {
            self.remove(slot);
        }
        for package in coming {
            self.insert(package);
        }
        let mut moved = Moved::default();
        for name in touched {
            match (had.contains(&name), self.provides(name)) {
                (false, true) => moved.gained.insert(name),
                (true, false) => moved.lost.insert(name),
                (true, true) | (false, false) => false,
            };
        }
        for (recipe, exports) in before {
            if exports == self.exports(&recipe) {
                moved.same_names.insert(recipe.clone());
            }
            moved.recipes.insert(recipe);
        }
        moved
    }

    /// What all packages of a recipe provide, sorted.
    pub fn exports(&self, recipe: &str) -> Vec<NameId> {
        let mut names: Vec<NameId> = self
            .of_recipe(recipe)
            .flat_map(|package| package.provides.iter().copied())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The packages that a recipe made.
    pub fn of_recipe(&self, recipe: &str) -> impl Iterator<Item = &Package> {
        self.by_recipe
            .get(recipe)
            .into_iter()
            .flatten()
            .filter_map(|slot| self.get(*slot))
    }

    /// The highest release of a recipe's packages for this architecture.
    pub fn release_of(&self, recipe: &str, arch: Arch) -> Option<u64> {
        self.of_recipe(recipe)
            .filter(|package| package.arch == arch)
            .map(|package| package.release)
            .max()
    }

    /// The package that is taken for a name on this architecture: of the recipe `maker`, then the newest, then the first by name.
    /// `maker` is asked only where there is a choice.
    pub fn find<'a>(
        &self,
        name: NameId,
        arch: Arch,
        maker: impl Fn() -> Option<&'a str>,
    ) -> Option<(u32, &Package)> {
        let all = self.providers.get(&name)?;
        let maker = match all.len() {
            0 | 1 => None,
            _ => maker(),
        };
        all.iter()
            .filter_map(|slot| Some((*slot, self.get(*slot)?)))
            .filter(|(_, package)| package.arch == arch)
            .max_by(|(_, a), (_, b)| {
                let rank = |package: &Package| {
                    let wanted = maker.is_some_and(|maker| *package.recipe == *maker);
                    (wanted, package.release, package.build_release)
                };
                rank(a).cmp(&rank(b)).then_with(|| b.name.cmp(&a.name))
            })
    }

    /// Whether anything provides the name.
    pub fn provides(&self, name: NameId) -> bool {
        self.providers.get(&name).is_some_and(|all| !all.is_empty())
    }

    /// The package in a slot.
    pub fn get(&self, slot: u32) -> Option<&Package> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// All packages.
    pub fn packages(&self) -> impl Iterator<Item = &Package> {
        self.slots.iter().flatten()
    }

    /// Slots ever used: the length that a table by slot needs.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// How many packages there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    fn read(&self, names: &mut Names, meta: &Meta) -> Package {
        let own = Dependency::new(DependencyKind::Name, meta.name.as_str());
        let recipe: Arc<str> = match self.by_recipe.get_key_value(meta.source.as_str()) {
            Some((known, _)) => known.clone(),
            None => meta.source.as_str().into(),
        };
        Package {
            name: own.name.clone(),
            arch: meta.arch,
            recipe,
            version: meta.version.as_str().into(),
            release: meta.release,
            build_release: meta.build_release,
            depends: names.intern_all(meta.depends.iter()),
            provides: names.intern_all(meta.provides.iter().chain([&own])),
            sha256: meta.hash,
            size: meta.size.unwrap_or(0),
            uri: meta.uri.as_deref().unwrap_or_default().into(),
        }
    }

    fn insert(&mut self, package: Package) {
        // The same name twice in one change: the later one counts, as with a map.
        if let Some(slot) = self.by_name.get(&package.name).copied() {
            self.remove(slot);
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                (self.slots.len() - 1) as u32
            }
        };
        for name in package.provides.iter() {
            self.providers.entry(*name).or_default().push(slot);
        }
        self.by_recipe
            .entry(package.recipe.clone())
            .or_default()
            .push(slot);
        self.by_name.insert(package.name.clone(), slot);
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = Some(package);
        }
    }

    fn remove(&mut self, slot: u32) {
        let Some(package) = self
            .slots
            .get_mut(slot as usize)
            .and_then(std::option::Option::take)
        else {
            return;
        };
        for name in package.provides.iter() {
            if let Some(all) = self.providers.get_mut(name) {
                all.retain(|other| *other != slot);
                if all.is_empty() {
                    self.providers.remove(name);
                }
            }
        }
        if let Some(all) = self.by_recipe.get_mut(&package.recipe) {
            all.retain(|other| *other != slot);
            if all.is_empty() {
                self.by_recipe.remove(&package.recipe);
            }
        }
        self.by_name.remove(&package.name);
        self.free.push(slot);
    }
}
