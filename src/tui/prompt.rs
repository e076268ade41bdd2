//! Lines that a person types: filters, searches, commands with completion, reasons; and the question before something is
//! done.

use super::app::{App, Effect, Pending, Prompt, PromptFor};
use super::ask::Action;
use super::command::{self, Command, Names};
use super::filter::Filter;
use super::keys::{Deed, Key};
use super::page::{Shape, TABS};
use super::theme::{Environment, Ink, Theme};
use crate::admin::Right;

/// Characters of a line that is typed.
const TYPED_MAX: usize = 500;

impl App {
    pub(super) fn type_key(&mut self, key: Key) {
        let Some(mut prompt) = self.prompt.take() else {
            return;
        };
        match key {
            Key::Enter => {
                self.typed(prompt);
                return;
            }
            Key::Esc | Key::Ctrl('c') => {
                if prompt.kind == PromptFor::Filter {
                    self.set_filter(&prompt.before);
                }
                return;
            }
            Key::Backspace | Key::Ctrl('h') => {
                if prompt.typed.pop().is_none() {
                    return;
                }
                prompt.endings = None;
            }
            Key::Ctrl('u') => {
                prompt.typed.clear();
                prompt.endings = None;
            }
            Key::Ctrl('w') => {
                let kept = prompt.typed.trim_end().rfind(' ').map_or(0, |at| at + 1);
                prompt.typed.truncate(kept);
                prompt.endings = None;
            }
            Key::Tab | Key::BackTab if prompt.kind == PromptFor::Command => {
                self.complete(&mut prompt, key == Key::BackTab);
            }
            Key::Char(c) if prompt.typed.chars().count() < TYPED_MAX => {
                prompt.typed.push(c);
                prompt.endings = None;
            }
            _ => {}
        }
        if prompt.kind == PromptFor::Filter && self.sheet().page.shape() == Shape::Table {
            self.set_filter(&prompt.typed);
        }
        self.prompt = Some(prompt);
    }

    fn complete(&self, prompt: &mut Prompt, back: bool) {
        let (endings, at) = match prompt.endings.take() {
            Some((endings, at)) => {
                let count = endings.len().max(1);
                (endings, if back { at + count - 1 } else { at + 1 } % count)
            }
            None => (
                command::completions(&prompt.typed, &Names::of(&self.data)),
                0,
            ),
        };
        if let Some(ending) = endings.get(at) {
            prompt.typed = ending.clone();
        }
        // A single ending is taken; Tab goes on behind it.
        if endings.len() > 1 {
            prompt.endings = Some((endings, at));
        } else if endings.len() == 1 {
            prompt.typed.push(' ');
        }
    }

    pub(super) fn set_filter(&mut self, typed: &str) {
        if let Some(sheet) = self.stack.last_mut() {
            sheet.filter = Filter::parse(typed);
        }
        self.relist();
    }

    /// Enter was pressed in a prompt.
    fn typed(&mut self, prompt: Prompt) {
        match prompt.kind {
            PromptFor::Filter => match self.stack.last_mut().and_then(|sheet| sheet.log.as_mut()) {
                Some(log) => {
                    log.search(&prompt.typed);
                    self.tick(self.now);
                }
                None => self.set_filter(&prompt.typed),
            },
            PromptFor::Reason(action) => {
                let reason = prompt.typed.trim().to_owned();
                let action = match action {
                    Action::Hold { .. } if reason.is_empty() => {
                        self.say("a hold needs a reason; nothing was changed", Ink::Warn);
                        return;
                    }
                    Action::Hold { job, recipe, .. } => Action::Hold {
                        job,
                        recipe,
                        reason,
                    },
                    Action::Rollback { channel, to, .. } => Action::Rollback {
                        channel,
                        to,
                        reason,
                    },
                    Action::Drain { builder, .. } => Action::Drain { builder, reason },
                    Action::Quarantine { builder, .. } => Action::Quarantine { builder, reason },
                    Action::Rename { .. } if reason.is_empty() => {
                        self.say("a peer needs a name; nothing was changed", Ink::Warn);
                        return;
                    }
                    Action::Rename { peer, .. } => Action::Rename { peer, to: reason },
                    other => other,
                };
                self.pending = Some(Pending::Act(action));
            }
            PromptFor::Command => self.command(&prompt.typed),
        }
    }

    fn command(&mut self, typed: &str) {
        if typed.trim().is_empty() {
            return;
        }
        match command::parse(typed, &self.data) {
            Err(words) => self.say(words, Ink::Warn),
            Ok(Command::Open(page)) => {
                let tab = TABS.iter().any(|(_, _, tab)| *tab == page);
                if tab {
                    self.go_to_tab(page)
                } else {
                    self.open(page)
                }
            }
            Ok(Command::Act(action)) => self.propose(action),
            Ok(Command::At(seq)) => self.go_to_past(seq),
            Ok(Command::Now) => self.go_to_now(),
            Ok(Command::Theme(name)) => {
                let rich = Environment {
                    locale: "UTF-8".into(),
                    ..Environment::default()
                };
                match Theme::of(Some(&name), &rich) {
                    Some(theme) => {
                        self.theme = Theme {
                            ascii: theme.ascii || self.theme.ascii && name != "dark",
                            ..theme
                        };
                        self.effects.push(Effect::Redraw);
                    }
                    None => self.say(format!("no theme {name}"), Ink::Warn),
                }
            }
            Ok(Command::Picture(file)) => self.effects.push(Effect::Picture(file)),
            Ok(Command::Help) => self.help = Some(0),
            Ok(Command::Quit) => self.perform(Deed::Quit),
        }
    }

    /// Asks before something is done, or says why it may not be.
    pub fn propose(&mut self, action: Action) {
        if let Some(words) = self.not_sent() {
            self.say(words, Ink::Bad);
            return;
        }
        if self.frozen.is_some() {
            self.say(
                "the screen is frozen: what you see may be old. Press f first",
                Ink::Warn,
            );
            return;
        }
        if self.data.status.is_none() {
            self.say(
                "the host has not answered yet: nothing can be changed",
                Ink::Warn,
            );
            return;
        }
        if self.past.is_some() {
            self.say(
                "this is the farm as it was; a brings you back to now",
                Ink::Warn,
            );
            return;
        }
        if self.data.right() == Right::View.as_str() {
            self.say(
                "you may only look here; ask to be added to the group `massif`, or run it as the farm's owner",
                Ink::Warn,
            );
            return;
        }
        if action.right() == Right::Admin && self.data.right() != Right::Admin.as_str() {
            self.say(
                "that needs the right to admin: run it as root or as the user that runs the farm",
                Ink::Warn,
            );
            return;
        }
        match action {
            Action::Hold { ref reason, .. } if reason.is_empty() => self.ask_reason(action),
            Action::Rollback { ref reason, .. }
            | Action::Drain { ref reason, .. }
            | Action::Quarantine { ref reason, .. }
            | Action::Rename { to: ref reason, .. }
                if reason.is_empty() =>
            {
                self.ask_reason(action);
            }
            action => self.pending = Some(Pending::Act(action)),
        }
    }

    fn ask_reason(&mut self, action: Action) {
        self.prompt = Some(Prompt {
            kind: PromptFor::Reason(action),
            typed: String::new(),
            before: String::new(),
            endings: None,
        });
    }

    pub(super) fn start_prompt(&mut self, deed: Deed) {
        let kind = match deed {
            Deed::Filter => PromptFor::Filter,
            _ => PromptFor::Command,
        };
        let before = match kind {
            PromptFor::Filter => self.sheet().filter.typed().to_owned(),
            _ => String::new(),
        };
        self.prompt = Some(Prompt {
            kind,
            typed: before.clone(),
            before,
            endings: None,
        });
    }
}
