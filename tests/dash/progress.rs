//! Long work says how far it is: plain lines in a pipe, one live line on a terminal. And what lies around a job.

use serde_json::Value;

use super::pty::Screen;
use crate::common::farm::{Farm, Setup};
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
    let slow = "build       : |\n    sleep 3\n";
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
