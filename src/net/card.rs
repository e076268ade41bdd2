//! What people carry from one host to another: the line of an invitation, and the card of a host. Both are pasted, mailed and
//! typed, so both have a check sum, and reading them never trusts a length.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::fault::{Fault, Kind};
use crate::id::{HostId, HostName, Stamp};
use crate::model::Role;
use crate::model::peer::TicketId;

/// What a ticket's line begins with; the number is the format's.
const TICKET: &str = "massif-join-1.";
/// The same of a card.
const CARD: &str = "massif-card-1.";
/// Characters of a line; eight long addresses need a third of it.
const LINE_BYTES_MAX: usize = 8 * 1024;
/// Addresses in a line.
pub const ADDRESSES_MAX: usize = 8;
/// One address: a host name of DNS has 253 characters.
pub const ADDRESS_BYTES_MAX: usize = 300;
const SUM: usize = 4;

/// What an invitation's line says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketLine {
    /// Where the inviting host is reached, `HOST:PORT` each.
    pub addresses: Vec<String>,
    /// The key that it has: nothing is sent to another.
    pub pin: HostId,
    /// What it is called, for messages.
    pub host: HostName,
    /// Which ticket.
    pub ticket: TicketId,
    /// Its secret.
    pub secret: [u8; 16],
    /// What the newcomer becomes.
    pub role: Role,
    /// The ticket ends then.
    pub until: Stamp,
}

/// A host, for those that shall trust it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Its key.
    pub id: HostId,
    /// What it calls itself.
    pub name: HostName,
    /// Where it is reached.
    pub addresses: Vec<String>,
}

fn write<T: Serialize>(f: &mut fmt::Formatter<'_>, head: &str, value: &T) -> fmt::Result {
    let mut bytes = postcard::to_stdvec(value).map_err(|_| fmt::Error)?;
    let sum = Sha256::digest(&bytes);
    bytes.extend(sum.iter().take(SUM));
    write!(f, "{head}{}", URL_SAFE_NO_PAD.encode(bytes))
}

fn read<T: for<'a> Deserialize<'a>>(
    text: &str,
    head: &str,
    what: &str,
    next: &str,
) -> Result<T, Fault> {
    let bad = |how: &str| Fault::new(Kind::Usage, format!("this is no {what}: {how}")).next(next);
    let text = text.trim();
    if text.len() > LINE_BYTES_MAX {
        return Err(bad("it is too long"));
    }
    let rest = text
        .strip_prefix(head)
        .ok_or_else(|| bad(&format!("it does not begin with {head}")))?;
    // Mail programs break lines.
    let rest: String = rest.split_whitespace().collect();
    let bytes = URL_SAFE_NO_PAD
        .decode(rest)
        .map_err(|_| bad("a character is missing or wrong"))?;
    let body = bytes.len().checked_sub(SUM).map(|at| bytes.split_at(at));
    let (body, sum) = body.ok_or_else(|| bad("it is cut short"))?;
    if Sha256::digest(body).get(..SUM) != Some(sum) {
        return Err(bad("it is cut short, or a character is wrong"));
    }
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        Ok(_) | Err(_) => Err(bad("it was made by another version of massif")),
    }
}

/// Addresses as they may come from outside.
fn check_addresses(addresses: &[String], what: &str) -> Result<(), Fault> {
    let good = addresses.len() <= ADDRESSES_MAX
        && addresses.iter().all(|address| {
            address.len() <= ADDRESS_BYTES_MAX && !address.chars().any(char::is_control)
        });
    if good {
        return Ok(());
    }
    Err(Fault::new(
        Kind::Usage,
        format!("this is no {what}: its addresses are none"),
    ))
}

impl fmt::Display for TicketLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, TICKET, self)
    }
}

impl FromStr for TicketLine {
    type Err = Fault;
    fn from_str(text: &str) -> Result<TicketLine, Fault> {
        let next = "paste the whole line that `massif invite` printed";
        let line: TicketLine = read(text, TICKET, "invitation", next)?;
        check_addresses(&line.addresses, "invitation").map_err(|fault| fault.next(next))?;
        Ok(line)
    }
}

impl fmt::Display for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, CARD, self)
    }
}

impl FromStr for Card {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Card, Fault> {
        let next = "give the file that `massif cert export` printed";
        let card: Card = read(text, CARD, "card", next)?;
        check_addresses(&card.addresses, "card").map_err(|fault| fault.next(next))?;
        Ok(card)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ticket() -> TicketLine {
        TicketLine {
            addresses: vec!["10.0.0.1:7443".into(), "farm.example:7443".into()],
            pin: HostId([3; 32]),
            host: "crest".parse().unwrap(),
            ticket: TicketId([4; 6]),
            secret: [5; 16],
            role: Role::Avalanche,
            until: Stamp(1_795_294_849_123),
        }
    }

    fn card() -> Card {
        Card {
            id: HostId([3; 32]),
            name: "crest".parse().unwrap(),
            addresses: vec!["[::1]:7443".into()],
        }
    }

    #[test]
    fn what_is_printed_is_read_back_also_when_mail_broke_the_line() {
        let (line, shown) = (ticket(), card().to_string());
        assert_eq!(line.to_string().parse::<TicketLine>().unwrap(), line);
        assert_eq!(shown.parse::<Card>().unwrap(), card());
        let text = line.to_string();
        let broken = format!(" {}\n {}\n", &text[..50], &text[50..]);
        assert_eq!(broken.parse::<TicketLine>().unwrap(), line);
        assert!(line.to_string().len() < 200, "{line}");
    }

    #[test]
    fn the_formats_are_frozen() {
        assert_eq!(
            ticket().to_string(),
            "massif-join-1.Ag0xMC4wLjAuMTo3NDQzEWZhcm0uZXhhbXBsZTo3NDQzAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMFY3Jlc3QEBAQEBAQFBQUFBQUFBQUFBQUFBQUFAcahy_6_aEkgp1I"
        );
        assert_eq!(
            card().to_string(),
            "massif-card-1.AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMFY3Jlc3QBCls6OjFdOjc0NDP_U0bp"
        );
    }

    #[test]
    fn every_single_wrong_or_missing_character_is_told() {
        let text = ticket().to_string();
        for at in TICKET.len()..text.len() {
            let mut cut = text.clone();
            cut.remove(at);
            assert!(cut.parse::<TicketLine>().is_err(), "{at} removed");
            let mut wrong: Vec<char> = text.chars().collect();
            wrong[at] = if wrong[at] == 'A' { 'B' } else { 'A' };
            let wrong: String = wrong.into_iter().collect();
            assert!(wrong.parse::<TicketLine>().is_err(), "{at} changed");
        }
        assert!(text.parse::<Card>().is_err());
        assert!(
            format!("{TICKET}{}", "A".repeat(9_000))
                .parse::<TicketLine>()
                .is_err()
        );
    }

    proptest! {
        #[test]
        fn no_bytes_whatever_make_a_panic(text in ".{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(text.parse::<TicketLine>());
            drop(text.parse::<Card>());
            for head in [TICKET, CARD] {
                // With a right check sum, so that what lies behind it is reached.
                let mut summed = bytes.clone();
                summed.extend(Sha256::digest(&bytes).iter().take(SUM));
                let line = format!("{head}{}", URL_SAFE_NO_PAD.encode(&summed));
                drop(line.parse::<TicketLine>());
                drop(line.parse::<Card>());
            }
        }
    }
}
