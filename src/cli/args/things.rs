//! The words about the things of a farm: projects, recipes, jobs, channels and the rest.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::admin::view::JobState;
use crate::cli::text::parse_span;
use crate::id::{
    Arch, ChannelName, HostName, ProfileName, ProjectName, RecipeName, Seq, VersionId,
};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Project {
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
    /// When its recipes are built again although nobody changed them; without options: what holds now
    #[command(
        after_help = "Examples:\n  massif project policy main --rebuild transitive\n  massif project policy main --second-pass on\n  massif project policy ours --priority 10"
    )]
    Policy {
        /// Its name
        name: String,
        /// `default`: when a name that a package needs went away; `direct`: when something it is built with was published; `transitive`: and what is built with that; `none`: never
        #[arg(long, value_name = "WHEN", value_parser = ["default", "none", "direct", "transitive"])]
        rebuild: Option<String>,
        /// Build what was built before its provider, because of a cycle, once more when that provider is published
        #[arg(long, value_name = "ON", value_parser = ["on", "off"])]
        second_pass: Option<String>,
        /// Its share of the builders beside other projects; 1 is normal
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
        weight: Option<u32>,
        /// When several projects provide a name, the one with the highest number is taken, then the newest release; 0 is normal
        #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-1000..=1000))]
        priority: Option<i32>,
    },
    /// Recipes that are built for a layer too: a profile that was added with `--over`; without recipes: what is chosen
    #[command(
        after_help = "Examples:\n  massif profile add v3 --isa x86_64-v3x --over default --channel main-v3\n  massif project level main zlib zstd --profile v3 --why 'a third faster'\n  massif project level main zlib --profile v3 --remove"
    )]
    Level {
        /// The project's name
        name: String,
        /// Its recipes
        #[arg(requires = "profile")]
        recipes: Vec<String>,
        /// The layer
        #[arg(long)]
        profile: Option<ProfileName>,
        /// Build them for it no more; what was published stays
        #[arg(long, requires = "recipes")]
        remove: bool,
        /// Why, for whoever asks later
        #[arg(long, requires = "recipes", conflicts_with = "remove")]
        why: Option<String>,
    },
    /// Forget a project; what it published stays
    Remove {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(in crate::cli) enum BuildWhat {
    /// Everything that is missing
    All,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Recipe {
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
    /// How long its builds may take on this farm, from the next attempt on; without options: what holds now, and who says so
    #[command(
        after_help = "What is decided here comes before the recipe's own constraints.yaml, and that before what was learned.\n\nExamples:\n  massif recipe limit llvm --time 12h\n  massif recipe limit llvm --none"
    )]
    Limit {
        /// Its name, or PROJECT/NAME
        name: String,
        /// The whole build: 90m, 12h
        #[arg(long, value_name = "TIME", value_parser = parse_span, conflicts_with = "none")]
        time: Option<Duration>,
        /// As if nothing had been decided
        #[arg(long)]
        none: bool,
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
pub(in crate::cli) enum Profile {
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
pub(in crate::cli) struct ProfileAdd {
    /// Its name
    pub(in crate::cli) name: ProfileName,
    /// Architecture; this machine's unless given
    #[arg(long)]
    pub(in crate::cli) arch: Option<Arch>,
    /// Instruction set level; the architecture's baseline unless given
    #[arg(long)]
    pub(in crate::cli) isa: Option<String>,
    /// Hold only recipes that `project level` chooses, above this build target; needs a channel of its own
    #[arg(long, value_name = "PROFILE")]
    pub(in crate::cli) over: Option<ProfileName>,
    /// Compiler family for recipes that name none: gnu or llvm
    #[arg(long, default_value = "gnu")]
    pub(in crate::cli) toolchain: String,
    /// native or boulder
    #[arg(long, default_value = "native")]
    pub(in crate::cli) executor: String,
    /// host, stones, or the directory of a bootstrapped root
    #[arg(long, default_value = "host")]
    pub(in crate::cli) base: String,
    /// Where its packages go
    #[arg(long, default_value = "main")]
    pub(in crate::cli) channel: ChannelName,
    /// Index that dependencies may come from; may be repeated, the first is asked first
    #[arg(long = "remote", value_name = "NAME=URL")]
    pub(in crate::cli) remotes: Vec<String>,
    /// Give a phase up after so long
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    pub(in crate::cli) phase_timeout: Option<Duration>,
    /// Let its builds use this compiler cache where the build root has it: ccache. Comparisons never do
    #[arg(long, value_name = "PROGRAM")]
    pub(in crate::cli) compiler_cache: Option<String>,
    /// MiB that the cache may take, in each slot of a builder; 5120 unless given
    #[arg(long, value_name = "MIB", requires = "compiler_cache")]
    pub(in crate::cli) compiler_cache_mib: Option<u64>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Plan {
    /// Only these recipes and what they need
    pub(in crate::cli) names: Vec<String>,
    /// Build these again although they are published
    #[arg(long)]
    pub(in crate::cli) rebuild: bool,
    /// Only for this build target
    #[arg(long)]
    pub(in crate::cli) profile: Option<ProfileName>,
    /// Play it with so many builders
    #[arg(long, value_name = "N")]
    pub(in crate::cli) builders: Option<u32>,
    /// Where edges come from: `manifest` for build dependencies alone, `all` for what the farm uses
    #[arg(long, value_parser = ["manifest", "all"])]
    pub(in crate::cli) edges: Option<String>,
    /// Plan this repository without a farm: a work tree or a bare repository
    #[arg(long, value_name = "PATH")]
    pub(in crate::cli) git: Option<PathBuf>,
    /// At this commit or branch instead of HEAD
    #[arg(long, value_name = "COMMIT", requires = "git")]
    pub(in crate::cli) commit: Option<String>,
    /// An index file of what is published; may be repeated
    #[arg(long, value_name = "FILE", requires = "git")]
    pub(in crate::cli) index: Vec<PathBuf>,
    /// JSON object: recipe name to seconds
    #[arg(long, value_name = "FILE", requires = "git")]
    pub(in crate::cli) durations: Option<PathBuf>,
    /// JSON array of builders: name, speed, slots, cores, memory_mib, disk_mib, archs
    #[arg(
        long,
        value_name = "FILE",
        requires = "git",
        conflicts_with = "builders"
    )]
    pub(in crate::cli) builders_file: Option<PathBuf>,
    /// As if nothing were published
    #[arg(long, requires = "git")]
    pub(in crate::cli) empty: bool,
    /// Effort of the search for few cuts of cycles
    #[arg(long, value_name = "N", requires = "git")]
    pub(in crate::cli) search_steps: Option<u64>,
    /// For this architecture; may be repeated
    #[arg(long, value_name = "ARCH", requires = "git")]
    pub(in crate::cli) arch: Vec<Arch>,
    /// Say what differs from this plan, which was saved with `--json`
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) against: Option<PathBuf>,
    /// Write the graph for graphviz
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) dot: Option<PathBuf>,
    /// Write the graph as a picture
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) svg: Option<PathBuf>,
    /// Write the simulated run as a picture
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) gantt: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Build {
    /// Recipes, or PROJECT/NAME
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(in crate::cli) names: Vec<String>,
    /// Everything that is missing or newer
    #[arg(long)]
    pub(in crate::cli) all: bool,
    /// Build again although it is published, with the next build release
    #[arg(long)]
    pub(in crate::cli) rebuild: bool,
    /// Only for this build target
    #[arg(long)]
    pub(in crate::cli) profile: Option<ProfileName>,
    /// Wait until it is published or failed
    #[arg(long)]
    pub(in crate::cli) wait: bool,
    /// Wait so long at most; the jobs live on
    #[arg(long, value_name = "TIME", value_parser = parse_span, requires = "wait")]
    pub(in crate::cli) timeout: Option<Duration>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(in crate::cli) enum StateArg {
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
    pub(in crate::cli) fn states(self) -> Vec<JobState> {
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
pub(in crate::cli) enum Job {
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
        /// As they stood after this event of `massif audit`
        #[arg(long, value_name = "SEQ")]
        at: Option<Seq>,
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
pub(in crate::cli) struct JobArg {
    /// Its number, or a recipe: its newest job
    pub(in crate::cli) job: String,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Why {
    /// A job's number, or the name of a recipe, builder, package, channel or project
    pub(in crate::cli) thing: String,
    /// Why it was so after this event of `massif audit`
    #[arg(long, value_name = "SEQ")]
    pub(in crate::cli) at: Option<Seq>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Try {
    /// The recipe's directory
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(in crate::cli) recipe: PathBuf,
    /// Only on this builder
    #[arg(long, value_name = "BUILDER")]
    pub(in crate::cli) on: Option<String>,
    /// For this profile; the first one unless given
    #[arg(long)]
    pub(in crate::cli) profile: Option<ProfileName>,
    /// Publish it in this channel of your own
    #[arg(long, conflicts_with = "out")]
    pub(in crate::cli) channel: Option<ChannelName>,
    /// Where the packages go; here unless given
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(in crate::cli) out: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Builder {
    /// All builders
    List {
        /// What the log tells of them after this event of `massif audit`
        #[arg(long, value_name = "SEQ")]
        at: Option<Seq>,
    },
    /// One builder
    Show {
        /// Its name, or the start of its id
        name: String,
    },
    /// Let it finish what it does and give it nothing new
    #[command(
        after_help = "Example:\n  massif builder drain east --deadline 30m --reason 'new disk'"
    )]
    Drain {
        /// Its name, or the start of its id
        name: String,
        /// Give back what still runs after this time
        #[arg(long, value_name = "TIME", value_parser = parse_span)]
        deadline: Option<std::time::Duration>,
        /// Why, for others
        #[arg(long)]
        reason: Option<String>,
    },
    /// End a drain
    Resume {
        /// Its name, or the start of its id
        name: String,
    },
    /// Give it known-good recipes only, until one of them comes out well
    Quarantine {
        /// Its name, or the start of its id
        name: String,
        /// Why, for others
        #[arg(long)]
        reason: Option<String>,
    },
    /// End a quarantine
    Release {
        /// Its name, or the start of its id
        name: String,
    },
    /// How many matches a builder for tests needs before `peer approve --trust trusted` takes it
    #[command(
        after_help = "Example:\n  massif builder rise --after 20\n  massif peer approve east --trust trusted     when it has them: a person confirms"
    )]
    Rise {
        /// So many; 0: a person decides without any
        #[arg(long, value_name = "N")]
        after: u32,
    },
    /// Whose machine it is: comparisons prefer a builder of another owner
    Owner {
        /// Its name, or the start of its id
        name: String,
        /// A person or a group; an empty text: nobody in particular
        owner: String,
    },
    /// Build again what it published since its last match
    Rebuild {
        /// Its name, or the start of its id
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Channel {
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
    /// What is compared without being asked, and before anything is published; without options: what holds now
    #[command(
        after_help = "Examples:\n  massif channel policy main --compare-idle on\n  massif channel policy main --require-match 1"
    )]
    Policy {
        /// Its name
        name: String,
        /// Builders with nothing to do rebuild what is published here and compare
        #[arg(long, value_name = "ON", value_parser = ["on", "off"])]
        compare_idle: Option<String>,
        /// So many other builders must come to the same before anything is published here; 0: none
        #[arg(long, value_name = "N")]
        require_match: Option<u32>,
    },
    /// Read and hash every file of the newest version
    Verify {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Package {
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
pub(in crate::cli) struct Watch {
    /// Begin after this event; 0 is from the first. Only what happens from now on unless given
    #[arg(long, value_name = "SEQ")]
    pub(in crate::cli) since: Option<Seq>,
    /// End after so many events
    #[arg(long, value_name = "N")]
    pub(in crate::cli) count: Option<u64>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Audit {
    /// Begin after this event
    #[arg(long, value_name = "SEQ")]
    pub(in crate::cli) since: Option<Seq>,
    /// Only what this user, host or part of the farm caused
    #[arg(long)]
    pub(in crate::cli) actor: Option<String>,
    /// Only what is about this job, recipe, builder, channel, package or project
    #[arg(long)]
    pub(in crate::cli) about: Option<String>,
    /// So many at most
    #[arg(long)]
    pub(in crate::cli) limit: Option<usize>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Call {
    /// Full name of the method, or its last part
    pub(in crate::cli) method: Option<String>,
    /// Its parameters as a JSON object
    pub(in crate::cli) parameters: Option<String>,
    /// Ask for a stream of answers
    #[arg(long)]
    pub(in crate::cli) more: bool,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Store {
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

#[derive(Debug, Args)]
pub(in crate::cli) struct Invite {
    /// What joins: `avalanche` or `operator`
    #[arg(long, value_name = "ROLE", required_unless_present_any = ["list", "revoke"])]
    pub(in crate::cli) role: Option<String>,
    /// What it will be called; as it calls itself unless given
    #[arg(long)]
    pub(in crate::cli) name: Option<HostName>,
    /// How long the invitation lives
    #[arg(long, value_name = "TIME", value_parser = parse_span, default_value = "15m")]
    pub(in crate::cli) ttl: Duration,
    /// What a builder may build for: `trusted` for publication, `test` for tries only
    #[arg(long, value_name = "LEVEL", default_value = "trusted")]
    pub(in crate::cli) trust: String,
    /// What an operator may do: `view`, `operate` or `admin`
    #[arg(long, value_name = "RIGHT", default_value = "view")]
    pub(in crate::cli) rights: String,
    /// Whoever has the line belongs to the farm, without `peer approve`
    #[arg(long)]
    pub(in crate::cli) pre_approved: bool,
    /// How often it can be used
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(in crate::cli) uses: u32,
    /// Where this host is reached from there, HOST:PORT; may be repeated
    #[arg(long = "address", value_name = "ADDR")]
    pub(in crate::cli) addresses: Vec<String>,
    /// Show all invitations instead
    #[arg(long, conflicts_with = "role")]
    pub(in crate::cli) list: bool,
    /// Take this invitation back instead
    #[arg(long, value_name = "ID", conflicts_with_all = ["role", "list"])]
    pub(in crate::cli) revoke: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Join {
    /// The line that `massif invite` printed
    #[arg(env = "MASSIF_JOIN", hide_env_values = true)]
    pub(in crate::cli) line: String,
    #[command(flatten)]
    pub(in crate::cli) host: super::HostArgs,
    /// No dashboard, also on a terminal
    #[arg(long)]
    pub(in crate::cli) headless: bool,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Peer {
    /// All of them, with their links
    List,
    /// One of them: key, words, link
    Show {
        /// Its name, or the beginning of its id
        name: String,
    },
    /// Let it in, after its five words were compared
    Approve {
        /// Its name, or the beginning of its id
        name: String,
        /// `trusted` or `test`; as its invitation said unless given
        #[arg(long, value_name = "LEVEL")]
        trust: Option<String>,
    },
    /// Shut it out for good, and list what it built
    Revoke {
        /// Its name, or the beginning of its id
        name: String,
        /// List only what it built since then: 7d, or a date
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
    },
    /// Give it another name
    Rename {
        /// Its name, or the beginning of its id
        name: String,
        /// The new name
        to: HostName,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Cert {
    /// This host's id, words and addresses
    Show,
    /// Print this host's card, for `cert trust` on another
    #[command(after_help = "Example:\n  massif cert export > crest.card")]
    Export,
    /// Replace this host's key; other hosts learn the new one by themselves
    Rotate {
        /// How long the old key stays good beside the new one
        #[arg(long, value_name = "TIME", value_parser = parse_span, default_value = "30d")]
        overlap: Duration,
    },
    /// Trust the host of a card; the other side has to trust this one's
    #[command(after_help = "\
Examples:
  massif cert trust east.card --role avalanche     on the host that decides
  massif cert trust crest.card --role summit       on the new builder, then: massif serve")]
    Trust {
        /// The card's file, or - for standard input
        file: PathBuf,
        /// What that host is to this one: `avalanche`, `operator` or `summit`
        #[arg(long)]
        role: String,
        /// What a builder may build for: `trusted` or `test`
        #[arg(long, value_name = "LEVEL", default_value = "trusted")]
        trust: String,
        /// What an operator may do: `view`, `operate` or `admin`
        #[arg(long, value_name = "RIGHT", default_value = "view")]
        rights: String,
    },
}
