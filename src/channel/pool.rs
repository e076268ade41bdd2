//! Where a package's file is served, and what the index says of it.

use std::sync::Arc;

use super::PublishedPackage;
use crate::fault::{Fault, Kind, Result};
use crate::id::RecipeName;
use crate::limit;
use crate::model::BlobRef;
use crate::stone::container::TableWriter;
use crate::stone::{Meta, repository};

/// From an index (`history/<id>/<arch>/stone.index`) to the channel's directory.
const FROM_INDEX: &str = "../../../";
/// What a file name may hold besides letters and digits: safe in a path, a URL and a shell.
const SAFE: &str = "-._+~^";

/// The file of this package below the channel's directory: `pool/v0/n/nano/nano-8.4-35-1-x86_64.stone`. The first part is
/// the first letter of the source, or four for sources that begin with `lib` and are longer.
pub fn pool_path(source: &RecipeName, meta: &Meta) -> Result<String> {
    let file = meta.file_name();
    let odd = file
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !SAFE.contains(*c));
    if let Some(odd) = odd {
        return Err(Fault::new(
            Kind::Recipe,
            format!("{file:?} cannot be served: {odd:?} in a file name"),
        )
        .next("use letters, digits and -._+~^ in the recipe's name and version"));
    }
    if file.len() > 255 {
        return Err(
            Fault::new(Kind::Recipe, "the package's file name is too long")
                .next("shorten the recipe's version"),
        );
    }
    let folder = source.as_str().to_ascii_lowercase();
    let letters = match folder.starts_with("lib") && folder.len() > 4 {
        true => 4,
        false => 1,
    };
    let part = folder.get(..letters).unwrap_or(&folder);
    Ok(format!("pool/v0/{part}/{folder}/{file}"))
}

/// The reference in an index as a URL: what is not allowed in a path is escaped.
fn uri(path: &str) -> String {
    // Of the safe characters only the caret has to be escaped.
    format!("{FROM_INDEX}{}", path.replace('^', "%5E"))
}

impl PublishedPackage {
    /// A package as the index will show it. `meta` is what the package itself says.
    pub fn new(tables: &mut TableWriter, meta: &Meta, file: BlobRef) -> Result<PublishedPackage> {
        let source: RecipeName = named(&meta.source, meta)?;
        let path = pool_path(&source, meta)?;
        let mut meta = meta.of_package();
        meta.uri = Some(uri(&path));
        meta.hash = Some(file.sha256);
        meta.size = Some(file.size);
        let entry: Arc<[u8]> = repository::payload(tables, &meta)?.into();
        Ok(PublishedPackage {
            name: named(&meta.name, &meta)?,
            source,
            file,
            pool: path,
            meta,
            entry,
        })
    }

    /// Packages from their payloads in indexes of ours, at most as many as an index holds in one go.
    pub fn from_entries(entries: Vec<Arc<[u8]>>) -> Result<Vec<PublishedPackage>> {
        let mut packages = Vec::with_capacity(entries.len());
        for some in entries.chunks(limit::STONE_PAYLOADS_MAX) {
            let index = repository::assemble(some.iter().map(|entry| &**entry))?;
            let metas = repository::read(&index)?;
            if metas.len() != some.len() {
                return Err(Fault::bug("a package's payload is none"));
            }
            for (meta, entry) in metas.into_iter().zip(some) {
                packages.push(PublishedPackage::of_index(meta, entry.clone())?);
            }
        }
        Ok(packages)
    }

    fn of_index(meta: Meta, entry: Arc<[u8]>) -> Result<PublishedPackage> {
        let source: RecipeName = named(&meta.source, &meta)?;
        let (Some(sha256), Some(size)) = (meta.hash, meta.size) else {
            return Err(Fault::bug(format!("{} has no hash or size", meta.name)));
        };
        Ok(PublishedPackage {
            name: named(&meta.name, &meta)?,
            pool: pool_path(&source, &meta)?,
            source,
            file: BlobRef { sha256, size },
            meta,
            entry,
        })
    }
}

fn named<T: std::str::FromStr<Err = crate::id::BadId>>(text: &str, meta: &Meta) -> Result<T> {
    text.parse().map_err(|error: crate::id::BadId| {
        Fault::new(
            Kind::Recipe,
            format!("package {:?} cannot be published", meta.name),
        )
        .because(&error)
        .next("rename it in the recipe")
    })
}
