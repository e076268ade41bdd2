//! Rows as bytes: one shape byte, then postcard. The only file that encodes and decodes values of the store.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Key;
use crate::fault::{Fault, Kind, Result};
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

/// One change of a tree, as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The tree.
    pub tree: &'static str,
    /// The key within the tree.
    pub key: Vec<u8>,
    /// `None`: the row goes.
    pub value: Option<Vec<u8>>,
}

/// Changes over any trees that become durable together or not at all. Later changes of the same row win.
#[derive(Debug, Default)]
pub struct WriteSet {
    writes: Vec<Write>,
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
            Ok(value) => self.writes.push(Write {
                tree: R::TREE,
                key: row.key().to_bytes(),
                value: Some(value),
            }),
            Err(fault) => {
                self.fault.get_or_insert(fault);
            }
        }
        self
    }

    /// No row of that key is there afterwards.
    pub fn delete<R: Row>(&mut self, key: &R::Key) -> &mut WriteSet {
        self.writes.push(Write {
            tree: R::TREE,
            key: key.to_bytes(),
            value: None,
        });
        self
    }

    /// All changes of `other`, after those of `self`.
    pub fn extend(&mut self, other: WriteSet) -> &mut WriteSet {
        self.writes.extend(other.writes);
        if let Some(fault) = other.fault {
            self.fault.get_or_insert(fault);
        }
        self
    }

    /// How many changes.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.fault.is_none()
    }

    /// The changes in order, or why the set is refused.
    pub(super) fn into_writes(self) -> Result<Vec<Write>> {
        match self.fault {
            Some(fault) => Err(fault),
            None => Ok(self.writes),
        }
    }
}
