//! Recipes: `stone.yaml` read into values, macros expanded into scripts, and what a recipe needs and will provide.

pub mod facts;

pub use facts::{Facts, Need, NeedOrigin, PackageFacts, Toolchain, UpstreamFacts};
