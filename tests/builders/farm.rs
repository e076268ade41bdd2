//! The same through a whole farm: what `builder`, `job show` and `why` say.

use std::time::Instant;

use super::Small;
use crate::common::farm::{Farm, PATIENCE, Setup};
use crate::common::host::GATE;
use crate::common::repo::Repo;
use crate::ring::script_recipe;

/// A farm whose `[builder]` says this. Its directory is the caller's.
pub fn farm(dir: &std::path::Path, builder: &str, arguments: &[&str]) -> Farm {
    farm_in(dir, builder, arguments, Vec::new())
}

/// The same with something in its environment.
pub fn farm_in(
    dir: &std::path::Path,
    builder: &str,
    arguments: &[&str],
    environment: Vec<(String, String)>,
) -> Farm {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(dir).unwrap();
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(
        dir.join("massif.toml"),
        format!("name = \"east\"\n[builder]\n{builder}\n"),
    )
    .unwrap();
    Farm::with(Setup {
        dir: Some(dir.to_owned()),
        arguments: arguments.iter().map(|word| (*word).to_string()).collect(),
        environment,
        ..Setup::default()
    })
}

pub fn place() -> tempfile::TempDir {
    crate::common::place("massif-test-")
}

pub fn add(repo: &mut Repo, name: &str, extra: &str) {
    let path = format!("{}/{name}/stone.yaml", &name[..1]);
    repo.write(&path, script_recipe(name, 1, extra));
}

/// The newest job of a recipe, once there is one that fits.
pub fn job_until(
    farm: &Farm,
    recipe: &str,
    fits: impl Fn(&serde_json::Value) -> bool,
) -> serde_json::Value {
    let of = |jobs: &serde_json::Value| {
        let jobs = jobs.as_array().into_iter().flatten();
        let its = jobs.filter(|job| job["recipe"] == recipe);
        its.max_by_key(|job| job["id"].as_u64()).cloned()
    };
    let jobs = farm.until(&["job", "list"], |jobs| {
        of(jobs).is_some_and(|job| fits(&job))
    });
    of(&jobs).unwrap()
}

#[test]
fn a_stalled_build_and_the_phases_of_a_good_one_are_shown() {
    let place = place();
    let farm = farm(&place.path().join("farm"), "silence_s_max = 8\n", &[]);
    let mut repo = Repo::new();
    add(&mut repo, "sleeper", "build       : |\n    sleep 616161\n");
    add(&mut repo, "worker", "build       : |\n    echo working\n");
    repo.commit("Add two");
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.published("worker");
    let shown = farm.until(&["job", "show", "worker"], |job| {
        let last = job["phases"].as_array().unwrap().last();
        last.is_some_and(|phase| phase["name"] == "package")
    });
    let names: Vec<&str> = shown["phases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|phase| phase["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["fetch", "prepare", "build", "install", "package"]);
    assert!(shown["phases"][2]["took_s"].as_f64().is_some(), "{shown:#}");
    assert!(shown["phases"][2]["log_offset"].as_u64().unwrap() > 0);

    let job = farm.done("sleeper");
    assert_eq!(
        (
            &job["state"],
            &job["attempts"][0]["blame"],
            &job["attempts"][0]["phase"]
        ),
        (&"failed".into(), &"recipe".into(), &"build".into()),
        "{job:#}"
    );
    let why = farm.ok(&["why", "sleeper"]);
    assert!(
        why.contains("stalled") && why.contains("sleep 616161"),
        "{why}"
    );
    let shown = farm.json(&["job", "show", "sleeper"]);
    assert!(
        shown["evidence"].to_string().contains("sleep 616161"),
        "{shown:#}"
    );
    assert!(farm.ok(&["job", "log", "sleeper"]).contains("sleep 616161"));
}

#[test]
fn a_draining_builder_takes_nothing_new_until_a_person_resumes_it() {
    let place = place();
    let dir = place.path().join("farm");
    let mut farm = farm(&dir, "", &[]);
    let mut repo = Repo::new();
    add(&mut repo, "first", "");
    repo.commit("Add one");
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.published("first");
    farm.code(5, &["builder", "resume", "east"]);
    farm.ok(&["builder", "drain", "east", "--reason", "new disk"]);
    add(&mut repo, "second", "");
    repo.commit("Add another");
    farm.ok(&["project", "refresh", "test"]);
    farm.until(&["job", "list"], |jobs| {
        jobs[0]["recipe"] == "second" && jobs[0]["state"] == "ready"
    });
    assert!(farm.ok(&["why", "second"]).contains("new disk"));
    // A person's stop outlives the process.
    farm.stop();
    farm.up();
    let builders = farm.until(&["builder", "list"], |builders| {
        builders[0]["verdict"] == "draining"
    });
    assert!(
        builders[0]["holds"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("new disk")
    );
    farm.ok(&["builder", "resume", "east"]);
    farm.published("second");
}

#[test]
fn a_drain_with_a_deadline_gives_back_what_still_runs() {
    let place = place();
    let farm = farm(&place.path().join("farm"), "", &[]);
    let mut repo = Repo::new();
    add(&mut repo, "long", "build       : |\n    sleep 717171\n");
    repo.commit("Add one");
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.until(&["job", "list"], |jobs| {
        jobs[0]["attempts"][0]["phase"] == "build"
    });
    farm.ok(&["builder", "drain", "east", "--deadline", "1s"]);
    let jobs = farm.until(&["job", "list"], |jobs| jobs[0]["state"] == "ready");
    assert_eq!(jobs[0]["attempts"][0]["blame"], "builder", "{jobs:#}");
    farm.wait("the build ends", || !super::runs("sleep 717171"));
}

#[test]
fn a_builder_in_quarantine_comes_back_by_building_what_is_known_to_be_good() {
    let place = place();
    let farm = farm(&place.path().join("farm"), "", &[]);
    let mut repo = Repo::new();
    add(&mut repo, "good", "");
    repo.commit("Add one");
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.published("good");
    let versions = farm
        .json(&["channel", "versions", "main"])
        .as_array()
        .unwrap()
        .len();
    farm.ok(&["builder", "quarantine", "east", "--reason", "odd results"]);
    let events = farm.until(&["audit", "--limit", "500"], |events| {
        events.to_string().contains("builder_released")
    });
    assert!(events.to_string().contains("it built good"), "{events:#}");
    farm.until(&["builder", "list"], |builders| {
        builders[0]["verdict"] == "fit"
    });
    // What a suspect made is published nowhere.
    let after = farm.json(&["channel", "versions", "main"]);
    assert_eq!(after.as_array().unwrap().len(), versions);
    farm.code(5, &["builder", "release", "east"]);
}

#[test]
fn a_full_disk_stops_new_work_says_so_and_ends_by_itself() {
    let place = place();
    let dir = place.path().join("farm");
    let Some(small) = Small::mount(&dir.join("attempts"), "size=64m,mode=755") else {
        return;
    };
    std::fs::write(dir.join("attempts/filler"), vec![1; 50 << 20]).unwrap();
    let farm = farm(&dir, "disk_floor_mib = 16\ninode_floor = 10\n", &[]);
    let mut repo = Repo::new();
    add(&mut repo, "waits", "");
    repo.commit("Add one");
    // What lies there without a row is thrown away, so the filler comes back as somebody else's file would.
    farm.wait("the filler goes", || !dir.join("attempts/filler").exists());
    let _hold = hold_full(&dir, &farm);
    farm.ok(&["project", "add", "test", &repo.url()]);
    let builders = farm.until(&["builder", "list"], |builders| {
        builders[0]["verdict"] == "low"
    });
    let text = builders[0]["evidence"].to_string();
    assert!(text.contains("MiB free, the floor is 16 MiB"), "{text}");
    std::fs::remove_file(dir.join("outside")).ok();
    drop(_hold);
    let job = farm.published("waits");
    assert_eq!(job["state"], "published");
    // While a file of the attempt is open for writing the kernel refuses.
    farm.wait("it turns read-only", || small.try_remount("ro"));
    farm.until(&["builder", "list"], |builders| {
        builders[0]["verdict"] == "low" && builders[0]["evidence"].to_string().contains("read-only")
    });
    small.remount("rw");
    farm.until(&["builder", "list"], |builders| {
        builders[0]["verdict"] == "fit"
    });
}

#[test]
fn a_disk_that_turns_read_only_under_a_build_is_the_builders_doing_and_costs_no_try() {
    let place = place();
    let dir = place.path().join("farm");
    let Some(small) = Small::mount(&dir.join("attempts"), "size=64m,mode=755") else {
        return;
    };
    let farm = farm(&dir, "disk_floor_mib = 8\ninode_floor = 10\n", &[]);
    let mut repo = Repo::new();
    let build = "build       : |\n    while echo x > file; do sleep 0.3; done\n    exit 1\n";
    add(&mut repo, "writer", build);
    repo.commit("Add one");
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.until(&["job", "list"], |jobs| {
        jobs[0]["attempts"][0]["phase"] == "build"
    });
    // While a file is open for writing the kernel refuses.
    let deadline = Instant::now() + PATIENCE;
    while !small.try_remount("ro") {
        assert!(Instant::now() < deadline, "it stays writable");
    }
    let jobs = farm.until(&["job", "list"], |jobs| {
        jobs[0]["attempts"][0]["ended"].is_string()
    });
    let attempt = &jobs[0]["attempts"][0];
    assert_eq!(attempt["blame"], "builder", "{jobs:#}");
    let why = attempt["why"].as_str().unwrap();
    assert!(why.contains("became read-only"), "{why}");
    assert_ne!(jobs[0]["state"], "failed", "{jobs:#}");
    let shown = farm.until(&["builder", "show", "east"], |east| {
        east["verdict"] == "low"
    });
    assert!(
        shown["evidence"].to_string().contains("read-only"),
        "{shown:#}"
    );
    farm.ok(&["job", "cancel", "writer"]);
    small.remount("rw");
    farm.until(&["builder", "show", "east"], |east| {
        east["verdict"] == "fit"
    });
}

/// Room that is taken and that no reclaim finds: a deleted file that is still open.
fn hold_full(dir: &std::path::Path, _farm: &Farm) -> std::fs::File {
    use std::io::Write;
    let path = dir.join("attempts/held");
    let mut file = std::fs::File::create(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    // Until it is full but for a few MiB.
    let chunk = vec![1; 1 << 20];
    for _ in 0..56 {
        if file.write_all(&chunk).is_err() {
            break;
        }
    }
    file
}

#[test]
fn builds_that_fill_the_disk_are_given_back_and_published_when_there_is_room() {
    let place = place();
    let dir = place.path().join("farm");
    let Some(_small) = Small::mount(&dir.join("attempts"), "size=64m,mode=755") else {
        return;
    };
    let farm = farm(
        &dir,
        "disk_floor_mib = 8\ninode_floor = 10\n",
        &["--slots", "2", "--lease", "10s"],
    );
    let mut repo = Repo::new();
    // Together they do not fit; one at a time they do.
    for name in ["one", "two", "three"] {
        let fill = "build       : |\n    dd if=/dev/zero of=fill bs=1M count=40 2>&1\n    sleep 2\n    rm fill\n";
        add(&mut repo, name, fill);
    }
    repo.commit("Add three");
    farm.ok(&["project", "add", "test", &repo.url()]);
    for name in ["one", "two", "three"] {
        let job = farm.published(name);
        for attempt in job["attempts"].as_array().unwrap() {
            assert_ne!(attempt["blame"], "recipe", "{job:#}");
        }
    }
}

#[test]
fn the_first_sigterm_of_a_host_that_drains_lets_its_builds_end() {
    let place = place();
    let dir = place.path().join("farm");
    let mut farm = farm(&dir, "drain_on_term = true\n", &[]);
    let mut repo = Repo::new();
    add(&mut repo, "slow", GATE);
    repo.commit("Add one");
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.until(&["job", "list"], |jobs| {
        jobs[0]["attempts"][0]["phase"] == "build"
    });
    let pid = nix::unistd::Pid::from_raw(i32::try_from(farm.pid()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    farm.until(&["call", "io.massif.Avalanche.Show"], |shown| {
        shown["builder"]["verdict"] == "draining"
    });
    farm.open_gate(&farm.attempt_of("slow"));
    let job = farm.died("draining");
    assert_eq!(job, None, "it ended by a signal");
    farm.up();
    let job = farm.published("slow");
    assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job:#}");
}

#[test]
fn what_a_running_build_takes_is_seen_at_summit_and_by_its_builders_owner() {
    let place = place();
    let farm = farm(&place.path().join("farm"), "", &[]);
    let mut repo = Repo::new();
    let build = "build       : |\n    head -c 20M /dev/zero > fill\n    while true; do cat fill > /dev/null; echo on; sleep 0.1; done\n";
    add(&mut repo, "mover", build);
    repo.commit("Add one");
    farm.ok(&["project", "add", "test", &repo.url()]);
    let full = |slot: &serde_json::Value| {
        let all = ["disk_bytes", "io_bytes", "log_bytes", "memory_peak_bytes"];
        let seen = |key: &&str| slot[*key].as_u64().is_some_and(|bytes| bytes > 0);
        all.iter().all(seen) && slot["cpu_s"].as_f64().is_some() && slot["silent_s"].is_number()
    };
    let much = |slot: &serde_json::Value| {
        let all = ["disk_bytes", "io_bytes"];
        all.iter()
            .all(|key| slot[*key].as_u64().is_some_and(|bytes| bytes >= 20 << 20))
    };
    farm.until(&["builder", "show", "east"], |east| {
        full(&east["slots"][0]) && much(&east["slots"][0])
    });
    farm.until(&["call", "io.massif.Avalanche.Show"], |own| {
        full(&own["builder"]["slots"][0])
    });
    let shown = farm.ok(&["builder", "show", "east"]);
    assert!(shown.contains("read and written"), "{shown}");
    farm.ok(&["job", "cancel", "mover"]);
}

#[test]
fn the_owner_of_a_builder_sees_it() {
    let farm = Farm::start();
    let builders = farm.until(&["builder", "list"], |builders| {
        builders[0]["verdict"] == "fit" && !builders[0]["history"].as_array().unwrap().is_empty()
    });
    assert!(builders[0]["disks"][0]["free_bytes"].as_u64().unwrap() > 0);
    farm.until(&["call", "io.massif.Avalanche.Show"], |own| {
        own["builder"]["verdict"] == "fit"
    });
}
