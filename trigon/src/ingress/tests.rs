//! What the flags mean.

use clap::Parser;

use super::*;

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
