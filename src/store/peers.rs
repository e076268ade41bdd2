//! The rows of who belongs to the farm: peers and tickets. Written by `actors/links` alone.

use super::Row;
use crate::id::HostId;
use crate::model::peer::{Peer, PeerKeys, PeerListRow, Ticket};

impl Row for Peer {
    const TREE: &'static str = "peer";
    const SHAPE: u8 = 1;
    type Key = HostId;
    fn key(&self) -> HostId {
        self.id
    }
}

impl Row for Ticket {
    const TREE: &'static str = "ticket";
    const SHAPE: u8 = 1;
    type Key = [u8; 6];
    fn key(&self) -> [u8; 6] {
        self.id.0
    }
}

impl Row for PeerKeys {
    const TREE: &'static str = "peer_keys";
    const SHAPE: u8 = 1;
    type Key = HostId;
    fn key(&self) -> HostId {
        self.host
    }
}

impl Row for PeerListRow {
    const TREE: &'static str = "peer_list";
    const SHAPE: u8 = 1;
    type Key = HostId;
    fn key(&self) -> HostId {
        self.summit
    }
}
