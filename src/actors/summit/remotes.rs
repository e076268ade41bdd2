//! Indexes and bases that dependencies may come from beside the farm's own channels.

use std::time::Duration;

use super::Msg;
use super::state::State;
use crate::fault::{Fault, Kind, Result};
use crate::limit;
use crate::model::{Base, Profile};
use crate::plan::Source;
use crate::stone::{Dependency, Meta};

impl State {
    /// Tells the planner of a profile, and looks at its base and its remotes in the background.
    pub fn know_profile(&mut self, profile: &Profile) {
        let below = self.farm.below(&profile.name);
        let below: Vec<Profile> = below
            .iter()
            .filter_map(|name| self.farm.profiles.get(name).cloned())
            .collect();
        self.planner.set_layer(profile, &below);
        let base = profile.base.clone();
        if self.bases.insert(base.to_string()) && base != Base::Stones {
            self.bases_pending += 1;
            let (me, dir) = (self.me.clone(), self.args.dir.clone());
            tokio::spawn(async move {
                let looked = crate::build::base::Base::from(&base);
                let read = tokio::task::spawn_blocking(move || {
                    crate::build::base::base_index(&looked, &dir)
                })
                .await;
                let provides = read.unwrap_or_else(|error| {
                    Err(Fault::bug("looking at a base broke off").because(&error))
                });
                // A summit that restarts looks again.
                me.cast(Msg::BaseRead { base, provides }).ok();
            });
        }
        for remote in &profile.remotes {
            let (me, uri, poll) = (self.me.clone(), remote.uri.clone(), self.args.poll);
            tokio::spawn(watch_remote(me, uri, poll));
        }
        let projects: Vec<_> = self.farm.projects.keys().cloned().collect();
        for project in projects {
            let rules = self.rules(&project);
            self.planner.set_project(&project, rules);
        }
        self.replan = true;
    }

    /// A base was looked at.
    pub fn base_read(&mut self, base: &Base, provides: Result<Vec<Dependency>>) {
        self.bases_pending = self.bases_pending.saturating_sub(1);
        match provides {
            Ok(provides) => {
                self.planner.set_base(&Source::base(base), &provides);
                self.faults.remove(&format!("base {base}"));
            }
            Err(fault) => {
                tracing::warn!(%base, %fault, "cannot look at the base");
                self.faults.insert(format!("base {base}"), fault);
            }
        }
        self.replan = true;
    }

    /// A remote index was read.
    pub fn remote_read(&mut self, uri: &str, packages: Result<Option<Vec<Meta>>>) {
        match packages {
            Ok(packages) => {
                self.faults.remove(&format!("remote {uri}"));
                if let Some(packages) = packages {
                    self.planner
                        .set_index(&Source::Remote(uri.to_string()), &packages);
                    self.replan = true;
                }
            }
            // What it held before stays known.
            Err(fault) => {
                tracing::warn!(uri, %fault, "cannot read a remote index");
                self.faults.insert(format!("remote {uri}"), fault);
            }
        }
    }
}

/// Reads a remote index now and then until summit is gone.
async fn watch_remote(me: ractor::ActorRef<Msg>, uri: String, poll: Duration) {
    let mut before = None;
    loop {
        let packages = match fetch(&uri).await {
            Ok(bytes) => {
                let hash = xxhash_rust::xxh3::xxh3_128(&bytes);
                if before == Some(hash) {
                    Ok(None)
                } else {
                    before = Some(hash);
                    crate::stone::repository::read(&bytes).map(Some)
                }
            }
            Err(fault) => Err(fault),
        };
        if me
            .cast(Msg::RemoteRead {
                uri: uri.clone(),
                packages,
            })
            .is_err()
        {
            return;
        }
        tokio::time::sleep(poll.max(Duration::from_secs(10))).await;
    }
}

async fn fetch(uri: &str) -> Result<Vec<u8>> {
    let failed = |error: &dyn std::error::Error| {
        Fault::new(Kind::Network, format!("cannot read {uri}")).because(error)
    };
    let too_large = || {
        Fault::new(
            Kind::Operator,
            format!("{uri} has more than {} bytes", limit::INDEX_BYTES_MAX),
        )
    };
    let path = uri
        .strip_prefix("file://")
        .or_else(|| uri.starts_with('/').then_some(uri));
    if let Some(path) = path {
        let size = tokio::fs::metadata(path)
            .await
            .map_err(|error| failed(&error))?
            .len();
        if size > limit::INDEX_BYTES_MAX as u64 {
            return Err(too_large());
        }
        return tokio::fs::read(path).await.map_err(|error| failed(&error));
    }
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(120))
        .build()
        .map_err(|error| failed(&error))?;
    let mut answer = client
        .get(uri)
        .send()
        .await
        .map_err(|error| failed(&error))?;
    answer
        .error_for_status_ref()
        .map_err(|error| failed(&error))?;
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| failed(&error))? {
        if bytes.len() + chunk.len() > limit::INDEX_BYTES_MAX {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The URL of a package as its index names it: absolute, from the server's root, or relative to the index.
pub fn resolve(index: &str, uri: &str) -> String {
    if uri.contains("://") {
        return uri.to_string();
    }
    let (scheme, rest) = index.split_once("://").unwrap_or(("file", index));
    let (server, path) = match scheme {
        "file" => ("", rest),
        _ => rest.find('/').map_or((rest, "/"), |at| rest.split_at(at)),
    };
    let mut parts: Vec<&str> = match uri.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => path.split('/').filter(|part| !part.is_empty()).collect(),
    };
    if !uri.starts_with('/') {
        parts.pop();
    }
    for part in uri.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("{scheme}://{server}/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::resolve;

    #[test]
    fn package_uris_resolve_as_urls_do() {
        let index = "http://h:1/main/history/3/x86_64/stone.index";
        for (uri, expected) in [
            (
                "pool/x.stone",
                "http://h:1/main/history/3/x86_64/pool/x.stone",
            ),
            (
                "../../../pool/v0/n/x.stone",
                "http://h:1/main/pool/v0/n/x.stone",
            ),
            ("../../../../../../x.stone", "http://h:1/x.stone"),
            ("/abs/x.stone", "http://h:1/abs/x.stone"),
            ("https://o/x.stone", "https://o/x.stone"),
        ] {
            assert_eq!(resolve(index, uri), expected);
        }
        assert_eq!(
            resolve("/srv/stone.index", "x.stone"),
            "file:///srv/x.stone"
        );
    }
}
