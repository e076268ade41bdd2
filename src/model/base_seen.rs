//! What a base that is a builder's own brings to its builds: its system and the tools whose versions show in what is built. Two
//! builds over different ones may differ honestly, so such a difference blames nobody.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::change::Change;
use super::farm::{Farm, Refusal};
use super::measure::cut;
use super::proof::{ProofChange, is_comparison};
use crate::id::{AttemptId, Digest};

/// Tools of one base that are told.
pub const PARTS_MAX: usize = 48;
/// Bytes of a tool's name.
const NAME_BYTES_MAX: usize = 24;
/// Bytes of its version, as it says it.
const VERSION_BYTES_MAX: usize = 40;
/// Bytes of the system's name and version.
const SYSTEM_BYTES_MAX: usize = 60;
/// Bases whose tools are remembered: each update of a builder's system makes one, and those that nothing stands on go first.
pub const BASES_MAX: usize = 256;
/// Own bases of one builder that are told: its `/usr` and bootstrapped directories.
pub const OF_ONE_BUILDER_MAX: usize = 8;
/// Letters of a hash that stand for a tool where its version does not tell it from another.
const SHORT: usize = 8;

/// A tool of a base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BasePart {
    /// `gcc`, `ld`, `libc`...
    pub name: String,
    /// As it says itself; `None`: it was not asked, or did not say.
    pub version: Option<String>,
    /// Which build of the tool it is: a hash of its build id, or of its bytes where it has none.
    pub digest: Digest,
}

impl BasePart {
    fn word(&self, with_version: bool) -> String {
        let short: String = self.digest.to_string().chars().take(SHORT).collect();
        match &self.version {
            Some(version) if with_version => version.clone(),
            Some(version) => format!("{version} ({short})"),
            None => short,
        }
    }
}

/// What was seen of a base.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BaseSeen {
    /// The distribution and its version; empty: it does not say.
    pub system: String,
    /// Its tools, by name.
    pub parts: Vec<BasePart>,
}

/// What is not the same of two bases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseDifference {
    /// `system`, or a tool.
    pub part: String,
    /// What is published was built with this; `None`: it has none.
    pub published: Option<String>,
    /// It was built again with this.
    pub rebuilt: Option<String>,
}

impl BaseSeen {
    /// The same, cut to what a row takes.
    #[must_use]
    pub fn bounded(mut self) -> BaseSeen {
        cut(&mut self.system, SYSTEM_BYTES_MAX);
        self.parts.truncate(PARTS_MAX);
        for part in &mut self.parts {
            cut(&mut part.name, NAME_BYTES_MAX);
            if let Some(version) = &mut part.version {
                cut(version, VERSION_BYTES_MAX);
            }
        }
        self
    }

    /// Which base it is. What a tool calls its version is left out: one that did not answer in time is no other tool.
    pub fn digest(&self) -> Digest {
        let mut hash = sha2::Sha256::new();
        hash.update("massif base 1");
        let mut add = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        add(self.system.as_bytes());
        for part in &self.parts {
            add(part.name.as_bytes());
            add(&part.digest.0);
        }
        Digest(hash.finalize().into())
    }

    /// What a build stood on whose base changed under it: nobody else's.
    pub fn changed_into(&self, after: &BaseSeen) -> Digest {
        let mut hash = sha2::Sha256::new();
        hash.update("massif base 1, changed");
        hash.update(self.digest().0);
        hash.update(after.digest().0);
        Digest(hash.finalize().into())
    }

    /// What is not the same in the other one, in words.
    pub fn differences(&self, rebuilt: &BaseSeen) -> Vec<BaseDifference> {
        let mut found = Vec::new();
        if self.system != rebuilt.system {
            let word = |text: &str| Some(text.to_string()).filter(|text| !text.is_empty());
            found.push(BaseDifference {
                part: "system".into(),
                published: word(&self.system),
                rebuilt: word(&rebuilt.system),
            });
        }
        let by_name = |seen: &BaseSeen| -> BTreeMap<String, BasePart> {
            let all = seen.parts.iter().cloned();
            all.map(|part| (part.name.clone(), part)).collect()
        };
        let (ours, mut theirs) = (by_name(self), by_name(rebuilt));
        for (name, part) in ours {
            let other = theirs.remove(&name);
            if other.as_ref().is_some_and(|one| one.digest == part.digest) {
                continue;
            }
            // Two builds of one version are told apart by their hashes.
            let tells = other.as_ref().is_none_or(|one| one.version != part.version);
            found.push(BaseDifference {
                part: name,
                published: Some(part.word(tells)),
                rebuilt: other.map(|one| one.word(tells)),
            });
        }
        found.extend(theirs.into_iter().map(|(name, part)| BaseDifference {
            part: name,
            published: None,
            rebuilt: Some(part.word(true)),
        }));
        found
    }
}

/// What an attempt was built on, beside its packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoodOn {
    /// The attempt.
    pub attempt: AttemptId,
    /// The base, as `BaseSeen::digest` names it.
    pub base: Digest,
}

impl Farm {
    /// Weighs what was seen of a base; part of `Farm::weigh`.
    pub(super) fn weigh_base(&self, base: &BaseSeen) -> Result<Change, Refusal> {
        if self.bases.contains_key(&base.digest()) {
            return Err(Refusal::Repeat);
        }
        let over = (self.bases.len() + 1).saturating_sub(BASES_MAX);
        let mut gone: Vec<Digest> = Vec::new();
        if over > 0 {
            let used: std::collections::BTreeSet<&Digest> = self.stood_on.values().collect();
            let (used, free): (Vec<&Digest>, Vec<&Digest>) =
                self.bases.keys().partition(|digest| used.contains(digest));
            gone.extend(free.into_iter().chain(used).take(over));
        }
        let proof = ProofChange {
            bases: vec![base.clone()],
            bases_gone: gone,
            ..ProofChange::default()
        };
        Ok(Change {
            proof,
            ..Change::default()
        })
    }

    /// Weighs what an attempt was built on; part of `Farm::weigh`. A comparison has no row of its own before it is done.
    pub(super) fn weigh_stood_on(&self, stood: &StoodOn) -> Result<Change, Refusal> {
        let known = is_comparison(stood.attempt.job) || self.attempts.contains_key(&stood.attempt);
        if !known {
            return Err(Refusal::Unknown {
                what: "attempt",
                name: stood.attempt.to_string(),
            });
        }
        if self.stood_on.contains_key(&stood.attempt) {
            return Err(Refusal::Repeat);
        }
        let proof = ProofChange {
            stood_on: vec![*stood],
            ..ProofChange::default()
        };
        Ok(Change {
            proof,
            ..Change::default()
        })
    }

    /// Part of `Farm::adopt`.
    pub(super) fn adopt_bases(&mut self, change: &mut ProofChange) {
        for digest in std::mem::take(&mut change.bases_gone) {
            self.bases.remove(&digest);
        }
        let bases = std::mem::take(&mut change.bases).into_iter();
        self.bases
            .extend(bases.map(|base| (base.digest(), Arc::new(base))));
        for attempt in std::mem::take(&mut change.stood_on_gone) {
            self.stood_on.remove(&attempt);
        }
        let stood = std::mem::take(&mut change.stood_on).into_iter();
        self.stood_on
            .extend(stood.map(|one| (one.attempt, one.base)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::JobId;

    fn part(name: &str, version: Option<&str>, byte: u8) -> BasePart {
        BasePart {
            name: name.into(),
            version: version.map(str::to_string),
            digest: Digest([byte; 32]),
        }
    }

    fn base(system: &str, parts: Vec<BasePart>) -> BaseSeen {
        BaseSeen {
            system: system.into(),
            parts,
        }
    }

    #[test]
    fn what_differs_of_two_bases_is_named_with_versions_or_hashes() {
        let one = base(
            "debian 12",
            vec![
                part("gcc", Some("14.2"), 1),
                part("ld", Some("2.40"), 2),
                part("libc", Some("2.36"), 3),
                part("m4", None, 4),
            ],
        );
        let other = base(
            "fedora 41",
            vec![
                part("bison", None, 9),
                part("gcc", Some("15.1"), 8),
                part("ld", Some("2.40"), 7),
                part("libc", None, 3),
            ],
        );
        let found: Vec<(String, Option<String>, Option<String>)> = one
            .differences(&other)
            .into_iter()
            .map(|found| (found.part, found.published, found.rebuilt))
            .collect();
        let row = |part: &str, ours: Option<&str>, theirs: Option<&str>| {
            let text = |word: Option<&str>| word.map(str::to_string);
            (part.to_string(), text(ours), text(theirs))
        };
        assert_eq!(
            found,
            [
                row("system", Some("debian 12"), Some("fedora 41")),
                row("gcc", Some("14.2"), Some("15.1")),
                row("ld", Some("2.40 (02020202)"), Some("2.40 (07070707)")),
                row("m4", Some("04040404"), None),
                row("bison", None, Some("09090909")),
            ]
        );
        assert!(one.differences(&one).is_empty());
    }

    #[test]
    fn a_version_that_was_not_told_makes_no_other_base_and_a_tool_does() {
        let known = base("a", vec![part("gcc", Some("14.2"), 1)]);
        let silent = base("a", vec![part("gcc", None, 1)]);
        let other = base("a", vec![part("gcc", Some("14.2"), 2)]);
        assert_eq!(known.digest(), silent.digest());
        assert_ne!(known.digest(), other.digest());
        assert_ne!(known.digest(), base("b", known.parts.clone()).digest());
        // One that changed under a build is nobody's, in either order.
        let changed = known.changed_into(&other);
        assert!(changed != known.digest() && changed != other.changed_into(&known));
    }

    #[test]
    fn the_bytes_of_shape_1_are_frozen_and_the_largest_fits_a_row() {
        let row = base("s", vec![part("a", Some("1"), 7)]);
        let mut bytes = vec![1, b's', 1, 1, b'a', 1, 1, b'1'];
        bytes.extend([7; 32]);
        assert_eq!(postcard::to_stdvec(&row).unwrap(), bytes);
        assert_eq!(postcard::from_bytes::<BaseSeen>(&bytes).unwrap(), row);
        let attempt = AttemptId {
            job: JobId(7),
            try_no: 1,
        };
        let stood = StoodOn {
            attempt,
            base: Digest([9; 32]),
        };
        let mut bytes = vec![7, 1];
        bytes.extend([9; 32]);
        assert_eq!(postcard::to_stdvec(&stood).unwrap(), bytes);
        let long = "ä".repeat(400);
        let kept = base(&long, vec![part(&long, Some(&long), 1); 300]).bounded();
        assert_eq!(kept.parts.len(), PARTS_MAX);
        let bytes = postcard::to_stdvec(&kept).unwrap().len();
        assert!(bytes + 500 < crate::limit::STORE_VALUE_BYTES_MAX, "{bytes}");
    }

    #[test]
    fn of_too_many_bases_the_one_that_nothing_stands_on_goes() {
        let mut farm = Farm::default();
        let job = super::super::proof::job_of_comparison(1);
        for byte in 0..BASES_MAX {
            let base = base(&format!("{byte}"), Vec::new());
            let digest = base.digest();
            let mut change = farm.weigh_base(&base).unwrap();
            farm.adopt_bases(&mut change.proof);
            if byte != 100 {
                let attempt = AttemptId {
                    job,
                    try_no: u32::try_from(byte).unwrap(),
                };
                let stood = StoodOn {
                    attempt,
                    base: digest,
                };
                let mut change = farm.weigh_stood_on(&stood).unwrap();
                farm.adopt_bases(&mut change.proof);
                assert_eq!(farm.weigh_stood_on(&stood), Err(Refusal::Repeat));
            }
        }
        let free = base("100", Vec::new());
        assert_eq!(farm.weigh_base(&free), Err(Refusal::Repeat));
        let change = farm.weigh_base(&base("new", Vec::new())).unwrap();
        assert_eq!(change.proof.bases_gone, [free.digest()]);
        let nobodys = StoodOn {
            attempt: AttemptId {
                job: JobId(1),
                try_no: 1,
            },
            base: free.digest(),
        };
        assert!(farm.weigh_stood_on(&nobodys).is_err());
    }
}
