//! Layers of processor levels: what an operator says of them, and what is chosen for them.

use super::state::{Done, State, refused};
use crate::admin::Caller;
use crate::admin::summit::{Levels, ProjectLevel, ProjectLevels};
use crate::admin::view::{ChosenView, LevelView};
use crate::fault::{Fault, Kind, Result};
use crate::id::{ProfileName, ProjectName};
use crate::model::level::{LAYERS_MAX, WHY_BYTES_MAX};
use crate::model::{Choice, Event, Profile, Refusal};

impl State {
    /// What is built for a layer changed for a project.
    pub(super) fn choice_moved(&mut self, project: &ProjectName) {
        let rules = self.rules(project);
        self.planner.set_project(project, rules);
        self.replan = true;
    }

    /// Whether a profile can lie above another one.
    pub(super) fn layer_fits(&self, profile: &Profile, over: Option<&ProfileName>) -> Result<()> {
        let known = self.farm.layers.get(&profile.name);
        let Some(over) = over else {
            return match known {
                // A layer stays one, so what is not chosen never appears in its channel.
                Some(below) => Err(Fault::new(
                    Kind::Conflict,
                    format!("{} holds only chosen recipes above {below}", profile.name),
                )
                .next(format!("say --over {below}"))),
                None => Ok(()),
            };
        };
        let name = &profile.name;
        let wrong = |what: String, next: &str| Err(Fault::new(Kind::Usage, what).next(next));
        let Some(below) = self.farm.profiles.get(over) else {
            let known = self.farm.profiles.keys().map(ProfileName::as_str);
            let hint = "massif profile list";
            return Err(super::lookup::unknown(
                "profile",
                over.as_str(),
                known,
                hint,
            ));
        };
        if self.farm.profiles.contains_key(name) && known.is_none() {
            return wrong(
                format!("{name} is a whole profile already: its channel holds everything"),
                "give the layer another name",
            );
        }
        let chain = self.farm.below(over);
        if over == name || chain.contains(name) || chain.len() + 1 >= LAYERS_MAX {
            return wrong(
                format!("{name} cannot lie above {over}"),
                "massif project level PROJECT shows what lies above what",
            );
        }
        if below.arch != profile.arch {
            return wrong(
                format!("{name} is for {}, {over} for {}", profile.arch, below.arch),
                "a layer is of the architecture that it lies above",
            );
        }
        let mut all = std::iter::once(over).chain(&chain);
        let shared = all.find(|below| {
            let below = self.farm.profiles.get(*below);
            below.is_some_and(|below| below.channel == profile.channel)
        });
        match shared {
            Some(below) => wrong(
                format!("{name} and {below} would publish to {}", profile.channel),
                "a layer needs a channel of its own: --channel",
            ),
            None => Ok(()),
        }
    }

    /// `project level PROJECT`: what is chosen for which layer.
    pub(super) fn project_levels(&self, wish: &ProjectLevels) -> Result<Levels> {
        let project = self.locate_project(&wish.name)?;
        let mut levels = Vec::new();
        for (name, over) in &self.farm.layers {
            let Some(profile) = self.farm.profiles.get(name) else {
                continue;
            };
            let recipes = self.farm.chosen(name, &project).map(|choice| ChosenView {
                recipe: choice.recipe.clone(),
                by: choice.by.to_string(),
                at: choice.at,
                why: (!choice.why.is_empty()).then(|| choice.why.clone()),
            });
            levels.push(LevelView {
                profile: name.clone(),
                over: over.clone(),
                isa: crate::config::isa_word(profile.arch, profile.level),
                channel: profile.channel.clone(),
                project: project.clone(),
                recipes: recipes.collect(),
            });
        }
        Ok(Levels { levels })
    }

    /// `project level PROJECT RECIPE... --profile P`: they are built for that layer too, or not any more.
    pub(super) async fn project_level(
        &mut self,
        caller: &Caller,
        wish: &ProjectLevel,
    ) -> Done<Result<Levels>> {
        let events = match self.choices_of(caller, wish) {
            Ok(events) => events,
            Err(fault) => return Ok(Err(fault)),
        };
        let events = events.into_iter().map(|event| (caller.who(), event));
        for answer in self.record(events.collect()).await? {
            match answer {
                Ok(()) | Err(Refusal::Repeat) => {}
                Err(refusal) => return Ok(Err(refused(&refusal))),
            }
        }
        let name = wish.name.clone();
        Ok(self.project_levels(&ProjectLevels { name }))
    }

    fn choices_of(&self, caller: &Caller, wish: &ProjectLevel) -> Result<Vec<Event>> {
        let project = self.locate_project(&wish.name)?;
        if !self.farm.layers.contains_key(&wish.profile) {
            let known = self.farm.layers.keys().map(ProfileName::as_str);
            let hint = "massif profile add NAME --isa LEVEL --over PROFILE --channel CHANNEL";
            return Err(super::lookup::unknown(
                "layer",
                wish.profile.as_str(),
                known,
                hint,
            ));
        }
        let mut why = wish.why.clone().unwrap_or_default();
        if why.len() > WHY_BYTES_MAX {
            let end = (0..=WHY_BYTES_MAX)
                .rev()
                .find(|end| why.is_char_boundary(*end));
            why.truncate(end.unwrap_or(0));
        }
        let mut events = Vec::new();
        for name in &wish.recipes {
            if wish.remove == Some(true) {
                // A recipe that is gone from the repository can be dropped too.
                let mut all = self.farm.chosen(&wish.profile, &project);
                let Some(choice) = all.find(|choice| choice.recipe.as_str() == name) else {
                    let what = format!("{name} is not chosen for {}", wish.profile);
                    return Err(Fault::new(Kind::NotFound, what)
                        .next(format!("massif project level {project}")));
                };
                events.push(Event::LevelDropped {
                    profile: wish.profile.clone(),
                    project: project.clone(),
                    recipe: choice.recipe.clone(),
                });
                continue;
            }
            let (_, entry) = self.locate_recipe(&format!("{project}/{name}"))?;
            events.push(Event::LevelChosen {
                choice: Box::new(Choice {
                    profile: wish.profile.clone(),
                    project: project.clone(),
                    recipe: entry.name().clone(),
                    by: caller.who(),
                    at: crate::actors::now().wall,
                    why: why.clone(),
                }),
            });
        }
        Ok(events)
    }
}
