//! Watches over the actors of a host: one that fails is started again from its rows, one that keeps failing ends the host.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio_util::sync::CancellationToken;

use crate::fault::{Fault, Result, says_no_room};

/// An actor that fails more often than this within a minute will not be mended by another start.
const RESTARTS_MAX: usize = 5;
const RESTARTS_WITHIN: Duration = Duration::from_secs(60);
/// A disk without room is no fault of the actor: it is started again until there is some, this often.
const ROOM_LOOK: Duration = Duration::from_secs(1);

/// Starts one actor under the root; again whenever it fails.
pub type Start =
    Arc<dyn Fn(ActorCell) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync>;

/// What the root hears.
pub enum Msg {
    /// Start this actor and keep it running.
    Keep(&'static str, Start, RpcReplyPort<Result<()>>),
    /// Start this kept actor, which ended for want of room on the disk.
    Again(&'static str),
    /// Stop every actor.
    Stop,
}

/// The actor.
pub struct Root;

struct Kept {
    name: &'static str,
    start: Start,
    failures: VecDeque<Instant>,
}

/// Its state.
pub struct State {
    kept: Vec<Kept>,
    stop: CancellationToken,
}

impl Actor for Root {
    type Msg = Msg;
    type State = State;
    type Arguments = CancellationToken;

    async fn pre_start(
        &self,
        _: ActorRef<Msg>,
        stop: CancellationToken,
    ) -> std::result::Result<State, ActorProcessingErr> {
        Ok(State {
            kept: Vec::new(),
            stop,
        })
    }

    async fn handle(
        &self,
        me: ActorRef<Msg>,
        msg: Msg,
        state: &mut State,
    ) -> std::result::Result<(), ActorProcessingErr> {
        match msg {
            Msg::Keep(name, start, reply) => {
                let started = start(me.get_cell()).await;
                if started.is_ok() {
                    state.kept.push(Kept {
                        name,
                        start,
                        failures: VecDeque::new(),
                    });
                }
                // Who asked may have given up the whole host.
                reply.send(started).ok();
            }
            Msg::Again(name) => {
                if let Some(kept) = state.kept.iter().find(|kept| kept.name == name) {
                    let started = (kept.start)(me.get_cell()).await;
                    started_again(&me, name, started, &state.stop);
                }
            }
            Msg::Stop => {
                state.kept.clear();
                for child in me.get_cell().get_children() {
                    child
                        .stop_and_wait(Some("the host stops".into()), Some(Duration::from_secs(2)))
                        .await
                        .ok();
                }
                me.stop(None);
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<Msg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> std::result::Result<(), ActorProcessingErr> {
        let (who, why) = match event {
            SupervisionEvent::ActorFailed(who, error) => (who, error.to_string()),
            SupervisionEvent::ActorTerminated(who, _, reason) => {
                (who, reason.unwrap_or_else(|| "it ended".into()))
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {
                return Ok(());
            }
        };
        let name = who.get_name().unwrap_or_default();
        let Some(kept) = state.kept.iter_mut().find(|kept| kept.name == name) else {
            return Ok(());
        };
        tracing::error!(
            actor = kept.name,
            why,
            "failed; it is started again from its rows"
        );
        if says_no_room(&why) {
            return wait_for_room(&me, kept.name);
        }
        let now = Instant::now();
        kept.failures.push_back(now);
        kept.failures
            .retain(|at| now.duration_since(*at) < RESTARTS_WITHIN);
        if kept.failures.len() > RESTARTS_MAX {
            tracing::error!(
                actor = kept.name,
                "failed {} times within a minute: the host gives up",
                kept.failures.len()
            );
            state.stop.cancel();
            return Ok(());
        }
        let started = (kept.start)(me.get_cell()).await;
        started_again(&me, kept.name, started, &state.stop);
        Ok(())
    }
}

/// What follows from an attempt to start an actor again.
fn started_again(
    me: &ActorRef<Msg>,
    name: &'static str,
    started: Result<()>,
    stop: &CancellationToken,
) {
    match started {
        Ok(()) => {}
        Err(fault) if fault.is_no_room() => {
            tracing::warn!(actor = name, %fault, "waits for room on the disk");
            wait_for_room(me, name).ok();
        }
        Err(fault) => {
            tracing::error!(actor = name, %fault, "could not be started again: the host gives up");
            stop.cancel();
        }
    }
}

fn wait_for_room(
    me: &ActorRef<Msg>,
    name: &'static str,
) -> std::result::Result<(), ActorProcessingErr> {
    // A root that is gone keeps nobody.
    drop(me.send_after(ROOM_LOOK, move || Msg::Again(name)));
    Ok(())
}

/// Starts an actor under this name, and again whenever it fails.
pub async fn start<A>(
    root: &ActorRef<Msg>,
    name: &'static str,
    make: impl Fn() -> (A, A::Arguments) + Send + Sync + 'static,
) -> Result<()>
where
    A: Actor,
{
    let start: Start = Arc::new(move |supervisor| {
        let (actor, arguments) = make();
        Box::pin(async move {
            let spawned =
                Actor::spawn_linked(Some(name.to_string()), actor, arguments, supervisor).await;
            spawned
                .map(drop)
                .map_err(|error| Fault::bug(format!("{name} did not start")).because(&error))
        })
    });
    match root.call(|reply| Msg::Keep(name, start, reply), None).await {
        Ok(ractor::rpc::CallResult::Success(started)) => started,
        Ok(_) | Err(_) => Err(Fault::bug(format!(
            "{name} was not started: the root actor is gone"
        ))),
    }
}
