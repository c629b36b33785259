//! Passwords and certificates that change on disk and on the brokers while events flow.

use std::time::Instant;

use trigon_test_servers::certificate::Authority;
use trigon_test_servers::{Kafka, Mechanism, Options};
use trigon_tests::account::{self, Excuse, UNCOMMITTED};
use trigon_tests::flood::{Flood, Load};
use trigon_tests::secret::Secret;
use trigon_tests::{Deployment, Standalone, Subscriber, broker, trigger};

struct World {
    kafka: Kafka,
    subscriber: Subscriber,
    trigon: Standalone,
    flood: Flood,
    start: Instant,
}

impl World {
    async fn start(options: Options, secret: &Secret) -> Self {
        let kafka = Kafka::single(options).expect("Kafka starts");
        let subscriber = Subscriber::start().await;
        let routes = [broker("default"), trigger("t", &subscriber.url("/t"))];
        let (bootstrap, folder) = (kafka.bootstrap(), secret.path());
        let arguments = ["--kafka", &bootstrap, "--kafka-secret", &folder];
        let trigon = Standalone::start_without_data(&routes, &arguments).await;
        let flood = Flood::start(&trigon.broker_url("default"), "e", Load::default());
        flood.more(200).await;
        Self { kafka, subscriber, trigon, flood, start: Instant::now() }
    }

    /// All connections end, and new ones need what is valid now.
    async fn restart_kafka(&mut self) {
        self.kafka.stop(0);
        self.kafka.start(0);
        self.flood.more(200).await;
    }

    async fn settle(self) {
        let sent = self.flood.stop().await;
        self.trigon.settled().await;
        // The only broker was away: what was delivered meanwhile could not be committed.
        let excuse = Excuse::between(self.start, Instant::now() + UNCOMMITTED);
        account::settle_with("t", &sent.accepted, &self.subscriber.taken("/t"), &[excuse]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_is_lost_while_the_password_changes() {
    let mechanism = Mechanism::ScramSha512;
    let secret = Secret::new(&[
        ("protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", &mechanism.to_string()),
        ("user", "trigon"),
        ("password", "the-first"),
    ]);
    let options = Options::default().sasl(mechanism).user("trigon", "the-first");
    let mut world = World::start(options, &secret).await;
    for password in ["the-second", "the-third"] {
        let tools = world.kafka.tools();
        tools.set_password(mechanism, "trigon", password).expect("Kafka's tool sets a password");
        secret.set("password", password);
        world.restart_kafka().await;
    }
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_is_lost_while_the_certificate_and_its_authority_change() {
    let (brokers, old, new) = (Authority::new("brokers"), Authority::new("old"), Authority::new("new"));
    let identity = old.client("trigon");
    let secret = Secret::new(&[
        ("ca.crt", brokers.pem()),
        ("user.crt", &identity.certificate),
        ("user.key", &identity.key),
    ]);
    let options = Options::default().mutual_tls(&brokers.server(), old.pem());
    let mut world = World::start(options, &secret).await;
    world.kafka.trust(&format!("{}{}", old.pem(), new.pem()));
    world.restart_kafka().await;
    let identity = new.client("trigon");
    secret.set("user.crt", &identity.certificate);
    secret.set("user.key", &identity.key);
    world.kafka.trust(new.pem());
    world.restart_kafka().await;
    world.settle().await;
}
