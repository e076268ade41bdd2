//! Tables: columns that come and go with the width, rows of which only the visible ones are asked for.

use std::borrow::Cow;

use super::pen::{Pen, columns};
use super::theme::{Ink, Sign};

/// One column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its title.
    pub title: &'static str,
    /// Columns of the terminal that it takes at least.
    pub least: u16,
    /// It takes what the others leave, in this share; 0: exactly `least`.
    pub grows: u16,
    /// Numbers stand at the right.
    pub right: bool,
    /// Where there is no room, the columns with the highest number go first; 0 stays.
    pub goes: u8,
}

/// A column of fixed width.
pub const fn fixed(title: &'static str, least: u16, goes: u8) -> Column {
    Column {
        title,
        least,
        grows: 0,
        right: false,
        goes,
    }
}

/// A column of numbers.
pub const fn number(title: &'static str, least: u16, goes: u8) -> Column {
    Column {
        title,
        least,
        grows: 0,
        right: true,
        goes,
    }
}

/// A column that takes its share of what is left.
pub const fn words(title: &'static str, least: u16, grows: u16, goes: u8) -> Column {
    Column {
        title,
        least,
        grows,
        right: false,
        goes,
    }
}

/// One field of a row.
pub type Field<'a> = (Cow<'a, str>, Ink);

/// A field.
pub fn field<'a>(text: impl Into<Cow<'a, str>>, ink: Ink) -> Field<'a> {
    (text.into(), ink)
}

/// A row of a table.
pub enum Row<'a> {
    /// Its fields, one per column.
    Fields(Vec<Field<'a>>),
    /// A heading between rows.
    Heading(Cow<'a, str>),
    /// Words across all columns.
    Words(Vec<Field<'a>>),
}

/// Where a person stands in a table.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look {
    /// Rows in all.
    pub rows: usize,
    /// The first that is shown.
    pub offset: usize,
    /// The one that a person stands on.
    pub selected: Option<usize>,
    /// The column that it is sorted by.
    pub sort: Option<usize>,
    /// The largest first.
    pub reverse: bool,
}

/// Where the columns stand at this width: for each its place and width, 0 when there is no room for it.
pub fn layout(all: &[Column], width: u16) -> Vec<(u16, u16)> {
    let mut shown: Vec<bool> = vec![true; all.len()];
    let need = |shown: &[bool]| -> u16 {
        all.iter()
            .zip(shown)
            .filter(|(_, shown)| **shown)
            .fold(0_u16, |sum, (column, _)| {
                sum.saturating_add(column.least + 1)
            })
            .saturating_sub(1)
    };
    while need(&shown) > width {
        let last = all
            .iter()
            .enumerate()
            .filter(|(at, column)| column.goes > 0 && shown.get(*at) == Some(&true))
            .max_by_key(|(_, column)| column.goes)
            .map(|(at, _)| at);
        match last.and_then(|at| shown.get_mut(at)) {
            Some(place) => *place = false,
            None => break,
        }
    }
    let mut spare = width.saturating_sub(need(&shown));
    let mut shares: u16 = all
        .iter()
        .zip(&shown)
        .filter(|(_, shown)| **shown)
        .map(|(column, _)| column.grows)
        .sum();
    let mut x = 0;
    let mut places = Vec::with_capacity(all.len());
    for (column, shown) in all.iter().zip(shown) {
        if !shown || x >= width {
            places.push((x, 0));
            continue;
        }
        let mut own = column.least;
        if column.grows > 0 && shares > 0 {
            let more = spare * column.grows / shares;
            own += more;
            spare -= more;
            shares -= column.grows;
        }
        let own = own.min(width - x);
        places.push((x, own));
        x += own + 1;
    }
    places
}

/// Draws titles and the rows that are visible; `row` is asked for no other.
pub fn draw<'a>(
    pen: &mut Pen<'_>,
    all: &[Column],
    look: &Look,
    mut row: impl FnMut(usize) -> Option<Row<'a>>,
) {
    let width = pen.width();
    let places = layout(all, width);
    for (at, (column, (x, own))) in all.iter().zip(&places).enumerate() {
        if *own == 0 {
            continue;
        }
        let sorted = look.sort == Some(at);
        let sign = match (sorted, look.reverse) {
            (false, _) => "",
            (true, false) => pen.theme.sign(Sign::Up),
            (true, true) => pen.theme.sign(Sign::Down),
        };
        let ink = if sorted { Ink::Key } else { Ink::Faint };
        let title = if columns(column.title) + columns(sign) > usize::from(*own) {
            sign.to_owned() + column.title
        } else {
            column.title.to_owned() + sign
        };
        if column.right {
            pen.right(*x, 0, *own, &title, ink);
        } else {
            pen.text(*x, 0, *own, &title, ink);
        }
    }
    for y in 1..pen.height() {
        let at = look.offset + usize::from(y) - 1;
        if at >= look.rows {
            break;
        }
        match row(at) {
            None => break,
            Some(Row::Heading(title)) => pen.heading(y, &title, ""),
            Some(Row::Words(pieces)) => {
                let mut x = 0;
                for (text, ink) in &pieces {
                    x += pen.text(x, y, width.saturating_sub(x), text, *ink);
                }
            }
            Some(Row::Fields(fields)) => {
                for ((column, (x, own)), (text, ink)) in all.iter().zip(&places).zip(&fields) {
                    if *own == 0 {
                        continue;
                    }
                    if column.right {
                        pen.right(*x, y, *own, text, *ink);
                    } else {
                        pen.text(*x, y, *own, text, *ink);
                    }
                }
            }
        }
        if look.selected == Some(at) {
            pen.tint(y, Ink::Selected);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[
        fixed("st", 2, 0),
        words("name", 8, 2, 0),
        number("left", 6, 2),
        words("why", 10, 3, 1),
    ];

    #[test]
    fn columns_go_by_their_worth_and_the_rest_shares_the_room() {
        assert_eq!(layout(COLUMNS, 30), [(0, 2), (3, 8), (12, 6), (19, 11)]);
        assert_eq!(layout(COLUMNS, 25), [(0, 2), (3, 9), (13, 0), (13, 12)]);
        assert_eq!(layout(COLUMNS, 12), [(0, 2), (3, 9), (13, 0), (13, 0)]);
        let narrow = layout(COLUMNS, 1);
        assert_eq!(narrow.first(), Some(&(0, 1)));
        let wide = layout(COLUMNS, 200);
        let end = wide.last().map(|(x, own)| x + own);
        assert_eq!(end, Some(200));
    }
}
