//! Looks at this machine every few seconds and tells avalanche. Reads a handful of small files; decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::statvfs::{FsFlags, statvfs};
use procfs::{Current, LoadAverage, Meminfo};
use ractor::ActorRef;
use tokio::sync::watch;

use super::Msg;
use crate::health::{DiskSample, Floors, Sample};

/// Time between two looks at everything.
const EVERY: Duration = Duration::from_secs(5);
/// Time between two looks at the disks: a build fills hundreds of megabytes a second.
const EVERY_DISK: Duration = Duration::from_secs(1);
/// The rate of filling is taken over this long.
const RATE_OVER: Duration = Duration::from_secs(60);
/// Directories below the state directory that may lie on file systems of their own.
const PLACES: [&str; 7] = [
    ".",
    "attempts",
    "layers",
    "upstreams",
    "blobs",
    "logs",
    "store",
];

/// One look, with what has no place in a sample.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Look {
    /// Numbers.
    pub sample: Sample,
    /// What keeps builds from working whatever the numbers say: a file system that is read-only.
    pub troubles: Vec<String>,
    /// The hottest sensor, in degrees Celsius.
    pub temperature_c: Option<f64>,
}

/// Samples until the actor is gone.
/// `busy`: whether builds run. While none does, nothing fills the disks and the whole look is often enough.
pub fn start(to: ActorRef<Msg>, dir: PathBuf, floors: Floors, mut busy: watch::Receiver<bool>) {
    tokio::spawn(async move {
        let mut rates = Rates::default();
        let mut last: Option<Instant> = None;
        loop {
            let path = dir.clone();
            let whole = last.is_none_or(|last| last.elapsed() >= EVERY);
            let looked = tokio::task::spawn_blocking(move || match whole {
                true => look(&path),
                false => look_at_disks(&path),
            });
            let Ok(mut look) = looked.await else { return };
            let tight = is_tight(&look, floors);
            if whole || tight {
                if tight && !whole {
                    let path = dir.clone();
                    let again = tokio::task::spawn_blocking(move || self::look(&path));
                    let Ok(again) = again.await else { return };
                    look = again;
                }
                rates.rate(&mut look.sample.disks, Instant::now());
                last = Some(Instant::now());
                if to.cast(Msg::Sampled(Box::new(look))).is_err() {
                    return;
                }
            }
            let pause = match *busy.borrow_and_update() {
                true => EVERY_DISK,
                false => EVERY,
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                changed = busy.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    });
}

/// Near the floor, or not to be read: worth telling at once.
fn is_tight(look: &Look, floors: Floors) -> bool {
    !look.troubles.is_empty()
        || look.sample.disks.iter().any(|disk| {
            disk.free_bytes
                .is_none_or(|free| free < floors.disk_bytes.saturating_mul(2))
                || disk
                    .free_inodes
                    .is_some_and(|free| free < floors.inodes.saturating_mul(2))
        })
}

/// How fast each file system fills.
#[derive(Debug, Default)]
struct Rates(BTreeMap<String, (Instant, u64)>);

impl Rates {
    fn rate(&mut self, disks: &mut [DiskSample], now: Instant) {
        for disk in disks {
            let Some(free) = disk.free_bytes else {
                self.0.remove(&disk.path);
                continue;
            };
            let (then, free_then) = *self.0.entry(disk.path.clone()).or_insert((now, free));
            let past = now.duration_since(then);
            disk.full_in_s = full_in_s(free_then, free, past.as_secs_f64());
            if past > RATE_OVER {
                self.0.insert(disk.path.clone(), (now, free));
            }
        }
    }
}

/// Seconds until a disk is full at the rate of the last look; `None` when it is not filling.
fn full_in_s(free_then: u64, free: u64, seconds: f64) -> Option<f64> {
    let filled = free_then.checked_sub(free).filter(|bytes| *bytes > 0)? as f64;
    (seconds > 0.0).then(|| (free as f64 / (filled / seconds)).round())
}

/// The file systems below the state directory, each once.
fn look_at_disks(dir: &Path) -> Look {
    let mut seen = BTreeSet::new();
    let mut look = Look::default();
    for place in PLACES {
        let path = match place {
            "." => dir.to_owned(),
            place => dir.join(place),
        };
        let device = std::fs::metadata(&path).map(|meta| meta.dev()).ok();
        // A place that is not made yet will lie where the state directory does; that one itself must be there.
        if place != "." && device.is_none_or(|device| seen.contains(&device)) {
            continue;
        }
        seen.extend(device);
        let shown = path.display().to_string();
        let disk = match statvfs(&path) {
            Ok(stat) => {
                if stat.flags().contains(FsFlags::ST_RDONLY) {
                    look.troubles
                        .push(format!("the file system of {shown} is read-only"));
                }
                DiskSample {
                    path: shown,
                    free_bytes: Some(stat.blocks_available() * stat.fragment_size()),
                    total_bytes: Some(stat.blocks() * stat.fragment_size()),
                    free_inodes: (stat.files() > 0).then(|| stat.files_available()),
                    full_in_s: None,
                }
            }
            Err(_) => DiskSample {
                path: shown,
                free_bytes: None,
                total_bytes: None,
                free_inodes: None,
                full_in_s: None,
            },
        };
        look.sample.disks.push(disk);
    }
    look
}

/// One look at the machine. What cannot be read stays `None`.
pub fn look(dir: &Path) -> Look {
    let look = look_at_disks(dir);
    let memory = Meminfo::current().ok();
    let pressure = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/pressure/{name}")).ok()?;
        let some = text.lines().find(|line| line.starts_with("some"))?;
        some.split_whitespace()
            .find_map(|word| word.strip_prefix("avg10="))?
            .parse()
            .ok()
    };
    Look {
        sample: Sample {
            memory_available_bytes: memory.as_ref().and_then(|memory| memory.mem_available),
            memory_total_bytes: memory.as_ref().map(|memory| memory.mem_total),
            load_1: LoadAverage::current().ok().map(|load| f64::from(load.one)),
            cpu_pressure: pressure("cpu"),
            memory_pressure: pressure("memory"),
            io_pressure: pressure("io"),
            ..look.sample
        },
        temperature_c: temperature_c(Path::new("/sys/class/thermal")),
        ..look
    }
}

/// The hottest of the machine's thermal zones; `None` in machines without any, such as most virtual ones.
fn temperature_c(zones: &Path) -> Option<f64> {
    let zones = std::fs::read_dir(zones).ok()?.flatten();
    zones
        .filter_map(|zone| {
            let text = std::fs::read_to_string(zone.path().join("temp")).ok()?;
            let thousandths: f64 = text.trim().parse().ok()?;
            // Sensors that are off say 0 or nonsense.
            (1_000.0..150_000.0)
                .contains(&thousandths)
                .then_some(thousandths / 1000.0)
        })
        .reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_to_full_is_told_of_each_file_system_by_itself() {
        let disk = |path: &str, free| DiskSample {
            path: path.into(),
            free_bytes: free,
            total_bytes: None,
            free_inodes: None,
            full_in_s: None,
        };
        let mut rates = Rates::default();
        let start = Instant::now();
        rates.rate(&mut [disk("/a", Some(1000)), disk("/b", Some(50))], start);
        let mut disks = [
            disk("/a", Some(900)),
            disk("/b", Some(60)),
            disk("/c", None),
        ];
        rates.rate(&mut disks, start + Duration::from_secs(10));
        let told: Vec<_> = disks.iter().map(|disk| disk.full_in_s).collect();
        assert_eq!(told, [Some(90.0), None, None]);
    }

    #[test]
    fn a_directory_that_is_gone_is_unknown_and_never_free() {
        let look = look(Path::new("/nowhere/at/all"));
        assert_eq!(look.sample.disks.len(), 1);
        assert_eq!(look.sample.disks[0].free_bytes, None);
    }

    #[test]
    fn the_hottest_sensor_counts_and_broken_ones_do_not() {
        let zones = tempfile::tempdir().unwrap();
        for (name, text) in [("a", "45000\n"), ("b", "61500\n"), ("c", "0\n"), ("d", "x")] {
            std::fs::create_dir(zones.path().join(name)).unwrap();
            std::fs::write(zones.path().join(name).join("temp"), text).unwrap();
        }
        assert_eq!(temperature_c(zones.path()), Some(61.5));
        assert_eq!(temperature_c(Path::new("/nowhere")), None);
    }
}
