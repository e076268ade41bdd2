//! The container that all stones share: a file header, then payloads with checksums. Reading works over any `Read`,
//! checks every checksum and allocates only what arrived or was shown to be plausible.

use std::io::{self, Read, Seek, SeekFrom};

use xxhash_rust::xxh3::xxh3_64;
use zstd::zstd_safe::CParameter;

use crate::fault::{Fault, Kind, Result};
use crate::limit;

/// Bytes of the file header, and of each payload header.
pub const HEADER_BYTES: usize = 32;
const MAGIC: [u8; 4] = *b"\0mos";
const GUARD: [u8; 21] = [
    0, 0, 1, 0, 0, 2, 0, 0, 3, 0, 0, 4, 0, 0, 5, 0, 0, 6, 0, 0, 7,
];
const VERSION: u32 = 1;
/// The payload version of everything known.
pub(super) const PAYLOAD_VERSION: u16 = 1;
/// The level of current writers.
pub(super) const ZSTD_LEVEL: i32 = 18;
/// What current writers set and readers must allow. With the size pledged, zstd lowers it to what the size needs.
pub(super) const ZSTD_WINDOW_LOG: u32 = 31;
/// A zstd block holds at most 128 KiB and takes at least 4 bytes, so no valid frame expands more than this.
const ZSTD_EXPANSION_MAX: u64 = 128 * 1024 / 4;

/// What a container is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileType {
    /// A package.
    Binary,
    /// A difference between packages.
    Delta,
    /// A repository index.
    Repository,
    /// A build manifest.
    BuildManifest,
    /// Something newer.
    Unknown(u8),
}

impl FileType {
    fn from_byte(byte: u8) -> FileType {
        match byte {
            1 => FileType::Binary,
            2 => FileType::Delta,
            3 => FileType::Repository,
            4 => FileType::BuildManifest,
            other => FileType::Unknown(other),
        }
    }

    fn to_byte(self) -> u8 {
        match self {
            FileType::Binary => 1,
            FileType::Delta => 2,
            FileType::Repository => 3,
            FileType::BuildManifest => 4,
            FileType::Unknown(other) => other,
        }
    }
}

/// What a payload holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadKind {
    /// Metadata records.
    Meta,
    /// File contents.
    Content,
    /// Paths, modes, owners.
    Layout,
    /// Which part of the content is which file.
    Index,
    /// Free keys and values.
    Attributes,
    /// Something newer.
    Unknown(u8),
}

impl PayloadKind {
    fn from_byte(byte: u8) -> PayloadKind {
        match byte {
            1 => PayloadKind::Meta,
            2 => PayloadKind::Content,
            3 => PayloadKind::Layout,
            4 => PayloadKind::Index,
            5 => PayloadKind::Attributes,
            other => PayloadKind::Unknown(other),
        }
    }

    fn to_byte(self) -> u8 {
        match self {
            PayloadKind::Meta => 1,
            PayloadKind::Content => 2,
            PayloadKind::Layout => 3,
            PayloadKind::Index => 4,
            PayloadKind::Attributes => 5,
            PayloadKind::Unknown(other) => other,
        }
    }
}

/// How a payload's bytes are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    None,
    /// One zstd frame.
    Zstd,
    /// Something newer.
    Unknown(u8),
}

impl Compression {
    fn from_byte(byte: u8) -> Compression {
        match byte {
            1 => Compression::None,
            2 => Compression::Zstd,
            other => Compression::Unknown(other),
        }
    }

    fn to_byte(self) -> u8 {
        match self {
            Compression::None => 1,
            Compression::Zstd => 2,
            Compression::Unknown(other) => other,
        }
    }
}

/// The header before each payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadHeader {
    /// Bytes that follow.
    pub stored_size: u64,
    /// Bytes after decompression.
    pub plain_size: u64,
    /// XXH3-64 of the stored bytes.
    pub checksum: u64,
    /// Records in a table; 0 for content.
    pub records: u32,
    /// What it holds.
    pub kind: PayloadKind,
    /// How it is stored.
    pub compression: Compression,
    /// 1 in everything that we write or look into.
    pub version: u16,
}

impl PayloadHeader {
    /// The 32 bytes on disk.
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        let fields: [&[u8]; 7] = [
            &self.stored_size.to_be_bytes(),
            &self.plain_size.to_be_bytes(),
            &self.checksum.to_be_bytes(),
            &self.records.to_be_bytes(),
            &self.version.to_be_bytes(),
            &[self.kind.to_byte()],
            &[self.compression.to_byte()],
        ];
        let bytes = fields.into_iter().flatten();
        out.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        out
    }

    fn from_bytes(raw: &[u8; HEADER_BYTES]) -> PayloadHeader {
        let mut fields = Fields(raw);
        PayloadHeader {
            stored_size: u64::from_be_bytes(fields.take()),
            plain_size: u64::from_be_bytes(fields.take()),
            checksum: u64::from_be_bytes(fields.take()),
            records: u32::from_be_bytes(fields.take()),
            version: u16::from_be_bytes(fields.take()),
            kind: PayloadKind::from_byte(u8::from_be_bytes(fields.take())),
            compression: Compression::from_byte(u8::from_be_bytes(fields.take())),
        }
    }

    /// Whether a reader of version 1 can look into it; others are skipped without a check.
    pub fn is_known(&self) -> bool {
        !matches!(self.kind, PayloadKind::Unknown(_))
            && !matches!(self.compression, Compression::Unknown(_))
    }
}

/// Fixed-width fields of a slice; zero where it ended, which callers rule out by length.
pub(super) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    /// The next `N` bytes.
    pub(super) fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk() {
            Some((head, rest)) => {
                self.0 = rest;
                *head
            }
            None => [0; N],
        }
    }

    /// The next `len` bytes, if there are so many.
    pub(super) fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }
}

/// The fault of bytes that are not what the format asks for.
pub(super) fn bad(what: impl Into<String>) -> Fault {
    Fault::new(Kind::Operator, format!("bad stone: {}", what.into()))
        .next("get the file again from where it was made")
}

/// A read that failed: cut short is the file's fault, everything else the machine's.
pub(super) fn unread(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => bad("it is cut short"),
        _ => Fault::new(Kind::Builder, "cannot read a stone").because(error),
    }
}

/// The 32 bytes that a container starts with.
pub fn file_header(file_type: FileType, payloads: u16) -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    let fields: [&[u8]; 5] = [
        &MAGIC,
        &payloads.to_be_bytes(),
        &GUARD,
        &[file_type.to_byte()],
        &VERSION.to_be_bytes(),
    ];
    let bytes = fields.into_iter().flatten();
    out.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    out
}

/// Reads payloads one after the other. What the caller leaves of one is skipped.
pub struct Reader<R> {
    from: R,
    file_type: FileType,
    payloads: u16,
    unread_payloads: u16,
    /// Bytes of the current payload that nobody has read yet.
    unread_bytes: u64,
    position: u64,
    decompressor: zstd::bulk::Decompressor<'static>,
}

impl<R: Read> Reader<R> {
    /// Reads the file header.
    pub fn new(mut from: R) -> Result<Reader<R>> {
        let mut raw = [0; HEADER_BYTES];
        from.read_exact(&mut raw).map_err(|error| unread(&error))?;
        let mut fields = Fields(&raw);
        let magic = fields.take();
        let payloads = u16::from_be_bytes(fields.take());
        let guard = fields.take();
        let file_type = FileType::from_byte(u8::from_be_bytes(fields.take()));
        let version = u32::from_be_bytes(fields.take());
        if magic != MAGIC {
            return Err(bad("it does not begin as a stone does"));
        }
        if version != VERSION {
            return Err(bad(format!("format version {version}, 1 is known")));
        }
        if guard != GUARD {
            return Err(bad("its header is damaged"));
        }
        Ok(Reader {
            from,
            file_type,
            payloads,
            unread_payloads: payloads,
            unread_bytes: 0,
            position: HEADER_BYTES as u64,
            decompressor: zstd::bulk::Decompressor::new().map_err(|error| unread(&error))?,
        })
    }

    /// What the container is used for.
    pub fn file_type(&self) -> FileType {
        self.file_type
    }

    /// How many payloads the header promises.
    pub fn payloads(&self) -> u16 {
        self.payloads
    }

    /// Bytes from the start of the container to the next unread one.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The header of the next payload; `None` after the last. Bytes after the last payload are ignored.
    pub fn next_payload(&mut self) -> Result<Option<PayloadHeader>> {
        if self.unread_bytes > 0 {
            let skipped = io::copy(
                &mut self.from.by_ref().take(self.unread_bytes),
                &mut io::sink(),
            )
            .map_err(|error| unread(&error))?;
            if skipped < self.unread_bytes {
                return Err(bad("a payload is cut short"));
            }
            self.moved(skipped);
        }
        let Some(left) = self.unread_payloads.checked_sub(1) else {
            return Ok(None);
        };
        self.unread_payloads = left;
        let mut raw = [0; HEADER_BYTES];
        self.from
            .read_exact(&mut raw)
            .map_err(|error| unread(&error))?;
        self.position += HEADER_BYTES as u64;
        let header = PayloadHeader::from_bytes(&raw);
        if header.is_known() && header.version != PAYLOAD_VERSION {
            return Err(bad(format!("payload version {}", header.version)));
        }
        self.unread_bytes = header.stored_size;
        Ok(Some(header))
    }

    /// The decompressed bytes of a meta, layout, index or attributes payload, whose header `next_payload` just gave.
    pub fn table(&mut self, header: &PayloadHeader) -> Result<Vec<u8>> {
        let plausible = header.stored_size.saturating_mul(ZSTD_EXPANSION_MAX);
        let size_max = limit::STONE_TABLE_BYTES_MAX.min(plausible);
        if header.stored_size > limit::STONE_TABLE_BYTES_MAX || header.plain_size > size_max {
            return Err(bad(format!(
                "a table of {} bytes, stored in {}",
                header.plain_size, header.stored_size
            )));
        }
        let mut stored = Vec::new();
        self.from
            .by_ref()
            .take(header.stored_size)
            .read_to_end(&mut stored)
            .map_err(|error| unread(&error))?;
        self.moved(stored.len() as u64);
        if (stored.len() as u64) < header.stored_size {
            return Err(bad("a payload is cut short"));
        }
        if xxh3_64(&stored) != header.checksum {
            return Err(bad("a payload's checksum differs from its bytes"));
        }
        let plain = match header.compression {
            Compression::None => stored,
            Compression::Zstd => {
                let size = usize::try_from(header.plain_size)
                    .map_err(|_| bad("a table too large for this machine"))?;
                self.decompressor
                    .decompress(&stored, size)
                    .map_err(|error| bad("a payload does not decompress").because(&error))?
            }
            Compression::Unknown(byte) => return Err(bad(format!("compression {byte}"))),
        };
        if plain.len() as u64 != header.plain_size {
            return Err(bad("a payload has another size than promised"));
        }
        Ok(plain)
    }

    fn moved(&mut self, bytes: u64) {
        self.position += bytes;
        self.unread_bytes = self.unread_bytes.saturating_sub(bytes);
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Leaves the current payload without reading it.
    pub fn seek_past(&mut self) -> Result<()> {
        let to = self.position.checked_add(self.unread_bytes);
        let to = to.ok_or_else(|| bad("a payload larger than any file"))?;
        self.from
            .seek(SeekFrom::Start(to))
            .map_err(|error| unread(&error))?;
        self.moved(self.unread_bytes);
        Ok(())
    }
}

/// A whole payload, header and body, of a table. One `TableWriter` serves many.
pub struct TableWriter(zstd::bulk::Compressor<'static>);

/// zstd itself refused: no memory.
fn unpacked(error: &io::Error) -> Fault {
    Fault::new(Kind::Builder, "cannot compress").because(error)
}

impl TableWriter {
    /// A writer with the settings of current tools. Tables take no workers, so the bytes depend on nothing else.
    pub fn new() -> Result<TableWriter> {
        let mut compressor =
            zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(|error| unpacked(&error))?;
        compressor
            .set_parameter(CParameter::WindowLog(ZSTD_WINDOW_LOG))
            .map_err(|error| unpacked(&error))?;
        Ok(TableWriter(compressor))
    }

    /// Header and body of a payload with these bytes.
    pub fn payload(&mut self, kind: PayloadKind, records: u32, plain: &[u8]) -> Result<Vec<u8>> {
        let stored = self.0.compress(plain).map_err(|error| unpacked(&error))?;
        let header = PayloadHeader {
            stored_size: stored.len() as u64,
            plain_size: plain.len() as u64,
            checksum: xxh3_64(&stored),
            records,
            kind,
            compression: Compression::Zstd,
            version: PAYLOAD_VERSION,
        };
        let mut out = Vec::with_capacity(HEADER_BYTES + stored.len());
        out.extend_from_slice(&header.to_bytes());
        out.extend_from_slice(&stored);
        Ok(out)
    }
}
