//! Pages of text with places to go to: titles, fields, wrapped words, links. Built when its content changes, drawn from
//! the line on where a person stands.

use unicode_width::UnicodeWidthChar;

use super::list::Line;
use super::page::Page;
use super::pen::Pen;
use super::theme::Ink;
use crate::cli::text;

/// Lines of one page: longer ones say that they were cut.
const LINES_MAX: usize = 20_000;
/// Columns of a field's name.
const NAME: usize = 13;

/// One line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DocLine {
    /// Its pieces.
    pub spans: Vec<(Ink, String)>,
    /// It is a title with a rule.
    pub title: bool,
    /// Where Enter leads.
    pub link: Option<Page>,
    /// What Enter gives to the terminal's clipboard.
    pub copy: Option<String>,
}

impl DocLine {
    /// Whether a person can stand here and do something.
    pub fn is_place(&self) -> bool {
        self.link.is_some() || self.copy.is_some()
    }
}

/// A page of text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Doc {
    /// Its lines.
    pub lines: Vec<DocLine>,
    width: usize,
}

impl Doc {
    /// An empty page of this width.
    pub fn new(width: u16) -> Doc {
        Doc {
            lines: Vec::new(),
            width: usize::from(width).max(20),
        }
    }

    /// Columns of a line.
    pub fn width(&self) -> usize {
        self.width
    }

    fn push(&mut self, line: DocLine) {
        match self.lines.len() {
            0..LINES_MAX => self.lines.push(line),
            LINES_MAX => self.lines.push(DocLine {
                spans: vec![(Ink::Warn, "(the rest is left out)".into())],
                ..DocLine::default()
            }),
            _ => {}
        }
    }

    /// An empty line.
    pub fn gap(&mut self) {
        if !self.lines.is_empty() {
            self.push(DocLine::default());
        }
    }

    /// A title, with a gap before it.
    pub fn title(&mut self, words: impl Into<String>) {
        self.gap();
        self.push(DocLine {
            spans: vec![(Ink::Title, words.into())],
            title: true,
            ..DocLine::default()
        });
    }

    /// `name  value`, wrapped under itself; nothing for an empty value.
    pub fn field(&mut self, name: &str, value: impl AsRef<str>) {
        self.field_as(name, Ink::Plain, value, None);
    }

    /// The same in another look, with somewhere to go to.
    pub fn field_as(&mut self, name: &str, ink: Ink, value: impl AsRef<str>, link: Option<Page>) {
        let value = value.as_ref();
        if value.is_empty() {
            return;
        }
        let room = self.width.saturating_sub(NAME + 1);
        for (at, piece) in wrap(value, room).into_iter().enumerate() {
            let name = if at == 0 { name } else { "" };
            self.push(DocLine {
                spans: vec![(Ink::Faint, format!("{name:<NAME$} ")), (ink, piece)],
                link: link.clone(),
                ..DocLine::default()
            });
        }
    }

    /// Words, wrapped.
    pub fn words(&mut self, ink: Ink, words: impl AsRef<str>) {
        self.item(&[], ink, words, None);
    }

    /// Words behind a lead that stands in the first line only, wrapped under themselves.
    pub fn item(
        &mut self,
        lead: &[(Ink, &str)],
        ink: Ink,
        words: impl AsRef<str>,
        link: Option<Page>,
    ) {
        let indent: usize = lead.iter().map(|(_, lead)| super::pen::columns(lead)).sum();
        let room = self.width.saturating_sub(indent).max(10);
        for (at, piece) in wrap(words.as_ref(), room).into_iter().enumerate() {
            let mut spans: Vec<(Ink, String)> = if at == 0 {
                lead.iter()
                    .map(|(ink, lead)| (*ink, (*lead).to_owned()))
                    .collect()
            } else {
                vec![(Ink::Plain, " ".repeat(indent))]
            };
            spans.push((ink, piece));
            self.push(DocLine {
                spans,
                link: link.clone(),
                ..DocLine::default()
            });
        }
    }

    /// A line as it is; what does not fit is cut.
    pub fn line(&mut self, spans: Vec<(Ink, String)>, link: Option<Page>) {
        self.push(DocLine {
            spans,
            link,
            ..DocLine::default()
        });
    }

    /// What was written from this line on can be copied, as these words.
    pub fn offer(&mut self, from: usize, words: &str) {
        if let Some(line) = self.lines.get_mut(from) {
            line.copy = Some(words.to_owned());
        }
    }

    /// Its lines as a list to stand in.
    pub fn as_list(&self) -> Vec<Line> {
        (0..self.lines.len() as u64).map(Line::Row).collect()
    }
}

/// Breaks words into lines of at most so many columns; line ends stay, and everything unsafe is shown.
pub fn wrap(words: &str, room: usize) -> Vec<String> {
    let room = room.max(1);
    let mut lines = Vec::new();
    for given in text::block(words).split('\n') {
        let mut line = String::new();
        let mut used = 0;
        // Where the line may be broken, and the columns up to there.
        let mut space: Option<usize> = None;
        for c in given.chars() {
            let wide = c.width().unwrap_or(0);
            if used + wide > room && c == ' ' {
                // The line ends where a space would stand: nothing is lost by leaving it out.
                lines.push(std::mem::take(&mut line));
                used = 0;
                space = None;
                continue;
            }
            if used + wide > room {
                let rest = match space {
                    Some(at) => line.split_off(at).trim_start().to_owned(),
                    None => String::new(),
                };
                lines.push(line.trim_end().to_owned());
                if lines.len() > LINES_MAX {
                    return lines;
                }
                used = text::width(&rest);
                line = rest;
                space = None;
            }
            if c == ' ' {
                space = Some(line.len());
            }
            line.push(c);
            used += wide;
        }
        lines.push(line);
    }
    lines
}

/// Draws the lines from `offset` on; the one at `selected` is where a person stands.
pub fn draw(pen: &mut Pen<'_>, doc: &Doc, offset: usize, selected: Option<usize>) {
    let width = pen.width();
    for y in 0..pen.height() {
        let at = offset + usize::from(y);
        let Some(line) = doc.lines.get(at) else { break };
        if line.title {
            let title = line.spans.first().map_or("", |(_, words)| words.as_str());
            pen.heading(y, title, "");
        } else {
            let mut x = 0;
            for (ink, words) in &line.spans {
                let ink = match (ink, &line.link) {
                    (Ink::Plain, Some(_)) => Ink::Key,
                    (ink, _) => *ink,
                };
                x += pen.text(x, y, width.saturating_sub(x), words, ink);
            }
        }
        if selected == Some(at) && line.is_place() {
            pen.tint(y, Ink::Selected);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_wrapped_at_spaces_and_within_long_ones() {
        for (words, room, lines) in [
            ("one two three", 7, vec!["one two", "three"]),
            ("abcdefghij k", 4, vec!["abcd", "efgh", "ij k"]),
            ("a\n\nb", 9, vec!["a", "", "b"]),
            ("日本語", 4, vec!["日本", "語"]),
            ("a\u{1b}b", 9, vec!["a\\x1bb"]),
            ("", 5, vec![""]),
            ("xy", 0, vec!["x", "y"]),
        ] {
            assert_eq!(wrap(words, room), lines, "{words:?} in {room}");
        }
    }
}
