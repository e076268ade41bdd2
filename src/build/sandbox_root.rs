//! The file system of a sandbox: a small tmpfs as `/`, an overlay without an upper directory as `/usr`, a minimal
//! `/dev`, fresh `/proc`, and the binds. `/usr` is not writable for anybody: it has the same owner and the same refusal
//! as root and as an ordinary user, and needs neither work directories nor a file system that can hold an upper.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount,
    fsopen, mount_change, move_mount, open_tree, unmount,
};

use super::sandbox::{Bind, Root, Spec};
use crate::fault::{Fault, Kind, Result};

/// The name of every build's host.
pub(super) const HOST_NAME: &str = "massif";
/// Where the new root is put together: any directory of the old one that is always there.
const NEW_ROOT: &str = "/tmp";
/// `/` holds links, `/etc` and what a build puts beside its directories; its real data lies in binds.
const ROOT_BYTES_MAX: &str = "268435456";
/// `/dev/shm`, for test suites that want shared memory.
const SHM_BYTES_MAX: &str = "1073741824";
/// An index of the loader that is larger is not ours.
const LOADER_CACHE_BYTES_MAX: u64 = 8 * 1024 * 1024;

pub(super) fn cannot(what: impl std::fmt::Display, error: io::Error) -> Fault {
    let kind = match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EMFILE | libc::ENFILE | libc::ENOMEM) => Kind::TryAgain,
        _ => Kind::Builder,
    };
    let fault = Fault::new(kind, format!("cannot make a build root: {what}")).because(&error);
    match error.raw_os_error() {
        Some(libc::EPERM) => fault.next(super::probe::namespaces_cure()),
        _ => fault,
    }
}

/// Makes the root and moves into it. The working directory is the state directory, and paths below it are relative.
pub(super) fn enter(spec: &Spec) -> Result<()> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    // The first thing that a security module refuses which lets namespaces be made and nothing be done in them.
    mount_change("/", private).map_err(|e| {
        cannot("make mounts private", e.into()).next(super::probe::namespaces_cure())
    })?;
    let new = Path::new(NEW_ROOT);
    let root = make_fs(
        "tmpfs",
        &[
            ("size", ROOT_BYTES_MAX),
            ("nr_inodes", "262144"),
            ("mode", "755"),
        ],
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV,
    )?;
    attach(&root, new)?;
    make_directories(new)?;
    mount_usr(spec, new)?;
    make_links(new)?;
    write_etc(spec, new)?;
    mount_dev(new)?;
    mount_proc(new)?;
    for bind in &spec.binds {
        mount_bind(&spec.state_dir, bind, new)?;
    }
    let moved = || -> io::Result<()> {
        std::env::set_current_dir(new)?;
        rustix::process::pivot_root(".", ".")?;
        unmount(".", UnmountFlags::DETACH)?;
        std::env::set_current_dir("/")
    };
    moved().map_err(|e| cannot("move into it", e))
}

/// A path as the helper reaches it: its working directory is the state directory, whose parents may be private.
pub(super) fn reach(state_dir: &Path, path: &Path) -> PathBuf {
    match path.strip_prefix(state_dir) {
        Ok(rest) if rest.as_os_str().is_empty() => PathBuf::from("."),
        Ok(rest) => rest.to_owned(),
        Err(_) => path.to_owned(),
    }
}

fn make_fs(kind: &str, options: &[(&str, &str)], flags: MountAttrFlags) -> Result<OwnedFd> {
    let made = || -> io::Result<OwnedFd> {
        let fs = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (key, value) in options {
            fsconfig_set_string(fs.as_fd(), *key, *value)?;
        }
        fsconfig_create(fs.as_fd())?;
        Ok(fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags)?)
    };
    made().map_err(|e| cannot(format_args!("mount {kind}"), e))
}

fn attach(mount: &OwnedFd, to: &Path) -> Result<()> {
    move_mount(mount, "", CWD, to, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(|e| cannot(format_args!("mount {}", shown(to)), e.into()))
}

fn shown(path: &Path) -> std::path::Display<'_> {
    path.strip_prefix(NEW_ROOT).unwrap_or(path).display()
}

fn make_directories(new: &Path) -> Result<()> {
    let plain = [
        "dev",
        "etc",
        "mason",
        "proc",
        "run",
        "usr",
        "var",
        "var/cache",
        "var/lib",
        "var/log",
    ];
    let made = || -> io::Result<()> {
        for name in plain {
            fs::create_dir(new.join(name))?;
        }
        for (name, mode) in [("root", 0o700), ("tmp", 0o1777), ("var/tmp", 0o1777)] {
            fs::create_dir(new.join(name))?;
            fs::set_permissions(new.join(name), fs::Permissions::from_mode(mode))?;
        }
        symlink("../run", new.join("var/run"))
    };
    made().map_err(|e| cannot("make its directories", e))
}

/// `/bin` and its like, as far as `/usr` has what they stand for.
fn make_links(new: &Path) -> Result<()> {
    for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
        let in_usr = new.join("usr").join(name);
        let target = match (name, in_usr.exists()) {
            (_, true) => format!("usr/{name}"),
            ("lib64", false) => "usr/lib".to_string(),
            ("sbin", false) => "usr/bin".to_string(),
            _ => continue,
        };
        symlink(target, new.join(name)).map_err(|e| cannot(format_args!("link /{name}"), e))?;
    }
    Ok(())
}

fn mount_usr(spec: &Spec, new: &Path) -> Result<()> {
    let Root { usr, .. } = &spec.root;
    let lowers: Vec<PathBuf> = usr.iter().map(|dir| reach(&spec.state_dir, dir)).collect();
    let to = new.join("usr");
    for lower in &lowers {
        fs::metadata(lower).map_err(|e| {
            cannot(format_args!("look into {}", lower.display()), e).next(
                "let others search the directories above it (chmod o+x), or keep it below the state directory",
            )
        })?;
    }
    match lowers.as_slice() {
        [] => Ok(()),
        [only] => bind(only, &to, false),
        many => attach(&overlay(many)?, &to),
    }
}

fn overlay(lowers: &[PathBuf]) -> Result<OwnedFd> {
    let flags = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV;
    let open = || -> io::Result<OwnedFd> {
        let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        // The only form of opaque marks that a user namespace may read, so the same form for root.
        fsconfig_set_flag(fs.as_fd(), "userxattr")?;
        Ok(fs)
    };
    let made = || -> io::Result<OwnedFd> {
        let mut fs = open()?;
        for (at, lower) in lowers.iter().enumerate() {
            match fsconfig_set_string(fs.as_fd(), "lowerdir+", lower) {
                Ok(()) => {}
                // Kernels before 6.8 take one string of at most 255 bytes; our names are short and relative.
                Err(rustix::io::Errno::INVAL) if at == 0 => {
                    fs = open()?;
                    let all: Vec<&str> = lowers.iter().filter_map(|dir| dir.to_str()).collect();
                    fsconfig_set_string(fs.as_fd(), "lowerdir", all.join(":"))?;
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        fsconfig_create(fs.as_fd())?;
        Ok(fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags)?)
    };
    made().map_err(|error| overlay_fault(error, lowers))
}

fn overlay_fault(error: io::Error, lowers: &[PathBuf]) -> Fault {
    let below = mounts_below_usr();
    let code = error.raw_os_error();
    let fault = cannot(
        format_args!("overlay {} directories as /usr", lowers.len()),
        error,
    );
    match code {
        Some(libc::EINVAL) if !below.is_empty() => fault.next(format!(
            "unmount {}, or run massif as root: an ordinary user cannot overlay a /usr that holds mounts",
            below.join(" ")
        )),
        Some(libc::ENODEV) => fault.next("load the kernel module overlay"),
        Some(libc::EPERM | libc::EINVAL) => {
            fault.next("use a kernel of 5.11 or later that allows overlay in user namespaces, and see massif doctor")
        }
        _ => fault,
    }
}

/// Mount points below `/usr`, deepest first.
pub(super) fn mounts_below_usr() -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut below: Vec<String> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|point| point.starts_with("/usr/"))
        .map(|point| point.replace("\\040", " "))
        .collect();
    below.sort();
    below.reverse();
    below
}

/// Binds one directory or file; everything but its name and contents is taken from it, and writing unless asked for.
fn bind(from: &Path, to: &Path, writable: bool) -> Result<()> {
    let tree = open_tree(
        CWD,
        from,
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
    )
    .map_err(|e| cannot(format_args!("bind {}", from.display()), e.into()))?;
    let mut set = libc::MOUNT_ATTR_NOSUID;
    if !writable {
        set |= libc::MOUNT_ATTR_RDONLY;
    }
    if !from.starts_with("/dev") {
        set |= libc::MOUNT_ATTR_NODEV;
    }
    set_attributes(&tree, set).map_err(|e| cannot(format_args!("restrict {}", shown(to)), e))?;
    attach(&tree, to)
}

fn set_attributes(mount: &OwnedFd, set: u64) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the descriptor is open, the path is an empty C string, and the structure lives through the call and has
    // the size that is passed with it.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn mount_bind(state_dir: &Path, wanted: &Bind, new: &Path) -> Result<()> {
    let inside = wanted.to.strip_prefix("/").unwrap_or(&wanted.to);
    if inside
        .components()
        .any(|part| !matches!(part, Component::Normal(_)))
    {
        return Err(Fault::bug(format!(
            "a bind to {} would leave the build root",
            wanted.to.display()
        )));
    }
    let to = new.join(inside);
    let from = reach(state_dir, &wanted.from);
    let made = || -> io::Result<()> {
        if fs::metadata(&from)?.is_dir() {
            fs::create_dir_all(&to)
        } else {
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent)?;
            }
            // What is there already may lie in a file system that takes no writing.
            match fs::symlink_metadata(&to) {
                Ok(meta) if meta.is_file() => Ok(()),
                _ => fs::OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(&to)
                    .map(drop),
            }
        }
    };
    made().map_err(|e| cannot(format_args!("bind {}", wanted.from.display()), e))?;
    bind(&from, &to, wanted.writable)?;
    if wanted.writable && inside == Path::new("tmp") {
        let sticky = fs::Permissions::from_mode(0o1777);
        fs::set_permissions(&to, sticky).map_err(|e| cannot("open /tmp for all", e))?;
    }
    Ok(())
}

fn mount_dev(new: &Path) -> Result<()> {
    let dev = new.join("dev");
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        let node = dev.join(name);
        fs::File::create(&node).map_err(|e| cannot(format_args!("make /dev/{name}"), e))?;
        bind(&Path::new("/dev").join(name), &node, true)?;
    }
    let links = [
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
        ("pts/ptmx", "ptmx"),
    ];
    let made = || -> io::Result<()> {
        for (target, name) in links {
            symlink(target, dev.join(name))?;
        }
        fs::create_dir(dev.join("pts"))?;
        fs::create_dir(dev.join("shm"))
    };
    made().map_err(|e| cannot("make /dev", e))?;
    let quiet = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let terminals = make_fs("devpts", &[("ptmxmode", "0666"), ("mode", "0620")], quiet)?;
    attach(&terminals, &dev.join("pts"))?;
    let shared = make_fs(
        "tmpfs",
        &[("size", SHM_BYTES_MAX), ("mode", "1777")],
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV,
    )?;
    attach(&shared, &dev.join("shm"))
}

fn mount_proc(new: &Path) -> Result<()> {
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let proc = make_fs("proc", &[], flags).map_err(|fault| {
        fault.next(
            "this container hides parts of /proc, so the kernel allows no new one: \
             start it with `--security-opt systempaths=unconfined`, or run massif on the machine itself",
        )
    })?;
    attach(&proc, &new.join("proc"))
}

/// Directories of the loader beside its built-in ones, ours first. Multiarch directories are read off the root itself.
fn loader_directories(new: &Path) -> String {
    let mut text = String::from("/usr/lib\n");
    if fs::symlink_metadata(new.join("usr/lib64")).is_ok_and(|meta| meta.is_dir()) {
        text.push_str("/usr/lib64\n");
    }
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    if new.join("usr/lib").join(&triplet).is_dir() {
        text.push_str(&format!("/usr/lib/{triplet}\n"));
    }
    text
}

fn write_etc(spec: &Spec, new: &Path) -> Result<()> {
    let etc = new.join("etc");
    let files = [
        (
            "passwd",
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n".to_string(),
        ),
        (
            "group",
            "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n".to_string(),
        ),
        (
            "hosts",
            format!("127.0.0.1 localhost {HOST_NAME}\n::1 localhost {HOST_NAME}\n"),
        ),
        ("hostname", format!("{HOST_NAME}\n")),
        (
            "nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n"
                .to_string(),
        ),
        ("ld.so.conf", loader_directories(new)),
        ("shells", "/bin/sh\n/bin/bash\n".to_string()),
    ];
    let made = || -> io::Result<()> {
        for (name, text) in files {
            fs::write(etc.join(name), text)?;
        }
        symlink("../usr/share/zoneinfo/UTC", etc.join("localtime"))?;
        symlink("../proc/self/mounts", etc.join("mtab"))?;
        if let Some(cache) = &spec.root.loader_cache {
            let cache = reach(&spec.state_dir, cache);
            if fs::metadata(&cache).is_ok_and(|meta| meta.len() <= LOADER_CACHE_BYTES_MAX) {
                fs::copy(cache, etc.join("ld.so.cache"))?;
            }
        }
        Ok(())
    };
    made().map_err(|e| cannot("write /etc", e))?;
    if let Some(alternatives) = &spec.root.alternatives {
        bind_at(alternatives, &etc.join("alternatives"))?;
    }
    if spec.network {
        network_files(&etc)?;
    }
    Ok(())
}

fn bind_at(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to).map_err(|e| cannot(format_args!("make {}", shown(to)), e))?;
    bind(from, to, false)
}

/// Name resolution and certificates of the host, for recipes that ask for the network.
fn network_files(etc: &Path) -> Result<()> {
    for name in ["resolv.conf", "services", "protocols"] {
        let from = Path::new("/etc").join(name);
        if from.exists() {
            fs::copy(&from, etc.join(name))
                .map_err(|e| cannot(format_args!("copy /etc/{name}"), e))?;
        }
    }
    for name in [
        "ssl/certs",
        "ca-certificates",
        "pki/tls/certs",
        "pki/ca-trust/extracted",
    ] {
        let from = Path::new("/etc").join(name);
        let to = etc.join(name);
        if from.is_dir() {
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent).map_err(|e| cannot("make /etc/ssl", e))?;
            }
            bind_at(&from, &to)?;
        }
    }
    Ok(())
}
