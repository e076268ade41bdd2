//! What no schedule can beat: the least that a makespan can be, on the simulation's own clock of whole milliseconds, so that a run
//! is never shorter than its bound by what was rounded.

use std::collections::{BTreeMap, HashMap};

use super::cycles;
use super::schedule::{BuilderSpec, Requirements, SECONDS_MAX};
use super::simulate::SimJob;

/// Jobs up to which the work around each of them is added up: it takes memory by the square of their number.
const SURROUNDED_MAX: usize = 5_000;
/// What is left of a sum of work when it is divided: the last bits of such a quotient are not to be trusted.
const SURE: f64 = 1.0 - 1e-12;

/// The larger of [`plain_bound`] and, where builders differ, what surrounds each job. All that comes before a job has to be done
/// before it starts, all that comes after it cannot begin before it ends, and neither goes faster than all builders together: the
/// makespan is at least max(chain before, work before / speed) + the job + max(chain after, work after / speed). What never runs
/// counts for nothing.
pub fn lower_bound(jobs: &[SimJob], builders: &[BuilderSpec]) -> f64 {
    let loads = Loads::of(jobs, builders);
    let plain = loads.plain_ms();
    let first = builders.first();
    let alike = builders.iter().all(|builder| {
        first.is_some_and(|first| {
            builder.pace() == first.pace()
                && builder.slots == first.slots
                && builder.memory_mib == first.memory_mib
                && builder.archs == first.archs
        })
    });
    let ms = match alike || jobs.len() > SURROUNDED_MAX {
        true => plain,
        false => plain.max(loads.surrounded_ms(builders)),
    };
    ms / 1000.0
}

/// The larger of three:
/// the longest chain of real seconds, each job on the fastest builder that can run it;
/// all work over the speed of all slots; and, for every set of builders that some jobs are limited to, the work of these jobs
/// over the speed of that set (so that what only two builders can hold is counted against these two).
pub fn plain_bound(jobs: &[SimJob], builders: &[BuilderSpec]) -> f64 {
    Loads::of(jobs, builders).plain_ms() / 1000.0
}

/// A duration that can be counted with: not negative, not endless; not a number becomes 0.
pub(super) fn clean(seconds: f64) -> f64 {
    if seconds.is_finite() {
        seconds.clamp(0.0, SECONDS_MAX)
    } else {
        0.0
    }
}

/// Milliseconds that a job of so many seconds takes on a builder of this pace.
pub(super) fn takes_ms(seconds: f64, pace: f64) -> u64 {
    (clean(seconds) * 1000.0 / pace).min(1e15).round() as u64
}

/// What each job costs at least.
struct Loads {
    /// What comes before each; nothing before one that runs already.
    before: Vec<Vec<u32>>,
    /// Milliseconds on the fastest builder that can run it; 0 for what never runs.
    costs: Vec<f64>,
    /// Milliseconds of a slot of speed 1.
    work: Vec<f64>,
    /// Work and speed of every set of builders that some jobs are limited to.
    sets: BTreeMap<Vec<u32>, (f64, f64)>,
}

impl Loads {
    fn of(jobs: &[SimJob], builders: &[BuilderSpec]) -> Loads {
        let before = jobs.iter().map(|job| match job.runs_at {
            Some(_) => Vec::new(),
            None => job.before.clone(),
        });
        let mut loads = Loads {
            before: before.collect(),
            costs: vec![0.0; jobs.len()],
            work: vec![0.0; jobs.len()],
            sets: BTreeMap::new(),
        };
        let mut able_of: HashMap<Requirements, Option<Able>> = HashMap::new();
        let mut runs = vec![false; jobs.len()];
        for at in cycles::topological(&loads.before) {
            let at = at as usize;
            let earlier = loads.before.get(at).into_iter().flatten();
            let mut earlier = earlier.map(|earlier| runs.get(*earlier as usize));
            let (Some(job), true) = (jobs.get(at), earlier.all(|runs| runs == Some(&true))) else {
                continue;
            };
            let there = job.runs_at.map(|(ix, _)| Able::there(ix, builders));
            let able: &Option<Able> = match &there {
                Some(there) => there,
                None => able_of
                    .entry(job.needs)
                    .or_insert_with(|| Able::of(&job.needs, builders)),
            };
            let Some(able) = able.as_ref().filter(|_| !job.stuck) else {
                continue;
            };
            if let (Some(runs), Some(cost), Some(work)) = (
                runs.get_mut(at),
                loads.costs.get_mut(at),
                loads.work.get_mut(at),
            ) {
                *runs = true;
                *cost = takes_ms(job.actual_s, able.fastest()) as f64;
                *work = able.least_work_ms(job.actual_s);
                let set = loads.sets.entry(able.who.clone());
                set.or_insert((0.0, able.speed)).0 += *work;
            }
        }
        loads
    }

    fn plain_ms(&self) -> f64 {
        let chains = cycles::longest_paths(&self.before, &self.costs);
        let chain = chains.into_iter().fold(0.0, f64::max);
        let limited = self.sets.iter().filter(|(_, (_, speed))| *speed > 0.0);
        // The work of a set includes that of all its subsets.
        let by_work = limited.map(|(who, (_, speed))| {
            let within = self
                .sets
                .iter()
                .filter(|(other, _)| other.iter().all(|ix| who.binary_search(ix).is_ok()));
            within.map(|(_, (work, _))| work).sum::<f64>() / speed * SURE
        });
        by_work.fold(chain, f64::max)
    }

    fn surrounded_ms(&self, builders: &[BuilderSpec]) -> f64 {
        let there = builders.iter().filter(|builder| builder.away.is_none());
        let speed: f64 = there
            .map(|builder| builder.pace() * f64::from(builder.slots))
            .sum();
        if speed <= 0.0 {
            return 0.0;
        }
        let mut after: Vec<Vec<u32>> = vec![Vec::new(); self.before.len()];
        for (job, list) in (0..).zip(&self.before) {
            for earlier in list {
                if let Some(list) = after.get_mut(*earlier as usize) {
                    list.push(job);
                }
            }
        }
        let order = cycles::topological(&self.before);
        let backwards: Vec<u32> = order.iter().rev().copied().collect();
        let ahead = beyond(&order, &self.before, &self.costs, &self.work);
        let behind = beyond(&backwards, &after, &self.costs, &self.work);
        let around = order.iter().filter_map(|job| {
            let at = *job as usize;
            // What never runs has nothing around it.
            let cost = self.costs.get(at).filter(|cost| **cost > 0.0)?;
            let (chain, done) = ahead.get(at)?;
            let (tail, left) = behind.get(at)?;
            Some(chain.max(done / speed * SURE) + cost + tail.max(left / speed * SURE))
        });
        around.fold(0.0, f64::max) * SURE
    }
}

/// For each job the longest chain and the sum of work of all that lies beyond it, in an order in which what lies beyond comes first.
fn beyond(order: &[u32], next: &[Vec<u32>], costs: &[f64], work: &[f64]) -> Vec<(f64, f64)> {
    let words = next.len().div_ceil(64);
    let mut sets: Vec<Vec<u64>> = vec![Vec::new(); next.len()];
    let mut found = vec![(0.0, 0.0); next.len()];
    for job in order {
        let mut set = vec![0u64; words];
        let mut chain: f64 = 0.0;
        for other in next.get(*job as usize).into_iter().flatten() {
            let at = *other as usize;
            if let Some(word) = set.get_mut(at / 64) {
                *word |= 1 << (at % 64);
            }
            for (word, more) in set.iter_mut().zip(sets.get(at).into_iter().flatten()) {
                *word |= more;
            }
            let (beyond, _) = found.get(at).copied().unwrap_or_default();
            chain = chain.max(beyond + costs.get(at).copied().unwrap_or(0.0));
        }
        let members = set.iter().enumerate().flat_map(|(at, word)| {
            let bits = (0..64).filter(move |bit| word >> bit & 1 == 1);
            bits.map(move |bit| at * 64 + bit)
        });
        let sum: f64 = members.filter_map(|at| work.get(at)).sum();
        if let (Some(place), Some(own)) =
            (found.get_mut(*job as usize), sets.get_mut(*job as usize))
        {
            *place = (chain, sum);
            *own = set;
        }
    }
    found
}

/// The builders that could run something.
struct Able {
    who: Vec<u32>,
    /// Of all their slots; 0: what runs there is none of the work that others could do.
    speed: f64,
    paces: Vec<f64>,
}

impl Able {
    fn of(needs: &Requirements, builders: &[BuilderSpec]) -> Option<Able> {
        let mut able = Able {
            who: Vec::new(),
            speed: 0.0,
            paces: Vec::new(),
        };
        for (ix, builder) in (0..).zip(builders) {
            if builder.away.is_none() && builder.could_run(&needs.rounded()) {
                able.who.push(ix);
                able.speed += builder.pace() * f64::from(builder.slots);
                able.paces.push(builder.pace());
            }
        }
        able.paces.sort_by(f64::total_cmp);
        able.paces.dedup();
        (able.speed > 0.0).then_some(able)
    }

    /// Where something runs already, it stays.
    fn there(ix: u32, builders: &[BuilderSpec]) -> Option<Able> {
        let builder = builders.get(ix as usize)?;
        Some(Able {
            who: vec![ix],
            speed: match builder.away {
                Some(_) => 0.0,
                None => builder.pace() * f64::from(builder.slots),
            },
            paces: vec![builder.pace()],
        })
    }

    fn fastest(&self) -> f64 {
        self.paces.last().copied().unwrap_or(1.0)
    }

    /// Milliseconds of a slot of speed 1 that a job takes at least, wherever it is put.
    fn least_work_ms(&self, seconds: f64) -> f64 {
        if self.speed <= 0.0 {
            return 0.0;
        }
        let takes = self.paces.iter();
        takes
            .map(|pace| takes_ms(seconds, *pace) as f64 * pace)
            .fold(f64::INFINITY, f64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::super::simulate::{Ranking, simulate};
    use super::super::whole::equal_builders;
    use super::*;
    use crate::id::Arch;

    fn job(seconds: f64, before: &[u32]) -> SimJob {
        SimJob {
            label: "".into(),
            account: "".into(),
            needs: Requirements::NOTHING,
            predicted_s: seconds,
            actual_s: seconds,
            before: before.to_vec(),
            stuck: false,
            runs_at: None,
            not_before_s: 0.0,
        }
    }

    #[test]
    fn no_run_is_shorter_than_its_bound_whatever_was_rounded() {
        let builders = equal_builders(1, &[Arch::X86_64]);
        for first in 1..200 {
            for second in 1..60 {
                // 0.1 s and then 0.2 s are 0.30000000000000004 s, and end after 300 ms.
                let (a, b) = (
                    f64::from(first * 7) / 1000.0,
                    f64::from(second * 13) / 1000.0,
                );
                let jobs = [job(a, &[]), job(b, &[0])];
                let outcome = simulate(&jobs, &builders, Ranking::LongestPath);
                assert_eq!(outcome.makespan_s, outcome.lower_bound_s, "{a} {b}");
            }
        }
        let mut builders = equal_builders(3, &[Arch::X86_64]);
        for (builder, speed) in builders.iter_mut().zip([1.3, 0.7, 3.1]) {
            builder.speed = speed;
        }
        for number in 1..300 {
            let seconds = f64::from(number) * 0.0017;
            let jobs: Vec<SimJob> = (0..12).map(|_| job(seconds, &[])).collect();
            let outcome = simulate(&jobs, &builders, Ranking::LongestPath);
            assert!(outcome.makespan_s >= outcome.lower_bound_s, "{outcome:?}");
        }
    }

    #[test]
    fn what_never_runs_is_in_no_bound_and_what_runs_already_waits_for_nothing() {
        let builders = equal_builders(2, &[Arch::X86_64]);
        let mut stuck = job(1_000.0, &[]);
        stuck.stuck = true;
        let mut running = job(5.0, &[0]);
        running.runs_at = Some((1, 0));
        let jobs = [
            stuck,
            running,
            job(2_000.0, &[0]),
            job(3.0, &[1]),
            job(9.0, &[4]),
        ];
        let outcome = simulate(&jobs, &builders, Ranking::LongestPath);
        assert_eq!((outcome.makespan_s, outcome.lower_bound_s), (8.0, 8.0));
        let ran: Vec<bool> = outcome.ran.iter().map(Option::is_some).collect();
        assert_eq!(ran, [false, true, false, true, false]);
        let mut away = builders;
        away[1].away = Some("gone".into());
        let outcome = simulate(&jobs, &away, Ranking::LongestPath);
        assert!(outcome.makespan_s >= outcome.lower_bound_s, "{outcome:?}");
    }
}
