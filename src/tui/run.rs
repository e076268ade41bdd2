//! Commands of the command line that the dashboard has no page for: this program, run beside it with the words that a
//! person typed, and what it printed.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use super::ask::{Action, Question, Ran, Reply};
use super::data::News;
use crate::fault::{Fault, Kind, Result};

/// Bytes of output that are shown.
const OUTPUT_BYTES_MAX: u64 = 1024 * 1024;
/// What takes longer belongs into a shell of its own.
const LONGEST: Duration = Duration::from_secs(1_800);

/// This program, and which host it asks.
#[derive(Debug, Clone, Default)]
pub struct Program {
    /// Words before those of a command: `--dir DIR`, `--host NAME`.
    pub lead: Vec<String>,
}

/// The words of a question that is a command.
pub fn words_of(question: &Question) -> Option<&[String]> {
    match question {
        Question::Run(words) | Question::Act(Action::Run { words, .. }) => Some(words),
        _ => None,
    }
}

impl Program {
    /// Runs it and tells what it printed.
    pub fn start(&self, ticket: u64, words: Vec<String>, tell: mpsc::Sender<News>) {
        let program = self.clone();
        tokio::spawn(async move {
            let ran = tokio::time::timeout(LONGEST, program.run(&words)).await;
            let late = || Fault::new(Kind::TryAgain, "the command took longer than half an hour");
            let result = ran.unwrap_or_else(|_| Err(late())).map(Reply::Ran);
            // The dashboard may be gone.
            tell.send(News::Answer { ticket, result }).await.ok();
        });
    }

    async fn run(&self, words: &[String]) -> Result<Ran> {
        let failed = |error: std::io::Error| {
            Fault::new(Kind::Operator, "cannot run a command beside the dashboard").because(&error)
        };
        let exe = std::env::current_exe().map_err(failed)?;
        let mut child = tokio::process::Command::new(exe)
            .args(&self.lead)
            .args(words)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let read_out = async {
            if let Some(mut from) = stdout {
                (&mut from)
                    .take(OUTPUT_BYTES_MAX)
                    .read_to_end(&mut out)
                    .await
                    .ok();
                tokio::io::copy(&mut from, &mut tokio::io::sink())
                    .await
                    .ok();
            }
        };
        let read_err = async {
            if let Some(mut from) = stderr {
                (&mut from)
                    .take(OUTPUT_BYTES_MAX)
                    .read_to_end(&mut err)
                    .await
                    .ok();
                tokio::io::copy(&mut from, &mut tokio::io::sink())
                    .await
                    .ok();
            }
        };
        let ((), (), status) = tokio::join!(read_out, read_err, child.wait());
        let status = status.map_err(failed)?;
        let mut text = String::from_utf8_lossy(&out).into_owned();
        text.push_str(&String::from_utf8_lossy(&err));
        Ok(Ran {
            code: status.code(),
            text: text.trim_end().to_owned(),
        })
    }
}
