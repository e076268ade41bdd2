//! The order of the farm: which jobs exist, what each waits for, with what it is built, where it runs and when.
//! Pure values; written by the summit alone. Two halves that meet in job numbers:
//!
//! - [`Planner`] knows recipes, packages and names: who provides what, which jobs are wanted, the edges between them, the
//!   cuts of cycles, and the packages of a build root.
//! - [`Schedule`] knows ready jobs and builders: who runs what, and why something does not run.
//!
//! ```text
//! let mut planner = Planner::new(Edges::All);
//! planner.set_profile(&profile);                              // again whenever it changes
//! planner.set_project(&project.name, rules);                  // profiles, priority, rebuild policy
//! planner.set_index(&Source::channel(&profile), &metas);      // the published channel, and each remote
//! planner.set_base(&Source::base(&profile.base), &provides);  // what is there without packages
//! planner.set_catalog(&catalog);                              // costs what changed against the last one
//! for wanted in planner.jobs_wanted() { /* record Planned, then: */ planner.open(&wanted.target, job, &wanted.because); }
//! for (job, readiness) in planner.settle(limit::SETTLE_STEPS) { /* tell the schedule: ready or blocked */ }
//! let closure = planner.closure(&target);                     // goes into the order to the builder, or says what is missing
//! // A publication: change_index(&source, &gone, &came), close(&target), settle. A failure: fail(&target), settle.
//! // After a start: open() every target whose newest job is not over, open() and fail() those whose newest job failed.
//! ```

mod answers;
pub mod cycles;
pub mod estimate;
pub mod forecast;
pub mod graph;
#[cfg(test)]
mod hostile;
mod least;
pub mod names;
mod order;
mod owed;
pub mod picture;
pub mod planner;
#[cfg(test)]
mod policies;
pub mod providers;
mod resolve;
#[cfg(test)]
pub mod sample;
pub mod schedule;
pub mod simulate;
#[cfg(test)]
mod tests;
mod wanted;
pub mod whole;
pub mod why;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::id::{Arch, ChannelName, CommitId, Digest, JobId, ProfileName, RecipeName};
use crate::model::{Base, Because, Profile, Target};
use crate::recipe::NeedOrigin;
use crate::stone::Dependency;

pub use crate::model::Rebuild;
pub use planner::Planner;
pub use schedule::{
    Assignment, BuilderSpec, Happened, Isolation, JobSpec, Requirements, Schedule, Trust,
};
pub use why::{
    BuilderFit, FailedTest, Forecast, Passes, Reason, Term, Test, Verdict, Wait, WaitKind, Why,
};

/// Where packages come from, beside the farm's own recipes. Grows at the end only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Source {
    /// A channel of the farm, for one architecture.
    Channel(ChannelName, Arch),
    /// The index at this URL or path.
    Remote(String),
    /// What lies below the packages in a build root: `host`, `stones`, or a directory.
    Base(String),
}

impl Source {
    /// Where this profile publishes.
    pub fn channel(profile: &Profile) -> Source {
        Source::Channel(profile.channel.clone(), profile.arch)
    }

    /// This profile's base.
    pub fn base(base: &Base) -> Source {
        Source::Base(base.to_string())
    }

    /// The word that `served_by` uses.
    pub fn kind(&self) -> ServedBy {
        match self {
            Source::Channel(..) => ServedBy::Published,
            Source::Remote(_) => ServedBy::Remote,
            Source::Base(_) => ServedBy::Base,
        }
    }
}

/// What stands in for a provider that is not built yet. Grows at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServedBy {
    /// An older package in the channel.
    Published,
    /// A remote index.
    Remote,
    /// The base.
    Base,
}

/// Which edges count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edges {
    /// What recipes and manifests list.
    Manifest,
    /// Macros, toolchain and base set too.
    #[default]
    All,
}

/// What the operator decided about a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectRules {
    /// What all its recipes are built for.
    pub profiles: Vec<ProfileName>,
    /// What only some of them are built for too.
    pub chosen: BTreeMap<ProfileName, BTreeSet<RecipeName>>,
    /// Among projects that provide the same name, the higher one is taken.
    pub priority: i32,
    /// When its recipes are built again.
    pub rebuild: Rebuild,
    /// What was built before its provider, because a cycle was cut there, is built once more when that provider is published.
    pub second_pass: bool,
}

/// A job that should exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What it is about.
    pub target: Target,
    /// The recipe's version.
    pub version: String,
    /// The recipe's release.
    pub release: u64,
    /// The recipe's directory.
    pub dir: String,
    /// The directory's git tree, without manifests.
    pub tree: CommitId,
    /// Why.
    pub because: Because,
}

/// A recipe is built with what another recipe of the farm makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// Who makes it.
    pub provider: Target,
    /// The needs that it serves, sorted; never empty.
    pub dependencies: Vec<(Dependency, NeedOrigin)>,
    /// The edge was cut, and this stands in; the inner `None`: nothing does.
    pub cut: Option<Option<ServedBy>>,
}

/// An edge that was taken out of a cycle: `recipe` is built before its `provider`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Built first.
    pub recipe: Target,
    /// Built later, although `recipe` needs it.
    pub provider: Target,
    /// What it is needed for.
    pub dependencies: Vec<Dependency>,
    /// What stands in.
    pub served_by: Option<ServedBy>,
}

/// Recipes that need each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle {
    /// All of them, sorted.
    pub members: Vec<Target>,
    /// What opens it; putting any of them back would close it again.
    pub cuts: Vec<Cut>,
    /// No plan can do with fewer cuts than this.
    pub cuts_min: usize,
}

/// An open job as the order sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its number.
    pub job: JobId,
    /// Open jobs that it waits for.
    pub before: Vec<JobId>,
    /// Time alone will not make it ready: something is missing, failed, or cut where nothing stands in.
    pub stuck: bool,
}

/// Whether a job can be given to a builder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// All that it needs is there.
    Ready,
    /// It waits; `Planner::waits_for` says for what.
    Waits,
}

/// One package of a build root.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PackageRef {
    /// Its name.
    pub name: String,
    /// SHA-256 of the stone.
    pub sha256: Digest,
    /// Bytes of the stone.
    pub size: u64,
    /// Which index it is in.
    pub from: Source,
    /// Where the index says it is, relative to the index.
    pub uri: String,
}

/// The packages of a build root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Closure {
    /// Sorted by name; no package twice.
    pub packages: Vec<PackageRef>,
    /// Needs that only a macro adds and nothing provides: noted in the log, not held.
    pub notes: Vec<Dependency>,
}

/// A recipe that cannot be planned for a reason of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unplannable {
    /// What it would have been.
    pub target: Target,
    /// Why not.
    pub fault: Fault,
}

/// An open job whose readiness is new.
pub type Change = (JobId, Readiness);
