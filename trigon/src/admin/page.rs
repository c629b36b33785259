//! The admin port's page: everything at a glance, without scripts, renewed by itself.

use std::fmt::{self, Display, Write};

use super::view::{BrokerView, RoutesView, TriggerView};
use crate::list::rough_size;

/// How often the browser asks again, in seconds.
const REFRESH: u32 = 3;

/// The page.
///
/// A process that dispatches nothing shows no Triggers.
pub(super) fn page(brokers: &[BrokerView], triggers: Option<&[TriggerView]>, routes: &RoutesView) -> String {
    let mut html = String::with_capacity(16 * 1024);
    write(&mut html, brokers, triggers, routes).expect("a String takes every text");
    html
}

fn write(
    html: &mut String,
    brokers: &[BrokerView],
    triggers: Option<&[TriggerView]>,
    routes: &RoutesView,
) -> fmt::Result {
    write!(
        html,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"refresh\" content=\"{REFRESH}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Trigon</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <header><h1>Trigon</h1><p>routes from <b>{}</b>, generation {}, in force since {}</p></header>\n<main>\n",
        Escaped(&routes.source),
        routes.generation,
        Escaped(&routes.since)
    )?;
    if !routes.problems.is_empty() {
        problems(html, routes)?;
    }
    if brokers.is_empty() {
        html.write_str("<p class=\"empty\">There is no broker: every event is refused.</p>\n")?;
    }
    for view in brokers {
        broker(html, view, triggers)?;
    }
    html.write_str(
        "</main>\n<footer><a href=\"/v1/brokers\">brokers</a> <a href=\"/v1/triggers\">triggers</a> \
         <a href=\"/v1/routes\">routes</a> <a href=\"/metrics\">metrics</a> <a href=\"/readyz\">readiness</a>\
         </footer>\n</body>\n</html>\n",
    )
}

fn problems(html: &mut String, routes: &RoutesView) -> fmt::Result {
    let (what, then) = if routes.partly {
        (
            "The files have changed and are in force in part",
            "What follows is missing, and is tried again by itself.",
        )
    } else {
        (
            "The files have changed and are not in force",
            "Events are still routed as before. Repair what follows, and the new routes take over by themselves.",
        )
    };
    writeln!(html, "<section class=\"problems\"><h2>{what}</h2>\n<p>{then}</p>\n<ul>")?;
    for problem in &routes.problems {
        writeln!(html, "<li><code>{}</code></li>", Escaped(&problem.to_string()))?;
    }
    html.write_str("</ul></section>\n")
}

fn broker(html: &mut String, broker: &BrokerView, triggers: Option<&[TriggerView]>) -> fmt::Result {
    let on_disk = broker.bytes.map(|bytes| format!(", {} on disk", rough_size(bytes))).unwrap_or_default();
    writeln!(
        html,
        "<section>\n<h2>{} <small>broker</small></h2>\n<p class=\"facts\"><code>{}</code> {} in the log{on_disk}, {}</p>",
        Escaped(&broker.broker),
        Escaped(broker.url.as_deref().unwrap_or("taken elsewhere,")),
        count(broker.events, "event"),
        count(broker.partitions.into(), "partition"),
    )?;
    if let Some(reason) = &broker.waiting {
        writeln!(html, "<p class=\"alarm\">takes no events yet: {}</p>", Escaped(reason))?;
    }
    for stall in &broker.stalled {
        writeln!(html, "<p class=\"alarm\">stalled: {}</p>", Escaped(&stall.to_string()))?;
    }
    let Some(triggers) = triggers else {
        writeln!(
            html,
            "<p class=\"empty\">{}, which dispatchers show</p>\n</section>",
            count(u64::try_from(broker.triggers).unwrap_or(u64::MAX), "trigger")
        )?;
        return Ok(());
    };
    let mut own = triggers.iter().filter(|trigger| trigger.broker == broker.broker).peekable();
    if own.peek().is_none() {
        return html.write_str(
            "<p class=\"empty\">No triggers: events are kept, and delivered to nobody.</p>\n</section>\n",
        );
    }
    html.write_str(
        "<div class=\"wide\"><table>\n<thead><tr><th>Trigger</th><th>State</th><th>Lag</th><th>Queued</th>\
         <th>In flight</th><th>Retrying</th><th>Delivered</th><th>Dead-lettered</th><th>Parked</th></tr></thead>\n<tbody>\n",
    )?;
    for view in own {
        trigger(html, view)?;
    }
    html.write_str("</tbody>\n</table></div>\n</section>\n")
}

fn trigger(html: &mut String, trigger: &TriggerView) -> fmt::Result {
    let dead_letters = match &trigger.dead_letter_sink {
        Some(sink) => format!("<br><span class=\"word\">else</span> <code>{}</code>", Escaped(sink)),
        None => String::new(),
    };
    let oldest = match &trigger.oldest {
        Some(oldest) if trigger.lag > 0 => {
            format!("<br><span class=\"word\">oldest from</span> {}", Escaped(oldest))
        }
        _ => String::new(),
    };
    let missed = match trigger.missed_words() {
        Some(missed) => format!("<br><span class=\"alarm\">{}</span>", Escaped(&missed)),
        None => String::new(),
    };
    write!(
        html,
        "<tr><td><b>{}</b><br><span class=\"word\">when</span> {}<br><span class=\"word\">to</span> <code>{}</code>\
         {dead_letters}{oldest}{missed}</td><td><span class=\"state {state}\">{state}</span></td>",
        Escaped(&trigger.trigger),
        Escaped(&trigger.filter),
        Escaped(&trigger.subscriber),
        state = Escaped(&trigger.state),
    )?;
    for (number, alarm) in [
        (trigger.lag, Alarm::Never),
        (trigger.queued, Alarm::Never),
        (trigger.in_flight, Alarm::Never),
        (trigger.retrying, Alarm::AboveZero),
        (trigger.delivered, Alarm::Never),
        (trigger.dead_lettered, Alarm::AboveZero),
        (trigger.waiting, Alarm::AboveZero),
    ] {
        let class = match (number, alarm) {
            (0, _) => " class=\"zero\"",
            (_, Alarm::AboveZero) => " class=\"alarm\"",
            (_, Alarm::Never) => "",
        };
        write!(html, "<td{class}>{}</td>", Grouped(number))?;
    }
    html.write_str("</tr>\n")
}

/// Whether a number calls for somebody to look.
#[derive(Clone, Copy)]
enum Alarm {
    Never,
    AboveZero,
}

/// A text as HTML shows it.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// A number with its thousands apart.
struct Grouped(u64);

impl Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                f.write_char('\u{202f}')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

fn count(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", Grouped(number), if number == 1 { "" } else { "s" })
}

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #656d76; --line: #d8dee4; --back: #f6f8fa; --card: #fff;
  --good: #1a7f37; --bad: #b35900; --alarm: #cf222e; --link: #0969da }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #8d96a0; --line: #30363d; --back: #0d1117;
  --card: #161b22; --good: #3fb950; --bad: #d29922; --alarm: #f85149; --link: #58a6ff } }
* { box-sizing: border-box }
body { margin: 0; background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
header, main, footer { max-width: 72rem; margin: 0 auto; padding: 0 1.25rem }
header { padding-top: 1.5rem; display: flex; gap: 1rem; align-items: baseline; flex-wrap: wrap }
h1 { font-size: 1.5rem; margin: 0 }
h2 { font-size: 1.15rem; margin: 0 }
small, header p, .word, .facts, .zero { color: var(--soft) }
small { font-weight: normal }
header p { margin: 0 }
section { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; margin: 1.25rem 0;
  padding: 1rem 1.25rem }
.facts { margin: .1rem 0 .75rem }
.empty { color: var(--soft); margin: .5rem 0 0 }
code { font: .9em ui-monospace, monospace; color: var(--ink); overflow-wrap: anywhere }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th { color: var(--soft); font-weight: 500; font-size: .85rem; text-align: right; white-space: nowrap }
td { border-top: 1px solid var(--line); text-align: right; vertical-align: top; white-space: nowrap }
th, td { padding: .45rem 0 .45rem 1.25rem }
th:first-child, td:first-child { text-align: left; padding-left: 0; white-space: normal; min-width: 16rem }
th:nth-child(2), td:nth-child(2) { text-align: left }
.state { font-size: .85rem; color: var(--bad) }
.state::before { content: '● ' }
.active { color: var(--good) }
.alarm { color: var(--alarm); font-weight: 600 }
.problems { border-color: var(--alarm) }
.problems h2 { color: var(--alarm) }
.problems p { margin: .25rem 0 }
.problems ul { margin: .5rem 0 0; padding-left: 1.25rem }
footer { padding-bottom: 2rem; font-size: .9rem }
footer a { color: var(--link); margin-right: 1rem }
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::view::{CursorView, GapView, ProblemView, StallView};

    fn view() -> (Vec<BrokerView>, Vec<TriggerView>, RoutesView) {
        let broker = BrokerView {
            broker: "default/shop".to_owned(),
            url: Some("http://127.0.0.1:8080/default/shop".to_owned()),
            waiting: None,
            triggers: 1,
            partitions: 4,
            events: 12_345,
            bytes: Some(64 << 20),
            stalled: vec![StallView { partition: 3, reason: "<no leader>".to_owned() }],
        };
        let gap = GapView {
            cause: "retention".to_owned(),
            offsets: 7,
            from: 1,
            to: 8,
            noticed: "2026-11-21T04:00:00Z".to_owned(),
        };
        let trigger = TriggerView {
            trigger: "default/orders".to_owned(),
            broker: "default/shop".to_owned(),
            filter: "type is \"<b>\"".to_owned(),
            subscriber: "http://127.0.0.1:9000/".to_owned(),
            state: "behind".to_owned(),
            lag: 1_000_000,
            waiting: 2,
            cursors: vec![CursorView { partition: 1, watermark: 8, position: 8, end: 9, gap: Some(gap) }],
            ..TriggerView::default()
        };
        let routes = RoutesView {
            source: "./trigon.d".to_owned(),
            generation: 3,
            since: "2026-11-21T04:00:00Z".to_owned(),
            problems: Vec::new(),
            partly: false,
        };
        (vec![broker], vec![trigger], routes)
    }

    #[test]
    fn brokers_and_their_triggers_are_shown_with_their_figures() {
        let (brokers, triggers, routes) = view();
        let html = page(&brokers, Some(&triggers), &routes);
        for part in [
            "default/shop",
            "12\u{202f}345 events in the log, 64MiB on disk, 4 partitions",
            "type is &quot;&lt;b&gt;&quot;",
            "<span class=\"state behind\">behind</span>",
            "<td>1\u{202f}000\u{202f}000</td>",
            "<td class=\"alarm\">2</td>",
            "generation 3",
            "stalled: partition 3: &lt;no leader&gt;",
            "partition 1: 7 offsets missed, retention removed 1 to 8 before they were delivered",
        ] {
            assert!(html.contains(part), "{part} in\n{html}");
        }
        assert!(!html.contains("<b>\"") && !html.contains("not in force"), "{html}");
    }

    #[test]
    fn problems_of_the_files_come_first() {
        let (brokers, triggers, mut routes) = view();
        routes.problems.push(ProblemView {
            file: "a.yaml".to_owned(),
            line: 6,
            column: 3,
            field: "spec.subscribr".to_owned(),
            message: "unknown field".to_owned(),
        });
        let html = page(&brokers, Some(&triggers), &routes);
        let problem = html.find("a.yaml:6:3: spec.subscribr: unknown field").expect("it is shown");
        assert!(problem < html.find("default/shop").unwrap());
    }

    #[test]
    fn what_is_missing_is_said() {
        let (brokers, _, routes) = view();
        assert!(page(&brokers, Some(&[]), &routes).contains("delivered to nobody"));
        assert!(page(&[], Some(&[]), &routes).contains("There is no broker"));
    }
}
