//! `serve --drain-on-term`: the first SIGTERM lets builds end, the second one gives them back.

use crate::common::repo::Repo;
use crate::hosts::rig::{Node, Place};
use crate::ring::script_recipe;

/// All roles in one, as its owner's unit file starts it.
fn solo(place: &Place) -> Node {
    let mut node = place.host("solo");
    let roles = ["summit", "vessel", "avalanche"];
    let mut words = vec!["init"];
    roles.iter().for_each(|role| words.extend(["--role", role]));
    node.ok(&words);
    let words = [
        "serve",
        "--drain-on-term",
        "--slots",
        "2",
        "--listen",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--poll",
        "1s",
    ];
    node.arguments = words.map(str::to_string).to_vec();
    node.up();
    node
}

fn term(node: &Node) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(node.pid()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
}

#[test]
fn the_first_sigterm_drains_and_the_second_gives_back_what_still_runs() {
    let place = Place::new();
    let mut node = solo(&place);
    let mut repo = Repo::new();
    let endless = "build       : |\n    while sleep 0.2; do echo on; done\n";
    repo.write("l/long/stone.yaml", script_recipe("long", 1, endless));
    repo.commit("Add one");
    node.ok(&["project", "add", "test", &repo.url()]);
    node.building("long", "build");
    term(&node);
    let shown = node.until(&["call", "io.massif.Avalanche.Show"], |shown| {
        shown["builder"]["verdict"] == "draining"
    });
    assert!(shown.to_string().contains("the host drains"), "{shown:#}");
    // What is new waits, and is told why.
    repo.write("n/new/stone.yaml", script_recipe("new", 1, ""));
    repo.commit("Add another");
    node.ok(&["project", "refresh", "test"]);
    node.until(&["job", "list"], |jobs| {
        jobs.to_string().contains("\"new\"")
    });
    let why = node.ok(&["why", "new"]);
    assert!(why.contains("drains"), "{why}");
    let jobs = node.json(&["job", "list", "--state", "building"]);
    assert_eq!(jobs[0]["recipe"], "long", "{jobs:#}");
    term(&node);
    assert_eq!(node.died("draining"), None, "it ended by a signal");
    // The next one takes both up: what was given back cost no try of its recipe's.
    node.up();
    node.published("new");
    node.building("long", "build");
    let jobs = node.json(&["job", "list", "--state", "building"]);
    let attempts = jobs[0]["attempts"].as_array().unwrap();
    assert_eq!(attempts[0]["blame"], "builder", "{jobs:#}");
    node.ok(&["job", "cancel", "long"]);
    // With nothing to build the first one is enough.
    node.until(&["builder", "list"], |all| {
        all[0]["slots"][0]["job"].is_null()
    });
    term(&node);
    assert_eq!(node.died("draining"), None, "it ended by a signal");
}
