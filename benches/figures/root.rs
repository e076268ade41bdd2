//! Build roots: to enter and leave one, to configure in one, to kill one. Bubblewrap is measured in the same run.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use massif::build::base::Base;
use massif::build::layers::{Held, LayerWriter, Layers};
use massif::build::sandbox::{Bind, Limits, SANDBOX_UID, Session, Spec, Step, use_helper};
use massif::fault::Result;
use massif::id::Digest;

const ROUNDS: usize = 60;
const FILES_A_PACKAGE: usize = 40;

/// Prints the figures.
pub fn run() {
    use_helper(env!("CARGO_BIN_EXE_massif"));
    let place = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let layers = Layers::open(place.path()).unwrap();
    let start = Instant::now();
    drop(layers.root(&Base::Host, &[]).unwrap());
    println!(
        "mask over this machine's development files, made: {}",
        ms(start.elapsed())
    );
    let packages: Vec<Digest> = (0..500).map(|n| package(&layers, n)).collect();
    println!("enter, run true, leave ({ROUNDS} rounds, median and p95 in ms):");
    let bubblewrap = bubblewrap();
    let mut roots: Vec<(usize, Held)> = Vec::new();
    for count in [20, 160, 500] {
        let start = Instant::now();
        let held = layers.root(&Base::Host, &packages[..count]).unwrap();
        let merging = start.elapsed();
        let spec = spec(place.path(), &held);
        runtime.block_on(enter_and_leave(spec.clone())); // makes the loader's cache
        let mut times: Vec<Duration> = (0..ROUNDS)
            .map(|_| runtime.block_on(enter_and_leave(spec.clone())))
            .collect();
        let median = report(
            &format!("{count} packages (merged once in {})", ms(merging)),
            &mut times,
        );
        if let Some(bubblewrap) = bubblewrap {
            println!(
                "    {:.2} x bubblewrap",
                median.as_secs_f64() / bubblewrap.as_secs_f64()
            );
        }
        roots.push((count, held));
    }
    runtime.block_on(kill_many(place.path(), &roots[0].1));
    configure(&runtime, place.path(), &roots);
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn report(name: &str, times: &mut [Duration]) -> Duration {
    times.sort();
    let (median, p95) = (times[times.len() / 2], times[times.len() * 95 / 100]);
    println!(
        "  {name}: {:.1} ({:.1})",
        median.as_secs_f64() * 1e3,
        p95.as_secs_f64() * 1e3
    );
    median
}

/// A package of some files, a header, a library's links among them.
fn package(layers: &Layers, n: usize) -> Digest {
    let mut digest = Digest([0; 32]);
    digest.0[..8].copy_from_slice(&(n as u64 + 1).to_be_bytes());
    let fill = |writer: &mut LayerWriter| -> Result<()> {
        for file in 0..FILES_A_PACKAGE {
            let path = format!("share/p{n}/d{}/f{file}", file % 5);
            writer.file(
                Path::new(&path),
                false,
                &mut format!("{n} {file}").as_bytes(),
            )?;
        }
        writer.file(
            Path::new(&format!("include/p{n}.h")),
            false,
            &mut "int x;\n".as_bytes(),
        )?;
        writer.symlink(
            Path::new(&format!("lib/libp{n}.so")),
            &format!("libp{n}.so.1"),
        )
    };
    drop(layers.add(&digest, fill).unwrap());
    digest
}

fn spec(state_dir: &Path, held: &Held) -> Spec {
    for name in ["build", "install", "tmp"] {
        fs::create_dir_all(state_dir.join("attempt").join(name)).unwrap();
    }
    let bind = |name: &str, to: &str| Bind::writable(state_dir.join("attempt").join(name), to);
    Spec {
        state_dir: state_dir.to_owned(),
        root: held.root.clone(),
        binds: vec![
            bind("build", "/mason/build"),
            bind("install", "/mason/install"),
            bind("tmp", "/tmp"),
        ],
        outer_uid: SANDBOX_UID,
        network: false,
        cores: vec![],
        limits: Limits::default(),
    }
}

fn step(argv: &[&str]) -> Step {
    Step {
        name: "figure".into(),
        argv: argv.iter().map(|word| word.to_string()).collect(),
        cwd: "/mason/build".into(),
        env: vec![
            ("PATH".into(), "/usr/bin:/usr/sbin".into()),
            ("LANG".into(), "C".into()),
        ],
        banner: String::new(),
    }
}

async fn enter_and_leave(spec: Spec) -> Duration {
    let start = Instant::now();
    let (mut session, _log) = Session::start(spec).await.unwrap();
    assert!(session.run(step(&["/usr/bin/true"])).await.unwrap().ok());
    session.finish().await.unwrap();
    start.elapsed()
}

fn bubblewrap() -> Option<Duration> {
    let once = || {
        let start = Instant::now();
        let arguments = "--unshare-all --die-with-parent --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib \
            --symlink usr/lib64 /lib64 --proc /proc --dev /dev --tmpfs /tmp /usr/bin/true";
        let ended = Command::new("bwrap")
            .args(arguments.split_whitespace())
            .stdout(Stdio::null())
            .status();
        ended
            .ok()
            .filter(|status| status.success())
            .map(|_| start.elapsed())
    };
    if once().is_none() {
        println!("  bubblewrap: not installed or not allowed here (apt-get install bubblewrap)");
        return None;
    }
    let mut times: Vec<Duration> = (0..ROUNDS).filter_map(|_| once()).collect();
    Some(report("bubblewrap without layers", &mut times))
}

async fn kill_many(state_dir: &Path, held: &Held) {
    let (mut session, mut log) = Session::start(spec(state_dir, held)).await.unwrap();
    let killer = session.killer();
    let crowd = "for i in {1..170}; do sleep 99999 & (setsid sleep 99999 &) ; bash -c 'sleep 99999 & wait' & done; sleep 1; echo up; wait";
    let running = tokio::spawn(async move {
        let ended = session.run(step(&["/usr/bin/bash", "-c", crowd])).await;
        (session, ended)
    });
    tokio::io::AsyncReadExt::read_exact(&mut log, &mut [0; 3])
        .await
        .unwrap();
    let start = Instant::now();
    killer.kill();
    let (session, _) = running.await.unwrap();
    session.kill().await.unwrap();
    println!(
        "kill of some 680 processes, a quarter of them daemons, until none is left: {}",
        ms(start.elapsed())
    );
}

fn upstream() -> Option<PathBuf> {
    let shared = std::env::var_os("MASSIF_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    let entries = fs::read_dir(shared.join("data/upstreams")).ok()?.flatten();
    entries.map(|entry| entry.path()).find(|path| {
        path.file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"xz-"))
    })
}

/// Median of three runs each, in turn, so that the machine's mood falls on all alike.
fn configure(runtime: &tokio::runtime::Runtime, state_dir: &Path, roots: &[(usize, Held)]) {
    let Some(archive) = upstream() else {
        println!("configure of xz: skipped, no ../shared/data/upstreams");
        return;
    };
    let build = state_dir.join("attempt/build");
    let fresh = || {
        fs::remove_dir_all(build.join("src")).ok();
        fs::create_dir_all(build.join("src")).unwrap();
        let unpacked = Command::new("tar")
            .arg("-xf")
            .arg(&archive)
            .args(["--strip-components=1", "-C"])
            .arg(build.join("src"))
            .status();
        assert!(unpacked.unwrap().success());
    };
    let script = "cd src && exec ./configure --disable-dependency-tracking >/dev/null 2>&1";
    let mut plain = Vec::new();
    let mut inside: Vec<Vec<Duration>> = vec![Vec::new(); roots.len()];
    for _ in 0..3 {
        fresh();
        let start = Instant::now();
        let ended = Command::new("bash")
            .args(["-c", script])
            .current_dir(&build)
            .env_clear()
            .envs([("PATH", "/usr/bin:/usr/sbin"), ("LANG", "C")])
            .process_group(0)
            .status();
        assert!(ended.unwrap().success());
        plain.push(start.elapsed());
        for ((_, held), times) in roots.iter().zip(&mut inside) {
            fresh();
            times.push(runtime.block_on(async {
                let (mut session, _log) = Session::start(spec(state_dir, held)).await.unwrap();
                let start = Instant::now();
                let end = session
                    .run(step(&["/usr/bin/bash", "-c", script]))
                    .await
                    .unwrap();
                let took = start.elapsed();
                assert!(end.ok(), "{end:?}");
                session.finish().await.unwrap();
                took
            }));
        }
    }
    println!("configure of xz (median and p95 in ms):");
    let plain = report("plain root", &mut plain);
    for ((count, _), times) in roots.iter().zip(&mut inside) {
        let median = report(&format!("{count} packages"), times);
        println!(
            "    {:.2} x plain",
            median.as_secs_f64() / plain.as_secs_f64()
        );
    }
}
