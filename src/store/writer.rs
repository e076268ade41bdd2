//! The one thread that takes changes. Many sets become one group: one frame of the journal, one `fdatasync`, then all
//! are answered.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::engine::{Shared, lock};
use super::files;
use super::keep::disk_full;
use super::overlay::Entry;
use crate::fault::{Fault, Kind, Result};

/// Sets that wait for the writer; a committer beyond them waits for room.
pub(super) const QUEUED_SETS_MAX: usize = 1_024;
/// Sets in one group.
const GROUP_SETS_MAX: usize = 512;
/// How long a group waits for the committers of the group before it, who are likely to come again at once.
const GATHER_MAX: Duration = Duration::from_micros(100);
/// More tasks than this are woken by one of their runtime's own.
const WAKES_MAX: usize = 4;
/// How long a committer waits for sled to take what the journal has no more room for.
const ROOM_MAX: Duration = Duration::from_secs(30);

/// What the writer is asked.
pub(super) struct Ask {
    pub entries: Vec<Entry>,
    /// The same as a frame's payload.
    pub payload: Vec<u8>,
    pub done: Done,
}

/// Who is told when the set is durable.
pub(super) enum Done {
    Thread(SyncSender<Result<()>>),
    Task(Handle, oneshot::Sender<Result<()>>),
}

/// Tells all of a group. The committers may have gone away; what was decided stands all the same.
fn tell(group: impl Iterator<Item = Ask>, outcome: &Result<()>) {
    let mut tasks: Vec<oneshot::Sender<Result<()>>> = Vec::new();
    let mut runtime: Option<Handle> = None;
    for ask in group {
        match ask.done {
            Done::Thread(to) => drop(to.send(outcome.clone())),
            Done::Task(own, to) => {
                let first = runtime.get_or_insert(own.clone());
                match first.id() == own.id() {
                    true => tasks.push(to),
                    false => drop(to.send(outcome.clone())),
                }
            }
        }
    }
    let all = |tasks: Vec<oneshot::Sender<_>>, outcome: Result<()>| {
        tasks
            .into_iter()
            .for_each(|to| drop(to.send(outcome.clone())));
    };
    match runtime {
        // From inside the runtime a task is woken without a lock and without a call into the kernel for each.
        Some(runtime) if tasks.len() > WAKES_MAX => {
            let outcome = outcome.clone();
            drop(runtime.spawn(async move { all(tasks, outcome) }));
        }
        _ => all(tasks, outcome.clone()),
    }
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    generation: u64,
    /// A disk that refused to sync has an unknown state: nothing more is promised on it.
    broken: Option<Fault>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, generation: u64) -> Writer {
        Writer {
            shared,
            generation,
            broken: None,
        }
    }

    pub(super) fn run(mut self, inbox: &Receiver<Ask>) {
        let mut group: Vec<Ask> = Vec::with_capacity(GROUP_SETS_MAX);
        let mut before = 0;
        while let Ok(first) = inbox.recv() {
            group.push(first);
            gather(inbox, &mut group, before);
            before = group.len();
            let outcome = self.write(&group);
            if outcome.is_ok() {
                self.adopt(&mut group);
            }
            tell(group.drain(..), &outcome);
        }
    }

    /// On disk afterwards, or not there.
    fn write(&mut self, group: &[Ask]) -> Result<()> {
        if let Some(fault) = &self.broken {
            return Err(fault.clone());
        }
        self.await_room()?;
        let shared = &self.shared;
        let free = files::free_bytes(&shared.dir).unwrap_or(u64::MAX);
        if free < shared.options.free_bytes_min {
            return Err(disk_full(&shared.dir, "take changes"));
        }
        let payloads = group.iter().map(|ask| ask.payload.as_slice());
        let checkpointed = shared.checkpointed.load(Ordering::Acquire);
        let mut journal = lock(&shared.journal);
        match journal.append(self.generation + 1, payloads, checkpointed) {
            Ok(()) => {
                self.generation += 1;
                Ok(())
            }
            Err(error) => {
                let fault = match error.kind() {
                    std::io::ErrorKind::StorageFull => disk_full(&shared.dir, "take changes"),
                    _ => Fault::new(Kind::Operator, "the disk refused to make a change durable")
                        .because(&error)
                        .next("check the disk (dmesg), then start again"),
                };
                // A frame that is half there must not be found at the next start.
                if journal.unwrite().is_err() || error.kind() != std::io::ErrorKind::StorageFull {
                    self.broken = Some(fault.clone());
                }
                Err(fault)
            }
        }
    }

    fn await_room(&self) -> Result<()> {
        let shared = &self.shared;
        let full = |shared: &Shared| {
            lock(&shared.journal).is_full(shared.checkpointed.load(Ordering::Acquire))
        };
        let since = Instant::now();
        loop {
            if shared.troubled.load(Ordering::Acquire)
                && let Some(fault) = lock(&shared.desk).trouble.clone()
            {
                return Err(fault);
            }
            if !full(shared) {
                return Ok(());
            }
            if since.elapsed() > ROOM_MAX {
                return Err(Fault::new(
                    Kind::TryAgain,
                    format!(
                        "the store's disk did not keep up for {} s",
                        ROOM_MAX.as_secs()
                    ),
                ));
            }
            let mut desk = lock(&shared.desk);
            desk.urgent = true;
            shared.wake.notify_all();
            let waited = shared.room.wait_timeout(desk, Duration::from_millis(100));
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Readers see the group from here on.
    fn adopt(&self, group: &mut [Ask]) {
        let shared = &self.shared;
        let mut overlay = shared
            .overlay
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let first = overlay.active_len() == 0;
        let entries = group
            .iter_mut()
            .flat_map(|ask| std::mem::take(&mut ask.entries));
        overlay.adopt(self.generation, entries);
        shared.generation.store(self.generation, Ordering::Release);
        let heavy = shared.is_heavy(&overlay);
        drop(overlay);
        if first || heavy {
            let mut desk = lock(&shared.desk);
            desk.pending = true;
            desk.urgent |= heavy;
            shared.wake.notify_all();
        }
    }
}

/// Takes all that wait; and if more came last time, gives them a moment to come again.
fn gather(inbox: &Receiver<Ask>, group: &mut Vec<Ask>, before: usize) {
    let since = Instant::now();
    while group.len() < GROUP_SETS_MAX {
        match inbox.try_recv() {
            Ok(ask) => group.push(ask),
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {
                if group.len() >= before || since.elapsed() >= GATHER_MAX {
                    return;
                }
                std::thread::yield_now();
            }
        }
    }
}
