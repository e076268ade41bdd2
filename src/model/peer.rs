//! Who belongs to the farm: peers and tickets as values, and what a peer of which role may say to whom.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::say::{Role, Say};
use super::who::Who;
use crate::id::{AttemptId, BadId, Digest, HostId, HostName, Stamp};

/// Wrong tries after which a ticket is burnt.
pub const WRONG_TRIES_MAX: u32 = 5;

/// What a builder may build for. Grows at the end only: it lies in rows and travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerTrust {
    /// Publication.
    Trusted,
    /// Tries and comparisons only.
    Test,
}

impl PeerTrust {
    /// The word in JSON and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            PeerTrust::Trusted => "trusted",
            PeerTrust::Test => "test",
        }
    }
}

impl FromStr for PeerTrust {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        match text {
            "trusted" => Ok(PeerTrust::Trusted),
            "test" => Ok(PeerTrust::Test),
            _ => Err(bad(text, "a trust level (`trusted` or `test`)")),
        }
    }
}

/// What an operator's key may do here. Grows at the end only: it lies in rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rights {
    /// Look.
    View,
    /// Change what the farm does.
    Operate,
    /// Change what the farm is.
    Admin,
}

impl Rights {
    /// The word in JSON and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Rights::View => "view",
            Rights::Operate => "operate",
            Rights::Admin => "admin",
        }
    }
}

impl FromStr for Rights {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        match text {
            "view" => Ok(Rights::View),
            "operate" => Ok(Rights::Operate),
            "admin" => Ok(Rights::Admin),
            _ => Err(bad(text, "a right (`view`, `operate` or `admin`)")),
        }
    }
}

impl FromStr for Role {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        [Role::Summit, Role::Avalanche, Role::Vessel, Role::Operator]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| {
                bad(
                    text,
                    "a role (`avalanche`, `operator`, `summit` or `vessel`)",
                )
            })
    }
}

fn bad(text: &str, expected: &'static str) -> BadId {
    BadId {
        text: text.chars().take(80).collect(),
        expected,
    }
}

/// How far a peer is. Grows at the end only: it lies in rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerState {
    /// Its key is known, and nobody approved it yet.
    Waiting,
    /// It belongs to the farm.
    Approved {
        /// By whom.
        by: Who,
        /// When.
        at: Stamp,
    },
    /// It does not any more, and never again with this key.
    Revoked {
        /// By whom.
        by: Who,
        /// When.
        at: Stamp,
    },
}

impl PeerState {
    /// The word in JSON and tables.
    pub fn as_str(&self) -> &'static str {
        match self {
            PeerState::Waiting => "waiting",
            PeerState::Approved { .. } => "approved",
            PeerState::Revoked { .. } => "revoked",
        }
    }
}

/// Another host, or an operator, as this host knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its key.
    pub id: HostId,
    /// What it is called here.
    pub name: HostName,
    /// What it is to this host.
    pub role: Role,
    /// What it may build for.
    pub trust: PeerTrust,
    /// What it may ask for, if it is an operator.
    pub rights: Rights,
    /// Where it is dialled; empty: it dials.
    pub addresses: Vec<String>,
    /// How far it is.
    pub state: PeerState,
    /// Since when its key is known here.
    pub since: Stamp,
    /// How its key became known, in words.
    pub how: String,
    /// The five words of the pair, the same on both sides.
    pub words: String,
}

impl Peer {
    /// Whether it belongs to the farm now.
    pub fn is_approved(&self) -> bool {
        matches!(self.state, PeerState::Approved { .. })
    }

    /// Whether what it builds may be published.
    pub fn may_publish(&self) -> bool {
        self.is_approved() && self.role == Role::Avalanche && self.trust == PeerTrust::Trusted
    }

    /// Why it may not say this to that actor; whether the attempt is its own is the actor's question.
    pub fn refuses(&self, to: Role, say: &Say) -> Option<&'static str> {
        if !self.is_approved() {
            return Some("its key is not approved");
        }
        let fits = match (self.role, to) {
            (Role::Avalanche, Role::Summit) => matches!(
                say,
                Say::Report(_)
                    | Say::Accepted { .. }
                    | Say::Refused { .. }
                    | Say::Renew { .. }
                    | Say::Progress { .. }
                    | Say::Ended { .. }
                    | Say::Measured(_)
                    | Say::Glanced { .. }
                    | Say::Vitals(_)
                    | Say::Confined { .. }
                    | Say::Processor { .. }
                    | Say::Shares { .. }
                    | Say::Caches { .. }
                    | Say::Moved { .. }
                    | Say::Cached { .. }
                    | Say::Base { .. }
                    | Say::StoodOn(_)
            ),
            (Role::Avalanche, Role::Vessel) => matches!(say, Say::Offer { .. }),
            (Role::Vessel, Role::Summit) => matches!(
                say,
                Say::Published { .. }
                    | Say::Rejected { .. }
                    | Say::Staged { .. }
                    | Say::Examined { .. }
            ),
            (Role::Vessel, Role::Avalanche) => {
                matches!(say, Say::Receipt { .. } | Say::Unexpected { .. })
            }
            (Role::Summit, Role::Vessel) => matches!(
                say,
                Say::Expect(_)
                    | Say::Stage(_)
                    | Say::Forget { .. }
                    | Say::Open { .. }
                    | Say::Examine { .. }
            ),
            (Role::Summit, Role::Avalanche) => matches!(
                say,
                Say::Build(_)
                    | Say::BuildWith { .. }
                    | Say::BuildCached { .. }
                    | Say::Measure { .. }
                    | Say::Cancel { .. }
                    | Say::Heard { .. }
                    | Say::Receipt { .. }
                    | Say::Unexpected { .. }
                    | Say::Terms { .. }
            ),
            _ => false,
        };
        if !fits {
            return Some("its role may not say that");
        }
        // What is compared is published nowhere.
        let publishes = |attempt: &AttemptId| !super::proof::is_comparison(attempt.job);
        if matches!(say, Say::Offer { attempt, .. } if publishes(attempt))
            && self.trust != PeerTrust::Trusted
        {
            return Some("only trusted builders publish");
        }
        None
    }
}

/// Names a ticket in lists: not secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TicketId(pub [u8; 6]);

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// An invitation. The secret itself is nowhere but in the line that was printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Its name in lists.
    pub id: TicketId,
    /// SHA-256 of its secret.
    pub hash: Digest,
    /// What whoever uses it becomes.
    pub role: Role,
    /// What it may build for.
    pub trust: PeerTrust,
    /// What it may ask for.
    pub rights: Rights,
    /// What it will be called; `None`: as it calls itself.
    pub name: Option<HostName>,
    /// Nobody has to compare words.
    pub pre_approved: bool,
    /// How often it can be used in all.
    pub uses: u32,
    /// How often it was.
    pub used: u32,
    /// Tries with a wrong secret.
    pub wrong: u32,
    /// When it was made.
    pub made: Stamp,
    /// By whom.
    pub by: Who,
    /// It ends then.
    pub until: Stamp,
    /// Who took it back.
    pub revoked: Option<Who>,
}

/// Why a ticket lets nobody in. Grows at the end only: it travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoEntry {
    /// No such ticket, or another secret: the other side is not told which.
    Wrong,
    /// Its time is over.
    Expired,
    /// It was used as often as it may be.
    Used,
    /// Too many wrong tries.
    Burnt,
    /// Somebody took it back.
    Revoked,
}

impl Ticket {
    /// The ticket after a try with a secret of this hash, and what came of the try. A wrong try counts, whatever else is
    /// the matter with it; of a ticket that is over nobody learns whether the secret was right.
    pub fn tried(&self, hash: &Digest, now: Stamp) -> (Ticket, Result<(), NoEntry>) {
        let mut next = self.clone();
        if let Some(over) = self.over(now) {
            return (next, Err(over));
        }
        if self.hash == *hash {
            next.used += 1;
            return (next, Ok(()));
        }
        next.wrong += 1;
        (next, Err(NoEntry::Wrong))
    }

    /// Why it cannot be used any more.
    pub fn over(&self, now: Stamp) -> Option<NoEntry> {
        if self.revoked.is_some() {
            Some(NoEntry::Revoked)
        } else if self.wrong >= WRONG_TRIES_MAX {
            Some(NoEntry::Burnt)
        } else if self.used >= self.uses {
            Some(NoEntry::Used)
        } else if now >= self.until {
            Some(NoEntry::Expired)
        } else {
            None
        }
    }

    /// The word in JSON and tables.
    pub fn state(&self, now: Stamp) -> &'static str {
        match self.over(now) {
            None => "open",
            Some(NoEntry::Expired) => "expired",
            Some(NoEntry::Used) => "used",
            Some(NoEntry::Burnt | NoEntry::Wrong) => "burnt",
            Some(NoEntry::Revoked) => "revoked",
        }
    }
}

/// A key that was revoked, for the file that outlives a restored store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The key.
    pub id: HostId,
    /// What it was called.
    pub name: HostName,
    /// What it was.
    pub role: Role,
    /// Who revoked it.
    pub by: Who,
    /// When.
    pub at: Stamp,
}

/// The newest list of hosts that was taken from a summit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerListRow {
    /// Whose.
    pub summit: HostId,
    /// Its number.
    pub number: u64,
}

/// The keys of a peer that replaced its key: the first is the one that it is known by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerKeys {
    /// The peer.
    pub host: HostId,
    /// Oldest first.
    pub keys: Vec<KeyOfPeer>,
    /// The newest of our own keys that it has on disk.
    pub heard: Option<HostId>,
}

/// A key that a peer has or had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyOfPeer {
    /// Its id.
    pub key: HostId,
    /// It is good until then; `None`: it is the present one.
    pub until: Option<Stamp>,
}

impl PeerKeys {
    /// Of a peer that never replaced its key.
    pub fn of(host: HostId) -> PeerKeys {
        PeerKeys {
            host,
            keys: vec![KeyOfPeer {
                key: host,
                until: None,
            }],
            heard: None,
        }
    }

    /// The present key.
    pub fn newest(&self) -> HostId {
        self.keys.last().map_or(self.host, |known| known.key)
    }

    /// Takes a new key; the one before it is good until then. At most so many are kept, the first always.
    pub fn replace(&mut self, key: HostId, until: Stamp, max: usize) {
        if let Some(last) = self.keys.last_mut() {
            last.until = Some(until);
        }
        self.keys.push(KeyOfPeer { key, until: None });
        while self.keys.len() > max.max(2) {
            self.keys.remove(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{AttemptId, JobId};

    fn ticket(uses: u32) -> Ticket {
        Ticket {
            id: TicketId([1; 6]),
            hash: Digest([7; 32]),
            role: Role::Avalanche,
            trust: PeerTrust::Trusted,
            rights: Rights::View,
            name: None,
            pre_approved: false,
            uses,
            used: 0,
            wrong: 0,
            made: Stamp(0),
            by: Who::Uid(0),
            until: Stamp(1_000),
            revoked: None,
        }
    }

    #[test]
    fn a_ticket_is_used_up_runs_out_burns_and_is_taken_back() {
        let (right, wrong) = (Digest([7; 32]), Digest([8; 32]));
        let (once, used) = ticket(1).tried(&right, Stamp(1));
        assert_eq!(used, Ok(()));
        assert_eq!(once.tried(&right, Stamp(2)).1, Err(NoEntry::Used));
        let (twice, _) = ticket(2).tried(&right, Stamp(1));
        assert_eq!(twice.tried(&right, Stamp(2)).1, Ok(()));
        assert_eq!(
            ticket(1).tried(&right, Stamp(1_000)).1,
            Err(NoEntry::Expired)
        );
        let mut tried = ticket(1);
        for _ in 0..WRONG_TRIES_MAX {
            let (next, answer) = tried.tried(&wrong, Stamp(1));
            assert_eq!(answer, Err(NoEntry::Wrong));
            tried = next;
        }
        assert_eq!(tried.tried(&right, Stamp(1)).1, Err(NoEntry::Burnt));
        let revoked = Ticket {
            revoked: Some(Who::Farm),
            ..ticket(1)
        };
        assert_eq!(revoked.tried(&right, Stamp(1)).1, Err(NoEntry::Revoked));
    }

    fn peer(role: Role, trust: PeerTrust) -> Peer {
        Peer {
            id: HostId([1; 32]),
            name: "east".parse().unwrap(),
            role,
            trust,
            rights: Rights::View,
            addresses: Vec::new(),
            state: PeerState::Approved {
                by: Who::Farm,
                at: Stamp(0),
            },
            since: Stamp(0),
            how: "card".into(),
            words: String::new(),
        }
    }

    #[test]
    fn a_peer_says_what_its_role_allows_and_nothing_else() {
        let attempt = AttemptId {
            job: JobId(1),
            try_no: 1,
        };
        let offer = Say::Offer {
            attempt,
            artefacts: Vec::new(),
        };
        let accepted = Say::Accepted { attempt };
        let heard = Say::Heard { attempt };
        let builder = peer(Role::Avalanche, PeerTrust::Trusted);
        assert_eq!(builder.refuses(Role::Vessel, &offer), None);
        assert_eq!(builder.refuses(Role::Summit, &accepted), None);
        for (to, say) in [
            (Role::Summit, &offer),
            (Role::Summit, &heard),
            (Role::Avalanche, &heard),
            (Role::Vessel, &accepted),
            (Role::Operator, &accepted),
        ] {
            assert!(builder.refuses(to, say).is_some(), "{to:?} {say:?}");
        }
        let summit = peer(Role::Summit, PeerTrust::Trusted);
        assert_eq!(summit.refuses(Role::Avalanche, &heard), None);
        assert!(summit.refuses(Role::Summit, &accepted).is_some());
        let operator = peer(Role::Operator, PeerTrust::Trusted);
        assert!(operator.refuses(Role::Summit, &accepted).is_some());
        let waiting = Peer {
            state: PeerState::Waiting,
            ..builder
        };
        assert!(waiting.refuses(Role::Summit, &accepted).is_some());
    }

    #[test]
    fn what_a_test_builder_offers_is_not_passed_on() {
        let attempt = AttemptId {
            job: JobId(1),
            try_no: 1,
        };
        let offer = Say::Offer {
            attempt,
            artefacts: Vec::new(),
        };
        let builder = peer(Role::Avalanche, PeerTrust::Test);
        assert!(!builder.may_publish());
        assert_eq!(
            builder.refuses(Role::Vessel, &offer),
            Some("only trusted builders publish")
        );
        assert_eq!(
            builder.refuses(Role::Summit, &Say::Accepted { attempt }),
            None
        );
    }
}
