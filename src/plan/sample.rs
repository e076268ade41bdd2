//! Small farms for tests: recipes, packages and targets in a line each.

use std::sync::Arc;

use super::{Edges, Planner, ProjectRules, Rebuild, Source};
use crate::id::{Arch, CommitId, Digest, ProfileName};
use crate::model::{Catalog, Entry, Profile, Reading, Target};
use crate::recipe::{Constraints, Facts, Need, NeedOrigin, PackageFacts};
use crate::stone::{Dependency, Meta};

/// Dependencies from their texts.
pub fn deps(texts: &[&str]) -> Vec<Dependency> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// A recipe of release 1 that makes one package of its name. A need with a `%` before it is a macro's.
pub fn recipe(name: &str, needs: &[&str], provides: &[&str]) -> Facts {
    let need = |text: &&str| Need {
        dependency: text.trim_start_matches('%').parse().unwrap(),
        origin: match text.starts_with('%') {
            true => NeedOrigin::Macro,
            false => NeedOrigin::Build,
        },
    };
    Facts {
        name: name.parse().unwrap(),
        version: "1.0".into(),
        release: 1,
        summary: String::new(),
        description: String::new(),
        homepage: String::new(),
        licenses: Vec::new(),
        upstreams: Vec::new(),
        toolchain: None,
        networking: false,
        emul32: false,
        architectures: Vec::new(),
        needs: needs.iter().map(need).collect(),
        packages: vec![PackageFacts {
            name: name.into(),
            summary: String::new(),
            provides: deps(provides),
            depends: Vec::new(),
        }],
        from_manifest: true,
        build_systems: Vec::new(),
        warnings: Vec::new(),
        constraints: Constraints::default(),
    }
}

/// A catalog of project `p`; a recipe's tree follows from its facts' text, so that a changed one has another.
pub fn catalog(recipes: &[Facts]) -> Catalog {
    let entry = |(place, facts): (usize, &Facts)| {
        let first = recipes.iter().position(|other| other.name == facts.name);
        let dir = match first == Some(place) {
            true => format!("x/{}", facts.name),
            false => format!("x/{}-{place}", facts.name),
        };
        let mut tree = [0u8; 20];
        for (at, byte) in format!("{facts:?}").bytes().enumerate() {
            tree[at % 20] = tree[at % 20].wrapping_mul(31).wrapping_add(byte);
        }
        Arc::new(Entry {
            dir,
            tree: CommitId(tree),
            text: CommitId(tree),
            reading: Reading::Good(Box::new(facts.clone())),
        })
    };
    Catalog {
        project: "p".parse().unwrap(),
        commit: CommitId([1; 20]),
        entries: recipes.iter().enumerate().map(entry).collect(),
    }
}

/// A published package of a recipe of its name.
pub fn meta(name: &str, release: u64, provides: &[&str], depends: &[&str]) -> Meta {
    Meta {
        name: name.into(),
        version: "1.0".into(),
        release,
        build_release: 1,
        arch: Arch::X86_64,
        summary: String::new(),
        description: String::new(),
        source: name.into(),
        homepage: String::new(),
        licenses: Vec::new(),
        depends: deps(depends),
        provides: deps(provides),
        conflicts: Vec::new(),
        build_depends: Vec::new(),
        uri: Some(format!("{name}.stone")),
        hash: Some(Digest([name.len() as u8; 32])),
        size: Some(100),
    }
}

/// The profile `main` on x86_64.
pub fn profile() -> Profile {
    let mut profile = Profile::laptop("main".parse().unwrap(), "main".parse().unwrap());
    profile.arch = Arch::X86_64;
    profile
}

/// Where `main` publishes.
pub fn channel() -> Source {
    Source::channel(&profile())
}

/// A target in project `p` and profile `main`.
pub fn target(recipe: &str) -> Target {
    Target {
        project: "p".parse().unwrap(),
        recipe: recipe.parse().unwrap(),
        profile: "main".parse::<ProfileName>().unwrap(),
    }
}

/// A planner that knows profile `main`, project `p` and these recipes. The base provides `binary(sh)` and a compiler.
pub fn planner(recipes: &[Facts]) -> Planner {
    let mut planner = Planner::new(Edges::All);
    planner.set_profile(&profile());
    planner.set_project(
        &"p".parse().unwrap(),
        ProjectRules {
            profiles: vec!["main".parse().unwrap()],
            chosen: Default::default(),
            priority: 0,
            rebuild: Rebuild::Broken,
            second_pass: false,
        },
    );
    let mut base = deps(&["binary(sh)"]);
    base.extend(crate::recipe::toolchain_needs(
        crate::recipe::Toolchain::Gnu,
        false,
    ));
    planner.set_base(&Source::base(&profile().base), &base);
    planner.set_catalog(&catalog(recipes));
    planner
}
