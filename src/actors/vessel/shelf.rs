//! The files under `public/`: derived from the rows, written so that a client never sees half of anything, and put right
//! from the rows at any time. Only vessel writes there.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use crate::actors::kill_point;
use crate::channel::{ChannelState, IndexFile, PackageMap, PublishedPackage, VOLATILE, Version};
use crate::fault::{Fault, Kind, Result};
use crate::id::{Arch, VersionId};
use crate::stone::repository;
use crate::store::{Blobs, sync_dir, write_atomic};

/// The served files of a host.
#[derive(Debug, Clone)]
pub struct Shelf {
    public: PathBuf,
    blobs: Blobs,
}

/// The index files of a version that is about to be written.
pub type Indexes = Vec<(IndexFile, Vec<u8>)>;

/// What `repair` had to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Package files that were missing or of a wrong size.
    pub packages: u32,
    /// Versions whose index was missing or damaged.
    pub versions: u32,
    /// Whether the root index or a stream's link was not as it must be.
    pub root: bool,
}

impl Repaired {
    /// Whether everything was as it must be.
    pub fn is_nothing(&self) -> bool {
        *self == Repaired::default()
    }
}

/// What an unserved directory of a version is called while it is written.
const UNFINISHED: &str = ".new-";
/// More directories than this are not synced one by one: an import of a distribution touches thousands.
const DIRS_SYNCED_ALONE_MAX: usize = 64;
const ROOT_INDEX: &str = "moss-root-index.json";
const INDEX: &str = "stone.index";

fn failed(path: &Path, error: &io::Error) -> Fault {
    let fault = Fault::new(
        Kind::Operator,
        format!("cannot write {} for clients", path.display()),
    )
    .because(error);
    match error.kind() {
        io::ErrorKind::StorageFull => fault.next("free space on that disk; it is tried again"),
        io::ErrorKind::PermissionDenied => fault.next("mend the rights of that directory"),
        _ => fault.next("it is tried again; look at the disk if it stays"),
    }
}

/// The index of these packages for each architecture.
pub fn indexes(packages: &PackageMap, arches: &BTreeSet<Arch>) -> Result<Indexes> {
    let mut out = Vec::with_capacity(arches.len());
    for arch in arches {
        let payloads = packages.of_arch(*arch).map(|package| &*package.entry);
        let bytes = repository::assemble(payloads)?;
        let file = IndexFile {
            arch: *arch,
            size: bytes.len() as u64,
            checksum: xxh3_64(&bytes),
        };
        out.push((file, bytes));
    }
    Ok(out)
}

impl Shelf {
    /// The shelf of a state directory: `DIR/public`.
    pub fn open(dir: &Path, blobs: Blobs) -> Result<Shelf> {
        let public = dir.join("public");
        fs::create_dir_all(&public).map_err(|error| failed(&public, &error))?;
        readable(&public).map_err(|error| failed(&public, &error))?;
        Ok(Shelf { public, blobs })
    }

    fn channel(&self, state: &ChannelState) -> PathBuf {
        self.public.join(state.name.as_str())
    }

    /// Serves the newest version of `state`, of which `added` packages and `indexes` are new.
    /// Packages are durable before the index that names them, and that before the root index that names it.
    pub fn publish<'a>(
        &self,
        state: &ChannelState,
        added: impl Iterator<Item = &'a PublishedPackage>,
        indexes: &Indexes,
    ) -> Result<()> {
        let channel = self.channel(state);
        let mut dirs = NewDirs::default();
        for package in added {
            self.put_package(&channel, package, &mut dirs)?;
        }
        dirs.sync(&channel)?;
        kill_point("vessel:after-pool");
        self.put_version(&channel, state.newest(), indexes)?;
        kill_point("vessel:after-index");
        self.put_root(&channel, state)?;
        kill_point("vessel:after-root");
        self.drop_unserved(&channel, state);
        Ok(())
    }

    /// Makes sure that a package's file is in the pool. Says whether it had to be put there.
    fn put_package(
        &self,
        channel: &Path,
        package: &PublishedPackage,
        dirs: &mut NewDirs,
    ) -> Result<bool> {
        let path = channel.join(&package.pool);
        if let Ok(there) = fs::metadata(&path)
            && there.len() == package.file.size
            && self.is_blob(&there, package)
        {
            return Ok(false);
        }
        dirs.make(channel, &path)?;
        self.blobs.link_to(&package.file.sha256, &path)?;
        Ok(true)
    }

    /// Whether a file of the pool is the blob itself (a hard link), or else a copy that nothing speaks against.
    fn is_blob(&self, there: &fs::Metadata, package: &PublishedPackage) -> bool {
        use std::os::unix::fs::MetadataExt;
        match fs::metadata(self.blobs.path(&package.file.sha256)) {
            Ok(blob) if blob.dev() == there.dev() => blob.ino() == there.ino(),
            // A copy on another file system; `channel verify` reads it.
            Ok(_) => true,
            Err(_) => true,
        }
    }

    /// Writes `history/<id>` whole or not at all; into one that is there already, what is missing or damaged.
    fn put_version(&self, channel: &Path, id: VersionId, indexes: &Indexes) -> Result<()> {
        let history = channel.join("history");
        let place = history.join(id.to_string());
        let write_into = |dir: &Path| -> io::Result<()> {
            for (file, bytes) in indexes {
                let dir = dir.join(file.arch.as_str());
                let path = dir.join(INDEX);
                if fs::read(&path).is_ok_and(|there| is_index(&there, file)) {
                    continue;
                }
                fs::create_dir_all(&dir)?;
                write_atomic(&path, bytes, 0o644)?;
            }
            sync_dir(dir)
        };
        let write = || -> io::Result<()> {
            if place.is_dir() {
                return write_into(&place);
            }
            let unfinished = history.join(format!("{UNFINISHED}{id}"));
            remove_all(&unfinished)?;
            remove_all(&place)?;
            fs::create_dir_all(&unfinished)?;
            write_into(&unfinished)?;
            fs::rename(&unfinished, &place)?;
            sync_dir(&history)
        };
        write().map_err(|error| failed(&history, &error))
    }

    /// Writes the root index and lets the links of streams and tags point where it says.
    fn put_root(&self, channel: &Path, state: &ChannelState) -> Result<()> {
        for (folder, name, id) in links(state) {
            let link = channel.join(folder).join(name);
            put_link(&link, id).map_err(|error| failed(&link, &error))?;
        }
        let path = channel.join(ROOT_INDEX);
        write_atomic(&path, &root_index(state)?, 0o644).map_err(|error| failed(&path, &error))
    }

    /// Removes versions that are not served any more, and what crashes left. What stays by mistake is only room lost.
    fn drop_unserved(&self, channel: &Path, state: &ChannelState) {
        let served: BTreeSet<String> = state.served().iter().map(ToString::to_string).collect();
        let history = channel.join("history");
        let Ok(entries) = fs::read_dir(&history) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| served.contains(name)) {
                continue;
            }
            if let Err(error) = remove_all(&entry.path()) {
                tracing::warn!("cannot remove {}: {error}", entry.path().display());
            }
        }
    }

    /// Puts right what differs from the rows. `at` gives the packages of a version, `needed` every package that a served
    /// version names. Sizes are compared everywhere, bytes only of the newest index: `verify` reads the rest.
    pub fn repair(
        &self,
        state: &ChannelState,
        needed: &[std::sync::Arc<PublishedPackage>],
        at: &dyn Fn(VersionId) -> Result<PackageMap>,
    ) -> Result<Repaired> {
        let channel = self.channel(state);
        let mut done = Repaired::default();
        let mut dirs = NewDirs::default();
        for package in needed {
            done.packages += u32::from(self.put_package(&channel, package, &mut dirs)?);
        }
        dirs.sync(&channel)?;
        for id in state.served() {
            let version = &state.step(id)?.version;
            let is_newest = id == state.newest();
            if !self.version_is_whole(&channel, version, is_newest) {
                let indexes = indexes(&at(id)?, &arches_of(version))?;
                self.put_version(&channel, id, &indexes)?;
                done.versions += 1;
            }
        }
        let expected = root_index(state)?;
        let root = fs::read(channel.join(ROOT_INDEX)).unwrap_or_default();
        let links_hold = links(state)
            .iter()
            .all(|(folder, name, id)| link_holds(&channel.join(folder).join(name), *id));
        if root != expected || !links_hold {
            self.put_root(&channel, state)?;
            done.root = true;
        }
        self.drop_unserved(&channel, state);
        Ok(done)
    }

    fn version_is_whole(&self, channel: &Path, version: &Version, read: bool) -> bool {
        let folder = channel.join("history").join(version.id.to_string());
        version.index.iter().all(|file| {
            let path = folder.join(file.arch.as_str()).join(INDEX);
            match read {
                true => fs::read(&path).is_ok_and(|bytes| is_index(&bytes, file)),
                false => fs::metadata(&path).is_ok_and(|there| there.len() == file.size),
            }
        })
    }

    /// Reads every served file and says what is wrong, one line each. `needed` as in `repair`.
    pub fn verify(
        &self,
        state: &ChannelState,
        needed: &[std::sync::Arc<PublishedPackage>],
    ) -> Result<super::Verified> {
        let channel = self.channel(state);
        let mut found = super::Verified::default();
        for id in state.served() {
            let version = &state.step(id)?.version;
            found.versions += 1;
            if !self.version_is_whole(&channel, version, true) {
                found
                    .problems
                    .push(format!("version {id}: an index is missing or damaged"));
            }
        }
        let root = fs::read(channel.join(ROOT_INDEX)).unwrap_or_default();
        if root != root_index(state)? {
            found
                .problems
                .push(format!("{ROOT_INDEX} is missing or damaged"));
        }
        for (folder, name, id) in links(state) {
            if !link_holds(&channel.join(folder).join(name), id) {
                found
                    .problems
                    .push(format!("{folder}/{name} does not point to version {id}"));
            }
        }
        for package in needed {
            let path = channel.join(&package.pool);
            let held = File::open(&path).and_then(super::fetch::hash_file);
            match held {
                Ok(file) if file == package.file => {}
                Ok(file) => found.problems.push(format!(
                    "{}: {} bytes with SHA-256 {}, published with {}",
                    package.pool, file.size, file.sha256, package.file.sha256
                )),
                Err(error) => found.problems.push(format!("{}: {error}", package.pool)),
            }
            found.packages += 1;
            found.bytes += package.file.size;
        }
        Ok(found)
    }
}

fn arches_of(version: &Version) -> BTreeSet<Arch> {
    version.index.iter().map(|file| file.arch).collect()
}

fn is_index(bytes: &[u8], file: &IndexFile) -> bool {
    bytes.len() as u64 == file.size && xxh3_64(bytes) == file.checksum
}

fn root_index(state: &ChannelState) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec(&state.root_index())
        .map_err(|error| Fault::bug("the root index has no JSON form").because(&error))?;
    text.push(b'\n');
    Ok(text)
}

/// The links beside `history`: folder, name, version.
fn links(state: &ChannelState) -> Vec<(&'static str, &str, VersionId)> {
    let volatile = ("stream", VOLATILE, state.newest());
    let streams = state
        .streams
        .iter()
        .map(|(n, id)| ("stream", n.as_str(), *id));
    let tags = state.tags.iter().map(|(n, id)| ("tag", n.as_str(), *id));
    [volatile].into_iter().chain(streams).chain(tags).collect()
}

fn link_text(id: VersionId) -> String {
    format!("../history/{id}")
}

fn link_holds(link: &Path, id: VersionId) -> bool {
    fs::read_link(link).is_ok_and(|text| text == Path::new(&link_text(id)))
}

/// Replaces a link at once: made beside it and renamed over it.
fn put_link(link: &Path, id: VersionId) -> io::Result<()> {
    let Some(dir) = link.parent() else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    fs::create_dir_all(dir)?;
    let made = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .make_in(dir, |path| std::os::unix::fs::symlink(link_text(id), path))?;
    fs::rename(made.path(), link)?;
    sync_dir(dir)
}

fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => fs::remove_file(path),
        other => other,
    }
}

/// Lets everybody read a directory, whatever the umask.
fn readable(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(dir)?.permissions().mode() & 0o7777;
    match mode & 0o055 == 0o055 {
        true => Ok(()),
        false => fs::set_permissions(dir, fs::Permissions::from_mode(mode | 0o755)),
    }
}

/// Directories whose entries changed, to be synced once each.
#[derive(Default)]
struct NewDirs(BTreeSet<PathBuf>);

impl NewDirs {
    /// Makes the directory of `path` below `channel`, and notes what has to be synced.
    fn make(&mut self, channel: &Path, path: &Path) -> Result<()> {
        let Some(dir) = path.parent() else {
            return Ok(());
        };
        if !dir.exists() {
            fs::create_dir_all(dir).map_err(|error| failed(dir, &error))?;
            let above = dir.ancestors().take_while(|above| *above != channel);
            self.0.extend(above.map(Path::to_path_buf));
            self.0.insert(channel.to_path_buf());
        }
        self.0.insert(dir.to_path_buf());
        Ok(())
    }

    /// Deepest first; one sync of the file system where that is cheaper.
    fn sync(&self, channel: &Path) -> Result<()> {
        if self.0.len() > DIRS_SYNCED_ALONE_MAX {
            return File::open(channel)
                .and_then(|dir| Ok(rustix::fs::syncfs(dir)?))
                .map_err(|error| failed(channel, &error));
        }
        self.0
            .iter()
            .rev()
            .try_for_each(|dir| sync_dir(dir))
            .map_err(|error| failed(channel, &error))
    }
}
