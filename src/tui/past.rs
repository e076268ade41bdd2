//! The farm as it was: one moment of the log of events, shown in place of what is known now.

use super::app::{App, Effect};
use super::ask::{Past, Question};
use super::data::{Data, News};
use super::page::{Page, Sheet};
use super::theme::Ink;
use crate::admin::view::{EventView, JobState};
use crate::cli::show;
use crate::fault::{Fault, Kind};
use crate::id::{Now, Seq, Stamp};

/// A long log is folded in several goes; more than these are too many.
const GOES_MAX: u32 = 60;

/// A moment that is shown.
#[derive(Debug)]
pub struct Then {
    /// What is known of it.
    pub data: Data,
    /// The event after which it was.
    pub seq: Seq,
    /// When that was recorded.
    pub at: Stamp,
    /// The event; `None`: before the first one.
    pub event: Option<EventView>,
    /// What cannot be known of it.
    pub unknown: Vec<String>,
}

/// A moment that was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// The ticket of the question.
    pub ticket: u64,
    /// The event.
    pub seq: Seq,
    goes: u32,
}

impl App {
    /// The moment that the page that is seen shows, when that is not now.
    pub fn then(&self) -> Option<&Then> {
        self.past
            .as_deref()
            .filter(|_| self.sheet().page.tells_past())
    }

    /// The last event that the host told of: its own page has it before the events themselves come.
    fn last_known(&self) -> Option<Seq> {
        let status = self.data.status.as_ref()?;
        Some(status.seq.max(self.data.seq))
    }

    /// Goes to the farm as it was after this event; to now, when there is no later one.
    pub fn go_to_past(&mut self, seq: Seq) {
        let Some(last) = self.last_known() else {
            self.say(
                "the host has not answered yet: nothing is known of then",
                Ink::Warn,
            );
            return;
        };
        if seq > last {
            self.go_to_now();
            return;
        }
        self.ask_past(seq, 0);
        self.say(
            format!("asking for the farm as it was after event {seq} ..."),
            Ink::Busy,
        );
    }

    fn ask_past(&mut self, seq: Seq, goes: u32) {
        let ticket = self.next_number();
        self.past_asked = Some(Asked { ticket, seq, goes });
        self.effects.push(Effect::Ask(ticket, Question::Past(seq)));
    }

    /// So many events later, or earlier; begins at the end of the log.
    pub fn step_time(&mut self, by: i64) {
        let from = match (&self.past_asked, &self.past) {
            (Some(asked), _) => asked.seq,
            (None, Some(past)) => past.seq,
            (None, None) => self.last_known().unwrap_or(self.data.seq),
        };
        self.go_to_past(Seq(from.0.saturating_add_signed(by)));
    }

    /// Back to the farm as it is.
    pub fn go_to_now(&mut self) {
        self.past_asked = None;
        if self.past.take().is_some() {
            self.say("this is the farm of now again", Ink::Good);
            self.other_time();
        }
    }

    /// What pages hold is of another moment than what is shown from now on.
    fn other_time(&mut self) {
        for sheet in &mut self.stack {
            sheet.made_of = None;
            if matches!(sheet.page, Page::Why(_) | Page::Job(_)) {
                (sheet.content, sheet.asked_ms, sheet.fault) = (None, None, None);
                sheet.asking = false;
            }
        }
        self.relist();
        self.tick(self.now);
    }

    /// What a page asks in the moment that is shown.
    pub(super) fn question_of(&self, sheet: &Sheet) -> Option<Question> {
        match (&self.past, &sheet.page) {
            (Some(past), Page::Why(thing)) => Some(Question::PastWhy(past.seq, thing.clone())),
            // All that is known of it is in the snapshot of that moment.
            (Some(_), Page::Job(_) | Page::Builder(_)) => None,
            (_, page) => page.question(),
        }
    }

    /// Takes a moment that was asked for; whether the answer was one.
    pub(super) fn take_past(&mut self, ticket: u64, result: Result<Past, Fault>) -> bool {
        let Some(asked) = self.past_asked.filter(|asked| asked.ticket == ticket) else {
            return false;
        };
        self.past_asked = None;
        match result {
            Ok(past) => {
                let then = self.then_of(past);
                self.notice = None;
                self.past = Some(Box::new(then));
                self.other_time();
            }
            Err(fault) if fault.kind == Kind::TryAgain && asked.goes < GOES_MAX => {
                self.say(fault.what, Ink::Busy);
                self.ask_past(asked.seq, asked.goes + 1);
            }
            Err(fault) => self.say(fault.to_string(), Ink::Bad),
        }
        true
    }

    fn then_of(&self, past: Past) -> Then {
        let Past { view, jobs } = past;
        let at = view.at.unwrap_or(Stamp(0));
        let now = Now {
            wall: at,
            mono_ms: 0,
        };
        let mut data = Data::default();
        let ready = jobs
            .iter()
            .filter(|job| job.state == JobState::Ready)
            .count() as u64;
        if let Some(status) = &self.data.status {
            let mut status = status.as_ref().clone();
            status.jobs = view.jobs;
            if let Some(waiting) = status.jobs.get_mut(JobState::Waiting.as_str()) {
                *waiting = waiting.saturating_sub(ready);
            }
            status.jobs.insert(JobState::Ready.as_str().into(), ready);
            status.alarms = view.alarms;
            status.time = at;
            status.seq = view.seq;
            status.published_last_hour = view.published_last_hour;
            (status.end_p50_s, status.end_p90_s) = (None, None);
            status.critical_path = None;
            data.hear(News::Status(Box::new(status)), now);
        }
        data.hear(News::ReadingBegins, now);
        data.hear(News::Jobs(jobs), now);
        data.hear(News::ReadingEnds, now);
        data.hear(News::Builders(view.builders), now);
        data.events = self
            .data
            .events
            .iter()
            .filter(|event| event.seq <= view.seq)
            .cloned()
            .collect();
        data.seq = view.seq;
        // Lists tell by the revision whether they are up to date.
        data.revision = self.data.revision.wrapping_mul(31).wrapping_add(view.seq.0);
        Then {
            data,
            seq: view.seq,
            at,
            event: view.event,
            unknown: view.unknown,
        }
    }

    /// Which moment is shown, in a sentence.
    pub fn moment_words(&self) -> Option<String> {
        let past = self.past.as_deref()?;
        let page = &self.sheet().page;
        if !page.tells_past() && !page.is_timeless() {
            return Some(format!(
                "this page is of now: of event {} the log tells queue, builders and why",
                past.seq
            ));
        }
        let what = match &past.event {
            Some(event) => format!("{} UTC, after: {}", show::moment(past.at), event.text),
            None => format!("as of event {}, before the first one", past.seq),
        };
        Some(what)
    }
}
