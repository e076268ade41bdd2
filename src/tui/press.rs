//! What keys do: a person's input on its way into the state.

use super::app::{App, Effect, Input, Pending};
use super::ask::{Question, Wanted};
use super::draw;
use super::hunt::Way;
use super::keys::{self, Deed, Key};
use super::page::{Grouping, Page, Shape, TABS};
use super::theme::Ink;
use super::views;

impl App {
    /// Takes what a person or the terminal did.
    pub fn input(&mut self, input: Input) {
        match input {
            Input::Resize(columns, rows) => {
                self.size = (columns, rows);
                self.effects.push(Effect::Redraw);
            }
            Input::Key(key) => self.key(key),
            Input::Paste(text) => {
                if self.prompt.is_some() {
                    let line: String = text.chars().filter(|c| !c.is_control()).collect();
                    line.chars().for_each(|c| self.type_key(Key::Char(c)));
                }
            }
            Input::Wheel(up) => {
                if self.help.is_some() {
                    self.help_key(if up { Key::Up } else { Key::Down });
                } else if self.pending.is_none() {
                    self.step(if up { -3 } else { 3 });
                }
            }
            Input::Click(x, y) => self.click(x, y),
        }
        self.settle(true);
    }

    fn key(&mut self, key: Key) {
        if let Some(pending) = self.pending.take() {
            self.answer(pending, key);
            return;
        }
        if self.prompt.is_some() {
            self.type_key(key);
            return;
        }
        if self.help.is_some() {
            self.help_key(key);
            return;
        }
        let second_g = std::mem::take(&mut self.g_typed);
        if key == Key::Char('g') && !second_g {
            self.g_typed = true;
            return;
        }
        if let Some(deed) = keys::deed_of(self, key) {
            self.notice = None;
            self.perform(deed);
        } else if let Some(words) = keys::BINDINGS
            .iter()
            .find(|binding| binding.keys.contains(&key) && binding.part == keys::Part::Act)
            .map(|binding| {
                self.not_sent()
                    .unwrap_or_else(|| self.why_not(binding.deed))
            })
        {
            self.say(words, Ink::Warn);
        } else if let Key::Char(c) = key {
            let words = format!("{c} does nothing here; ? shows the keys that do");
            self.say(words, Ink::Faint);
        } else if key == Key::Enter {
            self.say("there is nothing to open on this line", Ink::Faint);
        }
    }

    /// Yes is `y`; everything else is no.
    fn answer(&mut self, pending: Pending, key: Key) {
        match (pending, key) {
            (Pending::Act(action), Key::Char('y' | 'Y')) => match self.not_sent() {
                None => self.act(action),
                // The question stays: yes may be said again when the host is back.
                Some(words) => {
                    self.say(words, Ink::Bad);
                    self.pending = Some(Pending::Act(action));
                }
            },
            (Pending::Quit, Key::Char('y' | 'Y')) => self.effects.push(Effect::Quit),
            (Pending::Act(_), _) => self.say("nothing was changed", Ink::Faint),
            (Pending::Quit, _) => {}
        }
    }

    fn help_key(&mut self, key: Key) {
        let page = draw::help_page_lines(self);
        let last = draw::help_lines(self).saturating_sub(page);
        let at = self.help.unwrap_or(0);
        self.help = match key {
            Key::Up | Key::Char('k') => Some(at.saturating_sub(1)),
            Key::Down | Key::Char('j') => Some((at + 1).min(last)),
            Key::PageUp | Key::Ctrl('u') => Some(at.saturating_sub(page)),
            Key::PageDown | Key::Ctrl('d') | Key::Char(' ') => Some((at + page).min(last)),
            Key::Char('g') | Key::Home => Some(0),
            Key::Char('G') | Key::End => Some(last),
            Key::Ctrl('c') => {
                self.perform(Deed::Quit);
                None
            }
            _ => None,
        };
    }

    fn step(&mut self, by: isize) {
        let height = self.height();
        let Some(sheet) = self.stack.last_mut() else {
            return;
        };
        if let Some(log) = &mut sheet.log {
            log.step(by, height);
        } else if sheet.page.shape() == Shape::Text {
            // Texts are read: the screen moves, and the spot with it to the next link.
            views::read_on(sheet, by, height);
        } else {
            sheet.spot.step(by, &sheet.lines, height);
        }
        if self.sheet().log.is_some() {
            self.tick(self.now);
        }
    }

    fn click(&mut self, x: u16, y: u16) {
        if self.pending.is_some() || self.prompt.is_some() {
            return;
        }
        if self.help.take().is_some() {
            return;
        }
        if let Some(tab) = draw::tab_at(x, y) {
            self.go_to_tab(tab);
            return;
        }
        let body = draw::body(self.size);
        let Some(row) = y.checked_sub(body.y).filter(|row| *row < body.height) else {
            return;
        };
        let Some(line) = views::line_at(self, usize::from(row), x) else {
            return;
        };
        let same = self.sheet().spot.at == line;
        let height = self.height();
        if let Some(sheet) = self.stack.last_mut() {
            let by = line as isize - sheet.spot.at as isize;
            sheet.spot.step(by, &sheet.lines, height);
        }
        if same && self.copy_here().is_some() {
            self.perform(Deed::Copy);
        } else if same && self.target().is_some() {
            self.perform(Deed::Enter);
        }
    }

    /// Does what a key of the table says.
    pub fn perform(&mut self, deed: Deed) {
        let height = self.height() as isize;
        match deed {
            Deed::Quit if self.farm_here => self.pending = Some(Pending::Quit),
            Deed::Quit => self.effects.push(Effect::Quit),
            Deed::Help => self.help = Some(0),
            Deed::Suspend => self.effects.push(Effect::Suspend),
            Deed::Redraw => self.effects.push(Effect::Redraw),
            Deed::Picture => {
                let name = format!("massif-{}.svg", self.clock().0 / 1_000);
                self.effects.push(Effect::Picture(name));
            }
            Deed::Back => self.back(),
            Deed::Step(by) => self.step(isize::from(by)),
            Deed::HalfPage(by) => self.step(isize::from(by) * (height / 2).max(1)),
            Deed::PageBy(by) => self.step(isize::from(by) * (height - 1).max(1)),
            Deed::Top | Deed::Bottom => self.go_to_edge(deed == Deed::Top),
            Deed::Tab(at) => {
                if let Some((_, _, page)) = TABS.get(usize::from(at)) {
                    self.go_to_tab(page.clone());
                }
            }
            Deed::NextTab(by) => self.next_tab(isize::from(by)),
            Deed::Filter | Deed::Command => self.start_prompt(deed),
            Deed::AsOf => self.as_of(),
            Deed::StepTime(by) => self.step_time(i64::from(by)),
            Deed::Freeze => self.freeze(),
            Deed::Used => self.open(Page::History),
            Deed::Copy => self.copy(),
            Deed::Older => {
                if let Some(first) = views::events::oldest(self) {
                    self.ask_for_page(Question::Older(first));
                }
            }
            Deed::Enter
            | Deed::Describe
            | Deed::Log
            | Deed::Why
            | Deed::Raw
            | Deed::Recipe
            | Deed::Graph
            | Deed::Packages => self.look(deed),
            Deed::Expand | Deed::Sort(_) | Deed::Reverse | Deed::Group => self.arrange(deed),
            Deed::Wrap
            | Deed::Sideways(_)
            | Deed::Next
            | Deed::Previous
            | Deed::NextError
            | Deed::PreviousError
            | Deed::NextPhase
            | Deed::PreviousPhase => self.in_log(deed),
            Deed::Retry
            | Deed::Cancel
            | Deed::Hold
            | Deed::Release
            | Deed::Raise
            | Deed::Build
            | Deed::Rollback
            | Deed::Drain
            | Deed::Quarantine
            | Deed::Resume
            | Deed::Approve
            | Deed::Expel
            | Deed::Rename => {
                if let Some(action) = self.action_of(deed) {
                    self.propose(action);
                }
            }
        }
    }

    fn next_tab(&mut self, by: isize) {
        let first = self.stack.first().map(|sheet| &sheet.page);
        let at = TABS.iter().position(|(_, _, page)| Some(page) == first);
        let count = TABS.len() as isize;
        let next = (at.unwrap_or(0) as isize + by).rem_euclid(count);
        if let Some((_, _, page)) = TABS.get(next as usize) {
            self.go_to_tab(page.clone());
        }
    }

    /// To the moment of the event that a person stands on, or back to now.
    fn as_of(&mut self) {
        let seq = views::events::here(self);
        match (seq, &self.past) {
            (Some(seq), past) if past.as_ref().is_none_or(|past| past.seq != seq) => {
                self.go_to_past(seq);
            }
            _ => self.go_to_now(),
        }
    }

    /// Holds the screen still, or lets it go on.
    fn freeze(&mut self) {
        if self.past.is_some() {
            let words = "what was, stands still; a brings you back to now";
            self.say(words, Ink::Faint);
            return;
        }
        self.frozen = match self.frozen.take() {
            Some(_) => None,
            None => Some((Box::new(self.data.clone()), self.now)),
        };
        self.relist();
    }

    /// Gives the command that a person stands on to the terminal's clipboard.
    fn copy(&mut self) {
        let Some(words) = self.copy_here() else {
            return;
        };
        self.say(
            format!("given to the terminal's clipboard: {words}"),
            Ink::Good,
        );
        self.effects.push(Effect::Copy(words));
    }

    fn back(&mut self) {
        if self.sheet().filter.is_on() {
            self.set_filter("");
        } else if self.stack.len() > 1 {
            if let Some(closed) = self.stack.pop() {
                self.close(closed);
            }
            self.relist();
            self.refresh(true);
        }
    }

    fn go_to_edge(&mut self, top: bool) {
        let height = self.height();
        let Some(sheet) = self.stack.last_mut() else {
            return;
        };
        match (&mut sheet.log, top) {
            (Some(log), true) => log.to_start(),
            (Some(log), false) => log.follow_end(height),
            (None, true) => sheet.spot.to_top(&sheet.lines, height),
            (None, false) => sheet.spot.step(isize::MAX, &sheet.lines, height),
        }
        if self.sheet().log.is_some() {
            self.tick(self.now);
        }
    }

    fn look(&mut self, deed: Deed) {
        if deed == Deed::Enter && views::graph::folds(self) {
            views::graph::toggle(self);
            return;
        }
        let page = match deed {
            Deed::Enter => self.target(),
            Deed::Describe => self.described(),
            Deed::Log => self.log_here(),
            Deed::Why => self.why_here().map(Page::Why),
            Deed::Raw => self.raw_here().map(|raw| Page::Raw(raw.name(), raw.text())),
            Deed::Recipe => self.recipe_here().map(Page::Recipe),
            Deed::Graph => self.job_here().map(Page::Graph),
            Deed::Packages => self.channel_here().map(Page::Packages),
            _ => None,
        };
        if let Some(page) = page {
            self.open(page);
        }
    }

    fn arrange(&mut self, deed: Deed) {
        let Some(sheet) = self.stack.last_mut() else {
            return;
        };
        match deed {
            Deed::Expand => sheet.expanded = !sheet.expanded,
            Deed::Reverse => sheet.reverse = !sheet.reverse,
            Deed::Group => {
                sheet.grouping = match sheet.grouping {
                    Grouping::State => Grouping::Batch,
                    Grouping::Batch => Grouping::None,
                    Grouping::None => Grouping::State,
                }
            }
            Deed::Sort(by) => {
                let count = views::columns(&sheet.page).len() as isize;
                let next = (sheet.sort as isize + isize::from(by)).rem_euclid(count.max(1));
                sheet.sort = next as usize;
            }
            _ => {}
        }
        self.relist();
    }

    fn in_log(&mut self, deed: Deed) {
        let now = self.now;
        let Some(log) = self.stack.last_mut().and_then(|sheet| sheet.log.as_mut()) else {
            return;
        };
        let words = Wanted::Pattern(String::new());
        match deed {
            Deed::Wrap => log.wrap = !log.wrap,
            Deed::Sideways(by) => {
                log.left = log.left.saturating_add_signed(isize::from(by) * 8);
            }
            Deed::Next => log.hunt(&words, Way::Forward),
            Deed::Previous => log.hunt(&words, Way::Back),
            Deed::NextError => log.hunt(&Wanted::Errors, Way::Forward),
            Deed::PreviousError => log.hunt(&Wanted::Errors, Way::Back),
            Deed::NextPhase => log.hunt(&Wanted::Phases, Way::Forward),
            Deed::PreviousPhase => log.hunt(&Wanted::Phases, Way::Back),
            _ => {}
        }
        self.tick(now);
    }
}
