//! The log in Kafka passes the contract that every backend passes, on one broker and on three.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::watch;
use trigon_core::name::Installation;
use trigon_eventlog::contract::Fixture;
use trigon_eventlog::kafka::security::Security;
use trigon_eventlog::kafka::{KafkaConfig, KafkaLog};
use trigon_eventlog::{SharedLog, contract_tests};
use trigon_test_servers::shared;

/// A log in a Kafka that others share: each has a group of dispatchers of its own.
struct InKafka {
    bootstrap: String,
    installation: Installation,
    security: watch::Sender<Arc<Security>>,
    open: Mutex<Option<Arc<KafkaLog>>>,
}

impl InKafka {
    fn new(bootstrap: Result<String, String>) -> Self {
        let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(10).collect();
        Self {
            bootstrap: bootstrap.expect("there is a Kafka"),
            installation: format!("contract-{random}").parse().expect("it is a name"),
            security: watch::Sender::new(Arc::default()),
            open: Mutex::default(),
        }
    }
}

#[async_trait]
impl Fixture for InKafka {
    async fn open(&self) -> SharedLog {
        let bootstrap = self.bootstrap.split(',').map(str::to_owned).collect();
        let config = KafkaConfig {
            installation: self.installation.clone(),
            max_record_bytes: self.max_record_bytes(),
            ..KafkaConfig::new(bootstrap, self.security.subscribe())
        };
        let log = Arc::new(KafkaLog::open(config).expect("the log opens"));
        self.open.lock().expect("no case panicked").replace(log.clone());
        log
    }

    async fn close(&self, log: SharedLog) {
        drop(log);
        let log = self.open.lock().expect("no case panicked").take().expect("it is open");
        log.close().await;
    }

    fn max_record_bytes(&self) -> usize {
        100_000
    }
}

mod one_broker {
    use super::*;
    contract_tests!(InKafka::new(shared::kafka()));
}

mod three_brokers {
    use super::*;
    contract_tests!(InKafka::new(shared::cluster()));
}
