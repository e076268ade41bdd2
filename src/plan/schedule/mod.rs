//! Who runs what: the incremental dispatcher. The live farm and the simulation use this same code.
//!
//! Facts go in as [`Happened`]; [`Schedule::decide`] gives out work and books it at once; what could not be recorded comes back as
//! [`Happened::GivenBack`]. No event scans the queue.
//!
//! ```text
//! let mut schedule = Schedule::new();
//! schedule.take(Happened::Builder(spec), now);
//! schedule.take(Happened::Added(job), now);           // blocked
//! schedule.take(Happened::Ready(id), now);
//! for assignment in schedule.decide(now) { /* record it, or give it back */ }
//! schedule.next_wake_ms();                            // decide again then, even if nothing happens
//! let why = schedule.explain(id, &planner.waits_for(&target), now);
//! ```
//!
//! Which job comes first is a sum of seconds that a person can read: `path` (predicted seconds to the end of the longest chain behind
//! it), `raise` (a person's steps of [`RAISE_STEP_S`]), `share` (minus what its account used over its weight). A job that waited
//! longer than its limit goes before all of these, oldest limit first; so every wait is bounded:
//! `WAIT_S` + 3 x (open work when it became ready / speed of the builders that can run it), plus the longest job twice. A builder's
//! speed counts once for each of such jobs that it can run at a time.
//!
//! A job that asks for more cores or memory than one slot has takes several slots of one builder ([`BuilderSpec::slots_for`]).

mod book;
mod decide;
mod explain;
mod fleet;
mod queue;
#[cfg(test)]
mod random;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod words;

use std::sync::Arc;

pub use book::Schedule;
pub use decide::Largest;
pub use fleet::slots_for;

use crate::id::{Arch, HostId, HostName, JobId};
use crate::model::IsaLevel;

/// What one step of `raise` is worth: more than the usual distance between two jobs, less than the longest chain.
pub const RAISE_STEP_S: i64 = 10_000;
/// A runnable job that waited this long, and twice the time that all open work should take, goes first.
pub const WAIT_S: f64 = 3_600.0;
/// No limit is longer than this (7 days).
pub const WAIT_S_MAX: f64 = 604_800.0;

/// A prediction beyond this is no prediction (31 years); sums of such still fit the numbers that are counted with.
pub const SECONDS_MAX: f64 = 1e9;

/// What a builder may build for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trust {
    /// Tries and comparisons only.
    Test,
    /// Publication.
    Trusted,
}

/// How well a builder keeps builds apart from itself and from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isolation {
    /// Name spaces and seccomp.
    Sandbox,
    /// A virtual machine.
    Machine,
}

/// What a job asks of a builder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Requirements {
    /// Its profile's architecture.
    pub arch: Arch,
    /// Its profile's level: `check` runs what was built.
    pub level: IsaLevel,
    /// What its packages are for.
    pub trust: Trust,
    /// At least this.
    pub isolation: Isolation,
    /// Cores that it is promised; at least 1.
    pub cores: u32,
    /// Peak memory as predicted.
    pub memory_mib: u32,
    /// Peak disk as predicted.
    pub disk_mib: u32,
}

impl Requirements {
    /// What any builder of an x86-64 processor has.
    pub const NOTHING: Requirements = Requirements {
        arch: Arch::X86_64,
        level: IsaLevel::Baseline,
        trust: Trust::Test,
        isolation: Isolation::Sandbox,
        cores: 1,
        memory_mib: 0,
        disk_mib: 0,
    };

    /// Rounded, so that jobs that ask for almost the same stand in one queue: memory up, because what is promised twice kills
    /// builds; disk down, because builders keep a floor free that is more than the difference, and small ones must do too.
    pub fn rounded(mut self) -> Requirements {
        self.cores = self.cores.max(1);
        self.memory_mib = round_up(self.memory_mib);
        self.disk_mib = round_down(self.disk_mib);
        self
    }
}

/// The distance of the sizes that are told apart: 512 below 4 Gi, and an eighth of the next power of two above.
fn step(mib: u32) -> u32 {
    (mib.max(1).checked_next_power_of_two().unwrap_or(1 << 31) / 8).max(512)
}

fn round_up(mib: u32) -> u32 {
    mib.checked_next_multiple_of(step(mib)).unwrap_or(mib)
}

fn round_down(mib: u32) -> u32 {
    mib - mib % step(mib)
}

/// An amount that a builder which has `most` can promise, also once it was rounded.
pub fn within(mib: u32, most: u32) -> u32 {
    if round_up(mib) <= most {
        mib
    } else {
        mib.min(round_down(most))
    }
}

/// A job as the dispatcher sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct JobSpec {
    /// Its number.
    pub job: JobId,
    /// How people call it: `nano 8.7.1-39`.
    pub label: Arc<str>,
    /// Whose share it uses: the project, or project and person.
    pub account: Arc<str>,
    /// What it asks for.
    pub needs: Requirements,
    /// Predicted seconds on a builder of speed 1.
    pub seconds: f64,
    /// Predicted seconds from its start to the end of the longest chain that waits for it, itself included.
    pub path_s: f64,
    /// A person's wish in whole steps; 0 is normal.
    pub raise: i32,
}

/// A builder as the dispatcher sees it. `None` is unknown, and unknown is not enough.
#[derive(Debug, Clone, PartialEq)]
pub struct BuilderSpec {
    /// Its key.
    pub id: HostId,
    /// Its name.
    pub name: HostName,
    /// What it can run.
    pub archs: Vec<Arch>,
    /// Its processor's level.
    pub level: IsaLevel,
    /// What it may build for.
    pub trust: Trust,
    /// How it isolates.
    pub isolation: Isolation,
    /// Attempts at a time.
    pub slots: u32,
    /// Cores for all slots together.
    pub cores: u32,
    /// Memory for all slots together.
    pub memory_mib: Option<u32>,
    /// What one slot's processes may take of it; `None`: whatever is free, so that memory alone never takes a second slot.
    pub slot_memory_mib: Option<u32>,
    /// Disk for all slots together: free now plus what running attempts were promised, minus the floor.
    pub disk_mib: Option<u32>,
    /// Its disk if nothing else were on it: what this would hold may have room later. `None`: not known.
    pub disk_whole_mib: Option<u32>,
    /// Measured: 2 takes half the predicted seconds.
    pub speed: f64,
    /// Why it takes no work: held, draining, silent, unknown, with the owner and the reason.
    pub away: Option<Arc<str>>,
}

/// A fact for the dispatcher.
#[derive(Debug, Clone, PartialEq)]
pub enum Happened {
    /// A job exists, blocked. Repeated: its numbers changed.
    Added(JobSpec),
    /// All that it needs is there.
    Ready(JobId),
    /// It waits for something again.
    Blocked(JobId),
    /// It runs already, as the rows say (after a restart).
    Running {
        /// The job.
        job: JobId,
        /// Where.
        builder: HostId,
        /// In which slot.
        slot: u32,
        /// Since then, in milliseconds of the monotonic clock.
        since_ms: u64,
    },
    /// Its attempt is over; the slot is free. The job is blocked until it is `Ready` again or `Gone`.
    Ended(JobId),
    /// An assignment was not recorded: it is ready again, and the slot is free.
    GivenBack(JobId),
    /// The job is over.
    Gone(JobId),
    /// A person's stop, with owner and reason; `None`: released.
    Held(JobId, Option<Arc<str>>),
    /// A person's wish.
    Raised(JobId, i32),
    /// The longest chain behind it changed.
    Path(JobId, f64),
    /// Not before this moment of the monotonic clock: back-off after a failure.
    NotBefore(JobId, u64),
    /// A builder came, or something about it changed.
    Builder(BuilderSpec),
    /// A builder is gone; what ran there is still booked until `Ended`.
    BuilderGone(HostId),
    /// A builder refused a job, and why; not asked again before this moment of the monotonic clock.
    Refused {
        /// The job.
        job: JobId,
        /// Who refused.
        builder: HostId,
        /// Its reason.
        why: Arc<str>,
        /// Until then.
        until_ms: u64,
    },
    /// An account's weight; 1 is normal.
    Weight(Arc<str>, f64),
    /// Nothing is given out, with owner and reason; `None`: released.
    FarmHeld(Option<Arc<str>>),
}

/// Work given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment {
    /// The job.
    pub job: JobId,
    /// Who builds it.
    pub builder: HostId,
    /// In which slot, from 0.
    pub slot: u32,
}
