//! YAML text as a tree in which every value knows its place and keeps its source text, so that `version: 1.10` stays
//! `1.10` and every fault can say where. Bounded: bytes, values, depth, and what aliases may multiply.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, Span};

use crate::fault::{Fault, Kind, Result};
use crate::limit;

/// One value and where it starts.
#[derive(Debug, Clone)]
pub struct Node<'t> {
    /// The value.
    pub value: Value<'t>,
    /// From 1.
    pub line: u32,
    /// From 1.
    pub column: u32,
}

/// A value as the source has it: nothing is taken for a number or a boolean before somebody asks.
#[derive(Debug, Clone)]
pub enum Value<'t> {
    /// A text; `Style::Plain` when it stands without quotes.
    Scalar(Cow<'t, str>, Style),
    /// Items in order.
    List(Vec<Node<'t>>),
    /// Entries in order; keys are scalars.
    Map(Vec<(Node<'t>, Node<'t>)>),
}

/// How a scalar was written, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Without quotes: may mean a number, a boolean or nothing.
    Plain,
    /// In quotes.
    Quoted,
    /// A block below its key.
    Block,
}

impl<'t> Node<'t> {
    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text, _) => Some(text),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Whether the key has nothing behind it: `builddeps:`, `~`, `null`.
    pub fn is_nothing(&self) -> bool {
        match &self.value {
            Value::Scalar(text, Style::Plain) => matches!(&**text, "" | "~" | "null"),
            Value::Scalar(..) | Value::List(_) | Value::Map(_) => false,
        }
    }

    /// The line of the first character of a scalar's text.
    pub fn text_line(&self) -> u32 {
        match &self.value {
            // A block's place is that of its first line that is not blank.
            Value::Scalar(text, Style::Block) => {
                let blank = text.bytes().take_while(|byte| *byte == b'\n').count();
                self.line.saturating_sub(number(blank)).max(1)
            }
            Value::Scalar(..) | Value::List(_) | Value::Map(_) => self.line,
        }
    }

    /// In words, for faults.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar(..) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// Reads one document.
pub fn read<'t>(text: &'t str, file: &str) -> Result<Node<'t>> {
    if text.len() > limit::RECIPE_BYTES_MAX {
        return Err(Fault::new(
            Kind::Recipe,
            format!(
                "the recipe has {} bytes, more than {}",
                text.len(),
                limit::RECIPE_BYTES_MAX
            ),
        )
        .next("move data into files below pkg/")
        .at(file, 0, 0));
    }
    let mut options = Options::default();
    options.emit_comments = false;
    Builder {
        file,
        open: Vec::new(),
        root: None,
        anchors: HashMap::new(),
        values: 0,
        documents: 0,
    }
    .run(Parser::new_from_str_with_options(text, options))
}

/// A list or map whose end has not come yet.
struct Open<'t> {
    node: Node<'t>,
    key: Option<Node<'t>>,
    anchor: usize,
}

struct Builder<'t, 'f> {
    file: &'f str,
    open: Vec<Open<'t>>,
    root: Option<Node<'t>>,
    anchors: HashMap<usize, Node<'t>>,
    values: usize,
    documents: usize,
}

impl<'t> Builder<'t, '_> {
    fn run<E>(mut self, events: E) -> Result<Node<'t>>
    where
        E: Iterator<
            Item = std::result::Result<(Event<'t>, Span), serde_saphyr::granit_parser::ScanError>,
        >,
    {
        for event in events {
            let (event, span) = event.map_err(|error| {
                let mark = error.marker();
                Fault::new(Kind::Recipe, format!("this is not YAML: {}", error.info()))
                    .next("check the indentation and the quotes there and on the line before")
                    .at(self.file, number(mark.line()), number(mark.col() + 1))
            })?;
            self.take(event, &span)?;
        }
        self.root.ok_or_else(|| {
            Fault::new(Kind::Recipe, "the recipe is empty")
                .next("write name, version, release and the other keys")
                .at(self.file, 1, 1)
        })
    }

    fn take(&mut self, event: Event<'t>, span: &Span) -> Result<()> {
        let (line, column) = (number(span.start.line()), number(span.start.col() + 1));
        let node = |value| Node {
            value,
            line,
            column,
        };
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let style = match style {
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
                    ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
                };
                self.put(node(Value::Scalar(text, style)), anchor)
            }
            Event::SequenceStart(_, anchor, _) => self.begin(node(Value::List(Vec::new())), anchor),
            Event::MappingStart(_, anchor, _) => self.begin(node(Value::Map(Vec::new())), anchor),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.put(open.node, open.anchor),
                None => Ok(()),
            },
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(mut copy) => {
                    (copy.line, copy.column) = (line, column);
                    self.count(size(&copy), line, column)?;
                    // Without this, aliases in aliases would nest without end and recursion with them.
                    if self.open.len() + depth(&copy) > limit::RECIPE_NESTING_MAX {
                        return Err(self.fault(TOO_DEEP, line, column));
                    }
                    self.put(copy, 0)
                }
                None => Err(self.fault("this alias points into itself", line, column)),
            },
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(self.fault("a second document starts here", line, column));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, node: Node<'t>, anchor: usize) -> Result<()> {
        if self.open.len() >= limit::RECIPE_NESTING_MAX {
            return Err(self.fault(TOO_DEEP, node.line, node.column));
        }
        self.open.push(Open {
            node,
            key: None,
            anchor,
        });
        Ok(())
    }

    /// A finished value goes into what is open around it.
    fn put(&mut self, node: Node<'t>, anchor: usize) -> Result<()> {
        self.count(1, node.line, node.column)?;
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
            self.count(size(&node), node.line, node.column)?;
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.node.value {
            Value::Scalar(..) => {}
            Value::List(items) => items.push(node),
            Value::Map(entries) => match open.key.take() {
                Some(key) => entries.push((key, node)),
                None => {
                    if node.text().is_none() {
                        let (line, column) = (node.line, node.column);
                        return Err(self.fault("a key must be a text", line, column));
                    }
                    open.key = Some(node);
                }
            },
        }
        Ok(())
    }

    fn count(&mut self, more: usize, line: u32, column: u32) -> Result<()> {
        self.values = self.values.saturating_add(more);
        if self.values > limit::RECIPE_VALUES_MAX {
            return Err(self.fault("the recipe holds too many values", line, column));
        }
        Ok(())
    }

    fn fault(&self, what: &str, line: u32, column: u32) -> Fault {
        Fault::new(Kind::Recipe, what)
            .next("write the recipe as one plain map")
            .at(self.file, line, column)
    }
}

const TOO_DEEP: &str = "lists and maps are nested too deeply";

/// How many lists and maps are inside each other.
fn depth(node: &Node<'_>) -> usize {
    match &node.value {
        Value::Scalar(..) => 0,
        Value::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Map(entries) => 1 + entries.iter().map(|(_, v)| depth(v)).max().unwrap_or(0),
    }
}

/// How many values a tree holds.
fn size(node: &Node<'_>) -> usize {
    match &node.value {
        Value::Scalar(..) => 1,
        Value::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(entries) => {
            1 + entries
                .iter()
                .map(|(_, value)| 1 + size(value))
                .sum::<usize>()
        }
    }
}

fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}
