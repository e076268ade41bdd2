//! How long jobs that are over are remembered: the newest of each target, and what a publication or a rollback rests on, for ever;
//! of the others a number, so that a farm of ten years needs no more memory than one of a year. Events stay.

use std::collections::HashMap;

use super::change::Change;
use super::farm::{Farm, Refusal};
use super::job::{JobState, Target};
use crate::id::{AttemptId, JobId};

/// Jobs that one event lets go.
pub const FORGOTTEN_MAX: usize = 1_000;

impl Farm {
    /// Jobs that nothing rests on, the oldest first.
    pub fn past_jobs(&self) -> Vec<JobId> {
        let mut published: HashMap<&Target, JobId> = HashMap::new();
        for (id, job) in &self.jobs {
            if job.state == JobState::Published {
                published.insert(&job.target, *id);
            }
        }
        let past = self.jobs.keys().copied().filter(|id| self.is_past(*id));
        past.filter(|id| {
            let target = self.jobs.get(id).map(|job| &job.target);
            target.is_none_or(|target| published.get(target) != Some(id))
        })
        .collect()
    }

    /// It is over, and not the newest of its target, and nothing says what it was built with.
    fn is_past(&self, id: JobId) -> bool {
        self.jobs.get(&id).is_some_and(|job| {
            job.state.is_over()
                && self.newest.get(&job.target) != Some(&id)
                && self.live_attempt(id).is_none()
                && self
                    .built_with
                    .range(AttemptId::all_of(id))
                    .next()
                    .is_none()
        })
    }

    /// Weighs that jobs are forgotten; part of `Farm::weigh`.
    pub(super) fn weigh_forgotten(&self, jobs: &[JobId]) -> Result<Change, Refusal> {
        let mut change = Change::default();
        for id in jobs {
            let job = self.jobs.get(id).ok_or(Refusal::Repeat)?;
            if !self.is_past(*id) {
                return Err(Refusal::State {
                    job: *id,
                    state: job.state.as_str(),
                    why: "something rests on it still".into(),
                });
            }
            let attempts = self.attempts_of(*id).map(|attempt| attempt.id).collect();
            change.jobs_gone.push((*id, attempts));
        }
        Ok(change)
    }

    /// Part of `Farm::adopt`.
    pub(super) fn forget_jobs(&mut self, gone: Vec<(JobId, Vec<AttemptId>)>) {
        for (id, attempts) in gone {
            self.jobs.remove(&id);
            for attempt in attempts {
                self.attempts.remove(&attempt);
                self.usages.remove(&attempt);
                self.measures.remove(&attempt);
                self.stood_on.remove(&attempt);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{CommitId, Seq, Stamp};
    use crate::model::{Because, Event, Job, Recorded, Who};

    fn job(id: u64, recipe: &str, state: JobState) -> Job {
        Job {
            id: JobId(id),
            target: Target {
                project: "p".parse().unwrap(),
                recipe: recipe.parse().unwrap(),
                profile: "main".parse().unwrap(),
            },
            version: "1".into(),
            release: id,
            build_release: 1,
            commit: CommitId([1; 20]),
            dir: recipe.into(),
            tree: CommitId([2; 20]),
            state,
            because: Because::Missing,
            created: Stamp(0),
            changed: Stamp(0),
            tries: 1,
            failures: 0,
            not_before: None,
            raise: 0,
            hold: None,
            fault: None,
        }
    }

    fn farm() -> Farm {
        use JobState::{Cancelled, Failed, Open, Published, Superseded};
        let mut farm = Farm::default();
        let jobs = [
            job(1, "a", Published),
            job(2, "a", Published),
            job(3, "b", Failed),
            job(4, "a", Superseded),
            job(5, "b", Cancelled),
            job(6, "a", Failed),
            job(7, "c", Published),
            job(8, "c", Open),
        ];
        farm.adopt(Change {
            jobs: jobs.into(),
            ..Change::default()
        });
        farm
    }

    fn forget(farm: &Farm, jobs: &[u64]) -> Result<Change, Refusal> {
        farm.weigh(&Recorded {
            seq: Seq(1),
            at: Stamp(0),
            who: Who::Farm,
            event: Event::JobsForgotten {
                jobs: jobs.iter().copied().map(JobId).collect(),
            },
        })
    }

    #[test]
    fn the_newest_and_the_last_published_of_each_recipe_stay() {
        let mut farm = farm();
        assert_eq!(farm.past_jobs(), [JobId(1), JobId(3), JobId(4)]);
        for needed in [5, 6, 8] {
            let refused = forget(&farm, &[1, needed]);
            assert!(matches!(refused, Err(Refusal::State { .. })), "{needed}");
        }
        assert_eq!(forget(&farm, &[99]), Err(Refusal::Repeat));
        let change = forget(&farm, &[1, 3, 4]).unwrap();
        farm.adopt(change.clone());
        assert_eq!(farm.past_jobs(), []);
        assert_eq!(farm.jobs.len(), 5);
        // The same change twice is the same as once.
        farm.adopt(change);
        assert_eq!(farm.jobs.len(), 5);
    }
}
