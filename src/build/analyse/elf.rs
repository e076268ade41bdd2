//! What an ELF file says of itself: library name, needed libraries, interpreter, machine.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use object::elf;
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::{Endianness, ReadCache, ReadRef};

/// Bytes of one string of the dynamic section: names and search paths; the longest real one has some 300.
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Entries of a dynamic section; the longest real one has some 250.
const DYNAMIC_MAX: usize = 65_536;

/// A program or shared library.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Elf {
    /// The machine's name in dependency texts (`x86_64`, `386`).
    pub machine: &'static str,
    /// `DT_SONAME`.
    pub soname: Option<String>,
    /// `DT_NEEDED`, in the file's order.
    pub needed: Vec<String>,
    /// `DT_RUNPATH`, else `DT_RPATH`: directories, as written.
    pub search: Vec<String>,
    /// `PT_INTERP`.
    pub interpreter: Option<String>,
}

/// Reads a file when it is a program or shared library that can be read as such; anything else is `None`.
pub fn read(path: &Path) -> Option<Elf> {
    let mut file = File::open(path).ok()?;
    let mut ident = [0; 5];
    file.read_exact(&mut ident).ok()?;
    let cache = ReadCache::new(file);
    match ident {
        [0x7f, b'E', b'L', b'F', 2] => describe::<elf::FileHeader64<Endianness>, _>(&cache),
        [0x7f, b'E', b'L', b'F', 1] => describe::<elf::FileHeader32<Endianness>, _>(&cache),
        _ => None,
    }
}

/// The names of `e_machine` values without `EM_`, in lower case, as dependency texts have them.
fn machine(number: elf::Machine) -> Option<&'static str> {
    Some(match number {
        elf::EM_386 => "386",
        elf::EM_X86_64 => "x86_64",
        elf::EM_AARCH64 => "aarch64",
        elf::EM_ARM => "arm",
        elf::EM_RISCV => "riscv",
        elf::EM_PPC64 => "ppc64",
        elf::EM_S390 => "s390",
        elf::EM_LOONGARCH => "loongarch",
        _ => return None,
    })
}

fn describe<'data, H, R>(data: R) -> Option<Elf>
where
    H: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let header = H::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let kind = header.e_type(endian);
    if kind != elf::ET_EXEC && kind != elf::ET_DYN {
        return None;
    }
    let segments = header.program_headers(endian, data).ok()?;
    let mut found = Elf {
        machine: machine(header.e_machine(endian))?,
        ..Elf::default()
    };
    let mut dynamic = None;
    for segment in segments {
        if let Ok(Some(text)) = segment.interpreter(endian, data) {
            found.interpreter = std::str::from_utf8(text).ok().map(str::to_owned);
        }
        if let Ok(Some(entries)) = segment.dynamic(endian, data) {
            dynamic = Some(entries);
        }
    }
    let Some(dynamic) = dynamic else {
        return Some(found);
    };
    let value = |tag: elf::DynamicTag| {
        dynamic
            .iter()
            .find(|entry| entry.tag(endian) == tag)
            .map(|entry| entry.val(endian))
    };
    let address: u64 = value(elf::DT_STRTAB)?;
    let offset = segments.iter().find_map(|segment| {
        let start: u64 = segment.p_vaddr(endian).into();
        let inside = address.checked_sub(start)?;
        let length: u64 = segment.p_filesz(endian).into();
        let at: u64 = segment.p_offset(endian).into();
        let loaded = segment.p_type(endian) == elf::PT_LOAD && inside < length;
        loaded.then(|| at.checked_add(inside)).flatten()
    })?;
    let text = |at: u64| -> Option<String> {
        let start = offset.checked_add(at)?;
        let end = start.checked_add(TEXT_BYTES_MAX as u64)?;
        let raw = data
            .read_bytes_at_until(start..end.min(data.len().ok()?), 0)
            .ok()?;
        std::str::from_utf8(raw)
            .ok()
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let mut rpath = None;
    let mut runpath = None;
    for entry in dynamic.iter().take(DYNAMIC_MAX) {
        let at = entry.val(endian);
        match entry.tag(endian) {
            elf::DT_NEEDED => found.needed.extend(text(at)),
            elf::DT_SONAME => found.soname = text(at),
            elf::DT_RPATH => rpath = text(at),
            elf::DT_RUNPATH => runpath = text(at),
            _ => {}
        }
    }
    let search = runpath.or(rpath).unwrap_or_default();
    found.search = search
        .split(':')
        .filter(|dir| !dir.is_empty())
        .map(str::to_owned)
        .collect();
    Some(found)
}
