//! A wire between two network namespaces of this process: two tun devices, and a relay of ours that carries each packet over, late,
//! and loses some. TCP and QUIC meet the same weather on it. Needs root and `/dev/net/tun`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};

use super::relay::Dice;

/// The address of each end.
pub const HERE: Ipv4Addr = Ipv4Addr::new(10, 213, 0, 1);
/// The same.
pub const THERE: Ipv4Addr = Ipv4Addr::new(10, 213, 0, 2);
/// As large as our QUIC looks for; TCP gets the same.
const MTU: &str = "6000";
/// Packets that are on their way in one direction at a time; more than the way holds at a gigabyte a second.
const QUEUE: usize = 16_384;
/// `TUNSETIFF` of linux/if_tun.h: `_IOW('T', 202, int)`.
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
/// `IFF_TUN | IFF_NO_PI` of the same.
const TUN_NO_PI: [u8; 2] = 0x1001_u16.to_ne_bytes();

/// One end.
pub struct End(File);

impl End {
    /// Runs something in this end's namespace: sockets that it makes stay there.
    pub fn inside<T: Send>(&self, deed: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET).expect("a namespace of ours");
                deed()
            });
            thread.join().expect("a deed")
        })
    }
}

/// The wire; its relay ends with the process.
pub struct Wire {
    pub here: End,
    pub there: End,
    lost_permille: Arc<AtomicU64>,
}

impl Wire {
    /// A wire on which each packet takes so long; an error where that cannot be made.
    pub fn new(delay: Duration) -> io::Result<Wire> {
        let (here, a) = device(HERE)?;
        let (there, b) = device(THERE)?;
        let lost_permille = Arc::new(AtomicU64::new(0));
        let (to_a, to_b) = (a.try_clone()?, b.try_clone()?);
        carry(a, to_b, delay, lost_permille.clone(), 11);
        carry(b, to_a, delay, lost_permille.clone(), 13);
        Ok(Wire {
            here: End(here),
            there: End(there),
            lost_permille,
        })
    }

    /// Of a thousand packets each way so many are lost from now on.
    pub fn lose(&self, permille: u64) {
        self.lost_permille.store(permille, Ordering::Relaxed);
    }
}

/// A namespace with one tun device, and the device.
fn device(address: Ipv4Addr) -> io::Result<(File, File)> {
    let made = std::thread::spawn(move || -> io::Result<(File, File)> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        let tun = File::options()
            .read(true)
            .write(true)
            .open("/dev/net/tun")?;
        // `struct ifreq`: a name of 16 bytes, then flags.
        let mut wish = [0_u8; 40];
        wish[..4].copy_from_slice(b"wire");
        wish[16..18].copy_from_slice(&TUN_NO_PI);
        // SAFETY: the descriptor is open, and `wish` is as large as a `struct ifreq` and outlives the call.
        let done = unsafe { libc::ioctl(tun.as_raw_fd(), TUNSETIFF, wish.as_mut_ptr()) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        for words in [
            vec![
                "addr".into(),
                "add".into(),
                format!("{address}/24"),
                "dev".into(),
                "wire".into(),
            ],
            [
                "link",
                "set",
                "wire",
                "mtu",
                MTU,
                "txqueuelen",
                "10000",
                "up",
            ]
            .map(String::from)
            .to_vec(),
        ] {
            // The child is in this thread's namespace.
            let done = Command::new("ip").args(&words).output()?;
            if !done.status.success() {
                let why = String::from_utf8_lossy(&done.stderr).into_owned();
                return Err(io::Error::other(why));
            }
        }
        Ok((File::open("/proc/thread-self/ns/net")?, tun))
    });
    made.join().map_err(|_| io::Error::other("no namespace"))?
}

/// Carries packets from one device to the other, each so much later.
fn carry(mut from: File, mut to: File, delay: Duration, lost: Arc<AtomicU64>, seed: u64) {
    let (late, due) = sync_channel::<(Instant, Vec<u8>)>(QUEUE);
    std::thread::spawn(move || {
        let mut dice = Dice(seed);
        let mut packet = vec![0; 65_536];
        while let Ok(len) = from.read(&mut packet) {
            if dice.roll(1_000) < lost.load(Ordering::Relaxed) {
                continue;
            }
            // A full queue is a full router: the packet is lost.
            drop(late.try_send((Instant::now() + delay, packet[..len].to_vec())));
        }
    });
    std::thread::spawn(move || {
        for (at, packet) in due {
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            // What a device does not take is lost.
            drop(to.write(&packet));
        }
    });
}
