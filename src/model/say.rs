//! What actors of one or several hosts tell each other about builds. The same values travel in one process and over the
//! wire, where `net::wire` puts them into envelopes. Append only: postcard writes a variant's position.
//!
//! Nobody keeps an outbox. When a peer is up again each side looks at its rows and says again what the other may have
//! missed: summit its live orders and expectations, avalanche what it built and what ended, vessel answers an
//! expectation that it has fulfilled with `Published`. Repeats are no-ops, stale ones are refused.

use serde::{Deserialize, Serialize};

use super::order::{Artefact, BuildOrder, Outcome};
use super::who::Blame;
use crate::fault::Fault;
use crate::health::{Judgement, Sample};
use crate::id::{Arch, AttemptId, ChannelName, HostId, HostName, RecipeName, VersionId};
use crate::model::IsaLevel;

/// Which actor of a host is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Decides.
    Summit,
    /// Builds.
    Avalanche,
    /// Publishes.
    Vessel,
    /// A person's client.
    Operator,
}

impl Role {
    /// The word in JSON and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Summit => "summit",
            Role::Avalanche => "avalanche",
            Role::Vessel => "vessel",
            Role::Operator => "operator",
        }
    }
}

/// What vessel must know before it takes an attempt's packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// The fencing key; a later try of the same job replaces an earlier one.
    pub attempt: AttemptId,
    /// Who alone may offer it.
    pub builder: HostId,
    /// The recipe that the packages must name as their source.
    pub source: RecipeName,
    /// The version that they must have.
    pub version: String,
    /// The release that they must have.
    pub release: u64,
    /// The build release that they must have.
    pub build_release: u64,
    /// What they must run on.
    pub arch: Arch,
    /// Where they go.
    pub channel: ChannelName,
}

/// What a builder is and how it is: sent when it starts, when something changes, and with every sign of life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuilderReport {
    /// Its name.
    pub name: HostName,
    /// What it builds for.
    pub arch: Arch,
    /// The processor levels that run on it.
    pub levels: Vec<IsaLevel>,
    /// Cores of each slot.
    pub slot_cores: Vec<u32>,
    /// The attempt in each slot; `None`: free. One that takes several slots stands in each of them. As long as `slot_cores`.
    pub slots: Vec<Option<AttemptId>>,
    /// Memory of the machine.
    pub memory_bytes: Option<u64>,
    /// How it is.
    pub sample: Sample,
    /// What that means.
    pub judgement: Judgement,
    /// It takes no new work: a drain, or it is about to stop.
    pub leaving: Option<String>,
}

/// One thing said. Append only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Say {
    /// Summit to avalanche: build this.
    Build(Box<BuildOrder>),
    /// Summit to avalanche: stop it; its packages are not wanted any more.
    Cancel {
        /// The attempt.
        attempt: AttemptId,
        /// Why, for the log.
        why: String,
    },
    /// Summit to avalanche: your report of the end is on disk here, forget it.
    Heard {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Summit to vessel: this will be offered.
    Expect(Box<Expectation>),
    /// Summit to vessel: it will not be, after all.
    Forget {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Avalanche to summit: how I am.
    Report(Box<BuilderReport>),
    /// Avalanche to summit: I have it.
    Accepted {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Avalanche to summit: I cannot take it.
    Refused {
        /// The attempt.
        attempt: AttemptId,
        /// Why, and the next step.
        why: Fault,
    },
    /// Avalanche to summit: these are still mine.
    Renew {
        /// The attempts.
        attempts: Vec<AttemptId>,
    },
    /// Avalanche to summit: where it stands. May be lost.
    Progress {
        /// The attempt.
        attempt: AttemptId,
        /// The stage: `prepare`, `setup`, `build`...
        stage: String,
        /// Seconds since the attempt began.
        elapsed_s: u64,
        /// Bytes in its log.
        log_bytes: u64,
        /// What is going on, when there is more to say than the stage.
        doing: Option<String>,
    },
    /// Avalanche to summit: it is over on my side.
    Ended {
        /// The attempt.
        attempt: AttemptId,
        /// How.
        outcome: Outcome,
    },
    /// Avalanche to vessel: come and get it.
    Offer {
        /// The attempt.
        attempt: AttemptId,
        /// What there is.
        artefacts: Vec<Artefact>,
    },
    /// Vessel to avalanche: all of it is on disk here; you may delete it.
    Receipt {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Vessel to avalanche: I do not expect it; keep it until somebody decides.
    Unexpected {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Vessel to summit: it is in the channel.
    Published {
        /// The attempt.
        attempt: AttemptId,
        /// The channel.
        channel: ChannelName,
        /// The version that it made.
        version: VersionId,
    },
    /// Vessel to summit: it cannot be published.
    Rejected {
        /// The attempt.
        attempt: AttemptId,
        /// Whose doing.
        blame: Blame,
        /// Why, and the next step.
        why: Fault,
    },
    /// Avalanche to summit: what an attempt took; said before its end is.
    Measured(Box<super::measure::Measures>),
    /// Avalanche to summit: how a running attempt is. May be lost.
    Glanced {
        /// The attempt.
        attempt: AttemptId,
        /// What was seen.
        glance: Glance,
    },
    /// Avalanche to summit: what its report has no place for. May be lost.
    Vitals(Box<Vitals>),
    /// Summit to avalanche: build this with the distribution's own tool.
    BuildWith {
        /// The order.
        order: Box<BuildOrder>,
        /// What the tool has to know beside it.
        tool: Box<ToolSpec>,
    },
    /// Summit to avalanche: how we work together.
    Terms {
        /// How long an attempt belongs to you without news.
        lease_ms: u64,
    },
    /// Summit to vessel: this channel is to be served.
    Open {
        /// The channel.
        channel: ChannelName,
        /// For what.
        arch: Arch,
    },
    /// Avalanche to summit: by what means its slots are kept to their share. May be lost.
    Confined {
        /// In words.
        means: String,
    },
    /// Avalanche to summit: what my processor can do, as far as levels ask.
    Processor {
        /// The names of features.
        features: Vec<String>,
    },
    /// Summit to vessel: this will be offered to be held against what is published, and goes nowhere.
    Examine {
        /// The attempt.
        attempt: AttemptId,
        /// Who alone may offer it.
        builder: HostId,
        /// The attempt whose packages are published.
        publication: AttemptId,
    },
    /// Vessel to summit: what came of that.
    Examined {
        /// The attempt.
        attempt: AttemptId,
        /// What differs.
        finding: Box<super::proof::Finding>,
        /// The files that differ, which are kept.
        evidence: Vec<Artefact>,
    },
    /// Summit to avalanche: build this for each of these levels, run its workload in turns, and say how long that took.
    Measure {
        /// The order; the level of its profile does not count.
        order: Box<BuildOrder>,
        /// The first one is what the others are held against.
        levels: Vec<IsaLevel>,
        /// Runs of each.
        runs: u32,
    },
    /// Avalanche to summit: what its slots have, beside what its report says of them.
    Shares {
        /// Cores of all slots together, each counted once.
        cores: u32,
        /// What one slot's processes may take; `None`: not known.
        slot_memory_bytes: Option<u64>,
    },
    /// Summit to avalanche: build this, and use a compiler cache if there is one.
    BuildCached {
        /// The order.
        order: Box<BuildOrder>,
        /// Which.
        cache: super::cache::CacheSpec,
    },
    /// Avalanche to summit: my compiler caches. May be lost.
    Caches {
        /// All of them.
        caches: Vec<super::cache::CacheState>,
    },
    /// Summit to vessel: this will be offered. Fetch, check and keep it; it is published when `Expect` follows.
    Stage(Box<Expectation>),
    /// Vessel to summit: that is here, and can be held against what others make of it.
    Staged {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Avalanche to summit: what the processes of an attempt read and wrote so far, beside its glances.
    Moved {
        /// The attempt.
        attempt: AttemptId,
        /// By any system call.
        bytes: u64,
    },
    /// Avalanche to summit: what its caches could give back where attempts are built.
    Cached {
        /// Not in use now.
        bytes: u64,
    },
    /// Avalanche to summit: what a base of my own brings to builds now.
    Base {
        /// Which: this machine's `/usr`, or a directory.
        of: super::profile::Base,
        /// Its tools.
        seen: Box<super::base_seen::BaseSeen>,
    },
    /// Avalanche to summit: an attempt was built on that one; said before its end is.
    StoodOn(super::base_seen::StoodOn),
}

/// An index that the distribution's own tool takes packages from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// A name for people.
    pub name: String,
    /// The URL of a `stone.index`.
    pub uri: String,
    /// Higher is asked first.
    pub priority: i64,
}

/// What the distribution's own tool has to know beside an order: it resolves its build root itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ToolSpec {
    /// The farm's channel and the profile's remotes.
    pub repositories: Vec<Repository>,
}

/// What is known of a builder beside its report.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Vitals {
    /// Its hottest sensor, in degrees Celsius.
    pub temperature_c: Option<f64>,
    /// Bytes that it keeps free of each file system.
    pub disk_floor_bytes: u64,
    /// Bytes that it threw away since its start, because room was short.
    pub reclaimed_bytes: u64,
    /// Attempts that it gave back since its start, because room was short.
    pub parked: u64,
}

/// One look at a running attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Glance {
    /// Milliseconds since its last output.
    pub silent_ms: u64,
    /// Milliseconds since it last did anything: output, processor time, input or output.
    pub idle_ms: u64,
    /// Processor time of all its processes so far.
    pub cpu_ms: u64,
    /// Memory of all its processes now.
    pub memory_bytes: u64,
    /// The most of it so far.
    pub memory_peak_bytes: u64,
    /// Its directories, when they were last looked at.
    pub disk_bytes: Option<u64>,
    /// Its processes.
    pub processes: u32,
}
