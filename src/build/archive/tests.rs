//! Tests of `archive`.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use super::*;

/// A member as a test writes it: type, name, link target or contents, mode.
type Member<'a> = (tar::EntryType, &'a str, &'a str, u32);

const FILE: tar::EntryType = tar::EntryType::Regular;
const DIRECTORY: tar::EntryType = tar::EntryType::Directory;
const SYMLINK: tar::EntryType = tar::EntryType::Symlink;
const LINK: tar::EntryType = tar::EntryType::Link;

/// A tar that may say what the crate's own writer would refuse.
fn tar_of(members: &[Member<'_>]) -> Vec<u8> {
    let mut out = tar::Builder::new(Vec::new());
    for (kind, name, rest, mode) in members {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_mtime(1_000_000_000);
        let is_link = matches!(*kind, SYMLINK | LINK);
        header.set_size(if is_link { 0 } else { rest.len() as u64 });
        let raw = header.as_gnu_mut().unwrap();
        raw.name[..name.len()].copy_from_slice(name.as_bytes());
        if is_link {
            raw.linkname[..rest.len()].copy_from_slice(rest.as_bytes());
        }
        header.set_cksum();
        let body = if is_link { "" } else { rest };
        out.append(&header, body.as_bytes()).unwrap();
    }
    out.into_inner().unwrap()
}

struct Try {
    dir: tempfile::TempDir,
    strip_dirs: u32,
    bytes_max: u64,
    entries_max: u64,
}

impl Try {
    fn new() -> Try {
        Try {
            dir: tempfile::tempdir().unwrap(),
            strip_dirs: 0,
            bytes_max: 1 << 20,
            entries_max: 100,
        }
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn unpack(&self, bytes: &[u8]) -> Result<Unpacked> {
        let archive = self.dir.path().join("archive");
        std::fs::write(&archive, bytes).unwrap();
        let into = self.out();
        let what = Unpack {
            strip_dirs: self.strip_dirs,
            bytes_max: self.bytes_max,
            entries_max: self.entries_max,
            ..Unpack::new(&archive, "a.tar.gz", &into)
        };
        unpack(&what, &mut |_| true)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.out().join(name)).unwrap()
    }
}

#[test]
fn members_keep_modes_times_and_links_below_the_stripped_directory() {
    let mut a = Try::new();
    a.strip_dirs = 1;
    let members = [
        (DIRECTORY, "p-1/", "", 0o555),
        (FILE, "p-1/configure", "#!/bin/sh", 0o755),
        (FILE, "p-1/sub/read-only", "text", 0o444),
        (SYMLINK, "p-1/sub/up", "../configure", 0o777),
        (LINK, "p-1/again", "p-1/configure", 0o755),
    ];
    let done = a.unpack(&tar_of(&members)).unwrap();
    assert_eq!((done.entries, done.bytes), (5, 13));
    let mode = |name: &str| {
        a.out()
            .join(name)
            .symlink_metadata()
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode("configure"), 0o755);
    assert_eq!(
        mode("sub/read-only"),
        0o644,
        "the build may change its sources"
    );
    assert_eq!(
        a.out().join("configure").metadata().unwrap().mtime(),
        1_000_000_000
    );
    assert_eq!(
        std::fs::read_link(a.out().join("sub/up")).unwrap(),
        PathBuf::from("../configure")
    );
    let inode = |name: &str| a.out().join(name).metadata().unwrap().ino();
    assert_eq!(inode("again"), inode("configure"));
}

#[test]
fn hostile_archives_are_refused_by_what_they_try() {
    for (members, word) in [
        (vec![(FILE, "../evil", "x", 0o644)], "`..`"),
        (vec![(FILE, "a/../../evil", "x", 0o644)], "`..`"),
        (vec![(FILE, "/etc/evil", "x", 0o644)], "absolute"),
        (
            vec![(SYMLINK, "out", "/etc/passwd", 0o777)],
            "out of the tree",
        ),
        (
            vec![(SYMLINK, "a/out", "../../x", 0o777)],
            "out of the tree",
        ),
        (vec![(LINK, "out", "../x", 0o777)], "`..`"),
        (vec![(LINK, "out", "/etc/passwd", 0o777)], "absolute"),
        (vec![(LINK, "out", "later", 0o777)], "came not before"),
        (
            vec![(SYMLINK, "d", "e", 0o777), (FILE, "d/x", "x", 0o644)],
            "no directory",
        ),
        (vec![(tar::EntryType::Char, "null", "", 0o644)], "no file"),
        (vec![(tar::EntryType::Fifo, "pipe", "", 0o644)], "no file"),
    ] {
        let a = Try::new();
        let fault = a.unpack(&tar_of(&members)).unwrap_err();
        assert_eq!(fault.kind, Kind::Upstream);
        assert!(fault.what.contains(word), "{members:?}: {fault}");
        assert!(!a.dir.path().join("evil").exists());
    }
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let mut a = Try::new();
    let big = "x".repeat(2000);
    a.bytes_max = 2000;
    a.unpack(&tar_of(&[(FILE, "a", &big, 0o644)])).unwrap();
    a.bytes_max = 1999;
    let fault = a.unpack(&tar_of(&[(FILE, "a", &big, 0o644)])).unwrap_err();
    assert!(fault.what.contains("more than 1999 bytes"), "{fault}");
    a.entries_max = 1;
    let two = tar_of(&[(FILE, "a", "", 0o644), (FILE, "b", "", 0o644)]);
    assert!(
        a.unpack(&two)
            .unwrap_err()
            .what
            .contains("more than 1 members")
    );
}

#[test]
fn every_compression_is_read() {
    let tar = tar_of(&[(FILE, "f", "hello\n", 0o644)]);
    let gzip = {
        let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        to.write_all(&tar).unwrap();
        to.finish().unwrap()
    };
    let bzip2 = {
        let mut to = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        to.write_all(&tar).unwrap();
        to.finish().unwrap()
    };
    let xz = {
        let mut to =
            lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::default()).unwrap();
        to.write_all(&tar).unwrap();
        to.finish().unwrap()
    };
    let lzip = {
        let mut to = lzma_rust2::LzipWriter::new(Vec::new(), lzma_rust2::LzipOptions::default());
        to.write_all(&tar).unwrap();
        to.finish().unwrap()
    };
    let zip = {
        let mut to = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        to.start_file("f", zip::write::SimpleFileOptions::default())
            .unwrap();
        to.write_all(b"hello\n").unwrap();
        to.finish().unwrap().into_inner()
    };
    let zstd = zstd::encode_all(&tar[..], 3).unwrap();
    for bytes in [&tar, &gzip, &bzip2, &xz, &lzip, &zip, &zstd] {
        let a = Try::new();
        a.unpack(bytes).unwrap();
        assert_eq!(a.read("f"), "hello\n");
    }
}

#[test]
fn a_file_that_is_no_archive_is_copied_under_its_name() {
    let a = Try::new();
    a.unpack(b"plain text").unwrap();
    assert_eq!(a.read("a.tar.gz"), "plain text");
}

#[test]
fn a_cut_archive_is_the_upstreams_fault_and_a_7z_the_recipes() {
    let a = Try::new();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar_of(&[(FILE, "f", &"x".repeat(5000), 0o644)]))
        .unwrap();
    let whole = gzip.finish().unwrap();
    assert_eq!(
        a.unpack(&whole[..whole.len() / 2]).unwrap_err().kind,
        Kind::Upstream
    );
    assert_eq!(
        a.unpack(b"7z\xbc\xaf\x27\x1crest").unwrap_err().kind,
        Kind::Recipe
    );
}
