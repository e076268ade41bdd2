//! Death by signal 9 at every named point of the ring, and the same end as without it: everything published once.

use super::common::farm::{Farm, PATIENCE};
use super::common::host::GATE;
use super::common::repo::Repo;
use super::ring::script_recipe;

/// Where the process dies, by who does what there.
const POINTS: &[&str] = &[
    "summit:before-commit@4",
    "summit:after-commit@4",
    "summit:tip-recorded",
    "summit:assigned",
    "summit:expected",
    "avalanche:order-recorded",
    "builder:inputs-fetched",
    "builder:prepare",
    "builder:package",
    "builder:built",
    "avalanche:outcome-recorded",
    "vessel:after-fetch",
    "vessel:after-check",
    "vessel:before-commit",
    "vessel:after-commit",
    "vessel:after-pool",
    "vessel:after-index",
    "vessel:after-root",
    "vessel:before-tell",
    "summit:published-recorded",
];

/// Runs until it dies at the point, starts again, and checks that the end is the same as without it.
fn dies_and_recovers(point: &str) {
    let mut repo = Repo::new();
    repo.write("a/alpha/stone.yaml", script_recipe("alpha", 1, ""));
    repo.write(
        "b/beta/stone.yaml",
        script_recipe("beta", 1, "builddeps   :\n    - alpha\n"),
    );
    repo.commit("Add two");
    let mut farm = Farm::start();
    farm.stop();
    farm.set("MASSIF_KILL_AT", Some(point));
    let ready = farm.spawn();
    if ready.recv_timeout(PATIENCE).is_ok() {
        // It may die in the middle of the call, or be too busy to answer it at once.
        let deadline = std::time::Instant::now() + PATIENCE;
        while farm.lives() && std::time::Instant::now() < deadline {
            let added = farm.run(&["project", "add", "test", &repo.url(), "--no-wait"]);
            if added.status.success() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
    assert_eq!(farm.died(point), Some(9), "at {point}");
    farm.set("MASSIF_KILL_AT", None);
    farm.up();
    if farm
        .json(&["project", "list"])
        .as_array()
        .unwrap()
        .is_empty()
    {
        farm.ok(&["project", "add", "test", &repo.url()]);
    }
    farm.published("alpha");
    farm.published("beta");
    let versions = farm.json(&["channel", "versions", "main"]);
    let changed: Vec<&serde_json::Value> = versions
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|version| version["changed"].as_array().unwrap())
        .collect();
    assert_eq!(
        changed,
        ["beta", "alpha"],
        "{point}: published twice or not at all: {versions:#}"
    );
    farm.check_served();
    farm.ok(&["channel", "verify", "main"]);
    farm.ok(&["store", "check"]);
    // Receipts are given and taken soon; then nothing of an attempt is left.
    let attempts = farm.dir().join("attempts");
    farm.wait(&format!("{point}: attempts are left"), || {
        std::fs::read_dir(&attempts).unwrap().next().is_none()
    });
    farm.stop();
}

#[test]
fn the_end_is_the_same_whichever_point_of_the_ring_it_is_killed_at() {
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(point) =
                    POINTS.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    dies_and_recovers(point);
                }
            });
        }
    });
}

#[test]
fn a_farm_killed_in_the_middle_of_a_build_leaves_nothing_running_and_builds_again() {
    let mut repo = Repo::new();
    let slow = GATE.replace("echo at", "(setsid sleep 3171 &) ; echo at");
    repo.write("s/slow/stone.yaml", script_recipe("slow", 1, &slow));
    repo.commit("Add slow");
    let mut farm = Farm::start();
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.until(&["builder", "list"], |builders| {
        builders[0]["slots"][0]["phase"] == "build"
    });
    farm.kill();
    farm.up();
    let sleeping = || {
        std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            std::fs::read(entry.path().join("cmdline"))
                .is_ok_and(|line| line.starts_with(b"sleep\x003171"))
        })
    };
    farm.until(&["builder", "list"], |builders| {
        builders[0]["slots"][0]["phase"] == "build"
    });
    farm.open_gate(&farm.attempt_of("slow"));
    let job = farm.published("slow");
    assert_eq!(job["attempts"].as_array().unwrap().len(), 2, "{job:#}");
    assert!(!sleeping(), "a process of a dead build lives on");
    farm.check_served();
}

#[test]
fn a_directory_that_another_process_serves_is_refused_by_name() {
    let farm = Farm::start();
    let second = std::process::Command::new(super::common::farm::MASSIF)
        .args([
            "up",
            "--headless",
            "--listen",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
            "--dir",
        ])
        .arg(farm.dir())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success());
    assert!(said.contains(&farm.pid().to_string()), "{said}");
}
