//! Who runs what: the incremental dispatcher. The live farm and the simulation use this same code.
//!
//! Facts go in as [`Happened`]; `Schedule::decide` gives out work and books it at once; what could not be recorded comes back as
//! [`Happened::GivenBack`]. No event scans the queue.

use std::sync::Arc;

use crate::id::{Arch, HostId, HostName, JobId};
use crate::model::IsaLevel;

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
    /// Disk for all slots together: free now plus what running attempts were promised, minus the floor.
    pub disk_mib: Option<u32>,
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
