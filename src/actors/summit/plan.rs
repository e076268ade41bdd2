//! `plan` of a running farm: what would be built, in which order and why, played on the farm's own dispatcher. The questions are
//! gathered here and worked out in a task of their own, on a copy of the planner: nothing that is asked changes the farm.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ractor::RpcReplyPort;

use super::state::State;
use crate::admin::summit::{Plan, PlanPage};
use crate::admin::view::{
    AccuracyView, CycleView, FaultView, PlanJobView, PlanView, UnresolvedView,
};
use crate::admin::{Method, Reply};
use crate::fault::{Fault, Kind, Result};
use crate::id::{JobId, RecipeName};
use crate::limit;
use crate::model::{Because, Rebuild, Target, Who};
use crate::plan::simulate::{Outcome, Ranking, SimJob, simulate};
use crate::plan::whole::equal_builders;
use crate::plan::{BuilderSpec, Edges, Planner, Requirements};

/// Jobs of a plan that exist only in it are numbered from here on.
const IMAGINED: u64 = 1 << 62;

/// A target of a plan with what the farm knows of it.
struct Row {
    reasons: Vec<String>,
    /// It is a job already.
    open: bool,
    /// What is left of its build, on a builder of speed 1.
    seconds: f64,
    needs: Requirements,
    /// It runs: the builder's place, and the slot.
    runs_at: Option<(u32, u32)>,
}

/// All that a plan is worked out from.
struct Question {
    ask: Plan,
    planner: Planner,
    rows: BTreeMap<Target, Row>,
    builders: Vec<BuilderSpec>,
    accuracy: Option<AccuracyView>,
}

impl State {
    /// Answers with one page of a plan, when it is worked out.
    pub fn answer_plan(&self, ask: Plan, reply: RpcReplyPort<Result<Reply>>) {
        let question = self.question(&ask);
        tokio::task::spawn_blocking(move || {
            let answer = question
                .and_then(Question::answer)
                .and_then(|page| ask.reply(&page));
            // The asker may be gone.
            reply.send(answer).ok();
        });
    }

    fn question(&self, ask: &Plan) -> Result<Question> {
        let reasons = self.reasons(ask)?;
        let now = crate::actors::now();
        let builders = self.schedule.builders();
        let here = ask.builders.is_none();
        let mut rows = BTreeMap::new();
        for (target, reasons) in reasons {
            let job = self.farm.newest(&target).filter(|job| !job.state.is_over());
            let mut seconds = self.expected_s(&target);
            let mut runs_at = None;
            if let Some((builder, slot, since_ms)) = job
                .filter(|_| here)
                .and_then(|job| self.schedule.running(job.id))
                && let Some(ix) = builders.iter().position(|known| known.id == builder)
            {
                let ran_s = now.mono_ms.saturating_sub(since_ms) as f64 / 1000.0;
                let pace = builders.get(ix).map_or(1.0, BuilderSpec::pace);
                seconds = (seconds - ran_s * pace).max(seconds * 0.05);
                runs_at = u32::try_from(ix).ok().map(|ix| (ix, slot));
            }
            let row = Row {
                reasons,
                open: job.is_some(),
                seconds,
                needs: self.needs_of(&target),
                runs_at,
            };
            rows.insert(target, row);
        }
        Ok(Question {
            ask: ask.clone(),
            planner: self.planner.clone(),
            rows,
            builders,
            accuracy: self.accuracy_view(),
        })
    }

    /// What would be built, and why.
    fn reasons(&self, ask: &Plan) -> Result<BTreeMap<Target, Vec<String>>> {
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
                    if let Some(why) = self.follows_why(&target, steps) {
                        reasons.entry(target).or_default().push(why);
                    }
                }
            }
        }
        if let Some(only) = &ask.profile {
            reasons.retain(|target, _| target.profile == *only);
        }
        Ok(reasons)
    }

    /// Why a target would be built again after something that it is built with; `None`: its project's policy leaves it alone.
    fn follows_why(&self, target: &Target, steps: usize) -> Option<String> {
        let policy = self.farm.policies.get(&target.project);
        let how = match policy.map(|policy| policy.rebuild).unwrap_or_default() {
            Rebuild::None => return None,
            Rebuild::Direct if steps > 1 => return None,
            Rebuild::Direct => "again whenever that is published",
            Rebuild::Transitive => "again unless what lies between stays the same",
            Rebuild::Broken => "again if a name that its packages need goes away",
        };
        let plural = if steps == 1 { "" } else { "s" };
        Some(format!("built with it, {steps} step{plural} away: {how}"))
    }
}

impl Question {
    fn answer(mut self) -> Result<PlanPage> {
        let from = match &self.ask.after {
            Some(text) => text
                .parse::<usize>()
                .map_err(|error| Fault::new(Kind::Usage, "no such page").because(&error))?,
            None => 0,
        };
        let max = self.ask.limit.map_or(limit::ADMIN_PAGE_ROWS_MAX, |rows| {
            (rows as usize).clamp(1, limit::ADMIN_PAGE_ROWS_MAX)
        });
        if self.ask.edges.as_deref() == Some("manifest") {
            self.planner.set_edges(Edges::Manifest);
        }
        for (number, (target, _)) in (IMAGINED..).zip(self.rows.iter().filter(|(_, row)| !row.open))
        {
            let because = Because::Asked {
                by: Who::Farm,
                rebuild: false,
            };
            self.planner.open(target, JobId(number), &because);
        }
        for (target, row) in &self.rows {
            self.planner.expect(target, row.seconds);
        }
        self.planner.settle(limit::SETTLE_STEPS);

        let ordered = self.in_order();
        let at: HashMap<&Target, u32> = (0..).zip(&ordered).map(|(at, t)| (t, at)).collect();
        let jobs: Vec<SimJob> = ordered
            .iter()
            .map(|target| self.sim_job(target, &at))
            .collect();
        let builders = match self.ask.builders {
            None => self.builders.clone(),
            Some(count) => {
                let mut archs: Vec<_> = jobs.iter().map(|job| job.needs.arch).collect();
                archs.sort();
                archs.dedup();
                equal_builders(count.min(limit::PLAN_BUILDERS_MAX), &archs)
            }
        };
        let outcome = simulate(&jobs, &builders, Ranking::LongestPath);
        let here = self
            .ask
            .builders
            .map(|_| simulate(&jobs, &self.builders, Ranking::LongestPath).makespan_s);
        let faults = self.faulty();
        let count = ordered.len() + faults.len();
        let mut rows: Vec<PlanJobView> = Vec::new();
        for place in (from..count).take(max) {
            rows.extend(match ordered.get(place) {
                Some(target) => Some(self.plan_row(target, (place, &outcome, &builders))),
                None => faults.get(place - ordered.len()).cloned(),
            });
        }
        let next = (from + rows.len() < count).then(|| (from + rows.len()).to_string());
        let plan = (from == 0).then(|| PlanView {
            rows: count as u64,
            makespan_here_s: here,
            estimates: self.accuracy.clone(),
            ..self.plan_view(&ordered, &outcome)
        });
        Ok(PlanPage {
            jobs: rows,
            next,
            plan,
        })
    }

    /// Recipes that cannot be planned, when all are asked about.
    fn faulty(&self) -> Vec<PlanJobView> {
        let all = self.planner.unplannable().into_iter();
        let asked = all.filter(|row| {
            let only = self.ask.profile.as_ref();
            self.ask.names.is_empty() && only.is_none_or(|only| row.target.profile == *only)
        });
        asked
            .map(|row| PlanJobView {
                faults: vec![FaultView::from(&row.fault)],
                ..empty_row(&row.target)
            })
            .collect()
    }

    /// Providers first; among equals by name. What waits in a cycle that nothing opens is last.
    fn in_order(&self) -> Vec<Target> {
        let all: Vec<&Target> = self.rows.keys().collect();
        let at: HashMap<&Target, u32> = (0..).zip(&all).map(|(at, target)| (*target, at)).collect();
        let before: Vec<Vec<u32>> = all.iter().map(|t| self.before(t, &at)).collect();
        let mut order = crate::plan::cycles::topological(&before);
        let done: BTreeSet<u32> = order.iter().copied().collect();
        order.extend((0..all.len() as u32).filter(|at| !done.contains(at)));
        let named = order.into_iter().filter_map(|at| all.get(at as usize));
        named.map(|target| (*target).clone()).collect()
    }

    /// Places of what is built before a target in this plan; cuts left out.
    fn before(&self, target: &Target, at: &HashMap<&Target, u32>) -> Vec<u32> {
        let edges = self.planner.edges_of(target).into_iter();
        let uncut = edges.filter(|edge| edge.cut.is_none() || edge.cut == Some(None));
        uncut
            .filter_map(|edge| at.get(&edge.provider).copied())
            .collect()
    }

    fn sim_job(&self, target: &Target, at: &HashMap<&Target, u32>) -> SimJob {
        let row = self.rows.get(target);
        let seconds = row.map_or(limit::UNKNOWN_BUILD_S, |row| row.seconds);
        SimJob {
            label: target.recipe.as_str().into(),
            account: target.project.as_str().into(),
            needs: row.map_or(Requirements::NOTHING, |row| row.needs),
            predicted_s: seconds,
            actual_s: seconds,
            before: self.before(target, at),
            stuck: self.planner.is_stuck(target),
            runs_at: row.and_then(|row| row.runs_at),
            not_before_s: 0.0,
        }
    }

    fn plan_row(
        &self,
        target: &Target,
        (place, outcome, builders): (usize, &Outcome, &[BuilderSpec]),
    ) -> PlanJobView {
        let facts = self.planner.facts_of(target);
        let edges = self.planner.edges_of(target).into_iter();
        let ran = outcome.ran.get(place).copied().flatten();
        let builder = ran.and_then(|ran| builders.get(ran.builder as usize));
        PlanJobView {
            version: facts.map(|facts| facts.version.clone()),
            release: facts.map(|facts| facts.release),
            reasons: self
                .rows
                .get(target)
                .map(|row| row.reasons.clone())
                .unwrap_or_default(),
            depends_on: edges
                .filter(|edge| edge.cut.is_none() && self.rows.contains_key(&edge.provider))
                .map(|edge| edge.provider.recipe)
                .collect(),
            start_s: ran.map(|ran| ran.start_s),
            end_s: ran.map(|ran| ran.end_s),
            builder: builder.map(|builder| builder.name.to_string()),
            unresolved: self.unresolved_of(target),
            ..empty_row(target)
        }
    }

    fn unresolved_of(&self, target: &Target) -> Vec<String> {
        let names = self.planner.unresolved_of(target).into_iter();
        names.map(|name| name.in_recipe_words()).collect()
    }

    fn plan_view(&self, ordered: &[Target], outcome: &Outcome) -> PlanView {
        let mut unresolved: BTreeMap<String, Vec<RecipeName>> = BTreeMap::new();
        for target in ordered {
            for name in self.unresolved_of(target) {
                unresolved
                    .entry(name)
                    .or_default()
                    .push(target.recipe.clone());
            }
        }
        let profiles: BTreeSet<_> = ordered.iter().map(|target| &target.profile).collect();
        let cycles = profiles
            .into_iter()
            .flat_map(|profile| self.planner.cycles(profile))
            .filter(|cycle| {
                cycle
                    .members
                    .iter()
                    .any(|target| self.rows.contains_key(target))
            });
        let path = outcome.critical_path.iter();
        PlanView {
            rows: ordered.len() as u64,
            builds: ordered.len() as u64,
            cycles: cycles.map(|cycle| CycleView::from(&cycle)).collect(),
            unresolved: unresolved
                .into_iter()
                .map(|(dependency, recipes)| UnresolvedView {
                    dependency,
                    recipes,
                })
                .collect(),
            critical_path: path
                .filter_map(|at| ordered.get(*at as usize))
                .map(|target| target.recipe.clone())
                .collect(),
            makespan_s: Some(outcome.makespan_s),
            lower_bound_s: Some(outcome.lower_bound_s),
            makespan_here_s: None,
            estimates: None,
        }
    }
}

fn empty_row(target: &Target) -> PlanJobView {
    PlanJobView {
        recipe: target.recipe.clone(),
        project: Some(target.project.clone()),
        profile: target.profile.clone(),
        version: None,
        release: None,
        reasons: Vec::new(),
        depends_on: Vec::new(),
        start_s: None,
        end_s: None,
        builder: None,
        faults: Vec::new(),
        unresolved: Vec::new(),
    }
}
