//! Layout payloads: what a package puts below `/usr`.

use std::cmp::Ordering;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::container::{Fields, bad};
use crate::fault::{Fault, Kind, Result};
use crate::id::ContentHash;

/// What a layout entry is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Node {
    /// A regular file with this content.
    Regular(ContentHash),
    /// A symbolic link and its text, as it is.
    Symlink(String),
    /// A directory: only empty ones and those whose mode is not 0755 have an entry.
    Directory,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl Node {
    fn to_byte(&self) -> u8 {
        match self {
            Node::Regular(_) => 1,
            Node::Symlink(_) => 2,
            Node::Directory => 3,
            Node::CharDevice => 4,
            Node::BlockDevice => 5,
            Node::Fifo => 6,
            Node::Socket => 7,
        }
    }

    /// The type bits of `st_mode` that belong to it.
    pub fn type_bits(&self) -> u32 {
        match self {
            Node::Regular(_) => 0o100_000,
            Node::Symlink(_) => 0o120_000,
            Node::Directory => 0o040_000,
            Node::CharDevice => 0o020_000,
            Node::BlockDevice => 0o060_000,
            Node::Fifo => 0o010_000,
            Node::Socket => 0o140_000,
        }
    }
}

/// One record of a layout payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutEntry {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The whole `st_mode`, type bits included (`0o100644`).
    pub mode: u32,
    /// Relative to `/usr`, without a slash at either end.
    pub path: String,
    /// What it is.
    pub node: Node,
}

/// The type bits of `st_mode`.
const TYPE_MASK: u32 = 0o170_000;
/// Fixed part of a record.
const RECORD_BYTES: usize = 32;
/// The longest path that Linux takes.
const PATH_BYTES_MAX: usize = 4096;
/// The longest name that Linux file systems take.
const COMPONENT_BYTES_MAX: usize = 255;

/// Sorts into the order that packages are written in: a depth-first walk with names sorted inside each directory,
/// a directory's own record after its content.
pub fn sort(entries: &mut [LayoutEntry]) {
    entries.sort_by(|a, b| walk_order(&a.path, &b.path));
}

/// Where two paths stand to each other in that walk.
pub fn walk_order(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.split('/'), b.split('/'));
    loop {
        match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Greater,
            (Some(_), None) => return Ordering::Less,
            (Some(a), Some(b)) if a == b => continue,
            (Some(a), Some(b)) => return a.as_bytes().cmp(b.as_bytes()),
        }
    }
}

fn unsafe_path(path: &str, why: &str) -> Fault {
    Fault::new(Kind::Recipe, format!("package path {path:?} {why}"))
        .next("install below /usr only, each path once")
}

/// Refuses a path that could leave the directory that it is unpacked into.
pub fn check_path(path: &str) -> Result<()> {
    if path.is_empty() {
        return Err(unsafe_path(path, "is empty"));
    }
    if path.starts_with('/') {
        return Err(unsafe_path(path, "is absolute"));
    }
    if path.len() > PATH_BYTES_MAX {
        return Err(unsafe_path(path, "is too long"));
    }
    if path.contains('\0') {
        return Err(unsafe_path(path, "holds a NUL byte"));
    }
    for component in path.split('/') {
        match component {
            "" | "." | ".." => return Err(unsafe_path(path, "holds an empty, . or .. part")),
            long if long.len() > COMPONENT_BYTES_MAX => {
                return Err(unsafe_path(path, "has a part of more than 255 bytes"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Refuses what an unpacker could be hurt by: absolute, empty, `.` and `..` paths, one path twice, a path below
/// something that is not a directory, a link without text, and a mode of another type than the entry.
pub fn check(entries: &[LayoutEntry]) -> Result<()> {
    let mut is_directory = HashMap::with_capacity(entries.len());
    for entry in entries {
        check_path(&entry.path)?;
        let directory = matches!(entry.node, Node::Directory);
        if is_directory
            .insert(entry.path.as_str(), directory)
            .is_some()
        {
            return Err(unsafe_path(&entry.path, "is there twice"));
        }
        if entry.mode & TYPE_MASK != entry.node.type_bits() {
            return Err(unsafe_path(&entry.path, "has a mode of another type"));
        }
        if let Node::Symlink(text) = &entry.node
            && (text.is_empty() || text.len() > PATH_BYTES_MAX || text.contains('\0'))
        {
            return Err(unsafe_path(&entry.path, "is a link to nothing"));
        }
    }
    for entry in entries {
        let above = entry
            .path
            .match_indices('/')
            .filter_map(|(at, _)| entry.path.get(..at));
        for directory in above {
            if is_directory.get(directory) == Some(&false) {
                return Err(unsafe_path(&entry.path, "lies below what is no directory"));
            }
        }
    }
    Ok(())
}

/// The layout payload of these entries, in their order.
pub fn encode(entries: &[LayoutEntry]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(entries.len() * (RECORD_BYTES + 48));
    for entry in entries {
        let source: &[u8] = match &entry.node {
            Node::Regular(hash) => &hash.0,
            Node::Symlink(text) => text.as_bytes(),
            Node::Directory | Node::CharDevice | Node::BlockDevice | Node::Fifo | Node::Socket => {
                &[]
            }
        };
        let too_long = |_| unsafe_path(&entry.path, "is too long");
        let source_len = u16::try_from(source.len()).map_err(too_long)?;
        let path_len = u16::try_from(entry.path.len()).map_err(too_long)?;
        for field in [entry.uid, entry.gid, entry.mode, 0] {
            out.extend_from_slice(&field.to_be_bytes());
        }
        out.extend_from_slice(&source_len.to_be_bytes());
        out.extend_from_slice(&path_len.to_be_bytes());
        out.push(entry.node.to_byte());
        out.extend_from_slice(&[0; 11]);
        out.extend_from_slice(source);
        out.extend_from_slice(entry.path.as_bytes());
    }
    Ok(out)
}

/// Text of a record; files of 2023 end it with a NUL.
fn text(raw: &[u8]) -> Result<String> {
    let raw = raw.strip_suffix(b"\0").unwrap_or(raw);
    std::str::from_utf8(raw)
        .map(str::to_string)
        .map_err(|error| bad("a path is not UTF-8").because(&error))
}

/// Reads a layout payload of this many records. Says nothing about safety: that is `check`.
pub fn decode(plain: &[u8], records: u32) -> Result<Vec<LayoutEntry>> {
    let cut = || bad("a layout record is cut short");
    let plausible = plain.len() / RECORD_BYTES;
    let mut entries = Vec::with_capacity(plausible.min(records as usize));
    let mut rest = Fields(plain);
    for _ in 0..records {
        let mut head = Fields(rest.slice(RECORD_BYTES).ok_or_else(cut)?);
        let uid = u32::from_be_bytes(head.take());
        let gid = u32::from_be_bytes(head.take());
        let mode = u32::from_be_bytes(head.take());
        let _tag: [u8; 4] = head.take();
        let source_len = u16::from_be_bytes(head.take());
        let path_len = u16::from_be_bytes(head.take());
        let [kind] = head.take();
        let source = rest.slice(usize::from(source_len)).ok_or_else(cut)?;
        let path = text(rest.slice(usize::from(path_len)).ok_or_else(cut)?)?;
        let node = match kind {
            1 => {
                let hash = source
                    .try_into()
                    .map_err(|_| bad("a file's hash has a wrong length"))?;
                Node::Regular(ContentHash(hash))
            }
            2 => Node::Symlink(text(source)?),
            3 => Node::Directory,
            4 => Node::CharDevice,
            5 => Node::BlockDevice,
            6 => Node::Fifo,
            7 => Node::Socket,
            other => return Err(bad(format!("layout entry of type {other}"))),
        };
        entries.push(LayoutEntry {
            uid,
            gid,
            mode,
            path,
            node,
        });
    }
    if !rest.0.is_empty() {
        return Err(bad("bytes after the last layout record"));
    }
    Ok(entries)
}
