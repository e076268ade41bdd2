//! Files known by the SHA-256 of their bytes: `DIR/blobs/ab/cdef..`. A blob is whole or not there; it never changes.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::Advice;
use sha2::{Digest as _, Sha256};
use tempfile::TempPath;

use super::files;
use crate::fault::{Fault, Kind, Result};
use crate::id::Digest;
use crate::model::BlobRef;

/// Bytes copied at a time.
const CHUNK: usize = 256 * 1024;
/// The disk begins with a file after so many bytes, so that the sync at its end finds little to do.
const PIECE_BYTES: u64 = 8 << 20;
/// From so many files on, one sync of their file system costs less than one of each file, unless others have much to write.
const SYNC_ALL_FROM: usize = 64;
/// What others may have to write meanwhile.
const OTHERS_DIRTY_BYTES: u64 = 32 << 20;
/// Threads that sync a file each: the file system does what several wait for in one go.
const SYNC_THREADS: usize = 8;

/// What the name of a blob that is on its way begins with; its hash and something random follow.
const PART: &str = "part-";
/// The same when the process that fetched it is gone; its hash follows.
const LEFT: &str = "left-";
/// Nobody asks for it any more after so long.
const LEFT_S: u64 = 2 * 86_400;

/// Removes what an earlier process did not finish, but for what can be gone on with.
fn keep_parts(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
        let hash = name
            .strip_prefix(PART)
            .and_then(|rest| rest.split('-').next());
        match hash {
            Some(hash) => fs::rename(entry.path(), dir.join(format!("{LEFT}{hash}")))?,
            None if name.starts_with(LEFT) && age.as_secs() < LEFT_S => {}
            None if entry.file_type()?.is_dir() => fs::remove_dir_all(entry.path())?,
            None => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

/// The blobs of a state directory; clones share them.
#[derive(Debug, Clone)]
pub struct Blobs {
    root: Arc<PathBuf>,
    /// The directory of unfinished ones, open since the start: a sync of the file system through it tells every failed write since then.
    place: Arc<File>,
}

/// A file that is becoming a blob. Dropped unfinished, it is gone.
pub struct NewBlob {
    /// `None`: it rests.
    file: Option<File>,
    path: TempPath,
    hash: Sha256,
    size: u64,
    /// Bytes that the disk was told to begin with.
    begun: u64,
}

impl Write for NewBlob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = self.file.as_mut().ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "a blob that rests is whole")
        })?;
        let written = file.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        self.size += written as u64;
        if self.size - self.begun >= PIECE_BYTES {
            self.begin_writing();
        }
        Ok(written)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NewBlob {
    fn new(file: File, path: TempPath) -> NewBlob {
        NewBlob {
            file: Some(file),
            path,
            hash: Sha256::new(),
            size: 0,
            begun: 0,
        }
    }

    /// The disk begins to write what came since the last time; nobody waits for it. That these bytes are not wanted soon is how
    /// Linux is told; dirty pages stay readable until they are written.
    fn begin_writing(&mut self) {
        let fresh = std::num::NonZeroU64::new(self.size - self.begun);
        if let Some(file) = &self.file
            && let Err(error) = rustix::fs::fadvise(file, self.begun, fresh, Advice::DontNeed)
        {
            tracing::debug!(%error, "a file is written at its end only");
        }
        self.begun = self.size;
    }

    /// No more bytes come: it holds no open file until it is finished, so that there may be tens of thousands of them.
    pub fn rest(&mut self) {
        if self.size >= PIECE_BYTES {
            self.begin_writing();
        }
        self.file = None;
    }

    fn sync(&self) -> io::Result<()> {
        match &self.file {
            Some(file) => file.sync_data(),
            None => File::open(&self.path)?.sync_data(),
        }
    }

    /// What the bytes written so far are.
    pub fn so_far(&self) -> BlobRef {
        BlobRef {
            sha256: Digest(self.hash.clone().finalize().into()),
            size: self.size,
        }
    }
}

impl Blobs {
    /// The blobs in `DIR/blobs`, which is made if need be. Unfinished ones of an earlier process are removed, but for those
    /// that were on their way from another host: `begin_of` goes on with them.
    pub fn open(dir: &Path) -> Result<Blobs> {
        let root = dir.join("blobs");
        let failed = |error: io::Error| blob_failed(&root, "open", &error);
        files::make_dir(&root, 0o755).map_err(failed)?;
        let unfinished = root.join("new");
        files::make_dir(&unfinished, 0o700).map_err(failed)?;
        keep_parts(&unfinished).map_err(failed)?;
        let place = File::open(&unfinished).map_err(failed)?;
        Ok(Blobs {
            root: Arc::new(root),
            place: Arc::new(place),
        })
    }

    /// Where a blob of that hash lies or would lie.
    pub fn path(&self, sha256: &Digest) -> PathBuf {
        let hex = sha256.to_string();
        let (shard, rest) = hex.split_at(2);
        self.root.join(shard).join(rest)
    }

    /// Whether it is there.
    pub fn contains(&self, sha256: &Digest) -> bool {
        self.path(sha256).exists()
    }

    /// Its size, if it is there.
    pub fn len(&self, sha256: &Digest) -> Result<Option<u64>> {
        let path = self.path(sha256);
        match path.metadata() {
            Ok(found) => Ok(Some(found.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(blob_failed(&path, "look at", &error)),
        }
    }

    /// Its bytes, from the start.
    pub fn file(&self, sha256: &Digest) -> Result<File> {
        let path = self.path(sha256);
        File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Fault::new(Kind::NotFound, format!("there is no blob {sha256}"))
                    .next("run: massif store check")
            }
            _ => blob_failed(&path, "open", &error),
        })
    }

    /// All its bytes; refused when there are more than `bytes_max` or when they are not those of the hash.
    pub fn read(&self, sha256: &Digest, bytes_max: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = self.file(sha256)?;
        file.take(bytes_max.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| blob_failed(&self.path(sha256), "read", &error))?;
        if bytes.len() as u64 > bytes_max {
            let what = format!("blob {sha256} has more than {bytes_max} bytes");
            return Err(Fault::new(Kind::Operator, what));
        }
        if Sha256::digest(&bytes).as_slice() != sha256.0 {
            return Err(Fault::new(
                Kind::Operator,
                format!("blob {sha256} has other bytes than its name says"),
            )
            .next("check the disk; run `massif store check` for all blobs"));
        }
        Ok(bytes)
    }

    /// Reads all of it and compares with its name.
    pub fn verify(&self, sha256: &Digest) -> Result<()> {
        let mut hash = Sha256::new();
        files::hash_all(&mut self.file(sha256)?, &mut hash)
            .map_err(|error| blob_failed(&self.path(sha256), "read", &error))?;
        if hash.finalize().as_slice() == sha256.0 {
            return Ok(());
        }
        let what = format!("blob {sha256} has other bytes than its name says");
        Err(Fault::new(Kind::Operator, what)
            .next("check the disk; remove that file and fetch or build it again"))
    }

    /// Begins a blob; write to it and hand it to `finish`.
    pub fn begin(&self) -> Result<NewBlob> {
        let file = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o644))
            .tempfile_in(self.root.join("new"))
            .map_err(|error| blob_failed(&self.root, "add to", &error))?;
        let (file, path) = file.into_parts();
        Ok(NewBlob::new(file, path))
    }

    /// Begins a blob that another host sends, or goes on where an earlier process was cut off. What is there already is
    /// read once, and may be wrong like all bytes that were never durable: whoever finishes it compares.
    pub fn begin_of(&self, blob: &BlobRef) -> Result<NewBlob> {
        let failed = |error: io::Error| blob_failed(&self.root, "add to", &error);
        let new = self.root.join("new");
        let file = tempfile::Builder::new()
            .prefix(&format!("{PART}{}-", blob.sha256))
            .permissions(fs::Permissions::from_mode(0o644))
            .tempfile_in(&new)
            .map_err(failed)?;
        let left = new.join(format!("{LEFT}{}", blob.sha256));
        // Taken by its name, so that two who fetch the same file do not write into one.
        let (path, mut file) = match fs::rename(&left, file.path()) {
            Ok(()) => {
                let (_, path) = file.into_parts();
                let opened = fs::OpenOptions::new().read(true).write(true).open(&path);
                (path, opened.map_err(failed)?)
            }
            Err(_) => {
                let (file, path) = file.into_parts();
                (path, file)
            }
        };
        let mut hash = Sha256::new();
        files::hash_all(&mut file, &mut hash).map_err(failed)?;
        let mut size = file.metadata().map_err(failed)?.len();
        if size > blob.size {
            file.set_len(0).map_err(failed)?;
            io::Seek::rewind(&mut file).map_err(failed)?;
            (hash, size) = (Sha256::new(), 0);
        }
        Ok(NewBlob {
            hash,
            size,
            begun: size,
            ..NewBlob::new(file, path)
        })
    }

    /// Makes it durable under its hash. `expected` is compared first: other bytes are refused and leave nothing.
    pub fn finish(&self, new: NewBlob, expected: Option<&BlobRef>) -> Result<BlobRef> {
        let found = new.so_far();
        self.finish_many(vec![(new, expected.copied())])?;
        Ok(found)
    }

    /// Makes many durable with one pass of syncs; all of them are refused when one is not what was expected.
    pub fn finish_many(&self, many: Vec<(NewBlob, Option<BlobRef>)>) -> Result<Vec<BlobRef>> {
        for (new, expected) in &many {
            let found = new.so_far();
            if let Some(expected) = expected
                && *expected != found
            {
                let what = format!(
                    "got {} bytes with SHA-256 {}, expected {} bytes with {}",
                    found.size, found.sha256, expected.size, expected.sha256
                );
                return Err(Fault::new(Kind::Conflict, what));
            }
        }
        let failed = |error: io::Error| blob_failed(&self.root, "add to", &error);
        // Every file first, so that the disk can take them together, then every directory once.
        self.sync(&many).map_err(failed)?;
        let mut dirs = std::collections::BTreeSet::new();
        let mut found = Vec::with_capacity(many.len());
        for (new, _) in many {
            let blob = new.so_far();
            let path = self.path(&blob.sha256);
            let dir = files::parent(&path).to_path_buf();
            if !dir.exists() {
                files::make_dir(&dir, 0o755).map_err(failed)?;
                dirs.insert(self.root.to_path_buf());
            }
            new.path
                .persist(&path)
                .map_err(|error| failed(error.error))?;
            dirs.insert(dir);
            found.push(blob);
        }
        dirs.iter()
            .rev()
            .try_for_each(|dir| files::sync_dir(dir))
            .map_err(failed)?;
        Ok(found)
    }

    fn sync(&self, many: &[(NewBlob, Option<BlobRef>)]) -> io::Result<()> {
        if many.len() < SYNC_ALL_FROM {
            return many.iter().try_for_each(|(new, _)| new.sync());
        }
        // Each also has a page that is not full, and an inode.
        let own: u64 = many.iter().map(|(new, _)| new.size + 8_192).sum();
        if files::dirty_bytes().is_some_and(|dirty| dirty <= own + OTHERS_DIRTY_BYTES) {
            return Ok(rustix::fs::syncfs(&*self.place)?);
        }
        std::thread::scope(|scope| {
            let parts = many.chunks(many.len().div_ceil(SYNC_THREADS));
            let sync = |part: &[(NewBlob, _)]| part.iter().try_for_each(|(new, _)| new.sync());
            let threads: Vec<_> = parts.map(|part| scope.spawn(move || sync(part))).collect();
            let broke = |_| Err(io::Error::other("syncing files broke off"));
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().unwrap_or_else(broke))
        })
    }

    /// Copies from a reader, at most `bytes_max`.
    pub fn put(
        &self,
        from: &mut dyn Read,
        bytes_max: u64,
        expected: Option<&BlobRef>,
    ) -> Result<BlobRef> {
        let new = self.copy(from, bytes_max)?;
        self.finish(new, expected)
    }

    /// Adds bytes in memory.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<BlobRef> {
        self.put(&mut &*bytes, bytes.len() as u64, None)
    }

    /// Adds many files with one pass of syncs.
    pub fn put_many(&self, paths: &[PathBuf], bytes_max: u64) -> Result<Vec<BlobRef>> {
        let mut many = Vec::with_capacity(paths.len());
        for path in paths {
            let mut file = File::open(path).map_err(|error| blob_failed(path, "open", &error))?;
            let mut new = self.copy(&mut file, bytes_max)?;
            new.rest();
            many.push((new, None));
        }
        self.finish_many(many)
    }

    fn copy(&self, from: &mut dyn Read, bytes_max: u64) -> Result<NewBlob> {
        let failed = |error: &io::Error| blob_failed(&self.root, "add to", error);
        let mut new = self.begin()?;
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = match from.read(&mut chunk) {
                Ok(0) => return Ok(new),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(&error)),
            };
            if new.size + read as u64 > bytes_max {
                return Err(Fault::new(
                    Kind::Conflict,
                    format!("a blob has more than {bytes_max} bytes"),
                ));
            }
            let bytes = chunk.get(..read).unwrap_or_default();
            new.write_all(bytes).map_err(|error| failed(&error))?;
        }
    }

    /// Gives the blob a second name, as a hard link where possible, else as a copy. An existing file is replaced at once.
    pub fn link_to(&self, sha256: &Digest, path: &Path) -> Result<()> {
        let from = self.path(sha256);
        let failed = |error: io::Error| blob_failed(path, "make", &error);
        let dir = files::parent(path);
        fs::create_dir_all(dir).map_err(failed)?;
        let linked = tempfile::Builder::new()
            .prefix(".new-")
            .make_in(dir, |name| fs::hard_link(&from, name));
        let temporary = match linked {
            Ok(linked) => linked.into_temp_path(),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !from.exists() => {
                return Err(
                    Fault::new(Kind::NotFound, format!("there is no blob {sha256}"))
                        .next("run: massif store check"),
                );
            }
            // Another file system, or too many links.
            Err(_) => {
                let mut copy = tempfile::Builder::new()
                    .prefix(".new-")
                    .permissions(fs::Permissions::from_mode(0o644))
                    .tempfile_in(dir)
                    .map_err(failed)?;
                io::copy(&mut self.file(sha256)?, copy.as_file_mut()).map_err(failed)?;
                copy.as_file().sync_all().map_err(failed)?;
                copy.into_temp_path()
            }
        };
        // Renaming one name of a file onto another of the same file does nothing and leaves both; the temporary one
        // goes when it is dropped.
        fs::rename(&temporary, path).map_err(failed)
    }

    /// Removes it; nothing when it is not there.
    pub fn remove(&self, sha256: &Digest) -> Result<()> {
        let path = self.path(sha256);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(blob_failed(&path, "remove", &error))
            }
            _ => Ok(()),
        }
    }

    /// All blobs, in the order of their hashes.
    pub fn all(&self) -> Result<Vec<BlobRef>> {
        let failed = |error: io::Error| blob_failed(&self.root, "list", &error);
        let mut found = Vec::new();
        for shard in fs::read_dir(self.root.as_path()).map_err(failed)? {
            let shard = shard.map_err(failed)?.path();
            let Some(head) = shard.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            if head.len() != 2 {
                continue;
            }
            for file in fs::read_dir(&shard).map_err(failed)? {
                let file = file.map_err(failed)?;
                let name = file.file_name();
                let Some(Ok(sha256)) = name.to_str().map(|rest| format!("{head}{rest}").parse())
                else {
                    continue;
                };
                let size = file.metadata().map_err(failed)?.len();
                found.push(BlobRef { sha256, size });
            }
        }
        found.sort();
        Ok(found)
    }
}

fn blob_failed(path: &Path, doing: &str, error: &io::Error) -> Fault {
    let fault =
        Fault::new(Kind::Operator, format!("cannot {doing} {}", path.display())).because(error);
    match error.kind() {
        io::ErrorKind::StorageFull => {
            fault.next("free space on that disk; the step is tried again")
        }
        io::ErrorKind::PermissionDenied => {
            fault.next("mend the owner and rights of that directory")
        }
        _ => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    #[test]
    fn a_blob_that_was_on_its_way_goes_on_in_the_next_process_and_only_there() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path()).unwrap();
        let blob = BlobRef {
            sha256: digest(b"hello world"),
            size: 11,
        };
        let mut cut = blobs.begin_of(&blob).unwrap();
        cut.write_all(b"hello ").unwrap();
        assert_eq!(blobs.begin_of(&blob).unwrap().so_far().size, 0);
        // A process that is killed drops nothing.
        std::mem::forget(cut);
        let blobs = Blobs::open(dir.path()).unwrap();
        let mut more = blobs.begin_of(&blob).unwrap();
        assert_eq!(
            (more.so_far().size, more.so_far().sha256),
            (6, digest(b"hello "))
        );
        more.write_all(b"world").unwrap();
        assert_eq!(blobs.finish(more, Some(&blob)).unwrap(), blob);
        assert_eq!(blobs.read(&blob.sha256, 11).unwrap(), b"hello world");
        // What is longer than it may be is of no use.
        let mut long = blobs.begin_of(&blob).unwrap();
        long.write_all(&[0; 12]).unwrap();
        std::mem::forget(long);
        let blobs = Blobs::open(dir.path()).unwrap();
        assert_eq!(blobs.begin_of(&blob).unwrap().so_far().size, 0);
        assert_eq!(
            std::fs::read_dir(dir.path().join("blobs/new"))
                .unwrap()
                .count(),
            0
        );
    }

    #[test]
    fn a_blob_is_found_under_its_hash_and_linked_wherever_it_is_served() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path()).unwrap();
        let put = blobs.put_bytes(b"hello").unwrap();
        assert_eq!(put.sha256, digest(b"hello"));
        assert_eq!(blobs.put_bytes(b"hello").unwrap(), put);
        assert_eq!(blobs.len(&put.sha256).unwrap(), Some(5));
        assert_eq!(blobs.all().unwrap(), [put]);
        let served = dir.path().join("public/pool/h.stone");
        blobs.link_to(&put.sha256, &served).unwrap();
        blobs.link_to(&put.sha256, &served).unwrap();
        assert_eq!(fs::read(&served).unwrap(), b"hello");
        assert_eq!(fs::read_dir(served.parent().unwrap()).unwrap().count(), 1);
        blobs.remove(&put.sha256).unwrap();
        blobs.remove(&put.sha256).unwrap();
        assert!(!blobs.contains(&put.sha256));
        assert_eq!(blobs.read(&put.sha256, 9).unwrap_err().kind, Kind::NotFound);
        assert_eq!(
            blobs.link_to(&put.sha256, &served).unwrap_err().kind,
            Kind::NotFound
        );
    }

    #[test]
    fn other_bytes_than_expected_leave_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path()).unwrap();
        let expected = BlobRef {
            sha256: digest(b"right"),
            size: 5,
        };
        let mut good = blobs.begin().unwrap();
        good.write_all(b"right").unwrap();
        let mut bad = blobs.begin().unwrap();
        bad.write_all(b"wrong").unwrap();
        let many = vec![(good, Some(expected)), (bad, Some(expected))];
        assert!(blobs.finish_many(many).is_err());
        assert!(blobs.all().unwrap().is_empty());
        assert_eq!(
            fs::read_dir(dir.path().join("blobs/new")).unwrap().count(),
            0
        );
        assert!(blobs.put(&mut &b"123456"[..], 5, None).is_err());
        assert!(blobs.put(&mut &b"12345"[..], 5, None).is_ok());
    }

    #[test]
    fn a_damaged_blob_is_not_read_as_if_it_were_whole() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path()).unwrap();
        let put = blobs.put_bytes(b"hello").unwrap();
        fs::write(blobs.path(&put.sha256), b"hellu").unwrap();
        assert!(
            blobs
                .read(&put.sha256, 9)
                .unwrap_err()
                .what
                .contains("other bytes")
        );
    }
}
