//! Carries what actors say to the right actor of the right host. On the own host it is one cast; to other hosts it goes
//! over the link of that peer. Nothing is kept here: who was away is told again by whoever has the rows (`model::say`).

use std::path::PathBuf;

use ractor::ActorRef;

use super::links::{LinkSource, Links};
use super::{avalanche, summit, vessel};
use crate::id::{HostId, HostName};
use crate::model::{PeerTrust, Role, Say};

/// Names under which the actors of a host are registered. Neighbours find each other by name, so that a restarted actor
/// is found too.
pub mod names {
    /// The actor that decides.
    pub const SUMMIT: &str = "summit";
    /// The actor that builds.
    pub const AVALANCHE: &str = "avalanche";
    /// The actor that publishes.
    pub const VESSEL: &str = "vessel";
}

/// The address book of a host. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Post {
    /// The own host.
    pub own: HostId,
    /// Its state directory, where its builds leave their artefacts.
    pub dir: PathBuf,
    /// To other hosts; `None`: there are none.
    pub links: Option<Links>,
}

/// The running actor of this name, if there is one.
pub fn find<M: ractor::Message>(name: &str) -> Option<ActorRef<M>> {
    ractor::registry::where_is(name).map(ActorRef::from)
}

impl Post {
    /// Says something to an actor of a host. A loss is repaired when that peer is up again, so there is no answer.
    pub fn say(&self, to: HostId, role: Role, say: Say) {
        if to == self.own {
            return self.deliver(self.own, role, say);
        }
        match &self.links {
            Some(links) => links.say(to, role, say),
            None => tracing::warn!(host = %to.short(), "that host is none of ours"),
        }
    }

    /// Hands what a host says to an actor of this one.
    pub fn deliver(&self, from: HostId, role: Role, say: Say) {
        let sent = match role {
            Role::Summit => {
                find(names::SUMMIT).map(|actor| actor.cast(summit::Msg::Said { from, say }).is_ok())
            }
            Role::Avalanche => find(names::AVALANCHE)
                .map(|actor| actor.cast(avalanche::Msg::Said { from, say }).is_ok()),
            Role::Vessel => match (find(names::VESSEL), self.for_vessel(from, say)) {
                (Some(actor), Some(message)) => Some(actor.cast(message).is_ok()),
                _ => None,
            },
            Role::Operator => None,
        };
        if sent != Some(true) {
            tracing::debug!(
                role = role.as_str(),
                "not running; it will be told when it is"
            );
        }
    }

    /// What vessel is told in its own words.
    fn for_vessel(&self, from: HostId, say: Say) -> Option<vessel::Message> {
        match say {
            Say::Expect(expectation) => Some(vessel::Message::Expect(expectation)),
            Say::Stage(expectation) => Some(vessel::Message::Stage(expectation)),
            Say::Forget { attempt } => Some(vessel::Message::Forget(attempt)),
            Say::Open { channel, arch } => {
                // Nobody waits for the answer: it is seen in the channel.
                let (answer, _) = ractor::concurrency::oneshot();
                Some(vessel::Message::Open(channel, arch, answer.into()))
            }
            Say::Examine {
                attempt,
                builder,
                publication,
            } => Some(vessel::Message::Examine {
                attempt,
                builder,
                publication,
            }),
            Say::Offer { attempt, artefacts } => {
                let source = match &self.links {
                    Some(links) if from != self.own => {
                        vessel::Source::Link(LinkSource::new(links.clone(), from, attempt))
                    }
                    _ => vessel::Source::Local(avalanche::builder::out_dir(&self.dir, attempt)),
                };
                Some(vessel::Message::Offer(vessel::Offer {
                    attempt,
                    builder: from,
                    artefacts,
                    from: source,
                }))
            }
            other => {
                tracing::warn!(?other, "not for vessel");
                None
            }
        }
    }

    /// The host that decides for this one.
    pub fn summit(&self) -> HostId {
        let farm = self.links.as_ref().and_then(|links| *links.farm().borrow());
        farm.unwrap_or(self.own)
    }

    /// The host that publishes what is built for this one's farm.
    pub fn vessel(&self) -> HostId {
        let known = self.links.as_ref().and_then(Links::vessel);
        known.unwrap_or(self.own)
    }

    /// Where another host serves what is published, as it says.
    pub fn served(&self) -> Option<String> {
        self.links.as_ref().and_then(Links::served)
    }

    /// Whether what a host builds may be published.
    pub fn trust_of(&self, host: HostId) -> PeerTrust {
        match &self.links {
            _ if host == self.own => PeerTrust::Trusted,
            Some(links) => links.trust_of(&host),
            None => PeerTrust::Test,
        }
    }

    /// What a host is called here, where that may differ from what it calls itself.
    pub fn name_of(&self, host: HostId) -> Option<HostName> {
        self.links.as_ref()?.name_of(&host)
    }

    /// A host said what it may not; written down, and after enough of it its link is closed.
    pub fn misbehaved(&self, host: HostId, what: &str) {
        if let Some(links) = self.links.as_ref().filter(|_| host != self.own) {
            links.misbehaved(host, what);
        }
    }

    /// What a host delivered was not taken; written down with its key, and no more than that.
    pub fn not_taken(&self, host: HostId, what: &str) {
        if let Some(links) = self.links.as_ref().filter(|_| host != self.own) {
            links.not_taken(host, what);
        }
    }

    /// What vessel says, on its way.
    pub fn vessel_tells(&self, summit: HostId, told: vessel::Told) {
        match told {
            vessel::Told::Summit(say) => self.say(summit, Role::Summit, say),
            vessel::Told::Builder(host, say) => self.say(host, Role::Avalanche, say),
        }
    }

    /// Tells every actor of this host that a peer can be spoken to (again): they repeat what it may have missed.
    pub fn peer_up(&self, peer: HostId) {
        // Whoever is not running now looks at its rows when it starts.
        // Vessel answers each repeated expectation and offer, so it needs no word of its own.
        if let Some(actor) = find(names::AVALANCHE) {
            actor.cast(avalanche::Msg::PeerUp(peer)).ok();
        }
        if let Some(actor) = find(names::SUMMIT) {
            actor.cast(summit::Msg::PeerUp(peer)).ok();
        }
    }
}
