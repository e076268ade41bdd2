//! Reading recipes: the bundle of real recipes from git objects, cold and commit by commit, and its catalog as a blob.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use massif::actors::summit::reader::{self, Repo};
use massif::id::{Arch, CommitId};
use massif::model::Reading;

/// Prints the figures; does nothing without the bundle or the git program (gix reads no bundles).
pub fn run() {
    let Some((_dir, path)) = clone() else {
        println!("intake: skipped (needs ../shared/data/recipes/recipes.bundle and git)");
        return;
    };
    let project = "recipes".parse().unwrap();
    let commits = commits(&path);
    let tip = *commits.last().unwrap();

    let mut cold = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        let repo = Repo::open(&path).unwrap();
        let catalog = repo.catalog(&project, tip, Arch::X86_64, None).unwrap();
        cold.push(start.elapsed());
        std::hint::black_box(catalog);
    }
    let repo = Repo::open(&path).unwrap();
    let catalog = repo.catalog(&project, tip, Arch::X86_64, None).unwrap();
    let faulty = catalog
        .entries
        .iter()
        .filter(|entry| matches!(entry.reading, Reading::Faulty { .. }))
        .count();
    println!(
        "intake: {} recipes ({faulty} faulty) and manifests from git objects, first {:.0} ms, median {:.0} ms (bar 1000)",
        catalog.entries.len(),
        ms(cold[0]),
        ms(median(&mut cold)),
    );

    let mut warm = Vec::new();
    let mut last = repo
        .catalog(&project, commits[0], Arch::X86_64, None)
        .unwrap();
    for commit in &commits[1..] {
        let start = Instant::now();
        let repo = Repo::open(&path).unwrap();
        repo.tip(None).unwrap();
        last = repo
            .catalog(&project, *commit, Arch::X86_64, Some(&last))
            .unwrap();
        warm.push(start.elapsed());
    }
    println!(
        "intake: the next commit, {} of them, median {:.2} ms",
        warm.len(),
        ms(median(&mut warm))
    );

    let mut looks = Vec::new();
    for _ in 0..100 {
        let start = Instant::now();
        Repo::open(&path).unwrap().tip(None).unwrap();
        looks.push(start.elapsed());
    }
    println!(
        "intake: a look at a local repository that did not move, median {:.2} ms (bar 2)",
        ms(median(&mut looks))
    );

    let start = Instant::now();
    let blob = reader::encode(&catalog).unwrap();
    let encoded = start.elapsed();
    let mut decoded = Vec::new();
    for _ in 0..9 {
        let start = Instant::now();
        std::hint::black_box(reader::decode(&blob).unwrap());
        decoded.push(start.elapsed());
    }
    println!(
        "intake: its catalog as a blob of {} KiB, encode {:.0} ms, decode median {:.0} ms (bar 60)",
        blob.len() / 1024,
        ms(encoded),
        ms(median(&mut decoded)),
    );

    let dirs: Vec<&str> = catalog
        .entries
        .iter()
        .step_by(40)
        .map(|entry| entry.dir.as_str())
        .collect();
    let timed = |work: &dyn Fn(&str)| {
        let mut each: Vec<Duration> = dirs
            .iter()
            .map(|dir| {
                let start = Instant::now();
                work(dir);
                start.elapsed()
            })
            .collect();
        ms(median(&mut each))
    };
    let packed = timed(&|dir| drop(repo.pack(tip, dir).unwrap()));
    let past = timed(&|dir| drop(repo.history(tip, dir, 10).unwrap()));
    println!(
        "intake: pack one recipe {packed:.2} ms, its history over {} commits {past:.2} ms",
        commits.len()
    );
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// The bundle as a bare repository; nothing without it or the git program.
pub(super) fn clone() -> Option<(tempfile::TempDir, PathBuf)> {
    let shared = std::env::var("MASSIF_SHARED")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../shared").to_string());
    let bundle = Path::new(&shared).join("data/recipes/recipes.bundle");
    let dir = tempfile::tempdir().ok()?;
    let path = dir.path().join("recipes.git");
    let status = Command::new("git")
        .args(["clone", "--quiet", "--bare"])
        .args([bundle.as_os_str(), path.as_os_str()])
        .status()
        .ok()?;
    status.success().then_some((dir, path))
}

/// Oldest first.
pub(super) fn commits(path: &Path) -> Vec<CommitId> {
    let out = Command::new("git")
        .args(["rev-list", "--reverse", "HEAD"])
        .current_dir(path)
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}
