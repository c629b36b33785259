//! The order in which events arrive.

use std::time::Duration;

use serde_json::json;
use trigon_tests::{Deployment, Event, Reply, Subscriber, broker, trigger};

const EVENTS: usize = 20;
const PAUSE: Duration = Duration::from_millis(5);

fn numbers(ids: impl IntoIterator<Item = String>) -> Vec<usize> {
    ids.into_iter().filter_map(|id| id.parse().ok()).collect()
}

/// TST-57 SinglePartition, DLV-30, DLV-31
async fn in_order_by_partition_one_event_follows_another_through_its_retries<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    subscriber.on("/t", |received| {
        let number: usize = received.attribute("id").and_then(|id| id.parse().ok()).unwrap_or(0);
        Reply::status(if number.is_multiple_of(5) && received.attempt <= 2 { 503 } else { 202 }).after(PAUSE)
    });
    let object = trigger("t", &subscriber.url("/t"))
        .annotation("kafka.eventing.knative.dev/delivery.order", "ordered")
        .delivery(json!({"retry": 3, "backoffPolicy": "linear", "backoffDelay": "PT0.01S"}));
    let trigon = D::start(&[broker("default").annotation("trigon.dev/partitions", "1"), object]).await;
    for n in 0..EVENTS {
        trigon.producer().accept(&Event::new(n.to_string())).await;
    }
    subscriber.takes("/t", EVENTS).await;
    trigon.settled().await;
    let mut arrived = numbers(subscriber.ids("/t"));
    assert_eq!(subscriber.most_at_once("/t"), 1);
    assert_eq!(arrived.len(), EVENTS + 2 * EVENTS.div_ceil(5));
    arrived.dedup();
    assert_eq!(arrived, (0..EVENTS).collect::<Vec<_>>());
}

/// TST-57 MultiplePartition
async fn in_order_by_key_each_key_is_in_order_and_others_go_on<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    // The first event of key a blocks its key for a while.
    subscriber.on("/t", |received| {
        let is_blocked = received.attribute("partitionkey").as_deref() == Some("a") && received.attempt <= 3;
        Reply::status(if is_blocked { 503 } else { 202 }).after(PAUSE)
    });
    let object = trigger("t", &subscriber.url("/t"))
        .annotation("trigon.dev/order", "key")
        .delivery(json!({"retry": 5, "backoffPolicy": "linear", "backoffDelay": "PT0.01S"}));
    let trigon = D::start(&[broker("default").annotation("trigon.dev/partitions", "20"), object]).await;
    let keys = ["a", "b", "c"];
    for n in 0..EVENTS {
        for key in keys {
            trigon.producer().accept(&Event::new(format!("{key}{n}")).with("partitionkey", key)).await;
        }
    }
    subscriber.takes("/t", EVENTS * keys.len()).await;
    trigon.settled().await;
    for key in keys {
        let mut arrived =
            numbers(subscriber.ids("/t").iter().filter_map(|id| Some(id.strip_prefix(key)?.to_owned())));
        arrived.dedup();
        assert_eq!(arrived, (0..EVENTS).collect::<Vec<_>>(), "{key}");
    }
}

/// DLV-30
async fn without_order_a_failing_event_does_not_stop_later_ones<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    subscriber.on("/t", |received| {
        Reply::status(if received.attribute("id").as_deref() == Some("e-0") { 503 } else { 202 })
    });
    let object = trigger("t", &subscriber.url("/t"))
        .delivery(json!({"retry": 1000, "backoffPolicy": "linear", "backoffDelay": "PT1H"}));
    let trigon = D::start(&[broker("default").annotation("trigon.dev/partitions", "1"), object]).await;
    trigon.producer().accept_many("e", EVENTS).await;
    subscriber.takes("/t", EVENTS - 1).await;
    trigon.trigger("t", "has one event waiting", |status| status.retrying == 1).await;
}

/// `trigon.dev/concurrency`
async fn no_more_requests_are_in_flight_than_the_trigger_allows<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    subscriber.hold("/t");
    let object = trigger("t", &subscriber.url("/t")).annotation("trigon.dev/concurrency", "3");
    let trigon = D::start(&[broker("default").annotation("trigon.dev/partitions", "1"), object]).await;
    trigon.producer().accept_many("e", EVENTS).await;
    subscriber.receives("/t", 3).await;
    trigon.trigger("t", "has the rest queued", |status| status.in_flight == 3).await;
    subscriber.release("/t");
    subscriber.takes("/t", EVENTS).await;
    assert_eq!(subscriber.most_at_once("/t"), 3);
}

on_every_deployment!(
    in_order_by_partition_one_event_follows_another_through_its_retries,
    in_order_by_key_each_key_is_in_order_and_others_go_on,
    without_order_a_failing_event_does_not_stop_later_ones,
    no_more_requests_are_in_flight_than_the_trigger_allows,
);
