//! When each job will start and end: the plan played through once as predicted, and again with predictions that are wrong as often
//! and as far as they have been. Too many jobs for that get a rough one: from the chain before each and the work ahead of it.

use std::collections::HashMap;

use super::cycles;
use super::cycles::chance::Chance;
use super::schedule::BuilderSpec;
use super::simulate::{Ran, Ranking, SimJob, simulate};

use crate::id::Arch;

/// Beyond this playing takes longer than anybody waits for it, and a forecast is rough.
pub const JOBS_MAX: usize = 20_000;
/// Jobs of all plays together: a handler has some 50 ms.
const PLAYED: usize = 6_000;
/// Plays beyond which the ninth tenth no longer moves.
const PLAYS_MAX: usize = 19;
/// Fewer plays than this say nothing about a ninth tenth.
const PLAYS_MIN: usize = 5;
/// How many standard deviations of the normal distribution its ninth tenth is.
const NINTH_TENTH: f64 = 1.2816;

/// When a job starts and ends, in seconds from the moment of the forecast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Times {
    /// As likely sooner as later.
    pub start_p50_s: f64,
    /// Nine times of ten not later.
    pub start_p90_s: f64,
    /// As likely sooner as later.
    pub end_p50_s: f64,
    /// Nine times of ten not later.
    pub end_p90_s: f64,
}

/// How a forecast was made, which is how far it can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum How {
    /// Played through once, and so many times with predictions that are wrong as often and as far as they have been.
    #[default]
    Played,
    /// Played through once; the late end is the likely one times the error of a single prediction.
    PlayedOnce,
    /// From the chain before each job and the work ahead of it.
    Rough,
}

impl How {
    /// What a person should know of it; `None`: nothing beyond the two numbers.
    pub fn text(self, jobs: usize) -> Option<String> {
        match self {
            How::Played => None,
            How::PlayedOnce => Some(format!(
                "{jobs} jobs were played through once; the late end is the likely one times the usual error of one prediction"
            )),
            How::Rough => Some(format!(
                "rough, because {jobs} jobs are too many to play through: the likely time takes all builders to be full all the \
                 time; the late one adds the chain before it to the work ahead of it, with the usual error"
            )),
        }
    }
}

/// How a forecast of so many jobs is made.
pub fn how(jobs: usize) -> How {
    match jobs {
        jobs if jobs > JOBS_MAX => How::Rough,
        jobs if PLAYED / jobs.max(1) < PLAYS_MIN => How::PlayedOnce,
        _ => How::Played,
    }
}

/// Speed of all slots that take work of an architecture together, and how many slots that is.
fn capacities(builders: &[BuilderSpec]) -> HashMap<Arch, (f64, f64)> {
    let mut all: HashMap<Arch, (f64, f64)> = HashMap::new();
    for builder in builders.iter().filter(|builder| builder.away.is_none()) {
        let slots = f64::from(builder.slots);
        for arch in builder.archs.iter() {
            let (speed, count) = all.entry(*arch).or_default();
            *speed += slots * builder.pace();
            *count += slots;
        }
    }
    all.retain(|_, (_, slots)| *slots > 0.0);
    all
}

/// The same without playing: a job starts after the chain before it and after the work that comes before it in the queue, whichever
/// is later; any queue that leaves no builder idle starts it before the sum of the two. Each is one pass over jobs and edges.
pub fn rough(jobs: &[SimJob], spreads: &[f64], builders: &[BuilderSpec]) -> Vec<Option<Times>> {
    let capacities = capacities(builders);
    let before: Vec<Vec<u32>> = jobs.iter().map(|job| job.before.clone()).collect();
    let costs: Vec<f64> = jobs.iter().map(|job| job.predicted_s).collect();
    let paths = cycles::longest_paths(&before, &costs);
    // What runs is ahead of everything.
    let rank = |at: usize| match jobs.get(at).and_then(|job| job.runs_at) {
        Some(_) => f64::INFINITY,
        None => paths.get(at).copied().unwrap_or(0.0),
    };
    let mut queue: Vec<usize> = (0..jobs.len()).collect();
    queue.sort_by(|a, b| rank(*b).total_cmp(&rank(*a)).then(a.cmp(b)));
    let mut work: HashMap<Arch, f64> = HashMap::new();
    let mut ahead = vec![0.0; jobs.len()];
    for at in queue {
        let Some(job) = jobs.get(at).filter(|job| !job.stuck) else {
            continue;
        };
        let sum = work.entry(job.needs.arch).or_default();
        if let Some(ahead) = ahead.get_mut(at) {
            *ahead = *sum;
        }
        *sum += job.predicted_s;
    }
    let mut all: Vec<Option<Times>> = vec![None; jobs.len()];
    let mut ends = vec![None; jobs.len()];
    for at in cycles::topological(&before) {
        let at = at as usize;
        let Some(job) = jobs.get(at).filter(|job| !job.stuck) else {
            continue;
        };
        let Some((speed, slots)) = capacities.get(&job.needs.arch) else {
            continue;
        };
        let mut chain_s = 0.0_f64;
        let waits = job.before.iter().any(|before| {
            let end: Option<f64> = ends.get(*before as usize).copied().flatten();
            chain_s = chain_s.max(end.unwrap_or(0.0));
            end.is_none()
        });
        if waits {
            continue;
        }
        let spread = spreads.get(at).copied().unwrap_or(1.0).clamp(1.0, 10.0);
        let takes_s = job.predicted_s * slots / speed;
        let work_s = ahead.get(at).copied().unwrap_or(0.0) / speed;
        let (likely, late) = match job.runs_at {
            Some(_) => (0.0, 0.0),
            None => (chain_s.max(work_s), (chain_s + work_s) * spread),
        };
        let start_s = likely.max(job.not_before_s);
        let late_s = late.max(start_s);
        if let (Some(end), Some(times)) = (ends.get_mut(at), all.get_mut(at)) {
            *end = Some(chain_s.max(job.not_before_s) + takes_s);
            *times = Some(Times {
                start_p50_s: start_s,
                start_p90_s: late_s,
                end_p50_s: start_s + takes_s,
                end_p90_s: late_s + takes_s * spread,
            });
        }
    }
    all
}

/// Plays the jobs on these builders; `spreads`: nine times of ten a job takes less than its prediction times this. `None`: it will
/// not start as things are.
pub fn forecast(jobs: &[SimJob], spreads: &[f64], builders: &[BuilderSpec]) -> Vec<Option<Times>> {
    let middle = simulate(jobs, builders, Ranking::LongestPath).ran;
    let plays = (PLAYED / jobs.len().max(1)).min(PLAYS_MAX);
    let mut starts: Vec<Vec<f64>> = vec![Vec::new(); jobs.len()];
    let mut ends = starts.clone();
    for play in 0..if plays < PLAYS_MIN { 0 } else { plays } {
        let ran = simulate(
            &disturbed(jobs, spreads, play as u64),
            builders,
            Ranking::LongestPath,
        )
        .ran;
        for (at, ran) in ran.iter().enumerate() {
            if let (Some(ran), Some(starts), Some(ends)) =
                (ran, starts.get_mut(at), ends.get_mut(at))
            {
                starts.push(ran.start_s);
                ends.push(ran.end_s);
            }
        }
    }
    let all = middle
        .iter()
        .zip(starts.iter_mut().zip(&mut ends))
        .zip(spreads);
    all.map(|((ran, (starts, ends)), spread)| times(ran.as_ref()?, starts, ends, *spread))
        .collect()
}

fn times(ran: &Ran, starts: &mut [f64], ends: &mut [f64], spread: f64) -> Option<Times> {
    let late = |all: &mut [f64], middle: f64| {
        all.sort_by(f64::total_cmp);
        let ninth = all.get(all.len() * 9 / 10).copied();
        ninth
            .unwrap_or(middle * spread.clamp(1.0, 10.0))
            .max(middle)
    };
    Some(Times {
        start_p50_s: ran.start_s,
        start_p90_s: late(starts, ran.start_s),
        end_p50_s: ran.end_s,
        end_p90_s: late(ends, ran.end_s),
    })
}

/// The same jobs, each taking longer or shorter by chance; the dispatcher goes on believing the predictions.
fn disturbed(jobs: &[SimJob], spreads: &[f64], seed: u64) -> Vec<SimJob> {
    let mut chance = Chance::new(seed);
    let mut jobs = jobs.to_vec();
    for (job, spread) in jobs.iter_mut().zip(spreads) {
        let normal = (-2.0 * chance.unit().max(1e-12).ln()).sqrt()
            * (std::f64::consts::TAU * chance.unit()).cos();
        let deviation = spread.clamp(1.0, 10.0).ln() / NINTH_TENTH;
        job.actual_s *= (normal * deviation).exp();
    }
    jobs
}

/// When the last of them ends: as likely as not, and nine times of ten. `None`: none of them starts.
pub fn last_end(times: &[Option<Times>]) -> Option<(f64, f64)> {
    let ends = times.iter().flatten().map(|t| (t.end_p50_s, t.end_p90_s));
    ends.reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)))
}

#[cfg(test)]
mod tests {
    use super::super::whole::equal_builders;
    use super::*;
    use crate::id::Arch;
    use crate::plan::{Isolation, Requirements, Trust};

    fn job(seconds: f64, before: &[u32]) -> SimJob {
        SimJob {
            label: "x".into(),
            account: "p".into(),
            needs: Requirements {
                arch: Arch::X86_64,
                level: crate::model::IsaLevel::Baseline,
                trust: Trust::Trusted,
                isolation: Isolation::Sandbox,
                cores: 1,
                memory_mib: 0,
                disk_mib: 0,
            },
            predicted_s: seconds,
            actual_s: seconds,
            before: before.to_vec(),
            stuck: false,
            runs_at: None,
            not_before_s: 0.0,
        }
    }

    #[test]
    fn a_forecast_begins_with_what_runs_and_with_what_is_held() {
        let builders = equal_builders(2, &[Arch::X86_64]);
        let mut running = job(30.0, &[]);
        running.runs_at = Some((1, 0));
        let mut held = job(10.0, &[]);
        held.not_before_s = 500.0;
        let mut stuck = job(10.0, &[]);
        stuck.stuck = true;
        let jobs = [running, job(20.0, &[0]), held, stuck, job(5.0, &[3])];
        let times = forecast(&jobs, &[1.5; 5], &builders);
        let at = |job: usize| times[job].map(|t| (t.start_p50_s, t.end_p50_s));
        assert_eq!(at(0), Some((0.0, 30.0)));
        assert_eq!(at(1), Some((30.0, 50.0)));
        assert_eq!(at(2), Some((500.0, 510.0)));
        assert_eq!((at(3), at(4)), (None, None));
        for times in times.iter().flatten() {
            assert!(times.start_p90_s >= times.start_p50_s && times.end_p90_s >= times.end_p50_s);
        }
        let (likely, late) = last_end(&times).unwrap();
        assert!(likely == 510.0 && (510.0..560.0).contains(&late), "{late}");
        assert_eq!(last_end(&[None]), None);
    }

    #[test]
    fn a_rough_forecast_lies_around_what_is_played() {
        let builders = equal_builders(8, &[Arch::X86_64]);
        let mut chance = Chance::new(7);
        let mut jobs: Vec<SimJob> = Vec::new();
        for at in 0..600_u32 {
            let before: Vec<u32> = (0..3)
                .map(|_| chance.below(600) as u32)
                .filter(|before| *before < at)
                .collect();
            jobs.push(job(10.0 + chance.below(200) as f64, &before));
        }
        let played = simulate(&jobs, &builders, Ranking::LongestPath).ran;
        let guessed = rough(&jobs, &[1.0; 600], &builders);
        let mut within = 0;
        for (played, guessed) in played.iter().zip(&guessed) {
            let (played, guessed) = (played.unwrap(), guessed.unwrap());
            assert!(guessed.start_p50_s <= guessed.start_p90_s);
            // Before the likely moment at most by what runs then, after the late one never.
            let soonest = guessed.start_p50_s - 210.0;
            within += u32::from((soonest..=guessed.start_p90_s).contains(&played.start_s));
        }
        assert!(within >= 540, "{within} of 600");
        let (likely, late) = last_end(&guessed).unwrap();
        let ends = played.iter().flatten().map(|ran| ran.end_s);
        let end = ends.fold(0.0, f64::max);
        assert!(
            (likely - 210.0..=late).contains(&end),
            "{likely} {end} {late}"
        );
    }

    #[test]
    fn a_rough_forecast_says_nothing_of_what_will_not_start() {
        let builders = equal_builders(1, &[Arch::X86_64]);
        let mut stuck = job(10.0, &[]);
        stuck.stuck = true;
        let mut held = job(10.0, &[]);
        held.not_before_s = 500.0;
        let mut foreign = job(10.0, &[]);
        foreign.needs.arch = Arch::Aarch64;
        let jobs = [stuck, job(5.0, &[0]), held, foreign, job(7.0, &[])];
        let times = rough(&jobs, &[2.0; 5], &builders);
        let started: Vec<bool> = times.iter().map(Option::is_some).collect();
        assert_eq!(started, [false, false, true, false, true]);
        assert_eq!(times[2].unwrap().start_p50_s, 500.0);
        assert_eq!(rough(&jobs, &[2.0; 5], &[]), vec![None; 5]);
        assert!(
            how(JOBS_MAX + 1)
                .text(JOBS_MAX + 1)
                .unwrap()
                .contains("20001 jobs")
        );
        assert_eq!((how(6_000), how(100)), (How::PlayedOnce, How::Played));
    }

    #[test]
    fn nine_of_ten_ends_lie_before_the_ninth_tenth() {
        let builders = equal_builders(1, &[Arch::X86_64]);
        let jobs: Vec<SimJob> = (0..12).map(|_| job(100.0, &[])).collect();
        let times = forecast(&jobs, &[2.0; 12], &builders);
        let last = times
            .iter()
            .flatten()
            .max_by(|a, b| a.end_p50_s.total_cmp(&b.end_p50_s));
        let last = last.unwrap();
        // Errors of many jobs cancel out: twelve in a row are not twice as late as one.
        assert!(
            last.end_p90_s > 1_200.0 && last.end_p90_s < 2_000.0,
            "{last:?}"
        );
    }
}
