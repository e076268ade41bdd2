//! The lines of the builders' table of figures that need no farm, with room for a busy machine and an unoptimised program: they
//! find what became several times slower. The measured values are the benchmarks'.

use std::time::{Duration, Instant};

use massif::build::procs;
use massif::build::sandbox::Session;
use tokio::io::AsyncReadExt;

use super::{Place, run, sh};
use crate::common::host::PATIENCE;

/// Processor time of this thread alone: others of the suite run beside it.
fn own_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let ran_ns = text.split_whitespace().next().unwrap().parse().unwrap();
    Duration::from_nanos(ran_ns)
}

#[tokio::test]
async fn sixteen_busy_slots_are_watched_for_a_part_of_a_core() {
    const SLOTS: usize = 16;
    let mut slots: Vec<std::process::Child> = Vec::new();
    for _ in 0..SLOTS {
        let script = "sleep 8282 & sleep 8282 & sleep 8282 & sleep 8282 & wait";
        let child = std::process::Command::new("sh")
            .args(["-c", script])
            .spawn();
        slots.push(child.unwrap());
    }
    let number = |slot: &std::process::Child| i32::try_from(slot.id()).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while slots.iter().any(|slot| procs::tree(number(slot)).len() < 5) {
        assert!(Instant::now() < deadline, "they do not come up");
        std::thread::sleep(Duration::from_millis(20));
    }
    let bar = if cfg!(debug_assertions) { 0.05 } else { 0.01 };
    // One such look a second; the quietest is what it costs. Others of the suite are loud for some seconds.
    let (mut share, mut looks) = (f64::MAX, 0);
    while looks < 10 || (share > bar && looks < 200) {
        let began = own_cpu();
        for slot in &slots {
            procs::moved_bytes(&procs::tree(number(slot)));
        }
        share = share.min((own_cpu() - began).as_secs_f64());
        looks += 1;
        std::thread::sleep(Duration::from_millis(20 * (looks / 10)));
    }
    for slot in &mut slots {
        for process in procs::tree(number(slot)).iter().rev() {
            let pid = nix::unistd::Pid::from_raw(process.pid);
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).ok();
        }
        slot.wait().unwrap();
    }
    println!(
        "a look at {SLOTS} slots takes {:.2} % of a second",
        share * 100.0
    );
    assert!(share <= bar, "{share}");
}

#[tokio::test]
async fn a_slots_first_line_comes_soon() {
    let place = Place::new();
    let mut times = Vec::new();
    let soon = Duration::from_secs(2);
    // The best is what it takes: others of the suite are loud for some seconds.
    while times.len() < 5 || (times.iter().all(|took| *took >= soon) && times.len() < 30) {
        let began = Instant::now();
        let (mut session, mut log) = Session::start(place.spec()).await.unwrap();
        let mut byte = [0];
        let (end, read) = tokio::join!(session.run(sh("echo first")), async {
            log.read_exact(&mut byte).await.unwrap();
            began.elapsed()
        });
        assert!(end.unwrap().ok());
        session.finish().await.unwrap();
        times.push(read);
    }
    let best = times.iter().min().unwrap();
    println!("the first line came after {times:?}");
    assert!(*best < soon, "{times:?}");
}

#[tokio::test]
async fn two_slots_with_two_busy_threads_each_keep_to_their_share() {
    let cores: Vec<u32> = match nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)) {
        Ok(set) => (0..1024)
            .filter(|core| set.is_set(*core as usize).unwrap_or(false))
            .collect(),
        Err(error) => panic!("{error}"),
    };
    let (Some(first), Some(second)) = (cores.first(), cores.get(1)) else {
        println!("skipped: one core is not to be shared out");
        return;
    };
    let place = Place::new();
    let burn = "end=$((SECONDS + 2)); burn() { while [ $SECONDS -lt $end ]; do :; done; }; burn & burn & wait; nproc";
    let slot = async |core: u32| {
        let mut spec = place.spec();
        spec.cores = vec![core];
        run(spec, &[burn]).await
    };
    let both = tokio::join!(slot(*first), slot(*second));
    for (ends, log) in [both.0, both.1] {
        assert_eq!(log, "1\n");
        let share = ends[0].cpu_ms as f64 / ends[0].wall_ms.max(1) as f64;
        println!("it took {share:.2} of its core");
        assert!(share <= 1.1, "{:?}", ends[0]);
    }
}
