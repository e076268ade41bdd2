//! Which jobs should exist: recipes compared with the published channel.

use std::collections::{BTreeMap, BTreeSet};

use super::Wanted;
use super::graph::RecipeIx;
use super::planner::{Planner, ProfileIx, ProfileRow};
use crate::model::{Because, Target};

impl Planner {
    /// The jobs that should exist and do not, in all profiles, sorted by target: what the channel lacks, what it has in an older
    /// release, and what has to be built again.
    pub fn jobs_wanted(&self) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        for (p, row) in (0..).zip(&self.profiles) {
            for (r, _) in self.recipes.iter() {
                if !row.open.contains_key(&r)
                    && self.is_built_for(p, r)
                    && let Some(because) = self.because(row, r)
                {
                    wanted.extend(self.wanted_as(p, r, because));
                }
            }
        }
        wanted.sort_by(|a, b| a.target.cmp(&b.target));
        wanted
    }

    /// The job that this target would get: for somebody who asks for it by name.
    pub fn job_for(&self, target: &Target, because: Because) -> Option<Wanted> {
        let (p, r) = self.find(target)?;
        self.is_built_for(p, r)
            .then(|| self.wanted_as(p, r, because))?
    }

    /// Why this target would get a job by itself; `None`: what is published is as new as its recipe.
    pub fn because_of(&self, target: &Target) -> Option<Because> {
        let (p, r) = self.find(target)?;
        self.because(self.row(p)?, r)
    }

    /// The release in the channel that this target publishes to.
    pub fn published(&self, target: &Target) -> Option<u64> {
        let (p, r) = self.find(target)?;
        self.published_at(self.row(p)?, r)
    }

    /// Whether a target is built at all: for a layer only what was chosen for it is.
    pub fn is_built(&self, target: &Target) -> bool {
        let found = self.find(target);
        found.is_some_and(|(p, r)| self.is_built_for(p, r))
    }

    /// The profiles that a recipe is built for.
    pub fn targets_of(&self, recipe: &str) -> Vec<Target> {
        let mut targets: Vec<Target> = Vec::new();
        for r in self.recipes.named(recipe) {
            targets.extend(
                self.profiles_of(*r)
                    .into_iter()
                    .filter_map(|p| self.target(p, *r)),
            );
        }
        targets.sort();
        targets
    }

    /// What has to be built too when these are, because nothing published, remote or in the base serves it: in no order.
    pub fn needed_by(&self, targets: &[Target]) -> Vec<Target> {
        let mut seen: BTreeSet<(ProfileIx, RecipeIx)> =
            targets.iter().filter_map(|t| self.find(t)).collect();
        let mut todo: Vec<(ProfileIx, RecipeIx)> = seen.iter().copied().collect();
        let mut found = Vec::new();
        while let Some((p, r)) = todo.pop() {
            let search = self.search(p, r, |_| false);
            for missing in search.missing {
                if let Some(provider) = self.provider_of(p, missing.name)
                    && seen.insert((p, provider))
                {
                    todo.push((p, provider));
                    found.extend(self.target(p, provider));
                }
            }
        }
        found.sort();
        found
    }

    /// What would be built again if these were published anew and provided something else, with the number of steps from them.
    pub fn follows(&self, targets: &[Target]) -> BTreeMap<Target, usize> {
        let mut steps: BTreeMap<Target, usize> = BTreeMap::new();
        for (p, row) in (0..).zip(&self.profiles) {
            let Some(_) = row.profile else { continue };
            let mut seen: BTreeSet<RecipeIx> = targets
                .iter()
                .filter_map(|t| self.find(t))
                .filter(|(of, _)| *of == p)
                .map(|(_, r)| r)
                .collect();
            let mut front: Vec<RecipeIx> = seen.iter().copied().collect();
            let mut step = 0;
            while !front.is_empty() {
                step += 1;
                let mut next = Vec::new();
                for r in front {
                    for dependant in self.built_with(p, r) {
                        if seen.insert(dependant) {
                            next.push(dependant);
                            steps.extend(self.target(p, dependant).map(|target| (target, step)));
                        }
                    }
                }
                front = next;
            }
        }
        steps
    }

    fn because(&self, row: &ProfileRow, r: RecipeIx) -> Option<Because> {
        let facts = self.recipes.get(r)?.facts()?;
        match self.published_at(row, r) {
            None => Some(Because::Missing),
            Some(published) if published < facts.release => {
                Some(Because::NewerRelease { published })
            }
            Some(_) => row
                .rebuild
                .get(&r)
                .map(|what| Because::DependencyChanged { what: what.clone() }),
        }
    }

    pub(super) fn published_at(&self, row: &ProfileRow, r: RecipeIx) -> Option<u64> {
        let arch = row.profile.as_ref()?.arch;
        self.indexes
            .get(row.channel()?)?
            .release_of(self.recipes.get(r)?.name.as_str(), arch)
    }

    fn wanted_as(&self, p: ProfileIx, r: RecipeIx, because: Because) -> Option<Wanted> {
        let row = self.recipes.get(r)?;
        let facts = row.facts()?;
        Some(Wanted {
            target: self.target(p, r)?,
            version: facts.version.clone(),
            release: facts.release,
            dir: row.entry.dir.clone(),
            tree: row.entry.text,
            because,
        })
    }

    /// The recipes that are built with this one in a profile, open or not.
    pub(super) fn built_with(&self, p: ProfileIx, r: RecipeIx) -> BTreeSet<RecipeIx> {
        let mut found = BTreeSet::new();
        let Some(row) = self.recipes.get(r) else {
            return found;
        };
        for name in row
            .provides
            .iter()
            .filter(|name| self.provider_of(p, **name) == Some(r))
        {
            let needers = self.recipes.needers(*name).iter();
            found.extend(needers.filter(|needer| **needer != r && self.is_built_for(p, **needer)));
        }
        found
    }
}
