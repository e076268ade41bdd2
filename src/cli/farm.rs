//! `project`, `recipe`, `profile`, `plan` and `builder`.

use super::Verdict;
use super::args;
use super::ask::{self, Host};
use super::out::{Out, Style, Table, Tone, cell, known, plain};
use super::show::{self, count, fault_text, moment};
use super::text;
use super::wait::await_intake;
use crate::admin::summit;
use crate::admin::view::{
    BuilderView, DiskView, PlanJobView, PlanView, ProfileView, ProjectView, RecipeDetail,
    RecipeView, RemoteView,
};
use crate::config::isa_word;
use crate::fault::{Fault, Kind, Result};
use crate::id::Arch;
use crate::limit;
use crate::model::IsaLevel;

pub(super) async fn project(host: &Host, project: &args::Project, out: &Out) -> Result<Verdict> {
    match project {
        args::Project::List => {
            let projects = host.ask(&summit::ProjectList {}).await?.projects;
            list_projects(&projects, out)?;
        }
        args::Project::Show { name } => {
            let found = host
                .ask(&summit::ProjectShow { name: name.clone() })
                .await?
                .project;
            show_project(&found, out)?;
        }
        args::Project::Remove { name } => {
            let found = host
                .ask(&summit::ProjectRemove { name: name.clone() })
                .await?
                .project;
            match out.style {
                Style::People => out.line(format!(
                    "{} is forgotten; what it published stays",
                    found.name
                )),
                Style::Json | Style::Ids => show_project(&found, out)?,
            }
        }
        args::Project::Add {
            name,
            url,
            branch,
            build,
            no_wait,
            timeout,
        } => {
            let ask = summit::ProjectAdd {
                name: name.clone(),
                url: absolute_url(url)?,
                branch: branch.clone(),
                build_all: build.map(|what| matches!(what, args::BuildWhat::All)),
            };
            let ordered = host.ask(&ask).await?;
            let limit = (!no_wait).then_some(*timeout);
            return follow_intake(host, ordered, limit, out).await;
        }
        args::Project::Refresh {
            name,
            no_wait,
            timeout,
        } => {
            let ordered = host
                .ask(&summit::ProjectRefresh { name: name.clone() })
                .await?;
            let limit = (!no_wait).then_some(*timeout);
            return follow_intake(host, ordered, limit, out).await;
        }
    }
    Ok(Verdict::Done)
}

/// A directory as the host will find it: it does not run where we are.
fn absolute_url(url: &str) -> Result<String> {
    let path = std::path::Path::new(url);
    if !url.contains("://") && path.is_dir() {
        super::repository::absolute(path)
    } else {
        Ok(url.to_owned())
    }
}

async fn follow_intake(
    host: &Host,
    ordered: summit::Ordered,
    limit: Option<std::time::Duration>,
    out: &Out,
) -> Result<Verdict> {
    let project = match limit {
        Some(limit) => await_intake(host, &ordered, limit).await?,
        None => ordered.project,
    };
    show_project(&project, out)?;
    match project.fault {
        Some(fault) if limit.is_some() => Err(fault.into()),
        _ => Ok(Verdict::Done),
    }
}

fn list_projects(projects: &[ProjectView], out: &Out) -> Result<()> {
    match out.style {
        Style::Json => return out.value(&projects),
        Style::Ids => projects
            .iter()
            .for_each(|project| out.line(project.name.as_str())),
        Style::People => {
            let mut table = Table::new()
                .column("project")
                .column("commit")
                .number("recipes")
                .number("faulty")
                .column("looked")
                .words("url")
                .words("trouble");
            for project in projects {
                let trouble = project
                    .fault
                    .as_ref()
                    .map(fault_text)
                    .or_else(|| project.confirm.clone())
                    .unwrap_or_default();
                table.row([
                    cell(&project.name, Tone::Strong),
                    known(project.commit.map(|commit| commit.short())),
                    plain(project.recipes),
                    cell(
                        project.faulty,
                        if project.faulty > 0 {
                            Tone::Warn
                        } else {
                            Tone::Plain
                        },
                    ),
                    known(
                        project
                            .last_poll
                            .map(|at| format!("{} ago", show::took(at, None))),
                    ),
                    plain(&project.url),
                    cell(trouble, Tone::Bad),
                ]);
            }
            out.table(&table);
        }
    }
    Ok(())
}

fn show_project(project: &ProjectView, out: &Out) -> Result<()> {
    match out.style {
        Style::Json => return out.value(project),
        Style::Ids => out.line(project.name.as_str()),
        Style::People => {
            out.field("project", project.name.as_str());
            out.field("url", &project.url);
            out.field(
                "branch",
                project.branch.as_deref().unwrap_or("the remote's default"),
            );
            if let Some(commit) = project.commit {
                let title = project.commit_title.as_deref().unwrap_or_default();
                let at = project.commit_at.map(moment).unwrap_or_default();
                out.field("commit", format!("{} {at} {title}", commit.short()));
            }
            let faulty = if project.faulty > 0 {
                format!(
                    ", {} faulty: see `massif recipe list --faulty`",
                    project.faulty
                )
            } else {
                String::new()
            };
            out.field("recipes", format!("{}{faulty}", project.recipes));
            out.field(
                "looked",
                project
                    .last_poll
                    .map(|at| format!("{} ago", show::took(at, None)))
                    .unwrap_or_default(),
            );
            out.field(
                "waits for you",
                project.confirm.as_deref().unwrap_or_default(),
            );
            out.field(
                "trouble",
                project.fault.as_ref().map(fault_text).unwrap_or_default(),
            );
        }
    }
    Ok(())
}

pub(super) async fn recipe(host: &Host, recipe: &args::Recipe, out: &Out) -> Result<Verdict> {
    match recipe {
        args::Recipe::List {
            text,
            project,
            faulty,
        } => {
            let ask = summit::RecipeList {
                project: project.clone(),
                text: text.clone(),
                faulty: faulty.then_some(true),
                after: None,
                limit: None,
            };
            list_recipes(&ask::all(host, &ask, None).await?, out)?;
        }
        args::Recipe::Show { name } => {
            let found = host.ask(&summit::RecipeShow { name: name.clone() }).await?;
            match (out.style, &found.detail) {
                (Style::Json, Some(detail)) => out.value(&ask::joined(&found.recipe, detail)?)?,
                (Style::Json, None) => out.value(&found.recipe)?,
                (Style::Ids, _) => out.line(found.recipe.name.as_str()),
                (Style::People, _) => show_recipe(&found.recipe, found.detail.as_ref(), out),
            }
        }
        args::Recipe::History { name, limit } => {
            let changes = host
                .ask(&summit::RecipeHistory {
                    name: name.clone(),
                    limit: Some(*limit),
                })
                .await?
                .changes;
            match out.style {
                Style::Json => out.value(&changes)?,
                Style::Ids => changes
                    .iter()
                    .for_each(|change| out.line(change.commit.to_string())),
                Style::People => {
                    let mut table = Table::new()
                        .column("commit")
                        .column("when")
                        .words("who")
                        .words("what");
                    for change in &changes {
                        table.row([
                            plain(change.commit.short()),
                            plain(moment(change.at)),
                            plain(&change.author),
                            plain(&change.title),
                        ]);
                    }
                    out.table(&table);
                }
            }
        }
    }
    Ok(Verdict::Done)
}

fn list_recipes(recipes: &[RecipeView], out: &Out) -> Result<()> {
    match out.style {
        Style::Json => return out.value(&recipes),
        Style::Ids => recipes
            .iter()
            .for_each(|recipe| out.line(recipe.name.as_str())),
        Style::People => {
            let mut table = Table::new()
                .column("recipe")
                .column("project")
                .column("release")
                .words("published")
                .column("job")
                .words("summary");
            for recipe in recipes {
                let version = match (&recipe.version, recipe.release) {
                    (Some(version), Some(number)) => plain(show::release(version, number, 0)),
                    _ => cell("faulty", Tone::Bad),
                };
                let state = recipe.state.map_or_else(
                    || plain(""),
                    |state| cell(state.as_str(), show::tone_of_job(state)),
                );
                let last = recipe
                    .fault
                    .as_ref()
                    .map(fault_text)
                    .unwrap_or_else(|| recipe.summary.clone());
                table.row([
                    cell(&recipe.name, Tone::Strong),
                    plain(&recipe.project),
                    version,
                    plain(
                        recipe
                            .published
                            .as_ref()
                            .map(show::published)
                            .unwrap_or_default(),
                    ),
                    state,
                    cell(
                        last,
                        if recipe.fault.is_some() {
                            Tone::Bad
                        } else {
                            Tone::Plain
                        },
                    ),
                ]);
            }
            out.table(&table);
        }
    }
    Ok(())
}

fn show_recipe(recipe: &RecipeView, detail: Option<&RecipeDetail>, out: &Out) {
    let release = match (&recipe.version, recipe.release) {
        (Some(version), Some(number)) => show::release(version, number, 0),
        _ => "faulty".into(),
    };
    out.field("recipe", format!("{} {release}", recipe.name));
    out.field("summary", &recipe.summary);
    out.field("from", format!("{} of {}", recipe.dir, recipe.project));
    out.field(
        "fault",
        recipe.fault.as_ref().map(fault_text).unwrap_or_default(),
    );
    for warning in &recipe.warnings {
        out.field("warning", fault_text(warning));
    }
    out.field("licences", recipe.licenses.join(", "));
    out.field(
        "published",
        recipe
            .published
            .as_ref()
            .map(show::published)
            .unwrap_or_default(),
    );
    if let (Some(job), Some(state)) = (recipe.job, recipe.state) {
        out.field("newest job", format!("{job}, {}", state.as_str()));
    }
    let Some(detail) = detail else { return };
    out.field("homepage", &detail.homepage);
    out.field("about", detail.description.trim());
    if let Some(change) = &detail.changed {
        out.field(
            "changed",
            format!(
                "{} {} by {}: {}",
                change.commit.short(),
                moment(change.at),
                change.author,
                change.title
            ),
        );
    }
    for upstream in &detail.upstreams {
        let cached = match upstream.cached {
            Some(true) => "cached",
            Some(false) => "not cached",
            None => "cache not known",
        };
        let mark = upstream
            .sha256
            .map(|hash| hash.to_string())
            .or_else(|| upstream.reference.clone())
            .unwrap_or_default();
        out.field("upstream", format!("{} {mark} ({cached})", upstream.url));
    }
    out.field("built with", detail.build_systems.join(", "));
    if detail.networking {
        out.field("network", "its phases may reach the network");
    }
    for origin in ["build", "check", "toolchain", "macro"] {
        let needs: Vec<String> = detail
            .needs
            .iter()
            .filter(|need| need.origin == origin)
            .map(|need| match (&need.provider, need.from.as_str()) {
                (_, "nothing") => format!("{} (nothing provides it!)", need.dependency),
                (Some(provider), from) => format!("{} ({from} {provider})", need.dependency),
                (None, from) => format!("{} ({from})", need.dependency),
            })
            .collect();
        out.field(&format!("needs, {origin}"), needs.join("\n"));
    }
    for package in &detail.packages {
        out.field("makes", format!("{}: {}", package.name, package.summary));
        out.field("  provides", package.provides.join(" "));
        out.field("  depends", package.depends.join(" "));
    }
    if !detail.from_manifest {
        out.field(
            "note",
            "what it provides is known after the first build: there is no manifest beside it",
        );
    }
    let jobs: Vec<String> = detail.jobs.iter().map(ToString::to_string).collect();
    out.field("jobs", jobs.join(" "));
}

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

fn show_plan(jobs: &[PlanJobView], plan: &PlanView, out: &Out) {
    let mut table = Table::new()
        .number("start")
        .number("takes")
        .column("recipe")
        .column("release")
        .column("profile")
        .words("because")
        .words("after");
    let span = |seconds: Option<f64>| known(seconds.map(text::span));
    for job in jobs.iter().filter(|job| {
        !job.reasons.is_empty() || !job.faults.is_empty() || !job.unresolved.is_empty()
    }) {
        let release = match (&job.version, job.release) {
            (Some(version), Some(number)) => show::release(version, number, 0),
            _ => "?".into(),
        };
        let trouble =
            job.faults
                .first()
                .map(fault_text)
                .or_else(|| match job.unresolved.as_slice() {
                    [] => None,
                    names => Some(format!("nothing provides {}", names.join(", "))),
                });
        let because = match trouble {
            Some(trouble) => cell(trouble, Tone::Bad),
            None => plain(job.reasons.join("; ")),
        };
        let after: Vec<&str> = job.depends_on.iter().map(|name| name.as_str()).collect();
        let takes = job.end_s.zip(job.start_s).map(|(end, start)| end - start);
        table.row([
            span(job.start_s),
            span(takes),
            cell(&job.recipe, Tone::Strong),
            plain(release),
            plain(&job.profile),
            because,
            plain(after.join(" ")),
        ]);
    }
    if plan.builds > 0 {
        out.table(&table);
    }
    for cycle in &plan.cycles {
        let members: Vec<&str> = cycle.members.iter().map(|name| name.as_str()).collect();
        out.toned(
            Tone::Warn,
            format!(
                "cycle of {}: {}",
                count(members.len() as u64, "recipe"),
                members.join(" ")
            ),
        );
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
            let needs: Vec<&str> = cycle
                .bootstrap_needs
                .iter()
                .map(|name| name.as_str())
                .collect();
            out.toned(Tone::Bad, format!("  bootstrap needs: {}", needs.join(" ")));
        }
    }
    for missing in &plan.unresolved {
        let recipes: Vec<&str> = missing.recipes.iter().map(|name| name.as_str()).collect();
        out.toned(
            Tone::Warn,
            format!(
                "nothing provides {}, which {} needs",
                missing.dependency,
                recipes.join(", ")
            ),
        );
    }
    let time = plan.makespan_s.map_or_else(String::new, |seconds| {
        format!(", about {} in all", text::span(seconds))
    });
    out.line(format!(
        "{} of {} would be built{time}",
        plan.builds,
        count(plan.rows, "recipe")
    ));
    if !plan.critical_path.is_empty() {
        let path: Vec<&str> = plan
            .critical_path
            .iter()
            .map(|name| name.as_str())
            .collect();
        out.field("longest way", path.join(" > "));
    }
}

pub(super) async fn builder(host: &Host, builder: &args::Builder, out: &Out) -> Result<Verdict> {
    let builders = match builder {
        args::Builder::List => host.ask(&summit::BuilderList {}).await?.builders,
        args::Builder::Show { name } => {
            let found = host
                .ask(&summit::BuilderShow { name: name.clone() })
                .await?
                .builder;
            match out.style {
                Style::Json => out.value(&found)?,
                Style::Ids => out.line(found.name.as_str()),
                Style::People => show_builder(&found, out),
            }
            return Ok(Verdict::Done);
        }
    };
    match out.style {
        Style::Json => out.value(&builders)?,
        Style::Ids => builders
            .iter()
            .for_each(|builder| out.line(builder.name.as_str())),
        Style::People => {
            let mut table = Table::new()
                .column("builder")
                .column("trust")
                .column("verdict")
                .number("heard")
                .column("slots")
                .column("disk")
                .words("works on")
                .words("held");
            for builder in &builders {
                let busy: Vec<String> = builder
                    .slots
                    .iter()
                    .filter_map(|slot| {
                        Some(format!(
                            "{} {}",
                            slot.recipe.as_deref()?,
                            slot.phase.as_deref().unwrap_or_default()
                        ))
                    })
                    .collect();
                let holds: Vec<String> = builder.holds.iter().map(show::hold_text).collect();
                table.row([
                    cell(&builder.name, Tone::Strong),
                    plain(&builder.trust),
                    cell(&builder.verdict, tone_of(&builder.verdict)),
                    known(builder.last_heard_s.map(text::span)),
                    plain(format!("{}/{}", busy.len(), builder.slots.len())),
                    known(
                        builder
                            .disks
                            .iter()
                            .filter_map(|disk| disk.free_bytes)
                            .min()
                            .map(|bytes| format!("{} free", text::bytes(bytes))),
                    ),
                    plain(busy.join(", ")),
                    plain(holds.join(", ")),
                ]);
            }
            out.table(&table);
        }
    }
    Ok(Verdict::Done)
}

fn tone_of(verdict: &str) -> Tone {
    show::tone_of_verdict(verdict)
}

fn show_builder(builder: &BuilderView, out: &Out) {
    out.field(
        "builder",
        format!("{} ({})", builder.name, builder.id.short()),
    );
    out.field("trust", &builder.trust);
    out.field("verdict", &builder.verdict);
    out.field("evidence", builder.evidence.join("\n"));
    out.field(
        "last heard",
        builder.last_heard_s.map_or_else(
            || "never".into(),
            |seconds| format!("{} ago", text::span(seconds)),
        ),
    );
    for hold in &builder.holds {
        out.field("hold", show::hold_text(hold));
    }
    let cores = builder
        .cores
        .map_or_else(|| "? cores".into(), |cores| count(cores, "core"));
    let memory = match (builder.memory_free_bytes, builder.memory_total_bytes) {
        (Some(free), Some(total)) => {
            format!("{} of {} free", text::bytes(free), text::bytes(total))
        }
        _ => "memory not known".into(),
    };
    out.field("machine", format!("{}, {cores}, {memory}", builder.arch));
    for disk in &builder.disks {
        out.field("disk", disk_text(disk));
    }
    for slot in &builder.slots {
        let what = match (slot.job, &slot.recipe) {
            (Some(job), Some(recipe)) => {
                let since = slot.since.map_or_else(String::new, |since| {
                    format!(" for {}", show::took(since, None))
                });
                format!(
                    "{recipe} (job {job}), {}{since}",
                    slot.phase.as_deref().unwrap_or("starting")
                )
            }
            _ => "idle".into(),
        };
        out.field(&format!("slot {}", slot.slot), what);
    }
}

fn disk_text(disk: &DiskView) -> String {
    let known = |bytes: Option<u64>| bytes.map_or_else(|| "?".into(), text::bytes);
    let inodes = disk
        .free_inodes
        .map_or_else(|| "?".into(), |inodes| inodes.to_string());
    let full = disk.full_in_s.map_or_else(String::new, |seconds| {
        format!(", full in {}", text::span(seconds))
    });
    format!(
        "{}: {} of {} free, {inodes} inodes free{full}",
        disk.path,
        known(disk.free_bytes),
        known(disk.total_bytes)
    )
}
