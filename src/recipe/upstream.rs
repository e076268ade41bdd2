//! The `upstreams` of a recipe: archives by SHA-256 and git repositories by commit, in all their forms.

use super::node::{Node, Value};
use super::reader::{Entries, Reader, boolean, get};
use super::types::{Archive, GitSource, Upstream};
use crate::fault::Result;
use crate::id::{BadId, CommitId, Digest};

/// `staging` and `extract` were meant for older tools and change nothing.
const ARCHIVE_KEYS: [&str; 7] = [
    "extract",
    "hash",
    "rename",
    "staging",
    "stripdirs",
    "unpack",
    "unpackdir",
];
const GIT_KEYS: [&str; 4] = ["clonedir", "ref", "staging", "unpackdir"];

pub(super) fn read(reader: &mut Reader<'_>, list: &Node<'_>) -> Result<Vec<Upstream>> {
    let mut upstreams = Vec::new();
    for (key, value) in reader.named(Some(list), "upstreams")? {
        let url = reader.text(key, "an upstream's URL")?;
        let entries: Option<Entries<'_, '_>> = match &value.value {
            Value::Map(entries) => Some(entries),
            Value::Scalar(..) | Value::List(_) => None,
        };
        upstreams.push(match url.strip_prefix("git|") {
            Some(url) => Upstream::Git(git(reader, url, key, value, entries)?),
            None => Upstream::Archive(archive(reader, &url, key, value, entries)?),
        });
    }
    Ok(upstreams)
}

fn archive(
    reader: &mut Reader<'_>,
    url: &str,
    key: &Node<'_>,
    value: &Node<'_>,
    entries: Option<Entries<'_, '_>>,
) -> Result<Archive> {
    check_scheme(
        reader,
        key,
        url,
        &["http://", "https://", "file://", "ftp://"],
    )?;
    if let Some(entries) = entries {
        reader.check_keys(entries, &ARCHIVE_KEYS)?;
    }
    let entries = entries.unwrap_or(&[]);
    let hash_node = if value.text().is_some() {
        Some(value)
    } else {
        get(entries, "hash")
    };
    let hash_node = hash_node.ok_or_else(|| {
        reader
            .fault(value, format!("{url} has no hash"))
            .next("write its SHA-256 behind the URL, or as `hash : ...` below it")
    })?;
    let sha256: Digest = reader
        .text(hash_node, "hash")?
        .parse()
        .map_err(|error: BadId| {
            reader
                .fault(hash_node, error.to_string())
                .next("take it from `sha256sum FILE`")
        })?;
    let file_name = match get(entries, "rename") {
        Some(node) => reader.text(node, "rename")?,
        None => last_segment(url).to_string(),
    };
    check_file_name(reader, key, &file_name)?;
    let strip_dirs = match get(entries, "stripdirs") {
        Some(node) => reader.text(node, "stripdirs")?.parse().map_err(|_| {
            reader
                .fault(node, "stripdirs is not a whole number")
                .next("write how many leading directories to drop")
        })?,
        None => 1,
    };
    let unpack = match get(entries, "unpack") {
        Some(node) => boolean(node).ok_or_else(|| {
            reader
                .fault(node, "unpack is neither true nor false")
                .next("write `unpack : false` to keep the file as it is")
        })?,
        None => true,
    };
    let directory = directory(reader, entries, &["unpackdir"], &file_name)?;
    Ok(Archive {
        url: url.to_string(),
        sha256,
        file_name,
        strip_dirs,
        unpack,
        directory,
    })
}

fn git(
    reader: &mut Reader<'_>,
    url: &str,
    key: &Node<'_>,
    value: &Node<'_>,
    entries: Option<Entries<'_, '_>>,
) -> Result<GitSource> {
    check_scheme(
        reader,
        key,
        url,
        &["http://", "https://", "file://", "ssh://", "git://"],
    )?;
    if let Some(entries) = entries {
        reader.check_keys(entries, &GIT_KEYS)?;
    }
    let entries = entries.unwrap_or(&[]);
    let ref_node = if value.text().is_some() {
        Some(value)
    } else {
        get(entries, "ref")
    };
    let ref_node = ref_node.ok_or_else(|| {
        reader
            .fault(value, format!("{url} has no ref"))
            .next("write the commit behind the URL, or as `ref : ...` below it")
    })?;
    let reference = reader.text(ref_node, "ref")?;
    let commit: CommitId = reference.parse().map_err(|_| {
        reader
            .fault(ref_node, format!("ref {reference:?} is not a full commit id"))
            .next(format!(
                "a tag or branch can move: write what `git ls-remote {url} {reference}` says, 40 digits"
            ))
    })?;
    let file_name = last_segment(url).to_string();
    check_file_name(reader, key, &file_name)?;
    let directory = directory(reader, entries, &["clonedir", "unpackdir"], &file_name)?;
    Ok(GitSource {
        url: url.to_string(),
        commit,
        file_name,
        directory,
    })
}

fn check_scheme(reader: &Reader<'_>, key: &Node<'_>, url: &str, known: &[&str]) -> Result<()> {
    let whole = known
        .iter()
        .any(|scheme| url.starts_with(scheme) && url.len() > scheme.len());
    if whole && !url.contains(|c: char| c.is_control() || c == ' ') {
        return Ok(());
    }
    Err(reader
        .fault(key, format!("{url:?} is not a URL that can be fetched"))
        .next(format!(
            "start with {}; a git repository with git|https://",
            known.join(" or ")
        )))
}

/// What stands behind the last slash, without a query.
fn last_segment(url: &str) -> &str {
    let path = url
        .split(['?', '#'])
        .next()
        .unwrap_or(url)
        .trim_end_matches('/');
    path.rsplit('/').next().unwrap_or(path)
}

fn check_file_name(reader: &Reader<'_>, key: &Node<'_>, name: &str) -> Result<()> {
    if name.is_empty() || matches!(name, "." | "..") || name.contains(['/', '\n']) {
        return Err(reader
            .fault(key, format!("{name:?} cannot be a file's name"))
            .next("add `rename : NAME`"));
    }
    Ok(())
}

/// A directory below the build root; it may not lead out of it.
fn directory(
    reader: &Reader<'_>,
    entries: Entries<'_, '_>,
    keys: &[&str],
    fallback: &str,
) -> Result<String> {
    let Some(node) = keys.iter().find_map(|key| get(entries, key)) else {
        return Ok(fallback.to_string());
    };
    let text = reader.field(node, "a directory")?;
    let parts: Vec<&str> = text
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    if text.starts_with('/') || parts.is_empty() || parts.contains(&"..") {
        return Err(reader
            .fault(
                node,
                format!("{text:?} is not a directory below the build root"),
            )
            .next("write a relative path without `..`"));
    }
    Ok(parts.join("/"))
}
