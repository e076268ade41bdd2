//! `job log` and `job artefacts`: bytes from the host to a terminal, a pipe or a directory.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine;

use super::Verdict;
use super::ask::Host;
use super::out::{Out, Style, Table, Tone, cell, plain};
use super::text;
use crate::admin::summit;
use crate::admin::view::ArtefactView;
use crate::fault::{Fault, Kind, Result};
use crate::id::{Digest, JobId};
use crate::limit;

/// The end of a log that is on its way to the host is waited for so long.
const END: Duration = Duration::from_secs(5);
/// Between two questions for it.
const LOOK: Duration = Duration::from_millis(200);
/// Bytes before the end of a log in which its last lines are looked for.
const TAIL_BYTES: i64 = 256 * 1024;

pub(super) async fn log(
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
        let mut missing = None;
        while let Some(piece) = answers.next().await? {
            printer.piece(&piece)?;
            missing = missing_words(&piece, job);
        }
        printer.end();
        tell(missing, out);
        return Ok(Verdict::Done);
    }
    let mut client = host.connect().await?;
    let until = Instant::now() + END;
    let missing = loop {
        let piece = client.call(&ask).await?;
        let empty = piece.next <= piece.offset;
        let waits = empty && !piece.end && piece.on.is_some() && Instant::now() < until;
        if !waits {
            printer.piece(&piece)?;
        }
        // No news means that the build has not written more yet: that is the end for now.
        if piece.end || empty && !waits {
            break missing_words(&piece, job);
        }
        if waits {
            tokio::time::sleep(LOOK).await;
        }
        ask.offset = Some(i64::try_from(piece.next).unwrap_or(i64::MAX));
        ask.try_no = Some(piece.try_no);
    };
    printer.end();
    tell(missing, out);
    Ok(Verdict::Done)
}

/// What of a log is not here, in words; `None`: nothing that is known to be elsewhere.
fn missing_words(piece: &summit::LogPiece, job: &str) -> Option<String> {
    let on = piece.on.as_ref()?;
    let what = match piece.missing_bytes {
        Some(bytes) => format!("the last {bytes} bytes of the log are"),
        None => "the end of the log is".into(),
    };
    let again = format!("massif job log {job} shows it once it is here");
    Some(format!("{what} still on {on}; {again}"))
}

/// Beside the log, not in it.
fn tell(missing: Option<String>, out: &Out) {
    if let Some(words) = missing.filter(|_| !out.json()) {
        eprintln!("massif: {words}");
    }
}

/// Prints the log of a try as it is written, to its end.
pub(super) async fn print_log(host: &Host, job: JobId, out: &Out) -> Result<()> {
    let ask = crate::admin::avalanche::Log {
        job,
        try_no: 1,
        offset: None,
        bytes_max: None,
        base64: Some(true),
    };
    let mut printer = LogPrinter {
        out,
        tail: None,
        held: Vec::new(),
    };
    let mut answers = host.connect().await?.stream(&ask).await?;
    while let Some(piece) = answers.next().await? {
        printer.piece(&piece)?;
    }
    printer.end();
    Ok(())
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
                "complete": piece.complete, "missing_bytes": piece.missing_bytes, "on": piece.on,
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

pub(super) async fn artefacts(
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
pub(super) async fn copy(
    host: &Host,
    job: JobId,
    artefact: &ArtefactView,
    dir: &Path,
) -> Result<()> {
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
