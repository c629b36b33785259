//! YAML as a tree that knows its places: each node and each key has its line and column.
//!
//! What it can take is bounded, so that a hostile file costs no more than an honest one of the same size: the
//! size of a file ([`MAX_FILE`]), its depth ([`MAX_DEPTH`]), and what anchors and aliases copy ([`MAX_COPIED`]).
//! Deliberately not here: what a document means.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput, Tag};

/// The largest file that is read, in bytes: tens of thousands of Triggers.
pub const MAX_FILE: usize = 16 * 1024 * 1024;

/// The deepest nesting of lists and maps: twice what a filter may nest, and the manifest around it.
pub const MAX_DEPTH: usize = 128;

/// The most that anchors and aliases of a file may copy, in bytes, each node counted as 64 bytes and its text.
pub const MAX_COPIED: usize = 1024 * 1024;

/// Where something stands in its file, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The line.
    pub(crate) line: usize,
    /// The column, in characters.
    pub(crate) column: usize,
}

/// A node of the tree.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Where it starts.
    pub(crate) place: Place,
    /// What it is.
    pub(crate) value: Value,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Nothing, `null` or `~`.
    Null,
    /// A text without quotes, which may be meant as a number or a boolean.
    Plain(String),
    /// A text with quotes, a block of text, or one tagged as a string.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping; no key comes twice.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Where the key starts.
    pub(crate) place: Place,
    /// The key.
    pub(crate) key: String,
    /// The value.
    pub(crate) node: Node,
}

/// Why the text is not YAML that Trigon reads.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    /// Where.
    pub(crate) place: Place,
    /// What and what would be right.
    pub(crate) message: String,
}

impl Node {
    /// The entry of a key, when this is a map that has it.
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            Value::Null | Value::Plain(_) | Value::Text(_) | Value::List(_) => None,
        }
    }

    /// What the node is, for people.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Plain(_) | Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    fn cost(&self) -> usize {
        64 + match &self.value {
            Value::Null => 0,
            Value::Plain(text) | Value::Text(text) => text.len(),
            Value::List(nodes) => nodes.iter().map(Self::cost).sum(),
            Value::Map(entries) => entries.iter().map(|entry| entry.key.len() + entry.node.cost()).sum(),
        }
    }
}

/// Reads the documents of a file. After a syntax error the documents before it are still there.
pub(crate) fn documents(text: &str) -> (Vec<Node>, Option<SyntaxError>) {
    let mut documents = Vec::new();
    if text.len() > MAX_FILE {
        let message = format!("the file is larger than {MAX_FILE} bytes; split it into files");
        return (documents, Some(SyntaxError { place: Place { line: 1, column: 1 }, message }));
    }
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: HashMap::new(), copied: 0 };
    loop {
        match reader.document() {
            Ok(Some(document)) => documents.push(document),
            Ok(None) => return (documents, None),
            Err(error) => return (documents, Some(error)),
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    copied: usize,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Option<Node>, SyntaxError> {
        loop {
            match self.next()? {
                Some((Event::DocumentStart(_), _)) => self.anchors.clear(),
                Some((Event::Nothing | Event::StreamStart | Event::DocumentEnd, _)) => {}
                Some((Event::StreamEnd, _)) | None => return Ok(None),
                Some((event, span)) => return self.node(event, span, 0).map(Some),
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, SyntaxError> {
        let place = place(&span.start);
        if depth > MAX_DEPTH {
            return Err(error(place, format!("nested more than {MAX_DEPTH} deep; make it flatter")));
        }
        let (value, anchor) = match event {
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err(error(place, "the alias stands inside its own anchor; write the value out"));
                };
                let node = node.clone();
                self.copy(&node, place)?;
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, tag) => {
                (scalar(text.into_owned(), style, tag.as_deref(), place)?, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), "seq", place)?;
                (Value::List(self.list(depth)?), anchor)
            }
            Event::MappingStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), "map", place)?;
                (Value::Map(self.map(depth)?), anchor)
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => return Err(error(place, "a value is missing")),
        };
        let node = Node { place, value };
        if anchor != 0 {
            self.copy(&node, place)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, SyntaxError> {
        let mut nodes = Vec::new();
        loop {
            match self.expect()? {
                (Event::SequenceEnd, _) => return Ok(nodes),
                (event, span) => nodes.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Entry>, SyntaxError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut keys = HashSet::new();
        loop {
            let (event, span) = self.expect()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(entries);
            }
            let key = self.node(event, span, depth + 1)?;
            let (Value::Plain(text) | Value::Text(text)) = key.value else {
                return Err(error(key.place, format!("{} cannot be a key; write a text", key.kind())));
            };
            if !keys.insert(text.clone()) {
                return Err(error(key.place, format!("the key {text:?} is there twice; remove one")));
            }
            let (event, span) = self.expect()?;
            let node = self.node(event, span, depth + 1)?;
            entries.push(Entry { place: key.place, key: text, node });
        }
    }

    fn copy(&mut self, node: &Node, place: Place) -> Result<(), SyntaxError> {
        self.copied = self.copied.saturating_add(node.cost());
        if self.copied > MAX_COPIED {
            let message =
                format!("anchors and aliases copy more than {MAX_COPIED} bytes; write the values out");
            return Err(error(place, message));
        }
        Ok(())
    }

    fn expect(&mut self) -> Result<(Event<'a>, Span), SyntaxError> {
        self.next()?.ok_or_else(|| error(Place { line: 1, column: 1 }, "the file ends within a value"))
    }

    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, SyntaxError> {
        self.parser.next_event().transpose().map_err(|cause| {
            let marker = cause.marker();
            let hint = hint(cause.info()).map_or_else(String::new, |hint| format!("; {hint}"));
            error(place(marker), format!("not YAML: {}{hint}", cause.info()))
        })
    }
}

fn place(marker: &Marker) -> Place {
    Place { line: marker.line().max(1), column: marker.col() + 1 }
}

/// What probably leads to a message of the parser, which speaks of its own state.
fn hint(info: &str) -> Option<&'static str> {
    const HINTS: [(&str, &str); 8] = [
        ("tabs disallowed", "indent with spaces"),
        ("did not find expected key", "compare the indentation of this line with the lines before"),
        ("expected '-' indicator", "compare the indentation of this line with the lines before"),
        ("unexpected character", "a text that starts with this character goes in quotes"),
        ("mapping values are not allowed", "a text with \": \" in it goes in quotes"),
        ("unknown anchor", "a text that starts with * goes in quotes"),
        ("invalid trailing content after", "a quote within single quotes is written twice"),
        ("simple key expect", "a \":\" may be missing on the line before"),
    ];
    HINTS.iter().find(|(part, _)| info.contains(part)).map(|(_, hint)| *hint)
}

fn error(place: Place, message: impl Into<String>) -> SyntaxError {
    SyntaxError { place, message: message.into() }
}

fn scalar(text: String, style: ScalarStyle, tag: Option<&Tag>, place: Place) -> Result<Value, SyntaxError> {
    if tag.is_some() {
        refuse_tag(tag, "str", place)?;
        return Ok(Value::Text(text));
    }
    Ok(match (style, text.as_str()) {
        (ScalarStyle::Plain, "" | "~" | "null" | "Null" | "NULL") => Value::Null,
        (ScalarStyle::Plain, _) => Value::Plain(text),
        _ => Value::Text(text),
    })
}

fn refuse_tag(tag: Option<&Tag>, allowed: &str, place: Place) -> Result<(), SyntaxError> {
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == allowed) => {
            let tag = if tag.is_yaml_core_schema() { format!("!!{}", tag.suffix) } else { tag.to_string() };
            Err(error(place, format!("the tag {tag} is not supported; leave it out")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only_error(text: &str) -> SyntaxError {
        documents(text).1.unwrap_or_else(|| panic!("{text:?} was read"))
    }

    #[test]
    fn nodes_and_keys_know_their_places() {
        let (documents, error) = documents("# comment\na: 1\nb:\n  - x\n  - \"y\"\n---\n\n  c: ü\n");
        assert!(error.is_none());
        let a = documents[0].entry("a").unwrap();
        assert_eq!((a.place.line, a.place.column), (2, 1));
        assert_eq!((a.node.place.line, a.node.place.column), (2, 4));
        let Value::List(items) = &documents[0].entry("b").unwrap().node.value else { panic!("no list") };
        assert_eq!((items[1].place.line, items[1].place.column), (5, 5));
        assert!(matches!(&items[0].value, Value::Plain(text) if text == "x"));
        assert!(matches!(&items[1].value, Value::Text(text) if text == "y"));
        let c = documents[1].entry("c").unwrap();
        assert_eq!((c.place.line, c.place.column), (8, 3));
    }

    #[test]
    fn documents_before_a_syntax_error_are_kept() {
        let (documents, error) = documents("a: 1\n---\nb: [\n");
        assert_eq!(documents.len(), 1);
        assert!(error.unwrap().message.starts_with("not YAML: "));
    }

    #[test]
    fn common_slips_are_answered_with_a_hint() {
        for (text, line, hint) in [
            ("a:\n\tb: x\n", 2, "indent with spaces"),
            ("a:\n  b: x\n c: y\n", 3, "compare the indentation"),
            ("a:\n- x\nb\n- y\n", 3, "\":\" may be missing"),
            ("a: @x\n", 1, "goes in quotes"),
            ("a: b: c\n", 1, "goes in quotes"),
            ("a: *.example.com\n", 1, "goes in quotes"),
            ("a: 'it's'\n", 1, "is written twice"),
        ] {
            let error = only_error(text);
            assert!(error.message.contains(hint), "{text:?}: {}", error.message);
            assert!((line..=line + 1).contains(&error.place.line), "{text:?}: line {}", error.place.line);
        }
    }

    #[test]
    fn byte_order_marks_and_carriage_returns_are_no_part_of_a_text() {
        let (documents, error) = documents("\u{feff}a: x\r\nb: y\r\n");
        assert!(error.is_none(), "{error:?}");
        assert!(matches!(&documents[0].entry("a").unwrap().node.value, Value::Plain(text) if text == "x"));
        assert_eq!(documents[0].entry("b").unwrap().place.line, 2);
    }

    #[test]
    fn a_key_that_comes_twice_is_an_error_at_its_second_place() {
        let error = only_error("a: 1\nb: 2\na: 3\n");
        assert_eq!((error.place.line, error.place.column), (3, 1));
        assert_eq!(error.message, "the key \"a\" is there twice; remove one");
    }

    #[test]
    fn an_alias_stands_for_its_anchor() {
        let (documents, error) = documents("a: &x {k: v}\nb: *x\n");
        assert!(error.is_none());
        assert!(documents[0].entry("b").unwrap().node.entry("k").is_some());
    }

    #[test]
    fn a_bomb_of_aliases_is_an_error() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..20 {
            let last = level - 1;
            text += &format!("a{level}: &a{level} [{}]\n", vec![format!("*a{last}"); 10].join(", "));
        }
        assert!(only_error(&text).message.contains("aliases copy more than"));
        let large = format!("a: &x \"{}\"\nb: [{}]\n", "y".repeat(100_000), vec!["*x"; 1_000].join(", "));
        assert!(only_error(&large).message.contains("aliases copy more than"));
        assert!(only_error("a: &x [*x]\n").message.contains("inside its own anchor"));
    }

    #[test]
    fn depth_and_size_are_bounded() {
        assert!(only_error(&"[".repeat(200)).message.contains("deep"));
        assert!(only_error(&"[".repeat(1_000_000)).place.line == 1);
        assert!(only_error(&"- ".repeat(10_000)).message.contains("deep"));
        assert!(only_error(&" ".repeat(MAX_FILE + 1)).message.contains("split it"));
    }

    #[test]
    fn tags_other_than_of_strings_are_refused() {
        let (documents, error) = documents("a: !!str 1\n");
        assert!(error.is_none());
        assert!(matches!(&documents[0].entry("a").unwrap().node.value, Value::Text(text) if text == "1"));
        assert_eq!(only_error("a: !!int 1\n").message, "the tag !!int is not supported; leave it out");
        assert!(only_error("a: !mine {}\n").message.contains("tag"));
    }
}
