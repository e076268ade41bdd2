//! `build` and `job`.

use super::Verdict;
use super::args;
use super::ask::{self, Host};
use super::files::{artefacts, log};
use super::out::{Out, Style, Table, Tone, cell, plain};
use super::show::{self, count, failure, moment};
use super::text;
use super::wait::await_jobs;
use crate::admin::summit;
use crate::admin::view::{JobDetail, JobState, JobView};
use crate::fault::{Fault, Kind, Result};
use crate::id::JobId;

pub(super) async fn build(host: &Host, build: &args::Build, out: &Out) -> Result<Verdict> {
    let ask = summit::Build {
        names: build.names.clone(),
        all: build.all.then_some(true),
        rebuild: build.rebuild.then_some(true),
        profile: build.profile.clone(),
    };
    let builds = host.ask(&ask).await?.builds;
    if !build.wait {
        match out.style {
            Style::Json => out.value(&builds)?,
            Style::Ids => builds
                .iter()
                .filter_map(|build| build.job)
                .for_each(|job| out.line(job.to_string())),
            Style::People => {
                builds.iter().for_each(|build| out.line(&build.text));
                if builds.is_empty() {
                    out.line("nothing to do: everything is published");
                }
            }
        }
        return Ok(Verdict::Done);
    }
    let ids: Vec<JobId> = builds.iter().filter_map(|build| build.job).collect();
    let jobs = await_jobs(host, &ids, build.timeout).await?;
    match out.style {
        // The rows that need no job are told too, so that a script sees every name that it asked for.
        Style::Json => out.value(&jobs)?,
        Style::Ids => jobs.iter().for_each(|job| out.line(job.id.to_string())),
        Style::People => {
            builds
                .iter()
                .filter(|build| build.job.is_none())
                .for_each(|build| out.line(&build.text));
            if !jobs.is_empty() {
                table(&jobs, out);
            }
        }
    }
    if jobs
        .iter()
        .any(|job| matches!(job.state, JobState::Failed | JobState::Cancelled))
    {
        return Ok(Verdict::Negative);
    }
    let open = jobs.iter().filter(|job| !job.state.is_final()).count();
    if open > 0 {
        let limit = build.timeout.unwrap_or_default().as_secs_f64();
        let what = format!(
            "{} not done within {}",
            count(open as u64, "job"),
            text::span(limit)
        );
        return Err(Fault::new(Kind::TryAgain, what)
            .next("they live on; look with `massif job list --state open`"));
    }
    Ok(Verdict::Done)
}

fn table(jobs: &[JobView], out: &Out) {
    let mut table = Table::new()
        .number("job")
        .column("recipe")
        .column("release")
        .column("profile")
        .column("state")
        .number("try")
        .number("took")
        .words("note");
    for job in jobs {
        let took = job
            .attempts
            .last()
            .map(|attempt| show::took(attempt.started, attempt.ended))
            .unwrap_or_default();
        let tries = if job.attempts.is_empty() {
            String::new()
        } else {
            job.attempts.len().to_string()
        };
        table.row([
            plain(job.id),
            cell(&job.recipe, Tone::Strong),
            plain(show::release(&job.version, job.release, job.build_release)),
            plain(&job.profile),
            cell(job.state.as_str(), show::tone_of_job(job.state)),
            plain(tries),
            plain(took),
            plain(show::job_note(job)),
        ]);
    }
    out.table(&table);
}

fn show_jobs(jobs: &[JobView], out: &Out) -> Result<()> {
    match out.style {
        Style::Json => out.value(&jobs)?,
        Style::Ids => jobs.iter().for_each(|job| out.line(job.id.to_string())),
        Style::People => table(jobs, out),
    }
    Ok(())
}

pub(super) async fn job(host: &Host, job: &args::Job, out: &Out) -> Result<Verdict> {
    let changed = match job {
        args::Job::List {
            states,
            recipe,
            project,
            limit,
            at,
        } => {
            let states: Vec<JobState> = states.iter().flat_map(|state| state.states()).collect();
            if let Some(at) = at {
                let fits = |job: &JobView| {
                    recipe.as_ref().is_none_or(|only| *only == job.recipe)
                        && project.as_ref().is_none_or(|only| *only == job.project)
                };
                let then = super::past::jobs(host, *at, states, *limit, fits).await?;
                super::past::say_when(&then.0, out);
                show_jobs(&then.1, out)?;
                return Ok(Verdict::Done);
            }
            let ask = summit::JobList {
                states,
                recipe: recipe.clone(),
                project: project.clone(),
                after: None,
                limit: None,
            };
            show_jobs(&ask::all(host, &ask, *limit).await?, out)?;
            return Ok(Verdict::Done);
        }
        args::Job::Show(args::JobArg { job }) => {
            let page = host.ask(&summit::JobShow { job: job.clone() }).await?;
            match out.style {
                Style::Json => out.value(&ask::joined(&page.job, &page.detail)?)?,
                Style::Ids => out.line(page.job.id.to_string()),
                Style::People => show_job(&page.job, &page.detail, out),
            }
            return Ok(Verdict::Done);
        }
        args::Job::Log {
            job,
            try_no,
            follow,
            tail,
        } => return log(host, &job.job, *try_no, *follow, *tail, out).await,
        args::Job::Artefacts {
            job,
            out: dir,
            try_no,
        } => return artefacts(host, &job.job, *try_no, dir.as_deref(), out).await,
        args::Job::Retry(args::JobArg { job }) => {
            host.ask(&summit::JobRetry { job: job.clone() }).await?
        }
        args::Job::Cancel { job, reason } => {
            host.ask(&summit::JobCancel {
                job: job.job.clone(),
                reason: reason.clone(),
            })
            .await?
        }
        args::Job::Hold {
            job,
            reason,
            expires,
        } => {
            let ask = summit::JobHold {
                job: job.job.clone(),
                reason: reason.clone(),
                expires_s: expires.map(|time| time.as_secs()),
            };
            host.ask(&ask).await?
        }
        args::Job::Release(args::JobArg { job }) => {
            host.ask(&summit::JobRelease { job: job.clone() }).await?
        }
        args::Job::Raise { job, by } => {
            host.ask(&summit::JobRaise {
                job: job.job.clone(),
                by: Some(*by),
            })
            .await?
        }
    };
    match out.style {
        Style::Json => out.value(&changed.job)?,
        Style::Ids => out.line(changed.job.id.to_string()),
        Style::People => table(std::slice::from_ref(&changed.job), out),
    }
    Ok(Verdict::Done)
}

fn show_job(job: &JobView, detail: &JobDetail, out: &Out) {
    out.field(
        "job",
        format!(
            "{}: {} {} for {}",
            job.id,
            job.recipe,
            show::release(&job.version, job.release, job.build_release),
            job.profile
        ),
    );
    out.toned(
        show::tone_of_job(job.state),
        format!("{:<14}{}", "state:", job.state.as_str()),
    );
    out.field("because", &job.because);
    out.field("from", format!("{} at {}", job.project, job.commit.short()));
    out.field("planned", moment(job.created));
    let waits: Vec<&str> = job
        .waits_for
        .iter()
        .map(|wait| wait.text.as_str())
        .collect();
    let label = match job.state {
        JobState::Failed | JobState::Cancelled | JobState::Superseded => "ended as",
        _ => "waits for",
    };
    out.field(label, waits.join("\n"));
    out.field(
        "hold",
        job.hold.as_ref().map(show::hold_text).unwrap_or_default(),
    );
    let priority = job
        .priority
        .map_or_else(|| "unknown".to_owned(), |worth| worth.to_string());
    let terms: Vec<String> = detail
        .priority_terms
        .iter()
        .map(|term| format!("{} {:+}", term.name, term.value))
        .collect();
    out.field(
        "priority",
        match terms.as_slice() {
            [] => priority,
            terms => format!("{priority} = {}", terms.join(", ")),
        },
    );
    out.field(
        "estimate",
        job.estimate_s.map(text::span).unwrap_or_default(),
    );
    let start = (detail.start_p50_s, detail.start_p90_s);
    out.field("starts", text::forecast(start.0, start.1));
    out.field("ends", text::forecast(detail.end_p50_s, detail.end_p90_s));
    for attempt in &job.attempts {
        let mut words = format!(
            "{} on {}, {}",
            attempt.state,
            attempt.builder,
            show::took(attempt.started, attempt.ended)
        );
        if attempt.ended.is_none() {
            words.push_str(&format!(
                " so far, {}",
                attempt.phase.as_deref().unwrap_or("starting")
            ));
        }
        if attempt.why.is_some() {
            words.push_str(&format!("; {}", failure(attempt)));
        }
        out.field(&format!("try {}", attempt.try_no), words);
    }
    for phase in &detail.phases {
        out.field(
            "  phase",
            format!(
                "{} {}",
                phase.name,
                phase.took_s.map_or_else(|| "runs".into(), text::span)
            ),
        );
    }
    if !detail.evidence.is_empty() {
        out.field("evidence", detail.evidence.join("\n"));
    }
    for artefact in &detail.artefacts {
        out.field(
            "made",
            format!("{} ({})", artefact.name, text::bytes(artefact.size)),
        );
    }
    let refs = |jobs: &[crate::admin::view::JobRef]| {
        let words: Vec<String> = jobs
            .iter()
            .map(|job| format!("{} (job {}, {})", job.recipe, job.id, job.state.as_str()))
            .collect();
        words.join("\n")
    };
    out.field("after", refs(&detail.depends_on));
    out.field("before", refs(&detail.needed_by));
}
