//! The connection to the host that keeps the snapshot fresh: changes as they happen, and what no change tells of. It comes
//! back by itself, and says when it cannot. Questions of pages go another way: `asking`.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::app::Wants;
use super::data::{Link, News};
use crate::admin::view::JobState;
use crate::admin::{host, summit};
use crate::fault::{Fault, Kind, Result};
use crate::id::{JobId, Seq};
use crate::limit;
use crate::net::admin::Client;

/// Makes a connection: to a socket here, or to a host afar.
pub type Connect =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Client>> + Send>> + Send + Sync>;

/// Events that are asked for at the start, so that there is a past to look at.
const PAST_EVENTS: u64 = 1_000;
/// Changes are collected for this long before they are asked for together.
const GATHER: Duration = Duration::from_millis(200);
/// What is on the screen is asked for again this often: waiting has reasons that no event tells of.
const VISIBLE: Duration = Duration::from_secs(2);
/// Builders that nobody looks at.
const BUILDERS_UNSEEN: Duration = Duration::from_secs(10);
/// Everything is read again this often, in case a change was told by no event.
const READ_AGAIN: Duration = Duration::from_secs(60);
/// After an event that may have moved many jobs.
const READ_SOON: Duration = Duration::from_secs(3);
/// Pauses between two tries to connect, in seconds.
const PAUSES: [u64; 5] = [1, 1, 2, 3, 5];
/// Jobs of final states that are read: the newest pages.
pub(super) const OVER_PAGES: usize = 2;

/// Jobs that are not over, and those that failed: all of them are read.
pub(super) const OPEN: [JobState; 5] = [
    JobState::Building,
    JobState::Publishing,
    JobState::Ready,
    JobState::Waiting,
    JobState::Failed,
];

/// Where news go to, with the time of this process.
pub type Teller = mpsc::Sender<News>;

/// Keeps the snapshot fresh until nobody listens any more.
pub async fn run(connect: Connect, tell: Teller, wants: watch::Receiver<Wants>) {
    let mut tries = 0;
    loop {
        let fault = match follow(&connect, &tell, &wants, &mut tries).await {
            Ok(()) => return,
            Err(fault) => fault,
        };
        let pause = PAUSES.get(tries).copied().unwrap_or(5);
        tries = (tries + 1).min(PAUSES.len());
        let lost = News::Lost {
            why: fault.to_string(),
            pause_ms: pause * 1_000,
        };
        if tell.send(lost).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_secs(pause)).await;
    }
}

/// One life of the connection; `Ok` when nobody listens any more.
async fn follow(
    connect: &Connect,
    tell: &Teller,
    wants: &watch::Receiver<Wants>,
    tries: &mut usize,
) -> Result<()> {
    let mut client = connect().await?;
    let status = client.call(&host::Status {}).await?.status;
    let since = Seq(status.seq.0.saturating_sub(PAST_EVENTS));
    let mut listener = Keeper::new(client, tell);
    listener.send(News::Status(Box::new(status))).await;
    let watching = connect().await?;
    let ask = host::Watch {
        since: Some(since),
        limit: Some(500),
    };
    let mut events = watching.stream(&ask).await?;
    listener.send(News::Link(Link::Live)).await;
    *tries = 0;
    listener.builders().await?;
    listener.peers().await?;
    listener.read_all().await?;
    let mut wants = wants.clone();
    let mut tick = tokio::time::interval(GATHER);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        if listener.gone {
            return Ok(());
        }
        tokio::select! {
            page = events.next() => match page? {
                Some(page) => listener.events(page).await,
                None => return Err(Fault::new(Kind::Unreachable, "the host ended the stream of events")),
            },
            changed = wants.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                listener.visible_at = None;
            }
            _ = tick.tick() => {
                let wanted = wants.borrow_and_update().clone();
                listener.beat(&wanted).await?;
            }
        }
    }
}

/// Keeps the snapshot fresh over one connection.
struct Keeper {
    client: Client,
    tell: Teller,
    changed: BTreeSet<JobId>,
    read_at: Option<Instant>,
    builders_at: Option<Instant>,
    peers_at: Option<Instant>,
    /// The host's own card does not change.
    card_known: bool,
    visible_at: Option<Instant>,
    status_at: Option<Instant>,
    gone: bool,
}

fn is_due(at: Option<Instant>, every: Duration) -> bool {
    at.is_none_or(|at| at.elapsed() >= every)
}

impl Keeper {
    fn new(client: Client, tell: &Teller) -> Keeper {
        Keeper {
            client,
            tell: tell.clone(),
            changed: BTreeSet::new(),
            read_at: None,
            builders_at: None,
            peers_at: None,
            card_known: false,
            visible_at: None,
            status_at: None,
            gone: false,
        }
    }

    async fn send(&mut self, news: News) {
        self.gone |= self.tell.send(news).await.is_err();
    }

    async fn events(&mut self, page: host::Events) {
        for event in &page.events {
            match event.job {
                Some(job) => {
                    self.changed.insert(job);
                }
                // What is about no job may be about many.
                None => self.read_soon(),
            }
            if event.kind == "published" {
                self.read_soon();
            }
        }
        if !page.events.is_empty() {
            self.status_at = None;
        }
        if page.gap {
            self.read_at = None;
        }
        self.send(News::Events {
            events: page.events,
            gap: page.gap,
            seq: page.seq,
        })
        .await;
    }

    /// Reads everything again in a moment, unless that is to come anyway.
    fn read_soon(&mut self) {
        let soon = READ_AGAIN.saturating_sub(READ_SOON);
        if let Some(at) = self.read_at
            && at.elapsed() < soon
            && let Some(earlier) = Instant::now().checked_sub(soon)
        {
            self.read_at = Some(earlier);
        }
    }

    async fn beat(&mut self, wants: &Wants) -> Result<()> {
        if is_due(self.visible_at, VISIBLE) {
            self.changed.extend(wants.jobs.iter().copied());
            self.visible_at = Some(Instant::now());
        }
        if !self.changed.is_empty() {
            let jobs: Vec<JobId> = std::mem::take(&mut self.changed).into_iter().collect();
            for jobs in jobs.chunks(limit::ADMIN_PAGE_ROWS_MAX) {
                let ask = summit::JobsShow {
                    jobs: jobs.to_vec(),
                };
                let page = self.client.call(&ask).await?;
                self.send(News::Jobs(page.jobs)).await;
            }
        }
        if is_due(self.status_at, VISIBLE) {
            self.status_at = Some(Instant::now());
            let status = self.client.call(&host::Status {}).await?.status;
            self.send(News::Status(Box::new(status))).await;
        }
        let every = if wants.builders || wants.peers {
            VISIBLE
        } else {
            BUILDERS_UNSEEN
        };
        if is_due(self.builders_at, every) {
            self.builders().await?;
        }
        if is_due(self.peers_at, every) {
            self.peers().await?;
        }
        if is_due(self.read_at, READ_AGAIN) {
            self.read_all().await?;
        }
        Ok(())
    }

    async fn builders(&mut self) -> Result<()> {
        self.builders_at = Some(Instant::now());
        let builders = self.client.call(&summit::BuilderList {}).await?.builders;
        self.send(News::Builders(builders)).await;
        Ok(())
    }

    /// Who belongs to the farm, with the links. A host that does not tell is no reason to stop.
    async fn peers(&mut self) -> Result<()> {
        self.peers_at = Some(Instant::now());
        let peers = match self.client.call(&host::PeerList {}).await {
            Ok(answer) => answer.peers,
            Err(fault) if fault.kind == Kind::Unreachable => return Err(fault),
            Err(_) => return Ok(()),
        };
        let tickets = self.client.call(&host::TicketList {}).await;
        let tickets = tickets.map(|answer| answer.tickets).unwrap_or_default();
        let mut card = None;
        if !self.card_known {
            card = self.client.call(&host::CertShow {}).await.ok();
            self.card_known = card.is_some();
        }
        let card = card.map(|answer| Box::new(answer.cert));
        self.send(News::Peers {
            peers,
            tickets,
            card,
        })
        .await;
        Ok(())
    }

    /// Reads all jobs that are open or failed, and the newest of the others.
    async fn read_all(&mut self) -> Result<()> {
        self.read_at = Some(Instant::now());
        if let Ok(answer) = self.client.call(&summit::ProfileList {}).await {
            self.send(News::Profiles(answer.profiles)).await;
        }
        self.send(News::ReadingBegins).await;
        let all = [
            (Vec::new(), OVER_PAGES),
            (
                OPEN.to_vec(),
                super::data::JOBS_KEPT / limit::ADMIN_PAGE_ROWS_MAX,
            ),
        ];
        for (states, pages) in all {
            let mut after = None;
            for _ in 0..pages {
                let ask = summit::JobList {
                    states: states.clone(),
                    recipe: None,
                    project: None,
                    after,
                    limit: Some(u32::try_from(limit::ADMIN_PAGE_ROWS_MAX).unwrap_or(u32::MAX)),
                };
                let page = self.client.call(&ask).await?;
                self.send(News::Jobs(page.jobs)).await;
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            // Fewer than a page in all: the open ones were among them.
            if after.is_none() && states.is_empty() {
                break;
            }
        }
        self.send(News::ReadingEnds).await;
        Ok(())
    }
}

/// Reads the whole snapshot once.
///
/// # Errors
///
/// The host cannot be asked.
pub async fn snapshot(connect: &Connect, tell: &Teller) -> Result<()> {
    let mut client = connect().await?;
    let status = client.call(&host::Status {}).await?.status;
    let since = Seq(status.seq.0.saturating_sub(PAST_EVENTS));
    let ask = host::Watch {
        since: Some(since),
        limit: Some(u32::try_from(PAST_EVENTS).unwrap_or(u32::MAX)),
    };
    let events = client.call(&ask).await?;
    let mut keeper = Keeper::new(client, tell);
    keeper.send(News::Status(Box::new(status))).await;
    keeper.send(News::Link(Link::Live)).await;
    keeper.events(events).await;
    keeper.builders().await?;
    keeper.peers().await?;
    keeper.read_all().await
}
