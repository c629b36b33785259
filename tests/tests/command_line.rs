//! The command line as the README tells its story: what a person types and sees.

use std::fs;
use std::path::Path;

use serde_json::Value;
use trigon_tests::binary::workspace;
use trigon_tests::process::Process;
use trigon_tests::subscriber::dead_address;
use trigon_tests::{Deployment, Event, Reply, Standalone, Subscriber, broker, command, trigger, wait};

const ROUTES: &str = "\
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata:
  name: default
  namespace: default
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata:
  name: orders
  namespace: default
spec:
  broker: default
  filter:
    attributes:
      type: order.created
  subscriber:
    uri: SINK
";

fn lines(process: &Process) -> Vec<Value> {
    process.output().stdout().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

async fn address(process: &Process, what: &str) -> String {
    wait::until(what, async || {
        let output = process.output();
        let all = [output.stdout(), output.stderr()].concat();
        let url = all.iter().find_map(|line| line.split_once("http://"));
        let address = url.map(|(_, rest)| rest.split(|c: char| c == '/' || c.is_whitespace()).next());
        address.flatten().map(str::to_owned).ok_or_else(|| all.join("\n"))
    })
    .await
}

#[tokio::test]
async fn an_event_that_is_sent_is_printed_by_the_sink_behind_its_trigger_and_no_other() {
    let sink = command::start(&["sink", "--listen", "127.0.0.1:0", "--output", "json"]);
    let uri = format!("http://{}/", address(&sink, "the sink to print its address").await);
    let trigon = Standalone::start(&[broker("default")]).await;
    let generation = trigon.generation().await.unwrap();
    trigon.write(trigon_tests::standalone::ROUTES, &ROUTES.replace("SINK", &uri));
    wait::until("the routes to be in force", async || match trigon.generation().await? {
        now if now > generation => Ok(()),
        now => Err(format!("generation {now}")),
    })
    .await;
    let url = trigon.broker_url("default");
    let send = async |id: &str, of_type: &str| {
        let data = r#"{"total": 12.5}"#;
        command::trigon(&["send", &url, "--id", id, "--type", of_type, "--source", "/shop", "--data", data])
            .await
            .success()
    };
    let said = send("1", "order.created").await;
    assert!(said.contains("202"), "{said}");
    send("2", "stock.changed").await;
    send("3", "order.created").await;
    wait::until("the sink to print two events", async || match lines(&sink).len() {
        2.. => Ok(()),
        n => Err(format!("{n}: {:?}", sink.output().stdout())),
    })
    .await;
    trigon.settled().await;
    let printed = sink.output().stdout().join("\n");
    assert!(printed.contains("order.created") && printed.contains("12.5"), "{printed}");
    assert!(!printed.contains("stock.changed"), "{printed}");
    assert_eq!(lines(&sink).len(), 2);
}

/// The README's first page: its routes, its flags, its two events.
#[tokio::test]
async fn the_quickstart_prints_the_event_that_its_trigger_wants_and_not_the_other() {
    let sink = dead_address().to_string();
    let trigon = Standalone::start_with(&[broker("default")], &["--sink", &sink]).await;
    let generation = trigon.generation().await.unwrap();
    let example = fs::read_to_string(workspace().join("examples/quickstart/routes.yaml")).unwrap();
    assert!(example.contains("127.0.0.1:9000"), "the quickstart has another sink than the README: {example}");
    trigon.write(trigon_tests::standalone::ROUTES, &example.replace("127.0.0.1:9000", &sink));
    wait::until("the routes to be in force", async || match trigon.generation().await? {
        now if now > generation => Ok(()),
        now => Err(format!("generation {now}")),
    })
    .await;
    let event = |id: &str, of_type: &str| Event::new(id).with("source", "/shop").with("type", of_type);
    trigon.producer().accept(&event("2", "order.cancelled")).await;
    trigon.producer().accept(&event("1", "order.created").data("application/json", r#"{"order": 1}"#)).await;
    let output = trigon.process().output();
    output.line("the event to be printed", |line| line.contains("order.created").then_some(())).await;
    trigon.settled().await;
    let printed = output.stdout();
    assert!(!printed.iter().any(|line| line.contains("order.cancelled")), "{printed:#?}");
}

#[tokio::test]
async fn every_example_passes_the_check() {
    let mut checked = 0;
    for entry in fs::read_dir(workspace().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            command::trigon(&["check", &path.display().to_string()]).await.success();
            checked += 1;
        }
    }
    assert!(checked > 0, "there are no examples");
}

#[tokio::test]
async fn standalone_prints_each_broker_with_its_url_and_each_trigger_with_its_filter() {
    let trigon = Standalone::start(&[
        broker("default"),
        trigger("orders", "http://127.0.0.1:1/orders").filter("type", "order.created"),
    ])
    .await;
    let printed = trigon.process().output().stdout().join("\n");
    for wanted in
        [&*trigon.broker_url("default"), "default/orders", "order.created", "http://127.0.0.1:1/orders"]
    {
        assert!(printed.contains(wanted), "{wanted} is not in:\n{printed}");
    }
}

#[tokio::test]
async fn check_names_file_line_and_field_of_every_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let good = file("good.yaml", &ROUTES.replace("SINK", "http://127.0.0.1:1/"));
    assert!(command::trigon(&["check", &good]).await.success().contains("ok"));
    let cases = [
        ("torn.yaml", "kind: [".to_owned(), ""),
        (
            "reference.yaml",
            ROUTES.replace("uri: SINK", "ref: {apiVersion: v1, kind: Service, name: x}"),
            "subscriber",
        ),
        ("relative.yaml", ROUTES.replace("SINK", "/relative"), "uri"),
        ("unknown.yaml", ROUTES.replace("SINK", "http://x/").replace("filter:", "fitler:"), "fitler"),
        ("cesql.yaml", ROUTES.replace("SINK", "http://x/\n  filters: [{cesql: \"type == 'a'\"}]"), "cesql"),
    ];
    for (name, text, field) in cases {
        let checked = command::trigon(&["check", &file(name, &text)]).await;
        let said = format!("{}{}", checked.stdout, checked.stderr);
        assert!(!checked.status.success(), "{name}: {said}");
        let place =
            said.split_once(&format!("{name}:")).unwrap_or_else(|| panic!("{name} is not named: {said}")).1;
        assert!(place.starts_with(|c: char| c.is_ascii_digit()), "{name}: {said}");
        assert!(said.contains(field), "{name}: {said}");
    }
    let all = command::trigon(&["check", &folder.path().display().to_string()]).await;
    let said = format!("{}{}", all.stdout, all.stderr);
    for name in ["torn.yaml", "reference.yaml", "relative.yaml", "unknown.yaml", "cesql.yaml"] {
        assert!(said.contains(name), "{name} is not named: {said}");
    }
}

#[tokio::test]
async fn tail_shows_what_is_accepted_as_it_is_accepted_and_only_what_the_filter_wants() {
    let trigon = Standalone::start(&[broker("default")]).await;
    let event = |id: &str, of_type: &str| Event::new(id).with("type", of_type);
    trigon.producer().accept(&event("early", "wanted")).await;
    let admin = trigon.admin().address().to_owned();
    let tail = command::start(&[
        "tail",
        "--admin",
        &admin,
        "--since",
        "1h",
        "--filter",
        "type=wanted",
        "--output",
        "json",
    ]);
    let shows = async |count: usize| {
        wait::until("tail to show events", async || match lines(&tail) {
            lines if lines.len() >= count => Ok(lines),
            lines => Err(format!("{lines:?} {:?}", tail.output().stderr())),
        })
        .await
    };
    shows(1).await;
    trigon.producer().accept(&event("no", "unwanted")).await;
    trigon.producer().accept(&event("live", "wanted")).await;
    let shown = shows(2).await;
    let ids: Vec<_> = shown.iter().map(|line| line["event"]["id"].as_str().unwrap_or_default()).collect();
    assert_eq!(ids, ["early", "live"]);
}

/// DLS-01, DLS-03
#[tokio::test]
async fn parked_events_are_listed_shown_and_sent_again() {
    let subscriber = Subscriber::start().await;
    subscriber.on("/t", |_| Reply::status(400).body("text/plain", "no such order"));
    let trigon = Standalone::start(&[
        broker("default"),
        trigger("t", &subscriber.url("/t")),
        trigger("witness", &subscriber.url("/witness")),
    ])
    .await;
    trigon.producer().accept(&Event::new("bad-order").data("application/json", r#"{"n": 1}"#)).await;
    trigon.trigger("t", "has parked it", |status| status.parked == 1).await;
    let listed = trigon.tool(&["parked", "list"]).await.success();
    for wanted in ["default/t", "bad-order", "400"] {
        assert!(listed.contains(wanted), "{wanted} is not in:\n{listed}");
    }
    let json = trigon.tool(&["parked", "list", "--output", "json"]).await.success();
    let [parked] = &json.lines().collect::<Vec<_>>()[..] else { panic!("one is parked: {json}") };
    let parked: Value = serde_json::from_str(parked).unwrap();
    assert_eq!(parked["event"]["data"]["n"], 1);
    let at = parked["id"].as_str().unwrap().to_owned();
    let shown = trigon.tool(&["parked", "show", &at]).await.success();
    for wanted in ["bad-order", "400", "knativeerrordest", "\"n\": 1"] {
        assert!(shown.contains(wanted), "{wanted} is not in:\n{shown}");
    }
    subscriber.on("/t", |_| Reply::status(200));
    trigon.tool(&["parked", "redrive", &at]).await.success();
    subscriber.takes("/t", 1).await;
    trigon.settled().await;
    // Sent again to the Trigger that did not get it, and to no other.
    assert_eq!(subscriber.count("/witness"), 1);
    assert_eq!(subscriber.received("/t")[1].attribute("knativeerrorcode"), None);
}

/// IN-23
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_drains_exits_0_and_nothing_comes_twice_after_the_restart() {
    let subscriber = Subscriber::start().await;
    subscriber.hold("/t");
    let mut trigon = Standalone::start(&[broker("default"), trigger("t", &subscriber.url("/t"))]).await;
    trigon.producer().accept_many("e", 20).await;
    subscriber.receives("/t", 20).await;
    trigon.process().terminate();
    // The drain waits for what is in flight.
    wait::until("it to refuse new events", async || {
        let answer =
            trigon.producer().request(http::Method::POST, Default::default(), Default::default()).await;
        if answer.is_ok_and(|answer| answer.status != 503) { Err("it serves".to_owned()) } else { Ok(()) }
    })
    .await;
    assert_eq!(subscriber.taken_count("/t"), 0);
    subscriber.release("/t");
    let (status, _) = trigon.ended().await;
    assert!(status.success(), "{status}");
    trigon.restart().await;
    trigon.producer().accept(&Event::new("last")).await;
    trigon.settled().await;
    assert_eq!(subscriber.count("/t"), 21);
}

#[tokio::test]
async fn brokers_and_triggers_are_listed() {
    let trigon =
        Standalone::start(&[broker("default"), trigger("t", "http://127.0.0.1:1/").filter("type", "a")])
            .await;
    let brokers = trigon.tool(&["brokers"]).await.success();
    assert!(brokers.contains("default/default"), "{brokers}");
    let triggers = trigon.tool(&["triggers"]).await.success();
    assert!(triggers.contains("default/t") && triggers.contains("http://127.0.0.1:1/"), "{triggers}");
}

#[tokio::test]
async fn a_wrong_address_says_so_and_what_to_do() {
    let address = dead_address().to_string();
    let commands: [&[&str]; 5] = [
        &["explain", "--trigger", "default/t", "--id", "1", "--admin", &address],
        &["tail", "--admin", &address],
        &["triggers", "--admin", &address],
        &["brokers", "--admin", &address],
        &["parked", "list", "--admin", &address],
    ];
    for arguments in commands {
        let finished = command::trigon(arguments).await;
        assert!(!finished.status.success());
        assert!(finished.stderr.contains(&address), "{arguments:?}: {}", finished.stderr);
        assert!(
            finished.stderr.contains("standalone") || finished.stderr.contains("--admin"),
            "{}",
            finished.stderr
        );
    }
    let url = format!("http://{address}/default/default");
    let sent = command::trigon(&["send", &url, "--type", "t", "--source", "s"]).await;
    assert!(!sent.status.success() && sent.stderr.contains(&address), "{}", sent.stderr);
}

#[tokio::test]
async fn a_folder_that_is_not_there_and_a_port_that_is_taken_are_named() {
    let trigon = Standalone::start(&[broker("default")]).await;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let start = async |routes: &Path, listen: &str| {
        let routes = routes.display().to_string();
        let arguments = [
            "standalone",
            "--routes",
            &routes,
            "--data",
            &data,
            "--listen",
            listen,
            "--admin",
            "127.0.0.1:0",
        ];
        let finished = command::trigon(&arguments).await;
        assert!(!finished.status.success());
        finished.stderr
    };
    let said = start(&folder.path().join("nowhere"), "127.0.0.1:0").await;
    assert!(said.contains("nowhere"), "{said}");
    let said = start(folder.path(), trigon.address()).await;
    assert!(said.contains(trigon.address()), "{said}");
}

#[tokio::test]
async fn help_has_examples_and_completions_know_the_commands() {
    for command in ["standalone", "send", "tail", "sink", "check", "explain", "triggers", "brokers"] {
        let help = command::trigon(&[command, "--help"]).await.success();
        assert!(help.contains("Examples:"), "{command}: {help}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = command::trigon(&["completions", shell]).await.success();
        assert!(script.contains("standalone") && script.contains("parked"), "{shell}");
    }
}
