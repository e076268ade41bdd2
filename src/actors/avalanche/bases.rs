//! Bases of this builder's own: what they bring, told to summit whenever that is something else.

use ractor::ActorRef;

use super::builder::Stood;
use super::{Msg, Role, Say, State};
use crate::id::AttemptId;
use crate::model::base_seen::OF_ONE_BUILDER_MAX;
use crate::model::{Base, BaseSeen};

/// An idle builder looks at its base this often; one that builds does for each build.
const LOOK_MS: u64 = 300_000;

/// What is known of them.
#[derive(Default)]
pub(super) struct Bases {
    /// What each brings, and whether summit was told.
    known: Vec<(Base, BaseSeen, bool)>,
    looked_ms: Option<u64>,
}

impl Bases {
    /// Takes a look in.
    fn take(&mut self, of: Base, seen: BaseSeen) {
        let room = self.known.len() < OF_ONE_BUILDER_MAX;
        match self.known.iter_mut().find(|(base, ..)| *base == of) {
            Some((_, known, _)) if *known == seen => {}
            Some((_, known, told)) => (*known, *told) = (seen, false),
            None if room => self.known.push((of, seen, false)),
            None => {}
        }
    }
}

impl State {
    /// By the clock: looks at this machine's `/usr`, in a task of its own; `Msg::BaseSeen` says what it brings.
    pub(super) fn look_at_base(&mut self, me: &ActorRef<Msg>) {
        let now_ms = crate::actors::now().mono_ms;
        let looked = self.bases.looked_ms;
        if looked.is_some_and(|looked| now_ms < looked + LOOK_MS) {
            return;
        }
        self.bases.looked_ms = Some(now_ms);
        let (dir, to) = (self.args.dir.clone(), me.clone());
        tokio::task::spawn_blocking(move || {
            match crate::build::tools::look(&crate::build::base::Base::Host, &dir) {
                // An avalanche that is gone looks again when it is back.
                Ok(Some(seen)) => drop(to.cast(Msg::BaseSeen(Box::new((*seen).clone())))),
                Ok(None) => {}
                Err(fault) => {
                    tracing::warn!(%fault, "cannot look at what this machine's base brings")
                }
            }
        });
    }

    /// What this machine's `/usr` brings.
    pub(super) fn base_seen(&mut self, seen: BaseSeen) {
        self.bases.take(Base::Host, seen);
    }

    /// What an attempt was built on, before its end is written down.
    pub(super) fn stood_on(&mut self, attempt: AttemptId, stood: Stood) {
        let Stood { of, seen, digest } = stood;
        self.bases.take(of, (*seen).clone());
        self.stood.insert(attempt, digest);
    }

    /// Says what each of them brings: all of it, or what was not said yet.
    pub(super) fn tell_bases(&mut self, all: bool) {
        let summit = self.args.summit;
        for (of, seen, told) in &mut self.bases.known {
            if all || !*told {
                *told = true;
                let say = Say::Base {
                    of: of.clone(),
                    seen: Box::new(seen.clone()),
                };
                self.args.post.say(summit, Role::Summit, say);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_told_again_when_it_is_another_one_and_not_before() {
        let mut bases = Bases::default();
        let seen = |system: &str| BaseSeen {
            system: system.into(),
            parts: Vec::new(),
        };
        let untold = |bases: &mut Bases| {
            let mut count = 0;
            for (_, _, told) in &mut bases.known {
                count += usize::from(!std::mem::replace(told, true));
            }
            count
        };
        bases.take(Base::Host, seen("a"));
        assert_eq!(untold(&mut bases), 1);
        bases.take(Base::Host, seen("a"));
        assert_eq!(untold(&mut bases), 0);
        bases.take(Base::Directory("/b".into()), seen("a"));
        bases.take(Base::Host, seen("c"));
        assert_eq!(untold(&mut bases), 2);
        for number in 0..2 * OF_ONE_BUILDER_MAX {
            bases.take(Base::Directory(format!("/{number}")), seen("a"));
        }
        assert_eq!(bases.known.len(), OF_ONE_BUILDER_MAX);
    }
}
