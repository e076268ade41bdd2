//! The repository: channels, their versions with cause and difference, their packages; rollback begins here.

use super::queue::whole_span;
use super::{Rank, sorted};
use crate::admin::view::{ChannelVersionView, ChannelView, PackageView};
use crate::cli::{show, text};
use crate::tui::app::App;
use crate::tui::ask::Reply;
use crate::tui::doc::Doc;
use crate::tui::list::Line;
use crate::tui::page::Sheet;
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

fn streams(channel: &ChannelView) -> String {
    let all = channel.streams.iter().chain(&channel.tags);
    let all: Vec<String> = all
        .map(|(name, version)| format!("{name}={version}"))
        .collect();
    all.join(" ")
}

/// Rows of channels.
pub fn channels(sheet: &Sheet) -> Vec<Line> {
    let Some(Reply::Channels(channels)) = &sheet.content else {
        return Vec::new();
    };
    let rows = channels
        .iter()
        .zip(0_u64..)
        .filter(|(channel, _)| sheet.filter.takes(channel.name.as_str()))
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
    sorted(rows, sheet.reverse)
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
        field(channel.url.as_deref().unwrap_or(&channel.path), Ink::Faint),
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

/// Rows of versions, by their numbers.
pub fn versions(sheet: &Sheet) -> Vec<Line> {
    let number = |value: u64| Rank::Number(i64::try_from(value).unwrap_or(i64::MAX));
    let rows = held(sheet)
        .0
        .iter()
        .filter(|version| {
            !sheet.filter.is_on() || {
                let words = format!(
                    "{} {} {}",
                    version.id,
                    version.cause,
                    version.changed.join(" ")
                );
                sheet.filter.takes(&words)
            }
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
    sorted(rows, sheet.reverse)
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
pub fn version_doc(version: &ChannelVersionView, channel: &str, doc: &mut Doc) {
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
    if !version.changed.is_empty() {
        doc.title(format!(
            "Packages that differ from its parent {}",
            version.changed.len()
        ));
        version
            .changed
            .iter()
            .for_each(|name| doc.line(vec![(Ink::Plain, name.clone())], None));
    }
}

/// The package of a row.
pub fn package(sheet: &Sheet, key: u64) -> Option<&PackageView> {
    held(sheet).1.get(usize::try_from(key).ok()?)
}

/// Rows of packages.
pub fn packages(sheet: &Sheet) -> Vec<Line> {
    let rows = held(sheet)
        .1
        .iter()
        .zip(0_u64..)
        .filter(|(package, _)| {
            !sheet.filter.is_on() || {
                let words = format!(
                    "{} {} {} {}",
                    package.name, package.version, package.source, package.summary
                );
                sheet.filter.takes(&words)
            }
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
