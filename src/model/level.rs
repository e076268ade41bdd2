//! Processor levels above the baseline, as values: profiles that hold only chosen recipes above another profile, and who chose
//! what and why.

use serde::{Deserialize, Serialize};

use super::change::Change;
use super::event::Event;
use super::farm::{Farm, Refusal};
use super::profile::IsaLevel;
use super::who::Who;
use crate::id::{ProfileName, ProjectName, RecipeName, Stamp};

/// Layers above each other, counted from the lowest profile: v4 above v3x above the baseline, and one to spare.
pub const LAYERS_MAX: usize = 4;
/// Bytes of the reason of a choice.
pub const WHY_BYTES_MAX: usize = 500;

/// What a processor must have for a level beside what it must have for the one before: x86-64-v3 and v4 of the x86-64 psABI,
/// and what `v3x` adds to v3 (spec: recipe macros, flags).
const NEEDED: [(IsaLevel, &[&str]); 2] = [
    (
        IsaLevel::V3x,
        &[
            "avx",
            "avx2",
            "bmi1",
            "bmi2",
            "f16c",
            "fma",
            "lzcnt",
            "movbe",
            "aes",
            "fsgsbase",
            "pclmulqdq",
            "rdrand",
            "xsaveopt",
        ],
    ),
    (
        IsaLevel::V4,
        &["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"],
    ),
];

/// The levels that run on a processor with these features. The baseline always: what lacks it could not have built anything.
pub fn levels_with(features: &[String]) -> Vec<IsaLevel> {
    let mut levels = vec![IsaLevel::Baseline];
    for (level, needed) in NEEDED {
        if !lacking(needed, features).is_empty() {
            break;
        }
        levels.push(level);
    }
    levels
}

fn lacking<'a>(needed: &[&'a str], features: &[String]) -> Vec<&'a str> {
    let has = |feature: &&&str| features.iter().any(|known| known == **feature);
    needed
        .iter()
        .filter(|feature| !has(feature))
        .copied()
        .collect()
}

/// What a processor with these features lacks for a level; empty: nothing.
pub fn lacks(level: IsaLevel, features: &[String]) -> Vec<&'static str> {
    let below = NEEDED.iter().filter(|(known, _)| *known <= level);
    below
        .flat_map(|(_, needed)| lacking(needed, features))
        .collect()
}

/// A profile that holds only what is chosen for it; everything else comes from the one below.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The profile.
    pub profile: ProfileName,
    /// The one below.
    pub over: ProfileName,
}

/// A recipe that is built for a layer too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The layer.
    pub profile: ProfileName,
    /// The recipe's project.
    pub project: ProjectName,
    /// The recipe.
    pub recipe: RecipeName,
    /// Who chose it.
    pub by: Who,
    /// When.
    pub at: Stamp,
    /// Why, in that person's words; empty: not said.
    pub why: String,
}

/// What a choice is about: layer, project, recipe.
pub type ChoiceKey = (ProfileName, ProjectName, RecipeName);

impl Choice {
    /// What it is about.
    pub fn key(&self) -> ChoiceKey {
        let (profile, project) = (self.profile.clone(), self.project.clone());
        (profile, project, self.recipe.clone())
    }
}

/// The rows that levels change; a part of `Change`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LevelChange {
    /// New or changed.
    pub layers: Vec<Layer>,
    /// Chosen.
    pub choices: Vec<Choice>,
    /// Not chosen any more.
    pub choices_gone: Vec<ChoiceKey>,
}

impl LevelChange {
    /// Appends what a later event changed.
    pub(super) fn append(&mut self, later: LevelChange) {
        self.layers.extend(later.layers);
        self.choices.extend(later.choices);
        self.choices_gone.extend(later.choices_gone);
    }
}

impl Farm {
    /// Takes weighed rows in; part of `Farm::adopt`.
    pub(super) fn adopt_level(&mut self, change: LevelChange) {
        let layers = change.layers.into_iter();
        self.layers
            .extend(layers.map(|layer| (layer.profile, layer.over)));
        for key in change.choices_gone {
            self.choices.remove(&key);
        }
        let choices = change.choices.into_iter();
        self.choices
            .extend(choices.map(|choice| (choice.key(), choice)));
    }

    /// The profiles below a layer, the next one first; empty for one that is no layer.
    pub fn below(&self, profile: &ProfileName) -> Vec<ProfileName> {
        let mut found: Vec<ProfileName> = Vec::new();
        let mut next = self.layers.get(profile);
        while let Some(below) = next {
            if found.len() == LAYERS_MAX || below == profile || found.contains(below) {
                break;
            }
            found.push(below.clone());
            next = self.layers.get(below);
        }
        found
    }

    /// The recipes of a project that are chosen for a layer.
    pub fn chosen(
        &self,
        profile: &ProfileName,
        project: &ProjectName,
    ) -> impl Iterator<Item = &Choice> {
        let of = self.choices.values();
        of.filter(move |choice| choice.profile == *profile && choice.project == *project)
    }

    /// Weighs what an operator says of layers; part of `Farm::weigh`.
    pub(super) fn weigh_level(&self, event: &Event) -> Result<Change, Refusal> {
        let unknown = |what: &'static str, name: &dyn ToString| Refusal::Unknown {
            what,
            name: name.to_string(),
        };
        let mut change = Change::default();
        match event {
            Event::LayerSet { layer } => {
                for name in [&layer.profile, &layer.over] {
                    self.profiles
                        .get(name)
                        .ok_or_else(|| unknown("profile", name))?;
                }
                if self.layers.get(&layer.profile) == Some(&layer.over) {
                    return Err(Refusal::Repeat);
                }
                change.level.layers.push(layer.clone());
            }
            Event::LevelChosen { choice } => {
                if !self.layers.contains_key(&choice.profile) {
                    return Err(unknown("layer", &choice.profile));
                }
                if !self.projects.contains_key(&choice.project) {
                    return Err(unknown("project", &choice.project));
                }
                let known = self.choices.get(&choice.key());
                if known.is_some_and(|known| known.why == choice.why) {
                    return Err(Refusal::Repeat);
                }
                change.level.choices.push(choice.as_ref().clone());
            }
            Event::LevelDropped {
                profile,
                project,
                recipe,
            } => {
                let key = (profile.clone(), project.clone(), recipe.clone());
                if !self.choices.contains_key(&key) {
                    return Err(Refusal::Repeat);
                }
                change.level.choices_gone.push(key);
            }
            other => unreachable!("{other:?} is of no layer: weigh() sends only those here"),
        }
        Ok(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ProfileName {
        text.parse().unwrap()
    }

    #[test]
    fn a_level_runs_where_every_feature_of_it_and_of_those_below_is() {
        let all: Vec<String> = NEEDED
            .iter()
            .flat_map(|(_, needed)| needed.iter().map(|feature| feature.to_string()))
            .collect();
        assert_eq!(
            levels_with(&all),
            [IsaLevel::Baseline, IsaLevel::V3x, IsaLevel::V4]
        );
        for (level, feature, left) in [
            (IsaLevel::V3x, "avx2", 1),
            (IsaLevel::V3x, "fsgsbase", 1),
            (IsaLevel::V4, "avx512vl", 2),
        ] {
            let some: Vec<String> = all
                .iter()
                .filter(|known| *known != feature)
                .cloned()
                .collect();
            assert_eq!(levels_with(&some).len(), left, "{feature}");
            assert_eq!(lacks(level, &some), [feature]);
            assert!(lacks(IsaLevel::Baseline, &some).is_empty());
        }
        assert_eq!(levels_with(&[]), [IsaLevel::Baseline]);
    }

    #[test]
    fn what_lies_below_a_layer_ends_also_when_rows_go_round_in_a_circle() {
        let mut farm = Farm::default();
        let layer = |profile: &str, over: &str| Layer {
            profile: name(profile),
            over: name(over),
        };
        farm.adopt_level(LevelChange {
            layers: vec![layer("v4", "v3x"), layer("v3x", "main")],
            ..LevelChange::default()
        });
        assert_eq!(farm.below(&name("v4")), [name("v3x"), name("main")]);
        assert!(farm.below(&name("main")).is_empty());
        farm.adopt_level(LevelChange {
            layers: vec![layer("main", "v4")],
            ..LevelChange::default()
        });
        assert_eq!(farm.below(&name("v4")), [name("v3x"), name("main")]);
    }
}
