//! The wire's bytes. If the frozen test fails you changed the wire: add a version to the ledger and keep these readable.

use super::*;
use crate::health::{DiskSample, Judgement, Sample, Verdict};
use crate::id::{Arch, HostId, JobId, PackageName, VersionId};
use crate::model::cache::{CacheProgram, CacheSpec, CacheState};
use crate::model::measure::{Measures, PhaseTime};
use crate::model::proof::{Cause, Difference, Finding, Level};
use crate::model::say::{BuilderReport, Expectation, Glance, Repository, ToolSpec, Vitals};
use crate::model::{
    Artefact, ArtefactKind, Base, BasePart, BaseSeen, Blame, BlobRef, BuildOrder, Executor, Input,
    InputFrom, IsaLevel, OrderLimits, Outcome, ProfileSpec, StoodOn, Usage,
};
use crate::recipe::Toolchain;

const ATTEMPT: AttemptId = AttemptId {
    job: JobId(300),
    try_no: 2,
};

fn profile() -> ProfileSpec {
    ProfileSpec {
        name: "p".parse().unwrap(),
        arch: Arch::X86_64,
        level: IsaLevel::V3x,
        toolchain: Toolchain::Gnu,
        base: Base::Directory("/b".into()),
        executor: Executor::Native,
        channel: "main".parse().unwrap(),
    }
}

fn order() -> BuildOrder {
    let name: PackageName = "xz".parse().unwrap();
    BuildOrder {
        attempt: ATTEMPT,
        recipe: "nano".parse().unwrap(),
        version: "7.2".into(),
        release: 3,
        build_release: 1,
        profile: profile(),
        recipe_tar: BlobRef {
            sha256: Digest([0xaa; 32]),
            size: 10_240,
        },
        source_date_epoch: 1_700_000_000,
        jobs: None,
        inputs: vec![Input {
            name,
            sha256: Digest([0xbb; 32]),
            size: 5,
            from: InputFrom::Url("u".into()),
        }],
        limits: OrderLimits {
            phase_s: None,
            time_s: 1,
            silence_s: 2,
            log_bytes: 3,
            memory_bytes: Some(4),
        },
    }
}

fn hello() -> Hello {
    Hello {
        name: "crest".parse().unwrap(),
        version: "0.1.0".into(),
        clock: Stamp(-1),
    }
}

fn fault() -> Fault {
    Fault::new(Kind::Builder, "w").next("n")
}

fn built() -> Outcome {
    Outcome::Built {
        artefacts: vec![Artefact {
            name: "a".into(),
            kind: ArtefactKind::ManifestBin,
            blob: BlobRef {
                sha256: Digest([0xcc; 32]),
                size: 6,
            },
        }],
        usage: Usage {
            wall_ms: Some(7),
            ..Usage::default()
        },
    }
}

/// Every message once, in the order of the wire.
fn all() -> Vec<Say> {
    let why = Unwelcome::Revoked {
        by: "me".into(),
        at: Stamp(1),
    };
    let mut all = vec![
        Say::Hello(hello()),
        Say::HelloAck(HelloAck::Refused {
            why,
            clock: Stamp(2),
        }),
    ];
    all.extend(ring().into_iter().map(|say| Say::Ring {
        to: Role::Vessel,
        say: Box::new(say),
    }));
    all.extend([
        Say::Bye { why: "b".into() },
        Say::Fetch(Fetch {
            attempt: Some(ATTEMPT),
            sha256: Digest([0xee; 32]),
            from: 10,
        }),
        Say::FetchAck { bytes: 11 },
        Say::FetchRefused { fault: fault() },
        Say::Join(Join {
            hello: hello(),
            ticket: TicketId([1; 6]),
            covered: [2; 16],
        }),
        Say::JoinAck(JoinAck::Joined {
            hello: hello(),
            name: "east".parse().unwrap(),
            role: Role::Avalanche,
            trust: PeerTrust::Trusted,
            approved: true,
        }),
        Say::JoinAck(JoinAck::Refused {
            why: NoJoin::Ticket(NoEntry::Used),
            clock: Stamp(2),
        }),
        Say::Tail {
            attempt: ATTEMPT,
            from: 10,
        },
        Say::TailAck,
        Say::Admin,
        Say::Ping,
        Say::Pong,
        Say::Keys {
            rotations: vec![rotation()],
        },
        Say::KeysKept {
            key: HostId([0xaa; 32]),
        },
        Say::AskKeys,
        Say::Ring {
            to: Role::Vessel,
            say: Box::new(model::Say::Open {
                channel: "main".parse().unwrap(),
                arch: Arch::X86_64,
            }),
        },
        Say::Peers(Box::new(peers())),
        Say::Reached {
            addresses: vec!["a:1".into()],
        },
        Say::Follow {
            known: vec![("main".parse().unwrap(), VersionId(7))],
        },
        Say::Shelf(Box::new(shelf())),
    ]);
    all.extend(errands());
    all
}

fn errands() -> Vec<Say> {
    let channel: ChannelName = "main".parse().unwrap();
    let blob = BlobRef {
        sha256: Digest([0xcc; 32]),
        size: 6,
    };
    let by = crate::model::Who::Uid(5);
    let errands = [
        Errand::Import {
            channel: channel.clone(),
            files: vec![("a".into(), blob)],
            by: by.clone(),
        },
        Errand::RollBack {
            channel: channel.clone(),
            to: VersionId(4),
            by,
        },
        Errand::Verify { channel },
        Errand::Artefacts { attempt: ATTEMPT },
    ];
    let artefact = Artefact {
        name: "a".into(),
        kind: ArtefactKind::Stone,
        blob,
    };
    let done = [
        Done::Changed {
            version: VersionId(8),
            changed: 2,
            sources: vec!["nano".parse().unwrap()],
        },
        Done::Verified {
            versions: 1,
            packages: 2,
            bytes: 3,
            problems: vec!["p".into()],
        },
        Done::Artefacts(vec![artefact]),
        Done::Failed(fault()),
    ];
    let errands = errands.map(|errand| Say::Errand(Box::new(errand)));
    let done = done.map(|done| Say::ErrandDone(Box::new(done)));
    let mut all: Vec<Say> = errands.into_iter().chain(done).collect();
    all.push(Say::Serves {
        http: Some("c:3".into()),
    });
    all.push(Say::Noted {
        host: Some(HostId([0xdd; 32])),
        name: "l".into(),
        change: crate::model::PeerChange::Misbehaved,
        text: "t".into(),
    });
    let (from, until, clock) = (Stamp(1), Stamp(2), Stamp(3));
    all.push(Say::HelloAck(HelloAck::Refused {
        why: Unwelcome::OutOfTime { from, until },
        clock,
    }));
    all.push(Say::JoinAck(JoinAck::Refused {
        why: NoJoin::OutOfTime { from, until },
        clock,
    }));
    all
}

fn peers() -> PeerList {
    PeerList {
        number: 300,
        peers: vec![crate::net::peer_list::Listed {
            id: HostId([0xbb; 32]),
            name: "east".parse().unwrap(),
            role: Role::Avalanche,
            trust: PeerTrust::Test,
            addresses: vec!["b:2".into()],
            revoked: Some(("me".into(), Stamp(9))),
        }],
        key: vec![1],
        signature: vec![2],
    }
}

fn shelf() -> Shelf {
    Shelf {
        channel: "main".parse().unwrap(),
        arches: vec![Arch::X86_64],
        streams: [("s".to_string(), VersionId(1))].into(),
        tags: BTreeMap::new(),
        version: Version {
            id: VersionId(2),
            parent: Some(VersionId(1)),
            at: Stamp(3),
            cause: crate::channel::Cause::Created,
            changed: 1,
            packages: 1,
            index: Vec::new(),
        },
        fresh: true,
        edits: vec![Edit {
            arch: Arch::X86_64,
            name: "xz".parse().unwrap(),
            before: None,
            after: Some(Digest([0xcc; 32])),
        }],
        entries: vec![vec![4, 5]],
        whole: true,
    }
}

fn rotation() -> Rotation {
    Rotation {
        old: vec![1],
        new: vec![2, 3],
        at: Stamp(4),
        overlap_s: 300,
        by_old: vec![5],
        by_new: vec![6],
    }
}

fn report() -> BuilderReport {
    BuilderReport {
        name: "east".parse().unwrap(),
        arch: Arch::Aarch64,
        levels: vec![IsaLevel::Baseline],
        slot_cores: vec![4, 2],
        slots: vec![None, Some(ATTEMPT)],
        sample: Sample {
            disks: vec![DiskSample {
                path: "/".into(),
                free_bytes: Some(1),
                total_bytes: None,
                free_inodes: None,
                full_in_s: Some(1.0),
            }],
            memory_available_bytes: Some(2),
            memory_total_bytes: None,
            load_1: Some(0.5),
            cpu_pressure: None,
            memory_pressure: None,
            io_pressure: None,
        },
        judgement: Judgement {
            verdict: Verdict::Low,
            evidence: vec!["e".into()],
        },
        memory_bytes: Some(3),
        leaving: None,
    }
}

fn expectation() -> Expectation {
    Expectation {
        attempt: ATTEMPT,
        builder: HostId([0xdd; 32]),
        source: "nano".parse().unwrap(),
        version: "7.2".into(),
        release: 3,
        build_release: 1,
        arch: Arch::X86_64,
        channel: "main".parse().unwrap(),
    }
}

/// Everything that actors say to each other.
fn ring() -> Vec<model::Say> {
    use model::Say;
    let attempt = ATTEMPT;
    let Outcome::Built { artefacts, .. } = built() else {
        unreachable!()
    };
    let mut all = vec![
        Say::Build(Box::new(order())),
        Say::Cancel {
            attempt,
            why: "c".into(),
        },
        Say::Heard { attempt },
        Say::Expect(Box::new(expectation())),
        Say::Forget { attempt },
        Say::Report(Box::new(report())),
        Say::Accepted { attempt },
        Say::Refused {
            attempt,
            why: fault(),
        },
        Say::Renew {
            attempts: vec![attempt],
        },
        Say::Progress {
            attempt,
            stage: "build".into(),
            elapsed_s: 3,
            log_bytes: 4,
            doing: None,
        },
        Say::Ended {
            attempt,
            outcome: built(),
        },
        Say::Offer { attempt, artefacts },
        Say::Receipt { attempt },
        Say::Unexpected { attempt },
        Say::Published {
            attempt,
            channel: "main".parse().unwrap(),
            version: VersionId(9),
        },
        Say::Rejected {
            attempt,
            blame: Blame::Upstream,
            why: fault(),
        },
        Say::Terms { lease_ms: 30_000 },
        Say::Confined { means: "m".into() },
        Say::Shares {
            cores: 4,
            slot_memory_bytes: Some(5),
        },
        Say::Moved { attempt, bytes: 6 },
        Say::Cached { bytes: 7 },
        Say::Base {
            of: Base::Host,
            seen: Box::new(BaseSeen {
                system: "s".into(),
                parts: vec![BasePart {
                    name: "gcc".into(),
                    version: Some("1".into()),
                    digest: Digest([0xcc; 32]),
                }],
            }),
        },
        Say::StoodOn(StoodOn {
            attempt,
            base: Digest([0xdd; 32]),
        }),
    ];
    all.extend(proofs());
    all.extend(watched());
    all
}

/// What is said of builders and of what runs on them.
fn watched() -> [model::Say; 5] {
    use model::Say;
    let attempt = ATTEMPT;
    let glance = Glance {
        silent_ms: 1,
        idle_ms: 2,
        cpu_ms: 3,
        memory_bytes: 4,
        memory_peak_bytes: 5,
        disk_bytes: Some(6),
        processes: 7,
    };
    let vitals = Vitals {
        temperature_c: Some(1.0),
        disk_floor_bytes: 2,
        reclaimed_bytes: 3,
        parked: 4,
    };
    let cache = CacheState {
        profile: "p".parse().unwrap(),
        program: CacheProgram::Ccache,
        present: true,
        hits: 1,
        misses: 2,
        bytes: Some(3),
        bytes_max: 4,
    };
    let measures = Measures {
        attempt,
        usage: Usage::default(),
        phases: vec![PhaseTime {
            name: "build".into(),
            started_ms: 1,
            took_ms: 2,
            log_offset: 3,
        }],
        evidence: vec!["e".into()],
    };
    [
        Say::Measured(Box::new(measures)),
        Say::Glanced { attempt, glance },
        Say::Vitals(Box::new(vitals)),
        Say::Processor {
            features: vec!["avx2".into()],
        },
        Say::Caches {
            caches: vec![cache],
        },
    ]
}

/// What is said of comparisons and measurements, and of builds that need more than an order.
fn proofs() -> [model::Say; 8] {
    use model::Say;
    let attempt = ATTEMPT;
    let order = Box::new(order());
    let finding = Finding {
        level: Level::Files,
        artefacts: 2,
        same: 1,
        bytes: 3,
        differences: vec![Difference {
            artefact: "a".into(),
            path: Some("bin/a".into()),
            cause: Cause::Bit,
            published_bytes: Some(4),
            rebuilt_bytes: None,
            offset: Some(5),
            section: Some(".text".into()),
            text: "t".into(),
        }],
        unlisted: 6,
        causes: vec![(Cause::Bit, 7)],
        published: Digest([0xaa; 32]),
        rebuilt: Digest([0xbb; 32]),
    };
    let Outcome::Built { artefacts, .. } = built() else {
        unreachable!()
    };
    [
        Say::BuildWith {
            order: order.clone(),
            tool: Box::new(ToolSpec {
                repositories: vec![Repository {
                    name: "r".into(),
                    uri: "u".into(),
                    priority: -1,
                }],
            }),
        },
        Say::Open {
            channel: "main".parse().unwrap(),
            arch: Arch::X86_64,
        },
        Say::Examine {
            attempt,
            builder: HostId([0xdd; 32]),
            publication: ATTEMPT,
        },
        Say::Examined {
            attempt,
            finding: Box::new(finding),
            evidence: artefacts,
        },
        Say::Measure {
            order: order.clone(),
            levels: vec![IsaLevel::Baseline, IsaLevel::V3x],
            runs: 5,
        },
        Say::BuildCached {
            order,
            cache: CacheSpec {
                program: CacheProgram::Ccache,
                trust: PeerTrust::Trusted,
                bytes_max: 6,
            },
        },
        Say::Stage(Box::new(expectation())),
        Say::Staged { attempt },
    ]
}

#[test]
fn massif_1_bytes_are_frozen() {
    let repeat = |byte: &str| byte.repeat(32);
    let frozen: Vec<String> = include_str!("wire_1.txt")
        .lines()
        .map(str::to_string)
        .collect();
    let bytes: Vec<String> = all()
        .into_iter()
        .map(|say| {
            let bytes = encode(&Envelope { seq: 1, say }).unwrap();
            let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            ["aa", "bb", "cc", "dd", "ee"]
                .iter()
                .fold(text, |text, byte| {
                    text.replace(&repeat(byte), &format!("[32x{byte}]"))
                })
        })
        .collect();
    assert_eq!(bytes, frozen, "\n{}\n", bytes.join("\n"));
}

#[test]
fn every_message_reads_back_and_no_cut_or_longer_one_does() {
    for (at, say) in all().into_iter().enumerate() {
        let envelope = Envelope {
            seq: at as u64,
            say,
        };
        let bytes = encode(&envelope).unwrap();
        assert_eq!(decode(&bytes[4..]).unwrap(), envelope);
        for end in 4..bytes.len() {
            assert!(decode(&bytes[4..end]).is_err(), "{envelope:?} cut at {end}");
        }
        let mut longer = bytes[4..].to_vec();
        longer.push(0);
        assert!(decode(&longer).is_err());
    }
}

#[tokio::test]
async fn a_stream_of_envelopes_ends_cleanly_or_says_how_it_is_broken() {
    let envelope = Envelope {
        seq: 1,
        say: Say::FetchAck { bytes: 300 },
    };
    let bytes = encode(&envelope).unwrap();
    let twice = [bytes.clone(), bytes.clone()].concat();
    let mut from = &twice[..];
    assert_eq!(read(&mut from, 100).await.unwrap(), Some(envelope.clone()));
    assert_eq!(read(&mut from, 100).await.unwrap(), Some(envelope));
    assert_eq!(read(&mut from, 100).await.unwrap(), None);
    for broken in [
        &[1, 0][..],
        &[255, 255, 255, 255, 1],
        &[200, 0, 0, 0],
        &[5, 0, 0, 0, 1],
    ] {
        assert!(read(&mut &*broken, 100).await.is_err(), "{broken:?}");
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(0u8.., 0..300)) {
        if let Ok(envelope) = decode(&bytes) {
            // Varints may be written longer than needed, so only the value is compared.
            let again = encode(&envelope).unwrap();
            proptest::prop_assert_eq!(decode(&again[4..]).unwrap(), envelope);
        }
    }
}
