//! Names as small numbers: inside the planner every dependency and provider is one of these.

use std::collections::HashMap;

use crate::id::Arch;
use crate::stone::{Dependency, DependencyKind};

/// A dependency or provider; valid in the table that made it.
pub type NameId = u32;

/// All names met so far. It only grows: names come back, and a farm sees some tens of thousands of them.
#[derive(Debug, Default, Clone)]
pub struct Names {
    ids: HashMap<Dependency, NameId>,
    list: Vec<Dependency>,
}

impl Names {
    /// The number of this name, a new one if need be.
    pub fn intern(&mut self, name: &Dependency) -> NameId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = NameId::try_from(self.list.len()).unwrap_or(NameId::MAX);
        self.ids.insert(name.clone(), id);
        self.list.push(name.clone());
        id
    }

    /// The numbers of these names, sorted, none twice.
    pub fn intern_all<'a>(&mut self, names: impl Iterator<Item = &'a Dependency>) -> Box<[NameId]> {
        let mut ids: Vec<NameId> = names.map(|name| self.intern(name)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into()
    }

    /// The number of this name, if it was ever met.
    pub fn get(&self, name: &Dependency) -> Option<NameId> {
        self.ids.get(name).copied()
    }

    /// The name behind a number of this table.
    pub fn name(&self, id: NameId) -> Option<&Dependency> {
        self.list.get(id as usize)
    }

    /// The text of a number, as a recipe's author would write it.
    pub fn text(&self, id: NameId) -> String {
        self.name(id)
            .map(Dependency::in_recipe_words)
            .unwrap_or_default()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// A name that carries a machine (`soname(libz.so.1(x86_64))`), written for another architecture; `None`: it carries none,
/// or that of this architecture already. Recipes are written, and manifests made, on one architecture and planned for several.
pub fn for_arch(name: &Dependency, arch: Arch) -> Option<Dependency> {
    if name.kind != DependencyKind::Soname {
        return None;
    }
    let machine = |arch| match arch {
        Arch::X86_64 => "x86_64",
        Arch::Aarch64 => "aarch64",
        Arch::Riscv64 => "riscv",
        Arch::X86 => "386",
    };
    let (soname, _) = name
        .name
        .strip_suffix(')')?
        .rsplit_once('(')
        .filter(|(_, was)| {
            *was != machine(arch)
                && [Arch::X86_64, Arch::Aarch64, Arch::Riscv64]
                    .map(machine)
                    .contains(was)
        })?;
    Some(Dependency::new(
        DependencyKind::Soname,
        format!("{soname}({})", machine(arch)),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number() {
        let mut names = Names::default();
        let zlib: Dependency = "pkgconfig(zlib)".parse().unwrap();
        let first = names.intern(&zlib);
        names.intern(&"zlib".parse().unwrap());
        assert_eq!(names.intern(&zlib), first);
        assert_eq!(names.get(&zlib), Some(first));
        assert_eq!(names.text(first), "pkgconfig(zlib)");
        assert_eq!(names.len(), 2);
    }

    #[test]
    fn sonames_are_rewritten_for_another_architecture() {
        for (text, expected) in [
            (
                "soname(libz.so.1(x86_64))",
                Some("soname(libz.so.1(aarch64))"),
            ),
            ("soname(libz.so.1(aarch64))", None),
            ("soname(libz.so.1(386))", None),
            ("soname(libz.so.1)", None),
            ("pkgconfig(z(x86_64))", None),
        ] {
            let name: Dependency = text.parse().unwrap();
            let got = for_arch(&name, Arch::Aarch64).map(|name| name.to_string());
            assert_eq!(got.as_deref(), expected, "{text}");
        }
    }
}
