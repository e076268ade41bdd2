//! Packed recipe directories on their way in, for `massif try`: pieces in order into a file, which becomes a blob when its
//! hash is right.

use std::fs::OpenOptions;
use std::io::Write;

use base64::Engine;

use super::desk::Inner;
use crate::admin::summit::RecipeUpload;
use crate::fault::{Fault, Kind, Result};
use crate::id::Digest;
use crate::limit;

/// Takes one piece; how many bytes are there then. Blocking.
pub fn take(inner: &Inner, piece: &RecipeUpload) -> Result<u64> {
    if inner.blobs.contains(&piece.sha256) {
        return Ok(piece.size);
    }
    if piece.size > limit::RECIPE_PACK_BYTES_MAX {
        return Err(
            Fault::new(Kind::Usage, "the recipe's directory is too large")
                .next("large files belong into upstreams"),
        );
    }
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(&piece.base64)
        .map_err(|error| Fault::new(Kind::Usage, "a piece is no base64").because(&error))?;
    let dir = inner.dir.join("uploads");
    let path = dir.join(piece.sha256.to_string());
    let failed = |error: std::io::Error| {
        let what = format!("cannot write {}", path.display());
        Fault::new(Kind::Builder, what).because(&error)
    };
    std::fs::create_dir_all(&dir).map_err(failed)?;
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(failed)?;
    let have = file.metadata().map_err(failed)?.len();
    if piece.offset == 0 && have > 0 {
        // Somebody begins anew after an upload that broke off.
        file.set_len(0).map_err(failed)?;
    } else if piece.offset != have {
        let what = format!("the next piece begins at {have}, not at {}", piece.offset);
        return Err(Fault::new(Kind::Conflict, what).next("upload it again from its beginning"));
    }
    let have = piece.offset + bytes.len() as u64;
    if have > piece.size {
        return Err(Fault::new(Kind::Usage, "more came than was announced"));
    }
    file.write_all(&bytes).map_err(failed)?;
    if have == piece.size {
        let whole = std::fs::read(&path).map_err(failed)?;
        std::fs::remove_file(&path).map_err(failed)?;
        if Digest(<sha2::Sha256 as sha2::Digest>::digest(&whole).into()) != piece.sha256 {
            return Err(
                Fault::new(Kind::Usage, "what arrived has another hash").next("upload it again")
            );
        }
        inner.blobs.put_bytes(&whole)?;
    }
    Ok(have)
}
