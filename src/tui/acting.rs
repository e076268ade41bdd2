//! Actions on their way to the host: each is one call, and a sentence about what came of it.

use super::ask::{Action, Reply};
use crate::admin::view::JobView;
use crate::admin::{host, summit, vessel};
use crate::fault::{Fault, Kind, Result};
use crate::id::{JobId, VersionId};
use crate::net::admin::Client;

/// Does something, and says in a sentence what came of it.
pub(super) async fn act(client: &mut Client, action: &Action) -> Result<Reply> {
    let said = match action {
        Action::Retry(job, _) => retry(client, *job).await?,
        Action::Cancel(job, _) => cancel(client, *job).await?,
        Action::Hold { job, reason, .. } => hold(client, *job, reason).await?,
        Action::Release(job, _) => release(client, *job).await?,
        Action::Raise(job, _, by) => raise(client, *job, *by).await?,
        Action::Build { recipe, rebuild } => build(client, recipe.as_deref(), *rebuild).await?,
        Action::Rollback {
            channel,
            to,
            reason,
        } => roll_back(client, channel, *to, reason).await?,
        Action::Refresh(project) => {
            let name = project.clone();
            client.call(&summit::ProjectRefresh { name }).await?;
            format!("the repository of {project} is looked at")
        }
        Action::Drain { builder, reason } => {
            let ask = summit::BuilderDrain {
                name: builder.clone(),
                deadline_s: None,
                reason: given(reason),
            };
            client.call(&ask).await?;
            format!("builder {builder} takes no new builds")
        }
        Action::Quarantine { builder, reason } => {
            let (name, reason) = (builder.clone(), given(reason));
            client
                .call(&summit::BuilderQuarantine { name, reason })
                .await?;
            format!("builder {builder} is in quarantine")
        }
        Action::Resume(builder) => {
            let name = builder.clone();
            client.call(&summit::BuilderResume { name }).await?;
            format!("builder {builder} takes builds again")
        }
        Action::ReleaseBuilder(builder) => {
            let name = builder.clone();
            client.call(&summit::BuilderRelease { name }).await?;
            format!("builder {builder} is released")
        }
        Action::Approve(peer) => approve(client, peer).await?,
        Action::Revoke(peer) => revoke(client, peer).await?,
        Action::Rename { peer, to } => rename(client, peer, to).await?,
        Action::TakeBack(id) => {
            let ticket = client.call(&host::TicketRevoke { id: id.clone() }).await?;
            format!("invitation {} is taken back", ticket.ticket.id)
        }
        Action::Run { .. } => return Err(Fault::bug("commands are run beside the connection")),
    };
    Ok(Reply::Done(said))
}

/// A reason, when somebody gave one.
fn given(reason: &str) -> Option<String> {
    Some(reason.to_owned()).filter(|reason| !reason.is_empty())
}

fn stands(job: &JobView) -> String {
    format!("job {} ({}) is {}", job.id, job.recipe, job.state.as_str())
}

async fn retry(client: &mut Client, job: JobId) -> Result<String> {
    let job = job.to_string();
    Ok(stands(&client.call(&summit::JobRetry { job }).await?.job))
}

async fn cancel(client: &mut Client, job: JobId) -> Result<String> {
    let ask = summit::JobCancel {
        job: job.to_string(),
        reason: None,
    };
    Ok(stands(&client.call(&ask).await?.job))
}

async fn hold(client: &mut Client, job: JobId, reason: &str) -> Result<String> {
    let ask = summit::JobHold {
        job: job.to_string(),
        reason: reason.to_owned(),
        expires_s: None,
    };
    let job = client.call(&ask).await?.job;
    Ok(format!("job {} ({}) is held", job.id, job.recipe))
}

async fn release(client: &mut Client, job: JobId) -> Result<String> {
    let job = job.to_string();
    let job = client.call(&summit::JobRelease { job }).await?.job;
    Ok(format!("job {} ({}) is released", job.id, job.recipe))
}

async fn raise(client: &mut Client, job: JobId, by: i64) -> Result<String> {
    let ask = summit::JobRaise {
        job: job.to_string(),
        by: Some(by),
    };
    let job = client.call(&ask).await?.job;
    let worth = job.priority.unwrap_or_default();
    Ok(format!(
        "job {} ({}) has priority {worth:.0}",
        job.id, job.recipe
    ))
}

async fn build(client: &mut Client, recipe: Option<&str>, rebuild: bool) -> Result<String> {
    let ask = summit::Build {
        names: recipe.iter().map(|name| (*name).to_owned()).collect(),
        all: Some(recipe.is_none()),
        rebuild: Some(rebuild),
        profile: None,
    };
    let builds = client.call(&ask).await?.builds;
    Ok(match builds.as_slice() {
        [] => "nothing is missing".to_owned(),
        [one] => one.text.clone(),
        several => format!("{} builds ordered", several.len()),
    })
}

async fn roll_back(
    client: &mut Client,
    channel: &str,
    to: VersionId,
    reason: &str,
) -> Result<String> {
    let ask = vessel::ChannelRollback {
        channel: channel.to_owned(),
        to,
        reason: given(reason),
    };
    let version = client.call(&ask).await?.version;
    Ok(format!(
        "{channel} is at version {}, with the content of {to}",
        version.id
    ))
}

async fn approve(client: &mut Client, peer: &str) -> Result<String> {
    let ask = host::PeerApprove {
        name: peer.to_owned(),
        trust: None,
    };
    let peer = client.call(&ask).await?.peer;
    Ok(format!(
        "{} belongs to the farm as {}",
        peer.name, peer.role
    ))
}

async fn revoke(client: &mut Client, peer: &str) -> Result<String> {
    let ask = host::PeerRevoke {
        name: peer.to_owned(),
        since: None,
    };
    let revoked = client.call(&ask).await?;
    let (name, made) = (&revoked.peer.name, revoked.made.len());
    Ok(format!(
        "{name} is shut out; {made} published builds came from it: massif peer revoke {name} lists them"
    ))
}

async fn rename(client: &mut Client, peer: &str, to: &str) -> Result<String> {
    let ask = host::PeerRename {
        name: peer.to_owned(),
        to: to
            .parse()
            .map_err(|error: crate::id::BadId| Fault::new(Kind::Usage, error.to_string()))?,
    };
    let renamed = client.call(&ask).await?.peer;
    Ok(format!("{peer} is called {} now", renamed.name))
}
