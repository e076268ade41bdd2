//! The dashboard of a farm elsewhere: over QUIC, under an operator's key, as far as that key's rights go.

use super::pty::Screen;
use crate::hosts::rig::Place;

#[test]
fn an_operator_sees_a_farm_from_afar_and_changes_it_only_with_a_key_that_may() {
    let place = Place::new();
    let mut crest = place.summit("30s");
    let host = crest.json(&["status"])["host"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let operator = |name: &str, rights: &str| {
        let all = [
            "invite",
            "--role",
            "operator",
            "--pre-approved",
            "--name",
            name,
            "--rights",
            rights,
        ];
        let line = crest.ok(&all).trim().to_owned();
        let node = place.host(name);
        node.ok(&["join", &line]);
        node
    };
    let (ann, bob) = (operator("ann", "view"), operator("bob", "operate"));
    let once = ann.json(&["--host", &host, "dash", "--once", "--format", "json"]);
    assert_eq!(once["status"]["right"], "view");
    assert_eq!(once["status"]["host"]["name"], host.as_str());

    let dash = |dir: &std::path::Path| {
        Screen::open(
            100,
            30,
            &["dash", "--dir", dir.to_str().unwrap(), "--host", &host],
        )
    };
    let mut looks = dash(&ann.dir);
    looks.until("live and read-only", |text| {
        text.contains("live, read-only")
    });
    looks.press("7");
    looks.until("the peers", |text| {
        text.contains("ann") && text.contains("bob") && text.contains("operator")
    });
    looks.press(":build --all\r");
    looks.until("a refusal", |text| text.contains("you may only look here"));

    let mut acts = dash(&bob.dir);
    acts.until("live", |text| {
        text.contains("live") && !text.contains("read-only")
    });
    acts.press(":build --all\r");
    acts.until("a question", |text| {
        text.contains("the same: massif build --all")
    });
    acts.press("y");
    acts.until("an answer", |text| text.contains("nothing is missing"));
    acts.press(":invite --list\r");
    acts.until("the output of a command", |text| {
        text.contains("invitation") && text.contains("used")
    });
    acts.press(":invite --role avalanche\r");
    acts.until("a right that is missing", |text| {
        text.contains("right to admin")
    });

    crest.kill();
    looks.until("lost", |text| text.contains("LOST"));
    crest.up();
    looks.until("live again", |text| text.contains("live, read-only"));
    for screen in [&mut looks, &mut acts] {
        screen.press("q");
        assert_eq!(screen.ended(), 0);
    }
    crest.stop();
}
