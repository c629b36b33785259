//! What the failure tests on Kafka share: three brokers, two ingresses, two dispatchers, senders at full speed to
//! three Triggers, two of which are in order, and the account at the end.

use trigon_test_servers::{Kafka, Options};

use crate::account::{self, Excuse};
use crate::deployment::Deployment;
use crate::flood::{Account, Flood, Load};
use crate::kafka::{self, Split};
use crate::routes::{Object, broker, trigger};
use crate::subscriber::Subscriber;

/// Everything that a failure test breaks.
#[derive(Debug)]
pub struct Storm {
    /// Where events go.
    pub subscriber: Subscriber,
    /// Two ingresses and two dispatchers.
    pub trigon: Split,
    /// Three brokers.
    pub kafka: Kafka,
    /// The name of the installation.
    pub installation: String,
}

/// How many brokers there are. Topics have as many replicas, and an append needs two of them.
pub const BROKERS: usize = 3;

/// How many partitions the topic has: so many that each dispatcher owns some.
pub const PARTITIONS: usize = 6;

/// The Triggers; the path of each at the subscriber is its name.
pub const TRIGGERS: [&str; 3] = ["free", "keyed", "strict"];

const LOAD: Load = Load { connections: 16, bytes: 128, keys: 24 };

impl Storm {
    /// Starts everything.
    ///
    /// # Panics
    /// When something does not start.
    pub async fn start() -> Self {
        Self::on(Kafka::cluster(BROKERS, Options::default()).expect("Kafka starts")).await
    }

    /// The same on a Kafka that is there.
    ///
    /// # Panics
    /// When something does not start.
    pub async fn on(kafka: Kafka) -> Self {
        let subscriber = Subscriber::start().await;
        let installation = kafka::installation();
        let routes = routes(&subscriber);
        let trigon = Split::start_on(&kafka.bootstrap(), &installation, &routes, &[]).await;
        trigon.shared().await;
        Self { subscriber, trigon, kafka, installation }
    }

    /// Starts sending to both ingresses.
    pub fn flood(&self) -> Flood {
        Flood::start_on(&self.trigon.broker_urls("default"), "e", LOAD)
    }

    /// Waits until everything has come to its end, and asserts that all of it arrived at each Trigger, in order
    /// where there is one, with no more duplicates than are excused.
    ///
    /// # Panics
    /// When that is not so.
    pub async fn settle(&self, sent: &Account, excuses: &[Excuse]) {
        self.trigon.settled().await;
        for name in TRIGGERS {
            let taken = self.subscriber.taken(&format!("/{name}"));
            account::settle_with(name, &sent.accepted, &taken, excuses);
            assert!(account::strange("e-", &taken).is_empty(), "{name} took what nobody sent");
            if name != "free" {
                let wrong = account::out_of_order(&sent.accepted, &taken, LOAD.keys);
                let some = wrong.iter().take(5).collect::<Vec<_>>();
                assert!(wrong.is_empty(), "{name}: {} pairs are out of order: {some:?}", wrong.len());
            }
        }
    }
}

fn routes(subscriber: &Subscriber) -> Vec<Object> {
    let object = |name: &str, order: &str| {
        trigger(name, &subscriber.url(&format!("/{name}"))).annotation("trigon.dev/order", order)
    };
    let [free, keyed, strict] = TRIGGERS;
    vec![
        broker("default").annotation("trigon.dev/partitions", &PARTITIONS.to_string()),
        object(free, "unordered"),
        object(keyed, "key"),
        object(strict, "partition"),
    ]
}
