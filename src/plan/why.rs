//! Why a thing waits, as one value: the same object is printed by `why`, sent as JSON and drawn by the dashboard.

use serde::{Deserialize, Serialize};

use crate::id::{JobId, Stamp};

/// Everything that can be said about a thing that is not done: all reasons, all builders, and what would help.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// What was asked about, in words: `job 17 nano 8.7.1-39 (main-x86_64)`.
    pub subject: String,
    /// The job, when it is about one.
    pub job: Option<JobId>,
    /// In one word, what stands between it and its start.
    pub verdict: Verdict,
    /// One line that answers the question.
    pub headline: String,
    /// All reasons, the one that would lift first at the top.
    pub reasons: Vec<Reason>,
    /// Every builder with every test that it fails; for a job that is blocked too, because they come next.
    pub builders: Vec<BuilderFit>,
    /// The terms whose sum is the job's place in the queue; largest first.
    pub priority: Vec<Term>,
    /// The cheapest change that would start it, as an imperative.
    pub cheapest: Option<String>,
    /// Predicted start, as far as it can be predicted.
    pub start: Option<Forecast>,
    /// Predicted end.
    pub end: Option<Forecast>,
}

/// Whether waiting helps. Grows at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nobody can ever run it as things are: somebody has to change something.
    Decline,
    /// It will start by itself; not now.
    Postpone,
    /// It starts with the next decision.
    Ready,
    /// It runs.
    Running,
    /// There is nothing left to wait for.
    Done,
}

/// What kind of thing is waited for. Grows at the end only; the words are in `waits_for` of every job too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitKind {
    /// Another job makes something that it is built with.
    Job,
    /// A recipe of the farm provides it, but no job builds that recipe.
    Recipe,
    /// Another job failed that makes something it needs.
    FailedJob,
    /// Nothing provides a name that it needs.
    Dependency,
    /// A cycle that nothing published can open.
    Bootstrap,
    /// A person's hold.
    Hold,
    /// Back-off after a failure that was not the recipe's.
    BackOff,
    /// There is no builder.
    NoBuilder,
    /// Builders exist and none of them will ever do.
    NoFit,
    /// All builders that would do are busy.
    Busy,
    /// Other jobs stand before it.
    Order,
    /// A builder is kept free for a job that comes first.
    Reserved,
    /// Its project had more than its share.
    Share,
    /// A builder is paused, drained or silent.
    BuilderAway,
    /// A better builder will be free soon enough that waiting ends earlier.
    BetterBuilder,
    /// The farm as a whole is held.
    Farm,
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// What kind.
    pub kind: WaitKind,
    /// One line with names and numbers.
    pub text: String,
    /// What lifts it, as an imperative; empty when it lifts by itself.
    pub next: String,
    /// The job that is waited for, when it is one.
    pub job: Option<JobId>,
    /// Seconds until it lifts by itself, as predicted; `None`: it does not, or nobody knows.
    pub lifts_in_s: Option<f64>,
}

/// One builder and whether it would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuilderFit {
    /// Its name.
    pub builder: String,
    /// `Decline`: never; `Postpone`: not now; `Ready`: now.
    pub verdict: Verdict,
    /// Every test that it fails.
    pub failed: Vec<FailedTest>,
    /// When it could start there, as predicted.
    pub free_in_s: Option<f64>,
}

/// A test that a builder fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedTest {
    /// What was tested: `memory`, `disk`, `architecture`...
    pub test: Test,
    /// What the builder has, with unit.
    pub have: String,
    /// What the job needs, with unit.
    pub need: String,
    /// Whether time alone mends it.
    pub passes: Passes,
}

/// Whether a failed test passes by itself. Grows at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Passes {
    /// Never: the builder is of another kind.
    Never,
    /// When something that runs there ends.
    Later,
}

/// The tests of a builder, in the order in which they are shown. Grows at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// It has this profile's architecture.
    Architecture,
    /// Its processor has the level's features.
    IsaLevel,
    /// It is trusted to build for publication.
    Trust,
    /// Its sandbox is strong enough.
    Isolation,
    /// Cores in all, then cores that are free.
    Cores,
    /// Memory in all, then memory that is free.
    Memory,
    /// Disk in all, then disk that is free.
    Disk,
    /// A free slot.
    Slot,
    /// It takes work: neither held, drained, silent nor unknown.
    TakesWork,
    /// It did not refuse this job.
    Refusal,
    /// It is not kept free for another job.
    Reservation,
}

impl Test {
    /// The word in JSON and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Test::Architecture => "architecture",
            Test::IsaLevel => "isa_level",
            Test::Trust => "trust",
            Test::Isolation => "isolation",
            Test::Cores => "cores",
            Test::Memory => "memory",
            Test::Disk => "disk",
            Test::Slot => "slot",
            Test::TakesWork => "takes_work",
            Test::Refusal => "refusal",
            Test::Reservation => "reservation",
        }
    }
}

/// One term of a job's priority, in seconds: a person can add them up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Term {
    /// `path`, `raise`, `share`, `overdue`.
    pub name: String,
    /// Seconds that it moves the job forward; negative: back.
    pub seconds: f64,
    /// Who or what set it.
    pub text: String,
}

/// A predicted moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// As likely earlier as later.
    pub p50: Stamp,
    /// Nine times of ten not later.
    pub p90: Stamp,
}

/// What a job waits for, as the planner knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// What kind.
    pub kind: WaitKind,
    /// One line with names.
    pub text: String,
    /// What lifts it, as an imperative; empty when it lifts by itself.
    pub next: String,
    /// The job that is waited for, when it is one.
    pub job: Option<JobId>,
}
