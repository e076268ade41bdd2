//! The farm as it was: what the log of events tells over the admin interface is what was shown then.

use serde_json::Value;

use super::pty::{Screen, project};
use crate::common::farm::Farm;

fn last(farm: &Farm) -> u64 {
    farm.json(&["status"])["seq"].as_u64().unwrap()
}

/// The rows of now, and the event after which they are these: nothing was recorded while they were read.
fn steady(farm: &Farm) -> (u64, Vec<(u64, String, bool)>) {
    farm.until(&["job", "list"], |jobs| {
        jobs.as_array().is_some_and(|jobs| !jobs.is_empty())
    });
    for _ in 0..1_000 {
        let before = last(farm);
        let rows = known(&farm.json(&["job", "list"]));
        if last(farm) == before {
            return (before, rows);
        }
    }
    panic!("the farm never rests");
}

/// The only event of this kind.
fn event(farm: &Farm, kind: &str) -> u64 {
    let all = farm.json(&["call", "io.massif.Host.Audit", r#"{"limit": 1000}"#]);
    let mut all = all["events"].as_array().unwrap().iter();
    let found = all.find(|event| event["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind}"))["seq"]
        .as_u64()
        .unwrap()
}

/// The rows of then without what the log does not hold.
fn known(jobs: &Value) -> Vec<(u64, String, bool)> {
    let row = |job: &Value| {
        (
            job["id"].as_u64().unwrap(),
            job["state"].as_str().unwrap().to_owned(),
            job["hold"].is_object(),
        )
    };
    jobs.as_array().unwrap().iter().map(row).collect()
}

#[test]
fn queue_and_why_of_an_earlier_moment_are_what_was_shown_then() {
    let mut farm = Farm::start();
    let _recipes = project(&farm);
    let (before, at_first) = steady(&farm);
    assert!(!at_first.is_empty() && at_first.iter().all(|(_, _, held)| !held));
    farm.ok(&["job", "hold", "needy", "--reason", "for the test"]);
    let (_, at_hold) = steady(&farm);
    // Not the last one of that moment: others that change nothing of the job may have followed.
    let held = event(&farm, "held");
    farm.ok(&["job", "cancel", "needy"]);

    let at = |seq: u64| farm.json(&["job", "list", "--at", &seq.to_string()]);
    assert_eq!(known(&at(before)), at_first);
    assert_eq!(known(&at(held)), at_hold);
    let (now, of_now) = steady(&farm);
    assert_eq!(known(&at(now)), of_now);
    assert_eq!(at(0), serde_json::json!([]));
    assert!(
        at(held)[0]["priority"].is_null(),
        "what the log does not hold is null"
    );

    let why = farm.ok(&["why", "needy", "--at", &held.to_string()]);
    assert!(
        why.contains(&format!("as of event {held} of")) && why.contains("for the test"),
        "{why}"
    );
    assert!(why.contains("pkgconfig(nobody-has-this)"), "{why}");
    let why = farm.ok(&["why", "needy", "--at", &before.to_string()]);
    assert!(!why.contains("for the test"), "{why}");
    let status = farm.json(&["status", "--at", &held.to_string()]);
    assert_eq!(
        (status["seq"].as_u64(), &status["jobs"]["waiting"]),
        (Some(held), &Value::from(1))
    );
    assert!(!status["unknown"].as_array().unwrap().is_empty());
    assert!(
        farm.json(&["builder", "list", "--at", &held.to_string()])
            .is_array()
    );
    let later = farm.code(1, &["status", "--at", "99999999"]);
    assert!(later.contains("there is no event 99999999 yet"), "{later}");
    let nobody = farm.code(1, &["why", "neddy", "--at", &held.to_string()]);
    assert!(nobody.contains("did you mean needy?"), "{nobody}");

    // The same after a start: nothing of it lives in memory only.
    farm.kill();
    farm.up();
    assert_eq!(
        known(&farm.json(&["job", "list", "--at", &held.to_string()])),
        at_hold
    );

    let mut screen = Screen::open(100, 30, &["dash", "--dir", farm.dir().to_str().unwrap()]);
    screen.until("live", |text| text.contains("live"));
    screen.press(&format!(":at {held}\r"));
    screen.until("the moment", |text| text.contains(&format!("AS OF {held}")));
    screen.press("2");
    screen.until("the queue of then", |text| {
        text.contains("needy") && text.contains("for the test")
    });
    screen.press("[");
    screen.until("one event before", |text| {
        text.contains(&format!("AS OF {}", held - 1)) && !text.contains("for the test")
    });
    screen.press("a");
    screen.until("now", |text| {
        text.contains("live") && text.contains("cancelled 1")
    });
    screen.press("q");
    assert_eq!(screen.ended(), 0);
    farm.stop();
}
