//! Every kind of waiting in the words that a person reads, and their order.

use super::tests::{at, builder, job, schedule};
use super::*;
use crate::model::Because;
use crate::plan::Planner;
use crate::plan::sample::{planner, recipe, target};
use crate::plan::why::{Passes, Reason, Test, Verdict, Wait, WaitKind, Why};

/// Opens these recipes as jobs 1, 2, ... and works out what follows.
fn open(planner: &mut Planner, recipes: &[&str]) {
    for (number, name) in (1..).zip(recipes) {
        planner.open(&target(name), JobId(number), &Because::Missing);
    }
    planner.settle(1_000);
}

/// The one reason of this kind.
fn of_kind(why: &Why, kind: WaitKind) -> &Reason {
    let found = why.reasons.iter().find(|reason| reason.kind == kind);
    found.unwrap_or_else(|| panic!("no {kind:?} in {why:#?}"))
}

/// What job 1, which waits for this, is told by a farm with a free builder.
fn blocked(waits: &[Wait]) -> Why {
    let mut s = schedule(&[builder(1, 1)], &[]);
    s.take(Happened::Added(job(1, 10.0, 10.0)), at(0));
    s.explain(JobId(1), waits, at(0)).unwrap()
}

#[test]
fn what_a_job_waits_for_among_recipes_is_said_in_words() {
    let app = recipe("app", &["binary(lib)"], &[]);
    let lib = recipe("lib", &[], &["binary(lib)"]);
    let mut both = planner(&[app.clone(), lib.clone()]);
    open(&mut both, &["app", "lib"]);
    let why = blocked(&both.waits_for(&target("app")));
    let reason = of_kind(&why, WaitKind::Job);
    assert_eq!(reason.text, "job 2 builds lib, which provides binary(lib)");
    assert_eq!(
        (reason.job, why.verdict),
        (Some(JobId(2)), Verdict::Postpone)
    );

    both.fail(&target("lib"));
    both.settle(1_000);
    let why = blocked(&both.waits_for(&target("app")));
    let reason = of_kind(&why, WaitKind::FailedJob);
    assert_eq!(
        reason.text,
        "job 2 of lib, which provides binary(lib), failed"
    );
    assert_eq!(
        reason.next,
        "see `massif job log 2`, mend the recipe or retry it"
    );
    assert_eq!(why.cheapest.as_deref(), Some(reason.next.as_str()));

    let mut alone = planner(&[app.clone(), lib]);
    open(&mut alone, &["app"]);
    let why = blocked(&alone.waits_for(&target("app")));
    let reason = of_kind(&why, WaitKind::Recipe);
    assert_eq!(
        reason.text,
        "recipe lib makes binary(lib), and no job builds it"
    );
    assert_eq!(reason.next, "run `massif build lib`");

    let mut missing = planner(&[app]);
    open(&mut missing, &["app"]);
    let why = blocked(&missing.waits_for(&target("app")));
    let reason = of_kind(&why, WaitKind::Dependency);
    assert_eq!(reason.text, "nothing provides binary(lib)");
    assert_eq!(why.verdict, Verdict::Decline);
    assert_eq!(
        why.headline,
        "waits, and not for time: nothing provides binary(lib)"
    );

    let mut cycle = planner(&[
        recipe("egg", &["binary(hen)"], &["binary(egg)"]),
        recipe("hen", &["binary(egg)"], &["binary(hen)"]),
    ]);
    open(&mut cycle, &["egg", "hen"]);
    let waits = ["egg", "hen"].map(|name| cycle.waits_for(&target(name)));
    let cut = waits
        .iter()
        .flatten()
        .find(|wait| wait.kind == WaitKind::Bootstrap);
    let cut = cut.unwrap_or_else(|| panic!("{waits:?}"));
    assert!(
        cut.text.starts_with("bootstrap needs: binary(")
            && cut
                .text
                .ends_with("in a cycle that nothing published opens"),
        "{}",
        cut.text
    );
    assert_eq!(blocked(std::slice::from_ref(cut)).verdict, Verdict::Decline);
}

#[test]
fn what_people_and_failures_put_in_the_way_is_said_in_words() {
    let mut s = schedule(&[builder(1, 1)], &[job(1, 10.0, 10.0)]);
    s.take(Happened::FarmHeld(Some("by anna: power cut".into())), at(0));
    assert!(s.decide(at(0)).is_empty());
    let why = s.explain(JobId(1), &[], at(0)).unwrap();
    let reason = of_kind(&why, WaitKind::Farm);
    assert_eq!(reason.text, "the whole farm is held: by anna: power cut");
    s.take(Happened::FarmHeld(None), at(0));

    s.take(
        Happened::Held(JobId(1), Some("by anna: waits for the new glibc".into())),
        at(0),
    );
    s.take(Happened::NotBefore(JobId(1), at(90).mono_ms), at(0));
    let why = s.explain(JobId(1), &[], at(1)).unwrap();
    let texts: Vec<&str> = why
        .reasons
        .iter()
        .map(|reason| reason.text.as_str())
        .collect();
    // What lifts by itself comes first; what a person has to lift comes last.
    assert_eq!(
        texts,
        [
            "backs off for 89 s more after a failure that was not the recipe's",
            "held: by anna: waits for the new glibc"
        ]
    );
    assert_eq!(of_kind(&why, WaitKind::BackOff).lifts_in_s, Some(89.0));
    assert_eq!(
        of_kind(&why, WaitKind::Hold).next,
        "run `massif job release 1`"
    );
    // A hold with an end lifts by itself, and its place follows from that.
    let why = s.explain_with(JobId(1), &[], at(1), |kind, _| {
        (kind == WaitKind::Hold).then_some(5.0)
    });
    assert_eq!(why.unwrap().reasons[0].kind, WaitKind::Hold);
}

#[test]
fn what_builders_lack_is_said_in_words() {
    let none = schedule(&[], &[job(1, 10.0, 10.0)]);
    let why = none.explain(JobId(1), &[], at(0)).unwrap();
    let reason = of_kind(&why, WaitKind::NoBuilder);
    assert_eq!(
        (reason.text.as_str(), reason.next.as_str()),
        ("the farm has no builder", "join one: `massif invite`")
    );

    // Every builder with every failed test.
    let mut odd = builder(1, 1);
    odd.archs = vec![Arch::Aarch64];
    odd.level = IsaLevel::Baseline;
    odd.trust = Trust::Test;
    odd.cores = 2;
    odd.memory_mib = None;
    odd.disk_mib = Some(100);
    odd.away = Some("draining".into());
    let mut big = job(1, 10.0, 10.0);
    big.needs = Requirements {
        level: IsaLevel::V3x,
        isolation: Isolation::Machine,
        cores: 4,
        memory_mib: 20_000,
        disk_mib: 2_000,
        ..big.needs
    };
    let s = schedule(&[odd, builder(2, 1)], &[big]);
    let why = s.explain(JobId(1), &[], at(0)).unwrap();
    let reason = of_kind(&why, WaitKind::NoFit);
    assert_eq!(reason.text, "none of 2 builders can ever run it");
    let table: Vec<(Test, &str, &str, Passes)> = why.builders[0]
        .failed
        .iter()
        .map(|test| {
            (
                test.test,
                test.have.as_str(),
                test.need.as_str(),
                test.passes,
            )
        })
        .collect();
    assert_eq!(
        table,
        [
            (Test::Architecture, "aarch64", "x86_64", Passes::Never),
            (Test::IsaLevel, "baseline", "v3x", Passes::Never),
            (Test::Trust, "test", "trusted", Passes::Never),
            (Test::Isolation, "sandbox", "machine", Passes::Never),
            (Test::Cores, "2", "4", Passes::Never),
            (Test::Memory, "unknown", "20480 MiB", Passes::Never),
            (Test::Disk, "100 MiB", "1536 MiB", Passes::Never),
            (
                Test::TakesWork,
                "draining",
                "a builder that takes work",
                Passes::Later
            ),
        ]
    );
    let verdicts: Vec<Verdict> = why.builders.iter().map(|fit| fit.verdict).collect();
    assert_eq!(verdicts, [Verdict::Decline, Verdict::Decline]);
    assert_eq!(
        why.cheapest.as_deref(),
        Some(
            "give b2 isolation machine (has sandbox) and memory 20480 MiB (has 8192 MiB), or join a builder that has it"
        )
    );

    let mut away = builder(1, 1);
    away.away = Some("drained by anna".into());
    let s = schedule(&[away], &[job(1, 10.0, 10.0)]);
    let why = s.explain(JobId(1), &[], at(0)).unwrap();
    let reason = of_kind(&why, WaitKind::BuilderAway);
    assert_eq!(
        reason.text,
        "would fit, but takes no work: b1 (drained by anna)"
    );
    assert_eq!(why.cheapest.as_deref(), Some("resume b1 (drained by anna)"));
    assert_eq!(why.builders[0].verdict, Verdict::Postpone);
}

#[test]
fn what_comes_first_is_said_in_words() {
    let mut s = schedule(
        &[builder(1, 1)],
        &[
            job(1, 100.0, 900.0),
            job(2, 10.0, 500.0),
            job(3, 10.0, 10.0),
        ],
    );
    s.decide(at(0));
    let why = s.explain(JobId(3), &[], at(1)).unwrap();
    assert_eq!(
        of_kind(&why, WaitKind::Busy).text,
        "the one builder that would do is busy; it is free in about 99 s"
    );
    // A job that waits has a reason also when what it waits for should have ended long ago.
    let late = s.explain(JobId(3), &[], at(150)).unwrap();
    assert_eq!(late.verdict, Verdict::Postpone);
    assert_eq!(
        of_kind(&late, WaitKind::Busy).text,
        "the one builder that would do is busy; it is free at any moment: what runs there takes longer than predicted"
    );
    let order = of_kind(&why, WaitKind::Order);
    assert_eq!(order.text, "1 ready job comes first");
    assert_eq!(why.cheapest.as_deref(), Some("run `massif job raise 3`"));
    let lifts: Vec<f64> = why.reasons.iter().filter_map(|r| r.lifts_in_s).collect();
    assert!(lifts.is_sorted() && lifts.len() == 2, "{lifts:?}");
    assert!(why.start.is_some() && why.end.is_some());

    let (mut runs, mut first, mut last) = (
        job(1, 100.0, 900.0),
        job(2, 50.0, 800.0),
        job(3, 500.0, 500.0),
    );
    runs.needs.memory_mib = 5_000;
    first.needs.memory_mib = 6_000;
    last.needs.memory_mib = 3_000;
    let mut s = schedule(&[builder(1, 2)], &[runs, first, last]);
    assert_eq!(s.decide(at(0)).len(), 1);
    let why = s.explain(JobId(3), &[], at(0)).unwrap();
    let reason = of_kind(&why, WaitKind::Reserved);
    assert_eq!(reason.text, "b1 is kept free for job 2, which comes first");
    assert_eq!(reason.job, Some(JobId(2)));

    let mut jobs = vec![
        job(1, 10.0, 500.0),
        job(2, 10.0, 10.0),
        job(3, 10.0, 10.0),
        job(4, 10.0, 10.0),
    ];
    jobs[2].account = "q".into();
    jobs[3].account = "q".into();
    let mut s = schedule(&[builder(1, 1)], &jobs);
    s.decide(at(0));
    let why = s.explain(JobId(2), &[], at(1)).unwrap();
    let reason = of_kind(&why, WaitKind::Share);
    assert_eq!(reason.text, "p used 10 s more than its share");
    let share = why.priority.iter().find(|term| term.name == "share");
    assert_eq!(share.map(|term| term.seconds), Some(-10.0));

    let mut slow = builder(2, 1);
    slow.speed = 0.25;
    let mut s = schedule(
        &[builder(1, 1), slow],
        &[job(1, 100.0, 100.0), job(2, 100.0, 100.0)],
    );
    s.decide(at(0));
    let why = s.explain(JobId(2), &[], at(0)).unwrap();
    assert_eq!(
        of_kind(&why, WaitKind::BetterBuilder).text,
        "b2 is free and would need 6 min; a faster builder is free in about 100 s"
    );
}

#[test]
fn a_disk_that_is_full_of_other_things_is_no_reason_for_ever() {
    let mut full = builder(1, 1);
    full.disk_mib = Some(100);
    full.disk_whole_mib = Some(50_000);
    let mut small = builder(2, 1);
    small.disk_mib = Some(200);
    small.disk_whole_mib = Some(1_000);
    let mut big = job(1, 10.0, 10.0);
    big.needs.disk_mib = 2_048;
    let s = schedule(&[full, small], &[big]);
    let why = s.explain(JobId(1), &[], at(0)).unwrap();
    assert_eq!(why.verdict, Verdict::Postpone);
    let reason = of_kind(&why, WaitKind::Busy);
    assert_eq!(
        (reason.text.as_str(), reason.next.as_str()),
        (
            "needs 2048 MiB of disk: b1 has 100 MiB free",
            "make room on one of them"
        )
    );
    let verdicts: Vec<Verdict> = why.builders.iter().map(|fit| fit.verdict).collect();
    assert_eq!(verdicts, [Verdict::Postpone, Verdict::Decline]);
    assert_eq!(why.builders[0].failed[0].have, "100 of 50000 MiB free");
}
