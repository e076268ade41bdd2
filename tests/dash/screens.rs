//! Every view at three sizes, in three situations, as text. `MASSIF_SCREENS=write` writes them anew; look at the difference
//! before you commit it.

use std::path::Path;

use massif::id::JobId;
use massif::tui::app::{App, Effect, Input, Outcome};
use massif::tui::data::{Link, News};
use massif::tui::keys::Key;
use massif::tui::page::{Page, TABS};
use massif::tui::theme::{Palette, Theme};
use massif::tui::{draw, once, svg};

use super::sample::{self, NOW, Situation};

pub const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

/// Answers all that the dashboard asks.
pub fn serve(app: &mut App, situation: Situation) {
    for _ in 0..20 {
        let effects = app.take_effects();
        if effects.is_empty() {
            return;
        }
        for effect in effects {
            if let Effect::Ask(ticket, question) = effect {
                let result = sample::answer(situation, &question);
                app.hear(News::Answer { ticket, result });
            }
        }
    }
}

pub fn app(situation: Situation, size: (u16, u16), theme: Theme) -> App {
    let mut app = App::new(theme, size, NOW);
    for news in sample::news(situation) {
        app.hear(news);
    }
    app.relist();
    app
}

pub fn open(app: &mut App, page: Page, situation: Situation) {
    if TABS.iter().any(|(_, _, tab)| *tab == page) {
        app.go_to_tab(page);
    } else {
        app.open(page);
    }
    serve(app, situation);
    app.relist();
}

pub fn keys(app: &mut App, typed: &str, situation: Situation) {
    for c in typed.chars() {
        let key = match c {
            '\n' => Key::Enter,
            '\u{1b}' => Key::Esc,
            '\t' => Key::Tab,
            c => Key::Char(c),
        };
        app.input(Input::Key(key));
        serve(app, situation);
    }
}

pub fn shown(app: &App) -> String {
    once::lines(&draw::render(app))
}

pub fn check(name: &str, screens: &str) -> Result<(), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/dash/screens/{name}.txt"));
    if std::env::var_os("MASSIF_SCREENS").is_some_and(|value| value == "write") {
        std::fs::write(&path, screens).unwrap();
        return Ok(());
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if expected == screens {
        return Ok(());
    }
    let mut differences = String::new();
    for (number, (was, is)) in expected
        .lines()
        .chain(std::iter::repeat(""))
        .zip(screens.lines())
        .enumerate()
    {
        if was != is {
            differences.push_str(&format!("{:>4} - {was}\n     + {is}\n", number + 1));
        }
    }
    Err(format!("{name} is another screen now:\n{differences}"))
}

pub fn views() -> Vec<(&'static str, Page)> {
    vec![
        ("farm", Page::Farm),
        ("queue", Page::Queue),
        ("builders", Page::Builders),
        ("builder", Page::Builder("east".into())),
        ("recipes", Page::Recipes),
        ("recipe", Page::Recipe("main/nano".into())),
        ("repository", Page::Repository),
        ("channel", Page::Channel("main".into())),
        ("packages", Page::Packages("main".into())),
        ("events", Page::Events),
        ("job", Page::Job(JobId(30))),
        ("log", Page::Log(JobId(32), None)),
        ("why", Page::Why("35".into())),
        ("graph", Page::Graph(JobId(35))),
        ("history", Page::History),
        ("peers", Page::Peers),
        ("peer", Page::Peer("south".into())),
        (
            "printed",
            Page::Printed(vec!["profile".into(), "list".into()]),
        ),
    ]
}

#[test]
fn every_view_has_its_screens_at_three_sizes_in_three_situations() {
    let mut wrong = Vec::new();
    for (name, page) in views() {
        for (situation, word) in [
            (Situation::Normal, "normal"),
            (Situation::Empty, "empty"),
            (Situation::Trouble, "trouble"),
        ] {
            let mut screens = String::new();
            for size in SIZES {
                let mut app = app(situation, size, Theme::default());
                open(&mut app, page.clone(), situation);
                let screen = shown(&app);
                for line in screen.lines() {
                    assert!(
                        massif::cli::text::width(line) <= usize::from(size.0),
                        "{name}: {line}"
                    );
                }
                screens.push_str(&format!("--- {}x{} ---\n{screen}", size.0, size.1));
            }
            wrong.extend(check(&format!("{name}-{word}"), &screens).err());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_lies_over_a_page_has_its_screens() {
    let mut wrong = Vec::new();
    for (name, page, typed) in [
        ("help", Page::Queue, "?"),
        ("help-log", Page::Log(JobId(32), None), "?"),
        ("used", Page::Queue, "CyjjCyjCn@j"),
        ("copied", Page::Queue, "Cy@y"),
        ("letters", Page::Queue, "/-f ur\n"),
        ("labels", Page::Queue, "/-l state=waiting,held=no\n"),
        ("label-unknown", Page::Builders, "/-l state=away\n"),
        ("cancel", Page::Queue, "C"),
        ("reason", Page::Job(JobId(34)), "Hnot"),
        ("command", Page::Farm, ":job sh\t"),
        ("completion", Page::Farm, ":job \t\t"),
        ("filter", Page::Queue, "/!published\n"),
        ("batches", Page::Queue, "o"),
        ("done", Page::Queue, "Cy"),
        ("search", Page::Log(JobId(32), None), "]"),
        ("raw", Page::Queue, "y"),
        ("drain", Page::Builders, "Dnew disk\n"),
        ("version", Page::Channel("main".into()), "jjjjjj\n"),
        ("difference", Page::Channel("main".into()), "jjjj\n"),
        ("event", Page::Events, "\n"),
        ("approve", Page::Peers, "A"),
        ("rename", Page::Peers, "Nsouth-2\n"),
        ("take-back", Page::Peers, "GkX"),
        ("run", Page::Farm, ":project add main /my/recipes\n"),
        ("ran", Page::Farm, ":project add main /my/recipes\ny"),
    ] {
        let mut screens = String::new();
        for size in SIZES {
            let mut app = app(Situation::Normal, size, Theme::default());
            open(&mut app, page.clone(), Situation::Normal);
            keys(&mut app, typed, Situation::Normal);
            screens.push_str(&format!("--- {}x{} ---\n{}", size.0, size.1, shown(&app)));
        }
        wrong.extend(check(name, &screens).err());
    }
    let mut screens = String::new();
    for size in SIZES {
        let mut app = app(Situation::Normal, size, Theme::default());
        app.farm_here = true;
        keys(&mut app, "q", Situation::Normal);
        screens.push_str(&format!("--- {}x{} ---\n{}", size.0, size.1, shown(&app)));
    }
    wrong.extend(check("quit", &screens).err());
    let mut plain = app(Situation::Trouble, (80, 24), Theme::plain());
    open(&mut plain, Page::Farm, Situation::Trouble);
    let screen = shown(&plain);
    assert!(screen.is_ascii(), "{screen}");
    wrong.extend(check("farm-ascii", &screen).err());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_pictures_of_the_readme_are_what_the_program_draws() {
    let theme = Theme {
        palette: Palette::TrueDark,
        ..Theme::default()
    };
    let mut wrong = Vec::new();
    for (name, page, size, typed) in [
        ("farm", Page::Farm, (110, 26), "j"),
        ("builders", Page::Builders, (110, 15), ""),
        ("stall", Page::Builder("west".into()), (110, 24), ""),
        ("log", Page::Log(JobId(32), None), (110, 18), "]"),
    ] {
        let mut app = app(Situation::Trouble, size, theme);
        app.hear(News::Link(Link::Live));
        open(&mut app, page, Situation::Normal);
        keys(&mut app, typed, Situation::Normal);
        let picture = svg::picture(&draw::render(&app), theme.palette);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/dash-{name}.svg"));
        if std::env::var_os("MASSIF_SCREENS").is_some_and(|value| value == "write") {
            std::fs::write(&path, &picture).unwrap();
        }
        if std::fs::read_to_string(&path).unwrap_or_default() != picture {
            wrong.push(path);
        }
    }
    assert!(wrong.is_empty(), "other pictures now: {wrong:?}");
}

#[test]
fn no_is_the_default_and_yes_does_what_the_question_said() {
    let situation = Situation::Normal;
    let mut app = app(situation, (80, 24), Theme::default());
    open(&mut app, Page::Queue, situation);
    for refusal in ["C\n", "C\u{1b}", "Cn", "Cq"] {
        keys(&mut app, refusal, situation);
        assert!(app.used.is_empty() && app.pending.is_none(), "{refusal:?}");
    }
    keys(&mut app, "C", situation);
    assert!(
        shown(&app).contains("the same: massif job cancel"),
        "{}",
        shown(&app)
    );
    keys(&mut app, "y", situation);
    assert_eq!(app.used.len(), 1);
    let outcome = app.used[0].outcome.clone();
    let done = Outcome::Done(format!("done: {}", app.used[0].command));
    assert_eq!(outcome, Some(done));
    keys(&mut app, "@", situation);
    assert!(shown(&app).contains("massif job cancel"));
}

#[test]
fn y_shows_the_hosts_json_wherever_there_is_some() {
    let situation = Situation::Normal;
    for (name, page) in views() {
        if matches!(page, Page::History | Page::Printed(_)) {
            continue;
        }
        let mut app = app(situation, (120, 40), Theme::default());
        open(&mut app, page.clone(), situation);
        keys(&mut app, "y", situation);
        let Page::Raw(_, text) = &app.sheet().page else {
            panic!("{name} has no JSON:\n{}", shown(&app));
        };
        let value: Result<serde_json::Value, _> = serde_json::from_str(text);
        assert!(value.is_ok_and(|value| !value.is_null()), "{name}: {text}");
        keys(&mut app, "\u{1b}", situation);
        assert_eq!(app.sheet().page, page, "{name}");
    }
}

#[test]
fn a_mouse_chooses_pages_and_rows_and_a_second_click_goes_in() {
    let situation = Situation::Normal;
    let mut app = app(situation, (120, 40), Theme::default());
    let click = |app: &mut App, word: &str| {
        let screen = shown(app);
        let found = screen.lines().enumerate().find_map(|(y, line)| {
            let before = line.split(word).next().filter(|before| *before != line)?;
            Some((massif::cli::text::width(before), y))
        });
        let (x, y) = found.unwrap_or_else(|| panic!("no {word} in:\n{screen}"));
        app.input(Input::Click(x as u16, y as u16));
        serve(app, situation);
        app.relist();
    };
    click(&mut app, "2 Queue");
    assert_eq!(app.sheet().page, Page::Queue);
    click(&mut app, "kernel");
    assert_eq!(
        (app.job_here(), &app.sheet().page),
        (Some(JobId(36)), &Page::Queue)
    );
    app.input(Input::Wheel(true));
    assert_ne!(app.job_here(), Some(JobId(36)), "the wheel moves");
    click(&mut app, "kernel");
    click(&mut app, "kernel");
    assert_eq!(app.sheet().page, Page::Job(JobId(36)));
}

#[test]
fn a_row_that_is_cut_is_said_in_full_and_a_key_without_a_deed_says_so() {
    let situation = Situation::Normal;
    let mut app = app(situation, (80, 24), Theme::default());
    open(&mut app, Page::Queue, situation);
    let full = "both slots of east and the slot of west are busy";
    assert!(!shown(&app).contains(full), "{}", shown(&app));
    keys(&mut app, "jjjj", situation);
    assert_eq!(app.job_here(), Some(JobId(34)));
    assert!(shown(&app).contains(full), "{}", shown(&app));
    keys(&mut app, "x", situation);
    let said = "x does nothing here; ? shows the keys that do";
    assert!(shown(&app).contains(said), "{}", shown(&app));
    keys(&mut app, "k", situation);
    assert!(!shown(&app).contains(said), "{}", shown(&app));
}

#[test]
fn who_may_only_look_is_told_so_and_nothing_is_asked() {
    let mut app = app(Situation::Normal, (80, 24), Theme::default());
    let mut status = sample::status(Situation::Normal);
    status.right = "view".into();
    app.hear(News::Status(Box::new(status)));
    open(&mut app, Page::Queue, Situation::Normal);
    keys(&mut app, "C", Situation::Normal);
    assert!(app.pending.is_none());
    let screen = shown(&app);
    assert!(
        screen.contains("read-only") && screen.contains("you may only look"),
        "{screen}"
    );
}

/// The farm as it was, at three sizes: the pages that the log of events tells, and one of now.
#[test]
fn the_farm_as_it_was_says_so_and_what_is_not_known() {
    let mut wrong = Vec::new();
    for (name, typed) in [
        ("past-farm", ""),
        ("past-queue", "2"),
        ("past-builders", "3"),
        ("past-why", "2jw"),
        ("past-now", "4"),
        ("past-events", "6"),
    ] {
        let mut screens = String::new();
        for size in SIZES {
            let situation = Situation::Normal;
            let mut app = app(situation, size, Theme::default());
            open(&mut app, Page::Events, situation);
            keys(&mut app, "jjja1", situation);
            keys(&mut app, typed, situation);
            let screen = shown(&app);
            assert!(screen.contains("409"), "{screen}");
            screens.push_str(&format!("--- {}x{} ---\n{screen}", size.0, size.1));
        }
        wrong.extend(check(name, &screens).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn one_steps_back_in_time_and_to_now_and_changes_nothing_on_the_way() {
    let situation = Situation::Normal;
    let mut app = app(situation, (80, 24), Theme::default());
    open(&mut app, Page::Queue, situation);
    assert!(shown(&app).contains("kernel"));
    keys(&mut app, "[", situation);
    let then = shown(&app);
    assert!(
        then.contains("AS OF 409") && !then.contains("kernel"),
        "{then}"
    );
    keys(&mut app, "C", situation);
    assert!(
        app.pending.is_none() && shown(&app).contains("a brings you back"),
        "{}",
        shown(&app)
    );
    keys(&mut app, "7", situation);
    assert!(shown(&app).contains("of now"), "{}", shown(&app));
    keys(&mut app, "2a", situation);
    let now = shown(&app);
    assert!(now.contains("live") && now.contains("kernel"), "{now}");
    keys(&mut app, ":at 409\n", situation);
    assert!(shown(&app).contains("AS OF 409"), "{}", shown(&app));
    keys(&mut app, ":now\n", situation);
    assert!(shown(&app).contains("kernel"), "{}", shown(&app));
    // Later than the last event is now.
    keys(&mut app, ":at 999\n", situation);
    assert!(app.past.is_none() && app.past_asked.is_none());
}

#[test]
fn a_moment_can_be_asked_for_as_soon_as_the_host_has_told_how_many_there_are() {
    let situation = Situation::Normal;
    let mut app = App::new(Theme::default(), (80, 24), NOW);
    keys(&mut app, ":at 409\n", situation);
    let screen = shown(&app);
    assert!(screen.contains("has not answered yet"), "{screen}");
    // Its page comes first, and the events a while later.
    app.hear(News::Status(Box::new(sample::status(situation))));
    keys(&mut app, ":at 409\n", situation);
    assert!(shown(&app).contains("AS OF 409"), "{}", shown(&app));
}

#[test]
fn a_right_that_is_missing_is_named_before_anything_is_asked() {
    let situation = Situation::Normal;
    let mut app = app(situation, (80, 24), Theme::default());
    let mut status = sample::status(situation);
    status.right = "operate".into();
    app.hear(News::Status(Box::new(status)));
    open(&mut app, Page::Peers, situation);
    keys(&mut app, "A", situation);
    let screen = shown(&app);
    assert!(
        app.pending.is_none() && screen.contains("right to admin"),
        "{screen}"
    );
}

#[test]
fn a_frozen_screen_stays_and_says_how_old_it_is() {
    let mut app = app(Situation::Normal, (80, 24), Theme::default());
    open(&mut app, Page::Queue, Situation::Normal);
    keys(&mut app, "f", Situation::Normal);
    let before = shown(&app);
    app.hear(News::Jobs(Vec::new()));
    app.hear(News::ReadingBegins);
    app.hear(News::ReadingEnds);
    let later = massif::id::Now {
        wall: massif::id::Stamp(NOW.wall.0 + 5_000),
        mono_ms: NOW.mono_ms + 5_000,
    };
    app.tick(later);
    let after = shown(&app);
    assert!(after.contains("FROZEN 5s ago"), "{after}");
    let body = |screen: &str| {
        screen
            .lines()
            .skip(2)
            .take(20)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(body(&before), body(&after));
    keys(&mut app, "f", Situation::Normal);
    assert!(!shown(&app).contains("nano"), "{}", shown(&app));
}
