//! A clock that jumps under a farm: days ahead, and back behind where it was.

use std::path::Path;
use std::process::Command;

use super::farm::{add, job_until, place};
use crate::common::clock::CLOCK;
use crate::common::farm::{Farm, Setup};
use crate::common::repo::Repo;

/// How far the clock is off, in seconds, read whenever somebody looks at it.
const LATER: &str = r#"#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
static long later(void) {
    char text[32] = {0};
    int before = errno, file = open(AT, O_RDONLY | O_CLOEXEC);
    long count = file < 0 ? 0 : read(file, text, sizeof text - 1);
    if (file >= 0) close(file);
    errno = before;
    return count > 0 ? atol(text) : 0;
}
"#;

/// A library that puts whoever loads it on a clock of its own, as far off as the file `at` says.
fn library(work: &Path, at: &Path) -> String {
    let path = |name: &str| work.join(name).to_str().unwrap().to_string();
    std::fs::write(path("later.h"), LATER).unwrap();
    std::fs::write(path("clock.c"), CLOCK).unwrap();
    let done = Command::new("cc")
        .args([
            "-shared",
            "-fPIC",
            "-O1",
            "-D_GNU_SOURCE",
            "-DLATER=later()",
        ])
        .arg(format!("-DAT=\"{}\"", at.display()))
        .args(["-include", &path("later.h"), "-o", &path("clock.so")])
        .args([&path("clock.c"), "-ldl"])
        .status()
        .unwrap();
    assert!(done.success(), "cc");
    path("clock.so")
}

const DAY: i64 = 86_400;

#[test]
fn a_clock_that_jumps_ends_no_build_and_loses_no_lease() {
    let place = place();
    let at = place.path().join("later");
    let jump = |seconds: i64| {
        // At once, for whoever reads it meanwhile.
        let new = at.with_extension("new");
        std::fs::write(&new, seconds.to_string()).unwrap();
        std::fs::rename(&new, &at).unwrap();
    };
    jump(0);
    let mut setup = Setup {
        dir: Some(place.path().join("farm")),
        arguments: ["--slots", "2", "--lease", "10s"]
            .map(String::from)
            .to_vec(),
        ..Setup::default()
    };
    let preload = library(place.path(), &at);
    setup.environment.push(("LD_PRELOAD".into(), preload));
    let farm = Farm::with(setup);
    let mut repo = Repo::new();
    let build = "build       : |\n    while sleep 0.2; do echo on; done\n";
    add(&mut repo, "long", build);
    repo.commit("Add one");
    farm.ok(&["project", "add", "test", &repo.url()]);
    let written = |job: &serde_json::Value| job["attempts"][0]["log_bytes"].as_u64().unwrap_or(0);
    let mut last = written(&job_until(&farm, "long", |job| written(job) > 0));
    let real = jiff::Timestamp::now().as_second();
    for (days, name) in [(3, "ahead"), (-30, "back"), (0, "again")] {
        jump(days * DAY);
        add(&mut repo, name, "");
        repo.commit("Add another");
        farm.ok(&["project", "refresh", "test"]);
        let job = farm.published(name);
        let attempts = job["attempts"].as_array().unwrap();
        assert_eq!(attempts.len(), 1, "{job:#}");
        let created: jiff::Timestamp = job["created"].as_str().unwrap().parse().unwrap();
        // The farm did live by that clock.
        let off = created.as_second() - real - days * DAY;
        assert!(off.abs() < 3_600, "{name}: {off} s off: {job:#}");
        let shown = farm.json(&["job", "show", name]);
        for phase in shown["phases"].as_array().unwrap() {
            let took = phase["took_s"].as_f64().unwrap();
            assert!((0.0..3_600.0).contains(&took), "{shown:#}");
        }
        // The other one went on all the time: more than a lease's worth of lines.
        let job = job_until(&farm, "long", |job| written(job) > last + 200);
        assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job:#}");
        assert_eq!(job["state"], "building", "{job:#}");
        last = written(&job);
    }
    let status = farm.json(&["status"]);
    assert_eq!(status["alarms"].as_array().unwrap().len(), 0, "{status:#}");
    farm.ok(&["job", "cancel", "long"]);
}
