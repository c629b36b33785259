//! The harness does what the tests rely on, checked with Kafka's own tools.

use std::fs;

use trigon_test_servers::certificate::Authority;
use trigon_test_servers::kafka::options::unsecured_token;
use trigon_test_servers::{Kafka, Mechanism, Options};

const TOPIC: &str = "harness";

fn create_topic(kafka: &Kafka) {
    kafka.tools().topics(&["--create", "--topic", TOPIC, "--partitions", "2"]).expect("the topic is created");
}

/// Asks for the topics over the listener for clients, with a client's properties.
fn list(kafka: &Kafka, properties: &str) -> Result<Vec<String>, String> {
    let folder = tempfile::tempdir().expect("the machine has a folder for temporary files");
    let file = folder.path().join("client.properties");
    fs::write(&file, format!("{properties}\ndefault.api.timeout.ms=10000\nrequest.timeout.ms=5000\n"))
        .expect("a temporary folder is writable");
    let tools = trigon_test_servers::kafka::Tools::new(kafka.bootstrap());
    let listed = tools.topics(&["--list", "--command-config", &file.display().to_string()])?;
    Ok(listed.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

#[test]
fn a_broker_is_there_again_after_a_stop_and_after_a_kill() {
    let mut kafka = Kafka::single(Options::default()).unwrap();
    let bootstrap = kafka.bootstrap();
    create_topic(&kafka);
    kafka.stop(0);
    kafka.start(0);
    kafka.kill(0);
    kafka.start(0);
    assert_eq!(kafka.bootstrap(), bootstrap);
    assert_eq!(kafka.tools().topic_names(), Ok(vec![TOPIC.to_owned()]));
}

#[test]
fn a_cluster_goes_on_without_one_of_its_brokers_and_takes_it_back() {
    let mut kafka = Kafka::cluster(3, Options::default()).unwrap();
    create_topic(&kafka);
    kafka.wait_in_sync();
    kafka.kill(0);
    assert_eq!(kafka.tools().topic_names(), Ok(vec![TOPIC.to_owned()]));
    kafka.start(0);
    kafka.pause(1);
    kafka.resume(1);
    kafka.wait_in_sync();
    let described = kafka.tools().topics(&["--describe", "--topic", TOPIC]).unwrap();
    assert!(described.contains("ReplicationFactor: 3"), "{described}");
    assert!(described.contains("min.insync.replicas=2"), "{described}");
}

#[test]
fn a_broker_is_gone_when_it_is_dropped() {
    let kafka = Kafka::single(Options::default()).unwrap();
    let id = kafka.process_id(0).unwrap();
    let is_running =
        || fs::read_to_string(format!("/proc/{id}/cmdline")).is_ok_and(|line| line.contains("kafka.Kafka"));
    assert!(is_running());
    drop(kafka);
    assert!(!is_running());
}

#[test]
fn clients_are_let_in_by_each_mechanism_and_not_with_a_wrong_password() {
    for mechanism in [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512] {
        let kafka = Kafka::single(Options::default().sasl(mechanism).user("alice", "right")).unwrap();
        create_topic(&kafka);
        let module = match mechanism {
            Mechanism::Plain => "plain.PlainLoginModule",
            _ => "scram.ScramLoginModule",
        };
        let client = |password: &str| {
            format!(
                "security.protocol=SASL_PLAINTEXT\nsasl.mechanism={mechanism}\n\
                 sasl.jaas.config=org.apache.kafka.common.security.{module} required username=alice password={password};"
            )
        };
        assert_eq!(list(&kafka, &client("right")), Ok(vec![TOPIC.to_owned()]), "{mechanism}");
        assert!(list(&kafka, &client("wrong")).is_err(), "{mechanism}");
    }
}

#[test]
fn clients_are_let_in_with_a_certificate_of_a_trusted_authority_only() {
    let (authority, other) = (Authority::new("ours"), Authority::new("theirs"));
    let mut kafka =
        Kafka::single(Options::default().mutual_tls(&authority.server(), authority.pem())).unwrap();
    create_topic(&kafka);
    let folder = tempfile::tempdir().unwrap();
    let client = |signer: &Authority| {
        let identity = signer.client("alice");
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::write(path("key.pem"), format!("{}{}", identity.key, identity.certificate)).unwrap();
        fs::write(path("ca.pem"), authority.pem()).unwrap();
        format!(
            "security.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.location={}\nssl.truststore.type=PEM\n\
             ssl.truststore.location={}",
            path("key.pem"),
            path("ca.pem")
        )
    };
    assert_eq!(list(&kafka, &client(&authority)), Ok(vec![TOPIC.to_owned()]));
    assert!(list(&kafka, &client(&other)).is_err());
    kafka.stop(0);
    kafka.trust(other.pem());
    kafka.start(0);
    assert_eq!(list(&kafka, &client(&other)), Ok(vec![TOPIC.to_owned()]));
    assert!(list(&kafka, &client(&authority)).is_err());
}

#[test]
fn without_an_acl_a_user_sees_nothing() {
    let options = Options::default().sasl(Mechanism::Plain).user("alice", "right").authorized();
    let kafka = Kafka::single(options).unwrap();
    create_topic(&kafka);
    let client = "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config=\
                  org.apache.kafka.common.security.plain.PlainLoginModule required username=alice password=right;";
    assert_eq!(list(&kafka, client), Ok(vec![]));
    kafka
        .tools()
        .acls(&["--add", "--allow-principal", "User:alice", "--operation", "Describe", "--topic", TOPIC])
        .unwrap();
    assert_eq!(list(&kafka, client), Ok(vec![TOPIC.to_owned()]));
}

#[test]
fn a_token_that_nobody_signed_is_believed() {
    let kafka = Kafka::single(Options::default().sasl(Mechanism::OauthBearer)).unwrap();
    create_topic(&kafka);
    // Kafka's own client makes the same tokens by itself.
    let client = "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\nsasl.jaas.config=\
                  org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
                  unsecuredLoginStringClaim_sub=\"alice\";";
    assert_eq!(list(&kafka, client), Ok(vec![TOPIC.to_owned()]));
    assert_eq!(unsecured_token("alice", 1, 2).split('.').count(), 3);
}
