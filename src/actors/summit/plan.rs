//! `plan` of a running farm: what would be built, in which order and why, played on the farm's own dispatcher.

use std::collections::{BTreeMap, BTreeSet};

use super::state::State;
use crate::admin::summit::{Plan, PlanPage};
use crate::admin::view::{CycleView, FaultView, PlanJobView, PlanView, UnresolvedView};
use crate::fault::{Fault, Kind, Result};
use crate::limit;
use crate::model::Target;
use crate::plan::WaitKind;

impl State {
    /// One page of a plan.
    pub fn plan_page(&self, ask: &Plan) -> Result<PlanPage> {
        let mut reasons: BTreeMap<Target, Vec<String>> = BTreeMap::new();
        if ask.names.is_empty() {
            for wanted in self.planner.jobs_wanted() {
                reasons
                    .entry(wanted.target)
                    .or_default()
                    .push(wanted.because.text());
            }
            for job in self.open.iter().filter_map(|id| self.farm.jobs.get(id)) {
                if !job.state.is_over() {
                    reasons
                        .entry(job.target.clone())
                        .or_default()
                        .push(job.because.text());
                }
            }
        } else {
            let mut asked = Vec::new();
            for name in &ask.names {
                let (project, entry) = self.locate_recipe(name)?;
                asked.extend(self.targets(&project, &entry, ask.profile.as_ref())?);
            }
            for target in self.planner.needed_by(&asked) {
                reasons
                    .entry(target)
                    .or_default()
                    .push("needed by what was asked for".into());
            }
            for target in &asked {
                let published = self.published(target);
                let release = self.facts(target).map(|facts| facts.release);
                match published {
                    Some(known) if Some(known.release) == release && ask.rebuild != Some(true) => {}
                    _ => reasons
                        .entry(target.clone())
                        .or_default()
                        .push("asked for".into()),
                }
            }
            if ask.rebuild == Some(true) {
                for (target, steps) in self.planner.follows(&asked) {
                    reasons
                        .entry(target)
                        .or_default()
                        .push(format!("built with it, {steps} steps away"));
                }
            }
        }
        if let Some(only) = &ask.profile {
            reasons.retain(|target, _| target.profile == *only);
        }
        self.page_of(ask, &reasons)
    }

    fn page_of(&self, ask: &Plan, reasons: &BTreeMap<Target, Vec<String>>) -> Result<PlanPage> {
        let ordered = self.in_order(reasons.keys());
        let from = match &ask.after {
            Some(text) => text
                .parse::<usize>()
                .map_err(|error| Fault::new(Kind::Usage, "no such page").because(&error))?,
            None => 0,
        };
        let max = ask.limit.map_or(limit::ADMIN_PAGE_ROWS_MAX, |rows| {
            (rows as usize).clamp(1, limit::ADMIN_PAGE_ROWS_MAX)
        });
        let jobs: Vec<PlanJobView> = ordered
            .iter()
            .skip(from)
            .take(max)
            .map(|target| self.plan_row(target, reasons))
            .collect();
        let next = (from + jobs.len() < ordered.len()).then(|| (from + jobs.len()).to_string());
        let plan = (from == 0).then(|| self.plan_view(&ordered, reasons));
        Ok(PlanPage { jobs, next, plan })
    }

    /// Providers first; among equals the longest chain behind it first, then by name.
    fn in_order<'a>(&self, targets: impl Iterator<Item = &'a Target>) -> Vec<Target> {
        let all: BTreeSet<&Target> = targets.collect();
        let mut waits: BTreeMap<&Target, BTreeSet<Target>> = BTreeMap::new();
        for target in &all {
            let edges = self.planner.edges_of(target);
            let open = edges.into_iter().filter(|edge| {
                edge.cut.is_none() && all.contains(&edge.provider) && edge.provider != **target
            });
            waits.insert(target, open.map(|edge| edge.provider).collect());
        }
        let mut order: Vec<Target> = Vec::new();
        let mut done: BTreeSet<Target> = BTreeSet::new();
        while done.len() < waits.len() {
            let ready: Vec<Target> = waits
                .iter()
                .filter(|(target, waits)| {
                    !done.contains(**target) && waits.iter().all(|wait| done.contains(wait))
                })
                .map(|(target, _)| (*target).clone())
                .collect();
            if ready.is_empty() {
                // What is left waits in a cycle that nothing opens: it is listed, last.
                order.extend(
                    waits
                        .keys()
                        .filter(|target| !done.contains(**target))
                        .map(|target| (*target).clone()),
                );
                break;
            }
            done.extend(ready.iter().cloned());
            order.extend(ready);
        }
        order
    }

    fn plan_row(&self, target: &Target, reasons: &BTreeMap<Target, Vec<String>>) -> PlanJobView {
        let facts = self.facts(target);
        let edges = self.planner.edges_of(target);
        PlanJobView {
            recipe: target.recipe.clone(),
            project: Some(target.project.clone()),
            profile: target.profile.clone(),
            version: facts.map(|facts| facts.version.clone()),
            release: facts.map(|facts| facts.release),
            reasons: reasons.get(target).cloned().unwrap_or_default(),
            depends_on: edges
                .into_iter()
                .filter(|edge| edge.cut.is_none() && reasons.contains_key(&edge.provider))
                .map(|edge| edge.provider.recipe)
                .collect(),
            start_s: None,
            end_s: None,
            builder: None,
            faults: self
                .planner
                .unplannable()
                .into_iter()
                .filter(|row| row.target == *target)
                .map(|row| FaultView::from(&row.fault))
                .collect(),
            unresolved: self.unresolved_of(target),
        }
    }

    fn unresolved_of(&self, target: &Target) -> Vec<String> {
        let waits = self.planner.waits_for(target).into_iter();
        // The sentence is for people; a plan holds the dependency's name alone.
        waits
            .filter(|wait| wait.kind == WaitKind::Dependency)
            .map(|wait| {
                let name = wait
                    .text
                    .strip_prefix("nothing provides ")
                    .unwrap_or(&wait.text);
                name.split(", which ").next().unwrap_or(name).to_owned()
            })
            .collect()
    }

    fn plan_view(&self, ordered: &[Target], reasons: &BTreeMap<Target, Vec<String>>) -> PlanView {
        let mut unresolved: BTreeMap<String, Vec<crate::id::RecipeName>> = BTreeMap::new();
        for target in ordered {
            for name in self.unresolved_of(target) {
                unresolved
                    .entry(name)
                    .or_default()
                    .push(target.recipe.clone());
            }
        }
        let seconds = |target: &Target| {
            self.estimates
                .seconds(target)
                .unwrap_or(limit::UNKNOWN_BUILD_S)
        };
        let slots: usize = self
            .builders
            .values()
            .map(|builder| builder.report.slots.len())
            .sum();
        let work: f64 = ordered.iter().map(seconds).sum();
        PlanView {
            rows: ordered.len() as u64,
            builds: reasons.len() as u64,
            cycles: self
                .farm
                .profiles
                .keys()
                .flat_map(|profile| self.planner.cycles(profile))
                .map(|cycle| CycleView::from(&cycle))
                .collect(),
            unresolved: unresolved
                .into_iter()
                .map(|(dependency, recipes)| UnresolvedView {
                    dependency,
                    recipes,
                })
                .collect(),
            critical_path: self.critical_path(ordered, &seconds),
            makespan_s: None,
            lower_bound_s: (slots > 0).then(|| work / slots as f64),
        }
    }

    /// The longest way from start to end by predicted seconds; `ordered` has providers first.
    fn critical_path(
        &self,
        ordered: &[Target],
        seconds: &dyn Fn(&Target) -> f64,
    ) -> Vec<crate::id::RecipeName> {
        let mut best: BTreeMap<&Target, (f64, Option<&Target>)> = BTreeMap::new();
        for target in ordered {
            let before = self
                .planner
                .edges_of(target)
                .into_iter()
                .filter(|edge| edge.cut.is_none())
                .filter_map(|edge| {
                    best.get_key_value(&edge.provider)
                        .map(|(provider, (length, _))| (*length, *provider))
                })
                .max_by(|a, b| a.0.total_cmp(&b.0));
            let length = before.map_or(0.0, |(length, _)| length) + seconds(target);
            best.insert(target, (length, before.map(|(_, provider)| provider)));
        }
        let mut path = Vec::new();
        let mut at = best
            .iter()
            .max_by(|a, b| a.1.0.total_cmp(&b.1.0))
            .map(|(target, _)| *target);
        while let Some(target) = at {
            path.push(target.recipe.clone());
            at = best.get(target).and_then(|(_, before)| *before);
        }
        path.reverse();
        path
    }
}
