//! What pages ask of the host, when, and what becomes of the answers.

use super::app::{App, Effect, Outcome, Used};
use super::ask::{Action, Question, Ran, Reply};
use super::data::{Link, News};
use super::page::{Page, Shape};
use super::theme::Ink;
use super::views;
use crate::fault::{Fault, Kind};

/// A page is asked for again this often at most.
const REFRESH_MS: u64 = 1_000;
/// After a question failed.
const RETRY_MS: u64 = 3_000;
/// Predicted moments come nearer also when nothing happens: pages that have some ask again after this long. A tree, which
/// costs more than other pages, is not asked for more often either.
const FORETOLD_MS: u64 = 10_000;
/// A log that grows is looked at this often.
const LOG_MS: u64 = 200;
/// A command's output is shown on a page of its own from this length on.
const PRINTED_BYTES: usize = 120;
/// Commands that are remembered.
const USED_MAX: usize = 200;
/// The code that a command ends with when it did not reach the host, or lost it.
pub(super) const UNREACHED: i32 = 3;

impl App {
    /// Asks for something on behalf of the page that is seen.
    fn ask(&mut self, question: Question) {
        let ticket = self.next_number();
        let id = self.sheet().id;
        self.tickets.insert(ticket, id);
        self.effects.push(Effect::Ask(ticket, question));
    }

    /// Asks for the branches of a job in a tree, or for older events.
    pub fn ask_for_page(&mut self, question: Question) {
        if let Some(sheet) = self.stack.last_mut() {
            sheet.asking = true;
            sheet.asked_ms = Some(self.now.mono_ms);
        }
        self.ask(question);
    }

    /// Does what was confirmed.
    pub fn act(&mut self, action: Action) {
        let ticket = self.next_number();
        if self.used.len() >= USED_MAX {
            self.used.remove(0);
        }
        self.used.push(Used {
            command: action.command(),
            at: self.clock(),
            outcome: None,
            found_out_by: action.found_out_by(),
            ticket,
        });
        self.say(format!("{} ...", action.command()), Ink::Busy);
        self.effects
            .push(Effect::Ask(ticket, Question::Act(action)));
    }

    /// Takes what the connection brings.
    pub fn hear(&mut self, news: News) {
        match news {
            News::Answer { ticket, result } => self.answered(ticket, result),
            other => {
                let lost = match self.data.link {
                    Link::Lost { since_ms, .. } => Some(since_ms),
                    Link::Connecting | Link::Live => None,
                };
                self.data.hear(other, self.now);
                if let (Some(since_ms), Link::Live) = (lost, &self.data.link) {
                    self.returned(since_ms);
                }
            }
        }
        self.settle(false);
    }

    fn answered(&mut self, ticket: u64, result: Result<Reply, Fault>) {
        let used = self.used.iter().rposition(|used| used.ticket == ticket);
        match (used, result) {
            (Some(at), result) => self.acted(at, result),
            (None, Ok(Reply::Past(past))) => {
                self.take_past(ticket, Ok(*past));
            }
            (None, Err(fault)) if self.past_asked.is_some_and(|asked| asked.ticket == ticket) => {
                self.take_past(ticket, Err(fault));
            }
            (None, result) => self.read(ticket, result),
        }
    }

    /// Takes what came of a command.
    fn acted(&mut self, at: usize, result: Result<Reply, Fault>) {
        let mut printed = None;
        let outcome = match result {
            Ok(Reply::Done(words)) => Outcome::Done(words),
            Ok(Reply::Ran(ran)) => {
                let (outcome, page) = outcome_of(ran);
                printed = page;
                outcome
            }
            Ok(Reply::Unknown(fault)) => Outcome::Unknown(fault.what),
            Ok(_) => Outcome::Done("done".into()),
            Err(fault) if fault.kind == Kind::Unreachable => {
                Outcome::Failed(format!("nothing was sent: {fault}"))
            }
            Err(fault) => Outcome::Failed(fault.to_string()),
        };
        let Some(used) = self.used.get_mut(at) else {
            return;
        };
        used.outcome = Some(outcome.clone());
        let (command, check) = (used.command.clone(), used.found_out_by.clone());
        match outcome {
            Outcome::Done(words) => self.say(words, Ink::Good),
            Outcome::Failed(words) => self.say(words, Ink::Bad),
            Outcome::Unknown(_) => self.say_gravely(
                format!("link lost: unknown whether it was done; `{check}` tells, @ keeps this"),
                Ink::Bad,
            ),
        }
        if let Some(text) = printed {
            self.open(Page::Raw(command, text));
        }
    }

    /// Takes what a page asked for.
    fn read(&mut self, ticket: u64, result: Result<Reply, Fault>) {
        let Some(id) = self.tickets.remove(&ticket) else {
            return;
        };
        let height = self.height();
        let seq = self.data.seq;
        let frozen = self.frozen.is_some();
        let read_ms = Some(self.now.mono_ms);
        let Some(sheet) = self.stack.iter_mut().find(|sheet| sheet.id == id) else {
            return;
        };
        sheet.asking = false;
        match (result, &mut sheet.log) {
            (Ok(Reply::Log(piece)), Some(log)) => {
                sheet.fault = None;
                sheet.read_ms = read_ms;
                log.take(piece, height);
            }
            (Ok(Reply::Found(found)), Some(log)) => log.found(found),
            (Ok(Reply::Older(events)), _) => views::events::older(sheet, events),
            (Ok(reply), _) => {
                sheet.fault = None;
                sheet.made_of = None;
                match (&sheet.page, &reply) {
                    // A branch: what lies around the root stays.
                    (Page::Graph(_), Reply::Job(page)) => {
                        views::graph::branch_out(&mut sheet.branches, page);
                        return;
                    }
                    _ if frozen && sheet.content.is_some() => return,
                    (Page::Graph(root), Reply::Cone { page, .. }) => {
                        let root = *root;
                        views::graph::grow(sheet, root, page);
                    }
                    _ => {}
                }
                sheet.content = Some(reply);
                (sheet.asked_at, sheet.read_ms, sheet.stale) = (seq, read_ms, false);
            }
            (Err(fault), log) => {
                if let Some(log) = log {
                    log.failed();
                }
                views::graph::fold_unanswered(&mut sheet.branches);
                sheet.made_of = None;
                sheet.fault = Some(fault);
            }
        }
        if self.sheet().page.shape() == Shape::Log {
            self.refresh(false);
        }
    }

    /// Asks for what the page that is seen needs.
    pub(super) fn refresh(&mut self, at_once: bool) {
        if self.sheet().log.is_some() {
            return self.refresh_log(at_once);
        }
        let sheet = self.sheet();
        let Some(question) = self.question_of(sheet) else {
            return;
        };
        let since = sheet
            .asked_ms
            .map(|asked| self.now.mono_ms.saturating_sub(asked));
        let foretold = matches!(sheet.page, Page::Job(_) | Page::Why(_));
        let moved = sheet.asked_at < self.data.seq;
        let due = match (since, &sheet.fault) {
            (None, _) => true,
            (Some(since), Some(fault)) if fault.kind != Kind::NotFound => since >= RETRY_MS,
            (Some(since), _) if matches!(sheet.page, Page::Graph(_)) => {
                moved && since >= FORETOLD_MS
            }
            (Some(since), _) => moved && since >= REFRESH_MS || foretold && since >= FORETOLD_MS,
        };
        let filled = sheet.content.is_some();
        // A command is run once, and what a version changed does not change. What was, stays.
        let once = matches!(sheet.page, Page::Printed(_) | Page::Version(..)) && !sheet.stale;
        let then = self.past.is_some() && sheet.page.tells_past();
        // A frozen page keeps what it has, and is filled when it has nothing.
        let stays = filled && (once || then || self.frozen.is_some());
        if due && !sheet.asking && !stays {
            self.ask_for_page(question);
        }
    }

    fn refresh_log(&mut self, at_once: bool) {
        let height = self.height();
        let now_ms = self.now.mono_ms;
        let frozen = self.frozen.is_some();
        let Some(sheet) = self.stack.last_mut() else {
            return;
        };
        let since = sheet.asked_ms.map(|asked| now_ms.saturating_sub(asked));
        let Some(log) = &mut sheet.log else { return };
        let waits = sheet.fault.is_some() && since.is_some_and(|since| since < RETRY_MS);
        if frozen || waits && !at_once {
            return;
        }
        let poll = since.is_none_or(|since| since >= LOG_MS);
        let wants = log.wants(height, poll);
        if !wants.is_empty() {
            sheet.asked_ms = Some(now_ms);
        }
        wants.into_iter().for_each(|want| self.ask(want));
    }
}

/// What came of a command that was run, and what it printed where that is more than a line.
fn outcome_of(ran: Ran) -> (Outcome, Option<String>) {
    let first = ran.text.lines().next().unwrap_or("done").to_owned();
    let long = ran.text.lines().nth(1).is_some() || first.len() > PRINTED_BYTES;
    let outcome = match ran.code {
        // What is shown on a page of its own may be a secret: it is not kept beside that.
        Some(0) if long => Outcome::Done("done; what it printed was shown".to_owned()),
        Some(0) => Outcome::Done(first),
        // It may have lost the host before it asked, or after.
        None | Some(UNREACHED) => Outcome::Unknown(first),
        Some(_) => Outcome::Failed(first),
    };
    (outcome, long.then_some(ran.text))
}
