//! Pictures of a plan, drawn from what the farm or a bare repository answered.

use std::collections::HashMap;
use std::path::Path;

use super::args;
use crate::admin::view::{PlanJobView, PlanView};
use crate::fault::{Fault, Kind, Result};
use crate::id::{ProfileName, RecipeName};
use crate::plan::picture::{self, Drawn, Sketch};

/// Writes each picture that was asked for.
pub(super) fn write(typed: &args::Plan, jobs: &[PlanJobView], plan: &PlanView) -> Result<()> {
    let wanted = [
        (&typed.dot, picture::dot as fn(&Sketch) -> String),
        (&typed.svg, picture::svg),
        (&typed.gantt, picture::gantt),
    ];
    let wanted: Vec<_> = wanted
        .into_iter()
        .filter_map(|(path, draw)| Some((path.as_deref()?, draw)))
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let sketch = sketch(jobs, plan);
    wanted
        .into_iter()
        .try_for_each(|(path, draw)| put(path, &draw(&sketch)))
}

fn put(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|error| {
        Fault::new(Kind::Operator, format!("cannot write {}", path.display()))
            .because(&error)
            .next("give a file in a directory that you may write to")
    })
}

/// What is built of a plan, with its edges.
fn sketch(jobs: &[PlanJobView], plan: &PlanView) -> Sketch {
    let built: Vec<&PlanJobView> = jobs.iter().filter(|job| !job.reasons.is_empty()).collect();
    let mut exactly: HashMap<(&RecipeName, &ProfileName), u32> = HashMap::new();
    let mut somewhere: HashMap<&RecipeName, u32> = HashMap::new();
    for (place, job) in (0..).zip(&built) {
        exactly.insert((&job.recipe, &job.profile), place);
        somewhere.entry(&job.recipe).or_insert(place);
    }
    let drawn = |job: &&PlanJobView| {
        let place = |name: &RecipeName| {
            let same = exactly.get(&(name, &job.profile));
            same.or_else(|| somewhere.get(name)).copied()
        };
        let run = match (&job.builder, job.start_s, job.end_s) {
            (Some(builder), Some(start_s), Some(end_s)) => Some((builder.clone(), start_s, end_s)),
            _ => None,
        };
        Drawn {
            name: job.recipe.to_string(),
            before: job.depends_on.iter().filter_map(place).collect(),
            run,
        }
    };
    let of = |name: &RecipeName| somewhere.get(name).copied();
    let cuts = plan.cycles.iter().flat_map(|cycle| &cycle.cuts);
    Sketch {
        jobs: built.iter().map(drawn).collect(),
        critical_path: plan.critical_path.iter().filter_map(of).collect(),
        cuts: cuts
            .filter_map(|cut| Some((of(&cut.recipe)?, of(&cut.provider)?)))
            .collect(),
        end_s: plan.makespan_s.unwrap_or(0.0),
        bound_s: plan.lower_bound_s.unwrap_or(0.0),
    }
}
