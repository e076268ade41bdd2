//! The figures of the README: `cargo bench --bench figures -- NAME...`, all without a name.

#[path = "../tests/common/clock.rs"]
#[allow(dead_code, reason = "tests use the rest of it")]
mod clock;

#[path = "figures/builders.rs"]
mod builders;
#[path = "figures/dash.rs"]
mod dash;
#[path = "figures/fleet.rs"]
mod fleet;
#[path = "figures/hosts.rs"]
mod hosts;
#[path = "figures/intake.rs"]
mod intake;
#[path = "figures/plan.rs"]
mod plan;
#[path = "figures/proof.rs"]
mod proof;
#[path = "figures/published.rs"]
mod published;
#[path = "figures/rebuilt.rs"]
mod rebuilt;
#[path = "figures/ring.rs"]
mod ring;
#[path = "figures/root.rs"]
mod root;
#[path = "figures/slots.rs"]
mod slots;
#[path = "figures/store.rs"]
mod store;
#[path = "figures/table.rs"]
mod table;

/// One line each, so that two people who add one do not meet.
const FIGURES: &[(&str, fn())] = &[
    ("builders", builders::run),
    ("dash", dash::run),
    ("fleet", fleet::run),
    ("hosts", hosts::run),
    ("intake", intake::run),
    ("plan", plan::run),
    ("proof", proof::run),
    ("published", published::run),
    ("rebuilt", rebuilt::run),
    ("ring", ring::run),
    ("root", root::run),
    ("slots", slots::run),
    ("store", store::run),
];

fn main() {
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    for (name, run) in FIGURES {
        if asked.is_empty() || asked.iter().any(|one| one == name) {
            run();
        }
    }
}
