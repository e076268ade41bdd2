//! What the farm needs to know of a recipe at one commit: the short form that is planned with, shown and kept in memory.
//! Made from `stone.yaml` and, when there is one, the manifest beside it.

use serde::{Deserialize, Serialize};

use super::constraints::Constraints;
use crate::fault::Fault;
use crate::id::{Arch, Digest, RecipeName};
use crate::stone::Dependency;

/// The compiler family that a recipe is built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Toolchain {
    /// clang, lld and llvm's tools.
    Llvm,
    /// gcc and binutils.
    Gnu,
}

/// Why a recipe needs something to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NeedOrigin {
    /// Listed in `builddeps`.
    Build,
    /// Listed in `checkdeps`.
    Check,
    /// Added by a macro action that a phase calls, or by an archive type. When nothing provides it the job is not held.
    Macro,
    /// The compiler of the recipe's toolchain.
    Toolchain,
}

/// One thing that must be in the build root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// What.
    pub dependency: Dependency,
    /// Why.
    pub origin: NeedOrigin,
}

/// One upstream of a recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpstreamFacts {
    /// An archive or plain file, known by its hash.
    Archive {
        /// Where it comes from.
        url: String,
        /// SHA-256 of its bytes.
        sha256: Digest,
    },
    /// A git repository at a reference, normally a full commit id.
    Git {
        /// Where it comes from.
        url: String,
        /// The reference as written.
        reference: String,
    },
}

/// One package that a recipe makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageFacts {
    /// Its name.
    pub name: String,
    /// One line.
    pub summary: String,
    /// What it provides, without the implicit `name(..)`: from the manifest, empty without one.
    pub provides: Vec<Dependency>,
    /// What it needs at run time: from the manifest; without one, the recipe's `rundeps`.
    pub depends: Vec<Dependency>,
}

/// A recipe in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The source name.
    pub name: RecipeName,
    /// Free text that starts with a digit.
    pub version: String,
    /// From 1.
    pub release: u64,
    /// One line.
    pub summary: String,
    /// Some lines.
    pub description: String,
    /// A URL.
    pub homepage: String,
    /// SPDX ids.
    pub licenses: Vec<String>,
    /// Archives and git repositories.
    pub upstreams: Vec<UpstreamFacts>,
    /// `None`: the recipe names none, so the profile's counts.
    pub toolchain: Option<Toolchain>,
    /// Its phases may reach the network.
    pub networking: bool,
    /// The 32-bit target is asked for too.
    pub emul32: bool,
    /// Empty: every architecture.
    pub architectures: Vec<Arch>,
    /// Build needs of all origins; `Toolchain` ones depend on the profile and are left to `recipe::toolchain_needs`.
    pub needs: Vec<Need>,
    /// What it makes; the main package first. Without a manifest, the declared ones.
    pub packages: Vec<PackageFacts>,
    /// Whether `packages` came from a manifest, so that their provides and depends are known.
    pub from_manifest: bool,
    /// Words for the build systems that its phases call (`cmake`, `meson`, `cargo`...), sorted; a feature for estimates.
    pub build_systems: Vec<String>,
    /// Oddities worth telling the author, such as unknown keys.
    pub warnings: Vec<Fault>,
    /// What `constraints.yaml` beside it asks of a builder.
    pub constraints: Constraints,
}
