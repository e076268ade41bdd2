//! Joining another host's farm: a new directory becomes a builder with the line of an invitation, or with two cards.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use super::serving::{Signals, runtime, until_stopped};
use super::{Host, prepare_dir};
use crate::actors::links::{Links, trust_offline};
use crate::admin::host::{Call, Join, Joined};
use crate::admin::view::{CertView, JoinView};
use crate::admin::{Caller, Right};
use crate::config::{Config, FILE, HostOptions};
use crate::fault::{Fault, Kind, Result};
use crate::id::{HostId, HostName};
use crate::model::peer::{Peer, PeerTrust, Rights};
use crate::model::{Profile, Role};
use crate::net::card::Card;
use crate::net::identity::Identity;
use crate::net::words;
use crate::store::{Options, Store};

/// What happens to a host that joins.
#[derive(Debug)]
pub enum News<'a> {
    /// The other host knows its key; said before the `ready` line is printed.
    Joined(&'a JoinView),
    /// It is not linked yet, because of this.
    Waiting(&'a str),
    /// It is linked: it belongs to the farm. Nothing is said after that.
    Linked,
}

/// How often a host that waits for approval looks whether it came.
const LOOK: Duration = Duration::from_millis(250);

/// Starts a host in a directory that no process serves, joins, and stays until it is stopped. `tell` hears how it goes.
pub fn join(options: HostOptions, line: String, mut tell: impl FnMut(News<'_>)) -> Result<()> {
    check_place(&options.dir)?;
    runtime()?.block_on(async {
        let signals = Signals::hear()?;
        let host = Host::start(&options).await?;
        match host.join(line).await {
            Ok(view) => {
                let kept = keep(&options, &view.name);
                tell(News::Joined(&view));
                match kept {
                    Ok(()) => {
                        let watching = watch(host.links.clone(), view.host_id, &mut tell);
                        let drain = options.config.builder.drain_on_term;
                        until_stopped(host, signals, drain, watching).await
                    }
                    Err(fault) => {
                        host.stop().await;
                        Err(fault)
                    }
                }
            }
            Err(fault) => {
                host.stop().await;
                Err(fault)
            }
        }
    })
}

/// A directory in which a farm decides does not become a builder's by a slip of the hand. `massif up` writes no configuration
/// there, so its rows are asked.
fn check_place(dir: &Path) -> Result<()> {
    if dir.join(FILE).exists() || !dir.join("store").exists() {
        return Ok(());
    }
    let store = Store::open(dir, &Options::default())?;
    match store.scan::<Profile>().next() {
        None => Ok(()),
        Some(_) => Err(Fault::new(
            Kind::Conflict,
            format!("{} is the directory of a farm of its own", dir.display()),
        )
        .next("give the new builder a directory of its own with --dir")),
    }
}

/// Tells how far the link to the farm is, until it stands.
async fn watch(links: Links, farm: HostId, tell: &mut impl FnMut(News<'_>)) {
    let started = crate::actors::now().wall;
    let mut told = None;
    while let Some((_, why)) = links.away(&farm, started) {
        if told.as_ref() != Some(&why) {
            tell(News::Waiting(&why));
            told = Some(why);
        }
        tokio::time::sleep(LOOK).await;
    }
    tell(News::Linked);
}

impl Host {
    async fn join(&self, line: String) -> Result<JoinView> {
        let caller = Caller {
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
            pid: 0,
            right: Right::Admin,
            name: "owner".into(),
            key: None,
        };
        let call = Call::Join(Join { line });
        let reply = crate::actors::links::answer(&self.links, &caller, call).await?;
        let joined: Joined = serde_json::from_str(reply.as_json())
            .map_err(|error| Fault::bug("an answer of our own cannot be read").because(&error))?;
        Ok(joined.joined)
    }
}

/// Writes what the next `massif serve` on this directory has to know, unless somebody wrote it before.
fn keep(options: &HostOptions, name: &HostName) -> Result<()> {
    write_config(
        &options.dir,
        &Config {
            name: Some(options.config.name.clone().unwrap_or_else(|| name.clone())),
            ..options.config.clone()
        },
    )
}

fn write_config(dir: &Path, config: &Config) -> Result<()> {
    let file = dir.join(FILE);
    let failed = |error: &dyn std::error::Error| {
        Fault::new(Kind::Operator, format!("cannot write {}", file.display())).because(error)
    };
    let text = toml::to_string_pretty(config).map_err(|error| failed(&error))?;
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&file)
        .and_then(|mut new| {
            new.write_all(text.as_bytes())?;
            new.sync_all()
        });
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(failed(&error)),
        _ => Ok(()),
    }
}

/// The card of a directory whose host does not run; its key is made if there is none.
pub fn card_offline(options: &HostOptions) -> Result<CertView> {
    prepare_dir(&options.dir)?;
    let identity = Identity::open(&options.dir.join("keys"))?;
    let listen = options.config.listen;
    // Without a process the port must be known beforehand to be of use to anybody.
    let addresses = match listen.port() {
        0 => Vec::new(),
        _ => crate::actors::links::reachable(listen),
    };
    let card = Card {
        id: identity.key_id(),
        name: super::own_name(options)?,
        addresses,
    };
    Ok(CertView {
        id: card.id,
        name: card.name.clone(),
        words: words::words(&card.id),
        grouped: words::grouped(&card.id),
        addresses: card.addresses.clone(),
        card: card.to_string(),
    })
}

/// Trusts the host of a card in a directory whose host does not run. A directory without a configuration becomes a builder's
/// when the card is a summit's.
pub fn card_trust_offline(
    options: &HostOptions,
    card: &Card,
    role: Role,
    trust: PeerTrust,
    rights: Rights,
) -> Result<Peer> {
    let mut config = options.config.clone();
    if role == Role::Summit {
        check_place(&options.dir)?;
    }
    if !options.dir.join(FILE).exists() && role == Role::Summit {
        config.roles = vec![Role::Avalanche];
    }
    prepare_dir(&options.dir)?;
    let own = Identity::open(&options.dir.join("keys"))?.key_id();
    let peer = trust_offline(&options.dir, own, &config.roles, card, role, trust, rights)?;
    write_config(&options.dir, &config)?;
    Ok(peer)
}
