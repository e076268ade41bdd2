//! Which package a path goes to: the templates of the format, then the recipe's own rules; the last one that matches
//! wins. A directory as a rule takes everything below it, and `*` also stands for slashes.

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use crate::fault::{Fault, Kind as FaultKind, Result};
use crate::recipe::Recipe;
use crate::recipe::types::PathKind;
use crate::stone::{Dependency, DependencyKind};

/// What a path is, as far as rules care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A regular file that somebody may execute.
    Program,
    /// A symbolic link.
    Symlink,
    /// A directory that needs a record of its own.
    Directory,
}

impl PathKind {
    fn takes(self, kind: Kind) -> bool {
        match self {
            PathKind::Any => true,
            PathKind::Exe => kind == Kind::Program,
            PathKind::Symlink => kind == Kind::Symlink,
            PathKind::Special => false,
        }
    }
}

/// A package that exists by itself when files match: the ending of its name behind the recipe's, and its rules.
const TEMPLATES: [(&str, &[&str]); 7] = [
    ("-docs", &["/usr/share/gtk-doc"]),
    (
        "-devel",
        &[
            "/usr/include",
            "/usr/lib/*.a",
            "/usr/lib/lib*.so",
            "/usr/lib/*.prl",
            "/usr/lib/cmake",
            "/usr/lib/metatypes",
            "/usr/lib/pkgconfig",
            "/usr/lib/qt*/metatypes",
            "/usr/lib/qt*/mkspecs",
            "/usr/lib/qt*/modules",
            "/usr/lib/qt*/plugins/designer",
            "/usr/lib/qt*/sbom",
            "/usr/share/aclocal",
            "/usr/share/cmake",
            "/usr/share/doc/qt5/*.{qch,tags}",
            "/usr/share/doc/qt6/*.{qch,tags}",
            "/usr/share/gir-1.0/*.gir",
            "/usr/share/man/man2",
            "/usr/share/man/man3",
            "/usr/share/man/man9",
            "/usr/share/pkgconfig",
            "/usr/share/vala/vapi/*.{deps,vapi}",
        ],
    ),
    ("-demos", &["/usr/lib/qt*/examples"]),
    ("-32bit", &["/usr/lib32", "/usr/lib32/lib*.so.*"]),
    (
        "-32bit-devel",
        &[
            "/usr/lib32/*.a",
            "/usr/lib32/lib*.so",
            "/usr/lib32/cmake",
            "/usr/lib32/pkgconfig",
        ],
    ),
    // Debug files last: what lies there is named like anything else.
    ("-dbginfo", &["/usr/lib/debug"]),
    ("-32bit-dbginfo", &["/usr/lib32/debug"]),
];

/// What a template says of its package when the recipe does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// One line.
    pub summary: String,
    /// Some lines.
    pub description: String,
    /// Needed whatever the recipe adds.
    pub depends: Vec<Dependency>,
}

impl Template {
    /// The template of this package, if it is one of the recipe's own names. The texts are the format's.
    pub fn of(recipe: &str, package: &str) -> Option<Template> {
        let ending = package.strip_prefix(recipe)?;
        let (summary, description, depends) = match ending {
            "-devel" => (
                format!("Development files for {recipe}"),
                format!(
                    "Install this package if you intend to build software against\nthe {recipe} package."
                ),
                vec![recipe.to_owned()],
            ),
            "-docs" => (
                format!("Documentation for {recipe}"),
                format!("Documentation files for the {recipe} package"),
                vec![],
            ),
            "-demos" => (
                format!("Example files for {recipe}"),
                format!("Example files for the {recipe} package"),
                vec![],
            ),
            "-libs" => (
                format!("Library files for {recipe}"),
                format!(
                    "Library files for {recipe}, typically pulled in as a dependency of another package."
                ),
                vec![],
            ),
            "-dbginfo" => (
                format!("Debugging symbols for {recipe}"),
                format!(
                    "Install this package if you need debugging information + symbols\nfor the {recipe} package."
                ),
                vec![],
            ),
            "-32bit" => (
                format!("Provides 32-bit runtime libraries for {recipe}"),
                format!(
                    "Install this package if you need the 32-bit versions of the\n{recipe} package libraries."
                ),
                vec![recipe.to_owned()],
            ),
            "-32bit-devel" => (
                format!("Provides development files for {recipe}-32bit"),
                format!(
                    "Install this package if you need to build software against\nthe 32-bit version of {recipe}, {recipe}-32bit."
                ),
                vec![format!("{recipe}-32bit"), format!("{recipe}-devel")],
            ),
            "-32bit-dbginfo" => (
                format!("Debugging symbols for {recipe}-32bit"),
                format!(
                    "Install this package if you need debugging information + symbols\nfor the {recipe}-32bit package."
                ),
                vec![],
            ),
            _ => return None,
        };
        let name = |text: &String| Dependency::new(DependencyKind::Name, text.as_str());
        Some(Template {
            summary,
            description,
            depends: depends.iter().map(name).collect(),
        })
    }
}

/// All rules of one recipe, compiled.
#[derive(Debug)]
pub struct Rules {
    main: String,
    /// Two globs a rule: the path itself and what lies below it.
    globs: GlobSet,
    /// For each rule, whose and for what.
    takers: Vec<(String, PathKind)>,
}

impl Rules {
    /// Templates, then the main package's paths, then those of `packages`, each in the order written.
    pub fn of(recipe: &Recipe) -> Result<Rules> {
        let mut rules = Rules {
            main: recipe.name.as_str().to_owned(),
            globs: GlobSet::empty(),
            takers: Vec::new(),
        };
        let mut globs = GlobSetBuilder::new();
        for (ending, paths) in TEMPLATES {
            for path in paths {
                let name = format!("{}{ending}", recipe.name);
                rules.add(&mut globs, name, path, PathKind::Any, recipe, 0)?;
            }
        }
        for spec in std::iter::once(&recipe.main).chain(&recipe.packages) {
            for rule in &spec.paths {
                let name = spec.name.clone();
                rules.add(&mut globs, name, &rule.glob, rule.kind, recipe, spec.line)?;
            }
        }
        rules.globs = globs.build().map_err(|error| {
            Fault::new(
                FaultKind::Recipe,
                "the paths of the packages are too many to match",
            )
            .because(&error)
            .next("use globs instead of single files")
        })?;
        Ok(rules)
    }

    fn add(
        &mut self,
        globs: &mut GlobSetBuilder,
        name: String,
        path: &str,
        kind: PathKind,
        recipe: &Recipe,
        line: u32,
    ) -> Result<()> {
        let path = path.trim_end_matches('/');
        let whole = if path.starts_with(['/', '*']) {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        for glob in [whole.clone(), format!("{whole}/*")] {
            globs.add(compile(&glob).map_err(|error| {
                Fault::new(
                    FaultKind::Recipe,
                    format!("{path:?} of package {name} is no glob"),
                )
                .because(&error)
                .next("close what is open: [ ] and { }")
                .at(recipe.file.as_str(), line, 0)
            })?);
        }
        self.takers.push((name, kind));
        Ok(())
    }

    /// The package of a path relative to the root (`usr/bin/xz`).
    pub fn package_of(&self, path: &str, kind: Kind) -> &str {
        let matches = self.globs.matches(format!("/{path}"));
        matches
            .iter()
            .rev()
            .filter_map(|index| self.takers.get(index / 2))
            .find(|(_, takes)| takes.takes(kind))
            .map_or(&self.main, |(name, _)| name)
    }
}

fn compile(glob: &str) -> std::result::Result<Glob, globset::Error> {
    GlobBuilder::new(glob)
        .literal_separator(false)
        .backslash_escape(true)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: &str =
        "name: xz\nversion: 1\nrelease: 1\nhomepage: h\nlicense: MIT\nsummary: s\ndescription: d\n";

    #[test]
    fn the_last_rule_that_matches_wins() {
        let more = "packages:\n    - xz-libs:\n        paths:\n            - /usr/lib/*.so.*\n    - \"%(name)\":\n        paths:\n            - /usr/lib/libmain.so\n            - /usr/share/doc/*: exe\n    - xz-bin:\n        paths:\n            - /usr/bin/\n    - xz-links:\n        paths:\n            - /usr/bin: symlink\n";
        let (recipe, _) = Recipe::parse(&format!("{RECIPE}{more}"), "x").unwrap();
        let rules = Rules::of(&recipe).unwrap();
        for (path, kind, package) in [
            ("usr/share/locale/de/x.mo", Kind::File, "xz"),
            ("usr/include/lzma.h", Kind::File, "xz-devel"),
            ("usr/include", Kind::Directory, "xz-devel"),
            ("usr/includes", Kind::File, "xz"),
            ("usr/lib/liblzma.so", Kind::Symlink, "xz-devel"),
            // As the real tool has it: a star does not stop at a slash.
            ("usr/lib/libnl/cli/basic.so", Kind::File, "xz-devel"),
            ("usr/lib/libmain.so", Kind::Symlink, "xz"),
            ("usr/lib/liblzma.so.5", Kind::Symlink, "xz-libs"),
            ("usr/bin/xz", Kind::Program, "xz-bin"),
            ("usr/bin/lzma", Kind::Symlink, "xz-links"),
            ("usr/share/man/man3/a.3", Kind::File, "xz-devel"),
            ("usr/share/man/man1/a.1", Kind::File, "xz"),
            ("usr/share/vala/vapi/a.vapi", Kind::File, "xz-devel"),
            ("usr/share/gtk-doc/a/b", Kind::File, "xz-docs"),
            (
                "usr/lib/debug/.build-id/ab/c.debug",
                Kind::File,
                "xz-dbginfo",
            ),
            (
                "usr/lib32/debug/.build-id/ab/c.debug",
                Kind::File,
                "xz-32bit-dbginfo",
            ),
            ("usr/lib32/libx.so", Kind::Symlink, "xz-32bit-devel"),
            ("usr/lib32/libx.so.1", Kind::Symlink, "xz-32bit"),
        ] {
            assert_eq!(rules.package_of(path, kind), package, "{path}");
        }
    }

    #[test]
    fn a_broken_glob_is_told_with_its_package() {
        let more = "packages:\n    - a:\n        paths:\n            - /usr/[\n";
        let (recipe, _) = Recipe::parse(&format!("{RECIPE}{more}"), "x").unwrap();
        let fault = Rules::of(&recipe).unwrap_err();
        assert!(
            fault
                .to_string()
                .starts_with("x:9: \"/usr/[\" of package a is no glob"),
            "{fault}"
        );
    }
}
