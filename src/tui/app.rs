//! The dashboard as a value: what is known, what is open, what a person typed. Input, news and time go in; effects come
//! out; the screen is drawn from it. It touches nothing of the world.

use std::collections::BTreeMap;

use super::ask::{Action, Question, Reply};
use super::data::{Data, News};
use super::draw;
use super::keys::Key;
use super::list::Line;
use super::page::{Page, Shape, Sheet};
use super::past::{Asked, Then};
use super::theme::{Ink, Theme};
use super::views;
use crate::fault::{Fault, Kind};
use crate::id::{JobId, Now, Stamp};

/// Data that changes makes new lists this often at most, so that a busy farm costs no more than a calm one.
const RELIST_MS: u64 = 250;
/// A page is asked for again this often at most.
const REFRESH_MS: u64 = 1_000;
/// After a question failed.
const RETRY_MS: u64 = 3_000;
/// Predicted moments come nearer also when nothing happens: pages that have some ask again after this long.
const FORETOLD_MS: u64 = 10_000;
/// How long a notice stays.
const NOTICE_MS: u64 = 8_000;
/// A command's output is shown on a page of its own from this length on.
const PRINTED_BYTES: usize = 120;
/// Commands that are remembered.
const USED_MAX: usize = 200;
/// Pages inside each other.
const DEPTH_MAX: usize = 32;

/// What a person or the terminal did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A key.
    Key(Key),
    /// Text that was pasted.
    Paste(String),
    /// A press of a mouse button, at this column and row.
    Click(u16, u16),
    /// The wheel; up or down.
    Wheel(bool),
    /// The terminal has another size.
    Resize(u16, u16),
}

/// What the shell has to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Ask the host; the answer comes back with the ticket.
    Ask(u64, Question),
    /// Write the screen as a picture into this file.
    Picture(String),
    /// Draw everything again.
    Redraw,
    /// Stop until the shell brings us back.
    Suspend,
    /// End.
    Quit,
}

/// Words at the bottom, for a while.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// The words.
    pub words: String,
    /// How they look.
    pub ink: Ink,
    /// Until when, on the monotonic clock.
    pub until_ms: u64,
}

/// A command that was used.
#[derive(Debug, Clone, PartialEq)]
pub struct Used {
    /// The command line.
    pub command: String,
    /// When.
    pub at: Stamp,
    /// What came of it; none: not known yet.
    pub outcome: Option<Result<String, String>>,
}

/// What a prompt is for.
#[derive(Debug, Clone, PartialEq)]
pub enum PromptFor {
    /// Rows of a table, or a search in a log.
    Filter,
    /// A command.
    Command,
    /// The reason of an action.
    Reason(Action),
}

/// A line that a person types.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// What for.
    pub kind: PromptFor,
    /// What was typed.
    pub typed: String,
    /// What was there before, for Esc.
    pub before: String,
    /// Endings that Tab goes through, and which one is shown.
    pub endings: Option<(Vec<String>, usize)>,
}

/// What waits for a yes.
#[derive(Debug, Clone, PartialEq)]
pub enum Pending {
    /// This.
    Act(Action),
    /// The end of the dashboard and of the farm that it runs.
    Quit,
}

/// What the connection should keep fresh.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wants {
    /// Jobs on the screen.
    pub jobs: Vec<JobId>,
    /// Builders are on the screen.
    pub builders: bool,
    /// Peers or their links are on the screen.
    pub peers: bool,
}

/// The dashboard.
#[derive(Debug)]
pub struct App {
    /// What is known.
    pub data: Data,
    /// What was known when a person held the screen still, and when that was.
    pub frozen: Option<(Box<Data>, Now)>,
    /// An earlier moment that is shown in place of now.
    pub past: Option<Box<Then>>,
    /// An earlier moment that was asked for.
    pub past_asked: Option<Asked>,
    /// Open pages, the one that is seen last.
    pub stack: Vec<Sheet>,
    /// What is being typed.
    pub prompt: Option<Prompt>,
    /// What waits for a yes.
    pub pending: Option<Pending>,
    /// The help page is open, from this line on.
    pub help: Option<usize>,
    /// Words at the bottom.
    pub notice: Option<Notice>,
    /// Commands used so far.
    pub used: Vec<Used>,
    /// Columns and rows of the terminal.
    pub size: (u16, u16),
    /// The time.
    pub now: Now,
    /// The looks.
    pub theme: Theme,
    /// The farm runs in this process and ends with it.
    pub farm_here: bool,
    pub(super) g_typed: bool,
    pub(super) effects: Vec<Effect>,
    tickets: BTreeMap<u64, u64>,
    acts: BTreeMap<u64, usize>,
    numbers: u64,
}

impl App {
    /// The first page, with nothing known.
    pub fn new(theme: Theme, size: (u16, u16), now: Now) -> App {
        App {
            data: Data::default(),
            frozen: None,
            past: None,
            past_asked: None,
            stack: vec![Sheet::new(0, Page::Farm)],
            prompt: None,
            pending: None,
            help: None,
            notice: None,
            used: Vec::new(),
            size,
            now,
            theme,
            farm_here: false,
            g_typed: false,
            effects: Vec::new(),
            tickets: BTreeMap::new(),
            acts: BTreeMap::new(),
            numbers: 0,
        }
    }

    /// The page that is seen.
    pub fn sheet(&self) -> &Sheet {
        static NOTHING: std::sync::OnceLock<Sheet> = std::sync::OnceLock::new();
        self.stack
            .last()
            .unwrap_or_else(|| NOTHING.get_or_init(|| Sheet::new(0, Page::Farm)))
    }

    /// The data that is shown: of an earlier moment, of when the screen was held still, or of now.
    pub fn shown(&self) -> &Data {
        match (self.then(), &self.frozen) {
            (Some(then), _) => &then.data,
            (None, Some((data, _))) => data,
            (None, None) => &self.data,
        }
    }

    /// A number that nothing else has.
    pub(super) fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// The host's time for what is shown.
    pub fn clock(&self) -> Stamp {
        match (self.then(), &self.frozen) {
            (Some(then), _) => then.at,
            (None, Some((data, at))) => data.host_time(*at),
            (None, None) => self.data.host_time(self.now),
        }
    }

    /// Rows of a table or a log that fit the screen.
    pub fn height(&self) -> usize {
        let body = usize::from(draw::body(self.size).height);
        match self.sheet().page.shape() {
            Shape::Table => body.saturating_sub(1),
            Shape::Log => body.saturating_sub(1),
            Shape::Board | Shape::Text => body,
        }
        .max(1)
    }

    /// What has to be done.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Says something at the bottom.
    pub fn say(&mut self, words: impl Into<String>, ink: Ink) {
        self.notice = Some(Notice {
            words: words.into(),
            ink,
            until_ms: self.now.mono_ms + NOTICE_MS,
        });
    }

    /// Opens a page on top of this one.
    pub fn open(&mut self, page: Page) {
        if self.sheet().page == page {
            return;
        }
        if self.stack.len() >= DEPTH_MAX {
            self.stack.remove(1);
        }
        self.numbers += 1;
        let sheet = Sheet::new(self.numbers, page);
        self.stack.push(sheet);
        self.refresh(true);
    }

    /// Shows a numbered page: the others are closed.
    pub fn go_to_tab(&mut self, page: Page) {
        let same = self.stack.len() == 1 && self.sheet().page == page;
        if !same {
            let kept = self.stack.first().is_some_and(|first| first.page == page);
            if kept {
                self.stack.truncate(1);
            } else {
                self.numbers += 1;
                self.stack = vec![Sheet::new(self.numbers, page)];
            }
            self.refresh(true);
        }
    }

    /// Asks for something on behalf of the page that is seen.
    fn ask(&mut self, question: Question) {
        self.numbers += 1;
        let id = self.sheet().id;
        self.tickets.insert(self.numbers, id);
        self.effects.push(Effect::Ask(self.numbers, question));
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
        self.numbers += 1;
        if self.used.len() >= USED_MAX {
            self.used.remove(0);
            self.acts
                .values_mut()
                .for_each(|at| *at = at.saturating_sub(1));
        }
        self.acts.insert(self.numbers, self.used.len());
        self.used.push(Used {
            command: action.command(),
            at: self.clock(),
            outcome: None,
        });
        self.say(format!("{} ...", action.command()), Ink::Busy);
        self.effects
            .push(Effect::Ask(self.numbers, Question::Act(action)));
    }

    /// Takes what the connection brings.
    pub fn hear(&mut self, news: News) {
        match news {
            News::Answer { ticket, result } => self.answered(ticket, result),
            other => self.data.hear(other, self.now),
        }
        self.settle(false);
    }

    fn answered(&mut self, ticket: u64, result: Result<Reply, Fault>) {
        if let Some(at) = self.acts.remove(&ticket) {
            let mut printed = None;
            let outcome = match result {
                Ok(Reply::Done(words)) => Ok(words),
                Ok(Reply::Ran(ran)) => {
                    let first = ran.text.lines().next().unwrap_or("done").to_owned();
                    if ran.text.lines().nth(1).is_some() || first.len() > PRINTED_BYTES {
                        printed = Some(ran.text);
                    }
                    // What is shown on a page of its own may be a secret: it is not kept beside that.
                    let done = ran.code == Some(0);
                    let told = match printed {
                        Some(_) if done => "done; what it printed was shown".to_owned(),
                        _ => first,
                    };
                    if done { Ok(told) } else { Err(told) }
                }
                Ok(_) => Ok("done".into()),
                Err(fault) => Err(fault.to_string()),
            };
            match &outcome {
                Ok(words) => self.say(words.clone(), Ink::Good),
                Err(words) => self.say(words.clone(), Ink::Bad),
            }
            if let Some(used) = self.used.get_mut(at) {
                used.outcome = Some(outcome);
                if let Some(text) = printed {
                    let page = Page::Raw(used.command.clone(), text);
                    self.open(page);
                }
            }
            return;
        }
        let result = match result {
            Ok(Reply::Past(past)) => {
                self.take_past(ticket, Ok(*past));
                return;
            }
            Err(fault) if self.past_asked.is_some_and(|asked| asked.ticket == ticket) => {
                self.take_past(ticket, Err(fault));
                return;
            }
            other => other,
        };
        let Some(id) = self.tickets.remove(&ticket) else {
            return;
        };
        let height = self.height();
        let seq = self.data.seq;
        let frozen = self.frozen.is_some();
        let Some(sheet) = self.stack.iter_mut().find(|sheet| sheet.id == id) else {
            return;
        };
        sheet.asking = false;
        match (result, &mut sheet.log) {
            (Ok(Reply::Log(piece)), Some(log)) => {
                sheet.fault = None;
                log.take(piece, height);
            }
            (Ok(Reply::Found(found)), Some(log)) => log.found(found),
            (Ok(Reply::Older(events)), _) => views::events::older(sheet, events),
            (Ok(reply), _) => {
                sheet.fault = None;
                if let (Page::Graph(root), Reply::Job(page) | Reply::Cone { page, .. }) =
                    (&sheet.page, &reply)
                {
                    views::graph::grow(&mut sheet.branches, *root, page);
                }
                if matches!((&sheet.page, &reply), (Page::Graph(_), Reply::Job(_))) {
                    // A branch: what lies around the root stays.
                    sheet.made_of = None;
                } else if !frozen || sheet.content.is_none() {
                    sheet.content = Some(reply);
                    sheet.asked_at = seq;
                    sheet.made_of = None;
                }
            }
            (Err(fault), log) => {
                if let Some(log) = log {
                    log.failed();
                }
                sheet.made_of = None;
                sheet.fault = Some(fault);
            }
        }
        if self.sheet().page.shape() == Shape::Log {
            self.refresh(false);
        }
    }

    /// Time went on.
    pub fn tick(&mut self, now: Now) {
        self.now = now;
        if self
            .notice
            .as_ref()
            .is_some_and(|notice| notice.until_ms <= now.mono_ms)
        {
            self.notice = None;
        }
        self.refresh(false);
        self.settle(false);
    }

    /// Milliseconds until time has to be told again.
    pub fn pace_ms(&self) -> u64 {
        match &self.sheet().log {
            Some(log) if log.follow && !log.over => 250,
            _ => 1_000,
        }
    }

    /// Asks for what the page that is seen needs.
    fn refresh(&mut self, at_once: bool) {
        let height = self.height();
        let now_ms = self.now.mono_ms;
        let seq = self.data.seq;
        let frozen = self.frozen.is_some();
        let Some(sheet) = self.stack.last_mut() else {
            return;
        };
        let since = sheet.asked_ms.map(|asked| now_ms.saturating_sub(asked));
        if let Some(log) = &mut sheet.log {
            let waits = sheet.fault.is_some() && since.is_some_and(|since| since < RETRY_MS);
            if frozen || waits && !at_once {
                return;
            }
            let poll = since.is_none_or(|since| since >= 200);
            let wants = log.wants(height, poll);
            if !wants.is_empty() {
                sheet.asked_ms = Some(now_ms);
            }
            wants.into_iter().for_each(|want| self.ask(want));
            return;
        }
        let since_asked = (since, sheet.fault.as_ref().map(|fault| fault.kind));
        let asked_at = sheet.asked_at;
        let asking = sheet.asking;
        let filled = sheet.content.is_some();
        let foretold = matches!(sheet.page, Page::Job(_) | Page::Why(_));
        let once = matches!(
            sheet.page,
            Page::Graph(_) | Page::Printed(_) | Page::Version(..)
        );
        let Some(question) = self.stack.last().and_then(|sheet| self.question_of(sheet)) else {
            return;
        };
        let due = match since_asked {
            (None, _) => true,
            (Some(since), Some(kind)) if kind != Kind::NotFound => since >= RETRY_MS,
            (Some(since), _) => {
                asked_at < seq && since >= REFRESH_MS || foretold && since >= FORETOLD_MS
            }
        };
        // A tree is grown by hand, and a command is run once; asking again would undo it. What was, stays.
        let grown = (once || self.past.is_some()) && filled;
        // A frozen page keeps what it has, and is filled when it has nothing.
        let kept = frozen && filled;
        if due && !asking && !kept && !grown {
            self.ask_for_page(question);
        }
    }

    /// Brings lists and texts up to date with what is known; `now`: a person waits for it.
    pub fn settle(&mut self, now: bool) {
        let height = self.height();
        // The page stays in its place while its rows are made: which moment is shown depends on it.
        let Some(last) = self.stack.last_mut().filter(|sheet| sheet.log.is_none()) else {
            return;
        };
        let stand_in = Sheet::new(last.id, last.page.clone());
        let mut sheet = std::mem::replace(last, stand_in);
        let shape = sheet.page.shape();
        let second = self.clock().0 / 1_000;
        let mut hash = self.shown().revision;
        if shape == Shape::Text {
            // Texts tell how long things have taken.
            hash = hash.wrapping_mul(31).wrapping_add(second as u64);
            hash = hash.wrapping_mul(31).wrapping_add(u64::from(self.size.0));
            hash = hash.wrapping_mul(31).wrapping_add(self.used.len() as u64);
        }
        let late = self.now.mono_ms.saturating_sub(sheet.made_ms) >= RELIST_MS;
        if sheet.made_of != Some(hash) && (now || late || sheet.made_of.is_none()) {
            match shape {
                Shape::Text => {
                    sheet.doc = views::doc(self, &sheet, draw::body(self.size).width);
                    sheet.lines = sheet.doc.as_list();
                }
                Shape::Table | Shape::Board => sheet.lines = views::lines(self, &sheet),
                Shape::Log => {}
            }
            sheet.made_of = Some(hash);
            sheet.made_ms = self.now.mono_ms;
        }
        if shape != Shape::Log {
            sheet.spot.settle(&sheet.lines, height);
        }
        if let Some(last) = self.stack.last_mut() {
            *last = sheet;
        }
    }

    /// Makes the list of the page that is seen anew.
    pub fn relist(&mut self) {
        if let Some(sheet) = self.stack.last_mut() {
            sheet.made_of = None;
        }
        self.settle(true);
    }

    /// What the connection should keep fresh.
    pub fn wants(&self) -> Wants {
        let sheet = self.sheet();
        let mut wants = Wants {
            jobs: Vec::new(),
            builders: matches!(sheet.page, Page::Farm | Page::Builders | Page::Builder(_)),
            peers: matches!(
                sheet.page,
                Page::Builders | Page::Builder(_) | Page::Peers | Page::Peer(_)
            ),
        };
        match &sheet.page {
            Page::Queue | Page::Farm => {
                let visible = sheet
                    .lines
                    .iter()
                    .skip(sheet.spot.offset)
                    .take(self.height());
                for line in visible {
                    if let Line::Row(key) = line
                        && *key < views::farm::ALARM
                    {
                        wants.jobs.push(JobId(*key));
                    }
                }
            }
            Page::Job(job) | Page::Log(job, _) => wants.jobs.push(*job),
            _ => {}
        }
        wants
    }
}
