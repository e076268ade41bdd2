//! The dashboard on a terminal: carries keys and news into the state, effects out of it, and the screen to the terminal.

use std::time::{Duration, Instant};

use crossterm::event::{
    Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEventKind,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::app::{App, Effect, Input, Wants};
use super::ask::Question;
use super::asking;
use super::data::News;
use super::draw;
use super::keys::Key;
use super::link::{self, Connect};
use super::run::{self, Program};
use super::svg;
use super::terminal::{self, Terminal};
use super::theme::{Ink, Theme};
use crate::fault::{Fault, Kind, Result};
use crate::id::{Now, Stamp};

/// News change the screen this often at most: a busy farm is no reason to fill a slow line.
const NEWS_DRAW: Duration = Duration::from_millis(250);

/// How the dashboard is run.
pub struct Options {
    /// Makes connections to the host.
    pub connect: Connect,
    /// The looks.
    pub theme: Theme,
    /// Take the mouse.
    pub mouse: bool,
    /// The farm runs in this process and ends with the dashboard.
    pub farm_here: bool,
    /// A command to begin with.
    pub command: Option<String>,
    /// This program, for commands that have no page.
    pub program: Program,
}

struct Clock(Instant);

impl Clock {
    fn now(&self) -> Now {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            wall: Stamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
            mono_ms: u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// Runs the dashboard until a person leaves it, in a thread of its own.
///
/// # Errors
///
/// The terminal cannot be taken over.
pub fn run(options: Options) -> Result<()> {
    let failed = |error: &std::io::Error| {
        Fault::new(Kind::Operator, "cannot start the dashboard").because(error)
    };
    let thread = std::thread::Builder::new()
        .name("dash".into())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| failed(&error))?;
            let ended = runtime.block_on(live(options));
            // A name that is being looked up must not hold the end up.
            runtime.shutdown_timeout(Duration::from_millis(100));
            ended
        });
    let thread = thread.map_err(|error| {
        Fault::new(Kind::Operator, "cannot start the dashboard's thread").because(&error)
    })?;
    match thread.join() {
        Ok(ended) => ended,
        Err(_) => {
            terminal::give_back();
            Err(Fault::bug("the dashboard broke off"))
        }
    }
}

/// The ends of the channels that the shell holds.
struct Ends {
    quick: mpsc::Sender<(u64, Question)>,
    slow: mpsc::Sender<(u64, Question)>,
    wants: watch::Sender<Wants>,
    tell: mpsc::Sender<News>,
    program: Program,
}

/// Starts what talks to the host, and what it tells.
fn connected(options: &Options) -> (Ends, mpsc::Receiver<News>) {
    let (tell, news) = mpsc::channel::<News>(64);
    let (wants, wanted) = watch::channel(Wants::default());
    let (quick, quick_asked) = mpsc::channel(64);
    let (slow, slow_asked) = mpsc::channel(16);
    let connect = &options.connect;
    tokio::spawn(link::run(connect.clone(), tell.clone(), wanted));
    for asked in [quick_asked, slow_asked] {
        tokio::spawn(asking::answer(connect.clone(), tell.clone(), asked));
    }
    let ends = Ends {
        quick,
        slow,
        wants,
        tell,
        program: options.program.clone(),
    };
    (ends, news)
}

/// Signals that the dashboard listens to.
struct Signals {
    term: Signal,
    hang: Signal,
    stop: Signal,
    continued: Signal,
}

impl Signals {
    fn heard() -> Result<Signals> {
        let hear = |kind| {
            signal(kind).map_err(|error| {
                Fault::new(Kind::Operator, "cannot listen to signals").because(&error)
            })
        };
        Ok(Signals {
            term: hear(SignalKind::terminate())?,
            hang: hear(SignalKind::hangup())?,
            stop: hear(SignalKind::interrupt())?,
            continued: hear(SignalKind::from_raw(nix::libc::SIGCONT))?,
        })
    }
}

/// How long a stop may take to happen; a stopped process does not count.
const STOPPED_MAX: Duration = Duration::from_secs(2);

async fn live(options: Options) -> Result<()> {
    terminal::guard_panics();
    let clock = Clock(Instant::now());
    let size = crossterm::terminal::size().unwrap_or((80, 24));
    let mut app = App::new(options.theme, size, clock.now());
    app.farm_here = options.farm_here;
    let (ends, mut news) = connected(&options);
    let mut signals = Signals::heard()?;
    let mut terminal = Terminal::take(options.mouse)?;
    let mut inputs = read_inputs()?;
    app.input(Input::Resize(size.0, size.1));
    if let Some(command) = &options.command {
        type_command(&mut app, command);
    }
    let idle = terminal.idle.clone();
    let mut drawn = Instant::now();
    let mut dirty = Some(Instant::now());
    let mut ticked = Instant::now();
    loop {
        if carry_out(&mut app, &ends, &mut terminal, &mut signals.continued).await? {
            return Ok(());
        }
        if dirty.is_some_and(|due| due <= Instant::now()) && !terminal.is_busy() {
            terminal.show(draw::render(&app));
            drawn = Instant::now();
            dirty = None;
        }
        if terminal.is_broken() {
            return Ok(());
        }
        let tick = ticked + Duration::from_millis(app.pace_ms());
        let due = dirty
            .filter(|_| !terminal.is_busy())
            .unwrap_or(tick)
            .min(tick);
        tokio::select! {
            input = inputs.recv() => {
                let Some(input) = input else { return Ok(()) };
                app.now = clock.now();
                app.input(input);
                // Keys that were typed together are one change.
                while let Ok(input) = inputs.try_recv() {
                    app.input(input);
                    if !app.effects.is_empty() {
                        break;
                    }
                }
                dirty = Some(Instant::now());
            }
            told = news.recv() => {
                let Some(told) = told else { return Ok(()) };
                app.now = clock.now();
                let answer = matches!(told, News::Answer { .. });
                app.hear(told);
                while let Ok(told) = news.try_recv() {
                    app.hear(told);
                }
                let soon = if answer { Instant::now() } else { drawn + NEWS_DRAW };
                dirty = Some(dirty.map_or(soon, |due| due.min(soon)));
            }
            () = tokio::time::sleep_until(due.into()) => {
                if ticked.elapsed() >= Duration::from_millis(app.pace_ms()) {
                    ticked = Instant::now();
                    app.tick(clock.now());
                    dirty = Some(Instant::now());
                }
            }
            () = idle.notified() => {}
            // Somebody else stopped us, and the shell has set its terminal as it likes it.
            _ = signals.continued.recv() => {
                terminal::give_back();
                taken_again(&mut terminal)?;
                dirty = Some(Instant::now());
            }
            _ = signals.term.recv() => return Ok(()),
            _ = signals.hang.recv() => return Ok(()),
            _ = signals.stop.recv() => return Ok(()),
        }
    }
}

/// Types a command as a person would.
pub fn type_command(app: &mut App, command: &str) {
    app.input(Input::Key(Key::Char(':')));
    app.input(Input::Paste(command.to_owned()));
    app.input(Input::Key(Key::Enter));
}

/// Does what the state asks for; whether it is over.
async fn carry_out(
    app: &mut App,
    ends: &Ends,
    terminal: &mut Terminal,
    continued: &mut Signal,
) -> Result<bool> {
    for effect in app.take_effects() {
        match effect {
            Effect::Quit => return Ok(true),
            Effect::Redraw => terminal.forget(),
            Effect::Suspend => suspend(terminal, continued).await?,
            Effect::Picture(file) => picture(app, &file),
            Effect::Copy(words) => {
                if !terminal.copy(&words) {
                    app.say(
                        "the terminal takes nothing now: nothing was copied",
                        Ink::Bad,
                    );
                }
            }
            Effect::Ask(ticket, question) => {
                if let Some(words) = run::words_of(&question) {
                    ends.program
                        .start(ticket, words.to_vec(), ends.tell.clone());
                    continue;
                }
                let to = match question {
                    Question::Search { .. } | Question::Past(_) => &ends.slow,
                    _ => &ends.quick,
                };
                if to.try_send((ticket, question)).is_err() {
                    let fault = Fault::new(
                        Kind::TryAgain,
                        "the host does not keep up with the questions",
                    );
                    app.hear(News::Answer {
                        ticket,
                        result: Err(fault),
                    });
                }
            }
        }
    }
    let now = app.wants();
    ends.wants.send_if_modified(|wants| {
        let changed = *wants != now;
        if changed {
            *wants = now;
        }
        changed
    });
    Ok(false)
}

fn picture(app: &mut App, file: &str) {
    let picture = svg::picture(&draw::render(app), app.theme.palette);
    match std::fs::write(file, picture) {
        Ok(()) => app.say(format!("the screen is in {file}"), Ink::Good),
        Err(error) => app.say(format!("cannot write {file}: {error}"), Ink::Bad),
    }
}

/// Back to the shell until it continues us.
async fn suspend(terminal: &mut Terminal, continued: &mut Signal) -> Result<()> {
    terminal::give_back();
    // One of earlier.
    tokio::time::timeout(Duration::ZERO, continued.recv())
        .await
        .ok();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(0),
        nix::sys::signal::Signal::SIGTSTP,
    )
    .ok();
    // Any thread of this process may take the signal, and until it does this one goes on: the terminal must not be taken
    // before the shell continues us. Where nobody controls jobs it never does.
    tokio::time::timeout(STOPPED_MAX, continued.recv())
        .await
        .ok();
    taken_again(terminal)
}

fn taken_again(terminal: &mut Terminal) -> Result<()> {
    terminal.enter().map_err(|error| {
        Fault::new(Kind::Operator, "cannot take the terminal over again").because(&error)
    })
}

/// Reads keys in a thread of its own. The channel closes when the terminal is gone.
fn read_inputs() -> Result<mpsc::Receiver<Input>> {
    let (send, receive) = mpsc::channel(256);
    std::thread::Builder::new()
        .name("dash-reader".into())
        .spawn(move || {
            while let Ok(event) = crossterm::event::read() {
                if let Some(input) = translate(event)
                    && send.blocking_send(input).is_err()
                {
                    return;
                }
            }
        })
        .map_err(|error| Fault::new(Kind::Operator, "cannot read the terminal").because(&error))?;
    Ok(receive)
}

fn translate(event: Event) -> Option<Input> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => translate_key(key).map(Input::Key),
        Event::Paste(text) => Some(Input::Paste(text)),
        Event::Resize(columns, rows) => Some(Input::Resize(columns, rows)),
        Event::Mouse(mouse) => match mouse.kind {
            MouseEventKind::Down(MouseButton::Left) => Some(Input::Click(mouse.column, mouse.row)),
            MouseEventKind::ScrollUp => Some(Input::Wheel(true)),
            MouseEventKind::ScrollDown => Some(Input::Wheel(false)),
            _ => None,
        },
        _ => None,
    }
}

fn translate_key(key: KeyEvent) -> Option<Key> {
    let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    if key.modifiers.contains(KeyModifiers::ALT) {
        return None;
    }
    Some(match key.code {
        KeyCode::Char(c) if ctrl => Key::Ctrl(c.to_ascii_lowercase()),
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Esc,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        _ => return None,
    })
}
