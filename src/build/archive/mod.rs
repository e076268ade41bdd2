//! Unpacks upstream archives with our own readers, so that a machine needs no tar, unzip or xz for it.
//! Archives come from strangers: members stay below the directory, links too, devices are refused, sizes are bounded.

mod tree;

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use crate::fault::{Fault, Kind, Result};
use crate::limit;
pub(super) use tree::Tree;

/// Who the unpacked files belong to; `None` leaves them to whoever unpacks.
pub type Owner = Option<(u32, u32)>;

/// One archive to unpack.
#[derive(Debug, Clone, Copy)]
pub struct Unpack<'a> {
    /// The file; its format is told by its first bytes.
    pub archive: &'a Path,
    /// Its name for people, and for what is not an archive: the name of the copy.
    pub name: &'a str,
    /// The directory, which is made.
    pub into: &'a Path,
    /// Leading components of member names that are dropped; members with no more than these are left out.
    pub strip_dirs: u32,
    /// The build runs as this user, who must be able to write.
    pub owner: Owner,
    /// At most so many bytes come out.
    pub bytes_max: u64,
    /// At most so many members.
    pub entries_max: u64,
}

impl<'a> Unpack<'a> {
    /// With the usual limits.
    pub fn new(archive: &'a Path, name: &'a str, into: &'a Path) -> Unpack<'a> {
        Unpack {
            archive,
            name,
            into,
            strip_dirs: 0,
            owner: None,
            bytes_max: limit::UNPACKED_BYTES_MAX,
            entries_max: limit::UNPACKED_ENTRIES_MAX,
        }
    }

    /// Dropping this many leading components.
    pub fn stripping(self, strip_dirs: u32) -> Unpack<'a> {
        Unpack { strip_dirs, ..self }
    }

    /// Given to this user.
    pub fn owned_by(self, owner: Owner) -> Unpack<'a> {
        Unpack { owner, ..self }
    }
}

/// What came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unpacked {
    /// Members written.
    pub entries: u64,
    /// Bytes of their contents.
    pub bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Gzip,
    Bzip2,
    Xz,
    Lzma,
    Lzip,
    Zstd,
    Tar,
    Zip,
    Unsupported(&'static str),
    Plain,
}

const HEAD_BYTES: usize = 512;

fn format_of(head: &[u8]) -> Format {
    const MAGIC: &[(&[u8], Format)] = &[
        (b"\x1f\x8b", Format::Gzip),
        (b"BZh", Format::Bzip2),
        (b"\xfd7zXZ\0", Format::Xz),
        (b"LZIP", Format::Lzip),
        (b"\x28\xb5\x2f\xfd", Format::Zstd),
        (b"PK\x03\x04", Format::Zip),
        (b"PK\x05\x06", Format::Zip),
        (b"\x5d\0\0", Format::Lzma),
        (b"7z\xbc\xaf\x27\x1c", Format::Unsupported("7z")),
        (b"Rar!", Format::Unsupported("rar")),
        (b"\xed\xab\xee\xdb", Format::Unsupported("rpm")),
        (b"!<arch>\n", Format::Unsupported("ar or deb")),
        (b"070701", Format::Unsupported("cpio")),
    ];
    if let Some((_, format)) = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)) {
        return *format;
    }
    if is_tar(head) {
        Format::Tar
    } else {
        Format::Plain
    }
}

/// A tar header has its own checksum at byte 148: eight bytes, counted as blanks.
fn is_tar(head: &[u8]) -> bool {
    let (Some(before), Some(sum), Some(after)) =
        (head.get(..148), head.get(148..156), head.get(156..512))
    else {
        return false;
    };
    let text: String = sum.iter().map(|&byte| byte as char).collect();
    let text = text.trim_matches(['\0', ' ']);
    let total: u32 = before
        .iter()
        .chain(after)
        .map(|&byte| u32::from(byte))
        .sum();
    u32::from_str_radix(text, 8).is_ok_and(|said| said == total + 8 * u32::from(b' '))
}

/// Unpacks. `told` hears the bytes written so far and answers whether to go on.
pub fn unpack(what: &Unpack<'_>, told: &mut dyn FnMut(u64) -> bool) -> Result<Unpacked> {
    let (file, head) = open(what.archive).map_err(|error| {
        Fault::new(Kind::Builder, format!("cannot read {}", what.name)).because(&error)
    })?;
    let mut tree = Tree::new(what, told)?;
    let format = format_of(&head);
    let done = match format {
        Format::Zip => zip_members(file, &mut tree),
        Format::Unsupported(kind) => {
            return Err(Fault::new(
                Kind::Recipe,
                format!(
                    "{} is a {kind} archive, which cannot be unpacked here",
                    what.name
                ),
            )
            .next(
                "give it `unpack: false` and unpack it in `setup` with a tool from `builddeps`",
            ));
        }
        Format::Tar => tar_members(BufReader::new(file), &mut tree),
        Format::Plain => tree.file(what.name, 0o644, None, &mut BufReader::new(file)),
        _ => decompressor(format, BufReader::with_capacity(256 * 1024, file))
            .map_err(Stop::from)
            .and_then(|plain| stream(plain, what.name, &mut tree)),
    };
    done.and_then(|()| tree.finish())
        .map_err(|stop| stop.fault(what.name))
}

fn open(path: &Path) -> io::Result<(File, Vec<u8>)> {
    let mut file = File::open(path)?;
    let mut head = Vec::new();
    file.by_ref()
        .take(HEAD_BYTES as u64)
        .read_to_end(&mut head)?;
    file.seek(SeekFrom::Start(0))?;
    Ok((file, head))
}

type Plain = Box<dyn Read>;

fn decompressor(format: Format, raw: BufReader<File>) -> io::Result<Plain> {
    Ok(match format {
        Format::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(raw)),
        Format::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(raw)),
        Format::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(
            raw,
            true,
            limit::UNPACK_MEMORY_KIB_MAX,
        )),
        Format::Lzma => Box::new(lzma_rust2::LzmaReader::new_mem_limit(
            raw,
            limit::UNPACK_MEMORY_KIB_MAX,
            None,
        )?),
        Format::Lzip => Box::new(lzma_rust2::LzipReader::new(raw)),
        Format::Zstd => {
            let mut plain = zstd::stream::read::Decoder::with_buffer(raw)?;
            plain.window_log_max(31)?;
            Box::new(plain)
        }
        Format::Tar | Format::Zip | Format::Unsupported(_) | Format::Plain => Box::new(raw),
    })
}

/// What a compressed file holds: a tar archive, or one plain file.
fn stream(mut plain: Plain, name: &str, tree: &mut Tree<'_>) -> std::result::Result<(), Stop> {
    let mut head = Vec::new();
    plain
        .by_ref()
        .take(HEAD_BYTES as u64)
        .read_to_end(&mut head)?;
    let is_tar = is_tar(&head);
    let is_empty_tar = head.len() == HEAD_BYTES && head.iter().all(|&byte| byte == 0);
    let mut whole = BufReader::with_capacity(256 * 1024, io::Cursor::new(head).chain(plain));
    if is_tar || is_empty_tar {
        return tar_members(whole, tree);
    }
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    tree.file(stem, 0o644, None, &mut whole)
}

fn tar_members(plain: impl Read, tree: &mut Tree<'_>) -> std::result::Result<(), Stop> {
    use tar::EntryType;
    let mut archive = tar::Archive::new(plain);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader | EntryType::XHeader) {
            continue;
        }
        let name = text(&entry.path_bytes())?;
        let mode = entry.header().mode().unwrap_or(0o644);
        let time = entry
            .header()
            .mtime()
            .ok()
            .and_then(|time| i64::try_from(time).ok());
        let link = match entry.link_name_bytes() {
            Some(link) => Some(text(&link)?),
            None => None,
        };
        match (kind, link) {
            (EntryType::Directory, _) => tree.directory(&name, mode, time)?,
            // Old archives mark directories by a slash only.
            (EntryType::Regular | EntryType::Continuous, _) if name.ends_with('/') => {
                tree.directory(&name, mode, time)?;
            }
            (EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse, _) => {
                tree.file(&name, mode, time, &mut entry)?;
            }
            (EntryType::Symlink, Some(to)) => tree.symlink(&name, &to, time)?,
            (EntryType::Link, Some(to)) => tree.hard_link(&name, &to)?,
            (kind, _) => {
                return Err(Stop::Hostile(format!(
                    "member {name:?} is no file, directory or link (type {:?})",
                    kind.as_byte() as char
                )));
            }
        }
    }
    Ok(())
}

fn zip_members(file: File, tree: &mut Tree<'_>) -> std::result::Result<(), Stop> {
    let broken =
        |error: zip::result::ZipError| Stop::Io(io::Error::new(io::ErrorKind::InvalidData, error));
    let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(broken)?;
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).map_err(broken)?;
        let name = text(member.name().map_err(broken)?.as_bytes())?;
        let time = member.last_modified().and_then(seconds);
        let mode = member.unix_mode().unwrap_or(0o644);
        if member.is_dir() {
            tree.directory(&name, mode | 0o755, time)?;
        } else if member.is_symlink() {
            let mut to = Vec::new();
            (&mut member).take(4096).read_to_end(&mut to)?;
            tree.symlink(&name, &text(&to)?, time)?;
        } else {
            tree.file(&name, mode, time, &mut member)?;
        }
    }
    Ok(())
}

/// Zip keeps local time without a zone; we read it as UTC so that it is the same everywhere.
fn seconds(time: zip::DateTime) -> Option<i64> {
    let part = |value: u8| i8::try_from(value).ok();
    let moment = jiff::civil::DateTime::new(
        i16::try_from(time.year()).ok()?,
        part(time.month())?,
        part(time.day())?,
        part(time.hour())?,
        part(time.minute())?,
        part(time.second().min(59))?,
        0,
    )
    .ok()?;
    Some(
        moment
            .to_zoned(jiff::tz::TimeZone::UTC)
            .ok()?
            .timestamp()
            .as_second(),
    )
}

fn text(raw: &[u8]) -> std::result::Result<String, Stop> {
    String::from_utf8(raw.to_vec()).map_err(|_| {
        Stop::Hostile(format!(
            "member {:?} is not UTF-8",
            String::from_utf8_lossy(raw)
        ))
    })
}

/// Why unpacking ended early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The archive asks for what no honest one needs.
    Hostile(String),
    /// It is damaged.
    Io(io::Error),
    /// The disk or the file system of this host.
    Host(io::Error),
    /// More comes out than allowed.
    TooMuch(String),
    /// `told` said so.
    Cancelled,
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Io(error)
    }
}

impl Stop {
    pub(super) fn fault(self, name: &str) -> Fault {
        match self {
            Stop::Hostile(what) => Fault::new(Kind::Upstream, format!("{name} is refused: {what}"))
                .next("look into the archive; if it is meant so, repack it and name the new hash"),
            Stop::Io(error) => Fault::new(Kind::Upstream, format!("{name} cannot be unpacked"))
                .because(&error)
                .next("check that the upstream's file is whole; its hash is the one in the recipe"),
            Stop::Host(error) => {
                Fault::new(Kind::Builder, format!("cannot write what {name} holds"))
                    .because(&error)
                    .next("look at the disk of this builder")
            }
            Stop::TooMuch(what) => Fault::new(Kind::Upstream, format!("{name} is refused: {what}"))
                .next("look into the archive; such a size is not expected of sources"),
            Stop::Cancelled => {
                Fault::new(Kind::Operator, format!("unpacking {name} was cancelled"))
            }
        }
    }
}

#[cfg(test)]
mod tests;
