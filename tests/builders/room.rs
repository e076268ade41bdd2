//! Room on a builder's disks: who gives some up first, and what a disk without any does to jobs and to the host.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Small;
use super::farm::{add, farm, farm_in, job_until, place};
use crate::common::farm::{Farm, PATIENCE};
use crate::common::repo::Repo;

/// A file that looks like a cached upstream.
fn upstream(dir: &Path, digit: char, mib: usize) -> std::path::PathBuf {
    let path = dir.join("upstreams").join(digit.to_string().repeat(64));
    std::fs::write(&path, vec![1; mib << 20]).unwrap();
    path
}

#[test]
fn caches_go_before_new_work_is_refused_and_the_one_used_longest_ago_first() {
    let place = place();
    let dir = place.path().join("farm");
    let Some(_small) = Small::mount(&dir.join("upstreams"), "size=64m,mode=711") else {
        return;
    };
    // What was touched a moment ago may be in use: this farm lives an hour later than the files.
    let clock = crate::common::clock::library(place.path(), 3_600);
    let preload = ("LD_PRELOAD".into(), clock.to_str().unwrap().to_string());
    let floors = "disk_floor_mib = 16\ninode_floor = 10\n";
    let farm = farm_in(&dir, floors, &[], vec![preload]);
    farm.until(&["builder", "show", "east"], |east| {
        east["verdict"] == "fit"
    });
    let (old, new) = (upstream(&dir, 'a', 20), upstream(&dir, 'b', 26));
    let east = farm.until(&["builder", "show", "east"], |east| {
        east["reclaimed_bytes"].as_u64().unwrap() > 0
    });
    assert_eq!(east["verdict"], "fit", "{east:#}");
    assert!(!old.exists() && new.exists(), "{east:#}");
    let shown = farm.ok(&["builder", "show", "east"]);
    assert!(shown.contains("of caches thrown away"), "{shown}");
    let alarms = farm.json(&["status"])["alarms"].clone();
    assert_eq!(alarms, serde_json::json!([]));
}

#[test]
fn what_was_used_a_moment_ago_stays_and_then_new_work_is_refused_with_the_numbers() {
    let place = place();
    let dir = place.path().join("farm");
    let Some(_small) = Small::mount(&dir.join("upstreams"), "size=64m,mode=711") else {
        return;
    };
    let farm = farm(&dir, "disk_floor_mib = 16\ninode_floor = 10\n", &[]);
    let fresh = upstream(&dir, 'c', 56);
    let east = farm.until(&["builder", "show", "east"], |east| {
        east["verdict"] == "low"
    });
    let evidence = east["evidence"].to_string();
    assert!(evidence.contains("the floor is 16 MiB"), "{evidence}");
    let mut repo = Repo::new();
    add(&mut repo, "waits", "");
    repo.commit("Add one");
    farm.ok(&["project", "add", "test", &repo.url()]);
    job_until(&farm, "waits", |job| job["state"] == "ready");
    let why = farm.ok(&["why", "waits"]);
    assert!(why.contains("the floor is 16 MiB"), "{why}");
    assert!(fresh.exists());
    std::fs::remove_file(&fresh).unwrap();
    farm.published("waits");
}

#[test]
fn without_room_the_youngest_build_is_given_back_and_the_older_one_goes_on() {
    let place = place();
    let dir = place.path().join("farm");
    let Some(_small) = Small::mount(&dir.join("attempts"), "size=64m,mode=755") else {
        return;
    };
    let floors = "disk_floor_mib = 16\ninode_floor = 10\n";
    let farm = farm(&dir, floors, &["--slots", "2"]);
    let mut repo = Repo::new();
    let endless = "    while sleep 0.2; do echo on; done\n";
    add(&mut repo, "older", &format!("build       : |\n{endless}"));
    repo.commit("Add one");
    farm.ok(&["project", "add", "test", &repo.url()]);
    job_until(&farm, "older", |job| job["attempts"][0]["phase"] == "build");
    // Less than half of the floor is left then, and yet no write fails.
    let greedy = format!("build       : |\n    head -c 57M /dev/zero > fill\n{endless}");
    add(&mut repo, "younger", &greedy);
    repo.commit("Add another");
    farm.ok(&["project", "refresh", "test"]);
    let job = job_until(&farm, "younger", |job| {
        job["attempts"][0]["ended"].is_string()
    });
    let attempt = &job["attempts"][0];
    assert_eq!(attempt["blame"], "builder", "{job:#}");
    let why = attempt["why"].as_str().unwrap();
    assert!(why.contains("no room left"), "{why}");
    // It comes again by itself, and its try did not count.
    let job = job_until(&farm, "younger", |job| {
        job["attempts"].as_array().unwrap().len() > 1
    });
    assert_ne!(job["state"], "failed", "{job:#}");
    farm.ok(&["job", "cancel", "younger"]);
    let east = farm.until(&["builder", "show", "east"], |east| {
        east["verdict"] == "fit"
    });
    assert!(east["parked"].as_u64().unwrap() > 0, "{east:#}");
    let shown = farm.ok(&["builder", "show", "east"]);
    assert!(shown.contains("builds given back"), "{shown}");
    let older = job_until(&farm, "older", |_| true);
    assert_eq!(older["state"], "building", "{older:#}");
    assert_eq!(older["attempts"].as_array().unwrap().len(), 1, "{older:#}");
    farm.ok(&["job", "cancel", "older"]);
}

/// The same question again while the host has no room to answer it.
fn patiently(farm: &Farm, arguments: &[&str], fits: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    let mut all = vec!["--json"];
    all.extend(arguments);
    loop {
        let output = farm.run(&all);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if output.status.success() && fits(&answer) {
            return answer;
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            Instant::now() < deadline,
            "massif {arguments:?}: {answer:#}\n{errors}\n{}",
            farm.log()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_build_that_fills_the_only_disk_of_a_host_ends_neither_its_job_nor_the_host() {
    let place = place();
    let dir = place.path().join("farm");
    let Some(_small) = Small::mount(&dir, "size=320m,mode=755") else {
        return;
    };
    let mut farm = farm(&dir, "disk_floor_mib = 96\ninode_floor = 10\n", &[]);
    let mut repo = Repo::new();
    let fill = "build       : |\n    dd if=/dev/zero of=fill bs=1M count=2000 2>&1\n";
    add(&mut repo, "filler", fill);
    repo.commit("Add one");
    // Nobody waits for an answer when there may be no room for it any more.
    farm.ok(&["project", "add", "test", &repo.url(), "--no-wait"]);
    let first = |jobs: &Value| jobs[0]["attempts"][0].clone();
    let jobs = patiently(&farm, &["job", "list"], |jobs| {
        first(jobs)["ended"].is_string()
    });
    let attempt = first(&jobs);
    assert_eq!(attempt["blame"], "builder", "{jobs:#}");
    let why = attempt["why"].as_str().unwrap();
    assert!(why.contains("full") || why.contains("no room"), "{why}");
    assert_ne!(jobs[0]["state"], "failed", "{jobs:#}");
    // An answer may be lost for want of room when the deed is done.
    patiently(&farm, &["job", "list"], |jobs| {
        let is_over = jobs[0]["state"] == "cancelled";
        is_over || farm.run(&["job", "cancel", "filler"]).status.success()
    });
    patiently(&farm, &["builder", "show", "east"], |east| {
        east["verdict"] == "fit"
    });
    assert!(farm.lives(), "{}", farm.log());
    add(&mut repo, "good", "");
    repo.commit("Add a good one");
    farm.ok(&["project", "refresh", "test"]);
    farm.published("good");
}

/// Room that is taken and that no reclaim finds: a deleted file that is still open.
fn hold(dir: &Path, mib: usize) -> std::fs::File {
    use std::io::Write;
    let path = dir.join("held");
    let mut file = std::fs::File::create(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let chunk = vec![1; 1 << 20];
    (0..mib).for_each(|_| file.write_all(&chunk).unwrap());
    file
}

#[test]
fn what_a_recipe_used_before_is_reserved_before_it_is_built_again() {
    let place = place();
    let dir = place.path().join("farm");
    let attempts = dir.join("attempts");
    let Some(_small) = Small::mount(&attempts, "size=1200m,mode=755") else {
        return;
    };
    let farm = farm(&dir, "disk_floor_mib = 8\ninode_floor = 10\n", &[]);
    let mut repo = Repo::new();
    let build = "build       : |\n    fallocate -l 600M fill\n";
    add(&mut repo, "big", build);
    repo.commit("Add one");
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.published("big");
    // Only when what the build took is free again.
    farm.wait("the attempt is gone", || {
        std::fs::read_dir(&attempts).unwrap().next().is_none()
    });
    let held = hold(&attempts, 700);
    // Room enough for the builder's floor, and not for what this recipe took.
    farm.until(&["builder", "show", "east"], |east| {
        let mut disks = east["disks"].as_array().unwrap().iter();
        let small = disks.find(|disk| disk["path"].as_str().unwrap().ends_with("attempts"));
        let free = small.unwrap()["free_bytes"].as_u64().unwrap();
        free < 512 << 20 && east["verdict"] == "fit" && east["slots"][0]["job"].is_null()
    });
    repo.write(
        "b/big/stone.yaml",
        crate::ring::script_recipe("big", 2, build),
    );
    repo.commit("Raise it");
    farm.ok(&["project", "refresh", "test"]);
    job_until(&farm, "big", |job| {
        job["release"] == 2 && job["state"] == "ready"
    });
    let why = super::wide::why_failing(&farm, "big", "disk");
    // What is asked of a disk is told apart in steps, and rounded down to one.
    assert_eq!(super::wide::failed(&why, "disk").1, "512 MiB", "{why:#}");
    drop(held);
    let job = farm.published("big");
    assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job:#}");
}
