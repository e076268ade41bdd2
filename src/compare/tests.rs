//! Planted differences are found and named; sets of any size stream.

use std::collections::HashMap;
use std::io::{Cursor, Read};

use super::*;
use crate::id::{Arch, ContentHash};
use crate::model::BlobRef;
use crate::stone::{LayoutEntry, Meta, Node, UniqueFile, package};

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.roll(256) as u8).collect()
    }

    /// Words without digits, slashes and upper case.
    fn words(&mut self, len: usize) -> Vec<u8> {
        (0..len)
            .map(|at| match at % 7 {
                6 => b'\n',
                _ => b'a' + self.roll(26) as u8,
            })
            .collect()
    }
}

fn meta() -> Meta {
    Meta {
        name: "thing".into(),
        version: "1.0".into(),
        release: 1,
        build_release: 1,
        arch: Arch::X86_64,
        summary: "a thing".into(),
        description: "a thing".into(),
        source: "thing".into(),
        homepage: "https://example.org".into(),
        licenses: vec!["MIT".into()],
        depends: Vec::new(),
        provides: Vec::new(),
        conflicts: Vec::new(),
        build_depends: Vec::new(),
        uri: None,
        hash: None,
        size: None,
    }
}

/// Files of a package: path and bytes.
type Files = Vec<(String, Vec<u8>)>;

fn stone(meta: &Meta, files: &Files) -> Vec<u8> {
    let mut contents: HashMap<ContentHash, Vec<u8>> = HashMap::new();
    let (mut layout, mut unique) = (Vec::new(), Vec::new());
    for (path, bytes) in files {
        let one: UniqueFile = package::hash_content(bytes.as_slice()).unwrap();
        layout.push(LayoutEntry {
            uid: 0,
            gid: 0,
            mode: 0o100_644,
            path: path.clone(),
            node: Node::Regular(one.hash),
        });
        if contents.insert(one.hash, bytes.clone()).is_none() {
            unique.push(one);
        }
    }
    let mut out = Cursor::new(Vec::new());
    let mut open = |file: &UniqueFile| {
        let bytes = contents.get(&file.hash).cloned().unwrap();
        Ok(Box::new(Cursor::new(bytes)) as Box<dyn Read>)
    };
    package::write(&mut out, meta, &layout, &unique, &mut open, 1).unwrap();
    out.into_inner()
}

/// What lies where, by hash.
#[derive(Default)]
struct Shelf(HashMap<Digest, Vec<u8>>);

impl Shelf {
    fn put(&mut self, name: &str, kind: ArtefactKind, bytes: Vec<u8>) -> Artefact {
        let sha256 = Digest(Sha256::digest(&bytes).into());
        let size = bytes.len() as u64;
        self.0.insert(sha256, bytes);
        Artefact {
            name: name.into(),
            kind,
            blob: BlobRef { sha256, size },
        }
    }

    fn compare(&self, ours: &[Artefact], theirs: &[Artefact]) -> Finding {
        let open = |sha256: &Digest| Ok(Cursor::new(self.0.get(sha256).cloned().unwrap()));
        compare(ours, theirs, &open).unwrap()
    }
}

fn compare_files(a: &Files, b: &Files) -> Finding {
    let mut shelf = Shelf::default();
    let ours = shelf.put("thing.stone", ArtefactKind::Stone, stone(&meta(), a));
    let theirs = shelf.put("thing.stone", ArtefactKind::Stone, stone(&meta(), b));
    shelf.compare(&[ours], &[theirs])
}

/// A little ELF file whose `.rodata` holds these bytes behind so many others.
fn elf(before: &[u8], rodata: &[u8], build_id: u8) -> Vec<u8> {
    let names = b"\0.text\0.rodata\0.note.gnu.build-id\0.shstrtab\0";
    let mut file = vec![0_u8; 64];
    let parts: [(u32, &[u8]); 4] = [(1, before), (7, rodata), (15, &[build_id; 20]), (34, names)];
    let mut rows = vec![0_u8; 64];
    for (name, bytes) in parts {
        let mut row = vec![0_u8; 64];
        row[0..4].copy_from_slice(&name.to_le_bytes());
        row[4..8].copy_from_slice(&1_u32.to_le_bytes());
        row[24..32].copy_from_slice(&(file.len() as u64).to_le_bytes());
        row[32..40].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        rows.extend(row);
        file.extend_from_slice(bytes);
    }
    file[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
    let at = file.len() as u64;
    file[40..48].copy_from_slice(&at.to_le_bytes());
    file[58..60].copy_from_slice(&64_u16.to_le_bytes());
    file[60..62].copy_from_slice(&5_u16.to_le_bytes());
    file[62..64].copy_from_slice(&4_u16.to_le_bytes());
    file.extend(rows);
    file
}

/// A package with some files, of which one is to be changed: its place, and whether it is an ELF file.
fn base(dice: &mut Dice) -> (Files, usize) {
    let count = 1 + dice.roll(3) as usize;
    let mut files: Files = Vec::new();
    for at in 0..count {
        let len = 1 + dice.roll(20_000) as usize;
        let bytes = match dice.roll(2) {
            0 => dice.bytes(len),
            _ => dice.words(len),
        };
        files.push((format!("lib/file{at}"), bytes));
    }
    let which = dice.roll(count as u64) as usize;
    (files, which)
}

/// Puts a text into a file, in an ELF file's `.rodata` half of the time; the section it is then in.
fn embed(dice: &mut Dice, files: &mut Files, which: usize, texts: [&str; 2]) -> [Files; 2] {
    let in_elf = dice.roll(2) == 0;
    let len = dice.roll(80_000) as usize;
    let (before, after) = (dice.words(len), dice.words(100));
    texts.map(|text| {
        let mut all = files.clone();
        let mut bytes = before.clone();
        bytes.push(0);
        let mut body = text.as_bytes().to_vec();
        body.push(0);
        body.extend_from_slice(&after);
        all[which].1 = match in_elf {
            // The linker's hash differs too, and stands nearer to the end.
            true => elf(
                &bytes,
                &body,
                text.len() as u8 ^ text.as_bytes()[text.len() - 1],
            ),
            false => [bytes, body].concat(),
        };
        all
    })
}

fn date(dice: &mut Dice) -> [String; 2] {
    let shape = dice.roll(6);
    let mut one = || {
        let year = 2001 + dice.roll(60);
        let (month, day) = (1 + dice.roll(12), 1 + dice.roll(28));
        let (h, m, s) = (dice.roll(24), dice.roll(60), dice.roll(60));
        let names = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let name = names[month as usize - 1];
        match shape {
            0 => format!("built on {year}-{month:02}-{day:02} by a farm"),
            1 => format!("{year}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}Z"),
            2 => format!("version of {name} {day:2} {year}, {h:02}:{m:02}:{s:02}"),
            3 => format!("at {h:02}:{m:02}:{s:02} sharp"),
            4 => format!("epoch {}", 1_000_000_000 + dice.roll(900_000_000)),
            _ => format!("{name} {day} {h:02}:{m:02}:{s:02} UTC {year}"),
        }
    };
    loop {
        let both = [one(), one()];
        if both[0] != both[1] {
            return both;
        }
    }
}

fn path(dice: &mut Dice) -> [String; 2] {
    let mut one = || {
        let mut text = String::from("/");
        for _ in 0..1 + dice.roll(4) {
            text.push_str(std::str::from_utf8(&dice.words(6)).unwrap());
            text.push('/');
        }
        format!("{text}source.c")
    };
    loop {
        let both = [one(), one()];
        if both[0] != both[1] {
            return both;
        }
    }
}

#[test]
fn a_hundred_planted_differences_of_each_sort_are_found_and_named() {
    for (sort, expected) in [
        ("date", Cause::Date),
        ("path", Cause::Path),
        ("order", Cause::Order),
        ("bit", Cause::Bit),
    ] {
        for seed in 1..=100 {
            let mut dice = Dice(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15) | 1);
            let (mut files, which) = base(&mut dice);
            let [a, b] = match sort {
                "date" => {
                    let texts = date(&mut dice);
                    embed(&mut dice, &mut files, which, [&texts[0], &texts[1]])
                }
                "path" => {
                    let texts = path(&mut dice);
                    embed(&mut dice, &mut files, which, [&texts[0], &texts[1]])
                }
                "order" => {
                    let len = 20 + dice.roll(40_000) as usize;
                    let text = dice.words(len);
                    let mut lines: Vec<&[u8]> = text.split_inclusive(|b| *b == b'\n').collect();
                    let mut other = files.clone();
                    files[which].1 = lines.concat();
                    lines.reverse();
                    other[which].1 = lines.concat();
                    if files[which].1 == other[which].1 {
                        continue;
                    }
                    [files.clone(), other]
                }
                _ => {
                    let mut other = files.clone();
                    let at = dice.roll(other[which].1.len() as u64) as usize;
                    other[which].1[at] ^= 1 << dice.roll(8);
                    [files.clone(), other]
                }
            };
            let found = compare_files(&a, &b);
            assert_eq!(found.level, Level::Files, "{sort} {seed}: {found:#?}");
            assert_eq!(found.differences.len(), 1, "{sort} {seed}: {found:#?}");
            let one = &found.differences[0];
            assert_eq!(
                one.path.as_deref(),
                Some(a[which].0.as_str()),
                "{sort} {seed}"
            );
            assert_eq!(one.cause, expected, "{sort} {seed}: {one:#?}");
            let first = (0..).find(|at| a[which].1.get(*at) != b[which].1.get(*at));
            if !a[which].1.starts_with(b"\x7fELF") {
                assert_eq!(
                    one.offset,
                    first.map(|at: usize| at as u64),
                    "{sort} {seed}"
                );
            } else {
                assert_eq!(
                    one.section.as_deref(),
                    Some(".rodata"),
                    "{sort} {seed}: {one:#?}"
                );
            }
            assert_ne!(found.published, found.rebuilt);
        }
    }
}

#[test]
fn each_level_is_told_from_the_others() {
    let mut dice = Dice(7);
    let files: Files = vec![
        ("bin/a".into(), dice.words(5_000)),
        ("bin/b".into(), dice.words(4_000)),
    ];
    let same = compare_files(&files, &files);
    assert_eq!(
        (same.level, same.same, same.differences.len()),
        (Level::Same, 1, 0)
    );
    assert_eq!(same.published, same.rebuilt);

    // The same files, listed in another order.
    let turned: Files = files.iter().rev().cloned().collect();
    let packed = compare_files(&files, &turned);
    assert_eq!(packed.level, Level::Container, "{packed:#?}");
    assert_eq!(packed.causes, [(Cause::Order, 1)]);
    assert_eq!(packed.published, packed.rebuilt);

    // Other metadata.
    let mut shelf = Shelf::default();
    let other = Meta {
        depends: vec!["zlib".parse().unwrap()],
        ..meta()
    };
    let ours = shelf.put("t.stone", ArtefactKind::Stone, stone(&meta(), &files));
    let theirs = shelf.put("t.stone", ArtefactKind::Stone, stone(&other, &files));
    let told = shelf.compare(std::slice::from_ref(&ours), &[theirs]);
    assert_eq!(told.level, Level::Metadata, "{told:#?}");
    assert_eq!(told.causes, [(Cause::Fields, 1)]);
    assert!(
        told.differences[0]
            .text
            .contains("only rebuilt: name(zlib)"),
        "{told:#?}"
    );

    // Files and whole packages that one side lacks.
    let fewer = compare_files(&files, &files[..1].to_vec());
    assert_eq!(
        (fewer.level, fewer.causes.as_slice()),
        (Level::Files, [(Cause::Presence, 1)].as_slice())
    );
    let none = shelf.compare(std::slice::from_ref(&ours), &[]);
    assert_eq!(none.level, Level::Files);

    // What cannot be read is a difference, not an error.
    let mut damaged = shelf.0.get(&ours.blob.sha256).cloned().unwrap();
    let at = damaged.len() - 10;
    damaged[at] ^= 0xff;
    let damaged = shelf.put("t.stone", ArtefactKind::Stone, damaged);
    let told = shelf.compare(std::slice::from_ref(&ours), &[damaged]);
    assert_eq!(told.causes, [(Cause::Damage, 1)], "{told:#?}");
    let garbage = shelf.put("t.stone", ArtefactKind::Stone, dice.bytes(500));
    assert_eq!(
        shelf.compare(&[ours], &[garbage]).causes,
        [(Cause::Damage, 1)]
    );

    // Manifests are described too.
    let a = shelf.put(
        "manifest.jsonc",
        ArtefactKind::ManifestJson,
        b"made 2026-01-02 here".to_vec(),
    );
    let b = shelf.put(
        "manifest.jsonc",
        ArtefactKind::ManifestJson,
        b"made 2026-01-03 here".to_vec(),
    );
    let told = shelf.compare(&[a], &[b]);
    assert_eq!(
        (told.level, told.causes.as_slice()),
        (Level::Metadata, [(Cause::Date, 1)].as_slice())
    );
}

#[test]
fn only_the_linkers_hash_is_no_cause_of_its_own() {
    let a: Files = vec![("bin/a".into(), elf(b"code", b"data", 1))];
    let b: Files = vec![("bin/a".into(), elf(b"code", b"data", 2))];
    let found = compare_files(&a, &b);
    assert_eq!(found.differences[0].cause, Cause::BuildId, "{found:#?}");
    assert_eq!(
        found.differences[0].section.as_deref(),
        Some(".note.gnu.build-id")
    );
}

#[test]
fn many_differences_are_all_named_and_some_are_looked_into() {
    let mut dice = Dice(3);
    let a: Files = (0..100)
        .map(|at| (format!("f{at:03}"), dice.bytes(64)))
        .collect();
    let b: Files = a
        .iter()
        .map(|(path, _)| (path.clone(), dice.bytes(64)))
        .collect();
    let found = compare_files(&a, &b);
    assert_eq!(found.differences.len(), 100);
    let kept = found.bounded();
    assert_eq!((kept.differences.len(), kept.unlisted), (10, 90));
}

#[test]
fn no_bytes_of_an_elf_file_make_it_panic() {
    let mut dice = Dice(11);
    for _ in 0..200 {
        let mut a = elf(b"code", b"data", 1);
        for _ in 0..4 {
            let at = 6 + dice.roll(a.len() as u64 - 6) as usize;
            a[at] = dice.roll(256) as u8;
        }
        let mut b = a.clone();
        let at = dice.roll(b.len() as u64) as usize;
        b[at] ^= 0x5a;
        let found = compare_files(&vec![("x".into(), a)], &vec![("x".into(), b)]);
        assert_eq!(found.differences.len(), 1);
    }
}
