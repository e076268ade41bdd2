//! Long work that somebody waits for, as it goes on: how much of it is done. Kept for the time of the work only.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::now;
use crate::admin::view::WorkView;
use crate::id::Stamp;

/// One piece of work.
#[derive(Debug)]
struct Entry {
    kind: &'static str,
    unit: &'static str,
    began: Stamp,
    done: AtomicU64,
    /// 0: not known.
    total: AtomicU64,
}

/// All that goes on in this process, by its number.
static GOING_ON: Mutex<BTreeMap<u64, Arc<Entry>>> = Mutex::new(BTreeMap::new());

/// Work that goes on for as long as this value lives.
#[derive(Debug)]
pub struct Working {
    id: u64,
    entry: Arc<Entry>,
}

impl Working {
    /// Begins work of this kind, counted in this unit.
    pub fn begin(kind: &'static str, unit: &'static str, total: Option<u64>) -> Working {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let id = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let entry = Arc::new(Entry {
            kind,
            unit,
            began: now().wall,
            done: AtomicU64::new(0),
            total: AtomicU64::new(total.unwrap_or(0)),
        });
        let mut all = GOING_ON.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(id, Arc::clone(&entry));
        Working { id, entry }
    }

    /// So much of it is done.
    pub fn at(&self, done: u64, total: u64) {
        self.entry.done.store(done, Ordering::Relaxed);
        self.entry.total.store(total, Ordering::Relaxed);
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let mut all = GOING_ON.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&self.id);
    }
}

/// All that goes on, the oldest first.
pub fn list() -> Vec<WorkView> {
    let all = GOING_ON.lock().unwrap_or_else(PoisonError::into_inner);
    let view = |entry: &Arc<Entry>| {
        let total = entry.total.load(Ordering::Relaxed);
        WorkView {
            kind: entry.kind.into(),
            unit: entry.unit.into(),
            done: entry.done.load(Ordering::Relaxed),
            total: (total > 0).then_some(total),
            began: entry.began,
        }
    };
    all.values().map(view).collect()
}
