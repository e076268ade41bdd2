//! The dashboard as a value: what is known, what is open, what a person typed. Input, news and time go in; effects come
//! out; the screen is drawn from it. It touches nothing of the world.

use std::collections::BTreeMap;

use super::ask::{Action, Question};
use super::data::Data;
use super::draw;
use super::kept::Kept;
use super::keys::Key;
use super::list::Line;
use super::page::{Page, Shape, Sheet};
use super::past::{Asked, Then};
use super::theme::{Ink, Theme};
use super::views;
use crate::id::{JobId, Now, Stamp};

/// Data that changes makes new lists this often at most, so that a busy farm costs no more than a calm one.
const RELIST_MS: u64 = 250;
/// How long a notice stays.
const NOTICE_MS: u64 = 8_000;
/// How long one stays that somebody has to act on.
const GRAVE_MS: u64 = 60_000;
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
    /// Give this line to the terminal's clipboard.
    Copy(String),
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
    /// What came of it; none: it is under way.
    pub outcome: Option<Outcome>,
    /// The command line that shows whether it was done.
    pub found_out_by: String,
    /// The question that it was put as.
    pub(super) ticket: u64,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It was done; what the host said.
    Done(String),
    /// It was not; why.
    Failed(String),
    /// The link broke before the answer: nobody here knows whether it was done. What broke it.
    Unknown(String),
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
    /// Which page waits for which answer.
    pub(super) tickets: BTreeMap<u64, u64>,
    /// What closed pages had.
    pub(super) kept: Vec<Kept>,
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
            kept: Vec::new(),
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
            // While the host is away nobody knows what goes on: spans end where it was heard last.
            (None, None) if self.is_away() => self.data.host_time(Now {
                wall: self.data.heard.unwrap_or(self.now.wall),
                ..self.now
            }),
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

    /// The same for longer: somebody has to act on it.
    pub fn say_gravely(&mut self, words: impl Into<String>, ink: Ink) {
        self.say(words, ink);
        if let Some(notice) = &mut self.notice {
            notice.until_ms = self.now.mono_ms + GRAVE_MS;
        }
    }

    /// Opens a page on top of this one.
    pub fn open(&mut self, page: Page) {
        if self.sheet().page == page {
            return;
        }
        if self.stack.len() >= DEPTH_MAX {
            let closed = self.stack.remove(1);
            self.close(closed);
        }
        let sheet = self.make_sheet(page);
        self.stack.push(sheet);
        self.refresh(true);
    }

    /// Shows a numbered page: the others are closed.
    pub fn go_to_tab(&mut self, page: Page) {
        let same = self.stack.len() == 1 && self.sheet().page == page;
        if !same {
            let stays = self.stack.first().is_some_and(|first| first.page == page);
            let closed = self
                .stack
                .split_off(usize::from(stays).min(self.stack.len()));
            closed.into_iter().for_each(|sheet| self.close(sheet));
            if !stays {
                let sheet = self.make_sheet(page);
                self.stack.push(sheet);
            }
            self.refresh(true);
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
