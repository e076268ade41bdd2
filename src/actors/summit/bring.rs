//! What another host made of a try, fetched into this host's directory of the attempt, where its owner reads it. It is a cache:
//! the builder keeps everything until the owner has it.

use std::path::Path;

use crate::actors::avalanche::builder;
use crate::actors::desk::blocking;
use crate::actors::links::Links;
use crate::fault::{Fault, Kind, Result};
use crate::id::{AttemptId, HostId};
use crate::limit;
use crate::model::Artefact;
use crate::store::Blobs;

/// All files of an attempt of that host, or none of them.
pub async fn bring(
    links: &Links,
    dir: &Path,
    (from, attempt): (HostId, AttemptId),
    artefacts: Vec<Artefact>,
) -> Result<Vec<Artefact>> {
    for artefact in &artefacts {
        let name = &artefact.name;
        let plain = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
        if !plain || artefact.blob.size > limit::STONE_FILE_BYTES_MAX {
            let what = format!("a builder says that it made a file {name:?} of a try");
            return Err(Fault::new(Kind::Builder, what).next("look at that builder"));
        }
    }
    let out = builder::out_dir(dir, attempt);
    let coming = builder::attempt_dir(dir, attempt).join("coming");
    let (made_out, made_coming) = (out.clone(), coming.clone());
    let failed = |path: &Path, error: &std::io::Error| {
        Fault::new(Kind::Operator, format!("cannot keep {}", path.display()))
            .because(error)
            .next("look at the disk of the state directory")
    };
    let blobs = blocking(move || {
        std::fs::create_dir_all(&made_out).map_err(|error| failed(&made_out, &error))?;
        std::fs::create_dir_all(&made_coming).map_err(|error| failed(&made_coming, &error))?;
        Blobs::open(&made_coming)
    })
    .await?;
    for artefact in &artefacts {
        links
            .fetch_blob(from, Some(attempt), artefact.blob, &blobs)
            .await?;
    }
    blocking(move || {
        for artefact in &artefacts {
            // Two files of the same bytes are one there.
            let (here, to) = (blobs.path(&artefact.blob.sha256), out.join(&artefact.name));
            std::fs::copy(&here, &to).map_err(|error| failed(&to, &error))?;
        }
        std::fs::remove_dir_all(&coming).map_err(|error| failed(&coming, &error))?;
        Ok(artefacts)
    })
    .await
}
