//! Two hosts over loopback, and strangers of several kinds.

use std::sync::RwLock;

use super::*;

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
    let dir = tempfile::tempdir().unwrap();
    let identity = Identity::open(&dir.path().join("keys")).unwrap();
    Endpoint::bind(
        identity,
        ([127, 0, 0, 1], 0).into(),
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
    assert!(fault.what.contains("out of its time"), "{fault}");
}

#[tokio::test]
async fn who_does_not_begin_with_a_hello_is_refused() {
    let (crest, east) = (host("crest", NOW, anybody), host("east", NOW, anybody));
    let dial = |bytes: Vec<u8>| {
        let (crest, east) = (&crest, &east);
        async move {
            let certificate = east.shared.certificate.lock().unwrap().clone();
            let config = client_config(&east.shared.identity, &certificate, crest.id()).unwrap();
            let connecting = east
                .endpoint
                .connect_with(config, crest.address().unwrap(), TLS_NAME);
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
    let before = crest.shared.certificate.lock().unwrap().der.clone();
    crest.renew_if_due(now()).unwrap();
    assert_eq!(crest.shared.certificate.lock().unwrap().der, before);
    crest
        .renew_if_due(Stamp(now().0 + 21 * 86_400_000))
        .unwrap();
    assert_ne!(crest.shared.certificate.lock().unwrap().der, before);
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
