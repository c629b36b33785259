//! Files of several documents: what is read, and where what is wrong is said to be.

use trigon_core::name::{BrokerId, Installation, TriggerId};
use trigon_core::routing::RoutingTable;
use trigon_crds::{MAX_PROBLEMS, build, built_in, load, parse, uris_only};

fn file(name: &str, text: &str) -> (String, String) {
    (name.to_owned(), text.to_owned())
}

fn table(text: &str) -> RoutingTable {
    load(&Installation::default(), &[file("routes.yaml", text)], &uris_only).expect("the file is good")
}

fn problems(files: &[(String, String)]) -> Vec<String> {
    let problems = load(&Installation::default(), files, &uris_only).expect_err("the files were accepted");
    problems.iter().map(ToString::to_string).collect()
}

const BROKER: &str = "\
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata:
  name: default
";

const TRIGGER: &str = "\
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata:
  name: orders
spec:
  broker: default
  subscriber:
    uri: http://127.0.0.1:9000/
";

#[test]
fn documents_of_any_number_of_files_become_one_table() {
    let files = [
        file("b.yaml", &format!("---\n# nothing\n---\n{TRIGGER}---\n{}", TRIGGER.replace("orders", "audit"))),
        file("a.yaml", BROKER),
        file("empty.yaml", ""),
        file("comment.yaml", "# nothing\n"),
    ];
    let table = load(&Installation::default(), &files, &uris_only).unwrap();
    let broker = &table.brokers[&BrokerId::new("default", "default")];
    let names: Vec<_> = broker.triggers.iter().map(|trigger| trigger.id.name.as_str()).collect();
    assert_eq!(names, ["audit", "orders"]);
    let objects = parse(&files).unwrap();
    assert_eq!(build(&Installation::default(), &objects, &uris_only).unwrap().brokers.len(), 1);
}

#[test]
fn a_list_is_unpacked() {
    let text = "
apiVersion: v1
kind: List
metadata: {resourceVersion: ''}
items:
- apiVersion: eventing.knative.dev/v1
  kind: Broker
  metadata: {name: default}
- apiVersion: eventing.knative.dev/v1
  kind: Trigger
  metadata: {name: orders}
  spec:
    broker: default
    subscriber: {uri: 'http://127.0.0.1:9000/'}
    color: red
";
    assert_eq!(
        problems(&[file("list.yaml", text)]),
        [
            "list.yaml:15:5: spec.color: unknown field; spec has broker, brokerRef, filter, filters, subscriber, delivery"
        ]
    );
    assert!(
        table(&text.replace("    color: red\n", "")).trigger(&TriggerId::new("default", "orders")).is_some()
    );
}

#[test]
fn what_a_cluster_adds_to_an_object_is_no_error() {
    let text = format!(
        "{}  uid: x\n  generation: 1\n  resourceVersion: '5'\n  creationTimestamp: 2026-11-21T08:00:00Z\n  managedFields: \
         [{{a: 1}}]\n  labels: {{a: b}}\n  annotations:\n    kubectl.kubernetes.io/last-applied-configuration: '{{}}'\n\
         spec: null\nstatus: {{conditions: [{{type: Ready}}]}}\n",
        BROKER
    );
    assert_eq!(table(&text).brokers.len(), 1);
}

/// VAL-03
#[test]
fn everything_wrong_in_all_files_is_reported_together_and_in_order() {
    let files = [
        file("a.yaml", &format!("{BROKER}spec:\n  delivery:\n    retry: -1\n    backoff: PT1S\n")),
        file(
            "b.yaml",
            &format!("{TRIGGER}---\nkind: Broker\n---\n{}", TRIGGER.replace("uri: http", "uri: ht tp")),
        ),
        file("c.yaml", "a: [\n"),
    ];
    assert_eq!(
        problems(&files),
        [
            "a.yaml:7:12: spec.delivery.retry: -1 is negative; write 0 or more",
            "a.yaml:8:5: spec.delivery.backoff: unknown field; did you mean \"backoffDelay\"?",
            "b.yaml:10:1: apiVersion: is missing; write apiVersion: eventing.knative.dev/v1",
            "b.yaml:10:1: metadata.name: is missing; name the object",
            "b.yaml:15:9: metadata.name: the Trigger default/orders is already at b.yaml:1; rename or remove one",
            "b.yaml:19:10: spec.subscriber.uri: \"ht tp://127.0.0.1:9000/\" is not absolute; write http://HOST:PORT/PATH",
            "c.yaml:2:1: not YAML: while parsing a node, did not find expected node content",
        ]
    );
}

#[test]
fn a_field_that_is_missing_is_reported_at_the_object_that_lacks_it() {
    let text = format!(
        "{BROKER}---\n{}",
        TRIGGER.replace("    uri: http://127.0.0.1:9000/\n", "    audience: me\n")
    );
    assert_eq!(
        problems(&[file("a.yaml", &text)]),
        ["a.yaml:12:3: spec.subscriber: has neither uri nor ref; write uri: http://HOST:PORT/PATH"]
    );
    let text = format!("{BROKER}---\n{}", TRIGGER.replace("  name: orders\n", "  namespace: default\n"));
    assert_eq!(
        problems(&[file("a.yaml", &text)]),
        ["a.yaml:8:1: metadata.name: is missing; name the object"]
    );
}

#[test]
fn a_misspelt_field_is_not_reported_as_missing_too() {
    let text = format!("{BROKER}---\n{}", TRIGGER.replace("subscriber:", "subscribers:"));
    assert_eq!(
        problems(&[file("a.yaml", &text)]),
        ["a.yaml:12:3: spec.subscribers: unknown field; did you mean \"subscriber\"?"]
    );
    let text =
        format!("{BROKER}---\n{}", TRIGGER.replace("subscriber:", "subscriber: http://x\n  delivery:"));
    assert_eq!(
        problems(&[file("a.yaml", &text)]),
        [
            "a.yaml:12:15: spec.subscriber: is a text; write a map of names to values, each with a space after its colon",
            "a.yaml:14:5: spec.delivery.uri: unknown field; it belongs at spec.subscriber.uri",
        ]
    );
}

#[test]
fn a_file_that_cannot_be_read_does_not_make_its_brokers_missing() {
    for broken in [
        "a: [",
        "kind: Brokr\napiVersion: eventing.knative.dev/v1",
        "- a",
        &BROKER.replace("name: default", "name: 1"),
    ] {
        let problems = problems(&[file("a.yaml", broken), file("b.yaml", TRIGGER)]);
        assert!(problems.iter().all(|problem| problem.starts_with("a.yaml:")), "{problems:#?}");
    }
}

#[test]
fn other_kinds_are_refused_by_name() {
    let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n---\nkind: Triger\napiVersion: x\n---\n- a\n---\ntext\n";
    assert_eq!(
        problems(&[file("a.yaml", text)]),
        [
            "a.yaml:2:7: kind: \"Secret\" is not read here, only Broker and Trigger are; move it to a folder of its own",
            "a.yaml:5:7: kind: \"Triger\" is not read here, only Broker and Trigger are; did you mean Trigger?",
            "a.yaml:8:1: the document is a list; write a Broker or a Trigger",
            "a.yaml:10:1: the document is a text; write a Broker or a Trigger",
        ]
    );
    let text = BROKER.replace("eventing.knative.dev/v1", "eventing.knative.dev/v1beta1");
    assert_eq!(
        problems(&[file("a.yaml", &text)]),
        [
            "a.yaml:1:13: apiVersion: \"eventing.knative.dev/v1beta1\" is not read here; write \"eventing.knative.dev/v1\""
        ]
    );
}

#[test]
fn a_trigger_without_its_broker_is_refused_with_those_that_there_are() {
    let missing = |brokers: &str| problems(&[file("b.yaml", brokers), file("t.yaml", TRIGGER)]).join("\n");
    assert_eq!(
        missing(""),
        "t.yaml:6:11: spec.broker: there is no Broker \"default\" in namespace \"default\"; add a document of kind Broker \
         with this name"
    );
    let two = format!("{}---\n{}", BROKER.replace("default", "one"), BROKER.replace("default", "two"));
    assert!(missing(&two).ends_with("in namespace \"default\"; there are one, two"), "{}", missing(&two));
    let elsewhere = BROKER.replace("name: default", "name: default\n  namespace: shop");
    assert!(missing(&elsewhere).ends_with("write metadata.namespace: shop"), "{}", missing(&elsewhere));
}

#[test]
fn objects_of_one_name_are_told_apart_by_namespace_and_kind_only() {
    let elsewhere = "name: default\n  namespace: shop";
    let two = format!("{BROKER}---\n{}", BROKER.replace("name: default", elsewhere));
    assert_eq!(table(&two).brokers.len(), 2);
    let same = [file("a.yaml", BROKER), file("b.yaml", BROKER)];
    assert_eq!(
        problems(&same),
        [
            "b.yaml:4:9: metadata.name: the Broker default/default is already at a.yaml:1; rename or remove one"
        ]
    );
    let trigger = TRIGGER.replace("name: orders", "name: default");
    assert_eq!(table(&format!("{BROKER}---\n{trigger}")).brokers.len(), 1);
}

/// FLN-08, VAL-25
#[test]
fn an_expression_is_read_and_what_is_wrong_with_it_has_its_place_in_the_file() {
    let with = |cesql: &str| format!("{BROKER}---\n{TRIGGER}  filters:\n  - any:\n    - cesql: {cesql}\n");
    for cesql in ["\"type = 'a'\"", "type = 'a'", "\"TRUE\"", "|\n        type = 'a'\n        AND id = '1'"] {
        assert_eq!(table(&with(cesql)).brokers.len(), 1, "{cesql}");
    }
    for (cesql, place, message) in [
        ("type == 'a'", "16:20", "expected a value, found =; equality is one ="),
        ("\"type == 'a'\"", "16:21", "expected a value, found =; equality is one ="),
        ("'type = ''a'' ANND id = 1'", "16:28", "expected an operator or the end, found ANND"),
        (
            "|\n        type = 'a'\n        AND id == '1'",
            "18:17",
            "expected a value, found =; equality is one =",
        ),
        (
            ">-\n        type = 'a'\n        AND id == '1'",
            "18:17",
            "expected a value, found =; equality is one =",
        ),
        ("\"type = \\\"a\\\" & id\"", "16:28", "an expression has no '&' outside of a text; write AND"),
        ("EXISTS", "16:20", "expected the name of an attribute after EXISTS, found the end"),
        ("= 'a'", "16:14", "expected a value, found ="),
    ] {
        assert_eq!(
            problems(&[file("a.yaml", &with(cesql))]),
            [format!("a.yaml:{place}: spec.filters[0].any[0].cesql: {message}")],
            "{cesql}"
        );
    }
}

/// FLN-17
#[test]
fn a_filter_that_nests_too_deep_is_refused() {
    let filter = format!("{}{}{}", "{not: ".repeat(40), "{exact: {type: a}}", "}".repeat(40));
    let text = format!("{BROKER}---\n{TRIGGER}  filters: [{filter}]\n");
    let problems = problems(&[file("a.yaml", &text)]);
    assert!(problems[0].contains("nests") && problems[0].contains("at most 32 levels"), "{problems:#?}");
}

#[test]
fn the_number_of_problems_is_bounded() {
    let documents = "kind: Service\n---\n".repeat(2 * MAX_PROBLEMS);
    assert_eq!(problems(&[file("a.yaml", &documents)]).len(), MAX_PROBLEMS);
    let fields: String = (0..2 * MAX_PROBLEMS).map(|n| format!("field{n}: x\n")).collect();
    assert_eq!(problems(&[file("a.yaml", &format!("{BROKER}{fields}"))]).len(), MAX_PROBLEMS);
}

#[test]
fn the_built_in_table_is_what_a_broker_named_default_gives() {
    let (built_in, written) = (built_in(&Installation::default()), table(BROKER));
    let id = BrokerId::new("default", "default");
    assert_eq!(built_in.brokers.len(), 1);
    assert_eq!(built_in.brokers[&id].topic, written.brokers[&id].topic);
    assert_eq!(built_in.brokers[&id].topic_settings, written.brokers[&id].topic_settings);
    assert!(built_in.brokers[&id].triggers.is_empty());
}
