//! Events: the sequence as it grows, with older ones from the host when asked for.

use std::sync::Arc;

use super::{Rank, sorted};
use crate::admin::view::EventView;
use crate::cli::show;
use crate::id::Seq;
use crate::tui::app::App;
use crate::tui::doc::Doc;
use crate::tui::list::Line;
use crate::tui::page::{Page, Sheet};
use crate::tui::table::{Column, Row, field, fixed, number, words};
use crate::tui::theme::Ink;

/// The columns.
pub const COLUMNS: &[Column] = &[
    number("number", 7, 0),
    fixed("when (UTC)", 19, 2),
    words("who", 8, 1, 3),
    words("what", 10, 1, 5),
    words("recipe", 12, 1, 4),
    words("words", 28, 8, 0),
];

/// Who did it, without the key, which its page has in full.
fn who(event: &EventView) -> &str {
    let name = event.actor.split(" (key ").next();
    name.unwrap_or(&event.actor)
}

/// What an event says, without the number of the attempt or job whose recipe stands before it.
pub fn rest<'a>(event: &'a EventView, recipe: &str) -> &'a str {
    let text = event.text.as_str();
    let numbered = ["attempt ", "job "]
        .iter()
        .any(|word| text.starts_with(word));
    let rest = text.splitn(3, ' ').nth(2);
    match rest.filter(|_| numbered && !recipe.is_empty()) {
        Some(rest) => rest.strip_prefix(recipe).map_or(rest, str::trim_start),
        None => text,
    }
}

/// Whether an event is a step of an attempt that goes well: the first page leaves room for what matters more.
pub fn is_step(kind: &str) -> bool {
    matches!(
        kind,
        "accepted" | "built" | "measured" | "observed" | "resolved"
    )
}

/// How a kind of event looks.
pub fn ink(kind: &str) -> Ink {
    match kind {
        "published" | "imported" => Ink::Good,
        "attempt_ended" | "unreadable" => Ink::Bad,
        "rolled_back" | "held" | "recipe_held" | "cancelled" => Ink::Warn,
        _ if kind.contains("fail") || kind.contains("lost") => Ink::Bad,
        _ => Ink::Plain,
    }
}

/// The recipe of the job that an event is about; empty when it is about none, or it is not known.
pub fn recipe<'a>(app: &'a App, event: &EventView) -> &'a str {
    let job = event.job.and_then(|job| app.shown().job(job));
    job.map_or("", |job| job.recipe.as_str())
}

fn all<'a>(app: &'a App, sheet: &'a Sheet) -> impl Iterator<Item = &'a Arc<EventView>> {
    sheet.older.iter().chain(&app.shown().events)
}

/// The event of this number.
pub fn of(app: &App, seq: Seq) -> Option<&EventView> {
    let sheet = app.sheet();
    let at = sheet.older.partition_point(|event| event.seq < seq);
    let older = sheet.older.get(at).filter(|event| event.seq == seq);
    older.or_else(|| app.shown().event(seq)).map(AsRef::as_ref)
}

/// The event that a person stands on.
pub fn here(app: &App) -> Option<Seq> {
    match &app.sheet().page {
        Page::Events => app.sheet().key().map(Seq),
        Page::Event(event) => Some(event.seq),
        _ => None,
    }
}

/// The oldest event that is shown, if there are older ones.
pub fn oldest(app: &App) -> Option<Seq> {
    let first = all(app, app.sheet()).next()?.seq;
    (first.0 > 1).then_some(first)
}

/// Takes older events from the host.
pub fn older(sheet: &mut Sheet, mut events: Vec<EventView>) {
    sheet.asking = false;
    let first = sheet.older.first().map(|event| event.seq);
    events.retain(|event| first.is_none_or(|first| event.seq < first));
    let mut joined: Vec<Arc<EventView>> = events.into_iter().map(Arc::new).collect();
    joined.append(&mut sheet.older);
    sheet.older = joined;
    sheet.made_of = None;
}

/// What events can be told apart by in a filter.
pub const LABELS: &[&str] = &["who", "what", "recipe", "about", "job"];

fn label(app: &App, event: &EventView, key: &str) -> Option<String> {
    Some(match key {
        "who" => who(event).to_owned(),
        "what" => event.kind.clone(),
        "recipe" => recipe(app, event).to_owned(),
        "about" => event.subject.clone().unwrap_or_default(),
        "job" => event.job.map_or_else(String::new, |job| job.to_string()),
        _ => return None,
    })
}

/// The rows, by their sequence numbers.
pub fn lines(app: &App, sheet: &Sheet) -> Vec<Line> {
    let rows = all(app, sheet)
        .filter(|event| {
            let name = recipe(app, event);
            let words = || {
                let subject = event.subject.as_deref().unwrap_or("");
                let (seq, who, kind) = (event.seq, &event.actor, &event.kind);
                format!("{seq} {who} {kind} {subject} {name} {}", event.text)
            };
            sheet
                .filter
                .takes(name, words, |key| label(app, event, key))
        })
        .map(|event| {
            let rank = match sheet.sort {
                2 => Rank::Words(event.actor.clone()),
                3 => Rank::Words(event.kind.clone()),
                4 => Rank::Words(recipe(app, event).to_owned()),
                5 => Rank::Words(event.text.clone()),
                _ => Rank::Number(i64::try_from(event.seq.0).unwrap_or(i64::MAX)),
            };
            (rank, event.seq.0)
        })
        .collect();
    let mut lines = sorted(rows, sheet.reverse);
    lines.dedup();
    lines
}

/// One row.
pub fn row(app: &App, key: u64) -> Option<Row<'_>> {
    let event = of(app, Seq(key))?;
    let shown = app.past.as_ref().is_some_and(|past| past.seq == event.seq);
    let place = if shown { Ink::Found } else { Ink::Faint };
    Some(Row::Fields(vec![
        field(event.seq.to_string(), place),
        field(show::moment(event.at), Ink::Faint),
        field(who(event), Ink::Plain),
        field(event.kind.as_str(), Ink::Faint),
        field(recipe(app, event), Ink::Strong),
        field(event.text.as_str(), ink(&event.kind)),
    ]))
}

/// An event's page.
pub fn doc(app: &App, event: &EventView, doc: &mut Doc) {
    doc.words(Ink::Strong, &event.text);
    doc.gap();
    doc.field("number", event.seq.to_string());
    doc.field("when", format!("{} UTC", show::moment(event.at)));
    doc.field("who", &event.actor);
    doc.field("what", &event.kind);
    doc.field("about", event.subject.as_deref().unwrap_or(""));
    doc.field("caused by", event.cause.as_deref().unwrap_or(""));
    if let Some(job) = event.job {
        let name = app.shown().job(job).map_or_else(String::new, |job| {
            format!(" ({} {}, {})", job.recipe, job.version, job.state.as_str())
        });
        doc.field_as(
            "job",
            Ink::Plain,
            format!("{job}{name}"),
            Some(Page::Job(job)),
        );
        if let Some(try_no) = event.try_no {
            let log = Page::Log(job, Some(try_no));
            doc.field_as("try", Ink::Plain, format!("{try_no}: its log"), Some(log));
        }
    }
    doc.field("hash", event.hash.to_string());
}
