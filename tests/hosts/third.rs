//! Three hosts: one decides, one publishes, one builds. Who belongs to the farm is the first one's word.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::building::add;
use super::rig::{Node, Place};
use crate::common::host::GATE;
use crate::common::repo::Repo;
use crate::ring::script_recipe;

/// Waits until a host knows a peer, linked or not.
fn until_linked(node: &Node, peer: &str, up: bool) {
    node.until(&["peer", "list"], |all| {
        let mut all = all.as_array().unwrap().iter();
        all.any(|one| one["name"] == peer && one["link"]["up"] == up)
    });
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
    crest.ok(&["channel", "verify", "main"]);
    let versions = |node: &Node| {
        let all = node.json(&["channel", "versions", "main"]);
        all.as_array().unwrap().len()
    };
    assert_eq!((versions(&keep), versions(&crest)), (3, 3));

    // Both go, in the middle of a build, and come back in the other order.
    add(&mut repo, "gamma", GATE);
    repo.commit("Add gamma");
    crest.building("gamma", "build");
    let attempt = crest.attempt_of("gamma");
    keep.kill();
    crest.kill();
    east.open_gate(&attempt);
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
    keep.until(&["peer", "show", "east"], |row| {
        row["state"] == "revoked" && row["link"]["up"] == false
    });
    crest.stop();
    keep.kill();
    keep.up();
    let row = keep.json(&["peer", "show", "east"]);
    assert_eq!(row["state"], "revoked", "{row:#}");
}

/// The only package file in a directory that `job artefacts --out` filled.
pub fn stone_in(dir: &std::path::Path) -> std::path::PathBuf {
    let all = std::fs::read_dir(dir).unwrap().flatten();
    let mut stones = all
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|is| is == "stone"));
    stones.next().expect("a package file")
}

#[test]
fn what_is_published_on_another_host_is_compared_there() {
    let place = Place::new();
    let crest = place.summit_alone("30s");
    let keep = place.vessel(&crest, "keep");
    let east = place.builder(&crest, "east", &[]);
    until_linked(&east, "keep", true);
    let mut repo = Repo::new();
    add(&mut repo, "alpha", "");
    let dated = script_recipe("dated", 1, "").replace(
        "echo release",
        "date --rfc-3339=ns > %(installroot)%(datadir)/dated/when ; echo release",
    );
    repo.write("d/dated/stone.yaml", dated);
    repo.commit("Add both");
    crest.ok(&["project", "add", "test", &repo.url()]);
    crest.published("alpha");
    crest.published("dated");
    let west = place.builder(&crest, "west", &["--trust", "test"]);
    until_linked(&west, "keep", true);
    crest.until_fit("west");
    let made = crest.json(&["compare", "alpha"]);
    assert_eq!(
        (&made["builder"], &made["level"], &made["judgement"]),
        (&"west".into(), &"same".into(), &"match".into()),
        "{made:#}"
    );
    let output = crest.run(&["--json", "compare", "dated"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let made: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(made["level"], "files", "{made:#}");
    // Both sides come from the host that publishes.
    let out = crest.dir.with_file_name("both");
    let id = made["id"].to_string();
    crest.ok(&["compare", "show", &id, "--out", out.to_str().unwrap()]);
    let count = |side: &str| std::fs::read_dir(out.join(side)).unwrap().count();
    assert!(count("published") > 0 && count("published") == count("rebuilt"));
    // A channel may ask for a match there too.
    crest.ok(&["channel", "policy", "main", "--require-match", "1"]);
    add(&mut repo, "gamma", "");
    repo.commit("Add gamma");
    crest.published("gamma");
    let list = crest.json(&["compare", "list", "--recipe", "gamma"]);
    assert_eq!(list["comparisons"][0]["judgement"], "match", "{list:#}");
    for node in [&crest, &keep] {
        node.ok(&["store", "check"]);
    }
}

#[test]
fn what_the_owner_asks_of_summit_is_done_on_the_host_that_publishes() {
    let place = Place::new();
    let crest = place.summit_alone("30s");
    let mut keep = place.vessel(&crest, "keep");
    let east = place.builder(&crest, "east", &[]);
    let mut repo = Repo::new();
    add(&mut repo, "alpha", "");
    repo.commit("Add alpha");
    crest.ok(&["project", "add", "test", &repo.url()]);
    let first = crest.published("alpha")["id"].to_string();
    repo.write("a/alpha/stone.yaml", script_recipe("alpha", 2, ""));
    repo.commit("Raise alpha");
    crest.until(&["channel", "versions", "main"], |all| {
        all.as_array().unwrap().len() == 3
    });

    // What an attempt made, byte for byte, from the other host.
    let out = crest.dir.with_file_name("out");
    crest.ok(&["job", "artefacts", &first, "--out", out.to_str().unwrap()]);
    let made = crest.json(&["job", "artefacts", &first]);
    assert_eq!(made.as_array().unwrap().len(), 3, "{made:#}");
    for artefact in made.as_array().unwrap() {
        let bytes = super::rig::bytes(&out.join(artefact["name"].as_str().unwrap()));
        assert_eq!(artefact["size"], bytes.len());
        assert_eq!(
            artefact["sha256"],
            massif::id::Digest(Sha256::digest(&bytes).into()).to_string()
        );
    }
    let older = crest.json(&["package", "list", "--version", "2"]);
    assert_eq!(older[0]["release"], 1, "{older:#}");

    // A rollback there, its hold and its event here.
    crest.ok(&["channel", "rollback", "main", "--to", "2"]);
    for node in [&crest, &keep] {
        let newest = node.json(&["channel", "versions", "main"])[0].clone();
        assert_eq!((&newest["id"], &newest["parent"]), (&4.into(), &3.into()));
        let packages = node.json(&["package", "list"]);
        assert_eq!(packages[0]["release"], 1, "{packages:#}");
    }
    assert_eq!(crest.events("rolled_back").len(), 1);
    assert_eq!(crest.events("recipe_held").len(), 1);
    crest.ok(&["channel", "verify", "main"]);

    // Files of this machine are published on that one.
    let stone = stone_in(&out);
    let noise = out.join("noise.stone");
    std::fs::write(&noise, b"no package").unwrap();
    let said = crest.run(&["package", "import", noise.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("noise.stone"), "{said}");
    let known = crest.json(&["package", "import", stone.to_str().unwrap()]);
    assert_eq!(known["version"], serde_json::Value::Null, "{known:#}");
    crest.ok(&["package", "import", "--base", "test-base", "/"]);
    keep.ok(&["package", "show", "test-base"]);
    assert_eq!(crest.events("imported").len(), 1);

    // Where clients find it; and who has to be asked is said with the command.
    let http = keep.json(&["status"])["addresses"]["http"].clone();
    let listed = crest.json(&["channel", "list"]);
    let url = format!("http://{}", http.as_str().unwrap());
    assert_eq!(listed[0]["url"], url, "{listed:#}");
    let host = crest.json(&["status"])["host"]["name"].clone();
    let host = host.as_str().unwrap();
    let there = format!("massif --host {host} channel rollback main --to 2");
    let said = keep.code(5, &["channel", "rollback", "main", "--to", "2"]);
    assert!(said.contains(&there), "{said}");
    let said = keep.code(5, &["package", "import", "--base", "b", "/"]);
    assert!(said.contains(&format!("only summit {host}")), "{said}");
    for node in [&keep, &east] {
        let said = node.code(1, &["job", "artefacts", "1"]);
        assert!(said.contains("only summit"), "{said}");
    }
    assert!(east.code(1, &["channel", "list"]).contains("only summit"));
    keep.kill();
    let said = crest.code(75, &["channel", "verify", "main"]);
    assert!(said.contains("keeps the channels"), "{said}");
    let said = crest.code(75, &["job", "artefacts", &first]);
    assert!(said.contains("keeps the channels"), "{said}");
}
