//! What builders with nothing to do compare, where a channel's policy says so: which of them are idle, and what each of them
//! should build again.

use std::collections::{BTreeSet, HashMap};

use super::proof::Publication;
use super::state::State;
use crate::id::{AttemptId, HostId, ProfileName, RecipeName};
use crate::model::proof::Judgement;
use crate::model::{JobState, ProfileSpec, Who};

/// A builder without work for this long is idle.
const IDLE_MS: u64 = 1_000;
/// Time between two looks for something to compare when there was nothing.
const LOOK_MS: u64 = 2_000;

/// Where a publication stands among those to be compared, for an idle builder.
struct Candidate {
    publication: Publication,
    /// Hosts that said what it comes to, the publisher first.
    said: Vec<HostId>,
    /// Opinions differ.
    open: bool,
    /// They differ on other bases: only a builder with the publisher's can tell more.
    alike: bool,
}

impl Candidate {
    /// Whether an idle builder should build this again; `fit` can build it now. `differs`: it has another base than the
    /// publisher's, and where others had one too, one more says nothing.
    fn suits(&self, host: &HostId, fit: &BTreeSet<HostId>, differs: bool) -> bool {
        if !fit.contains(host) || self.alike && differs {
            return false;
        }
        // On one host it is compared on that host, once.
        !self.said.contains(host) || fit.len() == 1 && self.said.len() == 1
    }

    /// Whether this is rather for another builder that is idle too: one with the publisher's base, then one of another owner.
    fn suits_another<'a>(
        &self,
        host: &HostId,
        fit: &BTreeSet<HostId>,
        idle: &BTreeSet<HostId>,
        differs: impl Fn(&HostId) -> bool,
        owner: impl Fn(&HostId) -> &'a str,
    ) -> bool {
        let publishers = owner(&self.publication.publisher);
        let rank = |id: &HostId| (differs(id), owner(id) == publishers);
        let own = rank(host);
        let could = |id: &&HostId| fit.contains(*id) && !self.said.contains(id);
        idle.iter().filter(could).any(|id| rank(id) < own)
    }
}

impl State {
    /// Begins comparisons on builders with nothing to do, where a channel's policy says so.
    pub(super) fn compare_on_idle_builders(&mut self, now_ms: u64) {
        if !self.farm.proof_policies.values().any(|policy| policy.idle) {
            return;
        }
        let hosts: Vec<HostId> = self.builders.keys().copied().collect();
        let busy = |host: &HostId| {
            self.proofs
                .running
                .values()
                .any(|one| (one.builder.or(one.on)) == Some(*host) && !one.is_over())
        };
        let idle: BTreeSet<HostId> = hosts
            .into_iter()
            .filter(|host| self.free_slots(host) > 0 && !busy(host))
            .collect();
        self.proofs.idle_since.retain(|host, _| idle.contains(host));
        for host in &idle {
            self.proofs.idle_since.entry(*host).or_insert(now_ms);
        }
        let ready: Vec<HostId> = self
            .proofs
            .idle_since
            .iter()
            .filter(|(_, since)| now_ms >= **since + IDLE_MS)
            .map(|(host, _)| *host)
            .collect();
        if ready.is_empty() || now_ms < self.proofs.look_at_ms {
            return;
        }
        self.proofs.look_at_ms = now_ms + LOOK_MS;
        let mut candidates = self.candidates();
        let fit_for = self.fit_for();
        let nobody = BTreeSet::new();
        for host in ready {
            let owner = |host: &HostId| self.farm.owner_of(host);
            let found = candidates.iter().position(|one| {
                let profile = &one.publication.target.profile;
                let fit = fit_for.get(profile).unwrap_or(&nobody);
                let differs = |host: &HostId| self.base_differs(host, &one.publication);
                one.suits(&host, fit, differs(&host))
                    && !one.suits_another(&host, fit, &idle, differs, owner)
            });
            if let Some(at) = found {
                let publication = candidates.remove(at).publication;
                if let Err(fault) =
                    self.begin_comparison(publication, Some(host), Who::Farm, false, None)
                {
                    tracing::debug!(%fault, "no comparison now");
                    return;
                }
            }
        }
    }

    /// Whether a comparison is under way, or may begin by itself.
    pub(super) fn may_compare(&self) -> bool {
        self.farm.proof_policies.values().any(|policy| policy.idle)
            || self.proofs.running.values().any(|one| !one.is_over())
    }

    /// The builders that can build for each profile now.
    fn fit_for(&self) -> HashMap<ProfileName, BTreeSet<HostId>> {
        let all = self.farm.profiles.values().map(|profile| {
            let spec = ProfileSpec::from(profile);
            let fit = self.builders.iter();
            let fit = fit.filter(|(id, builder)| self.unfit(id, builder, &spec).is_none());
            (profile.name.clone(), fit.map(|(id, _)| *id).collect())
        });
        all.collect()
    }

    /// What an idle builder could build again: what opinions differ on first, then what was never compared, the newest first.
    fn candidates(&self) -> Vec<Candidate> {
        let mut known: HashMap<AttemptId, (Vec<HostId>, Judgement)> = HashMap::new();
        let mut varied: BTreeSet<RecipeName> = BTreeSet::new();
        for (all, judgement) in self.farm.judged() {
            let Some(first) = all.first() else { continue };
            if judgement == Judgement::Varies {
                varied.insert(first.target.recipe.clone());
            }
            let mut said = vec![first.publisher];
            said.extend(all.iter().map(|comparison| comparison.builder));
            known.insert(first.publication, (said, judgement));
        }
        let running: BTreeSet<AttemptId> = self
            .proofs
            .running
            .values()
            .filter(|one| !one.is_over())
            .map(|one| one.publication.attempt)
            .collect();
        let mut found = Vec::new();
        for job in self.farm.jobs.values() {
            let newest = self
                .farm
                .newest(&job.target)
                .is_some_and(|newest| newest.id == job.id);
            if job.state != JobState::Published || !newest || varied.contains(&job.target.recipe) {
                continue;
            }
            let last = self.farm.attempts_of(job.id).next_back();
            let Some(publication) = last.and_then(|last| self.publication(last.id)) else {
                continue;
            };
            let policy = self.farm.proof_policies.get(&publication.channel);
            let left = self.proofs.leave.contains_key(&publication.attempt);
            if policy.is_none_or(|policy| !policy.idle)
                || left
                || running.contains(&publication.attempt)
            {
                continue;
            }
            let judged = known.get(&publication.attempt);
            let alike = judged.is_some_and(|(_, judged)| *judged == Judgement::BasesDiffer);
            let (said, open) = match judged {
                None => (vec![publication.publisher], false),
                Some((said, Judgement::Undecided)) => (said.clone(), true),
                Some((said, Judgement::SameHost | Judgement::BasesDiffer)) => (said.clone(), false),
                Some((_, Judgement::Match | Judgement::WrongAlone(_) | Judgement::Varies)) => {
                    continue;
                }
            };
            found.push(Candidate {
                publication,
                said,
                open,
                alike,
            });
        }
        found.sort_by_key(|one| (!one.open, std::cmp::Reverse(one.publication.assigned)));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{JobId, Stamp};
    use crate::model::Target;

    const fn host(byte: u8) -> HostId {
        HostId([byte; 32])
    }

    /// Published by host 1; these said what it comes to.
    fn candidate(said: &[u8]) -> Candidate {
        Candidate {
            publication: Publication {
                attempt: AttemptId {
                    job: JobId(1),
                    try_no: 1,
                },
                target: Target {
                    project: "p".parse().unwrap(),
                    recipe: "r".parse().unwrap(),
                    profile: "f".parse().unwrap(),
                },
                release: "1-1-1".into(),
                channel: "main".parse().unwrap(),
                publisher: host(1),
                assigned: Stamp(1),
            },
            said: said.iter().map(|byte| host(*byte)).collect(),
            open: false,
            alike: false,
        }
    }

    #[test]
    fn an_idle_builder_leaves_a_comparison_to_an_idle_one_of_another_owner() {
        // Hosts 1 and 2 are anna's, 3 is ben's, 4 and 5 are nobody's.
        let owner = |id: &HostId| match id.0[0] {
            1 | 2 => "anna",
            3 => "ben",
            _ => "",
        };
        let set = |all: &[u8]| -> BTreeSet<HostId> { all.iter().map(|byte| host(*byte)).collect() };
        // Who asks, who could build it, who is idle, who said something; whether another one should.
        for (asks, fit, idle, said, expected) in [
            (2, &[1, 2, 3][..], &[2, 3][..], &[1][..], true),
            // That one is busy, cannot build it, or has said what it comes to.
            (2, &[1, 2, 3], &[2], &[1], false),
            (2, &[1, 2], &[2, 3], &[1], false),
            (2, &[1, 2, 3], &[2, 3], &[1, 3], false),
            // Of another owner itself; a machine of nobody in particular is another one's too.
            (3, &[1, 2, 3], &[2, 3], &[1], false),
            (2, &[1, 2, 4], &[2, 4], &[1], true),
            (4, &[1, 2, 4], &[2, 4], &[1], false),
        ] {
            let one = candidate(said);
            let found = one.suits_another(&host(asks), &set(fit), &set(idle), |_| false, owner);
            assert_eq!(found, expected, "{asks} {fit:?} {idle:?} {said:?}");
        }
        // Where nobody has said whose the machines are, all are one owner's.
        let nobody = |_: &HostId| "";
        let one = candidate(&[1]);
        let both = set(&[2, 3]);
        assert!(!one.suits_another(&host(2), &both, &both, |_| false, nobody));
        // The publisher's base counts for more than another owner: host 3 has another one.
        let differs = |id: &HostId| id.0[0] == 3;
        assert!(one.suits_another(&host(3), &both, &both, differs, owner));
        assert!(!one.suits_another(&host(2), &both, &both, differs, owner));
        // It does not build again what it has built, but on a farm of one.
        assert!(
            !one.suits(&host(1), &set(&[1, 2]), false) && one.suits(&host(1), &set(&[1]), false)
        );
        assert!(!candidate(&[1, 1]).suits(&host(1), &set(&[1]), false));
        // Once builders on another base came to something else, only one on the publisher's can tell more.
        let alike = Candidate {
            alike: true,
            ..candidate(&[1, 3])
        };
        let fit = set(&[1, 2, 3, 4]);
        assert!(alike.suits(&host(2), &fit, false) && !alike.suits(&host(4), &fit, true));
        assert!(candidate(&[1]).suits(&host(4), &fit, true));
    }
}
