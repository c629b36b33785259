//! Trigon on Kafka: all in one process, or split into two ingresses and two dispatchers.

use std::sync::atomic::{AtomicUsize, Ordering};

use trigon_test_servers::shared;

use crate::admin::{TriggerStatus, mark_partial};
use crate::deployment::Deployment;
use crate::routes::{Folder, Object};
use crate::service::{Command, Service};
use crate::standalone::Standalone;
use crate::wait;

/// A name that no other test gives its topics and groups, so that tests share a Kafka.
pub fn installation() -> String {
    let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(10).collect();
    format!("test-{random}")
}

/// The topic of a Broker of the namespace `default`.
pub fn topic(installation: &str, broker: &str) -> String {
    format!("{installation}.default.{broker}")
}

/// The group of a Trigger of the Broker `default`.
pub fn group(installation: &str, trigger: &str) -> String {
    format!("{installation}.default.default.{trigger}")
}

/// `trigon standalone --kafka`, on the Kafka that all tests share.
#[derive(Debug)]
pub struct StandaloneOnKafka(Standalone);

/// Two ingresses and two dispatchers over one folder of routes.
#[derive(Debug)]
pub struct Split {
    // Before the folder: they must be gone when that is removed.
    ingresses: Vec<Service>,
    dispatchers: Vec<Service>,
    routes: Folder,
    arguments: Vec<String>,
    next: AtomicUsize,
}

/// How many there are of each.
const REPLICAS: usize = 2;

impl Deployment for StandaloneOnKafka {
    async fn start(routes: &[Object]) -> Self {
        let kafka = shared::kafka().expect("there is a Kafka");
        let arguments = ["--kafka", &kafka, "--installation", &installation()];
        Self(Standalone::start_without_data(routes, &arguments).await)
    }

    async fn apply(&mut self, routes: &[Object]) {
        self.0.apply(routes).await;
    }

    async fn stop(&mut self) {
        self.0.stop().await;
    }

    async fn kill(&mut self) {
        self.0.kill().await;
    }

    async fn restart(&mut self) {
        self.0.restart().await;
    }

    fn broker_url(&self, broker: &str) -> String {
        self.0.broker_url(broker)
    }

    fn admin_addresses(&self) -> Vec<String> {
        self.0.admin_addresses()
    }

    async fn triggers(&self) -> Result<Vec<(String, TriggerStatus)>, String> {
        self.0.triggers().await
    }
}

impl Split {
    /// Starts on a Kafka with these routes and further arguments for all four.
    ///
    /// # Panics
    /// When they do not get ready.
    pub async fn start_on(kafka: &str, installation: &str, routes: &[Object], arguments: &[&str]) -> Self {
        let routes = Folder::new(routes);
        let folder = routes.path().display().to_string();
        let mut all = vec!["--kafka", kafka, "--installation", installation, "--routes", &folder];
        all.extend(arguments);
        let all: Vec<String> = all.into_iter().map(str::to_owned).collect();
        let services =
            |command| (0..REPLICAS).map(|_| Service::new(command, all.clone())).collect::<Vec<_>>();
        let mut split = Self {
            ingresses: services(Command::Ingress),
            dispatchers: services(Command::Dispatcher),
            routes,
            arguments: all,
            next: AtomicUsize::new(0),
        };
        split.run().await;
        split
    }

    /// The ingresses.
    pub fn ingresses(&mut self) -> &mut [Service] {
        &mut self.ingresses
    }

    /// The dispatchers.
    pub fn dispatchers(&mut self) -> &mut [Service] {
        &mut self.dispatchers
    }

    /// Starts one more dispatcher, and waits until it is ready.
    ///
    /// # Panics
    /// When it does not get ready.
    pub async fn add_dispatcher(&mut self) {
        let mut dispatcher = Service::new(Command::Dispatcher, self.arguments.clone());
        dispatcher.start().await;
        self.dispatchers.push(dispatcher);
    }

    /// Where each ingress takes events for a Broker of the namespace `default`.
    pub fn broker_urls(&self, broker: &str) -> Vec<String> {
        let url = |ingress: &Service| format!("http://{}/default/{broker}", ingress.address());
        self.ingresses.iter().map(url).collect()
    }

    /// All four.
    pub fn services(&mut self) -> Vec<&mut Service> {
        self.ingresses.iter_mut().chain(&mut self.dispatchers).collect()
    }

    /// Waits until the dispatchers that run own all partitions among them.
    ///
    /// # Panics
    /// When that takes longer than the deadline.
    pub async fn owned(&self) {
        self.triggers_ready().await;
    }

    /// Waits until each dispatcher that runs owns its share of the partitions, and together they own all: none moves
    /// any more, and takes what was counted there with it.
    ///
    /// # Panics
    /// When that takes longer than the deadline.
    pub async fn shared(&self) {
        wait::until("each dispatcher to own its share", async || {
            let running = || self.dispatchers.iter().filter(|dispatcher| dispatcher.is_running());
            let count = running().count();
            for dispatcher in running() {
                let partitions = dispatcher.admin().partitions().await?;
                let triggers = dispatcher.admin().triggers().await?;
                // Of several Brokers one dispatcher may have all partitions of the one, and another of the other.
                let share = |all: &usize| if partitions.len() == 1 { all / count } else { 0 };
                let has_share = |status: &TriggerStatus| {
                    partitions.get(&status.broker).is_some_and(|all| status.partitions.len() >= share(all))
                };
                if !triggers.iter().all(|(_, status)| has_share(status)) {
                    return Err(format!("{triggers:?}"));
                }
            }
            Ok(())
        })
        .await;
        self.owned().await;
    }

    /// Waits until one dispatcher owns all partitions.
    ///
    /// # Panics
    /// When that takes longer than the deadline.
    pub async fn owned_by(&self, dispatcher: usize) {
        let only = &self.dispatchers[dispatcher..=dispatcher];
        wait::until("one dispatcher to own everything", async || {
            let triggers = sum(only).await?;
            if triggers.iter().all(|(_, status)| status.is_ready()) {
                Ok(())
            } else {
                Err(format!("{triggers:?}"))
            }
        })
        .await;
    }

    /// Starts those that do not run. All at once: they wait for one another.
    async fn run(&mut self) {
        let mut started: Vec<_> =
            self.services().into_iter().filter(|service| !service.is_running()).collect();
        for service in &mut started {
            service.launch();
        }
        for service in &mut started {
            service.ready().await;
        }
        self.shared().await;
    }
}

impl Deployment for Split {
    async fn start(routes: &[Object]) -> Self {
        let kafka = shared::kafka().expect("there is a Kafka");
        Self::start_on(&kafka, &installation(), routes, &[]).await
    }

    async fn apply(&mut self, routes: &[Object]) {
        let mut before = Vec::new();
        for service in self.services() {
            before.push(service.generation().await.expect("it is running"));
        }
        self.routes.replace(routes);
        for (service, generation) in self.services().into_iter().zip(before) {
            service.passes(generation).await;
        }
        self.owned().await;
    }

    async fn stop(&mut self) {
        for service in self.services() {
            service.process().terminate();
        }
        for service in self.services() {
            let (status, process) = service.ended().await;
            assert!(status.success(), "it stopped with {status}: {:#?}", process.output().stderr());
        }
    }

    async fn kill(&mut self) {
        for service in self.services() {
            service.kill();
        }
    }

    async fn restart(&mut self) {
        self.run().await;
    }

    fn broker_url(&self, broker: &str) -> String {
        let urls = self.broker_urls(broker);
        urls[self.next.fetch_add(1, Ordering::Relaxed) % urls.len()].clone()
    }

    fn admin_addresses(&self) -> Vec<String> {
        self.dispatchers.iter().map(|dispatcher| dispatcher.admin_address().to_owned()).collect()
    }

    async fn triggers(&self) -> Result<Vec<(String, TriggerStatus)>, String> {
        sum(self.dispatchers.iter().filter(|dispatcher| dispatcher.is_running())).await
    }
}

/// How the Triggers stand in all partitions that these dispatchers own. A Trigger is `starting` until that is each
/// partition once.
async fn sum<'a>(
    dispatchers: impl IntoIterator<Item = &'a Service>,
) -> Result<Vec<(String, TriggerStatus)>, String> {
    let mut sum: Vec<(String, TriggerStatus)> = Vec::new();
    let mut partitions = None;
    for dispatcher in dispatchers {
        for (id, status) in dispatcher.admin().triggers().await? {
            match sum.iter_mut().find(|(known, _)| *known == id) {
                Some((_, whole)) => whole.add(&status),
                None => sum.push((id, status)),
            }
        }
        partitions = Some(dispatcher.admin().partitions().await?);
    }
    let partitions = partitions.ok_or("no dispatcher is running")?;
    mark_partial(&mut sum, &partitions);
    Ok(sum)
}
