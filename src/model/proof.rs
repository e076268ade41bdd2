//! Proof instead of belief, as values: what a comparison of a rebuilt package with the published one found, and what an operator
//! wants compared. What follows from all opinions about one publication together stands in `judge`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::base_seen::{BaseSeen, StoodOn};
use super::change::Change;
use super::event::Event;
use super::farm::{Farm, Refusal};
use super::job::Target;
pub use super::judge::{Judgement, Opinion, Score, judge};
use super::measure::BuilderStop;
use super::order::Artefact;
use super::who::{Hold, Who};
use crate::id::{AttemptId, ChannelName, Digest, HostId, JobId, Stamp};

/// Comparisons that are kept; the oldest goes first.
pub const COMPARISONS_MAX: usize = 2_000;
/// Differences of one comparison that are described in its row, which fits a value of the store.
pub const DIFFERENCES_KEPT: usize = 10;
/// Files of one comparison that are kept as evidence.
pub const EVIDENCE_MAX: usize = 8;
/// The attempts of comparisons are of jobs from here on: above any real one, below those that are tried.
const FIRST: u64 = 1 << 61;
/// Bytes of the name of a builder's owner.
pub const OWNER_BYTES_MAX: usize = 100;
/// Bytes of one text of a difference.
const TEXT_BYTES_MAX: usize = 120;
/// Matches that a channel may ask for before publication: more builders of one kind no farm has.
pub const REQUIRE_MATCH_MAX: u32 = 8;

/// Whether this is the number of a comparison.
pub fn is_comparison(job: JobId) -> bool {
    (FIRST..FIRST << 1).contains(&job.0)
}

/// The number under which a comparison is built.
pub fn job_of_comparison(id: u64) -> JobId {
    JobId(FIRST + id)
}

/// How far two sets of artefacts agree; the worst of their files counts. Grows at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Every file is the same bytes.
    Same,
    /// The same paths, contents and metadata, packed otherwise.
    Container,
    /// The same contents; something is said of them otherwise: dependencies, modes, owners.
    Metadata,
    /// Other files, or files with other contents.
    Files,
}

impl Level {
    /// The word in JSON and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Same => "same",
            Level::Container => "container",
            Level::Metadata => "metadata",
            Level::Files => "files",
        }
    }

    /// What it means.
    pub fn text(self) -> &'static str {
        match self {
            Level::Same => "the same bytes",
            Level::Container => "the same content, packed otherwise",
            Level::Metadata => "other metadata",
            Level::Files => "other files",
        }
    }

    /// Whether a client gets the same either way.
    pub fn is_match(self) -> bool {
        self <= Level::Container
    }
}

/// What a difference most likely comes from. Grows at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A date or time of the build is in it.
    Date,
    /// A path of the build is in it.
    Path,
    /// The same parts in another order.
    Order,
    /// One bit.
    Bit,
    /// Only what follows from other differences: the hash that a linker makes of everything.
    BuildId,
    /// It is in one of the two only.
    Presence,
    /// A link to something else, or a file where the other has a link.
    Link,
    /// Mode or owner.
    Mode,
    /// Metadata of a package.
    Fields,
    /// Packed otherwise.
    Packing,
    /// It cannot be read.
    Damage,
    /// None of these.
    Content,
}

impl Cause {
    /// The word in JSON and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Date => "date",
            Cause::Path => "path",
            Cause::Order => "order",
            Cause::Bit => "bit",
            Cause::BuildId => "build_id",
            Cause::Presence => "presence",
            Cause::Link => "link",
            Cause::Mode => "mode",
            Cause::Fields => "fields",
            Cause::Packing => "packing",
            Cause::Damage => "damage",
            Cause::Content => "content",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One thing that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The artefact that it is in.
    pub artefact: String,
    /// The path below `/usr`; `None`: it is about the artefact as a whole.
    pub path: Option<String>,
    /// What it comes from, as far as can be told.
    pub cause: Cause,
    /// Bytes of the published one.
    pub published_bytes: Option<u64>,
    /// Bytes of the rebuilt one.
    pub rebuilt_bytes: Option<u64>,
    /// The first byte that differs, where that tells something.
    pub offset: Option<u64>,
    /// The ELF section that this byte is in.
    pub section: Option<String>,
    /// In words.
    pub text: String,
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The worst of all.
    pub level: Level,
    /// Files in either set.
    pub artefacts: u32,
    /// Those that are the same bytes.
    pub same: u32,
    /// Bytes of the published set.
    pub bytes: u64,
    /// What differs, by artefact and path.
    pub differences: Vec<Difference>,
    /// More of them, which are not listed.
    pub unlisted: u32,
    /// How many differences have which cause, the most frequent first.
    pub causes: Vec<(Cause, u32)>,
    /// Hash of what a client gets of the published set, however it is packed.
    pub published: Digest,
    /// The same of the rebuilt set.
    pub rebuilt: Digest,
}

impl Finding {
    /// The same, cut to what a row takes.
    #[must_use]
    pub fn bounded(mut self) -> Finding {
        let more = self.differences.len().saturating_sub(DIFFERENCES_KEPT);
        self.unlisted = self
            .unlisted
            .saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
        self.differences.truncate(DIFFERENCES_KEPT);
        for difference in &mut self.differences {
            let texts = [&mut difference.artefact, &mut difference.text];
            texts.into_iter().for_each(cut);
            difference.path.iter_mut().for_each(cut);
            difference.section.iter_mut().for_each(cut);
        }
        self
    }
}

/// Cuts a text between characters.
pub fn cut(text: &mut String) {
    if text.len() > TEXT_BYTES_MAX {
        let mut end = TEXT_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
}

/// One rebuilt publication, compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// Its number, from 1.
    pub id: u64,
    /// Under which it was built again.
    pub attempt: AttemptId,
    /// The attempt whose packages are published.
    pub publication: AttemptId,
    /// What it was about.
    pub target: Target,
    /// Version, release and build release.
    pub release: String,
    /// Where it is published.
    pub channel: ChannelName,
    /// Who built what is published.
    pub publisher: HostId,
    /// Who built it again.
    pub builder: HostId,
    /// What that host builds may be published.
    pub trusted: bool,
    /// When it began.
    pub began: Stamp,
    /// Who wanted it.
    pub by: Who,
    /// What came of it.
    pub finding: Finding,
    /// The rebuilt files that differ, which are kept.
    pub evidence: Vec<Artefact>,
}

/// What is compared without being asked, and what is needed before something is published. By channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofPolicy {
    /// The channel.
    pub channel: ChannelName,
    /// Builders with nothing to do rebuild what is published there.
    pub idle: bool,
    /// Hosts beside the first that must come to the same before anything is published; 0: none.
    pub require_match: u32,
}

/// A builder that was wrong alone: in quarantine until a person lets it go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conviction {
    /// The builder.
    pub builder: HostId,
    /// The comparison that decided.
    pub comparison: u64,
    /// What it was wrong about.
    pub publication: AttemptId,
    /// When.
    pub at: Stamp,
}

/// How many matches a builder for tests needs before a person may let it build for publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RiseRule {
    /// So many; 0: a person decides without any.
    pub matches: u32,
}

/// Whose machine a builder is, where an operator said so: comparisons prefer a builder of another owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostOwner {
    /// The builder.
    pub host: HostId,
    /// A person or a group; empty: nobody in particular.
    pub owner: String,
}

/// The rows that comparisons change; a part of `Change`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProofChange {
    /// New.
    pub comparisons: Vec<Comparison>,
    /// Too old.
    pub comparisons_gone: Vec<u64>,
    /// New or changed.
    pub policies: Vec<ProofPolicy>,
    /// New.
    pub convictions: Vec<Conviction>,
    /// Lifted.
    pub convictions_gone: Vec<HostId>,
    /// Another one.
    pub rise_rule: Option<RiseRule>,
    /// New or changed.
    pub owners: Vec<HostOwner>,
    /// New.
    pub bases: Vec<BaseSeen>,
    /// Too many.
    pub bases_gone: Vec<Digest>,
    /// New.
    pub stood_on: Vec<StoodOn>,
    /// Of comparisons that are gone.
    pub stood_on_gone: Vec<AttemptId>,
}

impl ProofChange {
    /// The conviction of this builder is lifted.
    pub(super) fn lifted(builder: Option<HostId>) -> ProofChange {
        ProofChange {
            convictions_gone: builder.into_iter().collect(),
            ..ProofChange::default()
        }
    }

    /// Appends what a later event changed.
    pub(super) fn append(&mut self, later: ProofChange) {
        self.comparisons.extend(later.comparisons);
        self.comparisons_gone.extend(later.comparisons_gone);
        self.policies.extend(later.policies);
        self.convictions.extend(later.convictions);
        self.convictions_gone.extend(later.convictions_gone);
        self.rise_rule = later.rise_rule.or(self.rise_rule);
        self.owners.extend(later.owners);
        self.bases.extend(later.bases);
        self.bases_gone.extend(later.bases_gone);
        self.stood_on.extend(later.stood_on);
        self.stood_on_gone.extend(later.stood_on_gone);
    }
}

impl Farm {
    /// Takes weighed rows in; part of `Farm::adopt`.
    pub(super) fn adopt_proof(&mut self, mut change: ProofChange) {
        self.adopt_bases(&mut change);
        for id in change.comparisons_gone {
            self.comparisons.remove(&id);
        }
        let all = change.comparisons.into_iter();
        self.comparisons
            .extend(all.map(|one| (one.id, std::sync::Arc::new(one))));
        let policies = change.policies.into_iter();
        self.proof_policies
            .extend(policies.map(|policy| (policy.channel.clone(), policy)));
        for builder in change.convictions_gone {
            self.convictions.remove(&builder);
        }
        let convictions = change.convictions.into_iter();
        self.convictions
            .extend(convictions.map(|one| (one.builder, one)));
        self.rise_rule = change.rise_rule.unwrap_or(self.rise_rule);
        let owners = change.owners.into_iter();
        self.owners
            .extend(owners.map(|owner| (owner.host, owner.owner)));
    }

    /// Whose machine a host is; empty: nobody in particular.
    pub fn owner_of(&self, host: &HostId) -> &str {
        self.owners.get(host).map_or("", String::as_str)
    }

    /// Weighs what a comparison found, and what an operator wants of them; part of `Farm::weigh`.
    pub(super) fn weigh_proof(&self, event: &Event) -> Result<Change, Refusal> {
        let mut change = Change::default();
        match event {
            Event::Compared { comparison } => {
                if self.comparisons.contains_key(&comparison.id) {
                    return Err(Refusal::Repeat);
                }
                let over = (self.comparisons.len() + 1).saturating_sub(COMPARISONS_MAX);
                let gone = || self.comparisons.values().take(over);
                change.proof.comparisons_gone = gone().map(|one| one.id).collect();
                change.proof.stood_on_gone = gone().map(|one| one.attempt).collect();
                change.proof.comparisons.push(comparison.as_ref().clone());
            }
            Event::ProofPolicySet { policy } => {
                if self.proof_policies.get(&policy.channel) == Some(policy) {
                    return Err(Refusal::Repeat);
                }
                change.proof.policies.push(policy.clone());
            }
            Event::RiseRuleSet { rule } => {
                if self.rise_rule == *rule {
                    return Err(Refusal::Repeat);
                }
                change.proof.rise_rule = Some(*rule);
            }
            Event::OwnerSet { owner } => {
                if self.owner_of(&owner.host) == owner.owner {
                    return Err(Refusal::Repeat);
                }
                change.proof.owners.push(owner.clone());
            }
            Event::BaseNoted { base } => return self.weigh_base(base),
            Event::StoodOn { stood } => return self.weigh_stood_on(stood),
            Event::Convicted { conviction, hold } => {
                if self.convictions.contains_key(&conviction.builder) {
                    return Err(Refusal::Repeat);
                }
                change.proof.convictions.push(conviction.clone());
                let known = self.builder_stops.get(&conviction.builder).cloned();
                let mut stop = known.unwrap_or_else(|| BuilderStop::none(conviction.builder));
                stop.quarantine = Some(hold.clone());
                change.builder_stops.push(stop);
            }
            other => unreachable!("{other:?} proves nothing: weigh() sends only those here"),
        }
        Ok(change)
    }
}

/// What holds a builder that was wrong alone.
pub fn conviction_hold(comparison: &Comparison, at: Stamp) -> Hold {
    Hold {
        owner: Who::Farm,
        reason: format!(
            "it was wrong alone about {} {} (comparison {}): two other builds agree with each other",
            comparison.target.recipe, comparison.release, comparison.id
        ),
        since: at,
        until: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_with_the_longest_texts_fits_a_row() {
        let difference = Difference {
            artefact: "ä".repeat(300),
            path: Some("p".repeat(4096)),
            cause: Cause::Content,
            published_bytes: Some(u64::MAX),
            rebuilt_bytes: Some(u64::MAX),
            offset: Some(u64::MAX),
            section: Some("s".repeat(400)),
            text: "t".repeat(4000),
        };
        let finding = Finding {
            level: Level::Files,
            artefacts: 1,
            same: 0,
            bytes: u64::MAX,
            differences: vec![difference; 40],
            unlisted: 7,
            causes: vec![(Cause::Content, 40); 12],
            published: Digest([1; 32]),
            rebuilt: Digest([2; 32]),
        };
        let kept = finding.bounded();
        assert_eq!(kept.unlisted, 37);
        let bytes = postcard::to_stdvec(&kept).unwrap().len();
        assert!(
            bytes + 1_800 < crate::limit::STORE_VALUE_BYTES_MAX,
            "{bytes}"
        );
    }
}
