//! Tests of `script`.

use std::process::Command;

use super::*;
use crate::recipe::tests::shared;

fn setting(jobs: u32) -> Setting {
    Setting {
        isa: Isa::X86_64,
        toolchain: Toolchain::Gnu,
        jobs,
        source_date_epoch: 1_795_294_849,
        unknown_flags: BTreeSet::new(),
    }
}

const RECIPE: &str =
    "name: a\nversion: 1.10\nrelease: 1\nhomepage: x\nlicense: MIT\nsummary: s\ndescription: d\n";

fn recipe(more: &str) -> Recipe {
    Recipe::parse(&format!("{RECIPE}{more}"), "a/stone.yaml")
        .unwrap()
        .0
}

/// The reference was made with two jobs; ours say `auto`, for the reason that `tuning` opens with, and name a seed.
#[test]
fn the_environment_is_that_of_the_reference_tool() {
    let Some(shared) = shared() else { return };
    for name in ["hello", "xz"] {
        let dir = shared.join("data/reference").join(name);
        let text = std::fs::read_to_string(dir.join("stone.yaml")).unwrap();
        let (recipe, warnings) = Recipe::parse(&text, name).unwrap();
        assert!(warnings.is_empty());
        let env = scripts(&recipe, &setting(2)).unwrap().env;
        for line in std::fs::read_to_string(dir.join("environment.txt"))
            .unwrap()
            .lines()
        {
            let (key, value) = line.split_once('=').unwrap();
            if key == "SOURCE_DATE_EPOCH" {
                continue;
            }
            let value = value.trim_matches('\'').replace("-flto=2", "-flto=auto");
            let seed = format!(" -frandom-seed={}-{}", recipe.name, recipe.version);
            let ours = env.get(key).map(|ours| ours.replace(&seed, ""));
            assert_eq!(ours, Some(value), "{key}");
        }
    }
}

#[test]
fn the_environment_does_not_depend_on_the_number_of_cores() {
    let recipe = recipe("build: |\n    %make\n");
    let [one, four] = [1, 4].map(|jobs| scripts(&recipe, &setting(jobs)).unwrap());
    assert_eq!(one.env, four.env);
    assert_ne!(one.phases, four.phases);
}

#[test]
fn phases_come_in_order_behind_the_environment_script() {
    let recipe = recipe(
        "check: |\n    %make check\ninstall: |\n    %cargo_install\n    true\nenvironment: |\n    export A=%(version)\n",
    );
    let scripts = scripts(&recipe, &setting(3)).unwrap();
    assert_eq!(scripts.work_dir, "/mason/build/x86_64");
    let phases: Vec<Phase> = scripts.phases.iter().map(|phase| phase.phase).collect();
    assert_eq!(phases, [Phase::Install, Phase::Check]);
    assert_eq!(
        scripts.phases[1].text,
        "set -o errexit -o pipefail -o nounset\nset -o xtrace\nexport A=1.10\nmake VERBOSE=1 V=1 -j \"3\" check\n"
    );
    assert!(scripts.phases[0].text.contains("cargo_install() {"));
}

#[test]
fn a_profile_of_the_target_replaces_its_phases() {
    let recipe = recipe(
        "build: a\nsetup: s\nprofiles:\n    - x86_64:\n        build: b\n    - emul32:\n        build: c\n",
    );
    let texts: Vec<String> = scripts(&recipe, &setting(1))
        .unwrap()
        .phases
        .into_iter()
        .map(|p| p.text)
        .collect();
    assert!(
        texts[0].ends_with("\ns\n") && texts[1].ends_with("\nb\n"),
        "{texts:?}"
    );
}

/// Every expanded action must at least be read by bash, and the functions must do their work under all the options.
#[test]
fn bash_understands_every_action() {
    let names = crate::recipe::macros::table::ACTIONS
        .iter()
        .map(|action| action.name);
    let all: String = names.map(|name| format!("    %{name}\n")).collect();
    let recipe = recipe(&format!("build: |\n{all}"));
    let text = &scripts(&recipe, &setting(2)).unwrap().phases[0].text;
    let read = Command::new("bash")
        .args(["-n", "-c", text])
        .output()
        .unwrap();
    assert!(
        read.status.success(),
        "{}",
        String::from_utf8_lossy(&read.stderr)
    );
}

#[test]
fn functions_work_under_all_the_shell_options() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = recipe(
        "build: |\n    %tmpfiles \"d /run/a 0755 - - -\"\n    %tmpfiles '' \n    %cargo_install\n    %cargo_install b c\n",
    );
    let root = dir.path().to_str().unwrap();
    let text = scripts(&recipe, &setting(2)).unwrap().phases[0]
        .text
        .replace("/mason/install", root);
    let from = dir.path().join("target/x86_64-unknown-linux-gnu/release");
    std::fs::create_dir_all(&from).unwrap();
    for name in ["a", "b", "c"] {
        std::fs::write(from.join(name), name).unwrap();
    }
    let ran = Command::new("bash")
        .args(["-c", &text])
        .current_dir(&dir)
        .output()
        .unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let conf = std::fs::read_to_string(dir.path().join("usr/lib/tmpfiles.d/a.conf")).unwrap();
    assert_eq!(conf, "d /run/a 0755 - - -\n\n");
    for name in ["a", "b", "c"] {
        assert!(dir.path().join("usr/bin").join(name).is_file());
    }
}
