//! This builder as its owner sees it: health, slots and the builds in them, from avalanche's own state alone.

use super::State;
use crate::actors::summit;
use crate::admin::view::{
    AttemptView, BuilderView, DiskView, HoldView, JobState, JobView, SlotView,
};
use crate::id::{CommitId, ProfileName, RecipeName};
use crate::model::BuildOrder;

/// What an owner is told of an order.
#[derive(Debug, Clone)]
pub(super) struct Brief {
    recipe: RecipeName,
    version: String,
    release: u64,
    build_release: u64,
    profile: ProfileName,
}

impl Brief {
    pub(super) fn of(order: &BuildOrder) -> Brief {
        Brief {
            recipe: order.recipe.clone(),
            version: order.version.clone(),
            release: order.release,
            build_release: order.build_release,
            profile: order.profile.name.clone(),
        }
    }
}

impl State {
    /// This builder as its owner sees it.
    pub(super) fn own_view(&self) -> BuilderView {
        let report = self.report();
        let slots = report.slots.iter().zip(0..).map(|(attempt, slot)| {
            if let Some(view) = SlotView::beside(&report.slots, slot) {
                return view;
            }
            let running = attempt.and_then(|attempt| self.running.get(&attempt));
            let seen = running.map(|running| running.watch.look());
            let glance = seen.as_ref().map(|seen| seen.glance);
            SlotView {
                recipe: running.map(|running| running.recipe.clone()),
                phase: seen.as_ref().map(|seen| seen.stage.clone()),
                since: running.map(|running| running.since),
                silent_s: glance.map(|glance| glance.silent_ms as f64 / 1000.0),
                cpu_s: glance.map(|glance| glance.cpu_ms as f64 / 1000.0),
                memory_peak_bytes: glance.map(|glance| glance.memory_peak_bytes),
                disk_bytes: glance.and_then(|glance| glance.disk_bytes),
                io_bytes: seen.as_ref().map(|seen| seen.moved_bytes),
                log_bytes: seen.as_ref().map(|seen| seen.log_bytes),
                ..SlotView::of(slot, *attempt)
            }
        });
        let sample = &self.sample;
        let share = |percent: Option<f64>| percent.map(|percent| percent / 100.0);
        let draining = self.leaving.iter().map(|reason| HoldView {
            owner: self.args.name.to_string(),
            reason: format!("draining: {reason}"),
            since: None,
            expires: None,
        });
        // What summit thinks of it is summit's; a host that is both knows.
        let trust = match self.args.summit == self.args.own {
            true => "trusted",
            false => "unknown",
        };
        BuilderView {
            id: self.args.own,
            name: self.args.name.clone(),
            trust: trust.into(),
            verdict: match self.leaving {
                Some(_) => "draining".into(),
                None => self.judgement.verdict.as_str().into(),
            },
            evidence: self.judgement.evidence.clone(),
            last_heard_s: Some(0.0),
            holds: draining.collect(),
            slots: slots.collect(),
            disks: sample.disks.iter().map(disk_view).collect(),
            arch: self.args.arch,
            levels: crate::actors::summit::view::level_words(self.args.arch, &self.args.levels),
            features: self.args.features.clone(),
            cores: Some(super::share::distinct(&self.args.slots)),
            memory_total_bytes: sample.memory_total_bytes,
            memory_free_bytes: sample.memory_available_bytes,
            pressure_cpu: share(sample.cpu_pressure),
            pressure_memory: share(sample.memory_pressure),
            pressure_io: share(sample.io_pressure),
            load: sample.load_1,
            temperature_c: self.vitals.temperature_c,
            reclaimed_bytes: self.vitals.reclaimed_bytes,
            parked: self.vitals.parked,
            confined_by: Some(self.args.tools.confine.means()),
            caches: crate::actors::summit::view::cache_views(&self.compiler_caches),
            history: self.moments.views(),
            score: None,
        }
    }

    /// The builds that run here, as rows of jobs: what only summit knows of them is left out.
    pub(super) fn works(&self) -> Vec<JobView> {
        let Ok(project) = "elsewhere".parse() else {
            return Vec::new();
        };
        let host = summit_name(self);
        let running = self.running.iter().rev().map(|(attempt, running)| {
            let (seen, brief) = (running.watch.look(), &running.brief);
            JobView {
                id: attempt.job,
                project: crate::id::ProjectName::clone(&project),
                recipe: brief.recipe.clone(),
                version: brief.version.clone(),
                release: brief.release,
                build_release: brief.build_release,
                profile: brief.profile.clone(),
                state: JobState::Building,
                because: match summit::tries::is_try(attempt.job) {
                    true => format!("a try, ordered by {host}"),
                    false => format!("ordered by {host}"),
                },
                waits_for: Vec::new(),
                attempts: vec![AttemptView {
                    try_no: attempt.try_no,
                    builder: self.args.name.to_string(),
                    state: "building".into(),
                    started: running.since,
                    ended: None,
                    blame: None,
                    why: None,
                    phase: Some(seen.stage),
                    log_bytes: seen.log_bytes,
                }],
                commit: CommitId([0; 20]),
                hold: None,
                priority: None,
                estimate_s: None,
                created: running.since,
                ended: None,
            }
        });
        running.collect()
    }
}

fn summit_name(state: &State) -> String {
    let id = state.args.summit;
    let name = state.args.post.name_of(id);
    name.map_or_else(|| id.short(), |name| name.to_string())
}

fn disk_view(disk: &crate::health::DiskSample) -> DiskView {
    DiskView {
        path: disk.path.clone(),
        free_bytes: disk.free_bytes,
        total_bytes: disk.total_bytes,
        free_inodes: disk.free_inodes,
        full_in_s: disk.full_in_s,
    }
}
