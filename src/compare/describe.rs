//! What a difference most likely comes from, told by the bytes around it.

use std::ops::Range;
use std::sync::LazyLock;

use regex::bytes::Regex;

use super::elf::{self, Section};
use super::scan::{Look, Parts};
use crate::model::proof::{Cause, Difference};

/// Bytes of a printable text on each side of a difference that are looked at.
const AROUND: usize = 120;
/// So many bytes that differ are more than digits of a date that changed places.
const MANY: usize = 9;
/// Sections that follow from everything else in a file.
const FOLLOWS: [&str; 2] = [".note.gnu.build-id", ".gnu_debuglink"];

/// Dates and times as builds write them: ISO, `__DATE__`, `__TIME__`, `date`, seconds since 1970.
static DATES: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let month = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)";
    let words = [
        r"(?:19|20)\d\d[-/.](?:0[1-9]|1[0-2])[-/.](?:0[1-9]|[12]\d|3[01])(?:[T _-]?\d\d:?\d\d(?::?\d\d)?(?:\.\d+)?Z?)?"
            .to_string(),
        format!(r"{month}[a-z]* {{1,2}}\d{{1,2}},? (?:\d\d:\d\d(?::\d\d)? )?(?:[A-Z]{{2,5}} )?(?:19|20)\d\d"),
        format!(r"\d{{1,2}}[ -]{month}[a-z]*[ -](?:19|20)\d\d"),
        r"\d\d:\d\d:\d\d".to_string(),
        r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:T?\d{6}Z?)?".to_string(),
        r"1[0-9]{9}".to_string(),
    ];
    // All fixed; one that does not compile finds no dates, which a test would see.
    Regex::new(&format!("(?-u){}", words.join("|"))).ok()
});

/// A byte that differs, with its surroundings in both files.
struct Spot<'a> {
    offset: u64,
    published: (&'a [u8], usize),
    rebuilt: (&'a [u8], usize),
}

/// What is counted over the blocks that differ.
#[derive(Default)]
struct Tally {
    bytes: usize,
    bits: u32,
}

/// Says how two files with other bytes differ. `place`: artefact, and path in it.
pub fn describe(
    place: (&str, Option<&str>),
    (a, b): (&Look, &Look),
    parts: &Parts,
    sections: &[Section],
) -> Difference {
    let (spot, only_follows) = first_spot(parts, sections);
    let tally = tally(parts);
    let whole = a.differing_blocks(b) <= parts.ranges.len();
    let mut found = super::difference(place.0, place.1, Cause::Content, String::new());
    found.published_bytes = Some(a.size);
    found.rebuilt_bytes = Some(b.size);
    let Some(spot) = spot else {
        found.text = "differs beyond what was looked at".into();
        return found;
    };
    found.offset = Some(spot.offset);
    let section = elf::section_at(sections, spot.offset).map(|section| section.name.clone());
    found.section = section.filter(|name| !name.is_empty());
    let (cause, text) = if only_follows && whole {
        (Cause::BuildId, "only the hash that the linker made".into())
    } else {
        cause(place.1, (a, b), &spot, &tally, whole)
    };
    (found.cause, found.text) = (cause, text);
    found
}

/// The first byte that differs, outside of what follows from others if there is such a one. Whether it is the linker's hash
/// and nothing else differs.
fn first_spot<'a>(parts: &'a Parts, sections: &[Section]) -> (Option<Spot<'a>>, bool) {
    let (mut first, mut only_hash) = (None, true);
    let blocks = parts
        .published
        .iter()
        .zip(&parts.rebuilt)
        .zip(&parts.ranges);
    for ((ours, theirs), range) in blocks {
        for at in 0..ours.len().max(theirs.len()) {
            if ours.get(at) == theirs.get(at) {
                continue;
            }
            let spot = Spot {
                offset: range.start + at as u64,
                published: (ours, at),
                rebuilt: (theirs, at),
            };
            let section = elf::section_at(sections, spot.offset);
            let is_hash = section.is_some_and(|known| FOLLOWS.contains(&known.name.as_str()));
            // Headers and tables outside of all sections say where things are: they follow from what is longer or shorter.
            let is_header = section.is_none() && !sections.is_empty();
            if !is_hash && !is_header {
                return (Some(spot), false);
            }
            only_hash &= is_hash;
            first.get_or_insert(spot);
        }
    }
    let hash = only_hash && first.is_some();
    (first, hash)
}

fn tally(parts: &Parts) -> Tally {
    let mut tally = Tally::default();
    for (ours, theirs) in parts.published.iter().zip(&parts.rebuilt) {
        for at in 0..ours.len().max(theirs.len()) {
            let (one, other) = (ours.get(at), theirs.get(at));
            if one != other {
                tally.bytes += 1;
                tally.bits += match (one, other) {
                    (Some(one), Some(other)) => (one ^ other).count_ones(),
                    _ => 8,
                };
            }
        }
    }
    tally
}

fn cause(
    path: Option<&str>,
    (a, b): (&Look, &Look),
    spot: &Spot<'_>,
    tally: &Tally,
    whole: bool,
) -> (Cause, String) {
    let reordered = a.has_the_same_bytes(b);
    if reordered && (tally.bytes >= MANY || !whole) {
        return (Cause::Order, "the same bytes in another order".into());
    }
    if let Some(text) = header_date(path, a, spot.offset) {
        return (Cause::Date, text);
    }
    let (ours, theirs) = (text_at(spot.published), text_at(spot.rebuilt));
    let both = format!("{} / {}", shown(ours.0), shown(theirs.0));
    if is_dated(&ours) && is_dated(&theirs) {
        return (Cause::Date, both);
    }
    if whole && tally.bits == 1 && a.size == b.size {
        let values = (
            spot.published.0.get(spot.published.1),
            spot.rebuilt.0.get(spot.rebuilt.1),
        );
        let text = match values {
            (Some(one), Some(other)) => format!("one bit: {one:#04x} / {other:#04x}"),
            _ => "one bit".into(),
        };
        return (Cause::Bit, text);
    }
    let words = (word_at(&ours), word_at(&theirs));
    if words.0.contains(&b'/') && words.1.contains(&b'/') {
        let text = format!("{} / {}", shown(words.0), shown(words.1));
        return (Cause::Path, text);
    }
    if reordered {
        return (Cause::Order, "the same bytes in another order".into());
    }
    let text = match (ours.0.len() >= 4 || theirs.0.len() >= 4, whole) {
        (true, _) => both,
        (false, true) => format!("{} bytes differ", tally.bytes),
        (false, false) => format!("more than {} bytes differ", tally.bytes),
    };
    (Cause::Content, text)
}

/// Dates in the headers of formats that have one: gzip, Python's compiled files.
fn header_date(path: Option<&str>, a: &Look, offset: u64) -> Option<String> {
    if a.head.starts_with(&[0x1f, 0x8b]) && (4..8).contains(&offset) {
        return Some("the time in a gzip header".into());
    }
    if path.is_some_and(|path| path.ends_with(".pyc")) && (8..12).contains(&offset) {
        return Some("the time in a compiled Python file".into());
    }
    None
}

/// The printable text around a place, and where in it the place is.
fn text_at((bytes, at): (&[u8], usize)) -> (&[u8], usize) {
    let printable = |byte: &u8| (0x20..0x7f).contains(byte);
    let from = at.saturating_sub(AROUND);
    let before = bytes.get(from..at).unwrap_or_default();
    let start = at
        - before
            .iter()
            .rev()
            .take_while(|byte| printable(byte))
            .count();
    let after = bytes.get(at..).unwrap_or_default();
    let len = after
        .iter()
        .take(AROUND)
        .take_while(|byte| printable(byte))
        .count();
    (bytes.get(start..at + len).unwrap_or_default(), at - start)
}

/// Whether the place lies in a date.
fn is_dated((text, at): &(&[u8], usize)) -> bool {
    let Some(dates) = DATES.as_ref() else {
        return false;
    };
    dates.find_iter(text).any(|found| {
        let place: Range<usize> = found.range();
        // A date that is longer on one side differs right behind the shorter one.
        (place.start..=place.end).contains(at)
    })
}

/// The word of a text that a place is in.
fn word_at<'a>((text, at): &(&'a [u8], usize)) -> &'a [u8] {
    let inside = |byte: &u8| {
        !matches!(
            byte,
            b' ' | b'"' | b'\'' | b'=' | b',' | b';' | b':' | b'<' | b'>'
        )
    };
    let before = text.get(..*at).unwrap_or_default();
    let after = text.get(*at..).unwrap_or_default();
    let start = at - before.iter().rev().take_while(|byte| inside(byte)).count();
    let end = at + after.iter().take_while(|byte| inside(byte)).count();
    text.get(start..end).unwrap_or_default()
}

fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let short: String = text.trim().chars().take(70).collect();
    match short.is_empty() {
        true => "nothing printable".into(),
        false => format!("{short:?}"),
    }
}
