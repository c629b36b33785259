//! The ACLs of `docs/kafka.md`: with exactly those everything works, and without any one of them something says so.

use http::Method;
use trigon_test_servers::kafka::Tools;
use trigon_test_servers::{Kafka, Mechanism, Options};
use trigon_tests::kafka::{installation, topic};
use trigon_tests::secret::Secret;
use trigon_tests::service::{Command, Service};
use trigon_tests::{
    Deployment, Event, Producer, Reply, Standalone, Subscriber, binary, broker, routes, trigger, wait,
};

const TOPICS: &str = "topics";
const GROUPS: &str = "groups";

/// Operations, and what the names of their resources begin with after the installation's.
const ACLS: [(&str, &str, &str); 5] = [
    ("Create", TOPICS, "."),
    ("DescribeConfigs", TOPICS, "."),
    ("Read", TOPICS, "."),
    ("Write", TOPICS, "."),
    ("Read", GROUPS, ""),
];

/// Lets the user do all of it, or all but one.
fn allow(tools: &Tools, installation: &str, but: Option<usize>) {
    for kind in [TOPICS, GROUPS] {
        let allowed = ACLS.iter().enumerate().filter(|(n, acl)| Some(*n) != but && acl.1 == kind);
        let allowed: Vec<_> = allowed.map(|(_, acl)| acl).collect();
        let Some((_, _, rest)) = allowed.first() else { continue };
        let prefix = format!("{installation}{rest}");
        let mut arguments = vec!["--add", "--allow-principal", "User:trigon"];
        arguments.extend(["--resource-pattern-type", "prefixed"]);
        arguments.extend([if kind == TOPICS { "--topic" } else { "--group" }, &prefix]);
        arguments.extend(allowed.iter().flat_map(|(operation, _, _)| ["--operation", *operation]));
        tools.acls(&arguments).expect("Kafka's tool adds ACLs");
    }
}

fn kafka() -> (Kafka, Secret) {
    let options = Options::default().sasl(Mechanism::Plain).user("trigon", "secret").authorized();
    let keys = [
        ("protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("user", "trigon"),
        ("password", "secret"),
    ];
    (Kafka::single(options).expect("Kafka starts"), Secret::new(&keys))
}

/// The page that people copy from says the same as this test.
#[test]
fn the_documented_acls_are_those_that_are_tested() {
    let page = std::fs::read_to_string(binary::workspace().join("docs/kafka.md")).expect("there is a page");
    for (operation, kind, rest) in ACLS {
        let row = format!("| {operation} | {kind} that begin with `trigon{rest}` |");
        assert!(page.contains(&row), "docs/kafka.md lacks: {row}");
    }
    let rows = page.lines().filter(|line| line.contains(" that begin with `trigon"));
    assert_eq!(rows.count(), ACLS.len(), "docs/kafka.md has more ACLs than are tested");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_with_exactly_the_documented_acls() {
    let (kafka, secret) = kafka();
    let installation = installation();
    allow(&kafka.tools(), &installation, None);
    let subscriber = Subscriber::start().await;
    subscriber.on("/bad", |_| Reply::status(400));
    subscriber.on("/asks", |_| Reply::event(&Event::new("reply").with("type", "reply")));
    let routes = [
        broker("default"),
        trigger("good", &subscriber.url("/good")),
        trigger("bad", &subscriber.url("/bad")).filter("type", "test"),
        trigger("asks", &subscriber.url("/asks")).filter("type", "test"),
    ];
    let (bootstrap, folder) = (kafka.bootstrap(), secret.path());
    let arguments = ["--kafka", &bootstrap, "--kafka-secret", &folder, "--installation", &installation];
    let mut trigon = Standalone::start_without_data(&routes, &arguments).await;
    trigon.producer().accept(&Event::new("1")).await;
    // The event and the reply.
    subscriber.takes("/good", 2).await;
    trigon.trigger("bad", "has parked its event", |status| status.parked == 1).await;
    assert_eq!(trigon.admin().parked("default").await.map(|ids| ids.len()), Ok(1));
    trigon.settled().await;
    trigon.stop().await;
    trigon.restart().await;
    trigon.producer().accept(&Event::new("2").with("type", "other")).await;
    subscriber.takes("/good", 3).await;
    assert_eq!(subscriber.count("/good"), 3, "the cursors were not committed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_one_of_the_acls_something_says_what_is_not_allowed() {
    let (kafka, secret) = kafka();
    for (missing, (operation, kind, _)) in ACLS.into_iter().enumerate() {
        let installation = installation();
        allow(&kafka.tools(), &installation, Some(missing));
        if operation == "DescribeConfigs" {
            // Of a topic that is created nothing has to be found out.
            let create = ["--create", "--topic", &topic(&installation, "default"), "--partitions", "4"];
            kafka.tools().topics(&create).expect("Kafka's tool creates a topic");
        }
        let subscriber = Subscriber::start().await;
        let routes = routes::Folder::new(&[broker("default"), trigger("t", &subscriber.url("/t"))]);
        let folder = routes.path().display().to_string();
        let (bootstrap, secrets) = (kafka.bootstrap(), secret.path());
        let arguments = ["--kafka", &bootstrap, "--kafka-secret", &secrets, "--routes", &folder];
        let mut arguments: Vec<String> = arguments.map(str::to_owned).into();
        arguments.extend(["--installation".to_owned(), installation.clone()]);
        let mut service = Service::new(Command::Standalone, arguments);
        service.launch();
        let named = if kind == TOPICS { topic(&installation, "default") } else { installation.clone() };
        wait::until(&format!("a message without {operation} of {kind}"), async || {
            let output = service.process().output();
            let mut said = output.stderr().join("\n");
            // What is not allowed may show only once there is an event.
            let lines = output.stdout();
            let broker = lines.iter().find(|line| line.starts_with("broker"));
            if let Some((_, url)) = broker.and_then(|line| line.split_once("http://")) {
                let (headers, body) = Event::new("1").binary();
                let producer = Producer::new(format!("http://{}", url.trim()));
                if let Ok(answer) = producer.request(Method::POST, headers, body).await {
                    said.push_str(&answer.body);
                }
            }
            let is_refused =
                ["authoris", "authoriz", "not allowed"].iter().any(|word| said.to_lowercase().contains(word));
            match said.contains(&named) && is_refused {
                true => Ok(()),
                false => Err(said),
            }
        })
        .await;
    }
}
