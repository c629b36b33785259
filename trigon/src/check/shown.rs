//! What a filter lab found, for people.

use std::fmt::Write;

use jiff::tz::TimeZone;

use crate::admin::lab::view::{ComparisonView, GroupView, LabView, SampleView};
use crate::shown::plain;
use crate::table::{Cell, Table};
use crate::terminal::{BAD, BOLD, DIM, GOOD, styled};

use super::count;

/// One block per Trigger, below a line about the events.
pub(super) fn lab(lab: &LabView) -> String {
    let mut text = format!("{}: {}\n", styled(BOLD, &lab.broker), events(lab));
    for comparison in &lab.triggers {
        text.push_str(&trigger(comparison));
    }
    if !lab.skipped.is_empty() {
        let skipped = format!("skipped, because of other brokers: {}", lab.skipped.join(", "));
        writeln!(text, "\n{}", styled(DIM, skipped)).expect("a String takes every text");
    }
    text
}

fn events(lab: &LabView) -> String {
    let mut parts = Vec::new();
    match (&lab.from, &lab.to) {
        (Some(from), Some(to)) => {
            let which = if lab.all { "all that there are" } else { "the last" };
            let (events, from, to) = (figure(lab.events, "event"), local(from), local(to));
            parts.push(format!("{events}, {which}, accepted {from} to {to}"));
        }
        _ => parts.push("no events yet, so nothing can be said".to_owned()),
    }
    for (number, what) in [
        (lab.sent_again, "sent again to one Trigger and passed over"),
        (lab.undecodable, "not CloudEvents and passed over"),
        (lab.missed, "removed by retention meanwhile"),
    ] {
        if number > 0 {
            parts.push(format!("{number} {what}"));
        }
    }
    parts.join("; ")
}

fn trigger(comparison: &ComparisonView) -> String {
    let events = comparison.events;
    let matched = share(comparison.matched, events);
    let style = if comparison.matched == 0 && events > 0 { BAD } else { GOOD };
    let matches = styled(style, format_args!("matches {matched}"));
    let beside = match (&comparison.running, comparison.unchanged) {
        (None, _) => "a new trigger".to_owned(),
        (Some(_), true) => "the filter in force, unchanged".to_owned(),
        (Some(_), false) => format!("the one in force {}", share(comparison.matched_by_running, events)),
    };
    let name = styled(BOLD, &comparison.trigger);
    let mut text = format!("\n{name}  {matches}  {}\n", styled(DIM, beside));
    text.push_str(&detail("new", &comparison.filter));
    if let Some(running) = comparison.running.as_ref().filter(|_| !comparison.unchanged) {
        text.push_str(&detail("now", running));
    }
    let gains = if comparison.running.is_some() { "gains" } else { "takes" };
    text.push_str(&group(GOOD, '+', gains, &comparison.gained));
    text.push_str(&group(BAD, '-', "loses", &comparison.lost));
    for warning in &comparison.warnings {
        let message = plain(&warning.message);
        writeln!(text, "  {}: {message}", styled(BAD, "warning")).expect("a String takes every text");
        if warning.kind == "matches_nothing" {
            text.push_str(&samples(&comparison.unmatched));
        }
    }
    text
}

fn detail(name: &str, words: &str) -> String {
    format!("  {} {}\n", styled(DIM, format_args!("{name}:")), plain(words))
}

fn group(style: anstyle::Style, sign: char, verb: &str, group: &GroupView) -> String {
    if group.count == 0 {
        return String::new();
    }
    let some = if group.samples.len() < usize::try_from(group.count).unwrap_or(usize::MAX) {
        ", some of them"
    } else {
        ""
    };
    let head = styled(style, format_args!("{sign} {verb} {}", figure(group.count, "event")));
    format!("  {head}{}\n{}", styled(DIM, some), samples(&group.samples))
}

/// A table without its head, indented.
fn samples(samples: &[SampleView]) -> String {
    let mut table = Table::new(&["", "", "", "", ""]);
    for sample in samples {
        let reason = sample.reason.as_deref().filter(|reason| !reason.is_empty());
        table.row([
            Cell::styled(DIM, local(&sample.accepted)),
            Cell::text(plain(&sample.event_type)),
            Cell::text(plain(&sample.source)),
            Cell::text(plain(&sample.id)),
            reason.map_or_else(|| Cell::text(""), |reason| Cell::styled(DIM, plain(reason))),
        ]);
    }
    table.text().lines().skip(1).map(|line| format!("      {}\n", line.trim_end())).collect()
}

/// `412 (4.1 %)`
fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return part.to_string();
    }
    // In tenths of a percent, rounded; what is there is not shown as nothing, and what is missing not as all.
    let tenths = (u128::from(part) * 2_000 + u128::from(whole)) / (u128::from(whole) * 2);
    let percent = match tenths {
        0 if part > 0 => "<0.1".to_owned(),
        1_000 if part < whole => ">99.9".to_owned(),
        _ => format!("{}.{}", tenths / 10, tenths % 10),
    };
    format!("{part} ({percent} %)")
}

fn figure(number: u64, noun: &str) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), noun)
}

/// A time of the log in the machine's time zone, to the second.
fn local(time: &str) -> String {
    let read = time.parse::<jiff::Timestamp>();
    read.map_or_else(
        |_| plain(time),
        |time| time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::lab::view::WarningView;

    fn said(view: &LabView) -> String {
        anstream::adapter::strip_str(&lab(view)).to_string()
    }

    fn sample(id: &str, event_type: &str, reason: &str) -> SampleView {
        SampleView {
            accepted: "not a time".to_owned(),
            id: id.to_owned(),
            source: "/shop".to_owned(),
            event_type: event_type.to_owned(),
            reason: Some(reason.to_owned()),
            ..SampleView::default()
        }
    }

    #[test]
    fn a_changed_filter_is_a_line_of_figures_with_what_it_gains_and_loses_below() {
        let view = LabView {
            broker: "default/shop".to_owned(),
            last: 1_000,
            events: 1_000,
            from: Some("start".to_owned()),
            to: Some("end".to_owned()),
            undecodable: 2,
            triggers: vec![ComparisonView {
                trigger: "default/orders".to_owned(),
                filter: "type is \"b\"".to_owned(),
                running: Some("type is \"a\"".to_owned()),
                events: 1_000,
                matched: 41,
                matched_by_running: 999,
                gained: GroupView {
                    count: 1,
                    samples: vec![sample("7", "b", "type is \"a\", but it is \"b\"")],
                },
                lost: GroupView {
                    count: 959,
                    samples: vec![sample("x\u{1b}[2J", "aaa", "no"), sample("9", "a", "")],
                },
                ..ComparisonView::default()
            }],
            skipped: vec!["default/audit".to_owned()],
            ..LabView::default()
        };
        let expected = "\
default/shop: 1000 events, the last, accepted start to end; 2 not CloudEvents and passed over

default/orders  matches 41 (4.1 %)  the one in force 999 (99.9 %)
  new: type is \"b\"
  now: type is \"a\"
  + gains 1 event
      not a time  b  /shop  7  type is \"a\", but it is \"b\"
  - loses 959 events, some of them
      not a time  aaa  /shop  x·[2J  no
      not a time  a    /shop  9

skipped, because of other brokers: default/audit
";
        assert_eq!(said(&view), expected);
    }

    #[test]
    fn a_new_trigger_that_matches_nothing_shows_what_came_instead() {
        let warning =
            |kind: &str, message: &str| WarningView { kind: kind.to_owned(), message: message.to_owned() };
        let view = LabView {
            broker: "default/shop".to_owned(),
            last: 10,
            events: 3,
            all: true,
            from: Some("start".to_owned()),
            to: Some("end".to_owned()),
            triggers: vec![ComparisonView {
                trigger: "default/orders".to_owned(),
                filter: "type is \"oder\"".to_owned(),
                events: 3,
                unmatched: vec![sample("1", "order", "type is \"oder\", but it is \"order\"")],
                warnings: vec![warning("matches_nothing", "none"), warning("errors", "some")],
                ..ComparisonView::default()
            }],
            ..LabView::default()
        };
        let expected = "\
default/shop: 3 events, all that there are, accepted start to end

default/orders  matches 0 (0.0 %)  a new trigger
  new: type is \"oder\"
  warning: none
      not a time  order  /shop  1  type is \"oder\", but it is \"order\"
  warning: some
";
        assert_eq!(said(&view), expected);
        let empty = LabView { events: 0, from: None, to: None, triggers: Vec::new(), ..view };
        assert_eq!(said(&empty), "default/shop: no events yet, so nothing can be said\n");
    }

    #[test]
    fn a_share_is_one_of_the_events_that_the_filter_was_tried_on() {
        let of = |trigger: &str, events: u64| ComparisonView {
            trigger: trigger.to_owned(),
            events,
            matched: events,
            ..ComparisonView::default()
        };
        // While the second was asked for, more events came.
        let view = LabView { events: 10, triggers: vec![of("a", 10), of("b", 12)], ..LabView::default() };
        let text = said(&view);
        assert!(text.contains("matches 10 (100.0 %)") && text.contains("matches 12 (100.0 %)"), "{text}");
    }

    #[test]
    fn a_share_is_not_rounded_to_nothing_or_to_all() {
        for (part, whole, shown) in [
            (0, 0, "0"),
            (0, 10, "0 (0.0 %)"),
            (1, 10_000, "1 (<0.1 %)"),
            (1, 3, "1 (33.3 %)"),
            (2, 3, "2 (66.7 %)"),
            (9_999, 10_000, "9999 (>99.9 %)"),
            (10, 10, "10 (100.0 %)"),
        ] {
            assert_eq!(share(part, whole), shown);
        }
    }
}
