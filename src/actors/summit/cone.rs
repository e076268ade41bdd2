//! What lies around a job: the longest way through what it needs and what needs it, and the circles among them. Gathered
//! here, worked out in a task of its own on a copy of the planner.

use std::collections::{BTreeSet, HashMap};

use ractor::RpcReplyPort;

use super::state::State;
use crate::admin::summit::{Cone, ConeShow};
use crate::admin::view::{ConeView, CycleView, JobRef, JobState as StateView};
use crate::admin::{Method, Reply};
use crate::fault::Result;
use crate::id::CommitId;
use crate::model::{JobState, Reading, Target};
use crate::plan::Planner;

/// What a recipe needs to be built, by the recipes of now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// What its providers are built as.
    pub recipes: Vec<Target>,
    /// What nothing provides.
    pub nobody: Vec<String>,
}

/// An open job with what is left of its build, in predicted seconds.
struct Open {
    job: JobRef,
    seconds: f64,
}

struct Question {
    planner: Planner,
    root: Target,
    open: HashMap<Target, Open>,
}

impl State {
    /// Answers what lies around a job, when it is worked out.
    pub fn answer_cone(&self, ask: ConeShow, reply: RpcReplyPort<Result<Reply>>) {
        let question = self.locate_job(&ask.job).map(|job| Question {
            planner: self.planner.clone(),
            open: self.open_jobs(&job.target),
            root: job.target.clone(),
        });
        tokio::task::spawn_blocking(move || {
            let answer = question.and_then(|question| {
                ask.reply(&Cone {
                    cone: question.answer(),
                })
            });
            // The asker may be gone.
            reply.send(answer).ok();
        });
    }

    /// All that is still to be published for the same profile.
    fn open_jobs(&self, beside: &Target) -> HashMap<Target, Open> {
        let now = crate::actors::now().wall;
        let jobs = self.open.iter().filter_map(|id| self.farm.jobs.get(id));
        let same = jobs.filter(|job| job.target.profile == beside.profile && !job.state.is_over());
        same.map(|job| {
            let all_s = self.expected_s(&job.target);
            let last = self.farm.attempts_of(job.id).next_back();
            let (state, seconds) = match job.state {
                JobState::Building => {
                    let began = last.map_or(now, |last| last.started.unwrap_or(last.assigned));
                    let left_s = all_s - now.seconds_since(began);
                    (StateView::Building, left_s.max(all_s * 0.05))
                }
                JobState::Publishing => (StateView::Publishing, 0.0),
                _ if self.schedule.is_ready(job.id) == Some(true) && job.hold.is_none() => {
                    (StateView::Ready, all_s)
                }
                _ => (StateView::Waiting, all_s),
            };
            let open = Open {
                job: JobRef {
                    id: job.id,
                    recipe: job.target.recipe.clone(),
                    state,
                },
                seconds,
            };
            (job.target.clone(), open)
        })
        .collect()
    }

    /// What each target needs first by the recipes of now; `None`: its recipe is another one than this tree.
    pub fn needs_of_tree(&self, asked: &[(Target, CommitId)]) -> Vec<Option<Needs>> {
        asked
            .iter()
            .map(|(target, tree)| {
                let catalog = self.catalogs.get(&target.project)?;
                let same = catalog.entries.iter().any(|entry| {
                    entry.is_of(*tree)
                        && matches!(&entry.reading, Reading::Good(facts) if facts.name == target.recipe)
                });
                let edges = same.then(|| self.planner.edges_of(target))?;
                let whole = edges.into_iter().filter(|edge| edge.cut.is_none());
                let nobody = self.planner.unresolved_of(target).into_iter();
                Some(Needs {
                    recipes: whole.map(|edge| edge.provider).collect(),
                    nobody: nobody.map(|name| name.in_recipe_words()).collect(),
                })
            })
            .collect()
    }
}

/// The longest way from a target along these edges: its seconds without the target's own, and where it leads next.
type Ways = HashMap<Target, (f64, Option<Target>)>;

impl Question {
    fn answer(&self) -> ConeView {
        let mut before: HashMap<Target, Vec<Target>> = HashMap::new();
        let mut after: HashMap<Target, Vec<Target>> = HashMap::new();
        let all = self.open.keys().chain(std::iter::once(&self.root));
        for target in all.collect::<BTreeSet<_>>() {
            for edge in self.planner.edges_of(target) {
                if edge.cut.is_none() && self.open.contains_key(&edge.provider) {
                    after
                        .entry(edge.provider.clone())
                        .or_default()
                        .push(target.clone());
                    before
                        .entry(target.clone())
                        .or_default()
                        .push(edge.provider);
                }
            }
        }
        let (up, down) = (self.ways(&before), self.ways(&after));
        let mut path = self.follow(&up);
        path.reverse();
        path.extend(
            self.open
                .contains_key(&self.root)
                .then(|| self.root.clone()),
        );
        path.extend(self.follow(&down));
        let way_s = |ways: &Ways| ways.get(&self.root).map_or(0.0, |(seconds, _)| *seconds);
        let own_s = self.open.get(&self.root).map_or(0.0, |open| open.seconds);
        let cycles = self.planner.cycles(&self.root.profile);
        let near = cycles.iter().filter(|cycle| {
            let mut members = cycle.members.iter();
            members.any(|member| up.contains_key(member) || down.contains_key(member))
        });
        ConeView {
            needs: up.len().saturating_sub(1) as u64,
            needed_by: down.len().saturating_sub(1) as u64,
            critical_path: path
                .iter()
                .filter_map(|target| self.open.get(target).map(|open| open.job.clone()))
                .collect(),
            critical_s: way_s(&up) + own_s + way_s(&down),
            cycles: near.map(CycleView::from).collect(),
        }
    }

    /// The longest ways from the root and all that is reached from it. Edges that close a circle lead nowhere.
    fn ways(&self, edges: &HashMap<Target, Vec<Target>>) -> Ways {
        let mut done: Ways = HashMap::new();
        let mut open: BTreeSet<&Target> = BTreeSet::new();
        let mut stack = vec![(&self.root, false)];
        while let Some((target, children_done)) = stack.pop() {
            let next = edges.get(target).map_or(&[][..], Vec::as_slice);
            if children_done {
                let mut best: (f64, Option<Target>) = (0.0, None);
                for to in next {
                    let Some((beyond_s, _)) = done.get(to) else {
                        continue;
                    };
                    let own_s = self.open.get(to).map_or(0.0, |open| open.seconds);
                    if best.1.is_none() || beyond_s + own_s > best.0 {
                        best = (beyond_s + own_s, Some(to.clone()));
                    }
                }
                done.insert(target.clone(), best);
            } else if !done.contains_key(target) && open.insert(target) {
                stack.push((target, true));
                stack.extend(next.iter().map(|to| (to, false)));
            }
        }
        done
    }

    /// The targets of the longest way behind the root.
    fn follow(&self, ways: &Ways) -> Vec<Target> {
        let mut path = Vec::new();
        let mut at = ways.get(&self.root).and_then(|(_, next)| next.clone());
        while let Some(target) = at.filter(|_| path.len() <= self.open.len()) {
            at = ways.get(&target).and_then(|(_, next)| next.clone());
            path.push(target);
        }
        path
    }
}
