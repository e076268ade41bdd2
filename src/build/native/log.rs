//! The log of one build: everything that the steps say, and our landmarks between them. It takes bytes up to its limit;
//! what comes after is kept as a tail in memory and written once at the end, behind a marker, so that offsets stay true.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;

use super::{BuildEvent, Events};
use crate::build::sandbox::LogReader;
use crate::limit;

/// Between two events about the log.
const TELL: Duration = Duration::from_millis(100);
/// Bytes that are looked at for the last lines of a failure.
const LAST_BYTES: usize = 64 * 1024;
/// Bytes of a line that are looked at; what follows is in the log all the same.
const LINE_BYTES_MAX: usize = 4096;
/// Lines that a failure carries.
const LAST_LINES: usize = 40;

/// Shared by the build and the reader of the sandbox's output.
pub(in crate::build) struct Log(Mutex<Inner>);

struct Inner {
    file: File,
    written: u64,
    bytes_max: u64,
    tail: VecDeque<u8>,
    left_out: u64,
    /// The first error of the file; the build ends with it, but not in the middle of a line.
    broken: Option<io::Error>,
}

impl Log {
    pub(in crate::build) fn create(path: &Path, bytes_max: u64) -> io::Result<Log> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        Ok(Log(Mutex::new(Inner {
            file: File::create(path)?,
            written: 0,
            bytes_max,
            tail: VecDeque::new(),
            left_out: 0,
            broken: None,
        })))
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes bytes; answers how many the file has now.
    pub(in crate::build) fn write(&self, bytes: &[u8]) -> u64 {
        let mut log = self.inner();
        let room = usize::try_from(log.bytes_max.saturating_sub(log.written)).unwrap_or(usize::MAX);
        let (fits, rest) = bytes.split_at(room.min(bytes.len()));
        if !fits.is_empty() && log.broken.is_none() {
            match log.file.write_all(fits) {
                Ok(()) => log.written += fits.len() as u64,
                Err(error) => log.broken = Some(error),
            }
        }
        log.left_out += rest.len() as u64;
        log.tail.extend(bytes);
        let over = log.tail.len().saturating_sub(limit::LOG_TAIL_BYTES);
        log.tail.drain(..over);
        log.written
    }

    /// Bytes in the file.
    pub(in crate::build) fn written(&self) -> u64 {
        self.inner().written
    }

    /// A line of our own.
    pub(in crate::build) fn say(&self, line: &str) -> u64 {
        self.write(format!("{line}\n").as_bytes())
    }

    /// The error that ended the file early, if one did.
    pub(in crate::build) fn broken(&self) -> Option<String> {
        self.inner().broken.as_ref().map(ToString::to_string)
    }

    /// The last lines, without our landmarks.
    pub(in crate::build) fn last_lines(&self) -> Vec<String> {
        let log = self.inner();
        let from = log.tail.len().saturating_sub(LAST_BYTES);
        let bytes: Vec<u8> = log.tail.iter().skip(from).copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with(super::LANDMARK) && !line.trim().is_empty())
            .collect();
        let from = lines.len().saturating_sub(LAST_LINES);
        lines.into_iter().skip(from).map(str::to_owned).collect()
    }

    /// Writes the kept tail, when bytes were left out.
    pub(in crate::build) fn close(&self) -> u64 {
        let mut log = self.inner();
        if log.left_out > 0 && log.broken.is_none() {
            let kept = log.left_out.min(log.tail.len() as u64);
            let from = log.tail.len() - usize::try_from(kept).unwrap_or(log.tail.len());
            let mark = format!(
                "\n{} log limit of {} bytes reached, {} bytes left out here; the end follows\n",
                super::LANDMARK,
                log.bytes_max,
                log.left_out - kept
            );
            let tail: Vec<u8> = log.tail.iter().skip(from).copied().collect();
            match log
                .file
                .write_all(mark.as_bytes())
                .and_then(|()| log.file.write_all(&tail))
            {
                Ok(()) => log.written += (mark.len() + tail.len()) as u64,
                Err(error) => log.broken = Some(error),
            }
            log.left_out = 0;
        }
        log.written
    }
}

/// The same as `pump`, and each whole line is shown to `seen` too.
pub(in crate::build) async fn pump_lines(
    mut reader: LogReader,
    log: &Log,
    events: Events<'_>,
    seen: &(dyn Fn(&str) + Send + Sync),
) {
    let mut buffer = vec![0; 64 * 1024];
    let mut line = Vec::new();
    while let Ok(read @ 1..) = reader.read(&mut buffer).await {
        let bytes = buffer.get(..read).unwrap_or_default();
        for byte in bytes {
            match byte {
                b'\n' => {
                    seen(&String::from_utf8_lossy(&line));
                    line.clear();
                }
                byte if line.len() < LINE_BYTES_MAX => line.push(*byte),
                _ => {}
            }
        }
        let bytes = log.write(bytes);
        events(BuildEvent::LogGrew { bytes });
    }
}

/// Writes what the sandbox says into the log until it ends.
pub(in crate::build) async fn pump(mut reader: LogReader, log: &Log, events: Events<'_>) {
    let mut buffer = vec![0; 64 * 1024];
    let mut told = Instant::now();
    let mut owed = None;
    loop {
        let wait = if owed.is_some() {
            TELL
        } else {
            Duration::from_secs(3600)
        };
        match tokio::time::timeout(wait, reader.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(read)) => owed = Some(log.write(buffer.get(..read).unwrap_or_default())),
            Err(_) => {}
        }
        if let Some(bytes) = owed
            && told.elapsed() >= TELL
        {
            events(BuildEvent::LogGrew { bytes });
            told = Instant::now();
            owed = None;
        }
    }
    if let Some(bytes) = owed {
        events(BuildEvent::LogGrew { bytes });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_over_its_limit_keeps_its_end_behind_a_marker() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = Log::create(&path, 10).unwrap();
        assert_eq!(log.write(b"0123456789"), 10);
        assert_eq!(log.write(b"left\nend\n"), 10);
        log.close();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("0123456789\n==> log limit of 10 bytes"),
            "{text}"
        );
        assert!(
            text.ends_with("0 bytes left out here; the end follows\nleft\nend\n"),
            "{text}"
        );
    }

    #[test]
    fn the_last_lines_are_those_of_the_steps() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::create(&dir.path().join("log"), 1 << 20).unwrap();
        for number in 0..50 {
            log.say(&format!("line {number}"));
        }
        log.say("==> build failed");
        let lines = log.last_lines();
        assert_eq!(
            (lines.len(), lines.last().map(String::as_str)),
            (40, Some("line 49"))
        );
    }
}
