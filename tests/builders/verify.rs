//! What is done about a recipe's committed manifest when the distribution's own tool builds: nothing, a line, or the end.

use massif::build::boulder::{self, Tool, Verify};
use massif::build::native::{Built, Failure};
use massif::model::Blame;
use massif::model::say::ToolSpec;

use crate::native::{Rig, arch};

/// Builds a recipe that has a manifest with a tool that makes another one; how it ended, and the log. `--verify` compares as the
/// real tool does: a difference is code 1.
async fn build(verify: Verify, committed: &str) -> (Result<Built, Failure>, String) {
    let mut rig = Rig::new();
    let program = rig.dir.path().join("tool");
    let script = format!(
        r#"#!/bin/sh
set -eu
while [ $# -gt 0 ]; do
    case "$1" in
        -o) OUT=$2; shift;;
        --verify) COMMITTED=$2; shift;;
    esac
    shift
done
echo a package > "$OUT/x-1-1-1-{arch}.stone"
printf 'made here' > "$OUT/manifest.{arch}.bin"
if [ -n "${{COMMITTED:-}}" ]; then
    echo "verifying $COMMITTED"
    cmp "$COMMITTED" "$OUT/manifest.{arch}.bin" || exit 1
fi
"#,
        arch = arch()
    );
    crate::common::program(&program, &mut script.as_bytes());
    let recipe = rig.recipe("x", "install: |\n    true\n");
    let manifest = format!("manifest.{}.bin", arch());
    std::fs::write(recipe.join(manifest), committed).unwrap();
    let order = rig.order(&recipe, &[]);
    let tool = Tool {
        program: program.display().to_string(),
        verify,
    };
    let with = (&tool, &ToolSpec::default());
    let built = boulder::build(&rig.context(&order), &order, with, &|_| {}).await;
    let log = rig.log(&order);
    println!("{log}");
    (built, log)
}

const NOTE: &str = "the manifest differs from the committed one";

#[tokio::test]
async fn off_looks_at_no_manifest() {
    let (built, log) = build(Verify::Off, "committed").await;
    assert_eq!(built.unwrap().artefacts.len(), 2);
    assert!(!log.contains(NOTE) && !log.contains("verifying"), "{log}");
}

#[tokio::test]
async fn warn_says_a_difference_in_the_log_and_goes_on() {
    let (built, log) = build(Verify::Warn, "committed").await;
    assert_eq!(built.unwrap().artefacts.len(), 2);
    assert!(log.contains(NOTE) && !log.contains("verifying"), "{log}");
    let (built, log) = build(Verify::Warn, "made here").await;
    assert!(built.is_ok() && !log.contains(NOTE), "{log}");
}

#[tokio::test]
async fn require_ends_the_build_at_a_difference_and_only_there() {
    let (built, log) = build(Verify::Require, "committed").await;
    let failure = built.unwrap_err();
    assert_eq!(
        (failure.blame, failure.code),
        (Blame::Recipe, Some(1)),
        "{log}"
    );
    assert!(log.contains("verifying"), "{log}");
    let (built, log) = build(Verify::Require, "made here").await;
    assert!(built.is_ok(), "{log}");
}
