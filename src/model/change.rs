//! What events change, as rows: answered by `Farm::weigh`, made durable by the store, taken in by `Farm::adopt`.

use super::alarm::{Alarm, AlarmKey};
use super::built_with::BuiltWith;
use super::isa::Measurement;
use super::job::{Attempt, Job};
use super::level::LevelChange;
use super::measure::{BuilderStop, Measures};
use super::order::Usage;
use super::profile::Profile;
use super::project::{BasePackage, Policy, Project, RecipeLimit};
use super::proof::ProofChange;
use super::who::Hold;
use crate::id::{AttemptId, HostId, HostName, ProfileName, ProjectName, RecipeName};

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
        self.attempts.extend(later.attempts);
        self.recipe_holds.extend(later.recipe_holds);
        self.hosts.extend(later.hosts);
        self.base_packages.extend(later.base_packages);
        self.usages.extend(later.usages);
        self.policies.extend(later.policies);
        self.recipe_limits.extend(later.recipe_limits);
        self.measures.extend(later.measures);
        self.builder_stops.extend(later.builder_stops);
        self.built_with.extend(later.built_with);
        self.built_with_gone.extend(later.built_with_gone);
        self.alarms.extend(later.alarms);
        self.alarms_gone.extend(later.alarms_gone);
        self.proof.append(later.proof);
        self.level.append(later.level);
        self.measurements.extend(later.measurements);
        self.measurements_gone.extend(later.measurements_gone);
    }
}
