//! Comparisons of what is published: by one host with itself, by others on demand and by themselves; a builder that lies is
//! found, a recipe that varies is not blamed on anybody.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::clock;
use crate::common::farm::{Farm, shared};
use crate::common::host::GATE;
use crate::common::repo::Repo;
use crate::hosts::rig::{Node, Place};
use crate::ring::script_recipe;

/// A recipe whose package says a word that a liar replaces.
pub fn honest(name: &str, extra: &str) -> String {
    script_recipe(name, 1, extra).replace("echo release", "echo honest release")
}

pub fn add(repo: &mut Repo, name: &str, text: String) {
    repo.write(&format!("{}/{name}/stone.yaml", &name[..1]), text);
    repo.commit(&format!("Add {name}"));
}

#[test]
fn a_package_that_comes_out_the_same_says_so_and_on_which_host() {
    let mut repo = Repo::new();
    add(&mut repo, "alpha", honest("alpha", ""));
    let farm = Farm::start();
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.published("alpha");
    let made = farm.json(&["compare", "alpha"]);
    assert_eq!(made["level"], "same", "{made:#}");
    assert_eq!(made["matches"], true);
    assert_eq!(made["same_host"], true, "{made:#}");
    assert_eq!(made["judgement"], "same_host");
    assert_eq!(made["artefacts"], made["same"]);
    let list = farm.json(&["compare", "list"]);
    assert_eq!(list["comparisons"][0]["id"], made["id"], "{list:#}");
    assert!(farm.ok(&["compare", "list"]).contains("on the same host"));
    // Nothing was published by it, and nothing of it is left on the builder.
    assert_eq!(farm.json(&["job", "list"]).as_array().unwrap().len(), 1);
    let recipe = farm.json(&["recipe", "show", "alpha"]);
    assert_eq!(recipe["proof"]["comparisons"][0], made["id"], "{recipe:#}");
    assert_eq!(recipe["proof"]["varies"], false);
    farm.ok(&["store", "check"]);
    // What does not exist, and what nobody built here.
    assert!(
        farm.code(1, &["compare", "alhpa"])
            .contains("did you mean alpha")
    );
    assert!(
        farm.code(1, &["compare", "show", "99"])
            .contains("compare list")
    );
}

#[test]
fn a_recipe_that_varies_is_marked_with_its_cause_and_nobody_is_blamed() {
    let mut repo = Repo::new();
    let dated = honest("dated", "").replace(
        "echo honest release",
        "date --rfc-3339=ns > %(installroot)%(datadir)/dated/when ; echo honest release",
    );
    add(&mut repo, "dated", dated);
    let farm = Farm::start();
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.published("dated");
    let made: Value = serde_json::from_str(&{
        let output = farm.run(&["--json", "compare", "dated"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}\n{}", farm.log());
        String::from_utf8(output.stdout).unwrap()
    })
    .unwrap();
    assert_eq!(made["level"], "files", "{made:#}");
    assert_eq!(made["judgement"], "varies", "{made:#}");
    let all = made["differences"].as_array().unwrap();
    let when = all.iter().find(|one| one["path"] == "share/dated/when");
    assert_eq!(when.unwrap()["cause"], "date", "{made:#}");
    let recipe = farm.json(&["recipe", "show", "dated"]);
    assert_eq!(recipe["proof"]["varies"], true, "{recipe:#}");
    let builders = farm.json(&["builder", "list"]);
    assert_eq!(builders[0]["verdict"], "fit", "{builders:#}");
    // Both sides are kept, as they were.
    let out = farm.dir().join("../both");
    let id = made["id"].to_string();
    farm.ok(&["compare", "show", &id, "--out", out.to_str().unwrap()]);
    let read = |side: &str| -> Vec<(String, Vec<u8>)> {
        let mut found: Vec<_> = std::fs::read_dir(out.join(side))
            .unwrap()
            .flatten()
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, std::fs::read(entry.path()).unwrap())
            })
            .collect();
        found.sort();
        found
    };
    let (published, rebuilt) = (read("published"), read("rebuilt"));
    assert!(!published.is_empty());
    let names = |all: &[(String, Vec<u8>)]| -> Vec<String> {
        all.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(&published), names(&rebuilt));
    assert_ne!(published, rebuilt);
    farm.ok(&["store", "check"]);
}

#[test]
fn idle_builders_compare_by_themselves_and_give_way_to_real_work() {
    let mut repo = Repo::new();
    add(&mut repo, "slow", honest("slow", GATE));
    let farm = Farm::with(crate::common::farm::Setup {
        arguments: vec!["--slots".into(), "1".into()],
        ..Default::default()
    });
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.open_gate("1.1");
    farm.published("slow");
    assert_eq!(
        farm.json(&["channel", "policy", "main"])["compare_idle"],
        false
    );
    farm.ok(&["channel", "policy", "main", "--compare-idle", "on"]);
    let began = Instant::now();
    let busy = |builders: &Value, recipe: &str| builders[0]["slots"][0]["recipe"] == recipe;
    farm.until(&["builder", "list"], |all| {
        busy(all, "slow (compared)") && all[0]["slots"][0]["phase"] == "build"
    });
    println!("idle to comparing: {:?}", began.elapsed());
    // It stands at its gate, which nobody opens: who waits for its end waits for ever.
    add(&mut repo, "real", honest("real", ""));
    farm.published("real");
    // The slot was left: the job was not refused, and did not wait for the comparison.
    let job = farm.json(&["job", "show", "real"]);
    assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job:#}");
    // What gave way is done later, and the other one too.
    let mut opened = BTreeSet::new();
    let list = farm.until(&["compare", "list"], |list| {
        farm.open_gates(&mut opened);
        let all = list["comparisons"].as_array().unwrap();
        all.len() == 2 && all.iter().all(|one| one["state"] == "done")
    });
    for one in list["comparisons"].as_array().unwrap() {
        assert_eq!(
            (&one["level"], &one["by"]),
            (&"same".into(), &"farm".into()),
            "{one:#}"
        );
    }
}

/// How a farm that does not lie packs a recipe: where it lies among its blobs, and its bytes.
pub fn packed(repo: &Repo, name: &str) -> (String, Vec<u8>) {
    let farm = Farm::start();
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.published(name);
    packed_in(farm.dir(), name)
}

/// The packed recipe with these words in it, among the blobs of a host.
fn packed_in(dir: &Path, words: &str) -> (String, Vec<u8>) {
    let has = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        text.contains(words)
    };
    for shard in std::fs::read_dir(dir.join("blobs")).unwrap().flatten() {
        let head = shard.file_name().into_string().unwrap();
        // Beside the blobs lies what is on its way to be one, under a name that is gone a moment later.
        if head.len() != 2 {
            continue;
        }
        for blob in std::fs::read_dir(shard.path()).unwrap().flatten() {
            let mut bytes = Vec::new();
            let mut file = std::fs::File::open(blob.path()).unwrap();
            file.read_to_end(&mut bytes).unwrap();
            if bytes.starts_with(b"stone.yaml\0") && has(&bytes) {
                let rest = blob.file_name().into_string().unwrap();
                return (format!("{head}/{rest}"), bytes);
            }
        }
    }
    panic!("no packed recipe in {}", dir.display());
}

/// Makes a builder lie: what it has under the hash of a recipe is another one.
pub fn lies(node: &Node, (name, bytes): &(String, Vec<u8>)) {
    let path: PathBuf = node.dir.join("blobs").join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, instead(bytes, b"echo lyings")).unwrap();
}

/// A packed recipe with another command of the same length.
fn instead(bytes: &[u8], command: &[u8; 11]) -> Vec<u8> {
    let text = b"echo honest";
    let at = bytes.windows(text.len()).position(|window| window == text);
    let mut other = bytes.to_vec();
    other[at.unwrap()..][..text.len()].copy_from_slice(command);
    other
}

/// Whether all these builders are here and fit.
pub fn here(builders: &Value, names: &[&str]) -> bool {
    names.iter().all(|name| {
        let mut all = builders.as_array().unwrap().iter();
        all.any(|one| one["name"] == *name && one["verdict"] == "fit")
    })
}

#[test]
fn of_three_builders_the_one_that_lies_is_found_and_what_it_published_is_built_again() {
    let mut repo = Repo::new();
    add(&mut repo, "alpha", honest("alpha", ""));
    let recipe = packed(&repo, "alpha");
    let place = Place::new();
    let crest = place.summit("30s");
    let liar = place.builder(&crest, "liar", &[]);
    lies(&liar, &recipe);
    crest.ok(&["project", "add", "test", &repo.url()]);
    let job = crest.published("alpha");
    assert_eq!(job["attempts"][0]["builder"], "liar");
    let _east = place.builder(&crest, "east", &[]);
    let _west = place.builder(&crest, "west", &["--trust", "test"]);
    crest.until(&["builder", "list"], |all| {
        here(all, &["liar", "east", "west"])
    });
    crest.ok(&["channel", "policy", "main", "--compare-idle", "on"]);
    let builders = crest.until(&["builder", "list"], |all| {
        let mut all = all.as_array().unwrap().iter();
        all.any(|one| one["name"] == "liar" && one["verdict"] == "quarantined")
    });
    for one in builders.as_array().unwrap() {
        if one["name"] != "liar" {
            assert_ne!(one["verdict"], "quarantined", "{one:#}");
        }
    }
    crest.until_event("builder_convicted", "wrong alone about alpha");
    let shown = crest.json(&["builder", "show", "liar"]);
    let id = shown["proof"]["convicted_by"].as_u64().unwrap();
    assert_eq!(shown["proof"]["score"]["wrong"], 1, "{shown:#}");
    assert_eq!(
        shown["proof"]["unproven"][0]["recipe"], "alpha",
        "{shown:#}"
    );
    let evidence = crest.json(&["compare", "show", &id.to_string()]);
    assert_eq!(evidence["wrong"], "liar", "{evidence:#}");
    assert_eq!(evidence["judgement"], "wrong_alone");
    let east = crest.json(&["builder", "show", "east"]);
    assert_eq!(east["proof"]["score"]["matches"], 1, "{east:#}");
    // One command builds again what it published; another builder does it, and it matches.
    crest.ok(&["builder", "rebuild", "liar"]);
    let again = crest.until(&["job", "list"], |jobs| {
        let job = &jobs[0];
        job["state"] == "published" && job["build_release"] == 2
    });
    assert_eq!(again[0]["attempts"][0]["builder"], "east", "{again:#}");
    let after = crest.json(&["builder", "show", "liar"]);
    assert_eq!(
        after["proof"]["unproven"].as_array().unwrap().len(),
        0,
        "{after:#}"
    );
    crest.until(&["compare", "list"], |list| {
        let all = list["comparisons"].as_array().unwrap();
        all.iter()
            .any(|one| one["judgement"] == "match" && one["matches"] == true)
    });
    // A person lets it go; no canary does.
    let stops = crest.events("builder_released");
    assert!(stops.is_empty(), "{stops:#?}");
    crest.ok(&["builder", "release", "liar"]);
    let freed = crest.json(&["builder", "show", "liar"]);
    assert_eq!(freed["proof"]["convicted_by"], Value::Null, "{freed:#}");
    crest.ok(&["store", "check"]);
}

#[test]
fn a_builder_that_lies_one_time_in_twenty_is_found() {
    let mut repo = Repo::new();
    let names: Vec<String> = (1..=20).map(|number| format!("pack{number:02}")).collect();
    for name in &names {
        repo.write(&format!("p/{name}/stone.yaml"), honest(name, ""));
    }
    repo.commit("Add twenty");
    let recipe = packed(&repo, "pack13");
    let place = Place::new();
    let crest = place.summit("30s");
    let liar = place.builder(&crest, "liar", &[]);
    lies(&liar, &recipe);
    crest.ok(&["project", "add", "test", &repo.url()]);
    for name in &names {
        crest.published(name);
    }
    let _east = place.builder(&crest, "east", &[]);
    let _west = place.builder(&crest, "west", &[]);
    crest.until(&["builder", "list"], |all| {
        here(all, &["liar", "east", "west"])
    });
    crest.ok(&["channel", "policy", "main", "--compare-idle", "on"]);
    crest.until_event("builder_convicted", "wrong alone about pack13");
    for (name, convicted) in [("liar", true), ("east", false), ("west", false)] {
        let shown = crest.json(&["builder", "show", name]);
        assert_eq!(
            shown["proof"]["convicted_by"].is_u64(),
            convicted,
            "{shown:#}"
        );
    }
}

#[test]
fn a_comparison_goes_to_a_builder_of_another_owner_if_there_is_one() {
    let mut repo = Repo::new();
    add(&mut repo, "alpha", honest("alpha", ""));
    let place = Place::new();
    let crest = place.summit("30s");
    let _east = place.builder(&crest, "east", &[]);
    crest.ok(&["project", "add", "test", &repo.url()]);
    crest.published("alpha");
    let _west = place.builder(&crest, "west", &[]);
    let _north = place.builder(&crest, "north", &["--trust", "test"]);
    let _south = place.builder(&crest, "south", &[]);
    for (name, owner) in [("east", "anna"), ("west", "anna"), ("north", "ben")] {
        let said = crest.ok(&["builder", "owner", name, owner]);
        assert!(said.contains(owner), "{said}");
    }
    crest.ok(&["builder", "owner", "south", "anna"]);
    crest.until(&["builder", "list"], |all| {
        here(all, &["east", "west", "north", "south"])
    });
    let shown = crest.json(&["builder", "show", "north"]);
    assert_eq!(shown["proof"]["owner"], "ben", "{shown:#}");
    let made = crest.json(&["compare", "alpha"]);
    assert_eq!(made["builder"], "north", "{made:#}");
    // By itself too, where two are idle and one of them is another owner's.
    add(&mut repo, "beta", honest("beta", ""));
    crest.published("beta");
    crest.until(&["builder", "list"], |all| {
        here(all, &["east", "west", "north", "south"])
    });
    crest.ok(&["channel", "policy", "main", "--compare-idle", "on"]);
    let list = crest.until(&["compare", "list", "--recipe", "beta"], |list| {
        list["comparisons"][0]["state"] == "done"
    });
    assert_eq!(list["comparisons"][0]["builder"], "north", "{list:#}");
    let long = "x".repeat(200);
    assert!(
        crest
            .code(2, &["builder", "owner", "north", &long])
            .contains("100 bytes")
    );
    crest.ok(&["builder", "owner", "north", ""]);
    let shown = crest.json(&["builder", "show", "north"]);
    assert_eq!(shown["proof"]["owner"], Value::Null, "{shown:#}");
    crest.ok(&["store", "check"]);
}

#[test]
fn a_builder_for_tests_rises_by_matches_and_a_persons_word() {
    let mut repo = Repo::new();
    add(&mut repo, "alpha", honest("alpha", ""));
    let place = Place::new();
    let crest = place.summit("30s");
    let _east = place.builder(&crest, "east", &[]);
    crest.ok(&["project", "add", "test", &repo.url()]);
    crest.published("alpha");
    let _west = place.builder(&crest, "west", &["--trust", "test"]);
    crest.until(&["builder", "list"], |all| here(all, &["east", "west"]));
    crest.ok(&["builder", "rise", "--after", "1"]);
    let raise = ["peer", "approve", "west", "--trust", "trusted"];
    let refused = crest.code(5, &raise);
    assert!(refused.contains("0 of 1 matches"), "{refused}");
    // Another host is chosen by itself, and one that may not publish may compare.
    let made = crest.json(&["compare", "alpha"]);
    assert_eq!(
        (&made["builder"], &made["level"]),
        (&"west".into(), &"same".into()),
        "{made:#}"
    );
    assert_eq!(
        (&made["judgement"], &made["same_host"]),
        (&"match".into(), &false.into())
    );
    let west = crest.json(&["builder", "show", "west"]);
    assert_eq!(
        (&west["trust"], &west["proof"]["score"]["matches"]),
        (&"test".into(), &1.into())
    );
    crest.ok(&raise);
    crest.until(&["builder", "show", "west"], |west| {
        west["trust"] == "trusted"
    });
}

#[test]
fn a_rebuild_that_fails_proves_nothing_and_one_that_is_killed_is_begun_anew() {
    let mut repo = Repo::new();
    let slow = "build       : |\n    for i in $(seq 10); do echo $i; sleep 1; done\n";
    add(&mut repo, "alpha", honest("alpha", slow));
    let mut farm = Farm::start();
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.published("alpha");
    let (name, bytes) = packed_in(farm.dir(), "alpha");
    let blob = farm.dir().join("blobs").join(name);
    std::fs::remove_file(&blob).unwrap();
    std::fs::write(&blob, instead(&bytes, b"false # xx ")).unwrap();
    let failed = farm.run(&["--json", "compare", "alpha"]);
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    let failed: Value = serde_json::from_slice(&failed.stdout).unwrap();
    assert_eq!(
        (&failed["state"], &failed["blame"]),
        (&"failed".into(), &"recipe".into()),
        "{failed:#}"
    );
    let recipe = farm.json(&["recipe", "show", "alpha"]);
    assert_eq!(
        recipe["proof"]["comparisons"].as_array().unwrap().len(),
        0,
        "{recipe:#}"
    );
    std::fs::write(&blob, &bytes).unwrap();
    farm.ok(&["compare", "alpha", "--no-wait"]);
    farm.until(&["builder", "list"], |all| {
        all[0]["slots"][0]["phase"] == "build"
    });
    farm.kill();
    farm.up();
    farm.until(&["builder", "list"], |all| {
        here(all, &[all[0]["name"].as_str().unwrap()])
    });
    assert_eq!(
        farm.json(&["compare", "list"])["comparisons"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
    let made = farm.json(&["compare", "alpha"]);
    assert_eq!(made["level"], "same", "{made:#}");
    farm.ok(&["store", "check"]);
}

/// Gives the builds of a builder another `make`, in the layer that it keeps above this machine's `/usr`.
pub fn other_make(node: &Node, version: &str) {
    use std::os::unix::fs::PermissionsExt;
    let bin = node.mask().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&bin, open.clone()).unwrap();
    // Under another name first: nobody sees half of it.
    let (new, make) = (bin.join("make.new"), bin.join("make"));
    std::fs::write(&new, format!("#!/bin/sh\necho GNU Make {version}\n")).unwrap();
    std::fs::set_permissions(&new, open).unwrap();
    std::fs::rename(new, make).unwrap();
}

/// A recipe whose package has the version of the `make` that built it.
pub fn made_by_make(name: &str) -> String {
    honest(name, "").replace(
        "echo honest release",
        &format!("make --version > %(installroot)%(datadir)/{name}/by ; echo honest release"),
    )
}

#[test]
fn builders_with_other_compilers_differ_honestly_and_nobody_is_blamed() {
    let mut repo = Repo::new();
    add(&mut repo, "alpha", made_by_make("alpha"));
    let place = Place::new();
    let crest = place.summit("30s");
    let _east = place.builder(&crest, "east", &[]);
    crest.ok(&["project", "add", "test", &repo.url()]);
    crest.published("alpha");
    // Two against one, and both trusted: without their bases that would be a conviction.
    let west = place.builder(&crest, "west", &[]);
    other_make(&west, "99.1");
    let north = place.builder(&crest, "north", &[]);
    other_make(&north, "99.1");
    crest.until(&["builder", "list"], |all| {
        here(all, &["east", "west", "north"])
    });
    for name in ["west", "north"] {
        let output = crest.run(&["--json", "compare", "alpha", "--on", name]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let made: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&made["level"], &made["judgement"], &made["wrong"]),
            (&"files".into(), &"bases_differ".into(), &Value::Null),
            "{made:#}"
        );
        let bases = &made["bases"];
        assert_eq!(bases["same"], false, "{made:#}");
        let differs = bases["differences"].as_array().unwrap();
        assert_eq!(differs.len(), 1, "{made:#}");
        assert_eq!(
            (&differs[0]["part"], &differs[0]["rebuilt"]),
            (&"make".into(), &"99.1".into()),
            "{made:#}"
        );
        let text = bases["text"].as_str().unwrap();
        assert!(text.contains(&format!("99.1 at {name}")), "{text}");
        // Kept and described all the same.
        let all = made["differences"].as_array().unwrap();
        assert!(
            all.iter().any(|one| one["path"] == "share/alpha/by"),
            "{made:#}"
        );
        assert!(!made["evidence"].as_array().unwrap().is_empty(), "{made:#}");
    }
    for name in ["east", "west", "north"] {
        let shown = crest.json(&["builder", "show", name]);
        let proof = &shown["proof"];
        assert_ne!(shown["verdict"], "quarantined", "{shown:#}");
        for count in ["matches", "wrong", "undecided", "varies"] {
            assert_eq!(proof["score"][count], 0, "{name} {count}: {shown:#}");
        }
    }
    let recipe = crest.json(&["recipe", "show", "alpha"]);
    assert_eq!(recipe["proof"]["varies"], false, "{recipe:#}");
    // Who has the publisher's base is asked first, and settles it; what differed on another one is no opinion.
    let _south = place.builder(&crest, "south", &[]);
    crest.until(&["builder", "list"], |all| {
        here(all, &["east", "west", "north", "south"])
    });
    let base_of = |name: &str| {
        let shown = crest.until(&["builder", "show", name], |shown| {
            !shown["proof"]["bases"].as_array().unwrap().is_empty()
        });
        shown["proof"]["bases"][0].clone()
    };
    let (east, west, south) = (base_of("east"), base_of("west"), base_of("south"));
    assert_eq!(east["id"], south["id"]);
    assert_ne!(east["id"], west["id"]);
    let has_make = |base: &Value| {
        let mut parts = base["parts"].as_array().unwrap().iter();
        parts.any(|part| part["name"] == "make" && part["version"] == "99.1")
    };
    assert!(has_make(&west) && !has_make(&east), "{west:#}");
    let made = crest.json(&["compare", "alpha"]);
    assert_eq!(
        (&made["builder"], &made["judgement"]),
        (&"south".into(), &"match".into()),
        "{made:#}"
    );
    assert_eq!(made["bases"]["same"], true, "{made:#}");
    let score =
        |name: &str| crest.json(&["builder", "show", name])["proof"]["score"]["matches"].clone();
    assert_eq!(
        [score("east"), score("south"), score("west")],
        [1, 1, 0].map(Value::from)
    );
    // The same bytes in spite of another base are a match as ever.
    add(&mut repo, "beta", honest("beta", ""));
    let job = crest.published("beta");
    let publisher = job["attempts"][0]["builder"].as_str().unwrap();
    let other = if base_of(publisher)["id"] == east["id"] {
        "west"
    } else {
        "south"
    };
    let made = crest.json(&["compare", "beta", "--on", other]);
    assert_eq!(
        (&made["judgement"], &made["bases"]["same"]),
        (&"match".into(), &false.into()),
        "{made:#}"
    );
    assert_eq!(score(other), if other == "west" { 1 } else { 2 });
    crest.ok(&["store", "check"]);
}

/// A recipe that writes down when it was built, and of when its files are.
fn dated(name: &str) -> String {
    honest(name, "").replace(
        "echo honest release",
        &format!(
            "date +%%s > when ; stat -c %%Y when > of ; cp when of %(installroot)%(datadir)/{name}/ ; echo honest release"
        ),
    )
}

/// On a second host, in another directory, on half the cores, a day later.
#[test]
fn the_four_upstreams_are_the_same_bytes_on_a_second_host_a_day_later() {
    const DAY_S: i64 = 86_400;
    let Some(mirror) = shared("data/upstreams") else {
        return;
    };
    let mut repo = Repo::new();
    for dir in ["h/hello", "x/xz", "n/ncurses", "n/nano"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/recipes")
            .join(dir);
        let text = std::fs::read_to_string(path.join("stone.yaml")).unwrap();
        repo.write(&format!("{dir}/stone.yaml"), text);
    }
    add(&mut repo, "dated", dated("dated"));
    let place = Place::new();
    let crest = place.summit("30s");
    let work = tempfile::tempdir().unwrap();
    let builder = |name: &str, slots: &str, later_s: i64| {
        let line = crest.invite("avalanche", name, &[]);
        let mut node = place.host(name);
        if later_s != 0 {
            let clock = clock::library(work.path(), later_s).display().to_string();
            node.environment = vec![("LD_PRELOAD".into(), clock)];
        }
        let mirror = mirror.to_str().unwrap();
        let words = [
            "join",
            &line,
            "--headless",
            "--slots",
            slots,
            "--mirror",
            mirror,
        ];
        node.arguments = words.map(str::to_string).to_vec();
        node.up();
        crest.until(&["builder", "list"], |all| here(all, &[name]));
        node
    };
    let _east = builder("east", "1", 0);
    crest.ok(&["project", "add", "test", &repo.url()]);
    let deadline = Instant::now() + Duration::from_secs(7_200);
    let over = |jobs: &Value| {
        let all = jobs.as_array().unwrap();
        let ended = ["published", "failed"];
        all.len() == 5
            && all
                .iter()
                .all(|job| ended.contains(&job["state"].as_str().unwrap()))
    };
    while !over(&crest.json(&["job", "list"])) {
        assert!(
            Instant::now() < deadline,
            "{:#}",
            crest.json(&["job", "list"])
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    let west = builder("west", "2", DAY_S);
    clock::builds_later(&west.mask(), work.path(), DAY_S);
    for recipe in ["hello", "xz", "ncurses", "nano"] {
        let made = crest.json(&["compare", recipe, "--on", "west"]);
        assert_eq!(
            (&made["level"], &made["judgement"]),
            (&"same".into(), &"match".into()),
            "{made:#}"
        );
        println!(
            "{recipe}: {} of {} files are the same bytes",
            made["same"], made["artefacts"]
        );
    }
    // What writes down its day says that it was another one, by the clock and by its files.
    let output = crest.run(&["--json", "compare", "dated", "--on", "west"]);
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&made["level"], &made["judgement"]),
        (&"files".into(), &"undecided".into()),
        "{made:#}"
    );
    for path in ["share/dated/when", "share/dated/of"] {
        let all = made["differences"].as_array().unwrap();
        let found = all.iter().find(|one| one["path"] == path);
        let text = found.unwrap()["text"].as_str().unwrap();
        let times: Vec<i64> = text
            .split(|letter: char| !letter.is_ascii_digit())
            .filter(|digits| digits.len() == 10)
            .map(|digits| digits.parse().unwrap())
            .collect();
        let [first, later] = times[..] else {
            panic!("{made:#}");
        };
        assert!((DAY_S..2 * DAY_S).contains(&(later - first)), "{text}");
    }
}
