//! `io.massif.Host`: the host itself, its events and its store.

use super::view::{BackupView, DoctorView, EventView, StatusView, StoreCheckView};
use super::{facts, methods, replies};
use crate::id::Seq;

replies! {
    /// The host's page.
    pub struct HostStatus {
        /// The page.
        pub status: StatusView,
    }

    /// All checks.
    pub struct Findings {
        /// One row per check.
        pub findings: Vec<DoctorView>,
    }

    /// What happened.
    pub struct Events {
        /// In order; may be empty, as a sign of life.
        pub events: Vec<EventView>,
        /// Events between these and what the caller had are no longer kept.
        pub gap: bool,
        /// The last event that this answer accounts for: ask again from here.
        pub seq: Seq,
        /// Whether more events are there already.
        pub more: bool,
    }

    /// A report on the store.
    pub struct StoreReport {
        /// The report.
        pub report: StoreCheckView,
    }

    /// A copy of the store.
    pub struct StoreCopy {
        /// What was written.
        pub backup: BackupView,
    }
}

methods! {
    interface "io.massif.Host"

    /// One page: who this host is, where it can be reached, jobs by state, alarms.
    Status: View {} -> HostStatus;

    /// What is wrong with this machine and how to mend it.
    Doctor: View {} -> Findings;

    /// Events after `since` in their order. With `more`: those, and then each as it happens.
    Watch: View more {
        /// The last event that is known already; null: only what happens from now on.
        since: Option<Seq>,
        /// Rows in one answer at most.
        limit: Option<u32>,
    } -> Events;

    /// Events with their chained hashes, from the oldest that is kept.
    Audit: View {
        /// The last event of the page before; null: from the start.
        after: Option<Seq>,
        /// Rows at most.
        limit: Option<u32>,
        /// Only those that this user, host or part of the farm caused.
        actor: Option<String>,
        /// Only those about this job, recipe, builder, channel, package or project.
        subject: Option<String>,
    } -> Events;

    /// Reads the whole store, every blob and the chain of events.
    StoreCheck: Operate slow {} -> StoreReport;

    /// Writes a copy of the store while the host runs.
    StoreBackup: Admin slow {
        /// A file that does not exist yet; null: one in the state directory's `backups`.
        path: Option<String>,
    } -> StoreCopy;
}
