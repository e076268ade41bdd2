//! Cards: trust by files, without a connection.

use std::path::Path;

use super::list::{other_farm, revoked_row, words_of};
use super::{Links, REVOKED_FILE};
use crate::actors::now;
use crate::fault::{Fault, Kind, Result};
use crate::id::HostId;
use crate::model::peer::{Peer, PeerTrust, Revocation, Rights};
use crate::model::{PeerState, Role, Who};
use crate::net::card::Card;
use crate::net::words::pair_words;
use crate::store::{AppendLog, Options, Store, WriteSet};
use std::sync::Arc;

impl Links {
    /// This host's own card.
    pub(super) fn card(&self) -> Card {
        Card {
            id: self.key(),
            name: self.0.name.clone(),
            addresses: self.addresses(),
        }
    }

    /// Trusts the host of a card.
    pub(super) async fn trust(
        &self,
        who: Who,
        card: &Card,
        role: Role,
        trust: PeerTrust,
        rights: Rights,
    ) -> Result<Arc<Peer>> {
        let own = self.0.own;
        check_card(card, own, role, &self.0.roles)?;
        check_card(card, self.key(), role, &self.0.roles)?;
        let words = words_of(self.key(), card.id).await?;
        let _changing = self.0.changing.lock().await;
        if role == Role::Vessel {
            self.check_only_vessel(Some(card.id))?;
        }
        let known = self.peer(&card.id);
        let mut peer = peer_of_card(
            card,
            role,
            trust,
            rights,
            who.clone(),
            words,
            known.as_deref(),
        )?;
        peer.name = self.free_name(&peer.name, peer.id);
        if role == Role::Summit
            && let Some(other) = *self.0.farm.borrow()
            && other != card.id
        {
            return Err(other_farm(&self.name_of(&other)));
        }
        self.commit(std::slice::from_ref(&peer), None).await?;
        let text = format!(
            "{} ({}) is trusted as {} by its card; words: {}",
            peer.name,
            peer.id.short(),
            role.as_str(),
            peer.words
        );
        self.approved(who, &peer, text).await;
        Ok(Arc::new(peer))
    }
}

fn check_card(card: &Card, own: HostId, role: Role, roles: &[Role]) -> Result<()> {
    if card.id == own {
        return Err(Fault::new(Kind::Usage, "this is this host's own card")
            .next("give it to the other host, and take the other one's here"));
    }
    let decides = roles.contains(&Role::Summit);
    match role {
        Role::Avalanche | Role::Operator if decides => Ok(()),
        Role::Vessel if decides && !roles.contains(&Role::Vessel) => Ok(()),
        Role::Summit if !decides => {
            if card.addresses.is_empty() {
                return Err(Fault::new(Kind::Usage, "this card has no address to dial")
                    .next("export it while that host runs, or set `listen` in its massif.toml"));
            }
            Ok(())
        }
        Role::Avalanche | Role::Operator => Err(Fault::new(
            Kind::Usage,
            format!(
                "this host decides nothing: a peer of role {} is of no use to it",
                role.as_str()
            ),
        )
        .next("on a builder, trust the deciding host: --role summit")),
        Role::Summit | Role::Vessel => Err(Fault::new(
            Kind::Usage,
            format!("a host that decides by itself takes no {}", role.as_str()),
        )
        .next("use --role avalanche or --role operator")),
    }
}

fn peer_of_card(
    card: &Card,
    role: Role,
    trust: PeerTrust,
    rights: Rights,
    by: Who,
    words: String,
    known: Option<&Peer>,
) -> Result<Peer> {
    if let Some(PeerState::Revoked { by, at }) = known.map(|peer| &peer.state) {
        let what = format!("the key of {} was revoked by {by} at {at}", card.name);
        return Err(Fault::new(Kind::Conflict, what)
            .next("a revoked key never comes back: that host needs a new key (another --dir)"));
    }
    let at = now().wall;
    Ok(Peer {
        id: card.id,
        name: card.name.clone(),
        role,
        trust,
        rights,
        // Builders and operators dial by themselves.
        addresses: if role == Role::Summit {
            card.addresses.clone()
        } else {
            Vec::new()
        },
        state: PeerState::Approved { by, at },
        since: known.map_or(at, |known| known.since),
        how: "card".into(),
        words,
    })
}

/// Trusts the host of a card in a directory whose host does not run.
pub fn trust_offline(
    dir: &Path,
    own: HostId,
    roles: &[Role],
    card: &Card,
    role: Role,
    trust: PeerTrust,
    rights: Rights,
) -> Result<Peer> {
    check_card(card, own, role, roles)?;
    let store = Store::open(dir, &Options::default())?;
    let (_, revoked) = AppendLog::<Revocation>::open(&dir.join(REVOKED_FILE))?;
    let gone = revoked.iter().find(|gone| gone.id == card.id);
    let known = match gone {
        Some(gone) => Some(revoked_row(gone, None)),
        None => store.get::<Peer>(&card.id)?,
    };
    let by = Who::Uid(nix::unistd::getuid().as_raw());
    let words = pair_words(&own, &card.id);
    let peer = peer_of_card(card, role, trust, rights, by, words, known.as_ref())?;
    for other in store.scan::<Peer>() {
        let other = other?;
        if role == Role::Summit
            && other.role == Role::Summit
            && other.id != card.id
            && other.is_approved()
        {
            return Err(other_farm(&Some(other.name)));
        }
    }
    let mut set = WriteSet::new();
    set.put(&peer);
    store.commit(set)?;
    Ok(peer)
}
