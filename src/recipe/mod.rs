//! Recipes: `stone.yaml` read into values, macros expanded into scripts, and what a recipe needs and will provide.

pub mod constraints;
pub mod facts;
pub mod lint;
pub mod macros;
pub mod needs;
pub mod node;
mod reader;
pub mod script;
pub mod tuning;
pub mod types;
mod upstream;
pub mod yaml;

pub use constraints::Constraints;
pub use facts::{Facts, Need, NeedOrigin, PackageFacts, Toolchain, UpstreamFacts};
pub use needs::{BASE_SET, facts, toolchain_needs};
pub use types::Recipe;

#[cfg(test)]
pub(crate) mod tests;
