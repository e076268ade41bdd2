//! The one thread that changes the database. Many sets become one group: applied together, made durable with one
//! `fdatasync`, then answered.

use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::row::Write;
use crate::fault::{Fault, Kind, Result};

/// Sets that wait for the writer; a committer beyond them waits for room.
const QUEUED_SETS_MAX: usize = 1_024;
/// Sets in one group.
const GROUP_SETS_MAX: usize = 512;

/// What the writer is asked.
pub(super) struct Ask {
    /// The changes.
    pub writes: Vec<Write>,
    /// Told when they are durable.
    pub done: oneshot::Sender<Result<()>>,
}

/// The writer's address and its thread.
pub(super) struct Writer {
    asks: Option<SyncSender<Ask>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(db: sled::Db, file: File) -> Result<Writer> {
        let (asks, inbox) = sync_channel(QUEUED_SETS_MAX);
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || run(&db, &file, &inbox))
            .map_err(|error| {
                Fault::new(Kind::Builder, "cannot start the store's writer thread").because(&error)
            })?;
        Ok(Writer {
            asks: Some(asks),
            thread: Some(thread),
        })
    }

    pub(super) fn send(&self, ask: Ask) -> Result<()> {
        let gone = || Fault::bug("the store's writer thread has ended");
        let asks = self.asks.as_ref().ok_or_else(gone)?;
        asks.send(ask).map_err(|_| gone())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.asks = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the writer was already told to every committer as "the writer has ended".
            drop(thread.join());
        }
    }
}

fn run(db: &sled::Db, file: &File, inbox: &Receiver<Ask>) {
    let mut group = Vec::with_capacity(GROUP_SETS_MAX);
    while let Ok(first) = inbox.recv() {
        group.push(first);
        while group.len() < GROUP_SETS_MAX
            && let Ok(ask) = inbox.try_recv()
        {
            group.push(ask);
        }
        let outcome = write_group(db, file, &group);
        for ask in group.drain(..) {
            // The committer may have gone away; its rows are durable all the same.
            drop(ask.done.send(outcome.clone()));
        }
    }
}

fn write_group(db: &sled::Db, file: &File, group: &[Ask]) -> Result<()> {
    let mut batch = sled::Batch::default();
    for write in group.iter().flat_map(|ask| &ask.writes) {
        let mut key = Vec::with_capacity(write.tree.len() + 1 + write.key.len());
        key.extend_from_slice(write.tree.as_bytes());
        key.push(0);
        key.extend_from_slice(&write.key);
        match &write.value {
            Some(value) => batch.insert(key, value.as_slice()),
            None => batch.remove(key),
        }
    }
    let failed = |error: &dyn std::error::Error| {
        Fault::new(Kind::Operator, "the store could not write").because(error)
    };
    db.apply_batch(batch).map_err(|error| failed(&error))?;
    db.flush().map_err(|error| failed(&error))?;
    file.sync_data().map_err(|error| failed(&error))
}

/// Only for the type of `Store`.
pub(super) type SharedWriter = Arc<Writer>;
