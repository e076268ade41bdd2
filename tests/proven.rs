//! Publication that waits for proof: a channel may ask that other builders come to the same first. What waits says for what;
//! what is wrong is never published.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::repo::Repo;
use crate::hosts::rig::{Node, PATIENCE, Place};
use crate::proof::{add, here, honest, lies, made_by_make, other_make, packed};

/// Waits until a job of a recipe is built and waits for a match with these words; the job.
fn until_kept(crest: &Node, recipe: &str, words: &str) -> Value {
    let is_kept = |job: &Value| {
        let mut waits = job["waits_for"].as_array().unwrap().iter();
        job["recipe"] == recipe
            && job["state"] == "publishing"
            && waits.any(|wait| {
                wait["kind"] == "match" && wait["text"].as_str().unwrap().contains(words)
            })
    };
    let jobs = crest.until(&["job", "list"], |jobs| {
        jobs.as_array().unwrap().iter().any(is_kept)
    });
    let mut all = jobs.as_array().unwrap().iter();
    all.find(|job| is_kept(job)).unwrap().clone()
}

fn packages(crest: &Node) -> usize {
    let all = crest.json(&["package", "list"]);
    all.as_array().unwrap().len()
}

#[test]
fn nothing_is_published_before_another_builder_comes_to_the_same_and_too_few_say_so() {
    let mut repo = Repo::new();
    add(&mut repo, "alpha", honest("alpha", ""));
    let place = Place::new();
    let mut crest = place.summit("30s");
    let mut east = place.builder(&crest, "east", &[]);
    crest.until(&["builder", "list"], |all| here(all, &["east"]));
    let policy = crest.json(&["channel", "policy", "main"]);
    assert_eq!(
        (&policy["require_match"], &policy["lacks"]),
        (&0.into(), &Value::Null),
        "{policy:#}"
    );
    let refused = crest.code(2, &["channel", "policy", "main", "--require-match", "9"]);
    assert!(refused.contains("0 to 8"), "{refused}");
    let said = crest.ok(&["channel", "policy", "main", "--require-match", "1"]);
    assert!(
        said.contains("too few builders: one builder can build for profile default now"),
        "{said}"
    );
    crest.ok(&["project", "add", "test", &repo.url()]);
    let job = until_kept(&crest, "alpha", "too few builders");
    let why = crest.ok(&["why", "alpha"]);
    assert!(
        why.contains("another builder comes to the same") && why.contains("massif invite"),
        "{why}"
    );
    let list = crest.ok(&["job", "list"]);
    assert!(list.contains("publishing"), "{list}");
    crest.until(&["status"], |status| {
        let mut alarms = status["alarms"].as_array().unwrap().iter();
        alarms.any(|one| one["kind"] == "channel_too_few_builders" && one["subject"] == "main")
    });
    assert_eq!(packages(&crest), 0);
    // What is kept survives both: its builder goes, and the host that keeps it is killed.
    east.kill();
    crest.kill();
    crest.up();
    until_kept(&crest, "alpha", "too few builders");
    let _west = place.builder(&crest, "west", &["--trust", "test"]);
    let done = crest.published("alpha");
    assert_eq!(
        (&done["id"], &done["attempts"][0]["builder"]),
        (&job["id"], &"east".into()),
        "{done:#}"
    );
    assert_eq!(done["attempts"].as_array().unwrap().len(), 1, "{done:#}");
    assert_eq!(done["waits_for"], serde_json::json!([]), "{done:#}");
    let made = crest.json(&["compare", "list"])["comparisons"][0].clone();
    assert_eq!(
        (&made["builder"], &made["judgement"]),
        (&"west".into(), &"match".into()),
        "{made:#}"
    );
    assert!(packages(&crest) > 0);
    crest.ok(&["channel", "verify", "main"]);
    crest.ok(&["store", "check"]);
}

#[test]
fn what_a_liar_made_is_never_published_where_a_match_is_required() {
    let mut repo = Repo::new();
    add(&mut repo, "alpha", honest("alpha", ""));
    let recipe = packed(&repo, "alpha");
    let place = Place::new();
    let crest = place.summit("30s");
    let liar = place.builder(&crest, "liar", &[]);
    lies(&liar, &recipe);
    crest.ok(&["channel", "policy", "main", "--require-match", "1"]);
    crest.ok(&["project", "add", "test", &repo.url()]);
    until_kept(&crest, "alpha", "another builder");
    let _east = place.builder(&crest, "east", &[]);
    let _west = place.builder(&crest, "west", &["--trust", "test"]);
    crest.until_event("builder_convicted", "wrong alone about alpha");
    let done = crest.published("alpha");
    let attempts = done["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 2, "{done:#}");
    assert_eq!(
        (&attempts[0]["builder"], &attempts[1]["builder"]),
        (&"liar".into(), &"east".into()),
        "{done:#}"
    );
    // One version holds it, and it is the honest one.
    let versions = crest.json(&["channel", "versions", "main"]);
    assert_eq!(versions.as_array().unwrap().len(), 2, "{versions:#}");
    let liar = crest.json(&["builder", "show", "liar"]);
    assert_eq!(liar["proof"]["unproven"], serde_json::json!([]), "{liar:#}");
    crest.ok(&["store", "check"]);
}

#[test]
fn what_comes_out_differently_waits_and_is_published_when_nothing_is_asked_any_more() {
    let mut repo = Repo::new();
    let dated = honest("dated", "").replace(
        "echo honest release",
        "date --rfc-3339=ns > %(installroot)%(datadir)/dated/when ; echo honest release",
    );
    add(&mut repo, "dated", dated);
    let place = Place::new();
    let crest = place.summit("30s");
    let _east = place.builder(&crest, "east", &[]);
    let _west = place.builder(&crest, "west", &[]);
    crest.ok(&["channel", "policy", "main", "--require-match", "1"]);
    crest.ok(&["project", "add", "test", &repo.url()]);
    until_kept(&crest, "dated", "every builder that can build it has said");
    // A third opinion: it is the recipe's nature.
    let _north = place.builder(&crest, "north", &[]);
    until_kept(&crest, "dated", "it comes out differently each time");
    let why = crest.ok(&["why", "dated"]);
    assert!(why.contains("--require-match 0"), "{why}");
    assert_eq!(packages(&crest), 0);
    crest.ok(&["channel", "policy", "main", "--require-match", "0"]);
    crest.published("dated");
    // What is kept and not wanted any more is forgotten.
    crest.ok(&["channel", "policy", "main", "--require-match", "5"]);
    add(&mut repo, "beta", honest("beta", ""));
    let job = until_kept(&crest, "beta", "too few builders");
    crest.ok(&["job", "cancel", &job["id"].to_string()]);
    let deadline = Instant::now() + PATIENCE;
    while crest
        .run(&["job", "artefacts", &job["id"].to_string()])
        .status
        .success()
    {
        assert!(Instant::now() < deadline, "{job:#}");
        std::thread::sleep(Duration::from_millis(50));
    }
    crest.ok(&["store", "check"]);
}

#[test]
fn what_differs_on_another_base_is_no_match_and_waits_for_a_builder_with_the_same() {
    let mut repo = Repo::new();
    add(&mut repo, "alpha", made_by_make("alpha"));
    let place = Place::new();
    let crest = place.summit("30s");
    let _east = place.builder(&crest, "east", &[]);
    // It may not publish, so that the other one builds it first.
    let west = place.builder(&crest, "west", &["--trust", "test"]);
    other_make(&west, "99.1");
    crest.until(&["builder", "list"], |all| here(all, &["east", "west"]));
    crest.ok(&["channel", "policy", "main", "--require-match", "1"]);
    crest.ok(&["project", "add", "test", &repo.url()]);
    until_kept(&crest, "alpha", "on another base");
    let why = crest.ok(&["why", "alpha"]);
    assert!(why.contains("a builder with the tools of east"), "{why}");
    assert_eq!(packages(&crest), 0);
    // That proves nothing, and so it does not count for or against who differs.
    let shown = crest.json(&["builder", "show", "west"]);
    assert_eq!(shown["verdict"], "fit", "{shown:#}");
    assert_eq!(shown["proof"]["score"]["matches"], 0, "{shown:#}");
    assert_eq!(shown["proof"]["score"]["undecided"], 0, "{shown:#}");
    let _north = place.builder(&crest, "north", &["--trust", "test"]);
    crest.published("alpha");
    let score = |name: &str| {
        let shown = crest.json(&["builder", "show", name]);
        shown["proof"]["score"]["matches"].clone()
    };
    assert_eq!(
        [score("east"), score("north"), score("west")],
        [1, 1, 0].map(Value::from)
    );
    crest.ok(&["store", "check"]);
}
