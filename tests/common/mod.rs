//! Helpers that several test modules share.

pub mod clock;
pub mod farm;
pub mod git_server;
pub mod host;
pub mod python;
pub mod repo;
pub mod stones;

use std::path::Path;

/// Puts a file there that may be run. Another process writes it, and it appears whole: a file that this process has open for
/// writing cannot be run, and whatever another test starts at that moment holds it open a little longer.
pub fn program(at: &Path, from: &mut dyn std::io::Read) {
    let script = "cat > \"$0.new\" && chmod 755 \"$0.new\" && mv \"$0.new\" \"$0\"";
    let mut writer = std::process::Command::new("sh")
        .args(["-c", script])
        .arg(at)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut to = writer.stdin.take().unwrap();
    std::io::copy(from, &mut to).unwrap();
    drop(to);
    assert!(writer.wait().unwrap().success(), "{}", at.display());
}

/// A copy of a program, for those who may not reach the original.
pub fn copy_of_program(from: impl AsRef<Path>, to: &Path) {
    program(to, &mut std::fs::File::open(from).unwrap());
}

/// A directory of a test's own, gone with the value.
pub fn place(prefix: &str) -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let made = tempfile::Builder::new().prefix(prefix).tempdir().unwrap();
    // The sandbox's unprivileged id must be able to walk through it.
    std::fs::set_permissions(made.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    made
}
