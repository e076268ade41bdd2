//! Packages as directories: each is unpacked once into `layers/<sha256>/usr`, and a set of them is merged once by hard
//! links. Sole writer of `layers/`; remembers what is in use and what was used last, so that room can be made.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::build::base::Base;
use crate::build::sandbox::Root;
use crate::fault::{Fault, Result};
use crate::id::Digest;

/// The layer cache of one state directory. Cheap to clone; one per state directory and process.
#[derive(Debug, Clone)]
pub struct Layers {
    _shared: Arc<()>,
}

/// Where the entries of one package are written to while it is unpacked. Paths are relative to `usr`; parents are made.
#[derive(Debug)]
pub struct LayerWriter {}

/// What a root is made of, and the promise that none of it is deleted while this lives.
#[derive(Debug)]
pub struct Held {
    /// For [`crate::build::sandbox::Spec`].
    pub root: Root,
    /// Oddities worth a line in the log, such as two packages with one path.
    pub warnings: Vec<String>,
}

impl Layers {
    /// Opens the cache below `state_dir`, making directories as needed. Half-made layers are thrown away.
    pub fn open(_state_dir: &Path) -> Result<Layers> {
        Err(Fault::bug("not built yet"))
    }

    /// Whether this package is unpacked and whole.
    pub fn has(&self, _package: &Digest) -> bool {
        false
    }

    /// Unpacks one package unless it is there; blocking. `unpack` writes its entries; a failure leaves nothing behind.
    pub fn add(&self, _package: &Digest, _unpack: impl FnOnce(&mut LayerWriter) -> Result<()>) -> Result<()> {
        Err(Fault::bug("not built yet"))
    }

    /// The root of these packages, lowest first, over a base; blocking. All packages must have been added.
    pub fn root(&self, _base: &Base, _packages: &[Digest]) -> Result<Held> {
        Err(Fault::bug("not built yet"))
    }

    /// Deletes what was used longest ago and is not in use until this many bytes are free; returns how many are.
    pub fn reclaim(&self, _bytes: u64) -> Result<u64> {
        Err(Fault::bug("not built yet"))
    }
}

impl LayerWriter {
    /// A directory.
    pub fn directory(&mut self, _path: &Path) -> Result<()> {
        Err(Fault::bug("not built yet"))
    }

    /// A regular file; its mode becomes 0755 or 0644, readable for the sandbox. The package's own modes live in its layout.
    pub fn file(&mut self, _path: &Path, _executable: bool, _content: &mut dyn Read) -> Result<()> {
        Err(Fault::bug("not built yet"))
    }

    /// A symbolic link.
    pub fn symlink(&mut self, _path: &Path, _target: &str) -> Result<()> {
        Err(Fault::bug("not built yet"))
    }
}

/// Moves a file or directory out of the way in an instant, into `state_dir/trash`, where it is deleted in the background.
pub fn discard(_state_dir: &Path, _path: &Path) -> Result<()> {
    Err(Fault::bug("not built yet"))
}

/// The directory of a merged set or package, for messages.
pub fn layer_path(state_dir: &Path, package: &Digest) -> PathBuf {
    state_dir.join("layers").join(package.to_string())
}
