//! Filters as a person types them: by words, by letters, by labels; the help says what there is.

use massif::tui::app::{App, Input};
use massif::tui::filter::{FORMS, INVERSE};
use massif::tui::keys::Key;
use massif::tui::list::Line;
use massif::tui::page::Page;
use massif::tui::theme::Theme;
use massif::tui::views;

use super::sample::Situation;
use super::screens::{self, keys, open, shown};

const TABLES: [fn() -> Page; 8] = [
    || Page::Queue,
    || Page::Builders,
    || Page::Recipes,
    || Page::Repository,
    || Page::Channel("main".into()),
    || Page::Packages("main".into()),
    || Page::Events,
    || Page::Peers,
];

fn app(page: Page) -> App {
    let mut app = screens::app(Situation::Normal, (120, 100), Theme::default());
    open(&mut app, page, Situation::Normal);
    app
}

fn filtered(app: &mut App, typed: &str) -> usize {
    keys(app, &format!("/{typed}\n"), Situation::Normal);
    let rows = app.sheet().lines.iter();
    let count = rows.filter(|line| matches!(line, Line::Row(_))).count();
    assert!(shown(app).contains(&format!("/{typed}")), "{}", shown(app));
    app.input(Input::Key(Key::Esc));
    count
}

#[test]
fn every_label_that_the_help_names_is_known_to_its_rows() {
    for page in TABLES {
        let mut app = app(page());
        let labels = views::labels(&page());
        assert!(!labels.is_empty(), "{:?}", page());
        for label in labels {
            let all = filtered(&mut app, &format!("-l {label}!=no-such-value"));
            assert!(all > 0, "{:?} has no {label}", page());
            let none = filtered(&mut app, &format!("-l {label}=no-such-value"));
            assert_eq!(none, 0, "{:?} {label}", page());
        }
        keys(&mut app, "?", Situation::Normal);
        let help = shown(&app);
        for form in FORMS.iter().chain([&INVERSE]) {
            assert!(
                help.contains(form.label) && help.contains(form.help),
                "{} in {help}",
                form.label
            );
        }
        assert!(help.contains(&labels.join(", ")), "{help}");
        keys(&mut app, "\u{1b}/-l colour=red\n", Situation::Normal);
        let screen = shown(&app);
        assert!(
            screen.contains("no label colour on this page; there are: "),
            "{screen}"
        );
    }
}

#[test]
fn rows_are_found_by_letters_and_by_labels() {
    for (page, typed, count) in [
        (Page::Queue, "-f ur", 2),
        (Page::Queue, "-f CRL", 1),
        (Page::Queue, "-f lc", 0),
        (Page::Queue, "!-f ur", 9),
        (Page::Queue, "-l state=building", 2),
        (Page::Queue, "-l state=building,builder=west", 1),
        (Page::Queue, "-l held=yes", 1),
        (Page::Queue, "-l project=MAIN,profile=default", 11),
        (Page::Queue, "!-l state=building", 9),
        (Page::Builders, "-l verdict=fit", 2),
        (Page::Recipes, "-l faulty=yes", 1),
        (Page::Recipes, "-f nn", 1),
        (Page::Events, "-l what=published", 3),
        (Page::Peers, "-l state=waiting", 1),
        (Page::Channel("main".into()), "-l stream=volatile", 1),
        (Page::Packages("main".into()), "-l recipe=nano", 1),
    ] {
        assert_eq!(
            filtered(&mut app(page.clone()), typed),
            count,
            "{page:?} {typed}"
        );
    }
}

/// What is typed so far hides nothing before it means something.
#[test]
fn half_a_filter_shows_all() {
    let mut app = app(Page::Queue);
    let all = app.sheet().lines.len();
    for c in "/-l state".chars() {
        app.input(Input::Key(Key::Char(c)));
        // A sign alone is none that anything has.
        if app
            .prompt
            .as_ref()
            .is_some_and(|prompt| prompt.typed != "-")
        {
            assert_eq!(app.sheet().lines.len(), all);
        }
    }
    app.input(Input::Key(Key::Char('=')));
    assert!(app.sheet().lines.is_empty());
    for c in "failed".chars() {
        app.input(Input::Key(Key::Char(c)));
    }
    assert_eq!(app.sheet().lines.len(), 2, "a heading and a row");
}
