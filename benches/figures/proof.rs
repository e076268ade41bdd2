//! Comparing two builds of a package set: `cargo bench --bench figures -- proof`. `MASSIF_SET_MIB` sets its size; 1,024 unless
//! given.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use massif::fault::Result;
use massif::id::{Arch, ContentHash, Digest};
use massif::model::{Artefact, ArtefactKind, BlobRef};
use massif::stone::{LayoutEntry, Meta, Node, UniqueFile, package};
use sha2::{Digest as _, Sha256};

const MIB: u64 = 1024 * 1024;
/// Bytes of one package's content, and of one of its files.
const PACKAGE_MIB: u64 = 64;
const FILE_MIB: u64 = 4;

/// Bytes that do not compress, the same each time for a seed; one bit is another where asked.
struct Noise {
    state: u64,
    left: u64,
    flipped: bool,
}

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap());
        for chunk in buffer[..wanted].chunks_mut(8) {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            chunk.copy_from_slice(&self.state.to_le_bytes()[..chunk.len()]);
        }
        self.left -= wanted as u64;
        if self.flipped && self.left == 0 && wanted > 0 {
            buffer[wanted - 1] ^= 1;
        }
        Ok(wanted)
    }
}

fn noise(seed: u64, flipped: bool) -> Noise {
    Noise {
        state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        left: FILE_MIB * MIB,
        flipped,
    }
}

/// Writes one package; `flipped`: one bit of its last file is another. `summary` makes its tables another.
fn stone(path: &Path, number: u64, mib: u64, flipped: bool, summary: &str) -> Artefact {
    let meta = Meta {
        name: format!("set{number}"),
        version: "1".into(),
        release: 1,
        build_release: 1,
        arch: Arch::X86_64,
        summary: summary.into(),
        description: "a part of a set".into(),
        source: "set".into(),
        homepage: "https://example.invalid".into(),
        licenses: vec!["MIT".into()],
        depends: Vec::new(),
        provides: Vec::new(),
        conflicts: Vec::new(),
        build_depends: Vec::new(),
        uri: None,
        hash: None,
        size: None,
    };
    let count = (mib / FILE_MIB).max(1);
    let (mut layout, mut files, mut seeds) = (Vec::new(), Vec::new(), HashMap::new());
    for at in 0..count {
        let (seed, flips) = (number * 1_000 + at + 1, flipped && at + 1 == count);
        let one: UniqueFile = package::hash_content(noise(seed, flips)).unwrap();
        seeds.insert(one.hash, (seed, flips));
        layout.push(LayoutEntry {
            uid: 0,
            gid: 0,
            mode: 0o100_644,
            path: format!("lib/part{at}"),
            node: Node::Regular(one.hash),
        });
        files.push(one);
    }
    let seeds: HashMap<ContentHash, (u64, bool)> = seeds;
    let mut open = |file: &UniqueFile| {
        let (seed, flips) = seeds[&file.hash];
        Ok(Box::new(noise(seed, flips)) as Box<dyn Read>)
    };
    let mut out = BufWriter::new(File::create(path).unwrap());
    package::write(&mut out, &meta, &layout, &files, &mut open, 2).unwrap();
    out.flush().unwrap();
    let blob = hash(path);
    Artefact {
        name: format!("set{number}.stone"),
        kind: ArtefactKind::Stone,
        blob,
    }
}

fn hash(path: &Path) -> BlobRef {
    let mut file = File::open(path).unwrap();
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut size = 0;
    loop {
        let got = file.read(&mut buffer).unwrap();
        if got == 0 {
            let sha256 = Digest(hash.finalize().into());
            return BlobRef { sha256, size };
        }
        hash.update(&buffer[..got]);
        size += got as u64;
    }
}

/// A line of `/proc/self/status`, in KiB.
fn status_kib(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

pub fn run() {
    let mib: u64 = std::env::var("MASSIF_SET_MIB")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_024);
    let dir = tempfile::tempdir().unwrap();
    let packages = mib.div_ceil(PACKAGE_MIB);
    let each = PACKAGE_MIB.min(mib);
    let mut places: HashMap<Digest, PathBuf> = HashMap::new();
    let mut sets: Vec<Vec<Artefact>> = Vec::new();
    // As published; with other metadata; with one bit flipped in each package.
    for (side, flipped, summary) in [(0, false, "one"), (1, false, "two"), (2, true, "one")] {
        let mut set = Vec::new();
        for number in 0..packages {
            let path = dir.path().join(format!("{side}.{number}"));
            let made = stone(&path, number, each, flipped, summary);
            places.insert(made.blob.sha256, path);
            set.push(made);
        }
        sets.push(set);
    }
    let open = |sha256: &Digest| -> Result<BufReader<File>> {
        Ok(BufReader::new(File::open(&places[sha256]).unwrap()))
    };
    let began = Instant::now();
    for one in &sets[0] {
        hash(&places[&one.blob.sha256]);
    }
    let hashed_s = began.elapsed().as_secs_f64();
    println!("SHA-256 of a set of {mib} MiB: {hashed_s:.2} s");
    // What the peak is counted from.
    std::fs::write("/proc/self/clear_refs", "5").ok();
    let before_kib = status_kib("VmRSS");
    for (name, other) in [("the same", 0), ("other metadata", 1), ("a bit in each", 2)] {
        let began = Instant::now();
        let found = massif::compare::compare(&sets[0], &sets[other], &open).unwrap();
        let took_s = began.elapsed().as_secs_f64();
        let both = if other == 0 { 1.0 } else { 2.0 };
        println!(
            "compared with {name}: {took_s:.2} s, {:.2} x the hash of what is read ({}, {} differences)",
            took_s / (hashed_s * both),
            found.level.as_str(),
            found.differences.len()
        );
    }
    let peak_kib = status_kib("VmHWM").saturating_sub(before_kib);
    println!(
        "peak of memory above the start: {:.1} MiB (bar 64)",
        peak_kib as f64 / 1024.0
    );
}
