//! Channels as another host keeps them: vessel shows its versions, and summit plans with its copy of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use quinn::SendStream;
use tokio::sync::watch;

use super::{Links, Live};
use crate::actors::vessel::replica::Replica;
use crate::actors::vessel::{self, rows};
use crate::channel::{ChannelState, Step};
use crate::fault::{Fault, Kind, Result};
use crate::id::{ChannelName, Digest, HostId, VersionId};
use crate::limit;
use crate::model::Say;
use crate::net::transfer;
use crate::net::wire::{self, Shelf};

/// Edits that travel in one message, with what the index says of each package.
const EDITS_PER_MESSAGE: usize = 16;
/// Channels that a host keeps.
const CHANNELS_MAX: usize = 1_000;

impl Links {
    /// Where the copy of another host's channels is shown.
    pub fn replicate(&self, view: watch::Sender<vessel::View>) -> Result<()> {
        let replica = Replica::open(self.0.store.clone())?;
        view.send_replace(replica.view());
        // A second copy would be a bug of the host's; the first one stays.
        drop(self.0.shown.set(view));
        Ok(())
    }

    fn channels(&self) -> Result<watch::Receiver<vessel::View>> {
        let desk = self.0.desk.get();
        desk.map(|desk| desk.0.channels.clone())
            .ok_or_else(|| Fault::bug("links without a desk"))
    }

    /// Shows the channels of this host, and what is added, until the link ends.
    pub(super) async fn show_channels(
        &self,
        send: &mut SendStream,
        known: Vec<(ChannelName, VersionId)>,
    ) -> Result<()> {
        let mut channels = self.channels()?;
        if known.len() > CHANNELS_MAX {
            return Err(Fault::new(Kind::Network, "more channels than there can be"));
        }
        let mut known: BTreeMap<ChannelName, VersionId> = known.into_iter().collect();
        let mut arches = BTreeMap::new();
        let mut seq = 0;
        loop {
            let view = channels.borrow_and_update().clone();
            for (name, state) in &view.channels {
                let from = known.get(name).copied();
                let serves = Some(state.arches.len());
                if from == Some(state.newest()) && arches.get(name).copied() == serves {
                    continue;
                }
                // Of a store that was restored, perhaps: it begins anew.
                let fresh = from.is_none_or(|from| from > state.newest());
                let first = match from {
                    Some(from) if !fresh => from.0.min(state.newest().0.saturating_sub(1)),
                    _ => 0,
                };
                for step in state.steps.iter().filter(|step| step.version.id.0 > first) {
                    let fresh = fresh && step.version.id.0 == 1;
                    self.show_step(send, &mut seq, state, step, fresh).await?;
                }
                known.insert(name.clone(), state.newest());
                arches.insert(name.clone(), state.arches.len());
            }
            if channels.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    async fn show_step(
        &self,
        send: &mut SendStream,
        seq: &mut u64,
        state: &Arc<ChannelState>,
        step: &Arc<Step>,
        fresh: bool,
    ) -> Result<()> {
        let parts = step.edits.chunks(EDITS_PER_MESSAGE).map(<[_]>::to_vec);
        let mut parts: Vec<_> = parts.collect();
        if parts.is_empty() {
            parts.push(Vec::new());
        }
        let count = parts.len();
        for (part, edits) in parts.into_iter().enumerate() {
            let wanted: Vec<Digest> = edits.iter().filter_map(|edit| edit.after).collect();
            let store = self.0.store.clone();
            let read = move || rows::packages(&store, &wanted);
            let packages = crate::actors::desk::blocking(read).await?;
            let shelf = Shelf {
                channel: state.name.clone(),
                arches: state.arches.iter().copied().collect(),
                streams: state.streams.clone(),
                tags: state.tags.clone(),
                version: step.version.clone(),
                fresh: fresh && part == 0,
                edits,
                entries: packages
                    .iter()
                    .map(|package| package.entry.to_vec())
                    .collect(),
                whole: part + 1 == count,
            };
            *seq += 1;
            let envelope = wire::Envelope {
                seq: *seq,
                say: wire::Say::Shelf(Box::new(shelf)),
            };
            wire::write(send, &envelope).await?;
        }
        Ok(())
    }

    /// Copies the channels of the host that publishes, as long as its link stands.
    pub(super) async fn follow(self, live: Arc<Live>, peer: HostId) {
        let Some(shown) = self.0.shown.get().cloned() else {
            return;
        };
        if let Err(fault) = self.follow_into(&live, &shown).await
            && live.connection.close_reason().is_none()
        {
            tracing::error!(%fault, "the channels of that vessel cannot be followed");
            self.misbehaved(peer, &format!("shows channels that cannot be: {fault}"));
            live.connection.close(
                quinn::VarInt::from_u32(1),
                b"its channels cannot be followed",
            );
        }
    }

    async fn follow_into(&self, live: &Live, shown: &watch::Sender<vessel::View>) -> Result<()> {
        let gone = |error: &dyn std::error::Error| {
            Fault::new(Kind::Network, "the link is gone").because(error)
        };
        let store = self.0.store.clone();
        let mut replica = crate::actors::desk::blocking(move || Replica::open(store)).await?;
        let known = replica.known();
        let opened = live.connection.open_bi().await;
        let (mut send, mut receive) = opened.map_err(|error| gone(&error))?;
        transfer::say(&mut send, wire::Say::Follow { known }).await?;
        send.finish().map_err(|error| gone(&error))?;
        while let Some(envelope) = wire::read(&mut receive, limit::FRAME_BYTES_MAX).await? {
            let shelf = match envelope.say {
                wire::Say::Shelf(shelf) => shelf,
                wire::Say::FetchRefused { fault } => return Err(fault.bounded()),
                _ => return Err(Fault::new(Kind::Network, "it shows something else")),
            };
            let took = move || {
                let moved = replica.take(*shelf)?;
                Ok((replica, moved))
            };
            let (next, moved) = crate::actors::desk::blocking(took).await?;
            replica = next;
            if moved {
                shown.send_replace(replica.view());
            }
        }
        Ok(())
    }

    /// Hands a publication on once the copy of the channels has it: summit plans with what it sees.
    pub(super) fn deliver_when_seen(&self, peer: HostId, say: Say) {
        let Say::Published {
            channel, version, ..
        } = &say
        else {
            return;
        };
        let (channel, version) = (channel.clone(), *version);
        let (links, channels) = (self.clone(), self.channels());
        tokio::spawn(async move {
            let Ok(mut channels) = channels else { return };
            let has = |view: &vessel::View| {
                let state = view.channels.get(&channel);
                state.is_some_and(|state| state.newest() >= version)
            };
            let wait = std::time::Duration::from_secs(limit::LINK_WAIT_S);
            match tokio::time::timeout(wait, channels.wait_for(has)).await {
                Ok(Ok(_)) => links.post().deliver(peer, crate::model::Role::Summit, say),
                // It is said again when the link is new.
                Ok(Err(_)) | Err(_) => {
                    tracing::warn!(%channel, %version, "published, and not seen")
                }
            }
        });
    }
}
