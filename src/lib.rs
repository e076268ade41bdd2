//! massif: a package build farm in one program.
//!
//! The core (`id` to `snapshot`) takes values and returns values. `store`, `net` and `build` touch the world,
//! `actors` tie them together, `tui` and `cli` are clients of the admin interface. `host` alone knows them all.

// The core, in reading order: each file may name earlier ones only.
pub mod admin;
pub mod channel;
pub mod compare;
pub mod config;
pub mod fault;
pub mod health;
pub mod id;
pub mod limit;
pub mod model;
pub mod plan;
pub mod recipe;
pub mod snapshot;
pub mod stone;

// The shell.
pub mod actors;
pub mod build;
pub mod cli;
pub mod host;
pub mod net;
pub mod store;
pub mod tui;
