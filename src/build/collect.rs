//! From an install root to packages: every path below `/usr` goes to one package, by the templates of the format and
//! the rules of the recipe, and each package's metadata says what its files provide and need.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use regex::RegexSet;

use super::rules::{Kind as FileKind, Rules, Template};
use crate::build::analyse::{self, Found, Surroundings};
use crate::build::emit::{self, Alive, Heard, Ready};
use crate::fault::{Fault, Kind, Result};
use crate::id::Arch;
use crate::recipe::Recipe;
use crate::recipe::types::PackageSpec;
use crate::stone::{
    Dependency, DependencyKind, LayoutEntry, Meta, Node, UniqueFile, layout, package,
};

/// What an install root became.
#[derive(Debug, Clone)]
pub struct Collected {
    /// Packages that hold something, sorted by name; the order's other packages were empty and are not made.
    pub packages: Vec<Ready>,
    /// Lines for the log: files outside `/usr`, kinds of file that no package can hold, declared packages without files.
    pub warnings: Vec<String>,
}

/// Lines about single files outside `/usr`; a hundred of them say no more than twenty.
const OUTSIDE_LINES_MAX: usize = 20;

/// One path below `/usr`.
struct Item {
    /// Relative to the root: `usr/bin/xz`.
    path: String,
    mode: u32,
    kind: FileKind,
    node: Node,
    /// Bytes of a regular file.
    size: u64,
}

/// Collects the content of an install root (`/mason/install` of the sandbox, as a path of this host), after the debug
/// split. The same files give the same packages, wherever they lie. `beside` are the directories that are merged into
/// `/usr` of the build root: libraries of other packages are looked for there when a search path leads to them. `alive` hears
/// of each file.
pub fn collect(
    recipe: &Recipe,
    install: &Path,
    beside: &[PathBuf],
    arch: Arch,
    build_release: u64,
    alive: Alive<'_>,
) -> Result<Collected> {
    let mut warnings = Vec::new();
    let mut items = Vec::new();
    walk(install, "usr", &mut items, &mut warnings, alive)?;
    outside(install, &mut warnings)?;
    let rules = Rules::of(recipe)?;
    let mut by_package: BTreeMap<&str, Vec<Item>> = BTreeMap::new();
    for item in items {
        let name = rules.package_of(&item.path, item.kind);
        by_package.entry(name).or_default().push(item);
    }
    for spec in &recipe.packages {
        if !spec.paths.is_empty() && !by_package.contains_key(spec.name.as_str()) {
            let line = format!("package {} has no files and is not made", spec.name);
            if !warnings.contains(&line) {
                warnings.push(line);
            }
        }
    }
    let around = Surroundings {
        install: install.to_owned(),
        beside: beside.to_vec(),
    };
    let mut packages = Vec::new();
    for (name, items) in by_package {
        let meta = meta(recipe, name, &items, &around, (arch, build_release), alive)?;
        packages.push(ready(meta, items, install)?);
    }
    Ok(Collected { packages, warnings })
}

fn unreadable(path: &Path, error: &std::io::Error) -> Fault {
    Fault::new(Kind::Builder, format!("cannot read {}", path.display())).because(error)
}

/// Depth first with sorted names. A directory is an item when it is empty or its mode is not the usual one.
fn walk(
    root: &Path,
    path: &str,
    items: &mut Vec<Item>,
    warnings: &mut Vec<String>,
    alive: Alive<'_>,
) -> Result<()> {
    let whole = root.join(path);
    for name in names(&whole)? {
        let path = format!("{path}/{name}");
        let whole = root.join(&path);
        let failed = |error: std::io::Error| unreadable(&whole, &error);
        alive();
        let meta = whole.symlink_metadata().map_err(failed)?;
        let kind = meta.file_type();
        let (kind, node) = if kind.is_dir() {
            let before = items.len();
            walk(root, &path, items, warnings, alive)?;
            let plain = meta.mode() & 0o7777 == 0o755;
            if plain && (items.len() > before || !names(&whole)?.is_empty()) {
                continue;
            }
            (FileKind::Directory, Node::Directory)
        } else if kind.is_file() {
            let file = package::hash_content(Heard(File::open(&whole).map_err(failed)?, alive))
                .map_err(failed)?;
            let exe = meta.mode() & 0o111 != 0;
            (
                if exe {
                    FileKind::Program
                } else {
                    FileKind::File
                },
                Node::Regular(file.hash),
            )
        } else if kind.is_symlink() {
            let text = std::fs::read_link(&whole).map_err(failed)?;
            let text = text
                .into_os_string()
                .into_string()
                .map_err(|_| not_text(&path))?;
            (FileKind::Symlink, Node::Symlink(text))
        } else {
            let what = if kind.is_fifo() {
                "pipe"
            } else {
                "device or socket"
            };
            warnings.push(format!(
                "/{path} is a {what}, which no package can hold: left out"
            ));
            continue;
        };
        let mode = match node {
            // Links have no mode of their own.
            Node::Symlink(_) => 0o777,
            _ => meta.mode() & 0o7777,
        };
        items.push(Item {
            mode: mode | node.type_bits(),
            path,
            kind,
            node,
            size: meta.len(),
        });
    }
    Ok(())
}

fn not_text(path: &str) -> Fault {
    Fault::new(Kind::Recipe, format!("a name below /{path} is not UTF-8"))
        .next("rename it in the install phase: packages hold UTF-8 names only")
}

/// Sorted names in a directory; a directory that is not there has none.
fn names(directory: &Path) -> Result<Vec<String>> {
    let failed = |error: std::io::Error| unreadable(directory, &error);
    let listing = match std::fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in listing {
        let name = entry.map_err(failed)?.file_name();
        let text = name
            .into_string()
            .map_err(|_| not_text(&directory.to_string_lossy()))?;
        names.push(text);
    }
    names.sort_unstable();
    Ok(names)
}

/// What lies beside `usr` is not packaged, and its author should know.
fn outside(install: &Path, warnings: &mut Vec<String>) -> Result<()> {
    let mut lines = Vec::new();
    let mut waiting: Vec<String> = names(install)?;
    waiting.retain(|name| name != "usr");
    waiting.reverse();
    while let Some(path) = waiting.pop() {
        let whole = install.join(&path);
        let meta = whole
            .symlink_metadata()
            .map_err(|error| unreadable(&whole, &error))?;
        let inside = if meta.is_dir() {
            names(&whole)?
        } else {
            Vec::new()
        };
        if inside.is_empty() {
            lines.push(format!("/{path} is outside /usr and not packaged"));
        }
        waiting.extend(inside.iter().rev().map(|name| format!("{path}/{name}")));
    }
    let more = lines.len().saturating_sub(OUTSIDE_LINES_MAX);
    lines.truncate(OUTSIDE_LINES_MAX);
    if more > 0 {
        lines.push(format!("and {more} more paths outside /usr"));
    }
    warnings.append(&mut lines);
    Ok(())
}

/// Everything that the recipe and the templates say of a package, and what its files show.
fn meta(
    recipe: &Recipe,
    name: &str,
    items: &[Item],
    around: &Surroundings,
    (arch, build_release): (Arch, u64),
    alive: Alive<'_>,
) -> Result<Meta> {
    let declared: Vec<&PackageSpec> = recipe
        .packages
        .iter()
        .chain(std::iter::once(&recipe.main))
        .filter(|spec| spec.name == name)
        .collect();
    let template = Template::of(recipe.name.as_str(), name);
    let mut found = Found::default();
    for item in items {
        alive();
        if item.kind != FileKind::Directory {
            let is_link = item.kind == FileKind::Symlink;
            analyse::analyse(&item.path, is_link, around, &mut found);
        }
    }
    drop_matching(&mut found.depends, &declared, |spec| &spec.run_deps_exclude)?;
    drop_matching(&mut found.provides, &declared, |spec| {
        &spec.provides_exclude
    })?;
    found.depends.extend(
        declared
            .iter()
            .flat_map(|spec| spec.run_deps.iter().cloned()),
    );
    found.depends.extend(
        template
            .iter()
            .flat_map(|template| template.depends.clone()),
    );
    found.depends.retain(|need| {
        let itself = need.kind == DependencyKind::Name && &*need.name == name;
        !itself && !found.provides.contains(need)
    });
    let (summary, description) = texts(recipe, name, template.as_ref());
    let mut licenses = recipe.licenses.clone();
    licenses.sort_unstable();
    Ok(Meta {
        name: name.to_owned(),
        version: recipe.version.clone(),
        release: recipe.release,
        build_release,
        arch,
        summary,
        description,
        source: recipe.name.as_str().to_owned(),
        homepage: recipe.homepage.clone(),
        licenses,
        depends: found.depends.into_iter().collect(),
        provides: found.provides.into_iter().collect(),
        conflicts: sorted(
            declared.iter().flat_map(|spec| &spec.conflicts),
            Dependency::clone,
        ),
        build_depends: build_depends(recipe),
        uri: None,
        hash: None,
        size: None,
    })
}

/// Summary and description: the package's own; of a template that the recipe does not mention, the template's; else
/// the recipe's.
fn texts(recipe: &Recipe, name: &str, template: Option<&Template>) -> (String, String) {
    // A name that is declared twice has the texts of the later entry, as with the real tool.
    let last = recipe.packages.iter().rfind(|spec| spec.name == name);
    let pick = |own: fn(&PackageSpec) -> &Option<String>, template: Option<&String>| {
        let template = template.filter(|_| last.is_none());
        last.and_then(|spec| own(spec).as_ref())
            .or(template)
            .or(own(&recipe.main).as_ref())
            .cloned()
            .unwrap_or_default()
    };
    (
        pick(
            |spec| &spec.summary,
            template.map(|template| &template.summary),
        ),
        pick(
            |spec| &spec.description,
            template.map(|template| &template.description),
        ),
    )
}

/// What the manifest says the recipe asked for, in the order of the recipe's words.
fn build_depends(recipe: &Recipe) -> Vec<Dependency> {
    let steps = &recipe.steps;
    let all = steps.build_deps.iter().chain(&steps.check_deps);
    sorted(all, Dependency::in_recipe_words)
}

fn sorted<'d, K: Ord>(
    all: impl Iterator<Item = &'d Dependency>,
    key: fn(&Dependency) -> K,
) -> Vec<Dependency> {
    let by_key: BTreeMap<K, &Dependency> = all.map(|one| (key(one), one)).collect();
    by_key.into_values().cloned().collect()
}

/// Leaves out what the patterns of the recipe match, on the text form.
fn drop_matching(
    from: &mut std::collections::BTreeSet<Dependency>,
    declared: &[&PackageSpec],
    patterns: fn(&PackageSpec) -> &Vec<String>,
) -> Result<()> {
    let all: Vec<&String> = declared.iter().flat_map(|spec| patterns(spec)).collect();
    if all.is_empty() {
        return Ok(());
    }
    let set = RegexSet::new(all).map_err(|error| {
        Fault::new(
            Kind::Recipe,
            "the patterns of an exclude are too large together",
        )
        .because(&error)
        .next("write fewer or shorter patterns")
    })?;
    from.retain(|one| !set.is_match(&one.to_string()));
    Ok(())
}

/// The package as it will be written. Everything in it belongs to root, whoever built it.
fn ready(meta: Meta, items: Vec<Item>, install: &Path) -> Result<Ready> {
    let mut sizes: BTreeMap<String, u64> = BTreeMap::new();
    let mut entries = Vec::with_capacity(items.len());
    for item in items {
        let Some(path) = item.path.strip_prefix("usr/") else {
            continue;
        };
        sizes.insert(path.to_owned(), item.size);
        entries.push(LayoutEntry {
            uid: 0,
            gid: 0,
            mode: item.mode,
            path: path.to_owned(),
            node: item.node,
        });
    }
    layout::sort(&mut entries);
    layout::check(&entries)?;
    let usr = install.join("usr");
    let size = |path: &Path| {
        let inside = path.strip_prefix(&usr).ok().and_then(Path::to_str);
        let known = inside.and_then(|inside| sizes.get(inside).copied());
        known.ok_or_else(|| std::io::Error::other("a file that was not collected"))
    };
    let files: Vec<(UniqueFile, PathBuf)> = emit::contents(&entries, size, &usr)?;
    Ok(Ready {
        meta,
        layout: entries,
        files,
    })
}

#[cfg(test)]
mod tests;
