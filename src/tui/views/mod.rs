//! The pages: what rows they have, in which order, and how they are drawn. Each is a function of the state.

use std::borrow::Cow;

use super::app::App;
use super::doc::{self, Doc};
use super::draw;
use super::list::Line;
use super::page::{Page, Shape, Sheet};
use super::pen::Pen;
use super::table::{Column, Look, Row};
use super::theme::{Ink, Theme};

pub mod builder;
pub mod builders;
pub mod events;
pub mod farm;
pub mod graph;
pub mod job;
pub mod log;
pub mod peers;
pub mod queue;
pub mod recipes;
pub mod repository;
pub mod texts;

/// What rows are sorted by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// A number.
    Number(i64),
    /// Words.
    Words(String),
}

impl Rank {
    /// Of a number that may be a fraction, or not known: that comes last.
    pub fn of(value: Option<f64>) -> Rank {
        Rank::Number(value.map_or(i64::MAX, |value| (value * 1_000.0) as i64))
    }
}

/// Sorts rows by their rank, and equal ones by their key.
pub fn sorted(mut rows: Vec<(Rank, u64)>, reverse: bool) -> Vec<Line> {
    rows.sort_unstable();
    if reverse {
        rows.reverse();
    }
    rows.into_iter().map(|(_, key)| Line::Row(key)).collect()
}

/// The columns of a page that can be sorted.
pub fn columns(page: &Page) -> &'static [Column] {
    match page {
        Page::Queue => queue::COLUMNS,
        Page::Builders => builders::COLUMNS,
        Page::Recipes => recipes::COLUMNS,
        Page::Repository => repository::CHANNELS,
        Page::Channel(_) => repository::VERSIONS,
        Page::Packages(_) => repository::PACKAGES,
        Page::Events => events::COLUMNS,
        Page::Peers => peers::COLUMNS,
        _ => &[],
    }
}

/// What rows of a page can be told apart by in a filter: the keys of `/-l key=value`.
pub fn labels(page: &Page) -> &'static [&'static str] {
    match page {
        Page::Queue => queue::LABELS,
        Page::Builders => builders::LABELS,
        Page::Recipes => recipes::LABELS,
        Page::Repository => repository::CHANNEL_LABELS,
        Page::Channel(_) => repository::VERSION_LABELS,
        Page::Packages(_) => repository::PACKAGE_LABELS,
        Page::Events => events::LABELS,
        Page::Peers => peers::LABELS,
        _ => &[],
    }
}

/// A label that is there or not.
pub fn yes_no(is: bool) -> Option<String> {
    Some(if is { "yes" } else { "no" }.to_owned())
}

/// The rows of a page, in order.
pub fn lines(app: &App, sheet: &Sheet) -> Vec<Line> {
    match &sheet.page {
        Page::Farm => farm::lines(app),
        Page::Queue => queue::lines(app, sheet),
        Page::Builders => builders::lines(app, sheet),
        Page::Recipes => recipes::lines(sheet),
        Page::Repository => repository::channels(app, sheet),
        Page::Channel(name) => repository::versions(app, sheet, name),
        Page::Packages(_) => repository::packages(sheet),
        Page::Events => events::lines(app, sheet),
        Page::Peers => peers::lines(app, sheet),
        Page::Graph(_) => graph::lines(app, sheet),
        _ => Vec::new(),
    }
}

/// The text of a page.
pub fn doc(app: &App, sheet: &Sheet, width: u16) -> Doc {
    let mut doc = Doc::new(width);
    if let Some(words) = app.missing(sheet) {
        doc.words(Ink::Warn, words);
        doc.gap();
    }
    match &sheet.page {
        Page::Job(id) => job::doc(app, sheet, *id, &mut doc),
        Page::Why(_) => texts::why(app, sheet, &mut doc),
        Page::Recipe(_) => recipes::doc(app, sheet, &mut doc),
        Page::Builder(name) => builder::doc(app, sheet, name, &mut doc),
        Page::Version(version, channel) => {
            repository::version_doc(sheet, version, channel, &mut doc);
        }
        Page::Event(event) => events::doc(app, event, &mut doc),
        // What a command printed is read in full; JSON has lines of its own.
        Page::Raw(name, text) if name.starts_with("massif ") => {
            text.lines().for_each(|line| doc.words(Ink::Plain, line));
        }
        Page::Raw(_, text) => text
            .lines()
            .for_each(|line| doc.line(vec![(Ink::Plain, line.to_owned())], None)),
        Page::Peer(name) => peers::doc(app, name, &mut doc),
        Page::Printed(words) => texts::printed(sheet, words, &mut doc),
        Page::History => texts::history(app, &mut doc),
        _ => {}
    }
    doc
}

/// Draws the page that is seen.
pub fn draw(pen: &mut Pen<'_>, app: &App) {
    let sheet = app.sheet();
    match sheet.page.shape() {
        Shape::Board => farm::draw(pen, app),
        Shape::Log => log::draw(pen, app),
        Shape::Text => {
            // In a list of commands one is meant from the start.
            let listed = sheet.page == Page::History;
            let at = (listed || !sheet.spot.untouched).then_some(sheet.spot.at);
            doc::draw(pen, &sheet.doc, sheet.spot.offset, at);
            let lines = sheet.doc.lines.len();
            more(pen, sheet.spot.offset, lines, usize::from(pen.height()));
        }
        Shape::Table => table(pen, app, sheet),
    }
}

/// Says that there is more below than the screen shows.
fn more(pen: &mut Pen<'_>, offset: usize, lines: usize, height: usize) {
    let below = lines.saturating_sub(offset + height);
    if below > 0 && pen.height() > 2 {
        let words = format!(" {below} more ");
        let y = pen.height() - 1;
        let width = pen.width();
        pen.right(0, y, width, &words, Ink::Bar);
    }
}

fn table(pen: &mut Pen<'_>, app: &App, sheet: &Sheet) {
    let all = match &sheet.page {
        Page::Graph(_) => graph::COLUMNS,
        page => columns(page),
    };
    let look = Look {
        rows: sheet.lines.len(),
        offset: sheet.spot.offset,
        selected: Some(sheet.spot.at),
        sort: (!columns(&sheet.page).is_empty()).then_some(sheet.sort),
        reverse: sheet.reverse,
    };
    super::table::draw(pen, all, &look, |at| match sheet.lines.get(at)? {
        Line::Heading(words) => Some(Row::Heading(Cow::Borrowed(words))),
        Line::Row(key) => row(app, sheet, *key),
    });
    if sheet.lines.is_empty() {
        let words = empty(app, sheet);
        let ink = if app.missing(sheet).is_some() {
            Ink::Warn
        } else {
            Ink::Faint
        };
        for (at, line) in doc::wrap(&words, usize::from(pen.width()))
            .iter()
            .enumerate()
        {
            let width = pen.width();
            pen.text(0, 2 + u16::try_from(at).unwrap_or(0), width, line, ink);
        }
    }
}

fn row<'a>(app: &'a App, sheet: &'a Sheet, key: u64) -> Option<Row<'a>> {
    match &sheet.page {
        Page::Queue => queue::row(app, key),
        Page::Builders => builders::row(app, key),
        Page::Recipes => recipes::row(app, sheet, key),
        Page::Repository | Page::Channel(_) if repository::next_job(key).is_some() => {
            repository::next_row(app, key)
        }
        Page::Repository => repository::channel_row(sheet, key),
        Page::Channel(_) => repository::version_row(sheet, key),
        Page::Packages(_) => repository::package_row(sheet, key),
        Page::Events => events::row(app, key),
        Page::Peers => peers::row(app, key),
        Page::Graph(_) => graph::row(app, sheet, key),
        _ => None,
    }
}

/// The words of the row that a person stands on, where its column is too narrow for them.
pub fn cut_words(app: &App) -> Option<String> {
    let sheet = app.sheet();
    if sheet.page.shape() != Shape::Table {
        return None;
    }
    let Row::Fields(fields) = row(app, sheet, sheet.key()?)? else {
        return None;
    };
    let all = columns(&sheet.page);
    let places = super::table::layout(all, body_width(app));
    // The column that grows most is the one of sentences.
    let (_, own, (words, _)) = all
        .iter()
        .zip(places)
        .zip(fields)
        .map(|((column, (_, own)), field)| (column.grows, own, field))
        .max_by_key(|(grows, ..)| *grows)?;
    (own > 0 && super::pen::columns(&words) > usize::from(own)).then(|| words.into_owned())
}

/// Why there are no rows.
fn empty(app: &App, sheet: &Sheet) -> String {
    let data = app.shown();
    if let Some(words) = app.missing(sheet) {
        return words;
    }
    if sheet.filter.is_on() {
        let labels = labels(&sheet.page);
        return match sheet.filter.unknown(labels) {
            Some(label) => format!(
                "no label {label} on this page; there are: {}. Esc clears the filter",
                labels.join(" ")
            ),
            None => format!(
                "nothing matches /{}; Esc clears the filter",
                sheet.filter.typed()
            ),
        };
    }
    let waiting = match &sheet.page {
        Page::Queue => !data.whole,
        Page::Builders => !data.builders_known,
        Page::Events => data.status.is_none(),
        Page::Peers => !data.peers_known,
        _ => sheet.content.is_none(),
    };
    if waiting {
        return app.asking_words();
    }
    match &sheet.page {
        Page::Queue if app.then().is_some() => "there were no jobs yet".into(),
        Page::Builders if app.then().is_some() => {
            "the log knows of no builder that had built or was held by then".into()
        }
        Page::Queue => "no jobs yet. A project brings them: massif project add NAME URL".into(),
        Page::Builders => "no builders: this farm cannot build yet".into(),
        Page::Recipes => {
            "no recipes yet. A project brings them: massif project add NAME URL".into()
        }
        Page::Repository => "no channels yet: the first profile opens one".into(),
        Page::Packages(_) => "no packages are published yet".into(),
        Page::Events => "nothing has happened yet".into(),
        Page::Peers => {
            "nobody else belongs to this farm yet; :invite --role avalanche asks a builder in"
                .into()
        }
        _ => "nothing here".into(),
    }
}

/// Moves in a text: the screen moves, and a person stands on the links in between.
pub fn read_on(sheet: &mut Sheet, by: isize, height: usize) {
    // In a list of commands one stands on the first from the start.
    let listed = sheet.page == Page::History;
    let lines = &sheet.doc.lines;
    let last = lines.len().saturating_sub(height);
    let spot = &mut sheet.spot;
    let is_link = |at: usize| lines.get(at).is_some_and(|line| line.is_place());
    let end = (spot.offset + height).min(lines.len());
    let next = if spot.untouched && by == 1 && !listed {
        (spot.offset..end).find(|at| is_link(*at))
    } else {
        match by {
            1 => (spot.at + 1..end).find(|at| is_link(*at)),
            -1 => (spot.offset..spot.at).rev().find(|at| is_link(*at)),
            _ => None,
        }
    };
    match next {
        Some(at) => spot.at = at,
        None => {
            spot.offset = spot.offset.saturating_add_signed(by).min(last);
            let end = (spot.offset + height).min(lines.len());
            if !(spot.offset..end).contains(&spot.at) || spot.untouched || !is_link(spot.at) {
                let mut seen = spot.offset..end;
                let found = if by > 0 {
                    seen.rev().find(|at| is_link(*at))
                } else {
                    seen.find(|at| is_link(*at))
                };
                spot.at = found.unwrap_or(spot.offset);
            }
        }
    }
    spot.untouched = false;
    spot.key = Some(spot.at as u64);
}

/// Which line stands in this row and column of the page.
pub fn line_at(app: &App, row: usize, x: u16) -> Option<usize> {
    let sheet = app.sheet();
    let at = match sheet.page.shape() {
        Shape::Table => sheet.spot.offset + row.checked_sub(1)?,
        Shape::Text => sheet.spot.offset + row,
        Shape::Board => return farm::line_at(app, row, x),
        Shape::Log => return None,
    };
    (at < sheet.lines.len()).then_some(at)
}

/// A small gauge in text.
pub fn bar(theme: &Theme, part: f64, columns: usize) -> String {
    let part = if part.is_finite() {
        part.clamp(0.0, 1.0)
    } else {
        0.0
    };
    let full = (part * columns as f64).round() as usize;
    let (on, off) = if theme.ascii {
        ('#', '.')
    } else {
        ('█', '░')
    };
    let mut out = String::with_capacity(columns * 3);
    for at in 0..columns {
        out.push(if at < full { on } else { off });
    }
    out
}

/// The width of the body, for texts.
pub fn body_width(app: &App) -> u16 {
    draw::body(app.size).width
}
