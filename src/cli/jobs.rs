//! `build`, `job` and `why`.

use std::io::Write;
use std::path::Path;

use base64::Engine;

use super::Verdict;
use super::args;
use super::ask::{self, Host};
use super::out::{Out, Style, Table, Tone, cell, plain};
use super::show::{self, count, failure, moment, reason_text};
use super::text;
use super::wait::await_jobs;
use crate::admin::summit;
use crate::admin::view::{ArtefactView, JobDetail, JobState, JobView, WhyView};
use crate::fault::{Fault, Kind, Result};
use crate::id::{Digest, JobId};
use crate::limit;

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

pub(super) async fn job(host: &Host, job: &args::Job, out: &Out) -> Result<Verdict> {
    let changed = match job {
        args::Job::List {
            states,
            recipe,
            project,
            limit,
        } => {
            let ask = summit::JobList {
                states: states.iter().flat_map(|state| state.states()).collect(),
                recipe: recipe.clone(),
                project: project.clone(),
                after: None,
                limit: None,
            };
            let jobs = ask::all(host, &ask, *limit).await?;
            match out.style {
                Style::Json => out.value(&jobs)?,
                Style::Ids => jobs.iter().for_each(|job| out.line(job.id.to_string())),
                Style::People => table(&jobs, out),
            }
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
    out.field("waits for", waits.join("\n"));
    out.field(
        "hold",
        job.hold.as_ref().map(show::hold_text).unwrap_or_default(),
    );
    let terms: Vec<String> = detail
        .priority_terms
        .iter()
        .map(|term| format!("{} {:+}", term.name, term.value))
        .collect();
    out.field(
        "priority",
        match terms.as_slice() {
            [] => job.priority.to_string(),
            terms => format!("{} = {}", job.priority, terms.join(", ")),
        },
    );
    out.field(
        "estimate",
        job.estimate_s.map(text::span).unwrap_or_default(),
    );
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

/// Bytes before the end of a log in which its last lines are looked for.
const TAIL_BYTES: i64 = 256 * 1024;

async fn log(
    host: &Host,
    job: &str,
    try_no: Option<u32>,
    follow: bool,
    tail: Option<usize>,
    out: &Out,
) -> Result<Verdict> {
    let mut ask = summit::JobLog {
        job: job.to_owned(),
        try_no,
        offset: tail.map(|_| -TAIL_BYTES),
        bytes_max: None,
        base64: Some(true),
    };
    let mut printer = LogPrinter {
        out,
        tail,
        held: Vec::new(),
    };
    if follow {
        let mut answers = host.connect().await?.stream(&ask).await?;
        while let Some(piece) = answers.next().await? {
            printer.piece(&piece)?;
        }
    } else {
        let mut client = host.connect().await?;
        loop {
            let piece = client.call(&ask).await?;
            printer.piece(&piece)?;
            // No news means that the build has not written more yet: that is the end for now.
            if piece.end || piece.next <= piece.offset {
                break;
            }
            ask.offset = Some(i64::try_from(piece.next).unwrap_or(i64::MAX));
            ask.try_no = Some(piece.try_no);
        }
    }
    printer.end();
    Ok(Verdict::Done)
}

/// Prints pieces of a log: to a terminal line by line and made harmless, to a pipe byte by byte.
struct LogPrinter<'a> {
    out: &'a Out,
    /// Lines of the first piece to show.
    tail: Option<usize>,
    /// The start of a line whose end has not come yet.
    held: Vec<u8>,
}

impl LogPrinter<'_> {
    fn piece(&mut self, piece: &summit::LogPiece) -> Result<()> {
        let mut bytes = match (&piece.base64, &piece.text) {
            (Some(text), _) => base64::engine::general_purpose::STANDARD
                .decode(text)
                .map_err(|error| Fault::bug("a piece of the log is no base64").because(&error))?,
            (None, Some(text)) => text.clone().into_bytes(),
            (None, None) => Vec::new(),
        };
        if let Some(lines) = self.tail.take() {
            let from = last_lines(&bytes, lines);
            bytes.drain(..from);
        }
        if self.out.json() {
            return self.out.value_line(&serde_json::json!({
                "offset": piece.offset, "try_no": piece.try_no, "end": piece.end, "text": String::from_utf8_lossy(&bytes),
            }));
        }
        if !self.out.terminal {
            self.out.raw(&bytes);
            return Ok(());
        }
        self.held.extend_from_slice(&bytes);
        let whole = self
            .held
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        // A line without an end must not be held for ever either.
        let whole = if self.held.len() - whole > limit::ADMIN_PIECE_BYTES_MAX {
            self.held.len()
        } else {
            whole
        };
        let rest = self.held.split_off(whole);
        let lines = std::mem::replace(&mut self.held, rest);
        self.out
            .raw(text::log(&String::from_utf8_lossy(&lines)).as_bytes());
        Ok(())
    }

    fn end(self) {
        if !self.held.is_empty() {
            self.out
                .raw(format!("{}\n", text::log(&String::from_utf8_lossy(&self.held))).as_bytes());
        }
    }
}

/// Where the last lines of the text begin.
fn last_lines(bytes: &[u8], lines: usize) -> usize {
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    body.iter()
        .enumerate()
        .rev()
        .filter(|(_, byte)| **byte == b'\n')
        .nth(lines.saturating_sub(1))
        .map_or(0, |(at, _)| at + 1)
}

async fn artefacts(
    host: &Host,
    job: &str,
    try_no: Option<u32>,
    dir: Option<&Path>,
    out: &Out,
) -> Result<Verdict> {
    let artefacts = host
        .ask(&summit::JobArtefacts {
            job: job.to_owned(),
            try_no,
        })
        .await?
        .artefacts;
    if let Some(dir) = dir {
        let page = host
            .ask(&summit::JobShow {
                job: job.to_owned(),
            })
            .await?;
        std::fs::create_dir_all(dir).map_err(|error| not_written(dir, &error))?;
        let progress = super::wait::Progress::new(Some(artefacts.len() as u64));
        for (at, artefact) in artefacts.iter().enumerate() {
            progress.now(&artefact.name, at as u64);
            copy(host, page.job.id, artefact, dir).await?;
        }
    }
    match out.style {
        Style::Json => out.value(&artefacts)?,
        Style::Ids => artefacts
            .iter()
            .for_each(|artefact| out.line(&artefact.name)),
        Style::People => {
            let mut table = Table::new()
                .column("file")
                .column("kind")
                .number("size")
                .column("sha256");
            for artefact in &artefacts {
                let hash = artefact.sha256.to_string();
                table.row([
                    cell(&artefact.name, Tone::Strong),
                    plain(&artefact.kind),
                    plain(text::bytes(artefact.size)),
                    cell(hash, Tone::Faint),
                ]);
            }
            out.table(&table);
        }
    }
    Ok(if artefacts.is_empty() {
        Verdict::Negative
    } else {
        Verdict::Done
    })
}

fn not_written(path: &Path, error: &std::io::Error) -> Fault {
    Fault::new(Kind::Operator, format!("cannot write {}", path.display()))
        .because(error)
        .next("check the directory's rights and room")
}

/// Copies one file, checked against its hash before it gets its name.
async fn copy(host: &Host, job: JobId, artefact: &ArtefactView, dir: &Path) -> Result<()> {
    use sha2::Digest as _;
    if artefact.name.contains('/') || artefact.name.starts_with('.') {
        return Err(Fault::bug(format!(
            "the host offers a file of the name {:?}",
            artefact.name
        )));
    }
    let failed = |error: &std::io::Error| not_written(&dir.join(&artefact.name), error);
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(|error| failed(&error))?;
    let mut client = host.connect().await?;
    let mut hash = sha2::Sha256::new();
    let mut offset = 0;
    while offset < artefact.size {
        let ask = summit::ArtefactRead {
            job,
            try_no: artefact.try_no,
            name: artefact.name.clone(),
            offset,
            bytes_max: None,
        };
        let piece = client.call(&ask).await?;
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(&piece.base64)
            .map_err(|error| {
                Fault::bug(format!("a piece of {} is no base64", artefact.name)).because(&error)
            })?;
        if bytes.is_empty() {
            break;
        }
        hash.update(&bytes);
        file.write_all(&bytes).map_err(|error| failed(&error))?;
        offset += bytes.len() as u64;
    }
    let found = Digest(hash.finalize().into());
    if found != artefact.sha256 {
        let what = format!("{} arrived with another hash, {found}", artefact.name);
        return Err(Fault::new(Kind::Builder, what)
            .next("check the host's store with `massif store check`"));
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file()
        .set_permissions(mode)
        .map_err(|error| failed(&error))?;
    file.persist(dir.join(&artefact.name))
        .map_err(|error| failed(&error.error))?;
    Ok(())
}

pub(super) async fn why(host: &Host, why: &args::Why, out: &Out) -> Result<Verdict> {
    let answer = host
        .ask(&summit::Why {
            thing: why.thing.clone(),
        })
        .await?
        .why;
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
    out.toned(
        Tone::Strong,
        format!("{} {} is {}", why.kind, why.thing, why.state),
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
    let range = |likely: Option<f64>, late: Option<f64>| match (likely, late) {
        (Some(likely), Some(late)) => format!(
            "in about {}, at worst {}",
            text::span(likely),
            text::span(late)
        ),
        (Some(likely), None) => format!("in about {}", text::span(likely)),
        _ => String::new(),
    };
    out.field("starts", range(why.start_p50_s, why.start_p90_s));
    out.field("ends", range(why.end_p50_s, why.end_p90_s));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_begin_after_a_line_end() {
        for (text, lines, from) in [
            ("a\nb\nc\n", 1, 4),
            ("a\nb\nc\n", 2, 2),
            ("a\nb\nc", 1, 4),
            ("a\nb\nc\n", 9, 0),
            ("", 1, 0),
            ("a", 1, 0),
        ] {
            assert_eq!(last_lines(text.as_bytes(), lines), from, "{text:?} {lines}");
        }
    }
}
