//! A git repository in a temporary directory whose commits are made without the git program.

use std::path::Path;

use massif::id::CommitId;

/// A repository with a branch `main` and no work tree files: what is written goes into the next commit.
pub struct Repo {
    dir: tempfile::TempDir,
    git: gix::Repository,
    tree: gix::ObjectId,
    /// Seconds since 1970; each commit is a minute later.
    time_s: i64,
}

#[allow(dead_code, reason = "each test module uses some of it")]
impl Repo {
    /// An empty one.
    pub fn new() -> Repo {
        let dir = tempfile::tempdir().unwrap();
        let git = gix::ThreadSafeRepository::init_opts(
            dir.path(),
            gix::create::Kind::WithWorktree,
            gix::create::Options::default(),
            gix::open::Options::isolated(),
        )
        .unwrap()
        .to_thread_local();
        let tree = git.empty_tree().id;
        Repo {
            dir,
            git,
            tree,
            time_s: 1_700_000_000,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The path as `project add` takes it.
    pub fn url(&self) -> String {
        self.dir.path().to_str().unwrap().to_string()
    }

    /// A file of the next commit.
    pub fn write(&mut self, path: &str, content: impl AsRef<[u8]>) -> &mut Repo {
        self.put(path, content.as_ref(), gix::objs::tree::EntryKind::Blob)
    }

    /// An executable file of the next commit.
    pub fn write_program(&mut self, path: &str, content: impl AsRef<[u8]>) -> &mut Repo {
        self.put(
            path,
            content.as_ref(),
            gix::objs::tree::EntryKind::BlobExecutable,
        )
    }

    /// A symbolic link of the next commit.
    pub fn link(&mut self, path: &str, target: &str) -> &mut Repo {
        self.put(path, target.as_bytes(), gix::objs::tree::EntryKind::Link)
    }

    fn put(&mut self, path: &str, content: &[u8], kind: gix::objs::tree::EntryKind) -> &mut Repo {
        let blob = self.git.write_blob(content).unwrap().detach();
        let mut editor = self.git.edit_tree(self.tree).unwrap();
        editor.upsert(path, kind, blob).unwrap();
        self.tree = editor.write().unwrap().detach();
        self
    }

    /// Takes a file or a directory out of the next commit.
    pub fn remove(&mut self, path: &str) -> &mut Repo {
        let mut editor = self.git.edit_tree(self.tree).unwrap();
        editor.remove(path).unwrap();
        self.tree = editor.write().unwrap().detach();
        self
    }

    /// Commits on `main`.
    pub fn commit(&mut self, message: &str) -> CommitId {
        let parent = self.git.head_id().ok().map(|id| id.detach());
        self.commit_on("refs/heads/main", message, parent)
    }

    /// Commits on any branch with any parent, and lets the branch point there: how branches are made and rewritten.
    pub fn commit_on(
        &mut self,
        branch: &str,
        message: &str,
        parent: Option<gix::ObjectId>,
    ) -> CommitId {
        self.time_s += 60;
        let who = gix::actor::Signature {
            name: "A Packager".into(),
            email: "packager@example.invalid".into(),
            time: gix::date::Time::new(self.time_s, 0),
        };
        let commit = gix::objs::Commit {
            tree: self.tree,
            parents: parent.into_iter().collect(),
            author: who.clone(),
            committer: who,
            encoding: None,
            message: message.into(),
            extra_headers: Vec::new(),
        };
        let id = self.git.write_object(&commit).unwrap().detach();
        let path = self.git.git_dir().join(branch);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // As git does it: farms look at any moment, and a branch that is just being written is none.
        let new = self.git.git_dir().join("branch-to-be");
        std::fs::write(&new, format!("{id}\n")).unwrap();
        std::fs::rename(new, path).unwrap();
        id.to_string().parse().unwrap()
    }

    /// The time of the last commit, in seconds since 1970.
    pub fn time_s(&self) -> i64 {
        self.time_s
    }
}
