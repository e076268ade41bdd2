//! The hidden sub-command `massif __fetch`: one git fetch in a process of its own, so that a remote that hangs can be killed with it.
//! Reads one line of JSON from its standard input, writes lines of JSON to its standard output.

use std::process::ExitCode;

/// What `main` calls for `massif __fetch`.
pub fn run() -> ExitCode {
    ExitCode::FAILURE
}
