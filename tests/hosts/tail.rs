//! The end of a log that is another host's: it may come after the word that its build is over, and then a reader is told.

use std::time::Duration;

use serde_json::Value;

use super::building::check_all;
use super::relay::{Relay, Weather};
use super::rig::{Node, Place};
use crate::common::repo::Repo;
use crate::ring::script_recipe;

/// The last line that `job log` writes about a recipe's log, as JSON.
fn last(crest: &Node, more: &[&str]) -> Value {
    let words = [&["--json", "job", "log", "alpha"], more].concat();
    let output = crest.run(&words);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

#[test]
fn the_end_of_a_log_that_is_still_on_its_builder_is_said_to_be_there() {
    let place = Place::new();
    let crest = place.summit("30s");
    let relay = Relay::to(crest.port, 7);
    let through = relay.address.to_string();
    let far = place.builder(&crest, "far", &["--address", &through]);
    // Far away: what says that a build is over is on its way for a moment, and its log for many.
    relay.weather(Weather {
        delay: Duration::from_millis(200),
        ..Weather::default()
    });
    let long = "build       : |\n    head -c 30000000 /dev/zero | tr '\\0' x | fold -w 99\n    echo its last line\n";
    let mut repo = Repo::new();
    repo.write("a/alpha/stone.yaml", script_recipe("alpha", 1, long));
    repo.commit("Add alpha");
    crest.ok(&["project", "add", "test", &repo.url()]);
    crest.until(&["job", "list"], |jobs| {
        ["publishing", "published"].contains(&jobs[0]["state"].as_str().unwrap_or_default())
    });
    relay.cut(true);
    let said = last(&crest, &["--tail", "1"]);
    assert_eq!(
        (&said["complete"], &said["on"]),
        (&false.into(), &"far".into()),
        "{said:#}"
    );
    let missing = said["missing_bytes"].as_u64().unwrap();
    assert!((1..40_000_000).contains(&missing), "{said:#}");
    let output = crest.run(&["job", "log", "alpha", "--tail", "1"]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        words.contains("bytes of the log are still on far"),
        "{words}"
    );
    relay.cut(false);
    relay.weather(Weather::default());
    crest.published("alpha");
    crest.wait("the end of the log", || {
        last(&crest, &["--tail", "1"])["complete"] == true
    });
    let whole = last(&crest, &["--tail", "1"]);
    assert_eq!(
        (&whole["missing_bytes"], &whole["on"], &whole["end"]),
        (&0.into(), &Value::Null, &true.into()),
        "{whole:#}"
    );
    let log = crest.ok(&["job", "log", "alpha", "--tail", "2000"]);
    assert!(log.contains("its last line"), "{}", log.len());
    check_all(&crest, &[&far]);
}
