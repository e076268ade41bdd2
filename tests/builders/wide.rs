//! Jobs that ask for more than one slot has: they take several of one builder, and small ones stand beside or wait.

use serde_json::Value;

use super::farm::{add, farm, job_until, place};
use crate::common::farm::Farm;
use crate::common::repo::Repo;

/// Cores of this machine; `None`, said once, when it has but one.
fn cores() -> Option<usize> {
    let cores = std::thread::available_parallelism().unwrap().get();
    if cores < 2 {
        println!("skipped: one core is not to be shared out");
        return None;
    }
    Some(cores)
}

fn asks(repo: &mut Repo, name: &str, text: &str) {
    repo.write(&format!("{}/{name}/constraints.yaml", &name[..1]), text);
}

pub fn failed<'a>(why: &'a Value, test: &str) -> (&'a str, &'a str) {
    let tests = why["builders"][0]["failed"].as_array().unwrap();
    let found = tests.iter().find(|failed| failed["kind"] == test);
    let found = found.unwrap_or_else(|| panic!("no {test} in {why:#}"));
    (
        found["have"].as_str().unwrap(),
        found["need"].as_str().unwrap(),
    )
}

/// The answer why a recipe is not built, once it says that it fails this test.
pub fn why_failing(farm: &Farm, recipe: &str, test: &str) -> Value {
    farm.until(&["why", recipe], |why| {
        let tests = why["builders"][0]["failed"].as_array();
        tests.is_some_and(|tests| tests.iter().any(|failed| failed["kind"] == test))
    })
}

const TELL: &str = "    echo \"has $(nproc) cores for %(jobs) jobs\"\n";

#[test]
fn a_job_that_asks_for_all_cores_takes_all_slots_and_says_so() {
    let Some(cores) = cores() else { return };
    let place = place();
    let farm = farm(&place.path().join("farm"), "", &["--slots", "2"]);
    let mut repo = Repo::new();
    add(
        &mut repo,
        "wide",
        &format!("build       : |\n{TELL}    sleep 626262\n"),
    );
    asks(&mut repo, "wide", &format!("cores: {cores}\n"));
    add(&mut repo, "beyond", "");
    asks(&mut repo, "beyond", &format!("cores: {}\n", cores + 1));
    repo.commit("Add two");
    farm.ok(&["project", "add", "test", &repo.url()]);
    let shown = farm.until(&["builder", "show", "east"], |east| {
        east["slots"][0]["phase"] == "build"
    });
    assert_eq!(shown["slots"][0]["recipe"], "wide", "{shown:#}");
    assert_eq!(shown["slots"][1]["with_slot"], 0, "{shown:#}");
    assert_eq!(shown["slots"][1]["job"], shown["slots"][0]["job"]);
    assert_eq!(shown["cores"], cores, "{shown:#}");
    let text = farm.ok(&["builder", "show", "east"]);
    assert!(text.contains("too, see slot 0"), "{text}");
    let listed = farm.ok(&["builder", "list"]);
    assert!(listed.contains("2/2"), "{listed}");
    let told = format!("has {cores} cores for {cores} jobs");
    farm.wait(&told, || farm.ok(&["job", "log", "wide"]).contains(&told));
    let asked = farm.ok(&["recipe", "show", "wide"]);
    assert!(asked.contains(&format!("{cores} cores")), "{asked}");

    // Nobody ever has what this one asks for.
    let why = why_failing(&farm, "beyond", "cores");
    let (have, need) = failed(&why, "cores");
    assert_eq!(
        (have, need),
        (&*cores.to_string(), &*(cores + 1).to_string())
    );

    add(&mut repo, "little", "");
    repo.commit("Add a small one");
    farm.ok(&["project", "refresh", "test"]);
    job_until(&farm, "little", |job| job["state"] == "ready");
    let why = why_failing(&farm, "little", "slot");
    assert_eq!(failed(&why, "slot"), ("0 of 2 free", "1"), "{why:#}");
    farm.ok(&["job", "cancel", "wide"]);
    farm.published("little");
}

#[test]
fn a_job_for_two_slots_waits_for_the_second_and_is_told_why() {
    let place = place();
    let builder = "slot_memory_mib = 256\n";
    let farm = farm(&place.path().join("farm"), builder, &["--slots", "2"]);
    let mut repo = Repo::new();
    add(&mut repo, "little", "build       : |\n    sleep 636363\n");
    repo.commit("Add a small one");
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.until(&["builder", "show", "east"], |east| {
        east["slots"][0]["phase"] == "build"
    });
    add(&mut repo, "heavy", "");
    asks(&mut repo, "heavy", "memory: 500MiB\n");
    repo.commit("Add one that is heavy");
    farm.ok(&["project", "refresh", "test"]);
    job_until(&farm, "heavy", |job| job["state"] == "ready");
    let why = why_failing(&farm, "heavy", "slot");
    let need = "2, because it asks for 512 MiB of memory";
    assert_eq!(failed(&why, "slot"), ("1 of 2 free", need), "{why:#}");
    farm.ok(&["job", "cancel", "little"]);
    farm.published("heavy");
}
