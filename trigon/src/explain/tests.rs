//! The command without anything that runs.

use clap::Parser;
use serde_json::Value;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    explain: ExplainArguments,
}

const TRIGGERS: &str = "\
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: orders, namespace: shop}
spec:
  broker: main
  filter: {attributes: {type: never}}
  filters:
    - prefix: {type: order.}
    - not: {cesql: \"tenant = 'test'\"}
  subscriber: {ref: {apiVersion: v1, kind: Service, name: x}}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: stock, namespace: shop}
spec:
  broker: main
  filter: {attributes: {type: stock.changed, tenat: a}}
  subscriber: {uri: 'http://127.0.0.1:9000/'}
";

const EVENT: &str =
    r#"{"specversion":"1.0","id":"17","source":"/shop","type":"order.created","tenant":"a","data":{"n":1}}"#;

struct Said {
    ended: Result<(), Failure>,
    output: String,
    notes: String,
}

async fn explain(triggers: &str, event: &str, flags: &[&str]) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (triggers, event) = (file("t.yaml", triggers), file("e.json", event));
    let line = ["explain", "--trigger", &triggers, "--event", &event];
    let arguments = Line::try_parse_from(line.iter().chain(flags)).unwrap().explain;
    let (terminal, output, notes) = Terminal::captured();
    let ended = run(&arguments, &terminal).await;
    let here = format!("{}/", folder.path().display());
    Said { ended, output: output.text(), notes: notes.text().replace(&here, "") }
}

#[tokio::test]
async fn all_triggers_of_a_file_are_explained_as_trees() {
    let said = explain(TRIGGERS, EVENT, &[]).await;
    assert_eq!(said.ended, Ok(()));
    assert_eq!(
        said.output,
        "order.created 17 of /shop\n  \
           shop/orders matches\n    \
             ✓ all of\n      \
               ✓ type starts with \"order.\": \"order.created\"\n      \
               ✓ not\n        \
                 ✗ `tenant = 'test'`\n          \
                   tenant = 'test': FALSE\n            \
                     tenant: 'a'\n  \
           shop/stock does not match\n    \
             ✗ all of\n      \
               ✗ tenat is \"a\", but the event has no such attribute; did you mean tenant?\n      \
               ✗ type is \"stock.changed\", but it is \"order.created\"\n"
    );
    assert_eq!(said.notes, "shop/orders: spec.filter is not looked at, because spec.filters is there\n");
}

#[tokio::test]
async fn the_exit_status_is_1_when_no_trigger_wants_the_event() {
    for name in ["stock", "shop/stock"] {
        let said = explain(TRIGGERS, EVENT, &["--name", name]).await;
        assert_eq!(said.ended, Err(Failure::Reported), "{name}: {}", said.output);
        assert!(!said.output.contains("orders"), "{}", said.output);
    }
}

#[tokio::test]
async fn json_has_the_same_in_fields_without_the_data() {
    let said = explain(TRIGGERS, EVENT, &["--output", "json", "--name", "stock"]).await;
    let page: Value = serde_json::from_str(&said.output).unwrap();
    let event = &page["events"][0];
    assert_eq!((&event["event"]["tenant"], &event["event"]["data"]), (&"a".into(), &Value::Null));
    assert_eq!(event["data_bytes"], 7);
    let trigger = &event["triggers"][0];
    assert_eq!((&trigger["trigger"], &trigger["matches"]), (&"shop/stock".into(), &false.into()));
    let clause = &trigger["explanation"]["children"][0];
    assert_eq!((&clause["saw"], &clause["hint"]["similar_name"]), (&Value::Null, &"tenant".into()));
}

#[tokio::test]
async fn what_cannot_be_found_out_is_an_error_of_its_own() {
    for (triggers, event, flags, expected) in [
        (
            TRIGGERS,
            EVENT,
            &["--name", "none"][..],
            "there is no trigger none in t.yaml, only shop/orders, shop/stock",
        ),
        (TRIGGERS, "{}", &[], "could not read e.json as an event: attribute specversion"),
        ("kind: Broker\n", EVENT, &[], "could not read the filters in t.yaml"),
    ] {
        let said = explain(triggers, event, flags).await;
        let Err(Failure::Unanswered(message)) = said.ended else {
            panic!("{:?} {}", said.ended, said.output)
        };
        assert!(message.contains(expected.rsplit(' ').next().unwrap()), "{message}");
    }
    let bad = TRIGGERS.replace("tenant = 'test'", "tenant == 'test'");
    let said = explain(&bad, EVENT, &[]).await;
    assert!(
        said.notes.contains("t.yaml:9:") && said.notes.contains("filters[1].not.cesql"),
        "{}",
        said.notes
    );
}

#[tokio::test]
async fn what_is_neither_a_file_nor_a_name_is_wrong_usage() {
    let arguments =
        Line::try_parse_from(["explain", "--trigger", "nothere.yaml", "--id", "1"]).unwrap().explain;
    let (terminal, ..) = Terminal::captured();
    let Err(Failure::Usage(message)) = run(&arguments, &terminal).await else { panic!("it is wrong") };
    assert!(message.starts_with("--trigger: there is no file nothere.yaml"), "{message}");
}
