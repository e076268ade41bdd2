//! The host itself, builders and their health, events, the store.

use std::collections::BTreeMap;

use crate::admin::views;
use crate::id::{Arch, AttemptId, Digest, HostId, HostName, JobId, RecipeName, Seq, Stamp};

use super::{FaultView, HoldView, ScoreView};

views! {
    /// Long work that somebody waits for.
    pub struct WorkView {
        /// `store_backup` or `package_import`.
        pub kind: String,
        /// What is counted: `rows`, `files`.
        pub unit: String,
        /// So many are done.
        pub done: u64,
        /// Of so many; null: not known yet.
        pub total: Option<u64>,
        /// When it began.
        pub began: Stamp,
    }

    /// One page about a host and what it knows of the farm.
    pub struct StatusView {
        /// Version of this JSON.
        pub schema: u32,
        /// The host.
        pub host: HostView,
        /// Where it can be reached.
        pub addresses: AddressesView,
        /// Jobs by state; every state is listed.
        pub jobs: BTreeMap<String, u64>,
        /// What somebody should look at, the worst first.
        pub alarms: Vec<AlarmView>,
        /// The host's clock.
        pub time: Stamp,
        /// Seconds since its start.
        pub uptime_s: f64,
        /// The last event.
        pub seq: Seq,
        /// What the caller may do here: `view`, `operate` or `admin`.
        pub right: String,
        /// Published within the last hour.
        pub published_last_hour: u64,
        /// When everything that is planned will be published, in seconds from now, as likely as not.
        pub end_p50_s: Option<f64>,
        /// The same nine times of ten.
        pub end_p90_s: Option<f64>,
        /// How good predictions of builds have been; null: there were none yet.
        pub estimates: Option<AccuracyView>,
        /// The longest chain of builds that is left; null: nothing is going to be built.
        pub critical_path: Option<ChainView>,
    }

    /// Builds of which each waits for the one before.
    pub struct ChainView {
        /// Their recipes, in order; of a long chain the first ones.
        pub recipes: Vec<RecipeName>,
        /// How many builds these are.
        pub builds: u64,
        /// Their predicted seconds, one after another.
        pub seconds: f64,
    }

    /// How good predictions of builds have been.
    pub struct AccuracyView {
        /// Builds that were predicted from earlier ones.
        pub builds: u64,
        /// The middle of what they took over what was predicted: 1 is right.
        pub middle: f64,
        /// Nine of ten were within this factor, either way.
        pub factor_p90: f64,
    }

    /// One host.
    pub struct HostView {
        /// SHA-256 of its public key.
        pub id: HostId,
        /// Its name.
        pub name: HostName,
        /// Version of the program.
        pub version: String,
        /// `summit`, `avalanche`, `vessel`.
        pub roles: Vec<String>,
    }

    /// Where a host can be reached.
    pub struct AddressesView {
        /// Path of the admin socket.
        pub admin: String,
        /// Address for other hosts.
        pub quic: Option<String>,
        /// Address of the package server, for clients.
        pub http: Option<String>,
    }

    /// Something that somebody should look at.
    pub struct AlarmView {
        /// A word for scripts: `disk_low`, `builder_silent`, `project_unreachable`...
        pub kind: String,
        /// What it is about: a builder, a project, a channel.
        pub subject: Option<String>,
        /// What is wrong.
        pub text: String,
        /// What can be done now.
        pub next: String,
        /// Since when.
        pub since: Option<Stamp>,
    }

    /// A builder.
    pub struct BuilderView {
        /// Its host's id.
        pub id: HostId,
        /// Its name.
        pub name: HostName,
        /// `trusted` or `test`; `unknown` where only summit could tell.
        pub trust: String,
        /// `fit`, `low`, `stalled`, `away`, `quarantined`, `draining` or `unknown`.
        pub verdict: String,
        /// What the verdict rests on.
        pub evidence: Vec<String>,
        /// Seconds since its last sign of life; null: never heard from.
        pub last_heard_s: Option<f64>,
        /// Stops on it.
        pub holds: Vec<HoldView>,
        /// Its slots, the idle ones too.
        pub slots: Vec<SlotView>,
        /// Its file systems.
        pub disks: Vec<DiskView>,
        /// Its architecture.
        pub arch: Arch,
        /// The instruction set levels that run on it, the lowest first.
        pub levels: Vec<String>,
        /// What its processor says that it can do, as far as levels ask.
        pub features: Vec<String>,
        /// Cores that it offers.
        pub cores: Option<u32>,
        /// Memory, in bytes.
        pub memory_total_bytes: Option<u64>,
        /// Free memory, in bytes.
        pub memory_free_bytes: Option<u64>,
        /// Part of the last ten seconds in which something waited for a core, 0 to 1.
        pub pressure_cpu: Option<f64>,
        /// The same for memory.
        pub pressure_memory: Option<f64>,
        /// The same for disks.
        pub pressure_io: Option<f64>,
        /// Load of the last minute.
        pub load: Option<f64>,
        /// Its hottest sensor, in degrees Celsius; null: it has none.
        pub temperature_c: Option<f64>,
        /// Bytes of caches that it threw away since its start because room was short.
        pub reclaimed_bytes: u64,
        /// Attempts that it gave back since its start because room was short.
        pub parked: u64,
        /// By what means its slots are kept to their share, and why not by better ones; null: it did not say.
        pub confined_by: Option<String>,
        /// Its compiler caches, as far as profiles ask for them and builds of them ran since its start.
        pub caches: Vec<CacheView>,
        /// How it was lately, the oldest first.
        pub history: Vec<MomentView>,
        /// How often what it built was the same as what others made of it; null: only summit knows, or nobody asked.
        pub score: Option<ScoreView>,
    }

    /// A compiler cache of a builder, counted since the builder's start.
    pub struct CacheView {
        /// Whose builds it serves.
        pub profile: String,
        /// `ccache`.
        pub program: String,
        /// The build roots of this profile have the program.
        pub present: bool,
        /// Compilations that it served.
        pub hits: u64,
        /// Those that it could not serve.
        pub misses: u64,
        /// Part of all that it served, 0 to 1; null: there were none.
        pub hit_rate: Option<f64>,
        /// Bytes that it takes; null: not known.
        pub bytes: Option<u64>,
        /// What it may take, in each slot.
        pub bytes_max: u64,
        /// Where it lies, below the builder's own directory: one for each slot, and for what it is trusted with.
        pub directory: String,
    }

    /// A builder at one moment.
    pub struct MomentView {
        /// When.
        pub at: Stamp,
        /// `fit`, `low`, `stalled` or `unknown`.
        pub verdict: String,
        /// Free bytes of its fullest file system.
        pub free_bytes: Option<u64>,
        /// Free memory, in bytes.
        pub memory_free_bytes: Option<u64>,
        /// Load of the last minute.
        pub load: Option<f64>,
        /// Part of the last ten seconds in which something waited for a core, 0 to 1.
        pub pressure_cpu: Option<f64>,
        /// Builds that ran.
        pub busy: u32,
    }

    /// A share of a builder.
    pub struct SlotView {
        /// From 0.
        pub slot: u32,
        /// The job in it; null: idle.
        pub job: Option<JobId>,
        /// Its try.
        pub try_no: Option<u32>,
        /// Its recipe.
        pub recipe: Option<String>,
        /// What it is doing.
        pub phase: Option<String>,
        /// When it began.
        pub since: Option<Stamp>,
        /// How far it is, 0 to 1, as far as known.
        pub progress: Option<f64>,
        /// Seconds since its last line of output.
        pub silent_s: Option<f64>,
        /// Processor time so far, in seconds.
        pub cpu_s: Option<f64>,
        /// Most memory so far, in bytes.
        pub memory_peak_bytes: Option<u64>,
        /// What its directories take, in bytes, when they were last looked at.
        pub disk_bytes: Option<u64>,
        /// What its processes read and wrote so far, in bytes.
        pub io_bytes: Option<u64>,
        /// Its log so far, in bytes.
        pub log_bytes: Option<u64>,
        /// The job takes several slots, and is described in this one; null: here, or there is none.
        pub with_slot: Option<u32>,
    }

    /// A file system of a builder. What could not be read is null, never free.
    pub struct DiskView {
        /// Where it is mounted or used.
        pub path: String,
        /// Free for us, in bytes.
        pub free_bytes: Option<u64>,
        /// Its size, in bytes.
        pub total_bytes: Option<u64>,
        /// Free inodes.
        pub free_inodes: Option<u64>,
        /// Seconds until it is full at its present speed; null: not filling, or not known.
        pub full_in_s: Option<f64>,
    }

    /// One thing that happened.
    pub struct EventView {
        /// Its place in the sequence.
        pub seq: Seq,
        /// When.
        pub at: Stamp,
        /// Who caused it: a user, a host, or `farm`.
        pub actor: String,
        /// A word for scripts: `planned`, `assigned`, `published`...
        pub kind: String,
        /// In words.
        pub text: String,
        /// What caused it: an earlier event, a command.
        pub cause: Option<String>,
        /// The job that it is about.
        pub job: Option<JobId>,
        /// The try that it is about.
        pub try_no: Option<u32>,
        /// The project, recipe, builder, channel or package that it is about.
        pub subject: Option<String>,
        /// Hash over this event and the hash before it.
        pub hash: Digest,
    }

    /// One check of the machine.
    pub struct DoctorView {
        /// What was looked at.
        pub check: String,
        /// `ok`, `warning`, `bad` or `unknown`.
        pub verdict: String,
        /// What there is.
        pub have: String,
        /// What there should be.
        pub need: String,
        /// What to do; empty when nothing is to be done.
        pub next: String,
    }

    /// What a look at the whole store found.
    pub struct StoreCheckView {
        /// Nothing is wrong.
        pub ok: bool,
        /// Its id.
        pub store_id: String,
        /// Rises with every commit.
        pub generation: u64,
        /// All trees.
        pub trees: Vec<TreeView>,
        /// Blobs that were read and hashed.
        pub blobs: u64,
        /// Their bytes.
        pub blob_bytes: u64,
        /// Whether the chain of events is whole.
        pub events_chained: bool,
        /// What is wrong.
        pub faults: Vec<FaultView>,
    }

    /// One tree of the store.
    pub struct TreeView {
        /// Its name.
        pub name: String,
        /// Its rows.
        pub rows: u64,
    }

    /// A copy of the store.
    pub struct BackupView {
        /// The file.
        pub path: String,
        /// Its bytes.
        pub size: u64,
        /// SHA-256 of its bytes.
        pub sha256: Digest,
        /// The last event in it.
        pub seq: Seq,
        /// Rows in it.
        pub rows: u64,
    }
}

impl SlotView {
    /// A slot of which only the attempt in it is known; `None`: it is idle.
    pub fn of(slot: u32, attempt: Option<AttemptId>) -> SlotView {
        SlotView {
            slot,
            job: attempt.map(|attempt| attempt.job),
            try_no: attempt.map(|attempt| attempt.try_no),
            recipe: None,
            phase: None,
            since: None,
            progress: None,
            silent_s: None,
            cpu_s: None,
            memory_peak_bytes: None,
            disk_bytes: None,
            io_bytes: None,
            log_bytes: None,
            with_slot: None,
        }
    }

    /// A further slot of an attempt that stands in an earlier one too; `None`: it is the first of its attempt, or free.
    pub fn beside(slots: &[Option<AttemptId>], slot: u32) -> Option<SlotView> {
        let attempt = slots.get(slot as usize).copied().flatten()?;
        let first = (0..).zip(slots).find(|(_, other)| **other == Some(attempt));
        let (first, _) = first.filter(|(first, _)| *first < slot)?;
        Some(SlotView {
            with_slot: Some(first),
            ..SlotView::of(slot, Some(attempt))
        })
    }
}
