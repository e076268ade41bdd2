//! Which jobs should exist and which should not: recipes as they are now beside the jobs that are there.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::state::State;
use crate::id::JobId;
use crate::model::{Because, Event, Job, JobState, Reading, Target, Who};

impl State {
    /// What makes jobs that should exist and ends those that should not; jobs have no numbers yet.
    pub fn wanted_events(&self) -> Vec<(Who, Event)> {
        let mut events = Vec::new();
        for wanted in self.planner.jobs_wanted() {
            let target = &wanted.target;
            let Some(project) = self.farm.projects.get(&target.project) else {
                continue;
            };
            if !project.builds_all
                || self
                    .farm
                    .recipe_holds
                    .contains_key(&(target.project.clone(), target.recipe.clone()))
            {
                continue;
            }
            let settled = self.farm.newest(target).is_some_and(|job| {
                let row = self.planner.recipe(&target.project, &target.recipe);
                row.is_some_and(|row| row.entry.is_of(job.tree))
                    && job.release == wanted.release
                    && job.state != JobState::Superseded
                    && job.state != JobState::Published
            });
            if !settled && let Some(event) = self.planned(target, wanted.because.clone()) {
                events.push((Who::Farm, event));
            }
        }
        for id in &self.open {
            if let Some(why) = self.unwanted(*id) {
                events.push((Who::Farm, Event::Unwanted { job: *id, why }));
            }
        }
        let planned: BTreeSet<Target> = events
            .iter()
            .filter_map(|(_, event)| match event {
                Event::Planned { target, .. } => Some(target.clone()),
                _ => None,
            })
            .collect();
        let mut stale: Vec<&Arc<Job>> = self
            .farm
            .newest_jobs()
            .filter(|job| self.is_stale(job) && !planned.contains(&job.target))
            .collect();
        stale.sort_by_key(|job| job.id);
        for job in stale {
            let because = match &job.because {
                Because::Asked { .. } => None,
                _ => self.planner.because_of(&job.target),
            };
            let because = because.unwrap_or_else(|| job.because.clone());
            events.extend(
                self.planned(&job.target, because)
                    .map(|event| (Who::Farm, event)),
            );
        }
        events
    }

    /// Why a job of a recipe that changed or went away is of no use.
    fn unwanted(&self, id: JobId) -> Option<String> {
        let job = self.farm.jobs.get(&id)?;
        let (project, recipe) = (&job.target.project, &job.target.recipe);
        if !self.catalogs.contains_key(project) {
            let gone = !self.farm.projects.contains_key(project);
            return gone.then(|| "its project was removed".into());
        }
        let profile = &job.target.profile;
        if self.farm.layers.contains_key(profile) && !self.planner.is_built(&job.target) {
            return Some(format!("it is not chosen for {profile} any more"));
        }
        match self.planner.recipe(project, recipe) {
            None => Some("the recipe is gone from the repository".into()),
            Some(row) => row
                .fault()
                .map(|fault| format!("the recipe cannot be read any more: {}", fault.what)),
        }
    }

    /// Whether a job that is not published was made from another text of its recipe than the repository has now. What is being
    /// published is published first. A commit that brings the manifest of a build, as is the custom after one, changes no text.
    fn is_stale(&self, job: &Job) -> bool {
        let target = &job.target;
        let row = self.planner.recipe(&target.project, &target.recipe);
        let pending = matches!(
            job.state,
            JobState::Open | JobState::Building | JobState::Failed
        );
        pending
            && self.catalogs.contains_key(&target.project)
            && self.farm.profiles.contains_key(&target.profile)
            && row.is_some_and(|row| row.facts().is_some() && !row.entry.is_of(job.tree))
            && !self
                .farm
                .recipe_holds
                .contains_key(&(target.project.clone(), target.recipe.clone()))
    }

    /// The event that makes a job for a recipe as it is now; its number is settled by `number`.
    pub fn planned(&self, target: &Target, because: Because) -> Option<Event> {
        let catalog = self.catalogs.get(&target.project)?;
        let entry = catalog
            .entries
            .iter()
            .find(|entry| *entry.name() == target.recipe)?;
        let Reading::Good(facts) = &entry.reading else {
            return None;
        };
        let next = self
            .args
            .channels
            .borrow()
            .next_build_release(&facts.name, facts.release);
        Some(Event::Planned {
            job: JobId(0),
            target: target.clone(),
            version: facts.version.clone(),
            release: facts.release,
            build_release: next,
            commit: catalog.commit,
            dir: entry.dir.clone(),
            tree: entry.text,
            because,
        })
    }
}
