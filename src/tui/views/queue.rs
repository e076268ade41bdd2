//! The queue: all jobs, grouped, sorted and filtered. The list is made when something changed; of the rows only those on
//! the screen are.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Rank, bar, sorted};
use crate::admin::view::{JobState, JobView};
use crate::cli::{show, text};
use crate::id::JobId;
use crate::tui::app::App;
use crate::tui::list::Line;
use crate::tui::page::{Grouping, Sheet};
use crate::tui::table::{Column, Row, field, fixed, number, words};
use crate::tui::theme::Ink;

/// The columns.
pub const COLUMNS: &[Column] = &[
    fixed("s", 2, 0),
    number("job", 6, 3),
    words("recipe", 14, 2, 0),
    words("version", 10, 1, 4),
    words("what it does, or why it does not", 44, 6, 0),
    number("prio", 6, 8),
    number("estimate", 8, 7),
    fixed("progress", 14, 5),
    words("builder", 8, 1, 6),
    number("age", 6, 9),
];

/// In which order states stand: what runs, what comes next, what needs somebody, what is over.
fn order(state: JobState) -> i64 {
    match state {
        JobState::Building => 0,
        JobState::Publishing => 1,
        JobState::Failed => 2,
        JobState::Ready => 3,
        JobState::Waiting => 4,
        JobState::Published => 5,
        JobState::Cancelled => 6,
        JobState::Superseded => 7,
    }
}

fn builder(job: &JobView) -> &str {
    job.attempts
        .last()
        .map_or("", |attempt| attempt.builder.as_str())
}

/// What jobs can be told apart by in a filter.
pub const LABELS: &[&str] = &["state", "recipe", "project", "profile", "builder", "held"];

fn label(job: &JobView, key: &str) -> Option<String> {
    Some(match key {
        "state" => job.state.as_str().to_owned(),
        "recipe" => job.recipe.to_string(),
        "project" => job.project.to_string(),
        "profile" => job.profile.to_string(),
        "builder" => builder(job).to_owned(),
        "held" => return super::yes_no(job.hold.is_some()),
        _ => return None,
    })
}

fn words_of(job: &JobView) -> String {
    let mut words = format!(
        "{} {} {} {} {} {} {}",
        job.recipe,
        job.version,
        job.state.as_str(),
        job.id,
        builder(job),
        job.project,
        job.because
    );
    for wait in &job.waits_for {
        words.push(' ');
        words.push_str(&wait.text);
    }
    words
}

fn matches(sheet: &Sheet, job: &JobView) -> bool {
    let name = job.recipe.as_str();
    sheet
        .filter
        .takes(name, || words_of(job), |key| label(job, key))
}

fn rank(app: &App, sort: usize, job: &JobView) -> Rank {
    match sort {
        0 => {
            // Within a state: what began first, what comes next, what ended last.
            let within = match job.state {
                JobState::Building | JobState::Publishing => {
                    job.attempts.last().map_or(0, |attempt| attempt.started.0)
                }
                JobState::Ready | JobState::Waiting => {
                    -(job.priority.unwrap_or(0.0) * 1_000.0) as i64
                }
                _ => -job.ended.map_or(0, |ended| ended.0),
            };
            Rank::Number(order(job.state) * 100_000_000_000_000 + within)
        }
        1 => Rank::Number(i64::try_from(job.id.0).unwrap_or(i64::MAX)),
        2 => Rank::Words(job.recipe.to_string()),
        3 => Rank::Words(job.version.clone()),
        4 => Rank::Words(show::job_note(job)),
        5 => Rank::of(Some(-job.priority.unwrap_or(0.0))),
        6 => Rank::of(job.estimate_s),
        7 => Rank::of(progress(app, job).map(|(part, _)| -part)),
        8 => Rank::Words(builder(job).to_owned()),
        _ => Rank::Number(-job.created.0),
    }
}

/// How far a job is, 0 to 1 and over, and for how long it has been built.
pub fn progress(app: &App, job: &JobView) -> Option<(f64, f64)> {
    if job.state != JobState::Building {
        return None;
    }
    let attempt = job.attempts.last()?;
    let took = app.clock().seconds_since(attempt.started);
    Some((
        took / job.estimate_s.filter(|estimate| *estimate > 0.0)?,
        took,
    ))
}

/// The same in words of `columns` columns.
pub fn progress_words(app: &App, job: &JobView, columns: usize) -> String {
    if job.state != JobState::Building {
        return String::new();
    }
    let Some(attempt) = job.attempts.last() else {
        return String::new();
    };
    let took = text::span(app.clock().seconds_since(attempt.started));
    let took = took.split('.').next().map_or(took.clone(), |whole| {
        if took.contains('.') {
            format!("{whole}s")
        } else {
            took.clone()
        }
    });
    match progress(app, job) {
        Some((part, _)) if part <= 1.0 => {
            let room = columns.saturating_sub(8);
            format!("{} {took:>7}", bar(&app.theme, part, room))
        }
        Some((part, _)) => format!("{} {took}", over(part)),
        None => took,
    }
}

/// How many times longer than estimated something takes.
pub fn over(part: f64) -> String {
    match part {
        ..9.95 => format!("{part:.1}x est"),
        ..99.5 => format!("{part:.0}x est"),
        _ => ">99x est".to_owned(),
    }
}

/// A predicted moment: half of such predictions come true by then, nine of ten by the other time.
pub fn predicted(half: f64, late: Option<f64>) -> String {
    let late = late.map_or("unknown".to_owned(), whole_span);
    match half {
        ..1.0 => "any moment".to_owned(),
        _ => format!("in {} (9 of 10: {late})", whole_span(half)),
    }
}

/// The heading over a batch: what made its jobs.
fn batch(job: &JobView) -> String {
    format!("{} at {}: {}", job.project, job.commit.short(), job.because)
}

/// The rows, with headings between groups.
pub fn lines(app: &App, sheet: &Sheet) -> Vec<Line> {
    let shown = app.shown().jobs();
    let picked: Vec<&Arc<JobView>> = shown.filter(|job| matches(sheet, job)).collect();
    let ranked = |jobs: &[&Arc<JobView>]| -> Vec<Line> {
        let rows = jobs
            .iter()
            .map(|job| (rank(app, sheet.sort, job), job.id.0))
            .collect();
        sorted(rows, sheet.reverse)
    };
    match sheet.grouping {
        Grouping::None => ranked(&picked),
        Grouping::State => by_state(picked, ranked),
        Grouping::Batch => by_batch(picked, ranked),
    }
}

fn by_state(jobs: Vec<&Arc<JobView>>, ranked: impl Fn(&[&Arc<JobView>]) -> Vec<Line>) -> Vec<Line> {
    let mut groups: BTreeMap<i64, (JobState, Vec<&Arc<JobView>>)> = BTreeMap::new();
    for job in jobs {
        let group = groups
            .entry(order(job.state))
            .or_insert_with(|| (job.state, Vec::new()));
        group.1.push(job);
    }
    let mut lines = Vec::new();
    for (state, jobs) in groups.into_values() {
        lines.push(Line::Heading(format!("{} {}", state.as_str(), jobs.len())));
        lines.extend(ranked(&jobs));
    }
    lines
}

/// The newest batch first.
fn by_batch(jobs: Vec<&Arc<JobView>>, ranked: impl Fn(&[&Arc<JobView>]) -> Vec<Line>) -> Vec<Line> {
    let mut groups: BTreeMap<String, (JobId, Vec<&Arc<JobView>>)> = BTreeMap::new();
    for job in jobs {
        let group = groups
            .entry(batch(job))
            .or_insert_with(|| (job.id, Vec::new()));
        group.0 = group.0.max(job.id);
        group.1.push(job);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, (newest, _))| std::cmp::Reverse(*newest));
    let mut lines = Vec::new();
    for (name, (_, jobs)) in groups {
        let count = |state| jobs.iter().filter(|job| job.state == state).count();
        let failed = match count(JobState::Failed) {
            0 => String::new(),
            failed => format!(", {failed} failed"),
        };
        let (done, all) = (count(JobState::Published), jobs.len());
        lines.push(Line::Heading(format!(
            "{name} {done}/{all} published{failed}"
        )));
        lines.extend(ranked(&jobs));
    }
    lines
}

/// One row.
pub fn row(app: &App, key: u64) -> Option<Row<'_>> {
    let job = app.shown().job(JobId(key))?;
    let (sign, ink) = app.theme.state(job.state);
    let held = job.hold.is_some() && !job.state.is_final();
    let mut note = show::job_note(job);
    if let Some(attempt) = job
        .attempts
        .last()
        .filter(|_| job.state == JobState::Building)
    {
        let took = whole_span(app.clock().seconds_since(attempt.started));
        note = format!("{note} for {took}");
    }
    let note_ink = match job.state {
        JobState::Failed => Ink::Bad,
        _ if held => Ink::Warn,
        JobState::Building | JobState::Publishing => Ink::Busy,
        JobState::Waiting | JobState::Ready => Ink::Plain,
        _ => Ink::Faint,
    };
    let name = match ink {
        Ink::Faint => Ink::Faint,
        _ => Ink::Strong,
    };
    let from = job.ended.unwrap_or(job.created);
    let open = !job.state.is_final();
    Some(Row::Fields(vec![
        field(sign, ink),
        field(job.id.to_string(), Ink::Faint),
        field(job.recipe.as_str(), name),
        field(
            show::release(&job.version, job.release, job.build_release),
            Ink::Plain,
        ),
        field(note, note_ink),
        field(
            if open {
                job.priority
                    .map_or("?".to_owned(), |worth| format!("{worth:.0}"))
            } else {
                String::new()
            },
            Ink::Faint,
        ),
        field(
            job.estimate_s.map_or_else(
                || {
                    if open {
                        "unknown".to_owned()
                    } else {
                        String::new()
                    }
                },
                text::span,
            ),
            Ink::Faint,
        ),
        field(progress_words(app, job, 14), Ink::Busy),
        field(builder(job), Ink::Faint),
        field(whole_span(app.clock().seconds_since(from)), Ink::Faint),
    ]))
}

pub use crate::cli::text::whole_span;
