//! Who belongs to the farm: peers, their links, invitations.

use crate::admin::views;
use crate::id::{HostId, HostName, JobId, RecipeName, Stamp};

views! {
    /// Another host or an operator.
    pub struct PeerView {
        /// SHA-256 of its public key.
        pub id: HostId,
        /// What it is called here.
        pub name: HostName,
        /// `avalanche`, `operator` or `summit`.
        pub role: String,
        /// `trusted` or `test`.
        pub trust: String,
        /// What an operator may do; null for hosts.
        pub rights: Option<String>,
        /// `waiting`, `approved` or `revoked`.
        pub state: String,
        /// Who approved or revoked it.
        pub by: Option<String>,
        /// When.
        pub at: Option<Stamp>,
        /// Since when its key is known here.
        pub since: Stamp,
        /// How its key became known.
        pub how: String,
        /// Five words for the pair of keys: the same on both sides.
        pub words: String,
        /// Its key with check digits, to be read aloud.
        pub grouped: String,
        /// Where it is dialled; empty: it dials.
        pub addresses: Vec<String>,
        /// Its link.
        pub link: LinkView,
    }

    /// How the link to a peer is. What is not known is null.
    pub struct LinkView {
        /// Whether it stands.
        pub up: bool,
        /// Where the peer is.
        pub address: Option<String>,
        /// Seconds that it stands.
        pub since_s: Option<f64>,
        /// Seconds since something was heard of it.
        pub last_heard_s: Option<f64>,
        /// Time to the peer and back.
        pub round_trip_ms: Option<f64>,
        /// Datagrams sent on the present path.
        pub sent_datagrams: Option<u64>,
        /// Those that were lost.
        pub lost_datagrams: Option<u64>,
        /// Bytes sent, with all that the protocol adds.
        pub sent_bytes: Option<u64>,
        /// Bytes received.
        pub received_bytes: Option<u64>,
        /// Its clock less ours when the link began, in seconds.
        pub clock_offset_s: Option<f64>,
        /// Its certificate is good until then; its host issues the next one before that.
        pub certificate_until: Option<Stamp>,
        /// The protocol that is spoken.
        pub protocol: Option<String>,
        /// The program's version there.
        pub version: Option<String>,
        /// Links after the first one since this host started.
        pub reconnects: u64,
        /// Why the last link ended.
        pub last_end: Option<String>,
        /// Why the last try to make one failed.
        pub last_failure: Option<String>,
    }

    /// An invitation, without its secret.
    pub struct TicketView {
        /// Its id.
        pub id: String,
        /// What whoever uses it becomes.
        pub role: String,
        /// `trusted` or `test`.
        pub trust: String,
        /// What an operator may do.
        pub rights: String,
        /// What it will be called.
        pub name: Option<HostName>,
        /// Nobody has to approve.
        pub pre_approved: bool,
        /// How often it can be used.
        pub uses: u32,
        /// How often it was.
        pub used: u32,
        /// Tries with a wrong secret.
        pub wrong: u32,
        /// When it was made.
        pub made: Stamp,
        /// By whom.
        pub by: String,
        /// It runs out then.
        pub until: Stamp,
        /// `open`, `used`, `expired`, `burnt` or `revoked`.
        pub state: String,
    }

    /// What came of joining.
    pub struct JoinView {
        /// What the other host is called.
        pub host: HostName,
        /// Its key.
        pub host_id: HostId,
        /// What this host is called there.
        pub name: HostName,
        /// What it is there.
        pub role: String,
        /// What it may build for.
        pub trust: String,
        /// Nobody has to approve any more.
        pub approved: bool,
        /// It belonged to that farm before, and the invitation was not used.
        pub already: bool,
        /// Five words: the same on both screens.
        pub words: String,
    }

    /// Something that a host built and that was published.
    pub struct MadeView {
        /// The job.
        pub job: JobId,
        /// Which try.
        pub try_no: u32,
        /// The recipe.
        pub recipe: RecipeName,
        /// Its version.
        pub version: String,
        /// Its release.
        pub release: u64,
        /// When it was given to that host.
        pub assigned: Stamp,
    }

    /// This host's own key.
    pub struct CertView {
        /// SHA-256 of its public key.
        pub id: HostId,
        /// What it calls itself.
        pub name: HostName,
        /// Five words of this key alone.
        pub words: String,
        /// The key with check digits.
        pub grouped: String,
        /// Where other hosts reach it.
        pub addresses: Vec<String>,
        /// All of it in one line for `massif cert trust`.
        pub card: String,
    }
}
