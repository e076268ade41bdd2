//! Mirror directories: files matched by the hash of their content. A file is hashed once and remembered by path, size
//! and time of change, in `upstreams/mirrors.json`, which may be deleted at any time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::pour;
use crate::id::Digest;
use crate::limit;
use crate::plan::estimate::UpstreamSizes;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    size: u64,
    changed_ns: i128,
    sha256: Digest,
}

/// What is known of the files of all mirror directories.
#[derive(Debug, Default)]
pub(super) struct Seen {
    notes: PathBuf,
    files: BTreeMap<PathBuf, Known>,
}

struct Candidate {
    path: PathBuf,
    size: u64,
    changed_ns: i128,
}

impl Seen {
    pub(super) fn load(dir: &Path) -> Seen {
        let notes = dir.join("mirrors.json");
        let files = std::fs::read(&notes)
            .ok()
            .and_then(|raw| serde_json::from_slice(&raw).ok())
            .unwrap_or_default();
        Seen { notes, files }
    }

    /// The file with this hash. One of the wanted name is hashed first, the others after it, until it is found.
    pub(super) fn find(&mut self, dir: &Path, name: &str, sha256: Digest) -> Option<PathBuf> {
        let mut candidates = Vec::new();
        collect(dir, 0, &mut candidates);
        candidates.sort_by_key(|file| {
            let other_name = file.path.file_name().is_none_or(|own| own != name);
            (other_name, file.path.clone())
        });
        let (known, unknown): (Vec<&Candidate>, Vec<&Candidate>) = candidates
            .iter()
            .partition(|file| self.known(file).is_some());
        if let Some(file) = known.iter().find(|file| self.known(file) == Some(sha256)) {
            return Some(file.path.clone());
        }
        let mut found = None;
        for file in &unknown {
            let Ok(got) = File::open(&file.path)
                .and_then(|from| pour(from, &mut io::sink(), limit::UPSTREAM_BYTES_MAX))
            else {
                continue;
            };
            self.files.insert(
                file.path.clone(),
                Known {
                    size: file.size,
                    changed_ns: file.changed_ns,
                    sha256: got,
                },
            );
            if got == sha256 {
                found = Some(file.path.clone());
                break;
            }
        }
        if !unknown.is_empty() {
            self.save();
        }
        found
    }

    /// How large the files of a directory are: by hash where that is known, else by name.
    pub(super) fn sizes(&self, dir: &Path, sizes: &mut UpstreamSizes) {
        let mut files = Vec::new();
        collect(dir, 0, &mut files);
        for file in files {
            match self.known(&file) {
                Some(hash) => {
                    sizes.by_hash.insert(hash, file.size);
                }
                None => {
                    let name = file.path.file_name().and_then(|name| name.to_str());
                    sizes
                        .by_name
                        .extend(name.map(|name| (name.to_string(), file.size)));
                }
            }
        }
    }

    fn known(&self, file: &Candidate) -> Option<Digest> {
        self.files
            .get(&file.path)
            .filter(|known| known.size == file.size && known.changed_ns == file.changed_ns)
            .map(|known| known.sha256)
    }

    /// Losing the notes only costs hashing again, so a failure to write them is not told.
    fn save(&self) {
        let fresh = self.notes.with_extension("new");
        if let Ok(raw) = serde_json::to_vec(&self.files)
            && std::fs::write(&fresh, raw).is_ok()
        {
            let _ = std::fs::rename(&fresh, &self.notes);
        }
    }
}

/// Regular files, three levels deep; links to files count.
fn collect(dir: &Path, depth: u32, out: &mut Vec<Candidate>) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        if out.len() >= limit::MIRROR_FILES_MAX {
            return;
        }
        let path = entry.path();
        let Ok(meta) = path.metadata() else {
            continue;
        };
        if meta.is_dir() && depth < 3 {
            collect(&path, depth + 1, out);
        } else if meta.is_file() {
            out.push(Candidate {
                path,
                size: meta.len(),
                changed_ns: i128::from(meta.mtime()) * 1_000_000_000
                    + i128::from(meta.mtime_nsec()),
            });
        }
    }
}
