//! summit: decides what is built, in which order and where. Sole writer of the trees `project`, `profile`, `job`,
//! `attempt`, `recipe_hold`, `host` and of the log of events; everybody else sends it facts and questions.
//!
//! After each message it settles: jobs that should exist are planned, what can start is given out, until nothing more
//! follows. Nobody is told anything before it is on disk.

pub mod answer;
pub mod attempts;
mod bases;
pub mod builders;
mod catalog_blob;
pub mod cone;
mod ended;
mod entries;
pub mod estimates;
pub mod fetch;
mod history;
mod idle;
pub mod intake;
mod isa;
mod levels;
pub mod limits;
pub mod lookup;
pub mod mirror;
pub mod orders;
mod pack;
pub mod plan;
pub mod proof;
mod proof_view;
mod proven;
mod published;
pub mod reader;
pub mod reconcile;
pub mod remotes;
pub mod request;
pub mod state;
pub mod tries;
pub mod view;
mod wanted;
pub mod watcher;
mod why;
mod why_things;

use std::path::PathBuf;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::sync::{broadcast, watch};

use self::state::State;
use super::post::Post;
use super::vessel;
use crate::admin::{Caller, Reply};
use crate::fault::Result;
use crate::id::{AttemptId, ChannelName, HostId, HostName, RecipeName};
use crate::model::{Base, BuildOrder, Hold, Profile, Recorded, Say};
use crate::stone::{Dependency, Meta};
use crate::store::{Blobs, Store};

/// Between two looks at leases and deadlines while there are some: what ends one is seen well within a second.
const TICK_BUSY: Duration = Duration::from_millis(500);
/// The same while nothing runs, so that an idle host sleeps; the shortest lease is not much shorter.
const TICK_IDLE: Duration = Duration::from_secs(2);

/// What summit hears.
#[derive(Debug)]
pub enum Msg {
    /// A host says something.
    Said {
        /// Who.
        from: HostId,
        /// What.
        say: Say,
    },
    /// A watcher has looked at a repository.
    Heard(watcher::Heard),
    /// Vessel's channels moved: the view has them.
    ChannelsMoved,
    /// summit to itself: an order could not be made a moment ago.
    Prepare(AttemptId),
    /// The order for an attempt is ready to be sent, or cannot be made.
    OrderReady {
        /// The attempt.
        attempt: AttemptId,
        /// The order.
        order: Box<Result<BuildOrder>>,
        /// What it is built with; `None`: what was published is built again for comparison.
        with: Option<Box<crate::model::BuiltWith>>,
    },
    /// How large the archives are that lie here.
    UpstreamSizes(Box<crate::plan::estimate::UpstreamSizes>),
    /// A remote index was read.
    RemoteRead {
        /// Its URL or path.
        uri: String,
        /// What is in it; `None`: as before.
        packages: Result<Option<Vec<Meta>>>,
    },
    /// A base was looked at.
    BaseRead {
        /// Which.
        base: Base,
        /// What it provides.
        provides: Result<Vec<Dependency>>,
    },
    /// A host can be spoken to (again).
    PeerUp(HostId),
    /// The key of a builder was revoked.
    BuilderGone(HostId),
    /// What a builder made that was published since then.
    MadeBy(
        HostId,
        Option<crate::id::Stamp>,
        RpcReplyPort<Vec<crate::admin::view::MadeView>>,
    ),
    /// Whether a builder for tests may be let build for publication; a refusal says what it lacks.
    MayRise(HostId, RpcReplyPort<Result<()>>),
    /// Time passed.
    Tick,
    /// A person asks or wants something.
    Ask {
        /// Who.
        caller: Caller,
        /// What.
        call: Box<crate::admin::summit::Call>,
        /// The answer.
        reply: RpcReplyPort<Result<Reply>>,
    },
    /// Which job a person means, with its attempts.
    Locate(String, RpcReplyPort<Result<lookup::Located>>),
    /// What another host made of a try is here, or could not be fetched.
    TryCame(HostId, AttemptId, Box<Result<Vec<crate::model::Artefact>>>),
    /// What another host made of a try, as far as it is here.
    TryMade(crate::id::JobId, RpcReplyPort<Vec<crate::model::Artefact>>),
    /// Whether a try's log will not grow any more.
    TryIsOver(crate::id::JobId, RpcReplyPort<bool>),
    /// What the host's page shows of the farm.
    Status(RpcReplyPort<view::FarmStatus>),
    /// What these needed first, if their recipes' trees are still the ones of now.
    NeedsOfTree(
        Vec<(crate::model::Target, crate::id::CommitId)>,
        RpcReplyPort<Vec<Option<cone::Needs>>>,
    ),
    /// Builders that were heard of.
    BuildersNow(RpcReplyPort<Vec<(HostId, BuilderNow)>>),
    /// Packages that stand for a base.
    BasePackages(RpcReplyPort<Vec<crate::model::BasePackage>>),
    /// What the farm's recipes provide: a base package must not provide it too.
    Provided(RpcReplyPort<Vec<Dependency>>),
    /// The packages of these sources are about to go back: their recipes are held, so that nothing undoes it.
    HoldSources {
        /// The channel.
        channel: ChannelName,
        /// The sources.
        sources: Vec<RecipeName>,
        /// The hold of whoever rolled back.
        hold: Hold,
        /// Told when it is recorded.
        reply: RpcReplyPort<Result<()>>,
    },
    /// Something happened elsewhere that belongs into the log of events.
    Note {
        /// Who caused it.
        who: crate::model::Who,
        /// What.
        event: Box<crate::model::Event>,
        /// Told when it is recorded.
        reply: RpcReplyPort<Result<()>>,
    },
}

/// Time between two looks at the archives of upstreams: idle, a look at some thousand names costs a millisecond or two.
const SIZES_AGAIN: Duration = Duration::from_secs(300);

/// A builder that was heard of, for those who look at the past.
#[derive(Debug, Clone)]
pub struct BuilderNow {
    /// What it builds for.
    pub arch: crate::id::Arch,
    /// How it was within the last hour.
    pub moments: Vec<crate::admin::view::MomentView>,
}

/// What it needs to start.
#[derive(Clone)]
pub struct Args {
    /// This host.
    pub own: HostId,
    /// Its name.
    pub name: HostName,
    /// The state directory.
    pub dir: PathBuf,
    /// Rows.
    pub store: Store,
    /// Blobs.
    pub blobs: Blobs,
    /// To other actors.
    pub post: Post,
    /// Vessel's channels.
    pub channels: watch::Receiver<vessel::View>,
    /// Every recorded event, for those who watch.
    pub recorded: broadcast::Sender<Recorded>,
    /// A profile to begin with, when there is none.
    pub first_profile: Option<Profile>,
    /// Time between two looks at a repository.
    pub poll: Duration,
    /// How long an attempt belongs to a builder without news.
    pub lease: Duration,
    /// Jobs that are over and remembered beside the newest ones of each recipe.
    pub history_jobs: usize,
    /// Where the served files are found, as builders reach them: `http://ADDR`.
    pub http: Option<String>,
    /// Where archives are looked for, for `recipe show`.
    pub upstreams: crate::build::upstream::Upstreams,
}

/// The actor.
#[derive(Debug)]
pub struct Summit;

impl Actor for Summit {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    /// Memory is rebuilt from the store.
    async fn pre_start(
        &self,
        me: ActorRef<Msg>,
        args: Args,
    ) -> std::result::Result<State, ActorProcessingErr> {
        let mut moved = args.channels.clone();
        let mut state = State::load(me.clone(), args).await?;
        state.settle().await?;
        let to = me.clone();
        tokio::spawn(async move {
            // Ends with vessel or with this actor; a restarted one listens anew.
            while moved.changed().await.is_ok() && to.cast(Msg::ChannelsMoved).is_ok() {}
        });
        drop(me.send_after(TICK_BUSY, || Msg::Tick));
        tokio::spawn(watch_sizes(me, state.args.upstreams.clone()));
        Ok(state)
    }

    async fn handle(
        &self,
        me: ActorRef<Msg>,
        msg: Msg,
        state: &mut State,
    ) -> std::result::Result<(), ActorProcessingErr> {
        // What vessel shows is looked at before anything is decided, not only when its message comes round.
        if state.args.channels.has_changed().unwrap_or(false) {
            state.channels_moved();
        }
        match msg {
            Msg::Said { from, say } => state.said(from, say).await?,
            Msg::Heard(heard) => state.heard(heard).await?,
            Msg::ChannelsMoved => state.channels_moved(),
            Msg::Prepare(attempt) => state.prepare_again(attempt),
            Msg::OrderReady {
                attempt,
                order,
                with,
            } => state.order_ready(attempt, *order, with).await?,
            Msg::UpstreamSizes(sizes) => state.estimates.know_sizes(*sizes),
            Msg::RemoteRead { uri, packages } => state.remote_read(&uri, packages),
            Msg::BaseRead { base, provides } => state.base_read(&base, provides),
            Msg::PeerUp(peer) => state.peer_up(peer),
            Msg::BuilderGone(builder) => state.builder_gone(builder).await?,
            Msg::MadeBy(builder, since, reply) => {
                reply.send(state.made_by(builder, since)).ok();
            }
            Msg::MayRise(builder, reply) => {
                reply.send(state.may_rise(&builder)).ok();
            }
            Msg::Tick => {
                state.tick().await?;
                drop(me.send_after(state.until_tick(), || Msg::Tick));
            }
            Msg::Ask {
                caller,
                call,
                reply,
            } => state.asked(&caller, *call, reply).await?,
            Msg::Locate(text, reply) => {
                reply.send(state.locate(&text)).ok();
            }
            Msg::TryCame(from, attempt, came) => state.trial_came(from, attempt, *came).await?,
            Msg::TryMade(id, reply) => {
                reply.send(state.trial_made(id)).ok();
            }
            Msg::TryIsOver(id, reply) => {
                reply.send(state.trial_is_over(id)).ok();
            }
            Msg::Status(reply) => {
                reply.send(state.status()).ok();
            }
            Msg::NeedsOfTree(asked, reply) => {
                reply.send(state.needs_of_tree(&asked)).ok();
            }
            Msg::BuildersNow(reply) => {
                let known = state.builders.iter();
                let told = known.map(|(id, known)| {
                    let now = BuilderNow {
                        arch: known.report.arch,
                        moments: state.moments(id),
                    };
                    (*id, now)
                });
                reply.send(told.collect()).ok();
            }
            Msg::BasePackages(reply) => {
                reply
                    .send(state.farm.base_packages.values().cloned().collect())
                    .ok();
            }
            Msg::Provided(reply) => {
                reply.send(state.provided()).ok();
            }
            Msg::HoldSources {
                channel,
                sources,
                hold,
                reply,
            } => {
                state.hold_sources(&channel, &sources, &hold).await?;
                reply.send(Ok(())).ok();
            }
            Msg::Note { who, event, reply } => {
                let noted = state.record_one(who, *event).await?;
                reply
                    .send(noted.map_err(|refusal| state::refused(&refusal)))
                    .ok();
            }
        }
        state.settle().await
    }
}

/// Looks again and again how large archives are: what is fetched or put into a mirror later counts for the next estimate.
async fn watch_sizes(me: ActorRef<Msg>, upstreams: crate::build::upstream::Upstreams) {
    loop {
        tokio::time::sleep(SIZES_AGAIN).await;
        let upstreams = upstreams.clone();
        let Ok(sizes) = tokio::task::spawn_blocking(move || upstreams.sizes()).await else {
            continue;
        };
        // Ends with the actor; a restarted one looks anew.
        if me.cast(Msg::UpstreamSizes(Box::new(sizes))).is_err() {
            return;
        }
    }
}
