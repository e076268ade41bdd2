//! Helpers that several test modules share.

pub mod git_server;
pub mod repo;
