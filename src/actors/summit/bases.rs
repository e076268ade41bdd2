//! Bases of builders' own: what each brings, who has the one that something was built on, and what two of them differ in.

use super::published::Publication;
use super::state::State;
use crate::admin::view::{BaseDifferenceView, BasePartView, BaseView, BasesView};
use crate::id::{Digest, HostId};
use crate::model::base_seen::OF_ONE_BUILDER_MAX;
use crate::model::proof::Comparison;
use crate::model::{Base, BaseSeen, Event, StoodOn, Who};

/// Bytes of the path of a directory that is a base.
const PATH_BYTES_MAX: usize = 1_024;

/// Tools that a line names before it counts the rest.
const NAMED: usize = 6;

/// A few letters that tell one base from another.
fn short(base: &Digest) -> String {
    base.to_string().chars().take(8).collect()
}

fn view(of: &Base, seen: &BaseSeen) -> BaseView {
    let parts = seen.parts.iter().map(|part| BasePartView {
        name: part.name.clone(),
        version: part.version.clone(),
        sha256: part.digest,
    });
    BaseView {
        base: of.to_string(),
        id: short(&seen.digest()),
        system: Some(seen.system.clone()).filter(|system| !system.is_empty()),
        parts: parts.collect(),
    }
}

impl State {
    /// A builder says what a base of its own brings now.
    pub(super) fn base_said(&mut self, from: HostId, of: Base, seen: BaseSeen) {
        let is_path = matches!(&of, Base::Directory(path) if path.len() <= PATH_BYTES_MAX);
        if of != Base::Host && !is_path {
            return;
        }
        let seen = seen.bounded();
        let bases = self.wards.bases.entry(from).or_default();
        let room = bases.len() < OF_ONE_BUILDER_MAX;
        match bases.iter_mut().find(|(base, _)| *base == of) {
            Some((_, known)) => *known = seen,
            None if room => bases.push((of, seen)),
            None => {}
        }
    }

    /// What is recorded of an attempt that stood on a base of its builder's own: that, and before it the base itself where it was
    /// not known. A base that nothing stands on is not recorded, so a builder that talks of many fills nothing.
    pub(super) fn stood_events(&self, from: HostId, stood: StoodOn) -> Vec<(Who, Event)> {
        let its = self.wards.bases.get(&from).into_iter().flatten();
        let mut told = its.map(|(_, seen)| seen);
        let seen = match self.farm.bases.contains_key(&stood.base) {
            true => None,
            false => told.find(|seen| seen.digest() == stood.base),
        };
        let noted = seen.map(|seen| Event::BaseNoted {
            base: Box::new(seen.clone()),
        });
        let events = noted.into_iter().chain([Event::StoodOn { stood }]);
        events.map(|event| (Who::Key(from), event)).collect()
    }

    /// Whether a builder is known to have another base than what was published stood on.
    pub(super) fn base_differs(&self, host: &HostId, publication: &Publication) -> bool {
        let Some(stood) = self.farm.stood_on.get(&publication.attempt) else {
            return false;
        };
        let profile = self.farm.profiles.get(&publication.target.profile);
        let bases = self.wards.bases.get(host).into_iter().flatten();
        let its = bases
            .into_iter()
            .find(|(of, _)| profile.is_some_and(|profile| profile.base == *of));
        its.is_some_and(|(_, seen)| seen.digest() != *stood)
    }

    /// The bases of a builder's own, for its page.
    pub(super) fn own_bases(&self, host: &HostId) -> Vec<BaseView> {
        let bases = self.wards.bases.get(host).into_iter().flatten();
        bases.map(|(of, seen)| view(of, seen)).collect()
    }

    /// What both sides of a comparison stood on; `None`: on packages alone, or it was not told.
    pub(super) fn bases_view(&self, one: &Comparison) -> Option<BasesView> {
        let published = self.farm.stood_on.get(&one.publication);
        let rebuilt = self.farm.stood_on.get(&one.attempt);
        published.or(rebuilt)?;
        let same = published == rebuilt;
        let seen = |base: Option<&Digest>| base.and_then(|base| self.farm.bases.get(base));
        let differences = match (same, seen(published), seen(rebuilt)) {
            (false, Some(ours), Some(theirs)) => ours.differences(theirs),
            _ => Vec::new(),
        };
        let differences: Vec<BaseDifferenceView> = differences
            .into_iter()
            .map(|found| BaseDifferenceView {
                part: found.part,
                published: found.published,
                rebuilt: found.rebuilt,
            })
            .collect();
        let name = |host: &HostId| self.host_name(host);
        let text = match (same, differences.is_empty(), published, rebuilt) {
            (true, ..) => "the same on both sides".to_string(),
            (false, false, ..) => {
                let (ours, theirs) = (name(&one.publisher), name(&one.builder));
                let part = |found: &BaseDifferenceView| {
                    let word = |word: &Option<String>| word.clone().unwrap_or("none".into());
                    let (here, there) = (word(&found.published), word(&found.rebuilt));
                    format!("{} {here} at {ours}, {there} at {theirs}", found.part)
                };
                let words: Vec<String> = differences.iter().take(NAMED).map(part).collect();
                let more = match differences.len().saturating_sub(NAMED) {
                    0 => String::new(),
                    more => format!("; and {more} more"),
                };
                format!("the bases differ: {}{more}", words.join("; "))
            }
            (false, true, None, _) => {
                format!(
                    "they may differ: {} did not tell its own",
                    name(&one.publisher)
                )
            }
            (false, true, _, None) => {
                format!(
                    "they may differ: {} did not tell its own",
                    name(&one.builder)
                )
            }
            (false, true, Some(_), Some(_)) => {
                "the bases differ; what one of them had was not told, or changed during the build"
                    .to_string()
            }
        };
        Some(BasesView {
            same,
            text,
            published: published.map(short),
            rebuilt: rebuilt.map(short),
            differences,
        })
    }
}
