//! What the flags mean together.

use clap::Parser;
use trigon_eventlog::kafka::security::Sasl;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    kafka: KafkaArguments,
}

fn cluster(flags: &[&str]) -> Result<Option<Cluster>, Failure> {
    Line::try_parse_from(["trigon"].iter().chain(flags)).unwrap().kafka.cluster()
}

fn usage(flags: &[&str]) -> String {
    match cluster(flags) {
        Err(Failure::Usage(message)) => message,
        other => panic!("{flags:?}: {other:?}"),
    }
}

#[test]
fn without_flags_there_is_no_cluster_and_with_some_it_must_be_named() {
    assert!(cluster(&[]).unwrap().is_none());
    assert!(usage(&["--kafka-config", "batch.size=1"]).starts_with("--kafka-config says how to reach Kafka"));
    assert!(usage(&["--kafka-secret", "/none"]).contains("add --kafka HOST:PORT"));
}

#[test]
fn brokers_are_separated_by_commas_and_properties_about_security_are_taken_out() {
    let cluster = cluster(&[
        "--kafka",
        "a:9092, b:9093",
        "--kafka-config",
        "batch.size=5",
        "--kafka-config",
        "security.protocol=SASL_PLAINTEXT",
        "--kafka-config",
        "sasl.mechanism=PLAIN",
        "--kafka-config",
        "sasl.username=me",
        "--kafka-config",
        "sasl.password=a=b,c",
    ]);
    let cluster = cluster.unwrap().unwrap();
    assert_eq!(cluster.bootstrap, ["a:9092", "b:9093"]);
    assert_eq!(cluster.properties, BTreeMap::from([("batch.size".to_owned(), "5".to_owned())]));
    let Some(Sasl::Plain(login)) = &cluster.credentials.current().sasl else { panic!("{cluster:?}") };
    assert_eq!((login.user.as_str(), login.password.reveal()), ("me", "a=b,c"));
    assert!(!format!("{cluster:?}").contains("a=b,c"), "{cluster:?}");
    let line = Line::try_parse_from(["trigon", "--kafka-config", "sasl.password=hush"]).unwrap();
    assert!(!format!("{:?}", line.kafka).contains("hush"), "{:?}", line.kafka);
}

#[test]
fn a_flag_wins_over_the_file_and_problems_name_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kafka.properties");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "# ours\nbatch.size=1\ncompression.type=lz4\n").unwrap();
    let both = ["--kafka", "a:1", "--kafka-config-file", path, "--kafka-config", "batch.size=2"];
    let properties = cluster(&both).unwrap().unwrap().properties;
    assert_eq!((properties["batch.size"].as_str(), properties["compression.type"].as_str()), ("2", "lz4"));

    for (text, told) in [
        ("a=b\nhush\n", ":2: write KEY=VALUE"),
        ("\nssl.cipher.suites=hush\n", ":2: ssl.cipher.suites: is not taken"),
        ("bootstrap.servers=x:1\n", ":1: bootstrap.servers: --kafka says where the cluster is"),
        ("batch.size=1\nbatch.sizes=1\n", ":2: librdkafka has no property batch.sizes"),
        ("batch.size=soon\n", ":1: batch.size: "),
        ("\nenable.idempotence=false\n", ":2: enable.idempotence cannot be set: "),
        ("ssl.ca.location=/none/ca\n", ":1: ssl.ca.location: could not read /none/ca: No such file"),
    ] {
        std::fs::write(&file, text).unwrap();
        let message = usage(&["--kafka", "a:1", "--kafka-config-file", path]);
        assert!(message.starts_with(&format!("{path}{told}")), "{text:?}: {message}");
    }
    let message = usage(&["--kafka", "a:1", "--kafka-config", "acks=1"]);
    assert!(message.starts_with("--kafka-config: acks cannot be set: "), "{message}");
    let missing = usage(&["--kafka", "a:1", "--kafka-config-file", "/none"]);
    assert!(missing.starts_with("--kafka-config-file: could not read /none: "), "{missing}");
}

/// `TRIGON_KAFKA_CONFIG` as a block of YAML gives it.
#[test]
fn blank_lines_between_properties_are_none() {
    let given = "batch.size=5\n\n  \ncompression.type=lz4\n";
    let properties = cluster(&["--kafka", "a:1", "--kafka-config", given]).unwrap().unwrap().properties;
    assert_eq!(properties.keys().collect::<Vec<_>>(), ["batch.size", "compression.type"]);
    assert!(cluster(&["--kafka-config", "\n"]).unwrap().is_none());
}

#[test]
fn what_is_no_address_and_no_property_is_wrong_usage() {
    assert_eq!(usage(&["--kafka", "a:1", "--kafka-config", "=hush"]), "--kafka-config: write KEY=VALUE");
    for flags in [["--kafka", "a"], ["--kafka", "a:0"], ["--kafka", "kafka://a:1"]] {
        let parsed = Line::try_parse_from(["trigon"].iter().chain(&flags));
        assert_eq!(parsed.err().map(|error| error.exit_code()), Some(2), "{flags:?}");
    }
}
