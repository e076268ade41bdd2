//! A file that only grows: one JSON line per record, durable when `append` returns. For what must outlive a restored
//! store, such as revocations: a restore leaves it alone, so the union of both counts.

use std::fs::File;
use std::io::{self, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::files;
use crate::fault::{Fault, Kind, Result};

/// A growing file of records.
pub struct AppendLog<T> {
    path: PathBuf,
    file: File,
    record: PhantomData<T>,
}

impl<T: Serialize + DeserializeOwned> AppendLog<T> {
    /// Opens or makes the file; also all records in it, oldest first. A last line that a crash cut short was never
    /// acknowledged and is dropped; a damaged line before it is an error.
    pub fn open(path: &Path) -> Result<(AppendLog<T>, Vec<T>)> {
        let failed = |error: &dyn std::error::Error| {
            Fault::new(Kind::Operator, format!("cannot read {}", path.display())).because(error)
        };
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(&error)),
        };
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |last| last + 1);
        let mut records = Vec::new();
        let lines = text
            .get(..whole)
            .unwrap_or_default()
            .split(|byte| *byte == b'\n');
        for (number, line) in lines.enumerate().filter(|(_, line)| !line.is_empty()) {
            let record = serde_json::from_slice(line).map_err(|error| {
                failed(&error)
                    .at(path.display().to_string(), number as u32 + 1, 0)
                    .next("mend or remove that line; it may have revoked a key")
            })?;
            records.push(record);
        }
        let file = files::open_append(path, 0o600).map_err(|error| failed(&error))?;
        file.set_len(whole as u64)
            .and_then(|()| file.sync_all())
            .and_then(|()| files::sync_dir(files::parent(path)))
            .map_err(|error| failed(&error))?;
        let log = AppendLog {
            path: path.into(),
            file,
            record: PhantomData,
        };
        Ok((log, records))
    }

    /// Adds one record; it is durable when this returns.
    pub fn append(&mut self, record: &T) -> Result<()> {
        let failed = |error: &dyn std::error::Error| {
            Fault::new(
                Kind::Operator,
                format!("cannot write {}", self.path.display()),
            )
            .because(error)
            .next("free space on that disk or mend its rights, then repeat")
        };
        let mut line = serde_json::to_vec(record).map_err(|error| failed(&error))?;
        line.push(b'\n');
        let before = self.file.metadata().map_err(|error| failed(&error))?.len();
        let written = self
            .file
            .write_all(&line)
            .and_then(|()| self.file.sync_data());
        written.map_err(|error| {
            // Half a line would be read as damage once another follows it.
            drop(self.file.set_len(before));
            failed(&error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_a_line_cut_short_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("revoked");
        let (mut log, old) = AppendLog::<String>::open(&path).unwrap();
        assert!(old.is_empty());
        log.append(&"one".into()).unwrap();
        log.append(&"two\nlines".into()).unwrap();
        drop(log);
        files::open_append(&path, 0o600)
            .unwrap()
            .write_all(b"\"thr")
            .unwrap();
        let (mut log, old) = AppendLog::<String>::open(&path).unwrap();
        assert_eq!(old, ["one", "two\nlines"]);
        log.append(&"four".into()).unwrap();
        assert_eq!(
            AppendLog::<String>::open(&path).unwrap().1,
            ["one", "two\nlines", "four"]
        );
        std::fs::write(&path, "{broken\n\"x\"\n").unwrap();
        assert!(AppendLog::<String>::open(&path).is_err());
    }
}
