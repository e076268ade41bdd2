//! What a verb prints: a table or text for people, JSON or ids for scripts. Everything goes through here, so that a
//! closed pipe ends the program quietly and nothing from outside reaches a terminal raw.

use std::io::{IsTerminal, Write};

use serde::Serialize;

use super::text;
use crate::fault::{Fault, Result};

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Tables and sentences.
    People,
    /// JSON.
    Json,
    /// Ids only, one a line.
    Ids,
}

/// Where and how to print.
#[derive(Debug, Clone)]
pub(super) struct Out {
    pub(super) style: Style,
    /// Standard output is a terminal.
    pub(super) terminal: bool,
    /// Its columns.
    columns: usize,
    colours: bool,
}

/// What a piece of text means; colour and nothing else depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Bad,
    Warn,
    Busy,
    Faint,
    Strong,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Tone::Plain => "",
            Tone::Good => "\x1b[32m",
            Tone::Bad => "\x1b[31m",
            Tone::Warn => "\x1b[33m",
            Tone::Busy => "\x1b[36m",
            Tone::Faint => "\x1b[2m",
            Tone::Strong => "\x1b[1m",
        }
    }
}

/// Columns of the terminal that standard output is; 80 when it does not say.
fn terminal_columns() -> usize {
    crossterm::terminal::size()
        .map_or(80, |(columns, _)| usize::from(columns))
        .max(20)
}

/// Whether colours are welcome: on a terminal that is not dumb, and without `NO_COLOR`.
pub(super) fn colours_welcome(terminal: bool) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    terminal && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

impl Out {
    pub(super) fn new(style: Style) -> Out {
        let terminal = std::io::stdout().is_terminal();
        Out {
            style,
            terminal,
            columns: terminal_columns(),
            colours: colours_welcome(terminal),
        }
    }

    pub(super) fn json(&self) -> bool {
        self.style == Style::Json
    }

    /// Writes bytes as they are. A reader that has seen enough (`| head`) ends the program without a word.
    pub(super) fn raw(&self, bytes: &[u8]) {
        let write = || {
            let mut out = std::io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush())
        };
        // On a terminal a line may live below what was printed.
        let written = if self.terminal {
            super::wait::above(write)
        } else {
            write()
        };
        if written.is_err() {
            std::process::exit(0);
        }
    }

    /// One line of our own words with words from outside in it.
    pub(super) fn line(&self, words: impl AsRef<str>) {
        let safe = text::block(words.as_ref());
        let safe = if self.terminal {
            safe
        } else {
            text::ascii(&safe).into_owned()
        };
        self.raw(format!("{safe}\n").as_bytes());
    }

    /// A line in a tone.
    pub(super) fn toned(&self, tone: Tone, words: impl AsRef<str>) {
        if self.colours && tone != Tone::Plain {
            let safe = text::block(words.as_ref());
            self.raw(format!("{}{safe}\x1b[0m\n", tone.code()).as_bytes());
        } else {
            self.line(words);
        }
    }

    /// `name: value`, names aligned, long values wrapped under themselves on a terminal; nothing for an empty value.
    pub(super) fn field(&self, name: &str, value: impl AsRef<str>) {
        const NAME: usize = 14;
        let value = value.as_ref();
        if value.is_empty() {
            return;
        }
        let safe = text::block(value);
        let room = if self.terminal {
            self.columns.saturating_sub(NAME).max(20)
        } else {
            usize::MAX
        };
        for (at, line) in wrap(&safe, room).iter().enumerate() {
            let label = if at == 0 {
                format!("{name}:")
            } else {
                String::new()
            };
            if self.colours {
                self.raw(format!("\x1b[2m{label:<NAME$}\x1b[0m{line}\n").as_bytes());
            } else {
                self.line(format!("{label:<NAME$}{line}"));
            }
        }
    }

    /// JSON, indented, so that people can read it too.
    pub(super) fn value<T: Serialize>(&self, value: &T) -> Result<()> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Fault::bug("cannot write JSON").because(&error))?;
        self.raw(format!("{text}\n").as_bytes());
        Ok(())
    }

    /// JSON in one line, for streams.
    pub(super) fn value_line<T: Serialize>(&self, value: &T) -> Result<()> {
        let text = serde_json::to_string(value)
            .map_err(|error| Fault::bug("cannot write JSON").because(&error))?;
        self.raw(format!("{text}\n").as_bytes());
        Ok(())
    }

    /// A table; on a terminal fitted to its width, in a pipe in full and without a header when it has no rows.
    pub(super) fn table(&self, table: &Table) {
        let widths = table.widths(if self.terminal {
            Some(self.columns)
        } else {
            None
        });
        self.row(
            table
                .columns
                .iter()
                .map(|column| (column.name.to_owned(), Tone::Faint)),
            &widths,
            table,
        );
        for row in &table.rows {
            self.row(row.iter().cloned(), &widths, table);
        }
    }

    fn row(&self, cells: impl Iterator<Item = (String, Tone)>, widths: &[usize], table: &Table) {
        let mut out = String::new();
        let last = widths.len().saturating_sub(1);
        for (at, ((cell, tone), (width, column))) in
            cells.zip(widths.iter().zip(&table.columns)).enumerate()
        {
            let cell = text::fit(&cell, *width);
            let pad = " ".repeat(width.saturating_sub(text::width(&cell)));
            let coloured = if self.colours && tone != Tone::Plain {
                format!("{}{cell}\x1b[0m", tone.code())
            } else {
                cell.into_owned()
            };
            match (column.side, at == last) {
                (Side::Left, true) => out.push_str(&coloured),
                (Side::Left, false) => out.push_str(&format!("{coloured}{pad}  ")),
                (Side::Right, true) => out.push_str(&format!("{pad}{coloured}")),
                (Side::Right, false) => out.push_str(&format!("{pad}{coloured}  ")),
            }
        }
        let out = out.trim_end();
        let out = if self.terminal {
            out.into()
        } else {
            text::ascii(out)
        };
        self.raw(format!("{out}\n").as_bytes());
    }
}

/// The lines of a text in so many columns, broken between words.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && text::width(&line) + 1 + text::width(word) > columns {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

/// Where a column's text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

#[derive(Debug)]
struct Column {
    name: &'static str,
    side: Side,
    /// May be made narrower than its texts.
    shrinks: bool,
}

/// Rows of cells under named columns.
#[derive(Debug, Default)]
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<(String, Tone)>>,
}

impl Table {
    pub(super) fn new() -> Table {
        Table::default()
    }

    /// A column whose texts are shown whole.
    pub(super) fn column(mut self, name: &'static str) -> Table {
        self.columns.push(Column {
            name,
            side: Side::Left,
            shrinks: false,
        });
        self
    }

    /// A column of numbers.
    pub(super) fn number(mut self, name: &'static str) -> Table {
        self.columns.push(Column {
            name,
            side: Side::Right,
            shrinks: false,
        });
        self
    }

    /// A column whose texts are cut when there is no room.
    pub(super) fn words(mut self, name: &'static str) -> Table {
        self.columns.push(Column {
            name,
            side: Side::Left,
            shrinks: true,
        });
        self
    }

    /// A row; the cells' texts may come from outside.
    pub(super) fn row<const N: usize>(&mut self, cells: [(String, Tone); N]) {
        let cells = cells
            .into_iter()
            .map(|(cell, tone)| (text::line(&cell).into_owned(), tone));
        self.rows.push(cells.collect());
    }

    /// Widths of the columns, together at most `room` if the words can give way.
    fn widths(&self, room: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<usize> = self
            .columns
            .iter()
            .map(|column| text::width(column.name))
            .collect();
        for row in &self.rows {
            for (width, (cell, _)) in widths.iter_mut().zip(row) {
                *width = (*width).max(text::width(cell));
            }
        }
        let Some(room) = room else { return widths };
        let gaps = 2 * widths.len().saturating_sub(1);
        // The widest of the words gives way first, down to a width that still tells something.
        const LEAST: usize = 8;
        loop {
            let total: usize = widths.iter().sum::<usize>() + gaps;
            let widest = self
                .columns
                .iter()
                .zip(widths.iter_mut())
                .filter(|(column, width)| column.shrinks && **width > LEAST)
                .max_by_key(|(_, width)| **width);
            match widest {
                Some((_, width)) if total > room => {
                    *width -= (total - room).min((*width - LEAST).min(4))
                }
                _ => return widths,
            }
        }
    }
}

/// A cell in a tone.
pub(super) fn cell(text: impl ToString, tone: Tone) -> (String, Tone) {
    (text.to_string(), tone)
}

/// A cell without a tone.
pub(super) fn plain(text: impl ToString) -> (String, Tone) {
    (text.to_string(), Tone::Plain)
}

/// A cell for something that may be unknown.
pub(super) fn known(text: Option<impl ToString>) -> (String, Tone) {
    match text {
        Some(text) => plain(text),
        None => cell("?", Tone::Faint),
    }
}

/// Prints an error for people: what, whose move, the next step.
pub(super) fn print_fault(fault: &Fault) {
    let terminal = std::io::stderr().is_terminal();
    let (red, off) = if colours_welcome(terminal) {
        ("\x1b[31m", "\x1b[0m")
    } else {
        ("", "")
    };
    let shown = text::block(&fault.to_string());
    let shown = if terminal {
        shown
    } else {
        text::ascii(&shown).into_owned()
    };
    // Nobody is left to tell when standard error is gone.
    let _ = writeln!(std::io::stderr(), "{red}massif: {off}{shown}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_give_way_to_the_terminals_width_and_ids_do_not() {
        let mut table = Table::new().number("id").words("why");
        table.row([plain(123_456), plain("x".repeat(100))]);
        assert_eq!(table.widths(None), [6, 100]);
        assert_eq!(table.widths(Some(40)), [6, 32]);
        assert_eq!(table.widths(Some(5)), [6, 8]);
    }

    #[test]
    fn long_texts_wrap_between_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("a\nb", 7), ["a", "b"]);
        assert_eq!(wrap("abcdefghij k", 4), ["abcdefghij", "k"]);
    }
}
