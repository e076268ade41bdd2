//! When avalanche looks up by itself: often while builds run, and no more often than its signs of life are due while none
//! does, so that an idle host sleeps. Decides nothing.

use std::time::Duration;

use ractor::ActorRef;

use super::{Msg, State};
use crate::limit;

/// Between two looks at running builds: what they do is told to summit this often.
const BUSY_MS: u64 = 500;

/// The next alarm.
#[derive(Debug, Default)]
pub(super) struct Clock {
    number: u64,
    /// Of the monotonic clock; `None`: nothing is set.
    due_ms: Option<u64>,
}

impl Clock {
    /// An alarm rang; whether it is the one that is set.
    pub(super) fn rang(&mut self, number: u64) -> bool {
        let present = number == self.number;
        if present {
            self.due_ms = None;
        }
        present
    }

    /// Sets an alarm unless an earlier one is set; its number and the time until then, when there is a new one.
    fn set(&mut self, now_ms: u64, pause_ms: u64) -> Option<(u64, Duration)> {
        let due_ms = now_ms.saturating_add(pause_ms);
        if self.due_ms.is_some_and(|set| set <= due_ms) {
            return None;
        }
        self.number += 1;
        self.due_ms = Some(due_ms);
        Some((self.number, Duration::from_millis(pause_ms)))
    }
}

impl State {
    /// Milliseconds between two signs of life.
    pub(super) fn renewal_ms(&self) -> u64 {
        (self.args.lease_s * 1000 / 4).clamp(200, limit::HEARTBEAT_S * 1000)
    }

    /// After every message: makes sure that the next look comes in time.
    pub(super) fn wind(&mut self, me: &ActorRef<Msg>) {
        let busy = !self.running.is_empty();
        self.busy
            .send_if_modified(|known| std::mem::replace(known, busy) != busy);
        let renewal_ms = self.renewal_ms();
        let pause_ms = if busy || !self.unwritten.is_empty() || !self.unconfirmed.is_empty() {
            renewal_ms.min(BUSY_MS)
        } else {
            renewal_ms
        };
        if let Some((number, pause)) = self.clock.set(super::super::now().mono_ms, pause_ms) {
            // An actor that is gone needs no alarm, and one that is replaced here is known by its number.
            drop(me.send_after(pause, move || Msg::Tick(number)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_alarm_takes_the_place_of_a_later_one_and_each_rings_once() {
        let mut clock = Clock::default();
        let (first, pause) = clock.set(0, 5_000).unwrap();
        assert_eq!(pause, Duration::from_secs(5));
        assert!(clock.set(1_000, 5_000).is_none(), "the set one is earlier");
        let (second, _) = clock.set(1_000, 500).unwrap();
        assert!(!clock.rang(first), "it was replaced");
        assert!(clock.set(1_200, 500).is_none());
        assert!(clock.rang(second));
        assert!(clock.set(1_500, 500).is_some());
        assert!(!clock.rang(second));
    }
}
