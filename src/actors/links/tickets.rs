//! Tickets: made, listed, taken back, and shown by those who want to join.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::list::{other_farm, words_of};
use super::{Links, locked, resolve};
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
        let (host, name, role, trust, approved) = ask_to_join(endpoint, line, now().wall).await?;
        let words = words_of(endpoint.id(), line.pin).await?;
        let _changing = self.0.changing.lock().await;
        let peer = Peer {
            id: line.pin,
            name: host.clone(),
            role: Role::Summit,
            trust,
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
            host,
            host_id: line.pin,
            name,
            role,
            trust,
            approved,
            already: false,
            words,
        })
    }
}

/// Shows the ticket to the host that printed it, at each of its addresses in turn.
pub(super) async fn ask_to_join(
    endpoint: &crate::net::quic::Endpoint,
    line: &TicketLine,
    now: Stamp,
) -> Result<(HostName, HostName, Role, PeerTrust, bool)> {
    if line.until.0.saturating_add(2 * 86_400_000) < now.0 {
        // The inviting host decides by its own clock; two days are what clocks may be apart.
        return Err(Fault::new(
            Kind::NotPermitted,
            format!(
                "this invitation ran out at {}, and by the clock of this host it is {now}",
                line.until
            ),
        )
        .next("set this host's clock, or ask for a new one: `massif invite` there"));
    }
    let mut last = Fault::new(Kind::Usage, "the invitation has no address")
        .next("make it with `massif invite --address HOST:PORT`");
    for text in &line.addresses {
        let Some(addresses) = resolve(text).await else {
            last = Fault::new(
                Kind::Unreachable,
                format!("no address of {text} can be found"),
            );
            continue;
        };
        for address in addresses {
            match endpoint
                .join(address, line.pin, line.ticket, line.secret)
                .await
            {
                Ok(JoinAck::Joined {
                    hello,
                    name,
                    role,
                    trust,
                    approved,
                }) => return Ok((hello.name, name, role, trust, approved)),
                Ok(JoinAck::Refused { .. }) => {}
                // The right host said no: asking it again at another address would cost a try.
                Err(fault)
                    if fault.kind == Kind::NotPermitted && !fault.what.contains("another key") =>
                {
                    return Err(fault);
                }
                Err(fault) => last = fault,
            }
        }
    }
    Err(last)
}

/// Somebody shows a ticket.
pub(super) async fn joins(links: &Links, asked: Asked) -> JoinAck {
    let clock = now().wall;
    let refused = |why| JoinAck::Refused { why, clock };
    let Asked {
        peer: id,
        from,
        join,
        cover,
        ours,
    } = asked;
    let words = match words_of(ours, id).await {
        Ok(words) => words,
        Err(_) => return refused(NoJoin::Later),
    };
    let hash = hash_of(&covered(join.covered, cover));
    let ticket_name = join.ticket.to_string();
    let refuse = |why: &str| {
        let text = format!(
            "{} ({}) at {from} was not let in with ticket {ticket_name}: {why}",
            join.hello.name,
            id.short()
        );
        links.note_refusal(
            PeerChange::Refused,
            Some(id),
            join.hello.name.as_str(),
            text,
        );
    };
    let changing = links.0.changing.lock().await;
    let known = links.peer(&id);
    if let Some(PeerState::Revoked { by, at }) = known.as_deref().map(|peer| &peer.state) {
        refuse("its key was revoked");
        let by = by.to_string();
        return refused(NoJoin::Revoked { by, at: *at });
    }
    let ticket = match links.0.store.get::<Ticket>(&join.ticket.0) {
        Ok(Some(ticket)) => ticket,
        Ok(None) => {
            refuse("there is no such ticket");
            return refused(NoJoin::Ticket(NoEntry::Wrong));
        }
        Err(fault) => {
            tracing::error!(%fault, "cannot look a ticket up");
            return refused(NoJoin::Later);
        }
    };
    let (next, answer) = ticket.tried(&hash, clock);
    if let Err(why) = answer {
        if next != ticket && links.commit(&[], Some(&next)).await.is_err() {
            return refused(NoJoin::Later);
        }
        drop(changing);
        refuse(match why {
            NoEntry::Wrong => "the secret is wrong",
            NoEntry::Expired => "it ran out",
            NoEntry::Used => "it was used already",
            NoEntry::Burnt => "it is burnt",
            NoEntry::Revoked => "it was taken back",
        });
        if next.over(clock) == Some(NoEntry::Burnt) && ticket.over(clock).is_none() {
            let text = format!("ticket {ticket_name} is burnt: too many wrong tries");
            links.note_refusal(PeerChange::TicketBurnt, None, &ticket_name, text);
        }
        return refused(NoJoin::Ticket(why));
    }
    if known.is_none() && locked(&links.0.peers).len() >= limit::PEERS_MAX {
        return refused(NoJoin::Later);
    }
    if next.role == Role::Vessel && links.check_only_vessel(Some(id)).is_err() {
        refuse("another host publishes for this farm");
        return refused(NoJoin::Closed);
    }
    let wanted = next.name.clone().unwrap_or_else(|| join.hello.name.clone());
    let state = match (next.pre_approved, known.as_deref().map(|peer| &peer.state)) {
        (_, Some(state @ PeerState::Approved { .. })) => state.clone(),
        (true, _) => PeerState::Approved {
            by: next.by.clone(),
            at: clock,
        },
        (false, _) => PeerState::Waiting,
    };
    let peer = Peer {
        id,
        name: links.free_name(&wanted, id),
        role: next.role,
        trust: next.trust,
        rights: next.rights,
        addresses: Vec::new(),
        state,
        since: clock,
        how: format!("ticket {ticket_name}, from {from}"),
        words,
    };
    if let Err(fault) = links.commit(std::slice::from_ref(&peer), Some(&next)).await {
        tracing::error!(%fault, "cannot record who joined");
        return refused(NoJoin::Later);
    }
    drop(changing);
    let text = format!(
        "{} ({}) joined as {} with ticket {ticket_name} from {from}; words: {}",
        peer.name,
        id.short(),
        peer.role.as_str(),
        peer.words
    );
    links
        .note(
            Who::Key(id),
            PeerChange::Joined,
            Some(id),
            peer.name.as_str(),
            text,
        )
        .await;
    if peer.is_approved() {
        let text = format!("{} was approved in advance by its ticket", peer.name);
        links
            .note(
                next.by,
                PeerChange::Approved,
                Some(id),
                peer.name.as_str(),
                text,
            )
            .await;
        links.seen(&peer).await;
    }
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
