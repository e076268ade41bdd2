//! Tests of `upstream`.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const QUIET: Told<'static> = &|_| {};

fn digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

/// A server that answers the n-th request as `answer` says: head and body; then it closes.
async fn server(answer: fn(usize, &str) -> Vec<u8>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut peer, _)) = listener.accept().await {
            let mut request = Vec::new();
            let mut buffer = [0; 1024];
            while !request.ends_with(b"\r\n\r\n") {
                match peer.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => request.extend(&buffer[..read]),
                }
            }
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            let reply = answer(number, &String::from_utf8(request).unwrap());
            let _ = peer.write_all(&reply).await;
            if reply.is_empty() {
                // Silence: the client has to give up by itself.
                tokio::spawn(async move {
                    tokio::time::sleep(std::time::Duration::from_secs(600)).await;
                    drop(peer);
                });
            }
        }
    });
    (url, asked)
}

fn ok(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[tokio::test]
async fn a_mirror_directory_gives_a_file_by_its_hash_whatever_its_name() {
    let (state, mirror) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::create_dir(mirror.path().join("deep")).unwrap();
    std::fs::write(mirror.path().join("deep/any-name"), "bytes").unwrap();
    std::fs::write(mirror.path().join("hello-1.tar.gz"), "other bytes").unwrap();
    let upstreams = Upstreams::new(
        state.path(),
        vec![mirror.path().to_str().unwrap().parse().unwrap()],
    );
    let wanted = digest(b"bytes");
    assert!(!upstreams.is_cached(wanted));
    let path = upstreams
        .fetch("https://nowhere.invalid/hello-1.tar.gz", wanted, QUIET)
        .await
        .unwrap();
    assert_eq!(std::fs::read_to_string(path).unwrap(), "bytes");
    assert!(upstreams.is_cached(wanted));
}

#[tokio::test]
async fn wrong_bytes_name_both_hashes_and_never_enter_the_cache() {
    let state = tempfile::tempdir().unwrap();
    let upstreams = Upstreams::new(state.path(), Vec::new());
    let (url, _) = server(|_, _| ok("evil")).await;
    let local = state.path().join("local");
    std::fs::write(&local, "evil").unwrap();
    for url in [
        format!("{url}/a.tar"),
        format!("file://{}", local.display()),
    ] {
        let fault = upstreams
            .fetch(&url, digest(b"good"), QUIET)
            .await
            .unwrap_err();
        assert_eq!(fault.kind, Kind::Upstream);
        let text = fault.to_string();
        assert!(text.contains(&digest(b"good").to_string()), "{text}");
        assert!(text.contains(&digest(b"evil").to_string()), "{text}");
        assert!(!upstreams.is_cached(digest(b"good")));
    }
}

#[tokio::test]
async fn a_download_that_breaks_off_goes_on_where_it_stopped() {
    let state = tempfile::tempdir().unwrap();
    let upstreams = Upstreams::new(state.path(), Vec::new());
    let (url, asked) = server(|number, request| match number {
        1 => b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n01234".to_vec(),
        2 => b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec(),
        _ => {
            assert!(request.to_lowercase().contains("range: bytes=5-"), "{request}");
            b"HTTP/1.1 206 Partial\r\ncontent-range: bytes 5-9/10\r\ncontent-length: 5\r\nconnection: close\r\n\r\n56789"
                .to_vec()
        }
    })
    .await;
    let path = upstreams
        .fetch(&format!("{url}/x"), digest(b"0123456789"), QUIET)
        .await
        .unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"0123456789");
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_missing_file_is_asked_for_once_and_a_silent_server_is_left() {
    let state = tempfile::tempdir().unwrap();
    let upstreams = Upstreams::new(state.path(), Vec::new());
    let (url, asked) = server(|_, _| {
        b"HTTP/1.1 404 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec()
    })
    .await;
    let fault = upstreams
        .fetch(&format!("{url}/x"), digest(b"x"), QUIET)
        .await
        .unwrap_err();
    assert_eq!(
        (fault.kind, asked.load(Ordering::SeqCst)),
        (Kind::Upstream, 1)
    );
    let upstreams = Upstreams::with_patience(state.path(), Vec::new(), 2);
    let (url, _) = server(|number, _| if number == 1 { Vec::new() } else { ok("x") }).await;
    upstreams
        .fetch(&format!("{url}/x"), digest(b"x"), QUIET)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_mirror_url_is_asked_by_hash_and_then_by_name() {
    let state = tempfile::tempdir().unwrap();
    let (url, asked) = server(|_, request| {
        if request.starts_with("GET /pool/a.tar ") {
            ok("bytes")
        } else {
            b"HTTP/1.1 404 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec()
        }
    })
    .await;
    let mirror: Mirror = format!("{url}/pool/").parse().unwrap();
    let upstreams = Upstreams::new(state.path(), vec![mirror]);
    upstreams
        .fetch("https://nowhere.invalid/a.tar?x=1", digest(b"bytes"), QUIET)
        .await
        .unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn two_who_want_the_same_fetch_it_once() {
    let state = tempfile::tempdir().unwrap();
    let upstreams = Upstreams::new(state.path(), Vec::new());
    let (url, asked) = server(|_, _| ok("x")).await;
    let url = format!("{url}/x");
    let (a, b) = tokio::join!(
        upstreams.fetch(&url, digest(b"x"), QUIET),
        upstreams.fetch(&url, digest(b"x"), QUIET)
    );
    assert_eq!(a.unwrap(), b.unwrap());
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}
