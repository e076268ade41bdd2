//! Several hosts: joining, building elsewhere, links and hosts that go, peers that lie.

pub mod blame;
mod building;
mod causes;
mod flood;
mod fuzz;
mod joining;
mod keys;
mod late;
mod liars;
mod lying;
mod owner;
mod relay;
pub mod rig;
mod scenarios;
mod speaking;
mod tail;
mod third;
mod tool;
mod transfers;
