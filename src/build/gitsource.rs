//! Git upstreams: the tree of one commit, exported as plain files, submodules with it. Where the objects come from is
//! the caller's matter (`GitMirror`), which keeps mirrors and bounds fetches; here nothing is fetched or executed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use gix::objs::tree::EntryKind;

use crate::build::archive::{Owner, Tree, Unpack, Unpacked};
use crate::fault::{Fault, Kind, Result};
use crate::id::CommitId;

/// Brings the mirror of a git URL up to date, bounded in time, and says where it lies: a bare repository or a work tree.
pub type GitMirror = Arc<dyn Fn(String) -> BoxFuture<'static, Result<PathBuf>> + Send + Sync>;

/// Submodules in submodules; real ones end at three.
const DEPTH_MAX: u32 = 8;

/// One commit to be exported.
pub struct Export {
    /// Where it comes from, for submodules and people.
    pub url: String,
    /// Which.
    pub commit: CommitId,
    /// The directory, which is made.
    pub into: PathBuf,
    /// Who the files belong to.
    pub owner: Owner,
}

/// A submodule that the exported tree names.
struct Submodule {
    path: String,
    commit: CommitId,
    url: String,
}

/// Writes the files of a commit and of its submodules. `told` hears the bytes written and answers whether to go on.
pub async fn export(
    mirror: &GitMirror,
    what: Export,
    told: Arc<dyn Fn(u64) -> bool + Send + Sync>,
) -> Result<Unpacked> {
    let mut done = Unpacked::default();
    let mut waiting = vec![(what, 0)];
    while let Some((next, depth)) = waiting.pop() {
        if depth > DEPTH_MAX {
            return Err(Fault::new(
                Kind::Upstream,
                format!("{} has submodules more than {DEPTH_MAX} deep", next.url),
            ));
        }
        let repository = mirror(next.url.clone()).await?;
        let (into, owner) = (next.into.clone(), next.owner);
        let told = told.clone();
        let work = move || write_commit(&repository, &next, &*told);
        let (wrote, submodules) = match tokio::task::spawn_blocking(work).await {
            Ok(result) => result?,
            Err(error) => {
                return Err(Fault::bug("exporting a git commit ended oddly").because(&error));
            }
        };
        done.entries += wrote.entries;
        done.bytes += wrote.bytes;
        for submodule in submodules {
            let export = Export {
                url: submodule.url,
                commit: submodule.commit,
                into: into.join(submodule.path),
                owner,
            };
            waiting.push((export, depth + 1));
        }
    }
    Ok(done)
}

fn unreadable(url: &str, commit: CommitId, error: &gix::Error) -> Fault {
    Fault::new(
        Kind::Upstream,
        format!("{url} has no readable commit {commit}"),
    )
    .because(error)
    .next("name a commit that is on a branch or a tag of that repository")
}

fn write_commit(
    repository: &Path,
    what: &Export,
    told: &(dyn Fn(u64) -> bool + Send + Sync),
) -> Result<(Unpacked, Vec<Submodule>)> {
    let options = gix::open::Options::isolated()
        .strict_config(false)
        .with(gix::sec::Trust::Full);
    let repo = options.open(repository).map_err(|error| {
        Fault::new(
            Kind::Upstream,
            format!("the mirror of {} cannot be opened", what.url),
        )
        .because(&error)
    })?;
    let mut repo = repo.to_thread_local();
    repo.object_cache_size_if_unset(16 * 1024 * 1024);
    let no = |error: gix::Error| unreadable(&what.url, what.commit, &error);
    let id = gix::ObjectId::Sha1(what.commit.0);
    let commit = repo.find_commit(id).map_err(no)?;
    let seconds = commit.time().map_err(no)?.seconds;
    let root = commit.tree_id().map_err(no)?.detach();
    let target = Unpack::new(repository, &what.url, &what.into).owned_by(what.owner);
    let mut go_on = |bytes| told(bytes);
    let mut tree = Tree::new(&target, &mut go_on)?;
    let mut links = Vec::new();
    let mut modules = None;
    let mut waiting = vec![(String::new(), root)];
    while let Some((prefix, id)) = waiting.pop() {
        let listing = repo.find_tree(id).map_err(no)?;
        for entry in listing.iter() {
            let entry = entry.map_err(no)?;
            let name = std::str::from_utf8(entry.filename()).map_err(|error| {
                Fault::new(
                    Kind::Upstream,
                    format!("{} holds a name that is not UTF-8", what.url),
                )
                .because(&error)
            })?;
            let path = if prefix.is_empty() {
                name.to_owned()
            } else {
                format!("{prefix}/{name}")
            };
            let kind = entry.mode().kind();
            match kind {
                EntryKind::Tree => {
                    waiting.push((path, entry.object_id()));
                    continue;
                }
                EntryKind::Commit => {
                    links.push((path, entry.object_id()));
                    continue;
                }
                EntryKind::Blob | EntryKind::BlobExecutable | EntryKind::Link => {}
            }
            let blob = repo.find_object(entry.object_id()).map_err(no)?;
            if path == ".gitmodules" {
                modules = Some(blob.data.clone());
            }
            let wrote = match kind {
                EntryKind::Link => {
                    let to = String::from_utf8_lossy(&blob.data).into_owned();
                    tree.symlink(&path, &to, Some(seconds))
                }
                EntryKind::BlobExecutable => {
                    tree.file(&path, 0o755, Some(seconds), &mut blob.data.as_slice())
                }
                EntryKind::Blob | EntryKind::Tree | EntryKind::Commit => {
                    tree.file(&path, 0o644, Some(seconds), &mut blob.data.as_slice())
                }
            };
            wrote.map_err(|stop| stop.fault(&what.url))?;
        }
    }
    let done = tree.finish().map_err(|stop| stop.fault(&what.url))?;
    Ok((done, submodules(what, links, modules.as_deref())?))
}

/// Gitlinks without an entry in `.gitmodules` stay empty directories, as git leaves them.
fn submodules(
    what: &Export,
    links: Vec<(String, gix::ObjectId)>,
    modules: Option<&[u8]>,
) -> Result<Vec<Submodule>> {
    let Some(modules) = modules else {
        return Ok(Vec::new());
    };
    let text = String::from_utf8_lossy(modules);
    let known = read_modules(&text);
    let mut found = Vec::new();
    for (path, id) in links {
        let Some((_, url)) = known.iter().find(|(at, _)| *at == path) else {
            continue;
        };
        let bytes = <[u8; 20]>::try_from(id.as_bytes()).map_err(|_| {
            Fault::new(
                Kind::Upstream,
                format!("{} uses SHA-256 object ids", what.url),
            )
        })?;
        found.push(Submodule {
            path,
            commit: CommitId(bytes),
            url: resolve(&what.url, url),
        });
    }
    Ok(found)
}

/// `(path, url)` of each section: the two keys are all that matter to us.
fn read_modules(text: &str) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            out.push(Default::default());
        }
        let (Some((key, value)), Some(last)) = (line.split_once('='), out.last_mut()) else {
            continue;
        };
        let value = value
            .trim()
            .trim_matches('"')
            .trim_end_matches('/')
            .to_owned();
        match key.trim() {
            "path" => last.0 = value,
            "url" => last.1 = value,
            _ => {}
        }
    }
    out
}

/// A submodule's URL may be relative to that of the repository which names it.
fn resolve(base: &str, url: &str) -> String {
    if !url.starts_with("./") && !url.starts_with("../") {
        return url.to_owned();
    }
    let mut base = base.trim_end_matches('/').to_owned();
    let mut rest = url;
    loop {
        if let Some(next) = rest.strip_prefix("../") {
            rest = next;
            base.truncate(base.rfind('/').unwrap_or(0));
        } else if let Some(next) = rest.strip_prefix("./") {
            rest = next;
        } else {
            return format!("{base}/{rest}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submodule_urls_are_read_and_resolved_as_git_does() {
        let text = "[submodule \"a\"]\n\tpath = sub/a\n\turl = ../a.git\n[submodule \"b\"]\nurl=https://x/b\npath=b\n";
        let known = read_modules(text);
        assert_eq!(
            known,
            [
                ("sub/a".into(), "../a.git".into()),
                ("b".into(), "https://x/b".into())
            ]
        );
        assert_eq!(
            resolve("https://host/group/own.git", "../a.git"),
            "https://host/group/a.git"
        );
        assert_eq!(
            resolve("https://host/group/own.git/", "../../z/a"),
            "https://host/z/a"
        );
        assert_eq!(resolve("https://host/own", "https://x/b"), "https://x/b");
    }

    /// A bare repository with one commit of these files; `None` for a link to `target`.
    fn repository(dir: &Path, files: &[(&str, &str, EntryKind)]) -> CommitId {
        let repo = gix::init_bare(dir).unwrap();
        let mut tree = repo.empty_tree().edit().unwrap();
        for (path, text, kind) in files {
            let id = match kind {
                EntryKind::Commit => text.parse().unwrap(),
                _ => repo.write_blob(text).unwrap().detach(),
            };
            tree.upsert(*path, *kind, id).unwrap();
        }
        let tree = tree.write().unwrap().detach();
        let who = gix::actor::SignatureRef {
            name: "t".into(),
            email: "t@x".into(),
            time: "1000000000 +0000",
        };
        let none: Vec<gix::ObjectId> = Vec::new();
        let commit = repo
            .commit_as(who, who, "refs/heads/main", "one", tree, none)
            .unwrap();
        CommitId(commit.as_bytes().try_into().unwrap())
    }

    #[tokio::test]
    async fn a_commit_is_exported_with_its_submodules_and_links_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        let sub = repository(
            &dir.path().join("sub"),
            &[("inner", "deep", EntryKind::Blob)],
        );
        let text = "[submodule \"s\"]\n path = lib/s\n url = ../sub\n";
        let (plain, exec, link) = (EntryKind::Blob, EntryKind::BlobExecutable, EntryKind::Link);
        let main = repository(
            &dir.path().join("main"),
            &[
                (".gitmodules", text, plain),
                ("a/run", "#!", exec),
                ("a/up", "../.gitmodules", link),
                ("lib/s", &sub.to_string(), EntryKind::Commit),
            ],
        );
        let evil = repository(&dir.path().join("evil"), &[("out", "/etc/passwd", link)]);
        let root = dir.path().to_owned();
        let mirror: GitMirror = Arc::new(move |url| {
            let path = root.join(url.rsplit('/').next().unwrap_or_default());
            Box::pin(async move { Ok(path) })
        });
        let export_of = async |name: &str, commit| {
            let into = dir.path().join(format!("out-{name}"));
            let what = Export {
                url: format!("https://host/x/{name}"),
                commit,
                into: into.clone(),
                owner: None,
            };
            export(&mirror, what, Arc::new(|_| true))
                .await
                .map(|_| into)
        };
        let out = export_of("main", main).await.unwrap();
        assert_eq!(
            std::fs::read_to_string(out.join("lib/s/inner")).unwrap(),
            "deep"
        );
        assert_eq!(std::fs::read_to_string(out.join("a/up")).unwrap(), text);
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let run = out.join("a/run").metadata().unwrap();
        assert_eq!(
            (run.permissions().mode() & 0o777, run.mtime()),
            (0o755, 1_000_000_000)
        );
        assert!(
            export_of("evil", evil)
                .await
                .unwrap_err()
                .what
                .contains("out of the tree")
        );
        let fault = export_of("main", evil).await.unwrap_err();
        assert_eq!(fault.kind, Kind::Upstream);
        assert!(fault.what.contains("no readable commit"), "{fault}");
    }
}
