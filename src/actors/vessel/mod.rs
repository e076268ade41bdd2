//! vessel: keeps the channels. Writer of the trees of channels, versions, packages, expectations and receipts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use ractor::RpcReplyPort;

use crate::channel::{Artefact, ChannelState, Expectation};
use crate::fault::{Fault, Result};
use crate::id::{Arch, AttemptId, ChannelName, HostId, RecipeName, VersionId};
use crate::model::Who;

/// Where an attempt's artefacts can be read. A QUIC link comes with the hosts.
#[derive(Debug, Clone)]
pub enum Source {
    /// A directory of this machine that holds the files by their names.
    Local(PathBuf),
}

/// A builder's report that vessel may fetch.
#[derive(Debug, Clone)]
pub struct Built {
    /// The attempt.
    pub attempt: AttemptId,
    /// Who reports: must be the host that is expected.
    pub host: HostId,
    /// What it made. Only `.stone` files are published; the others are kept as blobs for `job artefacts`.
    pub artefacts: Vec<Artefact>,
    /// Where to fetch from.
    pub from: Source,
}

/// What came of an attempt's artefacts; the same for every repeat of its `Built`.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// They are in the channel, on disk and served. Summit records it; the builder may delete its copy.
    Published {
        /// The attempt.
        attempt: AttemptId,
        /// The channel.
        channel: ChannelName,
        /// The version that holds them.
        version: VersionId,
    },
    /// They were refused for good. `fault.kind` says whose move it is. Not to be sent again.
    Refused {
        /// The attempt.
        attempt: AttemptId,
        /// Why.
        fault: Fault,
    },
    /// Fetching or storing failed for now; a repeat of `Built` may succeed.
    Failed {
        /// The attempt.
        attempt: AttemptId,
        /// Why.
        fault: Fault,
    },
}

/// Called with every outcome, from vessel's own task: it must only forward (a cast), never wait.
pub type Announce = Arc<dyn Fn(Outcome) + Send + Sync>;

/// A change of a channel that a person asked for, done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The channel.
    pub channel: ChannelName,
    /// The version that holds it now; the one before when nothing had to change.
    pub version: VersionId,
    /// Packages that came, changed or went.
    pub changed: u32,
    /// Sources whose packages went back or away: summit holds their recipes.
    pub sources: Vec<RecipeName>,
}

/// What `channel verify` found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Versions whose files were read.
    pub versions: u32,
    /// Package files whose hash was computed.
    pub packages: u32,
    /// Their bytes.
    pub bytes: u64,
    /// One line per thing that is wrong; empty when all is well.
    pub problems: Vec<String>,
}

/// All channels as of now, for planning and for lists: read it from the `watch` that `Vessel::start` gives.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Channels by name.
    pub channels: BTreeMap<ChannelName, Arc<ChannelState>>,
    /// The highest build release ever published for (source, release), in any channel or version.
    pub build_releases: Arc<BTreeMap<(RecipeName, u64), u64>>,
}

impl View {
    /// The build release that the next build of this source and release gets: 1 for the first.
    pub fn next_build_release(&self, source: &RecipeName, release: u64) -> u64 {
        let highest = self.build_releases.get(&(source.clone(), release));
        highest.map_or(1, |highest| highest + 1)
    }
}

/// Messages to vessel. All are idempotent; every answer is given after the rows are on disk.
#[derive(Debug)]
pub enum Message {
    /// Make sure that this channel exists and is served for this architecture. Answers with its newest version.
    Open(ChannelName, Arch, RpcReplyPort<Result<VersionId>>),
    /// Summit, before it sends the order: this attempt may publish.
    Expect(Expectation, RpcReplyPort<Result<()>>),
    /// Summit: this attempt is over without packages; what it sends is refused from now on.
    Forget(AttemptId),
    /// A builder has artefacts. Answered by `Announce`, once per message.
    Built(Built),
    /// `package import`: these files become one version of the channel, whatever their sources.
    Import {
        /// The channel.
        channel: ChannelName,
        /// Package files on this machine.
        files: Vec<PathBuf>,
        /// Who asked.
        by: Who,
        /// The answer.
        reply: RpcReplyPort<Result<Changed>>,
    },
    /// A new version with the content of an older one.
    RollBack {
        /// The channel.
        channel: ChannelName,
        /// Whose content.
        to: VersionId,
        /// Who asked.
        by: Who,
        /// The answer.
        reply: RpcReplyPort<Result<Changed>>,
    },
    /// Reads every served file of the channel again and compares.
    Verify(ChannelName, RpcReplyPort<Result<Verified>>),
}
