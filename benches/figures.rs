//! The figures of the README: `cargo bench --bench figures -- NAME...`, all without a name.

#[path = "figures/intake.rs"]
mod intake;
#[path = "figures/root.rs"]
mod root;

fn main() {
    let figures: [(&str, fn()); 2] = [("intake", intake::run), ("root", root::run)];
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    for (name, run) in figures {
        if asked.is_empty() || asked.iter().any(|one| one == name) {
            run();
        }
    }
}
