//! Text from outside on its way to a terminal: made harmless, measured, cut. The dashboard uses it too.
//! Names, commit titles, logs and errors may hold anything; nothing of it may move a cursor, change a title or hide.

use std::borrow::Cow;
use std::fmt::Write;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Whether a character does something to a terminal instead of standing there: control characters, what turns the
/// direction of writing, and what is not seen at all.
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{61c}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn write_visible(out: &mut String, c: char) {
    // Writing to a String cannot fail.
    let _ = match c {
        '\n' => write!(out, "\\n"),
        '\t' => write!(out, "\\t"),
        '\r' => write!(out, "\\r"),
        c if (c as u32) < 0x100 => write!(out, "\\x{:02x}", c as u32),
        c => write!(out, "\\u{{{:x}}}", c as u32),
    };
}

/// One line, with everything unsafe shown as an escape (`\x1b`).
pub fn line(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) {
            write_visible(&mut out, c)
        } else {
            out.push(c)
        }
    }
    Cow::Owned(out)
}

/// Several lines: as [`line`], but line ends stay and tabs become spaces.
pub fn block(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, part) in text.split('\n').enumerate() {
        if at > 0 {
            out.push('\n');
        }
        for (at, piece) in part.trim_end_matches('\r').split('\t').enumerate() {
            if at > 0 {
                out.push_str("    ");
            }
            out.push_str(&line(piece));
        }
    }
    out
}

/// A piece of a build's output: colours and other escape sequences are dropped, the rest is as in [`block`].
pub fn log(text: &str) -> String {
    block(&without_sequences(text))
}

/// The text without ANSI escape sequences; what only looks like the start of one is left for [`line`] to show.
fn without_sequences(text: &str) -> Cow<'_, str> {
    if !text.contains('\u{1b}') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        let (before, sequence) = rest.split_at(at);
        out.push_str(before);
        let length = sequence_length(sequence);
        if length == 0 {
            out.push('\u{1b}');
        }
        rest = sequence.get(length.max(1)..).unwrap_or_default();
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Bytes of the escape sequence that the text begins with; 0 when it is none that we know, or not complete.
fn sequence_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    match bytes.get(1) {
        // CSI: parameters, then one final byte.
        Some(b'[') => bytes
            .iter()
            .skip(2)
            .position(|byte| !(0x20..=0x3f).contains(byte))
            .filter(|at| {
                bytes
                    .get(at + 2)
                    .is_some_and(|byte| (0x40..=0x7e).contains(byte))
            })
            .map_or(0, |at| at + 3),
        // OSC: up to BEL or ESC \.
        Some(b']') => match (text.find('\u{7}'), text.find("\u{1b}\\")) {
            (Some(bell), Some(string)) if string < bell => string + 2,
            (Some(bell), _) => bell + 1,
            (None, Some(string)) => string + 2,
            (None, None) => 0,
        },
        Some(b'(' | b')') if bytes.len() > 2 && text.is_char_boundary(3) => 3,
        _ => 0,
    }
}

/// Only ASCII, for pipes: everything else as `\u{e9}`.
pub fn ascii(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if c.is_ascii() {
            out.push(c)
        } else {
            write_visible(&mut out, c)
        }
    }
    Cow::Owned(out)
}

/// Columns that the text takes on a terminal.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The text in at most so many columns, with an ellipsis at its end when something had to go.
pub fn fit(text: &str, columns: usize) -> Cow<'_, str> {
    if text.width() <= columns {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide + 1 > columns {
            break;
        }
        used += wide;
        out.push(c);
    }
    if columns > 0 {
        out.push('…');
    }
    Cow::Owned(out)
}

/// A number of bytes for people: `1.5 MiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if value < 9.95 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

/// A time span for people: `3.4s`, `2m05s`, `3h10m`, `4d06h`.
pub fn span(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "?".into();
    }
    if seconds < 9.95 {
        return format!("{seconds:.1}s");
    }
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{whole}s"),
        60..3_600 => format!("{}m{:02}s", whole / 60, whole % 60),
        3_600..86_400 => format!("{}h{:02}m", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{}d{:02}h", whole / 86_400, whole % 86_400 / 3_600),
    }
}

/// A time span without fractions, so that it changes once a second at most.
pub fn whole_span(seconds: f64) -> String {
    if seconds < 10.0 {
        format!("{}s", seconds.max(0.0) as u64)
    } else if seconds < 3_600.0 {
        span(seconds.floor())
    } else {
        // Above an hour minutes are enough, and change less often.
        span((seconds / 60.0).floor() * 60.0)
    }
}

pub use crate::id::parse_span;

/// A predicted moment in words; empty: nothing is predicted.
pub(super) fn forecast(likely: Option<f64>, late: Option<f64>) -> String {
    match (likely, late) {
        (Some(likely), Some(late)) => {
            format!(
                "in about {}, nine of ten times within {}",
                span(likely),
                span(late)
            )
        }
        (Some(likely), None) => format!("in about {}", span(likely)),
        (None, _) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_reaches_a_terminal_raw() {
        for (text, shown) in [
            ("plain é", "plain é"),
            ("a\u{1b}[31mb", "a\\x1b[31mb"),
            ("a\nb\tc\r", "a\\nb\\tc\\r"),
            ("\u{202e}txt.exe", "\\u{202e}txt.exe"),
            ("\u{9b}31m", "\\x9b31m"),
            ("zero\u{200b}width", "zero\\u{200b}width"),
        ] {
            assert_eq!(line(text), shown);
        }
        assert_eq!(block("a\r\nb\tc\u{7}"), "a\nb    c\\x07");
    }

    #[test]
    fn logs_lose_their_colours_and_keep_their_words() {
        for (text, shown) in [
            ("\u{1b}[1;31merror\u{1b}[0m: x", "error: x"),
            ("\u{1b}]0;title\u{7}after", "after"),
            ("\u{1b}]8;;u\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}]never ends", "\\x1b]never ends"),
            ("\u{1b}[31", "\\x1b[31"),
            ("\u{1b}[é", "\\x1b[é"),
            ("\u{1b}(Bx", "x"),
            ("\u{1b}(é", "\\x1b(é"),
            ("\u{1b}", "\\x1b"),
        ] {
            assert_eq!(log(text), shown, "{text:?}");
        }
    }

    #[test]
    fn texts_are_cut_at_columns_and_not_within_wide_characters() {
        for (text, columns, shown) in [
            ("hello", 5, "hello"),
            ("hello", 4, "hel…"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("hello", 1, "…"),
            ("hello", 0, ""),
        ] {
            assert_eq!(fit(text, columns), shown);
        }
    }

    #[test]
    fn spans_and_sizes_read_well_and_parse_back() {
        for (seconds, shown) in [
            (0.0, "0.0s"),
            (9.94, "9.9s"),
            (9.96, "10s"),
            (59.6, "1m00s"),
            (3_725.0, "1h02m"),
            (100_000.0, "1d03h"),
            (f64::NAN, "?"),
        ] {
            assert_eq!(span(seconds), shown);
        }
        for (count, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (10 << 20, "10 MiB"),
            (u64::MAX, "16384 PiB"),
        ] {
            assert_eq!(bytes(count), shown);
        }
        for (text, seconds) in [
            ("180", 180),
            ("180s", 180),
            ("3m", 180),
            ("1h30m", 5_400),
            ("2d", 172_800),
            ("0", 0),
        ] {
            assert_eq!(
                parse_span(text),
                Ok(std::time::Duration::from_secs(seconds))
            );
        }
        for text in [
            "",
            "m",
            "3x",
            "-1",
            "1.5h",
            "99999999999999999999",
            "18446744073709551615d",
        ] {
            assert!(parse_span(text).is_err(), "{text:?}");
        }
    }
}
