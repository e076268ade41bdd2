//! Ready jobs, so that the best one for a builder is found without looking at the others: one queue per set of requirements
//! and account, the heads of all queues in order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Requirements;
use crate::id::JobId;

/// A set of requirements.
pub(super) type ClassIx = u32;
/// Somebody whose share is counted.
pub(super) type AccountIx = u32;

/// A ready job's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub class: ClassIx,
    pub account: AccountIx,
    /// Path and raise in milliseconds; the share is added by account.
    pub key: i64,
    /// From this moment on it goes first.
    pub due_ms: u64,
}

#[derive(Debug)]
struct Class {
    needs: Requirements,
    lanes: BTreeMap<AccountIx, BTreeSet<(i64, Reverse<JobId>)>>,
    /// Best of each lane with its account's share.
    heads: BTreeSet<(i64, AccountIx)>,
    due: BTreeSet<(u64, JobId)>,
}

/// All ready jobs.
#[derive(Debug, Default)]
pub(super) struct Queue {
    classes: Vec<Class>,
    class_of: HashMap<Requirements, ClassIx>,
    /// Best of each class.
    heads: BTreeSet<(i64, ClassIx)>,
    due: BTreeSet<(u64, ClassIx)>,
    /// What each account used over its weight, in milliseconds.
    used: Vec<i64>,
    /// Classes in which an account has jobs.
    classes_of: Vec<BTreeSet<ClassIx>>,
    len: usize,
}

impl Queue {
    /// The class of these requirements.
    pub fn class(&mut self, needs: Requirements) -> ClassIx {
        if let Some(class) = self.class_of.get(&needs) {
            return *class;
        }
        let class = self.classes.len() as ClassIx;
        self.classes.push(Class {
            needs,
            lanes: BTreeMap::new(),
            heads: BTreeSet::new(),
            due: BTreeSet::new(),
        });
        self.class_of.insert(needs, class);
        class
    }

    /// What a class asks for.
    pub fn needs(&self, class: ClassIx) -> Option<&Requirements> {
        self.classes.get(class as usize).map(|class| &class.needs)
    }

    /// Ready jobs.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty_class(&self, class: ClassIx) -> bool {
        self.classes
            .get(class as usize)
            .is_none_or(|class| class.heads.is_empty())
    }

    pub fn insert(&mut self, job: JobId, place: Place) {
        self.account(place.account);
        let (head, due) = (self.head_of(place.class), self.due_of(place.class));
        let used = self.used(place.account);
        if let Some(class) = self.classes.get_mut(place.class as usize) {
            let lane = class.lanes.entry(place.account).or_default();
            if let Some((best, _)) = lane.last() {
                class.heads.remove(&(best - used, place.account));
            }
            lane.insert((place.key, Reverse(job)));
            if let Some((best, _)) = lane.last() {
                class.heads.insert((best - used, place.account));
            }
            class.due.insert((place.due_ms, job));
            self.len += 1;
        }
        if let Some(classes) = self.classes_of.get_mut(place.account as usize) {
            classes.insert(place.class);
        }
        self.renew(place.class, head, due);
    }

    pub fn remove(&mut self, job: JobId, place: Place) {
        let (head, due) = (self.head_of(place.class), self.due_of(place.class));
        let used = self.used(place.account);
        let mut emptied = false;
        if let Some(class) = self.classes.get_mut(place.class as usize)
            && let Some(lane) = class.lanes.get_mut(&place.account)
        {
            if let Some((best, _)) = lane.last() {
                class.heads.remove(&(best - used, place.account));
            }
            if lane.remove(&(place.key, Reverse(job))) {
                self.len -= 1;
            }
            match lane.last() {
                Some((best, _)) => {
                    class.heads.insert((best - used, place.account));
                }
                None => {
                    class.lanes.remove(&place.account);
                    emptied = true;
                }
            }
            class.due.remove(&(place.due_ms, job));
        }
        if emptied && let Some(classes) = self.classes_of.get_mut(place.account as usize) {
            classes.remove(&place.class);
        }
        self.renew(place.class, head, due);
    }

    /// What an account used over its weight changed by this much.
    pub fn charge(&mut self, account: AccountIx, milliseconds: i64) {
        self.account(account);
        let before = self.used(account);
        let after = before.saturating_add(milliseconds);
        if let Some(used) = self.used.get_mut(account as usize) {
            *used = after;
        }
        let classes: Vec<ClassIx> = self
            .classes_of
            .get(account as usize)
            .into_iter()
            .flatten()
            .copied()
            .collect();
        for ix in classes {
            let (head, due) = (self.head_of(ix), self.due_of(ix));
            if let Some(class) = self.classes.get_mut(ix as usize)
                && let Some((best, _)) = class.lanes.get(&account).and_then(BTreeSet::last)
            {
                class.heads.remove(&(best - before, account));
                class.heads.insert((best - after, account));
            }
            self.renew(ix, head, due);
        }
    }

    /// What an account used over its weight, in milliseconds.
    pub fn used(&self, account: AccountIx) -> i64 {
        self.used.get(account as usize).copied().unwrap_or(0)
    }

    /// The least that an account with ready jobs used.
    pub fn least_used(&self) -> Option<i64> {
        let active = self
            .classes_of
            .iter()
            .zip(&self.used)
            .filter(|(classes, _)| !classes.is_empty());
        active.map(|(_, used)| *used).min()
    }

    /// Whether an account has ready jobs.
    pub fn is_active(&self, account: AccountIx) -> bool {
        self.classes_of
            .get(account as usize)
            .is_some_and(|classes| !classes.is_empty())
    }

    /// Classes with ready jobs, the one with the best job first.
    pub fn by_priority(&self) -> impl Iterator<Item = (i64, ClassIx)> {
        self.heads.iter().rev().copied()
    }

    /// Classes with ready jobs, the one whose oldest limit ends first at the front.
    pub fn by_due(&self) -> impl Iterator<Item = (u64, ClassIx)> {
        self.due.iter().copied()
    }

    /// Jobs of a class by their limits.
    pub fn due_jobs(&self, class: ClassIx) -> impl Iterator<Item = (u64, JobId)> {
        self.classes
            .get(class as usize)
            .into_iter()
            .flat_map(|class| class.due.iter().copied())
    }

    /// The best jobs of a class, best first, at most this many from each account.
    pub fn best_jobs(&self, class: ClassIx, count: usize) -> Vec<(i64, JobId)> {
        let Some(class) = self.classes.get(class as usize) else {
            return Vec::new();
        };
        let mut jobs: Vec<(i64, Reverse<JobId>)> = Vec::new();
        for (_, account) in class.heads.iter().rev().take(count) {
            let used = self.used(*account);
            let lane = class
                .lanes
                .get(account)
                .into_iter()
                .flatten()
                .rev()
                .take(count);
            jobs.extend(lane.map(|(key, job)| (key - used, *job)));
        }
        jobs.sort_unstable_by(|a, b| b.cmp(a));
        jobs.truncate(count);
        jobs.into_iter()
            .map(|(key, Reverse(job))| (key, job))
            .collect()
    }

    /// The job of a class that matters least.
    pub fn last_job(&self, class: ClassIx) -> Option<(i64, JobId)> {
        let class = self.classes.get(class as usize)?;
        let last = |(account, lane): (&AccountIx, &BTreeSet<(i64, Reverse<JobId>)>)| {
            let (key, job) = lane.first()?;
            Some((key - self.used(*account), *job))
        };
        class
            .lanes
            .iter()
            .filter_map(last)
            .min()
            .map(|(key, Reverse(job))| (key, job))
    }

    /// How many ready jobs stand before this key.
    pub fn before(&self, key: i64, most: usize) -> usize {
        let mut count = 0;
        for (head, class) in self.by_priority() {
            if head <= key || count >= most {
                break;
            }
            let ahead = self.best_jobs(class, most);
            count += ahead.iter().take_while(|(other, _)| *other > key).count();
        }
        count.min(most)
    }

    fn account(&mut self, account: AccountIx) {
        let len = account as usize + 1;
        if self.used.len() < len {
            self.used.resize(len, 0);
            self.classes_of.resize_with(len, BTreeSet::new);
        }
    }

    fn head_of(&self, class: ClassIx) -> Option<i64> {
        self.classes
            .get(class as usize)?
            .heads
            .last()
            .map(|(head, _)| *head)
    }

    fn due_of(&self, class: ClassIx) -> Option<u64> {
        self.classes
            .get(class as usize)?
            .due
            .first()
            .map(|(due, _)| *due)
    }

    fn renew(&mut self, class: ClassIx, head: Option<i64>, due: Option<u64>) {
        let now = self.head_of(class);
        if head != now {
            head.map(|head| self.heads.remove(&(head, class)));
            now.map(|head| self.heads.insert((head, class)));
        }
        let now = self.due_of(class);
        if due != now {
            due.map(|due| self.due.remove(&(due, class)));
            now.map(|due| self.due.insert((due, class)));
        }
    }
}
