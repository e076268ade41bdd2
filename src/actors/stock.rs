//! A report on the store, the same for a running host and for a directory that nobody serves.

use crate::admin::view::{FaultView, StoreCheckView, TreeView};
use crate::fault::Result;
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
