//! The format's vectors, real files, and damage of every sort.

use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use super::container::{FileType, PayloadKind, TableWriter, file_header};
use super::*;
use crate::fault::Result;
use crate::id::{Arch, ContentHash};

/// A file of the folder of shared data; `None` (said aloud) where there is none and nobody insists.
fn shared(path: &str) -> Option<PathBuf> {
    let root = match std::env::var_os("MASSIF_SHARED") {
        Some(root) => PathBuf::from(root),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
    };
    let found = root.join(path);
    if found.exists() {
        return Some(found);
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{found:?} is missing"
    );
    println!("skipped: {found:?} is missing");
    None
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|c| c.to_digit(16).map(|d| d as u8))
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] * 16 + pair[1])
        .collect()
}

fn meta(name: &str) -> Meta {
    Meta {
        name: name.into(),
        version: "1.0".into(),
        release: 3,
        build_release: 2,
        arch: Arch::X86_64,
        summary: "a thing".into(),
        description: "two\nlines".into(),
        source: "thing".into(),
        homepage: "https://example.org".into(),
        licenses: vec!["MIT".into(), "Apache-2.0".into()],
        depends: vec!["zlib".parse().unwrap(), "binary(cat)".parse().unwrap()],
        provides: vec![
            "soname(libthing.so.1(x86_64))".parse().unwrap(),
            Dependency::new(DependencyKind::Name, name),
        ],
        conflicts: vec!["other".parse().unwrap()],
        build_depends: Vec::new(),
        uri: None,
        hash: None,
        size: None,
    }
}

fn entry(path: &str, mode: u32, node: Node) -> LayoutEntry {
    LayoutEntry {
        uid: 0,
        gid: 0,
        mode,
        path: path.into(),
        node,
    }
}

/// A package of these files, its layout as given.
fn pack(files: &[(&str, &[u8])], extra: &[LayoutEntry], workers: u32) -> Result<Vec<u8>> {
    let mut layout: Vec<LayoutEntry> = files
        .iter()
        .map(|(path, bytes)| {
            let hash = package::hash_content(*bytes).unwrap().hash;
            entry(path, 0o100_644, Node::Regular(hash))
        })
        .collect();
    layout.extend_from_slice(extra);
    layout::sort(&mut layout);
    let unique: Vec<UniqueFile> = files
        .iter()
        .map(|(_, bytes)| package::hash_content(*bytes).unwrap())
        .collect();
    let mut out = Cursor::new(Vec::new());
    let mut open = |wanted: &UniqueFile| -> std::io::Result<Box<dyn Read + '_>> {
        let (_, bytes) = files
            .iter()
            .find(|(_, bytes)| package::hash_content(*bytes).unwrap().hash == wanted.hash)
            .unwrap();
        Ok(Box::new(*bytes))
    };
    package::write(
        &mut out,
        &meta("thing"),
        &layout,
        &unique,
        &mut open,
        workers,
    )?;
    Ok(out.into_inner())
}

#[test]
fn headers_are_the_vectors_of_the_format() {
    assert_eq!(
        file_header(FileType::Binary, 4).to_vec(),
        hex("006d6f7300040000010000020000030000040000050000060000070100000001")
    );
    let mut stone = file_header(FileType::Binary, 1).to_vec();
    stone.extend(hex(
        "000000000000000d 000000000000000d dca584f7305a64cb 00000001 0001 01 01 00000005 0001 09 00 6e616e6f00",
    ));
    let mut reader = container::Reader::new(&stone[..]).unwrap();
    let header = reader.next_payload().unwrap().unwrap();
    assert_eq!(header.kind, PayloadKind::Meta);
    assert_eq!(header.to_bytes().to_vec(), stone[32..64]);
    assert_eq!(reader.table(&header).unwrap(), stone[64..]);
    // The metadata itself is incomplete, and said to be.
    let fault = package::read_meta(&stone[..]).unwrap_err();
    assert!(fault.what.contains("lacks Version"), "{fault}");
}

#[test]
fn records_are_the_vectors_of_the_format() {
    let mut small = meta("thing");
    small.release = 35;
    small.depends = vec!["soname(libc.so.6(x86_64))".parse().unwrap()];
    let (bytes, _) = small.encode().unwrap();
    for vector in [
        "00000008 000b 08 00 0000000000000023",
        "00000013 0008 0a 00 01 6c6962632e736f2e36287838365f363429 00",
    ] {
        let vector = hex(vector);
        assert!(bytes.windows(vector.len()).any(|window| window == vector));
    }
    let hello = package::hash_content(&b"hello\n"[..]).unwrap();
    let layout = [entry(
        "share/hello.txt",
        0o100_644,
        Node::Regular(hello.hash),
    )];
    let bytes = layout::encode(&layout).unwrap();
    assert_eq!(
        bytes,
        hex(
            "00000000 00000000 000081a4 00000000 0010 000f 01 0000000000000000000000 6bba86c7e069f56d5a10b435f1c8e49c 73686172652f68656c6c6f2e747874"
        )
    );
    assert_eq!(layout::decode(&bytes, 1).unwrap(), layout);
    let empty = package::hash_content(&b""[..]).unwrap();
    assert_eq!(empty.hash.to_string(), "99aa06d3014798d86001c324468d497f");
}

#[test]
fn metadata_comes_back_sorted_and_without_the_implicit_provider() {
    let (bytes, records) = meta("thing").encode().unwrap();
    let read = Meta::decode(&bytes, records).unwrap();
    assert_eq!(read.licenses, ["Apache-2.0", "MIT"]);
    assert_eq!(read.depends[0].to_string(), "binary(cat)");
    assert_eq!(read.provides.len(), 1);
    assert_eq!(
        Meta::decode(&bytes, records).unwrap().encode().unwrap().0,
        bytes
    );
}

#[test]
fn readers_take_every_integer_kind_and_texts_without_nul_and_skip_the_unknown() {
    let (bytes, records) = meta("thing").encode().unwrap();
    // Release as u8, BuildRelease as i16.
    let release = hex("00000008 000b 08 00 0000000000000003");
    let build = hex("00000008 000d 08 00 0000000000000002");
    let replace = |bytes: &[u8], old: &[u8], new: &[u8]| {
        let at = bytes.windows(old.len()).position(|w| w == old).unwrap();
        [&bytes[..at], new, &bytes[at + old.len()..]].concat()
    };
    let odd = replace(&bytes, &release, &hex("00000001 000b 02 00 03"));
    let odd = replace(&odd, &build, &hex("00000002 000d 03 00 0002"));
    let odd = replace(
        &odd,
        &hex("00000006 0001 09 00 7468696e6700"),
        &hex("00000005 0001 09 00 7468696e67"),
    );
    // An unknown kind and an unknown tag at the end.
    let odd = [
        odd,
        hex("00000002 0001 63 00 0102 00000002 7777 09 00 6100"),
    ]
    .concat();
    assert_eq!(
        Meta::decode(&odd, records + 2).unwrap(),
        Meta::decode(&bytes, records).unwrap()
    );
    let negative = replace(&bytes, &build, &hex("00000002 000d 03 00 ffff"));
    assert!(Meta::decode(&negative, records).is_err());
}

#[test]
fn a_package_reads_back_as_it_was_written_whatever_the_number_of_workers() {
    let large: Vec<u8> = (0..3_000_000_u32)
        .map(|n| (n.wrapping_mul(n) >> 7) as u8)
        .collect();
    let files: [(&str, &[u8]); 4] = [
        ("bin/thing", &large),
        ("share/a", b"same"),
        ("share/b", b"same"),
        ("share/empty", b""),
    ];
    let extra = [
        entry("bin/link", 0o120_777, Node::Symlink("thing".into())),
        entry("share/dir", 0o040_755, Node::Directory),
    ];
    let one = pack(&files, &extra, 1).unwrap();
    for workers in [0, 2, 4] {
        assert!(pack(&files, &extra, workers).unwrap() == one, "{workers}");
    }
    let package = Package::verify(&mut Cursor::new(&one)).unwrap();
    let sizes: Vec<u64> = package.files.iter().map(|file| file.size).collect();
    assert_eq!(sizes, [3_000_000, 4, 0], "largest first, once each");
    let paths: Vec<&str> = package.layout.iter().map(|e| e.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "bin/link",
            "bin/thing",
            "share/a",
            "share/b",
            "share/dir",
            "share/empty"
        ]
    );
    assert_eq!(package::read_meta(&one[..]).unwrap(), package.meta);
    let mut contents = Vec::new();
    package
        .unpack(&mut Cursor::new(&one), &mut |file, from| {
            let mut bytes = Vec::new();
            from.read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes.len() as u64, file.size);
            contents.push(bytes);
            Ok(())
        })
        .unwrap();
    assert!(contents[0] == large && contents[1] == b"same" && contents[2].is_empty());
}

#[test]
fn packages_of_only_links_or_only_empty_files_are_whole() {
    let links = [entry("bin/link", 0o120_777, Node::Symlink("x".into()))];
    let package = Package::verify(&mut Cursor::new(pack(&[], &links, 1).unwrap())).unwrap();
    assert_eq!((package.layout.len(), package.files.len()), (1, 0));
    let empty = pack(&[("share/empty", b"")], &[], 1).unwrap();
    assert_eq!(
        Package::verify(&mut Cursor::new(empty))
            .unwrap()
            .files
            .len(),
        1
    );
    let nothing = pack(&[], &[], 1).unwrap();
    assert!(Package::verify(&mut Cursor::new(nothing)).is_ok());
}

#[test]
fn the_walk_visits_names_in_order_and_a_directory_after_its_content() {
    let mut layout: Vec<LayoutEntry> = ["share", "lib/a-b", "lib/a/x", "lib/a", "bin/z", "share/x"]
        .iter()
        .map(|path| entry(path, 0o040_700, Node::Directory))
        .collect();
    layout::sort(&mut layout);
    let paths: Vec<&str> = layout.iter().map(|e| e.path.as_str()).collect();
    assert_eq!(
        paths,
        ["bin/z", "lib/a/x", "lib/a", "lib/a-b", "share/x", "share"]
    );
}

#[test]
fn paths_that_would_leave_the_tree_are_refused() {
    let file = |path: &str| entry(path, 0o100_644, Node::Regular(ContentHash([1; 16])));
    for path in [
        "",
        "/etc/x",
        "../x",
        "a/../../x",
        "a//b",
        "a/./b",
        "a/",
        "a\0b",
    ] {
        assert!(layout::check(&[file(path)]).is_err(), "{path:?}");
    }
    let link = entry("lib/x", 0o120_777, Node::Symlink("/etc".into()));
    assert!(layout::check(&[link.clone(), file("lib/x/passwd")]).is_err());
    assert!(layout::check(&[link.clone(), file("lib/x")]).is_err());
    assert!(layout::check(&[link, file("lib/xy/z")]).is_ok());
    let odd = entry("bin/x", 0o120_777, Node::Directory);
    assert!(layout::check(&[odd]).is_err());
    // A reader refuses them too, not only the writer.
    let stone = hostile(&[file("../../etc/passwd")]);
    let fault = Package::read(&mut Cursor::new(stone)).unwrap_err();
    assert!(fault.what.contains(".."), "{fault}");
}

/// A package whose layout nobody checked.
fn hostile(layout: &[LayoutEntry]) -> Vec<u8> {
    let mut tables = TableWriter::new().unwrap();
    let (plain, records) = meta("thing").encode().unwrap();
    let mut out = file_header(FileType::Binary, 2).to_vec();
    out.extend(tables.payload(PayloadKind::Meta, records, &plain).unwrap());
    let plain = layout::encode(layout).unwrap();
    let count = layout.len() as u32;
    out.extend(tables.payload(PayloadKind::Layout, count, &plain).unwrap());
    out
}

#[test]
fn a_layout_hash_of_fifteen_bytes_is_an_error() {
    let layout = [entry(
        "share/x",
        0o100_644,
        Node::Regular(ContentHash([1; 16])),
    )];
    let mut bytes = layout::encode(&layout).unwrap();
    bytes[17] = 15;
    assert!(layout::decode(&bytes, 1).is_err());
}

#[test]
fn sizes_that_nothing_backs_are_refused_before_anything_is_allocated() {
    let mut stone = file_header(FileType::Binary, 1).to_vec();
    let mut header = hex("000000000000000d ffffffffffffffff 0000000000000000 00000001 0001 01 02");
    for stored in [13_u64, u64::MAX, 1 << 40] {
        header.splice(..8, stored.to_be_bytes());
        stone.truncate(32);
        stone.extend(&header);
        stone.extend([0; 13]);
        assert!(package::read_meta(&stone[..]).is_err());
        assert!(Package::read(&mut Cursor::new(&stone)).is_err());
    }
}

#[test]
fn real_packages_verify_and_damage_is_always_noticed() {
    let Some(folder) = shared("data/stones") else {
        return;
    };
    for name in [
        "nano-8.3-33-1-x86_64.stone",
        "nano-dbginfo-8.3-33-1-x86_64.stone",
    ] {
        let good = std::fs::read(folder.join(name)).unwrap();
        let package = Package::verify(&mut Cursor::new(&good)).unwrap();
        assert_eq!(package.meta.file_name(), name);
        let tables_end = good.len().min(6_000);
        // Every byte of the tables and some of the content, one bit each.
        let step = (good.len() - tables_end) / 40 + 1;
        let places = (0..tables_end)
            .step_by(7)
            .chain((tables_end..good.len()).step_by(step));
        let mut unnoticed = 0;
        for place in places {
            let mut bad = good.clone();
            bad[place] ^= 1 << (place % 8);
            if let Ok(read) = Package::verify(&mut Cursor::new(&bad)) {
                // Bytes that nothing depends on: the record count of a content payload.
                assert_eq!(read.meta, package.meta);
                assert_eq!(read.layout, package.layout);
                assert_eq!(read.files, package.files);
                unnoticed += 1;
            }
        }
        assert!(unnoticed <= 1, "{unnoticed}");
        let lengths = (0..600).chain((600..good.len()).step_by(good.len() / 60));
        for length in lengths {
            assert!(Package::verify(&mut Cursor::new(&good[..length])).is_err());
        }
        // What follows the last payload is nobody's business.
        let longer = [good.clone(), b"more".to_vec()].concat();
        assert!(Package::verify(&mut Cursor::new(&longer)).is_ok());
    }
}

#[test]
fn noise_after_a_good_header_never_panics() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..2_000 {
        let payloads = (next() % 4) as u16;
        let file_type = [
            FileType::Binary,
            FileType::Repository,
            FileType::BuildManifest,
        ];
        let mut bytes = file_header(file_type[round % 3], payloads).to_vec();
        for _ in 0..next() % 200 {
            // Small numbers are likelier to be taken for lengths and kinds.
            bytes.push(if next() % 3 == 0 {
                next() as u8
            } else {
                (next() % 6) as u8
            });
        }
        let _ = Package::verify(&mut Cursor::new(&bytes));
        let _ = package::read_meta(&bytes[..]);
        let _ = manifest::read(&bytes);
        let _ = repository::read(&bytes);
        let _ = Meta::decode(&bytes, 9);
        let _ = layout::decode(&bytes, 3);
    }
}

#[test]
fn the_real_index_reads_and_a_splice_equals_writing_anew() {
    let Some(path) = shared("data/stones/stone.index") else {
        return;
    };
    let bytes = std::fs::read(path).unwrap();
    let listed = repository::read_spans(&bytes).unwrap();
    let names: Vec<&str> = listed.iter().map(|l| l.meta.name.as_str()).collect();
    assert_eq!(names, ["nano", "nano-dbginfo"]);
    assert!(
        listed
            .iter()
            .all(|l| l.meta.hash.is_some() && l.meta.uri.is_some())
    );
    let mut tables = TableWriter::new().unwrap();
    let added = repository::payload(&mut tables, &meta("mount")).unwrap();
    assert_eq!(repository::read_payload(&added).unwrap().name, "mount");
    let changes = [("nano-dbginfo", None), ("mount", Some(&added[..]))].into();
    let spliced = repository::splice(&bytes, &listed, &changes).unwrap();
    let read = repository::read_spans(&spliced).unwrap();
    assert_eq!(read[0].meta.name, "mount");
    assert_eq!(read[1].meta, listed[0].meta);
    assert_eq!(
        &spliced[read[1].span.clone()],
        &bytes[listed[0].span.clone()]
    );
    assert_eq!(
        repository::read(&repository::write([]).unwrap()).unwrap(),
        []
    );
}

#[test]
fn text_manifests_are_byte_for_byte_those_of_boulder() {
    for name in ["hello", "xz"] {
        let Some(folder) = shared(&format!("data/reference/{name}")) else {
            return;
        };
        let binary = std::fs::read(folder.join("manifest.x86_64.bin")).unwrap();
        let metas = manifest::read(&binary).unwrap();
        let expected = std::fs::read_to_string(folder.join("manifest.x86_64.jsonc")).unwrap();
        let body = expected.split_once('\n').unwrap().1;
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        let files = |meta: &Meta| -> Vec<String> {
            let list = json["packages"][&meta.name]["files"].as_array().unwrap();
            let path = |f: &serde_json::Value| f.as_str().unwrap()["/usr/".len()..].to_string();
            list.iter().rev().map(path).collect()
        };
        let files: Vec<Vec<String>> = metas.iter().map(files).collect();
        let packages: Vec<manifest::TextPackage<'_>> = metas
            .iter()
            .zip(&files)
            .map(|(meta, files)| manifest::TextPackage {
                meta,
                files: files.iter().map(String::as_str).collect(),
            })
            .collect();
        assert_eq!(manifest::write_text(&packages).unwrap(), expected);
        assert_eq!(
            manifest::read(&manifest::write(&metas).unwrap()).unwrap(),
            metas
        );
    }
}

#[test]
fn every_real_manifest_reads_and_writes_back_the_same() {
    let Some(bundle) = shared("data/recipes/recipes.bundle") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let cloned = std::process::Command::new("git")
        .args(["clone", "--quiet"])
        .arg(&bundle)
        .arg(folder.path())
        .status();
    if !cloned.is_ok_and(|status| status.success()) {
        println!("skipped: git cannot clone the bundle");
        return;
    }
    let (mut manifests, mut packages, mut identical) = (0, 0, 0);
    let mut folders = vec![folder.path().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "bin") {
                let bytes = std::fs::read(&path).unwrap();
                let read = manifest::read(&bytes).unwrap_or_else(|e| panic!("{path:?}: {e}"));
                let written = manifest::write(&read).unwrap();
                assert_eq!(manifest::read(&written).unwrap(), read, "{path:?}");
                manifests += 1;
                packages += read.len();
                identical += usize::from(written == bytes);
            }
        }
    }
    assert_eq!(manifests, 1_558);
    assert_eq!(
        identical, manifests,
        "the bytes are those of the distribution's tool"
    );
    assert_eq!(packages, 3_501);
}
