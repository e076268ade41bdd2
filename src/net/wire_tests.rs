//! The wire's bytes. If the frozen test fails you changed the wire: add a version to the ledger and keep these readable.

use super::*;
use crate::id::{Arch, JobId, PackageName};
use crate::model::{
    Artefact, ArtefactKind, Base, BlobRef, Executor, Input, InputFrom, IsaLevel, OrderLimits, Usage,
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
    vec![
        Say::Hello(hello()),
        Say::HelloAck(HelloAck::Refused {
            why,
            clock: Stamp(2),
        }),
        Say::Build(Box::new(order())),
        Say::Expect(Expect {
            attempt: ATTEMPT,
            builder: HostId([0xdd; 32]),
            recipe: "nano".parse().unwrap(),
            version: "7.2".into(),
            release: 3,
            build_release: 1,
            profile: profile(),
        }),
        Say::Accepted {
            attempt: ATTEMPT,
            slot: 1,
        },
        Say::Refused {
            attempt: ATTEMPT,
            fault: fault(),
        },
        Say::Phase {
            attempt: ATTEMPT,
            phase: "build".into(),
            at: Stamp(3),
        },
        Say::Progress {
            attempt: ATTEMPT,
            log_bytes: 4,
            cpu_ms: Some(5),
            memory_bytes: None,
        },
        Say::Ended {
            attempt: ATTEMPT,
            outcome: built(),
        },
        Say::Receipt { attempt: ATTEMPT },
        Say::Published {
            attempt: ATTEMPT,
            channel: "main".parse().unwrap(),
            version: VersionId(9),
        },
        Say::NotPublished {
            attempt: ATTEMPT,
            fault: fault(),
        },
        Say::Cancel { attempt: ATTEMPT },
        Say::Holding {
            attempts: vec![Held {
                attempt: ATTEMPT,
                log_bytes: 8,
                outcome: Some(Outcome::Cancelled),
            }],
        },
        Say::Lease {
            attempts: vec![ATTEMPT],
            lease_ms: 30_000,
        },
        Say::Bye { why: "b".into() },
        Say::Fetch(Fetch {
            attempt: Some(ATTEMPT),
            sha256: Digest([0xee; 32]),
            from: 10,
        }),
        Say::FetchAck { bytes: 11 },
        Say::FetchRefused { fault: fault() },
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
        say: Say::Receipt { attempt: ATTEMPT },
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
