//! What lies below the packages in a build root, and what of it a recipe may lean on.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Result};
use crate::stone::Dependency;

/// What lies below the packages in a build root.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Base {
    /// This machine's `/usr`, read-only, below a mask that hides its development files.
    Host,
    /// A bootstrapped root: the directory that holds `usr`.
    Directory(PathBuf),
    /// Nothing: packages only.
    Stones,
}

/// What the base provides, sorted and without repeats; kept in `state_dir` while the base does not change.
pub fn base_index(_base: &Base, _state_dir: &Path) -> Result<Vec<Dependency>> {
    Err(Fault::bug("not built yet"))
}
