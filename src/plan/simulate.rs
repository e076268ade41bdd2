//! A plan run through before it is run: the same dispatcher on a virtual clock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use super::cycles;
use super::least::{clean, takes_ms};
use super::schedule::{BuilderSpec, Happened, JobSpec, Requirements, Schedule};
use crate::id::{HostId, JobId, Now, Stamp};

pub use super::least::{lower_bound, plain_bound};

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

/// The longest chain of those jobs that will run, by predicted seconds, and these seconds.
pub fn longest_chain(jobs: &[SimJob], runs: impl Fn(usize) -> bool) -> (Vec<u32>, f64) {
    let (mut before, mut costs) = (Vec::new(), Vec::new());
    for (at, job) in jobs.iter().enumerate() {
        let earlier = job.before.iter().copied();
        let (these, cost): (Vec<u32>, f64) = match runs(at) {
            true => (
                earlier.filter(|other| runs(*other as usize)).collect(),
                clean(job.predicted_s),
            ),
            false => (Vec::new(), 0.0),
        };
        before.push(these);
        costs.push(cost);
    }
    let paths = cycles::longest_paths(&before, &costs);
    let mut chain = critical_path(&before, &paths);
    chain.retain(|at| runs(*at as usize));
    let first = chain.first().and_then(|at| paths.get(*at as usize));
    let seconds = first.copied().unwrap_or(0.0);
    (chain, seconds)
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
        let end_ms = now_ms + takes_ms(job.actual_s, speed);
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
