//! The TCK of CESQL, which is no part of this repository: `CESQL_TCK` names the folder that it is in.
//!
//! With the variable the cases are run. Without it the two tests count as ignored, with the reason in their
//! output, and fail when somebody asks for ignored tests: they neither pass without having looked nor stop those
//! who do not have the TCK. For that this file is a test harness of its own, of the few options that `cargo test`
//! and `cargo nextest` need.

#![expect(clippy::print_stdout, reason = "it is a command line program")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bytes::Bytes;
use saphyr_parser::{Event as Yaml, Parser, ScalarStyle, StrInput};
use serde_json::{Map, Value as Json, json};
use trigon_core::binding::http::{Incoming, decode, encode};
use trigon_core::binding::json as json_format;
use trigon_core::cesql::{ErrorKind, Expression, Value};
use trigon_core::delivery::Format;
use trigon_core::event::Event;

const HOW_TO_GET_IT: &str = "set CESQL_TCK to the folder cesql/cesql_tck of a clone of \
     https://github.com/cloudevents/spec to run the TCK";

/// How many cases the folder has at least; fewer are another folder.
const CASES: usize = 275;

/// Cases that contradict the specification, by file and expression, and why (X-07, SQLS-21).
const CONTRADICTIONS: [(&str, &str, &str); 1] = [(
    "not_operator.yaml",
    "NOT 10",
    "it wants true and a cast error; by section 3.7 an Integer other than 0 is cast to true, so that the result \
     is false, without an error, and so has the Go SDK's copy of the case",
)];

/// Runs the cases of a folder; in words what passed, or what did not.
type Test = fn(&Path) -> Result<String, String>;

/// SQLS-21, SQLS-22
const TESTS: [(&str, Test); 2] = [
    ("the_tck_passes_in_structured_mode", |folder| run(folder, Mode::Structured)),
    ("the_tck_passes_in_binary_mode", |folder| run(folder, Mode::Binary)),
];

/// How an event gets here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// As JSON, which tells Booleans and Integers from Strings.
    Structured,
    /// In headers, where everything is a String.
    Binary,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    let folder = std::env::var_os("CESQL_TCK").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let is_ignored = folder.is_none();
    let wants_ignored = has("--ignored") || has("--include-ignored");

    if has("--list") {
        // With --ignored only those that are ignored are listed.
        if !has("--ignored") || is_ignored {
            TESTS.iter().for_each(|(name, _)| println!("{name}: test"));
        }
        return ExitCode::SUCCESS;
    }
    let takes_value = ["--format", "--test-threads", "--skip", "--color", "--logfile"];
    let filters: Vec<_> = arguments
        .iter()
        .enumerate()
        .filter(|(place, argument)| {
            let is_value = *place > 0 && takes_value.contains(&arguments[place - 1].as_str());
            !argument.starts_with('-') && !is_value
        })
        .map(|(_, argument)| argument)
        .collect();
    let is_wanted = |name: &str| {
        filters.is_empty()
            || filters
                .iter()
                .any(|filter| if has("--exact") { name == *filter } else { name.contains(*filter) })
    };

    let mut code = ExitCode::SUCCESS;
    for (name, test) in TESTS.iter().filter(|(name, _)| is_wanted(name)) {
        let result = match &folder {
            Some(_) if has("--ignored") => continue,
            Some(folder) => test(folder),
            None if wants_ignored => Err(HOW_TO_GET_IT.to_owned()),
            None => {
                println!("test {name} ... ignored: {HOW_TO_GET_IT}");
                continue;
            }
        };
        match result {
            Ok(words) => println!("test {name} ... ok: {words}"),
            Err(words) => {
                println!("test {name} ... FAILED\n{words}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

/// A case of the TCK.
struct Case {
    file: String,
    name: String,
    expression: String,
    result: Option<Json>,
    error: Option<String>,
    event: Json,
}

fn run(folder: &Path, mode: Mode) -> Result<String, String> {
    let cases = cases(folder)?;
    if cases.len() < CASES {
        return Err(format!("{} has {} cases, not {CASES}: {HOW_TO_GET_IT}", folder.display(), cases.len()));
    }
    let is_contradiction = |case: &&Case| {
        CONTRADICTIONS.iter().any(|(file, text, _)| case.file == *file && case.expression == *text)
    };
    let (skipped, kept): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(is_contradiction);
    let mut wrong: Vec<String> = kept.iter().filter_map(|case| check(case, mode).err()).collect();
    // One that no longer contradicts has no place in the list.
    wrong.extend(
        skipped.iter().filter(|case| check(case, mode).is_ok()).map(|case| format!("{} passes", case.name)),
    );
    if skipped.len() != CONTRADICTIONS.len() {
        wrong.push(format!("{} of the cases that contradict the specification are there", skipped.len()));
    }
    if !wrong.is_empty() {
        return Err(format!("{} of {} cases\n{}", wrong.len(), cases.len(), wrong.join("\n")));
    }
    let skipped = CONTRADICTIONS.map(|(file, text, reason)| format!("but not {text} of {file}: {reason}"));
    Ok(format!("{} cases, {}", kept.len(), skipped.join("; ")))
}

fn check(case: &Case, mode: Mode) -> Result<(), String> {
    let wrong = |found: &str| {
        let Case { file, name, expression, result, error, event } = case;
        Err(format!(
            "{file}: {name}: {expression}\n  with {event}\n  found {found}, wanted {result:?} and error {error:?}"
        ))
    };
    let expression = match Expression::parse(&case.expression) {
        Ok(_) if case.error.as_deref() == Some("parse") => return wrong("an expression"),
        Ok(expression) => expression,
        Err(_) if case.error.as_deref() == Some("parse") => return Ok(()),
        Err(error) => return wrong(&error.to_string()),
    };
    let again = Expression::parse(&expression.to_string()).map_err(|error| error.to_string())?;
    if again != expression {
        return wrong(&format!("another expression when printed: {expression}"));
    }

    let event = event(&case.event, mode)?;
    let evaluation = expression.evaluate(&event);
    let errors: Vec<_> = evaluation.errors.iter().map(|error| word(error.kind)).collect();
    let is_value = match (&case.result, &evaluation.value) {
        (None, _) => true,
        (Some(Json::String(wanted)), Value::String(text)) => wanted == text,
        (Some(Json::Number(wanted)), Value::Integer(number)) => wanted.as_i64() == Some(i64::from(*number)),
        (Some(Json::Bool(wanted)), Value::Boolean(truth)) => wanted == truth,
        // Headers do not tell the type of the attribute that is the result.
        (Some(wanted), Value::String(text)) if mode == Mode::Binary => {
            let canonical = wanted.to_string();
            *text == canonical
        }
        (Some(_), _) => false,
    };
    let is_error = match &case.error {
        Some(wanted) => !errors.is_empty() && errors.iter().all(|error| error == wanted),
        None => errors.is_empty(),
    };
    if !is_value || !is_error {
        return wrong(&format!("{evaluation:?}"));
    }
    let passes = evaluation.value == Value::Boolean(true) && errors.is_empty();
    if expression.passes(&event) != passes {
        return wrong(&format!("as a filter {}", !passes));
    }
    Ok(())
}

fn word(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Math => "math",
        ErrorKind::Cast => "cast",
        ErrorKind::MissingAttribute => "missingAttribute",
        ErrorKind::MissingFunction => "missingFunction",
        ErrorKind::FunctionEvaluation => "functionEvaluation",
        ErrorKind::Generic => "generic",
    }
}

fn event(event: &Json, mode: Mode) -> Result<Event, String> {
    let text = Bytes::from(event.to_string());
    let event = json_format::parse(&text).map_err(|error| format!("no event: {error}"))?;
    if mode == Mode::Structured {
        return Ok(event);
    }
    let (headers, body) = encode(&event, Format::Binary);
    match decode(&headers, body) {
        Ok(Incoming::One(event)) => Ok(event),
        Ok(Incoming::Batch(_)) => Err("one event became a batch".to_owned()),
        Err(error) => Err(format!("no event: {error}")),
    }
}

fn cases(folder: &Path) -> Result<Vec<Case>, String> {
    let unreadable =
        |error: std::io::Error| format!("could not read {}: {error}: {HOW_TO_GET_IT}", folder.display());
    let mut cases = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(unreadable)?;
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Node::Map(mut document) = Reader { parser: Parser::new_from_str(&text) }.document()? else {
            return Err(format!("{file} is no map"));
        };
        let Some(Node::List(tests)) = document.remove("tests") else {
            return Err(format!("{file} has no tests"));
        };
        for test in tests {
            cases.push(case(&file, test)?);
        }
    }
    Ok(cases)
}

fn case(file: &str, test: Node) -> Result<Case, String> {
    let Node::Map(mut test) = test else { return Err(format!("{file} has a test that is no map")) };
    let mut text = |field: &str| match test.remove(field) {
        Some(Node::Scalar { text, .. }) => Ok(Some(text)),
        Some(_) => Err(format!("{file}: {field} is no scalar")),
        None => Ok(None),
    };
    let (name, expression, error) = (text("name")?, text("expression")?, text("error")?);
    let mut event = json!({"specversion": "1.0", "id": "1", "source": "/tck", "type": "tck"});
    if let Some(Json::Object(whole)) = test.remove("event").map(Node::json) {
        event = Json::Object(whole);
    }
    if let (Some(Json::Object(overrides)), Some(event)) =
        (test.remove("eventOverrides").map(Node::json), event.as_object_mut())
    {
        event.extend(overrides);
    }
    Ok(Case {
        file: file.to_owned(),
        name: name.unwrap_or_default(),
        expression: expression.ok_or_else(|| format!("{file} has a test without an expression"))?,
        result: test.remove("result").map(Node::json),
        error,
        event,
    })
}

/// A node of YAML that keeps the text of its scalars: the expression `TRUE` is a text, and the result `TRUE` is not.
enum Node {
    Scalar { text: String, is_plain: bool },
    List(Vec<Node>),
    Map(BTreeMap<String, Node>),
}

impl Node {
    fn json(self) -> Json {
        match self {
            Self::Scalar { text, is_plain: true } => match text.to_lowercase().as_str() {
                "true" => Json::Bool(true),
                "false" => Json::Bool(false),
                _ => text.parse::<i32>().map_or(Json::String(text), Json::from),
            },
            Self::Scalar { text, is_plain: false } => Json::String(text),
            Self::List(nodes) => nodes.into_iter().map(Self::json).collect(),
            Self::Map(nodes) => {
                nodes.into_iter().map(|(name, node)| (name, node.json())).collect::<Map<_, _>>().into()
            }
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Node, String> {
        loop {
            match self.next()? {
                Yaml::StreamStart | Yaml::DocumentStart(_) | Yaml::Nothing => {}
                event => return self.node(event),
            }
        }
    }

    fn node(&mut self, event: Yaml<'a>) -> Result<Node, String> {
        match event {
            Yaml::Scalar(text, style, ..) => {
                Ok(Node::Scalar { text: text.into_owned(), is_plain: style == ScalarStyle::Plain })
            }
            Yaml::SequenceStart(..) => {
                let mut nodes = Vec::new();
                loop {
                    match self.next()? {
                        Yaml::SequenceEnd => return Ok(Node::List(nodes)),
                        event => nodes.push(self.node(event)?),
                    }
                }
            }
            Yaml::MappingStart(..) => {
                let mut nodes = BTreeMap::new();
                loop {
                    let Node::Scalar { text, .. } = (match self.next()? {
                        Yaml::MappingEnd => return Ok(Node::Map(nodes)),
                        event => self.node(event)?,
                    }) else {
                        return Err("a key is no scalar".to_owned());
                    };
                    let event = self.next()?;
                    nodes.insert(text, self.node(event)?);
                }
            }
            other => Err(format!("the TCK has no {other:?}")),
        }
    }

    fn next(&mut self) -> Result<Yaml<'a>, String> {
        match self.parser.next_event() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("the file ends too early".to_owned()),
        }
    }
}
