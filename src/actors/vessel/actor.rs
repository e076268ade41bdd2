//! vessel's message loop: long work goes to blocking tasks and comes back as messages, everything else to the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::sync::Semaphore;

use super::check::{self, Checked};
use super::engine::{Admission, Engine};
use super::fetch;
use super::rows::Ended;
use super::{
    Arguments, Changed, Examined, Fetched, Message, Offer, Source, Taken, Told, Tried, Unfetched,
    Verified, examine,
};
use crate::actors::{kill_point, now};
use crate::fault::{Fault, Kind, Result};
use crate::id::{AttemptId, ChannelName, HostId};
use crate::limit;
use crate::model::proof::is_comparison;
use crate::model::{Artefact, Expectation, Say, Who};
use crate::store::Blobs;

/// The actor.
pub struct Vessel;

/// The actor's state.
pub struct State {
    /// Away while a blocking task works with it; never between two messages.
    engine: Option<Engine>,
    arguments: Arguments,
    /// Offers that are being fetched.
    fetching: BTreeSet<AttemptId>,
    permits: Arc<Semaphore>,
    /// Of each builder: one that sends slowly, or nothing, keeps no other waiting.
    permits_of: BTreeMap<HostId, Arc<Semaphore>>,
    /// What will be offered to be held against what is published: by whom, and against which attempt. Lost with the
    /// process; summit gives such a comparison up after a while.
    examining: BTreeMap<AttemptId, (HostId, AttemptId)>,
    /// What is kept and not published until summit says so. Lost with the process; summit says it again.
    staging: BTreeMap<AttemptId, Expectation>,
    /// One comparison at a time, beside what is published.
    one: Arc<Semaphore>,
    /// What is said once the files are served.
    unsaid: Vec<Told>,
    /// Whether a `Settle` is on its way.
    is_settling: bool,
}

impl Actor for Vessel {
    type Msg = Message;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        arguments: Arguments,
    ) -> std::result::Result<State, ActorProcessingErr> {
        let start = arguments.clone();
        let engine =
            tokio::task::spawn_blocking(move || Engine::open(&start.dir, start.store, start.blobs))
                .await??;
        let mut state = State {
            engine: Some(engine),
            arguments,
            fetching: BTreeSet::new(),
            permits: Arc::new(Semaphore::new(limit::FETCHES_MAX)),
            permits_of: BTreeMap::new(),
            examining: BTreeMap::new(),
            staging: BTreeMap::new(),
            one: Arc::new(Semaphore::new(1)),
            unsaid: Vec::new(),
            is_settling: false,
        };
        state.settle(&myself)?;
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> std::result::Result<(), ActorProcessingErr> {
        state.take(&myself, message).await?;
        state.settle(&myself)
    }
}

/// Sends an answer; nobody listening any more is fine: the deed is done and can be asked for.
fn answer<T: Send + 'static>(reply: RpcReplyPort<T>, value: T) {
    if reply.send(value).is_err() {
        tracing::debug!("an answer of vessel came too late");
    }
}

/// A message to vessel itself; when it is gone its next start reads the rows.
fn remind(myself: &ActorRef<Message>, message: Message) {
    if myself.cast(message).is_err() {
        tracing::debug!("vessel has ended meanwhile");
    }
}

impl State {
    async fn take(
        &mut self,
        myself: &ActorRef<Message>,
        message: Message,
    ) -> std::result::Result<(), ActorProcessingErr> {
        let at = now().wall;
        match message {
            Message::Open(channel, arch, reply) => {
                let opened = self
                    .work(move |engine| {
                        let newest = engine.open_channel(&channel, arch, at)?;
                        engine.served().map(|()| newest)
                    })
                    .await?;
                answer(reply, opened);
            }
            Message::Expect(expected) => self.expect(myself, expected).await?,
            Message::Stage(expected) => self.stage(*expected).await?,
            Message::Examine {
                attempt,
                builder,
                publication,
            } => {
                self.examining.insert(attempt, (builder, publication));
            }
            Message::Examined(examined) => self.examined(myself, *examined).await?,
            Message::Forget(attempt) if is_comparison(attempt.job) => {
                self.examining.remove(&attempt);
                self.drop_evidence(myself, attempt).await?;
            }
            Message::Forget(attempt) => {
                self.staging.remove(&attempt);
                let forgotten = self.work(move |engine| engine.forget(attempt)).await?;
                if let Err(fault) = forgotten {
                    tracing::warn!("attempt {attempt} is still expected: {fault}");
                }
                if self.engine()?.is_kept(attempt)? {
                    self.drop_evidence(myself, attempt).await?;
                }
            }
            Message::Offer(offer) => self.offer(myself, offer)?,
            Message::Fetched(fetched) => self.fetched(myself, *fetched).await?,
            Message::Kept(fetched) => self.kept(myself, *fetched).await?,
            Message::Artefacts(attempt, reply) => {
                answer(reply, self.engine()?.artefacts(attempt));
            }
            Message::Import {
                channel,
                files,
                by,
                reply,
            } => self.import(myself, channel, files, by, reply),
            Message::Taken(taken) => {
                let Taken {
                    channel,
                    by,
                    packages,
                    reply,
                } = *taken;
                let done = self
                    .work(move |engine| {
                        let changed = engine.import(&channel, &packages?, by, at)?;
                        engine.served().map(|()| changed)
                    })
                    .await?;
                answer(reply, done);
            }
            Message::RollBack {
                channel,
                to,
                by,
                reply,
            } => {
                let done = self
                    .work(move |engine| {
                        let changed = engine.roll_back(&channel, to, by, at)?;
                        engine.served().map(|()| changed)
                    })
                    .await?;
                answer(reply, done);
            }
            Message::Verify(channel, reply) => self.verify(&channel, reply)?,
            Message::Settle => {
                self.is_settling = false;
                self.work(Engine::serve_all).await?;
            }
        }
        Ok(())
    }

    fn engine(&self) -> std::result::Result<&Engine, ActorProcessingErr> {
        let engine = self.engine.as_ref();
        engine.ok_or_else(|| Fault::bug("vessel lost its engine").into())
    }

    /// Lets the engine work where it may block. A panic in there ends the actor, and its next start reads the rows.
    async fn work<T: Send + 'static>(
        &mut self,
        deed: impl FnOnce(&mut Engine) -> T + Send + 'static,
    ) -> std::result::Result<T, ActorProcessingErr> {
        let lost = || Fault::bug("vessel lost its engine");
        let mut engine = self.engine.take().ok_or_else(lost)?;
        let (engine, done) = tokio::task::spawn_blocking(move || {
            let done = deed(&mut engine);
            (engine, done)
        })
        .await?;
        self.engine = Some(engine);
        Ok(done)
    }

    /// Shows what is known now, says what can be said, and sees to it that what failed is tried again.
    fn settle(
        &mut self,
        myself: &ActorRef<Message>,
    ) -> std::result::Result<(), ActorProcessingErr> {
        let engine = self.engine()?;
        let view = engine.view();
        let is_served = engine.served().is_ok();
        // Readers plan again when they are woken, so they are woken only by news.
        self.arguments.view.send_if_modified(|seen| {
            let is_news = !seen.is_same(&view);
            if is_news {
                *seen = view;
            }
            is_news
        });
        if is_served {
            for told in std::mem::take(&mut self.unsaid) {
                kill_point("vessel:before-tell");
                (self.arguments.tell)(told);
            }
        } else if !self.is_settling {
            self.is_settling = true;
            // The handle is of no use: a vessel that ends needs no reminder.
            drop(myself.send_after(retry(), || Message::Settle));
        }
        Ok(())
    }

    fn say_end(&mut self, attempt: AttemptId, builder: Option<HostId>, ended: Ended) {
        let say = match ended {
            Ended::Published { channel, version } => Say::Published {
                attempt,
                channel,
                version,
            },
            Ended::Rejected { blame, why } => Say::Rejected {
                attempt,
                blame,
                why,
            },
        };
        self.unsaid.push(Told::Summit(say));
        if let Some(builder) = builder {
            let receipt = Say::Receipt { attempt };
            self.unsaid.push(Told::Builder(builder, receipt));
        }
    }

    async fn expect(
        &mut self,
        myself: &ActorRef<Message>,
        expected: Box<Expectation>,
    ) -> std::result::Result<(), ActorProcessingErr> {
        let (attempt, builder) = (expected.attempt, expected.builder);
        let wanted = (*expected).clone();
        match self.work(move |engine| engine.expect(wanted)).await? {
            Ok(None) => {
                self.staging.remove(&attempt);
                let kept = self.engine()?.artefacts(attempt)?;
                if !kept.is_empty() {
                    // All of it is here, so nothing is read from there: its builder need not be.
                    let from = Source::Local(self.arguments.dir.clone());
                    let offer = Offer {
                        attempt,
                        builder,
                        artefacts: kept,
                        from,
                    };
                    self.offer(myself, offer)?;
                }
            }
            Ok(Some(ended)) => self.say_end(attempt, None, ended),
            Err(fault) => {
                tracing::warn!("cannot record what attempt {attempt} may publish: {fault}");
                drop(myself.send_after(retry(), || Message::Expect(expected)));
            }
        }
        Ok(())
    }

    /// What this attempt offers is kept, and published when it is expected.
    async fn stage(
        &mut self,
        expected: Expectation,
    ) -> std::result::Result<(), ActorProcessingErr> {
        let attempt = expected.attempt;
        match self.work(move |engine| engine.unexpect(attempt)).await? {
            Ok(Some(ended)) => {
                self.say_end(attempt, None, ended);
                return Ok(());
            }
            Ok(None) => {}
            Err(fault) => {
                // Summit says it again.
                tracing::warn!("attempt {attempt} is not kept yet: {fault}");
                return Ok(());
            }
        }
        let is_earlier = |id: &AttemptId| id.job == attempt.job && id.try_no < attempt.try_no;
        self.staging.retain(|id, _| !is_earlier(id));
        self.staging.insert(attempt, expected);
        if !self.engine()?.artefacts(attempt)?.is_empty() {
            self.unsaid.push(Told::Summit(Say::Staged { attempt }));
        }
        Ok(())
    }

    /// What is to be kept was fetched and checked.
    async fn kept(
        &mut self,
        myself: &ActorRef<Message>,
        fetched: Fetched,
    ) -> std::result::Result<(), ActorProcessingErr> {
        let Tried { offer, result } = fetched;
        let (attempt, builder) = (offer.attempt, offer.builder);
        self.fetching.remove(&attempt);
        let Some(expected) = self.staging.get(&attempt).cloned() else {
            // It may be published by now, or is not wanted any more: it is looked at anew.
            remind(myself, Message::Offer(offer));
            return Ok(());
        };
        let artefacts = offer.artefacts.clone();
        let done = match result {
            Ok(_) => {
                let keep = move |engine: &mut Engine| engine.keep(attempt, &artefacts);
                self.work(keep).await?.map(|()| None)
            }
            Err(Unfetched::Final(fault)) => {
                let reject = move |engine: &mut Engine| {
                    engine.expect(expected)?;
                    engine.reject(attempt, builder, &[], fault).map(Some)
                };
                self.work(reject).await?
            }
            Err(Unfetched::Later(fault)) => Err(fault),
        };
        match done {
            Ok(None) => self.unsaid.push(Told::Summit(Say::Staged { attempt })),
            Ok(Some(Admission::Over(ended))) => {
                self.staging.remove(&attempt);
                self.say_end(attempt, Some(builder), ended);
            }
            Ok(Some(Admission::Unexpected | Admission::Expected(_))) => {
                let say = Say::Unexpected { attempt };
                self.unsaid.push(Told::Builder(builder, say));
            }
            Err(fault) => {
                tracing::warn!("attempt {attempt} is not kept yet: {fault}");
                drop(myself.send_after(retry(), move || Message::Offer(offer)));
            }
        }
        Ok(())
    }

    fn offer(
        &mut self,
        myself: &ActorRef<Message>,
        offer: Offer,
    ) -> std::result::Result<(), ActorProcessingErr> {
        let (attempt, builder) = (offer.attempt, offer.builder);
        if self.fetching.contains(&attempt) {
            return Ok(());
        }
        if is_comparison(attempt.job) {
            return self.examine(myself, offer);
        }
        let staged = self.staging.get(&attempt);
        let staged = staged.filter(|expected| expected.builder == builder);
        let keeps = staged.is_some();
        let admission = match staged {
            Some(expected) => Admission::Expected(expected.clone()),
            None => self.engine()?.admit(attempt, builder)?,
        };
        match admission {
            Admission::Over(ended) => self.say_end(attempt, Some(builder), ended),
            Admission::Unexpected => {
                let say = Say::Unexpected { attempt };
                self.unsaid.push(Told::Builder(builder, say));
            }
            // What was published before is answered above: trust that was lost since does not undo it.
            Admission::Expected(_) if !(self.arguments.trusts)(&builder) => {
                // Nothing of it is fetched. The job goes to a builder that may publish.
                let what = format!("builder {} may not publish", builder.short());
                let why = Fault::new(Kind::NotPermitted, what)
                    .next("approve it with --trust trusted, or let another builder do it");
                let blame = crate::model::Blame::Builder;
                self.unsaid.push(Told::Summit(Say::Rejected {
                    attempt,
                    blame,
                    why,
                }));
                let say = Say::Unexpected { attempt };
                self.unsaid.push(Told::Builder(builder, say));
            }
            Admission::Expected(_) if keeps && self.engine()?.is_kept(attempt)? => {
                self.unsaid.push(Told::Summit(Say::Staged { attempt }));
            }
            Admission::Expected(expected) => {
                let fetch = move |blobs: &Blobs, offer: &Offer| {
                    fetch_and_check(blobs, &expected, &offer.artefacts, &offer.from)
                };
                let permits = self.permits.clone();
                let tell = match keeps {
                    true => Message::Kept,
                    false => Message::Fetched,
                };
                self.begin(myself, permits, offer, fetch, tell);
            }
        }
        Ok(())
    }

    /// What was built again is fetched and held against what is published; it goes nowhere.
    fn examine(
        &mut self,
        myself: &ActorRef<Message>,
        offer: Offer,
    ) -> std::result::Result<(), ActorProcessingErr> {
        let (attempt, builder) = (offer.attempt, offer.builder);
        let known = self.examining.get(&attempt).copied();
        let Some((_, publication)) = known.filter(|(expected, _)| *expected == builder) else {
            let say = Say::Unexpected { attempt };
            self.unsaid.push(Told::Builder(builder, say));
            return Ok(());
        };
        let published = self.engine()?.artefacts(publication)?;
        let compare = move |blobs: &Blobs, offer: &Offer| {
            examine::examine(blobs, &offer.from, &published, &offer.artefacts)
        };
        let one = self.one.clone();
        self.begin(myself, one, offer, compare, Message::Examined);
        Ok(())
    }

    /// Fetches an offer where that may block, as soon as there is a permit of its builder's and one of all; vessel hears what
    /// came of it.
    fn begin<T: Send + 'static>(
        &mut self,
        myself: &ActorRef<Message>,
        permits: Arc<Semaphore>,
        offer: Offer,
        fetch: impl FnOnce(&Blobs, &Offer) -> T + Send + 'static,
        tell: fn(Box<Tried<T>>) -> Message,
    ) {
        let attempt = offer.attempt;
        self.fetching.insert(attempt);
        let of_builder = self
            .permits_of
            .entry(offer.builder)
            .or_insert_with(|| Arc::new(Semaphore::new(limit::FETCHES_OF_BUILDER_MAX)))
            .clone();
        let (blobs, myself) = (self.arguments.blobs.clone(), myself.clone());
        tokio::spawn(async move {
            // Only a closed semaphore gives none, and nobody closes these.
            let _of_builder = of_builder.acquire_owned().await;
            let _of_all = permits.acquire_owned().await;
            let fetch = move || {
                let result = fetch(&blobs, &offer);
                Tried { offer, result }
            };
            match tokio::task::spawn_blocking(fetch).await {
                Ok(tried) => remind(&myself, tell(Box::new(tried))),
                Err(error) => tracing::error!("fetching {attempt} broke off: {error}"),
            }
        });
    }

    /// Forgets what a comparison kept, when nothing is being fetched that could rely on the same bytes.
    async fn drop_evidence(
        &mut self,
        myself: &ActorRef<Message>,
        attempt: AttemptId,
    ) -> std::result::Result<(), ActorProcessingErr> {
        if !self.fetching.is_empty() {
            drop(myself.send_after(retry(), move || Message::Forget(attempt)));
            return Ok(());
        }
        let dropped = self
            .work(move |engine| engine.drop_evidence(attempt))
            .await?;
        if let Err(fault) = dropped {
            tracing::warn!("what differed in {attempt} is not forgotten: {fault}");
        }
        Ok(())
    }

    async fn examined(
        &mut self,
        myself: &ActorRef<Message>,
        examined: Examined,
    ) -> std::result::Result<(), ActorProcessingErr> {
        let Tried { offer, result } = examined;
        let (attempt, builder) = (offer.attempt, offer.builder);
        self.fetching.remove(&attempt);
        if !self.examining.contains_key(&attempt) {
            return Ok(());
        }
        let say = match result {
            Ok(report) => {
                let evidence = report.evidence.clone();
                // Another offer that is being fetched may have found the same bytes here and rely on them.
                let unneeded = match self.fetching.is_empty() {
                    true => report.unneeded,
                    false => Vec::new(),
                };
                let kept = self
                    .work(move |engine| {
                        engine.keep(attempt, &evidence)?;
                        engine.drop_blobs(&unneeded)
                    })
                    .await?;
                if let Err(fault) = kept {
                    tracing::warn!("what differs in {attempt} is not kept: {fault}");
                }
                Say::Examined {
                    attempt,
                    finding: Box::new(report.finding),
                    evidence: report.evidence,
                }
            }
            Err(why) if matches!(why.kind, Kind::Builder | Kind::Recipe) => Say::Rejected {
                attempt,
                blame: crate::model::Blame::Builder,
                why,
            },
            Err(fault) => {
                tracing::warn!("attempt {attempt} is not compared yet: {fault}");
                drop(myself.send_after(retry(), move || Message::Offer(offer)));
                return Ok(());
            }
        };
        self.examining.remove(&attempt);
        self.unsaid.push(Told::Summit(say));
        let receipt = Say::Receipt { attempt };
        self.unsaid.push(Told::Builder(builder, receipt));
        Ok(())
    }

    async fn fetched(
        &mut self,
        myself: &ActorRef<Message>,
        fetched: Fetched,
    ) -> std::result::Result<(), ActorProcessingErr> {
        let Tried { offer, result } = fetched;
        let (attempt, builder) = (offer.attempt, offer.builder);
        self.fetching.remove(&attempt);
        let at = now().wall;
        let files = offer.artefacts.clone();
        let done = match result {
            Ok(packages) => {
                self.work(move |engine| engine.publish(attempt, builder, &files, &packages, at))
                    .await?
            }
            Err(Unfetched::Final(fault)) => {
                // What was not fetched is no artefact that anybody could ask for.
                self.work(move |engine| engine.reject(attempt, builder, &[], fault))
                    .await?
            }
            Err(Unfetched::Later(fault)) => Err(fault),
        };
        match done {
            Ok(Admission::Over(ended)) => self.say_end(attempt, Some(builder), ended),
            Ok(Admission::Unexpected | Admission::Expected(_)) => {
                let say = Say::Unexpected { attempt };
                self.unsaid.push(Told::Builder(builder, say));
            }
            Err(fault) => {
                tracing::warn!("attempt {attempt} is not published yet: {fault}");
                drop(myself.send_after(retry(), move || Message::Offer(offer)));
            }
        }
        Ok(())
    }

    fn import(
        &self,
        myself: &ActorRef<Message>,
        channel: ChannelName,
        files: Vec<PathBuf>,
        by: Who,
        reply: RpcReplyPort<Result<Changed>>,
    ) {
        let blobs = self.arguments.blobs.clone();
        let myself = myself.clone();
        tokio::task::spawn_blocking(move || {
            let packages = take_and_check(&blobs, &files);
            let taken = Taken {
                channel,
                by,
                packages,
                reply,
            };
            remind(&myself, Message::Taken(Box::new(taken)));
        });
    }

    fn verify(
        &self,
        channel: &ChannelName,
        reply: RpcReplyPort<Result<Verified>>,
    ) -> std::result::Result<(), ActorProcessingErr> {
        match self.engine()?.to_verify(channel) {
            Err(fault) => answer(reply, Err(fault)),
            Ok((shelf, state, needed)) => {
                tokio::task::spawn_blocking(move || answer(reply, shelf.verify(&state, &needed)));
            }
        }
        Ok(())
    }
}

fn retry() -> Duration {
    Duration::from_secs(limit::VESSEL_RETRY_S)
}

fn fetch_and_check(
    blobs: &Blobs,
    expected: &Expectation,
    artefacts: &[Artefact],
    from: &Source,
) -> std::result::Result<Vec<Checked>, Unfetched> {
    fetch::fetch(blobs, from, artefacts).map_err(|fault| match fault.kind {
        Kind::Builder | Kind::Recipe => Unfetched::Final(fault),
        _ => Unfetched::Later(fault),
    })?;
    kill_point("vessel:after-fetch");
    let checked = check::check_offer(blobs, expected, artefacts).map_err(Unfetched::Final)?;
    kill_point("vessel:after-check");
    Ok(checked)
}

/// Files that are made durable together.
const TAKEN_AT_ONCE: usize = 32;

fn take_and_check(blobs: &Blobs, files: &[PathBuf]) -> Result<Vec<Checked>> {
    if files.is_empty() {
        return Err(Fault::new(Kind::Usage, "no package file to import")
            .next("name one or more .stone files"));
    }
    let total = files.len() as u64;
    let work = crate::actors::work::Working::begin("package_import", "files", Some(total));
    let mut packages = Vec::with_capacity(files.len());
    for some in files.chunks(TAKEN_AT_ONCE) {
        for (file, blob) in some.iter().zip(fetch::take(blobs, some)?) {
            packages.push(check::check_file(blobs, blob, &file.display().to_string())?);
            work.at(packages.len() as u64, total);
        }
    }
    Ok(packages)
}
