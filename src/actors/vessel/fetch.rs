//! Brings artefacts into the store of blobs: hashed as they arrive, resumed where a link broke, durable at the end.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::Source;
use crate::fault::{Fault, Kind, Result};
use crate::id::Digest;
use crate::limit;
use crate::model::{Artefact, BlobRef};
use crate::store::{Blobs, NewBlob};

const COPY_BYTES: usize = 256 * 1024;
/// How often a broken transfer of one file is taken up again before the offer fails for now.
const RESUMES_MAX: u32 = 5;

/// How long nothing of a file may come while the link to its builder stands: two stalls.
const STANDSTILL: Duration = Duration::from_secs(2 * limit::TRANSFER_STALL_S - 1);

/// SHA-256 and size of what a file holds from here on.
pub fn hash_file(mut file: File) -> io::Result<BlobRef> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; COPY_BYTES];
    let mut size = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(got) => {
                hash.update(buffer.get(..got).unwrap_or_default());
                size += got as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let sha256 = Digest(hash.finalize().into());
    Ok(BlobRef { sha256, size })
}

impl Source {
    /// The bytes of a file from this offset on.
    fn open(&self, artefact: &Artefact, offset: u64) -> io::Result<Box<dyn Read>> {
        match self {
            Source::Link(link) => link.open(artefact, offset),
            Source::Local(dir) => {
                let mut file = File::open(dir.join(&artefact.name))?;
                file.seek(SeekFrom::Start(offset))?;
                Ok(Box::new(file))
            }
        }
    }
}

/// A name that stays in its directory.
fn check_name(artefact: &Artefact) -> Result<()> {
    let name = &artefact.name;
    let is_plain = Path::new(name)
        .file_name()
        .is_some_and(|n| n == name.as_str());
    if is_plain && !name.contains('\0') && name.len() <= 255 {
        return Ok(());
    }
    Err(Fault::new(
        Kind::Builder,
        format!("an artefact is called {name:?}"),
    ))
}

/// Makes every artefact a blob. Those that are blobs already are not read again.
pub fn fetch(blobs: &Blobs, from: &Source, artefacts: &[Artefact]) -> Result<()> {
    let mut wanted: Vec<&Artefact> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for artefact in artefacts {
        check_name(artefact)?;
        if artefact.blob.size > limit::STONE_FILE_BYTES_MAX {
            return Err(Fault::new(
                Kind::Recipe,
                format!("{} has {} bytes", artefact.name, artefact.blob.size),
            )
            .next("split the package"));
        }
        if blobs.len(&artefact.blob.sha256)? == Some(artefact.blob.size)
            || !seen.insert(artefact.blob)
        {
            continue;
        }
        wanted.push(artefact);
    }
    let arrived = match from {
        Source::Local(_) => fetch_some(blobs, from, &wanted)?,
        Source::Link(_) => fetch_side_by_side(blobs, from, &wanted)?,
    };
    blobs.finish_many(arrived)?;
    Ok(())
}

/// The same, but every file is read, also one whose hash is known here: who only knows a hash has built nothing.
pub fn fetch_anew(blobs: &Blobs, from: &Source, artefacts: &[Artefact]) -> Result<()> {
    artefacts.iter().try_for_each(check_name)?;
    let wanted: Vec<&Artefact> = artefacts.iter().collect();
    let arrived = match from {
        Source::Local(_) => fetch_some(blobs, from, &wanted)?,
        Source::Link(_) => fetch_side_by_side(blobs, from, &wanted)?,
    };
    blobs.finish_many(arrived)?;
    Ok(())
}

type Arrived = Vec<(NewBlob, Option<BlobRef>)>;

fn fetch_some(blobs: &Blobs, from: &Source, wanted: &[&Artefact]) -> Result<Arrived> {
    let fetched = wanted
        .iter()
        .map(|artefact| Ok((fetch_one(blobs, from, artefact)?, Some(artefact.blob))));
    fetched.collect()
}

/// Several files at a time, so that small ones do not wait for a round trip each.
fn fetch_side_by_side(blobs: &Blobs, from: &Source, wanted: &[&Artefact]) -> Result<Arrived> {
    let threads = limit::LINK_FETCHES_MAX.min(wanted.len()).max(1);
    let next = std::sync::atomic::AtomicUsize::new(0);
    let parts: Vec<Result<Arrived>> = std::thread::scope(|scope| {
        let work = || {
            let mut mine = Vec::new();
            loop {
                let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let Some(artefact) = wanted.get(at) else {
                    return Ok(mine);
                };
                mine.push((fetch_one(blobs, from, artefact)?, Some(artefact.blob)));
            }
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ended = running.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(Fault::bug("fetching a file broke off")))
        });
        ended.collect()
    });
    let mut all = Vec::with_capacity(wanted.len());
    for part in parts {
        all.extend(part?);
    }
    Ok(all)
}

fn fetch_one(blobs: &Blobs, from: &Source, artefact: &Artefact) -> Result<NewBlob> {
    let mut new = match from {
        Source::Link(_) => blobs.begin_of(&artefact.blob)?,
        Source::Local(_) => blobs.begin()?,
    };
    let mut left = new.so_far().size;
    if left > 0 {
        tracing::info!("{} goes on at byte {left}", artefact.name);
    }
    let mut resumes = 0;
    let mut moved = Instant::now();
    loop {
        match copy(from, artefact, &mut new, &mut moved) {
            Ok(()) if left > 0 && new.so_far() != artefact.blob => {
                // What an earlier process left was wrong; that is nobody's lie.
                (new, left) = (blobs.begin()?, 0);
            }
            Ok(()) => break,
            Err(Broken::Read(error))
                if error.kind() == io::ErrorKind::TimedOut && moved.elapsed() >= STANDSTILL =>
            {
                // Its link stands, or this would be another error: it is told apart from a builder that is away for hours.
                return Err(Fault::new(
                    Kind::Builder,
                    format!(
                        "nothing of {} came for {} s, after {} of its {} bytes",
                        artefact.name,
                        moved.elapsed().as_secs(),
                        new.so_far().size,
                        artefact.blob.size
                    ),
                ));
            }
            Err(Broken::Read(error))
                if resumes < RESUMES_MAX && error.kind() != io::ErrorKind::NotFound =>
            {
                resumes += 1;
                if error.kind() != io::ErrorKind::TimedOut {
                    moved = Instant::now();
                }
                tracing::info!("{} resumed: {error}", artefact.name);
            }
            Err(Broken::Read(error)) => return Err(unfetched(artefact, &error)),
            Err(Broken::Write(error)) => {
                return Err(
                    Fault::new(Kind::Operator, format!("cannot keep {}", artefact.name))
                        .because(&error)
                        .next("free space on the disk of the state directory; it is tried again"),
                );
            }
        }
    }
    let found = new.so_far();
    if found != artefact.blob {
        return Err(Fault::new(
            Kind::Builder,
            format!(
                "{} has {} bytes with SHA-256 {}, reported were {} with {}",
                artefact.name, found.size, found.sha256, artefact.blob.size, artefact.blob.sha256
            ),
        ));
    }
    new.rest();
    Ok(new)
}

fn unfetched(artefact: &Artefact, error: &io::Error) -> Fault {
    let kind = match error.kind() {
        // The builder says that it has what it has not.
        io::ErrorKind::NotFound => Kind::Builder,
        _ => Kind::Network,
    };
    Fault::new(kind, format!("cannot fetch {}", artefact.name)).because(error)
}

/// Which side of a copy failed.
enum Broken {
    Read(io::Error),
    Write(io::Error),
}

/// Copies from where `new` stands to the end, and no byte more than was reported and one.
fn copy(
    from: &Source,
    artefact: &Artefact,
    new: &mut NewBlob,
    moved: &mut Instant,
) -> std::result::Result<(), Broken> {
    let offset = new.so_far().size;
    let left = (artefact.blob.size + 1).saturating_sub(offset);
    let mut from = from
        .open(artefact, offset)
        .map_err(Broken::Read)?
        .take(left);
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(got) => {
                let bytes = buffer.get(..got).unwrap_or_default();
                new.write_all(bytes).map_err(Broken::Write)?;
                *moved = Instant::now();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Broken::Read(error)),
        }
    }
}

/// Makes files of this machine blobs, for `package import`.
pub fn take(blobs: &Blobs, files: &[PathBuf]) -> Result<Vec<BlobRef>> {
    files.iter().try_for_each(|file| check_package_file(file))?;
    blobs.put_many(files, limit::STONE_FILE_BYTES_MAX)
}

/// Whether this can be a package file at all.
pub fn check_package_file(file: &Path) -> Result<()> {
    let there = std::fs::metadata(file).map_err(|error| {
        Fault::new(Kind::Operator, format!("cannot read {}", file.display()))
            .because(&error)
            .next("name a package file that this user may read")
    })?;
    if !there.is_file() || there.len() > limit::STONE_FILE_BYTES_MAX {
        return Err(Fault::new(
            Kind::Operator,
            format!("{} is no package file", file.display()),
        )
        .next("name .stone files"));
    }
    Ok(())
}
