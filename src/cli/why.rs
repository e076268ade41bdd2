//! `why`.

use super::Verdict;
use super::args;
use super::ask::Host;
use super::out::{Out, Style, Tone};
use super::show::{self, reason_text};
use super::text;
use crate::admin::summit;
use crate::admin::view::WhyView;
use crate::fault::Result;

pub(super) async fn why(host: &Host, why: &args::Why, out: &Out) -> Result<Verdict> {
    let thing = why.thing.clone();
    let answer = match why.at {
        None => host.ask(&summit::Why { thing }).await?.why,
        Some(at) => {
            // Which moment it is belongs to the answer; it also folds a long log go by go.
            let view = super::past::view(host, at).await?;
            super::past::say_when(&view, out);
            host.ask(&summit::PastWhy { at, thing }).await?.why
        }
    };
    match out.style {
        Style::Json => out.value(&answer)?,
        Style::Ids => answer
            .reasons
            .iter()
            .for_each(|reason| out.line(&reason.kind)),
        Style::People => show_why(&answer, out),
    }
    Ok(Verdict::Done)
}

fn show_why(why: &WhyView, out: &Out) {
    // `job 4 hen 1.0.0-1` says already what kind of thing it is.
    let kind = match why.thing.starts_with(&why.kind) {
        true => String::new(),
        false => format!("{} ", why.kind),
    };
    out.toned(
        Tone::Strong,
        format!("{kind}{} is {}", why.thing, why.state),
    );
    if !why.summary.is_empty() {
        out.line(&why.summary);
    }
    for (at, reason) in why.reasons.iter().enumerate() {
        out.line(format!(
            "{}. {} [{}'s move]",
            at + 1,
            reason_text(reason),
            reason.whose
        ));
        if let Some(next) = &reason.next {
            out.line(format!("   {next}"));
        }
    }
    for builder in &why.builders {
        let failed: Vec<String> = builder.failed.iter().map(reason_text).collect();
        let because = if failed.is_empty() {
            String::new()
        } else {
            format!(": {}", failed.join("; "))
        };
        out.toned(
            show::tone_of_verdict(&builder.verdict),
            format!("   {} {}{because}", builder.builder, builder.verdict),
        );
    }
    if let Some(cheapest) = &why.cheapest {
        out.field("would start", cheapest);
    }
    if let Some(limit) = &why.time_limit {
        out.field("may take", show::time_limit(limit));
    }
    if let Some(limit) = &why.silence_limit {
        out.field("may idle", show::time_limit(limit));
    }
    out.field("starts", text::forecast(why.start_p50_s, why.start_p90_s));
    out.field("ends", text::forecast(why.end_p50_s, why.end_p90_s));
    if let Some(note) = &why.forecast {
        out.line(format!("   {note}"));
    }
}
