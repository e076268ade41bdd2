//! The program `massif`: what a person types. The hidden helpers come first, before there is any thread.

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args_os().nth(1) {
        Some(verb) if verb == "__sandbox" => massif::build::sandbox_init::main(),
        Some(verb) if verb == "__fetch" => massif::actors::summit::fetch::run(),
        _ => massif::cli::main(),
    }
}
