//! From an install root to packages: every path below `/usr` goes to one package, by the templates of the format and
//! the rules of the recipe, and each package's metadata says what its files provide and need.

use std::path::Path;

use crate::build::emit::Ready;
use crate::fault::{Fault, Result};
use crate::id::Arch;
use crate::recipe::Recipe;

/// What an install root became.
#[derive(Debug, Clone)]
pub struct Collected {
    /// Packages that hold something or were asked for, sorted by name.
    pub packages: Vec<Ready>,
    /// Lines for the log: files outside `/usr`, kinds of file that no package can hold.
    pub warnings: Vec<String>,
}

/// Collects the content of an install root (`/mason/install` of the sandbox, as a path of this host), after the debug
/// split. Needs nothing but the files: the same files give the same packages, wherever they lie.
pub fn collect(
    recipe: &Recipe,
    install: &Path,
    arch: Arch,
    build_release: u64,
) -> Result<Collected> {
    let _ = (recipe, install, arch, build_release);
    Err(Fault::bug("collecting is not built yet"))
}
