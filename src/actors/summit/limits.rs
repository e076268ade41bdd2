//! What a build is expected to take, from what was seen and asked, and how long it may take: by decision of an operator, by its
//! recipe's own word, by its history, or by what holds for all.

use std::collections::VecDeque;

use super::state::{Done, State, refused};
use crate::admin::Caller;
use crate::admin::summit::{RecipeLimit as LimitReply, RecipeLimitSet};
use crate::admin::view::TimeLimitView;
use crate::fault::{Fault, Kind, Result};
use crate::limit;
use crate::model::{Event, OrderLimits, Profile, Refusal, Target, Usage};

/// Builds that took less say nothing of how many cores they keep busy.
const BUSY_MS_MIN: u64 = 10_000;

/// What is expected of the next build of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expected {
    /// Bytes of disk, 95 of 100 times.
    pub disk_bytes: Option<u64>,
    /// Bytes of memory, 95 of 100 times.
    pub memory_bytes: Option<u64>,
    /// The longest that it was ever quiet.
    pub silence_ms: Option<u64>,
    /// The longest that it ever took.
    pub wall_ms: Option<u64>,
    /// Whole cores that half of its builds kept busy on average; fewer than one is one.
    pub busy_cores: Option<u32>,
    /// How long it may take, as an operator or the recipe itself says.
    pub asked_s: Option<u64>,
}

/// The value that 95 of 100 are not above; of few values, the largest.
fn p95(values: impl Iterator<Item = u64>) -> Option<u64> {
    let mut sorted: Vec<u64> = values.collect();
    sorted.sort_unstable();
    let at = (sorted.len() * 95).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied()
}

/// The lower one of the two in the middle.
fn middle(values: impl Iterator<Item = u64>) -> Option<u64> {
    let mut sorted: Vec<u64> = values.collect();
    sorted.sort_unstable();
    let at = sorted.len().saturating_sub(1) / 2;
    sorted.get(at).copied()
}

/// What to expect after these uses.
fn expected(used: &VecDeque<Usage>) -> Expected {
    let of = |pick: fn(&Usage) -> Option<u64>| used.iter().filter_map(pick);
    Expected {
        disk_bytes: p95(of(|usage| usage.disk_bytes)),
        memory_bytes: p95(of(|usage| usage.memory_bytes)),
        silence_ms: of(|usage| usage.silence_ms).max(),
        wall_ms: of(|usage| usage.wall_ms).max(),
        busy_cores: middle(of(|usage| {
            let (cpu_ms, wall_ms) = (usage.cpu_ms?, usage.wall_ms?);
            // A short one says little of what a long one would use.
            (wall_ms >= BUSY_MS_MIN).then(|| cpu_ms / wall_ms)
        }))
        .map(|cores| u32::try_from(cores).unwrap_or(1).max(1)),
        asked_s: None,
    }
}

/// How long an attempt may do nothing.
fn silence_s(expected: Expected) -> u64 {
    // A recipe that was once quiet for a minute may be quiet for four of them on a busy day.
    expected.silence_ms.map_or(limit::SILENCE_S_MAX, |ms| {
        (4 * ms.div_ceil(1000)).clamp(limit::SILENCE_S_MIN, limit::SILENCE_S_MAX)
    })
}

/// The same, and where it is from.
pub fn silence_limit(expected: Expected) -> TimeLimitView {
    let (from, text) = match expected.silence_ms {
        Some(ms) => {
            let longest = ms.div_ceil(1000);
            let text = format!("four times the {longest} s that it was ever idle, within bounds");
            ("history", text)
        }
        None => ("default", "it was never built".into()),
    };
    TimeLimitView {
        time_s: silence_s(expected),
        from: from.into(),
        text,
    }
}

/// Bounds of an attempt: what the profile says, tightened by what this recipe did before.
pub fn limits(profile: &Profile, expected: Expected, asked_mib: u32) -> OrderLimits {
    OrderLimits {
        phase_s: profile.phase_s_max,
        time_s: time_s(expected),
        silence_s: silence_s(expected),
        log_bytes: profile.log_bytes_max,
        memory_bytes: (asked_mib > 0).then_some(u64::from(asked_mib) << 20),
    }
}

impl State {
    /// What is expected of the next build of a target.
    pub fn expected(&self, target: &Target) -> Expected {
        let used = self.wards.used.get(target);
        let key = (target.project.clone(), target.recipe.clone());
        let decided = self.farm.recipe_limits.get(&key);
        Expected {
            asked_s: decided
                .and_then(|limit| limit.time_s)
                .or_else(|| self.constraints_of(target).time_s),
            ..used.map(expected).unwrap_or_default()
        }
    }

    /// How long the next build of a target may take, and who says so.
    pub fn time_limit(&self, target: &Target) -> TimeLimitView {
        let expected = self.expected(target);
        let key = (target.project.clone(), target.recipe.clone());
        let decided = self.farm.recipe_limits.get(&key);
        let decided = decided.filter(|limit| limit.time_s.is_some());
        let (from, text) = if let Some(limit) = decided {
            let text = format!("set for this farm by {} at {}", limit.owner, limit.at);
            ("farm", text)
        } else if expected.asked_s.is_some() {
            ("recipe", "its constraints.yaml says so".to_string())
        } else if let Some(wall_ms) = expected.wall_ms {
            let longest = format!("ten times the {} s of its longest build", wall_ms / 1000);
            ("history", format!("{longest}, within bounds"))
        } else {
            (
                "default",
                "nobody said anything else, and it was never built".to_string(),
            )
        };
        TimeLimitView {
            time_s: time_s(expected),
            from: from.into(),
            text,
        }
    }

    /// `recipe limit`.
    pub async fn recipe_limit(
        &mut self,
        caller: &Caller,
        wish: &RecipeLimitSet,
    ) -> Done<Result<LimitReply>> {
        let (project, entry) = match self.locate_recipe(&wish.name) {
            Ok(found) => found,
            Err(fault) => return Ok(Err(fault)),
        };
        if let Some(time_s) = wish.time_s
            && !(1..=limit::ATTEMPT_S_MAX).contains(&time_s)
        {
            let most = limit::ATTEMPT_S_MAX / 3_600;
            let what = format!("a build cannot be given {time_s} s");
            return Ok(Err(
                Fault::new(Kind::Usage, what).next(format!("1s to {most}h"))
            ));
        }
        let recipe = entry.name().clone();
        let event = Event::LimitSet {
            project: project.clone(),
            recipe: recipe.clone(),
            time_s: wish.time_s,
        };
        let who = super::request::who(caller);
        match self.record_one(who, event).await? {
            Ok(()) | Err(Refusal::Repeat) => {}
            Err(refusal) => return Ok(Err(refused(&refusal))),
        }
        let profile = self.farm.profiles.keys().next().cloned();
        let limit = profile.map(|profile| {
            self.time_limit(&Target {
                project,
                recipe,
                profile,
            })
        });
        Ok(Ok(LimitReply { limit }))
    }
}

/// How long the whole of a build may take.
fn time_s(expected: Expected) -> u64 {
    // Ten times the longest, and never less than an hour: machines differ, and a rebuild may find its caches cold.
    let learned_s = expected.wall_ms.map_or(limit::ATTEMPT_S_MAX, |ms| {
        (10 * ms.div_ceil(1000)).clamp(3_600, limit::ATTEMPT_S_MAX)
    });
    expected.asked_s.unwrap_or(learned_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_follow_what_the_recipe_did_before_between_a_floor_and_a_ceiling() {
        let profile = Profile::laptop("p".parse().unwrap(), "main".parse().unwrap());
        let of = |silence_ms, wall_ms| {
            let limits = limits(
                &profile,
                Expected {
                    silence_ms,
                    wall_ms,
                    ..Expected::default()
                },
                0,
            );
            (limits.silence_s, limits.time_s)
        };
        assert_eq!(of(None, None), (limit::SILENCE_S_MAX, limit::ATTEMPT_S_MAX));
        assert_eq!(of(Some(1), Some(1)), (limit::SILENCE_S_MIN, 3_600));
        assert_eq!(of(Some(200_000), Some(1_000_000)), (800, 10_000));
        assert_eq!(
            of(Some(u64::MAX / 8), Some(u64::MAX / 16)),
            (limit::SILENCE_S_MAX, limit::ATTEMPT_S_MAX)
        );
    }

    #[test]
    fn how_long_it_may_do_nothing_is_said_with_where_that_is_from() {
        let of = |silence_ms| {
            let limit = silence_limit(Expected {
                silence_ms,
                ..Expected::default()
            });
            (limit.time_s, limit.from, limit.text)
        };
        let default = (
            limit::SILENCE_S_MAX,
            "default".into(),
            "it was never built".into(),
        );
        assert_eq!(of(None), default);
        let text = "four times the 200 s that it was ever idle, within bounds";
        assert_eq!(of(Some(199_500)), (800, "history".into(), text.into()));
    }

    #[test]
    fn ninety_five_of_a_hundred_are_not_above_it() {
        assert_eq!(p95([].into_iter()), None);
        assert_eq!(p95([7].into_iter()), Some(7));
        assert_eq!(p95(1..=100), Some(95));
        assert_eq!(p95(1..=20), Some(19));
    }
}
