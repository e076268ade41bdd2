//! Errands to vessel: done at once where it is on this host, over its link where it is not. Owns nothing.

use std::path::PathBuf;
use std::sync::Arc;

use super::desk::{Inner, ask, ask_slowly, blocking};
use super::{post, summit, vessel};
use crate::fault::{Fault, Kind, Result};
use crate::id::{AttemptId, ChannelName};
use crate::limit;
use crate::model::{Artefact, BlobRef, Role, Who};
use crate::net::errand::{Done, Errand};

/// Lines of `channel verify` that travel.
const PROBLEMS_MAX: usize = 1_000;

/// Has it done by vessel, wherever that is.
pub async fn run(inner: &Arc<Inner>, errand: Errand) -> Result<Done> {
    let done = match inner.roles.contains(&Role::Vessel) {
        true => here(errand).await?,
        false => inner.links.errand(errand).await?,
    };
    match done {
        Done::Failed(fault) => Err(fault),
        done => Ok(done),
    }
}

/// Package files of this machine become one version of a channel.
pub async fn import(
    inner: &Arc<Inner>,
    channel: ChannelName,
    files: Vec<PathBuf>,
    by: Who,
) -> Result<Done> {
    if inner.roles.contains(&Role::Vessel) {
        return import_here(channel, files, by).await;
    }
    let (names, blobs) = {
        let files = files.clone();
        let named = |file: &PathBuf| file.display().to_string();
        let names: Vec<String> = files.iter().map(named).collect();
        (names, blocking(move || hash_all(&files)).await?)
    };
    // Vessel fetches them from here until this is over.
    let _offered = inner.links.offer(&blobs, &files);
    let files = names.into_iter().zip(blobs).collect();
    run(inner, Errand::Import { channel, files, by }).await
}

fn hash_all(files: &[PathBuf]) -> Result<Vec<BlobRef>> {
    files
        .iter()
        .map(|file| {
            vessel::fetch::check_package_file(file)?;
            let read = std::fs::File::open(file).and_then(vessel::fetch::hash_file);
            read.map_err(|error| {
                Fault::new(Kind::Operator, format!("cannot read {}", file.display()))
                    .because(&error)
            })
        })
        .collect()
}

/// What an attempt made, as far as vessel has it.
pub async fn artefacts(inner: &Arc<Inner>, attempt: AttemptId) -> Result<Vec<Artefact>> {
    if summit::tries::is_try(attempt.job) {
        // What another host made of it came here, and never to vessel.
        return ask(post::names::SUMMIT, |reply| {
            summit::Msg::TryMade(attempt.job, reply)
        })
        .await;
    }
    match run(inner, Errand::Artefacts { attempt }).await? {
        Done::Artefacts(artefacts) => Ok(artefacts),
        _ => Err(Fault::bug("vessel answered something else")),
    }
}

/// Has it done by the vessel of this host. Imports name blobs that are here by now.
pub async fn here(errand: Errand) -> Result<Done> {
    match errand {
        Errand::Import { .. } => Err(Fault::bug("files that were not fetched cannot be imported")),
        Errand::RollBack { channel, to, by } => {
            let done = ask_slowly(post::names::VESSEL, |reply| vessel::Message::RollBack {
                channel,
                to,
                by,
                reply,
            });
            done.await?.map(changed)
        }
        Errand::Verify { channel } => {
            let found = ask_slowly(post::names::VESSEL, |reply| {
                vessel::Message::Verify(channel, reply)
            })
            .await??;
            let vessel::Verified {
                versions,
                packages,
                bytes,
                mut problems,
            } = found;
            let more = problems.len().saturating_sub(PROBLEMS_MAX);
            if more > 0 {
                problems.truncate(PROBLEMS_MAX);
                problems.push(format!("and {more} more"));
            }
            for line in &mut problems {
                *line = line.chars().take(limit::FAULT_TEXT_BYTES_MAX / 4).collect();
            }
            Ok(Done::Verified {
                versions,
                packages,
                bytes,
                problems,
            })
        }
        Errand::Artefacts { attempt } => {
            let found = ask(post::names::VESSEL, |reply| {
                vessel::Message::Artefacts(attempt, reply)
            });
            found.await?.map(Done::Artefacts)
        }
    }
}

/// Files of this machine become one version of a channel that is kept here.
pub async fn import_here(channel: ChannelName, files: Vec<PathBuf>, by: Who) -> Result<Done> {
    let done = ask_slowly(post::names::VESSEL, |reply| vessel::Message::Import {
        channel,
        files,
        by,
        reply,
    });
    done.await?.map(changed)
}

fn changed(changed: vessel::Changed) -> Done {
    Done::Changed {
        version: changed.version,
        changed: changed.changed,
        sources: changed.sources,
    }
}
