//! The pages of the dashboard, and one page as it stands open: where a person is in it, how it is sorted and filtered,
//! what was asked for it and what came.

use super::ask::{Question, Reply};
use super::doc::Doc;
use super::filter::Filter;
use super::list::{Line, Spot};
use super::log::LogSheet;
use crate::admin::view::{ChannelVersionView, EventView};
use crate::fault::Fault;
use crate::id::{JobId, Seq};

/// What can be looked at.
#[derive(Debug, Clone, PartialEq)]
pub enum Page {
    /// The farm on one page.
    Farm,
    /// All jobs.
    Queue,
    /// All builders.
    Builders,
    /// One builder.
    Builder(String),
    /// All recipes.
    Recipes,
    /// One recipe.
    Recipe(String),
    /// All channels.
    Repository,
    /// One channel: its versions.
    Channel(String),
    /// One version of a channel.
    Version(Box<ChannelVersionView>, String),
    /// Packages of a channel.
    Packages(String),
    /// Who belongs to the farm, and who wants to.
    Peers,
    /// One host or operator.
    Peer(String),
    /// What happened.
    Events,
    /// One thing that happened.
    Event(Box<EventView>),
    /// One job.
    Job(JobId),
    /// The log of a job's try.
    Log(JobId, Option<u32>),
    /// Why something is as it is.
    Why(String),
    /// What a job needs and what needs it.
    Graph(JobId),
    /// Something as the host's JSON.
    Raw(String, String),
    /// What a command printed, by its words after `massif`.
    Printed(Vec<String>),
    /// Commands that were used so far.
    History,
}

/// What the keys and the bottom line need to know of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Parts of many things.
    Board,
    /// Rows with columns.
    Table,
    /// Text.
    Text,
    /// A log.
    Log,
}

/// The pages with numbers.
pub const TABS: &[(char, &str, Page)] = &[
    ('1', "Farm", Page::Farm),
    ('2', "Queue", Page::Queue),
    ('3', "Builders", Page::Builders),
    ('4', "Recipes", Page::Recipes),
    ('5', "Repo", Page::Repository),
    ('6', "Events", Page::Events),
    ('7', "Peers", Page::Peers),
];

impl Page {
    /// What kind of page it is.
    pub fn shape(&self) -> Shape {
        match self {
            Page::Farm => Shape::Board,
            Page::Queue
            | Page::Builders
            | Page::Recipes
            | Page::Repository
            | Page::Channel(_)
            | Page::Packages(_)
            | Page::Events
            | Page::Peers
            | Page::Graph(_) => Shape::Table,
            Page::Builder(_)
            | Page::Recipe(_)
            | Page::Version(..)
            | Page::Event(_)
            | Page::Job(_)
            | Page::Why(_)
            | Page::Raw(..)
            | Page::Peer(_)
            | Page::Printed(_)
            | Page::History => Shape::Text,
            Page::Log(..) => Shape::Log,
        }
    }

    /// Its name in the path at the top.
    pub fn name(&self) -> String {
        match self {
            Page::Farm => "Farm".into(),
            Page::Queue => "Queue".into(),
            Page::Builders => "Builders".into(),
            Page::Builder(name) => name.clone(),
            Page::Recipes => "Recipes".into(),
            Page::Recipe(name) => name.clone(),
            Page::Repository => "Repository".into(),
            Page::Channel(name) => name.clone(),
            Page::Version(version, _) => format!("version {}", version.id),
            Page::Packages(_) => "packages".into(),
            Page::Events => "Events".into(),
            Page::Event(event) => format!("event {}", event.seq),
            Page::Job(job) => format!("job {job}"),
            Page::Log(job, None) => format!("log of {job}"),
            Page::Log(job, Some(try_no)) => format!("log of {job}.{try_no}"),
            Page::Why(thing) => format!("why {thing}"),
            Page::Graph(job) => format!("tree of {job}"),
            // What a command printed is called by the command.
            Page::Raw(name, _) if name.starts_with("massif ") => name.clone(),
            Page::Raw(name, _) => format!("{name} as JSON"),
            Page::Peers => "Peers".into(),
            Page::Peer(name) => name.clone(),
            Page::Printed(words) => format!("massif {}", words.join(" ")),
            Page::History => "commands used".into(),
        }
    }

    /// What has to be asked for it; pages that live from the snapshot ask nothing.
    pub fn question(&self) -> Option<Question> {
        match self {
            Page::Recipes => Some(Question::Recipes),
            Page::Recipe(name) => Some(Question::Recipe(name.clone())),
            Page::Builder(name) => Some(Question::Builder(name.clone())),
            Page::Repository => Some(Question::Channels),
            Page::Channel(name) | Page::Packages(name) => Some(Question::Channel(name.clone())),
            Page::Job(job) => Some(Question::Job(*job)),
            Page::Graph(job) => Some(Question::Cone(*job)),
            Page::Printed(words) => Some(Question::Run(words.clone())),
            Page::Version(version, channel) if !version.changed.is_empty() => {
                Some(Question::Version {
                    channel: channel.clone(),
                    id: version.id,
                    parent: version.parent,
                })
            }
            Page::Why(thing) => Some(Question::Why(thing.clone())),
            Page::Farm
            | Page::Queue
            | Page::Builders
            | Page::Version(..)
            | Page::Events
            | Page::Event(_)
            | Page::Log(..)
            | Page::Raw(..)
            | Page::Peers
            | Page::Peer(_)
            | Page::History => None,
        }
    }

    /// Whether the log of events tells how this page was at an earlier moment.
    pub fn tells_past(&self) -> bool {
        matches!(
            self,
            Page::Farm
                | Page::Queue
                | Page::Builders
                | Page::Builder(_)
                | Page::Job(_)
                | Page::Why(_)
        )
    }

    /// Whether this page is of no moment: it stays what it is.
    pub fn is_timeless(&self) -> bool {
        matches!(
            self,
            Page::Events | Page::Event(_) | Page::Log(..) | Page::Raw(..) | Page::History
        )
    }
}

/// How the jobs of the queue stand together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// By state.
    State,
    /// By what made them: one commit, one command.
    Batch,
    /// Not at all.
    None,
}

/// A branch of the tree of a job's neighbours.
#[derive(Debug, Clone, PartialEq)]
pub struct Branch {
    /// The job.
    pub job: JobId,
    /// Its recipe.
    pub recipe: String,
    /// Where it stands.
    pub state: crate::admin::view::JobState,
    /// How deep.
    pub depth: u16,
    /// Upwards: what it needs; else what needs it.
    pub needs: bool,
    /// Its own branches are shown.
    pub open: bool,
    /// Its own branches, once known.
    pub known: bool,
}

/// One page as it stands open.
#[derive(Debug)]
pub struct Sheet {
    /// Its number: answers find it by this.
    pub id: u64,
    /// Which.
    pub page: Page,
    /// Where a person stands.
    pub spot: Spot,
    /// The column that it is sorted by.
    pub sort: usize,
    /// The largest first.
    pub reverse: bool,
    /// Which rows are shown.
    pub filter: Filter,
    /// How rows stand together.
    pub grouping: Grouping,
    /// The rows that are shown, in order.
    pub lines: Vec<Line>,
    /// What `lines` was made from.
    pub made_of: Option<u64>,
    /// When `lines` was made, on the monotonic clock.
    pub made_ms: u64,
    /// Text pages: the text.
    pub doc: Doc,
    /// What came.
    pub content: Option<Reply>,
    /// Older events than the snapshot has.
    pub older: Vec<std::sync::Arc<EventView>>,
    /// Branches of a tree.
    pub branches: Vec<Branch>,
    /// Something is asked and not answered.
    pub asking: bool,
    /// When it was asked, on the monotonic clock.
    pub asked_ms: Option<u64>,
    /// The event up to which the content is known to be true.
    pub asked_at: Seq,
    /// When the content came, on the monotonic clock.
    pub read_ms: Option<u64>,
    /// The content is of before: from when the page was open last, or from before the host was away.
    pub stale: bool,
    /// Why there is no answer.
    pub fault: Option<Fault>,
    /// A log.
    pub log: Option<Box<LogSheet>>,
    /// One part takes the whole page.
    pub expanded: bool,
}

impl Sheet {
    /// A page that was just opened.
    pub fn new(id: u64, page: Page) -> Sheet {
        let log = match &page {
            Page::Log(job, try_no) => Some(Box::new(LogSheet::new(*job, *try_no))),
            _ => None,
        };
        let reverse = matches!(page, Page::Events | Page::Channel(_));
        Sheet {
            id,
            spot: Spot::top(),
            sort: 0,
            reverse,
            filter: Filter::default(),
            grouping: Grouping::State,
            lines: Vec::new(),
            made_of: None,
            made_ms: 0,
            doc: Doc::default(),
            content: None,
            older: Vec::new(),
            branches: Vec::new(),
            asking: false,
            asked_ms: None,
            asked_at: Seq(0),
            read_ms: None,
            stale: false,
            fault: None,
            log,
            expanded: false,
            page,
        }
    }

    /// The key of the row that a person stands on.
    pub fn key(&self) -> Option<u64> {
        match self.lines.get(self.spot.at) {
            Some(Line::Row(key)) => Some(*key),
            _ => None,
        }
    }
}
