//! Ends: of a step, of a session, of the host; none leaves a process.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use massif::build::cgroup::{self, Bounds, Confine};
use massif::build::leftovers::reclaim_dead;
use massif::build::sandbox::Session;
use tokio::io::AsyncReadExt;

use super::{Place, run, sh};
use crate::common::host::PATIENCE;

const DEADLINE: Duration = PATIENCE;

/// Processes of the machine whose command line holds this text.
fn processes_with(text: &str) -> usize {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter(|entry| {
            fs::read(entry.path().join("cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(text))
        })
        .count()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(
            start.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        // A look reads of every process of the machine.
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A number of seconds that no other test sleeps, here or in another process, so that its processes can be told apart: each test
/// has a salt of its own.
fn odd_nap(salt: u32) -> String {
    format!("1{:08}{salt}", std::process::id())
}

#[tokio::test]
async fn what_outlives_a_step_is_ended_with_it_and_the_log_says_so() {
    let place = Place::new();
    let nap = odd_nap(1);
    // Done when what forked away runs the program by whose name it is told.
    let first = format!(
        "(setsid sleep {nap} >/dev/null 2>&1 &) ; until grep -qsx sleep /proc/[0-9]*/comm; do :; done; echo done"
    );
    let (ends, log) = run(place.spec(), &[&first, "ls -d /proc/[0-9]* | wc -l"]).await;
    assert_eq!(ends[0].outlived, ["sleep"]);
    assert!(
        log.contains("massif: a process outlived step test and ended with it: sleep\n"),
        "{log}"
    );
    assert_eq!(processes_with(&nap), 0);
    assert!(ends[1].outlived.is_empty());
}

#[tokio::test]
async fn whoever_ends_the_process_that_forks_sandboxes_ends_what_it_forked_and_the_next_one_starts()
{
    let place = Place::new();
    let (ends, _) = run(place.spec(), &["true"]).await;
    assert!(ends[0].ok());
    let nap = odd_nap(5);
    let (mut session, mut log) = Session::start(place.spec()).await.unwrap();
    let script = format!("echo up; sleep {nap}");
    let step = tokio::spawn(async move { session.run(sh(&script)).await });
    let mut up = [0; 3];
    log.read_exact(&mut up).await.unwrap();
    // As the next start of a host does with what an earlier one left.
    let found = reclaim_dead(&place.spec().state_dir, &|_| true).unwrap();
    assert!(found.processes >= 2, "{found:?}");
    assert!(step.await.unwrap().is_err());
    until("no process is left", || processes_with(&nap) == 0);
    let (ends, _) = run(place.spec(), &["true"]).await;
    assert!(ends[0].ok());
}

/// A step that leaves 300 processes, a third of them double-forked, and sleeps.
fn crowd(nap: &str) -> String {
    format!(
        "for i in {{1..100}}; do sleep {nap} & (setsid sleep {nap} &) ; trap '' TERM; bash -c 'sleep {nap}; :' & done; echo up; wait"
    )
}

#[tokio::test]
async fn a_kill_leaves_none_of_many_processes() {
    let place = Place::new();
    let nap = odd_nap(2);
    let (mut session, mut log) = Session::start(place.spec()).await.unwrap();
    let killer = session.killer();
    let script = crowd(&nap);
    let step = tokio::spawn(async move {
        let ended = session.run(sh(&script)).await;
        (session, ended)
    });
    let mut up = [0; 3];
    log.read_exact(&mut up).await.unwrap();
    until("the crowd is there", || processes_with(&nap) >= 300);
    let start = Instant::now();
    killer.kill();
    let (session, ended) = step.await.unwrap();
    assert!(ended.is_err());
    session.kill().await.unwrap();
    let took = start.elapsed();
    assert_eq!(processes_with(&nap), 0);
    println!("killed 400 processes in {took:?}");
    // It waits for nothing; a machine with other work takes its time to bury so many.
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[tokio::test]
async fn a_control_group_kills_all_of_a_slot_by_itself_and_is_gone_afterwards() {
    let place = Place::new();
    let confine = Confine::open(&place.path(""));
    println!("{}", confine.means());
    // A name that no other group of the machine has.
    let nap = odd_nap(4);
    let Some(group) = confine.group(&nap, Bounds::default()) else {
        // Nothing is delegated to an ordinary user here; whoever reads this sees why above.
        assert!(cgroup::look().is_err(), "delegated, and not used");
        println!("skipped: no control groups here");
        return;
    };
    let (mut session, mut log) = Session::start_in(place.spec(), Some(group.clone()))
        .await
        .unwrap();
    assert!(group.is_populated());
    let script = crowd(&nap);
    let step = tokio::spawn(async move {
        let ended = session.run(sh(&script)).await;
        (session, ended)
    });
    let mut up = [0; 3];
    log.read_exact(&mut up).await.unwrap();
    until("the crowd is there", || processes_with(&nap) >= 300);
    let start = Instant::now();
    // Not the session's own way: this one alone must do.
    group.kill();
    group.emptied().await;
    println!("the group was empty after {:?}", start.elapsed());
    let (session, ended) = step.await.unwrap();
    assert!(ended.is_err());
    session.kill().await.unwrap();
    until("no process is left", || processes_with(&nap) == 0);
    let found = cgroup::look().unwrap().dir;
    let left = || {
        let bases = fs::read_dir(&found).unwrap().flatten();
        let mut names = bases.map(|entry| entry.path().join(&nap));
        names.any(|path| path.exists() && fs::read_to_string(path.join("cgroup.procs")).is_ok())
    };
    drop(group);
    until("the group is removed", || !left());
}

#[tokio::test]
async fn a_dropped_session_ends_its_processes() {
    let place = Place::new();
    let nap = odd_nap(3);
    let (mut session, _log) = Session::start(place.spec()).await.unwrap();
    let script = format!("sleep {nap}");
    let step = tokio::time::timeout(Duration::from_millis(300), session.run(sh(&script)));
    assert!(step.await.is_err());
    assert!(session.run(sh("true")).await.is_err());
    drop(session);
    until("the processes are gone", || processes_with(&nap) == 0);
}

/// Not a test by itself: what `a_killed_host_leaves_nothing` runs and kills.
#[tokio::test]
async fn holds_a_session_until_killed() {
    let (Some(nap), Some(dir)) = (
        std::env::var_os("MASSIF_TEST_NAP"),
        std::env::var_os("MASSIF_TEST_STATE"),
    ) else {
        return;
    };
    let mut spec = Place::new().spec();
    spec.binds.clear();
    spec.state_dir = dir.into();
    let (mut session, _log) = Session::start(spec).await.unwrap();
    let mut step = sh(&crowd(nap.to_str().unwrap()));
    step.cwd = "/".into();
    let _ = session.run(step).await;
}

#[tokio::test]
async fn a_killed_host_leaves_nothing() {
    let place = Place::new();
    let nap = odd_nap(6);
    fs::create_dir_all(place.path("attempts/7.1/build")).unwrap();
    fs::create_dir_all(place.path("attempts/8.1")).unwrap();
    let mut host = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sandbox::ends::holds_a_session_until_killed"])
        .env("MASSIF_TEST_NAP", &nap)
        .env("MASSIF_TEST_STATE", place.dir.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until("the crowd is there", || processes_with(&nap) >= 300);
    host.kill().unwrap();
    assert_eq!(host.wait().unwrap().signal(), Some(9));
    let reclaimed = reclaim_dead(place.dir.path(), &|name| name == "8.1").unwrap();
    assert_eq!(reclaimed.attempts, ["7.1"]);
    assert!(place.path("attempts/8.1").exists() && !place.path("attempts/7.1").exists());
    until("the processes are gone", || processes_with(&nap) == 0);
    assert_eq!(
        reclaim_dead(place.dir.path(), &|_| true).unwrap().processes,
        0
    );
}
