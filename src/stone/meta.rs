//! The metadata of one package, as a meta payload holds it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::container::{Fields, bad};
use super::{Dependency, DependencyKind};
use crate::fault::{Fault, Kind, Result};
use crate::id::{Arch, Digest};
use crate::limit;

/// Metadata of one package. In an index the three `uri`, `hash`, `size` are set too; in a manifest `build_depends` is.
/// `depends`, `provides` and `conflicts` are sorted by their text form and hold nothing twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The package's name.
    pub name: String,
    /// Free text, never compared.
    pub version: String,
    /// The recipe's release.
    pub release: u64,
    /// The farm's rebuild counter; 0 in manifests.
    pub build_release: u64,
    /// Architecture.
    pub arch: Arch,
    /// One line.
    pub summary: String,
    /// Some lines.
    pub description: String,
    /// The recipe's name.
    pub source: String,
    /// A URL.
    pub homepage: String,
    /// SPDX ids, sorted.
    pub licenses: Vec<String>,
    /// Needed at run time.
    pub depends: Vec<Dependency>,
    /// Provided, without the implicit `name(<name>)`.
    pub provides: Vec<Dependency>,
    /// Cannot be installed beside.
    pub conflicts: Vec<Dependency>,
    /// Manifests only: what the recipe asked for to build.
    pub build_depends: Vec<Dependency>,
    /// Index only: where the package file is, relative to the index.
    pub uri: Option<String>,
    /// Index only: SHA-256 of the package file.
    pub hash: Option<Digest>,
    /// Index only: bytes of the package file.
    pub size: Option<u64>,
}

/// The tags of the format. Others exist and are ignored.
mod tag {
    pub(super) const NAME: u16 = 1;
    pub(super) const ARCHITECTURE: u16 = 2;
    pub(super) const VERSION: u16 = 3;
    pub(super) const SUMMARY: u16 = 4;
    pub(super) const DESCRIPTION: u16 = 5;
    pub(super) const HOMEPAGE: u16 = 6;
    pub(super) const SOURCE_ID: u16 = 7;
    pub(super) const DEPENDS: u16 = 8;
    pub(super) const PROVIDES: u16 = 9;
    pub(super) const CONFLICTS: u16 = 10;
    pub(super) const RELEASE: u16 = 11;
    pub(super) const LICENSE: u16 = 12;
    pub(super) const BUILD_RELEASE: u16 = 13;
    pub(super) const PACKAGE_URI: u16 = 14;
    pub(super) const PACKAGE_HASH: u16 = 15;
    pub(super) const PACKAGE_SIZE: u16 = 16;
    pub(super) const BUILD_DEPENDS: u16 = 17;
}

const KIND_U64: u8 = 8;
const KIND_TEXT: u8 = 9;
const KIND_DEPENDENCY: u8 = 10;
const KIND_PROVIDER: u8 = 11;

/// A record's value, read.
enum Value {
    Number(u64),
    Text(String),
    Relation(Dependency),
}

impl Value {
    fn text(self, name: &str) -> Result<String> {
        match self {
            Value::Text(text) => Ok(text),
            Value::Number(_) | Value::Relation(_) => Err(wrong_kind(name)),
        }
    }

    fn number(self, name: &str) -> Result<u64> {
        match self {
            Value::Number(number) => Ok(number),
            Value::Text(_) | Value::Relation(_) => Err(wrong_kind(name)),
        }
    }

    fn relation(self, name: &str) -> Result<Dependency> {
        match self {
            Value::Relation(relation) => Ok(relation),
            Value::Text(_) | Value::Number(_) => Err(wrong_kind(name)),
        }
    }
}

fn wrong_kind(name: &str) -> Fault {
    bad(format!("its metadata field {name} is of a wrong kind"))
}

/// Puts a value that may be there once.
fn once<T>(slot: &mut Option<T>, value: T, name: &str) -> Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(bad(format!("its metadata has {name} twice"))),
    }
}

/// The fields as they are found.
#[derive(Default)]
struct Found {
    name: Option<String>,
    version: Option<String>,
    release: Option<u64>,
    build_release: Option<u64>,
    arch: Option<Arch>,
    summary: Option<String>,
    description: Option<String>,
    source: Option<String>,
    homepage: Option<String>,
    licenses: Vec<String>,
    depends: Vec<Dependency>,
    provides: Vec<Dependency>,
    conflicts: Vec<Dependency>,
    build_depends: Vec<Dependency>,
    uri: Option<String>,
    hash: Option<Digest>,
    size: Option<u64>,
}

impl Found {
    fn put(&mut self, tag: u16, value: Value) -> Result<()> {
        match tag {
            tag::NAME => once(&mut self.name, value.text("Name")?, "Name"),
            tag::ARCHITECTURE => {
                let text = value.text("Architecture")?;
                let arch = text.parse().map_err(|error| {
                    bad("its architecture is unknown").because(&error as &crate::id::BadId)
                })?;
                once(&mut self.arch, arch, "Architecture")
            }
            tag::VERSION => once(&mut self.version, value.text("Version")?, "Version"),
            tag::SUMMARY => once(&mut self.summary, value.text("Summary")?, "Summary"),
            tag::DESCRIPTION => once(
                &mut self.description,
                value.text("Description")?,
                "Description",
            ),
            tag::HOMEPAGE => once(&mut self.homepage, value.text("Homepage")?, "Homepage"),
            tag::SOURCE_ID => once(&mut self.source, value.text("SourceID")?, "SourceID"),
            tag::RELEASE => once(&mut self.release, value.number("Release")?, "Release"),
            tag::BUILD_RELEASE => once(
                &mut self.build_release,
                value.number("BuildRelease")?,
                "BuildRelease",
            ),
            tag::PACKAGE_URI => once(&mut self.uri, value.text("PackageURI")?, "PackageURI"),
            tag::PACKAGE_HASH => {
                let text = value.text("PackageHash")?;
                let hash = text.parse().map_err(|error| {
                    bad("its package hash is none").because(&error as &crate::id::BadId)
                })?;
                once(&mut self.hash, hash, "PackageHash")
            }
            tag::PACKAGE_SIZE => once(&mut self.size, value.number("PackageSize")?, "PackageSize"),
            tag::LICENSE => {
                self.licenses.push(value.text("License")?);
                Ok(())
            }
            tag::DEPENDS => {
                self.depends.push(value.relation("Depends")?);
                Ok(())
            }
            tag::PROVIDES => {
                self.provides.push(value.relation("Provides")?);
                Ok(())
            }
            tag::CONFLICTS => {
                self.conflicts.push(value.relation("Conflicts")?);
                Ok(())
            }
            tag::BUILD_DEPENDS => {
                self.build_depends.push(value.relation("BuildDepends")?);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn finish(self) -> Result<Meta> {
        let missing = |name: &str| bad(format!("its metadata lacks {name}"));
        let mut meta = Meta {
            name: self.name.ok_or_else(|| missing("Name"))?,
            version: self.version.ok_or_else(|| missing("Version"))?,
            release: self.release.ok_or_else(|| missing("Release"))?,
            build_release: self.build_release.ok_or_else(|| missing("BuildRelease"))?,
            arch: self.arch.ok_or_else(|| missing("Architecture"))?,
            summary: self.summary.ok_or_else(|| missing("Summary"))?,
            description: self.description.ok_or_else(|| missing("Description"))?,
            source: self.source.ok_or_else(|| missing("SourceID"))?,
            homepage: self.homepage.ok_or_else(|| missing("Homepage"))?,
            licenses: self.licenses,
            depends: self.depends,
            provides: self.provides,
            conflicts: self.conflicts,
            build_depends: self.build_depends,
            uri: self.uri,
            hash: self.hash,
            size: self.size,
        };
        meta.tidy();
        Ok(meta)
    }
}

/// A number of any integer kind; `None` for a length that the kind does not have. Negative ones are refused.
fn number(kind: u8, value: &[u8]) -> Result<u64> {
    let wide = |value: &[u8]| {
        value
            .iter()
            .fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte))
    };
    let width = match kind {
        1 | 2 => 1,
        3 | 4 => 2,
        5 | 6 => 4,
        _ => 8,
    };
    if value.len() != width {
        return Err(bad("an integer of a wrong length"));
    }
    let is_signed = kind % 2 == 1;
    if is_signed && value.first().is_some_and(|byte| *byte >= 0x80) {
        return Err(bad("a negative number"));
    }
    Ok(wide(value))
}

fn text(value: &[u8]) -> Result<&str> {
    let end = value
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    if end > limit::STONE_TEXT_BYTES_MAX {
        return Err(bad("a text in its metadata is too long"));
    }
    let text = value.get(..end).unwrap_or_default();
    std::str::from_utf8(text).map_err(|error| bad("a text is not UTF-8").because(&error))
}

fn value(kind: u8, raw: &[u8]) -> Result<Option<Value>> {
    Ok(match kind {
        1..=8 => Some(Value::Number(number(kind, raw)?)),
        KIND_TEXT => Some(Value::Text(text(raw)?.to_string())),
        KIND_DEPENDENCY | KIND_PROVIDER => {
            let (first, name) = raw
                .split_first()
                .ok_or_else(|| bad("an empty dependency"))?;
            let kind = DependencyKind::from_byte(*first)
                .ok_or_else(|| bad(format!("dependency kind {first}")))?;
            Some(Value::Relation(Dependency::new(kind, text(name)?)))
        }
        _ => None,
    })
}

impl Meta {
    /// Reads a meta payload of this many records. Record order, integer kinds and trailing NULs are free, unknown kinds
    /// and tags are ignored, lists come out sorted and without repeats.
    pub fn decode(plain: &[u8], records: u32) -> Result<Meta> {
        let mut found = Found::default();
        let mut rest = Fields(plain);
        for _ in 0..records {
            let mut head = Fields(rest.slice(8).ok_or_else(|| bad("a record is cut short"))?);
            let length = u32::from_be_bytes(head.take());
            let tag = u16::from_be_bytes(head.take());
            let [kind, _padding] = head.take();
            let raw = usize::try_from(length)
                .ok()
                .and_then(|length| rest.slice(length))
                .ok_or_else(|| bad("a record is cut short"))?;
            if let Some(value) = value(kind, raw)? {
                found.put(tag, value)?;
            }
        }
        if !rest.0.is_empty() {
            return Err(bad("bytes after the last record of its metadata"));
        }
        found.finish()
    }

    /// The meta payload and its number of records, in the order of current writers.
    pub fn encode(&self) -> Result<(Vec<u8>, u32)> {
        let tidy = match self.is_tidy() {
            true => Cow::Borrowed(self),
            false => {
                let mut copy = self.clone();
                copy.tidy();
                Cow::Owned(copy)
            }
        };
        let mut out = Records::default();
        out.text(tag::NAME, &self.name)?;
        out.text(tag::VERSION, &self.version)?;
        out.number(tag::RELEASE, self.release);
        out.number(tag::BUILD_RELEASE, self.build_release);
        out.text(tag::ARCHITECTURE, self.arch.as_str())?;
        out.text(tag::SUMMARY, &self.summary)?;
        out.text(tag::DESCRIPTION, &self.description)?;
        out.text(tag::SOURCE_ID, &self.source)?;
        out.text(tag::HOMEPAGE, &self.homepage)?;
        if let Some(uri) = &self.uri {
            out.text(tag::PACKAGE_URI, uri)?;
        }
        if let Some(hash) = &self.hash {
            out.text(tag::PACKAGE_HASH, &hash.to_string())?;
        }
        if let Some(size) = self.size {
            out.number(tag::PACKAGE_SIZE, size);
        }
        for license in &tidy.licenses {
            out.text(tag::LICENSE, license)?;
        }
        for (tag, kind, list) in [
            (tag::DEPENDS, KIND_DEPENDENCY, &tidy.depends),
            (tag::PROVIDES, KIND_PROVIDER, &tidy.provides),
            (tag::CONFLICTS, KIND_PROVIDER, &tidy.conflicts),
            (tag::BUILD_DEPENDS, KIND_DEPENDENCY, &tidy.build_depends),
        ] {
            for relation in list {
                out.relation(tag, kind, relation)?;
            }
        }
        Ok((out.bytes, out.count))
    }

    /// Sorts the lists as the format wants them and drops repeats and the implicit provider.
    pub fn tidy(&mut self) {
        // Recipes that name a licence twice have it twice in the distribution's manifests.
        self.licenses.sort();
        for list in [&mut self.depends, &mut self.provides, &mut self.conflicts] {
            list.sort();
            list.dedup();
        }
        let name = &self.name;
        self.provides
            .retain(|provider| !is_implicit(provider, name));
        self.build_depends
            .sort_by_cached_key(Dependency::in_recipe_words);
        self.build_depends.dedup();
    }

    fn is_tidy(&self) -> bool {
        let rising = |list: &[Dependency]| list.is_sorted_by(|a, b| a < b);
        self.licenses.is_sorted()
            && rising(&self.depends)
            && rising(&self.provides)
            && rising(&self.conflicts)
            && self.build_depends.is_empty()
            && !self.provides.iter().any(|p| is_implicit(p, &self.name))
    }

    /// `<name>-<version>-<release>-<build release>-<arch>.stone`.
    pub fn file_name(&self) -> String {
        format!(
            "{}-{}-{}-{}-{}.stone",
            self.name, self.version, self.release, self.build_release, self.arch
        )
    }

    /// The same without what only an index or a manifest holds: what the package itself carries.
    pub fn of_package(&self) -> Meta {
        Meta {
            uri: None,
            hash: None,
            size: None,
            build_depends: Vec::new(),
            ..self.clone()
        }
    }
}

fn is_implicit(provider: &Dependency, name: &str) -> bool {
    provider.kind == DependencyKind::Name && &*provider.name == name
}

/// Records as they are written.
#[derive(Default)]
struct Records {
    bytes: Vec<u8>,
    count: u32,
}

impl Records {
    fn head(&mut self, length: usize, tag: u16, kind: u8) -> Result<()> {
        let length = u32::try_from(length).map_err(|_| too_long())?;
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(&tag.to_be_bytes());
        self.bytes.extend_from_slice(&[kind, 0]);
        self.count += 1;
        Ok(())
    }

    fn number(&mut self, tag: u16, number: u64) {
        self.bytes.extend_from_slice(&8_u32.to_be_bytes());
        self.bytes.extend_from_slice(&tag.to_be_bytes());
        self.bytes.extend_from_slice(&[KIND_U64, 0]);
        self.bytes.extend_from_slice(&number.to_be_bytes());
        self.count += 1;
    }

    fn text(&mut self, tag: u16, text: &str) -> Result<()> {
        usable(text)?;
        self.head(text.len() + 1, tag, KIND_TEXT)?;
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        Ok(())
    }

    fn relation(&mut self, tag: u16, kind: u8, relation: &Dependency) -> Result<()> {
        usable(&relation.name)?;
        self.head(relation.name.len() + 2, tag, kind)?;
        self.bytes.push(relation.kind as u8);
        self.bytes.extend_from_slice(relation.name.as_bytes());
        self.bytes.push(0);
        Ok(())
    }
}

fn too_long() -> Fault {
    Fault::new(
        Kind::Recipe,
        format!(
            "a text of the package's metadata is longer than {} bytes",
            limit::STONE_TEXT_BYTES_MAX
        ),
    )
    .next("shorten it in the recipe")
}

/// What can be written so that it reads back the same.
fn usable(text: &str) -> Result<()> {
    if text.len() > limit::STONE_TEXT_BYTES_MAX {
        return Err(too_long());
    }
    if text.contains('\0') {
        return Err(Fault::new(
            Kind::Recipe,
            "a text of the package's metadata holds a NUL byte",
        )
        .next("remove it from the recipe"));
    }
    Ok(())
}
