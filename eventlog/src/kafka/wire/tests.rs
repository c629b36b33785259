//! Against a real Kafka, and against brokers that do what a real one seldom does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use kafka_protocol::messages::metadata_response::{MetadataResponseBroker, MetadataResponseTopic};
use kafka_protocol::messages::{
    BrokerId, MetadataRequest, MetadataResponse, SaslAuthenticateRequest, SaslAuthenticateResponse,
    SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::{Request, StrBytes};

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use trigon_core::name::TopicName;

use super::fake::{Asked, Fake, Reply};
use super::*;
use crate::LogError;
use crate::kafka::KafkaConfig;
use crate::kafka::security::{Login, Sasl, Secret, Security};

fn cluster() -> Cluster {
    let address = crate::kafka::test_server::address();
    let security = watch::Sender::new(Arc::new(Security::default())).subscribe();
    Cluster::new(&KafkaConfig::new(vec![address], security))
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_told_by_the_cluster() {
    let topic = TopicName::external("wire-no-such-topic");
    assert_eq!(cluster().topic(&topic).await, Err(LogError::UnknownTopic(topic.clone())));
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_named() {
    let security = watch::Sender::new(Arc::new(Security::default())).subscribe();
    let nobody = Cluster::new(&KafkaConfig::new(vec!["127.0.0.1:1".to_owned()], security));
    let error = nobody.topic(&TopicName::external("any")).await.unwrap_err();
    assert!(error.to_string().starts_with("could not connect to 127.0.0.1:1: "), "{error}");
}

/// The requests that the brokers here speak.
const APIS: &[(i16, i16)] =
    &[(MetadataRequest::KEY, 9), (SaslHandshakeRequest::KEY, 1), (SaslAuthenticateRequest::KEY, 2)];

fn reaching(
    broker: &Fake,
    security: Security,
    request_deadline: Duration,
) -> (Cluster, watch::Sender<Arc<Security>>) {
    let sender = watch::Sender::new(Arc::new(security));
    let config = KafkaConfig::new(vec![broker.address()], sender.subscribe());
    (Cluster::new(&KafkaConfig { request_deadline, ..config }), sender)
}

fn alice(password: &str) -> Security {
    let login = Login { user: "alice".to_owned(), password: Secret::new(password) };
    Security { tls: None, sasl: Some(Sasl::Plain(login)) }
}

/// Takes whoever comes for so many milliseconds, and knows nothing of topics.
fn taking(asked: Asked, lifetime: i64) -> Reply {
    match asked.key {
        MetadataRequest::KEY => asked.answer::<MetadataRequest>(&MetadataResponse::default()),
        SaslHandshakeRequest::KEY => asked.answer::<SaslHandshakeRequest>(&SaslHandshakeResponse::default()),
        SaslAuthenticateRequest::KEY => asked.answer::<SaslAuthenticateRequest>(
            &SaslAuthenticateResponse::default().with_session_lifetime_ms(lifetime),
        ),
        _ => Reply::Close,
    }
}

async fn ask(cluster: &Cluster) -> Result<MetadataResponse, WireError> {
    cluster.ask_any(&MetadataRequest::default()).await
}

const LONG: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_request_that_is_not_answered_ends_its_connection_and_the_next_opens_another() {
    let broker = Fake::start(APIS, None, |asked| match asked.connection {
        1 => Reply::Silence,
        _ => taking(asked, 0),
    })
    .await;
    let (cluster, _sender) = reaching(&broker, Security::default(), Duration::from_millis(1_000));
    let error = ask(&cluster).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{} did not answer Metadata within 1s", broker.address()));
    assert!(ask(&cluster).await.is_ok());
    assert_eq!(broker.accepted(), 2);
}

#[tokio::test]
async fn an_answer_that_is_none_ends_its_connection_and_the_next_opens_another() {
    let broker = Fake::start(APIS, None, |asked| match asked.connection {
        1 => Reply::Answer(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        2 => Reply::Answer(vec![0, 0, 0, 2, 7, 7]),
        3 => asked.answer_as::<MetadataRequest>(&MetadataResponse::default(), -5),
        4 => Reply::Close,
        _ => taking(asked, 0),
    })
    .await;
    let (cluster, _sender) = reaching(&broker, Security::default(), LONG);
    let mut errors = Vec::new();
    for _ in 1..=4 {
        errors.push(ask(&cluster).await.unwrap_err());
    }
    assert!(ask(&cluster).await.is_ok());
    assert_eq!(broker.accepted(), 5);
    assert!(
        matches!(&errors[0], WireError::Broken { reason, .. } if reason.contains("an answer of")),
        "{errors:?}"
    );
    assert!(matches!(errors[1], WireError::Malformed { .. }), "{errors:?}");
    assert!(matches!(errors[2], WireError::Malformed { .. }), "{errors:?}");
    assert!(matches!(errors[3], WireError::Broken { .. }), "{errors:?}");
}

#[tokio::test]
async fn a_broker_that_cannot_be_reached_is_tried_ever_more_rarely() {
    let broker = Fake::start(&[], None, |_| Reply::Close).await;
    // It speaks no SASL.
    let (cluster, _sender) = reaching(&broker, alice("x"), LONG);
    let started = Instant::now();
    while broker.accepted() < 3 {
        assert!(started.elapsed() < LONG, "it is not tried again");
        let error = ask(&cluster).await.unwrap_err();
        assert!(matches!(error, WireError::Unsupported { .. }), "{error:?}");
        sleep(Duration::from_millis(5)).await;
    }
    // At 0, 100 and 300 ms, or later.
    assert!(started.elapsed() >= Duration::from_millis(300), "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_advertised_address_that_cannot_be_reached_is_told_as_such() {
    let broker = Fake::start(APIS, None, |asked| {
        let node = MetadataResponseBroker::default()
            .with_node_id(BrokerId(2))
            .with_host(StrBytes::from_static_str("::1"))
            .with_port(1);
        asked.answer::<MetadataRequest>(&MetadataResponse::default().with_brokers(vec![node]))
    })
    .await;
    let (cluster, _sender) = reaching(&broker, Security::default(), LONG);
    assert_eq!(
        cluster.topic(&TopicName::external("any")).await,
        Err(LogError::UnknownTopic(TopicName::external("any")))
    );
    let error = cluster.connection(NodeId(2), Line::Tail).await.unwrap_err();
    let expected = "broker 2 is advertised at [::1]:1, where it could not be reached: ";
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[tokio::test]
async fn an_address_that_swallows_everything_is_asked_last_from_then_on() {
    let hole = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let hole_address = hole.local_addr().expect("it is bound").to_string();
    let swallowed = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&swallowed);
    let mut swallowing = tokio::task::JoinSet::new();
    swallowing.spawn(async move {
        let mut open = Vec::new();
        while let Ok(connection) = hole.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            open.push(connection);
        }
    });
    let broker = Fake::start(APIS, None, |asked| taking(asked, 0)).await;
    let security = watch::Sender::new(Arc::new(Security::default())).subscribe();
    let request_deadline = Duration::from_millis(1_000);
    let config = KafkaConfig::new(vec![hole_address, broker.address()], security);
    let cluster = Cluster::new(&KafkaConfig { request_deadline, ..config });
    assert!(ask(&cluster).await.is_ok(), "one address takes no more than its share");
    // Past every wait after a failure.
    for _ in 0..30 {
        assert!(ask(&cluster).await.is_ok());
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(swallowed.load(Ordering::SeqCst), 1, "it was asked again");
}

/// Also where some of them do not exist.
#[tokio::test]
async fn many_topics_that_are_wanted_at_once_are_asked_for_in_few_requests() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let broker = Fake::start(APIS, None, move |asked| {
        counter.fetch_add(1, Ordering::SeqCst);
        let topic = |n| {
            let name = StrBytes::from_string(format!("t{n}"));
            MetadataResponseTopic::default().with_name(Some(kafka_protocol::messages::TopicName(name)))
        };
        let topics = (0..100).map(topic).collect();
        asked.answer::<MetadataRequest>(&MetadataResponse::default().with_topics(topics))
    })
    .await;
    let (cluster, _sender) = reaching(&broker, Security::default(), LONG);
    let names: Vec<_> = (0..101).map(|n| TopicName::external(format!("t{n}"))).collect();
    let found = futures::future::join_all(names.iter().map(|name| cluster.topic(name))).await;
    assert!(found[..100].iter().all(Result::is_ok), "{found:?}");
    assert_eq!(found[100], Err(LogError::UnknownTopic(names[100].clone())));
    assert!(asked.load(Ordering::SeqCst) <= 3, "{asked:?}");
}

/// Neither while it looks up a topic nor while it opens a connection.
#[tokio::test]
async fn whoever_is_not_polled_any_more_keeps_nobody_else_waiting() {
    let broker = Fake::start(APIS, None, |asked| {
        let name = Some(kafka_protocol::messages::TopicName(StrBytes::from_static_str("t")));
        let topic = MetadataResponseTopic::default().with_name(name);
        asked.answer::<MetadataRequest>(&MetadataResponse::default().with_topics(vec![topic]))
    })
    .await;
    let (cluster, _sender) = reaching(&broker, Security::default(), LONG);
    let topic = TopicName::external("t");
    let mut parked = Box::pin(cluster.topic(&topic));
    assert!((&mut parked).now_or_never().is_none(), "it waits for the broker");
    let told = timeout(LONG / 2, cluster.topic(&topic)).await.expect("the first keeps nobody waiting");
    assert!(told.is_ok(), "{told:?}");
    assert!(parked.await.is_ok());

    cluster.note_node(NodeId(1), "127.0.0.1", i32::from(broker.port));
    let mut parked = Box::pin(cluster.connection(NodeId(1), Line::Tail));
    assert!((&mut parked).now_or_never().is_none(), "it waits for the broker");
    let opened = timeout(LONG / 2, cluster.connection(NodeId(1), Line::Tail)).await;
    assert!(opened.expect("the first keeps nobody waiting").is_ok());
    assert_eq!(broker.accepted(), 2, "they share it");
    drop(parked);
}

#[tokio::test]
async fn a_failed_lookup_is_told_to_all_who_wait_for_it() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let broker = Fake::start(APIS, None, move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        Reply::Silence
    })
    .await;
    let deadline = Duration::from_millis(300);
    let (cluster, _sender) = reaching(&broker, Security::default(), deadline);
    let names: Vec<_> = (0..20).map(|n| TopicName::external(format!("t{n}"))).collect();
    let found = futures::future::join_all(names.iter().map(|name| cluster.topic(name))).await;
    assert!(found.iter().all(Result::is_err), "{found:?}");
    assert!(asked.load(Ordering::SeqCst) <= 2, "{asked:?}");
}

#[tokio::test]
async fn a_connection_is_replaced_when_half_of_its_session_is_over() {
    let broker = Fake::start(APIS, None, |asked| taking(asked, 1_000)).await;
    let (cluster, _sender) = reaching(&broker, alice("x"), LONG);
    let started = Instant::now();
    while broker.accepted() < 2 {
        assert!(ask(&cluster).await.is_ok());
        assert!(started.elapsed() < LONG, "it is not replaced");
        sleep(Duration::from_millis(20)).await;
    }
    assert!(started.elapsed() >= Duration::from_millis(500), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_session_without_end_keeps_its_connection() {
    let broker = Fake::start(APIS, None, |asked| taking(asked, 0)).await;
    let (cluster, _sender) = reaching(&broker, alice("x"), LONG);
    for _ in 0..5 {
        assert!(ask(&cluster).await.is_ok());
    }
    assert_eq!(broker.accepted(), 1);
}

#[tokio::test]
async fn new_secrets_take_effect_on_a_new_connection_and_the_old_one_serves_until_they_do() {
    let refuses = Arc::new(AtomicBool::new(true));
    let refusing = Arc::clone(&refuses);
    let broker = Fake::start(APIS, None, move |asked| match asked.key {
        SaslAuthenticateRequest::KEY if asked.connection > 1 && refusing.load(Ordering::SeqCst) => {
            let refused = SaslAuthenticateResponse::default()
                .with_error_code(58)
                .with_error_message(Some(StrBytes::from_static_str("no such user")));
            asked.answer::<SaslAuthenticateRequest>(&refused)
        }
        _ => taking(asked, 0),
    })
    .await;
    let (cluster, sender) = reaching(&broker, alice("old"), LONG);
    assert!(ask(&cluster).await.is_ok());
    cluster.note_node(NodeId(1), "127.0.0.1", i32::from(broker.port));
    let former = cluster.connection(NodeId(1), Line::Admin).await.expect("it is open");
    sender.send_replace(Arc::new(alice("new")));
    assert!(ask(&cluster).await.is_ok());
    assert_eq!(broker.accepted(), 2);
    refuses.store(false, Ordering::SeqCst);
    let started = Instant::now();
    while broker.accepted() < 3 {
        assert!(ask(&cluster).await.is_ok());
        assert!(started.elapsed() < LONG, "it is not replaced");
        sleep(Duration::from_millis(20)).await;
    }
    assert!(former.is_open(), "whoever still waits on the old connection is answered");
}

#[tokio::test]
async fn a_refusal_names_address_mechanism_and_user_and_no_secret() {
    let broker = Fake::start(APIS, None, |asked| match asked.key {
        SaslHandshakeRequest::KEY => {
            let offered =
                vec![StrBytes::from_static_str("GSSAPI"), StrBytes::from_static_str("SCRAM-SHA-512")];
            let refused = SaslHandshakeResponse::default().with_error_code(33).with_mechanisms(offered);
            asked.answer::<SaslHandshakeRequest>(&refused)
        }
        _ => taking(asked, 0),
    })
    .await;
    let (cluster, _sender) = reaching(&broker, alice("hunter2"), LONG);
    let error = ask(&cluster).await.unwrap_err();
    let address = broker.address();
    let expected =
        format!("{address} refused to authenticate alice by PLAIN: it offers GSSAPI, SCRAM-SHA-512");
    assert_eq!(error.to_string(), expected);
    assert!(!format!("{error:?}{cluster:?}").contains("hunter2"));
}
