//! Jobs and their attempts: what is to be built, and each try at it.

use serde::{Deserialize, Serialize};

use super::who::{Blame, Hold, Who};
use crate::fault::Fault;
use crate::id::{
    AttemptId, ChannelName, CommitId, HostId, JobId, ProfileName, ProjectName, RecipeName, Stamp,
    VersionId,
};

/// What a job is about: at most one open job exists for each.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    /// The project.
    pub project: ProjectName,
    /// The recipe.
    pub recipe: RecipeName,
    /// The profile that it is built for.
    pub profile: ProfileName,
}

/// Where a job stands. `Open` is shown as `waiting` or `ready`, which follows from the rest of the farm and is not stored.
/// Grows at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum JobState {
    /// To be built.
    Open,
    /// An attempt has it.
    Building,
    /// Built; vessel fetches, checks and publishes.
    Publishing,
    /// In the channel.
    Published,
    /// Given up until the recipe changes or somebody asks again.
    Failed,
    /// A person did not want it.
    Cancelled,
    /// A newer job took its place.
    Superseded,
}

impl JobState {
    /// Whether nothing more happens to it by itself.
    pub fn is_over(self) -> bool {
        match self {
            JobState::Open | JobState::Building | JobState::Publishing => false,
            JobState::Published | JobState::Failed | JobState::Cancelled | JobState::Superseded => {
                true
            }
        }
    }
}

impl JobState {
    /// The word in JSON; `Open` is refined to `waiting` or `ready` by whoever knows the rest of the farm.
    pub fn as_str(self) -> &'static str {
        match self {
            JobState::Open => "waiting",
            JobState::Building => "building",
            JobState::Publishing => "publishing",
            JobState::Published => "published",
            JobState::Failed => "failed",
            JobState::Cancelled => "cancelled",
            JobState::Superseded => "superseded",
        }
    }
}

/// Why a job exists. Grows at the end only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Because {
    /// The channel has no package of this recipe.
    Missing,
    /// The channel has this older release.
    NewerRelease {
        /// The published release.
        published: u64,
    },
    /// Somebody asked for it.
    Asked {
        /// Who.
        by: Who,
        /// Although the release is published: the build release is raised.
        rebuild: bool,
    },
    /// Something that it was built against changed.
    DependencyChanged {
        /// What went away or changed, in words.
        what: String,
    },
}

impl Because {
    /// One line for people.
    pub fn text(&self) -> String {
        match self {
            Because::Missing => "new to the channel".into(),
            Because::NewerRelease { published } => {
                format!("newer than release {published}")
            }
            Because::Asked { by, rebuild: false } => format!("asked for by {by}"),
            Because::Asked { by, rebuild: true } => format!("rebuild asked for by {by}"),
            Because::DependencyChanged { what } => format!("{what} changed"),
        }
    }
}

/// One recipe release to be built for one profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// What it is about.
    pub target: Target,
    /// The recipe's version.
    pub version: String,
    /// The recipe's release.
    pub release: u64,
    /// The farm's rebuild counter for this release; settled when an attempt is made.
    pub build_release: u64,
    /// The recorded commit that the recipe is read at.
    pub commit: CommitId,
    /// The recipe's directory at that commit.
    pub dir: String,
    /// The git tree of that directory without manifests: another tree is another job.
    pub tree: CommitId,
    /// Where it stands.
    pub state: JobState,
    /// Why it exists.
    pub because: Because,
    /// When it was planned.
    pub created: Stamp,
    /// When its state last changed.
    pub changed: Stamp,
    /// Attempts so far.
    pub tries: u32,
    /// Of those, the ones that count against a limit.
    pub failures: u32,
    /// Not before this moment: back-off after a failure that was not the recipe's.
    pub not_before: Option<Stamp>,
    /// A person's wish in whole steps; 0 is normal, higher is sooner.
    pub raise: i32,
    /// A person's stop.
    pub hold: Option<Hold>,
    /// Why the last attempt ended without packages, or why the job was given up.
    pub fault: Option<Fault>,
}

/// Where an attempt stands. Grows at the end only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttemptState {
    /// Recorded; the order is on its way.
    Assigned,
    /// The builder has taken it.
    Building,
    /// The builder has artefacts; vessel fetches them.
    Built,
    /// Its packages are in the channel as this version.
    Published {
        /// The channel.
        channel: ChannelName,
        /// The version that it made.
        version: VersionId,
    },
    /// It ended without packages.
    Ended {
        /// Whose doing.
        blame: Blame,
        /// What happened.
        fault: Fault,
    },
}

impl AttemptState {
    /// Whether a builder or vessel may still report about it.
    pub fn is_live(&self) -> bool {
        match self {
            AttemptState::Assigned | AttemptState::Building | AttemptState::Built => true,
            AttemptState::Published { .. } | AttemptState::Ended { .. } => false,
        }
    }

    /// The word in JSON and tables.
    pub fn as_str(&self) -> &'static str {
        match self {
            AttemptState::Assigned => "assigned",
            AttemptState::Building => "building",
            AttemptState::Built => "publishing",
            AttemptState::Published { .. } => "published",
            AttemptState::Ended { .. } => "failed",
        }
    }
}

/// One try of a job on one builder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The fencing key.
    pub id: AttemptId,
    /// Who builds.
    pub builder: HostId,
    /// In which of its slots, from 0.
    pub slot: u32,
    /// Where it stands.
    pub state: AttemptState,
    /// The order was recorded.
    pub assigned: Stamp,
    /// The builder took it.
    pub started: Option<Stamp>,
    /// The builder was done with it, one way or the other.
    pub ended: Option<Stamp>,
    /// The build release that its packages carry.
    pub build_release: u64,
    /// Bytes of what it made.
    pub artefact_bytes: u64,
    /// Files that it made.
    pub artefacts: u32,
}
