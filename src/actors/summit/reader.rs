//! Reads recipes from git objects, always at a commit that the caller names, never from a work tree.
//! Blocking functions without actors: call them under `spawn_blocking`. Writes nothing.

use std::path::Path;

use crate::fault::{Fault, Result};
use crate::id::{Arch, CommitId, ProjectName, Stamp};
use crate::model::{Catalog, ChangeView};

/// An open repository; cheap to clone and to send to other threads.
#[derive(Clone)]
pub struct Repo {
    inner: gix::ThreadSafeRepository,
}

impl Repo {
    /// Opens a work tree or a bare repository, whoever owns it; nothing in it is executed and no configuration outside of it is read.
    pub fn open(path: &Path) -> Result<Repo> {
        let _ = path;
        Err(Fault::bug("the git reader is not built yet"))
    }

    /// The commit that the branch points to now; without a branch, the one that `HEAD` names.
    pub fn tip(&self, branch: Option<&str>) -> Result<CommitId> {
        let _ = (&self.inner, branch);
        Err(Fault::bug("the git reader is not built yet"))
    }

    /// Reads every `stone.yaml` of the commit, and `manifest.<arch>.bin` beside it. Directories whose tree is the same in
    /// `previous` are taken from there. A bad recipe is a faulty entry; an error here is about the repository.
    pub fn catalog(
        &self,
        project: &ProjectName,
        commit: CommitId,
        arch: Arch,
        previous: Option<&Catalog>,
    ) -> Result<Catalog> {
        let _ = (project, commit, arch, previous);
        Err(Fault::bug("the git reader is not built yet"))
    }

    /// A recipe's directory at the commit as a deterministic tar: the same tree gives the same bytes.
    pub fn pack(&self, commit: CommitId, dir: &str) -> Result<Vec<u8>> {
        let _ = (commit, dir);
        Err(Fault::bug("the git reader is not built yet"))
    }

    /// When the directory last changed, as seen from the commit: the commit time, for SOURCE_DATE_EPOCH.
    pub fn changed_at(&self, commit: CommitId, dir: &str) -> Result<Stamp> {
        let _ = (commit, dir);
        Err(Fault::bug("the git reader is not built yet"))
    }

    /// The last `max` changes of the directory, newest first, along first parents.
    pub fn history(&self, commit: CommitId, dir: &str, max: usize) -> Result<Vec<ChangeView>> {
        let _ = (commit, dir, max);
        Err(Fault::bug("the git reader is not built yet"))
    }
}

/// A catalog as a compact blob.
pub fn encode(catalog: &Catalog) -> Result<Vec<u8>> {
    let _ = catalog;
    Err(Fault::bug("the catalog blob is not built yet"))
}

/// A catalog from its blob. Equal texts share their memory.
pub fn decode(bytes: &[u8]) -> Result<Catalog> {
    let _ = bytes;
    Err(Fault::bug("the catalog blob is not built yet"))
}
