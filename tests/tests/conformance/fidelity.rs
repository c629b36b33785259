//! An event arrives as it was sent: a fixed corpus, in every combination of modes.

use serde_json::json;
use trigon_tests::subscriber::Received;
use trigon_tests::{Deployment, Event, Subscriber, broker, trigger};

/// After the corpus of the upstream conformance tool: minimal and full events with text, JSON, XML and emoji, in
/// both versions. Written for this test; every value is a string, as headers have it.
fn corpus() -> Vec<Event> {
    let full = |id: &str| {
        Event::new(id)
            .with("type", "com.example.full")
            .with("source", "https://example.com/sources/1?x=y#z")
            .with("subject", "things/7")
            .with("time", "2026-11-21T08:30:00.123456789+05:30")
            .with("extboolean", "true")
            .with("extinteger", "2147483647")
            .with("exttext", "a \"quoted\" 100% text, with ümlauts and 😀")
            .with("exturi", "urn:example:7")
    };
    let old = |event: Event| event.with("specversion", "0.3");
    vec![
        Event::new("minimal"),
        Event::new("text").data("text/plain", "hello"),
        Event::new("json").data("application/json", r#"{"a":{"b":[1,2.5,null,true,"x"]}}"#),
        Event::new("json-scalar").data("application/json", "7"),
        Event::new("json-suffix").data("application/vnd.example+json", r#"{"a":1}"#),
        Event::new("xml").data("application/xml", "<much wow=\"xml\"/>"),
        Event::new("emoji-😀 \"%\"").data("text/plain; charset=utf-8", "✅ 日本"),
        full("full").data("application/json", r#"{"n":1}"#),
        full("full-schema").with("dataschema", "https://example.com/schema").data("text/plain", "x"),
        old(Event::new("old-minimal")),
        old(full("old-full")).data("application/json", r#"{"n":1}"#),
        old(Event::new("old-schema")).with("schemaurl", "https://example.com/schema").data("text/plain", "x"),
    ]
}

fn assert_same(event: &Event, received: &Received, mode: &str) {
    let mut wanted = event.attributes().to_vec();
    wanted.sort();
    let seen = match received.structured() {
        None => received.header_attributes(),
        Some(object) => {
            let object = object.as_object().cloned().unwrap_or_default();
            let is_data = |name: &str| ["data", "datacontenttype"].contains(&name);
            let attributes = object.iter().filter(|(name, _)| !is_data(name)).map(|(name, value)| {
                (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            });
            let mut attributes: Vec<_> = attributes.collect();
            attributes.sort();
            attributes
        }
    };
    assert_eq!(seen, wanted, "{mode}");
    assert_eq!(received.attribute("datacontenttype").as_deref(), event.content_type(), "{mode}: {event:?}");
    match received.structured() {
        Some(object) => assert_eq!(object.get("data"), event.json().get("data"), "{mode}: {event:?}"),
        None => {
            let is_json = event.content_type().is_some_and(|media_type| media_type.contains("json"));
            // IN-17: byte for byte from binary to binary, else JSON-equal.
            if is_json && !mode.starts_with("binary") {
                let value = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).ok();
                assert_eq!(value(&received.body), value(event.payload()), "{mode}: {event:?}");
            } else {
                assert_eq!(received.body, event.payload(), "{mode}: {event:?}");
            }
        }
    }
}

/// CFT-01, CFT-04, CFT-06, CFT-08, IN-17, IN-18, TST-22, TST-52, TST-56, X-11, X-17
async fn every_event_of_the_corpus_arrives_unchanged_in_every_mode<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    let trigon = D::start(&[
        broker("default"),
        trigger("binary", &subscriber.url("/binary")),
        trigger("json", &subscriber.url("/json")).delivery(json!({"format": "json"})),
    ])
    .await;
    let mut sent = 0;
    for event in corpus() {
        for mode in ["binary", "structured"] {
            let answer = match mode {
                "binary" => trigon.producer().send(&event).await,
                _ => trigon.producer().send_structured(&event).await,
            };
            assert_eq!(answer.status, 202, "{mode}: {event:?}: {}", answer.body);
            sent += 1;
            for path in ["/binary", "/json"] {
                let received = subscriber.receives(path, sent).await;
                assert_same(&event, &received[sent - 1], &format!("{mode} in, {path} out"));
            }
        }
    }
}

/// TST-19, IN-19
async fn data_of_any_media_type_arrives_byte_for_byte<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    let trigon = D::start(&[
        broker("default"),
        trigger("binary", &subscriber.url("/binary")),
        trigger("json", &subscriber.url("/json")).delivery(json!({"format": "json"})),
    ])
    .await;
    let every_byte: Vec<u8> = (0..=255).collect();
    // Not JSON, whatever it says: binary mode does not look.
    let bodies = [("application/json", b"{ \"a\" :  1 }".to_vec()), ("application/xml", every_byte.clone())];
    let others = [("application/vnd.apache.thrift.binary", every_byte.clone()), ("image/png", every_byte)];
    for (n, (media_type, body)) in bodies.into_iter().chain(others).enumerate() {
        trigon.producer().accept(&Event::new(n.to_string()).data(media_type, body.clone())).await;
        let received = subscriber.receives("/binary", n + 1).await;
        assert_eq!(received[n].body, body, "{media_type}");
        assert_eq!(received[n].header("content-type"), Some(media_type));
        let structured = subscriber.receives("/json", n + 1).await[n].structured().expect("it is structured");
        let has_base64 = structured.get("data_base64").is_some();
        assert_eq!(has_base64, !media_type.contains("json"), "{media_type}: {structured}");
    }
}

on_every_deployment!(
    every_event_of_the_corpus_arrives_unchanged_in_every_mode,
    data_of_any_media_type_arrives_byte_for_byte,
);
