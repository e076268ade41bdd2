//! One moment of the past as rows of the admin interface: what the log of events tells of it, and what it does not.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::Folded;
use crate::actors::summit::builders::{holds_of, stop_word_of};
use crate::actors::summit::cone::Needs;
use crate::actors::summit::estimates::Estimates;
use crate::actors::summit::view::{attempt_row, job_row, state_word};
use crate::actors::{desk, events, post, summit};
use crate::admin::summit::{Past, PastShow, PastWhy};
use crate::admin::view::{
    AlarmView, AttemptView, BuilderView, DiskView, JobState as StateView, JobView, MomentView,
    PastProjectView, PastView, ReasonView, SlotView, WaitView, WhyView,
};
use crate::fault::{Fault, Kind, Result, nearest};
use crate::id::{Arch, AttemptId, HostId, JobId, Stamp};
use crate::limit;
use crate::model::{Alarm, Attempt, AttemptState, Blame, Farm, Job, JobState, Target};
use crate::store::events as log;

/// Targets whose needs summit is asked for at once: a handler should take some milliseconds.
const NEEDS_AT_ONCE: usize = 200;

/// A builder's report tells of a moment for so many seconds.
const MOMENT_S_MAX: f64 = 15.0;

/// One moment, with what it takes to show it.
pub(super) struct Then {
    inner: Arc<desk::Inner>,
    folded: Arc<Folded>,
    /// Targets of which something was published by then.
    published: HashSet<Target>,
}

impl Then {
    pub(super) fn new(inner: Arc<desk::Inner>, folded: Arc<Folded>) -> Then {
        let jobs = folded.farm.jobs.values();
        let published = jobs
            .filter(|job| job.state == JobState::Published)
            .map(|job| job.target.clone())
            .collect();
        Then {
            inner,
            folded,
            published,
        }
    }

    fn farm(&self) -> &Farm {
        &self.folded.farm
    }

    fn at(&self) -> Stamp {
        self.folded.at.unwrap_or(Stamp(0))
    }

    fn host_name(&self, id: &HostId) -> String {
        let known = self.farm().hosts.get(id);
        known.map_or_else(|| id.short(), ToString::to_string)
    }

    pub(super) async fn page(&self, wish: &PastShow) -> Result<Past> {
        let before = match &wish.after {
            Some(text) => text
                .parse::<JobId>()
                .map_err(|error| Fault::new(Kind::Usage, error.to_string()))?,
            None => JobId(u64::MAX),
        };
        let rows = wish
            .limit
            .map_or(limit::ADMIN_PAGE_ROWS_MAX, |rows| rows as usize);
        let max = rows.clamp(1, limit::ADMIN_PAGE_ROWS_MAX);
        let wanted = |job: &Job| {
            wish.states.is_empty()
                || match job.state {
                    JobState::Open => [StateView::Waiting, StateView::Ready]
                        .iter()
                        .any(|state| wish.states.contains(state)),
                    _ => wish.states.contains(&state_word(job.state)),
                }
        };
        let newest = self.farm().jobs.range(..before).rev();
        let mut picked: Vec<&Arc<Job>> = newest
            .map(|(_, job)| job)
            .filter(|job| wanted(job))
            .take(max + 1)
            .collect();
        let more = picked.len() > max;
        picked.truncate(max);
        let next = picked.last().filter(|_| more).map(|job| job.id.to_string());
        let mut jobs = self.job_views(&picked).await?;
        jobs.retain(|job| wish.states.is_empty() || wish.states.contains(&job.state));
        let past = match wish.after {
            None => Some(self.view().await?),
            Some(_) => None,
        };
        Ok(Past { past, jobs, next })
    }

    async fn view(&self) -> Result<PastView> {
        let (store, seq) = (self.inner.store.clone(), self.farm().seq);
        let found = desk::blocking(move || {
            let last = log::Chain::load(&store)?.seq;
            Ok((store.get::<log::EventRow>(&seq)?, last))
        });
        let (row, last) = found.await?;
        let mut jobs: BTreeMap<String, u64> = BTreeMap::new();
        let hour_ago = self.at().0 - 3_600_000;
        let mut published_last_hour = 0;
        for job in self.farm().jobs.values() {
            *jobs
                .entry(state_word(job.state).as_str().into())
                .or_default() += 1;
            let lately = job.state == JobState::Published && job.changed.0 >= hour_ago;
            published_last_hour += u64::from(lately);
        }
        let projects = self.farm().projects.values();
        Ok(PastView {
            seq: self.farm().seq,
            at: self.folded.at,
            event: row
                .as_ref()
                .map(|row| events::view(row, &events::Names::load(&self.inner.store))),
            last,
            jobs,
            published_last_hour,
            projects: projects
                .map(|project| PastProjectView {
                    name: project.name.clone(),
                    commit: project.tip.as_ref().map(|tip| tip.commit),
                })
                .collect(),
            builders: self.builders().await,
            alarms: self.farm().alarms.values().map(alarm_view).collect(),
            unknown: self.unknown(),
        })
    }

    fn unknown(&self) -> Vec<String> {
        let mut unknown = vec![
            "disks, memory and load of builders, more than an hour ago, how many slots were free, and alarms about hosts and links"
                .to_string(),
            "estimates of what was never built before, and the order among jobs that were ready beyond what people raised"
                .into(),
            "what a job needed whose recipe has changed since".into(),
        ];
        if self.folded.refused > 0 {
            let refused = self.folded.refused;
            unknown.push(format!(
                "{refused} events that the rules of this version do not take were left out"
            ));
        }
        unknown
    }

    /// What each job needed first, as far as its recipe is the same still.
    async fn needs(&self, jobs: &[&Arc<Job>]) -> Result<HashMap<JobId, Option<Needs>>> {
        let open: Vec<&&Arc<Job>> = jobs
            .iter()
            .filter(|job| job.state == JobState::Open)
            .collect();
        let mut needs = HashMap::new();
        for chunk in open.chunks(NEEDS_AT_ONCE) {
            let asked = chunk
                .iter()
                .map(|job| (job.target.clone(), job.tree))
                .collect();
            let told = desk::ask(post::names::SUMMIT, |reply| {
                summit::Msg::NeedsOfTree(asked, reply)
            });
            needs.extend(chunk.iter().map(|job| job.id).zip(told.await?));
        }
        Ok(needs)
    }

    async fn job_views(&self, jobs: &[&Arc<Job>]) -> Result<Vec<JobView>> {
        let needs = self.needs(jobs).await?;
        let estimates = self.estimates(jobs);
        let view = |job: &&Arc<Job>| JobView {
            estimate_s: estimates
                .of(&job.target, None)
                .map(|estimate| estimate.seconds),
            ..self.job_view(job, needs.get(&job.id).cloned().flatten())
        };
        Ok(jobs.iter().map(view).collect())
    }

    /// What the builds up to then say of these jobs' next ones, by the rules of now.
    fn estimates(&self, jobs: &[&Arc<Job>]) -> Estimates {
        let farm = self.farm();
        let open = jobs.iter().filter(|job| !job.state.is_over());
        let wanted: HashSet<&Target> = open.map(|job| &job.target).collect();
        let mut estimates = Estimates::default();
        if wanted.is_empty() {
            return estimates;
        }
        for attempt in farm.attempts.values() {
            let job = farm.jobs.get(&attempt.id.job);
            if job.is_some_and(|job| wanted.contains(&job.target)) {
                estimates.learn_from(farm, attempt, None);
            }
        }
        estimates
    }

    fn job_view(&self, job: &Job, needs: Option<Needs>) -> JobView {
        let attempts = self.farm().attempts_of(job.id);
        let attempts = attempts.map(|attempt| self.attempt_view(attempt)).collect();
        job_row(job, self.standing(job, needs), attempts)
    }

    fn attempt_view(&self, attempt: &Attempt) -> AttemptView {
        let logged = self.farm().measures.get(&attempt.id);
        AttemptView {
            phase: self.inner.past.phase(attempt, self.at()),
            log_bytes: logged.and_then(|known| known.usage.log_bytes).unwrap_or(0),
            ..attempt_row(attempt, self.host_name(&attempt.builder))
        }
    }

    /// Where a job stood and why, as far as the log tells.
    fn standing(&self, job: &Job, needs: Option<Needs>) -> (StateView, Vec<WaitView>) {
        let state = state_word(job.state);
        let wait = |kind: &str, text: String| WaitView {
            kind: kind.into(),
            text,
        };
        if job.state != JobState::Open {
            let fault = job.fault.as_ref().filter(|_| job.state == JobState::Failed);
            let failed = fault.map(|fault| wait("failed", fault.to_string()));
            return (state, failed.into_iter().collect());
        }
        let mut waits = Vec::new();
        if let Some(hold) = &job.hold {
            let text = format!("held by {}: {}", hold.owner, hold.reason);
            waits.push(wait("hold", text));
        }
        if let Some(until) = job.not_before.filter(|until| *until > self.at()) {
            let seconds = until.seconds_since(self.at()).ceil();
            let after = job.fault.as_ref();
            let after = after.map_or_else(String::new, |fault| format!(" after: {}", fault.what));
            waits.push(wait(
                "back_off",
                format!("to be tried again in {seconds} s{after}"),
            ));
        }
        match &needs {
            Some(needs) => {
                let blocked = needs.recipes.iter().filter_map(|need| self.blocks(need));
                waits.extend(blocked.map(|(kind, text)| wait(kind, text)));
                waits.extend(needs.nobody.iter().map(|name| {
                    let text = format!(
                        "nothing provides {name} now; whether something did then is not kept"
                    );
                    wait("dep_wait", text)
                }));
            }
            None => waits.push(wait(
                "unknown",
                "its recipe has changed since: what it needed then is not known".into(),
            )),
        }
        if !waits.is_empty() {
            return (state, waits);
        }
        let jobs = self.farm().jobs.values();
        let busy = jobs.filter(|job| job.state == JobState::Building).count();
        let text = format!(
            "no reason is in the log: builds that ran then: {busy}; which slots were free is not kept"
        );
        (StateView::Ready, vec![wait("slot", text)])
    }

    /// How something that was needed stood in the way.
    fn blocks(&self, need: &Target) -> Option<(&'static str, String)> {
        let job = self.farm().newest(need)?;
        let (kind, was) = match job.state {
            JobState::Published => return None,
            JobState::Cancelled | JobState::Superseded if self.published.contains(need) => {
                return None;
            }
            JobState::Open => ("job", "waited itself"),
            JobState::Building => ("job", "was being built"),
            JobState::Publishing => ("job", "was being published"),
            JobState::Failed => ("failed_job", "had failed"),
            JobState::Cancelled => ("failed_job", "was cancelled"),
            JobState::Superseded => ("failed_job", "was not to be built"),
        };
        let (recipe, version, release) = (&need.recipe, &job.version, job.release);
        Some((
            kind,
            format!("{recipe} {version}-{release} {was} (job {})", job.id),
        ))
    }

    /// Builders that the log knows of: those that had built or were stopped by then, and those of now that were known.
    async fn builders(&self) -> Vec<BuilderView> {
        let present = desk::ask(post::names::SUMMIT, summit::Msg::BuildersNow).await;
        let present: BTreeMap<HostId, summit::BuilderNow> =
            present.unwrap_or_default().into_iter().collect();
        let farm = self.farm();
        let mut live: BTreeMap<HostId, Vec<&Attempt>> = BTreeMap::new();
        let mut archs: BTreeMap<HostId, Arch> = BTreeMap::new();
        for attempt in farm.attempts.values() {
            let job = farm.jobs.get(&attempt.id.job);
            let profile = job.and_then(|job| farm.profiles.get(&job.target.profile));
            if let Some(profile) = profile {
                archs.insert(attempt.builder, profile.arch);
            }
            let building = matches!(
                attempt.state,
                AttemptState::Assigned | AttemptState::Building
            );
            let builds = live.entry(attempt.builder).or_default();
            builds.extend(building.then_some(attempt.as_ref()));
        }
        let known = live.keys().chain(farm.builder_stops.keys());
        let here = present.keys().filter(|id| farm.hosts.contains_key(id));
        let all: BTreeSet<HostId> = known.chain(here).copied().collect();
        let view = |id: HostId| {
            let builds = live.get(&id).map_or(&[][..], Vec::as_slice);
            let now = present.get(&id);
            let arch = now.map(|now| now.arch).or_else(|| archs.get(&id).copied());
            // The last one before, unless that is too long ago to say anything.
            let lately = now.and_then(|now| {
                let mut moments = now.moments.iter().rev();
                let last = moments.find(|moment| moment.at <= self.at())?;
                (self.at().seconds_since(last.at) <= MOMENT_S_MAX).then_some(last)
            });
            self.builder_view(id, builds, arch, lately)
        };
        all.into_iter().filter_map(view).collect()
    }

    fn builder_view(
        &self,
        id: HostId,
        builds: &[&Attempt],
        arch: Option<Arch>,
        lately: Option<&MomentView>,
    ) -> Option<BuilderView> {
        let farm = self.farm();
        let disk = lately
            .and_then(|moment| moment.free_bytes)
            .map(|free| DiskView {
                path: "the fullest of its disks".into(),
                free_bytes: Some(free),
                total_bytes: None,
                free_inodes: None,
                full_in_s: None,
            });
        let evidence = match lately {
            Some(_) => "as it was reported shortly before",
            None => "of that moment the log knows what it built and who held it, and no more",
        };
        let slots = builds.iter().map(|attempt| {
            let job = farm.jobs.get(&attempt.id.job);
            SlotView {
                recipe: job.map(|job| job.target.recipe.to_string()),
                phase: self.inner.past.phase(attempt, self.at()),
                since: Some(attempt.started.unwrap_or(attempt.assigned)),
                ..SlotView::of(attempt.slot, Some(attempt.id))
            }
        });
        Some(BuilderView {
            id,
            name: farm.hosts.get(&id)?.clone(),
            trust: "unknown".into(),
            verdict: match (stop_word_of(farm, &id), lately) {
                (Some(word), _) => word.into(),
                (None, Some(moment)) => moment.verdict.clone(),
                (None, None) => "unknown".into(),
            },
            evidence: vec![evidence.into()],
            last_heard_s: None,
            holds: holds_of(farm, &id),
            slots: slots.collect(),
            disks: disk.into_iter().collect(),
            arch: arch?,
            cores: None,
            memory_total_bytes: None,
            memory_free_bytes: lately.and_then(|moment| moment.memory_free_bytes),
            pressure_cpu: lately.and_then(|moment| moment.pressure_cpu),
            pressure_memory: None,
            pressure_io: None,
            load: lately.and_then(|moment| moment.load),
            temperature_c: None,
            reclaimed_bytes: 0,
            parked: 0,
            confined_by: None,
            levels: Vec::new(),
            features: Vec::new(),
            caches: Vec::new(),
            history: Vec::new(),
            score: None,
        })
    }

    pub(super) async fn why(&self, wish: &PastWhy) -> Result<WhyView> {
        let thing = wish.thing.as_str();
        let (kind, name) = match thing.split_once(':') {
            Some((kind @ ("job" | "recipe" | "builder"), name)) => (kind, name),
            _ => ("", thing),
        };
        let name = name.rsplit('/').next().unwrap_or(name);
        let farm = self.farm();
        let job = match name.parse::<JobId>() {
            Ok(id) => farm.jobs.get(&id),
            Err(_) => {
                let mut newest = farm.jobs.values().rev();
                newest.find(|job| job.target.recipe.as_str() == name)
            }
        };
        if let Some(job) = job.filter(|_| kind != "builder") {
            let needs = self.needs(&[job]).await?.remove(&job.id).flatten();
            return Ok(self.why_job(job, self.job_view(job, needs)));
        }
        let builders = self.builders().await;
        if let Some(builder) = builders.iter().find(|known| known.name.as_str() == name) {
            return Ok(self.why_builder(builder));
        }
        let what = format!(
            "after event {} there was no job, recipe or builder {name:?}",
            farm.seq
        );
        let recipes = farm.jobs.values().map(|job| job.target.recipe.as_str());
        let near = nearest(name, recipes);
        Err(Fault::new(Kind::NotFound, what).next(match near {
            Some(near) => format!("did you mean {near}?"),
            None => format!("`massif job list --at {}` shows what there was", farm.seq),
        }))
    }

    fn why_job(&self, job: &Job, view: JobView) -> WhyView {
        let label = format!(
            "job {} {} {}-{}",
            job.id, view.recipe, job.version, job.release
        );
        let mut why = WhyView {
            summary: match view.waits_for.first() {
                Some(first) => format!("{label} was {}: {}", view.state.as_str(), first.text),
                None => format!(
                    "{label} was {}; why it existed: {}",
                    view.state.as_str(),
                    view.because
                ),
            },
            thing: label,
            kind: "job".into(),
            state: view.state.as_str().into(),
            ..empty()
        };
        if job.raise != 0 && !job.state.is_over() {
            let word = if job.raise > 0 { "forward" } else { "back" };
            let text = format!(
                "somebody moved it {word} by {} in the queue",
                job.raise.abs()
            );
            why.reasons.push(reason("raise", text, "operator"));
        }
        if job.state == JobState::Open {
            for wait in view.waits_for {
                let whose = match wait.kind.as_str() {
                    "hold" => "operator",
                    "failed_job" | "dep_wait" => "recipe",
                    _ => "farm",
                };
                why.reasons.push(reason(&wait.kind, wait.text, whose));
            }
        }
        for attempt in self.farm().attempts_of(job.id) {
            let host = self.host_name(&attempt.builder);
            let told = match &attempt.state {
                AttemptState::Ended { blame, fault } => {
                    let text = format!("attempt {} on {host}: {fault}", attempt.id);
                    Some(reason("attempt", text, blame.as_str()))
                }
                AttemptState::Assigned | AttemptState::Building => {
                    let text = format!("attempt {} ran on {host}", attempt.id);
                    Some(reason("attempt", text, "farm"))
                }
                AttemptState::Built | AttemptState::Published { .. } => None,
            };
            why.reasons.extend(told);
            why.reasons
                .extend(self.evidence(attempt.id, &attempt.state));
        }
        why
    }

    fn evidence(&self, attempt: AttemptId, state: &AttemptState) -> Option<ReasonView> {
        let AttemptState::Ended { blame, .. } = state else {
            return None;
        };
        let measures = self.farm().measures.get(&attempt)?;
        let lines = measures.evidence.join("\n");
        (!lines.is_empty()).then(|| reason("evidence", lines, Blame::as_str(*blame)))
    }

    fn why_builder(&self, builder: &BuilderView) -> WhyView {
        let running: Vec<&str> = builder
            .slots
            .iter()
            .filter_map(|slot| slot.recipe.as_deref())
            .collect();
        let built = match running.as_slice() {
            [] => "it built nothing".to_string(),
            running => format!("it built {}", running.join(", ")),
        };
        let holds = builder.holds.iter();
        WhyView {
            thing: builder.name.to_string(),
            kind: "builder".into(),
            state: builder.verdict.clone(),
            summary: format!("{built}; what is known of its disks, memory and load is on its page"),
            reasons: holds
                .map(|hold| {
                    let text = format!("{} by {}", hold.reason, hold.owner);
                    reason("hold", text, "operator")
                })
                .collect(),
            ..empty()
        }
    }
}

fn alarm_view(alarm: &Alarm) -> AlarmView {
    AlarmView {
        kind: alarm.kind.clone(),
        subject: Some(alarm.subject.clone()).filter(|subject| !subject.is_empty()),
        text: alarm.text.clone(),
        next: alarm.next.clone(),
        since: Some(alarm.since),
    }
}

fn empty() -> WhyView {
    WhyView {
        thing: String::new(),
        kind: String::new(),
        state: String::new(),
        summary: String::new(),
        reasons: Vec::new(),
        builders: Vec::new(),
        cheapest: None,
        start_p50_s: None,
        start_p90_s: None,
        end_p50_s: None,
        end_p90_s: None,
        time_limit: None,
        silence_limit: None,
        forecast: None,
    }
}

fn reason(kind: &str, text: String, whose: &str) -> ReasonView {
    ReasonView {
        kind: kind.into(),
        text,
        have: None,
        need: None,
        whose: whose.into(),
        next: None,
        lifts_in_s: None,
    }
}
