//! Writes members of an archive below one directory and nowhere else: every step goes through directory descriptors
//! that follow no link, so neither `..` nor a planted link can lead out.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, AtFlags, CWD, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::{Stop, Unpack, Unpacked};
use crate::fault::{Fault, Kind};

type Done<T = ()> = Result<T, Stop>;

pub(in crate::build) struct Tree<'a> {
    root: OwnedFd,
    /// The directory that the last member went into, as most members follow their neighbours.
    here: Option<(String, OwnedFd)>,
    what: &'a Unpack<'a>,
    told: &'a mut dyn FnMut(u64) -> bool,
    count: Unpacked,
    /// Modes and times of directories are set last: writing into them changes the one and may need the other.
    directories: Vec<(String, u32, Option<i64>)>,
}

const OPEN_DIR: OFlags = OFlags::DIRECTORY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::RDONLY);

fn host(error: Errno) -> Stop {
    Stop::Host(error.into())
}

impl<'a> Tree<'a> {
    pub(in crate::build) fn new(
        what: &'a Unpack<'a>,
        told: &'a mut dyn FnMut(u64) -> bool,
    ) -> crate::fault::Result<Tree<'a>> {
        let fault = |error: &dyn std::error::Error| {
            Fault::new(
                Kind::Builder,
                format!("cannot make {}", what.into.display()),
            )
            .because(error)
            .next("look at the disk of this builder and at the rights of its directory")
        };
        std::fs::create_dir_all(what.into).map_err(|error| fault(&error))?;
        let root =
            fs::openat(CWD, what.into, OPEN_DIR, Mode::empty()).map_err(|error| fault(&error))?;
        own(&root, "", what.owner, true).map_err(|error| fault(&error))?;
        Ok(Tree {
            root,
            here: None,
            what,
            told,
            count: Unpacked::default(),
            directories: Vec::new(),
        })
    }

    /// A member's path after stripping; `None` when nothing is left of it.
    fn place(&mut self, name: &str) -> Done<Option<String>> {
        self.count.entries += 1;
        if self.count.entries > self.what.entries_max {
            return Err(Stop::TooMuch(format!(
                "it holds more than {} members",
                self.what.entries_max
            )));
        }
        if !(self.told)(self.count.bytes) {
            return Err(Stop::Cancelled);
        }
        self.stripped(name)
    }

    fn stripped(&self, name: &str) -> Done<Option<String>> {
        if name.starts_with('/') {
            return Err(Stop::Hostile(format!(
                "member {name:?} has an absolute path"
            )));
        }
        if name.contains('\0') || name.len() > 4096 {
            return Err(Stop::Hostile(format!(
                "member {:?} has no usable path",
                &name.chars().take(80).collect::<String>()
            )));
        }
        // A leading `.` counts as a component, as it does for the tar that recipes were written with.
        let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty()).collect();
        if parts.contains(&"..") {
            return Err(Stop::Hostile(format!(
                "member {name:?} climbs out with `..`"
            )));
        }
        let rest: Vec<&str> = parts
            .into_iter()
            .skip(self.what.strip_dirs as usize)
            .filter(|part| *part != ".")
            .collect();
        Ok(if rest.is_empty() {
            None
        } else {
            Some(rest.join("/"))
        })
    }

    /// The open parent of this path, made as needed, and the last component.
    fn parent<'p>(&mut self, path: &'p str) -> Done<&'p str> {
        let (parent, leaf) = path.rsplit_once('/').unwrap_or(("", path));
        if self.here.as_ref().is_none_or(|(at, _)| at != parent) {
            let fd = self.walk(parent)?;
            self.here = Some((parent.to_owned(), fd));
        }
        Ok(leaf)
    }

    fn at(&self) -> &OwnedFd {
        self.here.as_ref().map_or(&self.root, |(_, fd)| fd)
    }

    /// Opens a directory below the root, making what is missing, following no link.
    fn walk(&self, path: &str) -> Done<OwnedFd> {
        let mut fd = self.root.try_clone().map_err(Stop::Host)?;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            match fs::mkdirat(&fd, part, Mode::from_raw_mode(0o755)) {
                Ok(()) => own(&fd, part, self.what.owner, false).map_err(host)?,
                Err(Errno::EXIST) => {}
                Err(error) => return Err(host(error)),
            }
            fd = match fs::openat(&fd, part, OPEN_DIR, Mode::empty()) {
                Ok(next) => next,
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    return Err(Stop::Hostile(format!(
                        "a member goes through {path:?}, which is no directory"
                    )));
                }
                Err(error) => return Err(host(error)),
            };
        }
        Ok(fd)
    }

    pub(in crate::build) fn directory(&mut self, name: &str, mode: u32, time: Option<i64>) -> Done {
        let Some(path) = self.place(name)? else {
            return Ok(());
        };
        self.walk(&path)?;
        self.directories.push((path, mode, time));
        Ok(())
    }

    pub(in crate::build) fn file(
        &mut self,
        name: &str,
        mode: u32,
        time: Option<i64>,
        from: &mut dyn Read,
    ) -> Done {
        let Some(path) = self.place(name)? else {
            return Ok(());
        };
        let leaf = self.parent(&path)?;
        self.make_room(leaf)?;
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = fs::openat(self.at(), leaf, flags, Mode::from_raw_mode(0o600)).map_err(host)?;
        let mut file = File::from(fd);
        self.copy(from, &mut file)?;
        if let Some((uid, gid)) = self.what.owner {
            std::os::unix::fs::fchown(&file, Some(uid), Some(gid)).map_err(Stop::Host)?;
        }
        // The build's user may change its sources, as root may in the tool that recipes were written for.
        fs::fchmod(&file, Mode::from_raw_mode(mode & 0o777 | 0o600)).map_err(host)?;
        if let Some(time) = time {
            fs::futimens(&file, &stamps(time)).map_err(host)?;
        }
        Ok(())
    }

    fn copy(&mut self, from: &mut dyn Read, to: &mut File) -> Done {
        let mut buffer = [0; 64 * 1024];
        loop {
            let read = match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Stop::Io(error)),
            };
            self.count.bytes += read as u64;
            if self.count.bytes > self.what.bytes_max {
                return Err(Stop::TooMuch(format!(
                    "it holds more than {} bytes",
                    self.what.bytes_max
                )));
            }
            if !(self.told)(self.count.bytes) {
                return Err(Stop::Cancelled);
            }
            to.write_all(buffer.get(..read).unwrap_or_default())
                .map_err(Stop::Host)?;
        }
    }

    pub(in crate::build) fn symlink(&mut self, name: &str, to: &str, time: Option<i64>) -> Done {
        let Some(path) = self.place(name)? else {
            return Ok(());
        };
        if to.is_empty() || leaves(&path, to) {
            return Err(Stop::Hostile(format!(
                "link {name:?} leads out of the tree to {to:?}"
            )));
        }
        let leaf = self.parent(&path)?;
        self.make_room(leaf)?;
        fs::symlinkat(to, self.at(), leaf).map_err(host)?;
        own(self.at(), leaf, self.what.owner, false).map_err(host)?;
        if let Some(time) = time {
            fs::utimensat(self.at(), leaf, &stamps(time), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(host)?;
        }
        Ok(())
    }

    pub(in crate::build) fn hard_link(&mut self, name: &str, to: &str) -> Done {
        let Some(path) = self.place(name)? else {
            return Ok(());
        };
        let Some(source) = self.stripped(to)? else {
            return Err(Stop::Hostile(format!(
                "hard link {name:?} leads out of the tree to {to:?}"
            )));
        };
        if source == path {
            return Ok(());
        }
        let (parent, leaf_source) = source.rsplit_once('/').unwrap_or(("", &source));
        let from = self.walk(parent)?;
        let leaf = self.parent(&path)?;
        self.make_room(leaf)?;
        match fs::linkat(&from, leaf_source, self.at(), leaf, AtFlags::empty()) {
            Ok(()) => Ok(()),
            Err(Errno::NOENT) => Err(Stop::Hostile(format!(
                "hard link {name:?} leads to {to:?}, which came not before it"
            ))),
            Err(error) => Err(host(error)),
        }
    }

    /// The last of several members of one name counts. A directory stays.
    fn make_room(&self, leaf: &str) -> Done {
        match fs::unlinkat(self.at(), leaf, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => Err(Stop::Hostile(format!(
                "{leaf:?} is a directory and a file at once"
            ))),
            Err(error) => Err(host(error)),
        }
    }

    pub(in crate::build) fn finish(mut self) -> Done<Unpacked> {
        for (path, mode, time) in std::mem::take(&mut self.directories).into_iter().rev() {
            let fd = self.walk(&path)?;
            fs::fchmod(&fd, Mode::from_raw_mode(mode & 0o777 | 0o700)).map_err(host)?;
            if let Some(time) = time {
                fs::futimens(&fd, &stamps(time)).map_err(host)?;
            }
        }
        Ok(self.count)
    }
}

/// Gives a file to the build's user. `itself`: the descriptor's own file, else `name` in it.
fn own(at: impl AsFd, name: &str, owner: super::Owner, itself: bool) -> Result<(), Errno> {
    let Some((uid, gid)) = owner else {
        return Ok(());
    };
    let flags = if itself {
        AtFlags::EMPTY_PATH
    } else {
        AtFlags::SYMLINK_NOFOLLOW
    };
    let (uid, gid) = (
        rustix::fs::Uid::from_raw(uid),
        rustix::fs::Gid::from_raw(gid),
    );
    fs::chownat(at, name, Some(uid), Some(gid), flags)
}

fn stamps(time: i64) -> Timestamps {
    let moment = Timespec {
        tv_sec: time,
        tv_nsec: 0,
    };
    Timestamps {
        last_access: moment,
        last_modification: moment,
    }
}

/// Whether a link at `path` with this text leads above the tree, read from left to right without following links.
fn leaves(path: &str, to: &str) -> bool {
    if to.starts_with('/') {
        return true;
    }
    let mut depth = path.split('/').count() as i64 - 1;
    to.split('/').any(|part| {
        match part {
            "" | "." => {}
            ".." => depth -= 1,
            _ => depth += 1,
        }
        depth < 0
    })
}
