//! Questions of pages and the host's answers, over a connection of their own. A question that changes nothing is asked again
//! where the connection had died; of a change whose answer did not come nobody knows whether it was carried out, and that is
//! what is told.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use tokio::sync::mpsc;

use super::acting::act;
use super::ask::{Changed, Found, Past, Piece, Question, Reply, Wanted};
use super::data::News;
use super::link::{Connect, OPEN, OVER_PAGES, Teller};
use crate::admin::view::{PackageView, RecipeView};
use crate::admin::{host, summit, vessel};
use crate::cli::show;
use crate::fault::{Fault, Kind, Result};
use crate::id::{JobId, Seq, VersionId};
use crate::limit;
use crate::net::admin::Client;

/// Versions of a channel that its page has.
const VERSIONS: u32 = 200;
/// Commits of a recipe that its page has.
const CHANGES: u32 = 20;
/// Older events that are asked for at once.
const OLDER: u32 = 500;

/// Answers questions, one after another, until nobody listens any more.
pub async fn answer(
    connect: Connect,
    tell: Teller,
    mut questions: mpsc::Receiver<(u64, Question)>,
) {
    let mut kept: Option<Client> = None;
    while let Some((ticket, question)) = questions.recv().await {
        let result = put(&connect, &question, &mut kept).await;
        if tell.send(News::Answer { ticket, result }).await.is_err() {
            return;
        }
    }
}

/// Asks over the connection that is kept, else over a new one.
async fn put(connect: &Connect, question: &Question, kept: &mut Option<Client>) -> Result<Reply> {
    if let Some(mut client) = kept.take() {
        let result = ask(&mut client, question).await;
        let died = matches!(&result, Err(fault) if fault.kind == Kind::Unreachable);
        let changes = matches!(question, Question::Act(_));
        // It may have died since the last question. What did not go out, or changes nothing, is asked once more.
        if !(died && (!client.is_owed() || !changes)) {
            return judge(question, result, client, kept);
        }
    }
    let mut client = connect().await?;
    let result = ask(&mut client, question).await;
    judge(question, result, client, kept)
}

/// What came of a question. A connection that owes an answer would give it to the next question: it is not kept.
fn judge(
    question: &Question,
    result: Result<Reply>,
    client: Client,
    kept: &mut Option<Client>,
) -> Result<Reply> {
    let owed = client.is_owed();
    let died = matches!(&result, Err(fault) if fault.kind == Kind::Unreachable);
    if !owed && !died {
        *kept = Some(client);
    }
    match (question, result) {
        (Question::Act(_), Err(fault)) if owed => Ok(Reply::Unknown(fault)),
        (_, result) => result,
    }
}

fn rows() -> u32 {
    u32::try_from(limit::ADMIN_PAGE_ROWS_MAX).unwrap_or(u32::MAX)
}

async fn ask(client: &mut Client, question: &Question) -> Result<Reply> {
    Ok(match question {
        Question::Job(job) => {
            let job = job.to_string();
            Reply::Job(Box::new(client.call(&summit::JobShow { job }).await?))
        }
        Question::Cone(job) => cone(client, *job).await?,
        Question::Past(seq) => Reply::Past(Box::new(past(client, *seq).await?)),
        Question::PastWhy(seq, thing) => {
            let (at, thing) = (*seq, thing.clone());
            let answer = client.call(&summit::PastWhy { at, thing }).await?;
            Reply::Why(Box::new(answer.why))
        }
        Question::Run(_) => {
            return Err(Fault::bug("commands are run beside the connection"));
        }
        Question::Why(thing) => {
            let thing = thing.clone();
            Reply::Why(Box::new(client.call(&summit::Why { thing }).await?.why))
        }
        Question::Recipes => Reply::Recipes(recipes(client).await?),
        Question::Recipe(name) => recipe(client, name).await?,
        Question::Builder(name) => {
            let ask = summit::BuilderProofShow { name: name.clone() };
            // A host that only builds cannot tell, and its page is there all the same.
            let proof = client.call(&ask).await.map(|found| found.proof);
            Reply::Builder(proof.ok().map(Box::new))
        }
        Question::Channels => Reply::Channels(client.call(&vessel::ChannelList {}).await?.channels),
        Question::Channel(name) => channel(client, name).await?,
        Question::Version {
            channel,
            id,
            parent,
        } => {
            let now = packages(client, channel, Some(*id)).await?;
            let then = match parent {
                Some(parent) => packages(client, channel, Some(*parent)).await?,
                None => Vec::new(),
            };
            Reply::Difference(differences(&then, &now))
        }
        Question::Older(seq) => older(client, *seq).await?,
        Question::Log {
            job,
            try_no,
            offset,
            bytes,
        } => log(client, *job, *try_no, (*offset, *bytes)).await?,
        Question::Search {
            job,
            try_no,
            pattern,
            offset,
        } => search(client, *job, *try_no, pattern, *offset).await?,
        Question::Act(action) => act(client, action).await?,
    })
}

async fn cone(client: &mut Client, job: JobId) -> Result<Reply> {
    let job = job.to_string();
    let page = client.call(&summit::JobShow { job: job.clone() }).await?;
    // A tree without its longest way is better than none.
    let cone = client.call(&summit::ConeShow { job }).await;
    Ok(Reply::Cone {
        page: Box::new(page),
        cone: cone.ok().map(|answer| Box::new(answer.cone)),
    })
}

async fn recipes(client: &mut Client) -> Result<Vec<RecipeView>> {
    let mut recipes = Vec::new();
    let mut after = None;
    loop {
        let ask = summit::RecipeList {
            project: None,
            text: None,
            faulty: None,
            after,
            limit: Some(rows()),
        };
        let page = client.call(&ask).await?;
        recipes.extend(page.recipes);
        after = page.next;
        if after.is_none() || recipes.len() > limit::RECIPES_MAX {
            return Ok(recipes);
        }
    }
}

async fn recipe(client: &mut Client, name: &str) -> Result<Reply> {
    let name = name.to_owned();
    let shown = client
        .call(&summit::RecipeShow { name: name.clone() })
        .await?;
    let proof = summit::RecipeProofShow { name: name.clone() };
    let ask = summit::RecipeHistory {
        name,
        limit: Some(CHANGES),
    };
    // A page without history is better than none.
    let changes = client.call(&ask).await.map(|page| page.changes);
    let proof = client.call(&proof).await.map(|found| found.proof);
    Ok(Reply::Recipe {
        recipe: Box::new(shown.recipe),
        detail: shown.detail.map(Box::new),
        changes: changes.unwrap_or_default(),
        proof: proof.ok().map(Box::new),
    })
}

async fn channel(client: &mut Client, name: &str) -> Result<Reply> {
    let ask = vessel::ChannelVersions {
        channel: name.to_owned(),
        after: None,
        limit: Some(VERSIONS),
    };
    let versions = client.call(&ask).await?.versions;
    Ok(Reply::Channel {
        versions,
        packages: packages(client, name, None).await?,
    })
}

async fn older(client: &mut Client, seq: Seq) -> Result<Reply> {
    let since = Seq(seq.0.saturating_sub(u64::from(OLDER) + 1));
    let ask = host::Watch {
        since: Some(since),
        limit: Some(OLDER),
    };
    let mut events = client.call(&ask).await?.events;
    events.retain(|event| event.seq < seq);
    Ok(Reply::Older(events))
}

async fn log(
    client: &mut Client,
    job: JobId,
    try_no: Option<u32>,
    (offset, bytes): (i64, u32),
) -> Result<Reply> {
    let ask = summit::JobLog {
        job: job.to_string(),
        try_no,
        offset: Some(offset),
        bytes_max: Some(bytes),
        base64: Some(true),
    };
    let piece = client.call(&ask).await?;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(piece.base64.unwrap_or_default())
        .map_err(|error| Fault::bug("a piece of a log is not base64").because(&error))?;
    Ok(Reply::Log(Piece {
        offset: piece.offset,
        bytes,
        end: piece.end,
        try_no: piece.try_no,
        missing: piece.on.map(|on| (on, piece.missing_bytes)),
    }))
}

async fn search(
    client: &mut Client,
    job: JobId,
    try_no: Option<u32>,
    pattern: &Wanted,
    offset: u64,
) -> Result<Reply> {
    let ask = summit::JobLogSearch {
        job: job.to_string(),
        try_no,
        pattern: match pattern {
            Wanted::Pattern(words) => Some(words.clone()),
            Wanted::Errors | Wanted::Phases => None,
        },
        phases: Some(*pattern == Wanted::Phases),
        offset: Some(offset),
    };
    let places = client.call(&ask).await?;
    Ok(Reply::Found(Found {
        wanted: pattern.clone(),
        lines: places.lines,
        words: places.words,
        looked: places.looked,
        end: places.end,
    }))
}

/// The farm as it was: all open and failed jobs, and the newest of the others.
async fn past(client: &mut Client, at: Seq) -> Result<Past> {
    let most = super::data::JOBS_KEPT / limit::ADMIN_PAGE_ROWS_MAX;
    let mut view = None;
    let mut jobs = Vec::new();
    for (states, pages) in [(Vec::new(), OVER_PAGES), (OPEN.to_vec(), most)] {
        let mut after = None;
        for _ in 0..pages {
            let ask = summit::PastShow {
                at,
                states: states.clone(),
                after: after.clone(),
                limit: Some(rows()),
            };
            let page = client.call(&ask).await?;
            view = view.or(page.past);
            jobs.extend(page.jobs);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        // Fewer than these pages in all: the open ones were among them.
        if after.is_none() {
            break;
        }
    }
    let view = view.ok_or_else(|| Fault::bug("the host told nothing of that moment"))?;
    Ok(Past { view, jobs })
}

/// The packages that two versions have otherwise, by name.
fn differences(then: &[PackageView], now: &[PackageView]) -> Vec<Changed> {
    let key = |package: &PackageView| (package.name.clone(), package.arch);
    let said = |package: &PackageView| {
        show::release(&package.version, package.release, package.build_release)
    };
    let before: BTreeMap<_, &PackageView> = then.iter().map(|one| (key(one), one)).collect();
    let after: BTreeMap<_, &PackageView> = now.iter().map(|one| (key(one), one)).collect();
    let archs: BTreeSet<_> = now.iter().chain(then).map(|one| one.arch).collect();
    let all: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let changed = all.into_iter().filter_map(|key| {
        let (old, new) = (before.get(key), after.get(key));
        if old.map(|one| one.sha256) == new.map(|one| one.sha256) {
            return None;
        }
        let (name, arch) = key;
        Some(Changed {
            name: match archs.len() {
                0 | 1 => name.to_string(),
                _ => format!("{name} ({arch})"),
            },
            before: old.map(|one| said(one)),
            after: new.map(|one| said(one)),
        })
    });
    changed.collect()
}

/// Packages of a channel, in its newest version or in another one.
async fn packages(
    client: &mut Client,
    channel: &str,
    version: Option<VersionId>,
) -> Result<Vec<PackageView>> {
    let mut packages = Vec::new();
    let mut after = None;
    loop {
        let ask = vessel::PackageList {
            channel: channel.parse().ok(),
            version,
            text: None,
            after,
            limit: Some(rows()),
        };
        let page = client.call(&ask).await?;
        packages.extend(page.packages);
        after = page.next;
        if after.is_none() || packages.len() > limit::RECIPES_MAX {
            return Ok(packages);
        }
    }
}
