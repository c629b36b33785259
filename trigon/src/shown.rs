//! An event as people read it, and as it stands within JSON lines.

use std::borrow::Cow;
use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Zoned;
use jiff::tz::TimeZone;
use serde_json::value::RawValue;
use trigon_core::binding::json;
use trigon_core::event::Event;
use trigon_core::record::Timestamp;

use crate::failure::Failure;
use crate::terminal::{DIM, NAME, styled};

/// Binary data is shown up to this many bytes.
const MAX_BINARY: usize = 64;

/// JSON that nests deeper is shown as it came: a line per bracket, each indented by all those around it, would take
/// memory by the square of the depth.
const MAX_DEPTH: usize = 32;

/// The attributes, one per line, and the data below them, all indented.
pub(crate) fn event(event: &Event) -> String {
    let mut text = String::new();
    let attributes = event.attributes().iter().map(|attribute| (&*attribute.name, &*attribute.value));
    let attributes = std::iter::once(("specversion", event.spec_version().as_str())).chain(attributes);
    let width = attributes.clone().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, value) in attributes {
        line(&mut text, name, width, value);
    }
    if let Some(bytes) = event.data() {
        for part in data(bytes).lines() {
            writeln!(text, "    {part}").expect("a String takes every text");
        }
    }
    text
}

/// The headers of a record, one per line, indented; they may come from anybody.
pub(crate) fn headers(headers: &[(String, String)]) -> String {
    let mut text = String::new();
    let width = headers.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, value) in headers {
        line(&mut text, &plain(name), width, value);
    }
    text
}

/// Without control characters.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '·' } else { c }).collect()
}

/// A name and a value without control characters, indented.
fn line(text: &mut String, name: &str, width: usize, value: &str) {
    let shown = plain(value);
    let name = styled(NAME, format_args!("{name:width$}"));
    writeln!(text, "  {name}  {shown}").expect("a String takes every text");
}

/// What a subscriber answered, which events carry in base64 (DLS-06); indented, and nothing when it is not that.
pub(crate) fn answer(base64: &str) -> String {
    let Ok(bytes) = STANDARD.decode(base64) else { return String::new() };
    let mut text = String::new();
    for part in data(&bytes.into()).lines() {
        writeln!(text, "    {part}").expect("a String takes every text");
    }
    text
}

/// The event in the JSON format.
pub(crate) fn event_json(event: &Event) -> Box<RawValue> {
    serde_json::from_slice(&json::write(event)).expect("the JSON format is JSON")
}

/// The event that a text in the JSON format holds.
///
/// # Errors
/// When it holds none.
pub(crate) fn event_of(json: &RawValue) -> Result<Event, Failure> {
    json::parse(&Bytes::from(json.get().to_owned()))
        .map_err(|error| Failure::of("could not read the event", &error))
}

/// The time of day in the machine's time zone, to the millisecond.
pub(crate) fn time_of_day(time: Timestamp) -> String {
    let zoned = jiff::Timestamp::from_millisecond(time.0).map(|time| Zoned::new(time, TimeZone::system()));
    zoned.map_or_else(|_| time.0.to_string(), |zoned| zoned.strftime("%H:%M:%S%.3f").to_string())
}

/// RFC 3339, in UTC.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(time.0).map_or_else(|_| time.0.to_string(), |time| time.to_string())
}

/// The clock of this machine.
pub(crate) fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_millisecond())
}

/// JSON is laid out, other text shown as it is, binary data by its first bytes.
fn data(bytes: &Bytes) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else {
        let head = bytes[..bytes.len().min(MAX_BINARY)].escape_ascii();
        let more = if bytes.len() > MAX_BINARY { "…" } else { "" };
        return format!("{} {head}{more}", styled(DIM, format_args!("{} bytes:", bytes.len())));
    };
    // Through a map of its own a large number would lose digits, so only the layout is changed.
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    let text =
        if is_json && depth(text) <= MAX_DEPTH { Cow::Owned(laid_out(text)) } else { Cow::Borrowed(text) };
    // Strings in JSON may hold control characters too, those above U+007F as they are.
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '·' } else { c }).collect()
}

/// How deep valid JSON nests.
fn depth(json: &str) -> usize {
    let mut in_string = Outside::default();
    let (mut depth, mut deepest) = (0_usize, 0);
    for character in json.chars().filter(|character| !in_string.enters(*character)) {
        match character {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Valid JSON with a line per member, its literals untouched.
fn laid_out(json: &str) -> String {
    let mut text = String::with_capacity(2 * json.len());
    let mut depth = 0_usize;
    let mut characters = json.chars().filter(Outside::default().into_filter()).peekable();
    let mut in_string = Outside::default();
    while let Some(character) = characters.next() {
        let inside = in_string.enters(character);
        if inside {
            text.push(character);
            continue;
        }
        match character {
            '{' | '[' => {
                text.push(character);
                if matches!(characters.peek(), Some('}' | ']')) {
                    continue;
                }
                depth += 1;
                new_line(&mut text, depth);
            }
            '}' | ']' => {
                if !text.ends_with(['{', '[']) {
                    depth = depth.saturating_sub(1);
                    new_line(&mut text, depth);
                }
                text.push(character);
            }
            ',' => {
                text.push(character);
                new_line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            _ => text.push(character),
        }
    }
    text
}

fn new_line(text: &mut String, depth: usize) {
    text.push('\n');
    text.extend(std::iter::repeat_n("  ", depth));
}

/// Tells what is inside the strings of a JSON text.
#[derive(Default)]
struct Outside {
    in_string: bool,
    escaped: bool,
}

impl Outside {
    /// Whether the character, quotes included, is of a string.
    fn enters(&mut self, character: char) -> bool {
        if !self.in_string {
            self.in_string = character == '"';
            return self.in_string;
        }
        if self.escaped {
            self.escaped = false;
        } else if character == '\\' {
            self.escaped = true;
        } else if character == '"' {
            self.in_string = false;
        }
        true
    }

    /// Keeps what is not white space between the literals.
    fn into_filter(mut self) -> impl FnMut(&char) -> bool {
        move |character| self.enters(*character) || !character.is_ascii_whitespace()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trigon_core::event::EventBuilder;

    use super::*;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn an_event_is_shown_with_its_attributes_and_its_data_laid_out() {
        let shown = EventBuilder::new()
            .spec_version("1.0")
            .attribute("id", "1")
            .attribute("source", "/s")
            .attribute("type", "t")
            .data(r#"{"a":[1,12345678901234567890.10],"b":{},"c":"x, \"y\": {"}"#)
            .build()
            .map(|built| plain(&event(&built)))
            .unwrap();
        let expected = r#"  specversion  1.0
  id           1
  source       /s
  type         t
    {
      "a": [
        1,
        12345678901234567890.10
      ],
      "b": {},
      "c": "x, \"y\": {"
    }
"#;
        assert_eq!(shown, expected);
    }

    #[test]
    fn other_data_is_shown_as_text_or_by_its_first_bytes() {
        assert_eq!(plain(&data(&Bytes::from_static(b"a\nb\x1b[31m"))), "a\nb·[31m");
        assert_eq!(plain(&data(&Bytes::from_static(&[0xff, b'a']))), "2 bytes: \\xffa");
        assert!(plain(&data(&vec![0xff; 100].into())).ends_with('…'));
    }

    #[test]
    fn data_cannot_move_the_cursor_from_within_a_json_string() {
        assert_eq!(data(&Bytes::from("\"a\u{9b}2Jb\"")), "\"a·2Jb\"");
    }

    #[test]
    fn json_that_nests_deep_is_shown_as_it_came() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(data(&nested(MAX_DEPTH).into()).contains('\n'));
        for deep in [MAX_DEPTH + 1, 500_000] {
            assert_eq!(data(&nested(deep).into()), nested(deep), "{deep}");
        }
        let brackets_in_a_string = format!("[\"{}\"]", "[".repeat(100));
        assert!(data(&brackets_in_a_string.into()).contains('\n'));
    }

    #[test]
    fn an_attribute_cannot_move_the_cursor() {
        let mut text = String::new();
        line(&mut text, "id", 3, "a\x1b[2Jb \"c\"");
        assert_eq!(plain(&text), "  id   a·[2Jb \"c\"\n");
    }

    proptest! {
        #[test]
        fn layout_changes_white_space_only(keys in proptest::collection::vec(".{0,8}", 0..4), number in any::<i64>()) {
            let object: serde_json::Map<_, _> = keys
                .into_iter()
                .map(|key| (key.clone(), serde_json::json!([number, key, {}, [], null])))
                .collect();
            let value = serde_json::Value::Object(object);
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                let out = laid_out(&text);
                prop_assert_eq!(&out, &serde_json::to_string_pretty(&value).unwrap());
            }
        }
    }
}
