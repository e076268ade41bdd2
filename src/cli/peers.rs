//! `invite`, `join`, `peer` and `cert`: who belongs to the farm.

use std::path::Path;

use super::Verdict;
use super::args::{self, Global};
use super::ask::Host;
use super::out::{Out, Style, Table, Tone, cell, known, plain};
use super::show::{self, count};
use super::wait::Progress;
use super::{run, text};
use crate::admin::host;
use crate::admin::view::{CertView, JoinView, LinkView, PeerView, TicketView};
use crate::fault::{Fault, Kind, Result};
use crate::host::News;
use crate::id::Stamp;
use crate::model::Role;
use crate::net::admin::{Client, Places, remote, socket_path, state_dir};
use crate::net::card::{Card, TicketLine};

pub(super) async fn invite(host: &Host, invite: &args::Invite, out: &Out) -> Result<Verdict> {
    if invite.list {
        let tickets = host.ask(&host::TicketList {}).await?.tickets;
        show_tickets(&tickets, out)?;
        return Ok(Verdict::Done);
    }
    if let Some(id) = &invite.revoke {
        let ask = host::TicketRevoke { id: id.clone() };
        let ticket = host.ask(&ask).await?.ticket;
        match out.style {
            Style::Json => out.value(&ticket)?,
            Style::Ids => out.line(&ticket.id),
            Style::People => out.line(format!("invitation {} was taken back", ticket.id)),
        }
        return Ok(Verdict::Done);
    }
    let ask = host::Invite {
        role: invite.role.clone().unwrap_or_default(),
        name: invite.name.clone(),
        ttl_s: Some(invite.ttl.as_secs()),
        trust: Some(invite.trust.clone()),
        rights: Some(invite.rights.clone()),
        pre_approved: Some(invite.pre_approved),
        uses: Some(invite.uses),
        addresses: (!invite.addresses.is_empty()).then(|| invite.addresses.clone()),
    };
    let invited = host.ask(&ask).await?;
    match out.style {
        Style::Json => out.value(&invited)?,
        Style::Ids | Style::People => out.line(&invited.line),
    }
    let line: TicketLine = invited.line.parse()?;
    let local = |address: &String| address.starts_with("127.") || address.starts_with("[::1]");
    if out.style == Style::People && line.addresses.iter().all(local) {
        eprintln!(
            "note: this host listens on this machine only; for others start it with --listen 0.0.0.0:7443"
        );
    }
    Ok(Verdict::Done)
}

fn show_tickets(tickets: &[TicketView], out: &Out) -> Result<()> {
    match out.style {
        Style::Json => out.value(&tickets)?,
        Style::Ids => tickets.iter().for_each(|ticket| out.line(&ticket.id)),
        Style::People => {
            let mut table = Table::new()
                .column("invitation")
                .column("state")
                .column("role")
                .column("trust")
                .column("name")
                .column("used")
                .column("until")
                .words("by");
            for ticket in tickets {
                table.row([
                    cell(&ticket.id, Tone::Strong),
                    plain(&ticket.state),
                    plain(&ticket.role),
                    plain(&ticket.trust),
                    known(ticket.name.as_ref()),
                    plain(format!("{}/{}", ticket.used, ticket.uses)),
                    plain(show::moment(ticket.until)),
                    plain(&ticket.by),
                ]);
            }
            out.table(&table);
        }
    }
    Ok(())
}

/// Takes an invitation: configures the host that runs, or becomes one, or remembers a host for `--host`.
pub(super) fn join(join: &args::Join, global: &Global, out: &Out) -> Result<Verdict> {
    let places = Places::of_this_process();
    let line: TicketLine = join.line.parse()?;
    let dir = state_dir(global.dir.as_deref(), &places)?;
    let progress = Progress::new(None);
    progress.begins(&format!("asking the farm at {}", line.addresses.join(", ")));
    if line.role == Role::Operator {
        let joined = super::client_runtime()?.block_on(remote::join(&dir, &line))?;
        drop(progress);
        if out.json() {
            out.value(&serde_json::json!({
                "host": joined.host.name, "host_id": joined.host.id, "name": joined.name,
                "role": "operator", "approved": joined.approved, "words": joined.host.words,
            }))?;
        } else {
            let host = &joined.host.name;
            out.line(format!("joined {host} as operator {}", joined.name));
            out.field("words", &joined.host.words);
            say_next(out, joined.approved, joined.name.as_str(), host.as_str());
            out.line(format!("then: massif --host {host} status"));
        }
        return Ok(Verdict::Done);
    }
    let socket = socket_path(global.dir.as_deref(), &places)?;
    let running = super::client_runtime()?.block_on(async {
        match Client::connect(&socket).await {
            Ok(mut client) => {
                let ask = host::Join {
                    line: line.to_string(),
                };
                client.call(&ask).await.map(Some)
            }
            Err(fault) if fault.kind == Kind::Unreachable => Ok(None),
            Err(fault) => Err(fault),
        }
    })?;
    if let Some(answer) = running {
        drop(progress);
        show_joined(&answer.joined, out)?;
        return Ok(Verdict::Done);
    }
    let options = run::join_options(&join.host, global, line.role)?;
    let mut waiting = Waiting {
        progress: Some(progress),
        said: String::new(),
        host: line.host.to_string(),
    };
    crate::host::join(options, line.to_string(), |news| waiting.hear(news, out))?;
    Ok(Verdict::Done)
}

/// What a person sees between the join and the link: on a terminal a line that lives, elsewhere lines where something changes.
struct Waiting {
    progress: Option<Progress>,
    /// What the other side has to do.
    said: String,
    host: String,
}

impl Waiting {
    fn hear(&mut self, news: News<'_>, out: &Out) {
        match news {
            News::Joined(joined) => {
                self.progress = None;
                // The line that scripts wait for comes in any case.
                show_joined(joined, out).ok();
                if !joined.approved {
                    self.said = format!(
                        "waiting for {}: same words there ({})? then: massif peer approve {}",
                        joined.host, joined.words, joined.name
                    );
                }
            }
            News::Waiting(why) => {
                let words = match (self.said.is_empty(), why.contains("approve")) {
                    (true, _) => format!("linking to {}: {why}", self.host),
                    (false, true) => self.said.clone(),
                    (false, false) => format!("{} ({why})", self.said),
                };
                match &self.progress {
                    Some(progress) => progress.begins(&words),
                    None => {
                        let progress = Progress::new(None);
                        progress.now(&words, 0);
                        self.progress = Some(progress);
                    }
                }
            }
            News::Linked => {
                if let Some(progress) = self.progress.take() {
                    progress.happened(&format!(
                        "linked to {}: this host belongs to its farm",
                        self.host
                    ));
                }
            }
        }
    }
}

fn show_joined(joined: &JoinView, out: &Out) -> Result<()> {
    match out.style {
        Style::Json => out.value_line(joined)?,
        Style::Ids => out.line(joined.name.as_str()),
        Style::People if joined.already => {
            out.line(format!(
                "this host belongs to the farm of {} already: the invitation was not used",
                joined.host
            ));
            out.field("words", &joined.words);
        }
        Style::People => {
            out.line(format!(
                "joined {} as {} {} ({})",
                joined.host, joined.role, joined.name, joined.trust
            ));
            out.field("words", &joined.words);
            say_next(
                out,
                joined.approved,
                joined.name.as_str(),
                joined.host.as_str(),
            );
        }
    }
    Ok(())
}

fn say_next(out: &Out, approved: bool, name: &str, host: &str) {
    if approved {
        out.line(format!("approved: {host} knows this key"));
    } else {
        out.line(format!(
            "waiting: compare the words on {host} (massif peer show {name}), then there: massif peer approve {name}"
        ));
    }
}

pub(super) async fn peer(host: &Host, peer: &args::Peer, out: &Out) -> Result<Verdict> {
    let shown = match peer {
        args::Peer::List => {
            let peers = host.ask(&host::PeerList {}).await?.peers;
            return list(&peers, out);
        }
        args::Peer::Show { name } => {
            let ask = host::PeerShow { name: name.clone() };
            host.ask(&ask).await?.peer
        }
        args::Peer::Approve { name, trust } => {
            let ask = host::PeerApprove {
                name: name.clone(),
                trust: trust.clone(),
            };
            host.ask(&ask).await?.peer
        }
        args::Peer::Rename { name, to } => {
            let ask = host::PeerRename {
                name: name.clone(),
                to: to.clone(),
            };
            host.ask(&ask).await?.peer
        }
        args::Peer::Revoke { name, since } => {
            let since = since.as_deref().map(since_when).transpose()?;
            let ask = host::PeerRevoke {
                name: name.clone(),
                since,
            };
            let revoked = host.ask(&ask).await?;
            match out.style {
                Style::Json => out.value(&revoked)?,
                Style::Ids => revoked
                    .made
                    .iter()
                    .for_each(|made| out.line(made.job.to_string())),
                Style::People => {
                    let peer = &revoked.peer;
                    out.line(format!("{} ({}) is revoked", peer.name, peer.id.short()));
                    let made = count(revoked.made.len() as u64, "published build");
                    out.line(format!("{made} came from it"));
                    for made in &revoked.made {
                        out.line(format!(
                            "  job {} {} {}-{}, begun {}",
                            made.job,
                            made.recipe,
                            made.version,
                            made.release,
                            show::moment(made.assigned)
                        ));
                    }
                    if !revoked.made.is_empty() {
                        out.line("build them again elsewhere: massif build RECIPE --rebuild");
                    }
                }
            }
            return Ok(Verdict::Done);
        }
    };
    match out.style {
        Style::Json => out.value(&shown)?,
        Style::Ids => out.line(shown.id.to_string()),
        Style::People => show_peer(&shown, out),
    }
    Ok(Verdict::Done)
}

/// A moment, or so long ago.
fn since_when(words: &str) -> Result<Stamp> {
    if let Ok(at) = words.parse::<Stamp>() {
        return Ok(at);
    }
    let ago = text::parse_span(words).map_err(|_| {
        Fault::new(Kind::Usage, format!("{words:?} is no time"))
            .next("write 7d, 12h or 2026-01-31T12:00:00Z")
    })?;
    Ok(Stamp(
        show::now().0 - i64::try_from(ago.as_millis()).unwrap_or(i64::MAX / 2),
    ))
}

fn tone_of(peer: &PeerView) -> Tone {
    match (peer.state.as_str(), peer.link.up) {
        ("approved", true) => Tone::Good,
        ("approved", false) if peer.role == "operator" => Tone::Faint,
        ("waiting" | "approved", _) => Tone::Warn,
        _ => Tone::Bad,
    }
}

fn list(peers: &[PeerView], out: &Out) -> Result<Verdict> {
    match out.style {
        Style::Json => out.value(&peers)?,
        Style::Ids => peers.iter().for_each(|peer| out.line(peer.name.as_str())),
        Style::People => {
            let mut table = Table::new()
                .column("peer")
                .column("role")
                .column("trust")
                .column("state")
                .column("link")
                .number("round trip")
                .number("heard")
                .words("words");
            for peer in peers {
                let link = match (peer.link.up, peer.role.as_str()) {
                    (true, _) => "up",
                    (false, "operator") => "-",
                    (false, _) => "down",
                };
                let what = if peer.role == "operator" {
                    peer.rights.clone().unwrap_or_default()
                } else {
                    peer.trust.clone()
                };
                table.row([
                    cell(&peer.name, Tone::Strong),
                    plain(&peer.role),
                    plain(what),
                    cell(&peer.state, tone_of(peer)),
                    plain(link),
                    known(peer.link.round_trip_ms.map(|ms| format!("{ms:.1} ms"))),
                    known(peer.link.last_heard_s.map(text::span)),
                    plain(&peer.words),
                ]);
            }
            out.table(&table);
        }
    }
    Ok(Verdict::Done)
}

fn show_peer(peer: &PeerView, out: &Out) {
    out.field("peer", format!("{} ({})", peer.name, peer.id.short()));
    let rights = peer
        .rights
        .as_ref()
        .map_or_else(String::new, |rights| format!(", may {rights}"));
    out.field("role", format!("{} ({}{rights})", peer.role, peer.trust));
    let by = match (&peer.by, peer.at) {
        (Some(by), Some(at)) => format!(" by {by} at {}", show::moment(at)),
        _ => String::new(),
    };
    out.field("state", format!("{}{by}", peer.state));
    out.field("words", &peer.words);
    out.field("key", &peer.grouped);
    out.field(
        "known by",
        format!("{} at {}", peer.how, show::moment(peer.since)),
    );
    if !peer.addresses.is_empty() {
        out.field("dialled at", peer.addresses.join(" "));
    }
    show_link(&peer.link, out);
    if peer.state == "waiting" {
        out.line(format!(
            "compare the words, then: massif peer approve {}",
            peer.name
        ));
    }
}

fn show_link(link: &LinkView, out: &Out) {
    let span = |seconds: Option<f64>| seconds.map_or_else(|| "?".into(), text::span);
    let number = |count: Option<u64>| count.map_or_else(|| "?".into(), text::bytes);
    if link.up {
        out.field(
            "link",
            format!(
                "up for {} from {}, {} (massif {})",
                span(link.since_s),
                link.address.as_deref().unwrap_or("?"),
                link.protocol.as_deref().unwrap_or("?"),
                link.version.as_deref().unwrap_or("?")
            ),
        );
        let trip = link
            .round_trip_ms
            .map_or_else(|| "?".into(), |ms| format!("{ms:.1} ms"));
        out.field(
            "path",
            format!(
                "round trip {trip}, {} of {} datagrams lost, {} sent, {} received",
                link.lost_datagrams.unwrap_or(0),
                link.sent_datagrams.unwrap_or(0),
                number(link.sent_bytes),
                number(link.received_bytes)
            ),
        );
        if let Some(offset) = link.clock_offset_s.filter(|offset| offset.abs() >= 1.0) {
            out.toned(Tone::Warn, format!("its clock is {offset:+.0} s off ours"));
        }
    } else {
        out.field("link", "down");
    }
    out.field(
        "last heard",
        link.last_heard_s.map_or_else(
            || "never".into(),
            |seconds| format!("{} ago", text::span(seconds)),
        ),
    );
    out.field("reconnects", link.reconnects.to_string());
    if let Some(why) = &link.last_end {
        out.field("last end", why);
    }
    if let Some(why) = &link.last_failure {
        out.field("last failure", why);
    }
}

/// `cert`: with the host that runs here if there is one, else with its directory alone.
pub(super) fn cert(cert: &args::Cert, global: &Global, out: &Out) -> Result<Verdict> {
    let host = Host::find(global)?;
    match cert {
        args::Cert::Show | args::Cert::Export => {
            let asked = super::client_runtime()?.block_on(host.ask(&host::CertShow {}));
            let shown = match asked {
                Ok(answer) => answer.cert,
                Err(fault) if fault.kind == Kind::Unreachable && global.host.is_none() => {
                    crate::host::card_offline(&run::join_options(
                        &args::HostArgs::default(),
                        global,
                        Role::Avalanche,
                    )?)?
                }
                Err(fault) => return Err(fault),
            };
            show_cert(&shown, matches!(cert, args::Cert::Export), out)?;
        }
        args::Cert::Rotate { overlap } => {
            let ask = host::CertRotate {
                overlap_s: Some(overlap.as_secs()),
            };
            let runtime = super::client_runtime()?;
            match runtime.block_on(host.ask(&ask)) {
                Ok(answer) => show_cert(&answer.cert, false, out)?,
                Err(fault) if fault.kind == Kind::Unreachable && global.host.is_none() => {
                    rotate_own(*overlap, global, fault, out)?;
                }
                Err(fault) => return Err(fault),
            }
        }
        args::Cert::Trust {
            file,
            role,
            trust,
            rights,
        } => {
            let card = read_card(file)?;
            let ask = host::CertTrust {
                card: card.to_string(),
                role: role.clone(),
                trust: Some(trust.clone()),
                rights: Some(rights.clone()),
            };
            let asked = super::client_runtime()?.block_on(host.ask(&ask));
            let (name, words) = match asked {
                Ok(answer) => (answer.peer.name, answer.peer.words),
                Err(fault) if fault.kind == Kind::Unreachable && global.host.is_none() => {
                    trust_here(&card, role, trust, rights, global)?
                }
                Err(fault) => return Err(fault),
            };
            if out.json() {
                out.value(&serde_json::json!({ "name": name, "id": card.id, "role": role, "words": words }))?;
            } else {
                out.line(format!("{name} is trusted as {role}"));
                out.field("words", &words);
                out.line("compare them with what `massif cert trust` prints on the other side");
            }
        }
    }
    Ok(Verdict::Done)
}

/// The key of an operator, in whose directory no host runs. `otherwise`: what is wrong when there is no such key.
fn rotate_own(
    overlap: std::time::Duration,
    global: &Global,
    otherwise: Fault,
    out: &Out,
) -> Result<()> {
    let dir = state_dir(global.dir.as_deref(), &Places::of_this_process())?;
    if remote::known(&dir)?.is_empty() || dir.join(crate::config::FILE).exists() {
        return Err(otherwise);
    }
    let told = super::client_runtime()?.block_on(remote::rotate(&dir, overlap.as_secs()))?;
    let options = run::join_options(&args::HostArgs::default(), global, Role::Operator)?;
    let cert = crate::host::card_offline(&options)?;
    if out.json() {
        let told: Vec<_> = told
            .iter()
            .map(|(host, heard)| {
                let why = heard.as_ref().err().map(ToString::to_string);
                serde_json::json!({ "host": host, "told": heard.is_ok(), "why": why })
            })
            .collect();
        return out
            .value(&serde_json::json!({ "id": cert.id, "words": cert.words, "hosts": told }));
    }
    show_cert(&cert, false, out)?;
    let until = text::span(overlap.as_secs_f64());
    for (host, heard) in &told {
        match heard {
            Ok(()) => out.line(format!("{host} knows this key now")),
            Err(fault) => out.toned(
                Tone::Warn,
                format!("{host} does not know it yet ({fault}): ask it something within {until}"),
            ),
        }
    }
    Ok(())
}

fn trust_here(
    card: &Card,
    role: &str,
    trust: &str,
    rights: &str,
    global: &Global,
) -> Result<(crate::id::HostName, String)> {
    let bad = |error: crate::id::BadId| Fault::new(Kind::Usage, error.to_string());
    let role: Role = role.parse().map_err(bad)?;
    let options = run::join_options(&args::HostArgs::default(), global, Role::Avalanche)?;
    let peer = crate::host::card_trust_offline(
        &options,
        card,
        role,
        trust.parse().map_err(bad)?,
        rights.parse().map_err(bad)?,
    )?;
    if role == Role::Summit {
        // The same directory may be an operator's.
        remote::trust(&options.dir, card)?;
    }
    Ok((peer.name, peer.words))
}

fn read_card(file: &Path) -> Result<Card> {
    let failed = |error: std::io::Error| {
        Fault::new(Kind::Usage, format!("cannot read {}", file.display())).because(&error)
    };
    let text = if file == Path::new("-") {
        std::io::read_to_string(std::io::Read::take(std::io::stdin(), 64 * 1024)).map_err(failed)?
    } else {
        let opened = std::fs::File::open(file).map_err(failed)?;
        std::io::read_to_string(std::io::Read::take(opened, 64 * 1024)).map_err(failed)?
    };
    text.parse()
}

fn show_cert(cert: &CertView, export: bool, out: &Out) -> Result<()> {
    match out.style {
        Style::Json => out.value(cert)?,
        Style::Ids => out.line(cert.id.to_string()),
        Style::People if export => out.line(&cert.card),
        Style::People => {
            out.field("host", cert.name.as_str());
            out.field("id", cert.id.to_string());
            out.field("words", &cert.words);
            out.field("key", &cert.grouped);
            out.field("reached at", cert.addresses.join(" "));
        }
    }
    Ok(())
}
