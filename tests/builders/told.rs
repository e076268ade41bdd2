//! Builds that take what they should not, through a whole farm: whose doing it is, and what the operator is told.

use super::Small;
use super::farm::{add, farm, job_until, place};
use crate::common::farm::Farm;
use crate::common::repo::Repo;

const BUILDER: &str = "slot_memory_mib = 128\nslot_processes = 100\nsilence_s_max = 10\n[[profile]]\nname = \"small\"\nlog_bytes_max = 65536\n";

/// The first attempt of a recipe's job when it is over: blame, and why.
pub fn first_end(farm: &Farm, recipe: &str) -> (String, String) {
    let job = job_until(farm, recipe, |job| job["attempts"][0]["ended"].is_string());
    let attempt = &job["attempts"][0];
    let word = |key: &str| attempt[key].as_str().unwrap_or_default().to_string();
    println!("{recipe}: {} {}", word("blame"), word("why"));
    (word("blame"), word("why"))
}

#[test]
fn floods_bombs_hogs_and_what_will_not_die_are_told_apart() {
    let place = place();
    let farm = farm(&place.path().join("farm"), BUILDER, &["--slots", "2"]);
    let mut repo = Repo::new();
    let mut bad = |name: &str, script: &str| {
        add(&mut repo, name, &format!("build       : |\n{script}"));
    };
    bad(
        "flood",
        "    yes flood | head -c 20000000 || true\n    echo the very end\n    exit 3\n",
    );
    bad("bomb", "    while :; do sleep 545454 & done\n");
    bad(
        "hog",
        "    for i in 1 2 3 4; do\n        head -c 90M /dev/zero | tail -c 89M | (sleep 60; cat) > /dev/null &\n    done\n    wait\n",
    );
    // One process that is stopped by its own limit, which is higher than what all of a slot may have.
    bad(
        "gulp",
        "    head -c 900M /dev/zero | tail -c 899M > /dev/null\n",
    );
    bad(
        "stubborn",
        "    trap '' TERM HUP INT\n    setsid sleep 434341 &\n    (setsid sleep 434342 &)\n    sleep 434343\n",
    );
    repo.commit("Add five");
    farm.ok(&["project", "add", "test", &repo.url()]);

    let (blame, why) = first_end(&farm, "flood");
    assert_eq!(blame, "recipe");
    assert!(why.contains("ended with code 3"), "{why}");
    let log = farm.ok(&["job", "log", "flood"]);
    assert!(log.contains("log limit of 65536 bytes") && log.contains("the very end"));

    let (blame, why) = first_end(&farm, "bomb");
    assert_eq!(blame, "recipe");
    assert!(why.contains("as many as a slot may have"), "{why}");

    let (blame, why) = first_end(&farm, "hog");
    assert_eq!(blame, "builder");
    assert!(why.contains("128 MiB"), "{why}");
    // What was the builder's doing costs the job nothing yet.
    let hog = farm.json(&["job", "show", "hog"]);
    assert_ne!(hog["state"], "failed", "{hog:#}");
    farm.ok(&["job", "cancel", "hog"]);

    let (blame, why) = first_end(&farm, "gulp");
    assert_eq!(blame, "builder");
    assert!(why.contains("128 MiB"), "{why}");
    farm.ok(&["job", "cancel", "gulp"]);

    let (blame, why) = first_end(&farm, "stubborn");
    assert_eq!(blame, "recipe");
    assert!(why.contains("stalled"), "{why}");
    let shown = farm.ok(&["why", "stubborn"]);
    for part in ["sleep 434341", "sleep 434342", "sleep 434343"] {
        assert!(shown.contains(part), "{part} is not in:\n{shown}");
    }
    assert!(!super::runs("sleep 43434") && !super::runs("sleep 545454"));

    // The host is well.
    add(&mut repo, "good", "");
    repo.commit("Add a good one");
    farm.ok(&["project", "refresh", "test"]);
    farm.published("good");
}

#[test]
fn a_full_inode_table_is_the_builders_doing_and_said_so() {
    let place = place();
    let dir = place.path().join("farm");
    let options = "size=64m,nr_inodes=3000,mode=755";
    let Some(_small) = Small::mount(&dir.join("attempts"), options) else {
        return;
    };
    let farm = farm(&dir, "disk_floor_mib = 8\ninode_floor = 40\n", &[]);
    let mut repo = Repo::new();
    let fill =
        "build       : |\n    i=0\n    while : > file$i; do i=$((i + 1)); done\n    exit 1\n";
    add(&mut repo, "many", fill);
    repo.commit("Add one");
    farm.ok(&["project", "add", "test", &repo.url()]);
    let (blame, why) = first_end(&farm, "many");
    assert_eq!(blame, "builder");
    assert!(why.contains("full") || why.contains("no room"), "{why}");
    let job = farm.json(&["job", "show", "many"]);
    assert_ne!(job["state"], "failed", "{job:#}");
    farm.ok(&["job", "cancel", "many"]);
    // Its files are gone with it, and the builder takes work again.
    farm.until(&["builder", "show", "east"], |east| {
        east["verdict"] == "fit"
    });
    add(&mut repo, "few", "");
    repo.commit("Add another");
    farm.ok(&["project", "refresh", "test"]);
    farm.published("few");
}

#[test]
fn what_fails_by_its_upstreams_doing_is_tried_again_but_not_for_ever() {
    let place = place();
    let farm = farm(&place.path().join("farm"), "", &[]);
    let wrong = place.path().join("wrong.tar");
    std::fs::write(&wrong, "not what was promised").unwrap();
    let mut repo = Repo::new();
    let upstreams = format!(
        "upstreams   :\n    - file://{} : {}\n",
        wrong.display(),
        "ab".repeat(32)
    );
    add(&mut repo, "promised", &upstreams);
    repo.commit("Add one");
    farm.ok(&["project", "add", "test", &repo.url()]);
    let job = farm.done("promised");
    assert_eq!(job["state"], "failed", "{job:#}");
    let attempts = job["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 3, "{job:#}");
    for attempt in attempts {
        assert_eq!(attempt["blame"], "upstream", "{job:#}");
    }
    let why = farm.ok(&["why", "promised"]);
    assert!(why.contains("wrong.tar"), "{why}");
}
