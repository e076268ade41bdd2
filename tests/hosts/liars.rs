//! Builders that take orders as an honest one would, and lie about what came out.

use std::sync::Arc;
use std::time::Duration;

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
use super::rig::{Node, Place};
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
}

fn blob(bytes: &[u8]) -> BlobRef {
    BlobRef {
        sha256: Digest(Sha256::digest(bytes).into()),
        size: bytes.len() as u64,
    }
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

async fn tell(link: &mut Link, to: Role, say: Say) {
    link.control().say(ring(to, say)).await.unwrap();
}

/// Waits for an order and takes it.
async fn ordered(link: &mut Link) -> BuildOrder {
    tell(link, Role::Summit, report(None)).await;
    let waited = tokio::time::timeout(Duration::from_secs(120), async {
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
                        send.write_all(&lie.sent[from..]).await.ok();
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
            let artefacts = vec![Artefact {
                name: format!("{recipe}-1.1-1-1-x86_64.stone"),
                kind: ArtefactKind::Stone,
                blob: blob(&lie.claimed),
            }];
            let outcome = Outcome::Built {
                artefacts: artefacts.clone(),
                usage: Usage::default(),
            };
            tell(&mut liar, Role::Summit, Say::Ended { attempt, outcome }).await;
            tell(&mut liar, Role::Vessel, Say::Offer { attempt, artefacts }).await;
        }
        crest.until_event("peer_misbehaved", words);
        let mut events = crest.events("peer_misbehaved").into_iter();
        let key = format!("key {}", endpoint.id().short());
        assert!(events.all(|event| event["actor"] == key.as_str()), "{key}");
        endpoint.close().await;
    });
    let published = crest.json(&["package", "list"]);
    let mut names = published.as_array().unwrap().iter();
    assert!(
        !names.any(|package| package["name"] == recipe),
        "{published:#}"
    );
    crest.json(&["status"]);
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
    let mut honest = place.builder(&crest, "honest", &[]);
    let mut repo = Repo::new();
    add(&mut repo, "other", "");
    repo.commit("Add the other");
    crest.ok(&["project", "add", "test", &repo.url()]);
    crest.published("other");
    crest.until(&["peer", "show", "honest"], |peer| {
        peer["link"]["up"] == true
    });
    let out = crest.dir.with_file_name("out");
    crest.ok(&["job", "artefacts", "other", "--out", out.to_str().unwrap()]);
    let stone = std::fs::read_dir(&out)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|is| is == "stone"));
    let bytes = std::fs::read(stone.expect("a stone")).unwrap();
    crest.ok(&["peer", "revoke", "honest"]);
    honest.kill();
    let lie = Lie {
        claimed: bytes.clone(),
        sent: bytes,
        ..Lie::default()
    };
    lies(&crest, lie, "alpha", "has source other");
}

#[test]
fn a_log_without_end_is_cut_at_what_the_order_allows() {
    let place = Place::new();
    let mut crest = place.host("crest");
    std::fs::create_dir_all(&crest.dir).unwrap();
    let config = "[[profile]]\nname = \"small\"\nlog_bytes_max = 65536\n";
    std::fs::write(crest.dir.join("massif.toml"), config).unwrap();
    let listen = format!("127.0.0.1:{}", super::rig::free_port());
    let words = [
        "serve",
        "--slots",
        "0",
        "--listen",
        &listen,
        "--http",
        "127.0.0.1:0",
        "--poll",
        "1s",
    ];
    crest.arguments = words.map(str::to_string).to_vec();
    crest.up();
    let lie = Lie {
        endless_log: true,
        ..Lie::default()
    };
    lies(&crest, lie, "alpha", "sends a log without end");
    let logs = std::fs::read_dir(crest.dir.join("logs")).unwrap().flatten();
    let longest = logs.map(|entry| entry.metadata().unwrap().len()).max();
    assert!(longest.unwrap_or(0) < 3 << 20, "{longest:?}");
}
