//! A whole broker in this process, used by its own tools.

use std::net::SocketAddr;

use clap::Parser;
use serde_json::Value;
use tokio::sync::oneshot;
use trigon_eventlog::EmbeddedConfig;
use trigon_runtime::shutdown::{DrainSettings, Shutdown};
use trigon_runtime::tasks::TaskGroup;

use super::*;
use crate::arguments::{Arguments, Command};
use crate::sink::tests::sink;
use crate::terminal::testing::Written;
use crate::{list, parked, send, tail};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

struct Running {
    folder: tempfile::TempDir,
    ingress: SocketAddr,
    admin: SocketAddr,
    shutdown: Shutdown,
    ended: oneshot::Receiver<Result<(), Failure>>,
    tasks: TaskGroup,
}

/// A tool that runs until the test is over, and what it has printed.
struct Tool {
    printed: Written,
    _tasks: TaskGroup,
}

impl Running {
    async fn start(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("routes")).unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join("routes").join(name), text).unwrap();
        }
        Self::start_in(folder).await
    }

    async fn start_in(folder: tempfile::TempDir) -> Self {
        let path = folder.path().to_str().unwrap();
        let command = format!("trigon standalone --routes {path}/routes --data {path}/data");
        let Command::Standalone(arguments) = parse(&command) else { panic!("{command}") };
        let settings = Settings { look_interval: Duration::from_millis(5), ..arguments.settings().unwrap() };
        let ingress = listen("127.0.0.1:0".parse().unwrap(), "--listen").await.unwrap();
        let admin = listen("127.0.0.1:0".parse().unwrap(), "--admin").await.unwrap();
        let addresses = (ingress.1, admin.1);
        let shutdown = Shutdown::new(DrainSettings { deadline: PATIENCE, ..DrainSettings::default() });
        let standalone = start(settings, ingress, admin, shutdown.watch()).await.unwrap();
        let (done, ended) = oneshot::channel();
        let mut tasks = TaskGroup::new();
        tasks.spawn(
            "standalone",
            async move { done.send(standalone.run().await).map_err(|_| "nobody waits") },
        );
        Self { folder, ingress: addresses.0, admin: addresses.1, shutdown, ended, tasks }
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join("routes").join(name), text).unwrap();
    }

    async fn send(&self, flags: &str) {
        let Command::Send(arguments) =
            parse(&format!("trigon send {}/default/shop -s /test {flags}", self.ingress))
        else {
            panic!("{flags}")
        };
        send::run(&arguments, &Terminal::captured().0).await.unwrap();
    }

    fn tail(&self, flags: &str) -> Tool {
        let Command::Tail(arguments) = parse(&format!("trigon tail --admin {} {flags}", self.admin)) else {
            panic!("{flags}")
        };
        let (terminal, printed, _) = Terminal::captured();
        let mut tasks = TaskGroup::new();
        tasks.spawn("tail", async move {
            tail::run(&arguments, &terminal).await.map_err(|failure| format!("{failure:?}"))
        });
        Tool { printed, _tasks: tasks }
    }

    async fn parked(&self, command: &str) -> Result<String, Failure> {
        let Command::Parked { command } = parse(&format!("trigon parked {command} --admin {}", self.admin))
        else {
            panic!("{command}")
        };
        let (terminal, printed, _) = Terminal::captured();
        parked::run(&command, &terminal).await.map(|()| printed.text())
    }

    async fn get(&self, path: &str) -> (http::StatusCode, String) {
        let uri: http::Uri = format!("http://{}{path}", self.admin).parse().unwrap();
        let client = crate::client::Client::new(&uri, PATIENCE).unwrap();
        let response = client.send(http::Request::get(uri).body(Default::default()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let body = trigon_runtime::body::read_all(body, 1 << 20).await.unwrap();
        (head.status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Drains it and hands over its folder.
    async fn stop(self) -> tempfile::TempDir {
        self.shutdown.drain();
        let ended = tokio::time::timeout(PATIENCE, self.ended).await;
        assert_eq!(ended.expect("it ends").unwrap(), Ok(()));
        drop(self.tasks);
        self.folder
    }
}

fn parse(line: &str) -> Command {
    Arguments::try_parse_from(line.split_whitespace()).unwrap().command
}

/// Waits until `reached` holds; looks again as soon as others had their turn.
async fn until<F: Future<Output = bool>>(what: &str, mut reached: impl FnMut() -> F) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !reached().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("no {what}"));
}

/// Waits until the words are printed, however far apart they stand.
async fn until_printed(tool: &Written, what: &str) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !tool.text().split_whitespace().collect::<Vec<_>>().join(" ").contains(what) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("no {what:?} in {:?}", tool.text()));
}

const BROKER: &str = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: shop}\n";

fn trigger(name: &str, event_type: &str, subscriber: SocketAddr) -> String {
    format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: {name}}}\nspec:\n  broker: shop\n  \
         filter: {{attributes: {{type: {event_type}}}}}\n  subscriber: {{uri: 'http://{subscriber}/'}}\n"
    )
}

#[tokio::test]
async fn an_event_arrives_behind_its_filter_and_one_that_does_not_match_does_not() {
    let sink = sink(&[]).await;
    let trigger = trigger("orders", "order.created", sink.address);
    let running = Running::start(&[("a.yaml", BROKER), ("b.yaml", &trigger)]).await;
    running.send("-t other --id 1").await;
    running.send("-t order.created --id 2").await;
    until_printed(&sink.printed, " id 2 ").await;
    until("delivery in the figures", || async {
        let triggers = running.json("/v1/triggers").await;
        triggers[0]["delivered"] == 1 && triggers[0]["lag"] == 0
    })
    .await;
    assert_eq!(sink.printed.text().matches("POST").count(), 1, "{}", sink.printed.text());
    let triggers = running.json("/v1/triggers").await;
    assert_eq!(triggers[0]["filter"], "type is \"order.created\"");
    assert_eq!(triggers[0]["state"], "active");
    let brokers = running.json("/v1/brokers").await;
    assert_eq!(brokers[0]["url"], format!("http://{}/default/shop", running.ingress));
    assert_eq!((&brokers[0]["events"], &brokers[0]["partitions"]), (&2.into(), &4.into()));
    running.stop().await;
}

#[tokio::test]
async fn a_changed_folder_routes_anew_without_a_pause() {
    let sink = sink(&[]).await;
    let running = Running::start(&[("a.yaml", BROKER)]).await;
    running.write("b.yaml", &trigger("one", "first", sink.address));
    until("new trigger", || async { running.json("/v1/triggers").await[0]["state"] == "active" }).await;
    running.send("-t first --id 1").await;
    until_printed(&sink.printed, " id 1 ").await;
    running.write("b.yaml", &trigger("one", "second", sink.address));
    until("new filter", || async { running.json("/v1/triggers").await[0]["filter"] == "type is \"second\"" })
        .await;
    running.send("-t second --id 2").await;
    until_printed(&sink.printed, " id 2 ").await;
    running.stop().await;
}

#[tokio::test]
async fn a_bad_file_is_shown_on_the_page_and_by_the_tools_and_changes_nothing() {
    let running = Running::start(&[("a.yaml", BROKER)]).await;
    running.write("b.yaml", "kind: Boker\n");
    until("problem", || async { running.json("/v1/routes").await["problems"][0]["line"] == 1 }).await;
    let (status, page) = running.get("/").await;
    assert_eq!(status, 200);
    assert!(
        page.contains("not in force") && page.contains("b.yaml:1:") && page.contains("default/shop"),
        "{page}"
    );
    let Command::Brokers(arguments) = parse(&format!("trigon brokers --admin {}", running.admin)) else {
        panic!()
    };
    let (terminal, printed, noted) = Terminal::captured();
    list::brokers(&arguments, &terminal).await.unwrap();
    assert!(printed.text().contains("default/shop"), "{}", printed.text());
    assert!(noted.text().contains("not in force") && noted.text().contains("b.yaml:1:"), "{}", noted.text());
    running.send("-t t").await;
    running.stop().await;
}

#[tokio::test]
async fn tail_shows_what_is_accepted_live_and_since_with_a_filter() {
    let running = Running::start(&[("a.yaml", BROKER)]).await;
    let all = running.tail("--output json");
    let filtered = running.tail("--filter type=b --broker default/shop");
    // Feeds are live when they show something: send until they do.
    let shown = |tool: &Tool| !tool.printed.text().is_empty();
    until("live feeds", || async {
        running.send("-t b --id warm").await;
        shown(&all) && shown(&filtered)
    })
    .await;
    running.send("-t a --id x1 -d 12345678901234567890123").await;
    running.send("-t b --id x2").await;
    until_printed(&filtered.printed, " id x2 ").await;
    until_printed(&all.printed, "x2").await;
    assert!(!filtered.printed.text().contains("x1"), "{}", filtered.printed.text());
    let lines = all.printed.text();
    let line = lines.lines().find(|line| line.contains("x1")).unwrap();
    assert!(line.contains(r#""data":12345678901234567890123"#), "numbers keep their digits: {line}");
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["broker"], &line["event"]["type"]), (&"default/shop".into(), &"a".into()));

    let since = running.tail("--since 1h --filter id=x1");
    until_printed(&since.printed, " id x1 ").await;
    running.stop().await;
}

#[tokio::test]
async fn a_feed_of_the_past_is_in_the_order_of_acceptance_across_partitions() {
    let running = Running::start(&[("a.yaml", BROKER)]).await;
    for n in 0..20 {
        running.send(&format!("-t t --id e{n} -e partitionkey=k{n}")).await;
        // The order across partitions is that of the clock, which must have moved on.
        let now = shown_now();
        until("next millisecond", || async { shown_now() > now }).await;
    }
    let tail = running.tail("--since 1h --output json");
    until_printed(&tail.printed, "\"e19\"").await;
    let ids: Vec<Value> = tail
        .printed
        .text()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["event"]["id"].clone())
        .collect();
    let expected: Vec<Value> = (0..20).map(|n| format!("e{n}").into()).collect();
    assert_eq!(ids, expected);
    running.stop().await;
}

fn shown_now() -> i64 {
    crate::shown::now().0
}

/// DLS-01, DLS-03
#[tokio::test]
async fn what_nobody_takes_is_parked_and_sent_again_on_demand() {
    let nobody = listen("127.0.0.1:0".parse().unwrap(), "--listen").await.unwrap().1;
    let running = Running::start(&[("a.yaml", BROKER), ("b.yaml", &trigger("orders", "t", nobody))]).await;
    running.send("-t t --id p1 -d {}").await;
    running.send("-t t --id p2").await;
    until("parked events", || async {
        running.json("/v1/parked").await["events"].as_array().unwrap().len() == 2
    })
    .await;

    let listed = running.parked("list --trigger default/orders --id p1").await.unwrap();
    assert_eq!(listed.lines().count(), 2, "{listed}");
    let name = listed.lines().nth(1).unwrap().split_whitespace().next().unwrap();
    assert!(name.starts_with("default/shop/"), "{listed}");
    let shown = running.parked(&format!("show {name}")).await.unwrap();
    for part in ["for default/orders", "id ", "p1", "knativeerrordest", "    {}"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let json = running.parked("list --output json").await.unwrap();
    let ids: Vec<Value> = json
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["event"]["id"].clone())
        .collect();
    assert!(ids.len() == 2 && ids.contains(&"p1".into()) && ids.contains(&"p2".into()), "{ids:?}");
    assert_eq!(running.parked("list --output json --limit 1").await.unwrap().lines().count(), 1);
    let refused = running.parked("redrive").await.unwrap_err();
    assert!(matches!(&refused, Failure::Usage(message) if message.contains("--all")), "{refused:?}");

    let sink = sink(&[]).await;
    running.write("b.yaml", &trigger("orders", "t", sink.address));
    let subscriber = format!("http://{}/", sink.address);
    until("new subscriber", || async { running.json("/v1/triggers").await[0]["subscriber"] == subscriber })
        .await;
    assert_eq!(running.parked(&format!("redrive {name}")).await.unwrap(), "sent again 1\n");
    until_printed(&sink.printed, " id p1 ").await;
    assert!(!sink.printed.text().contains("knativeerror"), "{}", sink.printed.text());
    assert_eq!(running.parked("redrive --all --rate 1000").await.unwrap(), "sent again 1\n");
    until_printed(&sink.printed, " id p2 ").await;
    assert_eq!(running.parked("list").await.unwrap(), "");
    let missing = running.parked("show default/shop/999").await.unwrap_err();
    assert!(missing.message().unwrap().contains("there is no parked event default/shop/999"), "{missing:?}");
    running.stop().await;
}

#[tokio::test]
async fn wrong_questions_are_answered_with_what_is_wrong() {
    let running = Running::start(&[("a.yaml", BROKER)]).await;
    for (path, status, reason) in [
        ("/v1/brokers/default/none/events", 404, "there is no broker default/none\n"),
        ("/v1/brokers/default/shop/events?since=soon", 400, "since: write how long ago"),
        ("/v1/brokers/default/shop/events?filter.Bad=x", 400, "filter: no attribute can be called"),
        ("/v1/brokers/default/shop/events?colour=red", 400, "\"colour\" is not asked for here"),
        ("/v1/parked?broker=default", 400, "broker: \"default\" is not of the form NAMESPACE/NAME"),
        ("/v1/parked?broker=default/none", 404, "there is no broker default/none"),
        ("/v1/parked?from=3", 400, "from and offset need a broker"),
    ] {
        let (seen, body) = running.get(path).await;
        assert_eq!(seen, status, "{path}: {body}");
        assert!(body.starts_with(reason), "{path}: {body}");
    }
    running.stop().await;
}

/// IN-23
#[tokio::test]
async fn a_drain_ends_feeds_and_closes_the_log_and_a_restart_finds_everything() {
    let running = Running::start(&[("a.yaml", BROKER)]).await;
    assert_eq!(running.get("/readyz").await, (http::StatusCode::OK, "ok\n".to_owned()));
    running.send("-t t --id before").await;
    let tail = running.tail("--since 1h");
    until_printed(&tail.printed, "before").await;
    let folder = running.stop().await;
    let again = Running::start_in(folder).await;
    let tail = again.tail("--since 1h");
    until_printed(&tail.printed, "before").await;
    again.stop().await;
}

#[tokio::test]
async fn a_log_in_use_is_told_with_the_flag_that_helps() {
    let running = Running::start(&[("a.yaml", BROKER)]).await;
    let settings = StoreSettings::Embedded(EmbeddedConfig::new(running.folder.path().join("data")));
    let failure = settings.open(&mut TaskGroup::new(), &Drain::never()).await.err().unwrap();
    let message = failure.message().unwrap();
    assert!(
        message.contains("is in use by process") && message.ends_with("--data sets another folder"),
        "{message}"
    );
    running.stop().await;
}
