//! How a builder is: samples of its disks, memory and load, and the verdict that follows. What could not be read is
//! unknown, never healthy.

use serde::{Deserialize, Serialize};

/// One file system of a builder, as it was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiskSample {
    /// A directory on it that the builder uses.
    pub path: String,
    /// Bytes that an unprivileged user may still write; `None`: could not be read.
    pub free_bytes: Option<u64>,
    /// Bytes in all.
    pub total_bytes: Option<u64>,
    /// Inodes left; file systems without a fixed number of them say `None`.
    pub free_inodes: Option<u64>,
    /// Seconds until it is full at the rate of the last minutes; `None`: not filling, or unknown.
    pub full_in_s: Option<f64>,
}

/// One look at a builder.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Sample {
    /// The file systems that builds use; the same one only once.
    pub disks: Vec<DiskSample>,
    /// Bytes that programs could still get without swapping.
    pub memory_available_bytes: Option<u64>,
    /// Bytes in all.
    pub memory_total_bytes: Option<u64>,
    /// Runnable tasks, over the last minute.
    pub load_1: Option<f64>,
    /// Share of the last ten seconds in which some task waited for a processor, 0 to 100.
    pub cpu_pressure: Option<f64>,
    /// The same for memory.
    pub memory_pressure: Option<f64>,
    /// The same for input and output.
    pub io_pressure: Option<f64>,
}

/// What a sample means for new work. Grows at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It takes work.
    Fit,
    /// Too little disk, inodes or memory is left: no new work.
    Low,
    /// An attempt on it makes no progress.
    Stalled,
    /// Something could not be read, or nothing was heard: no new work.
    Unknown,
}

impl Verdict {
    /// The word in JSON and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Fit => "fit",
            Verdict::Low => "low",
            Verdict::Stalled => "stalled",
            Verdict::Unknown => "unknown",
        }
    }
}

/// A verdict with what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// One line per finding, with numbers and units; empty when fit.
    pub evidence: Vec<String>,
}

/// What a builder keeps free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floors {
    /// Bytes of every file system that builds use.
    pub disk_bytes: u64,
    /// Inodes of the same.
    pub inodes: u64,
}

/// What a sample means, before stalls are looked at.
pub fn judge(sample: &Sample, floors: Floors) -> Judgement {
    let mut low = Vec::new();
    let mut unknown = Vec::new();
    if sample.disks.is_empty() {
        unknown.push("no file system was looked at".to_string());
    }
    for disk in &sample.disks {
        match disk.free_bytes {
            None => unknown.push(format!("the free space of {} could not be read", disk.path)),
            Some(free) if free < floors.disk_bytes => low.push(format!(
                "{} has {} MiB free, the floor is {} MiB",
                disk.path,
                free >> 20,
                floors.disk_bytes >> 20
            )),
            Some(_) => {}
        }
        if let Some(free) = disk.free_inodes.filter(|free| *free < floors.inodes) {
            low.push(format!(
                "{} has {free} inodes free, the floor is {}",
                disk.path, floors.inodes
            ));
        }
    }
    let verdict = match (low.is_empty(), unknown.is_empty()) {
        (false, _) => Verdict::Low,
        (true, false) => Verdict::Unknown,
        (true, true) => Verdict::Fit,
    };
    low.append(&mut unknown);
    Judgement {
        verdict,
        evidence: low,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(free_bytes: Option<u64>, free_inodes: Option<u64>) -> Sample {
        let disk = DiskSample {
            path: "/d".into(),
            free_bytes,
            total_bytes: None,
            free_inodes,
            full_in_s: None,
        };
        Sample {
            disks: vec![disk],
            ..Sample::default()
        }
    }

    #[test]
    fn a_disk_that_could_not_be_read_is_unknown_and_never_fit() {
        let floors = Floors {
            disk_bytes: 100,
            inodes: 10,
        };
        for (sample, verdict) in [
            (disk(Some(100), Some(10)), Verdict::Fit),
            (disk(Some(100), None), Verdict::Fit),
            (disk(Some(99), Some(10)), Verdict::Low),
            (disk(Some(100), Some(9)), Verdict::Low),
            (disk(None, Some(10)), Verdict::Unknown),
            (disk(None, Some(9)), Verdict::Low),
            (Sample::default(), Verdict::Unknown),
        ] {
            let judged = judge(&sample, floors);
            assert_eq!(judged.verdict, verdict);
            assert_eq!(judged.evidence.is_empty(), verdict == Verdict::Fit);
        }
    }
}
