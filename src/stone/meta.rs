//! The metadata of one package, as a meta payload holds it.

use serde::{Deserialize, Serialize};

use super::Dependency;
use crate::id::{Arch, Digest};

/// Metadata of one package. In an index the three `uri`, `hash`, `size` are set too; in a manifest `build_depends` is.
/// `depends`, `provides` and `conflicts` are sorted by their text form and hold nothing twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The package's name.
    pub name: String,
    /// Free text, never compared.
    pub version: String,
    /// The recipe's release.
    pub release: u64,
    /// The farm's rebuild counter; 0 in manifests.
    pub build_release: u64,
    /// Architecture.
    pub arch: Arch,
    /// One line.
    pub summary: String,
    /// Some lines.
    pub description: String,
    /// The recipe's name.
    pub source: String,
    /// A URL.
    pub homepage: String,
    /// SPDX ids, sorted.
    pub licenses: Vec<String>,
    /// Needed at run time.
    pub depends: Vec<Dependency>,
    /// Provided, without the implicit `name(<name>)`.
    pub provides: Vec<Dependency>,
    /// Cannot be installed beside.
    pub conflicts: Vec<Dependency>,
    /// Manifests only: what the recipe asked for to build.
    pub build_depends: Vec<Dependency>,
    /// Index only: where the package file is, relative to the index.
    pub uri: Option<String>,
    /// Index only: SHA-256 of the package file.
    pub hash: Option<Digest>,
    /// Index only: bytes of the package file.
    pub size: Option<u64>,
}
