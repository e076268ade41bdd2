//! The connection to the host: one for changes as they happen, one that keeps the snapshot fresh, one for questions. It
//! comes back by itself, and says when it cannot.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use tokio::sync::{mpsc, watch};

use super::app::Wants;
use super::ask::{Action, Changed, Found, Piece, Question, Reply, Wanted};
use super::data::{Link, News};
use crate::admin::view::{JobState, PackageView};
use crate::admin::{host, summit, vessel};
use crate::cli::show;
use crate::fault::{Fault, Kind, Result};
use crate::id::{JobId, Seq, VersionId};
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
const OVER_PAGES: usize = 2;

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
                vec![
                    JobState::Building,
                    JobState::Publishing,
                    JobState::Ready,
                    JobState::Waiting,
                    JobState::Failed,
                ],
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

/// Answers questions, one after another, over a connection of their own.
pub async fn answer(
    connect: Connect,
    tell: Teller,
    mut questions: mpsc::Receiver<(u64, Question)>,
) {
    let mut client: Option<Client> = None;
    while let Some((ticket, question)) = questions.recv().await {
        let result = match client.take() {
            Some(mut kept) => match ask(&mut kept, &question).await {
                // The connection may have died since: a question that changes nothing is asked again.
                Err(fault)
                    if fault.kind == Kind::Unreachable && !matches!(question, Question::Act(_)) =>
                {
                    afresh(&connect, &question, &mut client).await
                }
                result => {
                    client = Some(kept);
                    result
                }
            },
            None => afresh(&connect, &question, &mut client).await,
        };
        if let Err(fault) = &result
            && fault.kind == Kind::Unreachable
        {
            client = None;
        }
        if tell.send(News::Answer { ticket, result }).await.is_err() {
            return;
        }
    }
}

async fn afresh(
    connect: &Connect,
    question: &Question,
    client: &mut Option<Client>,
) -> Result<Reply> {
    let mut made = connect().await?;
    let result = ask(&mut made, question).await;
    *client = Some(made);
    result
}

async fn ask(client: &mut Client, question: &Question) -> Result<Reply> {
    let rows = Some(u32::try_from(limit::ADMIN_PAGE_ROWS_MAX).unwrap_or(u32::MAX));
    Ok(match question {
        Question::Job(job) => {
            let job = job.to_string();
            Reply::Job(Box::new(client.call(&summit::JobShow { job }).await?))
        }
        Question::Cone(job) => {
            let job = job.to_string();
            let page = client.call(&summit::JobShow { job: job.clone() }).await?;
            // A tree without its longest way is better than none.
            let cone = client.call(&summit::ConeShow { job }).await;
            Reply::Cone {
                page: Box::new(page),
                cone: cone.ok().map(|answer| Box::new(answer.cone)),
            }
        }
        Question::Past(seq) => Reply::Past(Box::new(past(client, *seq).await?)),
        Question::PastWhy(seq, thing) => {
            let ask = summit::PastWhy {
                at: *seq,
                thing: thing.clone(),
            };
            Reply::Why(Box::new(client.call(&ask).await?.why))
        }
        Question::Run(_) => {
            return Err(Fault::bug("commands are run beside the connection"));
        }
        Question::Why(thing) => {
            let thing = thing.clone();
            Reply::Why(Box::new(client.call(&summit::Why { thing }).await?.why))
        }
        Question::Recipes => {
            let mut recipes = Vec::new();
            let mut after = None;
            loop {
                let ask = summit::RecipeList {
                    project: None,
                    text: None,
                    faulty: None,
                    after,
                    limit: rows,
                };
                let page = client.call(&ask).await?;
                recipes.extend(page.recipes);
                after = page.next;
                if after.is_none() || recipes.len() > limit::RECIPES_MAX {
                    break;
                }
            }
            Reply::Recipes(recipes)
        }
        Question::Recipe(name) => {
            let name = name.clone();
            let shown = client
                .call(&summit::RecipeShow { name: name.clone() })
                .await?;
            let proof = summit::RecipeProofShow { name: name.clone() };
            let ask = summit::RecipeHistory {
                name,
                limit: Some(20),
            };
            // A page without history is better than none.
            let changes = client.call(&ask).await.map(|page| page.changes);
            let proof = client.call(&proof).await.map(|found| found.proof);
            Reply::Recipe {
                recipe: Box::new(shown.recipe),
                detail: shown.detail.map(Box::new),
                changes: changes.unwrap_or_default(),
                proof: proof.ok().map(Box::new),
            }
        }
        Question::Builder(name) => {
            let ask = summit::BuilderProofShow { name: name.clone() };
            // A host that only builds cannot tell, and its page is there all the same.
            let proof = client.call(&ask).await.map(|found| found.proof);
            Reply::Builder(proof.ok().map(Box::new))
        }
        Question::Channels => Reply::Channels(client.call(&vessel::ChannelList {}).await?.channels),
        Question::Channel(name) => {
            let ask = vessel::ChannelVersions {
                channel: name.clone(),
                after: None,
                limit: Some(200),
            };
            let versions = client.call(&ask).await?.versions;
            Reply::Channel {
                versions,
                packages: packages(client, name, None).await?,
            }
        }
        Question::Version {
            channel,
            id,
            parent,
        } => {
            let now = packages(client, channel, Some(*id)).await?;
            let then = match parent {
                Some(parent) => packages(client, channel, Some(*parent)).await?,
                None => Vec::new(),
            };
            Reply::Difference(differences(&then, &now))
        }
        Question::Older(seq) => {
            let since = Seq(seq.0.saturating_sub(501));
            let ask = host::Watch {
                since: Some(since),
                limit: Some(500),
            };
            let mut events = client.call(&ask).await?.events;
            events.retain(|event| event.seq < *seq);
            Reply::Older(events)
        }
        Question::Log {
            job,
            try_no,
            offset,
            bytes,
        } => {
            let ask = summit::JobLog {
                job: job.to_string(),
                try_no: *try_no,
                offset: Some(*offset),
                bytes_max: Some(*bytes),
                base64: Some(true),
            };
            let piece = client.call(&ask).await?;
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(piece.base64.unwrap_or_default())
                .map_err(|error| Fault::bug("a piece of a log is not base64").because(&error))?;
            Reply::Log(Piece {
                offset: piece.offset,
                bytes,
                end: piece.end,
                try_no: piece.try_no,
            })
        }
        Question::Search {
            job,
            try_no,
            pattern,
            offset,
        } => {
            let ask = summit::JobLogSearch {
                job: job.to_string(),
                try_no: *try_no,
                pattern: match pattern {
                    Wanted::Pattern(words) => Some(words.clone()),
                    Wanted::Errors | Wanted::Phases => None,
                },
                phases: Some(*pattern == Wanted::Phases),
                offset: Some(*offset),
            };
            let places = client.call(&ask).await?;
            Reply::Found(Found {
                wanted: pattern.clone(),
                lines: places.lines,
                words: places.words,
                looked: places.looked,
                end: places.end,
            })
        }
        Question::Act(action) => act(client, action).await?,
    })
}

/// The farm as it was: all open and failed jobs, and the newest of the others.
async fn past(client: &mut Client, at: Seq) -> Result<super::ask::Past> {
    let open = vec![
        JobState::Building,
        JobState::Publishing,
        JobState::Ready,
        JobState::Waiting,
        JobState::Failed,
    ];
    let most = super::data::JOBS_KEPT / limit::ADMIN_PAGE_ROWS_MAX;
    let mut view = None;
    let mut jobs = Vec::new();
    for (states, pages) in [(Vec::new(), OVER_PAGES), (open, most)] {
        let mut after = None;
        for _ in 0..pages {
            let ask = summit::PastShow {
                at,
                states: states.clone(),
                after: after.clone(),
                limit: Some(u32::try_from(limit::ADMIN_PAGE_ROWS_MAX).unwrap_or(u32::MAX)),
            };
            let page = client.call(&ask).await?;
            view = view.or(page.past);
            jobs.extend(page.jobs);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        // Fewer than these pages in all: the open ones were among them.
        if after.is_none() {
            break;
        }
    }
    let view = view.ok_or_else(|| Fault::bug("the host told nothing of that moment"))?;
    Ok(super::ask::Past { view, jobs })
}

/// The packages that two versions have otherwise, by name.
fn differences(then: &[PackageView], now: &[PackageView]) -> Vec<Changed> {
    let key = |package: &PackageView| (package.name.clone(), package.arch);
    let said = |package: &PackageView| {
        show::release(&package.version, package.release, package.build_release)
    };
    let before: BTreeMap<_, &PackageView> = then.iter().map(|one| (key(one), one)).collect();
    let after: BTreeMap<_, &PackageView> = now.iter().map(|one| (key(one), one)).collect();
    let archs: BTreeSet<_> = now.iter().chain(then).map(|one| one.arch).collect();
    let all: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let changed = all.into_iter().filter_map(|key| {
        let (old, new) = (before.get(key), after.get(key));
        if old.map(|one| one.sha256) == new.map(|one| one.sha256) {
            return None;
        }
        let (name, arch) = key;
        Some(Changed {
            name: match archs.len() {
                0 | 1 => name.to_string(),
                _ => format!("{name} ({arch})"),
            },
            before: old.map(|one| said(one)),
            after: new.map(|one| said(one)),
        })
    });
    changed.collect()
}

/// Packages of a channel, in its newest version or in another one.
async fn packages(
    client: &mut Client,
    channel: &str,
    version: Option<VersionId>,
) -> Result<Vec<PackageView>> {
    let mut packages = Vec::new();
    let mut after = None;
    loop {
        let ask = vessel::PackageList {
            channel: channel.parse().ok(),
            version,
            text: None,
            after,
            limit: Some(u32::try_from(limit::ADMIN_PAGE_ROWS_MAX).unwrap_or(u32::MAX)),
        };
        let page = client.call(&ask).await?;
        packages.extend(page.packages);
        after = page.next;
        if after.is_none() || packages.len() > limit::RECIPES_MAX {
            return Ok(packages);
        }
    }
}

/// Does something, and says in a sentence what came of it.
async fn act(client: &mut Client, action: &Action) -> Result<Reply> {
    let said = |job: crate::admin::view::JobView| {
        Reply::Done(format!(
            "job {} ({}) is {}",
            job.id,
            job.recipe,
            job.state.as_str()
        ))
    };
    Ok(match action {
        Action::Retry(job, _) => {
            let job = job.to_string();
            said(client.call(&summit::JobRetry { job }).await?.job)
        }
        Action::Cancel(job, _) => {
            let ask = summit::JobCancel {
                job: job.to_string(),
                reason: None,
            };
            said(client.call(&ask).await?.job)
        }
        Action::Hold { job, reason, .. } => {
            let ask = summit::JobHold {
                job: job.to_string(),
                reason: reason.clone(),
                expires_s: None,
            };
            let job = client.call(&ask).await?.job;
            Reply::Done(format!("job {} ({}) is held", job.id, job.recipe))
        }
        Action::Release(job, _) => {
            let job = job.to_string();
            let job = client.call(&summit::JobRelease { job }).await?.job;
            Reply::Done(format!("job {} ({}) is released", job.id, job.recipe))
        }
        Action::Raise(job, _, by) => {
            let ask = summit::JobRaise {
                job: job.to_string(),
                by: Some(*by),
            };
            let job = client.call(&ask).await?.job;
            Reply::Done(format!(
                "job {} ({}) has priority {:.0}",
                job.id,
                job.recipe,
                job.priority.unwrap_or_default()
            ))
        }
        Action::Build { recipe, rebuild } => {
            let ask = summit::Build {
                names: recipe.iter().cloned().collect(),
                all: Some(recipe.is_none()),
                rebuild: Some(*rebuild),
                profile: None,
            };
            let builds = client.call(&ask).await?.builds;
            Reply::Done(match builds.as_slice() {
                [] => "nothing is missing".to_owned(),
                [one] => one.text.clone(),
                several => format!("{} builds ordered", several.len()),
            })
        }
        Action::Rollback {
            channel,
            to,
            reason,
        } => {
            let ask = vessel::ChannelRollback {
                channel: channel.clone(),
                to: *to,
                reason: Some(reason.clone()).filter(|reason| !reason.is_empty()),
            };
            let version = client.call(&ask).await?.version;
            Reply::Done(format!(
                "{channel} is at version {}, with the content of {to}",
                version.id
            ))
        }
        Action::Drain { builder, reason } => {
            let ask = summit::BuilderDrain {
                name: builder.clone(),
                deadline_s: None,
                reason: Some(reason.clone()).filter(|reason| !reason.is_empty()),
            };
            client.call(&ask).await?;
            Reply::Done(format!("builder {builder} takes no new builds"))
        }
        Action::Quarantine { builder, reason } => {
            let ask = summit::BuilderQuarantine {
                name: builder.clone(),
                reason: Some(reason.clone()).filter(|reason| !reason.is_empty()),
            };
            client.call(&ask).await?;
            Reply::Done(format!("builder {builder} is in quarantine"))
        }
        Action::Resume(builder) => {
            let name = builder.clone();
            client.call(&summit::BuilderResume { name }).await?;
            Reply::Done(format!("builder {builder} takes builds again"))
        }
        Action::ReleaseBuilder(builder) => {
            let name = builder.clone();
            client.call(&summit::BuilderRelease { name }).await?;
            Reply::Done(format!("builder {builder} is released"))
        }
        Action::Approve(peer) => {
            let ask = host::PeerApprove {
                name: peer.clone(),
                trust: None,
            };
            let peer = client.call(&ask).await?.peer;
            Reply::Done(format!(
                "{} belongs to the farm as {}",
                peer.name, peer.role
            ))
        }
        Action::Revoke(peer) => {
            let ask = host::PeerRevoke {
                name: peer.clone(),
                since: None,
            };
            let revoked = client.call(&ask).await?;
            let (name, made) = (&revoked.peer.name, revoked.made.len());
            Reply::Done(format!(
                "{name} is shut out; {made} published builds came from it: massif peer revoke {name} lists them"
            ))
        }
        Action::Rename { peer, to } => {
            let ask = host::PeerRename {
                name: peer.clone(),
                to: to.parse().map_err(|error: crate::id::BadId| {
                    Fault::new(Kind::Usage, error.to_string())
                })?,
            };
            let renamed = client.call(&ask).await?.peer;
            Reply::Done(format!("{peer} is called {} now", renamed.name))
        }
        Action::TakeBack(id) => {
            let ticket = client.call(&host::TicketRevoke { id: id.clone() }).await?;
            Reply::Done(format!("invitation {} is taken back", ticket.ticket.id))
        }
        Action::Run { .. } => return Err(Fault::bug("commands are run beside the connection")),
        Action::Refresh(project) => {
            let name = project.clone();
            client.call(&summit::ProjectRefresh { name }).await?;
            Reply::Done(format!("the repository of {project} is looked at"))
        }
    })
}
