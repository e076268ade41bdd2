//! A part of a file as an answer's body: one chunk is read when the connection has taken the one before it, so an
//! answer of any size costs one chunk of memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

/// Bytes read at a time.
const CHUNK: u64 = 64 * 1024;

/// The bytes from `at` up to `end`.
pub(super) struct FileBody {
    file: Option<Arc<File>>,
    at: u64,
    end: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileBody {
    /// Without bytes.
    pub(super) fn empty() -> FileBody {
        FileBody {
            file: None,
            at: 0,
            end: 0,
            reading: None,
        }
    }

    /// The bytes of `file` from `at` up to `end`.
    pub(super) fn new(file: File, at: u64, end: u64) -> FileBody {
        FileBody {
            file: Some(Arc::new(file)),
            at,
            end,
            reading: None,
        }
    }
}

fn read_chunk(file: &File, at: u64, len: u64) -> io::Result<Bytes> {
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes.into())
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        let Some(file) = this.file.as_ref().filter(|_| this.at < this.end) else {
            return Poll::Ready(None);
        };
        let (at, len) = (this.at, CHUNK.min(this.end - this.at));
        let reading = this.reading.get_or_insert_with(|| {
            let file = Arc::clone(file);
            tokio::task::spawn_blocking(move || read_chunk(&file, at, len))
        });
        let read = ready!(Pin::new(reading).poll(context));
        this.reading = None;
        let read = read.unwrap_or_else(|_| Err(io::Error::other("the read was given up")));
        if read.is_ok() {
            this.at += len;
        } else {
            // The connection is closed: the length that was promised cannot be kept.
            this.end = this.at;
        }
        Poll::Ready(Some(read.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.at >= self.end
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.end - self.at)
    }
}
