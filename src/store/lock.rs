//! One process per state directory: `DIR/lock` is held with `flock` and names its holder.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::fault::{Fault, Kind, Result};

/// How long a holder may need to be gone: a farm that was killed a moment ago, or a program that it was just starting.
const PATIENCE: Duration = Duration::from_millis(500);
/// Time between two tries.
const PAUSE: Duration = Duration::from_millis(10);

/// The right to use a state directory. Dropping it, or the end of the process however it ends, gives it back.
#[derive(Debug)]
pub struct DirLock {
    file: File,
    path: PathBuf,
}

impl DirLock {
    /// Takes the lock of `dir`, which is made if need be, or says who has it.
    pub fn take(dir: &Path) -> Result<DirLock> {
        let path = dir.join("lock");
        let failed = |error: std::io::Error| {
            Fault::new(Kind::Operator, format!("cannot lock {}", path.display()))
                .because(&error)
                .next("check the directory's owner and rights, or choose another with --dir")
        };
        std::fs::create_dir_all(dir).map_err(failed)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(&path)
            .map_err(failed)?;
        let asked = Instant::now();
        loop {
            match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) if asked.elapsed() < PATIENCE => {
                    std::thread::sleep(PAUSE);
                }
                Err(rustix::io::Errno::WOULDBLOCK) => return Err(held(dir, &mut file)),
                Err(error) => return Err(failed(error.into())),
            }
        }
        let text = format!("{}\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.write_all(text.as_bytes()))
            .map_err(failed)?;
        Ok(DirLock { file, path })
    }

    /// The lock file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // The number would only mislead once the lock is free. When this fails, the next holder overwrites it.
        drop(self.file.set_len(0));
        // Said aloud, for a program that was being started meanwhile has a copy of the file until it runs.
        if let Err(error) = rustix::fs::flock(&self.file, rustix::fs::FlockOperation::Unlock) {
            tracing::debug!(
                "the lock of {} ends with this process: {error}",
                self.path.display()
            );
        }
    }
}

fn held(dir: &Path, file: &mut File) -> Fault {
    let mut text = String::new();
    let read = file
        .seek(SeekFrom::Start(0))
        .and_then(|_| file.take(32).read_to_string(&mut text));
    let pid: Option<u32> = read.ok().and_then(|_| text.trim().parse().ok());
    let (who, next) = match pid {
        Some(pid) => (
            format!("massif with pid {pid}"),
            format!(
                "stop that one (kill {pid}), talk to it with --dir {0}, or choose another directory",
                dir.display()
            ),
        ),
        None => (
            "another massif".into(),
            format!(
                "stop that one, talk to it with --dir {}, or choose another directory",
                dir.display()
            ),
        ),
    };
    Fault::new(
        Kind::Conflict,
        format!("{} is in use by {who}", dir.display()),
    )
    .next(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_the_pid_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirLock::take(dir.path()).unwrap();
        let fault = DirLock::take(dir.path()).unwrap_err();
        assert_eq!(fault.kind, Kind::Conflict);
        assert!(
            fault.what.contains(&format!("pid {}", std::process::id())),
            "{fault}"
        );
        drop(first);
        DirLock::take(dir.path()).unwrap();
    }
}
