//! How one build runs on Linux: upstreams, sandbox, layers, executors, splitting, analysis. Knows the core and the machine;
//! knows no actor, no store and no network of hosts.

pub mod analyse;
pub mod archive;
pub mod base;
pub mod base_package;
pub mod collect;
pub mod debug;
pub mod emit;
pub mod gitsource;
pub mod handmade;
mod layer_writer;
pub mod layers;
pub mod leftovers;
pub mod mask;
mod mask_owners;
mod merge;
pub mod native;
pub mod probe;
pub mod rules;
pub mod sandbox;
mod sandbox_confine;
pub mod sandbox_init;
mod sandbox_root;
pub mod sandbox_session;
mod sandbox_wire;
pub mod trash;
pub mod upstream;
