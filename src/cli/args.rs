//! The words of the command line. Help texts are one line each; examples stand at the end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::text::parse_span;
use crate::admin::view::JobState;
use crate::config::Slots;
use crate::id::{Arch, ChannelName, ProfileName, ProjectName, RecipeName, Seq, VersionId};

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 negative answer, 2 usage, 3 host unreachable, 4 not permitted, 5 conflict, 75 try again.

Examples:
  massif demo                                        a whole farm with example recipes, here and now
  massif up --dir ~/farm --headless                  a farm of your own
  massif --dir ~/farm project add mine https://example.org/recipes.git
  massif --dir ~/farm build nano --wait              build it, exit 0 when clients can install it
  massif --dir ~/farm why nano                       why it is not there yet";

/// A package build farm in one program.
#[derive(Debug, Parser)]
#[command(name = "massif", disable_version_flag = true, after_help = EXIT_CODES, max_term_width = 100)]
#[command(subcommand_help_heading = "Verbs", infer_long_args = false)]
pub struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    /// Print the version, with --json also the schema of all JSON
    #[arg(short = 'V', long)]
    pub(super) version: bool,
    #[command(subcommand)]
    pub(super) verb: Option<Verb>,
}

/// Options that stand before or after the verb.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct Global {
    /// State directory of the host: /var/lib/massif for root, $XDG_STATE_HOME/massif for others
    #[arg(long, env = "MASSIF_DIR", value_name = "DIR", global = true, value_hint = clap::ValueHint::DirPath)]
    pub(super) dir: Option<PathBuf>,
    /// Answer in JSON: an array for lists, an object for one thing, one object a line for streams
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Answer with ids only, one a line
    #[arg(short, long, global = true, conflicts_with = "json")]
    pub(super) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Run a whole farm here: decide, build and publish in one process
    #[command(after_help = "\
Prints `ready admin=PATH quic=ADDR http=ADDR` when it serves, and stops on SIGTERM or Ctrl-C within 5 s.

Examples:
  massif up --dir ~/farm
  massif up --headless --dir /tmp/f --listen 127.0.0.1:0 --http 127.0.0.1:0 --mirror ~/upstreams")]
    Up(Up),
    /// Build the example recipes in a new farm: the first thing to try
    #[command(after_help = "Example:\n  massif demo --dir /tmp/demo")]
    Demo(Demo),
    /// Run this host as its massif.toml says
    #[command(after_help = "Example:\n  massif serve --dir /var/lib/massif")]
    Serve(Serve),
    /// Write a massif.toml for a new host
    #[command(after_help = "Example:\n  massif init --dir /var/lib/massif --role avalanche")]
    Init(Init),
    /// One page: jobs by state, alarms, addresses
    Status,
    /// What is wrong with this machine and how to mend it
    Doctor,
    /// Git repositories of recipes
    #[command(subcommand, visible_alias = "projects")]
    Project(Project),
    /// Recipes: what git and their manifests say
    #[command(subcommand, visible_alias = "recipes")]
    Recipe(Recipe),
    /// Build targets
    #[command(subcommand, visible_alias = "profiles")]
    Profile(Profile),
    /// What would be built, in which order and why
    #[command(after_help = "\
Examples:
  massif plan                     all that is missing or newer
  massif plan llvm --rebuild      what follows from a new llvm")]
    Plan(Plan),
    /// Build recipes now
    #[command(after_help = "\
With --wait: 0 published, 1 failed or cancelled, 75 not done in time (the job lives on).

Examples:
  massif build nano
  massif build nano --rebuild --wait --timeout 10m
  massif build --all")]
    Build(Build),
    /// Jobs: list them, look at them, change their fate
    #[command(subcommand, visible_alias = "jobs")]
    Job(Job),
    /// All reasons why something is as it is
    #[command(after_help = "\
Examples:
  massif why 17            a job
  massif why nano          a recipe's newest job
  massif why builder:east  a builder, where other things have that name too")]
    Why(Why),
    /// Builders with their slots, disks and verdicts
    #[command(subcommand, visible_alias = "builders")]
    Builder(Builder),
    /// Published repositories and their versions
    #[command(subcommand, visible_alias = "channels")]
    Channel(Channel),
    /// Packages that clients can install
    #[command(subcommand, visible_alias = "packages")]
    Package(Package),
    /// Follow events as they happen
    #[command(after_help = "Example:\n  massif watch --since 0 --json | jq -r .text")]
    Watch(Watch),
    /// Read the event log with its chained hashes
    #[command(after_help = "Example:\n  massif audit --actor ann --limit 20")]
    Audit(Audit),
    /// Call any method of the admin interface
    #[command(after_help = "\
Without a method: all methods. The interface may be left out where the name is unique.

Examples:
  massif call
  massif call io.massif.Summit.JobShow '{\"job\": \"nano\"}'
  massif call Watch --more")]
    Call(Call),
    /// Check, save and bring back a host's store
    #[command(subcommand)]
    Store(Store),
    /// Print completions for a shell
    #[command(
        after_help = "Example:\n  massif completions bash > ~/.local/share/bash-completion/completions/massif"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write all of them into a directory
    #[command(after_help = "Example:\n  massif man ~/.local/share/man/man1")]
    Man {
        /// Write massif.1, massif-job.1 and so on here
        dir: Option<PathBuf>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// What `up`, `serve` and `demo` take on top of the configuration.
#[derive(Debug, Clone, Args)]
pub(super) struct HostArgs {
    /// Where other hosts reach it (UDP); port 0 takes a free one
    #[arg(long, value_name = "ADDR")]
    pub(super) listen: Option<SocketAddr>,
    /// Where clients fetch packages (TCP); port 0 takes a free one
    #[arg(long, value_name = "ADDR")]
    pub(super) http: Option<SocketAddr>,
    /// Builds at once: a number or `auto`; 0 builds nothing
    #[arg(long, value_name = "N")]
    pub(super) slots: Option<Slots>,
    /// Directory or URL that is asked for upstreams first, by hash; may be repeated
    #[arg(long = "mirror", value_name = "DIR|URL")]
    pub(super) mirrors: Vec<String>,
    /// Time between two looks at a repository
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    pub(super) poll: Option<Duration>,
    /// How long a builder may be silent before its attempts go elsewhere
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    pub(super) lease: Option<Duration>,
}

#[derive(Debug, Args)]
pub(super) struct Up {
    #[command(flatten)]
    pub(super) host: HostArgs,
    /// No dashboard, also on a terminal
    #[arg(long)]
    pub(super) headless: bool,
}

#[derive(Debug, Args)]
pub(super) struct Demo {
    #[command(flatten)]
    pub(super) host: HostArgs,
}

#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    pub(super) host: HostArgs,
}

#[derive(Debug, Args)]
pub(super) struct Init {
    /// What the host is; may be repeated
    #[arg(long = "role", value_name = "ROLE", required = true, num_args = 1..)]
    pub(super) roles: Vec<RoleArg>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum RoleArg {
    Summit,
    Avalanche,
    Vessel,
}

#[derive(Debug, Subcommand)]
pub(super) enum Project {
    /// Watch a repository; returns when its recipes are known
    #[command(
        after_help = "Example:\n  massif project add main https://example.org/recipes.git --branch stable"
    )]
    Add {
        /// A name for it
        name: ProjectName,
        /// Any URL that git fetches from, or a directory
        url: String,
        /// Its branch; the remote's default unless given
        #[arg(long)]
        branch: Option<String>,
        /// Build all that is missing, also when a first intake brings more than 50 recipes
        #[arg(long, value_name = "WHAT")]
        build: Option<BuildWhat>,
        /// Return at once
        #[arg(long)]
        no_wait: bool,
        /// Wait so long at most
        #[arg(long, value_name = "TIME", value_parser = parse_span, default_value = "30m")]
        timeout: Duration,
    },
    /// All projects
    List,
    /// One project
    Show {
        /// Its name
        name: String,
    },
    /// Look at its repository now; returns when that is done
    Refresh {
        /// Its name
        name: String,
        /// Return at once
        #[arg(long)]
        no_wait: bool,
        /// Wait so long at most
        #[arg(long, value_name = "TIME", value_parser = parse_span, default_value = "30m")]
        timeout: Duration,
    },
    /// Forget a project; what it published stays
    Remove {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum BuildWhat {
    /// Everything that is missing
    All,
}

#[derive(Debug, Subcommand)]
pub(super) enum Recipe {
    /// All recipes, the faulty ones too
    List {
        /// Only those whose name or summary holds this text
        text: Option<String>,
        /// Only of this project
        #[arg(long)]
        project: Option<ProjectName>,
        /// Only those that cannot be read
        #[arg(long)]
        faulty: bool,
    },
    /// Everything about one recipe
    Show {
        /// Its name, or PROJECT/NAME
        name: String,
    },
    /// Commits that touched it
    History {
        /// Its name, or PROJECT/NAME
        name: String,
        /// So many at most
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Profile {
    /// Add a build target, or change it
    #[command(after_help = "\
Examples:
  massif profile add v3 --isa x86_64-v3x --channel fast
  massif profile add clean --base stones --remote unstable=https://example.org/stone.index")]
    Add(ProfileAdd),
    /// All build targets
    List,
    /// One build target
    Show {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct ProfileAdd {
    /// Its name
    pub(super) name: ProfileName,
    /// Architecture; this machine's unless given
    #[arg(long)]
    pub(super) arch: Option<Arch>,
    /// Instruction set level; the architecture's baseline unless given
    #[arg(long)]
    pub(super) isa: Option<String>,
    /// Compiler family for recipes that name none: gnu or llvm
    #[arg(long, default_value = "gnu")]
    pub(super) toolchain: String,
    /// native or boulder
    #[arg(long, default_value = "native")]
    pub(super) executor: String,
    /// host, stones, or the directory of a bootstrapped root
    #[arg(long, default_value = "host")]
    pub(super) base: String,
    /// Where its packages go
    #[arg(long, default_value = "main")]
    pub(super) channel: ChannelName,
    /// Index that dependencies may come from; may be repeated, the first is asked first
    #[arg(long = "remote", value_name = "NAME=URL")]
    pub(super) remotes: Vec<String>,
    /// Give a phase up after so long
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    pub(super) phase_timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub(super) struct Plan {
    /// Only these recipes and what they need
    pub(super) names: Vec<String>,
    /// Build these again although they are published
    #[arg(long)]
    pub(super) rebuild: bool,
    /// Only for this build target
    #[arg(long)]
    pub(super) profile: Option<ProfileName>,
    /// Play it with so many builders
    #[arg(long, value_name = "N")]
    pub(super) builders: Option<u32>,
    /// Where edges come from: `manifest` for build dependencies alone, `all` for what the farm uses
    #[arg(long, value_parser = ["manifest", "all"])]
    pub(super) edges: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Build {
    /// Recipes, or PROJECT/NAME
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(super) names: Vec<String>,
    /// Everything that is missing or newer
    #[arg(long)]
    pub(super) all: bool,
    /// Build again although it is published, with the next build release
    #[arg(long)]
    pub(super) rebuild: bool,
    /// Only for this build target
    #[arg(long)]
    pub(super) profile: Option<ProfileName>,
    /// Wait until it is published or failed
    #[arg(long)]
    pub(super) wait: bool,
    /// Wait so long at most; the jobs live on
    #[arg(long, value_name = "TIME", value_parser = parse_span, requires = "wait")]
    pub(super) timeout: Option<Duration>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum StateArg {
    Waiting,
    Ready,
    Building,
    Publishing,
    Published,
    Failed,
    Cancelled,
    Superseded,
    /// All that are not at their end
    Open,
}

impl StateArg {
    pub(super) fn states(self) -> Vec<JobState> {
        match self {
            StateArg::Waiting => vec![JobState::Waiting],
            StateArg::Ready => vec![JobState::Ready],
            StateArg::Building => vec![JobState::Building],
            StateArg::Publishing => vec![JobState::Publishing],
            StateArg::Published => vec![JobState::Published],
            StateArg::Failed => vec![JobState::Failed],
            StateArg::Cancelled => vec![JobState::Cancelled],
            StateArg::Superseded => vec![JobState::Superseded],
            StateArg::Open => JobState::ALL
                .into_iter()
                .filter(|state| !state.is_final())
                .collect(),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Job {
    /// Jobs, the newest first
    #[command(
        after_help = "Examples:\n  massif job list --state open\n  massif job list --recipe nano --json"
    )]
    List {
        /// Only in this state; may be repeated
        #[arg(long = "state", value_name = "STATE")]
        states: Vec<StateArg>,
        /// Only of this recipe
        #[arg(long)]
        recipe: Option<RecipeName>,
        /// Only of this project
        #[arg(long)]
        project: Option<ProjectName>,
        /// So many at most
        #[arg(long)]
        limit: Option<usize>,
    },
    /// One job with its tries, reasons and neighbours
    Show(JobArg),
    /// The output of its last try, or of another
    #[command(
        after_help = "Examples:\n  massif job log nano -f\n  massif job log 17 --try 1 --tail 50"
    )]
    Log {
        #[command(flatten)]
        job: JobArg,
        /// Which try
        #[arg(long = "try", value_name = "N")]
        try_no: Option<u32>,
        /// Go on until the build ends
        #[arg(short, long)]
        follow: bool,
        /// Only the last lines
        #[arg(long, value_name = "LINES")]
        tail: Option<usize>,
    },
    /// What it made: packages and manifests
    #[command(after_help = "Example:\n  massif job artefacts nano --out /tmp/stones")]
    Artefacts {
        #[command(flatten)]
        job: JobArg,
        /// Copy the files into this directory
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Which try
        #[arg(long = "try", value_name = "N")]
        try_no: Option<u32>,
    },
    /// Try it again
    Retry(JobArg),
    /// Stop it for good
    Cancel {
        #[command(flatten)]
        job: JobArg,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Keep it from starting until it is released
    Hold {
        #[command(flatten)]
        job: JobArg,
        /// Why
        #[arg(long)]
        reason: String,
        /// Release it by itself after so long
        #[arg(long, value_name = "TIME", value_parser = parse_span)]
        expires: Option<Duration>,
    },
    /// End a hold
    Release(JobArg),
    /// Move it forward among those that are ready
    Raise {
        #[command(flatten)]
        job: JobArg,
        /// How far; negative moves it back
        #[arg(long, default_value_t = 100, allow_negative_numbers = true)]
        by: i64,
    },
}

#[derive(Debug, Args)]
pub(super) struct JobArg {
    /// Its number, or a recipe: its newest job
    pub(super) job: String,
}

#[derive(Debug, Args)]
pub(super) struct Why {
    /// A job's number, or the name of a recipe, builder, package, channel or project
    pub(super) thing: String,
}

#[derive(Debug, Subcommand)]
pub(super) enum Builder {
    /// All builders
    List,
    /// One builder
    Show {
        /// Its name, or the start of its id
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Channel {
    /// All channels
    List,
    /// Its versions, the newest first
    Versions {
        /// Its name
        name: String,
        /// So many at most
        #[arg(long)]
        limit: Option<usize>,
    },
    /// Bring an older version's content back as a new version
    #[command(after_help = "\
The recipes whose packages go back are held, so that the next look at git does not undo it.

Example:
  massif channel rollback main --to 17 --reason 'nano 8 eats files'")]
    Rollback {
        /// Its name
        name: String,
        /// The version whose content comes back
        #[arg(long, value_name = "VERSION")]
        to: VersionId,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Read and hash every file of the newest version
    Verify {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Package {
    /// Packages by name
    List {
        /// Only those whose name or summary holds this text
        text: Option<String>,
        /// The channel; the default one unless given
        #[arg(long)]
        channel: Option<ChannelName>,
        /// An older version of it
        #[arg(long, value_name = "VERSION")]
        version: Option<VersionId>,
    },
    /// One package
    Show {
        /// Its name, or a dependency such as `soname(libz.so.1(x86_64))`: who provides it
        name: String,
        /// The channel; the default one unless given
        #[arg(long)]
        channel: Option<ChannelName>,
    },
    /// Publish package files, or what a bootstrapped root provides
    #[command(after_help = "\
Examples:
  massif package import *.stone
  massif package import --base debian-base /     what this machine provides, for clients to resolve against")]
    Import {
        /// Files of packages; with --base NAME one directory
        #[arg(required = true, value_name = "FILE|DIR", value_hint = clap::ValueHint::AnyPath)]
        files: Vec<PathBuf>,
        /// Publish one package of this name that provides what the directory provides
        #[arg(long, value_name = "NAME")]
        base: Option<String>,
        /// The channel; the default one unless given
        #[arg(long)]
        channel: Option<ChannelName>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Watch {
    /// Begin after this event; 0 is from the first. Only what happens from now on unless given
    #[arg(long, value_name = "SEQ")]
    pub(super) since: Option<Seq>,
    /// End after so many events
    #[arg(long, value_name = "N")]
    pub(super) count: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct Audit {
    /// Begin after this event
    #[arg(long, value_name = "SEQ")]
    pub(super) since: Option<Seq>,
    /// Only what this user, host or part of the farm caused
    #[arg(long)]
    pub(super) actor: Option<String>,
    /// Only what is about this job, recipe, builder, channel, package or project
    #[arg(long)]
    pub(super) about: Option<String>,
    /// So many at most
    #[arg(long)]
    pub(super) limit: Option<usize>,
}

#[derive(Debug, Args)]
pub(super) struct Call {
    /// Full name of the method, or its last part
    pub(super) method: Option<String>,
    /// Its parameters as a JSON object
    pub(super) parameters: Option<String>,
    /// Ask for a stream of answers
    #[arg(long)]
    pub(super) more: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Store {
    /// Read all of it and say what is wrong; works with a host running or not
    Check,
    /// Write a copy while the host runs
    Backup {
        /// A file that does not exist yet; one below the state directory unless given
        file: Option<PathBuf>,
    },
    /// Bring a copy back; the host must not run
    Restore {
        /// The copy; the newest below the state directory unless given
        file: Option<PathBuf>,
    },
    /// Write all rows as text, one a line; the host must not run
    Dump {
        /// The file
        file: PathBuf,
    },
    /// Make a new store from a dump; the host must not run
    Load {
        /// The dump
        file: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_words_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_or_after_the_verb() {
        for words in [
            "massif --dir /d --json job list",
            "massif job list --dir /d --json",
            "massif job --json --dir=/d list",
        ] {
            let cli = Cli::try_parse_from(words.split(' ')).unwrap();
            assert!(cli.global.json, "{words}");
            assert_eq!(cli.global.dir, Some("/d".into()), "{words}");
        }
    }

    #[test]
    fn every_verb_and_option_says_what_it_is_for_in_one_line() {
        fn check(command: &clap::Command) {
            let about = command
                .get_about()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                !about.is_empty() && !about.contains('\n') && !about.ends_with('.')
                    || command.get_name() == "massif",
                "{}: {about:?}",
                command.get_name()
            );
            for argument in command
                .get_arguments()
                .filter(|argument| argument.get_id() != "help")
            {
                let help = argument
                    .get_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                assert!(
                    !help.is_empty() && !help.contains('\n'),
                    "{} {}",
                    command.get_name(),
                    argument.get_id()
                );
            }
            command
                .get_subcommands()
                .filter(|sub| sub.get_name() != "help")
                .for_each(check);
        }
        check(&Cli::command());
    }
}
