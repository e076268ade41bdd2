//! Where a project's commits are on this machine: the repository itself when it is local, else a bare mirror that is fetched into.
//! Writes `mirrors/` and nothing else; the fetch itself runs in a child process (`fetch.rs`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::fault::{Fault, Result};
use crate::limit;

/// How long a git operation may take, and how long it may stand still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// It is given up after this long whatever it moves.
    pub deadline: Duration,
    /// It is given up when it moved nothing for this long.
    pub stall: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            deadline: Duration::from_secs(limit::GIT_DEADLINE_S),
            stall: Duration::from_secs(limit::GIT_STALL_S),
        }
    }
}

/// A git URL and the repository on this machine that its commits are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    url: String,
    path: PathBuf,
    local: bool,
}

impl Mirror {
    /// Reads the URL's form and decides where its commits will be; touches neither disk nor network.
    /// A path or a `file://` URL is read directly, everything else gets a directory below `mirrors`.
    pub fn of(url: &str, mirrors: &Path) -> Result<Mirror> {
        let _ = (url, mirrors);
        Err(Fault::bug("mirrors are not built yet"))
    }

    /// The URL as it was given.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether it is read directly, so that `sync` has nothing to do.
    pub fn is_local(&self) -> bool {
        self.local
    }

    /// What `Repo::open` takes.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Brings the mirror up to date, or makes it. Returns notes for people, such as a mirror that was damaged and made anew.
    pub async fn sync(&self, patience: Patience) -> Result<Vec<String>> {
        let _ = patience;
        Err(Fault::bug("mirrors are not built yet"))
    }
}
