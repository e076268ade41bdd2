//! Who caused a change: a person, a host, or a rule of the farm itself.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::HostId;

/// The actor of an event. Grows at the end only: it lies in rows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Who {
    /// A rule of the farm.
    Farm,
    /// A person at the admin socket, by user id.
    Uid(u32),
    /// A host or an operator, by key.
    Key(HostId),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Farm => f.write_str("farm"),
            Who::Uid(uid) => write!(f, "uid {uid}"),
            Who::Key(key) => write!(f, "key {}", key.short()),
        }
    }
}

/// Whose doing the end of an attempt was. Only `Recipe` counts against the recipe. Grows at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    /// A phase failed, or what came out was not a valid set of packages.
    Recipe,
    /// Disk, memory, kernel, a restart, silence.
    Builder,
    /// The link between hosts.
    Network,
    /// An upstream's server or bytes.
    Upstream,
    /// A person: a cancel, a hold, a configuration.
    Operator,
}

impl Blame {
    /// The word in JSON and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Blame::Recipe => "recipe",
            Blame::Builder => "builder",
            Blame::Network => "network",
            Blame::Upstream => "upstream",
            Blame::Operator => "operator",
        }
    }
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A stop with an owner and a reason. A person's hold is never lifted by the program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Who set it.
    pub owner: Who,
    /// Why, in the owner's words.
    pub reason: String,
    /// When.
    pub since: crate::id::Stamp,
    /// When it ends by itself; `None`: when its owner says so.
    pub until: Option<crate::id::Stamp>,
}
