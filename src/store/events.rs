//! The log of events: numbered rows, each with the hash of the one before it in its own, so that none can be changed or
//! removed unseen. What an event says is the core's business; here it is bytes.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Row, Scan, Store, WriteSet};
use crate::fault::{Fault, Kind, Result};
use crate::id::{Digest, Seq, Stamp};

/// One event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRow {
    /// Its place; the first is 1 and there are no gaps.
    pub seq: Seq,
    /// When it was recorded.
    pub at: Stamp,
    /// Who caused it and what happened: the bytes of the core's event.
    pub payload: Vec<u8>,
    /// SHA-256 over the hash before it (zeroes for the first), `seq` and `at` in big-endian, and the payload.
    pub hash: Digest,
}

impl Row for EventRow {
    const TREE: &'static str = "event";
    const SHAPE: u8 = 1;
    type Key = Seq;
    fn key(&self) -> Seq {
        self.seq
    }
}

/// The end of the log: a value. Clone it, append to the clone, and keep the clone once the set is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// The last event; 0: there is none.
    pub seq: Seq,
    /// Its hash.
    pub hash: Digest,
}

impl Chain {
    /// Before the first event.
    pub const EMPTY: Chain = Chain {
        seq: Seq(0),
        hash: Digest([0; 32]),
    };

    /// The end of the stored log.
    pub fn load(store: &Store) -> Result<Chain> {
        let last = store.last::<EventRow>()?;
        Ok(last.map_or(Chain::EMPTY, |row| Chain {
            seq: row.seq,
            hash: row.hash,
        }))
    }

    /// Adds an event to the set; its place.
    pub fn append(&mut self, set: &mut WriteSet, at: Stamp, payload: Vec<u8>) -> Seq {
        let row = self.next(at, payload);
        set.put(&row);
        *self = Chain {
            seq: row.seq,
            hash: row.hash,
        };
        row.seq
    }

    /// The row that comes next.
    pub fn next(&self, at: Stamp, payload: Vec<u8>) -> EventRow {
        let seq = Seq(self.seq.0 + 1);
        let mut hash = Sha256::new();
        hash.update(self.hash.0);
        hash.update(seq.0.to_be_bytes());
        hash.update(at.0.to_be_bytes());
        hash.update(&payload);
        EventRow {
            seq,
            at,
            payload,
            hash: Digest(hash.finalize().into()),
        }
    }
}

/// The events after this one, oldest first.
pub fn after(store: &Store, seq: Seq) -> Scan<EventRow> {
    store.scan_from::<EventRow>(&Seq(seq.0.saturating_add(1)))
}

/// Follows the whole chain; how long it is, or where it breaks.
pub fn verify(store: &Store) -> Result<Chain> {
    let mut chain = Chain::EMPTY;
    for row in store.scan::<EventRow>() {
        let row = row?;
        let expected = chain.next(row.at, row.payload.clone());
        if expected != row {
            let what = format!(
                "the log of events is broken at {}: a row was changed or removed",
                row.seq
            );
            return Err(Fault::new(Kind::Operator, what).next(
                "compare with a backup (`massif store dump`), and find out who wrote to the store",
            ));
        }
        chain = Chain {
            seq: row.seq,
            hash: row.hash,
        };
    }
    Ok(chain)
}

#[cfg(test)]
mod tests {
    use super::super::{Options, encode};
    use super::*;

    #[test]
    fn event_row_bytes_and_hashes_are_frozen() {
        let row = Chain::EMPTY.next(Stamp(1), b"x".to_vec());
        assert_eq!(
            row.hash.to_string(),
            "26f3cb88ac5a48e6d8fc773cd5de64aaf32723f7ee9f55ffb21afffd8c912719"
        );
        let bytes = encode(&row).unwrap();
        assert_eq!(bytes[..6], [1, 1, 2, 1, b'x', row.hash.0[0]]);
        assert_eq!(bytes.len(), 5 + 32);
    }

    #[test]
    fn a_changed_or_removed_event_breaks_the_chain() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), &Options::default()).unwrap();
        let mut chain = Chain::load(&store).unwrap();
        let mut set = WriteSet::new();
        for number in 0..5u8 {
            chain.append(&mut set, Stamp(i64::from(number)), vec![number]);
        }
        store.commit(set).unwrap();
        assert_eq!(Chain::load(&store).unwrap(), chain);
        assert_eq!(verify(&store).unwrap(), chain);
        let later: Vec<_> = after(&store, Seq(3))
            .map(|row| row.unwrap().payload)
            .collect();
        assert_eq!(later, [[3], [4]]);
        let mut row = store.get::<EventRow>(&Seq(3)).unwrap().unwrap();
        row.payload = vec![9];
        let mut set = WriteSet::new();
        set.put(&row);
        store.commit(set).unwrap();
        assert!(verify(&store).unwrap_err().what.contains("broken at 3"));
        let mut set = WriteSet::new();
        set.delete::<EventRow>(&Seq(3));
        store.commit(set).unwrap();
        assert!(verify(&store).unwrap_err().what.contains("broken at 4"));
    }
}
