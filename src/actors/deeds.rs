//! What people want done with channels: rollbacks, imports, a look at every file. The deed is vessel's, wherever that is; what
//! goes with it (holds, the log of events) is summit's.

use std::sync::Arc;

use super::desk::{Inner, ask, blocking};
use super::shop::{find, find_or_first, package_view, version_view};
use super::{errands, post, summit, vessel};
use crate::admin::Caller;
use crate::admin::vessel::{ChannelRollback, PackageImport, PackageImportBase};
use crate::admin::view::{ChannelVersionView, FaultView, ImportView, PackageView, VerifyView};
use crate::channel::ChannelState;
use crate::fault::{Fault, Kind, Result};
use crate::id::{Arch, ChannelName, RecipeName, VersionId};
use crate::limit;
use crate::model::{BasePackage, Event, Hold, Role};
use crate::net::errand::{Done, Errand};
use crate::stone::Dependency;

/// Notes in the log of events what was done here. Without a summit on this host there is no log to note it in.
async fn note(caller: &Caller, event: Event) -> Result<()> {
    if post::find::<summit::Msg>(post::names::SUMMIT).is_none() {
        tracing::info!(?event, by = %caller.who(), "done here; the farm's summit is another host");
        return Ok(());
    }
    let who = caller.who();
    ask(post::names::SUMMIT, |reply| summit::Msg::Note {
        who,
        event: Box::new(event),
        reply,
    })
    .await?
}

/// The content of an older version becomes the newest; the recipes whose packages go back are held.
pub async fn roll_back(
    inner: &Arc<Inner>,
    caller: &Caller,
    wish: &ChannelRollback,
) -> Result<ChannelVersionView> {
    if !inner.roles.contains(&Role::Summit) {
        return Err(only_summit(
            inner,
            "a rollback also holds recipes",
            &format!("channel rollback {} --to {}", wish.channel, wish.to),
        ));
    }
    let view = inner.channels.borrow().clone();
    let state = find(&view, &wish.channel)?.clone();
    let channel = state.name.clone();
    let (by, to) = (caller.who(), wish.to);
    // The hold comes first: were it second, the recipes could be built again before they are held.
    let store = inner.store.clone();
    let sources = blocking(move || vessel::rows::would_go_back(&store, &state, to)).await?;
    let reason = wish
        .reason
        .clone()
        .unwrap_or_else(|| format!("rolled back to version {to} of {channel}"));
    let hold = Hold {
        owner: by.clone(),
        reason,
        since: super::now().wall,
        until: None,
    };
    hold_sources(&channel, sources.clone(), &hold).await?;
    let errand = Errand::RollBack {
        channel: channel.clone(),
        to,
        by,
    };
    let done = errands::run(inner, errand).await.and_then(changed);
    let changed = done.map_err(|fault| {
        fault.next("its recipes are held already: roll back again, or release each with `massif build NAME`")
    })?;
    // What was published between the look and the deed went back as well.
    let mut late = changed.sources;
    late.retain(|source| !sources.contains(source));
    if !late.is_empty() {
        hold_sources(&channel, late, &hold).await?;
    }
    // It had that content already: nothing happened.
    if changed.changed > 0 {
        let event = Event::RolledBack {
            channel: channel.clone(),
            version: changed.version,
            to,
        };
        note(caller, event).await?;
    }
    let state = shown(inner, &channel, changed.version).await?;
    Ok(version_view(&state, state.step(changed.version)?))
}

async fn hold_sources(channel: &ChannelName, sources: Vec<RecipeName>, hold: &Hold) -> Result<()> {
    ask(post::names::SUMMIT, |reply| summit::Msg::HoldSources {
        channel: channel.clone(),
        sources,
        hold: hold.clone(),
        reply,
    })
    .await?
}

/// What has to be asked of the host that decides, with the words for it.
fn only_summit(inner: &Inner, why: &str, command: &str) -> Fault {
    let name = super::owner::summit_name(inner);
    Fault::new(
        Kind::Conflict,
        format!("{why}, which only summit {name} may"),
    )
    .next(format!(
        "there: massif {command}; from elsewhere, as an operator of that farm: massif --host {name} {command}"
    ))
}

/// Reads every served file of a channel again.
pub async fn verify(inner: &Arc<Inner>, channel: &Arc<ChannelState>) -> Result<VerifyView> {
    let errand = Errand::Verify {
        channel: channel.name.clone(),
    };
    let Done::Verified {
        packages,
        bytes,
        problems,
        ..
    } = errands::run(inner, errand).await?
    else {
        return Err(Fault::bug("vessel answered something else"));
    };
    let faults: Vec<FaultView> = problems
        .into_iter()
        .map(|line| FaultView::from(&Fault::new(Kind::Operator, line)))
        .collect();
    Ok(VerifyView {
        ok: faults.is_empty(),
        channel: channel.name.clone(),
        version: channel.newest(),
        packages: u64::from(packages),
        size: bytes,
        faults,
    })
}

/// What vessel did, if it changed a channel.
fn changed(done: Done) -> Result<Changed> {
    match done {
        Done::Changed {
            version,
            changed,
            sources,
        } => Ok(Changed {
            version,
            changed,
            sources,
        }),
        Done::Verified { .. } | Done::Artefacts(_) | Done::Failed(_) => {
            Err(Fault::bug("vessel answered something else"))
        }
    }
}

struct Changed {
    version: VersionId,
    changed: u32,
    sources: Vec<RecipeName>,
}

/// The channel once vessel shows this version: its answer may come a moment before its view.
async fn shown(
    inner: &Inner,
    channel: &ChannelName,
    version: VersionId,
) -> Result<Arc<ChannelState>> {
    let mut view = inner.channels.clone();
    let has = |view: &vessel::View| {
        view.channels
            .get(channel)
            .is_some_and(|state| state.newest() >= version)
    };
    let waited = tokio::time::timeout(
        std::time::Duration::from_millis(limit::ASK_MS),
        view.wait_for(has),
    )
    .await;
    let late = || {
        Fault::new(
            Kind::TryAgain,
            format!("version {version} of {channel} is made, but not shown yet"),
        )
    };
    let found = waited.map_err(|_| late())?.map_err(|_| late())?;
    found.channels.get(channel).cloned().ok_or_else(late)
}

/// Package files of this machine become one version.
pub async fn import(
    inner: &Arc<Inner>,
    caller: &Caller,
    wish: &PackageImport,
) -> Result<ImportView> {
    if wish.files.is_empty() {
        return Err(Fault::new(Kind::Usage, "name the package files to import"));
    }
    let view = inner.channels.borrow().clone();
    let channel = find_or_first(&view, wish.channel.as_ref())?.clone();
    let files = wish.files.iter().map(Into::into).collect();
    import_files(inner, caller, &channel, files).await
}

async fn import_files(
    inner: &Arc<Inner>,
    caller: &Caller,
    channel: &Arc<ChannelState>,
    files: Vec<std::path::PathBuf>,
) -> Result<ImportView> {
    let (name, by, count) = (channel.name.clone(), caller.who(), files.len() as u64);
    let changed = changed(errands::import(inner, name.clone(), files, by).await?)?;
    if changed.changed == 0 {
        return Ok(ImportView {
            channel: name,
            version: None,
            added: Vec::new(),
            present: count,
        });
    }
    let state = shown(inner, &name, changed.version).await?;
    let step = state.step(changed.version)?;
    let added: Vec<PackageView> = step
        .edits
        .iter()
        .filter_map(|edit| state.packages.get(edit.arch, edit.name.as_str()))
        .map(|package| package_view(package))
        .collect();
    let names: Vec<&str> = added
        .iter()
        .map(|package| package.name.as_str())
        .take(8)
        .collect();
    let what = match added.len() {
        0..=8 => names.join(", "),
        more => format!("{} and {} more", names.join(", "), more - names.len()),
    };
    note(
        caller,
        Event::Imported {
            channel: name.clone(),
            version: changed.version,
            what,
        },
    )
    .await?;
    let present = count.saturating_sub(added.len() as u64);
    Ok(ImportView {
        channel: name,
        version: Some(changed.version),
        added,
        present,
    })
}

/// Issues the package that stands for a base.
pub async fn import_base(
    inner: &Arc<Inner>,
    caller: &Caller,
    wish: &PackageImportBase,
) -> Result<ImportView> {
    if !inner.roles.contains(&Role::Summit) {
        let command = format!("package import --base {}", wish.name);
        let why = "a base's package stands for what no recipe provides";
        return Err(only_summit(inner, why, &command));
    }
    let view = inner.channels.borrow().clone();
    let channel = find_or_first(&view, wish.channel.as_ref())?.clone();
    let name = wish
        .name
        .parse()
        .map_err(|error| Fault::new(Kind::Usage, format!("{error}")))?;
    let base = BasePackage {
        name,
        dir: wish.dir.clone(),
        channel: channel.name.clone(),
        arch: Arch::OF_THIS_PROGRAM,
    };
    let provided = ask(post::names::SUMMIT, summit::Msg::Provided).await?;
    let made = {
        let (inner, channel, wish) = (inner.clone(), channel.clone(), wish.clone());
        blocking(move || {
            crate::build::base_package::make(
                &inner.dir,
                &wish.name,
                wish.dir.as_ref(),
                &provided,
                next_release(&channel, &wish.name),
            )
        })
        .await?
    };
    let Some(file) = made else {
        return Ok(ImportView {
            channel: channel.name.clone(),
            version: None,
            added: Vec::new(),
            present: 1,
        });
    };
    let import = import_files(inner, caller, &channel, vec![file.to_path_buf()]).await?;
    note(caller, Event::BaseDeclared { base }).await?;
    Ok(import)
}

/// Issues the packages that stand for a base again, where what they have to provide changed: a recipe that came to provide
/// something must not meet a second provider in a client.
pub async fn issue_bases_again(inner: &Arc<Inner>) -> Result<()> {
    let (uid, gid) = (
        nix::unistd::geteuid().as_raw(),
        nix::unistd::getegid().as_raw(),
    );
    let caller = Caller {
        uid,
        gid,
        pid: 0,
        right: crate::admin::Right::Admin,
        name: "farm".into(),
        key: None,
    };
    for base in ask(post::names::SUMMIT, summit::Msg::BasePackages).await? {
        let wish = PackageImportBase {
            name: base.name.to_string(),
            dir: base.dir,
            channel: Some(base.channel),
        };
        import_base(inner, &caller, &wish).await?;
    }
    Ok(())
}

/// The release that the next package of this name must have, with the provides of the present one.
fn next_release(channel: &ChannelState, name: &str) -> (u64, Option<Vec<Dependency>>) {
    let present = channel.packages.get(Arch::OF_THIS_PROGRAM, name);
    (
        present.map_or(1, |package| package.meta.release + 1),
        present.map(|package| package.meta.provides.clone()),
    )
}
