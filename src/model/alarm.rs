//! Alarms of the farm as rows: what somebody should have looked at, since when, so that the past knows them too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::event::Event;
use super::farm::{Change, Farm, Refusal};
use crate::id::Stamp;

/// Alarms that are kept at once; more of them say the same.
pub const ALARMS_MAX: usize = 256;
/// Bytes of one of an alarm's texts.
pub const ALARM_TEXT_BYTES_MAX: usize = 1_024;

/// What an alarm is about: its word and its subject, which may be empty.
pub type AlarmKey = (String, String);

/// One alarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// A word for scripts: `builder_low`, `remote_fault`...
    pub kind: String,
    /// What it is about; empty: the farm.
    pub subject: String,
    /// What was wrong when it was raised.
    pub text: String,
    /// What could be done.
    pub next: String,
    /// Since when.
    pub since: Stamp,
}

impl Alarm {
    /// What it is about.
    pub fn key(&self) -> AlarmKey {
        (self.kind.clone(), self.subject.clone())
    }

    /// The same, cut to what a row takes.
    #[must_use]
    pub fn bounded(mut self) -> Alarm {
        for text in [
            &mut self.kind,
            &mut self.subject,
            &mut self.text,
            &mut self.next,
        ] {
            super::measure::cut(text, ALARM_TEXT_BYTES_MAX);
        }
        self
    }
}

/// Tells alarms that stay from those that come and go: each is worth an event only when it was there, or away, for a while.
#[derive(Debug, Default)]
pub struct AlarmWatch {
    /// Since when an alarm is otherwise than the rows say, in milliseconds of the monotonic clock.
    differs: BTreeMap<AlarmKey, u64>,
}

/// How long an alarm must be there, or away, before it is recorded.
const STEADY_MS: u64 = 5_000;

impl AlarmWatch {
    /// What is to be recorded, given what is known and what there is now.
    pub fn look(
        &mut self,
        known: &BTreeMap<AlarmKey, Alarm>,
        now: &[Alarm],
        mono_ms: u64,
    ) -> Vec<Event> {
        let there: BTreeMap<AlarmKey, &Alarm> =
            now.iter().map(|alarm| (alarm.key(), alarm)).collect();
        let raised = there.keys().filter(|key| !known.contains_key(*key));
        let lifted = known.keys().filter(|key| !there.contains_key(*key));
        let other: Vec<AlarmKey> = raised.chain(lifted).cloned().collect();
        self.differs.retain(|key, _| other.contains(key));
        let mut events = Vec::new();
        for key in other.into_iter().take(ALARMS_MAX) {
            let since = *self.differs.entry(key.clone()).or_insert(mono_ms);
            if mono_ms.saturating_sub(since) < STEADY_MS {
                continue;
            }
            self.differs.remove(&key);
            events.push(match there.get(&key) {
                Some(alarm) => Event::AlarmRaised {
                    alarm: Box::new((*alarm).clone()),
                },
                None => Event::AlarmLifted {
                    kind: key.0,
                    subject: key.1,
                },
            });
        }
        events
    }
}

impl Farm {
    /// Weighs an alarm; part of `Farm::weigh`.
    pub(super) fn weigh_alarm(&self, event: &Event, at: Stamp) -> Result<Change, Refusal> {
        let mut change = Change::default();
        match event {
            Event::AlarmRaised { alarm } => {
                if self.alarms.contains_key(&alarm.key()) || self.alarms.len() >= ALARMS_MAX {
                    return Err(Refusal::Repeat);
                }
                let since = at;
                change.alarms.push(Alarm {
                    since,
                    ..alarm.as_ref().clone()
                });
            }
            Event::AlarmLifted { kind, subject } => {
                let key = (kind.clone(), subject.clone());
                if !self.alarms.contains_key(&key) {
                    return Err(Refusal::Repeat);
                }
                change.alarms_gone.push(key);
            }
            other => unreachable!("{other:?} is no alarm: weigh() sends only those here"),
        }
        Ok(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alarm(subject: &str) -> Alarm {
        Alarm {
            kind: "a".into(),
            subject: subject.into(),
            text: "t".into(),
            next: "n".into(),
            since: Stamp(1),
        }
    }

    #[test]
    fn the_bytes_of_shape_1_are_frozen() {
        let bytes = [1, b'a', 1, b's', 1, b't', 1, b'n', 2];
        assert_eq!(postcard::to_stdvec(&alarm("s")).unwrap(), bytes);
        assert_eq!(postcard::from_bytes::<Alarm>(&bytes).unwrap(), alarm("s"));
    }

    #[test]
    fn an_alarm_is_recorded_when_it_stays_and_lifted_when_it_stays_away() {
        let mut watch = AlarmWatch::default();
        let mut known = BTreeMap::new();
        assert_eq!(watch.look(&known, &[alarm("s")], 0), []);
        // Gone and back: it begins anew.
        assert_eq!(watch.look(&known, &[], 4_000), []);
        assert_eq!(watch.look(&known, &[alarm("s")], 6_000), []);
        let raised = watch.look(&known, &[alarm("s"), alarm("t")], 11_000);
        let expected = Event::AlarmRaised {
            alarm: Box::new(alarm("s")),
        };
        assert_eq!(raised, [expected]);
        known.insert(alarm("s").key(), alarm("s"));
        assert_eq!(watch.look(&known, &[alarm("s")], 100_000), []);
        assert_eq!(watch.look(&known, &[], 101_000), []);
        let lifted = watch.look(&known, &[], 106_000);
        assert!(
            matches!(&lifted[..], [Event::AlarmLifted { subject, .. }] if subject == "s"),
            "{lifted:?}"
        );
    }
}
