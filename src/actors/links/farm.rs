//! Three hosts and more: the host that decides tells the others who belongs to the farm, and they take its word for it.

use std::sync::atomic::Ordering;

use super::list::words_of;
use super::{Links, Live, locked};
use crate::actors::now;
use crate::fault::{Fault, Kind, Result};
use crate::id::HostId;
use crate::model::peer::{Peer, PeerListRow, Revocation, Rights};
use crate::model::{PeerState, Role, Who};
use crate::net::card::{ADDRESS_BYTES_MAX, ADDRESSES_MAX};
use crate::net::peer_list::{Listed, PeerList};
use crate::net::wire;
use crate::store::WriteSet;

impl Links {
    /// The host that publishes for this one; `None`: none is known yet.
    pub fn vessel(&self) -> Option<HostId> {
        if self.0.roles.contains(&Role::Vessel) {
            return Some(self.0.own);
        }
        let peers = locked(&self.0.peers);
        let known = peers
            .values()
            .find(|peer| peer.role == Role::Vessel && peer.is_approved());
        match known {
            Some(vessel) => Some(vessel.id),
            None if self.0.roles.contains(&Role::Summit) => None,
            None => *self.0.farm.borrow(),
        }
    }

    /// A farm has one host that publishes.
    pub(super) fn check_only_vessel(&self, id: Option<HostId>) -> Result<()> {
        match self.vessel().filter(|vessel| Some(*vessel) != id) {
            None => Ok(()),
            Some(other) => {
                let name = self.name_of(&other).unwrap_or_else(|| self.0.name.clone());
                Err(Fault::new(
                    Kind::Conflict,
                    format!("{name} publishes for this farm already"),
                )
                .next("a summit without the role vessel takes one other host as vessel"))
            }
        }
    }

    fn list(&self) -> Result<PeerList> {
        let endpoint = self
            .0
            .endpoint
            .get()
            .ok_or_else(|| Fault::bug("links without an endpoint"))?;
        let listed = |peer: &Peer| {
            let revoked = match &peer.state {
                PeerState::Waiting => return None,
                PeerState::Approved { .. } => None,
                PeerState::Revoked { by, at } => Some((by.to_string(), *at)),
            };
            matches!(peer.role, Role::Avalanche | Role::Vessel).then(|| Listed {
                id: peer.id,
                name: peer.name.clone(),
                role: peer.role,
                trust: peer.trust,
                addresses: peer.addresses.clone(),
                revoked,
            })
        };
        let peers = locked(&self.0.peers)
            .values()
            .filter_map(|peer| listed(peer))
            .collect();
        // By the clock, so that it rises also when an older store was restored here.
        let at = u64::try_from(now().wall.0).unwrap_or(0);
        let before = self.0.list_no.fetch_max(at, Ordering::Relaxed);
        let number = match before < at {
            true => at,
            false => self.0.list_no.fetch_add(1, Ordering::Relaxed) + 1,
        };
        PeerList::make(number, peers, |message| endpoint.sign(message))
    }

    /// Tells one host, or all, who belongs to the farm.
    pub(super) fn tell_list(&self, to: Option<(&Live, HostId)>) {
        if !self.0.roles.contains(&Role::Summit) || self.0.endpoint.get().is_none() {
            return;
        }
        let list = match self.list() {
            Ok(list) => wire::Say::Peers(Box::new(list)),
            Err(fault) => return tracing::error!(%fault, "cannot say who belongs to the farm"),
        };
        let is_host = |id: &HostId| self.peer(id).is_some_and(|row| row.role != Role::Operator);
        match to {
            Some((live, peer)) if is_host(&peer) => drop(live.to.try_send(list)),
            Some(_) => {}
            None => {
                let live: Vec<_> = {
                    let all = locked(&self.0.live);
                    all.iter().map(|(id, live)| (*id, live.clone())).collect()
                };
                for (id, live) in live {
                    if is_host(&id) {
                        // A link that is full is told again when it is new.
                        drop(live.to.try_send(list.clone()));
                    }
                }
            }
        }
    }

    /// The host that decides says who belongs to the farm.
    pub(super) async fn take_list(&self, from: HostId, list: PeerList) -> Result<()> {
        let is_summit = self.peer(&from).is_some_and(|row| row.role == Role::Summit);
        let signed = list
            .signer()
            .is_ok_and(|key| self.host_of(&key) == Some(from));
        if !is_summit || !signed {
            self.misbehaved(
                from,
                "says who belongs to the farm, which is not its to say",
            );
            return Ok(());
        }
        let _changing = self.0.changing.lock().await;
        let known = self.0.store.get::<PeerListRow>(&from)?;
        if known.is_some_and(|known| known.number >= list.number) {
            return Ok(());
        }
        let mut changed = Vec::new();
        for listed in list.peers.iter().take(crate::limit::PEERS_MAX) {
            if let Some(peer) = self.listed(from, list.number, listed).await? {
                changed.push(peer);
            }
        }
        for gone in changed.iter().filter(|peer| !peer.is_approved()) {
            if let PeerState::Revoked { by, at } = &gone.state {
                let record = Revocation {
                    id: gone.id,
                    name: gone.name.clone(),
                    role: gone.role,
                    by: by.clone(),
                    at: *at,
                };
                let links = self.clone();
                let append = move || locked(&links.0.revoked).append(&record);
                crate::actors::desk::blocking(append).await?;
            }
        }
        let mut set = WriteSet::new();
        set.put(&PeerListRow {
            summit: from,
            number: list.number,
        });
        self.0.store.commit_async(set).await?;
        self.commit(&changed, None).await?;
        for gone in changed.iter().filter(|peer| !peer.is_approved()) {
            tracing::info!(peer = %gone.name, "the farm revoked its key");
            if let Some(live) = self.live(&gone.id) {
                live.connection
                    .close(quinn::VarInt::from_u32(1), b"its key was revoked");
            }
        }
        self.dial_all();
        Ok(())
    }

    /// The row of a listed host, if it concerns this one and differs from what is known.
    async fn listed(&self, from: HostId, number: u64, listed: &Listed) -> Result<Option<Peer>> {
        let concerns = match listed.role {
            Role::Avalanche => self.0.roles.contains(&Role::Vessel),
            Role::Vessel => self.0.roles.contains(&Role::Avalanche),
            Role::Summit | Role::Operator => false,
        };
        let good = are_addresses(&listed.addresses);
        if !concerns || !good || [self.0.own, self.key(), from].contains(&listed.id) {
            return Ok(None);
        }
        let known = self.peer(&listed.id);
        if known
            .as_ref()
            .is_some_and(|known| matches!(known.state, PeerState::Revoked { .. }))
        {
            return Ok(None);
        }
        let by = Who::Key(from);
        let state = match (&listed.revoked, known.as_ref().map(|known| &known.state)) {
            (Some((_, at)), _) => PeerState::Revoked { by, at: *at },
            (None, Some(state @ PeerState::Approved { .. })) => state.clone(),
            (None, _) => PeerState::Approved { by, at: now().wall },
        };
        let words = match &known {
            Some(known) => known.words.clone(),
            None => words_of(self.key(), listed.id).await?,
        };
        let since = known.as_ref().map_or(now().wall, |known| known.since);
        let how = match &known {
            Some(known) => known.how.clone(),
            None => format!("list {number} of the farm"),
        };
        let peer = Peer {
            id: listed.id,
            name: listed.name.clone(),
            role: listed.role,
            trust: listed.trust,
            rights: Rights::View,
            addresses: listed.addresses.clone(),
            state,
            since,
            how,
            words,
        };
        Ok((known.as_deref() != Some(&peer)).then_some(peer))
    }

    /// Tells the host that decides where builders reach this one.
    pub(super) fn tell_reached(&self, live: &Live, peer: HostId) {
        let to_summit = self.peer(&peer).is_some_and(|row| row.role == Role::Summit);
        if to_summit && self.0.roles.contains(&Role::Vessel) {
            let addresses = self.addresses();
            drop(live.to.try_send(wire::Say::Reached { addresses }));
            self.tell_served(live);
        }
    }

    /// The host that publishes says where it is reached.
    pub(super) async fn reached(&self, peer: HostId, addresses: Vec<String>) -> Result<()> {
        let Some(row) = self.peer(&peer).filter(|row| row.role == Role::Vessel) else {
            self.misbehaved(peer, "says where it is reached, and nobody dials it");
            return Ok(());
        };
        if !are_addresses(&addresses) {
            self.misbehaved(peer, "says that it is reached where nothing can be");
            return Ok(());
        }
        let _changing = self.0.changing.lock().await;
        if row.addresses != addresses {
            let row = Peer {
                addresses,
                ..(*row).clone()
            };
            self.commit(&[row], None).await?;
        }
        Ok(())
    }
}

fn are_addresses(addresses: &[String]) -> bool {
    addresses.len() <= ADDRESSES_MAX
        && addresses.iter().all(|address| {
            address.len() <= ADDRESS_BYTES_MAX && !address.chars().any(char::is_control)
        })
}
