//! A recipe as values: what `stone.yaml` says, checked, with the places that faults will point at. Reading is in `yaml`.

use super::Toolchain;
use crate::id::{CommitId, Digest, RecipeName};
use crate::stone::Dependency;

/// One `stone.yaml`, checked. Texts are as written but for package fields, whose `%(name)` and kin are filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The file as its author knows it; every later fault names it.
    pub file: String,
    /// Source name and name of the main package.
    pub name: RecipeName,
    /// As written in the source (`1.10` stays `1.10`); starts with a digit.
    pub version: String,
    /// From 1.
    pub release: u64,
    /// A URL.
    pub homepage: String,
    /// SPDX ids in the order written.
    pub licenses: Vec<String>,
    /// Archives and git repositories in the order written.
    pub upstreams: Vec<Upstream>,
    /// Scripts and build needs of every target.
    pub steps: Steps,
    /// What single targets have instead or on top: target name (`emul32`, `x86_64`) and its steps.
    pub profiles: Vec<(String, Steps)>,
    /// The main package, named like the recipe.
    pub main: PackageSpec,
    /// Sub-packages in the order written.
    pub packages: Vec<PackageSpec>,
    /// Architectures or targets as written; empty means the host's.
    pub architectures: Vec<String>,
    /// Switches of the compiler flag groups, in the order written.
    pub tuning: Vec<Tuning>,
    /// `None`: the profile decides.
    pub toolchain: Option<Toolchain>,
    /// The remaining switches.
    pub options: Options,
}

/// The boolean keys of a recipe, with the format's defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Phases may reach the network.
    pub networking: bool,
    /// The 32-bit target is built too, and first.
    pub emul32: bool,
    /// Link with mold.
    pub mold: bool,
    /// Split debug information into files of its own.
    pub debug: bool,
    /// Strip ELF files.
    pub strip: bool,
    /// Drop libtool's `.la` files.
    pub lastrip: bool,
    /// Context-sensitive profile-guided optimisation.
    pub cspgo: bool,
    /// Sample-based profile-guided optimisation.
    pub samplepgo: bool,
    /// Compress manuals and info pages.
    pub compressman: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            networking: false,
            emul32: false,
            mold: false,
            debug: true,
            strip: true,
            lastrip: true,
            cspgo: false,
            samplepgo: false,
            compressman: false,
        }
    }
}

/// Scripts of the phases and what they need in the build root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Steps {
    /// Put before every phase.
    pub environment: Option<Script>,
    /// Configures.
    pub setup: Option<Script>,
    /// Compiles.
    pub build: Option<Script>,
    /// Installs below the install root.
    pub install: Option<Script>,
    /// Tests.
    pub check: Option<Script>,
    /// Exercises the program for profile-guided builds.
    pub workload: Option<Script>,
    /// `builddeps`.
    pub build_deps: Vec<Dependency>,
    /// `checkdeps`.
    pub check_deps: Vec<Dependency>,
}

/// The text of a phase and where it stands in the recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// As written, macros unexpanded.
    pub text: String,
    /// Line of the recipe that holds the first line of `text`, from 1.
    pub line: u32,
}

/// One package that the recipe declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageSpec {
    /// Its name.
    pub name: String,
    /// `None`: as the recipe's.
    pub summary: Option<String>,
    /// `None`: as the recipe's.
    pub description: Option<String>,
    /// Added to the detected depends.
    pub run_deps: Vec<Dependency>,
    /// Regular expressions that drop detected depends, on the text form.
    pub run_deps_exclude: Vec<String>,
    /// Regular expressions that drop detected provides, on the text form.
    pub provides_exclude: Vec<String>,
    /// Files that belong to it.
    pub paths: Vec<PathRule>,
    /// Conflicts records.
    pub conflicts: Vec<Dependency>,
    /// Line of the recipe, from 1.
    pub line: u32,
}

/// A glob that takes files into a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRule {
    /// The glob, absolute (`/usr/share/doc`); a directory takes everything below it.
    pub glob: String,
    /// What kind of file it takes.
    pub kind: PathKind,
}

/// What a path rule takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PathKind {
    /// Everything.
    #[default]
    Any,
    /// Regular files that may be executed.
    Exe,
    /// Symbolic links.
    Symlink,
    /// Devices, pipes, sockets.
    Special,
}

/// Where sources come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstream {
    /// An archive or a plain file.
    Archive(Archive),
    /// A git repository at a commit.
    Git(GitSource),
}

/// An archive or plain file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// http, https or file.
    pub url: String,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// Its name in the source directory: `rename`, else the last segment of the URL.
    pub file_name: String,
    /// Leading path components that unpacking drops.
    pub strip_dirs: u32,
    /// Whether it is unpacked before the phases.
    pub unpack: bool,
    /// Directory below the build root that it is unpacked into: `unpackdir`, else the file's name.
    pub directory: String,
}

/// A git repository at a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitSource {
    /// http, https, file or ssh.
    pub url: String,
    /// What is checked out.
    pub commit: CommitId,
    /// Its name in the source directory: the last segment of the URL.
    pub file_name: String,
    /// Directory below the build root: `clonedir` or `unpackdir`, else `file_name`.
    pub directory: String,
}

/// One switch of a flag group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tuning {
    /// The group (`lto`).
    pub group: String,
    /// What it is set to.
    pub setting: Setting,
    /// Line of the recipe, from 1.
    pub line: u32,
}

/// What a flag group is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// On, with its default choice.
    On,
    /// Off.
    Off,
    /// One of its choices (`full`).
    Choice(String),
}

impl Recipe {
    /// The steps of one target: those of the recipe, replaced phase by phase by the target's own; needs are added up.
    pub fn steps_of(&self, target: &str) -> Steps {
        let mut steps = self.steps.clone();
        for (_, own) in self.profiles.iter().filter(|(name, _)| name == target) {
            for (slot, script) in [
                (&mut steps.environment, &own.environment),
                (&mut steps.setup, &own.setup),
                (&mut steps.build, &own.build),
                (&mut steps.install, &own.install),
                (&mut steps.check, &own.check),
                (&mut steps.workload, &own.workload),
            ] {
                if script.is_some() {
                    slot.clone_from(script);
                }
            }
            steps.build_deps.extend(own.build_deps.iter().cloned());
            steps.check_deps.extend(own.check_deps.iter().cloned());
        }
        steps
    }

    /// The name below the build root of the directory that the phases start in: of the first upstream that is unpacked;
    /// empty when there is none, which means the build root itself.
    pub fn work_directory(&self) -> &str {
        self.upstreams
            .iter()
            .find_map(|upstream| match upstream {
                Upstream::Archive(archive) => archive.unpack.then_some(archive.directory.as_str()),
                Upstream::Git(git) => Some(git.directory.as_str()),
            })
            .unwrap_or("")
    }
}
