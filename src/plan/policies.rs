//! What is decided about projects: which of them provides a name, and what is built again after a publication.

use super::sample::{catalog, channel, meta, planner, recipe, target};
use std::sync::Arc;

use super::*;
use crate::id::AttemptId;
use crate::model::Because;
use crate::recipe::Facts;

/// `top` is built with `mid`, which is built with `lib`; all published, and `lib` has a new release.
fn farm(rebuild: Rebuild, second_pass: bool) -> (Planner, Vec<Facts>) {
    let recipes = vec![
        recipe("lib", &[], &["binary(lib)"]),
        recipe("mid", &["binary(lib)"], &["binary(mid)"]),
        recipe("top", &["binary(mid)"], &[]),
    ];
    let mut planner = planner(&recipes);
    rules(&mut planner, rebuild, second_pass);
    planner.set_index(
        &channel(),
        &[
            meta("lib", 1, &["binary(lib)"], &[]),
            meta("mid", 1, &["binary(mid)"], &[]),
            meta("top", 1, &[], &[]),
        ],
    );
    planner.settle(1_000);
    (planner, recipes)
}

fn rules(planner: &mut Planner, rebuild: Rebuild, second_pass: bool) {
    let rules = ProjectRules {
        profiles: vec!["main".parse().unwrap()],
        chosen: Default::default(),
        priority: 0,
        rebuild,
        second_pass,
    };
    planner.set_project(&"p".parse().unwrap(), rules);
}

/// What is wanted, with why.
fn wanted(planner: &Planner) -> Vec<(String, String)> {
    let all = planner.jobs_wanted().into_iter();
    all.map(|wanted| (wanted.target.recipe.to_string(), wanted.because.text()))
        .collect()
}

/// Builds and publishes one recipe that is wanted.
fn publish(planner: &mut Planner, name: &str, release: u64, build_release: u64, provides: &[&str]) {
    let because = planner
        .jobs_wanted()
        .into_iter()
        .find(|wanted| wanted.target == target(name))
        .map_or(Because::Missing, |wanted| wanted.because);
    planner.open(
        &target(name),
        JobId(release * 100 + build_release),
        &because,
    );
    planner.settle(1_000);
    let rebuild = matches!(because, Because::DependencyChanged { .. });
    finish(planner, (name, release, build_release), rebuild, provides);
}

/// As the farm does it: what it is built with is told when it is given out.
fn finish(
    planner: &mut Planner,
    (name, release, build_release): (&str, u64, u64),
    rebuild: bool,
    provides: &[&str],
) {
    let attempt = AttemptId {
        job: JobId(release * 100 + build_release),
        try_no: 1,
    };
    let with = planner.with_of(&target(name), attempt);
    let build = (release, build_release);
    planner.made(&target(name), build, Arc::new(with), rebuild);
    let mut made = meta(name, release, provides, &[]);
    made.build_release = build_release;
    made.hash = Some(crate::id::Digest([build_release as u8 + 100; 32]));
    planner.change_index(&channel(), &[""; 0], &[made]);
    planner.close(&target(name));
    planner.settle(1_000);
}

fn with_new_lib(rebuild: Rebuild) -> Planner {
    let (mut planner, mut recipes) = farm(rebuild, false);
    assert_eq!(wanted(&planner), []);
    recipes[0].release = 2;
    planner.set_catalog(&catalog(&recipes));
    assert_eq!(wanted(&planner).len(), 1);
    publish(&mut planner, "lib", 2, 1, &["binary(lib)"]);
    planner
}

/// Two projects that provide the same name: `p` by its newer `one`, `q` by its older `two`.
fn two_providers() -> Planner {
    let mut newer = recipe("one", &[], &["binary(tool)"]);
    newer.release = 7;
    let user = recipe("user", &["binary(tool)"], &[]);
    let mut planner = planner(&[newer, user]);
    let mut other = catalog(&[recipe("two", &[], &["binary(tool)"])]);
    other.project = "q".parse().unwrap();
    prefer(&mut planner, 0);
    planner.set_catalog(&other);
    planner
}

/// Sets the priority of project `q`.
fn prefer(planner: &mut Planner, priority: i32) {
    let rules = ProjectRules {
        profiles: vec!["main".parse().unwrap()],
        chosen: Default::default(),
        priority,
        rebuild: Rebuild::Broken,
        second_pass: false,
    };
    planner.set_project(&"q".parse().unwrap(), rules);
    planner.settle(1_000);
}

#[test]
fn of_several_that_provide_a_name_the_project_of_the_highest_priority_is_taken_then_the_newest() {
    let mut planner = two_providers();
    let tools = [
        meta("one", 7, &["binary(tool)"], &[]),
        meta("two", 1, &["binary(tool)"], &[]),
    ];
    planner.set_index(&channel(), &tools);
    for (priority, taken) in [
        (0, "one"),
        (1, "two"),
        (-1, "one"),
        (1_000, "two"),
        (0, "one"),
    ] {
        prefer(&mut planner, priority);
        let edges = planner.edges_of(&target("user"));
        let providers = edges.iter().map(|edge| edge.provider.recipe.as_str());
        assert_eq!(providers.collect::<Vec<_>>(), [taken], "{priority}");
        let root = planner.closure(&target("user")).unwrap();
        let packages = root.packages.iter().map(|package| package.name.as_str());
        assert_eq!(packages.collect::<Vec<_>>(), [taken], "{priority}");
    }
}

#[test]
fn a_provider_that_is_preferred_is_waited_for_although_the_other_is_there() {
    let mut planner = two_providers();
    planner.set_index(&channel(), &[meta("one", 7, &["binary(tool)"], &[])]);
    let two = Target {
        project: "q".parse().unwrap(),
        ..target("two")
    };
    planner.open(&target("user"), JobId(1), &Because::Missing);
    planner.open(&two, JobId(2), &Because::Missing);
    planner.settle(1_000);
    assert_eq!(planner.waits_for(&target("user")), []);
    prefer(&mut planner, 1);
    let waits = planner.waits_for(&target("user"));
    assert!(
        waits.len() == 1 && waits[0].text.contains("two"),
        "{waits:?}"
    );
}

#[test]
fn by_default_and_with_none_a_provider_that_stays_the_same_has_nothing_built_again() {
    for rebuild in [Rebuild::Broken, Rebuild::None] {
        assert_eq!(wanted(&with_new_lib(rebuild)), [], "{rebuild:?}");
    }
}

#[test]
fn direct_builds_again_what_is_built_with_it_and_no_more() {
    let mut planner = with_new_lib(Rebuild::Direct);
    assert_eq!(wanted(&planner), [("mid".into(), "lib changed".into())]);
    publish(&mut planner, "mid", 1, 2, &["binary(mid)", "binary(new)"]);
    assert_eq!(wanted(&planner), []);
}

#[test]
fn transitive_goes_on_unless_what_lies_between_stays_the_same_and_says_so() {
    let mut planner = with_new_lib(Rebuild::Transitive);
    assert_eq!(wanted(&planner), [("mid".into(), "lib changed".into())]);
    assert_eq!(planner.spared(&target("top")), None);
    publish(&mut planner, "mid", 1, 2, &["binary(mid)"]);
    assert_eq!(wanted(&planner), []);
    assert_eq!(
        planner.spared(&target("top")).as_deref(),
        Some("mid was built again and provides the same names, so top was not")
    );

    let mut planner = with_new_lib(Rebuild::Transitive);
    publish(&mut planner, "mid", 1, 2, &["binary(mid)", "binary(new)"]);
    assert_eq!(wanted(&planner), [("top".into(), "mid changed".into())]);
    assert_eq!(planner.spared(&target("top")), None);
}

#[test]
fn what_follows_is_known_before_anything_is_built() {
    let (planner, _) = farm(Rebuild::Broken, false);
    let follows = planner.follows(&[target("lib")]);
    assert_eq!(
        follows.into_iter().collect::<Vec<_>>(),
        [(target("mid"), 1), (target("top"), 2)]
    );
}

#[test]
fn a_second_pass_builds_once_more_what_was_built_before_its_provider() {
    for second_pass in [false, true] {
        let mut recipes = vec![
            recipe("egg", &["binary(hen)"], &["binary(egg)"]),
            recipe("hen", &["binary(egg)"], &["binary(hen)"]),
        ];
        let mut planner = planner(&recipes);
        rules(&mut planner, Rebuild::Broken, second_pass);
        planner.set_index(
            &channel(),
            &[
                meta("egg", 1, &["binary(egg)"], &[]),
                meta("hen", 1, &["binary(hen)"], &[]),
            ],
        );
        for facts in &mut recipes {
            facts.release = 2;
        }
        planner.set_catalog(&catalog(&recipes));
        for (number, wanted) in (1..).zip(planner.jobs_wanted()) {
            planner.open(&wanted.target, JobId(number), &wanted.because);
        }
        planner.settle(1_000);
        let cut = planner.cycles(&"main".parse().unwrap())[0].cuts[0].clone();
        assert_eq!(cut.served_by, Some(ServedBy::Published));
        let (early, late) = (cut.recipe.recipe.as_str(), cut.provider.recipe.as_str());
        let made = |name: &str| format!("binary({name})");
        finish(&mut planner, (early, 2, 1), false, &[&made(early)]);
        assert_eq!(wanted(&planner), []);
        finish(&mut planner, (late, 2, 1), false, &[&made(late)]);
        let again = (
            early.to_string(),
            format!("{late}, which it was built before, changed"),
        );
        let expected = if second_pass { vec![again] } else { vec![] };
        assert_eq!(wanted(&planner), expected);
        if second_pass {
            // And not a third time.
            publish(&mut planner, early, 2, 2, &[&made(early)]);
            assert_eq!(wanted(&planner), []);
        }
    }
}

#[test]
fn a_start_knows_what_broke_by_something_deep_in_the_build_root() {
    // `top` asks for `mid` alone; `lib` comes with it, and what was built is linked with both.
    let recipes = vec![
        recipe("lib", &[], &["binary(old)"]),
        recipe("mid", &[], &["binary(mid)"]),
        recipe("top", &["binary(mid)"], &[]),
    ];
    let index = |release: u64, provides: &str| {
        [
            meta("lib", release, &[provides], &[]),
            meta("mid", 1, &["binary(mid)"], &["binary(old)"]),
            meta("top", 1, &[], &["binary(old)"]),
        ]
    };
    let attempt = AttemptId {
        job: JobId(7),
        try_no: 1,
    };
    let mut before = planner(&recipes);
    before.set_index(&channel(), &index(1, "binary(old)"));
    before.settle(1_000);
    let with = before.with_of(&target("top"), attempt);
    let named: Vec<&str> = with.with.iter().map(|with| with.recipe.as_str()).collect();
    assert_eq!(named, ["lib", "mid"]);

    // Nobody looked when the new lib came. It is no reason by itself; that a name is gone is one.
    for (provides, expected) in [("binary(old)", vec![]), ("binary(new)", vec!["mid", "top"])] {
        let mut recipes = recipes.clone();
        recipes[0].release = 2;
        recipes[0].packages[0].provides = super::sample::deps(&[provides]);
        let mut after = planner(&recipes);
        after.set_index(&channel(), &index(2, provides));
        for (name, with) in [("top", &with), ("mid", &with)] {
            after.made(&target(name), (1, 1), Arc::new(with.clone()), false);
        }
        after.settle(1_000);
        after.look_back();
        let found: Vec<String> = wanted(&after).into_iter().map(|(name, _)| name).collect();
        assert_eq!(found, expected, "{provides}");
    }
}
