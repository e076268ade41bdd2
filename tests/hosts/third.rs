//! Three hosts: one decides, one publishes, one builds. Who belongs to the farm is the first one's word.

use std::time::{Duration, Instant};

use super::building::add;
use super::rig::{Node, PATIENCE, Place};
use crate::common::repo::Repo;

/// Waits until a host knows a peer, linked or not.
fn until_linked(node: &Node, peer: &str, up: bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let all = node.json(&["peer", "list"]);
        let is = all
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["name"] == peer && one["link"]["up"] == up);
        if is {
            return;
        }
        assert!(Instant::now() < deadline, "{peer}: {all:#}\n{}", node.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn stones(node: &Node) -> usize {
    fn walk(dir: &std::path::Path) -> usize {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let count = |entry: std::fs::DirEntry| match entry.file_type().unwrap().is_dir() {
            true => walk(&entry.path()),
            false => usize::from(entry.path().extension().is_some_and(|is| is == "stone")),
        };
        entries.map(count).sum()
    }
    walk(&node.dir.join("public"))
}

#[test]
fn summit_vessel_and_builder_are_three_hosts() {
    let place = Place::new();
    let mut crest = place.summit_alone("30s");
    let mut keep = place.vessel(&crest, "keep");
    let east = place.builder(&crest, "east", &[]);
    let again = crest.run(&["invite", "--role", "vessel"]);
    assert_eq!(again.status.code(), Some(5), "a farm has one vessel");
    // The builder learns from the list where to deliver, and vessel whom to let in.
    until_linked(&east, "keep", true);
    until_linked(&keep, "east", true);

    let mut repo = Repo::new();
    add(&mut repo, "alpha", "");
    add(&mut repo, "beta", "builddeps   :\n    - name(alpha)\n");
    repo.commit("Add both");
    crest.ok(&["project", "add", "test", &repo.url()]);
    crest.published("alpha");
    // What it needs comes from vessel.
    crest.published("beta");
    assert_eq!((stones(&keep), stones(&crest)), (2, 0));
    keep.ok(&["channel", "verify", "main"]);
    let there = crest.run(&["channel", "verify", "main"]);
    let said = String::from_utf8_lossy(&there.stderr).into_owned();
    assert!(said.contains("kept by keep"), "{said}");
    let versions = |node: &Node| {
        let all = node.json(&["channel", "versions", "main"]);
        all.as_array().unwrap().len()
    };
    assert_eq!((versions(&keep), versions(&crest)), (3, 3));

    // Both go, in the middle of a build, and come back in the other order.
    let slow = "build       : |\n    for i in 1 2 3 4; do echo line $i; sleep 1; done\n";
    add(&mut repo, "gamma", slow);
    repo.commit("Add gamma");
    crest.building("gamma", "build");
    keep.kill();
    crest.kill();
    std::thread::sleep(Duration::from_secs(1));
    crest.up();
    keep.up();
    let job = crest.published("gamma");
    assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job:#}");
    keep.ok(&["channel", "verify", "main"]);
    assert_eq!((versions(&keep), versions(&crest)), (4, 4));
    assert_eq!(crest.events("published").len(), 3);

    // A revocation reaches the third host, and stays there when it starts anew.
    crest.ok(&["peer", "revoke", "east"]);
    until_linked(&keep, "east", false);
    let row = keep.json(&["peer", "show", "east"]);
    assert_eq!(row["state"], "revoked", "{row:#}");
    crest.stop();
    keep.kill();
    keep.up();
    let row = keep.json(&["peer", "show", "east"]);
    assert_eq!(row["state"], "revoked", "{row:#}");
}
