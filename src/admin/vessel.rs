//! `io.massif.Vessel`: channels, their versions, and packages.

use super::view::{
    ChannelVersionView, ChannelView, ImportView, PackageDetail, PackageView, VerifyView,
};
use super::{facts, methods, replies};
use crate::id::{ChannelName, VersionId};

replies! {
    /// All channels.
    pub struct Channels {
        /// By name.
        pub channels: Vec<ChannelView>,
    }

    /// Some versions.
    pub struct Versions {
        /// The newest first.
        pub versions: Vec<ChannelVersionView>,
        /// Ask for the next page with this; null: there is none.
        pub next: Option<String>,
    }

    /// One version.
    pub struct Version {
        /// It.
        pub version: ChannelVersionView,
    }

    /// What a look at every file found.
    pub struct Verified {
        /// The report.
        pub report: VerifyView,
    }

    /// Some packages.
    pub struct Packages {
        /// By name.
        pub packages: Vec<PackageView>,
        /// Ask for the next page with this; null: there is none.
        pub next: Option<String>,
    }

    /// One package.
    pub struct Package {
        /// In short.
        pub package: PackageView,
        /// The rest.
        pub detail: PackageDetail,
    }

    /// What was imported.
    pub struct Imported {
        /// The report.
        pub import: ImportView,
    }
}

methods! {
    interface "io.massif.Vessel"

    /// All channels.
    ChannelList: View {} -> Channels;

    /// Versions of a channel, the newest first.
    ChannelVersions: View {
        /// Its name.
        channel: String,
        /// `next` of the page before.
        after: Option<String>,
        /// Rows at most.
        limit: Option<u32>,
    } -> Versions;

    /// Makes a new version with an older one's content, and holds the recipes whose packages went back.
    ChannelRollback: Operate {
        /// Its name.
        channel: String,
        /// The version whose content comes back.
        to: VersionId,
        /// Why.
        reason: Option<String>,
    } -> Version;

    /// Reads and hashes every file of the newest version.
    ChannelVerify: View slow {
        /// Its name.
        channel: String,
    } -> Verified;

    /// Packages of a channel by name.
    PackageList: View {
        /// Null: the default channel.
        channel: Option<ChannelName>,
        /// Null: the newest version.
        version: Option<VersionId>,
        /// Only those whose name or summary holds this text.
        text: Option<String>,
        /// `next` of the page before.
        after: Option<String>,
        /// Rows at most.
        limit: Option<u32>,
    } -> Packages;

    /// One package.
    PackageShow: View {
        /// Its name, or a dependency such as `soname(libz.so.1(x86_64))`: who provides it.
        name: String,
        /// Null: the default channel.
        channel: Option<ChannelName>,
    } -> Package;

    /// Publishes package files as one new version.
    PackageImport: Admin slow {
        /// Paths on this host.
        files: Vec<String>,
        /// Null: the default channel.
        channel: Option<ChannelName>,
    } -> Imported;

    /// Publishes one package that provides what a directory (a root file system) provides and the farm's recipes do not.
    PackageImportBase: Admin slow {
        /// The package's name.
        name: String,
        /// The root directory on this host.
        dir: String,
        /// Null: the default channel.
        channel: Option<ChannelName>,
    } -> Imported;
}
