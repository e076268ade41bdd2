//! `channel` and `package`.

use std::path::Path;

use super::Verdict;
use super::args;
use super::ask::{self, Host};
use super::out::{Out, Style, Table, Tone, cell, plain};
use super::show::{self, count, fault_text, moment};
use super::text;
use crate::admin::view::{ChannelVersionView, ChannelView, PackageDetail, PackageView, VerifyView};
use crate::admin::{summit, vessel};
use crate::fault::{Fault, Kind, Result};

/// A path as the host will find it: it does not run where we are.
pub(super) fn absolute(path: &Path) -> Result<String> {
    let whole = std::path::absolute(path).map_err(|error| {
        Fault::new(Kind::Usage, format!("{} is no path", path.display()))
            .because(&error)
            .next("give another one")
    })?;
    whole.into_os_string().into_string().map_err(|_| {
        Fault::new(Kind::Usage, format!("{} is not UTF-8", path.display()))
            .next("give it another name")
    })
}

pub(super) async fn channel(host: &Host, channel: &args::Channel, out: &Out) -> Result<Verdict> {
    match channel {
        args::Channel::List => {
            let channels = host.ask(&vessel::ChannelList {}).await?.channels;
            match out.style {
                Style::Json => out.value(&channels)?,
                Style::Ids => channels
                    .iter()
                    .for_each(|channel| out.line(channel.name.as_str())),
                Style::People => list_channels(&channels, out),
            }
        }
        args::Channel::Versions { name, limit } => {
            let ask = vessel::ChannelVersions {
                channel: name.clone(),
                after: None,
                limit: None,
            };
            let versions = ask::all(host, &ask, *limit).await?;
            match out.style {
                Style::Json => out.value(&versions)?,
                Style::Ids => versions
                    .iter()
                    .for_each(|version| out.line(version.id.to_string())),
                Style::People => list_versions(&versions, out),
            }
        }
        args::Channel::Rollback { name, to, reason } => {
            let ask = vessel::ChannelRollback {
                channel: name.clone(),
                to: *to,
                reason: reason.clone(),
            };
            let version = host.ask(&ask).await?.version;
            match out.style {
                Style::Json => out.value(&version)?,
                Style::Ids => out.line(version.id.to_string()),
                Style::People if version.id == *to => {
                    out.line(format!("{name} is at version {to} already; nothing changed"))
                }
                Style::People => out.line(format!(
                    "{name} is at version {} with the content of {to}; {} went back, and their recipes are held",
                    version.id, count(version.changed.len() as u64, "package")
                )),
            }
        }
        args::Channel::Policy {
            name,
            compare_idle,
            require_match,
        } => {
            let reply = match (compare_idle, require_match) {
                (Some(_), _) | (_, Some(_)) => {
                    let ask = summit::ChannelPolicy {
                        channel: name.clone(),
                        compare_idle: compare_idle.as_ref().map(|word| word == "on"),
                        require_match: *require_match,
                    };
                    host.ask(&ask).await?
                }
                (None, None) => {
                    let ask = summit::ChannelPolicyShow {
                        channel: name.clone(),
                    };
                    host.ask(&ask).await?
                }
            };
            match out.style {
                Style::Json => out.value(&reply.policy)?,
                Style::Ids => out.line(reply.policy.channel.as_str()),
                Style::People => {
                    let words = match reply.policy.compare_idle {
                        true => {
                            "on: builders with nothing to do rebuild what is published and compare"
                        }
                        false => "off",
                    };
                    out.field("channel", reply.policy.channel.as_str());
                    out.field("compare idle", words);
                    let needed = match reply.policy.require_match {
                        0 => "0: what one builder made is published".into(),
                        1 => "1: published is what another builder comes to too".into(),
                        more => {
                            format!("{more}: published is what so many other builders come to too")
                        }
                    };
                    out.field("require match", needed);
                    if let Some(lacks) = &reply.policy.lacks {
                        out.field("but", lacks);
                    }
                }
            }
        }
        args::Channel::Verify { name } => {
            let report = host
                .ask(&vessel::ChannelVerify {
                    channel: name.clone(),
                })
                .await?
                .report;
            return show_verified(&report, out);
        }
    }
    Ok(Verdict::Done)
}

fn list_channels(channels: &[ChannelView], out: &Out) {
    let mut table = Table::new()
        .column("channel")
        .number("version")
        .number("packages")
        .number("size")
        .words("streams")
        .words("clients use");
    for channel in channels {
        let streams: Vec<String> = channel
            .streams
            .iter()
            .chain(&channel.tags)
            .map(|(name, version)| format!("{name}={version}"))
            .collect();
        table.row([
            cell(&channel.name, Tone::Strong),
            plain(channel.version),
            plain(channel.packages),
            plain(text::bytes(channel.size)),
            plain(streams.join(" ")),
            plain(
                channel
                    .url
                    .as_deref()
                    .or(channel.path.as_deref())
                    .unwrap_or("?"),
            ),
        ]);
    }
    out.table(&table);
}

fn list_versions(versions: &[ChannelVersionView], out: &Out) {
    let mut table = Table::new()
        .number("version")
        .column("when")
        .number("packages")
        .words("cause")
        .words("names")
        .words("changed");
    for version in versions {
        let names: Vec<&str> = version
            .streams
            .iter()
            .chain(&version.tags)
            .map(String::as_str)
            .collect();
        table.row([
            cell(
                version.id,
                if version.served {
                    Tone::Plain
                } else {
                    Tone::Faint
                },
            ),
            plain(moment(version.at)),
            plain(version.packages),
            plain(&version.cause),
            plain(names.join(" ")),
            plain(version.changed.join(" ")),
        ]);
    }
    out.table(&table);
}

fn show_verified(report: &VerifyView, out: &Out) -> Result<Verdict> {
    match out.style {
        Style::Json => out.value(report)?,
        Style::Ids => out.line(report.version.to_string()),
        Style::People => {
            report
                .faults
                .iter()
                .for_each(|fault| out.toned(Tone::Bad, format!("! {}", fault_text(fault))));
            let tone = if report.ok { Tone::Good } else { Tone::Bad };
            let word = if report.ok { "is whole" } else { "is damaged" };
            out.toned(
                tone,
                format!(
                    "{} version {} {word}: {} and {} read",
                    report.channel,
                    report.version,
                    count(report.packages, "package"),
                    text::bytes(report.size)
                ),
            );
        }
    }
    Ok(if report.ok {
        Verdict::Done
    } else {
        Verdict::Negative
    })
}

pub(super) async fn package(host: &Host, package: &args::Package, out: &Out) -> Result<Verdict> {
    match package {
        args::Package::List {
            text,
            channel,
            version,
        } => {
            let ask = vessel::PackageList {
                channel: channel.clone(),
                version: *version,
                text: text.clone(),
                after: None,
                limit: None,
            };
            let packages = ask::all(host, &ask, None).await?;
            match out.style {
                Style::Json => out.value(&packages)?,
                Style::Ids => packages
                    .iter()
                    .for_each(|package| out.line(package.name.as_str())),
                Style::People => list_packages(&packages, out),
            }
        }
        args::Package::Show { name, channel } => {
            let found = host
                .ask(&vessel::PackageShow {
                    name: name.clone(),
                    channel: channel.clone(),
                })
                .await?;
            match out.style {
                Style::Json => out.value(&ask::joined(&found.package, &found.detail)?)?,
                Style::Ids => out.line(found.package.name.as_str()),
                Style::People => show_package(&found.package, &found.detail, out),
            }
        }
        args::Package::Import {
            files,
            base,
            channel,
        } => return import(host, files, base.as_deref(), channel.as_ref(), out).await,
    }
    Ok(Verdict::Done)
}

async fn import(
    host: &Host,
    files: &[std::path::PathBuf],
    base: Option<&str>,
    channel: Option<&crate::id::ChannelName>,
    out: &Out,
) -> Result<Verdict> {
    let words = format!("publishing {}", count(files.len() as u64, "file"));
    let kind = "package_import";
    let imported = match (base, files) {
        (Some(name), [dir]) => {
            let ask = vessel::PackageImportBase {
                name: name.to_owned(),
                dir: absolute(dir)?,
                channel: channel.cloned(),
            };
            super::wait::with_work(host, kind, &words, host.ask(&ask)).await?
        }
        (Some(_), _) => {
            return Err(Fault::new(Kind::Usage, "--base takes one directory")
                .next("write `package import --base NAME DIR`"));
        }
        (None, files) => {
            let files = files
                .iter()
                .map(|file| absolute(file))
                .collect::<Result<Vec<String>>>()?;
            let ask = vessel::PackageImport {
                files,
                channel: channel.cloned(),
            };
            super::wait::with_work(host, kind, &words, host.ask(&ask)).await?
        }
    };
    let import = imported.import;
    match out.style {
        Style::Json => out.value(&import)?,
        Style::Ids => import
            .added
            .iter()
            .for_each(|package| out.line(package.name.as_str())),
        Style::People => {
            list_packages(&import.added, out);
            out.line(match import.version {
                Some(version) => format!(
                    "{} published as version {version} of {}",
                    count(import.added.len() as u64, "package"),
                    import.channel
                ),
                None => format!(
                    "nothing to do: {} there already",
                    count(import.present, "package")
                ),
            });
        }
    }
    Ok(Verdict::Done)
}

fn list_packages(packages: &[PackageView], out: &Out) {
    if packages.is_empty() {
        return;
    }
    let mut table = Table::new()
        .column("package")
        .column("release")
        .column("arch")
        .column("source")
        .number("size")
        .words("summary");
    for package in packages {
        table.row([
            cell(&package.name, Tone::Strong),
            plain(show::release(
                &package.version,
                package.release,
                package.build_release,
            )),
            plain(package.arch),
            plain(&package.source),
            plain(text::bytes(package.size)),
            plain(&package.summary),
        ]);
    }
    out.table(&table);
}

fn show_package(package: &PackageView, detail: &PackageDetail, out: &Out) {
    out.field(
        "package",
        format!(
            "{} {} for {}",
            package.name,
            show::release(&package.version, package.release, package.build_release),
            package.arch
        ),
    );
    out.field("summary", &package.summary);
    out.field("about", detail.description.trim());
    out.field("source", &package.source);
    out.field("homepage", &detail.homepage);
    out.field("licences", detail.licenses.join(", "));
    out.field("channel", detail.channel.as_str());
    out.field(
        "since",
        detail
            .since
            .map(|version| format!("version {version}"))
            .unwrap_or_default(),
    );
    out.field(
        "made by",
        match (detail.job, detail.try_no) {
            (Some(job), Some(try_no)) => format!("job {job}, try {try_no}"),
            _ => "imported".into(),
        },
    );
    out.field(
        "file",
        format!("{} ({})", detail.path, text::bytes(package.size)),
    );
    out.field("sha256", package.sha256.to_string());
    out.field("provides", detail.provides.join("\n"));
    out.field("depends", detail.depends.join("\n"));
    out.field("conflicts", detail.conflicts.join("\n"));
}
