//! How a builder was lately: a moment every ten seconds, for an hour, in memory. Summit keeps one of each builder, and each
//! builder one of itself, so that its owner has a past to look at while summit is out of reach.

use std::collections::VecDeque;

use crate::admin::view::MomentView;
use crate::id::Stamp;
use crate::model::BuilderReport;

/// Moments of a builder that are kept, and the time between two: an hour.
const MOMENTS: usize = 360;
const MOMENT_MS: i64 = 10_000;

/// The past of one builder, the oldest first.
#[derive(Debug, Default)]
pub struct Moments(VecDeque<MomentView>);

impl Moments {
    /// Keeps a report now and then. A clock that was set is no reason to stop: any distance counts.
    pub fn keep(&mut self, at: Stamp, report: &BuilderReport) {
        let last = self.0.back().map(|last| at.0.saturating_sub(last.at.0));
        if last.is_some_and(|past| past.saturating_abs() < MOMENT_MS) {
            return;
        }
        let sample = &report.sample;
        self.0.push_back(MomentView {
            at,
            verdict: report.judgement.verdict.as_str().into(),
            free_bytes: sample.disks.iter().filter_map(|disk| disk.free_bytes).min(),
            memory_free_bytes: sample.memory_available_bytes,
            load: sample.load_1,
            pressure_cpu: sample.cpu_pressure.map(|percent| percent / 100.0),
            busy: u32::try_from(report.slots.iter().flatten().count()).unwrap_or(u32::MAX),
        });
        if self.0.len() > MOMENTS {
            self.0.pop_front();
        }
    }

    /// All of it.
    pub fn views(&self) -> Vec<MomentView> {
        self.0.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{Judgement, Sample, Verdict};
    use crate::id::Arch;

    #[test]
    fn a_moment_is_kept_every_ten_seconds_and_a_clock_that_jumps_stops_nothing() {
        let report = BuilderReport {
            name: "east".parse().unwrap(),
            arch: Arch::X86_64,
            levels: Vec::new(),
            slot_cores: vec![1],
            slots: vec![None],
            memory_bytes: None,
            sample: Sample::default(),
            judgement: Judgement {
                verdict: Verdict::Fit,
                evidence: Vec::new(),
            },
            leaving: None,
        };
        let mut moments = Moments::default();
        let hour = 3_600_000;
        // Forward by an hour, back by two, to the beginning of time, to its end.
        for at in [0, 9_999, 10_000, hour, -hour, -hour + 1, i64::MIN, i64::MAX] {
            moments.keep(Stamp(at), &report);
        }
        let kept: Vec<i64> = moments.views().iter().map(|moment| moment.at.0).collect();
        assert_eq!(kept, [0, 10_000, hour, -hour, i64::MIN, i64::MAX]);
        for at in 0..1_000 {
            moments.keep(Stamp(at * MOMENT_MS), &report);
        }
        assert_eq!(moments.views().len(), MOMENTS);
    }
}
