//! What a recipe needs to build and what it will make: the short form that is planned with.

use std::collections::BTreeSet;

use super::macros::{actions_in, find_action};
use super::types::{PackageSpec, Recipe, Steps, Upstream};
use super::{Constraints, Facts, Need, NeedOrigin, PackageFacts, Toolchain, UpstreamFacts};
use crate::fault::{Fault, Kind, Result};
use crate::id::Arch;
use crate::stone::{Dependency, DependencyKind, Meta};

/// What is always in a build root, as dependency texts: the set that the distribution's own tool installs.
pub const BASE_SET: [&str; 23] = [
    "bash",
    "binary(git)",
    "binary(hx)",
    "binary(less)",
    "binary(nano)",
    "binary(ps)",
    "binary(rg)",
    "binary(vim)",
    "boulder",
    "coreutils",
    "dash",
    "diffutils",
    "findutils",
    "gawk",
    "glibc-devel",
    "grep",
    "layout",
    "libarchive",
    "linux-headers",
    "os-info",
    "pkgconf",
    "sed",
    "util-linux",
];

/// Endings of files that are unpacked, and so need the unpacker.
const ARCHIVE_ENDINGS: [&str; 8] = ["xz", "zst", "bz2", "gz", "lz", "tgz", "7z", "zip"];

/// The recipe in short. `manifest` is the metadata of the `manifest.<arch>.bin` beside it, `warnings` what reading it said.
/// A fault when a phase calls a macro that does not exist.
pub fn facts(
    recipe: &Recipe,
    manifest: Option<&[Meta]>,
    mut warnings: Vec<Fault>,
) -> Result<Facts> {
    let steps = recipe.steps_of("x86_64");
    let mut actions = BTreeSet::new();
    for (_, script) in scripts_of(&steps) {
        actions.extend(actions_in(script, &recipe.file)?);
    }
    if let Some(stale) = manifest.and_then(|manifest| stale(recipe, manifest)) {
        warnings.push(stale);
    }
    Ok(Facts {
        name: recipe.name.clone(),
        version: recipe.version.clone(),
        release: recipe.release,
        summary: recipe.main.summary.clone().unwrap_or_default(),
        description: recipe.main.description.clone().unwrap_or_default(),
        homepage: recipe.homepage.clone(),
        licenses: recipe.licenses.clone(),
        upstreams: recipe.upstreams.iter().map(upstream_facts).collect(),
        toolchain: recipe.toolchain,
        networking: recipe.options.networking,
        emul32: recipe.options.emul32,
        architectures: architectures(recipe),
        needs: needs(recipe, &steps, &actions),
        packages: match manifest {
            Some(manifest) => from_manifest(recipe, manifest),
            None => declared(recipe),
        },
        from_manifest: manifest.is_some(),
        build_systems: build_systems(&actions),
        warnings,
        constraints: Constraints::default(),
    })
}

/// What the compilers of a toolchain need; `emul32` adds the 32-bit target's. Needs of origin `NeedOrigin::Toolchain`.
pub fn toolchain_needs(toolchain: Toolchain, emul32: bool) -> Vec<Dependency> {
    use DependencyKind::{Binary, Name};
    let (always, only_32): (&[_], &[_]) = match toolchain {
        Toolchain::Llvm => (&[(Name, "clang")], &[(Name, "clang-32bit")]),
        Toolchain::Gnu => (
            &[(Binary, "g++"), (Binary, "gcc"), (Binary, "ld.bfd")],
            &[(Name, "gcc-32bit")],
        ),
    };
    let shared_32 = [(Name, "glibc-32bit-devel")];
    let on_top = only_32.iter().chain(&shared_32).filter(|_| emul32);
    always
        .iter()
        .chain(on_top)
        .map(|(kind, name)| Dependency::new(*kind, *name))
        .collect()
}

/// The scripts that a target's phases have, with their keys.
pub fn scripts_of(steps: &Steps) -> impl Iterator<Item = (&'static str, &super::types::Script)> {
    [
        ("environment", &steps.environment),
        ("setup", &steps.setup),
        ("build", &steps.build),
        ("install", &steps.install),
        ("check", &steps.check),
        ("workload", &steps.workload),
    ]
    .into_iter()
    .filter_map(|(key, script)| script.as_ref().map(|script| (key, script)))
}

/// Listed needs in the recipe's order, then those that actions and archives add, in the order of their texts.
fn needs(recipe: &Recipe, steps: &Steps, actions: &BTreeSet<&'static str>) -> Vec<Need> {
    let mut seen = BTreeSet::new();
    let mut needs = Vec::new();
    for (origin, listed) in [
        (NeedOrigin::Build, &steps.build_deps),
        (NeedOrigin::Check, &steps.check_deps),
    ] {
        for dependency in listed {
            if seen.insert(dependency.clone()) {
                needs.push(Need {
                    dependency: dependency.clone(),
                    origin,
                });
            }
        }
    }
    let mut added: BTreeSet<&str> = actions
        .iter()
        .filter_map(|name| find_action(name))
        .flat_map(|action| action.needs)
        .copied()
        .collect();
    if recipe.upstreams.iter().any(needs_unpacker) {
        added.insert("binary(bsdtar-static)");
    }
    for dependency in added
        .into_iter()
        .filter_map(|text| text.parse::<Dependency>().ok())
    {
        if seen.insert(dependency.clone()) {
            needs.push(Need {
                dependency,
                origin: NeedOrigin::Macro,
            });
        }
    }
    needs
}

fn needs_unpacker(upstream: &Upstream) -> bool {
    match upstream {
        Upstream::Archive(archive) => {
            archive.unpack
                && archive
                    .file_name
                    .rsplit_once('.')
                    .is_some_and(|(_, ending)| ARCHIVE_ENDINGS.contains(&ending))
        }
        Upstream::Git(_) => false,
    }
}

fn upstream_facts(upstream: &Upstream) -> UpstreamFacts {
    match upstream {
        Upstream::Archive(archive) => UpstreamFacts::Archive {
            url: archive.url.clone(),
            sha256: archive.sha256,
        },
        Upstream::Git(git) => UpstreamFacts::Git {
            url: git.url.clone(),
            reference: git.commit.to_string(),
        },
    }
}

/// `native` means whatever builds it, which is what an empty list means too; 32-bit targets are no architecture.
fn architectures(recipe: &Recipe) -> Vec<Arch> {
    if recipe.architectures.iter().any(|word| word == "native") {
        return Vec::new();
    }
    recipe
        .architectures
        .iter()
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// A manifest that was made from another release says little about this one.
fn stale(recipe: &Recipe, manifest: &[Meta]) -> Option<Fault> {
    let of = manifest.first()?;
    let same = of.source == recipe.name.as_str()
        && of.version == recipe.version
        && of.release == recipe.release;
    (!same).then(|| {
        let (source, version, release) = (&of.source, &of.version, of.release);
        Fault::new(
            Kind::Recipe,
            format!(
                "the manifest is of {source} {version}-{release}, the recipe is {} {}-{}",
                recipe.name, recipe.version, recipe.release
            ),
        )
        .next("commit the manifest that the build of this release made")
        .at(recipe.file.as_str(), 0, 0)
    })
}

fn from_manifest(recipe: &Recipe, manifest: &[Meta]) -> Vec<PackageFacts> {
    let mut packages: Vec<PackageFacts> = manifest
        .iter()
        .map(|meta| PackageFacts {
            name: meta.name.clone(),
            summary: meta.summary.clone(),
            provides: meta.provides.clone(),
            depends: meta.depends.clone(),
        })
        .collect();
    packages.sort_by_key(|package| package.name != recipe.name.as_str());
    packages
}

fn declared(recipe: &Recipe) -> Vec<PackageFacts> {
    let facts = |spec: &PackageSpec| PackageFacts {
        name: spec.name.clone(),
        summary: spec
            .summary
            .clone()
            .or_else(|| recipe.main.summary.clone())
            .unwrap_or_default(),
        provides: Vec::new(),
        depends: spec.run_deps.clone(),
    };
    let mut packages = vec![facts(&recipe.main)];
    for spec in &recipe.packages {
        match packages.iter_mut().find(|known| known.name == spec.name) {
            Some(main) => main.depends.extend(spec.run_deps.iter().cloned()),
            None => packages.push(facts(spec)),
        }
    }
    packages
}

fn build_systems(actions: &BTreeSet<&'static str>) -> Vec<String> {
    let word = |action: &&str| -> Option<&'static str> {
        let starts = [
            ("autogen", "autotools"),
            ("bazel", "bazel"),
            ("cargo", "cargo"),
            ("cmake", "cmake"),
            ("configure", "autotools"),
            ("gem", "gem"),
            ("go_mod", "go"),
            ("make", "make"),
            ("meson", "meson"),
            ("ninja", "ninja"),
            ("perl", "perl"),
            ("pyproject", "python"),
            ("python_setup", "python"),
            ("qmake", "qmake"),
            ("reconfigure", "autotools"),
        ];
        starts
            .into_iter()
            .find(|(start, _)| action.starts_with(start))
            .map(|(_, word)| word)
    };
    let words: BTreeSet<&str> = actions.iter().filter_map(word).collect();
    words.into_iter().map(str::to_string).collect()
}
