//! Holds what was built again against what is published. Blocks; reads blobs and makes some, publishes nothing.

use std::io::BufReader;

use super::Source;
use super::fetch;
use crate::fault::{Fault, Kind, Result};
use crate::id::Digest;
use crate::model::Artefact;
use crate::model::proof::{EVIDENCE_MAX, Finding};
use crate::store::Blobs;

/// Bytes that a rebuilt set may have beside twice the published ones.
const BYTES_MORE: u64 = 64 * 1024 * 1024;
/// Files that a rebuilt set may have beside twice the published ones.
const FILES_MORE: usize = 16;

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// What differs.
    pub finding: Finding,
    /// The rebuilt files that differ.
    pub evidence: Vec<Artefact>,
    /// Blobs that were not here before and that nobody needs.
    pub unneeded: Vec<Digest>,
}

/// Fetches what a builder offers and compares. Faults of kind `Builder` and `Recipe` are final.
pub fn examine(
    blobs: &Blobs,
    from: &Source,
    published: &[Artefact],
    rebuilt: &[Artefact],
) -> Result<Report> {
    let bytes = |all: &[Artefact]| -> u64 {
        let sizes = all.iter().map(|one| one.blob.size);
        sizes.fold(0, u64::saturating_add)
    };
    let (ours, theirs) = (bytes(published), bytes(rebuilt));
    if theirs > ours.saturating_mul(2).saturating_add(BYTES_MORE)
        || rebuilt.len() > published.len() * 2 + FILES_MORE
    {
        return Err(Fault::new(
            Kind::Builder,
            format!(
                "it made {} files with {theirs} bytes, published are {} with {ours}",
                rebuilt.len(),
                published.len()
            ),
        ));
    }
    let new: Vec<Digest> = rebuilt
        .iter()
        .map(|one| one.blob.sha256)
        .filter(|sha256| !blobs.contains(sha256))
        .collect();
    fetch::fetch_anew(blobs, from, rebuilt)?;
    let open = |sha256: &Digest| Ok(BufReader::new(blobs.file(sha256)?));
    let finding = crate::compare::compare(published, rebuilt, &open)?.bounded();
    let differs = |one: &&Artefact| {
        !published
            .iter()
            .any(|known| known.name == one.name && known.blob == one.blob)
    };
    let evidence = rebuilt.iter().filter(differs).take(EVIDENCE_MAX).cloned();
    let evidence: Vec<Artefact> = evidence.collect();
    let unneeded = new
        .into_iter()
        .filter(|sha256| !evidence.iter().any(|kept| kept.blob.sha256 == *sha256))
        .collect();
    Ok(Report {
        finding,
        evidence,
        unneeded,
    })
}
