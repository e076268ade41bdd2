//! One recipe's files as an entry of a catalog: the recipe's text, the manifest beside it, and what is wrong with them.
//! Part of `reader.rs`.

use std::collections::{HashMap, hash_map};
use std::sync::Arc;

use gix::ObjectId;
use gix::objs::tree::EntryKind;

use super::catalog_blob::Interner;
use super::reader::{Content, Found, commit_id, join, read_blob};
use crate::fault::{Fault, Kind, Result};
use crate::id::RecipeName;
use crate::limit;
use crate::model::{Entry, Reading};
use crate::recipe::{self, Constraints, Facts, Recipe};
use crate::stone::{Meta, manifest};

/// Reads one, or takes it over. An error is about the repository; what is wrong with the recipe is in the entry.
pub(super) fn read_entry(
    repo: &gix::Repository,
    found: &Found,
    interner: &mut Interner,
) -> Result<Arc<Entry>> {
    let (recipe, kind, manifest, asked) = match &found.content {
        Content::Same(entry) => return Ok(entry.clone()),
        Content::Files {
            recipe,
            kind,
            manifest,
            constraints,
        } => (*recipe, *kind, manifest.clone(), constraints.clone()),
    };
    let file = join(&found.dir, "stone.yaml");
    let mut bytes = Vec::new();
    let facts = match read_blob(repo, recipe, &file, limit::RECIPE_BYTES_MAX) {
        Err(fault) if fault.kind == Kind::Recipe => Err(fault),
        Err(fault) => return Err(fault),
        Ok(_) if kind == EntryKind::Link => {
            Err(Fault::new(Kind::Recipe, "the recipe is a symbolic link")
                .next("commit the file itself")
                .at(&file, 0, 0))
        }
        Ok(text) => {
            bytes = text;
            let facts = read_recipe(&bytes, &file, read_manifest(repo, manifest)?);
            match (facts, asked) {
                (Ok(facts), Some(asked)) => with_constraints(repo, facts, asked)?,
                (facts, _) => facts,
            }
        }
    };
    let reading = match facts {
        Ok(mut facts) => {
            interner.share(&mut facts);
            Reading::Good(Box::new(facts))
        }
        Err(fault) => Reading::Faulty {
            name: name_of_faulty(&bytes, &found.dir)?,
            fault,
        },
    };
    Ok(Arc::new(Entry {
        dir: found.dir.clone(),
        tree: commit_id(&found.tree)?,
        text: commit_id(&found.text)?,
        reading,
    }))
}

/// Of several good recipes with one name the first by directory counts; the others are faulty and name it.
pub(super) fn refuse_namesakes(mut entries: Vec<Arc<Entry>>) -> Vec<Arc<Entry>> {
    let mut first: HashMap<RecipeName, usize> = HashMap::with_capacity(entries.len());
    let mut namesakes = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        if let Reading::Good(facts) = &entry.reading {
            match first.entry(facts.name.clone()) {
                hash_map::Entry::Vacant(place) => {
                    place.insert(at);
                }
                hash_map::Entry::Occupied(place) => namesakes.push((at, *place.get())),
            }
        }
    }
    for (at, first) in namesakes {
        let (Some(entry), Some(other)) = (entries.get(at), entries.get(first)) else {
            continue;
        };
        let fault = Fault::new(
            Kind::Recipe,
            format!(
                "{} is the name of the recipe in {} too",
                entry.name(),
                other.dir
            ),
        )
        .next("rename one of them, or remove it")
        .at(join(&entry.dir, "stone.yaml"), 0, 0);
        let faulty = Entry {
            dir: entry.dir.clone(),
            tree: entry.tree,
            text: entry.text,
            reading: Reading::Faulty {
                name: entry.name().clone(),
                fault,
            },
        };
        if let Some(place) = entries.get_mut(at) {
            *place = Arc::new(faulty);
        }
    }
    entries
}

/// What the manifest beside a recipe says of its packages. A manifest that cannot be read is said as a warning, and the
/// recipe counts as one that has none: it can still be built.
fn read_manifest(repo: &gix::Repository, manifest: Option<(String, ObjectId)>) -> Result<Manifest> {
    let Some((path, id)) = manifest else {
        return Ok(Manifest::None);
    };
    let read = match read_blob(repo, id, &path, limit::MANIFEST_BYTES_MAX) {
        Ok(bytes) => manifest::read(&bytes),
        Err(fault) if fault.kind == Kind::Recipe => Err(fault),
        Err(fault) => return Err(fault),
    };
    Ok(match read {
        Ok(packages) => Manifest::Read(packages),
        Err(fault) => Manifest::Bad(
            Fault {
                kind: Kind::Recipe,
                ..fault
            }
            .next("build the recipe and commit the manifest that it makes")
            .at(path, 0, 0),
        ),
    })
}

/// A recipe with what is asked for beside it. A fault there is one of the recipe: built without what it asks for, it would fail
/// in ways that nobody understands.
fn with_constraints(
    repo: &gix::Repository,
    mut facts: Facts,
    (path, id): (String, ObjectId),
) -> Result<Result<Facts>> {
    let bytes = match read_blob(repo, id, &path, limit::CONSTRAINTS_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(fault) if fault.kind == Kind::Recipe => return Ok(Err(fault)),
        Err(fault) => return Err(fault),
    };
    Ok(text_of(&bytes, &path).and_then(|text| {
        let (constraints, warnings) = Constraints::parse(text, &path)?;
        facts.constraints = constraints;
        facts.warnings.extend(warnings);
        Ok(facts)
    }))
}

enum Manifest {
    None,
    Read(Vec<Meta>),
    Bad(Fault),
}

fn text_of<'a>(bytes: &'a [u8], file: &str) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes
            .iter()
            .take(error.valid_up_to())
            .filter(|byte| **byte == b'\n')
            .count();
        Fault::new(Kind::Recipe, "the recipe is not UTF-8 text")
            .next("save it as UTF-8")
            .at(file, u32::try_from(line).unwrap_or(0), 0)
    })
}

fn read_recipe(bytes: &[u8], file: &str, manifest: Manifest) -> Result<Facts> {
    let text = text_of(bytes, file)?;
    let (recipe, mut warnings) = Recipe::parse(text, file)?;
    let packages = match manifest {
        Manifest::None => None,
        Manifest::Read(packages) => Some(packages),
        Manifest::Bad(fault) => {
            warnings.push(fault);
            None
        }
    };
    recipe::facts(&recipe, packages.as_deref(), warnings)
}

/// The name in the text of a recipe that could not be read as a whole, else that of its directory.
fn name_of_faulty(text: &[u8], dir: &str) -> Result<RecipeName> {
    let text = String::from_utf8_lossy(text);
    let written = text
        .lines()
        .find_map(|line| line.strip_prefix("name")?.trim_start().strip_prefix(':'))
        .map(|value| value.split('#').next().unwrap_or_default())
        .map(|value| value.trim().trim_matches(['"', '\'']));
    let last = dir.rsplit('/').next().unwrap_or_default();
    [written.unwrap_or_default(), last, "unnamed"]
        .iter()
        .find_map(|name| name.parse().ok())
        .ok_or_else(|| Fault::bug(format!("no name for the faulty recipe in {dir}")))
}
