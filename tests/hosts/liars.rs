//! Builders that take orders as an honest one would, and lie about what came out.

use std::collections::BTreeSet;
use std::sync::Arc;

use massif::health::{DiskSample, Judgement, Sample, Verdict};
use massif::id::{Arch, AttemptId, Digest};
use massif::model::say::BuilderReport;
use massif::model::{
    Artefact, ArtefactKind, BlobRef, BuildOrder, IsaLevel, Outcome, Role, Say, Usage,
};
use massif::net::quic::Link;
use massif::net::{transfer, wire};
use sha2::{Digest as _, Sha256};

use super::building::add;
use super::lying::{endpoint, joined, line, link, ring, runtime};
use super::rig::{Node, PATIENCE, Place};
use crate::common::repo::Repo;

/// What a liar offers, and what it sends when that is fetched.
#[derive(Clone, Default)]
struct Lie {
    claimed: Vec<u8>,
    sent: Vec<u8>,
    /// What is sent never ends.
    endless: bool,
    /// The log never ends.
    endless_log: bool,
    /// What is sent stops there, and its link stands.
    stops_at: Option<usize>,
}

fn blob(bytes: &[u8]) -> BlobRef {
    BlobRef {
        sha256: Digest(Sha256::digest(bytes).into()),
        size: bytes.len() as u64,
    }
}

/// A report of a well builder without work, and so many bytes of evidence.
pub fn report_with(bytes: usize) -> Say {
    let Say::Report(mut report) = report(None) else {
        unreachable!()
    };
    report.judgement.evidence = vec!["x".repeat(bytes)];
    Say::Report(report)
}

fn report(busy: Option<AttemptId>) -> Say {
    Say::Report(Box::new(BuilderReport {
        name: "liar".parse().unwrap(),
        arch: Arch::OF_THIS_PROGRAM,
        levels: vec![IsaLevel::Baseline],
        slot_cores: vec![1],
        slots: vec![busy],
        memory_bytes: Some(8 << 30),
        sample: Sample {
            disks: vec![DiskSample {
                path: "/".into(),
                free_bytes: Some(100 << 30),
                total_bytes: Some(200 << 30),
                free_inodes: Some(1_000_000),
                full_in_s: None,
            }],
            memory_available_bytes: Some(8 << 30),
            memory_total_bytes: Some(8 << 30),
            ..Sample::default()
        },
        judgement: Judgement {
            verdict: Verdict::Fit,
            evidence: Vec::new(),
        },
        leaving: None,
    }))
}

pub async fn tell(link: &mut Link, to: Role, say: Say) {
    link.control().say(ring(to, say)).await.unwrap();
}

/// Waits for an order and takes it.
pub async fn ordered(link: &mut Link) -> BuildOrder {
    tell(link, Role::Summit, report(None)).await;
    let waited = tokio::time::timeout(PATIENCE, async {
        loop {
            let heard = link.control().hear().await.unwrap().expect("a link");
            if let wire::Say::Ring { say, .. } = heard
                && let Say::Build(order) = *say
            {
                return *order;
            }
        }
    });
    let order = waited.await.expect("an order");
    let attempt = order.attempt;
    tell(link, Role::Summit, Say::Accepted { attempt }).await;
    tell(link, Role::Summit, report(Some(attempt))).await;
    order
}

/// Answers what the farm asks of this builder with lies.
fn serve(link: &Link, lie: Lie) {
    let connection = link.connection.clone();
    let lie = Arc::new(lie);
    tokio::spawn(async move {
        while let Ok((mut send, mut receive)) = connection.accept_bi().await {
            let lie = Arc::clone(&lie);
            tokio::spawn(async move {
                let noise = vec![b'x'; 64 * 1024];
                match transfer::hear(&mut receive).await {
                    Ok(wire::Say::Fetch(wish)) => {
                        let bytes = lie.sent.len() as u64;
                        let ack = wire::Say::FetchAck { bytes };
                        transfer::say(&mut send, ack).await.ok();
                        let from = usize::try_from(wish.from).unwrap().min(lie.sent.len());
                        let until = lie.stops_at.unwrap_or(lie.sent.len());
                        send.write_all(&lie.sent[from.min(until)..until]).await.ok();
                        if lie.stops_at.is_some() {
                            send.stopped().await.ok();
                        }
                        while lie.endless && send.write_all(&noise).await.is_ok() {}
                    }
                    Ok(wire::Say::Tail { .. }) => {
                        transfer::say(&mut send, wire::Say::TailAck).await.ok();
                        while lie.endless_log && send.write_all(&noise).await.is_ok() {}
                    }
                    _ => {}
                }
                send.finish().ok();
            });
        }
    });
}

/// A farm whose only builder lies like this about one recipe; the words that its end and the audit trail must have.
fn told(lie: Lie, words: &str) {
    let place = Place::new();
    let crest = place.summit("30s");
    lies(&crest, lie, "alpha", words);
}

fn lies(crest: &Node, lie: Lie, recipe: &str, words: &str) {
    let memory_mib = crest.memory_mib();
    let line = line(crest, "liar", &[]);
    let mut repo = Repo::new();
    add(&mut repo, recipe, "");
    repo.commit("Add it");
    let dir = tempfile::tempdir().unwrap();
    crest.ok(&["project", "add", "lied-about", &repo.url()]);
    runtime().block_on(async {
        let endpoint = endpoint(dir.path());
        joined(&endpoint, &line).await;
        let mut liar = link(&endpoint, &line).await;
        serve(&liar, lie.clone());
        let order = ordered(&mut liar).await;
        assert_eq!(order.recipe.as_str(), recipe);
        let attempt = order.attempt;
        if !lie.endless_log {
            offer(&mut liar, attempt, &lie).await;
        }
        // Bytes that are no good may be a bad disk; a log without end breaks a rule.
        let kind = match lie.endless_log {
            true => "peer_misbehaved",
            false => "peer_not_taken",
        };
        crest.until_event(kind, words);
        let events = crest.events(kind).into_iter();
        let key = format!("(key {})", endpoint.id().short());
        let mut actors = events.map(|event| event["actor"].to_string());
        assert!(actors.all(|actor| actor.contains(&key)), "{key}");
        endpoint.close().await;
    });
    let published = crest.json(&["package", "list"]);
    let mut names = published.as_array().unwrap().iter();
    assert!(
        !names.any(|package| package["name"] == recipe && package["source"] == recipe),
        "{published:#}"
    );
    crest.json(&["status"]);
    let after_mib = crest.memory_mib();
    assert!(
        after_mib < memory_mib + 64,
        "{memory_mib} MiB became {after_mib} MiB"
    );
}

/// A package that an honest builder made of this recipe, which is gone by now.
fn honest_stone(place: &Place, crest: &Node, recipe: &str) -> Vec<u8> {
    let mut honest = place.builder(crest, "honest", &[]);
    let mut repo = Repo::new();
    add(&mut repo, recipe, "");
    repo.commit("Add the other");
    crest.ok(&["project", "add", "test", &repo.url()]);
    crest.published(recipe);
    let out = crest.dir.with_file_name("out");
    crest.ok(&["job", "artefacts", recipe, "--out", out.to_str().unwrap()]);
    let stone = super::third::stone_in(&out);
    crest.ok(&["peer", "revoke", "honest"]);
    honest.kill();
    super::rig::bytes(&stone)
}

#[test]
fn a_file_with_another_hash_than_reported_is_not_published() {
    let lie = Lie {
        claimed: b"one thing".to_vec(),
        sent: b"an other!".to_vec(),
        ..Lie::default()
    };
    told(lie, "reported were 9 with");
}

#[test]
fn a_file_of_another_size_than_reported_is_not_published() {
    let lie = Lie {
        claimed: vec![7; 3_000],
        sent: vec![7; 2_000],
        ..Lie::default()
    };
    told(lie, "has 2000 bytes");
}

#[test]
fn a_file_without_end_is_left_at_its_reported_size() {
    let lie = Lie {
        claimed: vec![7; 100_000],
        sent: vec![7; 100_000],
        endless: true,
        ..Lie::default()
    };
    told(lie, "has 100001 bytes");
}

#[test]
fn a_file_that_stands_still_while_its_link_is_up_is_given_up() {
    let lie = Lie {
        claimed: vec![7; 100_000],
        sent: vec![7; 100_000],
        stops_at: Some(60_000),
        ..Lie::default()
    };
    told(lie, "after 60000 of its 100000 bytes");
}

#[test]
fn what_is_no_package_is_not_published_as_one() {
    let lie = Lie {
        claimed: vec![7; 5_000],
        sent: vec![7; 5_000],
        ..Lie::default()
    };
    told(lie, "cannot be published");
}

#[test]
fn a_package_of_another_source_is_not_published_for_this_one() {
    let place = Place::new();
    let crest = place.summit("30s");
    let bytes = honest_stone(&place, &crest, "other");
    let lie = Lie {
        claimed: bytes.clone(),
        sent: bytes,
        ..Lie::default()
    };
    lies(&crest, lie, "alpha", "has source other");
}

#[test]
fn a_package_of_an_earlier_release_is_not_published_for_this_one() {
    let place = Place::new();
    let crest = place.summit("30s");
    // A build of the same recipe, as another farm would make it: its build release is not what this order asks for.
    let bytes = honest_stone(&place, &crest, "alpha");
    crest.ok(&["project", "remove", "test"]);
    let lie = Lie {
        claimed: bytes.clone(),
        sent: bytes,
        ..Lie::default()
    };
    let line = line(&crest, "liar", &[]);
    let mut repo = Repo::new();
    repo.write(
        "a/alpha/stone.yaml",
        crate::ring::script_recipe("alpha", 2, ""),
    );
    repo.commit("Raise it");
    crest.ok(&["project", "add", "lied-about", &repo.url()]);
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let endpoint = endpoint(dir.path());
        joined(&endpoint, &line).await;
        let mut liar = link(&endpoint, &line).await;
        serve(&liar, lie.clone());
        let order = ordered(&mut liar).await;
        assert_eq!(order.release, 2);
        offer(&mut liar, order.attempt, &lie).await;
        crest.until_event("peer_not_taken", "has version 1.1, attempt");
        endpoint.close().await;
    });
    let published = crest.json(&["package", "list"]);
    assert_eq!(published[0]["release"], 1, "{published:#}");
}

async fn offer(liar: &mut Link, attempt: AttemptId, lie: &Lie) {
    let artefacts = vec![Artefact {
        name: "alpha-1.1-1-1-x86_64.stone".into(),
        kind: ArtefactKind::Stone,
        blob: blob(&lie.claimed),
    }];
    let outcome = Outcome::Built {
        artefacts: artefacts.clone(),
        usage: Usage::default(),
    };
    tell(liar, Role::Summit, Say::Ended { attempt, outcome }).await;
    tell(liar, Role::Vessel, Say::Offer { attempt, artefacts }).await;
}

#[test]
fn a_builder_whose_bytes_are_refused_again_and_again_is_quarantined_and_keeps_its_link() {
    let place = Place::new();
    let crest = place.summit("30s");
    honest_stone(&place, &crest, "good");
    let mut repo = Repo::new();
    for name in ["alpha", "beta", "gamma"] {
        add(&mut repo, name, "");
    }
    repo.commit("Add some");
    let line = line(&crest, "rotten", &[]);
    let lie = Lie {
        claimed: b"one thing".to_vec(),
        sent: b"an other!".to_vec(),
        ..Lie::default()
    };
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let endpoint = endpoint(dir.path());
        joined(&endpoint, &line).await;
        let mut rotten = link(&endpoint, &line).await;
        serve(&rotten, lie.clone());
        crest.ok(&["project", "add", "again", &repo.url()]);
        // Who is slow gets one of them twice.
        let mut refused = BTreeSet::new();
        while refused.len() < 3 {
            let order = ordered(&mut rotten).await;
            offer(&mut rotten, order.attempt, &lie).await;
            refused.insert(order.recipe);
        }
        crest.until(&["builder", "list"], |all| {
            let mut all = all.as_array().unwrap().iter();
            all.any(|one| one["name"] == "rotten" && one["verdict"] == "quarantined")
        });
        let peer = crest.json(&["peer", "show", "rotten"]);
        assert_eq!(peer["link"]["up"], true, "{peer:#}");
        assert!(rotten.connection.close_reason().is_none());
        endpoint.close().await;
    });
    assert_eq!(crest.events("peer_misbehaved").len(), 0);
    assert!(crest.events("peer_not_taken").len() >= 3);
}

#[test]
fn a_log_without_end_is_cut_at_what_the_order_allows() {
    let place = Place::new();
    let dir = place.host("crest").dir.clone();
    std::fs::create_dir_all(&dir).unwrap();
    let config = "[[profile]]\nname = \"small\"\nlog_bytes_max = 65536\n";
    std::fs::write(dir.join("massif.toml"), config).unwrap();
    let crest = place.deciding(&["serve", "--slots", "0"], "30s");
    let lie = Lie {
        endless_log: true,
        ..Lie::default()
    };
    lies(&crest, lie, "alpha", "sends a log without end");
    let logs = std::fs::read_dir(crest.dir.join("logs")).unwrap().flatten();
    let longest = logs.map(|entry| entry.metadata().unwrap().len()).max();
    assert!(longest.unwrap_or(0) < 3 << 20, "{longest:?}");
}
