//! The admin interface of another host: the same bytes over a stream of a QUIC link, under the key of an operator. The key and the
//! hosts that it is known to lie in the operator's own directory; no process of ours has to run there.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::client::Client;
use crate::fault::{Fault, Kind, Result, nearest};
use crate::id::{HostId, HostName, Stamp};
use crate::limit;
use crate::model::Role;
use crate::net::card::TicketLine;
use crate::net::identity::Identity;
use crate::net::quic::{Endpoint, Link, Pins, resolve};
use crate::net::rotation::{ROTATIONS_MAX, Rotation};
use crate::net::transfer;
use crate::net::wire::{self, Hello, Unwelcome};
use crate::net::words::pair_words;

/// Name of the file of known hosts in an operator's directory.
pub const HOSTS_FILE: &str = "hosts.json";

/// A host that an operator may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownHost {
    /// What it is called here.
    pub name: HostName,
    /// Its key.
    pub id: HostId,
    /// Where it is reached, `HOST:PORT` each.
    pub addresses: Vec<String>,
    /// The five words of the pair.
    pub words: String,
    /// Keys that took the place of the first, each signed by the one before; the newest first.
    #[serde(default)]
    pub keys: Vec<HostId>,
    /// The newest key of ours that it has on disk; none: the first.
    #[serde(default)]
    pub told: Option<HostId>,
}

impl KnownHost {
    fn pins(&self, as_before: bool) -> Pins {
        let keys = self.keys.iter().copied().chain([self.id]).collect();
        Pins { keys, as_before }
    }

    /// Takes the keys that follow from the newest one known.
    fn learn(&mut self, rotations: &[Rotation]) {
        for rotation in rotations.iter().take(ROTATIONS_MAX) {
            let newest = self.keys.first().copied().unwrap_or(self.id);
            if rotation.old_id() == newest && rotation.check().is_ok() {
                self.keys.insert(0, rotation.new_id());
            }
        }
        // The one before is still shown by a host that was restored from a backup.
        self.keys.truncate(ROTATIONS_MAX);
    }
}

/// What came of joining as an operator.
#[derive(Debug)]
pub struct OperatorJoined {
    /// The host.
    pub host: KnownHost,
    /// What this operator is called there.
    pub name: HostName,
    /// Nobody has to approve any more.
    pub approved: bool,
}

fn clock() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Stamp(i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(i64::MAX))
}

/// What this person calls the place where the key lies: it is only the proposal, the other host decides.
fn own_name() -> Result<HostName> {
    let user = std::env::var("USER").unwrap_or_default();
    let plain: String = user
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .take(40)
        .collect();
    let name = if plain.is_empty() { "operator" } else { &plain };
    name.parse()
        .or_else(|_| "operator".parse())
        .map_err(|error| Fault::bug("an operator has no name").because(&error))
}

/// The known hosts of a directory.
pub fn known(dir: &Path) -> Result<Vec<KnownHost>> {
    let path = dir.join(HOSTS_FILE);
    let failed = |error: &dyn std::error::Error| {
        Fault::new(Kind::Operator, format!("cannot read {}", path.display())).because(error)
    };
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| failed(&error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed(&error)),
    }
}

fn remember(dir: &Path, host: &KnownHost) -> Result<()> {
    let path = dir.join(HOSTS_FILE);
    let failed = |error: &dyn std::error::Error| {
        Fault::new(Kind::Operator, format!("cannot write {}", path.display()))
            .because(error)
            .next("check that you may write there, or give another --dir")
    };
    let mut all = known(dir)?;
    all.retain(|known| known.id != host.id && known.name != host.name);
    all.push(host.clone());
    let text = serde_json::to_vec_pretty(&all).map_err(|error| failed(&error))?;
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, text)
        .and_then(|()| std::fs::rename(&temporary, &path))
        .map_err(|error| failed(&error))
}

fn endpoint(dir: &Path) -> Result<Endpoint> {
    let identity = Identity::open(&dir.join("keys"))?;
    let name = own_name()?;
    let hello = move || Hello {
        name: name.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        clock: clock(),
    };
    let any = SocketAddr::from(([0, 0, 0, 0], 0));
    // It only dials.
    Endpoint::bind(identity, any, hello, |_| Err(Unwelcome::UnknownKey))
}

fn nowhere(host: &HostName) -> Fault {
    Fault::new(
        Kind::Unreachable,
        format!("no address of {host} can be found"),
    )
    .next("join it again with a new invitation")
}

/// Joins as an operator: makes a key in this directory if there is none, and remembers the host.
pub async fn join(dir: &Path, line: &TicketLine) -> Result<OperatorJoined> {
    if line.role != Role::Operator {
        return Err(Fault::bug("a builder joins as a host"));
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(dir)
        .map_err(|error| {
            Fault::new(Kind::Operator, format!("cannot make {}", dir.display()))
                .because(&error)
                .next("choose a directory of your own with --dir")
        })?;
    let endpoint = endpoint(dir)?;
    let joined = endpoint.join_farm(line, clock()).await?;
    let host = KnownHost {
        name: joined.hello.name,
        id: line.pin,
        addresses: line.addresses.clone(),
        words: pair_words(&endpoint.id(), &line.pin),
        keys: Vec::new(),
        // It never knew another.
        told: Some(endpoint.id()),
    };
    remember(dir, &host)?;
    endpoint.close().await;
    Ok(OperatorJoined {
        host,
        name: joined.name,
        approved: joined.approved,
    })
}

/// Trusts the host of a card: from then on it can be asked by its name, once it trusts this directory's card.
pub fn trust(dir: &Path, card: &crate::net::card::Card) -> Result<KnownHost> {
    let own = Identity::open(&dir.join("keys"))?.key_id();
    let host = KnownHost {
        name: card.name.clone(),
        id: card.id,
        addresses: card.addresses.clone(),
        words: pair_words(&own, &card.id),
        keys: Vec::new(),
        told: Some(own),
    };
    remember(dir, &host)?;
    Ok(host)
}

/// A client of the host of this name.
pub async fn connect(dir: &Path, name: &str) -> Result<Client> {
    let all = known(dir)?;
    let Some(host) = all.iter().find(|known| known.name.as_str() == name) else {
        let fault = Fault::new(
            Kind::NotFound,
            format!("{} knows no host {name:?}", dir.display()),
        );
        return Err(
            match nearest(name, all.iter().map(|known| known.name.as_str())) {
                Some(near) => fault.next(format!("did you mean {near}?")),
                None => {
                    fault.next("`massif invite --role operator` there, `massif join LINE` here")
                }
            },
        );
    };
    let (endpoint, link) = link(dir, host).await?;
    let gone = |error: &dyn std::error::Error| {
        Fault::new(Kind::Unreachable, format!("{name} broke the link off")).because(error)
    };
    let opened = link.connection.open_bi().await;
    let (mut send, receive) = opened.map_err(|error| gone(&error))?;
    transfer::say(&mut send, wire::Say::Admin).await?;
    let stream = Afar {
        receive,
        send,
        _link: link,
        _endpoint: endpoint,
    };
    Ok(Client::over(stream, name))
}

/// A link to a known host; each side has told the other of its new keys when it is returned, if that was possible.
async fn link(dir: &Path, host: &KnownHost) -> Result<(Endpoint, Link)> {
    let endpoint = endpoint(dir)?;
    // A host that has not heard of our new key is shown the one before, as long as that is good.
    let as_before = host.told != Some(endpoint.id()) && endpoint.overlaps(clock());
    let mut last = nowhere(&host.name);
    for text in &host.addresses {
        for address in resolve(text).await {
            let mut dialled = endpoint
                .connect_to(address, host.id, &host.pins(as_before))
                .await;
            if as_before && matches!(&dialled, Err(fault) if fault.kind == Kind::NotPermitted) {
                // It has, and its answer was lost.
                let pins = host.pins(false);
                dialled = endpoint.connect_to(address, host.id, &pins).await;
            }
            match dialled {
                Ok(link) => {
                    exchange_keys(dir, host, &endpoint, &link).await;
                    return Ok((endpoint, link));
                }
                Err(fault) => last = fault,
            }
        }
    }
    Err(last)
}

/// Replaces the key of an operator's directory and tells every host that knows it; which of them have it on disk now. The others
/// hear of it when they are asked next, as long as the old key is good.
pub async fn rotate(dir: &Path, overlap_s: u64) -> Result<Vec<(HostName, Result<()>)>> {
    Identity::open(&dir.join("keys"))?.rotate(clock(), overlap_s)?;
    let key = Identity::open(&dir.join("keys"))?.key_id();
    let mut told = Vec::new();
    for host in known(dir)? {
        let heard = match link(dir, &host).await {
            Ok((endpoint, _link)) => {
                endpoint.close().await;
                let after = known(dir)?.into_iter().find(|known| known.id == host.id);
                match after.is_some_and(|after| after.told == Some(key)) {
                    true => Ok(()),
                    false => Err(Fault::new(Kind::TryAgain, "it did not say that it kept it")),
                }
            }
            Err(fault) => Err(fault),
        };
        told.push((host.name, heard));
    }
    Ok(told)
}

/// Tells a host our new key, if it has not heard of it, and asks for its own. What fails now is done the next time.
async fn exchange_keys(dir: &Path, host: &KnownHost, endpoint: &Endpoint, link: &Link) {
    let mut next = host.clone();
    let rotations = endpoint.rotations();
    if host.told != Some(endpoint.id()) && !rotations.is_empty() {
        let told = ask(link, wire::Say::Keys { rotations }).await;
        if let Some(wire::Say::KeysKept { key }) = told
            && key == endpoint.id()
        {
            next.told = Some(key);
        }
    }
    if let Some(wire::Say::Keys { rotations }) = ask(link, wire::Say::AskKeys).await {
        next.learn(&rotations);
    }
    if next != *host
        && let Err(fault) = remember(dir, &next)
    {
        tracing::warn!(%fault, "cannot remember the new key of a host");
    }
}

/// One question on a stream of its own.
async fn ask(link: &Link, say: wire::Say) -> Option<wire::Say> {
    let asked = async {
        let (mut send, mut receive) = link.connection.open_bi().await.ok()?;
        transfer::say(&mut send, say).await.ok()?;
        send.finish().ok()?;
        transfer::hear(&mut receive).await.ok()
    };
    let answered = tokio::time::timeout(Duration::from_secs(limit::DIAL_S), asked).await;
    answered.ok().flatten()
}

/// A stream of a link that is kept for it alone.
struct Afar {
    receive: quinn::RecvStream,
    send: quinn::SendStream,
    _link: Link,
    _endpoint: Endpoint,
}

impl AsyncRead for Afar {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        AsyncRead::poll_read(Pin::new(&mut self.receive), context, to)
    }
}

impl AsyncWrite for Afar {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.send), context, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.send), context)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(&mut self.send), context)
    }
}
