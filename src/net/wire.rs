//! What hosts say to each other: envelopes of postcard with a length before them.
//!
//! Versions, newest first; the ALPN carries them, so two hosts that share none never exchange an envelope.
//! - 1: first release.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::errand::{Done, Errand};
use super::peer_list::PeerList;
use super::rotation::Rotation;
use crate::channel::{Edit, Version};
use crate::fault::{Fault, Kind, Result};
use crate::id::{Arch, AttemptId, ChannelName, Digest, HostId, HostName, Stamp, VersionId};
use crate::limit;
use crate::model::peer::{NoEntry, TicketId};
use crate::model::{self, PeerChange, PeerTrust, Role};

/// Protocols that this program speaks, newest first.
pub const ALPN: &[&[u8]] = &[b"massif/1"];
/// Before the hello is accepted, nothing larger is read.
pub const HELLO_BYTES_MAX: usize = 4 * 1024;

/// One message. `seq` counts the sender's messages on this stream from 1, so that a gap is seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// Which message of this stream.
    pub seq: u64,
    /// What is said.
    pub say: Say,
}

/// Order is the format: postcard writes the variant's position. Append only; never reorder, never remove.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Say {
    /// First on a link, from the host that dialled.
    Hello(Hello),
    /// The answer; until it is a welcome nothing else may be said.
    HelloAck(HelloAck),
    /// From an actor of one host to an actor of the other.
    Ring {
        /// Whom it is for. Who may say what to whom is checked by the receiver, against the key.
        to: Role,
        /// What is said.
        say: Box<model::Say>,
    },
    /// Either side: the last word, before the link is closed.
    Bye {
        /// Why.
        why: String,
    },
    /// On a stream of its own: send me these bytes.
    Fetch(Fetch),
    /// The answer to `Fetch`: this many bytes follow on the stream.
    FetchAck {
        /// Bytes from `Fetch::from` to the end.
        bytes: u64,
    },
    /// The answer to `Fetch` or `Tail`: there is nothing to send.
    FetchRefused {
        /// Why.
        fault: Fault,
    },
    /// First on a link from a host that holds a ticket; after the answer the link ends.
    Join(Join),
    /// The answer to `Join`.
    JoinAck(JoinAck),
    /// On a stream of its own: send me the log of this attempt from this byte on, and what is added, until its end.
    Tail {
        /// The attempt.
        attempt: AttemptId,
        /// From this byte on.
        from: u64,
    },
    /// The answer to `Tail`: the bytes follow on the stream, which ends with the log.
    TailAck,
    /// On a stream of its own, from an operator: the admin interface's own messages follow, both ways.
    Admin,
    /// Either side, on the control stream: say that you are there.
    Ping,
    /// The answer to `Ping`.
    Pong,
    /// Either side, on the control stream: my key was replaced, oldest first. Also the answer to `AskKeys`.
    Keys {
        /// Each signed by the key before it.
        rotations: Vec<Rotation>,
    },
    /// The answer to `Keys` on the control stream: this one is on disk here.
    KeysKept {
        /// The newest.
        key: HostId,
    },
    /// On a stream of its own, from an operator: was your key replaced?
    AskKeys,
    /// From the host that decides, on the control stream: who belongs to the farm.
    Peers(Box<PeerList>),
    /// From the host that publishes, on the control stream: builders reach me there.
    Reached {
        /// `HOST:PORT` each.
        addresses: Vec<String>,
    },
    /// On a stream of its own, from the host that decides: show me your channels, and what is added. `Shelf`s follow.
    Follow {
        /// The newest version of each that is known already.
        known: Vec<(ChannelName, VersionId)>,
    },
    /// The answer to `Follow`, again and again.
    Shelf(Box<Shelf>),
    /// On a stream of its own, from the host that decides to the one that publishes: somebody wants this of you.
    Errand(Box<Errand>),
    /// The answer to `Errand`, once it is done: that may take as long as disks need.
    ErrandDone(Box<Done>),
    /// From the host that publishes, on the control stream: clients and the distribution's own tool find packages there.
    Serves {
        /// `HOST:PORT` of its package server.
        http: Option<String>,
    },
    /// From the host that publishes, on the control stream: a peer of mine did this, for the farm's audit trail.
    Noted {
        /// Whose key, if it is known.
        host: Option<HostId>,
        /// What it is called.
        name: String,
        /// What it did.
        change: PeerChange,
        /// The same in words.
        text: String,
    },
}

/// A version of a channel, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shelf {
    /// The channel.
    pub channel: ChannelName,
    /// What it serves.
    pub arches: Vec<Arch>,
    /// Streams besides `volatile`.
    pub streams: BTreeMap<String, VersionId>,
    /// Tags.
    pub tags: BTreeMap<String, VersionId>,
    /// The version.
    pub version: Version,
    /// Forget what you know of this channel: it begins anew.
    pub fresh: bool,
    /// Some of what it changed.
    pub edits: Vec<Edit>,
    /// What the index says of each package that these edits bring, in their order.
    pub entries: Vec<Vec<u8>>,
    /// This is the last part.
    pub whole: bool,
}

/// Who wants to join. The secret is covered by bytes that only the two ends of this TLS session can compute, so that it is
/// of no use to anybody who passes it on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// Who calls.
    pub hello: Hello,
    /// Which ticket.
    pub ticket: TicketId,
    /// The ticket's secret, covered.
    pub covered: [u8; 16],
}

/// The answer to `Join`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinAck {
    /// The ticket was good.
    Joined {
        /// Who answers.
        hello: Hello,
        /// What the newcomer is called there.
        name: HostName,
        /// What it is there.
        role: Role,
        /// What it may build for.
        trust: PeerTrust,
        /// Nobody has to approve any more.
        approved: bool,
    },
    /// It was not.
    Refused {
        /// Why.
        why: NoJoin,
        /// The clock of the host that refuses.
        clock: Stamp,
    },
}

/// Why a host cannot join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoJoin {
    /// The ticket is none.
    Ticket(NoEntry),
    /// The key was revoked before.
    Revoked {
        /// By whom.
        by: String,
        /// When.
        at: Stamp,
    },
    /// That host lets nobody join.
    Closed,
    /// It could not be recorded there; another try may do.
    Later,
    /// Its certificate is out of its time by the clock of the host that refuses.
    OutOfTime {
        /// Its first moment.
        from: Stamp,
        /// Its last moment.
        until: Stamp,
    },
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// What the host calls itself; the key is what counts.
    pub name: HostName,
    /// The program's version.
    pub version: String,
    /// Its clock.
    pub clock: Stamp,
}

/// The answer to a hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HelloAck {
    /// Come in.
    Welcome(Hello),
    /// Stay out.
    Refused {
        /// Why.
        why: Unwelcome,
        /// The clock of the host that refuses: often the reason.
        clock: Stamp,
    },
}

/// Why a host is not let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unwelcome {
    /// Its key is not known here.
    UnknownKey,
    /// Its key was revoked.
    Revoked {
        /// By whom.
        by: String,
        /// When.
        at: Stamp,
    },
    /// It asked to join and nobody approved yet.
    NotApproved,
    /// It did not begin with a hello.
    NoHello,
    /// This host stops.
    Stopping,
    /// Its certificate is out of its time by the clock of the host that refuses.
    OutOfTime {
        /// Its first moment.
        from: Stamp,
        /// Its last moment.
        until: Stamp,
    },
}

/// A request for the bytes of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// On whose behalf: the sender checks that the asker may have it.
    pub attempt: Option<AttemptId>,
    /// Which bytes.
    pub sha256: Digest,
    /// From this byte on.
    pub from: u64,
}

/// An envelope as bytes, with its length before it.
pub fn encode(envelope: &Envelope) -> Result<Vec<u8>> {
    let mut bytes = postcard::to_extend(envelope, vec![0; 4])
        .map_err(|error| Fault::bug("a message has no wire form").because(&error))?;
    let len = bytes.len() - 4;
    if len > limit::FRAME_BYTES_MAX {
        let what = format!(
            "a message of {len} bytes, {} can be sent",
            limit::FRAME_BYTES_MAX
        );
        return Err(Fault::bug(what));
    }
    if let Some(head) = bytes.first_chunk_mut::<4>() {
        *head = (len as u32).to_le_bytes();
    }
    Ok(bytes)
}

/// The envelope that these bytes are, without the length.
pub fn decode(bytes: &[u8]) -> Result<Envelope> {
    match postcard::take_from_bytes(bytes) {
        Ok((envelope, [])) => Ok(envelope),
        Ok((_, rest)) => Err(garbled(&format!("{} bytes too many", rest.len()))),
        Err(error) => Err(garbled("not understood").because(&error)),
    }
}

fn garbled(how: &str) -> Fault {
    Fault::new(
        Kind::Network,
        format!("the other host sent a message that is garbled: {how}"),
    )
    .next("compare both versions with `massif --version`")
}

/// Reads one envelope of at most `bytes_max`; `None` at the end of the stream.
pub async fn read<R: AsyncRead + Unpin>(
    from: &mut R,
    bytes_max: usize,
) -> Result<Option<Envelope>> {
    let failed = |error: std::io::Error| {
        Fault::new(Kind::Network, "the link broke in the middle of a message").because(&error)
    };
    let mut head = [0; 4];
    let mut filled = 0;
    while let Some(rest) = head.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match from.read(rest).await.map_err(failed)? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(garbled("half a length")),
            read => filled += read,
        }
    }
    let len = u32::from_le_bytes(head) as usize;
    if len > bytes_max.min(limit::FRAME_BYTES_MAX) {
        return Err(garbled(&format!("{len} bytes, {bytes_max} are taken")));
    }
    let mut body = vec![0; len];
    from.read_exact(&mut body).await.map_err(failed)?;
    decode(&body).map(Some)
}

/// Writes one envelope.
pub async fn write<W: AsyncWrite + Unpin>(to: &mut W, envelope: &Envelope) -> Result<()> {
    let bytes = encode(envelope)?;
    to.write_all(&bytes)
        .await
        .map_err(|error| Fault::new(Kind::Network, "the link broke while sending").because(&error))
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
