//! Writes what a build made: one stone per package, and both manifests. The same packages give the same bytes, wherever
//! and by however many threads they are written.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::fault::{Fault, Kind, Result};
use crate::id::Digest;
use crate::model::order::{Artefact, ArtefactKind, BlobRef};
use crate::stone::manifest::{self, TextPackage};
use crate::stone::{LayoutEntry, Meta, Node, UniqueFile, package};

/// Hears of each step of long work, so that a watchdog knows that it goes on.
pub type Alive<'a> = &'a (dyn Fn() + Sync);

/// A reader each of whose reads is heard.
pub struct Heard<'a, R>(pub R, pub Alive<'a>);

impl<R: Read> Read for Heard<'_, R> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        (self.1)();
        self.0.read(to)
    }
}

/// A package that is about to be written.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Its metadata; `build_depends` goes into the manifests only.
    pub meta: Meta,
    /// What it puts below `/usr`, sorted as packages are.
    pub layout: Vec<LayoutEntry>,
    /// Its distinct contents and where each lies on this host.
    pub files: Vec<(UniqueFile, PathBuf)>,
}

fn broken(path: &Path, error: &std::io::Error) -> Fault {
    Fault::new(Kind::Builder, format!("cannot write {}", path.display()))
        .because(error)
        .next("look at the disk of this builder")
}

/// The name that a package file has everywhere: `<name>-<version>-<release>-<build release>-<arch>.stone`.
pub fn stone_name(meta: &Meta) -> String {
    let Meta {
        name,
        version,
        release,
        build_release,
        arch,
        ..
    } = meta;
    format!("{name}-{version}-{release}-{build_release}-{arch}.stone")
}

/// Writes stones and manifests into `out`; sorted by file name.
pub fn write(
    packages: &[Ready],
    out: &Path,
    workers: u32,
    alive: Alive<'_>,
) -> Result<Vec<Artefact>> {
    let mut artefacts = Vec::new();
    for package in packages {
        let name = stone_name(&package.meta);
        write_stone(package, &out.join(&name), workers, alive)?;
        artefacts.push(describe(out, name, ArtefactKind::Stone, alive)?);
    }
    if let Some(first) = packages.first() {
        let metas: Vec<Meta> = packages
            .iter()
            .map(|package| package.meta.clone())
            .collect();
        let binary = format!("manifest.{}.bin", first.meta.arch);
        save(&out.join(&binary), &manifest::write(&metas)?)?;
        artefacts.push(describe(out, binary, ArtefactKind::ManifestBin, alive)?);
        let texts: Vec<TextPackage<'_>> = packages
            .iter()
            .map(|package| TextPackage {
                meta: &package.meta,
                files: package
                    .layout
                    .iter()
                    .map(|entry| entry.path.as_str())
                    .collect(),
            })
            .collect();
        let text = format!("manifest.{}.jsonc", first.meta.arch);
        save(&out.join(&text), manifest::write_text(&texts)?.as_bytes())?;
        artefacts.push(describe(out, text, ArtefactKind::ManifestJson, alive)?);
    }
    artefacts.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(artefacts)
}

fn write_stone(ready: &Ready, path: &Path, workers: u32, alive: Alive<'_>) -> Result<()> {
    let meta = Meta {
        build_depends: Vec::new(),
        ..ready.meta.clone()
    };
    let files: Vec<UniqueFile> = ready.files.iter().map(|(file, _)| *file).collect();
    let mut open = |wanted: &UniqueFile| -> std::io::Result<Box<dyn Read + '_>> {
        let found = ready
            .files
            .iter()
            .find(|(file, _)| file.hash == wanted.hash);
        let (_, path) =
            found.ok_or_else(|| std::io::Error::other("a content that nobody asked for"))?;
        Ok(Box::new(Heard(BufReader::new(File::open(path)?), alive)))
    };
    let file = File::create(path).map_err(|error| broken(path, &error))?;
    let mut to = BufWriter::with_capacity(256 * 1024, file);
    package::write(
        &mut to,
        &meta,
        &ready.layout,
        &files,
        &mut open,
        workers.max(1),
    )?;
    let file = to
        .into_inner()
        .map_err(|error| broken(path, error.error()))?;
    file.sync_all().map_err(|error| broken(path, &error))
}

fn save(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        std::fs::write(path, bytes)?;
        File::open(path)?.sync_all()
    };
    write().map_err(|error| broken(path, &error))
}

fn describe(out: &Path, name: String, kind: ArtefactKind, alive: Alive<'_>) -> Result<Artefact> {
    let path = out.join(&name);
    let hashed = File::open(&path)
        .and_then(|file| hash(Heard(file, alive)))
        .map_err(|error| broken(&path, &error))?;
    let (sha256, size) = hashed;
    Ok(Artefact {
        name,
        kind,
        blob: BlobRef { sha256, size },
    })
}

fn hash(mut from: impl Read) -> std::io::Result<(Digest, u64)> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut size = 0;
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok((Digest(hash.finalize().into()), size)),
            read => {
                size += read as u64;
                hash.update(buffer.get(..read).unwrap_or_default());
            }
        }
    }
}

/// Writes a package of one file into `out`: what opens a cycle when nothing else does. `path` is relative to `/usr`.
pub fn seed(meta: &Meta, path: &str, mode: u32, content: &Path, out: &Path) -> Result<Artefact> {
    let file = File::open(content)
        .and_then(package::hash_content)
        .map_err(|error| broken(content, &error))?;
    let entry = LayoutEntry {
        uid: 0,
        gid: 0,
        mode: 0o100_000 | mode & 0o7777,
        path: path.to_owned(),
        node: Node::Regular(file.hash),
    };
    let ready = Ready {
        meta: meta.clone(),
        layout: vec![entry],
        files: vec![(file, content.to_owned())],
    };
    let name = stone_name(meta);
    write_stone(&ready, &out.join(&name), 1, &|| ())?;
    describe(out, name, ArtefactKind::Stone, &|| ())
}

/// Every content that a layout refers to, each once, with the file of the first path that has it. `at` says where a path
/// relative to `/usr` lies on this host.
pub fn contents(
    layout: &[LayoutEntry],
    sizes: impl Fn(&Path) -> std::io::Result<u64>,
    at: &Path,
) -> Result<Vec<(UniqueFile, PathBuf)>> {
    let mut seen = std::collections::HashSet::new();
    let mut files = Vec::new();
    for entry in layout {
        let Node::Regular(hash) = &entry.node else {
            continue;
        };
        if seen.insert(*hash) {
            let path = at.join(&entry.path);
            let size = sizes(&path).map_err(|error| broken(&path, &error))?;
            files.push((UniqueFile { hash: *hash, size }, path));
        }
    }
    Ok(files)
}
