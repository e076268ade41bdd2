//! Where the tool works in one slot: its own directories, its profile, its macros, and what it is called with. Part of `boulder.rs`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::{PROFILE, Verify};
use crate::build::archive::{self, Unpack};
use crate::build::native::BuildContext;
use crate::build::trash;
use crate::fault::{Fault, Kind, Result};
use crate::model::order::BuildOrder;
use crate::model::say::ToolSpec;

/// Where the tool's macros lie on a machine that has it.
const MACROS: &str = "/usr/share/boulder";

/// A text as a KDL string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A name as the tool keeps it: letters, digits and `-`; everything else becomes `_`. Never one that starts with a digit,
/// which KDL would read as a number.
fn identifier(name: &str) -> String {
    let kept = name.chars().map(|c| match c {
        c if c.is_ascii_alphanumeric() || c == '-' => c,
        _ => '_',
    });
    format!("r_{}", kept.collect::<String>())
}

/// The profile file: the farm's channel and remotes.
fn profile_text(spec: &ToolSpec) -> String {
    let mut text = format!("{PROFILE} {{\n    repositories {{\n");
    let mut names = BTreeSet::new();
    for (at, repository) in spec.repositories.iter().enumerate() {
        let mut name = identifier(&repository.name);
        if !names.insert(name.clone()) {
            name = format!("{name}_{at}");
        }
        text.push_str(&format!(
            "        {name} {{\n            description {}\n            uri {}\n            priority {}\n            active #true\n        }}\n",
            quoted(&repository.name),
            quoted(&repository.uri),
            repository.priority
        ));
    }
    text.push_str("    }\n}\n");
    text
}

/// The tool's own directories of one slot.
pub(super) struct Places {
    pub(super) cache: PathBuf,
    config: PathBuf,
    data: PathBuf,
    pub(super) root: PathBuf,
    pub(super) recipe: PathBuf,
    pub(super) out: PathBuf,
}

pub(super) fn cannot(path: &Path, error: &std::io::Error) -> Fault {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Kind::TryAgain,
        _ => Kind::Builder,
    };
    Fault::new(kind, format!("cannot write {}", path.display()))
        .because(error)
        .next("look at the disk of this builder and at the rights of its state directory")
}

fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (entry, to) = (entry?, to);
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy_tree(&entry.path(), &to)?,
            false => fs::copy(entry.path(), &to).map(drop)?,
        }
    }
    Ok(())
}

/// The macros of the tool as it is installed now; without any, whatever the directory holds stays.
fn lay_macros(program: &Path, data: &Path) -> std::io::Result<()> {
    let beside = program
        .parent()
        .map(|bin| bin.join("../share/boulder"))
        .filter(|dir| dir.is_dir());
    let installed = beside.unwrap_or_else(|| MACROS.into());
    if !installed.is_dir() {
        return fs::create_dir_all(data);
    }
    let new = data.with_extension("new");
    if new.exists() {
        fs::remove_dir_all(&new)?;
    }
    copy_tree(&installed, &new)?;
    if data.exists() {
        fs::remove_dir_all(data)?;
    }
    fs::rename(&new, data)
}

impl Places {
    pub(super) fn make(
        ctx: &BuildContext,
        order: &BuildOrder,
        spec: &ToolSpec,
        program: &Path,
    ) -> Result<Places> {
        let slot = ctx
            .state_dir
            .join("boulder")
            .join(format!("slot-{}", ctx.slot));
        let places = Places {
            cache: slot.join("cache"),
            config: slot.join("config"),
            data: slot.join("data"),
            root: slot.join("root"),
            recipe: ctx.attempt_dir.join("recipe"),
            out: ctx.out_dir(),
        };
        // Written anew for each attempt: remotes change.
        let profiles = places.config.join("profile.d");
        let dirs = [
            &places.cache,
            &profiles,
            &places.root,
            &places.recipe,
            &places.out,
        ];
        for dir in dirs {
            fs::create_dir_all(dir).map_err(|error| cannot(dir, &error))?;
        }
        lay_macros(program, &places.data).map_err(|error| cannot(&places.data, &error))?;
        // What a host that was killed left of the same build.
        places.clean_up(&ctx.state_dir, order);
        let file = profiles.join(format!("{PROFILE}.kdl"));
        fs::write(&file, profile_text(spec)).map_err(|error| cannot(&file, &error))?;
        let tar = (ctx.blob)(order.recipe_tar.sha256);
        let what = Unpack::new(&tar, "the recipe's directory", &places.recipe);
        archive::unpack(&what, &mut |_| true)?;
        Ok(places)
    }

    /// The committed manifest, if the recipe has one.
    pub(super) fn manifest(&self, order: &BuildOrder) -> Option<PathBuf> {
        let path = self
            .recipe
            .join(format!("manifest.{}.bin", order.profile.arch));
        path.is_file().then_some(path)
    }

    /// In the order in which the tool's own build daemon and its help have them.
    pub(super) fn arguments(&self, order: &BuildOrder, verify: Verify) -> Vec<OsString> {
        let mut all: Vec<OsString> = vec!["build".into()];
        for (name, dir) in [
            ("--cache-dir", &self.cache),
            ("--config-dir", &self.config),
            ("--data-dir", &self.data),
            ("--moss-root", &self.root),
        ] {
            all.push(name.into());
            all.push(dir.into());
        }
        all.extend(["-p", PROFILE, "--update", "--cleanup", "-b"].map(OsString::from));
        all.push(order.build_release.to_string().into());
        if let (Verify::Require, Some(manifest)) = (verify, self.manifest(order)) {
            all.push("--verify".into());
            all.push(manifest.into());
        }
        all.push("-o".into());
        all.push((&self.out).into());
        all.push("--".into());
        all.push((&self.recipe).into());
        all
    }

    /// Throws away what a build that failed left of itself: trees named after it, below the cache and in the root.
    pub(super) fn clean_up(&self, state_dir: &Path, order: &BuildOrder) {
        let name = format!("{}-{}-{}", order.recipe, order.version, order.release);
        let mut rest = vec![(self.cache.clone(), 0), (self.root.clone(), 0)];
        while let Some((dir, depth)) = rest.pop() {
            for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if entry.file_name().to_string_lossy().starts_with(&name) {
                    if let Err(fault) = trash::discard(state_dir, &path) {
                        tracing::warn!(%fault, "cannot clean up after boulder");
                    }
                } else if depth < 2 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    rest.push((path, depth + 1));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::say::Repository;

    #[test]
    fn names_and_addresses_cannot_break_out_of_the_profile() {
        let spec = ToolSpec {
            repositories: vec![
                Repository {
                    name: "base } evil {".into(),
                    uri: "file:///a\"b\\c\nd".into(),
                    priority: -5,
                },
                Repository {
                    name: "base } evil {".into(),
                    uri: "https://example.org/stone.index".into(),
                    priority: 100,
                },
            ],
        };
        let text = profile_text(&spec);
        assert!(text.contains(r#"uri "file:///a\"b\\c\nd""#), "{text}");
        assert!(
            text.contains("r_base___evil__ {") && text.contains("r_base___evil___1 {"),
            "{text}"
        );
        assert!(
            text.contains("priority -5\n") && text.contains("active #true"),
            "{text}"
        );
    }
}
