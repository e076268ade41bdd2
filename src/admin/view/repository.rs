//! Channels, their versions, and packages.

use std::collections::BTreeMap;

use crate::admin::views;
use crate::id::{Arch, ChannelName, Digest, JobId, PackageName, Stamp, VersionId};

use super::FaultView;

views! {
    /// A published repository.
    pub struct ChannelView {
        /// Its name.
        pub name: ChannelName,
        /// Its newest version.
        pub version: VersionId,
        /// Packages in that version.
        pub packages: u64,
        /// Bytes of those packages.
        pub size: u64,
        /// Names that move, and where they point.
        pub streams: BTreeMap<String, u64>,
        /// Names that stay, and where they point.
        pub tags: BTreeMap<String, u64>,
        /// What a client is told to use.
        pub url: Option<String>,
        /// The directory that is served; null where another host keeps it.
        pub path: Option<String>,
    }

    /// One immutable state of a channel.
    pub struct ChannelVersionView {
        /// Its number.
        pub id: VersionId,
        /// The version that it was made from; null for the first.
        pub parent: Option<VersionId>,
        /// When.
        pub at: Stamp,
        /// Why: `attempt 17.1 (nano 7.2-1)`, `rollback to 3 by ann`, `import by root`, `created`.
        pub cause: String,
        /// Packages in it.
        pub packages: u64,
        /// Names of the packages that differ from its parent.
        pub changed: Vec<String>,
        /// Streams that point to it.
        pub streams: Vec<String>,
        /// Tags that point to it.
        pub tags: Vec<String>,
        /// Whether its files are served.
        pub served: bool,
    }

    /// One package.
    pub struct PackageView {
        /// Its name.
        pub name: PackageName,
        /// Its version.
        pub version: String,
        /// Its release.
        pub release: u64,
        /// The farm's rebuild counter.
        pub build_release: u64,
        /// Architecture.
        pub arch: Arch,
        /// The recipe that it was made from.
        pub source: String,
        /// SHA-256 of its file.
        pub sha256: Digest,
        /// Bytes of its file.
        pub size: u64,
        /// One line.
        pub summary: String,
    }

    /// What only `package show` tells.
    pub struct PackageDetail {
        /// The channel.
        pub channel: ChannelName,
        /// Some lines.
        pub description: String,
        /// A URL.
        pub homepage: String,
        /// SPDX ids.
        pub licenses: Vec<String>,
        /// What it provides.
        pub provides: Vec<String>,
        /// What it needs.
        pub depends: Vec<String>,
        /// What it cannot be installed beside.
        pub conflicts: Vec<String>,
        /// Where its file is, relative to the channel.
        pub path: String,
        /// The version of the channel that brought it.
        pub since: Option<VersionId>,
        /// The job that made it; null: imported.
        pub job: Option<JobId>,
        /// Which try of that job.
        pub try_no: Option<u32>,
    }

    /// What `package import` did.
    pub struct ImportView {
        /// The channel.
        pub channel: ChannelName,
        /// The version that holds them; null when all were there already.
        pub version: Option<VersionId>,
        /// What was added.
        pub added: Vec<PackageView>,
        /// How many were there already.
        pub present: u64,
    }

    /// What a look at every file of a channel found.
    pub struct VerifyView {
        /// Nothing is wrong.
        pub ok: bool,
        /// The channel.
        pub channel: ChannelName,
        /// The version that was looked at.
        pub version: VersionId,
        /// Packages that were read and hashed.
        pub packages: u64,
        /// Their bytes.
        pub size: u64,
        /// What is wrong.
        pub faults: Vec<FaultView>,
    }
}
