//! Compiler caches: what a profile asks for, what a builder is told, and what it says of those that it has.

use serde::{Deserialize, Serialize};

use super::peer::PeerTrust;
use crate::id::ProfileName;

/// Bytes of a cache unless the profile says otherwise: ccache's own default.
pub const CACHE_BYTES: u64 = 5 << 30;
/// Less than this holds nothing worth the lookups: a large source's objects.
pub const CACHE_BYTES_MIN: u64 = 64 << 20;
/// Caches that a builder tells of.
pub const CACHES_MAX: usize = 64;

/// A program that keeps what a compiler made. Grows at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CacheProgram {
    /// <https://ccache.dev>
    Ccache,
}

impl CacheProgram {
    /// Its name, which is its file's name too.
    pub fn as_str(self) -> &'static str {
        match self {
            CacheProgram::Ccache => "ccache",
        }
    }
}

/// What a profile asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheRule {
    /// The profile.
    pub profile: ProfileName,
    /// `None`: nothing.
    pub program: Option<CacheProgram>,
    /// What a cache may take.
    pub bytes_max: u64,
}

/// A cache that a build may use where its builder has the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheSpec {
    /// Which program.
    pub program: CacheProgram,
    /// What the builder is trusted with: caches of one kind of trust never serve the other.
    pub trust: PeerTrust,
    /// What the cache may take.
    pub bytes_max: u64,
}

/// A cache as its builder knows it, counted since the builder's start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheState {
    /// Whose builds it serves.
    pub profile: ProfileName,
    /// Which program.
    pub program: CacheProgram,
    /// The build roots of this profile have the program.
    pub present: bool,
    /// Compilations that it served.
    pub hits: u64,
    /// Those that it could not serve.
    pub misses: u64,
    /// Bytes that it takes; `None`: not known.
    pub bytes: Option<u64>,
    /// What it may take, of each slot.
    pub bytes_max: u64,
}

/// Hits and misses of a log of ccache's statistics: after the name of a source, in a line with `#`, the counters that one call
/// raised, a line each (CCACHE_STATSLOG).
pub fn ccache_counts(log: &str) -> (u64, u64) {
    let lines = |words: &[&str]| {
        let found = log.lines().filter(|line| words.contains(&line.trim()));
        found.count() as u64
    };
    let hits = lines(&["direct_cache_hit", "preprocessed_cache_hit"]);
    (hits, lines(&["cache_miss"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_and_misses_are_counted_by_the_lines_of_their_counters() {
        let log = "# a.c\ncache_miss\ndirect_cache_miss\nlocal_storage_write\n# b.c\ndirect_cache_hit\nlocal_storage_hit\n\
# cache_miss.c\npreprocessed_cache_hit\n";
        assert_eq!(ccache_counts(log), (2, 1));
        assert_eq!(ccache_counts(""), (0, 0));
    }
}
