//! Slots as a whole: from their start to the first line, the kill of a crowd, shares of cores, and builds that fill the disk at
//! random: `cargo bench --bench figures -- slots`. The fills take root, for a small file system of their own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use massif::build::base::Base;
use massif::build::cgroup::{Bounds, Confine};
use massif::build::layers::Layers;
use massif::build::sandbox::{Bind, Limits, SANDBOX_UID, Session, Spec, Step, use_helper};
use massif::plan::cycles::chance::Chance;
use tokio::io::AsyncReadExt;

use super::ring::{ask, stop, up};

const STARTS: usize = if cfg!(debug_assertions) { 5 } else { 60 };
const FILLS: usize = if cfg!(debug_assertions) { 4 } else { 100 };
/// How long two slots compete for the cores.
const SHARED: Duration = Duration::from_secs(if cfg!(debug_assertions) { 2 } else { 10 });

fn spec(place: &Path, root: massif::build::sandbox::Root, slot: u32, cores: Vec<u32>) -> Spec {
    let build = place.join(format!("build-{slot}"));
    std::fs::create_dir_all(&build).unwrap();
    Spec {
        state_dir: place.to_owned(),
        root,
        binds: vec![Bind::writable(build, "/mason/build")],
        outer_uid: SANDBOX_UID + slot,
        network: false,
        cores,
        limits: Limits::default(),
    }
}

fn bash(script: &str) -> Step {
    Step {
        name: "figure".into(),
        argv: ["/usr/bin/bash", "-c", script].map(str::to_string).to_vec(),
        cwd: "/mason/build".into(),
        env: vec![("PATH".into(), "/usr/bin:/usr/sbin".into())],
        banner: String::new(),
    }
}

async fn first_lines(place: &Path, layers: &Layers) {
    let held = layers.root(&Base::Host, &[]).unwrap();
    let mut times = Vec::new();
    for round in 0..=STARTS {
        let began = Instant::now();
        let spec = spec(place, held.root.clone(), 0, Vec::new());
        let (mut session, mut log) = Session::start(spec).await.unwrap();
        let mut byte = [0];
        let step = bash("echo the first line");
        let (end, read) = tokio::join!(session.run(step), async {
            log.read_exact(&mut byte).await.unwrap();
            began.elapsed()
        });
        assert!(end.unwrap().ok());
        session.finish().await.unwrap();
        // The first one makes the loader's cache.
        if round > 0 {
            times.push(read);
        }
    }
    times.sort();
    println!(
        "slot start to the first line of the first phase, {STARTS} times, warm: median {:.1} ms, p95 {:.1} ms (bar 50)",
        times[times.len() / 2].as_secs_f64() * 1e3,
        times[times.len() * 95 / 100].as_secs_f64() * 1e3
    );
}

async fn kill(place: &Path, layers: &Layers) {
    let held = layers.root(&Base::Host, &[]).unwrap();
    let confine = Confine::open(place);
    println!("slots are confined by {}", confine.means());
    let group = confine.group("crowd", Bounds::default());
    let spec = spec(place, held.root.clone(), 0, Vec::new());
    let (mut session, mut log) = Session::start_in(spec, group).await.unwrap();
    let killer = session.killer();
    let crowd =
        "for i in {1..250}; do sleep 99998 & (setsid sleep 99998 &) ; done; sleep 1; echo up; wait";
    let running = tokio::spawn(async move {
        let ended = session.run(bash(crowd)).await;
        (session, ended)
    });
    log.read_exact(&mut [0; 3]).await.unwrap();
    let began = Instant::now();
    killer.kill();
    let (session, _) = running.await.unwrap();
    session.kill().await.unwrap();
    println!(
        "kill of a slot with 500 processes, half of them double-forked, until none is left: {:.0} ms (bar 150)",
        began.elapsed().as_secs_f64() * 1e3
    );
}

/// Two slots of one core each, in each a job of two threads.
async fn shares(place: &Path, layers: &Layers) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if cores < 2 {
        println!("shares of cores: skipped, there is one core");
        return;
    }
    let held = layers.root(&Base::Host, &[]).unwrap();
    let burn = format!(
        "burn() {{ while :; do :; done; }}; burn & burn & sleep {}; kill %1 %2; wait; true",
        SHARED.as_secs()
    );
    let slot = async |slot: u32| {
        let spec = spec(place, held.root.clone(), slot, vec![slot]);
        let (mut session, _log) = Session::start(spec).await.unwrap();
        let end = session.run(bash(&burn)).await.unwrap();
        session.finish().await.unwrap();
        // Its share is one core.
        end.cpu_ms as f64 / end.wall_ms as f64
    };
    let (first, second) = tokio::join!(slot(0), slot(1));
    println!(
        "two slots of one core, two busy threads in each: {first:.2} and {second:.2} of their share (bar 1.10)"
    );
}

/// A small file system in memory, gone with the value.
struct Small(PathBuf);

impl Drop for Small {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

fn recipe(name: &str, mib: usize, pause_ms: usize) -> String {
    format!(
        "name        : {name}\nversion     : \"1\"\nrelease     : 1\nhomepage    : https://example.invalid\nlicense     : MIT\n\
summary     : x\ndescription : x\nbuild       : |\n    dd if=/dev/zero of=fill bs=1M count={mib} 2>&1\n    sleep 0.{pause_ms:03}\n    rm fill\n\
install     : |\n    %install_dir %(installroot)%(datadir)/{name}\n    echo x > %(installroot)%(datadir)/{name}/x\n"
    )
}

/// Builds of random sizes that fit alone and not together.
fn fills() {
    if !nix::unistd::geteuid().is_root() {
        println!("random fills of a small disk: skipped, only root may mount one");
        return;
    }
    let place = tempfile::tempdir_in("/tmp").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(place.path(), mode).unwrap();
    let (dir, repo) = (place.path().join("farm"), place.path().join("repo"));
    let attempts = dir.join("attempts");
    std::fs::create_dir_all(&attempts).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64m,mode=755", "massif-figure"])
        .arg(&attempts)
        .status();
    assert!(mounted.unwrap().success(), "mount");
    let _small = Small(attempts);
    let config = "slots = 2\nlease_s = 10\n[builder]\ndisk_floor_mib = 8\ninode_floor = 10\n";
    std::fs::write(dir.join("massif.toml"), config).unwrap();
    let mut chance = Chance::new(7);
    for number in 0..FILLS {
        let name = format!("fill-{number:03}");
        let at = repo.join(format!("f/{name}"));
        std::fs::create_dir_all(&at).unwrap();
        let text = recipe(&name, 5 + chance.below(43), chance.below(1_000));
        std::fs::write(at.join("stone.yaml"), text).unwrap();
    }
    for arguments in [
        &["init", "-q", "-b", "main"][..],
        &["add", "."],
        &[
            "-c",
            "user.name=x",
            "-c",
            "user.email=x@x",
            "commit",
            "-qm",
            "Add all",
        ],
    ] {
        let done = Command::new("git")
            .arg("-C")
            .arg(&repo)
            .args(arguments)
            .status();
        assert!(done.unwrap().success(), "git {arguments:?}");
    }
    let (child, _) = up(&dir);
    let began = Instant::now();
    ask(
        &dir,
        &[
            "project",
            "add",
            "fills",
            repo.to_str().unwrap(),
            "--build",
            "all",
        ],
    );
    let counts = loop {
        let status: serde_json::Value =
            serde_json::from_str(&ask(&dir, &["--json", "status"])).unwrap();
        let of = |state: &str| status["jobs"][state].as_u64().unwrap_or(0);
        let over = of("published") + of("failed") + of("cancelled");
        if over >= FILLS as u64 || began.elapsed() > Duration::from_secs(3_600) {
            break (of("published"), of("failed"));
        }
        std::thread::sleep(Duration::from_millis(500));
    };
    let builders: serde_json::Value =
        serde_json::from_str(&ask(&dir, &["--json", "builder", "list"])).unwrap();
    println!(
        "{FILLS} random fills of a file system of 64 MiB by two slots: {} published, {} failed (bar 0), {} given back on the way, in {:.0} s",
        counts.0,
        counts.1,
        builders[0]["parked"],
        began.elapsed().as_secs_f64()
    );
    stop(child);
}

pub fn run() {
    use_helper(env!("CARGO_BIN_EXE_massif"));
    let place = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let layers = Layers::open(place.path()).unwrap();
    runtime.block_on(async {
        first_lines(place.path(), &layers).await;
        kill(place.path(), &layers).await;
        shares(place.path(), &layers).await;
    });
    fills();
}
