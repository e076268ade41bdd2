//! A host's key is replaced, and nobody has to do anything about it.

use std::time::{Duration, Instant};

use super::rig::{Node, Place};
use crate::common::repo::Repo;
use crate::ring::script_recipe;

fn key_of(node: &Node) -> String {
    node.json(&["cert", "show"])["id"]
        .as_str()
        .unwrap()
        .to_string()
}

/// A stop and a start, and the link is there again.
fn again(crest: &Node, node: &mut Node, name: &str) {
    node.stop();
    node.serves();
    node.up();
    crest.until_linked(name);
}

#[test]
fn new_keys_of_both_hosts_are_learnt_silently_and_survive_restarts_and_the_end_of_the_old_ones() {
    let place = Place::new();
    let mut crest = place.summit("30s");
    let mut east = place.builder(&crest, "east", &[]);
    let line = crest.ok(&[
        "invite",
        "--role",
        "operator",
        "--rights",
        "operate",
        "--pre-approved",
    ]);
    let anna = place.host("anna");
    anna.ok(&["join", line.trim()]);
    let host = crest.json(&["status"])["host"]["name"]
        .as_str()
        .unwrap()
        .to_string();
    anna.ok(&["--host", &host, "status"]);
    let before = (key_of(&crest), key_of(&east));
    let links = |peer: &serde_json::Value| peer["link"]["reconnects"].clone();
    let linked = links(&crest.json(&["peer", "show", "east"]));

    // Both at once, on a link that stands.
    crest.ok(&["cert", "rotate", "--overlap", "40s"]);
    east.ok(&["cert", "rotate", "--overlap", "40s"]);
    let rotated = Instant::now();
    // The operator learns it while the old key is good.
    anna.ok(&["--host", &host, "status"]);
    assert_ne!((key_of(&crest), key_of(&east)), before);
    let refused = crest.run(&["cert", "rotate"]);
    assert_eq!(refused.status.code(), Some(5), "one rotation at a time");
    crest.until_event("peer_rotated", "has a new key");
    assert_eq!(links(&crest.json(&["peer", "show", "east"])), linked);

    // Each of them restarts, while both keys are good and after that.
    again(&crest, &mut east, "east");
    crest.stop();
    crest.up();
    crest.until_linked("east");
    std::thread::sleep(Duration::from_secs(41).saturating_sub(rotated.elapsed()));
    again(&crest, &mut east, "east");
    crest.kill();
    crest.up();
    crest.until_linked("east");
    anna.ok(&["--host", &host, "status"]);

    // It is the same host to everybody, and works as before.
    assert_eq!(crest.events("peer_joined").len(), 2);
    let mut repo = Repo::new();
    repo.write("a/alpha/stone.yaml", script_recipe("alpha", 1, ""));
    repo.commit("Add alpha");
    crest.ok(&["project", "add", "test", &repo.url()]);
    let job = crest.published("alpha");
    assert_eq!(job["attempts"][0]["builder"], "east", "{job:#}");
    // Who comes now joins by the new key, and sees the same words.
    place.builder(&crest, "west", &[]);

    // Whoever has the old key alone is nobody any more.
    let copy = tempfile::tempdir().unwrap();
    let keys = copy.path().join("keys");
    std::fs::create_dir(&keys).unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::copy(east.dir.join("keys/previous.key"), keys.join("host.key")).unwrap();
    let pin = key_of(&crest).parse().unwrap();
    super::lying::refused(
        copy.path(),
        crest.port,
        pin,
        "does not know this host's key",
    );
    // Revoked, it is out with both.
    crest.ok(&["peer", "revoke", "east"]);
    crest.until(&["peer", "show", "east"], |peer| {
        peer["link"]["up"] == false
    });
}

#[test]
fn a_host_that_was_away_for_the_whole_rotation_takes_the_new_key_from_the_old_one() {
    let place = Place::new();
    let mut crest = place.summit("30s");
    let mut east = place.builder(&crest, "east", &[]);
    east.stop();
    crest.ok(&["cert", "rotate"]);
    crest.kill();
    crest.up();
    east.serves();
    // And the other way round: the summit is away while its builder gets a new key.
    east.up();
    crest.until_linked("east");
    crest.stop();
    east.ok(&["cert", "rotate"]);
    again_while_away(&mut east);
    crest.up();
    crest.until_linked("east");
    crest.until_event("peer_rotated", "has a new key");
    assert_eq!(crest.events("peer_joined").len(), 1);
}

fn again_while_away(node: &mut Node) {
    node.stop();
    node.up();
}

#[test]
fn an_operator_s_key_is_replaced_and_its_hosts_learn_it_now_or_when_they_are_asked_next() {
    let place = Place::new();
    let mut crest = place.summit("30s");
    let line = crest.ok(&[
        "invite",
        "--role",
        "operator",
        "--rights",
        "operate",
        "--pre-approved",
    ]);
    let anna = place.host("anna");
    anna.ok(&["join", line.trim()]);
    let host = crest.json(&["status"])["host"]["name"].clone();
    let host = host.as_str().unwrap();
    let old = tempfile::tempdir().unwrap();
    let keep_old = |name: &str| {
        use std::os::unix::fs::PermissionsExt;
        let keys = old.path().join(name).join("keys");
        std::fs::create_dir_all(&keys).unwrap();
        let closed = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(&keys, closed).unwrap();
        std::fs::copy(anna.dir.join("keys/host.key"), keys.join("host.key")).unwrap();
        old.path().join(name)
    };
    let first = keep_old("first");

    // The host is here and hears of it at once.
    let rotated = anna.json(&["cert", "rotate", "--overlap", "30s"]);
    assert_eq!(rotated["hosts"][0]["told"], true, "{rotated:#}");
    let refused = anna.run(&["cert", "rotate"]);
    assert_eq!(refused.status.code(), Some(5), "one rotation at a time");
    crest.until_event("peer_rotated", "has a new key");
    anna.ok(&["--host", host, "status"]);
    // After the overlap the old key is nobody's, and the new one the same person's.
    let pin = key_of(&crest).parse().unwrap();
    super::lying::until_refused(&crest, &first, pin, "does not know this host's key");
    anna.ok(&["--host", host, "status"]);

    // The host is away, and hears of it when it is asked while the old key is good.
    crest.stop();
    let said = anna.ok(&["cert", "rotate", "--overlap", "600s"]);
    assert!(said.contains("does not know it yet"), "{said}");
    crest.up();
    anna.ok(&["--host", host, "status"]);
    crest.kill();
    crest.up();
    anna.ok(&["--host", host, "project", "list"]);
    let peers = crest.json(&["peer", "list"]);
    assert_eq!(peers.as_array().unwrap().len(), 1, "{peers:#}");
    assert_eq!(crest.events("peer_rotated").len(), 2);
    // Revoked, it is out with each of its keys.
    let name = peers[0]["name"].as_str().unwrap();
    crest.ok(&["peer", "revoke", name]);
    anna.code(4, &["--host", host, "status"]);
    super::lying::refused(&keep_old("last"), crest.port, pin, "revoked");
}
