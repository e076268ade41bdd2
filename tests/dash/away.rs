//! The host goes away under the dashboard: pages keep what they had and say how old it is, nothing is sent, what broke off is
//! unknown, and all of it is of now again when the host is back.

use massif::fault::{Fault, Kind};
use massif::id::{JobId, Now, Seq, Stamp};
use massif::tui::app::{App, Effect, Input, Outcome};
use massif::tui::ask::{Question, Ran, Reply};
use massif::tui::data::{Link, News};
use massif::tui::keys::Key;
use massif::tui::page::Page;
use massif::tui::theme::Theme;

use super::sample::{self, NOW, Situation};
use super::screens::{self, SIZES, check, keys, open, serve, shown, views};

fn later(ms: u64) -> Now {
    Now {
        wall: Stamp(NOW.wall.0 + ms as i64),
        mono_ms: NOW.mono_ms + ms,
    }
}

fn app(size: (u16, u16)) -> App {
    screens::app(Situation::Normal, size, Theme::default())
}

fn gone() -> Fault {
    Fault::new(
        Kind::Unreachable,
        "the host that served /farm/admin.sock is gone",
    )
    .next("start it with `massif up --dir /farm`")
}

/// The host goes away now; what is asked from here on is not answered.
fn lose(app: &mut App) {
    app.hear(News::Lost {
        why: "lost /farm/admin.sock during io.massif.Host.Watch".into(),
        pause_ms: 5_000,
    });
}

fn refuse(app: &mut App) {
    for _ in 0..5 {
        for effect in app.take_effects() {
            if let Effect::Ask(ticket, _) = effect {
                let result = Err(gone());
                app.hear(News::Answer { ticket, result });
            }
        }
    }
}

/// What stands between the lines at the top and those at the bottom.
fn body(app: &App) -> Vec<String> {
    let screen = shown(app);
    let rows = usize::from(app.size.1);
    let lines: Vec<String> = screen.lines().map(str::to_owned).collect();
    lines[2..lines.len().min(rows - 2)].to_vec()
}

#[test]
fn every_page_keeps_what_it_had_and_says_how_old_it_is() {
    let mut wrong = Vec::new();
    let mut pages = views();
    pages.push(("version", Page::Channel("main".into())));
    pages.push(("event", Page::Events));
    for (name, page) in pages {
        let mut screens = String::new();
        for size in SIZES {
            let mut app = app(size);
            open(&mut app, page.clone(), Situation::Normal);
            match name {
                "version" => keys(&mut app, "jjjj\n", Situation::Normal),
                "event" => keys(&mut app, "\n", Situation::Normal),
                _ => {}
            }
            let before = body(&app);
            lose(&mut app);
            // Long enough for every page to ask again, in vain.
            for ms in [4_000, 8_000, 12_000, 184_000] {
                app.tick(later(ms));
                refuse(&mut app);
            }
            // Times in the text go on; what is there does not go.
            let after = body(&app);
            let first = |lines: &[String]| {
                let line = lines.iter().find(|line| !line.trim().is_empty());
                line.map(|line| line.split("  ").next().unwrap_or("").to_owned())
            };
            assert_eq!(first(&before), first(&after), "{name}");
            let screen = shown(&app);
            assert!(screen.contains("LOST"), "{name}: {screen}");
            assert!(
                name == "printed" || screen.contains("3m04s old"),
                "{name}: {screen}"
            );
            assert!(screen.contains("away since 10:00:00 UTC"), "{screen}");
            screens.push_str(&format!("--- {}x{} ---\n{screen}", size.0, size.1));
        }
        wrong.extend(check(&format!("away-{name}"), &screens).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_page_that_was_closed_has_what_it_had_while_the_host_is_away() {
    for (name, page) in views() {
        // A command is run anew each time, and says itself that it reached nobody; the first page says it of its alarms.
        if matches!(page, Page::Printed(_) | Page::Farm) {
            continue;
        }
        let mut app = app((120, 40));
        open(&mut app, page.clone(), Situation::Normal);
        let before = body(&app);
        open(&mut app, Page::Queue, Situation::Normal);
        lose(&mut app);
        open(&mut app, page.clone(), Situation::Trouble);
        refuse(&mut app);
        app.relist();
        assert_eq!(before, body(&app), "{name}");
        assert!(
            shown(&app).contains("LOST, data"),
            "{name}: {}",
            shown(&app)
        );
    }
}

#[test]
fn a_page_that_was_never_read_says_so_and_is_read_when_the_host_is_back() {
    let mut app = app((80, 24));
    lose(&mut app);
    app.tick(later(61_000));
    for page in [
        Page::Recipes,
        Page::Repository,
        Page::Recipe("main/nano".into()),
        Page::Log(JobId(32), None),
    ] {
        let page_is_tab = matches!(page, Page::Recipes | Page::Repository);
        if page_is_tab {
            app.go_to_tab(page.clone());
        } else {
            app.open(page.clone());
        }
        refuse(&mut app);
        let screen = shown(&app);
        assert!(
            screen.contains("The host is away since 10:00:00 UTC")
                && screen.contains("not read before"),
            "{screen}"
        );
        assert!(screen.contains("never read"), "{screen}");
    }
    app.go_to_tab(Page::Recipes);
    refuse(&mut app);
    app.hear(News::Link(Link::Live));
    serve(&mut app, Situation::Normal);
    app.relist();
    let screen = shown(&app);
    assert!(
        screen.contains("nano") && screen.contains("live") && screen.contains("away for 1m01s"),
        "{screen}"
    );
}

#[test]
fn what_is_open_is_asked_for_again_when_the_host_is_back() {
    for (name, page) in views() {
        let mut app = app((120, 40));
        open(&mut app, page.clone(), Situation::Normal);
        lose(&mut app);
        app.tick(later(4_000));
        refuse(&mut app);
        app.hear(News::Link(Link::Live));
        let asked = app.take_effects();
        let asks = asked.iter().any(|effect| matches!(effect, Effect::Ask(..)));
        // What lives from the snapshot is read by the connection; a command that was answered and a log that is complete stay.
        let wants = page.question().is_some() && !matches!(page, Page::Printed(_));
        assert_eq!(asks, wants, "{name}");
        for effect in asked {
            if let Effect::Ask(ticket, question) = effect {
                let result = sample::answer(Situation::Normal, &question);
                app.hear(News::Answer { ticket, result });
            }
        }
        assert!(!shown(&app).contains("is gone"), "{name}: {}", shown(&app));
    }
}

#[test]
fn a_command_that_reached_nobody_is_run_again_when_the_host_is_back() {
    let words = vec!["profile".to_owned(), "list".to_owned()];
    let mut app = app((80, 24));
    lose(&mut app);
    app.open(Page::Printed(words.clone()));
    for effect in app.take_effects() {
        if let Effect::Ask(ticket, _) = effect {
            let text = "error: no host serves /farm/admin.sock".to_owned();
            let result = Ok(Reply::Ran(Ran {
                code: Some(3),
                text,
            }));
            app.hear(News::Answer { ticket, result });
        }
    }
    app.tick(later(20_000));
    assert!(app.take_effects().is_empty(), "it is not run over and over");
    app.hear(News::Link(Link::Live));
    let asked = app.take_effects();
    assert!(
        matches!(asked.as_slice(), [Effect::Ask(_, Question::Run(again))] if *again == words),
        "{asked:?}"
    );
}

#[test]
fn a_tree_keeps_what_was_unfolded_and_where_one_stands_when_it_is_read_again() {
    let situation = Situation::Normal;
    let mut app = app((120, 40));
    open(&mut app, Page::Graph(JobId(35)), situation);
    keys(&mut app, "jjj\nj", situation);
    let (before, stands) = (body(&app), app.job_here());
    assert!(app.sheet().branches.iter().any(|branch| branch.depth > 1));
    lose(&mut app);
    app.hear(News::Link(Link::Live));
    serve(&mut app, situation);
    app.relist();
    assert_eq!((before, stands), (body(&app), app.job_here()));
}

#[test]
fn nothing_is_sent_to_a_host_that_is_away_and_that_is_said_at_once() {
    let situation = Situation::Normal;
    let mut app = app((80, 24));
    open(&mut app, Page::Queue, situation);
    // Asked and typed before, confirmed after.
    keys(&mut app, "C", situation);
    assert!(app.pending.is_some());
    lose(&mut app);
    app.tick(later(65_000));
    refuse(&mut app);
    keys(&mut app, "y", Situation::Trouble);
    let said = "the host is away since 10:00:00 UTC: nothing was sent";
    assert!(shown(&app).contains(said), "{}", shown(&app));
    assert!(app.pending.is_some(), "the question stays");
    keys(&mut app, "n", Situation::Trouble);
    for (page, typed) in [
        (Page::Queue, "C"),
        (Page::Queue, "H"),
        (Page::Queue, "R"),
        (Page::Builders, "D"),
        (Page::Builders, "Q"),
        (Page::Peers, "A"),
        (Page::Peers, "N"),
        (Page::Recipes, "B"),
        (Page::Farm, ":build --all\n"),
        (Page::Farm, ":project add main /my/recipes\n"),
    ] {
        app.go_to_tab(page.clone());
        refuse(&mut app);
        for c in typed.chars() {
            let key = if c == '\n' { Key::Enter } else { Key::Char(c) };
            app.input(Input::Key(key));
        }
        let screen = shown(&app);
        assert!(
            app.pending.is_none() && app.prompt.is_none() && app.used.is_empty(),
            "{page:?} {typed}"
        );
        assert!(screen.contains(said), "{page:?} {typed}: {screen}");
    }
    assert!(app.take_effects().is_empty());
    // The host is back, and so is the question.
    app.hear(News::Link(Link::Live));
    open(&mut app, Page::Queue, situation);
    keys(&mut app, "Cy", situation);
    assert_eq!(app.used.len(), 1);
}

fn act_and(app: &mut App, result: Result<Reply, Fault>) {
    open(app, Page::Queue, Situation::Normal);
    for c in "Cy".chars() {
        app.input(Input::Key(Key::Char(c)));
    }
    for effect in app.take_effects() {
        if let Effect::Ask(ticket, Question::Act(_)) = effect {
            let result = result.clone();
            app.hear(News::Answer { ticket, result });
        }
    }
}

#[test]
fn an_action_whose_answer_did_not_come_is_unknown_and_says_how_to_find_out() {
    let mut wrong = Vec::new();
    let mut screens = String::new();
    for size in SIZES {
        let mut app = app(size);
        let broke = Fault::new(
            Kind::Unreachable,
            "lost /farm/admin.sock during io.massif.Summit.JobCancel",
        );
        act_and(&mut app, Ok(Reply::Unknown(broke)));
        lose(&mut app);
        let screen = shown(&app);
        assert!(
            screen.contains("unknown whether it was done; `massif job show 31` tells"),
            "{screen}"
        );
        assert!(matches!(app.used[0].outcome, Some(Outcome::Unknown(_))));
        // It is said for longer than other words, and again when the host is back.
        app.tick(later(30_000));
        assert!(shown(&app).contains("unknown whether"), "{}", shown(&app));
        app.hear(News::Link(Link::Live));
        let screen = shown(&app);
        assert!(
            screen.contains("the host is back: `massif job show 31` tells"),
            "{screen}"
        );
        keys(&mut app, "@", Situation::Normal);
        let screen = shown(&app);
        assert!(
            screen.contains("it is not known whether this was done"),
            "{screen}"
        );
        screens.push_str(&format!("--- {}x{} ---\n{screen}", size.0, size.1));
    }
    wrong.extend(check("used-unknown", &screens).err());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_action_that_did_not_go_out_was_not_sent_and_one_that_was_refused_failed() {
    let mut app = app((120, 40));
    act_and(&mut app, Err(gone()));
    assert!(
        shown(&app).contains("nothing was sent: the host that served"),
        "{}",
        shown(&app)
    );
    let refused = Fault::new(Kind::Conflict, "job 31 is over");
    act_and(&mut app, Err(refused));
    let screen = shown(&app);
    assert!(
        screen.contains("job 31 is over") && !screen.contains("nothing was sent"),
        "{screen}"
    );
    assert!(
        app.used
            .iter()
            .all(|used| matches!(used.outcome, Some(Outcome::Failed(_))))
    );
}

#[test]
fn what_was_read_long_ago_is_not_passed_off_as_of_now() {
    let situation = Situation::Normal;
    let mut app = app((80, 24));
    open(&mut app, Page::Recipes, situation);
    open(&mut app, Page::Queue, situation);
    app.tick(later(60_000));
    app.hear(News::Events {
        events: Vec::new(),
        gap: false,
        seq: Seq(413),
    });
    app.go_to_tab(Page::Recipes);
    app.relist();
    let screen = shown(&app);
    assert!(
        screen.contains("nano") && screen.contains("this was read 1m00s ago"),
        "{screen}"
    );
    serve(&mut app, situation);
    app.relist();
    let screen = shown(&app);
    assert!(
        screen.contains("nano") && !screen.contains("was read"),
        "{screen}"
    );
}

#[test]
fn a_page_that_stays_what_it_was_says_of_when_it_is() {
    let situation = Situation::Normal;
    let printed = Page::Printed(vec!["profile".into(), "list".into()]);
    for (page, typed, said) in [
        (Page::Queue, "y", "this is how it was 1m00s ago"),
        (printed, "", "this was printed 1m00s ago"),
    ] {
        let mut app = app((80, 24));
        open(&mut app, page, situation);
        keys(&mut app, typed, situation);
        assert!(!shown(&app).contains(" ago"), "{}", shown(&app));
        app.tick(later(60_000));
        app.hear(News::Link(Link::Live));
        assert!(shown(&app).contains(said), "{}", shown(&app));
    }
}

#[test]
fn keys_that_change_something_are_not_offered_where_nothing_can_be_changed() {
    let mut app = app((120, 40));
    open(&mut app, Page::Queue, Situation::Normal);
    let last = |app: &App| shown(app).lines().last().unwrap_or("").to_owned();
    assert!(last(&app).contains("C Cancel"), "{}", last(&app));
    lose(&mut app);
    assert!(!last(&app).contains("Cancel"), "{}", last(&app));
    app.hear(News::Link(Link::Live));
    let mut status = sample::status(Situation::Normal);
    status.right = "view".into();
    app.hear(News::Status(Box::new(status)));
    assert!(!last(&app).contains("Cancel"), "{}", last(&app));
}
