//! Handshakes that failed, each in one sentence with the next step.

use std::net::SocketAddr;

use super::wire::{NoJoin, Unwelcome};
use crate::fault::{Fault, Kind};
use crate::id::Stamp;
use crate::model::peer::NoEntry;

/// What to do about clocks.
const CLOCKS: &str = "set both clocks by NTP; two days between them are borne";

/// The digits that follow these words.
fn number_after(text: &str, words: &str) -> String {
    let rest = text.split_once(words).map_or("", |(_, rest)| rest);
    rest.chars().take_while(char::is_ascii_digit).collect()
}

/// Nobody there, or nobody who answers.
pub(super) fn unreachable(address: SocketAddr, how: &str) -> Fault {
    Fault::new(Kind::Unreachable, format!("the host at {address} {how}"))
}

/// One sentence about a handshake that failed. Numbers are TLS alerts (RFC 8446, 6.2).
pub(super) fn explain(address: SocketAddr, error: &quinn::ConnectionError) -> Fault {
    let (code, reason) = match error {
        quinn::ConnectionError::TransportError(error) => {
            (u64::from(error.code), error.reason.clone())
        }
        quinn::ConnectionError::ConnectionClosed(close) => (
            u64::from(close.error_code),
            String::from_utf8_lossy(&close.reason).into_owned(),
        ),
        quinn::ConnectionError::VersionMismatch
        | quinn::ConnectionError::ApplicationClosed(_)
        | quinn::ConnectionError::Reset
        | quinn::ConnectionError::TimedOut
        | quinn::ConnectionError::LocallyClosed
        | quinn::ConnectionError::CidsExhausted => (0, String::new()),
    };
    let refused = |how: &str, next: &str| {
        Fault::new(Kind::NotPermitted, format!("the host at {address} {how}")).next(next)
    };
    match code {
        _ if reason.contains(super::pins::WRONG_KEY) => refused(
            "has another key than the one expected",
            "compare its five words (`massif cert show` there); if it was set up anew, join it again",
        ),
        _ if reason.contains(super::pins::OUT_OF_TIME) => refused(
            &format!(
                "and this one have clocks that are at least {} s apart, and certificates are good for {} days",
                number_after(&reason, super::pins::OUT_OF_TIME),
                super::identity::CERTIFICATE_DAYS,
            ),
            CLOCKS,
        ),
        // no_application_protocol
        0x178 => refused(
            "speaks no common protocol version",
            "bring both hosts to the same version of massif",
        ),
        // certificate_expired
        0x12d => refused("or this one has a certificate out of its time", CLOCKS),
        // bad_certificate, certificate_unknown, access_denied, certificate_required
        0x12a | 0x12e | 0x131 | 0x174 => refused(
            "did not take this host's certificate",
            "run `massif doctor` on both",
        ),
        _ => unreachable(address, "cannot be reached")
            .because(error)
            .next(format!(
                "check that massif runs there, and that UDP port {} is open on the way",
                address.port()
            )),
    }
}

/// Why a host was not let in, for the audit trail of the host that refused it.
pub(super) fn refusal(why: &Unwelcome) -> String {
    match why {
        Unwelcome::UnknownKey => "its key is not known here".into(),
        Unwelcome::Revoked { by, at } => format!("its key was revoked by {by} at {at}"),
        Unwelcome::NotApproved => "nobody approved it yet".into(),
        Unwelcome::NoHello => "it did not begin with a hello".into(),
        Unwelcome::Stopping => "this host is stopping".into(),
        Unwelcome::OutOfTime { from, until } => out_of_time(*from, *until),
    }
}

fn out_of_time(from: Stamp, until: Stamp) -> String {
    format!("its certificate is out of its time: it is good from {from} to {until}")
}

/// The same for the host that has the certificate.
fn certificate_refused(from: Stamp, until: Stamp, theirs: Stamp, ours: Stamp) -> String {
    format!(
        "refuses this host: its clock and this one are {} s apart, and this host's certificate is good from {from} to {until}",
        apart_s(theirs, ours)
    )
}

/// The other host did not take the ticket.
pub(super) fn not_joined(address: SocketAddr, why: &NoJoin, theirs: Stamp, ours: Stamp) -> Fault {
    let ask = "ask for a new one: `massif invite` there";
    let (how, next) = match why {
        NoJoin::Ticket(NoEntry::Wrong) => ("does not know this ticket".to_string(), ask),
        NoJoin::Ticket(NoEntry::Expired) => ("says that this ticket ran out".to_string(), ask),
        NoJoin::Ticket(NoEntry::Used) => {
            ("says that this ticket was used already".to_string(), ask)
        }
        NoJoin::Ticket(NoEntry::Burnt) => (
            "has burnt this ticket after too many wrong tries".to_string(),
            ask,
        ),
        NoJoin::Ticket(NoEntry::Revoked) => {
            ("says that this ticket was taken back".to_string(), ask)
        }
        NoJoin::Revoked { by, at } => (
            format!("refuses this host: its key was revoked by {by} at {at}"),
            "ask that person; a revoked host needs a new key (another --dir) and a new invitation",
        ),
        NoJoin::Closed => (
            "lets nobody join".to_string(),
            "invite from the host that has the role summit",
        ),
        NoJoin::Later => (
            "could not record it".to_string(),
            "try again; its log says more",
        ),
        NoJoin::OutOfTime { from, until } => {
            (certificate_refused(*from, *until, theirs, ours), CLOCKS)
        }
    };
    let fault = Fault::new(Kind::NotPermitted, format!("the host at {address} {how}")).next(next);
    with_clocks(fault, theirs, ours)
}

/// The other host refused the hello.
pub(super) fn unwelcome(address: SocketAddr, why: &Unwelcome, theirs: Stamp, ours: Stamp) -> Fault {
    let (how, next) = match why {
        Unwelcome::UnknownKey => (
            "does not know this host's key".to_string(),
            "join the farm first: `massif invite` there, `massif join LINE` here",
        ),
        Unwelcome::Revoked { by, at } => (
            format!("refuses this host: its key was revoked by {by} at {at}"),
            "ask that person; a revoked host needs a new key and a new invitation",
        ),
        Unwelcome::NotApproved => (
            "waits for somebody to approve this host".to_string(),
            "compare the five words and run `massif peer approve` there",
        ),
        Unwelcome::NoHello => (
            "got no hello from this host".to_string(),
            "bring both hosts to the same version of massif",
        ),
        Unwelcome::Stopping => ("is stopping".to_string(), "it is dialled again by itself"),
        Unwelcome::OutOfTime { from, until } => {
            (certificate_refused(*from, *until, theirs, ours), CLOCKS)
        }
    };
    let fault = Fault::new(Kind::NotPermitted, format!("the host at {address} {how}")).next(next);
    with_clocks(fault, theirs, ours)
}

fn apart_s(theirs: Stamp, ours: Stamp) -> i64 {
    (theirs.0.saturating_sub(ours.0) / 1_000).abs()
}

/// Clocks that are far apart are often the reason.
fn with_clocks(mut fault: Fault, theirs: Stamp, ours: Stamp) -> Fault {
    let apart = apart_s(theirs, ours);
    if apart > 60 {
        fault
            .causes
            .push(format!("its clock and this one are {apart} s apart"));
    }
    fault
}
