//! The decision: which ready job goes to which builder. Looks at builders that have new room and at queues that have new jobs,
//! and at nothing else.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use super::book::{Doing, JobRow, Schedule};
use super::fleet::{Builder, BuilderIx, Reservation};
use super::queue::ClassIx;
use super::{Assignment, BuilderSpec, JobSpec, Requirements};
use crate::id::{JobId, Now};

/// How many of the best jobs are weighed when a builder is not simply given the first one.
const LOOK_AHEAD: usize = 32;
/// How many jobs are looked at for some that may run, because refusals and reservations keep others away.
const SEEN_MAX: usize = 256;
/// How many patient builders are looked at again per decision; in a farm of many builders decisions come so often that fewer will do.
const PATIENT_MAX: usize = 16;
/// The same beyond so many builders.
const PATIENT_OF_MANY: usize = 1;
/// How many builders are tried for the new jobs of a queue before it waits for the next fact.
const PLACES_MAX: usize = 8;
/// How many runs on faster builders are looked at for one that ends soon.
const FASTER_MAX: usize = 64;
/// The best jobs of a class with news that are looked at for a builder that may run one.
const NEWS_MAX: usize = 4;
/// A better builder has to end this much sooner, as a share, before anything waits for it.
const BETTER_BY: f64 = 0.02;

/// What a look at the queue gave.
enum Pick {
    Job(JobId),
    /// Nothing fits.
    Nothing,
    /// Something fits, and ends sooner on a builder that is busy now.
    Patience,
}

impl Schedule {
    /// Gives out work and books it. What is returned runs as far as this value is concerned.
    pub fn decide(&mut self, now: Now) -> Vec<Assignment> {
        let now_ms = now.mono_ms;
        let mut given = Vec::new();
        self.ring(now_ms);
        if self.farm_hold.is_some() {
            return given;
        }
        let most = match self.fleet.builders.len() {
            0..=32 => PATIENT_MAX,
            _ => PATIENT_OF_MANY,
        };
        // In turns, so that none is forgotten.
        let from = self.patient_next;
        let after = self.patient.range(from..);
        let turn = after.chain(self.patient.range(..from)).take(most);
        let waiting: Vec<BuilderIx> = turn.copied().collect();
        self.patient_next = waiting.last().map_or(0, |ix| ix + 1);
        for ix in waiting {
            self.patient.remove(&ix);
            self.fresh.insert(ix);
        }
        // A builder that was filled has seen the whole queue, new jobs included.
        let mut seen: BTreeSet<BuilderIx> = BTreeSet::new();
        while let Some(ix) = self.fresh.pop_first() {
            self.fill(ix, now_ms, &mut given);
            seen.insert(ix);
        }
        while let Some(class) = self.news.pop_first() {
            self.place(class, now_ms, &mut seen, &mut given);
        }
        given
    }

    /// When to decide again although nothing happened, in milliseconds of the monotonic clock.
    pub fn next_wake_ms(&self) -> Option<u64> {
        let timer = self.timers.first().map(|(at, _)| *at);
        // A builder that is busy for longer than predicted is no longer worth waiting for.
        let better = self.patient.first().and_then(|ix| {
            let speed = self.fleet.get(*ix)?.speed();
            let ends = self
                .fleet
                .faster_ends(speed)
                .filter_map(|(_, ends)| ends.first());
            ends.map(|(end, ..)| end + 1_000).min()
        });
        timer.into_iter().chain(better).min()
    }

    /// Takes the timers that are due.
    fn ring(&mut self, now_ms: u64) {
        while let Some((at, job)) = self.timers.first().copied().filter(|(at, _)| *at <= now_ms) {
            self.timers.remove(&(at, job));
            if let Some(row) = self.jobs.get_mut(&job) {
                row.refusals.retain(|(_, until, _)| *until > now_ms);
                self.change(job, now_ms, |_| {});
            }
        }
    }

    /// Gives a builder all that it can take.
    fn fill(&mut self, ix: BuilderIx, now_ms: u64, given: &mut Vec<Assignment>) {
        while self.fleet.idle.contains(&ix) {
            match self.pick(ix, now_ms) {
                Pick::Job(job) => {
                    if !self.assign(job, ix, now_ms, given) {
                        return;
                    }
                }
                Pick::Nothing => return,
                Pick::Patience => {
                    self.patient.insert(ix);
                    return;
                }
            }
        }
    }

    /// Finds builders for the jobs of a class.
    fn place(
        &mut self,
        class: ClassIx,
        now_ms: u64,
        seen: &mut BTreeSet<BuilderIx>,
        given: &mut Vec<Assignment>,
    ) {
        let Some(needs) = self.queue.needs(class).copied() else {
            return;
        };
        let mut tried = 0;
        while tried < PLACES_MAX && !self.queue.is_empty_class(class) {
            // Others there were looked at when they came; it is this class that has something new.
            let news: Vec<JobId> = self
                .queue
                .best_in(&[class])
                .take(NEWS_MAX)
                .map(|(_, _, job)| job)
                .collect();
            let idle = self.fleet.idle.iter().filter(|ix| !seen.contains(ix));
            let best = idle
                .filter_map(|ix| Some((*ix, self.fleet.get(*ix)?)))
                .filter(|(_, builder)| builder.fits_now(&needs))
                .filter(|(ix, _)| news.iter().any(|job| self.may_run(*job, *ix, now_ms)))
                .max_by(|(a_ix, a), (b_ix, b)| {
                    let room = |builder: &Builder| {
                        builder.free.slots as f64 / f64::from(builder.spec.slots.max(1))
                    };
                    let spare = |builder: &Builder| Reverse(builder.free.memory_mib);
                    a.speed()
                        .total_cmp(&b.speed())
                        .then(room(a).total_cmp(&room(b)))
                        .then(spare(a).cmp(&spare(b)))
                        .then(b_ix.cmp(a_ix))
                })
                .map(|(ix, _)| ix);
            let Some(ix) = best else {
                // A builder that has room and was seen waits for something better, on purpose.
                let room = |ix: &BuilderIx| self.fleet.get(*ix).is_some_and(|b| b.fits_now(&needs));
                if tried == 0 && !self.fleet.idle.iter().any(room) {
                    self.reserve_for_class(class, &needs, now_ms);
                }
                return;
            };
            match self.pick(ix, now_ms) {
                Pick::Job(job) if self.assign(job, ix, now_ms, given) => {}
                Pick::Job(_) | Pick::Nothing => {
                    seen.insert(ix);
                    tried += 1;
                }
                Pick::Patience => {
                    self.patient.insert(ix);
                    seen.insert(ix);
                    tried += 1;
                }
            }
        }
    }

    fn assign(
        &mut self,
        job: JobId,
        ix: BuilderIx,
        now_ms: u64,
        given: &mut Vec<Assignment>,
    ) -> bool {
        let Some(builder) = self.fleet.get(ix).map(|builder| builder.spec.id) else {
            return false;
        };
        let spare = self
            .jobs
            .get(&job)
            .map(|row| row.spec.needs)
            .zip(self.runs_past(job, ix, now_ms));
        let Some(slot) = self.start(job, ix, None, now_ms) else {
            return false;
        };
        if let Some((needs, true)) = spare
            && let Some(builder) = self.fleet.get_mut(ix)
        {
            let part = builder.spec.part(&needs);
            if let Some(reservation) = builder.reserved.as_mut() {
                reservation.spare.take(&part);
            }
        }
        self.patient.remove(&ix);
        given.push(Assignment { job, builder, slot });
        true
    }

    /// Whether a job would still run when the reserved one should start.
    fn runs_past(&self, job: JobId, ix: BuilderIx, now_ms: u64) -> Option<bool> {
        let builder = self.fleet.get(ix)?;
        let reservation = builder.reserved.as_ref().filter(|r| r.job != job)?;
        let seconds = self.jobs.get(&job)?.spec.seconds;
        Some(now_ms + builder.takes_ms(seconds) > reservation.at_ms)
    }

    /// The job that this builder should start now.
    fn pick(&mut self, ix: BuilderIx, now_ms: u64) -> Pick {
        let Some(builder) = self.fleet.get(ix) else {
            return Pick::Nothing;
        };
        if let Some(reservation) = &builder.reserved
            && builder.fits_now(&reservation.needs)
        {
            return Pick::Job(reservation.job);
        }
        if let Some(job) = self.pick_overdue(ix, now_ms) {
            return Pick::Job(job);
        }
        let Some(builder) = self.fleet.get(ix) else {
            return Pick::Nothing;
        };
        let plain =
            builder.reserved.is_none() && self.fleet.faster_ends(builder.speed()).next().is_none();
        // The best job that the builder could hold if it were empty, when there is no room for it now.
        let top = self.queue.best(|_, needs| builder.fits_ever(needs)).next();
        let blocked = top
            .and_then(|(_, class, _)| Some((class, *self.queue.needs(class)?)))
            .filter(|(_, needs)| !builder.fits_now(needs));
        let (fitting, few) = self.queue.classes(|needs| builder.fits_now(needs));
        let (found, more) = match (fitting.is_empty(), few) {
            (true, _) => (Vec::new(), false),
            (false, true) => self.find(self.queue.best_in(&fitting), plain, ix, now_ms),
            (false, false) => {
                let best = self.queue.best(|_, needs| builder.fits_now(needs));
                self.find(best, plain, ix, now_ms)
            }
        };
        let pick = match (plain, found.first()) {
            (_, None) => Pick::Nothing,
            (true, Some(job)) => Pick::Job(*job),
            (false, Some(_)) => self.pick_patiently(ix, &found, more, now_ms),
        };
        // From now on only what ends in time may slip in.
        if let Some((class, needs)) = blocked
            && self.reserve_here(ix, class, &needs, now_ms)
        {
            return self.pick(ix, now_ms);
        }
        pick
    }

    /// The best jobs that may run on a builder, and whether there are more of them.
    fn find(
        &self,
        best: impl Iterator<Item = (i64, ClassIx, JobId)>,
        plain: bool,
        ix: BuilderIx,
        now_ms: u64,
    ) -> (Vec<JobId>, bool) {
        let most = if plain { 1 } else { LOOK_AHEAD };
        let jobs = best.take(SEEN_MAX).map(|(_, _, job)| job);
        let mut found: Vec<JobId> = jobs
            .filter(|job| self.may_run(*job, ix, now_ms))
            .take(most + 1)
            .collect();
        let more = found.len() > most;
        found.truncate(most);
        (found, more)
    }

    /// The job whose limit is over for the longest time, of those that fit. Keeps the builder free for one that would fit later.
    fn pick_overdue(&mut self, ix: BuilderIx, now_ms: u64) -> Option<JobId> {
        let mut keep: Option<(JobId, Requirements)> = None;
        let builder = self.fleet.get(ix)?;
        for (_, class) in self.queue.by_due().take_while(|(due, _)| *due <= now_ms) {
            let needs = self.queue.needs(class)?;
            let oldest = self
                .queue
                .due_jobs(class)
                .take_while(|(due, _)| *due <= now_ms);
            let mut jobs = oldest.map(|(_, job)| job).take(LOOK_AHEAD);
            if builder.fits_now(needs) {
                if let Some(job) = jobs.find(|job| self.may_run(*job, ix, now_ms)) {
                    return Some(job);
                }
            } else if keep.is_none() && builder.fits_ever(needs) && builder.takes_work() {
                let free = jobs.find(|job| !self.reserved.contains_key(job));
                keep = free.map(|job| (job, *needs));
            }
        }
        if let Some((job, needs)) = keep {
            self.reserve(ix, job, &needs, now_ms, true);
        }
        None
    }

    /// Among jobs that fit, best first, the first one that would not end sooner by waiting for a faster builder that is busy now.
    fn pick_patiently(&self, ix: BuilderIx, found: &[JobId], more: bool, now_ms: u64) -> Pick {
        let Some(builder) = self.fleet.get(ix) else {
            return Pick::Nothing;
        };
        // When a faster builder is free: (moment, speed, who); what is promised to it moves the moment.
        let mut frees: BinaryHeap<Reverse<(u64, i64, BuilderIx)>> = BinaryHeap::new();
        // What runs for longer than predicted is believed to need half as long again as it is late.
        let free = |end: u64| end.max(now_ms + now_ms.saturating_sub(end) / 2 + 1);
        for (end, other) in self.fleet.soonest_faster(builder.speed(), FASTER_MAX) {
            frees.push(Reverse((free(end), 0, other)));
        }
        for job in found {
            let Some(row) = self.jobs.get(job) else {
                continue;
            };
            let here = now_ms + builder.takes_ms(row.spec.seconds);
            let margin = (builder.takes_ms(row.spec.seconds) as f64 * BETTER_BY) as u64;
            let mut passed = Vec::new();
            let mut better = None;
            while let Some(Reverse((free, _, other))) = frees.pop() {
                let Some(other_builder) = self.fleet.get(other) else {
                    continue;
                };
                passed.push(Reverse((free, 0, other)));
                if free >= here {
                    break;
                }
                let end = free + other_builder.takes_ms(row.spec.seconds);
                if other_builder.takes_work()
                    && other_builder.fits_ever(&row.spec.needs)
                    && end + margin < here
                {
                    better = Some((end, other));
                    passed.pop();
                    break;
                }
            }
            frees.extend(passed);
            match better {
                None => return Pick::Job(*job),
                Some((end, other)) => frees.push(Reverse((end, 0, other))),
            }
        }
        // All of the best jobs end sooner elsewhere; behind them there is work that matters less.
        if more {
            let last = self.queue.last(
                |needs| builder.fits_now(needs),
                |job| self.may_run(job, ix, now_ms),
            );
            if let Some(job) = last {
                return Pick::Job(job);
            }
        }
        Pick::Patience
    }

    /// Whether this job may start on this builder as far as refusals and the builder's reservation go.
    fn may_run(&self, job: JobId, ix: BuilderIx, now_ms: u64) -> bool {
        let (Some(row), Some(builder)) = (self.jobs.get(&job), self.fleet.get(ix)) else {
            return false;
        };
        !is_refused(row, ix, now_ms) && slips_in(row, builder, now_ms)
    }

    /// Keeps this builder free for the best job of a class, unless it or the job is spoken for. Whether it does now.
    fn reserve_here(
        &mut self,
        ix: BuilderIx,
        class: ClassIx,
        needs: &Requirements,
        now_ms: u64,
    ) -> bool {
        let best = self.queue.best_in(&[class]).next();
        if let Some((_, _, job)) = best
            && self
                .jobs
                .get(&job)
                .is_some_and(|row| !is_refused(row, ix, now_ms))
        {
            return self.reserve(ix, job, needs, now_ms, false);
        }
        false
    }

    /// Keeps the builder free that could take the class's best job soonest, if the job comes before all others that fit there.
    fn reserve_for_class(&mut self, class: ClassIx, needs: &Requirements, now_ms: u64) {
        // Only the best job of all: others would keep builders from those that come before them.
        let Some((_, best, job)) = self.queue.best(|_, _| true).next() else {
            return;
        };
        if best != class || self.reserved.contains_key(&job) {
            return;
        }
        let idle = self
            .fleet
            .idle
            .iter()
            .filter_map(|ix| Some((*ix, self.fleet.get(*ix)?)));
        let soonest = idle
            .filter(|(_, builder)| builder.reserved.is_none())
            .filter_map(|(ix, builder)| Some((builder.free_at(needs, now_ms)?.0, ix)))
            .min();
        if let Some((_, ix)) = soonest {
            self.reserve(ix, job, needs, now_ms, false);
        }
    }

    fn reserve(
        &mut self,
        ix: BuilderIx,
        job: JobId,
        needs: &Requirements,
        now_ms: u64,
        strict: bool,
    ) -> bool {
        if self.reserved.contains_key(&job) {
            return false;
        }
        let Some(builder) = self.fleet.get_mut(ix) else {
            return false;
        };
        let old = builder.reserved.as_ref();
        if old.is_some_and(|old| old.strict || !strict) {
            return false;
        }
        let free = builder.free_at(needs, now_ms);
        if let Some((at_ms, spare)) = free {
            let old = builder.reserved.replace(Reservation {
                job,
                needs: *needs,
                at_ms,
                spare,
                strict,
            });
            if let Some(old) = old {
                self.reserved.remove(&old.job);
            }
            self.reserved.insert(job, ix);
        }
        free.is_some()
    }
}

/// Whether a builder refused this job and its time is not over.
pub(super) fn is_refused(row: &JobRow, ix: BuilderIx, now_ms: u64) -> bool {
    row.refusals
        .iter()
        .any(|(other, until, _)| *other == ix && *until > now_ms)
}

/// Whether a job leaves the builder free in time for the one that it is kept for.
pub(super) fn slips_in(row: &JobRow, builder: &Builder, now_ms: u64) -> bool {
    match &builder.reserved {
        None => true,
        Some(reservation) if reservation.job == row.spec.job => true,
        Some(reservation) if reservation.strict => false,
        Some(reservation) => {
            reservation.spare.holds(&builder.spec.part(&row.spec.needs))
                || now_ms + builder.takes_ms(row.spec.seconds) <= reservation.at_ms
        }
    }
}

/// The most of each that any builder has; unknown counts as none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Largest {
    /// Memory of one builder.
    pub memory_mib: u32,
    /// Memory of one slot.
    pub slot_memory_mib: u32,
    /// Disk of one builder.
    pub disk_mib: u32,
    /// Cores of one builder.
    pub cores: u32,
}

impl Schedule {
    /// Whether all that a job needs is there, as far as the dispatcher was told; `None`: no such job.
    pub fn is_ready(&self, job: JobId) -> Option<bool> {
        self.jobs.get(&job).map(|row| row.ready)
    }

    /// What the dispatcher was told of a job.
    pub fn spec(&self, job: JobId) -> Option<&JobSpec> {
        self.jobs.get(&job).map(|row| &row.spec)
    }

    /// A job's place among those that are ready, in seconds: the sum of the terms that `explain` names, but for the limit of waiting.
    pub fn priority_s(&self, job: JobId) -> Option<f64> {
        let row = self.jobs.get(&job)?;
        let used = self.queue.used(row.account) - self.queue.least_used().unwrap_or(0);
        let raise = f64::from(row.spec.raise) * super::RAISE_STEP_S as f64;
        Some(row.spec.path_s + raise - used.max(0) as f64 / 1000.0)
    }

    /// Predicted seconds to the end of the longest chain behind a job.
    pub fn path_s(&self, job: JobId) -> Option<f64> {
        self.jobs.get(&job).map(|row| row.spec.path_s)
    }

    /// The builders that are there, those that take no work included.
    pub fn builders(&self) -> Vec<BuilderSpec> {
        let there = self.fleet.builders.iter().filter(|builder| !builder.gone);
        there.map(|builder| builder.spec.clone()).collect()
    }

    /// The most that any builder has of each. `None`: there is no builder.
    pub fn largest(&self) -> Option<Largest> {
        let there = self.fleet.builders.iter().filter(|builder| !builder.gone);
        let has = there.map(|builder| {
            let spec = &builder.spec;
            Largest {
                memory_mib: spec.memory_mib.unwrap_or(0),
                slot_memory_mib: spec.slot_memory_mib.or(spec.memory_mib).unwrap_or(0),
                // What is on it now may go; what it could never hold was measured on another one.
                disk_mib: spec.disk_whole_mib.or(spec.disk_mib).unwrap_or(0),
                cores: spec.cores,
            }
        });
        has.reduce(|a, b| Largest {
            memory_mib: a.memory_mib.max(b.memory_mib),
            slot_memory_mib: a.slot_memory_mib.max(b.slot_memory_mib),
            disk_mib: a.disk_mib.max(b.disk_mib),
            cores: a.cores.max(b.cores),
        })
    }

    /// What a job asks for, as it is booked.
    pub fn needs(&self, job: JobId) -> Option<Requirements> {
        self.jobs.get(&job).map(|row| row.spec.needs)
    }

    /// How many slots of its builder a running job takes.
    pub fn slots_of(&self, job: JobId) -> Option<u32> {
        let row = self.jobs.get(&job)?;
        match row.doing {
            Doing::Running { builder, .. } => {
                Some(self.fleet.get(builder)?.spec.slots_for(&row.spec.needs))
            }
            Doing::Blocked | Doing::Stopped | Doing::Queued(_) => None,
        }
    }

    /// Where a job runs, and since when.
    pub fn running(&self, job: JobId) -> Option<(crate::id::HostId, u32, u64)> {
        match self.jobs.get(&job)?.doing {
            Doing::Running {
                builder,
                since_ms,
                slot,
            } => Some((self.fleet.get(builder)?.spec.id, slot, since_ms)),
            Doing::Blocked | Doing::Stopped | Doing::Queued(_) => None,
        }
    }
}
