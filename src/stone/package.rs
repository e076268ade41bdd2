//! Binary packages: written in one pass with their content streamed, read with every promise checked.

use std::io::{self, Read, Seek, Write};

use crate::fault::{Fault, Result};
use crate::id::ContentHash;
use crate::stone::{LayoutEntry, Meta};

/// One distinct content of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UniqueFile {
    /// XXH3-128 of its bytes.
    pub hash: ContentHash,
    /// Bytes.
    pub size: u64,
}

/// Where the contents of a package that is being written come from.
pub type ContentSource<'a> = dyn FnMut(&UniqueFile) -> io::Result<Box<dyn Read + 'a>> + 'a;

/// A package without its content: what `read` gives and `unpack` needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its metadata.
    pub meta: Meta,
    /// What it puts below `/usr`, in the order of the file.
    pub layout: Vec<LayoutEntry>,
    /// Its distinct contents in the order of the content payload.
    pub files: Vec<UniqueFile>,
}

/// Writes a package to `out`, which starts at its position 0. `files` names every content that `layout` refers to,
/// in any order; the bytes are asked of `open` one after the other and checked against hash and size.
/// `workers` (1 and more) is the number of compression threads and never changes a byte of the result.
pub fn write<W: Write + Seek>(
    out: W,
    meta: &Meta,
    layout: &[LayoutEntry],
    files: &[UniqueFile],
    open: &mut ContentSource<'_>,
    workers: u32,
) -> Result<()> {
    let _ = (out, meta, layout, files, open, workers);
    Err(Fault::bug("not built yet"))
}

/// XXH3-128 and size of what `from` gives, for `files` of `write`.
pub fn hash_content(mut from: impl Read) -> io::Result<UniqueFile> {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut size = 0;
    loop {
        let got = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        size += got as u64;
        hasher.update(buffer.get(..got).unwrap_or_default());
    }
    let hash = ContentHash(hasher.digest128().to_be_bytes());
    Ok(UniqueFile { hash, size })
}

/// Reads only the metadata, which stands first in packages as they are written.
pub fn read_meta(from: impl Read) -> Result<Meta> {
    let _ = from;
    Err(Fault::bug("not built yet"))
}

impl Package {
    /// Reads everything but the content, with checksums and bounds, and refuses unsafe paths.
    pub fn read<R: Read + Seek>(from: &mut R) -> Result<Package> {
        let _ = from;
        Err(Fault::bug("not built yet"))
    }

    /// Streams the content of the package in `from`: `each` is called once per distinct content, in order, with a reader
    /// of exactly its bytes. What `each` leaves unread is read for it. Every checksum is checked; `each` has
    /// seen bytes before their hash was known, so what it made counts only when this returns `Ok`.
    pub fn unpack<R: Read + Seek>(
        &self,
        from: &mut R,
        each: &mut dyn FnMut(&UniqueFile, &mut dyn Read) -> Result<()>,
    ) -> Result<()> {
        let _ = (from, each);
        Err(Fault::bug("not built yet"))
    }

    /// Checks every checksum, every file hash, every path and every reference.
    pub fn verify<R: Read + Seek>(from: &mut R) -> Result<Package> {
        let package = Package::read(from)?;
        package.unpack(from, &mut |_, _| Ok(()))?;
        Ok(package)
    }
}
