//! The handle that the rest of the program has on the store: commits and reads.

use std::marker::PhantomData;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::engine::{Shared, lock};
use super::guard::guarded;
use super::journal::write_entry;
use super::keep::Keep;
use super::lock::DirLock;
use super::overlay::Rows;
use super::row::{Row, WriteSet, decode, stored_key};
use super::writer::{Ask, Done, QUEUED_SETS_MAX, Writer};
use super::{Key, Options};
use crate::fault::{Fault, Kind, Result};

/// A handle on the store; clones share it. When the last one goes the store is closed: what is in the journal is moved
/// into sled, which blocks for some milliseconds, so drop it off the async threads.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    asks: Option<SyncSender<Ask>>,
    writer: Option<JoinHandle<()>>,
    keeper: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    /// Given back last.
    _lock: DirLock,
}

fn ended() -> Fault {
    Fault::bug("the store's writer thread has ended")
}

impl Store {
    /// Opens the store of a state directory, or makes a new one; takes the directory's lock.
    pub fn open(dir: &Path, options: &Options) -> Result<Store> {
        let lock = DirLock::take(dir)?;
        Store::open_locked(lock, dir, options)
    }

    pub(super) fn open_locked(lock: DirLock, dir: &Path, options: &Options) -> Result<Store> {
        let (shared, generation) = Shared::open(dir, options)?;
        let shared = Arc::new(shared);
        let (asks, inbox) = sync_channel(QUEUED_SETS_MAX);
        let writer = Writer::new(Arc::clone(&shared), generation);
        let keeper = Arc::clone(&shared);
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(name.into());
            thread.spawn(work).map_err(|error| {
                Fault::new(Kind::Builder, "cannot start the store's threads").because(&error)
            })
        };
        let mut inner = Inner {
            asks: Some(asks),
            writer: None,
            keeper: None,
            shared,
            _lock: lock,
        };
        inner.keeper = Some(spawn("store-keeper", Box::new(move || keeper.keep_up()))?);
        inner.writer = Some(spawn("store-writer", Box::new(move || writer.run(&inbox)))?);
        Ok(Store {
            inner: Arc::new(inner),
        })
    }

    /// The state directory.
    pub fn dir(&self) -> &Path {
        &self.inner.shared.dir
    }

    /// Why nothing can be written, while that is so: for `status` and `doctor`.
    pub fn trouble(&self) -> Option<Fault> {
        lock(&self.inner.shared.desk).trouble.clone()
    }

    /// The id that this store was made with.
    pub fn id(&self) -> String {
        super::side::hex(&self.inner.shared.store)
    }

    /// The last group of changes that is durable.
    pub fn generation(&self) -> u64 {
        self.inner.shared.generation.load(Ordering::Acquire)
    }

    /// Makes the set durable, all of it or nothing. Blocks: from async code use `commit_async`.
    pub fn commit(&self, set: WriteSet) -> Result<()> {
        let (done, answer) = sync_channel(1);
        let Some(ask) = Self::ask(set, Done::Thread(done))? else {
            return Ok(());
        };
        let asks = self.inner.asks.as_ref().ok_or_else(ended)?;
        asks.send(ask).map_err(|_| ended())?;
        answer.recv().unwrap_or_else(|_| Err(ended()))
    }

    /// Makes the set durable, all of it or nothing. Once polled the set is on its way, also when the future is dropped.
    pub async fn commit_async(&self, set: WriteSet) -> Result<()> {
        let (done, answer) = oneshot::channel();
        let Some(ask) = Self::ask(set, Done::Task(Handle::current(), done))? else {
            return Ok(());
        };
        let asks = self.inner.asks.as_ref().ok_or_else(ended)?;
        match asks.try_send(ask) {
            Ok(()) => {}
            Err(TrySendError::Disconnected(_)) => return Err(ended()),
            Err(TrySendError::Full(ask)) => {
                let asks = asks.clone();
                let sent = tokio::task::spawn_blocking(move || asks.send(ask).is_ok()).await;
                if !sent.unwrap_or(false) {
                    return Err(ended());
                }
            }
        }
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    fn ask(set: WriteSet, done: Done) -> Result<Option<Ask>> {
        let entries = set.into_entries()?;
        let mut payload = Vec::with_capacity(entries.len() * 192);
        entries
            .iter()
            .for_each(|entry| write_entry(entry, &mut payload));
        Ok((!entries.is_empty()).then_some(Ask {
            entries,
            payload,
            done,
        }))
    }

    fn db(&self) -> Result<Arc<sled::Db>> {
        let db = self
            .inner
            .shared
            .db
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        db.clone().ok_or_else(|| {
            Fault::new(
                Kind::TryAgain,
                "the store is being opened anew after its disk was full",
            )
        })
    }

    fn changed(&self, from: &[u8], to: &[u8]) -> Rows {
        let overlay = self.inner.shared.overlay.read();
        overlay
            .unwrap_or_else(PoisonError::into_inner)
            .range(from, to)
    }

    /// The row of that key.
    pub fn get<R: Row>(&self, key: &R::Key) -> Result<Option<R>> {
        let key = stored_key::<R>(&key.to_bytes());
        let changed = {
            let overlay = self.inner.shared.overlay.read();
            overlay.unwrap_or_else(PoisonError::into_inner).get(&key)
        };
        if let Some(value) = changed {
            return value.map(|bytes| decode(&bytes)).transpose();
        }
        let db = self.db()?;
        match guarded(|| db.get(&key)) {
            Ok(Ok(found)) => found.map(|bytes| decode(&bytes)).transpose(),
            Ok(Err(error)) => Err(read_failed::<R>(&error.to_string())),
            Err(panic) => Err(read_failed::<R>(&panic)),
        }
    }

    /// All rows of a tree in the order of their keys. Rows changed while it runs are seen as they were or as they are.
    pub fn scan<R: Row>(&self) -> Scan<R> {
        self.scan_bytes(stored_key::<R>(&[]), end_of::<R>())
    }

    /// The rows from this key on.
    pub fn scan_from<R: Row>(&self, key: &R::Key) -> Scan<R> {
        self.scan_bytes(stored_key::<R>(&key.to_bytes()), end_of::<R>())
    }

    /// The rows from `start` on and before `end`.
    pub fn range<R: Row>(&self, range: Range<R::Key>) -> Scan<R> {
        let from = stored_key::<R>(&range.start.to_bytes());
        self.scan_bytes(from, stored_key::<R>(&range.end.to_bytes()))
    }

    /// The rows whose key begins with this one: all attempts of a job, all recipes of a project.
    pub fn scan_within<R: Row, K: Key>(&self, first: &K) -> Scan<R> {
        let from = stored_key::<R>(&first.to_bytes());
        // A tree's keys all come before `end_of`, so a key of nothing but ff needs no successor of its own.
        let to = successor(&from).unwrap_or_else(end_of::<R>);
        self.scan_bytes(from, to)
    }

    /// The row with the highest key.
    pub fn last<R: Row>(&self) -> Result<Option<R>> {
        self.scan::<R>().next_back().transpose()
    }

    fn scan_bytes<R: Row>(&self, from: Vec<u8>, to: Vec<u8>) -> Scan<R> {
        // The overlay first: a row that leaves it in between is in sled by then.
        let changed = self.changed(&from, &to);
        let (rows, fault) = match self.db() {
            Ok(db) if from < to => (Some((db.range(from..to), db)), None),
            Ok(_) => (None, None),
            Err(fault) => (None, Some(fault)),
        };
        Scan {
            changed,
            rows,
            front: None,
            back: None,
            fault,
            row: PhantomData,
        }
    }

    /// Moves everything acknowledged into sled and looks at it there while nothing changes it. Committers go on.
    pub(super) fn frozen<T>(&self, look: impl FnOnce(&Keep) -> Result<T>) -> Result<T> {
        let mut keep = lock(&self.inner.shared.keep);
        let keep = keep.as_mut().ok_or_else(|| {
            Fault::new(
                Kind::TryAgain,
                "the store is being opened anew after its disk was full",
            )
        })?;
        self.inner.shared.drain(keep)?;
        look(keep)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.asks = None;
        if let Some(writer) = self.writer.take() {
            // A panic of the writer was told to every committer as "the writer has ended".
            drop(writer.join());
        }
        lock(&self.shared.desk).stop = true;
        self.shared.wake.notify_all();
        if let Some(keeper) = self.keeper.take() {
            // What a keeper that panicked did not move is in the journal.
            drop(keeper.join());
        }
    }
}

fn end_of<R: Row>() -> Vec<u8> {
    let mut bytes = R::TREE.as_bytes().to_vec();
    bytes.push(1);
    bytes
}

/// The smallest bytes that come after all that begin with these.
fn successor(bytes: &[u8]) -> Option<Vec<u8>> {
    let kept = bytes.iter().rposition(|byte| *byte != 0xff)?;
    let mut next = bytes.get(..=kept)?.to_vec();
    *next.last_mut()? += 1;
    Some(next)
}

fn read_failed<R: Row>(why: &str) -> Fault {
    let mut fault = Fault::new(
        Kind::Operator,
        format!("cannot read {} from the store", R::TREE),
    )
    .next("stop massif and run `massif store check`");
    fault.causes.push(why.into());
    fault
}

type Pair = (sled::IVec, sled::IVec);

/// Rows in the order of their keys, or from the back with `rev`.
pub struct Scan<R> {
    changed: Rows,
    /// The handle keeps sled open as long as it is read.
    rows: Option<(sled::Iter, Arc<sled::Db>)>,
    front: Option<Pair>,
    back: Option<Pair>,
    fault: Option<Fault>,
    row: PhantomData<R>,
}

impl<R: Row> Scan<R> {
    fn pull(&mut self, from_back: bool) -> Option<Pair> {
        let (rows, _) = self.rows.as_mut()?;
        let pulled = guarded(|| {
            if from_back {
                rows.next_back()
            } else {
                rows.next()
            }
        });
        let why = match pulled {
            Ok(Some(Ok(pair))) => return Some(pair),
            Ok(None) => {
                // Asked again, sled would go on with rows that arrived meanwhile, and `changed` has those.
                self.rows = None;
                return None;
            }
            Ok(Some(Err(error))) => error.to_string(),
            Err(panic) => panic,
        };
        self.fault = Some(read_failed::<R>(&why));
        self.rows = None;
        None
    }

    /// The next row from one end; a changed row hides sled's.
    fn step(&mut self, from_back: bool) -> Option<Result<R>> {
        loop {
            if from_back && self.back.is_none() {
                self.back = self.pull(true).or_else(|| self.front.take());
            } else if !from_back && self.front.is_none() {
                self.front = self.pull(false).or_else(|| self.back.take());
            }
            if let Some(fault) = self.fault.take() {
                self.changed.clear();
                return Some(Err(fault));
            }
            let held = if from_back {
                &mut self.back
            } else {
                &mut self.front
            };
            let changed = if from_back {
                self.changed.last_key_value()
            } else {
                self.changed.first_key_value()
            };
            let take_changed = match (&held, changed) {
                (None, None) => return None,
                (None, Some(_)) => true,
                (Some(_), None) => false,
                (Some((key, _)), Some((other, _))) => {
                    let order = key.as_ref().cmp(other.as_slice());
                    if order.is_eq() {
                        *held = None;
                    }
                    if from_back {
                        order.is_le()
                    } else {
                        order.is_ge()
                    }
                }
            };
            if !take_changed {
                return held.take().map(|(_, value)| decode(&value));
            }
            let changed = if from_back {
                self.changed.pop_last()
            } else {
                self.changed.pop_first()
            };
            if let Some((_, Some(value))) = changed {
                return Some(decode(&value));
            }
        }
    }
}

impl<R: Row> Iterator for Scan<R> {
    type Item = Result<R>;
    fn next(&mut self) -> Option<Result<R>> {
        self.step(false)
    }
}

impl<R: Row> DoubleEndedIterator for Scan<R> {
    fn next_back(&mut self) -> Option<Result<R>> {
        self.step(true)
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
        let notes: Vec<_> = (1..4)
            .flat_map(|job| [note(job, 1), note(job, 2)])
            .collect();
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
        let from: Vec<Note> = store
            .scan_from(&note(2, 2).attempt)
            .collect::<Result<_>>()
            .unwrap();
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
