//! The walk over everything that looks for what events missed: a few jobs per tick, all of them every ten minutes. It finds nothing
//! unless there is a bug; what it finds it mends, and says so in an alarm that stays until a whole walk found nothing.

use super::state::{Done, State};
use crate::admin::view::AlarmView;
use crate::id::{JobId, Now};
use crate::model::{Job, JobState};
use crate::plan::schedule::Happened;

/// Time between the beginnings of two walks.
const ROUND_MS: u64 = 600_000;
/// Rows that are looked at per tick.
const ROWS: usize = 2_000;
/// Open jobs that are looked at per tick: each costs a tenth of a millisecond.
const OPEN_JOBS: usize = 32;
/// Findings that are kept in words.
const FOUND_MAX: usize = 20;

/// How far the walk has come.
#[derive(Debug, Default)]
pub struct Walk {
    /// Where it goes on; `None`: it waits for its next round.
    next: Option<JobId>,
    /// When the next round begins.
    next_round_ms: u64,
    /// What this round found.
    found: Vec<String>,
    /// What the last whole round found.
    last: Vec<String>,
    /// Whole rounds so far.
    pub rounds: u64,
}

impl Walk {
    /// Whether a round is under way.
    pub fn is_walking(&self) -> bool {
        self.next.is_some()
    }
}

/// A job as rows, planner and schedule each see it.
#[derive(Debug, Clone, Copy)]
struct Seen {
    state: JobState,
    /// The planner and the schedule know it.
    open: bool,
    /// The planner says that it waits.
    waits: bool,
    /// The schedule was told that it is ready; `None`: the schedule does not have it.
    ready: Option<bool>,
    /// A live attempt runs on a builder that is here, and the schedule has not booked it.
    unbooked: bool,
}

impl Seen {
    /// What is wrong, in words.
    fn wrong(&self) -> Option<&'static str> {
        match (self.state.is_over(), self.open) {
            (false, false) => Some("is not over, and nothing was going to build it"),
            (true, true) => Some("is over, and was still going to be built"),
            (true, false) => None,
            (false, true) if self.unbooked => Some("is being built, and its slot was given out"),
            (false, true) => match (self.state, self.waits, self.ready) {
                (JobState::Open, false, Some(false)) => {
                    Some("has all that it needs, and was not going to start")
                }
                (JobState::Open, true, Some(true)) => {
                    Some("waits for something, and was going to start")
                }
                _ => None,
            },
        }
    }
}

impl State {
    /// Some steps of the walk.
    pub async fn walk_on(&mut self) -> Done<()> {
        let now = crate::actors::now();
        let from = match self.reconcile.next {
            Some(from) => from,
            None if self.reconcile.next_round_ms == 0 => {
                // Not while everything is still being read.
                self.reconcile.next_round_ms = now.mono_ms + ROUND_MS / 10;
                return Ok(());
            }
            None if now.mono_ms < self.reconcile.next_round_ms => return Ok(()),
            None => JobId(0),
        };
        if from == JobId(0) {
            self.reconcile.next_round_ms = now.mono_ms + ROUND_MS;
        }
        let mut open = 0;
        let mut last = None;
        let mut wrong = Vec::new();
        for (id, job) in self.farm.jobs.range(from..).take(ROWS) {
            last = Some(*id);
            open += usize::from(!job.state.is_over());
            if let Some(what) = self.seen(job).wrong() {
                wrong.push((*id, what));
            }
            if open >= OPEN_JOBS {
                break;
            }
        }
        for (id, what) in wrong {
            self.found(format!("job {id} {what}"));
            self.mend(id, now);
        }
        self.reconcile.next = last.map(|last| JobId(last.0 + 1));
        if last.is_none() {
            self.end_round();
        }
        Ok(())
    }

    fn end_round(&mut self) {
        if !self.replan && self.bases_pending == 0 {
            let missed = self.wanted_events().len();
            if missed > 0 {
                self.found(format!("{missed} jobs should have been made or ended"));
                self.replan = true;
            }
        }
        let walk = &mut self.reconcile;
        walk.last = std::mem::take(&mut walk.found);
        walk.rounds += 1;
    }

    fn found(&mut self, what: String) {
        tracing::error!(
            what,
            "the walk over everything found something; this is a bug"
        );
        if self.reconcile.found.len() < FOUND_MAX {
            self.reconcile.found.push(what);
        }
    }

    fn seen(&self, job: &Job) -> Seen {
        let live = self.farm.live_attempt(job.id);
        let unbooked = live.is_some_and(|attempt| {
            job.state == JobState::Building
                && self.builders.contains_key(&attempt.builder)
                && self.schedule.running(job.id).is_none()
        });
        Seen {
            state: job.state,
            open: self.open.contains(&job.id),
            waits: job.state == JobState::Open && !self.planner.waits_for(&job.target).is_empty(),
            ready: self.schedule.is_ready(job.id),
            unbooked,
        }
    }

    fn mend(&mut self, id: JobId, now: Now) {
        let Some(job) = self.farm.jobs.get(&id).cloned() else {
            return;
        };
        match (job.state.is_over(), self.open.contains(&id)) {
            (false, false) => self.open_job(id),
            (true, true) => self.close_job(id),
            _ => {}
        }
        self.book_running(id, now);
        if job.state == JobState::Open {
            let waits = !self.planner.waits_for(&job.target).is_empty();
            let happened = match waits {
                true => Happened::Blocked(id),
                false => Happened::Ready(id),
            };
            self.schedule.take(happened, now);
        }
    }

    /// Books the slot of an attempt that runs, as the rows say.
    pub fn book_running(&mut self, id: JobId, now: Now) {
        let live = self.farm.live_attempt(id).cloned();
        let building = |job: &std::sync::Arc<Job>| job.state == JobState::Building;
        if let Some(attempt) = live
            && self.farm.jobs.get(&id).is_some_and(building)
            && self.schedule.running(id).is_none()
        {
            let since = attempt.started.unwrap_or(attempt.assigned);
            let ran_ms = (now.wall.seconds_since(since).max(0.0) * 1000.0) as u64;
            let happened = Happened::Running {
                job: id,
                builder: attempt.builder,
                slot: attempt.slot,
                since_ms: now.mono_ms.saturating_sub(ran_ms),
            };
            self.schedule.take(happened, now);
        }
    }

    /// What the last walk, or the one that goes on, found.
    pub fn walk_alarm(&self) -> Option<AlarmView> {
        let walk = &self.reconcile;
        let found: Vec<&str> = walk
            .found
            .iter()
            .chain(&walk.last)
            .map(String::as_str)
            .collect();
        (!found.is_empty()).then(|| AlarmView {
            kind: "reconcile".into(),
            subject: None,
            text: format!(
                "the walk over everything found and mended what no event had told: {}",
                found.join("; ")
            ),
            next: "this is a bug in massif: please report it with the host's log".into(),
            since: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walk_says_what_is_wrong_and_nothing_else() {
        let seen = |state, open, waits, ready, unbooked| Seen {
            state,
            open,
            waits,
            ready,
            unbooked,
        };
        let cases = [
            (seen(JobState::Open, true, false, Some(true), false), None),
            (seen(JobState::Open, true, true, Some(false), false), None),
            (seen(JobState::Open, true, true, None, false), None),
            (
                seen(JobState::Building, true, false, Some(true), false),
                None,
            ),
            (
                seen(JobState::Publishing, true, false, Some(false), false),
                None,
            ),
            (seen(JobState::Published, false, false, None, false), None),
            (seen(JobState::Failed, false, false, None, false), None),
            (
                seen(JobState::Open, false, false, None, false),
                Some("is not over, and nothing was going to build it"),
            ),
            (
                seen(JobState::Cancelled, true, false, None, false),
                Some("is over, and was still going to be built"),
            ),
            (
                seen(JobState::Open, true, false, Some(false), false),
                Some("has all that it needs, and was not going to start"),
            ),
            (
                seen(JobState::Open, true, true, Some(true), false),
                Some("waits for something, and was going to start"),
            ),
            (
                seen(JobState::Building, true, false, Some(true), true),
                Some("is being built, and its slot was given out"),
            ),
        ];
        for (seen, what) in cases {
            assert_eq!(seen.wrong(), what, "{seen:?}");
        }
    }
}
