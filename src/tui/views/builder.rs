//! One builder's page: its slots, disks, memory and pressure, what comparisons say of it, how it was lately.

use super::bar;
use super::builders::{busy, disk_low, is_here};
use super::queue::{over, whole_span};
use crate::admin::view::{BuilderProofView, BuilderView, SlotView};
use crate::cli::{show, text};
use crate::id::JobId;
use crate::tui::app::App;
use crate::tui::ask::Reply;
use crate::tui::doc::Doc;
use crate::tui::page::{Page, Sheet};
use crate::tui::pen::columns;
use crate::tui::theme::Ink;

/// Packages that nobody compared yet which are named.
const UNPROVEN_MAX: usize = 5;
/// A slot that is silent for longer is shown as such.
const SILENT_S: f64 = 300.0;

/// A builder's page.
pub fn doc(app: &App, sheet: &Sheet, name: &str, doc: &mut Doc) {
    let data = app.shown();
    let Some(builder) = data.builder(name) else {
        let words = if data.builders_known {
            format!("no builder {name} is known any more")
        } else {
            app.asking_words()
        };
        doc.words(Ink::Faint, words);
        return;
    };
    let (sign, ink) = app.theme.verdict(&builder.verdict);
    doc.line(
        vec![
            (ink, format!("{sign} {}", builder.verdict)),
            (Ink::Strong, format!("  {}", builder.name)),
            (
                Ink::Faint,
                format!("  {}  {}", builder.id.short(), builder.arch),
            ),
        ],
        None,
    );
    for evidence in &builder.evidence {
        doc.item(&[(Ink::Plain, "   ")], Ink::Plain, evidence, None);
    }
    doc.gap();
    if app.then().is_some() {
        for hold in &builder.holds {
            doc.field_as("held", Ink::Warn, show::hold_text(hold), None);
        }
        slots(app, builder, doc);
        past(app, builder, doc);
        return;
    }
    doc.field("trust", &builder.trust);
    doc.field(
        "last heard",
        builder.last_heard_s.map_or("never".to_owned(), |heard| {
            format!("{} ago", whole_span(heard))
        }),
    );
    match data.link_of(builder) {
        Some(link) => super::peers::link_fields(link, doc),
        None if is_here(app, builder) => doc.field("link", "none: it is the host that answers"),
        None => {}
    }
    doc.field(
        "cores",
        builder
            .cores
            .map_or("unknown".to_owned(), |cores| cores.to_string()),
    );
    for hold in &builder.holds {
        doc.field_as("held", Ink::Warn, show::hold_text(hold), None);
    }
    slots(app, builder, doc);
    disks(app, builder, doc);
    machine(app, builder, doc);
    if let Some(Reply::Builder(Some(proof))) = &sheet.content {
        compared(proof, name, doc);
    }
    history(app, builder, doc);
    past(app, builder, doc);
}

fn slots(app: &App, builder: &BuilderView, doc: &mut Doc) {
    if app.then().is_some() {
        doc.title(format!("Built then {}", busy(builder)));
        if busy(builder) == 0 {
            doc.words(Ink::Faint, "nothing");
        }
    } else {
        doc.title(format!("Slots {}", builder.slots.len()));
    }
    for slot in &builder.slots {
        let Some(job) = slot.job else {
            if app.then().is_some() {
                continue;
            }
            doc.line(vec![(Ink::Faint, format!("{:>3}  idle", slot.slot))], None);
            continue;
        };
        if let Some(first) = slot.with_slot {
            let text = format!("{:>3}  taken by job {job} too, see slot {first}", slot.slot);
            doc.line(vec![(Ink::Faint, text)], None);
            continue;
        }
        slot_lines(app, slot, job, doc);
    }
}

/// A slot that builds: its job, how far it is, how silent, and what it used, on a line of its own where there is no room.
fn slot_lines(app: &App, slot: &SlotView, job: JobId, doc: &mut Doc) {
    let took = slot.since.map_or_else(String::new, |since| {
        format!("for {}", whole_span(app.clock().seconds_since(since)))
    });
    let silent = slot.silent_s.map_or_else(
        || "silence unknown".to_owned(),
        |silent| format!("silent {}", whole_span(silent)),
    );
    let silent_ink = match slot.silent_s {
        Some(silent) if silent >= SILENT_S => Ink::Warn,
        _ => Ink::Faint,
    };
    let known = app.shown().job(job);
    let progress = slot
        .progress
        .or_else(|| super::queue::progress(app, known?).map(|(part, _)| part));
    let part = progress.map_or_else(String::new, |part| {
        let words = match part {
            ..=1.0 => format!("{:>3.0} %", part * 100.0),
            part => over(part),
        };
        format!("{} {words}  ", bar(&app.theme, part, 12))
    });
    let mut line = vec![
        (Ink::Faint, format!("{:>3}  ", slot.slot)),
        (
            Ink::Key,
            format!("{} (job {job})  ", slot.recipe.as_deref().unwrap_or("?")),
        ),
        (
            Ink::Busy,
            format!("{}  ", slot.phase.as_deref().unwrap_or("starting")),
        ),
        (Ink::Plain, format!("{took}  ")),
        (Ink::Busy, part),
        (silent_ink, silent),
    ];
    let used = used(slot);
    let taken: usize = line.iter().map(|(_, words)| columns(words)).sum();
    let fits = taken + columns(&used) <= doc.width();
    if fits {
        line.push((Ink::Faint, used.clone()));
    }
    doc.line(line, Some(Page::Job(job)));
    if !fits {
        doc.line(vec![(Ink::Faint, format!("   {used}"))], None);
    }
}

/// What a slot's build took of the machine, as far as it is known.
fn used(slot: &SlotView) -> String {
    let cpu = slot.cpu_s.map_or_else(String::new, |cpu| {
        format!("  {} of processor", text::span(cpu))
    });
    let memory = slot.memory_peak_bytes.map_or_else(String::new, |bytes| {
        format!("  {} at most", text::bytes(bytes))
    });
    cpu + &memory
}

/// What comparisons of what is published say of it.
fn compared(proof: &BuilderProofView, name: &str, doc: &mut Doc) {
    doc.title("Compared");
    doc.field("score", show::builder_score(&proof.score));
    if let Some(owner) = &proof.owner {
        doc.field("owner", owner);
    }
    for base in &proof.bases {
        doc.field("base", show::base(base));
    }
    if let Some(id) = proof.convicted_by {
        let words = format!("comparison {id} says so: massif compare show {id}");
        doc.field_as("wrong alone", Ink::Bad, words, None);
    }
    for made in proof.unproven.iter().take(UNPROVEN_MAX) {
        let words = format!("{} {}-{}", made.recipe, made.version, made.release);
        doc.field_as("unproven", Ink::Warn, words, Some(Page::Job(made.job)));
    }
    if let more @ 1.. = proof.unproven.len().saturating_sub(UNPROVEN_MAX) {
        let words = format!("and {more} more: massif builder show {name}");
        doc.field_as("", Ink::Faint, words, None);
    }
    if !proof.unproven.is_empty() && proof.convicted_by.is_some() {
        doc.field("do", format!("massif builder rebuild {name}"));
    }
}

fn disks(app: &App, builder: &BuilderView, doc: &mut Doc) {
    doc.title("Disks");
    for disk in &builder.disks {
        let (used, words) = match (disk.free_bytes, disk.total_bytes) {
            (Some(free), Some(total)) if total > 0 => (
                Some(1.0 - free as f64 / total as f64),
                format!("{} free of {}", text::bytes(free), text::bytes(total)),
            ),
            (Some(free), _) => (None, format!("{} free", text::bytes(free))),
            _ => (None, "could not be read: not counted as free".to_owned()),
        };
        let ink = if disk_low(disk) || disk.free_bytes.is_none() {
            Ink::Warn
        } else {
            Ink::Plain
        };
        let gauge = used.map_or_else(|| "?".repeat(16), |used| bar(&app.theme, used, 16));
        let inodes = disk.free_inodes.map_or_else(
            || "  inodes unknown".to_owned(),
            |free| format!("  {free} inodes"),
        );
        let full = disk.full_in_s.map_or_else(String::new, |full| {
            format!("  full in {}", whole_span(full))
        });
        doc.line(
            vec![
                (ink, gauge),
                (ink, format!("  {words}")),
                (Ink::Warn, full),
                (Ink::Plain, format!("  {}", disk.path)),
                (Ink::Faint, inodes),
            ],
            None,
        );
    }
    if builder.disks.is_empty() {
        doc.words(Ink::Warn, "unknown: nothing was reported");
    }
}

fn machine(app: &App, builder: &BuilderView, doc: &mut Doc) {
    doc.title("Machine");
    let memory = match (builder.memory_free_bytes, builder.memory_total_bytes) {
        (Some(free), Some(total)) if total > 0 => format!(
            "{}  {} free of {}",
            bar(&app.theme, 1.0 - free as f64 / total as f64, 16),
            text::bytes(free),
            text::bytes(total)
        ),
        _ => "unknown".into(),
    };
    doc.field("memory", memory);
    for (name, part) in [
        ("cpu wait", builder.pressure_cpu),
        ("memory wait", builder.pressure_memory),
        ("disk wait", builder.pressure_io),
    ] {
        let words = part.map_or("unknown".to_owned(), |part| {
            format!(
                "{}  {:.0} % of the last ten seconds",
                bar(&app.theme, part, 16),
                part * 100.0
            )
        });
        doc.field(name, words);
    }
    doc.field(
        "load",
        builder
            .load
            .map_or("unknown".to_owned(), |load| format!("{load:.1}")),
    );
    if let Some(degrees) = builder.temperature_c {
        doc.field("hottest", format!("{degrees:.0} degrees Celsius"));
    }
    if builder.reclaimed_bytes > 0 || builder.parked > 0 {
        let words = format!(
            "{} of caches thrown away, {} builds given back since its start",
            text::bytes(builder.reclaimed_bytes),
            builder.parked
        );
        doc.field_as("short of room", Ink::Warn, words, None);
    }
    for cache in &builder.caches {
        let ink = if cache.present { Ink::Plain } else { Ink::Warn };
        doc.field_as("cache", ink, show::cache(cache), None);
    }
}

/// How it was lately: one column for each moment.
fn history(app: &App, builder: &BuilderView, doc: &mut Doc) {
    let room = usize::from(super::body_width(app).saturating_sub(16));
    let from = builder.history.len().saturating_sub(room);
    let moments = builder.history.get(from..).unwrap_or_default();
    let Some(first) = moments.first() else { return };
    let ago = whole_span(app.clock().seconds_since(first.at));
    doc.title(format!("Lately, from {ago} ago until now"));
    let free = |bytes: Option<u64>| bytes.map_or(0.0, |bytes| bytes as f64);
    for (name, values) in [
        (
            "builds",
            moments
                .iter()
                .map(|moment| f64::from(moment.busy))
                .collect(),
        ),
        (
            "load",
            moments
                .iter()
                .map(|moment| moment.load.unwrap_or(0.0))
                .collect(),
        ),
        (
            "disk free",
            moments
                .iter()
                .map(|moment| free(moment.free_bytes))
                .collect(),
        ),
        (
            "memory free",
            moments
                .iter()
                .map(|moment| free(moment.memory_free_bytes))
                .collect::<Vec<f64>>(),
        ),
    ] {
        doc.field_as(name, Ink::Busy, spark(app, &values), None);
    }
    let verdicts: String = moments
        .iter()
        .map(|moment| {
            app.theme
                .verdict(&moment.verdict)
                .0
                .chars()
                .last()
                .unwrap_or('?')
        })
        .collect();
    doc.field("verdict", verdicts);
}

/// Small bars in text; what is nothing is a dot, so that nothing is cut off at the end.
fn spark(app: &App, values: &[f64]) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const PLAIN: [char; 4] = ['_', '-', '=', '#'];
    let largest = values.iter().copied().fold(0.0_f64, f64::max);
    let steps: &[char] = if app.theme.ascii { &PLAIN } else { &BLOCKS };
    let mark = |value: &f64| {
        if *value <= 0.0 || largest <= 0.0 {
            return '.';
        }
        let at = (value / largest * steps.len() as f64).ceil() as usize;
        steps
            .get(at.clamp(1, steps.len()) - 1)
            .copied()
            .unwrap_or('.')
    };
    values.iter().map(mark).collect()
}

/// What it built last, as far as the snapshot knows.
fn past(app: &App, builder: &BuilderView, doc: &mut Doc) {
    let mut shown = 0;
    for job in app.shown().jobs().rev() {
        let Some(attempt) =
            job.attempts.iter().rev().find(|attempt| {
                attempt.builder == builder.name.as_str() && attempt.ended.is_some()
            })
        else {
            continue;
        };
        if shown == 0 {
            doc.title("Built last");
        }
        let (sign, ink) = app.theme.state(job.state);
        let took = show::took(attempt.started, attempt.ended);
        doc.line(
            vec![
                (ink, format!("{sign} ")),
                (Ink::Key, format!("{} {}", job.recipe, job.version)),
                (Ink::Plain, format!("  {}  {took}", attempt.state)),
                (
                    Ink::Faint,
                    attempt.ended.map_or_else(String::new, |ended| {
                        format!("  {} ago", whole_span(app.clock().seconds_since(ended)))
                    }),
                ),
            ],
            Some(Page::Job(job.id)),
        );
        shown += 1;
        if shown == 10 {
            break;
        }
    }
}
