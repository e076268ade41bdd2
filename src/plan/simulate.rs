//! A plan run through before it is run: the same dispatcher on a virtual clock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;

use super::cycles;
use super::schedule::{BuilderSpec, Happened, JobSpec, Requirements, SECONDS_MAX, Schedule};
use crate::id::{HostId, JobId, Now, Stamp};

/// A job of a simulation.
#[derive(Debug, Clone, PartialEq)]
pub struct SimJob {
    /// How people call it.
    pub label: Arc<str>,
    /// Whose share it uses.
    pub account: Arc<str>,
    /// What it asks for.
    pub needs: Requirements,
    /// Seconds that the dispatcher expects on a builder of speed 1.
    pub predicted_s: f64,
    /// Seconds that it will really take there.
    pub actual_s: f64,
    /// Places of the jobs that come before it; those in a cycle never start.
    pub before: Vec<u32>,
    /// It never starts by itself: faulty, or something that it needs is nowhere.
    pub stuck: bool,
    /// It runs already, on this builder and in this slot; its seconds are what is left, on a builder of speed 1.
    pub runs_at: Option<(u32, u32)>,
    /// Held or backing off until then, in seconds from the beginning.
    pub not_before_s: f64,
}

/// What became of a job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ran {
    /// Seconds from the beginning.
    pub start_s: f64,
    /// Seconds from the beginning.
    pub end_s: f64,
    /// The builder's place in the list.
    pub builder: u32,
    /// Its slot.
    pub slot: u32,
}

/// A plan that was run through.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// By job; `None`: it never ran, because nobody can run it or something before it never ended.
    pub ran: Vec<Option<Ran>>,
    /// When the last job ended.
    pub makespan_s: f64,
    /// No schedule can be shorter than this; see [`lower_bound`].
    pub lower_bound_s: f64,
    /// The longest chain of jobs by predicted seconds, in order.
    pub critical_path: Vec<u32>,
}

/// How the dispatcher ranks jobs in a simulation; all but the first are for comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ranking {
    /// As the farm does: by the longest chain behind a job.
    LongestPath,
    /// The longest job first.
    SizeFirst,
    /// In the order in which they became ready.
    FirstCome,
}

/// Runs all jobs on these builders.
pub fn simulate(jobs: &[SimJob], builders: &[BuilderSpec], ranking: Ranking) -> Outcome {
    let before: Vec<Vec<u32>> = jobs.iter().map(|job| job.before.clone()).collect();
    let predicted: Vec<f64> = jobs.iter().map(|job| clean(job.predicted_s)).collect();
    let paths = cycles::longest_paths(&before, &predicted);
    let mut run = Run::new(jobs, builders, ranking, &paths);
    run.run_to_the_end();
    let makespan_s = run
        .ran
        .iter()
        .flatten()
        .map(|ran| ran.end_s)
        .fold(0.0, f64::max);
    Outcome {
        ran: run.ran,
        makespan_s,
        lower_bound_s: lower_bound(jobs, builders),
        critical_path: critical_path(&before, &paths),
    }
}

/// What no schedule can beat: [`plain_bound`], and where builders differ also what surrounds each job. All that comes before a job has
/// to be done before it starts, all that comes after it cannot begin before it ends, and neither goes faster than all builders together:
/// the makespan is at least max(chain before, work before / speed) + the job + max(chain after, work after / speed).
pub fn lower_bound(jobs: &[SimJob], builders: &[BuilderSpec]) -> f64 {
    let plain = plain_bound(jobs, builders);
    let first = builders.first();
    let alike = builders.iter().all(|builder| {
        first.is_some_and(|first| {
            builder.pace() == first.pace()
                && builder.slots == first.slots
                && builder.memory_mib == first.memory_mib
                && builder.archs == first.archs
        })
    });
    if alike || jobs.len() > SURROUNDED_MAX {
        return plain;
    }
    plain.max(surrounded(jobs, builders))
}

/// Jobs up to which the work around each of them is added up: it takes memory by the square of their number.
const SURROUNDED_MAX: usize = 5_000;

fn surrounded(jobs: &[SimJob], builders: &[BuilderSpec]) -> f64 {
    let speed: f64 = builders
        .iter()
        .filter(|builder| builder.away.is_none())
        .map(|builder| builder.pace() * f64::from(builder.slots))
        .sum();
    if speed <= 0.0 {
        return 0.0;
    }
    let mut able_of: HashMap<Requirements, Option<Able>> = HashMap::new();
    let (mut costs, mut work) = (vec![0.0; jobs.len()], vec![0.0; jobs.len()]);
    for ((job, cost), work) in jobs.iter().zip(&mut costs).zip(&mut work) {
        let able = able_of
            .entry(job.needs)
            .or_insert_with(|| Able::of(&job.needs, builders));
        if let Some(able) = able.as_ref().filter(|_| !job.stuck) {
            *cost = clean(job.actual_s) / able.fastest;
            *work = clean(job.actual_s);
        }
    }
    let before: Vec<Vec<u32>> = jobs.iter().map(|job| job.before.clone()).collect();
    let mut after: Vec<Vec<u32>> = vec![Vec::new(); jobs.len()];
    for (job, list) in (0..).zip(&before) {
        for earlier in list {
            if let Some(list) = after.get_mut(*earlier as usize) {
                list.push(job);
            }
        }
    }
    let order = cycles::topological(&before);
    let backwards: Vec<u32> = order.iter().rev().copied().collect();
    let ahead = beyond(&order, &before, &costs, &work);
    let behind = beyond(&backwards, &after, &costs, &work);
    let around = order.iter().filter_map(|job| {
        let at = *job as usize;
        let (chain, done) = ahead.get(at)?;
        let (tail, left) = behind.get(at)?;
        Some(chain.max(done / speed) + costs.get(at)? + tail.max(left / speed))
    });
    around.fold(0.0, f64::max)
}

/// For each job the longest chain and the sum of work of all that lies beyond it, in an order in which what lies beyond comes first.
fn beyond(order: &[u32], next: &[Vec<u32>], costs: &[f64], work: &[f64]) -> Vec<(f64, f64)> {
    let words = next.len().div_ceil(64);
    let mut sets: Vec<Vec<u64>> = vec![Vec::new(); next.len()];
    let mut found = vec![(0.0, 0.0); next.len()];
    for job in order {
        let mut set = vec![0u64; words];
        let mut chain: f64 = 0.0;
        for other in next.get(*job as usize).into_iter().flatten() {
            let at = *other as usize;
            if let Some(word) = set.get_mut(at / 64) {
                *word |= 1 << (at % 64);
            }
            for (word, more) in set.iter_mut().zip(sets.get(at).into_iter().flatten()) {
                *word |= more;
            }
            let (beyond, _) = found.get(at).copied().unwrap_or_default();
            chain = chain.max(beyond + costs.get(at).copied().unwrap_or(0.0));
        }
        let members = set.iter().enumerate().flat_map(|(at, word)| {
            let bits = (0..64).filter(move |bit| word >> bit & 1 == 1);
            bits.map(move |bit| at * 64 + bit)
        });
        let sum: f64 = members.filter_map(|at| work.get(at)).sum();
        if let (Some(place), Some(own)) =
            (found.get_mut(*job as usize), sets.get_mut(*job as usize))
        {
            *place = (chain, sum);
            *own = set;
        }
    }
    found
}

/// The larger of three:
/// the longest chain of real seconds, each job on the fastest builder that can run it;
/// all work over the speed of all slots; and, for every set of builders that some jobs are limited to, the work of these jobs
/// over the speed of that set (so that what only two builders can hold is counted against these two).
pub fn plain_bound(jobs: &[SimJob], builders: &[BuilderSpec]) -> f64 {
    let mut able_of: HashMap<Requirements, Option<Able>> = HashMap::new();
    let mut work: BTreeMap<Vec<u32>, (f64, f64)> = BTreeMap::new();
    let mut costs = vec![0.0; jobs.len()];
    for (job, cost) in jobs.iter().zip(&mut costs).filter(|(job, _)| !job.stuck) {
        let able = able_of
            .entry(job.needs)
            .or_insert_with(|| Able::of(&job.needs, builders));
        let Some(able) = able else { continue };
        *cost = clean(job.actual_s) / able.fastest;
        work.entry(able.who.clone()).or_insert((0.0, able.speed)).0 += clean(job.actual_s);
    }
    let before: Vec<Vec<u32>> = jobs.iter().map(|job| job.before.clone()).collect();
    let chain = cycles::longest_paths(&before, &costs)
        .into_iter()
        .fold(0.0, f64::max);
    // The work of a set includes that of all its subsets.
    let by_work = work.iter().map(|(who, (_, speed))| {
        let within = work
            .iter()
            .filter(|(other, _)| other.iter().all(|ix| who.binary_search(ix).is_ok()));
        within.map(|(_, (seconds, _))| seconds).sum::<f64>() / speed
    });
    by_work.fold(chain, f64::max)
}

/// The builders that could run something.
struct Able {
    who: Vec<u32>,
    speed: f64,
    fastest: f64,
}

impl Able {
    fn of(needs: &Requirements, builders: &[BuilderSpec]) -> Option<Able> {
        let mut able = Able {
            who: Vec::new(),
            speed: 0.0,
            fastest: 0.0,
        };
        for (ix, builder) in (0..).zip(builders) {
            if builder.away.is_none() && builder.could_run(&needs.rounded()) {
                able.who.push(ix);
                able.speed += builder.pace() * f64::from(builder.slots);
                able.fastest = able.fastest.max(builder.pace());
            }
        }
        (able.fastest > 0.0).then_some(able)
    }
}

/// A duration that can be counted with: not negative, not endless; not a number becomes 0.
fn clean(seconds: f64) -> f64 {
    if seconds.is_finite() {
        seconds.clamp(0.0, SECONDS_MAX)
    } else {
        0.0
    }
}

fn critical_path(before: &[Vec<u32>], paths: &[f64]) -> Vec<u32> {
    let mut after: Vec<Vec<u32>> = vec![Vec::new(); before.len()];
    for (job, all) in (0..).zip(before) {
        for earlier in all {
            if let Some(list) = after.get_mut(*earlier as usize) {
                list.push(job);
            }
        }
    }
    let length = |job: &u32| paths.get(*job as usize).copied().unwrap_or(0.0);
    let longest = |all: &mut dyn Iterator<Item = u32>| {
        all.max_by(|a, b| length(a).total_cmp(&length(b)).then(b.cmp(a)))
    };
    let mut chain = Vec::new();
    let mut next = longest(&mut (0..before.len() as u32));
    while let Some(job) = next {
        chain.push(job);
        if chain.len() > before.len() {
            break;
        }
        let later = after.get(job as usize).into_iter().flatten().copied();
        // Only what is really behind it: in a cycle lengths do not fall.
        next = longest(
            &mut later.filter(|other| length(other) < length(&job) || length(other) == 0.0),
        );
        if next.is_some_and(|next| chain.contains(&next)) {
            break;
        }
    }
    chain
}

/// A simulation as it goes.
struct Run<'a> {
    jobs: &'a [SimJob],
    schedule: Schedule,
    ranking: Ranking,
    paths: &'a [f64],
    builder_of: HashMap<HostId, u32>,
    speeds: Vec<f64>,
    /// Jobs that each job waits for still.
    open: Vec<usize>,
    after: Vec<Vec<u32>>,
    ends: BinaryHeap<Reverse<(u64, u32)>>,
    ran: Vec<Option<Ran>>,
    ready: u32,
}

impl<'a> Run<'a> {
    fn new(
        jobs: &'a [SimJob],
        builders: &[BuilderSpec],
        ranking: Ranking,
        paths: &'a [f64],
    ) -> Run<'a> {
        let mut run = Run {
            jobs,
            schedule: Schedule::new(),
            ranking,
            paths,
            builder_of: HashMap::new(),
            speeds: Vec::new(),
            open: jobs.iter().map(|job| job.before.len()).collect(),
            after: vec![Vec::new(); jobs.len()],
            ends: BinaryHeap::new(),
            ran: vec![None; jobs.len()],
            ready: 0,
        };
        for (ix, builder) in (0..).zip(builders) {
            // Ids may repeat in a file; places do not.
            let mut spec = builder.clone();
            spec.id = host(ix);
            run.builder_of.insert(spec.id, ix);
            run.speeds.push(spec.pace());
            run.schedule.take(Happened::Builder(spec), clock(0));
        }
        for (ix, job) in (0..).zip(jobs) {
            for earlier in &job.before {
                if let Some(list) = run.after.get_mut(*earlier as usize) {
                    list.push(ix);
                }
            }
        }
        for ix in 0..jobs.len() as u32 {
            run.add(ix);
        }
        for (ix, job) in (0..).zip(jobs).filter(|(_, job)| !job.stuck) {
            if let Some((builder, slot)) = job.runs_at {
                let running = Happened::Running {
                    job: JobId(u64::from(ix)),
                    builder: host(builder),
                    slot,
                    since_ms: START_MS,
                };
                run.schedule.take(running, clock(0));
                run.start(ix, &host(builder), slot, 0);
            } else if job.not_before_s > 0.0 {
                let until_ms = START_MS + (job.not_before_s * 1000.0).min(1e15) as u64;
                let wait = Happened::NotBefore(JobId(u64::from(ix)), until_ms);
                run.schedule.take(wait, clock(0));
            }
        }
        for ix in 0..jobs.len() as u32 {
            run.free(ix, 0);
        }
        run
    }

    fn add(&mut self, ix: u32) {
        let Some(job) = self.jobs.get(ix as usize) else {
            return;
        };
        let path_s = match self.ranking {
            Ranking::LongestPath => self.paths.get(ix as usize).copied().unwrap_or(0.0),
            Ranking::SizeFirst | Ranking::FirstCome => clean(job.predicted_s),
        };
        let spec = JobSpec {
            job: JobId(u64::from(ix)),
            label: job.label.clone(),
            account: job.account.clone(),
            needs: job.needs,
            seconds: job.predicted_s,
            path_s,
            raise: 0,
        };
        self.schedule.take(Happened::Added(spec), clock(0));
    }

    /// Tells the dispatcher if nothing stands before a job any more.
    fn free(&mut self, ix: u32, now_ms: u64) {
        let job = self.jobs.get(ix as usize);
        let stuck = job.is_none_or(|job| job.stuck || job.runs_at.is_some());
        if stuck || self.open.get(ix as usize) != Some(&0) {
            return;
        }
        let job = JobId(u64::from(ix));
        if self.ranking == Ranking::FirstCome {
            // Far above any job's own length, and falling with every job that became ready.
            self.schedule.take(
                Happened::Path(job, 1e9 - f64::from(self.ready)),
                clock(now_ms),
            );
            self.ready += 1;
        }
        self.schedule.take(Happened::Ready(job), clock(now_ms));
    }

    fn run_to_the_end(&mut self) {
        let mut now_ms = 0;
        loop {
            for given in self.schedule.decide(clock(now_ms)) {
                self.start(given.job.0 as u32, &given.builder, given.slot, now_ms);
            }
            let wake = self
                .schedule
                .next_wake_ms()
                .filter(|wake| *wake > now_ms + START_MS);
            let end = self.ends.peek().map(|Reverse((end, _))| *end);
            now_ms = match (wake.map(|wake| wake - START_MS), end) {
                (Some(wake), Some(end)) => wake.min(end),
                (Some(only), None) | (None, Some(only)) => only,
                (None, None) => break,
            };
            while let Some(Reverse((end, ix))) = self
                .ends
                .peek()
                .copied()
                .filter(|Reverse((end, _))| *end <= now_ms)
            {
                self.ends.pop();
                self.schedule
                    .take(Happened::Gone(JobId(u64::from(ix))), clock(end));
                for later in self.after.get(ix as usize).cloned().unwrap_or_default() {
                    if let Some(open) = self.open.get_mut(later as usize) {
                        *open = open.saturating_sub(1);
                    }
                    self.free(later, end);
                }
            }
        }
    }

    fn start(&mut self, ix: u32, builder: &HostId, slot: u32, now_ms: u64) {
        let (Some(job), Some(builder)) = (self.jobs.get(ix as usize), self.builder_of.get(builder))
        else {
            return;
        };
        let speed = self.speeds.get(*builder as usize).copied().unwrap_or(1.0);
        // Up to whole milliseconds: a run that was rounded down would beat the bound that nothing can beat.
        let takes_ms = (clean(job.actual_s) * 1000.0 / speed).min(1e15).ceil() as u64;
        let end_ms = now_ms + takes_ms;
        if let Some(place) = self.ran.get_mut(ix as usize) {
            *place = Some(Ran {
                start_s: now_ms as f64 / 1000.0,
                end_s: end_ms as f64 / 1000.0,
                builder: *builder,
                slot,
            });
        }
        self.ends.push(Reverse((end_ms, ix)));
    }
}

/// Where the virtual clock starts, so that it is never 0.
const START_MS: u64 = 1_000;

fn clock(ms: u64) -> Now {
    Now {
        wall: Stamp(ms as i64),
        mono_ms: START_MS + ms,
    }
}

fn host(ix: u32) -> HostId {
    let mut id = [0; 32];
    for (place, byte) in id.iter_mut().zip(ix.to_be_bytes()) {
        *place = byte;
    }
    HostId(id)
}
