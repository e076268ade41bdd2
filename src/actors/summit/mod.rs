//! Decides what is built where.

mod catalog_blob;
mod entries;
pub mod fetch;
pub mod mirror;
mod pack;
pub mod reader;
pub mod watcher;
