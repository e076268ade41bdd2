//! Jobs, attempts, their logs and artefacts, and why something waits.

use crate::admin::views;
use crate::id::{CommitId, Digest, JobId, ProfileName, ProjectName, RecipeName, Stamp};

use super::TimeLimitView;

views! {
    /// Where a job stands.
    #[derive(Copy, Eq, PartialOrd, Ord, Hash)]
    #[serde(rename_all = "snake_case")]
    #[zlink(rename_all = "snake_case")]
    pub enum JobState {
        /// Something has to happen first: see `waits_for`.
        Waiting,
        /// It starts as soon as a builder is free.
        Ready,
        /// A builder works on it.
        Building,
        /// It is built, and the repository takes it over.
        Publishing,
        /// Clients can install it.
        Published,
        /// It will not be tried again by itself.
        Failed,
        /// A person stopped it.
        Cancelled,
        /// A newer release took its place.
        Superseded,
    }

    /// Whose failure it was.
    #[derive(Copy, Eq, PartialOrd, Ord, Hash)]
    #[serde(rename_all = "snake_case")]
    #[zlink(rename_all = "snake_case")]
    pub enum Blame {
        /// The recipe's own: the only one that counts against it.
        Recipe,
        /// The builder's: its disk, memory or kernel.
        Builder,
        /// The network between hosts.
        Network,
        /// The server that an upstream comes from, or its bytes.
        Upstream,
        /// A person's, or the configuration's.
        Operator,
        /// Not known yet.
        Unknown,
    }

    /// One reason why a job waits.
    pub struct WaitView {
        /// What kind of reason: `dependency`, `dep_wait`, `bootstrap`, `hold`, `builder`, `retry`, `slot`, `confirm`...
        pub kind: String,
        /// In words, with names and numbers.
        pub text: String,
    }

    /// A stop that somebody put on a job, a recipe or a builder.
    pub struct HoldView {
        /// Who.
        pub owner: String,
        /// Why.
        pub reason: String,
        /// Since when.
        pub since: Option<Stamp>,
        /// Until when; null: until released.
        pub expires: Option<Stamp>,
    }

    /// One try of a job.
    pub struct AttemptView {
        /// 1 for the first.
        pub try_no: u32,
        /// The builder's name.
        pub builder: String,
        /// `building`, `built`, `published`, `failed`, `lost`, `cancelled`.
        pub state: String,
        /// When it began.
        pub started: Stamp,
        /// When it ended.
        pub ended: Option<Stamp>,
        /// Whose failure, when it failed.
        pub blame: Option<Blame>,
        /// What happened, when it failed.
        pub why: Option<String>,
        /// What it is doing now, or the phase that it ended in.
        pub phase: Option<String>,
        /// Bytes of its log so far.
        pub log_bytes: u64,
    }

    /// One job.
    pub struct JobView {
        /// Its number.
        pub id: JobId,
        /// The project of its recipe.
        pub project: ProjectName,
        /// Its recipe.
        pub recipe: RecipeName,
        /// The recipe's version.
        pub version: String,
        /// The recipe's release.
        pub release: u64,
        /// The farm's rebuild counter for that release.
        pub build_release: u64,
        /// What it is built for.
        pub profile: ProfileName,
        /// Where it stands.
        pub state: JobState,
        /// Why it exists: `missing`, `newer release`, `asked for by ann`...
        pub because: String,
        /// Why it is not running, when it is not: all reasons.
        pub waits_for: Vec<WaitView>,
        /// All tries, the first one first.
        pub attempts: Vec<AttemptView>,
        /// The commit that it is read at.
        pub commit: CommitId,
        /// Somebody's stop.
        pub hold: Option<HoldView>,
        /// What it is worth among the ready ones, in seconds: the higher the sooner. `job show` tells its terms. Null: not known.
        pub priority: Option<f64>,
        /// How long it will build, in seconds, as far as known.
        pub estimate_s: Option<f64>,
        /// When it was planned.
        pub created: Stamp,
        /// When it came to its end.
        pub ended: Option<Stamp>,
    }

    /// One job among its neighbours.
    pub struct JobRef {
        /// Its number.
        pub id: JobId,
        /// Its recipe.
        pub recipe: RecipeName,
        /// Where it stands.
        pub state: JobState,
    }

    /// What only `job show` tells.
    pub struct JobDetail {
        /// Jobs that have to be published first.
        pub depends_on: Vec<JobRef>,
        /// Jobs that wait for this one.
        pub needed_by: Vec<JobRef>,
        /// What the last try made.
        pub artefacts: Vec<ArtefactView>,
        /// What the priority is the sum of.
        pub priority_terms: Vec<TermView>,
        /// The phases of the last try with their times.
        pub phases: Vec<PhaseView>,
        /// When it will start, in seconds from now, as likely as not; null: it runs, is over, or waits for somebody.
        pub start_p50_s: Option<f64>,
        /// The same nine times of ten.
        pub start_p90_s: Option<f64>,
        /// When it will end, in seconds from now, as likely as not.
        pub end_p50_s: Option<f64>,
        /// The same nine times of ten.
        pub end_p90_s: Option<f64>,
        /// What was seen of the last try before it was stopped: processes, wait channels, open files, last lines.
        pub evidence: Vec<String>,
    }

    /// A named part of a sum.
    pub struct TermView {
        /// What.
        pub name: String,
        /// How much.
        pub value: f64,
    }

    /// One phase of an attempt.
    pub struct PhaseView {
        /// `fetch`, `setup`, `build`, `install`, `check`, `package`...
        pub name: String,
        /// When it began.
        pub started: Stamp,
        /// How long it took, in seconds; null while it runs.
        pub took_s: Option<f64>,
        /// Where its output begins in the log, in bytes.
        pub log_offset: u64,
    }

    /// One file that an attempt made.
    pub struct ArtefactView {
        /// File name.
        pub name: String,
        /// `stone`, `manifest_bin` or `manifest_jsonc`.
        pub kind: String,
        /// Bytes.
        pub size: u64,
        /// SHA-256 of its bytes.
        pub sha256: Digest,
        /// The try that made it.
        pub try_no: u32,
    }

    /// What `build NAME` did about one recipe.
    pub struct BuildView {
        /// The recipe.
        pub recipe: RecipeName,
        /// Its project.
        pub project: ProjectName,
        /// For what.
        pub profile: ProfileName,
        /// `created`, `attached` (it was queued already) or `published` (nothing to do).
        pub outcome: String,
        /// The job; null when there is nothing to do.
        pub job: Option<JobId>,
        /// The same in a sentence.
        pub text: String,
    }

    /// Why something is as it is: all reasons, the one that would lift first before the others.
    pub struct WhyView {
        /// What was asked about.
        pub thing: String,
        /// `job`, `recipe`, `builder`, `package`, `channel`, `project`.
        pub kind: String,
        /// Where it stands.
        pub state: String,
        /// One sentence.
        pub summary: String,
        /// All reasons.
        pub reasons: Vec<ReasonView>,
        /// For a job: every builder, with what it has against it.
        pub builders: Vec<BuilderTestView>,
        /// The smallest change that would start it.
        pub cheapest: Option<String>,
        /// When it will start, in seconds from now, as likely as not.
        pub start_p50_s: Option<f64>,
        /// When it will start, in seconds from now, nine times of ten.
        pub start_p90_s: Option<f64>,
        /// When it will end, in seconds from now, as likely as not.
        pub end_p50_s: Option<f64>,
        /// When it will end, in seconds from now, nine times of ten.
        pub end_p90_s: Option<f64>,
        /// For a job that is not over: how long its next build may take, and who says so.
        pub time_limit: Option<TimeLimitView>,
        /// The same for how long it may do nothing before it counts as stalled.
        pub silence_limit: Option<TimeLimitView>,
        /// How far these can be wrong beyond that; null: no further.
        pub forecast: Option<String>,
    }

    /// One reason.
    pub struct ReasonView {
        /// The word of its kind, the same as in `waits_for`.
        pub kind: String,
        /// In words, with names and numbers.
        pub text: String,
        /// What there is.
        pub have: Option<String>,
        /// What there would have to be.
        pub need: Option<String>,
        /// Whose move it is: `recipe`, `builder`, `network`, `upstream`, `operator`, `farm`.
        pub whose: String,
        /// What can be done now.
        pub next: Option<String>,
        /// Seconds until it lifts by itself, as predicted; null: it does not, or nobody knows.
        pub lifts_in_s: Option<f64>,
    }

    /// One builder as a place for one job.
    pub struct BuilderTestView {
        /// Its name.
        pub builder: String,
        /// `fits`, `postpone` (not now) or `decline` (never).
        pub verdict: String,
        /// Every test that it failed.
        pub failed: Vec<ReasonView>,
    }
}

impl JobState {
    /// All states, in the order of a job's life.
    pub const ALL: [JobState; 8] = [
        JobState::Waiting,
        JobState::Ready,
        JobState::Building,
        JobState::Publishing,
        JobState::Published,
        JobState::Failed,
        JobState::Cancelled,
        JobState::Superseded,
    ];

    /// The word, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            JobState::Waiting => "waiting",
            JobState::Ready => "ready",
            JobState::Building => "building",
            JobState::Publishing => "publishing",
            JobState::Published => "published",
            JobState::Failed => "failed",
            JobState::Cancelled => "cancelled",
            JobState::Superseded => "superseded",
        }
    }

    /// Whether nothing more will happen to it by itself.
    pub fn is_final(self) -> bool {
        match self {
            JobState::Waiting | JobState::Ready | JobState::Building | JobState::Publishing => {
                false
            }
            JobState::Published | JobState::Failed | JobState::Cancelled | JobState::Superseded => {
                true
            }
        }
    }
}

impl Blame {
    /// The word, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Blame::Recipe => "recipe",
            Blame::Builder => "builder",
            Blame::Network => "network",
            Blame::Upstream => "upstream",
            Blame::Operator => "operator",
            Blame::Unknown => "unknown",
        }
    }
}
