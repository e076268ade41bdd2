//! Builders: what each does, its disk, memory and link, and what somebody holds against it.

use super::queue::whole_span;
use super::{Rank, sorted};
use crate::admin::view::{BuilderView, DiskView, SlotView};
use crate::cli::text;
use crate::tui::app::App;
use crate::tui::list::Line;
use crate::tui::page::Sheet;
use crate::tui::table::{Column, Row, field, fixed, number, words};
use crate::tui::theme::Ink;

/// The columns.
pub const COLUMNS: &[Column] = &[
    fixed("s", 2, 0),
    words("builder", 10, 1, 0),
    fixed("verdict", 11, 6),
    number("slots", 5, 0),
    words("builds", 14, 4, 1),
    number("disk free", 9, 2),
    number("full in", 8, 3),
    number("mem free", 9, 7),
    number("cpu wait", 8, 8),
    fixed("trust", 7, 9),
    number("same", 7, 10),
    number("link", 8, 5),
    number("heard", 6, 4),
];

/// Less than this of a disk is worth a look, whatever the builder says.
const DISK_LOW: f64 = 0.05;

pub(super) fn disk_low(disk: &DiskView) -> bool {
    match (disk.free_bytes, disk.total_bytes) {
        (Some(free), Some(total)) if total > 0 => (free as f64) < total as f64 * DISK_LOW,
        _ => false,
    }
}

pub(super) fn busy(builder: &BuilderView) -> usize {
    builder
        .slots
        .iter()
        .filter(|slot| slot.job.is_some())
        .count()
}

fn work(slot: &SlotView) -> Option<String> {
    let recipe = slot.recipe.as_deref().unwrap_or("?");
    slot.job.filter(|_| slot.with_slot.is_none())?;
    Some(match &slot.phase {
        Some(phase) => format!("{recipe}: {phase}"),
        None => recipe.to_owned(),
    })
}

fn doing(builder: &BuilderView) -> String {
    let work: Vec<String> = builder.slots.iter().filter_map(work).collect();
    work.join(", ")
}

fn least_free(builder: &BuilderView) -> Option<&DiskView> {
    // A disk that could not be read is not free: it stands first.
    builder
        .disks
        .iter()
        .min_by_key(|disk| disk.free_bytes.unwrap_or(0))
}

fn full_in(builder: &BuilderView) -> Option<f64> {
    builder
        .disks
        .iter()
        .filter_map(|disk| disk.full_in_s)
        .min_by(f64::total_cmp)
}

fn rank(app: &App, sort: usize, builder: &BuilderView) -> Rank {
    let of = |value: Option<f64>| Rank::of(value);
    match sort {
        0 | 2 => Rank::Words(format!(
            "{} {}",
            u8::from(builder.verdict == "fit"),
            builder.verdict
        )),
        1 => Rank::Words(builder.name.to_string()),
        3 => Rank::Number(-(busy(builder) as i64)),
        4 => Rank::Words(doing(builder)),
        5 => of(least_free(builder).map(|disk| disk.free_bytes.unwrap_or(0) as f64 / 1e6)),
        6 => of(full_in(builder)),
        7 => of(builder.memory_free_bytes.map(|bytes| bytes as f64 / 1e6)),
        8 => of(builder.pressure_cpu.map(|part| -part)),
        9 => Rank::Words(builder.trust.clone()),
        // Who was wrong most often first, then who was right most often.
        10 => of(builder
            .score
            .as_ref()
            .map(|score| -(score.wrong as f64 * 1e6 + score.matches as f64))),
        11 => of(app
            .shown()
            .link_of(builder)
            .and_then(|link| link.round_trip_ms)),
        _ => of(builder.last_heard_s),
    }
}

/// What builders can be told apart by in a filter.
pub const LABELS: &[&str] = &["verdict", "trust", "arch", "level", "held", "busy"];

fn label(builder: &BuilderView, key: &str) -> Option<String> {
    match key {
        "verdict" => Some(builder.verdict.clone()),
        "trust" => Some(builder.trust.clone()),
        "arch" => Some(builder.arch.to_string()),
        "level" => Some(builder.levels.join(",")),
        "held" => super::yes_no(!builder.holds.is_empty()),
        "busy" => super::yes_no(busy(builder) > 0),
        _ => None,
    }
}

/// The rows: places in the list of builders.
pub fn lines(app: &App, sheet: &Sheet) -> Vec<Line> {
    let rows = app
        .shown()
        .builders
        .iter()
        .zip(0_u64..)
        .filter(|(builder, _)| {
            let words = || {
                let (name, does) = (&builder.name, doing(builder));
                format!("{name} {} {} {does}", builder.verdict, builder.trust)
            };
            let name = builder.name.as_str();
            sheet.filter.takes(name, words, |key| label(builder, key))
        })
        .map(|(builder, at)| (rank(app, sheet.sort, builder), at))
        .collect();
    sorted(rows, sheet.reverse)
}

/// One row.
pub fn row(app: &App, key: u64) -> Option<Row<'_>> {
    let builder = app.shown().builders.get(usize::try_from(key).ok()?)?;
    let (sign, ink) = app.theme.verdict(&builder.verdict);
    let disk = least_free(builder);
    let low = builder.disks.iter().any(disk_low);
    let held = match builder.holds.first() {
        Some(hold) => format!("held by {}: {}", hold.owner, hold.reason),
        None => doing(builder),
    };
    let idle = held.is_empty();
    Some(Row::Fields(vec![
        field(sign, ink),
        field(builder.name.as_str(), Ink::Strong),
        field(builder.verdict.as_str(), ink),
        field(slots_words(app, builder), Ink::Plain),
        field(
            if idle { "idle".to_owned() } else { held },
            if idle { Ink::Faint } else { Ink::Busy },
        ),
        field(
            disk.and_then(|disk| disk.free_bytes)
                .map_or("unknown".to_owned(), text::bytes),
            if low { Ink::Warn } else { Ink::Plain },
        ),
        field(
            full_in(builder).map_or(String::new(), whole_span),
            Ink::Warn,
        ),
        field(
            builder
                .memory_free_bytes
                .map_or("unknown".to_owned(), text::bytes),
            Ink::Plain,
        ),
        field(
            builder.pressure_cpu.map_or("unknown".to_owned(), |part| {
                format!("{:.0} %", part * 100.0)
            }),
            Ink::Faint,
        ),
        field(builder.trust.as_str(), Ink::Faint),
        score_field(builder),
        link_field(app, builder),
        field(heard(app, builder), Ink::Faint),
    ]))
}

/// Busy slots of all; of an earlier moment only the busy ones are known.
fn slots_words(app: &App, builder: &BuilderView) -> String {
    match app.then() {
        Some(_) => format!("{}/?", busy(builder)),
        None => format!("{}/{}", busy(builder), builder.slots.len()),
    }
}

/// How long ago it was heard of; of an earlier moment nobody knows.
fn heard(app: &App, builder: &BuilderView) -> String {
    match builder.last_heard_s {
        Some(heard) => whole_span(heard),
        None if app.then().is_some() => "?".to_owned(),
        None => "never".to_owned(),
    }
}

/// How often what it built came out the same elsewhere.
fn score_field(builder: &BuilderView) -> crate::tui::table::Field<'_> {
    match &builder.score {
        None => field("unknown", Ink::Faint),
        Some(score) if score.matches + score.wrong == 0 => field("none", Ink::Faint),
        Some(score) => {
            let ink = if score.wrong > 0 { Ink::Bad } else { Ink::Good };
            let words = format!("{}/{}", score.matches, score.matches + score.wrong);
            field(words, ink)
        }
    }
}

/// The link in a word: its round trip, or that there is none.
fn link_field<'a>(app: &App, builder: &BuilderView) -> crate::tui::table::Field<'a> {
    let data = app.shown();
    match data.link_of(builder) {
        Some(link) => super::peers::link_field(link),
        // The host that answers builds by itself.
        None if is_here(app, builder) => field("here", Ink::Faint),
        None => field("unknown", Ink::Faint),
    }
}

pub(super) fn is_here(app: &App, builder: &BuilderView) -> bool {
    let status = app.data.status.as_ref();
    status.is_some_and(|status| status.host.id == builder.id)
}
