//! The admin interface on a Unix socket: framing, the server, the client and where the socket is. What is asked and
//! answered is `crate::admin`; who answers is whoever calls [`serve`].
//!
//! Varlink is JSON with a NUL after each message. The library's own `Connection` grows its buffers by 256 bytes and
//! serialises again from the start after each step, so that a page of 1 MiB costs 2 GiB of copying, and its bound of
//! 100 MiB per message cannot be lowered; so the framing is ours, and names, types and descriptions are the library's.

mod client;
mod frame;
mod path;
pub mod remote;
mod server;

pub use client::{Answers, Client, RawAnswers};
pub use path::{Places, socket_path, state_dir};
pub use server::{Answer, Listener, Piece, serve, serve_connection};
