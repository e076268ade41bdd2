//! The store of a host: typed rows in one sled database, content-addressed blobs, logs, and their safety nets.
//!
//! Built for what sled 0.34.7 really does. A group of changes is one frame in our own journal, durable with one
//! `fdatasync` before anybody is told (`journal`, `writer`); readers see it at once through an overlay; the keeper thread
//! moves rows into sled later, many changes of one row as one (`keep`, `engine`). So an acknowledged change never hangs
//! on sled's flush, which is no fsync, and a set over several trees is whole or absent because a frame is. Values are
//! small, since large ones leak; a side file remembers what must be there, since a cut database opens empty; panics of
//! sled become faults that offer `restore` (`side`, `guard`).
//!
//! Nothing outside this folder names sled.

mod append;
mod ballast;
pub mod blobs;
mod db;
mod engine;
pub mod events;
pub mod export;
pub mod farm;
mod files;
mod guard;
mod journal;
mod keep;
mod key;
mod lock;
pub mod logs;
mod overlay;
mod peers;
mod row;
mod side;
pub mod taken;
#[cfg(test)]
mod tests;
pub mod trees;
pub mod tries;
mod writer;

pub use append::AppendLog;
pub use blobs::{Blobs, NewBlob};
pub use db::{Scan, Store};
pub use files::{sync_dir, write_atomic, write_atomic_with};
pub use key::Key;
pub use lock::DirLock;
pub use logs::{LogWriter, Logs};
pub use row::{Row, WriteSet, decode, encode};

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Memory for sled's page cache.
    pub cache_bytes: u64,
    /// With less room than this on its disk the store takes no changes.
    pub free_bytes_min: u64,
    /// Room kept back for a full disk; 0: none.
    pub ballast_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            // A farm's rows are a few megabytes; the rest of sled's memory is not counted in here.
            cache_bytes: 16 << 20,
            free_bytes_min: crate::limit::STORE_FREE_BYTES_MIN,
            ballast_bytes: crate::limit::STORE_BALLAST_BYTES,
        }
    }
}
