//! Builders: what each has, what is used of it, and when something will be free.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};

use super::{BuilderSpec, Requirements};
use crate::id::{HostId, JobId};
use crate::plan::why::{Passes, Test};

/// A builder's place; kept for good, because hosts are few.
pub(super) type BuilderIx = u32;

/// What runs in a slot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Run {
    pub job: JobId,
    pub needs: Requirements,
    pub since_ms: u64,
    pub end_ms: u64,
}

/// A builder that is being emptied for a job.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reservation {
    pub job: JobId,
    pub needs: Requirements,
    /// When it should fit.
    pub at_ms: u64,
    /// What stays free beside it from then on.
    pub spare: Free,
    /// Nothing may slip in, however short.
    pub strict: bool,
}

/// Amounts that are free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Free {
    pub slots: i64,
    pub cores: i64,
    pub memory_mib: i64,
    pub disk_mib: i64,
}

impl Free {
    pub fn holds(&self, part: &Free) -> bool {
        self.slots >= part.slots
            && self.cores >= part.cores
            && self.memory_mib >= part.memory_mib
            && self.disk_mib >= part.disk_mib
    }

    pub fn take(&mut self, part: &Free) {
        self.slots -= part.slots;
        self.cores -= part.cores;
        self.memory_mib -= part.memory_mib;
        self.disk_mib -= part.disk_mib;
    }

    pub fn give(&mut self, part: &Free) {
        self.slots += part.slots;
        self.cores += part.cores;
        self.memory_mib += part.memory_mib;
        self.disk_mib += part.disk_mib;
    }
}

/// How many of a builder's slots a job takes: as many as have its cores and its memory together, and never more than there are.
/// The same for who decides and for who builds. Cores are those of all slots together; where they do not divide evenly, the
/// smallest slot counts.
pub fn slots_for(
    (slots, cores, slot_memory_mib): (u32, u32, Option<u32>),
    (asked_cores, asked_memory_mib): (u32, u32),
) -> u32 {
    let by_cores = asked_cores.div_ceil((cores / slots.max(1)).max(1));
    let by_memory = match slot_memory_mib {
        Some(mib) => asked_memory_mib.div_ceil(mib.max(1)),
        None => 1,
    };
    by_cores.max(by_memory).clamp(1, slots.max(1))
}

impl BuilderSpec {
    /// Whether it could run this if nothing else ran there.
    pub fn could_run(&self, needs: &Requirements) -> bool {
        self.is_kind(needs) && self.total().holds(&self.part(needs))
    }

    /// How many slots this takes here.
    pub fn slots_for(&self, needs: &Requirements) -> u32 {
        slots_for(
            (self.slots, self.cores, self.slot_memory_mib),
            (needs.cores, needs.memory_mib),
        )
    }

    /// How many jobs that ask for this run here at a time, as far as slots go; 1 at least.
    pub fn at_once(&self, needs: &Requirements) -> u32 {
        (self.slots / self.slots_for(needs)).max(1)
    }

    /// What a job that asks for this takes of the builder: whole slots, with all their cores.
    pub(super) fn part(&self, needs: &Requirements) -> Free {
        let slots = self.slots_for(needs);
        let cores = if needs.cores > self.cores {
            needs.cores
        } else if slots == self.slots {
            self.cores
        } else {
            // None where slots share cores: what is taken there is slots.
            self.cores / self.slots.max(1) * slots
        };
        Free {
            slots: i64::from(slots),
            cores: i64::from(cores),
            memory_mib: i64::from(needs.memory_mib),
            disk_mib: i64::from(needs.disk_mib),
        }
    }

    /// Its speed as a number that can be divided by, whatever was measured.
    pub fn pace(&self) -> f64 {
        if self.speed.is_finite() {
            self.speed.clamp(0.01, 100.0)
        } else {
            1.0
        }
    }

    fn is_kind(&self, needs: &Requirements) -> bool {
        self.archs.contains(&needs.arch)
            && self.level >= needs.level
            && self.trust >= needs.trust
            && self.isolation >= needs.isolation
    }

    /// What it has for all slots together; unknown is less than nothing.
    fn total(&self) -> Free {
        Free {
            slots: i64::from(self.slots),
            cores: i64::from(self.cores),
            memory_mib: self.memory_mib.map_or(-1, i64::from),
            disk_mib: self.disk_mib.map_or(-1, i64::from),
        }
    }
}

#[derive(Debug)]
pub(super) struct Builder {
    pub spec: BuilderSpec,
    pub gone: bool,
    /// By slot; longer than the builder has slots if it had more when they were taken.
    pub runs: Vec<Option<Run>>,
    pub free: Free,
    pub reserved: Option<Reservation>,
}

impl Builder {
    pub fn takes_work(&self) -> bool {
        !self.gone && self.spec.away.is_none()
    }

    /// Whether it could run this if it were empty.
    pub fn fits_ever(&self, needs: &Requirements) -> bool {
        !self.gone && self.spec.could_run(needs)
    }

    /// Whether there is room right now.
    pub fn fits_now(&self, needs: &Requirements) -> bool {
        self.takes_work() && self.free.holds(&self.spec.part(needs)) && self.spec.is_kind(needs)
    }

    /// Whether its disk would be large enough with less on it.
    pub fn lacks_room_only_now(&self, needs: &Requirements) -> bool {
        let (has, whole) = (self.spec.total().disk_mib, self.spec.disk_whole_mib);
        let need = i64::from(needs.disk_mib);
        has < need && whole.is_some_and(|whole| i64::from(whole) >= need)
    }

    /// Every test that fails, and whether it passes later by itself. Empty exactly when `fits_now`.
    pub fn failed_tests(&self, needs: &Requirements) -> Vec<(Test, Passes)> {
        let (total, spec) = (self.spec.total(), &self.spec);
        let part = spec.part(needs);
        let mut failed = Vec::new();
        let mut never = |test, fails: bool| {
            if fails {
                failed.push((test, Passes::Never));
            }
        };
        never(Test::Architecture, !spec.archs.contains(&needs.arch));
        never(Test::IsaLevel, spec.level < needs.level);
        never(Test::Trust, spec.trust < needs.trust);
        never(Test::Isolation, spec.isolation < needs.isolation);
        let amounts = [
            (Test::Slot, total.slots, self.free.slots, part.slots),
            (Test::Cores, total.cores, self.free.cores, part.cores),
            (
                Test::Memory,
                total.memory_mib,
                self.free.memory_mib,
                part.memory_mib,
            ),
            (
                Test::Disk,
                total.disk_mib,
                self.free.disk_mib,
                part.disk_mib,
            ),
        ];
        for (test, total, free, need) in amounts {
            if total < need {
                let later = test == Test::Disk && self.lacks_room_only_now(needs);
                failed.push((test, if later { Passes::Later } else { Passes::Never }));
            } else if test == Test::Cores && needs.cores <= 1 && free < need {
                // Said already: there is no free slot.
            } else if free < need {
                failed.push((test, Passes::Later));
            }
        }
        if !self.takes_work() {
            let passes = if self.gone {
                Passes::Never
            } else {
                Passes::Later
            };
            failed.push((Test::TakesWork, passes));
        }
        failed.sort_unstable_by_key(|(test, _)| *test);
        failed
    }

    /// Predicted milliseconds of this many seconds of work here.
    pub fn takes_ms(&self, seconds: f64) -> u64 {
        (seconds.max(0.0) * 1000.0 / self.speed()) as u64
    }

    pub fn speed(&self) -> f64 {
        self.spec.pace()
    }

    /// When these needs fit if nothing more is given out, and what is free beside them then.
    pub fn free_at(&self, needs: &Requirements, now_ms: u64) -> Option<(u64, Free)> {
        if !self.fits_ever(needs) {
            return None;
        }
        let mut free = self.free;
        let mut at = now_ms;
        let mut ends: Vec<&Run> = self.runs.iter().flatten().collect();
        ends.sort_unstable_by_key(|run| (run.end_ms, run.job));
        let mut ends = ends.into_iter();
        let part = self.spec.part(needs);
        while !free.holds(&part) {
            let run = ends.next()?;
            at = at.max(run.end_ms);
            free.give(&self.spec.part(&run.needs));
        }
        free.take(&part);
        Some((at, free))
    }
}

/// All builders.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    pub builders: Vec<Builder>,
    by_id: HashMap<HostId, BuilderIx>,
    /// Builders with a free slot that take work.
    pub idle: BTreeSet<BuilderIx>,
    /// Predicted ends by speed, in steps of a twentieth.
    ends: BTreeMap<i64, BTreeSet<(u64, BuilderIx, JobId)>>,
}

impl Fleet {
    pub fn find(&self, id: &HostId) -> Option<BuilderIx> {
        self.by_id.get(id).copied()
    }

    pub fn get(&self, ix: BuilderIx) -> Option<&Builder> {
        self.builders.get(ix as usize)
    }

    pub fn get_mut(&mut self, ix: BuilderIx) -> Option<&mut Builder> {
        self.builders.get_mut(ix as usize)
    }

    /// Adds a builder or renews what is known of it.
    pub fn set(&mut self, spec: BuilderSpec) -> BuilderIx {
        let ix = match self.find(&spec.id) {
            Some(ix) => ix,
            None => {
                let ix = self.builders.len() as BuilderIx;
                self.by_id.insert(spec.id, ix);
                self.builders.push(Builder {
                    spec: spec.clone(),
                    gone: false,
                    runs: Vec::new(),
                    free: Free::default(),
                    reserved: None,
                });
                ix
            }
        };
        self.list_ends(ix, false);
        if let Some(builder) = self.get_mut(ix) {
            builder.gone = false;
            builder.spec = spec;
            builder.free = builder.spec.total();
            let slots = builder.spec.slots as usize;
            if builder.runs.len() < slots {
                builder.runs.resize(slots, None);
            }
            for run in builder.runs.iter().flatten() {
                builder.free.take(&builder.spec.part(&run.needs));
            }
        }
        self.list_ends(ix, true);
        self.renew_idle(ix);
        ix
    }

    /// A builder is gone; what ran there stays booked until it ends.
    pub fn leave(&mut self, ix: BuilderIx) {
        if let Some(builder) = self.get_mut(ix) {
            builder.gone = true;
        }
        self.renew_idle(ix);
    }

    /// Books a run in the lowest free slot, or in the one that is named. One that takes several slots is listed in the first of
    /// them; which others it has is its builder's own matter.
    pub fn start(&mut self, ix: BuilderIx, run: Run, slot: Option<u32>) -> Option<u32> {
        let speed = speed_step(self.get(ix)?.speed());
        let builder = self.get_mut(ix)?;
        let slot = match slot {
            Some(slot) => slot as usize,
            None => builder
                .runs
                .iter()
                .take(builder.spec.slots as usize)
                .position(Option::is_none)?,
        };
        // A row may name a slot that the builder no longer has; nobody has thousands.
        if builder.runs.len() <= slot {
            builder.runs.resize(slot.min(4096) + 1, None);
        }
        let place = builder.runs.get_mut(slot)?;
        if let Some(old) = place.replace(run) {
            builder.free.give(&builder.spec.part(&old.needs));
            self.ends
                .entry(speed)
                .or_default()
                .remove(&(old.end_ms, ix, old.job));
        }
        let builder = self.get_mut(ix)?;
        builder.free.take(&builder.spec.part(&run.needs));
        self.ends
            .entry(speed)
            .or_default()
            .insert((run.end_ms, ix, run.job));
        self.renew_idle(ix);
        u32::try_from(slot).ok()
    }

    /// Frees the slot of a job.
    pub fn end(&mut self, ix: BuilderIx, job: JobId) -> Option<Run> {
        let speed = speed_step(self.get(ix)?.speed());
        let builder = self.get_mut(ix)?;
        let place = builder
            .runs
            .iter_mut()
            .find(|run| run.is_some_and(|run| run.job == job))?;
        let run = place.take()?;
        builder.free.give(&builder.spec.part(&run.needs));
        if let Some(ends) = self.ends.get_mut(&speed) {
            ends.remove(&(run.end_ms, ix, job));
        }
        self.renew_idle(ix);
        Some(run)
    }

    /// Speeds faster than this one among builders that are busy, each with its ends, the soonest first.
    pub fn faster_ends(
        &self,
        speed: f64,
    ) -> impl Iterator<Item = (f64, &BTreeSet<(u64, BuilderIx, JobId)>)> {
        self.ends
            .range(speed_step(speed) + 1..)
            .filter(|(_, ends)| !ends.is_empty())
            .map(|(step, ends)| ((*step as f64 / 20.0).exp(), ends))
    }

    /// Who is free soonest among the busy builders that are faster than this, each with the moment; at most so many.
    pub fn soonest_faster(&self, speed: f64, most: usize) -> Vec<(u64, BuilderIx)> {
        let mut lists: Vec<_> = self
            .faster_ends(speed)
            .map(|(_, ends)| ends.iter())
            .collect();
        let mut next: BinaryHeap<Reverse<(u64, BuilderIx, usize)>> = BinaryHeap::new();
        for (at, list) in lists.iter_mut().enumerate() {
            next.extend(list.next().map(|(end, ix, _)| Reverse((*end, *ix, at))));
        }
        let mut soonest = Vec::new();
        while let Some(Reverse((end, ix, at))) = next.pop().filter(|_| soonest.len() < most) {
            soonest.push((end, ix));
            if let Some((end, ix, _)) = lists.get_mut(at).and_then(Iterator::next) {
                next.push(Reverse((*end, *ix, at)));
            }
        }
        soonest
    }

    /// Speed of all builders together that could run this.
    pub fn capacity(&self, needs: &Requirements) -> f64 {
        let fit = self
            .builders
            .iter()
            .filter(|builder| builder.fits_ever(needs));
        fit.map(|builder| builder.speed() * f64::from(builder.spec.at_once(needs)))
            .sum()
    }

    fn renew_idle(&mut self, ix: BuilderIx) {
        let idle = self
            .get(ix)
            .is_some_and(|builder| builder.takes_work() && builder.free.slots > 0);
        if idle {
            self.idle.insert(ix);
        } else {
            self.idle.remove(&ix);
        }
    }

    fn list_ends(&mut self, ix: BuilderIx, listed: bool) {
        let Some(builder) = self.builders.get(ix as usize) else {
            return;
        };
        let ends = self.ends.entry(speed_step(builder.speed())).or_default();
        for run in builder.runs.iter().flatten() {
            if listed {
                ends.insert((run.end_ms, ix, run.job));
            } else {
                ends.remove(&(run.end_ms, ix, run.job));
            }
        }
    }
}

fn speed_step(speed: f64) -> i64 {
    (speed.ln() * 20.0).round() as i64
}
