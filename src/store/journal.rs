//! The journal: every group of changes as one checksummed frame, durable with one `fdatasync` before anybody is told.
//!
//! Sled gets the rows afterwards. Its own flush is no fsync, costs a second trip to the disk and reuses its log in ways
//! that we cannot check; a frame of ours is found whole or not at all, and replaying frames is harmless because they
//! hold whole rows. Segments are files of zeroes, written ahead so that a commit changes no file size, and used again
//! once sled has durably taken all that is in them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_128;

use super::files;
use super::overlay::Entry;

/// First bytes of a frame; the last one is the version.
const MAGIC: &[u8; 8] = b"massifJ\x01";
/// Magic, store id, generation, payload length, checksum.
const HEAD: usize = 8 + 16 + 8 + 8 + 16;
/// Frames begin at multiples of this, the smallest sector that disks write as a whole.
const ALIGN: u64 = 512;
/// One segment; a larger group gets a larger one.
const SEGMENT_BYTES: u64 = 4 << 20;
/// Segments that stay when all are free.
const SEGMENTS_KEPT: usize = 2;
/// Segments that wait for sled before committers have to.
const SEGMENTS_MAX: usize = 16;
/// Marks a deleted row in place of a value's length.
const DELETED: u32 = u32::MAX;

/// The journal of one store.
pub(super) struct Journal {
    dir: PathBuf,
    store: [u8; 16],
    segments: Vec<Segment>,
    /// Index of the segment that is being filled.
    current: usize,
    next_name: u64,
    buffer: Vec<u8>,
}

struct Segment {
    path: PathBuf,
    file: File,
    len: u64,
    used: u64,
    /// The newest generation in it; free once sled has that.
    newest: u64,
}

/// A frame that was found at the start.
pub(super) struct Frame {
    pub generation: u64,
    pub entries: Vec<Entry>,
}

impl Journal {
    /// Opens the journal in `dir`, or makes one.
    pub(super) fn open(dir: &Path, store: [u8; 16]) -> io::Result<Journal> {
        files::make_dir(dir, 0o700)?;
        let mut journal = Journal {
            dir: dir.into(),
            store,
            segments: Vec::new(),
            current: 0,
            next_name: 0,
            buffer: Vec::new(),
        };
        let mut names: Vec<u64> = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let name = entry?.file_name();
            names.extend(
                name.to_str()
                    .and_then(|name| name.strip_suffix(".journal")?.parse::<u64>().ok()),
            );
        }
        names.sort_unstable();
        for name in names {
            let path = dir.join(format!("{name}.journal"));
            let file = OpenOptions::new().read(true).write(true).open(&path)?;
            let len = file.metadata()?.len();
            journal.next_name = name + 1;
            journal.segments.push(Segment {
                path,
                file,
                len,
                used: 0,
                newest: 0,
            });
        }
        Ok(journal)
    }

    /// All whole frames of this store newer than `applied`, oldest first.
    pub(super) fn frames_after(&self, applied: u64) -> io::Result<Vec<Frame>> {
        let mut frames = Vec::new();
        for segment in &self.segments {
            let bytes = std::fs::read(&segment.path)?;
            let mut at = 0usize;
            while at + HEAD <= bytes.len() {
                match parse_frame(&bytes[at..], &self.store) {
                    Some((frame, len)) => {
                        if frame.generation > applied {
                            frames.push(frame);
                        }
                        at += aligned(len as u64) as usize;
                    }
                    None => at += ALIGN as usize,
                }
            }
        }
        frames.sort_by_key(|frame| frame.generation);
        Ok(frames)
    }

    /// Begins afresh: what was found has been taken by sled durably.
    pub(super) fn reset(&mut self) -> io::Result<()> {
        while self.segments.len() > SEGMENTS_KEPT
            && let Some(segment) = self.segments.pop()
        {
            std::fs::remove_file(&segment.path)?;
        }
        for segment in &mut self.segments {
            segment.used = 0;
            segment.newest = 0;
        }
        self.current = 0;
        while self.segments.len() < SEGMENTS_KEPT {
            self.add_segment(SEGMENT_BYTES)?;
        }
        Ok(())
    }

    /// Makes one group durable. After an error the group may or may not be found at the next start.
    pub(super) fn append<'a>(
        &mut self,
        generation: u64,
        payloads: impl Iterator<Item = &'a [u8]>,
        applied: u64,
    ) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.resize(HEAD, 0);
        payloads.for_each(|payload| buffer.extend_from_slice(payload));
        seal_frame(&mut buffer, &self.store, generation);
        let outcome = self.place(buffer.len() as u64, applied).and_then(|()| {
            let segment = self.segments.get_mut(self.current).ok_or_else(no_segment)?;
            segment.file.write_all_at(&buffer, segment.used)?;
            segment.file.sync_data()?;
            segment.used += aligned(buffer.len() as u64);
            segment.newest = generation;
            Ok(())
        });
        self.buffer = buffer;
        outcome
    }

    /// Makes sure that the frame which `append` failed to make durable is not found.
    pub(super) fn unwrite(&mut self) -> io::Result<()> {
        if let Some(segment) = self.segments.get(self.current)
            && segment.used + HEAD as u64 <= segment.len
        {
            segment.file.write_all_at(&[0; HEAD], segment.used)?;
            segment.file.sync_data()?;
        }
        Ok(())
    }

    /// Whether so much waits for sled that the next group should too.
    pub(super) fn is_full(&self, applied: u64) -> bool {
        self.segments.len() >= SEGMENTS_MAX
            && self.segments.iter().all(|segment| segment.newest > applied)
    }

    /// Makes `current` a segment with room for `len` bytes.
    fn place(&mut self, len: u64, applied: u64) -> io::Result<()> {
        let has_room = |segment: &Segment| segment.used + len <= segment.len;
        if self.segments.get(self.current).is_some_and(has_room) {
            return Ok(());
        }
        let free = |segment: &Segment| segment.newest <= applied && len <= segment.len;
        if let Some(index) = self.segments.iter().position(free) {
            self.segments[index].used = 0;
            self.current = index;
            return Ok(());
        }
        self.add_segment(SEGMENT_BYTES.max(len.next_multiple_of(1 << 20)))?;
        self.current = self.segments.len() - 1;
        Ok(())
    }

    fn add_segment(&mut self, len: u64) -> io::Result<()> {
        let path = self.dir.join(format!("{}.journal", self.next_name));
        let filled = || {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&path)?;
            let zeroes = vec![0; 1 << 20];
            let mut left = len;
            while left > 0 {
                let step = left.min(zeroes.len() as u64);
                file.write_all(&zeroes[..step as usize])?;
                left -= step;
            }
            file.sync_all()?;
            files::sync_dir(&self.dir)?;
            Ok(file)
        };
        match filled() {
            Ok(file) => {
                self.next_name += 1;
                self.segments.push(Segment {
                    path,
                    file,
                    len,
                    used: 0,
                    newest: 0,
                });
                Ok(())
            }
            Err(error) => {
                // Half a segment holds nothing; on a full disk its room is worth more than its name.
                drop(std::fs::remove_file(&path));
                Err(error)
            }
        }
    }
}

fn no_segment() -> io::Error {
    io::Error::other("the journal has no segment")
}

fn aligned(len: u64) -> u64 {
    len.next_multiple_of(ALIGN)
}

/// Fills in the head of a frame whose payload is in place.
fn seal_frame(frame: &mut [u8], store: &[u8; 16], generation: u64) {
    let len = (frame.len() - HEAD) as u64;
    frame[..8].copy_from_slice(MAGIC);
    frame[8..24].copy_from_slice(store);
    frame[24..32].copy_from_slice(&generation.to_le_bytes());
    frame[32..40].copy_from_slice(&len.to_le_bytes());
    frame[40..HEAD].fill(0);
    let sum = xxh3_128(frame);
    frame[40..HEAD].copy_from_slice(&sum.to_le_bytes());
}

/// The frame at the start of these bytes, and its length.
fn parse_frame(bytes: &[u8], store: &[u8; 16]) -> Option<(Frame, usize)> {
    let head = bytes.get(..HEAD)?;
    if &head[..8] != MAGIC || &head[8..24] != store {
        return None;
    }
    let number = |at: usize| head[at..at + 8].try_into().map(u64::from_le_bytes).ok();
    let generation = number(24)?;
    let len = HEAD.checked_add(usize::try_from(number(32)?).ok()?)?;
    let whole = bytes.get(..len)?;
    let mut copy = whole.to_vec();
    copy[40..HEAD].fill(0);
    if xxh3_128(&copy).to_le_bytes() != head[40..HEAD] {
        return None;
    }
    let entries = parse_entries(&whole[HEAD..])?;
    Some((
        Frame {
            generation,
            entries,
        },
        len,
    ))
}

/// Appends one entry as a frame's payload holds it.
pub(super) fn write_entry(entry: &Entry, to: &mut Vec<u8>) {
    to.extend_from_slice(&(entry.0.len() as u32).to_le_bytes());
    to.extend_from_slice(&entry.0);
    match &entry.1 {
        Some(value) => {
            to.extend_from_slice(&(value.len() as u32).to_le_bytes());
            to.extend_from_slice(value);
        }
        None => to.extend_from_slice(&DELETED.to_le_bytes()),
    }
}

fn parse_entries(mut bytes: &[u8]) -> Option<Vec<Entry>> {
    fn number(bytes: &mut &[u8]) -> Option<u32> {
        let (head, rest) = bytes.split_first_chunk::<4>()?;
        *bytes = rest;
        Some(u32::from_le_bytes(*head))
    }
    fn part<'a>(bytes: &mut &'a [u8], len: u32) -> Option<&'a [u8]> {
        let (head, rest) = bytes.split_at_checked(len as usize)?;
        *bytes = rest;
        Some(head)
    }
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let len = number(&mut bytes)?;
        let key = part(&mut bytes, len)?.to_vec();
        let value = match number(&mut bytes)? {
            DELETED => None,
            len => Some(part(&mut bytes, len)?.to_vec()),
        };
        entries.push((key, value));
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(entries: &[Entry]) -> Vec<u8> {
        let mut bytes = Vec::new();
        entries
            .iter()
            .for_each(|entry| write_entry(entry, &mut bytes));
        bytes
    }

    #[test]
    fn frame_bytes_are_frozen() {
        let mut frame = vec![0; HEAD];
        frame.extend(payload(&[
            (b"t\0k".to_vec(), Some(b"v".to_vec())),
            (b"t\0l".to_vec(), None),
        ]));
        seal_frame(&mut frame, &[7; 16], 258);
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "6d61737369664a0107070707070707070707070707070707020100000000000017000000000000\
             0082aafb2ee504883e3fe5a28afc2f28210300000074006b01000000760300000074006cffffffff"
        );
    }

    #[test]
    fn what_was_appended_is_found_again_and_a_torn_frame_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), [1; 16]).unwrap();
        journal.reset().unwrap();
        for generation in 1..=5u64 {
            let bytes = payload(&[(generation.to_be_bytes().to_vec(), Some(vec![9; 700]))]);
            journal
                .append(generation, std::iter::once(bytes.as_slice()), 0)
                .unwrap();
        }
        let found = Journal::open(dir.path(), [1; 16]).unwrap();
        let generations = |journal: &Journal| -> Vec<u64> {
            let frames = journal.frames_after(2).unwrap();
            frames.iter().map(|frame| frame.generation).collect()
        };
        assert_eq!(generations(&found), [3, 4, 5]);
        // Frames take 1,024 bytes each here; the last one loses a byte of its value.
        found.segments[0]
            .file
            .write_all_at(&[0], 4 * 1024 + 600)
            .unwrap();
        assert_eq!(generations(&found), [3, 4]);
        let stranger = Journal::open(dir.path(), [2; 16]).unwrap();
        assert!(stranger.frames_after(0).unwrap().is_empty());
    }

    #[test]
    fn segments_are_used_again_once_sled_has_them_and_large_groups_get_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), [1; 16]).unwrap();
        journal.reset().unwrap();
        let half = payload(&[(b"k".to_vec(), Some(vec![1; 3 << 20]))]);
        for generation in 1..=6 {
            journal
                .append(generation, std::iter::once(half.as_slice()), generation - 1)
                .unwrap();
        }
        assert_eq!(journal.segments.len(), 2);
        let large = payload(&[(b"k".to_vec(), Some(vec![1; 9 << 20]))]);
        journal
            .append(7, std::iter::once(large.as_slice()), 6)
            .unwrap();
        assert_eq!(journal.segments.len(), 3);
        let frames = journal.frames_after(6).unwrap();
        assert_eq!(frames.len(), 1);
        assert_eq!(frames[0].entries[0].1.as_ref().unwrap().len(), 9 << 20);
    }
}
