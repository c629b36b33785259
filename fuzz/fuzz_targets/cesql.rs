//! A CESQL expression, and an event to evaluate it with: lines `name: value`, an empty line, and the expression.

#![no_main]

use libfuzzer_sys::fuzz_target;
use trigon_core::cesql::{Expression, MAX_LENGTH, Value};
use trigon_core::event::EventBuilder;
use trigon_core::filter::{Filter, FilterIndex};
use trigon_fuzz::Message;

fuzz_target!(|input: &[u8]| {
    let message = Message::of(input);
    let source = String::from_utf8_lossy(message.body.unwrap_or(input));
    let expression = match Expression::parse(&source) {
        Ok(expression) => expression,
        Err(error) => {
            assert!(error.0.offset <= source.len());
            assert!(error.to_string().contains('^'));
            return;
        }
    };
    let printed = expression.to_string();
    if printed.len() <= MAX_LENGTH {
        let again = Expression::parse(&printed).expect("what is printed can be read");
        assert_eq!(again, expression);
        assert_eq!(again.to_string(), printed);
    }

    let mut builder = EventBuilder::default()
        .spec_version("1.0")
        .attribute("id", "1")
        .attribute("source", "/s")
        .attribute("type", "t");
    for (name, value) in message.lines {
        let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
        builder = match value.parse() {
            Ok(number) => builder.integer(&*name, number),
            Err(_) if *value == *"true" || *value == *"false" => builder.boolean(&*name, *value == *"true"),
            Err(_) => builder.replace(&*name, &*value),
        };
    }
    let Ok(event) = builder.build() else { return };

    let evaluation = expression.evaluate(&event);
    let passes = evaluation.value == Value::Boolean(true) && evaluation.errors.is_empty();
    assert_eq!(expression.passes(&event), passes);
    let trace = expression.trace(&event);
    assert_eq!(trace.is_failed, !evaluation.errors.is_empty());
    assert_eq!(trace.value, Some(evaluation.value.into_owned()));

    let mut found = Vec::new();
    FilterIndex::new([&Filter::cesql(expression)]).matches(&event, &mut found);
    assert_eq!(found.is_empty(), !passes);
});
