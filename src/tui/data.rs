//! What the dashboard knows of the farm: one snapshot, kept up by changes. It never forgets how old it is.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::admin::SCHEMA;
use crate::admin::view::{
    BuilderView, CertView, EventView, JobState, JobView, LinkView, PeerView, ProfileView,
    StatusView, TicketView,
};
use crate::fault::Fault;
use crate::id::{JobId, Now, Seq, Stamp};

/// Events that are kept for the Events view; older ones are read from the host.
pub const EVENTS_KEPT: usize = 5_000;
/// Jobs that are held: far more than a farm has open, so that a host that answers nonsense cannot fill the memory.
pub const JOBS_KEPT: usize = 200_000;
/// A host says that it lives at least every 10 s: after this long without a word the data is old.
pub const QUIET_MS: u64 = 13_000;

/// Where the connection stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Link {
    /// Nothing was heard yet.
    Connecting,
    /// Changes come as they happen.
    Live,
    /// The host does not answer.
    Lost {
        /// Since when, on the monotonic clock.
        since_ms: u64,
        /// Why.
        why: String,
        /// When it is tried again.
        again_ms: u64,
    },
}

/// Events that nobody can tell us any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The last event before it.
    pub after: Seq,
    /// The first event behind it.
    pub before: Seq,
}

/// What the connection brings.
#[derive(Debug)]
pub enum News {
    /// It works, or will.
    Link(Link),
    /// It does not work; it is tried again after a pause.
    Lost {
        /// Why.
        why: String,
        /// The pause.
        pause_ms: u64,
    },
    /// The host's page.
    Status(Box<StatusView>),
    /// A whole reading of the jobs begins.
    ReadingBegins,
    /// Jobs as they are now.
    Jobs(Vec<JobView>),
    /// The reading is complete: what it did not bring is gone.
    ReadingEnds,
    /// All builders as they are now.
    Builders(Vec<BuilderView>),
    /// Who belongs to the farm.
    Peers {
        /// Hosts and operators with their links.
        peers: Vec<PeerView>,
        /// Invitations.
        tickets: Vec<TicketView>,
        /// The host's own card, once.
        card: Option<Box<CertView>>,
    },
    /// Build targets.
    Profiles(Vec<ProfileView>),
    /// What happened.
    Events {
        /// In order.
        events: Vec<EventView>,
        /// Some before these are lost.
        gap: bool,
        /// The last that is accounted for.
        seq: Seq,
    },
    /// The answer to a question.
    Answer {
        /// Which question.
        ticket: u64,
        /// The answer.
        result: Result<super::ask::Reply, Fault>,
    },
}

#[derive(Debug, Clone)]
struct Held {
    view: Arc<JobView>,
    reading: u32,
}

/// Everything that is known.
#[derive(Debug, Clone)]
pub struct Data {
    /// Where the connection stands.
    pub link: Link,
    /// The host's page.
    pub status: Option<Arc<StatusView>>,
    jobs: BTreeMap<JobId, Held>,
    reading: u32,
    /// All jobs were read once.
    pub whole: bool,
    /// By name, then id.
    pub builders: Vec<Arc<BuilderView>>,
    /// The builders were read once.
    pub builders_known: bool,
    /// Hosts and operators, by name.
    pub peers: Vec<Arc<PeerView>>,
    /// Invitations, the newest first.
    pub tickets: Vec<Arc<TicketView>>,
    /// The peers were read once.
    pub peers_known: bool,
    /// The host's own card.
    pub card: Option<Arc<CertView>>,
    /// Build targets.
    pub profiles: Vec<ProfileView>,
    /// The oldest first.
    pub events: VecDeque<Arc<EventView>>,
    /// The last gap in the events.
    pub gap: Option<Gap>,
    /// The last event that is accounted for.
    pub seq: Seq,
    /// When the host said something last, on the monotonic clock.
    pub heard_ms: Option<u64>,
    /// The same on the wall clock.
    pub heard: Option<Stamp>,
    /// What the host's clock is ahead of ours.
    pub ahead_ms: i64,
    /// Rises with every change.
    pub revision: u64,
}

impl Default for Data {
    fn default() -> Data {
        Data {
            link: Link::Connecting,
            status: None,
            jobs: BTreeMap::new(),
            reading: 0,
            whole: false,
            builders: Vec::new(),
            builders_known: false,
            peers: Vec::new(),
            tickets: Vec::new(),
            peers_known: false,
            card: None,
            profiles: Vec::new(),
            events: VecDeque::new(),
            gap: None,
            seq: Seq(0),
            heard_ms: None,
            heard: None,
            ahead_ms: 0,
            revision: 0,
        }
    }
}

impl Data {
    /// Takes what the connection brings; answers are the pages' business.
    pub fn hear(&mut self, news: News, now: Now) {
        let from_host = !matches!(
            news,
            News::Link(_) | News::Lost { .. } | News::Answer { .. }
        );
        match news {
            News::Link(link) => {
                if let Link::Live = link {
                    self.heard_ms = Some(now.mono_ms);
                    self.heard = Some(now.wall);
                }
                self.link = link;
            }
            News::Lost { why, pause_ms } => {
                let since_ms = match self.link {
                    Link::Lost { since_ms, .. } => since_ms,
                    Link::Connecting | Link::Live => now.mono_ms,
                };
                self.link = Link::Lost {
                    since_ms,
                    why,
                    again_ms: now.mono_ms + pause_ms,
                };
            }
            News::Status(status) => {
                self.ahead_ms = status.time.0 - now.wall.0;
                self.status = Some(Arc::new(*status));
            }
            News::ReadingBegins => self.reading = self.reading.wrapping_add(1),
            News::Jobs(jobs) => {
                for job in jobs {
                    if self.jobs.len() < JOBS_KEPT || self.jobs.contains_key(&job.id) {
                        let reading = self.reading;
                        let view = Arc::new(job);
                        self.jobs.insert(view.id, Held { view, reading });
                    }
                }
            }
            News::ReadingEnds => {
                let reading = self.reading;
                self.jobs.retain(|_, held| held.reading == reading);
                self.whole = true;
            }
            News::Builders(mut builders) => {
                builders.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
                self.builders = builders.into_iter().map(Arc::new).collect();
                self.builders_known = true;
            }
            News::Peers {
                mut peers,
                tickets,
                card,
            } => {
                peers.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
                self.peers = peers.into_iter().map(Arc::new).collect();
                self.tickets = tickets.into_iter().map(Arc::new).collect();
                self.card = card.map(Arc::from).or(self.card.take());
                self.peers_known = true;
            }
            News::Profiles(profiles) => self.profiles = profiles,
            News::Events { events, gap, seq } => self.take_events(events, gap, seq),
            News::Answer { .. } => return,
        }
        if from_host {
            self.heard_ms = Some(now.mono_ms);
            self.heard = Some(now.wall);
        }
        self.revision += 1;
    }

    fn take_events(&mut self, events: Vec<EventView>, gap: bool, seq: Seq) {
        let first = events.first().map(|event| event.seq);
        let holes = first.is_some_and(|first| self.seq.0 > 0 && first.0 > self.seq.0 + 1);
        if gap || holes {
            let before = first.unwrap_or(Seq(seq.0 + 1));
            self.gap = Some(Gap {
                after: self.seq,
                before,
            });
        }
        if seq < self.seq {
            // Another store serves now: what we had is not its past.
            self.events.clear();
        }
        let last = self.events.back().map_or(Seq(0), |event| event.seq);
        for event in events.into_iter().filter(|event| event.seq > last) {
            self.events.push_back(Arc::new(event));
        }
        let over = self.events.len().saturating_sub(EVENTS_KEPT);
        self.events.drain(..over);
        self.seq = seq;
    }

    /// All jobs by number.
    pub fn jobs(&self) -> impl DoubleEndedIterator<Item = &Arc<JobView>> {
        self.jobs.values().map(|held| &held.view)
    }

    /// One job.
    pub fn job(&self, id: JobId) -> Option<&Arc<JobView>> {
        self.jobs.get(&id).map(|held| &held.view)
    }

    /// How many jobs are known.
    pub fn jobs_known(&self) -> usize {
        self.jobs.len()
    }

    /// One builder.
    pub fn builder(&self, name: &str) -> Option<&Arc<BuilderView>> {
        self.builders
            .iter()
            .find(|builder| builder.name.as_str() == name)
    }

    /// The link to a builder; `None`: it is this host, or nobody told.
    pub fn link_of(&self, builder: &BuilderView) -> Option<&LinkView> {
        let peer = self.peers.iter().find(|peer| peer.id == builder.id)?;
        Some(&peer.link)
    }

    /// Those that joined and wait for approval.
    pub fn requests(&self) -> impl Iterator<Item = &Arc<PeerView>> {
        self.peers.iter().filter(|peer| peer.state == "waiting")
    }

    /// One event.
    pub fn event(&self, seq: Seq) -> Option<&Arc<EventView>> {
        let at = self.events.partition_point(|event| event.seq < seq);
        self.events.get(at).filter(|event| event.seq == seq)
    }

    /// Jobs in this state: what the host counts, else what we have.
    pub fn count(&self, state: JobState) -> u64 {
        match &self.status {
            Some(status) => status.jobs.get(state.as_str()).copied().unwrap_or(0),
            None => self.jobs().filter(|job| job.state == state).count() as u64,
        }
    }

    /// The host's time.
    pub fn host_time(&self, now: Now) -> Stamp {
        Stamp(now.wall.0.saturating_add(self.ahead_ms))
    }

    /// Seconds since the host said something; `None`: it never did.
    pub fn age_s(&self, now: Now) -> Option<f64> {
        let heard = self.heard_ms?;
        Some(now.mono_ms.saturating_sub(heard) as f64 / 1000.0)
    }

    /// Whether what is shown is of now.
    pub fn is_live(&self, now: Now) -> bool {
        let fresh = self
            .heard_ms
            .is_some_and(|heard| now.mono_ms.saturating_sub(heard) <= QUIET_MS);
        self.link == Link::Live && fresh
    }

    /// What the caller may do here, at least to look.
    pub fn right(&self) -> &str {
        self.status
            .as_ref()
            .map_or("view", |status| status.right.as_str())
    }

    /// The host's JSON has another shape than ours.
    pub fn other_schema(&self) -> Option<u32> {
        let schema = self.status.as_ref()?.schema;
        (schema != SCHEMA).then_some(schema)
    }

    /// Publications in each of the last `bins` spans of `each_s` seconds, the oldest first, as far as they are known.
    pub fn throughput(&self, host_now: Stamp, bins: usize, each_s: f64) -> Vec<f64> {
        let mut counts = vec![0.0; bins];
        // Newer jobs end later, more or less: a look at the newest few thousand is enough for the hours shown.
        let recent = self.jobs().rev().take(4_000);
        for job in recent.filter(|job| job.state == JobState::Published) {
            let Some(ended) = job.ended else { continue };
            let ago = host_now.seconds_since(ended).max(0.0);
            let bin = (ago / each_s) as usize;
            if let Some(count) = bins.checked_sub(1 + bin).and_then(|at| counts.get_mut(at)) {
                *count += 1.0;
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Digest;

    fn event(seq: u64) -> EventView {
        EventView {
            seq: Seq(seq),
            at: Stamp(0),
            actor: "farm".into(),
            kind: "planned".into(),
            text: String::new(),
            cause: None,
            job: None,
            try_no: None,
            subject: None,
            hash: Digest([0; 32]),
        }
    }

    fn events(seqs: std::ops::Range<u64>, gap: bool) -> News {
        News::Events {
            seq: Seq(seqs.end - 1),
            events: seqs.map(event).collect(),
            gap,
        }
    }

    #[test]
    fn a_hole_in_the_sequence_is_a_gap_and_said_once() {
        let now = Now {
            wall: Stamp(0),
            mono_ms: 0,
        };
        let mut data = Data::default();
        data.hear(events(5..8, false), now);
        assert_eq!(data.gap, None, "where we begin is no gap");
        data.hear(events(8..9, false), now);
        assert_eq!(data.gap, None);
        data.hear(events(12..14, false), now);
        let gap = Gap {
            after: Seq(8),
            before: Seq(12),
        };
        assert_eq!(data.gap, Some(gap));
        data.hear(events(12..14, false), now);
        assert_eq!(data.events.len(), 6, "repeats are no news");
        assert_eq!(data.event(Seq(12)).map(|event| event.seq), Some(Seq(12)));
        assert!(data.event(Seq(9)).is_none());
        for first in (14..20_000).step_by(1_000) {
            data.hear(events(first..first + 1_000, false), now);
        }
        assert_eq!(data.events.len(), EVENTS_KEPT);
    }

    #[test]
    fn data_grows_old_when_the_host_says_nothing() {
        let at = |mono_ms| Now {
            wall: Stamp(0),
            mono_ms,
        };
        let mut data = Data::default();
        assert!(!data.is_live(at(0)));
        assert_eq!(data.age_s(at(7)), None);
        data.hear(News::Link(Link::Live), at(1_000));
        assert!(data.is_live(at(2_000)));
        assert!(!data.is_live(at(1_001 + QUIET_MS)));
        assert_eq!(data.age_s(at(3_500)), Some(2.5));
    }
}
