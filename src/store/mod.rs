//! The store of a host: typed rows in one sled database, content-addressed blobs, logs, and their safety nets.
//!
//! Fences around sled 0.34.7, whose `flush` is no fsync, whose large values leak and whose damaged files open empty
//! or panic: one writer thread owns all mutations and acknowledges after our own `fdatasync`; values are small; a side
//! file remembers what must be there; exports can be loaded into a new store at any time.

mod db;
pub mod farm;
mod key;
mod row;
mod writer;

pub use db::{Options, Scan, Store};
pub use key::Key;
pub use row::{Row, Write, WriteSet, decode, encode};
