//! Decides what is built where.

pub mod fetch;
pub mod mirror;
pub mod reader;
pub mod watcher;
