//! Recipes: what git, the recipe and its manifest say.

use super::queue::whole_span;
use super::{Rank, sorted};
use crate::admin::view::{ChangeView, RecipeDetail, RecipeProofView, RecipeView, TimeLimitView};
use crate::cli::show;
use crate::tui::app::App;
use crate::tui::ask::Reply;
use crate::tui::doc::Doc;
use crate::tui::list::Line;
use crate::tui::page::{Page, Sheet};
use crate::tui::table::{Column, Row, field, fixed, words};
use crate::tui::theme::Ink;

/// The columns.
pub const COLUMNS: &[Column] = &[
    fixed("s", 2, 0),
    words("recipe", 14, 2, 0),
    words("version", 10, 1, 1),
    words("published", 10, 1, 2),
    words("summary, or what is wrong", 30, 4, 3),
    words("licences", 10, 1, 5),
    words("project", 8, 0, 4),
];

fn rows(sheet: &Sheet) -> &[RecipeView] {
    match &sheet.content {
        Some(Reply::Recipes(recipes)) => recipes,
        _ => &[],
    }
}

/// The recipe of a row.
pub fn of(sheet: &Sheet, key: u64) -> Option<&RecipeView> {
    rows(sheet).get(usize::try_from(key).ok()?)
}

fn version(recipe: &RecipeView) -> String {
    match (&recipe.version, recipe.release) {
        (Some(version), Some(release)) => format!("{version}-{release}"),
        _ => String::new(),
    }
}

fn published(recipe: &RecipeView) -> String {
    recipe
        .published
        .as_ref()
        .map_or_else(String::new, |published| {
            show::release(
                &published.version,
                published.release,
                published.build_release,
            )
        })
}

fn held(recipe: &RecipeView) -> String {
    recipe
        .hold
        .as_ref()
        .map_or_else(String::new, show::hold_text)
}

fn words_of(recipe: &RecipeView) -> String {
    match (&recipe.fault, recipe.warnings.first()) {
        (Some(fault), _) => show::fault_text(fault),
        (None, _) if recipe.hold.is_some() => held(recipe),
        (None, Some(warning)) if recipe.summary.is_empty() => show::fault_text(warning),
        _ => recipe.summary.clone(),
    }
}

/// What recipes can be told apart by in a filter.
pub const LABELS: &[&str] = &["state", "project", "licence", "faulty", "held", "published"];

fn label(recipe: &RecipeView, key: &str) -> Option<String> {
    match key {
        "state" => Some(recipe.state.map_or("", |state| state.as_str()).to_owned()),
        "project" => Some(recipe.project.to_string()),
        "licence" => Some(recipe.licenses.join(",")),
        "faulty" => super::yes_no(recipe.fault.is_some()),
        "held" => super::yes_no(recipe.hold.is_some()),
        "published" => super::yes_no(recipe.published.is_some()),
        _ => None,
    }
}

/// The rows.
pub fn lines(sheet: &Sheet) -> Vec<Line> {
    let taken = |recipe: &RecipeView| {
        let words = || {
            let state = recipe.state.map_or("", |state| state.as_str());
            let fault = if recipe.fault.is_some() { "faulty" } else { "" };
            format!(
                "{} {} {} {} {state} {fault} {} {}",
                recipe.name,
                version(recipe),
                recipe.summary,
                recipe.project,
                recipe.licenses.join(" "),
                held(recipe)
            )
        };
        let name = recipe.name.as_str();
        sheet.filter.takes(name, words, |key| label(recipe, key))
    };
    let ranked = rows(sheet)
        .iter()
        .zip(0_u64..)
        .filter(|(recipe, _)| taken(recipe))
        .map(|(recipe, at)| {
            let rank = match sheet.sort {
                0 => Rank::Words(match (&recipe.fault, recipe.state) {
                    (Some(_), _) => "0".into(),
                    (None, _) if recipe.hold.is_some() => "0 held".into(),
                    (None, Some(state)) => format!("1 {}", state.as_str()),
                    (None, None) => "2".into(),
                }),
                2 => Rank::Words(version(recipe)),
                3 => Rank::Words(published(recipe)),
                4 => Rank::Words(words_of(recipe)),
                5 => Rank::Words(recipe.licenses.join(" ")),
                6 => Rank::Words(recipe.project.to_string()),
                _ => Rank::Words(recipe.name.to_string()),
            };
            (rank, at)
        })
        .collect();
    sorted(ranked, sheet.reverse)
}

/// One row.
pub fn row<'a>(app: &App, sheet: &'a Sheet, key: u64) -> Option<Row<'a>> {
    let recipe = of(sheet, key)?;
    let (sign, ink) = match (&recipe.fault, recipe.state) {
        (Some(_), _) => ("!!", Ink::Bad),
        (None, _) if recipe.hold.is_some() => app.theme.held(),
        (None, Some(state)) => app.theme.state(state),
        (None, None) if recipe.published.is_some() => {
            app.theme.state(crate::admin::view::JobState::Published)
        }
        (None, None) => ("", Ink::Faint),
    };
    let words = match (&recipe.fault, &recipe.hold) {
        (Some(_), _) => Ink::Bad,
        (None, Some(_)) => Ink::Warn,
        (None, None) => Ink::Plain,
    };
    Some(Row::Fields(vec![
        field(sign, ink),
        field(recipe.name.as_str(), Ink::Strong),
        field(version(recipe), Ink::Plain),
        field(published(recipe), Ink::Good),
        field(words_of(recipe), words),
        field(recipe.licenses.join(" "), Ink::Faint),
        field(recipe.project.as_str(), Ink::Faint),
    ]))
}

/// A recipe's page.
pub fn doc(app: &App, sheet: &Sheet, doc: &mut Doc) {
    let Some(Reply::Recipe {
        recipe,
        detail,
        changes,
        proof,
    }) = &sheet.content
    else {
        if app.waits(sheet) {
            doc.words(Ink::Faint, "asking the host ...");
        }
        return;
    };
    doc.line(
        vec![
            (Ink::Strong, recipe.name.to_string()),
            (Ink::Plain, format!(" {}", version(recipe))),
        ],
        None,
    );
    doc.words(Ink::Plain, &recipe.summary);
    doc.gap();
    if let Some(fault) = &recipe.fault {
        doc.field_as("cannot be read", Ink::Bad, show::fault_text(fault), None);
    }
    if let Some(hold) = &recipe.hold {
        doc.field_as("held", Ink::Warn, show::hold_text(hold), None);
        doc.field(
            "do",
            format!("massif build {} builds it all the same", recipe.name),
        );
    }
    for warning in &recipe.warnings {
        doc.field_as("warning", Ink::Warn, show::fault_text(warning), None);
    }
    doc.field("licences", recipe.licenses.join(", "));
    if let Some(detail) = detail {
        doc.field("homepage", &detail.homepage);
    }
    doc.field(
        "published",
        recipe
            .published
            .as_ref()
            .map_or("not yet".to_owned(), show::published),
    );
    if let (Some(job), Some(state)) = (recipe.job, recipe.state) {
        doc.field_as(
            "newest job",
            Ink::Plain,
            format!("{job}, {}", state.as_str()),
            Some(Page::Job(job)),
        );
    }
    doc.field("project", format!("{}, in {}", recipe.project, recipe.dir));
    if let Some(proof) = proof {
        compared(proof, doc);
    }
    if let Some(detail) = detail {
        details(app, detail, doc);
    }
    history(app, changes, doc);
}

/// What comparisons of its packages say of it, and the levels that it is built for.
fn compared(proof: &RecipeProofView, doc: &mut Doc) {
    if !proof.comparisons.is_empty() {
        doc.field("compared", show::recipe_score(&proof.score));
        if proof.varies {
            let words = "no: it comes out differently each time";
            doc.field_as("reproducible", Ink::Warn, words, None);
        }
        if !proof.causes.is_empty() {
            doc.field("differs by", show::causes(&proof.causes));
        }
    }
    for level in &proof.levels {
        let mut words = format!("{}, in {}", level.isa, level.profile);
        if let Some(why) = &level.why {
            words = format!("{words}: {why}");
        }
        if let (Some(id), Some(ratio)) = (level.measurement, level.ratio) {
            words = format!("{words}; measurement {id}: {ratio:.3} times as fast");
        }
        doc.field("also for", words);
    }
}

/// How long a build may take, and may do nothing, with who says so.
pub(super) fn limits(time: &Option<TimeLimitView>, silence: &Option<TimeLimitView>, doc: &mut Doc) {
    if time.is_some() || silence.is_some() {
        doc.title("How long a build may take");
    }
    for (name, limit) in [("may take", time), ("may idle", silence)] {
        if let Some(limit) = limit {
            let span = whole_span(limit.time_s as f64);
            doc.field(name, format!("{span} ({})", limit.text));
        }
    }
}

fn details(app: &App, detail: &RecipeDetail, doc: &mut Doc) {
    doc.field("build with", detail.build_systems.join(", "));
    if detail.networking {
        doc.field_as(
            "network",
            Ink::Warn,
            "its phases may reach the network",
            None,
        );
    }
    if !detail.description.trim().is_empty() {
        doc.gap();
        doc.words(Ink::Plain, detail.description.trim());
    }
    upstreams(detail, doc);
    needs(detail, doc);
    packages(detail, doc);
    limits(&detail.time_limit, &detail.silence_limit, doc);
    jobs(app, detail, doc);
}

fn upstreams(detail: &RecipeDetail, doc: &mut Doc) {
    if !detail.upstreams.is_empty() {
        doc.title("Made from");
    }
    for upstream in &detail.upstreams {
        let cached = match upstream.cached {
            Some(true) => (Ink::Good, "here     "),
            Some(false) => (Ink::Plain, "not here "),
            None => (Ink::Faint, "unknown  "),
        };
        let reference = upstream
            .reference
            .as_ref()
            .map_or_else(String::new, |reference| format!(" at {reference}"));
        doc.item(
            &[cached],
            Ink::Plain,
            format!("{}{reference}", upstream.url),
            None,
        );
    }
}

/// What it needs to build, and who provides it.
fn needs(detail: &RecipeDetail, doc: &mut Doc) {
    if !detail.needs.is_empty() {
        doc.title(format!("Needs to build {}", detail.needs.len()));
    }
    let mut needs: Vec<_> = detail.needs.iter().collect();
    needs.sort_by_key(|need| (&need.origin, &need.kind, &need.dependency));
    for need in needs {
        let ink = if need.from == "nothing" {
            Ink::Bad
        } else {
            Ink::Faint
        };
        let provider = need.provider.as_deref().unwrap_or("");
        let link = (need.from == "recipe")
            .then(|| need.provider.clone().map(Page::Recipe))
            .flatten();
        doc.line(
            vec![
                (Ink::Faint, format!("{:<9} ", need.origin)),
                (Ink::Plain, format!("{:<36} ", need.dependency)),
                (ink, format!("{} {provider}", need.from)),
            ],
            link,
        );
    }
}

/// What comes out of it.
fn packages(detail: &RecipeDetail, doc: &mut Doc) {
    if !detail.packages.is_empty() {
        doc.title("Makes");
    }
    for package in &detail.packages {
        doc.line(
            vec![
                (Ink::Strong, package.name.clone()),
                (Ink::Faint, format!("  {}", package.summary)),
            ],
            None,
        );
        for (name, words) in [
            ("provides ", &package.provides),
            ("needs    ", &package.depends),
        ] {
            if !words.is_empty() {
                let lead = format!("  {name}");
                doc.item(&[(Ink::Faint, &lead)], Ink::Plain, words.join(", "), None);
            }
        }
    }
}

fn jobs(app: &App, detail: &RecipeDetail, doc: &mut Doc) {
    if !detail.jobs.is_empty() {
        doc.title("Last jobs");
    }
    for id in &detail.jobs {
        let Some(job) = app.shown().job(*id) else {
            doc.line(vec![(Ink::Key, format!("job {id}"))], Some(Page::Job(*id)));
            continue;
        };
        let (sign, ink) = app.theme.state(job.state);
        let took = job.attempts.last().map(|attempt| {
            let took = show::took_until(attempt.started, attempt.ended, app.clock());
            let ago = whole_span(app.clock().seconds_since(attempt.started));
            format!("  {took} on {}, begun {ago} ago", attempt.builder)
        });
        doc.line(
            vec![
                (ink, format!("{sign} {:<10} ", job.state.as_str())),
                (Ink::Key, format!("job {id}  ")),
                (
                    Ink::Plain,
                    show::release(&job.version, job.release, job.build_release),
                ),
                (Ink::Plain, took.unwrap_or_default()),
            ],
            Some(Page::Job(*id)),
        );
    }
}

fn history(app: &App, changes: &[ChangeView], doc: &mut Doc) {
    if changes.is_empty() {
        return;
    }
    doc.title("History");
    for change in changes {
        let ago = whole_span(app.clock().seconds_since(change.at));
        doc.line(
            vec![
                (Ink::Faint, format!("{}  {ago:>7}  ", change.commit.short())),
                (Ink::Plain, change.title.clone()),
                (Ink::Faint, format!("  {}", change.author)),
            ],
            None,
        );
    }
}
