//! The farm as values: projects, recipes, profiles, jobs, attempts, hosts; events, and how they change it.

pub mod catalog;

pub use catalog::{Catalog, ChangeView, Entry, Reading};
