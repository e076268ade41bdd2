//! The mask over a machine's development files, so that a build sees headers, `.pc` files and link libraries of packages only.
//! Made once per state of the machine, kept below `layers/`.

use std::path::{Path, PathBuf};

use crate::fault::{Fault, Result};

/// The mask's `usr` for the machine as it is now; made if it is missing (some tenths of a second), so start it in the background.
pub fn ensure(_state_dir: &Path) -> Result<PathBuf> {
    Err(Fault::bug("not built yet"))
}
