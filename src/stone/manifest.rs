//! Build manifests: what a recipe's packages need and provide, kept beside the recipe.

use std::collections::BTreeMap;

use serde::Serialize;

use super::container::{FileType, PayloadKind, Reader, TableWriter, bad, file_header};
use crate::fault::{Fault, Kind, Result};
use crate::limit;
use crate::stone::Meta;

/// Packages whose names end so are left out of manifests: what they hold changes with every compiler.
const DEBUG_SUFFIX: &str = "-dbginfo";
/// What the text manifest says it is.
const TEXT_HEAD: &str = "/** Human readable report. This is not consumed by boulder */\n";
/// The version of the text form.
const TEXT_VERSION: &str = "0.2";

/// Reads `manifest.<arch>.bin`: one `Meta` per package, in the order of the file.
pub fn read(bytes: &[u8]) -> Result<Vec<Meta>> {
    if bytes.len() > limit::MANIFEST_BYTES_MAX {
        return Err(bad(format!("a manifest of {} bytes", bytes.len())));
    }
    let mut reader = Reader::new(bytes)?;
    if reader.file_type() != FileType::BuildManifest {
        return Err(bad("it is a stone, but not a build manifest"));
    }
    let mut packages = Vec::new();
    while let Some(header) = reader.next_payload()? {
        if header.kind == PayloadKind::Meta && header.is_known() {
            let plain = reader.table(&header)?;
            packages.push(Meta::decode(&plain, header.records)?);
        }
    }
    Ok(packages)
}

/// The packages that a manifest lists, by name.
fn listed<'a>(packages: impl Iterator<Item = &'a Meta>) -> Vec<&'a Meta> {
    let mut listed: Vec<&Meta> = packages
        .filter(|meta| !meta.name.ends_with(DEBUG_SUFFIX))
        .collect();
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    listed
}

/// Writes `manifest.<arch>.bin`: packages sorted by name, `-dbginfo` ones left out, build release 0, no index fields.
pub fn write(packages: &[Meta]) -> Result<Vec<u8>> {
    let listed = listed(packages.iter());
    let payloads = u16::try_from(listed.len()).map_err(|_| {
        Fault::new(
            Kind::Recipe,
            format!("a recipe of {} packages", listed.len()),
        )
        .next("split the recipe")
    })?;
    let mut out = file_header(FileType::BuildManifest, payloads).to_vec();
    let mut tables = TableWriter::new()?;
    for meta in listed {
        let meta = Meta {
            build_release: 0,
            build_depends: meta.build_depends.clone(),
            ..meta.of_package()
        };
        let (plain, records) = meta.encode()?;
        out.extend(tables.payload(PayloadKind::Meta, records, &plain)?);
    }
    Ok(out)
}

/// One package of the text manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextPackage<'a> {
    /// Its metadata, with `build_depends`.
    pub meta: &'a Meta,
    /// Paths relative to `/usr`, in any order.
    pub files: Vec<&'a str>,
}

/// Keys in alphabetical order, as they are written.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Text<'a> {
    manifest_version: &'a str,
    packages: BTreeMap<&'a str, TextEntry<'a>>,
    source_name: &'a str,
    source_release: String,
    source_version: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct TextEntry<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    build_depends: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    depends: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<String>,
    name: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    provides: Vec<String>,
}

fn sorted(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut texts: Vec<String> = texts.collect();
    texts.sort();
    texts.dedup();
    texts
}

/// Writes `manifest.<arch>.jsonc`, the report for people and diffs. `-dbginfo` packages are left out.
pub fn write_text(packages: &[TextPackage<'_>]) -> Result<String> {
    let Some(first) = packages.first() else {
        return Err(Fault::bug("a manifest of no packages"));
    };
    let entries = packages
        .iter()
        .filter(|package| !package.meta.name.ends_with(DEBUG_SUFFIX))
        .map(|package| {
            let meta = package.meta;
            let entry = TextEntry {
                build_depends: sorted(meta.build_depends.iter().map(|d| d.in_recipe_words())),
                depends: sorted(meta.depends.iter().map(|d| d.in_recipe_words())),
                files: sorted(package.files.iter().map(|path| format!("/usr/{path}"))),
                name: &meta.name,
                provides: sorted(meta.provides.iter().map(|d| d.in_recipe_words())),
            };
            (meta.name.as_str(), entry)
        })
        .collect();
    let text = Text {
        manifest_version: TEXT_VERSION,
        packages: entries,
        source_name: &first.meta.source,
        source_release: first.meta.release.to_string(),
        source_version: &first.meta.version,
    };
    let mut out = TEXT_HEAD.as_bytes().to_vec();
    let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    text.serialize(&mut serde_json::Serializer::with_formatter(&mut out, tabs))
        .map_err(|error| Fault::bug("cannot write a text manifest").because(&error))?;
    out.push(b'\n');
    String::from_utf8(out)
        .map_err(|error| Fault::bug("a text manifest is not UTF-8").because(&error))
}
