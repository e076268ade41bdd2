//! Joining: a newcomer shows the ticket of an invitation to the host that printed it, at each of its addresses in turn.

use std::net::SocketAddr;
use std::time::Duration;

use quinn::VarInt;

use super::card::TicketLine;
use super::quic::{CLOSE_DONE, Endpoint, HELLO_TIMEOUT, ask_first, cover, covered, silent};
use super::quic_explain::{not_joined, unreachable};
use super::quic_settings::Pins;
use super::wire::{Hello, Join, JoinAck, Say};
use crate::fault::{Fault, Kind, Result};
use crate::id::{HostId, HostName, Stamp};
use crate::limit;
use crate::model::Role;
use crate::model::peer::{PeerTrust, TicketId};

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;
/// What clocks of two hosts may be apart, in milliseconds: the inviting host decides by its own.
const CLOCKS_APART_MS: i64 = 2 * 86_400_000;

/// What the host that let a newcomer in says.
#[derive(Debug, Clone)]
pub struct Joined {
    /// Who it is.
    pub hello: Hello,
    /// What the newcomer is called there.
    pub name: HostName,
    /// What the newcomer is for.
    pub role: Role,
    /// How far its packages are trusted.
    pub trust: PeerTrust,
    /// It need not wait for anybody's approval.
    pub approved: bool,
}

/// Why a ticket led nowhere at one address.
enum Unjoined {
    /// The host with the right key said no: to ask it again elsewhere would cost one of the ticket's tries.
    Refused(Fault),
    /// Nobody with the right key took the ticket.
    Unasked(Fault),
}

/// The addresses that a text (`HOST:PORT`) means; none when it cannot be found out in time.
pub async fn resolve(text: &str) -> Vec<SocketAddr> {
    let found = tokio::time::timeout(
        Duration::from_secs(limit::DIAL_S),
        tokio::net::lookup_host(text),
    );
    match found.await {
        Ok(Ok(found)) => found.take(ADDRESSES_MAX).collect(),
        _ => Vec::new(),
    }
}

impl Endpoint {
    /// Joins the farm of the host that printed this line. Nothing is sent to anyone but the holder of its key.
    ///
    /// # Errors
    ///
    /// The invitation ran out, that host refuses it, or it is found at none of its addresses; the error is of the address
    /// where most was heard.
    pub async fn join_farm(&self, line: &TicketLine, now: Stamp) -> Result<Joined> {
        if line.until.0.saturating_add(CLOCKS_APART_MS) < now.0 {
            return Err(Fault::new(
                Kind::NotPermitted,
                format!(
                    "this invitation ran out at {}, and by the clock of this host it is {now}",
                    line.until
                ),
            )
            .next("set this host's clock, or ask for a new one: `massif invite` there"));
        }
        let mut last = Fault::new(
            Kind::Unreachable,
            format!("no address of {} can be found", line.host),
        )
        .next("ask for a line with another address: `massif invite --address HOST:PORT` there");
        for text in &line.addresses {
            for address in resolve(text).await {
                match self.show(address, line.pin, line.ticket, line.secret).await {
                    Ok(joined) => return Ok(joined),
                    Err(Unjoined::Refused(fault)) => return Err(fault),
                    // Somebody who answered says more than an address where nobody is.
                    Err(Unjoined::Unasked(fault))
                        if last.kind == Kind::NotPermitted && fault.kind != last.kind => {}
                    Err(Unjoined::Unasked(fault)) => last = fault,
                }
            }
        }
        Err(last)
    }

    /// The same at one address.
    ///
    /// # Errors
    ///
    /// It refuses, is another host, or does not answer.
    pub async fn join(
        &self,
        address: SocketAddr,
        peer: HostId,
        ticket: TicketId,
        secret: [u8; 16],
    ) -> Result<Joined> {
        let shown = self.show(address, peer, ticket, secret).await;
        shown.map_err(|why| match why {
            Unjoined::Refused(fault) | Unjoined::Unasked(fault) => fault,
        })
    }

    async fn show(
        &self,
        address: SocketAddr,
        peer: HostId,
        ticket: TicketId,
        secret: [u8; 16],
    ) -> std::result::Result<Joined, Unjoined> {
        let asked = async {
            let connection = self.handshake(address, &Pins::of(peer)).await?;
            let hello = self.hello();
            let clock = hello.clock;
            let join = Join {
                hello,
                ticket,
                covered: covered(secret, cover(&connection, self.id(), peer)?),
            };
            let (_, answer) = ask_first(address, &connection, Say::Join(join)).await?;
            connection.close(VarInt::from_u32(CLOSE_DONE), b"joined");
            Ok((answer, clock))
        };
        let answer = tokio::time::timeout(HELLO_TIMEOUT, asked).await;
        let answer = answer.unwrap_or_else(|_| Err(silent(address)));
        match answer.map_err(Unjoined::Unasked)? {
            (
                Say::JoinAck(JoinAck::Joined {
                    hello,
                    name,
                    role,
                    trust,
                    approved,
                }),
                _,
            ) => Ok(Joined {
                hello,
                name,
                role,
                trust,
                approved,
            }),
            (Say::JoinAck(JoinAck::Refused { why, clock: theirs }), ours) => {
                Err(Unjoined::Refused(not_joined(address, &why, theirs, ours)))
            }
            _ => Err(Unjoined::Unasked(unreachable(
                address,
                "answered something else",
            ))),
        }
    }
}
