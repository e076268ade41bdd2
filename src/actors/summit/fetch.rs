//! The hidden sub-command `massif __fetch`: one git fetch in a process of its own, so that a remote that hangs can be
//! killed with it. Takes one `Order` as a line of JSON on its standard input, and ends when that closes; says `Line`s of
//! JSON on its standard output. Sole writer of the mirror that the order names, by a lock file beside it.

use std::io::{BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gix::protocol::handshake::Ref;
use gix::refs::transaction::{Change, LogChange, PreviousValue, RefEdit};
use gix::refs::{FullName, Target};
use gix::remote::Direction;
use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Kind, Result};
use crate::limit;

/// What the child is asked to do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// Where from; may hold a password, so it is never shown.
    pub url: String,
    /// The same for people.
    pub shown: String,
    /// The bare mirror; made when it is not there.
    pub mirror: PathBuf,
}

/// What the child says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// Something moved.
    Progress {
        /// Another number whenever something moved; it means nothing else.
        moved: usize,
        /// What git is doing.
        text: String,
    },
    /// The mirror is up to date.
    Done {
        /// For people, such as a mirror that was made anew.
        notes: Vec<String>,
    },
    /// It is not.
    Failed(Fault),
}

/// In a mirror: it has to be made anew, whatever it looks like.
const REMAKE: &str = "massif-remake";
/// Between two looks at the progress.
const TICK: Duration = Duration::from_millis(200);
/// An order is a URL and a path.
const ORDER_BYTES_MAX: u64 = 64 * 1024;

/// Asks the next fetch to make the mirror anew: something in it cannot be read.
pub fn condemn(mirror: &Path) {
    // When even this cannot be written, the next fetch says what is wrong with the directory.
    let _ = std::fs::write(mirror.join(REMAKE), b"");
}

/// What `main` calls for `massif __fetch`.
pub fn run() -> ExitCode {
    let mut text = String::new();
    let read = std::io::stdin()
        .lock()
        .take(ORDER_BYTES_MAX)
        .read_line(&mut text);
    let order = match read
        .map_err(|error| error.to_string())
        .and_then(|_| serde_json::from_str::<Order>(&text).map_err(|error| error.to_string()))
    {
        Ok(order) => order,
        Err(error) => {
            say(&Line::Failed(Fault::bug(format!(
                "massif __fetch got no order: {error}"
            ))));
            return ExitCode::FAILURE;
        }
    };
    std::thread::spawn(end_with_parent);
    // An error means that a provider is installed already, which is what we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let tally = Tally::default();
    let ticker = tally.clone();
    std::thread::spawn(move || tick(&ticker));
    match update(&order, &tally) {
        Ok(notes) => {
            say(&Line::Done { notes });
            ExitCode::SUCCESS
        }
        Err(fault) => {
            say(&Line::Failed(fault));
            ExitCode::FAILURE
        }
    }
}

/// The parent keeps our standard input open as long as it lives and wants this fetch.
fn end_with_parent() {
    let mut byte = [0];
    let mut input = std::io::stdin().lock();
    while matches!(input.read(&mut byte), Ok(1)) {}
    std::process::exit(3);
}

fn tick(tally: &Tally) {
    let mut last = 0;
    loop {
        std::thread::sleep(TICK);
        let moved = tally.moved();
        if moved != last {
            last = moved;
            let text = gix::Progress::name(tally).unwrap_or_default();
            say(&Line::Progress { moved, text });
        }
    }
}

fn say(line: &Line) {
    if let Ok(mut text) = serde_json::to_string(line) {
        text.push('\n');
        // A parent that is gone needs no answer; `end_with_parent` sees to the rest.
        let _ = std::io::stdout().lock().write_all(text.as_bytes());
    }
}

/// Counts what moves. Each part of the work has a counter of its own (git compares them with what it expects); a
/// watchdog only needs to know whether any of them changed.
#[derive(Clone, Default)]
struct Tally {
    step: Arc<AtomicUsize>,
    all: Arc<Mutex<All>>,
}

#[derive(Default)]
struct All {
    counters: Vec<Arc<AtomicUsize>>,
    messages: usize,
    doing: String,
}

impl Tally {
    fn now(&self, name: String) {
        if let Ok(mut all) = self.all.lock() {
            all.messages += 1;
            all.doing = name;
        }
    }

    /// A number that is another one whenever something moved.
    fn moved(&self) -> usize {
        self.all.lock().map_or(0, |all| {
            let steps = all.counters.iter().map(|one| one.load(Ordering::Relaxed));
            steps.fold(all.messages, usize::wrapping_add)
        })
    }
}

impl gix::Count for Tally {
    fn set(&self, step: usize) {
        self.step.store(step, Ordering::Relaxed);
    }
    fn step(&self) -> usize {
        self.step.load(Ordering::Relaxed)
    }
    fn inc_by(&self, step: usize) {
        self.step.fetch_add(step, Ordering::Relaxed);
    }
    fn counter(&self) -> Arc<AtomicUsize> {
        self.step.clone()
    }
}

impl gix::Progress for Tally {
    fn init(&mut self, _max: Option<usize>, _unit: Option<gix::progress::Unit>) {}
    fn set_name(&mut self, name: String) {
        self.now(name);
    }
    fn name(&self) -> Option<String> {
        self.all.lock().ok().map(|all| all.doing.clone())
    }
    fn id(&self) -> gix::progress::Id {
        gix::progress::UNKNOWN
    }
    fn message(&self, _level: gix::progress::MessageLevel, message: String) {
        self.now(message);
    }
}

impl gix::NestedProgress for Tally {
    type SubProgress = Tally;
    fn add_child(&mut self, name: impl Into<String>) -> Tally {
        self.now(name.into());
        let child = Tally {
            step: Arc::default(),
            all: self.all.clone(),
        };
        if let Ok(mut all) = self.all.lock() {
            all.counters.push(child.step.clone());
        }
        child
    }
    fn add_child_with_id(&mut self, name: impl Into<String>, _id: gix::progress::Id) -> Tally {
        self.add_child(name)
    }
}

fn beside(mirror: &Path, suffix: &str) -> PathBuf {
    let mut name = mirror.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn disk(what: &str, path: &Path, error: &std::io::Error) -> Fault {
    Fault::new(Kind::Operator, format!("cannot {what} {}", path.display()))
        .because(error)
        .next("check the state directory's disk and rights")
}

/// Brings the mirror up to date, or makes it anew beside the old one when that cannot be used.
fn update(order: &Order, tally: &Tally) -> Result<Vec<String>> {
    let mirror = &order.mirror;
    if let Some(parent) = mirror.parent() {
        std::fs::create_dir_all(parent).map_err(|error| disk("create", parent, &error))?;
    }
    let lock_path = beside(mirror, ".lock");
    let lock =
        std::fs::File::create(&lock_path).map_err(|error| disk("create", &lock_path, &error))?;
    // Held until this process ends: a fetch that a dead parent left behind may still be dying.
    lock.lock()
        .map_err(|error| disk("lock", &lock_path, &error))?;
    let new = beside(mirror, ".new");
    let old = beside(mirror, ".old");
    for leftover in [&new, &old] {
        remove(leftover)?;
    }
    let mut notes = Vec::new();
    match unusable(mirror) {
        None => {
            remove_stale_locks(mirror, 0);
            fetch(order, mirror, tally)?;
        }
        Some(why) => {
            gix::ThreadSafeRepository::init_opts(
                &new,
                gix::create::Kind::Bare,
                gix::create::Options::default(),
                gix::open::Options::isolated(),
            )
            .map_err(|error| {
                Fault::new(Kind::Operator, format!("cannot create {}", new.display()))
                    .because(&error)
                    .next("check the state directory's disk and rights")
            })?;
            fetch(order, &new, tally)?;
            if mirror.exists() {
                notes.push(format!(
                    "the mirror of {} was made anew: {why}",
                    order.shown
                ));
                std::fs::rename(mirror, &old).map_err(|error| disk("rename", mirror, &error))?;
            }
            std::fs::rename(&new, mirror).map_err(|error| disk("rename", &new, &error))?;
            remove(&old)?;
        }
    }
    Ok(notes)
}

/// Removes a mirror and what lies beside it.
pub fn remove_mirror(mirror: &Path) -> Result<()> {
    for suffix in ["", ".new", ".old"] {
        remove(&beside(mirror, suffix))?;
    }
    // A lock file that stays costs nothing and is used again by the next mirror of that name.
    let _ = std::fs::remove_file(beside(mirror, ".lock"));
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(disk("remove", path, &error))
        }
        _ => Ok(()),
    }
}

/// Why a mirror has to be made anew; `None` when it can be fetched into.
fn unusable(mirror: &Path) -> Option<String> {
    if !mirror.exists() {
        return Some("it did not exist".to_string());
    }
    if mirror.join(REMAKE).exists() {
        return Some("an object in it could not be read".to_string());
    }
    let repo = match open(mirror) {
        Ok(repo) => repo,
        Err(error) => return Some(format!("it could not be opened ({error})")),
    };
    if repo.is_shallow().unwrap_or(true) {
        return Some("its history was cut".to_string());
    }
    let packs = std::fs::read_dir(mirror.join("objects/pack")).map_or(0, |files| {
        files
            .flatten()
            .filter(|file| file.path().extension().is_some_and(|end| end == "pack"))
            .count()
    });
    if packs > limit::MIRROR_PACKS_MAX {
        return Some(format!("it had {packs} packs"));
    }
    let readable = || -> gix::Result<()> {
        for branch in repo.references()?.local_branches()?.take(1_000) {
            let mut branch = branch?;
            let commit = repo.find_commit(branch.peel_to_id()?.detach())?;
            commit.tree()?;
        }
        Ok(())
    };
    readable()
        .err()
        .map(|error| format!("a branch of it could not be read ({error})"))
}

/// Locks and half-written packs of a fetch that was killed. Ours is the only process that writes here.
fn remove_stale_locks(dir: &Path, depth: usize) {
    let Ok(files) = std::fs::read_dir(dir) else {
        return;
    };
    for file in files.flatten() {
        let path = file.path();
        let name = file.file_name().to_string_lossy().into_owned();
        let is_dir = file.file_type().is_ok_and(|kind| kind.is_dir());
        if is_dir && depth < 16 && (depth > 0 || name == "refs") {
            remove_stale_locks(&path, depth + 1);
        } else if !is_dir && name.ends_with(".lock") {
            // What cannot be removed makes the fetch say so.
            let _ = std::fs::remove_file(&path);
        }
    }
    if depth == 0
        && let Ok(files) = std::fs::read_dir(dir.join("objects/pack"))
    {
        for file in files.flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            if name.starts_with(".tmp") || name.starts_with("tmp_") {
                let _ = std::fs::remove_file(file.path());
            }
        }
    }
}

fn open(path: &Path) -> gix::Result<gix::Repository> {
    // Nobody can answer a question that ssh would ask here. The operator's own choice of ssh counts.
    let ssh = std::env::var("GIT_SSH_COMMAND")
        .unwrap_or_else(|_| "ssh -oBatchMode=yes -oConnectTimeout=30".to_string());
    let options = gix::open::Options::isolated()
        .with(gix::sec::Trust::Full)
        .config_overrides([
            format!("core.sshCommand={ssh}"),
            "ssh.variant=ssh".to_string(),
            "gitoxide.credentials.terminalPrompt=false".to_string(),
            // git wants a name for its log of references, even where it keeps none.
            "user.name=massif".to_string(),
            "user.email=massif@localhost".to_string(),
        ]);
    Ok(options.open(path)?.to_thread_local())
}

fn fetch(order: &Order, into: &Path, tally: &Tally) -> Result<()> {
    let failed = |error: gix::Error| remote_fault(order, &error);
    let repo = open(into).map_err(failed)?;
    // A remote whose HEAD names a branch that does not exist is fetched without HEAD.
    let refs = match receive(order, &repo, tally, &["HEAD"]) {
        Ok(refs) => refs,
        Err(first) => receive(order, &repo, tally, &[]).map_err(|_| failed(first))?,
    };
    if refs.is_empty() {
        return Err(
            Fault::new(Kind::NotFound, format!("{} has no branch yet", order.shown))
                .next("push a commit to it"),
        );
    }
    take_over_head(&repo, &refs).map_err(failed)?;
    prune(&repo, &refs).map_err(failed)
}

/// Fetches all branches and `extra`; gives what the remote has.
fn receive(
    order: &Order,
    repo: &gix::Repository,
    tally: &Tally,
    extra: &[&str],
) -> gix::Result<Vec<Ref>> {
    let remote = repo
        .remote_at(order.url.as_str())?
        .with_fetch_tags(gix::remote::fetch::Tags::None)
        .with_refspecs(["+refs/heads/*:refs/heads/*"], Direction::Fetch)?;
    let mut extra_refspecs = Vec::new();
    for spec in extra {
        let spec = gix::refspec::parse((*spec).into(), gix::refspec::parse::Operation::Fetch)?;
        extra_refspecs.push(spec.to_owned());
    }
    let url = gix::url::parse(order.url.as_str())?;
    let mut asked = false;
    let prepared = remote
        .connect(Direction::Fetch)?
        .with_credentials(move |action| Ok(answer(&url, action, &mut asked)))
        .prepare_fetch(
            tally.clone(),
            gix::remote::ref_map::Options {
                extra_refspecs,
                ..Default::default()
            },
        )?;
    let outcome = prepared.receive(tally.clone(), &AtomicBool::new(false))?;
    Ok(outcome.ref_map.remote_refs)
}

/// Only what the URL itself says, and only once: there is nobody to ask.
fn answer(
    url: &gix::Url,
    action: gix::credentials::helper::Action,
    asked: &mut bool,
) -> Option<gix::credentials::protocol::Outcome> {
    let gix::credentials::helper::Action::Get(context) = action else {
        return None;
    };
    if std::mem::replace(asked, true) {
        return None;
    }
    Some(gix::credentials::protocol::Outcome {
        identity: gix::sec::identity::Account {
            username: url.user()?.to_string(),
            password: url.password()?.to_string(),
            oauth_refresh_token: None,
        },
        next: context.into(),
    })
}

/// The mirror's HEAD is the remote's: the default branch.
fn take_over_head(repo: &gix::Repository, refs: &[Ref]) -> gix::Result<()> {
    let target = refs.iter().find_map(|one| match one {
        Ref::Symbolic {
            full_ref_name,
            target,
            ..
        } if full_ref_name == "HEAD" => FullName::try_from(target.clone())
            .ok()
            .map(Target::Symbolic),
        Ref::Direct {
            full_ref_name,
            object,
        } if full_ref_name == "HEAD" => Some(Target::Object(*object)),
        _ => None,
    });
    let Some(new) = target else {
        return Ok(());
    };
    repo.edit_reference(RefEdit::new(
        FullName::try_from("HEAD").map_err(gix::Error::from_error)?,
        Change::Update {
            log: LogChange::default(),
            expected: PreviousValue::Any,
            new,
        },
    ))?;
    Ok(())
}

/// Branches that the remote has no more.
fn prune(repo: &gix::Repository, refs: &[Ref]) -> gix::Result<()> {
    let remote: std::collections::HashSet<_> = refs.iter().map(|one| one.unpack().0).collect();
    let mut gone = Vec::new();
    for branch in repo.references()?.local_branches()? {
        let branch = branch?;
        if !remote.contains(branch.name().as_bstr()) {
            gone.push(RefEdit::delete(
                branch.name().to_owned(),
                PreviousValue::Any,
            ));
        }
    }
    if !gone.is_empty() {
        repo.edit_references(gone)?;
    }
    Ok(())
}

fn remote_fault(order: &Order, error: &gix::Error) -> Fault {
    let fault = Fault::new(Kind::Network, format!("{} cannot be fetched", order.shown));
    // Git asks for a password after ssh was refused, and reports that nobody answered.
    if order.shown.starts_with("ssh://") && error.to_string().contains("credential") {
        return fault
            .because(&std::io::Error::other(
                "the server refused every ssh key of the farm's user (Permission denied)",
            ))
            .next(
                "register that user's public key with the server, or start the farm with GIT_SSH_COMMAND='ssh -i KEY'; \
it is tried again by itself",
            );
    }
    fault
        .because(error)
        .next("check the URL, the network and the rights; it is tried again by itself")
}
