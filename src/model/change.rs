//! The changes of several events as one.

use super::farm::Change;

impl Change {
    /// Appends what a later event changed; for the same row the later one wins when taken in order.
    pub fn append(&mut self, later: Change) {
        self.projects.extend(later.projects);
        self.projects_gone.extend(later.projects_gone);
        self.profiles.extend(later.profiles);
        self.profiles_gone.extend(later.profiles_gone);
        self.jobs.extend(later.jobs);
        self.attempts.extend(later.attempts);
        self.recipe_holds.extend(later.recipe_holds);
        self.hosts.extend(later.hosts);
        self.base_packages.extend(later.base_packages);
        self.usages.extend(later.usages);
        self.policies.extend(later.policies);
        self.measures.extend(later.measures);
        self.builder_stops.extend(later.builder_stops);
        self.proof.append(later.proof);
        self.level.append(later.level);
    }
}
