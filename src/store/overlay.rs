//! Rows that are durable in the journal and not yet in sled. Readers look here first.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// A stored key and its value; `None`: deleted.
pub(super) type Entry = (Vec<u8>, Option<Vec<u8>>);
/// Newest state of each changed row.
pub(super) type Rows = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Two layers: `active` takes new groups while `frozen` is on its way into sled.
#[derive(Default)]
pub(super) struct Overlay {
    active: Rows,
    active_bytes: usize,
    active_generation: u64,
    frozen: Arc<Rows>,
    frozen_generation: u64,
}

impl Overlay {
    /// The row as the overlay knows it; the outer `None`: ask sled.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<Vec<u8>>> {
        self.active
            .get(key)
            .or_else(|| self.frozen.get(key))
            .cloned()
    }

    /// All changed rows in a range, the newest state of each.
    pub(super) fn range(&self, from: &[u8], to: &[u8]) -> Rows {
        if from >= to {
            return Rows::new();
        }
        let bounds = (Bound::Included(from), Bound::Excluded(to));
        let copied = |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| (key.clone(), value.clone());
        let mut rows: Rows = self.frozen.range::<[u8], _>(bounds).map(copied).collect();
        rows.extend(self.active.range::<[u8], _>(bounds).map(copied));
        rows
    }

    /// Takes a durable group.
    pub(super) fn adopt(&mut self, generation: u64, entries: impl Iterator<Item = Entry>) {
        for (key, value) in entries {
            self.active_bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            self.active.insert(key, value);
        }
        self.active_generation = generation;
    }

    /// Bytes taken since the last freeze.
    pub(super) fn active_bytes(&self) -> usize {
        self.active_bytes
    }

    /// Rows that wait.
    pub(super) fn active_len(&self) -> usize {
        self.active.len()
    }

    /// The rows to move into sled now, and the generation that sled has with them. Only when the last ones have arrived.
    pub(super) fn freeze(&mut self) -> (Arc<Rows>, u64) {
        if self.frozen.is_empty() {
            self.frozen = Arc::new(std::mem::take(&mut self.active));
            self.active_bytes = 0;
            self.frozen_generation = self.active_generation;
        }
        (Arc::clone(&self.frozen), self.frozen_generation)
    }

    /// Sled has the frozen rows.
    pub(super) fn thaw(&mut self) {
        self.frozen = Arc::default();
    }

    /// Sled was opened anew and has all groups up to this one.
    pub(super) fn settle(&mut self, generation: u64) {
        self.frozen = Arc::default();
        if self.active_generation <= generation {
            self.active.clear();
            self.active_bytes = 0;
        }
    }
}
