//! `massif plan --git PATH`: what a bare repository would take to build, without a farm.

use super::out::{Out, Style};
use super::{Verdict, args, ask, target};
use crate::fault::{Fault, Kind, Result};
use crate::host::plan::{Edges, PlanOptions, plan};

/// Reads, plans, simulates, prints.
pub(super) fn run(typed: &args::Plan, out: &Out) -> Result<Verdict> {
    let Some(git) = typed.git.clone() else {
        return Err(Fault::bug("a plan without a farm needs a repository"));
    };
    if typed.rebuild {
        return Err(Fault::new(
            Kind::Usage,
            "--rebuild needs a farm that knows what is published",
        )
        .next("leave out --git, or plan everything with --empty"));
    }
    let options = PlanOptions {
        git,
        commit: typed.commit.clone(),
        indexes: typed.index.clone(),
        durations: typed.durations.clone(),
        builders: typed.builders,
        builders_file: typed.builders_file.clone(),
        empty: typed.empty,
        edges: match typed.edges.as_deref() {
            Some("manifest") => Edges::Manifest,
            Some(_) | None => Edges::All,
        },
        steps: typed.search_steps,
        archs: typed.arch.clone(),
    };
    let (mut jobs, whole) = plan(&options)?;
    if let Some(name) = typed
        .names
        .iter()
        .find(|name| jobs.iter().all(|job| job.recipe.as_str() != **name))
    {
        return Err(
            Fault::new(Kind::NotFound, format!("there is no recipe {name}"))
                .next("see `massif plan --git PATH -q` for all names"),
        );
    }
    if !typed.names.is_empty() {
        jobs.retain(|job| typed.names.iter().any(|name| name == job.recipe.as_str()));
    }
    super::pictures::write(typed, &jobs, &whole)?;
    if let Some(path) = &typed.against {
        let value = ask::joined(&serde_json::json!({ "jobs": jobs }), &whole)?;
        super::difference::show(path, &value, out)?;
        return Ok(Verdict::Done);
    }
    match out.style {
        Style::Json => {
            let value = ask::joined(&serde_json::json!({ "jobs": jobs }), &whole)?;
            out.value(&value)?;
        }
        Style::Ids => jobs
            .iter()
            .filter(|job| !job.reasons.is_empty())
            .for_each(|job| out.line(job.recipe.as_str())),
        Style::People => {
            jobs.sort_by(|a, b| {
                let start = |at: Option<f64>| at.unwrap_or(f64::INFINITY);
                start(a.start_s).total_cmp(&start(b.start_s))
            });
            target::show_plan(&jobs, &whole, out);
        }
    }
    Ok(Verdict::Done)
}
