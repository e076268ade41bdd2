//! Two packages: their tables first, then the contents that differ.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{Read, Seek};
use std::ops::Range;

use sha2::{Digest as _, Sha256};

use super::scan::{self, Look, Parts};
use super::{Gathered, describe, difference, elf};
use crate::fault::{Fault, Result};
use crate::id::{ContentHash, Digest};
use crate::model::proof::{Cause, Difference, Level};
use crate::stone::{LayoutEntry, Meta, Node, Package};

/// Opens both packages from their start.
pub type Files<'a, R> = &'a dyn Fn() -> Result<(R, R)>;

/// A hash of what a client gets of a package: metadata and what lies where, however it is packed.
pub fn content<R: Read + Seek>(name: &str, from: &mut R) -> Result<Digest> {
    let mut package = Package::read(from)?;
    crate::stone::layout::sort(&mut package.layout);
    let unwritten =
        |error: postcard::Error| Fault::bug("tables have no stored form").because(&error);
    let mut hash = Sha256::new();
    hash.update(name.as_bytes());
    hash.update(postcard::to_stdvec(&package.meta).map_err(unwritten)?);
    for entry in &package.layout {
        hash.update(postcard::to_stdvec(entry).map_err(unwritten)?);
    }
    Ok(Digest(hash.finalize().into()))
}

/// A path whose contents differ.
struct Pair {
    path: String,
    published: ContentHash,
    rebuilt: ContentHash,
}

/// What a pass over the content of a package brings back.
type Looks = HashMap<ContentHash, Look>;

/// Compares two packages that are not the same bytes.
pub fn compare<R: Read + Seek>(
    name: &str,
    files: Files<'_, R>,
    gathered: &mut Gathered,
) -> Result<()> {
    let (mut ours, mut theirs) = files()?;
    let published = Package::read(&mut ours)?;
    let rebuilt = match Package::read(&mut theirs) {
        Ok(package) => package,
        Err(fault) => {
            gathered.note(Level::Files, damaged(name, &fault));
            return Ok(());
        }
    };
    let before = gathered.differences.len();
    for text in fields(&published.meta, &rebuilt.meta) {
        gathered.note(Level::Metadata, difference(name, None, Cause::Fields, text));
    }
    let mut pairs = layouts(name, &published, &rebuilt, gathered);
    let unlooked = pairs.split_off(pairs.len().min(gathered.looks));
    gathered.looks -= pairs.len();
    let looks = match look_at(&pairs, (&published, &mut ours), (&rebuilt, &mut theirs))? {
        Ok(looks) => looks,
        Err(fault) => {
            gathered.note(Level::Files, damaged(name, &fault));
            return Ok(());
        }
    };
    // Each distinct content was read and held against its hash by now: what is the same in the tables is the same.
    for found in described(name, &pairs, &looks, (&published, &rebuilt), files)? {
        gathered.note(Level::Files, found);
    }
    let sizes = |package: &Package| -> HashMap<ContentHash, u64> {
        let all = package.files.iter().map(|file| (file.hash, file.size));
        all.collect()
    };
    let (ours, theirs) = (sizes(&published), sizes(&rebuilt));
    for pair in unlooked {
        let text = "differs; too many do to look into each".to_string();
        let mut found = difference(name, Some(&pair.path), Cause::Content, text);
        found.published_bytes = ours.get(&pair.published).copied();
        found.rebuilt_bytes = theirs.get(&pair.rebuilt).copied();
        gathered.note(Level::Files, found);
    }
    if gathered.differences.len() == before {
        let found = packing(name, &published, &rebuilt);
        gathered.note(Level::Container, found);
    }
    Ok(())
}

fn damaged(name: &str, fault: &Fault) -> Difference {
    let text = format!("the rebuilt package is no good: {}", fault.what);
    difference(name, None, Cause::Damage, text)
}

/// Metadata that differs, field by field.
fn fields(a: &Meta, b: &Meta) -> Vec<String> {
    let mut found = Vec::new();
    let mut one = |field: &str, a: String, b: String| {
        if a != b {
            found.push(format!("{field}: published {a}, rebuilt {b}"));
        }
    };
    one("name", a.name.clone(), b.name.clone());
    one("version", a.version.clone(), b.version.clone());
    one("release", a.release.to_string(), b.release.to_string());
    let builds = (a.build_release.to_string(), b.build_release.to_string());
    one("build release", builds.0, builds.1);
    one("architecture", a.arch.to_string(), b.arch.to_string());
    one("summary", a.summary.clone(), b.summary.clone());
    one("description", a.description.clone(), b.description.clone());
    one("source", a.source.clone(), b.source.clone());
    one("homepage", a.homepage.clone(), b.homepage.clone());
    let mut many = |field: &str, a: Vec<String>, b: Vec<String>| {
        let (left, right): (BTreeSet<_>, BTreeSet<_>) = (a.iter().collect(), b.iter().collect());
        let list = |set: Vec<&&String>| {
            let words: Vec<&str> = set.iter().map(|word| word.as_str()).collect();
            words.join(" ")
        };
        let gone = list(left.difference(&right).collect());
        let new = list(right.difference(&left).collect());
        match (gone.is_empty(), new.is_empty()) {
            (true, true) if a == b => {}
            (true, true) => found.push(format!("{field}: in another order")),
            (false, true) => found.push(format!("{field}: only published: {gone}")),
            (true, false) => found.push(format!("{field}: only rebuilt: {new}")),
            (false, false) => found.push(format!(
                "{field}: only published: {gone}; only rebuilt: {new}"
            )),
        }
    };
    let texts = |all: &[crate::stone::Dependency]| all.iter().map(ToString::to_string).collect();
    many("licences", a.licenses.clone(), b.licenses.clone());
    many("depends", texts(&a.depends), texts(&b.depends));
    many("provides", texts(&a.provides), texts(&b.provides));
    many("conflicts", texts(&a.conflicts), texts(&b.conflicts));
    found
}

/// Compares what lies where; the paths with other contents come back.
fn layouts(name: &str, a: &Package, b: &Package, gathered: &mut Gathered) -> Vec<Pair> {
    let by_path = |package: &Package| -> BTreeMap<String, LayoutEntry> {
        let all = package.layout.iter().map(|e| (e.path.clone(), e.clone()));
        all.collect()
    };
    let (ours, theirs) = (by_path(a), by_path(b));
    let mut pairs = Vec::new();
    let paths: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    for path in paths {
        let (one, other) = match (ours.get(path), theirs.get(path)) {
            (Some(one), Some(other)) => (one, other),
            (one, _) => {
                let side = if one.is_some() {
                    "published"
                } else {
                    "rebuilt"
                };
                // Debugging data lies under the hash that the linker made of the program.
                let cause = match path.contains(".build-id/") {
                    true => Cause::BuildId,
                    false => Cause::Presence,
                };
                let text = format!("only the {side} package has it");
                gathered.note(Level::Files, difference(name, Some(path), cause, text));
                continue;
            }
        };
        if one.node.type_bits() == other.node.type_bits()
            && (one.mode, one.uid, one.gid) != (other.mode, other.uid, other.gid)
        {
            let text = format!(
                "mode and owner: published {:o} {}:{}, rebuilt {:o} {}:{}",
                one.mode, one.uid, one.gid, other.mode, other.uid, other.gid
            );
            gathered.note(
                Level::Metadata,
                difference(name, Some(path), Cause::Mode, text),
            );
        }
        match (&one.node, &other.node) {
            (Node::Regular(published), Node::Regular(rebuilt)) if published != rebuilt => {
                pairs.push(Pair {
                    path: path.clone(),
                    published: *published,
                    rebuilt: *rebuilt,
                });
            }
            (one, other) if one == other => {}
            (Node::Symlink(one), Node::Symlink(other)) => {
                // A link into the debugging data names the hash that the linker made.
                let cause = match one.contains(".build-id/") && other.contains(".build-id/") {
                    true => Cause::BuildId,
                    false => Cause::Link,
                };
                let text = format!("links to {one}, rebuilt to {other}");
                gathered.note(Level::Files, difference(name, Some(path), cause, text));
            }
            (one, other) => {
                let text = format!("is {}, rebuilt {}", kind(one), kind(other));
                gathered.note(
                    Level::Files,
                    difference(name, Some(path), Cause::Link, text),
                );
            }
        }
    }
    pairs
}

fn kind(node: &Node) -> &'static str {
    match node {
        Node::Regular(_) => "a file",
        Node::Symlink(_) => "a link",
        Node::Directory => "a directory",
        Node::CharDevice | Node::BlockDevice => "a device",
        Node::Fifo => "a pipe",
        Node::Socket => "a socket",
    }
}

/// Reads both contents whole, one after the other: everything is held against its hash, and what differs is looked at. The
/// inner error is the rebuilt package's.
fn look_at<R: Read + Seek>(
    pairs: &[Pair],
    (published, ours): (&Package, &mut R),
    (rebuilt, theirs): (&Package, &mut R),
) -> Result<std::result::Result<(Looks, Looks), Fault>> {
    let wanted = |pick: fn(&Pair) -> ContentHash| -> BTreeSet<ContentHash> {
        pairs.iter().map(pick).collect()
    };
    let a = looks_of(published, ours, &wanted(|pair| pair.published))?;
    Ok(looks_of(rebuilt, theirs, &wanted(|pair| pair.rebuilt)).map(|b| (a, b)))
}

fn looks_of<R: Read + Seek>(
    package: &Package,
    from: &mut R,
    wanted: &BTreeSet<ContentHash>,
) -> Result<Looks> {
    let mut looks = Looks::new();
    package.unpack(from, &mut |file, reader| {
        if wanted.contains(&file.hash) {
            looks.insert(file.hash, Look::at(reader).map_err(scan::unread)?);
        }
        Ok(())
    })?;
    Ok(looks)
}

/// Bytes of some places of some contents.
type Picked = HashMap<ContentHash, Vec<Vec<u8>>>;

fn pick<R: Read + Seek>(
    package: &Package,
    from: &mut R,
    wanted: &HashMap<ContentHash, Vec<Range<u64>>>,
) -> Result<Picked> {
    let mut picked = Picked::new();
    if wanted.is_empty() {
        return Ok(picked);
    }
    package.unpack(from, &mut |file, reader| {
        if let Some(ranges) = wanted.get(&file.hash) {
            let bytes = scan::pick(reader, ranges).map_err(scan::unread)?;
            picked.insert(file.hash, bytes);
        }
        Ok(())
    })?;
    Ok(picked)
}

/// Describes each pair, after a second pass that brings the bytes of a few blocks that differ.
fn described<R: Read + Seek>(
    name: &str,
    pairs: &[Pair],
    (ours, theirs): &(Looks, Looks),
    (published, rebuilt): (&Package, &Package),
    files: Files<'_, R>,
) -> Result<Vec<Difference>> {
    let (mut from_ours, mut from_theirs) = (HashMap::new(), HashMap::new());
    for pair in pairs {
        if let (Some(a), Some(b)) = (ours.get(&pair.published), theirs.get(&pair.rebuilt)) {
            // One content may stand against several others: its places are those of all of them.
            let ranges = a.differing(b);
            let names = elf::names(&a.head, &a.sections).unwrap_or(0..0);
            let mine: &mut Vec<Range<u64>> = from_ours.entry(pair.published).or_default();
            mine.push(names);
            mine.extend(ranges.iter().cloned());
            let other: &mut Vec<Range<u64>> = from_theirs.entry(pair.rebuilt).or_default();
            other.extend(ranges);
        }
    }
    let (mut file_ours, mut file_theirs) = files()?;
    let picked_ours = pick(published, &mut file_ours, &from_ours)?;
    let picked_theirs = pick(rebuilt, &mut file_theirs, &from_theirs)?;
    let bytes_of = |wanted: &HashMap<ContentHash, Vec<Range<u64>>>,
                    picked: &Picked,
                    hash: &ContentHash,
                    range: &Range<u64>| {
        let at = wanted.get(hash)?.iter().position(|known| known == range)?;
        picked.get(hash)?.get(at).cloned()
    };
    let mut found = Vec::new();
    for pair in pairs {
        let (Some(a), Some(b)) = (ours.get(&pair.published), theirs.get(&pair.rebuilt)) else {
            continue;
        };
        let ranges = a.differing(b);
        let names = elf::names(&a.head, &a.sections).unwrap_or(0..0);
        let names = bytes_of(&from_ours, &picked_ours, &pair.published, &names);
        let sections = elf::sections(&a.sections, &names.unwrap_or_default());
        let mut parts = Parts::default();
        for range in ranges {
            let one = bytes_of(&from_ours, &picked_ours, &pair.published, &range);
            let other = bytes_of(&from_theirs, &picked_theirs, &pair.rebuilt, &range);
            parts.published.push(one.unwrap_or_default());
            parts.rebuilt.push(other.unwrap_or_default());
            parts.ranges.push(range);
        }
        let place = (name, Some(pair.path.as_str()));
        found.push(describe::describe(place, (a, b), &parts, &sections));
    }
    Ok(found)
}

/// What is packed otherwise although it is the same.
fn packing(name: &str, a: &Package, b: &Package) -> Difference {
    let paths = |package: &Package| -> Vec<String> {
        package.layout.iter().map(|e| e.path.clone()).collect()
    };
    if paths(a) != paths(b) {
        let text = "the same files, listed in another order".to_string();
        return difference(name, None, Cause::Order, text);
    }
    if a.files != b.files {
        let text = "the same contents, packed in another order".to_string();
        return difference(name, None, Cause::Order, text);
    }
    let text = "the same files, compressed or wrapped otherwise".to_string();
    difference(name, None, Cause::Packing, text)
}
