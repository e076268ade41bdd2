//! A command that was used goes to the terminal's clipboard: as base64, on one line, whatever is in it.

use base64::Engine;
use massif::tui::app::{App, Effect, Input};
use massif::tui::ask::Action;
use massif::tui::keys::Key;
use massif::tui::page::Page;
use massif::tui::terminal;
use massif::tui::theme::Theme;

use super::pty::{Screen, project};
use super::sample::Situation;
use super::screens::{self, keys, open, shown};
use crate::common::farm::Farm;

fn copied(app: &mut App) -> Vec<String> {
    let effects = app.take_effects().into_iter();
    effects
        .filter_map(|effect| match effect {
            Effect::Copy(words) => Some(words),
            _ => None,
        })
        .collect()
}

fn decoded(bytes: &[u8]) -> String {
    let inner = bytes
        .strip_prefix(b"\x1b]52;c;")
        .and_then(|rest| rest.strip_suffix(b"\x07"))
        .unwrap_or_else(|| panic!("{bytes:?}"));
    assert!(
        inner
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte)),
        "{inner:?}"
    );
    let words = base64::engine::general_purpose::STANDARD
        .decode(inner)
        .unwrap();
    String::from_utf8(words).unwrap()
}

#[test]
fn the_command_that_one_stands_on_is_copied_and_that_is_said() {
    let situation = Situation::Normal;
    let mut app = screens::app(situation, (120, 40), Theme::default());
    open(&mut app, Page::Queue, situation);
    keys(&mut app, "CyjCy@", situation);
    // The newest is the first; `y` and Enter do the same, and so does a second click.
    for (typed, command) in [
        ("y", "massif job cancel 32"),
        ("\n", "massif job cancel 32"),
        ("jy", "massif job cancel 31"),
    ] {
        for c in typed.chars() {
            let key = if c == '\n' { Key::Enter } else { Key::Char(c) };
            app.input(Input::Key(key));
        }
        assert_eq!(copied(&mut app), [command]);
        let said = format!("given to the terminal's clipboard: {command}");
        assert!(shown(&app).contains(&said), "{}", shown(&app));
    }
    let row = shown(&app)
        .lines()
        .position(|line| line.contains("massif job cancel 31"))
        .unwrap();
    app.input(Input::Click(30, row as u16));
    assert_eq!(copied(&mut app), ["massif job cancel 31"]);
    // Elsewhere `y` is the host's JSON, and nothing is copied.
    keys(&mut app, "\u{1b}y", situation);
    assert!(matches!(app.sheet().page, Page::Raw(..)) && copied(&mut app).is_empty());
}

#[test]
fn whatever_a_command_holds_it_is_one_line_and_ends_no_sequence() {
    for nasty in [
        "\u{7}\u{1b}]52;c;ZXZpbA==\u{7}",
        "two\nlines\r\nand more",
        "\u{202e}desrever",
        "'; rm -rf / #",
        "日本語 \u{9c}\u{90}",
    ] {
        let mut app = screens::app(Situation::Normal, (200, 40), Theme::default());
        app.act(Action::Drain {
            builder: "east".into(),
            reason: nasty.into(),
        });
        app.take_effects();
        app.open(Page::History);
        app.relist();
        app.input(Input::Key(Key::Enter));
        let words = copied(&mut app);
        let [words] = words.as_slice() else {
            panic!("{words:?}")
        };
        assert!(
            words.starts_with("massif builder drain east --reason '"),
            "{words}"
        );
        assert!(!words.contains(massif::cli::text::is_unsafe), "{words:?}");
        assert_eq!(decoded(&terminal::clipboard(words)), *words);
    }
}

/// The sequence for the clipboard among these bytes, once it is complete.
fn sequence(raw: &[u8]) -> Option<Vec<u8>> {
    let from = raw.windows(5).position(|bytes| bytes == b"\x1b]52;")?;
    let rest = raw.get(from..)?;
    let end = rest.iter().position(|byte| *byte == 7)?;
    rest.get(..=end).map(<[u8]>::to_vec)
}

#[test]
fn a_terminal_gets_the_command_for_its_clipboard() {
    let mut farm = Farm::start();
    let _recipes = project(&farm);
    let dir = farm.dir().to_str().unwrap().to_owned();
    let mut screen = Screen::open(100, 30, &["dash", "--dir", &dir]);
    screen.until("a job", |text| {
        text.contains("live") && text.contains("1 wait")
    });
    screen.press("2");
    screen.until("the queue", |text| text.contains("needy"));
    screen.press("P");
    screen.until("a question", |text| {
        text.contains("the same: massif job raise")
    });
    screen.press("y");
    screen.until("an answer", |text| text.contains("has priority"));
    screen.press("@");
    screen.until("the commands", |text| {
        text.contains("commands used") && text.contains("massif job raise")
    });
    screen.press("y");
    let said = screen.until("that it is copied", |text| {
        text.contains("given to the terminal's clipboard: massif job raise")
    });
    // After the words that say so, or before them: the bytes are on their way.
    screen.until("the sequence", |_| sequence(&screen.raw()).is_some());
    let words = sequence(&screen.raw()).map(|bytes| decoded(&bytes));
    assert!(
        words.is_some_and(|words| words.starts_with("massif job raise ") && said.contains(&words)),
        "{said}"
    );
    screen.press("q");
    assert_eq!(screen.ended(), 0);
    farm.stop();
}
