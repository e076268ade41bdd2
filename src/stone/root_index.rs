//! `moss-root-index.json`: which versions of a channel there are, and which names point at them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The file as a value. All four keys must be there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootIndex {
    /// Known formats, and how a client that knows only an older one gets on.
    pub formats: BTreeMap<String, Format>,
    /// Names that move.
    pub streams: BTreeMap<String, Pointer>,
    /// Names that stay.
    pub tags: BTreeMap<String, Pointer>,
    /// The versions that are served.
    pub history: BTreeMap<String, History>,
}

/// One format.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// `tag/x`: what a client that knows only this format goes through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade_via: Option<String>,
}

/// Where a stream or tag points.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    /// `v0`.
    pub format: String,
    /// An id in `history`.
    pub history: String,
    /// A stream may say which tag it stands at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// One version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// `v0`.
    pub format: String,
}
