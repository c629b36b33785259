//! Each protocol and mechanism, from the keys of a Secret; and what is said when they are wrong.

use std::time::{SystemTime, UNIX_EPOCH};

use trigon_test_servers::certificate::Authority;
use trigon_test_servers::kafka::options::unsecured_token;
use trigon_test_servers::{Kafka, Mechanism, Options};
use trigon_tests::secret::Secret;
use trigon_tests::service::{Command, Service};
use trigon_tests::{Deployment, Event, Standalone, Subscriber, broker, routes, trigger, wait};

const USER: &str = "trigon-user";

/// Looked for in everything that is said.
const PASSWORD: &str = "correct-horse-battery";

const WRONG: &str = "staple-of-somebody-else";

/// The protocol, as the Secret names it.
#[derive(Clone, Copy)]
enum Encryption {
    Plain,
    Tls,
}

/// Takes an event in and delivers it, by that Kafka and with that Secret.
async fn delivers(kafka: &Kafka, secret: &Secret) {
    let subscriber = Subscriber::start().await;
    let routes = [broker("default"), trigger("t", &subscriber.url("/t"))];
    let (bootstrap, folder) = (kafka.bootstrap(), secret.path());
    let arguments = ["--kafka", &bootstrap, "--kafka-secret", &folder];
    let trigon = Standalone::start_without_data(&routes, &arguments).await;
    trigon.producer().accept(&Event::new("1")).await;
    subscriber.takes("/t", 1).await;
    trigon.settled().await;
    let stderr = trigon.process().output().stderr().join("\n");
    for hidden in [PASSWORD, "PRIVATE KEY"] {
        assert!(!stderr.contains(hidden), "the log shows a secret");
    }
}

fn token() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs();
    unsecured_token(USER, now, now + 3_600)
}

async fn sasl(mechanism: Mechanism, encryption: Encryption) {
    let authority = Authority::new("brokers");
    let options = Options::default().sasl(mechanism).user(USER, PASSWORD);
    let secret = Secret::new(&[("sasl.mechanism", &mechanism.to_string())]);
    let options = match encryption {
        Encryption::Plain => {
            secret.set("protocol", "SASL_PLAINTEXT");
            options
        }
        Encryption::Tls => {
            secret.set("protocol", "SASL_SSL");
            secret.set("ca.crt", authority.pem());
            options.tls(&authority.server())
        }
    };
    match mechanism {
        Mechanism::OauthBearer => secret.set("token", &token()),
        Mechanism::Plain | Mechanism::ScramSha256 | Mechanism::ScramSha512 => {
            secret.set("user", USER);
            secret.set("password", PASSWORD);
        }
    }
    delivers(&Kafka::single(options).expect("Kafka starts"), &secret).await;
}

macro_rules! mechanisms {
    ($($name:ident: $mechanism:ident, $encryption:ident;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                sasl(Mechanism::$mechanism, Encryption::$encryption).await;
            }
        )*
    };
}

mechanisms! {
    events_flow_by_sasl_plaintext_with_plain: Plain, Plain;
    events_flow_by_sasl_plaintext_with_scram_sha_256: ScramSha256, Plain;
    events_flow_by_sasl_plaintext_with_scram_sha_512: ScramSha512, Plain;
    events_flow_by_sasl_plaintext_with_oauthbearer: OauthBearer, Plain;
    events_flow_by_sasl_ssl_with_plain: Plain, Tls;
    events_flow_by_sasl_ssl_with_scram_sha_256: ScramSha256, Tls;
    events_flow_by_sasl_ssl_with_scram_sha_512: ScramSha512, Tls;
    events_flow_by_sasl_ssl_with_oauthbearer: OauthBearer, Tls;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_flow_by_ssl_with_a_private_authority() {
    let authority = Authority::new("brokers");
    let kafka = Kafka::single(Options::default().tls(&authority.server())).expect("Kafka starts");
    delivers(
        &kafka,
        &Secret::new(&[("protocol", "SSL"), ("ca.crt", authority.pem()), ("user.skip", "true")]),
    )
    .await;
}

/// The keys are those that Strimzi writes for a user: no protocol among them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_flow_by_mutual_tls() {
    let (brokers, clients) = (Authority::new("brokers"), Authority::new("clients"));
    let options = Options::default().mutual_tls(&brokers.server(), clients.pem());
    let identity = clients.client(USER);
    let keys = [("ca.crt", brokers.pem()), ("user.crt", &identity.certificate), ("user.key", &identity.key)];
    delivers(&Kafka::single(options).expect("Kafka starts"), &Secret::new(&keys)).await;
}

/// Waits until the process says all of this, in its log or as the reason for which it is not ready.
async fn says(kafka: &Kafka, secret: &Secret, wanted: &[&[&str]]) {
    let routes = routes::Folder::new(&[broker("default")]);
    let folder = routes.path().display().to_string();
    let (bootstrap, secrets) = (kafka.bootstrap(), secret.path());
    let arguments = ["--kafka", &bootstrap, "--kafka-secret", &secrets, "--routes", &folder];
    let mut service = Service::new(Command::Standalone, arguments.map(str::to_owned).into());
    service.launch();
    let said = wait::until("the reason", async || {
        let said = service.process().output().stderr().join("\n").to_lowercase();
        let has = |words: &&[&str]| words.iter().any(|word| said.contains(&word.to_lowercase()));
        if said.contains(&bootstrap) && wanted.iter().all(has) { Ok(said) } else { Err(said) }
    })
    .await;
    for hidden in [PASSWORD, WRONG, "private key"] {
        assert!(!said.contains(hidden), "the log shows a secret");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_named_with_the_broker_and_never_shown() {
    for mechanism in [Mechanism::Plain, Mechanism::ScramSha512] {
        let options = Options::default().sasl(mechanism).user(USER, PASSWORD);
        let kafka = Kafka::single(options).expect("Kafka starts");
        let name = mechanism.to_string();
        let keys =
            [("protocol", "SASL_PLAINTEXT"), ("sasl.mechanism", &name), ("user", USER), ("password", WRONG)];
        says(&kafka, &Secret::new(&keys), &[&["authentication", "sasl"]]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_of_an_unknown_authority_is_named() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let kafka = Kafka::single(Options::default().tls(&theirs.server())).expect("Kafka starts");
    let keys = [("protocol", "SSL"), ("ca.crt", ours.pem()), ("user.skip", "true")];
    says(&kafka, &Secret::new(&keys), &[&["certificate"], &["issuer", "authority", "unknown", "verify"]])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_whose_certificate_is_for_another_host_is_named() {
    let authority = Authority::new("brokers");
    let kafka = Kafka::single(Options::default().tls(&authority.server_elsewhere())).expect("Kafka starts");
    let keys = [("protocol", "SSL"), ("ca.crt", authority.pem()), ("user.skip", "true")];
    says(&kafka, &Secret::new(&keys), &[&["certificate"], &["name", "host", "valid for"]]).await;
}
