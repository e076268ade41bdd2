//! What several real hosts take: a builder that idles, one that dies, and a summit that restarts in the middle of 20 builds.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::ring::{MASSIF, ask, repository, status_kib, stop};
use super::table::Table;

const PATIENCE: Duration = Duration::from_secs(1_200);
/// How long an idle builder is watched.
const IDLE: Duration = Duration::from_secs(30);

fn start(dir: &Path, arguments: &[&str]) -> Child {
    start_with(dir, arguments, None)
}

/// The same with a library that it loads first.
pub fn start_with(dir: &Path, arguments: &[&str], preload: Option<&Path>) -> Child {
    use std::io::{BufRead, BufReader};
    let mut child = Command::new(MASSIF)
        .args(arguments)
        .arg("--dir")
        .arg(dir)
        .envs(preload.map(|path| ("LD_PRELOAD", path)))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    while let Some(Ok(line)) = lines.next() {
        if line.starts_with("ready ") {
            // What it prints later must not fill the pipe.
            std::thread::spawn(move || lines.count());
            return child;
        }
    }
    drop(child.kill());
    drop(child.wait());
    panic!("{} is not ready", dir.display());
}

pub fn summit(dir: &Path, listen: &str, lease: &str) -> Child {
    let words = [
        "up",
        "--headless",
        "--slots",
        "0",
        "--listen",
        listen,
        "--http",
        "127.0.0.1:0",
        "--poll",
        "1s",
        "--lease",
        lease,
    ];
    start(dir, &words)
}

fn builder(farm: &Path, dir: &Path, name: &str, slots: &str) -> Child {
    let invite = [
        "invite",
        "--role",
        "avalanche",
        "--pre-approved",
        "--name",
        name,
    ];
    let line = ask(farm, &invite);
    let child = start(dir, &["join", line.trim(), "--headless", "--slots", slots]);
    until(farm, &["peer", "show", name], |peer| {
        peer["link"]["up"] == true
    });
    child
}

pub fn json(farm: &Path, arguments: &[&str]) -> Value {
    let all: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    serde_json::from_str(&ask(farm, &all)).expect("JSON")
}

pub fn until(farm: &Path, arguments: &[&str], is: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = json(farm, arguments);
        if is(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{arguments:?}: {answer:#}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn count(jobs: &Value, state: &str) -> usize {
    let jobs = jobs.as_array().expect("jobs").iter();
    jobs.filter(|job| job["state"] == state).count()
}

pub fn free_port() -> String {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.local_addr().expect("an address").to_string()
}

/// Processor time so far, in seconds.
fn cpu_s(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = text
        .rsplit(')')
        .next()
        .unwrap_or("")
        .split_whitespace()
        .collect();
    let ticks = |at: usize| {
        fields
            .get(at)
            .and_then(|text| text.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    // utime and stime (proc(5)), at 100 ticks a second.
    (ticks(11) + ticks(12)) / 100.0
}

fn idle(place: &Path, table: &mut Table) {
    let (farm, east) = (place.join("idle"), place.join("idle-east"));
    let crest = summit(&farm, &free_port(), "30s");
    let builder = builder(&farm, &east, "east", "2");
    std::thread::sleep(Duration::from_secs(5));
    let (before, since) = (cpu_s(builder.id()), Instant::now());
    std::thread::sleep(IDLE);
    let memory_mib = status_kib(builder.id(), "VmRSS:").unwrap_or_default() as f64 / 1024.0;
    let core = (cpu_s(builder.id()) - before) / since.elapsed().as_secs_f64() * 100.0;
    table.row(
        "an idle builder host, linked: resident memory, processor time",
        format!(
            "{memory_mib:.1} MiB ({:.2} × the bar), {core:.2} % of a core",
            memory_mib / 20.0
        ),
        "≤ 20 MiB, ≤ 0.1 %",
    );
    stop(builder);
    stop(crest);
}

/// From the invitation to the first build that clients can install, as a script does it.
fn first(place: &Path, table: &mut Table) {
    let (farm, east) = (place.join("first"), place.join("first-east"));
    let crest = summit(&farm, &free_port(), "30s");
    let repo = place.join("first-repo");
    repository(&repo, &["alpha"], 0);
    let path = repo.to_str().expect("a plain path");
    ask(&farm, &["project", "add", "test", path]);
    let began = Instant::now();
    let builder = builder(&farm, &east, "east", "2");
    let linked_s = began.elapsed().as_secs_f64();
    until(&farm, &["job", "list"], |jobs| {
        count(jobs, "published") == 1
    });
    table.row(
        "`invite` to the first build of the new host, by a script",
        format!(
            "{:.2} s, of which {linked_s:.2} s until it was linked",
            began.elapsed().as_secs_f64()
        ),
        "≤ 60 s by hand",
    );
    stop(builder);
    stop(crest);
}

fn gone(place: &Path, table: &mut Table) {
    let farm = place.join("gone");
    let crest = summit(&farm, &free_port(), "2s");
    let dirs: [PathBuf; 2] = [place.join("gone-east"), place.join("gone-west")];
    let mut east = builder(&farm, &dirs[0], "east", "1");
    let repo = place.join("gone-repo");
    repository(&repo, &["alpha"], 5);
    ask(
        &farm,
        &[
            "project",
            "add",
            "test",
            repo.to_str().expect("a plain path"),
        ],
    );
    until(&farm, &["job", "list"], |jobs| count(jobs, "building") == 1);
    let west = builder(&farm, &dirs[1], "west", "1");
    east.kill().expect("it runs");
    let began = Instant::now();
    east.wait().expect("it ends");
    until(&farm, &["job", "show", "alpha"], |job| {
        let mut tries = job["attempts"].as_array().expect("attempts").iter();
        tries.any(|attempt| attempt["builder"] == "west")
    });
    let took_s = began.elapsed().as_secs_f64();
    table.row(
        "builder killed to its work running elsewhere, with a lease of 2 s",
        format!("{took_s:.2} s: {:.2} × lease + 1 s", took_s / 3.0),
        "≤ lease + 1 s",
    );
    stop(west);
    stop(crest);
}

fn restarted(place: &Path, table: &mut Table) {
    let (farm, east) = (place.join("restarted"), place.join("restarted-east"));
    let listen = free_port();
    let mut crest = summit(&farm, &listen, "30s");
    let builder = builder(&farm, &east, "east", "20");
    let names: Vec<String> = (0..20).map(|at| format!("job{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let repo = place.join("restarted-repo");
    repository(&repo, &names, 15);
    ask(
        &farm,
        &[
            "project",
            "add",
            "test",
            repo.to_str().expect("a plain path"),
        ],
    );
    until(&farm, &["job", "list"], |jobs| {
        count(jobs, "building") == 20
    });
    crest.kill().expect("it runs");
    crest.wait().expect("it ends");
    let crest = summit(&farm, &listen, "30s");
    let jobs = until(&farm, &["job", "list"], |jobs| {
        count(jobs, "published") == 20
    });
    let tries = |job: &Value| job["attempts"].as_array().map_or(0, Vec::len);
    let twice = jobs
        .as_array()
        .expect("jobs")
        .iter()
        .filter(|job| tries(job) > 1)
        .count();
    let lost = 20 - count(&jobs, "published");
    table.row(
        "summit killed and started in the middle of 20 builds",
        format!("{lost} attempts lost, {twice} built twice"),
        "0, 0",
    );
    stop(builder);
    stop(crest);
}

pub fn run() {
    let place = tempfile::Builder::new()
        .prefix("massif-fleet-")
        .tempdir()
        .expect("a directory");
    use std::os::unix::fs::PermissionsExt;
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(place.path(), open).expect("its mode");
    let mut table = Table::of("fleet");
    idle(place.path(), &mut table);
    first(place.path(), &mut table);
    gone(place.path(), &mut table);
    restarted(place.path(), &mut table);
    table.finish();
}
