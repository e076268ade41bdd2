//! Builds that take what they should not, in a real sandbox: what ends them, whose doing it is, and what is left.

use std::time::{Duration, Instant};

use massif::build::native::{Failure, Stage};
use massif::build::sandbox::Limits;
use massif::build::watch::Rules;
use massif::fault::Kind;
use massif::model::Blame;

use super::{Small, runs};
use crate::common::host::PATIENCE;
use crate::native::{Made, Rig};

/// Builds one recipe whose silence is limited; how long it took.
async fn build(rig: &mut Rig, text: &str, silence_s: u64) -> (Result<Made, Failure>, Duration) {
    let recipe = rig.recipe("bad", text);
    let mut order = rig.order(&recipe, &[]);
    order.limits.silence_s = silence_s;
    let began = Instant::now();
    let result = rig.run(&order).await;
    println!("{}", rig.log(&order));
    let out = rig.context(&order).out_dir();
    (result.map(|built| Made { built, out }), began.elapsed())
}

#[tokio::test]
async fn a_build_that_sleeps_for_ever_ignores_term_and_forks_away_is_ended_with_evidence() {
    let mut rig = Rig::new();
    let text = "build: |\n    trap '' TERM HUP INT\n    setsid sleep 424217 &\n    (setsid sleep 424218 &)\n    exec 7<%(sources)/.\n    sleep 424219\n";
    let text = &text.replace("    exec 7<%(sources)/.\n", "    exec 7</etc/passwd\n");
    let mut idle_ms = Vec::new();
    // Three, because a machine with other work may look late.
    for _ in 0..3 {
        let (result, _) = build(&mut rig, text, 8).await;
        let failure = result.err().unwrap();
        assert_eq!(
            (failure.blame, failure.stage),
            (Blame::Recipe, Stage::Build)
        );
        assert!(failure.fault.what.contains("stalled"), "{}", failure.fault);
        let evidence = failure.evidence.join("\n");
        for part in [
            "sleep 424217",
            "sleep 424218",
            "sleep 424219",
            "/etc/passwd",
            "samples:",
        ] {
            assert!(evidence.contains(part), "{part} is not in:\n{evidence}");
        }
        assert!(!runs("sleep 42421"), "something outlived its slot");
        idle_ms.push(failure.usage.silence_ms.unwrap());
    }
    // It was noticed within two seconds of its threshold, and never before.
    let soonest_ms = *idle_ms.iter().min().unwrap();
    assert!((8_000..10_000).contains(&soonest_ms), "{idle_ms:?}");
}

#[tokio::test]
async fn a_silent_but_busy_build_is_left_alone() {
    let mut rig = Rig::new();
    let text = "build: |\n    end=$((SECONDS + 15))\n    while [ $SECONDS -lt $end ]; do :; done\ninstall: |\n    mkdir -p %(installroot)/usr/share\n    echo x > %(installroot)/usr/share/x\n";
    let (result, took) = build(&mut rig, text, 6).await;
    let made = result.ok().unwrap();
    assert!(took >= Duration::from_secs(14), "{took:?}");
    let names: Vec<&str> = made
        .built
        .phases
        .iter()
        .map(|phase| phase.name.as_str())
        .collect();
    assert_eq!(names, ["prepare", "build", "install", "package"]);
    let usage = made.built.usage;
    assert!(
        usage.disk_bytes.is_some() && usage.silence_ms.is_some(),
        "{usage:?}"
    );
    // On a machine with other work it gets little.
    assert!(usage.cpu_ms.unwrap() > 100, "{usage:?}");
}

#[tokio::test]
async fn a_memory_hog_is_ended_at_what_its_slot_has() {
    let mut rig = Rig::new();
    rig.rules = Rules {
        memory_bytes: Some(96 << 20),
        processes: None,
    };
    let text = "build: |\n    head -c 300M /dev/zero | tail -c 299M | (sleep 60; cat >/dev/null)\n";
    let (result, took) = build(&mut rig, text, 600).await;
    let failure = result.err().unwrap();
    assert_eq!(failure.blame, Blame::Builder);
    assert!(
        failure.fault.what.contains("the slot has 96 MiB"),
        "{}",
        failure.fault
    );
    assert!(took < Duration::from_secs(300), "{took:?}");
}

#[tokio::test]
async fn one_process_that_is_faster_than_the_watchdog_meets_its_own_limit() {
    let mut rig = Rig::new();
    rig.limits = Limits {
        memory_bytes_max: Some(64 << 20),
        ..Limits::default()
    };
    let text = "build: |\n    head -c 200M /dev/zero | tail -c 199M >/dev/null\n    exit ${PIPESTATUS[1]}\n";
    let (result, _) = build(&mut rig, text, 600).await;
    let failure = result.err().unwrap();
    assert_eq!(failure.stage, Stage::Build, "{}", failure.fault);
}

#[tokio::test]
async fn a_fork_bomb_is_ended_as_such_and_nothing_of_it_is_left() {
    let mut rig = Rig::new();
    rig.limits = Limits {
        processes_max: Some(60),
        ..Limits::default()
    };
    rig.rules = Rules {
        memory_bytes: None,
        processes: Some(60),
    };
    let text = "build: |\n    while :; do sleep 535353 & done\n";
    let (result, took) = build(&mut rig, text, 600).await;
    let failure = result.err().unwrap();
    assert_eq!(failure.blame, Blame::Recipe, "{}", failure.fault);
    assert!(took < Duration::from_secs(300), "{took:?}");
    assert!(!runs("sleep 535353"), "something of the bomb is left");
}

#[tokio::test]
async fn a_flood_of_output_fills_no_disk_and_keeps_its_end() {
    let mut rig = Rig::new();
    rig.log_bytes = 64 * 1024;
    let text =
        "build: |\n    yes flood | head -c 20000000 || true\n    echo the very end\n    exit 3\n";
    let recipe = rig.recipe("flood", text);
    let order = rig.order(&recipe, &[]);
    let failure = rig.run(&order).await.err().unwrap();
    let log = rig.log(&order);
    assert!(
        log.len() < 64 * 1024 + massif::limit::LOG_TAIL_BYTES + 4096,
        "{}",
        log.len()
    );
    assert!(log.contains("log limit of 65536 bytes") && log.contains("the very end"));
    assert_eq!(failure.code, Some(3));
}

/// A builder whose state lies on a small file system of its own.
fn small_rig(options: &str) -> Option<(Small, Rig)> {
    let rig = Rig::new();
    let small = Small::mount(rig.dir.path(), options)?;
    Some((small, rig))
}

#[tokio::test]
async fn a_build_that_fills_the_disk_is_the_builders_doing_and_costs_no_try() {
    let Some((_small, mut rig)) = small_rig("size=48m,mode=755") else {
        return;
    };
    let text = "build: |\n    dd if=/dev/zero of=fill bs=1M count=200\n";
    let (result, _) = build(&mut rig, text, 600).await;
    let failure = result.err().unwrap();
    assert_eq!(
        (failure.blame, failure.fault.kind),
        (Blame::Builder, Kind::TryAgain),
        "{}",
        failure.fault
    );
    assert!(
        failure.fault.what.contains("disk is full"),
        "{}",
        failure.fault
    );
}

#[tokio::test]
async fn a_build_that_fills_the_inode_table_is_the_builders_doing_too() {
    let Some((_small, mut rig)) = small_rig("size=256m,nr_inodes=14000,mode=755") else {
        return;
    };
    let text = "build: |\n    i=0\n    while : > file$i; do i=$((i + 1)); done\n    exit 1\n";
    let (result, _) = build(&mut rig, text, 600).await;
    let failure = result.err().unwrap();
    assert_eq!(
        (failure.blame, failure.fault.kind),
        (Blame::Builder, Kind::TryAgain),
        "{}",
        failure.fault
    );
}

#[tokio::test]
async fn a_build_over_its_time_is_ended_with_evidence() {
    let mut rig = Rig::new();
    rig.phase_s = Some(3);
    let (result, _) = build(
        &mut rig,
        "build: |\n    while :; do echo alive; sleep 1; done\n",
        600,
    )
    .await;
    let failure = result.err().unwrap();
    assert_eq!(failure.blame, Blame::Recipe);
    assert!(
        failure.fault.what.contains("longer than the 3 s"),
        "{}",
        failure.fault
    );
    assert!(!failure.evidence.is_empty());
}

/// Holds a file such that whoever opens it waits, as on a disk that does not answer.
const HOLD: &str = "import fcntl, os, signal, sys, time
signal.signal(signal.SIGIO, signal.SIG_IGN)
fd = os.open(sys.argv[1], os.O_RDONLY)
for left in range(100, -1, -1):
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        break
    except BlockingIOError:
        if not left:
            raise
        time.sleep(0.1)  # somebody has it open for a moment
print('held', flush=True)
time.sleep(40)
";

#[tokio::test]
async fn packaging_that_stands_still_is_noticed_and_is_the_builders_doing() {
    use std::io::BufRead;
    let mut rig = Rig::new();
    let text = "strip: no\ndebug: no\ninstall: |\n    mkdir -p %(installroot)/usr/share\n    echo x > %(installroot)/usr/share/x\n    while [ ! -e %(installroot)/go ]; do sleep 0.1; done\n    rm %(installroot)/go\n";
    let recipe = rig.recipe("bad", text);
    let mut order = rig.order(&recipe, &[]);
    order.limits.silence_s = 8;
    let install = rig.context(&order).attempt_dir.join("install");
    let holding = tokio::task::spawn_blocking(move || {
        let file = install.join("usr/share/x");
        let deadline = Instant::now() + PATIENCE;
        // Not before its writer closed it.
        while std::fs::read(&file).is_ok_and(|bytes| bytes != b"x\n") || !file.exists() {
            assert!(Instant::now() < deadline, "nothing was installed");
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut python = std::process::Command::new("python3")
            .args(["-c", HOLD])
            .arg(&file)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = std::io::BufReader::new(python.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        std::fs::write(install.join("go"), "").unwrap();
        (python, line)
    });
    let failure = rig.run(&order).await.err();
    println!("{}", rig.log(&order));
    let (mut python, held) = holding.await.unwrap();
    python.kill().unwrap();
    python.wait().unwrap();
    if held != "held\n" {
        assert!(std::env::var_os("CI").is_none(), "no file can be held here");
        println!("skipped: files of this file system cannot be held");
        return;
    }
    let failure = failure.unwrap();
    assert_eq!(
        (failure.blame, failure.stage),
        (Blame::Builder, Stage::Package)
    );
    let what = &failure.fault.what;
    assert!(what.contains("packaging of bad stalled"), "{what}");
    assert!(failure.evidence.join("\n").contains("samples:"));
}
