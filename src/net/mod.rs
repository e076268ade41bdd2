//! What leaves the process: the admin socket, and with their issues the links between hosts and the package server.

pub mod admin;
pub mod http;
