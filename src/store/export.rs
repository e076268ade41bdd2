//! Exports.

use std::io;
use std::path::{Path, PathBuf};

/// The exports in a directory, oldest first.
pub fn list_exports(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.starts_with("store-") && name.ends_with(".massif") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
