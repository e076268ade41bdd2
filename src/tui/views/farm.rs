//! The farm on one page: alarms first, then what runs, counts, throughput, builders, and what happened last.

use super::queue::{predicted, progress_words, whole_span};
use crate::admin::view::{AlarmView, JobState};
use crate::cli::{show, text};
use crate::id::JobId;
use crate::tui::app::App;
use crate::tui::draw;
use crate::tui::list::Line;
use crate::tui::page::Page;
use crate::tui::pen::{Pen, columns};
use crate::tui::theme::{Ink, Sign};

/// Keys from here on are alarms; below are jobs.
pub const ALARM: u64 = 1 << 62;
/// Rows of one kind at most.
const ROWS_MAX: usize = 500;
/// Columns from which on the page has two halves.
const TWO_HALVES: u16 = 110;

/// What a person can stand on: alarms, what runs, what failed last.
pub fn lines(app: &App) -> Vec<Line> {
    let data = app.shown();
    let mut lines: Vec<Line> = Vec::new();
    if let Some(status) = &data.status {
        let alarms = status.alarms.len().min(ROWS_MAX) as u64;
        lines.extend((0..alarms).map(|at| Line::Row(ALARM + at)));
    }
    let mut running: Vec<(i64, u64)> = data
        .jobs()
        .filter(|job| matches!(job.state, JobState::Building | JobState::Publishing))
        .map(|job| {
            let since = job.attempts.last().map_or(0, |attempt| attempt.started.0);
            (since, job.id.0)
        })
        .collect();
    running.sort_unstable();
    lines.extend(running.iter().take(ROWS_MAX).map(|(_, id)| Line::Row(*id)));
    let mut failed: Vec<(i64, u64)> = data
        .jobs()
        .filter(|job| job.state == JobState::Failed)
        .map(|job| (-job.ended.map_or(0, |ended| ended.0), job.id.0))
        .collect();
    failed.sort_unstable();
    lines.extend(failed.iter().take(50).map(|(_, id)| Line::Row(*id)));
    lines
}

fn alarm(app: &App, key: u64) -> Option<&AlarmView> {
    let at = usize::try_from(key.checked_sub(ALARM)?).ok()?;
    app.shown().status.as_ref()?.alarms.get(at)
}

/// Where an alarm leads.
pub fn alarm_page(app: &App, key: u64) -> Option<Page> {
    let alarm = alarm(app, key)?;
    let subject = alarm.subject.clone()?;
    if alarm.kind.starts_with("builder") && app.shown().builder(&subject).is_some() {
        return Some(Page::Builder(subject));
    }
    Some(Page::Why(subject))
}

/// Rows that each part of the left half takes.
struct Plan {
    alarms: Vec<usize>,
    running: Vec<usize>,
    failed: Vec<usize>,
    room: [usize; 3],
}

fn plan(app: &App, height: usize) -> Plan {
    let sheet = app.sheet();
    let data = app.shown();
    let mut plan = Plan {
        alarms: Vec::new(),
        running: Vec::new(),
        failed: Vec::new(),
        room: [0; 3],
    };
    for (at, line) in sheet.lines.iter().enumerate() {
        let Line::Row(key) = line else { continue };
        if *key >= ALARM {
            plan.alarms.push(at);
        } else if data
            .job(JobId(*key))
            .is_some_and(|job| job.state == JobState::Failed)
        {
            plan.failed.push(at);
        } else {
            plan.running.push(at);
        }
    }
    let half = height / 2;
    let alarms = plan.alarms.len().min((height / 3).max(2));
    let failed = plan.failed.len().min((height / 4).max(2));
    let running = plan.running.len().min(half.max(2));
    plan.room = [alarms, running, failed];
    plan
}

/// The rows of a part that are shown: around the one that a person stands on.
fn window(rows: &[usize], room: usize, at: usize) -> &[usize] {
    let place = rows.iter().position(|row| *row == at).unwrap_or(0);
    let from = (place + 1).saturating_sub(room);
    rows.get(from..(from + room).min(rows.len()))
        .unwrap_or(rows)
}

fn top_height(width: u16) -> u16 {
    if width >= TWO_HALVES { 3 } else { 4 }
}

/// Draws the page.
pub fn draw(pen: &mut Pen<'_>, app: &App) {
    let width = pen.width();
    let height = pen.height();
    let top = top_height(width).min(height);
    head(&mut pen.part(0, 0, width, top), app);
    let rest = height.saturating_sub(top);
    if width >= TWO_HALVES && !app.sheet().expanded {
        let left = width * 3 / 5;
        work(&mut pen.part(0, top, left - 1, rest), app, 0);
        let mut side = pen.part(left + 1, top, width, rest);
        let used = builders(&mut side, app);
        events(&mut side.below(used), app);
    } else {
        let spare = if app.sheet().expanded { 0 } else { rest / 3 };
        let used = work(&mut pen.part(0, top, width, rest), app, usize::from(spare));
        let mut below = pen.below(top + used);
        if !app.sheet().expanded {
            events(&mut below, app);
        }
    }
}

/// States in the order of what a person looks for first, with their words for a narrow screen.
const STATES: &[(JobState, &str)] = &[
    (JobState::Building, "building"),
    (JobState::Publishing, "publish"),
    (JobState::Failed, "failed"),
    (JobState::Ready, "ready"),
    (JobState::Waiting, "wait"),
    (JobState::Published, "done"),
    (JobState::Cancelled, "cancelled"),
    (JobState::Superseded, "superseded"),
];

/// Counts, throughput, end, builders in short.
fn head(pen: &mut Pen<'_>, app: &App) {
    let width = pen.width();
    let data = app.shown();
    counts(pen, app);
    let last_hour = data
        .status
        .as_ref()
        .map(|status| status.published_last_hour);
    let rate = last_hour.map_or("unknown".to_owned(), |count| count.to_string());
    let mut x = pen.spans(
        0,
        1,
        width,
        &[
            (Ink::Faint, "published in the last hour "),
            (Ink::Strong, &rate),
            (Ink::Plain, " "),
        ],
    );
    let spark = (width / 5).clamp(8, 48);
    let bins = usize::from(spark) * 2;
    let values = data.throughput(app.clock(), bins, 3_600.0 / 12.0);
    let shown = if app.theme.graphs == crate::tui::theme::Graphs::Braille {
        &values[..]
    } else {
        values.get(usize::from(spark)..).unwrap_or(&values)
    };
    pen.spark(x, 1, spark, shown, Ink::Busy);
    x += spark + 2;
    let (end, late) = data
        .status
        .as_ref()
        .map_or((None, None), |status| (status.end_p50_s, status.end_p90_s));
    let open = data.count(JobState::Waiting)
        + data.count(JobState::Ready)
        + data.count(JobState::Building)
        + data.count(JobState::Publishing);
    let end = match (open, end, late) {
        _ if app.then().is_some() => String::new(),
        _ if data.status.is_none() => "time left unknown".to_owned(),
        (0, _, _) => "nothing left to do".to_owned(),
        (_, Some(end), late) => format!("done {}", predicted(end, late)),
        (_, None, _) => "time left unknown".to_owned(),
    };
    pen.text(x, 1, width.saturating_sub(x), &end, Ink::Plain);
    longest_way(pen, app);
    if width < TWO_HALVES {
        builders_line(&mut pen.part(0, 2, width, 1), app);
    }
}

/// How many jobs are in which state, in the first line.
fn counts(pen: &mut Pen<'_>, app: &App) {
    let width = pen.width();
    let data = app.shown();
    let mut x = 0;
    for (state, short) in STATES {
        let count = data.count(*state);
        let quiet = matches!(state, JobState::Cancelled | JobState::Superseded);
        if quiet && (count == 0 || width < 100) {
            continue;
        }
        let (sign, ink) = app.theme.state(*state);
        let ink = if count == 0 { Ink::Faint } else { ink };
        // What was not heard yet is unknown, and not none.
        let number = match data.status {
            Some(_) => count.to_string(),
            None => "?".to_owned(),
        };
        let word = match width < 100 {
            true => format!(" {short}  "),
            false => format!(" {}   ", state.as_str()),
        };
        let spans = [
            (ink, sign),
            (Ink::Plain, " "),
            (if count == 0 { Ink::Faint } else { Ink::Strong }, &number),
            (Ink::Faint, &word),
        ];
        x += pen.spans(x, 0, width.saturating_sub(x), &spans);
    }
}

/// The longest chain that is left, on the last line of the head.
fn longest_way(pen: &mut Pen<'_>, app: &App) {
    let status = app.shown().status.as_ref().filter(|_| app.then().is_none());
    let Some(chain) = status.and_then(|status| status.critical_path.as_ref()) else {
        return;
    };
    let names: Vec<&str> = chain.recipes.iter().map(|name| name.as_str()).collect();
    let into = format!(" {} ", app.theme.sign(Sign::Into));
    let more = match chain.builds.saturating_sub(names.len() as u64) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let lead = match chain.seconds {
        ..1.0 => "longest way left: ".to_owned(),
        seconds => format!("longest way left {}: ", whole_span(seconds)),
    };
    let (y, width) = (top_height(pen.width()) - 1, pen.width());
    let way = format!("{}{more}", names.join(&into));
    pen.spans(0, y, width, &[(Ink::Faint, &lead), (Ink::Plain, &way)]);
}

fn verdicts(app: &App) -> Vec<(String, usize)> {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for builder in &app.shown().builders {
        match counts
            .iter_mut()
            .find(|(verdict, _)| *verdict == builder.verdict)
        {
            Some((_, count)) => *count += 1,
            None => counts.push((builder.verdict.clone(), 1)),
        }
    }
    // What needs somebody stands first, and stays where it is.
    counts.sort_by(|a, b| (a.0 == "fit", &a.0).cmp(&(b.0 == "fit", &b.0)));
    counts
}

fn builders_line(pen: &mut Pen<'_>, app: &App) {
    let width = pen.width();
    let data = app.shown();
    let mut x = pen.text(0, 0, width, "builders ", Ink::Faint);
    if data.builders.is_empty() {
        let words = if data.builders_known {
            "none"
        } else {
            "unknown"
        };
        pen.text(x, 0, width.saturating_sub(x), words, Ink::Warn);
        return;
    }
    for (verdict, count) in verdicts(app) {
        let (sign, ink) = app.theme.verdict(&verdict);
        let words = format!(" {count} {verdict}   ");
        x += pen.spans(
            x,
            0,
            width.saturating_sub(x),
            &[(ink, sign), (Ink::Plain, &words)],
        );
    }
    let slots = data
        .builders
        .iter()
        .map(|builder| builder.slots.len())
        .sum::<usize>();
    let busy = data
        .builders
        .iter()
        .flat_map(|builder| &builder.slots)
        .filter(|slot| slot.job.is_some())
        .count();
    let words = match (app.then(), busy) {
        // How many slots there were is not in the log.
        (Some(_), 0) => "nothing was built".to_owned(),
        (Some(_), 1) => "1 build ran".to_owned(),
        (Some(_), busy) => format!("{busy} builds ran"),
        (None, busy) => format!("{busy} of {slots} slots busy"),
    };
    pen.text(x, 0, width.saturating_sub(x), &words, Ink::Faint);
}

/// Alarms, what runs, what failed; the rows that were used.
fn work(pen: &mut Pen<'_>, app: &App, spare: usize) -> u16 {
    let width = pen.width();
    let plan = plan(app, usize::from(pen.height()).saturating_sub(spare));
    let mut y = alarms(pen, app, &plan);
    if let Some(then) = app.then() {
        pen.heading(y, "Not known of that moment", "");
        y += 1;
        for words in &then.unknown {
            pen.text(0, y, width, words, Ink::Faint);
            y += 1;
        }
    }
    if plan.running.is_empty() {
        y = idle(pen, app, y);
    } else {
        let rows = (plan.running.as_slice(), plan.room[1]);
        y = jobs(pen, app, y, "Running", rows);
    }
    if !plan.failed.is_empty() {
        let rows = (plan.failed.as_slice(), plan.room[2]);
        y = jobs(pen, app, y, "Failed", rows);
    }
    y
}

/// The alarms, from the top on; the rows that were used.
fn alarms(pen: &mut Pen<'_>, app: &App, plan: &Plan) -> u16 {
    let width = pen.width();
    match (&app.shown().status, plan.alarms.len()) {
        (None, _) => {
            pen.heading(0, "Alarms", "");
            pen.text(0, 1, width, &app.asking_words(), Ink::Faint);
            2
        }
        (Some(_), 0) if app.then().is_some() => 0,
        (Some(_), 0) => {
            let words = match app.is_away() {
                true => "No alarms when the host was heard last",
                false => "No alarms",
            };
            pen.heading(0, words, "");
            1
        }
        (Some(_), count) => {
            pen.heading(0, &format!("Alarms {count}"), "");
            rows(pen, app, 1, (&plan.alarms, plan.room[0]), alarm_row)
        }
    }
}

/// The rows of one part around the one that a person stands on; where the next part begins.
fn rows(
    pen: &mut Pen<'_>,
    app: &App,
    mut y: u16,
    (all, room): (&[usize], usize),
    draw: fn(&mut Pen<'_>, &App, u16, u64),
) -> u16 {
    let sheet = app.sheet();
    for at in window(all, room, sheet.spot.at) {
        if let Some(Line::Row(key)) = sheet.lines.get(*at) {
            draw(pen, app, y, *key);
            if sheet.spot.at == *at {
                pen.tint(y, Ink::Selected);
            }
            y += 1;
        }
    }
    y
}

/// Jobs under a title, which says how many more there are.
fn jobs(pen: &mut Pen<'_>, app: &App, y: u16, title: &str, (all, room): (&[usize], usize)) -> u16 {
    let note = match all.len().saturating_sub(room) {
        0 => String::new(),
        hidden => format!("{hidden} more in the queue"),
    };
    pen.heading(y, &format!("{title} {}", all.len()), &note);
    rows(pen, app, y + 1, (all, room), job_row)
}

/// That nothing is built, once that is known, and what can be done about it.
fn idle(pen: &mut Pen<'_>, app: &App, mut y: u16) -> u16 {
    if !app.shown().whole {
        return y;
    }
    let width = pen.width();
    pen.heading(y, "Nothing is being built", "");
    y += 1;
    for line in idle_lines(app, width) {
        pen.text(0, y, width, &line, Ink::Faint);
        y += 1;
    }
    y
}

fn idle_lines(app: &App, width: u16) -> Vec<String> {
    let words = idle_words(app);
    words.map_or_else(Vec::new, |words| {
        crate::tui::doc::wrap(&words, usize::from(width))
    })
}

/// What somebody can do about a farm that does nothing.
fn idle_words(app: &App) -> Option<String> {
    let data = app.shown();
    let waiting = data.count(JobState::Waiting) + data.count(JobState::Ready);
    if !data.whole {
        return None;
    }
    if data.jobs_known() == 0 {
        return Some("The queue is empty. massif project add NAME URL brings recipes.".into());
    }
    match waiting {
        0 => None,
        1 => Some("1 waits: the queue (2) says for what.".into()),
        _ => Some(format!("{waiting} wait: the queue (2) says for what.")),
    }
}

/// What can be done about the alarm that a person stands on.
pub fn advice(app: &App) -> Option<String> {
    let key = app.sheet().key().filter(|key| *key >= ALARM)?;
    let next = &alarm(app, key)?.next;
    (!next.is_empty()).then(|| format!("do: {next}"))
}

fn alarm_row(pen: &mut Pen<'_>, app: &App, y: u16, key: u64) {
    let Some(alarm) = alarm(app, key) else { return };
    let width = pen.width();
    let sign = app.theme.sign(Sign::Alarm);
    let next = if alarm.next.is_empty() {
        String::new()
    } else {
        format!(" {} {}", app.theme.sign(Sign::Into), alarm.next)
    };
    pen.spans(
        0,
        y,
        width,
        &[
            (Ink::Bad, sign),
            (Ink::Plain, " "),
            (Ink::Strong, &alarm.text),
            (Ink::Faint, &next),
        ],
    );
}

fn job_row(pen: &mut Pen<'_>, app: &App, y: u16, key: u64) {
    let Some(job) = app.shown().job(JobId(key)) else {
        return;
    };
    let width = pen.width();
    let (sign, ink) = app.theme.state(job.state);
    pen.text(0, y, 2, sign, ink);
    let name = (width / 3).clamp(12, 32);
    let title = format!(
        "{} {}",
        job.recipe,
        show::release(&job.version, job.release, job.build_release)
    );
    pen.text(3, y, name, &title, Ink::Strong);
    let x = 4 + name;
    if job.state == JobState::Failed {
        let ago = job.ended.map_or_else(String::new, |ended| {
            whole_span(app.clock().seconds_since(ended)) + " ago"
        });
        let room = width.saturating_sub(x + 11);
        pen.text(x, y, room, &show::job_note(job), Ink::Bad);
        pen.right(width.saturating_sub(10), y, 10, &ago, Ink::Faint);
    } else {
        let progress = progress_words(app, job, 16);
        let own = u16::try_from(columns(&progress)).unwrap_or(0);
        let room = width.saturating_sub(x + 17);
        pen.text(x, y, room, &show::job_note(job), Ink::Plain);
        pen.text(
            width.saturating_sub(own.min(16)),
            y,
            16,
            &progress,
            Ink::Busy,
        );
    }
}

/// The builders in short, one a line; the rows that were used.
fn builders(pen: &mut Pen<'_>, app: &App) -> u16 {
    let data = app.shown();
    let width = pen.width();
    let height = pen.height();
    pen.heading(0, &format!("Builders {}", data.builders.len()), "");
    let mut y = 1;
    if data.builders.len() > 1 {
        builders_line(&mut pen.part(0, y, width, 1), app);
        y += 1;
    }
    // Those that need somebody come first.
    let mut all: Vec<_> = data.builders.iter().collect();
    all.sort_by_key(|builder| builder.verdict == "fit");
    let room = usize::from(height / 3);
    for builder in all.into_iter().take(room.max(1)) {
        let (sign, ink) = app.theme.verdict(&builder.verdict);
        let busy = builder
            .slots
            .iter()
            .filter(|slot| slot.job.is_some())
            .count();
        let slots = match app.then() {
            Some(_) => format!("{busy}/?"),
            None => format!("{busy}/{}", builder.slots.len()),
        };
        let free = builder
            .disks
            .iter()
            .filter_map(|disk| disk.free_bytes)
            .min();
        let disk = free.map_or("disk unknown".to_owned(), |free| {
            format!("{} free", text::bytes(free))
        });
        let name = width.saturating_sub(32).clamp(8, 24);
        pen.text(0, y, 2, sign, ink);
        pen.text(3, y, name, builder.name.as_str(), Ink::Strong);
        pen.right(4 + name, y, 7, &slots, Ink::Plain);
        pen.right(12 + name, y, 18, &disk, Ink::Faint);
        y += 1;
    }
    if data.builders.is_empty() {
        let words = if data.builders_known {
            "none: nothing can be built"
        } else {
            "unknown"
        };
        pen.text(0, y, width, words, Ink::Warn);
        y += 1;
    }
    y + 1
}

/// What happened last, the newest first.
fn events(pen: &mut Pen<'_>, app: &App) {
    if pen.height() < 2 {
        return;
    }
    let data = app.shown();
    let width = pen.width();
    pen.heading(0, "Last events", "");
    let told = data.events.iter().rev();
    let told = told.filter(|event| !super::events::is_step(&event.kind));
    for (y, event) in (1..pen.height()).zip(told) {
        let at = show::moment(event.at);
        let time = at.get(11..).unwrap_or(&at);
        let x = pen.text(0, y, 8, time, Ink::Faint) + 1;
        let ink = super::events::ink(&event.kind);
        let recipe = super::events::recipe(app, event);
        let between = if recipe.is_empty() { "" } else { "  " };
        let spans = [
            (Ink::Strong, recipe),
            (Ink::Plain, between),
            (ink, super::events::rest(event, recipe)),
        ];
        pen.spans(x, y, width.saturating_sub(x), &spans);
    }
    if data.events.is_empty() {
        pen.text(0, 1, width, "none yet", Ink::Faint);
    }
}

/// Which line stands in this row: by drawing's own arithmetic.
pub fn line_at(app: &App, row: usize, x: u16) -> Option<usize> {
    let body = draw::body(app.size);
    let two = body.width >= TWO_HALVES && !app.sheet().expanded;
    if two && x > body.width * 3 / 5 {
        return None;
    }
    let top = usize::from(top_height(body.width));
    let rest = usize::from(body.height).saturating_sub(top);
    let spare = if two || app.sheet().expanded {
        0
    } else {
        rest / 3
    };
    let plan = plan(app, rest.saturating_sub(spare));
    let at = app.sheet().spot.at;
    let mut rows: Vec<Option<usize>> = vec![None; top];
    if app.then().is_none() || !plan.alarms.is_empty() {
        rows.push(None);
        let alarms = window(&plan.alarms, plan.room[0], at);
        rows.extend(alarms.iter().copied().map(Some));
    }
    if let Some(then) = app.then() {
        rows.push(None);
        rows.extend(then.unknown.iter().map(|_| None));
    }
    if plan.running.is_empty() && app.shown().whole {
        let width = match two {
            true => body.width * 3 / 5 - 1,
            false => body.width,
        };
        let lines = 1 + idle_lines(app, width).len();
        rows.extend(std::iter::repeat_n(None, lines));
    }
    for (part, room) in [(&plan.running, plan.room[1]), (&plan.failed, plan.room[2])] {
        if !part.is_empty() {
            rows.push(None);
            rows.extend(window(part, room, at).iter().copied().map(Some));
        }
    }
    rows.get(row).copied().flatten()
}
