//! `project` and `recipe`.

use super::Verdict;
use super::args;
use super::ask::{self, Host};
use super::out::{Out, Style, Table, Tone, cell, known, plain};
use super::show::{self, fault_text, moment};
use super::wait::await_intake;
use crate::admin::summit;
use crate::admin::view::{ProjectView, RecipeDetail, RecipeView};
use crate::fault::Result;

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
        args::Project::Policy {
            name,
            rebuild,
            second_pass,
            weight,
            priority,
        } => {
            let ask = summit::ProjectPolicy {
                name: name.clone(),
                rebuild: rebuild.clone(),
                second_pass: second_pass.as_deref().map(|word| word == "on"),
                weight: *weight,
                priority: *priority,
            };
            let asks = ask.rebuild.is_none()
                && ask.second_pass.is_none()
                && ask.weight.is_none()
                && ask.priority.is_none();
            let found = match asks {
                true => {
                    let show = summit::ProjectShow { name: name.clone() };
                    host.ask(&show).await?.project
                }
                false => host.ask(&ask).await?.project,
            };
            show_project(&found, out)?;
        }
        args::Project::Level {
            name,
            recipes,
            profile,
            remove,
            why,
        } => {
            let name = name.clone();
            let found = match profile.clone().filter(|_| !recipes.is_empty()) {
                Some(profile) => {
                    let ask = summit::ProjectLevel {
                        name,
                        profile,
                        recipes: recipes.clone(),
                        remove: Some(*remove),
                        why: why.clone(),
                    };
                    host.ask(&ask).await?
                }
                None => host.ask(&summit::ProjectLevels { name }).await?,
            };
            super::comparing::levels(&found, profile.as_ref(), out)?;
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
            let second = if project.second_pass {
                ", with a second pass after cycles"
            } else {
                ""
            };
            out.field("built again", format!("{}{second}", project.rebuild));
            out.field("share", project.weight.to_string());
            out.field("priority", project.priority.to_string());
            out.field("url", &project.url);
            out.field(
                "branch",
                project.branch.as_deref().unwrap_or("the remote's default"),
            );
            if let Some(commit) = project.commit {
                let words = [
                    Some(commit.short().to_string()),
                    project.commit_at.map(moment),
                    project.commit_title.clone(),
                ];
                let words: Vec<String> = words.into_iter().flatten().collect();
                out.field("commit", words.join(" "));
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
            let proof = summit::RecipeProofShow { name: name.clone() };
            let proof = host.ask(&proof).await?;
            match (out.style, &found.detail) {
                (Style::Json, Some(detail)) => {
                    let row = ask::joined(&found.recipe, detail)?;
                    out.value(&ask::joined(&row, &proof)?)?;
                }
                (Style::Json, None) => out.value(&found.recipe)?,
                (Style::Ids, _) => out.line(found.recipe.name.as_str()),
                (Style::People, _) => {
                    show_recipe(&found.recipe, found.detail.as_ref(), out);
                    super::comparing::of_recipe(&proof.proof, out);
                    super::worth::of_recipe(&proof.proof.levels, out);
                }
            }
        }
        args::Recipe::Limit { name, time, none } => {
            let name = name.clone();
            let limit = match (time, none) {
                (None, false) => {
                    let found = host.ask(&summit::RecipeShow { name }).await?;
                    found.detail.and_then(|detail| detail.time_limit)
                }
                (time, _) => {
                    let time_s = time.map(|time| time.as_secs());
                    let ask = summit::RecipeLimitSet { name, time_s };
                    host.ask(&ask).await?.limit
                }
            };
            match out.style {
                Style::Json => out.value(&limit)?,
                Style::Ids => limit
                    .iter()
                    .for_each(|limit| out.line(limit.time_s.to_string())),
                Style::People => {
                    let limit = limit.as_ref();
                    out.field("may take", limit.map_or_else(String::new, show::time_limit));
                }
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
                let state = match (&recipe.hold, recipe.state) {
                    (Some(_), _) => cell("held", Tone::Warn),
                    (None, Some(state)) => cell(state.as_str(), show::tone_of_job(state)),
                    (None, None) => plain(""),
                };
                let last = match (&recipe.fault, &recipe.hold) {
                    (Some(fault), _) => fault_text(fault),
                    (None, Some(hold)) => show::hold_text(hold),
                    (None, None) => recipe.summary.clone(),
                };
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
    if let Some(hold) = &recipe.hold {
        let next = format!("`massif build {}` builds it all the same", recipe.name);
        out.field("held", format!("{}; {next}", show::hold_text(hold)));
    }
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
    if let Some(asked) = &detail.constraints {
        let size = |mib: Option<u64>| mib.map(|mib| super::text::bytes(mib << 20));
        let parts = [
            asked.cores.map(|cores| super::show::count(cores, "core")),
            size(asked.memory_mib).map(|memory| format!("{memory} of memory")),
            size(asked.disk_mib).map(|disk| format!("{disk} of disk")),
            asked
                .time_s
                .map(|time_s| format!("{} at most", super::text::span(time_s as f64))),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        out.field("asks for", parts.join(", "));
    }
    if let Some(limit) = &detail.time_limit {
        out.field("may take", show::time_limit(limit));
    }
    if let Some(limit) = &detail.silence_limit {
        out.field("may idle", show::time_limit(limit));
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
