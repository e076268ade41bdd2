//! One table of keys: what they do, where, and the words about it. Dispatch, the help page and the bottom line are made
//! from it, so that none of them can be wrong about the others.

use super::app::App;
use super::page::{Page, Shape};

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A character.
    Char(char),
    /// A character with Ctrl.
    Ctrl(char),
    /// Enter.
    Enter,
    /// Escape.
    Esc,
    /// Tab.
    Tab,
    /// Shift and Tab.
    BackTab,
    /// Backspace.
    Backspace,
    /// Arrow.
    Up,
    /// Arrow.
    Down,
    /// Arrow.
    Left,
    /// Arrow.
    Right,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// To the start.
    Home,
    /// To the end.
    End,
}

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Leave the dashboard.
    Quit,
    /// Show the keys.
    Help,
    /// Go back a page, or clear a filter.
    Back,
    /// Go into what a person stands on.
    Enter,
    /// Move by lines.
    Step(i16),
    /// Move by half screens.
    HalfPage(i16),
    /// Move by screens.
    PageBy(i16),
    /// To the first line.
    Top,
    /// To the last line.
    Bottom,
    /// To the left or right.
    Sideways(i16),
    /// To a numbered page.
    Tab(u8),
    /// To the next numbered page, or the one before.
    NextTab(i8),
    /// Filter rows, or search a log.
    Filter,
    /// Type a command.
    Command,
    /// All about it.
    Describe,
    /// Its log.
    Log,
    /// Why it is as it is.
    Why,
    /// As JSON.
    Raw,
    /// Its recipe.
    Recipe,
    /// What it needs and what needs it.
    Graph,
    /// The packages of a channel.
    Packages,
    /// Hold the screen.
    Freeze,
    /// One part takes the whole page.
    Expand,
    /// Sort by the column to the left or right.
    Sort(i8),
    /// The other way round.
    Reverse,
    /// Other groups.
    Group,
    /// Break long lines.
    Wrap,
    /// To the next place that was searched for.
    Next,
    /// To the one before.
    Previous,
    /// To the next error.
    NextError,
    /// To the error before.
    PreviousError,
    /// To the next phase.
    NextPhase,
    /// To the phase before.
    PreviousPhase,
    /// Older events.
    Older,
    /// Commands used so far.
    Used,
    /// Try again.
    Retry,
    /// Stop for good.
    Cancel,
    /// Keep from starting.
    Hold,
    /// End a hold.
    Release,
    /// Move forward.
    Raise,
    /// Build.
    Build,
    /// Bring an older version back.
    Rollback,
    /// A builder takes no new builds.
    Drain,
    /// A builder gets no builds.
    Quarantine,
    /// It does again.
    Resume,
    /// Let somebody in.
    Approve,
    /// Shut somebody out, or take an invitation back.
    Expel,
    /// Give somebody another name.
    Rename,
    /// The farm as it was after this event, or back to now.
    AsOf,
    /// So many events later or earlier.
    StepTime(i16),
    /// Write the screen as a picture.
    Picture,
    /// Give a command to the terminal's clipboard.
    Copy,
    /// Stop the program until the shell brings it back.
    Suspend,
    /// Draw everything again.
    Redraw,
}

/// A line of the table.
pub struct Binding {
    /// The keys; each does it.
    pub keys: &'static [Key],
    /// The keys in words.
    pub label: &'static str,
    /// What it does.
    pub deed: Deed,
    /// The same in words.
    pub help: &'static str,
    /// In the bottom line by this word; empty: not there.
    pub hint: &'static str,
    /// The part of the help page.
    pub part: Part,
    /// Whether it does something now.
    pub when: fn(&App) -> bool,
}

/// Parts of the help page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Moving around.
    Move,
    /// Looking at things.
    Look,
    /// Changing the view.
    View,
    /// Logs.
    Log,
    /// Changing the farm.
    Act,
    /// The program.
    Program,
}

impl Part {
    /// All parts, in the order of the help page.
    pub const ALL: [(Part, &'static str); 6] = [
        (Part::Act, "Change the farm (asks first)"),
        (Part::Look, "Look closer"),
        (Part::Log, "In the log"),
        (Part::View, "Change the view"),
        (Part::Move, "Move"),
        (Part::Program, "Program"),
    ];
}

fn always(_: &App) -> bool {
    true
}

fn shape(app: &App) -> Shape {
    app.sheet().page.shape()
}

fn in_log(app: &App) -> bool {
    shape(app) == Shape::Log
}

fn in_table(app: &App) -> bool {
    shape(app) == Shape::Table
}

fn in_sorted(app: &App) -> bool {
    !super::views::columns(&app.sheet().page).is_empty()
}

/// Whether the page that is seen has rows that can be filtered.
pub(super) fn filters(app: &App) -> bool {
    in_table(app) && !matches!(app.sheet().page, Page::Graph(_))
}

fn enters(app: &App) -> bool {
    app.target().is_some()
}

fn has_job(app: &App) -> bool {
    app.job_here().is_some()
}

fn has_log(app: &App) -> bool {
    !in_log(app) && app.job_here().is_some()
}

fn in_past(app: &App) -> bool {
    !in_log(app) && app.past.is_some()
}

/// One can step back from every page that shows a moment.
fn steps_back(app: &App) -> bool {
    let page = &app.sheet().page;
    !in_log(app) && (app.past.is_some() || page.tells_past() && app.data.seq.0 > 0)
}

fn goes_back(app: &App) -> bool {
    app.stack.len() > 1 || app.sheet().filter.is_on()
}

macro_rules! binding {
    ($keys:expr, $label:literal, $deed:expr, $part:ident, $hint:literal, $help:literal, $when:expr) => {
        Binding {
            keys: $keys,
            label: $label,
            deed: $deed,
            help: $help,
            hint: $hint,
            part: Part::$part,
            when: $when,
        }
    };
}

/// The table. Where one key stands several times, the first line that does something now has it.
#[rustfmt::skip]
pub const BINDINGS: &[Binding] = &[
    // Changing the farm: capitals, all of which ask first.
    binding!(&[Key::Char('R')], "R", Deed::Retry, Act, "Retry", "try a failed or cancelled job again", |app| app
        .is_offered(Deed::Retry)),
    binding!(&[Key::Char('R')], "R", Deed::Rollback, Act, "Roll back", "bring this version's content back", |app| app
        .is_offered(Deed::Rollback)),
    binding!(&[Key::Char('C')], "C", Deed::Cancel, Act, "Cancel", "stop a job for good", |app| app
        .is_offered(Deed::Cancel)),
    binding!(&[Key::Char('H')], "H", Deed::Hold, Act, "Hold", "keep a job from starting", |app| app
        .is_offered(Deed::Hold)),
    binding!(&[Key::Char('U')], "U", Deed::Release, Act, "Unhold", "release a job that is held", |app| app
        .is_offered(Deed::Release)),
    binding!(&[Key::Char('U')], "U", Deed::Resume, Act, "Undo", "a drained or quarantined builder takes builds again", |app| app
        .is_offered(Deed::Resume)),
    binding!(&[Key::Char('D')], "D", Deed::Drain, Act, "Drain", "a builder ends what it builds and takes nothing new", |app| app
        .is_offered(Deed::Drain)),
    binding!(&[Key::Char('Q')], "Q", Deed::Quarantine, Act, "Quarantine", "a builder gets no builds until released", |app| app
        .is_offered(Deed::Quarantine)),
    binding!(&[Key::Char('A')], "A", Deed::Approve, Act, "Approve", "let somebody in who joined", |app| app
        .is_offered(Deed::Approve)),
    binding!(&[Key::Char('X')], "X", Deed::Expel, Act, "Shut out", "shut a peer out for good, or take an invitation back", |app| app
        .is_offered(Deed::Expel)),
    binding!(&[Key::Char('N')], "N", Deed::Rename, Act, "Name", "give a peer another name", |app| app
        .is_offered(Deed::Rename)),
    binding!(&[Key::Char('P')], "P", Deed::Raise, Act, "Prefer", "move a job forward", |app| app
        .is_offered(Deed::Raise)),
    binding!(&[Key::Char('B')], "B", Deed::Build, Act, "Build", "build a recipe, again when it is published", |app| app
        .is_offered(Deed::Build)),
    // Looking closer.
    binding!(&[Key::Enter], "Enter", Deed::Enter, Look, "fold", "unfold what this job needs or is needed by, or fold it", super::views::graph::folds),
    binding!(&[Key::Enter, Key::Char('y')], "Enter y", Deed::Copy, Look, "copy", "copy this command, to the terminal's clipboard", |app| app
        .copy_here()
        .is_some()),
    binding!(&[Key::Enter], "Enter", Deed::Enter, Look, "open", "open what you stand on", enters),
    binding!(&[Key::Char('l')], "l", Deed::Log, Look, "log", "its log", has_log),
    binding!(&[Key::Char('w')], "w", Deed::Why, Look, "why", "why it is as it is: all reasons", |app| app
        .why_here()
        .is_some()),
    binding!(&[Key::Char('d')], "d", Deed::Describe, Look, "describe", "all about it", |app| app
        .described()
        .is_some()),
    binding!(&[Key::Char('t')], "t", Deed::Graph, Look, "tree", "what it needs and what needs it, as a tree", |app| {
        has_job(app) && !matches!(app.sheet().page, Page::Graph(_))
    }),
    binding!(&[Key::Char('m')], "m", Deed::Recipe, Look, "recipe", "the recipe's page", |app| app
        .recipe_here()
        .is_some()),
    binding!(&[Key::Char('p')], "p", Deed::Packages, Look, "packages", "the channel's packages", |app| {
        matches!(app.sheet().page, Page::Channel(_) | Page::Repository)
    }),
    binding!(&[Key::Char('o')], "o", Deed::Older, Look, "older", "older events from the host", |app| {
        app.sheet().page == Page::Events
    }),
    binding!(&[Key::Char('a')], "a", Deed::AsOf, Look, "as of then", "the farm as it was after this event", |app| {
        super::views::events::here(app).is_some_and(|seq| app.past.as_ref().is_none_or(|past| past.seq != seq))
    }),
    binding!(&[Key::Char('a')], "a", Deed::AsOf, Look, "now", "back from the farm as it was to now", |app| app
        .past
        .is_some()),
    binding!(&[Key::Char('y')], "y", Deed::Raw, Look, "JSON", "as the host's JSON", |app| app
        .raw_here()
        .is_some()),
    // Logs.
    binding!(&[Key::Char('/')], "/", Deed::Filter, Log, "search", "search the whole log", in_log),
    binding!(&[Key::Char('n')], "n", Deed::Next, Log, "next", "next place found", in_log),
    binding!(&[Key::Char('N')], "N", Deed::Previous, Log, "", "the place before", in_log),
    binding!(&[Key::Char(']')], "]", Deed::NextError, Log, "error", "next line that looks like an error", in_log),
    binding!(&[Key::Char('[')], "[", Deed::PreviousError, Log, "error before", "the error before", in_log),
    binding!(&[Key::Char('}')], "}", Deed::NextPhase, Log, "", "next phase of the build", in_log),
    binding!(&[Key::Char('{')], "{", Deed::PreviousPhase, Log, "", "the phase before", in_log),
    binding!(&[Key::Char('z')], "z", Deed::Wrap, Log, "wrap", "break long lines, or cut them", in_log),
    binding!(&[Key::Left, Key::Char('h')], "h Left", Deed::Sideways(-1), Log, "", "to the left", in_log),
    binding!(&[Key::Right], "Right", Deed::Sideways(1), Log, "", "to the right", in_log),
    // Changing the view.
    binding!(&[Key::Char('/')], "/", Deed::Filter, View, "filter", "show only some rows; the forms are listed below", filters),
    binding!(&[Key::Char('<')], "<", Deed::Sort(-1), View, "sort", "sort by the column to the left", in_sorted),
    binding!(&[Key::Char('>')], ">", Deed::Sort(1), View, "", "sort by the column to the right", in_sorted),
    binding!(&[Key::Char('r')], "r", Deed::Reverse, View, "", "sort the other way round", in_sorted),
    binding!(&[Key::Char('o')], "o", Deed::Group, View, "group", "group by state, by batch, or not at all", |app| {
        app.sheet().page == Page::Queue
    }),
    binding!(&[Key::Char('e')], "e", Deed::Expand, View, "", "the list takes the whole page", |app| {
        app.sheet().page == Page::Farm
    }),
    binding!(&[Key::Char('f')], "f", Deed::Freeze, View, "freeze", "hold the screen still, or let it go on", always),
    binding!(&[Key::Char('[')], "[", Deed::StepTime(-1), View, "event back", "the farm as it was one event before", steps_back),
    binding!(&[Key::Char(']')], "]", Deed::StepTime(1), View, "event on", "the farm one event later, up to now", in_past),
    binding!(&[Key::Char('{')], "{", Deed::StepTime(-50), View, "", "fifty events before", steps_back),
    binding!(&[Key::Char('}')], "}", Deed::StepTime(50), View, "", "fifty events later", in_past),
    // Moving.
    binding!(&[Key::Esc], "Esc", Deed::Back, Move, "back", "back, or clear the filter", goes_back),
    binding!(&[Key::Up, Key::Char('k')], "k Up", Deed::Step(-1), Move, "", "a line up", always),
    binding!(&[Key::Down, Key::Char('j')], "j Down", Deed::Step(1), Move, "", "a line down", always),
    binding!(&[Key::Ctrl('u')], "Ctrl-u", Deed::HalfPage(-1), Move, "", "half a screen up", always),
    binding!(&[Key::Ctrl('d')], "Ctrl-d", Deed::HalfPage(1), Move, "", "half a screen down", always),
    binding!(&[Key::PageUp, Key::Ctrl('b')], "PgUp", Deed::PageBy(-1), Move, "", "a screen up", always),
    binding!(&[Key::PageDown, Key::Ctrl('f'), Key::Char(' ')], "PgDn", Deed::PageBy(1), Move, "", "a screen down", always),
    binding!(&[Key::Home, Key::Char('g')], "g g Home", Deed::Top, Move, "", "to the first line", always),
    binding!(&[Key::End, Key::Char('G')], "G End", Deed::Bottom, Move, "end", "to the end, where new lines are followed", in_log),
    binding!(&[Key::End, Key::Char('G')], "G End", Deed::Bottom, Move, "", "to the last line", always),
    binding!(&[Key::Char('1')], "1", Deed::Tab(0), Move, "", "the farm on one page", always),
    binding!(&[Key::Char('2')], "2", Deed::Tab(1), Move, "", "the queue", always),
    binding!(&[Key::Char('3')], "3", Deed::Tab(2), Move, "", "the builders", always),
    binding!(&[Key::Char('4')], "4", Deed::Tab(3), Move, "", "the recipes", always),
    binding!(&[Key::Char('5')], "5", Deed::Tab(4), Move, "", "the repository", always),
    binding!(&[Key::Char('6')], "6", Deed::Tab(5), Move, "", "the events", always),
    binding!(&[Key::Char('7')], "7", Deed::Tab(6), Move, "", "the peers: hosts and operators", always),
    binding!(&[Key::Tab], "Tab", Deed::NextTab(1), Move, "", "the next of these pages", always),
    binding!(&[Key::BackTab], "Shift-Tab", Deed::NextTab(-1), Move, "", "the one before", always),
    // The program.
    binding!(&[Key::Char(':')], ":", Deed::Command, Program, "command", "type a command, as after `massif`; Tab completes", always),
    binding!(&[Key::Char('@')], "@", Deed::Used, Program, "", "commands used so far; Enter copies one", always),
    binding!(&[Key::Char('s')], "s", Deed::Picture, Program, "", "write the screen as a picture (SVG)", always),
    binding!(&[Key::Ctrl('l')], "Ctrl-l", Deed::Redraw, Program, "", "draw everything again", always),
    binding!(&[Key::Ctrl('z')], "Ctrl-z", Deed::Suspend, Program, "", "back to the shell; `fg` returns", |app| !app
        .farm_here),
    binding!(&[Key::Char('?')], "?", Deed::Help, Program, "help", "these keys", always),
    binding!(&[Key::Char('q'), Key::Ctrl('c')], "q Ctrl-c", Deed::Quit, Program, "quit", "leave", always),
];

/// What this key does now.
pub fn deed_of(app: &App, key: Key) -> Option<Deed> {
    BINDINGS
        .iter()
        .find(|binding| binding.keys.contains(&key) && (binding.when)(app))
        .map(|binding| binding.deed)
}

/// The lines of the table that do something now, each key once.
pub fn active(app: &App) -> Vec<&'static Binding> {
    let mut taken: Vec<Key> = Vec::new();
    let mut found = Vec::new();
    for binding in BINDINGS {
        if (binding.when)(app) && !binding.keys.iter().all(|key| taken.contains(key)) {
            taken.extend(binding.keys);
            found.push(binding);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_the_farm_is_a_capital_and_nothing_destroys_with_ctrl() {
        for binding in BINDINGS {
            let acts = binding.part == Part::Act;
            let capital = binding
                .keys
                .iter()
                .all(|key| matches!(key, Key::Char(c) if c.is_ascii_uppercase()));
            assert!(!acts || capital, "{}", binding.label);
            assert!(!binding.help.is_empty() && !binding.help.ends_with('.'));
        }
    }
}
