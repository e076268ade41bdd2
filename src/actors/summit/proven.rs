//! Publication that waits for proof: where a channel asks for it, what an attempt made is kept by vessel and published only
//! when so many other builders have come to the same.

use super::proof::{Publication, Standing};
use super::state::State;
use crate::id::{AttemptId, ChannelName, HostId};
use crate::model::proof::Judgement;
use crate::model::{
    Attempt, AttemptState, Executor, Expectation, Job, JobState, ProfileSpec, Role, Say, Who,
};

/// Vessel is told again after this long: it may have been started anew.
const SAY_AGAIN_MS: u64 = 5_000;

/// Where an attempt stands that may not be published yet.
#[derive(Debug, Default)]
pub(super) struct Stage {
    /// Vessel has what it made.
    kept: bool,
    /// What vessel was told last, and when: that it may publish, or that it may not yet.
    said: Option<(bool, u64)>,
}

/// Why something that is built is not published.
pub(super) struct Awaited {
    /// In words.
    pub(super) text: String,
    /// Whose move it is.
    pub(super) whose: &'static str,
    /// The next step; may be empty.
    pub(super) next: String,
}

/// Who could say what a publication comes to.
#[derive(Default)]
struct Witnesses {
    /// Builders that do now.
    at_it: Vec<HostId>,
    /// Those that could, and did not say anything about it yet.
    able: Vec<HostId>,
    /// Why those that tried did not come to anything.
    failed: Vec<String>,
}

impl State {
    /// Tells vessel what an attempt will bring: to be published, or to be kept until others have made the same.
    pub(super) fn say_expected(&self, expectation: Expectation) {
        let needed = self.farm.matches_needed(&expectation.channel);
        let proven = self.farm.agreed(expectation.attempt).len() >= needed;
        let expectation = Box::new(expectation);
        let say = match proven {
            true => Say::Expect(expectation),
            false => Say::Stage(expectation),
        };
        self.args.post.say(self.vessel(), Role::Vessel, say);
    }

    /// What vessel expects of an attempt, as the rows say.
    fn expectation_of(&self, attempt: &Attempt) -> Option<Expectation> {
        let job = self.farm.jobs.get(&attempt.id.job)?;
        let profile = self.farm.profiles.get(&job.target.profile)?;
        Some(Expectation {
            attempt: attempt.id,
            builder: attempt.builder,
            source: job.target.recipe.clone(),
            version: job.version.clone(),
            release: job.release,
            build_release: attempt.build_release,
            arch: profile.arch,
            channel: profile.channel.clone(),
        })
    }

    /// Vessel keeps what an attempt made.
    pub(super) fn staged(&mut self, attempt: AttemptId) {
        self.proofs.staged.entry(attempt).or_default().kept = true;
        self.tend_proven();
    }

    /// Whether vessel keeps it: its builder need not be there any more.
    pub(super) fn is_staged(&self, attempt: AttemptId) -> bool {
        let stage = self.proofs.staged.get(&attempt);
        stage.is_some_and(|stage| stage.kept)
    }

    /// By the clock, and when something is known anew: has what is kept built again elsewhere, and lets vessel publish what
    /// enough others have made too.
    pub(super) fn tend_proven(&mut self) {
        let mut policies = self.farm.proof_policies.values();
        if policies.all(|policy| policy.require_match == 0) && self.proofs.staged.is_empty() {
            return;
        }
        let now_ms = crate::actors::now().mono_ms;
        let live = self.open.iter();
        let live = live.filter_map(|job| self.farm.live_attempt(*job));
        let built: Vec<_> = live
            .filter(|attempt| attempt.state == AttemptState::Built)
            .cloned()
            .collect();
        let staged = &mut self.proofs.staged;
        staged.retain(|id, _| built.iter().any(|attempt| attempt.id == *id));
        for attempt in built {
            let Some(expectation) = self.expectation_of(&attempt) else {
                continue;
            };
            let channel = expectation.channel.clone();
            let needed = self.farm.matches_needed(&channel);
            if needed == 0 && !self.proofs.staged.contains_key(&attempt.id) {
                continue;
            }
            let agreed = self.farm.agreed(attempt.id).len();
            let proven = agreed >= needed;
            let stage = self.proofs.staged.entry(attempt.id).or_default();
            let kept = stage.kept;
            let is_said = stage
                .said
                .is_some_and(|(what, at_ms)| what == proven && now_ms < at_ms + SAY_AGAIN_MS);
            if !is_said && (proven || !kept) {
                stage.said = Some((proven, now_ms));
                self.say_expected(expectation);
            }
            if kept && !proven {
                self.seek_matches(&attempt, &channel, needed - agreed);
            }
        }
    }

    /// Has something that is kept built again by as many builders as are missing, as far as they are there and free.
    fn seek_matches(&mut self, attempt: &Attempt, channel: &ChannelName, missing: usize) {
        let judged = self.farm.judge_publication(attempt.id);
        let Some(publication) = self.publication_in(attempt, channel) else {
            return;
        };
        if judged == Some(Judgement::Varies) {
            return;
        }
        let found = self.witnesses(&publication);
        let more = missing.saturating_sub(found.at_it.len());
        let mut free = found.able;
        free.retain(|host| self.free_slots(host) > 0);
        let owner = self.farm.owner_of(&publication.publisher);
        free.sort_by_key(|host| {
            let same = self.farm.owner_of(host) == owner;
            (self.base_differs(host, &publication), same)
        });
        for host in free.into_iter().take(more) {
            let begun =
                self.begin_comparison(publication.clone(), Some(host), Who::Farm, false, None);
            if let Err(fault) = begun {
                tracing::debug!(%fault, "no comparison now");
            }
        }
    }

    fn witnesses(&self, publication: &Publication) -> Witnesses {
        let mut found = Witnesses::default();
        let profile = self.farm.profiles.get(&publication.target.profile);
        let Some(spec) = profile.map(ProfileSpec::from) else {
            return found;
        };
        let said = self.opined(publication);
        let all = self.proofs.running.values();
        let all: Vec<_> = all
            .filter(|one| one.publication.attempt == publication.attempt && one.isa.is_none())
            .collect();
        for (id, builder) in &self.builders {
            if said.contains(id) {
                continue;
            }
            let its = |one: &&&super::proof::Running| one.builder.or(one.on) == Some(*id);
            if all.iter().filter(its).any(|one| !one.is_over()) {
                found.at_it.push(*id);
                continue;
            }
            let failed = all.iter().filter(its).find_map(|one| match &one.standing {
                Standing::Failed(_, fault) => Some(fault.what.clone()),
                _ => None,
            });
            if let Some(what) = failed {
                let name = self.host_name(id);
                found
                    .failed
                    .push(format!("{name} built it again in vain: {what}"));
            } else if self.unfit(id, builder, &spec).is_none() {
                found.able.push(*id);
            }
        }
        found
    }

    /// Why something that is built is not published, if matches are missing.
    pub(super) fn awaited(&self, job: &Job) -> Option<Awaited> {
        if job.state != JobState::Publishing {
            return None;
        }
        let attempt = self.farm.live_attempt(job.id)?;
        let channel = &self.farm.profiles.get(&job.target.profile)?.channel;
        let needed = self.farm.matches_needed(channel);
        let agreed = self.farm.agreed(attempt.id).len();
        if agreed >= needed {
            return None;
        }
        let publication = self.publication_in(attempt, channel)?;
        let head = match needed {
            1 => format!("channel {channel} asks that another builder comes to the same"),
            _ => format!(
                "channel {channel} asks that {needed} other builders come to the same, and {agreed} did"
            ),
        };
        let lower =
            format!("massif channel policy {channel} --require-match 0 publishes it as it is");
        let told = |rest: String, whose, next: String| {
            let text = format!("{head}; {rest}");
            Some(Awaited { text, whose, next })
        };
        if !self.is_staged(attempt.id) {
            let rest = "what was made first is being fetched".to_string();
            return told(rest, "farm", String::new());
        }
        let judged = self.farm.judge_publication(attempt.id);
        if judged == Some(Judgement::Varies) {
            let rest = "it comes out differently each time".to_string();
            let next = format!(
                "massif compare list --recipe {} names what differs; {lower}",
                job.target.recipe
            );
            return told(rest, "recipe", next);
        }
        let found = self.witnesses(&publication);
        let names = |hosts: &[HostId]| -> String {
            let names: Vec<String> = hosts.iter().map(|host| self.host_name(host)).collect();
            names.join(", ")
        };
        if !found.at_it.is_empty() {
            let rest = format!("built again by {}", names(&found.at_it));
            return told(rest, "farm", String::new());
        }
        if !found.able.is_empty() {
            let rest = format!("it waits for a slot of {}", names(&found.able));
            return told(rest, "farm", String::new());
        }
        let mut rest = match self.too_few(channel) {
            Some(lacks) => lacks,
            None if judged == Some(Judgement::BasesDiffer) => {
                let on = self.host_name(&publication.publisher);
                format!(
                    "others came to something else on another base, which proves nothing: it takes a builder with the tools of {on}"
                )
            }
            None => "every builder that can build it has said what it comes to".into(),
        };
        for failed in &found.failed {
            rest = format!("{rest}; {failed}");
        }
        let next = format!("massif invite --role avalanche brings a builder; {lower}");
        told(rest, "operator", next)
    }

    /// Why a channel cannot have as many matches as it asks for, with the builders that are here.
    pub(super) fn too_few(&self, channel: &ChannelName) -> Option<String> {
        let needed = self.farm.matches_needed(channel);
        if needed == 0 {
            return None;
        }
        let mut profiles = self.farm.profiles.values();
        profiles.find_map(|profile| {
            if profile.channel != *channel {
                return None;
            }
            if profile.executor == Executor::Boulder {
                let name = &profile.name;
                return Some(format!(
                    "profile {name} is built by boulder, whose builds cannot be compared"
                ));
            }
            let spec = ProfileSpec::from(profile);
            let fit = self.builders.iter();
            let fit = fit.filter(|(id, builder)| self.unfit(id, builder, &spec).is_none());
            let able = fit.count();
            let all = needed + 1;
            (able < all).then(|| {
                let builders = match able {
                    0 => "no builder".to_string(),
                    1 => "one builder".to_string(),
                    more => format!("{more} builders"),
                };
                format!(
                    "too few builders: {builders} can build for profile {} now, and it takes {all}",
                    profile.name
                )
            })
        })
    }
}
