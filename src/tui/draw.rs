//! The frame around the pages: who and how old at the top, the path, words and keys at the bottom, and what lies over
//! the page: help and questions.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::app::{App, Pending, Prompt, PromptFor};
use super::ask::Action;
use super::data::Link;
use super::filter::{self, Form};
use super::keys::{self, Part};
use super::page::{Page, Shape, TABS};
use super::pen::{Pen, columns};
use super::theme::{Ink, Sign};
use super::{doc, views};
use crate::admin::Right;
use crate::cli::show;

/// Smaller terminals get a message.
pub const LEAST: (u16, u16) = (60, 15);
/// Columns from which on the help has two halves: each has room for its longest line.
const HELP_HALVES: u16 = 164;
/// Endings of a command that are shown behind it.
const ENDINGS_MAX: usize = 6;

/// Where the page is, on a terminal of this size.
pub fn body((columns, rows): (u16, u16)) -> Rect {
    Rect {
        x: 0,
        y: 2.min(rows),
        width: columns,
        height: rows.saturating_sub(4),
    }
}

/// The whole screen.
pub fn render(app: &App) -> Buffer {
    let (columns, rows) = app.size;
    let mut buffer = Buffer::empty(Rect::new(0, 0, columns, rows));
    let area = *buffer.area();
    let mut pen = Pen::new(&mut buffer, &app.theme, area);
    if columns < LEAST.0 || rows < LEAST.1 {
        too_small(&mut pen, app);
        return buffer;
    }
    top(&mut pen.part(0, 0, columns, 1), app);
    path(&mut pen.part(0, 1, columns, 1), app);
    let place = body(app.size);
    let mut page = pen.part(place.x, place.y, place.width, place.height);
    match app.help {
        Some(from) => help(&mut page, app, from),
        None => views::draw(&mut page, app),
    }
    words(&mut pen.part(0, rows - 2, columns, 1), app);
    bottom(&mut pen.part(0, rows - 1, columns, 1), app);
    if let Some(pending) = &app.pending {
        question(&mut pen, app, pending);
    }
    buffer
}

fn too_small(pen: &mut Pen<'_>, app: &App) {
    let (columns, rows) = app.size;
    let words = format!(
        "{columns}x{rows} is too small: massif needs {}x{}. Enlarge the terminal, or use `massif status`. q quits.",
        LEAST.0, LEAST.1
    );
    for (y, line) in (0..rows).zip(doc::wrap(&words, usize::from(columns))) {
        pen.text(0, y, columns, &line, Ink::Plain);
    }
}

/// Where a numbered page stands in the top line.
fn tab_places() -> Vec<(u16, u16, &'static Page)> {
    let mut x = 8;
    TABS.iter()
        .map(|(_, name, page)| {
            let own = u16::try_from(name.len()).unwrap_or(0) + 2;
            let place = (x, own, page);
            x += own + 2;
            place
        })
        .collect()
}

/// The numbered page at this place of the screen.
pub fn tab_at(x: u16, y: u16) -> Option<Page> {
    (y == 0).then_some(())?;
    tab_places()
        .into_iter()
        .find(|(from, own, _)| (*from..*from + *own).contains(&x))
        .map(|(_, _, page)| page.clone())
}

fn top(pen: &mut Pen<'_>, app: &App) {
    let width = pen.width();
    let (ink, state) = link_words(app);
    let own = u16::try_from(columns(&state)).unwrap_or(0);
    pen.text(0, 0, 7, "massif", Ink::Title);
    let first = app.stack.first().map(|sheet| &sheet.page);
    let room = width.saturating_sub(own + 1);
    for ((x, own, page), (key, name, _)) in tab_places().into_iter().zip(TABS) {
        if x + own > room {
            break;
        }
        let here = first == Some(page);
        let label = format!("{key} {name}");
        let used = pen.text(x, 0, own, key.encode_utf8(&mut [0; 4]), Ink::Key);
        if here {
            pen.text(x, 0, own, &label, Ink::Bar);
        } else {
            pen.text(x + used, 0, own, &format!(" {name}"), Ink::Plain);
        }
    }
    pen.right(0, 0, width, &state, ink);
}

/// How old the data is, and whether the connection works.
fn link_words(app: &App) -> (Ink, String) {
    let theme = &app.theme;
    if let Some(past) = &app.past {
        let page = &app.sheet().page;
        if page.tells_past() || page.is_timeless() {
            let words = format!("{} AS OF {}, a: now", theme.sign(Sign::Frozen), past.seq);
            return (Ink::Warn, words);
        }
        if app.data.is_live(app.now) {
            return (Ink::Warn, format!("{} of now", theme.sign(Sign::Live)));
        }
    }
    if let Some((_, at)) = &app.frozen {
        let age = app.now.mono_ms.saturating_sub(at.mono_ms) as f64 / 1000.0;
        let age = views::queue::whole_span(age);
        return (
            Ink::Warn,
            format!("{} FROZEN {age} ago, f goes on", theme.sign(Sign::Frozen)),
        );
    }
    let data = &app.data;
    let age = app.age_s().map(views::queue::whole_span);
    match (&data.link, age) {
        (Link::Connecting, _) => (Ink::Warn, format!("{} connecting", theme.sign(Sign::Old))),
        (Link::Live, _) if data.is_live(app.now) => {
            let right = match data.right() {
                "view" => ", read-only",
                _ => "",
            };
            (Ink::Good, format!("{} live{right}", theme.sign(Sign::Live)))
        }
        (Link::Live, Some(age)) => {
            let words = format!("{} quiet, data {age} old", theme.sign(Sign::Old));
            (Ink::Warn, words)
        }
        (Link::Live, None) => (Ink::Warn, format!("{} quiet", theme.sign(Sign::Old))),
        (Link::Lost { .. }, Some(age)) => (
            Ink::Bad,
            format!("{} LOST, data {age} old", theme.sign(Sign::Old)),
        ),
        (Link::Lost { .. }, None) if data.heard_ms.is_some() => (
            Ink::Bad,
            format!("{} LOST, never read", theme.sign(Sign::Old)),
        ),
        (Link::Lost { .. }, None) => (Ink::Bad, format!("{} no answer", theme.sign(Sign::Old))),
    }
}

fn path(pen: &mut Pen<'_>, app: &App) {
    let width = pen.width();
    let data = app.shown();
    let mut right = data.status.as_ref().map_or_else(String::new, |status| {
        let clock = show::moment(app.clock());
        format!(
            "{} {}",
            status.host.name,
            clock.get(11..16).unwrap_or_default()
        )
    });
    if !right.is_empty() {
        right.push_str(" UTC");
    }
    let into = format!(" {} ", app.theme.sign(Sign::Into));
    let names: Vec<String> = app.stack.iter().map(|sheet| sheet.page.name()).collect();
    let sheet = app.sheet();
    let mut left = names.join(&into);
    if sheet.filter.is_on() {
        left.push_str(&format!("  /{}", sheet.filter.typed()));
    }
    if sheet.page.shape() == Shape::Table {
        let rows = sheet
            .lines
            .iter()
            .filter(|line| matches!(line, super::list::Line::Row(_)))
            .count();
        let at = if rows == 0 { 0 } else { row_number(app) };
        left.push_str(&format!("  {at}/{rows}"));
    }
    if let Page::Channel(_) = sheet.page
        && let Some(age) = views::repository::newest_age(app, sheet)
    {
        left.push_str(&format!("  {age}"));
    }
    let own = u16::try_from(columns(&right)).unwrap_or(0);
    pen.text(0, 0, width.saturating_sub(own + 1), &left, Ink::Strong);
    pen.right(0, 0, width, &right, Ink::Faint);
}

fn row_number(app: &App) -> usize {
    let sheet = app.sheet();
    sheet
        .lines
        .iter()
        .take(sheet.spot.at + 1)
        .filter(|line| matches!(line, super::list::Line::Row(_)))
        .count()
}

/// The line above the keys: what is typed, what was said, what is wrong with the data.
fn words(pen: &mut Pen<'_>, app: &App) {
    let width = pen.width();
    if let Some(prompt) = &app.prompt {
        return typed(pen, app, prompt);
    }
    let said = match &app.notice {
        Some(notice) => Some((notice.ink, notice.words.clone())),
        None => app.moment_words().map(|words| (Ink::Warn, words)),
    };
    let said = said
        .or_else(|| troubles(app))
        .or_else(|| app.page_words())
        .or_else(|| advice(app))
        .or_else(|| requests(app));
    if let Some((ink, said)) = said {
        pen.text(0, 0, width, &said, ink);
    }
}

/// What is typed, and what Tab would make of it.
fn typed(pen: &mut Pen<'_>, app: &App, prompt: &Prompt) {
    let width = pen.width();
    let log = app.sheet().log.is_some();
    let lead = match &prompt.kind {
        PromptFor::Filter if log => "search: ",
        PromptFor::Filter => "filter: /",
        PromptFor::Command => ":",
        PromptFor::Reason(Action::Rename { .. }) => "new name: ",
        PromptFor::Reason(_) => "reason: ",
    };
    let mut x = pen.text(0, 0, width, lead, Ink::Key);
    // The end of what is typed stays on the screen.
    let room = usize::from(width.saturating_sub(x + 2));
    let count = prompt.typed.chars().count();
    let shown: String = prompt
        .typed
        .chars()
        .skip(count.saturating_sub(room))
        .collect();
    x += pen.text(x, 0, width.saturating_sub(x + 1), &shown, Ink::Plain);
    pen.text(x, 0, 1, app.theme.sign(Sign::Cursor), Ink::Key);
    if let Some((endings, at)) = &prompt.endings {
        let more: Vec<&str> = endings
            .iter()
            .cycle()
            .skip(at + 1)
            .take(endings.len().saturating_sub(1).min(ENDINGS_MAX))
            .filter_map(|ending| ending.rsplit(' ').next())
            .collect();
        let room = width.saturating_sub(x + 2);
        pen.text(x + 2, 0, room, &more.join("  "), Ink::Faint);
    }
}

/// What is wrong with the data.
fn troubles(app: &App) -> Option<(Ink, String)> {
    let data = &app.data;
    match (&data.link, data.other_schema(), &data.gap) {
        (Link::Lost { why, again_ms, .. }, _, _) => {
            let left = again_ms.saturating_sub(app.now.mono_ms).div_ceil(1000);
            let since = app.away_since().unwrap_or_default();
            let words = format!("away since {since}, trying again in {left}s: {why}");
            Some((Ink::Bad, words))
        }
        (_, Some(schema), _) => Some((
            Ink::Warn,
            format!(
                "this host speaks schema {schema}, this dashboard {}: what is shown may be incomplete",
                crate::admin::SCHEMA
            ),
        )),
        (_, None, Some(gap)) => Some((
            Ink::Warn,
            format!("events between {} and {} were lost", gap.after, gap.before),
        )),
        (Link::Connecting | Link::Live, None, None) => None,
    }
}

/// What helps on this page.
fn advice(app: &App) -> Option<(Ink, String)> {
    match &app.sheet().page {
        Page::Farm => views::farm::advice(app).map(|advice| (Ink::Plain, advice)),
        Page::Peers | Page::Peer(_) => Some((Ink::Faint, views::peers::advice(app))),
        _ => views::cut_words(app).map(|words| (Ink::Plain, words)),
    }
}

/// Who wants to join.
fn requests(app: &App) -> Option<(Ink, String)> {
    let count = app.data.requests().count();
    let words = match count {
        1 => "1 wants to join and waits for approval: 7 shows its words".to_owned(),
        count => format!("{count} want to join and wait for approval: 7 shows their words"),
    };
    (count > 0).then_some((Ink::Warn, words))
}

/// The keys that do something now, the most useful first, as many as fit.
fn bottom(pen: &mut Pen<'_>, app: &App) {
    let width = pen.width();
    let typing: &[(&str, &str)] = match (&app.pending, &app.prompt, app.help) {
        (Some(_), _, _) => &[("y", "yes"), ("any other key", "no")],
        (None, Some(prompt), _) if prompt.kind == PromptFor::Command => {
            &[("Enter", "do it"), ("Tab", "complete"), ("Esc", "leave")]
        }
        (None, Some(_), _) => &[("Enter", "take it"), ("Esc", "leave")],
        (None, None, Some(_)) => &[("j k", "move"), ("any other key", "back")],
        (None, None, None) => &[],
    };
    let hints = match typing {
        [] => hints(app),
        typing => typing.to_vec(),
    };
    let mut x = 0;
    for (label, hint) in hints {
        let label = label
            .split(' ')
            .next()
            .filter(|_| label != "any other key" && label != "j k")
            .unwrap_or(label);
        let own = u16::try_from(columns(label) + columns(hint) + 1).unwrap_or(u16::MAX);
        if x + own > width {
            break;
        }
        x += pen.spans(
            x,
            0,
            width - x,
            &[(Ink::Key, label), (Ink::Plain, " "), (Ink::Faint, hint)],
        );
        x += 2;
    }
}

/// What keys do now, the most useful first: what lies under the finger most, then what this page adds.
fn hints(app: &App) -> Vec<(&'static str, &'static str)> {
    let active = keys::active(app);
    let hinted = active.iter().filter(|binding| !binding.hint.is_empty());
    let find = |label: &str| {
        let mut hinted = hinted.clone();
        let found = hinted.find(|binding| binding.label == label)?;
        Some((found.label, found.hint))
    };
    let mut hints: Vec<_> = ["?", "Enter", "Esc"].into_iter().filter_map(find).collect();
    if app.past.is_some() {
        hints.extend(["a", "[", "]"].into_iter().filter_map(find));
    }
    // In a log its own keys are the useful ones.
    let (first, second) = match app.sheet().page.shape() {
        Shape::Log => (Part::Log, Part::Look),
        _ => (Part::Look, Part::Log),
    };
    // Nobody is invited to what would not be done.
    let acts = !app.is_away() && app.data.right() != Right::View.as_str();
    for part in [
        first,
        second,
        Part::Act,
        Part::View,
        Part::Move,
        Part::Program,
    ] {
        if part == Part::Act && !acts {
            continue;
        }
        let own = hinted.clone().filter(|binding| binding.part == part);
        hints.extend(own.map(|binding| (binding.label, binding.hint)));
    }
    let mut seen: Vec<(&str, &str)> = Vec::new();
    hints.retain(|hint| {
        let fresh = !seen.contains(hint);
        seen.push(*hint);
        fresh
    });
    hints
}

/// The question before something is done: the object, the effect, the same as a command line; no is the default.
fn question(pen: &mut Pen<'_>, app: &App, pending: &Pending) {
    let (columns, rows) = app.size;
    let width = columns.saturating_sub(4).min(100);
    let inner = usize::from(width.saturating_sub(4));
    let mut lines: Vec<(Ink, String)> = Vec::new();
    match pending {
        Pending::Act(action) => {
            let effect = doc::wrap(&action.effect(), inner);
            lines.extend(effect.into_iter().map(|line| (Ink::Strong, line)));
            lines.push((Ink::Plain, String::new()));
            let command = doc::wrap(&format!("the same: {}", action.command()), inner);
            lines.extend(command.into_iter().map(|line| (Ink::Faint, line)));
        }
        Pending::Quit => {
            let words = "This dashboard runs the farm: leaving it stops the farm. Running builds are given back and begin again at the next start.";
            lines.extend(
                doc::wrap(words, inner)
                    .into_iter()
                    .map(|line| (Ink::Strong, line)),
            );
        }
    }
    lines.push((Ink::Plain, String::new()));
    let height = u16::try_from(lines.len()).unwrap_or(0) + 3;
    let y = rows.saturating_sub(height) / 2;
    let x = (columns - width) / 2;
    let mut place = pen.part(x, y, width, height);
    place.clear();
    let (width, height) = (place.width(), place.height());
    frame(&mut place);
    for (at, (ink, line)) in (1..).zip(&lines) {
        place.text(2, at, width.saturating_sub(4), line, *ink);
    }
    place.spans(
        2,
        height.saturating_sub(2),
        width.saturating_sub(4),
        &[
            (Ink::Key, "y"),
            (Ink::Plain, " do it    "),
            (Ink::Key, "N"),
            (Ink::Plain, " leave it (default)"),
        ],
    );
}

fn frame(pen: &mut Pen<'_>) {
    let (width, height) = (pen.width(), pen.height());
    let corners = if pen.theme.ascii {
        ["+", "+", "+", "+", "-", "|"]
    } else {
        ["┌", "┐", "└", "┘", "─", "│"]
    };
    let [a, b, c, d, across, down] = corners;
    let last = (width.saturating_sub(1), height.saturating_sub(1));
    for x in 1..last.0 {
        pen.text(x, 0, 1, across, Ink::Warn);
        pen.text(x, last.1, 1, across, Ink::Warn);
    }
    for y in 1..last.1 {
        pen.text(0, y, 1, down, Ink::Warn);
        pen.text(last.0, y, 1, down, Ink::Warn);
    }
    pen.text(0, 0, 1, a, Ink::Warn);
    pen.text(last.0, 0, 1, b, Ink::Warn);
    pen.text(0, last.1, 1, c, Ink::Warn);
    pen.text(last.0, last.1, 1, d, Ink::Warn);
}

enum HelpLine {
    Title(&'static str),
    Key(&'static keys::Binding),
    Form(&'static Form),
    Words(String),
}

const SIGNS: &[&str] = &[
    "Jobs: W waiting, R ready, B building, U publishing, P published, F failed,",
    "      C cancelled, S superseded. Builders: F fit, L low, D draining, S stalled,",
    "      Q quarantined, A away, U unknown.",
];

fn help_page(app: &App) -> Vec<HelpLine> {
    let active = keys::active(app);
    let mut lines = Vec::new();
    for (part, title) in Part::ALL {
        let own: Vec<_> = active
            .iter()
            .filter(|binding| binding.part == part)
            .collect();
        if !own.is_empty() {
            lines.push(HelpLine::Title(title));
            lines.extend(own.into_iter().map(|binding| HelpLine::Key(binding)));
        }
        if part == Part::View && keys::filters(app) {
            lines.push(HelpLine::Title("Filter rows"));
            lines.extend(filter::FORMS.iter().map(HelpLine::Form));
            lines.push(HelpLine::Form(&filter::INVERSE));
            let labels = views::labels(&app.sheet().page).join(", ");
            lines.push(HelpLine::Words(format!("labels here: {labels}")));
        }
    }
    lines.push(HelpLine::Title("Signs"));
    lines.extend(
        SIGNS
            .iter()
            .map(|words| HelpLine::Words((*words).to_owned())),
    );
    lines
}

/// Lines of the help page.
pub fn help_lines(app: &App) -> usize {
    help_page(app).len()
}

/// Lines of it that the screen has room for.
pub fn help_page_lines(app: &App) -> usize {
    let body = body(app.size);
    usize::from(body.height) * usize::from(help_halves(body.width))
}

/// A wide screen shows it in two halves.
fn help_halves(width: u16) -> u16 {
    if width >= HELP_HALVES { 2 } else { 1 }
}

fn help(pen: &mut Pen<'_>, app: &App, from: usize) {
    let (width, height) = (pen.width(), pen.height());
    let lines = help_page(app);
    let halves = help_halves(width);
    let own = width / halves;
    let mut rest = lines.iter().skip(from);
    for half in 0..halves {
        let mut part = pen.part(half * own, 0, own.saturating_sub(halves - 1), height);
        for (y, line) in (0..height).zip(rest.by_ref()) {
            help_line(&mut part, y, line);
        }
    }
    let below = rest.count();
    if below > 0 {
        let y = height.saturating_sub(1);
        pen.right(0, y, width, &format!(" {below} more "), Ink::Bar);
    }
}

fn help_line(pen: &mut Pen<'_>, y: u16, line: &HelpLine) {
    let width = pen.width();
    let mut pair = |label: &str, help: &str| {
        pen.text(2, y, 12, label, Ink::Key);
        pen.text(15, y, width.saturating_sub(15), help, Ink::Plain);
    };
    match line {
        HelpLine::Title(title) => pen.heading(y, title, ""),
        HelpLine::Key(binding) => pair(binding.label, binding.help),
        HelpLine::Form(form) => pair(form.label, form.help),
        HelpLine::Words(words) => {
            pen.text(2, y, width.saturating_sub(2), words, Ink::Plain);
        }
    }
}
