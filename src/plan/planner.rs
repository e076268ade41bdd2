//! The planner's memory and how it changes: recipes, packages, open jobs. What it answers is in `wanted`, `resolve` and `order`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::graph::{RecipeIx, RecipeRow, Recipes, Touched};
use super::names::{NameId, Names};
use super::order::CycleRow;
use super::owed::Made;
use super::providers::{Index, Moved};
use super::{Edges, ProjectRules, Readiness, ServedBy, Source, Unplannable};
use crate::id::{JobId, ProfileName, ProjectName, RecipeName};
use crate::model::{Base, Because, Catalog, Profile, Target};
use crate::recipe::{BASE_SET, Facts, Toolchain, toolchain_needs};
use crate::stone::{Dependency, Meta};

/// Seconds of a build that nobody said anything about.
const USUAL_S: f32 = 60.0;

/// A profile's place; reused never, because profiles are few.
pub(super) type ProfileIx = u16;

/// What plans: see the module's head for how it is used. A copy answers what-if questions.
#[derive(Debug, Clone)]
pub struct Planner {
    pub(super) edges: Edges,
    pub(super) names: Names,
    pub(super) recipes: Recipes,
    pub(super) rules: BTreeMap<ProjectName, ProjectRules>,
    pub(super) profiles: Vec<ProfileRow>,
    pub(super) indexes: HashMap<Source, Index>,
    pub(super) bases: HashMap<Source, HashSet<NameId>>,
    /// Packages that never go into a build root: what they provide is there anyway.
    pub(super) never: HashSet<String>,
    /// Open targets whose edges or readiness have to be looked at again.
    pub(super) dirty: BTreeSet<(ProfileIx, RecipeIx)>,
    /// Chains have other lengths than they had.
    pub(super) order_moved: bool,
    /// What the last attempts of each target were built with.
    pub(super) made: HashMap<Target, Vec<Made>>,
    /// Who to look at again when something comes to provide a name.
    pub(super) waiting_for: HashMap<NameId, Vec<(ProfileIx, RecipeIx)>>,
}

/// A profile with what is open in it.
#[derive(Debug, Clone)]
pub(super) struct ProfileRow {
    /// `None`: removed.
    pub profile: Option<Profile>,
    pub name: ProfileName,
    /// Where its packages come from, first one first.
    pub sources: Vec<Source>,
    /// The base set.
    pub always: Box<[NameId]>,
    /// Compilers, by toolchain and 32-bit target.
    pub compilers: [Box<[NameId]>; 4],
    pub open: BTreeMap<RecipeIx, Open>,
    /// Open targets that an open target is built with or before: provider to dependants.
    pub dependants: HashMap<RecipeIx, Vec<RecipeIx>>,
    pub cycles: Vec<CycleRow>,
    /// (recipe, provider) to what stands in.
    pub cuts: HashMap<(RecipeIx, RecipeIx), Option<ServedBy>>,
    /// The order among open targets has to be worked out again.
    pub stale: bool,
    /// Targets to be built again, and what changed.
    pub rebuild: BTreeMap<RecipeIx, String>,
    /// Targets that were not built again because what they are built with stayed the same: provider. Only for those that no row
    /// tells about; for the others it follows from the rows.
    pub spared: BTreeMap<RecipeIx, RecipeIx>,
    /// What rows say is owed was not worked out yet, or the rules changed since.
    pub look_back: bool,
    /// The same for names that went away, which needs every index and base of the profile.
    pub look_back_names: bool,
}

/// An open target.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub job: JobId,
    pub failed: bool,
    /// It is built again because of something else, so its publication counts as a rebuild.
    pub rebuild: bool,
    /// Recipes that it is built with, open or not.
    pub providers: Box<[RecipeIx]>,
    /// Predicted seconds of its build.
    pub seconds: f32,
    /// What was last reported.
    pub reported: Option<Readiness>,
}

impl Planner {
    /// Nothing known yet.
    pub fn new(edges: Edges) -> Planner {
        Planner {
            edges,
            names: Names::default(),
            recipes: Recipes::default(),
            rules: BTreeMap::new(),
            profiles: Vec::new(),
            indexes: HashMap::new(),
            bases: HashMap::new(),
            never: HashSet::new(),
            dirty: BTreeSet::new(),
            order_moved: false,
            made: HashMap::new(),
            waiting_for: HashMap::new(),
        }
    }

    /// Which edges count from now on.
    pub fn set_edges(&mut self, edges: Edges) {
        if self.edges != edges {
            self.edges = edges;
            self.look_at_everything();
        }
    }

    /// Adds or replaces a profile.
    pub fn set_profile(&mut self, profile: &Profile) {
        self.set_layer(profile, &[]);
    }

    /// Adds or replaces a profile that takes what is not built for it from the channels of others, the first one first.
    pub fn set_layer(&mut self, profile: &Profile, below: &[Profile]) {
        let mut remotes: Vec<_> = profile.remotes.iter().collect();
        remotes.sort_by(|a, b| b.priority.cmp(&a.priority).then(a.name.cmp(&b.name)));
        let mut sources = vec![Source::channel(profile)];
        sources.extend(below.iter().map(Source::channel));
        sources.extend(
            remotes
                .iter()
                .map(|remote| Source::Remote(remote.uri.clone())),
        );
        sources.push(Source::base(&profile.base));
        let base_set: Vec<Dependency> = BASE_SET
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect();
        let always = match profile.base {
            Base::Stones => self.names.intern_all(base_set.iter()),
            Base::Host | Base::Directory(_) => Box::default(),
        };
        let compilers = [
            (Toolchain::Llvm, false),
            (Toolchain::Llvm, true),
            (Toolchain::Gnu, false),
            (Toolchain::Gnu, true),
        ]
        .map(|(toolchain, emul32)| {
            self.names
                .intern_all(toolchain_needs(toolchain, emul32).iter())
        });
        match self.profile_ix(&profile.name) {
            Some(ix) => {
                if let Some(row) = self.profiles.get_mut(usize::from(ix)) {
                    row.profile = Some(profile.clone());
                    row.sources = sources;
                    row.always = always;
                    row.compilers = compilers;
                }
                self.look_at_all(ix);
            }
            None => self.profiles.push(ProfileRow {
                profile: Some(profile.clone()),
                name: profile.name.clone(),
                sources,
                always,
                compilers,
                open: BTreeMap::new(),
                dependants: HashMap::new(),
                cycles: Vec::new(),
                cuts: HashMap::new(),
                stale: false,
                rebuild: BTreeMap::new(),
                spared: BTreeMap::new(),
                look_back: true,
                look_back_names: true,
            }),
        }
    }

    /// Forgets a profile and what is open in it.
    pub fn remove_profile(&mut self, name: &ProfileName) {
        if let Some(ix) = self.profile_ix(name)
            && let Some(row) = self.profiles.get_mut(usize::from(ix))
        {
            row.profile = None;
            row.open.clear();
            row.cycles.clear();
            row.cuts.clear();
            row.rebuild.clear();
        }
    }

    /// Sets what the operator decided about a project; its catalog may come before or after.
    pub fn set_project(&mut self, project: &ProjectName, rules: ProjectRules) {
        if self.rules.get(project) != Some(&rules) {
            self.rules.insert(project.clone(), rules);
            self.look_at_everything();
            self.profiles
                .iter_mut()
                .for_each(|row| row.look_back = true);
        }
    }

    /// Forgets a project and its recipes.
    pub fn remove_project(&mut self, project: &ProjectName) {
        self.rules.remove(project);
        let touched = self.recipes.remove_project(project);
        self.take_touched(touched);
    }

    /// Takes a project's recipes in place of its last ones. Costs what changed.
    pub fn set_catalog(&mut self, catalog: &Catalog) {
        let touched = self.recipes.set_catalog(&mut self.names, catalog);
        self.take_touched(touched);
    }

    /// Takes the whole content of a channel or remote. Packages of another architecture are never taken.
    pub fn set_index(&mut self, source: &Source, packages: &[Meta]) {
        let index = self.indexes.entry(source.clone()).or_default();
        index.set(&mut self.names, packages);
        self.look_at_everything();
    }

    /// Takes a publication, or what changed in a remote: packages that went, by name, and packages that came or changed.
    pub fn change_index(&mut self, source: &Source, gone: &[impl AsRef<str>], came: &[Meta]) {
        let index = self.indexes.entry(source.clone()).or_default();
        let moved = index.change(&mut self.names, gone, came);
        self.take_moved(source, &moved);
    }

    /// Takes what a base provides without packages.
    pub fn set_base<'a>(
        &mut self,
        base: &Source,
        provides: impl IntoIterator<Item = &'a Dependency>,
    ) {
        let names = provides
            .into_iter()
            .map(|name| self.names.intern(name))
            .collect();
        self.bases.insert(base.clone(), names);
        self.look_at_everything();
    }

    /// Names the packages that never go into a build root, such as the one that stands for the base.
    pub fn set_never(&mut self, packages: impl IntoIterator<Item = String>) {
        self.never = packages.into_iter().collect();
    }

    /// A job exists for this target. Repeated: it has a new number.
    pub fn open(&mut self, target: &Target, job: JobId, because: &Because) {
        let Some((p, r)) = self.find(target) else {
            return;
        };
        let rebuild = matches!(because, Because::DependencyChanged { .. });
        let Some(row) = self.profiles.get_mut(usize::from(p)) else {
            return;
        };
        row.rebuild.remove(&r);
        row.spared.remove(&r);
        row.stale = true;
        row.open.insert(
            r,
            Open {
                job,
                failed: false,
                rebuild,
                providers: Box::default(),
                seconds: USUAL_S,
                reported: None,
            },
        );
        self.dirty.insert((p, r));
        // Those who are built with it wait from now on.
        let dependants: Vec<RecipeIx> = self.open_needers(p, r).into_iter().collect();
        self.dirty.extend(dependants.into_iter().map(|d| (p, d)));
    }

    /// The recipe of this name in this project, good or faulty, as it is now.
    pub fn recipe(&self, project: &ProjectName, name: &RecipeName) -> Option<&RecipeRow> {
        self.recipes.get(self.recipes.find(project, name)?)
    }

    /// What is known of a target's recipe; `None`: it is not known, or faulty.
    pub fn facts_of(&self, target: &Target) -> Option<&Facts> {
        let (_, r) = self.find(target)?;
        self.recipes.get(r)?.facts()
    }

    /// How long an open target's build is expected to take: of cuts that are equally good, the one that leaves the shortest chain
    /// is taken.
    pub fn expect(&mut self, target: &Target, seconds: f64) {
        if let Some((p, r)) = self.find(target)
            && let Some(row) = self.profiles.get_mut(usize::from(p))
            && let Some(open) = row.open.get_mut(&r)
        {
            open.seconds = if seconds.is_finite() {
                seconds.max(0.0) as f32
            } else {
                USUAL_S
            };
        }
    }

    /// The target's job was given up: what is built with it goes on waiting, and says so.
    pub fn fail(&mut self, target: &Target) {
        if let Some((p, r)) = self.find(target)
            && let Some(row) = self.profiles.get_mut(usize::from(p))
            && let Some(open) = row.open.get_mut(&r)
        {
            open.failed = true;
            open.reported = None;
            self.dirty.extend(
                row.dependants
                    .get(&r)
                    .into_iter()
                    .flatten()
                    .map(|d| (p, *d)),
            );
        }
    }

    /// The target's job is over: published, cancelled, or not wanted any more.
    pub fn close(&mut self, target: &Target) {
        if let Some((p, r)) = self.find(target) {
            self.close_at(p, r);
        }
    }

    fn close_at(&mut self, p: ProfileIx, r: RecipeIx) {
        if let Some(row) = self.profiles.get_mut(usize::from(p))
            && row.open.remove(&r).is_some()
        {
            self.dirty.remove(&(p, r));
            let dependants = row.dependants.remove(&r).unwrap_or_default();
            self.dirty.extend(dependants.into_iter().map(|d| (p, d)));
        }
    }

    /// Targets that cannot be planned for a reason of their recipe's own.
    pub fn unplannable(&self) -> Vec<Unplannable> {
        let mut all: Vec<Unplannable> = Vec::new();
        for (r, row) in self.recipes.iter() {
            let Some(fault) = row.fault() else { continue };
            for p in self.profiles_of(r) {
                if let Some(target) = self.target(p, r) {
                    all.push(Unplannable {
                        target,
                        fault: fault.clone(),
                    });
                }
            }
        }
        all.sort_by(|a, b| a.target.cmp(&b.target));
        all
    }

    /// How many recipes are known, the faulty ones included.
    pub fn recipes(&self) -> usize {
        self.recipes.len()
    }

    /// The target behind two places.
    pub(super) fn target(&self, p: ProfileIx, r: RecipeIx) -> Option<Target> {
        let recipe = self.recipes.get(r)?;
        Some(Target {
            project: recipe.project.clone(),
            recipe: recipe.name.clone(),
            profile: self.profiles.get(usize::from(p))?.name.clone(),
        })
    }

    /// The places of a target.
    pub(super) fn find(&self, target: &Target) -> Option<(ProfileIx, RecipeIx)> {
        Some((
            self.profile_ix(&target.profile)?,
            self.recipes.find(&target.project, &target.recipe)?,
        ))
    }

    pub(super) fn profile_ix(&self, name: &ProfileName) -> Option<ProfileIx> {
        let ix = self.profiles.iter().position(|row| row.name == *name)?;
        ProfileIx::try_from(ix).ok()
    }

    pub(super) fn row(&self, p: ProfileIx) -> Option<&ProfileRow> {
        self.profiles.get(usize::from(p))
    }

    /// The profiles that a recipe is built for.
    pub(super) fn profiles_of(&self, r: RecipeIx) -> Vec<ProfileIx> {
        let indices = 0..ProfileIx::try_from(self.profiles.len()).unwrap_or(ProfileIx::MAX);
        indices.filter(|p| self.is_built_for(*p, r)).collect()
    }

    /// Whether a recipe is built for a profile at all.
    pub(super) fn is_built_for(&self, p: ProfileIx, r: RecipeIx) -> bool {
        let (Some(row), Some(recipe)) = (self.row(p), self.recipes.get(r)) else {
            return false;
        };
        row.profile
            .as_ref()
            .is_some_and(|profile| recipe.fits(profile.arch))
            && self.rules.get(&recipe.project).is_some_and(|rules| {
                let chosen = rules.chosen.get(&row.name);
                rules.profiles.contains(&row.name)
                    || chosen.is_some_and(|recipes| recipes.contains(&recipe.name))
            })
    }

    /// The open targets of a profile that ask for something that this recipe provides.
    pub(super) fn open_needers(&self, p: ProfileIx, r: RecipeIx) -> BTreeSet<RecipeIx> {
        let (Some(row), Some(recipe)) = (self.row(p), self.recipes.get(r)) else {
            return BTreeSet::new();
        };
        let mut found = BTreeSet::new();
        for name in recipe.provides.iter() {
            if row.needs_of_all(*name) {
                return row.open.keys().copied().collect();
            }
            let needers = self.recipes.needers(*name).iter();
            found.extend(needers.filter(|needer| row.open.contains_key(needer)));
        }
        found
    }

    fn take_touched(&mut self, touched: Touched) {
        for p in 0..ProfileIx::try_from(self.profiles.len()).unwrap_or(ProfileIx::MAX) {
            for r in &touched.gone {
                self.close_at(p, *r);
            }
            let Some(row) = self.profiles.get_mut(usize::from(p)) else {
                continue;
            };
            row.rebuild.retain(|r, _| !touched.gone.contains(r));
            let mut again: BTreeSet<RecipeIx> = touched.recipes.clone();
            if touched.names.iter().any(|name| row.needs_of_all(*name)) {
                again.extend(row.open.keys());
            }
            for name in &touched.names {
                again.extend(self.recipes.needers(*name));
                if let Some(waiting) = self.waiting_for.get(name) {
                    self.dirty.extend(waiting);
                }
            }
            again.retain(|r| row.open.contains_key(r));
            row.stale |= !again.is_empty();
            self.dirty.extend(again.into_iter().map(|r| (p, r)));
        }
    }

    fn take_moved(&mut self, source: &Source, moved: &Moved) {
        for name in &moved.gained {
            self.dirty
                .extend(self.waiting_for.remove(name).unwrap_or_default());
        }
        for p in 0..ProfileIx::try_from(self.profiles.len()).unwrap_or(ProfileIx::MAX) {
            let Some(row) = self.profiles.get_mut(usize::from(p)) else {
                continue;
            };
            if !row.sources.contains(source) {
                continue;
            }
            // What stands in for a cut may have come; what was ready may miss something now.
            row.stale |= row.cuts.values().any(Option::is_none) && !moved.gained.is_empty();
            if !moved.lost.is_empty() {
                let ready = row
                    .open
                    .iter()
                    .filter(|(_, open)| open.reported == Some(Readiness::Ready));
                self.dirty.extend(ready.map(|(r, _)| (p, *r)));
                row.stale |= !row.cuts.is_empty();
            }
            // The channels of the profiles below a layer, too: what is built for it may need what they lost.
            if matches!(source, Source::Channel(..)) {
                self.note_rebuilds(p, moved);
            }
        }
    }

    fn look_at_all(&mut self, p: ProfileIx) {
        if let Some(row) = self.profiles.get_mut(usize::from(p)) {
            row.stale = true;
            self.dirty.extend(row.open.keys().map(|r| (p, *r)));
        }
    }

    fn look_at_everything(&mut self) {
        for p in 0..ProfileIx::try_from(self.profiles.len()).unwrap_or(ProfileIx::MAX) {
            self.look_at_all(p);
        }
    }
}

impl ProfileRow {
    /// Whether every build root of the profile, or of one of its toolchains, needs the name.
    fn needs_of_all(&self, name: NameId) -> bool {
        self.always.contains(&name) || self.compilers.iter().any(|names| names.contains(&name))
    }

    /// The published channel.
    pub(super) fn channel(&self) -> Option<&Source> {
        self.sources.first()
    }
}
