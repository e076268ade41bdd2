//! Two hosts over loopback, and strangers of several kinds.

use std::sync::RwLock;

use super::*;
use crate::model::peer::TicketId;
use crate::net::quic_strangers;

const NOW: Duration = Duration::from_secs(0);

fn now() -> Stamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    Stamp(since.as_millis() as i64)
}

fn hello_at(name: &str, off: Duration) -> Hello {
    Hello {
        name: name.parse().unwrap(),
        version: "0.1.0".into(),
        clock: Stamp(now().0 - off.as_millis() as i64),
    }
}

fn host(
    name: &'static str,
    off: Duration,
    judge: impl Fn(&HostId) -> std::result::Result<(), Unwelcome> + Send + Sync + 'static,
) -> Endpoint {
    host_by(crate::config::Congestion::Cubic, name, off, judge)
}

fn host_by(
    congestion: crate::config::Congestion,
    name: &'static str,
    off: Duration,
    judge: impl Fn(&HostId) -> std::result::Result<(), Unwelcome> + Send + Sync + 'static,
) -> Endpoint {
    // Kept until the test ends: a key that is replaced is written there.
    thread_local!(static DIRS: std::cell::RefCell<Vec<tempfile::TempDir>> = const { std::cell::RefCell::new(Vec::new()) });
    let dir = tempfile::tempdir().unwrap();
    let identity = Identity::open(&dir.path().join("keys")).unwrap();
    DIRS.with_borrow_mut(|dirs| dirs.push(dir));
    Endpoint::bind_with(
        identity,
        ([127, 0, 0, 1], 0).into(),
        congestion,
        move || hello_at(name, off),
        judge,
    )
    .unwrap()
}

fn anybody(_: &HostId) -> std::result::Result<(), Unwelcome> {
    Ok(())
}

fn nobody(_: &HostId) -> std::result::Result<(), Unwelcome> {
    Err(Unwelcome::UnknownKey)
}

async fn refused(from: &Endpoint, to: &Endpoint, key: HostId) -> Fault {
    match from.connect(to.address().unwrap(), key).await {
        Ok(_) => panic!("it was let in"),
        Err(fault) => fault,
    }
}

#[tokio::test]
async fn hosts_that_know_each_other_talk_in_order() {
    let (crest, east) = (host("crest", NOW, anybody), host("east", NOW, anybody));
    let (dialled, accepted) = tokio::join!(
        east.connect(crest.address().unwrap(), crest.id()),
        crest.accept()
    );
    let (mut dialled, mut accepted) = (dialled.unwrap(), accepted.unwrap());
    assert_eq!((accepted.peer, dialled.peer), (east.id(), crest.id()));
    assert_eq!(
        (accepted.hello.name.as_str(), dialled.hello.name.as_str()),
        ("east", "crest")
    );
    for number in 1..=3 {
        let say = Say::FetchAck { bytes: number };
        accepted.control().say(say.clone()).await.unwrap();
        assert_eq!(dialled.control().hear().await.unwrap(), Some(say.clone()));
        dialled.control().say(say.clone()).await.unwrap();
        assert_eq!(accepted.control().hear().await.unwrap(), Some(say));
    }
    dialled.close("done");
    assert!(!matches!(accepted.control().hear().await, Ok(Some(_))));
    east.close().await;
    crest.close().await;
}

#[tokio::test]
async fn hosts_that_find_the_speed_of_a_path_in_different_ways_talk_to_each_other() {
    use crate::config::{Config, Congestion};
    let config: Config = toml::from_str("congestion = \"bbr\"").unwrap();
    let east = host_by(config.congestion, "east", NOW, anybody);
    let crest = host_by(Congestion::Cubic, "crest", NOW, anybody);
    let (dialled, accepted) = tokio::join!(
        east.connect(crest.address().unwrap(), crest.id()),
        crest.accept()
    );
    let (dialled, mut accepted) = (dialled.unwrap(), accepted.unwrap());
    accepted
        .control()
        .say(Say::FetchAck { bytes: 1 })
        .await
        .unwrap();
    for from in [&dialled.connection, &accepted.connection] {
        let bbr = from
            .congestion_state()
            .into_any()
            .is::<quinn::congestion::Bbr>();
        assert_eq!(bbr, from.stable_id() == dialled.connection.stable_id());
    }
    east.close().await;
    crest.close().await;
}

#[tokio::test]
async fn hosts_that_say_nothing_after_their_handshake_keep_no_other_out() {
    let (crest, east) = (host("crest", NOW, anybody), host("east", NOW, anybody));
    let (to, id) = (crest.address().unwrap(), crest.id());
    let silent = Arc::new(host("silent", NOW, anybody));
    let mut crowd = tokio::task::JoinSet::new();
    // As many as one address may have at the door, and some more.
    for _ in 0..quic_strangers::STRANGERS_MAX / 2 + 4 {
        let silent = Arc::clone(&silent);
        crowd.spawn(async move { silent.handshake(to, &Pins::of(id)).await });
    }
    let mut held = Vec::new();
    while held.len() < quic_strangers::STRANGERS_MAX / 2 {
        held.extend(crowd.join_next().await.unwrap().unwrap());
    }
    let dialled = east.connect(to, id).await.unwrap();
    assert_eq!(crest.accept().await.unwrap().peer, east.id());
    dialled.close("done");
    let gone = held.iter().filter(|one| one.close_reason().is_some());
    assert!(gone.count() > 0, "somebody had to give way");
}

#[tokio::test]
async fn an_unknown_key_is_refused_and_told_why() {
    let (crest, east) = (host("crest", NOW, nobody), host("east", NOW, anybody));
    let fault = refused(&east, &crest, crest.id()).await;
    assert_eq!(fault.kind, Kind::NotPermitted);
    assert!(
        fault.what.contains("does not know this host's key"),
        "{fault}"
    );
    assert!(fault.next.contains("massif invite"), "{fault}");
}

#[tokio::test]
async fn a_host_with_another_key_than_expected_hears_nothing() {
    let (crest, east) = (host("crest", NOW, anybody), host("east", NOW, anybody));
    let fault = refused(&east, &crest, east.id()).await;
    assert!(
        fault.what.contains("another key than the one expected"),
        "{fault}"
    );
}

#[tokio::test]
async fn a_revoked_key_does_not_come_back_on_an_old_session() {
    let revoked = Arc::new(RwLock::new(false));
    let list = Arc::clone(&revoked);
    let crest = host("crest", NOW, move |_| {
        if !*list.read().unwrap() {
            return Ok(());
        }
        Err(Unwelcome::Revoked {
            by: "ana".into(),
            at: Stamp(0),
        })
    });
    let east = host("east", NOW, anybody);
    let link = east
        .connect(crest.address().unwrap(), crest.id())
        .await
        .unwrap();
    link.close("first");
    *revoked.write().unwrap() = true;
    let fault = refused(&east, &crest, crest.id()).await;
    assert!(
        fault.what.contains("revoked by ana at 1970-01-01"),
        "{fault}"
    );
}

#[tokio::test]
async fn a_clock_two_days_off_is_fine_and_an_expired_certificate_is_not() {
    let days = |days: u64| Duration::from_secs(days * 86_400);
    let crest = host("crest", NOW, anybody);
    let late = host("late", days(29), anybody);
    late.connect(crest.address().unwrap(), crest.id())
        .await
        .unwrap();
    let expired = host("expired", days(31), anybody);
    let fault = refused(&expired, &crest, crest.id()).await;
    assert!(
        fault.what.contains("its clock and this one are 26784")
            && fault.what.contains("this host's certificate is good from"),
        "{fault}"
    );
}

#[tokio::test]
async fn who_does_not_begin_with_a_hello_is_refused() {
    let (crest, east) = (host("crest", NOW, anybody), host("east", NOW, anybody));
    let dial = |bytes: Vec<u8>| {
        let (crest, east) = (&crest, &east);
        async move {
            let own = east.shared.own();
            let pins = Pins::of(crest.id());
            let own_way = crate::config::Congestion::default();
            let config = client_config(&own.identity, &own.certificates, &pins, own_way).unwrap();
            let connecting = east.endpoint.connect_with(
                config,
                crest.address().unwrap(),
                &tls_name(&crest.id()),
            );
            let connection = connecting.unwrap().await.unwrap();
            let (mut send, mut receive) = connection.open_bi().await.unwrap();
            send.write_all(&bytes).await.unwrap();
            wire::read(&mut receive, HELLO_BYTES_MAX)
                .await
                .unwrap()
                .unwrap()
                .say
        }
    };
    let early = wire::encode(&Envelope {
        seq: 1,
        say: Say::Bye { why: "x".into() },
    })
    .unwrap();
    for bytes in [early, vec![0xff; 8], vec![4, 0, 0, 0, 9, 9, 9, 9]] {
        let answer = dial(bytes).await;
        assert!(
            matches!(
                answer,
                Say::HelloAck(HelloAck::Refused {
                    why: Unwelcome::NoHello,
                    ..
                })
            ),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn a_certificate_is_renewed_and_the_next_link_uses_it() {
    let crest = host("crest", NOW, anybody);
    let der = || crest.shared.own().certificates.current.der.clone();
    let before = der();
    crest.renew_if_due(now()).unwrap();
    assert_eq!(der(), before);
    crest
        .renew_if_due(Stamp(now().0 + 21 * 86_400_000))
        .unwrap();
    assert_ne!(der(), before);
}

#[tokio::test]
async fn nobody_there_is_said_with_the_port_to_open() {
    let east = host("east", NOW, anybody);
    // Bound and silent, so that no other test can take the port meanwhile.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    tokio::time::pause();
    let fault = east.connect(address, HostId([1; 32])).await.err().unwrap();
    assert_eq!(fault.kind, Kind::Unreachable);
    assert!(fault.next.contains(&address.port().to_string()), "{fault}");
}

#[tokio::test]
async fn every_refusal_at_the_hello_is_one_sentence_with_a_next_step() {
    type Case = (fn() -> Unwelcome, &'static str, &'static str);
    let cases: [Case; 3] = [
        (
            || Unwelcome::NotApproved,
            "waits for somebody to approve this host",
            "massif peer approve",
        ),
        (|| Unwelcome::Stopping, "is stopping", "dialled again"),
        (
            || Unwelcome::Revoked {
                by: "uid 7".into(),
                at: Stamp(0),
            },
            "its key was revoked by uid 7 at 1970-01-01",
            "a new invitation",
        ),
    ];
    for (why, what, next) in cases {
        let (crest, east) = (
            host("crest", NOW, move |_| Err(why())),
            host("east", NOW, anybody),
        );
        let fault = refused(&east, &crest, crest.id()).await;
        assert!(fault.what.contains(what), "{fault}");
        assert!(fault.next.contains(next), "{fault}");
        assert!(!fault.what.contains('\n'), "{fault}");
    }
}

#[tokio::test]
async fn hosts_without_a_common_version_say_so() {
    let (crest, east) = (host("crest", NOW, anybody), host("east", NOW, anybody));
    let own = east.shared.own();
    // A program of next year.
    let mut tls = rustls::ClientConfig::builder_with_provider(super::super::pins::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(super::super::pins::ServerKey::new(vec![
            crest.id(),
        ])))
        .with_client_auth_cert(
            vec![own.certificates.current.der.clone()],
            own.identity.tls_key(),
        )
        .unwrap();
    tls.alpn_protocols = vec![b"massif/999".to_vec()];
    let config = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(config));
    let address = crest.address().unwrap();
    let connecting = east
        .endpoint
        .connect_with(config, address, "massif")
        .unwrap();
    let fault = explain(address, &connecting.await.err().unwrap());
    assert!(
        fault.what.contains("speaks no common protocol version"),
        "{fault}"
    );
    assert!(fault.next.contains("the same version of massif"), "{fault}");
}

#[tokio::test]
async fn nothing_is_sent_before_the_handshake_is_over_however_much_the_other_side_wants_it() {
    let (crest, east) = (host("crest", NOW, anybody), host("east", NOW, anybody));
    let own = east.shared.own();
    let pins = Arc::new(super::super::pins::ServerKey::new(vec![crest.id()]));
    let mut tls = rustls::ClientConfig::builder_with_provider(super::super::pins::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(pins)
        .with_client_auth_cert(
            vec![own.certificates.current.der.clone()],
            own.identity.tls_key(),
        )
        .unwrap();
    tls.alpn_protocols = wire::ALPN.iter().map(|name| name.to_vec()).collect();
    // It remembers sessions, and would begin the next with data.
    tls.enable_early_data = true;
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(tls));
    let address = crest.address().unwrap();
    for _ in 0..2 {
        let connecting = east
            .endpoint
            .connect_with(config.clone(), address, "massif")
            .unwrap();
        let Err(connecting) = connecting.into_0rtt() else {
            panic!("it may send at once");
        };
        let connection = connecting.await.unwrap();
        // A ticket would come with the first answer.
        let hello = Say::Hello(hello_at("east", NOW));
        let (_, answer) = ask_first(address, &connection, hello).await.unwrap();
        assert!(matches!(answer, Say::HelloAck(HelloAck::Welcome(_))));
        connection.close(VarInt::from_u32(CLOSE_DONE), b"");
    }
}

#[tokio::test]
async fn a_key_that_was_replaced_is_shown_to_those_who_know_no_other_until_its_end() {
    let (crest, east) = (host("crest", NOW, anybody), host("east", NOW, anybody));
    let (address, before) = (crest.address().unwrap(), crest.id());
    crest.rotate(now(), 3_600).unwrap();
    let after = crest.id();
    assert_ne!(before, after);
    for key in [before, after] {
        east.connect(address, key).await.unwrap();
    }
    let stranger = refused(&east, &crest, east.id()).await;
    assert!(stranger.what.contains("another key"), "{stranger}");
    assert_eq!(crest.rotations().len(), 1);
    // The end of the overlap, and of the old key.
    let east = host("east", NOW, anybody);
    let short = host("short", NOW, anybody);
    let before = short.id();
    short.rotate(Stamp(now().0 - 5_000), 4).unwrap();
    let fault = refused(&east, &short, before).await;
    assert!(
        fault.what.contains("another key than the one expected"),
        "{fault}"
    );
}

/// Takes whoever covered this secret as the session wants it.
struct Sees([u8; 16]);

impl Door for Sees {
    fn refused(&self, _: Option<HostId>, _: SocketAddr, _: &str) {}

    fn join(&self, asked: Asked) -> Pin<Box<dyn Future<Output = JoinAck> + Send + '_>> {
        let why = match covered(asked.join.covered, asked.cover) == self.0 {
            // Anything but what a replay hears.
            true => NoJoin::Later,
            false => NoJoin::Closed,
        };
        Box::pin(async move { JoinAck::Refused { why, clock: now() } })
    }
}

#[tokio::test]
async fn a_joining_that_is_replayed_in_another_session_or_by_another_key_proves_nothing() {
    let crest = host("crest", NOW, nobody);
    let secret = [7; 16];
    crest.door(Arc::new(Sees(secret)));
    let (east, thief) = (host("east", NOW, nobody), host("thief", NOW, nobody));
    let to = crest.address().unwrap();
    let session = async |from: &Endpoint| from.handshake(to, &Pins::of(crest.id())).await.unwrap();
    let says = async |connection: &Connection, covered: [u8; 16]| {
        let join = Join {
            hello: hello_at("east", NOW),
            ticket: TicketId([1; 6]),
            covered,
        };
        match ask_first(to, connection, Say::Join(join)).await.unwrap().1 {
            Say::JoinAck(JoinAck::Refused { why, .. }) => why,
            other => panic!("{other:?}"),
        }
    };
    let first = session(&east).await;
    let proof = covered(secret, cover(&first, east.id(), crest.id()).unwrap());
    assert_eq!(says(&first, proof).await, NoJoin::Later);
    // The very bytes again, by the same key and by somebody who overheard them.
    let again = session(&east).await;
    assert_eq!(says(&again, proof).await, NoJoin::Closed);
    let stolen = session(&thief).await;
    assert_eq!(says(&stolen, proof).await, NoJoin::Closed);
}
