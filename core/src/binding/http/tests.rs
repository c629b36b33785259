use super::*;
use crate::event::SpecVersion;

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let bytes = lines.iter().map(|(name, value)| (*name, value.as_bytes()));
    raw_headers(&bytes.collect::<Vec<_>>())
}

fn raw_headers(lines: &[(&str, &[u8])]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value).unwrap());
    }
    headers
}

const MINIMAL: [(&str, &str); 4] =
    [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")];

fn with(more: &[(&str, &str)]) -> HeaderMap {
    headers(&[&MINIMAL, more].concat())
}

fn one(headers: &HeaderMap, body: &str) -> Event {
    match decode(headers, Bytes::copy_from_slice(body.as_bytes())).unwrap() {
        Incoming::One(event) => event,
        Incoming::Batch(events) => panic!("a batch: {events:?}"),
    }
}

fn refused(headers: &HeaderMap, body: &str) -> DecodeError {
    decode(headers, Bytes::copy_from_slice(body.as_bytes())).unwrap_err()
}

fn attributes(event: &Event) -> Vec<(&str, &str)> {
    let mut attributes: Vec<_> = event.attributes().iter().map(|a| (&*a.name, &*a.value)).collect();
    attributes.push(("specversion", event.spec_version().as_str()));
    attributes.sort_unstable();
    attributes
}

/// CFT-01, HTTP-01, IN-01: messages of the four kinds that the conformance suite sends
#[test]
fn messages_like_those_of_the_conformance_suite_are_read() {
    let expected = [
        ("datacontenttype", "application/json"),
        ("id", "4b3c8a4a-91fa-4c8f-a1f6-3a0e9b6d2c11"),
        ("source", "https://github.com/cloudevents/spec/pull"),
        ("specversion", "1.0"),
        ("subject", "123"),
        ("time", "2018-04-05T17:31:00Z"),
        ("type", "com.github.pull.create"),
    ];
    for content_type in ["application/json", "application/json; charset=utf-8"] {
        let lines: Vec<(String, &str)> = expected
            .iter()
            .map(|(name, value)| match *name {
                "datacontenttype" => ("Content-Type".to_owned(), content_type),
                name => (format!("Ce-{}", name), *value),
            })
            .collect();
        let lines: Vec<(&str, &str)> = lines.iter().map(|(name, value)| (&**name, *value)).collect();
        let event = one(&headers(&lines), r#"{"message": "Hello World!"}"#);
        let mut expected = expected;
        expected[0].1 = content_type;
        assert_eq!(attributes(&event), expected);
        assert_eq!(event.data().unwrap(), r#"{"message": "Hello World!"}"#);
    }
    for content_type in ["application/cloudevents+json", "application/cloudevents+json; charset=utf-8"] {
        let body = r#"{
            "specversion": "1.0",
            "type": "com.github.pull.create",
            "subject": "123",
            "source": "https://github.com/cloudevents/spec/pull",
            "id": "4b3c8a4a-91fa-4c8f-a1f6-3a0e9b6d2c11",
            "time": "2018-04-05T17:31:00Z",
            "datacontenttype": "application/json",
            "data": {"message": "Hello World!"}
        }"#;
        let event = one(&headers(&[("content-type", content_type)]), body);
        assert_eq!(attributes(&event), expected);
        assert_eq!(event.data().unwrap(), r#"{"message": "Hello World!"}"#);
    }
}

/// HTTP-02, HTTP-03, IN-06, IN-15
#[test]
fn the_content_type_tells_the_mode() {
    let json = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
    for content_type in [
        "application/cloudevents+json",
        "APPLICATION/CloudEvents+JSON",
        "application/cloudevents+json;charset=UTF-8",
        "application/cloudevents+json ; a=b",
    ] {
        assert_eq!(one(&headers(&[("content-type", content_type)]), json).id(), "1");
    }
    for content_type in
        ["application/cloudevents-batch+json", "Application/CloudEvents-Batch+Json; charset=utf-8"]
    {
        let batch = format!("[{json},{}]", json.replace("\"1\"", "\"2\""));
        let incoming = decode(&headers(&[("content-type", content_type)]), batch.into()).unwrap();
        let Incoming::Batch(events) = incoming else { panic!("not a batch") };
        assert_eq!(events.iter().map(Event::id).collect::<Vec<_>>(), ["1", "2"]);
    }
    for content_type in [
        "application/cloudevents+avro",
        "application/cloudevents-batch+avro",
        "application/cloudevents-batch",
        "application/cloudevents",
        "application/cloudevents+jsonx",
    ] {
        let error = refused(&with(&[("content-type", content_type)]), json);
        let DecodeError::UnsupportedFormat { found, .. } = &error else { panic!("{error:?}") };
        assert_eq!(found, content_type);
        assert!(error.to_string().ends_with("or application/cloudevents-batch+json"), "{error}");
    }
    for content_type in ["application/json", "text/plain", "application/cloudevent+json"] {
        assert_eq!(refused(&headers(&[("content-type", content_type)]), json), DecodeError::NotAnEvent);
        assert!(one(&with(&[("content-type", content_type)]), "x").data().is_some());
    }
    assert_eq!(refused(&HeaderMap::new(), json), DecodeError::NotAnEvent);
}

/// HTTP-04, HTTP-05
#[test]
fn headers_are_attributes_and_the_content_type_is_one_of_them() {
    let event = one(&with(&[("content-type", "text/xml"), ("CE-Ext1", "v"), ("ext2", "v")]), "<a/>");
    let expected = [
        ("datacontenttype", "text/xml"),
        ("ext1", "v"),
        ("id", "1"),
        ("source", "/s"),
        ("specversion", "1.0"),
        ("type", "t"),
    ];
    assert_eq!(attributes(&event), expected);
    let (written, body) = encode(&event, Format::Binary);
    let mut names: Vec<_> = written.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["ce-ext1", "ce-id", "ce-source", "ce-specversion", "ce-type", "content-type"]);
    assert_eq!(body, "<a/>");
    let error = refused(&with(&[("ce-datacontenttype", "text/xml")]), "<a/>");
    assert!(error.to_string().contains("send it as the header content-type"), "{error}");
}

/// HTTP-06 to HTTP-11, HTTP-18, X-11: text, how we write it, and other ways in which senders write it
#[test]
fn values_are_percent_encoded() {
    let cases: [(&str, &str, &[&str]); 12] = [
        (
            "Euro € \u{1f600}",
            "Euro%20%E2%82%AC%20%F0%9F%98%80",
            &["Euro € \u{1f600}", "Euro%20%e2%82%ac%20%f0%9f%98%80"],
        ),
        ("plain", "plain", &["%70lain", "\"plain\"", "\"pl\\ain\"", "\"pl%61in\""]),
        ("a b", "a%20b", &["a b", "\"a b\""]),
        ("say \"hi\"", "say%20%22hi%22", &["say \"hi\"", "\"say \\\"hi\\\"\""]),
        ("100%", "100%25", &["100%"]),
        ("%2", "%252", &["%2"]),
        ("%ZZ", "%25ZZ", &["%ZZ"]),
        ("%41", "%2541", &[]),
        ("\"", "%22", &["\""]),
        ("\"a\"b\"", "%22a%22b%22", &["\"a\"b\""]),
        ("\"a\\\"", "%22a\\%22", &["\"a\\\""]),
        ("!#$&'()*+,/:;=?@[]~", "!#$&'()*+,/:;=?@[]~", &[]),
    ];
    for (text, written, others) in cases {
        for sent in [&[written], others].concat() {
            let event = one(&with(&[("ce-ext", sent)]), "");
            assert_eq!(event.attribute("ext"), Some(text), "{sent}");
            let (headers, _) = encode(&event, Format::Binary);
            assert_eq!(headers["ce-ext"], written, "{sent}");
        }
    }
}

/// HTTP-09, CE-06
#[test]
fn values_that_are_no_text_are_refused() {
    for sent in [&b"%C0%A0"[..], b"\xff", b"\xc0\xa0", b"%ED%A0%80", b"%E2%82"] {
        let mut headers = with(&[]);
        headers.insert("ce-ext", HeaderValue::from_bytes(sent).unwrap());
        let message = refused(&headers, "").to_string();
        assert!(message.contains("attribute ext: the header's value is not UTF-8"), "{message}");
    }
    assert!(refused(&with(&[("ce-ext", "a%00b")]), "").to_string().contains("U+0000"));
    assert!(refused(&with(&[("ce-ext", "a%0D%0Ab")]), "").to_string().contains("U+000D"));
}

/// HTTP-12
#[test]
fn in_structured_mode_the_payload_wins() {
    let json = r#"{"specversion":"1.0","id":"inner","source":"/s","type":"t"}"#;
    let lines = [("content-type", "application/cloudevents+json"), ("ce-id", "outer"), ("ce-x", "y")];
    let event = one(&headers(&lines), json);
    assert_eq!((event.id(), event.attribute("x")), ("inner", None));
}

/// HTTP-15
#[test]
fn an_empty_body_is_no_data_and_invents_no_content_type() {
    let event = one(&with(&[]), "");
    assert_eq!((event.data(), event.attribute("datacontenttype")), (None, None));
    let (headers, body) = encode(&event, Format::Binary);
    assert!(!headers.contains_key("content-type") && body.is_empty());
    let event = one(&with(&[("content-type", "text/plain")]), "");
    assert_eq!((event.data(), event.attribute("datacontenttype")), (None, Some("text/plain")));
}

/// HTTP-16
#[test]
fn a_header_that_occurs_twice_is_refused() {
    for (name, attribute) in [("ce-id", "id"), ("ce-ext", "ext"), ("content-type", "datacontenttype")] {
        let error = refused(&with(&[("ce-ext", "1"), ("content-type", "a/b"), (name, "a/b")]), "");
        let expected = format!(
            "the CloudEvent is not valid: attribute {attribute}: occurs more than once, send it once"
        );
        assert_eq!(error.to_string(), expected);
    }
}

/// HTTP-17, IN-06
#[test]
fn what_is_wrong_with_a_binary_event_is_named() {
    let cases = [
        (("ce-foo-bar", "x"), "attribute foo-bar: the name must consist of a-z and 0-9"),
        (("ce-foo_bar", "x"), "attribute foo_bar: the name must consist of a-z and 0-9"),
        (("ce-", "x"), "attribute : the name is empty"),
        (("ce-data", "x"), "attribute data: "),
        (("ce-time", "noon"), "attribute time: \"noon\" is not valid"),
        (("ce-dataschema", "schema"), "attribute dataschema: \"schema\" is not valid"),
        (("ce-subject", ""), "attribute subject: is empty"),
        (("content-type", "json"), "attribute datacontenttype: \"json\" is not valid"),
    ];
    for (line, expected) in cases {
        let message = refused(&with(&[line]), "x").to_string();
        let expected = expected.replace("attribute data: ", "data: ");
        assert!(message.contains(&expected), "{message}");
    }
    let message = refused(&headers(&[("ce-id", "1")]), "").to_string();
    assert!(message.contains("attribute specversion: is missing"), "{message}");
    let message = refused(&headers(&[("ce-specversion", "9000.1")]), "").to_string();
    assert!(message.contains("\"9000.1\" is not supported"), "{message}");
}

/// IN-17, IN-19
#[test]
fn data_is_passed_on_byte_for_byte() {
    for content_type in ["application/xml", "application/json", "application/vnd.apache.thrift.binary"] {
        let body = Bytes::from_static(b"\x00\xff {not json} \r\n");
        let headers = with(&[("content-type", content_type)]);
        let Incoming::One(event) = decode(&headers, body.clone()).unwrap() else { panic!("a batch") };
        let (_, written) = encode(&event, Format::Binary);
        assert_eq!(written, body);
    }
}

/// IN-02, X-17, CE-13
#[test]
fn version_0_3_passes_unchanged() {
    let lines = [
        ("ce-specversion", "0.3"),
        ("ce-id", "1"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
        ("ce-schemaurl", "https://example.com/s"),
        ("ce-datacontentencoding", "base64"),
        ("content-type", "text/plain"),
    ];
    let sent = headers(&lines);
    let event = one(&sent, "aGk=");
    assert_eq!(event.spec_version(), SpecVersion::V03);
    let (written, body) = encode(&event, Format::Binary);
    assert_eq!((written, &body[..]), (sent, &b"aGk="[..]));
    let (written, body) = encode(&event, Format::Json);
    assert_eq!(
        body,
        r#"{"specversion":"0.3","id":"1","source":"/s","type":"t","schemaurl":"https://example.com/s","datacontentencoding":"base64","datacontenttype":"text/plain","data":"aGk="}"#
    );
    assert_eq!(one(&written, std::str::from_utf8(&body).unwrap()), event);
}

/// JSON-08: the batch fails as a whole, and the answer names the event
#[test]
fn a_batch_fails_with_the_place_and_the_id_of_its_bad_event() {
    let headers = headers(&[("content-type", "application/cloudevents-batch+json")]);
    let good = r#"{"specversion":"1.0","id":"a","source":"/s","type":"t"}"#;
    let cases = [
        (
            format!(r#"[{good},{{"specversion":"1.0","id":"b","source":"/s"}}]"#),
            "event 1 of the batch (id \"b\") is not valid: attribute type: is missing, every event needs one; no event of the batch was taken",
        ),
        (
            format!(r#"[{{"specversion":"1.0"}},{good}]"#),
            "event 0 of the batch is not valid: attribute id: is missing, every event needs one; attribute source: \
             is missing, every event needs one; attribute type: is missing, every event needs one; no event of the batch was taken",
        ),
        (
            format!("[{good},{good},7]"),
            "event 2 of the batch is not valid: invalid type: integer `7`, expected",
        ),
        (good.to_owned(), "the body is not a CloudEvent in JSON: invalid type: map, expected a JSON array"),
        (format!("[{good}"), "the body is not a CloudEvent in JSON: EOF while parsing"),
        (format!("[{good}] x"), "the body is not a CloudEvent in JSON: trailing characters"),
        (String::new(), "the body is not a CloudEvent in JSON: EOF while parsing"),
    ];
    for (body, expected) in cases {
        let message = refused(&headers, &body).to_string();
        assert!(message.starts_with(expected), "{message}");
    }
    assert_eq!(decode(&headers, Bytes::from_static(b" [ ] ")).unwrap(), Incoming::Batch(Vec::new()));
}

/// RPL-01, RPL-04 to RPL-07, RPL-12, HTTP-14, X-05
#[test]
fn an_answer_is_a_reply_or_nothing_or_an_error() {
    let reply =
        |headers: &HeaderMap, body: &'static str| decode_reply(headers, Bytes::from_static(body.as_bytes()));
    let json = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
    let structured = headers(&[("content-type", "application/cloudevents+json")]);
    let batch = headers(&[("content-type", "application/cloudevents-batch+json")]);
    let text = headers(&[("content-type", "text/plain")]);

    assert_eq!(reply(&HeaderMap::new(), ""), Ok(None));
    assert_eq!(reply(&text, ""), Ok(None));
    assert_eq!(reply(&with(&[]), "").unwrap().unwrap().id(), "1");
    assert_eq!(reply(&with(&[("content-type", "text/plain")]), "x").unwrap().unwrap().data().unwrap(), "x");
    assert_eq!(reply(&structured, json).unwrap().unwrap().id(), "1");

    assert_eq!(reply(&text, "ok"), Err(DecodeError::NotAnEvent));
    assert_eq!(reply(&HeaderMap::new(), "ok"), Err(DecodeError::NotAnEvent));
    assert!(matches!(reply(&structured, "{"), Err(DecodeError::Malformed(_))));
    assert!(matches!(reply(&structured, "{}"), Err(DecodeError::Invalid(_))));
    assert!(matches!(reply(&headers(&[("ce-id", "1")]), ""), Err(DecodeError::Invalid(_))));
    for body in ["[]", "x"] {
        let error = reply(&batch, body).unwrap_err();
        assert_eq!(
            error.to_string(),
            "content-type application/cloudevents-batch+json is not read here, use application/cloudevents+json"
        );
    }
}

/// HDR-01 to HDR-04
#[test]
fn only_the_listed_headers_pass_through() {
    let headers = headers(&[
        ("X-Request-Id", "r"),
        ("Retry-After", "120"),
        ("Knative-Hello", "world"),
        ("x-b3-traceid", "b3"),
        ("x-b3-sampled", "1"),
        ("traceparent", "t"),
        ("authorization", "secret"),
        ("cookie", "c"),
        ("foo", "bar"),
        ("test-header", "x"),
        ("x-b30", "x"),
        ("ce-id", "1"),
        ("ce-knative-x", "1"),
        ("content-type", "text/plain"),
    ]);
    let mut passed = passed_through(&headers);
    passed.sort();
    let passed: Vec<(&str, &[u8])> = passed.iter().map(|(name, value)| (&**name, &**value)).collect();
    let expected: [(&str, &[u8]); 5] = [
        ("knative-hello", b"world"),
        ("retry-after", b"120"),
        ("x-b3-sampled", b"1"),
        ("x-b3-traceid", b"b3"),
        ("x-request-id", b"r"),
    ];
    assert_eq!(passed, expected);
}
