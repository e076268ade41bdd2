//! When each job will start and end: the plan played through once as predicted, and again with predictions that are wrong as often
//! and as far as they have been.

use super::cycles::chance::Chance;
use super::schedule::BuilderSpec;
use super::simulate::{Ran, Ranking, SimJob, simulate};

/// Beyond this a forecast takes longer than anybody waits for one.
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
    /// The builder's place in the list.
    pub builder: u32,
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
        builder: ran.builder,
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
        assert_eq!(times[0].unwrap().builder, 1);
        for times in times.iter().flatten() {
            assert!(times.start_p90_s >= times.start_p50_s && times.end_p90_s >= times.end_p50_s);
        }
        let (likely, late) = last_end(&times).unwrap();
        assert!(likely == 510.0 && (510.0..560.0).contains(&late), "{late}");
        assert_eq!(last_end(&[None]), None);
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
