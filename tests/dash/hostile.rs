//! Names and logs from outside that try to break a screen: nothing passes through, nothing leaves its place.

use massif::admin::view::JobState;
use massif::id::JobId;
use massif::tui::app::{Effect, Input};
use massif::tui::ask::{Piece, Reply};
use massif::tui::data::News;
use massif::tui::keys::Key;
use massif::tui::page::Page;
use massif::tui::theme::Theme;
use massif::tui::{draw, terminal};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::sample::{self, Situation};
use super::screens::{app, open, serve};

fn nasty() -> Vec<String> {
    vec![
        "\u{1b}]0;owned\u{7}\u{1b}[2J\u{1b}[31mred".into(),
        "\u{202e}desrever\u{2066}\u{200f}".into(),
        "日本語パッケージ名前".repeat(300),
        format!("e{}", "\u{301}".repeat(5_000)),
        "👩\u{200d}👩\u{200d}👧\u{200d}👦☂\u{fe0f}".repeat(50),
        "x".repeat(10_000),
        "\0\r\n\t\u{8}\u{7f}\u{9b}31m\u{85}\u{feff}".into(),
        String::new(),
    ]
}

/// What a terminal would get for this screen.
fn bytes(screen: Buffer) -> Vec<u8> {
    terminal::frame(&Buffer::empty(Rect::ZERO), &screen)
}

/// Every sequence in the bytes is one of ours: a move, a colour, a mode.
fn is_tame(bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes).unwrap();
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        let sequence = &rest[at + 1..];
        let Some(end) = sequence.find(|c: char| c.is_ascii_alphabetic()) else {
            return false;
        };
        let inside = &sequence[..end];
        let good = inside.starts_with('[')
            && inside[1..]
                .chars()
                .all(|c| c.is_ascii_digit() || ";?".contains(c))
            && matches!(&sequence[end..=end], "H" | "m" | "J" | "h" | "l");
        if !good || inside.contains('?') && !inside.contains("2026") {
            return false;
        }
        rest = &sequence[end + 1..];
    }
    !text.chars().any(|c| c.is_control() && c != '\u{1b}')
        && !text.contains(['\u{202e}', '\u{2066}', '\u{200f}', '\u{feff}', '\u{200d}'])
}

#[test]
fn nothing_from_outside_breaks_a_screen_or_passes_through() {
    for (number, nasty) in nasty().into_iter().enumerate() {
        for size in [
            (80, 24),
            (200, 60),
            (60, 15),
            (1, 1),
            (0, 0),
            (3, 400),
            (61, 16),
        ] {
            for theme in [Theme::default(), Theme::plain()] {
                let mut app = app(Situation::Trouble, size, theme);
                let mut jobs = sample::jobs(Situation::Normal);
                for job in &mut jobs {
                    job.version.clone_from(&nasty);
                    job.because.clone_from(&nasty);
                    job.waits_for
                        .iter_mut()
                        .for_each(|wait| wait.text.clone_from(&nasty));
                    for attempt in &mut job.attempts {
                        attempt.builder.clone_from(&nasty);
                        attempt.why = Some(nasty.clone());
                        attempt.phase = Some(nasty.clone());
                    }
                }
                let mut status = sample::status(Situation::Trouble);
                status.alarms.iter_mut().for_each(|alarm| {
                    alarm.text.clone_from(&nasty);
                    alarm.next.clone_from(&nasty);
                });
                let mut events = sample::events(Situation::Normal);
                for event in &mut events {
                    event.seq.0 += 100;
                    event.text.clone_from(&nasty);
                    event.actor.clone_from(&nasty);
                }
                let mut peers = sample::peers(Situation::Normal);
                for peer in &mut peers {
                    peer.words.clone_from(&nasty);
                    peer.how.clone_from(&nasty);
                    peer.grouped.clone_from(&nasty);
                    peer.link.last_end = Some(nasty.clone());
                }
                let mut tickets = sample::tickets(Situation::Normal);
                tickets
                    .iter_mut()
                    .for_each(|ticket| ticket.by.clone_from(&nasty));
                app.hear(News::Peers {
                    peers,
                    tickets,
                    card: None,
                });
                app.hear(News::Status(Box::new(status)));
                app.hear(News::Jobs(jobs));
                app.hear(News::Events {
                    seq: massif::id::Seq(520),
                    events,
                    gap: true,
                });
                app.hear(News::Lost {
                    why: nasty.clone(),
                    pause_ms: 1,
                });
                for page in [
                    Page::Farm,
                    Page::Queue,
                    Page::Events,
                    Page::Job(JobId(30)),
                    Page::Raw(nasty.clone(), nasty.clone()),
                    Page::Why(nasty.clone()),
                    Page::Peers,
                    Page::Peer("south".into()),
                    Page::Graph(JobId(35)),
                    Page::Repository,
                    Page::Printed(vec![nasty.clone()]),
                ] {
                    open(&mut app, page, Situation::Normal);
                    let screen = draw::render(&app);
                    assert_eq!((screen.area().width, screen.area().height), size);
                    assert!(is_tame(&bytes(screen)), "text {number} at {size:?}");
                }
            }
        }
    }
}

#[test]
fn a_log_full_of_sequences_is_words() {
    let mut all: Vec<u8> = nasty().join("\n").into_bytes();
    all.extend((0..=255).collect::<Vec<u8>>());
    for wrap in ["", "z"] {
        let mut app = app(Situation::Normal, (80, 24), Theme::default());
        app.open(Page::Log(JobId(32), None));
        for effect in app.take_effects() {
            if let Effect::Ask(ticket, _) = effect {
                let result = Ok(Reply::Log(Piece {
                    offset: 0,
                    bytes: all.clone(),
                    end: true,
                    try_no: 1,
                    missing: None,
                }));
                app.hear(News::Answer { ticket, result });
            }
        }
        for key in wrap.chars().chain("gg".chars()) {
            app.input(Input::Key(Key::Char(key)));
        }
        for _ in 0..20 {
            assert!(is_tame(&bytes(draw::render(&app))));
            app.input(Input::Key(Key::Down));
        }
    }
}

#[test]
fn any_keys_in_any_order_do_no_harm() {
    let keys = [
        Key::Enter,
        Key::Esc,
        Key::Tab,
        Key::BackTab,
        Key::Backspace,
        Key::Up,
        Key::Down,
        Key::Left,
        Key::Right,
        Key::PageUp,
        Key::PageDown,
        Key::Home,
        Key::End,
        Key::Ctrl('d'),
        Key::Ctrl('u'),
        Key::Ctrl('w'),
        Key::Char('日'),
    ];
    let letters = "?/:@1234567abcdefghijklmnoprstuvwxyz<>[]{}RCHUPBGNAX !"
        .chars()
        .map(Key::Char);
    let all: Vec<Key> = keys.into_iter().chain(letters).collect();
    // A fixed sequence of numbers that looks like chance.
    let mut chance = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        (chance % below as u64) as usize
    };
    for situation in [Situation::Normal, Situation::Empty, Situation::Trouble] {
        let mut app = app(situation, (80, 24), Theme::default());
        for step in 0..1_500 {
            match next(30) {
                0 => app.input(Input::Resize(next(200) as u16, next(60) as u16)),
                1 => app.input(Input::Click(next(200) as u16, next(60) as u16)),
                2 => app.input(Input::Wheel(next(2) == 0)),
                3 => app.input(Input::Paste("main\n\u{1b}[2J".into())),
                _ => app.input(Input::Key(all[next(all.len())])),
            }
            app.now.mono_ms += 50;
            if next(2) == 0 {
                serve(&mut app, situation);
            }
            if step % 10 == 0 {
                let screen = draw::render(&app);
                assert_eq!((screen.area().width, screen.area().height), app.size);
            }
        }
    }
}

#[test]
fn a_host_of_another_version_is_named() {
    let mut app = app(Situation::Normal, (80, 24), Theme::default());
    let mut status = sample::status(Situation::Normal);
    status.schema = 7;
    app.hear(News::Status(Box::new(status)));
    let screen = super::screens::shown(&app);
    assert!(screen.contains("speaks schema 7"), "{screen}");
    let _ = JobState::ALL;
}
