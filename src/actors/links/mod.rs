//! Other hosts: who belongs to the farm, and the link to each. Sole writer of the trees `peer` and `ticket`.
//!
//! A link is a pipe and no memory: what is said while a peer is away is dropped, and each side tells from its rows what the
//! other may have missed when the link is back (`model::say`). What a peer says is held against its row as it is at that
//! moment, so that a revocation counts at once.

mod answer;
mod cards;
mod errands;
mod farm;
mod files;
mod follow;
mod keys;
mod list;
mod run;
mod tickets;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub use self::answer::{answer, is_ours};
pub use self::cards::trust_offline;
pub use self::files::LinkSource;
pub use self::list::reachable;
use super::desk::Desk;
use super::post::{Post, names};
use super::{now, summit};
use crate::fault::Result;
use crate::id::{AttemptId, Digest, HostId, HostName, Stamp};
use crate::limit;
use crate::model::peer::{Peer, PeerKeys, PeerTrust, Revocation};
use crate::model::{Event, PeerChange, Role, Say, Who};
use crate::net::quic::Endpoint;
use crate::net::transfer::Brake;
use crate::net::wire::{self, Hello, Unwelcome};
use crate::store::{AppendLog, Blobs, Logs, Store};

/// The file of revocations within the state directory: a restored store does not bring a revoked key back.
pub const REVOKED_FILE: &str = "revoked";

/// The links of a host; cheap to clone.
#[derive(Clone)]
pub struct Links(Arc<Inner>);

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Links({})", self.0.own.short())
    }
}

struct Inner {
    own: HostId,
    name: HostName,
    roles: Vec<Role>,
    dir: PathBuf,
    store: Store,
    blobs: Blobs,
    logs: Logs,
    endpoint: OnceLock<Arc<Endpoint>>,
    desk: OnceLock<Desk>,
    peers: Mutex<BTreeMap<HostId, Arc<Peer>>>,
    live: Mutex<BTreeMap<HostId, Arc<Live>>>,
    past: Mutex<BTreeMap<HostId, Past>>,
    /// Of peers that replaced theirs, or heard of ours.
    keys: Mutex<BTreeMap<HostId, PeerKeys>>,
    revoked: Mutex<AppendLog<Revocation>>,
    /// Held by whoever changes peers or tickets, so that two who try one ticket at once are two.
    changing: tokio::sync::Mutex<()>,
    /// What the orders that were sent allow their builders.
    orders: Mutex<HashMap<AttemptId, Ordered>>,
    /// Logs that are being copied: `None` while it goes on, then whether it is whole.
    tails: Mutex<HashMap<AttemptId, watch::Receiver<Option<bool>>>>,
    /// The host whose orders this one takes.
    farm: watch::Sender<Option<HostId>>,
    brake: Brake,
    /// The number of the last list of hosts that was told.
    list_no: AtomicU64,
    /// Where the copy of vessel's channels is shown, when vessel is another host.
    shown: OnceLock<watch::Sender<super::vessel::View>>,
    serial: AtomicU64,
    stop: CancellationToken,
    noted: Mutex<Noted>,
    /// Why a key was not let in when that was written down last, and when.
    refused: Mutex<BTreeMap<HostId, (String, u64)>>,
    dialling: Mutex<BTreeSet<HostId>>,
    /// Files that vessel may fetch from here.
    offered: Mutex<HashMap<Digest, PathBuf>>,
    /// Where hosts that publish serve packages.
    served: Mutex<BTreeMap<HostId, String>>,
    /// Connections of operators: a person may have several.
    operators: Mutex<Vec<(HostId, quinn::Connection)>>,
}

/// What an order that was sent allows its builder.
struct Ordered {
    builder: HostId,
    /// The files that it may fetch.
    files: BTreeSet<Digest>,
    /// How long its log may become.
    log_bytes: u64,
}

/// A link that stands.
pub(super) struct Live {
    serial: u64,
    connection: quinn::Connection,
    to: mpsc::Sender<wire::Say>,
    hello: Hello,
    since_ms: u64,
    heard_ms: AtomicU64,
    /// Its clock less ours, in milliseconds, half the round trip taken into account.
    clock_offset_ms: i64,
    misdeeds: AtomicU64,
    /// Ends the link's tasks once what was said has arrived.
    end: CancellationToken,
    done: CancellationToken,
}

/// What is remembered of links that are over, since this host's start.
#[derive(Debug, Clone, Default)]
struct Past {
    links: u64,
    last_end: Option<String>,
    last_failure: Option<String>,
    heard_ms: Option<u64>,
}

/// How many refusals were written down in this minute. Strangers are counted apart: they must not hide what a peer does.
#[derive(Debug, Default)]
struct Noted {
    minute: u64,
    of_peers: usize,
    of_strangers: usize,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads who belongs to the farm: the rows, and the revocations that lie beside them.
fn read_peers(store: &Store, revoked: &[Revocation]) -> Result<BTreeMap<HostId, Arc<Peer>>> {
    let mut peers = BTreeMap::new();
    for row in store.scan::<Peer>() {
        let row = row?;
        peers.insert(row.id, Arc::new(row));
    }
    for gone in revoked {
        let known = peers.get(&gone.id).cloned();
        let row = list::revoked_row(gone, known.as_deref());
        peers.insert(gone.id, Arc::new(row));
    }
    Ok(peers)
}

impl Links {
    /// The links of this host; nothing is dialled or accepted before `start`.
    pub fn new(
        own: HostId,
        name: HostName,
        roles: Vec<Role>,
        store: Store,
        blobs: Blobs,
        upload_bytes_s: Option<u64>,
        stop: CancellationToken,
    ) -> Result<Links> {
        let dir = store.dir().to_path_buf();
        let (file, revoked) = AppendLog::open(&dir.join(REVOKED_FILE))?;
        let peers = read_peers(&store, &revoked)?;
        let mut keys = BTreeMap::new();
        for row in store.scan::<PeerKeys>() {
            let row = row?;
            keys.insert(row.host, row);
        }
        let farm = peers
            .values()
            .find(|peer| peer.role == Role::Summit && peer.is_approved())
            .map(|peer| peer.id);
        Ok(Links(Arc::new(Inner {
            own,
            name,
            roles,
            logs: Logs::open(&dir)?,
            dir,
            store,
            blobs,
            endpoint: OnceLock::new(),
            desk: OnceLock::new(),
            peers: Mutex::new(peers),
            live: Mutex::default(),
            past: Mutex::default(),
            keys: Mutex::new(keys),
            revoked: Mutex::new(file),
            changing: tokio::sync::Mutex::default(),
            orders: Mutex::default(),
            tails: Mutex::default(),
            farm: watch::Sender::new(farm),
            brake: Brake::new(upload_bytes_s),
            list_no: AtomicU64::new(0),
            shown: OnceLock::new(),
            serial: AtomicU64::new(0),
            stop,
            noted: Mutex::default(),
            refused: Mutex::default(),
            dialling: Mutex::default(),
            offered: Mutex::default(),
            served: Mutex::default(),
            operators: Mutex::default(),
        })))
    }

    /// Dials and accepts from now on; operators ask this desk.
    pub fn start(&self, endpoint: Arc<Endpoint>, desk: Desk) {
        endpoint.door(Arc::new(run::AtDoor(self.clone())));
        // A second start would be a bug of the host's; the first one stays.
        drop(self.0.desk.set(desk));
        drop(self.0.endpoint.set(Arc::clone(&endpoint)));
        let links = self.clone();
        tokio::spawn(async move {
            loop {
                let link = tokio::select! {
                    () = links.0.stop.cancelled() => return,
                    link = endpoint.accept() => link,
                };
                let Some(link) = link else { return };
                tokio::spawn(links.clone().came(link));
            }
        });
        self.dial_all();
    }

    /// Whether this key may come in now: the judge of the endpoint.
    pub fn judge(&self, key: &HostId) -> std::result::Result<(), Unwelcome> {
        if self.0.stop.is_cancelled() {
            return Err(Unwelcome::Stopping);
        }
        match self.host_of(key) {
            Some(host) => self.judge_host(&host),
            None => Err(Unwelcome::UnknownKey),
        }
    }

    /// The same of a host, whichever key it has.
    fn judge_host(&self, host: &HostId) -> std::result::Result<(), Unwelcome> {
        use crate::model::PeerState;
        match self.peer(host).as_deref().map(|peer| &peer.state) {
            None => Err(Unwelcome::UnknownKey),
            Some(PeerState::Waiting) => Err(Unwelcome::NotApproved),
            Some(PeerState::Approved { .. }) => Ok(()),
            Some(PeerState::Revoked { by, at }) => Err(Unwelcome::Revoked {
                by: by.to_string(),
                at: *at,
            }),
        }
    }

    /// A peer as it is now.
    pub fn peer(&self, id: &HostId) -> Option<Arc<Peer>> {
        locked(&self.0.peers).get(id).cloned()
    }

    fn live(&self, id: &HostId) -> Option<Arc<Live>> {
        locked(&self.0.live).get(id).cloned()
    }

    /// The host whose orders this one takes, once there is one.
    pub fn farm(&self) -> watch::Receiver<Option<HostId>> {
        self.0.farm.subscribe()
    }

    /// What a builder may build for.
    pub fn trust_of(&self, id: &HostId) -> PeerTrust {
        match self.peer(id) {
            _ if *id == self.0.own => PeerTrust::Trusted,
            Some(peer) if peer.may_publish() => PeerTrust::Trusted,
            Some(_) | None => PeerTrust::Test,
        }
    }

    /// What a peer is called here.
    pub fn name_of(&self, id: &HostId) -> Option<HostName> {
        self.peer(id).map(|peer| peer.name.clone())
    }

    /// Whether more of this attempt's log is still on its way.
    pub fn is_copying(&self, attempt: AttemptId) -> bool {
        let tails = locked(&self.0.tails);
        tails
            .get(&attempt)
            .is_some_and(|done| done.borrow().is_none() && done.has_changed().is_ok())
    }

    /// Says something to an actor of a peer, if its link stands.
    pub fn say(&self, to: HostId, role: Role, say: Say) {
        let Some(live) = self.live(&to) else {
            tracing::debug!(host = %to.short(), role = role.as_str(), "no link to that host; it will be told when it is there");
            return;
        };
        match &say {
            Say::Build(order)
            | Say::BuildWith { order, .. }
            | Say::BuildCached { order, .. }
            | Say::Measure { order, .. } => {
                let inputs = order.inputs.iter().map(|input| input.sha256);
                let files = inputs.chain([order.recipe_tar.sha256]).collect();
                let mut orders = locked(&self.0.orders);
                orders.retain(|attempt, _| attempt.job != order.attempt.job);
                let ordered = Ordered {
                    builder: to,
                    files,
                    log_bytes: order.limits.log_bytes,
                };
                orders.insert(order.attempt, ordered);
            }
            // A builder forgets an attempt when it hears this, and its log with it.
            Say::Heard { attempt } => {
                let copying = locked(&self.0.tails).get(attempt).cloned();
                if let Some(copied) = copying {
                    return self.say_when_copied(live, copied, say);
                }
            }
            _ => {}
        }
        Links::send(&live, role, say);
    }

    fn send(live: &Live, to: Role, say: Say) {
        let ring = wire::Say::Ring {
            to,
            say: Box::new(say),
        };
        if live.to.try_send(ring).is_err() && !live.to.is_closed() {
            live.connection
                .close(quinn::VarInt::from_u32(0), b"it does not keep up");
        }
    }

    fn say_when_copied(
        &self,
        live: Arc<Live>,
        mut copied: watch::Receiver<Option<bool>>,
        say: Say,
    ) {
        tokio::spawn(async move {
            let whole = match copied.wait_for(Option::is_some).await {
                Ok(whole) => *whole == Some(true),
                Err(_) => false,
            };
            // Otherwise the builder reports again when its link is back, and the copy goes on.
            if whole {
                Links::send(&live, Role::Avalanche, say);
            }
        });
    }

    /// The address book that messages of peers are delivered with.
    fn post(&self) -> Post {
        Post {
            own: self.0.own,
            dir: self.0.dir.clone(),
            links: Some(self.clone()),
        }
    }

    /// Writes into the audit trail; without a summit here there is none, and the log has to do.
    pub(super) async fn note(
        &self,
        who: Who,
        change: PeerChange,
        host: Option<HostId>,
        name: &str,
        text: String,
    ) {
        tracing::info!(?change, name, text, "peers");
        if !self.0.roles.contains(&Role::Summit) {
            return self.pass_note(change, host, name, &text);
        }
        let event = Box::new(Event::Peer {
            host,
            name: name.chars().take(limit::NAME_BYTES_MAX).collect(),
            change,
            text: text.chars().take(limit::FAULT_TEXT_BYTES_MAX).collect(),
        });
        let noted = super::desk::ask(names::SUMMIT, |reply| summit::Msg::Note {
            who,
            event,
            reply,
        });
        if let Ok(Err(fault)) | Err(fault) = noted.await {
            tracing::warn!(%fault, "the audit trail did not take this");
        }
    }

    /// As `note`, for what strangers and bad peers can cause: so much in a minute and no more.
    pub fn note_refusal(&self, change: PeerChange, host: Option<HostId>, name: &str, text: String) {
        let minute = now().mono_ms / 60_000;
        let is_peer = host.is_some_and(|host| self.peer(&host).is_some());
        {
            let mut noted = locked(&self.0.noted);
            if noted.minute != minute {
                *noted = Noted {
                    minute,
                    ..Noted::default()
                };
            }
            let count = match is_peer {
                true => &mut noted.of_peers,
                false => &mut noted.of_strangers,
            };
            *count += 1;
            if *count > limit::REFUSALS_NOTED_PER_MIN {
                tracing::debug!(name, text, "one of too many to be written down");
                return;
            }
        }
        let (links, name) = (self.clone(), name.to_string());
        let who = host.map_or(Who::Farm, Who::Key);
        tokio::spawn(async move { links.note(who, change, host, &name, text).await });
    }

    /// Whether this was written down of that key a moment ago: a host that was revoked goes on knocking.
    fn is_noted(&self, key: HostId, why: &str) -> bool {
        let now_ms = now().mono_ms;
        let mut all = locked(&self.0.refused);
        if let Some((known, at_ms)) = all.get(&key)
            && known == why
            && now_ms.saturating_sub(*at_ms) < limit::REFUSAL_AGAIN_MS
        {
            return true;
        }
        // Strangers make keys as they like.
        if all.len() >= limit::PEERS_MAX {
            all.clear();
        }
        all.insert(key, (why.to_string(), now_ms));
        false
    }

    fn note_deed(&self, peer: HostId, change: PeerChange, what: &str) {
        let name = self
            .name_of(&peer)
            .map_or_else(|| peer.short(), |name| name.to_string());
        let text = format!("{name} ({}) {what}", peer.short());
        tracing::warn!(text, "refused");
        self.note_refusal(change, Some(peer), &name, text);
    }

    /// What a peer delivered was no good, or came too late. It broke no rule of the wire, so its link stays: whether it gets
    /// more work is a question of its verdict.
    pub fn not_taken(&self, peer: HostId, what: &str) {
        self.note_deed(peer, PeerChange::NotTaken, what);
    }

    /// A peer said or did what it may not. Enough of that, and its link is closed.
    pub fn misbehaved(&self, peer: HostId, what: &str) {
        self.note_deed(peer, PeerChange::Misbehaved, what);
        if let Some(live) = self.live(&peer)
            && live.misdeeds.fetch_add(1, Ordering::Relaxed) + 1 >= u64::from(limit::MISDEEDS_MAX)
        {
            live.connection
                .close(quinn::VarInt::from_u32(1), b"too much that it may not do");
        }
    }

    /// Where other hosts reach this one.
    pub(super) fn addresses(&self) -> Vec<String> {
        match self.0.endpoint.get().map(|endpoint| endpoint.address()) {
            Some(Ok(address)) => list::reachable(address),
            _ => Vec::new(),
        }
    }

    /// Ends every link once what was said has arrived, two seconds at most.
    pub async fn close(&self) {
        let live: Vec<_> = locked(&self.0.live).values().cloned().collect();
        for link in &live {
            link.end.cancel();
        }
        let all = async {
            for link in &live {
                link.done.cancelled().await;
            }
        };
        // Whoever was not told in time is told by the next start.
        drop(tokio::time::timeout(Duration::from_secs(2), all).await);
    }

    /// Peers that should be linked and are not, each with what is known of the reason.
    pub fn missing(&self) -> Vec<(Arc<Peer>, String)> {
        let peers = locked(&self.0.peers).values().cloned().collect::<Vec<_>>();
        let wanted = peers
            .into_iter()
            .filter(|peer| peer.is_approved() && peer.role != Role::Operator)
            .filter(|peer| self.live(&peer.id).is_none());
        let past = locked(&self.0.past);
        let why = |peer: &Peer| {
            let past = past.get(&peer.id)?;
            past.last_failure.clone().or_else(|| past.last_end.clone())
        };
        wanted
            .map(|peer| {
                let why =
                    why(&peer).unwrap_or_else(|| "it was not here since this host started".into());
                (peer, why)
            })
            .collect()
    }

    /// Since when a peer has not been linked, and why; `None`: it is. One that never was counts from `started` on.
    pub fn away(&self, peer: &HostId, started: Stamp) -> Option<(Stamp, String)> {
        if self.live(peer).is_some() {
            return None;
        }
        let past = locked(&self.0.past).get(peer).cloned().unwrap_or_default();
        let at = now();
        let since = past.heard_ms.map_or(started, |heard_ms| {
            let ago = i64::try_from(at.mono_ms.saturating_sub(heard_ms)).unwrap_or(i64::MAX);
            Stamp(at.wall.0.saturating_sub(ago))
        });
        let why = past.last_failure.or(past.last_end);
        Some((
            since,
            why.unwrap_or_else(|| "it was not here since this host started".into()),
        ))
    }

    /// Peers whose clock is far from ours, in seconds.
    pub fn clocks_off(&self) -> Vec<(Arc<Peer>, i64)> {
        let live: Vec<(HostId, i64)> = locked(&self.0.live)
            .iter()
            .map(|(id, live)| (*id, live.clock_offset_ms / 1000))
            .filter(|(_, off_s)| off_s.abs() >= limit::CLOCK_OFF_S)
            .collect();
        live.into_iter()
            .filter_map(|(id, off_s)| Some((self.peer(&id)?, off_s)))
            .collect()
    }

    fn note_failure(&self, peer: HostId, text: String) {
        let mut past = locked(&self.0.past);
        let past = past.entry(peer).or_default();
        if past.last_failure.as_ref() != Some(&text) {
            tracing::info!(peer = %peer.short(), text, "cannot link");
        }
        past.last_failure = Some(text);
    }
}
