//! When the records of jobs that are over go: as soon as there are more of them than this host keeps.

use std::collections::BTreeSet;

use super::state::{Done, State};
use crate::id::JobId;
use crate::model::history::FORGOTTEN_MAX;
use crate::model::{Event, Who};

impl State {
    /// Lets the records of jobs go that nothing rests on, when there are more of them than this host keeps.
    pub async fn forget_past_jobs(&mut self) -> Done<()> {
        // Each that may go is one of these; so it need not be counted until there are that many.
        let over = self.farm.jobs.len().saturating_sub(self.open.len());
        if over < self.history_look {
            return Ok(());
        }
        let kept = self.args.history_jobs;
        let compared = self.proofs.running.values();
        let compared: BTreeSet<JobId> = compared.map(|one| one.publication.attempt.job).collect();
        let mut past = self.farm.past_jobs();
        past.retain(|job| !compared.contains(job));
        let Some(excess) = past.len().checked_sub(kept + 1) else {
            self.history_look = over + kept + 1 - past.len();
            return Ok(());
        };
        // Somewhat more than need be, so that not each job that ends has its own walk.
        let gone = (excess + 1 + kept / 64).min(FORGOTTEN_MAX).min(past.len());
        let jobs = past[..gone].to_vec();
        let event = Event::JobsForgotten { jobs };
        if let Err(refusal) = self.record_one(Who::Farm, event).await? {
            tracing::warn!(%refusal, "the records of old jobs stay");
            self.history_look = over + kept;
        }
        Ok(())
    }
}
