//! Events for people and scripts: one line and a word for each kind.

use std::collections::HashMap;

use crate::admin::view::EventView;
use crate::fault::{Fault, Result};
use crate::id::{AttemptId, Digest, HostId, HostName, JobId};
use crate::model::proof::is_comparison;
use crate::model::{Event, PeerChange, Recorded, StopKind, Who};
use crate::store::Store;
use crate::store::events::EventRow;
use crate::store::farm::KnownHost;

/// How hosts are called, for what people read.
#[derive(Debug, Default)]
pub struct Names(HashMap<HostId, HostName>);

impl Names {
    /// As the rows have them now; a host whose row cannot be read is told by its key.
    pub fn load(store: &Store) -> Names {
        let known = store.scan::<KnownHost>().filter_map(Result::ok);
        Names(known.map(|host| (host.id, host.name)).collect())
    }

    fn of(&self, host: &HostId) -> String {
        let name = self.0.get(host).map(ToString::to_string);
        name.unwrap_or_else(|| host.short())
    }
}

/// What the log holds of an event, beside its place, time and hash.
pub fn read(row: &EventRow) -> Result<Recorded> {
    let (who, event): (Who, Event) = postcard::from_bytes(&row.payload)
        .map_err(|error| Fault::bug(format!("event {} cannot be read", row.seq)).because(&error))?;
    Ok(Recorded {
        seq: row.seq,
        at: row.at,
        who,
        event,
    })
}

/// An event as the admin interface shows it. A damaged row is shown as such rather than hiding the others.
pub fn view(row: &EventRow, names: &Names) -> EventView {
    match read(row) {
        Ok(recorded) => view_of(&recorded, row.hash, names),
        Err(fault) => EventView {
            seq: row.seq,
            at: row.at,
            actor: "unknown".into(),
            kind: "unreadable".into(),
            text: fault.to_string(),
            cause: None,
            job: None,
            try_no: None,
            subject: None,
            hash: row.hash,
        },
    }
}

/// Whether an event's actor is the one that was asked for: by name, by key, or as it is shown. `None`: anybody is.
pub fn is_actor(shown: &str, asked: Option<&str>) -> bool {
    let Some(asked) = asked else { return true };
    match shown.split_once(" (") {
        Some((name, key)) => [name, key.trim_end_matches(')'), shown].contains(&asked),
        None => shown == asked,
    }
}

fn view_of(recorded: &Recorded, hash: Digest, names: &Names) -> EventView {
    let Told {
        kind,
        text,
        job,
        attempt,
        subject,
    } = tell(&recorded.event, names);
    EventView {
        seq: recorded.seq,
        at: recorded.at,
        actor: match &recorded.who {
            // A name is what people read, the key is what it was.
            Who::Key(host) => match names.0.get(host) {
                Some(name) => format!("{name} ({})", recorded.who),
                None => recorded.who.to_string(),
            },
            Who::Farm | Who::Uid(_) => recorded.who.to_string(),
        },
        kind: kind.into(),
        text,
        cause: None,
        job: job.or(attempt.map(|attempt| attempt.job)),
        try_no: attempt.map(|attempt| attempt.try_no),
        subject,
        hash,
    }
}

struct Told {
    kind: &'static str,
    text: String,
    job: Option<JobId>,
    attempt: Option<AttemptId>,
    subject: Option<String>,
}

fn plain(kind: &'static str, subject: &dyn ToString, text: String) -> Told {
    Told {
        kind,
        text,
        job: None,
        attempt: None,
        subject: Some(subject.to_string()),
    }
}

fn of_job(kind: &'static str, job: JobId, text: String) -> Told {
    Told {
        kind,
        text,
        job: Some(job),
        attempt: None,
        subject: None,
    }
}

fn of_attempt(kind: &'static str, attempt: AttemptId, text: String) -> Told {
    Told {
        kind,
        text,
        job: None,
        attempt: Some(attempt),
        subject: None,
    }
}

fn tell(event: &Event, names: &Names) -> Told {
    match event {
        Event::ProjectAdded { name, url, .. } => plain(
            "project_added",
            name,
            format!("project {name} added: {url}"),
        ),
        Event::ProjectRemoved { name } => {
            plain("project_removed", name, format!("project {name} removed"))
        }
        Event::ProjectOpened { name } => plain(
            "project_opened",
            name,
            format!("everything missing in project {name} may be built"),
        ),
        Event::TipMoved {
            project,
            tip,
            changed,
            ..
        } => {
            let text = format!(
                "project {project} is at {}: {changed} recipes changed, {} in all, {} faulty",
                tip.commit.short(),
                tip.recipes,
                tip.faulty
            );
            plain("tip_moved", project, text)
        }
        Event::ProfileSet { profile } => {
            let text = format!(
                "profile {} builds for {} into {}",
                profile.name, profile.arch, profile.channel
            );
            plain("profile_set", &profile.name, text)
        }
        Event::ProfileRemoved { name } => {
            plain("profile_removed", name, format!("profile {name} removed"))
        }
        Event::Planned {
            job,
            target,
            version,
            release,
            because,
            ..
        } => {
            let text = format!(
                "job {job}: {} {version}-{release} for {}: {}",
                target.recipe,
                target.profile,
                because.text()
            );
            Told {
                subject: Some(target.recipe.to_string()),
                ..of_job("planned", *job, text)
            }
        }
        Event::Unwanted { job, why } => of_job(
            "unwanted",
            *job,
            format!("job {job} is not needed any more: {why}"),
        ),
        Event::Assigned {
            attempt,
            builder,
            slot,
            ..
        } => {
            let text = format!(
                "attempt {attempt} goes to slot {slot} of {}",
                names.of(builder)
            );
            of_attempt("assigned", *attempt, text)
        }
        Event::Accepted { attempt } => of_attempt(
            "accepted",
            *attempt,
            format!("attempt {attempt} is being built"),
        ),
        Event::Built {
            attempt,
            artefacts,
            bytes,
        } => {
            let text = format!(
                "attempt {attempt} made {artefacts} files, {} KiB",
                bytes.div_ceil(1024)
            );
            of_attempt("built", *attempt, text)
        }
        Event::AttemptEnded {
            attempt,
            blame,
            fault,
            ..
        } => {
            let text = format!("attempt {attempt} ended without packages ({blame}): {fault}");
            of_attempt("attempt_ended", *attempt, text)
        }
        Event::Published {
            attempt,
            channel,
            version,
        } => {
            let text = format!("attempt {attempt} is version {version} of {channel}");
            Told {
                subject: Some(channel.to_string()),
                ..of_attempt("published", *attempt, text)
            }
        }
        Event::Cancelled { job } => of_job("cancelled", *job, format!("job {job} cancelled")),
        Event::Retried { job } => of_job("retried", *job, format!("job {job} is tried again")),
        Event::JobHeld { job, hold } => {
            of_job("held", *job, format!("job {job} held: {}", hold.reason))
        }
        Event::JobReleased { job } => of_job("released", *job, format!("job {job} released")),
        Event::Raised { job, raise } => {
            of_job("raised", *job, format!("job {job} raised to {raise}"))
        }
        Event::RecipeHeld { recipe, hold, .. } => plain(
            "recipe_held",
            recipe,
            format!("recipe {recipe} held: {}", hold.reason),
        ),
        Event::RecipeReleased { recipe, .. } => plain(
            "recipe_released",
            recipe,
            format!("recipe {recipe} released"),
        ),
        Event::Imported {
            channel,
            version,
            what,
        } => plain(
            "imported",
            channel,
            format!("{what} imported into {channel} as version {version}"),
        ),
        Event::RolledBack {
            channel,
            version,
            to,
        } => plain(
            "rolled_back",
            channel,
            format!("{channel} rolled back to {to} as version {version}"),
        ),
        Event::BaseDeclared { base } => plain(
            "base_declared",
            &base.name,
            format!(
                "package {} stands for {} in {}",
                base.name, base.dir, base.channel
            ),
        ),
        Event::Measured { attempt, usage } => {
            let seconds = usage.wall_ms.unwrap_or(0) as f64 / 1000.0;
            let memory = usage.memory_bytes.map_or_else(String::new, |bytes| {
                format!(", {} MiB of memory at most", bytes >> 20)
            });
            let text = format!("attempt {attempt} took {seconds:.1} s{memory}");
            of_attempt("measured", *attempt, text)
        }
        Event::PolicySet { policy } => plain(
            "policy_set",
            &policy.project,
            format!(
                "recipes of {} are built again: {}; its share is {}{}",
                policy.project,
                policy.rebuild.as_str(),
                policy.weight.max(1),
                if policy.second_pass {
                    ", with a second pass after cycles"
                } else {
                    ""
                }
            ),
        ),
        Event::JobsForgotten { jobs } => plain(
            "jobs_forgotten",
            &"farm",
            format!(
                "the records of {} that are over were let go, up to job {}; what happened to them stays in this log",
                match jobs.len() {
                    1 => "one job".to_string(),
                    number => format!("{number} jobs"),
                },
                jobs.last().copied().unwrap_or_default()
            ),
        ),
        Event::PrioritySet { priority } => plain(
            "priority_set",
            &priority.project,
            format!(
                "{} has priority {} among projects that provide the same name",
                priority.project, priority.priority
            ),
        ),
        Event::LimitSet {
            project,
            recipe,
            time_s,
        } => plain(
            "limit_set",
            recipe,
            match time_s {
                Some(time_s) => format!("builds of {recipe} of {project} may take {time_s} s"),
                None => format!(
                    "how long builds of {recipe} of {project} may take is not decided any more"
                ),
            },
        ),
        Event::Observed { measures } => {
            let text = format!(
                "attempt {} went through {} phases",
                measures.attempt,
                measures.phases.len()
            );
            of_attempt("observed", measures.attempt, text)
        }
        Event::AlarmRaised { alarm } => Told {
            subject: Some(alarm.subject.clone()).filter(|subject| !subject.is_empty()),
            ..plain(
                "alarm_raised",
                &alarm.subject,
                format!("alarm: {}", alarm.text),
            )
        },
        Event::AlarmLifted { kind, subject } => {
            let of = match subject.is_empty() {
                true => String::new(),
                false => format!(" of {subject}"),
            };
            Told {
                subject: Some(subject.clone()).filter(|subject| !subject.is_empty()),
                ..plain(
                    "alarm_lifted",
                    subject,
                    format!("the alarm {kind}{of} is over"),
                )
            }
        }
        Event::Resolved { with } => {
            let text = format!("attempt {} {}", with.attempt, with.text());
            of_attempt("resolved", with.attempt, text)
        }
        Event::BuilderStopped {
            builder,
            kind,
            hold,
            ..
        } => {
            let (word, did) = match kind {
                StopKind::Drain => ("builder_draining", "takes no new work"),
                StopKind::Quarantine => ("builder_quarantined", "is in quarantine"),
            };
            plain(
                word,
                &names.of(builder),
                format!("builder {} {did}: {}", names.of(builder), hold.reason),
            )
        }
        Event::BuilderLetGo { builder, kind, why } => {
            let (word, did) = match kind {
                StopKind::Drain => ("builder_resumed", "takes work again"),
                StopKind::Quarantine => ("builder_released", "is out of quarantine"),
            };
            plain(
                word,
                &names.of(builder),
                format!("builder {} {did}: {why}", names.of(builder)),
            )
        }
        Event::Peer {
            name, change, text, ..
        } => plain(
            match change {
                PeerChange::Invited => "peer_invited",
                PeerChange::TicketRevoked => "ticket_revoked",
                PeerChange::TicketBurnt => "ticket_burnt",
                PeerChange::Joined => "peer_joined",
                PeerChange::Approved => "peer_approved",
                PeerChange::Revoked => "peer_revoked",
                PeerChange::Renamed => "peer_renamed",
                PeerChange::Refused => "peer_refused",
                PeerChange::Misbehaved => "peer_misbehaved",
                PeerChange::Rotated => "peer_rotated",
                PeerChange::NotTaken => "peer_not_taken",
            },
            name,
            text.clone(),
        ),
        Event::Compared { comparison } => {
            let finding = &comparison.finding;
            let text = format!(
                "comparison {}: {} {}, rebuilt on {}: {}",
                comparison.id,
                comparison.target.recipe,
                comparison.release,
                names.of(&comparison.builder),
                finding.level.text(),
            );
            plain("compared", &comparison.target.recipe, text)
        }
        Event::ProofPolicySet { policy } => {
            let idle = match policy.idle {
                true => "idle builders rebuild what is published and compare",
                false => "nothing is compared without being asked",
            };
            let text = match policy.require_match {
                0 => format!("{}: {idle}", policy.channel),
                1 => format!(
                    "{}: {idle}; another builder must come to the same before publication",
                    policy.channel
                ),
                more => format!(
                    "{}: {idle}; {more} other builders must come to the same before publication",
                    policy.channel
                ),
            };
            plain("proof_policy_set", &policy.channel, text)
        }
        Event::CacheSet { rule } => {
            let text = match rule.program {
                Some(program) => format!(
                    "builds for {} use {} where it is, with {} MiB in each slot",
                    rule.profile,
                    program.as_str(),
                    rule.bytes_max >> 20
                ),
                None => format!("builds for {} use no compiler cache", rule.profile),
            };
            plain("compiler_cache_set", &rule.profile, text)
        }
        Event::BaseNoted { base } => {
            let digest: String = base.digest().to_string().chars().take(8).collect();
            let system = match base.system.as_str() {
                "" => "a system without a name",
                system => system,
            };
            let text = format!("builds stand on a base that was not seen before: {system}");
            plain("base_noted", &digest, text)
        }
        Event::StoodOn { stood } => {
            let digest: String = stood.base.to_string().chars().take(8).collect();
            match is_comparison(stood.attempt.job) {
                true => {
                    let text = format!("a comparison was built on the base {digest}");
                    plain("stood_on", &digest, text)
                }
                false => {
                    let text = format!("attempt {} was built on the base {digest}", stood.attempt);
                    of_attempt("stood_on", stood.attempt, text)
                }
            }
        }
        Event::OwnerSet { owner } => {
            let name = names.of(&owner.host);
            let text = match owner.owner.is_empty() {
                true => format!("{name} is nobody's machine in particular"),
                false => format!("{name} is a machine of {}", owner.owner),
            };
            plain("builder_owner_set", &name, text)
        }
        Event::RiseRuleSet { rule } => plain(
            "rise_rule_set",
            &"builders",
            format!(
                "a builder for tests may rise after {} matches",
                rule.matches
            ),
        ),
        Event::LayerSet { layer } => plain(
            "layer_set",
            &layer.profile,
            format!(
                "{} holds only chosen recipes above {}",
                layer.profile, layer.over
            ),
        ),
        Event::LevelChosen { choice } => plain(
            "level_chosen",
            &choice.recipe,
            match choice.why.as_str() {
                "" => format!("{} is built for {} too", choice.recipe, choice.profile),
                why => format!(
                    "{} is built for {} too: {why}",
                    choice.recipe, choice.profile
                ),
            },
        ),
        Event::IsaMeasured { measurement } => plain(
            "isa_measured",
            &measurement.target.recipe,
            format!(
                "measurement {}: {} {} on {}, {} runs of each of {} levels",
                measurement.id,
                measurement.target.recipe,
                measurement.release,
                measurement.builder.short(),
                measurement
                    .run
                    .levels
                    .first()
                    .map_or(0, |level| level.cpu_ms.len()),
                measurement.run.levels.len(),
            ),
        ),
        Event::LevelDropped {
            profile, recipe, ..
        } => plain(
            "level_dropped",
            recipe,
            format!("{recipe} is built for {profile} no more"),
        ),
        Event::Convicted { conviction, hold } => plain(
            "builder_convicted",
            &conviction.builder.short(),
            format!(
                "builder {} is in quarantine: {}",
                conviction.builder.short(),
                hold.reason
            ),
        ),
        Event::HostSeen { host, name } => plain(
            "host_seen",
            name,
            format!("host {name} is {}", host.short()),
        ),
    }
}
