//! What the dashboard asks of a host, what comes back, and what a person may do: each with the command line that does
//! the same.

use crate::admin::Right;
use crate::admin::summit::JobPage;
use crate::admin::view::{
    BuilderProofView, ChangeView, ChannelVersionView, ChannelView, ConeView, EventView, JobView,
    PackageView, PastView, RecipeDetail, RecipeProofView, RecipeView, WhyView,
};
use crate::fault::Fault;
use crate::id::{JobId, RecipeName, Seq, VersionId};

/// One question, for one page.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// A job with its neighbours.
    Job(JobId),
    /// A job with its neighbours, and the longest way around it.
    Cone(JobId),
    /// The farm as it stood after this event.
    Past(Seq),
    /// Why something was as it was after this event.
    PastWhy(Seq, String),
    /// The output of a command, given as the words after `massif`.
    Run(Vec<String>),
    /// Why something is as it is.
    Why(String),
    /// All recipes.
    Recipes,
    /// One recipe with its history.
    Recipe(String),
    /// What comparisons say of a builder.
    Builder(String),
    /// All channels.
    Channels,
    /// A channel's newest versions, and its packages.
    Channel(String),
    /// What a version of a channel changed.
    Version {
        /// The channel.
        channel: String,
        /// The version.
        id: VersionId,
        /// The one that it was made from.
        parent: Option<VersionId>,
    },
    /// Events older than this one.
    Older(Seq),
    /// Bytes of a log.
    Log {
        /// The job.
        job: JobId,
        /// Which try; none: the last.
        try_no: Option<u32>,
        /// From here; negative: from the end.
        offset: i64,
        /// At most.
        bytes: u32,
    },
    /// Places in a log.
    Search {
        /// The job.
        job: JobId,
        /// Which try; none: the last.
        try_no: Option<u32>,
        /// A pattern; none: what looks like an error, or a landmark of ours.
        pattern: Wanted,
        /// From here on.
        offset: u64,
    },
    /// Do something.
    Act(Action),
}

/// What is searched for in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A person's words.
    Pattern(String),
    /// What looks like an error.
    Errors,
    /// Where phases begin.
    Phases,
}

/// A piece of a log, as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins.
    pub offset: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The log is complete and this is its end.
    pub end: bool,
    /// Which try it is of.
    pub try_no: u32,
    /// The builder that has its last bytes still, and how many where that is known.
    pub missing: Option<(String, Option<u64>)>,
}

/// Places that a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What was wanted.
    pub wanted: Wanted,
    /// Where the lines begin.
    pub lines: Vec<u64>,
    /// The words of those lines, cut; only for landmarks.
    pub words: Vec<String>,
    /// How far it looked.
    pub looked: u64,
    /// That was the end of the log.
    pub end: bool,
}

/// The farm as it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Past {
    /// All but the jobs.
    pub view: PastView,
    /// Open and failed jobs, and the newest of the others.
    pub jobs: Vec<JobView>,
}

/// A package that one version has otherwise than another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The package; with its architecture where that has to be said.
    pub name: String,
    /// Its version and release before; `None`: it is new.
    pub before: Option<String>,
    /// The same now; `None`: it is gone.
    pub after: Option<String>,
}

/// What a command printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code; `None`: it was killed.
    pub code: Option<i32>,
    /// What it printed, errors after the rest.
    pub text: String,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Of [`Question::Job`].
    Job(Box<JobPage>),
    /// Of [`Question::Cone`].
    Cone {
        /// The job.
        page: Box<JobPage>,
        /// What lies around it, when the host can tell.
        cone: Option<Box<ConeView>>,
    },
    /// Of [`Question::Past`].
    Past(Box<Past>),
    /// Of [`Question::Run`], and of an action that runs a command.
    Ran(Ran),
    /// Of [`Question::Why`] and [`Question::PastWhy`].
    Why(Box<WhyView>),
    /// Of [`Question::Recipes`].
    Recipes(Vec<RecipeView>),
    /// Of [`Question::Recipe`].
    Recipe {
        /// In short.
        recipe: Box<RecipeView>,
        /// The rest, when it can be read.
        detail: Option<Box<RecipeDetail>>,
        /// Its commits.
        changes: Vec<ChangeView>,
        /// What comparisons say of it, when the host can tell.
        proof: Option<Box<RecipeProofView>>,
    },
    /// Of [`Question::Builder`]; none: the host cannot tell.
    Builder(Option<Box<BuilderProofView>>),
    /// Of [`Question::Channels`].
    Channels(Vec<ChannelView>),
    /// Of [`Question::Channel`].
    Channel {
        /// Its newest versions.
        versions: Vec<ChannelVersionView>,
        /// Its packages.
        packages: Vec<PackageView>,
    },
    /// Of [`Question::Version`], by name.
    Difference(Vec<Changed>),
    /// Of [`Question::Older`].
    Older(Vec<EventView>),
    /// Of [`Question::Log`].
    Log(Piece),
    /// Of [`Question::Search`].
    Found(Found),
    /// Of [`Question::Act`]: what happened, in a sentence.
    Done(String),
    /// Of [`Question::Act`]: it went out, and the link broke before its answer. Nobody here knows whether it was done.
    Unknown(Fault),
}

/// Something that changes the farm.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Try a failed or cancelled job again.
    Retry(JobId, RecipeName),
    /// Stop a job for good.
    Cancel(JobId, RecipeName),
    /// Keep a job from starting.
    Hold {
        /// The job.
        job: JobId,
        /// Its recipe.
        recipe: RecipeName,
        /// Why.
        reason: String,
    },
    /// End a hold.
    Release(JobId, RecipeName),
    /// Move a job forward.
    Raise(JobId, RecipeName, i64),
    /// Build a recipe.
    Build {
        /// Its name; none: all that is missing.
        recipe: Option<String>,
        /// Although it is published.
        rebuild: bool,
    },
    /// Bring an older version's content back.
    Rollback {
        /// The channel.
        channel: String,
        /// Whose content.
        to: VersionId,
        /// Why.
        reason: String,
    },
    /// Look at a project's repository now.
    Refresh(String),
    /// A builder takes no new builds and ends those that run.
    Drain {
        /// The builder.
        builder: String,
        /// Why; may be empty.
        reason: String,
    },
    /// A builder that was drained takes builds again.
    Resume(String),
    /// A builder gets no builds until it is released.
    Quarantine {
        /// The builder.
        builder: String,
        /// Why; may be empty.
        reason: String,
    },
    /// A builder leaves quarantine.
    ReleaseBuilder(String),
    /// Somebody who joined is let in.
    Approve(String),
    /// Somebody is shut out for good.
    Revoke(String),
    /// Somebody gets another name.
    Rename {
        /// The peer.
        peer: String,
        /// Its new name; empty until it is typed.
        to: String,
    },
    /// An invitation is taken back.
    TakeBack(String),
    /// A command of the command line.
    Run {
        /// The words after `massif`.
        words: Vec<String>,
        /// What it does, in a sentence.
        effect: String,
        /// What the caller must be allowed to do.
        right: Right,
    },
}

/// Words for a shell: quoted when they need it.
pub fn quoted(words: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:+@,=".contains(c);
    if !words.is_empty() && words.chars().all(plain) {
        words.to_owned()
    } else {
        format!("'{}'", words.replace('\'', "'\\''"))
    }
}

fn because(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(" --reason {}", quoted(reason))
    }
}

impl Action {
    /// The command line that does the same.
    pub fn command(&self) -> String {
        match self {
            Action::Retry(job, _) => format!("massif job retry {job}"),
            Action::Cancel(job, _) => format!("massif job cancel {job}"),
            Action::Hold { job, reason, .. } => {
                format!("massif job hold {job} --reason {}", quoted(reason))
            }
            Action::Release(job, _) => format!("massif job release {job}"),
            Action::Raise(job, _, by) => format!("massif job raise {job} --by={by}"),
            Action::Build { recipe, rebuild } => {
                let what = recipe.as_deref().map_or_else(|| "--all".to_owned(), quoted);
                let again = if *rebuild { " --rebuild" } else { "" };
                format!("massif build {what}{again}")
            }
            Action::Rollback {
                channel,
                to,
                reason,
            } => {
                let why = because(reason);
                format!("massif channel rollback {} --to {to}{why}", quoted(channel))
            }
            Action::Refresh(project) => {
                format!("massif project refresh {} --no-wait", quoted(project))
            }
            Action::Drain { builder, reason } => {
                format!(
                    "massif builder drain {}{}",
                    quoted(builder),
                    because(reason)
                )
            }
            Action::Resume(builder) => format!("massif builder resume {}", quoted(builder)),
            Action::Quarantine { builder, reason } => format!(
                "massif builder quarantine {}{}",
                quoted(builder),
                because(reason)
            ),
            Action::ReleaseBuilder(builder) => {
                format!("massif builder release {}", quoted(builder))
            }
            Action::Approve(peer) => format!("massif peer approve {}", quoted(peer)),
            Action::Revoke(peer) => format!("massif peer revoke {}", quoted(peer)),
            Action::Rename { peer, to } => {
                format!("massif peer rename {} {}", quoted(peer), quoted(to))
            }
            Action::TakeBack(id) => format!("massif invite --revoke {}", quoted(id)),
            Action::Run { words, .. } => {
                let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
                format!("massif {}", words.join(" "))
            }
        }
    }

    /// What it does, and to what, in a sentence.
    pub fn effect(&self) -> String {
        match self {
            Action::Retry(job, recipe) => {
                format!("Try job {job} ({recipe}) again: it goes back into the queue.")
            }
            Action::Cancel(job, recipe) => {
                format!("Cancel job {job} ({recipe}) for good: a running build of it is killed.")
            }
            Action::Hold {
                job,
                recipe,
                reason,
            } => format!(
                "Hold job {job} ({recipe}): it will not start until released. Reason: {reason}"
            ),
            Action::Release(job, recipe) => {
                format!("Release job {job} ({recipe}): it starts when its turn comes.")
            }
            Action::Raise(job, recipe, by) => {
                format!("Move job {job} ({recipe}) forward: {by} more to its priority.")
            }
            Action::Build {
                recipe: Some(recipe),
                rebuild: false,
            } => format!("Build {recipe}, unless it is published or queued already."),
            Action::Build {
                recipe: Some(recipe),
                rebuild: true,
            } => format!(
                "Build {recipe} again although it is published, with the next build release."
            ),
            Action::Build { recipe: None, .. } => {
                "Build everything that is missing or newer.".into()
            }
            Action::Rollback { channel, to, .. } => format!(
                "Roll {channel} back: a new version with the content of version {to}. Clients get it at their next update; recipes whose packages went back are held."
            ),
            Action::Refresh(project) => format!("Look at the repository of {project} now."),
            Action::Drain { builder, .. } => format!(
                "Drain builder {builder}: it takes no new builds; those that run are finished. It stays so until resumed."
            ),
            Action::Resume(builder) => format!("Resume builder {builder}: it takes builds again."),
            Action::Quarantine { builder, .. } => format!(
                "Put builder {builder} into quarantine: it gets no builds until it is released."
            ),
            Action::ReleaseBuilder(builder) => {
                format!("Release builder {builder} from quarantine: it gets builds again.")
            }
            Action::Approve(peer) => format!(
                "Let {peer} into the farm. Do it when the five words on its screen are the ones shown here."
            ),
            Action::Revoke(peer) => format!(
                "Shut {peer} out for good: its links are closed, what it builds goes elsewhere, and its key never comes back."
            ),
            Action::Rename { peer, to } => format!("Call {peer} {to} from now on."),
            Action::TakeBack(id) => {
                format!("Take invitation {id} back: nobody can join with it any more.")
            }
            Action::Run { effect, .. } => effect.clone(),
        }
    }

    /// The command that shows whether it was carried out.
    pub fn found_out_by(&self) -> String {
        match self {
            Action::Retry(job, _)
            | Action::Cancel(job, _)
            | Action::Hold { job, .. }
            | Action::Release(job, _)
            | Action::Raise(job, ..) => format!("massif job show {job}"),
            Action::Build {
                recipe: Some(recipe),
                ..
            } => format!("massif recipe show {}", quoted(recipe)),
            Action::Build { recipe: None, .. } => "massif job list".into(),
            Action::Rollback { channel, .. } => {
                format!("massif channel versions {}", quoted(channel))
            }
            Action::Refresh(project) => format!("massif project show {}", quoted(project)),
            Action::Drain { builder, .. }
            | Action::Resume(builder)
            | Action::Quarantine { builder, .. }
            | Action::ReleaseBuilder(builder) => {
                format!("massif builder show {}", quoted(builder))
            }
            Action::Approve(_) | Action::Revoke(_) | Action::Rename { .. } => {
                "massif peer list".into()
            }
            Action::TakeBack(_) => "massif invite --list".into(),
            // Whatever it was: who did what is in the log of events.
            Action::Run { .. } => "massif audit".into(),
        }
    }

    /// What the caller must be allowed to do.
    pub fn right(&self) -> Right {
        match self {
            Action::Approve(_)
            | Action::Revoke(_)
            | Action::Rename { .. }
            | Action::TakeBack(_) => Right::Admin,
            Action::Run { right, .. } => *right,
            Action::Retry(..)
            | Action::Cancel(..)
            | Action::Hold { .. }
            | Action::Release(..)
            | Action::Raise(..)
            | Action::Build { .. }
            | Action::Rollback { .. }
            | Action::Refresh(_)
            | Action::Drain { .. }
            | Action::Resume(_)
            | Action::Quarantine { .. }
            | Action::ReleaseBuilder(_) => Right::Operate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_pasted_into_a_shell() {
        let hold = Action::Hold {
            job: JobId(7),
            recipe: "nano".parse().unwrap(),
            reason: "it's $(broken)".into(),
        };
        assert_eq!(
            hold.command(),
            r"massif job hold 7 --reason 'it'\''s $(broken)'"
        );
        let back = Action::Rollback {
            channel: "main".into(),
            to: VersionId(3),
            reason: String::new(),
        };
        assert_eq!(back.command(), "massif channel rollback main --to 3");
    }
}
