//! The phases of a build as final shell text, and the environment that they run in.

use std::collections::BTreeMap;

use super::tuning::Isa;
use super::types::Recipe;
use super::Toolchain;
use crate::fault::{Fault, Result};

/// What the scripts depend on beside the recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The ISA level of the profile.
    pub isa: Isa,
    /// The recipe's toolchain, else the profile's.
    pub toolchain: Toolchain,
    /// Cores of the slot.
    pub jobs: u32,
    /// Seconds since 1970 that files and programs are stamped with.
    pub source_date_epoch: i64,
}

/// A phase that runs a script of the recipe. Unpacking comes before and is the executor's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Configures.
    Setup,
    /// Compiles.
    Build,
    /// Installs below the install root.
    Install,
    /// Tests.
    Check,
}

/// One phase, ready to be given to bash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhaseScript {
    /// Which.
    pub phase: Phase,
    /// The whole text, with the shell's options and the recipe's environment first.
    pub text: String,
}

/// Everything that the executor runs for one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scripts {
    /// The whole environment of every phase.
    pub env: BTreeMap<String, String>,
    /// Directory in the sandbox that sources are unpacked below.
    pub build_root: String,
    /// Directory in the sandbox that the phases start in.
    pub work_dir: String,
    /// In the order in which they run.
    pub phases: Vec<PhaseScript>,
}

/// The scripts of the recipe for the machine's own target.
pub fn scripts(recipe: &Recipe, setting: &Setting) -> Result<Scripts> {
    let _ = (recipe, setting);
    Err(Fault::bug("scripts are not built yet"))
}
