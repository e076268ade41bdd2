//! Builds that are no jobs of the farm's own executor: `massif try`, and the distribution's own tool.

use std::path::Path;

use super::farm::{farm, place};
use super::runs;
use crate::common::farm::PATIENCE;
use crate::common::repo::Repo;
use crate::ring::script_recipe;

pub fn local(dir: &Path, name: &str, extra: &str) {
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("stone.yaml"), script_recipe(name, 1, extra)).unwrap();
}

pub fn stones(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".stone"))
        .collect();
    names.sort();
    names
}

#[test]
fn a_local_recipe_is_tried_on_the_farm_and_main_is_never_touched() {
    let place = place();
    let farm = farm(&place.path().join("farm"), "", &[]);
    let (dir, out) = (place.path().join("mine"), place.path().join("out"));
    local(
        &dir,
        "mine",
        "build       : |\n    echo hello from %(name)\n",
    );
    let (dir, out) = (dir.to_str().unwrap(), out.to_str().unwrap());
    let said = farm.ok(&["try", dir, "--out", out]);
    assert!(
        said.contains("hello from mine") && said.contains("made "),
        "{said}"
    );
    assert_eq!(stones(Path::new(out)).len(), 1, "{said}");
    assert!(farm.json(&["job", "list"]).as_array().unwrap().is_empty());
    let versions = farm.json(&["channel", "versions", "main"]);
    assert_eq!(versions.as_array().unwrap().len(), 1, "{versions:#}");

    farm.code(5, &["try", dir, "--channel", "main"]);
    farm.ok(&["try", dir, "--channel", "ann"]);
    let versions = farm.json(&["channel", "versions", "ann"]);
    assert_eq!(versions[0]["packages"], 1, "{versions:#}");
    // Others install from it as from any channel.
    farm.check_channel("ann");
    let versions = farm.json(&["channel", "versions", "main"]);
    assert_eq!(versions.as_array().unwrap().len(), 1, "{versions:#}");

    local(
        Path::new(dir),
        "mine",
        "build       : |\n    echo it breaks\n    exit 4\n",
    );
    let said = farm.code(1, &["try", dir, "--on", "east"]);
    assert!(
        said.contains("it breaks") && said.contains("by recipe"),
        "{said}"
    );
    local(
        Path::new(dir),
        "mine",
        "builddeps   :\n    - pkgconfig(nowhere)\n",
    );
    let output = farm.run(&["try", dir]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("pkgconfig(nowhere)"),
        "{said}"
    );
    // What is thrown away is gone: nobody keeps attempts that nobody wants.
    farm.wait("attempts are left", || {
        let attempts = std::fs::read_dir(farm.dir().join("attempts"));
        attempts.unwrap().count() == 0
    });
}

#[test]
fn a_local_recipe_is_looked_over_with_cures_before_it_is_built() {
    let place = place();
    let farm = farm(&place.path().join("farm"), "", &[]);
    let (dir, out) = (place.path().join("mine"), place.path().join("out"));
    local(&dir, "mine", "");
    let file = dir.join("stone.yaml");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, good.replace(": MIT", ": GPL 2")).unwrap();
    let (dir, out) = (dir.to_str().unwrap(), out.to_str().unwrap());
    let said = farm.ok(&["try", dir, "--out", out]);
    for part in ["worth mending", "\"GPL 2\" is not an SPDX id", "spdx.org"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert_eq!(stones(Path::new(out)).len(), 1, "{said}");
    std::fs::write(&file, good.replace("release     : 1", "release     : x")).unwrap();
    let output = farm.run(&["try", dir]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("stone.yaml:3"),
        "{said}"
    );
}

#[test]
fn a_try_outlives_a_kill_of_the_farm() {
    let place = place();
    let mut farm = farm(&place.path().join("farm"), "", &[]);
    let (dir, out) = (place.path().join("mine"), place.path().join("out"));
    let flag = place.path().join("flag");
    local(
        &dir,
        "mine",
        "build       : |\n    echo it began\n    sleep 4\n",
    );
    let mut child = std::process::Command::new(crate::common::farm::MASSIF)
        .arg("--dir")
        .arg(farm.dir())
        .args(["try", dir.to_str().unwrap(), "--out", out.to_str().unwrap()])
        .stdin(std::process::Stdio::null())
        .stdout(std::fs::File::create(&flag).unwrap())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while !std::fs::read_to_string(&flag).unwrap().contains("it began") {
        assert!(std::time::Instant::now() < deadline, "it does not begin");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    farm.kill();
    farm.up();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(std::time::Instant::now() < deadline, "{}", farm.log());
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    let said = std::fs::read_to_string(&flag).unwrap();
    assert!(status.success(), "{said}\n{}", farm.log());
    assert_eq!(stones(&out).len(), 1, "{said}");
    // Its owner has it, so nothing of it is kept.
    farm.until(&["store", "check"], |check| {
        let mut trees = check["trees"].as_array().unwrap().iter();
        !trees.any(|tree| tree["name"] == "try" && tree["rows"] != 0)
    });
}

/// Some index below a channel's history.
fn index_of(history: &Path) -> std::path::PathBuf {
    let below = |dir: &Path| -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(dir).unwrap().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let versions = below(history).into_iter();
    let arches = versions.flat_map(|version| below(&version));
    let mut indexes = arches.map(|arch| arch.join("stone.index"));
    indexes.find(|path| path.is_file()).expect("an index")
}

/// A program that keeps to what the distribution's own tool promises on its command line.
pub fn stand_in(at: &Path, made: &Path, notes: &Path) {
    let script = format!(
        r#"#!/bin/sh
set -eu
echo "$@" > {notes}/args
nproc > {notes}/cores
while [ $# -gt 0 ]; do
    case "$1" in
        --cache-dir) C=$2; shift 2;;
        --config-dir) F=$2; shift 2;;
        --data-dir) D=$2; shift 2;;
        --moss-root) M=$2; shift 2;;
        -o) OUT=$2; shift 2;;
        --) RECIPE=$2; break;;
        *) shift;;
    esac
done
test -d "$C" -a -d "$D" -a -d "$M" -a -d "$OUT"
cp "$F/profile.d/farm.kdl" {notes}/profile
printf '│Setup│\n│Build│ working\n'
echo '# rewritten' >> "$RECIPE/stone.yaml"
mkdir -p "$C/build/tool-1.1-1"
if [ -e {notes}/fail ]; then
    setsid sleep 828282 > /dev/null 2>&1 &
    echo 'it broke' >&2
    exit 1
fi
printf '│Package│\n'
cp {made}/* "$OUT/"
echo "Build finished successfully at $(date)"
"#,
        notes = notes.display(),
        made = made.display()
    );
    crate::common::program(at, &mut script.as_bytes());
}

#[test]
fn the_distributions_own_tool_builds_where_it_is_and_its_absence_fails_no_job() {
    let place = place();
    let (made, notes) = (place.path().join("made"), place.path().join("notes"));
    std::fs::create_dir_all(&notes).unwrap();
    let tool = place.path().join("boulder");
    // As many as there are cores, so that each has one.
    let slots = std::thread::available_parallelism().unwrap().get();
    let slots = slots.to_string();
    let config = format!(
        "boulder = \"{}\"\n[[profile]]\nname = \"native\"\n[[profile]]\nname = \"vendor\"\nexecutor = \"boulder\"\n[[profile.remote]]\nname = \"far \\\"away\\\"\"\nurl = \"/nowhere/stone.index\"\npriority = 7\n",
        tool.display()
    );
    // Packages for the stand-in to hand out, made by a farm of another directory.
    let other = farm(&place.path().join("other"), "", &[]);
    local(&place.path().join("tool"), "tool", "");
    let dir = place.path().join("tool");
    other.ok(&[
        "try",
        dir.to_str().unwrap(),
        "--out",
        made.to_str().unwrap(),
    ]);
    drop(other);

    let farm = farm(&place.path().join("farm"), &config, &["--slots", &slots]);
    let mut repo = Repo::new();
    repo.write("t/tool/stone.yaml", script_recipe("tool", 1, ""));
    repo.commit("Add it");
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.published("tool");
    let text = |profile: &str| format!("{:#}", farm.json(&["job", "list"])).contains(profile);
    if !text("vendor") {
        // Only the first profile of a configuration is added by itself.
        let mut profile = farm.json(&["profile", "show", "native"]);
        profile["name"] = "vendor".into();
        profile["executor"] = "boulder".into();
        // A name and a place that would break out of the tool's configuration.
        let far = place.path().join("far \"away\" } evil {.index");
        std::fs::copy(index_of(&farm.public().join("main/history")), &far).unwrap();
        profile["remotes"] = serde_json::json!([
            { "name": "far \"away\" } evil {", "url": far.to_str().unwrap(), "priority": 7 }
        ]);
        let call = serde_json::json!({ "profile": profile }).to_string();
        farm.ok(&["call", "io.massif.Summit.ProfileAdd", &call]);
    }
    farm.ok(&["build", "tool", "--rebuild", "--profile", "vendor"]);
    let job = |farm: &crate::common::farm::Farm| {
        let jobs = farm.json(&["job", "list"]);
        let jobs = jobs.as_array().unwrap().clone();
        jobs.into_iter()
            .find(|job| job["profile"] == "vendor")
            .unwrap()
    };
    let deadline = std::time::Instant::now() + PATIENCE;
    let wait = |what: &str, fits: &dyn Fn(&serde_json::Value) -> bool| loop {
        let now = job(&farm);
        if fits(&now) {
            break now;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "{what}: {now:#}\n{}",
            farm.log()
        );
        std::thread::sleep(std::time::Duration::from_millis(100));
    };
    let refused = wait("a refusal", &|job| {
        job["attempts"].to_string().contains("this builder has no")
    });
    assert_ne!(refused["state"], "failed", "{refused:#}");
    let why = farm.ok(&["why", &refused["id"].to_string()]);
    assert!(why.contains("install boulder there"), "{why}");

    std::fs::write(notes.join("fail"), "").unwrap();
    stand_in(&tool, &made, &notes);
    let failed = wait("its failure", &|job| job["state"] == "failed");
    let last = failed["attempts"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert_eq!(last["blame"], "recipe", "{failed:#}");
    assert!(
        last["why"].as_str().unwrap().contains("code 1"),
        "{failed:#}"
    );
    assert!(!runs("sleep 828282"), "what forked away is left");
    let left = farm.dir().join("boulder/slot-0/cache/build/tool-1.1-1");
    assert!(!left.exists(), "{} is left", left.display());
    let args = std::fs::read_to_string(notes.join("args")).unwrap();
    // As section 8.1 of the fact sheet has it: the verb, its four places, the profile, and the recipe at the end.
    let shape = [
        "build --cache-dir ",
        " --config-dir ",
        " --data-dir ",
        " --moss-root ",
        " -p farm --update --cleanup -b 2 ",
        "-o ",
        " -- ",
    ];
    let mut rest = args.as_str();
    for part in shape {
        let Some((_, after)) = rest.split_once(part) else {
            panic!("{part} is not in its place in {args}");
        };
        rest = after;
    }
    let cores = std::fs::read_to_string(notes.join("cores")).unwrap();
    assert_eq!(cores.trim(), "1", "the cores of its slot");
    let profile = std::fs::read_to_string(notes.join("profile")).unwrap();
    assert!(
        profile.contains("/main/history/") && profile.contains("active #true"),
        "{profile}"
    );
    let quoted = [
        "r_far__away____evil__ {",
        r#"description "far \"away\" } evil {""#,
        "priority 7",
    ];
    for part in quoted {
        assert!(profile.contains(part), "{part} is not in {profile}");
    }
    let log = farm.ok(&["job", "log", &failed["id"].to_string()]);
    assert!(log.contains("it broke"), "{log}");
    let shown = farm.json(&["job", "show", &failed["id"].to_string()]);
    assert!(
        shown["phases"].to_string().contains("\"build\""),
        "{shown:#}"
    );

    std::fs::remove_file(notes.join("fail")).unwrap();
    let out = place.path().join("out");
    let said = farm.ok(&[
        "try",
        dir.to_str().unwrap(),
        "--profile",
        "vendor",
        "--out",
        out.to_str().unwrap(),
    ]);
    assert_eq!(stones(&out).len(), 1, "{said}");

    // It may have refused what it made because of a committed manifest: another one is another try, for it alone.
    let before = farm.json(&["job", "list"]).as_array().unwrap().len();
    let manifest = format!("t/tool/manifest.{}.bin", std::env::consts::ARCH);
    repo.write(&manifest, "another one");
    repo.commit("Add its manifest");
    farm.ok(&["project", "refresh", "test"]);
    wait("another job", &|job| job["id"] != failed["id"]);
    let jobs = farm.json(&["job", "list"]);
    assert_eq!(jobs.as_array().unwrap().len(), before + 1, "{jobs:#}");
}
