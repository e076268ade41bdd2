//! The farm as rows of the admin interface: jobs, projects, builders, recipes in short.

use std::collections::BTreeMap;

use super::state::{Done, State};
use crate::admin::view::{
    AlarmView, AttemptView, BuilderView, CacheView, DiskView, FaultView, HoldView,
    JobState as StateView, JobView, ProjectView, RecipeView, ReleaseView, SlotView, WaitView,
};
use crate::fault::{Fault, Kind, Result};
use crate::id::{HostId, JobId, ProjectName, Stamp};
use crate::model::cache::CacheState;
use crate::model::{
    Alarm, Attempt, AttemptState, Blame, Entry, Hold, Job, JobState, Reading, Target, Who,
};
use crate::plan::WaitKind;
use crate::recipe::Facts;

/// What the host's page shows of the farm.
#[derive(Debug, Clone, Default)]
pub struct FarmStatus {
    /// Jobs by state.
    pub jobs: BTreeMap<String, u64>,
    /// What somebody should look at.
    pub alarms: Vec<AlarmView>,
    /// The last event.
    pub seq: crate::id::Seq,
    /// Published within the last hour.
    pub published_last_hour: u64,
    /// When everything that can be built is built, in seconds: as likely as not, and nine times of ten.
    pub end_s: Option<(f64, f64)>,
    /// How good predictions have been.
    pub estimates: Option<crate::admin::view::AccuracyView>,
    /// The longest chain that is left.
    pub chain: Option<crate::admin::view::ChainView>,
}

/// The word of a kind of waiting, as in JSON.
pub fn wait_word(kind: WaitKind) -> &'static str {
    match kind {
        WaitKind::Job => "job",
        WaitKind::Recipe => "recipe",
        WaitKind::FailedJob => "failed_job",
        WaitKind::Dependency => "dep_wait",
        WaitKind::Bootstrap => "bootstrap",
        WaitKind::Hold => "hold",
        WaitKind::BackOff => "back_off",
        WaitKind::NoBuilder => "no_builder",
        WaitKind::NoFit => "no_fit",
        WaitKind::Busy => "slot",
        WaitKind::Order => "order",
        WaitKind::Reserved => "reserved",
        WaitKind::Share => "share",
        WaitKind::BuilderAway => "builder_away",
        WaitKind::BetterBuilder => "better_builder",
        WaitKind::Farm => "farm",
    }
}

/// Blame as the interface names it.
pub fn blame_view(blame: Blame) -> crate::admin::view::Blame {
    match blame {
        Blame::Recipe => crate::admin::view::Blame::Recipe,
        Blame::Builder => crate::admin::view::Blame::Builder,
        Blame::Network => crate::admin::view::Blame::Network,
        Blame::Upstream => crate::admin::view::Blame::Upstream,
        Blame::Operator => crate::admin::view::Blame::Operator,
    }
}

/// A hold as the interface shows it.
pub fn hold_view(hold: &Hold) -> HoldView {
    HoldView {
        owner: hold.owner.to_string(),
        reason: hold.reason.clone(),
        since: Some(hold.since),
        expires: hold.until,
    }
}

/// The words of processor levels.
pub fn level_words(arch: crate::id::Arch, levels: &[crate::model::IsaLevel]) -> Vec<String> {
    let levels = levels.iter();
    levels
        .map(|level| crate::config::isa_word(arch, *level))
        .collect()
}

/// Compiler caches as the interface shows them.
pub fn cache_views(caches: &[CacheState]) -> Vec<CacheView> {
    let view = |cache: &CacheState| {
        let all = cache.hits + cache.misses;
        CacheView {
            profile: cache.profile.to_string(),
            program: cache.program.as_str().into(),
            present: cache.present,
            hits: cache.hits,
            misses: cache.misses,
            hit_rate: (all > 0).then(|| cache.hits as f64 / all as f64),
            bytes: cache.bytes,
            bytes_max: cache.bytes_max,
            directory: format!("caches/{}.*", cache.profile),
        }
    };
    caches.iter().map(view).collect()
}

/// A job as its row tells it: priority and estimate are for whoever knows the rest of the farm.
pub fn job_row(
    job: &Job,
    (state, waits_for): (StateView, Vec<WaitView>),
    attempts: Vec<AttemptView>,
) -> JobView {
    JobView {
        id: job.id,
        project: job.target.project.clone(),
        recipe: job.target.recipe.clone(),
        version: job.version.clone(),
        release: job.release,
        build_release: job.build_release,
        profile: job.target.profile.clone(),
        state,
        because: job.because.text(),
        waits_for,
        attempts,
        commit: job.commit,
        hold: job.hold.as_ref().map(hold_view),
        priority: None,
        estimate_s: None,
        created: job.created,
        ended: job.state.is_over().then_some(job.changed),
    }
}

/// An attempt as its row tells it, without what it is doing and its log.
pub fn attempt_row(attempt: &Attempt, builder: String) -> AttemptView {
    let (blame, why) = match &attempt.state {
        AttemptState::Ended { blame, fault } => (Some(blame_view(*blame)), Some(fault.to_string())),
        AttemptState::Assigned
        | AttemptState::Building
        | AttemptState::Built
        | AttemptState::Published { .. } => (None, None),
    };
    AttemptView {
        try_no: attempt.id.try_no,
        builder,
        state: attempt.state.as_str().into(),
        started: attempt.started.unwrap_or(attempt.assigned),
        ended: attempt.ended,
        blame,
        why,
        phase: None,
        log_bytes: 0,
    }
}

/// The word of a state; open ones are told apart by whoever knows what they need.
pub fn state_word(state: JobState) -> StateView {
    match state {
        JobState::Open => StateView::Waiting,
        JobState::Building => StateView::Building,
        JobState::Publishing => StateView::Publishing,
        JobState::Published => StateView::Published,
        JobState::Failed => StateView::Failed,
        JobState::Cancelled => StateView::Cancelled,
        JobState::Superseded => StateView::Superseded,
    }
}

impl State {
    /// Where a job stands, with `waiting` told from `ready`, and why it is not running.
    pub fn standing(&self, job: &Job) -> (StateView, Vec<WaitView>) {
        let state = state_word(job.state);
        if job.state != JobState::Open {
            let over = job.fault.as_ref().filter(|_| job.state == JobState::Failed);
            let failed = over.map(|fault| WaitView {
                kind: "failed".into(),
                text: fault.to_string(),
            });
            let waits = failed.or_else(|| {
                let awaited = self.awaited(job)?;
                Some(WaitView {
                    kind: "match".into(),
                    text: awaited.text,
                })
            });
            return (state, waits.into_iter().collect());
        }
        let wait = |kind: WaitKind, text: String| WaitView {
            kind: wait_word(kind).into(),
            text,
        };
        let mut waits = Vec::new();
        let reasons = self.planner.waits_for(&job.target);
        waits.extend(
            reasons
                .into_iter()
                .map(|reason| wait(reason.kind, reason.text)),
        );
        if let Some(hold) = &job.hold {
            waits.push(wait(
                WaitKind::Hold,
                format!("held by {}: {}", hold.owner, hold.reason),
            ));
        }
        let now = crate::actors::now();
        if let Some(until) = job.not_before.filter(|until| *until > now.wall) {
            let seconds = until.seconds_since(now.wall).ceil();
            let fault = job
                .fault
                .as_ref()
                .map_or_else(String::new, |fault| format!(" after: {}", fault.what));
            waits.push(wait(
                WaitKind::BackOff,
                format!("tried again in {seconds} s{fault}"),
            ));
        }
        if !waits.is_empty() {
            return (state, waits);
        }
        if let Some(why) = self.schedule.explain(job.id, &[], now) {
            waits.extend(
                why.reasons
                    .into_iter()
                    .map(|reason| wait(reason.kind, reason.text)),
            );
        }
        (StateView::Ready, waits)
    }

    /// One job with its attempts.
    pub fn job_view(&self, id: JobId) -> Result<JobView> {
        let job = self
            .farm
            .jobs
            .get(&id)
            .ok_or_else(|| Fault::new(Kind::NotFound, format!("there is no job {id}")))?;
        let attempts = self.farm.attempts_of(id);
        let attempts = attempts.map(|attempt| self.attempt_view(attempt)).collect();
        Ok(JobView {
            priority: Some(self.schedule.priority_s(id).unwrap_or(0.0)),
            estimate_s: self.estimate(&job.target).map(|estimate| estimate.seconds),
            ..job_row(job, self.standing(job), attempts)
        })
    }

    fn attempt_view(&self, attempt: &Attempt) -> AttemptView {
        let progress = self.progress.get(&attempt.id);
        let measures = self.farm.measures.get(&attempt.id);
        let last = measures.and_then(|measures| measures.phases.last());
        let logged = measures.and_then(|measures| measures.usage.log_bytes);
        AttemptView {
            phase: progress
                .map(|progress| progress.stage.clone())
                .or_else(|| last.map(|phase| phase.name.clone())),
            log_bytes: progress.map_or(logged.unwrap_or(0), |progress| progress.log_bytes),
            ..attempt_row(attempt, self.host_name(&attempt.builder))
        }
    }

    /// One project.
    pub fn project_view(&self, name: &ProjectName) -> Result<ProjectView> {
        let known = self.farm.projects.keys().map(ProjectName::as_str);
        let project = self.farm.projects.get(name).ok_or_else(|| {
            super::lookup::unknown("project", name.as_str(), known, "massif project list")
        })?;
        let seen = self
            .watchers
            .get(name)
            .map(|watcher| watcher.seen().borrow().clone());
        let tip = project.tip.as_ref();
        let policy = self.farm.policies.get(name);
        let waits = tip.filter(|tip| !project.builds_all && tip.recipes > 0).map(|tip| {
            format!(
                "the first intake brought {} recipes; nothing is built by itself until `massif build --all` says so",
                tip.recipes
            )
        });
        let last_poll = seen.as_ref().and_then(|seen| seen.last_tried);
        let now = crate::actors::now().wall;
        Ok(ProjectView {
            name: name.clone(),
            url: project.url.clone(),
            branch: project.branch.clone(),
            commit: tip.map(|tip| tip.commit),
            commit_title: None,
            commit_at: None,
            recipes: tip.map_or(0, |tip| u64::from(tip.recipes)),
            faulty: tip.map_or(0, |tip| u64::from(tip.faulty)),
            intakes: self.intakes_planned(name),
            last_poll,
            next_poll_s: last_poll
                .map(|last| (self.args.poll.as_secs_f64() - now.seconds_since(last)).max(0.0)),
            fault: self.project_fault(name).map(FaultView::from),
            confirm: waits,
            rebuild: policy
                .map(|policy| policy.rebuild)
                .unwrap_or_default()
                .as_str()
                .into(),
            second_pass: policy.is_some_and(|policy| policy.second_pass),
            weight: policy.map_or(1, |policy| policy.weight.max(1)),
            priority: self.farm.priority(name),
        })
    }

    /// What is published of a target's recipe in the channel of its profile.
    pub fn published(&self, target: &Target) -> Option<ReleaseView> {
        let profile = self.farm.profiles.get(&target.profile)?;
        self.releases
            .get(&(profile.channel.clone(), profile.arch))?
            .get(&target.recipe)
            .cloned()
    }

    /// The facts of a target's recipe as it is now.
    pub fn facts(&self, target: &Target) -> Option<&Facts> {
        let catalog = self.catalogs.get(&target.project)?;
        catalog
            .entries
            .iter()
            .find_map(|entry| match &entry.reading {
                Reading::Good(facts) if facts.name == target.recipe => Some(facts.as_ref()),
                Reading::Good(_) | Reading::Faulty { .. } => None,
            })
    }

    /// The newest job about a recipe.
    pub fn newest_job(&self, project: &ProjectName, entry: &Entry) -> Option<&Job> {
        let targets = self.farm.profiles.keys().map(|profile| Target {
            project: project.clone(),
            recipe: entry.name().clone(),
            profile: profile.clone(),
        });
        targets
            .filter_map(|target| self.farm.newest(&target))
            .max_by_key(|job| job.id)
            .map(AsRef::as_ref)
    }

    /// One recipe in short.
    pub fn recipe_view(&self, project: &ProjectName, entry: &Entry) -> RecipeView {
        let job = self.newest_job(project, entry);
        let published = self.farm.profiles.keys().find_map(|profile| {
            let (project, recipe) = (project.clone(), entry.name().clone());
            self.published(&Target {
                project,
                recipe,
                profile: profile.clone(),
            })
        });
        let (facts, fault) = match &entry.reading {
            Reading::Good(facts) => (Some(facts), None),
            Reading::Faulty { fault, .. } => (None, Some(FaultView::from(fault))),
        };
        RecipeView {
            project: project.clone(),
            name: entry.name().clone(),
            dir: entry.dir.clone(),
            version: facts.map(|facts| facts.version.clone()),
            release: facts.map(|facts| facts.release),
            summary: facts.map(|facts| facts.summary.clone()).unwrap_or_default(),
            licenses: facts
                .map(|facts| facts.licenses.clone())
                .unwrap_or_default(),
            published,
            job: job.map(|job| job.id),
            state: job.map(|job| self.standing(job).0),
            fault,
            warnings: facts
                .map(|facts| facts.warnings.iter().map(FaultView::from).collect())
                .unwrap_or_default(),
            hold: self
                .farm
                .recipe_holds
                .get(&(project.clone(), entry.name().clone()))
                .map(hold_view),
        }
    }

    /// One builder.
    pub fn builder_view(&self, id: &HostId) -> Option<BuilderView> {
        let builder = self.builders.get(id)?;
        let vitals = self.wards.vitals.get(id);
        let (report, sample) = (&builder.report, &builder.report.sample);
        let silent_ms = crate::actors::now()
            .mono_ms
            .saturating_sub(builder.heard_ms);
        let away = silent_ms > self.lease_ms();
        let slots = report.slots.iter().zip(0..).map(|(attempt, slot)| {
            if let Some(view) = SlotView::beside(&report.slots, slot) {
                return view;
            }
            let progress = attempt.and_then(|attempt| self.progress.get(&attempt));
            let row = attempt.and_then(|attempt| self.farm.attempts.get(&attempt));
            let glance = attempt.and_then(|attempt| self.wards.glances.get(&attempt));
            let compared = attempt.and_then(|attempt| self.compared_in(attempt));
            SlotView {
                recipe: attempt
                    .and_then(|attempt| self.farm.jobs.get(&attempt.job))
                    .map(|job| job.target.recipe.to_string())
                    .or_else(|| compared.as_ref().map(|(recipe, _)| recipe.clone())),
                phase: progress
                    .map(|progress| progress.stage.clone())
                    .or_else(|| compared.and_then(|(_, phase)| phase)),
                since: row.map(|row| row.started.unwrap_or(row.assigned)),
                silent_s: glance.map(|glance| glance.silent_ms as f64 / 1000.0),
                cpu_s: glance.map(|glance| glance.cpu_ms as f64 / 1000.0),
                memory_peak_bytes: glance.map(|glance| glance.memory_peak_bytes),
                disk_bytes: glance.and_then(|glance| glance.disk_bytes),
                io_bytes: attempt.and_then(|attempt| self.wards.moved.get(&attempt).copied()),
                log_bytes: progress.map(|progress| progress.log_bytes),
                ..SlotView::of(slot, *attempt)
            }
        });
        Some(BuilderView {
            id: *id,
            name: report.name.clone(),
            trust: self.args.post.trust_of(*id).as_str().into(),
            verdict: match self.stop_word(id) {
                _ if away => "away".into(),
                Some(word) => word.into(),
                None if report.leaving.is_some() => "draining".into(),
                None => report.judgement.verdict.as_str().into(),
            },
            evidence: report.judgement.evidence.clone(),
            last_heard_s: Some(silent_ms as f64 / 1000.0),
            holds: self.holds_on(id),
            slots: slots.collect(),
            disks: sample
                .disks
                .iter()
                .map(|disk| DiskView {
                    path: disk.path.clone(),
                    free_bytes: disk.free_bytes,
                    total_bytes: disk.total_bytes,
                    free_inodes: disk.free_inodes,
                    full_in_s: disk.full_in_s,
                })
                .collect(),
            arch: report.arch,
            levels: level_words(report.arch, &report.levels),
            features: self.wards.features.get(id).cloned().unwrap_or_default(),
            cores: Some(self.cores_of(id, report)),
            memory_total_bytes: sample.memory_total_bytes,
            memory_free_bytes: sample.memory_available_bytes,
            pressure_cpu: sample.cpu_pressure.map(|percent| percent / 100.0),
            pressure_memory: sample.memory_pressure.map(|percent| percent / 100.0),
            pressure_io: sample.io_pressure.map(|percent| percent / 100.0),
            load: sample.load_1,
            temperature_c: vitals.and_then(|vitals| vitals.temperature_c),
            reclaimed_bytes: vitals.map_or(0, |vitals| vitals.reclaimed_bytes),
            parked: vitals.map_or(0, |vitals| vitals.parked),
            confined_by: self.wards.means.get(id).cloned(),
            caches: cache_views(self.wards.caches.get(id).map_or(&[], Vec::as_slice)),
            history: self.moments(id),
            score: None,
        })
    }

    /// All builders with their scores.
    pub fn builder_views(&self) -> Vec<BuilderView> {
        let scores = self.farm.builder_scores();
        let all = self.builders.keys().filter_map(|id| {
            let score = scores.get(id).copied().unwrap_or_default();
            Some(BuilderView {
                score: Some(score.into()),
                ..self.builder_view(id)?
            })
        });
        all.collect()
    }

    /// Jobs by state, and what somebody should look at.
    pub fn status(&self) -> FarmStatus {
        let mut jobs: BTreeMap<String, u64> = StateView::ALL
            .iter()
            .map(|state| (state.as_str().to_string(), 0))
            .collect();
        let hour_ago = crate::actors::now().wall.0 - 3_600_000;
        let mut published_last_hour = 0;
        for job in self.farm.jobs.values() {
            let (state, _) = match job.state {
                JobState::Open
                    if self.schedule.is_ready(job.id) == Some(true) && job.hold.is_none() =>
                {
                    (StateView::Ready, ())
                }
                _ => (state_word(job.state), ()),
            };
            *jobs.entry(state.as_str().to_string()).or_default() += 1;
            published_last_hour +=
                u64::from(job.state == JobState::Published && job.changed.0 >= hour_ago);
        }
        let forecasts = self.forecasts(crate::actors::now());
        FarmStatus {
            jobs,
            alarms: self.alarms(),
            seq: self.farm.seq,
            published_last_hour,
            end_s: forecasts.end_s,
            estimates: self.accuracy_view(),
            chain: self.chain_view(&forecasts),
        }
    }

    /// How good predictions have been.
    pub fn accuracy_view(&self) -> Option<crate::admin::view::AccuracyView> {
        let accuracy = self.estimates.accuracy()?;
        Some(crate::admin::view::AccuracyView {
            builds: accuracy.count as u64,
            middle: accuracy.middle,
            factor_p90: accuracy.factor_p90,
        })
    }

    fn alarms(&self) -> Vec<AlarmView> {
        let mut alarms = Vec::new();
        alarms.extend(self.walk_alarm());
        for (subject, fault) in &self.faults {
            alarms.push(AlarmView {
                kind: subject.split(' ').next().unwrap_or("fault").to_string() + "_fault",
                subject: subject.split_once(' ').map(|(_, name)| name.to_string()),
                text: fault.to_string(),
                next: fault.next.clone(),
                since: None,
            });
        }
        for (id, builder) in &self.builders {
            let Some(view) = self.builder_view(id) else {
                continue;
            };
            if view.verdict != "fit" {
                alarms.push(AlarmView {
                    kind: format!("builder_{}", view.verdict),
                    subject: Some(builder.report.name.to_string()),
                    text: format!(
                        "builder {} is {}: {}",
                        view.name,
                        view.verdict,
                        view.evidence.join("; ")
                    ),
                    next: format!("massif builder show {}", view.name),
                    since: None,
                });
            }
        }
        for policy in self.farm.proof_policies.values() {
            alarms.extend(self.too_few(&policy.channel).map(|text| AlarmView {
                kind: "channel_too_few_builders".into(),
                subject: Some(policy.channel.to_string()),
                text: format!("nothing is published in channel {}: {text}", policy.channel),
                next: format!(
                    "massif invite --role avalanche brings a builder; massif channel policy {} --require-match asks for fewer",
                    policy.channel
                ),
                since: None,
            }));
        }
        for alarm in &mut alarms {
            let subject = alarm.subject.clone().unwrap_or_default();
            let known = self.farm.alarms.get(&(alarm.kind.clone(), subject));
            alarm.since = known.map(|known| known.since);
        }
        alarms
    }

    /// Alarms that came or went and stay so are events, so that the past knows them.
    pub async fn record_alarms(&mut self, mono_ms: u64) -> Done<()> {
        let alarm = |view: AlarmView| {
            let alarm = Alarm {
                kind: view.kind,
                subject: view.subject.unwrap_or_default(),
                text: view.text,
                next: view.next,
                since: Stamp(0),
            };
            alarm.bounded()
        };
        let now: Vec<Alarm> = self.alarms().into_iter().map(alarm).collect();
        let events = self.alarm_watch.look(&self.farm.alarms, &now, mono_ms);
        if !events.is_empty() {
            let events = events.into_iter().map(|event| (Who::Farm, event));
            self.record(events.collect()).await?;
        }
        Ok(())
    }
}
