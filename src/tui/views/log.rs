//! The log on the screen: its lines, what was found marked, and one line about where a person is.

use crate::cli::text;
use crate::tui::app::App;
use crate::tui::doc;
use crate::tui::filter::Filter;
use crate::tui::log::LogSheet;
use crate::tui::pen::Pen;
use crate::tui::theme::{Ink, Sign};

/// Draws the log.
pub fn draw(pen: &mut Pen<'_>, app: &App) {
    let sheet = app.sheet();
    let Some(log) = &sheet.log else { return };
    let width = pen.width();
    let height = pen.height().saturating_sub(1);
    let seen_to = log.seen_to(usize::from(height));
    status(&mut pen.part(0, 0, width, 1), app, log, seen_to);
    if !log.loaded {
        let words = match (app.away_since(), &sheet.fault) {
            (Some(since), _) => format!(
                "The host is away since {since}, and this log was not read before. It is read as soon as the host is back."
            ),
            (None, Some(fault)) => fault.to_string(),
            (None, None) => {
                pen.text(0, 2, width, "asking the host ...", Ink::Faint);
                return;
            }
        };
        for (y, line) in (2..).zip(doc::wrap(&words, usize::from(width))) {
            pen.text(0, y, width, &line, Ink::Warn);
        }
        return;
    }
    let filter = match log.pattern.as_ref().map(|hunt| &hunt.wanted) {
        Some(crate::tui::ask::Wanted::Pattern(words)) => Filter::pattern(words),
        _ => Filter::default(),
    };
    let lines = log.visible(usize::from(height));
    if lines.is_empty() || lines.iter().all(|(_, words)| words.is_empty()) {
        let words = if log.over {
            "the log is empty"
        } else {
            "nothing was said yet"
        };
        pen.text(0, 2, width, words, Ink::Faint);
    }
    if log.wrap {
        return wrapped(pen, log, &lines, &filter);
    }
    for (y, (offset, words)) in (1..=height).zip(&lines) {
        let shown = skip_columns(words, log.left);
        let ink = ink_of(log, *offset, words, &filter);
        pen.text(0, y, width, shown, ink);
    }
}

/// Long lines broken; when new lines are followed the last ones are on the screen.
fn wrapped(pen: &mut Pen<'_>, log: &LogSheet, lines: &[(u64, String)], filter: &Filter) {
    let width = pen.width();
    let height = usize::from(pen.height().saturating_sub(1));
    let mut rows: Vec<(Ink, String)> = Vec::new();
    for (offset, words) in lines {
        let ink = ink_of(log, *offset, words, filter);
        let mut rest = words.as_str();
        loop {
            let cut = columns_end(rest, usize::from(width));
            let (head, tail) = rest.split_at(cut);
            rows.push((ink, head.to_owned()));
            if tail.is_empty() || rows.len() > 4 * height && !log.follow {
                break;
            }
            rest = tail;
        }
    }
    let from = if log.follow {
        rows.len().saturating_sub(height)
    } else {
        0
    };
    for (y, (ink, words)) in (1..pen.height()).zip(rows.iter().skip(from)) {
        pen.text(0, y, width, words, *ink);
    }
}

/// Where a text must be cut to fit so many columns; never at its start.
fn columns_end(words: &str, room: usize) -> usize {
    let mut used = 0;
    for (at, c) in words.char_indices() {
        used += text::width(c.encode_utf8(&mut [0; 4]));
        if used > room && at > 0 {
            return at;
        }
    }
    words.len()
}

fn skip_columns(words: &str, columns: usize) -> &str {
    if columns == 0 {
        return words;
    }
    let at = columns_end(words, columns);
    words.get(at..).unwrap_or("")
}

fn ink_of(log: &LogSheet, offset: u64, words: &str, filter: &Filter) -> Ink {
    if filter.is_on() && filter.takes("", || words.to_owned(), |_| None) {
        return Ink::Found;
    }
    if log.errors.lines.binary_search(&offset).is_ok() {
        return Ink::Bad;
    }
    if words.starts_with("==>") {
        return Ink::Title;
    }
    Ink::Plain
}

/// Where the end of a log is that is not here yet.
fn missing_words(log: &LogSheet) -> String {
    match &log.missing {
        Some((on, Some(bytes))) => format!("its last {} are still on {on}", text::bytes(*bytes)),
        Some((on, None)) => format!("its end is still on {on}"),
        None => String::new(),
    }
}

/// One line about the log, of which a person has seen everything `seen_to` here.
fn status(pen: &mut Pen<'_>, app: &App, log: &LogSheet, seen_to: u64) {
    let width = pen.width();
    let job = app.shown().job(log.job);
    let name = job.map_or_else(
        || format!("job {}", log.job),
        |job| format!("{} {}", job.recipe, job.version),
    );
    let try_no = log
        .try_no
        .map_or_else(String::new, |try_no| format!(" try {try_no}"));
    let builder = job
        .and_then(|job| {
            let attempt = job
                .attempts
                .iter()
                .find(|attempt| Some(attempt.try_no) == log.try_no)?;
            Some(format!(" on {}", attempt.builder))
        })
        .unwrap_or_default();
    let phase = log.phase().map_or_else(String::new, |phase| {
        format!("  {}", phase.trim_start_matches("==>").trim())
    });
    let state = match (log.over, app.is_away(), log.follow) {
        (false, true, _) => "the host is away".into(),
        _ if log.missing.is_some() => missing_words(log),
        (true, ..) => "complete".into(),
        (false, false, true) => "following".into(),
        (false, false, false) => "G follows".into(),
    };
    let size = text::bytes(log.known_end());
    let percent = match log.known_end() {
        0 => 100,
        end => (seen_to as f64 / end as f64 * 100.0) as u64,
    };
    let said = if log.said.is_empty() {
        String::new()
    } else {
        format!("{}  {} ", log.said, app.theme.sign(Sign::Between))
    };
    let right = format!("{said}{percent} % of {size}, {state}");
    let own = u16::try_from(crate::tui::pen::columns(&right)).unwrap_or(0);
    let left = width.saturating_sub(own + 2);
    pen.spans(
        0,
        0,
        left,
        &[
            (Ink::Strong, &name),
            (Ink::Faint, &try_no),
            (Ink::Faint, &builder),
            (Ink::Title, &phase),
        ],
    );
    pen.right(
        0,
        0,
        width,
        &right,
        if log.said.is_empty() {
            Ink::Faint
        } else {
            Ink::Warn
        },
    );
}
