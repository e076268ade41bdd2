//! `--at SEQ`: the farm as it was after an event, as far as the log of events tells.

use super::Verdict;
use super::ask::Host;
use super::out::{Out, Style, Tone};
use super::show::moment;
use super::text;
use crate::admin::summit;
use crate::admin::view::{JobState, JobView, PastView};
use crate::fault::{Fault, Kind, Result};
use crate::id::Seq;
use crate::limit;
use crate::net::admin::Client;

/// A long log is folded in several goes; more than these are too many.
const GOES_MAX: u32 = 60;

/// One page; a log that takes long is folded go by go.
async fn page(client: &mut Client, ask: &summit::PastShow) -> Result<summit::Past> {
    let mut goes = 0;
    loop {
        match client.call(ask).await {
            Err(fault) if fault.kind == Kind::TryAgain && goes < GOES_MAX => goes += 1,
            answer => return answer,
        }
    }
}

/// All but the jobs.
pub(super) async fn view(host: &Host, at: Seq) -> Result<PastView> {
    let ask = summit::PastShow {
        at,
        states: Vec::new(),
        after: None,
        limit: Some(1),
    };
    let past = page(&mut host.connect().await?, &ask).await?.past;
    past.ok_or_else(|| Fault::bug("the host told nothing of that moment"))
}

/// Jobs as they stood then, the newest first.
pub(super) async fn jobs(
    host: &Host,
    at: Seq,
    states: Vec<JobState>,
    rows_max: Option<usize>,
    fits: impl Fn(&JobView) -> bool,
) -> Result<(PastView, Vec<JobView>)> {
    let rows_max = rows_max.unwrap_or(usize::MAX);
    let mut client = host.connect().await?;
    let (mut view, mut jobs, mut after) = (None, Vec::new(), None);
    loop {
        let ask = summit::PastShow {
            at,
            states: states.clone(),
            after: after.take(),
            limit: Some(u32::try_from(limit::ADMIN_PAGE_ROWS_MAX).unwrap_or(u32::MAX)),
        };
        let told = page(&mut client, &ask).await?;
        view = view.or(told.past);
        let room = rows_max.saturating_sub(jobs.len());
        jobs.extend(told.jobs.into_iter().filter(&fits).take(room));
        after = told.next.filter(|_| jobs.len() < rows_max);
        if after.is_none() {
            break;
        }
    }
    let view = view.ok_or_else(|| Fault::bug("the host told nothing of that moment"))?;
    Ok((view, jobs))
}

/// Which moment it is, for people.
pub(super) fn say_when(view: &PastView, out: &Out) {
    if out.style == Style::People {
        out.toned(Tone::Warn, when(view));
    }
}

fn when(view: &PastView) -> String {
    match (view.at, &view.event) {
        (Some(at), Some(event)) => format!(
            "as of event {} of {}, {} UTC, after: {}",
            view.seq,
            view.last,
            moment(at),
            event.text
        ),
        _ => format!(
            "as of event {} of {}: before the first one",
            view.seq, view.last
        ),
    }
}

/// `status --at SEQ`
pub(super) async fn status(host: &Host, at: Seq, out: &Out) -> Result<Verdict> {
    let view = view(host, at).await?;
    match out.style {
        Style::Json => out.value(&view)?,
        Style::Ids => out.line(view.seq.to_string()),
        Style::People => {
            say_when(&view, out);
            for alarm in &view.alarms {
                out.toned(Tone::Bad, format!("alarm: {}", text::line(&alarm.text)));
            }
            let states: Vec<String> = JobState::ALL
                .iter()
                .filter_map(|state| Some((view.jobs.get(state.as_str())?, state.as_str())))
                .map(|(count, word)| format!("{count} {word}"))
                .collect();
            out.field(
                "jobs",
                match states.is_empty() {
                    true => "none".to_owned(),
                    false => states.join(", "),
                },
            );
            let hour = format!("{} in the hour before", view.published_last_hour);
            out.field("published", hour);
            for project in &view.projects {
                let commit = project
                    .commit
                    .map_or("no commit yet".to_owned(), |commit| commit.short());
                out.field("project", format!("{} at {commit}", project.name));
            }
            for builder in &view.builders {
                let built: Vec<&str> = builder
                    .slots
                    .iter()
                    .filter_map(|slot| slot.recipe.as_deref())
                    .collect();
                let held = builder.holds.iter().map(super::show::hold_text);
                let told: Vec<String> = match built.is_empty() {
                    true => held.collect(),
                    false => std::iter::once(format!("builds {}", built.join(", ")))
                        .chain(held)
                        .collect(),
                };
                let told = match told.is_empty() {
                    true => "builds nothing".to_owned(),
                    false => told.join("; "),
                };
                out.field(
                    "builder",
                    format!("{}: {}", builder.name, text::line(&told)),
                );
            }
            for words in &view.unknown {
                out.field("not known", words);
            }
        }
    }
    Ok(Verdict::Done)
}
