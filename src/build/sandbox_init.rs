//! The hidden sub-command `__sandbox`: an outer helper that makes the namespaces, and the first process inside, which
//! makes the root, runs steps as it is told over the control socket, reaps, and ends when the socket does.
//! One thread each, no runtime: changing ids and namespaces, and forking, want that.
//!
//! The fork server makes the helper; stdin is the control socket then, stdout and stderr are the log. The environment is empty.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::process::DumpableBehavior;
use rustix::thread::UnshareFlags;

use super::sandbox::{Exit, Spec, Step, StepEnd};
use super::sandbox_confine as confine;
use super::sandbox_forks;
use super::sandbox_root as root;
use super::sandbox_wire::{Said, Tell, receive, send};
use crate::fault::{Fault, Kind, Result};

/// Names of processes that outlived a step, as many as are worth a line in the log.
const OUTLIVED_NAMES_MAX: usize = 20;

/// The whole sub-command; never returns to what the other commands do.
pub fn main() -> ExitCode {
    if die_with_parent().is_err() {
        return ExitCode::FAILURE;
    }
    sandbox_forks::serve(helper)
}

/// One forked helper.
fn helper(control: OwnedFd, log: OwnedFd) -> ExitCode {
    if take_places(control, log).is_err() {
        return ExitCode::FAILURE; // the end of the socket tells the host
    }
    // SAFETY: descriptor 0 is the control socket since just now, and nothing else in this process owns it.
    let mut control = unsafe { UnixStream::from_raw_fd(0) };
    match outer(&mut control) {
        Ok(code) => ExitCode::from(code),
        Err(fault) => {
            // When the host is gone there is nobody to tell.
            let _ = send(&mut control, &Said::Failed(fault));
            ExitCode::FAILURE
        }
    }
}

/// Makes the control socket this process's input and the log both its outputs.
fn take_places(control: OwnedFd, log: OwnedFd) -> nix::Result<()> {
    nix::unistd::dup2_stdin(control)?;
    nix::unistd::dup2_stdout(&log)?;
    nix::unistd::dup2_stderr(&log)
}

fn cannot(what: &str, error: impl Into<io::Error>) -> Fault {
    root::cannot(what, error.into())
}

/// Dies with its parent. Asked for again after each change of ids, which takes it back.
fn die_with_parent() -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|e| cannot("tie its life to the host's", e))
}

fn outer(control: &mut UnixStream) -> Result<u8> {
    die_with_parent()?;
    // Away from the host's terminal: its Ctrl-C is not ours, and /dev/tty inside opens nothing.
    let _ = rustix::process::setsid(); // fails only for a group leader, which a spawned child is not
    let Ok(Tell::Start(spec)) = receive(control) else {
        return Ok(0); // the host went away before it said anything
    };
    std::env::set_current_dir(&spec.state_dir)
        .map_err(|e| cannot("enter the state directory", e))?;
    set_cores(&spec.cores)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let (uid, gid) = drop_ids(&spec)?;
    make_namespaces(&spec, uid, gid)?;
    die_with_parent()?;
    // SAFETY: this process has one thread, so the child may do whatever the parent could.
    match unsafe { nix::unistd::fork() }.map_err(|e| cannot("fork", e))? {
        nix::unistd::ForkResult::Child => Ok(inner(control, &spec)),
        nix::unistd::ForkResult::Parent { child } => {
            let _ = send(
                control,
                &Said::Born {
                    pid: child.as_raw(),
                },
            ); // a host that is gone takes us with it
            close_all();
            let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
            let _ = nix::sys::wait::waitpid(child, None); // nothing to tell: the socket's end says it
            std::process::exit(0)
        }
    }
}

/// The outer helper keeps no end of the socket and the log, so that both end with the first process inside.
fn close_all() {
    for descriptor in 0..3 {
        // SAFETY: the helper only waits and exits after this, without dropping anything that owns these descriptors.
        unsafe { libc::close(descriptor) };
    }
}

fn set_cores(cores: &[u32]) -> Result<()> {
    if cores.is_empty() {
        return Ok(());
    }
    let mut set = rustix::thread::CpuSet::new();
    for core in cores {
        if (*core as usize) < rustix::thread::CpuSet::MAX_CPU {
            set.set(*core as usize);
        }
    }
    rustix::thread::sched_setaffinity(None, &set).map_err(|e| {
        cannot("keep to the slot's cores", e).next("give the slot cores that this machine has")
    })
}

/// From root to an unprivileged id; an ordinary user stays who it is. Returns the ids outside.
fn drop_ids(spec: &Spec) -> Result<(u32, u32)> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    if !uid.is_root() {
        return Ok((uid.as_raw(), gid.as_raw()));
    }
    hide_mounts_below_usr()?;
    let id = spec.outer_uid;
    let dropped = || -> nix::Result<()> {
        nix::unistd::setgroups(&[])?;
        let (uid, gid) = (
            nix::unistd::Uid::from_raw(id),
            nix::unistd::Gid::from_raw(id),
        );
        nix::unistd::setresgid(gid, gid, gid)?;
        nix::unistd::setresuid(uid, uid, uid)
    };
    dropped().map_err(|e| cannot("drop to an unprivileged id", e))?;
    // The change of ids made /proc/self belong to root, and the maps below lie there.
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)
        .map_err(|e| cannot("own its entry in /proc", e))?;
    Ok((id, id))
}

/// A /usr with mounts below it cannot be overlaid from a user namespace. Root can look at it without them.
fn hide_mounts_below_usr() -> Result<()> {
    let below = root::mounts_below_usr();
    if below.is_empty() {
        return Ok(());
    }
    let hidden = || -> io::Result<()> {
        use rustix::mount::{MountPropagationFlags as Propagation, UnmountFlags};
        // SAFETY: one thread; only the mount namespace is left.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?;
        rustix::mount::mount_change("/", Propagation::PRIVATE | Propagation::REC)?;
        for point in below {
            rustix::mount::unmount(&point, UnmountFlags::DETACH)?;
        }
        Ok(())
    };
    hidden().map_err(|e| cannot("hide the mounts below /usr", e))
}

fn make_namespaces(spec: &Spec, uid: u32, gid: u32) -> Result<()> {
    let mut flags = UnshareFlags::NEWUSER
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWCGROUP;
    if !spec.network {
        flags |= UnshareFlags::NEWNET;
    }
    // SAFETY: one thread, and no descriptor table is left by these flags.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(namespaces_fault)?;
    for (file, text) in [
        ("/proc/self/setgroups", "deny".to_string()),
        ("/proc/self/uid_map", format!("0 {uid} 1")),
        ("/proc/self/gid_map", format!("0 {gid} 1")),
    ] {
        fs::write(file, text).map_err(namespaces_fault)?;
    }
    Ok(())
}

fn namespaces_fault(error: impl Into<io::Error>) -> Fault {
    cannot("make namespaces", error).next(super::probe::namespaces_cure())
}

/// The first process inside. Its return is the end of everything else inside.
fn inner(control: &mut UnixStream, spec: &Spec) -> u8 {
    let mut init = match Init::make(spec) {
        Ok(init) => init,
        Err(fault) => {
            let _ = send(control, &Said::Failed(fault)); // a host that is gone takes us with it
            return 1;
        }
    };
    // An error here is the socket's: the host is gone or broken, and so are we.
    u8::from(init.serve(control, spec).is_err())
}

struct Init {
    /// Readable when a child ended.
    children: SignalFd,
}

/// What reaped processes used.
#[derive(Default)]
struct Used {
    cpu_us: u64,
    rss_kib_max: u64,
    blocks_in: u64,
    blocks_out: u64,
}

impl Init {
    fn make(spec: &Spec) -> Result<Init> {
        die_with_parent()?;
        root::enter(spec)?;
        rustix::system::sethostname(root::HOST_NAME.as_bytes())
            .map_err(|e| cannot("set the host name", e))?;
        if !spec.network {
            loopback_up().map_err(|e| cannot("raise the loopback", e))?;
        }
        // Builds are the first to go when memory is short; a kernel that refuses leaves them as likely as others.
        let _ = fs::write("/proc/self/oom_score_adj", "500");
        confine::set_limits(&spec.limits)?;
        confine::drop_capabilities()?;
        // Not before: maps and capabilities need an entry in /proc that is our own.
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(|e| cannot("hide its memory", e))?;
        confine::filter_system_calls()?;
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.thread_block()
            .map_err(|e| cannot("block SIGCHLD", e))?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let children =
            SignalFd::with_flags(&mask, flags).map_err(|e| cannot("watch children", e))?;
        Ok(Init { children })
    }

    fn serve(&mut self, control: &mut UnixStream, spec: &Spec) -> io::Result<()> {
        let loader_cache = self.loader_cache(control, spec);
        send(control, &Said::Ready { loader_cache })?;
        loop {
            match receive(control)? {
                Tell::Run(step) => {
                    let said = match self.run(control, &step) {
                        Ok(end) => Said::Ended(end),
                        Err(fault) => Said::NotRun(fault),
                    };
                    send(control, &said)?;
                }
                Tell::Finish => return Ok(()),
                Tell::Start(_) => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }

    /// The loader's cache, made by the root's own `ldconfig` before any phase ran; none is a slower loader, not a fault.
    fn loader_cache(&mut self, control: &UnixStream, spec: &Spec) -> Option<Vec<u8>> {
        const CACHE: &str = "/etc/ld.so.cache";
        if spec.root.loader_cache.is_none() || Path::new(CACHE).exists() {
            return None;
        }
        let program = ["/usr/sbin/ldconfig", "/usr/bin/ldconfig"]
            .into_iter()
            .find(|path| Path::new(path).exists())?;
        let step = Step {
            name: "loader cache".into(),
            argv: vec![
                "/bin/sh".into(),
                "-c".into(),
                format!("{program} -X >/dev/null 2>&1"),
            ],
            cwd: "/".into(),
            env: Vec::new(),
            banner: String::new(),
        };
        self.run(control, &step).ok()?;
        fs::read(CACHE).ok()
    }

    fn run(&mut self, control: &UnixStream, step: &Step) -> Result<StepEnd> {
        if !step.banner.is_empty() {
            log(&step.banner);
        }
        let started = Instant::now();
        let main = spawn(step)?;
        let mut used = Used::default();
        let exit = loop {
            self.wait(control)?;
            if let Some(exit) = reap(&mut used, Some(main)) {
                break exit;
            }
        };
        let wall_ms = started.elapsed().as_millis() as u64;
        let outlived = end_survivors(&mut used);
        if !outlived.is_empty() {
            log(&format!(
                "massif: {} outlived step {} and ended with it: {}\n",
                if outlived.len() == 1 {
                    "a process"
                } else {
                    "processes"
                },
                step.name,
                outlived.join(" ")
            ));
        }
        Ok(StepEnd {
            exit,
            wall_ms,
            cpu_ms: used.cpu_us / 1_000,
            rss_kib_max: used.rss_kib_max,
            read_bytes: used.blocks_in * 512,
            written_bytes: used.blocks_out * 512,
            outlived,
        })
    }

    /// Returns when a child ended. When the host hangs up or speaks out of turn, this process ends, and all with it.
    fn wait(&mut self, control: &UnixStream) -> Result<()> {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let mut watched = [
            PollFd::new(self.children.as_fd(), PollFlags::POLLIN),
            PollFd::new(control.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut watched, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(cannot("wait for a step", error)),
        }
        let [_, socket] = &watched;
        if socket.any() != Some(false) {
            std::process::exit(1);
        }
        while let Ok(Some(_)) = self.children.read_signal() {}
        Ok(())
    }
}

fn log(text: &str) {
    // The log's reader may be gone with the host, which ends this process by itself.
    let _ = io::stdout().write_all(text.as_bytes());
    let _ = io::stdout().flush();
}

fn spawn(step: &Step) -> Result<i32> {
    let bad = |what: String| Fault::new(Kind::Recipe, what);
    let Some((program, arguments)) = step.argv.split_first() else {
        return Err(Fault::bug(format!("step {} has no program", step.name)));
    };
    if !step.cwd.is_dir() {
        return Err(bad(format!(
            "step {} cannot start in {}: no such directory in the build root",
            step.name,
            step.cwd.display()
        )));
    }
    let log =
        || -> io::Result<Stdio> { Ok(Stdio::from(io::stdout().as_fd().try_clone_to_owned()?)) };
    let child = (|| {
        Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(step.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&step.cwd)
            .stdin(Stdio::null())
            .stdout(log()?)
            .stderr(log()?)
            .process_group(0)
            .spawn()
    })();
    match child {
        Ok(child) => Ok(child.id() as i32),
        Err(error) => Err(bad(format!("step {} cannot run {program}", step.name)).because(&error)),
    }
}

/// Reaps every child that has ended; the exit of `main` if it is among them.
fn reap(used: &mut Used, main: Option<i32>) -> Option<Exit> {
    let mut exit = None;
    while let Some((pid, status)) = wait4(used, libc::WNOHANG) {
        if Some(pid) == main {
            exit = Some(match libc::WIFSIGNALED(status) {
                true => Exit::Signal(libc::WTERMSIG(status)),
                false => Exit::Code(libc::WEXITSTATUS(status)),
            });
        }
    }
    exit
}

/// One child that has ended, and what it and its own children used.
fn wait4(used: &mut Used, flags: i32) -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: an all-zero rusage is a valid value of that plain structure.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live locals of the types that the call fills.
    let pid = unsafe { libc::wait4(-1, &raw mut status, flags, &raw mut usage) };
    if pid <= 0 {
        return None;
    }
    let micros = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    used.cpu_us += micros(usage.ru_utime) + micros(usage.ru_stime);
    used.rss_kib_max = used.rss_kib_max.max(usage.ru_maxrss as u64);
    used.blocks_in += usage.ru_inblock as u64;
    used.blocks_out += usage.ru_oublock as u64;
    Some((pid, status))
}

/// Kills what a step left behind and returns its names. Everything inside is our descendant: no children, no survivors.
fn end_survivors(used: &mut Used) -> Vec<String> {
    reap(used, None);
    let mut names = Vec::new();
    // SAFETY: no pointers are passed in but null; WNOWAIT leaves every child as it is.
    let any = unsafe {
        libc::waitid(
            libc::P_ALL,
            0,
            std::ptr::null_mut(),
            libc::WEXITED | libc::WNOHANG | libc::WNOWAIT,
        )
    };
    if any != 0 {
        return names; // ECHILD
    }
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if pid != 1 && names.len() < OUTLIVED_NAMES_MAX {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            names.push(comm.trim_end().to_string());
        }
    }
    // SAFETY: kill with integer arguments; -1 from the first process of a namespace means everybody else in it.
    unsafe { libc::kill(-1, libc::SIGKILL) };
    while wait4(used, 0).is_some() {}
    names.sort();
    names
}

/// Raises the loopback of the new network namespace.
fn loopback_up() -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketType, socket};
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    // SAFETY: an all-zero ifreq is a valid value of that plain structure.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the descriptor is open and the request lives through the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
