//! Binary packages: written in one pass with their content streamed, read with every promise checked.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Seek, SeekFrom, Write};

use xxhash_rust::xxh3::Xxh3;

use super::container::{
    Compression, FileType, PayloadHeader, PayloadKind, Reader, TableWriter, bad, file_header,
    unread,
};
use super::content::{ContentReader, ContentWriter, undecoded};
use super::{LayoutEntry, Meta, Node, layout};
use crate::fault::{Fault, Kind, Result};
use crate::id::ContentHash;
use crate::limit;

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
    /// Where the content's stored bytes are.
    content: Option<(u64, PayloadHeader)>,
}

/// Bytes of an index record.
const INDEX_RECORD_BYTES: usize = 32;
const COPY_BYTES: usize = 128 * 1024;

fn unwritten(error: &io::Error) -> Fault {
    Fault::new(Kind::Builder, "cannot write a package").because(error)
}

/// The contents that `layout` refers to, once each, largest first; the order of the layout decides between equals.
fn content_order(layout: &[LayoutEntry], files: &[UniqueFile]) -> Result<Vec<UniqueFile>> {
    let sizes: HashMap<ContentHash, u64> = files.iter().map(|f| (f.hash, f.size)).collect();
    let mut seen = HashSet::new();
    let mut order = Vec::new();
    for entry in layout {
        let Node::Regular(hash) = entry.node else {
            continue;
        };
        if !seen.insert(hash) {
            continue;
        }
        let size = *sizes
            .get(&hash)
            .ok_or_else(|| Fault::bug(format!("{} was never hashed", entry.path)))?;
        order.push(UniqueFile { hash, size });
    }
    order.sort_by_key(|file| std::cmp::Reverse(file.size));
    Ok(order)
}

/// Writes a package to `out`, which starts at its position 0. `files` names every content that `layout` refers to,
/// in any order; the bytes are asked of `open` one after the other and checked against hash and size.
/// `workers` (1 and more) is the number of compression threads and never changes a byte of the result.
/// `layout` is written in the order given (see `layout::sort`).
pub fn write<W: Write + Seek>(
    mut out: W,
    meta: &Meta,
    layout: &[LayoutEntry],
    files: &[UniqueFile],
    open: &mut ContentSource<'_>,
    workers: u32,
) -> Result<()> {
    layout::check(layout)?;
    let order = content_order(layout, files)?;
    let mut tables = TableWriter::new()?;
    let (plain, records) = meta.of_package().encode()?;
    let mut payloads = vec![tables.payload(PayloadKind::Meta, records, &plain)?];
    if !layout.is_empty() {
        let plain = layout::encode(layout)?;
        payloads.push(tables.payload(PayloadKind::Layout, count(layout.len())?, &plain)?);
    }
    if !order.is_empty() {
        let plain = encode_index(&order)?;
        payloads.push(tables.payload(PayloadKind::Index, count(order.len())?, &plain)?);
    }
    let total = payloads.len() + usize::from(!order.is_empty());
    let header = file_header(FileType::Binary, u16::try_from(total).unwrap_or(u16::MAX));
    out.write_all(&header).map_err(|error| unwritten(&error))?;
    for payload in &payloads {
        out.write_all(payload).map_err(|error| unwritten(&error))?;
    }
    if !order.is_empty() {
        write_content(&mut out, &order, open, workers)?;
    }
    out.flush().map_err(|error| unwritten(&error))
}

fn count(records: usize) -> Result<u32> {
    u32::try_from(records).map_err(|_| {
        Fault::new(Kind::Recipe, format!("a package of {records} files"))
            .next("split it into several packages")
    })
}

fn encode_index(files: &[UniqueFile]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(files.len() * INDEX_RECORD_BYTES);
    let mut start = 0_u64;
    for file in files {
        let end = start
            .checked_add(file.size)
            .filter(|end| *end <= limit::STONE_CONTENT_BYTES_MAX)
            .ok_or_else(|| {
                Fault::new(
                    Kind::Recipe,
                    format!(
                        "a package's files have more than {} bytes",
                        limit::STONE_CONTENT_BYTES_MAX
                    ),
                )
                .next("split it into several packages")
            })?;
        out.extend_from_slice(&start.to_be_bytes());
        out.extend_from_slice(&end.to_be_bytes());
        out.extend_from_slice(&file.hash.0);
        start = end;
    }
    Ok(out)
}

fn write_content<W: Write + Seek>(
    out: W,
    order: &[UniqueFile],
    open: &mut ContentSource<'_>,
    workers: u32,
) -> Result<()> {
    let total = order.iter().map(|file| file.size).sum();
    let mut to = ContentWriter::new(out, total, workers).map_err(|error| unwritten(&error))?;
    for file in order {
        let mut from = open(file).map_err(|error| unwritten(&error))?;
        let copied = copy_hashed(&mut from, &mut to).map_err(|error| unwritten(&error))?;
        if copied != *file {
            return Err(Fault::new(
                Kind::Builder,
                format!("a file of {} bytes changed while it was packed", file.size),
            )
            .next("let nothing write to the install directory after the phases"));
        }
    }
    to.finish().map_err(|error| unwritten(&error))?;
    Ok(())
}

/// Copies to the end, and says what went by.
fn copy_hashed(from: &mut dyn Read, to: &mut dyn Write) -> io::Result<UniqueFile> {
    let mut hasher = Xxh3::new();
    let mut buffer = vec![0; COPY_BYTES];
    let mut size = 0;
    loop {
        let got = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let bytes = buffer.get(..got).unwrap_or_default();
        hasher.update(bytes);
        to.write_all(bytes)?;
        size += got as u64;
    }
    let hash = ContentHash(hasher.digest128().to_be_bytes());
    Ok(UniqueFile { hash, size })
}

/// XXH3-128 and size of what `from` gives, for `files` of `write`.
pub fn hash_content(mut from: impl Read) -> io::Result<UniqueFile> {
    copy_hashed(&mut from, &mut io::sink())
}

/// Reads only the metadata, which stands first in packages as they are written.
pub fn read_meta(from: impl Read) -> Result<Meta> {
    let mut reader = Reader::new(from)?;
    expect_package(reader.file_type())?;
    while let Some(header) = reader.next_payload()? {
        if header.kind == PayloadKind::Meta && header.is_known() {
            let plain = reader.table(&header)?;
            return Meta::decode(&plain, header.records);
        }
    }
    Err(bad("it holds no metadata"))
}

fn expect_package(file_type: FileType) -> Result<()> {
    match file_type {
        FileType::Binary => Ok(()),
        FileType::Delta | FileType::Repository | FileType::BuildManifest | FileType::Unknown(_) => {
            Err(bad("it is a stone, but not a package"))
        }
    }
}

/// Puts a payload that may be there once.
fn once<T>(slot: &mut Option<T>, value: T, name: &str) -> Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(bad(format!("it holds two {name} payloads"))),
    }
}

impl Package {
    /// Reads everything but the content, with checksums and bounds, and refuses unsafe paths.
    pub fn read<R: Read + Seek>(from: &mut R) -> Result<Package> {
        from.seek(SeekFrom::Start(0))
            .map_err(|error| unread(&error))?;
        let mut reader = Reader::new(from)?;
        expect_package(reader.file_type())?;
        let (mut meta, mut entries, mut index, mut content) = (None, None, None, None);
        while let Some(header) = reader.next_payload()? {
            let records = header.records;
            if matches!(header.compression, Compression::Unknown(_)) {
                reader.seek_past()?;
                continue;
            }
            match header.kind {
                PayloadKind::Meta => {
                    let plain = reader.table(&header)?;
                    once(&mut meta, Meta::decode(&plain, records)?, "metadata")?;
                }
                PayloadKind::Layout => {
                    let plain = reader.table(&header)?;
                    once(&mut entries, layout::decode(&plain, records)?, "layout")?;
                }
                PayloadKind::Index => {
                    let plain = reader.table(&header)?;
                    once(&mut index, decode_index(&plain, records)?, "index")?;
                }
                PayloadKind::Content => {
                    once(&mut content, (reader.position(), header), "content")?;
                    reader.seek_past()?;
                }
                PayloadKind::Attributes => {
                    reader.table(&header)?;
                }
                PayloadKind::Unknown(_) => reader.seek_past()?,
            }
        }
        let package = Package {
            meta: meta.ok_or_else(|| bad("it holds no metadata"))?,
            layout: entries.unwrap_or_default(),
            files: index.unwrap_or_default(),
            content,
        };
        package.check()?;
        Ok(package)
    }

    /// What the tables promise to each other.
    fn check(&self) -> Result<()> {
        layout::check(&self.layout)?;
        let known: HashMap<ContentHash, u64> =
            self.files.iter().map(|f| (f.hash, f.size)).collect();
        let mut used = HashSet::with_capacity(known.len());
        for entry in &self.layout {
            if let Node::Regular(hash) = entry.node {
                if !known.contains_key(&hash) {
                    return Err(bad(format!("{} has no content", entry.path)));
                }
                used.insert(hash);
            }
        }
        if used.len() < known.len() {
            // Nothing else would notice a layout that was lost.
            return Err(bad("it has content that no path refers to"));
        }
        let total: u64 = self.files.iter().map(|file| file.size).sum();
        match &self.content {
            None if self.files.is_empty() => Ok(()),
            None => Err(bad("it has files and no content")),
            Some((_, header)) if header.plain_size == total => Ok(()),
            Some(_) => Err(bad("its content has another size than its files")),
        }
    }

    /// Streams the content of the package in `from`: `each` is called once per distinct content, in order, with a reader
    /// of exactly its bytes. What `each` leaves unread is read for it. Every checksum is checked; `each` has
    /// seen bytes before their hash was known, so what it made counts only when this returns `Ok`.
    pub fn unpack<R: Read + Seek>(
        &self,
        from: &mut R,
        each: &mut dyn FnMut(&UniqueFile, &mut dyn Read) -> Result<()>,
    ) -> Result<()> {
        let Some((position, header)) = &self.content else {
            return Ok(());
        };
        from.seek(SeekFrom::Start(*position))
            .map_err(|error| unread(&error))?;
        let mut content = ContentReader::new(from, header)?;
        for file in &self.files {
            let mut part = Part {
                from: &mut content,
                left: file.size,
                hasher: Xxh3::new(),
            };
            each(file, &mut part)?;
            io::copy(&mut part, &mut io::sink()).map_err(|error| undecoded(&error))?;
            if part.left > 0 || part.hasher.digest128().to_be_bytes() != file.hash.0 {
                return Err(bad("a file's bytes differ from its hash"));
            }
        }
        content.finish()
    }

    /// Checks every checksum, every file hash, every path and every reference.
    pub fn verify<R: Read + Seek>(from: &mut R) -> Result<Package> {
        let package = Package::read(from)?;
        package.unpack(from, &mut |_, _| Ok(()))?;
        Ok(package)
    }
}

/// Reads an index payload: ranges without gaps, whatever their order in the table.
fn decode_index(plain: &[u8], records: u32) -> Result<Vec<UniqueFile>> {
    let expected = (records as usize).checked_mul(INDEX_RECORD_BYTES);
    if expected != Some(plain.len()) {
        return Err(bad("its index has a wrong size"));
    }
    let mut ranges: Vec<(u64, u64, ContentHash)> = plain
        .chunks_exact(INDEX_RECORD_BYTES)
        .map(|record| {
            let mut fields = super::container::Fields(record);
            let start = u64::from_be_bytes(fields.take());
            let end = u64::from_be_bytes(fields.take());
            (start, end, ContentHash(fields.take()))
        })
        .collect();
    ranges.sort_by_key(|(start, end, _)| (*start, *end));
    let mut at = 0;
    let mut files = Vec::with_capacity(ranges.len());
    for (start, end, hash) in ranges {
        if start != at || end < start || end > limit::STONE_CONTENT_BYTES_MAX {
            return Err(bad("its index has gaps"));
        }
        files.push(UniqueFile {
            hash,
            size: end - start,
        });
        at = end;
    }
    Ok(files)
}

/// The bytes of one file inside the content, hashed as they pass.
struct Part<'a> {
    from: &'a mut dyn Read,
    left: u64,
    hasher: Xxh3,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let part = buffer.get_mut(..wanted).unwrap_or_default();
        if part.is_empty() {
            return Ok(0);
        }
        let got = self.from.read(part)?;
        self.hasher.update(part.get(..got).unwrap_or_default());
        self.left -= got as u64;
        Ok(got)
    }
}
