//! Assembles a host from all layers. (Being written: these are the doors that `cli` knocks at.)

use std::path::Path;

use crate::admin::view::{DoctorView, StoreCheckView};
use crate::config::HostOptions;
use crate::fault::{Fault, Result};

/// Runs a host in the foreground until SIGTERM or Ctrl-C; prints the `ready` line when it serves.
pub fn run(_options: HostOptions) -> Result<()> {
    Err(Fault::bug("not built yet"))
}

/// Runs a host with the example recipes; returns when everything is published.
pub fn demo(_options: HostOptions) -> Result<()> {
    Err(Fault::bug("not built yet"))
}

/// Checks that need no running host: kernel, namespaces, programs, room.
pub fn doctor(_dir: &Path) -> Vec<DoctorView> {
    Vec::new()
}

/// Reads the whole store of a directory that no process holds.
pub fn store_check(_dir: &Path) -> Result<StoreCheckView> {
    Err(Fault::bug("not built yet"))
}

/// Brings a copy back (the newest in the directory unless given); what was done, in a sentence.
pub fn store_restore(_dir: &Path, _file: Option<&Path>) -> Result<String> {
    Err(Fault::bug("not built yet"))
}

/// Writes all rows as text; what was done, in a sentence.
pub fn store_dump(_dir: &Path, _file: &Path) -> Result<String> {
    Err(Fault::bug("not built yet"))
}

/// Makes a new store from a dump; what was done, in a sentence.
pub fn store_load(_dir: &Path, _file: &Path) -> Result<String> {
    Err(Fault::bug("not built yet"))
}
