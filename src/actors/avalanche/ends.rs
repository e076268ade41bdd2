//! Ends of attempts: written down, told until they are heard, and forgotten when summit and vessel have what they need. What
//! cannot be written for want of room waits in memory, and nobody hears of it before.

use ractor::ActorProcessingErr;

use super::{State, builder, ended_by_builder};
use crate::fault::{Fault, Kind, Result};
use crate::id::{AttemptId, Digest};
use crate::model::{Measures, Outcome, Role, Say, StoodOn};
use crate::store::WriteSet;
use crate::store::taken::{Taken, TakenStage};

/// How an attempt ended, as it is kept until that is heard.
type Ended = (Outcome, Option<Measures>, Option<Digest>);

impl State {
    /// Builds of a process that is gone: their processes died with it, their directories are thrown away.
    pub(super) async fn end_what_ran(&mut self) -> std::result::Result<(), ActorProcessingErr> {
        let ran: Vec<AttemptId> = self
            .taken
            .values()
            .filter(|row| row.stage == TakenStage::Running)
            .map(|row| row.attempt)
            .collect();
        for attempt in ran {
            // Its room first: it may be what is missing for the row.
            builder::discard(&self.args.dir, attempt);
            let fault = Fault::new(
                Kind::Builder,
                format!("{} was restarted during the build", self.args.name),
            );
            self.record_end(attempt, ended_by_builder(fault), None)
                .await?;
        }
        Ok(())
    }

    pub(super) async fn record_end(
        &mut self,
        attempt: AttemptId,
        outcome: Outcome,
        measures: Option<Measures>,
    ) -> std::result::Result<(), ActorProcessingErr> {
        let Some(row) = self.taken.get(&attempt).cloned() else {
            return Ok(());
        };
        // The first end stands: a build that was given back also says that it was cancelled.
        if row.stage != TakenStage::Running {
            return Ok(());
        }
        if self.unwritten.contains_key(&attempt) {
            return Ok(());
        }
        match self.write_end(row, &outcome, measures.as_ref()).await {
            Ok(()) => self.report_end(attempt),
            // Nobody is told what is not on disk: it counts as running until there is room for its end.
            Err(fault) if fault.is_no_room() => {
                tracing::warn!(%attempt, %fault, "the end of an attempt waits for room on the disk");
                self.unwritten.insert(attempt, (outcome, measures));
            }
            Err(fault) => return Err(fault.into()),
        }
        Ok(())
    }

    async fn write_end(
        &mut self,
        row: Taken,
        outcome: &Outcome,
        measures: Option<&Measures>,
    ) -> Result<()> {
        let received = !matches!(outcome, Outcome::Built { .. });
        let bug = |error: &dyn std::error::Error| {
            Fault::bug("cannot write down how an attempt ended").because(error)
        };
        // One blob for both: what it took is told before its end is, and again until that is heard.
        let bytes = postcard::to_stdvec(outcome).map_err(|error| bug(&error))?;
        let bytes = postcard::to_extend(&measures, bytes).map_err(|error| bug(&error))?;
        let stood = self.stood.get(&row.attempt);
        let bytes = postcard::to_extend(&stood, bytes).map_err(|error| bug(&error))?;
        let blobs = self.args.blobs.clone();
        let outcome = tokio::task::spawn_blocking(move || blobs.put_bytes(&bytes))
            .await
            .map_err(|error| bug(&error))??;
        let row = Taken {
            stage: TakenStage::Ended {
                outcome: outcome.sha256,
                heard: false,
                received,
            },
            ..row
        };
        let mut set = WriteSet::new();
        set.put(&row);
        self.args.store.commit_async(set).await?;
        self.stood.remove(&row.attempt);
        self.taken.insert(row.attempt, row);
        crate::actors::kill_point("avalanche:outcome-recorded");
        Ok(())
    }

    /// By the clock: what could not be written down for want of room.
    pub(super) async fn write_again(&mut self) -> std::result::Result<(), ActorProcessingErr> {
        for (attempt, (outcome, measures)) in std::mem::take(&mut self.unwritten) {
            self.record_end(attempt, outcome, measures).await?;
        }
        for (attempt, (heard, received)) in std::mem::take(&mut self.unconfirmed) {
            self.confirmed(attempt, heard, received).await?;
        }
        Ok(())
    }

    /// How an attempt ended, what it took, and which base of this builder's own it was built on.
    pub(super) fn outcome(&self, digest: Digest) -> Result<Ended> {
        let bytes = self
            .args
            .blobs
            .read(&digest, crate::limit::FRAME_BYTES_MAX as u64)?;
        let (outcome, rest) = postcard::take_from_bytes(&bytes).map_err(|error| {
            Fault::bug(format!("the outcome {digest} cannot be read")).because(&error)
        })?;
        // An earlier massif wrote less.
        let (measures, rest) = postcard::take_from_bytes(rest).unwrap_or_default();
        let base = postcard::from_bytes(rest).unwrap_or_default();
        Ok((outcome, measures, base))
    }

    /// Says how an attempt ended to whoever has not confirmed it.
    pub(super) fn report_end(&self, attempt: AttemptId) {
        let Some(Taken {
            stage:
                TakenStage::Ended {
                    outcome,
                    heard,
                    received,
                },
            summit,
            ..
        }) = self.taken.get(&attempt)
        else {
            return;
        };
        let (outcome, measures, base) = match self.outcome(*outcome) {
            Ok(ended) => ended,
            Err(fault) => (ended_by_builder(fault), None, None),
        };
        if let (Outcome::Built { artefacts, .. }, false) = (&outcome, *received) {
            let offer = Say::Offer {
                attempt,
                artefacts: artefacts.clone(),
            };
            self.args
                .post
                .say(self.args.post.vessel(), Role::Vessel, offer);
        }
        if !heard {
            if let Some(measures) = measures {
                let say = Say::Measured(Box::new(measures));
                self.args.post.say(*summit, Role::Summit, say);
            }
            if let Some(base) = base.filter(|_| matches!(outcome, Outcome::Built { .. })) {
                let say = Say::StoodOn(StoodOn { attempt, base });
                self.args.post.say(*summit, Role::Summit, say);
            }
            self.args
                .post
                .say(*summit, Role::Summit, Say::Ended { attempt, outcome });
        }
    }

    /// Forgets an attempt when both summit and vessel have what they need of it.
    pub(super) async fn confirmed(
        &mut self,
        attempt: AttemptId,
        heard_now: bool,
        received_now: bool,
    ) -> std::result::Result<(), ActorProcessingErr> {
        let Some(row) = self.taken.get(&attempt).cloned() else {
            return Ok(());
        };
        let TakenStage::Ended {
            outcome,
            heard,
            received,
        } = row.stage
        else {
            return Ok(());
        };
        let (heard, received) = (heard || heard_now, received || received_now);
        let over = heard && received;
        let mut set = WriteSet::new();
        let row = Taken {
            stage: TakenStage::Ended {
                outcome,
                heard,
                received,
            },
            ..row
        };
        match over {
            true => set.delete::<Taken>(&attempt),
            false => set.put(&row),
        };
        match self.args.store.commit_async(set).await {
            Ok(()) if over => {
                self.taken.remove(&attempt);
            }
            Ok(()) => {
                self.taken.insert(attempt, row);
            }
            Err(fault) if fault.is_no_room() => {
                tracing::warn!(%attempt, %fault, "a receipt waits for room on the disk");
                self.unconfirmed.insert(attempt, (heard, received));
            }
            Err(fault) => return Err(fault.into()),
        }
        if over {
            // Its artefacts are elsewhere, whether that is written down or not.
            builder::discard(&self.args.dir, attempt);
        }
        Ok(())
    }

    pub(super) async fn finished(
        &mut self,
        attempt: AttemptId,
        outcome: Outcome,
        measures: Measures,
    ) -> std::result::Result<(), ActorProcessingErr> {
        let parked = self
            .running
            .remove(&attempt)
            .and_then(|running| running.parked);
        let outcome = match (outcome, parked) {
            (Outcome::Cancelled, Some(fault)) => ended_by_builder(fault),
            (outcome, _) => outcome,
        };
        self.room.built = true;
        if !matches!(outcome, Outcome::Built { .. }) {
            // Nobody fetches anything from it: its room is free at once, not when summit has heard, and its end may need some.
            builder::discard(&self.args.dir, attempt);
        }
        self.record_end(attempt, outcome, Some(measures)).await
    }
}
