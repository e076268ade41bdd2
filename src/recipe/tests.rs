//! Tests against the recipes of a real distribution: `../shared/data/recipes/recipes.bundle`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use super::script::{Setting, scripts};
use super::tuning::Isa;
use super::*;

/// The directory of test data that the project does not carry; without it a test is skipped, unless `CI=true`.
pub(crate) fn shared() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared");
    let dir = PathBuf::from(std::env::var("MASSIF_SHARED").unwrap_or(beside.into()));
    let found = dir.join("data").is_dir();
    assert!(
        found || std::env::var("CI").as_deref() != Ok("true"),
        "../shared is missing"
    );
    if !found {
        println!("skipped: ../shared is missing");
    }
    found.then_some(dir)
}

/// Every recipe at the tip: its path in the repository and its text.
pub(crate) fn recipes(dir: &Path, shared: &Path) -> Vec<(String, String)> {
    let bundle = shared.join("data/recipes/recipes.bundle");
    let cloned = Command::new("git")
        .args(["clone", "-q"])
        .arg(bundle)
        .arg(dir)
        .status();
    assert!(cloned.unwrap().success());
    let mut found = Vec::new();
    for letter in std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        let Ok(entries) = std::fs::read_dir(letter) else {
            continue;
        };
        for entry in entries.map(|entry| entry.unwrap().path()) {
            if let Ok(text) = std::fs::read_to_string(entry.join("stone.yaml")) {
                let path = entry.strip_prefix(dir).unwrap().to_str().unwrap();
                found.push((format!("{path}/stone.yaml"), text));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn the_recipes_of_a_real_distribution_read_and_expand() {
    let Some(shared) = shared() else { return };
    let dir = tempfile::tempdir().unwrap();
    let texts = recipes(dir.path(), &shared);
    assert_eq!(texts.len(), 1558);
    let mut faults = BTreeMap::new();
    let mut warnings = BTreeMap::new();
    let mut good = Vec::new();
    let start = Instant::now();
    for (file, text) in &texts {
        let read = Recipe::parse(text, file)
            .and_then(|(recipe, warnings)| Ok((facts(&recipe, None, warnings)?, recipe)));
        match read {
            Ok(read) => good.push(read),
            Err(fault) => {
                *faults
                    .entry(fault.what.split(' ').next().unwrap().to_string())
                    .or_insert(0) += 1
            }
        }
    }
    println!("{} recipes and facts in {:?}", texts.len(), start.elapsed());
    for (facts, recipe) in &good {
        for warning in &facts.warnings {
            *warnings.entry(warning.what.clone()).or_insert(0) += 1;
        }
        let setting = Setting {
            isa: Isa::X86_64,
            toolchain: recipe.toolchain.unwrap_or(Toolchain::Llvm),
            jobs: 2,
            source_date_epoch: 0,
            unknown_flags: Default::default(),
        };
        scripts(recipe, &setting).unwrap();
    }
    // Four versions start with `r`, which the real tool refuses too; two git refs are a tag and a short id, which a
    // farm does not take because they can move.
    assert_eq!(
        faults,
        BTreeMap::from([("ref".into(), 2), ("version".into(), 4)])
    );
    // Six recipes say `tune`, which never meant anything; the others are slips of the pen.
    let told: Vec<(&str, i32)> = warnings
        .iter()
        .map(|(what, count)| (what.as_str(), *count))
        .collect();
    assert_eq!(
        told,
        [
            ("networking is `yes`, read as a boolean", 1),
            ("unknown key dependencies, ignored", 1),
            ("unknown key homepage, ignored", 1),
            ("unknown key setuptools, ignored", 1),
            ("unknown key test, ignored", 1),
            ("unknown key tune, ignored", 6),
        ]
    );
}
