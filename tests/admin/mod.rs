//! The admin socket through its public doors: our client, the command line, and somebody else's Varlink client.

mod command;
pub mod fixed;
mod python;
mod socket;
