//! What a host that is no summit says of the farm: its own builder as its owner sees it, the builds that run in it, and for
//! everything else who has to be asked, and since when that one has been out of reach. Owns nothing.

use std::collections::BTreeMap;

use super::avalanche::{self, builder::log_path};
use super::desk::{Inner, ask};
use super::post::names;
use super::summit::view::FarmStatus;
use crate::admin::summit::{Builder, Builders, Call, Jobs};
use crate::admin::view::{AlarmView, BuilderView, JobState, JobView};
use crate::admin::{Method, Reply};
use crate::fault::{Fault, Kind, Result};
use crate::id::{AttemptId, JobId, Seq, Stamp};
use crate::model::Role;
use crate::store::events::Chain;

/// This builder. `None`: the host is none, or has not joined a farm yet.
async fn own_builder(inner: &Inner) -> Result<BuilderView> {
    let mut builder =
        ask(names::AVALANCHE, avalanche::Msg::Show)
            .await
            .map_err(|fault| match inner.roles.contains(&Role::Avalanche) {
                true if inner.links.farm().borrow().is_none() => Fault::new(
                    Kind::NotFound,
                    format!(
                        "{} belongs to no farm yet, so it builds nothing",
                        inner.name
                    ),
                )
                .next("massif join LINE with what `massif invite` says on the farm's summit"),
                _ => fault,
            })?;
    if let Some(alarm) = out_of_reach(inner) {
        builder.evidence.push(alarm.text);
    }
    Ok(builder)
}

/// What this host's owner has to know about its summit; `None`: it is linked, or there is none yet.
pub fn out_of_reach(inner: &Inner) -> Option<AlarmView> {
    let summit = (*inner.links.farm().borrow())?;
    if summit == inner.own {
        return None;
    }
    let now = super::now().wall;
    let up_ms = i64::try_from(inner.started.elapsed().as_millis()).unwrap_or(i64::MAX);
    let (since, why) = inner
        .links
        .away(&summit, Stamp(now.0.saturating_sub(up_ms)))?;
    let name = summit_name(inner);
    Some(AlarmView {
        kind: "summit_out_of_reach".into(),
        subject: Some(name.clone()),
        text: format!("summit {name} is out of reach since {since}: {why}"),
        next:
            "nothing is lost: running builds end here and what they made is kept until it is back"
                .into(),
        since: Some(since),
    })
}

pub(super) fn summit_name(inner: &Inner) -> String {
    let summit = *inner.links.farm().borrow();
    summit.map_or_else(
        || "of no farm".into(),
        |id| {
            let name = inner.links.name_of(&id);
            name.map_or_else(|| id.short(), |name| name.to_string())
        },
    )
}

/// What a builder by itself is alarmed about.
pub async fn alarms(inner: &Inner) -> Vec<AlarmView> {
    let mut alarms: Vec<AlarmView> = out_of_reach(inner).into_iter().collect();
    if let Ok(builder) = own_builder(inner).await
        && builder.verdict != "fit"
    {
        alarms.push(AlarmView {
            kind: format!("builder_{}", builder.verdict),
            subject: Some(builder.name.to_string()),
            text: format!(
                "builder {} is {}: {}",
                builder.name,
                builder.verdict,
                builder.evidence.join("; ")
            ),
            next: format!("massif builder show {}", builder.name),
            since: None,
        });
    }
    alarms
}

/// What its page shows instead of the farm's: the builds here, and what is wrong.
pub async fn status(inner: &Inner) -> FarmStatus {
    let states = JobState::ALL.iter();
    let mut counts: BTreeMap<String, u64> =
        states.map(|state| (state.as_str().into(), 0)).collect();
    for job in jobs(inner).await {
        *counts.entry(job.state.as_str().into()).or_default() += 1;
    }
    FarmStatus {
        jobs: counts,
        alarms: alarms(inner).await,
        seq: Chain::load(&inner.store).map_or(Seq(0), |chain| chain.seq),
        ..FarmStatus::default()
    }
}

/// The builds that run here, as jobs.
pub async fn jobs(inner: &Inner) -> Vec<JobView> {
    if !inner.roles.contains(&Role::Avalanche) {
        return Vec::new();
    }
    // One that has not joined has none.
    ask(names::AVALANCHE, avalanche::Msg::Works)
        .await
        .unwrap_or_default()
}

/// Answers for a summit that is elsewhere.
pub async fn answer(inner: &Inner, call: &Call) -> Result<Reply> {
    match call {
        Call::BuilderList(wish) if inner.roles.contains(&Role::Avalanche) => {
            let builders = vec![own_builder(inner).await?];
            wish.reply(&Builders { builders })
        }
        Call::BuilderShow(wish) if is_own(inner, &wish.name) => {
            let builder = own_builder(inner).await?;
            wish.reply(&Builder { builder })
        }
        Call::JobList(wish) if inner.roles.contains(&Role::Avalanche) => {
            let mut jobs = jobs(inner).await;
            jobs.retain(|job| {
                (wish.states.is_empty() || wish.states.contains(&job.state))
                    && wish.recipe.as_ref().is_none_or(|name| *name == job.recipe)
            });
            wish.reply(&page(jobs))
        }
        Call::JobsShow(wish) if inner.roles.contains(&Role::Avalanche) => {
            let mut jobs = jobs(inner).await;
            jobs.retain(|job| wish.jobs.contains(&job.id));
            wish.reply(&page(jobs))
        }
        _ => Err(elsewhere(inner)),
    }
}

fn page(jobs: Vec<JobView>) -> Jobs {
    Jobs {
        jobs,
        next: None,
        seq: Seq(0),
    }
}

fn is_own(inner: &Inner, name: &str) -> bool {
    let id = inner.own.to_string();
    inner.roles.contains(&Role::Avalanche)
        && (inner.name.as_str() == name || name.len() >= 6 && id.starts_with(name))
}

/// Who has to be asked instead.
pub(super) fn elsewhere(inner: &Inner) -> Fault {
    match out_of_reach(inner) {
        Some(alarm) => Fault::new(
            Kind::TryAgain,
            format!("only summit knows that, and {}", alarm.text),
        )
        .next("`massif builder list`, `massif status` and `massif job log` answer without it"),
        None => Fault::new(
            Kind::NotFound,
            format!("only summit {} knows that", summit_name(inner)),
        )
        .next(format!(
            "run the same command there; from elsewhere, as an operator of that farm: massif --host {} ...",
            summit_name(inner)
        )),
    }
}

/// The attempt whose log is meant: by the job's number, or the recipe of one that runs here.
pub async fn attempt(inner: &Inner, job: &str, try_no: Option<u32>) -> Result<AttemptId> {
    let running = jobs(inner).await;
    let named = running.iter().find(|row| row.recipe.as_str() == job);
    let id = match (job.parse::<JobId>(), named) {
        (_, Some(row)) => row.id,
        (Ok(id), None) => id,
        (Err(_), None) => return Err(elsewhere(inner)),
    };
    let dir = inner.dir.clone();
    let found = super::desk::blocking(move || {
        let prefix = format!("{id}.");
        let entries = std::fs::read_dir(dir.join("logs"));
        let tries = entries.into_iter().flatten().flatten().filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let number = name.strip_prefix(&prefix)?.strip_suffix(".log")?;
            number.parse::<u32>().ok()
        });
        let last = try_no.or_else(|| tries.max());
        let attempt = last.map(|try_no| AttemptId { job: id, try_no });
        Ok(attempt.filter(|attempt| log_path(&dir, *attempt).exists()))
    })
    .await?;
    found.ok_or_else(|| {
        Fault::new(
            Kind::NotFound,
            format!("{} has no log of job {job}", inner.name),
        )
        .next("`massif job list` shows what runs here; other logs are on summit")
    })
}

/// Whether an attempt does not run here (any more).
pub async fn is_over(attempt: AttemptId) -> bool {
    let builder = ask(names::AVALANCHE, avalanche::Msg::Show).await;
    builder.is_ok_and(|builder| {
        let mut slots = builder.slots.iter();
        !slots.any(|slot| slot.job == Some(attempt.job) && slot.try_no == Some(attempt.try_no))
    })
}
