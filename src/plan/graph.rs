//! Recipes by what they need and what they will provide, and the edges between them. A changed recipe costs itself and those
//! whose provider it changes; edges are worked out when somebody asks and kept until then.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::names::{NameId, Names};
use crate::fault::{Fault, Kind};
use crate::id::{Arch, ProjectName, RecipeName};
use crate::model::{Catalog, Entry, Reading};
use crate::recipe::{Facts, NeedOrigin};
use crate::stone::{Dependency, DependencyKind};

/// A recipe's place in the graph; reused after it is gone.
pub type RecipeIx = u32;

/// One recipe of one project.
#[derive(Debug, Clone)]
pub struct RecipeRow {
    /// Its project.
    pub project: ProjectName,
    /// Its name.
    pub name: RecipeName,
    /// What intake read.
    pub entry: Arc<Entry>,
    /// Build needs but toolchain and base set: sorted by name, the strongest origin of each.
    pub needs: Box<[(NameId, NeedOrigin)]>,
    /// What its packages will provide, their names included; empty when it is faulty.
    pub provides: Box<[NameId]>,
    /// Another recipe of the project had the name first.
    pub twin: Option<Fault>,
}

impl RecipeRow {
    /// Its facts, unless it cannot be planned.
    pub fn facts(&self) -> Option<&Facts> {
        match &self.entry.reading {
            Reading::Good(facts) if self.twin.is_none() => Some(facts),
            Reading::Good(_) | Reading::Faulty { .. } => None,
        }
    }

    /// Why it cannot be planned.
    pub fn fault(&self) -> Option<&Fault> {
        match (&self.twin, &self.entry.reading) {
            (Some(twin), _) => Some(twin),
            (None, Reading::Faulty { fault, .. }) => Some(fault),
            (None, Reading::Good(_)) => None,
        }
    }

    /// Whether it is meant for this architecture.
    pub fn fits(&self, arch: Arch) -> bool {
        self.facts().is_none_or(|facts| {
            facts.architectures.is_empty() || facts.architectures.contains(&arch)
        })
    }
}

/// What a new catalog changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Recipes that came or changed.
    pub recipes: BTreeSet<RecipeIx>,
    /// Places that are free now.
    pub gone: BTreeSet<RecipeIx>,
    /// Names whose set of providing recipes changed.
    pub names: BTreeSet<NameId>,
}

/// All recipes of all projects.
#[derive(Debug, Default, Clone)]
pub struct Recipes {
    rows: Vec<Option<RecipeRow>>,
    free: Vec<RecipeIx>,
    by_project: HashMap<ProjectName, HashMap<Arc<str>, RecipeIx>>,
    by_name: HashMap<RecipeName, Vec<RecipeIx>>,
    providers: HashMap<NameId, Vec<RecipeIx>>,
    needers: HashMap<NameId, Vec<RecipeIx>>,
}

impl Recipes {
    /// Takes a project's catalog in place of its last one.
    pub fn set_catalog(&mut self, names: &mut Names, catalog: &Catalog) -> Touched {
        let mut touched = Touched::default();
        let mut old = self.by_project.remove(&catalog.project).unwrap_or_default();
        let mut kept: HashMap<Arc<str>, RecipeIx> = HashMap::with_capacity(catalog.entries.len());
        let mut first: HashMap<&RecipeName, &str> = HashMap::with_capacity(catalog.entries.len());
        let mut news = Vec::new();
        for entry in &catalog.entries {
            let twin = match first.entry(entry.name()) {
                std::collections::hash_map::Entry::Occupied(other) => {
                    Some(twin_fault(entry, other.get()))
                }
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(&entry.dir);
                    None
                }
            };
            let known = old.get(entry.dir.as_str()).copied().filter(|ix| {
                self.get(*ix).is_some_and(|row| {
                    row.twin == twin && (Arc::ptr_eq(&row.entry, entry) || row.entry == *entry)
                })
            });
            match known {
                Some(ix) => {
                    if let Some((dir, _)) = old.remove_entry(entry.dir.as_str()) {
                        kept.insert(dir, ix);
                    }
                }
                None => news.push((entry, twin)),
            }
        }
        // A recipe that changed or moved keeps its place, because jobs know it by that.
        let mut places: HashMap<RecipeName, RecipeIx> = HashMap::with_capacity(old.len());
        let mut old: Vec<RecipeIx> = old.into_values().collect();
        old.sort_unstable();
        for ix in old {
            if let Some(name) = self.take_out(ix, &mut touched)
                && let Some(twin) = places.insert(name, ix)
            {
                self.free(twin, &mut touched);
            }
        }
        for (entry, twin) in news {
            let place = places.remove(entry.name());
            let ix = self.insert(names, &catalog.project, (entry, twin), place, &mut touched);
            kept.insert(entry.dir.as_str().into(), ix);
        }
        for ix in places.into_values() {
            self.free(ix, &mut touched);
        }
        self.by_project.insert(catalog.project.clone(), kept);
        touched
    }

    /// Forgets a project.
    pub fn remove_project(&mut self, project: &ProjectName) -> Touched {
        let mut touched = Touched::default();
        for ix in self
            .by_project
            .remove(project)
            .unwrap_or_default()
            .into_values()
        {
            self.take_out(ix, &mut touched);
            self.free(ix, &mut touched);
        }
        touched
    }

    /// The recipe in a place.
    pub fn get(&self, ix: RecipeIx) -> Option<&RecipeRow> {
        self.rows.get(ix as usize)?.as_ref()
    }

    /// The recipe of this name in this project; of two with one name the one that can be planned.
    pub fn find(&self, project: &ProjectName, name: &RecipeName) -> Option<RecipeIx> {
        let of_project = |ix: &&RecipeIx| self.get(**ix).is_some_and(|row| row.project == *project);
        let all = self.by_name.get(name)?;
        all.iter()
            .filter(of_project)
            .find(|ix| self.get(**ix).is_some_and(|row| row.twin.is_none()))
            .copied()
    }

    /// The recipe in a directory of a project.
    pub fn in_dir(&self, project: &ProjectName, dir: &str) -> Option<&RecipeRow> {
        self.get(*self.by_project.get(project)?.get(dir)?)
    }

    /// All recipes of this name, whatever the project.
    pub fn named(&self, name: &str) -> &[RecipeIx] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// All recipes with their places.
    pub fn iter(&self) -> impl Iterator<Item = (RecipeIx, &RecipeRow)> {
        self.rows
            .iter()
            .enumerate()
            .filter_map(|(ix, row)| Some((ix as RecipeIx, row.as_ref()?)))
    }

    /// The recipes whose packages will provide a name.
    pub fn providers(&self, name: NameId) -> &[RecipeIx] {
        self.providers.get(&name).map_or(&[], Vec::as_slice)
    }

    /// The recipes that ask for a name themselves.
    pub fn needers(&self, name: NameId) -> &[RecipeIx] {
        self.needers.get(&name).map_or(&[], Vec::as_slice)
    }

    /// Places ever used: the length that a table by place needs.
    pub fn places(&self) -> usize {
        self.rows.len()
    }

    /// How many recipes there are, the faulty ones included.
    pub fn len(&self) -> usize {
        self.rows.len() - self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn insert(
        &mut self,
        names: &mut Names,
        project: &ProjectName,
        (entry, twin): (&Arc<Entry>, Option<Fault>),
        place: Option<RecipeIx>,
        touched: &mut Touched,
    ) -> RecipeIx {
        let mut row = RecipeRow {
            project: project.clone(),
            name: entry.name().clone(),
            entry: entry.clone(),
            needs: Box::default(),
            provides: Box::default(),
            twin,
        };
        if let Some(facts) = row.facts() {
            let (needs, provides) = (needs_of(names, facts), provides_of(names, facts));
            row.needs = needs;
            row.provides = provides;
        }
        let ix = match place.or_else(|| self.free.pop()) {
            Some(ix) => ix,
            None => {
                self.rows.push(None);
                (self.rows.len() - 1) as RecipeIx
            }
        };
        for name in row.provides.iter() {
            self.providers.entry(*name).or_default().push(ix);
            touched.names.insert(*name);
        }
        for (name, _) in row.needs.iter() {
            self.needers.entry(*name).or_default().push(ix);
        }
        self.by_name.entry(row.name.clone()).or_default().push(ix);
        touched.recipes.insert(ix);
        if let Some(place) = self.rows.get_mut(ix as usize) {
            *place = Some(row);
        }
        ix
    }

    fn take_out(&mut self, ix: RecipeIx, touched: &mut Touched) -> Option<RecipeName> {
        let row = self.rows.get_mut(ix as usize).and_then(Option::take)?;
        for name in row.provides.iter() {
            forget(&mut self.providers, name, ix);
            touched.names.insert(*name);
        }
        for (name, _) in row.needs.iter() {
            forget(&mut self.needers, name, ix);
        }
        forget(&mut self.by_name, &row.name, ix);
        Some(row.name)
    }

    fn free(&mut self, ix: RecipeIx, touched: &mut Touched) {
        touched.gone.insert(ix);
        self.free.push(ix);
    }
}

fn forget<K: std::hash::Hash + Eq>(map: &mut HashMap<K, Vec<RecipeIx>>, key: &K, ix: RecipeIx) {
    if let Some(all) = map.get_mut(key) {
        all.retain(|other| *other != ix);
        if all.is_empty() {
            map.remove(key);
        }
    }
}

fn twin_fault(entry: &Entry, first: &str) -> Fault {
    Fault::new(
        Kind::Recipe,
        format!(
            "two recipes are called {}: in {first} and in {}",
            entry.name(),
            entry.dir
        ),
    )
    .next(format!(
        "rename one of them; until then only {first} is built"
    ))
    .at(format!("{}/stone.yaml", entry.dir), 0, 0)
}

/// The needs in numbers. A name that is asked for twice keeps the origin that holds the job.
fn needs_of(names: &mut Names, facts: &Facts) -> Box<[(NameId, NeedOrigin)]> {
    let mut needs: Vec<(NameId, NeedOrigin)> = facts
        .needs
        .iter()
        .map(|need| (names.intern(&need.dependency), need.origin))
        .collect();
    needs.sort_unstable();
    needs.dedup_by_key(|(name, _)| *name);
    needs.into()
}

fn provides_of(names: &mut Names, facts: &Facts) -> Box<[NameId]> {
    let mut provides = Vec::new();
    for package in &facts.packages {
        let own = Dependency::new(DependencyKind::Name, package.name.as_str());
        provides.push(names.intern(&own));
        provides.extend(package.provides.iter().map(|name| names.intern(name)));
    }
    provides.sort_unstable();
    provides.dedup();
    provides.into()
}
