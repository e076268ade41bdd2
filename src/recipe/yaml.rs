//! `stone.yaml` as text to a `Recipe`, with faults that name line, column and cure. What is merely odd is a warning:
//! the real tool ignores unknown keys, and so do we, but we say so.

use super::macros::Macros;
use super::node::{self, Node, Value};
use super::reader::{Entries, Reader, boolean, get};
use super::types::{
    Options, PackageSpec, PathKind, PathRule, Recipe, Script, Setting, Steps, Tuning,
};
use super::upstream;
use super::{Toolchain, tuning};
use crate::fault::{Fault, Result};
use crate::id::{PackageName, RecipeName};
use crate::limit;
use crate::stone::Dependency;

/// Keys that hold phases and needs, at top level and inside `profiles`.
const STEP_KEYS: [&str; 8] = [
    "build",
    "builddeps",
    "check",
    "checkdeps",
    "environment",
    "install",
    "setup",
    "workload",
];

/// Keys of a package, at top level and inside `packages`.
const PACKAGE_KEYS: [&str; 7] = [
    "conflicts",
    "description",
    "paths",
    "provides-exclude",
    "rundeps",
    "rundeps-exclude",
    "summary",
];

/// The other keys of the top level.
const TOP_KEYS: [&str; 20] = [
    "architectures",
    "compressman",
    "cspgo",
    "debug",
    "emul32",
    "homepage",
    "lastrip",
    "license",
    "mold",
    "name",
    "networking",
    "packages",
    "profiles",
    "release",
    "samplepgo",
    "strip",
    "toolchain",
    "tuning",
    "upstreams",
    "version",
];

impl Recipe {
    /// Reads the text of a `stone.yaml`; `file` is only for faults. The second value is oddities worth telling the author.
    /// Every fault has `Kind::Recipe` and a place.
    pub fn parse(text: &str, file: &str) -> Result<(Recipe, Vec<Fault>)> {
        let root = node::read(text, file)?;
        let mut reader = Reader {
            file,
            warnings: Vec::new(),
            macros: Macros::default(),
        };
        let recipe = reader.recipe(&root)?;
        Ok((recipe, reader.warnings))
    }
}

impl Reader<'_> {
    fn recipe(&mut self, root: &Node<'_>) -> Result<Recipe> {
        let top = self.map(root, "the recipe")?;
        let known: Vec<&str> = [&STEP_KEYS[..], &PACKAGE_KEYS, &TOP_KEYS].concat();
        self.check_keys(top, &known)?;
        let name_node = self.need(top, "name", root)?;
        let name_text = self.text(name_node, "name")?;
        let name: RecipeName = name_text.parse().map_err(|error: crate::id::BadId| {
            self.fault(name_node, format!("name: {error}"))
                .next("rename the recipe")
        })?;
        let version = self.version(self.need(top, "version", root)?)?;
        let release = self.release(self.need(top, "release", root)?)?;
        self.macros.define("name", name.as_str());
        self.macros.define("version", version.as_str());
        self.macros.define("release", release.to_string());
        let homepage = self.text(self.need(top, "homepage", root)?, "homepage")?;
        let licenses = self.texts(Some(self.need(top, "license", root)?), "license")?;
        for key in ["summary", "description"] {
            self.need(top, key, root)?;
        }
        let main = self.package(name.as_str(), name_node.line, top)?;
        Ok(Recipe {
            file: self.file.to_string(),
            version,
            release,
            homepage,
            licenses,
            upstreams: match get(top, "upstreams") {
                Some(node) => upstream::read(self, node)?,
                None => Vec::new(),
            },
            steps: self.steps(top)?,
            profiles: self.profiles(top)?,
            packages: self.packages(top, &name)?,
            main,
            name,
            architectures: self.texts(get(top, "architectures"), "architectures")?,
            tuning: self.tuning(top)?,
            toolchain: self.toolchain(top)?,
            options: self.options(top)?,
        })
    }

    fn version(&self, node: &Node<'_>) -> Result<String> {
        let version = self.text(node, "version")?;
        let allowed = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | '\\' | '"' | '\'');
        if !version.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self
                .fault(
                    node,
                    format!("version {version:?} does not start with a digit"),
                )
                .next("drop the letters before the number"));
        }
        if version.len() > limit::NAME_BYTES_MAX || !version.chars().all(allowed) {
            return Err(self
                .fault(
                    node,
                    "version becomes part of a file name and cannot hold this",
                )
                .next("keep to letters, digits and . _ + ~ -"));
        }
        Ok(version)
    }

    fn release(&self, node: &Node<'_>) -> Result<u64> {
        let text = self.text(node, "release")?;
        match text.parse() {
            Ok(release) if release > 0 => Ok(release),
            _ => Err(self
                .fault(
                    node,
                    format!("release {text:?} is not a whole number from 1 on"),
                )
                .next("start with 1 and add 1 for every change")),
        }
    }

    fn steps(&mut self, entries: Entries<'_, '_>) -> Result<Steps> {
        Ok(Steps {
            environment: self.script(entries, "environment")?,
            setup: self.script(entries, "setup")?,
            build: self.script(entries, "build")?,
            install: self.script(entries, "install")?,
            check: self.script(entries, "check")?,
            workload: self.script(entries, "workload")?,
            build_deps: self.dependencies(entries, "builddeps")?,
            check_deps: self.dependencies(entries, "checkdeps")?,
        })
    }

    fn script(&self, entries: Entries<'_, '_>, key: &str) -> Result<Option<Script>> {
        let Some(node) = get(entries, key) else {
            return Ok(None);
        };
        let text = node
            .text()
            .ok_or_else(|| {
                self.fault(node, format!("{key} is {}, not a script", node.kind()))
                    .next(format!(
                        "write `{key} : |` and the script below it, indented"
                    ))
            })?
            .to_string();
        let line = node.text_line();
        Ok((!text.trim().is_empty()).then_some(Script { text, line }))
    }

    fn profiles(&mut self, top: Entries<'_, '_>) -> Result<Vec<(String, Steps)>> {
        let mut profiles = Vec::new();
        for (key, value) in self.named(get(top, "profiles"), "profiles")? {
            let entries = self.map(value, "a profile")?;
            self.check_keys(entries, &STEP_KEYS)?;
            profiles.push((self.text(key, "a profile's name")?, self.steps(entries)?));
        }
        Ok(profiles)
    }

    fn packages(&mut self, top: Entries<'_, '_>, recipe: &RecipeName) -> Result<Vec<PackageSpec>> {
        let mut packages = Vec::new();
        for (key, value) in self.named(get(top, "packages"), "packages")? {
            let name = self.field(key, "a package's name")?;
            if let Err(error) = name.parse::<PackageName>() {
                return Err(self
                    .fault(key, error.to_string())
                    .next(format!("name it after the recipe, such as {recipe}-libs")));
            }
            let entries: Entries<'_, '_> = if value.is_nothing() {
                &[]
            } else {
                self.map(value, "a package")?
            };
            // The real tool ignores a package's own license; 8 recipes have one.
            self.check_keys(entries, &[&PACKAGE_KEYS[..], &["license"]].concat())?;
            // A name may come twice: the later entry adds path rules that count after those between.
            packages.push(self.package(&name, key.line, entries)?);
        }
        Ok(packages)
    }

    fn package(&mut self, name: &str, line: u32, entries: Entries<'_, '_>) -> Result<PackageSpec> {
        let optional = |key: &str| {
            get(entries, key)
                .map(|node| self.field(node, key))
                .transpose()
        };
        Ok(PackageSpec {
            name: name.to_string(),
            summary: optional("summary")?.map(|text| text.trim().to_string()),
            description: optional("description")?.map(|text| text.trim().to_string()),
            run_deps_exclude: self.patterns(entries, "rundeps-exclude")?,
            provides_exclude: self.patterns(entries, "provides-exclude")?,
            paths: self.paths(entries)?,
            run_deps: self.dependencies(entries, "rundeps")?,
            conflicts: self.dependencies(entries, "conflicts")?,
            line,
        })
    }

    fn patterns(&self, entries: Entries<'_, '_>, key: &str) -> Result<Vec<String>> {
        let mut patterns = Vec::new();
        for node in self.items(get(entries, key), key)? {
            let pattern = self.text(node, key)?;
            regex::Regex::new(&pattern).map_err(|error| {
                self.fault(
                    node,
                    format!("{key}: {pattern:?} is not a regular expression"),
                )
                .because(&error)
                .next("escape parentheses and dots with a backslash")
            })?;
            patterns.push(pattern);
        }
        Ok(patterns)
    }

    fn paths(&self, entries: Entries<'_, '_>) -> Result<Vec<PathRule>> {
        let mut rules = Vec::new();
        for node in self.items(get(entries, "paths"), "paths")? {
            let (glob, kind) = match &node.value {
                Value::Map(pair) if pair.len() == 1 => match pair.first() {
                    Some((glob, kind)) => (glob, self.path_kind(kind)?),
                    None => (node, PathKind::Any),
                },
                Value::Scalar(..) | Value::List(_) | Value::Map(_) => (node, PathKind::Any),
            };
            let text = self.field(glob, "a path")?;
            rules.push(PathRule { glob: text, kind });
        }
        Ok(rules)
    }

    fn path_kind(&self, node: &Node<'_>) -> Result<PathKind> {
        match node.text() {
            Some("any") => Ok(PathKind::Any),
            Some("exe") => Ok(PathKind::Exe),
            Some("symlink") => Ok(PathKind::Symlink),
            Some("special") => Ok(PathKind::Special),
            _ => Err(self
                .fault(node, "a path's kind is one of any, exe, symlink, special")
                .next("drop the kind to take every file")),
        }
    }

    fn dependencies(&mut self, entries: Entries<'_, '_>, key: &str) -> Result<Vec<Dependency>> {
        let mut dependencies = Vec::new();
        for node in self.items(get(entries, key), key)? {
            let text = self.field(node, key)?;
            dependencies.push(text.parse().map_err(|error: crate::id::BadId| {
                self.fault(node, format!("{key}: {error}"))
                    .next("write a package name, or pkgconfig(NAME), cmake(NAME), binary(NAME)")
            })?);
        }
        Ok(dependencies)
    }

    fn tuning(&mut self, top: Entries<'_, '_>) -> Result<Vec<Tuning>> {
        let mut switches = Vec::new();
        for node in self.items(get(top, "tuning"), "tuning")? {
            let (name, setting) = match &node.value {
                Value::Map(pair) => match pair.as_slice() {
                    [(name, value)] => (name, self.setting(value)?),
                    _ => return Err(self.one_entry(node, "tuning")),
                },
                Value::Scalar(..) => (node, Setting::On),
                Value::List(_) => return Err(self.one_entry(node, "tuning")),
            };
            let group = self.text(name, "tuning")?;
            tuning::check(&group, &setting)
                .map_err(|fault| fault.at(self.file, name.line, name.column))?;
            switches.push(Tuning {
                group,
                setting,
                line: name.line,
            });
        }
        Ok(switches)
    }

    fn setting(&self, node: &Node<'_>) -> Result<Setting> {
        Ok(match (node.text(), boolean(node)) {
            (_, Some(true)) => Setting::On,
            (_, Some(false)) => Setting::Off,
            (Some(choice), None) => Setting::Choice(choice.to_string()),
            (None, None) => return Err(self.one_entry(node, "tuning")),
        })
    }

    fn toolchain(&self, top: Entries<'_, '_>) -> Result<Option<Toolchain>> {
        let Some(node) = get(top, "toolchain") else {
            return Ok(None);
        };
        match node.text() {
            Some("llvm") => Ok(Some(Toolchain::Llvm)),
            Some("gnu") => Ok(Some(Toolchain::Gnu)),
            _ => Err(self
                .fault(node, "toolchain is neither llvm nor gnu")
                .next("write gnu for gcc and binutils, or leave the key out")),
        }
    }

    fn options(&mut self, top: Entries<'_, '_>) -> Result<Options> {
        let mut options = Options::default();
        for (key, slot) in [
            ("networking", &mut options.networking),
            ("emul32", &mut options.emul32),
            ("mold", &mut options.mold),
            ("debug", &mut options.debug),
            ("strip", &mut options.strip),
            ("lastrip", &mut options.lastrip),
            ("cspgo", &mut options.cspgo),
            ("samplepgo", &mut options.samplepgo),
            ("compressman", &mut options.compressman),
        ] {
            if let Some(node) = get(top, key) {
                let cure = format!("write `{key} : true` or `{key} : false`");
                let fault = |what: &str| self.fault(node, format!("{key} is {what}")).next(cure);
                *slot = match (boolean(node), node.text()) {
                    (Some(value), _) => value,
                    // YAML 1.1 took these for booleans; YAML 1.2 does not, but the meaning is plain.
                    (None, Some(word @ ("yes" | "no" | "on" | "off"))) => {
                        let warning = fault(&format!("`{word}`, read as a boolean"));
                        self.warnings.push(warning);
                        matches!(word, "yes" | "on")
                    }
                    (None, _) => return Err(fault("neither true nor false")),
                };
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests;
