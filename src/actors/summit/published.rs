//! What is published and which attempt built it, and how long it is kept what that was built from.

use std::collections::{BTreeSet, HashMap};

use super::state::State;
use crate::fault::{Fault, Kind, Result};
use crate::id::{AttemptId, ChannelName, HostId, JobId, Stamp};
use crate::model::{Attempt, AttemptState, Target};

/// Time between two looks for orders that nobody needs any more.
const FORGET_ORDERS_MS: u64 = 600_000;

/// Something published, and who built it.
#[derive(Debug, Clone)]
pub(super) struct Publication {
    pub(super) attempt: AttemptId,
    pub(super) target: Target,
    pub(super) release: String,
    pub(super) channel: ChannelName,
    pub(super) publisher: HostId,
    pub(super) assigned: Stamp,
}

impl State {
    /// What an attempt published.
    pub(super) fn publication(&self, attempt: AttemptId) -> Option<Publication> {
        let row = self.farm.attempts.get(&attempt)?;
        let AttemptState::Published { channel, .. } = &row.state else {
            return None;
        };
        self.publication_in(row, channel)
    }

    /// What an attempt published in a channel, or will.
    pub(super) fn publication_in(
        &self,
        row: &Attempt,
        channel: &ChannelName,
    ) -> Option<Publication> {
        let job = self.farm.jobs.get(&row.id.job)?;
        Some(Publication {
            attempt: row.id,
            target: job.target.clone(),
            release: format!("{}-{}-{}", job.version, job.release, row.build_release),
            channel: channel.clone(),
            publisher: row.builder,
            assigned: row.assigned,
        })
    }

    /// By the clock: forgets what was built from what, of attempts that published nothing or nothing that is still the newest
    /// of its target. A comparison has no use for it, and each is some KiB.
    pub(super) fn forget_orders(&mut self, now_ms: u64) {
        let at_ms = *self
            .proofs
            .forget_at_ms
            .get_or_insert(now_ms + FORGET_ORDERS_MS / 10);
        if now_ms < at_ms {
            return;
        }
        self.proofs.forget_at_ms = Some(now_ms + FORGET_ORDERS_MS);
        let mut kept: HashMap<&Target, AttemptId> = HashMap::new();
        for attempt in self.farm.attempts.values() {
            let published = matches!(attempt.state, AttemptState::Published { .. });
            if let Some(job) = self.farm.jobs.get(&attempt.id.job).filter(|_| published) {
                kept.insert(&job.target, attempt.id);
            }
        }
        let kept: BTreeSet<AttemptId> = kept.into_values().collect();
        let over = self.farm.attempts.values().filter(|attempt| {
            let compared = self.proofs.running.values();
            !attempt.state.is_live()
                && !kept.contains(&attempt.id)
                && !compared
                    .into_iter()
                    .any(|one| one.publication.attempt == attempt.id)
        });
        let over: BTreeSet<AttemptId> = over.map(|attempt| attempt.id).collect();
        let jobs: BTreeSet<JobId> = self.farm.jobs.keys().copied().collect();
        let (last, store) = (self.farm.last_job, self.args.store.clone());
        tokio::task::spawn_blocking(move || {
            let is_forgotten = |job| job <= last && !jobs.contains(&job);
            let is_over = |id: AttemptId| over.contains(&id) || is_forgotten(id.job);
            // What is left is found the next time.
            if let Err(fault) = crate::store::farm::forget_orders(&store, is_over) {
                tracing::warn!(%fault, "orders of attempts that are over stay");
            }
        });
    }

    /// What published a package, by its name or its recipe's.
    pub(super) fn locate_publication(
        &self,
        text: &str,
        only: Option<&ChannelName>,
    ) -> Result<Publication> {
        let channels = self
            .channels
            .values()
            .filter(|channel| only.is_none_or(|only| channel.name == *only));
        let mut known = Vec::new();
        for channel in channels {
            let named = channel
                .packages
                .iter()
                .find(|package| package.name.as_str() == text);
            let found = named.or_else(|| {
                let mut all = channel.packages.iter();
                all.find(|package| package.source.as_str() == text)
            });
            let Some(package) = found else {
                known.extend(
                    channel
                        .packages
                        .iter()
                        .map(|package| package.name.to_string()),
                );
                continue;
            };
            let brought = channel.steps.iter().rev().find_map(|step| {
                let is_it = step.edits.iter().any(|edit| {
                    edit.name == package.name && edit.after == Some(package.file.sha256)
                });
                match &step.version.cause {
                    crate::channel::Cause::Built { attempt, .. } if is_it => Some(*attempt),
                    _ => None,
                }
            });
            let publication = brought.and_then(|attempt| self.publication(attempt));
            return publication.ok_or_else(|| {
                Fault::new(
                    Kind::Conflict,
                    format!(
                        "{} of {} was not built by this farm",
                        package.name, channel.name
                    ),
                )
                .next("imported packages have nothing to be compared with")
            });
        }
        Err(super::lookup::unknown(
            "package",
            text,
            known.iter().map(String::as_str),
            "massif package list",
        ))
    }
}
