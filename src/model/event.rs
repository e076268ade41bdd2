//! Everything that can happen to the farm, as facts in the past tense. The log of events is the farm's memory:
//! folding it from the start gives the farm as it was at any sequence number.

use serde::{Deserialize, Serialize};

use super::job::{Because, Target};
use super::profile::Profile;
use super::project::Tip;
use super::who::{Blame, Hold, Who};
use crate::fault::Fault;
use crate::id::{
    AttemptId, ChannelName, CommitId, HostId, JobId, ProfileName, ProjectName, RecipeName, Seq,
    Stamp, VersionId,
};

/// An event as it lies in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Its place.
    pub seq: Seq,
    /// When it was recorded.
    pub at: Stamp,
    /// Who caused it.
    pub who: Who,
    /// What happened.
    pub event: Event,
}

/// What happened. Grows at the end only: it lies in rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Somebody added a project.
    ProjectAdded {
        /// Its name.
        name: ProjectName,
        /// Its URL.
        url: String,
        /// Its branch.
        branch: Option<String>,
    },
    /// Somebody removed a project; its packages stay published.
    ProjectRemoved {
        /// Its name.
        name: ProjectName,
    },
    /// Everything that is missing in this project may be built.
    ProjectOpened {
        /// Its name.
        name: ProjectName,
    },
    /// A project's recorded commit moved.
    TipMoved {
        /// The project.
        project: ProjectName,
        /// The new tip.
        tip: Tip,
        /// Recipes that came, changed or went.
        changed: u32,
        /// The first intake was small enough to be built without being asked.
        opens: bool,
    },
    /// A profile was added or replaced.
    ProfileSet {
        /// The whole profile.
        profile: Box<Profile>,
    },
    /// A job came into being; an open job of the same target is superseded by it.
    Planned {
        /// Its number.
        job: JobId,
        /// What it is about.
        target: Target,
        /// The recipe's version.
        version: String,
        /// The recipe's release.
        release: u64,
        /// As far as known now.
        build_release: u64,
        /// The recorded commit.
        commit: CommitId,
        /// The recipe's directory.
        dir: String,
        /// The directory's git tree.
        tree: CommitId,
        /// Why it exists.
        because: Because,
    },
    /// The recipe is gone, or what the job would make is published already.
    Unwanted {
        /// The job.
        job: JobId,
        /// Why.
        why: String,
    },
    /// A job was given to a builder.
    Assigned {
        /// The attempt.
        attempt: AttemptId,
        /// The builder.
        builder: HostId,
        /// Its slot.
        slot: u32,
        /// The build release of its packages.
        build_release: u64,
    },
    /// The builder took it.
    Accepted {
        /// The attempt.
        attempt: AttemptId,
    },
    /// The builder made packages.
    Built {
        /// The attempt.
        attempt: AttemptId,
        /// How many files.
        artefacts: u32,
        /// Their bytes.
        bytes: u64,
    },
    /// The attempt ended without packages.
    AttemptEnded {
        /// The attempt.
        attempt: AttemptId,
        /// Whose doing.
        blame: Blame,
        /// What happened.
        fault: Fault,
        /// What follows for the job.
        then: Then,
    },
    /// Vessel published what the attempt made.
    Published {
        /// The attempt.
        attempt: AttemptId,
        /// The channel.
        channel: ChannelName,
        /// The version that it made.
        version: VersionId,
    },
    /// Somebody stopped a job.
    Cancelled {
        /// The job.
        job: JobId,
    },
    /// Somebody wants a job tried again.
    Retried {
        /// The job.
        job: JobId,
    },
    /// Somebody held a job.
    JobHeld {
        /// The job.
        job: JobId,
        /// The hold.
        hold: Hold,
    },
    /// Somebody released a job.
    JobReleased {
        /// The job.
        job: JobId,
    },
    /// Somebody moved a job forward or back.
    Raised {
        /// The job.
        job: JobId,
        /// The new value.
        raise: i32,
    },
    /// Nothing more is built of this recipe until the hold is released.
    RecipeHeld {
        /// The project.
        project: ProjectName,
        /// The recipe.
        recipe: RecipeName,
        /// The hold.
        hold: Hold,
    },
    /// The recipe may be built again.
    RecipeReleased {
        /// The project.
        project: ProjectName,
        /// The recipe.
        recipe: RecipeName,
    },
    /// Packages came into a channel from outside.
    Imported {
        /// The channel.
        channel: ChannelName,
        /// The version that it made.
        version: VersionId,
        /// Package names, in words.
        what: String,
    },
    /// A channel went back.
    RolledBack {
        /// The channel.
        channel: ChannelName,
        /// The new version.
        version: VersionId,
        /// Whose content it has.
        to: VersionId,
    },
    /// A host became known to the farm.
    HostSeen {
        /// Its key.
        host: HostId,
        /// Its name.
        name: crate::id::HostName,
    },
    /// A profile was removed.
    ProfileRemoved {
        /// Its name.
        name: ProfileName,
    },
    /// A package stands for what a base provides: it is issued again when that changes, and never goes into a build root.
    BaseDeclared {
        /// The package.
        base: super::project::BasePackage,
    },
    /// What an attempt used, for the next prediction.
    Measured {
        /// The attempt.
        attempt: AttemptId,
        /// What it used.
        usage: super::order::Usage,
    },
    /// Somebody decided when a project's recipes are built again.
    PolicySet {
        /// The whole policy.
        policy: super::project::Policy,
    },
    /// A builder told what an attempt took, phase by phase, and what was seen of it.
    Observed {
        /// What.
        measures: Box<super::measure::Measures>,
    },
    /// A builder takes no new work, or only known-good one.
    BuilderStopped {
        /// The builder.
        builder: HostId,
        /// In which way.
        kind: super::measure::StopKind,
        /// By whom and why.
        hold: Hold,
        /// What still runs then is given back.
        deadline: Option<Stamp>,
    },
    /// A builder's stop is lifted.
    BuilderLetGo {
        /// The builder.
        builder: HostId,
        /// Which.
        kind: super::measure::StopKind,
        /// Why.
        why: String,
    },
    /// Who belongs to the farm changed, or somebody was refused.
    Peer {
        /// Whose key it is about; `None`: a ticket.
        host: Option<HostId>,
        /// A name: the peer's, or the ticket's.
        name: String,
        /// What happened.
        change: PeerChange,
        /// The same in words.
        text: String,
    },
    /// What is published was built again, and held against it.
    Compared {
        /// What came of it.
        comparison: Box<super::proof::Comparison>,
    },
    /// Somebody decided what is compared without being asked.
    ProofPolicySet {
        /// The whole policy.
        policy: super::proof::ProofPolicy,
    },
    /// A builder was wrong alone: it is in quarantine until a person lets it go.
    Convicted {
        /// In what.
        conviction: super::proof::Conviction,
        /// Its quarantine.
        hold: Hold,
    },
    /// Somebody decided how many matches a builder for tests needs before it may rise.
    RiseRuleSet {
        /// So many.
        rule: super::proof::RiseRule,
    },
    /// A profile holds only chosen recipes above another one.
    LayerSet {
        /// Which above which.
        layer: super::level::Layer,
    },
    /// A recipe is built for a layer too.
    LevelChosen {
        /// Which, for which.
        choice: Box<super::level::Choice>,
    },
    /// It is not any more.
    LevelDropped {
        /// The layer.
        profile: crate::id::ProfileName,
        /// The recipe's project.
        project: ProjectName,
        /// The recipe.
        recipe: RecipeName,
    },
    /// It was measured what levels are worth for a recipe.
    IsaMeasured {
        /// What came of it.
        measurement: Box<super::isa::Measurement>,
    },
    /// Somebody decided how long a recipe's builds may take on this farm, or took that back.
    LimitSet {
        /// The project.
        project: ProjectName,
        /// The recipe.
        recipe: RecipeName,
        /// The whole build, in seconds; `None`: nothing is decided any more.
        time_s: Option<u64>,
    },
    /// What an attempt that was given out is built with.
    Resolved {
        /// The recipes and their releases.
        with: Box<super::built_with::BuiltWith>,
    },
    /// Somebody should look at something.
    AlarmRaised {
        /// At what, and why.
        alarm: Box<super::alarm::Alarm>,
    },
    /// Nobody needs to any more.
    AlarmLifted {
        /// Its word.
        kind: String,
        /// What it was about; empty: the farm.
        subject: String,
    },
    /// Somebody decided whether builds for a profile use a compiler cache.
    CacheSet {
        /// The whole rule.
        rule: super::cache::CacheRule,
    },
    /// Somebody said whose machine a builder is.
    OwnerSet {
        /// Whose.
        owner: super::proof::HostOwner,
    },
    /// Somebody decided which project is taken for a name that several provide.
    PrioritySet {
        /// Which, and how far up.
        priority: super::project::ProjectPriority,
    },
    /// Jobs that are over went from memory and rows, because there are newer ones; what happened to them stays in the log.
    JobsForgotten {
        /// Which.
        jobs: Vec<JobId>,
    },
    /// A builder told what a base of its own brings, which was not known yet.
    BaseNoted {
        /// Its tools.
        base: Box<super::base_seen::BaseSeen>,
    },
    /// A builder told which base of its own an attempt was built on.
    StoodOn {
        /// Which.
        stood: super::base_seen::StoodOn,
    },
}

/// What happened to a peer or a ticket. Grows at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerChange {
    /// A ticket was made.
    Invited,
    /// A ticket was taken back.
    TicketRevoked,
    /// A ticket had too many wrong tries.
    TicketBurnt,
    /// A key became known.
    Joined,
    /// A peer was let in.
    Approved,
    /// A peer was shut out.
    Revoked,
    /// A peer has another name.
    Renamed,
    /// Somebody was not let in.
    Refused,
    /// A peer said or did what it may not.
    Misbehaved,
    /// A peer has another key.
    Rotated,
    /// What a builder delivered was not taken: no good, or too late. That may be its disk, or a lie; its verdict says.
    NotTaken,
}

/// What follows for a job whose attempt ended without packages. Grows at the end only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Then {
    /// Another attempt, not before this moment.
    Again {
        /// Back-off.
        not_before: Option<Stamp>,
        /// Whether this one counted against a limit.
        counts: bool,
    },
    /// The job is given up.
    GiveUp,
    /// The job is over already: cancelled or superseded.
    Over,
}
