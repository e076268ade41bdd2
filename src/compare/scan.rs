//! Two passes over a file: the first keeps a hash of each block, the second the bytes of a few blocks that differ.

use std::io::{self, Read};
use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use super::elf;
use crate::fault::{Fault, Kind};

/// Bytes that are hashed as one.
pub const BLOCK: usize = 64 * 1024;
/// Blocks that differ whose bytes are looked at.
pub const BLOCKS_LOOKED_AT: usize = 4;
/// Bytes of a table of ELF sections that are kept; the largest real ones have some thousand sections of 64 bytes.
pub const SECTIONS_MAX: u64 = 128 * 1024;

/// A file that cannot be read.
pub fn unread(error: io::Error) -> Fault {
    Fault::new(Kind::Operator, "cannot read a file that is compared").because(&error)
}

/// What the first pass keeps of a file.
#[derive(Debug, Clone)]
pub struct Look {
    /// Bytes.
    pub size: u64,
    /// A hash of each block.
    blocks: Vec<u64>,
    /// The first bytes.
    pub head: Vec<u8>,
    /// The table of sections, if it is an ELF file.
    pub sections: Vec<u8>,
    /// How often each byte occurs.
    counts: Box<[u64; 256]>,
}

/// Fills a block from a reader as far as it goes.
fn fill(from: &mut dyn Read, block: &mut [u8]) -> io::Result<usize> {
    let mut have = 0;
    while let Some(rest) = block.get_mut(have..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(got) => have += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(have)
}

/// What of `bytes`, which begin at `at`, lies in `range`.
fn within<'a>(bytes: &'a [u8], at: u64, range: &Range<u64>) -> &'a [u8] {
    let end = at + bytes.len() as u64;
    let from = range.start.clamp(at, end) - at;
    let to = range.end.clamp(at, end) - at;
    let (from, to) = (usize::try_from(from), usize::try_from(to));
    match (from, to) {
        (Ok(from), Ok(to)) => bytes.get(from..to).unwrap_or_default(),
        _ => &[],
    }
}

impl Look {
    /// Reads a file to its end.
    pub fn at(from: &mut dyn Read) -> io::Result<Look> {
        let mut look = Look {
            size: 0,
            blocks: Vec::new(),
            head: Vec::new(),
            sections: Vec::new(),
            counts: Box::new([0; 256]),
        };
        let mut block = vec![0; BLOCK];
        let mut table = 0..0;
        loop {
            let have = fill(from, &mut block)?;
            let bytes = block.get(..have).unwrap_or_default();
            if bytes.is_empty() {
                return Ok(look);
            }
            if look.size == 0 {
                look.head = bytes.iter().take(elf::HEADER_BYTES).copied().collect();
                table = elf::table(&look.head).unwrap_or(0..0);
            }
            look.sections
                .extend_from_slice(within(bytes, look.size, &table));
            look.blocks.push(xxh3_64(bytes));
            for byte in bytes {
                if let Some(count) = look.counts.get_mut(usize::from(*byte)) {
                    *count += 1;
                }
            }
            look.size += have as u64;
        }
    }

    /// Whether both are made of the same bytes, in any order.
    pub fn has_the_same_bytes(&self, other: &Look) -> bool {
        self.size == other.size && self.counts == other.counts
    }

    /// Blocks that differ.
    pub fn differing_blocks(&self, other: &Look) -> usize {
        let most = self.blocks.len().max(other.blocks.len());
        (0..most)
            .filter(|at| self.blocks.get(*at) != other.blocks.get(*at))
            .count()
    }

    /// The places of the first blocks that differ, in either file.
    pub fn differing(&self, other: &Look) -> Vec<Range<u64>> {
        let most = self.blocks.len().max(other.blocks.len());
        let differing = (0..most).filter(|at| self.blocks.get(*at) != other.blocks.get(*at));
        let places = differing.take(BLOCKS_LOOKED_AT).map(|at| {
            let from = (at * BLOCK) as u64;
            from..from + BLOCK as u64
        });
        places.collect()
    }
}

/// The blocks that differ, of both files.
#[derive(Debug, Default)]
pub struct Parts {
    /// Where they are.
    pub ranges: Vec<Range<u64>>,
    /// Their bytes in the published file; shorter at its end.
    pub published: Vec<Vec<u8>>,
    /// Their bytes in the rebuilt file.
    pub rebuilt: Vec<Vec<u8>>,
}

/// Reads a file to its end and keeps the bytes of these places.
pub fn pick(from: &mut dyn Read, ranges: &[Range<u64>]) -> io::Result<Vec<Vec<u8>>> {
    let mut picked = vec![Vec::new(); ranges.len()];
    let mut block = vec![0; BLOCK];
    let mut at = 0;
    loop {
        let have = fill(from, &mut block)?;
        let bytes = block.get(..have).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(picked);
        }
        for (kept, range) in picked.iter_mut().zip(ranges) {
            kept.extend_from_slice(within(bytes, at, range));
        }
        at += have as u64;
    }
}
