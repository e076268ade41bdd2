//! Writes into a buffer of cells: text from anywhere, made harmless and cut at its place's edge. Nothing else of the
//! dashboard puts a character on the screen.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use unicode_width::UnicodeWidthChar;

use super::theme::{Graphs, Ink, Sign, Theme};
use crate::cli::text;

/// Marks that stand on one letter at most: more of them reach into the lines above.
const MARKS_MAX: usize = 2;

/// A place on the screen. Coordinates count from its own corner.
pub struct Pen<'a> {
    buffer: &'a mut Buffer,
    /// The looks.
    pub theme: &'a Theme,
    area: Rect,
}

/// Columns that a text takes once it is harmless.
pub fn columns(words: &str) -> usize {
    let mut count = 0;
    for c in words.chars() {
        count += if text::is_unsafe(c) {
            text::line(c.encode_utf8(&mut [0; 4])).len()
        } else {
            c.width().unwrap_or(0)
        };
    }
    count
}

impl<'a> Pen<'a> {
    /// A pen for this part of the buffer.
    pub fn new(buffer: &'a mut Buffer, theme: &'a Theme, area: Rect) -> Pen<'a> {
        let area = area.intersection(*buffer.area());
        Pen {
            buffer,
            theme,
            area,
        }
    }

    /// Columns.
    pub fn width(&self) -> u16 {
        self.area.width
    }

    /// Rows.
    pub fn height(&self) -> u16 {
        self.area.height
    }

    /// A part of this place.
    pub fn part(&mut self, x: u16, y: u16, width: u16, height: u16) -> Pen<'_> {
        let x = x.min(self.area.width);
        let y = y.min(self.area.height);
        let area = Rect {
            x: self.area.x + x,
            y: self.area.y + y,
            width: width.min(self.area.width - x),
            height: height.min(self.area.height - y),
        };
        Pen {
            buffer: self.buffer,
            theme: self.theme,
            area,
        }
    }

    /// The rows from here on.
    pub fn below(&mut self, y: u16) -> Pen<'_> {
        self.part(0, y, self.area.width, self.area.height)
    }

    /// Writes a text in at most so many columns; the columns that it took. A sign stands where it was cut.
    pub fn text(&mut self, x: u16, y: u16, width: u16, words: &str, ink: Ink) -> u16 {
        let room = width.min(self.area.width.saturating_sub(x));
        if room == 0 || y >= self.area.height {
            return 0;
        }
        let style = self.theme.style(ink);
        let mut used = 0;
        let mut marks = 0;
        let mut escape = String::new();
        for c in words.chars() {
            let shown: &str = if text::is_unsafe(c) || self.theme.ascii && !c.is_ascii() {
                escape.clear();
                escape.push(c);
                escape = if text::is_unsafe(c) {
                    text::line(&escape).into_owned()
                } else {
                    text::ascii(&escape).into_owned()
                };
                &escape
            } else {
                match c.width().unwrap_or(0) {
                    0 => {
                        // A mark on the letter before it; what chooses another look of it is left out.
                        marks += 1;
                        let chooses =
                            matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}');
                        if used > 0 && marks <= MARKS_MAX && !chooses {
                            self.mark(x + used - 1, y, c);
                        }
                        continue;
                    }
                    _ => {
                        marks = 0;
                        escape.clear();
                        escape.push(c);
                        &escape
                    }
                }
            };
            for c in shown.chars() {
                let wide = u16::try_from(c.width().unwrap_or(0)).unwrap_or(0);
                if used + wide > room {
                    self.cut(x, y, used.min(room), room);
                    return room;
                }
                self.put(x + used, y, c, wide, style);
                used += wide;
            }
        }
        used
    }

    fn put(&mut self, x: u16, y: u16, c: char, wide: u16, style: ratatui::style::Style) {
        let at = (self.area.x + x, self.area.y + y);
        if let Some(cell) = self.buffer.cell_mut(at) {
            cell.set_char(c).set_style(style);
        }
        // What a wide character covers must not show through.
        for covered in 1..wide {
            if let Some(cell) = self.buffer.cell_mut((at.0 + covered, at.1)) {
                cell.reset();
                cell.set_style(style);
            }
        }
    }

    fn mark(&mut self, x: u16, y: u16, c: char) {
        let at = (self.area.x + x, self.area.y + y);
        if let Some(cell) = self.buffer.cell_mut(at) {
            let with = format!("{}{c}", cell.symbol());
            cell.set_symbol(&with);
        }
    }

    /// Puts the sign for "cut" into the last column of the room, over half of a wide character if need be.
    fn cut(&mut self, x: u16, y: u16, used: u16, room: u16) {
        let style = self.theme.style(Ink::Faint);
        let sign = self.theme.sign(Sign::More);
        let last = room - 1;
        let row = self.area.y + y;
        if used == room
            && last > 0
            && let Some(cell) = self.buffer.cell_mut((self.area.x + x + last - 1, row))
            && cell
                .symbol()
                .chars()
                .next()
                .and_then(UnicodeWidthChar::width)
                == Some(2)
        {
            cell.set_symbol(" ");
        }
        if let Some(cell) = self.buffer.cell_mut((self.area.x + x + last, row)) {
            cell.set_symbol(sign).set_style(style);
        }
    }

    /// Writes a text at the right edge of its columns.
    pub fn right(&mut self, x: u16, y: u16, width: u16, words: &str, ink: Ink) {
        let taken = u16::try_from(columns(words)).unwrap_or(u16::MAX).min(width);
        self.text(x + width - taken, y, taken, words, ink);
    }

    /// Texts one after another; the columns that they took.
    pub fn spans(&mut self, x: u16, y: u16, width: u16, spans: &[(Ink, &str)]) -> u16 {
        let mut used = 0;
        for (ink, words) in spans {
            if used >= width {
                break;
            }
            used += self.text(x + used, y, width - used, words, *ink);
        }
        used
    }

    /// Gives a whole row a look, on top of what stands there.
    pub fn tint(&mut self, y: u16, ink: Ink) {
        if y < self.area.height {
            let row = Rect {
                x: self.area.x,
                y: self.area.y + y,
                width: self.area.width,
                height: 1,
            };
            let style = self.theme.style(ink);
            self.buffer.set_style(row, style);
        }
    }

    /// Empties the whole place.
    pub fn clear(&mut self) {
        for y in self.area.top()..self.area.bottom() {
            for x in self.area.left()..self.area.right() {
                if let Some(cell) = self.buffer.cell_mut((x, y)) {
                    cell.reset();
                }
            }
        }
    }

    /// A title with a line to the right edge, and a note at its end.
    pub fn heading(&mut self, y: u16, title: &str, note: &str) {
        let width = self.width();
        let used = self.text(0, y, width, title, Ink::Title) + 1;
        let note_width = u16::try_from(columns(note)).unwrap_or(0);
        let note_width = if note_width == 0 { 0 } else { note_width + 1 };
        let rule = self.theme.sign(Sign::Rule);
        let end = width.saturating_sub(note_width);
        for x in used..end {
            self.text(x, y, 1, rule, Ink::Faint);
        }
        if note_width > 0 && end > used {
            self.text(end + 1, y, note_width, note, Ink::Faint);
        }
    }

    /// How much of something, 0 to 1.
    pub fn gauge(&mut self, x: u16, y: u16, width: u16, part: f64, ink: Ink) {
        let part = if part.is_finite() {
            part.clamp(0.0, 1.0)
        } else {
            0.0
        };
        let plain = self.theme.ascii || self.theme.graphs == Graphs::Plain;
        let eighths = (part * f64::from(width) * 8.0).round() as u32;
        for at in 0..width {
            let filled = eighths.saturating_sub(u32::from(at) * 8).min(8);
            let (glyph, ink) = match (plain, filled) {
                (true, 4..) => ("#", ink),
                (true, _) => (".", Ink::Faint),
                (false, 8) => ("█", ink),
                (false, 7) => ("▉", ink),
                (false, 6) => ("▊", ink),
                (false, 5) => ("▋", ink),
                (false, 4) => ("▌", ink),
                (false, 3) => ("▍", ink),
                (false, 2) => ("▎", ink),
                (false, 1) => ("▏", ink),
                (false, _) => ("·", Ink::Faint),
            };
            self.text(x + at, y, 1, glyph, ink);
        }
    }

    /// A row of small bars, the newest at the right edge, scaled to the largest.
    pub fn spark(&mut self, x: u16, y: u16, width: u16, values: &[f64], ink: Ink) {
        const BLOCKS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
        const PLAIN: [&str; 5] = [" ", ".", ":", "+", "#"];
        const LEFT: [u32; 5] = [0, 0x40, 0x44, 0x46, 0x47];
        const RIGHT: [u32; 5] = [0, 0x80, 0xa0, 0xb0, 0xb8];
        let largest = values.iter().copied().fold(0.0_f64, f64::max);
        let level = |value: f64, steps: usize| -> usize {
            if value <= 0.0 || largest <= 0.0 {
                return 0;
            }
            ((value / largest * steps as f64).ceil() as usize).clamp(1, steps)
        };
        let braille = self.theme.graphs == Graphs::Braille && !self.theme.ascii;
        let plain = self.theme.graphs == Graphs::Plain || self.theme.ascii;
        let per_column = if braille { 2 } else { 1 };
        let fits = usize::from(width) * per_column;
        let shown = values
            .get(values.len().saturating_sub(fits)..)
            .unwrap_or(values);
        let lead = usize::from(width) - shown.len().div_ceil(per_column).min(usize::from(width));
        for (at, pair) in shown.chunks(per_column).enumerate() {
            let place = x + u16::try_from(lead + at).unwrap_or(u16::MAX);
            let first = pair.first().copied().unwrap_or(0.0);
            if braille {
                let second = pair.get(1).copied().unwrap_or(0.0);
                let dots = LEFT.get(level(first, 4)).unwrap_or(&0)
                    | RIGHT.get(level(second, 4)).unwrap_or(&0);
                let glyph = char::from_u32(0x2800 + dots).unwrap_or(' ');
                self.text(place, y, 1, glyph.encode_utf8(&mut [0; 4]), ink);
            } else if plain {
                let glyph = PLAIN.get(level(first, 4)).unwrap_or(&" ");
                self.text(place, y, 1, glyph, ink);
            } else {
                let glyph = BLOCKS.get(level(first, 8)).unwrap_or(&" ");
                self.text(place, y, 1, glyph, ink);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(width: u16, words: &str, theme: Theme) -> String {
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, 1));
        let area = *buffer.area();
        Pen::new(&mut buffer, &theme, area).text(0, 0, width, words, Ink::Plain);
        buffer.content().iter().map(|cell| cell.symbol()).collect()
    }

    #[test]
    fn nothing_leaves_its_place_or_reaches_the_terminal_raw() {
        let rich = Theme::default();
        for (width, words, shown) in [
            (8, "plain", "plain   "),
            (4, "plain", "pla…"),
            (8, "a\u{1b}[31m", "a\\x1b[3…"),
            (8, "\u{202e}x", "\\u{202e…"),
            (5, "日本語", "日 本 …"),
            (4, "日本語", "日  …"),
            (3, "e\u{301}\u{301}\u{301}\u{301}x", "e\u{301}\u{301}x "),
            (3, "\u{301}x", "x  "),
            (3, "☂\u{fe0f}x", "☂x "),
        ] {
            let got = written(width, words, rich);
            assert_eq!(got, shown, "{words:?} in {width}");
        }
        assert_eq!(written(6, "é", Theme::plain()), "\\xe9  ");
        assert_eq!(written(1, "ab", Theme::plain()), "~");
        assert_eq!(written(3, &"x".repeat(10_000), rich), "xx…");
    }

    #[test]
    fn graphs_fill_their_columns_in_each_style() {
        for (graphs, shown) in [
            (Graphs::Block, "  ▄█"),
            (Graphs::Plain, "  :#"),
            (Graphs::Braille, "   ⢼"),
        ] {
            let theme = Theme {
                graphs,
                ..Theme::default()
            };
            let mut buffer = Buffer::empty(Rect::new(0, 0, 4, 1));
            let area = *buffer.area();
            Pen::new(&mut buffer, &theme, area).spark(0, 0, 4, &[1.0, 2.0], Ink::Busy);
            let got: String = buffer.content().iter().map(|cell| cell.symbol()).collect();
            assert_eq!(got.chars().count(), shown.chars().count(), "{got:?}");
            assert_eq!(got.chars().next(), Some(' '));
            assert_ne!(got.chars().last(), Some(' '));
        }
    }
}
