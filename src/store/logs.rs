//! One log per attempt: `DIR/logs/JOB.TRY.log`. It only grows, and what was at an offset stays there.
//!
//! Beyond its limit a log keeps only its tail, in memory, and gets it at the end after a marker; so offsets are true up
//! to the marker, the beginning and the end are there, and a build that prints for ever costs a bounded disk.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files;
use crate::fault::{Fault, Kind, Result};
use crate::id::AttemptId;
use crate::limit;

/// The logs of a state directory; clones share them.
#[derive(Debug, Clone)]
pub struct Logs {
    dir: Arc<PathBuf>,
}

/// The log of a running attempt.
pub struct LogWriter {
    path: PathBuf,
    file: File,
    len: u64,
    bytes_max: u64,
    tail: VecDeque<u8>,
    dropped: u64,
}

impl Logs {
    /// The logs in `DIR/logs`, which is made if need be.
    pub fn open(dir: &Path) -> Result<Logs> {
        let dir = dir.join("logs");
        files::make_dir(&dir, 0o755).map_err(|error| log_failed(&dir, "open", &error))?;
        Ok(Logs { dir: Arc::new(dir) })
    }

    /// Where the log of that attempt is or would be.
    pub fn path(&self, attempt: AttemptId) -> PathBuf {
        self.dir.join(format!("{attempt}.log"))
    }

    /// Begins a log, or goes on at the end of one.
    pub fn writer(&self, attempt: AttemptId, bytes_max: u64) -> Result<LogWriter> {
        LogWriter::open(&self.path(attempt), bytes_max)
    }

    /// How long it is; `None`: there is none.
    pub fn len(&self, attempt: AttemptId) -> Result<Option<u64>> {
        let path = self.path(attempt);
        match path.metadata() {
            Ok(found) => Ok(Some(found.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(log_failed(&path, "look at", &error)),
        }
    }

    /// At most `bytes_max` bytes from `offset` on; empty at the end.
    pub fn read(&self, attempt: AttemptId, offset: u64, bytes_max: usize) -> Result<Vec<u8>> {
        let path = self.path(attempt);
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => {
                Fault::new(Kind::NotFound, format!("attempt {attempt} has no log here"))
            }
            _ => log_failed(&path, "read", &error),
        };
        let file = File::open(&path).map_err(failed)?;
        let there = file
            .metadata()
            .map_err(failed)?
            .len()
            .saturating_sub(offset);
        let mut bytes = vec![0; there.min(bytes_max as u64) as usize];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, offset + filled as u64).map_err(failed)? {
                0 => break,
                read => filled += read,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Adds bytes that belong at `offset` in the copy of a log. Bytes that are there already are skipped; a gap is refused.
    /// Returns the new length.
    pub fn append_at(&self, attempt: AttemptId, offset: u64, bytes: &[u8]) -> Result<u64> {
        let path = self.path(attempt);
        let failed = |error: io::Error| log_failed(&path, "write", &error);
        let file = files::open_append(&path, 0o644).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        let Some(known) = len.checked_sub(offset) else {
            let what =
                format!("log of attempt {attempt}: bytes from {offset} on, but it ends at {len}");
            return Err(Fault::new(Kind::Conflict, what));
        };
        let new = usize::try_from(known)
            .ok()
            .and_then(|known| bytes.get(known..))
            .unwrap_or_default();
        (&file).write_all(new).map_err(failed)?;
        Ok(len + new.len() as u64)
    }

    /// Removes it; nothing when it is not there.
    pub fn remove(&self, attempt: AttemptId) -> Result<()> {
        let path = self.path(attempt);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(log_failed(&path, "remove", &error))
            }
            _ => Ok(()),
        }
    }
}

impl LogWriter {
    /// Begins a log at this path, or goes on at its end.
    pub fn open(path: &Path, bytes_max: u64) -> Result<LogWriter> {
        let failed = |error: io::Error| log_failed(path, "open", &error);
        let file = files::open_append(path, 0o644).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        Ok(LogWriter {
            path: path.into(),
            file,
            len,
            bytes_max,
            tail: VecDeque::new(),
            dropped: 0,
        })
    }

    /// Adds bytes. Beyond the limit they go to the tail, and the oldest of it are dropped.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let room = usize::try_from(self.bytes_max.saturating_sub(self.len)).unwrap_or(usize::MAX);
        let (kept, over) = bytes.split_at(room.min(bytes.len()));
        if self.dropped == 0 && self.tail.is_empty() && !kept.is_empty() {
            self.file
                .write_all(kept)
                .map_err(|error| log_failed(&self.path, "write", &error))?;
            self.len += kept.len() as u64;
        }
        // A piece longer than the tail would only pass through it.
        let skipped = over.len().saturating_sub(limit::LOG_TAIL_BYTES);
        self.dropped += skipped as u64;
        self.tail.extend(over.get(skipped..).unwrap_or_default());
        let excess = self.tail.len().saturating_sub(limit::LOG_TAIL_BYTES);
        self.tail.drain(..excess);
        self.dropped += excess as u64;
        Ok(())
    }

    /// Bytes in the file so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the limit was reached, so that `len` stands still.
    pub fn is_over(&self) -> bool {
        !self.tail.is_empty()
    }

    /// Ends the log: the tail after a marker if there is one, then synced. Returns its length.
    pub fn finish(mut self) -> Result<u64> {
        if !self.tail.is_empty() {
            let marker = format!(
                "\n--- massif: the log reached its limit of {} bytes; {} bytes are left out; its last {} follow ---\n",
                self.bytes_max,
                self.dropped,
                self.tail.len()
            );
            let tail = std::mem::take(&mut self.tail);
            let (first, second) = tail.as_slices();
            for bytes in [marker.as_bytes(), first, second] {
                self.file
                    .write_all(bytes)
                    .map_err(|error| log_failed(&self.path, "write", &error))?;
                self.len += bytes.len() as u64;
            }
        }
        self.file
            .sync_data()
            .map_err(|error| log_failed(&self.path, "sync", &error))?;
        Ok(self.len)
    }
}

fn log_failed(path: &Path, doing: &str, error: &io::Error) -> Fault {
    let fault =
        Fault::new(Kind::Builder, format!("cannot {doing} {}", path.display())).because(error);
    match error.kind() {
        io::ErrorKind::StorageFull => {
            fault.next("free space on that disk; the attempt is tried again")
        }
        _ => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::JobId;

    const ATTEMPT: AttemptId = AttemptId {
        job: JobId(17),
        try_no: 2,
    };

    #[test]
    fn a_log_is_read_by_offset_and_goes_on_where_it_ended() {
        let dir = tempfile::tempdir().unwrap();
        let logs = Logs::open(dir.path()).unwrap();
        assert_eq!(logs.len(ATTEMPT).unwrap(), None);
        assert_eq!(logs.read(ATTEMPT, 0, 9).unwrap_err().kind, Kind::NotFound);
        let mut writer = logs.writer(ATTEMPT, 100).unwrap();
        writer.write(b"one ").unwrap();
        assert_eq!(writer.finish().unwrap(), 4);
        logs.writer(ATTEMPT, 100).unwrap().write(b"two").unwrap();
        assert_eq!(logs.read(ATTEMPT, 2, 100).unwrap(), b"e two");
        assert_eq!(logs.read(ATTEMPT, 2, 2).unwrap(), b"e ");
        assert_eq!(logs.read(ATTEMPT, 7, 2).unwrap(), b"");
        assert_eq!(logs.read(ATTEMPT, u64::MAX, 2).unwrap(), b"");
    }

    #[test]
    fn a_log_at_its_limit_is_whole_and_past_it_keeps_both_ends() {
        let dir = tempfile::tempdir().unwrap();
        let logs = Logs::open(dir.path()).unwrap();
        let mut writer = logs.writer(ATTEMPT, 10).unwrap();
        writer.write(b"0123456789").unwrap();
        assert!(!writer.is_over());
        let endless = vec![b'x'; limit::LOG_TAIL_BYTES];
        (0..3).for_each(|_| writer.write(&endless).unwrap());
        writer.write(b"the end").unwrap();
        assert!(writer.is_over());
        let len = writer.finish().unwrap();
        let text = logs.read(ATTEMPT, 0, usize::MAX).unwrap();
        assert_eq!(text.len() as u64, len);
        assert!(text.starts_with(b"0123456789\n--- massif: "));
        assert!(text.ends_with(b"xxthe end"));
        assert!(len < limit::LOG_TAIL_BYTES as u64 + 300);
        let left_out = format!("{} bytes are left out", 2 * limit::LOG_TAIL_BYTES + 7);
        assert!(String::from_utf8_lossy(&text[..200]).contains(&left_out));
    }

    #[test]
    fn a_copied_log_takes_repeats_and_refuses_gaps() {
        let dir = tempfile::tempdir().unwrap();
        let logs = Logs::open(dir.path()).unwrap();
        assert_eq!(logs.append_at(ATTEMPT, 0, b"abc").unwrap(), 3);
        assert_eq!(logs.append_at(ATTEMPT, 0, b"abc").unwrap(), 3);
        assert_eq!(logs.append_at(ATTEMPT, 1, b"bcd").unwrap(), 4);
        assert_eq!(
            logs.append_at(ATTEMPT, 5, b"x").unwrap_err().kind,
            Kind::Conflict
        );
        assert_eq!(logs.read(ATTEMPT, 0, 9).unwrap(), b"abcd");
    }
}
