//! Our client against the fixed host.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use massif::admin::view::JobState;
use massif::admin::{Caller, Right, host, summit, vessel};
use massif::fault::Kind;
use massif::net::admin::{Client, Listener, serve_connection};

use super::fixed::Fixed;

/// Longer than any answer takes, however slow the machine is.
const PATIENCE: Duration = Duration::from_secs(300);

fn list() -> summit::JobList {
    summit::JobList {
        states: Vec::new(),
        recipe: None,
        project: None,
        after: None,
        limit: None,
    }
}

#[tokio::test]
async fn calls_are_answered_one_after_another_on_one_connection() {
    let host = Fixed::start();
    let mut client = Client::connect(&host.socket()).await.unwrap();
    let page = client.call(&list()).await.unwrap();
    assert_eq!(page.jobs.len(), 2);
    assert_eq!(page.next.as_deref(), Some("2"));
    let status = client.call(&host::Status {}).await.unwrap().status;
    assert_eq!(status.jobs.len(), JobState::ALL.len());
}

#[tokio::test]
async fn faults_arrive_as_they_were_made() {
    let host = Fixed::start();
    let mut client = Client::connect(&host.socket()).await.unwrap();
    let fault = client
        .call(&summit::JobShow { job: "nan".into() })
        .await
        .unwrap_err();
    assert_eq!(
        (fault.kind, fault.what.as_str(), fault.next.as_str()),
        (Kind::NotFound, "no job nan", "did you mean nano?")
    );
    assert_eq!(fault.place.unwrap().column, 2);
    let fault = client
        .call(&vessel::PackageImport {
            files: vec!["a".into()],
            channel: None,
        })
        .await
        .unwrap_err();
    assert_eq!(fault.kind, Kind::Conflict);
    let fault = client
        .call_raw("io.massif.Summit.Nix", serde_json::json!({}), 5)
        .await
        .unwrap_err();
    assert_eq!(
        fault.to_string(),
        "no method io.massif.Summit.Nix; see `massif call` for all methods"
    );
}

#[tokio::test]
async fn a_log_ends_with_its_last_piece() {
    let host = Fixed::start();
    let client = Client::connect(&host.socket()).await.unwrap();
    let ask = summit::JobLog {
        job: "2".into(),
        try_no: None,
        offset: None,
        bytes_max: None,
        base64: None,
    };
    let mut answers = client.stream(&ask).await.unwrap();
    let mut text = String::new();
    while let Some(piece) = answers.next().await.unwrap() {
        text.push_str(&piece.text.unwrap());
    }
    assert!(text.starts_with("one\ntwo "), "{text:?}");
}

#[tokio::test]
async fn a_watch_that_nobody_reads_freezes_nobody_else() {
    let host = Fixed::start();
    let client = Client::connect(&host.socket()).await.unwrap();
    let mut stopped = client
        .stream(&host::Watch {
            since: None,
            limit: None,
        })
        .await
        .unwrap();
    stopped.next().await.unwrap();
    let ask = async {
        for _ in 0..20 {
            let mut client = Client::connect(&host.socket()).await.unwrap();
            client.call(&host::Status {}).await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, ask)
        .await
        .expect("others were answered");
}

#[tokio::test]
async fn no_host_is_unreachable_and_says_how_to_start_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let fault = Client::connect(&path).await.unwrap_err();
    assert_eq!(fault.exit_code(), 3);
    assert!(
        fault
            .next
            .contains(&format!("massif up --dir {}", dir.path().display())),
        "{fault}"
    );
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert_eq!(Client::connect(&path).await.unwrap_err().exit_code(), 3);
    // A dead socket is replaced, a live one and other files are not touched.
    let listener = Listener::bind(&path).unwrap();
    assert_eq!(Listener::bind(&path).unwrap_err().kind, Kind::Conflict);
    drop(listener);
    assert!(!path.exists());
    std::fs::write(&path, "precious").unwrap();
    assert_eq!(Listener::bind(&path).unwrap_err().kind, Kind::Conflict);
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[tokio::test]
async fn a_socket_may_lie_deeper_than_the_kernel_takes() {
    let root = tempfile::tempdir().unwrap();
    let path = root
        .path()
        .join("d".repeat(120))
        .join("e".repeat(120))
        .join("admin.sock");
    let listener = Listener::bind(&path).unwrap();
    let client = Client::connect(&path).await;
    assert!(client.is_ok(), "{client:?}");
    drop(listener);
    assert!(!path.exists());
}

#[test]
fn garbage_ends_its_own_connection_only() {
    let host = Fixed::start();
    for garbage in [
        &b"hello\0"[..],
        b"{}\0",
        b"[1]\0",
        b"{\"method\":7}\0",
        b"\0",
        b"\xff\xfe\0",
        b"{\"method\":\"x\"}\0",
        b"{\"meth",
    ] {
        let mut stream = UnixStream::connect(host.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(garbage).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(
            answer.is_empty() || answer.contains("\"error\":"),
            "{answer}"
        );
    }
    // An endless request is cut at its bound.
    let mut stream = UnixStream::connect(host.socket()).unwrap();
    let block = vec![b'x'; 64 * 1024];
    let mut sent = 0;
    while sent < 64 * 1024 * 1024 && stream.write_all(&block).is_ok() {
        sent += block.len();
    }
    assert!(sent <= 4 * 1024 * 1024, "{sent} bytes were taken");
}

#[test]
fn a_call_without_an_answer_gets_none() {
    let host = Fixed::start();
    let mut stream = UnixStream::connect(host.socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"{\"method\":\"io.massif.Host.Status\",\"oneway\":true}\0{\"method\":\"io.massif.Nix.X\"}\0")
        .unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(
        answer,
        "{\"error\":\"org.varlink.service.InterfaceNotFound\",\"parameters\":{\"interface\":\"io.massif.Nix\"}}\0"
    );
}

#[tokio::test]
async fn whoever_may_only_look_changes_nothing_and_is_told_what_is_missing() {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let caller = Caller {
        key: None,
        uid: 4_000,
        gid: 4_000,
        pid: 1,
        right: Right::View,
        name: "ann".into(),
    };
    tokio::spawn(serve_connection(theirs, caller, super::fixed::handle));
    let mut client = Client::over(ours, "here");
    assert!(client.call(&list()).await.is_ok());
    let build = summit::Build {
        names: vec!["hello".into()],
        all: None,
        rebuild: None,
        profile: None,
    };
    let fault = client.call(&build).await.unwrap_err();
    assert_eq!(fault.exit_code(), 4);
    assert!(
        fault.what.contains("ann may view here") && fault.what.contains("the right to operate"),
        "{fault}"
    );
    let import = vessel::PackageImport {
        files: Vec::new(),
        channel: None,
    };
    let fault = client.call(&import).await.unwrap_err();
    assert!(fault.next.contains("root"), "{fault}");
}

#[tokio::test]
async fn the_librarys_own_client_reads_our_descriptions() {
    use zlink::varlink_service::Proxy;
    let host = Fixed::start();
    let mut connection = zlink::tokio::unix::connect(host.socket()).await.unwrap();
    let info = connection.get_info().await.unwrap().unwrap();
    assert_eq!(info.product, "massif");
    let interfaces: Vec<String> = info.interfaces.iter().map(ToString::to_string).collect();
    assert_eq!(interfaces.len(), 5);
    for name in interfaces {
        let description = connection
            .get_interface_description(name.as_str().try_into().unwrap())
            .await
            .unwrap()
            .unwrap();
        let interface = description.parse().unwrap();
        assert_eq!(interface.name().as_str(), name);
    }
}
