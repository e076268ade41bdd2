//! Questions and wishes about channels and packages. Questions are answered from what this host knows of vessel's channels;
//! wishes are `deeds`.

use std::sync::Arc;

use super::desk::{Inner, blocking};
use super::{deeds, summit, vessel};
use crate::admin::vessel::{
    Call, Channels, Imported, Package, PackageList, PackageShow, Packages, Verified, Version,
    Versions,
};
use crate::admin::view::{ChannelVersionView, ChannelView, PackageDetail, PackageView};
use crate::admin::{Caller, Method, Reply};
use crate::channel::{Cause, ChannelState, PackageMap, PublishedPackage, Step};
use crate::fault::{Fault, Kind, Result};
use crate::id::{ChannelName, VersionId};
use crate::limit;
use crate::model::Role;
use crate::stone::Dependency;

/// Answers a call about channels and packages.
pub async fn answer(inner: &Arc<Inner>, caller: &Caller, call: Call) -> Result<Reply> {
    let view = inner.channels.borrow().clone();
    if !inner.roles.contains(&Role::Vessel) && !inner.roles.contains(&Role::Summit) {
        return Err(super::owner::elsewhere(inner));
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
            let version = deeds::roll_back(inner, caller, &wish).await?;
            wish.reply(&Version { version })
        }
        Call::ChannelVerify(wish) => {
            let channel = find(&view, &wish.channel)?.clone();
            let report = deeds::verify(inner, &channel).await?;
            wish.reply(&Verified { report })
        }
        Call::PackageList(wish) => wish.reply(&packages(inner, &view, &wish).await?),
        Call::PackageShow(wish) => wish.reply(&package(&view, &wish)?),
        Call::PackageImport(wish) => {
            let import = deeds::import(inner, caller, &wish).await?;
            wish.reply(&Imported { import })
        }
        Call::PackageImportBase(wish) => {
            let import = deeds::import_base(inner, caller, &wish).await?;
            wish.reply(&Imported { import })
        }
    }
}

pub(super) fn find<'a>(view: &'a vessel::View, name: &str) -> Result<&'a Arc<ChannelState>> {
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
pub(super) fn find_or_first<'a>(
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
        url: match inner.roles.contains(&Role::Vessel) {
            true => inner.http.map(|address| format!("http://{address}")),
            false => inner.links.served(),
        },
        path: inner.roles.contains(&Role::Vessel).then(|| {
            let public = inner.dir.join("public");
            public.join(channel.name.as_str()).display().to_string()
        }),
    }
}

pub(super) fn version_view(channel: &ChannelState, step: &Step) -> ChannelVersionView {
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

pub(super) fn package_view(package: &PublishedPackage) -> PackageView {
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

async fn packages(inner: &Inner, view: &vessel::View, wish: &PackageList) -> Result<Packages> {
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
            let (store, channel) = (inner.store.clone(), channel.clone());
            blocking(move || vessel::rows::packages_at(&store, &channel, version)).await?
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
