//! Random farms: nothing waits longer than its limit, nothing runs where it may not, and `explain` agrees with `decide`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use proptest::prelude::*;

use super::tests::{at, builder, job};
use super::*;
use crate::plan::why::Verdict;

#[derive(Debug, Clone)]
struct Arrival {
    at_s: u64,
    seconds: u64,
    path_s: u64,
    cores: u32,
    memory_mib: u32,
    account: u8,
}

fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    let one = (
        0u64..40_000,
        1u64..4_000,
        0u64..60_000,
        1u32..9,
        0u32..8_000,
        0u8..3,
    );
    let one = one.prop_map(
        |(at_s, seconds, path_s, cores, memory_mib, account)| Arrival {
            at_s,
            seconds,
            path_s,
            cores: match cores {
                1..=4 => 1,
                5..=6 => cores - 2,
                _ => 8,
            },
            memory_mib,
            account,
        },
    );
    prop::collection::vec(one, 1..60)
}

fn spec(number: u64, arrival: &Arrival) -> JobSpec {
    let mut spec = job(
        number,
        arrival.seconds as f64,
        (arrival.path_s + arrival.seconds) as f64,
    );
    spec.account = format!("a{}", arrival.account).into();
    spec.needs.cores = arrival.cores;
    spec.needs.memory_mib = arrival.memory_mib;
    spec
}

/// Plays it through. Returns for each job how long it waited and its stated limit, both in seconds.
fn play(builders: &[BuilderSpec], mut arrivals: Vec<Arrival>) -> Vec<(f64, f64)> {
    arrivals.sort_by_key(|arrival| arrival.at_s);
    let longest = arrivals
        .iter()
        .map(|arrival| arrival.seconds)
        .max()
        .unwrap_or(0) as f64;
    let slowest = builders
        .iter()
        .map(BuilderSpec::pace)
        .fold(f64::INFINITY, f64::min);
    let mut schedule = Schedule::new();
    for builder in builders {
        schedule.take(Happened::Builder(builder.clone()), at(0));
    }
    let pace: BTreeMap<_, f64> = builders.iter().map(|b| (b.id, b.pace())).collect();
    let mut events: BinaryHeap<Reverse<(u64, u8, u64)>> = BinaryHeap::new();
    for (number, arrival) in (0u64..).zip(&arrivals) {
        events.push(Reverse((arrival.at_s, 1, number)));
    }
    let mut limits: BTreeMap<u64, (u64, f64)> = BTreeMap::new();
    let mut waits = Vec::new();
    let mut open_s = 0.0;
    while let Some(Reverse((now_s, kind, number))) = events.pop() {
        match kind {
            0 => {
                open_s -= arrivals[number as usize].seconds as f64;
                schedule.take(Happened::Gone(JobId(number)), at(now_s));
            }
            1 => {
                let arrival = &arrivals[number as usize];
                let spec = spec(number, arrival);
                open_s += spec.seconds;
                let needs = spec.needs.rounded();
                let able = builders.iter().filter(|b| b.could_run(&needs));
                let capacity: f64 = able.map(|b| b.pace() * f64::from(b.at_once(&needs))).sum();
                limits.insert(
                    number,
                    (
                        now_s,
                        WAIT_S + 3.0 * open_s / capacity + 2.0 * longest / slowest,
                    ),
                );
                schedule.take(Happened::Added(spec), at(now_s));
                schedule.take(Happened::Ready(JobId(number)), at(now_s));
            }
            _ => {}
        }
        for given in schedule.decide(at(now_s)) {
            let number = given.job.0;
            let takes_s =
                (arrivals[number as usize].seconds as f64 / pace[&given.builder]).ceil() as u64;
            events.push(Reverse((now_s + takes_s, 0, number)));
            let (since_s, limit_s) = limits.remove(&number).expect("a job runs once");
            waits.push(((now_s - since_s) as f64, limit_s));
        }
        if let Some(wake_ms) = schedule.next_wake_ms() {
            let wake_s = wake_ms.div_ceil(1000) - 1_000;
            if wake_s > now_s && events.iter().all(|Reverse((_, kind, _))| *kind != 2) {
                events.push(Reverse((wake_s, 2, 0)));
            }
        }
    }
    assert!(limits.is_empty(), "never started: {limits:?}");
    waits
}

fn fleet(count: u8, speeds: &[f64]) -> Vec<BuilderSpec> {
    let mut fleet = Vec::new();
    for number in 0..count {
        let mut one = builder(number + 1, 1 + u32::from(number) % 3);
        one.speed = speeds[usize::from(number) % speeds.len()];
        // On every other one, what is large takes several slots for its memory.
        one.slot_memory_mib = (number % 2 == 0).then_some(8192 / one.slots);
        fleet.push(one);
    }
    fleet
}

/// More with `PROPTEST_CASES`.
fn cases() -> ProptestConfig {
    ProptestConfig {
        cases: ProptestConfig::default().cases.min(2_000_000),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn no_runnable_job_waits_longer_than_the_stated_bound(
        arrivals in arrivals(),
        count in 1u8..5,
        mixed in any::<bool>(),
    ) {
        let speeds: &[f64] = if mixed { &[1.0, 0.5, 2.0] } else { &[1.0] };
        for (waited_s, limit_s) in play(&fleet(count, speeds), arrivals) {
            prop_assert!(waited_s <= limit_s, "waited {waited_s} s, limit {limit_s} s");
        }
    }

    #[test]
    fn what_explain_calls_ready_decide_starts(arrivals in arrivals(), count in 1u8..4) {
        let mut schedule = Schedule::new();
        for builder in fleet(count, &[1.0]) {
            schedule.take(Happened::Builder(builder), at(0));
        }
        for (number, arrival) in (0..).zip(&arrivals) {
            schedule.take(Happened::Added(spec(number, arrival)), at(0));
            schedule.take(Happened::Ready(JobId(number)), at(0));
        }
        schedule.decide(at(0));
        for number in 0..arrivals.len() as u64 {
            let why = schedule.explain(JobId(number), &[], at(0)).unwrap();
            prop_assert!(why.verdict != Verdict::Ready, "{why:?}");
            prop_assert!(why.verdict == Verdict::Running || !why.reasons.is_empty(), "{why:?}");
        }
    }
}
