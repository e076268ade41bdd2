//! Serves a directory read-only over HTTP/1.1: what clients install from. GET and HEAD, conditions, single ranges; no
//! listing, nothing outside the directory, bounded connections, memory and patience.

mod answer;
mod body;
mod stall;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::fault::{Fault, Kind, Result};

/// Connections at a time; more wait in the kernel's queue. A file descriptor and some 100 KiB each.
const CONNECTIONS_MAX: usize = 256;
/// A request's head must arrive within this time, and an idle connection is closed after it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// A client that takes no byte for this long is dropped.
const WRITE_STALL: Duration = Duration::from_secs(30);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Header fields of a request.
const HEADERS_MAX: usize = 64;
/// Time that running answers get when the server stops; part of `limit::STOP_S`. In this crate's own tests as much as the slowest
/// machine takes.
const STOP_GRACE: Duration = Duration::from_secs(if cfg!(test) { 600 } else { 2 });
/// Wait after a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// A running server. Dropped, it stops at once; `stop` lets running answers end.
pub struct HttpServer {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl HttpServer {
    /// Serves `root` on `listen`; port 0 takes a free one. Needs a tokio runtime.
    pub async fn start(root: &Path, listen: SocketAddr) -> Result<HttpServer> {
        let flags =
            rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::PATH;
        let directory =
            rustix::fs::open(root, flags, rustix::fs::Mode::empty()).map_err(|error| {
                Fault::new(Kind::Operator, format!("cannot serve {}", root.display()))
                    .because(&error)
                    .next("make that directory, or mend its rights")
            })?;
        let taken = |error: std::io::Error| {
            Fault::new(
                Kind::Operator,
                format!("cannot listen on {listen} for HTTP"),
            )
            .because(&error)
            .next("choose another address with --http, or stop what listens there")
        };
        let listener = TcpListener::bind(listen).await.map_err(taken)?;
        let address = listener.local_addr().map_err(taken)?;
        let (stop, stopping) = watch::channel(false);
        let task = tokio::spawn(accept(listener, Arc::new(directory), stopping));
        Ok(HttpServer {
            address,
            stop,
            task,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, lets running answers end for a moment, then closes them.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        // The task ends by itself within the grace; a panic in it was logged by the runtime.
        drop((&mut self.task).await);
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, root: Arc<OwnedFd>, mut stopping: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            _ = stopping.changed() => break,
            accepted = async {
                // Never closed, so there is always a permit in the end.
                let permit = Arc::clone(&room).acquire_owned().await.ok();
                (listener.accept().await, permit)
            } => accepted,
        };
        match accepted {
            (Ok((stream, _)), permit) => {
                let (root, stopping) = (Arc::clone(&root), stopping.clone());
                connections.spawn(async move {
                    let _permit = permit;
                    serve(stream, root, stopping).await;
                });
            }
            (Err(error), _) => {
                tracing::warn!(%error, "http: cannot accept a connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_GRACE, ended).await.is_err() {
        tracing::info!("http: closed connections that were still being answered");
    }
}

async fn serve(stream: TcpStream, root: Arc<OwnedFd>, mut stopping: watch::Receiver<bool>) {
    // Without it small answers wait for the client's delayed acknowledgement; when it fails they only are slower.
    drop(stream.set_nodelay(true));
    let service = service_fn(move |request| {
        let root = Arc::clone(&root);
        async move { Ok::<_, Infallible>(answer::answer(&root, &request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_header_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(64 * 1024)
        .half_close(false)
        .serve_connection(
            TokioIo::new(stall::Stalling::new(stream, WRITE_STALL)),
            service,
        );
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "http: a connection ended early");
    }
}
