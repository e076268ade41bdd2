//! A compiler cache in a build: found in the build root, seen inside with a directory of its profile, trust and slot, and read
//! afterwards. Its absence is said and nothing more. Comparisons and measurements have none.

use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use super::blame::Ended;
use super::prepare::{self, Places};
use super::run::Run;
use crate::build::sandbox::{Bind, Root};
use crate::fault::Result;
use crate::id::ProfileName;
use crate::model::cache::{CacheProgram, CacheSpec, CacheState, ccache_counts};

/// Where compilers are seen that ask the cache first, and the cache itself.
const COMPILERS: &str = "/mason/scripts/compilers";
const INSIDE: &str = "/mason/cache";
/// Compilers that are served, where the build root has them.
const NAMES: [&str; 6] = ["cc", "c++", "gcc", "g++", "clang", "clang++"];
/// What the program notes each call in.
const CALLS: &str = "massif-calls";
/// Files that are counted.
const FILES_MAX: u64 = 1_000_000;

/// Where caches lie on this host.
pub fn caches(state_dir: &Path) -> PathBuf {
    state_dir.join("caches")
}

/// A cache that one build uses.
#[derive(Clone)]
pub(super) struct Cached {
    dir: PathBuf,
    spec: CacheSpec,
}

impl Cached {
    pub(super) fn bind(&self) -> Bind {
        Bind::writable(&self.dir, INSIDE)
    }

    /// What phases have in their environment beside what they have anyway.
    pub(super) fn environment(&self, path: &str) -> Vec<(String, String)> {
        let own = |name: &str, value: String| (name.to_string(), value);
        match self.spec.program {
            CacheProgram::Ccache => vec![
                own("PATH", format!("{COMPILERS}:{path}")),
                own("CCACHE_DIR", INSIDE.into()),
                own("CCACHE_MAXSIZE", format!("{}Ki", self.spec.bytes_max >> 10)),
                // Times of a build root's files say nothing of what is in them.
                own("CCACHE_COMPILERCHECK", "content".into()),
                own("CCACHE_STATSLOG", format!("{INSIDE}/{CALLS}")),
            ],
        }
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
        let has = |name: &str| {
            let mut all = root.usr.iter().map(|usr| usr.join("bin").join(name));
            all.any(|path| path.exists())
        };
        if !has(program) {
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
        let names: Vec<&str> = NAMES.into_iter().filter(|name| has(name)).collect();
        Ok(Some(self.made(places, spec, &names)?))
    }

    fn made(&self, places: &Places, spec: CacheSpec, names: &[&str]) -> Result<Cached> {
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
        let compilers = places.scripts.join("compilers");
        owned(&compilers, 0o755)?;
        for name in names {
            let link = compilers.join(name);
            symlink(format!("/usr/bin/{}", spec.program.as_str()), &link)
                .map_err(|error| prepare::disk(&link, &error))?;
        }
        Ok(Cached { dir, spec })
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
