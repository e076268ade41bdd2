//! Who belongs to the farm, and how that changes: approval, revocation, names.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::{Links, locked};
use crate::actors::post::names;
use crate::actors::{desk, now, summit};
use crate::fault::{Fault, Kind, Result};
use crate::id::{HostId, HostName};
use crate::limit;
use crate::model::peer::{Peer, PeerTrust, Revocation, Rights, Ticket};
use crate::model::{Event, PeerChange, PeerState, Role, Who};
use crate::net::card::ADDRESSES_MAX;
use crate::net::words::pair_words;
use crate::store::WriteSet;

/// The row of a key that was revoked, whatever the store says.
pub(super) fn revoked_row(gone: &Revocation, known: Option<&Peer>) -> Peer {
    let state = PeerState::Revoked {
        by: gone.by.clone(),
        at: gone.at,
    };
    match known {
        Some(known) => Peer {
            state,
            ..known.clone()
        },
        None => Peer {
            id: gone.id,
            name: gone.name.clone(),
            role: gone.role,
            trust: PeerTrust::Test,
            rights: Rights::View,
            addresses: Vec::new(),
            state,
            since: gone.at,
            how: "known by its revocation only".into(),
            words: String::new(),
        },
    }
}

/// Addresses that others can dial, of the one that this host listens on.
pub fn reachable(listen: SocketAddr) -> Vec<String> {
    if !listen.ip().is_unspecified() {
        return vec![listen.to_string()];
    }
    let mut found: Vec<SocketAddr> = Vec::new();
    for interface in nix::ifaddrs::getifaddrs().into_iter().flatten() {
        let Some(address) = interface.address else {
            continue;
        };
        let ip = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
            (Some(four), _) => IpAddr::V4(four.ip()),
            (_, Some(six)) => IpAddr::V6(six.ip()),
            _ => continue,
        };
        let local = matches!(ip, IpAddr::V6(six) if six.is_unicast_link_local());
        // A socket on 0.0.0.0 hears no IPv6.
        if !local && (ip.is_ipv4() || listen.is_ipv6()) {
            found.push(SocketAddr::new(ip, listen.port()));
        }
    }
    found.sort_by_key(|address| (address.ip().is_loopback(), address.is_ipv6()));
    found.dedup();
    found.truncate(ADDRESSES_MAX);
    found.iter().map(ToString::to_string).collect()
}

pub(super) async fn words_of(a: HostId, b: HostId) -> Result<String> {
    tokio::task::spawn_blocking(move || pair_words(&a, &b))
        .await
        .map_err(|error| Fault::bug("finding the words broke off").because(&error))
}

impl Links {
    pub(super) async fn commit(&self, peers: &[Peer], ticket: Option<&Ticket>) -> Result<()> {
        let mut set = WriteSet::new();
        for peer in peers {
            set.put(peer);
        }
        if let Some(ticket) = ticket {
            set.put(ticket);
        }
        self.0.store.commit_async(set).await?;
        let mut all = locked(&self.0.peers);
        for peer in peers {
            all.insert(peer.id, Arc::new(peer.clone()));
        }
        drop(all);
        if !peers.is_empty() {
            self.tell_list(None);
        }
        Ok(())
    }

    /// A name that no other peer has.
    pub(super) fn free_name(&self, wanted: &HostName, id: HostId) -> HostName {
        let peers = locked(&self.0.peers);
        let taken = |name: &HostName| {
            *name == self.0.name
                || peers.values().any(|peer| {
                    peer.id != id
                        && peer.name == *name
                        && !matches!(peer.state, PeerState::Revoked { .. })
                })
        };
        if !taken(wanted) {
            return wanted.clone();
        }
        let numbered = (2..10_000).filter_map(|number| {
            let head: String = wanted
                .as_str()
                .chars()
                .take(limit::NAME_BYTES_MAX - 6)
                .collect();
            format!("{head}-{number}").parse::<HostName>().ok()
        });
        let mut numbered = numbered.filter(|name| !taken(name));
        numbered.next().unwrap_or_else(|| wanted.clone())
    }

    /// The peer that a person means: by name, or by the beginning of its id.
    pub(super) fn find_peer(&self, text: &str) -> Result<Arc<Peer>> {
        let peers = locked(&self.0.peers);
        let by_name = |live: bool| {
            peers.values().find(|peer| {
                peer.name.as_str() == text
                    && live != matches!(peer.state, PeerState::Revoked { .. })
            })
        };
        if let Some(found) = by_name(true).or_else(|| by_name(false)) {
            return Ok(Arc::clone(found));
        }
        let mut of_key = peers
            .values()
            .filter(|peer| text.len() >= 6 && peer.id.to_string().starts_with(text));
        match (of_key.next(), of_key.next()) {
            (Some(found), None) => Ok(Arc::clone(found)),
            (Some(_), Some(_)) => Err(Fault::new(
                Kind::Usage,
                format!("several peers' keys begin with {text}"),
            )),
            _ => Err(summit::lookup::unknown(
                "peer",
                text,
                peers.values().map(|peer| peer.name.as_str()),
                "massif peer list",
            )),
        }
    }

    /// All peers by name.
    pub(super) fn all_peers(&self) -> Vec<Arc<Peer>> {
        let mut all: Vec<_> = locked(&self.0.peers).values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Lets a peer in.
    pub(super) async fn approve(
        &self,
        who: Who,
        name: &str,
        trust: Option<PeerTrust>,
    ) -> Result<Arc<Peer>> {
        let _changing = self.0.changing.lock().await;
        let found = self.find_peer(name)?;
        if let PeerState::Revoked { by, at } = &found.state {
            let what = format!("the key of {} was revoked by {by} at {at}", found.name);
            return Err(Fault::new(Kind::Conflict, what).next(
                "a revoked key never comes back: invite that host anew, with another directory",
            ));
        }
        let trust = trust.unwrap_or(found.trust);
        if found.is_approved() && trust == found.trust {
            return Ok(found);
        }
        let peer = Peer {
            trust,
            state: PeerState::Approved {
                by: who.clone(),
                at: now().wall,
            },
            ..(*found).clone()
        };
        self.commit(std::slice::from_ref(&peer), None).await?;
        let text = format!(
            "{} ({}) is approved as {}, {}; words: {}",
            peer.name,
            peer.id.short(),
            peer.role.as_str(),
            peer.trust.as_str(),
            peer.words
        );
        self.approved(who, &peer, text).await;
        Ok(Arc::new(peer))
    }

    /// Says that a peer was let in, and does what follows.
    pub(super) async fn approved(&self, who: Who, peer: &Peer, text: String) {
        let (name, id) = (peer.name.as_str(), Some(peer.id));
        self.note(who, PeerChange::Approved, id, name, text).await;
        self.seen(peer).await;
        self.belongs(peer);
    }

    /// The farm learns what a builder is called.
    pub(super) async fn seen(&self, peer: &Peer) {
        if peer.role != Role::Avalanche || !self.0.roles.contains(&Role::Summit) {
            return;
        }
        let event = Box::new(Event::HostSeen {
            host: peer.id,
            name: peer.name.clone(),
        });
        let noted = desk::ask(names::SUMMIT, |reply| summit::Msg::Note {
            who: Who::Farm,
            event,
            reply,
        });
        // It may be known under that name already.
        noted.await.ok();
    }

    /// What follows when a peer is approved.
    pub(super) fn belongs(&self, peer: &Peer) {
        if peer.role == Role::Summit {
            self.0.farm.send_if_modified(|farm| {
                let new = farm.is_none();
                if new {
                    *farm = Some(peer.id);
                }
                new
            });
        }
        self.dial_all();
    }

    /// Shuts a peer out: its link is closed before this returns, and its attempts go elsewhere.
    pub(super) async fn revoke(&self, who: Who, name: &str) -> Result<Arc<Peer>> {
        let _changing = self.0.changing.lock().await;
        let found = self.find_peer(name)?;
        if matches!(found.state, PeerState::Revoked { .. }) {
            return Ok(found);
        }
        let at = now().wall;
        let peer = Peer {
            state: PeerState::Revoked {
                by: who.clone(),
                at,
            },
            ..(*found).clone()
        };
        let gone = Revocation {
            id: peer.id,
            name: peer.name.clone(),
            role: peer.role,
            by: who.clone(),
            at,
        };
        let links = self.clone();
        desk::blocking(move || locked(&links.0.revoked).append(&gone)).await?;
        self.commit(std::slice::from_ref(&peer), None).await?;
        let why = format!("its key was revoked by {who} at {at}");
        if let Some(live) = self.live(&peer.id) {
            live.connection
                .close(quinn::VarInt::from_u32(1), why.as_bytes());
        }
        for (operator, connection) in locked(&self.0.operators).iter() {
            if *operator == peer.id {
                connection.close(quinn::VarInt::from_u32(1), why.as_bytes());
            }
        }
        let text = format!("{} ({}) is revoked", peer.name, peer.id.short());
        self.note(
            who,
            PeerChange::Revoked,
            Some(peer.id),
            peer.name.as_str(),
            text,
        )
        .await;
        if let Some(summit) = crate::actors::post::find(names::SUMMIT) {
            // A summit that is just being started again finds the builder away and its leases over.
            summit.cast(summit::Msg::BuilderGone(peer.id)).ok();
        }
        Ok(Arc::new(peer))
    }

    /// Gives a peer another name.
    pub(super) async fn rename(&self, who: Who, name: &str, to: HostName) -> Result<Arc<Peer>> {
        let _changing = self.0.changing.lock().await;
        let found = self.find_peer(name)?;
        if self.free_name(&to, found.id) != to {
            return Err(
                Fault::new(Kind::Conflict, format!("the name {to} is taken"))
                    .next("`massif peer list` shows all"),
            );
        }
        let peer = Peer {
            name: to.clone(),
            ..(*found).clone()
        };
        self.commit(std::slice::from_ref(&peer), None).await?;
        let text = format!("{} ({}) is called {to} now", found.name, peer.id.short());
        self.note(who, PeerChange::Renamed, Some(peer.id), to.as_str(), text)
            .await;
        self.seen(&peer).await;
        Ok(Arc::new(peer))
    }
}

/// This host takes the orders of one summit only.
pub(super) fn other_farm(name: &Option<HostName>) -> Fault {
    let name = name.as_ref().map_or("another host", HostName::as_str);
    Fault::new(
        Kind::Conflict,
        format!("this host builds for {name} already"),
    )
    .next("give the new builder a directory of its own with --dir")
}
