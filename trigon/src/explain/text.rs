//! An explanation as people read it.

use trigon_core::filter::line::{Line, Mark};

use crate::admin::explained::{ExplainedEvent, ExplainedPage, ExplainedTrigger};
use crate::admin::standing::State;
use crate::failure::Failure;
use crate::shown;
use crate::terminal::{BAD, BOLD, DIM, GOOD, NAME, styled};

/// All events of a page, each with its Triggers below it, and how far it was looked for them.
pub(super) fn page(page: &ExplainedPage) -> Result<String, Failure> {
    let mut text = String::new();
    for event in &page.events {
        text.push_str(&self::event(page, event)?);
    }
    if page.more > 0 {
        text.push_str(&format!("{} older events have the same id\n", page.more));
    }
    for searched in &page.searched {
        if let Some(trouble) = &searched.trouble {
            let (partition, from) = (searched.partition, searched.from);
            let said = format!("partition {partition} was looked at from {from} on only: {trouble}");
            text.push_str(&format!("{}\n", styled(BAD, shown::plain(&said))));
        }
    }
    Ok(text)
}

fn event(page: &ExplainedPage, event: &ExplainedEvent) -> Result<String, Failure> {
    let parsed = shown::event_of(&event.event)?;
    let mut head = format!(
        "{} {} of {}",
        styled(BOLD, shown::plain(parsed.event_type())),
        styled(BOLD, shown::plain(parsed.id())),
        shown::plain(parsed.source())
    );
    if let (Some(partition), Some(offset)) = (event.partition, event.offset) {
        let broker = page.broker.as_deref().unwrap_or_default();
        let accepted = event.accepted.as_deref().unwrap_or_default();
        let place = format!("{broker} {partition}/{offset}, accepted {accepted}");
        head.push_str(&format!(" {}", styled(DIM, place)));
    }
    let mut text = format!("{head}\n");
    if let Some(only) = &event.only {
        text.push_str(&format!(
            "  sent again after it was parked, for {only} alone, whatever its filter says\n"
        ));
    }
    for explained in &event.triggers {
        text.push_str(&trigger(explained));
    }
    if event.triggers.is_empty() {
        text.push_str("  there is no trigger to want it\n");
    }
    if event.omitted > 0 {
        text.push_str(&format!("  and {} more triggers; ask about one with --trigger\n", event.omitted));
    }
    Ok(text)
}

fn trigger(explained: &ExplainedTrigger) -> String {
    let verdict = if explained.matches { styled(GOOD, "matches") } else { styled(BAD, "does not match") };
    let mut text = format!("  {} {verdict}\n", styled(NAME, &explained.trigger));
    for line in explained.explanation.lines() {
        text.push_str(&format!("    {}\n", coloured(&line)));
    }
    if let Some(other) = &explained.other_filter {
        let said = format!("the trigger in force has another filter: {other}");
        text.push_str(&format!("    {}\n", styled(BAD, shown::plain(&said))));
    }
    if let Some(standing) = &explained.standing {
        let style = match standing.state {
            State::Delivered => GOOD,
            State::DeadLettered | State::Parked | State::Retrying | State::Recovering => BAD,
            State::Elsewhere
            | State::Starting
            | State::Unread
            | State::Queued
            | State::InFlight
            | State::Finished
            | State::PassedBy => BOLD,
        };
        text.push_str(&format!("    {}\n", styled(style, shown::plain(&standing.words))));
    }
    text
}

fn coloured(line: &Line) -> String {
    let text = shown::plain(&line.to_string());
    match line.mark {
        Mark::Passes => styled(GOOD, text),
        Mark::Fails | Mark::Error => styled(BAD, text),
        Mark::Value => text,
        Mark::Skipped => styled(DIM, text),
    }
}
