//! Whose doing a failure is, with several real hosts: the same recipe failing on two of them is the recipe's, many recipes
//! failing on one of them is the host's.

use std::time::{Duration, Instant};

use super::rig::{Node, PATIENCE, Place};
use crate::common::repo::Repo;
use crate::ring::script_recipe;

/// What a slot of a small builder may take.
const SMALL: &str = "[builder]\nslot_memory_mib = 96\n";

/// A recipe whose processes take some 200 MiB together, each of them little.
fn add_hungry(repo: &mut Repo, name: &str) {
    let build = "build       : |\n    for i in $(seq 12); do\n        (x=$(head -c 16M /dev/zero | tr '\\0' x); while sleep 1; do : $x; done) &\n    done\n    wait\n";
    let path = format!("{}/{name}/stone.yaml", &name[..1]);
    repo.write(&path, script_recipe(name, 1, build));
}

/// Enough for what nobody measured yet, and little enough to be told from other builders.
const MIDDLING: &str = "[builder]\nslot_memory_mib = 640\n";

/// A recipe that meets a bad disk wherever a process may have no more memory than on a middling builder.
fn add_unlucky(repo: &mut Repo, name: &str) {
    let build = "build       : |\n    limit=$(ulimit -d)\n    if [ \"$limit\" != unlimited ] && [ \"$limit\" -lt 2000000 ]; then\n        echo 'cp: error reading data: Input/output error'\n        exit 1\n    fi\n";
    let path = format!("{}/{name}/stone.yaml", &name[..1]);
    repo.write(&path, script_recipe(name, 1, build));
}

pub fn configure(node: &Node, name: &str, builder: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(&node.dir).unwrap();
    std::fs::set_permissions(&node.dir, std::fs::Permissions::from_mode(0o711)).unwrap();
    let text = format!(
        "name = \"{name}\"\nroles = [\"avalanche\"]\nlisten = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n{builder}"
    );
    std::fs::write(node.dir.join("massif.toml"), text).unwrap();
}

/// A new builder with this `[builder]` in its configuration.
pub fn builder(place: &Place, crest: &Node, name: &str, config: &str) -> Node {
    let line = crest.invite("avalanche", name, &[]);
    let mut node = place.host(name);
    configure(&node, name, config);
    node.join(&line);
    crest.until_linked(name);
    crest.until(&["builder", "list"], |all| verdict(all, name) == "fit");
    node
}

fn verdict(builders: &serde_json::Value, name: &str) -> String {
    let mut all = builders.as_array().unwrap().iter();
    let found = all.find(|builder| builder["name"] == name);
    found.map_or_else(String::new, |found| {
        found["verdict"].as_str().unwrap().into()
    })
}

fn newest(jobs: &serde_json::Value, recipe: &str) -> serde_json::Value {
    let mut all = jobs.as_array().unwrap().iter();
    all.find(|job| job["recipe"] == recipe)
        .cloned()
        .unwrap_or_default()
}

#[test]
fn a_recipe_that_fails_by_the_builders_doing_on_two_hosts_is_the_recipes() {
    let place = Place::new();
    let crest = place.summit("60s");
    let _both = [
        builder(&place, &crest, "east", SMALL),
        builder(&place, &crest, "west", SMALL),
    ];
    let mut repo = Repo::new();
    add_hungry(&mut repo, "hungry");
    repo.commit("Add one");
    crest.ok(&["project", "add", "test", &repo.url()]);
    let jobs = crest.until(&["job", "list"], |jobs| {
        newest(jobs, "hungry")["state"] == "failed"
    });
    let job = newest(&jobs, "hungry");
    let attempts = job["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 2, "{job:#}");
    assert_ne!(attempts[0]["builder"], attempts[1]["builder"], "{job:#}");
    let blames = [&attempts[0]["blame"], &attempts[1]["blame"]];
    assert_eq!(
        blames,
        [&serde_json::json!("builder"), &serde_json::json!("recipe")],
        "{job:#}"
    );
    let why = crest.ok(&["why", "hungry"]);
    assert!(why.contains("96 MiB"), "{why}");
}

#[test]
fn a_host_on_which_one_recipe_after_the_other_fails_is_stopped_tested_and_let_go() {
    let place = Place::new();
    let crest = place.summit("60s");
    let _west = builder(&place, &crest, "west", "");
    let mut repo = Repo::new();
    add_unlucky(&mut repo, "first");
    repo.commit("Add one");
    crest.ok(&["project", "add", "test", &repo.url()]);
    crest.published("first");
    // Its disk cannot be read, which it does not know itself, and it is alone for a while.
    let mut east = builder(&place, &crest, "east", MIDDLING);
    crest.ok(&["builder", "drain", "west", "--reason", "a new disk"]);
    for name in ["alpha", "beta", "gamma"] {
        add_unlucky(&mut repo, name);
    }
    repo.commit("Add three");
    crest.ok(&["project", "refresh", "test"]);
    let builders = crest.until(&["builder", "list"], |all| {
        verdict(all, "east") == "quarantined"
    });
    let text = builders.to_string();
    assert!(
        text.contains("3 recipes failed on it one after the other"),
        "{text}"
    );
    crest.ok(&["builder", "resume", "west"]);
    for name in ["alpha", "beta", "gamma"] {
        let job = crest.published(name);
        for attempt in job["attempts"].as_array().unwrap() {
            assert_ne!(attempt["blame"], "recipe", "{job:#}");
        }
    }
    // What is known to be good fails there too, so it stays out.
    let log = crest.dir.with_extension("log");
    let deadline = Instant::now() + PATIENCE;
    while !std::fs::read_to_string(&log)
        .unwrap()
        .contains("a canary failed")
    {
        assert!(
            Instant::now() < deadline,
            "no canary failed:\n{}",
            crest.log()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(
        verdict(&crest.json(&["builder", "list"]), "east"),
        "quarantined"
    );
    // Mended, it shows it and is back without anybody's help.
    east.stop();
    configure(&east, "east", "");
    east.serves();
    east.up();
    crest.until_event("builder_released", "which is known to be good");
    crest.until(&["builder", "list"], |all| verdict(all, "east") == "fit");
}
