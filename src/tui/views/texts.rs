//! Pages of words: why something is as it is, and the commands that were used.

use super::queue::predicted;
use super::recipes::limits;
use crate::admin::view::WhyView;
use crate::cli::show;
use crate::tui::app::{App, Outcome};
use crate::tui::ask::{Reply, quoted};
use crate::tui::doc::Doc;
use crate::tui::page::{Page, Sheet};
use crate::tui::theme::Ink;

/// Why something is as it is: all reasons.
pub fn why(app: &App, sheet: &Sheet, doc: &mut Doc) {
    let Some(Reply::Why(why)) = &sheet.content else {
        if app.waits(sheet) {
            doc.words(Ink::Faint, "asking the host ...");
        }
        return;
    };
    doc.line(
        vec![
            (
                Ink::Faint,
                match why.thing.starts_with(&why.kind) {
                    true => String::new(),
                    false => format!("{} ", why.kind),
                },
            ),
            (Ink::Strong, why.thing.clone()),
            (Ink::Plain, format!(" is {}", why.state)),
        ],
        None,
    );
    // The summary begins with what stands above it.
    let rest = why.summary.strip_prefix(&why.thing).map(str::trim_start);
    let said = format!("is {}", why.state);
    let rest = rest.map(|rest| rest.strip_prefix(&said).unwrap_or(rest));
    let summary = rest.unwrap_or(&why.summary).trim_start_matches([';', ' ']);
    doc.words(Ink::Plain, summary);
    if app.then().is_some() {
        let words = "What is not in the log of events is not known: which builders would have taken it, and when.";
        doc.words(Ink::Faint, words);
    }
    reasons(why, doc);
    if let Some(cheapest) = &why.cheapest {
        doc.title("The smallest change that would start it");
        doc.words(Ink::Plain, cheapest);
    }
    times(why, doc);
    builders(why, doc);
    limits(&why.time_limit, &why.silence_limit, doc);
}

/// Why it is as it is, whose move it is, and what can be done.
fn reasons(why: &WhyView, doc: &mut Doc) {
    if !why.reasons.is_empty() {
        doc.title("Reasons, the one that would lift first before the others");
    }
    for (at, reason) in why.reasons.iter().enumerate() {
        let lead = format!("{:>2}  ", at + 1);
        doc.item(
            &[(Ink::Faint, &lead)],
            Ink::Strong,
            show::reason_text(reason),
            None,
        );
        let whose = format!("{} - whose move: {}", reason.kind, reason.whose);
        doc.item(&[(Ink::Plain, "    ")], Ink::Faint, whose, None);
        if let Some(next) = &reason.next {
            doc.item(
                &[(Ink::Plain, "    "), (Ink::Faint, "do: ")],
                Ink::Plain,
                next,
                None,
            );
        }
    }
}

/// When it starts and ends, as predicted.
fn times(why: &WhyView, doc: &mut Doc) {
    let times = [
        ("starts", why.start_p50_s, why.start_p90_s),
        ("ends", why.end_p50_s, why.end_p90_s),
    ];
    if times.iter().any(|(_, half, _)| half.is_some()) {
        doc.title("When");
        for (name, half, late) in times {
            if let Some(half) = half {
                doc.field(name, predicted(half, late));
            }
        }
        if let Some(note) = &why.forecast {
            doc.words(Ink::Faint, note);
        }
    }
}

/// Which builders would take it, and what keeps the others.
fn builders(why: &WhyView, doc: &mut Doc) {
    if !why.builders.is_empty() {
        doc.title("Builders");
    }
    for test in &why.builders {
        let ink = match test.verdict.as_str() {
            "fits" => Ink::Good,
            "postpone" => Ink::Warn,
            _ => Ink::Bad,
        };
        doc.line(
            vec![
                (ink, format!("{:<9} ", test.verdict)),
                (Ink::Key, test.builder.clone()),
            ],
            Some(Page::Builder(test.builder.clone())),
        );
        for failed in &test.failed {
            doc.item(
                &[(Ink::Plain, "          ")],
                Ink::Plain,
                show::reason_text(failed),
                None,
            );
        }
    }
}

/// What a command printed.
pub fn printed(sheet: &Sheet, words: &[String], doc: &mut Doc) {
    let Some(Reply::Ran(ran)) = &sheet.content else {
        if sheet.fault.is_none() {
            let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
            doc.words(Ink::Faint, format!("massif {} ...", words.join(" ")));
        }
        return;
    };
    match ran.code {
        Some(0) if ran.text.is_empty() => doc.words(Ink::Faint, "it printed nothing"),
        Some(0) => {}
        Some(code) => doc.words(Ink::Warn, format!("it ended with exit code {code}")),
        None => doc.words(Ink::Warn, "it was killed"),
    }
    ran.text
        .lines()
        .for_each(|line| doc.words(Ink::Plain, line));
}

/// The commands that were used so far, the newest first.
pub fn history(app: &App, doc: &mut Doc) {
    if app.used.is_empty() {
        doc.words(
            Ink::Faint,
            "Nothing was changed from here yet. What you do is listed here as the command line that does the same.",
        );
        return;
    }
    for used in app.used.iter().rev() {
        let (ink, outcome) = match &used.outcome {
            None => (Ink::Busy, "under way".to_owned()),
            Some(Outcome::Done(words)) => (Ink::Good, words.clone()),
            Some(Outcome::Failed(words)) => (Ink::Bad, words.clone()),
            Some(Outcome::Unknown(words)) => (
                Ink::Warn,
                format!(
                    "it is not known whether this was done: {words}; `{}` tells when the host is back",
                    used.found_out_by
                ),
            ),
        };
        let from = doc.lines.len();
        let when = format!("{}  ", show::moment(used.at));
        doc.item(&[(Ink::Faint, &when)], Ink::Strong, &used.command, None);
        doc.offer(from, &used.command);
        let indent = " ".repeat(when.len());
        doc.item(&[(Ink::Plain, &indent)], ink, outcome, None);
    }
}
