//! The farm as values: projects, recipes, profiles, jobs, attempts, hosts; events, and how they change it.

pub mod alarm;
pub mod base_seen;
pub mod built_with;
pub mod cache;
pub mod catalog;
pub mod change;
pub mod event;
pub mod farm;
pub mod history;
pub mod isa;
pub mod job;
pub mod judge;
pub mod level;
pub mod measure;
pub mod order;
pub mod peer;
pub mod profile;
pub mod project;
pub mod proof;
pub mod say;
pub mod who;

pub use alarm::Alarm;
pub use base_seen::{BasePart, BaseSeen, StoodOn};
pub use built_with::{BuiltWith, Stood, With};
pub use catalog::{Catalog, ChangeView, Entry, Reading};
pub use change::Change;
pub use event::{Event, PeerChange, Recorded, Then};
pub use farm::{Farm, Refusal};
pub use job::{Attempt, AttemptState, Because, Job, JobState, Target};
pub use level::{Choice, Layer};
pub use measure::{BuilderStop, Measures, PhaseTime, StopKind};
pub use order::{
    Artefact, ArtefactKind, BlobRef, BuildOrder, Input, InputFrom, OrderLimits, Outcome,
    ProfileSpec, Usage,
};
pub use peer::{Peer, PeerState, PeerTrust, Rights, Ticket};
pub use profile::{Base, Executor, IsaLevel, Profile, Remote};
pub use project::{BasePackage, Policy, Project, ProjectPriority, Rebuild, RecipeLimit, Tip};
pub use proof::{Comparison, Conviction, HostOwner, ProofPolicy, RiseRule};
pub use say::{BuilderReport, Expectation, Glance, Role, Say, Vitals};
pub use who::{Blame, Hold, Who};
