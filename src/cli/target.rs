//! `profile` and `plan`.

use super::Verdict;
use super::args;
use super::ask::{self, Host};
use super::out::{Out, Style, Table, Tone, cell, known, plain};
use super::show::{self, count, fault_text};
use super::text;
use crate::admin::summit;
use crate::admin::view::{CycleView, PlanJobView, PlanView, ProfileView, RemoteView};
use crate::config::isa_word;
use crate::fault::{Fault, Kind, Result};
use crate::id::{Arch, RecipeName};
use crate::limit;
use crate::model::IsaLevel;

pub(super) async fn profile(host: &Host, profile: &args::Profile, out: &Out) -> Result<Verdict> {
    let profiles = match profile {
        args::Profile::List => host.ask(&summit::ProfileList {}).await?.profiles,
        args::Profile::Show { name } => {
            let found = host
                .ask(&summit::ProfileShow { name: name.clone() })
                .await?
                .profile;
            return show_profile(&found, out);
        }
        args::Profile::Add(add) => {
            let found = host
                .ask(&summit::ProfileAdd {
                    profile: profile_of(add)?,
                    over: add.over.clone(),
                })
                .await?
                .profile;
            return show_profile(&found, out);
        }
    };
    match out.style {
        Style::Json => out.value(&profiles)?,
        Style::Ids => profiles
            .iter()
            .for_each(|profile| out.line(profile.name.as_str())),
        Style::People => {
            let mut table = Table::new()
                .column("profile")
                .column("isa")
                .column("executor")
                .words("base")
                .column("channel")
                .words("remotes");
            for profile in &profiles {
                let remotes: Vec<&str> = profile
                    .remotes
                    .iter()
                    .map(|remote| remote.name.as_str())
                    .collect();
                table.row([
                    cell(&profile.name, Tone::Strong),
                    plain(&profile.isa),
                    plain(&profile.executor),
                    plain(&profile.base),
                    plain(&profile.channel),
                    plain(remotes.join(" ")),
                ]);
            }
            out.table(&table);
        }
    }
    Ok(Verdict::Done)
}

fn profile_of(add: &args::ProfileAdd) -> Result<ProfileView> {
    let arch = add.arch.unwrap_or(Arch::OF_THIS_PROGRAM);
    let mut remotes = Vec::new();
    for (at, remote) in add.remotes.iter().enumerate() {
        let Some((name, url)) = remote.split_once('=') else {
            return Err(Fault::new(Kind::Usage, format!("{remote:?} is no remote"))
                .next("write NAME=URL of a stone.index"));
        };
        let rank = i32::try_from(add.remotes.len() - at).unwrap_or(i32::MAX);
        let path = std::path::Path::new(url);
        let url = if url.contains("://") {
            url.to_owned()
        } else {
            super::repository::absolute(path)?
        };
        remotes.push(RemoteView {
            name: name.to_owned(),
            url,
            priority: rank.saturating_mul(10),
        });
    }
    Ok(ProfileView {
        name: add.name.clone(),
        arch,
        isa: add
            .isa
            .clone()
            .unwrap_or_else(|| isa_word(arch, IsaLevel::Baseline)),
        toolchain: add.toolchain.clone(),
        executor: add.executor.clone(),
        base: add.base.clone(),
        channel: add.channel.clone(),
        remotes,
        phase_s_max: add.phase_timeout.map(|time| time.as_secs()),
        log_bytes_max: limit::LOG_BYTES_MAX,
        compiler_cache: add.compiler_cache.clone(),
        compiler_cache_bytes: add
            .compiler_cache_mib
            .map(|mib| mib.saturating_mul(1 << 20)),
    })
}

fn show_profile(profile: &ProfileView, out: &Out) -> Result<Verdict> {
    match out.style {
        Style::Json => out.value(profile)?,
        Style::Ids => out.line(profile.name.as_str()),
        Style::People => {
            out.field("profile", profile.name.as_str());
            out.field("isa", &profile.isa);
            out.field("toolchain", &profile.toolchain);
            out.field("executor", &profile.executor);
            out.field("base", &profile.base);
            out.field("channel", profile.channel.as_str());
            for remote in &profile.remotes {
                out.field(
                    "remote",
                    format!(
                        "{} {} (priority {})",
                        remote.name, remote.url, remote.priority
                    ),
                );
            }
            out.field(
                "phase limit",
                profile
                    .phase_s_max
                    .map(|seconds| text::span(seconds as f64))
                    .unwrap_or_default(),
            );
            out.field("log limit", text::bytes(profile.log_bytes_max));
            if let (Some(program), Some(bytes)) =
                (&profile.compiler_cache, profile.compiler_cache_bytes)
            {
                let room = text::bytes(bytes);
                out.field(
                    "cache",
                    format!("{program}, {room} in each slot of a builder"),
                );
            }
        }
    }
    Ok(Verdict::Done)
}

pub(super) async fn plan(host: &Host, plan: &args::Plan, out: &Out) -> Result<Verdict> {
    let mut client = host.connect().await?;
    let mut ask = summit::Plan {
        names: plan.names.clone(),
        rebuild: plan.rebuild.then_some(true),
        profile: plan.profile.clone(),
        builders: plan.builders,
        edges: plan.edges.clone(),
        after: None,
        limit: None,
    };
    let mut jobs = Vec::new();
    let mut whole = None;
    loop {
        let page = client.call(&ask).await?;
        whole = whole.or(page.plan);
        jobs.extend(page.jobs);
        ask.after = page.next;
        if ask.after.is_none() {
            break;
        }
    }
    let whole = whole.ok_or_else(|| Fault::bug("the plan came without its summary"))?;
    super::pictures::write(plan, &jobs, &whole)?;
    if let Some(path) = &plan.against {
        let value = ask::joined(&serde_json::json!({ "jobs": jobs }), &whole)?;
        super::difference::show(path, &value, out)?;
        return Ok(Verdict::Done);
    }
    match out.style {
        Style::Json => {
            let mut value = serde_json::json!({ "jobs": jobs });
            value = ask::joined(&value, &whole)?;
            out.value(&value)?;
        }
        Style::Ids => jobs
            .iter()
            .filter(|job| !job.reasons.is_empty())
            .for_each(|job| out.line(job.recipe.as_str())),
        Style::People => show_plan(&jobs, &whole, out),
    }
    Ok(Verdict::Done)
}

pub(super) fn show_plan(jobs: &[PlanJobView], plan: &PlanView, out: &Out) {
    if plan.builds > 0 {
        show_plan_jobs(jobs, out);
    }
    for cycle in &plan.cycles {
        show_cycle(cycle, out);
    }
    for missing in &plan.unresolved {
        let (dependency, recipes) = (&missing.dependency, names(&missing.recipes).join(", "));
        out.toned(
            Tone::Warn,
            format!("nothing provides {dependency}, which {recipes} needs"),
        );
    }
    // What no builder of this plan can run never starts: a time without it would be a lie.
    let never = jobs
        .iter()
        .filter(|job| !job.reasons.is_empty() && job.start_s.is_none());
    let never = never.count() as u64;
    let time = match plan.makespan_s {
        Some(seconds) if never < plan.builds => format!(", about {} in all", text::span(seconds)),
        _ => String::new(),
    };
    out.line(format!(
        "{} of {} would be built{time}",
        plan.builds,
        count(plan.rows, "recipe")
    ));
    if never > 0 {
        let text = format!(
            "{never} of them would not start as things are: no builder can run them, or they wait for what nobody provides"
        );
        out.toned(Tone::Bad, text);
    }
    if let Some(here) = plan.makespan_here_s {
        out.field("as it is now", format!("about {}", text::span(here)));
    }
    if let Some(bound) = plan.lower_bound_s.filter(|_| never < plan.builds) {
        let least = format!("{}; no order is faster", text::span(bound));
        out.field("at least", least);
    }
    if let Some(known) = &plan.estimates {
        out.field("predictions", show::accuracy(known));
    }
    if !plan.critical_path.is_empty() {
        out.field("longest way", names(&plan.critical_path).join(" > "));
    }
}

fn names(recipes: &[RecipeName]) -> Vec<&str> {
    recipes.iter().map(|name| name.as_str()).collect()
}

/// The jobs with something to say: those that would be built, and those that something keeps from it.
fn show_plan_jobs(jobs: &[PlanJobView], out: &Out) {
    let mut table = Table::new()
        .number("start")
        .number("takes")
        .column("recipe")
        .column("release")
        .column("profile")
        .words("after")
        .words("because");
    let span = |seconds: Option<f64>| known(seconds.map(text::span));
    for job in jobs.iter().filter(|job| {
        !job.reasons.is_empty() || !job.faults.is_empty() || !job.unresolved.is_empty()
    }) {
        let release = match (&job.version, job.release) {
            (Some(version), Some(number)) => show::release(version, number, 0),
            _ => "?".into(),
        };
        let because = match (job.faults.first(), job.unresolved.as_slice()) {
            (Some(fault), _) => cell(fault_text(fault), Tone::Bad),
            (None, []) => plain(job.reasons.join("; ")),
            (None, names) => cell(format!("nothing provides {}", names.join(", ")), Tone::Bad),
        };
        let takes = job.end_s.zip(job.start_s).map(|(end, start)| end - start);
        table.row([
            span(job.start_s),
            span(takes),
            cell(&job.recipe, Tone::Strong),
            plain(release),
            plain(&job.profile),
            plain(names(&job.depends_on).join(" ")),
            because,
        ]);
    }
    out.table(&table);
}

/// A cycle, its cuts, and what stands in for each.
fn show_cycle(cycle: &CycleView, out: &Out) {
    let members = count(cycle.members.len() as u64, "recipe");
    out.toned(
        Tone::Warn,
        format!("cycle of {members}: {}", names(&cycle.members).join(" ")),
    );
    if let Some(least) = cycle.cuts_lower_bound {
        let cuts = count(cycle.cuts.len() as u64, "cut");
        out.line(format!(
            "  opened by {cuts}; fewer than {least} cannot open it"
        ));
    }
    for cut in &cycle.cuts {
        let instead = cut
            .served_by
            .as_deref()
            .unwrap_or("nothing: it would have to come from elsewhere");
        out.line(format!(
            "  {} is built before {}; {} comes from {instead}",
            cut.recipe, cut.provider, cut.dependency
        ));
    }
    if !cycle.bootstrap_needs.is_empty() {
        let needs = names(&cycle.bootstrap_needs).join(" ");
        out.toned(Tone::Bad, format!("  bootstrap needs: {needs}"));
    }
}
