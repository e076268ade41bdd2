//! Starvation: many random farms played through, and how long the job that waited longest for its limit waited.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use massif::id::{Arch, JobId, Now, Stamp};
use massif::model::IsaLevel;
use massif::plan::cycles::chance::Chance;
use massif::plan::schedule::WAIT_S;
use massif::plan::whole::equal_builders;
use massif::plan::{BuilderSpec, Happened, Isolation, JobSpec, Requirements, Schedule, Trust};

use super::Table;

const RUNS: u64 = if cfg!(debug_assertions) { 200 } else { 10_000 };

/// Plays them and adds the worst wait to the table.
pub(super) fn run(table: &mut Table) {
    let (mut worst, mut over, mut jobs) = (0f64, 0, 0u64);
    for seed in 0..RUNS {
        for (waited_s, limit_s) in play(seed) {
            worst = worst.max(waited_s / limit_s);
            over += u32::from(waited_s > limit_s);
            jobs += 1;
        }
    }
    table.row(
        &format!("starvation: runnable jobs that waited longer than the stated bound in {RUNS} random runs"),
        format!("{over} of {jobs}; the longest wait was {worst:.2} of its bound"),
        "0",
    );
}

fn at(seconds: u64) -> Now {
    Now {
        wall: Stamp(seconds as i64 * 1000),
        mono_ms: 1_000_000 + seconds * 1000,
    }
}

fn fleet(chance: &mut Chance) -> Vec<BuilderSpec> {
    let mut fleet = equal_builders(1 + chance.below(5) as u32, &[Arch::X86_64]);
    let speeds = [1.0, 0.5, 2.0, 1.5];
    for builder in &mut fleet {
        builder.slots = 1 + chance.below(3) as u32;
        builder.cores = 8;
        builder.memory_mib = Some(8_192);
        builder.speed = speeds[chance.below(speeds.len())];
    }
    fleet
}

fn job(number: u64, chance: &mut Chance) -> JobSpec {
    let seconds = 1.0 + chance.below(4_000) as f64;
    JobSpec {
        job: JobId(number),
        label: "random".into(),
        account: format!("a{}", chance.below(3)).into(),
        needs: Requirements {
            arch: Arch::X86_64,
            level: IsaLevel::Baseline,
            trust: Trust::Trusted,
            isolation: Isolation::Sandbox,
            cores: if chance.below(4) == 0 { 8 } else { 1 },
            memory_mib: chance.below(8_000) as u32,
            disk_mib: 0,
        },
        seconds,
        path_s: seconds + chance.below(60_000) as f64,
        raise: chance.below(5) as i32 - 2,
    }
}

/// One farm. For each job how long it waited and its bound when it became ready, both in seconds.
fn play(seed: u64) -> Vec<(f64, f64)> {
    let mut chance = Chance::new(seed);
    let builders = fleet(&mut chance);
    let jobs: Vec<JobSpec> = (0..1 + chance.below(60) as u64)
        .map(|number| job(number, &mut chance))
        .collect();
    let pace: BTreeMap<_, f64> = builders.iter().map(|b| (b.id, b.pace())).collect();
    let slowest = pace.values().copied().fold(f64::INFINITY, f64::min);
    let longest = jobs.iter().map(|job| job.seconds).fold(0.0, f64::max);
    let mut schedule = Schedule::new();
    for builder in &builders {
        schedule.take(Happened::Builder(builder.clone()), at(0));
    }
    let mut events: BinaryHeap<Reverse<(u64, u8, u64)>> = BinaryHeap::new();
    for spec in &jobs {
        events.push(Reverse((chance.below(40_000) as u64, 1, spec.job.0)));
    }
    let (mut limits, mut waits, mut open_s) = (BTreeMap::new(), Vec::new(), 0.0);
    while let Some(Reverse((now_s, kind, number))) = events.pop() {
        let spec = &jobs[number as usize];
        match kind {
            0 => {
                open_s -= spec.seconds;
                schedule.take(Happened::Gone(spec.job), at(now_s));
            }
            1 => {
                open_s += spec.seconds;
                let needs = spec.needs.rounded();
                let able = builders.iter().filter(|b| b.could_run(&needs));
                let capacity: f64 = able
                    .map(|b| b.pace() * f64::from(b.slots.min(b.cores / needs.cores).max(1)))
                    .sum();
                let limit_s = WAIT_S + 3.0 * open_s / capacity + 2.0 * longest / slowest;
                limits.insert(spec.job, (now_s, limit_s));
                schedule.take(Happened::Added(spec.clone()), at(now_s));
                schedule.take(Happened::Ready(spec.job), at(now_s));
            }
            _ => {}
        }
        for given in schedule.decide(at(now_s)) {
            let takes_s = jobs[given.job.0 as usize].seconds / pace[&given.builder];
            events.push(Reverse((now_s + takes_s.ceil() as u64, 0, given.job.0)));
            let (since_s, limit_s) = limits.remove(&given.job).expect("a job runs once");
            waits.push(((now_s - since_s) as f64, limit_s));
        }
        if let Some(wake_ms) = schedule.next_wake_ms() {
            let wake_s = wake_ms.div_ceil(1000).saturating_sub(1_000);
            if wake_s > now_s && events.iter().all(|Reverse((_, kind, _))| *kind != 2) {
                events.push(Reverse((wake_s, 2, 0)));
            }
        }
    }
    assert!(limits.is_empty(), "never started: {limits:?}");
    waits
}
