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
    /// The attempt in each slot; `None`: free. As long as `slot_cores`.
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
}
