//! `compare`, and what comparisons say in `builder show` and `recipe show`.

use std::path::Path;
use std::time::Duration;

use super::Verdict;
use super::args;
use super::ask::{self, Host};
use super::files::copy;
use super::out::{Out, Style, Table, Tone, cell, plain};
use super::show::{self, count, moment};
use super::text;
use crate::admin::view::{BuildView, BuilderView, ComparisonView, DifferenceView, RecipeProofView};
use crate::admin::{Method, summit};
use crate::fault::{Fault, Kind, Result};
use crate::id::ProfileName;

/// Between two looks at a comparison.
pub(super) const LOOK: Duration = Duration::from_millis(250);

pub(super) async fn compare(host: &Host, wish: &args::Compare, out: &Out) -> Result<Verdict> {
    match &wish.what {
        Some(args::Compared::List { recipe, limit }) => {
            let ask = summit::CompareList {
                recipe: recipe.clone(),
                limit: *limit,
            };
            list(&host.ask(&ask).await?, out)
        }
        Some(args::Compared::Show { id, out: to }) => {
            let found = host.ask(&summit::CompareShow { id: *id }).await?.comparison;
            if let Some(to) = to {
                copy_both(host, &found, to).await?;
            }
            print(&found, out)?;
            Ok(Verdict::Done)
        }
        None if wish.isa => super::worth::isa(host, wish, out).await,
        None => begin(host, wish, out).await,
    }
}

/// What is seen of something that is under way.
pub(super) struct Looked<'a> {
    pub(super) over: bool,
    /// Why it has not begun.
    pub(super) waits_for: Option<&'a str>,
}

/// Asks until it is over, and says once what it waits for; the last answer.
pub(super) async fn until_over<M: Method>(
    host: &Host,
    ask: &M,
    out: &Out,
    look: impl for<'a> Fn(&'a M::Reply) -> Looked<'a>,
) -> Result<M::Reply> {
    let mut client = host.connect().await?;
    let mut told = String::new();
    loop {
        let reply = client.call(ask).await?;
        let looked = look(&reply);
        if looked.over {
            return Ok(reply);
        }
        let why = looked.waits_for.filter(|why| *why != told);
        if let (Style::People, Some(why)) = (out.style, why) {
            eprintln!("massif: it waits: {why}");
            told = why.to_string();
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn begin(host: &Host, wish: &args::Compare, out: &Out) -> Result<Verdict> {
    let ask = summit::Compare {
        package: wish.package.clone().unwrap_or_default(),
        on: wish.on.clone(),
        channel: wish.channel.clone(),
    };
    let begun = host.ask(&ask).await?;
    if wish.no_wait {
        match out.style {
            Style::Json => out.value(&begun)?,
            Style::Ids => out.line(begun.id.to_string()),
            Style::People => out.line(format!(
                "comparison {}: {} {}, built by {}",
                begun.id, begun.recipe, begun.release, begun.publisher
            )),
        }
        return Ok(Verdict::Done);
    }
    let ask = summit::CompareShow { id: begun.id };
    let done = until_over(host, &ask, out, |reply| {
        let one = &reply.comparison;
        Looked {
            over: one.over && one.state != "examining",
            waits_for: one.text.as_deref().filter(|_| one.state == "waiting"),
        }
    });
    let done = done.await?.comparison;
    print(&done, out)?;
    Ok(match done.matches {
        Some(true) => Verdict::Done,
        Some(false) | None => Verdict::Negative,
    })
}

/// `project level`: what is chosen for which layer.
pub(super) fn levels(found: &summit::Levels, only: Option<&ProfileName>, out: &Out) -> Result<()> {
    let levels = found.levels.iter();
    let levels = levels.filter(|level| only.is_none_or(|only| *only == level.profile));
    match out.style {
        Style::Json => out.value(&levels.collect::<Vec<_>>())?,
        Style::Ids => levels
            .flat_map(|level| &level.recipes)
            .for_each(|choice| out.line(choice.recipe.as_str())),
        Style::People => {
            let mut table = Table::new()
                .column("layer")
                .column("above")
                .column("channel")
                .column("recipe")
                .column("since")
                .words("why");
            for level in levels {
                let row = |recipe: &str, since: String, why: &str| {
                    [
                        cell(&level.profile, Tone::Strong),
                        plain(&level.over),
                        plain(&level.channel),
                        plain(recipe),
                        plain(since),
                        plain(why),
                    ]
                };
                if level.recipes.is_empty() {
                    table.row(row("", String::new(), "nothing is chosen"));
                }
                for choice in &level.recipes {
                    let why = choice.why.as_deref().unwrap_or_default();
                    table.row(row(choice.recipe.as_str(), moment(choice.at), why));
                }
            }
            out.table(&table);
        }
    }
    Ok(())
}

/// How much it agrees, in words.
fn outcome(view: &ComparisonView) -> (String, Tone) {
    let words = match view.level.as_deref() {
        Some("same") => "the same bytes",
        Some("container") => "the same content, packed otherwise",
        Some("metadata") => "other metadata",
        Some("files") => "other files",
        _ => view.state.as_str(),
    };
    let tone = match (view.matches, view.state.as_str()) {
        (Some(true), _) => Tone::Good,
        (Some(false), _) | (None, "failed") => Tone::Bad,
        _ => Tone::Busy,
    };
    let text = match view.same_host && view.level.is_some() {
        true => format!("{words} (on the same host)"),
        false => words.to_string(),
    };
    (text, tone)
}

fn list(found: &summit::Comparisons, out: &Out) -> Result<Verdict> {
    match out.style {
        Style::Json => out.value(found)?,
        Style::Ids => found
            .comparisons
            .iter()
            .for_each(|one| out.line(one.id.to_string())),
        Style::People => {
            let mut table = Table::new()
                .number("id")
                .column("recipe")
                .column("release")
                .column("published by")
                .column("rebuilt by")
                .column("result")
                .column("together")
                .words("causes");
            for one in &found.comparisons {
                let (words, tone) = outcome(one);
                let together = match &one.wrong {
                    Some(wrong) => format!("{wrong} is wrong alone"),
                    None => one.judgement.clone().unwrap_or_default().replace('_', " "),
                };
                let why = match &one.fault {
                    Some(fault) => fault.what.clone(),
                    None => one
                        .text
                        .clone()
                        .unwrap_or_else(|| show::causes(&one.causes)),
                };
                table.row([
                    plain(one.id),
                    cell(&one.recipe, Tone::Strong),
                    plain(&one.release),
                    plain(&one.publisher),
                    plain(one.builder.as_deref().unwrap_or_default()),
                    cell(words, tone),
                    plain(together),
                    plain(why),
                ]);
            }
            if found.comparisons.is_empty() {
                eprintln!("massif: nothing was compared yet; massif compare PACKAGE does");
            }
            out.table(&table);
            for cause in &found.causes {
                let differences = count(cause.count, "difference");
                out.line(format!(
                    "{}: {differences} in {}",
                    cause.cause.replace('_', " "),
                    cause.recipes.join(", ")
                ));
            }
        }
    }
    Ok(Verdict::Done)
}

fn print(view: &ComparisonView, out: &Out) -> Result<()> {
    match out.style {
        Style::Json => out.value(view)?,
        Style::Ids => out.line(view.id.to_string()),
        Style::People => {
            out.field("comparison", view.id.to_string());
            out.field(
                "recipe",
                format!("{} {} of {}", view.recipe, view.release, view.project),
            );
            out.field(
                "published by",
                format!("{} in {}", view.publisher, view.channel),
            );
            out.field("rebuilt by", view.builder.as_deref().unwrap_or_default());
            out.field("began", format!("{}, for {}", moment(view.began), view.by));
            out.field("result", outcome(view).0);
            if let Some(fault) = &view.fault {
                out.field("failed", show::fault_text(fault));
            }
            if view.level.is_some() {
                let bytes = text::bytes(view.bytes);
                out.field(
                    "files",
                    format!(
                        "{} of {} are the same bytes; {bytes} in all",
                        view.same, view.artefacts
                    ),
                );
            }
            let together = match (view.judgement.as_deref(), &view.wrong) {
                (_, Some(wrong)) => format!("{wrong} is wrong alone"),
                (Some("undecided"), None) => {
                    "undecided: a third builder has to say who is wrong".into()
                }
                (Some("varies"), None) => {
                    "it comes out differently each time: nobody is blamed".into()
                }
                (Some("bases_differ"), None) => {
                    "nobody can tell: the bases differ, which may be why; it counts for and against nobody"
                        .into()
                }
                (Some("match"), None) => "match: another builder came to the same".into(),
                (Some("same_host"), None) => {
                    "one builder came to the same twice, which proves little: massif invite --role avalanche brings another"
                        .into()
                }
                (word, None) => word.unwrap_or_default().replace('_', " "),
            };
            out.field("together", together);
            if let Some(bases) = &view.bases {
                out.field("bases", &bases.text);
            }
            out.field("causes", show::causes(&view.causes));
            for difference in &view.differences {
                out.field("differs", difference_text(difference));
            }
            if view.unlisted > 0 {
                out.field("and", format!("{} more", view.unlisted));
            }
            if !view.evidence.is_empty() {
                let files = count(view.evidence.len() as u64, "file");
                out.field(
                    "kept",
                    format!("{files}: massif compare show {} --out DIR", view.id),
                );
            }
        }
    }
    Ok(())
}

fn difference_text(found: &DifferenceView) -> String {
    let place = match &found.path {
        Some(path) => format!("{}: /usr/{path}", found.artefact),
        None => found.artefact.clone(),
    };
    let at = match (found.offset, &found.section) {
        (Some(offset), Some(section)) => format!(", byte {offset} in {section}"),
        (Some(offset), None) => format!(", byte {offset}"),
        _ => String::new(),
    };
    let sizes = match (found.published_bytes, found.rebuilt_bytes) {
        (Some(one), Some(other)) if one != other => format!(", {one} / {other} bytes"),
        _ => String::new(),
    };
    let cause = found.cause.replace('_', " ");
    format!("{place}\n{cause}{at}{sizes}: {}", found.text)
}

/// Copies both sides of the files that differ.
async fn copy_both(host: &Host, view: &ComparisonView, to: &Path) -> Result<()> {
    let made = |dir: &Path| {
        std::fs::create_dir_all(dir).map_err(|error| {
            Fault::new(Kind::Usage, format!("cannot make {}", dir.display())).because(&error)
        })
    };
    let (ours, theirs) = (to.join("published"), to.join("rebuilt"));
    made(&ours)?;
    made(&theirs)?;
    let ask = summit::JobArtefacts {
        job: view.job.to_string(),
        try_no: Some(view.try_no),
    };
    let published = host.ask(&ask).await?.artefacts;
    for kept in &view.evidence {
        copy(host, kept.job, &kept.file, &theirs).await?;
        if let Some(one) = published.iter().find(|one| one.name == kept.file.name) {
            copy(host, view.job, one, &ours).await?;
        }
    }
    Ok(())
}

/// `builder show`, with what comparisons say of it.
pub(super) async fn builder(host: &Host, view: &BuilderView, out: &Out) -> Result<Verdict> {
    let ask = summit::BuilderProofShow {
        name: view.name.to_string(),
    };
    let reply = match host.ask(&ask).await {
        Ok(reply) => reply,
        // A host that only builds shows its owner itself; what others think of it, summit knows.
        Err(fault) if matches!(fault.kind, Kind::TryAgain | Kind::NotFound) => {
            match out.style {
                Style::Json => out.value(view)?,
                Style::Ids => out.line(view.name.as_str()),
                Style::People => super::machines::show_builder(view, out),
            }
            return Ok(Verdict::Done);
        }
        Err(fault) => return Err(fault),
    };
    let proof = &reply.proof;
    match out.style {
        Style::Json => out.value(&ask::joined(view, &reply)?)?,
        Style::Ids => out.line(view.name.as_str()),
        Style::People => {
            super::machines::show_builder(view, out);
            let score = &proof.score;
            out.field("compared", show::builder_score(score));
            out.field("owner", proof.owner.as_deref().unwrap_or_default());
            for base in &proof.bases {
                out.field("base", show::base(base));
            }
            if view.trust == "test" && proof.rises_after > 0 {
                let have = score.matches;
                let next = match have >= u64::from(proof.rises_after) {
                    true => format!(
                        "; to confirm: massif peer approve {} --trust trusted",
                        view.name
                    ),
                    false => String::new(),
                };
                out.field(
                    "rises",
                    format!("{have} of {} matches{next}", proof.rises_after),
                );
            }
            if let Some(id) = proof.convicted_by {
                out.field(
                    "wrong alone",
                    format!(
                        "see massif compare show {id}; massif builder release {} ends it",
                        view.name
                    ),
                );
                for made in &proof.unproven {
                    out.field(
                        "unproven",
                        format!(
                            "{} {}-{} (job {}), {}",
                            made.recipe,
                            made.version,
                            made.release,
                            made.job,
                            moment(made.assigned)
                        ),
                    );
                }
                if !proof.unproven.is_empty() {
                    out.field("next", format!("massif builder rebuild {}", view.name));
                }
            }
        }
    }
    Ok(Verdict::Done)
}

/// What `builder rebuild` ordered.
pub(super) fn rebuilt(builds: &[BuildView], out: &Out) -> Result<Verdict> {
    match out.style {
        Style::Json => out.value(&builds)?,
        Style::Ids => builds
            .iter()
            .filter_map(|build| build.job)
            .for_each(|job| out.line(job.to_string())),
        Style::People => {
            for build in builds {
                out.line(format!("{}: {}", build.recipe, build.text));
            }
            if builds.is_empty() {
                out.line(
                    "nothing to do: all that it published since its last match is proven or gone",
                );
            }
        }
    }
    Ok(Verdict::Done)
}

/// What comparisons say of a recipe, on its page.
pub(super) fn of_recipe(proof: &RecipeProofView, out: &Out) {
    if proof.comparisons.is_empty() {
        return;
    }
    out.field("compared", show::recipe_score(&proof.score));
    if proof.varies {
        out.field("reproducible", "no: it comes out differently each time");
    }
    out.field("differs by", show::causes(&proof.causes));
    let ids: Vec<String> = proof.comparisons.iter().map(ToString::to_string).collect();
    out.field("comparisons", ids.join(" "));
}
