//! The example recipes build, in their order, over each other's packages.

use std::collections::BTreeMap;
use std::path::PathBuf;

use massif::build::emit;
use massif::stone::Meta;

use super::{Made, Rig, arch, recipes, texts};

#[tokio::test]
async fn the_chain_and_the_opened_cycle_build() {
    let mut rig = Rig::new();
    let seed = seed(&rig);
    let mut made: BTreeMap<&str, Made> = BTreeMap::new();
    for (dir, needs) in [
        ("t/tally", &[][..]),
        ("c/counts", &["tally"]),
        ("s/stencil", &[]),
        ("h/handbook", &["tally", "counts", "stencil"]),
        ("w/welcome", &[]),
    ] {
        let inputs: Vec<PathBuf> = needs.iter().flat_map(|name| made[*name].stones()).collect();
        let built = rig
            .build(&recipes("examples/recipes").join(dir), &inputs)
            .await
            .unwrap();
        made.insert(dir.split('/').nth(1).unwrap(), built);
    }
    let counts = texts(&made["counts"].package("counts").meta.depends);
    assert!(
        counts.contains(&"soname(libtally.so.1(x86_64))".to_owned()),
        "{counts:?}"
    );
    let welcome = texts(&made["welcome"].package("welcome").meta.depends);
    assert!(
        welcome.contains(&"binary(counts)".to_owned())
            && welcome.contains(&"name(handbook)".to_owned())
    );

    let hen = rig
        .build(&recipes("examples/recipes/h/hen"), &[seed])
        .await
        .unwrap();
    let egg = rig
        .build(&recipes("examples/recipes/e/egg"), &hen.stones())
        .await
        .unwrap();
    assert_eq!(egg.package("egg").meta.release, 2);
}

/// The older egg that comes from elsewhere.
fn seed(rig: &Rig) -> PathBuf {
    let meta = Meta {
        name: "egg".into(),
        version: "0.9.0".into(),
        release: 1,
        build_release: 1,
        arch: arch(),
        summary: "Hatches hens".into(),
        description: "An egg from elsewhere.".into(),
        source: "egg".into(),
        homepage: "https://example.org/egg".into(),
        licenses: vec!["Apache-2.0".into()],
        depends: Vec::new(),
        provides: vec!["binary(egg)".parse().unwrap()],
        conflicts: Vec::new(),
        build_depends: Vec::new(),
        uri: None,
        hash: None,
        size: None,
    };
    let script = recipes("examples/recipes/e/egg/pkg/egg");
    let artefact = emit::seed(&meta, "bin/egg", 0o755, &script, rig.dir.path()).unwrap();
    rig.dir.path().join(artefact.name)
}
