//! The stone format: packages, indexes and build manifests as bytes in and values out, and back.
//! Readers are bounded and never panic; writers are byte-exact.

pub mod container;
pub mod content;
pub mod dependency;
pub mod layout;
pub mod manifest;
pub mod meta;
pub mod package;
pub mod repository;
pub mod root_index;

pub use dependency::{Dependency, DependencyKind};
pub use layout::{LayoutEntry, Node};
pub use meta::Meta;
pub use package::{ContentSource, Package, UniqueFile};
pub use root_index::RootIndex;

#[cfg(test)]
mod tests;
