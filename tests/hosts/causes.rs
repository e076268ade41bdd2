//! Why a handshake failed: each cause in one sentence, from `massif doctor` on the host that dialled and from the command that
//! failed.

use std::sync::Arc;

use super::rig::{Node, Place};
use crate::common::clock;

const DAY_S: i64 = 86_400;

/// Waits until the doctor of a host has these words in one of its lines; that line.
fn doctor_says(node: &Node, words: &str) -> String {
    let mut found = None;
    node.wait(words, || {
        let said = node.run(&["doctor"]);
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        found = said
            .lines()
            .find(|line| line.contains(words))
            .map(str::to_string);
        found.is_some()
    });
    found.unwrap()
}

/// Starts a host again, with a clock that is so many seconds late.
fn again(node: &mut Node, work: &std::path::Path, late_s: i64) {
    node.stop();
    let library = clock::library(work, late_s).display().to_string();
    node.environment = vec![("LD_PRELOAD".to_string(), library)];
    node.serves();
    node.up();
}

/// A host of next year at this port, as far as its first words go.
fn of_next_year(port: u16) -> quinn::Endpoint {
    let made = rcgen::generate_simple_self_signed(vec!["massif".to_string()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    tls.alpn_protocols = vec![b"massif/999".to_vec()];
    let tls = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(tls));
    quinn::Endpoint::server(config, ([127, 0, 0, 1], port).into()).unwrap()
}

#[test]
fn another_key_and_another_version_at_the_address_are_told_by_the_doctor() {
    let place = Place::new();
    let mut crest = place.summit("30s");
    let host = crest.json(&["status"])["host"]["name"].clone();
    let east = place.builder(&crest, "east", &[]);
    let ann = place.host("ann");
    let line = crest.invite("operator", "ann", &[]);
    ann.ok(&["join", &line]);
    crest.stop();

    // Somebody set it up anew.
    let mut anew = place.host("anew");
    anew.arguments.clone_from(&crest.arguments);
    anew.up();
    let line = doctor_says(&east, "has another key than the one expected");
    assert!(
        line.contains("link_down") || line.contains("out_of_reach"),
        "{line}"
    );
    let said = ann.code(4, &["--host", host.as_str().unwrap(), "status"]);
    assert!(
        said.contains("has another key than the one expected"),
        "{said}"
    );
    anew.stop();

    // Somebody brought it to another version.
    let runtime = super::lying::runtime();
    let guard = runtime.enter();
    let endpoint = of_next_year(crest.port);
    drop(guard);
    let answering = endpoint.clone();
    runtime.spawn(async move {
        while let Some(incoming) = answering.accept().await {
            // It never gets far.
            drop(incoming.await);
        }
    });
    doctor_says(&east, "speaks no common protocol version");
    let said = ann.code(4, &["--host", host.as_str().unwrap(), "status"]);
    assert!(said.contains("speaks no common protocol version"), "{said}");
    endpoint.close(0u32.into(), b"");
}

#[test]
fn unknown_revoked_and_unapproved_keys_are_told_by_the_doctor() {
    let place = Place::new();
    let crest = place.summit("30s");
    let card = crest.dir.with_file_name("crest.card");
    std::fs::write(&card, crest.ok(&["cert", "export"])).unwrap();
    let mut east = place.host("east");
    east.ok(&["cert", "trust", card.to_str().unwrap(), "--role", "summit"]);
    east.serves();
    east.up();
    doctor_says(&east, "does not know this host's key");

    let line = crest.ok(&["invite", "--role", "avalanche", "--name", "west"]);
    let mut west = place.host("west");
    west.join(line.trim());
    doctor_says(&west, "waits for somebody to approve this host");
    crest.ok(&["peer", "approve", "west"]);
    crest.until_linked("west");
    crest.ok(&["peer", "revoke", "west"]);
    let line = doctor_says(&west, "its key was revoked by uid");
    assert!(line.contains(" at 20"), "{line}");
}

#[test]
fn a_wrong_clock_is_told_by_the_doctor_with_the_seconds() {
    let place = Place::new();
    let work = tempfile::tempdir().unwrap();
    let crest = place.summit("30s");
    let mut east = place.builder(&crest, "east", &[]);
    // A day is borne, and told.
    again(&mut east, work.path(), DAY_S);
    doctor_says(&east, " s off this one");
    crest.until_linked("east");

    // What this host sees by itself: the other certificate is of the future, or of the past.
    again(&mut east, work.path(), -40 * DAY_S);
    doctor_says(&east, "clocks that are at least 345");
    again(&mut east, work.path(), 40 * DAY_S);
    doctor_says(&east, "clocks that are at least 864");

    // What the other host sees, and tells.
    again(&mut east, work.path(), 3 * DAY_S);
    doctor_says(&east, "its clock and this one are 259");
    crest.until_event("peer_refused", "its certificate is out of its time");
    let refused = crest.events("peer_refused");
    let refused = refused.last().unwrap();
    assert!(
        refused["actor"].to_string().contains("east (key "),
        "{refused:#}"
    );
    let all = crest.ok(&["doctor"]);
    assert!(all.contains("link_down"), "{all}");
}
