//! What is looked at before anything is published: a package must be whole, safe, and what was expected.

use std::io::BufReader;
use std::sync::Arc;

use crate::channel::PublishedPackage;
use crate::fault::{Fault, Kind, Result};
use crate::model::{Artefact, ArtefactKind, Blame, BlobRef, Expectation};
use crate::stone::container::TableWriter;
use crate::stone::{Meta, Package};
use crate::store::Blobs;

/// A package file that may be published as far as the file itself tells.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Its metadata.
    pub meta: Meta,
    /// The file.
    pub file: BlobRef,
}

/// Reads the whole package: every checksum, every file's hash, every path.
pub fn check_file(blobs: &Blobs, file: BlobRef, name: &str) -> Result<Checked> {
    let mut from = BufReader::new(blobs.file(&file.sha256)?);
    let package = Package::verify(&mut from).map_err(|fault| Fault {
        what: format!("{name}: {}", fault.what),
        ..fault
    })?;
    let meta = package.meta;
    if meta.release == 0 {
        return Err(
            Fault::new(Kind::Recipe, format!("{name}: release 0")).next("begin with release 1")
        );
    }
    Ok(Checked { meta, file })
}

/// Checks the packages of an attempt against what summit expects of it.
pub fn check_offer(
    blobs: &Blobs,
    expected: &Expectation,
    artefacts: &[Artefact],
) -> Result<Vec<Checked>> {
    let mut packages = Vec::new();
    for artefact in artefacts {
        match artefact.kind {
            ArtefactKind::Stone => {
                let checked = check_file(blobs, artefact.blob, &artefact.name)?;
                check_expected(expected, &checked.meta, &artefact.name)?;
                packages.push(checked);
            }
            ArtefactKind::ManifestBin | ArtefactKind::ManifestJson => {}
        }
    }
    if packages.is_empty() {
        return Err(Fault::new(
            Kind::Recipe,
            format!("attempt {} made no package", expected.attempt),
        )
        .next("let the recipe install something below /usr"));
    }
    Ok(packages)
}

fn check_expected(expected: &Expectation, meta: &Meta, name: &str) -> Result<()> {
    let differs = |field: &str, is: &dyn std::fmt::Display, must: &dyn std::fmt::Display| {
        Err(Fault::new(
            Kind::Builder,
            format!(
                "{name} has {field} {is}, attempt {} was asked for {must}",
                expected.attempt
            ),
        ))
    };
    if meta.source != expected.source.as_str() {
        return differs("source", &meta.source, &expected.source);
    }
    if meta.version != expected.version {
        return differs("version", &meta.version, &expected.version);
    }
    if meta.release != expected.release {
        return differs("release", &meta.release, &expected.release);
    }
    if meta.build_release != expected.build_release {
        return differs(
            "build release",
            &meta.build_release,
            &expected.build_release,
        );
    }
    if meta.arch != expected.arch {
        return differs("architecture", &meta.arch, &expected.arch);
    }
    Ok(())
}

/// Checked packages as an index shows them.
pub fn listed(packages: &[Checked]) -> Result<Vec<Arc<PublishedPackage>>> {
    let mut tables = TableWriter::new()?;
    packages
        .iter()
        .map(|one| PublishedPackage::new(&mut tables, &one.meta, one.file).map(Arc::new))
        .collect()
}

/// Whose doing a refused offer is. A name that is taken by now is nobody's: another try gets a higher build release.
pub fn blame(fault: &Fault) -> Blame {
    match fault.kind {
        Kind::Recipe => Blame::Recipe,
        Kind::Upstream => Blame::Upstream,
        Kind::Network | Kind::Unreachable | Kind::TryAgain => Blame::Network,
        Kind::NotPermitted | Kind::NotFound | Kind::Usage => Blame::Operator,
        Kind::Operator | Kind::Builder | Kind::Conflict | Kind::Bug => Blame::Builder,
    }
}

/// A fault that fits into a row: texts from a package may be long.
pub fn shortened(mut fault: Fault) -> Fault {
    const CHARS: usize = 400;
    let cut = |text: &mut String| *text = text.chars().take(CHARS).collect();
    cut(&mut fault.what);
    cut(&mut fault.next);
    fault.causes.truncate(4);
    fault.causes.iter_mut().for_each(cut);
    fault
}
