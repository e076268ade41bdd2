//! What an attempt is built with, as far as later decisions hang on it: which recipes of the farm stood in the channel when it was
//! given out. Kept beside its row, so that a restart knows what is built again, what is spared, and why.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::farm::{Change, Farm, Refusal};
use super::job::AttemptState;
use crate::id::{AttemptId, RecipeName};

/// Bytes of names and numbers in one of them: with its event's other parts it fits a value of the store.
pub const BYTES_MAX: usize = 6 * 1024;
/// Attempts of one target that are remembered: what is published, what is being built, and what a rollback brings back.
pub const KEPT: usize = 3;

/// A recipe's packages in the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stood {
    /// Its release.
    pub release: u64,
    /// The rebuild counter: with the release it names the bytes.
    pub build_release: u64,
    /// XXH3-64 of the sorted names that all its packages provide.
    pub names: [u8; 8],
}

/// A recipe of the farm that another one is built with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct With {
    /// The recipe.
    pub recipe: RecipeName,
    /// What the channel had of it; `None`: nothing, so something else served or nothing had to.
    pub stood: Option<Stood>,
    /// It was to be built anew, and was not waited for, because a cycle was cut there.
    pub early: bool,
}

/// What one attempt is built with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltWith {
    /// The attempt.
    pub attempt: AttemptId,
    /// The recipes that serve what its own recipe asks for, sorted.
    pub with: Vec<With>,
    /// Recipes that did not fit; nothing is known of them.
    pub left_out: u32,
}

impl BuiltWith {
    /// The same, cut to what a row takes.
    #[must_use]
    pub fn bounded(mut self) -> BuiltWith {
        let mut bytes = 0;
        let fits = self.with.iter().take_while(|with| {
            // Two lengths, two numbers of ten bytes at most, the hash and the flags.
            bytes += with.recipe.as_str().len() + 32;
            bytes <= BYTES_MAX
        });
        let kept = fits.count();
        self.left_out += u32::try_from(self.with.len() - kept).unwrap_or(u32::MAX);
        self.with.truncate(kept);
        self
    }

    /// One line for people.
    pub fn text(&self) -> String {
        let named = self.with.iter().map(|with| match &with.stood {
            Some(stood) => format!("{} {}-{}", with.recipe, stood.release, stood.build_release),
            None => format!("{} (not ours)", with.recipe),
        });
        let named: Vec<String> = named.collect();
        match named.as_slice() {
            [] => "is built against no recipe of the farm".into(),
            all => format!("is built against {}", all.join(", ")),
        }
    }
}

impl Farm {
    /// Part of `Farm::adopt`: jobs are there before.
    pub(super) fn remember_built_with(&mut self, with: BuiltWith) {
        let id = with.attempt;
        if let Some(job) = self.jobs.get(&id.job) {
            let known = self.remembered.entry(job.target.clone()).or_default();
            if let Err(place) = known.binary_search(&id) {
                known.insert(place, id);
            }
            self.built_with.insert(id, Arc::new(with));
        }
    }

    /// Part of `Farm::adopt`.
    pub(super) fn forget_built_with(&mut self, id: AttemptId) {
        self.built_with.remove(&id);
        let target = self.jobs.get(&id.job).map(|job| &job.target);
        if let Some(known) = target.and_then(|target| self.remembered.get_mut(target)) {
            known.retain(|other| *other != id);
        }
    }

    /// Weighs what an attempt is built with; part of `Farm::weigh`. What nobody will ask about again goes.
    pub(super) fn weigh_built_with(&self, with: &BuiltWith) -> Result<Change, Refusal> {
        let unknown = || Refusal::Unknown {
            what: "attempt",
            name: with.attempt.to_string(),
        };
        let job = self.jobs.get(&with.attempt.job).ok_or_else(unknown)?;
        self.attempts.get(&with.attempt).ok_or_else(unknown)?;
        if self
            .built_with
            .get(&with.attempt)
            .is_some_and(|known| **known == *with)
        {
            return Err(Refusal::Repeat);
        }
        let known = self.remembered.get(&job.target).into_iter().flatten();
        let others: Vec<AttemptId> = known.copied().filter(|id| *id != with.attempt).collect();
        let ended = |id: &AttemptId| {
            let attempt = self.attempts.get(id);
            attempt.is_none_or(|attempt| matches!(attempt.state, AttemptState::Ended { .. }))
        };
        let (mut gone, stay): (Vec<_>, Vec<_>) = others.into_iter().partition(ended);
        gone.extend(stay.iter().take(stay.len().saturating_sub(KEPT - 1)));
        Ok(Change {
            built_with: vec![with.clone()],
            built_with_gone: gone,
            ..Change::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::JobId;

    fn attempt() -> AttemptId {
        AttemptId {
            job: JobId(7),
            try_no: 1,
        }
    }

    fn with(recipe: &str) -> With {
        With {
            recipe: recipe.parse().unwrap(),
            stood: Some(Stood {
                release: 300,
                build_release: 2,
                names: [9; 8],
            }),
            early: true,
        }
    }

    #[test]
    fn the_bytes_of_shape_1_are_frozen() {
        let row = BuiltWith {
            attempt: attempt(),
            with: vec![
                with("ab"),
                With {
                    stood: None,
                    early: false,
                    ..with("c")
                },
            ],
            left_out: 1,
        };
        let bytes = [
            7, 1, 2, 2, b'a', b'b', 1, 0xac, 2, 2, 9, 9, 9, 9, 9, 9, 9, 9, 1, 1, b'c', 0, 0, 1,
        ];
        assert_eq!(postcard::to_stdvec(&row).unwrap(), bytes);
        assert_eq!(postcard::from_bytes::<BuiltWith>(&bytes).unwrap(), row);
    }

    #[test]
    fn what_is_too_much_for_a_row_is_left_out_and_counted() {
        let name = "n".repeat(60);
        let row = BuiltWith {
            attempt: attempt(),
            with: (0..700).map(|at| with(&format!("{name}{at}"))).collect(),
            left_out: 0,
        };
        let kept = row.bounded();
        assert_eq!(kept.with.len() + kept.left_out as usize, 700);
        assert!(kept.with.len() > 50, "{}", kept.with.len());
        let bytes = postcard::to_stdvec(&kept).unwrap().len();
        assert!(bytes <= BYTES_MAX, "{bytes}");
        const { assert!(BYTES_MAX + 1_024 < crate::limit::STORE_VALUE_BYTES_MAX) };
    }
}
