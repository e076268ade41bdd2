//! Content payloads as streams: they may be larger than memory.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};

use xxhash_rust::xxh3::Xxh3;
use zstd::zstd_safe::{CParameter, get_frame_content_size};

use super::container::{
    Compression, HEADER_BYTES, PAYLOAD_VERSION, PayloadHeader, PayloadKind, ZSTD_LEVEL,
    ZSTD_WINDOW_LOG, bad, unread,
};
use crate::fault::{Fault, Result};
use crate::limit;

/// A payload's stored bytes, hashed as they pass.
struct Stored<R> {
    from: R,
    left: u64,
    hasher: Box<Xxh3>,
}

impl<R: Read> Read for Stored<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let part = buffer.get_mut(..wanted).unwrap_or_default();
        let got = self.from.read(part)?;
        self.hasher.update(part.get(..got).unwrap_or_default());
        self.left -= got as u64;
        Ok(got)
    }
}

enum Plain<R: Read> {
    Raw(BufReader<Stored<R>>),
    Zstd(zstd::stream::read::Decoder<'static, BufReader<Stored<R>>>),
}

/// The decompressed bytes of a content payload as a stream.
pub struct ContentReader<R: Read> {
    plain: Plain<R>,
    left: u64,
    checksum: u64,
}

impl<R: Read> ContentReader<R> {
    /// `from` stands at the first stored byte.
    pub fn new(from: R, header: &PayloadHeader) -> Result<ContentReader<R>> {
        if header.plain_size > limit::STONE_CONTENT_BYTES_MAX {
            return Err(bad(format!("content of {} bytes", header.plain_size)));
        }
        let mut stored = BufReader::with_capacity(
            128 * 1024,
            Stored {
                from,
                left: header.stored_size,
                hasher: Box::new(Xxh3::new()),
            },
        );
        let plain = match header.compression {
            Compression::None => Plain::Raw(stored),
            Compression::Zstd => {
                let start = stored.fill_buf().map_err(|error| unread(&error))?;
                // A window is allocated from what the frame says, so it must say what the header says.
                if let Ok(Some(size)) = get_frame_content_size(start)
                    && size != header.plain_size
                {
                    return Err(bad("the content has another size than promised"));
                }
                let mut decoder = zstd::stream::read::Decoder::with_buffer(stored)
                    .map_err(|error| unread(&error))?
                    .single_frame();
                decoder
                    .window_log_max(ZSTD_WINDOW_LOG)
                    .map_err(|error| unread(&error))?;
                Plain::Zstd(decoder)
            }
            Compression::Unknown(byte) => return Err(bad(format!("compression {byte}"))),
        };
        Ok(ContentReader {
            plain,
            left: header.plain_size,
            checksum: header.checksum,
        })
    }

    /// Checks that nothing is left and that the checksum holds.
    pub fn finish(mut self) -> Result<()> {
        let mut one = [0];
        if self.left > 0
            || self
                .read_plain(&mut one)
                .map_err(|error| undecoded(&error))?
                > 0
        {
            return Err(bad("the content has another size than promised"));
        }
        let mut stored = match self.plain {
            Plain::Raw(stored) => stored,
            Plain::Zstd(decoder) => decoder.finish(),
        };
        io::copy(&mut stored, &mut io::sink()).map_err(|error| unread(&error))?;
        let stored = stored.into_inner();
        if stored.left > 0 {
            return Err(bad("the content is cut short"));
        }
        if stored.hasher.digest() != self.checksum {
            return Err(bad("the content's checksum differs from its bytes"));
        }
        Ok(())
    }

    fn read_plain(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.plain {
            Plain::Raw(stored) => stored.read(buffer),
            Plain::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

impl<R: Read> Read for ContentReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let part = buffer.get_mut(..wanted).unwrap_or_default();
        if part.is_empty() {
            return Ok(0);
        }
        let got = self.read_plain(part)?;
        self.left -= got as u64;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(got)
    }
}

/// A read of decompressed bytes that failed: almost always damage.
pub(super) fn undecoded(error: &io::Error) -> Fault {
    match error.raw_os_error() {
        Some(_) => unread(error),
        None => bad("the content does not decompress").because(error),
    }
}

/// What passes is hashed and counted on its way out.
struct Counted<W> {
    to: W,
    count: u64,
    hasher: Box<Xxh3>,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let done = self.to.write(bytes)?;
        self.hasher.update(bytes.get(..done).unwrap_or_default());
        self.count += done as u64;
        Ok(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A content payload that is written as a stream; its header is put in place at the end.
pub struct ContentWriter<W: Write> {
    encoder: zstd::stream::write::Encoder<'static, Counted<W>>,
    header_at: u64,
    plain_size: u64,
}

impl<W: Write + Seek> ContentWriter<W> {
    /// Starts a payload of exactly `plain_size` bytes at the current position.
    pub fn new(mut to: W, plain_size: u64, workers: u32) -> io::Result<ContentWriter<W>> {
        let header_at = to.stream_position()?;
        to.write_all(&[0; HEADER_BYTES])?;
        let counted = Counted {
            to,
            count: 0,
            hasher: Box::new(Xxh3::new()),
        };
        let mut encoder = zstd::stream::write::Encoder::new(counted, ZSTD_LEVEL)?;
        encoder.set_parameter(CParameter::WindowLog(limit::STONE_CONTENT_WINDOW_LOG))?;
        encoder.set_parameter(CParameter::JobSize(limit::STONE_CONTENT_JOB_BYTES))?;
        // No worker and one worker give different bytes, one and many the same.
        encoder.set_parameter(CParameter::NbWorkers(workers.max(1)))?;
        encoder.set_pledged_src_size(Some(plain_size))?;
        Ok(ContentWriter {
            encoder,
            header_at,
            plain_size,
        })
    }

    /// Ends the frame and writes the header. `to` then stands at the end.
    pub fn finish(self) -> io::Result<W> {
        let counted = self.encoder.finish()?;
        let header = PayloadHeader {
            stored_size: counted.count,
            plain_size: self.plain_size,
            checksum: counted.hasher.digest(),
            records: 0,
            kind: PayloadKind::Content,
            compression: Compression::Zstd,
            version: PAYLOAD_VERSION,
        };
        let mut to = counted.to;
        to.seek(SeekFrom::Start(self.header_at))?;
        to.write_all(&header.to_bytes())?;
        to.seek(SeekFrom::End(0))?;
        Ok(to)
    }
}

impl<W: Write> Write for ContentWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.encoder.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
