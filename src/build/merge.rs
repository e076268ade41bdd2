//! Merges layers into one directory by hard links: an overlay of hundreds of layers pays for each of them at every failed
//! look-up, one of three does not. What would hurt the base is refused here.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::base::Below;
use super::layers::cannot;
use crate::fault::{Fault, Kind, Result};

/// Warnings of one set that are kept; more of them say nothing new.
const WARNINGS_MAX: usize = 50;
/// What a directory costs on disk.
const DIRECTORY_BYTES: u64 = 4096;

/// What a merge made.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// Bytes that it takes beside the layers it links to.
    pub(super) bytes: u64,
    /// Two packages with one path, and the like.
    pub(super) warnings: Vec<String>,
}

struct Merge<'a> {
    to: &'a Path,
    below: &'a Below,
    /// Paths of `to` that exist, and which layer made them last.
    made: HashMap<PathBuf, Made>,
    merged: Merged,
    /// Links at the top of the base's `/usr`, such as `sbin` → `bin`: what packages put there goes where they point.
    folded: Vec<(PathBuf, PathBuf)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    Directory,
    File,
}

/// Merges `layers`, lowest first, into the new directory `to`.
pub(super) fn merge(to: &Path, layers: &[PathBuf], below: &Below) -> Result<Merged> {
    let mut merge = Merge {
        to,
        below,
        made: HashMap::new(),
        merged: Merged::default(),
        folded: folded(below),
    };
    merge.directory(Path::new(""))?;
    for layer in layers {
        merge.layer(layer)?;
    }
    merge.hide_multiarch_doubles()?;
    Ok(merge.merged)
}

fn folded(below: &Below) -> Vec<(PathBuf, PathBuf)> {
    let Some(usr) = &below.usr_dir else {
        return Vec::new();
    };
    ["bin", "sbin", "lib", "lib32", "lib64", "libx32"]
        .into_iter()
        .filter_map(|name| Some((PathBuf::from(name), fs::read_link(usr.join(name)).ok()?)))
        .filter(|(_, target)| target.components().count() == 1 && target.is_relative())
        .collect()
}

/// A C library: one of another build than the base's tools were linked against makes all of them crash.
fn is_libc(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let top = path
        .components()
        .next()
        .is_some_and(|c| c.as_os_str().as_encoded_bytes().starts_with(b"lib"));
    top && (name == "libc.so.6"
        || name.starts_with("ld-linux") && name.contains(".so.")
        || name.starts_with("ld-musl-"))
}

impl Merge<'_> {
    fn layer(&mut self, layer: &Path) -> Result<()> {
        let mut rest = vec![PathBuf::new()];
        while let Some(dir) = rest.pop() {
            let entries = fs::read_dir(layer.join(&dir)).map_err(|e| cannot("read a layer", e))?;
            for entry in entries {
                let entry = entry.map_err(|e| cannot("read a layer", e))?;
                let kind = entry.file_type().map_err(|e| cannot("read a layer", e))?;
                let path = dir.join(entry.file_name());
                if kind.is_dir() {
                    self.directory(&self.fold(&path))?;
                    rest.push(path);
                } else {
                    self.file(&entry.path(), self.fold(&path))?;
                }
            }
        }
        Ok(())
    }

    fn fold(&self, path: &Path) -> PathBuf {
        self.folded
            .iter()
            .find_map(|(link, target)| Some(target.join(path.strip_prefix(link).ok()?)))
            .unwrap_or_else(|| path.to_owned())
    }

    fn directory(&mut self, path: &Path) -> Result<()> {
        match self.made.get(path) {
            Some(Made::Directory) => return Ok(()),
            Some(Made::File) => return Err(clash(path)),
            None => {}
        }
        let dir = self.to.join(path);
        fs::create_dir(&dir)
            .and_then(|()| fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)))
            .map_err(|e| cannot("merge layers", e))?;
        self.made.insert(path.to_owned(), Made::Directory);
        self.merged.bytes += DIRECTORY_BYTES;
        Ok(())
    }

    fn file(&mut self, from: &Path, path: PathBuf) -> Result<()> {
        self.check_against_base(&path)?;
        let to = self.to.join(&path);
        match self.made.get(&path) {
            Some(Made::Directory) => return Err(clash(&path)),
            Some(Made::File) => {
                if same(from, &to).unwrap_or(false) {
                    return Ok(());
                }
                if self.merged.warnings.len() < WARNINGS_MAX {
                    let text = format!(
                        "/usr/{} is in more than one package; the last one counts",
                        path.display()
                    );
                    self.merged.warnings.push(text);
                }
                fs::remove_file(&to).map_err(|e| cannot("merge layers", e))?;
            }
            None => {}
        }
        match fs::hard_link(from, &to) {
            // A file has 65,000 names on ext4; the next set gets a copy.
            Err(error) if error.raw_os_error() == Some(libc::EMLINK) => {
                self.merged.bytes += fs::copy(from, &to).map_err(|e| cannot("merge layers", e))?;
            }
            Err(error) => return Err(cannot("merge layers", error)),
            Ok(()) => {}
        }
        self.made.insert(path, Made::File);
        Ok(())
    }

    fn check_against_base(&self, path: &Path) -> Result<()> {
        let Some(usr) = &self.below.usr_dir else {
            return Ok(());
        };
        if self.below.refuse_libc && is_libc(path) {
            return Err(Fault::new(
                Kind::Operator,
                format!(
                    "a package brings its own C library (/usr/{}) over base host",
                    path.display()
                ),
            )
            .next("build with base `stones` or a base directory, or leave the package out"));
        }
        if fs::symlink_metadata(usr.join(path)).is_ok_and(|meta| meta.is_dir()) {
            return Err(Fault::new(
                Kind::Operator,
                format!(
                    "a package has a file where the base has the directory /usr/{}",
                    path.display()
                ),
            )
            .next("build with base `stones`: over this base it would hide all that is below"));
        }
        Ok(())
    }

    /// Debian's compiler, linker, pkg-config and loader look into the multiarch directories before `/usr/lib` and
    /// `/usr/include`: what packages bring there is hidden in the base's, so that packages win.
    fn hide_multiarch_doubles(&mut self) -> Result<()> {
        let Some(usr) = self.below.usr_dir.clone() else {
            return Ok(());
        };
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        let mut doubles = Vec::new();
        for top in ["lib", "include"] {
            let multiarch = Path::new(top).join(&triplet);
            if !usr.join(&multiarch).is_dir() {
                continue;
            }
            for (path, made) in &self.made {
                let Ok(rest) = path.strip_prefix(top) else {
                    continue;
                };
                let depth = rest.components().count();
                let wanted = *made == Made::File
                    && !rest.starts_with(&triplet)
                    && (top == "include" || depth == 1 || rest.starts_with("pkgconfig"));
                let double = multiarch.join(rest);
                let there = || fs::symlink_metadata(usr.join(&double)).is_ok_and(|m| !m.is_dir());
                if wanted && !self.made.contains_key(&double) && there() {
                    doubles.push(double);
                }
            }
        }
        for double in doubles {
            if let Some(parent) = double.parent() {
                let mut at = PathBuf::new();
                for part in parent.components() {
                    at.push(part);
                    self.directory(&at)?;
                }
            }
            whiteout(&self.to.join(&double)).map_err(|e| cannot("hide a file of the base", e))?;
        }
        Ok(())
    }
}

/// A mark that hides what lower layers have there; any user may make one.
pub(super) fn whiteout(path: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    Ok(mknodat(
        CWD,
        path,
        FileType::CharacterDevice,
        Mode::empty(),
        makedev(0, 0),
    )?)
}

fn clash(path: &Path) -> Fault {
    Fault::new(
        Kind::Operator,
        format!(
            "/usr/{} is a directory in one package and a file in another",
            path.display()
        ),
    )
    .next("these packages cannot be in one root: mend one of their recipes")
}

/// Whether two entries cannot be told apart by a build: one inode, one link text, or the same bytes.
fn same(one: &Path, other: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (a, b) = (fs::symlink_metadata(one)?, fs::symlink_metadata(other)?);
    if a.ino() == b.ino() && a.dev() == b.dev() {
        return Ok(true);
    }
    if a.is_symlink() && b.is_symlink() {
        return Ok(fs::read_link(one)? == fs::read_link(other)?);
    }
    // Only small files are worth reading for the sake of a warning.
    Ok(a.is_file()
        && b.is_file()
        && a.len() == b.len()
        && a.len() < 65_536
        && a.mode() == b.mode()
        && fs::read(one)? == fs::read(other)?)
}
