//! avalanche's rows: what this host was told to build and how it ended, kept until summit and vessel have it.

use serde::{Deserialize, Serialize};

use super::Row;
use crate::id::{AttemptId, Digest, HostId, Stamp};

/// An attempt that this host took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The attempt.
    pub attempt: AttemptId,
    /// Who ordered it, and hears how it ends.
    pub summit: HostId,
    /// In which slot, from 0.
    pub slot: u32,
    /// The blob that holds the order.
    pub order: Digest,
    /// When it was taken.
    pub at: Stamp,
    /// How far it is.
    pub stage: TakenStage,
}

/// How far a taken attempt is. Grows at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TakenStage {
    /// It is being built, or was when the host went down.
    Running,
    /// It ended; the blob holds the outcome.
    Ended {
        /// The outcome.
        outcome: Digest,
        /// Summit has it on disk.
        heard: bool,
        /// Vessel has the artefacts on disk, or there are none.
        received: bool,
    },
}

impl Taken {
    /// Whether it made something that nobody has yet.
    pub fn is_unfetched(&self) -> bool {
        matches!(
            self.stage,
            TakenStage::Ended {
                received: false,
                ..
            }
        )
    }
}

impl Row for Taken {
    const TREE: &'static str = "taken";
    const SHAPE: u8 = 1;
    type Key = AttemptId;
    fn key(&self) -> AttemptId {
        self.attempt
    }
    fn blobs(&self) -> Vec<Digest> {
        match self.stage {
            TakenStage::Running => vec![self.order],
            TakenStage::Ended { outcome, .. } => vec![self.order, outcome],
        }
    }
}
