//! The planner as the summit uses it.

use super::sample::{catalog, channel, meta, planner, profile, recipe, target};
use super::*;
use crate::id::JobId;

/// Opens everything that is wanted, numbered from 1 in the order of the targets.
fn open_all(planner: &mut Planner) {
    for (job, wanted) in (1..).zip(planner.jobs_wanted()) {
        planner.open(&wanted.target, JobId(job), &wanted.because);
    }
}

fn ready(changes: Vec<Change>) -> Vec<u64> {
    let ready = changes
        .into_iter()
        .filter(|(_, readiness)| *readiness == Readiness::Ready);
    ready.map(|(job, _)| job.0).collect()
}

fn wait_texts(planner: &Planner, recipe: &str) -> Vec<String> {
    planner
        .waits_for(&target(recipe))
        .into_iter()
        .map(|wait| wait.text)
        .collect()
}

#[test]
fn a_library_is_built_before_what_needs_it_and_then_in_its_root() {
    let mut planner = planner(&[
        recipe(
            "nano",
            &["pkgconfig(ncursesw)", "binary(sh)"],
            &["binary(nano)"],
        ),
        recipe("ncurses", &["binary(sh)"], &["pkgconfig(ncursesw)"]),
    ]);
    open_all(&mut planner);
    assert_eq!(ready(planner.settle(1000)), [2]);
    assert_eq!(
        wait_texts(&planner, "nano"),
        ["job 2 builds ncurses, which provides pkgconfig(ncursesw)"]
    );
    planner.change_index(
        &channel(),
        &[""; 0],
        &[meta(
            "ncurses",
            1,
            &["pkgconfig(ncursesw)"],
            &["binary(sh)"],
        )],
    );
    planner.close(&target("ncurses"));
    assert_eq!(ready(planner.settle(1000)), [1]);
    let closure = planner.closure(&target("nano")).unwrap();
    let names: Vec<_> = closure
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    assert_eq!(names, ["ncurses"]);
    assert!(planner.settle(1000).is_empty());
}

#[test]
fn what_nothing_provides_is_named_and_a_macro_alone_does_not_hold() {
    let mut planner = planner(&[
        recipe("one", &["pkgconfig(nosuch)"], &[]),
        recipe("two", &["%binary(autoconf)"], &[]),
    ]);
    open_all(&mut planner);
    assert_eq!(ready(planner.settle(1000)), [2]);
    let waits = planner.waits_for(&target("one"));
    assert_eq!(waits[0].kind, WaitKind::Dependency);
    assert_eq!(waits[0].text, "nothing provides pkgconfig(nosuch)");
    assert_eq!(planner.closure(&target("two")).unwrap().notes.len(), 1);
    // It comes, and the job is ready by itself.
    planner.change_index(
        &channel(),
        &[""; 0],
        &[meta("late", 1, &["pkgconfig(nosuch)"], &[])],
    );
    assert_eq!(ready(planner.settle(1000)), [1]);
}

#[test]
fn a_recipe_that_may_make_what_is_missing_is_named() {
    let mut hen = recipe("hen", &["binary(egg)"], &[]);
    hen.from_manifest = false;
    let mut planner = planner(&[recipe("egg", &["binary(hen)"], &[]), hen]);
    open_all(&mut planner);
    assert!(ready(planner.settle(1000)).is_empty());
    let waits = planner.waits_for(&target("egg"));
    assert_eq!(waits[0].kind, WaitKind::Dependency);
    assert_eq!(
        (waits[0].text.as_str(), waits[0].next.as_str()),
        (
            "nothing is known to provide binary(hen); recipe hen was never built and has no manifest that says what it makes",
            "commit the manifest of hen beside its recipe, or run `massif build hen`: what it makes is known afterwards"
        )
    );
    // Egg has a manifest, and its recipe makes no such program.
    assert_eq!(
        planner.waits_for(&target("hen"))[0].text,
        "nothing provides binary(egg)"
    );
}

#[test]
fn run_time_needs_of_build_needs_must_be_there_too() {
    let mut planner = planner(&[
        recipe("app", &["binary(tool)"], &[]),
        recipe("runtime", &[], &["soname(libr.so.1(x86_64))"]),
    ]);
    planner.set_index(
        &channel(),
        &[meta(
            "tool",
            1,
            &["binary(tool)"],
            &["soname(libr.so.1(x86_64))", "name(data)"],
        )],
    );
    open_all(&mut planner);
    assert_eq!(ready(planner.settle(1000)), [2]);
    assert_eq!(
        wait_texts(&planner, "app"),
        [
            "job 2 of runtime makes soname(libr.so.1(x86_64)), which package tool needs at run time",
            "nothing provides data, which package tool needs at run time"
        ]
    );
}

#[test]
fn a_cycle_is_cut_towards_what_is_published_and_else_names_what_it_needs() {
    let recipes = [
        recipe("egg", &["binary(hen)"], &["binary(egg)"]),
        recipe("hen", &["binary(egg)"], &["binary(hen)"]),
    ];
    let mut alone = planner(&recipes);
    open_all(&mut alone);
    assert!(ready(alone.settle(1000)).is_empty());
    let cycles = alone.cycles(&profile().name);
    assert_eq!(
        (cycles.len(), cycles[0].cuts.len(), cycles[0].cuts_min),
        (1, 1, 1)
    );
    assert_eq!(cycles[0].cuts[0].served_by, None);
    let stuck = cycles[0].cuts[0].recipe.clone();
    assert_eq!(alone.waits_for(&stuck)[0].kind, WaitKind::Bootstrap);
    // A seed comes in from outside: an older hen.
    alone.change_index(
        &channel(),
        &[""; 0],
        &[meta("hen", 0, &["binary(hen)"], &[])],
    );
    assert_eq!(ready(alone.settle(1000)), [1]);
    let cut = &alone.cycles(&profile().name)[0].cuts[0];
    assert_eq!(
        (cut.recipe.recipe.as_str(), cut.served_by),
        ("egg", Some(ServedBy::Published))
    );
}

#[test]
fn only_what_is_missing_or_newer_is_wanted() {
    let mut newer = recipe("newer", &[], &[]);
    newer.release = 3;
    let mut planner = planner(&[newer, recipe("same", &[], &[]), recipe("missing", &[], &[])]);
    planner.set_index(
        &channel(),
        &[meta("newer", 2, &[], &[]), meta("same", 1, &[], &[])],
    );
    let wanted: Vec<_> = planner
        .jobs_wanted()
        .into_iter()
        .map(|w| (w.target.recipe.to_string(), w.because))
        .collect();
    assert_eq!(
        wanted,
        [
            ("missing".to_string(), Because::Missing),
            ("newer".to_string(), Because::NewerRelease { published: 2 })
        ]
    );
}

#[test]
fn a_soname_that_goes_away_has_its_users_built_again() {
    let mut planner = planner(&[
        recipe("lib", &[], &["soname(libx.so.2(x86_64))"]),
        recipe("app", &[], &[]),
    ]);
    planner.set_index(
        &channel(),
        &[
            meta("lib", 1, &["soname(libx.so.1(x86_64))"], &[]),
            meta("app", 1, &[], &["soname(libx.so.1(x86_64))"]),
        ],
    );
    assert!(planner.jobs_wanted().is_empty());
    planner.change_index(
        &channel(),
        &[""; 0],
        &[meta("lib", 1, &["soname(libx.so.2(x86_64))"], &[])],
    );
    let wanted = planner.jobs_wanted();
    assert_eq!(wanted.len(), 1);
    assert_eq!(
        wanted[0].because,
        Because::DependencyChanged {
            what: "soname(libx.so.1(x86_64))".into()
        }
    );
}

#[test]
fn a_failed_job_holds_what_is_built_with_it_and_says_so() {
    let mut planner = planner(&[
        recipe("app", &["binary(lib)"], &[]),
        recipe("lib", &[], &["binary(lib)"]),
    ]);
    open_all(&mut planner);
    planner.settle(1000);
    planner.fail(&target("lib"));
    planner.settle(1000);
    assert_eq!(
        planner.waits_for(&target("app"))[0].kind,
        WaitKind::FailedJob
    );
    // Cancelled: nobody makes it any more.
    planner.close(&target("lib"));
    assert!(planner.settle(1000).is_empty());
    assert_eq!(planner.waits_for(&target("app"))[0].kind, WaitKind::Recipe);
}

#[test]
fn a_changed_recipe_keeps_its_job_and_a_removed_one_loses_it() {
    let app = recipe("app", &["binary(lib)"], &[]);
    let lib = recipe("lib", &[], &["binary(lib)"]);
    let mut planner = planner(&[app.clone(), lib.clone()]);
    open_all(&mut planner);
    planner.settle(1000);
    let mut changed = lib.clone();
    changed.release = 2;
    planner.set_catalog(&catalog(&[app.clone(), changed]));
    assert_eq!(
        wait_texts(&planner, "app"),
        ["job 2 builds lib, which provides binary(lib)"]
    );
    planner.set_catalog(&catalog(&[app]));
    planner.settle(1000);
    assert_eq!(
        planner.waits_for(&target("app"))[0].kind,
        WaitKind::Dependency
    );
}

mod random {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::Planner;
    use crate::recipe::Facts;

    /// Recipe `n` provides `binary(bN)` and needs some others.
    fn made(number: usize, needs: &[usize], release: u64) -> Facts {
        let needs: Vec<String> = needs
            .iter()
            .map(|need| format!("binary(b{need})"))
            .collect();
        let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
        let provides = format!("binary(b{number})");
        let mut facts = recipe(&format!("r{number}"), &needs, &[&provides]);
        facts.release = release;
        facts
    }

    fn all(recipes: &[Option<Facts>]) -> Vec<Facts> {
        recipes.iter().flatten().cloned().collect()
    }

    /// All that a farm would see of a planner.
    fn seen(planner: &Planner, recipes: &[Facts]) -> Vec<String> {
        let mut seen: Vec<String> = planner
            .jobs_wanted()
            .iter()
            .map(|w| format!("{w:?}"))
            .collect();
        for facts in recipes {
            let target = target(facts.name.as_str());
            seen.push(format!("{:?}", planner.edges_of(&target)));
            seen.push(format!("{:?}", planner.waits_for(&target)));
            seen.push(format!("{:?}", planner.closure(&target)));
        }
        seen
    }

    /// Opens what is wanted under the number that its name says.
    fn open_by_name(planner: &mut Planner) {
        for wanted in planner.jobs_wanted() {
            let number = wanted.target.recipe.as_str()[1..].parse().unwrap();
            planner.open(&wanted.target, JobId(number), &wanted.because);
        }
        planner.settle(2_000);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(120))]

        #[test]
        fn what_changed_step_by_step_is_what_a_new_start_finds(
            edits in prop::collection::vec(
                (0usize..12, any::<bool>(), prop::collection::vec(0usize..12, 0..4), 1u64..4), 1..25),
            published in prop::collection::vec((0usize..12, 1u64..4), 0..8),
        ) {
            let mut recipes: Vec<Option<Facts>> = vec![None; 12];
            let mut live = planner(&[]);
            let mut metas: Vec<crate::stone::Meta> = Vec::new();
            for (step, (number, there, needs, release)) in edits.iter().enumerate() {
                recipes[*number] = there.then(|| made(*number, needs, *release));
                live.set_catalog(&catalog(&all(&recipes)));
                if let Some((number, release)) = published.get(step) {
                    let provides = format!("binary(b{number})");
                    let meta = meta(&format!("r{number}"), *release, &[&provides], &[]);
                    live.change_index(&channel(), &[""; 0], std::slice::from_ref(&meta));
                    metas.retain(|other| other.name != meta.name);
                    metas.push(meta);
                }
                live.settle(2_000);
            }
            open_by_name(&mut live);
            let mut fresh = planner(&all(&recipes));
            fresh.set_index(&channel(), &metas);
            open_by_name(&mut fresh);
            prop_assert_eq!(seen(&live, &all(&recipes)), seen(&fresh, &all(&recipes)));
        }
    }
}
