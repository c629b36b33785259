use super::*;

fn minimal() -> EventBuilder {
    EventBuilder::new()
        .spec_version("1.0")
        .attribute("id", "1")
        .attribute("source", "/s")
        .attribute("type", "t")
}

fn refused(builder: EventBuilder) -> String {
    builder.build().expect_err("the event should be refused").to_string()
}

/// CE-01, IN-06, IN-07
#[test]
fn an_event_needs_its_required_attributes() {
    assert!(minimal().build().is_ok());
    for name in ["id", "source", "type"] {
        let missing = minimal().remove(name);
        assert_eq!(refused(missing), format!("attribute {name}: is missing, every event needs one"));
        assert_eq!(
            refused(minimal().replace(name, "")),
            format!("attribute {name}: is empty; it must not be blank")
        );
        assert_eq!(
            refused(minimal().replace(name, "  ")),
            format!("attribute {name}: \"  \" is not valid; it must not be blank")
        );
    }
    assert_eq!(refused(minimal().remove("specversion")), "attribute specversion: is missing, use 1.0");
}

/// IN-02, IN-03
#[test]
fn versions_1_0_and_0_3_are_taken_and_no_other() {
    for version in ["1.0", "0.3"] {
        let event = minimal().replace("specversion", version).build().unwrap();
        assert_eq!(event.attribute("specversion"), Some(version));
    }
    for version in ["19.0", "9000.1", "0.2", "1", "1.0.2", "", "1.0 "] {
        assert_eq!(
            refused(minimal().replace("specversion", version)),
            format!("attribute specversion: \"{version}\" is not supported, use 1.0 or 0.3")
        );
    }
}

#[test]
fn all_problems_are_told_together_and_counted_past_the_limit() {
    let bad = EventBuilder::new().spec_version("2").attribute("id", "").attribute("time", "noon");
    assert_eq!(
        refused(bad),
        "attribute specversion: \"2\" is not supported, use 1.0 or 0.3; attribute id: is empty; it must not be \
         blank; attribute time: \"noon\" is not valid; use RFC 3339, as in 2026-01-31T09:30:00Z; attribute \
         source: is missing, every event needs one; attribute type: is missing, every event needs one"
    );
    let many = (0..100).fold(minimal(), |builder, n| builder.attribute(format!("X{n}"), ""));
    let invalid = many.build().unwrap_err();
    assert_eq!((invalid.problems.len(), invalid.omitted), (MAX_PROBLEMS, 100 - MAX_PROBLEMS));
    assert!(invalid.to_string().ends_with("; and 84 more"));
}

/// CE-03, CE-04, HTTP-17: what an intermediary must pass, and what nobody may send
#[test]
fn a_name_is_lower_case_letters_and_digits() {
    for name in ["a", "9lives", "comexampleextensionwithaverylongname", "0", &"x".repeat(MAX_NAME)] {
        assert!(minimal().attribute(name, "v").build().is_ok(), "{name}");
    }
    for name in ["", "foo-bar", "foo_bar", "Foo", "é", "a b", "data_base64", "a.b"] {
        let message = refused(minimal().attribute(name, "v"));
        assert!(message.starts_with(&format!("attribute {name}: the name")), "{message}");
    }
    let message = refused(minimal().attribute("data", "v"));
    assert!(message.contains("reserved for the payload"), "{message}");
    assert!(refused(minimal().attribute("x".repeat(MAX_NAME + 1), "v")).contains("longer than"));
}

/// CE-03, HTTP-16
#[test]
fn an_attribute_occurs_once() {
    for name in ["id", "specversion", "ext"] {
        let twice = minimal().attribute("ext", "1").attribute(name, "1");
        assert_eq!(refused(twice), format!("attribute {name}: occurs more than once, send it once"));
    }
    let many = (0..1_000).fold(minimal(), |builder, n| builder.attribute(format!("x{n}"), ""));
    assert!(many.clone().build().is_ok());
    assert!(refused(many.attribute("x500", "")).contains("x500: occurs more than once"));
    let too_many = (0..=MAX_ATTRIBUTES).fold(minimal(), |builder, n| builder.attribute(format!("x{n}"), ""));
    assert!(refused(too_many).contains("at most 10000 are taken"));
}

/// CE-02, IN-06
#[test]
fn a_time_follows_rfc_3339_and_keeps_its_text() {
    for time in [
        "2018-04-05T17:31:00Z",
        "2018-04-05t17:31:00z",
        "2018-04-05T17:31:00.5+01:30",
        "2018-04-05T17:31:00.123456789123Z",
        "0001-01-01T00:00:00-00:00",
        "9999-12-31T23:59:59-23:59",
        "2016-12-31T23:59:60Z",
        "2024-02-29T00:00:00Z",
    ] {
        let event = minimal().attribute("time", time).build().unwrap();
        assert_eq!(event.attribute("time"), Some(time));
    }
    for time in [
        "",
        "now",
        "2018-04-05",
        "2018-04-05T17:31Z",
        "2018-04-05 17:31:00Z",
        "2018-04-05T17:31:00",
        "2018-04-05T17:31:00.Z",
        "2018-04-05T17:31:00,5Z",
        "2018-04-05T17:31:00+0100",
        "2018-04-05T17:31:00+24:00",
        "2018-04-05T17:31:00+01:60",
        "2018-04-05T24:00:00Z",
        "2018-04-05T17:60:00Z",
        "2018-13-05T17:31:00Z",
        "2023-02-29T00:00:00Z",
        "20180405T173100Z",
        "+12018-04-05T17:31:00Z",
        "2018-04-05T17:31:00Z[UTC]",
        "2018-04-05T17:31:0é",
        " 2018-04-05T17:31:00Z",
    ] {
        assert!(refused(minimal().attribute("time", time)).contains("use RFC 3339"), "{time}");
    }
}

/// CE-02, CE-13, IN-07
#[test]
fn a_data_schema_is_an_absolute_uri_in_version_1_0() {
    let v03 = || minimal().replace("specversion", "0.3");
    for uri in
        ["https://example.com/s", "urn:example:s", "x:y", "http://example.com/%20?q#f", "http://[::1]/"]
    {
        assert!(minimal().attribute("dataschema", uri).build().is_ok(), "{uri}");
        assert!(v03().attribute("schemaurl", uri).build().is_ok(), "{uri}");
    }
    for uri in ["", "schema", "/schema", "//example.com/s", "1x:y", "http:", "http://a b", ":x", "C:\\x"] {
        assert!(refused(minimal().attribute("dataschema", uri)).contains("absolute URI"), "{uri}");
        // Version 0.3 asks for a URI-reference, and under the other's name it is an extension like any other.
        assert!(v03().attribute("schemaurl", uri).attribute("dataschema", uri).build().is_ok(), "{uri}");
        assert!(minimal().attribute("schemaurl", uri).build().is_ok(), "{uri}");
    }
}

/// CE-02, CE-07, IN-07, IN-19
#[test]
fn a_data_content_type_is_a_media_type() {
    for media_type in [
        "application/json",
        "Application/JSON; Charset=UTF-8",
        "application/xml",
        "application/vnd.apache.thrift.binary",
        "application/geo+json",
        "text/plain; charset=\"utf-8\"",
        "multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW",
        "text/xml;charset=UTF-8;",
    ] {
        assert!(minimal().attribute("datacontenttype", media_type).build().is_ok(), "{media_type}");
    }
    for media_type in ["", "json", "/", "text/", "/plain", "text plain", "text/plain; charset", "a/b, c/d"] {
        let message = refused(minimal().attribute("datacontenttype", media_type));
        assert!(message.contains("use a media type"), "{media_type}: {message}");
    }
}

/// CE-02, IN-07
#[test]
fn a_subject_is_not_empty() {
    assert!(minimal().attribute("subject", " ").build().is_ok());
    assert!(refused(minimal().attribute("subject", "")).contains("leave it out or give it a value"));
}

/// CE-06
#[test]
fn no_string_has_characters_that_the_type_system_excludes() {
    for character in
        ['\0', '\t', '\n', '\u{1f}', '\u{7f}', '\u{9f}', '\u{fdd0}', '\u{fdef}', '\u{fffe}', '\u{10ffff}']
    {
        let value = format!("a{character}b");
        let message = refused(minimal().attribute("ext", value));
        assert!(message.contains(&format!("U+{:04X}", u32::from(character))), "{message}");
    }
    for value in ["", " ", "~", "\u{a0}", "€", "\u{1f600}", "\u{fdcf}", "\u{fffd}", "\u{1fffd}"] {
        let event = minimal().attribute("ext", value).build().unwrap();
        assert_eq!(event.attribute("ext"), Some(value));
    }
}

/// CE-05, EXT-11, JSON-02
#[test]
fn booleans_and_integers_have_their_canonical_text() {
    let event =
        minimal().boolean("yes", true).integer("least", i32::MIN).integer("most", i32::MAX).build().unwrap();
    let values = ["yes", "least", "most"].map(|name| event.attribute(name).unwrap());
    assert_eq!(values, ["true", "-2147483648", "2147483647"]);
    for text in ["2147483648", "-2147483649", "1.0", "1e3", "+1", "01", "-01", "-", "", "x"] {
        let message = refused(minimal().typed("n", text, ValueType::Integer));
        assert!(message.contains("32 bits"), "{text}: {message}");
    }
    for text in ["0", "-0", "-7", "10"] {
        assert!(minimal().typed("n", text, ValueType::Integer).build().is_ok(), "{text}");
    }
    assert!(refused(minimal().typed("b", "True", ValueType::Boolean)).contains("true or false"));
    for name in ["id", "time", "datacontenttype", "dataschema", "specversion"] {
        let typed = minimal().remove(name).typed(name, "1", ValueType::Integer);
        assert!(refused(typed).contains("send a JSON string"), "{name}");
    }
}

#[test]
fn an_event_is_taken_apart_and_put_together_unchanged() {
    let event = minimal().attribute("ext", "1").boolean("flag", false).data("x").build().unwrap();
    assert_eq!(event.clone().into_builder().build().unwrap(), event);
    let changed = event.into_builder().replace("ext", "2").remove("flag").build().unwrap();
    assert_eq!((changed.attribute("ext"), changed.attribute("flag")), (Some("2"), None));
}

#[test]
fn a_long_value_is_cut_and_escaped_in_the_message() {
    let message = refused(minimal().attribute("time", "\"é".repeat(10_000)));
    assert!(message.contains("\\\"é") && message.contains('…') && message.len() < 300, "{message}");
}
