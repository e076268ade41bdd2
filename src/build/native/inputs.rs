//! Input packages as layers: each stone of the order is unpacked once into the layer cache.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use crate::build::layers::{Layers, Pin};
use crate::fault::{Fault, Kind, Result};
use crate::id::Digest;

/// Unpacks the stone at `path` into the cache unless it is there; it stays while the pin lives. Blocking.
pub fn add_stone(layers: &Layers, sha256: Digest, path: &Path) -> Result<Pin> {
    if let Some(pin) = layers.pin(&sha256) {
        return Ok(pin);
    }
    let file = File::open(path).map_err(|error| {
        Fault::new(
            Kind::Builder,
            format!("cannot read the package {}", path.display()),
        )
        .because(&error)
    })?;
    layers.add_stone(&sha256, &mut BufReader::new(file))
}
