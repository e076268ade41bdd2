//! The examples do what they say: the farm inside a program, the script that reads one, the recipes of the demo.

use std::path::Path;
use std::process::{Command, Stdio};

use super::common::farm::{Farm, MASSIF};
use super::common::python::python;
use super::common::repo::Repo;
use super::ring::script_recipe;

#[test]
fn a_program_can_carry_a_farm_inside() {
    // Cargo builds examples with the tests, beside the program.
    let example = Path::new(MASSIF)
        .parent()
        .unwrap()
        .join("examples/all_in_one");
    let mut repo = Repo::new();
    repo.write("a/alpha/stone.yaml", script_recipe("alpha", 1, ""));
    repo.commit("Add alpha");
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(example)
        .arg(dir.path().join("farm"))
        .arg(repo.url())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.starts_with("ready admin="), "{text}");
    assert!(text.contains("is version 2 of main"), "{text}");
}

#[test]
fn the_script_reads_a_farm_through_its_socket() {
    let Some(python) = python() else { return };
    let mut repo = Repo::new();
    repo.write("a/alpha/stone.yaml", script_recipe("alpha", 1, ""));
    repo.commit("Add alpha");
    let farm = Farm::start();
    farm.ok(&["project", "add", "test", &repo.url()]);
    farm.published("alpha");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/admin.py");
    let output = Command::new(python)
        .arg(script)
        .arg(farm.dir())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("alpha"), "{text}");
}

#[test]
fn the_demo_publishes_everything_and_leaves_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let farm = dir.path().join("farm");
    for round in ["first", "second"] {
        let output = Command::new(MASSIF)
            .arg("demo")
            .arg("--dir")
            .arg(&farm)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{round}: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(
            text.contains("11 packages are published") && text.contains("moss -D ROOT"),
            "{round}: {text}"
        );
    }
    assert!(farm.join("public/main/moss-root-index.json").exists());
}

#[test]
fn the_demo_carries_every_example_recipe() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/recipes");
    let mut found = Vec::new();
    let mut open = vec![root.clone()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path
                    .strip_prefix(&root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_string();
                found.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    let carried: Vec<(String, Vec<u8>)> = massif::host::demo::EXAMPLES
        .iter()
        .map(|(path, content)| (path.to_string(), content.to_vec()))
        .collect();
    assert_eq!(found, carried);
}
