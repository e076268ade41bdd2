//! From a decision to an order on its way: the assignment is recorded, the recipe packed at the recorded commit, vessel
//! told what to expect, and the builder what to build.

use super::limits::{Expected, limits};
use super::mirror::Mirror;
use super::reader::Repo;
use super::state::{Done, State};
use super::{Args, Msg};
use crate::fault::{Fault, Kind, Result};
use crate::id::{AttemptId, HostId};
use crate::model::cache::CacheSpec;
use crate::model::proof::is_comparison;
use crate::model::say::{Repository, ToolSpec};
use crate::model::{
    AttemptState, Blame, BuildOrder, BuiltWith, Event, Executor, Expectation, Input, InputFrom,
    Job, Profile, Project, Refusal, Role, Say, Target, Then, Who,
};
use crate::plan::schedule::{Happened, Requirements};
use crate::plan::{Closure, Source};

/// Time between two tries to make an order that cannot be made yet.
const PREPARE_AGAIN: std::time::Duration = std::time::Duration::from_millis(500);

/// Time between two looks at a slot that a comparison leaves.
const GIVES_WAY_LOOK: std::time::Duration = std::time::Duration::from_millis(50);

impl State {
    /// Gives out what can start. Whether anything was recorded.
    pub async fn give_out(&mut self) -> Done<bool> {
        let now = crate::actors::now();
        let assignments = self.schedule.decide(now);
        if assignments.is_empty() {
            return Ok(false);
        }
        let mut events = Vec::new();
        for given in &assignments {
            let Some(job) = self.farm.jobs.get(&given.job) else {
                continue;
            };
            let build_release = self
                .args
                .channels
                .borrow()
                .next_build_release(&job.target.recipe, job.release);
            let attempt = AttemptId {
                job: given.job,
                try_no: job.tries + 1,
            };
            let event = Event::Assigned {
                attempt,
                builder: given.builder,
                slot: given.slot,
                build_release,
            };
            let target = job.target.clone();
            events.push((Who::Farm, event));
            events.extend(
                self.resolved(&target, attempt)
                    .map(|event| (Who::Farm, event)),
            );
        }
        let attempts: Vec<_> = events
            .iter()
            .enumerate()
            .filter_map(|(place, (_, event))| match event {
                Event::Assigned { attempt, .. } => Some((*attempt, place)),
                _ => None,
            })
            .collect();
        let answers = self.record(events).await?;
        crate::actors::kill_point("summit:assigned");
        for (attempt, answer) in attempts {
            let answer = answers.get(answer).cloned().unwrap_or(Err(Refusal::Repeat));
            match answer {
                Ok(()) => {
                    self.leases.insert(attempt, now.mono_ms + self.lease_ms());
                    self.make_room_for(attempt);
                    self.prepare_order(attempt);
                }
                Err(_) => self.schedule.take(Happened::GivenBack(attempt.job), now),
            }
        }
        Ok(true)
    }

    /// What an attempt is built with, as the channel is now; `None`: nothing of the farm's.
    fn resolved(&self, target: &Target, attempt: AttemptId) -> Option<Event> {
        let with = self.planner.with_of(target, attempt);
        (!with.with.is_empty()).then(|| Event::Resolved {
            with: Box::new(with),
        })
    }

    /// Makes the order of a live attempt in a task of its own; `Msg::OrderReady` brings it back.
    pub fn prepare_order(&mut self, attempt: AttemptId) {
        if let Some(job) = self.farm.jobs.get(&attempt.job).cloned() {
            self.prepare_order_of(attempt, job);
        }
    }

    /// The same, if nobody has taken the attempt meanwhile.
    pub fn prepare_again(&mut self, attempt: AttemptId) {
        let known = self.farm.attempts.get(&attempt);
        if known.is_some_and(|known| known.state == AttemptState::Assigned) {
            self.prepare_order(attempt);
        }
    }

    /// The same for a known-good job that no row says is built again.
    pub fn prepare_canary(&mut self, attempt: AttemptId, job: &Job) {
        self.prepare_order_of(attempt, std::sync::Arc::new(job.clone()));
    }

    fn prepare_order_of(&mut self, attempt: AttemptId, job: std::sync::Arc<Job>) {
        let expected = self.expected(&job.target);
        // As it is booked, so that the builder gives it as many slots as were counted.
        let needs = self.schedule.needs(job.id);
        let needs = needs.unwrap_or_else(|| self.needs_of(&job.target).rounded());
        let profile = self.farm.profiles.get(&job.target.profile).cloned();
        let project = self.farm.projects.get(&job.target.project).cloned();
        let by_tool = profile
            .as_ref()
            .is_some_and(|profile| profile.executor == Executor::Boulder);
        let unserved = by_tool && self.served().is_none();
        let closure = self.planner.closure(&job.target).map_err(|waits| {
            let texts: Vec<String> = waits.iter().map(|wait| wait.text.clone()).collect();
            Fault::new(
                Kind::TryAgain,
                format!("it waits for {} again", texts.join(", ")),
            )
        });
        // The same look at the channel as the closure's.
        let with = self.planner.with_of(&job.target, attempt);
        let with = Some(Box::new(with));
        let (args, me) = (self.args.clone(), self.me.clone());
        tokio::spawn(async move {
            let order = tokio::task::spawn_blocking(move || {
                if unserved {
                    let what = "the host that publishes has not said where its packages are served";
                    return Err(Fault::new(Kind::TryAgain, what));
                }
                let profile =
                    profile.ok_or_else(|| gone("profile", job.target.profile.as_str()))?;
                let project =
                    project.ok_or_else(|| gone("project", job.target.project.as_str()))?;
                make_order(
                    &args,
                    attempt,
                    &job,
                    (&profile, expected, needs),
                    &project,
                    closure?,
                )
            });
            let order = match order.await {
                Ok(order) => order,
                Err(error) => Err(Fault::bug("making an order broke off").because(&error)),
            };
            // A summit that is gone makes the order anew when it is back: the attempt is in its rows.
            me.cast(Msg::OrderReady {
                attempt,
                order: Box::new(order),
                with,
            })
            .ok();
        });
    }

    /// Sends an order, unless its attempt is over meanwhile.
    pub async fn order_ready(
        &mut self,
        attempt: AttemptId,
        order: Result<BuildOrder>,
        with: Option<Box<BuiltWith>>,
    ) -> Done<()> {
        if is_comparison(attempt.job) {
            self.comparison_ready(attempt, order);
            return Ok(());
        }
        let Some(known) = self.farm.attempts.get(&attempt).cloned() else {
            self.canary_ready(attempt, order);
            return Ok(());
        };
        if !known.state.is_live() {
            return Ok(());
        }
        // A comparison in its slot is being stopped: the order follows when that is done.
        if order.is_ok() && self.is_giving_way(&known.builder) {
            let order = Box::new(order);
            self.me.send_after(GIVES_WAY_LOOK, move || Msg::OrderReady {
                attempt,
                order,
                with,
            });
            return Ok(());
        }
        let order = match order {
            Ok(order) => order,
            // The builder has its order and vessel its expectation: they say by themselves how it ends.
            Err(fault) if known.state != AttemptState::Assigned => {
                tracing::debug!(%attempt, %fault, "no second order");
                return Ok(());
            }
            // Right after a start not everything is read yet, and the builder may even be done. Its lease bounds this.
            Err(fault) if fault.kind == Kind::TryAgain => {
                tracing::debug!(%attempt, %fault, "the order is made again in a moment");
                self.me
                    .send_after(PREPARE_AGAIN, move || Msg::Prepare(attempt));
                return Ok(());
            }
            Err(fault) => {
                let blame = if fault.kind == Kind::Recipe {
                    Blame::Recipe
                } else {
                    Blame::Operator
                };
                let event = Event::AttemptEnded {
                    attempt,
                    blame,
                    fault: fault.bounded(),
                    then: Then::GiveUp,
                };
                self.record_one(Who::Farm, event).await?.ok();
                return Ok(());
            }
        };
        // An order that is made again, after a start, may be for other inputs than the one that was given out first.
        let recorded = self.farm.built_with.get(&attempt);
        let news = with.filter(|with| match recorded {
            Some(known) => **known != **with,
            None => !with.with.is_empty(),
        });
        if known.state == AttemptState::Assigned
            && let Some(with) = news
        {
            let event = Event::Resolved { with };
            self.record_one(Who::Farm, event).await?.ok();
        }
        let expectation = Expectation {
            attempt,
            builder: known.builder,
            source: order.recipe.clone(),
            version: order.version.clone(),
            release: order.release,
            build_release: order.build_release,
            arch: order.profile.arch,
            channel: order.profile.channel.clone(),
        };
        self.say_expected(expectation);
        crate::actors::kill_point("summit:expected");
        if known.state != AttemptState::Built {
            let say = self.with_cache(self.order_said(order), known.builder);
            self.args.post.say(known.builder, Role::Avalanche, say);
        } else {
            // Its builder repeats its offer by itself.
            tracing::debug!(%attempt, "built already; vessel was told what to expect");
        }
        Ok(())
    }

    /// The same with the compiler cache that its profile asks for. What is built to be compared never gets one.
    fn with_cache(&self, say: Say, builder: HostId) -> Say {
        let Say::Build(order) = say else { return say };
        let rule = self.farm.caches.get(&order.profile.name);
        match rule.and_then(|rule| Some((rule.program?, rule.bytes_max))) {
            Some((program, bytes_max)) => {
                let trust = self.args.post.trust_of(builder);
                let cache = CacheSpec {
                    program,
                    trust,
                    bytes_max,
                };
                Say::BuildCached { order, cache }
            }
            None => Say::Build(order),
        }
    }

    /// An order as its builder is told: the distribution's own tool resolves by itself, so it is told where.
    pub fn order_said(&self, order: BuildOrder) -> Say {
        let profile = self.farm.profiles.get(&order.profile.name);
        let (Executor::Boulder, Some(profile)) = (order.profile.executor, profile) else {
            return Say::Build(Box::new(order));
        };
        let absolute = |uri: &str| match uri.strip_prefix('/') {
            Some(path) => format!("file:///{path}"),
            None => uri.to_string(),
        };
        let mut repositories: Vec<Repository> = profile
            .remotes
            .iter()
            .map(|remote| Repository {
                name: remote.name.clone(),
                uri: absolute(&remote.uri),
                priority: i64::from(remote.priority),
            })
            .collect();
        let highest = repositories.iter().map(|known| known.priority).max();
        let newest = self
            .channels
            .get(&profile.channel)
            .map(|channel| channel.newest());
        if let (Some(newest), Some(http)) = (newest, self.served()) {
            repositories.push(Repository {
                name: profile.channel.to_string(),
                uri: format!(
                    "{http}/{}/history/{newest}/{}/stone.index",
                    profile.channel, profile.arch
                ),
                // The farm's own packages come before everything else.
                priority: highest.unwrap_or(0).saturating_add(100),
            });
        }
        let tool = Box::new(ToolSpec { repositories });
        Say::BuildWith {
            order: Box::new(order),
            tool,
        }
    }

    /// Where the served files are found, as builders reach them; `None`: their host has not said yet.
    fn served(&self) -> Option<String> {
        match self.vessel() == self.args.own {
            true => self.args.http.clone(),
            false => self.args.post.served(),
        }
    }

    /// Where a project's commits can be read.
    pub fn repository(&self, project: &Project) -> Result<Mirror> {
        Mirror::of(&project.url, &self.args.dir.join("mirrors"))
    }
}

fn gone(what: &str, name: &str) -> Fault {
    Fault::new(Kind::NotFound, format!("{what} {name} is gone"))
}

fn make_order(
    args: &Args,
    attempt: AttemptId,
    job: &Job,
    (profile, expected, needs): (&Profile, Expected, Requirements),
    project: &Project,
    closure: Closure,
) -> Result<BuildOrder> {
    // An attempt is built from one thing only, also when its order is made again: what it was built from is kept.
    if let Some(order) = crate::store::farm::order_of(&args.store, attempt)? {
        return Ok(order);
    }
    let mirror = Mirror::of(&project.url, &args.dir.join("mirrors"))?;
    let repo = Repo::open(mirror.path())?;
    let packed = repo.pack(job.commit, &job.dir)?;
    let changed = repo.changed_at(job.commit, &job.dir)?;
    let recipe_tar = args.blobs.put_bytes(&packed)?;
    let inputs = inputs_of(closure)?;
    let order = BuildOrder {
        attempt,
        recipe: job.target.recipe.clone(),
        version: job.version.clone(),
        release: job.release,
        build_release: job.build_release,
        profile: profile.into(),
        recipe_tar,
        source_date_epoch: changed.0 / 1000,
        jobs: (needs.cores > 1).then_some(needs.cores),
        inputs,
        limits: limits(profile, expected, needs.memory_mib),
    };
    // Canaries leave no rows.
    if attempt.job != super::builders::CANARY {
        let mut rows = crate::store::WriteSet::new();
        for row in crate::store::farm::order_rows(&order)? {
            rows.put(&row);
        }
        args.store.commit(rows)?;
    }
    Ok(order)
}

/// The packages of a build root as an order names them.
pub fn inputs_of(closure: Closure) -> Result<Vec<Input>> {
    let mut inputs = Vec::with_capacity(closure.packages.len());
    for package in closure.packages {
        let from = match &package.from {
            Source::Channel(..) => InputFrom::Farm,
            Source::Remote(uri) => InputFrom::Url(super::remotes::resolve(uri, &package.uri)),
            Source::Base(_) => continue,
        };
        let name = package.name.parse().map_err(|error| {
            Fault::new(
                Kind::Operator,
                "an index has a package with an impossible name",
            )
            .because(&error)
        })?;
        inputs.push(Input {
            name,
            sha256: package.sha256,
            size: package.size,
            from,
        });
    }
    Ok(inputs)
}
