//! Finding what a person means: a job by number or recipe, a recipe by name, with the nearest known name when there is none.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::state::State;
use crate::fault::{Fault, Kind, Result, nearest};
use crate::id::{HostId, JobId, ProfileName, ProjectName};
use crate::model::{Attempt, Entry, Job, Target};

/// A job that somebody asked about.
#[derive(Debug, Clone)]
pub struct Located {
    /// It.
    pub job: Arc<Job>,
    /// All its attempts, the first one first.
    pub attempts: Vec<Arc<Attempt>>,
    /// Bytes of the whole logs of those whose builders said so, by try.
    pub log_bytes: BTreeMap<u32, u64>,
}

/// A fault for a name that nothing has.
pub fn unknown<'a>(
    what: &str,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
    list: &str,
) -> Fault {
    let fault = Fault::new(Kind::NotFound, format!("there is no {what} {name:?}"));
    match nearest(name, known) {
        Some(near) => fault.next(format!("did you mean {near}?")),
        None => fault.next(format!("`{list}` shows all")),
    }
}

impl State {
    /// The job of this number, or the newest one of the recipe of this name.
    pub fn locate_job(&self, text: &str) -> Result<Arc<Job>> {
        if let Ok(id) = text.parse::<JobId>() {
            let job = self.farm.jobs.get(&id).cloned();
            return job.ok_or_else(|| {
                Fault::new(
                    Kind::NotFound,
                    format!(
                        "there is no job {id}; the last one is {}",
                        self.farm.last_job
                    ),
                )
                .next(if id <= self.farm.last_job {
                    "its record was let go, because there are newer ones; `massif audit` has what happened to it"
                } else {
                    "`massif job list` shows all"
                })
            });
        }
        let (project, recipe) = split(text);
        let fits = |job: &&Arc<Job>| {
            job.target.recipe.as_str() == recipe
                && project.is_none_or(|project| job.target.project.as_str() == project)
        };
        let newest = self.farm.jobs.values().rev().find(fits).cloned();
        newest.ok_or_else(|| {
            let known = self
                .farm
                .jobs
                .values()
                .map(|job| job.target.recipe.as_str());
            unknown("job of recipe", recipe, known, "massif job list")
        })
    }

    /// The same with its attempts.
    pub fn locate(&self, text: &str) -> Result<Located> {
        let job = self.locate_job(text)?;
        let attempts: Vec<Arc<Attempt>> = self.farm.attempts_of(job.id).cloned().collect();
        let log_bytes = attempts.iter().filter_map(|attempt| {
            let measures = self.farm.measures.get(&attempt.id)?;
            Some((attempt.id.try_no, measures.usage.log_bytes?))
        });
        Ok(Located {
            log_bytes: log_bytes.collect(),
            job,
            attempts,
        })
    }

    /// The recipe of this name, or `PROJECT/NAME`.
    pub fn locate_recipe(&self, text: &str) -> Result<(ProjectName, Arc<Entry>)> {
        let (project, recipe) = split(text);
        let mut found = Vec::new();
        for (name, catalog) in &self.catalogs {
            if project.is_none_or(|project| name.as_str() == project) {
                let entries = catalog
                    .entries
                    .iter()
                    .filter(|entry| entry.name().as_str() == recipe);
                found.extend(entries.map(|entry| (name.clone(), entry.clone())));
            }
        }
        // Of several of one name in a project the faulty ones say so; the good one is meant.
        if found.len() > 1 && found.iter().all(|(project, _)| *project == found[0].0) {
            found.retain(|(_, entry)| matches!(entry.reading, crate::model::Reading::Good(_)));
            found.truncate(1);
        }
        match found.len() {
            1 => found
                .pop()
                .ok_or_else(|| Fault::bug("a vector of one is empty")),
            0 => {
                let entries = self.catalogs.values().flat_map(|catalog| &catalog.entries);
                Err(unknown(
                    "recipe",
                    recipe,
                    entries.map(|entry| entry.name().as_str()),
                    "massif recipe list",
                ))
            }
            _ => {
                let names: Vec<String> = found
                    .iter()
                    .map(|(project, _)| format!("{project}/{recipe}"))
                    .collect();
                let what = format!("several projects have a recipe {recipe}");
                Err(Fault::new(Kind::Usage, what).next(format!("say which: {}", names.join(", "))))
            }
        }
    }

    /// What a recipe can be built for.
    pub fn targets(
        &self,
        project: &ProjectName,
        entry: &Entry,
        only: Option<&ProfileName>,
    ) -> Result<Vec<Target>> {
        let all = self
            .farm
            .profiles
            .keys()
            .filter(|name| only.is_none_or(|only| *name == only));
        let targets: Vec<Target> = all
            .map(|profile| Target {
                project: project.clone(),
                recipe: entry.name().clone(),
                profile: profile.clone(),
            })
            .collect();
        // For a layer only what was chosen for it is built.
        let built = |target: &&Target| {
            !self.farm.layers.contains_key(&target.profile) || self.planner.is_built(target)
        };
        let chosen: Vec<Target> = targets.iter().filter(built).cloned().collect();
        match (targets.is_empty(), only) {
            (false, Some(only)) if chosen.is_empty() => {
                let recipe = entry.name();
                let what =
                    format!("{recipe} is not built for {only}, which holds only chosen recipes");
                let next = format!("massif project level {project} {recipe} --profile {only}");
                Err(Fault::new(Kind::Conflict, what).next(next))
            }
            (false, _) => Ok(chosen),
            (true, Some(only)) => {
                let known = self.farm.profiles.keys().map(ProfileName::as_str);
                Err(unknown(
                    "profile",
                    only.as_str(),
                    known,
                    "massif profile list",
                ))
            }
            (true, None) => Err(
                Fault::new(Kind::Operator, "there is no profile to build for")
                    .next("massif profile add"),
            ),
        }
    }

    /// A project by name.
    pub fn locate_project(&self, text: &str) -> Result<ProjectName> {
        let found = self
            .farm
            .projects
            .keys()
            .find(|name| name.as_str() == text)
            .cloned();
        found.ok_or_else(|| {
            unknown(
                "project",
                text,
                self.farm.projects.keys().map(ProjectName::as_str),
                "massif project list",
            )
        })
    }

    /// A builder by name or by the start of its id.
    pub fn locate_builder(&self, text: &str) -> Result<HostId> {
        let fits = |id: &HostId, name: &str| {
            name == text || (text.len() >= 4 && id.to_string().starts_with(text))
        };
        let found = self
            .builders
            .iter()
            .find(|(id, builder)| fits(id, builder.report.name.as_str()));
        found.map(|(id, _)| *id).ok_or_else(|| {
            let known = self
                .builders
                .values()
                .map(|builder| builder.report.name.as_str());
            unknown("builder", text, known, "massif builder list")
        })
    }

    /// The name of a host, or the start of its id.
    pub fn host_name(&self, id: &HostId) -> String {
        self.farm
            .hosts
            .get(id)
            .map_or_else(|| id.short(), |name| name.to_string())
    }
}

fn split(text: &str) -> (Option<&str>, &str) {
    match text.split_once('/') {
        Some((project, name)) => (Some(project), name),
        None => (None, text),
    }
}
