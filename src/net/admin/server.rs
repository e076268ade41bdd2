//! The server: accepts, finds out who calls, reads calls, checks rights, passes them on, writes answers. Every
//! connection is a task of its own with deadlines of its own, so that a client that stopped reading stops only itself.

use std::collections::HashMap;
use std::future::Future;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::frame::{FrameError, FrameReader, write_frame};
use super::path::short_path;
use crate::admin::{self, Call, Caller, ErrorReply, Reply, Request, Right};
use crate::fault::{Fault, Kind, Result};
use crate::limit;

/// What a call is answered with.
#[derive(Debug)]
pub enum Answer {
    /// One reply.
    One(Reply),
    /// Replies as they come, until the last one or an error. Only to calls with `more`. The channel is short: a sender
    /// that must not wait for a slow client has to end the answer, or leave a gap and say so.
    Stream(mpsc::Receiver<Result<Piece>>),
}

/// One of many replies.
#[derive(Debug)]
pub enum Piece {
    /// Others follow.
    More(Reply),
    /// None follows.
    Last(Reply),
}

/// The bound admin socket; its file is removed with it.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Binds the socket of this path. Everybody may connect: what they may do is decided by who they are.
    ///
    /// # Errors
    ///
    /// Another process serves it, something else lies there, or the directory cannot be written.
    pub fn bind(path: &Path) -> Result<Listener> {
        let failed = |what: &str, error: &std::io::Error| {
            Fault::new(
                Kind::Operator,
                format!("cannot {what} the admin socket {}", path.display()),
            )
            .because(error)
            .next("check that the directory exists and that you may write to it")
        };
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)
                .map_err(|error| failed("make the directory of", &error))?;
        }
        let short = short_path(path).map_err(|error| failed("reach", &error))?;
        remove_stale(path, &short.path)?;
        let socket = std::os::unix::net::UnixListener::bind(&short.path)
            .map_err(|error| failed("bind", &error))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))
            .and_then(|()| socket.set_nonblocking(true))
            .and_then(|()| UnixListener::from_std(socket))
            .map(|socket| Listener {
                socket,
                path: path.to_owned(),
            })
            .map_err(|error| failed("open", &error))
    }

    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // A file that is gone already is what we want; any other trouble is found by the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Removes what a dead process left behind; refuses to touch anything else.
fn remove_stale(path: &Path, short: &Path) -> Result<()> {
    let taken = |what: &str| {
        Fault::new(Kind::Conflict, format!("{} {what}", path.display()))
            .next("stop that process, or give another directory with --dir")
    };
    match std::fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(found) if !found.file_type().is_socket() => Err(taken("is not a socket")),
        Ok(_) if std::os::unix::net::UnixStream::connect(short).is_ok() => {
            Err(taken("is served by another process"))
        }
        Ok(_) => std::fs::remove_file(path).map_err(|error| {
            Fault::new(
                Kind::Operator,
                format!("cannot remove the dead socket {}", path.display()),
            )
            .because(&error)
        }),
    }
}

/// Serves the socket until `stop`. `handle` answers calls that the caller has the right to make.
pub async fn serve<H, F>(listener: Listener, handle: H, stop: CancellationToken)
where
    H: Fn(Caller, Call, bool) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Answer>> + Send + 'static,
{
    let all = Arc::new(Semaphore::new(limit::ADMIN_CONNECTIONS_MAX));
    let viewers = Arc::new(Semaphore::new(limit::ADMIN_VIEWERS_MAX));
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.socket.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, most likely: waiting a little is all that helps.
                    tracing::warn!(%error, "cannot accept a connection on the admin socket");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let (all, viewers, handle, stop) =
            (all.clone(), viewers.clone(), handle.clone(), stop.clone());
        tokio::spawn(async move {
            let work = admit(stream, all, viewers, handle);
            tokio::select! {
                () = stop.cancelled() => {}
                () = work => {}
            }
        });
    }
}

/// Finds out who it is, and serves them if there is room.
async fn admit<H, F>(
    mut stream: UnixStream,
    all: Arc<Semaphore>,
    viewers: Arc<Semaphore>,
    handle: H,
) where
    H: Fn(Caller, Call, bool) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Answer>> + Send + 'static,
{
    let caller = match stream.peer_cred() {
        Ok(peer) => {
            let (uid, gid, pid) = (peer.uid(), peer.gid(), peer.pid().unwrap_or(0));
            // The user database may be on the network.
            tokio::task::spawn_blocking(move || identify(uid, gid, pid))
                .await
                .ok()
        }
        Err(_) => None,
    };
    let Some(caller) = caller else { return };
    let place = match caller.right {
        Right::View => viewers.try_acquire_owned(),
        Right::Operate | Right::Admin => all.try_acquire_owned(),
    };
    if let Ok(_place) = place {
        serve_connection(stream, caller, handle).await;
    } else {
        let fault = Fault::new(Kind::TryAgain, "too many connections to the admin socket")
            .next("close some dashboards, or try again");
        // Whoever is turned away may be gone already.
        let _ = write_error(&mut stream, &ErrorReply::of(admin::host::INTERFACE, &fault)).await;
    }
}

/// Who a peer is, and what that user may do: root and the owner everything, group `massif` operate, others look.
fn identify(uid: u32, gid: u32, pid: i32) -> Caller {
    use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    let operates = || {
        let group = Group::from_name("massif").ok().flatten()?.gid;
        let name = std::ffi::CString::new(user.as_ref()?.name.as_str()).ok()?;
        let groups = getgrouplist(&name, Gid::from_raw(gid)).ok()?;
        Some(groups.contains(&group))
    };
    let right = if uid == 0 || uid == nix::unistd::geteuid().as_raw() {
        Right::Admin
    } else if operates() == Some(true) {
        Right::Operate
    } else {
        Right::View
    };
    let name = user.map_or_else(|| format!("uid {uid}"), |user| user.name);
    Caller {
        uid,
        gid,
        pid,
        right,
        name,
        key: None,
    }
}

/// Serves one connection until it closes: calls are answered in their order. Any reliable byte stream will do.
pub async fn serve_connection<S, H, F>(stream: S, caller: Caller, handle: H)
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Caller, Call, bool) -> F,
    F: Future<Output = Result<Answer>>,
{
    let (from, mut to) = tokio::io::split(stream);
    let mut frames = FrameReader::new(from, limit::ADMIN_REQUEST_BYTES_MAX);
    loop {
        let frame = match frames.next(limit::ADMIN_REQUEST_S).await {
            Ok(frame) => frame,
            Err(FrameError::Closed) => return,
            Err(error) => {
                tracing::debug!(?error, caller = caller.name, "admin connection ends");
                return;
            }
        };
        let request: Request = match serde_json::from_slice(&frame) {
            Ok(request) => request,
            Err(error) => {
                let fault =
                    Fault::new(Kind::Usage, "this is not a Varlink request").because(&error);
                // What follows cannot be trusted to begin at a message: the connection ends either way.
                let _ = write_error(&mut to, &ErrorReply::of(admin::host::INTERFACE, &fault)).await;
                return;
            }
        };
        if answer(request, &caller, &handle, &mut frames, &mut to)
            .await
            .is_err()
        {
            return;
        }
    }
}

/// Answers one request.
async fn answer<R, W, H, F>(
    request: Request,
    caller: &Caller,
    handle: &H,
    frames: &mut FrameReader<R>,
    to: &mut W,
) -> std::result::Result<(), FrameError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    H: Fn(Caller, Call, bool) -> F,
    F: Future<Output = Result<Answer>>,
{
    let Request {
        method,
        parameters,
        more,
        oneway,
    } = request;
    let interface = method
        .rsplit_once('.')
        .map_or("", |(interface, _)| interface)
        .to_owned();
    if interface == "org.varlink.service" {
        let text = service(&method, &parameters);
        return if oneway {
            Ok(())
        } else {
            write_frame(to, text, limit::ADMIN_WRITE_S).await
        };
    }
    let answer = match Call::parse(&method, parameters) {
        Err(bad) if oneway => {
            tracing::debug!(?bad, "one-way call dropped");
            return Ok(());
        }
        Err(bad) => return write_error(to, &ErrorReply::bad_call(&bad)).await,
        Ok(call) => match caller.must(call.facts().right, &method) {
            Ok(()) => {
                let more = more && call.facts().streams;
                handle(caller.clone(), call, more).await
            }
            Err(fault) => {
                tracing::warn!(
                    caller = caller.name,
                    uid = caller.uid,
                    pid = caller.pid,
                    method,
                    "refused"
                );
                Err(fault)
            }
        },
    };
    match answer {
        _ if oneway => Ok(()),
        Err(fault) => write_error(to, &ErrorReply::of(&interface, &fault)).await,
        Ok(Answer::One(reply)) => write_reply(to, &reply, false, &interface).await,
        Ok(Answer::Stream(_)) if !more => write_error(to, &ErrorReply::expected_more()).await,
        Ok(Answer::Stream(replies)) => stream(replies, frames, to, &interface).await,
    }
}

/// Writes replies as they come until the end, an error, or the other side's leave.
async fn stream<R, W>(
    mut replies: mpsc::Receiver<Result<Piece>>,
    frames: &mut FrameReader<R>,
    to: &mut W,
    interface: &str,
) -> std::result::Result<(), FrameError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    loop {
        let next = tokio::select! {
            next = replies.recv() => next,
            () = frames.closed() => return Err(FrameError::Closed),
        };
        match next {
            Some(Ok(Piece::More(reply))) => write_reply(to, &reply, true, interface).await?,
            Some(Ok(Piece::Last(reply))) => return write_reply(to, &reply, false, interface).await,
            Some(Err(fault)) => return write_error(to, &ErrorReply::of(interface, &fault)).await,
            None => {
                let fault = Fault::new(Kind::TryAgain, "the host ended this answer early")
                    .next("ask again from where it ended");
                return write_error(to, &ErrorReply::of(interface, &fault)).await;
            }
        }
    }
}

async fn write_reply<W: AsyncWrite + Unpin>(
    to: &mut W,
    reply: &Reply,
    continues: bool,
    interface: &str,
) -> std::result::Result<(), FrameError> {
    if reply.as_json().len() > limit::ADMIN_MESSAGE_BYTES_MAX - 64 {
        let what = format!(
            "the answer has {} bytes, more than a message may have",
            reply.as_json().len()
        );
        let fault = Fault::new(Kind::Usage, what).next("ask for fewer rows with `limit`");
        return write_error(to, &ErrorReply::of(interface, &fault)).await;
    }
    write_frame(to, reply.to_wire(continues), limit::ADMIN_WRITE_S).await
}

async fn write_error<W: AsyncWrite + Unpin>(
    to: &mut W,
    error: &ErrorReply,
) -> std::result::Result<(), FrameError> {
    let text =
        serde_json::to_string(error).unwrap_or_else(|_| r#"{"error":"io.massif.Host.Bug"}"#.into());
    write_frame(to, text, limit::ADMIN_WRITE_S).await
}

/// The interface that every Varlink service has.
fn service(method: &str, parameters: &serde_json::Value) -> String {
    let error = |name: &str, parameters: HashMap<&str, &str>| serde_json::json!({ "error": format!("org.varlink.service.{name}"), "parameters": parameters });
    let reply = match method {
        "org.varlink.service.GetInfo" => {
            let interfaces: Vec<&str> = std::iter::once("org.varlink.service")
                .chain(admin::idl::INTERFACES.iter().map(|(name, _, _)| *name))
                .collect();
            serde_json::json!({ "parameters": {
                "vendor": "massif", "product": "massif", "version": env!("CARGO_PKG_VERSION"),
                "url": "https://varlink.org", "interfaces": interfaces,
            }})
        }
        "org.varlink.service.GetInterfaceDescription" => {
            match parameters.get("interface").and_then(|value| value.as_str()) {
                None => error(
                    "InvalidParameter",
                    HashMap::from([("parameter", "interface")]),
                ),
                Some("org.varlink.service") => serde_json::json!({ "parameters": {
                    "description": zlink::varlink_service::DESCRIPTION.to_string(),
                }}),
                Some(name) => match admin::idl::describe(name) {
                    Some(text) => serde_json::json!({ "parameters": { "description": text } }),
                    None => error("InterfaceNotFound", HashMap::from([("interface", name)])),
                },
            }
        }
        _ => error("MethodNotFound", HashMap::from([("method", method)])),
    };
    reply.to_string()
}
