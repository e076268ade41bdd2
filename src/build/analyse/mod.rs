//! What the files of a package provide and need at run time, read from the files themselves: ELF, `.pc`, cmake
//! configurations, Python metadata, programs by their place. What other files mean is the recipe's to say.

pub mod elf;
pub mod pkgconfig;
pub mod python;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::stone::{Dependency, DependencyKind};
use elf::Elf;

/// A text file larger than this is no `.pc` file and no metadata.
const TEXT_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What was found in some files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// What they provide.
    pub provides: BTreeSet<Dependency>,
    /// What they need.
    pub depends: BTreeSet<Dependency>,
}

impl Found {
    fn provide(&mut self, kind: DependencyKind, name: impl AsRef<str>) {
        self.provides.insert(Dependency::new(kind, name.as_ref()));
    }

    fn need(&mut self, kind: DependencyKind, name: impl AsRef<str>) {
        self.depends.insert(Dependency::new(kind, name.as_ref()));
    }
}

/// Where files lie on this host.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The install root.
    pub install: PathBuf,
    /// Directories that are merged into `/usr` of the build root: what the packages will find beside them.
    pub beside: Vec<PathBuf>,
}

impl Surroundings {
    /// Whether this path (relative to the root) will be there at run time, as far as can be seen.
    fn exists(&self, path: &str) -> bool {
        let there = |path: PathBuf| path.symlink_metadata().is_ok();
        let below = path.strip_prefix("usr/");
        let beside = |usr: &PathBuf| below.is_some_and(|below| there(usr.join(below)));
        there(self.install.join(path)) || self.beside.iter().any(beside)
    }
}

/// Looks into one path, relative to the root (`usr/bin/xz`); `is_link` ones are judged by their place alone.
pub fn analyse(path: &str, is_link: bool, around: &Surroundings, found: &mut Found) {
    let Some((directory, name)) = path.rsplit_once('/') else {
        return;
    };
    if path.starts_with("usr/lib/debug/") || path.starts_with("usr/lib32/debug/") {
        return;
    }
    match directory {
        "usr/bin" => found.provide(DependencyKind::Binary, name),
        "usr/sbin" => found.provide(DependencyKind::SysBinary, name),
        _ => {}
    }
    let stem = name
        .strip_suffix("Config.cmake")
        .or_else(|| name.strip_suffix("-config.cmake"));
    if let Some(stem) = stem.filter(|stem| !stem.is_empty()) {
        found.provide(DependencyKind::CMake, stem);
    }
    if let Some(stem) = name.strip_suffix(".pc").filter(|stem| !stem.is_empty())
        && directory.ends_with("/pkgconfig")
    {
        pc(path, stem, is_link, around, found);
    }
    if is_link {
        return;
    }
    let whole = around.install.join(path);
    if let Some(version) = python_metadata(path) {
        let text = read_text(&whole).unwrap_or_default();
        let distribution = python::read(&text, version);
        if let Some(name) = distribution.name {
            found.provide(DependencyKind::Python, name);
        }
        for name in distribution.requires {
            found.need(DependencyKind::Python, name);
        }
    } else if let Some(elf) = elf::read(&whole) {
        library(directory, name, &elf, found);
        needed(directory, &elf, around, found);
    }
}

fn read_text(path: &Path) -> Option<String> {
    let size = path.metadata().ok()?.len();
    let bytes = (size <= TEXT_BYTES_MAX).then(|| std::fs::read(path).ok())??;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// A `.pc` file below `lib32` speaks of 32-bit libraries, but what it requires may exist for both alike, as headers do.
fn pc(path: &str, stem: &str, is_link: bool, around: &Surroundings, found: &mut Found) {
    let is_32 = path.starts_with("usr/lib32/");
    let kind = if is_32 {
        DependencyKind::PkgConfig32
    } else {
        DependencyKind::PkgConfig
    };
    found.provide(kind, stem);
    if is_link {
        return;
    }
    let text = read_text(&around.install.join(path)).unwrap_or_default();
    for name in pkgconfig::requires(&text) {
        let shared = around.exists(&format!("usr/share/pkgconfig/{name}.pc"))
            && !around.exists(&format!("usr/lib32/pkgconfig/{name}.pc"));
        found.need(
            if is_32 && shared {
                DependencyKind::PkgConfig
            } else {
                kind
            },
            name,
        );
    }
}

/// Python's version when this is the metadata of a distribution that stands directly among the installed ones.
fn python_metadata(path: &str) -> Option<&str> {
    let mut parts = path.rsplit('/');
    let file = parts.next()?;
    let mut above = parts.next()?;
    let whole = file.ends_with(".egg-info");
    if !whole {
        let metadata = (file == "METADATA" && above.ends_with(".dist-info"))
            || (file == "PKG-INFO" && above.ends_with(".egg-info"));
        if !metadata {
            return None;
        }
        above = parts.next()?;
    }
    if !matches!(above, "site-packages" | "dist-packages") {
        return None;
    }
    Some(
        parts
            .next()
            .and_then(|dir| dir.strip_prefix("python"))
            .unwrap_or("3"),
    )
}

/// The library's name in dependency texts: outside the top of a library directory with the directories below it in
/// front (`vlc/libvlc_vdpau.so.0`).
fn library_name(directory: &str, name: &str) -> String {
    let mut below = directory.splitn(3, '/').skip(2);
    match below.next() {
        Some(below) if !below.is_empty() => format!("{below}/{name}"),
        _ => name.to_owned(),
    }
}

fn library(directory: &str, name: &str, elf: &Elf, found: &mut Found) {
    let machine = elf.machine;
    let soname = match &elf.soname {
        Some(soname) if !soname.contains('/') => soname.as_str(),
        Some(_) => name,
        // A plugin has no name of its own; a program, even when it can be moved in memory, is none.
        None if name.contains(".so") && elf.interpreter.is_none() => name,
        None => return,
    };
    let text = format!("{}({machine})", library_name(directory, soname));
    found.provide(DependencyKind::Soname, text);
    // The dynamic loader is found under all the names that programs may have been linked with.
    if soname.starts_with("ld-linux") {
        let other = if directory.starts_with("usr/lib32") {
            "32"
        } else {
            "64"
        };
        for lib in ["lib".to_owned(), format!("lib{other}")] {
            for prefix in ["/", "/usr/"] {
                let text = format!("{prefix}{lib}/{soname}({machine})");
                found.provide(DependencyKind::Interpreter, &text);
                found.provide(DependencyKind::Soname, &text);
            }
        }
    }
}

fn needed(directory: &str, elf: &Elf, around: &Surroundings, found: &mut Found) {
    let machine = elf.machine;
    if let Some(interpreter) = &elf.interpreter {
        found.need(
            DependencyKind::Interpreter,
            format!("{interpreter}({machine})"),
        );
    }
    let search: Vec<String> = elf
        .search
        .iter()
        .filter_map(|written| search_directory(directory, written))
        .collect();
    for name in &elf.needed {
        // The first directory of the search path that has the library; else the system's own, by the plain name.
        let there = search
            .iter()
            .find(|dir| !name.contains('/') && around.exists(&format!("{dir}/{name}")));
        let text = match there {
            Some(dir) => library_name(dir, name),
            None => name.clone(),
        };
        found.need(DependencyKind::Soname, format!("{text}({machine})"));
    }
}

/// A directory of a search path as a path relative to the root, without `..`; only directories below `/usr` can be
/// part of a package. `$ORIGIN` is where the file itself lies.
fn search_directory(own: &str, written: &str) -> Option<String> {
    let expanded = written
        .replace("${ORIGIN}", &format!("/{own}"))
        .replace("$ORIGIN", &format!("/{own}"));
    let mut parts: Vec<&str> = Vec::new();
    for part in expanded.strip_prefix('/')?.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    (parts.first() == Some(&"usr") && parts.len() > 1).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_outside_the_top_carry_their_directory() {
        for (directory, name, expected) in [
            ("usr/lib", "liblzma.so.5", "liblzma.so.5"),
            ("usr/lib32", "liblzma.so.5", "liblzma.so.5"),
            ("usr/lib/vlc/plugins", "a.so", "vlc/plugins/a.so"),
            ("usr/lib32/gconv", "UTF-7.so", "gconv/UTF-7.so"),
        ] {
            assert_eq!(library_name(directory, name), expected);
        }
    }

    #[test]
    fn search_directories_are_resolved_below_usr_only() {
        for (own, written, expected) in [
            (
                "usr/lib/llvm-21/lib",
                "$ORIGIN/../lib:",
                Some("usr/lib/llvm-21/lib:"),
            ),
            ("usr/bin", "${ORIGIN}/../lib/gvfs", Some("usr/lib/gvfs")),
            (
                "usr/bin",
                "/usr/lib/pulseaudio/",
                Some("usr/lib/pulseaudio"),
            ),
            ("usr/bin", "/mason/build/x86_64/x/lib", None),
            ("usr/bin", "relative", None),
            ("usr/bin", "/usr/../../../etc", None),
        ] {
            assert_eq!(
                search_directory(own, written).as_deref(),
                expected,
                "{written}"
            );
        }
    }

    #[test]
    fn loaders_provide_every_name_of_theirs() {
        let mut found = Found::default();
        let elf = Elf {
            machine: "x86_64",
            soname: Some("ld-linux-x86-64.so.2".into()),
            ..Elf::default()
        };
        library("usr/lib", "ld-linux-x86-64.so.2", &elf, &mut found);
        let texts: Vec<String> = found.provides.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 9);
        assert!(texts.contains(&"interpreter(/usr/lib64/ld-linux-x86-64.so.2(x86_64))".to_owned()));
        assert!(texts.contains(&"soname(ld-linux-x86-64.so.2(x86_64))".to_owned()));
    }

    #[test]
    fn metadata_counts_only_among_the_installed_distributions() {
        for (path, expected) in [
            (
                "usr/lib/python3.11/site-packages/a-1.dist-info/METADATA",
                Some("3.11"),
            ),
            (
                "usr/lib/python3.11/site-packages/a.egg-info/PKG-INFO",
                Some("3.11"),
            ),
            ("usr/lib/python3.9/site-packages/a.egg-info", Some("3.9")),
            (
                "usr/lib/python3.11/site-packages/setuptools/_vendor/a-1.dist-info/METADATA",
                None,
            ),
            ("usr/share/METADATA", None),
        ] {
            assert_eq!(python_metadata(path), expected, "{path}");
        }
    }
}
