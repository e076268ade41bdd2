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

/// A machine with less memory than this for programs starts no more of them.
pub const MEMORY_FLOOR_BYTES: u64 = 128 * 1024 * 1024;

/// What a sample means, before stalls are looked at. `troubles` keep builds from working whatever the numbers say. What was
/// low stays low until a quarter above its floor, so that a builder does not come and go.
pub fn judge(sample: &Sample, floors: Floors, troubles: &[String], was: Verdict) -> Judgement {
    let raised = |floor: u64| match was {
        Verdict::Low => floor.saturating_add(floor / 4),
        Verdict::Fit | Verdict::Stalled | Verdict::Unknown => floor,
    };
    let again = |free: u64, floor: u64| match free >= floor {
        true => ", and takes work again when there is a quarter more",
        false => "",
    };
    let mut low = troubles.to_vec();
    let mut unknown = Vec::new();
    match sample.memory_available_bytes {
        None => unknown.push("the free memory could not be read".to_string()),
        Some(free) if free < raised(MEMORY_FLOOR_BYTES) => low.push(format!(
            "{} MiB of memory are left, the floor is {} MiB{}",
            free >> 20,
            MEMORY_FLOOR_BYTES >> 20,
            again(free, MEMORY_FLOOR_BYTES)
        )),
        Some(_) => {}
    }
    if sample.disks.is_empty() {
        unknown.push("no file system was looked at".to_string());
    }
    for disk in &sample.disks {
        match disk.free_bytes {
            None => unknown.push(format!("the free space of {} could not be read", disk.path)),
            Some(free) if free < raised(floors.disk_bytes) => low.push(format!(
                "{} has {} MiB free, the floor is {} MiB{}",
                disk.path,
                free >> 20,
                floors.disk_bytes >> 20,
                again(free, floors.disk_bytes)
            )),
            Some(_) => {}
        }
        let few = |free: &u64| *free < raised(floors.inodes);
        if let Some(free) = disk.free_inodes.filter(few) {
            low.push(format!(
                "{} has {free} inodes free, the floor is {}{}",
                disk.path,
                floors.inodes,
                again(free, floors.inodes)
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
            memory_available_bytes: Some(1 << 40),
            ..Sample::default()
        }
    }

    #[test]
    fn memory_that_could_not_be_read_is_unknown_and_too_little_of_it_is_low() {
        let floors = Floors {
            disk_bytes: 100,
            inodes: 10,
        };
        let of = |memory_available_bytes, was| {
            let sample = Sample {
                memory_available_bytes,
                ..disk(Some(100), None)
            };
            judge(&sample, floors, &[], was).verdict
        };
        assert_eq!(of(None, Verdict::Fit), Verdict::Unknown);
        assert_eq!(of(Some(MEMORY_FLOOR_BYTES), Verdict::Fit), Verdict::Fit);
        assert_eq!(of(Some(MEMORY_FLOOR_BYTES - 1), Verdict::Fit), Verdict::Low);
        assert_eq!(of(Some(MEMORY_FLOOR_BYTES), Verdict::Unknown), Verdict::Fit);
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
            let judged = judge(&sample, floors, &[], Verdict::Fit);
            assert_eq!(judged.verdict, verdict);
            assert_eq!(judged.evidence.is_empty(), verdict == Verdict::Fit);
        }
    }

    #[test]
    fn what_was_low_stays_low_until_well_above_the_floor_and_read_only_is_low_at_any_size() {
        let floors = Floors {
            disk_bytes: 100,
            inodes: 8,
        };
        let verdict = |sample: &Sample, troubles: &[String], was| {
            judge(sample, floors, troubles, was).verdict
        };
        let enough = disk(Some(110), Some(9));
        assert_eq!(verdict(&enough, &[], Verdict::Fit), Verdict::Fit);
        assert_eq!(verdict(&enough, &[], Verdict::Low), Verdict::Low);
        let plenty = disk(Some(125), Some(10));
        assert_eq!(verdict(&plenty, &[], Verdict::Low), Verdict::Fit);
        let read_only = ["the file system of /d is read-only".to_string()];
        assert_eq!(verdict(&plenty, &read_only, Verdict::Fit), Verdict::Low);
    }
}
