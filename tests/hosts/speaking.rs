//! What a builder may not say on its link: who belongs to the farm, where others are reached, whose key is whose.

use std::time::Duration;

use massif::id::{HostId, Stamp};
use massif::model::{PeerTrust, Role};
use massif::net::peer_list::{Listed, PeerList};
use massif::net::rotation::Rotation;
use massif::net::wire;

use super::building::{add, check_all};
use super::lying::{endpoint, joined, line, link, runtime};
use super::rig::Place;
use crate::common::host::GATE;
use crate::common::repo::Repo;

#[test]
fn a_builder_says_neither_who_belongs_to_the_farm_nor_whose_key_is_whose() {
    let place = Place::new();
    let crest = place.summit("30s");
    let line = line(&crest, "liar", &[]);
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let endpoint = endpoint(dir.path());
        joined(&endpoint, &line).await;
        let mut liar = link(&endpoint, &line).await;
        let friend = Listed {
            id: HostId([7; 32]),
            name: "friend".parse().unwrap(),
            role: Role::Avalanche,
            trust: PeerTrust::Trusted,
            addresses: Vec::new(),
            revoked: None,
        };
        let list = PeerList::make(u64::MAX, vec![friend], |message| endpoint.sign(message));
        // From the honest key to one that never signed it.
        let (key, signature) = endpoint.sign(b"something else").unwrap();
        let rotation = Rotation {
            old: key,
            new: vec![3; 44],
            at: Stamp(0),
            overlap_s: 1,
            by_old: signature.clone(),
            by_new: signature,
        };
        let lies = [
            wire::Say::Peers(Box::new(list.unwrap())),
            wire::Say::Reached {
                addresses: vec!["10.0.0.1:1".into()],
            },
            wire::Say::Keys {
                rotations: vec![rotation.clone()],
            },
            wire::Say::Keys {
                rotations: vec![rotation; 9],
            },
        ];
        for lie in lies {
            liar.control().say(lie).await.unwrap();
        }
        // Nor does it read channels as if it decided.
        let (mut send, mut receive) = liar.connection.open_bi().await.unwrap();
        let follow = wire::Say::Follow { known: Vec::new() };
        massif::net::transfer::say(&mut send, follow).await.unwrap();
        let answer = massif::net::transfer::hear(&mut receive).await.unwrap();
        assert!(
            matches!(answer, wire::Say::FetchRefused { .. }),
            "{answer:?}"
        );
        let deeds = [
            "which is not its to say",
            "nobody dials it",
            "not signed by its old one",
            "more new keys than there can be",
            "may not ask",
        ];
        for words in deeds {
            crest.until_event("peer_misbehaved", words);
        }
        endpoint.close().await;
    });
    let peers = crest.json(&["peer", "list"]);
    assert_eq!(peers.as_array().unwrap().len(), 1, "{peers:#}");
    assert_eq!(peers[0]["addresses"], serde_json::json!([]), "{peers:#}");
}

#[test]
fn a_link_that_dies_every_few_seconds_costs_no_attempt_and_no_line_of_the_log() {
    let place = Place::new();
    let mut crest = place.summit("30s");
    let east = place.builder(&crest, "east", &[]);
    let mut repo = Repo::new();
    add(&mut repo, "alpha", GATE);
    repo.commit("Add alpha");
    crest.ok(&["project", "add", "test", &repo.url()]);
    crest.building("alpha", "build");
    for _ in 0..4 {
        crest.kill();
        crest.up();
        crest.until_linked("east");
        std::thread::sleep(Duration::from_millis(700));
    }
    east.open_gate(&crest.attempt_of("alpha"));
    let job = crest.published("alpha");
    assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job:#}");
    check_all(&crest, &[&east]);
}
