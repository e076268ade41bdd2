//! What all comparisons of one publication say together: who was right, who was wrong alone, and what nobody can tell; and the
//! scores of builders and recipes that follow from it.

use std::collections::{BTreeMap, BTreeSet};

use super::farm::Farm;
use super::proof::Comparison;
use crate::id::{AttemptId, ChannelName, Digest, HostId, RecipeName, Stamp};

/// What all opinions about one publication say together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// Several hosts came to the same.
    Match,
    /// One host came to the same twice.
    SameHost,
    /// They differ, and it cannot be said yet who is wrong.
    Undecided,
    /// One host against at least two others, one of which is trusted.
    WrongAlone(HostId),
    /// Nobody comes to the same: it is the recipe's nature.
    Varies,
    /// They differ and were built on other bases, which may be why: nobody can tell.
    BasesDiffer,
}

impl Judgement {
    /// The word in JSON and tables.
    pub fn as_str(&self) -> &'static str {
        match self {
            Judgement::Match => "match",
            Judgement::SameHost => "same_host",
            Judgement::Undecided => "undecided",
            Judgement::WrongAlone(_) => "wrong_alone",
            Judgement::Varies => "varies",
            Judgement::BasesDiffer => "bases_differ",
        }
    }
}

/// One host's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opinion {
    /// Whose.
    pub host: HostId,
    /// It may publish.
    pub trusted: bool,
    /// Hash of what a client gets.
    pub content: Digest,
    /// What it was built on where that is a builder's own; `None`: it was made of packages, or was not told.
    pub base: Option<Digest>,
}

/// The opinions that can be held against the first one, which is the publisher's: those that were built on the same base, and
/// those that came to the same bytes as one of them in spite of another base.
pub fn counted(opinions: &[Opinion]) -> Vec<Opinion> {
    let Some(first) = opinions.first() else {
        return Vec::new();
    };
    let there = opinions.iter().filter(|one| one.base == first.base);
    let contents: BTreeSet<Digest> = there.map(|one| one.content).collect();
    let counts = |one: &&Opinion| contents.contains(&one.content);
    opinions.iter().filter(counts).copied().collect()
}

/// What these opinions about one publication say together; the first is the publisher's. Another result on another base says
/// nothing about anybody.
pub fn judge(opinions: &[Opinion]) -> Judgement {
    let counted = counted(opinions);
    match judge_counted(&counted) {
        Judgement::SameHost if counted.len() < opinions.len() => Judgement::BasesDiffer,
        judgement => judgement,
    }
}

fn judge_counted(opinions: &[Opinion]) -> Judgement {
    let mut sides: BTreeMap<Digest, BTreeSet<HostId>> = BTreeMap::new();
    for opinion in opinions {
        sides
            .entry(opinion.content)
            .or_default()
            .insert(opinion.host);
    }
    let hosts: BTreeSet<HostId> = opinions.iter().map(|opinion| opinion.host).collect();
    if sides.len() <= 1 {
        return match hosts.len() {
            0 | 1 => Judgement::SameHost,
            _ => Judgement::Match,
        };
    }
    if hosts.len() == 1 {
        // It differs from itself on one machine, and there is no other that could say that the machine is broken.
        return Judgement::Varies;
    }
    let most = sides.values().max_by_key(|side| side.len());
    let Some(most) = most else {
        return Judgement::Undecided;
    };
    // Who said anything else, and who said nothing but this.
    let others: BTreeSet<HostId> = sides
        .values()
        .filter(|side| *side != most)
        .flatten()
        .copied()
        .collect();
    let agree: BTreeSet<&HostId> = most.difference(&others).collect();
    let trusted = opinions
        .iter()
        .any(|opinion| opinion.trusted && agree.contains(&opinion.host));
    match others.iter().next() {
        Some(wrong) if others.len() == 1 && agree.len() >= 2 && trusted => {
            Judgement::WrongAlone(*wrong)
        }
        // Two against two, or three results: no single host is broken.
        _ if others.len() >= 2 && (sides.len() > 2 || most.len() >= 2 && agree.len() >= 2) => {
            Judgement::Varies
        }
        _ => Judgement::Undecided,
    }
}

/// How often a builder or a recipe was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Score {
    /// Publications that it took part in and that match.
    pub matches: u32,
    /// Those in which it was wrong alone; of a recipe: in which a builder was.
    pub wrong: u32,
    /// Those that are open.
    pub undecided: u32,
    /// Those of recipes that come out differently each time.
    pub varies: u32,
    /// The last time that it matched.
    pub last_match: Option<Stamp>,
}

impl Score {
    /// Counts one publication; `who`: of a builder, for whom another one's error is a match.
    fn count(&mut self, all: &[&Comparison], judgement: &Judgement, who: Option<HostId>) {
        match judgement {
            Judgement::SameHost | Judgement::BasesDiffer => {}
            Judgement::Undecided => self.undecided += 1,
            Judgement::Varies => self.varies += 1,
            Judgement::WrongAlone(host) if who.is_none_or(|who| who == *host) => self.wrong += 1,
            Judgement::Match | Judgement::WrongAlone(_) => {
                self.matches += 1;
                let last = all.iter().map(|comparison| comparison.began).max();
                self.last_match = self.last_match.max(last);
            }
        }
    }
}

impl Farm {
    /// The kept comparisons of one publication, the first one first.
    pub fn comparisons_of(
        &self,
        publication: AttemptId,
    ) -> impl DoubleEndedIterator<Item = &Comparison> {
        let all = self.comparisons.values().map(AsRef::as_ref);
        all.filter(move |comparison| comparison.publication == publication)
    }

    /// The opinions that comparisons of one publication hold, the publisher's first; none hold none.
    fn opinions(&self, all: &[&Comparison]) -> Vec<Opinion> {
        let Some(first) = all.first() else {
            return Vec::new();
        };
        // What is published was built by a host that was trusted then.
        let mut opinions = vec![Opinion {
            host: first.publisher,
            trusted: true,
            content: first.finding.published,
            base: self.stood_on.get(&first.publication).copied(),
        }];
        opinions.extend(all.iter().map(|comparison| Opinion {
            host: comparison.builder,
            trusted: comparison.trusted,
            content: comparison.finding.rebuilt,
            base: self.stood_on.get(&comparison.attempt).copied(),
        }));
        opinions
    }

    /// What all comparisons of one publication say together; none say nothing.
    fn judge_all(&self, all: &[&Comparison]) -> Option<Judgement> {
        let opinions = self.opinions(all);
        (!opinions.is_empty()).then(|| judge(&opinions))
    }

    /// What is known about one publication.
    pub fn judge_publication(&self, publication: AttemptId) -> Option<Judgement> {
        let all: Vec<&Comparison> = self.comparisons_of(publication).collect();
        self.judge_all(&all)
    }

    /// The same with one more comparison that is not recorded yet, and what that was built on.
    pub fn judge_with(&self, more: &Comparison, base: Option<Digest>) -> Judgement {
        let mut all: Vec<&Comparison> = self.comparisons_of(more.publication).collect();
        all.push(more);
        let mut opinions = self.opinions(&all);
        if let Some(last) = opinions.last_mut() {
            last.base = base;
        }
        judge(&opinions)
    }

    /// Hosts beside the first that must come to the same before anything is published in a channel.
    pub fn matches_needed(&self, channel: &ChannelName) -> usize {
        let policy = self.proof_policies.get(channel);
        policy.map_or(0, |policy| policy.require_match as usize)
    }

    /// Hosts beside its builder that always came to the same as an attempt, without those that were wrong alone.
    pub fn agreed(&self, attempt: AttemptId) -> BTreeSet<HostId> {
        let mut agree = BTreeSet::new();
        let mut differ = BTreeSet::new();
        for one in self.comparisons_of(attempt) {
            let same = one.finding.published == one.finding.rebuilt;
            let side = if same { &mut agree } else { &mut differ };
            side.insert(one.builder);
            differ.insert(one.publisher);
        }
        let counts = |host: &HostId| !differ.contains(host) && !self.convictions.contains_key(host);
        agree.retain(counts);
        agree
    }

    /// Every compared publication with its judgement.
    pub fn judged(&self) -> Vec<(Vec<&Comparison>, Judgement)> {
        let mut by: BTreeMap<AttemptId, Vec<&Comparison>> = BTreeMap::new();
        for comparison in self.comparisons.values() {
            by.entry(comparison.publication)
                .or_default()
                .push(comparison);
        }
        let judged = by.into_values().filter_map(|all| {
            let judgement = self.judge_all(&all)?;
            Some((all, judgement))
        });
        judged.collect()
    }

    /// Hosts for which a judgement counts: those that differ on another base prove nothing, for or against anybody.
    fn counted_hosts(&self, all: &[&Comparison]) -> BTreeSet<HostId> {
        let opinions = counted(&self.opinions(all));
        opinions.into_iter().map(|one| one.host).collect()
    }

    /// The score of every builder that took part in a comparison.
    pub fn builder_scores(&self) -> BTreeMap<HostId, Score> {
        let mut scores: BTreeMap<HostId, Score> = BTreeMap::new();
        for (all, judgement) in self.judged() {
            let both = all.iter().flat_map(|one| [one.builder, one.publisher]);
            let hosts = self.counted_hosts(&all);
            for host in both.collect::<BTreeSet<_>>() {
                let score = scores.entry(host).or_default();
                if hosts.contains(&host) {
                    score.count(&all, &judgement, Some(host));
                }
            }
        }
        scores
    }

    /// How often a builder was right, as publisher or as the one who compared.
    pub fn builder_score(&self, builder: HostId) -> Score {
        let mut score = Score::default();
        for (all, judgement) in self.judged() {
            if self.counted_hosts(&all).contains(&builder) {
                score.count(&all, &judgement, Some(builder));
            }
        }
        score
    }

    /// How often a recipe came out the same.
    pub fn recipe_score(&self, recipe: &RecipeName) -> Score {
        let mut score = Score::default();
        for (all, judgement) in self.judged() {
            if all.iter().any(|one| one.target.recipe == *recipe) {
                score.count(&all, &judgement, None);
            }
        }
        score
    }

    /// Whether a recipe comes out differently by its nature: nobody agreed on it, or it would convict several hosts.
    pub fn varies(&self, recipe: &RecipeName) -> bool {
        let mut blamed = BTreeSet::new();
        for (all, judgement) in self.judged() {
            if all.first().is_none_or(|one| one.target.recipe != *recipe) {
                continue;
            }
            match judgement {
                Judgement::Varies => return true,
                Judgement::WrongAlone(host) => {
                    blamed.insert(host);
                }
                Judgement::Match
                | Judgement::SameHost
                | Judgement::Undecided
                | Judgement::BasesDiffer => {}
            }
        }
        blamed.len() > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::JobId;
    use crate::model::proof::{Conviction, Finding, Level};
    use crate::model::{Target, Who};

    fn opinion(host: u8, content: u8) -> Opinion {
        Opinion {
            host: HostId([host; 32]),
            trusted: host < 10,
            content: Digest([content; 32]),
            base: None,
        }
    }

    #[test]
    fn two_against_one_is_wrong_alone_and_three_opinions_are_the_recipes_nature() {
        let check = |opinions: &[(u8, u8)], expected: Judgement| {
            let all: Vec<Opinion> = opinions.iter().map(|(h, c)| opinion(*h, *c)).collect();
            assert_eq!(judge(&all), expected, "{opinions:?}");
        };
        let wrong = |host: u8| Judgement::WrongAlone(HostId([host; 32]));
        check(&[(1, 1)], Judgement::SameHost);
        check(&[(1, 1), (1, 1)], Judgement::SameHost);
        check(&[(1, 1), (2, 1)], Judgement::Match);
        check(&[(1, 1), (2, 2)], Judgement::Undecided);
        check(&[(1, 1), (2, 2), (3, 2)], wrong(1));
        check(&[(1, 1), (2, 2), (3, 1)], wrong(2));
        check(&[(1, 1), (2, 2), (3, 3)], Judgement::Varies);
        // One machine that differs from itself and has no witness; with witnesses it is the machine.
        check(&[(1, 1), (1, 2)], Judgement::Varies);
        check(&[(1, 1), (1, 2), (2, 2)], Judgement::Undecided);
        check(&[(1, 1), (1, 2), (2, 2), (3, 2)], wrong(1));
        check(&[(1, 1), (2, 1), (3, 2), (4, 2)], Judgement::Varies);
        // One that lies in another way each time is one host still.
        check(&[(1, 1), (2, 1), (3, 2), (3, 3)], wrong(3));
        check(&[(1, 1), (2, 1), (3, 2), (4, 3)], Judgement::Varies);
        // Two hosts that may not publish do not outvote one that may.
        check(&[(1, 1), (11, 2), (12, 2)], Judgement::Undecided);
        check(&[(1, 1), (11, 2), (12, 2), (2, 2)], wrong(1));
    }

    #[test]
    fn another_result_on_another_base_says_nothing_and_the_same_bytes_do() {
        // Host, base, content; base 0: not told, or made of packages.
        let check = |opinions: &[(u8, u8, u8)], expected: Judgement, hosts: &[u8]| {
            let all: Vec<Opinion> = opinions
                .iter()
                .map(|(host, base, content)| Opinion {
                    base: (*base > 0).then_some(Digest([*base; 32])),
                    ..opinion(*host, *content)
                })
                .collect();
            assert_eq!(judge(&all), expected, "{opinions:?}");
            let found: BTreeSet<u8> = counted(&all).iter().map(|one| one.host.0[0]).collect();
            assert_eq!(found, hosts.iter().copied().collect(), "{opinions:?}");
        };
        let wrong = |host: u8| Judgement::WrongAlone(HostId([host; 32]));
        // Two compilers: nobody can tell, however many there are of the other kind, and whoever is trusted.
        check(&[(1, 1, 1), (2, 2, 2)], Judgement::BasesDiffer, &[1]);
        check(
            &[(1, 1, 1), (2, 2, 2), (3, 2, 2)],
            Judgement::BasesDiffer,
            &[1],
        );
        check(
            &[(1, 1, 1), (2, 2, 2), (3, 2, 3), (4, 3, 4)],
            Judgement::BasesDiffer,
            &[1],
        );
        // The same bytes in spite of that are a match.
        check(&[(1, 1, 1), (2, 2, 1)], Judgement::Match, &[1, 2]);
        check(
            &[(1, 1, 1), (2, 2, 1), (3, 3, 3)],
            Judgement::Match,
            &[1, 2],
        );
        // Whoever claims another base is neither wrong nor right.
        check(
            &[(1, 1, 1), (2, 1, 1), (3, 9, 2)],
            Judgement::Match,
            &[1, 2],
        );
        check(
            &[(1, 9, 2), (2, 1, 1), (3, 1, 1)],
            Judgement::BasesDiffer,
            &[1],
        );
        check(
            &[(1, 1, 1), (2, 1, 2), (3, 9, 3)],
            Judgement::Undecided,
            &[1, 2],
        );
        // On one base it is as ever, also with a witness from another one.
        check(&[(1, 1, 1), (2, 1, 2)], Judgement::Undecided, &[1, 2]);
        check(&[(1, 1, 1), (2, 1, 2), (3, 1, 2)], wrong(1), &[1, 2, 3]);
        check(&[(1, 1, 1), (2, 1, 2), (3, 2, 2)], wrong(1), &[1, 2, 3]);
        check(
            &[(1, 1, 1), (2, 1, 2), (3, 1, 3)],
            Judgement::Varies,
            &[1, 2, 3],
        );
        // What was built before anybody told its base is held against the like only.
        check(&[(1, 0, 1), (2, 1, 2)], Judgement::BasesDiffer, &[1]);
        check(&[(1, 0, 1), (2, 0, 2), (3, 0, 2)], wrong(1), &[1, 2, 3]);
        // A builder whose own base changed, and one that agrees with itself.
        check(&[(1, 1, 1), (1, 2, 2)], Judgement::BasesDiffer, &[1]);
        check(
            &[(1, 1, 1), (1, 1, 1), (2, 2, 2)],
            Judgement::BasesDiffer,
            &[1],
        );
        check(&[(1, 1, 1), (1, 1, 1)], Judgement::SameHost, &[1]);
    }

    fn comparison(id: u64, builder: u8, theirs: u8) -> Comparison {
        let finding = Finding {
            level: Level::Same,
            artefacts: 1,
            same: 1,
            bytes: 1,
            differences: Vec::new(),
            unlisted: 0,
            causes: Vec::new(),
            published: Digest([1; 32]),
            rebuilt: Digest([theirs; 32]),
        };
        Comparison {
            id,
            attempt: AttemptId {
                job: super::super::proof::job_of_comparison(id),
                try_no: 1,
            },
            publication: publication(),
            target: Target {
                project: "p".parse().unwrap(),
                recipe: "r".parse().unwrap(),
                profile: "f".parse().unwrap(),
            },
            release: "1-1-1".into(),
            channel: "main".parse().unwrap(),
            publisher: HostId([1; 32]),
            builder: HostId([builder; 32]),
            trusted: true,
            began: Stamp(1),
            by: Who::Farm,
            finding,
            evidence: Vec::new(),
        }
    }

    fn publication() -> AttemptId {
        AttemptId {
            job: JobId(1),
            try_no: 1,
        }
    }

    #[test]
    fn only_others_that_always_came_to_the_same_agree_and_none_that_was_convicted() {
        let attempt = publication();
        let host = |byte: u8| HostId([byte; 32]);
        let mut farm = Farm::default();
        // (rebuilder, its content)
        for (id, builder, theirs) in [(1, 1, 1), (2, 2, 1), (3, 3, 1), (4, 3, 2), (5, 4, 1)] {
            let one = comparison(id, builder, theirs);
            farm.comparisons.insert(id, std::sync::Arc::new(one));
        }
        assert_eq!(farm.agreed(attempt), BTreeSet::from([host(2), host(4)]));
        let conviction = Conviction {
            builder: host(4),
            comparison: 9,
            publication: attempt,
            at: Stamp(1),
        };
        farm.convictions.insert(host(4), conviction);
        assert_eq!(farm.agreed(attempt), BTreeSet::from([host(2)]));
        let other = AttemptId {
            try_no: 2,
            ..attempt
        };
        assert!(farm.agreed(other).is_empty());
    }

    #[test]
    fn who_differs_on_another_base_gains_nothing_and_loses_nothing() {
        let host = |byte: u8| HostId([byte; 32]);
        let base = |byte: u8| Digest([byte; 32]);
        let mut farm = Farm::default();
        farm.stood_on.insert(publication(), base(1));
        for (id, builder, theirs, stood) in [(1, 2, 2, 2), (2, 3, 1, 1)] {
            let one = comparison(id, builder, theirs);
            farm.stood_on.insert(one.attempt, base(stood));
            farm.comparisons.insert(id, std::sync::Arc::new(one));
        }
        let of = |farm: &Farm, byte: u8| {
            let score = farm.builder_score(host(byte));
            assert_eq!(farm.builder_scores()[&host(byte)], score);
            (score.matches, score.wrong, score.undecided, score.varies)
        };
        assert_eq!(of(&farm, 1), (1, 0, 0, 0));
        assert_eq!(of(&farm, 2), (0, 0, 0, 0));
        assert_eq!(of(&farm, 3), (1, 0, 0, 0));
        let recipe = "r".parse().unwrap();
        assert_eq!(farm.recipe_score(&recipe).matches, 1);
        assert!(!farm.varies(&recipe));
        // Alone with the publisher it says nothing of the recipe either, and is no third opinion that convicts.
        let third = farm.comparisons.remove(&2).unwrap();
        assert_eq!(farm.recipe_score(&recipe), Score::default());
        assert_eq!(of(&farm, 2), (0, 0, 0, 0));
        assert_eq!(
            farm.judge_publication(publication()),
            Some(Judgement::BasesDiffer)
        );
        let same = farm.judge_with(&third, Some(base(1)));
        assert_eq!(same, Judgement::Match);
        let lies = Comparison {
            finding: Finding {
                rebuilt: Digest([2; 32]),
                ..third.finding.clone()
            },
            ..(*third).clone()
        };
        let two_against = farm.judge_with(&lies, Some(base(2)));
        assert_eq!(two_against, Judgement::BasesDiffer);
        let on_ours = farm.judge_with(&lies, Some(base(1)));
        assert_eq!(on_ours, Judgement::WrongAlone(host(1)));
    }
}
