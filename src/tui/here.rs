//! What a person stands on, and where it leads.

use std::sync::Arc;

use serde::Serialize;

use super::app::App;
use super::ask::Reply;
use super::list::Line;
use super::page::Page;
use super::views;
use crate::admin::view::{
    BuilderView, ChangeView, JobView, PeerView, RecipeDetail, RecipeProofView, RecipeView,
    TicketView,
};
use crate::cli::text;
use crate::id::{JobId, Seq, VersionId};

/// What a recipe's page shows.
#[derive(Serialize)]
pub struct WholeRecipe<'a> {
    recipe: &'a RecipeView,
    detail: Option<&'a RecipeDetail>,
    changes: &'a [ChangeView],
    proof: Option<&'a RecipeProofView>,
}

/// Something that has JSON.
pub enum Raw<'a> {
    /// A job.
    Job(&'a JobView),
    /// A builder.
    Builder(&'a BuilderView),
    /// A recipe with all that is known of it.
    Recipe(Box<WholeRecipe<'a>>),
    /// Anything else, by its name.
    Other(String, &'a dyn erased::Json),
}

/// Anything that has JSON, without naming its type.
pub mod erased {
    /// Has JSON.
    pub trait Json {
        /// Lines of it.
        fn json(&self) -> String;
    }

    impl<T: serde::Serialize> Json for T {
        fn json(&self) -> String {
            super::pretty(self)
        }
    }
}

fn pretty<T: Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value)
        .unwrap_or_else(|error| format!("cannot be written: {error}"))
}

impl Raw<'_> {
    /// What it is.
    pub fn name(&self) -> String {
        match self {
            Raw::Job(job) => format!("job {}", job.id),
            Raw::Builder(builder) => builder.name.to_string(),
            Raw::Recipe(whole) => whole.recipe.name.to_string(),
            Raw::Other(name, _) => name.clone(),
        }
    }

    /// Its JSON in lines.
    pub fn text(&self) -> String {
        match self {
            Raw::Job(job) => pretty(job),
            Raw::Builder(builder) => pretty(builder),
            Raw::Recipe(whole) => pretty(whole),
            Raw::Other(_, value) => value.json(),
        }
    }
}

impl App {
    pub(super) fn row(&self) -> Option<u64> {
        self.sheet().key()
    }

    /// The job that a person stands on.
    pub fn job_here(&self) -> Option<JobId> {
        let data = self.shown();
        match &self.sheet().page {
            Page::Farm => self
                .row()
                .filter(|key| *key < views::farm::ALARM)
                .map(JobId),
            Page::Queue => self.row().map(JobId),
            Page::Repository | Page::Channel(_) => views::repository::next_job(self.row()?),
            Page::Graph(_) => self
                .row()
                .and_then(|key| self.sheet().branches.get(key as usize))
                .map(|branch| branch.job),
            Page::Job(job) | Page::Log(job, _) => Some(*job),
            Page::Why(thing) => thing.parse().ok(),
            Page::Events => views::events::of(self, self.row().map(Seq)?)?.job,
            Page::Event(event) => event.job,
            Page::Recipes => views::recipes::of(self.sheet(), self.row()?)?.job,
            Page::Recipe(_) => match &self.sheet().content {
                Some(Reply::Recipe { recipe, .. }) => recipe.job,
                _ => None,
            },
            _ => None,
        }
        .filter(|job| {
            data.job(*job).is_some()
                || !data.whole
                || matches!(self.sheet().page, Page::Job(_) | Page::Log(..))
        })
    }

    /// The recipe that a person stands on, as `project/name`.
    pub fn recipe_here(&self) -> Option<String> {
        match &self.sheet().page {
            Page::Recipes => {
                let recipe = views::recipes::of(self.sheet(), self.row()?)?;
                Some(format!("{}/{}", recipe.project, recipe.name))
            }
            Page::Recipe(_) => None,
            _ => {
                let job = self.shown().job(self.job_here()?)?;
                Some(format!("{}/{}", job.project, job.recipe))
            }
        }
    }

    /// The peer that a person stands on.
    pub fn peer_here(&self) -> Option<&Arc<PeerView>> {
        let peers = &self.shown().peers;
        match &self.sheet().page {
            Page::Peers => peers.get(usize::try_from(self.row()?).ok()?),
            Page::Peer(name) => peers.iter().find(|peer| peer.name.as_str() == name),
            _ => None,
        }
    }

    /// The invitation that a person stands on.
    pub fn ticket_here(&self) -> Option<&Arc<TicketView>> {
        let at = self.row()?.checked_sub(views::peers::TICKET)?;
        let tickets = &self.shown().tickets;
        let here = self.sheet().page == Page::Peers;
        tickets.get(usize::try_from(at).ok()?).filter(|_| here)
    }

    /// The builder that a person stands on.
    pub fn builder_here(&self) -> Option<String> {
        match &self.sheet().page {
            Page::Builders => {
                let at = usize::try_from(self.row()?).ok()?;
                let builder = self.shown().builders.get(at)?;
                Some(builder.name.to_string())
            }
            Page::Builder(name) => Some(name.clone()),
            _ => None,
        }
    }

    /// The channel that a person stands on.
    pub fn channel_here(&self) -> Option<String> {
        match &self.sheet().page {
            Page::Repository => match &self.sheet().content {
                Some(Reply::Channels(channels)) => channels
                    .get(usize::try_from(self.row()?).ok()?)
                    .map(|channel| channel.name.to_string()),
                _ => None,
            },
            Page::Channel(name) | Page::Packages(name) | Page::Version(_, name) => {
                Some(name.clone())
            }
            _ => None,
        }
    }

    /// The version of a channel that a person stands on.
    pub(super) fn version_here(&self) -> Option<(String, VersionId)> {
        match &self.sheet().page {
            Page::Channel(name) => {
                let version = views::repository::version(self.sheet(), self.row()?)?;
                Some((name.clone(), version.id))
            }
            Page::Version(version, name) => Some((name.clone(), version.id)),
            _ => None,
        }
    }

    /// Where Enter leads.
    pub fn target(&self) -> Option<Page> {
        let sheet = self.sheet();
        let at = || self.row().and_then(|key| usize::try_from(key).ok());
        match &sheet.page {
            Page::Farm => match self.row()? {
                key if key >= views::farm::ALARM => views::farm::alarm_page(self, key),
                key => Some(Page::Job(JobId(key))),
            },
            Page::Queue => self.row().map(|key| Page::Job(JobId(key))),
            Page::Graph(_) => self.job_here().map(Page::Job),
            Page::Builders => self.builder_here().map(Page::Builder),
            Page::Recipes => self.recipe_here().map(Page::Recipe),
            Page::Repository | Page::Channel(_) if self.job_here().is_some() => {
                self.job_here().map(Page::Job)
            }
            Page::Peers => self
                .peer_here()
                .map(|peer| Page::Peer(peer.name.to_string())),
            Page::Repository => self.channel_here().map(Page::Channel),
            Page::Channel(name) => {
                let version = views::repository::version(sheet, self.row()?)?;
                Some(Page::Version(Box::new(version.clone()), name.clone()))
            }
            Page::Events => {
                let event = views::events::of(self, Seq(self.row()?))?;
                Some(Page::Event(Box::new(event.clone())))
            }
            Page::Packages(_) | Page::Log(..) => None,
            Page::Builder(_)
            | Page::Recipe(_)
            | Page::Version(..)
            | Page::Event(_)
            | Page::Job(_)
            | Page::Why(_)
            | Page::Raw(..)
            | Page::Peer(_)
            | Page::Printed(_)
            | Page::History => sheet.doc.lines.get(at()?)?.link.clone(),
        }
    }

    /// The command that a person stands on, as it can be copied: one line that does nothing to a terminal or a shell.
    pub fn copy_here(&self) -> Option<String> {
        let at = usize::try_from(self.row()?).ok()?;
        let line = self.sheet().doc.lines.get(at)?;
        Some(text::line(line.copy.as_deref()?).into_owned())
    }

    /// The page that tells all about what a person stands on.
    pub fn described(&self) -> Option<Page> {
        let page = match &self.sheet().page {
            Page::Builders => self.builder_here().map(Page::Builder),
            Page::Recipes | Page::Repository | Page::Channel(_) | Page::Events | Page::Peers => {
                self.target()
            }
            Page::Job(_) => None,
            _ => self.job_here().map(Page::Job),
        };
        page.filter(|page| *page != self.sheet().page)
    }

    /// The log of what a person stands on: of the attempt, where the line is about one.
    pub fn log_here(&self) -> Option<Page> {
        if let Page::Event(event) = &self.sheet().page {
            return Some(Page::Log(event.job?, event.try_no));
        }
        self.job_here().map(|job| Page::Log(job, None))
    }

    /// What `why` can be asked about here.
    pub fn why_here(&self) -> Option<String> {
        match &self.sheet().page {
            Page::Why(_) => None,
            Page::Recipes | Page::Recipe(_) => {
                let name = match &self.sheet().page {
                    Page::Recipe(name) => name.clone(),
                    _ => self.recipe_here()?,
                };
                Some(format!("recipe:{name}"))
            }
            Page::Builders | Page::Builder(_) => {
                self.builder_here().map(|name| format!("builder:{name}"))
            }
            Page::Repository | Page::Channel(_) | Page::Version(..) => {
                self.channel_here().map(|name| format!("channel:{name}"))
            }
            Page::Packages(_) => {
                let package = views::repository::package(self.sheet(), self.row()?)?;
                Some(format!("package:{}", package.name))
            }
            _ => self.job_here().map(|job| job.to_string()),
        }
    }

    /// What has JSON here.
    pub fn raw_here(&self) -> Option<Raw<'_>> {
        match &self.sheet().page {
            Page::Raw(..) | Page::History | Page::Printed(_) => None,
            Page::Graph(_) | Page::Job(_) | Page::Why(_) | Page::Recipe(_) => {
                self.raw_answer().or_else(|| self.raw_job())
            }
            Page::Peers | Page::Peer(_) => self.raw_peer(),
            Page::Farm => self.raw_of_farm(),
            Page::Builders | Page::Builder(_) => {
                let builder = self.shown().builder(&self.builder_here()?)?;
                Some(Raw::Builder(builder))
            }
            Page::Repository | Page::Channel(_) if self.job_here().is_some() => self.raw_job(),
            Page::Recipes
            | Page::Repository
            | Page::Channel(_)
            | Page::Packages(_)
            | Page::Events => self.raw_row(),
            Page::Version(version, _) => Some(Raw::Other(
                format!("version {}", version.id),
                version.as_ref(),
            )),
            Page::Event(event) => Some(Raw::Other(format!("event {}", event.seq), event.as_ref())),
            Page::Queue | Page::Log(..) => self.raw_job(),
        }
    }

    fn raw_job(&self) -> Option<Raw<'_>> {
        self.shown().job(self.job_here()?).map(|job| Raw::Job(job))
    }

    fn raw_peer(&self) -> Option<Raw<'_>> {
        match (self.peer_here(), self.ticket_here()) {
            (Some(peer), _) => Some(Raw::Other(peer.name.to_string(), peer.as_ref())),
            (None, Some(ticket)) => Some(Raw::Other(
                format!("invitation {}", ticket.id),
                ticket.as_ref(),
            )),
            (None, None) => None,
        }
    }

    /// On the first page: a job, the alarms, or all of it where nobody stands on a row.
    fn raw_of_farm(&self) -> Option<Raw<'_>> {
        let sheet = self.sheet();
        let status = self.shown().status.as_ref();
        match sheet.lines.get(sheet.spot.at) {
            None | Some(Line::Heading(_)) => {
                Some(Raw::Other("status".to_owned(), status?.as_ref()))
            }
            Some(Line::Row(key)) if *key >= views::farm::ALARM => {
                Some(Raw::Other("alarms".to_owned(), &status?.alarms))
            }
            Some(Line::Row(_)) => self.raw_job(),
        }
    }

    /// What the host answered for the page that is seen.
    fn raw_answer(&self) -> Option<Raw<'_>> {
        let sheet = self.sheet();
        match &sheet.content {
            Some(Reply::Cone {
                cone: Some(cone), ..
            }) => Some(Raw::Other(sheet.page.name(), cone.as_ref())),
            Some(Reply::Job(page)) => Some(Raw::Other(sheet.page.name(), page.as_ref())),
            Some(Reply::Why(why)) => Some(Raw::Other(sheet.page.name(), why.as_ref())),
            Some(Reply::Recipe {
                recipe,
                detail,
                changes,
                proof,
            }) => Some(Raw::Recipe(Box::new(WholeRecipe {
                recipe,
                detail: detail.as_deref(),
                changes,
                proof: proof.as_deref(),
            }))),
            _ => None,
        }
    }

    /// The row that a person stands on.
    fn raw_row(&self) -> Option<Raw<'_>> {
        let sheet = self.sheet();
        let key = self.row()?;
        match (&sheet.page, &sheet.content) {
            (Page::Recipes, _) => {
                let recipe = views::recipes::of(sheet, key)?;
                Some(Raw::Other(recipe.name.to_string(), recipe))
            }
            (Page::Repository, Some(Reply::Channels(channels))) => {
                let channel = channels.get(usize::try_from(key).ok()?)?;
                Some(Raw::Other(channel.name.to_string(), channel))
            }
            (Page::Channel(_), _) => {
                let version = views::repository::version(sheet, key)?;
                Some(Raw::Other(format!("version {}", version.id), version))
            }
            (Page::Packages(_), _) => {
                let package = views::repository::package(sheet, key)?;
                Some(Raw::Other(package.name.to_string(), package))
            }
            (Page::Events, _) => {
                let event = views::events::of(self, Seq(key))?;
                Some(Raw::Other(format!("event {}", event.seq), event))
            }
            _ => None,
        }
    }
}
