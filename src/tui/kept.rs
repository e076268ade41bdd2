//! What pages had when they were closed, and while the host is away: it is shown at once, with its age, until the host has
//! answered anew. Nothing that is shown is passed off as newer than it is.

use super::answers::UNREACHED;
use super::app::{App, Outcome};
use super::ask::Reply;
use super::data::Link;
use super::log::LogSheet;
use super::page::{Page, Sheet};
use super::theme::Ink;
use super::views;
use crate::cli::show;
use crate::cli::text::whole_span;
use crate::fault::Kind;
use crate::id::{Seq, Stamp};

/// Closed pages whose content is kept.
const KEPT_MAX: usize = 24;
/// Logs among them: their windows are the largest.
const LOGS_MAX: usize = 2;
/// Pages are asked for again every second, and trees every ten: what is older than this says so.
const OLD_S: f64 = 15.0;
/// What is shown from before says so when the answer takes longer than this.
const SLOW_S: f64 = 2.0;
/// A host that is away for longer has its date said too.
const LONG_AWAY_S: f64 = 43_200.0;

/// What a page had when it was closed.
#[derive(Debug)]
pub struct Kept {
    page: Page,
    content: Option<Reply>,
    log: Option<Box<LogSheet>>,
    read_ms: Option<u64>,
    asked_at: Seq,
}

/// Whether a page lives from an answer that is worth keeping: a command is run anew.
fn lives_from_answer(page: &Page) -> bool {
    page.question().is_some() && !matches!(page, Page::Printed(_))
}

/// What is said of a page that stays what it was when it was opened, before how long ago that is.
fn stays_as(page: &Page) -> Option<&'static str> {
    match page {
        Page::Printed(_) => Some("this was printed"),
        Page::Raw(name, _) if name.starts_with("massif ") => Some("this was printed"),
        Page::Raw(..) => Some("this is how it was"),
        _ => None,
    }
}

/// Whether a page shows something of the snapshot too.
fn has_snapshot(page: &Page) -> bool {
    matches!(page, Page::Job(_) | Page::Builder(_))
}

impl App {
    /// Keeps what a page had that is closed now.
    pub(super) fn close(&mut self, sheet: Sheet) {
        let then = self.past.is_some() && sheet.page.tells_past();
        let log = sheet.log.filter(|log| log.loaded);
        let worth = sheet.content.is_some() && lives_from_answer(&sheet.page) || log.is_some();
        if then || !worth {
            return;
        }
        self.kept.retain(|kept| kept.page != sheet.page);
        self.kept.push(Kept {
            page: sheet.page,
            content: sheet.content,
            log,
            read_ms: sheet.read_ms,
            asked_at: sheet.asked_at,
        });
        let logs = self.kept.iter().filter(|kept| kept.log.is_some()).count();
        if logs > LOGS_MAX {
            let first = self.kept.iter().position(|kept| kept.log.is_some());
            if let Some(at) = first {
                self.kept.remove(at);
            }
        }
        if self.kept.len() > KEPT_MAX {
            self.kept.remove(0);
        }
    }

    /// A page that is opened, with what it had when it was open last.
    pub(super) fn make_sheet(&mut self, page: Page) -> Sheet {
        let mut sheet = Sheet::new(self.next_number(), page);
        if matches!(sheet.page, Page::Raw(..)) {
            sheet.read_ms = Some(self.now.mono_ms);
        }
        if self.past.is_some() && sheet.page.tells_past() {
            return sheet;
        }
        let Some(kept) = self.kept_of(&sheet.page) else {
            return sheet;
        };
        // A log is read anew, as the try that it is of may be another one by now; unless nobody can be asked.
        if let Some(mut log) = kept.log.filter(|_| self.is_away()) {
            log.failed();
            sheet.log = Some(log);
            sheet.read_ms = kept.read_ms;
        }
        if let Some(reply) = kept.content {
            if let (Page::Graph(root), Reply::Cone { page, .. }) = (&sheet.page, &reply) {
                let root = *root;
                views::graph::grow(&mut sheet, root, page);
            }
            sheet.stale = !matches!(sheet.page, Page::Version(..));
            sheet.content = Some(reply);
            (sheet.read_ms, sheet.asked_at) = (kept.read_ms, kept.asked_at);
        }
        sheet
    }

    /// What this page had when it was closed, or has where it is open further down.
    fn kept_of(&mut self, page: &Page) -> Option<Kept> {
        if let Some(at) = self.kept.iter().position(|kept| kept.page == *page) {
            return Some(self.kept.remove(at));
        }
        let open = self.stack.iter().rev().find(|sheet| sheet.page == *page)?;
        Some(Kept {
            page: open.page.clone(),
            content: open.content.clone().filter(|_| lives_from_answer(page)),
            log: open.log.clone().filter(|log| log.loaded),
            read_ms: open.read_ms,
            asked_at: open.asked_at,
        })
    }

    /// The host is back: what is open is of before, and asked for again.
    pub(super) fn returned(&mut self, since_ms: u64) {
        for sheet in &mut self.stack {
            sheet.stale = match (&sheet.page, &sheet.content) {
                (Page::Version(..), _) => false,
                // A command that did not reach the host is run again.
                (Page::Printed(_), Some(Reply::Ran(ran))) => ran.code == Some(UNREACHED),
                _ => true,
            };
            (sheet.asked_ms, sheet.fault, sheet.made_of) = (None, None, None);
        }
        let unknown = self.used.last().and_then(|used| match used.outcome {
            Some(Outcome::Unknown(_)) => Some((used.command.clone(), used.found_out_by.clone())),
            _ => None,
        });
        match unknown {
            Some((command, check)) => self.say_gravely(
                format!("the host is back: `{check}` tells whether `{command}` was done"),
                Ink::Warn,
            ),
            None => {
                let away = self.now.mono_ms.saturating_sub(since_ms) as f64 / 1_000.0;
                let words = format!("the host is back, it was away for {}", whole_span(away));
                self.say(words, Ink::Good);
            }
        }
        self.refresh(true);
    }

    /// Whether the host does not answer.
    pub fn is_away(&self) -> bool {
        matches!(self.data.link, Link::Lost { .. })
    }

    /// Since when the host does not answer, by its own clock.
    pub fn away_since(&self) -> Option<String> {
        let Link::Lost { since_ms, .. } = &self.data.link else {
            return None;
        };
        let ago_ms = self.now.mono_ms.saturating_sub(*since_ms);
        let ago_ms = i64::try_from(ago_ms).unwrap_or(i64::MAX);
        let now = self.data.host_time(self.now);
        let since = Stamp(now.0.saturating_sub(ago_ms));
        let moment = show::moment(since);
        let long = now.seconds_since(since) > LONG_AWAY_S;
        let shown = if long { None } else { moment.get(11..19) };
        Some(format!("{} UTC", shown.unwrap_or(&moment)))
    }

    /// What stands where something is not known yet.
    pub fn asking_words(&self) -> String {
        match self.away_since() {
            Some(since) => format!("The host is away since {since}, and this was not read before."),
            None => "asking the host ...".to_owned(),
        }
    }

    /// Why nothing can be changed while the host is away.
    pub(super) fn not_sent(&self) -> Option<String> {
        let since = self.away_since()?;
        Some(format!(
            "the host is away since {since}: nothing was sent, nothing was changed"
        ))
    }

    /// Seconds since what is on the page was known to be true; `None`: nothing of it was ever read.
    pub fn age_s(&self) -> Option<f64> {
        let sheet = self.sheet();
        let heard = self.data.heard_ms;
        let from_answer = lives_from_answer(&sheet.page);
        let known = if sheet.log.is_some() || stays_as(&sheet.page).is_some() {
            sheet.read_ms
        } else if !from_answer || sheet.content.is_none() && has_snapshot(&sheet.page) {
            heard
        } else if sheet.content.is_some() && sheet.asked_at >= self.data.seq && !sheet.stale {
            // Nothing has happened since that the page would show.
            heard.max(sheet.read_ms)
        } else {
            sheet.read_ms
        }?;
        Some(self.now.mono_ms.saturating_sub(known) as f64 / 1_000.0)
    }

    /// What has to be said of a page that shows what was, while the host is there.
    pub fn page_words(&self) -> Option<(Ink, String)> {
        let sheet = self.sheet();
        let still = self.is_away() || self.frozen.is_some();
        if let Some(words) = stays_as(&sheet.page).filter(|_| !still) {
            let age = self.age_s().filter(|age| *age >= OLD_S)?;
            return Some((Ink::Faint, format!("{words} {} ago", whole_span(age))));
        }
        if still || sheet.content.is_none() || !lives_from_answer(&sheet.page) {
            return None;
        }
        // What a version changed stays what it is.
        let moves = !matches!(sheet.page, Page::Version(..));
        let age = self.age_s()?;
        let ago = whole_span(age);
        match &sheet.fault {
            Some(fault) if fault.kind == Kind::NotFound => None,
            Some(fault) => Some((
                Ink::Warn,
                format!("this was read {ago} ago, and cannot be now: {fault}"),
            )),
            None if moves && (sheet.stale && age >= SLOW_S || age >= OLD_S) => Some((
                Ink::Faint,
                format!("this was read {ago} ago; the host is asked again ..."),
            )),
            None => None,
        }
    }

    /// Why a page has nothing to show, or less than it should.
    pub fn missing(&self, sheet: &Sheet) -> Option<String> {
        let fault = sheet.fault.as_ref();
        if sheet.content.is_some() {
            // What it had is shown; that the thing is gone belongs beside it.
            let gone = fault.filter(|fault| fault.kind == Kind::NotFound);
            return gone.map(ToString::to_string);
        }
        let then = self.past.is_some() && sheet.page.tells_past();
        match self.away_since() {
            Some(since) if lives_from_answer(&sheet.page) && !then => {
                Some(if has_snapshot(&sheet.page) {
                    format!("The host is away since {since}: the details are read when it is back.")
                } else {
                    format!(
                        "The host is away since {since}, and this was not read before. It is read as soon as the host is back."
                    )
                })
            }
            _ => fault.map(ToString::to_string),
        }
    }

    /// Whether the page waits for its first answer.
    pub fn waits(&self, sheet: &Sheet) -> bool {
        sheet.fault.is_none() && !(self.is_away() && lives_from_answer(&sheet.page))
    }
}
