//! The repository: channels, their versions with cause and difference, their packages; rollback begins here.

use super::queue::whole_span;
use super::{Rank, sorted};
use crate::admin::view::{ChannelVersionView, ChannelView, JobState, JobView, PackageView};
use crate::cli::{show, text};
use crate::id::JobId;
use crate::tui::app::App;
use crate::tui::ask::{Changed, Reply};
use crate::tui::doc::Doc;
use crate::tui::list::Line;
use crate::tui::page::Sheet;
use crate::tui::pen::columns;
use crate::tui::table::{Column, Row, field, number, words};
use crate::tui::theme::Ink;

/// Columns of channels.
pub const CHANNELS: &[Column] = &[
    words("channel", 10, 1, 0),
    number("version", 8, 0),
    number("packages", 9, 1),
    number("size", 9, 2),
    words("streams", 14, 2, 3),
    words("address", 14, 3, 4),
];
/// Columns of versions.
pub const VERSIONS: &[Column] = &[
    number("version", 8, 0),
    words("when (UTC)", 19, 0, 2),
    words("cause", 32, 3, 0),
    number("packages", 9, 4),
    words("changed", 14, 3, 1),
    words("streams", 10, 1, 3),
];
/// Columns of packages.
pub const PACKAGES: &[Column] = &[
    words("package", 16, 2, 0),
    words("version", 12, 1, 0),
    number("size", 9, 2),
    words("recipe", 10, 1, 3),
    words("summary", 16, 4, 1),
];

/// Keys from here on are jobs that publish next.
const NEXT: u64 = 1 << 50;
/// Columns of a package's name, or of its version, beside others.
const NAMES_MAX: usize = 40;
/// Of those that have no builder yet, so many are shown.
const NEXT_READY_MAX: usize = 5;

/// The job of a row of what publishes next.
pub fn next_job(key: u64) -> Option<JobId> {
    key.checked_sub(NEXT).map(JobId)
}

/// Where a job publishes, as far as its profile is known.
fn goes_to<'a>(app: &'a App, job: &JobView) -> Option<&'a str> {
    let mut profiles = app.shown().profiles.iter();
    let profile = profiles.find(|profile| profile.name == job.profile)?;
    Some(profile.channel.as_str())
}

/// Seconds until a build is at its end, as predicted; less than nothing: it takes longer than that.
fn left_s(app: &App, job: &JobView) -> Option<f64> {
    let began = job.attempts.last()?.started;
    Some(job.estimate_s? - app.clock().seconds_since(began))
}

/// What publishes next: what is being published, what is built in the order of its predicted end, what starts then.
fn next(app: &App, channel: Option<&str>) -> Vec<Line> {
    let mut rows: Vec<(u8, Rank, u64)> = Vec::new();
    for job in app.shown().jobs() {
        let here = channel.is_none_or(|channel| goes_to(app, job) == Some(channel));
        let (stage, rank) = match job.state {
            JobState::Publishing => (0, Rank::Number(0)),
            JobState::Building => (1, Rank::of(left_s(app, job))),
            JobState::Ready => (2, Rank::of(job.priority.map(|worth| -worth))),
            _ => continue,
        };
        if here {
            rows.push((stage, rank, job.id.0));
        }
    }
    rows.sort_unstable();
    let sure = rows.iter().filter(|(stage, _, _)| *stage < 2).count();
    let ready = rows.len() - sure;
    rows.truncate(sure + NEXT_READY_MAX);
    let more = match ready.saturating_sub(NEXT_READY_MAX) {
        0 => String::new(),
        more => format!(" and {more} more that are ready"),
    };
    let into = channel.map_or_else(String::new, |channel| format!(" into {channel}"));
    let mut lines = match rows.len() {
        0 => vec![Line::Heading(format!("Nothing is on its way{into}"))],
        count => vec![Line::Heading(format!("Publishes next{into} {count}{more}"))],
    };
    lines.extend(rows.into_iter().map(|(_, _, id)| Line::Row(NEXT + id)));
    lines
}

/// A job that publishes next.
pub fn next_row(app: &App, key: u64) -> Option<Row<'_>> {
    let job = app.shown().job(next_job(key)?)?;
    let (sign, ink) = app.theme.state(job.state);
    let release = show::release(&job.version, job.release, job.build_release);
    let channel = goes_to(app, job).unwrap_or("a channel not known");
    let when = match (job.state, left_s(app, job)) {
        (JobState::Publishing, _) => "now: its packages are taken over".to_owned(),
        (JobState::Building, Some(left)) if left > 0.0 => {
            format!("in about {}, {}", whole_span(left), show::job_note(job))
        }
        (JobState::Building, Some(late)) => format!(
            "any moment: {} longer than predicted, {}",
            whole_span(-late),
            show::job_note(job)
        ),
        (JobState::Building, None) => format!("time not known, {}", show::job_note(job)),
        _ => "as soon as a slot has taken and built it".to_owned(),
    };
    Some(Row::Words(vec![
        field(sign, ink),
        field(" ", Ink::Plain),
        field(job.recipe.as_str(), Ink::Strong),
        field(format!(" {release} into {channel}  "), Ink::Plain),
        field(when, ink),
    ]))
}

fn streams(channel: &ChannelView) -> String {
    let all = channel.streams.iter().chain(&channel.tags);
    let all: Vec<String> = all
        .map(|(name, version)| format!("{name}={version}"))
        .collect();
    all.join(" ")
}

/// What channels can be told apart by in a filter.
pub const CHANNEL_LABELS: &[&str] = &["stream", "tag"];

fn channel_label(channel: &ChannelView, key: &str) -> Option<String> {
    let names = match key {
        "stream" => &channel.streams,
        "tag" => &channel.tags,
        _ => return None,
    };
    let names: Vec<&str> = names.keys().map(String::as_str).collect();
    Some(names.join(","))
}

/// Rows of channels.
pub fn channels(app: &App, sheet: &Sheet) -> Vec<Line> {
    let Some(Reply::Channels(channels)) = &sheet.content else {
        return Vec::new();
    };
    let rows = channels
        .iter()
        .zip(0_u64..)
        .filter(|(channel, _)| {
            let name = channel.name.as_str();
            let words = || format!("{name} {}", streams(channel));
            sheet
                .filter
                .takes(name, words, |key| channel_label(channel, key))
        })
        .map(|(channel, at)| {
            let number = |value: u64| Rank::Number(i64::try_from(value).unwrap_or(i64::MAX));
            let rank = match sheet.sort {
                1 => number(channel.version.0),
                2 => number(channel.packages),
                3 => number(channel.size),
                4 => Rank::Words(streams(channel)),
                5 => Rank::Words(channel.url.clone().unwrap_or_default()),
                _ => Rank::Words(channel.name.to_string()),
            };
            (rank, at)
        })
        .collect();
    let mut lines = sorted(rows, sheet.reverse);
    if !sheet.filter.is_on() && !lines.is_empty() {
        lines.extend(next(app, None));
    }
    lines
}

/// One channel.
pub fn channel_row(sheet: &Sheet, key: u64) -> Option<Row<'_>> {
    let Some(Reply::Channels(channels)) = &sheet.content else {
        return None;
    };
    let channel = channels.get(usize::try_from(key).ok()?)?;
    Some(Row::Fields(vec![
        field(channel.name.as_str(), Ink::Strong),
        field(channel.version.to_string(), Ink::Plain),
        field(channel.packages.to_string(), Ink::Plain),
        field(text::bytes(channel.size), Ink::Plain),
        field(streams(channel), Ink::Plain),
        field(
            channel
                .url
                .as_deref()
                .or(channel.path.as_deref())
                .unwrap_or("?"),
            Ink::Faint,
        ),
    ]))
}

fn held(sheet: &Sheet) -> (&[ChannelVersionView], &[PackageView]) {
    match &sheet.content {
        Some(Reply::Channel { versions, packages }) => (versions, packages),
        _ => (&[], &[]),
    }
}

/// The version of a row.
pub fn version(sheet: &Sheet, key: u64) -> Option<&ChannelVersionView> {
    held(sheet).0.iter().find(|version| version.id.0 == key)
}

/// What versions can be told apart by in a filter.
pub const VERSION_LABELS: &[&str] = &["stream", "tag", "served", "changed"];

fn version_label(version: &ChannelVersionView, key: &str) -> Option<String> {
    match key {
        "stream" => Some(version.streams.join(",")),
        "tag" => Some(version.tags.join(",")),
        "served" => super::yes_no(version.served),
        "changed" => Some(version.changed.join(",")),
        _ => None,
    }
}

/// Rows of versions, by their numbers.
pub fn versions(app: &App, sheet: &Sheet, channel: &str) -> Vec<Line> {
    let number = |value: u64| Rank::Number(i64::try_from(value).unwrap_or(i64::MAX));
    let rows = held(sheet)
        .0
        .iter()
        .filter(|version| {
            let changed = || version.changed.join(" ");
            let words = || format!("{} {} {}", version.id, version.cause, changed());
            // What a version is called by is what was published with it.
            let name = &version.cause;
            sheet
                .filter
                .takes(name, words, |key| version_label(version, key))
        })
        .map(|version| {
            let rank = match sheet.sort {
                1 => Rank::Number(version.at.0),
                2 => Rank::Words(version.cause.clone()),
                3 => number(version.packages),
                4 => number(version.changed.len() as u64),
                5 => Rank::Words(version.streams.join(" ")),
                _ => number(version.id.0),
            };
            (rank, version.id.0)
        })
        .collect();
    let rows = sorted(rows, sheet.reverse);
    if sheet.filter.is_on() || rows.is_empty() {
        return rows;
    }
    let mut lines = next(app, Some(channel));
    lines.push(Line::Heading("Versions".to_owned()));
    lines.extend(rows);
    lines
}

/// One version.
pub fn version_row(sheet: &Sheet, key: u64) -> Option<Row<'_>> {
    let version = version(sheet, key)?;
    let names: Vec<&str> = version
        .streams
        .iter()
        .chain(&version.tags)
        .map(String::as_str)
        .collect();
    let changed = match version.changed.len() {
        0 => "nothing".to_owned(),
        1..=3 => version.changed.join(" "),
        count => format!("{count}: {}", version.changed.join(" ")),
    };
    Some(Row::Fields(vec![
        field(version.id.to_string(), Ink::Strong),
        field(show::moment(version.at), Ink::Faint),
        field(version.cause.as_str(), Ink::Plain),
        field(version.packages.to_string(), Ink::Plain),
        field(changed, Ink::Plain),
        field(names.join(" "), Ink::Good),
    ]))
}

/// A version's page.
pub fn version_doc(sheet: &Sheet, version: &ChannelVersionView, channel: &str, doc: &mut Doc) {
    doc.line(
        vec![
            (Ink::Strong, format!("version {}", version.id)),
            (Ink::Plain, format!(" of {channel}")),
        ],
        None,
    );
    doc.gap();
    doc.field("made", format!("{} UTC", show::moment(version.at)));
    doc.field("because", &version.cause);
    doc.field(
        "from",
        version
            .parent
            .map_or("nothing".to_owned(), |parent| format!("version {parent}")),
    );
    doc.field("packages", version.packages.to_string());
    doc.field("streams", version.streams.join(", "));
    doc.field("tags", version.tags.join(", "));
    doc.field(
        "files",
        if version.served {
            "are served"
        } else {
            "are not served any more; it can be brought back"
        },
    );
    if version.changed.is_empty() {
        return;
    }
    doc.title(format!(
        "Packages that differ from its parent {}",
        version.changed.len()
    ));
    match &sheet.content {
        Some(Reply::Difference(changed)) => difference(changed, doc),
        _ => version
            .changed
            .iter()
            .for_each(|name| doc.line(vec![(Ink::Plain, name.clone())], None)),
    }
}

/// What came, went and changed, with the versions before and now.
fn difference(changed: &[Changed], doc: &mut Doc) {
    let longest = |column: fn(&Changed) -> &str| {
        let own = changed.iter().map(|one| columns(column(one))).max();
        own.unwrap_or(0).min(NAMES_MAX)
    };
    let names = longest(|one| one.name.as_str());
    let befores = longest(|one| one.before.as_deref().unwrap_or("new"));
    for one in changed {
        let (ink, sign) = match (&one.before, &one.after) {
            (None, _) => (Ink::Good, "+"),
            (Some(_), None) => (Ink::Warn, "-"),
            (Some(_), Some(_)) => (Ink::Busy, "~"),
        };
        let padded = |words: &str, room: usize| {
            let missing = room.saturating_sub(columns(words));
            format!("{words}{}  ", " ".repeat(missing))
        };
        let after = match (&one.before, &one.after) {
            (_, None) => "is gone".to_owned(),
            (None, Some(after)) => after.clone(),
            (Some(_), Some(after)) => format!("is {after} now"),
        };
        doc.line(
            vec![
                (ink, format!("{sign} ")),
                (Ink::Strong, padded(&one.name, names)),
                (
                    Ink::Faint,
                    padded(one.before.as_deref().unwrap_or("new"), befores),
                ),
                (ink, after),
            ],
            None,
        );
    }
}

/// The package of a row.
pub fn package(sheet: &Sheet, key: u64) -> Option<&PackageView> {
    held(sheet).1.get(usize::try_from(key).ok()?)
}

/// What packages can be told apart by in a filter.
pub const PACKAGE_LABELS: &[&str] = &["recipe", "arch"];

fn package_label(package: &PackageView, key: &str) -> Option<String> {
    match key {
        "recipe" => Some(package.source.to_string()),
        "arch" => Some(package.arch.to_string()),
        _ => None,
    }
}

/// Rows of packages.
pub fn packages(sheet: &Sheet) -> Vec<Line> {
    let rows = held(sheet)
        .1
        .iter()
        .zip(0_u64..)
        .filter(|(package, _)| {
            let words = || {
                let (name, source) = (&package.name, &package.source);
                format!("{name} {} {source} {}", package.version, package.summary)
            };
            let name = package.name.as_str();
            sheet
                .filter
                .takes(name, words, |key| package_label(package, key))
        })
        .map(|(package, at)| {
            let rank = match sheet.sort {
                1 => Rank::Words(package.version.clone()),
                2 => Rank::Number(i64::try_from(package.size).unwrap_or(i64::MAX)),
                3 => Rank::Words(package.source.clone()),
                4 => Rank::Words(package.summary.clone()),
                _ => Rank::Words(package.name.to_string()),
            };
            (rank, at)
        })
        .collect();
    sorted(rows, sheet.reverse)
}

/// One package.
pub fn package_row(sheet: &Sheet, key: u64) -> Option<Row<'_>> {
    let package = package(sheet, key)?;
    Some(Row::Fields(vec![
        field(package.name.as_str(), Ink::Strong),
        field(
            show::release(&package.version, package.release, package.build_release),
            Ink::Plain,
        ),
        field(text::bytes(package.size), Ink::Plain),
        field(package.source.as_str(), Ink::Faint),
        field(package.summary.as_str(), Ink::Plain),
    ]))
}

/// How long ago the newest version was made, for the path at the top.
pub fn newest_age(app: &App, sheet: &Sheet) -> Option<String> {
    let newest = held(sheet).0.iter().max_by_key(|version| version.id)?;
    let ago = whole_span(app.clock().seconds_since(newest.at));
    Some(format!("newest version {} made {ago} ago", newest.id))
}
