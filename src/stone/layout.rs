//! Layout payloads: what a package puts below `/usr`.

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Result};
use crate::id::ContentHash;

/// What a layout entry is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Node {
    /// A regular file with this content.
    Regular(ContentHash),
    /// A symbolic link and its text, as it is.
    Symlink(String),
    /// A directory: only empty ones and those whose mode is not 0755 have an entry.
    Directory,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// One record of a layout payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutEntry {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The whole `st_mode`, type bits included (`0o100644`).
    pub mode: u32,
    /// Relative to `/usr`, without a slash at either end.
    pub path: String,
    /// What it is.
    pub node: Node,
}

/// Sorts into the order that packages are written in: a depth-first walk with names sorted inside each directory,
/// a directory's own record after its content.
pub fn sort(entries: &mut [LayoutEntry]) {
    entries.sort_by(|a, b| a.path.cmp(&b.path));
}

/// Refuses what an unpacker could be hurt by: absolute, empty, `.` and `..` paths, one path twice, and a path below
/// something that is not a directory.
pub fn check(entries: &[LayoutEntry]) -> Result<()> {
    let _ = entries;
    Err(Fault::bug("not built yet"))
}
