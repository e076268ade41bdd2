//! The trees that a program knows, as a table: what `check` verifies, `dump` writes readably and `load` takes back.

use std::io::{self, BufRead, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::blobs::Blobs;
use super::keep::{META_KEY, Meta};
use super::overlay::Entry;
use super::row::{Row, decode, encode, stored_key};
use super::side::{Counts, hex, new_store_id};
use super::{DirLock, Key, Store, events, export};
use crate::fault::{Fault, Kind, Result};
use crate::id::Digest;

/// One tree, with its row's type behind function pointers.
pub struct Tree {
    /// Its name.
    pub name: &'static str,
    read: fn(key: &[u8], value: &[u8]) -> Result<Vec<Digest>>,
    to_json: fn(value: &[u8]) -> Option<Value>,
    from_json: fn(Value) -> Result<Entry>,
}

impl Tree {
    /// The tree of that row type.
    pub fn of<R: Row>() -> Tree {
        Tree {
            name: R::TREE,
            read: |key, value| {
                let row: R = decode(value)?;
                if row.key().to_bytes() != key {
                    let what = format!("a row of {} lies under the key of another", R::TREE);
                    return Err(Fault::new(Kind::Operator, what));
                }
                Ok(row.blobs())
            },
            to_json: |value| {
                let row: R = decode(value).ok()?;
                let json = serde_json::to_value(&row).ok()?;
                // Only what comes back as the same bytes is written readably.
                let back = from_json::<R>(json.clone()).ok()?;
                (back.1.as_deref() == Some(value)).then_some(json)
            },
            from_json: from_json::<R>,
        }
    }
}

fn from_json<R: Serialize + DeserializeOwned + Row>(json: Value) -> Result<Entry> {
    let row: R = serde_json::from_value(json).map_err(|error| {
        Fault::new(
            Kind::Operator,
            format!("a dumped row of {} cannot be read", R::TREE),
        )
        .because(&error)
    })?;
    Ok((stored_key::<R>(&row.key().to_bytes()), Some(encode(&row)?)))
}

/// The trees whose row types the store knows; actors with rows of their own add theirs. A row type that is missing is told
/// by `check` as unknown.
pub fn known() -> Vec<Tree> {
    use super::farm::{AttemptUsage, KnownHost, OrderRow, RecipeHold};
    use crate::model::{
        Alarm, Attempt, BasePackage, BaseSeen, BuilderStop, BuiltWith, Choice, Comparison,
        Conviction, HostOwner, Job, Layer, Measures, Policy, Profile, Project, ProjectPriority,
        ProofPolicy, RecipeLimit, RiseRule, StoodOn,
    };
    vec![
        Tree::of::<events::EventRow>(),
        Tree::of::<Project>(),
        Tree::of::<Profile>(),
        Tree::of::<Job>(),
        Tree::of::<Attempt>(),
        Tree::of::<RecipeHold>(),
        Tree::of::<KnownHost>(),
        Tree::of::<BasePackage>(),
        Tree::of::<AttemptUsage>(),
        Tree::of::<Policy>(),
        Tree::of::<ProjectPriority>(),
        Tree::of::<Measures>(),
        Tree::of::<BuilderStop>(),
        Tree::of::<Comparison>(),
        Tree::of::<ProofPolicy>(),
        Tree::of::<Conviction>(),
        Tree::of::<BaseSeen>(),
        Tree::of::<StoodOn>(),
        Tree::of::<RiseRule>(),
        Tree::of::<HostOwner>(),
        Tree::of::<crate::model::cache::CacheRule>(),
        Tree::of::<Layer>(),
        Tree::of::<Choice>(),
        Tree::of::<crate::model::isa::Measurement>(),
        Tree::of::<OrderRow>(),
        Tree::of::<RecipeLimit>(),
        Tree::of::<BuiltWith>(),
        Tree::of::<Alarm>(),
        Tree::of::<super::taken::Taken>(),
        Tree::of::<super::tries::TryRow>(),
        Tree::of::<crate::model::Peer>(),
        Tree::of::<crate::model::Ticket>(),
        Tree::of::<crate::model::peer::PeerKeys>(),
        Tree::of::<crate::model::peer::PeerListRow>(),
    ]
}

/// What `check` found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Rows per tree.
    pub rows: Counts,
    /// Events in the chain.
    pub events: u64,
    /// Blobs that rows name.
    pub blobs: u64,
    /// What is wrong; empty: nothing.
    pub faults: Vec<Fault>,
}

/// Faults that a report lists before it only counts them.
const FAULTS_MAX: usize = 100;

impl Store {
    /// Reads every row and every blob that a row names. `deep`: the bytes of the blobs too.
    pub fn check(&self, trees: &[Tree], blobs: &Blobs, deep: bool) -> Result<Report> {
        let mut report = Report::default();
        let mut named = std::collections::BTreeSet::new();
        self.frozen(|keep| {
            keep.each_row(|key, value| {
                let Some((name, rest)) = split(key) else {
                    return Ok(());
                };
                *report.rows.entry(name.to_string()).or_default() += 1;
                let outcome = match trees.iter().find(|tree| tree.name == name) {
                    Some(tree) => (tree.read)(rest, value).map(|digests| named.extend(digests)),
                    None => Err(Fault::new(
                        Kind::Operator,
                        format!("this massif knows no tree {name}"),
                    )),
                };
                report.note(outcome);
                Ok(())
            })?;
            let counted = keep.meta.rows.iter().filter(|(_, rows)| **rows > 0);
            if !counted.eq(report.rows.iter()) {
                let what = format!(
                    "counted rows {:?}, expected {:?}",
                    report.rows, keep.meta.rows
                );
                report.note(Err(Fault::new(Kind::Operator, what)));
            }
            Ok(())
        })?;
        match events::verify(self) {
            Ok(chain) => report.events = chain.seq.0,
            Err(fault) => report.note(Err(fault)),
        }
        report.blobs = named.len() as u64;
        for digest in named {
            let outcome = if deep {
                blobs.verify(&digest)
            } else if blobs.contains(&digest) {
                Ok(())
            } else {
                Err(Fault::new(
                    Kind::Operator,
                    format!("blob {digest} is missing"),
                ))
            };
            report.note(outcome);
        }
        Ok(report)
    }

    /// Writes every row as a line of JSON. Trees that `trees` does not know, and rows that would not come back the same,
    /// are written as hexadecimal bytes.
    pub fn dump(&self, trees: &[Tree], to: &mut dyn Write) -> Result<u64> {
        let failed =
            |error: io::Error| Fault::new(Kind::Operator, "cannot write the dump").because(&error);
        self.frozen(|keep| {
            let mut rows = 0;
            let head = json!({"massif_dump": 1, "store": hex(&keep.meta.store), "generation": keep.meta.generation});
            writeln!(to, "{head}").map_err(failed)?;
            keep.each_row(|key, value| {
                let Some((name, rest)) = split(key) else {
                    return Ok(());
                };
                rows += 1;
                let known = trees.iter().find(|tree| tree.name == name);
                let line = match known.and_then(|tree| (tree.to_json)(value)) {
                    Some(row) => json!({"tree": name, "row": row}),
                    None => json!({"tree": name, "key": hex(rest), "value": hex(value)}),
                };
                writeln!(to, "{line}").map_err(failed)
            })?;
            to.flush().map_err(failed)?;
            Ok(rows)
        })
    }
}

impl Report {
    fn note(&mut self, outcome: Result<()>) {
        if let Err(fault) = outcome
            && self.faults.len() < FAULTS_MAX
        {
            self.faults.push(fault);
        }
    }
}

/// Replaces the store of a state directory by what a dump says; the old one is kept as `DIR/store.old`. Returns the rows.
pub fn load(dir: &Path, trees: &[Tree], from: &mut dyn BufRead) -> Result<u64> {
    let lock = DirLock::take(dir)?;
    let mut line = String::new();
    let mut number = 0u32;
    let mut next_value = move |from: &mut dyn BufRead| -> Result<Option<Value>> {
        line.clear();
        number += 1;
        let bad = |error: &dyn std::error::Error| {
            Fault::new(Kind::Operator, "a line of the dump cannot be read")
                .because(error)
                .at("dump", number, 0)
        };
        let read = from.read_line(&mut line).map_err(|error| bad(&error))?;
        if read == 0 {
            return Ok(None);
        }
        serde_json::from_str(&line)
            .map(Some)
            .map_err(|error| bad(&error))
    };
    let no_head = || {
        Fault::new(
            Kind::Operator,
            "this is no dump of a massif store: its first line should name it",
        )
    };
    let head = next_value(from)?.ok_or_else(no_head)?;
    if head.get("massif_dump").and_then(Value::as_u64) != Some(1) {
        return Err(no_head());
    }
    let store = head.get("store").and_then(Value::as_str).and_then(unhex);
    let meta = Meta {
        store: store
            .and_then(|bytes| bytes.try_into().ok())
            .unwrap_or_else(new_store_id),
        generation: head.get("generation").and_then(Value::as_u64).unwrap_or(0),
        rows: Counts::new(),
    };
    let meta = export::replace(&lock, dir, meta, || match next_value(from)? {
        Some(line) => parse_line(trees, line).map(Some),
        None => Ok(None),
    })?;
    Ok(meta.rows.values().sum())
}

fn parse_line(trees: &[Tree], mut line: Value) -> Result<Entry> {
    let bad = |what: &str| Fault::new(Kind::Operator, format!("a line of the dump {what}"));
    let name = line
        .get("tree")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_string();
    if name.is_empty() || name.contains('\0') {
        return Err(bad("names no tree"));
    }
    if let Some(row) = line.get_mut("row") {
        let tree = trees.iter().find(|tree| tree.name == name);
        let tree = tree.ok_or_else(|| {
            bad(&format!(
                "is of tree {name}, which this massif does not know"
            ))
        })?;
        return (tree.from_json)(row.take());
    }
    let bytes = |field: &str| line.get(field).and_then(Value::as_str).and_then(unhex);
    match (bytes("key"), bytes("value")) {
        (Some(rest), Some(value)) => {
            let mut key = name.into_bytes();
            key.push(0);
            key.extend(rest);
            Ok((key, Some(value)))
        }
        _ => Err(bad("has neither a row nor bytes")),
    }
}

/// Tree and key of a stored key; `None` for the head row.
fn split(key: &[u8]) -> Option<(&str, &[u8])> {
    if key == META_KEY {
        return None;
    }
    let at = key.iter().position(|byte| *byte == 0)?;
    let (name, rest) = key.split_at_checked(at)?;
    Some((std::str::from_utf8(name).ok()?, rest.get(1..)?))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).map(|digit| digit as u8))
        .collect();
    let digits = digits?;
    (digits.len() % 2 == 0).then(|| {
        digits
            .chunks_exact(2)
            .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
            .collect()
    })
}
