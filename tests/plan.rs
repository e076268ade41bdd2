//! `massif plan --git`: a distribution's order without a farm, from real recipes and from what people get wrong.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::common::farm::{Farm, MASSIF, shared};
use super::common::repo::Repo;
use super::intake;
use super::ring::script_recipe;

fn run(repository: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(MASSIF);
    command.args(["plan", "--git"]).arg(repository);
    command.args(arguments).output().unwrap()
}

fn plan(repository: &Path, arguments: &[&str]) -> Value {
    let mut all = vec!["--json"];
    all.extend(arguments);
    let output = run(repository, &all);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What it says when it ends with this code.
fn refused(repository: &Path, code: i32, arguments: &[&str]) -> String {
    let output = run(repository, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    said
}

fn rows(plan: &Value) -> HashMap<&str, &Value> {
    let rows = plan["jobs"].as_array().unwrap().iter();
    rows.map(|row| (row["recipe"].as_str().unwrap(), row))
        .collect()
}

/// Nothing starts before what it needs, no run beats its bound, and the critical path is a path.
fn keeps_its_order(plan: &Value) {
    let rows = rows(plan);
    for (name, row) in &rows {
        let Some(start) = row["start_s"].as_f64() else {
            continue;
        };
        for before in row["depends_on"].as_array().unwrap() {
            let before = before.as_str().unwrap();
            let end = rows[before]["end_s"].as_f64();
            assert!(
                end.is_some_and(|end| end <= start),
                "{name} before {before}"
            );
        }
    }
    let (makespan, bound) = (&plan["makespan_s"], &plan["lower_bound_s"]);
    assert!(
        makespan.as_f64().unwrap() >= bound.as_f64().unwrap(),
        "{makespan} beats {bound}"
    );
    let path = plan["critical_path"].as_array().unwrap();
    for two in path.windows(2) {
        let needs = rows[two[1].as_str().unwrap()]["depends_on"].as_array();
        assert!(needs.unwrap().contains(&two[0]), "{two:?}");
    }
}

#[test]
fn the_real_recipes_are_planned_at_six_commits_in_an_order_that_keeps_every_edge() {
    let Some((_dir, path, commits)) = intake::bundle() else {
        return intake::skipped("the recipes' bundle or git is missing");
    };
    let made = tempfile::tempdir().unwrap();
    let durations = made.path().join("durations.json");
    let tool = shared("tools/durations.py").and_then(|tool| {
        let made = Command::new("python3").arg(tool).arg(&path).output().ok()?;
        made.status.success().then_some(made.stdout)
    });
    std::fs::write(&durations, tool.unwrap_or_else(|| b"{}".to_vec())).unwrap();
    let durations = durations.to_str().unwrap();
    let mut planned = Vec::new();
    for at in [59, 0, 12, 24, 36, 48] {
        let commit = commits[at].to_string();
        let found = plan(
            &path,
            &[
                "--empty",
                "--edges",
                "manifest",
                "--commit",
                &commit,
                "--durations",
                durations,
                "--builders",
                "8",
                // Fewer than by default: a debug build has them too.
                "--search-steps",
                "2000",
            ],
        );
        keeps_its_order(&found);
        let jobs = found["jobs"].as_array().unwrap();
        let builds = found["builds"].as_u64().unwrap();
        assert!(jobs.len() > 1_400 && builds + 20 > jobs.len() as u64);
        let started = jobs.iter().filter(|job| job["start_s"].is_number());
        assert_eq!(started.count() as u64, builds, "at {commit}");
        // What cannot be read is a row with its fault, and stops nothing.
        let faulty = jobs.iter().filter(|job| job["faults"] != json!([]));
        assert_eq!(faulty.count() as u64, jobs.len() as u64 - builds);
        let cycles = found["cycles"].as_array().unwrap();
        let largest = cycles
            .iter()
            .max_by_key(|cycle| cycle["members"].as_array().unwrap().len())
            .unwrap();
        let count = |key: &str| largest[key].as_array().unwrap().len() as u64;
        assert!(count("members") > 300, "{}", count("members"));
        let least = largest["cuts_lower_bound"].as_u64().unwrap();
        assert!(
            (least..90).contains(&count("cuts")),
            "{} cuts, at least {least}",
            count("cuts")
        );
        for cut in largest["cuts"].as_array().unwrap() {
            assert!(cut["served_by"].is_null() && cut["dependency"].is_string());
        }
        planned.push(builds);
    }
    assert!(
        planned.iter().any(|builds| *builds != planned[0]),
        "{planned:?}"
    );
}

#[test]
fn a_plan_takes_what_is_published_durations_and_builders_and_says_what_is_wrong_with_them() {
    let mut repo = Repo::new();
    let add = |repo: &mut Repo, name: &str, release: u64, extra: &str| {
        repo.write(
            &format!("{}/{name}/stone.yaml", &name[..1]),
            script_recipe(name, release, extra),
        );
    };
    add(&mut repo, "base", 1, "");
    add(&mut repo, "above", 1, "builddeps   :\n    - base\n");
    repo.commit("Add two");
    let farm = Farm::start();
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.published("above");
    let newest = farm.json(&["channel", "list"])[0]["version"].clone();
    let index = farm
        .public()
        .join(format!("main/history/{newest}/{}/stone.index", arch()));
    let index = index.to_str().unwrap();
    add(&mut repo, "base", 2, "");
    add(
        &mut repo,
        "broken",
        1,
        "builddeps   :\n    - pkgconfig(nobody)\n",
    );
    repo.write("b/bad/stone.yaml", "name: [\n");
    repo.commit("A newer base, one that nobody can build, one that nobody can read");
    let path = repo.path().to_path_buf();

    let own = ["--edges", "manifest", "--index", index];
    let newer = plan(&path, &[&own[..], &["--builders", "2"]].concat());
    let rows_of = rows(&newer);
    assert_eq!(rows_of["above"]["reasons"], json!([]), "{newer:#}");
    assert_eq!(rows_of["base"]["release"], 2);
    assert!(rows_of["base"]["start_s"].is_number(), "{newer:#}");
    assert_eq!(
        rows_of["broken"]["unresolved"],
        json!(["pkgconfig(nobody)"])
    );
    assert!(rows_of["broken"]["start_s"].is_null());
    assert_eq!(newer["unresolved"][0]["recipes"], json!(["broken"]));
    let faults = newer["jobs"].as_array().unwrap().iter();
    let mut faults = faults.flat_map(|row| row["faults"].as_array().unwrap());
    let fault = faults.next().unwrap().to_string();
    assert!(fault.contains("b/bad/stone.yaml"), "{fault}");
    // The same index is of another architecture than what is planned: nothing of it counts.
    let other = ["aarch64", "x86_64"]
        .into_iter()
        .find(|other| *other != arch());
    let foreign = plan(&path, &[&own[..], &["--arch", other.unwrap()]].concat());
    assert_eq!(foreign["builds"], 3, "{foreign:#}");

    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_string()
    };
    let durations = file(
        "durations.json",
        r#"{"base": 50, "above": -4, "broken": 0}"#,
    );
    let one = file("one.json", r#"[{"name": "slow", "speed": 0.5}]"#);
    let nobody = file(
        "nobody.json",
        r#"[{"name": "other", "archs": ["riscv64"]}]"#,
    );
    let pictures = ["a.dot", "a.svg", "gantt.svg"].map(|name| file(name, ""));
    let whole = plan(
        &path,
        &[
            "--empty",
            "--durations",
            &durations,
            "--builders-file",
            &one,
            "--dot",
            &pictures[0],
            "--svg",
            &pictures[1],
            "--gantt",
            &pictures[2],
        ],
    );
    keeps_its_order(&whole);
    // Half the speed, twice the time; a negative duration counts as none.
    let of = rows(&whole);
    let took = of["base"]["end_s"].as_f64().unwrap() - of["base"]["start_s"].as_f64().unwrap();
    assert_eq!((took, &of["base"]["builder"]), (100.0, &json!("slow")));
    assert!(of["above"]["end_s"].as_f64() > of["above"]["start_s"].as_f64());
    let [dot, svg, gantt] = pictures.map(|path| std::fs::read_to_string(path).unwrap());
    assert!(dot.starts_with("digraph") && svg.contains(">above</text>"));
    assert!(gantt.contains("<title>base: "), "{gantt}");
    let idle = plan(&path, &["--empty", "--builders-file", &nobody]);
    assert_eq!(idle["makespan_s"], 0.0);
    assert!(rows(&idle)["base"]["builder"].is_null());

    for (code, option, text) in [
        (2, "--durations", "[1, 2]"),
        (2, "--durations", "{\"a\":"),
        (2, "--builders-file", "[{\"speed\": 1}]"),
    ] {
        let wrong = file("wrong.json", text);
        assert!(refused(&path, code, &[option, &wrong]).contains("wrong.json"));
    }
    let mut bytes = std::fs::read(index).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    let damaged = dir.path().join("damaged.index");
    std::fs::write(&damaged, &bytes).unwrap();
    let output = run(&path, &["--index", damaged.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("damaged.index"),
        "{said}"
    );
    let nowhere = refused(&path, 1, &["--commit", "no-such-branch"]);
    assert!(nowhere.contains("no-such-branch"), "{nowhere}");
    assert!(refused(&path, 2, &["--rebuild", "base"]).contains("needs a farm"));
}

fn arch() -> &'static str {
    std::env::consts::ARCH
}
