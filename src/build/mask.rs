//! The mask over a machine's development files, so that a build sees headers, `.pc` files and link libraries of packages
//! only: a layer of whiteouts directly above `/usr`. What stays is the C library, the compilers and all programs.
//! Made once per state of the machine (some tenths of a second), kept below `layers/`.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use sha2::Digest as _;

use super::layers::cannot;
use super::merge::whiteout;
use super::trash::discard;
use crate::fault::Result;
use crate::id::Digest;

/// Part of the mask's name: raise it when what is hidden changes.
const SHAPE: &str = "massif mask 1";
const DPKG: &str = "/var/lib/dpkg/info";

/// Debian packages with files for building that every build may use: C library, kernel interface, compilers' own.
const TOOLCHAIN_PACKAGES: &[&str] = &[
    "libc6", "libc-", "linux-libc-dev", "libcrypt-dev", "libnsl-dev", "libtirpc-dev", "libstdc++-",
    "libgcc-", "gcc", "g++", "cpp", "libgfortran-", "libobjc-", "libclang-common-", "libclang-rt-",
    "libomp-", "musl-dev", "dpkg-dev",
];

/// Where the C library and the kernel keep headers, for machines whose package database we do not read.
const LIBC_HEADER_DIRS: &[&str] = &[
    "arpa", "asm", "asm-generic", "bits", "c++", "drm", "finclude", "gnu", "linux", "misc", "mtd", "net",
    "netash", "netatalk", "netax25", "neteconet", "netinet", "netipx", "netiucv", "netpacket", "netrom",
    "netrose", "nfs", "protocols", "rdma", "regulator", "rpc", "rpcsvc", "scsi", "sound", "sys", "video", "xen",
];
const LIBC_HEADERS: &str = "_G_config a.out aio aliases alloca ar argp argz assert byteswap complex cpio crypt ctype \
    dirent dlfcn elf endian envz err errno error execinfo fcntl features features-time64 fenv fmtmsg fnmatch \
    fpu_control fstab fts ftw gconv getopt glob gnu-versions grp gshadow iconv ieee754 ifaddrs inttypes langinfo \
    lastlog libgen libintl limits link locale malloc math mcheck memory mntent monetary mqueue netdb nl_types nss \
    obstack paths poll printf proc_service pthread pty pwd re_comp regex regexp resolv sched search semaphore setjmp \
    sgtty shadow signal spawn stab stdbit stdc-predef stdint stdio stdio_ext stdlib string strings syscall sysexits \
    syslog tar termio termios tgmath thread_db threads time ttyent uchar ucontext ulimit unistd utime utmp utmpx \
    values wait wchar wctype wordexp";
const TOOLCHAIN_LIBRARIES: &str = "c m dl pthread rt util resolv crypt nsl anl mvec thread_db BrokenLocale c_nonshared \
    mcheck g pthread_nonshared c_malloc_debug memusage pcprofile xcrypt owcrypt stdc++ stdc++fs stdc++exp supc++ \
    gcc gcc_eh gcc_s gomp atomic itm quadmath asan lsan tsan ubsan hwasan gfortran objc ssp_nonshared";

/// The architecture's directory in Debian's multiarch layout.
fn triplet() -> String {
    format!("{}-linux-gnu", std::env::consts::ARCH)
}

/// What a file for building belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// C library or compiler: stays.
    Toolchain,
    /// A development package: all of it goes.
    Development,
    /// Anything else: its programs and run-time libraries stay.
    Other,
}

/// Who owns what below `/usr`, as far as it matters here.
enum Owners {
    /// From dpkg: paths relative to `/usr`.
    Known(HashMap<PathBuf, Owner>),
    /// No database that we read: told by names.
    Guessed,
}

impl Owners {
    fn of(&self, path: &Path) -> Option<Owner> {
        match self {
            Owners::Known(owners) => owners.get(path).copied(),
            Owners::Guessed => looks_like_toolchain(path).then_some(Owner::Toolchain),
        }
    }
}

fn looks_like_toolchain(path: &Path) -> bool {
    let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
    let triplet = triplet();
    match parts.as_slice() {
        ["include", multiarch, rest @ ..] if *multiarch == triplet => {
            rest.first().is_none_or(|first| is_libc_header(first))
        }
        ["include", first, ..] => is_libc_header(first),
        [top, .., name] if top.starts_with("lib") => {
            let stem = name.strip_prefix("lib").and_then(|name| name.split('.').next());
            stem.is_some_and(|stem| TOOLCHAIN_LIBRARIES.split_whitespace().any(|known| known == stem))
        }
        _ => false,
    }
}

fn is_libc_header(first: &str) -> bool {
    LIBC_HEADER_DIRS.contains(&first)
        || first.strip_suffix(".h").is_some_and(|stem| LIBC_HEADERS.split_whitespace().any(|known| known == stem))
}

/// The mask's `usr` for the machine as it is now; made if it is missing, so call it in the background first. Blocking.
pub fn ensure(state_dir: &Path) -> Result<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let dir = state_dir.join("layers").join(name()?);
    let usr = dir.join("usr");
    if dir.join("complete").exists() {
        return Ok(usr);
    }
    let hidden = plan(Path::new("/usr"), &owners().map_err(|e| cannot("read dpkg's lists", e))?);
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
    let all: Vec<String> = hidden.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    fs::write(dir.join("hidden"), all.join("\n"))?;
    rustix::fs::syncfs(fs::File::open(dir)?)?;
    fs::write(dir.join("complete"), br#"{"boot":"","on_disk":true,"bytes":0,"packages":[],"warnings":[]}"#)
}

/// The mask's directory name: a hash of everything whose change can add or remove a file for building or a program.
pub(super) fn name() -> Result<String> {
    let triplet = triplet();
    let mut hash = sha2::Sha256::new();
    hash.update(SHAPE);
    let tops = ["include", "lib", "lib64", "bin", "sbin", "share/pkgconfig", "share/cmake", "local"];
    let multiarch = ["include", "lib"].map(|top| format!("{top}/{triplet}"));
    let below = ["pkgconfig", "cmake"]
        .iter()
        .flat_map(|name| [format!("lib/{name}"), format!("lib64/{name}"), format!("lib/{triplet}/{name}")]);
    let looked_at = tops.iter().map(|top| top.to_string()).chain(multiarch).chain(below);
    for path in looked_at.map(|path| Path::new("/usr").join(path)).chain([DPKG.into(), "/var/lib/dpkg/status".into()]) {
        let meta = fs::symlink_metadata(&path);
        let state = meta.map(|meta| (meta.ino(), meta.mtime(), meta.mtime_nsec())).unwrap_or_default();
        hash.update(path.as_os_str().as_encoded_bytes());
        hash.update(state.0.to_le_bytes());
        hash.update(state.1.to_le_bytes());
        hash.update(state.2.to_le_bytes());
    }
    Ok(format!("mask-{}", &Digest(hash.finalize().into()).to_string()[..16]))
}

/// What the mask hides, as `write` noted it: paths relative to `/usr`.
pub(super) fn hidden(mask_usr: &Path) -> BTreeSet<PathBuf> {
    let note = mask_usr.with_file_name("hidden");
    fs::read_to_string(note).unwrap_or_default().lines().map(PathBuf::from).collect()
}

fn owners() -> io::Result<Owners> {
    let Ok(lists) = fs::read_dir(DPKG) else {
        return Ok(Owners::Guessed);
    };
    let mut owners = HashMap::new();
    for entry in lists {
        let path = entry?.path();
        let Some(package) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".list")) else {
            continue;
        };
        let package = package.split(':').next().unwrap_or(package);
        let owner = match package {
            _ if TOOLCHAIN_PACKAGES.iter().any(|start| package.starts_with(start)) => Owner::Toolchain,
            _ if package.ends_with("-dev") => Owner::Development,
            _ => Owner::Other,
        };
        for line in fs::read_to_string(&path)?.lines() {
            // dpkg still knows /lib by its old name on machines whose /usr is merged.
            let line = line.strip_prefix("/usr/").or(line.strip_prefix('/')).unwrap_or(line);
            let matters = owner == Owner::Development && !line.starts_with("share/doc/") && !line.starts_with("share/man/")
                || line.starts_with("include/")
                || line.starts_with("lib") && is_link_file(Path::new(line));
            if matters {
                owners.insert(PathBuf::from(line), owner);
            }
        }
    }
    Ok(Owners::Known(owners))
}

/// Whether a name below a library directory is one that only linking needs.
fn is_link_file(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with("lib") && (name.ends_with(".so") || name.ends_with(".a") || name.ends_with(".la"))
        || name.ends_with(".pc")
        || path.iter().any(|part| part == "cmake")
}

/// What to hide below `usr`, as paths relative to it; a directory that loses everything is hidden as a whole.
fn plan(usr: &Path, owners: &Owners) -> BTreeSet<PathBuf> {
    let mut hidden = BTreeSet::new();
    let stays = |path: &Path| owners.of(path) == Some(Owner::Toolchain);
    let _ = hide_tree(usr, Path::new("include"), &stays, &mut hidden);
    let triplet = triplet();
    for lib in ["lib".to_string(), "lib64".to_string(), format!("lib/{triplet}")] {
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
                Some(Owner::Other) => !path.extension().is_some_and(|suffix| suffix == "so"),
            };
            let at = usr.join(&path);
            if goes && is_link_file(&path) && fs::symlink_metadata(&at).is_ok_and(|meta| !meta.is_dir()) {
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
        let development = owners.iter().filter(|(_, owner)| **owner == Owner::Development);
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
fn hide_tree(usr: &Path, path: &Path, stays: &dyn Fn(&Path) -> bool, hidden: &mut BTreeSet<PathBuf>) -> bool {
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
        hidden.into_iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn headers_links_and_pc_files_go_and_toolchain_and_run_time_stay() {
        let multiarch = format!("lib/{}", triplet());
        let (so, bfd) = (format!("{multiarch}/libz.so"), format!("{multiarch}/libbfd-2.40-system.so"));
        let decoy = format!("{multiarch}/libdecoy.so");
        let usr = tree(&[
            "include/stdio.h", "include/zlib.h", "include/ncursesw/curses.h", "include/sys/types.h", "include/sys/own.h",
            &so, &bfd, &decoy, "lib/libz.so.1", "lib/pkgconfig/zlib.pc", "bin/z-config", "bin/gcc", "local/bin/cc",
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
            "bin/z-config", "include/ncursesw", "include/sys/own.h", "include/zlib.h", "lib/pkgconfig", &decoy, &so, "local",
        ];
        expected.sort();
        assert_eq!(shown(plan(usr.path(), &owners)), expected);
    }

    #[test]
    fn without_a_package_database_names_tell() {
        let usr = tree(&["include/stdio.h", "include/linux/fs.h", "include/zlib.h", "lib64/libz.so", "lib64/libc.so", "lib64/libm.a"]);
        assert_eq!(shown(plan(usr.path(), &Owners::Guessed)), ["include/zlib.h", "lib64/libz.so"]);
    }
}
