//! Builds on other hosts: what goes over the link arrives whole, and no link or host that goes away costs finished work.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::relay::{Relay, Weather};
use super::rig::{Node, Place, bytes};
use crate::common::host::GATE;
use crate::common::repo::Repo;
use crate::ring::script_recipe;

pub fn add(repo: &mut Repo, name: &str, extra: &str) {
    let path = format!("{}/{name}/stone.yaml", &name[..1]);
    repo.write(&path, script_recipe(name, 1, extra));
}

/// Opens the gates of this builder until it has nothing to build; it sees that also while summit is out of reach.
fn until_built(builder: &Node) {
    let mut opened = BTreeSet::new();
    builder.until(&["builder", "list"], |all| {
        builder.open_gates(&mut opened);
        !opened.is_empty() && all[0]["slots"][0]["job"].is_null()
    });
}

/// Opens the gates of this builder until a recipe is published.
fn published_by(crest: &Node, recipe: &str, builder: &Node) -> serde_json::Value {
    let mut opened = BTreeSet::new();
    crest.until(&["job", "show", recipe], |job| {
        builder.open_gates(&mut opened);
        matches!(job["state"].as_str(), Some("published" | "failed"))
    });
    crest.published(recipe)
}

/// Every job is published exactly once, from whole logs on both sides.
pub fn check_all(crest: &Node, builders: &[&Node]) {
    let jobs = crest.json(&["job", "list"]);
    for job in jobs.as_array().unwrap() {
        assert_eq!(job["state"], "published", "{job:#}\n{}", crest.log());
        let id = job["id"].to_string();
        let attempts = job["attempts"].as_array().unwrap();
        let published: Vec<_> = attempts
            .iter()
            .filter(|attempt| attempt["state"] == "published")
            .collect();
        assert_eq!(published.len(), 1, "{job:#}");
        let attempt = format!("{id}.{}", published[0]["try_no"]);
        let there = builders
            .iter()
            .map(|builder| builder.log_file(&attempt))
            .find(|path| path.exists())
            .unwrap_or_else(|| panic!("no builder has the log of {attempt}"));
        // Its last bytes may come after the packages.
        crest.wait(&format!("the log of {attempt} is the same"), || {
            std::fs::read(crest.log_file(&attempt)).unwrap_or_default() == bytes(&there)
        });
        assert!(!bytes(&there).is_empty());
        let shown = crest.ok(&["job", "log", &id]);
        assert!(!shown.is_empty());
    }
    let events = crest.events("published");
    assert_eq!(events.len(), jobs.as_array().unwrap().len(), "{events:#?}");
    let versions = crest.json(&["channel", "versions", "main"]);
    assert_eq!(versions.as_array().unwrap().len(), events.len() + 1);
    crest.ok(&["channel", "verify", "main"]);
}

#[test]
fn a_builder_of_another_host_builds_what_the_farm_publishes() {
    let place = Place::new();
    let crest = place.summit("30s");
    let mut repo = Repo::new();
    add(&mut repo, "alpha", GATE);
    let needs = "builddeps   :\n    - name(alpha)\n";
    add(&mut repo, "beta", needs);
    repo.commit("Add both");
    let began = Instant::now();
    let east = place.builder(&crest, "east", &[]);
    crest.ok(&["project", "add", "test", &repo.url()]);
    assert_eq!(crest.building("alpha", "build"), "east");
    // The tail is here while it is written there.
    let attempt = crest.attempt_of("alpha");
    let log = crest.log_file(&attempt);
    crest.wait("a live tail", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("at the gate\n"))
    });
    east.open_gate(&attempt);
    crest.published("alpha");
    // A stone of the farm goes to the builder over the link.
    crest.published("beta");
    println!(
        "from the invitation to the second package: {:?}",
        began.elapsed()
    );
    check_all(&crest, &[&east]);
    let attempts = crest.json(&["job", "show", "beta"])["attempts"].clone();
    assert_eq!(attempts[0]["builder"], "east", "{attempts:#}");
    let out = crest.dir.with_file_name("out");
    crest.ok(&["job", "artefacts", "alpha", "--out", out.to_str().unwrap()]);
    assert!(std::fs::read_dir(&out).unwrap().count() >= 3);
    let peer = crest.json(&["peer", "show", "east"]);
    let link = &peer["link"];
    assert!(link["round_trip_ms"].as_f64().unwrap() > 0.0, "{link:#}");
    assert!(link["received_bytes"].as_u64().unwrap() > 1_000, "{link:#}");
    assert_eq!(
        (&link["protocol"], &link["reconnects"]),
        (&"massif/1".into(), &0.into())
    );
    assert!(link["clock_offset_s"].as_f64().unwrap().abs() < 30.0);
    // What it was given is listed when it is revoked.
    let revoked = crest.json(&["peer", "revoke", "east", "--since", "1h"]);
    let made = revoked["made"].as_array().unwrap();
    assert_eq!(made.len(), 2, "{revoked:#}");
}

fn east_is(builders: &serde_json::Value, trust: &str) -> bool {
    let mut all = builders.as_array().unwrap().iter();
    all.any(|builder| builder["name"] == "east" && builder["trust"] == trust)
}

#[test]
fn a_builder_for_tests_gets_nothing_to_publish() {
    let place = Place::new();
    let crest = place.summit("30s");
    let east = place.builder(&crest, "east", &["--trust", "test"]);
    let mut repo = Repo::new();
    add(&mut repo, "alpha", "");
    repo.commit("Add alpha");
    crest.ok(&["project", "add", "test", &repo.url()]);
    crest.until(&["builder", "list"], |all| east_is(all, "test"));
    crest.until(&["job", "list"], |jobs| jobs[0]["state"] == "ready");
    std::thread::sleep(Duration::from_secs(2));
    let job = crest.json(&["job", "list"])[0].clone();
    assert_eq!(job["state"], "ready", "{job:#}");
    crest.ok(&["peer", "approve", "east", "--trust", "trusted"]);
    crest.published("alpha");
    check_all(&crest, &[&east]);
}

#[test]
fn a_summit_that_is_killed_finds_its_builds_finished() {
    let place = Place::new();
    let mut crest = place.summit("30s");
    let east = place.builder(&crest, "east", &[]);
    let mut repo = Repo::new();
    add(&mut repo, "alpha", GATE);
    repo.commit("Add alpha");
    crest.ok(&["project", "add", "test", &repo.url()]);
    crest.building("alpha", "build");
    crest.kill();
    until_built(&east);
    crest.up();
    let job = crest.published("alpha");
    assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job:#}");
    check_all(&crest, &[&east]);
}

#[test]
fn a_builder_that_is_killed_gives_its_work_to_another_within_the_lease() {
    let place = Place::new();
    let crest = place.summit("3s");
    let mut nodes = [
        place.builder(&crest, "east", &[]),
        place.builder(&crest, "west", &[]),
    ];
    let mut repo = Repo::new();
    add(&mut repo, "alpha", GATE);
    repo.commit("Add alpha");
    crest.ok(&["project", "add", "test", &repo.url()]);
    let busy = crest.building("alpha", "build");
    let (dead, lives) = if busy == "east" {
        (0, "west")
    } else {
        (1, "east")
    };
    nodes[dead].kill();
    let began = Instant::now();
    let job = crest.until(&["job", "show", "alpha"], |job| {
        job["attempts"]
            .as_array()
            .unwrap()
            .iter()
            .any(|attempt| attempt["builder"] == lives)
    });
    let after = began.elapsed();
    println!("builder gone to its work given out again: {after:?} with a lease of 3 s");
    // The usual lease would take longer, and a busy machine takes its time.
    assert!(after < Duration::from_secs(28), "{after:?}: {job:#}");
    published_by(&crest, "alpha", &nodes[1 - dead]);
    // It comes back, and what it had is of no use any more.
    nodes[dead].arguments = vec!["serve".into(), "--slots".into(), "1".into()];
    nodes[dead].up();
    crest.until_linked(&busy);
    check_all(&crest, &[&nodes[0], &nodes[1]]);
}

#[test]
fn a_partition_longer_than_the_lease_is_built_elsewhere_and_published_once() {
    let place = Place::new();
    let crest = place.summit("2s");
    let relay = Relay::to(crest.port, 7);
    let through = relay.address.to_string();
    let far = place.builder(&crest, "far", &["--address", &through]);
    let mut repo = Repo::new();
    add(&mut repo, "alpha", GATE);
    repo.commit("Add alpha");
    crest.ok(&["project", "add", "test", &repo.url()]);
    assert_eq!(crest.building("alpha", "build"), "far");
    let near = place.builder(&crest, "near", &[]);
    relay.cut(true);
    crest.until(&["job", "show", "alpha"], |job| {
        job["attempts"]
            .as_array()
            .unwrap()
            .iter()
            .any(|attempt| attempt["builder"] == "near")
    });
    // Both build it now. The far one ends first, and nobody can hear it.
    until_built(&far);
    published_by(&crest, "alpha", &near);
    relay.cut(false);
    crest.until_linked("far");
    // It is told that nobody wants its packages, and throws them away.
    let kept = || std::fs::read_dir(far.dir.join("attempts")).unwrap().count();
    far.wait("far throws its packages away", || kept() == 0);
    check_all(&crest, &[&far, &near]);
}

#[test]
fn a_link_survives_new_addresses_loss_disorder_and_short_cuts() {
    let place = Place::new();
    let crest = place.summit("30s");
    let relay = Relay::to(crest.port, 11);
    relay.weather(Weather {
        delay: Duration::from_millis(25),
        jitter: Duration::from_millis(20),
        lost_permille: 30,
        twice_permille: 30,
        ..Weather::default()
    });
    let through = relay.address.to_string();
    let far = place.builder(&crest, "far", &["--address", &through]);
    let mut repo = Repo::new();
    add(&mut repo, "alpha", GATE);
    repo.commit("Add alpha");
    crest.ok(&["project", "add", "test", &repo.url()]);
    crest.building("alpha", "build");
    relay.rebind();
    std::thread::sleep(Duration::from_secs(2));
    relay.cut(true);
    std::thread::sleep(Duration::from_secs(2));
    relay.cut(false);
    let job = published_by(&crest, "alpha", &far);
    assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job:#}");
    let link = crest.json(&["peer", "show", "far"])["link"].clone();
    assert_eq!(link["reconnects"], 0, "one link all the time: {link:#}");
    check_all(&crest, &[&far]);
}

#[test]
fn a_revoked_builder_s_work_goes_elsewhere() {
    let place = Place::new();
    let crest = place.summit("30s");
    let east = place.builder(&crest, "east", &[]);
    let mut repo = Repo::new();
    add(&mut repo, "alpha", GATE);
    repo.commit("Add alpha");
    crest.ok(&["project", "add", "test", &repo.url()]);
    crest.building("alpha", "build");
    let west = place.builder(&crest, "west", &[]);
    crest.ok(&["peer", "revoke", "east"]);
    let job = published_by(&crest, "alpha", &west);
    let attempts = job["attempts"].as_array().unwrap();
    assert_eq!(attempts.last().unwrap()["builder"], "west", "{job:#}");
    assert_eq!(attempts[0]["state"], "failed", "{job:#}");
    check_all(&crest, &[&east, &west]);
}
