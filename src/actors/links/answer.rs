//! Answers what people ask and want of peers, tickets and cards.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::tickets::Invite;
use super::{Links, Past, locked};
use crate::actors::post::names;
use crate::actors::{desk, now, summit};
use crate::admin::host::{
    Call, Cert, Invited, Joined, OnePeer, OneTicket, Peers, Revoked, Tickets,
};
use crate::admin::view::{CertView, JoinView, LinkView, PeerView, TicketView};
use crate::admin::{Caller, Method, Reply};
use crate::fault::{Fault, Kind, Result};
use crate::id::{BadId, Stamp};
use crate::limit;
use crate::model::peer::{Peer, PeerTrust, Rights, Ticket};
use crate::model::{PeerState, Role};
use crate::net::card::{ADDRESS_BYTES_MAX, ADDRESSES_MAX, Card, TicketLine};
use crate::net::identity::validity;
use crate::net::words;

/// Whether this call is about peers.
pub fn is_ours(call: &Call) -> bool {
    matches!(
        call,
        Call::Invite(_)
            | Call::TicketList(_)
            | Call::TicketRevoke(_)
            | Call::Join(_)
            | Call::PeerList(_)
            | Call::PeerShow(_)
            | Call::PeerApprove(_)
            | Call::PeerRevoke(_)
            | Call::PeerRename(_)
            | Call::CertShow(_)
            | Call::CertRotate(_)
            | Call::CertTrust(_)
    )
}

fn word<T: std::str::FromStr<Err = BadId>>(text: &str) -> Result<T> {
    text.parse()
        .map_err(|error| Fault::new(Kind::Usage, format!("{error}")))
}

fn word_or<T: std::str::FromStr<Err = BadId>>(text: Option<&String>, otherwise: T) -> Result<T> {
    text.map_or(Ok(otherwise), |text| word(text))
}

/// Answers a call that `is_ours`.
pub async fn answer(links: &Links, caller: &Caller, call: Call) -> Result<Reply> {
    let who = caller.who();
    match call {
        Call::Invite(wish) => {
            let addresses = wish.addresses.clone().unwrap_or_default();
            check_addresses(&addresses)?;
            let ttl_s = wish.ttl_s.unwrap_or(limit::TICKET_S);
            if ttl_s == 0 || ttl_s > limit::TICKET_S_MAX {
                return Err(Fault::new(
                    Kind::Usage,
                    "an invitation lives between a second and 30 days",
                ));
            }
            let invite = Invite {
                role: word::<Role>(&wish.role)?,
                name: wish.name.clone(),
                ttl: Duration::from_secs(ttl_s),
                trust: word_or(wish.trust.as_ref(), PeerTrust::Trusted)?,
                rights: word_or(wish.rights.as_ref(), Rights::View)?,
                pre_approved: wish.pre_approved == Some(true),
                uses: wish.uses.unwrap_or(1),
                addresses,
            };
            let (line, ticket) = links.invite(who, invite).await?;
            wish.reply(&Invited {
                line: line.to_string(),
                ticket: ticket_view(&ticket, now().wall),
            })
        }
        Call::TicketList(wish) => {
            let at = now().wall;
            let tickets = links.tickets()?;
            let tickets = tickets
                .iter()
                .map(|ticket| ticket_view(ticket, at))
                .collect();
            wish.reply(&Tickets { tickets })
        }
        Call::TicketRevoke(wish) => {
            let ticket = links.revoke_ticket(who, &wish.id).await?;
            wish.reply(&OneTicket {
                ticket: ticket_view(&ticket, now().wall),
            })
        }
        Call::Join(wish) => {
            let line: TicketLine = wish.line.parse()?;
            let joined = links.join_farm(who, &line).await?;
            wish.reply(&Joined {
                joined: JoinView {
                    host: joined.host,
                    host_id: joined.host_id,
                    name: joined.name,
                    role: joined.role.as_str().into(),
                    trust: joined.trust.as_str().into(),
                    approved: joined.approved,
                    already: joined.already,
                    words: joined.words,
                },
            })
        }
        Call::PeerList(wish) => {
            let all = links.all_peers();
            let peers = all.iter().map(|peer| links.view(peer)).collect();
            wish.reply(&Peers { peers })
        }
        Call::PeerShow(wish) => {
            let peer = links.view(&*links.find_peer(&wish.name)?);
            wish.reply(&OnePeer { peer })
        }
        Call::PeerApprove(wish) => {
            let trust = wish.trust.as_ref().map(|text| word(text)).transpose()?;
            let known = links.find_peer(&wish.name)?;
            let rises = known.is_approved()
                && known.trust == PeerTrust::Test
                && trust == Some(PeerTrust::Trusted);
            if rises {
                let may = desk::ask(names::SUMMIT, |reply| summit::Msg::MayRise(known.id, reply));
                may.await??;
            }
            let peer = links.approve(who, &wish.name, trust).await?;
            let peer = links.view(&peer);
            wish.reply(&OnePeer { peer })
        }
        Call::PeerRevoke(wish) => {
            let peer = links.revoke(who, &wish.name).await?;
            let made = desk::ask(names::SUMMIT, |reply| {
                summit::Msg::MadeBy(peer.id, wish.since, reply)
            });
            // A host without a summit had nothing built for it.
            let made = made.await.unwrap_or_default();
            let peer = links.view(&peer);
            wish.reply(&Revoked { peer, made })
        }
        Call::PeerRename(wish) => {
            let peer = links.rename(who, &wish.name, wish.to.clone()).await?;
            let peer = links.view(&peer);
            wish.reply(&OnePeer { peer })
        }
        Call::CertShow(wish) => wish.reply(&Cert {
            cert: cert_view(&links.card()),
        }),
        Call::CertRotate(wish) => {
            let overlap_s = wish.overlap_s.unwrap_or(limit::KEY_OVERLAP_S);
            if overlap_s == 0 || overlap_s > limit::KEY_OVERLAP_S_MAX {
                return Err(Fault::new(
                    Kind::Usage,
                    "the old key stays good for a second at least and a year at most",
                ));
            }
            links.rotate(who, overlap_s).await?;
            wish.reply(&Cert {
                cert: cert_view(&links.card()),
            })
        }
        Call::CertTrust(wish) => {
            let card: Card = wish.card.parse()?;
            let role = word::<Role>(&wish.role)?;
            let trust = word_or(wish.trust.as_ref(), PeerTrust::Trusted)?;
            let rights = word_or(wish.rights.as_ref(), Rights::View)?;
            let peer = links.trust(who, &card, role, trust, rights).await?;
            let peer = links.view(&peer);
            wish.reply(&OnePeer { peer })
        }
        Call::Status(_)
        | Call::Doctor(_)
        | Call::Watch(_)
        | Call::Audit(_)
        | Call::StoreCheck(_)
        | Call::WorkList(_)
        | Call::StoreBackup(_) => Err(Fault::bug("this call is not about peers")),
    }
}

fn check_addresses(addresses: &[String]) -> Result<()> {
    let good = |address: &String| {
        address.len() <= ADDRESS_BYTES_MAX
            && address
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    match addresses.iter().find(|address| !good(address)) {
        Some(bad) => Err(Fault::new(Kind::Usage, format!("{bad:?} is no address"))
            .next("write HOST:PORT, for example farm.example.org:7443")),
        None if addresses.len() > ADDRESSES_MAX => Err(Fault::new(
            Kind::Usage,
            format!("an invitation has {ADDRESSES_MAX} addresses at most"),
        )),
        None => Ok(()),
    }
}

/// A card for people.
pub(super) fn cert_view(card: &Card) -> CertView {
    CertView {
        id: card.id,
        name: card.name.clone(),
        words: words::words(&card.id),
        grouped: words::grouped(&card.id),
        addresses: card.addresses.clone(),
        card: card.to_string(),
    }
}

fn ticket_view(ticket: &Ticket, at: Stamp) -> TicketView {
    TicketView {
        id: ticket.id.to_string(),
        role: ticket.role.as_str().into(),
        trust: ticket.trust.as_str().into(),
        rights: ticket.rights.as_str().into(),
        name: ticket.name.clone(),
        pre_approved: ticket.pre_approved,
        uses: ticket.uses,
        used: ticket.used,
        wrong: ticket.wrong,
        made: ticket.made,
        by: ticket.by.to_string(),
        until: ticket.until,
        state: ticket.state(at).into(),
    }
}

/// The end of the certificate that a peer showed.
fn certificate_until(connection: &quinn::Connection) -> Option<Stamp> {
    let shown = connection.peer_identity()?;
    let chain = shown.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>();
    Some(validity(chain.ok()?.first()?)?.1)
}

impl Links {
    fn view(&self, peer: &Peer) -> PeerView {
        let (by, at) = match &peer.state {
            PeerState::Waiting => (None, None),
            PeerState::Approved { by, at } | PeerState::Revoked { by, at } => {
                (Some(by.to_string()), Some(*at))
            }
        };
        PeerView {
            id: peer.id,
            name: peer.name.clone(),
            role: peer.role.as_str().into(),
            trust: peer.trust.as_str().into(),
            rights: (peer.role == Role::Operator).then(|| peer.rights.as_str().into()),
            state: peer.state.as_str().into(),
            by,
            at,
            since: peer.since,
            how: peer.how.clone(),
            words: peer.words.clone(),
            grouped: words::grouped(&peer.id),
            addresses: peer.addresses.clone(),
            link: self.link_view(peer),
        }
    }

    fn link_view(&self, peer: &Peer) -> LinkView {
        let past = locked(&self.0.past)
            .get(&peer.id)
            .cloned()
            .unwrap_or_default();
        let now_ms = now().mono_ms;
        let ago = |then_ms: u64| now_ms.saturating_sub(then_ms) as f64 / 1000.0;
        let Past {
            links,
            last_end,
            last_failure,
            heard_ms,
        } = past;
        let reconnects = links.saturating_sub(1);
        let Some(live) = self.live(&peer.id) else {
            return LinkView {
                up: false,
                address: None,
                since_s: None,
                last_heard_s: heard_ms.map(ago),
                round_trip_ms: None,
                sent_datagrams: None,
                lost_datagrams: None,
                sent_bytes: None,
                received_bytes: None,
                clock_offset_s: None,
                certificate_until: None,
                protocol: None,
                version: None,
                reconnects,
                last_end,
                last_failure,
            };
        };
        let stats = live.connection.stats();
        LinkView {
            up: true,
            address: Some(live.connection.remote_address().to_string()),
            since_s: Some(ago(live.since_ms)),
            last_heard_s: Some(ago(live.heard_ms.load(Ordering::Relaxed))),
            round_trip_ms: Some(stats.path.rtt.as_secs_f64() * 1000.0),
            sent_datagrams: Some(stats.path.sent_packets),
            lost_datagrams: Some(stats.path.lost_packets),
            sent_bytes: Some(stats.udp_tx.bytes),
            received_bytes: Some(stats.udp_rx.bytes),
            clock_offset_s: Some(live.clock_offset_ms as f64 / 1000.0),
            certificate_until: certificate_until(&live.connection),
            protocol: Some("massif/1".into()),
            version: Some(live.hello.version.chars().take(40).collect()),
            reconnects,
            last_end,
            last_failure,
        }
    }
}
