//! The package that stands for a base: it provides what the base provides and the farm's recipes do not, so that a client
//! can resolve everything that the farm publishes. The way to begin a farm from nothing.

use std::collections::BTreeSet;
use std::path::Path;

use super::base::{Base, base_index};
use super::handmade::{self, HandmadeFile};
use crate::fault::{Fault, Kind, Result};
use crate::id::Arch;
use crate::stone::{Dependency, Meta};

/// Writes the package into a temporary file; `None` when the present one provides the same already.
/// `present` is the release that a new one gets, and what the present one provides.
pub fn make(
    state_dir: &Path,
    name: &str,
    dir: &Path,
    of_recipes: &[Dependency],
    present: (u64, Option<Vec<Dependency>>),
) -> Result<Option<tempfile::TempPath>> {
    let base = if dir == Path::new("/") {
        Base::Host
    } else {
        Base::Directory(dir.to_path_buf())
    };
    let recipes: BTreeSet<&Dependency> = of_recipes.iter().collect();
    let provides: Vec<Dependency> = base_index(&base, state_dir)?
        .into_iter()
        .filter(|provided| !recipes.contains(provided))
        .collect();
    if provides.is_empty() {
        let what = format!(
            "{} provides nothing that the farm's recipes do not",
            dir.display()
        );
        return Err(Fault::new(Kind::Operator, what)
            .next("give the root directory of a system: one that has usr/bin"));
    }
    let (release, before) = present;
    if before.as_ref() == Some(&provides) {
        return Ok(None);
    }
    // A package without a file cannot be installed alone, so it says what it is.
    let text = format!(
        "{name} stands for the programs and libraries of the machine that this farm builds on.\n"
    );
    let meta = Meta {
        name: name.into(),
        version: "1".into(),
        release,
        build_release: 1,
        arch: Arch::OF_THIS_PROGRAM,
        summary: "What the farm's base provides".into(),
        description: text.trim_end().into(),
        source: name.into(),
        homepage: String::new(),
        licenses: vec!["CC0-1.0".into()],
        depends: Vec::new(),
        provides,
        conflicts: Vec::new(),
        build_depends: Vec::new(),
        uri: None,
        hash: None,
        size: None,
    };
    let file = HandmadeFile {
        path: format!("share/massif/{name}"),
        executable: false,
        content: text.as_bytes(),
    };
    handmade::write(state_dir, &meta, &[file]).map(Some)
}
