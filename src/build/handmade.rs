//! Small packages made without a recipe: the one that stands for a base, and the demo's seed.

use std::io::{Cursor, Write};
use std::path::Path;

use crate::fault::{Fault, Kind, Result};
use crate::stone::package::{self, UniqueFile, hash_content};
use crate::stone::{LayoutEntry, Meta, Node};

/// One file of such a package.
pub struct HandmadeFile<'a> {
    /// Below `/usr`.
    pub path: String,
    /// Whether it is a program.
    pub executable: bool,
    /// Its bytes.
    pub content: &'a [u8],
}

/// Writes a package into a temporary file of this directory.
pub fn write(dir: &Path, meta: &Meta, files: &[HandmadeFile<'_>]) -> Result<tempfile::TempPath> {
    let failed = |error: &dyn std::error::Error| {
        Fault::new(
            Kind::Operator,
            format!("cannot write package {} into {}", meta.name, dir.display()),
        )
        .because(error)
    };
    let mut layout = Vec::new();
    let mut unique: Vec<(UniqueFile, &[u8])> = Vec::new();
    for file in files {
        let hashed = hash_content(file.content).map_err(|error| failed(&error))?;
        unique.push((hashed, file.content));
        let mode = if file.executable {
            0o100_755
        } else {
            0o100_644
        };
        layout.push(LayoutEntry {
            uid: 0,
            gid: 0,
            mode,
            path: file.path.clone(),
            node: Node::Regular(hashed.hash),
        });
    }
    crate::stone::layout::sort(&mut layout);
    let contents: Vec<UniqueFile> = unique.iter().map(|(file, _)| *file).collect();
    let mut open = |wanted: &UniqueFile| -> std::io::Result<Box<dyn std::io::Read>> {
        let found = unique
            .iter()
            .find(|(file, _)| file == wanted)
            .map(|(_, content)| content.to_vec());
        Ok(Box::new(Cursor::new(found.unwrap_or_default())))
    };
    let mut bytes = Cursor::new(Vec::new());
    package::write(&mut bytes, meta, &layout, &contents, &mut open, 1)?;
    let mut out = tempfile::Builder::new()
        .suffix(".stone")
        .tempfile_in(dir)
        .map_err(|error| failed(&error))?;
    out.write_all(bytes.get_ref())
        .map_err(|error| failed(&error))?;
    Ok(out.into_temp_path())
}
