//! Arbitrary texts and objects: nothing panics, and an object survives YAML.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use trigon_core::name::Installation;
use trigon_crds::api::{
    API_VERSION, AttributesFilter, BROKER, Broker, BrokerSpec, DeliverySpec, Destination, Metadata,
    Reference, SubscriptionsFilter, TRIGGER, Trigger, TriggerSpec,
};
use trigon_crds::{Objects, load, parse, uris_only};

/// A text without control characters, which YAML cannot all hold; those that look like something else included.
///
/// Boxed, as all strategies here are: nested by value they overflow a test's stack.
fn text() -> BoxedStrategy<String> {
    prop_oneof![
        "[a-z]{1,8}",
        "\\PC{0,12}",
        Just("no".to_owned()),
        Just("1".to_owned()),
        Just("null".to_owned()),
        Just("a: b # c".to_owned()),
        Just(" padded ".to_owned()),
        Just("two\nlines\n".to_owned()),
        Just("- x".to_owned()),
    ]
    .boxed()
}

fn texts() -> BoxedStrategy<BTreeMap<String, String>> {
    btree_map(text(), text(), 0..4).boxed()
}

prop_compose! {
    fn reference()(
        api_version in option::of(text()), kind in option::of(text()), namespace in text(), name in option::of(text()),
    ) -> Reference {
        Reference { api_version, kind, namespace: Some(namespace), name }
    }
}

prop_compose! {
    fn destination()(
        reference in option::of(reference().boxed()), uri in option::of(text()), ca_certs in option::of(text()),
        audience in option::of(text()),
    ) -> Destination {
        Destination { reference, uri, ca_certs, audience }
    }
}

prop_compose! {
    fn delivery()(
        dead_letter_sink in option::of(destination().boxed()), retry in option::of(any::<i32>()), timeout in option::of(text()),
        backoff_policy in option::of(text()), backoff_delay in option::of(text()), retry_after_max in option::of(text()),
        format in option::of(text()),
    ) -> DeliverySpec {
        DeliverySpec { dead_letter_sink, retry, timeout, backoff_policy, backoff_delay, retry_after_max, format }
    }
}

fn filter() -> BoxedStrategy<SubscriptionsFilter> {
    let leaf = (option::of(texts()), option::of(texts()), option::of(texts()), option::of(text())).prop_map(
        |(exact, prefix, suffix, cesql)| SubscriptionsFilter {
            exact,
            prefix,
            suffix,
            cesql,
            ..SubscriptionsFilter::default()
        },
    );
    leaf.prop_recursive(3, 12, 3, |inner| {
        (option::of(vec(inner.clone(), 0..3)), option::of(vec(inner.clone(), 0..3)), option::of(inner))
            .prop_map(|(all, any, not)| SubscriptionsFilter {
                all,
                any,
                not: not.map(Box::new),
                ..SubscriptionsFilter::default()
            })
    })
    .boxed()
}

prop_compose! {
    fn metadata()(name in option::of(text()), namespace in text(), labels in texts(), annotations in texts()) -> Metadata {
        Metadata { name, namespace: Some(namespace), labels, annotations }
    }
}

prop_compose! {
    fn broker()(metadata in metadata().boxed(), config in option::of(reference().boxed()), delivery in option::of(delivery().boxed())) -> Broker {
        let (api_version, kind) = (API_VERSION.to_owned(), BROKER.to_owned());
        Broker { api_version, kind, metadata, spec: BrokerSpec { config, delivery } }
    }
}

prop_compose! {
    fn trigger()(
        metadata in metadata().boxed(), broker in option::of(text()), broker_ref in option::of(reference().boxed()),
        attributes in option::of(texts()), filters in option::of(vec(filter(), 0..3)),
        subscriber in option::of(destination().boxed()), delivery in option::of(delivery().boxed()),
    ) -> Trigger {
        let filter = Some(AttributesFilter { attributes });
        let (api_version, kind) = (API_VERSION.to_owned(), TRIGGER.to_owned());
        Trigger {
            api_version,
            kind,
            metadata,
            spec: TriggerSpec { broker, broker_ref, filter, filters, subscriber, delivery },
        }
    }
}

fn parsed(object: &impl serde::Serialize) -> Objects {
    let text = serde_saphyr::to_string(object).expect("an object can be written");
    let files = [("object.yaml".to_owned(), text)];
    parse(&files).unwrap_or_else(|problems| unreachable!("{problems:#?}\n{}", files[0].1))
}

proptest! {
    #[test]
    fn a_broker_survives_yaml(broker in broker().boxed()) {
        let objects = parsed(&broker);
        prop_assert_eq!(objects.brokers().collect::<Vec<_>>(), [&broker]);
    }

    #[test]
    fn a_trigger_survives_yaml(trigger in trigger().boxed()) {
        let objects = parsed(&trigger);
        prop_assert_eq!(objects.triggers().collect::<Vec<_>>(), [&trigger]);
    }

    #[test]
    fn whatever_an_object_says_it_is_accepted_or_refused_with_its_place(broker in broker().boxed(), trigger in trigger().boxed()) {
        let text = |object: Result<String, _>| object.expect("an object can be written");
        let files = [
            ("broker.yaml".to_owned(), text(serde_saphyr::to_string(&broker))),
            ("trigger.yaml".to_owned(), text(serde_saphyr::to_string(&trigger))),
        ];
        for problem in load(&Installation::default(), &files, &uris_only).err().unwrap_or_default() {
            let (_, text) = files.iter().find(|(name, _)| *name == problem.file).expect("a file of ours");
            prop_assert!((1..=text.lines().count()).contains(&problem.line), "{problem}");
            prop_assert!(problem.column >= 1, "{problem}");
            prop_assert!(!problem.message.is_empty() && !problem.message.ends_with('.'), "{problem}");
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}") {
        // Whether it is accepted does not matter here, only that there is an answer.
        let _answer = load(&Installation::default(), &[("any".to_owned(), text)], &uris_only);
    }

    #[test]
    fn arbitrary_text_of_the_characters_of_yaml_never_panics(text in "[-?:,\\[\\]{}#&*!|>'\"%@`~<=a1 \\t\\n\\r]{0,120}") {
        let _answer = load(&Installation::default(), &[("any".to_owned(), text)], &uris_only);
    }

    #[test]
    fn a_damaged_object_never_panics(trigger in trigger().boxed(), at in any::<prop::sample::Index>(), by in "[-?:\\[{}#&*!|>'\"%~ \\n]{0,3}") {
        let mut text = serde_saphyr::to_string(&trigger).expect("an object can be written");
        let mut at = at.index(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        text.insert_str(at, &by);
        let _answer = load(&Installation::default(), &[("any".to_owned(), text)], &uris_only);
    }
}
