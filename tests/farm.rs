//! The whole suite in one binary, so that it links once. Tests use the program's doors only.

mod common;
mod intake;
mod admin;
mod native;
mod sandbox;
mod examples;
mod restart;
mod ring;
mod tidy;
