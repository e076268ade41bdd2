//! The life of a link: dialled or accepted, spoken and listened on, and over.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Links, Live, locked, tickets};
use crate::actors::post::names;
use crate::actors::vessel::rows::{ExpectedRow, ReceiptRow};
use crate::actors::{desk, now, summit, vessel};
use crate::fault::{Fault, Kind, Result};
use crate::id::{AttemptId, HostId, JobId};
use crate::limit;
use crate::model::peer::Peer;
use crate::model::{Attempt, AttemptState, Outcome, PeerChange, Role, Say};
use crate::net::quic::{Asked, Door, Link, Listener, Speaker, resolve};
use crate::net::wire::{self, Hello, JoinAck, NoJoin};

/// A peer that is said to be here twice is looked at so often before it counts as gone. Looks and no clock: on a machine that
/// stood still for a second its answer had no time either.
const PROBE_LOOKS: u32 = 75;
const PROBE_PAUSE: Duration = Duration::from_millis(20);
const REDIAL_MS: u64 = 200;
/// Tries after a lost one that are looked for.
const LATER_TRIES: u32 = 8;

/// Decides on strangers in the name of the links.
pub(super) struct AtDoor(pub(super) Links);

impl Door for AtDoor {
    fn refused(&self, peer: Option<HostId>, from: SocketAddr, why: &str) {
        // A host that waits for approval asks every second; its joining was written down already.
        if peer.is_some_and(|peer| {
            self.0
                .peer(&peer)
                .is_some_and(|row| matches!(row.state, crate::model::PeerState::Waiting))
        }) {
            return;
        }
        if peer.is_some_and(|peer| self.0.is_noted(peer, why)) {
            return;
        }
        let known = peer.and_then(|peer| self.0.name_of(&peer));
        let name = match (known, peer) {
            (Some(name), _) => name.to_string(),
            (None, Some(peer)) => peer.short(),
            (None, None) => from.ip().to_string(),
        };
        let text = format!("a host at {from} was not let in: {why}");
        self.0.note_refusal(PeerChange::Refused, peer, &name, text);
    }

    fn join(&self, asked: Asked) -> Pin<Box<dyn Future<Output = JoinAck> + Send + '_>> {
        Box::pin(async move {
            if !self.0.0.roles.contains(&Role::Summit) {
                return JoinAck::Refused {
                    why: NoJoin::Closed,
                    clock: now().wall,
                };
            }
            tickets::joins(&self.0, asked).await
        })
    }
}

impl Links {
    /// Dials every peer that has an address and is not being dialled yet.
    pub(super) fn dial_all(&self) {
        if self.0.endpoint.get().is_none() {
            return;
        }
        let wanted: Vec<HostId> = locked(&self.0.peers)
            .values()
            .filter(|peer| peer.is_approved())
            .filter(|peer| match peer.role {
                Role::Summit => true,
                // Builders dial it; the host that decides is dialled by it.
                Role::Vessel => !self.0.roles.contains(&Role::Summit),
                Role::Avalanche | Role::Operator => false,
            })
            .filter(|peer| !peer.addresses.is_empty())
            .map(|peer| peer.id)
            .collect();
        for peer in wanted {
            if locked(&self.0.dialling).insert(peer) {
                tokio::spawn(self.clone().keep_dialling(peer));
            }
        }
    }

    /// Keeps a link to that peer until it does not belong to the farm any more.
    async fn keep_dialling(self, peer: HostId) {
        let stop = self.0.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.dial_again_and_again(peer) => {}
        }
        locked(&self.0.dialling).remove(&peer);
    }

    async fn dial_again_and_again(&self, peer: HostId) {
        let mut wait_ms = REDIAL_MS;
        while let Some(row) = self.peer(&peer).filter(|row| row.is_approved()) {
            match self.dial(&row).await {
                Ok(link) => {
                    wait_ms = REDIAL_MS;
                    self.clone().run(link).await;
                }
                Err(fault) => {
                    let mut text = fault.to_string();
                    for cause in &fault.causes {
                        if !text.contains(cause.as_str()) {
                            text.push_str("; ");
                            text.push_str(cause);
                        }
                    }
                    self.note_failure(peer, text);
                    if fault.kind == Kind::NotPermitted
                        && let Err(fault) = self.keys_forgotten(&row).await
                    {
                        tracing::error!(%fault, "cannot note which key that peer knows");
                    }
                    // Somebody looks at the words right now, most likely.
                    let asked = fault.kind == Kind::NotPermitted;
                    wait_ms = if asked { 1_000 } else { wait_ms * 2 };
                }
            }
            wait_ms = wait_ms.min(limit::REDIAL_MS_MAX);
            // Not all builders at the same moment when a summit comes back.
            let jitter = rand::random::<u64>() % (wait_ms / 4 + 1);
            tokio::time::sleep(Duration::from_millis(wait_ms + jitter)).await;
        }
    }

    async fn dial(&self, row: &Peer) -> Result<Link> {
        let endpoint = self
            .0
            .endpoint
            .get()
            .ok_or_else(|| Fault::bug("links without an endpoint"))?;
        let pins = self.pins(&row.id);
        let mut last = Fault::new(
            Kind::Unreachable,
            format!("no address of {} can be found", row.name),
        )
        .next("check the names in `massif peer show`");
        for text in &row.addresses {
            for address in resolve(text).await {
                let dialled = endpoint.connect_to(address, row.id, &pins);
                match tokio::time::timeout(Duration::from_secs(limit::DIAL_S), dialled).await {
                    Ok(Ok(link)) => return Ok(link),
                    Ok(Err(fault)) => last = fault,
                    Err(_) => {
                        last = Fault::new(
                            Kind::Unreachable,
                            format!("the host at {address} did not answer"),
                        )
                        .next("check that massif runs there, and that its UDP port is open on the way");
                    }
                }
            }
        }
        Err(last)
    }

    /// A host came in by itself.
    pub(super) async fn came(self, mut link: Link) {
        let Some(host) = self.host_of(&link.peer) else {
            return link.close("this key was replaced");
        };
        link.peer = host;
        if self
            .peer(&link.peer)
            .is_some_and(|row| row.role == Role::Operator)
        {
            return self.serve_operator(link).await;
        }
        if let Some(older) = self.live(&link.peer)
            && self.still_there(&older).await
        {
            // One key, two machines: a restored backup, most likely. Both would undo each other's work.
            let from = link.connection.remote_address();
            let what = format!("is here already, and somebody at {from} has the same key");
            self.misbehaved(link.peer, &what);
            link.close(
                "another host with the same key is linked already; give this one a key of its own",
            );
            return;
        }
        self.run(link).await;
    }

    /// Answers an operator until the connection ends.
    async fn serve_operator(self, link: Link) {
        let (peer, connection) = (link.peer, link.connection.clone());
        {
            let mut all = locked(&self.0.operators);
            all.retain(|(_, connection)| connection.close_reason().is_none());
            let own = all.iter().filter(|(operator, _)| *operator == peer).count();
            if own >= limit::OPERATOR_LINKS_MAX {
                return link.close("too many connections of this operator");
            }
            all.push((peer, connection.clone()));
        }
        // A revocation between the judge's look and ours.
        if self.judge_host(&peer).is_err() {
            return link.close("revoked");
        }
        let stop = self.0.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.serve_streams(peer, connection) => {}
        }
    }

    /// Whether the other end of a link answers now.
    async fn still_there(&self, live: &Live) -> bool {
        if live.connection.close_reason().is_some() {
            return false;
        }
        let before = live.heard_ms.load(Ordering::Relaxed);
        if live.to.try_send(wire::Say::Ping).is_err() {
            return false;
        }
        for _ in 0..PROBE_LOOKS {
            tokio::time::sleep(PROBE_PAUSE).await;
            if live.connection.close_reason().is_some() {
                return false;
            }
            if live.heard_ms.load(Ordering::Relaxed) > before {
                return true;
            }
        }
        false
    }

    /// Runs a link until it is over.
    async fn run(self, link: Link) {
        let peer = link.peer;
        let Some(row) = self.peer(&peer).filter(|row| row.is_approved()) else {
            return link.close("not approved");
        };
        let (connection, hello, speaker, listener) = link.split();
        let (live, queue) = self.stand(peer, &connection, hello);
        tracing::info!(peer = %row.name, address = %connection.remote_address(), "linked");
        let speaking = tokio::spawn(speak(speaker, queue, live.end.clone()));
        let serving = tokio::spawn(self.clone().serve_streams(peer, connection.clone()));
        self.tell_keys(&live, peer);
        self.tell_list(Some((&live, peer)));
        self.tell_reached(&live, peer);
        let following = match row.role {
            Role::Vessel => Some(tokio::spawn(self.clone().follow(Arc::clone(&live), peer))),
            Role::Summit | Role::Avalanche | Role::Operator => None,
        };
        self.post().peer_up(peer);
        // A revocation between the judge's look and ours.
        if self.judge_host(&peer).is_err() {
            connection.close(quinn::VarInt::from_u32(1), b"revoked");
        }
        let why = tokio::select! {
            why = self.listen(&live, peer, listener) => why,
            () = live.end.cancelled() => "this host stops".to_string(),
        };
        live.end.cancel();
        speaking.await.ok();
        connection.close(quinn::VarInt::from_u32(0), why.as_bytes());
        serving.abort();
        if let Some(following) = following {
            following.abort();
        }
        self.over(peer, &live, why);
        live.done.cancel();
    }

    fn stand(
        &self,
        peer: HostId,
        connection: &quinn::Connection,
        hello: Hello,
    ) -> (Arc<Live>, mpsc::Receiver<wire::Say>) {
        let (to, queue) = mpsc::channel(limit::LINK_QUEUE_MAX);
        let at = now();
        let half_trip_ms = i64::try_from(connection.rtt().as_millis() / 2).unwrap_or(0);
        let live = Arc::new(Live {
            serial: self.0.serial.fetch_add(1, Ordering::Relaxed),
            connection: connection.clone(),
            to,
            clock_offset_ms: hello
                .clock
                .0
                .saturating_sub(at.wall.0)
                .saturating_add(half_trip_ms),
            hello,
            since_ms: at.mono_ms,
            heard_ms: AtomicU64::new(at.mono_ms),
            misdeeds: AtomicU64::new(0),
            end: CancellationToken::new(),
            done: CancellationToken::new(),
        });
        let older = locked(&self.0.live).insert(peer, Arc::clone(&live));
        if let Some(older) = older {
            older.connection.close(
                quinn::VarInt::from_u32(0),
                b"a newer link has taken its place",
            );
        }
        let mut past = locked(&self.0.past);
        let past = past.entry(peer).or_default();
        past.links += 1;
        past.last_failure = None;
        (live, queue)
    }

    fn over(&self, peer: HostId, live: &Live, why: String) {
        let mut all = locked(&self.0.live);
        if all.get(&peer).is_some_and(|now| now.serial == live.serial) {
            all.remove(&peer);
        }
        drop(all);
        tracing::info!(peer = %peer.short(), why, "the link is over");
        let mut past = locked(&self.0.past);
        let past = past.entry(peer).or_default();
        past.last_end = Some(why);
        past.heard_ms = Some(live.heard_ms.load(Ordering::Relaxed));
    }

    /// Hears what the peer says until the link is over; why it is.
    async fn listen(&self, live: &Arc<Live>, peer: HostId, mut listener: Listener) -> String {
        let mut ahead = 0;
        loop {
            let heard = listener.hear().await;
            live.heard_ms.store(now().mono_ms, Ordering::Relaxed);
            match heard {
                Ok(Some(wire::Say::Ring { to, say })) => {
                    self.ring(live, peer, to, *say);
                    ahead += 1;
                    if ahead >= limit::LINK_AHEAD_MAX {
                        ahead = 0;
                        has_heard(to).await;
                    }
                }
                Ok(Some(wire::Say::Ping)) => {
                    live.to.try_send(wire::Say::Pong).ok();
                }
                Ok(Some(wire::Say::Pong)) => {}
                Ok(Some(wire::Say::Keys { rotations })) => {
                    match self.hear_keys(peer, rotations).await {
                        Ok(Some(key)) => drop(live.to.try_send(wire::Say::KeysKept { key })),
                        Ok(None) => {}
                        Err(fault) => tracing::error!(%fault, "cannot keep a peer's new key"),
                    }
                }
                Ok(Some(wire::Say::Peers(list))) => {
                    if let Err(fault) = self.take_list(peer, *list).await {
                        tracing::error!(%fault, "cannot keep who belongs to the farm");
                    }
                }
                Ok(Some(wire::Say::Reached { addresses })) => {
                    if let Err(fault) = self.reached(peer, addresses).await {
                        tracing::error!(%fault, "cannot keep where vessel is reached");
                    }
                }
                Ok(Some(wire::Say::Serves { http })) => self.hear_served(peer, http),
                Ok(Some(wire::Say::Noted {
                    host,
                    name,
                    change,
                    text,
                })) => self.hear_noted(peer, host, (&name, change, &text)),
                Ok(Some(wire::Say::KeysKept { key })) => {
                    if let Err(fault) = self.keys_kept(peer, key).await {
                        tracing::error!(%fault, "cannot note which key that peer knows");
                    }
                }
                Ok(Some(wire::Say::Bye { why })) => return why.chars().take(200).collect(),
                Ok(Some(_)) => {
                    self.misbehaved(peer, "said what has no place on a control stream");
                    return "it said what has no place here".into();
                }
                Ok(None) => return "the other host stopped".into(),
                Err(fault) => {
                    return match live.connection.close_reason() {
                        Some(reason) => ended(&reason),
                        None => {
                            self.misbehaved(peer, &format!("broke the protocol: {fault}"));
                            fault.to_string()
                        }
                    };
                }
            }
        }
    }

    /// One thing that a peer says to an actor of this host.
    fn ring(&self, live: &Arc<Live>, peer: HostId, to: Role, say: Say) {
        let refused = match self.peer(&peer) {
            Some(row) => row.refuses(to, &say),
            None => Some("its key is not known"),
        };
        if let Some(why) = refused {
            return self.misbehaved(peer, &format!("was not heard: {why}"));
        }
        if let Say::Report(report) = &say
            && (report.slot_cores.len() > limit::SLOTS_MAX as usize
                || report.slots.len() != report.slot_cores.len())
        {
            return self.misbehaved(peer, "reports more slots than a builder has");
        }
        // The newest of each builder is kept.
        if let Say::Report(report) = &say
            && !postcard::to_stdvec(report)
                .is_ok_and(|bytes| bytes.len() <= limit::REPORT_BYTES_MAX)
        {
            return self.misbehaved(peer, "reports more than there is to say of a builder");
        }
        if let Say::Renew { attempts } = &say
            && attempts.len() > limit::SLOTS_MAX as usize
        {
            return self.misbehaved(peer, "renews more attempts than a builder has slots");
        }
        let from_vessel = self.peer(&peer).is_some_and(|row| row.role == Role::Vessel);
        if from_vessel && matches!(say, Say::Published { .. }) {
            return self.deliver_when_seen(peer, say);
        }
        if to == Role::Vessel
            && !self.0.roles.contains(&Role::Summit)
            && let Some(attempt) = attempt_of(&say)
        {
            match self.0.store.get::<ExpectedRow>(&attempt) {
                Ok(Some(row)) if row.0.builder != peer => {
                    let what = format!("speaks of attempt {attempt}, which is another builder's");
                    return self.misbehaved(peer, &what);
                }
                Ok(Some(_)) => {}
                // Vessel itself answers for what it does not expect, or not yet.
                Ok(None) if self.was_followed(attempt) => {
                    self.not_taken(peer, &too_late(attempt));
                }
                Ok(None) => {}
                Err(fault) => return tracing::error!(%fault, "cannot look an attempt up"),
            }
        } else if to != Role::Avalanche
            && !from_vessel
            && let Some(attempt) = attempt_of(&say)
            // Canaries, tries and comparisons have no rows; summit and vessel know their own.
            && attempt.job != crate::actors::summit::builders::CANARY
            && !crate::actors::summit::tries::is_try(attempt.job)
            && !crate::model::proof::is_comparison(attempt.job)
        {
            match self.0.store.get::<Attempt>(&attempt) {
                Ok(Some(row)) if row.builder == peer => {
                    // An honest one comes back like that after a partition. The actors refuse it; here is the evidence.
                    if is_delivery(&say) && matches!(row.state, AttemptState::Ended { .. }) {
                        self.not_taken(peer, &too_late(attempt));
                    }
                }
                Ok(Some(_)) => {
                    let what = format!("speaks of attempt {attempt}, which is another builder's");
                    return self.misbehaved(peer, &what);
                }
                Ok(None) => {
                    // Of a store that was restored, perhaps: nobody here will ever want it.
                    let why = "this farm does not know it".to_string();
                    return Links::send(live, Role::Avalanche, Say::Cancel { attempt, why });
                }
                Err(fault) => return tracing::error!(%fault, "cannot look an attempt up"),
            }
            if matches!(
                say,
                Say::Accepted { .. } | Say::Progress { .. } | Say::Ended { .. }
            ) {
                self.copy_log(live, peer, attempt);
            }
        } else if to == Role::Summit
            && let Some(attempt) = attempt_of(&say)
            && crate::actors::summit::tries::is_try(attempt.job)
            && self.was_ordered(peer, attempt)
            && matches!(
                say,
                Say::Accepted { .. } | Say::Progress { .. } | Say::Ended { .. }
            )
        {
            self.copy_log(live, peer, attempt);
            if matches!(say, Say::Ended { .. }) {
                return self.deliver_when_copied(peer, to, say, attempt);
            }
        }
        self.post().deliver(peer, to, say);
    }

    /// Whoever follows the log of a try reads its last lines before its end.
    fn deliver_when_copied(&self, peer: HostId, to: Role, say: Say, attempt: AttemptId) {
        let Some(mut copied) = locked(&self.0.tails).get(&attempt).cloned() else {
            return self.post().deliver(peer, to, say);
        };
        let post = self.post();
        tokio::spawn(async move {
            let whole = async { drop(copied.wait_for(Option::is_some).await) };
            let patience = std::time::Duration::from_secs(limit::TRANSFER_STALL_S);
            // A log that does not come keeps nobody from hearing how it ended.
            tokio::time::timeout(patience, whole).await.ok();
            post.deliver(peer, to, say);
        });
    }
}

/// Waits until an actor of this host has heard what it was told so far: mailboxes have no bound of their own, and what comes
/// faster than it is heard stays with the peer.
async fn has_heard(actor: Role) {
    let nobodys = JobId(0);
    match actor {
        Role::Summit => {
            let asked = desk::ask(names::SUMMIT, |reply| {
                summit::Msg::TryIsOver(nobodys, reply)
            });
            // An actor that does not run has no mailbox that could grow.
            drop(asked.await);
        }
        Role::Vessel => {
            let attempt = AttemptId {
                job: nobodys,
                try_no: 0,
            };
            let asked = desk::ask(names::VESSEL, |reply| {
                vessel::Message::Artefacts(attempt, reply)
            });
            drop(asked.await);
        }
        // Orders come from the host that this one serves.
        Role::Avalanche | Role::Operator => {}
    }
}

/// The attempt that a builder speaks of as its own.
fn attempt_of(say: &Say) -> Option<AttemptId> {
    match say {
        Say::Accepted { attempt }
        | Say::Refused { attempt, .. }
        | Say::Progress { attempt, .. }
        | Say::Ended { attempt, .. }
        | Say::Offer { attempt, .. } => Some(*attempt),
        Say::Measured(measures) => Some(measures.attempt),
        Say::Glanced { attempt, .. } | Say::Moved { attempt, .. } => Some(*attempt),
        Say::StoodOn(stood) => Some(stood.attempt),
        // Summit answers each attempt of a renewal by itself, because a builder may honestly hold one that was taken away.
        _ => None,
    }
}

impl Links {
    /// Whether a later try of the same job is known here.
    fn was_followed(&self, attempt: AttemptId) -> bool {
        let known = |later: &AttemptId| {
            let expected = self.0.store.get::<ExpectedRow>(later);
            let ended = self.0.store.get::<ReceiptRow>(later);
            matches!(expected, Ok(Some(_))) || matches!(ended, Ok(Some(_)))
        };
        (1..=LATER_TRIES).any(|more| {
            known(&AttemptId {
                try_no: attempt.try_no.saturating_add(more),
                ..attempt
            })
        })
    }
}

/// Whether a builder says that there is something to publish.
fn is_delivery(say: &Say) -> bool {
    match say {
        Say::Offer { .. } => true,
        Say::Ended { outcome, .. } => matches!(outcome, Outcome::Built { .. }),
        _ => false,
    }
}

fn too_late(attempt: AttemptId) -> String {
    format!("comes with attempt {attempt}, which is over: it was taken away or refused before")
}

/// Says what is queued, until the link ends; then what is left, and waits until it has arrived.
async fn speak(mut speaker: Speaker, mut queue: mpsc::Receiver<wire::Say>, end: CancellationToken) {
    loop {
        let say = tokio::select! {
            biased;
            say = queue.recv() => say,
            () = end.cancelled() => break,
        };
        let Some(say) = say else { return };
        if let Err(fault) = speaker.say(say).await {
            if fault.kind != Kind::Bug {
                return;
            }
            // Larger than a frame: that one message is lost, and told again with the next link.
            tracing::error!(%fault, "cannot say something to a peer");
        }
    }
    queue.close();
    while let Some(say) = queue.recv().await {
        if speaker.say(say).await.is_err() {
            return;
        }
    }
    speaker.end().await;
}

/// Why a connection ended, in words.
fn ended(reason: &quinn::ConnectionError) -> String {
    match reason {
        quinn::ConnectionError::ApplicationClosed(close) => {
            let text = String::from_utf8_lossy(&close.reason);
            format!(
                "the other host closed it: {}",
                text.chars().take(200).collect::<String>()
            )
        }
        quinn::ConnectionError::TimedOut => "nothing was heard for 20 s".into(),
        quinn::ConnectionError::Reset => "the other host was started anew".into(),
        quinn::ConnectionError::LocallyClosed => "this host closed it".into(),
        other => other.to_string(),
    }
}
