//! Compares two sets of artefacts that should be the same: which files differ, where, and what it most likely comes from.
//! Pure: bytes come through readers. Contents stream, so that a set of any size needs the memory of one decoder's window and
//! of the packages' tables. Writes nothing, decides nothing.

mod describe;
mod elf;
mod scan;
mod stone;

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use sha2::{Digest as _, Sha256};

use self::scan::Look;
use crate::fault::Result;
use crate::id::Digest;
use crate::model::proof::{Cause, Difference, Finding, Level};
use crate::model::{Artefact, ArtefactKind};

/// Files whose bytes are looked into, over a whole set; the rest are named.
const LOOKED_INTO_MAX: usize = 64;

/// What a difference is about, before it is known.
fn difference(artefact: &str, path: Option<&str>, cause: Cause, text: String) -> Difference {
    Difference {
        artefact: artefact.to_string(),
        path: path.map(str::to_string),
        cause,
        published_bytes: None,
        rebuilt_bytes: None,
        offset: None,
        section: None,
        text,
    }
}

/// What is gathered over a whole set.
struct Gathered {
    level: Level,
    differences: Vec<Difference>,
    /// Files that may still be looked into.
    looks: usize,
}

impl Gathered {
    fn note(&mut self, level: Level, difference: Difference) {
        self.level = self.level.max(level);
        self.differences.push(difference);
    }
}

/// Compares what is published with what was rebuilt. `open` gives the bytes of a file by its hash, from their start.
///
/// # Errors
///
/// A published file that cannot be read. One of the rebuilt ones is a difference.
pub fn compare<R: Read + Seek>(
    published: &[Artefact],
    rebuilt: &[Artefact],
    open: &dyn Fn(&Digest) -> Result<R>,
) -> Result<Finding> {
    let by_name = |set: &[Artefact]| -> BTreeMap<String, Artefact> {
        let all = set.iter().map(|one| (one.name.clone(), one.clone()));
        all.collect()
    };
    let (ours, theirs) = (by_name(published), by_name(rebuilt));
    let mut gathered = Gathered {
        level: Level::Same,
        differences: Vec::new(),
        looks: LOOKED_INTO_MAX,
    };
    let (mut content_ours, mut content_theirs) = (Sha256::new(), Sha256::new());
    let mut same = 0;
    let names: std::collections::BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    for name in &names {
        if let Some(one) = ours.get(*name) {
            content_ours.update(content_of(one, open)?.0);
        }
        if let Some(one) = theirs.get(*name) {
            // What cannot be read counts as its bytes.
            let content = content_of(one, open).unwrap_or(one.blob.sha256);
            content_theirs.update(content.0);
        }
        match (ours.get(*name), theirs.get(*name)) {
            (Some(a), Some(b)) if a.blob == b.blob => same += 1,
            (Some(a), Some(b)) => one_pair(a, b, open, &mut gathered)?,
            (a, b) => {
                let text = match a {
                    Some(_) => "only the published set has it",
                    None => "only the rebuilt set has it",
                };
                let mut found = difference(name, None, Cause::Presence, text.into());
                found.published_bytes = a.map(|one| one.blob.size);
                found.rebuilt_bytes = b.map(|one| one.blob.size);
                gathered.note(Level::Files, found);
            }
        }
    }
    let mut counts: BTreeMap<Cause, u32> = BTreeMap::new();
    for difference in &gathered.differences {
        *counts.entry(difference.cause).or_default() += 1;
    }
    let mut causes: Vec<(Cause, u32)> = counts.into_iter().collect();
    causes.sort_by_key(|(cause, count)| (std::cmp::Reverse(*count), *cause));
    Ok(Finding {
        level: gathered.level,
        artefacts: u32::try_from(names.len()).unwrap_or(u32::MAX),
        same,
        bytes: published.iter().map(|one| one.blob.size).sum(),
        differences: gathered.differences,
        unlisted: 0,
        causes,
        published: Digest(content_ours.finalize().into()),
        rebuilt: Digest(content_theirs.finalize().into()),
    })
}

/// A hash of what a client gets of a file, however it is packed.
fn content_of<R: Read + Seek>(
    one: &Artefact,
    open: &dyn Fn(&Digest) -> Result<R>,
) -> Result<Digest> {
    match one.kind {
        ArtefactKind::Stone => stone::content(&one.name, &mut open(&one.blob.sha256)?),
        ArtefactKind::ManifestBin | ArtefactKind::ManifestJson => {
            let mut hash = Sha256::new();
            hash.update(one.name.as_bytes());
            hash.update(one.blob.sha256.0);
            Ok(Digest(hash.finalize().into()))
        }
    }
}

fn one_pair<R: Read + Seek>(
    a: &Artefact,
    b: &Artefact,
    open: &dyn Fn(&Digest) -> Result<R>,
    gathered: &mut Gathered,
) -> Result<()> {
    let files = || Ok((open(&a.blob.sha256)?, open(&b.blob.sha256)?));
    match a.kind {
        ArtefactKind::Stone => stone::compare(&a.name, &files, gathered),
        ArtefactKind::ManifestBin | ArtefactKind::ManifestJson => {
            let (mut ours, mut theirs) = files()?;
            let looks = (
                Look::at(&mut ours).map_err(scan::unread)?,
                Look::at(&mut theirs).map_err(scan::unread)?,
            );
            let (mut ours, mut theirs) = files()?;
            let ranges = looks.0.differing(&looks.1);
            let parts = scan::Parts {
                published: scan::pick(&mut ours, &ranges).map_err(scan::unread)?,
                rebuilt: scan::pick(&mut theirs, &ranges).map_err(scan::unread)?,
                ranges,
            };
            let found = describe::describe((&a.name, None), (&looks.0, &looks.1), &parts, &[]);
            gathered.note(Level::Metadata, found);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
