//! Tickets: made, listed, taken back, and shown by those who want to join.

use std::net::SocketAddr;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::list::{other_farm, words_of};
use super::{Links, locked};
use crate::actors::now;
use crate::fault::{Fault, Kind, Result};
use crate::id::{Digest, HostId, HostName, Stamp};
use crate::limit;
use crate::model::peer::{NoEntry, Peer, PeerTrust, Rights, Ticket, TicketId};
use crate::model::{PeerChange, PeerState, Role, Who};
use crate::net::card::TicketLine;
use crate::net::quic::{Asked, covered};
use crate::net::wire::{JoinAck, NoJoin};
use crate::store::WriteSet;

/// What an invitation is to be.
pub(super) struct Invite {
    pub role: Role,
    pub name: Option<HostName>,
    pub ttl: Duration,
    pub trust: PeerTrust,
    pub rights: Rights,
    pub pre_approved: bool,
    pub uses: u32,
    pub addresses: Vec<String>,
}

/// What came of joining another host's farm.
pub(super) struct JoinedFarm {
    pub host: HostName,
    pub host_id: HostId,
    pub name: HostName,
    pub role: Role,
    pub trust: PeerTrust,
    pub approved: bool,
    /// It belonged to that farm before.
    pub already: bool,
    pub words: String,
}

fn hash_of(secret: &[u8; 16]) -> Digest {
    Digest(Sha256::digest([b"massif ticket 1".as_slice(), secret].concat()).into())
}

impl Links {
    /// Makes a ticket; the line to paste. Its secret is nowhere else.
    pub(super) async fn invite(&self, who: Who, invite: Invite) -> Result<(TicketLine, Ticket)> {
        if !self.0.roles.contains(&Role::Summit) {
            return Err(Fault::new(
                Kind::Operator,
                "this host decides nothing: nobody can join it",
            )
            .next("run it on the host that has the role summit"));
        }
        match invite.role {
            Role::Avalanche | Role::Operator => {}
            Role::Vessel => self.check_only_vessel(None)?,
            Role::Summit => {
                return Err(Fault::new(Kind::Usage, "a farm has one summit")
                    .next("use --role avalanche, --role vessel or --role operator"));
            }
        }
        let now = now().wall;
        let _changing = self.0.changing.lock().await;
        let mut old: Vec<Ticket> = self.0.store.scan::<Ticket>().collect::<Result<_>>()?;
        if old
            .iter()
            .filter(|ticket| ticket.over(now).is_none())
            .count()
            >= limit::PEERS_MAX
        {
            return Err(
                Fault::new(Kind::Conflict, "there are too many open invitations")
                    .next("take some back: massif invite --list, massif invite --revoke ID"),
            );
        }
        let secret: [u8; 16] = rand::random();
        let ticket = Ticket {
            id: TicketId(rand::random()),
            hash: hash_of(&secret),
            role: invite.role,
            trust: invite.trust,
            rights: invite.rights,
            name: invite.name,
            pre_approved: invite.pre_approved,
            uses: invite.uses.max(1),
            used: 0,
            wrong: 0,
            made: now,
            by: who.clone(),
            until: Stamp(now.0 + i64::try_from(invite.ttl.as_millis()).unwrap_or(i64::MAX / 4)),
            revoked: None,
        };
        let addresses = if invite.addresses.is_empty() {
            self.addresses()
        } else {
            invite.addresses
        };
        let line = TicketLine {
            addresses,
            pin: self.key(),
            host: self.0.name.clone(),
            ticket: ticket.id,
            secret,
            role: ticket.role,
            until: ticket.until,
        };
        // Tickets that were over for a day are of no use in lists any more.
        let day = 86_400_000;
        old.retain(|ticket| ticket.over(now).is_some() && ticket.until.0 + day < now.0);
        let mut set = WriteSet::new();
        set.put(&ticket);
        for over in old {
            set.delete::<Ticket>(&over.id.0);
        }
        self.0.store.commit_async(set).await?;
        let text = format!(
            "ticket {} for {}{}: {} use(s), until {}{}",
            ticket.id,
            ticket.role.as_str(),
            ticket
                .name
                .as_ref()
                .map_or_else(String::new, |name| format!(" {name}")),
            ticket.uses,
            ticket.until,
            if ticket.pre_approved {
                ", approved in advance"
            } else {
                ""
            },
        );
        self.note(who, PeerChange::Invited, None, &ticket.id.to_string(), text)
            .await;
        Ok((line, ticket))
    }

    /// All tickets that are kept, the newest first.
    pub(super) fn tickets(&self) -> Result<Vec<Ticket>> {
        let mut all: Vec<Ticket> = self.0.store.scan::<Ticket>().collect::<Result<_>>()?;
        all.sort_by_key(|ticket| std::cmp::Reverse(ticket.made));
        Ok(all)
    }

    /// Takes a ticket back.
    pub(super) async fn revoke_ticket(&self, who: Who, id: &str) -> Result<Ticket> {
        let _changing = self.0.changing.lock().await;
        let found = self
            .tickets()?
            .into_iter()
            .find(|ticket| ticket.id.to_string() == id);
        let found = found.ok_or_else(|| {
            Fault::new(Kind::NotFound, format!("there is no ticket {id:?}"))
                .next("`massif invite --list` shows all")
        })?;
        let ticket = Ticket {
            revoked: Some(who.clone()),
            ..found
        };
        self.commit(&[], Some(&ticket)).await?;
        let text = format!("ticket {id} was taken back");
        self.note(who, PeerChange::TicketRevoked, None, id, text)
            .await;
        Ok(ticket)
    }

    /// Joins the farm of the host that printed this line.
    pub(super) async fn join_farm(&self, who: Who, line: &TicketLine) -> Result<JoinedFarm> {
        let fits = matches!(line.role, Role::Avalanche | Role::Vessel);
        if !fits || !self.0.roles.contains(&line.role) {
            return Err(Fault::new(Kind::Usage, format!("this invitation is for the role {}", line.role.as_str()))
                .next("an operator's invitation is taken with `massif join` in a directory without a running host"));
        }
        if self.0.roles.contains(&Role::Summit) {
            return Err(Fault::new(
                Kind::Conflict,
                "this host has a summit of its own: it builds for that one",
            )
            .next("give the new builder a directory of its own with --dir"));
        }
        if let Some(other) = *self.0.farm.borrow()
            && other != line.pin
        {
            return Err(other_farm(&self.name_of(&other)));
        }
        if let Some(known) = self.peer(&line.pin)
            && known.is_approved()
        {
            // A cloud image that starts again with the same ticket.
            return Ok(JoinedFarm {
                host: known.name.clone(),
                host_id: known.id,
                name: self.0.name.clone(),
                role: line.role,
                trust: known.trust,
                approved: true,
                already: true,
                words: known.words.clone(),
            });
        }
        let endpoint = self
            .0
            .endpoint
            .get()
            .ok_or_else(|| Fault::bug("links without an endpoint"))?;
        let joined = endpoint.join_farm(line, now().wall).await?;
        let words = words_of(endpoint.id(), line.pin).await?;
        let _changing = self.0.changing.lock().await;
        let peer = Peer {
            id: line.pin,
            name: joined.hello.name.clone(),
            role: Role::Summit,
            trust: joined.trust,
            rights: Rights::View,
            addresses: line.addresses.clone(),
            state: PeerState::Approved {
                by: who.clone(),
                at: now().wall,
            },
            since: now().wall,
            how: format!("ticket {}", line.ticket),
            words: words.clone(),
        };
        self.commit(std::slice::from_ref(&peer), None).await?;
        self.belongs(&peer);
        Ok(JoinedFarm {
            host: joined.hello.name,
            host_id: line.pin,
            name: joined.name,
            role: joined.role,
            trust: joined.trust,
            approved: joined.approved,
            already: false,
            words,
        })
    }
}

/// Somebody shows a ticket.
pub(super) async fn joins(links: &Links, asked: Asked) -> JoinAck {
    let clock = now().wall;
    let (peer, ticket) = match links.let_in(&asked, clock).await {
        Ok(newcomer) => newcomer,
        Err(why) => return JoinAck::Refused { why, clock },
    };
    links.note_joined(&peer, ticket, asked.from).await;
    JoinAck::Joined {
        hello: crate::net::wire::Hello {
            name: links.0.name.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            clock,
        },
        approved: peer.is_approved(),
        name: peer.name,
        role: peer.role,
        trust: peer.trust,
    }
}

impl Links {
    /// Weighs who shows a ticket; it and the ticket are on disk as they are returned.
    async fn let_in(
        &self,
        asked: &Asked,
        clock: Stamp,
    ) -> std::result::Result<(Peer, Ticket), NoJoin> {
        let id = asked.peer;
        // Slow, so before the lock.
        let words = words_of(asked.ours, id).await.map_err(|_| NoJoin::Later)?;
        let _changing = self.0.changing.lock().await;
        let known = self.peer(&id);
        let known = known.as_deref().map(|peer| &peer.state);
        if let Some(PeerState::Revoked { by, at }) = known {
            self.note_not_let_in(asked, "its key was revoked");
            let by = by.to_string();
            return Err(NoJoin::Revoked { by, at: *at });
        }
        let ticket = self.shown(asked, clock).await?;
        if known.is_none() && locked(&self.0.peers).len() >= limit::PEERS_MAX {
            return Err(NoJoin::Later);
        }
        if ticket.role == Role::Vessel && self.check_only_vessel(Some(id)).is_err() {
            self.note_not_let_in(asked, "another host publishes for this farm");
            return Err(NoJoin::Closed);
        }
        let name = ticket.name.as_ref().unwrap_or(&asked.join.hello.name);
        let state = match known {
            Some(state @ PeerState::Approved { .. }) => state.clone(),
            _ if ticket.pre_approved => PeerState::Approved {
                by: ticket.by.clone(),
                at: clock,
            },
            _ => PeerState::Waiting,
        };
        let peer = Peer {
            id,
            name: self.free_name(name, id),
            role: ticket.role,
            trust: ticket.trust,
            rights: ticket.rights,
            addresses: Vec::new(),
            state,
            since: clock,
            how: format!("ticket {}, from {}", ticket.id, asked.from),
            words,
        };
        let recorded = self.commit(std::slice::from_ref(&peer), Some(&ticket));
        if let Err(fault) = recorded.await {
            tracing::error!(%fault, "cannot record who joined");
            return Err(NoJoin::Later);
        }
        Ok((peer, ticket))
    }

    /// The ticket that somebody shows, as it is after this use, which is not on disk yet. A wrong try is.
    async fn shown(&self, asked: &Asked, clock: Stamp) -> std::result::Result<Ticket, NoJoin> {
        let ticket = match self.0.store.get::<Ticket>(&asked.join.ticket.0) {
            Ok(Some(ticket)) => ticket,
            Ok(None) => {
                self.note_not_let_in(asked, "there is no such ticket");
                return Err(NoJoin::Ticket(NoEntry::Wrong));
            }
            Err(fault) => {
                tracing::error!(%fault, "cannot look a ticket up");
                return Err(NoJoin::Later);
            }
        };
        let hash = hash_of(&covered(asked.join.covered, asked.cover));
        let (next, answer) = ticket.tried(&hash, clock);
        let Err(why) = answer else {
            return Ok(next);
        };
        if next != ticket && self.commit(&[], Some(&next)).await.is_err() {
            return Err(NoJoin::Later);
        }
        let said = match why {
            NoEntry::Wrong => "the secret is wrong",
            NoEntry::Expired => "it ran out",
            NoEntry::Used => "it was used already",
            NoEntry::Burnt => "it is burnt",
            NoEntry::Revoked => "it was taken back",
        };
        self.note_not_let_in(asked, said);
        if next.over(clock) == Some(NoEntry::Burnt) && ticket.over(clock).is_none() {
            let name = ticket.id.to_string();
            let text = format!("ticket {name} is burnt: too many wrong tries");
            self.note_refusal(PeerChange::TicketBurnt, None, &name, text);
        }
        Err(NoJoin::Ticket(why))
    }

    fn note_not_let_in(&self, asked: &Asked, why: &str) {
        let name = asked.join.hello.name.as_str();
        let text = format!(
            "{name} ({}) at {} was not let in with ticket {}: {why}",
            asked.peer.short(),
            asked.from,
            asked.join.ticket
        );
        self.note_refusal(PeerChange::Refused, Some(asked.peer), name, text);
    }

    async fn note_joined(&self, peer: &Peer, ticket: Ticket, from: SocketAddr) {
        let name = peer.name.as_str();
        let text = format!(
            "{name} ({}) joined as {} with ticket {} from {from}; words: {}",
            peer.id.short(),
            peer.role.as_str(),
            ticket.id,
            peer.words
        );
        let who = Who::Key(peer.id);
        self.note(who, PeerChange::Joined, Some(peer.id), name, text)
            .await;
        if peer.is_approved() {
            let text = format!("{name} was approved in advance by its ticket");
            self.note(ticket.by, PeerChange::Approved, Some(peer.id), name, text)
                .await;
            self.seen(peer).await;
        }
    }
}
