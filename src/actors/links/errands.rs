//! Errands over a link: the host that decides sends them, the one that publishes does them. Also what vessel tells beside them:
//! where its packages are served, and what its peers did.

use std::path::PathBuf;

use quinn::SendStream;

use super::{Links, Live, locked};
use crate::actors::{errands, now};
use crate::fault::{Fault, Kind, Result};
use crate::id::{Digest, HostId};
use crate::limit;
use crate::model::{BlobRef, PeerChange, Role, Who};
use crate::net::card::ADDRESS_BYTES_MAX;
use crate::net::errand::{Done, Errand};
use crate::net::{transfer, wire};

/// Files that vessel may fetch as long as this lives.
pub struct Offered {
    links: Links,
    files: Vec<Digest>,
}

impl Drop for Offered {
    fn drop(&mut self) {
        let mut offered = locked(&self.links.0.offered);
        for file in &self.files {
            offered.remove(file);
        }
    }
}

impl Links {
    /// Lets vessel fetch these files.
    pub fn offer(&self, blobs: &[BlobRef], files: &[PathBuf]) -> Offered {
        let mut offered = locked(&self.0.offered);
        for (blob, file) in blobs.iter().zip(files) {
            offered.insert(blob.sha256, file.clone());
        }
        Offered {
            links: self.clone(),
            files: blobs.iter().map(|blob| blob.sha256).collect(),
        }
    }

    /// The link of the host that publishes.
    fn vessel_link(&self) -> Result<(HostId, std::sync::Arc<Live>)> {
        let Some(vessel) = self.vessel() else {
            return Err(
                Fault::new(Kind::TryAgain, "no host publishes for this farm yet").next(
                    "massif invite --role vessel, and `massif join LINE` on the host that shall",
                ),
            );
        };
        if let Some(live) = self.live(&vessel) {
            return Ok((vessel, live));
        }
        let name = self
            .name_of(&vessel)
            .map_or_else(|| vessel.short(), |name| name.to_string());
        let why = self
            .away(&vessel, now().wall)
            .map_or_else(String::new, |(_, why)| why);
        Err(Fault::new(
            Kind::TryAgain,
            format!("{name} keeps the channels, and there is no link to it: {why}"),
        )
        .next(format!(
            "look at that host, and at `massif peer show {name}`"
        )))
    }

    /// Has something done by the host that publishes. There is no deadline: disks take their time, and a link that ends is heard.
    pub async fn errand(&self, errand: Errand) -> Result<Done> {
        let (vessel, live) = self.vessel_link()?;
        let broke = |error: &dyn std::error::Error| {
            let name = self
                .name_of(&vessel)
                .map_or_else(|| vessel.short(), |name| name.to_string());
            Fault::new(Kind::TryAgain, format!("the link to {name}, which keeps the channels, broke"))
                .because(error)
                .next("look at `massif channel versions` whether it was done; a repeat changes nothing twice")
        };
        let (mut send, mut receive) = live
            .connection
            .open_bi()
            .await
            .map_err(|error| broke(&error))?;
        transfer::say(&mut send, wire::Say::Errand(Box::new(errand))).await?;
        send.finish().map_err(|error| broke(&error))?;
        let heard = wire::read(&mut receive, limit::FRAME_BYTES_MAX);
        match heard.await.map_err(|error| broke(&error))? {
            Some(wire::Envelope {
                say: wire::Say::ErrandDone(done),
                ..
            }) => match *done {
                Done::Failed(fault) => Err(fault.bounded()),
                done => Ok(done),
            },
            Some(wire::Envelope {
                say: wire::Say::FetchRefused { fault },
                ..
            }) => Err(fault.bounded()),
            Some(_) | None => Err(Fault::new(Kind::Network, "vessel answered something else")),
        }
    }

    /// Does what the host that decides asked for.
    pub(super) async fn serve_errand(
        &self,
        send: &mut SendStream,
        peer: HostId,
        errand: Errand,
    ) -> Result<()> {
        tracing::info!(?errand, from = %peer.short(), "an errand");
        let done = match errand {
            Errand::Import { channel, files, by } => self.import(peer, channel, files, by).await,
            errand => errands::here(errand).await,
        };
        let done = done.unwrap_or_else(|fault| Done::Failed(fault.bounded()));
        transfer::say(send, wire::Say::ErrandDone(Box::new(done))).await?;
        send.finish().ok();
        Ok(())
    }

    async fn import(
        &self,
        peer: HostId,
        channel: crate::id::ChannelName,
        files: Vec<(String, BlobRef)>,
        by: Who,
    ) -> Result<Done> {
        let mut paths = Vec::with_capacity(files.len());
        for (name, blob) in &files {
            if blob.size > limit::STONE_FILE_BYTES_MAX {
                return Err(
                    Fault::new(Kind::Operator, format!("{name} is no package file"))
                        .next("name .stone files"),
                );
            }
            self.fetch_blob(peer, None, *blob, &self.0.blobs).await?;
            paths.push(self.0.blobs.path(&blob.sha256));
        }
        let done = errands::import_here(channel, paths.clone(), by).await;
        // Whoever asked knows them by other names.
        done.map_err(|mut fault| {
            for ((name, _), path) in files.iter().zip(&paths) {
                fault.what = fault.what.replace(&path.display().to_string(), name);
            }
            fault
        })
    }

    /// Where clients find packages, as the host that publishes says; `None`: it was not here since this host started.
    pub fn served(&self) -> Option<String> {
        let vessel = self.vessel()?;
        let served = locked(&self.0.served);
        served
            .get(&vessel)
            .map(|address| format!("http://{address}"))
    }

    /// Tells the host that decides where packages are served.
    pub(super) fn tell_served(&self, live: &Live) {
        let http = self.0.desk.get().and_then(|desk| desk.0.http);
        let http = http.and_then(|address| super::reachable(address).into_iter().next());
        // A link that is full is told again when it is new.
        drop(live.to.try_send(wire::Say::Serves { http }));
    }

    /// The host that publishes says where.
    pub(super) fn hear_served(&self, peer: HostId, http: Option<String>) {
        if self.peer(&peer).is_none_or(|row| row.role != Role::Vessel) {
            return self.misbehaved(peer, "says where packages are served, and serves none");
        }
        let good = |address: &String| {
            address.len() <= ADDRESS_BYTES_MAX && address.parse::<std::net::SocketAddr>().is_ok()
        };
        match http {
            Some(address) if good(&address) => {
                locked(&self.0.served).insert(peer, address);
            }
            Some(_) => self.misbehaved(peer, "says that packages are served where nothing can be"),
            None => {
                locked(&self.0.served).remove(&peer);
            }
        }
    }

    /// The host that publishes tells what one of its peers did: the audit trail is here.
    pub(super) fn hear_noted(
        &self,
        peer: HostId,
        host: Option<HostId>,
        (name, change, text): (&str, PeerChange, &str),
    ) {
        let is_vessel = self.peer(&peer).is_some_and(|row| row.role == Role::Vessel);
        if !is_vessel || !is_deed(change) {
            return self.misbehaved(peer, "writes into the audit trail what is not its to say");
        }
        let by = self
            .name_of(&peer)
            .map_or_else(|| peer.short(), |name| name.to_string());
        let cut: String = text.chars().take(limit::FAULT_TEXT_BYTES_MAX / 4).collect();
        self.note_refusal(change, host, name, format!("{cut} (on {by})"));
    }

    /// Passes a line for the audit trail on to the host that keeps it.
    pub(super) fn pass_note(
        &self,
        change: PeerChange,
        host: Option<HostId>,
        name: &str,
        text: &str,
    ) {
        let summit = *self.0.farm.borrow();
        if !self.0.roles.contains(&Role::Vessel) || !is_deed(change) {
            return;
        }
        if let Some(live) = summit.and_then(|summit| self.live(&summit)) {
            let note = wire::Say::Noted {
                host,
                name: name.chars().take(limit::NAME_BYTES_MAX).collect(),
                change,
                text: text.chars().take(limit::FAULT_TEXT_BYTES_MAX / 4).collect(),
            };
            // It is in this host's own log in any case.
            drop(live.to.try_send(note));
        }
    }
}

/// What a host that publishes has to tell of its peers.
fn is_deed(change: PeerChange) -> bool {
    matches!(
        change,
        PeerChange::Refused | PeerChange::Misbehaved | PeerChange::NotTaken
    )
}
