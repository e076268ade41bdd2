//! Builders that say too much, ask too much, or leave others waiting.

use std::time::{Duration, Instant};

use massif::model::Role;
use massif::net::wire::{self, Fetch};
use massif::net::{quic, transfer};

use super::liars::{ordered, report_with, tell};
use super::lying::{endpoint, joined, line, link, ring, runtime};
use super::rig::{PATIENCE, Place};
use super::transfers;
use crate::common::repo::Repo;

/// What a link may hold that its peer has not taken, as the transport is set up.
const WINDOW_MIB: u64 = 64;

#[test]
fn a_builder_that_talks_without_end_is_heard_at_the_pace_of_the_farm() {
    let place = Place::new();
    let crest = place.summit("30s");
    let line = line(&crest, "talker", &[]);
    let memory_mib = crest.memory_mib();
    let dir = tempfile::tempdir().unwrap();
    let said = runtime().block_on(async {
        let endpoint = endpoint(dir.path());
        joined(&endpoint, &line).await;
        let mut talker = link(&endpoint, &line).await;
        let began = Instant::now();
        let mut said = 0;
        while began.elapsed() < Duration::from_secs(5) {
            tell(&mut talker, Role::Summit, report_with(60_000)).await;
            said += 1;
        }
        assert!(
            talker.connection.close_reason().is_none(),
            "it broke no rule"
        );
        // More than there is to say of a builder breaks one, and the link ends when that was done too often: maybe before the last.
        for _ in 0..20 {
            let much = ring(Role::Summit, report_with(100_000));
            if talker.control().say(much).await.is_err() {
                break;
            }
        }
        let closed = tokio::time::timeout(PATIENCE, talker.connection.closed());
        let why = closed.await.unwrap().to_string();
        assert!(why.contains("may not do"), "{why}");
        endpoint.close().await;
        said
    });
    println!("{said} reports of 60 kB in 5 s");
    crest.until_event("peer_misbehaved", "more than there is to say");
    crest.json(&["status"]);
    let after_mib = crest.memory_mib();
    assert!(
        // What was freed is given back to the kernel a little later.
        after_mib < memory_mib + 2 * WINDOW_MIB,
        "{memory_mib} MiB became {after_mib} MiB after {said} reports"
    );
}

#[test]
fn a_builder_that_asks_for_everything_and_reads_nothing_costs_a_window_and_no_more() {
    let place = Place::new();
    let crest = place.summit("30s");
    let mut repo = Repo::new();
    transfers::add(&mut repo, "alpha", 24);
    repo.commit("Add alpha");
    let mut honest = place.builder(&crest, "honest", &[]);
    crest.ok(&["project", "add", "test", &repo.url()]);
    crest.published("alpha");
    crest.ok(&["peer", "revoke", "honest"]);
    honest.kill();
    let line = line(&crest, "greedy", &[]);
    super::building::add(&mut repo, "beta", "builddeps   :\n    - name(alpha)\n");
    repo.commit("Add beta");
    crest.ok(&["project", "refresh", "test"]);
    let memory_mib = crest.memory_mib();
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let endpoint = endpoint(dir.path());
        joined(&endpoint, &line).await;
        let mut greedy = link(&endpoint, &line).await;
        let order = ordered(&mut greedy).await;
        assert_eq!(order.recipe.as_str(), "beta");
        let largest = order.inputs.iter().max_by_key(|input| input.size).unwrap();
        assert!(largest.size > 24 << 20, "{largest:?}");
        let wish = wire::Say::Fetch(Fetch {
            attempt: Some(order.attempt),
            sha256: largest.sha256,
            from: 0,
        });
        let mut open = Vec::new();
        loop {
            let opened = tokio::time::timeout(Duration::from_secs(2), greedy.connection.open_bi());
            let Ok(opened) = opened.await else { break };
            let (mut send, receive) = opened.unwrap();
            transfer::say(&mut send, wish.clone()).await.unwrap();
            open.push((send, receive));
        }
        // The control stream is one of them.
        assert_eq!(open.len() + 1, quic::STREAMS_OF_DIALLERS_MAX as usize);
        // Everybody else is answered meanwhile.
        let began = Instant::now();
        crest.json(&["status"]);
        crest.json(&["job", "list"]);
        crest.ok(&["channel", "verify", "main"]);
        assert!(began.elapsed() < Duration::from_secs(120), "{began:?}");
        endpoint.close().await;
    });
    let after_mib = crest.memory_mib();
    assert!(
        after_mib < memory_mib + WINDOW_MIB + 5 * u64::from(quic::STREAMS_OF_DIALLERS_MAX),
        "{memory_mib} MiB became {after_mib} MiB"
    );
}
