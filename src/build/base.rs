//! What lies below the packages in a build root, and what of it a recipe may lean on: from base `host`, programs, the C
//! library and the compilers' run time, never headers, `.pc` files or other libraries.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use object::Object;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::layers::cannot;
use super::mask;
use crate::fault::{Fault, Kind, Result};
use crate::id::Digest;
use crate::stone::{Dependency, DependencyKind};

/// What lies below the packages in a build root.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Base {
    /// This machine's `/usr`, read-only, below a mask that hides its development files.
    Host,
    /// A bootstrapped root: the directory that holds `usr`.
    Directory(PathBuf),
    /// Nothing: packages only.
    Stones,
}

/// A base as a root is made on it.
#[derive(Debug, Clone, Default)]
pub(super) struct Below {
    /// Directories below the packages, topmost first.
    pub(super) usr: Vec<PathBuf>,
    /// The lowest of them, for looking into.
    pub(super) usr_dir: Option<PathBuf>,
    pub(super) alternatives: Option<PathBuf>,
    /// Another one when the base changed.
    pub(super) fingerprint: Vec<u8>,
    /// Its tools need the C library that they were linked against.
    pub(super) refuse_libc: bool,
}

impl Base {
    /// Waits for the mask of base `host` if it is not made yet.
    pub(super) fn below(&self, state_dir: &Path) -> Result<Below> {
        match self {
            Base::Stones => Ok(Below::default()),
            Base::Host => {
                let mask = mask::ensure(state_dir)?;
                Ok(Below {
                    fingerprint: mask.as_os_str().as_encoded_bytes().to_vec(),
                    usr: vec![mask, "/usr".into()],
                    usr_dir: Some("/usr".into()),
                    alternatives: Some(PathBuf::from("/etc/alternatives"))
                        .filter(|dir| dir.is_dir()),
                    refuse_libc: true,
                })
            }
            Base::Directory(dir) => {
                let usr = dir.join("usr");
                if !usr.join("bin").is_dir() {
                    return Err(Fault::new(
                        Kind::Operator,
                        format!("{} is not a root: it has no usr/bin", dir.display()),
                    )
                    .next("name the directory that holds `usr`, with bin, lib and sbin merged into it"));
                }
                Ok(Below {
                    fingerprint: fingerprint(&usr),
                    usr: vec![usr.clone()],
                    usr_dir: Some(usr),
                    alternatives: Some(dir.join("etc/alternatives")).filter(|dir| dir.is_dir()),
                    refuse_libc: false,
                })
            }
        }
    }
}

impl From<&crate::model::Base> for Base {
    fn from(base: &crate::model::Base) -> Base {
        match base {
            crate::model::Base::Host => Base::Host,
            crate::model::Base::Directory(path) => Base::Directory(path.into()),
            crate::model::Base::Stones => Base::Stones,
        }
    }
}

/// Directories of `usr` that packages and programs add to, with their times: another one when something was installed.
fn fingerprint(usr: &Path) -> Vec<u8> {
    let mut hash = sha2::Sha256::new();
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    for name in [
        "",
        "bin",
        "sbin",
        "lib",
        "lib64",
        "include",
        "lib/pkgconfig",
        "share/pkgconfig",
        "lib/cmake",
    ]
    .map(String::from)
    .into_iter()
    .chain(["lib", "include"].map(|top| format!("{top}/{triplet}")))
    {
        let path = usr.join(name);
        hash.update(path.as_os_str().as_encoded_bytes());
        if let Ok(meta) = fs::metadata(&path) {
            hash.update(meta.ino().to_le_bytes());
            hash.update(meta.mtime().to_le_bytes());
            hash.update(meta.mtime_nsec().to_le_bytes());
        }
    }
    hash.finalize().to_vec()
}

/// Run-time libraries of the C library and the compilers: what every build may link to over base `host`.
const RUNTIME_LIBRARIES: &[&str] = &[
    "ld-linux-",
    "ld-linux.",
    "libanl.so.",
    "libatomic.so.",
    "libBrokenLocale.so.",
    "libc.so.",
    "libcrypt.so.",
    "libdl.so.",
    "libgcc_s.so.",
    "libgfortran.so.",
    "libgomp.so.",
    "libitm.so.",
    "libm.so.",
    "libmvec.so.",
    "libnsl.so.1",
    "libnss_compat.so.",
    "libnss_dns.so.",
    "libnss_files.so.",
    "libpthread.so.",
    "libquadmath.so.",
    "libresolv.so.",
    "librt.so.",
    "libstdc++.so.",
    "libthread_db.so.",
    "libutil.so.",
    "libasan.so.",
    "liblsan.so.",
    "libtsan.so.",
    "libubsan.so.",
];

/// What the base provides, sorted and without repeats; kept in `state_dir` while the base does not change.
/// Base `host` waits for its mask. Blocking.
pub fn base_index(base: &Base, state_dir: &Path) -> Result<Vec<Dependency>> {
    let below = base.below(state_dir)?;
    let Some(usr) = &below.usr_dir else {
        return Ok(Vec::new());
    };
    let mut hash = sha2::Sha256::new();
    hash.update("massif base index 1");
    hash.update(serde_json::to_vec(base).unwrap_or_default());
    hash.update(&below.fingerprint);
    let name = format!(
        "base-{}.index",
        &Digest(hash.finalize().into()).to_string()[..16]
    );
    let kept = state_dir.join("layers").join(name);
    let known = fs::read(&kept)
        .ok()
        .and_then(|bytes| postcard::from_bytes(&bytes).ok());
    if let Some(known) = known {
        return Ok(known);
    }
    let index: Vec<Dependency> = match base {
        Base::Host => host_index(usr, &below),
        Base::Directory(_) | Base::Stones => directory_index(usr),
    }
    .into_iter()
    .collect();
    let written = || -> std::io::Result<()> {
        let bytes = postcard::to_stdvec(&index).map_err(std::io::Error::other)?;
        let mut file = tempfile::NamedTempFile::new_in(state_dir.join("layers"))?;
        std::io::Write::write_all(&mut file, &bytes)?;
        file.persist(&kept)?;
        Ok(())
    };
    fs::create_dir_all(state_dir.join("layers"))
        .and_then(|()| written())
        .map_err(|e| cannot("keep the index of the base", e))?;
    Ok(index)
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

fn machine() -> &'static str {
    std::env::consts::ARCH
}

fn add(to: &mut BTreeSet<Dependency>, kind: DependencyKind, name: impl Into<std::sync::Arc<str>>) {
    to.insert(Dependency::new(kind, name));
}

fn host_index(usr: &Path, below: &Below) -> BTreeSet<Dependency> {
    let hidden = below
        .usr
        .first()
        .map(|mask| mask::hidden(mask))
        .unwrap_or_default();
    let mut index = BTreeSet::new();
    programs(usr, &hidden, &mut index);
    for lib in library_directories(usr) {
        for name in names(&lib) {
            if RUNTIME_LIBRARIES
                .iter()
                .any(|start| name.starts_with(start))
                && is_soname(&name)
            {
                add(
                    &mut index,
                    DependencyKind::Soname,
                    format!("{name}({})", machine()),
                );
            }
        }
    }
    interpreters(usr, &mut index);
    index
}

/// Whether a file name can be a soname: one number after `.so`, so that `libstdc++.so.6.0.30` and gdb's helpers are not.
fn is_soname(name: &str) -> bool {
    let version = name.split_once(".so.").map(|(_, version)| version);
    version.is_some_and(|version| {
        !version.is_empty() && version.bytes().all(|digit| digit.is_ascii_digit())
    })
}

fn programs(usr: &Path, hidden: &BTreeSet<PathBuf>, index: &mut BTreeSet<Dependency>) {
    for (dir, kind) in [
        ("bin", DependencyKind::Binary),
        ("sbin", DependencyKind::SysBinary),
    ] {
        for name in names(&usr.join(dir)) {
            if !hidden.contains(&Path::new(dir).join(&name)) && name != "[" {
                add(index, kind, name);
            }
        }
    }
}

fn library_directories(usr: &Path) -> Vec<PathBuf> {
    let triplet = format!("{}-linux-gnu", machine());
    [
        "lib64".to_string(),
        "lib".to_string(),
        format!("lib/{triplet}"),
    ]
    .into_iter()
    .map(|name| usr.join(name))
    .filter(|dir| fs::symlink_metadata(dir).is_ok_and(|meta| meta.is_dir()))
    .collect()
}

/// The loader by each path under which programs may name it.
fn interpreters(usr: &Path, index: &mut BTreeSet<Dependency>) {
    for lib in ["lib64", "lib"] {
        for name in names(&usr.join(lib)) {
            if name.starts_with("ld-linux")
                && name.contains(".so.")
                && usr.join(lib).join(&name).exists()
            {
                for path in [format!("/{lib}/{name}"), format!("/usr/{lib}/{name}")] {
                    add(
                        index,
                        DependencyKind::Interpreter,
                        format!("{path}({})", machine()),
                    );
                }
            }
        }
    }
}

/// Everything that a bootstrapped root has: nothing of it is hidden.
fn directory_index(usr: &Path) -> BTreeSet<Dependency> {
    let mut index = BTreeSet::new();
    programs(usr, &BTreeSet::new(), &mut index);
    interpreters(usr, &mut index);
    let mut pc_dirs = vec![usr.join("share/pkgconfig")];
    let mut cmake_dirs = vec![usr.join("share/cmake")];
    for lib in library_directories(usr) {
        sonames(&lib, &mut index);
        pc_dirs.push(lib.join("pkgconfig"));
        cmake_dirs.push(lib.join("cmake"));
    }
    for dir in pc_dirs {
        for name in names(&dir) {
            if let Some(stem) = name.strip_suffix(".pc") {
                add(&mut index, DependencyKind::PkgConfig, stem);
            }
        }
    }
    for dir in cmake_dirs {
        for package in names(&dir) {
            for name in names(&dir.join(&package)) {
                let stem = name
                    .strip_suffix("Config.cmake")
                    .or(name.strip_suffix("-config.cmake"));
                if let Some(stem) = stem.filter(|stem| !stem.is_empty()) {
                    add(&mut index, DependencyKind::CMake, stem);
                }
            }
        }
    }
    index
}

/// A library larger than this is not read for its name; its file name is taken instead.
const LIBRARY_BYTES_MAX: u64 = 512 * 1024 * 1024;

fn sonames(lib: &Path, index: &mut BTreeSet<Dependency>) {
    for name in names(lib) {
        let path = lib.join(&name);
        let library = name.contains(".so.")
            && fs::metadata(&path).is_ok_and(|m| m.is_file() && m.len() < LIBRARY_BYTES_MAX);
        if !library {
            continue;
        }
        if is_soname(&name) {
            add(
                index,
                DependencyKind::Soname,
                format!("{name}({})", machine()),
            );
            continue;
        }
        // libfoo-1.2.so.0.1 and the like: only the file itself knows, and links to it have been seen.
        let soname = fs::read(&path).ok().and_then(|bytes| soname_of(&bytes));
        if let Some(soname) = soname {
            add(
                index,
                DependencyKind::Soname,
                format!("{soname}({})", machine()),
            );
        }
    }
}

/// The soname that an ELF library gives itself.
fn soname_of(bytes: &[u8]) -> Option<String> {
    use object::read::elf::{Dyn, ElfFile64, FileHeader};
    let file = ElfFile64::<object::Endianness>::parse(bytes).ok()?;
    if !file.is_64() {
        return None;
    }
    let endian = file.elf_header().endian().ok()?;
    let sections = file.elf_section_table();
    let (dynamic, strings) = sections.dynamic(endian, bytes).ok()??;
    let strings = sections.strings(endian, bytes, strings).ok()?;
    let entry = dynamic
        .iter()
        .find(|entry| entry.tag(endian) == object::elf::DT_SONAME)?;
    let name = entry.string(endian, strings).ok()?;
    String::from_utf8(name.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_offers_programs_and_the_c_library_and_no_headers() {
        let state = tempfile::tempdir().unwrap();
        let index = base_index(&Base::Host, state.path()).unwrap();
        let has = |text: &str| index.contains(&text.parse().unwrap());
        assert!(has("binary(sh)"));
        assert!(has(&format!("soname(libc.so.6({}))", machine())) || cfg!(target_env = "musl"));
        assert!(
            index
                .iter()
                .all(|d| !matches!(d.kind, DependencyKind::PkgConfig | DependencyKind::CMake))
        );
        assert!(index.is_sorted());
        assert_eq!(index, base_index(&Base::Host, state.path()).unwrap());
    }

    #[test]
    fn sonames_have_one_number() {
        for (name, yes) in [
            ("libc.so.6", true),
            ("libstdc++.so.6.0.30", false),
            ("libstdc++.so.6-gdb.py", false),
            ("libz.so", false),
        ] {
            assert_eq!(is_soname(name), yes, "{name}");
        }
    }
}
