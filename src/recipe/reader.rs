//! Values of a recipe's tree asked for by shape: maps, lists, texts, booleans; each refusal names place and cure.

use super::macros::Macros;
use super::node::{Node, Value};
use crate::fault::{Fault, Kind, Result, nearest};

/// A map of the recipe, looked up by key.
pub(super) type Entries<'n, 't> = &'n [(Node<'t>, Node<'t>)];

/// What reading needs: the file's name for faults, the warnings so far, and the definitions for package fields.
pub(super) struct Reader<'f> {
    pub(super) file: &'f str,
    pub(super) warnings: Vec<Fault>,
    pub(super) macros: Macros,
}

/// The value of a key that has one.
pub(super) fn get<'n, 't>(entries: Entries<'n, 't>, key: &str) -> Option<&'n Node<'t>> {
    entries
        .iter()
        .find(|(known, _)| known.text() == Some(key))
        .map(|(_, value)| value)
        .filter(|value| !value.is_nothing())
}

/// `true`, `false`, and the same as quoted texts.
pub(super) fn boolean(node: &Node<'_>) -> Option<bool> {
    match node.text()? {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

impl Reader<'_> {
    pub(super) fn fault(&self, node: &Node<'_>, what: impl Into<String>) -> Fault {
        Fault::new(Kind::Recipe, what).at(self.file, node.line, node.column)
    }

    pub(super) fn need<'n, 't>(
        &self,
        entries: Entries<'n, 't>,
        key: &str,
        around: &Node<'_>,
    ) -> Result<&'n Node<'t>> {
        get(entries, key).ok_or_else(|| {
            let written = entries.iter().filter_map(|(known, _)| known.text());
            let near = nearest(key, written)
                .and_then(|near| entries.iter().find(|(known, _)| known.text() == Some(near)));
            match near.map(|(known, _)| (known, known.text().unwrap_or_default())) {
                Some((at, near)) if near == key => self
                    .fault(at, format!("{key} has no value"))
                    .next(format!("write `{key} : ...`")),
                Some((at, near)) => self
                    .fault(at, format!("{key} is missing"))
                    .next(format!("is `{near}` meant to be `{key}`?")),
                None => self
                    .fault(around, format!("{key} is missing"))
                    .next(format!("add a line `{key} : ...`")),
            }
        })
    }

    pub(super) fn map<'n, 't>(&self, node: &'n Node<'t>, what: &str) -> Result<Entries<'n, 't>> {
        match &node.value {
            Value::Map(entries) => Ok(entries),
            Value::Scalar(..) | Value::List(_) => Err(self
                .fault(node, format!("{what} is {}, not a map", node.kind()))
                .next("write `key : value` lines")),
        }
    }

    /// Items of a list; a key without a value has none.
    pub(super) fn items<'n, 't>(
        &self,
        node: Option<&'n Node<'t>>,
        key: &str,
    ) -> Result<&'n [Node<'t>]> {
        let Some(node) = node else {
            return Ok(&[]);
        };
        match &node.value {
            Value::List(items) => Ok(items),
            Value::Scalar(..) | Value::Map(_) => Err(self
                .fault(node, format!("{key} is {}, not a list", node.kind()))
                .next(format!(
                    "write each item of {key} on a line of its own behind a dash"
                ))),
        }
    }

    /// A list of one-entry maps.
    pub(super) fn named<'n, 't>(
        &self,
        node: Option<&'n Node<'t>>,
        key: &str,
    ) -> Result<Vec<(&'n Node<'t>, &'n Node<'t>)>> {
        let mut pairs = Vec::new();
        for item in self.items(node, key)? {
            match &item.value {
                Value::Map(entries) => match entries.as_slice() {
                    [(name, value)] => pairs.push((name, value)),
                    _ => return Err(self.one_entry(item, key)),
                },
                Value::Scalar(..) | Value::List(_) => return Err(self.one_entry(item, key)),
            }
        }
        Ok(pairs)
    }

    pub(super) fn one_entry(&self, node: &Node<'_>, key: &str) -> Fault {
        self.fault(node, format!("an item of {key} must be one `name : value`"))
            .next("check the indentation: what belongs to the name stands deeper than it")
    }

    pub(super) fn text(&self, node: &Node<'_>, key: &str) -> Result<String> {
        match node.text() {
            Some(text) if !text.contains('\0') => Ok(text.to_string()),
            Some(_) => Err(self
                .fault(node, format!("{key} holds a NUL"))
                .next("remove it")),
            None => Err(self
                .fault(node, format!("{key} is {}, not a text", node.kind()))
                .next(format!("write `{key} : text`"))),
        }
    }

    /// A text with its definitions filled in.
    pub(super) fn field(&self, node: &Node<'_>, key: &str) -> Result<String> {
        let text = self.text(node, key)?;
        self.macros
            .field(&text)
            .map_err(|fault| fault.at(self.file, node.line, node.column))
    }

    /// A text or a list of texts.
    pub(super) fn texts(&self, node: Option<&Node<'_>>, key: &str) -> Result<Vec<String>> {
        match node {
            Some(node) if node.text().is_some() => Ok(vec![self.text(node, key)?]),
            node => self
                .items(node, key)?
                .iter()
                .map(|item| self.text(item, key))
                .collect(),
        }
    }

    /// Unknown keys are told, repeated ones refused.
    pub(super) fn check_keys(&mut self, entries: Entries<'_, '_>, known: &[&str]) -> Result<()> {
        for (at, (key, _)) in entries.iter().enumerate() {
            let Some(text) = key.text() else { continue };
            if entries
                .iter()
                .take(at)
                .any(|(earlier, _)| earlier.text() == Some(text))
            {
                return Err(self
                    .fault(key, format!("{text} is given twice"))
                    .next("keep one of the two"));
            }
            if !known.contains(&text) {
                let warning = self.fault(key, format!("unknown key {text}, ignored"));
                self.warnings
                    .push(match nearest(text, known.iter().copied()) {
                        Some(near) => warning.next(format!("did you mean {near}?")),
                        None => warning.next("remove it"),
                    });
            }
        }
        Ok(())
    }
}
