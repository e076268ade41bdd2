//! A search of a whole log: the host looks, and tells places; here they are kept, and the next one is chosen.

use super::ask::{Found, Wanted};
use crate::cli::text;

/// Places that one search keeps.
const FOUND_MAX: usize = 100_000;

/// A direction in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To its end.
    Forward,
    /// To its beginning.
    Back,
}

/// A search of the whole log, as far as it got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hunt {
    /// What for.
    pub wanted: Wanted,
    /// Where those lines begin, in order.
    pub lines: Vec<u64>,
    /// Their words, for landmarks.
    pub words: Vec<String>,
    /// How far the host looked.
    pub looked: u64,
    /// It looked at everything there is.
    pub over: bool,
    /// A question is under way.
    pub asked: bool,
    /// Where to go once something is found.
    pub(super) go: Option<Way>,
}

impl Hunt {
    /// One that nobody looked for yet.
    pub(super) fn new(wanted: Wanted, go: Option<Way>) -> Hunt {
        Hunt {
            wanted,
            lines: Vec::new(),
            words: Vec::new(),
            looked: 0,
            over: false,
            asked: false,
            go,
        }
    }

    /// The next place from here.
    pub(super) fn next(&self, from: u64, way: Way) -> Option<u64> {
        let at = match way {
            Way::Forward => self.lines.partition_point(|line| *line <= from),
            Way::Back => self
                .lines
                .partition_point(|line| *line < from)
                .checked_sub(1)?,
        };
        self.lines.get(at).copied()
    }

    /// Takes what the host found; where to go now, and what to say of it. `None`: nobody waits for it.
    pub(super) fn take(
        &mut self,
        found: Found,
        top: u64,
        name: &str,
    ) -> Option<(Option<u64>, String)> {
        self.asked = false;
        let stuck = found.looked <= self.looked;
        self.looked = self.looked.max(found.looked);
        self.over = found.end;
        let room = FOUND_MAX.saturating_sub(self.lines.len());
        let last = self.lines.last().copied();
        let mut words = found.words.into_iter();
        for line in found.lines.into_iter().take(room) {
            let word = words.next().unwrap_or_default();
            if last.is_none_or(|last| line > last) {
                self.lines.push(line);
                self.words.push(word);
            }
        }
        let way = self.go?;
        let enough = match way {
            Way::Forward => true,
            Way::Back => self.looked >= top,
        };
        let done = self.over || stuck || self.lines.len() >= FOUND_MAX;
        let next = self.next(top, way).filter(|_| enough || done);
        // A search that finds nothing further on takes the last place before: people start at the end.
        let next = next.or_else(|| {
            let pattern = matches!(self.wanted, Wanted::Pattern(_));
            (done && pattern)
                .then(|| self.next(top + 1, Way::Back))
                .flatten()
        });
        let count = self.lines.len();
        if next.is_some() || done {
            self.go = None;
        }
        let said = match (next, count, way) {
            (Some(_), 1, _) => format!("1 {name} found"),
            (Some(_), count, _) => format!("{count} {name}s found"),
            (None, ..) if !done => format!("searching: {} so far", text::bytes(self.looked)),
            (None, 0, _) => format!("no {name} found"),
            (None, _, Way::Forward) => format!("no {name} further on, {count} before"),
            (None, _, Way::Back) => format!("no {name} further up, {count} below"),
        };
        Some((next, said))
    }
}
