//! A recipe's directory as one file that travels to a builder, and what git says of the directory's past.
//! Reads git objects at a commit that the caller names; writes nothing.

use gix::ObjectId;
use gix::objs::tree::EntryKind;

use super::reader::{Repo, commit_id, damaged, object_id, read_blob, root_tree};
use crate::fault::{Fault, Kind, Result};
use crate::id::{CommitId, Stamp};
use crate::limit;
use crate::model::ChangeView;

impl Repo {
    /// A recipe's directory at the commit as a deterministic tar: the same tree gives the same bytes. Paths are relative to
    /// the directory and sorted, modes 644 or 755, links are kept, times and owners are 0.
    pub fn pack(&self, commit: CommitId, dir: &str) -> Result<Vec<u8>> {
        let repo = self.local();
        let mut trees = TreePath::new(dir);
        let tree = trees
            .find(&repo, root_tree(&repo, commit)?)?
            .ok_or_else(|| no_directory(commit, dir))?;
        let mut files = Vec::new();
        list(&repo, tree, "", 0, &mut files)?;
        files.sort();
        let mut tar = tar::Builder::new(Vec::new());
        let mut room = limit::RECIPE_PACK_BYTES_MAX;
        for (path, id, kind) in files {
            let size = repo
                .find_header(id)
                .map_err(|error| damaged(&path, id, &error))?
                .size();
            room = room.checked_sub(size).ok_or_else(|| too_large(dir))?;
            let bytes = read_blob(&repo, id, &path, limit::RECIPE_PACK_BYTES_MAX as usize)?;
            append(&mut tar, &path, &bytes, kind)
                .map_err(|error| unpackable(&path, &error).at(format!("{dir}/{path}"), 0, 0))?;
        }
        tar.into_inner().map_err(|error| unpackable(dir, &error))
    }

    /// When the directory last changed, as seen from the commit along first parents: the time of that commit, for
    /// SOURCE_DATE_EPOCH.
    pub fn changed_at(&self, commit: CommitId, dir: &str) -> Result<Stamp> {
        match self.history(commit, dir, 1)?.first() {
            Some(change) => Ok(change.at),
            None => Err(no_directory(commit, dir)),
        }
    }

    /// The last `max` changes of the directory, newest first, along first parents. In a history that is longer than the
    /// limit, or that was cut, the oldest known commit counts as the one that made the directory.
    pub fn history(&self, commit: CommitId, dir: &str, max: usize) -> Result<Vec<ChangeView>> {
        let repo = self.local();
        let mut trees = TreePath::new(dir);
        let mut changes = Vec::new();
        let mut id = object_id(commit);
        let mut here = step(&repo, id, &mut trees)?;
        for _ in 0..limit::HISTORY_COMMITS_MAX {
            if changes.len() >= max {
                return Ok(changes);
            }
            // A parent that is not there is where a shallow history was cut.
            let parent = match here.parent {
                Some(parent) if repo.has_object(parent) => {
                    Some((parent, step(&repo, parent, &mut trees)?))
                }
                _ => None,
            };
            let before = parent.as_ref().and_then(|(_, parent)| parent.tree);
            if here.tree != before {
                changes.push(change(&repo, id)?);
            }
            let Some((parent, there)) = parent else {
                return Ok(changes);
            };
            (id, here) = (parent, there);
        }
        if changes.is_empty() && here.tree.is_some() {
            changes.push(change(&repo, id)?);
        }
        Ok(changes)
    }

    /// Who made a commit, when, and with which words.
    pub fn commit(&self, commit: CommitId) -> Result<ChangeView> {
        change(&self.local(), object_id(commit))
    }

    /// Whether `old` is in the history of `new`: if not, the branch was rewritten.
    pub fn is_ancestor(&self, old: CommitId, new: CommitId) -> bool {
        let repo = self.local();
        let (old, new) = (object_id(old), object_id(new));
        if !repo.has_object(old) {
            return false;
        }
        let mut id = new;
        for _ in 0..256 {
            if id == old {
                return true;
            }
            let parent = repo
                .find_commit(id)
                .ok()
                .and_then(|commit| commit.parent_ids().next().map(|id| id.detach()));
            match parent {
                Some(parent) => id = parent,
                None => break,
            }
        }
        repo.merge_base(old, new)
            .is_ok_and(|base| base.is_some_and(|base| base.detach() == old))
    }
}

/// One commit on the way back.
struct Step {
    parent: Option<ObjectId>,
    /// The directory's tree in it.
    tree: Option<ObjectId>,
}

fn step(repo: &gix::Repository, id: ObjectId, trees: &mut TreePath) -> Result<Step> {
    let commit = repo
        .find_commit(id)
        .map_err(|error| damaged("a commit", id, &error))?;
    let root = commit
        .tree_id()
        .map_err(|error| damaged("a commit", id, &error))?;
    let parent = commit.parent_ids().next().map(|parent| parent.detach());
    Ok(Step {
        parent,
        tree: trees.find(repo, root.detach())?,
    })
}

fn change(repo: &gix::Repository, id: ObjectId) -> Result<ChangeView> {
    let bad = |error: gix::Error| damaged("a commit", id, &error);
    let commit = repo.find_commit(id).map_err(bad)?;
    let author = commit.author().map_err(bad)?;
    let author = format!("{} <{}>", author.name, author.email);
    // A commit whose time cannot be read counts as made in 1970: it must not stop its recipe.
    let at = commit.time().map_or(0, |time| time.seconds);
    let subject = commit
        .message()
        .map_or_else(|_| String::new(), |message| message.summary().to_string());
    Ok(ChangeView {
        commit: commit_id(&commit.id)?,
        author,
        at: Stamp(at.saturating_mul(1000)),
        subject,
    })
}

/// Follows one path through the trees of many commits; remembers the last answer at each depth, because neighbouring
/// commits share most of their trees.
struct TreePath {
    parts: Vec<(String, Option<(ObjectId, Option<ObjectId>)>)>,
}

impl TreePath {
    fn new(dir: &str) -> TreePath {
        let parts = dir.split('/').filter(|part| !part.is_empty());
        TreePath {
            parts: parts.map(|part| (part.to_string(), None)).collect(),
        }
    }

    /// The tree at the path below `root`.
    fn find(&mut self, repo: &gix::Repository, root: ObjectId) -> Result<Option<ObjectId>> {
        let mut tree = root;
        for (name, last) in &mut self.parts {
            let child = match last {
                Some((at, child)) if *at == tree => *child,
                _ => {
                    let object = repo
                        .find_tree(tree)
                        .map_err(|error| damaged(name, tree, &error))?;
                    let child = object
                        .find_entry(name.as_str())
                        .filter(|entry| entry.mode().is_tree())
                        .map(|entry| entry.object_id());
                    *last = Some((tree, child));
                    child
                }
            };
            match child {
                Some(child) => tree = child,
                None => return Ok(None),
            }
        }
        Ok(Some(tree))
    }
}

/// All files below a tree; submodules are left out, git does not hold their content.
fn list(
    repo: &gix::Repository,
    tree: ObjectId,
    above: &str,
    depth: usize,
    files: &mut Vec<(String, ObjectId, EntryKind)>,
) -> Result<()> {
    if depth > limit::RECIPE_DEPTH_MAX || files.len() > limit::RECIPE_FILES_MAX {
        return Err(too_large(above));
    }
    let object = repo
        .find_tree(tree)
        .map_err(|error| damaged(above, tree, &error))?;
    for entry in object.iter() {
        let entry = entry.map_err(|error| damaged(above, tree, &error))?;
        let name = std::str::from_utf8(entry.filename())
            .map_err(|error| unpackable(&entry.filename().to_string(), &error).at(above, 0, 0))?;
        // git refuses such names, but objects can be written without git.
        if name.is_empty() || name == "." || name == ".." || name.contains('/') {
            return Err(
                Fault::new(Kind::Recipe, format!("{name:?} is no file name")).at(above, 0, 0),
            );
        }
        let path = format!("{above}{name}");
        match entry.kind() {
            EntryKind::Tree => list(
                repo,
                entry.object_id(),
                &format!("{path}/"),
                depth + 1,
                files,
            )?,
            EntryKind::Commit => {}
            kind => files.push((path, entry.object_id(), kind)),
        }
    }
    Ok(())
}

fn append(
    tar: &mut tar::Builder<Vec<u8>>,
    path: &str,
    bytes: &[u8],
    kind: EntryKind,
) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mode(if kind == EntryKind::BlobExecutable {
        0o755
    } else {
        0o644
    });
    if kind == EntryKind::Link {
        let target = std::str::from_utf8(bytes).map_err(std::io::Error::other)?;
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        return tar.append_link(&mut header, path, target);
    }
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, path, bytes)
}

fn unpackable(path: &str, error: &dyn std::error::Error) -> Fault {
    Fault::new(Kind::Recipe, format!("{path} cannot be sent to a builder"))
        .because(error)
        .next("rename or remove it")
}

fn too_large(dir: &str) -> Fault {
    Fault::new(
        Kind::Recipe,
        format!(
            "the recipe's directory {dir} holds more than {} bytes, {} files or {} levels",
            limit::RECIPE_PACK_BYTES_MAX,
            limit::RECIPE_FILES_MAX,
            limit::RECIPE_DEPTH_MAX
        ),
    )
    .next("move large files to an upstream")
}

fn no_directory(commit: CommitId, dir: &str) -> Fault {
    Fault::new(
        Kind::NotFound,
        format!("commit {} has no directory {dir}", commit.short()),
    )
}
