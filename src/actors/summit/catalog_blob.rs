//! Catalogs as compact blobs, so that a start need not read 1,558 recipes again. Equal texts share their memory.

use std::collections::HashSet;
use std::io::Read;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Kind, Result};
use crate::id::{CommitId, ProjectName};
use crate::limit;
use crate::model::{Catalog, Entry};
use crate::recipe::Facts;
use crate::stone::Dependency;

/// The first byte of a blob. Raise it when `Entry` or anything in it changes, or when recipes are read differently:
/// blobs of another shape are refused, and the recipes are read from git again.
const SHAPE: u8 = 4;
/// The lowest level that compresses: a start waits for reading these, and they are small anyway.
const LEVEL: i32 = 1;

/// Texts that were met before, so that each is kept once: the same few thousand dependencies appear in all recipes.
#[derive(Default)]
pub struct Interner {
    texts: HashSet<Arc<str>>,
}

impl Interner {
    /// Lets a recipe share the texts of its dependencies with those met before.
    pub fn share(&mut self, facts: &mut Facts) {
        for need in &mut facts.needs {
            self.share_one(&mut need.dependency);
        }
        for package in &mut facts.packages {
            let all = package.provides.iter_mut().chain(&mut package.depends);
            all.for_each(|dependency| self.share_one(dependency));
        }
    }

    fn share_one(&mut self, dependency: &mut Dependency) {
        match self.texts.get(&dependency.name) {
            Some(known) => dependency.name = known.clone(),
            None => {
                self.texts.insert(dependency.name.clone());
            }
        }
    }
}

/// What stands before the entries.
#[derive(Serialize, Deserialize)]
struct Head {
    project: ProjectName,
    commit: CommitId,
    entries: u32,
}

/// A catalog as a compact blob.
pub fn encode(catalog: &Catalog) -> Result<Vec<u8>> {
    let bug = |error: &dyn std::error::Error| Fault::bug("cannot encode a catalog").because(error);
    let head = Head {
        project: catalog.project.clone(),
        commit: catalog.commit,
        entries: u32::try_from(catalog.entries.len()).map_err(|error| bug(&error))?,
    };
    let mut plain = postcard::to_allocvec(&head).map_err(|error| bug(&error))?;
    for entry in &catalog.entries {
        plain = postcard::to_extend(&**entry, plain).map_err(|error| bug(&error))?;
    }
    let packed = zstd::encode_all(plain.as_slice(), LEVEL).map_err(|error| bug(&error))?;
    let mut blob = Vec::with_capacity(1 + packed.len());
    blob.push(SHAPE);
    blob.extend(packed);
    Ok(blob)
}

/// A catalog from its blob. A blob of another shape, or a damaged one, is refused: read the recipes from git again then.
pub fn decode(blob: &[u8]) -> Result<Catalog> {
    let bad = |why: String| {
        Fault::new(
            Kind::TryAgain,
            format!("the recorded catalog cannot be used: {why}"),
        )
        .next("nothing: the recipes are read from git again")
    };
    let packed = match blob.split_first() {
        Some((&SHAPE, packed)) => packed,
        Some((shape, _)) => return Err(bad(format!("it has shape {shape}, not {SHAPE}"))),
        None => return Err(bad("it is empty".to_string())),
    };
    let mut plain = Vec::new();
    zstd::Decoder::new(packed)
        .and_then(|decoder| {
            let bound = limit::CATALOG_BYTES_MAX as u64 + 1;
            decoder.take(bound).read_to_end(&mut plain)
        })
        .map_err(|error| bad(error.to_string()))?;
    if plain.len() > limit::CATALOG_BYTES_MAX {
        return Err(bad("it is too large".to_string()));
    }
    let (head, mut rest) =
        postcard::take_from_bytes::<Head>(&plain).map_err(|error| bad(error.to_string()))?;
    let mut interner = Interner::default();
    let mut entries = Vec::with_capacity((head.entries as usize).min(limit::RECIPES_MAX));
    for _ in 0..head.entries {
        let (mut entry, after) =
            postcard::take_from_bytes::<Entry>(rest).map_err(|error| bad(error.to_string()))?;
        rest = after;
        if let crate::model::Reading::Good(facts) = &mut entry.reading {
            interner.share(facts);
        }
        entries.push(Arc::new(entry));
    }
    if !rest.is_empty() {
        return Err(bad(format!("{} bytes follow its end", rest.len())));
    }
    Ok(Catalog {
        project: head.project,
        commit: head.commit,
        entries,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Kind;
    use crate::id::{Arch, Digest};
    use crate::model::Reading;
    use crate::recipe::{Need, NeedOrigin, PackageFacts, Toolchain, UpstreamFacts};

    fn every_field() -> Vec<Entry> {
        let dependency = |text: &str| text.parse::<Dependency>().unwrap();
        let facts = Facts {
            name: "hello".parse().unwrap(),
            version: "2.10".to_string(),
            release: 3,
            summary: "s".to_string(),
            description: "d".to_string(),
            homepage: "h".to_string(),
            licenses: vec!["MIT".to_string()],
            upstreams: vec![
                UpstreamFacts::Archive {
                    url: "u".to_string(),
                    sha256: Digest([1; 32]),
                },
                UpstreamFacts::Git {
                    url: "g".to_string(),
                    reference: "r".to_string(),
                },
            ],
            toolchain: Some(Toolchain::Gnu),
            networking: true,
            emul32: false,
            architectures: vec![Arch::Aarch64],
            needs: vec![Need {
                dependency: dependency("binary(cmake)"),
                origin: NeedOrigin::Check,
            }],
            packages: vec![PackageFacts {
                name: "hello".to_string(),
                summary: "s".to_string(),
                provides: vec![dependency("pkgconfig(hello)")],
                depends: vec![dependency("glibc")],
            }],
            from_manifest: true,
            constraints: crate::recipe::Constraints {
                memory_mib: Some(4_096),
                disk_mib: None,
                time_s: Some(7_200),
                cores: Some(6),
            },
            build_systems: vec!["cmake".to_string()],
            warnings: vec![
                Fault::new(Kind::Recipe, "odd")
                    .next("mend it")
                    .at("f", 1, 2),
            ],
        };
        let good = Entry {
            dir: "h/hello".to_string(),
            tree: CommitId([2; 20]),
            text: CommitId([4; 20]),
            reading: Reading::Good(Box::new(facts)),
        };
        let faulty = Entry {
            dir: "x".to_string(),
            tree: CommitId([3; 20]),
            text: CommitId([5; 20]),
            reading: Reading::Faulty {
                name: "x".parse().unwrap(),
                fault: Fault::new(Kind::Recipe, "bad"),
            },
        };
        vec![good, faulty]
    }

    /// If this fails you changed what a catalog's blob holds: raise `SHAPE`, then put the new bytes here.
    #[test]
    fn the_bytes_of_shape_4_are_frozen() {
        let bytes: Vec<u8> = every_field()
            .iter()
            .flat_map(|entry| postcard::to_allocvec(entry).unwrap())
            .collect();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((SHAPE, hex.as_str()), (4, FROZEN));
    }

    #[test]
    fn equal_texts_share_their_memory() {
        let [mut one, mut two] = [every_field().remove(0), every_field().remove(0)];
        let mut interner = Interner::default();
        for entry in [&mut one, &mut two] {
            if let Reading::Good(facts) = &mut entry.reading {
                interner.share(facts);
            }
        }
        let name = |entry: &Entry| match &entry.reading {
            Reading::Good(facts) => facts.needs[0].dependency.name.clone(),
            Reading::Faulty { .. } => unreachable!(),
        };
        assert!(Arc::ptr_eq(&name(&one), &name(&two)));
    }

    const FROZEN: &str = concat!(
        "07682f68656c6c6f02020202020202020202020202020202020202020404040404040404040404040404040404040404",
        "000568656c6c6f04322e31300301730164016801034d4954020001750101010101010101010101010101010101010101",
        "0101010101010101010101010101670172010101000101010605636d616b6501010568656c6c6f017301020568656c6c",
        "6f010005676c696263010105636d616b650102036f646400076d656e6420697401016601020180200001a03801060178",
        "030303030303030303030303030303030303030305050505050505050505050505050505050505050101780203626164",
        "000000",
    );
}
