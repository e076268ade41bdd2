//! Peers: who belongs to the farm, who wants to, how the links are, and invitations with what is left of their time.

use super::queue::whole_span;
use super::{Rank, sorted};
use crate::admin::view::{LinkView, PeerView, TicketView};
use crate::cli::{show, text};
use crate::tui::app::App;
use crate::tui::doc::Doc;
use crate::tui::list::Line;
use crate::tui::page::{Page, Sheet};
use crate::tui::pen::columns;
use crate::tui::table::{Column, Field, Row, field, fixed, number, words};
use crate::tui::theme::Ink;

/// The columns.
pub const COLUMNS: &[Column] = &[
    words("peer", 9, 1, 0),
    fixed("role", 9, 2),
    fixed("may", 7, 3),
    fixed("state", 8, 0),
    number("link", 8, 0),
    number("heard", 6, 4),
    number("ends in", 7, 1),
    words("five words, the same on its screen", 34, 4, 0),
];
/// Keys from here on are invitations; below are peers.
pub const TICKET: u64 = 1 << 40;

fn may(peer: &PeerView) -> &str {
    peer.rights.as_deref().unwrap_or(&peer.trust)
}

fn ink(state: &str) -> Ink {
    match state {
        "approved" | "open" => Ink::Good,
        "waiting" => Ink::Warn,
        "revoked" | "burnt" => Ink::Bad,
        _ => Ink::Faint,
    }
}

/// A link in a word: its round trip, or that it is down.
pub fn link_field<'a>(link: &LinkView) -> Field<'a> {
    match (link.up, link.round_trip_ms) {
        (true, Some(ms)) if ms < 100.0 => field(format!("{ms:.1} ms"), Ink::Plain),
        (true, Some(ms)) => field(format!("{ms:.0} ms"), Ink::Plain),
        (true, None) => field("up", Ink::Plain),
        (false, _) => field("down", Ink::Bad),
    }
}

/// Where a peer stands on the page: those that wait for somebody first.
fn group(peer: &PeerView) -> usize {
    match peer.state.as_str() {
        "waiting" => 0,
        "approved" => 1,
        _ => 2,
    }
}

fn rank(sort: usize, peer: &PeerView) -> Rank {
    match sort {
        1 => Rank::Words(peer.role.clone()),
        2 => Rank::Words(may(peer).to_owned()),
        3 => Rank::Words(peer.state.clone()),
        4 => Rank::of(peer.link.round_trip_ms),
        5 => Rank::of(peer.link.last_heard_s),
        7 => Rank::Words(peer.words.clone()),
        _ => Rank::Words(peer.name.to_string()),
    }
}

/// What peers and invitations can be told apart by in a filter.
pub const LABELS: &[&str] = &["role", "may", "state", "link"];

fn label(peer: &PeerView, key: &str) -> Option<String> {
    Some(match key {
        "role" => peer.role.clone(),
        "may" => may(peer).to_owned(),
        "state" => peer.state.clone(),
        "link" => if peer.link.up { "up" } else { "down" }.to_owned(),
        _ => return None,
    })
}

fn ticket_label(ticket: &TicketView, key: &str) -> Option<String> {
    match key {
        "role" => Some(ticket.role.clone()),
        "state" => Some(ticket.state.clone()),
        _ => None,
    }
}

/// The rows: requests, peers, those that were shut out, invitations.
pub fn lines(app: &App, sheet: &Sheet) -> Vec<Line> {
    let data = app.shown();
    let mut lines = Vec::new();
    let titles = [
        "Want to join: compare the words",
        "Belong to the farm",
        "Shut out",
    ];
    for (at, title) in titles.iter().enumerate() {
        let rows: Vec<(Rank, u64)> = data
            .peers
            .iter()
            .zip(0_u64..)
            .filter(|(peer, _)| group(peer) == at)
            .filter(|(peer, _)| {
                let name = peer.name.as_str();
                let all = || {
                    let (role, words) = (&peer.role, &peer.words);
                    format!("{name} {role} {} {} {words}", may(peer), peer.state)
                };
                sheet.filter.takes(name, all, |key| label(peer, key))
            })
            .map(|(peer, key)| (rank(sheet.sort, peer), key))
            .collect();
        if !rows.is_empty() {
            lines.push(Line::Heading(format!("{title} {}", rows.len())));
            lines.extend(sorted(rows, sheet.reverse));
        }
    }
    let tickets: Vec<u64> = data
        .tickets
        .iter()
        .zip(0_u64..)
        .filter(|(ticket, _)| {
            let name = ticket.name.as_ref().map_or("", |name| name.as_str());
            let all = || format!("{name} {} {} {}", ticket.role, ticket.state, ticket.id);
            sheet
                .filter
                .takes(name, all, |key| ticket_label(ticket, key))
        })
        .map(|(_, key)| key)
        .collect();
    if !tickets.is_empty() {
        lines.push(Line::Heading(format!("Invitations {}", tickets.len())));
        lines.extend(tickets.into_iter().map(|key| Line::Row(TICKET + key)));
    }
    lines
}

/// One row.
pub fn row(app: &App, key: u64) -> Option<Row<'_>> {
    if let Some(at) = key.checked_sub(TICKET) {
        let ticket = app.shown().tickets.get(usize::try_from(at).ok()?)?;
        return Some(Row::Fields(ticket_row(app, ticket)));
    }
    let peer = app.shown().peers.get(usize::try_from(key).ok()?)?;
    let link = match (peer.link.up, peer.role.as_str(), peer.state.as_str()) {
        (false, "operator", _) | (false, _, "waiting" | "revoked") => field("-", Ink::Faint),
        _ => link_field(&peer.link),
    };
    let heard = peer.link.last_heard_s.map_or("-".to_owned(), whole_span);
    Some(Row::Fields(vec![
        field(peer.name.as_str(), Ink::Strong),
        field(peer.role.as_str(), Ink::Plain),
        field(may(peer), Ink::Plain),
        field(peer.state.as_str(), ink(&peer.state)),
        link,
        field(heard, Ink::Faint),
        field(
            certificate_left(app, &peer.link).unwrap_or_default(),
            Ink::Faint,
        ),
        field(peer.words.as_str(), Ink::Plain),
    ]))
}

/// What is left of the time of a peer's certificate.
fn certificate_left(app: &App, link: &LinkView) -> Option<String> {
    let left = link.certificate_until?.seconds_since(app.clock());
    Some(whole_span(left.max(0.0)))
}

fn ticket_row<'a>(app: &App, ticket: &'a TicketView) -> Vec<Field<'a>> {
    let left = ticket.until.seconds_since(app.clock());
    let left = match ticket.state.as_str() {
        "open" if left > 0.0 => field(
            whole_span(left),
            if left < 60.0 { Ink::Warn } else { Ink::Plain },
        ),
        _ => field("", Ink::Faint),
    };
    let may = match ticket.role.as_str() {
        "operator" => ticket.rights.as_str(),
        _ => ticket.trust.as_str(),
    };
    let approval = match ticket.pre_approved {
        true => "nobody has to approve",
        false => "to be approved",
    };
    let wrong = match ticket.wrong {
        0 => String::new(),
        wrong => format!(", {wrong} wrong tries"),
    };
    let name = ticket
        .name
        .as_ref()
        .map_or("(any name)", |name| name.as_str());
    vec![
        field(name, Ink::Strong),
        field(ticket.role.as_str(), Ink::Plain),
        field(may, Ink::Plain),
        field(ticket.state.as_str(), ink(&ticket.state)),
        field("", Ink::Faint),
        field("", Ink::Faint),
        left,
        field(
            format!(
                "used {} of {}{wrong}; {approval}; {} by {}",
                ticket.used, ticket.uses, ticket.id, ticket.by
            ),
            Ink::Faint,
        ),
    ]
}

/// What is to be done here.
pub fn advice(app: &App) -> String {
    let data = app.shown();
    if data.requests().next().is_some() {
        return "the same five words on its screen? A lets it in, X shuts it out".into();
    }
    let invite = ":invite --role avalanche asks a builder in";
    match &data.card {
        Some(card) => {
            let own = format!("this host is {}: {}", card.name, card.words);
            let both = format!("{own}. {invite}");
            match columns(&both) <= usize::from(app.size.0) {
                true => both,
                false => own,
            }
        }
        None => invite.into(),
    }
}

/// What is known of a link, as fields.
pub fn link_fields(link: &LinkView, doc: &mut Doc) {
    let since = link
        .since_s
        .map_or_else(String::new, |since| format!(" for {}", whole_span(since)));
    let address = link.address.as_deref().unwrap_or("an address not known");
    match link.up {
        true => doc.field("link", format!("up{since}, {address}")),
        false => doc.field_as("link", Ink::Bad, "down", None),
    }
    if let Some(ms) = link.round_trip_ms {
        doc.field("round trip", format!("{ms:.1} ms"));
    }
    if let Some(heard) = link.last_heard_s {
        doc.field("link heard", format!("{} ago", whole_span(heard)));
    }
    if let (Some(sent), Some(lost)) = (link.sent_datagrams, link.lost_datagrams) {
        let part = lost as f64 / sent.max(1) as f64 * 100.0;
        doc.field("lost", format!("{lost} of {sent} datagrams ({part:.1} %)"));
    }
    if let (Some(sent), Some(received)) = (link.sent_bytes, link.received_bytes) {
        let words = format!(
            "{} sent, {} received",
            text::bytes(sent),
            text::bytes(received)
        );
        doc.field("traffic", words);
    }
    if let Some(off) = link.clock_offset_s {
        doc.field("its clock", format!("{off:+.1} s off this one"));
    }
    if let (Some(version), Some(protocol)) = (&link.version, &link.protocol) {
        doc.field("program", format!("{version}, speaks {protocol}"));
    }
    if link.reconnects > 0 {
        doc.field("made again", format!("{} times", link.reconnects));
    }
    doc.field("last ended", link.last_end.as_deref().unwrap_or(""));
    doc.field("last failed", link.last_failure.as_deref().unwrap_or(""));
}

/// A peer's page.
pub fn doc(app: &App, name: &str, doc: &mut Doc) {
    let data = app.shown();
    let found = data.peers.iter().find(|peer| peer.name.as_str() == name);
    let Some(peer) = found else {
        let words = match data.peers_known {
            true => format!("nobody of the name {name} is known any more"),
            false => app.asking_words(),
        };
        doc.words(Ink::Faint, words);
        return;
    };
    doc.line(
        vec![
            (ink(&peer.state), peer.state.clone()),
            (Ink::Strong, format!("  {}", peer.name)),
            (Ink::Faint, format!("  {}, {}", peer.role, may(peer))),
        ],
        None,
    );
    doc.title(match peer.state.as_str() {
        "waiting" => "Five words: let it in when its screen shows the same",
        _ => "Five words: the same on both screens",
    });
    doc.line(vec![(Ink::Strong, peer.words.clone())], None);
    doc.gap();
    doc.field("key", &peer.grouped);
    doc.field("role", &peer.role);
    doc.field("trust", &peer.trust);
    doc.field("rights", peer.rights.as_deref().unwrap_or(""));
    let since = app.clock().seconds_since(peer.since);
    doc.field(
        "known",
        format!("for {}, by {}", whole_span(since), peer.how),
    );
    if let (Some(by), Some(at)) = (&peer.by, peer.at) {
        let words = format!("{} UTC by {by}", show::moment(at));
        doc.field(
            if peer.state == "revoked" {
                "shut out"
            } else {
                "let in"
            },
            words,
        );
    }
    doc.field("dialled at", peer.addresses.join(" "));
    if let Some(left) = certificate_left(app, &peer.link) {
        let words = format!("good for {left} more; its host issues the next before that");
        doc.field("certificate", words);
    }
    if peer.state == "approved" {
        link_fields(&peer.link, doc);
    }
    if data.builder(name).is_some() {
        let page = Page::Builder(name.to_owned());
        doc.field_as("builds", Ink::Plain, "slots, disks and verdict", Some(page));
    }
}
