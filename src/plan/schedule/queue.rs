//! Ready jobs, so that the best one for a builder is found without looking at the others: for each account one lane per set of
//! requirements, and the ends of all its lanes in order. An account's share is added when accounts are compared, so that charging
//! one costs the same however many jobs it has.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, btree_set};

use super::Requirements;
use crate::id::JobId;

/// One class of so many is few.
const FEW: usize = 4;

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

/// Jobs of one account and one class, the best one last.
type Lane = BTreeSet<(i64, Reverse<JobId>)>;

#[derive(Debug)]
struct Class {
    needs: Requirements,
    due: BTreeSet<(u64, JobId)>,
}

#[derive(Debug, Default)]
struct Account {
    /// What it used over its weight, in milliseconds.
    used: i64,
    lanes: BTreeMap<ClassIx, Lane>,
    /// Best of each lane.
    heads: BTreeSet<(i64, ClassIx)>,
    /// Worst of each lane.
    tails: BTreeSet<(i64, ClassIx)>,
}

/// All ready jobs.
#[derive(Debug, Default)]
pub(super) struct Queue {
    classes: Vec<Class>,
    class_of: HashMap<Requirements, ClassIx>,
    accounts: Vec<Account>,
    /// Accounts with ready jobs.
    active: BTreeSet<AccountIx>,
    /// Classes with ready jobs.
    filled: BTreeSet<ClassIx>,
    due: BTreeSet<(u64, ClassIx)>,
    len: usize,
}

impl Account {
    /// Edits a lane, and the ends of lanes with it.
    fn edit(&mut self, class: ClassIx, edit: impl FnOnce(&mut Lane)) {
        let lane = self.lanes.entry(class).or_default();
        let before = (lane.first().copied(), lane.last().copied());
        edit(lane);
        let after = (lane.first().copied(), lane.last().copied());
        if lane.is_empty() {
            self.lanes.remove(&class);
        }
        let ends = [
            (before.0, after.0, &mut self.tails),
            (before.1, after.1, &mut self.heads),
        ];
        for (before, after, list) in ends {
            if before != after {
                before.map(|(key, _)| list.remove(&(key, class)));
                after.map(|(key, _)| list.insert((key, class)));
            }
        }
    }
}

impl Queue {
    /// The class of these requirements.
    pub fn class(&mut self, needs: Requirements) -> ClassIx {
        if let Some(class) = self.class_of.get(&needs) {
            return *class;
        }
        let class = self.classes.len() as ClassIx;
        let due = BTreeSet::new();
        self.classes.push(Class { needs, due });
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
        !self.filled.contains(&class)
    }

    /// The classes with ready jobs that pass, and whether they are few among all of those.
    pub fn classes(&self, mut passes: impl FnMut(&Requirements) -> bool) -> (Vec<ClassIx>, bool) {
        let all = self.filled.iter().copied();
        let passed: Vec<ClassIx> = all
            .filter(|class| self.needs(*class).is_some_and(&mut passes))
            .collect();
        let few = passed.len() * FEW < self.filled.len();
        (passed, few)
    }

    pub fn insert(&mut self, job: JobId, place: Place) {
        let Some(class) = self.classes.get_mut(place.class as usize) else {
            return;
        };
        let before = class.due.first().copied();
        class.due.insert((place.due_ms, job));
        self.filled.insert(place.class);
        self.active.insert(place.account);
        self.account(place.account).edit(place.class, |lane| {
            lane.insert((place.key, Reverse(job)));
        });
        self.len += 1;
        self.renew_due(place.class, before);
    }

    pub fn remove(&mut self, job: JobId, place: Place) {
        let Some(class) = self.classes.get_mut(place.class as usize) else {
            return;
        };
        let before = class.due.first().copied();
        class.due.remove(&(place.due_ms, job));
        if class.due.is_empty() {
            self.filled.remove(&place.class);
        }
        let account = self.account(place.account);
        let mut removed = false;
        account.edit(place.class, |lane| {
            removed = lane.remove(&(place.key, Reverse(job)));
        });
        if account.lanes.is_empty() {
            self.active.remove(&place.account);
        }
        self.len -= usize::from(removed);
        self.renew_due(place.class, before);
    }

    /// What an account used over its weight changed by this much.
    pub fn charge(&mut self, account: AccountIx, milliseconds: i64) {
        let account = self.account(account);
        account.used = account.used.saturating_add(milliseconds);
    }

    /// What an account used over its weight, in milliseconds.
    pub fn used(&self, account: AccountIx) -> i64 {
        self.accounts
            .get(account as usize)
            .map_or(0, |account| account.used)
    }

    /// The least that an account with ready jobs used.
    pub fn least_used(&self) -> Option<i64> {
        self.active.iter().map(|account| self.used(*account)).min()
    }

    /// Whether an account has ready jobs.
    pub fn is_active(&self, account: AccountIx) -> bool {
        self.active.contains(&account)
    }

    /// Ready jobs of the classes that pass, best first, with their keys. A class is asked about when its turn comes, and again for
    /// each account; what comes first is found without looking at what comes later.
    pub fn best<F: FnMut(ClassIx, &Requirements) -> bool>(&self, passes: F) -> Best<'_, F> {
        let mut best = Best {
            queue: self,
            passes,
            next: BinaryHeap::with_capacity(self.active.len() + 8),
            heads: Vec::with_capacity(self.active.len()),
            lanes: Vec::new(),
        };
        for ix in &self.active {
            if let Some(account) = self.accounts.get(*ix as usize) {
                best.heads.push((*ix, account.heads.iter()));
                best.list_account(best.heads.len() - 1);
            }
        }
        best
    }

    /// Ready jobs of these classes, best first, with their keys. Costs as much as there are lanes; for few classes among many.
    pub fn best_in(
        &self,
        classes: &[ClassIx],
    ) -> Best<'_, impl FnMut(ClassIx, &Requirements) -> bool> {
        let mut best = Best {
            queue: self,
            passes: |_: ClassIx, _: &Requirements| true,
            next: BinaryHeap::new(),
            heads: Vec::new(),
            lanes: Vec::new(),
        };
        let accounts = self.active.iter();
        for account in accounts.filter_map(|ix| self.accounts.get(*ix as usize)) {
            for class in classes {
                if let Some(lane) = account.lanes.get(class) {
                    best.lanes.push((account.used, *class, lane.iter()));
                    best.list_lane(best.lanes.len() - 1);
                }
            }
        }
        best
    }

    /// The ready job that matters least, of the classes and jobs that pass.
    pub fn last(
        &self,
        mut class_passes: impl FnMut(&Requirements) -> bool,
        mut job_passes: impl FnMut(JobId) -> bool,
    ) -> Option<JobId> {
        let accounts = self.active.iter();
        let of_account = accounts.filter_map(|ix| self.accounts.get(*ix as usize));
        let lasts = of_account.filter_map(|account| {
            account.tails.iter().find_map(|(key, class)| {
                let (_, Reverse(job)) = account.lanes.get(class)?.first()?;
                (class_passes(self.needs(*class)?) && job_passes(*job))
                    .then_some((key - account.used, *job))
            })
        });
        lasts.min().map(|(_, job)| job)
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

    /// How many ready jobs stand before this key.
    pub fn before(&self, key: i64, most: usize) -> usize {
        let ahead = self
            .best(|_, _| true)
            .take_while(|(other, ..)| *other > key);
        ahead.take(most).count()
    }

    fn account(&mut self, account: AccountIx) -> &mut Account {
        let len = account as usize + 1;
        if self.accounts.len() < len {
            self.accounts.resize_with(len, Account::default);
        }
        &mut self.accounts[account as usize]
    }

    fn renew_due(&mut self, class: ClassIx, before: Option<(u64, JobId)>) {
        let row = self.classes.get(class as usize);
        let after = row.and_then(|row| row.due.first().copied());
        if before != after {
            before.map(|(due, _)| self.due.remove(&(due, class)));
            after.map(|(due, _)| self.due.insert((due, class)));
        }
    }
}

/// Ready jobs, best first. See [`Queue::best`].
pub(super) struct Best<'a, F> {
    queue: &'a Queue,
    passes: F,
    /// (key, is an account's next lane, job, which of the lists below); an account's next lane comes before jobs of the same key.
    next: BinaryHeap<(i64, bool, Reverse<JobId>, usize)>,
    heads: Vec<(AccountIx, btree_set::Iter<'a, (i64, ClassIx)>)>,
    lanes: Vec<(i64, ClassIx, btree_set::Iter<'a, (i64, Reverse<JobId>)>)>,
}

impl<F> Best<'_, F> {
    fn list_account(&mut self, at: usize) {
        if let Some((account, heads)) = self.heads.get(at)
            && let Some((key, _)) = heads.clone().next_back()
        {
            let key = key - self.queue.used(*account);
            self.next.push((key, true, Reverse(JobId(0)), at));
        }
    }

    fn list_lane(&mut self, at: usize) {
        if let Some((used, _, lane)) = self.lanes.get_mut(at)
            && let Some((key, job)) = lane.next_back()
        {
            self.next.push((key - *used, false, *job, at));
        }
    }
}

impl<F: FnMut(ClassIx, &Requirements) -> bool> Iterator for Best<'_, F> {
    type Item = (i64, ClassIx, JobId);

    fn next(&mut self) -> Option<Self::Item> {
        while let Some((key, is_account, Reverse(job), at)) = self.next.pop() {
            if !is_account {
                let class = self.lanes.get(at)?.1;
                self.list_lane(at);
                return Some((key, class, job));
            }
            let (account, heads) = self.heads.get_mut(at)?;
            let account = *account;
            let (_, class) = *heads.next_back()?;
            self.list_account(at);
            let row = self.queue.accounts.get(account as usize)?;
            let needs = self.queue.needs(class)?;
            if (self.passes)(class, needs)
                && let Some(lane) = row.lanes.get(&class)
            {
                self.lanes.push((row.used, class, lane.iter()));
                self.list_lane(self.lanes.len() - 1);
            }
        }
        None
    }
}
