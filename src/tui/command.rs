//! Commands typed after `:`, in the words of the command line, with completion.

use super::ask::Action;
use super::data::Data;
use super::page::Page;
use super::theme::THEMES;
use crate::cli::words::{self, Sense};
use crate::fault::nearest;
use crate::id::{JobId, Seq};

/// What a command does.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Look at something.
    Open(Page),
    /// Change something, once confirmed.
    Act(Action),
    /// The farm as it was after this event.
    At(Seq),
    /// Back from there.
    Now,
    /// Other looks.
    Theme(String),
    /// Write the screen as a picture.
    Picture(String),
    /// Show the keys.
    Help,
    /// Leave.
    Quit,
}

/// What stands in a place of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Word(&'static str),
    Job,
    Recipe,
    Builder,
    Peer,
    Project,
    Channel,
    Thing,
    Theme,
    Rest,
}

use Slot::{Builder, Channel, Job, Peer, Project, Recipe, Rest, Theme, Thing, Word};

/// Every command by its words.
const COMMANDS: &[&[Slot]] = &[
    &[Word("farm")],
    &[Word("status")],
    &[Word("queue")],
    &[Word("job"), Word("list")],
    &[Word("builders")],
    &[Word("builder"), Word("list")],
    &[Word("recipes")],
    &[Word("recipe"), Word("list")],
    &[Word("repository")],
    &[Word("channel"), Word("list")],
    &[Word("events")],
    &[Word("watch")],
    &[Word("audit")],
    &[Word("peers")],
    &[Word("peer"), Word("list")],
    &[Word("peer"), Word("show"), Peer],
    &[Word("peer"), Word("approve"), Peer],
    &[Word("peer"), Word("revoke"), Peer],
    &[Word("peer"), Word("rename"), Peer, Rest],
    &[Word("at"), Rest],
    &[Word("now")],
    &[Word("job"), Word("show"), Job],
    &[Word("job"), Word("log"), Job],
    &[Word("job"), Word("tree"), Job],
    &[Word("job"), Word("retry"), Job],
    &[Word("job"), Word("cancel"), Job],
    &[Word("job"), Word("hold"), Job, Rest],
    &[Word("job"), Word("release"), Job],
    &[Word("job"), Word("raise"), Job],
    &[Word("why"), Thing],
    &[Word("build"), Recipe],
    &[Word("recipe"), Word("show"), Recipe],
    &[Word("builder"), Word("show"), Builder],
    &[Word("recipe"), Word("history"), Recipe],
    &[Word("plan"), Recipe],
    &[Word("recipe"), Word("limit"), Recipe, Rest],
    &[Word("builder"), Word("drain"), Builder, Rest],
    &[Word("builder"), Word("resume"), Builder],
    &[Word("builder"), Word("quarantine"), Builder, Rest],
    &[Word("builder"), Word("release"), Builder],
    &[Word("channel"), Word("versions"), Channel],
    &[Word("channel"), Word("rollback"), Channel, Rest],
    &[Word("channel"), Word("verify"), Channel],
    &[Word("package"), Word("list"), Channel],
    &[Word("project"), Word("show"), Project],
    &[Word("project"), Word("refresh"), Project],
    &[Word("project"), Word("policy"), Project, Rest],
    &[Word("project"), Word("remove"), Project],
    &[Word("theme"), Theme],
    &[Word("svg"), Rest],
    &[Word("help")],
    &[Word("quit")],
    &[Word("q")],
];

/// Names that may be typed.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Recipes with their newest job.
    pub recipes: Vec<(String, JobId)>,
    /// Builders.
    pub builders: Vec<String>,
    /// Peers.
    pub peers: Vec<String>,
    /// Projects.
    pub projects: Vec<String>,
    /// Channels.
    pub channels: Vec<String>,
}

impl Names {
    /// What is known.
    pub fn of(data: &Data) -> Names {
        let mut recipes: Vec<(String, JobId)> = data
            .jobs()
            .rev()
            .map(|job| (job.recipe.to_string(), job.id))
            .collect();
        recipes.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        recipes.dedup_by(|a, b| a.0 == b.0);
        let mut projects: Vec<String> = data.jobs().map(|job| job.project.to_string()).collect();
        projects.sort();
        projects.dedup();
        let profiles = data.profiles.iter();
        let mut channels: Vec<String> = profiles.map(|known| known.channel.to_string()).collect();
        channels.sort();
        channels.dedup();
        Names {
            peers: data
                .peers
                .iter()
                .map(|peer| peer.name.to_string())
                .collect(),
            projects,
            channels,
            recipes,
            builders: data
                .builders
                .iter()
                .map(|builder| builder.name.to_string())
                .collect(),
        }
    }

    fn job(&self, data: &Data, word: &str) -> Result<(JobId, crate::id::RecipeName), String> {
        let id = match word.parse::<JobId>() {
            Ok(id) => Some(id),
            Err(_) => self
                .recipes
                .binary_search_by(|(name, _)| name.as_str().cmp(word))
                .ok()
                .and_then(|at| self.recipes.get(at))
                .map(|(_, id)| *id),
        };
        match id.and_then(|id| data.job(id)) {
            Some(job) => Ok((job.id, job.recipe.clone())),
            None => {
                let known = self.recipes.iter().map(|(name, _)| name.as_str());
                Err(match nearest(word, known) {
                    Some(near) => format!("no job {word}; did you mean {near}?"),
                    None => format!("no job {word}"),
                })
            }
        }
    }
}

/// Endings that fit the words typed so far: whole lines.
pub fn completions(typed: &str, names: &Names) -> Vec<String> {
    let mut words: Vec<&str> = typed.split(' ').filter(|word| !word.is_empty()).collect();
    let last = if typed.ends_with(' ') || words.is_empty() {
        ""
    } else {
        words.pop().unwrap_or_default()
    };
    let lead = if words.is_empty() {
        String::new()
    } else {
        words.join(" ") + " "
    };
    let mut found: Vec<String> = Vec::new();
    for command in COMMANDS {
        let fits = command.len() > words.len()
            && words.iter().zip(*command).all(|(word, slot)| match slot {
                Word(own) => own == word,
                _ => true,
            });
        if !fits {
            continue;
        }
        let mut offer = |word: &str| {
            if word.starts_with(last) {
                found.push(format!("{lead}{word}"));
            }
        };
        match command.get(words.len()) {
            Some(Word(word)) => offer(word),
            Some(Job | Recipe) => names.recipes.iter().for_each(|(name, _)| offer(name)),
            Some(Builder) => names.builders.iter().for_each(|name| offer(name)),
            Some(Peer) => names.peers.iter().for_each(|name| offer(name)),
            Some(Project) => names.projects.iter().for_each(|name| offer(name)),
            Some(Channel) => names.channels.iter().for_each(|name| offer(name)),
            Some(Thing) => {
                names.recipes.iter().for_each(|(name, _)| offer(name));
                names.builders.iter().for_each(|name| offer(name));
            }
            Some(Theme) => THEMES.iter().for_each(|name| offer(name)),
            Some(Rest) | None => {}
        }
    }
    let own = words::endings(&words, last);
    found.extend(own.into_iter().map(|ending| format!("{lead}{ending}")));
    found.sort();
    found.dedup();
    found
}

/// Reads a command.
///
/// # Errors
///
/// A sentence that says what is wrong with it.
pub fn parse(typed: &str, data: &Data) -> Result<Command, String> {
    let typed = typed.trim();
    let typed = typed.strip_prefix("massif ").unwrap_or(typed);
    let given = split(typed)?;
    let words: Vec<&str> = given.iter().map(String::as_str).collect();
    let names = Names::of(data);
    let job = |word: &str| names.job(data, word);
    Ok(match words.as_slice() {
        ["farm" | "status" | "dash"] => Command::Open(Page::Farm),
        ["queue" | "jobs"] | ["job", "list"] => Command::Open(Page::Queue),
        ["builders"] | ["builder", "list"] => Command::Open(Page::Builders),
        ["recipes"] | ["recipe", "list"] => Command::Open(Page::Recipes),
        ["repository" | "repo" | "channels"] | ["channel", "list"] => {
            Command::Open(Page::Repository)
        }
        ["events" | "watch" | "audit"] => Command::Open(Page::Events),
        ["peers"] | ["peer", "list"] => Command::Open(Page::Peers),
        ["peer", "show", name] => Command::Open(Page::Peer((*name).to_owned())),
        ["peer", "approve", name] => Command::Act(Action::Approve((*name).to_owned())),
        ["peer", "revoke", name] => Command::Act(Action::Revoke((*name).to_owned())),
        ["peer", "rename", name, to] => Command::Act(Action::Rename {
            peer: (*name).to_owned(),
            to: (*to).to_owned(),
        }),
        ["at", seq] | ["status", "--at", seq] => match seq.parse() {
            Ok(seq) => Command::At(Seq(seq)),
            Err(_) => return Err(format!("{seq} is no event's number: at SEQ")),
        },
        ["now"] => Command::Now,
        ["job", "show", word] => Command::Open(Page::Job(job(word)?.0)),
        ["job", "log", word] | ["log", word] => Command::Open(Page::Log(job(word)?.0, None)),
        ["job", "tree", word] => Command::Open(Page::Graph(job(word)?.0)),
        ["job", "retry", word] => job(word)
            .map(|(id, name)| Action::Retry(id, name))
            .map(Command::Act)?,
        ["job", "cancel", word] => job(word)
            .map(|(id, name)| Action::Cancel(id, name))
            .map(Command::Act)?,
        ["job", "release", word] => job(word)
            .map(|(id, name)| Action::Release(id, name))
            .map(Command::Act)?,
        ["job", "raise", word] => job(word)
            .map(|(id, name)| Action::Raise(id, name, 100))
            .map(Command::Act)?,
        ["job", "hold", word, reason @ ..] if !reason.contains(&"--expires") => {
            let reason = reason
                .strip_prefix(&["--reason"])
                .unwrap_or(reason)
                .join(" ");
            if reason.is_empty() {
                return Err("say why: job hold NAME REASON".into());
            }
            let (job, recipe) = job(word)?;
            Command::Act(Action::Hold {
                job,
                recipe,
                reason,
            })
        }
        ["why", thing] => Command::Open(Page::Why((*thing).to_owned())),
        ["build", "--all"] => Command::Act(Action::Build {
            recipe: None,
            rebuild: false,
        }),
        ["build", recipe] => Command::Act(Action::Build {
            recipe: Some((*recipe).to_owned()),
            rebuild: false,
        }),
        ["build", recipe, "--rebuild"] => Command::Act(Action::Build {
            recipe: Some((*recipe).to_owned()),
            rebuild: true,
        }),
        ["recipe", "show", name] => Command::Open(Page::Recipe((*name).to_owned())),
        ["builder", "show", name] => Command::Open(Page::Builder((*name).to_owned())),
        ["channel", "versions", name] => Command::Open(Page::Channel((*name).to_owned())),
        ["package", "list"] | ["packages"] => Command::Open(Page::Packages("main".into())),
        ["package", "list", name] | ["package", "list", "--channel", name]
            if names.channels.iter().any(|known| known == name) =>
        {
            Command::Open(Page::Packages((*name).to_owned()))
        }
        ["project", "refresh", name] => Command::Act(Action::Refresh((*name).to_owned())),
        ["theme", name] => Command::Theme((*name).to_owned()),
        ["svg", file] => Command::Picture((*file).to_owned()),
        ["help" | "h"] => Command::Help,
        ["quit" | "q" | "q!" | "exit"] => Command::Quit,
        ["alarms"] => Command::Open(Page::Farm),
        ["stalls"] => Command::Open(Page::Builders),
        [kind, name] if is_shown(kind, name) => match *kind {
            "job" => Command::Open(Page::Job(job(name)?.0)),
            "builder" => known("builder", name, &names.builders)
                .map(Page::Builder)
                .map(Command::Open)?,
            "peer" => known("peer", name, &names.peers)
                .map(Page::Peer)
                .map(Command::Open)?,
            "channel" => known("channel", name, &names.channels)
                .map(Page::Channel)
                .map(Command::Open)?,
            _ => Command::Open(Page::Recipe((*name).to_owned())),
        },
        _ => return by_the_command_line(typed),
    })
}

/// Whether these are a kind of thing and the name of one: `builder east` is short for `builder show east`.
fn is_shown(kind: &str, name: &str) -> bool {
    let shown = matches!(kind, "job" | "recipe" | "builder" | "peer" | "channel");
    let is_verb = || words::endings(&[kind], "").iter().any(|verb| verb == name);
    shown && !name.starts_with('-') && !is_verb()
}

fn known(kind: &str, name: &str, all: &[String]) -> Result<String, String> {
    if all.iter().any(|one| one == name) {
        return Ok(name.to_owned());
    }
    Err(match nearest(name, all.iter().map(String::as_str)) {
        Some(near) => format!("no {kind} {name}; did you mean {near}?"),
        None => format!("no {kind} {name}"),
    })
}

/// The words of a line, with quotes as a shell reads them.
///
/// # Errors
///
/// A quote that has no end.
pub fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(chars.next()),
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    match quote {
        None => Ok(words),
        Some(quote) => Err(format!("a {quote} has no end")),
    }
}

/// A line that has no page or key of its own: what the command line makes of it.
fn by_the_command_line(typed: &str) -> Result<Command, String> {
    let given = split(typed)?;
    let first = given.first().map_or("", String::as_str);
    let known: Vec<&str> = COMMANDS
        .iter()
        .filter_map(|command| match command.first() {
            Some(Word(word)) => Some(*word),
            _ => None,
        })
        .collect();
    let verbs = words::endings(&[], "");
    let verb = verbs.iter().any(|verb| verb == first) || words::sense(&given).is_ok();
    if !verb {
        let all = known
            .iter()
            .copied()
            .chain(verbs.iter().map(String::as_str));
        return Err(match nearest(first, all) {
            Some(near) => format!("no command {typed:?} here; did you mean {near}?"),
            None => format!("no command {typed:?} here; Tab shows what there is"),
        });
    }
    match words::sense(&given)? {
        Sense::Looks => Ok(Command::Open(Page::Printed(given))),
        Sense::Changes(effect, right) => Ok(Command::Act(Action::Run {
            words: given,
            effect,
            right,
        })),
        Sense::Elsewhere(why) => Err(why.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_the_command_lines_and_completed_word_by_word() {
        let names = Names {
            recipes: vec![("nano".into(), JobId(3)), ("ncurses".into(), JobId(2))],
            builders: vec!["east".into()],
            ..Names::default()
        };
        for (typed, expected) in [
            ("qu", &["queue", "quit"][..]),
            ("project ad", &["project add"]),
            (
                "project add main /r --br",
                &["project add main /r --branch"],
            ),
            ("job sh", &["job show"]),
            ("job show n", &["job show nano", "job show ncurses"]),
            ("builder show ", &["builder show east"]),
            ("why e", &["why east"]),
            ("theme tr", &["theme true-dark", "theme true-light"]),
            ("nothing ", &[]),
        ] {
            assert_eq!(completions(typed, &names), expected, "{typed}");
        }
        let data = Data::default();
        assert_eq!(
            parse("massif builder list", &data),
            Ok(Command::Open(Page::Builders))
        );
        assert_eq!(parse("q", &data), Ok(Command::Quit));
        assert_eq!(
            parse("recipe nano", &data),
            Ok(Command::Open(Page::Recipe("nano".into())))
        );
        assert_eq!(parse("builder nope", &data), Err("no builder nope".into()));
        assert_eq!(parse("job 9", &data), Err("no job 9".into()));
        let wrong = parse("qeue", &data).unwrap_err();
        assert!(wrong.contains("did you mean queue"), "{wrong}");
        assert!(parse("job hold 3", &data).is_err());
        assert_eq!(parse("at 17", &data), Ok(Command::At(Seq(17))));
        let Ok(Command::Act(Action::Run { words, .. })) =
            parse("project add main '/my recipes' --branch b", &data)
        else {
            panic!("it changes something")
        };
        assert_eq!(
            words,
            ["project", "add", "main", "/my recipes", "--branch", "b"]
        );
        let looks = parse("profile list", &data);
        assert!(
            matches!(looks, Ok(Command::Open(Page::Printed(_)))),
            "{looks:?}"
        );
        assert!(parse("serve", &data).unwrap_err().contains("shell"));
        assert!(parse("build 'a", &data).unwrap_err().contains("no end"));
        assert!(
            parse("job log zzz", &data)
                .unwrap_err()
                .contains("no job zzz")
        );
    }
}
