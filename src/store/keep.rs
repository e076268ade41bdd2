//! Sled's side of the store: opening it with suspicion, moving rows from the journal into it, checkpoints.
//! Whoever holds the `Keep` is the only one who changes sled.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::guard::guarded;
use super::journal::Frame;
use super::overlay::Rows;
use super::side::{Counts, Side, hex, restore_offer};
use super::{Options, files};
use crate::fault::{Fault, Kind, Result};

/// The one row that is in no tree: what sled has. A tree's name is never empty, so no key of a tree begins with 0.
pub(super) const META_KEY: &[u8] = b"\0meta";
const META_SHAPE: u8 = 1;
/// Time between two writes of the side file while the store is busy.
const SIDE_EVERY: Duration = Duration::from_secs(5);
/// How long sled's own lock may outlive its database: a thread of sled's that drops it later than the database was dropped.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// The meta row, written in one batch after the rows that it counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    /// The store's id.
    pub store: [u8; 16],
    /// All groups up to here are in sled.
    pub generation: u64,
    /// Rows per tree.
    pub rows: Counts,
}

/// Sled and what we know of it.
pub(super) struct Keep {
    dir: PathBuf,
    pub db: Arc<sled::Db>,
    /// Sled's file, for our own `fdatasync`.
    file: File,
    pub meta: Meta,
    /// The generation that is durable in sled.
    pub checkpointed: u64,
    side_written: Option<Instant>,
    /// What the side file says; `None`: there is none.
    side_generation: Option<u64>,
}

/// Where sled's files are.
pub(super) fn sled_dir(dir: &Path) -> PathBuf {
    dir.join("store").join("sled")
}

/// A damaged or lost store: never silent, always with the way back.
pub(super) fn damaged(dir: &Path, what: impl Into<String>) -> Fault {
    Fault::new(
        Kind::Operator,
        format!(
            "the store in {} {}",
            dir.join("store").display(),
            what.into()
        ),
    )
    .next(restore_offer(dir))
}

pub(super) fn is_full(error: &sled::Error) -> bool {
    // Sled rebuilds its errors and loses the code, keeping the kind.
    matches!(error, sled::Error::Io(io) if io.kind() == std::io::ErrorKind::StorageFull)
}

/// What sled said, as a fault of the operator's disk or of damage.
pub(super) fn sled_failed(dir: &Path, doing: &str, error: &sled::Error) -> Fault {
    if is_full(error) {
        return disk_full(dir, doing);
    }
    match error {
        sled::Error::Io(_) => Fault::new(
            Kind::Operator,
            format!(
                "the store in {} cannot {doing}",
                dir.join("store").display()
            ),
        )
        .because(error)
        .next("check the disk (dmesg) and the rights of the directory, then start again"),
        sled::Error::Corruption { .. }
        | sled::Error::CollectionNotFound(_)
        | sled::Error::Unsupported(_)
        | sled::Error::ReportableBug(_) => {
            damaged(dir, format!("is damaged: it cannot {doing}")).because(error)
        }
    }
}

/// No room; everything acknowledged stays.
pub(super) fn disk_full(dir: &Path, doing: &str) -> Fault {
    let free = match files::free_bytes(dir) {
        Ok(bytes) => format!("{} MiB free", bytes >> 20),
        Err(_) => "an unknown number of bytes free".into(),
    };
    Fault::new(
        Kind::Operator,
        format!(
            "the disk of {} is full ({free}): the store cannot {doing}",
            dir.display()
        ),
    )
    .next("free space there; the store goes on by itself, nothing acknowledged is lost")
}

/// Removes sled's snapshots: all, or those whose writing was cut short, which sled would take for the newest and call
/// corrupt. Without a snapshot sled reads its log from the start; what is missing then, the counts tell.
fn remove_snapshots(dir: &Path, all: bool) -> std::io::Result<()> {
    for entry in std::fs::read_dir(sled_dir(dir))? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && (all || name.ends_with(".generating")) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn open_sled(dir: &Path, options: &Options) -> Result<std::result::Result<sled::Db, sled::Error>> {
    let unfinished =
        |error: std::io::Error| damaged(dir, "has snapshots that cannot be tidied").because(&error);
    remove_snapshots(dir, false).map_err(unfinished)?;
    match try_open_sled(dir, options) {
        Ok(Err(sled::Error::Corruption { .. })) => {
            tracing::warn!("sled calls its snapshot corrupt; reading its log from the start");
            remove_snapshots(dir, true).map_err(unfinished)?;
            try_open_sled(dir, options)
        }
        other => other,
    }
}

fn try_open_sled(
    dir: &Path,
    options: &Options,
) -> Result<std::result::Result<sled::Db, sled::Error>> {
    let config = sled::Config::new()
        .path(sled_dir(dir))
        .cache_capacity(options.cache_bytes)
        // Sled collects its garbage in this thread only, and syncs its file each time, also when nothing changed. Durability
        // does not hang on it: the journal has that.
        .flush_every_ms(Some(5_000));
    let asked = Instant::now();
    loop {
        let opened = guarded(|| config.open())
            .map_err(|panic| damaged(dir, format!("is damaged: sled gave up ({panic})")))?;
        match opened {
            // The directory is locked, so this is nobody but a process or thread of ours that is not quite gone.
            Err(error) if is_locked(&error) && asked.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => return Ok(opened),
        }
    }
}

/// Whether sled found its file locked: sled 0.34 has no kind of its own for that.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().contains("could not acquire lock"))
}

/// The head row that these bytes are.
pub(super) fn read_meta(dir: &Path, bytes: &[u8]) -> Result<Meta> {
    match bytes.split_first() {
        Some((&META_SHAPE, body)) => postcard::from_bytes(body)
            .map_err(|error| damaged(dir, "has an unreadable head row").because(&error)),
        Some((shape, _)) => Err(Fault::new(
            Kind::Operator,
            format!(
                "the store in {} has layout {shape}, this massif knows {META_SHAPE}",
                dir.display()
            ),
        )
        .next("start the version of massif that wrote it, dump there, load here")),
        None => Err(damaged(dir, "has an empty head row")),
    }
}

impl Keep {
    /// Opens sled and compares it with the side file. `frames`: what the journal of that store holds beyond a generation.
    pub(super) fn open(
        dir: &Path,
        options: &Options,
        side: Option<&Side>,
        fresh: bool,
    ) -> Result<Keep> {
        let path = sled_dir(dir);
        if !fresh && !path.join("db").exists() {
            return Err(damaged(dir, "has lost its database file"));
        }
        let db = match open_sled(dir, options)? {
            Ok(db) => db,
            Err(error) if is_full(&error) && super::ballast::release(dir) => {
                open_sled(dir, options)?.map_err(|error| sled_failed(dir, "be opened", &error))?
            }
            Err(error) => return Err(sled_failed(dir, "be opened", &error)),
        };
        let file = File::open(path.join("db"))
            .map_err(|error| damaged(dir, "has lost its database file").because(&error))?;
        let stored = match guarded(|| db.get(META_KEY)) {
            Ok(Ok(stored)) => stored,
            Ok(Err(error)) => return Err(sled_failed(dir, "be read", &error)),
            Err(panic) => return Err(damaged(dir, format!("is damaged: sled gave up ({panic})"))),
        };
        let meta = match stored {
            Some(bytes) => read_meta(dir, &bytes)?,
            None if fresh => Meta {
                store: super::side::new_store_id(),
                generation: 0,
                rows: Counts::new(),
            },
            None => return Err(damaged(dir, "opened empty although it held rows")),
        };
        if let Some(side) = side
            && side.store != hex(&meta.store)
        {
            return Err(damaged(dir, "is another store than the one that was here"));
        }
        let mut keep = Keep {
            dir: dir.into(),
            db: Arc::new(db),
            file,
            checkpointed: meta.generation,
            meta,
            side_written: None,
            side_generation: side.map(|side| side.generation),
        };
        if fresh {
            keep.write_meta().and_then(|()| keep.checkpoint())?;
            keep.write_side(true)?;
        }
        Ok(keep)
    }

    /// A new, empty database below `dir` with this head.
    pub(super) fn create(dir: &Path, options: &Options, meta: Meta) -> Result<Keep> {
        let db = open_sled(dir, options)?.map_err(|error| sled_failed(dir, "be made", &error))?;
        let file = File::open(sled_dir(dir).join("db"))
            .map_err(|error| damaged(dir, "has lost its database file").because(&error))?;
        let mut keep = Keep {
            dir: dir.into(),
            db: Arc::new(db),
            file,
            checkpointed: 0,
            meta: Meta {
                rows: Counts::new(),
                ..meta
            },
            side_written: None,
            side_generation: None,
        };
        keep.write_meta()?;
        Ok(keep)
    }

    /// The state directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Counts the rows by reading every page: damage is found at the start and not in the middle of a build.
    pub(super) fn count(&self) -> Result<Counts> {
        let counted = guarded(|| {
            let mut counts = Counts::new();
            let mut tree: Vec<u8> = Vec::new();
            let mut rows = 0;
            for key in self.db.iter().keys() {
                let key = key?;
                if key.first() == Some(&0) {
                    continue;
                }
                let name = key.split(|byte| *byte == 0).next().unwrap_or_default();
                if name != tree.as_slice() {
                    note(&mut counts, &tree, rows);
                    tree = name.to_vec();
                    rows = 0;
                }
                rows += 1;
            }
            note(&mut counts, &tree, rows);
            Ok::<_, sled::Error>(counts)
        });
        match counted {
            Ok(Ok(counts)) => Ok(counts),
            Ok(Err(error)) => Err(sled_failed(&self.dir, "be read", &error)),
            Err(panic) => Err(damaged(
                &self.dir,
                format!("is damaged: sled gave up ({panic})"),
            )),
        }
    }

    /// Brings sled up to the journal and checks it against what was remembered. Returns the store's generation.
    pub(super) fn recover(&mut self, frames: Vec<Frame>, side: Option<&Side>) -> Result<u64> {
        let mut last = self.meta.generation;
        for frame in &frames {
            if frame.generation != last + 1 {
                let what = format!(
                    "has lost change {} of its journal (changes up to {} are there)",
                    last + 1,
                    frames.last().map_or(last, |frame| frame.generation)
                );
                return Err(damaged(&self.dir, what));
            }
            last = frame.generation;
        }
        if let Some(side) = side
            && side.generation > last
        {
            let what = format!(
                "is older than it was: it has changes up to {last}, {} were durable",
                side.generation
            );
            return Err(damaged(&self.dir, what));
        }
        let counts = self.count()?;
        if frames.is_empty() {
            self.compare(&counts)?;
            return Ok(last);
        }
        // Rows of the first frames may have reached sled before the stop, so its counts are taken and not compared.
        self.meta.rows = counts;
        for frame in frames {
            let rows: Rows = frame.entries.into_iter().collect();
            self.apply(&rows, frame.generation)?;
        }
        self.checkpoint()?;
        Ok(last)
    }

    fn compare(&self, counts: &Counts) -> Result<()> {
        let wanted = self.meta.rows.iter().filter(|(_, rows)| **rows > 0);
        for (tree, rows) in wanted {
            let found = counts.get(tree).copied().unwrap_or(0);
            if found != *rows {
                let what = format!("has {found} rows of {tree}, it had {rows}");
                return Err(damaged(&self.dir, what));
            }
        }
        Ok(())
    }

    /// Moves rows into sled and then says so in the meta row. Repeating it is harmless.
    pub(super) fn apply(&mut self, rows: &Rows, generation: u64) -> Result<()> {
        for (key, value) in rows {
            let changed = guarded(|| match value {
                Some(value) => self
                    .db
                    .insert(key, value.as_slice())
                    .map(|old| i64::from(old.is_none())),
                None => self.db.remove(key).map(|old| -i64::from(old.is_some())),
            });
            let by = match changed {
                Ok(Ok(by)) => by,
                Ok(Err(error)) => return Err(sled_failed(&self.dir, "be written", &error)),
                Err(panic) => {
                    return Err(damaged(
                        &self.dir,
                        format!("is damaged: sled gave up ({panic})"),
                    ));
                }
            };
            if by != 0 {
                let name = key.split(|byte| *byte == 0).next().unwrap_or_default();
                let rows = self
                    .meta
                    .rows
                    .entry(String::from_utf8_lossy(name).into_owned())
                    .or_default();
                *rows = rows.saturating_add_signed(by);
            }
        }
        self.meta.generation = generation;
        self.write_meta()
    }

    fn write_meta(&mut self) -> Result<()> {
        let bytes = postcard::to_extend(&self.meta, vec![META_SHAPE]).map_err(|error| {
            Fault::bug("the store's head row has no stored form").because(&error)
        })?;
        match guarded(|| self.db.insert(META_KEY, bytes)) {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(sled_failed(&self.dir, "be written", &error)),
            Err(panic) => Err(damaged(
                &self.dir,
                format!("is damaged: sled gave up ({panic})"),
            )),
        }
    }

    /// Makes all that sled was given durable.
    pub(super) fn checkpoint(&mut self) -> Result<()> {
        match guarded(|| self.db.flush()) {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(sled_failed(&self.dir, "be flushed", &error)),
            Err(panic) => {
                return Err(damaged(
                    &self.dir,
                    format!("is damaged: sled gave up ({panic})"),
                ));
            }
        }
        self.file.sync_data().map_err(|error| {
            Fault::new(Kind::Operator, "the disk refused to make the store durable")
                .because(&error)
                .next("check the disk (dmesg), then start again")
        })?;
        self.checkpointed = self.meta.generation;
        Ok(())
    }

    /// Writes the side file if it is behind; while the store is busy not more often than every few seconds.
    pub(super) fn write_side(&mut self, now: bool) -> Result<()> {
        let current = self.side_generation == Some(self.checkpointed);
        let soon = self
            .side_written
            .is_some_and(|at| at.elapsed() < SIDE_EVERY);
        if current || (soon && !now) || self.checkpointed != self.meta.generation {
            return Ok(());
        }
        let side = Side {
            store: hex(&self.meta.store),
            generation: self.meta.generation,
            rows: self.meta.rows.clone(),
        };
        side.write(&self.dir).map_err(|error| match error.kind() {
            std::io::ErrorKind::StorageFull => disk_full(&self.dir, "write its side file"),
            _ => Fault::new(Kind::Operator, "cannot write the store's side file").because(&error),
        })?;
        self.side_written = Some(Instant::now());
        self.side_generation = Some(self.meta.generation);
        Ok(())
    }
}

fn note(counts: &mut Counts, tree: &[u8], rows: u64) {
    if rows > 0 {
        counts.insert(String::from_utf8_lossy(tree).into_owned(), rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_row_is_frozen() {
        let meta = Meta {
            store: [7; 16],
            generation: 300,
            rows: Counts::from([("job".into(), 2)]),
        };
        let bytes = postcard::to_extend(&meta, vec![META_SHAPE]).unwrap();
        let mut wanted = vec![1];
        wanted.extend([7; 16]);
        wanted.extend([0xac, 2, 1, 3, b'j', b'o', b'b', 2]);
        assert_eq!(bytes, wanted);
    }
}
