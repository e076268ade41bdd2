//! Several hosts: joining, building elsewhere, links and hosts that go, peers that lie.

mod building;
mod joining;
mod lying;
mod relay;
pub mod rig;
