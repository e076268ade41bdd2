//! `massif try` on a builder that is another host: its log and what it made come back to the one who asked.

use std::time::{Duration, Instant};

use super::other::{local, stones};
use crate::hosts::rig::{Node, PATIENCE, Place};

fn is_tidy(node: &Node) -> bool {
    let attempts = std::fs::read_dir(node.dir.join("attempts"));
    attempts.map_or(0, Iterator::count) == 0
}

#[test]
fn what_another_host_makes_of_a_try_comes_back_with_its_log_and_nothing_is_left() {
    let place = Place::new();
    let crest = place.summit("60s");
    let east = place.builder(&crest, "east", &[]);
    crest.until(&["builder", "list"], |all| {
        let mut all = all.as_array().unwrap().iter();
        all.any(|builder| builder["name"] == "east" && builder["verdict"] == "fit")
    });
    let work = tempfile::tempdir().unwrap();
    let (dir, out) = (work.path().join("mine"), work.path().join("out"));
    let build =
        "build       : |\n    for i in 1 2 3; do echo line $i of %(name); sleep 0.2; done\n";
    local(&dir, "mine", build);
    let (dir, out) = (dir.to_str().unwrap(), out.to_str().unwrap());
    let said = crest.ok(&["try", dir, "--on", "east", "--out", out]);
    for part in ["line 1 of mine", "line 3 of mine", "made "] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert_eq!(stones(std::path::Path::new(out)).len(), 1, "{said}");
    assert_eq!(crest.json(&["job", "list"]), serde_json::json!([]));
    let versions = crest.json(&["channel", "versions", "main"]);
    assert_eq!(versions.as_array().unwrap().len(), 1, "{versions:#}");

    let build = "build       : |\n    echo it breaks\n    exit 4\n";
    local(std::path::Path::new(dir), "mine", build);
    let said = crest.code(1, &["try", dir]);
    assert!(
        said.contains("it breaks") && said.contains("by recipe"),
        "{said}"
    );
    let deadline = Instant::now() + PATIENCE;
    while !is_tidy(&crest) || !is_tidy(&east) {
        assert!(Instant::now() < deadline, "attempts are left");
        std::thread::sleep(Duration::from_millis(50));
    }
}
