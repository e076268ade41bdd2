//! What a publication means for others is owed and said after a death as before: it follows from rows.

use super::common::farm::Farm;
use super::common::repo::Repo;
use super::ring::script_recipe;

fn add(repo: &mut Repo, name: &str, release: u64, extra: &str) {
    repo.write(
        &format!("{}/{name}/stone.yaml", &name[..1]),
        script_recipe(name, release, extra),
    );
}

/// All jobs of a recipe: why they exist, newest first.
fn because(farm: &Farm, recipe: &str) -> Vec<String> {
    let jobs = farm.json(&["job", "list"]);
    let all = jobs.as_array().unwrap().iter();
    all.filter(|job| job["recipe"] == recipe)
        .map(|job| job["because"].as_str().unwrap().to_string())
        .collect()
}

fn published(farm: &Farm, recipe: &str, jobs: usize) {
    farm.until(&["job", "list"], |all| {
        let all = all.as_array().unwrap().iter();
        let of: Vec<_> = all.filter(|job| job["recipe"] == recipe).collect();
        of.len() == jobs && of.iter().all(|job| job["state"] == "published")
    });
}

fn dies_and_comes_back(farm: &mut Farm) {
    farm.kill();
    farm.up();
}

#[test]
fn a_death_right_after_a_publication_loses_neither_what_is_built_again_nor_why_another_is_not() {
    let mut repo = Repo::new();
    add(&mut repo, "lib", 1, "");
    add(&mut repo, "mid", 1, "builddeps   :\n    - lib\n");
    add(&mut repo, "top", 1, "builddeps   :\n    - mid\n");
    repo.commit("Add three");
    let mut farm = Farm::start();
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.published("top");
    farm.ok(&["project", "policy", "test", "--rebuild", "transitive"]);
    farm.stop();

    // The channel has the new lib, and nobody has heard of it.
    farm.set("MASSIF_KILL_AT", Some("vessel:after-commit"));
    farm.up();
    add(&mut repo, "lib", 2, "");
    repo.commit("A new lib");
    farm.run(&["project", "refresh", "test"]);
    assert_eq!(farm.died("the publication"), Some(9));
    farm.set("MASSIF_KILL_AT", None);
    farm.up();
    published(&farm, "mid", 2);
    assert_eq!(because(&farm, "mid")[0], "lib changed");
    assert_eq!(because(&farm, "top").len(), 1);

    // What was built again provides the same, so that nothing follows; that is said after another death too.
    let words = "mid was built again and provides the same names, so top was not";
    for _ in 0..2 {
        let why = farm.ok(&["why", "top"]);
        assert!(why.contains(words), "{why}");
        dies_and_comes_back(&mut farm);
    }
    farm.json(&["status"]);
    assert_eq!(because(&farm, "top").len(), 1);
    let told = farm.json(&["audit"]).to_string();
    assert!(told.contains("is built against lib 2-1"), "{told}");
    farm.ok(&["store", "check"]);
}

#[test]
fn a_second_pass_is_owed_after_a_death_between_the_two_halves_of_a_cycle() {
    let slow = "build       : |\n    sleep 5\n";
    let mut repo = Repo::new();
    add(&mut repo, "egg", 1, "");
    add(&mut repo, "hen", 1, "builddeps   :\n    - egg\n");
    repo.commit("Add both");
    let mut farm = Farm::start();
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.published("hen");
    farm.ok(&["project", "policy", "test", "--second-pass", "on"]);
    add(
        &mut repo,
        "egg",
        2,
        &format!("builddeps   :\n    - hen\n{slow}"),
    );
    add(
        &mut repo,
        "hen",
        2,
        &format!("builddeps   :\n    - egg\n{slow}"),
    );
    repo.commit("A cycle");
    farm.ok(&["project", "refresh", "test"]);
    let jobs = farm.until(&["job", "list"], |jobs| {
        let newer = |job: &&serde_json::Value| job["release"] == 2 && job["state"] == "published";
        jobs.as_array().unwrap().iter().any(|job| newer(&job))
    });
    // On a slow machine the other one may be there by now too.
    let all = jobs.as_array().unwrap().iter();
    let newer = all.filter(|job| job["release"] == 2 && job["state"] == "published");
    let first = newer.min_by_key(|job| job["ended"].as_str().unwrap().to_string());
    let early = first.unwrap()["recipe"].as_str().unwrap().to_string();
    let late = if early == "egg" { "hen" } else { "egg" };
    dies_and_comes_back(&mut farm);
    published(&farm, &early, 3);
    assert_eq!(
        because(&farm, &early)[0],
        format!("{late}, which it was built before, changed")
    );
    assert_eq!(because(&farm, late).len(), 2);
}
