//! What builds will take, learned from the rows of attempts, and when each job will start and end by that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::state::State;
use crate::admin::view::ChainView;
use crate::id::{HostId, JobId, Now, Seq};
use crate::model::{Attempt, AttemptState, Farm, Job, JobState, Target, Usage};
use crate::plan::estimate::UpstreamSizes;
use crate::plan::estimate::{self, Accuracy, Estimate, Observed};
use crate::plan::forecast::{self, How, Times};
use crate::plan::simulate::{SimJob, longest_chain};
use crate::plan::{BuilderSpec, Standing, schedule};
use crate::recipe::{Constraints, Facts};

/// A forecast is taken as true for so long although things happened meanwhile.
const FRESH_MS: u64 = 2_000;
/// The same of a rough one, which looks at very many jobs.
const ROUGH_FRESH_MS: u64 = 20_000;
/// Recipes of the longest chain that are named.
const CHAIN_NAMED: usize = 50;
/// Memory that is asked of a builder for a recipe that nobody measured: a guess must never keep a job from its only builder.
const UNMEASURED_MIB: u32 = 256;

/// What builds took, and what follows for the next ones.
#[derive(Debug, Default)]
pub struct Estimates {
    known: estimate::Estimates,
    /// The last forecast, and when it was made.
    last: Mutex<Option<(Seq, u64, Arc<Forecasts>)>>,
}

/// When each job starts and ends, in seconds from the moment of the forecast.
#[derive(Debug, Default)]
pub struct Forecasts {
    times: HashMap<JobId, Times>,
    /// When everything that can be built is built: as likely as not, and nine times of ten.
    pub end_s: Option<(f64, f64)>,
    /// The longest chain that is left, in order, and its predicted seconds.
    pub chain: (Vec<JobId>, f64),
    /// What a person should know of it.
    pub note: Option<String>,
}

impl Forecasts {
    /// Of one job; `None`: it will not start as things are.
    pub fn of(&self, job: JobId) -> Option<&Times> {
        self.times.get(&job)
    }
}

impl Estimates {
    /// Remembers an attempt that made packages.
    pub fn learn_from(&mut self, farm: &Farm, attempt: &Attempt, facts: Option<&Facts>) {
        let good = matches!(
            attempt.state,
            AttemptState::Built | AttemptState::Published { .. }
        );
        let (Some(job), Some(started), Some(ended)) = (
            farm.jobs.get(&attempt.id.job).filter(|_| good),
            attempt.started,
            attempt.ended,
        ) else {
            return;
        };
        let usage = farm.usages.get(&attempt.id).copied().unwrap_or_default();
        let observed = observed(ended.seconds_since(started), &usage);
        self.known
            .learn(&job.target, facts, attempt.builder, &observed);
    }

    /// How large archives of upstreams are.
    pub fn know_sizes(&mut self, sizes: UpstreamSizes) {
        self.known.know_sizes(sizes);
    }

    /// What the next build of a target will take.
    pub fn of(&self, target: &Target, facts: Option<&Facts>) -> Option<Estimate> {
        self.known.of_target(target, facts)
    }

    /// Seconds that the next build will take; what nobody knows anything about takes as long as is usual.
    pub fn seconds(&self, target: &Target, facts: Option<&Facts>) -> f64 {
        self.of(target, facts)
            .map_or(crate::limit::UNKNOWN_BUILD_S, |estimate| estimate.seconds)
    }

    /// How fast a builder is by what it built.
    pub fn speed(&self, builder: &HostId) -> f64 {
        self.known.speed(builder)
    }

    /// How good predictions have been; `None`: there were none.
    pub fn accuracy(&self) -> Option<Accuracy> {
        self.known.accuracy()
    }
}

fn observed(seconds: f64, usage: &Usage) -> Observed {
    let mib =
        |bytes: Option<u64>| bytes.map(|bytes| u32::try_from(bytes >> 20).unwrap_or(u32::MAX));
    Observed {
        seconds: usage.wall_ms.map_or(seconds, |ms| ms as f64 / 1000.0),
        memory_mib: mib(usage.memory_bytes),
        disk_mib: mib(usage.disk_bytes),
    }
}

impl State {
    /// What a job's next build will take.
    pub fn estimate(&self, target: &Target) -> Option<Estimate> {
        self.estimates.of(target, self.planner.facts_of(target))
    }

    /// Predicted seconds of a target's build.
    pub fn expected_s(&self, target: &Target) -> f64 {
        self.estimates
            .seconds(target, self.planner.facts_of(target))
    }

    /// Memory and disk that a job asks for, in MiB: of memory what was measured and a tenth, of disk what 95 of 100 builds took,
    /// but never more than the largest builder has (with an empty disk), because it was measured on one of them. What nobody measured asks for little memory and no disk, for each builder keeps
    /// room free by itself: a guess keeps no job from its only builder. What the recipe's author asks for counts in any case.
    pub fn expected_mib(&self, target: &Target) -> (u32, u32) {
        let estimate = self.estimate(target);
        let (memory, disk) = estimate.map_or((None, None), |e| (e.memory_mib, e.disk_mib));
        let most = self.schedule.largest();
        let (all_mib, slot_mib, disk_mib) = most.map_or((u32::MAX, u32::MAX, u32::MAX), |most| {
            (most.memory_mib, most.slot_memory_mib, most.disk_mib)
        });
        let asked = self.constraints_of(target);
        let learned = self.expected(target).disk_bytes;
        let learned_mib =
            learned.map(|bytes| u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX));
        // What fits into one slot takes one, however it is rounded; nobody measured is no reason for a second one.
        let guess = match memory {
            Some(mib) if mib > slot_mib => mib,
            memory => schedule::within(memory.unwrap_or(UNMEASURED_MIB), slot_mib),
        };
        (
            match asked.memory_mib {
                // Nobody has that: `why` says so.
                Some(asked) if asked > all_mib => asked,
                asked => schedule::within(guess.max(asked.unwrap_or(0)), all_mib),
            },
            learned_mib
                .or(disk)
                .unwrap_or(0)
                .min(disk_mib)
                .max(asked.disk_mib.unwrap_or(0)),
        )
    }

    /// Cores that a job asks for: what its recipe says, else what its builds kept busy on average, but never more than any
    /// builder has.
    pub fn expected_cores(&self, target: &Target) -> u32 {
        let most = self.schedule.largest().map_or(1, |most| most.cores);
        let asked = self.constraints_of(target).cores;
        let busy = || self.expected(target).busy_cores.unwrap_or(1).min(most);
        asked.unwrap_or_else(busy).max(1)
    }

    /// What the recipe itself asks of a builder.
    pub fn constraints_of(&self, target: &Target) -> Constraints {
        let facts = self.planner.facts_of(target);
        facts.map_or_else(Constraints::default, |facts| facts.constraints)
    }

    /// When everything that is open starts and ends, played on the farm's own dispatcher from how things stand. Kept for a moment,
    /// because a screen asks about many jobs at once.
    pub fn forecasts(&self, now: Now) -> Arc<Forecasts> {
        let rough = forecast::how(self.open.len()) == How::Rough;
        let fresh = |(seq, at, _): &&(Seq, u64, Arc<Forecasts>)| {
            let age_ms = now.mono_ms.saturating_sub(*at);
            match rough {
                true => age_ms < ROUGH_FRESH_MS,
                false => *seq == self.farm.seq && age_ms < FRESH_MS,
            }
        };
        // A poisoned lock means a panic while a forecast was stored: it is made anew.
        if let Ok(last) = self.estimates.last.lock()
            && let Some((.., known)) = last.as_ref().filter(fresh)
        {
            return known.clone();
        }
        let made = Arc::new(self.forecast(now));
        if let Ok(mut last) = self.estimates.last.lock() {
            *last = Some((self.farm.seq, now.mono_ms, made.clone()));
        }
        made
    }

    fn forecast(&self, now: Now) -> Forecasts {
        let (ids, jobs, spreads) = self.sim_jobs(now);
        let builders = self.schedule.builders();
        let how = forecast::how(jobs.len());
        let times = match how {
            How::Rough => forecast::rough(&jobs, &spreads, &builders),
            How::Played | How::PlayedOnce => forecast::forecast(&jobs, &spreads, &builders),
        };
        let note = how.text(jobs.len());
        let end_s = forecast::last_end(&times);
        let runs = |at: usize| times.get(at).is_some_and(Option::is_some);
        let (chain, chain_s) = longest_chain(&jobs, runs);
        let named = chain.iter().filter_map(|at| ids.get(*at as usize));
        let chain = named.copied().collect();
        let times = ids.into_iter().zip(times);
        Forecasts {
            times: times
                .filter_map(|(job, times)| Some((job, times?)))
                .collect(),
            end_s,
            chain: (chain, chain_s),
            note,
        }
    }

    /// The longest chain that is left, by its recipes; `None`: nothing is going to be built.
    pub fn chain_view(&self, forecasts: &Forecasts) -> Option<ChainView> {
        let (chain, seconds) = &forecasts.chain;
        let jobs = chain.iter().filter_map(|id| self.farm.jobs.get(id));
        let recipes: Vec<_> = jobs
            .take(CHAIN_NAMED)
            .map(|job| job.target.recipe.clone())
            .collect();
        (!recipes.is_empty()).then_some(ChainView {
            recipes,
            builds: chain.len() as u64,
            seconds: *seconds,
        })
    }

    /// The usual error of one prediction.
    fn accuracy_spread(&self) -> f64 {
        self.estimates
            .accuracy()
            .map_or(4.0, |known| known.factor_p90)
    }

    /// Open jobs for a simulation that begins now, each with the spread of its prediction. What is being published is left out: it
    /// needs no builder any more.
    fn sim_jobs(&self, now: Now) -> (Vec<JobId>, Vec<SimJob>, Vec<f64>) {
        let open = self.planner.standings().into_iter();
        let open: Vec<(Standing, &Job)> = open
            .filter_map(|standing| Some((self.farm.jobs.get(&standing.job)?.as_ref(), standing)))
            .filter(|(job, _)| matches!(job.state, JobState::Open | JobState::Building))
            .map(|(job, standing)| (standing, job))
            .collect();
        let at: HashMap<JobId, u32> = (0..).zip(&open).map(|(at, (s, _))| (s.job, at)).collect();
        let builders = self.schedule.builders();
        let mut spreads = Vec::with_capacity(open.len());
        let mut jobs = Vec::with_capacity(open.len());
        // Of very many jobs what the dispatcher was told is near enough.
        let rough = forecast::how(open.len()) == How::Rough;
        let usual_spread = self.accuracy_spread();
        for (standing, job) in &open {
            let spec = self.schedule.spec(job.id);
            let (mut seconds, spread) = match spec.filter(|_| rough) {
                Some(spec) => (spec.seconds, usual_spread),
                None => self
                    .estimate(&job.target)
                    .map_or((crate::limit::UNKNOWN_BUILD_S, 4.0), |e| {
                        (e.seconds, e.spread)
                    }),
            };
            spreads.push(spread);
            let mut runs_at = None;
            if let Some((builder, slot, since_ms)) = self.schedule.running(job.id)
                && let Some(ix) = builders.iter().position(|known| known.id == builder)
            {
                let ran_s = now.mono_ms.saturating_sub(since_ms) as f64 / 1000.0;
                let pace = builders.get(ix).map_or(1.0, BuilderSpec::pace);
                // What is late already is believed to end soon.
                seconds = (seconds - ran_s * pace).max(seconds * 0.05);
                runs_at = u32::try_from(ix).ok().map(|ix| (ix, slot));
            }
            let back_off_s = job.not_before.map_or(0.0, |at| at.seconds_since(now.wall));
            let held_s = match job.hold.as_ref().map(|hold| hold.until) {
                None => Some(0.0),
                Some(until) => until.map(|until| until.seconds_since(now.wall)),
            };
            jobs.push(SimJob {
                label: "".into(),
                account: job.target.project.as_str().into(),
                needs: spec.map_or_else(|| self.needs_of(&job.target), |spec| spec.needs),
                predicted_s: seconds,
                actual_s: seconds,
                before: standing
                    .before
                    .iter()
                    .filter_map(|before| at.get(before).copied())
                    .collect(),
                stuck: runs_at.is_none() && (standing.stuck || held_s.is_none()),
                runs_at,
                not_before_s: held_s.unwrap_or(0.0).max(back_off_s).max(0.0),
            });
        }
        let ids = open.iter().map(|(standing, _)| standing.job).collect();
        (ids, jobs, spreads)
    }
}
