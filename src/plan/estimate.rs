//! How long a build takes and how much memory and disk it peaks at: from history where there is some, from the recipe's features
//! where there is none. Medians throughout, so that one strange build moves nothing.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::id::{Digest, HostId};
use crate::model::Target;
use crate::recipe::{Facts, UpstreamFacts};

/// Builds of a target that count.
const REMEMBERED: usize = 9;
/// Builds of a builder that its speed is measured by, and predictions that their error is.
const MEASURED: usize = 31;
/// Builds with a feature before it says anything.
const ENOUGH: usize = 5;

/// What is expected of a build.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Seconds on a builder of speed 1.
    pub seconds: f64,
    /// Nine times of ten it takes less than `seconds` times this.
    pub spread: f64,
    /// Peak memory, and a tenth more; `None`: neither it nor enough recipes like it were measured.
    pub memory_mib: Option<u32>,
    /// Peak disk, the same way.
    pub disk_mib: Option<u32>,
    /// Where it is from.
    pub basis: Basis,
}

/// Where an estimate is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// So many builds of this target.
    History(usize),
    /// So many builds of recipes like it.
    Alike(usize),
    /// What is usual for its build system.
    Usual,
}

/// One build that ended well.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observed {
    /// Seconds as they passed there.
    pub seconds: f64,
    /// Peak memory; `None`: not measured.
    pub memory_mib: Option<u32>,
    /// Peak disk; `None`: not measured.
    pub disk_mib: Option<u32>,
}

/// How good predictions have been.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Accuracy {
    /// Builds that were predicted.
    pub count: usize,
    /// The middle of actual / predicted.
    pub middle: f64,
    /// Nine of ten were within this factor, either way.
    pub factor_p90: f64,
}

/// How large archives of upstreams are, as far as anybody here has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamSizes {
    /// Those whose bytes are known.
    pub by_hash: HashMap<Digest, u64>,
    /// Files of mirrors that nobody hashed yet, by name: a hint is enough for an estimate.
    pub by_name: HashMap<String, u64>,
}

impl UpstreamSizes {
    /// Bytes of all archives of a recipe together; `None`: one of them is unknown, or it has none.
    pub fn of(&self, facts: &Facts) -> Option<u64> {
        let size = |upstream: &UpstreamFacts| match upstream {
            UpstreamFacts::Archive { url, sha256 } => self.by_hash.get(sha256).or_else(|| {
                let name = url.rsplit('/').next()?;
                self.by_name.get(name)
            }),
            UpstreamFacts::Git { .. } => None,
        };
        let sizes: Option<Vec<u64>> = facts.upstreams.iter().map(|u| size(u).copied()).collect();
        sizes.filter(|sizes| !sizes.is_empty()).map(|sizes| {
            sizes
                .iter()
                .fold(0_u64, |sum, size| sum.saturating_add(*size))
        })
    }
}

/// What some builds took, each number the last few times.
#[derive(Debug, Default)]
struct History {
    seconds: VecDeque<f64>,
    memory_mib: VecDeque<u32>,
    disk_mib: VecDeque<u32>,
}

/// All that was learned.
#[derive(Debug, Default)]
pub struct Estimates {
    by_target: HashMap<Target, History>,
    alike: BTreeMap<String, History>,
    /// Predicted over actual, for builds whose prediction came from history.
    speeds: HashMap<HostId, VecDeque<f64>>,
    errors: VecDeque<f64>,
    sizes: UpstreamSizes,
}

impl Estimates {
    /// Nothing learned yet.
    pub fn new() -> Estimates {
        Estimates::default()
    }

    /// How large archives are; the last word counts.
    pub fn know_sizes(&mut self, sizes: UpstreamSizes) {
        self.sizes = sizes;
    }

    /// Learns from a build.
    pub fn learn(
        &mut self,
        target: &Target,
        facts: Option<&Facts>,
        builder: HostId,
        observed: &Observed,
    ) {
        if !observed.seconds.is_finite() || observed.seconds < 0.0 {
            return;
        }
        let predicted = self
            .by_target
            .get(target)
            .and_then(|history| median(&history.seconds));
        if let Some(predicted) = predicted.filter(|_| observed.seconds > 1.0) {
            let here = predicted / self.speed(&builder);
            push(
                &mut self.errors,
                observed.seconds / here.max(0.1),
                MEASURED * 8,
            );
            push(
                self.speeds.entry(builder).or_default(),
                predicted / observed.seconds,
                MEASURED,
            );
        }
        let normal = observed.seconds * self.speed(&builder);
        let history = self.by_target.entry(target.clone()).or_default();
        history.add(normal, observed, REMEMBERED);
        let keys = facts.map(|facts| features(facts, self.sizes.of(facts)));
        for key in keys.unwrap_or_default() {
            let history = self.alike.entry(key).or_default();
            history.add(normal, observed, MEASURED);
        }
    }

    /// What is expected of a target's next build; `None`: nothing is known, not even its recipe.
    pub fn of_target(&self, target: &Target, facts: Option<&Facts>) -> Option<Estimate> {
        match facts {
            Some(facts) => Some(self.of(target, facts)),
            None => self.of_history(target),
        }
    }

    /// The same of a target whose recipe is known.
    pub fn of(&self, target: &Target, facts: &Facts) -> Estimate {
        let guess = self.of_features(facts);
        match self.of_history(target) {
            None => guess,
            Some(known) => Estimate {
                memory_mib: known.memory_mib.or(guess.memory_mib),
                disk_mib: known.disk_mib.or(guess.disk_mib),
                ..known
            },
        }
    }

    fn of_history(&self, target: &Target) -> Option<Estimate> {
        let history = self.by_target.get(target)?;
        Some(Estimate {
            seconds: median(&history.seconds)?,
            spread: self
                .accuracy()
                .map_or(1.6, |accuracy| accuracy.factor_p90.clamp(1.05, 10.0)),
            memory_mib: peak(&history.memory_mib),
            disk_mib: peak(&history.disk_mib),
            basis: Basis::History(history.seconds.len()),
        })
    }

    /// What is expected of a recipe that was never built: recipes like it, else what is usual.
    pub fn of_features(&self, facts: &Facts) -> Estimate {
        let bytes = self.sizes.of(facts);
        let alike = features(facts, bytes).into_iter().find_map(|key| {
            let seen = self.alike.get(&key)?;
            (seen.seconds.len() >= ENOUGH).then_some(seen)
        });
        let enough = |seen: &VecDeque<u32>| peak(seen).filter(|_| seen.len() >= ENOUGH);
        Estimate {
            seconds: alike
                .and_then(|seen| median(&seen.seconds))
                .unwrap_or_else(|| usual_seconds(facts, bytes)),
            spread: 4.0,
            memory_mib: alike.and_then(|seen| enough(&seen.memory_mib)),
            disk_mib: alike.and_then(|seen| enough(&seen.disk_mib)),
            basis: alike.map_or(Basis::Usual, |seen| Basis::Alike(seen.seconds.len())),
        }
    }

    /// How fast a builder is; 1 as long as nobody knows.
    pub fn speed(&self, builder: &HostId) -> f64 {
        let seen = self.speeds.get(builder).filter(|seen| seen.len() >= ENOUGH);
        seen.and_then(median)
            .map_or(1.0, |speed| speed.clamp(0.05, 20.0))
    }

    /// How good predictions have been; `None`: there were none.
    pub fn accuracy(&self) -> Option<Accuracy> {
        let mut factors: Vec<f64> = self
            .errors
            .iter()
            .map(|error| error.max(1.0 / error))
            .collect();
        factors.sort_by(f64::total_cmp);
        let factor_p90 = factors
            .get(factors.len() * 9 / 10)
            .or(factors.last())
            .copied()?;
        Some(Accuracy {
            count: self.errors.len(),
            middle: median(&self.errors)?,
            factor_p90,
        })
    }
}

impl History {
    fn add(&mut self, seconds: f64, observed: &Observed, most: usize) {
        push(&mut self.seconds, seconds, most);
        if let Some(memory_mib) = observed.memory_mib {
            push(&mut self.memory_mib, memory_mib, most);
        }
        if let Some(disk_mib) = observed.disk_mib {
            push(&mut self.disk_mib, disk_mib, most);
        }
    }
}

/// A tenth more than the most that was seen: running out costs a whole build.
fn peak(seen: &VecDeque<u32>) -> Option<u32> {
    let most = seen.iter().max()?;
    Some(most.saturating_add(most / 10))
}

/// What a recipe has in common with others, the most telling first.
fn features(facts: &Facts, upstream_bytes: Option<u64>) -> Vec<String> {
    let systems = facts.build_systems.join("+");
    let size = match facts.needs.len() {
        0..=3 => "few",
        4..=15 => "some",
        _ => "many",
    };
    // Each class is ten times the one before; a recipe whose archives nobody has seen is in none.
    let archives = upstream_bytes.map(|bytes| match bytes >> 10 {
        0..=99 => "tiny",
        100..=999 => "small",
        1_000..=9_999 => "middling",
        10_000..=99_999 => "large",
        _ => "huge",
    });
    let told = archives.map(|archives| format!("{systems}/{size}/{archives}"));
    let rest = [format!("{systems}/{size}"), systems, "any".into()];
    told.into_iter().chain(rest).collect()
}

/// Before anything was learned: what the build systems of real recipes usually take, by how much there is around them.
fn usual_seconds(facts: &Facts, upstream_bytes: Option<u64>) -> f64 {
    let system = |system: &String| match system.as_str() {
        "cargo" => 180.0,
        "cmake" | "qmake" => 90.0,
        "bazel" => 1200.0,
        "go" => 90.0,
        "meson" | "ninja" => 60.0,
        "python" | "pyproject" | "perl" | "gem" => 20.0,
        _ => 60.0,
    };
    let base = facts.build_systems.iter().map(system).fold(30.0, f64::max);
    // An archive of 2 MiB is the middle of real ones; four times as much source takes about twice as long, because much of it is
    // not compiled. Unknown counts as the middle.
    let by_size = upstream_bytes.map_or(1.0, |bytes| {
        (bytes as f64 / 2_097_152.0).sqrt().clamp(0.5, 16.0)
    });
    by_size
        * base
        * (1.0 + facts.needs.len() as f64 / 20.0)
        * (1.0 + facts.packages.len() as f64 / 10.0)
}

fn push<T>(seen: &mut VecDeque<T>, value: T, most: usize) {
    seen.push_back(value);
    if seen.len() > most {
        seen.pop_front();
    }
}

fn median(seen: &VecDeque<f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = seen.iter().copied().collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::super::sample::{recipe, target};
    use super::*;

    fn took(seconds: f64) -> Observed {
        Observed {
            seconds,
            memory_mib: Some(1000),
            disk_mib: None,
        }
    }

    #[test]
    fn one_strange_build_moves_nothing() {
        let mut estimates = Estimates::new();
        for seconds in [100.0, 102.0, 9_000.0, 98.0, 101.0] {
            estimates.learn(&target("a"), None, HostId([1; 32]), &took(seconds));
        }
        let estimate = estimates.of(&target("a"), &recipe("a", &[], &[]));
        assert_eq!((estimate.seconds, estimate.memory_mib), (101.0, Some(1100)));
        assert_eq!(estimate.basis, Basis::History(5));
        assert!(
            estimates
                .accuracy()
                .is_some_and(|accuracy| accuracy.count == 4)
        );
    }

    #[test]
    fn a_builder_that_takes_half_as_long_is_twice_as_fast() {
        let mut estimates = Estimates::new();
        for number in 0..20 {
            let name = format!("r{number}");
            estimates.learn(&target(&name), None, HostId([1; 32]), &took(100.0));
            estimates.learn(&target(&name), None, HostId([2; 32]), &took(50.0));
        }
        let speed = estimates.speed(&HostId([2; 32]));
        assert!((1.8..=2.2).contains(&speed), "{speed}");
        assert_eq!(estimates.speed(&HostId([9; 32])), 1.0);
    }

    #[test]
    fn the_size_of_what_is_built_counts_as_far_as_it_is_known() {
        let archive = |name: &str, hash: u8| UpstreamFacts::Archive {
            url: format!("https://example.invalid/{name}"),
            sha256: Digest([hash; 32]),
        };
        let of = |name: &str, upstreams: Vec<UpstreamFacts>| Facts {
            upstreams,
            ..recipe(name, &[], &[])
        };
        let git = UpstreamFacts::Git {
            url: "https://example.invalid/x".into(),
            reference: "main".into(),
        };
        let mut estimates = Estimates::new();
        estimates.know_sizes(UpstreamSizes {
            by_hash: [(Digest([1; 32]), 64 << 20), (Digest([2; 32]), 3)].into(),
            by_name: [("big-2.tar.xz".to_string(), 64 << 20)].into(),
        });
        let seconds = |facts: &Facts| estimates.of_features(facts).seconds;
        let big = of("big", vec![archive("big-1.tar.xz", 1)]);
        let unknown = of("unknown", vec![archive("other.tar.xz", 9)]);
        let mixed = of("mixed", vec![archive("big-1.tar.xz", 1), git]);
        let none = of("none", vec![]);
        assert!(seconds(&big) > 5.0 * seconds(&unknown), "{}", seconds(&big));
        assert!(seconds(&of("tiny", vec![archive("t", 2)])) < seconds(&unknown));
        assert_eq!(
            seconds(&of("big", vec![archive("big-2.tar.xz", 7)])),
            seconds(&big)
        );
        assert_eq!([seconds(&mixed), seconds(&none)], [seconds(&unknown); 2]);

        // What large ones took says nothing of an unknown one while there are unknown ones, and all of a large one.
        let mut learned = estimates;
        for number in 0..6 {
            let target = target(&format!("b{number}"));
            learned.learn(&target, Some(&big), HostId([1; 32]), &took(5_000.0));
            let target = super::super::sample::target(&format!("u{number}"));
            learned.learn(&target, Some(&none), HostId([1; 32]), &took(20.0));
        }
        let again = of("big2", vec![archive("big-2.tar.xz", 7)]);
        assert_eq!(learned.of_features(&again).seconds, 5_000.0);
        assert_eq!(learned.of_features(&again).basis, Basis::Alike(6));
    }

    #[test]
    fn an_unknown_recipe_is_judged_by_those_like_it() {
        let mut estimates = Estimates::new();
        let mut rusty = recipe("rusty", &[], &[]);
        rusty.build_systems = vec!["cargo".into()];
        let usual = estimates.of_features(&rusty);
        assert_eq!(usual.basis, Basis::Usual);
        for number in 0..6 {
            estimates.learn(
                &target(&format!("c{number}")),
                Some(&rusty),
                HostId([1; 32]),
                &took(777.0),
            );
        }
        let alike = estimates.of_features(&rusty);
        assert_eq!((alike.seconds, alike.basis), (777.0, Basis::Alike(6)));
    }
}
