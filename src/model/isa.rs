//! What a processor level is worth for one recipe, measured: times of the same workload built for several levels, taken in
//! turns on one slot, and what can be said of them.

use serde::{Deserialize, Serialize};

use super::event::Event;
use super::farm::{Change, Farm, Refusal};
use super::job::Target;
use super::order::Usage;
use super::profile::IsaLevel;
use super::who::Who;
use crate::id::{AttemptId, HostId, RecipeName, Stamp};

/// Measurements that are kept; the oldest goes first.
pub const MEASUREMENTS_MAX: usize = 2_000;
/// Runs of each level at most: their times fit a row.
pub const RUNS_MAX: u32 = 100;
/// Runs of each level unless asked for otherwise: with so many the interval of 99 % leaves out one at each end.
pub const RUNS: u32 = 12;
/// Levels of one measurement at most.
pub const LEVELS_MAX: usize = 4;
/// A run that takes longer is given up: it would never end, or nobody would wait for so many of them.
pub const RUN_S_MAX: u64 = 600;
/// What the interval of a ratio must be sure of: a level that is no better is called faster or slower once in a hundred times at most.
const CONFIDENCE: f64 = 0.99;
/// Ratios this near to 1 are no difference: the noise of a quiet machine.
const NOISE: f64 = 0.02;
/// Shorter runs measure how a program starts.
const SHORT_MS: u64 = 200;

/// The runs of one level, in the order in which they were made. Entry `n` of all levels was taken in the same turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timed {
    /// The level.
    pub level: IsaLevel,
    /// Processor time of all processes of each run.
    pub cpu_ms: Vec<u64>,
    /// From start to end of each run.
    pub wall_ms: Vec<u64>,
}

/// What a builder measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsaRun {
    /// The recipe's script that was run: `workload` or `check`.
    pub script: String,
    /// The first one is what the others are held against.
    pub levels: Vec<Timed>,
    /// The processor's name: other ones may differ.
    pub processor: String,
    /// Cores that the slot had.
    pub cores: u32,
    /// The load of the machine before the first run, beside ours, in hundredths.
    pub load_percent: Option<u32>,
}

impl IsaRun {
    /// Whether it fits a row, whoever it is from.
    pub fn is_bounded(&self) -> bool {
        let runs = RUNS_MAX as usize;
        self.script.len() <= 40
            && self.processor.len() <= 120
            && self.levels.len() <= LEVELS_MAX
            && self.levels.iter().all(|level| {
                level.cpu_ms.len() <= runs && level.wall_ms.len() == level.cpu_ms.len()
            })
    }
}

/// One measurement of one recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measurement {
    /// Its number, from 1.
    pub id: u64,
    /// Under which it was made.
    pub attempt: AttemptId,
    /// What was measured, for the profile that the levels are held against.
    pub target: Target,
    /// Version, release and build release.
    pub release: String,
    /// On which builder.
    pub builder: HostId,
    /// When it began.
    pub began: Stamp,
    /// Who wanted it.
    pub by: Who,
    /// What was measured.
    pub run: IsaRun,
    /// What it took.
    pub usage: Usage,
}

/// What can be said of a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// It is faster.
    Faster,
    /// It is slower.
    Slower,
    /// There is no difference that matters.
    Same,
    /// Nothing.
    CannotTell,
}

impl Word {
    /// The word in JSON and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Word::Faster => "faster",
            Word::Slower => "slower",
            Word::Same => "same",
            Word::CannotTell => "cannot_tell",
        }
    }
}

/// One level held against another.
#[derive(Debug, Clone, PartialEq)]
pub struct Worth {
    /// How many times as fast, by processor time; the median of all turns.
    pub ratio: f64,
    /// The true median lies between this...
    pub low: f64,
    /// ... and this ...
    pub high: f64,
    /// ... with this probability.
    pub confidence: f64,
    /// The same ratio by the clock on the wall.
    pub wall_ratio: f64,
    /// How far apart the middle half of the level's runs lies, as part of their median.
    pub spread: f64,
    /// In a word.
    pub word: Word,
}

fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle)?;
    match sorted.len() % 2 {
        1 => Some(*upper),
        _ => Some((sorted.get(middle.checked_sub(1)?)? + upper) / 2.0),
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    all
}

/// How many of the smallest, and of the largest, of `runs` ratios may be left out so that the true median still lies between the
/// rest with `CONFIDENCE`; and with which probability it does. A turn is on either side of the true median with one half,
/// so this asks nothing of how the noise is spread.
fn interval(runs: usize) -> (usize, f64) {
    let mut below = 0.5_f64.powi(i32::try_from(runs).unwrap_or(i32::MAX));
    let (mut term, mut out, mut sure) = (below, 0, 1.0 - 2.0 * below);
    for at in 1..runs / 2 {
        term *= (runs - at + 1) as f64 / at as f64;
        below += term;
        let next = 1.0 - 2.0 * below;
        if next < CONFIDENCE {
            break;
        }
        (out, sure) = (at, next);
    }
    (out, sure.max(0.0))
}

fn ratios(base: &[u64], level: &[u64]) -> Vec<f64> {
    let pairs = base.iter().zip(level);
    // A run of less than a millisecond took one: nothing is divided by zero.
    sorted(pairs.map(|(base, level)| (*base).max(1) as f64 / (*level).max(1) as f64))
}

/// What one level is worth beside another; `None`: there are no runs of both.
pub fn worth(base: &Timed, level: &Timed) -> Option<Worth> {
    let all = ratios(&base.cpu_ms, &level.cpu_ms);
    let ratio = median(&all)?;
    let wall_ratio = median(&ratios(&base.wall_ms, &level.wall_ms))?;
    let (out, confidence) = interval(all.len());
    let (low, high) = (*all.get(out)?, *all.get(all.len() - 1 - out)?);
    let times = sorted(level.cpu_ms.iter().map(|ms| *ms as f64));
    let quarter = |part: usize| times.get((times.len() - 1) * part / 4).copied();
    let spread = (quarter(3)? - quarter(1)?) / median(&times)?.max(1.0);
    let short = base
        .cpu_ms
        .iter()
        .chain(&level.cpu_ms)
        .any(|ms| *ms < SHORT_MS / 10);
    let word = if confidence < CONFIDENCE || short {
        Word::CannotTell
    } else if low >= 1.0 - NOISE && high <= 1.0 + NOISE {
        Word::Same
    } else if low > 1.0 {
        Word::Faster
    } else if high < 1.0 {
        Word::Slower
    } else {
        Word::CannotTell
    };
    Some(Worth {
        ratio,
        low,
        high,
        confidence,
        wall_ratio,
        spread,
        word,
    })
}

/// What a measurement cannot say, in sentences.
pub fn unsaid(run: &IsaRun) -> Vec<String> {
    let mut all = Vec::new();
    let runs = run
        .levels
        .iter()
        .map(|level| level.cpu_ms.len())
        .min()
        .unwrap_or(0);
    let (_, sure) = interval(runs);
    if sure < CONFIDENCE {
        all.push(format!(
            "{runs} runs are too few for an interval of {:.0} %: eight are the least",
            CONFIDENCE * 100.0
        ));
    }
    let shortest = run.levels.iter().flat_map(|level| &level.cpu_ms).min();
    if let Some(ms) = shortest.filter(|ms| **ms < SHORT_MS) {
        all.push(format!(
            "a run takes {ms} ms of processor time: much of it is how the programs start"
        ));
    }
    if let Some(load) = run.load_percent.filter(|load| *load >= 50) {
        all.push(format!(
            "the machine had a load of {:.1} when it began: others took of its caches and its memory's width",
            f64::from(load) / 100.0
        ));
    }
    if run.script == "check" {
        all.push(
            "the recipe has no workload: its check says how fast its tests are, not how fast it is"
                .into(),
        );
    }
    all.push(format!(
        "it is of one processor, {}, and of what the {} does: others may be otherwise",
        run.processor, run.script
    ));
    all
}

/// Whether a level is among those measured, and what it is worth beside the first.
pub fn worth_of(run: &IsaRun, level: IsaLevel) -> Option<Worth> {
    let base = run.levels.first()?;
    let of = run
        .levels
        .iter()
        .skip(1)
        .find(|timed| timed.level == level)?;
    worth(base, of)
}

impl Farm {
    /// The last measurement of a recipe that has this level beside another.
    pub fn measured(&self, recipe: &RecipeName, level: Option<IsaLevel>) -> Option<&Measurement> {
        let all = self.measurements.values().rev().map(AsRef::as_ref);
        let mut of = all.filter(|one: &&Measurement| one.target.recipe == *recipe);
        of.find(|one| {
            let mut levels = one.run.levels.iter().skip(1);
            level.is_none_or(|level| levels.any(|timed| timed.level == level))
        })
    }

    /// Weighs a measurement; part of `Farm::weigh`.
    pub(super) fn weigh_measurement(&self, event: &Event) -> Result<Change, Refusal> {
        let mut change = Change::default();
        match event {
            Event::IsaMeasured { measurement } => {
                if self.measurements.contains_key(&measurement.id) {
                    return Err(Refusal::Repeat);
                }
                let over = (self.measurements.len() + 1).saturating_sub(MEASUREMENTS_MAX);
                let gone = self.measurements.keys().take(over);
                change.measurements_gone = gone.copied().collect();
                change.measurements.push(measurement.as_ref().clone());
            }
            other => unreachable!("{other:?} measures no level: weigh() sends only those here"),
        }
        Ok(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timed(level: IsaLevel, cpu_ms: Vec<u64>) -> Timed {
        Timed {
            level,
            wall_ms: cpu_ms.clone(),
            cpu_ms,
        }
    }

    fn of(base: &[u64], level: &[u64]) -> Worth {
        let base = timed(IsaLevel::Baseline, base.to_vec());
        worth(&base, &timed(IsaLevel::V3x, level.to_vec())).unwrap()
    }

    #[test]
    fn the_interval_leaves_out_as_many_as_the_signs_allow() {
        // The binomial distribution with one half: 1 - 2 * sum(C(n, k), k <= out) / 2^n.
        for (runs, out, sure) in [
            (5, 0, 0.9375),
            (6, 0, 0.96875),
            (8, 0, 0.992_187_5),
            (9, 0, 0.996_093_75),
            (12, 1, 0.993_652_3),
            (20, 3, 0.997_423_2),
        ] {
            let (found, probability) = interval(runs);
            assert_eq!(found, out, "{runs}");
            assert!((probability - sure).abs() < 1e-6, "{runs}: {probability}");
        }
    }

    #[test]
    fn a_level_is_called_faster_only_when_the_whole_interval_is() {
        let base = [2_000, 2_010, 1_990, 2_005, 2_003, 1_998, 2_001, 2_002];
        let third: Vec<u64> = base.iter().map(|ms| ms * 3 / 4).collect();
        let worth = of(&base, &third);
        assert_eq!(worth.word, Word::Faster);
        assert!((worth.ratio - 4.0 / 3.0).abs() < 0.01, "{worth:?}");
        assert_eq!(of(&third, &base).word, Word::Slower);
        assert_eq!(of(&base, &base).word, Word::Same);
        // One run of eight that was disturbed does not hide it, noise that is larger than the difference does.
        let noisy = [1_500, 2_900, 1_400, 2_500, 1_450, 2_600, 1_600, 2_400];
        assert_eq!(of(&base, &noisy).word, Word::CannotTell);
        assert_eq!(of(&base[..5], &third[..5]).word, Word::CannotTell);
        assert_eq!(of(&[3; 12], &[2; 12]).word, Word::CannotTell);
        assert_eq!(of(&[0; 12], &[0; 12]).ratio, 1.0);
    }

    #[test]
    fn the_same_level_against_itself_is_the_same_or_cannot_be_told() {
        // A machine whose runs are a few hundredths apart, now and then much more: a small generator, the same each time.
        let mut state = 7_u64;
        let mut chance = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1_u32 << 31)
        };
        let mut wrong = 0;
        for _ in 0..1_000 {
            let mut runs = |_| -> Vec<u64> {
                let mut run = || {
                    let disturbed = if chance() < 0.1 {
                        400.0 * chance()
                    } else {
                        0.0
                    };
                    (2_000.0 + 80.0 * (chance() - 0.5) + disturbed) as u64
                };
                (0..RUNS).map(|_| run()).collect()
            };
            let worth = of(&runs(0), &runs(1));
            let near = (0.98..=1.02).contains(&worth.ratio);
            wrong += u32::from(!near && matches!(worth.word, Word::Faster | Word::Slower));
        }
        assert!(wrong <= 10, "{wrong} of 1000");
    }

    #[test]
    fn the_longest_measurement_fits_a_row() {
        let level = |level| timed(level, vec![u64::from(u32::MAX); RUNS_MAX as usize]);
        let run = IsaRun {
            script: "s".repeat(40),
            levels: vec![level(IsaLevel::V4); LEVELS_MAX],
            processor: "p".repeat(120),
            cores: 1_000,
            load_percent: Some(100_000),
        };
        assert!(run.is_bounded());
        let bytes = postcard::to_stdvec(&run).unwrap().len();
        assert!(
            bytes + 1_000 < crate::limit::STORE_VALUE_BYTES_MAX,
            "{bytes}"
        );
    }
}
