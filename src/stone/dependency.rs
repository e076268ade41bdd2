//! What a package needs or provides: a kind and a name, compared by exact equality. There are no version constraints.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::BadId;

/// The kinds of the stone format; the discriminant is the byte on disk. Grows at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum DependencyKind {
    /// A package by its name.
    Name = 0,
    /// A shared library: `<soname>(<machine>)`.
    Soname = 1,
    /// The stem of a `.pc` file.
    PkgConfig = 2,
    /// An ELF interpreter: `<path>(<machine>)`.
    Interpreter = 3,
    /// `X` of `XConfig.cmake` or `X-config.cmake`.
    CMake = 4,
    /// A Python distribution's normalised name.
    Python = 5,
    /// A program in `/usr/bin`.
    Binary = 6,
    /// A program in `/usr/sbin`.
    SysBinary = 7,
    /// The stem of a `.pc` file below `lib32`.
    PkgConfig32 = 8,
}

impl DependencyKind {
    /// All kinds, in the order of their bytes.
    pub const ALL: [DependencyKind; 9] = [
        DependencyKind::Name,
        DependencyKind::Soname,
        DependencyKind::PkgConfig,
        DependencyKind::Interpreter,
        DependencyKind::CMake,
        DependencyKind::Python,
        DependencyKind::Binary,
        DependencyKind::SysBinary,
        DependencyKind::PkgConfig32,
    ];

    /// The word before the parenthesis.
    pub fn as_str(self) -> &'static str {
        match self {
            DependencyKind::Name => "name",
            DependencyKind::Soname => "soname",
            DependencyKind::PkgConfig => "pkgconfig",
            DependencyKind::Interpreter => "interpreter",
            DependencyKind::CMake => "cmake",
            DependencyKind::Python => "python",
            DependencyKind::Binary => "binary",
            DependencyKind::SysBinary => "sysbinary",
            DependencyKind::PkgConfig32 => "pkgconfig32",
        }
    }

    /// The kind of this byte.
    pub fn from_byte(byte: u8) -> Option<DependencyKind> {
        DependencyKind::ALL.get(usize::from(byte)).copied()
    }
}

/// One dependency or provider. Text form `kind(name)`; a text without a parenthesis is read as a package name.
/// Ordered by its text form, as the stone format wants it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Dependency {
    /// What the name means.
    pub kind: DependencyKind,
    /// The name, exactly.
    pub name: Arc<str>,
}

impl Dependency {
    /// A dependency of this kind.
    pub fn new(kind: DependencyKind, name: impl Into<Arc<str>>) -> Dependency {
        Dependency {
            kind,
            name: name.into(),
        }
    }

    /// The text that a recipe's author would have written: a bare name for a package.
    pub fn in_recipe_words(&self) -> String {
        match self.kind {
            DependencyKind::Name => self.name.to_string(),
            _ => self.to_string(),
        }
    }
}

impl Ord for Dependency {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // No word is a prefix of another but pkgconfig of pkgconfig32, and '(' sorts before '3',
        // so comparing word and then name is comparing the text forms.
        self.kind.as_str().cmp(other.kind.as_str()).then_with(|| {
            let ours = self.name.as_bytes().iter().chain(b")");
            ours.cmp(other.name.as_bytes().iter().chain(b")"))
        })
    }
}

impl PartialOrd for Dependency {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.kind.as_str(), self.name)
    }
}

impl FromStr for Dependency {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let expected = "a dependency (NAME or one of name soname pkgconfig interpreter cmake python binary sysbinary pkgconfig32 with (NAME))";
        let bad = || BadId {
            text: text.chars().take(80).collect(),
            expected,
        };
        let text = text.trim();
        let (kind, name) = match text.split_once('(') {
            None => (DependencyKind::Name, text),
            Some((word, rest)) => {
                let kind = DependencyKind::ALL
                    .into_iter()
                    .find(|kind| kind.as_str() == word.trim())
                    .ok_or_else(bad)?;
                (kind, rest.strip_suffix(')').ok_or_else(bad)?)
            }
        };
        if name.is_empty() || name.contains(['\0', '\n']) {
            return Err(bad());
        }
        Ok(Dependency::new(kind, name))
    }
}

impl Serialize for Dependency {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            to.collect_str(self)
        } else {
            (self.kind as u8, &*self.name).serialize(to)
        }
    }
}

impl<'de> Deserialize<'de> for Dependency {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        if from.is_human_readable() {
            String::deserialize(from)?.parse().map_err(D::Error::custom)
        } else {
            let (kind, name) = <(u8, String)>::deserialize(from)?;
            let kind = DependencyKind::from_byte(kind)
                .ok_or_else(|| D::Error::custom("unknown dependency kind"))?;
            Ok(Dependency::new(kind, name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_read_as_the_format_says() {
        for (text, printed) in [
            ("zlib", "name(zlib)"),
            ("name(zlib)", "name(zlib)"),
            ("soname(libc.so.6(x86_64))", "soname(libc.so.6(x86_64))"),
            ("pkgconfig32(zlib)", "pkgconfig32(zlib)"),
        ] {
            assert_eq!(
                text.parse::<Dependency>().map(|d| d.to_string()),
                Ok(printed.to_string())
            );
        }
        for text in ["", "nosuch(x)", "binary(x", "binary()"] {
            assert!(text.parse::<Dependency>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_order_is_that_of_the_texts() {
        let mut dependencies: Vec<Dependency> = [
            "zlib",
            "z",
            "binary(a)",
            "binary(a-b)",
            "pkgconfig32(a)",
            "pkgconfig(zz)",
            "soname(libc.so.6(x86_64))",
            "name(a(b)",
        ]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
        dependencies.sort();
        let mut texts: Vec<String> = dependencies.iter().map(ToString::to_string).collect();
        let sorted = texts.clone();
        texts.sort();
        assert_eq!(sorted, texts);
    }
}
