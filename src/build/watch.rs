//! The watchdog of one attempt: looks at its processes every second, says how it is, and barks when it makes no progress or
//! takes more than it may. What it saw is gathered before anybody kills anything. It kills nothing itself.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::procs::{self, Process};
use crate::model::Glance;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// The same when memory may soon be too much.
const EVERY_WHEN_TIGHT: Duration = Duration::from_millis(150);
/// Less processor time than this share of one core, in a thousandth, is none: a loop around `sleep` takes 2.
const BUSY_CPU_PER_MILLE: u64 = 10;
/// Fewer bytes a second than this are none.
const BUSY_BYTES_PER_S: u64 = 4 * 1024;
/// At the limit of processes for this long is a fork bomb and no burst.
const FORK_BOMB: Duration = Duration::from_secs(5);
/// Samples that evidence shows.
const SAMPLES_KEPT: usize = 6;
/// Lines of the process tree in the evidence.
const TREE_LINES_MAX: usize = 22;
/// What an attempt reads and writes is counted this often while that is not what tells whether it stands still.
const EVERY_COUNT: Duration = Duration::from_secs(5);
/// Files and directories of an attempt that one look at its disk visits.
const DISK_ENTRIES_MAX: u64 = 400_000;
/// Looks at the disk take at most this part of the time.
const DISK_SHARE: u32 = 200;

/// What an attempt may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// Memory of all its processes.
    pub memory_bytes: Option<u64>,
    /// Its processes; the kernel refuses more, and staying there ends it.
    pub processes: Option<u64>,
}

/// Why a watchdog barks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// No output, no processor time, no input or output.
    Stalled {
        /// For so long.
        idle: Duration,
        /// Some process waits for a disk, which is no doing of the recipe's.
        on_disk: bool,
    },
    /// Too much memory.
    Memory {
        /// This much.
        bytes: u64,
        /// It may have this much.
        max: u64,
    },
    /// As many processes as there may be, for too long.
    Processes {
        /// So many.
        count: u64,
    },
}

/// An alarm with what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bark {
    /// Why.
    pub alarm: Alarm,
    /// Lines for people.
    pub evidence: Vec<String>,
}

#[derive(Debug, Default)]
struct Seen {
    glance: Glance,
    moved_bytes: u64,
    longest_idle_ms: u64,
    disk_peak_bytes: Option<u64>,
    bark: Option<Bark>,
}

#[derive(Debug)]
struct Shared {
    attempt_dir: PathBuf,
    rules: Rules,
    /// The first process, or 0 while there is none.
    first: AtomicI32,
    /// Rises with everything that the attempt says or moves.
    heard: AtomicU64,
    idle_ms_max: AtomicU64,
    over: AtomicBool,
    seen: Mutex<Seen>,
    barked: tokio::sync::Notify,
}

/// A watchdog; it ends when dropped.
#[derive(Debug)]
pub struct Dog {
    shared: Arc<Shared>,
}

impl Drop for Dog {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
    }
}

/// Something that a watchdog hears from any thread.
#[derive(Debug, Clone)]
pub struct Ear(Arc<Shared>);

impl Ear {
    /// The attempt said or moved something.
    pub fn hear(&self) {
        self.0.heard.fetch_add(1, Ordering::Relaxed);
    }
}

/// What changes between two looks.
struct Meter {
    at: Instant,
    heard: u64,
    spoke_at: Instant,
    active_at: Instant,
    cpu_ms: u64,
    moved: u64,
    counted_at: Option<Instant>,
    running: bool,
    crowded_since: Option<Instant>,
    disk_at: Option<Instant>,
    disk_took: Duration,
    samples: VecDeque<String>,
    began: Instant,
}

impl Dog {
    /// Watches an attempt whose working directories lie in `attempt_dir`. Silent and idle for longer than `idle_max`, it is
    /// stalled. `told` hears of each look, and of the bytes that were
    /// read and written so far, on a thread of its own.
    pub fn start(
        rules: Rules,
        idle_max: Duration,
        attempt_dir: &Path,
        told: impl Fn(Glance, u64) + Send + 'static,
    ) -> Dog {
        let shared = Arc::new(Shared {
            attempt_dir: attempt_dir.to_owned(),
            rules,
            first: AtomicI32::new(0),
            heard: AtomicU64::new(0),
            idle_ms_max: AtomicU64::new(millis(idle_max)),
            over: AtomicBool::new(false),
            seen: Mutex::default(),
            barked: tokio::sync::Notify::new(),
        });
        let its = Arc::clone(&shared);
        tokio::spawn(async move {
            let mut meter = Some(Meter::new());
            let mut pause = EVERY;
            while !its.over.load(Ordering::Relaxed) {
                tokio::time::sleep(pause).await;
                let (shared, mut taken) = (Arc::clone(&its), meter.take());
                let looked = tokio::task::spawn_blocking(move || {
                    let pause = taken.as_mut().map(|meter| shared.look(meter));
                    (taken, pause)
                });
                let Ok((back, Some(next))) = looked.await else {
                    return; // the runtime is going away
                };
                (meter, pause) = (back, next);
                let (glance, moved_bytes, barked) = {
                    let seen = its.seen();
                    (seen.glance, seen.moved_bytes, seen.bark.is_some())
                };
                told(glance, moved_bytes);
                if barked {
                    its.barked.notify_waiters();
                    its.barked.notify_one();
                    return;
                }
            }
        });
        Dog { shared }
    }

    /// The attempt said or moved something.
    pub fn hear(&self) {
        self.shared.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// The same for work on other threads.
    pub fn ear(&self) -> Ear {
        Ear(Arc::clone(&self.shared))
    }

    /// The attempt's processes are this one and all below it, and may be idle for this long.
    pub fn follow(&self, first: i32, idle_max: Duration) {
        self.shared.first.store(first, Ordering::Relaxed);
        self.shared
            .idle_ms_max
            .store(millis(idle_max), Ordering::Relaxed);
        self.hear();
    }

    /// The attempt has no processes any more; what follows is ours and may be idle for this long.
    pub fn leave(&self, idle_max: Duration) {
        self.shared.first.store(0, Ordering::Relaxed);
        self.shared
            .idle_ms_max
            .store(millis(idle_max), Ordering::Relaxed);
        self.hear();
    }

    /// Returns when there is something wrong, which may be never.
    pub async fn barks(&self) -> Bark {
        loop {
            let waiting = self.shared.barked.notified();
            if let Some(bark) = self.shared.seen().bark.clone() {
                return bark;
            }
            waiting.await;
        }
    }

    /// What there is to see now, for an end that is not the watchdog's.
    pub async fn evidence(&self) -> Vec<String> {
        let first = self.shared.first.load(Ordering::Relaxed);
        if first == 0 {
            return Vec::new();
        }
        let mut meter = Meter::new();
        meter.sample(&self.glance(), self.shared.seen().moved_bytes);
        let seen = tokio::task::spawn_blocking(move || meter.evidence(&procs::tree(first)));
        seen.await.unwrap_or_default()
    }

    /// The last look.
    pub fn glance(&self) -> Glance {
        self.shared.seen().glance
    }

    /// The longest time, in milliseconds, in which the attempt did nothing at all.
    pub fn longest_idle_ms(&self) -> u64 {
        self.shared.seen().longest_idle_ms
    }

    /// The most that its directories took so far, with a look at them now.
    pub async fn disk_peak_bytes(&self) -> Option<u64> {
        let dir = self.shared.attempt_dir.clone();
        let now = tokio::task::spawn_blocking(move || disk_bytes(&dir)).await;
        let now = now.unwrap_or_default();
        let mut seen = self.shared.seen();
        seen.disk_peak_bytes = seen.disk_peak_bytes.max(now);
        seen.disk_peak_bytes
    }
}

impl Meter {
    fn new() -> Meter {
        let now = Instant::now();
        Meter {
            at: now,
            heard: 0,
            spoke_at: now,
            active_at: now,
            cpu_ms: 0,
            moved: 0,
            counted_at: None,
            running: false,
            crowded_since: None,
            disk_at: None,
            disk_took: Duration::ZERO,
            samples: VecDeque::new(),
            began: now,
        }
    }

    /// Whether anything was done since the last look.
    fn active(&mut self, heard: u64, processes: &[Process], now: Instant) -> bool {
        let past_ms = millis(now.duration_since(self.at)).max(1);
        self.at = now;
        let spoke = std::mem::replace(&mut self.heard, heard) != heard;
        if spoke {
            self.spoke_at = now;
        }
        let cpu_ms: u64 = processes.iter().map(|process| process.cpu_ms).sum();
        // What a process used is lost when its parent does not wait for it, so less than before is no sign of anything.
        let used_ms = cpu_ms.saturating_sub(std::mem::replace(&mut self.cpu_ms, cpu_ms));
        let computed = used_ms * 1000 >= past_ms * BUSY_CPU_PER_MILLE && used_ms > 0;
        // Ready to run, and not let: a busy machine is no stall. Twice, because a sleeper is seen awake now and then.
        let runs = processes.iter().any(|process| process.state == 'R');
        let starved = std::mem::replace(&mut self.running, runs) && runs;
        if spoke || computed || starved {
            // Not looked at: the next difference is to an older moment, and so larger.
            return true;
        }
        let moved = procs::moved_bytes(processes);
        self.counted_at = Some(now);
        let bytes = moved.saturating_sub(std::mem::replace(&mut self.moved, moved));
        bytes * 1000 >= past_ms * BUSY_BYTES_PER_S
    }
}

impl Meter {
    /// What these read and wrote, as it was counted last.
    fn moved_bytes(&mut self, processes: &[Process], now: Instant) -> u64 {
        let counted = self.counted_at;
        if processes.is_empty() || counted.is_some_and(|at| now.duration_since(at) < EVERY_COUNT) {
            return self.moved;
        }
        self.counted_at = Some(now);
        // The difference of the next idle look is to this moment, which is as it should be.
        self.moved = self.moved.max(procs::moved_bytes(processes));
        self.moved
    }
}

impl Shared {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One look; how long to wait for the next.
    fn look(&self, meter: &mut Meter) -> Duration {
        let first = self.first.load(Ordering::Relaxed);
        let processes = match first {
            0 => Vec::new(),
            first => procs::tree(first),
        };
        let now = Instant::now();
        if meter.active(self.heard.load(Ordering::Relaxed), &processes, now) {
            meter.active_at = now;
        }
        let idle = now.duration_since(meter.active_at);
        let mut memory_bytes: u64 = processes.iter().map(|process| process.memory_bytes).sum();
        if self
            .rules
            .memory_bytes
            .is_some_and(|max| memory_bytes > max)
        {
            // Pages that many share were counted for each of them.
            memory_bytes = procs::proportional_bytes(&processes);
        }
        let disk = self.disk(meter, now);
        let moved_bytes = meter.moved_bytes(&processes, now);
        let glance = {
            let mut seen = self.seen();
            // What ended without being waited for takes its count along.
            seen.moved_bytes = seen.moved_bytes.max(moved_bytes);
            if first != 0 {
                seen.longest_idle_ms = seen.longest_idle_ms.max(millis(idle));
            }
            if disk.is_some() {
                seen.disk_peak_bytes = seen.disk_peak_bytes.max(disk);
            }
            seen.glance = Glance {
                silent_ms: millis(now.duration_since(meter.spoke_at)),
                idle_ms: millis(idle),
                cpu_ms: seen.glance.cpu_ms.max(meter.cpu_ms),
                memory_bytes,
                memory_peak_bytes: seen.glance.memory_peak_bytes.max(memory_bytes),
                disk_bytes: disk.or(seen.glance.disk_bytes),
                processes: u32::try_from(processes.len()).unwrap_or(u32::MAX),
            };
            seen.glance
        };
        meter.sample(&glance, self.seen().moved_bytes);
        if let Some(alarm) = self.alarm(meter, &glance, idle, &processes) {
            let evidence = meter.evidence(&processes);
            self.seen().bark = Some(Bark { alarm, evidence });
        }
        match self.rules.memory_bytes {
            Some(max) if memory_bytes > max / 4 => EVERY_WHEN_TIGHT,
            _ => EVERY,
        }
    }

    fn alarm(
        &self,
        meter: &mut Meter,
        glance: &Glance,
        idle: Duration,
        processes: &[Process],
    ) -> Option<Alarm> {
        if let Some(max) = self
            .rules
            .memory_bytes
            .filter(|max| glance.memory_bytes > *max)
        {
            let bytes = glance.memory_bytes;
            return Some(Alarm::Memory { bytes, max });
        }
        let threads: u64 = processes
            .iter()
            .map(|process| u64::from(process.threads.max(1)))
            .sum();
        // A few short of it: forks that are refused come and go.
        let crowded = self
            .rules
            .processes
            .is_some_and(|max| threads + threads / 16 + 1 >= max);
        if !crowded {
            meter.crowded_since = None;
        } else if meter.crowded_since.get_or_insert(meter.at).elapsed() >= FORK_BOMB {
            return Some(Alarm::Processes { count: threads });
        }
        let max = Duration::from_millis(self.idle_ms_max.load(Ordering::Relaxed));
        (idle >= max).then(|| Alarm::Stalled {
            idle,
            on_disk: processes.iter().any(|process| process.state == 'D'),
        })
    }

    /// The size of the attempt's directories, now and then.
    fn disk(&self, meter: &mut Meter, now: Instant) -> Option<u64> {
        let pause = (meter.disk_took * DISK_SHARE).max(Duration::from_secs(5));
        if meter
            .disk_at
            .is_some_and(|at| now.duration_since(at) < pause)
        {
            return None;
        }
        let bytes = disk_bytes(&self.attempt_dir);
        meter.disk_at = Some(now);
        meter.disk_took = now.elapsed();
        bytes
    }
}

impl Meter {
    fn sample(&mut self, glance: &Glance, moved_bytes: u64) {
        self.samples.push_back(format!(
            "at {:.0} s: {} processes, {:.1} s of processor time, {} MiB, {} KiB read and written, silent for {} s, idle for {} s",
            self.began.elapsed().as_secs_f64(),
            glance.processes,
            glance.cpu_ms as f64 / 1000.0,
            glance.memory_bytes >> 20,
            moved_bytes >> 10,
            glance.silent_ms / 1000,
            glance.idle_ms / 1000
        ));
        if self.samples.len() > SAMPLES_KEPT {
            self.samples.pop_front();
        }
    }

    fn evidence(&self, processes: &[Process]) -> Vec<String> {
        let mut lines =
            vec!["processes (number, state, wait channel, memory, processor time):".to_string()];
        lines.extend(procs::evidence(processes, TREE_LINES_MAX));
        lines.push("samples:".into());
        lines.extend(self.samples.iter().cloned());
        lines
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Bytes that a tree takes on its disk; `None` when it is not there. Links are not followed; what may not be read counts as
/// nothing, and a tree with very many entries is counted in part.
pub fn disk_bytes(dir: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    std::fs::symlink_metadata(dir).ok()?;
    let (mut bytes, mut entries) = (0u64, 0u64);
    let mut rest = vec![dir.to_owned()];
    while let Some(dir) = rest.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            entries += 1;
            if entries > DISK_ENTRIES_MAX {
                return Some(bytes);
            }
            let Ok(meta) = entry.metadata() else { continue };
            // A file with several names takes its bytes once; others of them may lie elsewhere.
            let names = if meta.is_dir() {
                1
            } else {
                meta.nlink().max(1)
            };
            bytes += meta.blocks() * 512 / names;
            if meta.is_dir() {
                rest.push(entry.path());
            }
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(cpu_ms: u64, state: char) -> Process {
        Process {
            pid: -1,
            parent: 0,
            depth: 0,
            name: "x".into(),
            state,
            cpu_ms,
            own_cpu_ms: cpu_ms,
            memory_bytes: 0,
            threads: 1,
        }
    }

    #[test]
    fn output_processor_time_and_a_busy_machine_are_activity_and_sleep_is_none() {
        let mut meter = Meter::new();
        let mut now = meter.at;
        let mut look = |heard, cpu_ms, state| {
            now += Duration::from_secs(1);
            meter.active(heard, &[process(cpu_ms, state)], now)
        };
        assert!(look(1, 0, 'S'), "output");
        assert!(!look(1, 0, 'S'), "nothing");
        assert!(look(1, 500, 'S'), "processor time");
        assert!(!look(1, 505, 'S'), "a loop around sleep");
        assert!(!look(1, 505, 'R'), "seen awake once");
        assert!(look(1, 505, 'R'), "ready to run for a second, and not let");
        assert!(
            !look(1, 100, 'S'),
            "a process that nobody waited for took its time along"
        );
    }
}
