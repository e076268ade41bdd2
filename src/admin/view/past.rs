//! The farm as it was after one event: what the log of events can tell, and what it cannot.

use std::collections::BTreeMap;

use super::{AlarmView, BuilderView, EventView};
use crate::admin::views;
use crate::id::{CommitId, ProjectName, Seq, Stamp};

views! {
    /// The farm as it stood after one event.
    pub struct PastView {
        /// That event.
        pub seq: Seq,
        /// When it was recorded; null: before the first one.
        pub at: Option<Stamp>,
        /// The event itself; null: before the first one.
        pub event: Option<EventView>,
        /// The newest event of the log.
        pub last: Seq,
        /// Jobs by state. Those that were ready are counted as `waiting`: which they were is told job by job.
        pub jobs: BTreeMap<String, u64>,
        /// Published within the hour before it.
        pub published_last_hour: u64,
        /// What each project was built from.
        pub projects: Vec<PastProjectView>,
        /// What the log knows of builders: their names, holds, and what they built.
        pub builders: Vec<BuilderView>,
        /// What somebody should have looked at.
        pub alarms: Vec<AlarmView>,
        /// What cannot be known of that moment, in sentences.
        pub unknown: Vec<String>,
    }

    /// A project as it was.
    pub struct PastProjectView {
        /// Its name.
        pub name: ProjectName,
        /// The commit that was built from; null: before the first intake.
        pub commit: Option<CommitId>,
    }
}
