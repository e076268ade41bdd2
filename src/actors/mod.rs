//! The actors of a host and what they share: summit decides, avalanche builds, vessel publishes, post carries between
//! hosts, desk answers people. Each owns its trees; others send it facts and questions.

pub mod avalanche;
pub mod checks;
pub mod deeds;
pub mod desk;
pub mod errands;
pub mod events;
pub mod links;
pub mod log_search;
mod logs;
pub mod moments;
pub mod owner;
pub mod past;
pub mod post;
pub mod root;
pub mod shop;
pub mod stock;
pub mod summit;
pub mod upload;
pub mod vessel;
pub mod work;

use std::sync::atomic::{AtomicU64, Ordering};

/// Dies by signal 9 here when the environment variable `MASSIF_KILL_AT` names this point (`name`, or `name@3` for the
/// third time that it is passed). For tests of restarts; costs one look at a static otherwise.
pub fn kill_point(name: &str) {
    static WANTED: std::sync::OnceLock<Option<(String, u64)>> = std::sync::OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("MASSIF_KILL_AT").ok()?;
        let (name, count) = text.rsplit_once('@').unwrap_or((&text, "1"));
        Some((name.to_string(), count.parse().unwrap_or(1)))
    });
    let Some((wanted, count)) = wanted else {
        return;
    };
    if wanted == name && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *count {
        // Death itself is the point: nothing is flushed and nobody is told.
        if nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL)
            .is_err()
        {
            std::process::abort();
        }
    }
}

/// The present, for the core. The only clock that actors read.
pub fn now() -> crate::id::Now {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    let start = START.get_or_init(std::time::Instant::now);
    let wall = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    crate::id::Now {
        wall: crate::id::Stamp(i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)),
        mono_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}
