//! A log as it stands open: a window of its bytes around the place that is looked at. The host has the rest; it also
//! searches, and answers with offsets.

use super::ask::{Found, Piece, Question, Wanted};
use super::hunt::{Hunt, Way};
use crate::cli::text;
use crate::id::JobId;

/// Bytes asked for at once.
pub const PIECE_BYTES: u32 = 256 * 1024;
/// Bytes that are held; what is far from the screen goes.
const WINDOW_BYTES: usize = 4 * 1024 * 1024;
/// A line that is longer is shown as several: a log may have no line ends at all.
const LINE_BYTES: usize = 8 * 1024;

/// A log that is open.
#[derive(Debug, Clone)]
pub struct LogSheet {
    /// The job.
    pub job: JobId,
    /// Which try; none: the last.
    pub try_no: Option<u32>,
    /// Offset of the window.
    start: u64,
    bytes: Vec<u8>,
    /// Where lines begin in the window.
    starts: Vec<u32>,
    /// Something was read.
    pub loaded: bool,
    /// The log is complete, and its end is in the window.
    pub over: bool,
    /// The builder that has its last bytes still, and how many where that is known.
    pub missing: Option<(String, Option<u64>)>,
    /// New lines are shown as they come.
    pub follow: bool,
    /// Long lines are broken.
    pub wrap: bool,
    /// Columns to the left of the screen.
    pub left: usize,
    /// Offset of the first line that is shown.
    pub top: u64,
    /// A piece is under way.
    pub asked: bool,
    /// Where to go once it is read.
    jump: Option<u64>,
    /// A person's search.
    pub pattern: Option<Hunt>,
    /// What looks like an error.
    pub errors: Hunt,
    /// Where phases begin.
    pub phases: Hunt,
    /// The last words about a search.
    pub said: String,
}

impl LogSheet {
    /// A log that nothing is known of.
    pub fn new(job: JobId, try_no: Option<u32>) -> LogSheet {
        LogSheet {
            job,
            try_no,
            start: 0,
            bytes: Vec::new(),
            starts: Vec::new(),
            loaded: false,
            over: false,
            missing: None,
            follow: true,
            wrap: false,
            left: 0,
            top: 0,
            asked: false,
            jump: None,
            pattern: None,
            errors: Hunt::new(Wanted::Errors, None),
            phases: Hunt::new(Wanted::Phases, None),
            said: String::new(),
        }
    }

    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// How far the log was read: its size, when the end is in the window.
    pub fn known_end(&self) -> u64 {
        self.end().max(self.phases.looked).max(self.errors.looked)
    }

    /// What has to be asked now; `poll`: it is time to look for new lines.
    pub fn wants(&mut self, height: usize, poll: bool) -> Vec<Question> {
        let mut wants = Vec::new();
        if !self.asked
            && let Some(offset) = self.piece_wanted(height, poll)
        {
            self.asked = true;
            wants.push(Question::Log {
                job: self.job,
                try_no: self.try_no,
                offset,
                bytes: PIECE_BYTES,
            });
        }
        let (job, try_no) = (self.job, self.try_no);
        for hunt in [
            Some(&mut self.errors),
            Some(&mut self.phases),
            self.pattern.as_mut(),
        ]
        .into_iter()
        .flatten()
        {
            if hunt.go.is_some() && !hunt.asked {
                hunt.asked = true;
                wants.push(Question::Search {
                    job,
                    try_no,
                    pattern: hunt.wanted.clone(),
                    offset: hunt.looked,
                });
            }
        }
        wants
    }

    fn piece_wanted(&self, height: usize, poll: bool) -> Option<i64> {
        let signed = |offset: u64| i64::try_from(offset).unwrap_or(i64::MAX);
        let back = u64::from(PIECE_BYTES);
        if let Some(jump) = self.jump {
            return Some(signed(jump.saturating_sub(back / 2)));
        }
        if !self.loaded {
            return Some(-i64::from(PIECE_BYTES));
        }
        let at = self.line_at(self.top);
        // Read ahead of who walks up, so that no step is shorter than asked for.
        if self.start > 0 && at < 3 * height {
            return Some(signed(self.start.saturating_sub(back)));
        }
        let near_end = self.starts.len().saturating_sub(at) < 3 * height;
        (poll && !self.over && (self.follow || near_end)).then(|| signed(self.end()))
    }

    /// Takes a piece.
    pub fn take(&mut self, mut piece: Piece, height: usize) {
        self.missing = piece.missing.take();
        self.asked = false;
        self.try_no = Some(piece.try_no);
        let jump = self.jump.take();
        let next = piece.offset + piece.bytes.len() as u64;
        let fits_behind = self.loaded && piece.offset == self.end();
        let fits_before = self.loaded && piece.offset < self.start && next >= self.start;
        if let (Some(jump), false) = (jump, fits_behind) {
            self.replace(piece);
            self.top = self.start_of_line(jump);
            self.follow = false;
        } else if fits_behind {
            self.over = piece.end;
            self.bytes.extend_from_slice(&piece.bytes);
            let from = self.starts.pop().unwrap_or(0);
            self.index(from);
        } else if fits_before {
            let own = usize::try_from(self.start - piece.offset).unwrap_or(0);
            let mut bytes = piece.bytes;
            bytes.truncate(own);
            let cut = whole_lines(piece.offset, &bytes);
            let mut joined = bytes.split_off(cut);
            self.start = piece.offset + cut as u64;
            joined.append(&mut self.bytes);
            self.bytes = joined;
            self.starts.clear();
            self.index(0);
        } else {
            self.replace(piece);
        }
        self.shrink();
        if self.follow {
            self.to_end(height);
        }
    }

    fn replace(&mut self, piece: Piece) {
        let cut = whole_lines(piece.offset, &piece.bytes);
        self.start = piece.offset + cut as u64;
        self.bytes = piece.bytes;
        self.bytes.drain(..cut);
        self.over = piece.end;
        self.loaded = true;
        self.starts.clear();
        self.index(0);
        self.top = self.top.clamp(self.start, self.end());
    }

    /// Finds the lines from this place of the window on.
    fn index(&mut self, from: u32) {
        let mut begin = from as usize;
        while begin < self.bytes.len() {
            self.starts.push(u32::try_from(begin).unwrap_or(u32::MAX));
            let rest = self.bytes.get(begin..).unwrap_or_default();
            let within = rest.get(..LINE_BYTES).unwrap_or(rest);
            begin += match within.iter().position(|byte| *byte == b'\n') {
                Some(at) => at + 1,
                None => within.len(),
            };
        }
    }

    /// Lets go of what is far from the screen.
    fn shrink(&mut self) {
        let over = self.bytes.len().saturating_sub(WINDOW_BYTES);
        if over == 0 {
            return;
        }
        let before = usize::try_from(self.top.saturating_sub(self.start)).unwrap_or(0);
        if before > self.bytes.len() / 2 {
            let at = self
                .starts
                .partition_point(|start| (*start as usize) < over);
            let cut = self
                .starts
                .get(at)
                .map_or(over, |start| *start as usize)
                .min(before);
            self.bytes.drain(..cut);
            self.start += cut as u64;
        } else {
            let keep = self.bytes.len() - over;
            let at = self
                .starts
                .partition_point(|start| (*start as usize) <= keep);
            let cut = self
                .starts
                .get(at.saturating_sub(1))
                .map_or(keep, |start| *start as usize);
            self.bytes.truncate(cut);
            self.over = false;
            self.follow = false;
        }
        self.starts.clear();
        self.index(0);
    }

    /// Which line of the window this offset is in.
    fn line_at(&self, offset: u64) -> usize {
        let within = u32::try_from(offset.saturating_sub(self.start)).unwrap_or(u32::MAX);
        self.starts
            .partition_point(|start| *start <= within)
            .saturating_sub(1)
    }

    fn start_of_line(&self, offset: u64) -> u64 {
        let at = self.line_at(offset.clamp(self.start, self.end()));
        self.start + self.starts.get(at).map_or(0, |start| u64::from(*start))
    }

    /// The words of a line of the window, harmless and without colours.
    fn words(&self, at: usize) -> Option<String> {
        let begin = *self.starts.get(at)? as usize;
        let end = self
            .starts
            .get(at + 1)
            .map_or(self.bytes.len(), |next| *next as usize);
        let bytes = self.bytes.get(begin..end)?;
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        // A line that redraws itself shows its last state, as a terminal would.
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let shown = match bytes.iter().rposition(|byte| *byte == b'\r') {
            Some(at) => bytes.get(at + 1..).unwrap_or(bytes),
            None => bytes,
        };
        Some(text::log(&String::from_utf8_lossy(shown)))
    }

    /// Where the lines on the screen end.
    pub fn seen_to(&self, height: usize) -> u64 {
        let below = self.line_at(self.top) + height;
        let next = self.starts.get(below);
        next.map_or(self.end(), |start| self.start + u64::from(*start))
    }

    /// The lines on the screen: their offset and their words.
    pub fn visible(&self, height: usize) -> Vec<(u64, String)> {
        let first = self.line_at(self.top);
        (first..first + height)
            .map_while(|at| {
                let start = self.starts.get(at)?;
                Some((self.start + u64::from(*start), self.words(at)?))
            })
            .collect()
    }

    /// Moves by so many lines.
    pub fn step(&mut self, by: isize, height: usize) {
        if !self.loaded {
            return;
        }
        let last = self.starts.len().saturating_sub(height.max(1));
        let at = self.line_at(self.top);
        let to = at
            .saturating_add_signed(by)
            .min(last.max(if by > 0 { at } else { 0 }));
        self.follow = by > 0 && to >= last && self.over_or_live();
        self.set_top(to);
    }

    fn over_or_live(&self) -> bool {
        !self.over
    }

    fn set_top(&mut self, at: usize) {
        self.top = self.start + self.starts.get(at).map_or(0, |start| u64::from(*start));
    }

    /// To the first line of the log.
    pub fn to_start(&mut self) {
        self.follow = false;
        self.go_to(0);
    }

    /// To its end; new lines are followed from there.
    pub fn to_end(&mut self, height: usize) {
        let at = self.starts.len().saturating_sub(height.max(1));
        self.set_top(at);
    }

    /// To its end, from wherever.
    pub fn follow_end(&mut self, height: usize) {
        self.follow = true;
        if self.over || self.loaded && !self.bytes.is_empty() && self.near_known_end() {
            self.to_end(height);
        } else {
            self.loaded = false;
        }
    }

    fn near_known_end(&self) -> bool {
        self.end() >= self.known_end()
    }

    /// To a line that begins here.
    pub fn go_to(&mut self, offset: u64) {
        self.follow = false;
        if self.loaded && offset >= self.start && offset < self.end() {
            self.top = self.start_of_line(offset);
        } else {
            self.jump = Some(offset);
        }
    }

    /// Searches for a person's words from here on.
    pub fn search(&mut self, words: &str) {
        self.said.clear();
        self.pattern = (!words.is_empty())
            .then(|| Hunt::new(Wanted::Pattern(words.to_owned()), Some(Way::Forward)));
    }

    /// To the next place of this kind.
    pub fn hunt(&mut self, wanted: &Wanted, way: Way) {
        let top = self.top;
        let hunt = match wanted {
            Wanted::Errors => &mut self.errors,
            Wanted::Phases => &mut self.phases,
            Wanted::Pattern(_) => match &mut self.pattern {
                Some(hunt) => hunt,
                None => {
                    self.said = "nothing is searched for: press / first".into();
                    return;
                }
            },
        };
        match hunt.next(top, way) {
            // What is behind is only known once everything before was looked at.
            Some(line) if way == Way::Forward || hunt.over || hunt.looked >= top => {
                self.said.clear();
                self.go_to(line);
            }
            _ => hunt.go = Some(way),
        }
    }

    /// Takes what the host found.
    pub fn found(&mut self, found: Found) {
        let top = self.top;
        let (name, hunt) = match &found.wanted {
            Wanted::Errors => ("error", &mut self.errors),
            Wanted::Phases => ("phase", &mut self.phases),
            Wanted::Pattern(_) => match &mut self.pattern {
                Some(hunt) if hunt.wanted == found.wanted => ("place", hunt),
                _ => return,
            },
        };
        let Some((place, said)) = hunt.take(found, top, name) else {
            return;
        };
        self.said = said;
        if let Some(place) = place {
            self.go_to(place);
        }
    }

    /// A question could not be answered: nothing is under way any more.
    pub fn failed(&mut self) {
        self.asked = false;
        self.jump = None;
        for hunt in [
            Some(&mut self.errors),
            Some(&mut self.phases),
            self.pattern.as_mut(),
        ]
        .into_iter()
        .flatten()
        {
            hunt.asked = false;
            hunt.go = None;
        }
    }

    /// The landmark above the first line of the screen.
    pub fn phase(&self) -> Option<&str> {
        let at = self
            .phases
            .lines
            .partition_point(|line| *line <= self.top)
            .checked_sub(1)?;
        self.phases.words.get(at).map(String::as_str)
    }
}

/// Bytes before the first whole line; 0 at the start of the log, or when there is no line end at all.
fn whole_lines(offset: u64, bytes: &[u8]) -> usize {
    if offset == 0 {
        return 0;
    }
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(at) if at + 1 < bytes.len() => at + 1,
        Some(_) | None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log that lies here, answered in pieces.
    fn piece(all: &[u8], offset: i64, bytes: u32) -> Piece {
        let size = all.len() as u64;
        let offset = if offset < 0 {
            size.saturating_sub(offset.unsigned_abs())
        } else {
            offset.unsigned_abs().min(size)
        };
        let end = (offset + u64::from(bytes)).min(size);
        Piece {
            offset,
            bytes: all[offset as usize..end as usize].to_vec(),
            end: end == size,
            try_no: 1,
            missing: None,
        }
    }

    fn serve(sheet: &mut LogSheet, all: &[u8], height: usize) {
        for _ in 0..50 {
            let wants = sheet.wants(height, true);
            if wants.is_empty() {
                return;
            }
            for want in wants {
                match want {
                    Question::Log { offset, bytes, .. } => {
                        sheet.take(piece(all, offset, bytes), height)
                    }
                    Question::Search {
                        pattern, offset, ..
                    } => {
                        let words = match &pattern {
                            Wanted::Pattern(words) => words.clone(),
                            Wanted::Errors => "error".into(),
                            Wanted::Phases => "==>".into(),
                        };
                        let text = String::from_utf8_lossy(all);
                        let mut at = 0;
                        let mut lines = Vec::new();
                        for line in text.split_inclusive('\n') {
                            if line.contains(&words) && at >= offset {
                                lines.push(at);
                            }
                            at += line.len() as u64;
                        }
                        sheet.found(Found {
                            wanted: pattern,
                            words: vec!["phase".into(); lines.len()],
                            lines,
                            looked: all.len() as u64,
                            end: true,
                        });
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        panic!("it never has enough");
    }

    fn big() -> Vec<u8> {
        (0..200_000)
            .flat_map(|number| {
                let word = match number {
                    5 => "==> build",
                    70_000 => "error: first",
                    150_000 => "error: second",
                    _ => "line",
                };
                format!("{word} {number} of a log with words in it\n").into_bytes()
            })
            .collect()
    }

    fn first_line(sheet: &LogSheet) -> String {
        sheet.visible(1).remove(0).1
    }

    #[test]
    fn a_large_log_opens_at_its_end_and_can_be_walked_to_its_start() {
        let all = big();
        let mut sheet = LogSheet::new(JobId(1), None);
        serve(&mut sheet, &all, 20);
        let lines = sheet.visible(20);
        assert_eq!(lines.len(), 20);
        assert!(lines[19].1.starts_with("line 199999 "), "{:?}", lines[19]);
        let mut seen = 199_980;
        for _ in 0..1_500 {
            sheet.step(-19, 20);
            serve(&mut sheet, &all, 20);
            seen -= 19;
            let first = first_line(&sheet);
            assert!(
                first.starts_with(&format!("line {seen} ")),
                "{first}, not {seen}"
            );
        }
        assert!(sheet.bytes.len() <= WINDOW_BYTES + PIECE_BYTES as usize);
        sheet.to_start();
        serve(&mut sheet, &all, 20);
        assert!(first_line(&sheet).starts_with("line 0 "));
        sheet.step(-5, 20);
        assert!(first_line(&sheet).starts_with("line 0 "));
        sheet.follow_end(20);
        serve(&mut sheet, &all, 20);
        assert!(sheet.visible(20)[19].1.starts_with("line 199999 "));
    }

    #[test]
    fn searches_find_what_is_far_from_the_screen_both_ways() {
        let all = big();
        let mut sheet = LogSheet::new(JobId(1), None);
        serve(&mut sheet, &all, 20);
        sheet.hunt(&Wanted::Errors, Way::Back);
        serve(&mut sheet, &all, 20);
        assert!(first_line(&sheet).starts_with("error: second"));
        sheet.hunt(&Wanted::Errors, Way::Back);
        serve(&mut sheet, &all, 20);
        assert!(first_line(&sheet).starts_with("error: first"));
        sheet.hunt(&Wanted::Errors, Way::Forward);
        serve(&mut sheet, &all, 20);
        assert!(first_line(&sheet).starts_with("error: second"));
        sheet.search("line 1234 ");
        serve(&mut sheet, &all, 20);
        assert!(
            first_line(&sheet).starts_with("line 1234 "),
            "{}",
            sheet.said
        );
        sheet.search("nowhere");
        serve(&mut sheet, &all, 20);
        assert_eq!(sheet.said, "no place found");
        sheet.hunt(&Wanted::Phases, Way::Back);
        serve(&mut sheet, &all, 20);
        assert!(first_line(&sheet).starts_with("==> build"));
        assert_eq!(sheet.phase(), Some("phase"));
    }

    #[test]
    fn a_log_grows_under_who_follows_it_and_stays_under_who_reads() {
        let mut all = b"one\ntwo\n".to_vec();
        let mut sheet = LogSheet::new(JobId(1), None);
        let mut first = piece(&all, 0, 1_000);
        first.end = false;
        sheet.wants(5, true);
        sheet.take(first, 5);
        all.extend_from_slice(b"thr");
        for more in [&b"ee\n"[..], b"four\nfive\nsix\nseven\n"] {
            let mut next = piece(&all, sheet.end() as i64, 1_000);
            next.end = false;
            assert!(!sheet.wants(5, true).is_empty());
            sheet.take(next, 5);
            all.extend_from_slice(more);
        }
        let mut next = piece(&all, sheet.end() as i64, 1_000);
        next.end = false;
        sheet.take(next, 5);
        let words: Vec<String> = sheet
            .visible(5)
            .into_iter()
            .map(|(_, words)| words)
            .collect();
        assert_eq!(words, ["three", "four", "five", "six", "seven"]);
        sheet.step(-1, 5);
        assert!(!sheet.follow);
        all.extend_from_slice(b"eight\n");
        sheet.take(piece(&all, sheet.end() as i64, 1_000), 5);
        assert_eq!(first_line(&sheet), "two");
    }

    #[test]
    fn bytes_without_lines_and_terminal_tricks_are_harmless() {
        let mut all = vec![b'x'; 100_000];
        all.extend_from_slice(b"\n10%\r50%\r100%\r\n\x1b[31mred\x1b[0m \xff \x1b]0;t\n");
        let mut sheet = LogSheet::new(JobId(1), None);
        serve(&mut sheet, &all, 3);
        let words: Vec<String> = sheet
            .visible(3)
            .into_iter()
            .map(|(_, words)| words)
            .collect();
        assert_eq!(words[1..], ["100%", "red \u{fffd} \\x1b]0;t"]);
        assert!(words[0].len() <= LINE_BYTES);
    }
}
