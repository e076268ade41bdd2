//! Room on a builder's disks: what may be thrown away when they run full, in which order, and how much of old logs is kept.
//! Decides nothing about builds. Everything here blocks.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::build::layers::Layers;
use crate::build::trash;
use crate::fault::Result;
use crate::id::AttemptId;

/// A cached file that was linked or written within this time may be in use.
const IN_USE: Duration = Duration::from_secs(15 * 60);

/// What is kept of finished attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Bytes of logs.
    pub bytes: u64,
    /// Logs.
    pub logs: u64,
}

/// What may be thrown away.
#[derive(Clone)]
pub struct Caches {
    /// The state directory.
    pub dir: PathBuf,
    /// Unpacked packages.
    pub layers: Layers,
    /// Git mirrors are all of upstreams: this host reads no projects.
    pub mirrors_too: bool,
    /// Limits of logs.
    pub keep: Keep,
}

/// A file system that has too little room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Short {
    /// A directory on it.
    pub path: PathBuf,
    /// What is to be thrown away there.
    pub bytes: u64,
}

struct Entry {
    used: SystemTime,
    path: PathBuf,
    bytes: u64,
}

/// When a file was written or linked last: a link into an attempt's sources changes the time of its inode.
fn used_at(meta: &Metadata) -> SystemTime {
    let seconds = u64::try_from(meta.ctime()).unwrap_or(0);
    let part = u32::try_from(meta.ctime_nsec()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::new(seconds, part)
}

/// Files and directories right below `dir`, the one used longest ago first.
fn oldest_first(dir: &Path) -> Vec<Entry> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<Entry> = entries
        .filter_map(|entry| {
            let meta = entry.metadata().ok()?;
            let bytes = match meta.is_dir() {
                true => crate::build::watch::disk_bytes(&entry.path()).unwrap_or(0),
                false => meta.blocks() * 512,
            };
            Some(Entry {
                used: used_at(&meta),
                path: entry.path(),
                bytes,
            })
        })
        .collect();
    found.sort_by_key(|entry| entry.used);
    found
}

/// Throws away what was used longest ago in one place until enough is on its way out; the bytes that are.
fn reclaim_place(state_dir: &Path, place: &str, wanted: u64, now: SystemTime) -> Result<u64> {
    // Beside the files named by their hash lie the cache's own notes and what is being fetched.
    let cached = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        place != "upstreams" || name.len() == 64
    };
    let mut freed = 0;
    for entry in oldest_first(&state_dir.join(place)) {
        if !cached(&entry.path) {
            continue;
        }
        let age = now.duration_since(entry.used).unwrap_or_default();
        if freed >= wanted || age < IN_USE {
            break;
        }
        trash::discard(state_dir, &entry.path)?;
        freed += entry.bytes;
    }
    Ok(freed)
}

/// Makes room where it is short: attempts that nobody knows, layers, upstreams, mirrors, the older half of the logs, in this
/// order, and only what lies on that file system. Never what is in use. Returns the bytes on their way out; the last of them
/// are gone a moment later.
pub fn reclaim(caches: &Caches, short: &[Short], known: &BTreeSet<AttemptId>) -> Result<u64> {
    let mut freed = 0;
    for one in short {
        freed += reclaim_on(caches, one, known)?;
    }
    Ok(freed)
}

fn reclaim_on(caches: &Caches, short: &Short, known: &BTreeSet<AttemptId>) -> Result<u64> {
    let (dir, now, wanted) = (caches.dir.as_path(), SystemTime::now(), short.bytes);
    let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).ok();
    let full = device(&short.path);
    // What cannot be told apart may help.
    let helps = |place: &str| full.is_none() || device(&dir.join(place)) == full;
    let mut freed = 0;
    if helps("attempts") {
        freed += discard_unknown(dir, known)?;
    }
    if freed < wanted && helps("layers") {
        freed += caches.layers.reclaim(wanted - freed)?;
    }
    if freed < wanted && helps("upstreams") {
        freed += reclaim_place(dir, "upstreams", wanted - freed, now)?;
    }
    if freed < wanted && caches.mirrors_too && helps("mirrors") {
        freed += reclaim_place(dir, "mirrors", wanted - freed, now)?;
    }
    if freed < wanted && helps("caches") {
        // What is asked of these is only compiled once more.
        freed += reclaim_place(dir, "caches", wanted - freed, now)?;
    }
    if freed < wanted && helps("logs") {
        let half = Keep {
            bytes: caches.keep.bytes / 2,
            logs: caches.keep.logs / 2,
        };
        freed += prune_logs(dir, half, known)?;
    }
    Ok(freed)
}

/// What the caches on the file system of the attempts could give back now: summit counts it as room for a build.
pub fn cached_bytes(caches: &Caches) -> u64 {
    let (dir, now) = (caches.dir.as_path(), SystemTime::now());
    let device = |place: &str| fs::metadata(dir.join(place)).map(|meta| meta.dev()).ok();
    let helps = |place: &str| device(place).is_some() && device(place) == device("attempts");
    let old = |place: &str| -> u64 {
        let entries = oldest_first(&dir.join(place)).into_iter();
        let old =
            entries.filter(|entry| now.duration_since(entry.used).unwrap_or_default() >= IN_USE);
        old.map(|entry| entry.bytes).sum()
    };
    let mut bytes = 0;
    if helps("layers") {
        bytes += caches.layers.idle_bytes();
    }
    if helps("upstreams") {
        bytes += old("upstreams");
    }
    if caches.mirrors_too && helps("mirrors") {
        bytes += old("mirrors");
    }
    bytes
}

/// Directories of attempts without a row.
fn discard_unknown(dir: &Path, known: &BTreeSet<AttemptId>) -> Result<u64> {
    let names: BTreeSet<String> = known.iter().map(ToString::to_string).collect();
    let mut freed = 0;
    for entry in oldest_first(&dir.join("attempts")) {
        let name = entry.path.file_name().unwrap_or_default().to_string_lossy();
        if !names.contains(name.as_ref()) {
            trash::discard(dir, &entry.path)?;
            freed += entry.bytes;
        }
    }
    Ok(freed)
}

/// Deletes the oldest logs beyond what is kept, never those of known attempts; the bytes that are gone.
pub fn prune_logs(dir: &Path, keep: Keep, known: &BTreeSet<AttemptId>) -> Result<u64> {
    let names: BTreeSet<String> = known.iter().map(|id| format!("{id}.log")).collect();
    let logs = oldest_first(&dir.join("logs"));
    let mut bytes: u64 = logs.iter().map(|log| log.bytes).sum();
    let mut count = logs.len() as u64;
    let mut freed = 0;
    for log in logs {
        if bytes <= keep.bytes && count <= keep.logs {
            break;
        }
        let name = log.path.file_name().unwrap_or_default().to_string_lossy();
        if names.contains(name.as_ref()) {
            continue;
        }
        // It may be gone already; what cannot be deleted is tried again the next time.
        if fs::remove_file(&log.path).is_ok() {
            freed += log.bytes;
            bytes -= log.bytes;
            count -= 1;
        }
    }
    Ok(freed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::JobId;

    #[test]
    fn the_oldest_logs_go_first_and_those_of_known_attempts_stay() {
        let place = tempfile::tempdir().unwrap();
        let logs = place.path().join("logs");
        fs::create_dir(&logs).unwrap();
        for number in 1..=5 {
            fs::write(logs.join(format!("{number}.1.log")), vec![b'x'; 8192]).unwrap();
            // The clock of inodes is coarse.
            std::thread::sleep(Duration::from_millis(20));
        }
        let known = BTreeSet::from([AttemptId {
            job: JobId(1),
            try_no: 1,
        }]);
        let keep = Keep {
            bytes: u64::MAX,
            logs: 3,
        };
        assert_eq!(prune_logs(place.path(), keep, &known).unwrap(), 2 * 8192);
        let mut left: Vec<String> = fs::read_dir(&logs)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left.first().map(String::as_str), Some("1.1.log"));
        assert_eq!(left.len(), 3);
    }

    #[test]
    fn what_was_used_a_moment_ago_is_not_reclaimed() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("upstreams")).unwrap();
        let file = place.path().join("upstreams").join("a".repeat(64));
        fs::write(&file, vec![1; 4096]).unwrap();
        fs::write(place.path().join("upstreams/seen"), "x").unwrap();
        let now = SystemTime::now();
        assert_eq!(reclaim_place(place.path(), "upstreams", 1, now).unwrap(), 0);
        let later = now + IN_USE + Duration::from_secs(2);
        assert_eq!(
            reclaim_place(place.path(), "upstreams", 1, later).unwrap(),
            4096
        );
        assert!(!file.exists() && place.path().join("upstreams/seen").exists());
    }
}
