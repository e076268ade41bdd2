//! The fork server: one process of our own binary for each state directory, started with the first sandbox, that does nothing but
//! fork. Running the binary anew for each sandbox would cost a quarter of its start, for the loader's work on a large program. It
//! has one thread and no secrets, dies with the host, and its children, the outer helpers of `sandbox_init`, die with it.

use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Mutex, OnceLock, mpsc};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::sync::oneshot;

use super::sandbox_session::HELPER_COMMAND;

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Names the massif binary, for tests and benches whose own program is another one. Counts once, before the first session.
pub fn use_helper(program: impl Into<PathBuf>) {
    let _ = PROGRAM.set(program.into()); // a second call would name the same binary
}

/// A helper to be forked.
struct Order {
    marker: String,
    control: OwnedFd,
    log: OwnedFd,
    reply: oneshot::Sender<io::Result<Forked>>,
}

/// A helper that runs.
pub(super) struct Forked {
    pub(super) pid: i32,
    /// Readable when it has ended.
    pub(super) ended: OwnedFd,
}

/// Forks a helper that has `control` as its standard input and `log` as its output. The servers are children of a thread that
/// lives as long as the host does: they die with the *thread* that started them, and the runtime's own threads come and go.
pub(super) async fn fork(marker: String, control: OwnedFd, log: OwnedFd) -> io::Result<Forked> {
    static ORDERS: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (sender, orders) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            let mut servers: HashMap<String, Server> = HashMap::new();
            for order in orders {
                let forked = forked_by(&mut servers, &order);
                // The asker may have been cancelled: then the helper ends with its socket.
                let _ = order.reply.send(forked);
            }
        });
        Mutex::new(sender)
    });
    let (reply, answer) = oneshot::channel();
    let order = Order {
        marker,
        control,
        log,
        reply,
    };
    let gone = || io::Error::other("the thread that starts sandboxes is gone");
    orders
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
        .send(order)
        .map_err(|_| gone())?;
    answer.await.map_err(|_| gone())?
}

/// A server that has ended, by itself or by somebody's hand, is started anew once.
fn forked_by(servers: &mut HashMap<String, Server>, order: &Order) -> io::Result<Forked> {
    if let Some(server) = servers.get_mut(&order.marker) {
        match server.fork(order) {
            Ok(forked) => return Ok(forked),
            Err(error) => tracing::debug!(%error, "a fork server is started anew"),
        }
        servers.remove(&order.marker);
    }
    let mut server = Server::start(&order.marker)?;
    let forked = server.fork(order)?;
    servers.insert(order.marker.clone(), server);
    Ok(forked)
}

struct Server {
    socket: UnixStream,
    child: Child,
}

impl Server {
    fn start(marker: &str) -> io::Result<Server> {
        let (socket, theirs) = UnixStream::pair()?;
        let program = PROGRAM
            .get()
            .map_or(Path::new("/proc/self/exe"), PathBuf::as_path);
        let child = Command::new(program)
            .arg(HELPER_COMMAND)
            .arg(marker)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Server { socket, child })
    }

    fn fork(&mut self, order: &Order) -> io::Result<Forked> {
        send(
            self.socket.as_fd(),
            &[0; 4],
            &[order.control.as_fd(), order.log.as_fd()],
        )?;
        let mut pid = [0; 4];
        let mut descriptors = receive(&mut self.socket, &mut pid)?;
        match (i32::from_le_bytes(pid), descriptors.pop()) {
            (pid, Some(ended)) if pid > 0 => Ok(Forked { pid, ended }),
            // The number of an error, told as a negative one.
            (errno, _) => Err(io::Error::from_raw_os_error(-errno)),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended just now
        let _ = self.child.wait(); // reaps it; nothing to tell
    }
}

fn send(socket: BorrowedFd, bytes: &[u8], descriptors: &[BorrowedFd]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    match sent == bytes.len() {
        true => Ok(()),
        false => Err(io::ErrorKind::WriteZero.into()),
    }
}

/// Fills `bytes`; the descriptors that came along.
fn receive(socket: &mut UnixStream, bytes: &mut [u8]) -> io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = loop {
        let mut parts = [IoSliceMut::new(bytes)];
        match recvmsg(&*socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?.bytes,
        }
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    if got == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    socket.read_exact(bytes.get_mut(got..).unwrap_or_default())?;
    Ok(descriptors)
}

/// What a process that was forked is to do with its end of the control socket and of its log.
pub(super) type Work = fn(control: OwnedFd, log: OwnedFd) -> ExitCode;

/// The whole server. Returns what the process ends with: in a child what `work` returned, in the server when nobody is left who
/// could order.
pub(super) fn serve(work: Work) -> ExitCode {
    // SAFETY: descriptor 0 is the socket that the host passed, and nothing else in this process owns it.
    let mut socket = unsafe { UnixStream::from_raw_fd(0) };
    // Away from the host's terminal: its Ctrl-C is not ours.
    let _ = rustix::process::setsid(); // fails only for a group leader, which a spawned child is not
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let children = match mask
        .thread_block()
        .and_then(|()| SignalFd::with_flags(&mask, flags))
    {
        Ok(children) => children,
        Err(_) => return ExitCode::FAILURE,
    };
    loop {
        reap(&children);
        let mut watched = [
            PollFd::new(children.as_fd(), PollFlags::POLLIN),
            PollFd::new(socket.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut watched, PollTimeout::NONE) {
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => continue,
            Err(_) => return ExitCode::FAILURE,
        }
        if watched[1].any() != Some(true) {
            continue;
        }
        // The host's end is the end of all that it ordered.
        let mut order = [0; 4];
        let Ok(descriptors) = receive(&mut socket, &mut order) else {
            return ExitCode::SUCCESS;
        };
        let Ok([control, log]) = <[OwnedFd; 2]>::try_from(descriptors) else {
            return ExitCode::FAILURE;
        };
        // SAFETY: this process has one thread, so the child may do whatever the parent could.
        let answered = match unsafe { nix::unistd::fork() } {
            Ok(nix::unistd::ForkResult::Child) => {
                drop((socket, children));
                if mask.thread_unblock().is_err() {
                    return ExitCode::FAILURE;
                }
                return work(control, log);
            }
            Ok(nix::unistd::ForkResult::Parent { child }) => told(&socket, child.as_raw()),
            Err(errno) => send(socket.as_fd(), &(-(errno as i32)).to_le_bytes(), &[]),
        };
        if answered.is_err() {
            return ExitCode::SUCCESS;
        }
    }
}

/// Tells the host of a child. It is not reaped before that, so the number is still its own.
fn told(socket: &UnixStream, pid: i32) -> io::Result<()> {
    let number = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidData)?;
    let ended = pidfd_open(number, PidfdFlags::empty())?;
    send(socket.as_fd(), &pid.to_le_bytes(), &[ended.as_fd()])
}

/// Reaps every child that has ended.
fn reap(children: &SignalFd) {
    while let Ok(Some(_)) = children.read_signal() {}
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(status) if status != WaitStatus::StillAlive => {}
            Err(nix::errno::Errno::EINTR) => {}
            Ok(_) | Err(_) => return,
        }
    }
}
