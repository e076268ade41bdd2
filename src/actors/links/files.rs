//! Streams beside the control stream: files that the other side may have, logs as they grow, and operators' questions.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::watch;

use super::{Links, Live, locked};
use crate::actors::avalanche::builder;
use crate::actors::vessel::rows::{ArtefactRow, EntryRow};
use crate::admin::{Caller, Right};
use crate::fault::{Fault, Kind, Result};
use crate::id::{AttemptId, Digest, HostId};
use crate::limit;
use crate::model::peer::Peer;
use crate::model::{Artefact, BlobRef, Outcome, Rights, Role};
use crate::net::transfer::{self, BlockingStream, CHUNK_BYTES};
use crate::net::wire::{self, Fetch};
use crate::store::Blobs;
use crate::store::taken::{Taken, TakenStage};

/// How often a growing log is looked at.
const LOG_LOOK: Duration = Duration::from_millis(100);

/// Where vessel fetches what a builder of another host offers. Waits for a link that broke, and goes on at the same byte.
#[derive(Debug, Clone)]
pub struct LinkSource {
    links: Links,
    runtime: tokio::runtime::Handle,
    builder: HostId,
    attempt: AttemptId,
}

impl LinkSource {
    /// The artefacts of this attempt, on that builder. Called on the runtime.
    pub fn new(links: Links, builder: HostId, attempt: AttemptId) -> LinkSource {
        LinkSource {
            links,
            runtime: tokio::runtime::Handle::current(),
            builder,
            attempt,
        }
    }

    /// The bytes of a file from this offset on. Blocks.
    pub fn open(&self, artefact: &Artefact, offset: u64) -> io::Result<Box<dyn io::Read>> {
        let wish = Fetch {
            attempt: Some(self.attempt),
            sha256: artefact.blob.sha256,
            from: offset,
        };
        let asked = self.links.fetch_from(self.builder, wish);
        let receive = self.runtime.block_on(asked).map_err(|fault| {
            let kind = match fault.kind {
                Kind::NotFound => io::ErrorKind::NotFound,
                // Its link stands, and it says nothing.
                Kind::Unreachable => io::ErrorKind::TimedOut,
                _ => io::ErrorKind::ConnectionReset,
            };
            io::Error::new(kind, fault.to_string())
        })?;
        Ok(Box::new(BlockingStream {
            runtime: self.runtime.clone(),
            receive,
        }))
    }
}

/// Says the last thing on a stream.
async fn say_last(send: &mut SendStream, say: wire::Say) -> Result<()> {
    transfer::say(send, say).await?;
    // A stream that is gone was not waited on any more.
    send.finish().ok();
    Ok(())
}

impl Links {
    /// Asks a peer for a file, waiting for its link if need be.
    async fn fetch_from(&self, peer: HostId, wish: Fetch) -> Result<RecvStream> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(limit::LINK_WAIT_S);
        loop {
            let failed = match self.live(&peer) {
                Some(live) => match transfer::fetch(&live.connection, wish.clone()).await {
                    Ok((receive, _)) => return Ok(receive),
                    Err(fault) if matches!(fault.kind, Kind::NotFound | Kind::NotPermitted) => {
                        return Err(fault);
                    }
                    Err(fault) => fault,
                },
                None => Fault::new(Kind::Network, "there is no link to that host"),
            };
            if tokio::time::Instant::now() >= deadline || self.judge_host(&peer).is_err() {
                return Err(failed);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Makes a file of an order a blob of this host, fetched from the host that ordered.
    pub async fn fetch_blob(
        &self,
        peer: HostId,
        attempt: Option<AttemptId>,
        blob: BlobRef,
        blobs: &Blobs,
    ) -> Result<()> {
        if blobs.contains(&blob.sha256) {
            return Ok(());
        }
        let mut new = Some(blobs.begin()?);
        let mut so_far = 0;
        for _ in 0..10 {
            let wish = Fetch {
                attempt,
                sha256: blob.sha256,
                from: so_far,
            };
            let mut receive = self.fetch_from(peer, wish).await?;
            let stall = Duration::from_secs(limit::TRANSFER_STALL_S);
            loop {
                let chunk =
                    tokio::time::timeout(stall, receive.read_chunk(CHUNK_BYTES, true)).await;
                let Ok(Ok(chunk)) = chunk else { break };
                let Some(chunk) = chunk else {
                    let Some(whole) = new.take() else { break };
                    let blobs = blobs.clone();
                    let finished =
                        tokio::task::spawn_blocking(move || blobs.finish(whole, Some(&blob)));
                    return finished
                        .await
                        .map_err(|error| Fault::bug("storing a file broke off").because(&error))?
                        .map(drop);
                };
                so_far += chunk.bytes.len() as u64;
                if so_far > blob.size {
                    return Err(Fault::new(
                        Kind::Network,
                        format!("{} is longer than it should be", blob.sha256),
                    ));
                }
                if let Some(new) = &mut new {
                    io::Write::write_all(new, &chunk.bytes).map_err(|error| {
                        Fault::new(Kind::Operator, "cannot keep a file of an order")
                            .because(&error)
                            .next("free space on the disk of the state directory")
                    })?;
                }
            }
        }
        Err(Fault::new(
            Kind::Network,
            format!("the transfer of {} broke off again and again", blob.sha256),
        ))
    }

    /// Serves the streams that the other side opens.
    pub(super) async fn serve_streams(self, peer: HostId, connection: Connection) {
        while let Ok((send, receive)) = connection.accept_bi().await {
            let links = self.clone();
            let connection = connection.clone();
            tokio::spawn(async move {
                let serving = links.serve_stream(peer, send, receive);
                let served = tokio::select! {
                    served = serving => served,
                    _ = connection.closed() => return,
                };
                if let Err(fault) = served {
                    tracing::debug!(peer = %peer.short(), %fault, "a stream ended early");
                }
            });
        }
    }

    async fn serve_stream(
        &self,
        peer: HostId,
        mut send: SendStream,
        mut receive: RecvStream,
    ) -> Result<()> {
        let Some(row) = self.peer(&peer).filter(|row| row.is_approved()) else {
            return Ok(());
        };
        let bytes_max = match row.role {
            Role::Summit | Role::Vessel => limit::FRAME_BYTES_MAX,
            Role::Avalanche | Role::Operator => limit::WISH_BYTES_MAX,
        };
        let wish = match transfer::hear_short(&mut receive, bytes_max).await {
            Ok(wish) => wish,
            Err(fault) => {
                self.misbehaved(peer, &format!("broke the protocol: {fault}"));
                return Err(fault);
            }
        };
        match (wish, row.role) {
            (wire::Say::Follow { known }, Role::Summit) if self.0.roles.contains(&Role::Vessel) => {
                self.show_channels(&mut send, known).await
            }
            (wire::Say::Errand(errand), Role::Summit) if self.0.roles.contains(&Role::Vessel) => {
                self.serve_errand(&mut send, peer, *errand).await
            }
            (wire::Say::Fetch(wish), Role::Summit | Role::Avalanche | Role::Vessel) => {
                self.serve_file(&mut send, &row, &wish).await
            }
            (wire::Say::Tail { attempt, from }, Role::Summit) => {
                self.send_log(&mut send, attempt, from).await
            }
            (wire::Say::Keys { rotations }, Role::Operator) => {
                let answer = match self.hear_keys(peer, rotations).await? {
                    Some(key) => wire::Say::KeysKept { key },
                    None => wire::Say::FetchRefused {
                        fault: Fault::new(
                            Kind::NotPermitted,
                            "that key does not follow from yours",
                        ),
                    },
                };
                say_last(&mut send, answer).await
            }
            (wire::Say::AskKeys, Role::Operator) => {
                let endpoint = self.0.endpoint.get();
                let rotations = endpoint.map(|endpoint| endpoint.rotations());
                let rotations = rotations.unwrap_or_default();
                say_last(&mut send, wire::Say::Keys { rotations }).await
            }
            (wire::Say::Admin, Role::Operator) => {
                self.serve_admin(&row, send, receive).await;
                Ok(())
            }
            (_, role) => {
                let what = format!(
                    "asked for what a peer of role {} may not ask",
                    role.as_str()
                );
                self.misbehaved(peer, &what);
                let fault = Fault::new(Kind::NotPermitted, what);
                say_last(&mut send, wire::Say::FetchRefused { fault }).await
            }
        }
    }

    /// Sends a file that this peer may have, or why it may not.
    async fn serve_file(&self, send: &mut SendStream, peer: &Peer, wish: &Fetch) -> Result<()> {
        let found = match peer.role {
            Role::Summit | Role::Vessel => self.artefact(peer.id, wish),
            Role::Avalanche | Role::Operator => self.input(peer.id, wish),
        };
        match found {
            Ok((file, len)) => {
                let bytes = len.saturating_sub(wish.from);
                transfer::say(send, wire::Say::FetchAck { bytes }).await?;
                transfer::send_file(send, file, wish.from, len, &self.0.brake).await
            }
            Err(fault) => {
                if fault.kind == Kind::NotPermitted {
                    self.misbehaved(peer.id, &fault.what);
                }
                say_last(send, wire::Say::FetchRefused { fault }).await
            }
        }
    }

    /// The admin interface over a stream, with the rights that an operator was given.
    async fn serve_admin(&self, operator: &Peer, send: SendStream, receive: RecvStream) {
        let Some(desk) = self.0.desk.get().cloned() else {
            return;
        };
        let caller = Caller {
            uid: u32::MAX,
            gid: u32::MAX,
            pid: 0,
            right: match operator.rights {
                Rights::View => Right::View,
                Rights::Operate => Right::Operate,
                Rights::Admin => Right::Admin,
            },
            name: operator.name.to_string(),
            key: Some(operator.id),
        };
        let handle = move |caller, call, more| desk.clone().handle(caller, call, more);
        let stream = tokio::io::join(receive, send);
        crate::net::admin::serve_connection(stream, caller, handle).await;
    }

    /// A file that an order to that builder names.
    fn input(&self, peer: HostId, wish: &Fetch) -> Result<(File, u64)> {
        if !self.0.roles.contains(&Role::Summit) {
            // Published packages are for everybody.
            return match self.0.store.get::<EntryRow>(&(wish.sha256, 0))? {
                Some(_) => open(self.blob_path(&wish.sha256)),
                None => Err(Fault::new(
                    Kind::NotPermitted,
                    format!("asked for {}, which was never published", wish.sha256),
                )),
            };
        }
        let ordered = wish.attempt.and_then(|attempt| {
            let orders = locked(&self.0.orders);
            let ordered = orders.get(&attempt)?;
            Some(ordered.builder == peer && ordered.files.contains(&wish.sha256))
        });
        match ordered {
            Some(true) => {}
            Some(false) => {
                return Err(Fault::new(
                    Kind::NotPermitted,
                    format!("asked for {}, which no order to it names", wish.sha256),
                ));
            }
            None => {
                return Err(Fault::new(
                    Kind::TryAgain,
                    "that order was not sent since this host started",
                ));
            }
        }
        open(self.blob_path(&wish.sha256))
    }

    fn blob_path(&self, sha256: &Digest) -> PathBuf {
        self.0.blobs.path(sha256)
    }

    /// A file that an attempt of this builder made, for the host that ordered it.
    fn artefact(&self, peer: HostId, wish: &Fetch) -> Result<(File, u64)> {
        let gone = || Fault::new(Kind::NotFound, "this builder has no such artefact");
        let Some(attempt) = wish.attempt else {
            let offered = locked(&self.0.offered).get(&wish.sha256).cloned();
            return open(offered.ok_or_else(gone)?);
        };
        if self.published(attempt, &wish.sha256)? {
            return open(self.blob_path(&wish.sha256));
        }
        let row = self.0.store.get::<Taken>(&attempt)?.ok_or_else(gone)?;
        let TakenStage::Ended { outcome, .. } = row.stage else {
            return Err(gone());
        };
        if row.summit != peer && self.vessel() != Some(peer) {
            return Err(Fault::new(
                Kind::NotPermitted,
                format!("asked for artefacts of attempt {attempt}, which it did not order"),
            ));
        }
        let bytes = std::fs::read(self.blob_path(&outcome)).map_err(|_| gone())?;
        let outcome: Outcome = postcard::from_bytes(&bytes).map_err(|_| gone())?;
        let Outcome::Built { artefacts, .. } = outcome else {
            return Err(gone());
        };
        let found = artefacts
            .iter()
            .find(|artefact| artefact.blob.sha256 == wish.sha256);
        let found = found.ok_or_else(gone)?;
        open(builder::out_dir(&self.0.dir, attempt).join(&found.name))
    }

    /// Whether this host keeps that file as one of the attempt's.
    fn published(&self, attempt: AttemptId, sha256: &Digest) -> Result<bool> {
        if !self.0.roles.contains(&Role::Vessel) {
            return Ok(false);
        }
        for row in self.0.store.scan_within::<ArtefactRow, _>(&attempt) {
            if row?.artefact.blob.sha256 == *sha256 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Some bytes of a file that an attempt made, from the host that publishes.
    pub async fn piece_from_vessel(
        &self,
        attempt: AttemptId,
        blob: BlobRef,
        from: u64,
        bytes_max: u64,
    ) -> Result<Vec<u8>> {
        let vessel = self
            .vessel()
            .ok_or_else(|| Fault::new(Kind::NotFound, "no host publishes for this farm yet"))?;
        let wish = Fetch {
            attempt: Some(attempt),
            sha256: blob.sha256,
            from,
        };
        let mut receive = self.fetch_from(vessel, wish).await?;
        let wanted = usize::try_from(blob.size.saturating_sub(from).min(bytes_max)).unwrap_or(0);
        let mut bytes = vec![0; wanted];
        let read = tokio::time::timeout(
            Duration::from_secs(limit::TRANSFER_STALL_S),
            receive.read_exact(&mut bytes),
        );
        let broke = |why: String| {
            Fault::new(
                Kind::TryAgain,
                format!("a piece of {} did not come: {why}", blob.sha256),
            )
        };
        read.await
            .map_err(|_| broke("nothing came for too long".into()))?
            .map_err(|error| broke(error.to_string()))?;
        receive.stop(quinn::VarInt::from_u32(2)).ok();
        Ok(bytes)
    }

    /// Sends a log of this host from a byte on, and what is added, until the attempt is over.
    async fn send_log(&self, send: &mut SendStream, attempt: AttemptId, from: u64) -> Result<()> {
        let path = builder::log_path(&self.0.dir, attempt);
        if !path.exists() && self.0.store.get::<Taken>(&attempt)?.is_none() {
            let fault = Fault::new(Kind::NotFound, "this builder has no such log");
            transfer::say(send, wire::Say::FetchRefused { fault }).await?;
            send.finish().ok();
            return Ok(());
        }
        transfer::say(send, wire::Say::TailAck).await?;
        let mut at = from;
        loop {
            // Looked at before reading: what is written after the last look would be missed otherwise.
            let over = self
                .0
                .store
                .get::<Taken>(&attempt)?
                .is_none_or(|row| row.stage != TakenStage::Running);
            loop {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read_at(&path, at));
                let bytes = read
                    .await
                    .map_err(|error| Fault::bug("reading a log broke off").because(&error))??;
                if bytes.is_empty() {
                    break;
                }
                at += bytes.len() as u64;
                transfer::push(send, bytes).await?;
            }
            if over {
                send.finish().ok();
                return Ok(());
            }
            tokio::time::sleep(LOG_LOOK).await;
        }
    }

    /// Copies the log of an attempt from its builder, unless that is going on or done.
    pub(super) fn copy_log(&self, live: &Arc<Live>, peer: HostId, attempt: AttemptId) {
        if self.is_copying(attempt) || self.is_sealed(attempt) {
            return;
        }
        let (done, waiting) = watch::channel(None);
        locked(&self.0.tails).insert(attempt, waiting);
        let (links, mut live) = (self.clone(), Arc::clone(live));
        tokio::spawn(async move {
            let whole = loop {
                let Err(fault) = links.copy(&live, peer, attempt).await else {
                    break true;
                };
                tracing::debug!(%attempt, %fault, "its log is not whole yet");
                // It came back on another link before this one was known to be over, and has spoken of the attempt there.
                match links.live(&peer) {
                    Some(next) if !Arc::ptr_eq(&next, &live) => live = next,
                    _ => break false,
                }
            };
            done.send_replace(Some(whole));
            if whole {
                locked(&links.0.tails).remove(&attempt);
            }
        });
    }

    /// Whether this host sent that order to that builder since it started.
    pub(super) fn was_ordered(&self, peer: HostId, attempt: AttemptId) -> bool {
        let orders = locked(&self.0.orders);
        orders
            .get(&attempt)
            .is_some_and(|ordered| ordered.builder == peer)
    }

    /// Whether the copy of a log is whole: its file is closed for writing then.
    pub(in crate::actors) fn is_sealed(&self, attempt: AttemptId) -> bool {
        std::fs::metadata(self.0.logs.path(attempt))
            .is_ok_and(|meta| meta.permissions().mode() & 0o222 == 0)
    }

    async fn copy(&self, live: &Live, peer: HostId, attempt: AttemptId) -> Result<()> {
        let gone = |error: &dyn std::error::Error| {
            Fault::new(Kind::Network, "the link is gone").because(error)
        };
        let mut at = self.0.logs.len(attempt)?.unwrap_or(0);
        let (mut send, mut receive) = live
            .connection
            .open_bi()
            .await
            .map_err(|error| gone(&error))?;
        transfer::say(&mut send, wire::Say::Tail { attempt, from: at }).await?;
        send.finish().ok();
        match transfer::hear(&mut receive).await? {
            wire::Say::TailAck => {}
            wire::Say::FetchRefused { fault } if fault.kind == Kind::NotFound => return Ok(()),
            wire::Say::FetchRefused { fault } => return Err(fault.bounded()),
            _ => return Err(Fault::new(Kind::Network, "it answered something else")),
        }
        // The builder holds its log to the order's limit; this one only keeps a builder that lies from filling the disk.
        let ordered = locked(&self.0.orders)
            .get(&attempt)
            .map(|ordered| ordered.log_bytes);
        let most = ordered
            .unwrap_or(limit::LOG_BYTES_MAX)
            .min(limit::LOG_BYTES_MAX)
            + 2 * limit::LOG_TAIL_BYTES as u64;
        while let Some(chunk) = receive
            .read_chunk(CHUNK_BYTES, true)
            .await
            .map_err(|error| gone(&error))?
        {
            if at + chunk.bytes.len() as u64 > most {
                self.misbehaved(
                    peer,
                    &format!("sends a log without end for attempt {attempt}"),
                );
                return Err(Fault::new(Kind::Builder, "the log has no end"));
            }
            let logs = self.0.logs.clone();
            let written =
                tokio::task::spawn_blocking(move || logs.append_at(attempt, at, &chunk.bytes));
            at = written
                .await
                .map_err(|error| Fault::bug("keeping a log broke off").because(&error))??;
        }
        let path = self.0.logs.path(attempt);
        if path.exists() {
            let sealed = std::fs::Permissions::from_mode(0o444);
            std::fs::set_permissions(&path, sealed).ok();
        }
        Ok(())
    }
}

fn open(path: PathBuf) -> Result<(File, u64)> {
    let gone = |error: io::Error| {
        Fault::new(Kind::NotFound, "the file is not there any more").because(&error)
    };
    let file = File::open(path).map_err(gone)?;
    let len = file.metadata().map_err(gone)?.len();
    Ok((file, len))
}

fn read_at(path: &std::path::Path, at: u64) -> Result<Bytes> {
    let failed = |error: io::Error| {
        Fault::new(Kind::Operator, format!("cannot read {}", path.display())).because(&error)
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Bytes::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = vec![0; CHUNK_BYTES];
    let got = file.read_at(&mut bytes, at).map_err(failed)?;
    bytes.truncate(got);
    Ok(bytes.into())
}
