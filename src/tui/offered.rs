//! What can be done about what a person stands on, and why not.

use super::app::App;
use super::ask::{Action, Reply};
use super::keys::Deed;
use super::page::Page;
use super::views;
use crate::admin::view::{JobState, RecipeView};

impl App {
    /// What this key would do here.
    pub fn action_of(&self, deed: Deed) -> Option<Action> {
        if deed == Deed::Rollback {
            let (channel, to) = self.version_here()?;
            return Some(Action::Rollback {
                channel,
                to,
                reason: String::new(),
            });
        }
        match deed {
            Deed::Build => return self.build_here(),
            Deed::Drain | Deed::Quarantine | Deed::Resume => return self.builder_action(deed),
            Deed::Approve | Deed::Expel | Deed::Rename => return self.peer_action(deed),
            _ => {}
        }
        let job = self.data.job(self.job_here()?)?;
        let (id, recipe) = (job.id, job.recipe.clone());
        let open = matches!(job.state, JobState::Waiting | JobState::Ready);
        let stopped = matches!(job.state, JobState::Failed | JobState::Cancelled);
        match deed {
            Deed::Retry if stopped => Some(Action::Retry(id, recipe)),
            Deed::Cancel if !job.state.is_final() => Some(Action::Cancel(id, recipe)),
            Deed::Hold if open && job.hold.is_none() => Some(Action::Hold {
                job: id,
                recipe,
                reason: String::new(),
            }),
            Deed::Release if job.hold.is_some() => Some(Action::Release(id, recipe)),
            Deed::Raise if open => Some(Action::Raise(id, recipe, 100)),
            _ => None,
        }
    }

    fn builder_action(&self, deed: Deed) -> Option<Action> {
        let builder = self.builder_here()?;
        let verdict = self.data.builder(&builder)?.verdict.as_str();
        let stopped = matches!(verdict, "draining" | "quarantined");
        let reason = String::new();
        match deed {
            Deed::Drain if !stopped => Some(Action::Drain { builder, reason }),
            Deed::Quarantine if !stopped => Some(Action::Quarantine { builder, reason }),
            Deed::Resume if verdict == "draining" => Some(Action::Resume(builder)),
            Deed::Resume if stopped => Some(Action::ReleaseBuilder(builder)),
            _ => None,
        }
    }

    fn peer_action(&self, deed: Deed) -> Option<Action> {
        if let Some(ticket) = self.ticket_here() {
            let open = deed == Deed::Expel && ticket.state == "open";
            return open.then(|| Action::TakeBack(ticket.id.clone()));
        }
        let peer = self.peer_here()?;
        let name = peer.name.to_string();
        match (deed, peer.state.as_str()) {
            (Deed::Approve, "waiting") => Some(Action::Approve(name)),
            (Deed::Expel, "waiting" | "approved") => Some(Action::Revoke(name)),
            (Deed::Rename, "waiting" | "approved") => Some(Action::Rename {
                peer: name,
                to: String::new(),
            }),
            _ => None,
        }
    }

    fn build_here(&self) -> Option<Action> {
        let sheet = self.sheet();
        let (name, published) = match &sheet.page {
            Page::Recipes => {
                let recipe = views::recipes::of(sheet, self.row()?)?;
                (self.recipe_here()?, is_newest(recipe))
            }
            Page::Recipe(name) => match &sheet.content {
                Some(Reply::Recipe { recipe, .. }) => (name.clone(), is_newest(recipe)),
                _ => return None,
            },
            _ => {
                let job = self.shown().job(self.job_here()?)?;
                let done = job.state == JobState::Published;
                (self.recipe_here().filter(|_| done)?, done)
            }
        };
        Some(Action::Build {
            recipe: Some(name),
            rebuild: published,
        })
    }

    /// Whether this key does something here.
    pub fn is_offered(&self, deed: Deed) -> bool {
        self.past.is_none() && self.action_of(deed).is_some()
    }

    /// Why this key does nothing here.
    pub fn why_not(&self, deed: Deed) -> String {
        if self.past.is_some() {
            return "this is the farm as it was; a brings you back to now".into();
        }
        if let Deed::Drain | Deed::Quarantine | Deed::Resume = deed {
            return match self.builder_here() {
                None => "there is no builder on this line".into(),
                Some(name) => {
                    format!("builder {name} is drained or quarantined already; U undoes it")
                }
            };
        }
        if let Deed::Approve | Deed::Expel | Deed::Rename = deed {
            return match (self.peer_here(), self.ticket_here()) {
                (None, None) => "there is no peer on this line".into(),
                (Some(peer), _) => format!("{} is {} already", peer.name, peer.state),
                (None, Some(ticket)) => format!("invitation {} is {}", ticket.id, ticket.state),
            };
        }
        let job = self.job_here().and_then(|job| self.data.job(job));
        let Some(job) = job else {
            return match deed {
                Deed::Build => "there is no recipe on this line to build".into(),
                _ => "there is no job on this line".into(),
            };
        };
        let state = job.state.as_str();
        let name = format!("job {} ({})", job.id, job.recipe);
        match deed {
            Deed::Retry => {
                format!("{name} is {state}: only failed and cancelled jobs are tried again")
            }
            Deed::Cancel => format!("{name} is {state}: there is nothing to cancel"),
            Deed::Hold if job.hold.is_some() => format!("{name} is held already; U releases it"),
            Deed::Hold => format!("{name} is {state}: only waiting and ready jobs can be held"),
            Deed::Release => format!("{name} is not held"),
            Deed::Raise => {
                format!("{name} is {state}: only waiting and ready jobs have a place in the queue")
            }
            Deed::Build => format!(
                "{name} is {state}: B builds what is published again; R retries what failed"
            ),
            _ => "that does nothing here".into(),
        }
    }
}

fn is_newest(recipe: &RecipeView) -> bool {
    recipe.published.as_ref().is_some_and(|published| {
        Some(&published.version) == recipe.version.as_ref()
            && Some(published.release) == recipe.release
    })
}
