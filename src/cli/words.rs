//! The words of the command line for the dashboard: what a line typed after `:` would do, and how it may go on. From the
//! same description that the command line is read by, so that both know the same words.

use clap::{CommandFactory, Parser};

use super::args::{self, Cli, Verb};
use crate::admin::{Right, all_methods};

/// What a line would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sense {
    /// It looks at something.
    Looks,
    /// It changes something: what, in a sentence, and what one must be allowed to do.
    Changes(String, Right),
    /// It is no business of the dashboard: why.
    Elsewhere(&'static str),
}

/// Verbs that the dashboard leaves to a shell.
const ELSEWHERE: &[&str] = &[
    "up",
    "demo",
    "serve",
    "init",
    "join",
    "dash",
    "completions",
    "man",
    "try",
    "help",
];

/// Reads the words after `massif`.
///
/// # Errors
///
/// What is wrong with them, in one line.
pub fn sense(words: &[String]) -> Result<Sense, String> {
    let line = std::iter::once("massif").chain(words.iter().map(String::as_str));
    let cli = Cli::try_parse_from(line).map_err(|error| first_line(&error))?;
    let Some(verb) = &cli.verb else {
        return Err("type a verb, such as job list; Tab shows what there is".into());
    };
    if cli.global.dir.is_some() || cli.global.host.is_some() {
        return Ok(Sense::Elsewhere(
            "the dashboard asks the host that it shows: leave --dir and --host out",
        ));
    }
    Ok(sense_of(verb, words))
}

fn first_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines
        .next()
        .unwrap_or("that is no command")
        .trim_start_matches("error: ");
    match lines.find(|line| line.starts_with("tip:") || line.starts_with('<')) {
        Some(more) => format!("{first} {more}"),
        None => first.to_owned(),
    }
}

fn sense_of(verb: &Verb, words: &[String]) -> Sense {
    let change = |right| Sense::Changes(effect(words), right);
    match verb {
        Verb::Status(_) | Verb::Doctor | Verb::Plan(_) | Verb::Why(_) | Verb::Audit(_) => {
            Sense::Looks
        }
        Verb::Recipe(args::Recipe::Limit { time, none, .. }) if time.is_some() || *none => {
            change(Right::Operate)
        }
        Verb::Recipe(_) => Sense::Looks,
        Verb::Project(project) => match project {
            args::Project::List | args::Project::Show { .. } => Sense::Looks,
            args::Project::Level { recipes, .. } if recipes.is_empty() => Sense::Looks,
            args::Project::Policy {
                rebuild: None,
                second_pass: None,
                weight: None,
                priority: None,
                ..
            } => Sense::Looks,
            args::Project::Refresh { .. } => change(Right::Operate),
            args::Project::Add { .. }
            | args::Project::Policy { .. }
            | args::Project::Level { .. }
            | args::Project::Remove { .. } => change(Right::Admin),
        },
        Verb::Profile(args::Profile::Add(_)) => change(Right::Admin),
        Verb::Profile(_) => Sense::Looks,
        Verb::Build(_) => change(Right::Operate),
        Verb::Job(job) => match job {
            args::Job::Log { follow: true, .. } => {
                Sense::Elsewhere("the log's own page follows it: job log NAME")
            }
            args::Job::Artefacts { out: Some(_), .. } => change(Right::View),
            args::Job::List { .. }
            | args::Job::Show(_)
            | args::Job::Log { .. }
            | args::Job::Artefacts { .. } => Sense::Looks,
            _ => change(Right::Operate),
        },
        Verb::Builder(args::Builder::List { .. } | args::Builder::Show { .. }) => Sense::Looks,
        Verb::Builder(args::Builder::Rise { .. } | args::Builder::Owner { .. }) => {
            change(Right::Admin)
        }
        Verb::Builder(_) => change(Right::Operate),
        Verb::Compare(wish) => match &wish.what {
            Some(args::Compared::Show { out: Some(_), .. }) => change(Right::View),
            Some(_) => Sense::Looks,
            None if wish.isa && wish.package.is_none() && wish.svg.is_none() && !wish.measure => {
                Sense::Looks
            }
            None if wish.no_wait => change(Right::Operate),
            None => Sense::Elsewhere("it waits for a build: add --no-wait"),
        },
        Verb::Channel(args::Channel::Rollback { .. }) => change(Right::Operate),
        Verb::Channel(
            args::Channel::Policy {
                compare_idle: Some(_),
                ..
            }
            | args::Channel::Policy {
                require_match: Some(_),
                ..
            },
        ) => change(Right::Admin),
        Verb::Channel(_) => Sense::Looks,
        Verb::Package(args::Package::Import { .. }) => change(Right::Admin),
        Verb::Package(_) => Sense::Looks,
        Verb::Invite(invite) if invite.list => Sense::Looks,
        Verb::Invite(_) => change(Right::Admin),
        Verb::Peer(args::Peer::List | args::Peer::Show { .. }) => Sense::Looks,
        Verb::Peer(_) => change(Right::Admin),
        Verb::Cert(args::Cert::Show | args::Cert::Export) => Sense::Looks,
        Verb::Cert(_) => change(Right::Admin),
        Verb::Store(args::Store::Check) => Sense::Looks,
        Verb::Store(args::Store::Backup { .. }) => change(Right::Admin),
        Verb::Store(_) => Sense::Elsewhere("this works on a host that is stopped: use a shell"),
        Verb::Watch(watch) if watch.count.is_some() && watch.since.is_some() => Sense::Looks,
        Verb::Watch(_) => Sense::Elsewhere("the events page follows them: events"),
        Verb::Call(call) => call_sense(call, change),
        Verb::Up(_)
        | Verb::Demo(_)
        | Verb::Serve(_)
        | Verb::Init(_)
        | Verb::Join(_)
        | Verb::Dash(_)
        | Verb::Try(_)
        | Verb::Completions { .. }
        | Verb::Man { .. } => Sense::Elsewhere("this needs a shell of its own"),
    }
}

fn call_sense(call: &args::Call, change: impl Fn(Right) -> Sense) -> Sense {
    let Some(name) = &call.method else {
        return Sense::Looks;
    };
    let mut known = all_methods();
    let known = known.find(|facts| facts.name == name || facts.short == name);
    match known {
        _ if call.more => Sense::Elsewhere("a stream needs a shell of its own"),
        Some(facts) if facts.right == Right::View => Sense::Looks,
        Some(facts) => change(facts.right),
        None => change(Right::Admin),
    }
}

/// What the innermost verb does, with its object.
fn effect(words: &[String]) -> String {
    let mut command = Cli::command();
    let mut rest = Vec::new();
    for word in words {
        match command.find_subcommand(word) {
            Some(inner) if rest.is_empty() => command = inner.clone(),
            _ => rest.push(word.as_str()),
        }
    }
    let about = command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    match rest.is_empty() {
        true => format!("{about}."),
        false => format!("{about}: {}.", rest.join(" ")),
    }
}

/// Verbs and options that may follow these words. The last one is what is typed so far.
pub fn endings(words: &[&str], last: &str) -> Vec<String> {
    let mut command = Cli::command();
    let mut inside = 0;
    for word in words {
        let Some(inner) = command.find_subcommand(word).cloned() else {
            break;
        };
        command = inner;
        inside += 1;
    }
    let mut found = Vec::new();
    if last.starts_with('-') {
        let options = command
            .get_arguments()
            .filter(|option| !option.is_global_set());
        found.extend(
            options
                .filter_map(|option| option.get_long())
                .map(|long| format!("--{long}")),
        );
    } else if inside == words.len() {
        let inner = command.get_subcommands().map(clap::Command::get_name);
        let ours = inner.filter(|name| inside > 0 || !ELSEWHERE.contains(name));
        found.extend(ours.filter(|name| *name != "help").map(str::to_owned));
    }
    found.retain(|ending| ending.starts_with(last));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sense_of_line(line: &str) -> Result<Sense, String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        sense(&words)
    }

    #[test]
    fn every_line_is_told_by_what_it_does() {
        for line in [
            "project list",
            "plan nano",
            "doctor",
            "recipe history nano",
            "store check",
            "call JobList",
        ] {
            assert_eq!(sense_of_line(line), Ok(Sense::Looks), "{line}");
        }
        for (line, right) in [
            ("project add main /r", Right::Admin),
            ("invite --role avalanche", Right::Admin),
            ("build a b --rebuild", Right::Operate),
            ("store backup", Right::Admin),
            ("call PeerRevoke {}", Right::Admin),
        ] {
            let told = sense_of_line(line);
            assert!(
                matches!(&told, Ok(Sense::Changes(_, needed)) if *needed == right),
                "{line}: {told:?}"
            );
        }
        for line in [
            "up",
            "serve",
            "watch",
            "store load /x",
            "try .",
            "--dir /x job list",
        ] {
            assert!(
                matches!(sense_of_line(line), Ok(Sense::Elsewhere(_))),
                "{line}"
            );
        }
        let wrong = sense_of_line("project ad main /r").unwrap_err();
        assert!(!wrong.contains('\n') && wrong.contains("ad"), "{wrong}");
        let effect = sense_of_line("project add main /r");
        assert!(
            matches!(&effect, Ok(Sense::Changes(words, _)) if words.contains("Watch a repository") && words.contains("main /r")),
            "{effect:?}"
        );
    }

    #[test]
    fn endings_are_the_command_lines_own() {
        assert_eq!(endings(&["project"], "re"), ["refresh", "remove"]);
        assert!(endings(&["invite"], "--ro").contains(&"--role".to_owned()));
        assert!(!endings(&[], "").contains(&"serve".to_owned()));
        assert!(endings(&["nothing"], "").is_empty());
    }
}
