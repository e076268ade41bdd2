//! Reads recipes from git objects, always at a commit that the caller names, never from a work tree.
//! Blocking functions without actors: call them under `spawn_blocking`. Writes nothing.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gix::ObjectId;
use gix::objs::tree::EntryKind;

use super::catalog_blob::Interner;
pub use super::catalog_blob::{decode, encode};
use super::entries::{read_entry, refuse_namesakes};
use crate::fault::{self, Fault, Kind, Result};
use crate::id::{Arch, CommitId, ProjectName};
use crate::limit;
use crate::model::{Catalog, Entry, Reading};
use crate::recipe::constraints;

/// Fewer recipes than this are read on the calling thread: starting others would take longer.
const WORTH_THREADS: usize = 32;
/// Threads of one cold read; more of them wait for each other in the pack's cache.
const READ_THREADS_MAX: usize = 4;

/// An open repository; cheap to clone and to send to other threads.
#[derive(Clone)]
pub struct Repo {
    inner: gix::ThreadSafeRepository,
}

/// A recipe's directory as the walk found it.
pub(super) struct Found {
    pub(super) dir: String,
    pub(super) tree: ObjectId,
    /// The tree without manifests.
    pub(super) text: ObjectId,
    pub(super) content: Content,
}

/// What has to be read of it.
pub(super) enum Content {
    /// Nothing in it changed since the catalog before.
    Same(Arc<Entry>),
    /// The recipe's file, and what lies beside it.
    Files {
        recipe: ObjectId,
        kind: EntryKind,
        manifest: Option<(String, ObjectId)>,
        constraints: Option<(String, ObjectId)>,
    },
}

/// An error of the git library, in our words.
pub(super) fn git_fault(kind: Kind, what: impl Into<String>, error: &gix::Error) -> Fault {
    Fault::new(kind, what).because(error)
}

/// An object that should be there and cannot be read.
pub(super) fn damaged(what: &str, id: impl std::fmt::Display, error: &gix::Error) -> Fault {
    git_fault(
        Kind::Operator,
        format!("git object {id} ({what}) cannot be read"),
        error,
    )
    .next("run `git fsck` in the repository; one that was cloned in part or is damaged has to be cloned anew")
}

pub(super) fn object_id(commit: CommitId) -> ObjectId {
    ObjectId::Sha1(commit.0)
}

pub(super) fn commit_id(id: &gix::oid) -> Result<CommitId> {
    match <[u8; 20]>::try_from(id.as_bytes()) {
        Ok(bytes) => Ok(CommitId(bytes)),
        Err(_) => Err(
            Fault::new(Kind::Operator, "the repository uses SHA-256 object ids")
                .next("use a repository with SHA-1 object ids"),
        ),
    }
}

impl Repo {
    /// Opens a work tree or a bare repository, whoever owns it; nothing in it is executed and no configuration outside of
    /// it is read.
    pub fn open(path: &Path) -> Result<Repo> {
        // Full trust only means that the repository's own configuration counts (object format and the like):
        // reading objects runs no filter, hook or helper.
        let options = gix::open::Options::isolated()
            .strict_config(false)
            .with(gix::sec::Trust::Full);
        match options.open(path) {
            Ok(inner) => Ok(Repo { inner }),
            Err(error) if !path.exists() => Err(git_fault(
                Kind::Operator,
                format!("there is no repository at {}", path.display()),
                &error,
            )
            .next("put it back, or remove the project (`massif project remove`)")),
            Err(error) => Err(git_fault(
                Kind::Operator,
                format!("{} cannot be opened as a git repository", path.display()),
                &error,
            )
            .next(if path.is_file() {
                "give a repository; a bundle has to be cloned first (`git clone FILE DIR`)"
            } else {
                "check the path and that this process may read it"
            })),
        }
    }

    /// A handle for this thread, with room for the objects that many look-ups share.
    pub(super) fn local(&self) -> gix::Repository {
        let mut repo = self.inner.to_thread_local();
        repo.object_cache_size_if_unset(4 * 1024 * 1024);
        repo
    }

    /// The commit that the branch points to now; without a branch, the one that `HEAD` names.
    pub fn tip(&self, branch: Option<&str>) -> Result<CommitId> {
        let repo = self.inner.to_thread_local();
        let Some(branch) = branch else {
            let head = repo.head_id().map_err(|error| {
                git_fault(
                    Kind::NotFound,
                    "the repository's HEAD names no commit",
                    &error,
                )
                .next("commit something, or name a branch (`--branch`)")
            })?;
            return self.peel(&repo, head.detach());
        };
        let full = format!("refs/heads/{}", branch.trim_start_matches("refs/heads/"));
        let found = repo.try_find_reference(full.as_str()).map_err(|error| {
            git_fault(Kind::Usage, format!("{branch:?} is no branch name"), &error)
        })?;
        let Some(mut reference) = found else {
            return Err(no_branch(&repo, branch));
        };
        let id = reference.peel_to_id().map_err(|error| {
            git_fault(
                Kind::Operator,
                format!("branch {branch} cannot be followed"),
                &error,
            )
        })?;
        self.peel(&repo, id.detach())
    }

    fn peel(&self, repo: &gix::Repository, id: ObjectId) -> Result<CommitId> {
        let commit = repo
            .find_object(id)
            .and_then(|object| object.peel_to_commit())
            .map_err(|error| damaged("the branch's tip", id, &error))?;
        commit_id(&commit.id)
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
        let repo = self.local();
        let root = root_tree(&repo, commit)?;
        let found = Walk::new(&repo, arch, previous).from(root)?;
        let entries = self.read_all(found)?;
        Ok(Catalog {
            project: project.clone(),
            commit,
            entries: refuse_namesakes(entries),
        })
    }

    /// Reads what changed; the order of `found` is kept.
    fn read_all(&self, found: Vec<Found>) -> Result<Vec<Arc<Entry>>> {
        let changed = found
            .iter()
            .filter(|one| matches!(one.content, Content::Files { .. }))
            .count();
        let threads = match std::thread::available_parallelism() {
            Ok(cores) if changed >= WORTH_THREADS => cores.get().min(READ_THREADS_MAX),
            _ => 1,
        };
        if threads == 1 {
            let repo = self.local();
            let mut interner = Interner::default();
            return found
                .iter()
                .map(|one| read_entry(&repo, one, &mut interner))
                .collect();
        }
        let next = AtomicUsize::new(0);
        let work = || -> Result<Vec<(usize, Arc<Entry>)>> {
            let repo = self.local();
            let mut interner = Interner::default();
            let mut done = Vec::with_capacity(found.len() / threads + 1);
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(one) = found.get(at) else {
                    return Ok(done);
                };
                done.push((at, read_entry(&repo, one, &mut interner)?));
            }
        };
        let mut parts = std::thread::scope(|scope| {
            let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let mut all = Vec::with_capacity(found.len());
            for handle in handles {
                let part = handle
                    .join()
                    .map_err(|_| Fault::bug("a thread that read recipes panicked"))?;
                all.extend(part?);
            }
            Ok::<_, Fault>(all)
        })?;
        parts.sort_by_key(|(at, _)| *at);
        Ok(parts.into_iter().map(|(_, entry)| entry).collect())
    }

    /// The text of a file of the commit, such as `h/hello/stone.yaml`; `None` when there is no such file.
    pub fn file(&self, commit: CommitId, path: &str, bytes_max: usize) -> Result<Option<Vec<u8>>> {
        let repo = self.local();
        let tree = root_tree(&repo, commit)?;
        let tree = repo
            .find_tree(tree)
            .map_err(|error| damaged("the commit's tree", tree, &error))?;
        let entry = tree
            .lookup_entry_by_path(path)
            .map_err(|error| damaged(path, tree.id, &error))?;
        match entry {
            Some(entry) if !entry.mode().is_tree() => {
                read_blob(&repo, entry.object_id(), path, bytes_max).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// The tree of a commit.
pub(super) fn root_tree(repo: &gix::Repository, commit: CommitId) -> Result<ObjectId> {
    let id = object_id(commit);
    let commit = repo
        .find_commit(id)
        .map_err(|error| damaged("a commit", id, &error))?;
    let tree = commit
        .tree_id()
        .map_err(|error| damaged("a commit", id, &error))?;
    Ok(tree.detach())
}

/// A blob of at most `bytes_max`; its size is asked before it is read.
pub(super) fn read_blob(
    repo: &gix::Repository,
    id: ObjectId,
    path: &str,
    bytes_max: usize,
) -> Result<Vec<u8>> {
    let size = repo
        .find_header(id)
        .map_err(|error| damaged(path, id, &error))?
        .size();
    if size > bytes_max as u64 {
        return Err(Fault::new(
            Kind::Recipe,
            format!("the file has {size} bytes, the limit is {bytes_max}"),
        )
        .next("make it smaller")
        .at(path, 0, 0));
    }
    let mut blob = repo
        .find_object(id)
        .map_err(|error| damaged(path, id, &error))?;
    Ok(std::mem::take(&mut blob.data))
}

fn no_branch(repo: &gix::Repository, branch: &str) -> Fault {
    let mut names = Vec::new();
    if let Ok(references) = repo.references()
        && let Ok(heads) = references.local_branches()
    {
        for head in heads.flatten().take(1_000) {
            names.push(head.name().shorten().to_string());
        }
    }
    let next = match fault::nearest(branch, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {near}?"),
        None if names.is_empty() => {
            "the repository has no branch at all; commit something".to_string()
        }
        None => {
            names.truncate(8);
            format!("its branches are {}", names.join(", "))
        }
    };
    Fault::new(
        Kind::NotFound,
        format!("the repository has no branch {branch}"),
    )
    .next(next)
}

/// Looks for recipes in a tree.
struct Walk<'a> {
    repo: &'a gix::Repository,
    manifest_name: String,
    previous: &'a [Arc<Entry>],
    found: Vec<Found>,
}

impl<'a> Walk<'a> {
    fn new(repo: &'a gix::Repository, arch: Arch, previous: Option<&'a Catalog>) -> Walk<'a> {
        Walk {
            repo,
            manifest_name: format!("manifest.{arch}.bin"),
            previous: previous.map_or(&[], |catalog| &catalog.entries),
            found: Vec::new(),
        }
    }

    /// All recipes below the root, sorted by directory.
    fn from(mut self, root: ObjectId) -> Result<Vec<Found>> {
        let mut open = vec![(String::new(), root)];
        while let Some((dir, tree)) = open.pop() {
            if self.found.len() > limit::RECIPES_MAX {
                return Err(Fault::new(
                    Kind::Recipe,
                    format!(
                        "the repository has more than {} recipes",
                        limit::RECIPES_MAX
                    ),
                )
                .next("split it into several projects"));
            }
            if !self.reuse(&dir, tree) {
                self.look_into(dir, tree, &mut open)?;
            }
        }
        self.found.sort_by(|a, b| a.dir.cmp(&b.dir));
        Ok(self.found)
    }

    /// Takes a directory and all below it from the previous catalog, if it is a recipe's and did not change.
    /// Faulty ones are read again: what was wrong may lie outside of the directory (two recipes with one name).
    fn reuse(&mut self, dir: &str, tree: ObjectId) -> bool {
        let same = |entry: &Arc<Entry>| {
            entry.tree.0 == tree.as_bytes() && matches!(entry.reading, Reading::Good(_))
        };
        let Ok(at) = self
            .previous
            .binary_search_by(|entry| entry.dir.as_str().cmp(dir))
        else {
            return false;
        };
        let Some(entry) = self.previous.get(at).filter(|entry| same(entry)) else {
            return false;
        };
        let below = format!("{dir}/");
        let first = self.previous.partition_point(|entry| entry.dir < below);
        let rest = self.previous.get(first..).unwrap_or_default();
        let nested = rest
            .iter()
            .take_while(|entry| entry.dir.starts_with(&below));
        if nested
            .clone()
            .any(|entry| matches!(entry.reading, Reading::Faulty { .. }))
        {
            return false;
        }
        for entry in std::iter::once(entry).chain(nested) {
            self.found.push(Found {
                dir: entry.dir.clone(),
                tree: object_id(entry.tree),
                text: object_id(entry.text),
                content: Content::Same(entry.clone()),
            });
        }
        true
    }

    fn look_into(
        &mut self,
        dir: String,
        tree: ObjectId,
        open: &mut Vec<(String, ObjectId)>,
    ) -> Result<()> {
        let object = self
            .repo
            .find_tree(tree)
            .map_err(|error| damaged(&dir, tree, &error))?;
        let mut recipe = None;
        let (mut manifest, mut asked) = (None, None);
        for entry in object.iter() {
            let entry = entry.map_err(|error| damaged(&dir, tree, &error))?;
            let name = entry.filename();
            if entry.mode().is_tree() {
                if dir.matches('/').count() < limit::RECIPE_DEPTH_MAX {
                    open.push((join(&dir, &name.to_string()), entry.object_id()));
                }
            } else if *name == "stone.yaml" {
                recipe = Some((entry.object_id(), entry.kind()));
            } else if *name == self.manifest_name.as_str() {
                manifest = Some((join(&dir, &self.manifest_name), entry.object_id()));
            } else if *name == constraints::FILE {
                asked = Some((join(&dir, constraints::FILE), entry.object_id()));
            }
        }
        if let Some((recipe, kind)) = recipe {
            let text = without_manifests(&object);
            self.found.push(Found {
                dir,
                tree,
                text,
                content: Content::Files {
                    recipe,
                    kind,
                    manifest,
                    constraints: asked,
                },
            });
        }
        Ok(())
    }
}

/// The tree that a directory would be without the manifests that builds write into it. A tree's object is
/// `MODE NAME 0 ID` over and over (git's own format).
fn without_manifests(tree: &gix::Tree<'_>) -> ObjectId {
    let mut kept = Vec::with_capacity(tree.data.len());
    let mut rest = tree.data.as_slice();
    let id_bytes = tree.id.as_bytes().len();
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        let Some((entry, after)) = rest.split_at_checked(end + 1 + id_bytes) else {
            return tree.id;
        };
        let head = entry.get(..end).unwrap_or_default();
        let name = head.splitn(2, |byte| *byte == b' ').nth(1);
        let name = name.unwrap_or_default();
        let is_manifest = name.starts_with(b"manifest.")
            && (name.ends_with(b".bin") || name.ends_with(b".jsonc"));
        if !is_manifest {
            kept.extend_from_slice(entry);
        }
        rest = after;
    }
    if kept.len() == tree.data.len() {
        return tree.id;
    }
    gix::objs::compute_hash(tree.id.kind(), gix::objs::Kind::Tree, &kept).unwrap_or(tree.id)
}

pub(super) fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() {
        name.to_string()
    } else {
        format!("{dir}/{name}")
    }
}
