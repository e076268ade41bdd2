//! Which slots a build gets.

use std::collections::BTreeSet;

use super::{State, builder, isa};
use crate::fault::{Fault, Kind, Result};

impl State {
    /// Whether all these levels run here, and are few enough.
    pub(super) fn can_measure(&self, turns: &builder::Turns) -> Result<()> {
        let lacks = turns
            .levels
            .iter()
            .find(|level| !self.args.levels.contains(level));
        if let Some(level) = lacks {
            let word = crate::config::isa_word(self.args.arch, *level);
            let what = format!("the processor of {} does not run {word}", self.args.name);
            return Err(Fault::new(Kind::Builder, what));
        }
        if turns.levels.len() > isa::LEVELS_MAX || turns.runs > isa::RUNS_MAX {
            return Err(Fault::new(
                Kind::Usage,
                "that is more than is measured at once",
            ));
        }
        Ok(())
    }
}

/// Cores of all slots together, each counted once.
pub(super) fn distinct(slots: &[Vec<u32>]) -> u32 {
    let cores: BTreeSet<u32> = slots.iter().flatten().copied().collect();
    u32::try_from(cores.len()).unwrap_or(u32::MAX)
}

/// So many free slots, the lowest first; where slots share cores, those before others that bring cores along.
pub(super) fn choose(all: &[Vec<u32>], busy: &BTreeSet<u32>, wanted: usize) -> Option<Vec<u32>> {
    let mut free: Vec<(u32, &Vec<u32>)> = (0..).zip(all).collect();
    free.retain(|(slot, _)| !busy.contains(slot));
    let (mut chosen, mut cores) = (Vec::new(), BTreeSet::new());
    while chosen.len() < wanted {
        let brings = |(_, its): &(u32, &Vec<u32>)| its.iter().any(|core| !cores.contains(core));
        let at = free.iter().position(brings).unwrap_or(0);
        if free.is_empty() {
            return None;
        }
        let (slot, its) = free.remove(at);
        cores.extend(its.iter().copied());
        chosen.push(slot);
    }
    chosen.sort_unstable();
    Some(chosen)
}

#[cfg(test)]
mod tests {
    use super::super::builder::Bounds;
    use super::*;

    #[test]
    fn slots_that_bring_cores_along_are_taken_before_others() {
        let own = [vec![0, 2], vec![1, 3]];
        let shared = [vec![0], vec![1], vec![0], vec![1]];
        let busy = |slots: &[u32]| slots.iter().copied().collect::<BTreeSet<u32>>();
        assert_eq!(choose(&own, &busy(&[]), 2), Some(vec![0, 1]));
        assert_eq!(choose(&own, &busy(&[0]), 1), Some(vec![1]));
        assert_eq!(choose(&own, &busy(&[0]), 2), None);
        assert_eq!(choose(&shared, &busy(&[1]), 2), Some(vec![0, 3]));
        assert_eq!(choose(&shared, &busy(&[]), 3), Some(vec![0, 1, 2]));
        assert_eq!(choose(&[], &busy(&[]), 1), None);
        assert_eq!((distinct(&own), distinct(&shared)), (4, 2));
    }

    #[test]
    fn several_slots_may_take_the_sum_of_what_each_may() {
        let one = Bounds {
            memory_bytes: Some(1000),
            processes: 10,
            silence_s_max: 5,
        };
        let of = |slots, machine| {
            let all = one.times(slots, machine);
            (all.memory_bytes, all.processes, all.silence_s_max)
        };
        assert_eq!(of(1, Some(900)), (Some(1000), 10, 5));
        assert_eq!(of(3, Some(9000)), (Some(3000), 30, 5));
        assert_eq!(of(3, Some(2500)), (Some(2500), 30, 5));
        assert_eq!(of(3, None), (Some(3000), 30, 5));
    }
}
