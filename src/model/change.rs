//! What events change, as rows: answered by `Farm::weigh`, made durable by the store, taken in by `Farm::adopt`, which stands here.

use std::sync::Arc;

use super::alarm::{Alarm, AlarmKey};
use super::built_with::BuiltWith;
use super::cache::CacheRule;
use super::farm::Farm;
use super::isa::Measurement;
use super::job::{Attempt, Job};
use super::level::LevelChange;
use super::measure::{BuilderStop, Measures};
use super::order::Usage;
use super::profile::Profile;
use super::project::{BasePackage, Policy, Project, ProjectPriority, RecipeLimit};
use super::proof::ProofChange;
use super::who::Hold;
use crate::id::{AttemptId, HostId, HostName, JobId, ProfileName, ProjectName, RecipeName};

/// The rows that an event changes. Empty parts change nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    /// New or changed.
    pub projects: Vec<Project>,
    /// Gone.
    pub projects_gone: Vec<ProjectName>,
    /// New or changed.
    pub profiles: Vec<Profile>,
    /// Gone.
    pub profiles_gone: Vec<ProfileName>,
    /// New or changed.
    pub jobs: Vec<Job>,
    /// Gone, with their attempts.
    pub jobs_gone: Vec<(JobId, Vec<AttemptId>)>,
    /// New or changed.
    pub attempts: Vec<Attempt>,
    /// New or changed; `None` is released.
    pub recipe_holds: Vec<((ProjectName, RecipeName), Option<Hold>)>,
    /// New or renamed.
    pub hosts: Vec<(HostId, HostName)>,
    /// New or changed.
    pub base_packages: Vec<BasePackage>,
    /// New.
    pub usages: Vec<(AttemptId, Usage)>,
    /// New or changed.
    pub policies: Vec<Policy>,
    /// New or changed; a normal one is gone.
    pub priorities: Vec<ProjectPriority>,
    /// New.
    pub measures: Vec<Measures>,
    /// New or changed; one without a time is gone.
    pub recipe_limits: Vec<RecipeLimit>,
    /// New or changed; one without any stop is gone.
    pub builder_stops: Vec<BuilderStop>,
    /// New or changed.
    pub built_with: Vec<BuiltWith>,
    /// Forgotten.
    pub built_with_gone: Vec<AttemptId>,
    /// New or changed.
    pub caches: Vec<CacheRule>,
    /// New.
    pub alarms: Vec<Alarm>,
    /// Gone.
    pub alarms_gone: Vec<AlarmKey>,
    /// What comparisons change.
    pub proof: ProofChange,
    /// What is chosen for which layer.
    pub level: LevelChange,
    /// New.
    pub measurements: Vec<Measurement>,
    /// Too old.
    pub measurements_gone: Vec<u64>,
}

impl Change {
    /// Appends what a later event changed; for the same row the later one wins when taken in order.
    pub fn append(&mut self, later: Change) {
        self.projects.extend(later.projects);
        self.projects_gone.extend(later.projects_gone);
        self.profiles.extend(later.profiles);
        self.profiles_gone.extend(later.profiles_gone);
        self.jobs.extend(later.jobs);
        self.jobs_gone.extend(later.jobs_gone);
        self.attempts.extend(later.attempts);
        self.recipe_holds.extend(later.recipe_holds);
        self.hosts.extend(later.hosts);
        self.base_packages.extend(later.base_packages);
        self.usages.extend(later.usages);
        self.policies.extend(later.policies);
        self.priorities.extend(later.priorities);
        self.recipe_limits.extend(later.recipe_limits);
        self.measures.extend(later.measures);
        self.builder_stops.extend(later.builder_stops);
        self.built_with.extend(later.built_with);
        self.built_with_gone.extend(later.built_with_gone);
        self.caches.extend(later.caches);
        self.alarms.extend(later.alarms);
        self.alarms_gone.extend(later.alarms_gone);
        self.proof.append(later.proof);
        self.level.append(later.level);
        self.measurements.extend(later.measurements);
        self.measurements_gone.extend(later.measurements_gone);
    }
}

impl Farm {
    /// Takes weighed rows in. Cannot fail; the same change twice is the same as once.
    pub fn adopt(&mut self, change: Change) {
        for project in change.projects {
            self.projects.insert(project.name.clone(), project);
        }
        for name in change.projects_gone {
            self.projects.remove(&name);
            self.policies.remove(&name);
            self.priorities.remove(&name);
        }
        for profile in change.profiles {
            self.profiles.insert(profile.name.clone(), profile);
        }
        let caches = change.caches.into_iter();
        self.caches
            .extend(caches.map(|rule| (rule.profile.clone(), rule)));
        for name in change.profiles_gone {
            self.profiles.remove(&name);
        }
        for job in change.jobs {
            self.last_job = self.last_job.max(job.id);
            let newest = self.newest.entry(job.target.clone()).or_insert(job.id);
            *newest = (*newest).max(job.id);
            self.jobs.insert(job.id, Arc::new(job));
        }
        for attempt in change.attempts {
            self.attempts.insert(attempt.id, Arc::new(attempt));
        }
        for (key, hold) in change.recipe_holds {
            match hold {
                Some(hold) => self.recipe_holds.insert(key, hold),
                None => self.recipe_holds.remove(&key),
            };
        }
        self.hosts.extend(change.hosts);
        for measures in change.measures {
            self.measures.insert(measures.attempt, Arc::new(measures));
        }
        for stop in change.builder_stops {
            if stop.is_none() {
                self.builder_stops.remove(&stop.builder);
            } else {
                self.builder_stops.insert(stop.builder, stop);
            }
        }
        for alarm in change.alarms {
            self.alarms.insert(alarm.key(), alarm);
        }
        for key in change.alarms_gone {
            self.alarms.remove(&key);
        }
        for id in change.built_with_gone {
            self.forget_built_with(id);
        }
        for with in change.built_with {
            self.remember_built_with(with);
        }
        self.base_packages.extend(
            change
                .base_packages
                .into_iter()
                .map(|base| (base.name.clone(), base)),
        );
        self.usages.extend(change.usages);
        self.forget_jobs(change.jobs_gone);
        self.adopt_proof(change.proof);
        self.adopt_level(change.level);
        self.measurements
            .retain(|id, _| !change.measurements_gone.contains(id));
        let measured = change.measurements.into_iter();
        self.measurements
            .extend(measured.map(|one| (one.id, Arc::new(one))));
        for limit in change.recipe_limits {
            let key = (limit.project.clone(), limit.recipe.clone());
            match limit.time_s {
                Some(_) => self.recipe_limits.insert(key, limit),
                None => self.recipe_limits.remove(&key),
            };
        }
        for row in change.priorities {
            self.priorities.insert(row.project, row.priority);
        }
        let policies = change.policies.into_iter();
        self.policies
            .extend(policies.map(|policy| (policy.project.clone(), policy)));
    }
}
