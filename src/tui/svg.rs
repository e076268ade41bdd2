//! The screen as a picture: each run of cells of one look as text in SVG, so that it stays sharp and can be searched.

use std::fmt::Write;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use super::theme::Palette;

/// Width and height of a cell in the picture.
const CELL: (f64, f64) = (8.4, 18.0);
/// Around the screen.
const EDGE: f64 = 12.0;

fn named(colour: Color, light: bool) -> Option<&'static str> {
    Some(match colour {
        Color::Red => {
            if light {
                "#b42318"
            } else {
                "#ff7a66"
            }
        }
        Color::Green => {
            if light {
                "#046c4e"
            } else {
                "#7fd9a8"
            }
        }
        Color::Yellow => {
            if light {
                "#9a5700"
            } else {
                "#f2c14e"
            }
        }
        Color::Blue => {
            if light {
                "#2f3f9e"
            } else {
                "#9db8ff"
            }
        }
        Color::Magenta => {
            if light {
                "#8a1c7c"
            } else {
                "#e29bff"
            }
        }
        Color::Cyan => {
            if light {
                "#0b5ca8"
            } else {
                "#6cc4f5"
            }
        }
        Color::DarkGray => {
            if light {
                "#6b7280"
            } else {
                "#8a93a0"
            }
        }
        _ => return None,
    })
}

fn colour(colour: Color, light: bool) -> Option<String> {
    match colour {
        Color::Rgb(red, green, blue) => Some(format!("#{red:02x}{green:02x}{blue:02x}")),
        other => named(other, light).map(str::to_owned),
    }
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
}

fn width_of(cell: &Cell) -> usize {
    crate::cli::text::width(cell.symbol()).max(1)
}

/// The picture of a screen.
pub fn picture(buffer: &Buffer, palette: Palette) -> String {
    let light = matches!(palette, Palette::Light | Palette::TrueLight);
    let (paper, text) = if light {
        ("#ffffff", "#1f2328")
    } else {
        ("#12151a", "#d7dce3")
    };
    let area = *buffer.area();
    let size = (
        f64::from(area.width) * CELL.0 + 2.0 * EDGE,
        f64::from(area.height) * CELL.1 + 2.0 * EDGE,
    );
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {:.0} {:.0}" font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace" font-size="14">"#,
        size.0, size.1
    );
    let _ = writeln!(
        out,
        r#"<rect width="100%" height="100%" rx="8" fill="{paper}"/>"#
    );
    for y in area.top()..area.bottom() {
        let mut x = area.left();
        while x < area.right() {
            let Some(first) = buffer.cell((x, y)) else {
                break;
            };
            let from = x;
            let mut words = String::new();
            while let Some(cell) = buffer
                .cell((x, y))
                .filter(|cell| x < area.right() && cell.style() == first.style())
            {
                escape(cell.symbol(), &mut words);
                x += u16::try_from(width_of(cell)).unwrap_or(1);
            }
            run(&mut out, (from, x, y), &words, first, (paper, text, light));
        }
    }
    out.push_str("</svg>\n");
    out
}

fn run(
    out: &mut String,
    (from, to, y): (u16, u16, u16),
    words: &str,
    cell: &Cell,
    (paper, text, light): (&str, &str, bool),
) {
    let reversed = cell.modifier.contains(Modifier::REVERSED);
    if words.trim().is_empty() && !reversed {
        return;
    }
    let own = colour(cell.fg, light).unwrap_or_else(|| text.to_owned());
    let place = (
        EDGE + f64::from(from) * CELL.0,
        EDGE + f64::from(y) * CELL.1,
        f64::from(to - from) * CELL.0,
    );
    let ink = if reversed {
        let _ = writeln!(
            out,
            r#"<rect x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}" fill="{own}"/>"#,
            place.0, place.1, place.2, CELL.1
        );
        paper.to_owned()
    } else {
        own
    };
    let bold = if cell.modifier.contains(Modifier::BOLD) {
        r#" font-weight="bold""#
    } else {
        ""
    };
    let trimmed = words.trim_end();
    let columns = f64::from(to - from) - (words.chars().count() - trimmed.chars().count()) as f64;
    let _ = writeln!(
        out,
        r#"<text x="{:.1}" y="{:.1}" textLength="{:.1}" lengthAdjust="spacingAndGlyphs" xml:space="preserve" fill="{ink}"{bold}>{trimmed}</text>"#,
        place.0,
        place.1 + 13.5,
        columns * CELL.0
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::layout::Rect;

    #[test]
    fn names_cannot_break_out_of_the_picture() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 20, 2));
        buffer.set_string(
            0,
            0,
            "<script>&日本",
            ratatui::style::Style::new().fg(Color::Red),
        );
        let picture = picture(&buffer, Palette::Dark);
        assert!(picture.contains("&lt;script&gt;&amp;日本"), "{picture}");
        assert!(picture.ends_with("</svg>\n") && picture.contains("#ff7a66"));
    }
}
