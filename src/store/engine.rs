//! What the writer, the keeper and the readers share, and how a store is opened.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use super::journal::Journal;
use super::keep::Keep;
use super::overlay::Overlay;
use super::side::Side;
use super::{Options, ballast, files, side};
use crate::fault::{Fault, Kind, Result};

/// Rows wait this long at most before sled gets them: many changes of one row become one.
const APPLY_DELAY: Duration = Duration::from_millis(100);
/// More waiting rows than this are moved at once.
const APPLY_ROWS: usize = 32_768;
/// More waiting bytes than this are moved at once.
const APPLY_BYTES: usize = 8 << 20;
/// Sled is made durable this long after a change, and the journal can begin anew.
const CHECKPOINT_DELAY: Duration = Duration::from_secs(3);
/// Time between two looks at a disk that was full.
const REVIVE_EVERY: Duration = Duration::from_secs(1);
/// The nice value of the keeper: moving rows never delays a commit.
const KEEPER_NICE: i32 = 10;
/// How long a full disk's store waits for readers to let go of it.
const READERS_GONE: Duration = Duration::from_secs(5);

/// The shared state. Lock order: `keep`, `journal`, `db`, `overlay`, `desk`.
pub(super) struct Shared {
    pub dir: PathBuf,
    pub options: Options,
    /// The store's id.
    pub store: [u8; 16],
    /// The last durable group.
    pub generation: AtomicU64,
    pub overlay: RwLock<Overlay>,
    /// `None` while a store whose disk was full is opened anew.
    pub db: RwLock<Option<Arc<sled::Db>>>,
    pub keep: Mutex<Option<Keep>>,
    pub journal: Mutex<Journal>,
    /// The generation that sled has durably.
    pub checkpointed: AtomicU64,
    /// Set when `desk.trouble` is.
    pub troubled: AtomicBool,
    pub desk: Mutex<Desk>,
    /// For the keeper: there is work.
    pub wake: Condvar,
    /// For the writer: there is room, or trouble.
    pub room: Condvar,
}

/// Messages between writer and keeper.
#[derive(Default)]
pub(super) struct Desk {
    /// Rows wait in the overlay.
    pub pending: bool,
    /// The writer waits for room in the journal.
    pub urgent: bool,
    pub stop: bool,
    /// Why nothing can be written.
    pub trouble: Option<Fault>,
    /// The trouble may pass by itself: the disk was full.
    pub passing: bool,
}

/// A lock whose holder panicked is taken all the same: what it protects is checked by those who use it.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Opens the store of a state directory; also the generation of its last change.
    pub(super) fn open(dir: &Path, options: &Options) -> Result<(Shared, u64)> {
        let io_failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::StorageFull => super::keep::disk_full(dir, "be opened"),
            _ => Fault::new(
                Kind::Operator,
                format!("cannot open the store in {}", dir.display()),
            )
            .because(&error)
            .next("check the directory's owner and rights"),
        };
        let side = Side::read(dir)?;
        let store_dir = dir.join("store");
        let sled_dir = super::keep::sled_dir(dir);
        let fresh = side.is_none() && !store_dir.join("head").exists();
        files::make_dir(&store_dir, 0o700).map_err(io_failed)?;
        check_rights(&store_dir)?;
        if !fresh || sled_dir.exists() {
            // A start on a full disk needs the room that was kept back.
            if files::free_bytes(dir).map_err(io_failed)? < options.free_bytes_min / 2 {
                ballast::release(dir);
            }
        }
        files::make_dir(&sled_dir, 0o700).map_err(io_failed)?;
        let mut keep = Keep::open(dir, options, side.as_ref(), fresh)?;
        if fresh {
            let text = format!("{}\n", side::hex(&keep.meta.store));
            files::write_atomic(&store_dir.join("head"), text.as_bytes(), 0o600)
                .map_err(io_failed)?;
        }
        let mut journal =
            Journal::open(&store_dir.join("journal"), keep.meta.store).map_err(io_failed)?;
        let frames = journal
            .frames_after(keep.meta.generation)
            .map_err(io_failed)?;
        let generation = keep.recover(frames, side.as_ref())?;
        journal.reset().map_err(io_failed)?;
        keep.write_side(true)?;
        ballast::lay(dir, options.ballast_bytes, options.free_bytes_min).map_err(io_failed)?;
        let shared = Shared {
            dir: dir.into(),
            options: options.clone(),
            store: keep.meta.store,
            generation: AtomicU64::new(generation),
            overlay: RwLock::default(),
            db: RwLock::new(Some(Arc::clone(&keep.db))),
            checkpointed: AtomicU64::new(keep.checkpointed),
            keep: Mutex::new(Some(keep)),
            journal: Mutex::new(journal),
            troubled: AtomicBool::new(false),
            desk: Mutex::default(),
            wake: Condvar::new(),
            room: Condvar::new(),
        };
        Ok((shared, generation))
    }

    /// Whether so much waits that the keeper should not.
    pub(super) fn is_heavy(&self, overlay: &Overlay) -> bool {
        overlay.active_len() >= APPLY_ROWS || overlay.active_bytes() >= APPLY_BYTES
    }

    /// The keeper's thread.
    pub(super) fn keep_up(&self) {
        // Nobody waits for this thread until the journal is full, and then nobody else has anything to do. `None`: itself.
        if let Err(error) = rustix::process::setpriority_process(None, KEEPER_NICE) {
            tracing::debug!(%error, "the store's keeper runs at full priority");
        }
        let mut since_checkpoint: Option<std::time::Instant> = None;
        loop {
            let (stop, urgent) = self.await_work(since_checkpoint);
            if self.troubled.load(Ordering::Acquire) {
                if stop {
                    return;
                }
                self.revive();
                continue;
            }
            let due = since_checkpoint.is_some_and(|at| at.elapsed() >= CHECKPOINT_DELAY);
            match self.work(stop || urgent || due, stop) {
                Ok(true) => since_checkpoint = None,
                Ok(false) => {
                    since_checkpoint.get_or_insert_with(std::time::Instant::now);
                }
                Err(fault) => self.enter_trouble(fault),
            }
            if stop {
                return;
            }
        }
    }

    /// Waits for rows, for the time of a checkpoint, for the end, or for a full disk to be looked at again.
    fn await_work(&self, since_checkpoint: Option<std::time::Instant>) -> (bool, bool) {
        let mut desk = lock(&self.desk);
        let wait = |desk, time| {
            let waited = self.wake.wait_timeout(desk, time);
            waited.unwrap_or_else(PoisonError::into_inner).0
        };
        if desk.trouble.is_some() {
            if !desk.stop {
                desk = wait(desk, REVIVE_EVERY);
            }
        } else {
            while !(desk.pending || desk.urgent || desk.stop) {
                desk = match since_checkpoint {
                    None => self.wake.wait(desk).unwrap_or_else(PoisonError::into_inner),
                    Some(at) => match CHECKPOINT_DELAY.checked_sub(at.elapsed()) {
                        Some(left) => wait(desk, left),
                        None => break,
                    },
                };
            }
            let deadline = std::time::Instant::now() + APPLY_DELAY;
            while desk.pending && !desk.urgent && !desk.stop {
                match deadline.checked_duration_since(std::time::Instant::now()) {
                    Some(left) if !left.is_zero() => desk = wait(desk, left),
                    _ => break,
                }
            }
        }
        desk.pending = false;
        (desk.stop, std::mem::take(&mut desk.urgent))
    }

    /// Moves what waits into sled; whether sled is durable with it.
    fn work(&self, checkpoint: bool, last: bool) -> Result<bool> {
        let mut keep = lock(&self.keep);
        let Some(keep) = keep.as_mut() else {
            return Ok(true);
        };
        self.drain(keep)?;
        if !checkpoint {
            return Ok(keep.checkpointed == keep.meta.generation);
        }
        if keep.checkpointed != keep.meta.generation {
            keep.checkpoint()?;
            self.checkpointed
                .store(keep.checkpointed, Ordering::Release);
            self.room.notify_all();
        }
        keep.write_side(last)?;
        Ok(true)
    }

    /// Moves all rows of the overlay into sled.
    pub(super) fn drain(&self, keep: &mut Keep) -> Result<()> {
        loop {
            let (rows, generation) = {
                let mut overlay = self.overlay.write().unwrap_or_else(PoisonError::into_inner);
                overlay.freeze()
            };
            if rows.is_empty() {
                return Ok(());
            }
            keep.apply(&rows, generation)?;
            let mut overlay = self.overlay.write().unwrap_or_else(PoisonError::into_inner);
            overlay.thaw();
        }
    }

    /// From here on commits are refused with this.
    pub(super) fn enter_trouble(&self, fault: Fault) {
        let passing = fault.what.starts_with("the disk of ");
        tracing::error!(%fault, "the store cannot write");
        if passing {
            ballast::release(&self.dir);
        }
        let mut desk = lock(&self.desk);
        desk.trouble = Some(fault);
        desk.passing = passing;
        self.troubled.store(true, Ordering::Release);
        self.room.notify_all();
    }

    /// After a full disk sled refuses everything until it is opened anew; that is done here when there is room again.
    fn revive(&self) {
        let has_room =
            files::free_bytes(&self.dir).is_ok_and(|free| free >= self.options.free_bytes_min);
        if !lock(&self.desk).passing || !has_room {
            return;
        }
        match self.reopen() {
            Ok(()) => {
                tracing::info!("the store writes again");
                let mut desk = lock(&self.desk);
                desk.trouble = None;
                desk.pending = true;
                self.troubled.store(false, Ordering::Release);
            }
            Err(fault) => self.enter_trouble(fault),
        }
        if let Err(error) = ballast::lay(
            &self.dir,
            self.options.ballast_bytes,
            self.options.free_bytes_min,
        ) {
            tracing::warn!(%error, "no ballast could be laid");
        }
    }

    fn reopen(&self) -> Result<()> {
        let mut slot = lock(&self.keep);
        let journal = lock(&self.journal);
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        *slot = None;
        if let Some(old) = db.take() {
            let since = std::time::Instant::now();
            while Arc::strong_count(&old) > 1 {
                if since.elapsed() > READERS_GONE {
                    *db = Some(old);
                    return Err(super::keep::disk_full(
                        &self.dir,
                        "be opened anew while it is read",
                    ));
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        let mut keep = Keep::open(&self.dir, &self.options, None, false)?;
        let frames = journal
            .frames_after(keep.meta.generation)
            .map_err(|error| {
                Fault::new(Kind::Operator, "cannot read the store's journal").because(&error)
            })?;
        let generation = keep.recover(frames, None)?;
        self.checkpointed
            .store(keep.checkpointed, Ordering::Release);
        *db = Some(Arc::clone(&keep.db));
        *slot = Some(keep);
        let mut overlay = self.overlay.write().unwrap_or_else(PoisonError::into_inner);
        overlay.settle(generation);
        Ok(())
    }
}

/// The store holds what the farm trusts: nobody else may write to it or read it.
fn check_rights(dir: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = match dir.metadata() {
        Ok(metadata) => metadata.permissions().mode(),
        Err(error) => {
            return Err(
                Fault::new(Kind::Operator, format!("cannot look at {}", dir.display()))
                    .because(&error),
            );
        }
    };
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let what = format!(
        "{} is open to others (mode {:o})",
        dir.display(),
        mode & 0o777
    );
    Err(Fault::new(Kind::Operator, what).next(format!("run: chmod 700 {}", dir.display())))
}
