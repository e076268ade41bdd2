//! Helpers that several test modules share.

pub mod clock;
pub mod farm;
pub mod git_server;
pub mod host;
pub mod python;
pub mod repo;
pub mod stones;

/// A directory of a test's own, gone with the value.
pub fn place(prefix: &str) -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let made = tempfile::Builder::new().prefix(prefix).tempdir().unwrap();
    // The sandbox's unprivileged id must be able to walk through it.
    std::fs::set_permissions(made.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    made
}
