//! Peers that lie: clients made of the program's own wire types, and of raw QUIC where those are too polite.

use std::path::Path;
use std::time::{Duration, Instant};

use massif::id::{AttemptId, Digest, HostId, JobId, Stamp};
use massif::model::{ArtefactKind, BlobRef, Outcome, Role, Say, Usage};
use massif::net::card::TicketLine;
use massif::net::identity::Identity;
use massif::net::quic::{Endpoint, Link};
use massif::net::transfer;
use massif::net::wire::{self, Fetch, Hello, Unwelcome};

use super::rig::{Node, PATIENCE, Place};
use crate::common::host::GATE;

/// A host that dials and lets nobody in.
pub fn endpoint(dir: &Path) -> Endpoint {
    endpoint_for(dir, false)
}

/// A host that lets everybody in, or nobody.
pub fn endpoint_for(dir: &Path, everybody: bool) -> Endpoint {
    endpoint_late(dir, everybody, 3_600)
}

/// The same with a clock that is so many seconds late.
pub fn endpoint_late(dir: &Path, everybody: bool, late_s: i64) -> Endpoint {
    let identity = Identity::open(&dir.join("keys")).unwrap();
    let hello = move || Hello {
        name: "liar".parse().unwrap(),
        version: "0.1.0".into(),
        clock: Stamp(now_ms() - late_s * 1_000),
    };
    let judge = move |_: &HostId| match everybody {
        true => Ok(()),
        false => Err(Unwelcome::UnknownKey),
    };
    Endpoint::bind(identity, ([127, 0, 0, 1], 0).into(), hello, judge).unwrap()
}

pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.unwrap().as_millis()).unwrap()
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

pub fn line(crest: &Node, name: &str, more: &[&str]) -> TicketLine {
    crest.invite("avalanche", name, more).parse().unwrap()
}

fn address(line: &TicketLine) -> std::net::SocketAddr {
    line.addresses[0].parse().unwrap()
}

pub async fn joined(endpoint: &Endpoint, line: &TicketLine) {
    endpoint
        .join(address(line), line.pin, line.ticket, line.secret)
        .await
        .unwrap();
}

pub async fn link(endpoint: &Endpoint, line: &TicketLine) -> Link {
    endpoint.connect(address(line), line.pin).await.unwrap()
}

fn attempt(job: u64) -> AttemptId {
    AttemptId {
        job: JobId(job),
        try_no: 1,
    }
}

pub fn ring(to: Role, say: Say) -> wire::Say {
    wire::Say::Ring {
        to,
        say: Box::new(say),
    }
}

/// The host is well: it answers, and nobody made it take much more memory than it had.
fn is_well(crest: &Node, before_mib: u64) {
    crest.json(&["status"]);
    let after_mib = crest.memory_mib();
    assert!(
        after_mib < before_mib + 64,
        "{before_mib} MiB became {after_mib} MiB"
    );
}

#[test]
fn a_ticket_that_is_tried_in_parallel_lets_one_in() {
    let place = Place::new();
    let crest = place.summit("30s");
    let line = line(&crest, "one", &[]);
    let dirs: Vec<_> = (0..8).map(|_| tempfile::tempdir().unwrap()).collect();
    let won = runtime().block_on(async {
        let mut all = Vec::new();
        for dir in &dirs {
            let endpoint = endpoint(dir.path());
            let line = line.clone();
            all.push(tokio::spawn(async move {
                endpoint
                    .join(address(&line), line.pin, line.ticket, line.secret)
                    .await
                    .is_ok()
            }));
        }
        let mut won = 0;
        for one in all {
            won += usize::from(one.await.unwrap());
        }
        won
    });
    assert_eq!(won, 1);
    assert_eq!(crest.json(&["peer", "list"]).as_array().unwrap().len(), 1);
    // Each of the others is in the audit trail with its key.
    crest.wait("the refusals", || crest.events("peer_refused").len() == 7);
    let refused = crest.events("peer_refused").into_iter();
    let keys: std::collections::BTreeSet<String> = refused
        .inspect(|event| assert!(event["text"].to_string().contains("used already")))
        .map(|event| event["actor"].to_string())
        .collect();
    assert_eq!(keys.len(), 7, "{keys:?}");
    assert!(keys.iter().all(|key| key.contains("key ")), "{keys:?}");
}

#[test]
fn a_builder_speaks_of_its_own_attempts_and_in_its_own_role_only() {
    let place = Place::new();
    let crest = place.summit("30s");
    let honest = place.builder(&crest, "honest", &[]);
    let mut repo = crate::common::repo::Repo::new();
    repo.write(
        "a/alpha/stone.yaml",
        crate::ring::script_recipe("alpha", 1, GATE),
    );
    repo.commit("Add alpha");
    crest.ok(&["project", "add", "test", &repo.url()]);
    crest.building("alpha", "build");
    let line = line(&crest, "liar", &[]);
    let dir = tempfile::tempdir().unwrap();
    let theirs = attempt(1);
    let artefacts = vec![massif::model::Artefact {
        name: "../../etc/passwd".into(),
        kind: ArtefactKind::Stone,
        blob: BlobRef {
            sha256: Digest([1; 32]),
            size: 1,
        },
    }];
    let outcome = Outcome::Built {
        artefacts: artefacts.clone(),
        usage: Usage::default(),
    };
    runtime().block_on(async {
        let endpoint = endpoint(dir.path());
        joined(&endpoint, &line).await;
        let mut liar = link(&endpoint, &line).await;
        let lies = [
            ring(Role::Summit, Say::Accepted { attempt: theirs }),
            ring(
                Role::Summit,
                Say::Ended {
                    attempt: theirs,
                    outcome,
                },
            ),
            ring(
                Role::Vessel,
                Say::Offer {
                    attempt: theirs,
                    artefacts,
                },
            ),
            ring(
                Role::Summit,
                Say::Published {
                    attempt: theirs,
                    channel: "main".parse().unwrap(),
                    version: massif::id::VersionId(9),
                },
            ),
            ring(Role::Avalanche, Say::Receipt { attempt: theirs }),
            ring(Role::Operator, Say::Heard { attempt: theirs }),
        ];
        for lie in lies {
            liar.control().say(lie).await.unwrap();
        }
        // An attempt that nobody knows is answered with a cancel.
        let unknown = Say::Ended {
            attempt: attempt(77),
            outcome: Outcome::Cancelled,
        };
        liar.control()
            .say(ring(Role::Summit, unknown))
            .await
            .unwrap();
        let cancelled = tokio::time::timeout(PATIENCE, async {
            while let Some(heard) = liar.control().hear().await.unwrap() {
                if let wire::Say::Ring { say, .. } = heard
                    && matches!(*say, Say::Cancel { attempt: gone, .. } if gone == attempt(77))
                {
                    return;
                }
            }
            panic!("the link ended");
        });
        cancelled.await.unwrap();
        // Files that no order to it names, logs, and the admin interface.
        for wish in [
            wire::Say::Fetch(Fetch {
                attempt: Some(theirs),
                sha256: Digest([2; 32]),
                from: 0,
            }),
            wire::Say::Fetch(Fetch {
                attempt: None,
                sha256: Digest([2; 32]),
                from: u64::MAX,
            }),
            wire::Say::Tail {
                attempt: theirs,
                from: 0,
            },
            wire::Say::Admin,
        ] {
            let (mut send, mut receive) = liar.connection.open_bi().await.unwrap();
            transfer::say(&mut send, wish.clone()).await.unwrap();
            let answer = transfer::hear(&mut receive).await.unwrap();
            assert!(
                matches!(answer, wire::Say::FetchRefused { .. }),
                "{wish:?}: {answer:?}"
            );
        }
        endpoint.close().await;
    });
    crest.until_event("peer_misbehaved", "which is another builder's");
    crest.until_event("peer_misbehaved", "its role may not say that");
    crest.until_event("peer_misbehaved", "may not ask");
    let events = crest.events("peer_misbehaved");
    assert!(
        events
            .iter()
            .all(|event| event["actor"].as_str().unwrap().contains("(key "))
    );
    honest.open_gate(&theirs.to_string());
    let job = crest.published("alpha");
    assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job:#}");
    assert_eq!(job["attempts"][0]["builder"], "honest");
}

#[test]
fn garbage_half_frames_and_frames_of_4_gib_end_their_link_and_nothing_else() {
    let place = Place::new();
    let crest = place.summit("30s");
    let line = line(&crest, "noise", &[]);
    let memory_mib = crest.memory_mib();
    let dir = tempfile::tempdir().unwrap();
    let mut dice = super::relay::Dice(42);
    let mut random = |len: usize| -> Vec<u8> { (0..len).map(|_| dice.roll(256) as u8).collect() };
    let mut noises = vec![
        vec![0xff, 0xff, 0xff, 0xff, 1, 2, 3],
        vec![0, 0],
        vec![4, 0, 0, 0, 9],
        vec![0, 0, 0, 0],
        // A small envelope that promises a vector of 2^60 items.
        vec![
            14, 0, 0, 0, 1, 2, 0, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f, 0,
        ],
    ];
    for len in [1, 5, 64, 4_000] {
        noises.push(random(len));
    }
    runtime().block_on(async {
        let endpoint = endpoint(dir.path());
        joined(&endpoint, &line).await;
        for noise in &noises {
            // Where a control message is due.
            let liar = link(&endpoint, &line).await;
            let connection = liar.connection.clone();
            let (_, _, mut speaker, _) = liar.split();
            speaker.raw(noise).await.unwrap();
            speaker.end().await;
            let ended = tokio::time::timeout(PATIENCE, connection.closed()).await;
            assert!(ended.is_ok(), "{noise:?} is borne");
            // Where a wish is due.
            let liar = link(&endpoint, &line).await;
            let (mut send, _receive) = liar.connection.open_bi().await.unwrap();
            send.write_all(noise).await.unwrap();
            send.finish().unwrap();
            drop(liar);
        }
        endpoint.close().await;
    });
    is_well(&crest, memory_mib);
    crest.until_event("peer_misbehaved", "broke the protocol");
    let events = crest.events("peer_misbehaved");
    let key = format!(
        "(key {})",
        crest.json(&["peer", "show", "noise"])["id"]
            .as_str()
            .unwrap()
            .get(..12)
            .unwrap()
    );
    assert!(
        events
            .iter()
            .all(|event| event["actor"].to_string().contains(&key)),
        "{key}: {events:#?}"
    );
}

#[test]
fn strangers_with_unknown_keys_cost_a_line_in_the_audit_trail() {
    let place = Place::new();
    let crest = place.summit("30s");
    let line = line(&crest, "nobody", &[]);
    let memory_mib = crest.memory_mib();
    let dir = tempfile::tempdir().unwrap();
    let id = runtime().block_on(async {
        let endpoint = endpoint(dir.path());
        for _ in 0..3 {
            let refused = endpoint.connect(address(&line), line.pin).await;
            let fault = refused.err().unwrap();
            assert!(
                fault.what.contains("does not know this host's key"),
                "{fault}"
            );
            assert!(
                fault.causes.iter().any(|cause| (3_599..3_660)
                    .any(|apart_s| cause.contains(&format!("{apart_s} s apart")))),
                "{fault:?}"
            );
        }
        endpoint.id()
    });
    crest.until_event("peer_refused", "is not known here");
    let events = crest.events("peer_refused");
    assert_eq!(events[0]["actor"], format!("key {}", id.short()));
    is_well(&crest, memory_mib);
}

#[test]
fn a_certificate_that_ran_out_is_refused_by_its_key_with_the_distance_of_the_clocks() {
    let place = Place::new();
    let crest = place.summit("30s");
    let line = line(&crest, "old", &[]);
    let dir = tempfile::tempdir().unwrap();
    let id = runtime().block_on(async {
        let endpoint = endpoint(dir.path());
        joined(&endpoint, &line).await;
        endpoint.close().await;
        // Its clock stood still for 31 days, and it does not look at ours.
        let late = endpoint_late(dir.path(), false, 31 * 86_400);
        let refused = late.connect(address(&line), line.pin).await;
        let fault = refused.err().unwrap();
        assert!(
            fault.what.contains("its clock and this one are 26784"),
            "{fault}"
        );
        let refused = late.join(address(&line), line.pin, line.ticket, line.secret);
        let fault = refused.await.err().unwrap();
        assert!(
            fault.what.contains("this host's certificate is good from"),
            "{fault}"
        );
        late.id()
    });
    // The same of the same key is one line.
    crest.wait("a refusal", || crest.events("peer_refused").len() == 1);
    for event in crest.events("peer_refused") {
        assert_eq!(event["actor"], format!("old (key {})", id.short()));
        let text = event["text"].as_str().unwrap();
        assert!(
            text.contains("its certificate is out of its time"),
            "{text}"
        );
    }
    let tickets = crest.json(&["invite", "--list"]);
    assert_eq!(
        (&tickets[0]["used"], &tickets[0]["wrong"]),
        (&1.into(), &0.into())
    );
}

#[test]
fn a_revoked_key_is_cut_off_within_a_second_and_refused_from_then_on() {
    let place = Place::new();
    let crest = place.summit("30s");
    let mut took = Vec::new();
    for name in ["gone", "lost", "away"] {
        let line = line(&crest, name, &[]);
        let dir = tempfile::tempdir().unwrap();
        took.push(runtime().block_on(async {
            let endpoint = endpoint(dir.path());
            joined(&endpoint, &line).await;
            let link = link(&endpoint, &line).await;
            crest.ok(&["peer", "revoke", name]);
            let began = Instant::now();
            let cut = tokio::time::timeout(PATIENCE, link.connection.closed()).await;
            let took = began.elapsed();
            let why = cut.expect("it is still there").to_string();
            assert!(why.contains("its key was revoked by uid"), "{why}");
            endpoint.close().await;
            took
        }));
        refused(
            dir.path(),
            crest.port,
            line.pin,
            "its key was revoked by uid",
        );
    }
    // A busy machine may stand still once.
    assert!(
        took.iter().min() < Some(&Duration::from_secs(1)),
        "{took:?}"
    );
    crest.until_event("peer_refused", "its key was revoked");
}

#[test]
fn two_hosts_with_one_key_do_not_undo_each_other() {
    let place = Place::new();
    let crest = place.summit("30s");
    let east = place.builder(&crest, "east", &[]);
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("keys")).unwrap();
    use std::os::unix::fs::PermissionsExt;
    let closed = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(copy.path().join("keys"), closed).unwrap();
    std::fs::copy(
        east.dir.join("keys/host.key"),
        copy.path().join("keys/host.key"),
    )
    .unwrap();
    let status = crest.json(&["status"]);
    let pin: HostId = status["host"]["id"].as_str().unwrap().parse().unwrap();
    runtime().block_on(async {
        let endpoint = endpoint(copy.path());
        let to = ([127, 0, 0, 1], crest.port).into();
        if let Ok(twin) = endpoint.connect(to, pin).await {
            let ended = tokio::time::timeout(PATIENCE, twin.connection.closed());
            let why = ended.await.unwrap().to_string();
            assert!(why.contains("same key"), "{why}");
        }
    });
    crest.until_event("peer_misbehaved", "has the same key");
    for event in crest.events("peer_misbehaved") {
        assert!(
            event["actor"].to_string().contains("east (key "),
            "{event:#}"
        );
    }
    let link = crest.json(&["peer", "show", "east"])["link"].clone();
    assert_eq!(
        (&link["up"], &link["reconnects"]),
        (&true.into(), &0.into()),
        "{link:#}"
    );
}

/// Waits until whoever has the key of this directory is refused with these words.
pub fn until_refused(crest: &Node, dir: &Path, pin: HostId, words: &str) {
    crest.wait(words, || {
        runtime().block_on(async {
            let endpoint = endpoint(dir);
            let tried = endpoint.connect(([127, 0, 0, 1], crest.port).into(), pin);
            let is_refused = matches!(tried.await, Err(fault) if fault.what.contains(words));
            endpoint.close().await;
            is_refused
        })
    });
}

/// Whoever has the key of this directory is refused with these words.
pub fn refused(dir: &Path, port: u16, pin: HostId, words: &str) {
    runtime().block_on(async {
        let endpoint = endpoint(dir);
        let refused = endpoint.connect(([127, 0, 0, 1], port).into(), pin).await;
        let fault = refused.err().expect("it was let in");
        assert!(fault.what.contains(words), "{fault}");
    });
}
