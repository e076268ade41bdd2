//! A plan: what would be built, in which order, why, how long, on what, and what its cycles cost.

use crate::admin::views;
use crate::id::{ProfileName, ProjectName, RecipeName};

use super::{AccuracyView, FaultView, JobRef};
use crate::plan::{Cut, Cycle, ServedBy};

views! {
    /// One row of a plan: a recipe for a profile.
    pub struct PlanJobView {
        /// Its recipe.
        pub recipe: RecipeName,
        /// Its project; null when the plan is of a bare repository.
        pub project: Option<ProjectName>,
        /// For what.
        pub profile: ProfileName,
        /// Its version; null when the recipe cannot be read.
        pub version: Option<String>,
        /// Its release; null when the recipe cannot be read.
        pub release: Option<u64>,
        /// Why it would be built; empty: it would not.
        pub reasons: Vec<String>,
        /// Recipes that have to be published first, cuts left out.
        pub depends_on: Vec<RecipeName>,
        /// When it would start, in seconds from the start of the plan.
        pub start_s: Option<f64>,
        /// When it would end, in seconds from the start of the plan.
        pub end_s: Option<f64>,
        /// Where it would be built.
        pub builder: Option<String>,
        /// Why it cannot be read.
        pub faults: Vec<FaultView>,
        /// What it needs and nothing provides.
        pub unresolved: Vec<String>,
    }

    /// Recipes that need one another.
    pub struct CycleView {
        /// All of them.
        pub members: Vec<RecipeName>,
        /// Where the circle is opened.
        pub cuts: Vec<CutView>,
        /// No fewer cuts than this are possible, when that is known.
        pub cuts_lower_bound: Option<u64>,
        /// What would have to come from elsewhere before any of it can be built.
        pub bootstrap_needs: Vec<RecipeName>,
    }

    /// One opened edge: `recipe` is built before its `provider`.
    pub struct CutView {
        /// Built first.
        pub recipe: RecipeName,
        /// Built after, although it provides.
        pub provider: RecipeName,
        /// What.
        pub dependency: String,
        /// What stands in: `published ncurses 6.4-1`, `remote NAME`, `base`; null: nothing.
        pub served_by: Option<String>,
    }

    /// Something that nothing provides.
    pub struct UnresolvedView {
        /// What.
        pub dependency: String,
        /// Who needs it.
        pub recipes: Vec<RecipeName>,
    }

    /// What lies around a job: among the jobs that are still to be published.
    pub struct ConeView {
        /// Jobs that it needs, over any number of steps.
        pub needs: u64,
        /// Jobs that need it, over any number of steps.
        pub needed_by: u64,
        /// The longest way through it in predicted seconds, the first to be built first; cuts left out.
        pub critical_path: Vec<JobRef>,
        /// How long that way takes from now on, in predicted seconds.
        pub critical_s: f64,
        /// Circles that it, what it needs or what needs it is part of.
        pub cycles: Vec<CycleView>,
    }

    /// The plan as a whole.
    pub struct PlanView {
        /// Rows in the whole plan, of which a page may show some.
        pub rows: u64,
        /// Rows that would be built.
        pub builds: u64,
        /// All circles.
        pub cycles: Vec<CycleView>,
        /// All that nothing provides.
        pub unresolved: Vec<UnresolvedView>,
        /// The longest way from start to end.
        pub critical_path: Vec<RecipeName>,
        /// How long it all takes, in seconds, as far as durations are known.
        pub makespan_s: Option<f64>,
        /// No order can be faster than this, in seconds.
        pub lower_bound_s: Option<f64>,
        /// How long it all takes with the builders that are here, when others were asked for, in seconds.
        pub makespan_here_s: Option<f64>,
        /// How good predictions of builds have been; null: there were none, or the plan is of a bare repository.
        pub estimates: Option<AccuracyView>,
    }
}

impl From<&Cycle> for CycleView {
    fn from(cycle: &Cycle) -> CycleView {
        let cut_view = |cut: &Cut| CutView {
            recipe: cut.recipe.recipe.clone(),
            provider: cut.provider.recipe.clone(),
            dependency: cut
                .dependencies
                .iter()
                .map(|name| name.in_recipe_words())
                .collect::<Vec<_>>()
                .join(", "),
            served_by: cut.served_by.map(|served| {
                match served {
                    ServedBy::Published => "published",
                    ServedBy::Remote => "remote",
                    ServedBy::Base => "base",
                }
                .to_string()
            }),
        };
        let mut needs: Vec<RecipeName> = cycle
            .cuts
            .iter()
            .filter(|cut| cut.served_by.is_none())
            .map(|cut| cut.provider.recipe.clone())
            .collect();
        needs.sort();
        needs.dedup();
        CycleView {
            members: cycle
                .members
                .iter()
                .map(|target| target.recipe.clone())
                .collect(),
            cuts: cycle.cuts.iter().map(cut_view).collect(),
            cuts_lower_bound: Some(cycle.cuts_min as u64),
            bootstrap_needs: needs,
        }
    }
}
