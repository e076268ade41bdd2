//! How long builds took, as far as the rows remember: the median of the last few of each target.

use std::collections::{HashMap, VecDeque};

use crate::model::{Attempt, AttemptState, Farm, Target};

/// Builds of a target that count.
const REMEMBERED: usize = 7;

/// Seconds of the last good builds.
#[derive(Debug, Default)]
pub struct Estimates {
    seconds: HashMap<Target, VecDeque<f64>>,
}

impl Estimates {
    /// Remembers an attempt that made packages.
    pub fn learn_from(&mut self, farm: &Farm, attempt: &Attempt) {
        let good = matches!(
            attempt.state,
            AttemptState::Built | AttemptState::Published { .. }
        );
        if let (true, Some(job), Some(started), Some(ended)) = (
            good,
            farm.jobs.get(&attempt.id.job),
            attempt.started,
            attempt.ended,
        ) {
            let last = self.seconds.entry(job.target.clone()).or_default();
            last.push_back(ended.seconds_since(started));
            if last.len() > REMEMBERED {
                last.pop_front();
            }
        }
    }

    /// Seconds that the next build will take; `None`: never built.
    pub fn seconds(&self, target: &Target) -> Option<f64> {
        let mut sorted: Vec<f64> = self.seconds.get(target)?.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }
}
