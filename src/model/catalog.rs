//! What one project's repository holds at its recorded commit.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::id::{CommitId, ProjectName, RecipeName, Stamp};
use crate::recipe::Facts;

/// One recipe directory of a project, read at the recorded commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The directory in the repository (`h/hello`), without a slash at the end.
    pub dir: String,
    /// The git tree of the directory: the same tree is the same recipe, whatever the commit.
    pub tree: CommitId,
    /// The same without the manifests that builds write beside the recipe: what a build is made from. A commit that brings only
    /// a manifest changes the tree and not this.
    pub text: CommitId,
    /// What reading it gave.
    pub reading: Reading,
}

impl Entry {
    /// Whether a job of this tree is built from what lies there now. Rows of earlier versions name the whole tree.
    pub fn is_of(&self, tree: CommitId) -> bool {
        tree == self.text || tree == self.tree
    }

    /// The recipe's name; for one that could not be read, the name that was found in it or its directory's.
    pub fn name(&self) -> &RecipeName {
        match &self.reading {
            Reading::Good(facts) => &facts.name,
            Reading::Faulty { name, .. } => name,
        }
    }
}

/// A recipe, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reading {
    /// It can be planned.
    Good(Box<Facts>),
    /// Its author has to mend it.
    Faulty {
        /// Its name as far as known.
        name: RecipeName,
        /// File, line and cure.
        fault: Fault,
    },
}

/// All recipes of a project at one commit, sorted by directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// The project.
    pub project: ProjectName,
    /// The commit that all of it was read at.
    pub commit: CommitId,
    /// Sorted by `dir`.
    pub entries: Vec<Arc<Entry>>,
}

/// One commit that changed a recipe's directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeView {
    /// The commit.
    pub commit: CommitId,
    /// `Name <mail>`.
    pub author: String,
    /// When it was committed.
    pub at: Stamp,
    /// The first line of its message.
    pub subject: String,
}
