//! Compiler caches of this builder: how its builds are told to use one, and what they did since its start.

use super::builder::Turns;
use super::{Role, Say, State};
use crate::model::cache::{CACHES_MAX, CacheSpec, CacheState};
use crate::model::say::ToolSpec;

/// How an order is carried out beside what it says itself.
#[derive(Default)]
pub(super) struct How {
    /// By the distribution's own tool, which has to know this.
    pub(super) tool: Option<ToolSpec>,
    /// Nothing is made: levels are measured.
    pub(super) measure: Option<Turns>,
    /// The compiler cache that it may use.
    pub(super) cache: Option<CacheSpec>,
}

impl How {
    /// By the distribution's own tool.
    pub(super) fn with_tool(tool: ToolSpec) -> How {
        How {
            tool: Some(tool),
            ..How::default()
        }
    }

    /// With a compiler cache.
    pub(super) fn cached(cache: CacheSpec) -> How {
        How {
            cache: Some(cache),
            ..How::default()
        }
    }

    /// Only measured.
    pub(super) fn measured(turns: Turns) -> How {
        How {
            measure: Some(turns),
            ..How::default()
        }
    }
}

impl State {
    /// Adds what a compiler cache did in a build to what is known of it.
    pub(super) fn cache_seen(&mut self, seen: CacheState) {
        let mut known = self.compiler_caches.iter_mut();
        match known.find(|one| one.profile == seen.profile) {
            Some(known) => {
                let (hits, misses) = (known.hits + seen.hits, known.misses + seen.misses);
                *known = CacheState {
                    hits,
                    misses,
                    ..seen
                };
            }
            None => self.compiler_caches.push(seen),
        }
        self.compiler_caches.truncate(CACHES_MAX);
        self.tell_caches();
    }

    /// Says what is known of them.
    pub(super) fn tell_caches(&self) {
        if !self.compiler_caches.is_empty() {
            let caches = self.compiler_caches.clone();
            let summit = self.args.summit;
            self.args
                .post
                .say(summit, Role::Summit, Say::Caches { caches });
        }
    }
}
