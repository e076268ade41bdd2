//! Messages that end with a NUL byte, bounded in size and time.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Why there is no message.
#[derive(Debug)]
pub(super) enum FrameError {
    /// The other side closed between two messages.
    Closed,
    /// The other side closed within a message, or the system says that reading failed.
    Broken(std::io::Error),
    /// A message went over its bound.
    TooLong,
    /// The rest of a message did not come in time, or nobody took ours.
    TooSlow,
}

/// Reads messages. Cancelling a read loses nothing.
#[derive(Debug)]
pub(super) struct FrameReader<R> {
    from: R,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that were looked through for a NUL.
    searched: usize,
    bytes_max: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) fn new(from: R, bytes_max: usize) -> FrameReader<R> {
        FrameReader {
            from,
            buffer: Vec::new(),
            searched: 0,
            bytes_max,
        }
    }

    /// The next message without its NUL. Waits as long as it takes for the first byte, and `rest_s` for the rest.
    pub(super) async fn next(&mut self, rest_s: u64) -> Result<Vec<u8>, FrameError> {
        if let Some(frame) = self.take()? {
            return Ok(frame);
        }
        if self.buffer.is_empty() {
            self.fill().await?;
        }
        let rest = async {
            loop {
                if let Some(frame) = self.take()? {
                    return Ok(frame);
                }
                self.fill().await?;
            }
        };
        match tokio::time::timeout(Duration::from_secs(rest_s), rest).await {
            Ok(frame) => frame,
            Err(_) => Err(FrameError::TooSlow),
        }
    }

    /// Waits until the other side closes; whatever it sends meanwhile is kept for later, up to one message's bound.
    pub(super) async fn closed(&mut self) {
        loop {
            if self.buffer.len() > self.bytes_max {
                // It sends without reading: as good as gone, and nothing more of it is kept.
                return;
            }
            if self.fill().await.is_err() {
                return;
            }
        }
    }

    async fn fill(&mut self) -> Result<(), FrameError> {
        self.buffer.reserve(8 * 1024);
        match self.from.read_buf(&mut self.buffer).await {
            Ok(0) if self.buffer.is_empty() => Err(FrameError::Closed),
            Ok(0) => Err(FrameError::Broken(std::io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(()),
            Err(error) => Err(FrameError::Broken(error)),
        }
    }

    fn take(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        let fresh = self.buffer.get(self.searched..).unwrap_or_default();
        match fresh.iter().position(|byte| *byte == 0) {
            Some(at) if self.searched + at > self.bytes_max => Err(FrameError::TooLong),
            Some(at) => {
                let rest = self.buffer.split_off(self.searched + at + 1);
                let mut frame = std::mem::replace(&mut self.buffer, rest);
                frame.pop();
                self.searched = 0;
                Ok(Some(frame))
            }
            None => {
                self.searched = self.buffer.len();
                if self.searched > self.bytes_max {
                    return Err(FrameError::TooLong);
                }
                Ok(None)
            }
        }
    }
}

/// Writes one message and its NUL, or gives up when nobody takes it.
pub(super) async fn write_frame<W: AsyncWrite + Unpin>(
    to: &mut W,
    text: String,
    within_s: u64,
) -> Result<(), FrameError> {
    let mut bytes = text.into_bytes();
    bytes.push(0);
    let write = async {
        to.write_all(&bytes).await?;
        to.flush().await
    };
    match tokio::time::timeout(Duration::from_secs(within_s), write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(FrameError::Broken(error)),
        Err(_) => Err(FrameError::TooSlow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn frames(bytes: &[u8], bytes_max: usize) -> (Vec<String>, FrameError) {
        let mut reader = FrameReader::new(bytes, bytes_max);
        let mut found = Vec::new();
        loop {
            match reader.next(1).await {
                Ok(frame) => found.push(String::from_utf8_lossy(&frame).into_owned()),
                Err(error) => return (found, error),
            }
        }
    }

    #[tokio::test]
    async fn messages_end_with_a_nul_and_have_a_bound() {
        let (found, end) = frames(b"one\0two\0\0", 3).await;
        assert_eq!(found, ["one", "two", ""]);
        assert!(matches!(end, FrameError::Closed));
        let (found, end) = frames(b"one\0four\0", 3).await;
        assert_eq!(found, ["one"]);
        assert!(matches!(end, FrameError::TooLong));
        let (found, end) = frames(&[b'x'; 100_000], 10_000).await;
        assert!(found.is_empty());
        assert!(matches!(end, FrameError::TooLong));
        let (_, end) = frames(b"ha", 3).await;
        assert!(matches!(end, FrameError::Broken(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_message_is_not_waited_for_longer_than_allowed() {
        let (mut ours, theirs) = tokio::io::duplex(64);
        tokio::io::AsyncWriteExt::write_all(&mut ours, b"{\"meth")
            .await
            .unwrap();
        let mut reader = FrameReader::new(theirs, 100);
        assert!(matches!(reader.next(5).await, Err(FrameError::TooSlow)));
    }
}
