//! Opening the database and reading from it. Writing is the writer thread's (`writer`).
//!
//! All trees lie in one physical sled tree under `name 00 key`, because a batch over one tree is atomic across a crash
//! and needs no transaction.

use std::fs::File;
use std::marker::PhantomData;
use std::path::Path;

use tokio::sync::oneshot;

use super::row::{Row, WriteSet, decode};
use super::writer::{Ask, SharedWriter, Writer};
use super::Key;
use crate::fault::{Fault, Kind, Result};

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Memory for sled's page cache.
    pub cache_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            cache_bytes: 32 << 20,
        }
    }
}

/// A handle on the store; clones share it. The last one to go closes it, which may block.
#[derive(Clone)]
pub struct Store {
    db: sled::Db,
    writer: SharedWriter,
}

impl Store {
    /// Opens the store of a state directory (`DIR/store`), or makes a new one.
    pub fn open(dir: &Path, options: &Options) -> Result<Store> {
        let path = dir.join("store").join("sled");
        let failed = |error: &dyn std::error::Error| {
            Fault::new(Kind::Operator, format!("cannot open the store in {}", path.display()))
                .because(error)
        };
        std::fs::create_dir_all(&path).map_err(|error| failed(&error))?;
        let db = sled::Config::new()
            .path(&path)
            .cache_capacity(options.cache_bytes)
            .flush_every_ms(Some(200))
            .open()
            .map_err(|error| failed(&error))?;
        let file = File::open(path.join("db")).map_err(|error| failed(&error))?;
        let writer = SharedWriter::new(Writer::start(db.clone(), file)?);
        Ok(Store { db, writer })
    }

    /// Makes the set durable, all of it or nothing. Blocks: from async code use `commit_async`.
    pub fn commit(&self, set: WriteSet) -> Result<()> {
        match self.ask(set)? {
            Some(done) => done
                .blocking_recv()
                .unwrap_or_else(|_| Err(Fault::bug("the store's writer thread has ended"))),
            None => Ok(()),
        }
    }

    /// Makes the set durable, all of it or nothing.
    pub async fn commit_async(&self, set: WriteSet) -> Result<()> {
        match self.ask(set)? {
            Some(done) => done
                .await
                .unwrap_or_else(|_| Err(Fault::bug("the store's writer thread has ended"))),
            None => Ok(()),
        }
    }

    fn ask(&self, set: WriteSet) -> Result<Option<oneshot::Receiver<Result<()>>>> {
        let writes = set.into_writes()?;
        if writes.is_empty() {
            return Ok(None);
        }
        let (done, receiver) = oneshot::channel();
        self.writer.send(Ask { writes, done })?;
        Ok(Some(receiver))
    }

    /// The row of that key.
    pub fn get<R: Row>(&self, key: &R::Key) -> Result<Option<R>> {
        match self.db.get(stored_key::<R>(&key.to_bytes())).map_err(read_failed::<R>)? {
            Some(bytes) => decode(&bytes).map(Some),
            None => Ok(None),
        }
    }

    /// All rows of a tree in the order of their keys.
    pub fn scan<R: Row>(&self) -> Scan<R> {
        Scan::new(self.db.scan_prefix(stored_key::<R>(&[])))
    }

    /// The rows from this key on.
    pub fn scan_from<R: Row>(&self, key: &R::Key) -> Scan<R> {
        Scan::new(self.db.range(stored_key::<R>(&key.to_bytes())..end_of::<R>()))
    }

    /// The rows from `from` on and before `to`.
    pub fn range<R: Row>(&self, range: std::ops::Range<R::Key>) -> Scan<R> {
        let from = stored_key::<R>(&range.start.to_bytes());
        let to = stored_key::<R>(&range.end.to_bytes());
        Scan::new(self.db.range(from..to.max(stored_key::<R>(&[]))))
    }

    /// The rows whose key begins with this one: all attempts of a job, all recipes of a project.
    pub fn scan_within<R: Row, K: Key>(&self, first: &K) -> Scan<R> {
        Scan::new(self.db.scan_prefix(stored_key::<R>(&first.to_bytes())))
    }

    /// The row with the highest key.
    pub fn last<R: Row>(&self) -> Result<Option<R>> {
        self.scan::<R>().next_back().transpose()
    }
}

fn stored_key<R: Row>(key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(R::TREE.len() + 1 + key.len());
    bytes.extend_from_slice(R::TREE.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(key);
    bytes
}

fn end_of<R: Row>() -> Vec<u8> {
    let mut bytes = R::TREE.as_bytes().to_vec();
    bytes.push(1);
    bytes
}

fn read_failed<R: Row>(error: sled::Error) -> Fault {
    Fault::new(Kind::Operator, format!("cannot read {} from the store", R::TREE)).because(&error)
}

/// Rows in the order of their keys, or from the back with `rev`.
pub struct Scan<R> {
    rows: sled::Iter,
    row: PhantomData<R>,
}

impl<R: Row> Scan<R> {
    fn new(rows: sled::Iter) -> Scan<R> {
        Scan {
            rows,
            row: PhantomData,
        }
    }
}

impl<R: Row> Iterator for Scan<R> {
    type Item = Result<R>;
    fn next(&mut self) -> Option<Result<R>> {
        let (_, value) = match self.rows.next()? {
            Ok(pair) => pair,
            Err(error) => return Some(Err(read_failed::<R>(error))),
        };
        Some(decode(&value))
    }
}

impl<R: Row> DoubleEndedIterator for Scan<R> {
    fn next_back(&mut self) -> Option<Result<R>> {
        let (_, value) = match self.rows.next_back()? {
            Ok(pair) => pair,
            Err(error) => return Some(Err(read_failed::<R>(error))),
        };
        Some(decode(&value))
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::id::{AttemptId, JobId};

    #[derive(Debug, PartialEq, Clone, Serialize, Deserialize)]
    struct Note {
        attempt: AttemptId,
        text: String,
    }
    impl Row for Note {
        const TREE: &'static str = "note";
        const SHAPE: u8 = 1;
        type Key = AttemptId;
        fn key(&self) -> AttemptId {
            self.attempt
        }
    }

    fn note(job: u64, try_no: u32) -> Note {
        Note {
            attempt: AttemptId {
                job: JobId(job),
                try_no,
            },
            text: format!("{job} {try_no}"),
        }
    }

    #[test]
    fn what_was_committed_is_read_back_in_key_order_also_after_opening_again() {
        let dir = tempfile::tempdir().unwrap();
        let notes: Vec<_> = (1..4).flat_map(|job| [note(job, 1), note(job, 2)]).collect();
        {
            let store = Store::open(dir.path(), &Options::default()).unwrap();
            let mut set = WriteSet::new();
            notes.iter().rev().for_each(|note| {
                set.put(note);
            });
            store.commit(set).unwrap();
        }
        let store = Store::open(dir.path(), &Options::default()).unwrap();
        let all: Vec<Note> = store.scan().collect::<Result<_>>().unwrap();
        assert_eq!(all, notes);
        let of_two: Vec<Note> = store.scan_within(&JobId(2)).collect::<Result<_>>().unwrap();
        assert_eq!(of_two, notes[2..4]);
        let from: Vec<Note> = store.scan_from(&note(2, 2).attempt).collect::<Result<_>>().unwrap();
        assert_eq!(from, notes[3..]);
        assert_eq!(store.last::<Note>().unwrap().as_ref(), notes.last());
        let mut set = WriteSet::new();
        set.delete::<Note>(&note(3, 2).attempt);
        store.commit(set).unwrap();
        assert_eq!(store.get::<Note>(&note(3, 2).attempt).unwrap(), None);
        assert_eq!(store.get(&note(3, 1).attempt).unwrap(), Some(note(3, 1)));
    }

    #[test]
    fn a_row_over_the_limit_is_refused_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), &Options::default()).unwrap();
        let mut large = note(1, 1);
        large.text = "x".repeat(crate::limit::STORE_VALUE_BYTES_MAX);
        let mut set = WriteSet::new();
        set.put(&note(2, 1)).put(&large);
        assert!(store.commit(set).is_err());
        assert_eq!(store.scan::<Note>().count(), 0);
    }
}
