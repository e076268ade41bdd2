//! A compiler cache in a build: found in the build root, seen inside with a directory of its profile, trust and slot, and read
//! afterwards. Its absence is said and nothing more. Comparisons and measurements have none.

use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use super::blame::Ended;
use super::prepare::{self, Places};
use super::run::Run;
use crate::build::sandbox::{Bind, Root};
use crate::fault::Result;
use crate::id::ProfileName;
use crate::model::cache::{CacheProgram, CacheSpec, CacheState, ccache_counts};

/// Where the real compilers are found by the cache, where it is itself, and what it reads: every call of it, whatever its
/// environment.
const COMPILERS: &str = "/mason/scripts/compilers";
const INSIDE: &str = "/mason/cache";
const SETTINGS: &str = "/etc/ccache.conf";
/// Compilers that are served, where the build root has them.
const NAMES: [&str; 6] = ["cc", "c++", "gcc", "g++", "clang", "clang++"];
/// Before the name of a compiler that is no link, where the cache has its place.
const ASIDE: &str = "massif.";
/// Links from one name of a compiler to the next.
const LINKS_MAX: usize = 16;
/// What the program notes each call in.
const CALLS: &str = "massif-calls";
/// Files that are counted.
const FILES_MAX: u64 = 1_000_000;

/// Where caches lie on this host.
pub fn caches(state_dir: &Path) -> PathBuf {
    state_dir.join("caches")
}

/// A cache that one build uses. Compilers have the paths that they have without it, so that what writes one down comes out the
/// same: the cache lies in their place, and they beside it.
#[derive(Clone)]
pub(super) struct Cached {
    dir: PathBuf,
    spec: CacheSpec,
    /// What lies above the build root.
    above: PathBuf,
    binds: Vec<Bind>,
}

impl Cached {
    /// The build root and the binds of a build that uses it.
    pub(super) fn seen_in(&self, root: &mut Root, binds: &mut Vec<Bind>) {
        root.usr.insert(0, self.above.clone());
        binds.extend(self.binds.iter().cloned());
    }

    /// What steps have in their environment beside what they have anyway; `counts`: what they compile is the recipe's.
    pub(super) fn environment(&self, counts: bool) -> Vec<(String, String)> {
        let off = (!counts).then_some(("CCACHE_DISABLE", "1"));
        let all = [("CCACHE_CONFIGPATH", SETTINGS)].into_iter().chain(off);
        all.map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    /// What it did in this build, and how large it is now. Blocks: there may be many files.
    fn state(&self, profile: ProfileName) -> CacheState {
        let calls = self.dir.join(CALLS);
        let text = std::fs::read_to_string(&calls).unwrap_or_default();
        // The next build begins a new one; what is left of an old one would only be counted twice.
        let _ = std::fs::remove_file(&calls);
        let (hits, misses) = ccache_counts(&text);
        CacheState {
            profile,
            program: self.spec.program,
            present: true,
            hits,
            misses,
            bytes: bytes_in(&self.dir),
            bytes_max: self.spec.bytes_max,
        }
    }
}

impl Run<'_> {
    /// The cache of this build, if it has one.
    pub(super) fn cache(&self, places: &Places, root: &Root) -> Ended<Option<Cached>> {
        let Some(spec) = self.ctx.cache else {
            return Ok(None);
        };
        let program = spec.program.as_str();
        if find(root, program).is_none() {
            self.note(&format!(
                "profile {} asks for {program}, which this build root does not have: everything is compiled",
                self.order.profile.name
            ));
            let state = CacheState {
                profile: self.order.profile.name.clone(),
                program: spec.program,
                present: false,
                hits: 0,
                misses: 0,
                bytes: None,
                bytes_max: spec.bytes_max,
            };
            (self.ctx.cache_seen)(state);
            return Ok(None);
        }
        Ok(Some(self.made(places, spec, root)?))
    }

    fn made(&self, places: &Places, spec: CacheSpec, root: &Root) -> Result<Cached> {
        let owned = |dir: &Path, mode: u32| {
            std::fs::create_dir_all(dir)
                .and_then(|()| std::fs::set_permissions(dir, std::fs::Permissions::from_mode(mode)))
                .map_err(|error| prepare::disk(dir, &error))
        };
        let trust = spec.trust.as_str();
        // One that writes into it is one user; slots have one each, where the host has them to give.
        let name = format!("{}.{trust}.{}", self.order.profile.name, self.ctx.slot);
        let dir = caches(&self.ctx.state_dir).join(name);
        owned(&caches(&self.ctx.state_dir), 0o755)?;
        owned(&dir, 0o700)?;
        if let Some((uid, gid)) = prepare::owner(self.ctx) {
            chown(&dir, Some(uid), Some(gid)).map_err(|error| prepare::disk(&dir, &error))?;
        }
        let (compilers, above) = (
            places.scripts.join("compilers"),
            places.scripts.join("above"),
        );
        for dir in [&compilers, &above, &above.join("bin")] {
            owned(dir, 0o755)?;
        }
        let settings = places.scripts.join("ccache.conf");
        let mut binds = vec![
            Bind::writable(&dir, INSIDE),
            Bind::read_only(&settings, SETTINGS),
        ];
        let said = |path: &Path, done: std::io::Result<()>| {
            done.map_err(|error| prepare::disk(path, &error))
        };
        for name in NAMES {
            let Some(real) = real(root, name) else {
                continue;
            };
            let (link, place) = (compilers.join(name), above.join("bin").join(name));
            let target = match real {
                Real::At(path) => path,
                Real::File(file, its_name) => {
                    let aside = format!("{ASIDE}{its_name}");
                    let inside = Path::new("/usr/bin").join(&aside);
                    // Several names may lead to one file.
                    let empty = above.join("bin").join(&aside);
                    if !empty.exists() {
                        said(&empty, std::fs::write(&empty, ""))?;
                        binds.push(Bind::read_only(file, &inside));
                    }
                    inside
                }
            };
            said(&link, symlink(target, &link))?;
            said(&place, symlink(spec.program.as_str(), &place))?;
        }
        let text = match spec.program {
            // Times of a build root's files say nothing of what is in them.
            CacheProgram::Ccache => format!(
                "cache_dir = {INSIDE}\nmax_size = {}Ki\ncompiler_check = content\nstats_log = {INSIDE}/{CALLS}\npath = {COMPILERS}\n",
                spec.bytes_max >> 10
            ),
        };
        said(&settings, std::fs::write(&settings, text))?;
        Ok(Cached {
            dir,
            spec,
            above,
            binds,
        })
    }

    /// Says what the cache did; after the phases, however they ended.
    pub(super) async fn tell_cache(&self) {
        let Some(cached) = self.cached.clone() else {
            return;
        };
        let profile = self.order.profile.name.clone();
        let state = tokio::task::spawn_blocking(move || cached.state(profile));
        let Ok(state) = state.await else {
            return self.note("what the compiler cache did cannot be read");
        };
        self.landmark(&format!(
            "{} served {} of {} compilations",
            state.program.as_str(),
            state.hits,
            state.hits + state.misses
        ));
        (self.ctx.cache_seen)(state);
    }
}

/// Where a compiler is, when the cache has the places of all of [`NAMES`].
#[derive(Debug, PartialEq)]
enum Real {
    /// Inside, by a path that is not among those places.
    At(PathBuf),
    /// Here on the host; by this one of the names, which it loses.
    File(PathBuf, String),
}

/// What a build root has under this name among its programs, unless a layer hides it.
fn find(root: &Root, name: &str) -> Option<(PathBuf, std::fs::Metadata)> {
    let found = root.usr.iter().find_map(|usr| {
        let path = usr.join("bin").join(name);
        let meta = path.symlink_metadata().ok()?;
        Some((path, meta))
    });
    found.filter(|(_, meta)| !meta.file_type().is_char_device())
}

/// Follows the names of a compiler as far as they are among the programs of a build root.
fn real(root: &Root, name: &str) -> Option<Real> {
    let mut name = name.to_string();
    for _ in 0..LINKS_MAX {
        let (path, meta) = find(root, &name)?;
        if !meta.is_symlink() {
            return Some(match NAMES.contains(&name.as_str()) {
                true => Real::File(path, name),
                false => Real::At(Path::new("/usr/bin").join(name)),
            });
        }
        let mut target = std::fs::read_link(&path).ok()?;
        if let (Ok(rest), Some(dir)) =
            (target.strip_prefix("/etc/alternatives"), &root.alternatives)
        {
            target = std::fs::read_link(dir.join(rest)).ok()?;
        }
        let target = Path::new("/usr/bin").join(target);
        let beside = [Path::new("/usr/bin"), Path::new("/bin")];
        match (
            target.parent(),
            target.file_name().and_then(|name| name.to_str()),
        ) {
            (Some(parent), Some(next)) if beside.contains(&parent) => name = next.to_string(),
            _ => return Some(Real::At(target)),
        }
    }
    None
}

/// Bytes of the files below a directory; `None`: it cannot be read, or there are too many.
fn bytes_in(dir: &Path) -> Option<u64> {
    let mut left = vec![dir.to_path_buf()];
    let (mut bytes, mut files) = (0_u64, 0_u64);
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(&dir).ok()?.flatten() {
            files += 1;
            if files > FILES_MAX {
                return None;
            }
            // One that went away meanwhile takes no room.
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                left.push(entry.path());
            } else {
                bytes += meta.len();
            }
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_compiler_is_followed_through_links_layers_and_alternatives() {
        let place = tempfile::tempdir().unwrap();
        let (top, low) = (place.path().join("top"), place.path().join("low"));
        let alternatives = place.path().join("alternatives");
        for dir in [top.join("bin"), low.join("bin"), alternatives.clone()] {
            std::fs::create_dir_all(dir).unwrap();
        }
        let link = |at: &Path, to: &str| symlink(to, at).unwrap();
        link(&low.join("bin/cc"), "/etc/alternatives/cc");
        link(&alternatives.join("cc"), "/usr/bin/gcc");
        link(&low.join("bin/gcc"), "gcc-12");
        std::fs::write(low.join("bin/gcc-12"), "").unwrap();
        link(&low.join("bin/clang"), "../lib/llvm/bin/clang");
        std::fs::write(low.join("bin/g++"), "of the machine").unwrap();
        std::fs::write(top.join("bin/g++"), "of a package").unwrap();
        link(&low.join("bin/c++"), "c++");
        crate::build::merge::whiteout(&top.join("bin/clang++")).unwrap();
        std::fs::write(low.join("bin/clang++"), "hidden").unwrap();
        let root = Root {
            usr: vec![top.clone(), low],
            alternatives: Some(alternatives),
            loader_cache: None,
        };
        let at = |path: &str| Some(Real::At(path.into()));
        for (name, expected) in [
            ("cc", at("/usr/bin/gcc-12")),
            ("gcc", at("/usr/bin/gcc-12")),
            ("clang", at("/usr/bin/../lib/llvm/bin/clang")),
            ("g++", Some(Real::File(top.join("bin/g++"), "g++".into()))),
            ("c++", None),
            ("clang++", None),
        ] {
            assert_eq!(real(&root, name), expected, "{name}");
        }
    }
}
