//! What hosts say to each other: envelopes of postcard with a length before them.
//!
//! Versions, newest first; the ALPN carries them, so two hosts that share none never exchange an envelope.
//! - 1: first release.

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::fault::{Fault, Kind, Result};
use crate::id::{AttemptId, ChannelName, Digest, HostId, HostName, RecipeName, Stamp, VersionId};
use crate::limit;
use crate::model::{BuildOrder, Outcome, ProfileSpec};

/// Protocols that this program speaks, newest first.
pub const ALPN: &[&[u8]] = &[b"massif/1"];
/// Before the hello is accepted, nothing larger is read.
pub const HELLO_BYTES_MAX: usize = 4 * 1024;

/// One message. `seq` counts the sender's messages on this stream from 1, so that a gap is seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Which message of this stream.
    pub seq: u64,
    /// What is said.
    pub say: Say,
}

/// Order is the format: postcard writes the variant's position. Append only; never reorder, never remove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Say {
    /// First on a link, from the host that dialled.
    Hello(Hello),
    /// The answer; until it is a welcome nothing else may be said.
    HelloAck(HelloAck),
    /// Summit to a builder: build this.
    Build(Box<BuildOrder>),
    /// Summit to vessel: this builder may deliver this.
    Expect(Expect),
    /// Builder to summit: taken, in this slot.
    Accepted {
        /// The attempt.
        attempt: AttemptId,
        /// From 0.
        slot: u32,
    },
    /// Builder to summit: not here, not now.
    Refused {
        /// The attempt.
        attempt: AttemptId,
        /// Why, and what would help.
        fault: Fault,
    },
    /// Builder to summit: a phase began.
    Phase {
        /// The attempt.
        attempt: AttemptId,
        /// `prepare`, `setup`, `build`, `install`, `check`...
        phase: String,
        /// By the builder's clock.
        at: Stamp,
    },
    /// Builder to summit: how far it is. Unknown is `None`.
    Progress {
        /// The attempt.
        attempt: AttemptId,
        /// Bytes of log so far.
        log_bytes: u64,
        /// Processor time so far.
        cpu_ms: Option<u64>,
        /// Memory now.
        memory_bytes: Option<u64>,
    },
    /// Builder to summit and vessel: the attempt ended so. Repeated until there is a receipt.
    Ended {
        /// The attempt.
        attempt: AttemptId,
        /// How.
        outcome: Outcome,
    },
    /// Vessel to the builder: everything of this attempt is safe here; it may be deleted there.
    Receipt {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Vessel to summit: published, as this version.
    Published {
        /// The attempt.
        attempt: AttemptId,
        /// The channel.
        channel: ChannelName,
        /// The version.
        version: VersionId,
    },
    /// Vessel to summit: not published, for this reason.
    NotPublished {
        /// The attempt.
        attempt: AttemptId,
        /// Why.
        fault: Fault,
    },
    /// Summit to the builder: stop it.
    Cancel {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Builder to summit: I still have these. Summit answers with `Lease`.
    Holding {
        /// All attempts of the builder, sorted.
        attempts: Vec<Held>,
    },
    /// Summit to the builder: these are yours for so long from now; any other is not yours any more.
    Lease {
        /// Sorted.
        attempts: Vec<AttemptId>,
        /// Counted from the receipt of this message.
        lease_ms: u64,
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
    /// The answer to `Fetch`: there is nothing to send.
    FetchRefused {
        /// Why.
        fault: Fault,
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
}

/// What vessel may take from a builder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expect {
    /// The attempt.
    pub attempt: AttemptId,
    /// The only host that may deliver it.
    pub builder: HostId,
    /// The recipe.
    pub recipe: RecipeName,
    /// Its version.
    pub version: String,
    /// Its release.
    pub release: u64,
    /// The farm's rebuild counter.
    pub build_release: u64,
    /// What it was built for, and where it is published.
    pub profile: ProfileSpec,
}

/// An attempt that a builder has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The attempt.
    pub attempt: AttemptId,
    /// Bytes of log there.
    pub log_bytes: u64,
    /// How it ended, if it has.
    pub outcome: Option<Outcome>,
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
