//! Routes are edited while traffic flows: nothing is lost, nothing is sent twice, nobody gets a 404.

use serde_json::json;
use trigon_tests::flood::{Flood, Load};
use trigon_tests::standalone::ROUTES;
use trigon_tests::{
    Deployment, Event, Object, Reply, Standalone, Subscriber, account, broker, trigger, wait,
};

const LIGHT: Load = Load { connections: 4, bytes: 64, keys: 0 };

/// CPT-10, CPT-11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_under_load_lose_nothing_repeat_nothing_and_refuse_nothing() {
    let subscriber = Subscriber::start().await;
    let stays = trigger("stays", &subscriber.url("/stays"));
    let other = |path: &str| trigger("other", &subscriber.url(path));
    let mut trigon = Standalone::start(&[broker("default"), stays.clone()]).await;
    let flood = Flood::start(&trigon.broker_url("default"), "e", LIGHT);
    let edits: Vec<Vec<Object>> = vec![
        vec![other("/other")],
        vec![other("/other").filter("type", "test")],
        vec![other("/elsewhere").delivery(json!({"retry": 3}))],
        vec![other("/elsewhere").annotation("trigon.dev/paused", "true")],
        vec![other("/elsewhere"), broker("second"), trigger("third", &subscriber.url("/third"))],
        vec![],
    ];
    for edit in edits {
        flood.more(50).await;
        let mut routes = vec![broker("default"), stays.clone()];
        routes.extend(edit);
        trigon.apply(&routes).await;
    }
    flood.more(50).await;
    let sent = flood.stop().await;
    assert_eq!((sent.refused, sent.unknown), (0, 0));
    trigon.settled().await;
    account::settle("stays", &sent.accepted, &subscriber.taken("/stays"), &[]);
    for path in ["/other", "/elsewhere", "/third"] {
        assert_eq!(account::duplicates(&subscriber.taken(path)), 0, "{path}");
    }
    assert!(subscriber.taken_count("/elsewhere") > 0 && subscriber.taken_count("/other") > 0);
}

/// CPT-10: the Trigger itself is edited, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_whose_delivery_is_edited_under_load_misses_and_repeats_nothing() {
    let subscriber = Subscriber::start().await;
    let edited = |retry: u32| {
        let order = ["unordered", "partition", "key"][retry as usize % 3];
        trigger("t", &subscriber.url("/t"))
            .delivery(json!({"retry": retry}))
            .annotation("trigon.dev/order", order)
    };
    let mut trigon = Standalone::start(&[broker("default"), edited(0)]).await;
    let flood = Flood::start(&trigon.broker_url("default"), "e", Load { keys: 10, ..LIGHT });
    for retry in 1..=5 {
        flood.more(50).await;
        trigon.apply(&[broker("default"), edited(retry)]).await;
    }
    let sent = flood.stop().await;
    trigon.settled().await;
    assert_eq!((sent.refused, sent.unknown), (0, 0));
    account::settle("t", &sent.accepted, &subscriber.taken("/t"), &[]);
}

#[tokio::test]
async fn a_bad_file_is_reported_with_its_place_and_the_last_good_table_stays() {
    let subscriber = Subscriber::start().await;
    let trigon = Standalone::start(&[broker("default"), trigger("t", &subscriber.url("/t"))]).await;
    let generation = trigon.generation().await.unwrap();
    let problems = async || trigon.admin().json("/v1/routes").await.map(|routes| routes["problems"].clone());
    for (text, wanted) in [
        ("kind: [", "bad.yaml"),
        (
            "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata:\n  name: u\nspec:\n  broker: default\n  \
             subscriber:\n    ref: {kind: Service, name: x, apiVersion: v1}\n",
            "subscriber",
        ),
        (
            "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata:\n  name: u\nspec:\n  broker: nobody\n  \
             subscriber:\n    uri: http://127.0.0.1:1/\n",
            "nobody",
        ),
    ] {
        trigon.write("bad.yaml", text);
        wait::until("the problem to be reported", async || {
            let reported = problems().await?;
            let is_there = reported.as_array().is_some_and(|list| !list.is_empty());
            if is_there && reported.to_string().contains(wanted) { Ok(()) } else { Err(reported.to_string()) }
        })
        .await;
        trigon.producer().accept(&Event::new("meanwhile")).await;
    }
    subscriber.receives("/t", 3).await;
    assert_eq!(trigon.generation().await, Ok(generation));
    trigon.remove("bad.yaml");
    wait::until("the problem to be gone", async || {
        let reported = problems().await?;
        if reported == json!([]) { Ok(()) } else { Err(reported.to_string()) }
    })
    .await;
    trigon.producer().accept(&Event::new("after")).await;
    subscriber.receives("/t", 4).await;
    trigon.settled().await;
    assert_eq!(subscriber.count("/t"), 4);
}

#[tokio::test]
async fn a_paused_trigger_keeps_its_place_also_through_a_restart() {
    let subscriber = Subscriber::start().await;
    let object = || trigger("t", &subscriber.url("/t"));
    let witness = || trigger("witness", &subscriber.url("/witness"));
    let mut trigon = Standalone::start(&[broker("default"), object(), witness()]).await;
    trigon.producer().accept_many("before", 5).await;
    trigon.settled().await;
    let paused = object().annotation("trigon.dev/paused", "true");
    trigon.apply(&[broker("default"), paused, witness()]).await;
    trigon.producer().accept_many("paused", 5).await;
    subscriber.takes("/witness", 10).await;
    trigon.stop().await;
    trigon.restart().await;
    trigon.producer().accept_many("later", 5).await;
    subscriber.takes("/witness", 15).await;
    assert_eq!(subscriber.count("/t"), 5);
    trigon.apply(&[broker("default"), object(), witness()]).await;
    subscriber.takes("/t", 15).await;
    trigon.settled().await;
    assert_eq!((subscriber.count("/t"), subscriber.count("/witness")), (15, 15));
}

#[tokio::test]
async fn a_trigger_that_is_removed_and_comes_back_goes_on_where_it_was() {
    let subscriber = Subscriber::start().await;
    let object = || trigger("t", &subscriber.url("/t"));
    let witness = || trigger("witness", &subscriber.url("/witness"));
    let mut trigon = Standalone::start(&[broker("default"), object(), witness()]).await;
    trigon.producer().accept_many("before", 5).await;
    trigon.settled().await;
    trigon.apply(&[broker("default"), witness()]).await;
    trigon.producer().accept_many("away", 5).await;
    subscriber.takes("/witness", 10).await;
    assert_eq!(subscriber.count("/t"), 5);
    trigon.apply(&[broker("default"), object(), witness()]).await;
    subscriber.takes("/t", 10).await;
    trigon.settled().await;
    assert_eq!(subscriber.count("/t"), 10);
}

/// Events that wait for a retry are sent by the routes as they are then.
#[tokio::test]
async fn an_edited_subscriber_gets_what_waited_for_the_one_before() {
    let subscriber = Subscriber::start().await;
    subscriber.on("/old", |_| Reply::status(503));
    let delivery = json!({"retry": 1000, "backoffPolicy": "linear", "backoffDelay": "PT0.05S"});
    let object = |path: &str| trigger("t", &subscriber.url(path)).delivery(delivery.clone());
    let mut trigon = Standalone::start(&[broker("default"), object("/old")]).await;
    trigon.producer().accept_many("e", 20).await;
    subscriber.receives("/old", 20).await;
    trigon.apply(&[broker("default"), object("/new")]).await;
    subscriber.takes("/new", 20).await;
    trigon.settled().await;
    assert_eq!(subscriber.count("/new"), 20);
}

#[tokio::test]
async fn routes_may_stand_in_several_files_and_each_may_come_and_go() {
    let subscriber = Subscriber::start().await;
    let trigon = Standalone::start(&[broker("default")]).await;
    let generation = trigon.generation().await.unwrap();
    let more = trigon_tests::routes::yaml(&[trigger("t", &subscriber.url("/t"))]);
    trigon.write("more.yaml", &more);
    wait::until("the trigger to be there", async || match trigon.generation().await? {
        now if now > generation => Ok(()),
        now => Err(format!("generation {now}")),
    })
    .await;
    trigon.trigger("t", "is active", |status| status.state == "active").await;
    trigon.producer().accept(&Event::new("1")).await;
    subscriber.receives("/t", 1).await;
    trigon.remove("more.yaml");
    wait::until("the trigger to be gone", async || match trigon.triggers().await?.len() {
        0 => Ok(()),
        n => Err(format!("{n} triggers")),
    })
    .await;
    trigon.producer().accept(&Event::new("2")).await;
    assert_eq!(subscriber.count("/t"), 1);
    assert!(trigon.routes().join(ROUTES).is_file());
}
