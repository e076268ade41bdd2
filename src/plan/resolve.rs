//! Who serves a need: the edges of a recipe, the packages of its build root, and what is missing for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::graph::RecipeIx;
use super::names::{NameId, for_arch};
use super::planner::{Planner, ProfileIx, ProfileRow};
use super::providers::Package;
use super::{Closure, Edge, Edges, PackageRef, ServedBy, Source, Wait, WaitKind};
use crate::id::Arch;
use crate::model::Target;
use crate::recipe::{NeedOrigin, Toolchain};
use crate::stone::Dependency;

/// Where a name comes from, other than a recipe that is still to be built.
#[derive(Clone, Copy)]
pub(super) enum Found {
    /// A package: its source's place in the profile's list, its slot in that index.
    Package(usize, u32),
    /// It is there without a package.
    Base,
}

/// A name that nothing in the indexes provides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Missing {
    pub name: NameId,
    /// The package of the build root that needs it at run time; `None`: the recipe itself asks for it.
    pub wanted_by: Option<std::sync::Arc<str>>,
}

/// What the search for a build root found.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// Source and slot.
    pub packages: BTreeSet<(usize, u32)>,
    pub missing: BTreeSet<Missing>,
    /// Macro needs that nothing provides, not even a recipe.
    pub notes: Vec<NameId>,
}

impl Planner {
    /// Everything a recipe needs to build in a profile: its own needs, the compiler, the base set.
    pub(super) fn needs(&self, p: &ProfileRow, r: RecipeIx) -> Vec<(NameId, NeedOrigin)> {
        let Some(recipe) = self.recipes.get(r) else {
            return Vec::new();
        };
        let Some((facts, profile)) = recipe.facts().zip(p.profile.as_ref()) else {
            return Vec::new();
        };
        let mut needs: Vec<(NameId, NeedOrigin)> = match self.edges {
            Edges::All => {
                let own = recipe.needs.iter().copied();
                let toolchain = facts.toolchain.unwrap_or(profile.toolchain);
                let compiler = match (toolchain, facts.emul32) {
                    (Toolchain::Llvm, false) => &p.compilers[0],
                    (Toolchain::Llvm, true) => &p.compilers[1],
                    (Toolchain::Gnu, false) => &p.compilers[2],
                    (Toolchain::Gnu, true) => &p.compilers[3],
                };
                let added = compiler.iter().chain(p.always.iter());
                own.chain(added.map(|name| (*name, NeedOrigin::Toolchain)))
                    .collect()
            }
            Edges::Manifest => {
                let listed = |origin| matches!(origin, NeedOrigin::Build | NeedOrigin::Check);
                recipe
                    .needs
                    .iter()
                    .copied()
                    .filter(|(_, origin)| listed(*origin))
                    .collect()
            }
        };
        needs.sort_unstable();
        needs.dedup_by_key(|(name, _)| *name);
        needs
    }

    /// The recipe that is taken for a name: the project's priority, then the newest release, then the first by name.
    pub(super) fn provider_of(&self, p: ProfileIx, name: NameId) -> Option<RecipeIx> {
        let candidates = self.recipes.providers(name);
        if let [only] = candidates {
            return self.is_built_for(p, *only).then_some(*only);
        }
        let rank = |r: &RecipeIx| {
            let row = self.recipes.get(*r)?;
            let priority = self.rules.get(&row.project)?.priority;
            let release = row.facts()?.release;
            let first = std::cmp::Reverse((row.name.clone(), row.project.clone()));
            Some((priority, release, first))
        };
        candidates
            .iter()
            .filter(|r| self.is_built_for(p, **r))
            .max_by(|a, b| rank(a).cmp(&rank(b)))
            .copied()
    }

    /// The name of the recipe that is taken for a name: its packages are taken too, although another recipe's have a higher
    /// release.
    fn maker_of(&self, p: ProfileIx, name: NameId) -> Option<&str> {
        let recipe = self.recipes.get(self.provider_of(p, name)?)?;
        Some(recipe.name.as_str())
    }

    /// The recipes that a recipe is built with and the needs that each serves; itself left out.
    pub(super) fn providers_of(
        &self,
        p: ProfileIx,
        r: RecipeIx,
    ) -> BTreeMap<RecipeIx, Vec<(NameId, NeedOrigin)>> {
        let mut edges: BTreeMap<RecipeIx, Vec<(NameId, NeedOrigin)>> = BTreeMap::new();
        let Some(row) = self.row(p) else { return edges };
        for (name, origin) in self.needs(row, r) {
            if let Some(provider) = self.provider_of(p, name)
                && provider != r
            {
                edges.entry(provider).or_default().push((name, origin));
            }
        }
        edges
    }

    /// The edges of a target to the recipes that it is built with.
    pub fn edges_of(&self, target: &Target) -> Vec<Edge> {
        let Some((p, r)) = self.find(target) else {
            return Vec::new();
        };
        let cuts = self.row(p).map(|row| &row.cuts);
        let mut edges: Vec<Edge> = self
            .providers_of(p, r)
            .into_iter()
            .filter_map(|(provider, needs)| {
                let mut dependencies: Vec<(Dependency, NeedOrigin)> = needs
                    .iter()
                    .filter_map(|(name, origin)| Some((self.names.name(*name)?.clone(), *origin)))
                    .collect();
                dependencies.sort();
                Some(Edge {
                    provider: self.target(p, provider)?,
                    dependencies,
                    cut: cuts.and_then(|cuts| cuts.get(&(r, provider)).copied()),
                })
            })
            .collect();
        edges.sort_by(|a, b| a.provider.cmp(&b.provider));
        edges
    }

    /// Where a name comes from for a target, for people: `recipe`, `published`, `remote`, `base` or `nothing`, and who.
    pub fn serves(&self, target: &Target, name: &Dependency) -> (&'static str, Option<String>) {
        let Some((p, _)) = self.find(target) else {
            return ("nothing", None);
        };
        let (Some(row), Some(name)) = (self.row(p), self.names.get(name)) else {
            return ("nothing", None);
        };
        if let Some(provider) = self.provider_of(p, name) {
            return (
                "recipe",
                self.target(p, provider)
                    .map(|target| target.recipe.to_string()),
            );
        }
        match self.look_up(row, name, || None) {
            Some(Found::Package(place, slot)) => {
                let kind = match row.sources.get(place).map(Source::kind) {
                    Some(ServedBy::Remote) => "remote",
                    Some(ServedBy::Published | ServedBy::Base) | None => "published",
                };
                (
                    kind,
                    self.package(row, place, slot)
                        .map(|package| package.name.to_string()),
                )
            }
            Some(Found::Base) => ("base", None),
            None => ("nothing", None),
        }
    }

    /// Where a name comes from in this profile, recipes aside. Where several packages of one source provide it, those of the
    /// recipe `maker` come first.
    fn look_up<'a>(
        &self,
        p: &ProfileRow,
        name: NameId,
        maker: impl Fn() -> Option<&'a str>,
    ) -> Option<Found> {
        let arch = p.profile.as_ref()?.arch;
        let name = self.written_for(name, arch);
        p.sources.iter().enumerate().find_map(|(place, source)| {
            if self
                .bases
                .get(source)
                .is_some_and(|base| base.contains(&name))
            {
                return Some(Found::Base);
            }
            let (slot, package) = self.indexes.get(source)?.find(name, arch, &maker)?;
            Some(match package.sha256 {
                Some(_) if !self.never.contains(&*package.name) => Found::Package(place, slot),
                Some(_) | None => Found::Base,
            })
        })
    }

    /// What stands in when the recipe that provides a name is not built yet.
    pub(super) fn stand_in(&self, p: &ProfileRow, name: NameId) -> Option<ServedBy> {
        match self.look_up(p, name, || None)? {
            Found::Package(place, ..) => p.sources.get(place).map(Source::kind),
            Found::Base => Some(ServedBy::Base),
        }
    }

    fn written_for(&self, name: NameId, arch: Arch) -> NameId {
        if arch == Arch::X86_64 {
            return name;
        }
        let other = self.names.name(name).and_then(|name| for_arch(name, arch));
        other
            .and_then(|other| self.names.get(&other))
            .unwrap_or(name)
    }

    /// The packages of a build root as the indexes are now. `held` needs are left out: their recipe is waited for anyway.
    pub(super) fn search(
        &self,
        p: ProfileIx,
        r: RecipeIx,
        held: impl Fn(NameId) -> bool,
    ) -> Search {
        let mut search = Search::default();
        let Some(row) = self.row(p) else {
            return search;
        };
        let mut todo: Vec<(usize, u32)> = Vec::new();
        for (name, origin) in self.needs(row, r) {
            match self.look_up(row, name, || self.maker_of(p, name)) {
                _ if held(name) => {}
                Some(Found::Package(place, slot)) => {
                    if search.packages.insert((place, slot)) {
                        todo.push((place, slot));
                    }
                }
                Some(Found::Base) => {}
                None if origin == NeedOrigin::Macro && self.provider_of(p, name).is_none() => {
                    search.notes.push(name);
                }
                None => {
                    search.missing.insert(Missing {
                        name,
                        wanted_by: None,
                    });
                }
            }
        }
        let mut seen: HashMap<NameId, bool> = HashMap::new();
        while let Some((place, slot)) = todo.pop() {
            let Some(package) = self.package(row, place, slot) else {
                continue;
            };
            for name in package.depends.iter() {
                let found = *seen.entry(*name).or_insert_with(|| {
                    match self.look_up(row, *name, || self.maker_of(p, *name)) {
                        Some(Found::Package(place, slot)) => {
                            if search.packages.insert((place, slot)) {
                                todo.push((place, slot));
                            }
                            true
                        }
                        Some(Found::Base) => true,
                        None => false,
                    }
                });
                if !found {
                    let wanted_by = Some(package.name.clone());
                    search.missing.insert(Missing {
                        name: *name,
                        wanted_by,
                    });
                }
            }
        }
        search
    }

    fn package(&self, p: &ProfileRow, place: usize, slot: u32) -> Option<&Package> {
        self.indexes.get(p.sources.get(place)?)?.get(slot)
    }

    /// The packages of a target's build root as the indexes are now, or what is missing.
    pub fn closure(&self, target: &Target) -> std::result::Result<Closure, Vec<Wait>> {
        let Some((p, r)) = self.find(target) else {
            return Err(vec![wait(
                WaitKind::Recipe,
                format!(
                    "{} has no recipe {} any more",
                    target.project, target.recipe
                ),
                "wait for the next commit, or cancel the job",
            )]);
        };
        let search = self.search(p, r, |_| false);
        let Some(row) = self.row(p) else {
            return Err(Vec::new());
        };
        if !search.missing.is_empty() {
            return Err(self.missing_waits(p, r, &search));
        }
        let mut packages: Vec<PackageRef> = search
            .packages
            .iter()
            .filter_map(|(place, slot)| {
                let package = self.package(row, *place, *slot)?;
                Some(PackageRef {
                    name: package.name.to_string(),
                    sha256: package.sha256?,
                    size: package.size,
                    from: row.sources.get(*place)?.clone(),
                    uri: package.uri.to_string(),
                })
            })
            .collect();
        packages.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.from.cmp(&b.from)));
        packages.dedup_by(|b, a| a.name == b.name);
        let mut notes: Vec<Dependency> = search
            .notes
            .iter()
            .filter_map(|name| self.names.name(*name).cloned())
            .collect();
        notes.sort();
        Ok(Closure { packages, notes })
    }

    /// Everything that a target waits for, what would lift first at the top. Empty: it is ready, or it is not open.
    pub fn waits_for(&self, target: &Target) -> Vec<Wait> {
        let Some((p, r)) = self.find(target) else {
            return Vec::new();
        };
        let Some(row) = self.row(p).filter(|row| row.open.contains_key(&r)) else {
            return Vec::new();
        };
        let mut waits = Vec::new();
        let mut held: BTreeSet<NameId> = BTreeSet::new();
        for (provider, needs) in self.providers_of(p, r) {
            let Some(blocker) = self.blocks(row, r, provider) else {
                continue;
            };
            held.extend(needs.iter().map(|(name, _)| *name));
            waits.push(self.job_wait(row, provider, &needs, blocker));
        }
        waits.extend(self.missing_waits(p, r, &self.search(p, r, |name| held.contains(&name))));
        sort(&mut waits);
        waits
    }

    /// Whether an open target waits for this provider, and in which way.
    pub(super) fn blocks(
        &self,
        row: &ProfileRow,
        r: RecipeIx,
        provider: RecipeIx,
    ) -> Option<WaitKind> {
        let open = row.open.get(&provider)?;
        match row.cuts.get(&(r, provider)) {
            Some(Some(_)) => return None,
            Some(None) => return Some(WaitKind::Bootstrap),
            None => {}
        }
        if !open.failed {
            return Some(WaitKind::Job);
        }
        // A rebuild that failed holds nobody while the release itself is published.
        let recipe = self.recipes.get(provider)?;
        let arch = row.profile.as_ref()?.arch;
        let published = self
            .indexes
            .get(row.channel()?)
            .and_then(|index| index.release_of(recipe.name.as_str(), arch));
        let wanted = recipe.facts().map(|facts| facts.release);
        (wanted.is_none() || published < wanted).then_some(WaitKind::FailedJob)
    }

    fn job_wait(
        &self,
        row: &ProfileRow,
        provider: RecipeIx,
        needs: &[(NameId, NeedOrigin)],
        kind: WaitKind,
    ) -> Wait {
        let name = self.recipe_name(provider);
        let what = self.some_names(needs.iter().map(|(name, _)| *name));
        let job = row.open.get(&provider).map(|open| open.job);
        let number = job.map(|job| job.to_string()).unwrap_or_default();
        let (text, next) = match kind {
            WaitKind::Bootstrap => (
                format!(
                    "bootstrap needs: {what} from {name}, in a cycle that nothing published opens"
                ),
                format!("import a package that provides {what}, or add a remote that does"),
            ),
            WaitKind::FailedJob => (
                format!("job {number} of {name}, which provides {what}, failed"),
                format!("see `massif job log {number}`, mend the recipe or retry it"),
            ),
            _ => (
                format!("job {number} builds {name}, which provides {what}"),
                String::new(),
            ),
        };
        Wait {
            kind,
            text,
            next,
            job,
        }
    }

    /// What is missing, one wait per name, in the order of `waits_for`.
    fn missing_waits(&self, p: ProfileIx, r: RecipeIx, search: &Search) -> Vec<Wait> {
        let mut by_name: BTreeMap<NameId, Vec<&Missing>> = BTreeMap::new();
        for missing in &search.missing {
            by_name.entry(missing.name).or_default().push(missing);
        }
        let row = self.row(p);
        let mut waits: Vec<Wait> = by_name
            .into_iter()
            .map(|(name, all)| {
                let what = self.names.text(name);
                let wanted_by = all.iter().find_map(|missing| missing.wanted_by.as_deref());
                let how = match wanted_by {
                    Some(package) => format!("{what}, which package {package} needs at run time"),
                    None => what.clone(),
                };
                let provider = self.provider_of(p, name);
                let open = provider.and_then(|provider| row?.open.get(&provider));
                match (provider, open) {
                    (Some(provider), _) if provider == r => wait(
                        WaitKind::Bootstrap,
                        format!("bootstrap needs: {how}, which only this recipe itself provides"),
                        &format!(
                            "import a package that provides {what}, or add a remote that does"
                        ),
                    ),
                    (Some(provider), Some(open)) => Wait {
                        kind: if open.failed {
                            WaitKind::FailedJob
                        } else {
                            WaitKind::Job
                        },
                        text: format!(
                            "job {} of {} makes {how}",
                            open.job,
                            self.recipe_name(provider)
                        ),
                        next: String::new(),
                        job: Some(open.job),
                    },
                    (Some(provider), None) => {
                        let name = self.recipe_name(provider);
                        wait(
                            WaitKind::Recipe,
                            format!("recipe {name} makes {how}, and no job builds it"),
                            &format!("run `massif build {name}`"),
                        )
                    }
                    (None, _) => match self.namesake(p, r, name) {
                        None => wait(
                            WaitKind::Dependency,
                            format!("nothing provides {how}"),
                            &format!(
                                "add a recipe or a remote that provides {what}, or mend the dependency"
                            ),
                        ),
                        Some(maker) => {
                            let maker = self.recipe_name(maker);
                            wait(
                                WaitKind::Dependency,
                                format!(
                                    "nothing is known to provide {how}; recipe {maker} was never built and has no manifest that says what it makes"
                                ),
                                &format!(
                                    "commit the manifest of {maker} beside its recipe, or run `massif build {maker}`: what it makes is known afterwards"
                                ),
                            )
                        }
                    },
                }
            })
            .collect();
        sort(&mut waits);
        waits
    }

    /// A recipe that is called as what is missing, while nothing says what it makes.
    fn namesake(&self, p: ProfileIx, r: RecipeIx, name: NameId) -> Option<RecipeIx> {
        let word = &self.names.name(name)?.name;
        let stem = word.strip_suffix("-devel").unwrap_or(word);
        let row = self.row(p)?;
        let unknown = |other: &RecipeIx| {
            let facts = self.recipes.get(*other).and_then(|row| row.facts());
            facts.is_some_and(|facts| !facts.from_manifest)
                && self.published_at(row, *other).is_none()
        };
        let mut named = self.recipes.named(stem).iter().copied();
        named.find(|other| *other != r && self.is_built_for(p, *other) && unknown(other))
    }

    pub(super) fn recipe_name(&self, r: RecipeIx) -> String {
        self.recipes
            .get(r)
            .map(|row| row.name.to_string())
            .unwrap_or_default()
    }

    /// Up to three names for people.
    fn some_names(&self, names: impl Iterator<Item = NameId>) -> String {
        let mut texts: Vec<String> = names.map(|name| self.names.text(name)).collect();
        texts.sort();
        let more = texts.len().saturating_sub(3);
        texts.truncate(3);
        match more {
            0 => texts.join(", "),
            _ => format!("{} and {more} more", texts.join(", ")),
        }
    }
}

fn sort(waits: &mut [Wait]) {
    waits.sort_by(|a, b| (a.kind, a.job, &a.text).cmp(&(b.kind, b.job, &b.text)));
}

fn wait(kind: WaitKind, text: String, next: &str) -> Wait {
    Wait {
        kind,
        text,
        next: next.into(),
        job: None,
    }
}
