//! What a recipe needs to build and what it will make: the short form that is planned with.

use super::types::Recipe;
use super::{Facts, Toolchain};
use crate::fault::{Fault, Result};
use crate::stone::{Dependency, Meta};

/// What is always in a build root.
pub const BASE_SET: [&str; 23] = [
    "bash",
    "binary(git)",
    "binary(hx)",
    "binary(less)",
    "binary(nano)",
    "binary(ps)",
    "binary(rg)",
    "binary(vim)",
    "boulder",
    "coreutils",
    "dash",
    "diffutils",
    "findutils",
    "gawk",
    "glibc-devel",
    "grep",
    "layout",
    "libarchive",
    "linux-headers",
    "os-info",
    "pkgconf",
    "sed",
    "util-linux",
];

/// The recipe in short. `manifest` is the metadata of the `manifest.<arch>.bin` beside it, `warnings` what reading it said.
pub fn facts(recipe: &Recipe, manifest: Option<&[Meta]>, warnings: Vec<Fault>) -> Result<Facts> {
    let _ = (recipe, manifest, warnings);
    Err(Fault::bug("facts are not built yet"))
}

/// What the compilers of a toolchain need; `emul32` adds the 32-bit target's. Needs of origin `NeedOrigin::Toolchain`.
pub fn toolchain_needs(toolchain: Toolchain, emul32: bool) -> Vec<Dependency> {
    let _ = (toolchain, emul32);
    Vec::new()
}
