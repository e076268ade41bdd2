//! `why THING`: what it is about, and the answer for jobs and recipes; `why_things` has the others.

use super::state::State;
use super::view::wait_word;
use crate::admin::view::{BuilderTestView, ReasonView, WhyView};
use crate::fault::{Fault, Kind, Result, nearest};
use crate::id::{JobId, Now};
use crate::model::{Blame, Entry, Job, JobState, Reading};
use crate::plan::{Passes, Verdict, WaitKind, Why};

pub(super) fn empty(thing: &str, kind: &str, state: &str, summary: String) -> WhyView {
    WhyView {
        thing: thing.into(),
        kind: kind.into(),
        state: state.into(),
        summary,
        reasons: Vec::new(),
        builders: Vec::new(),
        cheapest: None,
        start_p50_s: None,
        start_p90_s: None,
        end_p50_s: None,
        end_p90_s: None,
        time_limit: None,
        silence_limit: None,
        forecast: None,
    }
}

pub(super) fn reason(kind: &str, text: String, whose: &str, next: &str) -> ReasonView {
    ReasonView {
        kind: kind.into(),
        text,
        have: None,
        need: None,
        whose: whose.into(),
        next: (!next.is_empty()).then(|| next.to_string()),
        lifts_in_s: None,
    }
}

/// Whose move a fault is, in the words of `ReasonView::whose`.
fn whose(kind: Kind) -> &'static str {
    match kind {
        Kind::Recipe => "recipe",
        Kind::Builder => "builder",
        Kind::Network | Kind::Unreachable => "network",
        Kind::Upstream => "upstream",
        Kind::Usage | Kind::Operator | Kind::NotPermitted | Kind::Conflict | Kind::NotFound => {
            "operator"
        }
        Kind::TryAgain | Kind::Bug => "farm",
    }
}

/// A recipe that changed without a higher release: clients would not take what it makes.
fn why_unraised(job: &Job, entry: &Entry) -> Option<ReasonView> {
    let Reading::Good(facts) = &entry.reading else {
        return None;
    };
    let changed = !entry.is_of(job.tree) && facts.release <= job.release;
    (job.state == JobState::Published && changed).then(|| {
        reason(
            "recipe",
            format!(
                "the recipe's directory changed after this was built, and its release is still {}",
                facts.release
            ),
            "recipe",
            &format!(
                "raise the release to {} if what it makes changed, and commit",
                job.release + 1
            ),
        )
    })
}

pub(super) fn fault_reason(kind: &str, fault: &Fault) -> ReasonView {
    let text = Fault {
        next: String::new(),
        ..fault.clone()
    }
    .to_string();
    reason(kind, text, whose(fault.kind), &fault.next)
}

impl State {
    /// All reasons why something is as it is.
    pub fn why(&self, thing: &str) -> Result<WhyView> {
        if let Some((kind, name)) = thing.split_once(':') {
            let found = match kind {
                "job" => Some(self.locate_job(name).map(|job| self.why_job(&job))),
                "recipe" => Some(
                    self.locate_recipe(name)
                        .map(|(project, entry)| self.why_recipe(&project, &entry)),
                ),
                "builder" => Some(
                    self.locate_builder(name)
                        .and_then(|_| self.why_builder(name)),
                ),
                "channel" => Some(self.why_channel(name).ok_or_else(|| self.nothing(name))),
                "package" => Some(self.why_package(name).ok_or_else(|| self.nothing(name))),
                "project" => Some(
                    self.locate_project(name)
                        .and_then(|_| self.why_project(name)),
                ),
                _ => None,
            };
            if let Some(found) = found {
                return found;
            }
        }
        if thing.parse::<JobId>().is_ok() {
            return self.locate_job(thing).map(|job| self.why_job(&job));
        }
        if let Ok((project, entry)) = self.locate_recipe(thing) {
            return Ok(self.why_recipe(&project, &entry));
        }
        if self.locate_builder(thing).is_ok() {
            return self.why_builder(thing);
        }
        if self.locate_project(thing).is_ok() {
            return self.why_project(thing);
        }
        let found = self.why_channel(thing).or_else(|| self.why_package(thing));
        found.ok_or_else(|| self.nothing(thing))
    }

    fn nothing(&self, name: &str) -> Fault {
        let recipes = self
            .catalogs
            .values()
            .flat_map(|catalog| &catalog.entries)
            .map(|entry| entry.name().as_str());
        let builders = self
            .builders
            .values()
            .map(|builder| builder.report.name.as_str());
        let fault = Fault::new(
            Kind::NotFound,
            format!("no job, recipe, builder, project, channel or package is called {name:?}"),
        );
        match nearest(name, recipes.chain(builders)) {
            Some(near) => fault.next(format!("did you mean {near}?")),
            None => fault.next("`massif recipe list` and `massif job list` show what there is"),
        }
    }

    fn why_job(&self, job: &Job) -> WhyView {
        let label = format!(
            "job {} {} {}-{}",
            job.id, job.target.recipe, job.version, job.release
        );
        let (state, _) = self.standing(job);
        let mut view = empty(&label, "job", state.as_str(), String::new());
        if !job.state.is_over() {
            view.time_limit = Some(self.time_limit(&job.target));
            view.silence_limit = Some(super::limits::silence_limit(self.expected(&job.target)));
        }
        match job.state {
            JobState::Open => self.why_open(job, &mut view),
            JobState::Building | JobState::Publishing => {
                let attempt = self.farm.attempts_of(job.id).next_back();
                let place = attempt.map_or_else(String::new, |attempt| {
                    let told = self.progress.get(&attempt.id);
                    let stage = told.map_or_else(String::new, |progress| {
                        format!(", phase {}", progress.stage)
                    });
                    let host = self.host_name(&attempt.builder);
                    format!(" on {host} (attempt {}){stage}", attempt.id)
                });
                view.summary = format!("{label} is {}{place}", state.as_str());
                if let Some(awaited) = self.awaited(job) {
                    view.summary = format!("{label} is built and kept: {}", awaited.text);
                    let told = reason("match", awaited.text, awaited.whose, &awaited.next);
                    view.reasons.push(told);
                }
                let now = crate::actors::now();
                self.foresee(job.id, &mut view, now);
                (view.start_p50_s, view.start_p90_s) = (None, None);
            }
            JobState::Published => {
                view.summary = format!(
                    "{label} is published; why it was built: {}",
                    job.because.text()
                )
            }
            JobState::Cancelled => {
                view.summary = format!(
                    "{label} was cancelled; `massif job retry {}` brings it back",
                    job.id
                )
            }
            JobState::Superseded => {
                view.summary =
                    format!("a newer job took the place of {label}, or nothing needs it any more")
            }
            JobState::Failed => {
                view.summary = format!("{label} failed and is not tried again by itself");
                view.cheapest = Some(format!("massif job retry {}", job.id));
            }
        }
        for attempt in self.farm.attempts_of(job.id) {
            if let crate::model::AttemptState::Ended { blame, fault } = &attempt.state {
                let host = self.host_name(&attempt.builder);
                let text = Fault {
                    next: String::new(),
                    ..fault.clone()
                }
                .to_string();
                let mut told = reason(
                    "attempt",
                    format!("attempt {} on {host}: {text}", attempt.id),
                    blame.as_str(),
                    &fault.next,
                );
                if told.next.is_none() && *blame == Blame::Recipe {
                    told.next = Some(format!(
                        "massif job log {} shows the output; mend the recipe and commit",
                        job.id
                    ));
                }
                view.reasons.push(told);
                let evidence = self.farm.measures.get(&attempt.id);
                if let Some(measures) = evidence.filter(|measures| !measures.evidence.is_empty()) {
                    let text = measures.evidence.join("\n");
                    view.reasons
                        .push(reason("evidence", text, blame.as_str(), ""));
                }
            }
        }
        view
    }

    /// In how many seconds a reason lifts by itself, as the forecast has it.
    fn lifts(&self, of: &Job, kind: WaitKind, job: Option<JobId>, now: Now) -> Option<f64> {
        match (kind, job) {
            (WaitKind::Job, Some(job)) => {
                let forecasts = self.forecasts(now);
                forecasts.of(job).map(|times| times.end_p50_s)
            }
            (WaitKind::Hold, _) => {
                let until = of.hold.as_ref()?.until?;
                Some(until.seconds_since(now.wall).max(0.0))
            }
            _ => None,
        }
    }

    /// Whose move a reason of waiting is.
    fn whose_wait(&self, kind: WaitKind, job: Option<JobId>) -> &'static str {
        match kind {
            WaitKind::FailedJob => {
                let fault = job.and_then(|job| self.farm.jobs.get(&job)?.fault.as_ref());
                fault.map_or("recipe", |fault| whose(fault.kind))
            }
            // Nobody provides it: somebody has to write a recipe, or mend the one that asks for it.
            WaitKind::Dependency => "recipe",
            WaitKind::Recipe
            | WaitKind::Bootstrap
            | WaitKind::Hold
            | WaitKind::Farm
            | WaitKind::NoBuilder
            | WaitKind::NoFit => "operator",
            WaitKind::BuilderAway => "builder",
            WaitKind::Job
            | WaitKind::BackOff
            | WaitKind::Busy
            | WaitKind::Order
            | WaitKind::Reserved
            | WaitKind::Share
            | WaitKind::BetterBuilder => "farm",
        }
    }

    fn why_open(&self, job: &Job, view: &mut WhyView) {
        let now = crate::actors::now();
        let waits = self.planner.waits_for(&job.target);
        let why = self
            .schedule
            .explain_with(job.id, &waits, now, |kind, other| {
                self.lifts(job, kind, other, now)
            });
        let Some(why): Option<Why> = why else {
            view.summary = format!("{} is about to be decided about", view.thing);
            return;
        };
        for given in &why.reasons {
            let mut text = given.text.clone();
            let mut next = given.next.clone();
            if given.kind == WaitKind::BackOff {
                if let Some(fault) = &job.fault {
                    text = format!("{text}: {}", fault.what);
                }
                next = format!("massif job retry {}", job.id);
            }
            let whose = self.whose_wait(given.kind, given.job);
            let mut told = reason(wait_word(given.kind), text, whose, &next);
            told.lifts_in_s = given.lifts_in_s;
            view.reasons.push(told);
        }
        view.builders = why
            .builders
            .into_iter()
            .map(|fit| BuilderTestView {
                verdict: match fit.verdict {
                    Verdict::Decline => "decline",
                    Verdict::Postpone => "postpone",
                    Verdict::Ready | Verdict::Running | Verdict::Done => "fits",
                }
                .into(),
                failed: fit
                    .failed
                    .into_iter()
                    .map(|test| ReasonView {
                        kind: test.test.as_str().into(),
                        text: format!(
                            "{}: has {}, needs {}",
                            test.test.as_str(),
                            test.have,
                            test.need
                        ),
                        have: Some(test.have),
                        need: Some(test.need),
                        whose: match test.passes {
                            Passes::Never => "operator".into(),
                            Passes::Later => "farm".into(),
                        },
                        next: None,
                        lifts_in_s: None,
                    })
                    .collect(),
                builder: fit.builder,
            })
            .collect();
        let seconds = |stamp: crate::id::Stamp| Some(stamp.seconds_since(now.wall));
        if let Some(start) = why.start {
            (view.start_p50_s, view.start_p90_s) = (seconds(start.p50), seconds(start.p90));
        }
        if let Some(end) = why.end {
            (view.end_p50_s, view.end_p90_s) = (seconds(end.p50), seconds(end.p90));
        }
        self.foresee(job.id, view, now);
        view.cheapest = why.cheapest;
        view.summary = match view.reasons.first() {
            Some(first) => format!("{} waits: {}", view.thing, first.text),
            None => why.headline,
        };
    }

    /// What the whole farm's forecast says of a job; it looks through all that the job waits for.
    fn foresee(&self, job: JobId, view: &mut WhyView, now: Now) {
        let forecasts = self.forecasts(now);
        if let Some(times) = forecasts.of(job) {
            view.forecast.clone_from(&forecasts.note);
            (view.start_p50_s, view.start_p90_s) =
                (Some(times.start_p50_s), Some(times.start_p90_s));
            (view.end_p50_s, view.end_p90_s) = (Some(times.end_p50_s), Some(times.end_p90_s));
        }
    }

    fn why_recipe(&self, project: &crate::id::ProjectName, entry: &Entry) -> WhyView {
        if let Reading::Faulty { name, fault } = &entry.reading {
            let mut view = empty(
                name.as_str(),
                "recipe",
                "faulty",
                format!("recipe {name} cannot be read: {}", fault.what),
            );
            view.reasons.push(fault_reason("recipe_fault", fault));
            return view;
        }
        let key = (project.clone(), entry.name().clone());
        let held = self.farm.recipe_holds.get(&key).map(|hold| {
            reason(
                "hold",
                format!("held by {}: {}", hold.owner, hold.reason),
                "operator",
                &format!("massif build {}", entry.name()),
            )
        });
        if let Some(job) = self.newest_job(project, entry) {
            let mut view = self.why_job(job);
            view.reasons.extend(self.why_spared(job));
            view.reasons.extend(why_unraised(job, entry));
            if let Some(held) = held {
                view.summary = format!("{} is not built: {}", entry.name(), held.text);
                view.cheapest = Some(format!("massif build {}", entry.name()));
                view.reasons.insert(0, held);
            }
            return view;
        }
        let name = entry.name();
        let published = self.farm.profiles.keys().find_map(|profile| {
            let (project, recipe) = (project.clone(), name.clone());
            self.published(&crate::model::Target {
                project,
                recipe,
                profile: profile.clone(),
            })
        });
        match published {
            Some(release) => {
                let summary = format!(
                    "{name} {}-{} is published in {}; there is nothing to build",
                    release.version, release.release, release.channel
                );
                empty(name.as_str(), "recipe", "published", summary)
            }
            None => {
                let mut view = empty(
                    name.as_str(),
                    "recipe",
                    "no job",
                    format!("no job exists for {name}"),
                );
                if let Some(held) = held {
                    view.reasons.push(held);
                } else {
                    let text =
                        "the project's first intake was large, so only what is asked for is built"
                            .to_string();
                    view.reasons.push(reason(
                        "confirm",
                        text,
                        "operator",
                        &format!("massif build {name}, or massif build --all"),
                    ));
                }
                view.cheapest = Some(format!("massif build {name}"));
                view
            }
        }
    }

    /// Early cut-off: something that it is built with was built again, and it was not.
    fn why_spared(&self, job: &Job) -> Option<ReasonView> {
        let text = self.planner.spared(&job.target)?;
        let next = format!("massif build {} --rebuild", job.target.recipe);
        Some(reason("spared", text, "farm", &next))
    }
}
