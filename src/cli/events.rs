//! `status`, `doctor`, `watch`, `audit`, `call`, and the store verbs that ask a running host.

use super::Verdict;
use super::args::{self, Global};
use super::ask::Host;
use super::out::{Out, Style, Table, Tone, cell, plain};
use super::show::{self, moment, tone_of_verdict};
use super::text;
use crate::admin::host;
use crate::admin::view::{DoctorView, EventView, JobState, StatusView, StoreCheckView};
use crate::admin::{Facts, all_methods};
use crate::fault::{Fault, Kind, Result, nearest};
use crate::id::Seq;
use crate::limit;

pub(super) async fn status(host: &Host, out: &Out) -> Result<Verdict> {
    let status = host.ask(&host::Status {}).await?.status;
    match out.style {
        Style::Json => out.value(&status)?,
        Style::Ids => out.line(status.host.id.to_string()),
        Style::People => show_status(&status, out),
    }
    Ok(Verdict::Done)
}

/// Who the host is and where it can be reached.
pub(super) fn show_host(status: &StatusView, out: &Out) {
    out.field(
        "host",
        format!(
            "{} ({}), massif {}, {}",
            status.host.name,
            status.host.id.short(),
            status.host.version,
            status.host.roles.join(" ")
        ),
    );
    out.field("up for", text::span(status.uptime_s));
    out.field(
        "admin",
        format!(
            "{} ({})",
            status.addresses.admin,
            what_may_be_done(&status.right)
        ),
    );
    out.field(
        "packages",
        status
            .addresses
            .http
            .as_deref()
            .map(web_address)
            .unwrap_or_default(),
    );
    out.field("hosts", status.addresses.quic.clone().unwrap_or_default());
    if let Some(known) = &status.estimates {
        out.field("predictions", show::accuracy(known));
    }
}

fn show_status(status: &StatusView, out: &Out) {
    show_host(status, out);
    let states: Vec<String> = JobState::ALL
        .iter()
        .filter_map(|state| {
            Some((
                state,
                status
                    .jobs
                    .get(state.as_str())
                    .filter(|count| **count > 0)?,
            ))
        })
        .map(|(state, count)| format!("{count} {}", state.as_str()))
        .collect();
    out.field(
        "jobs",
        if states.is_empty() {
            "none".to_owned()
        } else {
            states.join(", ")
        },
    );
    out.field(
        "published",
        format!("{} in the last hour", status.published_last_hour),
    );
    if let Some(end) = status.end_p50_s {
        let late = status.end_p90_s.map_or_else(String::new, |late| {
            format!(", at worst {}", text::span(late))
        });
        out.field("done in", format!("about {}{late}", text::span(end)));
    }
    if let Some(chain) = &status.critical_path {
        let names: Vec<&str> = chain.recipes.iter().map(|name| name.as_str()).collect();
        let words = format!("{}: {}", text::span(chain.seconds), names.join(", "));
        out.field("longest way", words);
    }
    if status.alarms.is_empty() {
        out.toned(Tone::Good, "no alarms");
    }
    for alarm in &status.alarms {
        let subject = alarm
            .subject
            .as_ref()
            .map_or_else(String::new, |subject| format!("{subject}: "));
        out.toned(
            Tone::Bad,
            format!("! {subject}{}; {}", alarm.text, alarm.next),
        );
    }
}

/// What the caller's right lets them do, in words.
fn what_may_be_done(right: &str) -> &str {
    match right {
        "view" => "you may only look",
        "operate" => "you may build, hold and retry",
        "admin" => "you may change everything",
        other => other,
    }
}

/// What a person types into a client: the address with its scheme.
fn web_address(http: &str) -> String {
    if http.contains("://") {
        http.to_owned()
    } else {
        format!("http://{http}/")
    }
}

/// The host's checks; without a host, those that need none.
pub(super) async fn doctor(host: &Host, global: &Global, out: &Out) -> Result<Verdict> {
    let findings = match host.ask(&host::Doctor {}).await {
        Ok(answer) => answer.findings,
        Err(fault) if fault.kind == Kind::Unreachable => {
            let mut findings = super::run::doctor(global)?;
            findings.push(DoctorView {
                check: "host".into(),
                verdict: "warning".into(),
                have: fault.what.clone(),
                need: "a running host".into(),
                next: fault.next.clone(),
            });
            findings
        }
        Err(fault) => return Err(fault),
    };
    let bad = findings.iter().any(|finding| finding.verdict == "bad");
    match out.style {
        Style::Json => out.value(&findings)?,
        Style::Ids => findings
            .iter()
            .filter(|finding| finding.verdict != "ok")
            .for_each(|finding| out.line(&finding.check)),
        Style::People => {
            for finding in &findings {
                let tone = tone_of_verdict(&finding.verdict);
                out.toned(
                    tone,
                    format!("{:<8} {}: {}", finding.verdict, finding.check, finding.have),
                );
                if finding.verdict != "ok" {
                    if !finding.need.is_empty() {
                        out.line(format!("         needed: {}", finding.need));
                    }
                    if !finding.next.is_empty() {
                        out.line(format!("         {}", finding.next));
                    }
                }
            }
        }
    }
    Ok(if bad {
        Verdict::Negative
    } else {
        Verdict::Done
    })
}

fn show_event(event: &EventView, out: &Out) -> Result<()> {
    match out.style {
        Style::Json => out.value_line(event),
        Style::Ids => {
            out.line(event.seq.to_string());
            Ok(())
        }
        Style::People => {
            let tone = match event.kind.as_str() {
                kind if kind.contains("fail") || kind.contains("lost") => Tone::Bad,
                "published" => Tone::Good,
                _ => Tone::Plain,
            };
            out.toned(
                tone,
                format!(
                    "{:>6}  {}  {:<8}  {}",
                    event.seq.0,
                    moment(event.at),
                    event.actor,
                    text::line(&event.text)
                ),
            );
            Ok(())
        }
    }
}

/// Follows events; starts over from the last one when the host was away for a while.
pub(super) async fn watch(host: &Host, watch: &args::Watch, out: &Out) -> Result<Verdict> {
    let mut since = watch.since;
    let mut left = watch.count.unwrap_or(u64::MAX);
    let mut answers = host
        .connect()
        .await?
        .stream(&host::Watch { since, limit: None })
        .await?;
    while left > 0 {
        match answers.next().await {
            Ok(Some(page)) => {
                if page.gap {
                    super::out::print_fault(&Fault::new(
                        Kind::TryAgain,
                        "some events are no longer kept: there is a gap here",
                    ));
                }
                since = Some(page.seq);
                for event in page
                    .events
                    .iter()
                    .take(usize::try_from(left).unwrap_or(usize::MAX))
                {
                    show_event(event, out)?;
                    left -= 1;
                }
            }
            Ok(None) => break,
            Err(fault) if matches!(fault.kind, Kind::Unreachable | Kind::TryAgain) => {
                super::out::print_fault(&fault);
                answers = again(host, since, fault).await?;
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(Verdict::Done)
}

/// The stream again, once the host is back.
async fn again(
    host: &Host,
    since: Option<Seq>,
    fault: Fault,
) -> Result<crate::net::admin::Answers<host::Watch>> {
    for _ in 0..limit::ADMIN_RECONNECT_S {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        if let Ok(client) = host.connect().await {
            return client.stream(&host::Watch { since, limit: None }).await;
        }
    }
    Err(fault)
}

pub(super) async fn audit(host: &Host, audit: &args::Audit, out: &Out) -> Result<Verdict> {
    let mut client = host.connect().await?;
    let mut after = audit.since;
    let mut left = audit.limit.unwrap_or(usize::MAX);
    let mut rows = Vec::new();
    while left > 0 {
        let ask = host::Audit {
            after,
            limit: Some(u32::try_from(left.min(limit::ADMIN_PAGE_ROWS_MAX)).unwrap_or(u32::MAX)),
            actor: audit.actor.clone(),
            subject: audit.about.clone(),
        };
        let page = client.call(&ask).await?;
        after = Some(page.seq);
        for event in page.events.into_iter().take(left) {
            left -= 1;
            if out.json() {
                rows.push(event)
            } else {
                show_event(&event, out)?
            }
        }
        if !page.more {
            break;
        }
    }
    if out.json() {
        out.value(&rows)?;
    }
    Ok(Verdict::Done)
}

/// All methods, for `massif call` alone.
pub(super) fn methods(out: &Out) -> Result<Verdict> {
    let mut table = Table::new()
        .column("method")
        .column("right")
        .words("what it does");
    let mut rows = Vec::new();
    for facts in all_methods() {
        let about: Vec<&str> = facts.about.iter().map(|line| line.trim()).collect();
        match out.style {
            Style::Json => rows.push(serde_json::json!({
                "method": facts.name, "right": facts.right.as_str(), "streams": facts.streams, "about": about.join(" "),
                "input": facts.input.to_string(), "output": facts.output.to_string(),
            })),
            Style::Ids => out.line(facts.name),
            Style::People => table.row([plain(facts.name), plain(facts.right.as_str()), plain(about.join(" "))]),
        }
    }
    match out.style {
        Style::Json => out.value(&rows)?,
        Style::Ids => {}
        Style::People => out.table(&table),
    }
    Ok(Verdict::Done)
}

/// The method that a whole name or its last part means; a name that is none of ours is passed on as it is.
fn find_method(wanted: &str) -> Result<(String, Option<&'static Facts>)> {
    let found: Vec<&Facts> = all_methods()
        .filter(|facts| {
            facts.name == wanted
                || facts
                    .name
                    .rsplit_once(&format!(".{wanted}"))
                    .is_some_and(|(_, rest)| rest.is_empty())
        })
        .collect();
    match found.as_slice() {
        [facts] => Ok((facts.name.to_owned(), Some(facts))),
        [] if wanted.starts_with("org.varlink.service.") || wanted.matches('.').count() > 2 => {
            Ok((wanted.to_owned(), None))
        }
        [] => {
            let near = nearest(wanted, all_methods().map(|facts| facts.short));
            Err(
                Fault::new(Kind::Usage, format!("no method {wanted}")).next(match near {
                    Some(near) => format!("did you mean {near}?"),
                    None => "see `massif call` for all methods".to_owned(),
                }),
            )
        }
        several => {
            let names: Vec<&str> = several.iter().map(|facts| facts.name).collect();
            Err(Fault::new(
                Kind::Usage,
                format!("{wanted} could be {}", names.join(" or ")),
            )
            .next("give its full name"))
        }
    }
}

pub(super) async fn call(host: &Host, call: &args::Call, out: &Out) -> Result<Verdict> {
    let (method, facts) = find_method(call.method.as_deref().unwrap_or_default())?;
    let parameters =
        serde_json::from_str(call.parameters.as_deref().unwrap_or("{}")).map_err(|error| {
            Fault::new(Kind::Usage, "the parameters are not JSON")
                .because(&error)
                .next("write an object, such as '{\"job\": \"nano\"}'")
        })?;
    let client = host.connect().await?;
    if call.more {
        let mut answers = client.stream_raw(&method, parameters).await?;
        while let Some(answer) = answers.next().await? {
            out.value_line(&answer)?;
        }
    } else {
        let mut client = client;
        let within_s = if facts.is_some_and(|facts| facts.slow) {
            limit::ADMIN_SLOW_CALL_S
        } else {
            limit::ADMIN_CALL_S
        };
        out.value(&client.call_raw(&method, parameters, within_s).await?)?;
    }
    Ok(Verdict::Done)
}

pub(super) async fn store(
    host: &Host,
    store: &args::Store,
    global: &Global,
    out: &Out,
) -> Result<Verdict> {
    match store {
        args::Store::Check => match host.ask(&host::StoreCheck {}).await {
            Ok(answer) => show_check(&answer.report, out),
            Err(fault) if fault.kind == Kind::Unreachable => super::run::store(store, global, out),
            Err(fault) => Err(fault),
        },
        args::Store::Backup { file } => {
            let path = file
                .as_deref()
                .map(super::repository::absolute)
                .transpose()?;
            let ask = host::StoreBackup { path };
            let doing = host.ask(&ask);
            let words = "writing a copy of the store";
            let backup = super::wait::with_work(host, "store_backup", words, doing);
            let backup = backup.await?.backup;
            match out.style {
                Style::Json => out.value(&backup)?,
                Style::Ids => out.line(&backup.path),
                Style::People => out.line(format!(
                    "{}: {} rows up to event {}, {}",
                    backup.path,
                    backup.rows,
                    backup.seq,
                    text::bytes(backup.size)
                )),
            }
            Ok(Verdict::Done)
        }
        args::Store::Restore { .. } | args::Store::Dump { .. } | args::Store::Load { .. } => {
            Err(Fault::bug("this verb asks no host"))
        }
    }
}

/// A report on a store; a bad one is a negative answer.
pub(super) fn show_check(report: &StoreCheckView, out: &Out) -> Result<Verdict> {
    match out.style {
        Style::Json => out.value(report)?,
        Style::Ids => out.line(&report.store_id),
        Style::People => {
            out.field(
                "store",
                format!("{} at generation {}", report.store_id, report.generation),
            );
            out.field(
                "blobs",
                format!("{} ({})", report.blobs, text::bytes(report.blob_bytes)),
            );
            out.field(
                "events",
                if report.events_chained {
                    "the chain is whole"
                } else {
                    "the chain is broken"
                },
            );
            let mut table = Table::new().column("tree").number("rows");
            for tree in &report.trees {
                table.row([plain(&tree.name), cell(tree.rows, Tone::Plain)]);
            }
            out.table(&table);
            for fault in &report.faults {
                out.toned(Tone::Bad, format!("! {}", super::show::fault_text(fault)));
            }
            out.toned(
                if report.ok { Tone::Good } else { Tone::Bad },
                if report.ok {
                    "nothing is wrong"
                } else {
                    "the store is damaged"
                },
            );
        }
    }
    Ok(if report.ok {
        Verdict::Done
    } else {
        Verdict::Negative
    })
}
