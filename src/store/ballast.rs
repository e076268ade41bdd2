//! A file that holds nothing but room: removed when the disk is full, so that the store can be opened and emptied of
//! its last changes, and laid down again when there is space.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::files;

const NAME: &str = "ballast";

/// Lays the ballast down if it is missing and `room` bytes stay free beside it.
pub(super) fn lay(dir: &Path, bytes: u64, room: u64) -> io::Result<()> {
    let path = dir.join(NAME);
    if bytes == 0
        || path.metadata().is_ok_and(|found| found.len() == bytes)
        || files::free_bytes(dir)? < bytes.saturating_add(room)
    {
        return Ok(());
    }
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)?;
    file.set_len(bytes)?;
    let laid = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes);
    if let Err(error) = laid {
        std::fs::remove_file(&path)?;
        // Some file systems cannot reserve; then there is no ballast, which is no reason not to start.
        if error != rustix::io::Errno::OPNOTSUPP && error != rustix::io::Errno::NOSPC {
            return Err(error.into());
        }
    }
    Ok(())
}

/// Gives the room back; whether there was any.
pub(super) fn release(dir: &Path) -> bool {
    std::fs::remove_file(dir.join(NAME)).is_ok()
}
