//! The farm as it was: folds the log of events up to a number, by the rules that made the farm of now. Owns nothing on
//! disk; keeps some folded farms in memory, so that a step back or forth costs the events in between and no more.

mod then;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::then::Then;
use super::{desk, events};
use crate::admin::summit::{Answer, Call};
use crate::admin::{Method, Reply};
use crate::fault::{Fault, Kind, Result};
use crate::id::{Seq, Stamp};
use crate::limit;
use crate::model::{Attempt, Farm, Measures, Refusal};
use crate::store::{Store, events as log};

/// A folded farm is kept at least this often on the way, so that a later question begins near.
const KEPT_EVERY: u64 = 8_192;
/// Folded farms that are kept: their jobs are shared, so that each costs what changed since the one before.
const KEPT_MAX: usize = 24;

/// A folded farm.
#[derive(Debug, Clone, Default)]
struct Folded {
    farm: Farm,
    /// When its last event was recorded.
    at: Option<Stamp>,
    /// Events that the rules of this version do not take.
    refused: u64,
}

/// Folds the log, and remembers.
pub struct Folds {
    store: Store,
    kept: Mutex<BTreeMap<Seq, Arc<Folded>>>,
}

impl Folds {
    /// Of this store's log.
    pub fn new(store: Store) -> Folds {
        Folds {
            store,
            kept: Mutex::default(),
        }
    }

    fn keep(&self, folded: &Folded) -> Arc<Folded> {
        let folded = Arc::new(folded.clone());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(folded.farm.seq, Arc::clone(&folded));
        if kept.len() > KEPT_MAX {
            // The one whose neighbours are closest is missed least; the new one stays.
            let places: Vec<u64> = kept.keys().map(|seq| seq.0).collect();
            let span = |at: usize| {
                let before = at.checked_sub(1).and_then(|at| places.get(at)).copied();
                let after = places.get(at + 1).copied().unwrap_or(u64::MAX);
                after - before.unwrap_or(0)
            };
            let others = (0..places.len()).filter(|at| places.get(*at) != Some(&folded.farm.seq.0));
            if let Some(least) = others
                .min_by_key(|at| span(*at))
                .and_then(|at| places.get(at))
            {
                kept.remove(&Seq(*least));
            }
        }
        folded
    }

    /// The farm after this event. Blocking; gives up after some seconds and goes on from there when it is asked again.
    fn fold(&self, to: Seq) -> Result<Arc<Folded>> {
        let near = {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.range(..=to)
                .next_back()
                .map(|(_, folded)| Arc::clone(folded))
        };
        if let Some(near) = near.as_ref().filter(|near| near.farm.seq == to) {
            return Ok(Arc::clone(near));
        }
        let mut folded = near.map_or_else(Folded::default, |near| near.as_ref().clone());
        let until = Instant::now() + Duration::from_millis(limit::PAST_FOLD_MS);
        for row in log::after(&self.store, folded.farm.seq) {
            let row = row?;
            if row.seq > to {
                break;
            }
            if row.seq.0 != folded.farm.seq.0 + 1 {
                let what = format!(
                    "the log of events begins at {}: what was before is not kept",
                    row.seq
                );
                return Err(Fault::new(Kind::NotFound, what).next("look at a later moment"));
            }
            let recorded = events::read(&row)
                .map_err(|fault| fault.next("the farm can be told up to the event before it"))?;
            match folded.farm.weigh(&recorded) {
                Ok(change) => folded.farm.adopt(change),
                Err(Refusal::Repeat) => {}
                Err(_) => folded.refused += 1,
            }
            folded.farm.seq = row.seq;
            folded.at = Some(row.at);
            if row.seq.0.is_multiple_of(KEPT_EVERY) {
                self.keep(&folded);
                if Instant::now() > until && row.seq < to {
                    let what = format!("the farm is folded up to event {} of {to}", row.seq);
                    return Err(
                        Fault::new(Kind::TryAgain, what).next("ask again: it goes on from there")
                    );
                }
            }
        }
        if folded.farm.seq != to {
            let what = format!(
                "there is no event {to} yet: the last one is {}",
                folded.farm.seq
            );
            return Err(Fault::new(Kind::NotFound, what).next("`massif audit` lists them"));
        }
        Ok(self.keep(&folded))
    }

    /// The farm after this event. Blocking.
    ///
    /// # Errors
    ///
    /// There is no such event, or the log is damaged before it; or it is long, and the next question goes on from where
    /// this one stopped.
    pub fn farm(&self, after: Seq) -> Result<Farm> {
        self.fold(after).map(|folded| folded.farm.clone())
    }

    /// The phase that an attempt was in, as it was measured later.
    fn phase(&self, attempt: &Attempt, at: Stamp) -> Option<String> {
        let measures: Measures = self.store.get(&attempt.id).ok().flatten()?;
        let began = attempt.started.unwrap_or(attempt.assigned);
        let since_ms = u64::try_from(at.0 - began.0).unwrap_or(0);
        let begun = measures.phases.iter().rev();
        let phase = begun
            .into_iter()
            .find(|phase| phase.started_ms <= since_ms)?;
        Some(phase.name.clone())
    }
}

/// Answers a question about the past.
///
/// # Errors
///
/// There is no such event, or the log is damaged before it.
pub async fn answer(inner: &Arc<desk::Inner>, call: Call) -> Result<Reply> {
    let at = match &call {
        Call::PastShow(wish) => wish.at,
        Call::PastWhy(wish) => wish.at,
        other => {
            return Err(Fault::bug(format!(
                "{} is not about the past",
                other.facts().name
            )));
        }
    };
    let folding = Arc::clone(inner);
    let folded = desk::blocking(move || folding.past.fold(at)).await?;
    let then = Then::new(Arc::clone(inner), folded);
    match call {
        Call::PastShow(wish) => wish.reply(&then.page(&wish).await?),
        Call::PastWhy(wish) => wish.reply(&Answer {
            why: then.why(&wish).await?,
        }),
        other => Err(Fault::bug(format!(
            "{} is not about the past",
            other.facts().name
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{JobId, ProfileName};
    use crate::model::{Because, Event, Hold, Recorded, Target, Who};
    use crate::store::{Options, WriteSet};

    fn planned(number: u64, recipe: &str) -> Event {
        Event::Planned {
            job: JobId(number),
            target: Target {
                project: "main".parse().unwrap(),
                recipe: recipe.parse().unwrap(),
                profile: "default".parse::<ProfileName>().unwrap(),
            },
            version: "1".into(),
            release: 1,
            build_release: 1,
            commit: "0123456789abcdef0123456789abcdef01234567".parse().unwrap(),
            dir: recipe.into(),
            tree: "0123456789abcdef0123456789abcdef01234567".parse().unwrap(),
            because: Because::Missing,
        }
    }

    /// A log of jobs that are planned, held and cancelled; the farm after each event.
    fn log_of(store: &Store, jobs: u64) -> Vec<Farm> {
        let mut chain = log::Chain::load(store).unwrap();
        let mut farm = Farm::default();
        let mut farms = vec![farm.clone()];
        for number in 1..=jobs {
            let job = JobId(number);
            let hold = Hold {
                owner: Who::Uid(7),
                reason: "because".into(),
                since: Stamp(1),
                until: None,
            };
            let mut set = WriteSet::new();
            for event in [
                planned(number, &format!("r{}", number % 3)),
                Event::JobHeld { job, hold },
                Event::Cancelled { job },
            ] {
                let recorded = Recorded {
                    seq: Seq(farm.seq.0 + 1),
                    at: Stamp(1_000),
                    who: Who::Farm,
                    event,
                };
                let bytes = postcard::to_stdvec(&(&recorded.who, &recorded.event)).unwrap();
                let change = farm.weigh(&recorded).unwrap();
                farm.adopt(change);
                farm.seq = chain.append(&mut set, recorded.at, bytes);
                farms.push(farm.clone());
            }
            store.commit(set).unwrap();
        }
        farms
    }

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), &Options::default()).unwrap();
        (dir, store)
    }

    #[test]
    fn folding_the_log_gives_the_farm_that_was_in_whatever_order_it_is_asked_for() {
        let (_dir, store) = store();
        let farms = log_of(&store, 40);
        let folds = Folds::new(store);
        let count = farms.len() as u64;
        // Far more moments than are kept, there and back.
        for seq in (0..count).chain((0..count).rev().step_by(7)) {
            let then = folds.farm(Seq(seq)).unwrap();
            let was = &farms[usize::try_from(seq).unwrap()];
            assert_eq!((then.seq, &then.jobs), (Seq(seq), &was.jobs));
        }
        let kept = folds.kept.lock().unwrap().len();
        assert!(kept <= KEPT_MAX, "{kept}");
        let later = folds.farm(Seq(count)).unwrap_err();
        assert!(
            later.kind == Kind::NotFound && later.what.contains("the last one is 120"),
            "{later}"
        );
    }

    #[test]
    fn what_is_damaged_or_gone_is_said_and_not_guessed() {
        let (_dir, store) = store();
        log_of(&store, 3);
        let mut row = store.get::<log::EventRow>(&Seq(5)).unwrap().unwrap();
        row.payload = vec![255; 4];
        let mut set = WriteSet::new();
        set.put(&row);
        store.commit(set).unwrap();
        let folds = Folds::new(store.clone());
        assert_eq!(folds.farm(Seq(4)).unwrap().seq, Seq(4));
        let broken = folds.farm(Seq(6)).unwrap_err();
        assert!(broken.what.contains("event 5 cannot be read"), "{broken}");

        let mut set = WriteSet::new();
        set.delete::<log::EventRow>(&Seq(1));
        store.commit(set).unwrap();
        let gone = Folds::new(store).farm(Seq(3)).unwrap_err();
        assert!(gone.what.contains("begins at 2"), "{gone}");
    }
}
