//! The dashboard as a verb: on a terminal, once as text or JSON, as a picture; and in front of the farm that `up` runs.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use super::Verdict;
use super::args::{self, Global};
use super::ask::Host;
use super::out::{Out, Style};
use crate::fault::{Fault, Kind, Result};
use crate::net::admin::Client;
use crate::tui::data::Data;
use crate::tui::link::Connect;
use crate::tui::run::Program;
use crate::tui::shell::{self, Options};
use crate::tui::theme::{Environment, Graphs, Palette, Theme};
use crate::tui::{draw, once, svg};

/// Columns of a page that is printed into a pipe.
const PIPE_COLUMNS: u16 = 100;

/// Whether there is a terminal for a dashboard.
pub(super) fn on_terminal() -> bool {
    std::io::stdout().is_terminal() && std::io::stdin().is_terminal()
}

/// Whether `up` shows the dashboard of the farm that it runs.
pub(super) fn fronts(up: &args::Up) -> bool {
    !up.headless && on_terminal()
}

fn environment() -> Environment {
    let text = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
    Environment {
        no_color: text("NO_COLOR").is_some(),
        term: text("TERM").unwrap_or_default(),
        locale: text("LC_ALL")
            .or_else(|| text("LC_CTYPE"))
            .or_else(|| text("LANG"))
            .unwrap_or_default(),
        theme: None,
    }
}

fn theme(looks: &args::Looks, environment: &Environment) -> Result<Theme> {
    let theme = Theme::of(looks.theme.as_deref(), environment)
        .ok_or_else(|| Fault::new(Kind::Usage, "no such theme"))?;
    Ok(Theme {
        graphs: match looks.graphs.as_deref() {
            Some("braille") => Graphs::Braille,
            Some("block") => Graphs::Block,
            Some("plain") => Graphs::Plain,
            _ => theme.graphs,
        },
        ..theme
    })
}

/// This program, asking the same host.
fn program(global: &Global) -> Program {
    let mut lead = Vec::new();
    if let Some(dir) = &global.dir {
        lead.extend(["--dir".to_owned(), dir.display().to_string()]);
    }
    if let Some(host) = &global.host {
        lead.extend(["--host".to_owned(), host.clone()]);
    }
    Program { lead }
}

fn connect_to(host: Arc<Host>) -> Connect {
    Arc::new(move || {
        let host = host.clone();
        Box::pin(async move { host.connect().await })
    })
}

pub(super) fn dash(wish: &args::Dash, global: &Global, out: &Out) -> Result<Verdict> {
    let connect = connect_to(Arc::new(Host::find(global)?));
    if let Some(file) = &wish.svg {
        return picture(wish, &connect, file, &program(global));
    }
    if wish.once || out.json() || !on_terminal() {
        return print(wish, &connect, out, &program(global));
    }
    shell::run(Options {
        connect,
        theme: theme(&wish.looks, &environment())?,
        mouse: !wish.looks.no_mouse,
        farm_here: false,
        command: wish.open.clone(),
        program: program(global),
    })?;
    Ok(Verdict::Done)
}

/// The first page, or the one that was asked for, as text or JSON.
fn print(wish: &args::Dash, connect: &Connect, out: &Out, program: &Program) -> Result<Verdict> {
    super::client_runtime()?.block_on(async {
        if out.json() || wish.format == "json" {
            out.value(&once::json(&once::read(connect).await?)?)?;
            return Ok(Verdict::Done);
        }
        let columns = wish.size.map(|(columns, _)| columns);
        match &wish.open {
            None => first_page(once::read(connect).await?, columns, out),
            Some(command) => {
                let rows = wish.size.map_or(60, |(_, rows)| rows);
                let size = (columns.unwrap_or(PIPE_COLUMNS), rows);
                let app =
                    once::screen(connect, Theme::plain(), size, Some(command), program).await?;
                out.raw(once::lines(&draw::render(&app)).as_bytes());
            }
        }
        Ok(Verdict::Done)
    })
}

/// The farm on one page, and who the host is: what `status` and `dash --once` print.
fn first_page(data: Data, columns: Option<u16>, out: &Out) {
    let status = data.status.clone();
    let (theme, columns) = if out.terminal {
        let theme = Theme::of(None, &environment()).unwrap_or_default();
        let own = crossterm::terminal::size().map_or(PIPE_COLUMNS, |(columns, _)| columns);
        (theme, columns.unwrap_or(own))
    } else {
        (Theme::plain(), columns.unwrap_or(PIPE_COLUMNS))
    };
    let page = once::page(data, theme, columns);
    let text = if theme.palette == Palette::Mono {
        once::lines(&page)
    } else {
        once::coloured(&page)
    };
    out.raw(text.as_bytes());
    if let Some(status) = status {
        out.raw(b"\n");
        super::events::show_host(&status, out);
    }
}

/// `massif status`: the dashboard's first page; of a host that knows no jobs, what it knows.
pub(super) async fn status(host: Host, status: &args::Status, out: &Out) -> Result<Verdict> {
    if let Some(at) = status.at {
        return super::past::status(&host, at, out).await;
    }
    let host = Arc::new(host);
    if out.style == Style::People
        && let Ok(data) = once::read(&connect_to(host.clone())).await
    {
        first_page(data, None, out);
        return Ok(Verdict::Done);
    }
    super::events::status(&host, out).await
}

fn picture(
    wish: &args::Dash,
    connect: &Connect,
    file: &std::path::Path,
    program: &Program,
) -> Result<Verdict> {
    // A picture has the fonts that a terminal may lack.
    let rich = Environment {
        locale: "UTF-8".into(),
        ..Environment::default()
    };
    let theme = theme(&wish.looks, &rich)?;
    let size = wish.size.unwrap_or((100, 30));
    super::client_runtime()?.block_on(async {
        let app = once::screen(connect, theme, size, wish.open.as_deref(), program).await?;
        let picture = svg::picture(&draw::render(&app), theme.palette);
        std::fs::write(file, picture).map_err(|error| {
            Fault::new(Kind::Operator, format!("cannot write {}", file.display()))
                .because(&error)
                .next("check that you may write there")
        })?;
        Ok(Verdict::Done)
    })
}

/// The dashboard of the farm that this process runs.
pub(super) fn front(looks: &args::Looks, socket: PathBuf, dir: PathBuf) -> Result<()> {
    let connect: Connect = Arc::new(move || {
        let socket = socket.clone();
        Box::pin(async move { Client::connect(&socket).await })
    });
    shell::run(Options {
        connect,
        theme: theme(looks, &environment())?,
        mouse: !looks.no_mouse,
        farm_here: true,
        command: None,
        program: Program {
            lead: vec!["--dir".to_owned(), dir.display().to_string()],
        },
    })
}
