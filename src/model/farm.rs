//! The farm in memory, and the one place that says which events it can take and what each of them changes. Pure: `weigh` answers
//! with the rows that would change; `change` says what they are and takes them in. Summit alone owns one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::alarm::{Alarm, AlarmKey};
use super::base_seen::BaseSeen;
use super::built_with::BuiltWith;
use super::cache::CacheRule;
pub use super::change::Change;
use super::event::{Event, Recorded, Then};
use super::isa::Measurement;
use super::job::{Attempt, AttemptState, Job, JobState, Target};
use super::level::{Choice, ChoiceKey};
use super::measure::{BuilderStop, Measures};
use super::order::Usage;
use super::profile::Profile;
use super::project::{BasePackage, Policy, Project, RecipeLimit};
use super::proof::{Comparison, Conviction, ProofPolicy, RiseRule};
use super::who::Hold;
use crate::id::{
    AttemptId, ChannelName, Digest, HostId, HostName, JobId, PackageName, ProfileName, ProjectName,
    RecipeName, Seq,
};

/// All that is known, as values. Of jobs that are over the last ones stay; see `history`.
#[derive(Debug, Clone, Default)]
pub struct Farm {
    /// The last event taken in.
    pub seq: Seq,
    /// The highest job number handed out.
    pub last_job: JobId,
    /// By name.
    pub projects: BTreeMap<ProjectName, Project>,
    /// By name.
    pub profiles: BTreeMap<ProfileName, Profile>,
    /// By number.
    pub jobs: BTreeMap<JobId, Arc<Job>>,
    /// By number and try.
    pub attempts: BTreeMap<AttemptId, Arc<Attempt>>,
    /// Recipes that a person stopped.
    pub recipe_holds: BTreeMap<(ProjectName, RecipeName), Hold>,
    /// Hosts that are or were part of the farm.
    pub hosts: BTreeMap<HostId, HostName>,
    /// Packages that stand for a base.
    pub base_packages: BTreeMap<PackageName, BasePackage>,
    /// What attempts used.
    pub usages: BTreeMap<AttemptId, Usage>,
    /// When recipes are built again, by project; absent: the default.
    pub policies: BTreeMap<ProjectName, Policy>,
    /// How far up projects stand that provide the same names; absent: 0.
    pub priorities: BTreeMap<ProjectName, i32>,
    /// How long builds of a recipe may take, where an operator decided.
    pub recipe_limits: BTreeMap<(ProjectName, RecipeName), RecipeLimit>,
    /// What attempts took.
    pub measures: BTreeMap<AttemptId, Arc<Measures>>,
    /// Stops on builders.
    pub builder_stops: BTreeMap<HostId, BuilderStop>,
    /// What comparisons found, the newest ones.
    pub comparisons: BTreeMap<u64, Arc<Comparison>>,
    /// What is compared without being asked; absent: nothing.
    pub proof_policies: BTreeMap<ChannelName, ProofPolicy>,
    /// Which base attempts and comparisons were built on, where that was a builder's own.
    pub stood_on: BTreeMap<AttemptId, Digest>,
    /// What those bases bring.
    pub bases: BTreeMap<Digest, Arc<BaseSeen>>,
    /// Builders that were wrong alone.
    pub convictions: BTreeMap<HostId, Conviction>,
    /// What a builder for tests needs before it may rise.
    pub rise_rule: RiseRule,
    /// Compiler caches that profiles ask for.
    pub caches: BTreeMap<ProfileName, CacheRule>,
    /// Whose machines builders are, where an operator said so.
    pub owners: BTreeMap<HostId, String>,
    /// Profiles that hold only what is chosen for them, and the one below each.
    pub layers: BTreeMap<ProfileName, ProfileName>,
    /// What is chosen.
    pub choices: BTreeMap<ChoiceKey, Choice>,
    /// What levels were measured to be worth, the newest ones.
    pub measurements: BTreeMap<u64, Arc<Measurement>>,
    /// What somebody should look at.
    pub alarms: BTreeMap<AlarmKey, Alarm>,
    /// What attempts were built with; of each target the last few.
    pub built_with: BTreeMap<AttemptId, Arc<BuiltWith>>,
    /// The attempts of a target in `built_with`, the oldest first.
    pub(super) remembered: HashMap<Target, Vec<AttemptId>>,
    /// The newest job of each target.
    pub(super) newest: HashMap<Target, JobId>,
}

/// Why an event cannot be taken: it is kept in the log of the host and changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing of that name or number.
    #[error("there is no {what} {name}")]
    Unknown {
        /// Kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Something of that name exists.
    #[error("{what} {name} exists already")]
    Exists {
        /// Kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The attempt is over, or a later one took its place.
    #[error("attempt {attempt} is stale: {why}")]
    Stale {
        /// The attempt.
        attempt: AttemptId,
        /// In which way.
        why: String,
    },
    /// The state of the job does not allow it.
    #[error("job {job} is {state}, so {why}")]
    State {
        /// The job.
        job: JobId,
        /// Its state.
        state: &'static str,
        /// What that means.
        why: String,
    },
    /// Said before: a repeat, which is fine.
    #[error("known already")]
    Repeat,
}

impl Farm {
    /// The newest job of a target.
    pub fn newest(&self, target: &Target) -> Option<&Arc<Job>> {
        self.newest.get(target).and_then(|id| self.jobs.get(id))
    }

    /// How far up a project stands among those that provide the same name.
    pub fn priority(&self, project: &ProjectName) -> i32 {
        self.priorities.get(project).copied().unwrap_or(0)
    }

    /// The newest job of every target, in no order.
    pub fn newest_jobs(&self) -> impl Iterator<Item = &Arc<Job>> {
        self.newest.values().filter_map(|id| self.jobs.get(id))
    }

    /// The attempts of a job, first one first.
    pub fn attempts_of(&self, job: JobId) -> impl DoubleEndedIterator<Item = &Arc<Attempt>> {
        self.attempts
            .range(AttemptId::all_of(job))
            .map(|(_, attempt)| attempt)
    }

    /// The last attempt of a job, if a builder or vessel may still report about it.
    pub fn live_attempt(&self, job: JobId) -> Option<&Arc<Attempt>> {
        self.attempts_of(job)
            .next_back()
            .filter(|attempt| attempt.state.is_live())
    }

    fn job(&self, id: JobId) -> Result<&Job, Refusal> {
        self.jobs.get(&id).map(Arc::as_ref).ok_or(Refusal::Unknown {
            what: "job",
            name: id.to_string(),
        })
    }

    /// The attempt, if it is its job's last one; a later one makes it stale.
    fn current(&self, id: AttemptId) -> Result<(&Job, &Attempt), Refusal> {
        let job = self.job(id.job)?;
        let attempt = self.attempts.get(&id).ok_or(Refusal::Unknown {
            what: "attempt",
            name: id.to_string(),
        })?;
        if id.try_no != job.tries {
            return Err(Refusal::Stale {
                attempt: id,
                why: format!("try {} has taken its place", job.tries),
            });
        }
        Ok((job, attempt))
    }

    /// What this event would change, or why it cannot be. Reads nothing but the farm and the event.
    pub fn weigh(&self, recorded: &Recorded) -> Result<Change, Refusal> {
        let at = recorded.at;
        match &recorded.event {
            Event::ProjectAdded { .. }
            | Event::ProjectRemoved { .. }
            | Event::ProjectOpened { .. }
            | Event::TipMoved { .. }
            | Event::ProfileSet { .. }
            | Event::ProfileRemoved { .. }
            | Event::HostSeen { .. }
            | Event::BaseDeclared { .. }
            | Event::PolicySet { .. }
            | Event::PrioritySet { .. }
            | Event::LimitSet { .. }
            | Event::CacheSet { .. }
            | Event::RecipeHeld { .. }
            | Event::RecipeReleased { .. } => self.weigh_declared(recorded),
            Event::Observed { measures } => self.weigh_measured(measures),
            Event::Resolved { with } => self.weigh_built_with(with),
            Event::AlarmRaised { .. } | Event::AlarmLifted { .. } => {
                self.weigh_alarm(&recorded.event, at)
            }
            Event::BuilderStopped { .. } | Event::BuilderLetGo { .. } => {
                self.weigh_stop(&recorded.event)
            }
            Event::Compared { .. }
            | Event::ProofPolicySet { .. }
            | Event::RiseRuleSet { .. }
            | Event::OwnerSet { .. }
            | Event::BaseNoted { .. }
            | Event::StoodOn { .. }
            | Event::Convicted { .. } => self.weigh_proof(&recorded.event),
            Event::LayerSet { .. } | Event::LevelChosen { .. } | Event::LevelDropped { .. } => {
                self.weigh_level(&recorded.event)
            }
            Event::IsaMeasured { .. } => self.weigh_measurement(&recorded.event),
            Event::Planned { .. } => self.weigh_planned(recorded),
            Event::Assigned { .. }
            | Event::Accepted { .. }
            | Event::Built { .. }
            | Event::AttemptEnded { .. }
            | Event::Published { .. } => self.weigh_attempt(recorded),
            Event::JobsForgotten { jobs } => self.weigh_forgotten(jobs),
            Event::Unwanted { job, why: _ } => self.end_job(*job, at, JobState::Superseded),
            Event::Cancelled { job } => self.end_job(*job, at, JobState::Cancelled),
            Event::Retried { job } => self.weigh_retried(*job, at),
            Event::JobHeld { job, hold } => self.touch(*job, |job| job.hold = Some(hold.clone())),
            Event::JobReleased { job } => self.touch(*job, |job| job.hold = None),
            Event::Raised { job, raise } => self.touch(*job, |job| job.raise = *raise),
            Event::Measured { attempt, usage } => {
                let known = self.attempts.get(attempt);
                if known.is_none_or(|known| known.state != AttemptState::Built)
                    || self.usages.contains_key(attempt)
                {
                    return Err(Refusal::Repeat);
                }
                Ok(Change {
                    usages: vec![(*attempt, *usage)],
                    ..Change::default()
                })
            }
            Event::Imported { .. } | Event::RolledBack { .. } | Event::Peer { .. } => {
                Ok(Change::default())
            }
        }
    }

    fn weigh_declared(&self, recorded: &Recorded) -> Result<Change, Refusal> {
        let mut change = Change::default();
        let unknown = |name: &ProjectName| Refusal::Unknown {
            what: "project",
            name: name.to_string(),
        };
        match &recorded.event {
            Event::ProjectAdded { name, url, branch } => {
                if self.projects.contains_key(name) {
                    return Err(Refusal::Exists {
                        what: "project",
                        name: name.to_string(),
                    });
                }
                let (name, url, branch) = (name.clone(), url.clone(), branch.clone());
                change.projects.push(Project {
                    name,
                    url,
                    branch,
                    added: recorded.at,
                    tip: None,
                    builds_all: false,
                });
            }
            Event::ProjectRemoved { name } => {
                self.projects.get(name).ok_or_else(|| unknown(name))?;
                change.projects_gone.push(name.clone());
                let limits = self.recipe_limits.values();
                let its = limits.filter(|limit| limit.project == *name);
                change.recipe_limits.extend(its.map(|limit| RecipeLimit {
                    time_s: None,
                    ..limit.clone()
                }));
            }
            Event::ProjectOpened { name } => {
                let project = self.projects.get(name).ok_or_else(|| unknown(name))?;
                change.projects.push(Project {
                    builds_all: true,
                    ..project.clone()
                });
            }
            Event::TipMoved {
                project,
                tip,
                changed: _,
                opens,
            } => {
                let project = self.projects.get(project).ok_or_else(|| unknown(project))?;
                if project
                    .tip
                    .as_ref()
                    .is_some_and(|known| known.commit == tip.commit && known.catalog == tip.catalog)
                {
                    return Err(Refusal::Repeat);
                }
                let builds_all = project.builds_all || *opens;
                change.projects.push(Project {
                    tip: Some(tip.clone()),
                    builds_all,
                    ..project.clone()
                });
            }
            Event::ProfileSet { profile } => change.profiles.push(profile.as_ref().clone()),
            Event::CacheSet { rule } => {
                let known = self.caches.get(&rule.profile);
                if known == Some(rule) || known.is_none() && rule.program.is_none() {
                    return Err(Refusal::Repeat);
                }
                change.caches.push(rule.clone());
            }
            Event::ProfileRemoved { name } => {
                let profile = self.profiles.get(name);
                profile.ok_or_else(|| Refusal::Unknown {
                    what: "profile",
                    name: name.to_string(),
                })?;
                change.profiles_gone.push(name.clone());
            }
            Event::BaseDeclared { base } => {
                if self.base_packages.get(&base.name) == Some(base) {
                    return Err(Refusal::Repeat);
                }
                change.base_packages.push(base.clone());
            }
            Event::PolicySet { policy } => {
                if !self.projects.contains_key(&policy.project) {
                    return Err(unknown(&policy.project));
                }
                if self.policies.get(&policy.project) == Some(policy) {
                    return Err(Refusal::Repeat);
                }
                change.policies.push(policy.clone());
            }
            Event::PrioritySet { priority } => {
                if !self.projects.contains_key(&priority.project) {
                    return Err(unknown(&priority.project));
                }
                if self.priority(&priority.project) == priority.priority {
                    return Err(Refusal::Repeat);
                }
                change.priorities.push(priority.clone());
            }
            Event::LimitSet {
                project,
                recipe,
                time_s,
            } => {
                if !self.projects.contains_key(project) {
                    return Err(unknown(project));
                }
                let known = self.recipe_limits.get(&(project.clone(), recipe.clone()));
                if known.and_then(|known| known.time_s) == *time_s {
                    return Err(Refusal::Repeat);
                }
                change.recipe_limits.push(RecipeLimit {
                    project: project.clone(),
                    recipe: recipe.clone(),
                    time_s: *time_s,
                    owner: recorded.who.clone(),
                    at: recorded.at,
                });
            }
            Event::HostSeen { host, name } => {
                if self.hosts.get(host) == Some(name) {
                    return Err(Refusal::Repeat);
                }
                change.hosts.push((*host, name.clone()));
            }
            Event::RecipeHeld {
                project,
                recipe,
                hold,
            } => {
                change
                    .recipe_holds
                    .push(((project.clone(), recipe.clone()), Some(hold.clone())));
            }
            Event::RecipeReleased { project, recipe } => {
                let key = (project.clone(), recipe.clone());
                if !self.recipe_holds.contains_key(&key) {
                    return Err(Refusal::Unknown {
                        what: "hold on recipe",
                        name: recipe.to_string(),
                    });
                }
                change.recipe_holds.push((key, None));
            }
            other => unreachable!("{other:?} is no declaration: weigh() sends only those here"),
        }
        Ok(change)
    }

    fn weigh_planned(&self, recorded: &Recorded) -> Result<Change, Refusal> {
        let Event::Planned {
            job,
            target,
            version,
            release,
            build_release,
            commit,
            dir,
            tree,
            because,
        } = &recorded.event
        else {
            unreachable!("weigh() sends only plans here")
        };
        if self.jobs.contains_key(job) {
            return Err(Refusal::Repeat);
        }
        let mut change = Change::default();
        let older = self
            .newest(target)
            .filter(|older| !older.state.is_over() || older.state == JobState::Failed);
        if let Some(older) = older {
            change = self.end_job(older.id, recorded.at, JobState::Superseded)?;
        }
        change.jobs.push(Job {
            id: *job,
            target: target.clone(),
            version: version.clone(),
            release: *release,
            build_release: *build_release,
            commit: *commit,
            dir: dir.clone(),
            tree: *tree,
            state: JobState::Open,
            because: because.clone(),
            created: recorded.at,
            changed: recorded.at,
            tries: 0,
            failures: 0,
            not_before: None,
            // What people wished for the recipe holds for its next change too.
            raise: older.map_or(0, |older| older.raise),
            hold: older.and_then(|older| older.hold.clone()),
            fault: None,
        });
        Ok(change)
    }

    fn weigh_attempt(&self, recorded: &Recorded) -> Result<Change, Refusal> {
        let at = recorded.at;
        match &recorded.event {
            Event::Assigned {
                attempt,
                builder,
                slot,
                build_release,
            } => {
                let job = self.job(attempt.job)?;
                if job.state != JobState::Open || attempt.try_no != job.tries + 1 {
                    let why = format!("try {} cannot begin", attempt.try_no);
                    return Err(Refusal::State {
                        job: job.id,
                        state: job.state.as_str(),
                        why,
                    });
                }
                let job = Job {
                    state: JobState::Building,
                    tries: attempt.try_no,
                    build_release: *build_release,
                    changed: at,
                    not_before: None,
                    ..job.clone()
                };
                let attempt = Attempt {
                    id: *attempt,
                    builder: *builder,
                    slot: *slot,
                    state: AttemptState::Assigned,
                    assigned: at,
                    started: None,
                    ended: None,
                    build_release: *build_release,
                    artefact_bytes: 0,
                    artefacts: 0,
                };
                Ok(Change {
                    jobs: vec![job],
                    attempts: vec![attempt],
                    ..Change::default()
                })
            }
            Event::Accepted { attempt } => {
                let (_, attempt) = self.current(*attempt)?;
                match &attempt.state {
                    AttemptState::Assigned => {}
                    AttemptState::Building
                    | AttemptState::Built
                    | AttemptState::Published { .. } => {
                        return Err(Refusal::Repeat);
                    }
                    AttemptState::Ended { fault, .. } => {
                        return Err(Refusal::Stale {
                            attempt: attempt.id,
                            why: fault.what.clone(),
                        });
                    }
                }
                let attempt = Attempt {
                    state: AttemptState::Building,
                    started: Some(at),
                    ..attempt.clone()
                };
                Ok(Change {
                    attempts: vec![attempt],
                    ..Change::default()
                })
            }
            Event::Built {
                attempt,
                artefacts,
                bytes,
            } => {
                let (job, attempt) = self.current(*attempt)?;
                match &attempt.state {
                    AttemptState::Assigned | AttemptState::Building => {}
                    AttemptState::Built | AttemptState::Published { .. } => {
                        return Err(Refusal::Repeat);
                    }
                    AttemptState::Ended { fault, .. } => {
                        return Err(Refusal::Stale {
                            attempt: attempt.id,
                            why: fault.what.clone(),
                        });
                    }
                }
                let job = Job {
                    state: JobState::Publishing,
                    changed: at,
                    ..job.clone()
                };
                let attempt = Attempt {
                    state: AttemptState::Built,
                    started: attempt.started.or(Some(at)),
                    ended: Some(at),
                    artefacts: *artefacts,
                    artefact_bytes: *bytes,
                    ..attempt.clone()
                };
                Ok(Change {
                    jobs: vec![job],
                    attempts: vec![attempt],
                    ..Change::default()
                })
            }
            Event::Published {
                attempt,
                channel,
                version,
            } => self.weigh_published(*attempt, at, channel, *version),
            Event::AttemptEnded {
                attempt,
                blame,
                fault,
                then,
            } => self.weigh_ended(*attempt, at, (*blame, fault), then),
            other => {
                unreachable!("{other:?} is not about an attempt: weigh() sends only those here")
            }
        }
    }

    /// What is published is published: it counts even when the attempt was given up meanwhile.
    fn weigh_published(
        &self,
        attempt: AttemptId,
        at: crate::id::Stamp,
        channel: &crate::id::ChannelName,
        version: crate::id::VersionId,
    ) -> Result<Change, Refusal> {
        let job = self.job(attempt.job)?;
        let known = self.attempts.get(&attempt);
        let known = known.ok_or(Refusal::Unknown {
            what: "attempt",
            name: attempt.to_string(),
        })?;
        if matches!(known.state, AttemptState::Published { .. }) {
            return Err(Refusal::Repeat);
        }
        let mut change = Change::default();
        if attempt.try_no == job.tries && job.state != JobState::Superseded {
            let state = JobState::Published;
            change.jobs.push(Job {
                state,
                changed: at,
                fault: None,
                not_before: None,
                ..job.clone()
            });
        }
        let state = AttemptState::Published {
            channel: channel.clone(),
            version,
        };
        let ended = known.ended.or(Some(at));
        change.attempts.push(Attempt {
            state,
            ended,
            ..known.as_ref().clone()
        });
        Ok(change)
    }

    fn weigh_ended(
        &self,
        attempt: AttemptId,
        at: crate::id::Stamp,
        (blame, fault): (super::who::Blame, &crate::fault::Fault),
        then: &Then,
    ) -> Result<Change, Refusal> {
        let (job, attempt) = self.current(attempt)?;
        match &attempt.state {
            AttemptState::Ended { .. } => return Err(Refusal::Repeat),
            AttemptState::Published { .. } => {
                return Err(Refusal::Stale {
                    attempt: attempt.id,
                    why: "its packages are published".into(),
                });
            }
            AttemptState::Assigned | AttemptState::Building | AttemptState::Built => {}
        }
        let mut change = Change::default();
        let mut job = Job {
            changed: at,
            fault: Some(fault.clone()),
            ..job.clone()
        };
        match then {
            Then::Again { not_before, counts } => {
                job.state = JobState::Open;
                job.not_before = *not_before;
                job.failures += u32::from(*counts);
                change.jobs.push(job);
            }
            Then::GiveUp => {
                job.state = JobState::Failed;
                job.failures += 1;
                change.jobs.push(job);
            }
            Then::Over => {}
        }
        change.attempts.push(Attempt {
            state: AttemptState::Ended {
                blame,
                fault: fault.clone(),
            },
            ended: attempt.ended.or(Some(at)),
            ..attempt.clone()
        });
        Ok(change)
    }

    /// Ends a job that is not over, and the attempt that it may have.
    fn end_job(&self, id: JobId, at: crate::id::Stamp, state: JobState) -> Result<Change, Refusal> {
        let job = self.job(id)?;
        if job.state == state {
            return Err(Refusal::Repeat);
        }
        if job.state.is_over() && !(job.state == JobState::Failed && state == JobState::Superseded)
        {
            let why = "there is nothing left to stop".to_string();
            return Err(Refusal::State {
                job: id,
                state: job.state.as_str(),
                why,
            });
        }
        let mut change = Change {
            jobs: vec![Job {
                state,
                changed: at,
                ..job.clone()
            }],
            ..Change::default()
        };
        if let Some(attempt) = self.live_attempt(id) {
            let why = match state {
                JobState::Superseded => "a newer job took its place",
                _ => "cancelled",
            };
            let fault = crate::fault::Fault::new(crate::fault::Kind::Operator, why);
            change.attempts.push(Attempt {
                state: AttemptState::Ended {
                    blame: super::who::Blame::Operator,
                    fault,
                },
                ended: attempt.ended.or(Some(at)),
                ..attempt.as_ref().clone()
            });
        }
        Ok(change)
    }

    fn weigh_retried(&self, id: JobId, at: crate::id::Stamp) -> Result<Change, Refusal> {
        let job = self.job(id)?;
        match job.state {
            JobState::Failed | JobState::Cancelled => {}
            JobState::Open => {
                return self.touch(id, |job| (job.not_before, job.failures) = (None, 0));
            }
            JobState::Building | JobState::Publishing => return Err(Refusal::Repeat),
            JobState::Published | JobState::Superseded => {
                let why = "ask for a rebuild instead: massif build NAME --rebuild".to_string();
                return Err(Refusal::State {
                    job: id,
                    state: job.state.as_str(),
                    why,
                });
            }
        }
        if self
            .newest(&job.target)
            .is_some_and(|newest| newest.id != id)
        {
            let why = "a newer job of the same recipe exists".to_string();
            return Err(Refusal::State {
                job: id,
                state: job.state.as_str(),
                why,
            });
        }
        let job = Job {
            state: JobState::Open,
            changed: at,
            failures: 0,
            not_before: None,
            fault: None,
            ..job.clone()
        };
        Ok(Change {
            jobs: vec![job],
            ..Change::default()
        })
    }

    fn touch(&self, id: JobId, edit: impl FnOnce(&mut Job)) -> Result<Change, Refusal> {
        let mut job = self.job(id)?.clone();
        if job.state.is_over() {
            let why = "nothing about it can be changed".to_string();
            return Err(Refusal::State {
                job: id,
                state: job.state.as_str(),
                why,
            });
        }
        edit(&mut job);
        Ok(Change {
            jobs: vec![job],
            ..Change::default()
        })
    }
}
