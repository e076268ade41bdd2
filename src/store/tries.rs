//! Summit's rows of tries (`massif try`): what was asked for and how far it is, so that a summit that starts again goes on.

use serde::{Deserialize, Serialize};

use super::Row;
use crate::fault::Fault;
use crate::id::{Digest, HostId, JobId, Stamp};
use crate::model::Blame;

/// A try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TryRow {
    /// Its number, far above any job's.
    pub id: JobId,
    /// The blob that holds the order.
    pub order: Digest,
    /// Only on this builder.
    pub on: Option<HostId>,
    /// It is published, into the channel of its order.
    pub publishes: bool,
    /// Who has it.
    pub builder: Option<HostId>,
    /// How far it is.
    pub stage: TryStage,
    /// Since then.
    pub changed: Stamp,
    /// Times that it was given back by a builder.
    pub given_back: u32,
}

/// How far a try is. Grows at the end only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TryStage {
    /// For a builder.
    Waiting,
    /// A builder has it.
    Building,
    /// Vessel takes it over.
    Publishing,
    /// It is built, and its owner may have it.
    Built,
    /// It is in the channel; in words.
    Published(String),
    /// It made nothing.
    Failed(Blame, Fault),
}

impl Row for TryRow {
    const TREE: &'static str = "try";
    const SHAPE: u8 = 1;
    type Key = JobId;
    fn key(&self) -> JobId {
        self.id
    }
    fn blobs(&self) -> Vec<Digest> {
        vec![self.order]
    }
}
