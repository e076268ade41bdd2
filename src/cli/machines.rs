//! `builder`.

use super::Verdict;
use super::args;
use super::ask::Host;
use super::out::{Out, Style, Table, Tone, cell, known, plain};
use super::show::{self, count};
use super::text;
use crate::admin::summit;
use crate::admin::view::{BuilderView, DiskView};
use crate::fault::Result;

pub(super) async fn builder(host: &Host, builder: &args::Builder, out: &Out) -> Result<Verdict> {
    let builders = match builder {
        args::Builder::List { at: None } => host.ask(&summit::BuilderList {}).await?.builders,
        args::Builder::List { at: Some(at) } => {
            let view = super::past::view(host, *at).await?;
            super::past::say_when(&view, out);
            view.builders
        }
        args::Builder::Show { name } => {
            let ask = summit::BuilderShow { name: name.clone() };
            let builder = host.ask(&ask).await?.builder;
            return super::comparing::builder(host, &builder, out).await;
        }
        args::Builder::Owner { name, owner } => {
            let ask = summit::BuilderOwner {
                name: name.clone(),
                owner: owner.clone(),
            };
            let reply = host.ask(&ask).await?;
            match out.style {
                Style::Json => out.value(&reply)?,
                Style::Ids | Style::People => out.line(match &reply.proof.owner {
                    Some(owner) => format!("{name} is a machine of {owner}"),
                    None => format!("{name} is nobody's machine in particular"),
                }),
            }
            return Ok(Verdict::Done);
        }
        args::Builder::Rise { after } => {
            let reply = host.ask(&summit::BuilderRise { after: *after }).await?;
            match out.style {
                Style::Json => out.value(&reply)?,
                Style::Ids | Style::People => out.line(format!(
                    "a builder for tests may rise after {} matches",
                    reply.after
                )),
            }
            return Ok(Verdict::Done);
        }
        args::Builder::Rebuild { name } => {
            let ask = summit::BuilderRebuild { name: name.clone() };
            return super::comparing::rebuilt(&host.ask(&ask).await?.builds, out);
        }
        args::Builder::Drain {
            name,
            deadline,
            reason,
        } => {
            let ask = summit::BuilderDrain {
                name: name.clone(),
                deadline_s: deadline.map(|span| span.as_secs()),
                reason: reason.clone(),
            };
            return one(&host.ask(&ask).await?.builder, out);
        }
        args::Builder::Resume { name } => {
            let ask = summit::BuilderResume { name: name.clone() };
            return one(&host.ask(&ask).await?.builder, out);
        }
        args::Builder::Quarantine { name, reason } => {
            let ask = summit::BuilderQuarantine {
                name: name.clone(),
                reason: reason.clone(),
            };
            return one(&host.ask(&ask).await?.builder, out);
        }
        args::Builder::Release { name } => {
            let ask = summit::BuilderRelease { name: name.clone() };
            return one(&host.ask(&ask).await?.builder, out);
        }
    };
    match out.style {
        Style::Json => out.value(&builders)?,
        Style::Ids => builders
            .iter()
            .for_each(|builder| out.line(builder.name.as_str())),
        Style::People => {
            let mut table = Table::new()
                .column("builder")
                .column("trust")
                .column("verdict")
                .number("heard")
                .column("slots")
                .column("disk")
                .words("works on")
                .words("held");
            for builder in &builders {
                let busy = builder.slots.iter().filter(|slot| slot.job.is_some());
                let busy = busy.count();
                let works: Vec<String> = builder
                    .slots
                    .iter()
                    .filter_map(|slot| {
                        Some(format!(
                            "{} {}",
                            slot.recipe.as_deref()?,
                            slot.phase.as_deref().unwrap_or_default()
                        ))
                    })
                    .collect();
                let holds: Vec<String> = builder.holds.iter().map(show::hold_text).collect();
                table.row([
                    cell(&builder.name, Tone::Strong),
                    plain(&builder.trust),
                    cell(&builder.verdict, tone_of(&builder.verdict)),
                    known(builder.last_heard_s.map(text::span)),
                    plain(format!("{busy}/{}", builder.slots.len())),
                    known(
                        builder
                            .disks
                            .iter()
                            .filter_map(|disk| disk.free_bytes)
                            .min()
                            .map(|bytes| format!("{} free", text::bytes(bytes))),
                    ),
                    plain(works.join(", ")),
                    plain(holds.join(", ")),
                ]);
            }
            out.table(&table);
        }
    }
    Ok(Verdict::Done)
}

fn one(builder: &BuilderView, out: &Out) -> Result<Verdict> {
    match out.style {
        Style::Json => out.value(builder)?,
        Style::Ids => out.line(builder.name.as_str()),
        Style::People => show_builder(builder, out),
    }
    Ok(Verdict::Done)
}

fn tone_of(verdict: &str) -> Tone {
    show::tone_of_verdict(verdict)
}

pub(super) fn show_builder(builder: &BuilderView, out: &Out) {
    out.field(
        "builder",
        format!("{} ({})", builder.name, builder.id.short()),
    );
    out.field("trust", &builder.trust);
    out.field("verdict", &builder.verdict);
    out.field("evidence", builder.evidence.join("\n"));
    out.field(
        "last heard",
        builder.last_heard_s.map_or_else(
            || "never".into(),
            |seconds| format!("{} ago", text::span(seconds)),
        ),
    );
    for hold in &builder.holds {
        out.field("hold", show::hold_text(hold));
    }
    let cores = builder
        .cores
        .map_or_else(|| "? cores".into(), |cores| count(cores, "core"));
    let memory = match (builder.memory_free_bytes, builder.memory_total_bytes) {
        (Some(free), Some(total)) => {
            format!("{} of {} free", text::bytes(free), text::bytes(total))
        }
        _ => "memory not known".into(),
    };
    out.field("machine", format!("{}, {cores}, {memory}", builder.arch));
    out.field("levels", builder.levels.join(" "));
    out.field("processor", builder.features.join(" "));
    for disk in &builder.disks {
        out.field("disk", disk_text(disk));
    }
    if let Some(degrees) = builder.temperature_c {
        out.field("temperature", format!("{degrees:.0} C"));
    }
    if builder.reclaimed_bytes > 0 || builder.parked > 0 {
        let bytes = text::bytes(builder.reclaimed_bytes);
        out.field(
            "room",
            format!(
                "{bytes} of caches thrown away, {} builds given back",
                builder.parked
            ),
        );
    }
    for cache in &builder.caches {
        let place = match cache.present {
            true => format!(" in each slot, below {}", cache.directory),
            false => String::new(),
        };
        out.field("cache", show::cache(cache) + &place);
    }
    if let Some(means) = &builder.confined_by {
        out.field("slots by", means);
    }
    for slot in &builder.slots {
        let what = match (slot.job, &slot.recipe) {
            (Some(job), _) if slot.with_slot.is_some() => format!(
                "taken by job {job} too, see slot {}",
                slot.with_slot.unwrap_or_default()
            ),
            (Some(job), Some(recipe)) => {
                let since = slot.since.map_or_else(String::new, |since| {
                    format!(" for {}", show::took(since, None))
                });
                let silent = slot.silent_s.filter(|seconds| *seconds >= 10.0);
                let silent = silent.map_or_else(String::new, |seconds| {
                    format!(", silent for {}", text::span(seconds))
                });
                let memory = slot.memory_peak_bytes.filter(|bytes| *bytes > 0);
                let memory = memory.map_or_else(String::new, |bytes| {
                    format!(", up to {} of memory", text::bytes(bytes))
                });
                let took = |what: &str, bytes: Option<u64>| {
                    let bytes = bytes.filter(|bytes| *bytes > 0);
                    bytes.map_or_else(String::new, |bytes| {
                        format!(", {} {what}", text::bytes(bytes))
                    })
                };
                let disk = took("on disk", slot.disk_bytes);
                let moved = took("read and written", slot.io_bytes);
                let log = took("of log", slot.log_bytes);
                let cpu = slot.cpu_s.filter(|seconds| *seconds >= 1.0);
                let cpu = cpu.map_or_else(String::new, |seconds| {
                    format!(", {} of processor time", text::span(seconds))
                });
                format!(
                    "{recipe} (job {job}), {}{since}{silent}{memory}{cpu}{disk}{moved}{log}",
                    slot.phase.as_deref().unwrap_or("starting")
                )
            }
            _ => "idle".into(),
        };
        out.field(&format!("slot {}", slot.slot), what);
    }
}

fn disk_text(disk: &DiskView) -> String {
    let known = |bytes: Option<u64>| bytes.map_or_else(|| "?".into(), text::bytes);
    let inodes = disk
        .free_inodes
        .map_or_else(|| "?".into(), |inodes| inodes.to_string());
    let full = disk.full_in_s.map_or_else(String::new, |seconds| {
        format!(", full in {}", text::span(seconds))
    });
    format!(
        "{}: {} of {} free, {inodes} inodes free{full}",
        disk.path,
        known(disk.free_bytes),
        known(disk.total_bytes)
    )
}
