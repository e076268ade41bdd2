//! Upstream archives: fetched outside the sandbox, checked by SHA-256, kept by hash in `upstreams/`, mirrors first.
//! Owns the files of that directory; nothing with a wrong hash ever gets a final name in it.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use crate::fault::{Fault, Kind, Result};
use crate::id::{BadId, Digest};

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

/// The cache of upstreams and the ways to fill it. Cheap to clone.
#[derive(Clone)]
pub struct Upstreams(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    mirrors: Vec<Mirror>,
}

impl Upstreams {
    /// The cache in this directory (`upstreams/` of the state directory), which is made when something is put into it.
    pub fn new(dir: impl Into<PathBuf>, mirrors: Vec<Mirror>) -> Upstreams {
        Upstreams(Arc::new(Inner {
            dir: dir.into(),
            mirrors,
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

    /// The file with these bytes: from the cache, a mirror, or its URL. `told` hears of bytes as they arrive.
    pub async fn fetch(
        &self,
        url: &str,
        sha256: Digest,
        told: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<PathBuf> {
        let _ = (
            told,
            &self.0.mirrors,
            Path::new(url),
            Kind::Upstream,
            sha256,
        );
        Err(Fault::bug("fetching is not built yet"))
    }
}
