//! Rows as bytes: one shape byte, then postcard. The only file that encodes and decodes values of the store.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Key;
use super::overlay::Entry;
use crate::fault::{Fault, Kind, Result};
use crate::id::Digest;
use crate::limit;

/// A row of a tree. `SHAPE` is the first byte of every stored row: raise it when the type changes, and teach
/// `older` the shapes before it.
pub trait Row: Serialize + DeserializeOwned {
    /// The tree's name: short, lower case, unique in the program.
    const TREE: &'static str;
    /// The present shape.
    const SHAPE: u8;
    /// The type of the tree's keys.
    type Key: Key;

    /// Where this row is kept.
    fn key(&self) -> Self::Key;

    /// The blobs that this row names: `check` looks for them.
    fn blobs(&self) -> Vec<Digest> {
        Vec::new()
    }

    /// A row of an earlier shape, brought up to the present one; `None`: that shape never existed.
    fn older(_shape: u8, _body: &[u8]) -> Option<Self> {
        None
    }
}

/// The stored bytes of a row.
pub fn encode<R: Row>(row: &R) -> Result<Vec<u8>> {
    let bytes = postcard::to_extend(row, vec![R::SHAPE]).map_err(|error| {
        Fault::bug(format!("a row of {} has no stored form", R::TREE)).because(&error)
    })?;
    if bytes.len() > limit::STORE_VALUE_BYTES_MAX {
        return Err(Fault::bug(format!(
            "a row of {} has {} bytes, the store takes {}; nothing was written",
            R::TREE,
            bytes.len(),
            limit::STORE_VALUE_BYTES_MAX
        )));
    }
    Ok(bytes)
}

/// The row that these bytes are.
pub fn decode<R: Row>(bytes: &[u8]) -> Result<R> {
    let Some((&shape, body)) = bytes.split_first() else {
        return Err(damaged::<R>("is empty"));
    };
    if shape != R::SHAPE {
        return R::older(shape, body).ok_or_else(|| unknown_shape::<R>(shape));
    }
    match postcard::take_from_bytes(body) {
        Ok((row, [])) => Ok(row),
        Ok((_, rest)) => Err(damaged::<R>(&format!("has {} bytes too many", rest.len()))),
        Err(error) => Err(damaged::<R>("cannot be read").because(&error)),
    }
}

fn damaged<R: Row>(how: &str) -> Fault {
    Fault::new(Kind::Operator, format!("a row of {} {how}", R::TREE))
        .next("`massif store check` lists all such rows; `massif store restore FILE` brings back a backup")
}

fn unknown_shape<R: Row>(shape: u8) -> Fault {
    let what = format!(
        "a row of {} has shape {shape}, this massif knows up to {}",
        R::TREE,
        R::SHAPE
    );
    Fault::new(Kind::Operator, what).next(
        "start the version of massif that wrote it, or `massif store restore FILE` with an older backup",
    )
}

/// The bytes that a row is found under: `tree 00 key`. All trees lie in one physical sled tree.
pub(super) fn stored_key<R: Row>(key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(R::TREE.len() + 1 + key.len());
    bytes.extend_from_slice(R::TREE.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(key);
    bytes
}

/// Changes over any trees that become durable together or not at all. Later changes of the same row win.
#[derive(Debug, Default)]
pub struct WriteSet {
    entries: Vec<Entry>,
    bytes: usize,
    /// The first row that could not be encoded; `commit` refuses the whole set with it.
    fault: Option<Fault>,
}

impl WriteSet {
    /// Without changes.
    pub fn new() -> WriteSet {
        WriteSet::default()
    }

    /// The row is there afterwards.
    pub fn put<R: Row>(&mut self, row: &R) -> &mut WriteSet {
        match encode(row) {
            Ok(value) => self.push(stored_key::<R>(&row.key().to_bytes()), Some(value)),
            Err(fault) => {
                self.fault.get_or_insert(fault);
            }
        }
        self
    }

    /// No row of that key is there afterwards.
    pub fn delete<R: Row>(&mut self, key: &R::Key) -> &mut WriteSet {
        self.push(stored_key::<R>(&key.to_bytes()), None);
        self
    }

    /// All changes of `other`, after those of `self`.
    pub fn extend(&mut self, other: WriteSet) -> &mut WriteSet {
        self.bytes += other.bytes;
        self.entries.extend(other.entries);
        if let Some(fault) = other.fault {
            self.fault.get_or_insert(fault);
        }
        self
    }

    /// How many changes.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.fault.is_none()
    }

    pub(super) fn push(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.bytes += key.len() + value.as_ref().map_or(0, Vec::len) + 8;
        self.entries.push((key, value));
    }

    /// The changes in order, or why the set is refused.
    pub(super) fn into_entries(self) -> Result<Vec<Entry>> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if self.bytes > limit::STORE_SET_BYTES_MAX {
            return Err(Fault::bug(format!(
                "{} changes of {} bytes in one commit, the store takes {} bytes; nothing was written",
                self.entries.len(),
                self.bytes,
                limit::STORE_SET_BYTES_MAX
            )));
        }
        Ok(self.entries)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Pair(u64, String);
    impl Row for Pair {
        const TREE: &'static str = "pair";
        const SHAPE: u8 = 2;
        type Key = u64;
        fn key(&self) -> u64 {
            self.0
        }
        fn older(shape: u8, body: &[u8]) -> Option<Pair> {
            match shape {
                1 => postcard::from_bytes(body)
                    .ok()
                    .map(|number| Pair(number, String::new())),
                _ => None,
            }
        }
    }

    #[test]
    fn row_bytes_are_frozen() {
        let row = Pair(300, "ab".into());
        assert_eq!(encode(&row).unwrap(), [2, 0xac, 2, 2, b'a', b'b']);
        assert_eq!(
            stored_key::<Pair>(&300u64.to_bytes()),
            b"pair\0\0\0\0\0\0\0\x01\x2c"
        );
    }

    #[test]
    fn rows_of_an_older_shape_are_read_and_of_a_newer_one_refused_by_name() {
        assert_eq!(decode::<Pair>(&[1, 7]).unwrap(), Pair(7, String::new()));
        let fault = decode::<Pair>(&[3, 7]).unwrap_err();
        assert!(fault.what.contains("pair has shape 3"), "{fault}");
        assert!(!fault.next.is_empty());
    }

    #[test]
    fn damaged_rows_are_faults_and_never_a_panic() {
        for bytes in [
            &[][..],
            &[2],
            &[2, 1, 9, b'a'],
            &[2, 1, 1, b'a', 0],
            &[2, 255, 255],
        ] {
            assert!(decode::<Pair>(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_row_at_the_limit_is_taken_and_one_past_it_is_not() {
        let row = |len| Pair(1, "x".repeat(len));
        assert!(encode(&row(limit::STORE_VALUE_BYTES_MAX - 4)).is_ok());
        assert!(encode(&row(limit::STORE_VALUE_BYTES_MAX - 3)).is_err());
    }
}
