//! Transfers between hosts: the transfer code beside a raw stream of the same link and plain TCP, hashed and durable, over a long
//! way, and many small files. `MASSIF_FIGURES_MIB` makes it smaller than 1 GiB.

use std::fs::File;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use massif::config::Congestion;
use massif::id::{Digest, Stamp};
use massif::net::identity::Identity;
use massif::net::quic::{Endpoint, Link};
use massif::net::transfer::{self, BlockingStream, Brake, CHUNK_BYTES};
use massif::net::wire::{self, Fetch, Hello};
use massif::store::Blobs;

use super::table::Table;

#[path = "../../tests/hosts/relay.rs"]
#[allow(dead_code, reason = "the figures use some of its weather")]
mod relay;
#[path = "tun.rs"]
mod tun;

const MIB: u64 = 1 << 20;

fn mib() -> u64 {
    let given = std::env::var("MASSIF_FIGURES_MIB").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(1_024)
}

fn endpoint(name: &'static str, at: std::net::Ipv4Addr, congestion: Congestion) -> Endpoint {
    let dir = tempfile::tempdir().expect("a directory");
    let identity = Identity::open(&dir.path().join("keys")).expect("a key");
    let hello = move || Hello {
        name: name.parse().expect("a name"),
        version: "0".into(),
        clock: Stamp(i64::try_from(since_1970().as_millis()).unwrap_or(0)),
    };
    Endpoint::bind_with(identity, (at, 0).into(), congestion, hello, |_| Ok(())).expect("a socket")
}

fn since_1970() -> Duration {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
}

/// Two linked hosts; both endpoints must be kept.
async fn pair(through: Option<&dyn Fn(u16) -> SocketAddr>) -> (Endpoint, Endpoint, Link, Link) {
    pair_by(Congestion::Cubic, through).await
}

/// The same, with another way to find the path's speed.
async fn pair_by(
    way: Congestion,
    through: Option<&dyn Fn(u16) -> SocketAddr>,
) -> (Endpoint, Endpoint, Link, Link) {
    let local = std::net::Ipv4Addr::LOCALHOST;
    let (here, there) = (endpoint("here", local, way), endpoint("there", local, way));
    let address = there.address().expect("an address");
    let dialled = through.map_or(address, |through| through(address.port()));
    let (out, came) = tokio::join!(here.connect(dialled, there.id()), there.accept());
    (here, there, out.expect("a link"), came.expect("a link"))
}

fn speed(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / MIB as f64 / took.as_secs_f64()
}

/// Two hosts at the ends of a wire; the file comes from there.
async fn pair_on(wire: &tun::Wire, way: Congestion) -> (Endpoint, Endpoint, Link, Link) {
    let runtime = tokio::runtime::Handle::current();
    let bind = |end: &tun::End, name: &'static str, at| {
        end.inside(|| {
            let _guard = runtime.enter();
            endpoint(name, at, way)
        })
    };
    let here = bind(&wire.here, "here", tun::HERE);
    let there = bind(&wire.there, "there", tun::THERE);
    let address = there.address().expect("an address");
    let (out, came) = tokio::join!(here.connect(address, there.id()), there.accept());
    (here, there, out.expect("a link"), came.expect("a link"))
}

fn plain_tcp(bytes: u64) -> Duration {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = listener.local_addr().expect("an address");
    let sending = std::thread::spawn(move || tcp_send(address, bytes));
    let took = tcp_take(&listener);
    sending.join().expect("a sender");
    took
}

/// The same between the ends of a wire.
fn wire_tcp(wire: &tun::Wire, bytes: u64) -> Duration {
    let listener = wire
        .here
        .inside(|| std::net::TcpListener::bind((tun::HERE, 0)));
    let listener = listener.expect("a socket");
    let address = listener.local_addr().expect("an address");
    std::thread::scope(|scope| {
        scope.spawn(|| wire.there.inside(|| tcp_send(address, bytes)));
        tcp_take(&listener)
    })
}

fn tcp_send(to: SocketAddr, bytes: u64) {
    let mut stream = std::net::TcpStream::connect(to).expect("a stream");
    let chunk = vec![0; CHUNK_BYTES];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(chunk.len() as u64) as usize;
        stream.write_all(&chunk[..now]).expect("a write");
        left -= now as u64;
    }
}

fn tcp_take(listener: &std::net::TcpListener) -> Duration {
    let (mut stream, _) = listener.accept().expect("a stream");
    let since = Instant::now();
    let mut chunk = vec![0; CHUNK_BYTES];
    while stream.read(&mut chunk).expect("a read") > 0 {}
    since.elapsed()
}

async fn raw(from: &Link, to: &Link, bytes: u64) -> Duration {
    let since = Instant::now();
    let connection = from.connection.clone();
    let sending = tokio::spawn(async move {
        let (mut send, _answer) = connection.open_bi().await.expect("a stream");
        let chunk = Bytes::from(vec![0; CHUNK_BYTES]);
        let mut left = bytes;
        while left > 0 {
            let now = left.min(chunk.len() as u64) as usize;
            send.write_chunk(chunk.slice(..now)).await.expect("a write");
            left -= now as u64;
        }
        send.finish().expect("an end");
        drop(send.stopped().await);
    });
    let (_answer, mut receive) = to.connection.accept_bi().await.expect("a stream");
    while receive
        .read_chunk(CHUNK_BYTES, true)
        .await
        .expect("a read")
        .is_some()
    {}
    let took = since.elapsed();
    sending.await.expect("a sender");
    took
}

/// What a fetch is answered with.
enum Supply {
    /// So many bytes of memory.
    Memory(u64),
    File(File, u64),
}

/// Answers fetches on this link.
fn serve(link: &Link, make: impl Fn(&Fetch) -> Supply + Send + Sync + 'static) {
    let connection = link.connection.clone();
    let make = Arc::new(make);
    tokio::spawn(async move {
        let brake = Arc::new(Brake::new(None));
        while let Ok((mut send, mut receive)) = connection.accept_bi().await {
            let (make, brake) = (Arc::clone(&make), Arc::clone(&brake));
            tokio::spawn(async move {
                let Ok(wire::Say::Fetch(wish)) = transfer::hear(&mut receive).await else {
                    return;
                };
                let supply = make(&wish);
                let (Supply::Memory(len) | Supply::File(_, len)) = supply;
                let ack = wire::Say::FetchAck { bytes: len };
                transfer::say(&mut send, ack).await.expect("an answer");
                let sent = match supply {
                    Supply::File(file, _) => {
                        transfer::send_file(&mut send, file, wish.from, len, &brake).await
                    }
                    Supply::Memory(_) => {
                        let chunk = Bytes::from(vec![0; CHUNK_BYTES]);
                        let read = move |_, bytes| Ok(chunk.slice(..bytes));
                        transfer::send_from(&mut send, read, wish.from, len, &brake).await
                    }
                };
                sent.expect("a file");
            });
        }
    });
}

fn wish(number: u64) -> Fetch {
    let mut sha256 = [0; 32];
    sha256[..8].copy_from_slice(&number.to_le_bytes());
    Fetch {
        attempt: None,
        sha256: Digest(sha256),
        from: 0,
    }
}

async fn fetched(link: &Link, wish: Fetch) -> Duration {
    let since = Instant::now();
    let (mut receive, _) = transfer::fetch(&link.connection, wish)
        .await
        .expect("a file");
    while receive
        .read_chunk(CHUNK_BYTES, true)
        .await
        .expect("a read")
        .is_some()
    {}
    since.elapsed()
}

/// Memory for whoever asks for number 0, a file of zeroes that is in the kernel's memory for all others.
fn supply(bytes: u64) -> impl Fn(&Fetch) -> Supply + Send + Sync + 'static {
    let mut file = tempfile::tempfile().expect("a file");
    let chunk = vec![0; CHUNK_BYTES];
    for _ in 0..bytes / chunk.len() as u64 {
        file.write_all(&chunk).expect("a write");
    }
    file.sync_all().expect("a sync");
    let file = Arc::new(file);
    move |wish: &Fetch| match wish.sha256 == Digest([0; 32]) {
        true => Supply::Memory(bytes),
        false => Supply::File(file.try_clone().expect("a file"), bytes),
    }
}

/// Fetches as vessel does: read, hashed and kept by a thread that may block.
async fn kept(link: &Link, blobs: &Blobs) -> (Duration, Digest) {
    let since = Instant::now();
    let (receive, _) = transfer::fetch(&link.connection, wish(1))
        .await
        .expect("a file");
    let runtime = tokio::runtime::Handle::current();
    let mut new = blobs.begin().expect("a blob");
    let blobs = blobs.clone();
    let keeping = tokio::task::spawn_blocking(move || {
        let mut from = BlockingStream { runtime, receive };
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            match from.read(&mut buffer).expect("a read") {
                0 => break,
                got => new.write_all(&buffer[..got]).expect("a write"),
            }
        }
        blobs.finish(new, None).expect("a blob").sha256
    });
    let kept = keeping.await.expect("a blob");
    (since.elapsed(), kept)
}

/// What the disk takes: the same bytes, then one fsync.
fn disk(dir: &std::path::Path, bytes: u64) -> Duration {
    let since = Instant::now();
    let mut file = File::create(dir.join("plain")).expect("a file");
    let chunk = vec![0; CHUNK_BYTES];
    for _ in 0..bytes / chunk.len() as u64 {
        file.write_all(&chunk).expect("a write");
    }
    file.sync_all().expect("a sync");
    let took = since.elapsed();
    std::fs::remove_file(dir.join("plain")).expect("a file less");
    took
}

/// What is compared is measured so often, in turns, for disks and neighbours are not the same from one second to the next.
const ROUNDS: usize = 3;

fn median(mut speeds: Vec<f64>) -> f64 {
    speeds.sort_by(f64::total_cmp);
    speeds[speeds.len() / 2]
}

async fn bulk(table: &mut Table) {
    let bytes = mib() * MIB;
    let (_a, _b, out, came) = pair(None).await;
    let (mut tcp, mut quic, mut code) = (Vec::new(), Vec::new(), Vec::new());
    let (_c, _d, to, from) = pair(None).await;
    serve(&from, supply(bytes));
    for _ in 0..ROUNDS {
        let plain = tokio::task::spawn_blocking(move || plain_tcp(bytes)).await;
        tcp.push(speed(bytes, plain.expect("TCP")));
        quic.push(speed(bytes, raw(&came, &out, bytes).await));
        code.push(speed(bytes, fetched(&to, wish(0)).await));
    }
    let (tcp, raw, code) = (median(tcp), median(quic), median(code));
    table.row(
        &format!(
            "transfer code alone, {} MiB on loopback, no hashing, no disk; median of {ROUNDS}, in turns",
            mib()
        ),
        format!(
            "{code:.0} MiB/s: {:.2} × a raw tuned quinn stream ({raw:.0}), {:.2} × plain TCP ({tcp:.0})",
            code / raw,
            code / tcp
        ),
        "≥ 0.9 × quinn, ≥ 0.5 × TCP",
    );
    let file = speed(bytes, fetched(&to, wish(1)).await);
    table.row(
        "the same from a file in the kernel's memory",
        format!("{file:.0} MiB/s"),
        "measured",
    );
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let blobs = Blobs::open(dir.path()).expect("blobs");
    let (mut whole, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        plain.push(speed(bytes, disk(dir.path(), bytes)));
        let (took, kept) = kept(&to, &blobs).await;
        whole.push(speed(bytes, took));
        blobs.remove(&kept).expect("a blob less");
    }
    let (whole, disk) = (median(whole), median(plain));
    table.row(
        &format!("the same, SHA-256 checked and fsync at the receiver; median of {ROUNDS}, in turns"),
        format!(
            "{whole:.0} MiB/s: {:.2} × the slower of the line above and the disk with one fsync ({disk:.0})",
            whole / code.min(disk)
        ),
        "≥ 0.8 ×",
    );
}

const HALF_WAY: Duration = Duration::from_millis(25);

async fn far(table: &mut Table) {
    let bytes = mib().min(128) * MIB;
    for (weather, lost_permille, way, bar) in [
        ("no loss", 0, Congestion::Cubic, "≥ 90 MiB/s"),
        (
            "no loss, `congestion = \"bbr\"`",
            0,
            Congestion::Bbr,
            "measured",
        ),
        ("0.5 % loss", 5, Congestion::Cubic, "measured"),
        (
            "0.5 % loss, `congestion = \"bbr\"`",
            5,
            Congestion::Bbr,
            "measured",
        ),
    ] {
        let relay = std::sync::Mutex::new(None);
        let through = |port| {
            let made = relay::Relay::to(port, 5);
            made.weather(relay::Weather {
                delay: HALF_WAY,
                lost_permille,
                ..relay::Weather::default()
            });
            let address = made.address;
            *relay.lock().expect("a relay") = Some(made);
            address
        };
        let (_a, _b, out, came) = pair_by(way, Some(&through)).await;
        serve(&came, supply(bytes));
        let took = fetched(&out, wish(0)).await;
        table.row(
            &format!(
                "{} MiB through a relay of datagrams, round trip 50 ms, {weather}",
                bytes / MIB
            ),
            format!("{:.0} MiB/s", speed(bytes, took)),
            bar,
        );
    }
    let wire = match tun::Wire::new(HALF_WAY) {
        Ok(wire) => Arc::new(wire),
        Err(error) => {
            return println!(
                "hosts: TCP and QUIC on one wire: not measured, it needs root and /dev/net/tun ({error})"
            );
        }
    };
    for (weather, lost_permille, way) in [
        ("no loss", 0, Congestion::Cubic),
        ("0.5 % loss", 5, Congestion::Cubic),
        ("0.5 % loss, `congestion = \"bbr\"`", 5, Congestion::Bbr),
    ] {
        wire.lose(lost_permille);
        let bytes = match lost_permille {
            0 => bytes,
            // Plain TCP takes minutes for more.
            _ => bytes.min(32 * MIB),
        };
        let (_a, _b, out, came) = pair_on(&wire, way).await;
        serve(&came, supply(bytes));
        let ours = speed(bytes, fetched(&out, wish(0)).await);
        let on = Arc::clone(&wire);
        let tcp = tokio::task::spawn_blocking(move || wire_tcp(&on, bytes)).await;
        let tcp = speed(bytes, tcp.expect("TCP"));
        let control = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control");
        table.row(
            &format!(
                "{} MiB between two namespaces, packets relayed by us, round trip 50 ms, {weather}",
                bytes / MIB
            ),
            format!(
                "{ours:.1} MiB/s: {:.1} × plain TCP ({tcp:.1}, {})",
                ours / tcp,
                control.unwrap_or_default().trim()
            ),
            "measured beside plain TCP",
        );
    }
}

/// Files a second with a sync of each: what one receipt for all saves.
fn synced_each(dir: &std::path::Path, files: u64) -> f64 {
    let since = Instant::now();
    let bytes = vec![7; 20 * 1024];
    for number in 0..files {
        let mut file = File::create(dir.join(format!("s{number}"))).expect("a file");
        file.write_all(&bytes).expect("a write");
        file.sync_all().expect("a sync");
    }
    files as f64 / since.elapsed().as_secs_f64()
}

async fn small(table: &mut Table) {
    let files = if mib() < 1_024 { 500 } else { 10_000 };
    let from = tempfile::tempdir().expect("a directory");
    for number in 0..files {
        let mut bytes = vec![7; 20 * 1024];
        bytes[..8].copy_from_slice(&u64::to_le_bytes(number));
        std::fs::write(from.path().join(number.to_string()), bytes).expect("a file");
    }
    let (_a, _b, out, came) = pair(None).await;
    let dir = from.path().to_path_buf();
    serve(&came, move |wish| {
        let number = wish
            .sha256
            .0
            .first_chunk()
            .map_or(0, |head| u64::from_le_bytes(*head));
        let file = File::open(dir.join(number.to_string())).expect("a file");
        let len = file.metadata().expect("a size").len();
        Supply::File(file, len)
    });
    let to = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let blobs = Blobs::open(to.path()).expect("blobs");
    let since = Instant::now();
    let next = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let mut tasks = Vec::new();
    for _ in 0..massif::limit::LINK_FETCHES_MAX {
        let (next, blobs, connection) = (next.clone(), blobs.clone(), out.connection.clone());
        tasks.push(tokio::spawn(async move {
            let mut mine = Vec::new();
            loop {
                let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if number >= files {
                    return mine;
                }
                let asked = transfer::fetch(&connection, wish(number)).await;
                let (mut receive, _) = asked.expect("a file");
                let mut new = blobs.begin().expect("a blob");
                while let Some(chunk) = receive.read_chunk(CHUNK_BYTES, true).await.expect("a read")
                {
                    new.write_all(&chunk.bytes).expect("a write");
                }
                new.rest();
                mine.push((new, None));
            }
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.expect("a task"));
    }
    blobs.finish_many(all).expect("blobs");
    let speed = files as f64 / since.elapsed().as_secs_f64();
    let each = synced_each(to.path(), 500);
    table.row(
        &format!("{files} artefacts of 20 KiB in one attempt, hashed, durable once"),
        format!(
            "{speed:.0} files/s: {:.1} × a sync per file ({each:.0})",
            speed / each
        ),
        "≥ 2,000 files/s",
    );
}

pub fn run() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut table = Table::of("hosts");
        bulk(&mut table).await;
        far(&mut table).await;
        small(&mut table).await;
        table.finish();
    });
}
