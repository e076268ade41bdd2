//! Comparisons as the admin interface shows them, and what people want of them.

use std::collections::BTreeMap;

use super::proof::{Running, Standing};
use super::state::{Done, State};
use crate::admin::Caller;
use crate::admin::summit::{
    BuilderOwner, BuilderProof, BuilderRebuild, BuilderRise, Builds, ChannelPolicy,
    ChannelPolicyReply, Compare, CompareList, Comparing, Comparisons, OneComparison, RecipeProof,
    RiseReply,
};
use crate::admin::view::{
    BuilderProofView, CauseView, ChannelPolicyView, ComparisonView, DifferenceView, EvidenceView,
    FaultView, MadeView, RecipeProofView, ScoreView,
};
use crate::fault::{Fault, Kind, Result};
use crate::id::{AttemptId, ChannelName, HostId};
use crate::model::proof::{
    Cause, Comparison, HostOwner, Judgement, OWNER_BYTES_MAX, ProofPolicy, REQUIRE_MATCH_MAX, Score,
};
use crate::model::{Event, JobState, Refusal, RiseRule, Target};

/// Rows of a list unless asked for more.
const ROWS: usize = 100;
/// Comparisons of a recipe that its page names.
const RECENT: usize = 10;

impl From<Score> for ScoreView {
    fn from(score: Score) -> ScoreView {
        ScoreView {
            matches: u64::from(score.matches),
            wrong: u64::from(score.wrong),
            undecided: u64::from(score.undecided),
            varies: u64::from(score.varies),
            last_match: score.last_match,
        }
    }
}

/// Causes over several comparisons, the most frequent first.
fn causes<'a>(all: impl Iterator<Item = &'a Comparison>) -> Vec<CauseView> {
    let mut found: BTreeMap<Cause, (u64, std::collections::BTreeSet<String>)> = BTreeMap::new();
    for comparison in all {
        for (cause, count) in &comparison.finding.causes {
            let (sum, recipes) = found.entry(*cause).or_default();
            *sum += u64::from(*count);
            recipes.insert(comparison.target.recipe.to_string());
        }
    }
    let mut views: Vec<CauseView> = found
        .into_iter()
        .map(|(cause, (count, recipes))| CauseView {
            cause: cause.as_str().into(),
            count,
            recipes: recipes.into_iter().collect(),
        })
        .collect();
    views.sort_by_key(|view| std::cmp::Reverse(view.count));
    views
}

impl State {
    /// `compare PACKAGE`.
    pub fn compare_wish(&mut self, caller: &Caller, wish: &Compare) -> Result<Comparing> {
        let publication = self.locate_publication(&wish.package, wish.channel.as_ref())?;
        let on = wish.on.as_ref().map(|name| self.locate_builder(name));
        let on = on.transpose()?;
        let recipe = publication.target.recipe.clone();
        let release = publication.release.clone();
        let publisher = self.host_name(&publication.publisher);
        let id = self.begin_comparison(publication, on, caller.who(), true, None)?;
        Ok(Comparing {
            id,
            recipe,
            release,
            publisher,
        })
    }

    /// `compare list`: those under way, then the others, the newest first.
    pub fn compare_list(&self, wish: &CompareList) -> Comparisons {
        let rows = wish.limit.map_or(ROWS, |rows| rows as usize);
        let rows = rows.clamp(1, crate::limit::ADMIN_PAGE_ROWS_MAX);
        let fits = |target: &Target| {
            let recipe = wish.recipe.as_ref();
            recipe.is_none_or(|recipe| target.recipe == *recipe)
        };
        let running = self.proofs.running.iter().rev().filter(|(id, one)| {
            one.isa.is_none()
                && fits(&one.publication.target)
                && !self.farm.comparisons.contains_key(id)
        });
        let mut views: Vec<ComparisonView> = running
            .map(|(id, one)| self.running_view(*id, one))
            .collect();
        let done: Vec<&Comparison> = self
            .farm
            .comparisons
            .values()
            .map(AsRef::as_ref)
            .filter(|one| fits(&one.target))
            .collect();
        let room = rows.saturating_sub(views.len());
        let newest = done.iter().rev().take(room);
        views.extend(newest.map(|one| self.comparison_view(one)));
        Comparisons {
            comparisons: views,
            causes: causes(done.into_iter()),
        }
    }

    /// `compare show`.
    pub fn compare_show(&self, id: u64) -> Result<OneComparison> {
        let done = self.farm.comparisons.get(&id);
        let running = self.proofs.running.get(&id).filter(|one| one.isa.is_none());
        let comparison = match (done, running) {
            (Some(done), _) => self.comparison_view(done),
            (None, Some(running)) => self.running_view(id, running),
            (None, None) => {
                let what = format!("there is no comparison {id}");
                return Err(Fault::new(Kind::NotFound, what)
                    .next("`massif compare list` shows those that are kept"));
            }
        };
        Ok(OneComparison { comparison })
    }

    fn running_view(&self, id: u64, one: &Running) -> ComparisonView {
        let (state, text) = match &one.standing {
            Standing::Preparing => ("waiting", Some("what it was built from is read".into())),
            Standing::Waiting(why) => ("waiting", Some(why.clone())),
            Standing::Building => ("building", None),
            Standing::GivingWay => ("building", Some("it gives way to other work".into())),
            Standing::Examining | Standing::Done => ("examining", None),
            Standing::Failed(..) => ("failed", None),
        };
        let (blame, fault) = match &one.standing {
            Standing::Failed(blame, fault) => (
                Some(super::view::blame_view(*blame)),
                Some(FaultView::from(fault)),
            ),
            _ => (None, None),
        };
        let publication = &one.publication;
        ComparisonView {
            id,
            state: state.into(),
            text,
            over: one.is_over(),
            recipe: publication.target.recipe.clone(),
            project: publication.target.project.clone(),
            profile: publication.target.profile.clone(),
            release: publication.release.clone(),
            channel: publication.channel.clone(),
            job: publication.attempt.job,
            try_no: publication.attempt.try_no,
            publisher: self.host_name(&publication.publisher),
            builder: one.builder.map(|builder| self.host_name(&builder)),
            same_host: one.builder == Some(publication.publisher),
            phase: one.phase.clone(),
            began: one.began,
            by: one.by.to_string(),
            level: None,
            matches: None,
            judgement: None,
            wrong: None,
            artefacts: 0,
            same: 0,
            bytes: 0,
            differences: Vec::new(),
            unlisted: 0,
            causes: Vec::new(),
            evidence: Vec::new(),
            bases: None,
            blame,
            fault,
        }
    }

    fn comparison_view(&self, one: &Comparison) -> ComparisonView {
        let finding = &one.finding;
        let judgement = self.farm.judge_publication(one.publication);
        let wrong = match &judgement {
            Some(Judgement::WrongAlone(host)) => Some(self.host_name(host)),
            _ => None,
        };
        let differences = finding.differences.iter().map(|found| DifferenceView {
            artefact: found.artefact.clone(),
            path: found.path.clone(),
            cause: found.cause.as_str().into(),
            published_bytes: found.published_bytes,
            rebuilt_bytes: found.rebuilt_bytes,
            offset: found.offset,
            section: found.section.clone(),
            text: found.text.clone(),
        });
        let evidence = one.evidence.iter().map(|file| EvidenceView {
            job: one.attempt.job,
            file: crate::actors::desk::artefact_view(file, one.attempt),
        });
        ComparisonView {
            id: one.id,
            state: "done".into(),
            text: None,
            over: true,
            recipe: one.target.recipe.clone(),
            project: one.target.project.clone(),
            profile: one.target.profile.clone(),
            release: one.release.clone(),
            channel: one.channel.clone(),
            job: one.publication.job,
            try_no: one.publication.try_no,
            publisher: self.host_name(&one.publisher),
            builder: Some(self.host_name(&one.builder)),
            same_host: one.builder == one.publisher,
            phase: None,
            began: one.began,
            by: one.by.to_string(),
            level: Some(finding.level.as_str().into()),
            matches: Some(finding.level.is_match()),
            judgement: judgement.map(|judgement| judgement.as_str().into()),
            wrong,
            artefacts: u64::from(finding.artefacts),
            same: u64::from(finding.same),
            bytes: finding.bytes,
            differences: differences.collect(),
            unlisted: u64::from(finding.unlisted),
            causes: causes(std::iter::once(one)),
            evidence: evidence.collect(),
            bases: self.bases_view(one),
            blame: None,
            fault: None,
        }
    }

    /// What a builder published since the last time that it matched, as far as it is published still.
    fn unproven(&self, builder: HostId) -> Vec<MadeView> {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for (all, judgement) in self.farm.judged() {
            let Some(first) = all.first().filter(|first| first.publisher == builder) else {
                continue;
            };
            match judgement {
                Judgement::WrongAlone(host) if host == builder => bad.push(first.publication),
                Judgement::Match | Judgement::WrongAlone(_) => good.push(first.publication),
                Judgement::SameHost
                | Judgement::Undecided
                | Judgement::Varies
                | Judgement::BasesDiffer => {}
            }
        }
        let when = |attempt: &AttemptId| Some(self.farm.attempts.get(attempt)?.assigned);
        // Comparisons are made in any order: a match of something newer than what it was wrong about proves nothing of that.
        let first_bad = bad.iter().filter_map(when).min();
        let last = good
            .iter()
            .filter_map(when)
            .filter(|at| first_bad.is_none_or(|bad| *at < bad))
            .max();
        let mut made = self.made_by(builder, None);
        made.retain(|made| {
            let job = self.farm.jobs.get(&made.job);
            let newest = job.is_some_and(|job| {
                job.state == JobState::Published
                    && self
                        .farm
                        .newest(&job.target)
                        .is_some_and(|newest| newest.id == job.id)
            });
            let proven = good
                .iter()
                .any(|attempt| attempt.job == made.job && attempt.try_no == made.try_no);
            newest && !proven && last.is_none_or(|last| made.assigned >= last)
        });
        made
    }

    /// Whether a builder for tests has what the farm's rule asks for. A person lets it rise, never the farm.
    pub fn may_rise(&self, builder: &HostId) -> Result<()> {
        let needed = self.farm.rise_rule.matches;
        let have = self.farm.builder_score(*builder).matches;
        let name = self.host_name(builder);
        if self.farm.convictions.contains_key(builder) {
            let what = format!("{name} was wrong alone about something that is published");
            return Err(Fault::new(Kind::Conflict, what).next(format!(
                "massif builder show {name}; massif builder release {name}"
            )));
        }
        if have >= needed {
            return Ok(());
        }
        let what = format!("{name} has {have} of {needed} matches that a builder for tests needs");
        Err(Fault::new(Kind::Conflict, what).next(format!(
            "massif compare PACKAGE --on {name} makes more; massif builder rise --after N asks for fewer"
        )))
    }

    /// `builder rise --after N`.
    pub async fn rise_rule(
        &mut self,
        caller: &Caller,
        wish: &BuilderRise,
    ) -> Done<Result<RiseReply>> {
        let rule = RiseRule {
            matches: wish.after,
        };
        let event = Event::RiseRuleSet { rule };
        Ok(match self.record_one(caller.who(), event).await? {
            Ok(()) | Err(Refusal::Repeat) => Ok(RiseReply {
                after: self.farm.rise_rule.matches,
            }),
            Err(refusal) => Err(super::state::refused(&refusal)),
        })
    }

    /// `builder owner NAME OWNER`.
    pub async fn builder_owner(
        &mut self,
        caller: &Caller,
        wish: &BuilderOwner,
    ) -> Done<Result<BuilderProof>> {
        let host = match self.locate_builder(&wish.name) {
            Ok(host) => host,
            Err(fault) => return Ok(Err(fault)),
        };
        let owner = wish.owner.trim().to_string();
        if owner.len() > OWNER_BYTES_MAX || owner.chars().any(char::is_control) {
            let what = format!("an owner's name has {OWNER_BYTES_MAX} bytes at most, in one line");
            return Ok(Err(Fault::new(Kind::Usage, what)));
        }
        let owner = HostOwner { host, owner };
        let event = Event::OwnerSet { owner };
        Ok(match self.record_one(caller.who(), event).await? {
            Ok(()) | Err(Refusal::Repeat) => self.builder_proof(&wish.name),
            Err(refusal) => Err(super::state::refused(&refusal)),
        })
    }

    /// What comparisons say of a builder.
    pub fn builder_proof(&self, name: &str) -> Result<BuilderProof> {
        let builder = self.locate_builder(name)?;
        let conviction = self.farm.convictions.get(&builder);
        Ok(BuilderProof {
            proof: BuilderProofView {
                score: self.farm.builder_score(builder).into(),
                convicted_by: conviction.map(|conviction| conviction.comparison),
                convicted_at: conviction.map(|conviction| conviction.at),
                rises_after: self.farm.rise_rule.matches,
                owner: Some(self.farm.owner_of(&builder))
                    .filter(|owner| !owner.is_empty())
                    .map(str::to_string),
                bases: self.own_bases(&builder),
                unproven: self.unproven(builder),
            },
        })
    }

    /// What comparisons say of a recipe.
    pub fn recipe_proof(&self, name: &str) -> Result<RecipeProof> {
        let (project, entry) = self.locate_recipe(name)?;
        let about = |one: &&std::sync::Arc<Comparison>| {
            one.target.recipe == *entry.name() && one.target.project == project
        };
        let all = || self.farm.comparisons.values().filter(about);
        Ok(RecipeProof {
            proof: RecipeProofView {
                levels: self.recipe_levels(&project, entry.name()),
                score: self.farm.recipe_score(entry.name()).into(),
                varies: self.farm.varies(entry.name()),
                causes: causes(all().map(AsRef::as_ref)),
                comparisons: all().rev().take(RECENT).map(|one| one.id).collect(),
            },
        })
    }

    fn policy_view(&self, channel: &ChannelName) -> ChannelPolicyReply {
        let policy = self.farm.proof_policies.get(channel);
        ChannelPolicyReply {
            policy: ChannelPolicyView {
                channel: channel.clone(),
                compare_idle: policy.is_some_and(|policy| policy.idle),
                require_match: policy.map_or(0, |policy| policy.require_match),
                lacks: self.too_few(channel),
            },
        }
    }

    fn locate_channel(&self, name: &str) -> Result<ChannelName> {
        let found = self.channels.keys().find(|known| known.as_str() == name);
        found.cloned().ok_or_else(|| {
            let known = self.channels.keys().map(ChannelName::as_str);
            super::lookup::unknown("channel", name, known, "massif channel list")
        })
    }

    /// `channel policy NAME`.
    pub fn channel_policy_show(&self, name: &str) -> Result<ChannelPolicyReply> {
        Ok(self.policy_view(&self.locate_channel(name)?))
    }

    /// `channel policy NAME --compare-idle ...`.
    pub async fn channel_policy(
        &mut self,
        caller: &Caller,
        wish: &ChannelPolicy,
    ) -> Done<Result<ChannelPolicyReply>> {
        let channel = match self.locate_channel(&wish.channel) {
            Ok(channel) => channel,
            Err(fault) => return Ok(Err(fault)),
        };
        let known = self.farm.proof_policies.get(&channel);
        let policy = ProofPolicy {
            channel: channel.clone(),
            idle: wish
                .compare_idle
                .unwrap_or(known.is_some_and(|known| known.idle)),
            require_match: wish
                .require_match
                .unwrap_or(known.map_or(0, |known| known.require_match)),
        };
        if policy.require_match > REQUIRE_MATCH_MAX {
            let what = format!(
                "{} matches are more than any farm has",
                policy.require_match
            );
            let next = format!("ask for 0 to {REQUIRE_MATCH_MAX}");
            return Ok(Err(Fault::new(Kind::Usage, what).next(next)));
        }
        let event = Event::ProofPolicySet { policy };
        Ok(match self.record_one(caller.who(), event).await? {
            Ok(()) | Err(Refusal::Repeat) => {
                self.tend_proven();
                Ok(self.policy_view(&channel))
            }
            Err(refusal) => Err(super::state::refused(&refusal)),
        })
    }

    /// `builder rebuild NAME`: what it published since its last match is built again.
    pub async fn builder_rebuild(
        &mut self,
        caller: &Caller,
        wish: &BuilderRebuild,
    ) -> Done<Result<Builds>> {
        let builder = match self.locate_builder(&wish.name) {
            Ok(builder) => builder,
            Err(fault) => return Ok(Err(fault)),
        };
        let targets: Vec<Target> = self
            .unproven(builder)
            .iter()
            .filter_map(|made| Some(self.farm.jobs.get(&made.job)?.target.clone()))
            .collect();
        self.build_targets(caller, targets, true).await.map(Ok)
    }
}
