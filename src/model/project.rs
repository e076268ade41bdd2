//! A project: a git repository of recipes, how far it has been read, and what operators decided about it.

use serde::{Deserialize, Serialize};

use super::who::Who;
use crate::id::{Arch, ChannelName, CommitId, Digest, PackageName, ProjectName, RecipeName, Stamp};

/// One project as the farm remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// The operator's name for it.
    pub name: ProjectName,
    /// Any URL or path that git fetches from.
    pub url: String,
    /// The branch that is watched; `None`: the remote's default.
    pub branch: Option<String>,
    /// When it was added.
    pub added: Stamp,
    /// The recorded tip.
    pub tip: Option<Tip>,
    /// A first intake of many recipes builds nothing until somebody says so: jobs are made only for what is asked for.
    pub builds_all: bool,
}

/// The commit that the farm works from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tip {
    /// The recorded commit.
    pub commit: CommitId,
    /// The blob that holds the catalog read at it.
    pub catalog: Digest,
    /// When it was recorded.
    pub at: Stamp,
    /// Recipes in it, the faulty ones included.
    pub recipes: u32,
    /// Faulty ones.
    pub faulty: u32,
}

/// A package that stands for what a base provides, so that clients can resolve everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BasePackage {
    /// Its name.
    pub name: PackageName,
    /// The root directory that it was made from.
    pub dir: String,
    /// Where it is published.
    pub channel: ChannelName,
    /// What it runs on.
    pub arch: Arch,
}

/// When recipes are built again although their release did not change. Grows at the end only: it lies in rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rebuild {
    /// When a name that a published package depends on went away or changed.
    #[default]
    Broken,
    /// Never.
    None,
    /// When something that they are built with was published.
    Direct,
    /// The same, and what is built with them, unless what they provide stayed the same.
    Transitive,
}

impl Rebuild {
    /// All of them, the default one first.
    pub const ALL: [Rebuild; 4] = [
        Rebuild::Broken,
        Rebuild::None,
        Rebuild::Direct,
        Rebuild::Transitive,
    ];

    /// The word that people type.
    pub fn as_str(self) -> &'static str {
        match self {
            Rebuild::Broken => "default",
            Rebuild::None => "none",
            Rebuild::Direct => "direct",
            Rebuild::Transitive => "transitive",
        }
    }
}

/// What an operator decided about one recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipeLimit {
    /// The project.
    pub project: ProjectName,
    /// The recipe.
    pub recipe: RecipeName,
    /// How long a whole build may take, in seconds; `None`: nothing is decided, and there is no row.
    pub time_s: Option<u64>,
    /// Who decided.
    pub owner: Who,
    /// When.
    pub at: Stamp,
}

/// How far up a project stands among those that provide the same name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectPriority {
    /// The project.
    pub project: ProjectName,
    /// The highest one is taken; 0 is normal, and needs no row.
    pub priority: i32,
}

/// What an operator decided about a project: when its recipes are built again, and its share of the builders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The project.
    pub project: ProjectName,
    /// When they are built again.
    pub rebuild: Rebuild,
    /// What was built against an older version of a provider, because a cycle was cut there, is built once more when that provider
    /// is published.
    pub second_pass: bool,
    /// Its share of the builders beside other projects; 1 is normal, 0 counts as 1.
    pub weight: u32,
}
