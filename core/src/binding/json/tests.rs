use super::*;

const MINIMAL: &str = r#""specversion":"1.0","id":"1","source":"/s","type":"t""#;
const MINIMAL_V03: &str = r#""specversion":"0.3","id":"1","source":"/s","type":"t""#;

fn read(text: &str) -> Result<Event, String> {
    parse(&Bytes::copy_from_slice(text.as_bytes())).map_err(|error| error.to_string())
}

fn event(members: &str) -> Event {
    read(&format!("{{{MINIMAL},{members}}}")).unwrap()
}

fn refused(members: &str) -> String {
    read(&format!("{{{MINIMAL},{members}}}")).expect_err(members)
}

fn written(event: &Event) -> String {
    String::from_utf8(write(event).to_vec()).unwrap()
}

/// JSON-01, JSON-02, CE-08, CE-11, EXT-11
#[test]
fn attributes_are_members_and_keep_their_types() {
    let members = r#""flag":true,"no":false,"count":-5,"text":"5","escaped":"\"\u20ac\"","absent":null"#;
    let event = event(members);
    let found: Vec<_> = event.attributes()[3..].iter().map(|a| (&*a.name, &*a.value, a.value_type)).collect();
    let expected = [
        ("flag", "true", ValueType::Boolean),
        ("no", "false", ValueType::Boolean),
        ("count", "-5", ValueType::Integer),
        ("text", "5", ValueType::String),
        ("escaped", "\"€\"", ValueType::String),
    ];
    assert_eq!(found, expected);
    let text = format!(r#"{{{MINIMAL},"flag":true,"no":false,"count":-5,"text":"5","escaped":"\"€\""}}"#);
    assert_eq!(written(&event), text);
}

/// JSON-04 to JSON-07, CE-10, IN-17: members with data, the data, and the members that come out again
#[test]
fn data_is_a_value_a_text_or_bytes() {
    let json = r#""datacontenttype":"application/json""#;
    let cases = [
        (r#""data":{"a":[1,2]}"#, r#"{"a":[1,2]}"#, format!(r#"{json},"data":{{"a":[1,2]}}"#)),
        (r#""data": { "a" : 1 } "#, r#"{ "a" : 1 }"#, format!(r#"{json},"data":{{ "a" : 1 }}"#)),
        (
            r#""data":"I'm just a string""#,
            r#""I'm just a string""#,
            format!(r#"{json},"data":"I'm just a string""#),
        ),
        (r#""data":"{\"a\":1}""#, r#""{\"a\":1}""#, format!(r#"{json},"data":"{{\"a\":1}}""#)),
        (r#""data":null"#, "null", format!(r#"{json},"data":null"#)),
        (
            r#""data":12345678901234567890.123456789012345678901e-400"#,
            "12345678901234567890.123456789012345678901e-400",
            format!(r#"{json},"data":12345678901234567890.123456789012345678901e-400"#),
        ),
        (
            r#""datacontenttype":"Text/JSON;charset=utf-8","data":1"#,
            "1",
            r#""datacontenttype":"Text/JSON;charset=utf-8","data":1"#.to_owned(),
        ),
        (
            r#""data":true,"datacontenttype":"application/geo+json""#,
            "true",
            r#""datacontenttype":"application/geo+json","data":true"#.to_owned(),
        ),
        (
            r#""datacontenttype":"application/xml","data":"<a b=\"c\"/>""#,
            "<a b=\"c\"/>",
            r#""datacontenttype":"application/xml","data":"<a b=\"c\"/>""#.to_owned(),
        ),
        (
            r#""datacontenttype":"text/plain","data":"""#,
            "",
            r#""datacontenttype":"text/plain","data":"""#.to_owned(),
        ),
    ];
    for (members, data, out) in cases {
        let event = event(members);
        assert_eq!(event.data().unwrap(), data, "{members}");
        assert_eq!(written(&event), format!("{{{MINIMAL},{out}}}"), "{members}");
    }
}

/// JSON-03
#[test]
fn base64_data_is_bytes_and_implies_no_content_type() {
    let bytes = event(r#""data_base64":"/wA=""#);
    assert_eq!((&bytes.data().unwrap()[..], bytes.attribute("datacontenttype")), (&b"\xff\0"[..], None));
    assert_eq!(written(&bytes), format!(r#"{{{MINIMAL},"data_base64":"/wA="}}"#));
    let image = event(r#""datacontenttype":"image/png","data_base64":"aGk=""#);
    assert_eq!(image.data().unwrap(), "hi");
    assert_eq!(
        written(&image),
        format!(r#"{{{MINIMAL},"datacontenttype":"image/png","data_base64":"aGk="}}"#)
    );
    let json = event(r#""datacontenttype":"application/json","data_base64":"eyJhIjoxfQ==""#);
    assert_eq!(json.data().unwrap(), r#"{"a":1}"#);
    assert_eq!(
        written(&json),
        format!(r#"{{{MINIMAL},"datacontenttype":"application/json","data":{{"a":1}}}}"#)
    );
    assert_eq!(event(r#""data_base64":null"#).data(), None);
    assert!(refused(r#""data":1,"data_base64":"aGk=""#).contains("exclude each other"));
    for bad in [r#""?""#, "1", r#""aGk""#, r#""-_-_""#] {
        assert!(
            refused(&format!(r#""data_base64":{bad}"#)).contains("must be a JSON string in base64"),
            "{bad}"
        );
    }
}

/// JSON-03, JSON-05
#[test]
fn data_that_its_content_type_cannot_describe_is_written_in_base64() {
    let cases = [
        ("application/json", &b"{broken"[..], r#""data_base64":"e2Jyb2tlbg==""#),
        ("application/json", b"", r#""data_base64":"""#),
        ("text/json", b"", r#""data_base64":"""#),
        ("text/plain", b"\xff", r#""data_base64":"/w==""#),
        ("text/plain; charset=iso-8859-1", b"hi", r#""data_base64":"aGk=""#),
        ("text/plain; charset=\"UTF-8\"", b"hi", r#""data":"hi""#),
        ("application/octet-stream", b"hi", r#""data_base64":"aGk=""#),
        ("application/soap+xml", b"hi", r#""data":"hi""#),
    ];
    for (content_type, data, expected) in cases {
        let builder = read(&format!("{{{MINIMAL}}}")).unwrap().into_builder();
        let event = builder.attribute("datacontenttype", content_type).data(data).build().unwrap();
        let text = written(&event);
        assert!(text.ends_with(&format!(",{expected}}}")), "{text}");
        assert_eq!(read(&text).unwrap(), event);
    }
}

/// JSON-05: a producer that writes null for a text that it does not have
#[test]
fn text_data_is_a_string_or_absent() {
    assert_eq!(event(r#""datacontenttype":"text/plain","data":null"#).data(), None);
    for bad in ["1", "{}", "[]", "true", r#""\ud800""#] {
        let message = refused(&format!(r#""datacontenttype":"text/plain","data":{bad}"#));
        assert!(message.starts_with("data: must be a JSON string"), "{message}");
    }
}

/// JSON-02, JSON-09, CE-05, CE-06
#[test]
fn values_outside_the_type_system_are_refused() {
    let cases = [
        (r#""ext":{"a":1}"#, "attribute ext: objects and arrays are no attribute types"),
        (r#""ext":[]"#, "attribute ext: objects and arrays"),
        (r#""ext":1.5"#, "attribute ext: \"1.5\" is not valid; an integer"),
        (r#""ext":1e3"#, "attribute ext: \"1e3\" is not valid; an integer"),
        (r#""ext":2147483648"#, "attribute ext: \"2147483648\" is not valid"),
        (r#""ext":"\ud800""#, "attribute ext: is not Unicode text"),
        (r#""ext":"\u0000""#, "attribute ext: the value contains U+0000"),
        (r#""subject":1"#, "attribute subject: \"1\" is not valid; send a JSON string"),
        (r#""Ext":"x""#, "attribute Ext: the name"),
        (r#""data_ext":"x""#, "attribute data_ext: the name"),
    ];
    for (members, expected) in cases {
        let message = refused(members);
        assert!(message.starts_with(expected), "{message}");
    }
    let message = read(r#"{"specversion":1.0,"id":"1","source":"/s","type":"t"}"#).unwrap_err();
    assert!(message.starts_with("attribute specversion: send a JSON string"), "{message}");
}

/// CE-03
#[test]
fn a_member_that_occurs_twice_is_refused() {
    for members in [
        r#""ext":"1","ext":"1""#,
        r#""ext":null,"ext":"1""#,
        r#""ext":"1","ext":null"#,
        r#""ext":null,"ext":null"#,
        r#""e\u0078t":"1","ext":"1""#,
    ] {
        assert_eq!(refused(members), "attribute ext: occurs more than once, send it once", "{members}");
    }
    assert_eq!(refused(r#""data":1,"data":null"#), "data: occurs more than once, send it once");
    assert!(refused(r#""id":"2""#).contains("id: occurs more than once"));
}

/// CE-13, X-17: text in base64 stays the text that it is
#[test]
fn version_0_3_keeps_its_encoded_data_and_its_own_members() {
    let both = [
        r#""datacontentencoding":"base64","datacontenttype":"image/png","data":"aGk=""#,
        r#""datacontenttype":"application/json","datacontentencoding":"Base64","data":"e30=""#,
        r#""schemaurl":"https://example.com/s","datacontenttype":"text/xml","data":"<a/>""#,
        r#""datacontenttype":"application/json","data":{"a":1}"#,
    ];
    for members in both {
        let text = format!("{{{MINIMAL_V03},{members}}}");
        let event = read(&text).unwrap();
        assert_eq!(written(&event), text);
    }
    let encoded =
        read(&format!(r#"{{{MINIMAL_V03},"datacontentencoding":"base64","data":"aGk="}}"#)).unwrap();
    assert_eq!(
        (&encoded.data().unwrap()[..], encoded.attribute("datacontenttype")),
        (&b"aGk="[..], Some("application/json"))
    );

    let bytes = read(&format!("{{{MINIMAL_V03}}}")).unwrap().into_builder();
    let bytes = bytes.attribute("datacontenttype", "image/png").data(&b"\xff"[..]).build().unwrap();
    let expected = r#""datacontenttype":"image/png","datacontentencoding":"base64","data":"/w==""#;
    assert_eq!(written(&bytes), format!("{{{MINIMAL_V03},{expected}}}"));

    let message = read(&format!(r#"{{{MINIMAL_V03},"data_base64":"aGk="}}"#)).unwrap_err();
    assert!(message.contains("0.3 has no data_base64"), "{message}");
    let message =
        read(&format!(r#"{{{MINIMAL_V03},"datacontentencoding":"base64","data":{{}}}}"#)).unwrap_err();
    assert!(message.contains("because datacontentencoding is base64"), "{message}");
}

/// IN-06
#[test]
fn what_is_no_object_is_malformed() {
    for text in
        ["", "{", "[]", "1", "null", "\"x\"", "{} {}", "{\"id\"}", "{\"id\":}", "\u{feff}{}", "{'a':1}"]
    {
        let error = parse(&Bytes::copy_from_slice(text.as_bytes())).unwrap_err();
        assert!(matches!(error, ParseError::Malformed(_)), "{text}: {error}");
    }
    let error = parse(&Bytes::from_static(b"{\"id\":\"\xff\"}")).unwrap_err();
    assert!(matches!(error, ParseError::Malformed(_)), "{error}");
}

#[test]
fn deep_and_wide_texts_are_read_without_harm() {
    let deep = format!(r#""data":{}{}"#, "[".repeat(200_000), "]".repeat(200_000));
    let deep = event(&deep);
    assert_eq!(read(&written(&deep)).unwrap(), deep);
    assert!(
        refused(&format!(r#""ext":{}{}"#, "[".repeat(200_000), "]".repeat(200_000)))
            .starts_with("attribute ext")
    );
    let wide: Vec<String> = (0..100_000).map(|n| format!("\"x{n}\":null")).collect();
    assert_eq!(event(&wide.join(",")).attributes().len(), 3);
    let wide: Vec<String> = (0..100_000).map(|n| format!("\"x{n}\":1")).collect();
    assert!(refused(&wide.join(",")).contains("at most 10000 are taken"));
}

#[test]
fn what_is_read_shares_the_memory_of_the_text() {
    let text = Bytes::from(format!(r#"{{{MINIMAL},"ext":"value","data":{{"a":1}}}}"#));
    let event = parse(&text).unwrap();
    let range = text.as_ptr_range();
    let ext = event.attributes().iter().find(|attribute| attribute.name == "ext").unwrap();
    for part in [ext.name.as_bytes(), ext.value.as_bytes(), event.data().unwrap()] {
        assert!(range.contains(&part.as_ptr()), "{part:?}");
    }
}

/// JSON-08
#[test]
fn a_batch_is_written_as_it_is_read() {
    for count in 0..3 {
        let events: Vec<Event> = (0..count).map(|n| event(&format!(r#""n":{n}"#))).collect();
        assert_eq!(parse_batch(&write_batch(&events)).unwrap(), events);
    }
}
