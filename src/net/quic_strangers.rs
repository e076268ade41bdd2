//! Who stands at the door: connections that came in and did not finish their hello. They are few, and when there are too many the
//! one that stands there longest gives way, so that hosts that say nothing keep no other out.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

/// Handshakes and hellos under way at once.
pub(super) const STRANGERS_MAX: usize = 64;
/// The same from one address: half, so that nobody fills the door alone.
const OF_ONE_ADDRESS_MAX: usize = STRANGERS_MAX / 2;
/// A handshake and a hello take four round trips, and no path on Earth has one of a second. Who needs longer gives way when others
/// come.
const PATIENCE: Duration = Duration::from_secs(4);

/// What lets a stranger in, so that it can be ended.
pub(super) trait Errand {
    /// It has come to an end.
    fn is_over(&self) -> bool;
    /// Ends it; its connection is closed.
    fn end(&self);
}

impl Errand for tokio::task::AbortHandle {
    fn is_over(&self) -> bool {
        self.is_finished()
    }
    fn end(&self) {
        self.abort();
    }
}

struct Stranger<E> {
    from: SocketAddr,
    since: Instant,
    errand: E,
}

/// All of them, who came first at the front.
pub(super) struct Strangers<E> {
    all: VecDeque<Stranger<E>>,
}

/// Whether another one may come in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// There is room.
    Free,
    /// There is, because this one had to go.
    After(SocketAddr),
    /// There is none now; who is in earnest asks again by itself, as every QUIC client does.
    None,
}

impl<E: Errand> Strangers<E> {
    pub(super) fn new() -> Strangers<E> {
        Strangers {
            all: VecDeque::with_capacity(STRANGERS_MAX),
        }
    }

    /// Room for one more from this address, made if need be.
    pub(super) fn place(&mut self, from: SocketAddr, now: Instant) -> Place {
        self.all.retain(|one| !one.errand.is_over());
        let network = network_of(from);
        let its = |one: &Stranger<E>| network_of(one.from) == network;
        let its_own_fault = self.all.iter().filter(|one| its(one)).count() >= OF_ONE_ADDRESS_MAX;
        if !its_own_fault && self.all.len() < STRANGERS_MAX {
            return Place::Free;
        }
        let mut oldest = (0..).zip(&self.all);
        let oldest = oldest.find(|(_, one)| !its_own_fault || its(one));
        let Some((at, _)) = oldest.filter(|(_, one)| now - one.since >= PATIENCE) else {
            return Place::None;
        };
        match self.all.remove(at) {
            Some(gone) => {
                gone.errand.end();
                Place::After(gone.from)
            }
            None => Place::None,
        }
    }

    /// More than half of the room is taken: who comes now has to show that its address is its own.
    pub(super) fn is_crowded(&self) -> bool {
        self.all.len() > STRANGERS_MAX / 2
    }

    /// It stands at the door from now on.
    pub(super) fn came(&mut self, from: SocketAddr, since: Instant, errand: E) {
        let stranger = Stranger {
            from,
            since,
            errand,
        };
        self.all.push_back(stranger);
    }
}

/// An address, or of version 6 its /64, which is what one customer has (RFC 6177).
fn network_of(from: SocketAddr) -> IpAddr {
    match from.ip() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(inner) => IpAddr::V4(inner),
            None => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    impl Errand for Rc<Cell<bool>> {
        fn is_over(&self) -> bool {
            self.get()
        }
        fn end(&self) {
            self.set(true);
        }
    }

    struct Door {
        strangers: Strangers<Rc<Cell<bool>>>,
        began: Instant,
    }

    impl Door {
        fn comes(&mut self, from: &str, at_s: u64) -> (Place, Rc<Cell<bool>>) {
            let (from, errand) = (from.parse().unwrap(), Rc::default());
            let now = self.began + Duration::from_secs(at_s);
            let place = self.strangers.place(from, now);
            if place != Place::None {
                self.strangers.came(from, now, Rc::clone(&errand));
            }
            (place, errand)
        }
    }

    fn door() -> Door {
        Door {
            strangers: Strangers::new(),
            began: Instant::now(),
        }
    }

    #[test]
    fn one_address_takes_half_of_the_room_and_its_oldest_gives_way() {
        let mut door = door();
        let first = door.comes("10.0.0.1:1", 0).1;
        for _ in 1..OF_ONE_ADDRESS_MAX {
            assert_eq!(door.comes("10.0.0.1:2", 1).0, Place::Free);
        }
        assert_eq!(door.comes("10.0.0.1:3", 2).0, Place::None);
        assert_eq!(door.comes("10.0.0.2:3", 2).0, Place::Free, "another one");
        let (place, _) = door.comes("10.0.0.1:3", 4);
        assert_eq!(place, Place::After("10.0.0.1:1".parse().unwrap()));
        assert!(first.is_over());
    }

    #[test]
    fn a_full_door_lets_the_next_one_in_when_its_oldest_had_its_time() {
        let mut door = door();
        for number in 0..STRANGERS_MAX {
            let (place, _) = door.comes(&format!("10.0.{number}.1:1"), number as u64 / 32);
            assert_eq!(place, Place::Free);
            assert_eq!(door.strangers.is_crowded(), number >= STRANGERS_MAX / 2);
        }
        assert_eq!(door.comes("10.1.0.1:1", 3).0, Place::None);
        let (place, second) = door.comes("10.1.0.1:1", 4);
        assert_eq!(place, Place::After("10.0.0.1:1".parse().unwrap()));
        second.set(true);
        assert_eq!(door.comes("10.1.0.2:1", 4).0, Place::Free, "one is over");
    }

    #[test]
    fn a_network_of_version_6_is_one_address() {
        let of = |text: &str| network_of(text.parse().unwrap()).to_string();
        assert_eq!(of("[2001:db8:1:2:3:4:5:6]:1"), "2001:db8:1:2::");
        assert_eq!(of("[::ffff:10.0.0.1]:1"), "10.0.0.1");
    }
}
