//! Which events arrive where.

use serde_json::json;
use trigon_tests::{Deployment, Event, Producer, Reply, Subscriber, broker, trigger};

/// TST-13 routing-test-0, TST-25, TST-26, TST-52
async fn a_trigger_without_a_filter_gets_every_event_exactly_once<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    let trigon = D::start(&[broker("default"), trigger("all", &subscriber.url("/all"))]).await;
    trigon.producer().accept_many("e", 20).await;
    subscriber.takes("/all", 20).await;
    trigon.settled().await;
    assert_eq!(subscriber.count("/all"), 20);
}

/// TST-13 routing-test-1, routing-test-2, DLS-12, TST-56
async fn an_event_arrives_only_where_the_filter_matches<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    let dead = subscriber.url("/dead");
    let trigon = D::start(&[
        broker("default").delivery(json!({"deadLetterSink": {"uri": dead}})),
        trigger("match", &subscriber.url("/match")).filter("type", "wanted"),
        trigger("other", &subscriber.url("/other")).filter("type", "unwanted"),
    ])
    .await;
    trigon.producer().accept(&Event::new("1").with("type", "wanted")).await;
    subscriber.receives("/match", 1).await;
    trigon.settled().await;
    assert_eq!(subscriber.count("/match"), 1);
    assert_eq!(subscriber.count("/other"), 0);
    assert_eq!(subscriber.count("/dead"), 0);
}

/// TST-13 routing-test-3, routing-test-6, DLV-01, TST-22
async fn each_matching_trigger_delivers_even_to_the_same_subscriber<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    let trigon = D::start(&[
        broker("default"),
        trigger("a", &subscriber.url("/same")).filter("type", "wanted"),
        trigger("b", &subscriber.url("/same")).filter("type", "wanted"),
        trigger("c", &subscriber.url("/c")),
        trigger("d", &subscriber.url("/d")),
    ])
    .await;
    trigon.producer().accept(&Event::new("1").with("type", "wanted")).await;
    subscriber.receives("/same", 2).await;
    trigon.settled().await;
    assert_eq!(["/same", "/c", "/d"].map(|path| subscriber.count(path)), [2, 1, 1]);
}

/// TST-13 routing-test-4, TST-40
async fn of_several_triggers_only_those_that_match_deliver<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    let trigon = D::start(&[
        broker("default"),
        trigger("a", &subscriber.url("/a")).filter("type", "a"),
        trigger("b", &subscriber.url("/b")).filter("type", "b"),
    ])
    .await;
    trigon.producer().accept(&Event::new("1").with("type", "b")).await;
    subscriber.receives("/b", 1).await;
    trigon.settled().await;
    assert_eq!(subscriber.count("/a"), 0);
}

/// TST-13 routing-test-5, RPL-01
async fn the_reply_of_one_subscriber_reaches_the_trigger_that_wants_it<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    subscriber.on("/asked", |_| Reply::event(&Event::new("reply").with("type", "answer")));
    let trigon = D::start(&[
        broker("default"),
        trigger("asked", &subscriber.url("/asked")).filter("type", "question"),
        trigger("told", &subscriber.url("/told")).filter("type", "answer"),
    ])
    .await;
    trigon.producer().accept(&Event::new("1").with("type", "question")).await;
    subscriber.receives("/told", 1).await;
    trigon.settled().await;
    assert_eq!(subscriber.ids("/told"), ["reply"]);
    assert_eq!(subscriber.ids("/asked"), ["1"]);
}

/// TST-24
async fn a_transformation_gives_each_trigger_its_own_kind<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    subscriber.on("/transform", |received| {
        let id = received.attribute("id").unwrap_or_default();
        Reply::event(&Event::new(format!("{id}-new")).with("type", "new").with("source", "/transformer"))
    });
    let trigon = D::start(&[
        broker("default"),
        trigger("transform", &subscriber.url("/transform")).filter("type", "old"),
        trigger("new", &subscriber.url("/new")).filter("type", "new"),
        trigger("log", &subscriber.url("/log")),
    ])
    .await;
    for n in 0..5 {
        trigon.producer().accept(&Event::new(format!("{n}")).with("type", "old")).await;
    }
    subscriber.takes("/log", 10).await;
    trigon.settled().await;
    assert!(subscriber.ids("/new").iter().all(|id| id.ends_with("-new")), "{:?}", subscriber.ids("/new"));
    assert_eq!(["/transform", "/new", "/log"].map(|path| subscriber.count(path)), [5, 5, 10]);
}

/// TST-34: types and sources, and an extension beside them.
async fn many_triggers_on_attributes_and_extensions_each_get_what_they_ask<D: Deployment>() {
    const VALUES: [&str; 3] = ["", "one", "two"];
    let subscriber = Subscriber::start().await;
    let mut routes = vec![broker("default")];
    let mut wanted = Vec::new();
    for (t, s, e) in combinations() {
        let attributes = [("type", VALUES[t]), ("source", VALUES[s]), ("extra", VALUES[e])];
        let filter: serde_json::Map<_, _> = attributes
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| ((*name).to_owned(), (*value).into()))
            .collect();
        let path = format!("/{t}{s}{e}");
        routes.push(
            trigger(&format!("t{t}{s}{e}"), &subscriber.url(&path))
                .spec("filter", json!({"attributes": filter})),
        );
        let fits = |asked: usize, has: usize| asked == 0 || asked == has;
        let count = combinations()
            .filter(|&(et, es, ee)| et > 0 && es > 0 && fits(t, et) && fits(s, es) && fits(e, ee));
        wanted.push((path, count.count()));
    }
    let trigon = D::start(&routes).await;
    let producer = trigon.producer();
    for (t, s, e) in combinations().filter(|&(t, s, _)| t > 0 && s > 0) {
        let event = Event::new(format!("{t}{s}{e}")).with("type", VALUES[t]).with("source", VALUES[s]);
        producer.accept(&if e > 0 { event.with("extra", VALUES[e]) } else { event }).await;
    }
    for (path, count) in &wanted {
        subscriber.takes(path, *count).await;
    }
    trigon.settled().await;
    let counts: Vec<_> = wanted.iter().map(|(path, _)| (path.clone(), subscriber.count(path))).collect();
    assert_eq!(counts, wanted);
}

fn combinations() -> impl Iterator<Item = (usize, usize, usize)> {
    (0..27).map(|n| (n / 9, n / 3 % 3, n % 3))
}

/// TST-23: Broker and Trigger under each kind of name.
async fn names_of_every_kind_go_ready_and_deliver<D: Deployment>() {
    let longest = "n".repeat(63);
    let subscriber = Subscriber::start().await;
    for name in ["default", "customname", "name-with-dash", "name1-with2-digits3", &longest] {
        let path = format!("/{name}");
        let object = trigger(name, &subscriber.url(&path)).spec("broker", name.into());
        let trigon = D::start(&[broker(name), object]).await;
        Producer::new(trigon.broker_url(name)).accept(&Event::new("1")).await;
        subscriber.receives(&path, 1).await;
    }
}

/// TST-61, CPT-11, CPT-13
async fn a_new_trigger_gets_what_is_accepted_from_then_on_and_nothing_older<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    let old = trigger("old", &subscriber.url("/old"));
    let mut trigon = D::start(&[broker("default"), old.clone()]).await;
    trigon.producer().accept_many("before", 10).await;
    trigon.apply(&[broker("default"), old, trigger("new", &subscriber.url("/new"))]).await;
    trigon.producer().accept_many("after", 10).await;
    subscriber.takes("/new", 10).await;
    subscriber.takes("/old", 20).await;
    trigon.settled().await;
    assert_eq!(subscriber.count("/new"), 10);
    assert!(subscriber.ids("/new").iter().all(|id| id.starts_with("after")));
}

/// CPT-13, `trigon.dev/start-from`
async fn a_trigger_that_starts_from_the_earliest_event_gets_the_older_ones_too<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    let mut trigon = D::start(&[broker("default")]).await;
    trigon.producer().accept_many("before", 10).await;
    let replay =
        trigger("replay", &subscriber.url("/replay")).annotation("trigon.dev/start-from", "earliest");
    trigon.apply(&[broker("default"), replay]).await;
    trigon.producer().accept_many("after", 10).await;
    subscriber.takes("/replay", 20).await;
    trigon.settled().await;
    assert_eq!(subscriber.count("/replay"), 20);
}

/// Namespaces keep Brokers of one name apart.
async fn brokers_of_one_name_in_two_namespaces_are_two_brokers<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    let trigon = D::start(&[
        broker("default"),
        broker("default").namespace("other"),
        trigger("t", &subscriber.url("/default")),
        trigger("t", &subscriber.url("/other")).namespace("other"),
    ])
    .await;
    let url = trigon.broker_url("default").replace("/default/default", "/other/default");
    Producer::new(url).accept(&Event::new("1")).await;
    subscriber.receives("/other", 1).await;
    trigon.settled().await;
    assert_eq!(subscriber.count("/default"), 0);
    let received = &subscriber.received("/other")[0];
    assert_eq!(received.header("kn-namespace"), Some("other"));
}

on_every_deployment!(
    a_trigger_without_a_filter_gets_every_event_exactly_once,
    an_event_arrives_only_where_the_filter_matches,
    each_matching_trigger_delivers_even_to_the_same_subscriber,
    of_several_triggers_only_those_that_match_deliver,
    the_reply_of_one_subscriber_reaches_the_trigger_that_wants_it,
    a_transformation_gives_each_trigger_its_own_kind,
    many_triggers_on_attributes_and_extensions_each_get_what_they_ask,
    names_of_every_kind_go_ready_and_deliver,
    a_new_trigger_gets_what_is_accepted_from_then_on_and_nothing_older,
    a_trigger_that_starts_from_the_earliest_event_gets_the_older_ones_too,
    brokers_of_one_name_in_two_namespaces_are_two_brokers,
);
