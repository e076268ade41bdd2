//! A whole plan without a farm: a repository and some indexes in; jobs, cycles and a simulated run out.

use std::collections::{BTreeMap, HashMap};

use super::estimate::Estimates;
use super::simulate::{Outcome, Ranking, SimJob, simulate};
use super::{
    BuilderSpec, Cycle, Edges, Isolation, Planner, ProjectRules, Rebuild, Requirements, Source,
    Trust, Wanted,
};
use crate::fault::Fault;
use crate::id::{Arch, JobId, RecipeName};
use crate::model::{Base, Catalog, Profile, Reading, Remote, Target};
use crate::recipe::{Facts, Toolchain};
use crate::stone::{Dependency, Meta};

/// What a build is known to take; what is absent is estimated.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Known {
    /// Seconds on a builder of speed 1.
    pub seconds: Option<f64>,
    /// Peak memory.
    pub memory_mib: Option<u32>,
    /// Peak disk.
    pub disk_mib: Option<u32>,
}

/// What is asked.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// The recipes, read for each architecture.
    pub catalogs: Vec<(Arch, Catalog)>,
    /// Packages that exist already.
    pub published: Vec<Meta>,
    /// By recipe name.
    pub known: HashMap<String, Known>,
    /// Who builds.
    pub builders: Vec<BuilderSpec>,
    /// Build everything, whatever is published; what is published may stand in for cuts.
    pub empty: bool,
    /// Which edges count.
    pub edges: Edges,
    /// Effort of the search for cuts.
    pub steps: u64,
}

/// One recipe for one profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Which.
    pub target: Target,
    /// `None`: it cannot be read.
    pub version: Option<String>,
    /// `None`: it cannot be read.
    pub release: Option<u64>,
    /// Why it is built; empty: it is not.
    pub reasons: Vec<String>,
    /// Recipes of this plan that are built before it; cuts left out.
    pub depends_on: Vec<RecipeName>,
    /// Why it cannot be planned.
    pub faults: Vec<Fault>,
    /// What it asks for and nothing provides.
    pub unresolved: Vec<Dependency>,
    /// What only it itself provides, so that an older one has to come from elsewhere.
    pub own_needs: Vec<Dependency>,
    /// Its place in the simulation.
    pub job: Option<u32>,
}

/// The plan.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Whole {
    /// Every recipe with a name, by profile and name.
    pub rows: Vec<Row>,
    /// Recipes that need each other, and what opens them.
    pub cycles: Vec<Cycle>,
    /// What was simulated, by place.
    pub jobs: Vec<SimJob>,
    /// How it went.
    pub outcome: Outcome,
    /// Packages that were left out because nobody asked for their architecture.
    pub strangers: usize,
}

/// Plans and simulates.
pub fn plan(ask: &Ask) -> Whole {
    let mut whole = Whole::default();
    let archs: Vec<Arch> = ask.catalogs.iter().map(|(arch, _)| *arch).collect();
    whole.strangers = ask
        .published
        .iter()
        .filter(|meta| !archs.contains(&meta.arch))
        .count();
    for (arch, catalog) in &ask.catalogs {
        one_arch(ask, *arch, catalog, &mut whole);
    }
    whole.outcome = simulate(&whole.jobs, &ask.builders, Ranking::LongestPath);
    whole
}

/// The profile that a bare repository is planned for: the distribution's own, packages only.
fn profile(arch: Arch) -> Option<Profile> {
    let mut profile = Profile::laptop(arch.as_str().parse().ok()?, "main".parse().ok()?);
    profile.arch = arch;
    profile.base = Base::Stones;
    profile.toolchain = Toolchain::Llvm;
    Some(profile)
}

fn one_arch(ask: &Ask, arch: Arch, catalog: &Catalog, whole: &mut Whole) {
    let Some(profile) = profile(arch) else { return };
    let mut planner = knowing(ask, &profile, catalog);
    let wanted = planner.jobs_wanted();
    for (number, wanted) in (1..).zip(&wanted) {
        planner.open(&wanted.target, JobId(number), &wanted.because);
    }
    let estimates = Estimates::new();
    for (target, facts) in readable(catalog, &profile) {
        let known = ask.known.get(facts.name.as_str());
        let known = known.and_then(|known| known.seconds);
        let seconds = known.unwrap_or_else(|| estimates.of_features(facts).seconds);
        planner.expect(&target, seconds);
    }
    planner.settle(ask.steps);
    whole.cycles.extend(planner.cycles(&profile.name));
    let first = whole.jobs.len() as u32;
    let places: HashMap<RecipeName, u32> = (first..)
        .zip(&wanted)
        .map(|(job, wanted)| (wanted.target.recipe.clone(), job))
        .collect();
    let because: BTreeMap<&Target, &Wanted> = wanted
        .iter()
        .map(|wanted| (&wanted.target, wanted))
        .collect();
    for entry in &catalog.entries {
        let target = target(catalog, &profile, entry.name());
        let facts = match &entry.reading {
            Reading::Good(facts) => Some(facts.as_ref()),
            Reading::Faulty { .. } => None,
        };
        let fault = planner.fault_in(&catalog.project, &entry.dir);
        if fault.is_none() && !planner.targets_of(entry.name().as_str()).contains(&target) {
            continue;
        }
        let mut row = Row {
            version: facts.map(|facts| facts.version.clone()),
            release: facts.map(|facts| facts.release),
            reasons: Vec::new(),
            depends_on: Vec::new(),
            faults: fault.cloned().into_iter().collect(),
            unresolved: Vec::new(),
            own_needs: Vec::new(),
            job: None,
            target,
        };
        if let (Some(facts), None) = (facts, fault) {
            let wanted = because.get(&row.target).copied();
            fill(ask, &planner, &mut row, wanted, &places);
            if row.job.is_some() {
                whole.jobs.push(sim_job(
                    ask, &estimates, arch, facts, &row, &places, &planner,
                ));
            }
        }
        whole.rows.push(row);
    }
    order(whole, first);
}

fn target(catalog: &Catalog, profile: &Profile, recipe: &RecipeName) -> Target {
    Target {
        project: catalog.project.clone(),
        recipe: recipe.clone(),
        profile: profile.name.clone(),
    }
}

/// The recipes that can be read, each as what this profile makes of it.
fn readable<'a>(
    catalog: &'a Catalog,
    profile: &'a Profile,
) -> impl Iterator<Item = (Target, &'a Facts)> {
    catalog
        .entries
        .iter()
        .filter_map(|entry| match &entry.reading {
            Reading::Good(facts) => Some((target(catalog, profile, &facts.name), facts.as_ref())),
            Reading::Faulty { .. } => None,
        })
}

/// A planner that knows the profile, the recipes, and what is published or may stand in.
fn knowing(ask: &Ask, profile: &Profile, catalog: &Catalog) -> Planner {
    let mut planner = Planner::new(ask.edges);
    planner.set_profile(profile);
    planner.set_project(
        &catalog.project,
        ProjectRules {
            profiles: vec![profile.name.clone()],
            chosen: BTreeMap::new(),
            priority: 0,
            rebuild: Rebuild::None,
            second_pass: false,
        },
    );
    let published: Vec<Meta> = ask
        .published
        .iter()
        .filter(|meta| meta.arch == profile.arch)
        .cloned()
        .collect();
    match ask.empty {
        // What exists is not what is published here, but it may stand in.
        true => {
            let uri = "index".to_string();
            let mut profile = profile.clone();
            profile.remotes.push(Remote {
                name: uri.clone(),
                uri: uri.clone(),
                priority: 0,
            });
            planner.set_profile(&profile);
            planner.set_index(&Source::Remote(uri), &published);
        }
        false => planner.set_index(&Source::channel(profile), &published),
    }
    planner.set_catalog(catalog);
    planner
}

/// Brings the jobs from this place on, which came in the order of directories, into the order of their places, and the rows into that of
/// their names.
fn order(whole: &mut Whole, first: u32) {
    let numbers = whole
        .rows
        .iter()
        .filter_map(|row| row.job)
        .filter(|job| *job >= first);
    let mut jobs: Vec<(u32, SimJob)> = numbers.zip(whole.jobs.drain(first as usize..)).collect();
    jobs.sort_by_key(|(place, _)| *place);
    whole.jobs.extend(jobs.into_iter().map(|(_, job)| job));
    whole.rows.sort_by(|a, b| {
        (&a.target.profile, &a.target.recipe).cmp(&(&b.target.profile, &b.target.recipe))
    });
}

/// What the planner knows of one recipe.
fn fill(
    ask: &Ask,
    planner: &Planner,
    row: &mut Row,
    wanted: Option<&Wanted>,
    places: &HashMap<RecipeName, u32>,
) {
    row.reasons = wanted.iter().map(|wanted| wanted.because.text()).collect();
    row.job = wanted.and_then(|_| places.get(&row.target.recipe).copied());
    row.unresolved = planner.unresolved_of(&row.target);
    row.own_needs = planner.own_needs(&row.target);
    row.depends_on = planner
        .edges_of(&row.target)
        .into_iter()
        // A cut that nothing stands in for only counts as one when everything is hypothetical.
        .filter(|edge| match edge.cut {
            None => true,
            Some(None) => !ask.empty,
            Some(Some(_)) => false,
        })
        .map(|edge| edge.provider.recipe)
        .filter(|provider| places.contains_key(provider))
        .collect();
}

fn sim_job(
    ask: &Ask,
    estimates: &Estimates,
    arch: Arch,
    facts: &Facts,
    row: &Row,
    places: &HashMap<RecipeName, u32>,
    planner: &Planner,
) -> SimJob {
    let known = ask
        .known
        .get(facts.name.as_str())
        .copied()
        .unwrap_or_default();
    let guess = estimates.of_features(facts);
    let seconds = known
        .seconds
        .filter(|s| s.is_finite() && *s >= 0.0)
        .unwrap_or(guess.seconds);
    SimJob {
        label: format!("{} {}-{}", facts.name, facts.version, facts.release).into(),
        account: row.target.project.as_str().into(),
        needs: Requirements {
            arch,
            level: crate::model::IsaLevel::Baseline,
            trust: Trust::Trusted,
            isolation: Isolation::Sandbox,
            cores: facts.constraints.cores.unwrap_or(1),
            memory_mib: known
                .memory_mib
                .max(facts.constraints.memory_mib)
                .unwrap_or(0),
            disk_mib: known.disk_mib.max(facts.constraints.disk_mib).unwrap_or(0),
        },
        predicted_s: seconds,
        actual_s: seconds,
        before: row
            .depends_on
            .iter()
            .filter_map(|name| places.get(name).copied())
            .collect(),
        // In a plan from nothing, what is missing would come from elsewhere too.
        stuck: !ask.empty && planner.is_stuck(&row.target),
        runs_at: None,
        not_before_s: 0.0,
    }
}

/// Builders that are all alike and have room for anything.
pub fn equal_builders(count: u32, archs: &[Arch]) -> Vec<BuilderSpec> {
    let mut builders = Vec::new();
    for number in 1..=count {
        let Ok(name) = format!("builder-{number}").parse() else {
            continue;
        };
        let mut id = [0; 32];
        for (place, byte) in id.iter_mut().zip(number.to_be_bytes()) {
            *place = byte;
        }
        builders.push(BuilderSpec {
            id: crate::id::HostId(id),
            name,
            archs: archs.to_vec(),
            level: crate::model::IsaLevel::V4,
            trust: Trust::Trusted,
            isolation: Isolation::Machine,
            slots: 1,
            cores: 64,
            memory_mib: Some(u32::MAX),
            slot_memory_mib: None,
            disk_mib: Some(u32::MAX),
            disk_whole_mib: None,
            speed: 1.0,
            away: None,
        });
    }
    builders
}

#[cfg(test)]
mod tests {
    use super::super::sample::{catalog, meta, recipe};
    use super::*;

    fn ask(recipes: &[Facts], empty: bool) -> Ask {
        Ask {
            catalogs: vec![(Arch::X86_64, catalog(recipes))],
            builders: equal_builders(2, &[Arch::X86_64]),
            edges: Edges::Manifest,
            empty,
            steps: 1_000,
            ..Ask::default()
        }
    }

    fn odd() -> Vec<Facts> {
        vec![
            recipe("a", &["binary(b)", "binary(a)"], &["binary(a)"]),
            recipe("b", &["binary(a)", "nothing-has-this"], &["binary(b)"]),
            recipe("c", &["binary(b)"], &["binary(b)"]),
            recipe("d", &[], &[]),
            recipe("d", &[], &[]),
        ]
    }

    #[test]
    fn odd_recipes_and_durations_end_in_rows_and_reasons() {
        let mut ask = ask(&odd(), true);
        for (name, seconds) in [
            ("a", 0.0),
            ("b", -5.0),
            ("c", f64::NAN),
            ("d", f64::INFINITY),
        ] {
            ask.known.insert(
                name.into(),
                Known {
                    seconds: Some(seconds),
                    ..Known::default()
                },
            );
        }
        let mut stranger = meta("e", 1, &[], &[]);
        stranger.arch = Arch::Aarch64;
        ask.published.push(stranger);
        let whole = plan(&ask);
        assert_eq!((whole.rows.len(), whole.strangers), (5, 1));
        assert_eq!(
            whole
                .rows
                .iter()
                .filter(|row| !row.faults.is_empty())
                .count(),
            1
        );
        let b = whole
            .rows
            .iter()
            .find(|row| row.target.recipe.as_str() == "b")
            .unwrap();
        assert_eq!(b.unresolved.len(), 1);
        assert_eq!(whole.outcome.ran.iter().flatten().count(), 4);
        assert!(whole.outcome.makespan_s.is_finite());
        for (job, ran) in whole.jobs.iter().zip(&whole.outcome.ran) {
            for before in &job.before {
                let earlier = whole.outcome.ran[*before as usize].unwrap();
                assert!(earlier.end_s <= ran.unwrap().start_s);
            }
        }
    }

    #[test]
    fn without_empty_what_cannot_start_does_not() {
        let whole = plan(&ask(&odd(), false));
        let ran = |name: &str| {
            let row = whole
                .rows
                .iter()
                .find(|row| row.target.recipe.as_str() == name && row.job.is_some());
            whole.outcome.ran[row.unwrap().job.unwrap() as usize].is_some()
        };
        assert!(ran("d") && !ran("b") && !ran("a"));
    }

    #[test]
    fn builders_that_match_nothing_leave_a_plan_without_times() {
        let mut none = ask(&odd(), true);
        none.builders = equal_builders(3, &[Arch::Riscv64]);
        assert!(plan(&none).outcome.ran.iter().all(Option::is_none));
        none.builders.clear();
        assert_eq!(plan(&none).outcome.makespan_s, 0.0);
    }

    #[test]
    fn two_architectures_share_the_builders_of_one_plan() {
        let recipes = [
            recipe("a", &[], &["binary(a)"]),
            recipe("b", &["binary(a)"], &[]),
        ];
        let mut both = ask(&recipes, true);
        both.catalogs.push((Arch::Aarch64, catalog(&recipes)));
        both.builders.extend(equal_builders(1, &[Arch::Aarch64]));
        let whole = plan(&both);
        assert_eq!((whole.rows.len(), whole.jobs.len()), (4, 4));
        assert!(whole.outcome.ran.iter().all(Option::is_some));
        let second = whole
            .rows
            .iter()
            .filter(|row| row.target.profile.as_str() == "aarch64");
        assert!(
            second
                .filter_map(|row| row.job)
                .all(|job| whole.outcome.ran[job as usize].unwrap().builder == 2)
        );
    }
}
