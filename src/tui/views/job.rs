//! A job's page: where it stands and why, its tries with phases and evidence, what it waits for and what waits for it.

use super::queue::{predicted, progress_words, whole_span};
use crate::admin::summit::JobPage;
use crate::admin::view::{JobRef, JobView};
use crate::cli::{show, text};
use crate::id::JobId;
use crate::tui::app::App;
use crate::tui::ask::Reply;
use crate::tui::doc::Doc;
use crate::tui::page::{Page, Sheet};
use crate::tui::theme::Ink;

/// Neighbours that are listed.
const NEIGHBOURS_MAX: usize = 200;

/// Writes the page.
pub fn doc(app: &App, sheet: &Sheet, id: JobId, doc: &mut Doc) {
    let page = match &sheet.content {
        Some(Reply::Job(page)) => Some(page.as_ref()),
        _ => None,
    };
    // The snapshot is newer than what was asked for once; the page has the details.
    let known = app.shown().job(id);
    let job = match (known, page) {
        (Some(job), _) => job.as_ref(),
        (None, Some(page)) => &page.job,
        (None, None) => {
            if app.waits(sheet) {
                doc.words(Ink::Faint, "asking the host ...");
            }
            return;
        }
    };
    head(app, job, doc);
    if !job.waits_for.is_empty() {
        doc.title(if job.state.is_final() {
            "Why"
        } else {
            "Waits for"
        });
        for wait in &job.waits_for {
            let lead = format!("{}  ", wait.kind);
            doc.item(&[(Ink::Faint, &lead)], Ink::Plain, &wait.text, None);
        }
    }
    attempts(app, job, doc);
    if let Some(page) = page {
        details(app, page, doc);
    }
}

fn head(app: &App, job: &JobView, doc: &mut Doc) {
    let (sign, ink) = app.theme.state(job.state);
    let release = show::release(&job.version, job.release, job.build_release);
    let progress = progress_words(app, job, 20);
    doc.line(
        vec![
            (ink, format!("{sign} {}", job.state.as_str())),
            (Ink::Strong, format!("  {} {release}", job.recipe)),
            (Ink::Busy, format!("  {progress}")),
        ],
        None,
    );
    doc.gap();
    if let Some(hold) = &job.hold {
        doc.field_as("held", Ink::Warn, show::hold_text(hold), None);
    }
    doc.field("because", &job.because);
    let recipe = Page::Recipe(format!("{}/{}", job.project, job.recipe));
    doc.field_as(
        "recipe",
        Ink::Plain,
        format!(
            "{} of {} at {}",
            job.recipe,
            job.project,
            job.commit.short()
        ),
        Some(recipe),
    );
    doc.field("profile", job.profile.as_str());
    doc.field(
        "estimate",
        job.estimate_s.map_or_else(|| no_estimate(app), text::span),
    );
    doc.field(
        "planned",
        format!(
            "{} UTC, {} ago",
            show::moment(job.created),
            whole_span(app.clock().seconds_since(job.created))
        ),
    );
    if let Some(ended) = job.ended {
        doc.field(
            "ended",
            format!(
                "{} UTC, {} ago",
                show::moment(ended),
                whole_span(app.clock().seconds_since(ended))
            ),
        );
    }
}

fn no_estimate(app: &App) -> String {
    match app.then() {
        Some(_) => "unknown: it had never been built by then".into(),
        None => "unknown: it was never built here".into(),
    }
}

fn attempts(app: &App, job: &JobView, doc: &mut Doc) {
    if job.attempts.is_empty() {
        return;
    }
    doc.title(format!("Tries {}", job.attempts.len()));
    for attempt in job.attempts.iter().rev() {
        let took = match attempt.ended {
            Some(ended) => text::span(ended.seconds_since(attempt.started)),
            None => whole_span(app.clock().seconds_since(attempt.started)),
        };
        let ink = match attempt.state.as_str() {
            "published" | "built" => Ink::Good,
            "failed" | "lost" => Ink::Bad,
            "cancelled" => Ink::Faint,
            _ => Ink::Busy,
        };
        doc.line(
            vec![
                (Ink::Key, format!("{:>3}  ", attempt.try_no)),
                (ink, format!("{:<10} ", attempt.state)),
                (Ink::Plain, format!("on {}  {took}  ", attempt.builder)),
                (Ink::Plain, attempt.phase.clone().unwrap_or_default()),
                (
                    Ink::Faint,
                    match attempt.log_bytes {
                        0 => "  log".to_owned(),
                        bytes => format!("  log {}", text::bytes(bytes)),
                    },
                ),
            ],
            Some(Page::Log(job.id, Some(attempt.try_no))),
        );
        if attempt.blame.is_some() || attempt.why.is_some() {
            doc.item(
                &[(Ink::Plain, "     ")],
                Ink::Bad,
                show::failure(attempt),
                None,
            );
        }
    }
}

fn details(app: &App, page: &JobPage, doc: &mut Doc) {
    let detail = &page.detail;
    let times = [
        ("starts", detail.start_p50_s, detail.start_p90_s),
        ("ends", detail.end_p50_s, detail.end_p90_s),
    ];
    if times.iter().any(|(_, half, _)| half.is_some()) {
        doc.title("When");
        for (name, half, late) in times {
            if let Some(half) = half {
                doc.field(name, predicted(half, late));
            }
        }
    }
    phases(app, page, doc);
    if !detail.evidence.is_empty() {
        doc.title("Evidence of the last try, before it was stopped");
        for line in &detail.evidence {
            doc.words(Ink::Plain, line);
        }
    }
    neighbours(app, "Needs first", &detail.depends_on, doc);
    neighbours(app, "Is needed by", &detail.needed_by, doc);
    if !detail.artefacts.is_empty() {
        doc.title("Made");
        for artefact in &detail.artefacts {
            doc.line(
                vec![
                    (Ink::Plain, format!("{:>9}  ", text::bytes(artefact.size))),
                    (Ink::Plain, artefact.name.clone()),
                ],
                None,
            );
        }
    }
    if !detail.priority_terms.is_empty() {
        let worth = page.job.priority.unwrap_or_default();
        doc.title(format!("Priority {worth:.0}"));
        for term in &detail.priority_terms {
            doc.line(
                vec![
                    (Ink::Plain, format!("{:>12.1}  ", term.value)),
                    (Ink::Faint, term.name.clone()),
                ],
                None,
            );
        }
    }
}

/// The phases of the last try with their times.
fn phases(app: &App, page: &JobPage, doc: &mut Doc) {
    let detail = &page.detail;
    if !detail.phases.is_empty() {
        doc.title("Phases of the last try");
        for phase in &detail.phases {
            let took = phase.took_s.map_or_else(
                || {
                    format!(
                        "{} so far",
                        whole_span(app.clock().seconds_since(phase.started))
                    )
                },
                text::span,
            );
            doc.line(
                vec![
                    (Ink::Plain, format!("{:<16} ", phase.name)),
                    (Ink::Plain, format!("{took:>10}")),
                ],
                None,
            );
        }
    }
}

fn neighbours(app: &App, title: &str, jobs: &[JobRef], doc: &mut Doc) {
    if jobs.is_empty() {
        return;
    }
    doc.title(format!("{title} {}", jobs.len()));
    for job in jobs.iter().take(NEIGHBOURS_MAX) {
        let (sign, ink) = app.theme.state(job.state);
        doc.line(
            vec![
                (ink, format!("{sign} ")),
                (Ink::Key, job.recipe.to_string()),
                (
                    Ink::Faint,
                    format!("  job {}, {}", job.id, job.state.as_str()),
                ),
            ],
            Some(Page::Job(job.id)),
        );
    }
    if jobs.len() > NEIGHBOURS_MAX {
        doc.words(
            Ink::Faint,
            format!("and {} more", jobs.len() - NEIGHBOURS_MAX),
        );
    }
}
