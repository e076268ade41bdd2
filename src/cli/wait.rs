//! Waiting for the farm: a live line on a terminal, plain lines in a pipe, and a deadline.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::ask::Host;
use super::show;
use super::text;
use crate::admin::view::{JobState, JobView, ProjectView, WorkView};
use crate::admin::{host, summit};
use crate::fault::{Fault, Kind, Result};
use crate::id::{JobId, Stamp};
use crate::net::admin::{Answers, Client};

/// What a person sees while they wait: on standard error, so that standard output stays the answer's.
#[derive(Debug)]
pub(super) struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// With a total when there is one to count to.
    pub(super) fn new(total: Option<u64>) -> Progress {
        if !std::io::stderr().is_terminal() {
            return Progress { bar: None };
        }
        let (bar, template) = match total {
            Some(total) if total > 1 => (
                ProgressBar::new(total),
                "{spinner} {elapsed} {bar:20} {pos}/{len} {wide_msg}",
            ),
            _ => (ProgressBar::new_spinner(), "{spinner} {elapsed} {wide_msg}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        *live() = Some(bar.clone());
        Progress { bar: Some(bar) }
    }

    /// What goes on right now: on a terminal only.
    pub(super) fn now(&self, words: &str, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(text::line(words).into_owned());
        }
    }

    /// Work that begins: what goes on, on a terminal; elsewhere a line.
    pub(super) fn begins(&self, words: &str) {
        match &self.bar {
            Some(_) => self.now(words, 0),
            None => self.happened(words),
        }
    }

    /// How far long work is: on a terminal at once, elsewhere a line every now and then.
    pub(super) fn goes_on(&self, words: &str, told: &mut Instant) {
        self.now(words, 0);
        if self.bar.is_none() && told.elapsed() >= WORK_TOLD {
            *told = Instant::now();
            self.happened(words);
        }
    }

    /// Something that happened: a line that stays.
    pub(super) fn happened(&self, words: &str) {
        let words = text::line(words);
        match &self.bar {
            Some(bar) => bar.println(words),
            // Nobody is left to tell when standard error is gone.
            None => drop(writeln!(std::io::stderr(), "{}", text::ascii(&words))),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            *live() = None;
        }
    }
}

/// The line that lives on this terminal now, if there is one.
static LIVE: Mutex<Option<ProgressBar>> = Mutex::new(None);

fn live() -> MutexGuard<'static, Option<ProgressBar>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes to the terminal above the line that lives there.
pub(super) fn above<T>(write: impl FnOnce() -> T) -> T {
    let bar = live().clone();
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Standard error for the log: its lines go above the one that lives.
#[derive(Debug, Default)]
pub(super) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        above(|| std::io::stderr().write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

/// How often work of a host is looked at, and how often a pipe hears of it.
pub(super) const WORK_LOOK: Duration = Duration::from_millis(250);
const WORK_TOLD: Duration = Duration::from_secs(10);

/// Waits for work of a host, and shows how far it is: what, done of total, time left.
pub(super) async fn with_work<T>(
    host: &Host,
    kind: &str,
    words: &str,
    doing: impl Future<Output = Result<T>>,
) -> Result<T> {
    let progress = Progress::new(None);
    progress.begins(words);
    let mut doing = std::pin::pin!(doing);
    let mut looking: Option<Client> = None;
    let mut told = Instant::now();
    loop {
        tokio::select! {
            done = &mut doing => return done,
            () = tokio::time::sleep(WORK_LOOK) => {}
        }
        if looking.is_none() {
            looking = host.connect().await.ok();
        }
        let Some(client) = &mut looking else { continue };
        let Ok(Ok(answer)) =
            tokio::time::timeout(WORK_LOOK * 4, client.call(&host::WorkList {})).await
        else {
            // Nobody answers, or an older host: the work itself is what counts.
            looking = None;
            continue;
        };
        let ours = answer.works.iter().rev().find(|work| work.kind == kind);
        let now = show::now();
        let Some(far) = ours.map(|work| format!("{words}: {}", how_far(work, now))) else {
            continue;
        };
        progress.goes_on(&far, &mut told);
    }
}

/// `1200 of 4000 rows, 3s left`
fn how_far(work: &WorkView, now: Stamp) -> String {
    let (done, unit) = (work.done, &work.unit);
    let Some(total) = work.total.filter(|total| *total > 0) else {
        return format!("{done} {unit}");
    };
    let took = now.seconds_since(work.began).max(0.0);
    let left = match done {
        0 => String::new(),
        done => {
            let left = took / done as f64 * total.saturating_sub(done) as f64;
            format!(", {} left", text::whole_span(left.ceil()))
        }
    };
    format!("{done} of {total} {unit}{left}")
}

/// When to look again: at each event, and every two seconds whatever happens.
struct Pulse {
    events: Option<Answers<host::Watch>>,
}

impl Pulse {
    async fn of(host: &Host) -> Pulse {
        let watch = host::Watch {
            since: None,
            limit: None,
        };
        let events = match host.connect().await {
            Ok(client) => client.stream(&watch).await.ok(),
            Err(_) => None,
        };
        Pulse { events }
    }

    async fn beat(&mut self, within: Duration) {
        let pause = within.min(Duration::from_secs(2));
        if let Some(events) = &mut self.events {
            match tokio::time::timeout(pause, events.next()).await {
                // Many events come at once: one look is enough for all of them.
                Ok(Ok(Some(_))) => {
                    return tokio::time::sleep(Duration::from_millis(50).min(within)).await;
                }
                Ok(Ok(None) | Err(_)) => self.events = None,
                Err(_) => return,
            }
        }
        tokio::time::sleep(pause.min(Duration::from_millis(300))).await;
    }
}

/// Waits until a look at a project's remote is done.
pub(super) async fn await_intake(
    host: &Host,
    ordered: &summit::Ordered,
    limit: Duration,
) -> Result<ProjectView> {
    let name = ordered.project.name.as_str().to_owned();
    let mut client = host.connect().await?;
    let mut pulse = Pulse::of(host).await;
    let progress = Progress::new(None);
    let end = Instant::now() + limit;
    loop {
        let project = client
            .call(&summit::ProjectShow { name: name.clone() })
            .await?
            .project;
        if project.intakes >= ordered.intake {
            return Ok(project);
        }
        progress.now(&format!("{name}: reading {}", project.url), 0);
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let what = format!(
                "{name} was not read within {}",
                text::span(limit.as_secs_f64())
            );
            return Err(Fault::new(Kind::TryAgain, what).next(format!(
                "it goes on; look with `massif project show {name}`"
            )));
        }
        pulse.beat(left).await;
    }
}

/// Waits until all of these jobs are at their end, or until the deadline; the jobs as they are then.
pub(super) async fn await_jobs(
    host: &Host,
    ids: &[JobId],
    limit: Option<Duration>,
) -> Result<Vec<JobView>> {
    let mut client = host.connect().await?;
    let mut pulse = Pulse::of(host).await;
    let progress = Progress::new(Some(ids.len() as u64));
    let end = limit.map(|limit| Instant::now() + limit);
    let mut jobs: BTreeMap<JobId, JobView> = BTreeMap::new();
    let mut told: BTreeMap<JobId, String> = BTreeMap::new();
    let mut ends_s: BTreeMap<JobId, f64> = BTreeMap::new();
    loop {
        look(&mut client, ids, &mut jobs, &mut ends_s).await?;
        for job in jobs.values() {
            let word = job.state.as_str();
            let line = format!(
                "{} {} {word}{}",
                job.recipe,
                show::release(&job.version, job.release, job.build_release),
                note(job)
            );
            if told.get(&job.id).is_none_or(|before| before != word) {
                told.insert(job.id, word.to_owned());
                progress.happened(&line);
            }
            if matches!(job.state, JobState::Building | JobState::Publishing) {
                progress.now(&line, 0);
            }
        }
        let done = jobs.values().filter(|job| job.state.is_final()).count();
        let left = ends_s.values().copied().reduce(f64::max);
        let left = left.map_or_else(String::new, |left| {
            format!("; about {} left", text::whole_span(left.max(1.0).ceil()))
        });
        progress.now(&format!("{}{left}", running(&jobs)), done as u64);
        if done == ids.len() {
            return Ok(jobs.into_values().collect());
        }
        let left = end.map_or(Duration::from_secs(3_600), |end| {
            end.saturating_duration_since(Instant::now())
        });
        if left.is_zero() {
            return Ok(jobs.into_values().collect());
        }
        pulse.beat(left).await;
    }
}

fn note(job: &JobView) -> String {
    match show::job_note(job) {
        note if note.is_empty() || job.state == JobState::Published => String::new(),
        note => format!(": {note}"),
    }
}

fn running(jobs: &BTreeMap<JobId, JobView>) -> String {
    let busy: Vec<String> = jobs
        .values()
        .filter(|job| matches!(job.state, JobState::Building | JobState::Publishing))
        .map(|job| format!("{}: {}", job.recipe, show::job_note(job)))
        .collect();
    let open = jobs.values().filter(|job| !job.state.is_final()).count();
    match (
        busy.is_empty(),
        jobs.values().find(|job| !job.state.is_final()),
    ) {
        (false, _) => busy.join(", "),
        (true, Some(job)) => format!("{} to go; {} waits{}", open, job.recipe, note(job)),
        (true, None) => String::new(),
    }
}

/// Asks again about each job that is not at its end, and when that should come.
async fn look(
    client: &mut Client,
    ids: &[JobId],
    jobs: &mut BTreeMap<JobId, JobView>,
    ends_s: &mut BTreeMap<JobId, f64>,
) -> Result<()> {
    for id in ids {
        if jobs.get(id).is_some_and(|job| job.state.is_final()) {
            continue;
        }
        let page = client
            .call(&summit::JobShow {
                job: id.to_string(),
            })
            .await?;
        match page.detail.end_p50_s {
            Some(end_s) if !page.job.state.is_final() => ends_s.insert(*id, end_s),
            _ => ends_s.remove(id),
        };
        jobs.insert(*id, page.job);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_says_what_is_done_of_all_and_how_long_the_rest_takes() {
        for (done, total, after_s, words) in [
            (0, Some(4_000), 3, "0 of 4000 rows"),
            (1_000, Some(4_000), 3, "1000 of 4000 rows, 9s left"),
            (4_000, Some(4_000), 12, "4000 of 4000 rows, 0s left"),
            // A clock that went back, a total that grew too late, and none at all.
            (1_000, Some(4_000), -5, "1000 of 4000 rows, 0s left"),
            (5_000, Some(4_000), 3, "5000 of 4000 rows, 0s left"),
            (1_000, Some(0), 3, "1000 rows"),
            (1_000, None, 3, "1000 rows"),
        ] {
            let work = WorkView {
                kind: "store_backup".into(),
                done,
                total,
                unit: "rows".into(),
                began: Stamp(0),
            };
            assert_eq!(how_far(&work, Stamp(after_s * 1_000)), words);
        }
    }
}
