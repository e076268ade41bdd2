//! Several recipes provide one name: the priority of their projects decides, then the newer release.

use std::path::Path;

use super::common::farm::Farm;
use super::common::repo::Repo;
use super::common::stones;
use super::ring::script_recipe;

fn write(repo: &mut Repo, name: &str, release: u64, extra: &str, install: &str) {
    let text = script_recipe(name, release, extra);
    let file = format!("{}/{name}/stone.yaml", &name[..1]);
    repo.write(&file, format!("{text}{install}"));
}

/// A recipe whose program `tool` says who made it.
fn tool(repo: &mut Repo, name: &str, release: u64) {
    let program =
        format!("    printf '#!/bin/sh\\necho {name}\\n' > tool\n    %install_bin tool\n");
    write(repo, name, release, "", &program);
    repo.commit("A tool");
}

/// A recipe that asks the tool of its build root who made it.
fn user(repo: &mut Repo, release: u64) {
    let ask = "    tool > %(installroot)%(datadir)/user/content\n";
    let needs = "builddeps   :\n    - binary(tool)\n";
    write(repo, "user", release, needs, ask);
    repo.commit("A user of tools");
}

/// Commits what a build found that a recipe provides, as its people do.
fn commit_manifest(farm: &Farm, repo: &mut Repo, name: &str, to: &Path) {
    let to = to.join(name);
    std::fs::create_dir(&to).unwrap();
    farm.ok(&["job", "artefacts", name, "--out", to.to_str().unwrap()]);
    let file = format!("manifest.{}.bin", massif::id::Arch::OF_THIS_PROGRAM);
    let bytes = std::fs::read(to.join(&file)).unwrap();
    repo.write(&format!("{}/{name}/{file}", &name[..1]), bytes);
    repo.commit("A manifest");
}

fn content(farm: &Farm, to: &Path) -> String {
    let stone = stones::of_job(farm, "user", to);
    let bytes = stones::file(&stone, "share/user/content").unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Who provides the tool for `user`, as `recipe show` has it.
fn provider(farm: &Farm) -> serde_json::Value {
    let recipe = farm.json(&["recipe", "show", "user"]);
    let mut needs = recipe["needs"].as_array().unwrap().iter();
    let tool = needs.find(|need| need["dependency"] == "binary(tool)");
    tool.unwrap()["provider"].clone()
}

#[test]
fn of_two_projects_the_one_with_the_higher_priority_provides_a_name_also_after_a_death() {
    let place = tempfile::tempdir().unwrap();
    let (mut low, mut high) = (Repo::new(), Repo::new());
    tool(&mut low, "newer", 5);
    tool(&mut high, "older", 2);
    let mut farm = Farm::start();
    farm.ok(&["project", "add", "low", &low.url()]);
    farm.ok(&["project", "add", "high", &high.url()]);
    for (name, repo) in [("newer", &mut low), ("older", &mut high)] {
        farm.published(name);
        commit_manifest(&farm, repo, name, place.path());
    }
    user(&mut low, 1);
    farm.ok(&["project", "refresh", "high"]);
    farm.ok(&["project", "refresh", "low"]);
    farm.until(&["recipe", "list"], |all| {
        all.as_array().is_some_and(|all| all.len() == 3)
    });
    assert_eq!(provider(&farm), "newer", "nobody said anything");
    farm.published("user");
    assert_eq!(content(&farm, &place.path().join("first")), "newer\n");

    let policy = ["project", "policy", "high", "--priority"];
    let set = |farm: &Farm, priority| farm.json(&[&policy[..], &[priority]].concat());
    assert_eq!(set(&farm, "10")["priority"], 10);
    farm.kill();
    farm.up();
    assert_eq!(farm.json(&["project", "show", "high"])["priority"], 10);
    farm.until(&["recipe", "list"], |all| {
        all.as_array().is_some_and(|all| all.len() == 3)
    });
    assert_eq!(provider(&farm), "older", "although its release is lower");
    user(&mut low, 2);
    farm.ok(&["project", "refresh", "low"]);
    farm.until(&["recipe", "show", "user"], |recipe| recipe["release"] == 2);
    farm.until(&["package", "list"], |all| {
        let mut all = all.as_array().unwrap().iter();
        all.any(|one| one["name"] == "user" && one["release"] == 2)
    });
    assert_eq!(content(&farm, &place.path().join("second")), "older\n");

    assert_eq!(set(&farm, "-1")["priority"], -1);
    assert_eq!(provider(&farm), "newer");
    let told = farm.json(&["audit"]).to_string();
    assert!(
        told.contains("high has priority 10 among projects"),
        "{told}"
    );
    farm.code(2, &[&policy[..], &["5000"]].concat());
    farm.code(2, &[&policy[..], &["high"]].concat());
    // A project that is gone and comes again begins anew.
    farm.ok(&["project", "remove", "high"]);
    farm.ok(&["project", "add", "high", &high.url()]);
    assert_eq!(farm.json(&["project", "show", "high"])["priority"], 0);
    farm.ok(&["store", "check"]);
}
