//! As much of ELF as it takes to say which section a byte is in: 64 bits, little endian, by its own table. Never panics.

use std::ops::Range;

use super::scan::SECTIONS_MAX;

/// Bytes of an ELF header.
pub const HEADER_BYTES: usize = 64;
/// Bytes of one row of the table of sections.
const ROW_BYTES: usize = 64;
/// A section without bytes in the file (`SHT_NOBITS`).
const NO_BITS: u32 = 8;
/// Bytes of section names that are kept.
const NAMES_MAX: u64 = 64 * 1024;

/// A section with its bytes in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub place: Range<u64>,
}

fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let mut value = 0_u64;
    for byte in bytes.get(at..at.checked_add(len)?)?.iter().rev() {
        value = value << 8 | u64::from(*byte);
    }
    Some(value)
}

/// Where the table of sections is, if this begins as such a file does.
pub fn table(head: &[u8]) -> Option<Range<u64>> {
    if head.get(..6)? != [0x7f, b'E', b'L', b'F', 2, 1] {
        return None;
    }
    let (from, size, rows) = (
        number(head, 40, 8)?,
        number(head, 58, 2)?,
        number(head, 60, 2)?,
    );
    let bytes = size.checked_mul(rows)?;
    let end = from.checked_add(bytes)?;
    (size == ROW_BYTES as u64 && rows > 0 && bytes <= SECTIONS_MAX).then_some(from..end)
}

fn place(row: &[u8]) -> Option<Range<u64>> {
    let (kind, from, size) = (number(row, 4, 4)?, number(row, 24, 8)?, number(row, 32, 8)?);
    let end = from.checked_add(size)?;
    (kind != u64::from(NO_BITS)).then_some(from..end)
}

/// Where the names of the sections are.
pub fn names(head: &[u8], sections: &[u8]) -> Option<Range<u64>> {
    let at = usize::try_from(number(head, 62, 2)?).ok()?;
    let row = sections.chunks_exact(ROW_BYTES).nth(at)?;
    place(row).filter(|place| place.end - place.start <= NAMES_MAX)
}

/// The sections of a file, by their table and their names.
pub fn sections(table: &[u8], names: &[u8]) -> Vec<Section> {
    let mut found = Vec::new();
    for row in table.chunks_exact(ROW_BYTES) {
        let Some(place) = place(row).filter(|place| !place.is_empty()) else {
            continue;
        };
        let from = number(row, 0, 4).and_then(|at| usize::try_from(at).ok());
        let name = from.and_then(|from| names.get(from..)).unwrap_or_default();
        let name: Vec<u8> = name.iter().copied().take_while(|byte| *byte != 0).collect();
        found.push(Section {
            name: String::from_utf8_lossy(&name).into_owned(),
            place,
        });
    }
    found
}

/// The section that a byte is in.
pub fn section_at(sections: &[Section], offset: u64) -> Option<&Section> {
    sections
        .iter()
        .find(|section| section.place.contains(&offset))
}
