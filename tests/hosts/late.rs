//! What comes too late, by a wrong clock, or from a copy of a host.

use massif::id::Digest;
use massif::model::{Artefact, ArtefactKind, BlobRef, Outcome, Role, Say, Usage};

use super::building::{add, check_all};
use super::liars::{ordered, tell};
use super::lying::{endpoint, joined, line, link, runtime};
use super::rig::Place;
use crate::common::clock;
use crate::common::repo::Repo;
use crate::ring::script_recipe;

#[test]
fn an_attempt_that_was_lost_is_not_taken_when_its_builder_comes_with_it_after_all() {
    let place = Place::new();
    let crest = place.summit("2s");
    let line = line(&crest, "late", &[]);
    let mut repo = Repo::new();
    add(&mut repo, "alpha", "");
    repo.commit("Add alpha");
    let dir = tempfile::tempdir().unwrap();
    crest.ok(&["project", "add", "test", &repo.url()]);
    let artefacts = vec![Artefact {
        name: "alpha-1.1-1-1-x86_64.stone".into(),
        kind: ArtefactKind::Stone,
        blob: BlobRef {
            sha256: Digest([3; 32]),
            size: 3,
        },
    }];
    runtime().block_on(async {
        let endpoint = endpoint(dir.path());
        joined(&endpoint, &line).await;
        let mut late = link(&endpoint, &line).await;
        // It takes the order and is not heard of again, until somebody else has done the work.
        let attempt = ordered(&mut late).await.attempt;
        let _honest = place.builder(&crest, "honest", &[]);
        let job = crest.published("alpha");
        let first = &job["attempts"][0];
        assert_eq!(
            (&first["builder"], &first["state"]),
            (&"late".into(), &"failed".into()),
            "{job:#}"
        );
        let outcome = Outcome::Built {
            artefacts: artefacts.clone(),
            usage: Usage::default(),
        };
        tell(&mut late, Role::Summit, Say::Ended { attempt, outcome }).await;
        tell(&mut late, Role::Vessel, Say::Offer { attempt, artefacts }).await;
        let key = format!("late (key {})", endpoint.id().short());
        let its = || {
            let events = crest.events("peer_not_taken").into_iter();
            events
                .filter(|event| event["actor"] == key)
                .collect::<Vec<_>>()
        };
        // Its acceptance, too, if that was late.
        crest.wait("both are refused", || its().len() >= 2);
        for event in its() {
            assert!(event["text"].as_str().unwrap().contains("which is over"));
        }
        endpoint.close().await;
    });
    let job = crest.published("alpha");
    let states: Vec<&str> = job["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| attempt["state"].as_str().unwrap())
        .collect();
    assert_eq!(states.last(), Some(&"published"), "{job:#}");
    assert_eq!(crest.events("published").len(), 1);
    assert_eq!(crest.events("peer_misbehaved").len(), 0);
}

#[test]
fn three_hosts_whose_clocks_are_two_days_apart_build_and_publish() {
    let place = Place::new();
    let work = tempfile::tempdir().unwrap();
    let off = |seconds: i64| {
        let library = clock::library(work.path(), seconds);
        vec![("LD_PRELOAD".to_string(), library.display().to_string())]
    };
    const DAY_S: i64 = 86_400;
    let mut crest = place.summit_alone("30s");
    let keep = place.vessel_in(&crest, "keep", off(DAY_S));
    let mut east = place.builder_in(&crest, "east", &[], off(-DAY_S + 1_800));
    let mut repo = Repo::new();
    add(&mut repo, "alpha", "");
    add(&mut repo, "beta", "builddeps   :\n    - name(alpha)\n");
    repo.commit("Add both");
    crest.ok(&["project", "add", "test", &repo.url()]);
    crest.published("alpha");
    crest.published("beta");
    // It is said, with the numbers.
    let status = crest.until(&["status"], |status| {
        let alarms = status["alarms"].as_array().unwrap().iter();
        alarms.filter(|alarm| alarm["kind"] == "clock_off").count() == 2
    });
    let text = status["alarms"].to_string();
    // A busy machine takes a while from reading its clock to being heard.
    let day = |apart_s: i32| text.contains(&format!("{apart_s} s off"));
    assert!((85_800..=86_430).any(day), "{text}");
    let peer = keep.json(&["peer", "list"]);
    assert_eq!(peer.as_array().unwrap().len(), 2, "{peer:#}");
    // Restarts do not care either, nor does a lease.
    crest.kill();
    crest.up();
    east.stop();
    east.serves();
    east.up();
    // The order may be out before vessel has heard of it.
    add(&mut repo, "gamma", "");
    repo.commit("Add gamma");
    let job = crest.published("gamma");
    assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job:#}");
    keep.ok(&["channel", "verify", "main"]);
}

#[test]
fn two_hosts_from_one_backup_are_one_host_and_a_refused_stranger() {
    let place = Place::new();
    let crest = place.summit("30s");
    let mut east = place.builder(&crest, "east", &[]);
    east.stop();
    let twin_dir = east.dir.with_file_name("twin");
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([&east.dir, &twin_dir])
        .status();
    assert!(copied.unwrap().success());
    let serve = ["serve", "--slots", "1"].map(str::to_string).to_vec();
    let mut twin = place.host("twin");
    for node in [&mut east, &mut twin] {
        node.arguments = serve.clone();
        node.up();
    }
    crest.until_event("peer_misbehaved", "has the same key");
    // The one that is refused is told why, by name of the cure.
    let told = |node: &super::rig::Node| {
        let status = node.json(&["status"])["alarms"].to_string();
        status.contains("another host with the same key is linked already")
    };
    crest.wait("one of them is told", || told(&east) || told(&twin));
    let mut repo = Repo::new();
    for name in ["alpha", "beta"] {
        repo.write(
            &format!("{}/{name}/stone.yaml", &name[..1]),
            script_recipe(name, 1, ""),
        );
    }
    repo.commit("Add two");
    crest.ok(&["project", "add", "test", &repo.url()]);
    for name in ["alpha", "beta"] {
        let job = crest.published(name);
        assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job:#}");
    }
    check_all(&crest, &[&east, &twin]);
}
