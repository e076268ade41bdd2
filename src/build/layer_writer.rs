//! Writes the entries of one package below a new layer's `usr`, and never through or to anything that it did not make.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::layers::cannot;
use crate::fault::{Fault, Kind, Result};

/// Every file of a layer has this time, whenever it was unpacked: 1980-01-02, the first day that zip can write in any zone.
const FILE_TIME_S: u64 = 315_619_200;
/// Entries of one package; the largest real one has 120,000.
const ENTRIES_MAX: u64 = 4_000_000;

/// Where the entries of one package are written to while it is unpacked. Paths are relative to `usr`; parents are made.
#[derive(Debug)]
pub struct LayerWriter {
    usr: PathBuf,
    /// Directories that this writer made: nothing is ever written through anything else.
    directories: HashSet<PathBuf>,
    entries: u64,
    pub(super) bytes: u64,
}

impl LayerWriter {
    pub(super) fn new(dir: &Path) -> Result<LayerWriter> {
        let usr = dir.join("usr");
        let mut writer = LayerWriter {
            usr,
            directories: HashSet::new(),
            entries: 0,
            bytes: 0,
        };
        writer.make_directory(PathBuf::new())?;
        Ok(writer)
    }

    /// A directory.
    pub fn directory(&mut self, path: &Path) -> Result<()> {
        self.parents(path)?;
        if self.directories.contains(path) {
            return Ok(());
        }
        self.make_directory(path.to_owned())
    }

    /// A regular file; its mode becomes 0755 or 0644, readable for the sandbox. The package's own modes live in its layout.
    pub fn file(&mut self, path: &Path, executable: bool, content: &mut dyn Read) -> Result<()> {
        self.parents(path)?;
        let mut write = || -> io::Result<u64> {
            let mut options = fs::OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(self.usr.join(path))?;
            let bytes = io::copy(content, &mut file)?;
            let mode = if executable { 0o755 } else { 0o644 };
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(FILE_TIME_S);
            file.set_times(fs::FileTimes::new().set_modified(time).set_accessed(time))?;
            Ok(bytes)
        };
        self.bytes += write().map_err(|e| cannot(format_args!("unpack {}", path.display()), e))?;
        Ok(())
    }

    /// A regular file with the content of one that was written before.
    pub(super) fn again(&mut self, first: &Path, path: &Path, executable: bool) -> Result<()> {
        let first = self.usr.join(first);
        let same =
            fs::metadata(&first).is_ok_and(|m| (m.permissions().mode() & 0o111 != 0) == executable);
        if same {
            self.parents(path)?;
            match fs::hard_link(&first, self.usr.join(path)) {
                Ok(()) => return Ok(()),
                Err(error) if error.raw_os_error() == Some(libc::EMLINK) => {}
                Err(error) => return Err(cannot(format_args!("unpack {}", path.display()), error)),
            }
        }
        let mut content = fs::File::open(&first).map_err(|e| cannot("read a layer", e))?;
        self.file(path, executable, &mut content)
    }

    /// A symbolic link.
    pub fn symlink(&mut self, path: &Path, target: &str) -> Result<()> {
        self.parents(path)?;
        symlink(target, self.usr.join(path))
            .map_err(|e| cannot(format_args!("unpack {}", path.display()), e))
    }

    fn parents(&mut self, path: &Path) -> Result<()> {
        let unsafe_path = || {
            Fault::new(
                Kind::Upstream,
                format!("a package has the unsafe path {}", path.display()),
            )
            .next("look at the package where it was published")
        };
        self.entries += 1;
        let normal = |part: Component<'_>| matches!(part, Component::Normal(_));
        if self.entries > ENTRIES_MAX
            || path.as_os_str().is_empty()
            || !path.components().all(normal)
        {
            return Err(unsafe_path());
        }
        let parent = path.parent().unwrap_or(Path::new(""));
        if self.directories.contains(parent) {
            return Ok(());
        }
        let mut at = PathBuf::new();
        for part in parent.components() {
            at.push(part);
            if !self.directories.contains(&at) {
                self.make_directory(at.clone())?;
            }
        }
        Ok(())
    }

    fn make_directory(&mut self, path: PathBuf) -> Result<()> {
        let dir = self.usr.join(&path);
        let made = fs::create_dir(&dir)
            .and_then(|()| fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)));
        made.map_err(|e| cannot(format_args!("unpack directory {}", path.display()), e))?;
        self.directories.insert(path);
        Ok(())
    }
}
