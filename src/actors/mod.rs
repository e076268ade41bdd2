//! (being written)
pub mod summit;
