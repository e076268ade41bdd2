//! The four real upstreams built again on a second host: in another directory, on half the cores, a day later; and what a
//! processor level is worth for them: `cargo bench --bench figures -- rebuilt`, some five minutes, and with `MASSIF_LEVELS=1`
//! for the levels some ten more. `MASSIF_UPSTREAM=hello` takes one of them only.

use std::path::{Path, PathBuf};
use std::process::Child;

use serde_json::Value;

use super::clock;
use super::fleet::{self, json};
use super::ring::{self, ask};
use super::table::Table;

const DAY_S: i64 = 86_400;
/// Each with what it is used for, for a second or two; the last one has only its check.
const FOUR: [(&str, &str); 4] = [
    (
        "h/hello",
        "workload    : |\n    for i in $(seq 1000); do ./hello; done > /dev/null\n",
    ),
    (
        "x/xz",
        "workload    : |\n    tar -c src tests debug | ./src/xz/xz -6 -c > packed\n    for i in $(seq 20); do ./src/xz/xz -dc packed; done > /dev/null\n",
    ),
    (
        "n/ncurses",
        "workload    : |\n    for i in $(seq 3); do LD_LIBRARY_PATH=lib ./progs/tic -o compiled misc/terminfo.src; done\n",
    ),
    ("n/nano", ""),
];

fn builder(farm: &Path, dir: &Path, slots: &str, mirror: &Path, preload: Option<&Path>) -> Child {
    let name = dir.file_name().unwrap().to_str().unwrap();
    let invite = ["invite", "--role", "avalanche", "--pre-approved", "--name"];
    let line = ask(farm, &[&invite[..], &[name]].concat());
    let mirror = mirror.to_str().unwrap();
    let more = ["--headless", "--slots", slots, "--mirror", mirror];
    let words = [&["join", line.trim()][..], &more].concat();
    let child = fleet::start_with(dir, &words, preload);
    fleet::until(farm, &["builder", "list"], |all| {
        let mut all = all.as_array().unwrap().iter();
        all.any(|one| one["name"] == name && one["verdict"] == "fit")
    });
    child
}

/// Those that are asked for.
fn upstreams() -> Vec<(&'static str, &'static str)> {
    let only = std::env::var("MASSIF_UPSTREAM").unwrap_or_default();
    let asked = |(dir, _): &(&str, &str)| dir.ends_with(&only);
    FOUR.into_iter().filter(asked).collect()
}

fn repository(repo: &Path) {
    std::fs::create_dir_all(repo).unwrap();
    ring::git(repo, &["init", "-q", "-b", "main"]);
    for (dir, workload) in upstreams() {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recipes");
        let text = std::fs::read_to_string(from.join(dir).join("stone.yaml")).unwrap();
        let to = repo.join(dir);
        std::fs::create_dir_all(&to).unwrap();
        std::fs::write(to.join("stone.yaml"), text + workload).unwrap();
    }
    ring::git(repo, &["add", "."]);
    ring::git(repo, &["commit", "-q", "-m", "four"]);
}

/// Where the upstreams are, if they are here.
fn mirror() -> Option<PathBuf> {
    let shared = std::env::var_os("MASSIF_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    Some(shared.join("data/upstreams")).filter(|dir| dir.is_dir())
}

pub fn run() {
    let mut table = Table::of("rebuilt");
    let Some(mirror) = mirror() else {
        return println!(
            "proof: skipped: the four upstreams (../shared/data/upstreams is not here)"
        );
    };
    let place = tempfile::tempdir().unwrap();
    let dir = |name: &str| place.path().join(name);
    repository(&dir("repo"));
    let farm = dir("farm");
    let crest = fleet::summit(&farm, &fleet::free_port(), "30s");
    let east = builder(&farm, &dir("east"), "1", &mirror, None);
    let repo = dir("repo");
    ask(&farm, &["project", "add", "real", repo.to_str().unwrap()]);
    let published = |jobs: &Value| {
        let jobs = jobs.as_array().unwrap();
        let ended = |job: &Value| job["state"] == "published" || job["state"] == "failed";
        jobs.len() == upstreams().len() && jobs.iter().all(ended)
    };
    let jobs = fleet::until(&farm, &["job", "list"], published);
    assert!(!jobs.to_string().contains("\"failed\""), "{jobs:#}");
    let late = clock::library(place.path(), DAY_S);
    let west = builder(&farm, &dir("west"), "2", &mirror, Some(&late));
    let mask = loop {
        if let Some(mask) = clock::mask(&dir("west")) {
            break mask;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    };
    clock::builds_later(&mask, place.path(), DAY_S);
    let (mut same, mut all) = (0, 0);
    for (recipe, _) in upstreams() {
        let name = recipe.rsplit('/').next().unwrap();
        // One that differs is an answer too.
        let output = ring::ran(&farm, &["--json", "compare", name, "--on", "west"]);
        let made: Value = serde_json::from_slice(&output.stdout).unwrap();
        same += made["same"].as_u64().unwrap_or(0);
        all += made["artefacts"].as_u64().unwrap_or(0);
    }
    table.row(
        "the four real upstreams built again on a second host, in another directory, on half the cores, a day later",
        format!(
            "{same} of {all} files of {} are the same bytes",
            upstreams().len()
        ),
        "100 %",
    );
    table.said("massif compare list", &ask(&farm, &["compare", "list"]));
    ring::stop(west);
    if std::env::var_os("MASSIF_LEVELS").is_some_and(|wish| wish != "0") {
        levels(&farm, &mut table);
    }
    ring::stop(east);
    ring::stop(crest);
    table.finish();
}

fn levels(farm: &Path, table: &mut Table) {
    let builders = json(farm, &["builder", "show", "east"]);
    if !builders["levels"].to_string().contains("x86_64-v3x") {
        return println!("rebuilt: skipped: levels (this processor runs none above the baseline)");
    }
    let words = [
        "compare",
        "--isa",
        "--project",
        "real",
        "--top",
        "4",
        "--measure",
        "--levels",
        "x86_64-v3x",
        "--on",
        "east",
    ];
    let said = ask(farm, &words);
    table.said(
        "massif compare --isa --project real --top 4 --measure --levels x86_64-v3x --on east",
        &said,
    );
}
