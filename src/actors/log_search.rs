//! Searches a log where it lies, in pieces and with a bound, and answers with the places: a reader of a log of a GiB needs
//! some offsets, not the log.

use std::os::unix::fs::FileExt;
use std::path::Path;

use regex::bytes::{Regex, RegexBuilder};

use crate::admin::summit::{JobLogSearch, LogPlaces};
use crate::build::native::LANDMARK;
use crate::fault::{Fault, Kind, Result};

/// Bytes read at once: what was just copied out of the page cache is still in the processor's when it is looked at.
const READ_BYTES: usize = 512 * 1024;
/// Bytes looked at for one answer: half a second of work on a slow disk.
const LOOK_BYTES: u64 = 256 * 1024 * 1024;
/// Places in one answer.
const PLACES_MAX: usize = 10_000;
/// Bytes of a landmark's words.
const WORDS_BYTES: usize = 120;
/// A line that is longer ends here, as far as a search is concerned.
const LINE_BYTES_MAX: usize = READ_BYTES / 2;
/// What compilers, linkers, build tools and test runners say when something is wrong.
const ERRORS: &str = r"(?i-u)\b(?:error|fatal|failed|failure|panicked|undefined reference|segmentation fault|no such file|not found|no space left|traceback)\b";

/// Letters of which one group stands in whatever [`ERRORS`] finds, and seldom anywhere else: most of a log is passed over by
/// looking for these alone. Lower case.
const TELLS: [[u8; 3]; 10] = [
    *b"rro", *b"fat", *b"fai", *b"nic", *b"efe", *b"egm", *b"uch", *b"fou", *b"eft", *b"ceb",
];
/// Bytes that are looked at together: a whole number of the processor's widest registers.
const TOGETHER: usize = 128;

/// What is searched for, and from where.
pub struct Search {
    pattern: Regex,
    /// Only lines with one of [`TELLS`] can hold it.
    tells: bool,
    phases: bool,
    offset: u64,
}

impl Search {
    /// As it was asked for.
    ///
    /// # Errors
    ///
    /// A pattern that is none, with the place that is wrong.
    pub fn of(wish: &JobLogSearch) -> Result<Search> {
        let phases = wish.phases == Some(true);
        let landmark = format!(r"(?-u)^{}", regex::escape(LANDMARK));
        let (words, any_case) = match (phases, &wish.pattern) {
            (true, _) => (landmark.as_str(), false),
            (false, Some(pattern)) => (pattern.as_str(), true),
            (false, None) => (ERRORS, false),
        };
        let pattern = RegexBuilder::new(words)
            .case_insensitive(any_case)
            .multi_line(true)
            // Bytes of another encoding than UTF-8 are no reason to miss what stands beside them.
            .unicode(!words.is_ascii())
            .size_limit(1 << 20)
            .build()
            .map_err(|error| {
                Fault::new(Kind::Usage, format!("{words:?} is no pattern"))
                    .because(&error)
                    .next("put \\ before characters such as ( [ { . * + ? to mean them")
            })?;
        Ok(Search {
            pattern,
            tells: words == ERRORS,
            phases,
            offset: wish.offset.unwrap_or(0),
        })
    }

    /// Looks at a part of the file.
    ///
    /// # Errors
    ///
    /// A file that cannot be read; one that is not there yet has no places.
    pub fn run(&self, path: &Path, try_no: u32) -> Result<LogPlaces> {
        let failed = |error: &std::io::Error| {
            Fault::new(Kind::Operator, format!("cannot read {}", path.display())).because(error)
        };
        let mut places = LogPlaces {
            lines: Vec::new(),
            words: Vec::new(),
            looked: self.offset,
            end: true,
            try_no,
        };
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(places),
            Err(error) => return Err(failed(&error)),
        };
        let size = file.metadata().map_err(|error| failed(&error))?.len();
        let until = size.min(self.offset.saturating_add(LOOK_BYTES));
        let mut buffer = vec![0; READ_BYTES];
        while places.looked < until && places.lines.len() < PLACES_MAX {
            let at = places.looked;
            let read = file
                .read_at(&mut buffer, at)
                .map_err(|error| failed(&error))?;
            let bytes = buffer.get(..read).unwrap_or_default();
            // Whole lines only, unless it is the end, or a line without end.
            let last = at + read as u64 >= size;
            let whole = match bytes.iter().rposition(|byte| *byte == b'\n') {
                Some(end) if !last => end + 1,
                None if !last && read > LINE_BYTES_MAX => read,
                _ => read,
            };
            if whole == 0 {
                break;
            }
            let bytes = bytes.get(..whole).unwrap_or_default();
            let seen = self.places_in(bytes, at, &mut places);
            places.looked = at + seen as u64;
        }
        places.end = places.looked >= size;
        Ok(places)
    }

    /// Finds places in whole lines; how many bytes were looked at.
    fn places_in(&self, bytes: &[u8], at: u64, places: &mut LogPlaces) -> usize {
        let mut from = 0;
        while let Some(place) = self.next_place(bytes, from) {
            let (begin, end) = line_around(bytes, place);
            if places.lines.len() == PLACES_MAX {
                return begin;
            }
            places.lines.push(at + begin as u64);
            if self.phases {
                let words = bytes.get(begin..end).unwrap_or_default();
                let words = words.get(..WORDS_BYTES).unwrap_or(words);
                let words = String::from_utf8_lossy(words).trim_end().to_owned();
                places.words.push(words);
            }
            // One place in a line is enough, and an empty match must not stand still.
            from = end.max(place + 1);
        }
        bytes.len()
    }

    /// Where the next place begins, at this byte or after it.
    fn next_place(&self, bytes: &[u8], mut from: usize) -> Option<usize> {
        if !self.tells {
            let found = self.pattern.find(bytes.get(from..)?)?;
            return Some(from + found.start());
        }
        loop {
            let tell = next_tell(bytes, from)?;
            let (begin, end) = line_around(bytes, tell);
            let line = bytes.get(begin.max(from)..end)?;
            if let Some(found) = self.pattern.find(line) {
                return Some(begin.max(from) + found.start());
            }
            from = end;
        }
    }
}

/// Where the line of this byte begins, and where the next one does.
fn line_around(bytes: &[u8], place: usize) -> (usize, usize) {
    let before = bytes.get(..place).unwrap_or_default();
    let begin = before.iter().rposition(|byte| *byte == b'\n');
    let rest = bytes.get(place..).unwrap_or_default();
    let end = rest.iter().position(|byte| *byte == b'\n');
    (
        begin.map_or(0, |end| end + 1),
        end.map_or(bytes.len(), |end| place + end + 1),
    )
}

/// Where one of [`TELLS`] stands, at this byte or after it, in letters of either case.
fn next_tell(bytes: &[u8], from: usize) -> Option<usize> {
    const REACH: usize = TOGETHER + 2;
    let mut at = from;
    while let Some(window) = bytes.get(at..).and_then(|rest| rest.first_chunk::<REACH>()) {
        if has_tell(window) {
            break;
        }
        at += TOGETHER;
    }
    // A tell is near, or the end is.
    loop {
        let rest = bytes.get(at..)?;
        let near = rest.get(..REACH).unwrap_or(rest);
        let found = near.windows(3).position(|three| {
            let lower = |at: usize| three.get(at).map_or(0, |byte| byte | 0x20);
            TELLS.contains(&[lower(0), lower(1), lower(2)])
        });
        match found {
            Some(place) => return Some(at + place),
            None if near.len() < REACH => return None,
            None => at += TOGETHER,
        }
    }
}

/// Whether one of [`TELLS`] begins in the first [`TOGETHER`] bytes: without a branch for any byte, so that the compiler compares
/// as many at a time as the processor can. The bit that tells upper from lower case makes no other byte a letter.
fn has_tell(window: &[u8; TOGETHER + 2]) -> bool {
    let lower = window.map(|byte| byte | 0x20);
    let [first, second, third] = [0, 1, 2].map(|by| &lower[by..by + TOGETHER]);
    let mut any = [0_u8; TOGETHER];
    for [a, b, c] in &TELLS {
        for (((any, one), two), three) in any.iter_mut().zip(first).zip(second).zip(third) {
            *any |= u8::from((one ^ a) | (two ^ b) | (three ^ c) == 0);
        }
    }
    any.iter().fold(0, |seen, one| seen | one) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(pattern: Option<&str>, phases: bool, offset: u64) -> JobLogSearch {
        JobLogSearch {
            job: "1".into(),
            try_no: None,
            pattern: pattern.map(Into::into),
            phases: Some(phases),
            offset: Some(offset),
        }
    }

    #[test]
    fn places_are_the_starts_of_lines_across_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Vec::new();
        let mut expected = Vec::new();
        for number in 0..200_000 {
            if number % 50_000 == 7 {
                expected.push(log.len() as u64);
                log.extend_from_slice(b"make: *** [all] Error 2 \xff\n");
            }
            log.extend_from_slice(b"a line of a build that says nothing\n");
        }
        log.extend_from_slice(b"==> [   0.1] build\nError at the very end");
        std::fs::write(&path, &log).unwrap();
        let search = Search::of(&wish(None, false, 0)).unwrap();
        let found = search.run(&path, 1).unwrap();
        expected.push(log.len() as u64 - 21);
        assert_eq!(found.lines, expected);
        assert!(found.end && found.looked == log.len() as u64);
        let from = Search::of(&wish(Some("error 2"), false, expected[1] + 26)).unwrap();
        assert_eq!(from.run(&path, 1).unwrap().lines, expected[2..4]);
        let phases = Search::of(&wish(None, true, 0))
            .unwrap()
            .run(&path, 1)
            .unwrap();
        assert_eq!(phases.words, ["==> [   0.1] build"]);
    }

    #[test]
    fn looking_for_letters_first_finds_the_same_as_looking_at_everything() {
        let words = ERRORS
            .split("(?:")
            .nth(1)
            .and_then(|rest| rest.split(')').next());
        let words: Vec<&str> = words.unwrap().split('|').collect();
        assert_eq!(words.len(), 11);
        for word in &words {
            let told = TELLS
                .iter()
                .any(|tell| word.as_bytes().windows(3).any(|three| three == tell));
            assert!(told, "nothing tells {word}");
        }
        // Every word at every place of a piece, in either case, whole and as a part of another word.
        let mut log = Vec::new();
        for at in 0..3_000_usize {
            let word = words[at % words.len()];
            let word = match at % 3 {
                0 => word.to_uppercase(),
                1 => format!("x{word}"),
                _ => word.to_owned(),
            };
            log.extend(std::iter::repeat_n(b'.', at % 257));
            log.extend_from_slice(word.as_bytes());
            log.extend_from_slice(match at % 5 {
                0 => b" installation of unicode \xff\n".as_slice(),
                1 => b"@[`{ left over, such as found\n",
                _ => b"\n",
            });
        }
        let fast = Search::of(&wish(None, false, 0)).unwrap();
        let slow = Search {
            tells: false,
            pattern: fast.pattern.clone(),
            ..Search::of(&wish(None, false, 0)).unwrap()
        };
        for end in [log.len(), log.len() - 1, 131, 130, 129, 3, 2, 0] {
            let (mut one, mut other) = (nothing(), nothing());
            fast.places_in(&log[..end], 0, &mut one);
            slow.places_in(&log[..end], 0, &mut other);
            assert_eq!(one.lines, other.lines, "{end}");
            assert!(
                end < 1_000 || one.lines.len() > 1_000,
                "{}",
                one.lines.len()
            );
        }
    }

    fn nothing() -> LogPlaces {
        LogPlaces {
            lines: Vec::new(),
            words: Vec::new(),
            looked: 0,
            end: true,
            try_no: 1,
        }
    }

    #[test]
    fn nonsense_is_bounded_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert_eq!(
            Search::of(&wish(Some("a("), false, 0))
                .err()
                .map(|fault| fault.exit_code()),
            Some(2)
        );
        let everything = Search::of(&wish(Some(""), false, 0)).unwrap();
        assert!(everything.run(&path, 1).unwrap().end, "no log yet");
        std::fs::write(&path, "x\n".repeat(30_000)).unwrap();
        let first = everything.run(&path, 1).unwrap();
        assert_eq!((first.lines.len(), first.end), (PLACES_MAX, false));
        let next = Search::of(&wish(Some(""), false, first.looked)).unwrap();
        assert_eq!(next.run(&path, 1).unwrap().lines.first(), Some(&20_000));
        std::fs::write(&path, vec![b'x'; 9 * 1024 * 1024]).unwrap();
        let found = Search::of(&wish(Some("y"), false, 0))
            .unwrap()
            .run(&path, 1)
            .unwrap();
        assert!(found.end && found.lines.is_empty());
        let beyond = Search::of(&wish(Some("x"), false, 1 << 40)).unwrap();
        assert!(beyond.run(&path, 1).unwrap().end);
    }
}
