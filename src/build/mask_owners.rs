//! Which of a machine's files for building belong to its C library and compilers: read from dpkg's lists, else told by names.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where dpkg keeps one list of files for each package.
pub(super) const DPKG: &str = "/var/lib/dpkg/info";

/// Debian packages with files for building that every build may use: C library, kernel interface, compilers' own.
const TOOLCHAIN_PACKAGES: &[&str] = &[
    "libc6",
    "libc-",
    "linux-libc-dev",
    "libcrypt-dev",
    "libnsl-dev",
    "libtirpc-dev",
    "libstdc++-",
    "libgcc-",
    "gcc",
    "g++",
    "cpp",
    "libgfortran-",
    "libobjc-",
    "libclang-common-",
    "libclang-rt-",
    "libomp-",
    "musl-dev",
    "dpkg-dev",
];

/// Where the C library and the kernel keep headers, for machines whose package database we do not read.
const LIBC_HEADER_DIRS: &[&str] = &[
    "arpa",
    "asm",
    "asm-generic",
    "bits",
    "c++",
    "drm",
    "finclude",
    "gnu",
    "linux",
    "misc",
    "mtd",
    "net",
    "netash",
    "netatalk",
    "netax25",
    "neteconet",
    "netinet",
    "netipx",
    "netiucv",
    "netpacket",
    "netrom",
    "netrose",
    "nfs",
    "protocols",
    "rdma",
    "regulator",
    "rpc",
    "rpcsvc",
    "scsi",
    "sound",
    "sys",
    "video",
    "xen",
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
pub(super) fn triplet() -> String {
    format!("{}-linux-gnu", std::env::consts::ARCH)
}

/// What a file for building belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// C library or compiler: stays.
    Toolchain,
    /// A development package: all of it goes.
    Development,
    /// Anything else: its programs and run-time libraries stay.
    Other,
}

/// Who owns what below `/usr`, as far as it matters here.
pub(super) enum Owners {
    /// From dpkg: paths relative to `/usr`.
    Known(HashMap<PathBuf, Owner>),
    /// No database that we read: told by names.
    Guessed,
}

impl Owners {
    pub(super) fn of(&self, path: &Path) -> Option<Owner> {
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
            let stem = name
                .strip_prefix("lib")
                .and_then(|name| name.split('.').next());
            stem.is_some_and(|stem| {
                TOOLCHAIN_LIBRARIES
                    .split_whitespace()
                    .any(|known| known == stem)
            })
        }
        _ => false,
    }
}

fn is_libc_header(first: &str) -> bool {
    LIBC_HEADER_DIRS.contains(&first)
        || first
            .strip_suffix(".h")
            .is_some_and(|stem| LIBC_HEADERS.split_whitespace().any(|known| known == stem))
}

pub(super) fn owners() -> io::Result<Owners> {
    let Ok(lists) = fs::read_dir(DPKG) else {
        return Ok(Owners::Guessed);
    };
    let mut owners = HashMap::new();
    for entry in lists {
        let path = entry?.path();
        let Some(package) = path
            .file_name()
            .and_then(|name| name.to_str()?.strip_suffix(".list"))
        else {
            continue;
        };
        let package = package.split(':').next().unwrap_or(package);
        let owner = match package {
            _ if TOOLCHAIN_PACKAGES
                .iter()
                .any(|start| package.starts_with(start)) =>
            {
                Owner::Toolchain
            }
            _ if package.ends_with("-dev") => Owner::Development,
            _ => Owner::Other,
        };
        for line in fs::read_to_string(&path)?.lines() {
            // dpkg still knows /lib by its old name on machines whose /usr is merged.
            let line = line
                .strip_prefix("/usr/")
                .or(line.strip_prefix('/'))
                .unwrap_or(line);
            let matters = owner == Owner::Development
                && !line.starts_with("share/doc/")
                && !line.starts_with("share/man/")
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
pub(super) fn is_link_file(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    name.starts_with("lib")
        && (name.ends_with(".so") || name.ends_with(".a") || name.ends_with(".la"))
        || name.ends_with(".pc")
        || path.iter().any(|part| part == "cmake")
}
