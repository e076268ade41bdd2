//! The mask over a machine's development files, so that a build sees headers, `.pc` files and link libraries of packages
//! only: a layer of whiteouts directly above `/usr`. What stays is the C library, the compilers and all programs.
//! Made once per state of the machine (some tenths of a second), kept below `layers/`.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use sha2::Digest as _;

use super::layers::cannot;
use super::mask_owners::{DPKG, Owner, Owners, is_link_file, owners, triplet};
use super::merge::whiteout;
use super::trash::discard;
use crate::fault::Result;
use crate::id::Digest;

/// Part of the mask's name: raise it when what is hidden changes.
const SHAPE: &str = "massif mask 1";

/// The mask's `usr` for the machine as it is now; made if it is missing, so call it in the background first. Blocking.
pub fn ensure(state_dir: &Path) -> Result<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let dir = state_dir.join("layers").join(name()?);
    let usr = dir.join("usr");
    if dir.join("complete").exists() {
        return Ok(usr);
    }
    let hidden = plan(
        Path::new("/usr"),
        &owners().map_err(|e| cannot("read dpkg's lists", e))?,
    );
    let made = |e| cannot("make the mask over this machine's development files", e);
    fs::create_dir_all(state_dir.join("layers")).map_err(made)?;
    let temporary = tempfile::Builder::new()
        .prefix("tmp-")
        .tempdir_in(state_dir.join("layers"))
        .map_err(made)?
        .keep();
    write(&temporary, &hidden).map_err(made)?;
    discard(state_dir, &dir)?;
    fs::rename(&temporary, &dir).map_err(made)?;
    Ok(usr)
}

fn write(dir: &Path, hidden: &BTreeSet<PathBuf>) -> io::Result<()> {
    let open = fs::Permissions::from_mode(0o755);
    let usr = dir.join("usr");
    fs::create_dir(&usr)?;
    for path in hidden {
        let at = usr.join(path);
        let done = match whiteout(&at) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(at.parent().unwrap_or(&usr))?;
                whiteout(&at)
            }
            done => done,
        };
        done?;
    }
    // Readable for the sandbox's id, whatever the umask is.
    let mut rest = vec![usr];
    fs::set_permissions(dir, open.clone())?;
    while let Some(at) = rest.pop() {
        fs::set_permissions(&at, open.clone())?;
        for entry in fs::read_dir(&at)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                rest.push(entry.path());
            }
        }
    }
    // The mask is cheap to make again, but nothing tells a torn one from a whole one, so it is synced.
    let all: Vec<String> = hidden
        .iter()
        .map(|path| path.to_string_lossy().into_owned())
        .collect();
    fs::write(dir.join("hidden"), all.join("\n"))?;
    rustix::fs::syncfs(fs::File::open(dir)?)?;
    fs::write(
        dir.join("complete"),
        br#"{"boot":"","on_disk":true,"bytes":0,"packages":[],"warnings":[]}"#,
    )
}

/// The mask's directory name: a hash of everything whose change can add or remove a file for building or a program.
pub(super) fn name() -> Result<String> {
    let triplet = triplet();
    let mut hash = sha2::Sha256::new();
    hash.update(SHAPE);
    let tops = [
        "include",
        "lib",
        "lib64",
        "bin",
        "sbin",
        "share/pkgconfig",
        "share/cmake",
        "local",
    ];
    let multiarch = ["include", "lib"].map(|top| format!("{top}/{triplet}"));
    let below = ["pkgconfig", "cmake"].iter().flat_map(|name| {
        [
            format!("lib/{name}"),
            format!("lib64/{name}"),
            format!("lib/{triplet}/{name}"),
        ]
    });
    let looked_at = tops
        .iter()
        .map(|top| top.to_string())
        .chain(multiarch)
        .chain(below);
    for path in looked_at
        .map(|path| Path::new("/usr").join(path))
        .chain([DPKG.into(), "/var/lib/dpkg/status".into()])
    {
        let meta = fs::symlink_metadata(&path);
        let state = meta
            .map(|meta| (meta.ino(), meta.mtime(), meta.mtime_nsec()))
            .unwrap_or_default();
        hash.update(path.as_os_str().as_encoded_bytes());
        hash.update(state.0.to_le_bytes());
        hash.update(state.1.to_le_bytes());
        hash.update(state.2.to_le_bytes());
    }
    Ok(format!(
        "mask-{}",
        &Digest(hash.finalize().into()).to_string()[..16]
    ))
}

/// What the mask hides, as `write` noted it: paths relative to `/usr`.
pub(super) fn hidden(mask_usr: &Path) -> BTreeSet<PathBuf> {
    let note = mask_usr.with_file_name("hidden");
    fs::read_to_string(note)
        .unwrap_or_default()
        .lines()
        .map(PathBuf::from)
        .collect()
}

/// What to hide below `usr`, as paths relative to it; a directory that loses everything is hidden as a whole.
fn plan(usr: &Path, owners: &Owners) -> BTreeSet<PathBuf> {
    let mut hidden = BTreeSet::new();
    let stays = |path: &Path| owners.of(path) == Some(Owner::Toolchain);
    let _ = hide_tree(usr, Path::new("include"), &stays, &mut hidden);
    let triplet = triplet();
    for lib in [
        "lib".to_string(),
        "lib64".to_string(),
        format!("lib/{triplet}"),
    ] {
        let lib = Path::new(&lib);
        if fs::symlink_metadata(usr.join(lib)).is_ok_and(|meta| meta.is_symlink()) {
            continue; // lib64 -> lib
        }
        for name in names(&usr.join(lib)) {
            let path = lib.join(name);
            let goes = match owners.of(&path) {
                Some(Owner::Toolchain) => false,
                Some(Owner::Development) | None => true,
                // A library without a version that programs load, such as libbfd-2.40-system.so.
                Some(Owner::Other) => path.extension().is_none_or(|suffix| suffix != "so"),
            };
            let at = usr.join(&path);
            if goes
                && is_link_file(&path)
                && fs::symlink_metadata(&at).is_ok_and(|meta| !meta.is_dir())
            {
                hidden.insert(path);
            }
        }
        for name in ["pkgconfig", "cmake"] {
            let _ = hide_tree(usr, &lib.join(name), &stays, &mut hidden);
        }
    }
    for name in ["share/pkgconfig", "share/cmake"] {
        let _ = hide_tree(usr, Path::new(name), &stays, &mut hidden);
    }
    if let Owners::Known(owners) = owners {
        let development = owners
            .iter()
            .filter(|(_, owner)| **owner == Owner::Development);
        for (path, _) in development {
            let is_file = fs::symlink_metadata(usr.join(path)).is_ok_and(|meta| !meta.is_dir());
            if is_file && !path.ancestors().skip(1).any(|above| hidden.contains(above)) {
                hidden.insert(path.clone());
            }
        }
    }
    if usr.join("local").is_dir() {
        hidden.insert("local".into());
    }
    hidden
}

/// Hides everything below `path` that does not stay; whether all of it went.
fn hide_tree(
    usr: &Path,
    path: &Path,
    stays: &dyn Fn(&Path) -> bool,
    hidden: &mut BTreeSet<PathBuf>,
) -> bool {
    let at = usr.join(path);
    if !fs::symlink_metadata(&at).is_ok_and(|meta| meta.is_dir()) {
        if stays(path) || fs::symlink_metadata(&at).is_err() {
            return false;
        }
        hidden.insert(path.to_owned());
        return true;
    }
    let mut inner = BTreeSet::new();
    let mut all = true;
    for name in names(&at) {
        all &= hide_tree(usr, &path.join(name), stays, &mut inner);
    }
    if all {
        hidden.insert(path.to_owned());
    } else {
        hidden.append(&mut inner);
    }
    all
}

fn names(dir: &Path) -> Vec<std::ffi::OsString> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let usr = tempfile::tempdir().unwrap();
        for file in files {
            let path = usr.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        usr
    }

    fn shown(hidden: BTreeSet<PathBuf>) -> Vec<String> {
        hidden
            .into_iter()
            .map(|path| path.display().to_string())
            .collect()
    }

    #[test]
    fn headers_links_and_pc_files_go_and_toolchain_and_run_time_stay() {
        let multiarch = format!("lib/{}", triplet());
        let (so, bfd) = (
            format!("{multiarch}/libz.so"),
            format!("{multiarch}/libbfd-2.40-system.so"),
        );
        let decoy = format!("{multiarch}/libdecoy.so");
        let usr = tree(&[
            "include/stdio.h",
            "include/zlib.h",
            "include/ncursesw/curses.h",
            "include/sys/types.h",
            "include/sys/own.h",
            &so,
            &bfd,
            &decoy,
            "lib/libz.so.1",
            "lib/pkgconfig/zlib.pc",
            "bin/z-config",
            "bin/gcc",
            "local/bin/cc",
        ]);
        let owner = |path: &str, owner| (PathBuf::from(path), owner);
        let owners = Owners::Known(HashMap::from([
            owner("include/stdio.h", Owner::Toolchain),
            owner("include/sys/types.h", Owner::Toolchain),
            owner("include/zlib.h", Owner::Development),
            owner("bin/z-config", Owner::Development),
            owner(&so, Owner::Development),
            owner(&bfd, Owner::Other),
        ]));
        let mut expected = vec![
            "bin/z-config",
            "include/ncursesw",
            "include/sys/own.h",
            "include/zlib.h",
            "lib/pkgconfig",
            &decoy,
            &so,
            "local",
        ];
        expected.sort();
        assert_eq!(shown(plan(usr.path(), &owners)), expected);
    }

    #[test]
    fn without_a_package_database_names_tell() {
        let usr = tree(&[
            "include/stdio.h",
            "include/linux/fs.h",
            "include/zlib.h",
            "lib64/libz.so",
            "lib64/libc.so",
            "lib64/libm.a",
        ]);
        assert_eq!(
            shown(plan(usr.path(), &Owners::Guessed)),
            ["include/zlib.h", "lib64/libz.so"]
        );
    }
}
