//! The four real upstreams, as the reference tool builds them.

use std::path::PathBuf;
use std::process::Command;

use super::{Made, Rig, recipes, shared, texts};

/// Holds the stones beside what the reference tool made of the same recipe.
fn assert_like_the_reference(made: &Made, name: &str) {
    let (Some(tools), Some(reference), Some(python)) = (
        shared("tools"),
        shared("data/reference"),
        crate::common::python::python(),
    ) else {
        return;
    };
    let summary = Command::new(python)
        .arg(tools.join("summarise.py"))
        .args(made.stones())
        .output()
        .unwrap();
    assert!(
        summary.status.success(),
        "{}",
        String::from_utf8_lossy(&summary.stderr)
    );
    let got = made.out.join("got.json");
    std::fs::write(&got, summary.stdout).unwrap();
    let expected = reference.join(name).join("expected.json");
    let same = Command::new(python)
        .arg(tools.join("compare.py"))
        .arg(expected)
        .arg(&got)
        .output()
        .unwrap();
    assert!(
        same.status.success(),
        "{}",
        String::from_utf8_lossy(&same.stdout)
    );
    let theirs = std::fs::read(reference.join(name).join("manifest.x86_64.bin")).unwrap();
    let ours = std::fs::read(made.out.join("manifest.x86_64.bin")).unwrap();
    let read = |bytes: &[u8]| massif::stone::manifest::read(bytes).unwrap();
    assert_eq!(read(&ours), read(&theirs));
    let text = |path: PathBuf| std::fs::read_to_string(path).unwrap();
    assert_eq!(
        text(made.out.join("manifest.x86_64.jsonc")),
        text(reference.join(name).join("manifest.x86_64.jsonc"))
    );
}

#[tokio::test]
async fn hello_is_what_the_reference_tool_makes_of_it() {
    if shared("data/upstreams").is_none() {
        return;
    }
    let mut rig = Rig::new();
    let made = rig
        .build(&recipes("tests/recipes/h/hello"), &[])
        .await
        .unwrap();
    assert_like_the_reference(&made, "hello");
}

#[tokio::test]
async fn xz_is_what_the_reference_tool_makes_of_it() {
    if shared("data/upstreams").is_none() {
        return;
    }
    let mut rig = Rig::new();
    let made = rig
        .build(&recipes("tests/recipes/x/xz"), &[])
        .await
        .unwrap();
    assert_like_the_reference(&made, "xz");
}

#[tokio::test]
async fn nano_is_built_against_the_ncurses_of_the_farm() {
    if shared("data/upstreams").is_none() {
        return;
    }
    let mut rig = Rig::new();
    let ncurses = rig
        .build(&recipes("tests/recipes/n/ncurses"), &[])
        .await
        .unwrap();
    let devel = texts(&ncurses.package("ncurses-devel").meta.provides);
    assert!(
        devel.contains(&"pkgconfig(ncursesw)".to_owned()),
        "{devel:?}"
    );
    let main = texts(&ncurses.package("ncurses").meta.provides);
    assert!(
        main.contains(&"soname(libncursesw.so.6(x86_64))".to_owned()),
        "{main:?}"
    );
    let stones: Vec<PathBuf> = ncurses
        .stones()
        .into_iter()
        .filter(|path| !path.to_string_lossy().contains("dbginfo"))
        .collect();
    let nano = rig
        .build(&recipes("tests/recipes/n/nano"), &stones)
        .await
        .unwrap();
    let depends = texts(&nano.package("nano").meta.depends);
    assert!(
        depends.contains(&"soname(libncursesw.so.6(x86_64))".to_owned()),
        "{depends:?}"
    );
    assert!(
        !depends.iter().any(|text| text.contains("libtinfo")),
        "{depends:?}"
    );
}
