//! What must be in the store, remembered outside it: `DIR/store.json`. Sled opens some damaged files as an empty
//! database without a word; this file is how that is noticed. It may be older than the store, never newer.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files;
use crate::fault::{Fault, Kind, Result};

/// Rows per tree.
pub(super) type Counts = BTreeMap<String, u64>;

/// The side file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Side {
    /// The store's id in hexadecimal.
    pub store: String,
    /// Groups of changes that sled has durably taken; the store has at least these.
    pub generation: u64,
    /// Rows per tree at that generation.
    pub rows: Counts,
}

/// Where it lies.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("store.json")
}

impl Side {
    /// The side file of a state directory, if there is one.
    pub(super) fn read(dir: &Path) -> Result<Option<Side>> {
        let path = path(dir);
        let failed = |error: &dyn std::error::Error| {
            Fault::new(Kind::Operator, format!("cannot read {}", path.display())).because(error)
        };
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&error)),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            failed(&error).next(format!(
                "{}; or, to trust the store as it is, remove that file",
                restore_offer(dir)
            ))
        })
    }

    /// Makes it durable.
    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        files::write_atomic(&path(dir), &bytes, 0o600)
    }
}

/// A random id for a new store.
pub(super) fn new_store_id() -> [u8; 16] {
    rand::random()
}

/// An id as the side file and people read it.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The exports of a state directory.
pub(super) fn exports_dir(dir: &Path) -> PathBuf {
    dir.join("exports")
}

/// The next step for a damaged store: the exact command, with the newest export when there is one.
pub(super) fn restore_offer(dir: &Path) -> String {
    let newest = super::export::list_exports(&exports_dir(dir))
        .ok()
        .and_then(|exports| exports.into_iter().next_back());
    match newest {
        Some(file) => format!(
            "run: massif store restore {} --dir {}",
            file.display(),
            dir.display()
        ),
        None => format!(
            "there is no export in {0}/exports; with a backup run: massif store restore FILE --dir {0}",
            dir.display()
        ),
    }
}
