//! `trigon send` and `trigon sink` against each other, within one process.

use clap::Parser;
use trigon_runtime::tasks::TaskGroup;

use super::*;
use crate::send::{self, SendArguments};
use crate::terminal::testing::Written;

#[derive(Parser)]
struct SinkLine {
    #[command(flatten)]
    sink: SinkArguments,
}

#[derive(Parser)]
struct SendLine {
    #[command(flatten)]
    send: SendArguments,
}

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) printed: Written,
    _tasks: TaskGroup,
}

pub(crate) async fn sink(flags: &[&str]) -> Running {
    let arguments = SinkLine::try_parse_from(["sink"].iter().chain(flags)).unwrap().sink;
    let (terminal, printed, _) = Terminal::captured();
    let (sink, _failed) = Sink::new(arguments, terminal).unwrap();
    let (listener, address) = listen("127.0.0.1:0".parse().unwrap(), "--listen").await.unwrap();
    let mut tasks = TaskGroup::new();
    tasks.spawn("sink", async move {
        sink.serve(listener, Drain::never()).await.map_err(|failure| format!("{failure:?}"))
    });
    Running { address, printed, _tasks: tasks }
}

async fn send(to: &Running, flags: &[&str]) -> (Result<(), Failure>, String) {
    let url = format!("http://{}/orders", to.address);
    let fixed = ["send", &url, "--type", "order.created", "--source", "/shop"];
    let arguments = SendLine::try_parse_from(fixed.iter().chain(flags)).unwrap().send;
    let (terminal, printed, _) = Terminal::captured();
    let ended = send::run(&arguments, &terminal).await;
    (ended, printed.text())
}

/// HTTP-01, HTTP-02
#[tokio::test]
async fn an_event_is_printed_with_all_it_has_in_either_mode() {
    let sink = sink(&[]).await;
    let event = ["--id", "7", "--subject", "größe", "--data", r#"{"total": 12.50}"#, "-e", "tenant=acme"];
    let (ended, printed) = send(&sink, &event).await;
    assert_eq!((ended, printed.as_str()), (Ok(()), "7  200 OK\n"));
    send(&sink, &[&event[..], &["--structured"]].concat()).await.0.unwrap();
    let shown = sink.printed.text();
    for (mode, part) in ["binary", "structured"].into_iter().zip(shown.split("\n\n")) {
        assert!(part.contains(&format!("POST /orders {mode} → 200\n  order.created\n")), "{part}");
        for line in [
            "  id               7\n",
            "  subject          größe\n",
            "  tenant           acme\n",
            "    {\n      \"total\": 12.50\n    }",
        ] {
            assert!(part.contains(line), "{line:?} in {part}");
        }
    }
}

#[tokio::test]
async fn json_output_is_a_line_per_event() {
    let sink = sink(&["--output", "json"]).await;
    send(&sink, &["--count", "3", "--id", "e{n}", "--data", "{n}", "--concurrency", "1"]).await.0.unwrap();
    let lines: Vec<serde_json::Value> =
        sink.printed.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen: Vec<_> =
        lines.iter().map(|line| (line["event"]["id"].clone(), line["event"]["data"].clone())).collect();
    assert_eq!(seen, [("e1".into(), 1.into()), ("e2".into(), 2.into()), ("e3".into(), 3.into())]);
    assert!(lines.iter().all(|line| line["mode"] == "binary" && line["answered"] == 200));
}

#[tokio::test]
async fn the_first_requests_fail_when_asked_and_send_says_so() {
    let sink = sink(&["--fail-first", "2", "--status", "204"]).await;
    let (ended, _) = send(&sink, &["--id", "7"]).await;
    let message =
        format!("could not send event 7 to http://{}/orders: 503 Service Unavailable", sink.address);
    assert_eq!(ended, Err(Failure::Failed(message)));
    let (ended, summary) = send(&sink, &["--count", "4", "--rate", "1000"]).await;
    assert_eq!(ended, Err(Failure::Reported));
    assert!(summary.starts_with("accepted 3 of 4 events in "), "{summary}");
    assert!(summary.contains("failed  1 × 503 Service Unavailable\n"), "{summary}");
    assert!(summary.contains("latency  p50 "), "{summary}");
}

#[tokio::test]
async fn what_is_not_an_event_is_shown_and_refused() {
    let sink = sink(&[]).await;
    let uri: http::Uri = format!("http://{}/", sink.address).parse().unwrap();
    let client = crate::client::Client::new(&uri, Duration::from_secs(5)).unwrap();
    let answer = client.send(http::Request::post(uri).body("plain".into()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 400);
    let shown = sink.printed.text();
    assert!(shown.contains("not an event → 400") && shown.contains("this is not a CloudEvent"), "{shown}");
}

/// RPL-01
#[tokio::test]
async fn a_reply_is_an_event_with_the_data_that_was_got() {
    let sink = sink(&["--reply-type", "order.confirmed"]).await;
    let uri: http::Uri = format!("http://{}/", sink.address).parse().unwrap();
    let client = crate::client::Client::new(&uri, Duration::from_secs(5)).unwrap();
    let request = http::Request::post(uri)
        .header("ce-specversion", "1.0")
        .header("ce-id", "1")
        .header("ce-source", "/s")
        .header("ce-type", "t")
        .body(Bytes::from_static(b"[1]").into())
        .unwrap();
    let (head, body) = client.send(request).await.unwrap().into_parts();
    let body = read_all(body, 100).await.unwrap();
    let reply = trigon_core::binding::http::decode_reply(&head.headers, body).unwrap().unwrap();
    assert_eq!((reply.event_type(), reply.source()), ("order.confirmed", "/trigon/sink"));
    assert_eq!(reply.data().unwrap(), "[1]");
    assert_eq!(reply.attribute("datacontenttype"), Some("application/json"));
}

#[tokio::test]
async fn a_reply_that_would_not_be_valid_is_refused_at_the_start() {
    let arguments = SinkLine::try_parse_from(["sink", "--reply-type", ""]).unwrap().sink;
    let failure = Sink::new(arguments, Terminal::captured().0).err().unwrap();
    assert!(matches!(&failure, Failure::Usage(message) if message.contains("type")), "{failure:?}");
}
