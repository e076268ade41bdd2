//! A relay of datagrams between a host and those that dial it, with weather: delay, loss, disorder, partition, new addresses.

use std::collections::{BTreeMap, BinaryHeap};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How it is between two hosts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// One way.
    pub delay: Duration,
    /// Some datagrams take so much longer, and arrive in another order.
    pub jitter: Duration,
    /// Of a thousand datagrams so many are lost.
    pub lost_permille: u64,
    /// Of a thousand datagrams so many come twice.
    pub twice_permille: u64,
    /// Nothing comes through to the host.
    pub cut_in: bool,
    /// Nothing comes back from the host.
    pub cut_out: bool,
}

pub struct Relay {
    pub address: SocketAddr,
    weather: Arc<Mutex<Weather>>,
    rebind: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Due {
    at: Instant,
    order: u64,
    bytes: Vec<u8>,
    client: SocketAddr,
    inward: bool,
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        self.order == other.order
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Due) -> std::cmp::Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// Small and repeatable.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, below: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below.max(1)
    }
}

impl Relay {
    /// A relay to the host at this port of this machine.
    pub fn to(port: u16, seed: u64) -> Relay {
        let socket = roomy();
        let address = socket.local_addr().unwrap();
        let weather = Arc::new(Mutex::new(Weather::default()));
        let (rebind, stop) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let thread = {
            let (weather, rebind, stop) = (weather.clone(), rebind.clone(), stop.clone());
            std::thread::spawn(move || run(&socket, port, seed, &weather, &rebind, &stop))
        };
        Relay {
            address,
            weather,
            rebind,
            stop,
            thread: Some(thread),
        }
    }

    pub fn weather(&self, weather: Weather) {
        *self.weather.lock().unwrap() = weather;
    }

    /// Nothing comes through any more, or all of it again.
    pub fn cut(&self, cut: bool) {
        self.weather(Weather {
            cut_in: cut,
            cut_out: cut,
            ..Weather::default()
        });
    }

    /// The host sees everybody come from new addresses from now on.
    pub fn rebind(&self) {
        self.rebind.store(true, Ordering::Relaxed);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Room for a burst of a fast link: what it loses besides would be the relay's weather, and not the one asked for.
fn roomy() -> UdpSocket {
    const ROOM_BYTES: usize = 8 << 20;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let settings = socket2::SockRef::from(&socket);
    settings.set_recv_buffer_size(ROOM_BYTES).ok();
    settings.set_send_buffer_size(ROOM_BYTES).ok();
    socket
}

fn run(
    socket: &UdpSocket,
    port: u16,
    seed: u64,
    weather: &Mutex<Weather>,
    rebind: &AtomicBool,
    stop: &AtomicBool,
) {
    socket.set_nonblocking(true).unwrap();
    let mut ways: BTreeMap<SocketAddr, UdpSocket> = BTreeMap::new();
    let mut queue: BinaryHeap<Due> = BinaryHeap::new();
    let mut dice = Dice(seed | 1);
    let mut order = 0;
    let mut buffer = vec![0; 65_536];
    let way = || {
        let way = roomy();
        way.set_nonblocking(true).unwrap();
        way
    };
    while !stop.load(Ordering::Relaxed) {
        let now_weather = *weather.lock().unwrap();
        if rebind.swap(false, Ordering::Relaxed) {
            for old in ways.values_mut() {
                *old = way();
            }
        }
        let mut moved = false;
        let mut take =
            |bytes: &[u8], client: SocketAddr, inward: bool, queue: &mut BinaryHeap<Due>| {
                let cut = if inward {
                    now_weather.cut_in
                } else {
                    now_weather.cut_out
                };
                if cut || dice.roll(1_000) < now_weather.lost_permille {
                    return;
                }
                let copies = 1 + u64::from(dice.roll(1_000) < now_weather.twice_permille);
                for _ in 0..copies {
                    let jitter_us = dice.roll(now_weather.jitter.as_micros() as u64 + 1);
                    order += 1;
                    queue.push(Due {
                        at: Instant::now() + now_weather.delay + Duration::from_micros(jitter_us),
                        order,
                        bytes: bytes.to_vec(),
                        client,
                        inward,
                    });
                }
            };
        for _ in 0..64 {
            let Ok((len, client)) = socket.recv_from(&mut buffer) else {
                break;
            };
            moved = true;
            ways.entry(client).or_insert_with(way);
            take(&buffer[..len], client, true, &mut queue);
        }
        for (client, way) in &ways {
            for _ in 0..64 {
                let Ok((len, _)) = way.recv_from(&mut buffer) else {
                    break;
                };
                moved = true;
                take(&buffer[..len], *client, false, &mut queue);
            }
        }
        let now = Instant::now();
        while queue.peek().is_some_and(|due| due.at <= now) {
            let due = queue.pop().unwrap();
            moved = true;
            // A full buffer is weather too.
            if due.inward {
                if let Some(way) = ways.get(&due.client) {
                    way.send_to(&due.bytes, ("127.0.0.1", port)).ok();
                }
            } else {
                socket.send_to(&due.bytes, due.client).ok();
            }
        }
        if !moved {
            std::thread::sleep(Duration::from_micros(500));
        }
    }
}
