//! A whole farm in a process of its own: start to `ready`, commit to installable, memory and wake-ups at rest.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const MASSIF: &str = env!("CARGO_BIN_EXE_massif");

pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

pub fn up(dir: &Path) -> (Child, Duration) {
    up_with(dir, &[])
}

/// The same with more arguments.
pub fn up_with(dir: &Path, more: &[&str]) -> (Child, Duration) {
    let began = Instant::now();
    let mut child = Command::new(MASSIF)
        .args([
            "up",
            "--headless",
            "--listen",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
            "--dir",
        ])
        .arg(dir)
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its output is piped"))
        .read_line(&mut line)
        .expect("it says ready");
    assert!(line.starts_with("ready"), "{line}");
    (child, began.elapsed())
}

pub fn stop(mut child: Child) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("process ids are small"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
    child.wait().expect("it ends");
}

/// Runs a command against it.
pub fn ran(dir: &Path, arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(MASSIF);
    command.arg("--dir").arg(dir).args(arguments);
    command.output().expect("the program runs")
}

pub fn ask(dir: &Path, arguments: &[&str]) -> String {
    let output = ran(dir, arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn git(dir: &Path, arguments: &[&str]) {
    let done = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(["-c", "user.name=b", "-c", "user.email=b@example.org"])
        .args(arguments)
        .output();
    assert!(
        done.is_ok_and(|output| output.status.success()),
        "git {arguments:?}"
    );
}

/// A repository with script-only recipes of these names, each of which sleeps for so long.
pub fn repository(dir: &Path, names: &[&str], seconds: u32) {
    for name in names {
        let at = dir.join("x").join(name);
        std::fs::create_dir_all(&at).expect("a directory");
        let text = recipe(1).replace("quick", name).replace(
            "install: |",
            &format!("build: |\n    sleep {seconds}\ninstall: |"),
        );
        std::fs::write(at.join("stone.yaml"), text).expect("a file");
    }
    git(dir, &["init", "-q", "-b", "main", "."]);
    git(dir, &["add", "-A"]);
    git(dir, &["commit", "-q", "-m", "all"]);
}

fn recipe(release: u32) -> String {
    format!(
        "name: quick\nversion: \"1\"\nrelease: {release}\nhomepage: https://example.org\nlicense: MIT\nsummary: Quick\ndescription: Quick.\ninstall: |\n    %install_dir %(installroot)%(datadir)/quick\n    echo {release} > %(installroot)%(datadir)/quick/release\n"
    )
}

pub fn status_kib(pid: u32, field: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| {
        line.strip_prefix(field)?
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    })
}

/// Voluntary switches of all threads: times that the process was woken.
pub fn wakes(pid: u32) -> u64 {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return 0;
    };
    tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok())
        .filter_map(|text| {
            text.lines().find_map(|line| {
                line.strip_prefix("voluntary_ctxt_switches:")?
                    .trim()
                    .parse::<u64>()
                    .ok()
            })
        })
        .sum()
}

/// Prints the figures.
pub fn run() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let (farm, repo) = (place.path().join("farm"), place.path().join("repo"));
    let mut starts = Vec::new();
    for round in 0..5 {
        let (child, took) = up(&place.path().join(format!("empty-{round}")));
        starts.push(took);
        stop(child);
    }
    println!(
        "ring: start to ready, empty directory: median {:.3} s (bar 0.5 s)",
        median(starts).as_secs_f64()
    );
    let (child, _) = up(&farm);
    std::thread::sleep(Duration::from_secs(3));
    let before = wakes(child.id());
    std::thread::sleep(Duration::from_secs(10));
    let woken = (wakes(child.id()) - before) as f64 / 10.0;
    let resident = status_kib(child.id(), "VmRSS:").unwrap_or_default();
    println!(
        "ring: idle, all roles, empty: {:.1} MiB resident (bar 30), {woken:.1} wake-ups/s (bar 20)",
        resident as f64 / 1024.0
    );
    std::fs::create_dir_all(repo.join("q/quick")).expect("a directory");
    git(&repo, &["init", "-q", "-b", "main", "."]);
    let mut times = Vec::new();
    for release in 1..=11 {
        std::fs::write(repo.join("q/quick/stone.yaml"), recipe(release)).expect("a file");
        git(&repo, &["add", "-A"]);
        git(&repo, &["commit", "-q", "-m", "quick"]);
        let began = Instant::now();
        if release == 1 {
            ask(
                &farm,
                &[
                    "project",
                    "add",
                    "bench",
                    repo.to_str().expect("a plain path"),
                    "--build",
                    "all",
                ],
            );
        } else {
            ask(&farm, &["project", "refresh", "bench", "--no-wait"]);
        }
        let wanted = format!("\"release\":{release},");
        while !ask(&farm, &["--json", "package", "list"])
            .replace(' ', "")
            .contains(&wanted)
        {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "it is never published"
            );
        }
        if release > 1 {
            times.push(began.elapsed());
        }
    }
    println!(
        "ring: commit to installable, phases (some 50 ms of bash) included: median {:.0} ms (bar 300 ms without them)",
        median(times).as_secs_f64() * 1000.0
    );
    stop(child);
}
