//! Files over a link: ranged, so that a broken transfer goes on at its byte; as fast as the link, or as slow as this host was
//! told to be. Whoever reads hashes; a sender that lies about a file is found by whoever knows its hash.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use quinn::{Connection, RecvStream, SendStream, VarInt};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;

use super::wire::{self, Envelope, Fetch, Say};
use crate::fault::{Fault, Kind, Result};
use crate::limit;

/// What is read from a file or a stream at a time.
pub const CHUNK_BYTES: usize = 256 * 1024;
/// Chunks that go from the thread that reads to the link at a time: a hand-over costs two changes of threads, which is a fifth of
/// a fast link's time with every chunk alone.
const CHUNKS_TOGETHER: usize = 4;
/// Such groups that are read before the link takes them.
const GROUPS_AHEAD: usize = 2;
/// What goes at a time where the owner of this host set a limit.
const PIECE_BYTES: usize = 16 * 1024;
/// Code of a stream that its reader does not want any more.
const NOT_WANTED: u32 = 2;

/// How fast this host sends files, all links together.
#[derive(Debug, Default)]
pub struct Brake {
    /// `None`: as fast as it goes.
    bytes_per_s: Option<u64>,
    /// When all that was let through so far has been paid for.
    paid: Mutex<Option<Instant>>,
}

impl Brake {
    /// So many bytes in a second; `None`: no limit.
    pub fn new(bytes_per_s: Option<u64>) -> Brake {
        Brake {
            bytes_per_s: bytes_per_s.filter(|bytes| *bytes > 0),
            paid: Mutex::new(None),
        }
    }

    /// The same bytes in pieces that may go one by one: several files on a slow way must all be seen to move.
    fn pieces(&self, chunk: Bytes) -> impl Iterator<Item = Bytes> + use<> {
        let step = match self.bytes_per_s {
            Some(_) => PIECE_BYTES,
            None => chunk.len().max(1),
        };
        let len = chunk.len();
        (0..len)
            .step_by(step)
            .map(move |at| chunk.slice(at..len.min(at + step)))
    }

    /// Returns when so many bytes may go.
    pub async fn pass(&self, bytes: usize) {
        let Some(per_s) = self.bytes_per_s else {
            return;
        };
        let until = {
            let mut paid = self.paid.lock().await;
            let now = Instant::now();
            // What was not used a moment ago may be made up for, so that a busy timer costs no speed.
            let from = paid.map_or(now, |paid| paid.max(now - Duration::from_millis(50)));
            let until = from + Duration::from_secs_f64(bytes as f64 / per_s as f64);
            *paid = Some(until);
            until
        };
        tokio::time::sleep_until(until).await;
    }
}

fn network(what: &str, error: &dyn std::error::Error) -> Fault {
    Fault::new(Kind::Network, what).because(error)
}

/// A stream's first message, or the answer to it.
pub async fn say(send: &mut SendStream, say: Say) -> Result<()> {
    wire::write(send, &Envelope { seq: 1, say }).await
}

/// The other side's first message on a stream.
pub async fn hear(receive: &mut RecvStream) -> Result<Say> {
    hear_short(receive, limit::FRAME_BYTES_MAX).await
}

/// The same when it cannot be longer than this. Silence is a fault of kind `Unreachable`.
pub async fn hear_short(receive: &mut RecvStream, bytes_max: usize) -> Result<Say> {
    let first = tokio::time::timeout(
        Duration::from_secs(limit::TRANSFER_STALL_S),
        wire::read(receive, bytes_max),
    )
    .await
    .map_err(|_| Fault::new(Kind::Unreachable, "the other host did not answer in time"))??;
    first
        .map(|envelope| envelope.say)
        .ok_or_else(|| Fault::new(Kind::Network, "the other host ended the stream at once"))
}

/// Sends what a file holds from this byte to `end`, and ends the stream. A reader that takes nothing for long is given up.
pub async fn send_file(
    send: &mut SendStream,
    file: File,
    from: u64,
    end: u64,
    brake: &Brake,
) -> Result<()> {
    let mut buffers = Buffers::default();
    let read = move |at: u64, bytes: usize| buffers.read(&file, at, bytes);
    send_from(send, read, from, end, brake).await
}

/// Sends what `read` gives for a place and a number of bytes, which may be less and is never nothing, from this byte to `end`,
/// and ends the stream. `read` is called on a thread that may block.
pub async fn send_from(
    send: &mut SendStream,
    mut read: impl FnMut(u64, usize) -> io::Result<Bytes> + Send + 'static,
    from: u64,
    end: u64,
    brake: &Brake,
) -> Result<()> {
    let (groups, mut ready) = mpsc::channel::<Group>(GROUPS_AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut at = from;
        while at < end {
            let group = Group::read(&mut read, &mut at, end);
            // Whoever sends has given up, or will when it sees the error.
            let over = group.failed.is_some();
            if groups.blocking_send(group).is_err() || over {
                return;
            }
        }
    });
    while let Some(group) = ready.recv().await {
        for chunk in group.chunks {
            for piece in brake.pieces(chunk) {
                brake.pass(piece.len()).await;
                push(send, piece).await?;
            }
        }
        if let Some(error) = group.failed {
            // Half a file must not look like a whole one.
            send.reset(VarInt::from_u32(NOT_WANTED)).ok();
            return Err(Fault::new(
                Kind::Operator,
                "a file that another host wants cannot be read",
            )
            .because(&error));
        }
    }
    send.finish()
        .map_err(|error| network("the reader is gone", &error))
}

/// Neighbouring pieces of a file, and why there are no more.
struct Group {
    chunks: Vec<Bytes>,
    failed: Option<io::Error>,
}

impl Group {
    /// What stands from `at` on, which moves behind it.
    fn read(
        read: &mut impl FnMut(u64, usize) -> io::Result<Bytes>,
        at: &mut u64,
        end: u64,
    ) -> Group {
        let mut group = Group {
            chunks: Vec::with_capacity(CHUNKS_TOGETHER),
            failed: None,
        };
        while *at < end && group.chunks.len() < CHUNKS_TOGETHER {
            let left = usize::try_from(end - *at).unwrap_or(usize::MAX);
            match read(*at, left.min(CHUNK_BYTES)) {
                Ok(chunk) => {
                    *at += chunk.len() as u64;
                    group.chunks.push(chunk);
                }
                Err(error) => {
                    group.failed = Some(error);
                    break;
                }
            }
        }
        group
    }
}

/// What one file is read into. A buffer is used again once the other side has acknowledged what was in it: making and clearing one for
/// every piece costs a tenth of a fast link.
#[derive(Default)]
struct Buffers {
    /// On their way, the oldest first; at most what a stream's window holds.
    sent: VecDeque<Bytes>,
}

impl Buffers {
    fn read(&mut self, file: &File, at: u64, bytes: usize) -> io::Result<Bytes> {
        let used = self.sent.pop_front().map(Bytes::try_into_mut);
        let mut buffer = match used {
            Some(Ok(buffer)) => buffer,
            Some(Err(still_used)) => {
                self.sent.push_front(still_used);
                BytesMut::new()
            }
            None => BytesMut::new(),
        };
        buffer.resize(bytes, 0);
        match file.read_at(&mut buffer, at)? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            got => {
                buffer.truncate(got);
                let chunk = buffer.freeze();
                self.sent.push_back(chunk.clone());
                Ok(chunk)
            }
        }
    }
}

/// Sends some bytes, unless the reader takes none of them for long.
pub async fn push(send: &mut SendStream, bytes: Bytes) -> Result<()> {
    let stall = Duration::from_secs(limit::TRANSFER_STALL_S);
    match tokio::time::timeout(stall, send.write_chunk(bytes)).await {
        Ok(sent) => sent.map_err(|error| network("the reader is gone", &error)),
        Err(_) => {
            send.reset(VarInt::from_u32(NOT_WANTED)).ok();
            Err(Fault::new(
                Kind::Network,
                format!("the reader took nothing for {} s", limit::TRANSFER_STALL_S),
            ))
        }
    }
}

/// Asks for a file; the stream of its bytes from `Fetch::from` on, and how many there are.
pub async fn fetch(connection: &Connection, wish: Fetch) -> Result<(RecvStream, u64)> {
    let (mut send, mut receive) = connection
        .open_bi()
        .await
        .map_err(|error| network("the link is gone", &error))?;
    say(&mut send, Say::Fetch(wish)).await?;
    send.finish()
        .map_err(|error| network("the link is gone", &error))?;
    match hear(&mut receive).await? {
        Say::FetchAck { bytes } => Ok((receive, bytes)),
        Say::FetchRefused { fault } => Err(fault.bounded()),
        _ => Err(Fault::new(
            Kind::Network,
            "the other host answered something else",
        )),
    }
}

/// A stream that is read by a thread that may block; progress is watched, not life.
#[derive(Debug)]
pub struct BlockingStream {
    /// The runtime that the link lives on.
    pub runtime: Handle,
    /// The bytes.
    pub receive: RecvStream,
}

impl io::Read for BlockingStream {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let stall = Duration::from_secs(limit::TRANSFER_STALL_S);
        let receive = &mut self.receive;
        let gone = |error| io::Error::new(io::ErrorKind::ConnectionReset, error);
        self.runtime.block_on(async move {
            let first = tokio::time::timeout(stall, receive.read(to));
            let first = first.await.map_err(|_| {
                io::Error::new(io::ErrorKind::TimedOut, "nothing came for too long")
            })?;
            let mut filled = first.map_err(gone)?.unwrap_or(0);
            // What is there already comes along: a stream gives a datagram at a time, and whoever hashes and writes wants more.
            while filled > 0
                && let Some(rest) = to.get_mut(filled..).filter(|rest| !rest.is_empty())
            {
                tokio::select! {
                    biased;
                    // An end or an error is met again by the next read.
                    more = receive.read(rest) => match more {
                        Ok(Some(more)) if more > 0 => filled += more,
                        _ => break,
                    },
                    () = std::future::ready(()) => break,
                }
            }
            Ok(filled)
        })
    }
}

impl Drop for BlockingStream {
    fn drop(&mut self) {
        // A stream that was read to its end has nothing left to stop.
        self.receive.stop(VarInt::from_u32(NOT_WANTED)).ok();
    }
}
