//! The words of the command line. Help texts are one line each; examples stand at the end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::text::parse_span;
use crate::config::Slots;

mod proof;
mod things;

pub(super) use proof::*;
pub(super) use things::*;

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
    #[arg(long, env = "MASSIF_DIR", hide_env_values = true, value_name = "DIR", global = true, value_hint = clap::ValueHint::DirPath)]
    pub(super) dir: Option<PathBuf>,
    /// Ask another host, under the key in the state directory: `massif join` told it who it is
    #[arg(long, value_name = "NAME", global = true)]
    pub(super) host: Option<String>,
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
On a terminal it shows the dashboard, and writes its log into massif.log in its directory. Elsewhere, and with
--headless, it prints `ready admin=PATH quic=ADDR http=ADDR` when it serves, and stops on SIGTERM or Ctrl-C within 5 s.

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
    /// Watch the farm live, and act
    #[command(after_help = "\
Press ? for the keys. Where there is no terminal it prints its first page once.

Examples:
  massif dash
  massif dash --once --format json
  massif dash --open 'job log nano' --svg nano.svg")]
    Dash(Dash),
    /// Print the line with which one more builder or operator joins
    #[command(after_help = "\
Paste the line after `massif join` on the other machine. It can be used once unless --uses says otherwise.

Examples:
  massif invite --role avalanche --name east
  massif invite --role operator --name ann --rights operate
  massif invite --role avalanche --pre-approved --uses 20 --ttl 7d     for machines that add themselves
  massif invite --list")]
    Invite(Invite),
    /// Take an invitation: this directory becomes a builder or an operator's
    #[command(after_help = "\
A builder stays in the foreground and prints its `ready` line; a host that runs on the directory already is
told to join, and the command returns. The line may come from the environment variable MASSIF_JOIN.

Examples:
  massif join massif-join-1.AQ... --dir ~/builder
  MASSIF_JOIN=massif-join-1.AQ... massif join --dir /var/lib/massif --slots 4")]
    Join(Join),
    /// Other hosts and operators: who they are, and whether they may come in
    #[command(subcommand, visible_alias = "peers")]
    Peer(Peer),
    /// This host's key, and trust by files instead of invitations
    #[command(subcommand)]
    Cert(Cert),
    /// One page: jobs by state, alarms, addresses
    #[command(
        after_help = "Examples:\n  massif status\n  massif status --at 410     the farm as it was after event 410"
    )]
    Status(Status),
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
    /// Build a local recipe on the farm, published nowhere but in a channel of your own
    #[command(after_help = "\
The directory is packed as it lies there, with uncommitted changes. Without --channel the packages come back to you.

Examples:
  massif try ~/recipes/n/nano
  massif try . --on east --out /tmp/made
  massif try . --channel ann")]
    Try(Try),
    /// Build what is published once more elsewhere, and say what differs
    #[command(
        args_conflicts_with_subcommands = true,
        subcommand_negates_reqs = true,
        after_help = "\
It is built from exactly what the published one was built from, on another builder if there is one, and published
nowhere. Exit code 0: clients get the same either way; 1: they do not, or it could not be built.

Examples:
  massif compare nano
  massif compare nano --on east
  massif compare list
  massif compare show 7 --out /tmp/both"
    )]
    Compare(Compare),
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

/// What `up`, `serve`, `demo` and `join` take on top of the configuration.
#[derive(Debug, Clone, Default, Args)]
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
    /// Send at most so many bytes a second to other hosts: 500K, 10M
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub(super) upload_limit: Option<u64>,
}

/// A number of bytes, with K, M or G for 1024 and its powers.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no number of bytes; write 500000, 500K or 10M");
    let (digits, shift) = match text.char_indices().last() {
        Some((at, 'K' | 'k')) => (text.get(..at), 10),
        Some((at, 'M' | 'm')) => (text.get(..at), 20),
        Some((at, 'G' | 'g')) => (text.get(..at), 30),
        _ => (Some(text), 0),
    };
    let number: u64 = digits
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(wrong)?;
    let bytes = number.checked_mul(1 << shift).ok_or_else(wrong)?;
    if bytes == 0 { Err(wrong()) } else { Ok(bytes) }
}

#[derive(Debug, Args)]
pub(super) struct Up {
    #[command(flatten)]
    pub(super) host: HostArgs,
    /// No dashboard, also on a terminal
    #[arg(long)]
    pub(super) headless: bool,
    #[command(flatten)]
    pub(super) looks: Looks,
}

#[derive(Debug, Args)]
pub(super) struct Status {
    /// As it was after this event of `massif audit`
    #[arg(long, value_name = "SEQ")]
    pub(super) at: Option<crate::id::Seq>,
}

#[derive(Debug, Args)]
pub(super) struct Dash {
    #[command(flatten)]
    pub(super) looks: Looks,
    /// Begin with this command, as typed after `:`
    #[arg(long, value_name = "COMMAND")]
    pub(super) open: Option<String>,
    /// Print the screen once and leave
    #[arg(long)]
    pub(super) once: bool,
    /// What --once prints
    #[arg(long, value_name = "FORMAT", value_parser = ["text", "json"], default_value = "text")]
    pub(super) format: String,
    /// Write the screen as a picture and leave
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(super) svg: Option<PathBuf>,
    /// Columns and rows of the screen that --once and --svg write
    #[arg(long, value_name = "COLSxROWS", value_parser = parse_size)]
    pub(super) size: Option<(u16, u16)>,
}

/// How the dashboard looks.
#[derive(Debug, Clone, Args)]
pub(super) struct Looks {
    /// Colours: dark, light, true-dark, true-light, mono or ascii
    #[arg(long, env = "MASSIF_THEME", hide_env_values = true, value_parser = ["dark", "light", "true-dark", "true-light", "mono", "ascii"])]
    pub(super) theme: Option<String>,
    /// Graphs of braille dots, of blocks, or of letters
    #[arg(long, value_parser = ["braille", "block", "plain"])]
    pub(super) graphs: Option<String>,
    /// Leave the mouse to the terminal
    #[arg(long)]
    pub(super) no_mouse: bool,
}

fn parse_size(text: &str) -> Result<(u16, u16), String> {
    let wrong = || format!("{text:?} is no size; write 120x40");
    let (columns, rows) = text.split_once('x').ok_or_else(wrong)?;
    let number = |text: &str| {
        text.parse::<u16>()
            .ok()
            .filter(|number| (1..=1_000).contains(number))
            .ok_or_else(wrong)
    };
    Ok((number(columns)?, number(rows)?))
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
    /// The first SIGTERM finishes running builds and takes no new ones; the second one stops
    #[arg(long)]
    pub(super) drain_on_term: bool,
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
