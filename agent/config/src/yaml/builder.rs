//! From the parser's events to the tree.

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::budget::{Budget, MAX_DEPTH, Weight};
use super::{Entry, Node, Position, Value, scalar};
use crate::error::{Complaint, Report};
use crate::key_path::{KeyPath, Step};
use crate::text::quoted;

/// A map or list that is not finished yet.
struct Frame {
    at: Position,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, first_seen: HashMap<String, Position>, key: Option<Key> },
}

/// A key whose value has not come yet.
struct Key {
    text: String,
    at: Position,
    is_duplicate: bool,
}

struct Builder<'a> {
    file: u32,
    report: &'a mut Report,
    budget: &'a mut Budget,
    frames: Vec<Frame>,
    anchors: HashMap<usize, (Node, Weight)>,
    root: Option<Node>,
    documents: usize,
}

/// Why a file cannot be read to its end.
struct Fatal(Position, Complaint);

type Outcome = Result<(), Fatal>;

/// The tree of a file's text: an empty map for a file without content, `None` after an error that ends the reading.
pub(crate) fn parse(text: &str, file: u32, budget: &mut Budget, report: &mut Report) -> Option<Node> {
    let mut builder = Builder {
        file,
        report,
        budget,
        frames: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        documents: 0,
    };
    match builder.run(text) {
        Ok(()) => Some(builder.root.filter(|root| !matches!(root.value, Value::Null)).unwrap_or_else(|| {
            let at = Position { file, line: 1, column: 1 };
            Node { at, value: Value::Map(Vec::new()) }
        })),
        Err(Fatal(at, complaint)) => {
            let path = builder.path();
            builder.report.error(at, &path, complaint);
            None
        }
    }
}

// === impl Builder ===

impl Builder<'_> {
    fn run(&mut self, text: &str) -> Outcome {
        let mut parser = Parser::new_from_str(text);
        while let Some(next) = parser.next_event() {
            let (event, span) = next.map_err(|error| {
                Fatal(
                    self.position(*error.marker()),
                    Complaint::new(format!("invalid YAML: {}", error.info())),
                )
            })?;
            self.event(event, self.position(span.start))?;
        }
        Ok(())
    }

    fn event(&mut self, event: Event<'_>, at: Position) -> Outcome {
        match event {
            Event::DocumentStart(_) => self.start_document(at),
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.as_ref(), at)?;
                self.open(anchor, at, Content::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.as_ref(), at)?;
                let content = Content::Map { entries: Vec::new(), first_seen: HashMap::new(), key: None };
                self.open(anchor, at, content)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Scalar(text, style, anchor, tag) => self.scalar(&text, style, anchor, tag.as_ref(), at),
            Event::Alias(anchor) => self.alias(anchor, at),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn start_document(&mut self, at: Position) -> Outcome {
        self.documents += 1;
        if self.documents > 1 {
            let complaint = Complaint::new("a second YAML document").help("put it into a file of its own");
            return Err(Fatal(at, complaint));
        }
        Ok(())
    }

    fn open(&mut self, anchor: usize, at: Position, content: Content) -> Outcome {
        if self.expects_key() {
            return Err(Fatal(at, Complaint::new("a key must be plain text, not a map or a list")));
        }
        self.fit(1, at)?;
        self.frames.push(Frame { at, anchor, content });
        Ok(())
    }

    fn close(&mut self) -> Outcome {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        let value = match frame.content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(entries),
        };
        self.take(Weight { nodes: 1, ..Weight::default() }, frame.at)?;
        self.place(Node { at: frame.at, value }, frame.anchor)
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Cow<'_, Tag>>,
        at: Position,
    ) -> Outcome {
        self.take(Weight { nodes: 1, text_bytes: text.len(), depth: 0 }, at)?;
        if self.expects_key() {
            self.set_key(text, at);
            return Ok(());
        }
        let is_text = style != ScalarStyle::Plain || tag.is_some_and(|tag| is_string_tag(tag));
        if !is_text {
            self.refuse_tag(tag, at)?;
            if scalar::is_not_finite(text) {
                let complaint = Complaint::new(format!("{text} is not a number that JSON knows"));
                self.report.error(at, &self.path(), complaint.help("put it in quotes if text is meant"));
            }
        }
        let value = if is_text { Value::Text(text.to_string()) } else { scalar::resolve(text) };
        self.place(Node { at, value }, anchor)
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Outcome {
        if self.expects_key() {
            return Err(Fatal(at, Complaint::new("a key must be plain text, not an alias")));
        }
        let Some((_, weight)) = self.anchors.get(&anchor) else {
            return Err(Fatal(at, Complaint::new("an alias inside the value that it stands for")));
        };
        let weight = *weight;
        self.fit(weight.depth, at)?;
        self.take(weight, at)?;
        let Some((node, _)) = self.anchors.get(&anchor) else { return Ok(()) };
        let node = Node { at, value: node.value.clone() };
        self.place(node, 0)
    }

    /// Puts a finished node where it belongs, and keeps a copy if it has an anchor.
    fn place(&mut self, node: Node, anchor: usize) -> Outcome {
        if anchor > 0 {
            let weight = Weight::of(&node);
            self.take(weight, node.at)?;
            self.anchors.insert(anchor, (node.clone(), weight));
        }
        match self.frames.last_mut().map(|frame| &mut frame.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, key, .. }) => {
                if let Some(key) = key.take().filter(|key| !key.is_duplicate) {
                    entries.push(Entry { key: key.text, key_at: key.at, value: node });
                }
            }
        }
        Ok(())
    }

    fn set_key(&mut self, text: &str, at: Position) {
        let path = self.path();
        let Some(Content::Map { first_seen, key, .. }) = self.frames.last_mut().map(|f| &mut f.content)
        else {
            return;
        };
        let first = first_seen.get(text).copied();
        *key = Some(Key { text: text.to_string(), at, is_duplicate: first.is_some() });
        match first {
            None => {
                first_seen.insert(text.to_string(), at);
            }
            Some(first) => {
                let message = format!("the key {} is given twice", quoted(text));
                let help = format!("it already stands in line {}", first.line);
                self.report.error(at, &path, Complaint::new(message).help(help));
            }
        }
    }

    fn take(&mut self, cost: Weight, at: Position) -> Outcome {
        self.budget.take(cost).map_err(|complaint| Fatal(at, complaint))
    }

    fn expects_key(&self) -> bool {
        matches!(self.frames.last(), Some(Frame { content: Content::Map { key: None, .. }, .. }))
    }

    /// Whether `depth` more levels are allowed here.
    fn fit(&self, depth: usize, at: Position) -> Outcome {
        if self.frames.len() + depth > MAX_DEPTH {
            let message = format!("more than {MAX_DEPTH} maps and lists inside each other");
            return Err(Fatal(at, Complaint::new(message)));
        }
        Ok(())
    }

    fn refuse_tag(&self, tag: Option<&Cow<'_, Tag>>, at: Position) -> Outcome {
        match tag {
            None => Ok(()),
            Some(tag) => {
                Err(Fatal(at, Complaint::new(format!("the tag {} is not supported", quoted(&tag.suffix)))))
            }
        }
    }

    fn position(&self, mark: Marker) -> Position {
        let column = mark.col().saturating_add(1);
        let clamp = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Position { file: self.file, line: clamp(mark.line()), column: clamp(column) }
    }

    /// Where the builder stands now.
    fn path(&self) -> KeyPath {
        let mut path = KeyPath::default();
        for frame in &self.frames {
            match &frame.content {
                Content::List(items) => path.push(Step::Index(items.len())),
                Content::Map { key: Some(key), .. } => path.push(Step::Key(key.text.clone())),
                Content::Map { key: None, .. } => {}
            }
        }
        path
    }
}

fn is_string_tag(tag: &Tag) -> bool {
    tag.is_yaml_core_schema() && tag.suffix == "str"
}

#[cfg(test)]
mod tests;
