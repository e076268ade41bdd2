//! The dispatcher's memory: jobs, queue, fleet, and how each fact changes them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::fleet::{BuilderIx, Fleet, Run};
use super::queue::{AccountIx, ClassIx, Place, Queue};
use super::{BuilderSpec, Happened, JobSpec, RAISE_STEP_S, SECONDS_MAX, WAIT_S, WAIT_S_MAX};
use crate::id::{HostId, JobId, Now};

/// What a job is doing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Doing {
    Blocked,
    /// It could run but for a hold or its back-off.
    Stopped,
    Queued(Place),
    Running {
        builder: BuilderIx,
        since_ms: u64,
        slot: u32,
    },
}

/// A job as it is booked.
#[derive(Debug)]
pub(super) struct JobRow {
    pub spec: JobSpec,
    pub class: ClassIx,
    pub account: AccountIx,
    pub doing: Doing,
    /// All that it needs is there.
    pub ready: bool,
    /// Since then, in milliseconds of the monotonic clock.
    pub ready_ms: u64,
    pub due_ms: u64,
    pub hold: Option<Arc<str>>,
    pub not_before_ms: u64,
    /// Who refused it, until when, and why.
    pub refusals: Vec<(BuilderIx, u64, Arc<str>)>,
}

#[derive(Debug)]
pub(super) struct Account {
    pub name: Arc<str>,
    pub weight: f64,
    pub running: usize,
}

/// The dispatcher. See the module's head for how it is used.
#[derive(Debug, Default)]
pub struct Schedule {
    pub(super) jobs: HashMap<JobId, JobRow>,
    pub(super) queue: Queue,
    pub(super) fleet: Fleet,
    pub(super) accounts: Vec<Account>,
    account_of: HashMap<Arc<str>, AccountIx>,
    pub(super) farm_hold: Option<Arc<str>>,
    /// Moments at which something may become possible.
    pub(super) timers: BTreeSet<(u64, JobId)>,
    /// Builders that have room they did not have at the last decision.
    pub(super) fresh: BTreeSet<BuilderIx>,
    /// Classes that have jobs they did not have at the last decision.
    pub(super) news: BTreeSet<ClassIx>,
    /// Builders that are kept idle because better ones are free soon.
    pub(super) patient: BTreeSet<BuilderIx>,
    /// Whose turn it is among them.
    pub(super) patient_next: BuilderIx,
    /// Which builder is kept free for a job.
    pub(super) reserved: HashMap<JobId, BuilderIx>,
    /// Predicted seconds of all jobs that are not over.
    pub(super) open_s: f64,
}

impl Schedule {
    /// No jobs, no builders.
    pub fn new() -> Schedule {
        Schedule::default()
    }

    /// Jobs that are known.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether no job is known.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Ready jobs that no builder has.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Takes a fact. Facts about jobs or builders that are not known change nothing, and repeats neither.
    pub fn take(&mut self, happened: Happened, now: Now) {
        let now_ms = now.mono_ms;
        match happened {
            Happened::Added(spec) => self.add(spec, now_ms),
            Happened::Ready(job) => self.set_ready(job, true, now_ms),
            Happened::Blocked(job) => self.set_ready(job, false, now_ms),
            Happened::Running {
                job,
                builder,
                slot,
                since_ms,
            } => self.set_running(job, &builder, slot, since_ms),
            Happened::Ended(job) => self.end(job, now_ms, false),
            Happened::GivenBack(job) => self.end(job, now_ms, true),
            Happened::Gone(job) => self.forget(job, now_ms),
            Happened::Held(job, hold) => self.change(job, now_ms, |row| row.hold = hold),
            Happened::Raised(job, raise) => self.change(job, now_ms, |row| row.spec.raise = raise),
            Happened::Path(job, path_s) => {
                if self
                    .jobs
                    .get(&job)
                    .is_some_and(|row| row.spec.path_s != path_s)
                {
                    self.change(job, now_ms, |row| row.spec.path_s = path_s);
                }
            }
            Happened::NotBefore(job, until_ms) => {
                self.timers.insert((until_ms, job));
                self.change(job, now_ms, |row| row.not_before_ms = until_ms);
            }
            Happened::Builder(spec) => self.set_builder(spec),
            Happened::BuilderGone(id) => self.remove_builder(&id),
            Happened::Refused {
                job,
                builder,
                why,
                until_ms,
            } => self.refuse(job, &builder, why, until_ms),
            Happened::Weight(account, weight) => {
                let ix = self.account(&account);
                if let Some(account) = self.accounts.get_mut(ix as usize) {
                    account.weight = if weight.is_finite() {
                        weight.clamp(0.001, 1000.0)
                    } else {
                        1.0
                    };
                }
            }
            Happened::FarmHeld(hold) => {
                self.farm_hold = hold;
                self.fresh.extend(self.fleet.idle.iter());
            }
        }
    }

    fn add(&mut self, mut spec: JobSpec, now_ms: u64) {
        spec.needs = spec.needs.rounded();
        // An estimate that is not a number is no estimate.
        spec.seconds = if spec.seconds.is_finite() {
            spec.seconds.clamp(0.0, SECONDS_MAX)
        } else {
            0.0
        };
        spec.path_s = if spec.path_s.is_finite() {
            spec.path_s.clamp(spec.seconds, 1_000.0 * SECONDS_MAX)
        } else {
            spec.seconds
        };
        let class = self.queue.class(spec.needs);
        let account = self.account(&spec.account);
        self.open_s += spec.seconds;
        if let Some(old) = self.jobs.get(&spec.job) {
            self.open_s -= old.spec.seconds;
            let job = spec.job;
            self.change(job, now_ms, |row| {
                row.spec = spec;
                row.class = class;
                row.account = account;
            });
            return;
        }
        self.jobs.insert(
            spec.job,
            JobRow {
                spec,
                class,
                account,
                doing: Doing::Blocked,
                ready: false,
                ready_ms: now_ms,
                due_ms: u64::MAX,
                hold: None,
                not_before_ms: 0,
                refusals: Vec::new(),
            },
        );
    }

    fn set_ready(&mut self, job: JobId, ready: bool, now_ms: u64) {
        let Some(row) = self.jobs.get(&job).filter(|row| row.ready != ready) else {
            return;
        };
        let due_ms = now_ms + (self.wait_limit_s(row) * 1000.0) as u64;
        self.change(job, now_ms, |row| {
            row.ready = ready;
            if ready {
                (row.ready_ms, row.due_ms) = (now_ms, due_ms);
            }
        });
    }

    /// How long the job may wait before it goes first.
    fn wait_limit_s(&self, row: &JobRow) -> f64 {
        let capacity = self.fleet.capacity(&row.spec.needs).max(0.01);
        (WAIT_S + 2.0 * self.open_s.max(0.0) / capacity).min(WAIT_S_MAX)
    }

    fn set_running(&mut self, job: JobId, builder: &HostId, slot: u32, since_ms: u64) {
        let Some(ix) = self.fleet.find(builder) else {
            return;
        };
        let Some(row) = self.jobs.get(&job) else {
            return;
        };
        if matches!(row.doing, Doing::Running { .. }) {
            return;
        }
        self.start(job, ix, Some(slot), since_ms);
    }

    /// Books a job on a builder. Returns the slot.
    pub(super) fn start(
        &mut self,
        job: JobId,
        ix: BuilderIx,
        slot: Option<u32>,
        now_ms: u64,
    ) -> Option<u32> {
        self.unqueue(job);
        self.unreserve(job);
        let row = self.jobs.get_mut(&job)?;
        let takes_ms = self.fleet.get(ix)?.takes_ms(row.spec.seconds);
        let run = Run {
            job,
            needs: row.spec.needs,
            since_ms: now_ms,
            end_ms: now_ms + takes_ms,
        };
        let slot = self.fleet.start(ix, run, slot)?;
        row.doing = Doing::Running {
            builder: ix,
            since_ms: now_ms,
            slot,
        };
        row.ready = true;
        let account = row.account;
        let charge = self.charge_ms(account, row_seconds(&self.jobs, job));
        self.queue.charge(account, charge);
        if let Some(account) = self.accounts.get_mut(account as usize) {
            account.running += 1;
        }
        Some(slot)
    }

    fn end(&mut self, job: JobId, now_ms: u64, given_back: bool) {
        let Some(row) = self.jobs.get_mut(&job) else {
            return;
        };
        let Doing::Running {
            builder, since_ms, ..
        } = row.doing
        else {
            return;
        };
        row.doing = Doing::Blocked;
        row.ready = given_back;
        let (account, seconds) = (row.account, row.spec.seconds);
        self.fleet.end(builder, job);
        self.fresh.insert(builder);
        if let Some(account) = self.accounts.get_mut(account as usize) {
            account.running = account.running.saturating_sub(1);
        }
        // What it really took counts, not what was predicted.
        let took = match given_back {
            true => 0.0,
            false => now_ms.saturating_sub(since_ms) as f64 / 1000.0,
        };
        let speed = self
            .fleet
            .get(builder)
            .map_or(1.0, |builder| builder.speed());
        let correction = self.charge_ms(account, took * speed - seconds);
        self.queue.charge(account, correction);
        if given_back {
            self.change(job, now_ms, |_| {});
        }
    }

    fn forget(&mut self, job: JobId, now_ms: u64) {
        self.end(job, now_ms, false);
        self.unqueue(job);
        self.unreserve(job);
        if let Some(row) = self.jobs.remove(&job) {
            self.open_s = (self.open_s - row.spec.seconds).max(0.0);
            self.timers.remove(&(row.not_before_ms, job));
        }
    }

    /// Changes a job, and its place in the queue with it.
    pub(super) fn change(&mut self, job: JobId, now_ms: u64, edit: impl FnOnce(&mut JobRow)) {
        self.unqueue(job);
        let Some(row) = self.jobs.get_mut(&job) else {
            return;
        };
        edit(row);
        if matches!(row.doing, Doing::Running { .. }) {
            return;
        }
        row.doing = match (row.ready, row.hold.is_some() || row.not_before_ms > now_ms) {
            (false, _) => Doing::Blocked,
            (true, true) => Doing::Stopped,
            (true, false) => Doing::Queued(Place {
                class: row.class,
                account: row.account,
                key: (row.spec.path_s * 1000.0) as i64
                    + i64::from(row.spec.raise) * RAISE_STEP_S * 1000,
                due_ms: row.due_ms,
            }),
        };
        match row.doing {
            Doing::Queued(place) => self.enqueue(job, place),
            Doing::Blocked | Doing::Stopped | Doing::Running { .. } => self.unreserve(job),
        }
    }

    fn enqueue(&mut self, job: JobId, place: Place) {
        // Who was away does not come back with a claim on all that others used meanwhile.
        let idle = self
            .accounts
            .get(place.account as usize)
            .is_none_or(|account| account.running == 0);
        if idle
            && !self.queue.is_active(place.account)
            && let Some(least) = self.queue.least_used()
        {
            let lag = least - self.queue.used(place.account);
            self.queue.charge(place.account, lag.max(0));
        }
        self.queue.insert(job, place);
        self.news.insert(place.class);
    }

    fn unqueue(&mut self, job: JobId) {
        if let Some(row) = self.jobs.get_mut(&job)
            && let Doing::Queued(place) = row.doing
        {
            row.doing = Doing::Blocked;
            self.queue.remove(job, place);
        }
    }

    pub(super) fn unreserve(&mut self, job: JobId) {
        if let Some(ix) = self.reserved.remove(&job)
            && let Some(builder) = self.fleet.get_mut(ix)
        {
            builder.reserved = None;
            self.fresh.insert(ix);
        }
    }

    fn set_builder(&mut self, spec: BuilderSpec) {
        let ix = self.fleet.set(spec);
        self.drop_reservation(ix);
        self.fresh.insert(ix);
    }

    fn remove_builder(&mut self, id: &HostId) {
        if let Some(ix) = self.fleet.find(id) {
            self.fleet.leave(ix);
            self.drop_reservation(ix);
        }
    }

    fn drop_reservation(&mut self, ix: BuilderIx) {
        if let Some(reservation) = self
            .fleet
            .get_mut(ix)
            .and_then(|builder| builder.reserved.take())
        {
            self.reserved.remove(&reservation.job);
        }
    }

    fn refuse(&mut self, job: JobId, builder: &HostId, why: Arc<str>, until_ms: u64) {
        let Some(ix) = self.fleet.find(builder) else {
            return;
        };
        if let Some(row) = self.jobs.get_mut(&job) {
            row.refusals.retain(|(other, ..)| *other != ix);
            row.refusals.push((ix, until_ms, why));
            self.timers.insert((until_ms, job));
        }
    }

    /// What seconds of work cost an account.
    fn charge_ms(&self, account: AccountIx, seconds: f64) -> i64 {
        let weight = self
            .accounts
            .get(account as usize)
            .map_or(1.0, |account| account.weight);
        (seconds * 1000.0 / weight) as i64
    }

    fn account(&mut self, name: &Arc<str>) -> AccountIx {
        if let Some(ix) = self.account_of.get(name) {
            return *ix;
        }
        let ix = self.accounts.len() as AccountIx;
        self.accounts.push(Account {
            name: name.clone(),
            weight: 1.0,
            running: 0,
        });
        self.account_of.insert(name.clone(), ix);
        ix
    }
}

fn row_seconds(jobs: &HashMap<JobId, JobRow>, job: JobId) -> f64 {
    jobs.get(&job).map_or(0.0, |row| row.spec.seconds)
}
