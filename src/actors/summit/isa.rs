//! Levels by measurement: what a builder is asked to measure, what came of it, and what is said of it.

use super::proof::{Running, Standing};
use super::state::{Builder, Done, State};
use crate::actors::avalanche::builder::Turns;
use crate::admin::Caller;
use crate::admin::summit::{Comparing, IsaList, IsaMeasure, Measurements, OneMeasurement};
use crate::admin::view::{FaultView, MeasurementView, RecipeLevelView, WorthView};
use crate::config::{isa_level, isa_word};
use crate::fault::{Fault, Kind, Result};
use crate::id::{Arch, HostId, ProfileName, ProjectName, RecipeName};
use crate::model::isa::{self, IsaRun, LEVELS_MAX, Measurement, RUNS, RUNS_MAX, Timed, Worth};
use crate::model::{Blame, Event, IsaLevel, Usage};

/// Rows of a list unless asked for more.
const ROWS: usize = 100;

impl State {
    /// `compare --isa RECIPE`.
    pub(super) fn isa_measure(&mut self, caller: &Caller, wish: &IsaMeasure) -> Result<Comparing> {
        let publication = self.locate_publication(&wish.recipe, None)?;
        let profile = self.farm.profiles.get(&publication.target.profile);
        let profile = profile.ok_or_else(|| {
            Fault::new(Kind::Conflict, "the profile that it was built for is gone")
        })?;
        let (arch, base) = (profile.arch, profile.level);
        let mut levels = vec![base];
        for word in &wish.levels {
            levels.push(isa_level(arch, word)?);
        }
        if wish.levels.is_empty() {
            levels.extend(
                [IsaLevel::V3x, IsaLevel::V4]
                    .into_iter()
                    .filter(|level| self.runs_somewhere(arch, *level)),
            );
        }
        // The same level twice is a question too: how much noise there is.
        if levels.len() < 2 {
            let what = format!(
                "no builder that is here runs a level above {}",
                isa_word(arch, base)
            );
            return Err(Fault::new(Kind::Conflict, what).next(format!(
                "--levels {} measures the noise",
                isa_word(arch, base)
            )));
        }
        if levels.len() > LEVELS_MAX {
            let what = format!("{} levels at once are too many", levels.len());
            return Err(Fault::new(Kind::Usage, what).next("measure some of them first"));
        }
        let runs = wish.runs.unwrap_or(RUNS);
        if !(1..=RUNS_MAX).contains(&runs) {
            let what = format!("{runs} runs of each level cannot be kept");
            return Err(Fault::new(Kind::Usage, what).next(format!("ask for 1 to {RUNS_MAX}")));
        }
        let on = wish.on.as_ref().map(|name| self.locate_builder(name));
        let on = on.transpose()?;
        let recipe = publication.target.recipe.clone();
        let release = publication.release.clone();
        let publisher = self.host_name(&publication.publisher);
        let turns = Some(Turns { levels, runs });
        let id = self.begin_comparison(publication, on, caller.who(), true, turns)?;
        Ok(Comparing {
            id,
            recipe,
            release,
            publisher,
        })
    }

    fn runs_somewhere(&self, arch: Arch, level: IsaLevel) -> bool {
        let mut reports = self.builders.values().map(|builder| &builder.report);
        reports.any(|report| {
            let builds = report.arch == arch && !report.slots.is_empty();
            builds && report.levels.contains(&level)
        })
    }

    /// Why a builder cannot measure all these levels, ever.
    pub(super) fn cannot_measure(&self, builder: &Builder, turns: &Turns) -> Option<String> {
        let report = &builder.report;
        let lacks = turns
            .levels
            .iter()
            .find(|level| !report.levels.contains(level))?;
        let word = isa_word(report.arch, *lacks);
        Some(format!("builder {} does not run {word}", report.name))
    }

    /// Whether nothing at all runs on a builder: what is measured there has its caches and its memory to itself.
    pub(super) fn is_empty(&self, host: &HostId) -> bool {
        let builder = self.builders.get(host);
        builder.is_some_and(|known| {
            let slots = known.report.slots.len();
            slots > 0 && self.free_slots(host) == slots
        })
    }

    /// What a builder measured becomes a row.
    pub(super) async fn measured(&mut self, id: u64, run: IsaRun, usage: Usage) -> Done<()> {
        let Some(running) = self.proofs.running.get_mut(&id) else {
            return Ok(());
        };
        let (Some(builder), Some(turns)) = (running.builder, &running.isa) else {
            return Ok(());
        };
        let asked = run.levels.iter().map(|timed| timed.level);
        if !run.is_bounded() || !asked.eq(turns.levels.iter().copied()) {
            let fault = Fault::new(Kind::Builder, "its builder measured something else");
            self.comparison_failed(id, Blame::Builder, fault);
            return Ok(());
        }
        running.stand(Standing::Done);
        let measurement = Measurement {
            id,
            attempt: running.attempt,
            target: running.publication.target.clone(),
            release: running.publication.release.clone(),
            builder,
            began: running.began,
            by: running.by.clone(),
            run,
            usage,
        };
        let by = measurement.by.clone();
        let measurement = Box::new(measurement);
        self.record_one(by, Event::IsaMeasured { measurement })
            .await?
            .ok();
        Ok(())
    }

    fn arch_of(&self, profile: &ProfileName) -> Arch {
        let profile = self.farm.profiles.get(profile);
        profile.map_or(Arch::OF_THIS_PROGRAM, |profile| profile.arch)
    }

    /// `compare --isa`: those under way, then the newest of each recipe, what gains most first.
    pub(super) fn isa_list(&self, wish: &IsaList) -> Result<Measurements> {
        let rows = wish.limit.map_or(ROWS, |rows| rows as usize);
        let rows = rows.clamp(1, crate::limit::ADMIN_PAGE_ROWS_MAX);
        let fits = |project: &ProjectName, recipe: &RecipeName| {
            wish.project.as_ref().is_none_or(|only| only == project)
                && wish.recipe.as_ref().is_none_or(|only| only == recipe)
        };
        let mut views: Vec<MeasurementView> = Vec::new();
        for (id, one) in self.proofs.running.iter().rev() {
            let target = &one.publication.target;
            if one.isa.is_some()
                && !self.farm.measurements.contains_key(id)
                && fits(&target.project, &target.recipe)
            {
                views.push(self.measuring_view(*id, one));
            }
        }
        let mut newest = std::collections::BTreeMap::new();
        for one in self.farm.measurements.values() {
            if fits(&one.target.project, &one.target.recipe) {
                newest.insert(one.target.clone(), one);
            }
        }
        let mut done: Vec<MeasurementView> = newest
            .values()
            .map(|one| self.measurement_view(one))
            .collect();
        let best = |view: &MeasurementView| {
            let ratios = view.levels.iter().filter_map(|level| level.low);
            ratios.fold(0.0, f64::max)
        };
        done.sort_by(|a, b| best(b).total_cmp(&best(a)));
        views.extend(done);
        views.truncate(rows);
        if let (true, Some(project)) = (views.is_empty(), &wish.project) {
            self.locate_project(project.as_str())?;
        }
        Ok(Measurements {
            measurements: views,
        })
    }

    /// One of them.
    pub(super) fn isa_show(&self, id: u64) -> Result<OneMeasurement> {
        let running = self.proofs.running.get(&id).filter(|one| one.isa.is_some());
        let measurement = match (self.farm.measurements.get(&id), running) {
            (Some(done), _) => self.measurement_view(done),
            (None, Some(running)) => self.measuring_view(id, running),
            (None, None) => {
                let what = format!("there is no measurement {id}");
                return Err(Fault::new(Kind::NotFound, what)
                    .next("`massif compare --isa` shows those that are kept"));
            }
        };
        Ok(OneMeasurement { measurement })
    }

    fn measuring_view(&self, id: u64, one: &Running) -> MeasurementView {
        let (state, text) = match &one.standing {
            Standing::Preparing => ("waiting", Some("what it was built from is read".into())),
            Standing::Waiting(why) => ("waiting", Some(why.clone())),
            Standing::GivingWay => ("measuring", Some("it gives way to other work".into())),
            Standing::Building | Standing::Examining | Standing::Done => ("measuring", None),
            Standing::Failed(..) => ("failed", None),
        };
        let (blame, fault) = match &one.standing {
            Standing::Failed(blame, fault) => (
                Some(super::view::blame_view(*blame)),
                Some(FaultView::from(fault)),
            ),
            _ => (None, None),
        };
        let target = &one.publication.target;
        MeasurementView {
            id,
            state: state.into(),
            text,
            over: matches!(one.standing, Standing::Failed(..)),
            project: target.project.clone(),
            recipe: target.recipe.clone(),
            release: one.publication.release.clone(),
            profile: target.profile.clone(),
            builder: one.builder.map(|builder| self.host_name(&builder)),
            processor: None,
            cores: None,
            script: None,
            runs: one.isa.as_ref().map_or(0, |turns| turns.runs),
            began: one.began,
            by: one.by.to_string(),
            phase: one.phase.clone(),
            levels: Vec::new(),
            unsaid: Vec::new(),
            blame,
            fault,
        }
    }

    fn measurement_view(&self, one: &Measurement) -> MeasurementView {
        let arch = self.arch_of(&one.target.profile);
        let base = one.run.levels.first();
        let levels = one.run.levels.iter().enumerate().map(|(at, timed)| {
            let worth = base
                .filter(|_| at > 0)
                .and_then(|base| isa::worth(base, timed));
            worth_view(arch, timed, worth.as_ref())
        });
        let runs = base.map_or(0, |base| base.cpu_ms.len());
        MeasurementView {
            id: one.id,
            state: "done".into(),
            text: None,
            over: true,
            project: one.target.project.clone(),
            recipe: one.target.recipe.clone(),
            release: one.release.clone(),
            profile: one.target.profile.clone(),
            builder: Some(self.host_name(&one.builder)),
            processor: Some(one.run.processor.clone()),
            cores: Some(one.run.cores),
            script: Some(one.run.script.clone()),
            runs: u32::try_from(runs).unwrap_or(u32::MAX),
            began: one.began,
            by: one.by.to_string(),
            phase: None,
            levels: levels.collect(),
            unsaid: isa::unsaid(&one.run),
            blame: None,
            fault: None,
        }
    }

    /// For which layers a recipe is built, and why.
    pub(super) fn recipe_levels(
        &self,
        project: &ProjectName,
        recipe: &RecipeName,
    ) -> Vec<RecipeLevelView> {
        let mut views = Vec::new();
        for choice in self.farm.choices.values() {
            if choice.project != *project || choice.recipe != *recipe {
                continue;
            }
            let Some(profile) = self.farm.profiles.get(&choice.profile) else {
                continue;
            };
            let level = Some(profile.level);
            let measured = self.farm.measured(recipe, level);
            let measured = measured.filter(|one| one.target.project == *project);
            let worth = measured.and_then(|one| isa::worth_of(&one.run, profile.level));
            views.push(RecipeLevelView {
                profile: choice.profile.clone(),
                isa: isa_word(profile.arch, profile.level),
                by: choice.by.to_string(),
                since: choice.at,
                why: (!choice.why.is_empty()).then(|| choice.why.clone()),
                measurement: measured.map(|one| one.id),
                ratio: worth.as_ref().map(|worth| worth.ratio),
                low: worth.as_ref().map(|worth| worth.low),
                high: worth.as_ref().map(|worth| worth.high),
                verdict: worth.map(|worth| worth.word.as_str().into()),
            });
        }
        views
    }
}

fn worth_view(arch: Arch, timed: &Timed, worth: Option<&Worth>) -> WorthView {
    let mut times = timed.cpu_ms.clone();
    times.sort_unstable();
    WorthView {
        isa: isa_word(arch, timed.level),
        median_cpu_s: times.get(times.len() / 2).map(|ms| *ms as f64 / 1000.0),
        ratio: worth.map(|worth| worth.ratio),
        low: worth.map(|worth| worth.low),
        high: worth.map(|worth| worth.high),
        confidence: worth.map(|worth| worth.confidence),
        wall_ratio: worth.map(|worth| worth.wall_ratio),
        spread: worth.map(|worth| worth.spread),
        verdict: worth.map(|worth| worth.word.as_str().into()),
    }
}
