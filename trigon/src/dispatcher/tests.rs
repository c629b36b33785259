//! What the flags mean.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    dispatcher: DispatcherArguments,
}

fn settings(flags: &[&str]) -> Result<Settings, Failure> {
    Line::try_parse_from(["dispatcher"].iter().chain(flags)).unwrap().dispatcher.settings()
}

#[test]
fn a_dispatcher_needs_a_cluster_and_takes_the_bounds_of_what_it_does() {
    let failure = settings(&[]).err().unwrap();
    assert!(
        failure.message().unwrap().starts_with("trigon dispatcher keeps no events itself"),
        "{failure:?}"
    );
    let settings =
        settings(&["--kafka", "a:9092", "--max-attempts", "7", "--max-event-size", "2MiB"]).unwrap();
    assert_eq!((settings.dispatcher.in_flight, settings.dispatcher.reply_limit), (7, 2 << 20));
    assert!(Line::try_parse_from(["dispatcher", "--max-requests", "1"]).is_err());
}
