//! The order among open targets: what cycles they form, which edges are cut, who became ready, and how long the chains are.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::cycles::{self, Chains, Groups, Link};
use super::graph::RecipeIx;
use super::planner::{Planner, ProfileIx};
use super::{Change, Cut, Cycle, Readiness, ServedBy, Standing, WaitKind};
use crate::id::{JobId, ProfileName};
use crate::model::Target;

/// Steps of search per edge of a component beyond which nothing was ever gained on real components.
const STEPS_PER_LINK: u64 = 400;

/// Recipes that need each other, in places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CycleRow {
    pub members: Vec<RecipeIx>,
    /// (recipe, provider)
    pub cuts: Vec<(RecipeIx, RecipeIx)>,
    pub cuts_min: usize,
    /// What it was worked out from: (recipe, provider, something stands in).
    links: Vec<(RecipeIx, RecipeIx, bool)>,
}

impl Planner {
    /// Works out what follows from all that changed since the last call: edges, cycles and their cuts (with this many steps of
    /// search), and which open jobs are ready or wait now and did not before.
    pub fn settle(&mut self, steps: u64) -> Vec<Change> {
        let mut changes = Vec::new();
        for p in 0..ProfileIx::try_from(self.profiles.len()).unwrap_or(ProfileIx::MAX) {
            let mut dirty: BTreeSet<RecipeIx> = self
                .dirty
                .range((p, 0)..=(p, RecipeIx::MAX))
                .map(|(_, r)| *r)
                .collect();
            self.refresh_edges(p, &dirty);
            if self.row(p).is_some_and(|row| row.stale) {
                dirty.extend(self.reorder(p, steps));
            }
            for r in dirty {
                changes.extend(self.recheck(p, r));
            }
        }
        self.dirty.clear();
        changes
    }

    /// Renews the edges of these open targets.
    fn refresh_edges(&mut self, p: ProfileIx, dirty: &BTreeSet<RecipeIx>) {
        for r in dirty {
            if !self.row(p).is_some_and(|row| row.open.contains_key(r)) {
                continue;
            }
            let providers: Box<[RecipeIx]> = self.providers_of(p, *r).into_keys().collect();
            let Some(row) = self.profiles.get_mut(usize::from(p)) else {
                continue;
            };
            let Some(open) = row.open.get_mut(r) else {
                continue;
            };
            for provider in &providers {
                let dependants = row.dependants.entry(*provider).or_default();
                if !dependants.contains(r) {
                    dependants.push(*r);
                }
            }
            row.stale |= open.providers != providers;
            open.providers = providers;
        }
    }

    /// Condenses the open targets and cuts what is cyclic. Returns the targets that wait for something else now.
    fn reorder(&mut self, p: ProfileIx, steps: u64) -> BTreeSet<RecipeIx> {
        let Some(row) = self.row(p) else {
            return BTreeSet::new();
        };
        // By name: of cuts that are equally good the same one is taken after a restart, when recipes have other numbers.
        let mut places: Vec<RecipeIx> = row.open.keys().copied().collect();
        places.sort_by_cached_key(|r| self.recipes.get(*r).map(|row| (&row.name, &row.project)));
        let at: HashMap<RecipeIx, u32> = (0..).zip(&places).map(|(at, r)| (*r, at)).collect();
        let mut links: Vec<Link> = Vec::new();
        for (from, open) in (0..).zip(places.iter().filter_map(|r| row.open.get(r))) {
            let inside = open
                .providers
                .iter()
                .filter_map(|provider| at.get(provider));
            links.extend(inside.map(|to| Link {
                from,
                to: *to,
                cheap: true,
            }));
        }
        let groups = cycles::components(places.len(), &links);
        let served = self.price(p, &places, &groups, &mut links);
        let place = |ix: u32| places.get(ix as usize).copied();
        let known = self.row(p).map_or(&[][..], |row| row.cycles.as_slice());
        let chains = self.chains(p, &places, &groups, &links);
        let work: usize = groups.split(&links).iter().map(Vec::len).sum();
        let rows: Vec<CycleRow> = groups
            .groups
            .iter()
            .zip(groups.split(&links))
            .map(|(members, inside)| {
                let pairs = inside.iter();
                let links: Vec<(RecipeIx, RecipeIx, bool)> = pairs
                    .filter_map(|link| Some((place(link.from)?, place(link.to)?, link.cheap)))
                    .collect();
                // The same component as last time is opened the same way.
                if let Some(same) = known.iter().find(|row| row.links == links) {
                    return same.clone();
                }
                let share = steps as f64 * inside.len() as f64 / work.max(1) as f64;
                let most = inside.len() as u64 * STEPS_PER_LINK;
                let opened = cycles::open(members, &inside, &chains, (share as u64).min(most));
                let pair = |(from, to)| Some((place(from)?, place(to)?));
                CycleRow {
                    members: members.iter().filter_map(|ix| place(*ix)).collect(),
                    cuts: opened.cuts.into_iter().filter_map(pair).collect(),
                    cuts_min: opened.cuts_min,
                    links,
                }
            })
            .collect();
        let cuts: HashMap<(RecipeIx, RecipeIx), Option<ServedBy>> = rows
            .iter()
            .flat_map(|row| &row.cuts)
            .map(|pair| (*pair, served.get(pair).copied().flatten()))
            .collect();
        let Some(row) = self.profiles.get_mut(usize::from(p)) else {
            return BTreeSet::new();
        };
        let old = std::mem::replace(&mut row.cuts, cuts);
        row.cycles = rows;
        row.stale = false;
        self.order_moved = true;
        let gone = old
            .iter()
            .filter(|(pair, by)| row.cuts.get(pair) != Some(by));
        let new = row
            .cuts
            .iter()
            .filter(|(pair, by)| old.get(pair) != Some(by));
        gone.chain(new).map(|((r, _), _)| *r).collect()
    }

    /// What chains through the open targets cost, those within components left out.
    fn chains(&self, p: ProfileIx, places: &[RecipeIx], groups: &Groups, links: &[Link]) -> Chains {
        let Some(row) = self.row(p).filter(|_| !groups.groups.is_empty()) else {
            return Chains::default();
        };
        let own: Vec<f64> = places
            .iter()
            .filter_map(|r| row.open.get(r))
            .map(|open| f64::from(open.seconds))
            .collect();
        let (mut needs, mut needed) = (vec![Vec::new(); own.len()], vec![Vec::new(); own.len()]);
        for link in links.iter().filter(|link| !groups.is_inside(link)) {
            if let (Some(from), Some(to)) = (
                needed.get_mut(link.to as usize),
                needs.get_mut(link.from as usize),
            ) {
                from.push(link.from);
                to.push(link.to);
            }
        }
        let less_own = |paths: Vec<f64>| {
            paths
                .iter()
                .zip(&own)
                .map(|(path, own)| path - own)
                .collect()
        };
        Chains {
            before: less_own(cycles::longest_paths(&needs, &own)),
            after: less_own(cycles::longest_paths(&needed, &own)),
            own,
        }
    }

    /// Finds out what stands in for each link within a component: the least settled of what its needs come from.
    fn price(
        &self,
        p: ProfileIx,
        places: &[RecipeIx],
        groups: &Groups,
        links: &mut [Link],
    ) -> HashMap<(RecipeIx, RecipeIx), Option<ServedBy>> {
        let mut served = HashMap::new();
        let Some(row) = self.row(p) else {
            return served;
        };
        let mut last: Option<(RecipeIx, BTreeMap<RecipeIx, Vec<_>>)> = None;
        for link in cycles::inner_links(groups, links) {
            let pair = (places.get(link.from as usize), places.get(link.to as usize));
            let (Some(r), Some(provider)) = pair else {
                continue;
            };
            if last.as_ref().is_none_or(|(of, _)| of != r) {
                last = Some((*r, self.providers_of(p, *r)));
            }
            let needs = last.as_ref().and_then(|(_, needs)| needs.get(provider));
            let mut by = None;
            for (name, _) in needs.into_iter().flatten() {
                match self.stand_in(row, *name) {
                    Some(found) => by = by.max(Some(found)),
                    None => {
                        by = None;
                        break;
                    }
                }
            }
            link.cheap = by.is_some();
            served.insert((*r, *provider), by);
        }
        served
    }

    /// Whether the target is ready now; `None` if it is not open or was told before.
    fn recheck(&mut self, p: ProfileIx, r: RecipeIx) -> Option<Change> {
        let row = self.row(p)?;
        let open = row.open.get(&r).filter(|open| !open.failed)?;
        let mut readiness = Readiness::Ready;
        let mut names = Vec::new();
        if open
            .providers
            .iter()
            .any(|provider| self.blocks(row, r, *provider).is_some())
        {
            readiness = Readiness::Waits;
        } else {
            let search = self.search(p, r, |_| false);
            if !search.missing.is_empty() {
                readiness = Readiness::Waits;
                names.extend(search.missing.into_iter().map(|missing| missing.name));
            }
        }
        for name in names {
            let waiting = self.waiting_for.entry(name).or_default();
            if !waiting.contains(&(p, r)) {
                waiting.push((p, r));
            }
        }
        let open = self.profiles.get_mut(usize::from(p))?.open.get_mut(&r)?;
        let news = open.reported != Some(readiness);
        open.reported = Some(readiness);
        news.then_some((open.job, readiness))
    }

    /// The cycles among the open targets of a profile, largest first.
    pub fn cycles(&self, profile: &ProfileName) -> Vec<Cycle> {
        let Some((p, row)) = self
            .profile_ix(profile)
            .and_then(|p| Some((p, self.row(p)?)))
        else {
            return Vec::new();
        };
        let mut all: Vec<Cycle> = row
            .cycles
            .iter()
            .map(|cycle| {
                let mut members: Vec<Target> = cycle
                    .members
                    .iter()
                    .filter_map(|r| self.target(p, *r))
                    .collect();
                members.sort();
                let mut cuts: Vec<Cut> = cycle
                    .cuts
                    .iter()
                    .filter_map(|(r, provider)| self.cut(p, *r, *provider))
                    .collect();
                cuts.sort_by(|a, b| (&a.recipe, &a.provider).cmp(&(&b.recipe, &b.provider)));
                Cycle {
                    members,
                    cuts,
                    cuts_min: cycle.cuts_min,
                }
            })
            .collect();
        all.sort_by(|a, b| {
            b.members
                .len()
                .cmp(&a.members.len())
                .then_with(|| a.members.cmp(&b.members))
        });
        all
    }

    fn cut(&self, p: ProfileIx, r: RecipeIx, provider: RecipeIx) -> Option<Cut> {
        let row = self.row(p)?;
        let needs = self.needs(row, r).into_iter();
        let mut dependencies: Vec<_> = needs
            .filter(|(name, _)| self.provider_of(p, *name) == Some(provider))
            .filter_map(|(name, _)| self.names.name(name).cloned())
            .collect();
        dependencies.sort();
        Some(Cut {
            recipe: self.target(p, r)?,
            provider: self.target(p, provider)?,
            dependencies,
            served_by: row.cuts.get(&(r, provider)).copied().flatten(),
        })
    }

    /// How every open job stands in the order; jobs that were given up are left out.
    pub fn standings(&self) -> Vec<Standing> {
        let mut all = Vec::new();
        for row in &self.profiles {
            for (r, open) in row.open.iter().filter(|(_, open)| !open.failed) {
                let mut before = Vec::new();
                let mut stuck = false;
                for provider in open.providers.iter() {
                    match self.blocks(row, *r, *provider) {
                        Some(WaitKind::Job) => {
                            before.extend(row.open.get(provider).map(|open| open.job));
                        }
                        Some(_) => stuck = true,
                        None => {}
                    }
                }
                // Nothing that is being built will bring what it lacks.
                stuck |= before.is_empty() && open.reported == Some(Readiness::Waits);
                all.push(Standing {
                    job: open.job,
                    before,
                    stuck,
                });
            }
        }
        all
    }

    /// Whether edges, cuts or jobs came or changed since the last call, so that chains have other lengths.
    pub fn take_order_moved(&mut self) -> bool {
        std::mem::take(&mut self.order_moved)
    }

    /// Predicted seconds from each open job's start to the end of the longest chain that waits for it.
    pub fn paths(&self, seconds: impl Fn(&Target) -> f64) -> Vec<(JobId, f64)> {
        let mut all = Vec::new();
        for (p, row) in (0..).zip(&self.profiles) {
            let places: Vec<RecipeIx> = row.open.keys().copied().collect();
            let at: HashMap<RecipeIx, u32> = (0..).zip(&places).map(|(at, r)| (*r, at)).collect();
            let mut before: Vec<Vec<u32>> = Vec::with_capacity(places.len());
            for (r, open) in &row.open {
                let uncut = open
                    .providers
                    .iter()
                    .filter(|q| !row.cuts.contains_key(&(*r, **q)));
                before.push(uncut.filter_map(|q| at.get(q).copied()).collect());
            }
            let costs: Vec<f64> = places
                .iter()
                .map(|r| self.target(p, *r).map_or(0.0, |target| seconds(&target)))
                .collect();
            let paths = cycles::longest_paths(&before, &costs);
            all.extend(row.open.values().map(|open| open.job).zip(paths));
        }
        all
    }
}
