//! What leaves the process: the admin socket, the links between hosts, and the package server.

pub mod admin;
pub mod card;
pub mod errand;
pub mod http;
pub mod identity;
pub mod peer_list;
mod pins;
pub mod quic;
mod quic_explain;
mod quic_join;
mod quic_settings;
mod quic_strangers;
pub mod rotation;
pub mod transfer;
pub mod wire;
pub mod words;
