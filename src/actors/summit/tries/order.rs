//! The order of a try, made from the recipe directory that its owner packed.

use std::io::Read;
use std::sync::Arc;

use super::super::limits::{Expected, limits};
use super::super::state::State;
use super::super::{lookup, orders};
use super::{FIRST, Standing, Trial};
use crate::admin::summit::Try;
use crate::fault::{Fault, Kind, Result};
use crate::id::{AttemptId, CommitId, JobId, ProfileName, ProjectName};
use crate::limit;
use crate::model::{BlobRef, BuildOrder, Catalog, Entry, Reading, Target};
use crate::recipe::{self, Constraints, Facts, Recipe, constraints};

/// The recipe in a packed directory.
pub(super) fn read_packed(tar: &[u8]) -> Result<Facts> {
    let bad = |error: std::io::Error| {
        Fault::new(Kind::Usage, "the packed recipe cannot be read").because(&error)
    };
    let mut archive = tar::Archive::new(tar);
    let (mut facts, mut asked) = (None, Constraints::default());
    for entry in archive.entries().map_err(bad)? {
        let entry = entry.map_err(bad)?;
        let is = |name: &str| entry.path().is_ok_and(|path| path.as_os_str() == name);
        let (is_recipe, asks) = (is("stone.yaml"), is(constraints::FILE));
        if !is_recipe && !asks {
            continue;
        }
        let mut text = String::new();
        let max = limit::RECIPE_BYTES_MAX as u64;
        entry.take(max).read_to_string(&mut text).map_err(bad)?;
        if is_recipe {
            let (recipe, warnings) = Recipe::parse(&text, "stone.yaml")?;
            facts = Some(recipe::facts(&recipe, None, warnings)?);
        } else {
            (asked, _) = Constraints::parse(&text, constraints::FILE)?;
        }
    }
    let facts = facts.ok_or_else(|| {
        Fault::new(
            Kind::Usage,
            "there is no stone.yaml in the packed directory",
        )
        .next("give the directory of a recipe")
    })?;
    Ok(Facts {
        constraints: asked,
        ..facts
    })
}

impl State {
    pub(super) fn trial(&self, wish: &Try, facts: Facts, size: u64) -> Result<Trial> {
        let known = self.farm.profiles.keys().map(ProfileName::as_str);
        let profile = match &wish.profile {
            Some(name) => self.farm.profiles.get(name).ok_or_else(|| {
                lookup::unknown("profile", name.as_str(), known, "massif profile list")
            })?,
            None => self
                .farm
                .profiles
                .values()
                .next()
                .ok_or_else(|| Fault::new(Kind::Operator, "the farm has no profile"))?,
        };
        let on = match &wish.on {
            Some(name) => Some(self.locate_builder(name)?),
            None => None,
        };
        let mut spec: crate::model::ProfileSpec = profile.into();
        if let Some(channel) = &wish.channel {
            let farms = self.farm.profiles.values();
            if let Some(owner) = farms.into_iter().find(|other| other.channel == *channel) {
                let what = format!("channel {channel} belongs to profile {}", owner.name);
                return Err(Fault::new(Kind::Conflict, what)
                    .next("name a channel of your own; a try never touches the farm's"));
            }
            spec.channel = channel.clone();
        }
        let now = crate::actors::now();
        let mut number = FIRST + u64::try_from(now.wall.0).unwrap_or(0);
        while self.trials.0.contains_key(&JobId(number)) {
            number += 1;
        }
        let next = self
            .args
            .channels
            .borrow()
            .next_build_release(&facts.name, facts.release);
        let target = Target {
            project: try_project()?,
            recipe: facts.name.clone(),
            profile: profile.name.clone(),
        };
        let inputs = self.inputs_of_local(&target, &facts)?;
        let order = BuildOrder {
            attempt: AttemptId {
                job: JobId(number),
                try_no: 1,
            },
            recipe: facts.name.clone(),
            version: facts.version.clone(),
            release: facts.release,
            build_release: next,
            profile: spec,
            recipe_tar: BlobRef {
                sha256: wish.recipe_tar,
                size,
            },
            source_date_epoch: now.wall.0 / 1000,
            jobs: facts.constraints.cores,
            inputs,
            limits: limits(
                profile,
                Expected {
                    asked_s: facts.constraints.time_s,
                    ..Expected::default()
                },
                facts.constraints.memory_mib.unwrap_or(0),
            ),
        };
        Ok(Trial {
            order,
            on,
            publishes: wish.channel.is_some(),
            builder: None,
            standing: Standing::Waiting("it is about to be given to a builder".into()),
            not_before_ms: 0,
            changed_ms: now.mono_ms,
            phase: None,
            log_bytes: 0,
            expected_s: self.expected_of_local(&target, &facts),
            given_back: 0,
            stored: wish.recipe_tar,
            changed: now.wall,
            made: Vec::new(),
            coming: false,
        })
    }

    /// Seconds that a recipe's build should take: as the farm's own of that name did, else as recipes like it do.
    fn expected_of_local(&self, local: &Target, facts: &Facts) -> Option<f64> {
        let projects = self.farm.projects.keys();
        let mut known = projects.filter_map(|project| {
            let target = Target {
                project: project.clone(),
                ..local.clone()
            };
            self.estimates.of(&target, None)
        });
        let found = known
            .next()
            .or_else(|| self.estimates.of(local, Some(facts)));
        found.map(|estimate| estimate.seconds)
    }

    /// The build root of a recipe that is in no repository: a copy of the planner takes it in, and is thrown away.
    fn inputs_of_local(&self, target: &Target, facts: &Facts) -> Result<Vec<crate::model::Input>> {
        let nothing = CommitId([0; 20]);
        let entry = Entry {
            dir: "try".into(),
            tree: nothing,
            text: nothing,
            reading: Reading::Good(Box::new(facts.clone())),
        };
        let mut planner = self.planner.clone();
        planner.set_project(&target.project, self.rules(&target.project));
        planner.set_catalog(&Catalog {
            project: target.project.clone(),
            commit: nothing,
            entries: vec![Arc::new(entry)],
        });
        let closure = planner.closure(target).map_err(|waits| {
            let texts: Vec<String> = waits.iter().map(|wait| wait.text.clone()).collect();
            Fault::new(
                Kind::Recipe,
                format!("{} cannot be built: {}", target.recipe, texts.join("; ")),
            )
            .next("publish what is missing first, or add a remote that has it to the profile")
        })?;
        orders::inputs_of(closure)
    }
}

fn try_project() -> Result<ProjectName> {
    "massif-try"
        .parse()
        .map_err(|error| Fault::bug("a built-in name is none").because(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_without_a_recipe_is_refused_with_the_next_step() {
        let empty = tar::Builder::new(Vec::new()).into_inner().unwrap();
        assert_eq!(read_packed(&empty).unwrap_err().kind, Kind::Usage);
        assert!(read_packed(b"no archive at all, but long enough to look like one").is_err());
    }
}
