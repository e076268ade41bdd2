//! A host at rest gives back what only its start or its last plan needed: pages of the program that nothing runs through any more,
//! and freed memory that the allocator holds. What is needed again comes from the page cache, some 4 KiB in a microsecond.

use std::os::linux::fs::MetadataExt;
use std::time::Duration;

use procfs::process::{MMPermissions, MemoryMap, Process};

/// The first time, when a start has settled.
const FIRST: Duration = Duration::from_secs(5);
/// And from then on.
const EVERY: Duration = Duration::from_secs(60);

/// Gives back now and then, until the runtime ends.
pub(super) fn now_and_then() {
    tokio::spawn(async {
        let mut pause = FIRST;
        loop {
            tokio::time::sleep(pause).await;
            pause = EVERY;
            // The allocator's locks are held for some milliseconds at most, but a thread that may block can wait for them.
            if tokio::task::spawn_blocking(give_back).await.is_err() {
                return;
            }
        }
    });
}

fn give_back() {
    if let Err(error) = give_back_code() {
        tracing::debug!(%error, "the program's pages stay as they are");
    }
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes the allocator's own locks and moves nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Whether a mapping holds the program's code, or the constants before it, as they are in its file. Never one that was written to:
/// the pages with the linker's addresses are lost when they are given back.
fn is_code(map: &MemoryMap, inode: u64) -> bool {
    let constants = map.offset == 0 && map.perms == MMPermissions::READ | MMPermissions::PRIVATE;
    let code = map.perms == MMPermissions::READ | MMPermissions::EXECUTE | MMPermissions::PRIVATE;
    map.inode == inode && (constants || code)
}

fn give_back_code() -> procfs::ProcResult<()> {
    let inode = std::fs::metadata("/proc/self/exe")?.st_ino();
    let maps = Process::myself()?.maps()?;
    for map in maps.iter().filter(|map| is_code(map, inode)) {
        let (from, to) = map.address;
        let (Ok(start), Ok(bytes)) = (usize::try_from(from), usize::try_from(to - from)) else {
            continue;
        };
        // SAFETY: the range is a whole mapping of this program's own file that was never written to, so each page that is
        // touched again comes back from that file with the same bytes.
        let given = unsafe {
            rustix::mm::madvise(
                std::ptr::with_exposed_provenance_mut(start),
                bytes,
                rustix::mm::Advice::LinuxDontNeed,
            )
        };
        given.map_err(std::io::Error::from)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_constants_are_given_back_and_what_the_linker_wrote_is_not() {
        let inode = std::fs::metadata("/proc/self/exe").unwrap().st_ino();
        let maps = Process::myself().unwrap().maps().unwrap();
        let own: Vec<_> = maps.iter().filter(|map| map.inode == inode).collect();
        let given: Vec<_> = own.iter().filter(|map| is_code(map, inode)).collect();
        assert!(
            given
                .iter()
                .any(|map| map.perms.contains(MMPermissions::EXECUTE))
        );
        assert!(given.len() < own.len(), "data of the program stays");
        assert!(
            given
                .iter()
                .all(|map| !map.perms.contains(MMPermissions::WRITE))
        );
        give_back();
        // The program runs on, through code that was just given back.
        assert_eq!(
            format!("{:?}", [1, 2].iter().rev().collect::<Vec<_>>()),
            "[2, 1]"
        );
    }
}
