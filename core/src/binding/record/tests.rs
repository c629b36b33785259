use super::*;
use crate::event::SpecVersion;

const ACCEPTED: Timestamp = Timestamp(1_700_000_000_123);

fn minimal() -> EventBuilder {
    EventBuilder::new()
        .spec_version("1.0")
        .attribute("id", "1")
        .attribute("source", "/s")
        .attribute("type", "t")
}

fn record(headers: &[(&str, &str)], value: Option<&str>) -> Record {
    let headers = headers
        .iter()
        .map(|(name, value)| (ByteString::from(*name), Bytes::copy_from_slice(value.as_bytes())))
        .collect();
    let value = value.map(|value| Bytes::copy_from_slice(value.as_bytes()));
    Record { key: None, headers, value, timestamp: ACCEPTED }
}

const MINIMAL: [(&str, &str); 4] =
    [("ce_specversion", "1.0"), ("ce_id", "1"), ("ce_source", "/s"), ("ce_type", "t")];

fn shown(record: &Record) -> Vec<(&str, &str)> {
    record.headers.iter().map(|(name, value)| (&**name, std::str::from_utf8(value).unwrap())).collect()
}

/// EXT-11
#[test]
fn the_type_of_the_hops_alone_is_written_like_every_other() {
    let hops = Attribute { name: ttl::ATTRIBUTE.into(), value: "255".into(), value_type: ValueType::Integer };
    let mut noted = String::new();
    note_type(&hops, &mut noted);
    assert_eq!(HOPS_ALONE, noted);
    for (value, value_type) in [(255, ValueType::Integer), (7, ValueType::Integer), (7, ValueType::String)] {
        let event = minimal().typed(ttl::ATTRIBUTE, value.to_string(), value_type).build().unwrap();
        let record = Envelope::of(event.clone()).encode(ACCEPTED);
        assert_eq!(record.header(TYPES).is_some(), value_type == ValueType::Integer);
        assert_eq!(Envelope::decode(&record).unwrap().event, event);
    }
}

/// KAF-01, KAF-02, HDR-05: the exact headers, nothing percent-encoded
#[test]
fn an_event_is_written_in_binary_mode() {
    let event = minimal()
        .attribute("datacontenttype", "text/plain")
        .attribute("ext", "a € \"%\"")
        .boolean("flag", true)
        .integer("knativebrokerttl", 255)
        .data("hi")
        .build()
        .unwrap();
    let envelope = Envelope {
        event,
        passed_through: vec![("knative-hello".into(), Bytes::from_static(b"w\xf6rld"))],
        audience: Audience::Only(TriggerId::new("default", "orders")),
    };
    let mut record = envelope.encode(ACCEPTED);
    assert_eq!(Envelope::decode(&record).unwrap(), envelope);
    record.headers[9].1 = Bytes::from_static(b"world");
    let expected = [
        ("ce_specversion", "1.0"),
        ("ce_id", "1"),
        ("ce_source", "/s"),
        ("ce_type", "t"),
        ("content-type", "text/plain"),
        ("ce_ext", "a € \"%\""),
        ("ce_flag", "true"),
        ("ce_knativebrokerttl", "255"),
        ("trigon_types", "flag=boolean,knativebrokerttl=integer"),
        ("trigon_header_knative-hello", "world"),
        ("trigon_only", "default/orders"),
    ];
    assert_eq!(shown(&record), expected);
    assert_eq!((record.key, record.value, record.timestamp), (None, Some("hi".into()), ACCEPTED));
}

/// KAF-08 to KAF-10, EXT-03, peer's R4
#[test]
fn the_partition_key_is_the_key_and_stays_in_the_event() {
    let key = |builder: EventBuilder| Envelope::of(builder.build().unwrap()).encode(ACCEPTED).key;
    assert_eq!(key(minimal()), None);
    assert_eq!(key(minimal().attribute("partitionkey", "k €")), Some("k €".into()));
    assert_eq!(key(minimal().integer("partitionkey", 42)), Some("42".into()));
    assert_eq!(key(minimal().attribute("partitionkey", "")), None);
    let event = minimal().attribute("partitionkey", "k").build().unwrap();
    let decoded = Envelope::decode(&Envelope::of(event.clone()).encode(ACCEPTED)).unwrap();
    assert_eq!(decoded.event, event);
}

/// KAF-03, KAF-04, HTTP-15
#[test]
fn no_data_and_empty_data_stay_apart() {
    for data in [None, Some(Bytes::new()), Some(Bytes::from_static(b"x"))] {
        let mut builder = minimal();
        if let Some(data) = data.clone() {
            builder = builder.data(data);
        }
        let event = builder.build().unwrap();
        let record = Envelope::of(event.clone()).encode(ACCEPTED);
        assert_eq!(record.value, data);
        assert!(record.header("content-type").is_none());
        assert_eq!(Envelope::decode(&record).unwrap().event, event);
    }
}

/// CFT-02, KAF-12, KAF-05, KAF-06: records of the three kinds that the conformance suite has
#[test]
fn records_like_those_of_the_conformance_suite_are_read() {
    let data = r#"{"message": "Hello World!"}"#;
    let binary = [
        ("ce_specversion", "1.0"),
        ("ce_type", "com.example.someevent"),
        ("ce_time", "2018-11-23T03:56:24Z"),
        ("ce_id", "4096e7ef-3e6c-4f0b-8d5a-0c2b6f4d1e7a"),
        ("ce_source", "/mycontext/subcontext"),
        ("content-type", "application/json"),
    ];
    let mut records = vec![record(&binary, Some(data))];
    let structured = format!(
        r#"{{"specversion": "1.0", "type": "com.example.someevent", "source": "/mycontext/subcontext",
            "id": "4096e7ef-3e6c-4f0b-8d5a-0c2b6f4d1e7a", "time": "2018-11-23T03:56:24Z",
            "datacontenttype": "application/json", "data": {data}}}"#
    );
    for content_type in ["application/cloudevents+json", "application/CloudEvents+json; charset=UTF-8"] {
        records.push(record(&[("content-type", content_type), ("ce_id", "ignored")], Some(&structured)));
    }
    for record in records {
        let event = Envelope::decode(&record).unwrap().event;
        let expected = [
            ("id", "4096e7ef-3e6c-4f0b-8d5a-0c2b6f4d1e7a"),
            ("source", "/mycontext/subcontext"),
            ("type", "com.example.someevent"),
            ("time", "2018-11-23T03:56:24Z"),
            ("datacontenttype", "application/json"),
            ("specversion", "1.0"),
        ];
        for (name, value) in expected {
            assert_eq!(event.attribute(name), Some(value));
        }
        assert_eq!(event.attributes().len(), 5);
        assert_eq!(event.data().unwrap(), data);
    }
}

/// KAF-07, KAF-11
#[test]
fn a_record_that_is_no_event_says_why() {
    let json = ("content-type", "application/cloudevents+json");
    let cases = [
        (record(&[], None), "attribute specversion: is missing"),
        (record(&[("content-type", "application/json")], Some("{}")), "attribute specversion: is missing"),
        (record(&MINIMAL[..3], None), "attribute type: is missing"),
        (record(&[json], None), "a structured event without a value"),
        (record(&[json], Some("{")), "EOF while parsing"),
        (record(&[json], Some("{}")), "attribute specversion: is missing"),
        (
            record(&[("content-type", "application/cloudevents-batch+json")], Some("[]")),
            "a batch in one record",
        ),
        (record(&[("content-type", "application/cloudevents+avro")], Some("x")), "the event format"),
        (record(&[&MINIMAL[..], &[("ce_Upper", "x")]].concat(), None), "attribute Upper: the name"),
        (record(&[&MINIMAL[..], &[("trigon_only", "x")]].concat(), None), "trigon_only is not"),
    ];
    for (record, expected) in cases {
        let reason = Envelope::decode(&record).unwrap_err().reason;
        assert!(reason.starts_with(expected), "{reason}");
    }
    let mut record = record(&MINIMAL, None);
    record.headers.push(("ce_ext".into(), Bytes::from_static(b"\xff")));
    assert_eq!(Envelope::decode(&record).unwrap_err().reason, "attribute ext: is not UTF-8");
}

/// HDR-04, HDR-05
#[test]
fn of_the_headers_beside_the_event_only_those_are_read_that_http_may_carry() {
    let more = [
        ("foreign", "x"),
        ("trigon_header_knative-a", "1"),
        ("trigon_header_knative-A", "1"),
        ("trigon_header_knative-\n", "1"),
        ("trigon_header_knative-b", "1\n2"),
        ("trigon_header_authorization", "1"),
        ("trigon_header_ce-id", "1"),
    ];
    let decoded = Envelope::decode(&record(&[&MINIMAL[..], &more].concat(), None)).unwrap();
    assert_eq!(decoded.passed_through, [("knative-a".into(), Bytes::from_static(b"1"))]);
    assert_eq!(decoded.event.attributes().len(), 3);
}

/// X-17, CE-13
#[test]
fn version_0_3_goes_through_the_log_as_it_is() {
    let event = minimal()
        .replace("specversion", "0.3")
        .attribute("schemaurl", "https://example.com/s")
        .attribute("datacontentencoding", "base64")
        .data("aGk=")
        .build()
        .unwrap();
    let decoded = Envelope::decode(&Envelope::of(event.clone()).encode(ACCEPTED)).unwrap();
    assert_eq!(decoded.event, event);
    assert_eq!(decoded.event.spec_version(), SpecVersion::V03);
}

#[test]
fn what_is_read_shares_the_memory_of_the_record() {
    let event = minimal().attribute("ext", "value").data("payload").build().unwrap();
    let record = Envelope::of(event).encode(ACCEPTED);
    let event = Envelope::decode(&record).unwrap().event;
    let ext = event.attributes().iter().find(|attribute| attribute.name == "ext").unwrap();
    let (name, value) = record.headers.iter().find(|(name, _)| name == "ce_ext").unwrap();
    assert_eq!(ext.name.as_ptr(), name[3..].as_ptr());
    assert_eq!(ext.value.as_ptr(), value.as_ptr());
    assert_eq!(event.data().unwrap().as_ptr(), record.value.as_ref().unwrap().as_ptr());
}
