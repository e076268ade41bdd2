//! Build manifests: what a recipe's packages need and provide, kept beside the recipe.

use crate::fault::{Fault, Result};
use crate::stone::Meta;

/// Reads `manifest.<arch>.bin`: one `Meta` per package, in the order of the file.
pub fn read(bytes: &[u8]) -> Result<Vec<Meta>> {
    let _ = bytes;
    Err(Fault::bug("not built yet"))
}

/// Writes `manifest.<arch>.bin`: packages sorted by name, `-dbginfo` ones left out, build release 0, no index fields.
pub fn write(packages: &[Meta]) -> Result<Vec<u8>> {
    let _ = packages;
    Err(Fault::bug("not built yet"))
}

/// One package of the text manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextPackage<'a> {
    /// Its metadata, with `build_depends`.
    pub meta: &'a Meta,
    /// Paths relative to `/usr`, in any order.
    pub files: Vec<&'a str>,
}

/// Writes `manifest.<arch>.jsonc`, the report for people and diffs. `-dbginfo` packages are left out.
pub fn write_text(packages: &[TextPackage<'_>]) -> Result<String> {
    let _ = packages;
    Err(Fault::bug("not built yet"))
}
