//! What is legal in a recipe and still worth mending before anybody reviews it.

use std::collections::BTreeSet;

use super::types::{Recipe, Upstream};
use crate::fault::{Fault, Kind};

/// Everything found, in the order of the checks; each with a cure.
pub fn lint(recipe: &Recipe) -> Vec<Fault> {
    let mut found = Vec::new();
    let mut say = |line: u32, what: String, next: &str| {
        let fault = Fault::new(Kind::Recipe, what).next(next);
        found.push(fault.at(recipe.file.as_str(), line, 0));
    };
    let summary = recipe.main.summary.as_deref().unwrap_or("");
    if summary.is_empty() || summary.eq_ignore_ascii_case(recipe.name.as_str()) {
        say(
            0,
            "the summary says nothing".into(),
            "say in one line what the package is for",
        );
    }
    if summary.len() > 120 {
        let what = format!("the summary has {} characters", summary.len());
        say(
            0,
            what,
            "keep it below 120 and put the rest into the description",
        );
    }
    for license in recipe
        .licenses
        .iter()
        .filter(|license| license.contains(' '))
    {
        let known = [" AND ", " OR ", " WITH "]
            .iter()
            .any(|word| license.contains(word));
        if !known {
            say(
                0,
                format!("license {license:?} is not an SPDX id"),
                "see spdx.org/licenses",
            );
        }
    }
    for upstream in &recipe.upstreams {
        let url = match upstream {
            Upstream::Archive(archive) => &archive.url,
            Upstream::Git(git) => &git.url,
        };
        if url.starts_with("http://") || url.starts_with("git://") {
            say(
                0,
                format!("{url} is fetched in the open"),
                "use https where the server has it",
            );
        }
    }
    if recipe.steps.install.is_none() && recipe.profiles.is_empty() {
        say(
            0,
            "there is no install phase, so there will be no package".into(),
            "add one",
        );
    }
    for spec in &recipe.packages {
        let of_recipe = spec.name.starts_with(recipe.name.as_str());
        if spec.paths.is_empty() && spec.run_deps.is_empty() && !of_recipe {
            let what = format!("package {} takes no files", spec.name);
            say(spec.line, what, "give it paths, or remove it");
        }
    }
    found.extend(needs(recipe));
    found
}

/// Needs that are listed twice. What an action brings anyway may be listed: some authors do so on purpose.
fn needs(recipe: &Recipe) -> Vec<Fault> {
    let mut seen = BTreeSet::new();
    let listed = recipe
        .steps
        .build_deps
        .iter()
        .chain(&recipe.steps.check_deps);
    listed
        .filter(|dependency| !seen.insert(*dependency))
        .map(|dependency| {
            let what = format!("{} is listed twice", dependency.in_recipe_words());
            let fault = Fault::new(Kind::Recipe, what).next("remove one of the lines");
            fault.at(recipe.file.as_str(), 0, 0)
        })
        .collect()
}
