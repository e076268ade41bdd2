//! Looks at this machine every few seconds and tells avalanche. Reads a handful of small files; decides nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use procfs::{Current, LoadAverage, Meminfo};
use ractor::ActorRef;

use super::Msg;
use crate::health::{DiskSample, Sample};

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(5);

/// Samples until the actor is gone.
pub fn start(to: ActorRef<Msg>, dir: PathBuf) {
    tokio::spawn(async move {
        let mut before: Option<(std::time::Instant, u64)> = None;
        loop {
            let path = dir.clone();
            let Ok(mut sample) = tokio::task::spawn_blocking(move || look(&path)).await else {
                return;
            };
            for disk in &mut sample.disks {
                let now = std::time::Instant::now();
                if let (Some((then, free_then)), Some(free)) = (before, disk.free_bytes) {
                    disk.full_in_s =
                        full_in_s(free_then, free, now.duration_since(then).as_secs_f64());
                }
                if before.is_none_or(|(then, _)| now.duration_since(then) > EVERY * 12) {
                    before = disk.free_bytes.map(|free| (now, free));
                }
            }
            if to.cast(Msg::Sampled(Box::new(sample))).is_err() {
                return;
            }
            tokio::time::sleep(EVERY).await;
        }
    });
}

/// Seconds until a disk is full at the rate of the last look; `None` when it is not filling.
fn full_in_s(free_then: u64, free: u64, seconds: f64) -> Option<f64> {
    let filled = free_then.checked_sub(free).filter(|bytes| *bytes > 0)? as f64;
    (seconds > 0.0).then(|| (free as f64 / (filled / seconds)).round())
}

/// One look at the machine. What cannot be read stays `None`.
pub fn look(dir: &Path) -> Sample {
    let disk = match statvfs(dir) {
        Ok(stat) => DiskSample {
            path: dir.display().to_string(),
            free_bytes: Some(stat.blocks_available() * stat.fragment_size()),
            total_bytes: Some(stat.blocks() * stat.fragment_size()),
            free_inodes: (stat.files() > 0).then(|| stat.files_available()),
            full_in_s: None,
        },
        Err(_) => DiskSample {
            path: dir.display().to_string(),
            free_bytes: None,
            total_bytes: None,
            free_inodes: None,
            full_in_s: None,
        },
    };
    let memory = Meminfo::current().ok();
    let pressure = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/pressure/{name}")).ok()?;
        let some = text.lines().find(|line| line.starts_with("some"))?;
        some.split_whitespace()
            .find_map(|word| word.strip_prefix("avg10="))?
            .parse()
            .ok()
    };
    Sample {
        disks: vec![disk],
        memory_available_bytes: memory.as_ref().and_then(|memory| memory.mem_available),
        memory_total_bytes: memory.as_ref().map(|memory| memory.mem_total),
        load_1: LoadAverage::current().ok().map(|load| f64::from(load.one)),
        cpu_pressure: pressure("cpu"),
        memory_pressure: pressure("memory"),
        io_pressure: pressure("io"),
    }
}
