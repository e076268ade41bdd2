//! Projects, recipes and profiles: what the farm builds, and for what.

use crate::admin::views;
use crate::config::{isa_level, isa_word};
use crate::fault::{Fault, Kind, Place, Result};
use crate::id::{
    Arch, ChannelName, CommitId, Digest, JobId, ProfileName, ProjectName, RecipeName, Stamp,
};

use super::{HoldView, JobState};
use crate::model::{Executor, Profile, Remote};
use crate::recipe::Toolchain;

views! {
    /// Whose move an error is.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    #[zlink(rename_all = "snake_case")]
    pub enum FaultKind {
        /// The caller's words.
        Usage,
        /// Configuration, rights of a directory, a missing program.
        Operator,
        /// The recipe's author.
        Recipe,
        /// The builder.
        Builder,
        /// The network.
        Network,
        /// The upstream's server.
        Upstream,
        /// A host that does not answer.
        Unreachable,
        /// A right is missing.
        NotPermitted,
        /// The state moved on.
        Conflict,
        /// No such thing.
        NotFound,
        /// Not now.
        TryAgain,
        /// massif's authors.
        Bug,
    }

    /// A place in a file that a person wrote.
    #[derive(Eq)]
    pub struct PlaceView {
        /// The file.
        pub file: String,
        /// From 1; 0 when unknown.
        pub line: u32,
        /// From 1; 0 when unknown.
        pub column: u32,
    }

    /// One error: what happened, whose move it is, and the next step.
    #[derive(Eq)]
    pub struct FaultView {
        /// Whose move it is.
        pub kind: FaultKind,
        /// What happened.
        pub what: String,
        /// What caused it, outermost first.
        pub causes: Vec<String>,
        /// The next step; empty when none is known.
        pub next: String,
        /// Where in a file.
        pub place: Option<PlaceView>,
    }

    /// A repository of recipes.
    pub struct ProjectView {
        /// Its name here.
        pub name: ProjectName,
        /// Where it comes from.
        pub url: String,
        /// Its branch; null: the remote's default.
        pub branch: Option<String>,
        /// The commit that is built from; null before the first intake.
        pub commit: Option<CommitId>,
        /// That commit's first line.
        pub commit_title: Option<String>,
        /// When that commit was made.
        pub commit_at: Option<Stamp>,
        /// Recipes at that commit.
        pub recipes: u64,
        /// Those that cannot be read.
        pub faulty: u64,
        /// Intakes so far whose jobs are planned: rises by one with each look at the remote, whatever it brought.
        pub intakes: u64,
        /// The last look at the remote.
        pub last_poll: Option<Stamp>,
        /// Seconds to the next look.
        pub next_poll_s: Option<f64>,
        /// Why the last look failed.
        pub fault: Option<FaultView>,
        /// Set when so much came at once that nothing is built until somebody says so.
        pub confirm: Option<String>,
        /// When its recipes are built again: `default`, `none`, `direct` or `transitive`.
        pub rebuild: String,
        /// What was built before its provider, because of a cycle, is built once more.
        pub second_pass: bool,
        /// Its share of the builders beside other projects; 1 is normal.
        pub weight: u32,
        /// How far up it stands among projects that provide the same name; 0 is normal, the highest is taken.
        pub priority: i32,
    }

    /// One recipe, short.
    pub struct RecipeView {
        /// Its project.
        pub project: ProjectName,
        /// Its name.
        pub name: RecipeName,
        /// Its directory in the repository.
        pub dir: String,
        /// Its version; null when the recipe cannot be read.
        pub version: Option<String>,
        /// Its release; null when the recipe cannot be read.
        pub release: Option<u64>,
        /// One line.
        pub summary: String,
        /// SPDX ids.
        pub licenses: Vec<String>,
        /// What clients can install.
        pub published: Option<ReleaseView>,
        /// The newest job about it.
        pub job: Option<JobId>,
        /// Where that job stands.
        pub state: Option<JobState>,
        /// Why it cannot be read.
        pub fault: Option<FaultView>,
        /// Oddities that its author should know of.
        pub warnings: Vec<FaultView>,
        /// Nothing more is built of it until somebody asks for it by name: a rollback holds what went back.
        pub hold: Option<HoldView>,
    }

    /// A release of something.
    pub struct ReleaseView {
        /// Its version.
        pub version: String,
        /// Its release.
        pub release: u64,
        /// The farm's rebuild counter.
        pub build_release: u64,
        /// Where it is published.
        pub channel: ChannelName,
    }

    /// What a recipe asks of a builder, whatever was measured.
    pub struct ConstraintsView {
        /// Memory, in MiB.
        pub memory_mib: Option<u64>,
        /// Free disk, in MiB.
        pub disk_mib: Option<u64>,
        /// What the whole build may take.
        pub time_s: Option<u64>,
        /// Cores.
        pub cores: Option<u32>,
    }

    /// How long a whole build may take, or may do nothing.
    pub struct TimeLimitView {
        /// In seconds.
        pub time_s: u64,
        /// Who says so: `farm` (an operator decided), `recipe` (its `constraints.yaml`), `history` or `default`.
        pub from: String,
        /// The same in words.
        pub text: String,
    }

    /// What only `recipe show` tells.
    pub struct RecipeDetail {
        /// Some lines.
        pub description: String,
        /// A URL.
        pub homepage: String,
        /// What it is made from.
        pub upstreams: Vec<UpstreamView>,
        /// What it needs to build.
        pub needs: Vec<NeedView>,
        /// What it makes.
        pub packages: Vec<MakesView>,
        /// The project's groups that it belongs to.
        pub groups: Vec<String>,
        /// Empty: every architecture.
        pub architectures: Vec<Arch>,
        /// `llvm` or `gnu`; null: the profile's.
        pub toolchain: Option<String>,
        /// Its phases may reach the network.
        pub networking: bool,
        /// What `constraints.yaml` beside it asks of a builder; null: nothing.
        pub constraints: Option<ConstraintsView>,
        /// How long its next build may take; null: there is no profile.
        pub time_limit: Option<TimeLimitView>,
        /// After how long without output, processor time, reading and writing its next build is stalled; null: there is no profile.
        pub silence_limit: Option<TimeLimitView>,
        /// What its phases call: `cmake`, `meson`, `cargo`...
        pub build_systems: Vec<String>,
        /// Whether what its packages provide is known before it is built.
        pub from_manifest: bool,
        /// The last change of it.
        pub changed: Option<ChangeView>,
        /// Its last jobs, the newest first.
        pub jobs: Vec<JobId>,
    }

    /// One upstream.
    pub struct UpstreamView {
        /// `archive` or `git`.
        pub kind: String,
        /// Where it comes from.
        pub url: String,
        /// SHA-256 of an archive.
        pub sha256: Option<Digest>,
        /// The reference of a git repository.
        pub reference: Option<String>,
        /// Whether it is in this host's cache; null: not known.
        pub cached: Option<bool>,
    }

    /// One thing that a recipe needs to build.
    pub struct NeedView {
        /// What, as a dependency: `pkgconfig(zlib)`.
        pub dependency: String,
        /// `name`, `binary`, `pkgconfig`...
        pub kind: String,
        /// Why: `build`, `check`, `macro`, `toolchain`.
        pub origin: String,
        /// Where it comes from: `recipe`, `published`, `remote`, `base` or `nothing`.
        pub from: String,
        /// The recipe or package that provides it.
        pub provider: Option<String>,
    }

    /// One package that a recipe makes.
    pub struct MakesView {
        /// Its name.
        pub name: String,
        /// One line.
        pub summary: String,
        /// What it provides.
        pub provides: Vec<String>,
        /// What it needs at run time.
        pub depends: Vec<String>,
    }

    /// One commit that touched a recipe.
    pub struct ChangeView {
        /// The commit.
        pub commit: CommitId,
        /// Who.
        pub author: String,
        /// When.
        pub at: Stamp,
        /// Its first line.
        pub title: String,
        /// The rest of its message.
        pub body: String,
    }

    /// A build target.
    pub struct ProfileView {
        /// Its name.
        pub name: ProfileName,
        /// Architecture.
        pub arch: Arch,
        /// Instruction set level, such as `x86_64` or `x86_64-v3x`.
        pub isa: String,
        /// The compiler family for recipes that name none: `gnu` or `llvm`.
        pub toolchain: String,
        /// `native` or `boulder`.
        pub executor: String,
        /// `host`, `stones`, or the directory of a bootstrapped root.
        pub base: String,
        /// Where its packages are published.
        pub channel: ChannelName,
        /// Indexes that dependencies may come from, the most preferred first.
        pub remotes: Vec<RemoteView>,
        /// A phase that runs longer is given up, in seconds; null: the builder's own limit.
        pub phase_s_max: Option<u64>,
        /// Bytes that a log takes before only its tail is kept.
        pub log_bytes_max: u64,
        /// The compiler cache that its builds use where the build root has it: `ccache`; null: none.
        pub compiler_cache: Option<String>,
        /// Bytes that it may take in each slot of a builder; null: the program's own default.
        pub compiler_cache_bytes: Option<u64>,
    }

    /// An index that dependencies may come from.
    pub struct RemoteView {
        /// Its name.
        pub name: String,
        /// URL or file of its `stone.index`.
        pub url: String,
        /// The higher the sooner it is asked.
        pub priority: i32,
    }
}

impl From<&Profile> for ProfileView {
    fn from(profile: &Profile) -> ProfileView {
        ProfileView {
            name: profile.name.clone(),
            arch: profile.arch,
            isa: isa_word(profile.arch, profile.level),
            toolchain: match profile.toolchain {
                Toolchain::Llvm => "llvm".into(),
                Toolchain::Gnu => "gnu".into(),
            },
            executor: match profile.executor {
                Executor::Native => "native".into(),
                Executor::Boulder => "boulder".into(),
            },
            base: profile.base.to_string(),
            channel: profile.channel.clone(),
            remotes: profile
                .remotes
                .iter()
                .map(|remote| RemoteView {
                    name: remote.name.clone(),
                    url: remote.uri.clone(),
                    priority: remote.priority,
                })
                .collect(),
            phase_s_max: profile.phase_s_max,
            log_bytes_max: profile.log_bytes_max,
            compiler_cache: None,
            compiler_cache_bytes: None,
        }
    }
}

impl ProfileView {
    /// The profile that this describes.
    ///
    /// # Errors
    ///
    /// A word that is none of ours.
    pub fn to_profile(&self) -> Result<Profile> {
        let unknown = |what: &str, word: &str, known: &str| {
            Fault::new(Kind::Usage, format!("{word:?} is no {what}")).next(format!("use {known}"))
        };
        Ok(Profile {
            name: self.name.clone(),
            arch: self.arch,
            level: isa_level(self.arch, &self.isa)?,
            toolchain: match self.toolchain.as_str() {
                "llvm" => Toolchain::Llvm,
                "gnu" => Toolchain::Gnu,
                word => return Err(unknown("toolchain", word, "gnu or llvm")),
            },
            executor: match self.executor.as_str() {
                "native" => Executor::Native,
                "boulder" => Executor::Boulder,
                word => return Err(unknown("executor", word, "native or boulder")),
            },
            base: self
                .base
                .parse()
                .map_err(|error: crate::id::BadId| Fault::new(Kind::Usage, error.to_string()))?,
            channel: self.channel.clone(),
            remotes: self
                .remotes
                .iter()
                .map(|remote| Remote {
                    name: remote.name.clone(),
                    uri: remote.url.clone(),
                    priority: remote.priority,
                })
                .collect(),
            phase_s_max: self.phase_s_max,
            log_bytes_max: self.log_bytes_max,
        })
    }
}

impl From<Kind> for FaultKind {
    fn from(kind: Kind) -> FaultKind {
        match kind {
            Kind::Usage => FaultKind::Usage,
            Kind::Operator => FaultKind::Operator,
            Kind::Recipe => FaultKind::Recipe,
            Kind::Builder => FaultKind::Builder,
            Kind::Network => FaultKind::Network,
            Kind::Upstream => FaultKind::Upstream,
            Kind::Unreachable => FaultKind::Unreachable,
            Kind::NotPermitted => FaultKind::NotPermitted,
            Kind::Conflict => FaultKind::Conflict,
            Kind::NotFound => FaultKind::NotFound,
            Kind::TryAgain => FaultKind::TryAgain,
            Kind::Bug => FaultKind::Bug,
        }
    }
}

impl From<FaultKind> for Kind {
    fn from(kind: FaultKind) -> Kind {
        match kind {
            FaultKind::Usage => Kind::Usage,
            FaultKind::Operator => Kind::Operator,
            FaultKind::Recipe => Kind::Recipe,
            FaultKind::Builder => Kind::Builder,
            FaultKind::Network => Kind::Network,
            FaultKind::Upstream => Kind::Upstream,
            FaultKind::Unreachable => Kind::Unreachable,
            FaultKind::NotPermitted => Kind::NotPermitted,
            FaultKind::Conflict => Kind::Conflict,
            FaultKind::NotFound => Kind::NotFound,
            FaultKind::TryAgain => Kind::TryAgain,
            FaultKind::Bug => Kind::Bug,
        }
    }
}

impl From<&Fault> for FaultView {
    fn from(fault: &Fault) -> FaultView {
        FaultView {
            kind: fault.kind.into(),
            what: fault.what.clone(),
            causes: fault.causes.clone(),
            next: fault.next.clone(),
            place: fault.place.as_ref().map(|place| PlaceView {
                file: place.file.clone(),
                line: place.line,
                column: place.column,
            }),
        }
    }
}

impl From<FaultView> for Fault {
    fn from(view: FaultView) -> Fault {
        Fault {
            kind: view.kind.into(),
            what: view.what,
            causes: view.causes,
            next: view.next,
            place: view.place.map(|place| Place {
                file: place.file,
                line: place.line,
                column: place.column,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_survive_the_way_to_a_view_and_back() {
        let mut profile = Profile::laptop("p".parse().unwrap(), "main".parse().unwrap());
        assert_eq!(ProfileView::from(&profile).to_profile().unwrap(), profile);
        profile.executor = Executor::Boulder;
        profile.toolchain = Toolchain::Llvm;
        let mut view = ProfileView::from(&profile);
        assert_eq!(view.to_profile().unwrap(), profile);
        view.executor = "magic".into();
        assert_eq!(view.to_profile().unwrap_err().exit_code(), 2);
    }
}
