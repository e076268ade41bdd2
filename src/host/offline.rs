//! What can be done with a state directory that no process serves: look at the machine, check, save and bring back the store.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::Path;

use crate::actors::checks::doctor_view;
use crate::actors::stock::known_trees;
use crate::admin::view::{DoctorView, StoreCheckView};
use crate::fault::{Fault, Kind, Result};
use crate::store::{Blobs, Options, Store, export, trees};

/// Checks that need no running host: kernel, namespaces, programs, room.
pub fn doctor(dir: &Path) -> Vec<DoctorView> {
    // The probe starts a sandbox for a moment and needs a place for it; a directory that is not there yet stays so.
    let scratch = (!dir.exists())
        .then(tempfile::tempdir)
        .and_then(std::result::Result::ok);
    let place = scratch.as_ref().map_or(dir, |scratch| scratch.path());
    crate::build::probe::probe(place)
        .into_iter()
        .map(doctor_view)
        .collect()
}

fn open(dir: &Path) -> Result<(Store, Blobs)> {
    if !dir.join("store").is_dir() {
        return Err(
            Fault::new(Kind::NotFound, format!("{} holds no store", dir.display()))
                .next("name the state directory with --dir"),
        );
    }
    Ok((Store::open(dir, &Options::default())?, Blobs::open(dir)?))
}

/// Reads the whole store of a directory that no process holds.
pub fn store_check(dir: &Path) -> Result<StoreCheckView> {
    let (store, blobs) = open(dir)?;
    crate::actors::stock::check(&store, &blobs)
}

/// Brings a copy back (the newest in the directory unless given); what was done, in a sentence.
pub fn store_restore(dir: &Path, file: Option<&Path>) -> Result<String> {
    let newest = match file {
        Some(file) => file.to_path_buf(),
        None => export::list_exports(&dir.join("exports"))
            .ok()
            .and_then(|mut exports| exports.pop())
            .ok_or_else(|| {
                Fault::new(Kind::NotFound, format!("{} has no exports", dir.display()))
                    .next("name a backup: massif store restore FILE")
            })?,
    };
    let done = export::restore(dir, &newest)?;
    Ok(format!(
        "restored {} rows up to generation {} from {}",
        done.rows,
        done.generation,
        newest.display()
    ))
}

/// Writes all rows as text; what was done, in a sentence.
pub fn store_dump(dir: &Path, file: &Path) -> Result<String> {
    let (store, _) = open(dir)?;
    let failed = |error: &std::io::Error| {
        Fault::new(Kind::Operator, format!("cannot write {}", file.display())).because(error)
    };
    let mut out = BufWriter::new(File::create_new(file).map_err(|error| failed(&error))?);
    let rows = store.dump(&known_trees(), &mut out)?;
    let file_out = out.into_inner().map_err(|error| failed(error.error()))?;
    file_out.sync_all().map_err(|error| failed(&error))?;
    Ok(format!("wrote {rows} rows to {}", file.display()))
}

/// Makes a new store from a dump; what was done, in a sentence.
pub fn store_load(dir: &Path, file: &Path) -> Result<String> {
    let failed = |error: &std::io::Error| {
        Fault::new(Kind::Operator, format!("cannot read {}", file.display())).because(error)
    };
    let mut from = BufReader::new(File::open(file).map_err(|error| failed(&error))?);
    let rows = trees::load(dir, &known_trees(), &mut from)?;
    Ok(format!("loaded {rows} rows from {}", file.display()))
}
