//! Questions and wishes about channels and packages. Questions are answered from vessel's view; wishes go to vessel, and
//! what they did is noted in summit's log of events.

use std::sync::Arc;

use super::desk::{Inner, ask, ask_slowly, blocking};
use super::{post, summit, vessel};
use crate::admin::vessel::{
    Call, ChannelRollback, Channels, Imported, Package, PackageImport, PackageImportBase,
    PackageList, PackageShow, Packages, Verified, Version, Versions,
};
use crate::admin::view::{
    ChannelVersionView, ChannelView, FaultView, ImportView, PackageDetail, PackageView, VerifyView,
};
use crate::admin::{Caller, Method, Reply};
use crate::channel::{Cause, ChannelState, PackageMap, PublishedPackage, Step};
use crate::fault::{Fault, Kind, Result};
use crate::id::{Arch, ChannelName, HostName, VersionId};
use crate::limit;
use crate::model::{BasePackage, Event, Hold, Role};
use crate::stone::Dependency;

/// Answers a call about channels and packages.
pub async fn answer(inner: &Arc<Inner>, caller: &Caller, call: Call) -> Result<Reply> {
    let view = inner.channels.borrow().clone();
    if !inner.roles.contains(&Role::Vessel) && needs_vessel(&call) {
        let vessel = inner.links.vessel().and_then(|id| inner.links.name_of(&id));
        let name = vessel.as_ref().map_or("another host", HostName::as_str);
        return Err(Fault::new(
            Kind::Conflict,
            format!("the files of this channel are kept by {name}"),
        )
        .next(match call {
            Call::ChannelRollback(_) => {
                "only a host that decides and publishes rolls back; build an older commit".into()
            }
            _ => format!("run this command on {name}, with its --dir"),
        }));
    }
    match call {
        Call::ChannelList(wish) => {
            let channels = view
                .channels
                .values()
                .map(|channel| channel_view(inner, channel))
                .collect();
            wish.reply(&Channels { channels })
        }
        Call::ChannelVersions(wish) => {
            let channel = find(&view, &wish.channel)?;
            let before = match &wish.after {
                Some(text) => text
                    .parse::<VersionId>()
                    .map_err(|error| Fault::new(Kind::Usage, error.to_string()))?,
                None => VersionId(u64::MAX),
            };
            let max = wish.limit.map_or(limit::ADMIN_PAGE_ROWS_MAX, |rows| {
                (rows as usize).clamp(1, limit::ADMIN_PAGE_ROWS_MAX)
            });
            let mut older = channel
                .steps
                .iter()
                .rev()
                .filter(|step| step.version.id < before);
            let versions: Vec<_> = older
                .by_ref()
                .take(max)
                .map(|step| version_view(channel, step))
                .collect();
            let next = older
                .next()
                .and(versions.last())
                .map(|version| version.id.to_string());
            wish.reply(&Versions { versions, next })
        }
        Call::ChannelRollback(wish) => {
            let version = roll_back(inner, caller, &wish).await?;
            wish.reply(&Version { version })
        }
        Call::ChannelVerify(wish) => {
            let channel = find(&view, &wish.channel)?.clone();
            let name = channel.name.clone();
            // Reading a whole channel takes as long as its disk needs, so this question has no deadline of the usual kind.
            let vessel = post::find(post::names::VESSEL)
                .ok_or_else(|| Fault::new(Kind::TryAgain, "vessel is not running on this host"))?;
            let found = vessel
                .call(|reply| vessel::Message::Verify(name.clone(), reply), None)
                .await;
            let found = match found {
                Ok(ractor::rpc::CallResult::Success(found)) => found?,
                Ok(_) | Err(_) => {
                    return Err(Fault::new(
                        Kind::TryAgain,
                        "vessel stopped while it was reading",
                    ));
                }
            };
            let faults: Vec<FaultView> = found
                .problems
                .iter()
                .map(|line| FaultView::from(&Fault::new(Kind::Operator, line.clone())))
                .collect();
            let report = VerifyView {
                ok: faults.is_empty(),
                channel: name,
                version: channel.newest(),
                packages: u64::from(found.packages),
                size: found.bytes,
                faults,
            };
            wish.reply(&Verified { report })
        }
        Call::PackageList(wish) => wish.reply(&packages(&view, &wish).await?),
        Call::PackageShow(wish) => wish.reply(&package(&view, &wish)?),
        Call::PackageImport(wish) => {
            let import = import(inner, caller, &wish).await?;
            wish.reply(&Imported { import })
        }
        Call::PackageImportBase(wish) => {
            let import = import_base(inner, caller, &wish).await?;
            wish.reply(&Imported { import })
        }
    }
}

/// Whether a call is about files, and not only about what is known of them.
fn needs_vessel(call: &Call) -> bool {
    matches!(
        call,
        Call::ChannelRollback(_)
            | Call::ChannelVerify(_)
            | Call::PackageImport(_)
            | Call::PackageImportBase(_)
    )
}

fn find<'a>(view: &'a vessel::View, name: &str) -> Result<&'a Arc<ChannelState>> {
    let found = view
        .channels
        .iter()
        .find(|(known, _)| known.as_str() == name);
    found.map(|(_, channel)| channel).ok_or_else(|| {
        summit::lookup::unknown(
            "channel",
            name,
            view.channels.keys().map(ChannelName::as_str),
            "massif channel list",
        )
    })
}

/// The channel of this name, or the first one.
fn find_or_first<'a>(
    view: &'a vessel::View,
    name: Option<&ChannelName>,
) -> Result<&'a Arc<ChannelState>> {
    match name {
        Some(name) => find(view, name.as_str()),
        None => view.channels.values().next().ok_or_else(|| {
            Fault::new(Kind::NotFound, "there is no channel yet")
                .next("a profile makes one: massif profile list")
        }),
    }
}

fn channel_view(inner: &Inner, channel: &ChannelState) -> ChannelView {
    let mut streams: std::collections::BTreeMap<String, u64> = channel
        .streams
        .iter()
        .map(|(name, version)| (name.clone(), version.0))
        .collect();
    streams.insert(crate::channel::VOLATILE.into(), channel.newest().0);
    ChannelView {
        name: channel.name.clone(),
        version: channel.newest(),
        packages: channel.packages.len() as u64,
        size: channel
            .packages
            .iter()
            .map(|package| package.file.size)
            .sum(),
        streams,
        tags: channel
            .tags
            .iter()
            .map(|(name, version)| (name.clone(), version.0))
            .collect(),
        url: inner.http.map(|address| format!("http://{address}")),
        path: inner
            .dir
            .join("public")
            .join(channel.name.as_str())
            .display()
            .to_string(),
    }
}

fn version_view(channel: &ChannelState, step: &Step) -> ChannelVersionView {
    let id = step.version.id;
    ChannelVersionView {
        id,
        parent: step.version.parent,
        at: step.version.at,
        cause: step.version.cause.to_string(),
        packages: u64::from(step.version.packages),
        changed: step
            .edits
            .iter()
            .map(|edit| edit.name.to_string())
            .collect(),
        streams: channel.streams_at(id).into_iter().map(Into::into).collect(),
        tags: channel.tags_at(id).into_iter().map(Into::into).collect(),
        served: channel.served().contains(&id),
    }
}

fn package_view(package: &PublishedPackage) -> PackageView {
    PackageView {
        name: package.name.clone(),
        version: package.meta.version.clone(),
        release: package.meta.release,
        build_release: package.meta.build_release,
        arch: package.meta.arch,
        source: package.source.to_string(),
        sha256: package.file.sha256,
        size: package.file.size,
        summary: package.meta.summary.clone(),
    }
}

async fn packages(view: &vessel::View, wish: &PackageList) -> Result<Packages> {
    let channel = match find_or_first(view, wish.channel.as_ref()) {
        Ok(channel) => channel,
        Err(_) if wish.channel.is_none() => {
            return Ok(Packages {
                packages: Vec::new(),
                next: None,
            });
        }
        Err(fault) => return Err(fault),
    };
    let listed = match wish.version {
        Some(version) if version != channel.newest() => {
            let name = channel.name.clone();
            ask(post::names::VESSEL, |reply| {
                vessel::Message::PackagesAt(name, version, reply)
            })
            .await??
        }
        Some(_) | None => channel.packages.clone(),
    };
    Ok(page(&listed, wish))
}

/// The packages that the wish asks for, from where it left off.
fn page(listed: &PackageMap, wish: &PackageList) -> Packages {
    let max = wish.limit.map_or(limit::ADMIN_PAGE_ROWS_MAX, |rows| {
        (rows as usize).clamp(1, limit::ADMIN_PAGE_ROWS_MAX)
    });
    let key = |package: &PublishedPackage| format!("{} {}", package.name, package.meta.arch);
    let text = wish.text.as_ref().map(|text| text.to_lowercase());
    let mut rows: Vec<_> = listed
        .iter()
        .filter(|package| {
            text.as_ref().is_none_or(|text| {
                package.name.as_str().contains(text.as_str())
                    || package.meta.summary.to_lowercase().contains(text.as_str())
            })
        })
        .filter(|package| {
            wish.after
                .as_ref()
                .is_none_or(|after| key(package) > *after)
        })
        .collect();
    rows.sort_by_cached_key(|package| key(package));
    let next = (rows.len() > max)
        .then(|| rows.get(max - 1).map(|package| key(package)))
        .flatten();
    rows.truncate(max);
    Packages {
        packages: rows
            .into_iter()
            .map(|package| package_view(package))
            .collect(),
        next,
    }
}

fn package(view: &vessel::View, wish: &PackageShow) -> Result<Package> {
    let channel = find_or_first(view, wish.channel.as_ref())?;
    let wanted: Option<Dependency> = wish
        .name
        .contains('(')
        .then(|| wish.name.parse().ok())
        .flatten();
    let found = match &wanted {
        Some(wanted) => channel
            .packages
            .iter()
            .find(|package| package.meta.provides.contains(wanted))
            .cloned(),
        None => channel
            .packages
            .iter()
            .find(|package| package.name.as_str() == wish.name)
            .cloned(),
    };
    let package = found.ok_or_else(|| {
        let known = channel.packages.iter().map(|package| package.name.as_str());
        summit::lookup::unknown("package", &wish.name, known, "massif package list")
    })?;
    let brought = channel.steps.iter().rev().find(|step| {
        step.edits
            .iter()
            .any(|edit| edit.name == package.name && edit.after == Some(package.file.sha256))
    });
    let attempt = brought.and_then(|step| match &step.version.cause {
        Cause::Built { attempt, .. } => Some(*attempt),
        Cause::Created | Cause::Imported { .. } | Cause::RolledBack { .. } => None,
    });
    let texts =
        |dependencies: &[Dependency]| dependencies.iter().map(ToString::to_string).collect();
    let detail = PackageDetail {
        channel: channel.name.clone(),
        description: package.meta.description.clone(),
        homepage: package.meta.homepage.clone(),
        licenses: package.meta.licenses.clone(),
        provides: texts(&package.meta.provides),
        depends: texts(&package.meta.depends),
        conflicts: texts(&package.meta.conflicts),
        path: package.pool.clone(),
        since: brought.map(|step| step.version.id),
        job: attempt.map(|attempt| attempt.job),
        try_no: attempt.map(|attempt| attempt.try_no),
    };
    Ok(Package {
        package: package_view(&package),
        detail,
    })
}

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

async fn roll_back(
    inner: &Arc<Inner>,
    caller: &Caller,
    wish: &ChannelRollback,
) -> Result<ChannelVersionView> {
    let view = inner.channels.borrow().clone();
    let state = find(&view, &wish.channel)?;
    let (channel, before) = (state.name.clone(), state.newest());
    let (by, to) = (caller.who(), wish.to);
    // The hold comes first: were it second, the recipes could be built again before they are held.
    let sources = ask(post::names::VESSEL, |reply| {
        vessel::Message::WouldGoBack(channel.clone(), to, reply)
    })
    .await??;
    let reason = wish
        .reason
        .clone()
        .unwrap_or_else(|| format!("rolled back to version {to} of {channel}"));
    ask(post::names::SUMMIT, |reply| summit::Msg::HoldSources {
        channel: channel.clone(),
        sources,
        hold: Hold {
            owner: by.clone(),
            reason,
            since: super::now().wall,
            until: None,
        },
        reply,
    })
    .await??;
    let changed = ask(post::names::VESSEL, |reply| vessel::Message::RollBack {
        channel: channel.clone(),
        to,
        by,
        reply,
    })
    .await?
    .map_err(|fault| {
        fault.next("its recipes are held already: roll back again, or release each with `massif build NAME`")
    })?;
    // It had that content already: nothing happened.
    if changed.version != before {
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

async fn import(inner: &Arc<Inner>, caller: &Caller, wish: &PackageImport) -> Result<ImportView> {
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
    let changed = ask_slowly(post::names::VESSEL, |reply| vessel::Message::Import {
        channel: name.clone(),
        files,
        by,
        reply,
    })
    .await??;
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

async fn import_base(
    inner: &Arc<Inner>,
    caller: &Caller,
    wish: &PackageImportBase,
) -> Result<ImportView> {
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
