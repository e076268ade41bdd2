//! Keys that were replaced: our own, and those of peers. A peer is known by the key that it had first; each new one counts
//! because the one before signed it. Sole writer of the tree `peer_keys`.

use std::sync::Arc;

use super::{Links, Live, locked};
use crate::actors::{desk, now};
use crate::fault::{Fault, Result};
use crate::id::{HostId, Stamp};
use crate::model::peer::{KeyOfPeer, Peer, PeerKeys};
use crate::model::{PeerChange, Who};
use crate::net::quic::Pins;
use crate::net::rotation::{ROTATIONS_MAX, Rotation};
use crate::net::wire;
use crate::store::WriteSet;

impl Links {
    /// The host whose key this is, if the key is good at this moment; the key's own id when nobody replaced it.
    pub(super) fn host_of(&self, key: &HostId) -> Option<HostId> {
        self.host_at(key, now().wall)
    }

    fn host_at(&self, key: &HostId, at: Stamp) -> Option<HostId> {
        for (host, keys) in locked(&self.0.keys).iter() {
            if let Some(known) = keys.keys.iter().find(|known| known.key == *key) {
                return known.is_good(at).then_some(*host);
            }
        }
        Some(*key)
    }

    /// Which keys to take from a peer when it is dialled, and which of ours to show.
    pub(super) fn pins(&self, peer: &HostId) -> Pins {
        let overlaps = self
            .0
            .endpoint
            .get()
            .is_some_and(|endpoint| endpoint.overlaps(now().wall));
        let all = locked(&self.0.keys);
        let keys = all.get(peer);
        let good = keys.map(|keys| keys.good(now().wall)).unwrap_or_default();
        Pins {
            keys: if good.is_empty() { vec![*peer] } else { good },
            as_before: overlaps && keys.and_then(|keys| keys.heard) != Some(self.key()),
        }
    }

    /// The id of our present key.
    pub(super) fn key(&self) -> HostId {
        self.0
            .endpoint
            .get()
            .map_or(self.0.own, |endpoint| endpoint.id())
    }

    async fn keep_keys(&self, keys: PeerKeys) -> Result<()> {
        let mut set = WriteSet::new();
        set.put(&keys);
        self.0.store.commit_async(set).await?;
        locked(&self.0.keys).insert(keys.host, keys);
        Ok(())
    }

    fn keys_of(&self, peer: HostId) -> PeerKeys {
        let known = locked(&self.0.keys).get(&peer).cloned();
        known.unwrap_or_else(|| PeerKeys::of(peer))
    }

    /// Tells a peer our new keys, unless it knows them.
    pub(super) fn tell_keys(&self, live: &Live, peer: HostId) {
        let Some(endpoint) = self.0.endpoint.get() else {
            return;
        };
        let rotations = endpoint.rotations();
        if rotations.is_empty() || self.keys_of(peer).heard == Some(self.key()) {
            return;
        }
        // A link that is full is told again when it is new.
        live.to.try_send(wire::Say::Keys { rotations }).ok();
    }

    /// A peer tells its new keys. The newest, if it is on disk here now.
    pub(super) async fn hear_keys(
        &self,
        peer: HostId,
        rotations: Vec<Rotation>,
    ) -> Result<Option<HostId>> {
        let _changing = self.0.changing.lock().await;
        let mut keys = self.keys_of(peer);
        let before = keys.clone();
        if rotations.len() > ROTATIONS_MAX {
            self.misbehaved(peer, "tells more new keys than there can be");
            return Ok(None);
        }
        for rotation in &rotations {
            let (old, new) = (rotation.old_id(), rotation.new_id());
            if keys.keys.iter().any(|known| known.key == new) {
                continue;
            }
            // Earlier ones than we ever knew are of no use to us.
            if keys.newest() != old {
                continue;
            }
            let taken = self.peer(&new).is_some() || self.host_of(&new) != Some(new);
            if taken || rotation.check().is_err() {
                self.misbehaved(peer, "tells a new key that is not signed by its old one");
                return Ok(None);
            }
            let until = crate::net::rotation::later(now().wall, rotation.overlap_s);
            keys.replace(new, until, 2 * ROTATIONS_MAX);
        }
        let newest = keys.newest();
        if keys != before {
            self.keep_keys(keys).await?;
            let name = self.name_of(&peer);
            let name = name.map_or_else(|| peer.short(), |name| name.to_string());
            let text = format!(
                "{name} ({}) has a new key, signed by the one before: {}",
                peer.short(),
                newest.short()
            );
            self.note(Who::Key(peer), PeerChange::Rotated, Some(peer), &name, text)
                .await;
        }
        if rotations.last().map(Rotation::new_id) == Some(newest) {
            return Ok(Some(newest));
        }
        self.misbehaved(
            peer,
            "tells new keys that do not follow from the one known here",
        );
        Ok(None)
    }

    /// A peer has our key on disk.
    pub(super) async fn keys_kept(&self, peer: HostId, key: HostId) -> Result<()> {
        let _changing = self.0.changing.lock().await;
        let keys = self.keys_of(peer);
        if key != self.key() || keys.heard == Some(key) {
            return Ok(());
        }
        let heard = Some(key);
        self.keep_keys(PeerKeys { heard, ..keys }).await
    }

    /// A peer does not know our new key after all: its store was restored, most likely. It is shown the old one again.
    pub(super) async fn keys_forgotten(&self, peer: &Peer) -> Result<()> {
        let keys = self.keys_of(peer.id);
        match keys.heard {
            None => Ok(()),
            Some(_) => {
                let heard = None;
                self.keep_keys(PeerKeys { heard, ..keys }).await
            }
        }
    }

    /// Replaces this host's key, and tells every peer that is linked.
    pub(super) async fn rotate(&self, who: Who, overlap_s: u64) -> Result<()> {
        let _changing = self.0.changing.lock().await;
        let endpoint = self
            .0
            .endpoint
            .get()
            .cloned()
            .ok_or_else(|| Fault::bug("links without an endpoint"))?;
        let before = endpoint.id();
        let rotating = Arc::clone(&endpoint);
        desk::blocking(move || rotating.rotate(now().wall, overlap_s)).await?;
        let live: Vec<_> = {
            let all = locked(&self.0.live);
            all.iter().map(|(id, live)| (*id, live.clone())).collect()
        };
        for (peer, live) in live {
            self.tell_keys(&live, peer);
        }
        let text = format!(
            "this host's key is {} now, signed by {}, which stays good for {overlap_s} s",
            endpoint.id().short(),
            before.short()
        );
        let name = self.0.name.to_string();
        self.note(who, PeerChange::Rotated, Some(self.0.own), &name, text)
            .await;
        Ok(())
    }
}

impl PeerKeys {
    fn good(&self, at: Stamp) -> Vec<HostId> {
        let good = self.keys.iter().rev().filter(|known| known.is_good(at));
        good.map(|known| known.key).collect()
    }
}

impl KeyOfPeer {
    fn is_good(&self, at: Stamp) -> bool {
        self.until.is_none_or(|until| at < until)
    }
}
