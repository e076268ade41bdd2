//! Errors as people meet them: what happened, whose move it is, and the next step.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limit;

/// Whose move it is. Exit code, retry policy and colour are read off it. Grows at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The command or request was not understood.
    Usage,
    /// The operator: configuration, rights of a directory, a missing program.
    Operator,
    /// The recipe's author.
    Recipe,
    /// The builder: its disk, its memory, its kernel.
    Builder,
    /// The network between hosts, or to a git remote.
    Network,
    /// The server that an upstream archive comes from, or its bytes.
    Upstream,
    /// The host did not answer.
    Unreachable,
    /// The caller lacks the right.
    NotPermitted,
    /// The state moved on, or something of that name exists.
    Conflict,
    /// Nothing of that name exists.
    NotFound,
    /// Not now; the same call may succeed later.
    TryAgain,
    /// massif itself: please report it.
    Bug,
}

/// A place in a file that a person wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file, as the person knows it (`h/hello/stone.yaml`).
    pub file: String,
    /// From 1; 0 when unknown.
    pub line: u32,
    /// From 1; 0 when unknown.
    pub column: u32,
}

/// One error. `what` is one lower-case line with the names and numbers; `next` is something that can be done now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Whose move it is.
    pub kind: Kind,
    /// What happened.
    pub what: String,
    /// The chain of causes below it, outermost first.
    pub causes: Vec<String>,
    /// The next step; empty when there is none that we know.
    pub next: String,
    /// Where in a file, when it is about one.
    pub place: Option<Place>,
}

/// The usual result of our own functions.
pub type Result<T> = std::result::Result<T, Fault>;

/// Whether a text says that a disk has no room: in the words of the kernel (ENOSPC, EDQUOT) or of our own store.
pub fn says_no_room(text: &str) -> bool {
    text.contains("No space left on device")
        || text.contains("Disk quota exceeded")
        || text.contains("the disk of ") && text.contains(" is full ")
}

impl Fault {
    /// An error of this kind, saying what happened.
    pub fn new(kind: Kind, what: impl Into<String>) -> Fault {
        Fault {
            kind,
            what: what.into(),
            causes: Vec::new(),
            next: String::new(),
            place: None,
        }
    }

    /// An error that only massif's authors can mend.
    pub fn bug(what: impl Into<String>) -> Fault {
        Fault::new(Kind::Bug, what).next("please report this with the log of the host")
    }

    /// With the next step.
    pub fn next(mut self, next: impl Into<String>) -> Fault {
        self.next = next.into();
        self
    }

    /// With the error that caused it and all that caused that.
    pub fn because(mut self, cause: &dyn std::error::Error) -> Fault {
        let mut cause = Some(cause);
        while let Some(error) = cause {
            let text = error.to_string();
            if self.causes.last() != Some(&text) {
                self.causes.push(text);
            }
            cause = error.source();
        }
        self
    }

    /// With a place in a file.
    pub fn at(mut self, file: impl Into<String>, line: u32, column: u32) -> Fault {
        self.place = Some(Place {
            file: file.into(),
            line,
            column,
        });
        self
    }

    /// Whether it is for want of room on a disk, which is nobody's mistake and passes when there is room again.
    pub fn is_no_room(&self) -> bool {
        let mut texts = self.causes.iter().chain([&self.what]);
        texts.any(|text| says_no_room(text))
    }

    /// The same, cut to what a row of the store and a line on a screen can take.
    pub fn bounded(mut self) -> Fault {
        fn cut(text: &mut String, bytes_max: usize) {
            if text.len() > bytes_max {
                let end = (0..=bytes_max)
                    .rev()
                    .find(|&at| text.is_char_boundary(at))
                    .unwrap_or(0);
                text.truncate(end);
                text.push_str("...");
            }
        }
        cut(&mut self.what, limit::FAULT_TEXT_BYTES_MAX);
        cut(&mut self.next, limit::FAULT_TEXT_BYTES_MAX);
        self.causes.truncate(limit::FAULT_CAUSES_MAX);
        self.causes
            .iter_mut()
            .for_each(|cause| cut(cause, limit::FAULT_TEXT_BYTES_MAX / 2));
        if let Some(place) = &mut self.place {
            cut(&mut place.file, limit::FAULT_TEXT_BYTES_MAX / 2);
        }
        self
    }

    /// The process exit code that tells scripts whose move it is.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Usage => 2,
            Kind::Unreachable => 3,
            Kind::NotPermitted => 4,
            Kind::Conflict => 5,
            Kind::TryAgain => 75,
            Kind::Operator
            | Kind::Recipe
            | Kind::Builder
            | Kind::Network
            | Kind::Upstream
            | Kind::NotFound
            | Kind::Bug => 1,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{}", place.file)?;
            if place.line > 0 {
                write!(f, ":{}", place.line)?;
                if place.column > 0 {
                    write!(f, ":{}", place.column)?;
                }
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.what)?;
        for cause in &self.causes {
            write!(f, ": {cause}")?;
        }
        if !self.next.is_empty() {
            write!(f, "; {}", self.next)?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}

/// `nano` for `nan`: the closest of the known names, when one is close enough to be meant.
pub fn nearest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let far_max = (wanted.chars().count() / 3).max(1) + 1;
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(wanted, name), name))
        .filter(|(far, _)| *far <= far_max)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_reads_place_what_cause_next() {
        let cause = std::io::Error::other("disk on fire");
        let fault = Fault::new(Kind::Recipe, "bad release")
            .because(&cause)
            .next("write a number")
            .at("h/stone.yaml", 3, 0);
        assert_eq!(
            fault.to_string(),
            "h/stone.yaml:3: bad release: disk on fire; write a number"
        );
    }

    #[test]
    fn the_nearest_name_is_only_offered_when_it_is_near() {
        assert_eq!(
            nearest("buildeps", ["builddeps", "rundeps"]),
            Some("builddeps")
        );
        assert_eq!(nearest("zzzzzz", ["builddeps", "rundeps"]), None);
    }
}
