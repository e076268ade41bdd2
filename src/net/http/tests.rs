//! The server over loopback, asked byte by byte as a client or an attacker would.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::HttpServer;

struct Rig {
    dir: tempfile::TempDir,
    server: HttpServer,
}

impl Rig {
    async fn start() -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let public = dir.path().join("public");
        fs::create_dir_all(public.join("main/pool/v0")).unwrap();
        fs::create_dir_all(public.join("main/history/7")).unwrap();
        fs::write(dir.path().join("secret"), "secret").unwrap();
        fs::write(public.join("main/moss-root-index.json"), "{}").unwrap();
        fs::write(public.join("main/pool/v0/a.stone"), "0123456789").unwrap();
        fs::write(public.join("main/history/7/stone.index"), "index").unwrap();
        fs::create_dir(public.join("stream")).unwrap();
        symlink("../main/history/7", public.join("stream/volatile")).unwrap();
        symlink("../secret", public.join("out")).unwrap();
        symlink(dir.path().join("secret"), public.join("absolute")).unwrap();
        symlink("..", public.join("up")).unwrap();
        symlink("loop", public.join("loop")).unwrap();
        let server = HttpServer::start(&public, ([127, 0, 0, 1], 0).into())
            .await
            .unwrap();
        Rig { dir, server }
    }

    /// Sends these bytes and reads until the server closes.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.server.address()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(300), stream.read_to_end(&mut answer));
        read.await.unwrap().unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn ask(&self, method: &str, path: &str, headers: &str) -> String {
        let text =
            format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        self.raw(text.as_bytes()).await
    }

    async fn status(&self, path: &str) -> String {
        let answer = self.ask("GET", path, "").await;
        assert!(!answer.contains("secret"), "{path}: {answer}");
        answer.split(' ').nth(1).unwrap_or_default().to_string()
    }
}

fn field<'a>(answer: &'a str, name: &str) -> &'a str {
    let line = answer
        .lines()
        .find(|line| line.starts_with(&format!("{name}: ")));
    line.map_or("", |line| &line[name.len() + 2..])
}

#[tokio::test]
async fn a_file_is_served_whole_in_parts_and_not_twice() {
    let rig = Rig::start().await;
    let whole = rig.ask("GET", "/main/pool/v0/a.stone?x=1", "").await;
    assert!(
        whole.starts_with("HTTP/1.1 200 ") && whole.ends_with("\r\n\r\n0123456789"),
        "{whole}"
    );
    assert_eq!(field(&whole, "content-type"), "application/octet-stream");
    assert_eq!(field(&whole, "accept-ranges"), "bytes");
    assert!(field(&whole, "cache-control").contains("immutable"));
    let etag = field(&whole, "etag");
    let head = rig.ask("HEAD", "/main/pool/v0/a.stone", "").await;
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    assert_eq!(field(&head, "content-length"), "10");
    let part = rig
        .ask("GET", "/main/pool/v0/a.stone", "Range: bytes=3-5\r\n")
        .await;
    assert!(
        part.starts_with("HTTP/1.1 206 ") && part.ends_with("\r\n\r\n345"),
        "{part}"
    );
    assert_eq!(field(&part, "content-range"), "bytes 3-5/10");
    let beyond = rig
        .ask("GET", "/main/pool/v0/a.stone", "Range: bytes=10-\r\n")
        .await;
    assert!(beyond.starts_with("HTTP/1.1 416 "), "{beyond}");
    assert_eq!(field(&beyond, "content-range"), "bytes */10");
    let known = format!("If-None-Match: {etag}\r\n");
    let unchanged = rig.ask("GET", "/main/pool/v0/a.stone", &known).await;
    assert!(
        unchanged.starts_with("HTTP/1.1 304 ") && unchanged.ends_with("\r\n\r\n"),
        "{unchanged}"
    );
    let since = format!("If-Modified-Since: {}\r\n", field(&whole, "last-modified"));
    assert!(
        rig.ask("GET", "/main/pool/v0/a.stone", &since)
            .await
            .starts_with("HTTP/1.1 304 ")
    );
    let index = rig.ask("GET", "/main/moss-root-index.json", "").await;
    assert_eq!(field(&index, "content-type"), "application/json");
    assert_eq!(field(&index, "cache-control"), "no-cache");
    rig.server.stop().await;
}

#[tokio::test]
async fn a_replaced_file_has_another_etag() {
    let rig = Rig::start().await;
    let path = rig.dir.path().join("public/main/moss-root-index.json");
    let before = rig.ask("GET", "/main/moss-root-index.json", "").await;
    fs::write(path.with_extension("new"), "[]").unwrap();
    fs::rename(path.with_extension("new"), &path).unwrap();
    let known = format!("If-None-Match: {}\r\n", field(&before, "etag"));
    let after = rig.ask("GET", "/main/moss-root-index.json", &known).await;
    assert!(
        after.starts_with("HTTP/1.1 200 ") && after.ends_with("[]"),
        "{after}"
    );
}

#[tokio::test]
async fn links_inside_are_followed_and_nothing_leads_out() {
    let rig = Rig::start().await;
    assert_eq!(rig.status("/stream/volatile/stone.index").await, "200");
    for path in [
        "/",
        "/main",
        "/main/",
        "/main/pool",
        "/out",
        "/absolute",
        "/up/secret",
        "/loop",
        "/missing",
        "/../secret",
        "/main/../../secret",
        "/..%2fsecret",
        "/%2e%2e/secret",
        "/main/%2e%2e%2f%2e%2e%2fsecret",
        "/main/moss-root-index.json/x",
        "/%00",
    ] {
        assert_eq!(rig.status(path).await, "404", "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = rig.ask(method, "/main/moss-root-index.json", "").await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
        assert_eq!(field(&answer, "allow"), "GET, HEAD");
    }
}

#[tokio::test]
async fn several_requests_share_a_connection() {
    let rig = Rig::start().await;
    let request = "GET /main/pool/v0/a.stone HTTP/1.1\r\nHost: x\r\n\r\n";
    let last = "GET /main/pool/v0/a.stone HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = rig
        .raw(format!("{request}{request}{last}").as_bytes())
        .await;
    assert_eq!(answer.matches("0123456789").count(), 3, "{answer}");
}

#[tokio::test]
async fn a_large_file_arrives_whole() {
    let rig = Rig::start().await;
    let bytes: Vec<u8> = (0..3_000_001u32).map(|number| number as u8).collect();
    fs::write(rig.dir.path().join("public/large"), &bytes).unwrap();
    let mut stream = TcpStream::connect(rig.server.address()).await.unwrap();
    stream
        .write_all(b"GET /large HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.ends_with(&bytes));
}

#[tokio::test]
async fn garbage_and_endless_heads_are_refused() {
    let rig = Rig::start().await;
    for bytes in [
        &b"\x16\x03\x01garbage\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET  /\r\n\r\n",
    ] {
        let answer = rig.raw(bytes).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
    }
    let many = "X: y\r\n".repeat(super::HEADERS_MAX + 1);
    let answer = rig.ask("GET", "/main/moss-root-index.json", &many).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let mut stream = TcpStream::connect(rig.server.address()).await.unwrap();
    let endless = vec![b'x'; 64 * 1024];
    let mut sent = 0;
    while sent < 16 << 20 && stream.write_all(&endless).await.is_ok() {
        sent += endless.len();
    }
    assert!(sent < 16 << 20, "the server read an endless head");
}

#[tokio::test]
async fn stopping_lets_a_running_answer_end_and_closes_idle_connections() {
    let rig = Rig::start().await;
    fs::write(rig.dir.path().join("public/large"), vec![7; 8 << 20]).unwrap();
    let _idle = TcpStream::connect(rig.server.address()).await.unwrap();
    let mut stream = TcpStream::connect(rig.server.address()).await.unwrap();
    stream
        .write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut first = [0; 1_000];
    stream.read_exact(&mut first).await.unwrap();
    let address = rig.server.address();
    let reading = tokio::spawn(async move {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.map(|_| rest.len())
    });
    let since = std::time::Instant::now();
    rig.server.stop().await;
    assert!(
        since.elapsed() < super::STOP_GRACE / 2,
        "an idle connection held it up"
    );
    assert!(reading.await.unwrap().unwrap() > (8 << 20) - 1_000);
    assert!(TcpStream::connect(address).await.is_err());
}
