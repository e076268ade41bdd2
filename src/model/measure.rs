//! What an attempt took, phase by phase, and what was seen of it before it was stopped: kept beside its row, for the next
//! prediction and for people.

use serde::{Deserialize, Serialize};

use super::change::Change;
use super::event::Event;
use super::farm::{Farm, Refusal};
use super::order::Usage;
use super::who::Hold;
use crate::id::{AttemptId, HostId, Stamp};

/// Phases of one attempt that are kept; there are eight.
pub const PHASES_MAX: usize = 16;
/// Lines of evidence that are kept.
pub const EVIDENCE_LINES_MAX: usize = 40;
/// Bytes of one of them; all together fit a value of the store.
pub const EVIDENCE_LINE_BYTES_MAX: usize = 140;

/// One phase with its times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseTime {
    /// `fetch`, `prepare`, `setup`, `build`, `install`, `check`, `package`.
    pub name: String,
    /// When it began, in milliseconds since the attempt did.
    pub started_ms: u64,
    /// How long it took; the last one of an attempt that was stopped ended with it.
    pub took_ms: u64,
    /// Where its output begins in the log.
    pub log_offset: u64,
}

/// What an attempt took, and what was seen of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measures {
    /// The attempt.
    pub attempt: AttemptId,
    /// What it used in all.
    pub usage: Usage,
    /// Its phases, in the order in which they ran.
    pub phases: Vec<PhaseTime>,
    /// Saved before something was killed: processes, wait channels, open files, last lines, samples.
    pub evidence: Vec<String>,
}

impl Measures {
    /// The same, cut to what a row takes.
    #[must_use]
    pub fn bounded(mut self) -> Measures {
        self.phases.truncate(PHASES_MAX);
        for phase in &mut self.phases {
            cut(&mut phase.name, 32);
        }
        self.evidence.truncate(EVIDENCE_LINES_MAX);
        for line in &mut self.evidence {
            cut(line, EVIDENCE_LINE_BYTES_MAX);
        }
        self
    }
}

/// Cuts a text between characters.
pub(super) fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        let mut end = bytes_max;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
}

/// Which kind of stop a builder has. Grows at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StopKind {
    /// A person wants it to take no new work; only a person lets it go.
    Drain,
    /// It is suspected: it builds known-good recipes only, until one of them comes out well.
    Quarantine,
}

/// The stops on one builder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuilderStop {
    /// The builder.
    pub builder: HostId,
    /// A person's.
    pub drain: Option<Hold>,
    /// What still runs then is given back.
    pub drain_deadline: Option<Stamp>,
    /// The farm's, or a person's.
    pub quarantine: Option<Hold>,
}

impl BuilderStop {
    /// None at all.
    pub fn none(builder: HostId) -> BuilderStop {
        BuilderStop {
            builder,
            drain: None,
            drain_deadline: None,
            quarantine: None,
        }
    }

    /// Whether nothing stops it.
    pub fn is_none(&self) -> bool {
        self.drain.is_none() && self.quarantine.is_none()
    }
}

impl Farm {
    /// Weighs what a builder told; part of `Farm::weigh`.
    pub(super) fn weigh_measured(&self, measures: &Measures) -> Result<Change, Refusal> {
        let attempt = measures.attempt;
        if !self.attempts.contains_key(&attempt) {
            return Err(Refusal::Unknown {
                what: "attempt",
                name: attempt.to_string(),
            });
        }
        if self.measures.contains_key(&attempt) {
            return Err(Refusal::Repeat);
        }
        Ok(Change {
            measures: vec![measures.clone()],
            ..Change::default()
        })
    }

    /// Weighs what a builder told; part of `Farm::weigh`.
    pub(super) fn weigh_stop(&self, event: &Event) -> Result<Change, Refusal> {
        let stop_of = |builder: &HostId| {
            let known = self.builder_stops.get(builder).cloned();
            known.unwrap_or_else(|| BuilderStop::none(*builder))
        };
        let stop = match event {
            Event::BuilderStopped {
                builder,
                kind,
                hold,
                deadline,
            } => {
                let mut stop = stop_of(builder);
                match kind {
                    StopKind::Drain => {
                        (stop.drain, stop.drain_deadline) = (Some(hold.clone()), *deadline);
                    }
                    StopKind::Quarantine if stop.quarantine.is_some() => {
                        return Err(Refusal::Repeat);
                    }
                    StopKind::Quarantine => stop.quarantine = Some(hold.clone()),
                }
                stop
            }
            Event::BuilderLetGo { builder, kind, .. } => {
                let mut stop = stop_of(builder);
                let lifted = match kind {
                    StopKind::Drain => {
                        stop.drain_deadline = None;
                        stop.drain.take()
                    }
                    StopKind::Quarantine => stop.quarantine.take(),
                };
                if lifted.is_none() {
                    return Err(Refusal::Repeat);
                }
                stop
            }
            other => unreachable!("{other:?} stops no builder: weigh() sends only those here"),
        };
        // Who lets a convicted builder go takes the conviction back.
        let lifted = stop.quarantine.is_none() && self.convictions.contains_key(&stop.builder);
        Ok(Change {
            proof: super::proof::ProofChange::lifted(lifted.then_some(stop.builder)),
            builder_stops: vec![stop],
            ..Change::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::JobId;

    #[test]
    fn what_is_too_long_for_a_row_is_cut_between_characters() {
        let measures = Measures {
            attempt: AttemptId {
                job: JobId(1),
                try_no: 1,
            },
            usage: Usage::default(),
            phases: Vec::new(),
            evidence: vec!["ä".repeat(200); 100],
        };
        let kept = measures.bounded();
        assert_eq!(kept.evidence.len(), EVIDENCE_LINES_MAX);
        assert_eq!(kept.evidence[0].len(), EVIDENCE_LINE_BYTES_MAX);
        let bytes = postcard::to_stdvec(&kept).unwrap();
        assert!(
            bytes.len() < crate::limit::STORE_VALUE_BYTES_MAX,
            "{}",
            bytes.len()
        );
    }
}
