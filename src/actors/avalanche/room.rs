//! What avalanche does about its own health: the verdict over its looks, room when a disk runs full, old logs, and layers
//! that are written down in quiet times.

use std::collections::BTreeSet;
use std::path::PathBuf;

use ractor::ActorRef;

use super::disk::Short;
use super::gauge::{self, Look};
use super::{Msg, State, disk};
use crate::fault::{Fault, Kind};
use crate::health::{Floors, Judgement, Sample, Verdict, judge};
use crate::id::AttemptId;

/// Logs are counted this often.
const PRUNE_MS: u64 = 600_000;
/// Caches are counted this often at most while something is built, and as often as logs while nothing is.
const COUNT_MS: u64 = 60_000;
/// Layers are synced when nothing was built for this long.
const QUIET_MS: u64 = 30_000;
/// After an attempt was given back, its directories take a moment to go.
const PARK_MS: u64 = 3_000;
/// An attempt that does nothing for this long is shown, long before it is ended.
const IDLE_SHOWN_MS: u64 = 60_000;
/// An empty look through the caches is not repeated before this.
const RECLAIM_MS: u64 = 5_000;
/// The same while there is room enough for new work.
const RECLAIM_IN_TIME_MS: u64 = 60_000;

/// What is going on about room.
#[derive(Debug, Default)]
pub(super) struct Room {
    reclaiming: bool,
    reclaimed_ms: Option<u64>,
    parked_ms: Option<u64>,
    pruned_ms: Option<u64>,
    /// Something was built since the layers were last synced.
    pub(super) built: bool,
    quiet_since_ms: Option<u64>,
    counted_ms: Option<u64>,
    /// What the caches could give back where attempts are built, when they were last counted.
    pub(super) cached_bytes: Option<u64>,
}

/// File systems that are nearly down to a floor, and what is missing on them up to half above it. Caches go from a quarter
/// above the floor on: new work is refused only where that did not help.
fn shortages(sample: &Sample, floors: Floors) -> Vec<Short> {
    let soon = |floor: u64| floor.saturating_add(floor / 4);
    let of_disk = |disk: &crate::health::DiskSample| {
        let free = disk.free_bytes?;
        let few_inodes = disk
            .free_inodes
            .is_some_and(|free| free < soon(floors.inodes));
        let short = free < soon(floors.disk_bytes) || few_inodes;
        let wanted = floors.disk_bytes.saturating_add(floors.disk_bytes / 2);
        short.then(|| Short {
            path: PathBuf::from(&disk.path),
            bytes: wanted
                .saturating_sub(free)
                .max(floors.disk_bytes / 4)
                .max(1),
        })
    };
    sample.disks.iter().filter_map(of_disk).collect()
}

/// Whether a file system has so little left that something must be given up: half of the floor.
fn is_critical(sample: &Sample, floors: Floors) -> bool {
    sample.disks.iter().any(|disk| {
        disk.free_bytes
            .is_some_and(|free| free < floors.disk_bytes / 2)
            || disk
                .free_inodes
                .is_some_and(|free| free < floors.inodes / 2)
    })
}

impl State {
    /// A fresh look at this machine.
    pub(super) fn looked(&mut self, me: &ActorRef<Msg>, look: Look) {
        self.take_look(look);
        if !shortages(&self.sample, self.args.floors).is_empty() {
            self.make_room(me);
        }
    }

    /// What a look at this machine says.
    pub(super) fn take_look(&mut self, look: Look) {
        let was = self.judgement.verdict;
        self.judgement = judge(&look.sample, self.args.floors, &look.troubles, was);
        if self.judgement.verdict == Verdict::Fit {
            let idle = self.idle_attempts();
            if !idle.is_empty() {
                self.judgement = Judgement {
                    verdict: Verdict::Stalled,
                    evidence: idle,
                };
            }
        }
        if self.judgement.verdict != was {
            tracing::info!(verdict = self.judgement.verdict.as_str(), evidence = ?self.judgement.evidence, "health changed");
        }
        self.vitals.temperature_c = look.temperature_c.or(self.vitals.temperature_c);
        self.vitals.disk_floor_bytes = self.args.floors.disk_bytes;
        self.sample = look.sample;
    }

    /// Attempts that do nothing, in words.
    fn idle_attempts(&self) -> Vec<String> {
        let shown_ms = IDLE_SHOWN_MS.min(self.args.bounds.silence_s_max * 500);
        let idle = self.running.iter().filter_map(|(attempt, running)| {
            let idle_ms = running.watch.look().glance.idle_ms;
            (idle_ms >= shown_ms).then(|| {
                format!(
                    "attempt {attempt} ({}) did nothing for {} s",
                    running.recipe,
                    idle_ms / 1000
                )
            })
        });
        idle.collect()
    }

    fn known(&self) -> BTreeSet<AttemptId> {
        self.taken
            .keys()
            .chain(self.running.keys())
            .copied()
            .collect()
    }

    /// Throws caches away, in a task of its own; `Msg::Reclaimed` says what came of it.
    fn make_room(&mut self, me: &ActorRef<Msg>) {
        let now_ms = super::super::now().mono_ms;
        let pause_ms = match self.judgement.verdict {
            Verdict::Low => RECLAIM_MS,
            Verdict::Fit | Verdict::Stalled | Verdict::Unknown => RECLAIM_IN_TIME_MS,
        };
        let lately = self
            .room
            .reclaimed_ms
            .is_some_and(|then| now_ms.saturating_sub(then) < pause_ms);
        if self.room.reclaiming {
            return;
        }
        if lately {
            return self.park_if_critical();
        }
        self.room.reclaiming = true;
        let short = shortages(&self.sample, self.args.floors);
        let (caches, known, to) = (self.args.caches.clone(), self.known(), me.clone());
        tokio::task::spawn_blocking(move || {
            let freed = match disk::reclaim(&caches, &short, &known) {
                Ok(freed) => Some(freed),
                Err(fault) => {
                    tracing::error!(%fault, "cannot make room");
                    None
                }
            };
            let look = Box::new(gauge::look(&caches.dir));
            // An avalanche that is gone looks again when it is back.
            to.cast(Msg::Reclaimed { freed, look }).ok();
        });
    }

    pub(super) fn reclaimed(&mut self, me: &ActorRef<Msg>, freed: Option<u64>, look: Look) {
        self.room.reclaiming = false;
        self.vitals.reclaimed_bytes += freed.unwrap_or(0);
        if freed.unwrap_or(0) > 0 {
            tracing::info!(bytes = freed, "threw caches away for room");
        } else {
            self.room.reclaimed_ms = Some(super::super::now().mono_ms);
        }
        self.take_look(look);
        if !shortages(&self.sample, self.args.floors).is_empty() {
            self.make_room(me);
        }
    }

    /// Nothing is left to throw away and hardly any room: the youngest attempt is given back, which loses least.
    fn park_if_critical(&mut self) {
        let now_ms = super::super::now().mono_ms;
        let settling = self
            .room
            .parked_ms
            .is_some_and(|then| now_ms.saturating_sub(then) < PARK_MS);
        let parking = self
            .running
            .values()
            .any(|running| running.parked.is_some());
        if settling || parking || !is_critical(&self.sample, self.args.floors) {
            return;
        }
        let youngest = self
            .running
            .iter_mut()
            .max_by_key(|(attempt, running)| (running.since, **attempt));
        let Some((attempt, running)) = youngest else {
            return;
        };
        let what = format!(
            "{} has no room left: {}",
            self.args.name,
            self.judgement.evidence.join("; ")
        );
        tracing::warn!(%attempt, what, "an attempt is given back");
        let next = "nothing is to be done: the job goes elsewhere, or waits for room";
        running.parked = Some(Fault::new(Kind::TryAgain, what).next(next));
        running.watch.cancel("no room left");
        self.room.parked_ms = Some(now_ms);
        self.vitals.parked += 1;
    }

    /// By the clock: old logs go, and layers are written down when nothing is built.
    pub(super) fn keep_house(&mut self, me: &ActorRef<Msg>) {
        let now_ms = super::super::now().mono_ms;
        let due = |then: Option<u64>, every| then.is_none_or(|then| now_ms >= then + every);
        if due(self.room.pruned_ms, PRUNE_MS) {
            self.room.pruned_ms = Some(now_ms);
            let (caches, known) = (self.args.caches.clone(), self.known());
            tokio::task::spawn_blocking(move || {
                if let Err(fault) = disk::prune_logs(&caches.dir, caches.keep, &known) {
                    tracing::warn!(%fault, "cannot delete old logs");
                }
            });
        }
        let count_ms = match self.running.is_empty() {
            true => PRUNE_MS,
            false => COUNT_MS,
        };
        if due(self.room.counted_ms, count_ms) {
            self.room.counted_ms = Some(now_ms);
            let (caches, to) = (self.args.caches.clone(), me.clone());
            tokio::task::spawn_blocking(move || {
                // An avalanche that is gone counts again when it is back.
                to.cast(Msg::Cached(disk::cached_bytes(&caches))).ok();
            });
        }
        if !self.running.is_empty() {
            self.room.quiet_since_ms = None;
        } else if self.room.built {
            let since = *self.room.quiet_since_ms.get_or_insert(now_ms);
            if now_ms >= since + QUIET_MS {
                self.room.built = false;
                let layers = self.args.caches.layers.clone();
                tokio::task::spawn_blocking(move || {
                    if let Err(fault) = layers.seal() {
                        tracing::warn!(%fault, "cannot sync the layers");
                    }
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::DiskSample;

    #[test]
    fn room_is_made_from_a_quarter_to_half_above_the_floor_and_something_given_up_below_half_of_it()
    {
        let floors = Floors {
            disk_bytes: 1000,
            inodes: 100,
        };
        let sample = |free, inodes| Sample {
            disks: vec![DiskSample {
                path: "/d".into(),
                free_bytes: free,
                total_bytes: None,
                free_inodes: inodes,
                full_in_s: None,
            }],
            ..Sample::default()
        };
        for (sample, missing, critical) in [
            (sample(Some(1250), None), None, false),
            (sample(Some(1249), None), Some(251), false),
            (sample(Some(999), Some(125)), Some(501), false),
            (sample(Some(499), None), Some(1001), true),
            (sample(Some(5000), Some(125)), None, false),
            (sample(Some(5000), Some(124)), Some(250), false),
            (sample(Some(5000), Some(49)), Some(250), true),
            (sample(None, None), None, false),
        ] {
            let short = shortages(&sample, floors);
            let bytes = short.first().map(|short| short.bytes);
            assert_eq!(bytes, missing, "{sample:?}");
            assert_eq!(is_critical(&sample, floors), critical, "{sample:?}");
        }
    }
}
