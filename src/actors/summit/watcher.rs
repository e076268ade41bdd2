//! One task per project: looks whether its branch moved, reads what changed, and reports. Owns no row: what it found goes to the summit.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::mirror::{Fetching, Mirror};
use super::reader::Repo;
use crate::fault::{Fault, Kind, Result};
use crate::id::{Arch, CommitId, ProjectName, Stamp};
use crate::limit;
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
    /// How its remote is fetched.
    pub fetching: Fetching,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Doing {
    /// Waiting for the next look.
    #[default]
    Idle,
    /// Fetching from the remote.
    Fetching,
    /// Reading recipes.
    Reading,
}

/// For `project list`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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

/// Questions that may wait for one look; more are answered by the next one.
const ASKERS_MAX: usize = 256;

type Asker = oneshot::Sender<Result<CommitId>>;

impl Watcher {
    /// Starts watching; must be called inside a tokio runtime. `previous` is the catalog that the summit recorded last.
    /// An error is about the URL's form.
    pub fn start(
        settings: Settings,
        previous: Option<Arc<Catalog>>,
        report: Arc<dyn Fn(Heard) + Send + Sync>,
    ) -> Result<Watcher> {
        let mirror = Mirror::of(&settings.url, &settings.mirrors)?;
        let (refresh, asked) = mpsc::channel(ASKERS_MAX);
        let (tell, seen) = watch::channel(Seen {
            commit: previous.as_ref().map(|catalog| catalog.commit),
            ..Seen::default()
        });
        let task = Task {
            settings,
            mirror,
            last: previous,
            tell,
            report,
            failures: 0,
            hung: None,
        };
        Ok(Watcher {
            refresh,
            seen,
            task: tokio::spawn(task.run(asked)),
        })
    }

    /// Looks now. What was found is reported before the answer comes: the tip, or why there is none.
    /// The answer is dropped without a value when the watcher is stopped.
    pub fn refresh(&self) -> oneshot::Receiver<Result<CommitId>> {
        let (answer, asked) = oneshot::channel();
        // A full queue means that many looks were asked for already; the asker sees the dropped sender and asks again.
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

/// What one look found.
struct Look {
    tip: CommitId,
    /// `None`: the tip is where it was.
    catalog: Option<Arc<Catalog>>,
    notes: Vec<String>,
}

struct Task {
    settings: Settings,
    mirror: Mirror,
    last: Option<Arc<Catalog>>,
    tell: watch::Sender<Seen>,
    report: Arc<dyn Fn(Heard) + Send + Sync>,
    /// Looks in a row that failed.
    failures: u32,
    /// A read that did not come back in time: on a dead network file system it may never do so.
    hung: Option<tokio::task::JoinHandle<Result<Look>>>,
}

impl Task {
    async fn run(mut self, mut asked: mpsc::Receiver<Asker>) {
        let mut askers: Vec<Asker> = Vec::new();
        loop {
            self.look().await.answer(&mut askers);
            let pause = pause(self.settings.poll, self.failures, rand::random());
            match tokio::time::timeout(pause, asked.recv()).await {
                Ok(Some(asker)) => askers.push(asker),
                Ok(None) => return,
                Err(_) => {}
            }
            // Who asked before this look begins is answered by it; who asks later gets another one.
            while let Ok(asker) = asked.try_recv() {
                askers.push(asker);
            }
        }
    }

    /// One look, reported.
    async fn look(&mut self) -> Answer {
        self.tell.send_modify(|seen| seen.last_tried = Some(now()));
        let looked = self.try_look().await;
        let project = self.settings.project.clone();
        let before = self.tell.borrow().fault.clone();
        let (heard, answer) = match looked {
            Ok(look) => {
                self.failures = 0;
                let heard = match look.catalog {
                    Some(catalog) => {
                        self.last = Some(catalog.clone());
                        Some(Heard::TipMoved {
                            project,
                            catalog,
                            notes: look.notes,
                        })
                    }
                    None if before.is_some() => Some(Heard::IntakeMended { project }),
                    None => None,
                };
                (heard, Ok(look.tip))
            }
            Err(fault) => {
                self.failures = self.failures.saturating_add(1);
                let heard = (before.as_ref() != Some(&fault)).then(|| Heard::IntakeFault {
                    project,
                    fault: fault.clone(),
                });
                (heard, Err(fault))
            }
        };
        if let Some(heard) = heard {
            (self.report)(heard);
        }
        self.tell.send_modify(|seen| {
            seen.doing = Doing::Idle;
            seen.progress = None;
            seen.fault = answer.as_ref().err().cloned();
            if let Ok(tip) = &answer {
                seen.commit = Some(*tip);
                seen.last_ok = Some(now());
            }
        });
        Answer(answer)
    }

    async fn try_look(&mut self) -> Result<Look> {
        self.tell.send_modify(|seen| seen.doing = Doing::Fetching);
        let mut notes = {
            let tell = &self.tell;
            let progress = |text| tell.send_modify(|seen| seen.progress = Some(text));
            self.mirror.sync(&self.settings.fetching, progress).await?
        };
        self.tell.send_modify(|seen| {
            seen.doing = Doing::Reading;
            seen.progress = None;
        });
        let mut look = self.read().await?;
        notes.append(&mut look.notes);
        look.notes = notes;
        Ok(look)
    }

    /// Reads on a thread of its own, and does not wait for one that hangs.
    async fn read(&mut self) -> Result<Look> {
        let mut reading = match self.hung.take() {
            Some(hung) => hung,
            None => {
                let settings = self.settings.clone();
                let mirror = self.mirror.clone();
                let last = self.last.clone();
                tokio::task::spawn_blocking(move || read(&settings, &mirror, last.as_deref()))
            }
        };
        match tokio::time::timeout(self.settings.fetching.deadline, &mut reading).await {
            Ok(Ok(look)) => look,
            Ok(Err(error)) => Err(Fault::bug("reading recipes panicked").because(&error)),
            Err(_) => {
                self.hung = Some(reading);
                Err(Fault::new(
                    Kind::Operator,
                    format!("reading {} does not end", self.mirror.path().display()),
                )
                .next("check the file system that it lies on"))
            }
        }
    }
}

/// The blocking part of a look.
fn read(settings: &Settings, mirror: &Mirror, last: Option<&Catalog>) -> Result<Look> {
    let looked = try_read(settings, mirror, last);
    if let Err(fault) = &looked
        && fault.kind == Kind::Operator
    {
        // Our own copy is damaged: the next look fetches a new one.
        mirror.condemn();
    }
    looked
}

fn try_read(settings: &Settings, mirror: &Mirror, last: Option<&Catalog>) -> Result<Look> {
    let repo = Repo::open(mirror.path())?;
    let tip = repo.tip(settings.branch.as_deref())?;
    let mut notes = Vec::new();
    if let Some(last) = last {
        if last.commit == tip {
            return Ok(Look {
                tip,
                catalog: None,
                notes,
            });
        }
        if !repo.is_ancestor(last.commit, tip) {
            notes.push(format!(
                "the branch was rewritten: {} is not in the history of {}",
                last.commit.short(),
                tip.short()
            ));
        }
    }
    let catalog = repo.catalog(&settings.project, tip, settings.arch, last)?;
    Ok(Look {
        tip,
        catalog: Some(Arc::new(catalog)),
        notes,
    })
}

struct Answer(Result<CommitId>);

impl Answer {
    fn answer(self, askers: &mut Vec<Asker>) {
        for asker in askers.drain(..) {
            // An asker that is gone needs no answer.
            let _ = asker.send(self.0.clone());
        }
    }
}

/// Between two looks: the poll time, doubled with each failure in a row up to a limit, and up to a tenth less or more by
/// `chance`, so that many projects (and many farms) do not look at the same moment.
fn pause(poll: Duration, failures: u32, chance: u8) -> Duration {
    let longest = poll.max(Duration::from_secs(limit::POLL_BACKOFF_S_MAX));
    let base = poll
        .saturating_mul(1 << failures.saturating_sub(1).min(10))
        .min(longest);
    base.mul_f64(0.9 + 0.2 * f64::from(chance) / 255.0)
}

fn now() -> Stamp {
    crate::actors::now().wall
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_failures_and_end_at_a_limit() {
        let poll = Duration::from_secs(30);
        let seconds = |failures| pause(poll, failures, 127).as_secs_f64().round();
        assert_eq!(
            [0, 1, 2, 3, 4, 5, 6, 40].map(seconds),
            [30.0, 30.0, 60.0, 120.0, 240.0, 480.0, 600.0, 600.0]
        );
        assert!(pause(poll, 0, 0) < pause(poll, 0, 255));
        let slow = Duration::from_secs(7_200);
        assert!(pause(slow, 9, 0) >= Duration::from_secs(6_400));
    }
}
