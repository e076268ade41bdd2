//! `why THING`: the answer for jobs, recipes, builders, packages, channels and projects.

use super::state::State;
use super::view::wait_word;
use crate::admin::view::{BuilderTestView, ReasonView, WhyView};
use crate::fault::{Fault, Kind, Result, nearest};
use crate::id::JobId;
use crate::model::{Blame, Entry, Job, JobState, Reading};
use crate::plan::{Verdict, Why};

fn empty(thing: &str, kind: &str, state: &str, summary: String) -> WhyView {
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
    }
}

fn reason(kind: &str, text: String, whose: &str, next: &str) -> ReasonView {
    ReasonView {
        kind: kind.into(),
        text,
        have: None,
        need: None,
        whose: whose.into(),
        next: (!next.is_empty()).then(|| next.to_string()),
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

fn fault_reason(kind: &str, fault: &Fault) -> ReasonView {
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
        match job.state {
            JobState::Open => self.why_open(job, &mut view),
            JobState::Building | JobState::Publishing => {
                let attempt = self.farm.attempts_of(job.id).next_back();
                let place = attempt.map_or_else(String::new, |attempt| {
                    let stage = self
                        .progress
                        .get(&attempt.id)
                        .map_or("", |progress| progress.stage.as_str());
                    format!(
                        " by {} (attempt {}) {stage}",
                        self.host_name(&attempt.builder),
                        attempt.id
                    )
                });
                view.summary = format!("{label} is {}{place}", state.as_str());
            }
            JobState::Published => {
                view.summary = format!(
                    "{label} is published; it existed because it was {}",
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
            }
        }
        view
    }

    fn why_open(&self, job: &Job, view: &mut WhyView) {
        let now = crate::actors::now();
        let waits = self.planner.waits_for(&job.target);
        let Some(why): Option<Why> = self.schedule.explain(job.id, &waits, now) else {
            view.summary = format!("{} is about to be decided about", view.thing);
            return;
        };
        if let Some(until) = job.not_before.filter(|until| *until > now.wall) {
            let text = format!(
                "it is tried again in {:.0} s",
                until.seconds_since(now.wall)
            );
            view.reasons.push(reason(
                "back_off",
                text,
                "farm",
                &format!("massif job retry {}", job.id),
            ));
        }
        for given in why.reasons {
            let known = view.reasons.iter().any(|reason| reason.text == given.text);
            if !known {
                view.reasons.push(reason(
                    wait_word(given.kind),
                    given.text,
                    "farm",
                    &given.next,
                ));
            }
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
                        whose: "builder".into(),
                        next: None,
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
        view.cheapest = why.cheapest;
        view.summary = match view.reasons.first() {
            Some(first) => format!("{} waits: {}", view.thing, first.text),
            None => why.headline,
        };
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
        if let Some(job) = self.newest_job(project, entry) {
            return self.why_job(job);
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
                if let Some(hold) = self.farm.recipe_holds.get(&(project.clone(), name.clone())) {
                    let text = format!("held by {}: {}", hold.owner, hold.reason);
                    view.reasons.push(reason(
                        "hold",
                        text,
                        "operator",
                        &format!("massif build {name}"),
                    ));
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

    fn why_builder(&self, name: &str) -> Result<WhyView> {
        let id = self.locate_builder(name)?;
        let builder = self
            .builder_view(&id)
            .ok_or_else(|| Fault::bug("a builder is gone"))?;
        let busy = builder
            .slots
            .iter()
            .filter(|slot| slot.job.is_some())
            .count();
        let summary = format!(
            "builder {} is {}, {busy} of {} slots are busy",
            builder.name,
            builder.verdict,
            builder.slots.len()
        );
        let mut view = empty(builder.name.as_str(), "builder", &builder.verdict, summary);
        view.reasons = builder
            .evidence
            .iter()
            .map(|line| reason("health", line.clone(), "builder", ""))
            .collect();
        Ok(view)
    }

    fn why_project(&self, name: &str) -> Result<WhyView> {
        let name = self.locate_project(name)?;
        let project = self.project_view(&name)?;
        let state = if project.fault.is_some() {
            "unreachable"
        } else {
            "watched"
        };
        let summary = format!(
            "project {name}: {} recipes, {} faulty",
            project.recipes, project.faulty
        );
        let mut view = empty(name.as_str(), "project", state, summary);
        if let Some(fault) = self.project_fault(&name) {
            view.reasons.push(fault_reason("intake", fault));
        }
        if let Some(text) = project.confirm {
            view.reasons
                .push(reason("confirm", text, "operator", "massif build --all"));
        }
        Ok(view)
    }

    fn why_channel(&self, name: &str) -> Option<WhyView> {
        let (_, channel) = self
            .channels
            .iter()
            .find(|(known, _)| known.as_str() == name)?;
        let newest = &channel.steps.last()?.version;
        let summary = format!(
            "channel {name} is at version {}: {}",
            newest.id, newest.cause
        );
        Some(empty(name, "channel", "served", summary))
    }

    fn why_package(&self, name: &str) -> Option<WhyView> {
        for (channel, state) in &self.channels {
            for profile in self
                .farm
                .profiles
                .values()
                .filter(|profile| profile.channel == *channel)
            {
                let found = state.packages.get(profile.arch, name).cloned();
                if let Some(package) = found {
                    let summary = format!(
                        "package {name} {}-{}-{} in {channel} was made from recipe {}",
                        package.meta.version,
                        package.meta.release,
                        package.meta.build_release,
                        package.source
                    );
                    return Some(empty(name, "package", "published", summary));
                }
            }
        }
        None
    }
}
