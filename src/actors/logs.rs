//! Reads logs for the admin interface, in pieces or as they grow. The log of a build elsewhere is copied while it runs, and its
//! last bytes may come after the word that it is over: then they are waited for a moment, and what is missing is said.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::desk::{Desk, PIECE_BYTES_MAX, SIGN_OF_LIFE, ask, blocking, read_at};
use super::{avalanche, post, summit};
use crate::admin::Reply;
use crate::admin::summit::LogPiece;
use crate::fault::Result;
use crate::id::{AttemptId, HostId};
use crate::model::AttemptState;
use crate::net::admin::{Answer, Piece};

/// Bytes of a log in one answer, unless asked for less.
const PIECE_BYTES: u64 = 64 * 1024;
/// How often a followed log is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// One answer waits so long for the end of a log that is on its way; whoever wants it still asks again.
const PATIENCE: Duration = Duration::from_secs(1);

/// Which piece somebody wants.
pub(super) struct Wish {
    /// From this byte on; a negative one counts from the end.
    pub(super) offset: Option<i64>,
    /// Bytes at most.
    pub(super) bytes_max: Option<u32>,
    /// As bytes instead of text.
    pub(super) base64: bool,
}

/// How an attempt stands as far as its log goes.
struct Standing {
    /// Its build is over.
    over: bool,
    /// More of it is on its way to this host.
    copying: bool,
    /// It is another host's, and its copy here is not known to be whole.
    open_copy: bool,
    /// Bytes of the whole log, as its builder said.
    bytes: Option<u64>,
    /// Who built it, where that is known and another host.
    builder: Option<HostId>,
}

/// What of a log is here.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Here {
    /// All of it.
    All,
    /// Its build goes on.
    SoFar,
    /// Its builder has so many more bytes; `None`: nobody said how many.
    Part(Option<u64>),
    /// Nothing, and nothing comes: it was deleted, or never written.
    Nothing,
}

impl Standing {
    /// What of it is here, when so many bytes are; `None`: there is no file.
    fn here(&self, bytes: Option<u64>) -> Here {
        let missing = self
            .bytes
            .map(|all| all.saturating_sub(bytes.unwrap_or(0)))
            .filter(|missing| *missing > 0);
        match (self.over, self.copying, bytes, missing) {
            (false, ..) => Here::SoFar,
            (true, true, ..) => Here::Part(missing),
            (true, false, None, Some(_)) => Here::Nothing,
            (true, false, Some(_), Some(missing)) if self.open_copy => Here::Part(Some(missing)),
            (true, false, ..) => Here::All,
        }
    }
}

impl Desk {
    async fn standing(&self, attempt: AttemptId) -> Result<Standing> {
        if !self.is_summit() {
            // What is built here is written here.
            return Ok(Standing {
                over: super::owner::is_over(attempt).await,
                copying: false,
                open_copy: false,
                bytes: None,
                builder: None,
            });
        }
        // Asked before anything is read: what is written after the end was seen would be missed otherwise.
        let (over, builder, bytes) = end_of(attempt).await?;
        let builder = builder.filter(|builder| *builder != self.0.own);
        let links = &self.0.links;
        Ok(Standing {
            over,
            copying: links.is_copying(attempt),
            open_copy: builder.is_some() && !links.is_sealed(attempt),
            bytes,
            builder,
        })
    }

    /// The same once the end of the log is here, or after a moment.
    async fn settled(&self, attempt: AttemptId, path: &Path, from: u64) -> Result<Standing> {
        let until = Instant::now() + PATIENCE;
        loop {
            let standing = self.standing(attempt).await?;
            let bytes = size(path).await;
            // Who reads its beginning need not wait for its end.
            let reaches = from + PIECE_BYTES_MAX >= bytes.unwrap_or(0);
            let comes = standing.copying && matches!(standing.here(bytes), Here::Part(_));
            if !(comes && reaches) || Instant::now() >= until {
                return Ok(standing);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What a reader has to know beside the piece.
    fn told(&self, standing: &Standing, here: &Here, piece: LogPiece) -> LogPiece {
        let on = matches!(here, Here::Part(_)).then(|| {
            let builder = standing.builder.as_ref();
            let name = builder.and_then(|builder| self.0.links.name_of(builder));
            name.map_or_else(|| "another host".into(), |name| name.to_string())
        });
        LogPiece {
            complete: *here == Here::All,
            missing_bytes: match here {
                Here::All => Some(0),
                Here::Part(missing) => *missing,
                Here::SoFar | Here::Nothing => None,
            },
            on,
            ..piece
        }
    }

    /// A piece of a log, or all of it as it grows.
    pub(super) async fn log(
        self,
        attempt: AttemptId,
        wish: Wish,
        more: bool,
        reply: impl Fn(&LogPiece) -> Result<Reply> + Send + 'static,
    ) -> Result<Answer> {
        let path = avalanche::builder::log_path(&self.0.dir, attempt);
        let max = wish
            .bytes_max
            .map_or(PIECE_BYTES, u64::from)
            .clamp(1, PIECE_BYTES_MAX);
        let from = |size: u64| match wish.offset {
            None => 0,
            Some(from) if from < 0 => size.saturating_sub(from.unsigned_abs()),
            Some(from) => from.unsigned_abs(),
        };
        let offset = from(size(&path).await.unwrap_or(0));
        if !more {
            let standing = self.settled(attempt, &path, offset).await?;
            let bytes = size(&path).await;
            let piece = read_piece(path, offset, max, wish.base64, attempt).await?;
            let end = standing.over && !standing.copying && piece.next >= bytes.unwrap_or(0);
            let piece = self.told(&standing, &standing.here(bytes), LogPiece { end, ..piece });
            return Ok(Answer::One(reply(&piece)?));
        }
        Ok(Answer::Stream(self.follow(
            (attempt, path),
            (offset, max, wish.base64),
            reply,
        )))
    }

    fn follow(
        self,
        (attempt, path): (AttemptId, PathBuf),
        (mut offset, max, base64): (u64, u64, bool),
        reply: impl Fn(&LogPiece) -> Result<Reply> + Send + 'static,
    ) -> mpsc::Receiver<Result<Piece>> {
        let (send, receive) = mpsc::channel(4);
        tokio::spawn(async move {
            let mut quiet = Instant::now();
            loop {
                let standing = self.standing(attempt).await;
                let piece = read_piece(path.clone(), offset, max, base64, attempt).await;
                let answer = match (standing, piece) {
                    (Ok(standing), Ok(piece)) => {
                        let over = standing.over && !standing.copying;
                        let empty = piece.next == offset;
                        if empty && !over && quiet.elapsed() < SIGN_OF_LIFE {
                            if send.is_closed() {
                                return;
                            }
                            tokio::time::sleep(LOOK).await;
                            continue;
                        }
                        quiet = Instant::now();
                        offset = piece.next;
                        let end = over && empty;
                        let here = standing.here(size(&path).await);
                        let piece = self.told(&standing, &here, LogPiece { end, ..piece });
                        reply(&piece).map(|reply| match end {
                            true => Piece::Last(reply),
                            false => Piece::More(reply),
                        })
                    }
                    (Err(fault), _) | (_, Err(fault)) => Err(fault),
                };
                let last = !matches!(&answer, Ok(Piece::More(_)));
                if send.send(answer).await.is_err() || last {
                    return;
                }
            }
        });
        receive
    }
}

/// Bytes of a log here; `None`: there is none.
async fn size(path: &Path) -> Option<u64> {
    let meta = tokio::fs::metadata(path).await;
    meta.ok().map(|meta| meta.len())
}

/// Whether a log will not grow any more.
pub(super) async fn is_over(attempt: AttemptId) -> Result<bool> {
    Ok(end_of(attempt).await?.0)
}

/// Whether an attempt is over, who built it, and the bytes of its log, as far as that is known.
async fn end_of(attempt: AttemptId) -> Result<(bool, Option<HostId>, Option<u64>)> {
    let job = attempt.job;
    if summit::tries::is_try(job) {
        let over = ask(post::names::SUMMIT, |reply| {
            summit::Msg::TryIsOver(job, reply)
        });
        return Ok((over.await?, None, None));
    }
    let located = ask(post::names::SUMMIT, |reply| {
        summit::Msg::Locate(job.to_string(), reply)
    })
    .await??;
    let known = located.attempts.iter().find(|known| known.id == attempt);
    let over = known.is_none_or(|known| match known.state {
        AttemptState::Assigned | AttemptState::Building => false,
        AttemptState::Built | AttemptState::Published { .. } | AttemptState::Ended { .. } => true,
    });
    let bytes = located.log_bytes.get(&attempt.try_no).copied();
    Ok((over, known.map(|known| known.builder), bytes))
}

async fn read_piece(
    path: PathBuf,
    offset: u64,
    max: u64,
    base64: bool,
    attempt: AttemptId,
) -> Result<LogPiece> {
    let bytes = blocking(move || {
        if path.exists() {
            read_at(&path, offset, max)
        } else {
            Ok(Vec::new())
        }
    })
    .await?;
    // A character must not be cut in two, unless it is no character at all.
    let whole = if base64 {
        bytes.len()
    } else {
        whole_characters(&bytes)
    };
    let bytes = bytes.get(..whole).unwrap_or(&bytes);
    let next = offset + bytes.len() as u64;
    let (text, encoded) = if base64 {
        (
            None,
            Some(base64::engine::general_purpose::STANDARD.encode(bytes)),
        )
    } else {
        (Some(String::from_utf8_lossy(bytes).into_owned()), None)
    };
    Ok(LogPiece {
        offset,
        text,
        base64: encoded,
        next,
        end: false,
        try_no: attempt.try_no,
        complete: false,
        missing_bytes: None,
        on: None,
    })
}

/// How many bytes make whole characters: a broken end of up to three bytes waits for the next piece.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => error.valid_up_to(),
        Ok(_) | Err(_) => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_of_a_log_is_here_follows_from_its_copy_and_its_builders_word() {
        let standing = |over, copying, open_copy, bytes| Standing {
            over,
            copying,
            open_copy,
            bytes,
            builder: None,
        };
        for (standing, bytes, here) in [
            // It is being built, here or elsewhere.
            (standing(false, false, false, None), Some(5), Here::SoFar),
            (standing(false, true, true, None), Some(5), Here::SoFar),
            // Built here.
            (standing(true, false, false, Some(9)), Some(9), Here::All),
            (standing(true, false, false, None), None, Here::All),
            // Its last bytes are on their way.
            (
                standing(true, true, true, Some(9)),
                Some(5),
                Here::Part(Some(4)),
            ),
            (
                standing(true, true, true, Some(9)),
                None,
                Here::Part(Some(9)),
            ),
            (standing(true, true, true, None), Some(5), Here::Part(None)),
            (
                standing(true, true, true, Some(9)),
                Some(9),
                Here::Part(None),
            ),
            // The copy is whole, or broke off when its builder went away.
            (standing(true, false, false, Some(9)), Some(5), Here::All),
            (standing(true, false, true, Some(9)), Some(9), Here::All),
            (
                standing(true, false, true, Some(9)),
                Some(5),
                Here::Part(Some(4)),
            ),
            // It was deleted here; nobody knows whether its builder still has it.
            (standing(true, false, true, Some(9)), None, Here::Nothing),
        ] {
            assert_eq!(standing.here(bytes), here, "{bytes:?}");
        }
    }
}
