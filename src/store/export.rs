//! Backups: the whole store as one file that does not depend on sled. Magic, a zstd stream of entries as the journal
//! has them (the head row first), and the SHA-256 of all before it.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::journal::write_entry;
use super::keep::{Keep, META_KEY, Meta, read_meta, sled_dir, sled_failed};
use super::overlay::{Entry, Rows};
use super::side::{self, Side};
use super::{DirLock, Options, Store, files};
use crate::fault::{Fault, Kind, Result};
use crate::id::Stamp;

const MAGIC: &[u8; 16] = b"massif export 1\n";
const TRAILER: u64 = 32;
/// Keys are names and numbers.
const KEY_BYTES_MAX: u32 = 4 * 1024;
/// Rows of today end at 8 KiB; the head row grows with the trees.
const VALUE_BYTES_MAX: u32 = 64 * 1024;
/// Rows between two words about how far a backup is.
const TOLD_EVERY: u64 = 256;
/// Rows that a load hands to sled at a time.
const LOAD_ROWS: usize = 4_096;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The file.
    pub file: PathBuf,
    /// The last group of changes in it.
    pub generation: u64,
    /// Rows in all trees.
    pub rows: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Hashes what passes through.
struct Hashing<W> {
    to: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        self.bytes += written as u64;
        Ok(written)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn export_failed(path: &Path, error: &io::Error) -> Fault {
    Fault::new(Kind::Operator, format!("cannot write {}", path.display()))
        .because(error)
        .next("check the rights and the free space of that directory")
}

impl Store {
    /// Writes a backup of everything acknowledged so far, while the store goes on working.
    pub fn backup(&self, file: &Path) -> Result<Summary> {
        self.write_backup(file, None)
    }

    /// The same, and tells on the way how many rows of how many are written.
    pub fn backup_telling(&self, file: &Path, told: &dyn Fn(u64, u64)) -> Result<Summary> {
        self.write_backup(file, Some(told))
    }

    fn write_backup(&self, file: &Path, told: Option<&dyn Fn(u64, u64)>) -> Result<Summary> {
        let mut summary = None;
        let mut refused = None;
        let written = files::write_atomic_with(file, 0o600, |to| {
            let outcome = self.frozen(|keep| write_export(keep, file, to, told));
            match outcome {
                Ok(done) => summary = Some(done),
                Err(fault) => refused = Some(fault),
            }
            // A failed export must not take the place of an older one.
            refused
                .as_ref()
                .map_or(Ok(()), |_| Err(io::Error::other("not exported")))
        });
        if let Some(fault) = refused {
            return Err(fault);
        }
        written.map_err(|error| export_failed(file, &error))?;
        summary.ok_or_else(|| Fault::bug("a backup without a summary"))
    }

    /// Writes an export into `DIR/exports` unless nothing changed since the newest, and removes all but the newest `keep`.
    pub fn export_now(&self, keep: usize, now: Stamp) -> Result<PathBuf> {
        let dir = side::exports_dir(self.dir());
        let failed = |error: io::Error| export_failed(&dir, &error);
        files::make_dir(&dir, 0o700).map_err(failed)?;
        let generation = self.frozen(|keep| Ok(keep.meta.generation))?;
        let suffix = format!("-g{generation}.massif");
        let mut exports = list_exports(&dir).map_err(failed)?;
        if let Some(newest) = exports.last()
            && newest.to_string_lossy().ends_with(&suffix)
        {
            return Ok(newest.clone());
        }
        let moment: String = now
            .to_string()
            .chars()
            .filter(|c| !matches!(c, '-' | ':'))
            .collect();
        let file = dir.join(format!("store-{moment}{suffix}"));
        self.backup(&file)?;
        exports.push(file.clone());
        let over = exports.len().saturating_sub(keep.max(1));
        for old in exports.iter().take(over) {
            std::fs::remove_file(old).map_err(failed)?;
        }
        Ok(file)
    }
}

fn write_export(
    keep: &Keep,
    path: &Path,
    to: &mut File,
    told: Option<&dyn Fn(u64, u64)>,
) -> Result<Summary> {
    let failed = |error: io::Error| export_failed(path, &error);
    let mut out = Hashing {
        to: BufWriter::with_capacity(1 << 18, to),
        hash: Sha256::new(),
        bytes: 0,
    };
    out.write_all(MAGIC).map_err(failed)?;
    let mut packed = zstd::Encoder::new(&mut out, 3).map_err(failed)?;
    let mut frame = Vec::new();
    let mut rows = 0;
    // Counting reads the keys alone, and only for somebody who waits.
    let mut total = 0;
    if told.is_some() {
        keep.each_row(|_, _| {
            total += 1;
            Ok(())
        })?;
    }
    // The head row's key is the smallest, so it comes first by itself.
    keep.each_row(|key, value| {
        frame.clear();
        let entry = (key.to_vec(), Some(value.to_vec()));
        write_entry(&entry, &mut frame);
        rows += 1;
        if let Some(told) = told.filter(|_| rows % TOLD_EVERY == 0) {
            told(rows, total);
        }
        packed.write_all(&frame).map_err(failed)
    })?;
    packed.finish().map_err(failed)?;
    let sum: [u8; 32] = out.hash.clone().finalize().into();
    out.write_all(&sum).map_err(failed)?;
    out.flush().map_err(failed)?;
    Ok(Summary {
        file: path.into(),
        generation: keep.meta.generation,
        rows: u64::saturating_sub(rows, 1),
        bytes: out.bytes,
    })
}

/// The entries of a backup, checked as a whole before the first is given out.
struct Import {
    path: PathBuf,
    entries: zstd::Decoder<'static, BufReader<io::Take<File>>>,
}

impl Import {
    fn open(path: &Path) -> Result<Import> {
        let failed = |error: io::Error| {
            Fault::new(Kind::Operator, format!("cannot read {}", path.display())).because(&error)
        };
        let mut file = File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        let head = MAGIC.len() as u64;
        let mut magic = [0; MAGIC.len()];
        if len < head + TRAILER || file.read_exact(&mut magic).is_err() || &magic != MAGIC {
            return Err(bad(path, "is no backup of a massif store"));
        }
        let mut hash = Sha256::new();
        hash.update(magic);
        let mut body = (&mut file).take(len - head - TRAILER);
        files::hash_all(&mut body, &mut hash).map_err(failed)?;
        let mut sum = [0; TRAILER as usize];
        file.read_exact(&mut sum).map_err(failed)?;
        if hash.finalize().as_slice() != sum {
            return Err(bad(path, "is damaged: its SHA-256 differs"));
        }
        file.seek(SeekFrom::Start(head)).map_err(failed)?;
        let body = BufReader::with_capacity(1 << 18, file.take(len - head - TRAILER));
        Ok(Import {
            path: path.into(),
            entries: zstd::Decoder::with_buffer(body).map_err(failed)?,
        })
    }

    fn next(&mut self) -> Result<Option<Entry>> {
        let Some(len) = self.number(true)? else {
            return Ok(None);
        };
        let key = self.part(len, KEY_BYTES_MAX)?;
        let len = self.number(false)?.unwrap_or(0);
        let value = self.part(len, VALUE_BYTES_MAX)?;
        Ok(Some((key, Some(value))))
    }

    fn number(&mut self, may_end: bool) -> Result<Option<u32>> {
        let mut raw = [0; 4];
        let mut filled = 0;
        while let Some(rest) = raw.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.entries.read(rest) {
                Ok(0) if filled == 0 && may_end => return Ok(None),
                Ok(0) => return Err(bad(&self.path, "ends in the middle of a row")),
                Ok(read) => filled += read,
                Err(error) => return Err(bad(&self.path, "cannot be unpacked").because(&error)),
            }
        }
        Ok(Some(u32::from_le_bytes(raw)))
    }

    fn part(&mut self, len: u32, max: u32) -> Result<Vec<u8>> {
        if len > max {
            return Err(bad(
                &self.path,
                &format!("has a row of {len} bytes, {max} are possible"),
            ));
        }
        let mut bytes = vec![0; len as usize];
        self.entries
            .read_exact(&mut bytes)
            .map_err(|error| bad(&self.path, "ends in the middle of a row").because(&error))?;
        Ok(bytes)
    }
}

fn bad(path: &Path, how: &str) -> Fault {
    Fault::new(Kind::Operator, format!("{} {how}", path.display()))
        .next("take another backup; those of this host are in the `exports` directory of its state")
}

/// Replaces the store of a state directory by a backup. The old one is kept as `DIR/store.old`. No massif may run there.
pub fn restore(dir: &Path, file: &Path) -> Result<Summary> {
    let lock = DirLock::take(dir)?;
    let mut import = Import::open(file)?;
    let head = match import.next()? {
        Some((key, Some(bytes))) if key == META_KEY => read_meta(dir, &bytes)?,
        _ => return Err(bad(file, "has no head row")),
    };
    let meta = replace(&lock, dir, head, || import.next())?;
    Ok(Summary {
        file: file.into(),
        generation: meta.generation,
        rows: meta.rows.values().sum(),
        bytes: file.metadata().map_or(0, |found| found.len()),
    })
}

/// Builds a new store beside the old one and lets it take its place.
pub(super) fn replace(
    _lock: &DirLock,
    dir: &Path,
    head: Meta,
    mut next: impl FnMut() -> Result<Option<Entry>>,
) -> Result<Meta> {
    let failed = |error: io::Error| {
        Fault::new(Kind::Operator, format!("cannot replace the store in {}", dir.display()))
            .because(&error)
            .next("check the rights and the free space of that directory; the old store is untouched or in store.old")
    };
    let staging = dir.join("store.new");
    remove_all(&staging).map_err(failed)?;
    files::make_dir(&staging.join("store"), 0o700).map_err(failed)?;
    files::make_dir(&sled_dir(&staging), 0o700).map_err(failed)?;
    let options = Options::default();
    let mut keep = Keep::create(&staging, &options, head)?;
    loop {
        let mut rows = Rows::new();
        while rows.len() < LOAD_ROWS
            && let Some((key, value)) = next()?
        {
            rows.insert(key, value);
        }
        if rows.is_empty() {
            break;
        }
        let generation = keep.meta.generation;
        keep.apply(&rows, generation)?;
    }
    keep.checkpoint()?;
    let meta = keep.meta.clone();
    drop(keep);
    let text = format!("{}\n", side::hex(&meta.store));
    files::write_atomic(&staging.join("store/head"), text.as_bytes(), 0o600).map_err(failed)?;
    let (now, old) = (dir.join("store"), dir.join("store.old"));
    remove_all(&old).map_err(failed)?;
    match std::fs::rename(&now, &old) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    std::fs::rename(staging.join("store"), &now).map_err(failed)?;
    files::sync_dir(dir).map_err(failed)?;
    remove_all(&staging).map_err(failed)?;
    let side = Side {
        store: side::hex(&meta.store),
        generation: meta.generation,
        rows: meta.rows.clone(),
    };
    side.write(dir).map_err(failed)?;
    Ok(meta)
}

fn remove_all(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The exports in a directory, oldest first.
pub fn list_exports(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.starts_with("store-") && name.ends_with(".massif") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

impl Keep {
    /// All rows, the head row first. Nothing changes sled meanwhile: the caller holds the `Keep`.
    pub(super) fn each_row(&self, mut row: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
        let mut pairs = self.db.iter();
        loop {
            match super::guard::guarded(|| pairs.next()) {
                Ok(None) => return Ok(()),
                Ok(Some(Ok((key, value)))) => row(&key, &value)?,
                Ok(Some(Err(error))) => return Err(sled_failed(self.dir(), "be read", &error)),
                Err(panic) => {
                    let what = format!("is damaged: sled gave up ({panic})");
                    return Err(super::keep::damaged(self.dir(), what));
                }
            }
        }
    }
}
