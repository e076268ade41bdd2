//! What an attempt leaves when its host was killed, and how it is found at the next start: processes by the mark in their
//! command line, directories by their place. Mounts are none: they lived in namespaces that ended with the processes.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::boulder::MARK;
use super::layers::cannot;
use super::procs;
use super::sandbox_session::{HELPER_COMMAND, marker};
use super::trash::{discard, empty};
use crate::fault::{Fault, Kind, Result};
use crate::limit;

/// What was found and removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Processes of dead attempts.
    pub processes: u32,
    /// Directories of dead attempts, by name.
    pub attempts: Vec<String>,
}

/// Ends what an earlier process of this state directory left running and throws its attempts' directories away but for
/// those that `keep` wants (their artefacts were not fetched yet). Call it under the directory's lock, before the first
/// session. Blocking.
pub fn reclaim_dead(state_dir: &Path, keep: &dyn Fn(&str) -> bool) -> Result<Reclaimed> {
    let mut reclaimed = Reclaimed {
        processes: end_processes(state_dir)?,
        attempts: Vec::new(),
    };
    for place in ["attempts", "slots"] {
        for entry in fs::read_dir(state_dir.join(place))
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            if place == "slots" || !keep(&name) {
                discard(state_dir, &entry.path())?;
                if place == "attempts" {
                    reclaimed.attempts.push(name);
                }
            }
        }
    }
    reclaimed.attempts.sort();
    empty(state_dir);
    Ok(reclaimed)
}

/// Kills every helper of this state directory and waits until all are gone: their namespaces end with them.
fn end_processes(state_dir: &Path) -> Result<u32> {
    let marker = marker(state_dir).map_err(|e| cannot("find the state directory", e))?;
    let deadline = Instant::now() + Duration::from_millis(limit::LEFTOVERS_END_MS);
    let mut found = 0;
    loop {
        let alive = helpers(&marker);
        found = found.max(alive.len() as u32);
        if alive.is_empty() {
            return Ok(found);
        }
        if Instant::now() > deadline {
            let numbers: Vec<String> = alive
                .iter()
                .map(|pid| pid.as_raw_nonzero().to_string())
                .collect();
            return Err(Fault::new(
                Kind::Operator,
                format!(
                    "processes of an earlier run do not end: {}",
                    numbers.join(" ")
                ),
            )
            .next("end them by hand, or start the machine again: they hang in the kernel"));
        }
        for pid in &alive {
            // It may have ended by itself, with the one before it.
            let _ = kill_process(*pid, Signal::KILL);
        }
        // A process that was killed takes a moment to be gone and there is no event for those that are not our children.
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Live processes whose command line says that they are helpers with this mark, and those that the distribution's own tool
/// left: it makes its containers itself, and all of it carries an attempt of this directory in its environment.
fn helpers(marker: &str) -> Vec<Pid> {
    let mut all = procs::that_hold("cmdline", &format!("\0{HELPER_COMMAND}\0{marker}\0"));
    all.extend(procs::that_hold("environ", &format!("{MARK}={marker}:")));
    all
}
