//! Questions about the farm, answered from memory; those that need git are answered by a task.

use ractor::RpcReplyPort;

use super::mirror::Mirror;
use super::reader::Repo;
use super::state::State;
use crate::admin::summit::{
    Answer, Builder, Builders, Call, Changes, JobPage, Jobs, Profile, Profiles, Project, Projects,
    Recipe, Recipes,
};
use crate::admin::view::{
    BuilderView, ChangeView, ConstraintsView, JobDetail, JobRef, MakesView, NeedView, PhaseView,
    RecipeDetail, RecipeView, TermView, UpstreamView,
};
use crate::admin::{Method, Reply};
use crate::fault::{Fault, Kind, Result};
use crate::id::{CommitId, JobId, ProfileName, Stamp};
use crate::limit;
use crate::model::{Entry, Reading, Target};
use crate::recipe::{Constraints, Facts, NeedOrigin, Toolchain, UpstreamFacts};
use crate::stone::Dependency;

fn rows_max(asked: Option<u32>) -> usize {
    asked.map_or(limit::ADMIN_PAGE_ROWS_MAX, |rows| {
        (rows as usize).clamp(1, limit::ADMIN_PAGE_ROWS_MAX)
    })
}

impl State {
    /// Answers a question from memory.
    pub fn answer(&self, call: &Call) -> Result<Reply> {
        match call {
            Call::ProjectList(ask) => {
                let projects = self
                    .farm
                    .projects
                    .keys()
                    .map(|name| self.project_view(name))
                    .collect::<Result<_>>()?;
                ask.reply(&Projects { projects })
            }
            Call::RecipeList(ask) => ask.reply(&self.recipes(ask)),
            Call::ProfileList(ask) => ask.reply(&Profiles {
                profiles: {
                    let all = self.farm.profiles.values();
                    all.map(|profile| self.profile_view(profile)).collect()
                },
            }),
            Call::ProfileShow(ask) => {
                let found = self
                    .farm
                    .profiles
                    .values()
                    .find(|profile| profile.name.as_str() == ask.name);
                let known = self.farm.profiles.keys().map(ProfileName::as_str);
                let profile = found.ok_or_else(|| {
                    super::lookup::unknown("profile", &ask.name, known, "massif profile list")
                })?;
                ask.reply(&Profile {
                    profile: self.profile_view(profile),
                })
            }
            Call::JobList(ask) => ask.reply(&self.jobs(ask)?),
            Call::JobsShow(ask) => {
                let wanted = ask.jobs.iter().take(limit::ADMIN_PAGE_ROWS_MAX);
                ask.reply(&Jobs {
                    jobs: wanted.filter_map(|id| self.job_view(*id).ok()).collect(),
                    next: None,
                    seq: self.farm.seq,
                })
            }
            Call::JobShow(ask) => {
                let job = self.locate_job(&ask.job)?;
                ask.reply(&JobPage {
                    job: self.job_view(job.id)?,
                    detail: self.job_detail(job.id)?,
                })
            }
            Call::TryShow(ask) => ask.reply(&self.try_show(ask)?),
            Call::Why(ask) => ask.reply(&Answer {
                why: self.why(&ask.thing)?,
            }),
            Call::BuilderList(ask) => ask.reply(&Builders {
                builders: self.builder_views(),
            }),
            Call::ProjectLevels(ask) => ask.reply(&self.project_levels(ask)?),
            Call::IsaList(ask) => ask.reply(&self.isa_list(ask)?),
            Call::IsaShow(ask) => ask.reply(&self.isa_show(ask.id)?),
            Call::CompareList(ask) => ask.reply(&self.compare_list(ask)),
            Call::CompareShow(ask) => ask.reply(&self.compare_show(ask.id)?),
            Call::ChannelPolicyShow(ask) => ask.reply(&self.channel_policy_show(&ask.channel)?),
            Call::BuilderProofShow(ask) => ask.reply(&self.builder_proof(&ask.name)?),
            Call::RecipeProofShow(ask) => ask.reply(&self.recipe_proof(&ask.name)?),
            Call::BuilderShow(ask) => {
                let id = self.locate_builder(&ask.name)?;
                let builder = self
                    .builder_view(&id)
                    .ok_or_else(|| Fault::bug("a builder is gone"))?;
                let builder = BuilderView {
                    score: Some(self.farm.builder_score(id).into()),
                    ..builder
                };
                ask.reply(&Builder { builder })
            }
            Call::ProjectAdd(_)
            | Call::ProjectRefresh(_)
            | Call::ProjectRemove(_)
            | Call::ProjectPolicy(_)
            | Call::ProfileAdd(_)
            | Call::RecipeLimitSet(_)
            | Call::Build(_)
            | Call::JobRetry(_)
            | Call::JobCancel(_)
            | Call::JobHold(_)
            | Call::JobRelease(_)
            | Call::JobRaise(_)
            | Call::Plan(_)
            | Call::ConeShow(_)
            | Call::PastShow(_)
            | Call::PastWhy(_)
            | Call::Try(_)
            | Call::TryDone(_)
            | Call::RecipeUpload(_)
            | Call::BuilderDrain(_)
            | Call::BuilderResume(_)
            | Call::BuilderQuarantine(_)
            | Call::BuilderRelease(_)
            | Call::BuilderRebuild(_)
            | Call::BuilderRise(_)
            | Call::BuilderOwner(_)
            | Call::ChannelPolicy(_)
            | Call::Compare(_)
            | Call::IsaMeasure(_)
            | Call::ProjectLevel(_)
            | Call::ProjectShow(_)
            | Call::RecipeShow(_)
            | Call::RecipeHistory(_)
            | Call::JobLog(_)
            | Call::JobLogSearch(_)
            | Call::JobArtefacts(_)
            | Call::ArtefactRead(_) => Err(Fault::bug(format!(
                "{} is answered elsewhere",
                call.facts().name
            ))),
        }
    }

    fn recipes(&self, ask: &crate::admin::summit::RecipeList) -> Recipes {
        let mut rows: Vec<(&crate::id::ProjectName, &Entry)> = Vec::new();
        for (project, catalog) in &self.catalogs {
            if ask.project.as_ref().is_none_or(|only| only == project) {
                rows.extend(
                    catalog
                        .entries
                        .iter()
                        .map(|entry| (project, entry.as_ref())),
                );
            }
        }
        rows.retain(|(_, entry)| match &entry.reading {
            Reading::Good(facts) => {
                ask.faulty != Some(true)
                    && ask.text.as_ref().is_none_or(|text| {
                        facts.name.as_str().contains(text.as_str())
                            || facts.summary.to_lowercase().contains(&text.to_lowercase())
                    })
            }
            Reading::Faulty { name, .. } => {
                ask.faulty != Some(false)
                    && ask
                        .text
                        .as_ref()
                        .is_none_or(|text| name.as_str().contains(text.as_str()))
            }
        });
        let key = |(project, entry): &(&crate::id::ProjectName, &Entry)| {
            format!("{} {} {}", entry.name(), project, entry.dir)
        };
        rows.sort_by_cached_key(key);
        if let Some(after) = &ask.after {
            rows.retain(|row| key(row) > *after);
        }
        let max = rows_max(ask.limit);
        let next = (rows.len() > max)
            .then(|| rows.get(max - 1).map(key))
            .flatten();
        rows.truncate(max);
        Recipes {
            recipes: rows
                .into_iter()
                .map(|(project, entry)| self.recipe_view(project, entry))
                .collect(),
            next,
        }
    }

    fn jobs(&self, ask: &crate::admin::summit::JobList) -> Result<Jobs> {
        let before = match &ask.after {
            Some(text) => text
                .parse::<JobId>()
                .map_err(|error| Fault::new(Kind::Usage, error.to_string()))?,
            None => JobId(u64::MAX),
        };
        let max = rows_max(ask.limit);
        let mut jobs = Vec::new();
        let mut next = None;
        for (id, job) in self.farm.jobs.range(..before).rev() {
            if ask
                .recipe
                .as_ref()
                .is_some_and(|only| *only != job.target.recipe)
                || ask
                    .project
                    .as_ref()
                    .is_some_and(|only| *only != job.target.project)
            {
                continue;
            }
            if !ask.states.is_empty() && !ask.states.contains(&self.standing(job).0) {
                continue;
            }
            if jobs.len() == max {
                next = jobs
                    .last()
                    .map(|job: &crate::admin::view::JobView| job.id.to_string());
                break;
            }
            jobs.push(self.job_view(*id)?);
        }
        Ok(Jobs {
            jobs,
            next,
            seq: self.farm.seq,
        })
    }

    fn job_detail(&self, id: JobId) -> Result<JobDetail> {
        let job = self
            .farm
            .jobs
            .get(&id)
            .ok_or_else(|| Fault::new(Kind::NotFound, format!("there is no job {id}")))?;
        let refer = |target: &Target| {
            let job = self.farm.newest(target)?;
            Some(JobRef {
                id: job.id,
                recipe: job.target.recipe.clone(),
                state: self.standing(job).0,
            })
        };
        let depends_on = self
            .planner
            .edges_of(&job.target)
            .iter()
            .filter(|edge| edge.cut.is_none())
            .filter_map(|edge| refer(&edge.provider))
            .collect();
        let follows = self.planner.follows(std::slice::from_ref(&job.target));
        let needed_by = follows
            .iter()
            .filter(|(_, steps)| **steps == 1)
            .filter_map(|(target, _)| refer(target))
            .collect();
        let why = self.schedule.explain(id, &[], crate::actors::now());
        let priority_terms = why
            .map(|why| why.priority)
            .unwrap_or_default()
            .into_iter()
            .map(|term| TermView {
                name: term.name,
                value: term.seconds,
            })
            .collect();
        let now = crate::actors::now();
        let forecasts = self.forecasts(now);
        let times = forecasts.of(id);
        let waits = times.filter(|_| job.state == crate::model::JobState::Open);
        let last = self.farm.attempts_of(id).next_back();
        let measures = last.and_then(|attempt| self.farm.measures.get(&attempt.id));
        let phases = match (last, measures) {
            (Some(attempt), Some(measures)) => {
                let began = attempt.started.unwrap_or(attempt.assigned);
                let view = |phase: &crate::model::PhaseTime| PhaseView {
                    name: phase.name.clone(),
                    started: Stamp(began.0 + i64::try_from(phase.started_ms).unwrap_or(0)),
                    took_s: Some(phase.took_ms as f64 / 1000.0),
                    log_offset: phase.log_offset,
                };
                measures.phases.iter().map(view).collect()
            }
            _ => Vec::new(),
        };
        let evidence = measures.map_or_else(Vec::new, |measures| measures.evidence.clone());
        Ok(JobDetail {
            start_p50_s: waits.map(|times| times.start_p50_s),
            start_p90_s: waits.map(|times| times.start_p90_s),
            end_p50_s: times.map(|times| times.end_p50_s),
            end_p90_s: times.map(|times| times.end_p90_s),
            depends_on,
            needed_by,
            artefacts: Vec::new(),
            priority_terms,
            phases,
            evidence,
        })
    }

    /// What the farm's recipes provide: a base package must not provide it too.
    pub fn provided(&self) -> Vec<Dependency> {
        let mut provided = Vec::new();
        for entry in self.catalogs.values().flat_map(|catalog| &catalog.entries) {
            if let Reading::Good(facts) = &entry.reading {
                for package in &facts.packages {
                    provided.extend(package.provides.iter().cloned());
                    provided.push(Dependency::new(
                        crate::stone::DependencyKind::Name,
                        package.name.as_str(),
                    ));
                }
            }
        }
        provided.sort();
        provided.dedup();
        provided
    }

    /// `recipe show` and `recipe history`: the git part is read by a task.
    pub fn answer_from_git(&self, call: Call, reply: RpcReplyPort<Result<Reply>>) {
        let name = match &call {
            Call::RecipeShow(ask) => &ask.name,
            Call::RecipeHistory(ask) => &ask.name,
            _ => return,
        };
        let gathered = self.locate_recipe(name).and_then(|(project, entry)| {
            let view = self.recipe_view(&project, &entry);
            let detail = match &entry.reading {
                Reading::Good(facts) => Some(self.recipe_detail(&project, &entry, facts)),
                Reading::Faulty { .. } => None,
            };
            let row = self
                .farm
                .projects
                .get(&project)
                .ok_or_else(|| Fault::bug("a catalog has no project"))?;
            let commit = self.catalogs.get(&project).map(|catalog| catalog.commit);
            let commit = commit.ok_or_else(|| Fault::bug("a recipe has no catalog"))?;
            Ok((view, detail, self.repository(row)?, commit, entry))
        });
        tokio::task::spawn_blocking(move || {
            let answer = gathered.and_then(|(view, detail, mirror, commit, entry)| {
                from_git(&call, view, detail, &mirror, commit, &entry)
            });
            // The asker may be gone.
            reply.send(answer).ok();
        });
    }

    /// A project with the words of its commit, which stand in git only; without them where git cannot tell.
    pub fn project_from_git(&self, call: Call, reply: RpcReplyPort<Result<Reply>>) {
        let Call::ProjectShow(ask) = call else {
            return;
        };
        let gathered = self.locate_project(&ask.name).and_then(|name| {
            let row = self.farm.projects.get(&name);
            let mirror = row.and_then(|row| self.repository(row).ok());
            Ok((self.project_view(&name)?, mirror))
        });
        tokio::task::spawn_blocking(move || {
            let answer = gathered.and_then(|(mut project, mirror)| {
                let change = mirror.zip(project.commit).and_then(|(mirror, commit)| {
                    Repo::open(mirror.path()).ok()?.commit(commit).ok()
                });
                if let Some(change) = change {
                    project.commit_title = Some(change.subject);
                    project.commit_at = Some(change.at);
                }
                ask.reply(&Project { project })
            });
            // The asker may be gone.
            reply.send(answer).ok();
        });
    }

    fn recipe_detail(
        &self,
        project: &crate::id::ProjectName,
        entry: &Entry,
        facts: &Facts,
    ) -> RecipeDetail {
        let profile = self.farm.profiles.keys().next().cloned();
        let target = profile.map(|profile| Target {
            project: project.clone(),
            recipe: facts.name.clone(),
            profile,
        });
        let needs = facts.needs.iter().map(|need| {
            let (from, provider) = match &target {
                Some(target) => self.planner.serves(target, &need.dependency),
                None => ("nothing", None),
            };
            NeedView {
                dependency: need.dependency.in_recipe_words(),
                kind: need.dependency.kind.as_str().into(),
                origin: match need.origin {
                    NeedOrigin::Build => "build",
                    NeedOrigin::Check => "check",
                    NeedOrigin::Macro => "macro",
                    NeedOrigin::Toolchain => "toolchain",
                }
                .into(),
                from: from.into(),
                provider,
            }
        });
        let upstreams = facts.upstreams.iter().map(|upstream| match upstream {
            UpstreamFacts::Archive { url, sha256 } => UpstreamView {
                kind: "archive".into(),
                url: url.clone(),
                sha256: Some(*sha256),
                reference: None,
                cached: Some(self.args.upstreams.is_cached(*sha256)),
            },
            UpstreamFacts::Git { url, reference } => UpstreamView {
                kind: "git".into(),
                url: url.clone(),
                sha256: None,
                reference: Some(reference.clone()),
                cached: None,
            },
        });
        let jobs = self
            .farm
            .jobs
            .values()
            .rev()
            .filter(|job| job.target.recipe == facts.name && job.target.project == *project);
        RecipeDetail {
            description: facts.description.clone(),
            homepage: facts.homepage.clone(),
            upstreams: upstreams.collect(),
            needs: needs.collect(),
            packages: self.packages_of(facts),
            groups: entry
                .dir
                .split_once('/')
                .map(|(group, _)| group.to_string())
                .into_iter()
                .collect(),
            architectures: facts.architectures.clone(),
            toolchain: facts.toolchain.map(|toolchain| match toolchain {
                Toolchain::Llvm => "llvm".to_string(),
                Toolchain::Gnu => "gnu".to_string(),
            }),
            networking: facts.networking,
            constraints: constraints_view(facts.constraints),
            time_limit: target.as_ref().map(|target| self.time_limit(target)),
            silence_limit: target
                .as_ref()
                .map(|target| super::limits::silence_limit(self.expected(target))),
            build_systems: facts.build_systems.clone(),
            from_manifest: facts.from_manifest,
            changed: None,
            jobs: jobs.take(10).map(|job| job.id).collect(),
        }
    }
}

impl State {
    /// The packages of a recipe with what they provide: as its manifest says; without one as they are published.
    fn packages_of(&self, facts: &Facts) -> Vec<MakesView> {
        let words = |all: &[Dependency]| all.iter().map(Dependency::in_recipe_words).collect();
        let mut made: Vec<MakesView> = facts
            .packages
            .iter()
            .map(|package| MakesView {
                name: package.name.clone(),
                summary: package.summary.clone(),
                provides: package.provides.iter().map(ToString::to_string).collect(),
                depends: words(&package.depends),
            })
            .collect();
        let profile = self.farm.profiles.values().next();
        let channel =
            profile.and_then(|profile| Some((profile, self.channels.get(&profile.channel)?)));
        let Some((profile, channel)) = channel.filter(|_| !facts.from_manifest) else {
            return made;
        };
        let own = channel.packages.of_arch(profile.arch);
        for package in own.filter(|package| package.source == facts.name) {
            let meta = &package.meta;
            let view = MakesView {
                name: package.name.to_string(),
                summary: meta.summary.clone(),
                provides: meta.provides.iter().map(ToString::to_string).collect(),
                depends: words(&meta.depends),
            };
            match made.iter_mut().find(|known| known.name == view.name) {
                Some(known) => *known = view,
                None => made.push(view),
            }
        }
        made
    }
}

fn constraints_view(asked: Constraints) -> Option<ConstraintsView> {
    (asked != Constraints::default()).then_some(ConstraintsView {
        memory_mib: asked.memory_mib.map(u64::from),
        disk_mib: asked.disk_mib.map(u64::from),
        time_s: asked.time_s,
        cores: asked.cores,
    })
}

fn from_git(
    call: &Call,
    view: RecipeView,
    detail: Option<RecipeDetail>,
    mirror: &Mirror,
    commit: CommitId,
    entry: &Entry,
) -> Result<Reply> {
    let repo = Repo::open(mirror.path())?;
    let history = |max: usize| -> Result<Vec<ChangeView>> {
        let changes = repo.history(commit, &entry.dir, max)?;
        Ok(changes.into_iter().map(change_view).collect())
    };
    match call {
        Call::RecipeShow(ask) => {
            // What cannot be told by git is left out rather than failing the whole page.
            let changed = history(1).unwrap_or_default().pop();
            ask.reply(&Recipe {
                recipe: view,
                detail: detail.map(|detail| RecipeDetail { changed, ..detail }),
            })
        }
        Call::RecipeHistory(ask) => {
            let max = ask
                .limit
                .map_or(20, |rows| rows as usize)
                .clamp(1, limit::ADMIN_PAGE_ROWS_MAX);
            ask.reply(&Changes {
                changes: history(max)?,
            })
        }
        other => Err(Fault::bug(format!("{} needs no git", other.facts().name))),
    }
}

fn change_view(change: crate::model::ChangeView) -> ChangeView {
    ChangeView {
        commit: change.commit,
        author: change.author,
        at: change.at,
        title: change.subject,
        body: String::new(),
    }
}
