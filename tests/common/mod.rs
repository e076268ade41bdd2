//! Helpers that several test modules share.

pub mod clock;
pub mod farm;
pub mod git_server;
pub mod python;
pub mod repo;
