//! `trigon check --against`: filters tried on events that a running Trigon really has.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use trigon_test_servers::shared;
use trigon_tests::command::Finished;
use trigon_tests::kafka::installation;
use trigon_tests::routes::yaml;
use trigon_tests::{
    Deployment, Event, Object, Producer, Reply, Standalone, Subscriber, broker, command, trigger, wait,
};

/// The exit status when a filter matches nothing.
const MATCHES_NOTHING: i32 = 3;

/// A folder of Triggers that somebody is about to bring into force.
struct Draft(tempfile::TempDir);

impl Draft {
    fn of(objects: &[Object]) -> Self {
        let folder = tempfile::tempdir().expect("the machine has a folder for temporary files");
        fs::write(folder.path().join("draft.yaml"), yaml(objects)).expect("a temporary folder is writable");
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Tries it on the Broker `default`.
    async fn check(&self, trigon: &Standalone, flags: &[&str]) -> Finished {
        let path = self.path().display().to_string();
        let arguments = [&["check", &path, "--against", "default/default"], flags].concat();
        trigon.tool(&arguments).await
    }

    /// The same, as a program reads it: the exit status and what the lab found.
    async fn lab(&self, trigon: &Standalone, flags: &[&str]) -> (Option<i32>, Value) {
        let finished = self.check(trigon, &[flags, &["--output", "json"]].concat()).await;
        let report: Value = serde_json::from_str(&finished.stdout).expect(&finished.stderr);
        (finished.status.code(), report["lab"].clone())
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// What the lab found of a Trigger.
fn lab_of<'a>(lab: &'a Value, trigger: &str) -> &'a Value {
    let found = list(&lab["triggers"]).iter().find(|found| found["trigger"] == trigger);
    found.expect("every Trigger of the Broker is tried")
}

fn orders(filter: &str) -> Object {
    trigger("orders", "http://127.0.0.1:1/").filter("type", filter)
}

/// Sends 30 events of three types in turn; `created` comes first, `cancelled` last.
async fn send_orders(trigon: &Standalone) {
    for n in 0..30 {
        let event_type = ["created", "paid", "cancelled"][n % 3];
        trigon.producer().accept(&Event::new(format!("{event_type}-{n}")).with("type", event_type)).await;
    }
}

/// What a person does before an edit, on whatever log.
async fn an_edited_filter_is_compared_with_the_one_in_force(trigon: &Standalone) {
    send_orders(trigon).await;
    // As it stands in a cluster, where this process cannot look.
    let of_cluster = json!({"ref": {"apiVersion": "v1", "kind": "Service", "name": "orders"}});
    let edited = Draft::of(&[
        trigger("orders", "http://127.0.0.1:1/")
            .spec("subscriber", of_cluster)
            .filters(json!([{"cesql": "type IN ('created', 'paid') AND type != 'created'"}])),
        trigger("new", "http://127.0.0.1:1/").filters(json!([{"prefix": {"type": "c"}}])),
        trigger("elsewhere", "http://127.0.0.1:1/").spec("broker", "other".into()),
    ]);
    let (status, lab) = edited.lab(trigon, &[]).await;
    assert_eq!((status, &lab["events"], &lab["all"]), (Some(0), &30.into(), &true.into()), "{lab}");
    assert_eq!((&lab["undecodable"], &lab["skipped"]), (&0.into(), &json!(["default/elsewhere"])), "{lab}");
    let found = |name: &str| lab_of(&lab, name);
    let orders = found("default/orders");
    let counts = ["/matched", "/matched_by_running", "/gained/count", "/lost/count"]
        .map(|figure| orders.pointer(figure).and_then(Value::as_u64));
    assert_eq!(counts, [Some(10); 4], "{orders}");
    assert_eq!(orders["events"], 30);
    for (group, event_type) in [("gained", "paid"), ("lost", "created")] {
        let samples = list(&orders[group]["samples"]);
        assert_eq!(samples.len(), 5, "{orders}");
        assert!(samples.iter().all(|sample| sample["type"] == event_type), "{orders}");
        assert!(samples[0]["reason"].as_str().is_some_and(|reason| reason.contains(event_type)), "{orders}");
    }
    assert_eq!(orders["lost"]["samples"][0]["id"], "created-0");
    let new = found("default/new");
    assert_eq!(
        (&new["matched"], &new["running"], &new["lost"]["count"]),
        (&20.into(), &Value::Null, &0.into())
    );

    // The last four are created-27, paid-28, cancelled-29 and before them cancelled-26, wherever they lie.
    let (_, lab) = edited.lab(trigon, &["--last", "4"]).await;
    assert_eq!((&lab["events"], &lab["all"]), (&4.into(), &false.into()), "{lab}");
    let matched: Vec<_> = list(&lab["triggers"]).iter().map(|found| &found["matched"]).collect();
    assert_eq!(matched, [3, 1], "{lab}");

    let said = edited.check(trigon, &[]).await.success();
    for wanted in
        ["30 events", "matches 10 (33.3 %)", "gains 10 events", "loses 10 events", "paid-28", "skipped"]
    {
        assert!(said.contains(wanted), "{wanted} is not in:\n{said}");
    }
    assert_eq!(Draft::of(&[orders_in_force()]).lab(trigon, &[]).await.1["triggers"][0]["unchanged"], true);
}

fn orders_in_force() -> Object {
    orders("created")
}

#[tokio::test]
async fn an_edited_filter_is_compared_over_the_embedded_log() {
    let trigon = Standalone::start(&[broker("default"), orders_in_force()]).await;
    an_edited_filter_is_compared_with_the_one_in_force(&trigon).await;
}

#[tokio::test]
async fn an_edited_filter_is_compared_over_kafka() {
    let kafka = shared::kafka().expect("there is a Kafka");
    let arguments = ["--kafka", &kafka, "--installation", &installation()];
    let trigon = Standalone::start_without_data(&[broker("default"), orders_in_force()], &arguments).await;
    an_edited_filter_is_compared_with_the_one_in_force(&trigon).await;
}

#[tokio::test]
async fn a_filter_that_matches_nothing_has_a_status_of_its_own_and_says_what_came() {
    let trigon = Standalone::start(&[broker("default"), orders_in_force()]).await;
    let misspelt = Draft::of(&[trigger("orders", "http://127.0.0.1:1/")
        .filters(json!([{"cesql": "INT(totl) > 5 AND type = 'created'"}]))]);
    let before = misspelt.check(&trigon, &[]).await.success();
    assert!(before.contains("no events yet"), "{before}");

    let event = Event::new("first").with("type", "created").with("total", "7");
    trigon.producer().accept(&event).await;
    let (status, lab) = misspelt.lab(&trigon, &[]).await;
    assert_eq!(status, Some(MATCHES_NOTHING), "{lab}");
    let warnings = lab["triggers"][0]["warnings"].as_array().unwrap();
    let kinds: Vec<_> = warnings.iter().map(|warning| warning["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["matches_nothing", "errors", "unknown_attribute"], "{lab}");
    let said = misspelt.check(&trigon, &[]).await;
    assert_eq!(said.status.code(), Some(MATCHES_NOTHING));
    for wanted in ["matches 0", "first", "did you mean \"total\"?", "fails with 1 event"] {
        assert!(said.stdout.contains(wanted), "{wanted} is not in:\n{}", said.stdout);
    }
}

/// DLS-01
#[tokio::test]
async fn an_event_that_was_sent_again_counts_once() {
    let subscriber = Subscriber::start().await;
    subscriber.on("/t", |_| Reply::status(400));
    let trigon = Standalone::start(&[broker("default"), trigger("t", &subscriber.url("/t"))]).await;
    trigon.producer().accept(&Event::new("bad")).await;
    trigon.trigger("t", "has parked it", |status| status.parked == 1).await;
    subscriber.on("/t", |_| Reply::status(200));
    trigon.tool(&["parked", "redrive", "--all"]).await.success();
    subscriber.takes("/t", 1).await;
    let (status, lab) = Draft::of(&[trigger("t", "http://127.0.0.1:1/")]).lab(&trigon, &[]).await;
    assert_eq!((status, &lab["events"], &lab["sent_again"]), (Some(0), &1.into(), &1.into()), "{lab}");
    assert_eq!(lab["triggers"][0]["matched"], 1);
}

#[tokio::test]
async fn what_cannot_be_tried_is_refused_with_what_to_do() {
    let trigon = Standalone::start(&[broker("default")]).await;
    let draft = Draft::of(&[trigger("t", "http://127.0.0.1:1/").spec("broker", "other".into())]);
    let failed = draft.check(&trigon, &[]).await;
    assert_eq!(failed.status.code(), Some(1));
    assert!(failed.stderr.contains("default/other"), "{}", failed.stderr);
    let path = draft.path().display().to_string();
    let failed = trigon.tool(&["check", &path, "--against", "default/other"]).await;
    assert!(failed.stderr.contains("there is no broker default/other"), "{}", failed.stderr);
    let wrong = command::trigon(&["check", &path, "--against", "default/default", "--last", "0"]).await;
    assert_eq!(wrong.status.code(), Some(2), "{}", wrong.stderr);

    let url = |question: &str| {
        format!("http://{}/v1/brokers/default/default/lab{question}", trigon.admin().address())
    };
    let post = async |question: &str, body: String| {
        Producer::new(url(question)).request(Method::POST, HeaderMap::new(), Bytes::from(body)).await.unwrap()
    };
    let triggers = |count: usize| {
        let triggers: Vec<_> = (0..count).map(|n| trigger(&format!("t{n}"), "http://127.0.0.1:1/")).collect();
        yaml(&triggers)
    };
    for (question, body, reason) in [
        ("?last=0", triggers(1), "1000000"),
        ("?last=1000001", triggers(1), "1000000"),
        ("?lsat=1", triggers(1), "lsat"),
        ("", "kind: Trigr".to_owned(), "Trigger"),
        ("", String::new(), "there is no Trigger of broker default/default"),
        ("", triggers(101), "at most 100"),
    ] {
        let answer = post(question, body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{question}: {}", answer.body);
        assert!(answer.body.contains(reason), "{question}: {}", answer.body);
    }
    let answer = post("?last=10", triggers(100)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    // More of them than one question takes.
    let (status, lab) =
        Draft::of(&(0..101).map(|n| trigger(&format!("t{n}"), "http://127.0.0.1:1/")).collect::<Vec<_>>())
            .lab(&trigon, &[])
            .await;
    assert_eq!((status, lab["triggers"].as_array().map(Vec::len)), (Some(0), Some(101)));
}

#[tokio::test]
async fn a_second_lab_is_refused_until_the_first_has_gone() {
    let trigon = Standalone::start(&[broker("default"), orders_in_force()]).await;
    let path = "/v1/brokers/default/default/lab";
    let url = format!("http://{}{path}", trigon.admin().address());
    let ask = async || {
        let body = Bytes::from(yaml(&[orders_in_force()]));
        Producer::new(&*url).request(Method::POST, HeaderMap::new(), body).await
    };
    assert_eq!(ask().await.unwrap().status, StatusCode::OK);
    // One that has announced its Triggers, and does not send them.
    let mut first = TcpStream::connect(trigon.admin().address()).await.unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nhost: trigon\r\ncontent-length: 10\r\n\r\n");
    first.write_all(head.as_bytes()).await.unwrap();
    let answered = async |status: StatusCode| {
        wait::until("another answer to a lab", async || {
            let answer = ask().await?;
            if answer.status == status { Ok(answer) } else { Err(format!("{answer:?}")) }
        })
        .await
    };
    let refused = answered(StatusCode::TOO_MANY_REQUESTS).await;
    assert!(refused.body.contains("when it has ended"), "{}", refused.body);
    drop(first);
    answered(StatusCode::OK).await;
}
