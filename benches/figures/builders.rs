//! What watching costs, and how soon a stall is noticed: `cargo bench --bench figures -- builders`.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use massif::build::procs;
use massif::build::watch::{Dog, Rules};

/// Slots that are busy, and processes in each.
const SLOTS: usize = 16;
const PROCESSES: usize = 8;
/// Looks that are measured.
const LOOKS: u32 = 50;

struct Busy(Child);

impl Busy {
    fn start(script: &str) -> Busy {
        let child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Busy(child)
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for process in procs::tree(self.pid()).iter().rev() {
            if let Some(pid) = rustix::process::Pid::from_raw(process.pid) {
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
            }
        }
        self.0.wait().ok();
    }
}

/// Processor time of this process so far.
fn own_cpu_ms() -> u64 {
    let own = i32::try_from(std::process::id()).unwrap();
    procs::tree(own)
        .first()
        .map_or(0, |process| process.own_cpu_ms)
}

fn sampling() {
    let children = "sleep 600 & ".repeat(PROCESSES - 1);
    let slots: Vec<Busy> = (0..SLOTS)
        .map(|_| Busy::start(&format!("{children} wait")))
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    let (cpu, mut seen) = (own_cpu_ms(), 0);
    for _ in 0..LOOKS {
        for slot in &slots {
            let found = procs::tree(slot.pid());
            seen += found.len();
            procs::moved_bytes(&found);
        }
    }
    let spent_ms = own_cpu_ms() - cpu;
    // One look a second at each slot.
    let share = spent_ms as f64 / f64::from(LOOKS) / 1000.0 * 100.0;
    println!(
        "sampling {SLOTS} slots with {} processes each, once a second: {share:.2} % of a core (bar 0.5)",
        seen / SLOTS / LOOKS as usize
    );
}

async fn stalls() {
    let threshold = Duration::from_secs(5);
    let sleeper = Busy::start("sleep 600");
    let dog = Dog::start(
        Rules::default(),
        threshold,
        Path::new("/nowhere"),
        |_, _| {},
    );
    dog.follow(sleeper.pid(), threshold);
    let began = Instant::now();
    dog.barks().await;
    println!(
        "a stall is noticed {:.1} s after its threshold of {} s (bar 2)",
        began.elapsed().as_secs_f64() - threshold.as_secs_f64(),
        threshold.as_secs()
    );
    let burner = Busy::start("while :; do :; done");
    let dog = Dog::start(
        Rules::default(),
        threshold,
        Path::new("/nowhere"),
        |_, _| {},
    );
    dog.follow(burner.pid(), threshold);
    let quiet = tokio::time::timeout(Duration::from_secs(30), dog.barks()).await;
    println!(
        "a silent burner of 30 s at that threshold: {} false alarms (bar 0)",
        u8::from(quiet.is_ok())
    );
}

pub fn run() {
    sampling();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(stalls());
}
