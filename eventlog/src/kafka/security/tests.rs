//! Tables of secrets and properties, and what becomes of them.

use super::*;

const CA: &str = "-----BEGIN CERTIFICATE-----\nca\n-----END CERTIFICATE-----\n";
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nours\n-----END CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----\n";
const ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nhush\n-----END ENCRYPTED PRIVATE KEY-----\n";

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn map(pairs: Pairs<'_>) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn login() -> Login {
    Login { user: "me".to_owned(), password: Secret::new("hush") }
}

fn tls(ca: Option<&str>, identity: bool) -> Option<Tls> {
    let one_line = |text: &str| text.trim_end().to_owned();
    let identity =
        identity.then(|| Identity { certificate: one_line(CERTIFICATE), key: Secret::new(one_line(KEY)) });
    Some(Tls { ca: ca.map(one_line), identity, host_names: HostNames::Checked })
}

fn of_secret(pairs: Pairs<'_>) -> Result<Security, SecurityError> {
    parse(Some(&map(pairs)), &BTreeMap::new(), &BTreeMap::new())
}

fn of_properties(pairs: Pairs<'_>, files: Pairs<'_>) -> Result<Security, SecurityError> {
    let (properties, files) = (map(pairs), map(files));
    let texts = properties::files(&properties).into_iter();
    let texts = texts.filter_map(|(name, path)| Some((name, files.get(&path)?.clone()))).collect();
    parse(None, &properties, &texts)
}

#[test]
fn secrets_in_the_layouts_of_knative_and_strimzi_are_read() {
    let jaas =
        "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"me\" password=\"hush\";";
    let scram = Some(Sasl::ScramSha512(login()));
    let cases: [(&str, Pairs<'_>, Security); 10] = [
        ("plain text", &[("protocol", "PLAINTEXT")], Security::default()),
        (
            "mutual TLS",
            &[("protocol", "SSL\n"), ("ca.crt", CA), ("user.crt", CERTIFICATE), ("user.key", KEY)],
            Security { tls: tls(Some(CA), true), sasl: None },
        ),
        (
            "TLS without a certificate of ours",
            &[("protocol", "SSL"), ("ca.crt", CA), ("user.skip", "true")],
            Security { tls: tls(Some(CA), false), sasl: None },
        ),
        (
            "TLS with the authorities of the system",
            &[("protocol", "SSL"), ("user.skip", "True")],
            Security { tls: tls(None, false), sasl: None },
        ),
        (
            "PLAIN is what is meant where no mechanism is named",
            &[("protocol", "SASL_PLAINTEXT"), ("user", "me\n"), ("password", "hush\r\n")],
            Security { tls: None, sasl: Some(Sasl::Plain(login())) },
        ),
        (
            "SCRAM over TLS",
            &[
                ("protocol", "SASL_SSL"),
                ("sasl.mechanism", "SCRAM-SHA-256"),
                ("ca.crt", CA),
                ("user", "me"),
                ("password", "hush"),
            ],
            Security { tls: tls(Some(CA), false), sasl: Some(Sasl::ScramSha256(login())) },
        ),
        (
            "a token",
            &[("protocol", "SASL_SSL"), ("sasl.mechanism", "OAUTHBEARER"), ("token", "hush\n")],
            Security {
                tls: tls(None, false),
                sasl: Some(Sasl::OauthBearer(Token { token: Secret::new("hush") })),
            },
        ),
        (
            "Strimzi's user with TLS",
            &[
                ("ca.crt", CA),
                ("user.crt", CERTIFICATE),
                ("user.key", KEY),
                ("user.p12", "\u{1}"),
                ("user.password", "of the store"),
            ],
            Security { tls: tls(Some(CA), true), sasl: None },
        ),
        (
            "Strimzi's user with SCRAM",
            &[("password", "hush"), ("sasl.jaas.config", jaas)],
            Security { tls: None, sasl: scram.clone() },
        ),
        (
            "the same beside the authorities of the cluster",
            &[("password", "hush"), ("sasl.jaas.config", jaas), ("ca.crt", CA), ("ca.p12", "\u{1}")],
            Security { tls: tls(Some(CA), false), sasl: scram },
        ),
    ];
    for (case, keys, wanted) in cases {
        assert_eq!(of_secret(keys), Ok(wanted), "{case}");
    }
}

#[test]
fn what_is_wrong_with_a_secret_is_said_all_at_once_and_without_its_secrets() {
    let cases: [(Pairs<'_>, &[&str]); 13] = [
        (&[("something", "hush")], &["the secret has none of the keys that are read: protocol, ca.crt"]),
        (
            &[("protocol", "hush-hush-hush-hush")],
            &["protocol: \"hush-hush-hush\" is not a protocol; write one of PLAIN"],
        ),
        (
            &[("sasl.mechanism", "SCRAM-SHA-512")],
            &[
                "user: sasl.mechanism is SCRAM-SHA-512 but there is no user",
                "password: sasl.mechanism is SCRAM-SHA-512 but there is no password",
            ],
        ),
        (
            &[("sasl.mechanism", "GSSAPI")],
            &["sasl.mechanism: \"GSSAPI\" is not a mechanism of Trigon; write one of"],
        ),
        (
            &[("protocol", "PLAINTEXT"), ("sasl.mechanism", "PLAIN"), ("password", "hush")],
            &["sasl.mechanism: is not used: the protocol is PLAINTEXT", "password: is not used"],
        ),
        (
            &[("protocol", "SASL_PLAINTEXT"), ("ca.crt", CA), ("user", "u"), ("password", "hush")],
            &["ca.crt: is not used"],
        ),
        (
            &[("protocol", "SSL"), ("ca.crt", CA)],
            &["user.crt: is missing; the protocol is SSL, and without user.skip"],
        ),
        (&[("user.crt", CERTIFICATE)], &["user.key: is missing; user.crt needs it"]),
        (&[("user.key", KEY)], &["user.crt: is missing; user.key needs it"]),
        (
            &[("ca.crt", "hush"), ("user.crt", CERTIFICATE), ("user.key", ENCRYPTED)],
            &[
                "ca.crt: holds no certificate in PEM",
                "user.key: is encrypted; give a key without a passphrase",
            ],
        ),
        (&[("user.skip", "hush"), ("ca.crt", CA)], &["user.skip: is neither \"true\" nor \"false\""]),
        (&[("sasl.jaas.config", "hush")], &["sasl.jaas.config: cannot be read"]),
        (
            &[("sasl.mechanism", "OAUTHBEARER"), ("user", "me")],
            &[
                "user: is not used: OAUTHBEARER has a token",
                "token: sasl.mechanism is OAUTHBEARER but there is no token",
            ],
        ),
    ];
    for (keys, parts) in cases {
        let error = of_secret(keys).unwrap_err();
        let text = error.to_string();
        for part in parts {
            assert!(text.contains(part), "{keys:?}: {part:?} in {text:?}");
        }
        let is_name = text.contains("\"hush-hush-hush\"");
        assert!(is_name || !text.contains("hush"), "{keys:?}: {text}");
        assert!(!format!("{error:?}").contains("hush") || is_name, "{keys:?}: {error:?}");
    }
}

#[test]
fn properties_are_read_with_the_files_that_they_name() {
    let files = [("/ca", CA), ("/ours", CERTIFICATE), ("/key", KEY), ("/token", "hush\n")];
    let whole = |ca: Option<&str>, identity: bool| {
        let identity =
            identity.then(|| Identity { certificate: CERTIFICATE.to_owned(), key: Secret::new(KEY) });
        Some(Tls { ca: ca.map(str::to_owned), identity, host_names: HostNames::Checked })
    };
    let cases: [(Pairs<'_>, Security); 6] = [
        (&[("linger.ms", "5")], Security::default()),
        (&[("security.protocol", "ssl")], Security { tls: whole(None, false), sasl: None }),
        (
            &[
                ("security.protocol", "SSL"),
                ("ssl.ca.location", "/ca"),
                ("ssl.certificate.location", "/ours"),
                ("ssl.key.location", "/key"),
            ],
            Security { tls: whole(Some(CA), true), sasl: None },
        ),
        (&[("ssl.ca.pem", CA)], Security { tls: whole(Some(CA), false), sasl: None }),
        (
            &[
                ("security.protocol", "SASL_PLAINTEXT"),
                ("sasl.mechanisms", "SCRAM-SHA-512"),
                ("sasl.username", "me"),
                ("sasl.password", "hush"),
            ],
            Security { tls: None, sasl: Some(Sasl::ScramSha512(login())) },
        ),
        (
            &[
                ("security.protocol", "SASL_PLAINTEXT"),
                ("sasl.mechanism", "OAUTHBEARER"),
                ("sasl.oauthbearer.token.endpoint.url", "file:///token"),
            ],
            Security { tls: None, sasl: Some(Sasl::OauthBearer(Token { token: Secret::new("hush") })) },
        ),
    ];
    for (properties, wanted) in cases {
        assert_eq!(of_properties(properties, &files), Ok(wanted), "{properties:?}");
    }
    let unchecked = of_properties(
        &[("security.protocol", "ssl"), ("ssl.endpoint.identification.algorithm", "none")],
        &[],
    );
    assert_eq!(unchecked.unwrap().tls.unwrap().host_names, HostNames::Unchecked);
}

#[test]
fn properties_that_only_one_client_could_follow_are_refused() {
    let cases: [(Pairs<'_>, &str); 8] = [
        (&[("security.protocol", "SASL_PLAINTEXT")], "sasl.mechanism: is missing; write one of PLAIN, SCRAM"),
        (
            &[("sasl.mechanism", "PLAIN"), ("sasl.password", "hush")],
            "sasl.username: sasl.mechanism is PLAIN but there is no sasl.username",
        ),
        (
            &[("sasl.mechanism", "PLAIN"), ("sasl.mechanisms", "SCRAM-SHA-256")],
            "sasl.mechanisms: contradicts",
        ),
        (&[("ssl.cipher.suites", "hush")], "ssl.cipher.suites: is not taken: it would hold for librdkafka's"),
        (&[("ssl.key.password", "hush")], "ssl.key.password: is not taken"),
        (&[("enable.ssl.certificate.verification", "false")], "certificates are always verified"),
        (&[("sasl.oauthbearer.token.endpoint.url", "https://issuer")], "a token is read from a file"),
        (&[("ssl.ca.pem", CA), ("ssl.ca.location", "/ca")], "ssl.ca.location: contradicts ssl.ca.pem"),
    ];
    for (properties, part) in cases {
        let text = of_properties(properties, &[("/ca", CA)]).unwrap_err().to_string();
        assert!(text.contains(part) && !text.contains("hush"), "{properties:?}: {text}");
    }
}

#[test]
fn properties_add_to_a_secret_and_contradict_it_in_nothing() {
    let keys = map(&[("user", "me"), ("password", "hush")]);
    let add = |pairs: Pairs<'_>| parse(Some(&keys), &map(pairs), &BTreeMap::new());
    let security = add(&[("security.protocol", "SASL_SSL"), ("sasl.mechanism", "SCRAM-SHA-512")]).unwrap();
    assert_eq!(security.sasl, Some(Sasl::ScramSha512(login())));
    assert!(security.tls.is_some());
    let text = add(&[("sasl.username", "you")]).unwrap_err().to_string();
    assert_eq!(text, "sasl.username: is given by the secret's user too; remove one of them");
}
