//! Colours and glyphs. What a thing means is told by a glyph and a letter; colour only repeats it, so that the screen
//! reads the same without colours, with other colours, and in ASCII.

use ratatui::style::{Color, Modifier, Style};

use crate::admin::view::JobState;

/// What a piece of the screen means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// Ordinary text.
    Plain,
    /// What may be overlooked.
    Faint,
    /// What should be read first.
    Strong,
    /// All is well.
    Good,
    /// Somebody should look at it some time.
    Warn,
    /// Somebody should look at it now.
    Bad,
    /// Work goes on.
    Busy,
    /// Titles of parts of the screen.
    Title,
    /// Keys that may be pressed.
    Key,
    /// A line that a person stands on.
    Selected,
    /// The top line.
    Bar,
    /// What a search found.
    Found,
}

/// Which colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Palette {
    /// The terminal's own 16 colours, on its own background.
    Dark,
    /// The same for a light background.
    Light,
    /// True colours for a dark background.
    TrueDark,
    /// True colours for a light background.
    TrueLight,
    /// Bold, dim and reversed only.
    Mono,
}

/// How graphs are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Graphs {
    /// Two values in each column.
    Braille,
    /// Eighths of a block.
    Block,
    /// Letters.
    Plain,
}

/// How the screen looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    /// Which colours.
    pub palette: Palette,
    /// Nothing but ASCII.
    pub ascii: bool,
    /// How graphs are drawn.
    pub graphs: Graphs,
}

impl Default for Theme {
    fn default() -> Theme {
        Theme {
            palette: Palette::Dark,
            ascii: false,
            graphs: Graphs::Block,
        }
    }
}

/// What the environment says about looks.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `NO_COLOR` is set to something.
    pub no_color: bool,
    /// `TERM`
    pub term: String,
    /// `LC_ALL`, else `LC_CTYPE`, else `LANG`.
    pub locale: String,
    /// `MASSIF_THEME`
    pub theme: Option<String>,
}

/// The words of `--theme`.
pub const THEMES: &[&str] = &["dark", "light", "true-dark", "true-light", "mono", "ascii"];

impl Theme {
    /// The theme of this word, `None` when there is none of it; without a word, what the environment asks for.
    pub fn of(word: Option<&str>, environment: &Environment) -> Option<Theme> {
        let mut theme = Theme::default();
        let locale = environment.locale.to_ascii_lowercase();
        if !locale.contains("utf-8") && !locale.contains("utf8") || environment.term == "linux" {
            theme.ascii = environment.term != "linux";
            theme.graphs = Graphs::Plain;
        }
        match word.or(environment.theme.as_deref()) {
            None => {}
            Some("dark") => theme.palette = Palette::Dark,
            Some("light") => theme.palette = Palette::Light,
            Some("true-dark") => theme.palette = Palette::TrueDark,
            Some("true-light") => theme.palette = Palette::TrueLight,
            Some("mono") => theme.palette = Palette::Mono,
            Some("ascii") => {
                theme = Theme {
                    palette: Palette::Mono,
                    ascii: true,
                    graphs: Graphs::Plain,
                }
            }
            Some(_) => return None,
        }
        if environment.no_color || environment.term == "dumb" {
            theme.palette = Palette::Mono;
        }
        Some(theme)
    }

    /// For pipes: ASCII, no colours.
    pub fn plain() -> Theme {
        Theme {
            palette: Palette::Mono,
            ascii: true,
            graphs: Graphs::Plain,
        }
    }

    /// How a meaning looks.
    pub fn style(&self, ink: Ink) -> Style {
        let style = Style::new();
        let emphasis = match ink {
            Ink::Plain | Ink::Good | Ink::Busy => style,
            Ink::Faint if self.palette == Palette::Mono => style.add_modifier(Modifier::DIM),
            Ink::Faint => style,
            Ink::Strong | Ink::Title | Ink::Key | Ink::Bad | Ink::Warn => {
                style.add_modifier(Modifier::BOLD)
            }
            Ink::Selected | Ink::Bar | Ink::Found => style.add_modifier(Modifier::REVERSED),
        };
        match self.colour(ink) {
            Some(colour) => emphasis.fg(colour),
            None => emphasis,
        }
    }

    fn colour(&self, ink: Ink) -> Option<Color> {
        use Color::{Blue, Cyan, DarkGray, Green, Magenta, Red, Yellow};
        // True colours are told apart by brightness too, and by people who see no red or green.
        let (dark, light, true_dark, true_light) = match ink {
            Ink::Plain | Ink::Strong | Ink::Selected | Ink::Bar => return None,
            Ink::Faint => (DarkGray, DarkGray, 0x8a_93_a0, 0x6b_72_80),
            Ink::Good => (Green, Green, 0x7f_d9_a8, 0x04_6c_4e),
            Ink::Warn => (Yellow, Magenta, 0xf2_c1_4e, 0x9a_57_00),
            Ink::Bad => (Red, Red, 0xff_7a_66, 0xb4_23_18),
            Ink::Busy => (Cyan, Blue, 0x6c_c4_f5, 0x0b_5c_a8),
            Ink::Title => (Blue, Blue, 0x9d_b8_ff, 0x2f_3f_9e),
            Ink::Key => (Cyan, Blue, 0x6c_c4_f5, 0x0b_5c_a8),
            Ink::Found => (Yellow, Yellow, 0xf2_c1_4e, 0xf2_c1_4e),
        };
        match self.palette {
            Palette::Dark => Some(dark),
            Palette::Light => Some(light),
            Palette::TrueDark => Some(Color::from_u32(true_dark)),
            Palette::TrueLight => Some(Color::from_u32(true_light)),
            Palette::Mono => None,
        }
    }

    /// A sign in the glyphs that the terminal has.
    pub fn sign(&self, sign: Sign) -> &'static str {
        let (glyph, ascii) = match sign {
            Sign::Live => ("●", "*"),
            Sign::Old => ("○", "o"),
            Sign::Frozen => ("‖", "|"),
            Sign::More => ("…", "~"),
            Sign::Between => ("·", "-"),
            Sign::Into => ("›", ">"),
            Sign::Rule => ("─", "-"),
            Sign::Up => ("▲", "^"),
            Sign::Down => ("▼", "v"),
            Sign::Open => ("▾", "v"),
            Sign::Folded => ("▸", ">"),
            Sign::Leaf => (" ", " "),
            Sign::Alarm => ("!", "!"),
            Sign::Critical => ("◆", "*"),
            Sign::Cursor => ("█", "_"),
        };
        if self.ascii { ascii } else { glyph }
    }

    /// Glyph and letter of a job's state, and how they look.
    pub fn state(&self, state: JobState) -> (&'static str, Ink) {
        let (glyph, ascii, ink) = match state {
            JobState::Waiting => ("◌W", ".W", Ink::Plain),
            JobState::Ready => ("○R", "oR", Ink::Strong),
            JobState::Building => ("▶B", ">B", Ink::Busy),
            JobState::Publishing => ("△U", "^U", Ink::Busy),
            JobState::Published => ("✓P", "+P", Ink::Good),
            JobState::Failed => ("✗F", "xF", Ink::Bad),
            JobState::Cancelled => ("–C", "-C", Ink::Faint),
            JobState::Superseded => ("»S", "=S", Ink::Faint),
        };
        (if self.ascii { ascii } else { glyph }, ink)
    }

    /// Glyph and letter of what a person stopped.
    pub fn held(&self) -> (&'static str, Ink) {
        (if self.ascii { "#H" } else { "■H" }, Ink::Warn)
    }

    /// Glyph and letter of a builder's verdict, and how they look.
    pub fn verdict(&self, verdict: &str) -> (&'static str, Ink) {
        let (glyph, ascii, ink) = match verdict {
            "fit" | "ok" => ("✓F", "+F", Ink::Good),
            "low" => ("!L", "!L", Ink::Warn),
            "draining" => ("↓D", "vD", Ink::Warn),
            "stalled" => ("✗S", "xS", Ink::Bad),
            "quarantined" => ("✗Q", "xQ", Ink::Bad),
            "away" => ("?A", "?A", Ink::Bad),
            _ => ("?U", "?U", Ink::Warn),
        };
        (if self.ascii { ascii } else { glyph }, ink)
    }
}

/// A sign of the screen that says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// The data is of now.
    Live,
    /// It is not.
    Old,
    /// A person stopped it.
    Frozen,
    /// Text was cut here.
    More,
    /// Between two things of a line.
    Between,
    /// One place inside another.
    Into,
    /// A horizontal line.
    Rule,
    /// Sorted, the smallest first; more above.
    Up,
    /// Sorted, the largest first; more below.
    Down,
    /// Its inside is shown.
    Open,
    /// Its inside is hidden.
    Folded,
    /// It has no inside.
    Leaf,
    /// An alarm.
    Alarm,
    /// On the longest way.
    Critical,
    /// Where typing goes.
    Cursor,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_chooses_what_the_terminal_can_show() {
        let utf8 = Environment {
            locale: "en_GB.UTF-8".into(),
            term: "xterm-256color".into(),
            ..Environment::default()
        };
        assert_eq!(Theme::of(None, &utf8), Some(Theme::default()));
        let none = Environment {
            no_color: true,
            ..utf8.clone()
        };
        assert_eq!(
            Theme::of(Some("true-dark"), &none).map(|theme| theme.palette),
            Some(Palette::Mono)
        );
        let c = Environment {
            locale: "C".into(),
            ..utf8.clone()
        };
        assert_eq!(Theme::of(None, &c).map(|theme| theme.ascii), Some(true));
        assert_eq!(Theme::of(Some("pink"), &utf8), None);
    }

    #[test]
    fn every_state_has_a_letter_of_its_own_in_ascii_too() {
        for theme in [Theme::default(), Theme::plain()] {
            let mut seen: Vec<_> = JobState::ALL
                .iter()
                .map(|state| theme.state(*state).0.chars().last())
                .collect();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), JobState::ALL.len());
            if theme.ascii {
                assert!(
                    JobState::ALL
                        .iter()
                        .all(|state| theme.state(*state).0.is_ascii())
                );
            }
        }
    }
}
