//! What the routing table makes of Brokers and Triggers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use trigon_core::delivery::{
    Backoff, BackoffPolicy, DEFAULT_RETRY_AFTER_MAX, DEFAULT_TIMEOUT, DeliveryPolicy, Format, Order,
    RetryAfter,
};
use trigon_core::filter::Filter;
use trigon_core::name::{Installation, TriggerId};
use trigon_core::record::Timestamp;
use trigon_core::routing::{RoutingTable, StartFrom, Trigger, TriggerState};
use trigon_crds::{load, uris_only};

/// The table of a Broker and two Triggers with these deliveries, each a flow mapping or nothing.
fn table(broker: &str, first: &str, second: &str) -> RoutingTable {
    let header = "apiVersion: eventing.knative.dev/v1\n";
    let trigger = |name: &str, delivery: &str| {
        format!(
            "{header}kind: Trigger\nmetadata: {{name: {name}}}\nspec:\n  broker: default\n  subscriber: {{uri: \
             'http://127.0.0.1:9000/'}}\n  delivery: {delivery}\n"
        )
    };
    let text = format!(
        "{header}kind: Broker\nmetadata: {{name: default}}\nspec: {{delivery: {broker}}}\n---\n{}---\n{}",
        trigger("first", first),
        trigger("second", second)
    );
    load(&Installation::default(), &[("routes.yaml".to_owned(), text)], &uris_only)
        .expect("the routes are good")
}

fn delivery(table: &RoutingTable, name: &str) -> DeliveryPolicy {
    trigger(table, name).delivery.clone()
}

fn trigger(table: &RoutingTable, name: &str) -> Arc<Trigger> {
    let (_, trigger) = table.trigger(&TriggerId::new("default", name)).expect("the Trigger is there");
    trigger.clone()
}

/// Retries and dead letter sink, which is what the conformance matrix is about.
fn of(table: &RoutingTable, name: &str) -> (u32, Option<String>) {
    let delivery = delivery(table, name);
    (delivery.retry, delivery.dead_letter_sink.map(|sink| sink.text))
}

const BROKER_SINK: &str = "http://127.0.0.1:1/broker";
const OWN_SINK: &str = "http://127.0.0.1:1/own";

fn with_sink(retry: u32, sink: &str) -> String {
    format!("{{retry: {retry}, deadLetterSink: {{uri: '{sink}'}}}}")
}

/// TST-14, DLV-26
#[test]
fn without_delivery_there_is_one_attempt_and_no_dead_letter_sink() {
    let table = table("", "", "");
    assert_eq!(of(&table, "first"), (0, None));
    let delivery = delivery(&table, "first");
    assert_eq!(delivery.backoff, None);
    assert_eq!(delivery.timeout, DEFAULT_TIMEOUT);
    assert_eq!(delivery.retry_after, RetryAfter::UpTo(DEFAULT_RETRY_AFTER_MAX));
    assert_eq!(delivery.format, Format::Binary);
}

/// TST-15
#[test]
fn a_trigger_without_delivery_has_its_brokers() {
    let table = table(&with_sink(3, BROKER_SINK), "", "{}");
    assert_eq!(of(&table, "first"), (3, Some(BROKER_SINK.to_owned())));
    assert_eq!(of(&table, "second"), (3, Some(BROKER_SINK.to_owned())), "an empty delivery sets no option");
}

/// TST-16
#[test]
fn a_trigger_replaces_its_brokers_retries_and_brings_its_own_sink() {
    let table = table("{retry: 0}", &with_sink(3, OWN_SINK), "{retry: 1}");
    assert_eq!(of(&table, "first"), (3, Some(OWN_SINK.to_owned())));
    assert_eq!(of(&table, "second"), (1, None));
}

/// TST-17, TST-18
#[test]
fn each_trigger_has_its_own_delivery_or_its_brokers() {
    let table = table(&with_sink(1, BROKER_SINK), &with_sink(3, OWN_SINK), "");
    assert_eq!(of(&table, "first"), (3, Some(OWN_SINK.to_owned())));
    assert_eq!(of(&table, "second"), (1, Some(BROKER_SINK.to_owned())));
}

/// DLV-25, X-02
#[test]
fn a_triggers_delivery_replaces_its_brokers_as_a_whole_but_for_a_missing_sink() {
    let broker = format!(
        "{{retry: 9, timeout: PT1S, backoffPolicy: linear, backoffDelay: PT1S, retryAfterMax: PT1S, format: json, \
         deadLetterSink: {{uri: '{BROKER_SINK}'}}}}"
    );
    let table = table(&broker, "{timeout: PT2S}", "");
    let first = delivery(&table, "first");
    assert_eq!(first.retry, 0);
    assert_eq!(first.timeout, Duration::from_secs(2));
    assert_eq!(first.backoff, None);
    assert_eq!(first.retry_after, RetryAfter::UpTo(DEFAULT_RETRY_AFTER_MAX));
    assert_eq!(first.format, Format::Binary);
    assert_eq!(first.dead_letter_sink.unwrap().text, BROKER_SINK);
    let second = delivery(&table, "second");
    assert_eq!(second.retry, 9);
    let delay = Duration::from_secs(1);
    assert_eq!(second.backoff, Some(Backoff { policy: BackoffPolicy::Linear, delay }));
    assert_eq!(second.retry_after, RetryAfter::UpTo(delay));
    assert_eq!(second.format, Format::Json);
}

fn filter(spec: &str) -> Filter {
    let text = format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: default}}\n---\n\
         apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: first}}\nspec:\n  broker: default\n  \
         subscriber: {{uri: 'http://127.0.0.1:9000/'}}\n{spec}"
    );
    let table = load(&Installation::default(), &[("routes.yaml".to_owned(), text)], &uris_only)
        .expect("the routes are good");
    trigger(&table, "first").filter.clone()
}

fn map(name: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(name.to_owned(), value.to_owned())])
}

/// FLN-01, FLN-02, FLN-11
#[test]
fn filters_replace_filter_unless_they_are_empty() {
    let exact = |value| Filter::exact(&map("type", value)).unwrap();
    let attributes = "  filter: {attributes: {type: a}}\n";
    assert_eq!(filter(""), Filter::everything());
    assert_eq!(filter(attributes), Filter::attributes(&map("type", "a")).unwrap());
    assert_eq!(
        filter(&format!("{attributes}  filters: []\n")),
        Filter::attributes(&map("type", "a")).unwrap()
    );
    assert_eq!(filter(&format!("{attributes}  filters: [{{exact: {{type: b}}}}]\n")), exact("b"));
    assert_eq!(filter(&format!("{attributes}  filters: [{{}}]\n")), Filter::everything());
    assert_eq!(
        filter("  filters: [{exact: {type: a}}, {exact: {type: b}}]\n"),
        Filter::all([exact("a"), exact("b")]).unwrap()
    );
}

/// SCH-13
#[test]
fn every_dialect_becomes_its_filter() {
    let (a, b) = (map("type", "a"), map("source", "b"));
    let exact = || Filter::exact(&a).unwrap();
    let prefix = || Filter::prefix(&b).unwrap();
    assert_eq!(filter("  filters: [{prefix: {source: b}}]\n"), prefix());
    assert_eq!(filter("  filters: [{suffix: {source: b}}]\n"), Filter::suffix(&b).unwrap());
    assert_eq!(filter("  filters: [{not: {exact: {type: a}}}]\n"), Filter::not(exact()).unwrap());
    let list = "[{exact: {type: a}}, {prefix: {source: b}}]";
    assert_eq!(filter(&format!("  filters: [{{any: {list}}}]\n")), Filter::any([exact(), prefix()]).unwrap());
    assert_eq!(filter(&format!("  filters: [{{all: {list}}}]\n")), Filter::all([exact(), prefix()]).unwrap());
}

#[test]
fn annotations_become_settings_of_trigger_and_topic() {
    let text = "
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata:
  name: orders
  namespace: shop
  annotations: {trigon.dev/partitions: '7', trigon.dev/retention: forever, trigon.dev/retention-bytes: 1Ki}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata:
  name: billing
  namespace: shop
  annotations:
    trigon.dev/order: key
    trigon.dev/concurrency: '3'
    trigon.dev/rate: '2.5'
    trigon.dev/start-from: 1970-01-01T00:00:01Z
    trigon.dev/paused: 'true'
spec:
  broker: orders
  subscriber: {uri: 'http://127.0.0.1:9000/'}
";
    let table =
        load(&Installation::default(), &[("routes.yaml".to_owned(), text.to_owned())], &uris_only).unwrap();
    let (broker, trigger) = table.trigger(&TriggerId::new("shop", "billing")).unwrap();
    assert_eq!(broker.topic_settings.partitions, 7);
    assert_eq!(broker.topic_settings.retention_age, None);
    assert_eq!(broker.topic_settings.retention_bytes, Some(1_024));
    assert_eq!(trigger.broker, broker.id);
    assert_eq!(trigger.group, Installation::default().group(&broker.id, &trigger.id));
    assert_eq!(trigger.order, Order::Key);
    assert_eq!(trigger.concurrency, 3);
    assert_eq!(trigger.rate, Some(2.5));
    assert_eq!(trigger.start_from, StartFrom::Time(Timestamp(1_000)));
    assert_eq!(trigger.state, TriggerState::Paused);
}

/// KAF-15
#[test]
fn the_annotations_of_a_broker_win_over_its_config_map_and_that_over_the_defaults() {
    let table = |annotations: &str, data: &str| {
        let text = format!(
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: b, annotations: {annotations}}}\n\
             spec: {{config: {{apiVersion: v1, kind: ConfigMap, name: c}}}}\n---\napiVersion: v1\nkind: ConfigMap\n\
             metadata: {{name: c}}\ndata: {data}\n"
        );
        let files = [("a.yaml".to_owned(), text)];
        let table = load(&Installation::default(), &files, &uris_only).expect("the routes are good");
        let broker = table.brokers.values().next().expect("there is one").clone();
        (broker.topic_settings.clone(), broker.topic.to_string())
    };
    let data = "{default.topic.partitions: '10', default.topic.replication.factor: '3', \
                default.topic.config.retention.ms: '60000', default.topic.config.retention.bytes: '100', \
                default.topic.config.segment.bytes: '7', default.topic.config.min.insync.replicas: '2'}";
    let (settings, topic) = table("{}", data);
    assert_eq!((settings.partitions, settings.replication_factor), (10, Some(3)));
    assert_eq!(settings.retention_age, Some(Duration::from_secs(60)));
    // Kafka's limit is for each partition.
    assert_eq!(settings.retention_bytes, Some(1_000));
    let kafka = [("min.insync.replicas", "2"), ("segment.bytes", "7")];
    let kafka = kafka.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!((settings.kafka, topic.as_str()), (BTreeMap::from(kafka), "trigon.default.b"));

    let annotations = "{trigon.dev/partitions: '2', trigon.dev/retention: forever, trigon.dev/retention-bytes: 5k, \
                       trigon.dev/replication-factor: '1', trigon.dev/min-insync-replicas: '1'}";
    let (settings, _) = table(annotations, data);
    assert_eq!((settings.partitions, settings.replication_factor), (2, Some(1)));
    assert_eq!((settings.retention_age, settings.retention_bytes), (None, Some(5_000)));
    assert_eq!(settings.kafka["min.insync.replicas"], "1");

    let (settings, topic) = table("{kafka.eventing.knative.dev/external.topic: theirs}", data);
    assert_eq!(
        (settings.external.map(|topic| topic.to_string()), topic.as_str()),
        (Some("theirs".into()), "theirs")
    );
    assert_eq!(settings.partitions, 4);
}

/// KAF-15
#[test]
fn keys_of_a_config_map_that_decide_nothing_are_noted_at_their_place() {
    let broker = |name: &str| {
        format!(
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: {name}}}\nspec: {{config: \
             {{apiVersion: v1, kind: ConfigMap, name: c}}}}\n---\n"
        )
    };
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  bootstrap.servers: k:1\n";
    let noted = trigon_crds::notes(&[("a.yaml".to_owned(), format!("{}{}{map}", broker("a"), broker("b")))]);
    let noted: Vec<_> = noted.iter().map(ToString::to_string).collect();
    let note = "a.yaml:15:22: data[bootstrap.servers]: decides nothing here: --kafka says where the cluster is, and \
                --kafka-secret who we are";
    assert_eq!(noted, [note]);
    assert!(trigon_crds::notes(&[("a.yaml".to_owned(), map.to_owned())]).is_empty());
}

#[test]
fn triggers_are_read_without_their_brokers_where_those_are_elsewhere() {
    let trigger = |name: &str, broker: &str| {
        format!(
            "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: {name}}}\nspec:\n  broker: {broker}\n  \
             subscriber: {{uri: 'http://x/'}}\n---\n"
        )
    };
    let files = |text: String| [("a.yaml".to_owned(), text)];
    let good = files([trigger("one", "a"), trigger("two", "a"), trigger("three", "b")].concat());
    let table = trigon_crds::load_triggers(&Installation::default(), &good).unwrap();
    let counts: Vec<_> =
        table.brokers.iter().map(|(id, broker)| (id.to_string(), broker.triggers.len())).collect();
    assert_eq!(counts, [("default/a".to_owned(), 2), ("default/b".to_owned(), 1)]);
    // As for a cluster.
    let reference = "{ref: {apiVersion: v1, kind: Service, name: orders}, uri: /new}";
    let of_cluster = files(trigger("one", "a").replace("{uri: 'http://x/'}", reference));
    assert!(trigon_crds::load_triggers(&Installation::default(), &of_cluster).is_ok());
    assert!(load(&Installation::default(), &of_cluster, &uris_only).is_err());
    let bad = files(trigger("one", "a").replace("subscriber", "subscribr"));
    let problems = trigon_crds::load_triggers(&Installation::default(), &bad).unwrap_err();
    assert!(problems[0].to_string().starts_with("a.yaml:6:3: spec.subscribr: "), "{problems:?}");
}

/// SQLS-16
#[test]
fn an_expression_that_always_fails_is_remarked_on_at_its_place_in_the_file() {
    let text = "\
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: t}
spec:
  broker: default
  filters:
  - any:
    - cesql: type = 'a'
    - not:
        cesql: >-
          type = 'b' AND
          LOWERCASE(source) = 'c'
  subscriber: {uri: 'http://x/'}
";
    let said: Vec<_> = trigon_crds::remarks(&[("a.yaml".to_owned(), text.to_owned())])
        .iter()
        .map(ToString::to_string)
        .collect();
    let [remark] = &said[..] else { panic!("{said:?}") };
    assert!(remark.starts_with("a.yaml:12:11: spec.filters[0].any[1].not.cesql: "), "{remark}");
    assert!(remark.contains("LOWERCASE"), "{remark}");
    let clean = text.replace("LOWERCASE", "LOWER");
    assert!(trigon_crds::remarks(&[("a.yaml".to_owned(), clean)]).is_empty());
}
