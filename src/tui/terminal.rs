//! The terminal: taken over, written to from a thread of its own so that a slow one holds nothing up, and given back
//! whatever happens.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use base64::Engine;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use tokio::sync::Notify;

use crate::fault::{Fault, Kind, Result};

/// Alternate screen, no cursor, pasted text marked; the mouse after these.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b[2J";
const MOUSE: &[u8] = b"\x1b[?1000h\x1b[?1006h";
const LEAVE: &[u8] = b"\x1b[?1006l\x1b[?1000l\x1b[?2004l\x1b[0m\x1b[?25h\x1b[?1049l";
/// Frames that are longer are shown in one go by terminals that can.
const TOGETHER_BYTES: usize = 400;
/// A terminal that takes nothing for this long is left as it is.
const GIVE_UP: Duration = Duration::from_millis(500);

/// Bytes that are given to the clipboard at once; terminals take some ten thousand.
const COPY_BYTES_MAX: usize = 16 * 1024;

/// The terminal is ours.
static TAKEN: AtomicBool = AtomicBool::new(false);

fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8], within: Option<Duration>) -> io::Result<()> {
    let began = Instant::now();
    while !bytes.is_empty() {
        if let Some(within) = within {
            let left = within.saturating_sub(began.elapsed());
            let wait = u16::try_from(left.as_millis()).unwrap_or(u16::MAX);
            let mut fds = [PollFd::new(fd, PollFlags::POLLOUT)];
            if nix::poll::poll(&mut fds, PollTimeout::from(wait))? == 0 {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        // Small pieces, so that a wait for room is a wait for little.
        let piece = bytes.get(..1_024).unwrap_or(bytes);
        match nix::unistd::write(fd, piece) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(nix::Error::EINTR) => {}
            Err(nix::Error::EAGAIN) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Gives the terminal back, if it is ours. May be called from anywhere, also in a panic.
pub fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // What fails here fails on a terminal that is gone.
        write_all(io::stdout().as_fd(), LEAVE, Some(GIVE_UP)).ok();
        crossterm::terminal::disable_raw_mode().ok();
    }
}

/// A panic in the dashboard's threads gives the terminal back before it says its last words. Panics elsewhere in the
/// process are their supervisors' business, and leave the screen alone.
pub fn guard_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let ours = std::thread::current()
            .name()
            .is_some_and(|name| name.starts_with("dash"));
        if ours {
            give_back();
        }
        before(info);
    }));
}

/// The terminal while it is ours.
pub struct Terminal {
    shown: Buffer,
    mouse: bool,
    frames: mpsc::SyncSender<Vec<u8>>,
    busy: Arc<AtomicBool>,
    broken: Arc<AtomicBool>,
    bytes: Arc<AtomicU64>,
    /// Told when a frame is out.
    pub idle: Arc<Notify>,
}

impl Terminal {
    /// Takes the terminal over.
    ///
    /// # Errors
    ///
    /// Standard output is no terminal, or one that cannot be switched.
    pub fn take(mouse: bool) -> Result<Terminal> {
        let failed = |error: &io::Error| {
            Fault::new(Kind::Operator, "cannot take over the terminal")
                .because(error)
                .next("use `massif status`, or `massif dash --once`")
        };
        let (frames, receive) = mpsc::sync_channel::<Vec<u8>>(1);
        let busy = Arc::new(AtomicBool::new(false));
        let broken = Arc::new(AtomicBool::new(false));
        let idle = Arc::new(Notify::new());
        let (done, gone, told) = (busy.clone(), broken.clone(), idle.clone());
        std::thread::Builder::new()
            .name("dash-writer".into())
            .spawn(move || {
                while let Ok(frame) = receive.recv() {
                    if write_all(io::stdout().as_fd(), &frame, None).is_err() {
                        gone.store(true, Ordering::SeqCst);
                    }
                    done.store(false, Ordering::SeqCst);
                    told.notify_one();
                }
            })
            .map_err(|error| failed(&error))?;
        let mut terminal = Terminal {
            shown: Buffer::empty(Rect::ZERO),
            mouse,
            frames,
            busy,
            broken,
            bytes: Arc::new(AtomicU64::new(0)),
            idle,
        };
        terminal.enter().map_err(|error| failed(&error))?;
        Ok(terminal)
    }

    /// Switches the terminal over, at the start and after a stop.
    ///
    /// # Errors
    ///
    /// The terminal cannot be switched.
    pub fn enter(&mut self) -> io::Result<()> {
        crossterm::terminal::enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        write_all(io::stdout().as_fd(), ENTER, Some(GIVE_UP))?;
        if self.mouse {
            write_all(io::stdout().as_fd(), MOUSE, Some(GIVE_UP))?;
        }
        self.forget();
        Ok(())
    }

    /// What is shown is not known any more: the next frame draws everything.
    pub fn forget(&mut self) {
        self.shown = Buffer::empty(Rect::ZERO);
    }

    /// The last frame is not out yet.
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::SeqCst)
    }

    /// The terminal is gone.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }

    /// Bytes that went to the terminal so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Gives a line to the terminal's clipboard, between two frames; whether it is on its way. Whether the terminal takes it
    /// nobody tells.
    pub fn copy(&mut self, words: &str) -> bool {
        let bytes = clipboard(words);
        let fits = words.len() <= COPY_BYTES_MAX;
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        fits && self.frames.try_send(bytes).is_ok()
    }

    /// Shows a screen: only what differs from the one before goes out. Not to be called while it is busy.
    pub fn show(&mut self, next: Buffer) {
        let frame = frame(&self.shown, &next);
        self.shown = next;
        if frame.is_empty() {
            return;
        }
        self.bytes.fetch_add(frame.len() as u64, Ordering::Relaxed);
        self.busy.store(true, Ordering::SeqCst);
        if self.frames.try_send(frame).is_err() {
            self.busy.store(false, Ordering::SeqCst);
            self.forget();
        }
    }
}

/// The bytes that give this line to the terminal's clipboard (OSC 52). It goes as base64: nothing in it can end the sequence or
/// begin another.
pub fn clipboard(words: &str) -> Vec<u8> {
    let coded = base64::engine::general_purpose::STANDARD.encode(words);
    format!("\x1b]52;c;{coded}\x07").into_bytes()
}

/// The bytes that turn one screen into the next; none when they are the same.
pub fn frame(before: &Buffer, next: &Buffer) -> Vec<u8> {
    let fresh = before.area() != next.area();
    let empty;
    let before = if fresh {
        empty = Buffer::empty(*next.area());
        &empty
    } else {
        before
    };
    let changes = before.diff(next);
    if changes.is_empty() && !fresh {
        return Vec::new();
    }
    let mut bytes = Vec::new();
    if fresh {
        bytes.extend_from_slice(b"\x1b[0m\x1b[2J");
    }
    // Writing to a vector cannot fail.
    CrosstermBackend::new(&mut bytes)
        .draw(changes.into_iter())
        .ok();
    if bytes.len() < TOGETHER_BYTES {
        return bytes;
    }
    [b"\x1b[?2026h", bytes.as_slice(), b"\x1b[?2026l"].concat()
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The last frame may still be on its way.
        let began = Instant::now();
        while self.is_busy() && began.elapsed() < GIVE_UP {
            std::thread::sleep(Duration::from_millis(5));
        }
        give_back();
    }
}
