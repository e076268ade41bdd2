//! Packages as directories: each is unpacked once into `layers/<sha256>/usr`, and a set of them is merged once by hard
//! links into `layers/set-<hash>/usr`. Sole writer of `layers/`; remembers what is in use and what was used last, so
//! that room can be made. A layer counts when its file `complete` exists and was written since this boot or is known
//! to be on disk: nothing is synced while a build waits, and a power cut costs unpacking again.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Seek};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::base::Base;
pub use super::layer_writer::LayerWriter;
use super::merge;
use super::sandbox::Root;
pub use super::trash::discard;
use crate::fault::{Fault, Kind, Result};
use crate::id::Digest;
use crate::stone::layout::Node;
use crate::stone::package::Package;

/// What `layers/` is written as; part of the names of sets, so that a change makes new ones.
const SHAPE: &str = "massif set 1";

/// The layer cache of one state directory. Cheap to clone; one per state directory and process.
#[derive(Debug, Clone)]
pub struct Layers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state_dir: PathBuf,
    boot: String,
    known: Mutex<HashMap<String, Known>>,
    made: Condvar,
}

/// What is remembered of one directory below `layers/`.
#[derive(Debug, Default)]
struct Known {
    users: u32,
    being_made: bool,
    /// Its file `complete` was read and holds.
    whole: bool,
}

/// The file `complete` of a layer.
#[derive(Debug, Serialize, Deserialize)]
struct Complete {
    /// The boot in which it was written.
    boot: String,
    /// Everything in the layer was synced before this was written.
    on_disk: bool,
    bytes: u64,
    /// Of a set: its packages.
    packages: Vec<Digest>,
    warnings: Vec<String>,
}

/// The promise that a layer is not deleted while this lives.
#[derive(Debug)]
pub struct Pin {
    shared: Arc<Shared>,
    name: String,
}

impl Drop for Pin {
    fn drop(&mut self) {
        if let Some(known) = self.shared.known().get_mut(&self.name) {
            known.users = known.users.saturating_sub(1);
        }
    }
}

/// What a root is made of, and the promise that none of it is deleted while this lives.
#[derive(Debug)]
pub struct Held {
    /// For [`crate::build::sandbox::Spec`].
    pub root: Root,
    /// Oddities worth a line in the log, such as two packages with one path.
    pub warnings: Vec<String>,
    _pins: Vec<Pin>,
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.state_dir.join("layers").join(name)
    }

    fn read_complete(&self, name: &str) -> Option<Complete> {
        let bytes = fs::read(self.dir(name).join("complete")).ok()?;
        let complete: Complete = serde_json::from_slice(&bytes).ok()?;
        (complete.on_disk || complete.boot == self.boot).then_some(complete)
    }
}

pub(super) fn cannot(what: impl std::fmt::Display, error: io::Error) -> Fault {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Builder,
        io::ErrorKind::PermissionDenied => Kind::Operator,
        _ => Kind::Builder,
    };
    Fault::new(kind, format!("cannot {what}")).because(&error)
}

impl Layers {
    /// Opens the cache below `state_dir`, making directories as needed. Half-made layers are thrown away.
    pub fn open(state_dir: &Path) -> Result<Layers> {
        let dir = state_dir.join("layers");
        let opened = || -> io::Result<()> {
            fs::create_dir_all(&dir)?;
            // Readable for the sandbox's unprivileged id, whatever the host's umask is.
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
            for entry in fs::read_dir(&dir)? {
                let entry = entry?;
                if entry.file_name().as_encoded_bytes().starts_with(b"tmp-") {
                    discard(state_dir, &entry.path()).map_err(io::Error::other)?;
                }
            }
            Ok(())
        };
        opened().map_err(|e| cannot(format_args!("open {}", dir.display()), e))?;
        Ok(Layers {
            shared: Arc::new(Shared {
                state_dir: state_dir.to_owned(),
                boot: boot_id(),
                known: Mutex::default(),
                made: Condvar::new(),
            }),
        })
    }

    /// Whether this package is unpacked and whole.
    pub fn has(&self, package: &Digest) -> bool {
        self.pin(package).is_some()
    }

    /// Keeps this package if it is unpacked and whole.
    pub fn pin(&self, package: &Digest) -> Option<Pin> {
        self.pin_existing(&package.to_string())
    }

    /// Unpacks one package from its file unless it is there; blocking. A failure leaves nothing behind.
    /// The package stays while the pin lives.
    pub fn add_stone<R: Read + Seek>(&self, digest: &Digest, from: &mut R) -> Result<Pin> {
        self.add(digest, |writer| {
            let package = Package::read(from)?;
            let mut paths: HashMap<_, Vec<(&Path, bool)>> = HashMap::new();
            for entry in &package.layout {
                let path = Path::new(&entry.path);
                match &entry.node {
                    Node::Regular(hash) => {
                        let executable = entry.mode & 0o111 != 0;
                        paths.entry(*hash).or_default().push((path, executable));
                    }
                    Node::Symlink(target) => writer.symlink(path, target)?,
                    Node::Directory => writer.directory(path)?,
                    // A build has no use for these, and an unprivileged id cannot make them.
                    Node::CharDevice | Node::BlockDevice | Node::Fifo | Node::Socket => {}
                }
            }
            package.unpack(from, &mut |file, content| {
                let Some(((first, executable), others)) =
                    paths.get(&file.hash).and_then(|paths| paths.split_first())
                else {
                    return Ok(());
                };
                writer.file(first, *executable, content)?;
                others
                    .iter()
                    .try_for_each(|(path, executable)| writer.again(first, path, *executable))
            })
        })
    }

    /// Makes the layer of this name unless it is there; `unpack` writes its entries. Blocking.
    pub fn add(
        &self,
        package: &Digest,
        unpack: impl FnOnce(&mut LayerWriter) -> Result<()>,
    ) -> Result<Pin> {
        self.make(&package.to_string(), |dir| {
            let mut writer = LayerWriter::new(dir)?;
            unpack(&mut writer)?;
            Ok(Complete {
                boot: String::new(),
                on_disk: false,
                bytes: writer.bytes,
                packages: Vec::new(),
                warnings: Vec::new(),
            })
        })
    }

    /// The root of these packages, lowest first, over a base; blocking. All packages must have been added and be pinned
    /// until this returns.
    pub fn root(&self, base: &Base, packages: &[Digest]) -> Result<Held> {
        let below = base.below(&self.shared.state_dir)?;
        let mut hash = sha2::Sha256::new();
        hash.update(SHAPE);
        hash.update([0]);
        hash.update(&below.fingerprint);
        for package in packages {
            hash.update(package.0);
        }
        // 64 bits keep the mount's options short; a collision among some thousand sets is one in 10^13.
        let name = format!("set-{}", &Digest(hash.finalize().into()).to_string()[..16]);
        let pin = self.make(&name, |dir| {
            let layers = packages.iter().map(|package| self.usr_of(package));
            let merged = merge::merge(
                &dir.join("usr"),
                &layers.collect::<Result<Vec<_>>>()?,
                &below,
            )?;
            Ok(Complete {
                boot: String::new(),
                on_disk: false,
                bytes: merged.bytes,
                packages: packages.to_vec(),
                warnings: merged.warnings,
            })
        })?;
        let dir = self.shared.dir(&name);
        let warnings = self
            .shared
            .read_complete(&name)
            .map(|c| c.warnings)
            .unwrap_or_default();
        let mut usr = vec![dir.join("usr")];
        usr.extend(below.usr);
        let root = Root {
            usr,
            alternatives: below.alternatives,
            loader_cache: Some(dir.join("ld.so.cache")),
        };
        Ok(Held {
            root,
            warnings,
            _pins: vec![pin],
        })
    }

    fn usr_of(&self, package: &Digest) -> Result<PathBuf> {
        match self.has(package) {
            true => Ok(self.shared.dir(&package.to_string()).join("usr")),
            false => Err(Fault::bug(format!(
                "package {package} is wanted in a root and is not unpacked"
            ))),
        }
    }

    /// Syncs all layers at once and writes that down, so that they outlive a power cut. Blocking; for quiet times.
    pub fn seal(&self) -> Result<()> {
        let dir = self.shared.state_dir.join("layers");
        let sealed = || -> io::Result<()> {
            let names = names_below(&dir)?;
            let open: Vec<(String, Complete)> = names
                .into_iter()
                .filter_map(|name| Some((name.clone(), self.shared.read_complete(&name)?)))
                .filter(|(_, complete)| !complete.on_disk)
                .collect();
            if open.is_empty() {
                return Ok(());
            }
            rustix::fs::syncfs(fs::File::open(&dir)?)?;
            for (name, mut complete) in open {
                complete.on_disk = true;
                let used = used_at(&self.shared.dir(&name));
                write_complete(&self.shared.dir(&name), &complete)?;
                touch(&self.shared.dir(&name), used);
            }
            Ok(())
        };
        sealed().map_err(|e| cannot("sync the layers", e))
    }

    /// Deletes what was used longest ago and is not in use until this many bytes are on their way out; returns how many are.
    pub fn reclaim(&self, bytes: u64) -> Result<u64> {
        let dir = self.shared.state_dir.join("layers");
        let names = names_below(&dir).map_err(|e| cannot("look through the layers", e))?;
        let mut sets = Vec::new();
        let mut all: Vec<(SystemTime, String, u64)> = Vec::new();
        for name in names {
            let complete = self.shared.read_complete(&name);
            let used = used_at(&self.shared.dir(&name));
            if let Some(complete) = complete.as_ref().filter(|_| name.starts_with("set-")) {
                sets.push((name.clone(), complete.packages.clone()));
            }
            all.push((used, name, complete.map_or(0, |complete| complete.bytes)));
        }
        all.sort();
        let mut freed = 0;
        for (_, name, size) in all {
            if freed >= bytes {
                break;
            }
            // Links in a set keep a package's bytes: the sets go with it, or, if one is in use, it stays.
            let package: Option<Digest> = name.parse().ok();
            let holders = sets
                .iter()
                .filter(|(_, has)| package.is_some_and(|p| has.contains(&p)));
            let mut doomed: Vec<&str> = holders.map(|(set, _)| set.as_str()).collect();
            doomed.push(&name);
            if self.remove_all(&doomed)? {
                freed += size;
            }
        }
        Ok(freed)
    }

    /// Bytes of packages that `reclaim` could delete now: of those in no set that is in use.
    pub fn idle_bytes(&self) -> u64 {
        let dir = self.shared.state_dir.join("layers");
        let names = names_below(&dir).unwrap_or_default();
        let all: Vec<(String, Complete)> = names
            .into_iter()
            .filter_map(|name| Some((name.clone(), self.shared.read_complete(&name)?)))
            .collect();
        let known = self.shared.known();
        let busy = |name: &String| known.get(name).is_some_and(|known| known.users > 0);
        let held: std::collections::HashSet<String> = all
            .iter()
            .filter(|(name, _)| busy(name))
            .flat_map(|(_, complete)| complete.packages.iter().map(ToString::to_string))
            .collect();
        let idle = all
            .iter()
            .filter(|(name, _)| !name.starts_with("set-") && !busy(name) && !held.contains(name));
        idle.map(|(_, complete)| complete.bytes).sum()
    }

    /// Removes all of these, or none if one is in use.
    fn remove_all(&self, names: &[&str]) -> Result<bool> {
        let mut known = self.shared.known();
        let busy = |name: &&str| {
            known
                .get(*name)
                .is_some_and(|known| known.users > 0 || known.being_made)
        };
        if names.iter().any(busy) {
            return Ok(false);
        }
        for name in names {
            known.remove(*name);
            if self.shared.dir(name).exists() {
                discard(&self.shared.state_dir, &self.shared.dir(name))?;
            }
        }
        Ok(true)
    }

    fn pin_existing(&self, name: &str) -> Option<Pin> {
        let mut all = self.shared.known();
        let whole = match all.get(name) {
            Some(known) if known.being_made => false,
            Some(known) if known.whole => true,
            _ => self.shared.read_complete(name).is_some(),
        };
        if !whole {
            return None;
        }
        let known = all.entry(name.to_string()).or_default();
        known.whole = true;
        known.users += 1;
        drop(all);
        touch(&self.shared.dir(name), SystemTime::now());
        Some(Pin {
            shared: Arc::clone(&self.shared),
            name: name.to_string(),
        })
    }

    /// The layer of this name, made by `fill` if need be: in a directory beside, renamed when it is whole. Of several
    /// callers one makes it and the others wait.
    fn make(&self, name: &str, fill: impl FnOnce(&Path) -> Result<Complete>) -> Result<Pin> {
        loop {
            if let Some(pin) = self.pin_existing(name) {
                return Ok(pin);
            }
            let mut all = self.shared.known();
            let known = all.entry(name.to_string()).or_default();
            if !known.being_made && !known.whole {
                known.being_made = true;
                break;
            }
            drop(self.shared.made.wait_timeout(all, Duration::from_secs(1)));
        }
        let done = self.fill(name, fill);
        if let Some(known) = self.shared.known().get_mut(name) {
            known.being_made = false;
        }
        self.shared.made.notify_all();
        done?;
        self.pin_existing(name)
            .ok_or_else(|| Fault::bug(format!("layer {name} vanished while it was made")))
    }

    fn fill(&self, name: &str, fill: impl FnOnce(&Path) -> Result<Complete>) -> Result<()> {
        let target = self.shared.dir(name);
        let made = |e| cannot(format_args!("make layer {name}"), e);
        let temporary = tempfile::Builder::new()
            .prefix("tmp-")
            .tempdir_in(self.shared.state_dir.join("layers"))
            .map_err(made)?
            .keep();
        let finish = || -> Result<()> {
            fs::set_permissions(&temporary, fs::Permissions::from_mode(0o755)).map_err(made)?;
            let mut complete = fill(&temporary)?;
            complete.boot.clone_from(&self.shared.boot);
            write_complete(&temporary, &complete).map_err(made)?;
            if target.exists() {
                discard(&self.shared.state_dir, &target)?; // of an earlier boot, never synced
            }
            fs::rename(&temporary, &target).map_err(made)
        };
        finish().inspect_err(|_| {
            // What cannot be moved away now is moved away when the host starts again.
            let _ = discard(&self.shared.state_dir, &temporary);
        })
    }
}

/// The id of this boot; unknown is an id that no layer was written under.
fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_string())
        .unwrap_or_else(|_| format!("unknown {:?}", SystemTime::now()))
}

fn names_below(dir: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(dir)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .filter(|name| !name.as_ref().is_ok_and(|name| name.starts_with("tmp-")))
        .collect()
}

fn write_complete(dir: &Path, complete: &Complete) -> io::Result<()> {
    let bytes = serde_json::to_vec(complete)?;
    fs::write(dir.join("complete.new"), bytes)?;
    fs::rename(dir.join("complete.new"), dir.join("complete"))
}

/// When a layer was used last: the time of its `complete`.
fn used_at(dir: &Path) -> SystemTime {
    fs::metadata(dir.join("complete"))
        .and_then(|meta| meta.modified())
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

fn touch(dir: &Path, at: SystemTime) {
    // A time that cannot be set makes the layer look older than it is, which costs an unpacking at worst.
    let _ = fs::File::open(dir.join("complete")).and_then(|file| file.set_modified(at));
}
