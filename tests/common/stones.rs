//! What lies in packages that a farm made.

use std::io::Seek;
use std::path::{Path, PathBuf};

use massif::stone::{Node, Package};

use super::farm::Farm;

/// The main package among the artefacts of a job.
pub fn of_job(farm: &Farm, job: &str, to: &Path) -> PathBuf {
    std::fs::create_dir_all(to).unwrap();
    farm.ok(&["job", "artefacts", job, "--out", to.to_str().unwrap()]);
    let mut all = std::fs::read_dir(to)
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let found = all.find(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.ends_with(".stone") && !name.contains("dbginfo")
    });
    found.unwrap()
}

/// The bytes of a regular file, its path without `/usr`; `None`: it has none of that name.
pub fn file(stone: &Path, path: &str) -> Option<Vec<u8>> {
    let mut file = std::fs::File::open(stone).unwrap();
    let package = Package::read(&mut file).unwrap();
    let entry = package.layout.iter().find(|one| one.path == path)?;
    let Node::Regular(wanted) = entry.node else {
        return None;
    };
    file.rewind().unwrap();
    let mut bytes = Vec::new();
    package
        .unpack(&mut file, &mut |one, from| {
            if one.hash == wanted {
                from.read_to_end(&mut bytes).unwrap();
            }
            Ok(())
        })
        .unwrap();
    Some(bytes)
}
