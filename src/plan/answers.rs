//! What people ask the planner about one recipe.

use super::planner::Planner;
use super::{WaitKind, names::NameId};
use crate::fault::Fault;
use crate::id::ProjectName;
use crate::model::Target;
use crate::recipe::NeedOrigin;
use crate::stone::Dependency;

impl Planner {
    /// Why the recipe in a directory cannot be planned.
    pub fn fault_in(&self, project: &ProjectName, dir: &str) -> Option<&Fault> {
        self.recipes
            .in_dir(project, dir)
            .and_then(|row| row.fault())
    }

    /// What a target asks for and neither a recipe nor an index provides; what only a macro adds is left out.
    pub fn unresolved_of(&self, target: &Target) -> Vec<Dependency> {
        self.needs_where(target, |planner, (p, _), name, origin| {
            let row = planner.row(p);
            origin != NeedOrigin::Macro
                && planner.provider_of(p, name).is_none()
                && row.is_some_and(|row| planner.stand_in(row, name).is_none())
        })
    }

    /// What a target asks for and only its own recipe provides, and nothing published stands in for.
    pub fn own_needs(&self, target: &Target) -> Vec<Dependency> {
        self.needs_where(target, |planner, (p, r), name, _| {
            let row = planner.row(p);
            planner.provider_of(p, name) == Some(r)
                && row.is_some_and(|row| planner.stand_in(row, name).is_none())
        })
    }

    /// Whether time alone will never make an open target ready.
    pub fn is_stuck(&self, target: &Target) -> bool {
        let never = |kind| {
            matches!(
                kind,
                WaitKind::Dependency | WaitKind::Bootstrap | WaitKind::Recipe | WaitKind::FailedJob
            )
        };
        self.waits_for(target).iter().any(|wait| never(wait.kind))
    }

    fn needs_where(
        &self,
        target: &Target,
        keep: impl Fn(&Planner, (u16, u32), NameId, NeedOrigin) -> bool,
    ) -> Vec<Dependency> {
        let Some((p, r)) = self.find(target) else {
            return Vec::new();
        };
        let Some(row) = self.row(p) else {
            return Vec::new();
        };
        let needs = self.needs(row, r).into_iter();
        let mut kept: Vec<Dependency> = needs
            .filter(|(name, origin)| keep(self, (p, r), *name, *origin))
            .filter_map(|(name, _)| self.names.name(name).cloned())
            .collect();
        kept.sort();
        kept
    }
}
