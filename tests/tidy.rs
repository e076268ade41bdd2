//! Rules of the tree that no compiler checks: layers, first lines, sizes, words.

use std::fs;
use std::path::{Path, PathBuf};

/// Files and folders directly under `src/` that are core: each may name those before it, and its own.
const CORE: &[&str] = &[
    "limit", "id", "fault", "stone", "recipe", "health", "model", "config", "plan", "channel",
    "compare", "admin", "snapshot",
];
/// What each part of the shell may name beside the core.
const SHELL: &[(&str, &[&str])] = &[
    ("store", &["store"]),
    ("net", &["net"]),
    ("build", &["build"]),
    ("actors", &["actors", "store", "net", "build"]),
    ("tui", &["tui", "net", "cli"]),
    ("cli", &["cli", "net", "tui", "host", "build", "actors"]),
];
/// What the core may not touch.
const WORLD: &[&str] = &[
    "tokio::",
    "sled::",
    "ractor::",
    "gix::",
    "nix::",
    "rustix::",
    "reqwest::",
    "tracing::",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::env::",
    "std::process",
    "std::thread::sleep",
    "SystemTime::now",
    "Instant::now",
];
/// Longer files ask to be two.
const LINES_MAX: usize = 800;

fn sources(dir: &str) -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((path.clone(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(dir), &mut found);
    found.sort();
    found
}

/// The name of the part of the tree that a file belongs to.
fn part(path: &Path) -> String {
    let relative = path
        .strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
        .unwrap();
    let first = relative
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_str()
        .unwrap();
    first.trim_end_matches(".rs").to_string()
}

/// Code lines without comments and without the tests at the end of a file.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let tests = text.find("\n#[cfg(test)]\nmod ").unwrap_or(text.len());
    text[..tests]
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
}

/// Parts of this crate that a file names.
fn named(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in code(text) {
        for piece in line.split("crate::").skip(1) {
            let group = piece.strip_prefix('{').unwrap_or(piece);
            let word: String = group
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            found.push(word);
        }
    }
    found
}

#[test]
fn layers_are_kept() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        let own = part(&path);
        let allowed: Vec<&str> = match (
            CORE.iter().position(|name| *name == own),
            SHELL.iter().find(|(name, _)| *name == own),
        ) {
            (Some(place), _) => CORE[..=place].to_vec(),
            (None, Some((_, others))) => CORE.iter().chain(others.iter()).copied().collect(),
            (None, None) => continue,
        };
        for name in named(&text) {
            let is_part = CORE.contains(&name.as_str())
                || SHELL.iter().any(|(part, _)| *part == name)
                || name == "host";
            if is_part && !allowed.contains(&name.as_str()) {
                wrong.push(format!("{}: {own} may not name {name}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_core_touches_nothing_of_the_world() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        if CORE.contains(&part(&path).as_str()) && !path.ends_with("tests.rs") {
            for line in code(&text) {
                wrong.extend(
                    WORLD
                        .iter()
                        .filter(|word| line.contains(**word))
                        .map(|word| format!("{}: {word} in: {line}", path.display())),
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_first_what_it_owns_and_none_is_endless() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src")
        .into_iter()
        .chain(sources("tests"))
        .chain(sources("benches"))
    {
        if !text.starts_with("//!") {
            wrong.push(format!("{}: does not begin with //!", path.display()));
        }
        let lines = text.lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("{}: {lines} lines", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_is_left_to_be_done_later() {
    let mut wrong = Vec::new();
    let marks = [
        "to".to_string() + "do!(",
        "unimple".to_string() + "mented!(",
        "FIX".to_string() + "ME",
        "TO".to_string() + "DO",
        "\"not built ".to_string() + "yet",
        "#[ig".to_string() + "nore",
    ];
    for (path, text) in sources("src").into_iter().chain(sources("tests")) {
        for (number, line) in text.lines().enumerate() {
            wrong.extend(
                marks
                    .iter()
                    .filter(|mark| line.contains(mark.as_str()))
                    .map(|mark| format!("{}:{}: {mark}", path.display(), number + 1)),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_stays_where_the_kernel_is() {
    let wrong: Vec<String> = sources("src")
        .into_iter()
        .filter(|(path, text)| {
            let path = path.to_str().unwrap();
            !path.contains("src/build/sandbox")
                && !path.ends_with("src/host/rest.rs")
                && code(text).any(|line| line.contains("unsafe {") || line.contains("unsafe fn"))
        })
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
