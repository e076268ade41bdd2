//! What a person types. Every verb asks a running host over its admin socket and prints the answer; `up`, `serve`,
//! `demo` and the offline store verbs hand over to `host`.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::fault::{Fault, Kind, Result};

mod args;
mod ask;
mod comparing;
mod dash;
mod difference;
mod events;
mod farm;
mod files;
mod jobs;
mod log;
mod machines;
mod out;
mod pages;
mod past;
mod peers;
mod pictures;
mod plan_offline;
mod repository;
mod run;
pub(crate) mod show;
mod target;
pub mod text;
mod trying;
mod wait;
mod why;
pub mod words;
mod worth;

use args::{Cli, Verb};
use out::{Out, Style};

/// What a verb ends with: yes or no; errors are faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Done,
    /// The question was answered, and the answer is no: exit code 1.
    Negative,
}

/// Reads the command line, does it, and says how it went.
pub fn main() -> ExitCode {
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return usage(&error),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let style = match (cli.global.json, cli.global.quiet) {
        (true, _) => Style::Json,
        (false, true) => Style::Ids,
        (false, false) => Style::People,
    };
    log::start(match &cli.verb {
        Some(Verb::Up(up)) if dash::fronts(up) => log::To::File(run::log_file(&cli.global)),
        Some(Verb::Up(_) | Verb::Serve(_)) => log::To::Stderr { quiet: false },
        // A person reads the words there; in a pipe it is a host like any other.
        Some(Verb::Join(_)) => log::To::Stderr {
            quiet: std::io::IsTerminal::is_terminal(&std::io::stderr()),
        },
        Some(Verb::Dash(_)) if dash::on_terminal() => log::To::Nowhere,
        _ => log::To::Stderr { quiet: true },
    });
    let out = Out::new(style);
    let done = match (&cli.verb, cli.version) {
        (_, true) => version(&out),
        (None, false) => {
            // Help that was not asked for goes where errors go.
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                command().render_help().to_string().as_bytes(),
            );
            return ExitCode::from(2);
        }
        (Some(verb), false) => dispatch(verb, &cli, &out),
    };
    match done {
        Ok(Verdict::Done) => ExitCode::SUCCESS,
        Ok(Verdict::Negative) => ExitCode::from(1),
        Err(fault) => {
            out::print_fault(&fault);
            ExitCode::from(fault.exit_code())
        }
    }
}

/// The whole command line, also for completions and manual pages.
fn command() -> clap::Command {
    Cli::command()
}

fn usage(error: &clap::Error) -> ExitCode {
    // Nobody is left to tell when the terminal is gone; help is printed to standard output and is no error.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

fn version(out: &Out) -> Result<Verdict> {
    let version = env!("CARGO_PKG_VERSION");
    if out.json() {
        out.value(&serde_json::json!({
            "name": "massif", "version": version, "schema": crate::admin::SCHEMA,
        }))?;
    } else {
        out.line(format!("massif {version}"));
    }
    Ok(Verdict::Done)
}

fn dispatch(verb: &Verb, cli: &Cli, out: &Out) -> Result<Verdict> {
    let here = matches!(
        verb,
        Verb::Up(_)
            | Verb::Demo(_)
            | Verb::Serve(_)
            | Verb::Init(_)
            | Verb::Join(_)
            | Verb::Cert(_)
    );
    if here && cli.global.host.is_some() {
        return Err(
            Fault::new(Kind::Usage, "this verb works on a host of this machine")
                .next("leave --host out"),
        );
    }
    match verb {
        Verb::Join(join) => peers::join(join, &cli.global, out),
        Verb::Cert(cert) => peers::cert(cert, &cli.global, out),
        Verb::Up(up) => run::up(up, &cli.global),
        Verb::Dash(wish) => dash::dash(wish, &cli.global, out),
        Verb::Demo(demo) => run::demo(demo, &cli.global),
        Verb::Serve(serve) => run::serve(serve, &cli.global),
        Verb::Init(init) => run::init(init, &cli.global, out),
        Verb::Completions { shell } => pages::completions(*shell, out),
        Verb::Man { dir } => pages::manual(dir.as_deref(), out),
        Verb::Call(args::Call { method: None, .. }) => events::methods(out),
        Verb::Plan(plan) if plan.git.is_some() => plan_offline::run(plan, out),
        Verb::Store(store) if run::is_offline(store) => run::store(store, &cli.global, out),
        _ => client_runtime()?.block_on(ask_host(verb, cli, out)),
    }
}

/// One thread is enough for one question at a time.
fn client_runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Fault::new(Kind::Operator, "cannot start")
                .because(&error)
                .next("check the limits on open files and processes")
        })
}

async fn ask_host(verb: &Verb, cli: &Cli, out: &Out) -> Result<Verdict> {
    let host = ask::Host::find(&cli.global)?;
    match verb {
        Verb::Dash(_) => Err(Fault::bug("the dashboard has a runtime of its own")),
        Verb::Status(status) => dash::status(host, status, out).await,
        Verb::Doctor => events::doctor(&host, &cli.global, out).await,
        Verb::Watch(watch) => events::watch(&host, watch, out).await,
        Verb::Audit(audit) => events::audit(&host, audit, out).await,
        Verb::Call(call) => events::call(&host, call, out).await,
        Verb::Store(store) => events::store(&host, store, &cli.global, out).await,
        Verb::Project(project) => farm::project(&host, project, out).await,
        Verb::Recipe(recipe) => farm::recipe(&host, recipe, out).await,
        Verb::Profile(profile) => target::profile(&host, profile, out).await,
        Verb::Plan(plan) => target::plan(&host, plan, out).await,
        Verb::Build(build) => jobs::build(&host, build, out).await,
        Verb::Try(wish) => trying::try_recipe(&host, wish, out).await,
        Verb::Compare(wish) => comparing::compare(&host, wish, out).await,
        Verb::Job(job) => jobs::job(&host, job, out).await,
        Verb::Why(why) => why::why(&host, why, out).await,
        Verb::Builder(builder) => machines::builder(&host, builder, out).await,
        Verb::Channel(channel) => repository::channel(&host, channel, out).await,
        Verb::Invite(invite) => peers::invite(&host, invite, out).await,
        Verb::Peer(peer) => peers::peer(&host, peer, out).await,
        Verb::Package(package) => repository::package(&host, package, out).await,
        Verb::Up(_)
        | Verb::Demo(_)
        | Verb::Serve(_)
        | Verb::Init(_)
        | Verb::Join(_)
        | Verb::Cert(_)
        | Verb::Completions { .. }
        | Verb::Man { .. } => Err(Fault::bug("this verb asks no host")),
    }
}
