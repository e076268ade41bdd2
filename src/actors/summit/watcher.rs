//! One task per project: looks whether its branch moved, reads what changed, and reports. Owns no row: what it found goes to the summit.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::mirror::Patience;
use crate::fault::{Fault, Result};
use crate::id::{Arch, CommitId, ProjectName, Stamp};
use crate::model::Catalog;

/// What a watcher is told when it starts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The project.
    pub project: ProjectName,
    /// Its git URL, or a path on this machine.
    pub url: String,
    /// `None`: the remote's default branch.
    pub branch: Option<String>,
    /// Whose manifests are read.
    pub arch: Arch,
    /// Time between two looks.
    pub poll: Duration,
    /// For each git operation.
    pub patience: Patience,
    /// The state directory's `mirrors/`.
    pub mirrors: PathBuf,
}

/// What a watcher reports. Called on its task: it must return at once (send it on).
#[derive(Debug, Clone)]
pub enum Heard {
    /// The branch points to another commit than before (or this is the first look).
    TipMoved {
        /// The project.
        project: ProjectName,
        /// What it holds at `catalog.commit`.
        catalog: Arc<Catalog>,
        /// For people: a force-pushed branch, a mirror made anew.
        notes: Vec<String>,
    },
    /// The look failed; the last good catalog stays valid. Sent when the fault changes, not on every try.
    IntakeFault {
        /// The project.
        project: ProjectName,
        /// Why.
        fault: Fault,
    },
    /// A look succeeded after a fault, and nothing moved.
    IntakeMended {
        /// The project.
        project: ProjectName,
    },
}

/// What a watcher is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Waiting for the next look.
    Idle,
    /// Fetching from the remote.
    Fetching,
    /// Reading recipes.
    Reading,
}

/// For `project list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Now.
    pub doing: Doing,
    /// The commit of the last catalog.
    pub commit: Option<CommitId>,
    /// When the last look began.
    pub last_tried: Option<Stamp>,
    /// When the last good look ended.
    pub last_ok: Option<Stamp>,
    /// The fault of the last look, if it failed.
    pub fault: Option<Fault>,
    /// What git said last of its progress, while fetching.
    pub progress: Option<String>,
}

/// The handle of a running watcher; dropping it stops the watcher and kills its fetch.
pub struct Watcher {
    refresh: mpsc::Sender<oneshot::Sender<Result<CommitId>>>,
    seen: watch::Receiver<Seen>,
    task: tokio::task::JoinHandle<()>,
}

impl Watcher {
    /// Starts watching; must be called inside a tokio runtime. `previous` is the catalog that the summit recorded last.
    pub fn start(
        settings: Settings,
        previous: Option<Arc<Catalog>>,
        report: Arc<dyn Fn(Heard) + Send + Sync>,
    ) -> Result<Watcher> {
        let _ = (settings, previous, report);
        Err(Fault::bug("the watcher is not built yet"))
    }

    /// Looks now. What was found is reported before the answer comes: the tip, or why there is none.
    /// The answer is dropped without a value when the watcher is stopped.
    pub fn refresh(&self) -> oneshot::Receiver<Result<CommitId>> {
        let (answer, asked) = oneshot::channel();
        // A full queue means that a look is about to begin anyway, or that the watcher is gone; the asker sees the dropped sender.
        let _ = self.refresh.try_send(answer);
        asked
    }

    /// What it is doing and what it found last.
    pub fn seen(&self) -> watch::Receiver<Seen> {
        self.seen.clone()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}
