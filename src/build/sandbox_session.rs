//! The host's end of a sandbox: starts the helper, tells it what to run, kills it. The other end is `sandbox_init`.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;

use super::cgroup::Group;
use super::sandbox::{Spec, Step, StepEnd};
use super::sandbox_forks;
pub use super::sandbox_forks::use_helper;
use super::sandbox_wire::{Said, Tell, receive_async, send_async};
use crate::fault::{Fault, Kind, Result};
use crate::limit;

/// The hidden sub-command's name, and how its processes are found in `/proc`.
pub const HELPER_COMMAND: &str = "__sandbox";
/// What the log's pipe holds; the default of 64 KiB makes a chatty compiler wait for its reader.
const LOG_PIPE_BYTES: usize = 1024 * 1024;

/// The read end of a session's log: what the steps write to stdout and stderr, merged, in order. Ends when the session does.
pub type LogReader = tokio::net::unix::pipe::Receiver;

/// A running sandbox. Dropping it kills every process of it.
#[derive(Debug)]
pub struct Session {
    control: UnixStream,
    helper: Option<Helper>,
    killer: Killer,
    init_pid: i32,
    group: Option<Arc<Group>>,
    /// A `run` was given up in the middle, so the next answer belongs to it.
    out_of_step: bool,
}

/// The outer helper process, which ends when the sandbox is gone.
#[derive(Debug)]
struct Helper {
    /// Readable when it has ended.
    ended: AsyncFd<OwnedFd>,
}

/// Kills a session from elsewhere.
#[derive(Debug, Clone)]
pub struct Killer {
    init: Arc<OwnedFd>,
    group: Option<Arc<Group>>,
}

impl Killer {
    /// Kills every process of the sandbox; returns at once. A session that has ended is left alone.
    pub fn kill(&self) {
        // The only error that a live descriptor of our own process gives is that it has ended.
        let _ = pidfd_send_signal(&*self.init, Signal::KILL);
        // The same by the kernel's other door, which does not depend on whose descendant somebody is.
        if let Some(group) = &self.group {
            group.kill();
        }
    }
}

/// What the helpers of this state directory carry in their command line, so that a later process finds them.
pub fn marker(state_dir: &Path) -> io::Result<String> {
    let meta = std::fs::metadata(state_dir)?;
    Ok(format!("{:x}.{:x}", meta.dev(), meta.ino()))
}

fn io_fault(what: &str, error: impl Into<io::Error>) -> Fault {
    let error = error.into();
    let kind = match error.raw_os_error() {
        Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE) => Kind::TryAgain,
        _ => Kind::Builder,
    };
    Fault::new(kind, format!("cannot {what}")).because(&error)
}

fn gone(error: io::Error) -> Fault {
    Fault::new(Kind::Builder, "the sandbox ended before its step did")
        .because(&error)
        .next("look for an out-of-memory kill in the kernel's log")
}

impl Session {
    /// Makes the root and its first process. The log reader must be read, or the steps will block on a full pipe.
    pub async fn start(spec: Spec) -> Result<(Session, LogReader)> {
        Session::start_in(spec, None).await
    }

    /// The same with all its processes in a control group.
    pub async fn start_in(spec: Spec, group: Option<Arc<Group>>) -> Result<(Session, LogReader)> {
        let limit = Duration::from_millis(limit::SANDBOX_START_MS);
        match tokio::time::timeout(limit, Session::start_untimed(spec, group)).await {
            Ok(started) => started,
            Err(_) => Err(Fault::new(
                Kind::TryAgain,
                format!("a build root was not made within {} s", limit.as_secs()),
            )
            .next("look for a hung file system or an overloaded machine")),
        }
    }

    async fn start_untimed(spec: Spec, group: Option<Arc<Group>>) -> Result<(Session, LogReader)> {
        let what = "start a sandbox";
        let (ours, theirs) = StdStream::pair().map_err(|e| io_fault(what, e))?;
        ours.set_nonblocking(true).map_err(|e| io_fault(what, e))?;
        let mut control = UnixStream::from_std(ours).map_err(|e| io_fault(what, e))?;
        let (log_end, log_start) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|e| io_fault(what, e))?;
        // Over the user's share of pipe memory the kernel refuses, and the smaller pipe does as well.
        let _ = rustix::pipe::fcntl_setpipe_size(&log_start, LOG_PIPE_BYTES);
        let log = LogReader::from_owned_fd(log_end).map_err(|e| io_fault(what, e))?;
        let marker =
            marker(&spec.state_dir).map_err(|e| io_fault("find the state directory", e))?;
        let forked = sandbox_forks::fork(marker, OwnedFd::from(theirs), log_start)
            .await
            .map_err(|e| io_fault(what, e))?;
        if let Some(group) = &group {
            // It waits for its first order, so nothing that it will start is missed.
            group
                .add(forked.pid)
                .map_err(|e| io_fault("put a sandbox into its control group", e))?;
        }
        let helper = Helper::watch(forked.ended)?;
        // While the helper starts: it does nothing before its first order.
        give_writable_binds(&spec).await?;
        let cache_path = spec.root.loader_cache.clone();
        send_async(&mut control, &Tell::Start(Box::new(spec)))
            .await
            .map_err(|e| io_fault(what, e))?;
        let (init_pid, mut killer, cache) = born_and_ready(&mut control).await?;
        killer.group.clone_from(&group);
        if let (Some(path), Some(bytes)) = (cache_path, cache) {
            keep_loader_cache(path, bytes).await?;
        }
        let session = Session {
            control,
            helper: Some(helper),
            killer,
            init_pid,
            group,
            out_of_step: false,
        };
        Ok((session, log))
    }

    /// Runs one program to its end. One at a time; a call that is dropped half-way leaves the session fit for `kill` only.
    pub async fn run(&mut self, step: Step) -> Result<StepEnd> {
        if std::mem::replace(&mut self.out_of_step, true) {
            return Err(Fault::bug(format!(
                "step {} was asked of a sandbox whose last step was given up",
                step.name
            )));
        }
        send_async(&mut self.control, &Tell::Run(step))
            .await
            .map_err(gone)?;
        let said = receive_async(&mut self.control).await.map_err(gone)?;
        self.out_of_step = false;
        match said {
            Said::Ended(end) => Ok(end),
            Said::NotRun(fault) | Said::Failed(fault) => Err(fault),
            Said::Born { .. } | Said::Ready { .. } => Err(Fault::bug(
                "the sandbox answered a step with something else",
            )),
        }
    }

    /// The sandbox's first process as the host numbers it: all others are below it. For watchers of CPU time and I/O.
    pub fn init_pid(&self) -> i32 {
        self.init_pid
    }

    /// Something that kills the session from elsewhere while `run` waits; `run` then fails.
    pub fn killer(&self) -> Killer {
        self.killer.clone()
    }

    /// Kills every process of the sandbox, also those that became daemons, and returns when none is left.
    pub async fn kill(mut self) -> Result<()> {
        self.killer.kill();
        self.ended().await
    }

    /// Ends the sandbox in order and returns when no process is left.
    pub async fn finish(mut self) -> Result<()> {
        // A sandbox that does not hear this has ended already, and that is what was asked for.
        let _ = send_async(&mut self.control, &Tell::Finish).await;
        let limit = Duration::from_millis(limit::SANDBOX_END_MS);
        if tokio::time::timeout(limit, self.helper_ended())
            .await
            .is_err()
        {
            self.killer.kill();
        }
        self.ended().await
    }

    async fn helper_ended(&mut self) -> io::Result<()> {
        if let Some(helper) = &self.helper {
            helper.ended.readable().await?.retain_ready();
        }
        Ok(())
    }

    async fn ended(&mut self) -> Result<()> {
        self.helper_ended()
            .await
            .map_err(|e| io_fault("wait for the end of a sandbox", e))?;
        self.helper = None;
        if let Some(group) = &self.group {
            group.emptied().await;
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.killer.kill();
    }
}

impl Helper {
    fn watch(ended: OwnedFd) -> Result<Helper> {
        // SAFETY: an `OwnedFd` names the same open descriptor for as long as it lives.
        let ended = unsafe { AsyncFd::register(ended) }
            .map_err(|_| Fault::bug("a process's descriptor cannot be watched"))?;
        Ok(Helper { ended })
    }
}

impl Drop for Helper {
    /// A session that was given up: end the helper, and so all of it.
    fn drop(&mut self) {
        // The only error that a live descriptor of our own process gives is that it has ended.
        let _ = pidfd_send_signal(self.ended.get_ref(), Signal::KILL);
    }
}

/// The first two things that a sandbox says, in either order, and what its loader cache is if it made one.
async fn born_and_ready(control: &mut UnixStream) -> Result<(i32, Killer, Option<Vec<u8>>)> {
    let mut born = None;
    let mut ready = None;
    loop {
        match receive_async(control).await.map_err(gone)? {
            Said::Born { pid } => {
                let init = Pid::from_raw(pid)
                    .ok_or(rustix::io::Errno::SRCH)
                    .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()))
                    .map_err(|e| io_fault("watch a sandbox", e))?;
                let init = Arc::new(init);
                born = Some((pid, Killer { init, group: None }));
            }
            Said::Ready { loader_cache } => ready = Some(loader_cache),
            Said::Failed(fault) => return Err(fault),
            Said::Ended(_) | Said::NotRun(_) => {
                return Err(Fault::bug("the sandbox ended a step that it was not given"));
            }
        }
        if let (Some((pid, killer)), Some(cache)) = (&born, &mut ready) {
            return Ok((*pid, killer.clone(), cache.take()));
        }
    }
}

/// Keeps the loader's cache for the next root of the same packages. Written beside and renamed: another slot may be doing the same.
async fn keep_loader_cache(path: PathBuf, bytes: Vec<u8>) -> Result<()> {
    let written = tokio::task::spawn_blocking(move || -> io::Result<()> {
        use std::io::Write;
        use std::os::unix::fs::PermissionsExt;
        let parent = path.parent().unwrap_or(Path::new("/"));
        let mut file = tempfile::NamedTempFile::new_in(parent)?;
        file.write_all(&bytes)?;
        file.as_file()
            .set_permissions(std::fs::Permissions::from_mode(0o644))?;
        file.persist(&path)?;
        Ok(())
    });
    written
        .await
        .map_err(|_| Fault::bug("writing a loader cache panicked"))?
        .map_err(|e| io_fault("keep the loader's cache", e))
}

/// Gives the writable binds, and all that is in them, to the id that the sandbox has outside. Nothing to do for an ordinary user.
async fn give_writable_binds(spec: &Spec) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let given: Vec<PathBuf> = spec
        .binds
        .iter()
        .filter(|bind| bind.writable)
        .map(|bind| bind.from.clone())
        .collect();
    let uid = spec.outer_uid;
    tokio::task::spawn_blocking(move || given.iter().try_for_each(|path| give(path, uid)))
        .await
        .map_err(|_| Fault::bug("giving directories to a sandbox panicked"))?
        .map_err(|e| io_fault("give a directory to the sandbox", e))
}

/// Changes the owner of a tree, links themselves and not what they point to. Entries that have the owner cost one look.
fn give(path: &Path, uid: u32) -> io::Result<()> {
    let mut rest = vec![path.to_owned()];
    while let Some(path) = rest.pop() {
        let meta = std::fs::symlink_metadata(&path)?;
        if meta.uid() != uid || meta.gid() != uid {
            std::os::unix::fs::lchown(&path, Some(uid), Some(uid))?;
        }
        if meta.is_dir() {
            for entry in std::fs::read_dir(&path)? {
                rest.push(entry?.path());
            }
        }
    }
    Ok(())
}
