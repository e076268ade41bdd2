//! Upstream archives: fetched outside the sandbox, checked by SHA-256, kept by hash in `upstreams/`, mirrors first.
//! Owns the files of that directory; nothing with a wrong hash ever gets a final name in it.

mod http;
mod mirror;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use crate::fault::{Fault, Kind, Result};
use crate::id::{BadId, Digest};
use crate::limit;

/// Where upstreams are looked for before their own URL is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Mirror {
    /// A directory whose files are matched by the hash of their content, whatever their names.
    Directory(PathBuf),
    /// A base URL, asked for `URL/<sha256>` and then `URL/<file name>`.
    Url(String),
}

impl FromStr for Mirror {
    type Err = BadId;

    fn from_str(text: &str) -> std::result::Result<Self, BadId> {
        let text = text.trim();
        if text.starts_with("http://") || text.starts_with("https://") {
            return Ok(Mirror::Url(text.trim_end_matches('/').into()));
        }
        let path = text.strip_prefix("file://").unwrap_or(text);
        if path.is_empty() || path.contains("://") {
            return Err(BadId {
                text: text.chars().take(80).collect(),
                expected: "a mirror (a directory, or an http or https URL)",
            });
        }
        Ok(Mirror::Directory(path.into()))
    }
}

impl std::fmt::Display for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Mirror::Directory(path) => path.display().fmt(f),
            Mirror::Url(url) => f.write_str(url),
        }
    }
}

/// How far a fetch is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Bytes so far.
    pub bytes: u64,
    /// Of how many, when the server said.
    pub of: Option<u64>,
}

/// Hears of bytes as they arrive.
pub type Told<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// The cache of upstreams and the ways to fill it. Cheap to clone; one per state directory and process.
#[derive(Clone)]
pub struct Upstreams(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    mirrors: Vec<Mirror>,
    seen: Mutex<mirror::Seen>,
    /// One fetch at a time for each hash: whoever comes second finds it in the cache.
    busy: Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
    places: Semaphore,
    stall_s: u64,
}

impl Upstreams {
    /// The cache in this directory (`upstreams/` of the state directory), which is made when something is put into it.
    pub fn new(dir: impl Into<PathBuf>, mirrors: Vec<Mirror>) -> Upstreams {
        Upstreams::with_patience(dir, mirrors, limit::UPSTREAM_STALL_S)
    }

    /// The same, giving up on a silent server after this many seconds.
    pub fn with_patience(dir: impl Into<PathBuf>, mirrors: Vec<Mirror>, stall_s: u64) -> Upstreams {
        let dir = dir.into();
        Upstreams(Arc::new(Inner {
            seen: Mutex::new(mirror::Seen::load(&dir)),
            dir,
            mirrors,
            busy: Mutex::default(),
            places: Semaphore::new(limit::UPSTREAM_FETCHES_MAX),
            stall_s,
        }))
    }

    /// Where the bytes of this hash lie, or would.
    pub fn path(&self, sha256: Digest) -> PathBuf {
        self.0.dir.join(sha256.to_string())
    }

    /// Where mirrors of git repositories lie.
    pub fn git_dir(&self) -> PathBuf {
        self.0.dir.join("git")
    }

    /// Whether a build would find it without any fetch.
    pub fn is_cached(&self, sha256: Digest) -> bool {
        self.path(sha256).is_file()
    }

    /// How large the archives are that lie here and in mirrors' directories. Reads directories: not for a handler.
    pub fn sizes(&self) -> crate::plan::estimate::UpstreamSizes {
        let mut sizes = crate::plan::estimate::UpstreamSizes::default();
        for mirror in &self.0.mirrors {
            if let Mirror::Directory(dir) = mirror {
                // Somebody hashes files just now: the next look tells.
                if let Ok(seen) = self.0.seen.try_lock() {
                    seen.sizes(dir, &mut sizes);
                }
            }
        }
        let entries = std::fs::read_dir(&self.0.dir).into_iter().flatten();
        for entry in entries.flatten().take(limit::MIRROR_FILES_MAX) {
            let name = entry.file_name();
            if let Some(hash) = name.to_str().and_then(|name| name.parse().ok())
                && let Ok(meta) = entry.metadata()
            {
                sizes.by_hash.insert(hash, meta.len());
            }
        }
        sizes
    }

    /// The file with these bytes: from the cache, a mirror, or its URL.
    pub async fn fetch(&self, url: &str, sha256: Digest, told: Told<'_>) -> Result<PathBuf> {
        let turn = self.turn(sha256);
        let _turn = turn.lock().await;
        let path = self.path(sha256);
        if path.is_file() {
            return Ok(path);
        }
        let partial = self.0.dir.join("partial");
        std::fs::create_dir_all(&partial).map_err(|error| disk(&partial, &error))?;
        let part = partial.join(sha256.to_string());
        let _place = self
            .0
            .places
            .acquire()
            .await
            .map_err(|_| Fault::bug("the places for fetches are closed"))?;
        self.fill(url, sha256, &part, told).await?;
        std::fs::rename(&part, &path).map_err(|error| disk(&path, &error))?;
        Ok(path)
    }

    fn turn(&self, sha256: Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut busy = self.0.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = busy.get(&sha256).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        busy.insert(sha256, Arc::downgrade(&turn));
        turn
    }

    /// Fills `part` with the right bytes: mirrors in their order, then the URL.
    async fn fill(&self, url: &str, sha256: Digest, part: &Path, told: Told<'_>) -> Result<()> {
        let name = file_name(url);
        let mut tried = Vec::new();
        for mirror in &self.0.mirrors {
            match mirror {
                Mirror::Directory(dir) => {
                    if let Some(found) = self.in_directory(dir, &name, sha256).await {
                        match self.copy(found, sha256, part).await {
                            Ok(()) => return Ok(()),
                            Err(fault) => tried.push(fault.what),
                        }
                    }
                }
                Mirror::Url(base) => {
                    for address in [format!("{base}/{sha256}"), format!("{base}/{name}")] {
                        match self.download(&address, sha256, part, told).await {
                            Ok(()) => return Ok(()),
                            Err(fault) if fault.kind == Kind::Builder => return Err(fault),
                            Err(fault) => tried.push(fault.to_string()),
                        }
                    }
                }
            }
        }
        let mut result = match url.strip_prefix("file://") {
            Some(path) => self.copy(path.into(), sha256, part).await,
            None => self.download(url, sha256, part, told).await,
        };
        if let Err(fault) = &mut result {
            fault
                .causes
                .extend(tried.into_iter().map(|text| format!("before that, {text}")));
        }
        result
    }

    async fn in_directory(&self, dir: &Path, name: &str, sha256: Digest) -> Option<PathBuf> {
        let (inner, dir, name) = (self.0.clone(), dir.to_owned(), name.to_owned());
        let search = move || {
            let mut seen = inner.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.find(&dir, &name, sha256)
        };
        tokio::task::spawn_blocking(search).await.ok().flatten()
    }

    /// Copies a local file into `part`, hashing what is copied.
    async fn copy(&self, from: PathBuf, sha256: Digest, part: &Path) -> Result<()> {
        let part = part.to_owned();
        let copy = move || {
            let source = File::open(&from).map_err(|error| {
                Fault::new(Kind::Upstream, format!("cannot read {}", from.display()))
                    .because(&error)
                    .next("put the file there, name another URL, or give a mirror that has it")
            })?;
            let mut to = File::create(&part).map_err(|error| disk(&part, &error))?;
            let got = pour(source, &mut to, limit::UPSTREAM_BYTES_MAX)
                .and_then(|got| to.sync_all().map(|()| got))
                .map_err(|error| disk(&part, &error))?;
            matches(&from.display().to_string(), got, sha256)
        };
        match tokio::task::spawn_blocking(copy).await {
            Ok(result) => result,
            Err(error) => Err(Fault::bug("copying an upstream ended oddly").because(&error)),
        }
    }

    /// Downloads into `part`, going on where an earlier try stopped.
    async fn download(&self, url: &str, sha256: Digest, part: &Path, told: Told<'_>) -> Result<()> {
        let resumed = part.metadata().is_ok_and(|file| file.len() > 0);
        http::download(url, part, self.0.stall_s, told).await?;
        match self.check(url, part, sha256).await {
            // What lay there already may have been the wrong half.
            Err(_) if resumed => {
                remove(part)?;
                http::download(url, part, self.0.stall_s, told).await?;
                self.check(url, part, sha256).await
            }
            result => result,
        }
    }

    async fn check(&self, url: &str, part: &Path, sha256: Digest) -> Result<()> {
        let (file, url) = (part.to_owned(), url.to_owned());
        let hash = move || {
            let got = File::open(&file)
                .and_then(|from| pour(from, &mut io::sink(), u64::MAX))
                .map_err(|error| disk(&file, &error))?;
            matches(&url, got, sha256)
        };
        let checked = match tokio::task::spawn_blocking(hash).await {
            Ok(result) => result,
            Err(error) => Err(Fault::bug("hashing an upstream ended oddly").because(&error)),
        };
        if checked.is_err() {
            remove(part)?;
        }
        checked
    }
}

/// The last segment of a URL, without query.
fn file_name(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    path.trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or("upstream")
        .to_owned()
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(disk(path, &error)),
        _ => Ok(()),
    }
}

fn matches(from: &str, got: Digest, wanted: Digest) -> Result<()> {
    if got == wanted {
        return Ok(());
    }
    Err(Fault::new(
        Kind::Upstream,
        format!("{from} has the SHA-256 {got}, the recipe wants {wanted}"),
    )
    .next("find out why it changed: name the new hash in the recipe if it is right, else a mirror that has the old file"))
}

fn disk(path: &Path, error: &io::Error) -> Fault {
    Fault::new(Kind::Builder, format!("cannot write {}", path.display()))
        .because(error)
        .next("look at the disk of this host and at the rights of its state directory")
}

/// Copies and hashes.
fn pour(mut from: impl Read, to: &mut impl Write, bytes_max: u64) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut bytes = 0_u64;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(Digest(hash.finalize().into())),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        bytes += read as u64;
        if bytes > bytes_max {
            return Err(io::Error::other(format!("more than {bytes_max} bytes")));
        }
        let chunk = buffer.get(..read).unwrap_or_default();
        hash.update(chunk);
        to.write_all(chunk)?;
    }
}

#[cfg(test)]
mod tests;
