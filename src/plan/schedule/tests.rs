//! The dispatcher as a table of facts and decisions.

use super::*;
use crate::id::{Now, Stamp};
use crate::plan::why::{Passes, Test, Verdict, Wait, WaitKind};

pub(super) fn at(seconds: u64) -> Now {
    Now {
        wall: Stamp(1_000_000 + seconds as i64 * 1000),
        mono_ms: 1_000_000 + seconds * 1000,
    }
}

fn needs(memory_mib: u32) -> Requirements {
    Requirements {
        arch: Arch::X86_64,
        level: IsaLevel::Baseline,
        trust: Trust::Trusted,
        isolation: Isolation::Sandbox,
        cores: 1,
        memory_mib,
        disk_mib: 1024,
    }
}

pub(super) fn job(number: u64, seconds: f64, path_s: f64) -> JobSpec {
    JobSpec {
        job: JobId(number),
        label: format!("r{number} 1.0-1").into(),
        account: "p".into(),
        needs: needs(1024),
        seconds,
        path_s,
        raise: 0,
    }
}

pub(super) fn builder(number: u8, slots: u32) -> BuilderSpec {
    BuilderSpec {
        id: HostId([number; 32]),
        name: format!("b{number}").parse().unwrap(),
        archs: vec![Arch::X86_64],
        level: IsaLevel::V3x,
        trust: Trust::Trusted,
        isolation: Isolation::Sandbox,
        slots,
        cores: 8,
        memory_mib: Some(8192),
        slot_memory_mib: None,
        disk_mib: Some(65536),
        disk_whole_mib: None,
        speed: 1.0,
        away: None,
    }
}

/// A schedule with these builders and these ready jobs.
pub(super) fn schedule(builders: &[BuilderSpec], jobs: &[JobSpec]) -> Schedule {
    let mut schedule = Schedule::new();
    for builder in builders {
        schedule.take(Happened::Builder(builder.clone()), at(0));
    }
    for job in jobs {
        schedule.take(Happened::Added(job.clone()), at(0));
        schedule.take(Happened::Ready(job.job), at(0));
    }
    schedule
}

fn started(given: &[Assignment]) -> Vec<(u64, u8)> {
    given.iter().map(|a| (a.job.0, a.builder.0[0])).collect()
}

#[test]
fn the_longest_chain_goes_first_and_a_freed_slot_takes_the_next() {
    let mut s = schedule(
        &[builder(1, 1)],
        &[job(1, 10.0, 10.0), job(2, 10.0, 500.0), job(3, 10.0, 60.0)],
    );
    assert_eq!(started(&s.decide(at(0))), [(2, 1)]);
    assert!(s.decide(at(1)).is_empty());
    s.take(Happened::Ended(JobId(2)), at(10));
    assert_eq!(started(&s.decide(at(10))), [(3, 1)]);
    s.take(Happened::Raised(JobId(1), 1), at(11));
    s.take(Happened::GivenBack(JobId(3)), at(12));
    assert_eq!(started(&s.decide(at(12))), [(1, 1)]);
}

#[test]
fn memory_is_booked_and_small_jobs_run_beside_large_ones() {
    let mut large = job(1, 100.0, 900.0);
    large.needs.memory_mib = 6000;
    let mut second = large.clone();
    second.job = JobId(2);
    second.path_s = 800.0;
    let mut s = schedule(
        &[builder(1, 4)],
        &[large, second, job(3, 10.0, 10.0), job(4, 500.0, 500.0)],
    );
    // 6,144 + 6,144 MiB do not fit into 8,192; the others do, but only the one that ends in time may delay job 2.
    let given = s.decide(at(0));
    assert_eq!(started(&given), [(1, 1), (4, 1), (3, 1)]);
    s.take(Happened::Ended(JobId(1)), at(100));
    assert_eq!(started(&s.decide(at(100))), [(2, 1)]);
}

#[test]
fn a_builder_is_kept_for_a_wide_job_that_others_would_pass_for_ever() {
    let mut wide = job(1, 100.0, 900.0);
    wide.needs.cores = 8;
    let mut s = schedule(&[builder(1, 4)], &[job(10, 50.0, 50.0)]);
    s.decide(at(0));
    s.take(Happened::Added(wide), at(1));
    s.take(Happened::Ready(JobId(1)), at(1));
    assert!(s.decide(at(1)).is_empty());
    // A long one has to wait now, a short one slips in.
    for (number, seconds) in [(11, 200.0), (12, 20.0)] {
        s.take(Happened::Added(job(number, seconds, seconds)), at(2));
        s.take(Happened::Ready(JobId(number)), at(2));
    }
    assert_eq!(started(&s.decide(at(2))), [(12, 1)]);
    let why = s.explain(JobId(11), &[], at(3)).unwrap();
    assert!(
        why.builders[0]
            .failed
            .iter()
            .any(|test| test.test == Test::Reservation),
        "{why:?}"
    );
    s.take(Happened::Ended(JobId(12)), at(22));
    assert!(s.decide(at(22)).is_empty());
    s.take(Happened::Ended(JobId(10)), at(50));
    assert_eq!(started(&s.decide(at(50))), [(1, 1)]);
}

#[test]
fn a_slow_builder_waits_when_the_fast_one_is_free_soon_enough() {
    let mut slow = builder(2, 1);
    slow.speed = 0.25;
    let mut s = schedule(
        &[builder(1, 1), slow],
        &[job(1, 100.0, 100.0), job(2, 100.0, 100.0)],
    );
    assert_eq!(started(&s.decide(at(0))), [(1, 1)]);
    let why = s.explain(JobId(2), &[], at(0)).unwrap();
    assert_eq!(why.reasons[0].kind, WaitKind::BetterBuilder, "{why:?}");
    // It is looked at again when the fast one should be free, and the fast one still wins.
    assert_eq!(s.next_wake_ms(), Some(at(101).mono_ms));
    assert_eq!(started(&s.decide(at(101))), []);
    s.take(Happened::Ended(JobId(1)), at(110));
    assert_eq!(started(&s.decide(at(110))), [(2, 1)]);
}

#[test]
fn accounts_share_by_weight() {
    let mut jobs = Vec::new();
    for number in 1..=60 {
        let mut one = job(number, 10.0, 10.0);
        one.account = if number % 2 == 0 {
            "even".into()
        } else {
            "odd".into()
        };
        jobs.push(one);
    }
    let mut s = schedule(&[builder(1, 1)], &[]);
    s.take(Happened::Weight("even".into(), 3.0), at(0));
    for one in jobs {
        s.take(Happened::Added(one.clone()), at(0));
        s.take(Happened::Ready(one.job), at(0));
    }
    let mut even = 0;
    for round in 0..24 {
        let given = s.decide(at(round * 10));
        even += given.iter().filter(|a| a.job.0 % 2 == 0).count();
        for a in given {
            s.take(Happened::Gone(a.job), at(round * 10 + 10));
        }
    }
    assert!((17..=19).contains(&even), "{even}");
}

#[test]
fn a_refusal_sends_the_job_elsewhere_for_its_time() {
    let mut s = schedule(&[builder(1, 1)], &[job(1, 10.0, 99.0), job(2, 10.0, 10.0)]);
    let why = "disk: 1 GiB free".into();
    s.take(
        Happened::Refused {
            job: JobId(1),
            builder: HostId([1; 32]),
            why,
            until_ms: at(60).mono_ms,
        },
        at(0),
    );
    assert_eq!(started(&s.decide(at(0))), [(2, 1)]);
    s.take(Happened::Ended(JobId(2)), at(10));
    assert!(s.decide(at(10)).is_empty());
    let why = s.explain(JobId(1), &[], at(10)).unwrap();
    assert_eq!(why.builders[0].failed[0].test, Test::Refusal);
    assert_eq!(started(&s.decide(at(61))), [(1, 1)]);
}

#[test]
fn rows_of_running_jobs_are_booked_after_a_restart() {
    let mut s = schedule(&[builder(1, 2)], &[]);
    s.take(Happened::Added(job(1, 10.0, 10.0)), at(0));
    s.take(
        Happened::Running {
            job: JobId(1),
            builder: HostId([1; 32]),
            slot: 1,
            since_ms: at(0).mono_ms,
        },
        at(0),
    );
    s.take(Happened::Added(job(2, 10.0, 10.0)), at(0));
    s.take(Happened::Ready(JobId(2)), at(0));
    let given = s.decide(at(0));
    assert_eq!(
        given,
        [Assignment {
            job: JobId(2),
            builder: HostId([1; 32]),
            slot: 0
        }]
    );
    assert_eq!(s.running(JobId(1)).unwrap().1, 1);
}

#[test]
fn why_says_every_kind_of_waiting() {
    let mut big = job(1, 10.0, 10.0);
    big.needs.memory_mib = 20_000;
    let mut held = job(2, 10.0, 10.0);
    held.raise = 2;
    let mut s = schedule(
        &[builder(1, 1)],
        &[big, held, job(3, 100.0, 100.0), job(4, 10.0, 10.0)],
    );
    s.take(
        Happened::Held(JobId(2), Some("by anna: waits for the new glibc".into())),
        at(0),
    );
    s.take(Happened::Added(job(5, 10.0, 10.0)), at(0));
    s.take(Happened::Added(job(6, 10.0, 10.0)), at(0));
    s.take(Happened::NotBefore(JobId(6), at(90).mono_ms), at(0));
    s.take(Happened::Ready(JobId(6)), at(0));
    s.decide(at(0));
    let wait = Wait {
        kind: WaitKind::Dependency,
        text: "nothing provides pkgconfig(x)".into(),
        next: "add it".into(),
        job: None,
    };
    let why = |number, waits: &[Wait]| s.explain(JobId(number), waits, at(1)).unwrap();
    let words = |why: &crate::plan::Why| format!("{:?}: {}", why.verdict, why.headline);
    for (number, waits, verdict, text) in [
        (
            1,
            vec![],
            Verdict::Decline,
            "waits, and not for time: the only builder can never run it",
        ),
        (
            2,
            vec![],
            Verdict::Postpone,
            "held: by anna: waits for the new glibc",
        ),
        (3, vec![], Verdict::Running, "runs on b1 for 1 s"),
        (
            4,
            vec![],
            Verdict::Postpone,
            "waits: the one builder that would do is busy; it is free in about 99 s",
        ),
        (
            5,
            vec![wait],
            Verdict::Decline,
            "waits, and not for time: nothing provides pkgconfig(x)",
        ),
        (
            6,
            vec![],
            Verdict::Postpone,
            "waits: backs off for 89 s more after a failure that was not the recipe's",
        ),
    ] {
        let got = why(number, &waits);
        assert_eq!(got.verdict, verdict, "{}", words(&got));
        let found = got.headline.contains(text)
            || got.reasons.iter().any(|reason| reason.text.contains(text));
        assert!(found, "{}: {got:?}", words(&got));
    }
    let big = why(1, &[]);
    assert_eq!(big.builders[0].failed[0].passes, Passes::Never);
    assert_eq!(
        big.cheapest.as_deref(),
        Some("give b1 memory 20480 MiB (has 8192 MiB), or join a builder that has it")
    );
    assert_eq!(why(2, &[]).priority[0].name, "raise");
    assert!(why(4, &[]).start.is_some());
    let empty = schedule(&[], &[job(1, 1.0, 1.0)]);
    assert_eq!(
        empty.explain(JobId(1), &[], at(0)).unwrap().reasons[0].kind,
        WaitKind::NoBuilder
    );
}

#[test]
fn a_builder_for_tests_gets_nothing_that_is_to_be_published() {
    let tester = BuilderSpec {
        trust: Trust::Test,
        ..builder(1, 4)
    };
    let mut farm = schedule(std::slice::from_ref(&tester), &[job(1, 60.0, 60.0)]);
    assert!(farm.decide(at(1)).is_empty());
    let trusted = BuilderSpec {
        trust: Trust::Trusted,
        ..tester
    };
    farm.take(Happened::Builder(trusted), at(2));
    assert_eq!(farm.decide(at(3)).len(), 1);
}

#[test]
fn a_job_takes_as_many_slots_as_have_what_it_asks_for() {
    let asks = |cores, memory_mib| (cores, memory_mib);
    for (slots, cores, slot_mib, asked, taken) in [
        (4, 16, Some(4_096), asks(1, 100), 1),
        (4, 16, Some(4_096), asks(4, 4_096), 1),
        (4, 16, Some(4_096), asks(5, 0), 2),
        (4, 16, Some(4_096), asks(1, 9_000), 3),
        (4, 16, Some(4_096), asks(16, 0), 4),
        // What nobody has takes all of them, and then the test of the cores fails.
        (4, 16, Some(4_096), asks(17, 0), 4),
        (4, 16, None, asks(1, u32::MAX), 1),
        // Slots of 3, 3, 2 and 2 cores: the smallest counts, and all have all.
        (4, 10, None, asks(3, 0), 2),
        (4, 10, None, asks(10, 0), 4),
        // More slots than cores.
        (4, 2, None, asks(1, 0), 1),
        (4, 2, None, asks(2, 0), 2),
        (0, 0, Some(0), asks(0, 0), 1),
    ] {
        let all = (slots, cores, slot_mib);
        assert_eq!(slots_for(all, asked), taken, "{all:?} {asked:?}");
    }
}

#[test]
fn a_wide_job_takes_several_slots_and_small_ones_stand_beside_it() {
    let mut shared = builder(1, 4);
    shared.slot_memory_mib = Some(2048);
    let mut wide = job(1, 100.0, 900.0);
    wide.needs.cores = 5; // slots of two cores: three of them
    let small = |number| job(number, 10.0, 10.0);
    let mut s = schedule(&[shared.clone()], &[wide, small(2), small(3)]);
    assert_eq!(started(&s.decide(at(0))), [(1, 1), (2, 1)]);
    assert_eq!(
        (s.slots_of(JobId(1)), s.slots_of(JobId(2))),
        (Some(3), Some(1))
    );
    let why = s.explain(JobId(3), &[], at(0)).unwrap();
    let failed = &why.builders[0].failed;
    let slot = failed.iter().find(|f| f.test == Test::Slot).unwrap();
    assert_eq!(
        (slot.have.as_str(), slot.need.as_str()),
        ("0 of 4 free", "1")
    );
    // The small ones end one after the other, and the next wide one is not passed by for ever.
    let mut heavy = job(4, 100.0, 9_000.0);
    heavy.needs.memory_mib = 8_000; // four slots of 2 GiB
    s.take(Happened::Added(heavy), at(1));
    s.take(Happened::Ready(JobId(4)), at(1));
    let why = s.explain(JobId(4), &[], at(1)).unwrap();
    let failed = &why.builders[0].failed;
    let slot = failed.iter().find(|f| f.test == Test::Slot).unwrap();
    assert_eq!(
        (slot.have.as_str(), slot.need.as_str()),
        ("0 of 4 free", "4, because it asks for 8192 MiB of memory")
    );
    s.take(Happened::Ended(JobId(2)), at(10));
    // Job 3 ends before job 1 does, so it may stand beside until then; a long one may not.
    let mut long = small(5);
    long.seconds = 5_000.0;
    s.take(Happened::Added(long), at(10));
    s.take(Happened::Ready(JobId(5)), at(10));
    assert_eq!(started(&s.decide(at(10))), [(3, 1)]);
    s.take(Happened::Ended(JobId(3)), at(20));
    s.take(Happened::Ended(JobId(1)), at(100));
    assert_eq!(started(&s.decide(at(100))), [(4, 1)]);
    // A builder that changes its slots books anew what runs there.
    shared.slots = 8;
    shared.slot_memory_mib = Some(1024);
    s.take(Happened::Builder(shared), at(101));
    assert_eq!(s.slots_of(JobId(4)), Some(8));
}
