//! What is built again: what a published recipe is owed because something that it was built with is another one now. It follows from
//! what each attempt was built with, the channel and the policy, so that it is the same after a restart. Of what came from
//! outside nothing is known but what changes while we look.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::graph::RecipeIx;
use super::names::NameId;
use super::planner::{Planner, ProfileIx, ProfileRow};
use super::providers::Moved;
use super::{ProjectRules, Rebuild, Source};
use crate::id::AttemptId;
use crate::model::built_with::KEPT;
use crate::model::{Base, BuiltWith, Stood, Target, With};

/// What an attempt of a target was built with.
#[derive(Debug, Clone)]
pub(super) struct Made {
    release: u64,
    build_release: u64,
    /// It was made because of something else, so its publication counts as a rebuild.
    rebuild: bool,
    with: Arc<BuiltWith>,
}

/// What a policy makes of a change.
enum Follows {
    Again,
    Spared,
}

/// What follows for a published recipe from one that it was built with.
enum Owed {
    /// It is built again; what changed.
    Again(String),
    /// It is not, because what changed provides the same names.
    Spared,
}

impl Planner {
    /// What a target would be built with if it were given out now: the recipes that its own needs ask for, and those whose packages
    /// come into its build root with them. Only the former have it built again when they change; by the latter a start knows what
    /// broke while nobody looked.
    pub fn with_of(&self, target: &Target, attempt: AttemptId) -> BuiltWith {
        let mut with = Vec::new();
        if let Some((p, r)) = self.find(target)
            && let Some(row) = self.row(p)
        {
            let direct: BTreeSet<RecipeIx> = self.providers_of(p, r).into_keys().collect();
            let deep = self.deep_in_root(p, r);
            // What is asked for comes first, should not all fit.
            for provider in direct.iter().chain(deep.difference(&direct)).copied() {
                let Some(recipe) = self.recipes.get(provider) else {
                    continue;
                };
                let cut = row.cuts.get(&(r, provider));
                with.push(With {
                    recipe: recipe.name.clone(),
                    stood: self.stands(row, provider),
                    early: matches!(cut, Some(Some(_))) && row.open.contains_key(&provider),
                });
            }
        }
        let all = BuiltWith {
            attempt,
            with,
            left_out: 0,
        };
        let mut all = all.bounded();
        all.with.sort_by(|a, b| a.recipe.cmp(&b.recipe));
        all
    }

    /// Recipes of the farm whose packages of the channel are in a target's build root as the indexes are now.
    fn deep_in_root(&self, p: ProfileIx, r: RecipeIx) -> BTreeSet<RecipeIx> {
        let Some(row) = self.row(p) else {
            return BTreeSet::new();
        };
        let Some(index) = row.channel().and_then(|source| self.indexes.get(source)) else {
            return BTreeSet::new();
        };
        let own = row.channel();
        let search = self.search(p, r, |_| false);
        let places = search.packages.iter();
        let ours = places.filter(|(place, _)| row.sources.get(*place) == own);
        let made_by = ours.filter_map(|(_, slot)| Some(&index.get(*slot)?.recipe));
        let named: BTreeSet<&std::sync::Arc<str>> = made_by.collect();
        let recipes = named.into_iter().filter_map(|name| {
            let known = self.recipes.named(name).iter().copied();
            let mut known = known.filter(|other| self.is_built_for(p, *other));
            known.next().filter(|other| *other != r)
        });
        recipes.collect()
    }

    /// An attempt of this target was built with this; `rebuild`: because something else changed.
    pub fn made(
        &mut self,
        target: &Target,
        (release, build_release): (u64, u64),
        with: Arc<BuiltWith>,
        rebuild: bool,
    ) {
        let known = self.made.entry(target.clone()).or_default();
        known.retain(|made| (made.release, made.build_release) != (release, build_release));
        known.push(Made {
            release,
            build_release,
            rebuild,
            with,
        });
        known.drain(..known.len().saturating_sub(KEPT));
    }

    /// After a start, and when rules changed: notes what rows say is owed. Whether there was anything to look at.
    pub fn look_back(&mut self) -> bool {
        let mut looked = false;
        for p in 0..ProfileIx::try_from(self.profiles.len()).unwrap_or(ProfileIx::MAX) {
            let Some(row) = self.row(p).filter(|row| row.profile.is_some()) else {
                continue;
            };
            let mut notes: Vec<(RecipeIx, String)> = Vec::new();
            let names = row.look_back_names && self.knows_all(row);
            if names {
                notes.extend(self.broken_since(p, row));
            }
            if row.look_back {
                for r in self.recipes.iter().map(|(r, _)| r) {
                    if !row.open.contains_key(&r) && self.is_built_for(p, r) {
                        notes.extend(self.owes(p, row, r).map(|what| (r, what)));
                    }
                }
            }
            looked |= names || row.look_back;
            if let Some(row) = self.profiles.get_mut(usize::from(p)) {
                row.look_back = false;
                row.look_back_names &= !names;
                for (r, what) in notes {
                    row.rebuild.entry(r).or_insert(what);
                }
            }
        }
        looked
    }

    /// Why a published target was not built again although something that it is built with was.
    pub fn spared(&self, target: &Target) -> Option<String> {
        let (p, r) = self.find(target)?;
        let row = self.row(p).filter(|row| !row.open.contains_key(&r))?;
        let provider = match self.made_now(row, p, r) {
            Some(made) => made.with.with.iter().find_map(|with| {
                if !self.is_another(row, p, with) {
                    return None;
                }
                let provider = self.still_with(p, r, with)?;
                let owed = self.owed(p, row, (r, made), with, provider)?;
                matches!(owed, Owed::Spared).then_some(provider)
            }),
            None => row.spared.get(&r).copied(),
        }?;
        Some(format!(
            "{} was built again and provides the same names, so {} was not",
            self.recipe_name(provider),
            target.recipe
        ))
    }

    /// Notes which published recipes have to be built again after a change of the channel that this profile publishes to.
    pub(super) fn note_rebuilds(&mut self, p: ProfileIx, moved: &Moved) {
        let mut notes: Vec<(RecipeIx, String)> = Vec::new();
        let mut spared: Vec<(RecipeIx, RecipeIx)> = Vec::new();
        let mut anew: Vec<RecipeIx> = Vec::new();
        let Some(row) = self.row(p) else { return };
        for (r, what) in self.broken(p, row, moved) {
            let rule = self.rules_of(r).map(|rules| rules.rebuild);
            if rule.is_some_and(|rule| rule != Rebuild::None) {
                notes.push((r, what));
            }
        }
        for published in &moved.recipes {
            let named = self.recipes.named(published).iter();
            let Some(r) = named.copied().find(|r| self.is_built_for(p, *r)) else {
                continue;
            };
            // What it is built with may have changed while it was being built.
            anew.push(r);
            notes.extend(self.owes(p, row, r).map(|what| (r, what)));
            let same = moved.same_names.contains(published);
            for dependant in self.built_with(p, r) {
                // What is open will be built anyway; what was never published is missing, not changed.
                if row.open.contains_key(&dependant) || self.published_at(row, dependant).is_none()
                {
                    continue;
                }
                if self.made_now(row, p, dependant).is_some() {
                    notes.extend(self.owes(p, row, dependant).map(|what| (dependant, what)));
                    continue;
                }
                let rule = self.rules_of(dependant).map(|rules| rules.rebuild);
                match follows(rule, self.is_rebuild(row, p, r), same) {
                    Some(Follows::Again) => notes.push((dependant, published.to_string())),
                    Some(Follows::Spared) => spared.push((dependant, r)),
                    None => {}
                }
            }
        }
        let Some(row) = self.profiles.get_mut(usize::from(p)) else {
            return;
        };
        for r in anew {
            row.rebuild.remove(&r);
        }
        for (r, what) in notes {
            row.rebuild.entry(r).or_insert(what);
        }
        row.spared.extend(spared);
    }

    /// What rows say that a published target is owed; `None`: nothing, or nothing is known of it.
    fn owes(&self, p: ProfileIx, row: &ProfileRow, r: RecipeIx) -> Option<String> {
        let rules = self.rules_of(r)?;
        let made = self.made_now(row, p, r)?;
        let follows = matches!(rules.rebuild, Rebuild::Direct | Rebuild::Transitive);
        let of_interest = |with: &&With| follows || with.early && rules.second_pass;
        let with = made.with.with.iter().filter(of_interest);
        with.filter(|with| self.is_another(row, p, with))
            .find_map(|with| {
                let provider = self.still_with(p, r, with)?;
                match self.owed(p, row, (r, made), with, provider)? {
                    Owed::Again(what) => Some(what),
                    Owed::Spared => None,
                }
            })
    }

    /// Whether the channel has another build of it than then: cheap, because numbers name the bytes.
    fn is_another(&self, row: &ProfileRow, p: ProfileIx, with: &With) -> bool {
        let now = self.named_for(p, with).and_then(|r| self.build_of(row, r));
        with.stood.map(|then| (then.release, then.build_release)) != now
    }

    /// What follows for a published recipe from one thing that it was built with.
    fn owed(
        &self,
        p: ProfileIx,
        row: &ProfileRow,
        (r, made): (RecipeIx, &Made),
        with: &With,
        provider: RecipeIx,
    ) -> Option<Owed> {
        // What is not there any more provides nothing: that is for the names to say.
        let now = self.stands(row, provider)?;
        if with.stood == Some(now) {
            return None;
        }
        let rules = self.rules_of(r)?;
        let name = self.recipe_name(provider);
        // What a second pass builds is not built a third time.
        if with.early && rules.second_pass && !made.rebuild {
            return Some(Owed::Again(format!("{name}, which it was built before,")));
        }
        let then = with.stood;
        let again = then.is_some_and(|then| then.release == now.release)
            && self.is_rebuild(row, p, provider);
        let same = then.is_some_and(|then| then.names == now.names);
        match follows(Some(rules.rebuild), again, same)? {
            Follows::Again => Some(Owed::Again(name)),
            Follows::Spared => Some(Owed::Spared),
        }
    }

    fn rules_of(&self, r: RecipeIx) -> Option<&ProjectRules> {
        self.rules.get(&self.recipes.get(r)?.project)
    }

    /// The recipe of this name, if what was built with it still is.
    fn still_with(&self, p: ProfileIx, r: RecipeIx, with: &With) -> Option<RecipeIx> {
        let provider = self.named_for(p, with)?;
        let edges = self.providers_of(p, r);
        edges.contains_key(&provider).then_some(provider)
    }

    fn named_for(&self, p: ProfileIx, with: &With) -> Option<RecipeIx> {
        let mut named = self.recipes.named(with.recipe.as_str()).iter().copied();
        named.find(|r| self.is_built_for(p, *r))
    }

    fn stands_named(&self, row: &ProfileRow, p: ProfileIx, with: &With) -> Option<Stood> {
        self.stands(row, self.named_for(p, with)?)
    }

    /// What the channel has of a recipe.
    fn stands(&self, row: &ProfileRow, r: RecipeIx) -> Option<Stood> {
        let index = self.indexes.get(row.channel()?)?;
        let recipe = self.recipes.get(r)?.name.as_str();
        let (release, build_release) = self.build_of(row, r)?;
        Some(Stood {
            release,
            build_release,
            names: self.hash_of(&index.exports(recipe)),
        })
    }

    /// Release and build release of what the channel has of a recipe.
    fn build_of(&self, row: &ProfileRow, r: RecipeIx) -> Option<(u64, u64)> {
        let arch = row.profile.as_ref()?.arch;
        let index = self.indexes.get(row.channel()?)?;
        index
            .of_recipe(self.recipes.get(r)?.name.as_str())
            .filter(|package| package.arch == arch)
            .map(|package| (package.release, package.build_release))
            .max()
    }

    fn hash_of(&self, names: &[NameId]) -> [u8; 8] {
        let mut texts: Vec<String> = names.iter().map(|name| self.names.text(*name)).collect();
        texts.sort_unstable();
        xxhash_rust::xxh3::xxh3_64(texts.join("\n").as_bytes()).to_be_bytes()
    }

    /// What the packages that are published now were built with, where a row tells.
    fn made_now(&self, row: &ProfileRow, p: ProfileIx, r: RecipeIx) -> Option<&Made> {
        let known = self.made.get(&self.target(p, r)?)?;
        let build = self.build_of(row, r)?;
        known
            .iter()
            .find(|made| (made.release, made.build_release) == build)
    }

    /// Whether what is published of a recipe was built because of something else.
    fn is_rebuild(&self, row: &ProfileRow, p: ProfileIx, r: RecipeIx) -> bool {
        match self.made_now(row, p, r) {
            Some(made) => made.rebuild,
            None => row.open.get(&r).is_some_and(|open| open.rebuild),
        }
    }

    /// Whether every index and base of a profile was read.
    fn knows_all(&self, row: &ProfileRow) -> bool {
        row.sources.iter().all(|source| {
            self.indexes.contains_key(source)
                || self.bases.contains_key(source)
                || *source == Source::base(&Base::Stones)
        })
    }

    /// Published recipes with a package that depends on a name that went away.
    fn broken(&self, p: ProfileIx, row: &ProfileRow, moved: &Moved) -> Vec<(RecipeIx, String)> {
        let mut found = Vec::new();
        let lost: BTreeSet<_> = moved
            .lost
            .iter()
            .filter(|name| self.stand_in(row, **name).is_none())
            .collect();
        let index = row.channel().and_then(|source| self.indexes.get(source));
        let Some(index) = index.filter(|_| !lost.is_empty()) else {
            return found;
        };
        for package in index.packages() {
            let Some(name) = package.depends.iter().find(|name| lost.contains(name)) else {
                continue;
            };
            let recipe = self.recipes.named(&package.recipe).iter();
            for r in recipe.filter(|r| self.is_built_for(p, **r) && !row.open.contains_key(r)) {
                found.push((*r, self.names.text(*name)));
            }
        }
        found
    }

    /// The same after a start: a name is missing, and something that the recipe was built with provides other names than then.
    fn broken_since(&self, p: ProfileIx, row: &ProfileRow) -> Vec<(RecipeIx, String)> {
        let mut found = Vec::new();
        let Some(index) = row.channel().and_then(|source| self.indexes.get(source)) else {
            return found;
        };
        let mut served: HashMap<NameId, bool> = HashMap::new();
        let mut is_served = |name: NameId| {
            let known = served.entry(name);
            *known.or_insert_with(|| self.stand_in(row, name).is_some())
        };
        for package in index.packages() {
            let Some(name) = package.depends.iter().find(|name| !is_served(**name)) else {
                continue;
            };
            for r in self.recipes.named(&package.recipe).iter().copied() {
                let rule = self.rules_of(r).map(|rules| rules.rebuild);
                let may = rule.is_some_and(|rule| rule != Rebuild::None)
                    && self.is_built_for(p, r)
                    && !row.open.contains_key(&r);
                let other_names = |with: &With| {
                    if !self.is_another(row, p, with) {
                        return false;
                    }
                    let now = self.stands_named(row, p, with);
                    with.stood.map(|then| then.names) != now.map(|now| now.names)
                };
                let made = self.made_now(row, p, r).filter(|_| may);
                if made.is_some_and(|made| made.with.with.iter().any(other_names)) {
                    found.push((r, self.names.text(*name)));
                }
            }
        }
        found
    }
}

/// What a policy makes of a change: `again`: what changed was itself only built again; `same`: it provides the same names.
fn follows(rule: Option<Rebuild>, again: bool, same: bool) -> Option<Follows> {
    match (rule?, again, same) {
        (Rebuild::Direct | Rebuild::Transitive, false, _) | (Rebuild::Transitive, true, false) => {
            Some(Follows::Again)
        }
        (Rebuild::Transitive, true, true) => Some(Follows::Spared),
        (Rebuild::Direct, true, _) | (Rebuild::Broken | Rebuild::None, _, _) => None,
    }
}
