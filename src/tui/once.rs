//! The screen without a terminal: as text, as JSON, as a picture.

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};
use tokio::sync::mpsc;

use super::app::App;
use super::asking;
use super::data::Data;
use super::link::{self, Connect};
use super::run::{self, Program};
use super::theme::Theme;
use super::{draw, views};
use crate::fault::{Fault, Result};
use crate::id::{Now, Stamp};

/// The time, once.
pub fn now() -> Now {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Now {
        wall: Stamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
        mono_ms: 0,
    }
}

/// Everything that the host tells, asked for once.
///
/// # Errors
///
/// The host cannot be asked.
pub async fn read(connect: &Connect) -> Result<Data> {
    let (tell, mut hear) = mpsc::channel(64);
    let mut data = Data::default();
    let reading = async move { link::snapshot(connect, &tell).await };
    let hearing = async {
        while let Some(news) = hear.recv().await {
            data.hear(news, now());
        }
    };
    let (read, ()) = tokio::join!(reading, hearing);
    read?;
    Ok(data)
}

/// The first page of this data.
pub fn first_page(data: Data, theme: Theme, size: (u16, u16)) -> App {
    let mut app = App::new(theme, size, now());
    app.data = data;
    app.relist();
    app
}

/// The first page without the frame of the dashboard.
pub fn page(data: Data, theme: Theme, columns: u16) -> Buffer {
    // Rows for everything that a person has to read; what is empty at the end is not printed.
    let mut app = first_page(data, theme, (columns.max(draw::LEAST.0), 40));
    if let Some(sheet) = app.stack.last_mut() {
        // Nobody stands anywhere.
        sheet.spot.at = usize::MAX;
    }
    let place = draw::body(app.size);
    let area = ratatui::layout::Rect::new(0, 0, place.width, place.height);
    let mut buffer = Buffer::empty(area);
    let mut pen = super::pen::Pen::new(&mut buffer, &app.theme, area);
    views::draw(&mut pen, &app);
    buffer
}

/// A buffer as lines of text in colours, without what is empty at the end.
pub fn coloured(buffer: &Buffer) -> String {
    let area = *buffer.area();
    let rows = lines(buffer).lines().count();
    let mut out = String::new();
    for y in (area.top()..area.bottom()).take(rows) {
        let mut look = Style::reset();
        let mut x = area.left();
        let full = (area.left()..area.right()).rev().find(|x| {
            buffer
                .cell((*x, y))
                .is_some_and(|cell| cell.symbol() != " ")
        });
        while let Some(cell) = buffer
            .cell((x, y))
            .filter(|_| full.is_some_and(|full| x <= full))
        {
            if cell.style() != look {
                look = cell.style();
                out.push_str(&sequence(cell));
            }
            out.push_str(cell.symbol());
            x += u16::try_from(crate::cli::text::width(cell.symbol()).max(1)).unwrap_or(1);
        }
        out.push_str("\x1b[0m\n");
    }
    out
}

/// What makes a terminal write as this cell looks.
fn sequence(cell: &ratatui::buffer::Cell) -> String {
    let mut codes = vec!["0".to_owned()];
    for (modifier, code) in [
        (Modifier::BOLD, "1"),
        (Modifier::DIM, "2"),
        (Modifier::REVERSED, "7"),
    ] {
        if cell.modifier.contains(modifier) {
            codes.push(code.to_owned());
        }
    }
    match cell.fg {
        Color::Red => codes.push("31".into()),
        Color::Green => codes.push("32".into()),
        Color::Yellow => codes.push("33".into()),
        Color::Blue => codes.push("34".into()),
        Color::Magenta => codes.push("35".into()),
        Color::Cyan => codes.push("36".into()),
        Color::DarkGray => codes.push("90".into()),
        Color::Rgb(red, green, blue) => codes.push(format!("38;2;{red};{green};{blue}")),
        _ => {}
    }
    format!("\x1b[{}m", codes.join(";"))
}

/// A buffer as lines of text, without what is empty at the end.
pub fn lines(buffer: &Buffer) -> String {
    let area = *buffer.area();
    let mut out = String::new();
    for y in area.top()..area.bottom() {
        let mut line = String::new();
        let mut x = area.left();
        while x < area.right() {
            let Some(cell) = buffer.cell((x, y)) else {
                break;
            };
            line.push_str(cell.symbol());
            x += u16::try_from(crate::cli::text::width(cell.symbol()).max(1)).unwrap_or(1);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    let end = out.trim_end_matches('\n').len();
    out.truncate(end);
    out.push('\n');
    out
}

/// The same as JSON: the host's own shapes.
///
/// # Errors
///
/// A value that JSON cannot hold, which is a bug of ours.
pub fn json(data: &Data) -> Result<serde_json::Value> {
    let value = |error: serde_json::Error| Fault::bug("cannot write JSON").because(&error);
    let list = |rows: Vec<serde_json::Result<serde_json::Value>>| -> Result<serde_json::Value> {
        let rows: serde_json::Result<Vec<_>> = rows.into_iter().collect();
        rows.map(serde_json::Value::Array).map_err(value)
    };
    let jobs = data
        .jobs()
        .filter(|job| !job.state.is_final() || job.state == crate::admin::view::JobState::Failed);
    let status = match &data.status {
        Some(status) => serde_json::to_value(status.as_ref()).map_err(value)?,
        None => serde_json::Value::Null,
    };
    let last = data.events.iter().rev().take(50);
    Ok(serde_json::json!({
        "schema": crate::admin::SCHEMA,
        "status": status,
        "jobs": list(jobs.map(|job| serde_json::to_value(job.as_ref())).collect())?,
        "peers": list(data.peers.iter().map(|peer| serde_json::to_value(peer.as_ref())).collect())?,
        "builders": list(data.builders.iter().map(|builder| serde_json::to_value(builder.as_ref())).collect())?,
        "events": list(last.map(|event| serde_json::to_value(event.as_ref())).collect())?,
    }))
}

/// The screen that a command leads to, once everything on it is answered.
///
/// # Errors
///
/// The host cannot be asked.
pub async fn screen(
    connect: &Connect,
    theme: Theme,
    size: (u16, u16),
    command: Option<&str>,
    program: &Program,
) -> Result<App> {
    let mut app = first_page(read(connect).await?, theme, size);
    if let Some(command) = command {
        super::shell::type_command(&mut app, command);
    }
    let (tell, mut hear) = mpsc::channel(64);
    let (ask, asked) = mpsc::channel(64);
    tokio::spawn(asking::answer(connect.clone(), tell.clone(), asked));
    let mut open = 0_usize;
    // What the answers ask for in turn is bounded too: a log that grows for ever is no screen.
    for _ in 0..64 {
        for effect in app.take_effects() {
            let super::app::Effect::Ask(ticket, question) = effect else {
                continue;
            };
            if let Some(words) = run::words_of(&question) {
                program.start(ticket, words.to_vec(), tell.clone());
                open += 1;
            } else if ask.try_send((ticket, question)).is_ok() {
                open += 1;
            }
        }
        if open == 0 {
            break;
        }
        match tokio::time::timeout(std::time::Duration::from_secs(10), hear.recv()).await {
            Ok(Some(news)) => {
                open -= 1;
                app.hear(news);
            }
            Ok(None) | Err(_) => break,
        }
    }
    app.relist();
    Ok(app)
}
