//! Where a project's commits are on this machine: the repository itself when it is local, else a bare mirror that is
//! fetched into. Names the directories below `mirrors/`; what writes them is the child process in `fetch.rs`, which this
//! file starts, watches and kills.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gix::url::Scheme;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout_at};

use super::fetch::{self, Line, Order};
use crate::fault::{Fault, Kind, Result};
use crate::limit;

/// How fetches run: in which program, for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetching {
    /// Called as `PROGRAM __fetch`; this program itself, except in tests.
    pub program: PathBuf,
    /// It is given up after this long whatever it moves.
    pub deadline: Duration,
    /// It is given up when it moved nothing for this long.
    pub stall: Duration,
}

impl Default for Fetching {
    fn default() -> Fetching {
        Fetching {
            // Still this program when its file was replaced by an update.
            program: PathBuf::from("/proc/self/exe"),
            deadline: Duration::from_secs(limit::GIT_DEADLINE_S),
            stall: Duration::from_secs(limit::GIT_STALL_S),
        }
    }
}

/// A git URL and the repository on this machine that its commits are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    url: String,
    shown: String,
    path: PathBuf,
    local: bool,
}

/// One fetch at a time into one mirror: several projects may share it. Fetches into different ones never meet.
static BUSY: Mutex<BTreeMap<PathBuf, Arc<tokio::sync::Mutex<()>>>> = Mutex::new(BTreeMap::new());

impl Mirror {
    /// Reads the URL's form and decides where its commits will be; touches neither disk nor network.
    /// A path or a `file://` URL is read directly, everything else gets a directory below `mirrors`.
    pub fn of(url: &str, mirrors: &Path) -> Result<Mirror> {
        let usage = |what: String| {
            Fault::new(Kind::Usage, what)
                .next("give an absolute path, or a URL with https://, ssh:// or file://")
        };
        let parsed = gix::url::parse(url)
            .map_err(|error| usage(format!("{url:?} is no git URL")).because(&error))?;
        let mut public = parsed.clone();
        public.set_password(None);
        let shown = public.to_bstring().to_string();
        match &parsed.scheme {
            Scheme::File => {
                if parsed
                    .host()
                    .is_some_and(|host| !host.is_empty() && host != "localhost")
                {
                    return Err(usage(format!("{shown} is on another machine")));
                }
                let path = gix::path::from_bstr(parsed.path.as_ref() as &gix::bstr::BStr)
                    .map_err(|error| usage(format!("{shown:?} is no path")).because(&error))?;
                if !path.is_absolute() {
                    return Err(usage(format!("{shown} is not an absolute path")));
                }
                Ok(Mirror {
                    url: url.to_string(),
                    shown,
                    path: path.into_owned(),
                    local: true,
                })
            }
            Scheme::Https | Scheme::Http | Scheme::Ssh | Scheme::Git => {
                let host = parsed.host().unwrap_or_default();
                if host.is_empty() || host.starts_with('-') {
                    return Err(usage(format!("{shown} names no host")));
                }
                let path = mirrors.join(directory_name(host, &parsed.path.to_string(), &shown));
                Ok(Mirror {
                    url: url.to_string(),
                    shown,
                    path,
                    local: false,
                })
            }
            _ => Err(usage(format!(
                "{shown} has a scheme that cannot be fetched"
            ))),
        }
    }

    /// The URL for people: without a password.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Whether it is read directly, so that `sync` has nothing to do.
    pub fn is_local(&self) -> bool {
        self.local
    }

    /// What `Repo::open` takes.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Asks the next `sync` to make the mirror anew, because something in it cannot be read.
    pub fn condemn(&self) {
        if !self.local {
            fetch::condemn(&self.path);
        }
    }

    /// Removes the mirror, when no project uses its URL any more; waits for a fetch that runs.
    pub async fn remove(&self) -> Result<()> {
        if self.local {
            return Ok(());
        }
        let busy = self.busy()?;
        let _alone = busy.lock().await;
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || fetch::remove_mirror(&path))
            .await
            .unwrap_or_else(|error| Err(Fault::bug("removing a mirror panicked").because(&error)))
    }

    fn busy(&self) -> Result<Arc<tokio::sync::Mutex<()>>> {
        match BUSY.lock() {
            Ok(mut busy) => Ok(busy.entry(self.path.clone()).or_default().clone()),
            Err(_) => Err(Fault::bug("the list of running fetches is poisoned")),
        }
    }

    /// Brings the mirror up to date, or makes it. Says how it goes with `progress`; returns notes for people, such as a
    /// mirror that was made anew. Dropping the future kills the fetch.
    pub async fn sync(
        &self,
        fetching: &Fetching,
        progress: impl Fn(String) + Send,
    ) -> Result<Vec<String>> {
        if self.local {
            return Ok(Vec::new());
        }
        let busy = self.busy()?;
        let _alone = busy.lock().await;
        let mut running = Running::start(fetching, &self.shown)?;
        let order = Order {
            url: self.url.clone(),
            shown: self.shown.clone(),
            mirror: self.path.clone(),
        };
        let told = running.follow(&order, fetching, progress).await;
        running.end().await;
        told
    }
}

/// `HOST-PATH-HASH`: readable, one directory, and never the same for two URLs.
fn directory_name(host: &str, path: &str, shown: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '.' {
            c
        } else {
            '-'
        }
    };
    let text: String = format!("{host}-{}", path.trim_matches('/'))
        .chars()
        .map(plain)
        .take(80)
        .collect();
    let hash = Sha256::digest(shown.as_bytes());
    let hash: String = hash
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{}-{hash}", text.trim_start_matches('.'))
}

/// The child and all that it started; dropping it kills them.
struct Running {
    child: Child,
    group: Option<Pid>,
    shown: String,
}

impl Running {
    fn start(fetching: &Fetching, shown: &str) -> Result<Running> {
        let child = Command::new(&fetching.program)
            .arg("__fetch")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .current_dir("/")
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                Fault::new(Kind::Operator, "cannot start a process for git")
                    .because(&error)
                    .next("check the limits on processes and memory")
            })?;
        let group = child.id().and_then(|id| i32::try_from(id).ok());
        Ok(Running {
            child,
            group: group.map(Pid::from_raw),
            shown: shown.to_string(),
        })
    }

    /// Gives the order, then reads what the child says until it is done, silent for too long, or late.
    async fn follow(
        &mut self,
        order: &Order,
        fetching: &Fetching,
        progress: impl Fn(String) + Send,
    ) -> Result<Vec<String>> {
        let gone = || Fault::bug("the process for git has no pipes");
        // Kept open until the end: the child ends when it closes.
        let mut input = self.child.stdin.take().ok_or_else(gone)?;
        let output = self.child.stdout.take().ok_or_else(gone)?;
        let mut text = serde_json::to_string(order)
            .map_err(|error| Fault::bug("cannot encode an order to git").because(&error))?;
        text.push('\n');
        let end = Instant::now() + fetching.deadline;
        let mut lines = BufReader::new(output).lines();
        let mut doing = "connecting".to_string();
        let stalled = |doing: &str| self.late("moved nothing for", fetching.stall, doing);
        let written = timeout_at(
            Instant::now() + fetching.stall,
            input.write_all(text.as_bytes()),
        )
        .await;
        // A child that is gone already says why on its output, or by its silence there.
        if written.is_err() {
            return Err(stalled(&doing));
        }
        loop {
            let patience = (Instant::now() + fetching.stall).min(end);
            let line = match timeout_at(patience, lines.next_line()).await {
                Ok(Ok(Some(line))) => line,
                Ok(Ok(None) | Err(_)) => break,
                Err(_) if Instant::now() >= end => {
                    return Err(self.late("was not done after", fetching.deadline, &doing));
                }
                Err(_) => return Err(stalled(&doing)),
            };
            match serde_json::from_str::<Line>(&line) {
                Ok(Line::Progress { text, .. }) => {
                    progress(text.clone());
                    doing = text;
                }
                Ok(Line::Done { notes }) => return Ok(notes),
                Ok(Line::Failed(fault)) => return Err(self.with_errors(fault).await),
                Err(error) => {
                    return Err(Fault::bug("the process for git said nonsense").because(&error));
                }
            }
        }
        let fault = Fault::new(
            Kind::TryAgain,
            format!("the process that fetched {} died", self.shown),
        )
        .next(
            "nothing: it is tried again; if it stays, look for the kernel's out-of-memory messages",
        );
        Err(self.with_errors(fault).await)
    }

    fn late(&self, what: &str, after: Duration, doing: &str) -> Fault {
        Fault::new(
            Kind::Network,
            format!(
                "git {what} {:.0} s and was given up ({}, {doing})",
                after.as_secs_f64(),
                self.shown
            ),
        )
        .next("check the remote and the network; it is tried again by itself")
    }

    /// Adds the end of what git or ssh wrote to standard error.
    async fn with_errors(&mut self, mut fault: Fault) -> Fault {
        let Some(errors) = self.child.stderr.take() else {
            return fault;
        };
        let mut bytes = Vec::new();
        let read = errors.take(16 * 1024);
        let mut read = std::pin::pin!(read);
        let soon = Instant::now() + Duration::from_millis(500);
        // Whatever came by then is enough.
        let _ = timeout_at(soon, read.read_to_end(&mut bytes)).await;
        let text = String::from_utf8_lossy(&bytes);
        let last: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .rev()
            .take(3)
            .collect();
        fault
            .causes
            .extend(last.into_iter().rev().map(str::to_string));
        fault
    }

    fn kill(&self) {
        if let Some(group) = self.group {
            // It may be gone already.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }

    /// Leaves no process behind.
    async fn end(mut self) {
        self.kill();
        // Killed: this returns at once.
        let _ = self.child.wait().await;
        self.group = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
