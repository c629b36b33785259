//! What people do to topics and groups with Kafka's own tools, and what they see there.

use std::fs;

use serde_json::json;
use trigon_test_servers::kafka::Tools;
use trigon_test_servers::shared;
use trigon_tests::kafka::{Split, group, installation, topic};
use trigon_tests::{Deployment, Event, Object, Producer, Standalone, Subscriber, broker, trigger, wait};

/// Standalone on the Kafka that tests share, with names of its own.
struct World {
    trigon: Standalone,
    tools: Tools,
    installation: String,
}

impl World {
    async fn start(routes: &[Object]) -> Self {
        let kafka = shared::kafka().expect("there is a Kafka");
        let installation = installation();
        let arguments = ["--kafka", &kafka, "--installation", &installation];
        let trigon = Standalone::start_without_data(routes, &arguments).await;
        Self { trigon, tools: Tools::new(kafka), installation }
    }

    fn topic(&self) -> String {
        topic(&self.installation, "default")
    }

    fn group(&self) -> String {
        group(&self.installation, "t")
    }

    /// Waits until Kafka's tool says that the group of the Trigger `t` has so much before it.
    async fn lag(&self, wanted: u64) {
        wait::until("the lag that Kafka's tool shows", async || {
            let rows = self.tools.describe_group(&self.group())?;
            let lag: Option<u64> = rows.iter().map(|row| row.lag).sum();
            if !rows.is_empty() && lag == Some(wanted) { Ok(()) } else { Err(format!("{rows:?}")) }
        })
        .await;
    }
}

/// KAF-01 to KAF-05: any consumer of Kafka reads our events.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_console_consumer_reads_our_events_in_the_binary_mode_of_cloudevents() {
    let world = World::start(&[broker("default")]).await;
    let event = Event::new("one").with("partitionkey", "k1").with("own", "mine").data("text/plain", "hello");
    world.trigon.producer().accept(&event).await;
    let lines = world.tools.console_consumer(&world.topic(), 1).expect("Kafka's tool reads");
    let line = lines.iter().find(|line| line.contains("ce_id")).expect("the tool prints headers");
    let fields: Vec<_> = line.split('\t').collect();
    let headers: Vec<_> = fields.iter().flat_map(|field| field.split(',')).collect();
    for header in ["ce_specversion:1.0", "ce_id:one", "ce_type:test", "ce_source:/tests", "ce_own:mine"] {
        assert!(headers.contains(&header), "{header}: {line}");
    }
    assert!(headers.contains(&"content-type:text/plain"), "{line}");
    assert_eq!(fields[fields.len() - 2..], ["k1", "hello"], "{line}");
}

/// A Trigger's group has the lag that the Trigger has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_shows_how_far_a_trigger_is_behind() {
    let subscriber = Subscriber::start().await;
    subscriber.hold("/t");
    let world = World::start(&[broker("default"), trigger("t", &subscriber.url("/t"))]).await;
    world.trigon.producer().accept_many("e", 10).await;
    subscriber.receives("/t", 10).await;
    world.lag(10).await;
    subscriber.release("/t");
    subscriber.takes("/t", 10).await;
    world.lag(0).await;
}

/// A person resets a Trigger that is running, and it begins again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_trigger_goes_where_its_group_is_reset_to() {
    let subscriber = Subscriber::start().await;
    let world = World::start(&[broker("default"), trigger("t", &subscriber.url("/t"))]).await;
    world.trigon.producer().accept_many("e", 20).await;
    subscriber.takes("/t", 20).await;
    // Kafka has no compare-and-set: only a Trigger with nothing left to commit is sure to see the reset.
    world.lag(0).await;
    world.tools.reset_to_earliest(&world.group(), &world.topic()).expect("Kafka's tool resets a group");
    subscriber.receives("/t", 40).await;
    world.trigon.settled().await;
    let taken = subscriber.taken("/t");
    assert!(taken.times.values().all(|times| *times == 2), "{:?}", taken.times);
    assert_eq!(taken.times.len(), 20);
    world.lag(0).await;
}

/// Events reach the partitions that were added, and none is missed there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_are_added_are_read_from_their_beginning() {
    const PARTITIONS: usize = 6;
    let subscriber = Subscriber::start().await;
    let object = broker("default").annotation("trigon.dev/partitions", "2");
    let world = World::start(&[object, trigger("t", &subscriber.url("/t"))]).await;
    world.trigon.producer().accept_many("before", 10).await;
    let count = PARTITIONS.to_string();
    world
        .tools
        .topics(&["--alter", "--topic", &world.topic(), "--partitions", &count])
        .expect("it alters a topic");
    let mut sent = 10;
    // From now on events may be in any of them; they must arrive whether or not the partition is ours yet.
    wait::until("events in every partition", async || {
        for n in sent..sent + 20 {
            let event = Event::new(format!("after-{n}")).with("partitionkey", format!("k{n}"));
            world.trigon.producer().accept(&event).await;
        }
        sent += 20;
        let rows = world.tools.describe_group(&world.group())?;
        let used = rows.iter().filter(|row| row.end > Some(0)).count();
        if used == PARTITIONS { Ok(()) } else { Err(format!("{rows:?}")) }
    })
    .await;
    subscriber.takes("/t", sent).await;
    world.trigon.trigger("t", "delivers in all partitions", |t| t.partitions.len() == PARTITIONS).await;
    world.trigon.settled().await;
    assert_eq!(subscriber.count("/t"), sent);
}

/// R11: a topic that is deleted under our feet takes only its own Broker with it, and that only until a dispatcher has
/// created it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_deleted_is_refused_until_it_is_there_again_and_other_brokers_go_on() {
    let (kafka, installation) = (shared::kafka().expect("there is a Kafka"), installation());
    let subscriber = Subscriber::start().await;
    let objects = [broker("default"), broker("other"), trigger("t", &subscriber.url("/t"))];
    let mut trigon = Split::start_on(&kafka, &installation, &objects, &[]).await;
    let (default, other) =
        (Producer::new(trigon.broker_url("default")), Producer::new(trigon.broker_url("other")));
    default.accept_many("e", 5).await;
    other.accept_many("o", 5).await;
    subscriber.takes("/t", 5).await;
    // One that runs creates it again before anybody can look.
    for dispatcher in trigon.dispatchers() {
        dispatcher.stop().await;
    }
    let topic = topic(&installation, "default");
    Tools::new(kafka).topics(&["--delete", "--topic", &topic]).expect("Kafka's tool deletes a topic");
    wait::until("the Broker without a topic to refuse events", async || {
        let answer = default.send(&Event::new("lost")).await;
        match answer.status.as_u16() {
            503 if answer.body.contains(&topic) => Ok(()),
            status => Err(format!("{status}: {}", answer.body)),
        }
    })
    .await;
    other.accept_many("p", 20).await;
    trigon.restart().await;
    wait::until("the Broker to take events again", async || {
        let answer = default.send(&Event::new("again")).await;
        match answer.status.as_u16() {
            202 => Ok(()),
            status => Err(format!("{status}: {}", answer.body)),
        }
    })
    .await;
    wait::until("the event to arrive", async || {
        let times = subscriber.taken("/t").times;
        if times.contains_key("again") { Ok(()) } else { Err(format!("{times:?}")) }
    })
    .await;
}

/// Retention overtakes a Trigger whose dispatcher is stopped: it goes on behind the gap, which is counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_that_retention_overtook_goes_on_and_says_what_it_missed() {
    let subscriber = Subscriber::start().await;
    let object = broker("default").annotation("trigon.dev/partitions", "1");
    subscriber.on("/t", |_| trigon_tests::Reply::status(503));
    let delivery = json!({"retry": 1000, "backoffPolicy": "linear", "backoffDelay": "PT1H"});
    let held = trigger("t", &subscriber.url("/t")).delivery(delivery);
    let mut world = World::start(&[object, held]).await;
    world.trigon.producer().accept_many("gone", 30).await;
    subscriber.receives("/t", 30).await;
    world.trigon.stop().await;
    // What retention does when its time has come.
    let folder = tempfile::tempdir().expect("the machine has a folder for temporary files");
    let file = folder.path().join("offsets.json");
    let order = json!({"version": 1, "partitions": [{"topic": world.topic(), "partition": 0, "offset": 20}]});
    fs::write(&file, order.to_string()).expect("a temporary folder is writable");
    let offsets = ["--offset-json-file", &file.display().to_string()];
    world.tools.run("org.apache.kafka.tools.DeleteRecordsCommand", &offsets).expect("it deletes records");
    subscriber.on("/t", |_| trigon_tests::Reply::status(202));
    world.trigon.restart().await;
    world.trigon.producer().accept(&Event::new("last")).await;
    subscriber.takes("/t", 1).await;
    let metric = "trigon_dispatcher_trigger_overtaken_total";
    wait::until("the gap to be counted", async || {
        let missed = world.trigon.admin().metric(metric, "trigger=\"default/t\"").await?;
        if missed >= 20.0 { Ok(()) } else { Err(missed.to_string()) }
    })
    .await;
    assert!(subscriber.taken("/t").times.contains_key("last"));
}
