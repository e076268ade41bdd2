//! Where a person stands in a list: kept by what the line is about, not by its number, so that nothing jumps while the
//! list changes around it.

/// A line of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// A heading that nobody stands on.
    Heading(String),
    /// A row, by its key.
    Row(u64),
}

/// Where a person stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spot {
    /// The line.
    pub at: usize,
    /// What it is about.
    pub key: Option<u64>,
    /// The first line that is shown.
    pub offset: usize,
    /// Nobody moved yet: stay with the first line, whatever it is.
    pub untouched: bool,
}

impl Spot {
    /// At the top.
    pub fn top() -> Spot {
        Spot {
            untouched: true,
            ..Spot::default()
        }
    }

    /// Finds its line again after the lines changed.
    pub fn settle(&mut self, lines: &[Line], height: usize) {
        let found = self.key.filter(|_| !self.untouched).and_then(|key| {
            let here = lines.get(self.at) == Some(&Line::Row(key));
            let before = || lines.iter().position(|line| *line == Line::Row(key));
            if here { Some(self.at) } else { before() }
        });
        if let Some(found) = found {
            // The line moved: the screen moves with it, so that it stays where the eye is.
            let shift = found as isize - self.at as isize;
            self.offset = self.offset.saturating_add_signed(shift);
        }
        let at = found.unwrap_or(if self.untouched { 0 } else { self.at });
        self.at = at.min(lines.len().saturating_sub(1));
        self.off_headings(lines, 1);
        self.key = match lines.get(self.at) {
            Some(Line::Row(key)) => Some(*key),
            _ => None,
        };
        self.show(lines.len(), height);
    }

    /// Steps off a heading, in this direction first.
    fn off_headings(&mut self, lines: &[Line], direction: isize) {
        let is_row = |at: usize| matches!(lines.get(at), Some(Line::Row(_)));
        for step in [direction, -direction] {
            let mut at = self.at as isize;
            while at >= 0 && (at as usize) < lines.len() {
                if is_row(at as usize) {
                    self.at = at as usize;
                    return;
                }
                at += step;
            }
        }
    }

    fn show(&mut self, len: usize, height: usize) {
        let height = height.max(1);
        self.offset = self
            .offset
            .min(len.saturating_sub(height))
            .min(self.at)
            .max((self.at + 1).saturating_sub(height));
        // A heading above the first line belongs to it.
        if self.at == 1 && height > 1 {
            self.offset = 0;
        }
    }

    /// Moves by so many lines.
    pub fn step(&mut self, by: isize, lines: &[Line], height: usize) {
        self.untouched = false;
        let last = lines.len().saturating_sub(1);
        self.at = self.at.saturating_add_signed(by).min(last);
        self.off_headings(lines, if by < 0 { -1 } else { 1 });
        self.key = match lines.get(self.at) {
            Some(Line::Row(key)) => Some(*key),
            _ => None,
        };
        self.show(lines.len(), height);
    }

    /// To the first line; it stays there whatever the line is.
    pub fn to_top(&mut self, lines: &[Line], height: usize) {
        self.at = 0;
        self.step(0, lines, height);
        self.untouched = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(keys: &[u64]) -> Vec<Line> {
        keys.iter().map(|key| Line::Row(*key)).collect()
    }

    #[test]
    fn a_person_stays_with_a_line_while_others_come_and_go() {
        let mut spot = Spot::top();
        let lines = rows(&[1, 2, 3, 4, 5]);
        spot.settle(&lines, 3);
        assert_eq!((spot.at, spot.key), (0, Some(1)));
        spot.settle(&rows(&[9, 1, 2]), 3);
        assert_eq!(
            (spot.at, spot.key),
            (0, Some(9)),
            "who never moved stays at the top"
        );
        spot.settle(&lines, 3);
        spot.step(3, &lines, 3);
        assert_eq!((spot.at, spot.offset), (3, 1));
        let more = rows(&[7, 8, 1, 2, 3, 4, 5]);
        spot.settle(&more, 3);
        assert_eq!((spot.at, spot.offset, spot.key), (5, 3, Some(4)));
        spot.settle(&rows(&[1, 2]), 3);
        assert_eq!(
            (spot.at, spot.key),
            (1, Some(2)),
            "its line is gone: the nearest"
        );
        spot.settle(&[], 3);
        assert_eq!((spot.at, spot.key), (0, None));
        spot.step(5, &[], 3);
        assert_eq!(spot.at, 0);
    }

    #[test]
    fn nobody_stands_on_a_heading() {
        let lines = [
            Line::Heading("a".into()),
            Line::Row(1),
            Line::Heading("b".into()),
            Line::Row(2),
        ];
        let mut spot = Spot::top();
        spot.settle(&lines, 10);
        assert_eq!(spot.key, Some(1));
        spot.step(1, &lines, 10);
        assert_eq!(spot.key, Some(2));
        spot.step(-1, &lines, 10);
        assert_eq!(spot.key, Some(1));
        spot.step(-1, &lines, 10);
        assert_eq!(spot.key, Some(1));
        spot.step(isize::MAX, &lines, 10);
        assert_eq!(spot.key, Some(2));
    }
}
