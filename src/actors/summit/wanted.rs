//! Which jobs should exist and which should not: recipes as they are now beside the jobs that are there.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::state::State;
use crate::id::{CommitId, JobId, ProjectName};
use crate::model::{Because, Catalog, Event, Executor, Job, JobState, Reading, Target, Who};

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

    /// New jobs for failed ones of the distribution's own tool whose recipes have another manifest now: the tool may have refused
    /// what it made because of the old one. Our own executor reads none.
    pub fn mended_by_manifests(
        &self,
        project: &ProjectName,
        before: Option<&Catalog>,
    ) -> Vec<(Who, Event)> {
        let by_tool = |profile| {
            let profile = self.farm.profiles.get(profile);
            profile.is_some_and(|profile| profile.executor == Executor::Boulder)
        };
        let builds = self.farm.projects.get(project);
        let (Some(before), Some(now)) = (before, self.catalogs.get(project)) else {
            return Vec::new();
        };
        if !self.farm.profiles.keys().any(by_tool) || builds.is_none_or(|known| !known.builds_all) {
            return Vec::new();
        }
        let known: HashMap<&str, (CommitId, CommitId)> = before
            .entries
            .iter()
            .map(|entry| (entry.dir.as_str(), (entry.tree, entry.text)))
            .collect();
        let moved: BTreeSet<_> = now
            .entries
            .iter()
            .filter(|entry| {
                known
                    .get(entry.dir.as_str())
                    .is_some_and(|(tree, text)| *tree != entry.tree && *text == entry.text)
            })
            .map(|entry| entry.name().clone())
            .collect();
        let failed = self.farm.newest_jobs().filter(|job| {
            let target = &job.target;
            let held = (target.project.clone(), target.recipe.clone());
            job.state == JobState::Failed
                && target.project == *project
                && moved.contains(&target.recipe)
                && by_tool(&target.profile)
                && !self.farm.recipe_holds.contains_key(&held)
        });
        let mut failed: Vec<&Arc<Job>> = failed.collect();
        failed.sort_by_key(|job| job.id);
        let events = failed
            .into_iter()
            .filter_map(|job| self.planned(&job.target, job.because.clone()));
        events.map(|event| (Who::Farm, event)).collect()
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
