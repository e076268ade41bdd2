//! Macros: `%action`, `%(definition)` and `%%` in scripts and package fields, expanded by the table.
//! Any other percent sign stays as it is, so that `${file%.gz}` works; shell words like `%s` are written `%%s`.

pub mod table;

use std::collections::{BTreeMap, BTreeSet};

use super::types::Script;
use crate::fault::{Fault, Kind, Result, nearest};
use crate::limit;
use table::{ACTIONS, Action, DEFINITIONS, FUNCTIONS};

/// Definitions whose values come from the recipe, the profile or the slot.
pub const DYNAMIC: &[&str] = &[
    "ar",
    "buildroot",
    "cc",
    "cflags",
    "cpp",
    "cxx",
    "cxxflags",
    "goflags",
    "jobs",
    "ld",
    "ldflags",
    "march",
    "mtune",
    "name",
    "nm",
    "objcopy",
    "objdump",
    "ranlib",
    "release",
    "rustflags",
    "strip",
    "version",
    "workdir",
];

/// Macros calling macros deeper than this call themselves; the deepest of the table has five levels.
const DEPTH_MAX: usize = 16;

/// What a percent sign turned out to be.
enum Piece<'t> {
    Text(&'t str),
    Action(&'t str),
    Definition(&'t str),
}

/// Cuts a text at its percent signs; each piece comes with its byte offset.
fn pieces(text: &str) -> impl Iterator<Item = (usize, Piece<'_>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = text.get(at..).filter(|rest| !rest.is_empty())?;
        let start = at;
        let Some(after) = rest.strip_prefix('%') else {
            let end = rest.find('%').unwrap_or(rest.len());
            at += end;
            return rest.get(..end).map(|plain| (start, Piece::Text(plain)));
        };
        let piece = if after.starts_with('%') {
            at += 2;
            Piece::Text("%")
        } else if let Some(name) = after.strip_prefix('(').and_then(parenthesised) {
            at += name.len() + 3;
            Piece::Definition(name)
        } else {
            let name = word(after);
            at += 1 + name.len();
            if name.is_empty() {
                Piece::Text("%")
            } else {
                Piece::Action(name)
            }
        };
        Some((start, piece))
    })
}

/// The name at the start of a text; empty when there is none.
fn word(text: &str) -> &str {
    let fits = |(at, c): (usize, char)| {
        c.is_ascii_alphabetic() || c == '_' || (at > 0 && c.is_ascii_digit())
    };
    let end = text
        .char_indices()
        .find(|&pair| !fits(pair))
        .map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or("")
}

/// The name before a closing parenthesis.
fn parenthesised(text: &str) -> Option<&str> {
    let name = word(text);
    let closed = text.get(name.len()..)?.starts_with(')');
    (closed && !name.is_empty()).then_some(name)
}

/// The action of this name.
pub fn find_action(name: &str) -> Option<&'static Action> {
    ACTIONS
        .binary_search_by(|action| action.name.cmp(name))
        .ok()
        .and_then(|at| ACTIONS.get(at))
}

fn fixed(name: &str) -> Option<&'static str> {
    DEFINITIONS
        .binary_search_by(|(known, _)| (*known).cmp(name))
        .ok()
        .and_then(|at| DEFINITIONS.get(at))
        .map(|(_, value)| *value)
}

/// Builtins may be written with a leading underscore.
fn plain_name(name: &str) -> &str {
    name.strip_prefix('_').unwrap_or(name)
}

fn line_of(script: &Script, offset: usize) -> u32 {
    let before = script.text.get(..offset).unwrap_or("");
    let lines = before.bytes().filter(|byte| *byte == b'\n').count();
    script
        .line
        .saturating_add(u32::try_from(lines).unwrap_or(u32::MAX))
}

fn unknown_action(name: &str) -> Fault {
    let fault = Fault::new(Kind::Recipe, format!("unknown action %{name}"));
    match nearest(name, ACTIONS.iter().map(|action| action.name)) {
        Some(near) => fault.next(format!(
            "did you mean %{near}? a literal percent sign is %%"
        )),
        None => fault.next(format!("a literal percent sign is written %%, so %%{name}")),
    }
}

fn unknown_definition(name: &str) -> Fault {
    let known = DEFINITIONS
        .iter()
        .map(|(known, _)| *known)
        .chain(DYNAMIC.iter().copied());
    let fault = Fault::new(Kind::Recipe, format!("unknown definition %({name})"));
    match nearest(name, known) {
        Some(near) => fault.next(format!("did you mean %({near})?")),
        None => fault.next("name, version, release, installroot, libdir and their kin are known"),
    }
}

/// The actions that a script calls, those called by actions included; a fault when it names what nobody knows.
pub fn actions_in(script: &Script, file: &str) -> Result<BTreeSet<&'static str>> {
    let mut found = BTreeSet::new();
    for (offset, piece) in pieces(&script.text) {
        let known = match piece {
            Piece::Text(_) => Ok(()),
            Piece::Action(name) => find_action(name)
                .map(|action| called_by(action, &mut found))
                .ok_or_else(|| unknown_action(name)),
            Piece::Definition(name) => {
                let name = plain_name(name);
                let known = fixed(name).is_some() || DYNAMIC.contains(&name);
                known.then_some(()).ok_or_else(|| unknown_definition(name))
            }
        };
        known.map_err(|fault| fault.at(file, line_of(script, offset), 0))?;
    }
    Ok(found)
}

fn called_by(action: &'static Action, found: &mut BTreeSet<&'static str>) {
    if !found.insert(action.name) {
        return;
    }
    for (_, piece) in pieces(action.text) {
        if let Piece::Action(name) = piece
            && let Some(inner) = find_action(name)
        {
            called_by(inner, found);
        }
    }
}

/// Values of definitions, and the expansion by them.
#[derive(Debug, Clone, Default)]
pub struct Macros {
    dynamic: BTreeMap<&'static str, String>,
}

impl Macros {
    /// Sets a definition, one of `DYNAMIC` or a fixed one that this target has another value of.
    pub fn define(&mut self, name: &'static str, value: impl Into<String>) {
        self.dynamic.insert(name, value.into());
    }

    /// The text with everything expanded, and which of the shell functions it calls.
    pub fn script(
        &self,
        script: &Script,
        file: &str,
        functions: &mut BTreeSet<&'static str>,
    ) -> Result<String> {
        let mut out = String::with_capacity(script.text.len() + 256);
        for (offset, piece) in pieces(&script.text) {
            self.piece(piece, &mut out, functions, 0)
                .map_err(|fault| fault.at(file, line_of(script, offset), 0))?;
        }
        Ok(out)
    }

    /// A package field with its definitions filled in; an action has no meaning there and stays as written.
    pub fn field(&self, text: &str) -> Result<String> {
        let mut out = String::with_capacity(text.len());
        for (_, piece) in pieces(text) {
            match piece {
                Piece::Action(name) => {
                    out.push('%');
                    out.push_str(name);
                }
                Piece::Text(_) | Piece::Definition(_) => {
                    self.piece(piece, &mut out, &mut BTreeSet::new(), 0)?;
                }
            }
        }
        Ok(out)
    }

    /// The value of a definition of ours.
    pub fn value(&self, name: &str) -> Result<String> {
        self.field(&format!("%({name})"))
    }

    fn piece(
        &self,
        piece: Piece<'_>,
        out: &mut String,
        functions: &mut BTreeSet<&'static str>,
        depth: usize,
    ) -> Result<()> {
        let inner = match piece {
            Piece::Text(text) => {
                out.push_str(text);
                return Ok(());
            }
            Piece::Action(name) => {
                let action = find_action(name).ok_or_else(|| unknown_action(name))?;
                functions.extend(action.functions);
                action.text
            }
            Piece::Definition(name) => {
                let name = plain_name(name);
                if let Some(value) = self.dynamic.get(name) {
                    // A value from outside is text, not macros: a version may hold a percent sign.
                    out.push_str(value);
                    return Ok(());
                }
                fixed(name).ok_or_else(|| unknown_definition(name))?
            }
        };
        if depth >= DEPTH_MAX || out.len() > limit::SCRIPT_BYTES_MAX {
            return Err(
                Fault::new(Kind::Recipe, "the script grows too large when expanded")
                    .next("call fewer actions in one phase"),
            );
        }
        for (_, piece) in pieces(inner) {
            self.piece(piece, out, functions, depth + 1)?;
        }
        Ok(())
    }
}

/// The texts of these shell functions, for the head of a script.
pub fn function_texts(names: &BTreeSet<&'static str>) -> String {
    FUNCTIONS
        .iter()
        .filter(|(name, _)| names.contains(name))
        .map(|(_, text)| format!("{text}\n"))
        .collect()
}

#[cfg(test)]
mod tests;
