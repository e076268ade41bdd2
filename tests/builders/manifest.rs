//! A build under way, and commits to its recipe's directory.

use super::farm::{add, farm, job_until, place};
use crate::common::repo::Repo;
use crate::native::arch;

#[test]
fn a_commit_that_brings_only_manifests_leaves_a_running_build_alone_and_a_new_release_does_not() {
    let place = place();
    let farm = farm(&place.path().join("farm"), "", &["--slots", "2"]);
    let mut repo = Repo::new();
    let endless = "build       : |\n    while sleep 0.2; do echo on; done\n";
    add(&mut repo, "long", endless);
    repo.commit("Add one");
    farm.ok(&["project", "add", "test", &repo.url()]);
    let first = job_until(&farm, "long", |job| job["attempts"][0]["phase"] == "build");
    for (round, marker) in ["one", "two"].into_iter().enumerate() {
        for ending in ["bin", "jsonc"] {
            let path = format!("l/long/manifest.{}.{ending}", arch());
            repo.write(&path, format!("of round {round}"));
        }
        add(&mut repo, marker, "");
        repo.commit("Add a manifest");
        farm.ok(&["project", "refresh", "test"]);
        // The commit was read: what came with it is built.
        farm.published(marker);
        let now = job_until(&farm, "long", |_| true);
        assert_eq!(now["id"], first["id"], "{now:#}");
        assert_eq!(now["state"], "building", "{now:#}");
        assert_eq!(now["attempts"].as_array().unwrap().len(), 1, "{now:#}");
    }
    repo.write(
        "l/long/stone.yaml",
        crate::ring::script_recipe("long", 2, ""),
    );
    repo.commit("Raise it");
    farm.ok(&["project", "refresh", "test"]);
    let second = farm.published("long");
    assert_ne!(second["id"], first["id"]);
    let old = farm.json(&["job", "show", &first["id"].to_string()]);
    assert_eq!(old["state"], "superseded", "{old:#}");
    // What was published is not said to have changed since, when only its manifest comes after it.
    repo.write(&format!("l/long/manifest.{}.bin", arch()), "of the second");
    add(&mut repo, "three", "");
    repo.commit("Add its manifest");
    farm.ok(&["project", "refresh", "test"]);
    farm.published("three");
    let why = farm.ok(&["why", "long"]);
    assert!(!why.contains("directory changed"), "{why}");
}
