//! The stone format: packages, indexes and build manifests as bytes in and values out, and back.
//! Readers are bounded and never panic; writers are byte-exact.

pub mod dependency;
pub mod meta;

pub use dependency::{Dependency, DependencyKind};
pub use meta::Meta;
