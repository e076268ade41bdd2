//! Long work says how far it is: plain lines in a pipe, one live line on a terminal. And what lies around a job.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::pty::Screen;
use crate::admin::fixed::{self, Fixed};
use crate::builders::other::local;
use crate::common::farm::{Farm, MASSIF, Setup};
use crate::common::repo::Repo;
use crate::ring::script_recipe;

#[test]
fn long_work_says_so_in_a_pipe_and_on_a_terminal_and_the_answer_stays_clean() {
    let farm = Farm::start();
    let output = farm.run(&["store", "backup"]);
    let (told, errors) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(output.status.success(), "{errors}");
    assert!(
        told.lines().count() == 1 && told.contains("rows up to event"),
        "{told}"
    );
    assert!(
        errors.contains("writing a copy of the store") && !errors.contains('\u{1b}'),
        "{errors}"
    );
    assert_eq!(
        farm.json(&["call", "WorkList"])["works"],
        Value::Array(Vec::new())
    );

    let refused = farm.run(&["package", "import", "/nowhere/a.stone"]);
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        errors.contains("publishing 1 file") && errors.contains("cannot read"),
        "{errors}"
    );

    let dir = farm.dir().to_str().unwrap();
    let mut screen = Screen::open(100, 10, &["--dir", dir, "store", "backup"]);
    screen.until("the answer", |text| text.contains("rows up to event"));
    assert_eq!(screen.ended(), 0);
}

#[test]
fn who_waits_for_a_build_sees_what_runs_and_how_long_it_takes_still() {
    let mut repo = Repo::new();
    let slow = "build       : |\n    sleep 6\n";
    repo.write("s/slow/stone.yaml", script_recipe("slow", 1, slow));
    repo.commit("one");
    let farm = Farm::start();
    farm.ok(&["project", "add", "main", &repo.url()]);
    farm.published("slow");
    let dir = farm.dir().to_str().unwrap();
    let wish = ["--dir", dir, "build", "slow", "--rebuild", "--wait"];
    let mut screen = Screen::open(120, 12, &wish);
    screen.until("what runs and how long", |text| {
        text.contains("slow: ") && text.contains("; about ") && text.contains(" left")
    });
    screen.until("the end", |text| text.contains("published"));
    assert_eq!(screen.ended(), 0, "{}", screen.text());
    // In a pipe the same is lines without colours.
    let output = farm.run(&["build", "slow", "--rebuild", "--wait"]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    assert!(
        errors.contains("slow 1.1-1.3 published") && !errors.contains('\u{1b}'),
        "{errors}"
    );
}

#[test]
fn a_backup_and_an_import_show_what_is_done_of_all_and_what_is_left() {
    let host = Fixed::start();
    let file = host.path().join("slow.stone");
    let (dir, file) = (host.path().to_str().unwrap(), file.to_str().unwrap());
    for (wish, live) in [
        (
            ["store", "backup", file],
            "writing a copy of the store: 1000 of 4000 rows, ",
        ),
        (
            ["package", "import", file],
            "publishing 1 file: 1 of 3 files, ",
        ),
    ] {
        let words: Vec<&str> = ["--dir", dir].into_iter().chain(wish).collect();
        let screen = Screen::open(100, 10, &words);
        let piped = Command::new(MASSIF)
            .args(&words)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        screen.until("how far it is", |text| {
            text.contains(live) && text.contains(" left")
        });
        fixed::go_on(file);
        let end = screen.until("the answer", |text| {
            text.contains("2.0 KiB") || text.contains("version 7")
        });
        assert!(!end.contains(" left"), "{end}");
        let errors = piped.wait_with_output().unwrap().stderr;
        let errors = String::from_utf8_lossy(&errors);
        let begun = live.split(':').next().unwrap();
        assert!(
            errors.contains(begun) && !errors.contains('\u{1b}'),
            "{errors}"
        );
        fixed::wait_again(file);
    }
}

#[test]
fn who_tries_a_recipe_sees_its_log_and_below_it_how_long_it_takes_still() {
    let farm = Farm::start();
    let place = tempfile::tempdir().unwrap();
    let (mine, out) = (place.path().join("mine"), place.path().join("out"));
    let slow = "build       : |\n    echo it began\n    sleep 8\n    echo it ends\n";
    local(&mine, "mine", slow);
    let (mine, out) = (mine.to_str().unwrap(), out.to_str().unwrap());
    let dir = farm.dir().to_str().unwrap();
    let wish = ["--dir", dir, "try", mine, "--out", out];
    let mut screen = Screen::open(110, 30, &wish);
    screen.until("the log, and below it the time that is left", |text| {
        let last = text.lines().last().unwrap_or_default();
        text.contains("it began")
            && ["mine: build on ", " of about ", " left"]
                .iter()
                .all(|part| last.contains(part))
    });
    assert_eq!(screen.ended(), 0, "{}", screen.text());
    let end = screen.until("what it made", |text| text.contains("made "));
    assert!(
        end.contains("it ends") && !end.contains("mine: build on"),
        "{end}"
    );

    // In a pipe the log is the answer, and what goes on is lines without colours beside it.
    let output = farm.run(&["try", mine, "--out", out]);
    let (told, errors) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(output.status.success(), "{errors}");
    assert!(
        told.contains("it began") && !told.contains("mine builds on"),
        "{told}"
    );
    assert!(
        errors.contains("mine builds on") && !errors.contains('\u{1b}'),
        "{errors}"
    );
}

#[test]
fn the_demo_shows_what_runs_what_is_done_of_all_and_the_time_that_is_left() {
    use std::os::unix::fs::PermissionsExt;
    let place = tempfile::tempdir().unwrap();
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let dir = place.path().join("farm");
    let mut screen = Screen::open(120, 50, &["demo", "--dir", dir.to_str().unwrap()]);
    let live = |text: &str| {
        let line = text.lines().find(|line| line.starts_with('['));
        line.is_some_and(|line| {
            line.contains("] ")
                && line.contains("/7 ")
                && line.contains("; about ")
                && line.contains(" left")
        })
    };
    screen.until("what runs and what is left", live);
    let end = screen.until("the end", |text| text.contains("until Ctrl-C"));
    assert!(
        end.contains("packages are published") && !live(&end),
        "{end}"
    );
    // A recipe without a manifest has what its published packages provide.
    let asked = Command::new(MASSIF)
        .args(["--json", "--dir", dir.to_str().unwrap()])
        .args(["recipe", "show", "tally"])
        .output()
        .unwrap();
    let recipe: Value = serde_json::from_slice(&asked.stdout).unwrap();
    assert_eq!(recipe["from_manifest"], false, "{recipe:#}");
    let packages = recipe["packages"].to_string();
    assert!(packages.contains("pkgconfig(tally)"), "{packages}");
    screen.press("\x03");
    assert_eq!(screen.ended(), 0, "{}", screen.text());
}

#[test]
fn the_longest_way_around_a_job_goes_from_what_it_needs_to_what_needs_it() {
    let arguments = vec!["--slots".into(), "0".into()];
    let mut farm = Farm::with(Setup {
        arguments,
        ..Setup::default()
    });
    let mut repo = Repo::new();
    for (name, needs) in [
        ("one", ""),
        ("two", "one"),
        ("three", "two"),
        ("aside", "one"),
    ] {
        let needs = match needs {
            "" => String::new(),
            needs => format!("builddeps:\n    - {needs}\n"),
        };
        let text = format!(
            "name: {name}\nversion: 1.0\nrelease: 1\nhomepage: https://example.org\nsummary: {name}\ndescription: {name}\nlicense: MIT\n{needs}install: |\n    true\n"
        );
        repo.write(&format!("{}/{name}/stone.yaml", &name[..1]), text);
    }
    repo.commit("four");
    farm.ok(&["project", "add", "main", &repo.url()]);
    farm.until(&["job", "list"], |jobs| {
        jobs.as_array().is_some_and(|jobs| jobs.len() == 4)
    });
    let cone = |job: &str| {
        let wish = format!("{{\"job\": \"{job}\"}}");
        farm.json(&["call", "ConeShow", &wish])["cone"].clone()
    };
    let names = |cone: &Value| -> Vec<String> {
        let path = cone["critical_path"].as_array().unwrap().iter();
        path.map(|job| job["recipe"].as_str().unwrap().to_owned())
            .collect()
    };
    let two = cone("two");
    assert_eq!(names(&two), ["one", "two", "three"]);
    assert_eq!(
        (two["needs"].as_u64(), two["needed_by"].as_u64()),
        (Some(1), Some(1))
    );
    assert_eq!(two["cycles"], Value::Array(Vec::new()));
    assert!(two["critical_s"].as_f64().unwrap() > 0.0);
    assert_eq!(names(&cone("aside")), ["one", "aside"]);
    let one = cone("one");
    assert_eq!((names(&one).len(), one["needed_by"].as_u64()), (3, Some(3)));
    farm.stop();
}
