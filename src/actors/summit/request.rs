//! What people want changed: each wish is weighed like any other event and answered when it is on disk.

use std::collections::{BTreeMap, BTreeSet};

use ractor::RpcReplyPort;

use super::state::{Done, State, number, refused};
use crate::admin::summit::{
    Build, Builds, Call, Job as JobReply, JobCancel, JobHold, JobRaise, Ordered,
    Profile as ProfileReply, ProfileAdd, Project as ProjectReply, ProjectAdd, ProjectPolicy,
};
use crate::admin::view::{BuildView, ProfileView};
use crate::admin::{Caller, Method, Reply};
use crate::fault::{Fault, Kind, Result};
use crate::id::{ChannelName, JobId, ProjectName, RecipeName, Stamp};
use crate::model::cache::{CACHE_BYTES, CACHE_BYTES_MIN, CacheProgram, CacheRule};
use crate::model::{
    Because, Event, Executor, Hold, JobState, Policy, Profile, ProjectPriority, Reading, Rebuild,
    Target, Who,
};

/// Shares beyond this are no longer shares.
const WEIGHT_MAX: u32 = 1_000;
/// Projects that stand so far up or down are ordered well enough.
const PRIORITY_MAX: i32 = 1_000;

pub(super) fn who(caller: &Caller) -> Who {
    caller.who()
}

/// What a profile says of a compiler cache.
fn cache_rule(view: &ProfileView, executor: Executor) -> Result<CacheRule> {
    let wrong = |what: String, next: &str| Err(Fault::new(Kind::Usage, what).next(next));
    let program = match view.compiler_cache.as_deref() {
        None | Some("none") => None,
        Some("ccache") => Some(CacheProgram::Ccache),
        Some(other) => {
            let what = format!("{other} cannot be used as a compiler cache");
            return wrong(
                what,
                "use ccache: it needs no process that outlives a phase",
            );
        }
    };
    if program.is_some() && executor == Executor::Boulder {
        let what = "boulder keeps compiler caches of its own".to_string();
        return wrong(
            what,
            "leave --compiler-cache out, or use the native executor",
        );
    }
    let bytes_max = view.compiler_cache_bytes.unwrap_or(CACHE_BYTES);
    if bytes_max < CACHE_BYTES_MIN {
        let what = format!("{bytes_max} bytes are no cache");
        return wrong(what, "give it 64 MiB at least");
    }
    Ok(CacheRule {
        profile: view.name.clone(),
        program,
        bytes_max,
    })
}

impl State {
    /// Answers a call. Questions are answered at once or, when they need a disk, by a task; wishes when they are recorded.
    pub async fn asked(
        &mut self,
        caller: &Caller,
        call: Call,
        reply: RpcReplyPort<Result<Reply>>,
    ) -> Done<()> {
        let answer = match &call {
            Call::ProjectAdd(wish) => {
                let done = self.project_add(caller, wish).await?;
                done.and_then(|done| wish.reply(&done))
            }
            Call::ProjectRefresh(wish) => {
                let done = self.locate_project(&wish.name).and_then(|name| {
                    self.refresh(&name)?;
                    Ok(Ordered {
                        intake: self.intakes(&name) + 1,
                        project: self.project_view(&name)?,
                    })
                });
                done.and_then(|done| wish.reply(&done))
            }
            Call::ProjectPolicy(wish) => {
                let done = self.project_policy(caller, wish).await?;
                done.and_then(|done| wish.reply(&done))
            }
            Call::ProjectRemove(wish) => {
                let done = self.project_remove(caller, &wish.name).await?;
                done.and_then(|done| wish.reply(&done))
            }
            Call::ProfileAdd(wish) => {
                let done = self.profile_add(caller, wish).await?;
                done.and_then(|done| wish.reply(&done))
            }
            Call::Build(wish) => {
                let done = self.build(caller, wish).await?;
                done.and_then(|done| wish.reply(&done))
            }
            Call::JobRetry(wish) => {
                let done = self
                    .change_job(caller, &wish.job, |job| Ok(Event::Retried { job }))
                    .await?;
                done.and_then(|done| wish.reply(&done))
            }
            Call::JobCancel(wish) => {
                let done = self.job_cancel(caller, wish).await?;
                done.and_then(|done| wish.reply(&done))
            }
            Call::JobHold(wish) => {
                let done = self.job_hold(caller, wish).await?;
                done.and_then(|done| wish.reply(&done))
            }
            Call::JobRelease(wish) => {
                let done = self
                    .change_job(caller, &wish.job, |job| Ok(Event::JobReleased { job }))
                    .await?;
                done.and_then(|done| wish.reply(&done))
            }
            Call::JobRaise(wish) => {
                let done = self.job_raise(caller, wish).await?;
                done.and_then(|done| wish.reply(&done))
            }
            Call::Try(wish) => {
                let done = self.try_recipe(wish).await?;
                done.and_then(|done| wish.reply(&done))
            }
            Call::TryDone(wish) => {
                let done = self.try_done(wish).await?;
                done.and_then(|done| wish.reply(&done))
            }
            Call::ProjectLevel(wish) => {
                let done = self.project_level(caller, wish).await?;
                done.and_then(|done| wish.reply(&done))
            }
            Call::IsaMeasure(wish) => self
                .isa_measure(caller, wish)
                .and_then(|done| wish.reply(&done)),
            Call::Compare(wish) => self
                .compare_wish(caller, wish)
                .and_then(|done| wish.reply(&done)),
            Call::ChannelPolicy(wish) => {
                let done = self.channel_policy(caller, wish).await?;
                done.and_then(|done| wish.reply(&done))
            }
            Call::BuilderRebuild(wish) => {
                let done = self.builder_rebuild(caller, wish).await?;
                done.and_then(|done| wish.reply(&done))
            }
            Call::BuilderOwner(wish) => {
                let done = self.builder_owner(caller, wish).await?;
                done.and_then(|done| wish.reply(&done))
            }
            Call::BuilderRise(wish) => {
                let done = self.rise_rule(caller, wish).await?;
                done.and_then(|done| wish.reply(&done))
            }
            Call::BuilderDrain(wish) => {
                let done = self.builder_drain(caller, wish).await?;
                done.and_then(|done| wish.reply(&done))
            }
            Call::BuilderResume(wish) => {
                let done = self.builder_resume(caller, wish).await?;
                done.and_then(|done| wish.reply(&done))
            }
            Call::BuilderQuarantine(wish) => {
                let done = self.builder_quarantine(caller, wish).await?;
                done.and_then(|done| wish.reply(&done))
            }
            Call::BuilderRelease(wish) => {
                let done = self.builder_release(caller, wish).await?;
                done.and_then(|done| wish.reply(&done))
            }
            Call::RecipeLimitSet(wish) => {
                let done = self.recipe_limit(caller, wish).await?;
                done.and_then(|done| wish.reply(&done))
            }
            Call::ProjectShow(_) => {
                self.project_from_git(call, reply);
                return Ok(());
            }
            Call::RecipeShow(_) | Call::RecipeHistory(_) => {
                self.answer_from_git(call, reply);
                return Ok(());
            }
            Call::ConeShow(_) => {
                if let Call::ConeShow(ask) = call {
                    self.answer_cone(ask, reply);
                }
                return Ok(());
            }
            Call::Plan(_) => {
                if let Call::Plan(ask) = call {
                    self.answer_plan(ask, reply);
                }
                return Ok(());
            }
            question => self.answer(question),
        };
        // The asker may be gone; what it asked for is on disk all the same.
        reply.send(answer).ok();
        Ok(())
    }

    async fn project_add(&mut self, caller: &Caller, wish: &ProjectAdd) -> Done<Result<Ordered>> {
        if let Err(fault) = super::mirror::Mirror::of(&wish.url, &self.args.dir.join("mirrors")) {
            return Ok(Err(fault));
        }
        let name = wish.name.clone();
        let event = Event::ProjectAdded {
            name: name.clone(),
            url: wish.url.clone(),
            branch: wish.branch.clone(),
        };
        let mut events = vec![(who(caller), event)];
        if wish.build_all == Some(true) {
            events.push((who(caller), Event::ProjectOpened { name: name.clone() }));
        }
        let answers = self.record(events).await?;
        if let Some(Err(refusal)) = answers.first() {
            let next = format!("choose another name, or `massif project remove {name}` first");
            return Ok(Err(refused(refusal).next(next)));
        }
        self.know_project(&name).await;
        Ok(self
            .project_view(&name)
            .map(|project| Ordered { project, intake: 1 }))
    }

    async fn project_remove(&mut self, caller: &Caller, name: &str) -> Done<Result<ProjectReply>> {
        let (name, view) = match self
            .locate_project(name)
            .and_then(|name| Ok((name.clone(), self.project_view(&name)?)))
        {
            Ok(found) => found,
            Err(fault) => return Ok(Err(fault)),
        };
        if let Err(refusal) = self
            .record_one(who(caller), Event::ProjectRemoved { name: name.clone() })
            .await?
        {
            return Ok(Err(refused(&refusal)));
        }
        let jobs: Vec<JobId> = self
            .open
            .iter()
            .copied()
            .filter(|id| {
                self.farm
                    .jobs
                    .get(id)
                    .is_some_and(|job| job.target.project == name)
            })
            .collect();
        let events = jobs
            .into_iter()
            .map(|job| (who(caller), Event::Cancelled { job }))
            .collect();
        self.record(events).await?;
        self.forget_project(&name, &view.url);
        Ok(Ok(ProjectReply { project: view }))
    }

    async fn project_policy(
        &mut self,
        caller: &Caller,
        wish: &ProjectPolicy,
    ) -> Done<Result<ProjectReply>> {
        let project = match self.locate_project(&wish.name) {
            Ok(project) => project,
            Err(fault) => return Ok(Err(fault)),
        };
        let known = self.farm.policies.get(&project);
        let rebuild = match &wish.rebuild {
            None => known.map(|policy| policy.rebuild).unwrap_or_default(),
            Some(word) => match Rebuild::ALL.into_iter().find(|one| one.as_str() == word) {
                Some(rebuild) => rebuild,
                None => {
                    return Ok(Err(Fault::new(
                        Kind::Usage,
                        format!("{word:?} says not when recipes are built again"),
                    )
                    .next("use default, none, direct or transitive")));
                }
            },
        };
        let second_pass = wish
            .second_pass
            .unwrap_or(known.is_some_and(|policy| policy.second_pass));
        let weight = wish
            .weight
            .unwrap_or(known.map_or(1, |policy| policy.weight))
            .clamp(1, WEIGHT_MAX);
        let policy = Policy {
            project: project.clone(),
            rebuild,
            second_pass,
            weight,
        };
        let mut events = Vec::new();
        if wish.rebuild.is_some() || wish.second_pass.is_some() || wish.weight.is_some() {
            events.push((who(caller), Event::PolicySet { policy }));
        }
        if let Some(priority) = wish.priority {
            let priority = ProjectPriority {
                project: project.clone(),
                priority: priority.clamp(-PRIORITY_MAX, PRIORITY_MAX),
            };
            events.push((who(caller), Event::PrioritySet { priority }));
        }
        for answer in self.record(events).await? {
            match answer {
                Ok(()) | Err(crate::model::Refusal::Repeat) => {}
                Err(refusal) => return Ok(Err(refused(&refusal))),
            }
        }
        Ok(self
            .project_view(&project)
            .map(|project| ProjectReply { project }))
    }

    /// A profile with what belongs to it.
    pub(super) fn profile_view(&self, profile: &Profile) -> ProfileView {
        let rule = self.farm.caches.get(&profile.name);
        let rule = rule.and_then(|rule| Some((rule.program?, rule.bytes_max)));
        ProfileView {
            compiler_cache: rule.map(|(program, _)| program.as_str().into()),
            compiler_cache_bytes: rule.map(|(_, bytes)| bytes),
            ..profile.into()
        }
    }

    async fn profile_add(
        &mut self,
        caller: &Caller,
        wish: &ProfileAdd,
    ) -> Done<Result<ProfileReply>> {
        let profile = match wish.profile.to_profile() {
            Ok(profile) => profile,
            Err(fault) => return Ok(Err(fault)),
        };
        if let Err(fault) = self.layer_fits(&profile, wish.over.as_ref()) {
            return Ok(Err(fault));
        }
        let mut events = vec![Event::ProfileSet {
            profile: Box::new(profile.clone()),
        }];
        events.extend(wish.over.clone().map(|over| Event::LayerSet {
            layer: crate::model::Layer {
                profile: profile.name.clone(),
                over,
            },
        }));
        events.push(match cache_rule(&wish.profile, profile.executor) {
            Ok(rule) => Event::CacheSet { rule },
            Err(fault) => return Ok(Err(fault)),
        });
        let events = events.into_iter().map(|event| (who(caller), event));
        for answer in self.record(events.collect()).await? {
            match answer {
                Ok(()) | Err(crate::model::Refusal::Repeat) => {}
                Err(refusal) => return Ok(Err(refused(&refusal))),
            }
        }
        self.open_channel(&profile);
        self.know_profile(&profile);
        self.channels.clear();
        self.channels_moved();
        Ok(Ok(ProfileReply {
            profile: self.profile_view(&profile),
        }))
    }

    /// `build NAME...`: makes jobs, or says why there is nothing to make.
    async fn build(&mut self, caller: &Caller, wish: &Build) -> Done<Result<Builds>> {
        if wish.all == Some(true) {
            return self.build_all(caller, wish).await;
        }
        if wish.names.is_empty() {
            return Ok(Err(Fault::new(Kind::Usage, "name the recipes to build")
                .next("or `massif build --all`")));
        }
        let mut targets = Vec::new();
        for name in &wish.names {
            let found = self.locate_recipe(name).and_then(|(project, entry)| {
                if let Reading::Faulty { fault, .. } = &entry.reading {
                    return Err(fault.clone());
                }
                self.targets(&project, &entry, wish.profile.as_ref())
            });
            match found {
                Ok(found) => targets.extend(found),
                Err(fault) => return Ok(Err(fault)),
            }
        }
        self.build_targets(caller, targets, wish.rebuild == Some(true))
            .await
            .map(Ok)
    }

    async fn build_all(&mut self, caller: &Caller, wish: &Build) -> Done<Result<Builds>> {
        let closed: Vec<ProjectName> = self
            .farm
            .projects
            .values()
            .filter(|project| !project.builds_all)
            .map(|project| project.name.clone())
            .collect();
        let events = closed
            .into_iter()
            .map(|name| (who(caller), Event::ProjectOpened { name }))
            .collect();
        self.record(events).await?;
        let wanted = self
            .planner
            .jobs_wanted()
            .into_iter()
            .map(|wanted| wanted.target);
        let targets = wanted
            .filter(|target| {
                wish.profile
                    .as_ref()
                    .is_none_or(|only| target.profile == *only)
            })
            .collect();
        self.build_targets(caller, targets, false).await.map(Ok)
    }

    pub(super) async fn build_targets(
        &mut self,
        caller: &Caller,
        targets: Vec<Target>,
        rebuild: bool,
    ) -> Done<Builds> {
        let mut events = Vec::new();
        let mut views = Vec::new();
        let mut created = BTreeSet::new();
        for target in &targets {
            let (outcome, job, text) = self.build_one(target, rebuild);
            if outcome == "created" && created.insert(target.clone()) {
                let (project, recipe) = (target.project.clone(), target.recipe.clone());
                if self
                    .farm
                    .recipe_holds
                    .contains_key(&(project.clone(), recipe.clone()))
                {
                    // Asking for it by name is a person's word against a person's hold.
                    events.push((who(caller), Event::RecipeReleased { project, recipe }));
                }
                let because = Because::Asked {
                    by: who(caller),
                    rebuild,
                };
                events.extend(
                    self.planned(target, because)
                        .map(|event| (who(caller), event)),
                );
            }
            views.push(BuildView {
                recipe: target.recipe.clone(),
                project: target.project.clone(),
                profile: target.profile.clone(),
                outcome: outcome.into(),
                job,
                text,
            });
        }
        // What it needs and is not published must be built too, or it would wait for ever in a project that builds only
        // what is asked for.
        for needed in self.planner.needed_by(&targets) {
            let open = self
                .farm
                .newest(&needed)
                .is_some_and(|job| !job.state.is_over());
            if !open && created.insert(needed.clone()) {
                let because = Because::Asked {
                    by: who(caller),
                    rebuild: false,
                };
                events.extend(
                    self.planned(&needed, because)
                        .map(|event| (who(caller), event)),
                );
            }
        }
        number(&mut events, self.farm.last_job);
        let made: BTreeMap<Target, JobId> = events
            .iter()
            .filter_map(|(_, event)| match event {
                Event::Planned { job, target, .. } => Some((target.clone(), *job)),
                _ => None,
            })
            .collect();
        self.record(events).await?;
        self.replan = true;
        for view in &mut views {
            let (project, recipe, profile) = (
                view.project.clone(),
                view.recipe.clone(),
                view.profile.clone(),
            );
            if let Some(job) = made.get(&Target {
                project,
                recipe,
                profile,
            }) {
                view.job = Some(*job);
                view.text = format!("job {job}");
            }
        }
        Ok(Builds { builds: views })
    }

    fn build_one(&self, target: &Target, rebuild: bool) -> (&'static str, Option<JobId>, String) {
        if let Some(job) = self.farm.newest(target).filter(|job| !job.state.is_over()) {
            return (
                "attached",
                Some(job.id),
                format!("job {} is {} already", job.id, job.state.as_str()),
            );
        }
        let release = self.facts(target).map(|facts| facts.release);
        let published = self.published(target);
        match (&published, release) {
            (Some(published), Some(release)) if published.release == release && !rebuild => {
                let text = format!(
                    "{} {}-{} is published in {}; `--rebuild` builds it again",
                    target.recipe, published.version, published.release, published.channel
                );
                let job = self
                    .farm
                    .newest(target)
                    .filter(|job| job.state == JobState::Published)
                    .map(|job| job.id);
                ("published", job, text)
            }
            _ => ("created", None, String::new()),
        }
    }

    async fn change_job(
        &mut self,
        caller: &Caller,
        job: &str,
        event: impl FnOnce(JobId) -> Result<Event>,
    ) -> Done<Result<JobReply>> {
        let made = self
            .locate_job(job)
            .and_then(|job| Ok((job.id, event(job.id)?)));
        let (id, event) = match made {
            Ok(made) => made,
            Err(fault) => return Ok(Err(fault)),
        };
        match self.record_one(who(caller), event).await? {
            Ok(()) | Err(crate::model::Refusal::Repeat) => {
                Ok(self.job_view(id).map(|job| JobReply { job }))
            }
            Err(refusal) => Ok(Err(
                refused(&refusal).next(format!("`massif job show {id}` says how it stands"))
            )),
        }
    }

    async fn job_cancel(&mut self, caller: &Caller, wish: &JobCancel) -> Done<Result<JobReply>> {
        self.change_job(caller, &wish.job, |job| Ok(Event::Cancelled { job }))
            .await
    }

    async fn job_hold(&mut self, caller: &Caller, wish: &JobHold) -> Done<Result<JobReply>> {
        let since = crate::actors::now().wall;
        let until = wish.expires_s.map(|seconds| {
            Stamp(
                since.0.saturating_add(
                    i64::try_from(seconds)
                        .unwrap_or(i64::MAX)
                        .saturating_mul(1000),
                ),
            )
        });
        let hold = Hold {
            owner: who(caller),
            reason: wish.reason.clone(),
            since,
            until,
        };
        if hold.reason.len() > crate::limit::FAULT_TEXT_BYTES_MAX {
            return Ok(Err(Fault::new(Kind::Usage, "the reason is too long")));
        }
        self.change_job(caller, &wish.job, |job| Ok(Event::JobHeld { job, hold }))
            .await
    }

    async fn job_raise(&mut self, caller: &Caller, wish: &JobRaise) -> Done<Result<JobReply>> {
        let by = i32::try_from(wish.by.unwrap_or(100)).unwrap_or(0);
        let before = self.locate_job(&wish.job).map_or(0, |job| job.raise);
        self.change_job(caller, &wish.job, |job| {
            Ok(Event::Raised {
                job,
                raise: before.saturating_add(by),
            })
        })
        .await
    }

    /// Holds the recipes whose packages went back.
    pub async fn hold_sources(
        &mut self,
        channel: &ChannelName,
        sources: &[RecipeName],
        hold: &Hold,
    ) -> Done<()> {
        let profiles: Vec<_> = self
            .farm
            .profiles
            .values()
            .filter(|profile| profile.channel == *channel)
            .collect();
        let mut events = Vec::new();
        for (project, catalog) in &self.catalogs {
            let entries = catalog
                .entries
                .iter()
                .filter(|entry| sources.contains(entry.name()));
            for entry in entries.filter(|_| !profiles.is_empty()) {
                let (project, recipe) = (project.clone(), entry.name().clone());
                events.push((
                    hold.owner.clone(),
                    Event::RecipeHeld {
                        project,
                        recipe,
                        hold: hold.clone(),
                    },
                ));
            }
        }
        self.record(events).await?;
        Ok(())
    }

    /// Intakes of a project so far.
    pub fn intakes(&self, name: &ProjectName) -> u64 {
        self.intakes.get(name).copied().unwrap_or(0)
    }

    /// Those whose jobs are planned: after a start and for a new base none is, until the base was looked at.
    pub fn intakes_planned(&self, name: &ProjectName) -> u64 {
        match self.bases_pending {
            0 => self.intakes(name),
            _ => 0,
        }
    }

    /// Makes sure that vessel serves the channel of a profile.
    pub fn open_channel(&self, profile: &crate::model::Profile) {
        let (channel, arch) = (profile.channel.clone(), profile.arch);
        if self.vessel() != self.args.own {
            let say = crate::model::Say::Open { channel, arch };
            let to = crate::model::Role::Vessel;
            return self.args.post.say(self.vessel(), to, say);
        }
        tokio::spawn(async move {
            let Some(vessel) = crate::actors::post::find::<crate::actors::vessel::Message>(
                crate::actors::post::names::VESSEL,
            ) else {
                return;
            };
            let ask = |reply| crate::actors::vessel::Message::Open(channel.clone(), arch, reply);
            if let Err(error) = vessel
                .call(
                    ask,
                    Some(std::time::Duration::from_millis(crate::limit::ASK_MS)),
                )
                .await
            {
                tracing::warn!(%error, "vessel did not open the channel; it does so at the first publication");
            }
        });
    }
}
