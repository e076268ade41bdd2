//! vessel: keeps the channels. Writer of the trees of channels, versions, packages, expectations and receipts.

mod actor;
pub mod check;
pub mod engine;
mod examine;
pub mod fetch;
pub mod replica;
pub mod rows;
pub mod shelf;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use ractor::RpcReplyPort;
use tokio::sync::watch;

pub use self::actor::{State, Vessel};
use self::check::Checked;
use crate::channel::ChannelState;
use crate::fault::{Fault, Result};
use crate::id::{Arch, AttemptId, ChannelName, HostId, RecipeName, VersionId};
use crate::model::{Artefact, Expectation, Say, Who};
use crate::store::{Blobs, Store};

/// Where an attempt's artefacts can be read.
#[derive(Debug, Clone)]
pub enum Source {
    /// A directory of this machine that holds the files by their names.
    Local(PathBuf),
    /// The link that their builder opened.
    Link(super::links::LinkSource),
}

/// Whether what a builder makes may be published.
pub type Trusts = Arc<dyn Fn(&HostId) -> bool + Send + Sync>;

/// What vessel has to say, and to whom. `Say::Published` and `Say::Rejected` go to summit; `Say::Receipt` and
/// `Say::Unexpected` to the builder.
#[derive(Debug, Clone)]
pub enum Told {
    /// To summit.
    Summit(Say),
    /// To this builder.
    Builder(HostId, Say),
}

/// Called with everything that vessel says, from its own task: it must only forward (a cast), never wait.
pub type Tell = Arc<dyn Fn(Told) + Send + Sync>;

/// A change of a channel that a person asked for, done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The channel.
    pub channel: ChannelName,
    /// The version that holds it now; the one before when nothing had to change.
    pub version: VersionId,
    /// Packages that came, changed or went.
    pub changed: u32,
    /// Sources whose packages went back or away.
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

/// All channels as of now, for planning and for lists: read it from the `watch` of `Arguments`.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Channels by name.
    pub channels: BTreeMap<ChannelName, Arc<ChannelState>>,
    /// The highest build release ever published for (source, release), in any channel or version.
    pub build_releases: Arc<BTreeMap<(RecipeName, u64), u64>>,
}

impl View {
    /// Whether nothing happened between the two.
    fn is_same(&self, other: &View) -> bool {
        let same = |(a, b): (&Arc<ChannelState>, &Arc<ChannelState>)| Arc::ptr_eq(a, b);
        self.channels.len() == other.channels.len()
            && self
                .channels
                .values()
                .zip(other.channels.values())
                .all(same)
    }

    /// The build release that the next build of this source and release gets: 1 for the first.
    pub fn next_build_release(&self, source: &RecipeName, release: u64) -> u64 {
        let highest = self.build_releases.get(&(source.clone(), release));
        highest.map_or(1, |highest| highest + 1)
    }
}

/// Messages to vessel. All are idempotent; every answer is given, and everything is told, after the rows are on disk and
/// the files are served.
#[derive(Debug)]
pub enum Message {
    /// Make sure that this channel exists and is served for this architecture. Answers with its newest version.
    Open(ChannelName, Arch, RpcReplyPort<Result<VersionId>>),
    /// Summit, before it sends the order: this attempt may publish. Of an attempt that is published or rejected
    /// already, summit is told so again.
    Expect(Box<Expectation>),
    /// Summit: fetch and check what this attempt will offer, and keep it until it is expected or forgotten.
    Stage(Box<Expectation>),
    /// Summit: this attempt will not be offered any more; if it is, its builder hears `Unexpected`.
    Forget(AttemptId),
    /// A builder has artefacts: fetch, check, publish. Repeats are answered with what came of the first.
    /// A failure that is neither the recipe's nor final is told to nobody: the builder offers again.
    Offer(Offer),
    /// What an attempt made, as far as vessel has fetched it. Every file is a blob of the store.
    Artefacts(AttemptId, RpcReplyPort<Result<Vec<Artefact>>>),
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
    /// Summit, before it sends the order: this attempt will be offered to be held against what is published.
    Examine {
        /// The attempt.
        attempt: AttemptId,
        /// Who alone may offer it.
        builder: HostId,
        /// The attempt whose packages are published.
        publication: AttemptId,
    },
    /// vessel to itself: what was offered for that was fetched and held against it.
    Examined(Box<Examined>),
    /// vessel to itself: an offer was fetched and checked.
    Fetched(Box<Fetched>),
    /// vessel to itself: the same of one that is kept for now.
    Kept(Box<Fetched>),
    /// vessel to itself: files to import are blobs now, and checked.
    Taken(Box<Taken>),
    /// vessel to itself: look again at what could not be written.
    Settle,
}

/// What a builder has of an attempt.
#[derive(Debug)]
pub struct Offer {
    /// The attempt.
    pub attempt: AttemptId,
    /// Who offers: must be the host that is expected.
    pub builder: HostId,
    /// What there is. Stones are published; all are kept as blobs for `job artefacts`.
    pub artefacts: Vec<Artefact>,
    /// Where to fetch from.
    pub from: Source,
}

/// An offer that was fetched, and what came of it.
#[derive(Debug)]
pub struct Tried<T> {
    offer: Offer,
    result: T,
}

/// Its artefacts are blobs and checked, or why not.
pub type Fetched = Tried<std::result::Result<Vec<Checked>, Unfetched>>;

/// It was held against what is published.
pub type Examined = Tried<Result<examine::Report>>;

/// Why an offer cannot be published.
#[derive(Debug)]
pub enum Unfetched {
    /// Another try may do.
    Later(Fault),
    /// Its packages are no good.
    Final(Fault),
}

/// Files that were checked for an import, or why not.
#[derive(Debug)]
pub struct Taken {
    channel: ChannelName,
    by: Who,
    packages: Result<Vec<Checked>>,
    reply: RpcReplyPort<Result<Changed>>,
}

/// What vessel is started with; the same again when it is started anew.
#[derive(Clone)]
pub struct Arguments {
    /// The state directory.
    pub dir: PathBuf,
    /// Its rows.
    pub store: Store,
    /// Its blobs.
    pub blobs: Blobs,
    /// Where what vessel says goes.
    pub tell: Tell,
    /// Where what it knows is shown.
    pub view: watch::Sender<View>,
    /// Whose packages it takes, as of now.
    pub trusts: Trusts,
}

#[cfg(test)]
mod tests;
