//! `why` of what is no job: builders, projects, channels and packages.

use super::state::State;
use super::why::{empty, fault_reason, reason};
use crate::admin::view::{BuilderView, ReasonView, WhyView};
use crate::fault::{Fault, Result};
use crate::id::{HostId, RecipeName};
use crate::model::{Hold, Job, JobState, Who};
use crate::plan::Verdict;

/// Ready jobs that are looked at to say why a builder has none of them.
const READY_LOOKED_AT: usize = 50;
/// Things of one kind that are named.
const NAMED: usize = 5;

/// A stop on a builder: what it is called, and the verb that ends it.
fn stopped((what, verb): (&str, &str), hold: &Hold, builder: &str) -> ReasonView {
    let by_farm = hold.owner == Who::Farm;
    let next = match by_farm {
        true => format!(
            "it is tested with a known-good recipe; massif builder {verb} {builder} ends it at once"
        ),
        false => format!("massif builder {verb} {builder}"),
    };
    let text = format!("{what} by {}: {}", hold.owner, hold.reason);
    let whose = if by_farm { "farm" } else { "operator" };
    reason("hold", text, whose, &next)
}

impl State {
    pub(super) fn why_builder(&self, name: &str) -> Result<WhyView> {
        let id = self.locate_builder(name)?;
        let builder = self
            .builder_view(&id)
            .ok_or_else(|| Fault::bug("a builder is gone"))?;
        let slots = builder.slots.len();
        let busy = builder.slots.iter().filter(|slot| slot.job.is_some());
        let busy = busy.count();
        let summary = format!(
            "builder {} is {}, {busy} of {slots} slots are busy",
            builder.name, builder.verdict
        );
        let mut view = empty(builder.name.as_str(), "builder", &builder.verdict, summary);
        view.reasons = self.why_it_takes_nothing(&id, &builder);
        let health = builder.evidence.iter();
        view.reasons
            .extend(health.map(|line| reason("health", line.clone(), "builder", "")));
        if busy < slots && builder.verdict == "fit" {
            view.reasons.extend(self.why_idle(builder.name.as_str()));
        }
        let stops = ["hold", "away", "leaving"];
        let first = view.reasons.first();
        if let Some(first) = first.filter(|first| stops.contains(&first.kind.as_str())) {
            view.cheapest.clone_from(&first.next);
        }
        Ok(view)
    }

    /// Who stopped it, and whether it is there at all.
    fn why_it_takes_nothing(&self, id: &HostId, builder: &BuilderView) -> Vec<ReasonView> {
        let mut reasons = Vec::new();
        if builder.verdict == "away" {
            let silent = builder.last_heard_s.unwrap_or_default();
            let text = format!("nothing was heard of it for {silent:.0} s");
            let next = format!(
                "see that massif runs there, and what `massif peer show {}` says of its link",
                builder.name
            );
            reasons.push(reason("away", text, "builder", &next));
        }
        if let Some(stop) = self.farm.builder_stops.get(id) {
            let name = builder.name.as_str();
            let drain = stop.drain.iter();
            reasons.extend(drain.map(|hold| stopped(("draining", "resume"), hold, name)));
            let quarantine = stop.quarantine.iter();
            reasons.extend(quarantine.map(|hold| stopped(("quarantine", "release"), hold, name)));
        }
        let leaving = self.builders.get(id);
        if let Some(why) = leaving.and_then(|known| known.report.leaving.as_ref()) {
            let text = format!("it is leaving: {why}");
            reasons.push(reason("leaving", text, "builder", "start it again there"));
        }
        reasons
    }

    /// Why a builder that takes work has none: what is ready may not run there, or nothing is ready.
    fn why_idle(&self, name: &str) -> Vec<ReasonView> {
        let now = crate::actors::now();
        let open = self.open.iter().filter_map(|id| self.farm.jobs.get(id));
        let is_ready = |job: &&std::sync::Arc<Job>| {
            job.state == JobState::Open
                && job.hold.is_none()
                && self.schedule.is_ready(job.id) == Some(true)
        };
        let ready: Vec<_> = open.filter(is_ready).take(READY_LOOKED_AT).collect();
        if ready.is_empty() {
            let text = match self.open.len() {
                0 => "no job waits: there is nothing to build".to_owned(),
                waiting => format!("no job is ready; {waiting} are not over, and wait or run"),
            };
            let next = match self.open.is_empty() {
                true => "",
                false => "massif job list says what they wait for",
            };
            return vec![reason("idle", text, "farm", next)];
        }
        let refused = ready.into_iter().filter_map(|job| {
            let why = self.schedule.explain(job.id, &[], now)?;
            let fit = why.builders.into_iter().find(|fit| fit.builder == name)?;
            if fit.verdict == Verdict::Ready || fit.failed.is_empty() {
                return None;
            }
            let failed: Vec<String> = fit
                .failed
                .iter()
                .map(|test| {
                    let word = test.test.as_str();
                    format!("{word}: has {}, needs {}", test.have, test.need)
                })
                .collect();
            let text = format!(
                "job {} {} cannot run here: {}",
                job.id,
                job.target.recipe,
                failed.join("; ")
            );
            let next = format!("massif why {}", job.id);
            Some(reason("job", text, "operator", &next))
        });
        refused.take(NAMED).collect()
    }

    pub(super) fn why_project(&self, name: &str) -> Result<WhyView> {
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

    /// A channel: what is on its way into it, and what is kept out.
    pub(super) fn why_channel(&self, name: &str) -> Option<WhyView> {
        let (_, channel) = self
            .channels
            .iter()
            .find(|(known, _)| known.as_str() == name)?;
        let newest = &channel.steps.last()?.version;
        let mut view = empty(
            name,
            "channel",
            "served",
            format!(
                "channel {name} is at version {}: {}",
                newest.id, newest.cause
            ),
        );
        let into = |job: &Job| {
            let profile = self.farm.profiles.get(&job.target.profile);
            profile.is_some_and(|profile| profile.channel.as_str() == name)
        };
        let open = self.open.iter().filter_map(|id| self.farm.jobs.get(id));
        let open: Vec<_> = open.filter(|job| into(job)).collect();
        for (state, what) in [
            (JobState::Publishing, "is being published"),
            (JobState::Building, "is being built"),
        ] {
            let these = open.iter().filter(|job| job.state == state);
            for job in these.clone().take(NAMED) {
                let text = format!(
                    "job {} {} {}-{} {what}",
                    job.id, job.target.recipe, job.version, job.release
                );
                let next = format!("massif why {}", job.id);
                view.reasons
                    .push(reason(state.as_str(), text, "farm", &next));
            }
            let more = these.count().saturating_sub(NAMED);
            if more > 0 {
                let text = format!("{more} more: each of them {what}");
                view.reasons.push(reason(state.as_str(), text, "farm", ""));
            }
        }
        let wait = open.iter().filter(|job| job.state == JobState::Open);
        let wait = wait.count();
        if wait > 0 {
            let text = match wait {
                1 => "1 job for it waits for something".to_owned(),
                wait => format!("{wait} jobs for it wait for something"),
            };
            view.reasons.push(reason(
                "waiting",
                text,
                "farm",
                "massif job list --state waiting",
            ));
        }
        let holds = self.farm.recipe_holds.iter().take(NAMED);
        view.reasons
            .extend(holds.map(|((_, recipe), hold)| held(recipe, hold)));
        if view.reasons.is_empty() {
            view.summary.push_str("; nothing is on its way into it");
        }
        Some(view)
    }

    /// A package: where it is from, and whether a newer one is on its way.
    pub(super) fn why_package(&self, name: &str) -> Option<WhyView> {
        for (channel, state) in &self.channels {
            for profile in self
                .farm
                .profiles
                .values()
                .filter(|profile| profile.channel == *channel)
            {
                let Some(package) = state.packages.get(profile.arch, name).cloned() else {
                    continue;
                };
                let summary = format!(
                    "package {name} {}-{}-{} in {channel} was made from recipe {}",
                    package.meta.version,
                    package.meta.release,
                    package.meta.build_release,
                    package.source
                );
                let mut view = empty(name, "package", "published", summary);
                view.reasons = self.why_not_newer(&package.source);
                return Some(view);
            }
        }
        None
    }

    /// What is on its way of a recipe, and what keeps it.
    fn why_not_newer(&self, recipe: &RecipeName) -> Vec<ReasonView> {
        let open = self.open.iter().filter_map(|id| self.farm.jobs.get(id));
        let of = open.filter(|job| job.target.recipe == *recipe);
        let mut reasons: Vec<ReasonView> = of
            .map(|job| {
                let (state, waits) = self.standing(job);
                let because = waits
                    .first()
                    .map_or_else(String::new, |wait| format!(": {}", wait.text));
                let text = format!(
                    "job {} of {recipe} {}-{} is {}{because}",
                    job.id,
                    job.version,
                    job.release,
                    state.as_str()
                );
                reason("job", text, "farm", &format!("massif why {}", job.id))
            })
            .collect();
        let holds = self.farm.recipe_holds.iter();
        let holds = holds.filter(|((_, held), _)| held == recipe);
        reasons.extend(holds.map(|((_, recipe), hold)| held(recipe, hold)));
        reasons
    }
}

/// A recipe of which nothing more is built until somebody asks.
fn held(recipe: &RecipeName, hold: &Hold) -> ReasonView {
    let text = format!("{recipe} is held by {}: {}", hold.owner, hold.reason);
    reason("hold", text, "operator", &format!("massif build {recipe}"))
}
