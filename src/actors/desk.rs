//! Answers the admin interface: passes each call to the actor that knows, reads files for those that need them, and
//! streams events. Owns nothing. It is no actor of its own, so that one slow question delays no other.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use ractor::{ActorRef, RpcReplyPort, rpc::CallResult};
use tokio::sync::{broadcast, mpsc, watch};

use super::checks::{doctor_view, links_alarms};
use super::{avalanche, events, logs, post, summit, vessel};
use crate::admin::avalanche::Call as AvalancheCall;
use crate::admin::host::{
    Call as HostCall, Events, Findings, HostStatus, StoreCopy, StoreReport, Works,
};
use crate::admin::summit::{Artefacts, Call as SummitCall, FilePiece, LogPlaces};
use crate::admin::view::{AddressesView, ArtefactView, DoctorView, HostView, StatusView};
use crate::admin::{Call, Caller, Method, Reply, SCHEMA};
use crate::fault::{Fault, Kind, Result};
use crate::id::{AttemptId, HostId, HostName, JobId, Seq};
use crate::limit;
use crate::model::{Artefact, ArtefactKind, AttemptState, Recorded, Role};
use crate::net::admin::{Answer, Piece};
use crate::store::{Blobs, Store, events as log};

/// Most bytes of a log or file in one answer.
pub(super) const PIECE_BYTES_MAX: u64 = 1024 * 1024;
/// A stream says that it lives at least this often.
pub(super) const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// What the desk needs; cheap to clone.
#[derive(Clone)]
pub struct Desk(pub Arc<Inner>);

/// The same, shared.
pub struct Inner {
    /// This host.
    pub own: HostId,
    /// Its name.
    pub name: HostName,
    /// What it is.
    pub roles: Vec<Role>,
    /// The state directory.
    pub dir: PathBuf,
    /// Path of the admin socket.
    pub socket: PathBuf,
    /// Address for other hosts, once bound.
    pub quic: Option<std::net::SocketAddr>,
    /// Address of the package server, once bound.
    pub http: Option<std::net::SocketAddr>,
    /// When it started.
    pub started: std::time::Instant,
    /// Rows.
    pub store: Store,
    /// Blobs.
    pub blobs: Blobs,
    /// Every recorded event.
    pub recorded: broadcast::Sender<Recorded>,
    /// Vessel's channels.
    pub channels: watch::Receiver<vessel::View>,
    /// Other hosts.
    pub links: super::links::Links,
    /// The farm as it was.
    pub past: super::past::Folds,
}

/// Asks an actor, with a deadline.
pub async fn ask<M, T>(name: &'static str, message: impl FnOnce(RpcReplyPort<T>) -> M) -> Result<T>
where
    M: ractor::Message,
    T: Send + 'static,
{
    ask_within(Duration::from_millis(limit::ASK_MS), name, message).await
}

/// The same for what reads every file of something: a call that is `slow` may wait so long.
pub async fn ask_slowly<M, T>(
    name: &'static str,
    message: impl FnOnce(RpcReplyPort<T>) -> M,
) -> Result<T>
where
    M: ractor::Message,
    T: Send + 'static,
{
    ask_within(Duration::from_secs(limit::ADMIN_SLOW_CALL_S), name, message).await
}

async fn ask_within<M, T>(
    within: Duration,
    name: &'static str,
    message: impl FnOnce(RpcReplyPort<T>) -> M,
) -> Result<T>
where
    M: ractor::Message,
    T: Send + 'static,
{
    let absent = || {
        Fault::new(
            Kind::TryAgain,
            format!("{name} is not running on this host"),
        )
        .next("try again in a moment; `massif doctor` says more")
    };
    let actor: ActorRef<M> = post::find(name).ok_or_else(absent)?;
    match actor.call(message, Some(within)).await {
        Ok(CallResult::Success(answer)) => Ok(answer),
        Ok(CallResult::Timeout) => Err(Fault::new(
            Kind::TryAgain,
            format!("{name} did not answer within {} s", within.as_secs()),
        )),
        Ok(CallResult::SenderError) | Err(_) => Err(absent()),
    }
}

fn one<M: Method>(method: &M, reply: &M::Reply) -> Result<Answer> {
    Ok(Answer::One(method.reply(reply)?))
}

impl Desk {
    /// Answers one call. `more`: the caller takes many replies.
    pub async fn handle(self, caller: Caller, call: Call, more: bool) -> Result<Answer> {
        match call {
            Call::Host(call) => self.host(caller, call, more).await,
            Call::Summit(SummitCall::JobLog(wish)) => {
                let attempt = if self.is_summit() {
                    let located = ask(post::names::SUMMIT, |reply| {
                        summit::Msg::Locate(wish.job.clone(), reply)
                    })
                    .await??;
                    choose(&located, wish.try_no)?
                } else {
                    super::owner::attempt(&self.0, &wish.job, wish.try_no).await?
                };
                let piece = logs::Wish {
                    offset: wish.offset,
                    bytes_max: wish.bytes_max,
                    base64: wish.base64 == Some(true),
                };
                self.log(attempt, piece, more, move |piece| wish.reply(piece))
                    .await
            }
            Call::Summit(call) if !self.is_summit() => {
                super::owner::answer(&self.0, &call).await.map(Answer::One)
            }
            Call::Summit(SummitCall::JobLogSearch(wish)) => {
                let located = ask(post::names::SUMMIT, |reply| {
                    summit::Msg::Locate(wish.job.clone(), reply)
                })
                .await??;
                let attempt = choose(&located, wish.try_no)?;
                let over = logs::is_over(attempt).await?;
                let path = avalanche::builder::log_path(&self.0.dir, attempt);
                let search = super::log_search::Search::of(&wish)?;
                let places = blocking(move || search.run(&path, attempt.try_no)).await?;
                let end = over && places.end;
                one(&wish, &LogPlaces { end, ..places })
            }
            Call::Summit(SummitCall::JobArtefacts(wish)) if try_number(&wish.job).is_none() => {
                let located = ask(post::names::SUMMIT, |reply| {
                    summit::Msg::Locate(wish.job.clone(), reply)
                })
                .await??;
                let attempt = match wish.try_no {
                    Some(_) => choose(&located, wish.try_no)?,
                    None => made(&located)?,
                };
                let artefacts = self.artefacts(attempt).await?;
                one(
                    &wish,
                    &Artefacts {
                        artefacts: artefacts
                            .iter()
                            .map(|artefact| artefact_view(artefact, attempt))
                            .collect(),
                    },
                )
            }
            Call::Summit(SummitCall::ArtefactRead(wish)) => {
                let attempt = AttemptId {
                    job: wish.job,
                    try_no: wish.try_no,
                };
                let artefacts = self.artefacts(attempt).await?;
                let found = artefacts
                    .into_iter()
                    .find(|artefact| artefact.name == wish.name);
                let artefact = found.ok_or_else(|| {
                    Fault::new(
                        Kind::NotFound,
                        format!("attempt {attempt} made no file {:?}", wish.name),
                    )
                    .next(format!(
                        "`massif job artefacts {}` lists what it made",
                        wish.job
                    ))
                })?;
                let piece = self
                    .file_piece(artefact, attempt, wish.offset, wish.bytes_max)
                    .await?;
                one(&wish, &piece)
            }
            Call::Summit(SummitCall::RecipeUpload(wish)) => {
                let inner = self.0.clone();
                let (taken, call) = (wish.clone(), wish);
                let have = blocking(move || super::upload::take(&inner, &taken)).await?;
                one(&call, &crate::admin::summit::Uploaded { have })
            }
            Call::Summit(SummitCall::JobArtefacts(wish)) => {
                let job = try_number(&wish.job).unwrap_or(JobId(0));
                let attempt = AttemptId { job, try_no: 1 };
                let artefacts = self.artefacts(attempt).await?;
                let views = artefacts.iter().map(|made| artefact_view(made, attempt));
                one(
                    &wish,
                    &Artefacts {
                        artefacts: views.collect(),
                    },
                )
            }
            Call::Summit(SummitCall::JobShow(wish)) => {
                let call = Box::new(SummitCall::JobShow(wish.clone()));
                let reply = ask(post::names::SUMMIT, |reply| summit::Msg::Ask {
                    caller,
                    call,
                    reply,
                })
                .await??;
                self.with_artefacts(&wish, reply).await
            }
            Call::Summit(call @ (SummitCall::PastShow(_) | SummitCall::PastWhy(_))) => {
                super::past::answer(&self.0, call).await.map(Answer::One)
            }
            Call::Summit(call) => {
                let call = Box::new(call);
                ask(post::names::SUMMIT, |reply| summit::Msg::Ask {
                    caller,
                    call,
                    reply,
                })
                .await?
                .map(Answer::One)
            }
            Call::Avalanche(_) if !self.0.roles.contains(&Role::Avalanche) => Err(Fault::new(
                Kind::NotFound,
                format!("{} is no builder", self.0.name),
            )
            .next("`massif builder list` on summit names those that are")),
            Call::Avalanche(AvalancheCall::Log(wish)) => {
                let attempt = AttemptId {
                    job: wish.job,
                    try_no: wish.try_no,
                };
                let piece = logs::Wish {
                    offset: wish.offset,
                    bytes_max: wish.bytes_max,
                    base64: wish.base64 == Some(true),
                };
                self.log(attempt, piece, more, move |piece| wish.reply(piece))
                    .await
            }
            Call::Avalanche(AvalancheCall::Show(wish)) => {
                let builder = ask(post::names::AVALANCHE, avalanche::Msg::Show).await?;
                one(&wish, &crate::admin::summit::Builder { builder })
            }
            Call::Vessel(call) => super::shop::answer(&self.0, &caller, call)
                .await
                .map(Answer::One),
        }
    }

    pub(super) fn is_summit(&self) -> bool {
        self.0.roles.contains(&Role::Summit)
    }

    async fn host(&self, caller: Caller, call: HostCall, more: bool) -> Result<Answer> {
        if super::links::is_ours(&call) {
            let answered = super::links::answer(&self.0.links, &caller, call).await;
            return answered.map(Answer::One);
        }
        match call {
            HostCall::Status(wish) => one(
                &wish,
                &HostStatus {
                    status: self.status(&caller).await,
                },
            ),
            HostCall::Doctor(wish) => one(
                &wish,
                &Findings {
                    findings: self.doctor().await?,
                },
            ),
            HostCall::Watch(wish) => {
                let limit = wish
                    .limit
                    .map_or(500, |rows| rows as usize)
                    .clamp(1, limit::ADMIN_PAGE_ROWS_MAX);
                let since = match wish.since {
                    Some(since) => since,
                    None => log::Chain::load(&self.0.store)?.seq,
                };
                if more {
                    return Ok(Answer::Stream(self.watch(wish, since, limit)));
                }
                let page = page(&self.0.store, since, limit, |_| true)?;
                one(&wish, &page)
            }
            HostCall::Audit(wish) => {
                let limit = wish
                    .limit
                    .map_or(500, |rows| rows as usize)
                    .clamp(1, limit::ADMIN_PAGE_ROWS_MAX);
                let (actor, subject) = (wish.actor.clone(), wish.subject.clone());
                let page = page(
                    &self.0.store,
                    wish.after.unwrap_or(Seq(0)),
                    limit,
                    |event| {
                        events::is_actor(&event.actor, actor.as_deref())
                            && subject.as_ref().is_none_or(|subject| {
                                event.subject.as_ref() == Some(subject)
                                    || event.job.is_some_and(|job| job.to_string() == *subject)
                            })
                    },
                )?;
                one(&wish, &page)
            }
            HostCall::StoreCheck(wish) => {
                let inner = self.0.clone();
                let report =
                    blocking(move || super::stock::check(&inner.store, &inner.blobs)).await?;
                one(&wish, &StoreReport { report })
            }
            HostCall::WorkList(wish) => one(
                &wish,
                &Works {
                    works: super::work::list(),
                },
            ),
            HostCall::StoreBackup(wish) => {
                let inner = self.0.clone();
                let path = wish.path.clone();
                let backup = blocking(move || super::stock::backup(&inner, path)).await?;
                one(&wish, &StoreCopy { backup })
            }
            _ => Err(Fault::bug("nobody answers this call")),
        }
    }

    async fn status(&self, caller: &Caller) -> StatusView {
        let farm = match ask(post::names::SUMMIT, summit::Msg::Status).await {
            Ok(farm) => farm,
            Err(fault) if self.0.roles.contains(&Role::Summit) => summit::view::FarmStatus {
                alarms: vec![crate::admin::view::AlarmView {
                    kind: "summit_silent".into(),
                    subject: None,
                    text: fault.to_string(),
                    next: fault.next,
                    since: None,
                }],
                ..summit::view::FarmStatus::default()
            },
            Err(_) => super::owner::status(&self.0).await,
        };
        let mut alarms = farm.alarms;
        if let Some(fault) = self.0.store.trouble() {
            let (text, next) = (fault.to_string(), fault.next);
            alarms.insert(
                0,
                crate::admin::view::AlarmView {
                    kind: "store_trouble".into(),
                    subject: None,
                    text,
                    next,
                    since: None,
                },
            );
        }
        alarms.extend(links_alarms(&self.0.links, *self.0.links.farm().borrow()));
        StatusView {
            schema: SCHEMA,
            host: HostView {
                id: self.0.own,
                name: self.0.name.clone(),
                version: env!("CARGO_PKG_VERSION").into(),
                roles: self
                    .0
                    .roles
                    .iter()
                    .map(|role| role.as_str().into())
                    .collect(),
            },
            addresses: AddressesView {
                admin: self.0.socket.display().to_string(),
                quic: self.0.quic.map(|address| address.to_string()),
                http: self.0.http.map(|address| address.to_string()),
            },
            jobs: farm.jobs,
            alarms,
            time: super::now().wall,
            uptime_s: self.0.started.elapsed().as_secs_f64(),
            seq: farm.seq,
            right: caller.right.as_str().into(),
            published_last_hour: farm.published_last_hour,
            end_p50_s: farm.end_s.map(|(likely, _)| likely),
            end_p90_s: farm.end_s.map(|(_, late)| late),
            estimates: farm.estimates,
            critical_path: farm.chain,
        }
    }

    async fn doctor(&self) -> Result<Vec<DoctorView>> {
        let dir = self.0.dir.clone();
        let findings = blocking(move || Ok(crate::build::probe::probe(&dir))).await?;
        let mut all: Vec<DoctorView> = findings.into_iter().map(doctor_view).collect();
        all.extend(
            links_alarms(&self.0.links, None)
                .into_iter()
                .map(|alarm| DoctorView {
                    check: alarm.kind,
                    verdict: "warning".into(),
                    have: alarm.text,
                    need: String::new(),
                    next: alarm.next,
                }),
        );
        Ok(all)
    }

    /// Events after `since`, and then each as it happens. A caller that does not keep up gets the rest from the rows, so
    /// that nothing is left out; one that stops reading stops only itself.
    fn watch(
        &self,
        wish: crate::admin::host::Watch,
        mut since: Seq,
        limit: usize,
    ) -> mpsc::Receiver<Result<Piece>> {
        let (send, receive) = mpsc::channel(4);
        let store = self.0.store.clone();
        let mut recorded = self.0.recorded.subscribe();
        tokio::spawn(async move {
            loop {
                let answer = page(&store, since, limit, |_| true).and_then(|page| {
                    since = page.seq;
                    Ok((page.more, Piece::More(wish.reply(&page)?)))
                });
                let more = matches!(&answer, Ok((true, _)));
                let failed = answer.is_err();
                if send.send(answer.map(|(_, piece)| piece)).await.is_err() || failed {
                    return;
                }
                if !more {
                    // Lagging is no loss: the rows are read from `since` on.
                    let _ = tokio::time::timeout(SIGN_OF_LIFE, recorded.recv()).await;
                    while recorded.try_recv().is_ok() {}
                }
            }
        });
        receive
    }

    async fn artefacts(&self, attempt: AttemptId) -> Result<Vec<Artefact>> {
        // While vessel has not confirmed, the builder has them; afterwards vessel does.
        match ask(post::names::AVALANCHE, |reply| {
            avalanche::Msg::Artefacts(attempt, reply)
        })
        .await
        {
            Ok(Ok(artefacts)) => Ok(artefacts),
            Ok(Err(fault)) if fault.kind == Kind::TryAgain => Err(fault),
            Ok(Err(_)) | Err(_) => super::errands::artefacts(&self.0, attempt).await,
        }
    }

    async fn with_artefacts(
        &self,
        wish: &crate::admin::summit::JobShow,
        reply: Reply,
    ) -> Result<Answer> {
        let Ok(mut page) = serde_json::from_str::<crate::admin::summit::JobPage>(reply.as_json())
        else {
            return Ok(Answer::One(reply));
        };
        let last = page
            .job
            .attempts
            .iter()
            .rev()
            .find(|attempt| attempt.blame.is_none());
        if let Some(try_no) = last.map(|attempt| attempt.try_no) {
            let attempt = AttemptId {
                job: page.job.id,
                try_no,
            };
            // An attempt that made nothing yet has none, which is no failure of the page.
            let artefacts = self.artefacts(attempt).await.unwrap_or_default();
            page.detail.artefacts = artefacts
                .iter()
                .map(|artefact| artefact_view(artefact, attempt))
                .collect();
        }
        one(wish, &page)
    }

    async fn file_piece(
        &self,
        artefact: Artefact,
        attempt: AttemptId,
        offset: u64,
        bytes_max: Option<u32>,
    ) -> Result<FilePiece> {
        let kept = self.0.blobs.path(&artefact.blob.sha256);
        let made = avalanche::builder::out_dir(&self.0.dir, attempt).join(&artefact.name);
        let path = if kept.exists() { kept } else { made };
        let max = bytes_max
            .map_or(PIECE_BYTES_MAX, u64::from)
            .clamp(1, PIECE_BYTES_MAX);
        let bytes = if !path.exists() && !self.0.roles.contains(&Role::Vessel) {
            let links = &self.0.links;
            let piece = links.piece_from_vessel(attempt, artefact.blob, offset, max);
            piece.await?
        } else {
            blocking(move || read_at(&path, offset, max)).await?
        };
        let base64 = base64::engine::general_purpose::STANDARD.encode(bytes);
        Ok(FilePiece {
            offset,
            base64,
            size: artefact.blob.size,
        })
    }
}

/// Work that blocks, on the runtime's threads for that.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Fault::bug("work for a question broke off").because(&error))?
}

/// The number of a try, when the text is one.
fn try_number(text: &str) -> Option<JobId> {
    let job: JobId = text.parse().ok()?;
    summit::tries::is_try(job).then_some(job)
}

/// The attempt of this number, or the last one.
fn choose(located: &summit::lookup::Located, try_no: Option<u32>) -> Result<AttemptId> {
    let found = match try_no {
        Some(try_no) => located
            .attempts
            .iter()
            .find(|attempt| attempt.id.try_no == try_no),
        None => located.attempts.last(),
    };
    found.map(|attempt| attempt.id).ok_or_else(|| {
        let what = match try_no {
            Some(try_no) => format!("job {} has no try {try_no}", located.job.id),
            None => format!("job {} was not tried yet", located.job.id),
        };
        Fault::new(Kind::NotFound, what).next(format!(
            "`massif why {}` says what it waits for",
            located.job.id
        ))
    })
}

/// The last attempt that made something.
fn made(located: &summit::lookup::Located) -> Result<AttemptId> {
    let made = located.attempts.iter().rev().find(|attempt| {
        matches!(
            attempt.state,
            AttemptState::Built | AttemptState::Published { .. }
        )
    });
    made.map(|attempt| attempt.id).ok_or_else(|| {
        Fault::new(
            Kind::NotFound,
            format!("job {} made nothing yet", located.job.id),
        )
        .next(format!(
            "`massif job show {}` says how it stands",
            located.job.id
        ))
    })
}

pub(super) fn artefact_view(artefact: &Artefact, attempt: AttemptId) -> ArtefactView {
    ArtefactView {
        name: artefact.name.clone(),
        kind: match artefact.kind {
            ArtefactKind::Stone => "stone",
            ArtefactKind::ManifestBin => "manifest_bin",
            ArtefactKind::ManifestJson => "manifest_jsonc",
        }
        .into(),
        size: artefact.blob.size,
        sha256: artefact.blob.sha256,
        try_no: attempt.try_no,
    }
}

pub(super) fn read_at(path: &std::path::Path, offset: u64, max: u64) -> Result<Vec<u8>> {
    let failed = |error: &std::io::Error| {
        Fault::new(Kind::Operator, format!("cannot read {}", path.display())).because(error)
    };
    let file = std::fs::File::open(path).map_err(|error| failed(&error))?;
    let size = file.metadata().map_err(|error| failed(&error))?.len();
    let mut bytes = vec![0; usize::try_from(size.saturating_sub(offset).min(max)).unwrap_or(0)];
    file.read_exact_at(&mut bytes, offset)
        .map_err(|error| failed(&error))?;
    Ok(bytes)
}

fn page(
    store: &Store,
    since: Seq,
    limit: usize,
    wanted: impl Fn(&crate::admin::view::EventView) -> bool,
) -> Result<Events> {
    let mut found = Vec::new();
    let (mut seq, mut more) = (since, false);
    let names = events::Names::load(store);
    for row in log::after(store, since) {
        let row = row?;
        if found.len() == limit {
            more = true;
            break;
        }
        seq = row.seq;
        let event = events::view(&row, &names);
        if wanted(&event) {
            found.push(event);
        }
    }
    Ok(Events {
        events: found,
        gap: false,
        seq,
        more,
    })
}
