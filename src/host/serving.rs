//! A host in the foreground: its runtime, what ends it, and the order in which it says `ready` and stops.

use std::time::{Duration, Instant};

use super::{Host, rest};
use crate::actors::{avalanche, desk, post::names};
use crate::config::HostOptions;
use crate::fault::{Fault, Kind, Result};
use crate::limit;

/// Starts the runtime that a host lives on.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Two are enough for what waits; what computes has threads of its own.
        .worker_threads(2)
        .max_blocking_threads(64)
        .thread_name("massif")
        .build()
        .map_err(|error| {
            Fault::new(Kind::Operator, "cannot start the threads of a host").because(&error)
        })
}

/// Runs a host in the foreground until SIGTERM or Ctrl-C; prints the `ready` line when it serves.
pub fn run(options: HostOptions) -> Result<()> {
    runtime()?.block_on(serve(options))
}

/// Returns at the first SIGTERM; with `drain` when every running build is over then, or at the second one.
async fn terminated(term: &mut tokio::signal::unix::Signal, drain: bool) {
    term.recv().await;
    if !drain {
        return;
    }
    tracing::info!("draining: running builds are finished; a second SIGTERM stops at once");
    if let Some(builder) = crate::actors::post::find(names::AVALANCHE) {
        // One that is just being restarted has no builds left.
        builder
            .cast(avalanche::Msg::Drain(
                "the host drains before it stops".into(),
            ))
            .ok();
    }
    let mut built_at = None;
    loop {
        match desk::ask(names::AVALANCHE, avalanche::Msg::Busy).await {
            Ok((0, 0)) | Err(_) => return,
            // A host that drains may never come back: what it built is fetched first, if somebody is there to fetch it.
            Ok((0, _)) => {
                let since = built_at.get_or_insert_with(Instant::now);
                if since.elapsed() > Duration::from_secs(limit::DRAIN_FETCH_S) {
                    return;
                }
            }
            Ok(_) => built_at = None,
        }
        tokio::select! {
            _ = term.recv() => return,
            () = tokio::time::sleep(Duration::from_millis(250)) => {}
        }
    }
}

/// Runs a host behind something that a person sees: `front` gets the path of the admin socket, and the host stops in order
/// when it returns.
pub fn run_behind(
    options: HostOptions,
    front: impl FnOnce(std::path::PathBuf) -> Result<()> + Send + 'static,
) -> Result<()> {
    runtime()?.block_on(async {
        eprintln!("starting the farm in {} ...", options.dir.display());
        let host = Host::start(&options).await?;
        let socket = host.socket.clone();
        // It hears signals itself, and returns.
        let mut seen = tokio::task::spawn_blocking(move || front(socket));
        let broke = |error: tokio::task::JoinError| {
            Err(Fault::bug("what stands in front of the host broke off").because(&error))
        };
        let ended = tokio::select! {
            ended = &mut seen => ended.unwrap_or_else(broke),
            () = host.failed() => {
                nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM).ok();
                seen.await.unwrap_or_else(broke).and(Err(Fault::bug(
                    "the host cannot go on; massif.log in its directory says why",
                )))
            }
        };
        eprintln!("stopping the farm ...");
        host.stop().await;
        ended
    })
}

async fn serve(options: HostOptions) -> Result<()> {
    let signals = Signals::hear()?;
    let host = Host::start(&options).await?;
    until_stopped(
        host,
        signals,
        options.config.builder.drain_on_term,
        std::future::ready(()),
    )
    .await
}

/// The signals that end a host; heard from before its start on.
pub(super) struct Signals {
    term: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    pub(super) fn hear() -> Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        let hear = |kind| {
            signal(kind).map_err(|error| {
                Fault::new(Kind::Operator, "cannot listen to signals").because(&error)
            })
        };
        Ok(Signals {
            term: hear(SignalKind::terminate())?,
            interrupt: hear(SignalKind::interrupt())?,
        })
    }
}

/// Says `ready`, and ends the host when a signal comes or something inside gives up. `meanwhile` runs beside it.
pub(super) async fn until_stopped(
    host: Host,
    mut signals: Signals,
    drain: bool,
    meanwhile: impl Future<Output = ()>,
) -> Result<()> {
    println!("{}", host.ready_line());
    rest::now_and_then();
    // Nobody may be waiting for it: not every host is started by a service manager.
    sd_notify::notify(&[sd_notify::NotifyState::Ready]).ok();
    let meanwhile = async {
        meanwhile.await;
        std::future::pending::<()>().await
    };
    let failure = tokio::select! {
        () = terminated(&mut signals.term, drain) => None,
        _ = signals.interrupt.recv() => None,
        () = host.failed() => {
            Some(Fault::bug("the host cannot go on; the log above says why").next("start it again; `massif doctor` may say more"))
        }
        () = meanwhile => None,
    };
    sd_notify::notify(&[sd_notify::NotifyState::Stopping]).ok();
    host.stop().await;
    failure.map_or(Ok(()), Err)
}
