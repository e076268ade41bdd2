//! Builders that look after themselves: what a build may take, what is noticed, and what the owner of a builder sees.

mod bad;
mod clock;
mod far;
mod farm;
mod left;
mod limit;
mod manifest;
mod nspawn;
pub mod other;
mod room;
mod term;
mod told;
mod verify;
mod wide;

use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system of its own, in memory; `None`, said once, for who may not mount. It is gone with the value.
pub struct Small(PathBuf);

impl Small {
    pub fn mount(at: &Path, options: &str) -> Option<Small> {
        std::fs::create_dir_all(at).unwrap();
        if !nix::unistd::geteuid().is_root() {
            assert!(
                std::env::var_os("CI").is_none(),
                "tests under CI run as root, which may mount"
            );
            println!("skipped: only root may mount a small file system");
            return None;
        }
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "massif-test"])
            .arg(at)
            .status()
            .unwrap();
        assert!(done.success(), "mount: {done}");
        Some(Small(at.to_owned()))
    }

    pub fn remount(&self, options: &str) {
        assert!(self.try_remount(options), "remount,{options}");
    }

    /// Whether it could be.
    pub fn try_remount(&self, options: &str) -> bool {
        let done = Command::new("mount")
            .args(["-o", &format!("remount,{options}")])
            .arg(&self.0)
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap();
        done.success()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: what still holds it open ends a moment later.
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

/// Whether a process with this in its command line runs on the machine.
pub fn runs(word: &str) -> bool {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        // Words of a command line end with a zero there.
        .any(|line| {
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            line.contains(word)
        })
}
