//! The dashboard: its screens as text, its manners with hostile names, and the real program on a pseudo terminal.

mod afar;
mod away;
mod broken;
mod copy;
mod filters;
mod hostile;
mod past;
mod progress;
pub mod pty;
mod sample;
mod screens;
