//! What senders and operators see while Kafka cannot be reached, and that everything goes on by itself afterwards.

use std::time::{Duration, Instant};

use http::StatusCode;
use trigon_test_servers::kafka::Tools;
use trigon_test_servers::{Kafka, Options, shared};
use trigon_tests::kafka::{installation, topic};
use trigon_tests::{Deployment, Event, Standalone, Subscriber, account, broker, trigger, wait};

/// An append may take 10 s; what is beyond is the machine's.
const REFUSED: Duration = Duration::from_secs(30);

/// Sends until an event is refused because of the log, and gives the answer's time.
async fn refused(trigon: &Standalone, accepted: &mut Vec<String>) -> Duration {
    let mut n = 0;
    wait::until("an event to be refused", async || {
        n += 1;
        let id = format!("outage-{}-{n}", accepted.len());
        let start = Instant::now();
        let answer = trigon.producer().send(&Event::new(&id)).await;
        match answer.status {
            StatusCode::SERVICE_UNAVAILABLE => {
                assert!(answer.header("retry-after").is_some(), "the 503 does not say when to try again");
                Ok(start.elapsed())
            }
            StatusCode::ACCEPTED => {
                accepted.push(id);
                Err("it was accepted".to_owned())
            }
            other => Err(format!("{other}: {}", answer.body)),
        }
    })
    .await
}

async fn ready(trigon: &Standalone, status: StatusCode) -> String {
    wait::until(&format!("/readyz to answer {status}"), async || {
        let answer = trigon.admin().ask("/readyz").await?;
        if answer.status == status { Ok(answer.body) } else { Err(answer.body) }
    })
    .await
}

/// IN-13: with the only broker dead, hung, and back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_kafka_is_away_events_are_refused_in_time_and_afterwards_everything_goes_on() {
    let mut kafka = Kafka::single(Options::default()).expect("Kafka starts");
    let subscriber = Subscriber::start().await;
    let routes = [broker("default"), trigger("t", &subscriber.url("/t"))];
    let bootstrap = kafka.bootstrap();
    let trigon = Standalone::start_without_data(&routes, &["--kafka", &bootstrap]).await;
    let mut accepted: Vec<String> = (0..20).map(|n| format!("before-{n}")).collect();
    trigon.producer().accept_many("before", 20).await;
    for way in ["killed", "hung"] {
        match way {
            "killed" => kafka.kill(0),
            _ => kafka.pause(0),
        }
        let elapsed = refused(&trigon, &mut accepted).await;
        println!("refused {} ms after the event was sent, Kafka {way}", elapsed.as_millis());
        assert!(elapsed < REFUSED, "Kafka {way}: refused only after {elapsed:?}");
        let reason = ready(&trigon, StatusCode::SERVICE_UNAVAILABLE).await;
        assert!(reason.to_lowercase().contains("kafka") || reason.contains("event log"), "{way}: {reason}");
        match way {
            "killed" => kafka.start(0),
            _ => kafka.resume(0),
        }
        ready(&trigon, StatusCode::OK).await;
        let id = format!("after-{way}");
        wait::until("an event to be accepted", async || {
            match trigon.producer().send(&Event::new(&id)).await.status {
                StatusCode::ACCEPTED => Ok(()),
                other => Err(other.to_string()),
            }
        })
        .await;
        accepted.push(id);
    }
    subscriber.takes("/t", accepted.len()).await;
    trigon.settled().await;
    let missing = account::missing(&accepted, &subscriber.taken("/t"));
    assert!(missing.is_empty(), "{missing:?}");
}

/// A topic that somebody has made takes less than our limit: the sender is told, and nothing else is disturbed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_too_large_for_its_topic_is_refused_with_413() {
    let kafka = shared::kafka().expect("there is a Kafka");
    let (tools, installation) = (Tools::new(kafka.clone()), installation());
    let topic = topic(&installation, "default");
    let small = ["--create", "--topic", &topic, "--partitions", "4", "--config", "max.message.bytes=10000"];
    tools.topics(&small).expect("Kafka's tool creates a topic");
    let subscriber = Subscriber::start().await;
    let routes = [broker("default"), trigger("t", &subscriber.url("/t"))];
    let arguments = ["--kafka", &kafka, "--installation", &installation];
    let trigon = Standalone::start_without_data(&routes, &arguments).await;
    // Not to be compressed.
    let data: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(50_000).collect();
    let answer = trigon.producer().send(&Event::new("large").data("application/octet-stream", data)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{}", answer.body);
    trigon.producer().accept(&Event::new("small")).await;
    subscriber.takes("/t", 1).await;
    trigon.settled().await;
    assert_eq!(subscriber.ids("/t"), ["small"]);
}
