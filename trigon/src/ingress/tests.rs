//! What the flags mean, and an ingress in this process that nobody dispatches for.

use clap::Parser;
use tokio::sync::oneshot;
use trigon_eventlog::EmbeddedConfig;
use trigon_runtime::shutdown::{DrainSettings, Shutdown};
use trigon_runtime::tasks::TaskGroup;

use super::*;
use crate::arguments::{Arguments, Command};
use crate::{list, parked};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    ingress: IngressArguments,
}

fn settings(flags: &[&str]) -> Result<Settings, Failure> {
    Line::try_parse_from(["ingress"].iter().chain(flags)).unwrap().ingress.settings()
}

#[test]
fn an_ingress_needs_a_cluster_and_takes_the_bounds_of_what_it_does() {
    let message =
        "trigon ingress keeps no events itself: add --kafka HOST:PORT, or run trigon standalone, which does";
    assert_eq!(settings(&[]).err(), Some(Failure::Usage(message.to_owned())));
    let settings = settings(&["--kafka", "a:9092", "--max-requests", "7", "--installation", "shop"]).unwrap();
    assert_eq!(settings.ingress, IngressSettings { max_requests_in_flight: 7, ..IngressSettings::default() });
    assert_eq!(settings.installation.to_string(), "shop");
    assert!(Line::try_parse_from(["ingress", "--max-attempts", "1"]).is_err());
}

const PATIENCE: Duration = Duration::from_secs(20);

/// An ingress without any dispatcher: nobody creates topics.
struct Alone {
    ingress: SocketAddr,
    admin: SocketAddr,
    shutdown: Shutdown,
    ended: oneshot::Receiver<Result<(), Failure>>,
    _folder: tempfile::TempDir,
    _tasks: TaskGroup,
}

impl Alone {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let routes = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: shop}\n";
        std::fs::create_dir(folder.path().join("routes")).unwrap();
        std::fs::write(folder.path().join("routes/a.yaml"), routes).unwrap();
        let settings = Settings {
            routes: Source::Folder(folder.path().join("routes")),
            // Whichever log it is, no topic is there.
            store: StoreSettings::Embedded(EmbeddedConfig::new(folder.path().join("data"))),
            ..settings(&["--kafka", "a:9092"]).unwrap()
        };
        let ingress = listen("127.0.0.1:0".parse().unwrap(), "--listen").await.unwrap();
        let admin = listen("127.0.0.1:0".parse().unwrap(), "--admin").await.unwrap();
        let addresses = (ingress.1, admin.1);
        let shutdown = Shutdown::new(DrainSettings { deadline: PATIENCE, ..DrainSettings::default() });
        let drain = shutdown.watch();
        let (done, ended) = oneshot::channel();
        let mut tasks = TaskGroup::new();
        tasks.spawn("ingress", async move {
            let ended = match start(settings, ingress, admin, drain).await {
                Ok(running) => running.run().await,
                Err(failure) => Err(failure),
            };
            done.send(ended).map_err(|_| "nobody waits")
        });
        let (ingress, admin) = addresses;
        Self { ingress, admin, shutdown, ended, _folder: folder, _tasks: tasks }
    }

    async fn ask(&self, method: http::Method, address: SocketAddr, path: &str) -> (http::StatusCode, String) {
        let uri: http::Uri = format!("http://{address}{path}").parse().unwrap();
        let client = crate::client::Client::new(&uri, PATIENCE).unwrap();
        let mut request = http::Request::new(Default::default());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let (head, body) = client.send(request).await.unwrap().into_parts();
        let body = trigon_runtime::body::read_all(body, 1 << 20).await.unwrap();
        (head.status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn tool(&self, command: &str) -> (Result<(), Failure>, String, String) {
        let line = format!("trigon {command} --admin {}", self.admin);
        let command = Arguments::try_parse_from(line.split_whitespace()).unwrap().command;
        let (terminal, printed, noted) = Terminal::captured();
        let ended = match command {
            Command::Brokers(arguments) => list::brokers(&arguments, &terminal).await,
            Command::Triggers(arguments) => list::triggers(&arguments, &terminal).await,
            Command::Parked { command } => parked::run(&command, &terminal).await,
            _ => panic!("{line}"),
        };
        (ended, printed.text(), noted.text())
    }
}

#[tokio::test]
async fn a_broker_without_a_topic_is_named_wherever_somebody_looks_and_refuses_events() {
    const REASON: &str = "topic trigon.default.shop does not exist yet; a dispatcher creates it";
    let alone = Alone::start().await;
    let waited = tokio::time::timeout(PATIENCE, async {
        loop {
            let (status, text) = alone.ask(http::Method::POST, alone.ingress, "/default/shop").await;
            assert_eq!(status, 503, "{text}");
            if text == format!("broker default/shop takes no events yet: {REASON}; send the event again\n") {
                break;
            }
        }
    });
    waited.await.expect("the log is asked");
    let (status, text) = alone.ask(http::Method::GET, alone.admin, "/readyz").await;
    assert_eq!(status, 503, "{text}");
    assert!(text.contains(&format!("brokers: default/shop: {REASON}")), "{text}");
    let (_, page) = alone.ask(http::Method::GET, alone.admin, "/").await;
    assert!(page.contains(REASON) && page.contains("0 triggers, which dispatchers show"), "{page}");
    let (ended, printed, noted) = alone.tool("brokers").await;
    assert_eq!(ended, Ok(()));
    assert!(printed.contains("default/shop") && noted.contains(REASON), "{printed}{noted}");
    alone.shutdown.drain();
    let ended = tokio::time::timeout(PATIENCE, alone.ended).await;
    assert_eq!(ended.expect("it ends").unwrap(), Ok(()));
}

#[tokio::test]
async fn an_ingress_that_is_asked_what_dispatchers_know_says_whom_to_ask() {
    let alone = Alone::start().await;
    for command in ["triggers", "parked list", "parked show default/shop/1", "parked redrive --all"] {
        let (ended, ..) = alone.tool(command).await;
        let Err(Failure::Failed(message)) = ended else { panic!("{command}: {ended:?}") };
        let said =
            format!("{}: this process is an ingress, which knows neither how triggers stand", alone.admin);
        assert!(message.starts_with(&said), "{command}: {message}");
        assert!(message.ends_with("ask the admin address of a dispatcher"), "{command}: {message}");
    }
}
