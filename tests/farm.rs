//! The whole suite in one binary, so that it links once. Tests use the program's doors only.

mod admin;
mod builders;
mod cached;
mod common;
mod dash;
mod examples;
mod history;
mod hosts;
mod intake;
mod levels;
mod native;
mod order;
mod owed;
mod plan;
mod proof;
mod proven;
mod providers;
mod restart;
mod ring;
mod sandbox;
mod tidy;
mod upstreams;
