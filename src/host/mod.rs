//! Assembles a host: the one file that knows store, actors and net. Starts what its roles need, says `ready`, and stops in
//! order when asked to.

pub mod demo;
mod join;
mod offline;
pub mod plan;
mod processor;
mod rest;
mod serving;

pub use demo::demo;
pub use join::{News, card_offline, card_trust_offline, join};
pub use offline::{doctor, store_check, store_dump, store_load, store_restore};
pub use serving::{run, run_behind};

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorRef};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::actors::avalanche::builder::{Bounds, Tools};
use crate::actors::avalanche::disk::{Caches, Keep};
use crate::actors::avalanche::{self, Avalanche};
use crate::actors::desk::{self, Desk};
use crate::actors::links::Links;
use crate::actors::post::{Post, names};
use crate::actors::root::{self, Root};
use crate::actors::summit::{self, Summit};
use crate::actors::vessel::{self, Vessel};
use crate::build::boulder::{Tool, Verify};
use crate::build::cgroup::Confine;
use crate::build::layers::Layers;
use crate::build::upstream::{Mirror, Upstreams};
use crate::config::{BuilderConfig, HostOptions, Slots, VerifyPolicy, isa_level};
use crate::fault::{Fault, Kind, Result};
use crate::health::Floors;
use crate::id::{Arch, HostId, HostName};
use crate::limit;
use crate::model::{IsaLevel, PeerTrust, Profile, Recorded, Role, level};
use crate::net::http::HttpServer;
use crate::net::identity::Identity;
use crate::net::wire::Hello;
use crate::net::{admin, quic};
use crate::store::taken::Taken;
use crate::store::{Blobs, Options, Store};

/// A running host. `stop` ends it in order; dropping it leaves that to the process's end.
pub struct Host {
    /// Answers calls without a socket, for programs that carry a farm inside.
    pub desk: Desk,
    /// Path of its admin socket.
    pub socket: std::path::PathBuf,
    /// Where other hosts reach it.
    pub quic: std::net::SocketAddr,
    /// Where clients fetch packages.
    pub http: std::net::SocketAddr,
    stop: CancellationToken,
    root: ActorRef<root::Msg>,
    ended: tokio::task::JoinHandle<()>,
    servers: Vec<tokio::task::JoinHandle<()>>,
    web: HttpServer,
    endpoint: Arc<quic::Endpoint>,
    links: Links,
    store: Store,
}

fn failed(what: &str, path: &Path, error: &dyn std::error::Error) -> Fault {
    Fault::new(Kind::Operator, format!("cannot {what} {}", path.display()))
        .because(error)
        .next("choose a directory of your own with --dir")
}

/// Makes the state directory and what belongs into it, with the modes that keep it safe.
fn prepare_dir(dir: &Path) -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    let make = |path: &Path, mode: u32| {
        let made = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(path);
        made.map_err(|error| failed("make", path, &error))
    };
    let fresh = !dir.exists();
    make(dir, 0o711)?;
    if fresh {
        // The umask may have taken bits away that the sandbox's unprivileged id needs.
        let mode = std::fs::Permissions::from_mode(0o711);
        std::fs::set_permissions(dir, mode).map_err(|error| failed("open up", dir, &error))?;
    }
    for (name, mode) in [
        ("store", 0o700),
        ("keys", 0o700),
        ("blobs", 0o711),
        ("mirrors", 0o711),
        ("layers", 0o755),
        ("upstreams", 0o711),
        ("attempts", 0o711),
        ("logs", 0o755),
        ("public", 0o755),
        ("trash", 0o711),
        ("backups", 0o700),
    ] {
        make(&dir.join(name), mode)?;
    }
    for name in ["store", "keys"] {
        let path = dir.join(name);
        let mode = std::fs::metadata(&path)
            .map_err(|error| failed("look at", &path, &error))?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            let what = format!(
                "{} may be read by others (mode {:o})",
                path.display(),
                mode & 0o777
            );
            return Err(
                Fault::new(Kind::Operator, what).next(format!("chmod 700 {}", path.display()))
            );
        }
    }
    Ok(())
}

/// Cores of each slot: as even as it goes, and shared when there are more slots than cores.
fn slot_cores(slots: Slots) -> Vec<Vec<u32>> {
    let cores: Vec<u32> = match nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)) {
        Ok(set) => (0..u32::try_from(nix::sched::CpuSet::count()).unwrap_or(1024))
            .filter(|core| set.is_set(*core as usize).unwrap_or(false))
            .collect(),
        Err(_) => vec![0],
    };
    let count = match slots {
        // A build with fewer than four cores waits for its linker more than it gains from company.
        Slots::Auto => u32::try_from(cores.len().div_ceil(4)).unwrap_or(1).max(1),
        Slots::Count(count) => count,
    };
    let count = count as usize;
    (0..count)
        .map(|slot| {
            let share: Vec<u32> = cores
                .iter()
                .copied()
                .skip(slot % cores.len().max(1))
                .step_by(count.min(cores.len()).max(1))
                .collect();
            if count <= cores.len() {
                share
            } else {
                share.into_iter().take(1).collect()
            }
        })
        .collect()
}

/// What each of so many slots may take of this machine.
fn bounds(config: &BuilderConfig, slots: usize) -> Bounds {
    let share = || {
        use procfs::Current;
        let total = procfs::Meminfo::current().ok()?.mem_total;
        let share = total / u64::try_from(slots.max(1)).unwrap_or(1);
        // More than its share on machines with many slots: builds take their most at different times.
        Some(share.max(limit::SLOT_MEMORY_BYTES_MIN.min(total / 10 * 9)))
    };
    Bounds {
        memory_bytes: config.slot_memory_mib.map(|mib| mib << 20).or_else(share),
        processes: config.slot_processes,
        silence_s_max: config.silence_s_max,
    }
}

/// Issues packages that stand for a base again when a project's recipes changed.
fn keep_bases(desk: &Desk, stop: &CancellationToken) {
    let (inner, stopped) = (desk.0.clone(), stop.clone());
    let mut recorded = inner.recorded.subscribe();
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                () = stopped.cancelled() => return,
                event = recorded.recv() => event,
            };
            let moved = match event {
                Ok(recorded) => matches!(recorded.event, crate::model::Event::TipMoved { .. }),
                // What was missed may have been a move.
                Err(broadcast::error::RecvError::Lagged(_)) => true,
                Err(broadcast::error::RecvError::Closed) => return,
            };
            if moved && let Err(fault) = crate::actors::deeds::issue_bases_again(&inner).await {
                tracing::warn!(%fault, "cannot issue the base's package again");
            }
        }
    });
}

fn own_name(options: &HostOptions) -> Result<HostName> {
    if let Some(name) = &options.config.name {
        return Ok(name.clone());
    }
    let machine = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_default();
    let short: String = machine
        .split('.')
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    let name = if short.is_empty() { "host" } else { &short };
    name.parse()
        .or_else(|_| "host".parse())
        .map_err(|error| Fault::bug("the host has no name").because(&error))
}

fn named<T: std::str::FromStr<Err = crate::id::BadId>>(text: &str) -> Result<T> {
    text.parse()
        .map_err(|error| Fault::bug("a built-in name is none").because(&error))
}

/// Mirrors of git upstreams, beside those of projects.
fn git_mirror(dir: &Path) -> crate::build::gitsource::GitMirror {
    let mirrors = dir.join("mirrors");
    Arc::new(move |url| {
        let mirrors = mirrors.clone();
        Box::pin(async move {
            let mirror = summit::mirror::Mirror::of(&url, &mirrors)?;
            mirror
                .sync(&summit::mirror::Fetching::default(), |_| {})
                .await?;
            Ok(mirror.path().to_path_buf())
        })
    })
}

fn upstreams(options: &HostOptions) -> Result<Upstreams> {
    let mirrors = options
        .config
        .mirrors
        .iter()
        .map(|text| {
            text.parse::<Mirror>()
                .map_err(|error| Fault::new(Kind::Usage, format!("--mirror {text}: {error}")))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Upstreams::new(options.dir.join("upstreams"), mirrors))
}

/// Opens what is kept, on a thread that may wait for the disk.
async fn open(dir: &Path) -> Result<(Store, Blobs)> {
    let dir = dir.to_owned();
    let opened = tokio::task::spawn_blocking(move || {
        Ok((Store::open(&dir, &Options::default())?, Blobs::open(&dir)?))
    });
    opened
        .await
        .map_err(|error| Fault::bug("opening the store broke off").because(&error))?
}

/// Removes what an earlier run left behind, but for the attempts that are still to be handed over.
fn reclaim(dir: &Path, store: &Store) -> Result<()> {
    let kept: Vec<String> = store
        .scan::<Taken>()
        .map(|row| Ok(row?.attempt.to_string()))
        .collect::<Result<_>>()?;
    let reclaimed =
        crate::build::leftovers::reclaim_dead(dir, &|name| kept.iter().any(|kept| kept == name))?;
    if reclaimed != crate::build::leftovers::Reclaimed::default() {
        tracing::info!(?reclaimed, "removed what an earlier run left");
    }
    Ok(())
}

/// Where other hosts come in; the links judge them.
fn door(
    options: &HostOptions,
    identity: Identity,
    name: HostName,
    links: Links,
) -> Result<quic::Endpoint> {
    let hello = move || Hello {
        name: name.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        clock: crate::actors::now().wall,
    };
    quic::Endpoint::bind_with(
        identity,
        options.config.listen,
        options.config.congestion,
        hello,
        move |key| links.judge(key),
    )
}

/// What the roles of a host are started with.
struct Parts<'a> {
    options: &'a HostOptions,
    own: HostId,
    name: HostName,
    store: Store,
    blobs: Blobs,
    post: Post,
    links: Links,
    upstreams: Upstreams,
    root: ActorRef<root::Msg>,
}

impl Parts<'_> {
    /// Starts vessel and opens the channel of the first profile, so that clients find it before anything is published.
    async fn start_vessel(
        &self,
        view: watch::Sender<vessel::View>,
        first_profile: Option<&Profile>,
    ) -> Result<()> {
        let (teller, trusted) = (self.post.clone(), self.post.clone());
        let arguments = vessel::Arguments {
            dir: self.options.dir.clone(),
            store: self.store.clone(),
            blobs: self.blobs.clone(),
            view,
            trusts: Arc::new(move |builder| trusted.trust_of(*builder) == PeerTrust::Trusted),
            tell: Arc::new(move |told| teller.vessel_tells(teller.summit(), told)),
        };
        root::start(&self.root, names::VESSEL, move || {
            (Vessel, arguments.clone())
        })
        .await?;
        if let Some(profile) = first_profile {
            let (channel, arch) = (profile.channel.clone(), profile.arch);
            desk::ask(names::VESSEL, |reply| {
                vessel::Message::Open(channel, arch, reply)
            })
            .await??;
        }
        Ok(())
    }

    async fn start_summit(
        &self,
        channels: watch::Receiver<vessel::View>,
        recorded: broadcast::Sender<Recorded>,
        http: std::net::SocketAddr,
        first_profile: Option<Profile>,
    ) -> Result<()> {
        let config = &self.options.config;
        let arguments = summit::Args {
            own: self.own,
            name: self.name.clone(),
            dir: self.options.dir.clone(),
            store: self.store.clone(),
            blobs: self.blobs.clone(),
            post: self.post.clone(),
            channels,
            recorded,
            first_profile,
            poll: Duration::from_secs(config.poll_s),
            history_jobs: config.history_jobs,
            lease: Duration::from_secs(config.lease_s),
            http: crate::actors::links::reachable(http)
                .first()
                .map(|address| format!("http://{address}")),
            upstreams: self.upstreams.clone(),
        };
        root::start(&self.root, names::SUMMIT, move || {
            (Summit, arguments.clone())
        })
        .await
    }

    /// Starts avalanche, or has it started once this host belongs to a farm.
    async fn start_avalanche(self, stop: CancellationToken) -> Result<()> {
        let config = &self.options.config;
        let slots = slot_cores(config.slots);
        let summit_too = config.roles.contains(&Role::Summit);
        let own = self.own;
        let builder = BuilderStart {
            own,
            name: self.name,
            dir: self.options.dir.clone(),
            store: self.store,
            blobs: self.blobs,
            post: self.post,
            links: self.links,
            bounds: bounds(&config.builder, slots.len()),
            slots,
            lease_s: config.lease_s,
            config: config.builder.clone(),
            mirrors_too: !summit_too,
            upstreams: self.upstreams,
            root: self.root,
        };
        if summit_too {
            builder.start(own).await
        } else {
            builder.start_when_joined(stop).await
        }
    }
}

impl Host {
    /// Starts a host and returns when it serves.
    pub async fn start(options: &HostOptions) -> Result<Host> {
        let started = Instant::now();
        let dir = options.dir.clone();
        prepare_dir(&dir)?;
        let (store, blobs) = open(&dir).await?;
        reclaim(&dir, &store)?;
        let identity = Identity::open(&dir.join("keys"))?;
        let own = identity.id();
        let name = own_name(options)?;
        let config = &options.config;
        let listener = admin::Listener::bind(&options.socket)?;
        let web = HttpServer::start(&dir.join("public"), config.http).await?;
        let http = web.address();
        let stop = CancellationToken::new();
        let links = Links::new(
            own,
            name.clone(),
            config.roles.clone(),
            store.clone(),
            blobs.clone(),
            config.upload_bytes_s,
            stop.clone(),
        )?;
        let endpoint = Arc::new(door(options, identity, name.clone(), links.clone())?);
        let quic = endpoint.address()?;
        let (root, ended) = Actor::spawn(None, Root, stop.clone())
            .await
            .map_err(|error| Fault::bug("the root actor did not start").because(&error))?;
        let post = Post {
            own,
            dir: dir.clone(),
            links: Some(links.clone()),
        };
        let (recorded, _) = broadcast::channel(1024);
        let (view, channels) = watch::channel(vessel::View::default());
        let parts = Parts {
            options,
            own,
            name: name.clone(),
            store: store.clone(),
            blobs: blobs.clone(),
            post: post.clone(),
            links: links.clone(),
            upstreams: upstreams(options)?,
            root: root.clone(),
        };
        let first_profile = match config.profiles.first() {
            Some(profile) => Some(profile.to_profile()?),
            None => Some(Profile::laptop(named("default")?, named("main")?)),
        };
        // Each role may ask those before it as soon as it runs.
        if config.roles.contains(&Role::Vessel) {
            parts.start_vessel(view, first_profile.as_ref()).await?;
        } else if config.roles.contains(&Role::Summit) {
            // Another host's channels are copied when none are kept here.
            links.replicate(view)?;
        }
        if config.roles.contains(&Role::Summit) {
            let channels = channels.clone();
            parts
                .start_summit(channels, recorded.clone(), http, first_profile)
                .await?;
        }
        if config.roles.contains(&Role::Avalanche) {
            parts.start_avalanche(stop.clone()).await?;
        }
        post.peer_up(own);
        let desk = Desk(Arc::new(desk::Inner {
            own,
            name,
            roles: config.roles.clone(),
            dir,
            socket: options.socket.clone(),
            quic: Some(quic),
            http: Some(http),
            started,
            store: store.clone(),
            blobs,
            recorded,
            channels,
            links: links.clone(),
            past: crate::actors::past::Folds::new(store.clone()),
        }));
        links.start(Arc::clone(&endpoint), desk.clone());
        keep_bases(&desk, &stop);
        let answer = desk.clone();
        let handle = move |caller, call, more| answer.clone().handle(caller, call, more);
        let servers = vec![
            tokio::spawn(admin::serve(listener, handle, stop.clone())),
            tokio::spawn(housekeeping(
                store.clone(),
                Arc::clone(&endpoint),
                stop.clone(),
            )),
        ];
        Ok(Host {
            desk,
            socket: options.socket.clone(),
            quic,
            http,
            stop,
            root,
            ended,
            servers,
            web,
            endpoint,
            links,
            store,
        })
    }

    /// The line that scripts wait for.
    pub fn ready_line(&self) -> String {
        format!(
            "ready admin={} quic={} http={}",
            self.socket.display(),
            self.quic,
            self.http
        )
    }

    /// Returns when something inside decided that the host cannot go on.
    pub async fn failed(&self) {
        self.stop.cancelled().await;
    }

    /// Gives running builds back, closes everything, and returns when all is on disk.
    pub async fn stop(self) {
        let deadline = Duration::from_secs(limit::STOP_S);
        let stopping = async {
            // Without an answer its builds die with the process, and the next start finds their rows.
            desk::ask(names::AVALANCHE, avalanche::Msg::Leave)
                .await
                .ok();
            // What builders and summit have to say of that is still to be said.
            self.links.close().await;
            self.root.cast(root::Msg::Stop).ok();
            self.ended.await.ok();
            self.stop.cancel();
            self.web.stop().await;
            self.endpoint.close().await;
            for server in self.servers {
                server.await.ok();
            }
            let store = self.store;
            // The last handle closes it, which waits for its threads.
            tokio::task::spawn_blocking(move || drop(store)).await.ok();
        };
        if tokio::time::timeout(deadline, stopping).await.is_err() {
            tracing::warn!(
                "stopping took longer than {} s; the rest is done at the next start",
                limit::STOP_S
            );
        }
    }
}

/// What an avalanche needs to start, now or once this host has joined a farm.
struct BuilderStart {
    own: HostId,
    name: HostName,
    dir: PathBuf,
    store: Store,
    blobs: Blobs,
    post: Post,
    links: Links,
    slots: Vec<Vec<u32>>,
    bounds: Bounds,
    config: BuilderConfig,
    mirrors_too: bool,
    lease_s: u64,
    upstreams: Upstreams,
    root: ActorRef<root::Msg>,
}

impl BuilderStart {
    /// Starts it; it takes the orders of this summit.
    async fn start(self, summit: HostId) -> Result<()> {
        let farm = (summit != self.own).then(|| (self.links.clone(), summit));
        let layers = Layers::open(&self.dir)?;
        let confined = self.dir.clone();
        let confine = tokio::task::spawn_blocking(move || Confine::open(&confined))
            .await
            .map_err(|error| Fault::bug("looking at control groups broke off").because(&error))?;
        tracing::info!(by = confine.means(), "slots are confined");
        let features = processor::features();
        let arch = self.config.arch.unwrap_or(Arch::OF_THIS_PROGRAM);
        let levels = match &self.config.isa {
            None if arch == Arch::OF_THIS_PROGRAM => level::levels_with(&features),
            None => vec![IsaLevel::Baseline],
            Some(words) => words
                .iter()
                .map(|word| isa_level(arch, word))
                .collect::<Result<_>>()?,
        };
        let arguments = avalanche::Args {
            own: self.own,
            name: self.name,
            summit,
            dir: self.dir.clone(),
            store: self.store,
            blobs: self.blobs.clone(),
            post: self.post,
            slots: self.slots,
            arch,
            levels,
            features,
            floors: Floors {
                disk_bytes: self.config.disk_floor_mib << 20,
                inodes: self.config.inode_floor,
            },
            bounds: self.bounds,
            caches: Caches {
                dir: self.dir.clone(),
                layers: layers.clone(),
                mirrors_too: self.mirrors_too,
                keep: Keep {
                    bytes: self.config.logs_mib_max << 20,
                    logs: self.config.logs_max,
                },
            },
            lease_s: self.lease_s,
            tools: Arc::new(Tools {
                blobs: self.blobs,
                layers,
                upstreams: self.upstreams,
                git: git_mirror(&self.dir),
                boulder: Tool {
                    program: self.config.boulder.clone(),
                    verify: match self.config.boulder_verify {
                        VerifyPolicy::Off => Verify::Off,
                        VerifyPolicy::Warn => Verify::Warn,
                        VerifyPolicy::Require => Verify::Require,
                    },
                },
                confine,
                farm,
            }),
        };
        root::start(&self.root, names::AVALANCHE, move || {
            (Avalanche, arguments.clone())
        })
        .await?;
        let masked = self.dir;
        // Builds wait for the mask by themselves; made now, the first of them waits less.
        tokio::task::spawn_blocking(move || {
            if let Err(fault) = crate::build::mask::ensure(&masked) {
                tracing::warn!(%fault, "cannot make the mask of this machine's development files");
            }
        });
        Ok(())
    }

    /// The same as soon as this host belongs to a farm.
    async fn start_when_joined(self, stop: CancellationToken) -> Result<()> {
        let mut farm = self.links.farm();
        let known = *farm.borrow_and_update();
        if let Some(summit) = known {
            return self.start(summit).await;
        }
        tokio::spawn(async move {
            let joined = tokio::select! {
                () = stop.cancelled() => return,
                joined = farm.wait_for(Option::is_some) => joined.ok().and_then(|farm| *farm),
            };
            let Some(summit) = joined else { return };
            if let Err(fault) = self.start(summit).await {
                tracing::error!(%fault, "the builder did not start");
                stop.cancel();
            }
        });
        Ok(())
    }
}

/// What a host does by the clock: exports of its store and certificates that run out.
async fn housekeeping(store: Store, endpoint: Arc<quic::Endpoint>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(Duration::from_secs(limit::STORE_EXPORT_S));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The first tick comes at once, and a start has better things to do.
    tick.tick().await;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let now = crate::actors::now().wall;
        if let Err(fault) = endpoint.renew_if_due(now) {
            tracing::error!(%fault, "cannot renew the certificate; links end when it runs out");
        }
        let store = store.clone();
        let exported =
            tokio::task::spawn_blocking(move || store.export_now(limit::STORE_EXPORTS_KEPT, now))
                .await;
        if let Ok(Err(fault)) = exported {
            tracing::error!(%fault, "cannot export the store");
        }
    }
}
