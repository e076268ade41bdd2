//! `io.massif.Host`: the host itself, its events and its store.

use super::view::{
    BackupView, CertView, DoctorView, EventView, JoinView, MadeView, PeerView, StatusView,
    StoreCheckView, TicketView, WorkView,
};
use super::{facts, methods, replies};
use crate::id::{HostName, Seq, Stamp};

replies! {
    /// The host's page.
    pub struct HostStatus {
        /// The page.
        pub status: StatusView,
    }

    /// All checks.
    pub struct Findings {
        /// One row per check.
        pub findings: Vec<DoctorView>,
    }

    /// What happened.
    pub struct Events {
        /// In order; may be empty, as a sign of life.
        pub events: Vec<EventView>,
        /// Events between these and what the caller had are no longer kept.
        pub gap: bool,
        /// The last event that this answer accounts for: ask again from here.
        pub seq: Seq,
        /// Whether more events are there already.
        pub more: bool,
    }

    /// A report on the store.
    pub struct StoreReport {
        /// The report.
        pub report: StoreCheckView,
    }

    /// Long work that goes on.
    pub struct Works {
        /// The oldest first.
        pub works: Vec<WorkView>,
    }

    /// A copy of the store.
    pub struct StoreCopy {
        /// What was written.
        pub backup: BackupView,
    }

    /// An invitation.
    pub struct Invited {
        /// The line to paste: the only place where its secret is.
        pub line: String,
        /// What it is good for.
        pub ticket: TicketView,
    }

    /// Invitations.
    pub struct Tickets {
        /// The newest first.
        pub tickets: Vec<TicketView>,
    }

    /// One invitation.
    pub struct OneTicket {
        /// It.
        pub ticket: TicketView,
    }

    /// What came of joining.
    pub struct Joined {
        /// It.
        pub joined: JoinView,
    }

    /// Other hosts and operators.
    pub struct Peers {
        /// By name.
        pub peers: Vec<PeerView>,
    }

    /// One other host or operator.
    pub struct OnePeer {
        /// It.
        pub peer: PeerView,
    }

    /// A peer that was shut out.
    pub struct Revoked {
        /// It.
        pub peer: PeerView,
        /// What it built that was published, the newest first.
        pub made: Vec<MadeView>,
    }

    /// This host's own key.
    pub struct Cert {
        /// It.
        pub cert: CertView,
    }
}

methods! {
    interface "io.massif.Host"

    /// One page: who this host is, where it can be reached, jobs by state, alarms.
    Status: View {} -> HostStatus;

    /// What is wrong with this machine and how to mend it.
    Doctor: View {} -> Findings;

    /// Events after `since` in their order. With `more`: those, and then each as it happens.
    Watch: View more {
        /// The last event that is known already; null: only what happens from now on.
        since: Option<Seq>,
        /// Rows in one answer at most.
        limit: Option<u32>,
    } -> Events;

    /// Events with their chained hashes, from the oldest that is kept.
    Audit: View {
        /// The last event of the page before; null: from the start.
        after: Option<Seq>,
        /// Rows at most.
        limit: Option<u32>,
        /// Only those that this user, host or part of the farm caused.
        actor: Option<String>,
        /// Only those about this job, recipe, builder, channel, package or project.
        subject: Option<String>,
    } -> Events;

    /// Reads the whole store, every blob and the chain of events.
    StoreCheck: Operate slow {} -> StoreReport;

    /// Writes a copy of the store while the host runs.
    StoreBackup: Admin slow {
        /// A file that does not exist yet; null: one in the state directory's `backups`.
        path: Option<String>,
    } -> StoreCopy;

    /// Makes an invitation for one more builder or operator.
    Invite: Admin {
        /// `avalanche` or `operator`.
        role: String,
        /// What it will be called; null: as it calls itself.
        name: Option<HostName>,
        /// Seconds until it runs out; null: 900.
        ttl_s: Option<u64>,
        /// `trusted` (builds for publication) or `test`; null: trusted.
        trust: Option<String>,
        /// What an operator may do: `view`, `operate` or `admin`; null: view.
        rights: Option<String>,
        /// Nobody has to approve whoever uses it.
        pre_approved: Option<bool>,
        /// How often it can be used; null: once.
        uses: Option<u32>,
        /// Where this host is reached, `HOST:PORT` each; null: where it listens.
        addresses: Option<Vec<String>>,
    } -> Invited;

    /// All invitations that are kept.
    TicketList: View {} -> Tickets;

    /// Takes an invitation back.
    TicketRevoke: Admin {
        /// Its id.
        id: String,
    } -> OneTicket;

    /// Joins the farm of another host with the line that its `Invite` answered.
    Join: Admin {
        /// The line.
        line: String,
    } -> Joined;

    /// Other hosts and operators, with their links.
    PeerList: View {} -> Peers;

    /// One of them.
    PeerShow: View {
        /// Its name, or the beginning of its id.
        name: String,
    } -> OnePeer;

    /// Lets somebody in who joined.
    PeerApprove: Admin {
        /// Its name, or the beginning of its id.
        name: String,
        /// `trusted` or `test`; null: as its invitation said.
        trust: Option<String>,
    } -> OnePeer;

    /// Shuts somebody out for good: links are closed, attempts go elsewhere.
    PeerRevoke: Admin {
        /// Its name, or the beginning of its id.
        name: String,
        /// What it built is listed from then on; null: all of it.
        since: Option<Stamp>,
    } -> Revoked;

    /// Gives somebody another name.
    PeerRename: Admin {
        /// Its name, or the beginning of its id.
        name: String,
        /// The new name.
        to: HostName,
    } -> OnePeer;

    /// This host's key and card.
    CertShow: View {} -> Cert;

    /// Replaces this host's key; the new one is signed by the old, and peers learn it by themselves.
    CertRotate: Admin {
        /// Seconds for which the old key is good beside the new one; null: 30 days.
        overlap_s: Option<u64>,
    } -> Cert;

    /// Trusts the host of a card.
    CertTrust: Admin {
        /// The card.
        card: String,
        /// `avalanche`, `operator` or, on a builder, `summit`.
        role: String,
        /// `trusted` or `test`; null: trusted.
        trust: Option<String>,
        /// What an operator may do; null: view.
        rights: Option<String>,
    } -> OnePeer;

    /// Long work that somebody waits for, with how much of it is done.
    WorkList: View {} -> Works;
}
