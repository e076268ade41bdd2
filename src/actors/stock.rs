//! A report on the store, the same for a running host and for a directory that nobody serves.

use crate::admin::view::{BackupView, FaultView, StoreCheckView, TreeView};
use crate::fault::{Fault, Kind, Result};
use crate::store::{Blobs, Store, events, trees};

/// Every tree that a program of this version writes: the farm's and vessel's.
pub fn known_trees() -> Vec<trees::Tree> {
    let mut all = trees::known();
    all.extend(super::vessel::rows::trees());
    all
}

/// Reads every row, every blob that a row names, and the chain of events.
pub fn check(store: &Store, blobs: &Blobs) -> Result<StoreCheckView> {
    let report = store.check(&known_trees(), blobs, true)?;
    let all = blobs.all()?;
    Ok(StoreCheckView {
        ok: report.faults.is_empty(),
        store_id: store.id(),
        generation: store.generation(),
        trees: report
            .rows
            .into_iter()
            .map(|(name, rows)| TreeView { name, rows })
            .collect(),
        blobs: all.len() as u64,
        blob_bytes: all.iter().map(|blob| blob.size).sum(),
        events_chained: events::verify(store).is_ok(),
        faults: report.faults.iter().map(FaultView::from).collect(),
    })
}

/// Copies the store into a file, which is hashed as it lies there. Blocking.
pub fn backup(inner: &super::desk::Inner, path: Option<String>) -> Result<BackupView> {
    let path = match path {
        Some(path) => std::path::PathBuf::from(path),
        None => inner
            .dir
            .join("backups")
            .join(format!("massif-{}.backup", super::now().wall.0)),
    };
    let seq = events::Chain::load(&inner.store)?.seq;
    let work = super::work::Working::begin("store_backup", "rows", None);
    let made = inner
        .store
        .backup_telling(&path, &|done, total| work.at(done, total))?;
    let bytes = std::fs::read(&path).map_err(|error| {
        Fault::new(
            Kind::Operator,
            format!("cannot read the backup {} again", path.display()),
        )
        .because(&error)
    })?;
    let sha256 = crate::id::Digest(<sha2::Sha256 as sha2::Digest>::digest(&bytes).into());
    Ok(BackupView {
        path: path.display().to_string(),
        size: made.bytes,
        sha256,
        seq,
        rows: made.rows,
    })
}
