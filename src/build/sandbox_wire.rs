//! What the host and the first process of a sandbox say to each other, and how it is framed: four bytes of length,
//! big-endian, then postcard. Both ends are one binary, so these enums need no history.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::sandbox::{Spec, Step, StepEnd};
use crate::fault::Fault;

/// A frame; the largest thing sent is a loader cache (some 200 KiB on a machine with 2,000 libraries).
pub(super) const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// From the host.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Tell {
    /// Make the root. First and once.
    Start(Box<Spec>),
    /// Run one program.
    Run(Step),
    /// End.
    Finish,
}

/// To the host.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    /// The first process exists and has this number outside.
    Born { pid: i32 },
    /// The root is made; with the loader's cache if it had to be made too.
    Ready { loader_cache: Option<Vec<u8>> },
    /// A step ended.
    Ended(StepEnd),
    /// The step could not be started, the sandbox lives on.
    NotRun(Fault),
    /// The sandbox could not be made; it is gone.
    Failed(Fault),
}

fn broken(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn frame<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut bytes = postcard::to_extend(message, vec![0; 4])
        .map_err(|_| broken("a message to the sandbox cannot be encoded"))?;
    let length = bytes.len() - 4;
    if length > FRAME_BYTES_MAX {
        return Err(broken("a message to the sandbox is too long"));
    }
    bytes[..4].copy_from_slice(&(length as u32).to_be_bytes());
    Ok(bytes)
}

fn length(head: [u8; 4]) -> io::Result<usize> {
    match u32::from_be_bytes(head) as usize {
        length if length <= FRAME_BYTES_MAX => Ok(length),
        _ => Err(broken("a message of the sandbox is too long")),
    }
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        _ => Err(broken("a message of the sandbox cannot be read")),
    }
}

pub(super) fn send<T: Serialize>(to: &mut impl Write, message: &T) -> io::Result<()> {
    to.write_all(&frame(message)?)
}

pub(super) fn receive<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    let mut head = [0; 4];
    from.read_exact(&mut head)?;
    let mut body = vec![0; length(head)?];
    from.read_exact(&mut body)?;
    decode(&body)
}

pub(super) async fn send_async<T: Serialize>(
    to: &mut (impl AsyncWriteExt + Unpin),
    message: &T,
) -> io::Result<()> {
    to.write_all(&frame(message)?).await
}

pub(super) async fn receive_async<T: DeserializeOwned>(
    from: &mut (impl AsyncReadExt + Unpin),
) -> io::Result<T> {
    let mut head = [0; 4];
    from.read_exact(&mut head).await?;
    let mut body = vec![0; length(head)?];
    from.read_exact(&mut body).await?;
    decode(&body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_and_a_long_one_is_refused_before_it_is_allocated() {
        let mut bytes = Vec::new();
        send(&mut bytes, &Said::Born { pid: 7 }).unwrap();
        assert_eq!(bytes, [0, 0, 0, 2, 0, 14]);
        assert!(matches!(
            receive(&mut bytes.as_slice()),
            Ok(Said::Born { pid: 7 })
        ));
        assert!(receive::<Said>(&mut [0xff, 0, 0, 0].as_slice()).is_err());
        assert!(receive::<Said>(&mut [0, 0, 0, 3, 0, 14, 9].as_slice()).is_err());
    }
}
