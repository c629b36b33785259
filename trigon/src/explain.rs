//! `trigon explain`: says why an event goes to a Trigger or does not, and where it stands.
//!
//! A Trigger of a file and an event of a file need nothing that runs. Everything else is asked at the admin addresses;
//! a Trigger of a file is judged here even then, so that a filter can be tried on a real event before it is in force.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::{ArgGroup, Args};
use trigon_core::binding::json;
use trigon_core::event::Event;
use trigon_core::name::{BrokerId, TriggerId};
use trigon_crds::Interest;

use crate::admin::explain::{ExplainQuestion, Room};
use crate::admin::explained::{ExplainedEvent, ExplainedPage, ExplainedTrigger};
use crate::admin::search::without_data;
use crate::check;
use crate::failure::Failure;
use crate::manifests::Manifests;
use crate::remote::{Answers, Remote, RemoteArguments, encoded};
use crate::shown;
use crate::terminal::{BAD, OutputFormat, Terminal, styled};
use crate::values::DataSource;

mod text;

/// Which event, and which Triggers.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group = ArgGroup::new("whose").args(["trigger", "broker"]).required(true).multiple(true))]
#[command(group = ArgGroup::new("which").args(["event", "id"]).required(true))]
pub(crate) struct ExplainArguments {
    /// The Trigger: a YAML file that has it, or its name in the running trigon
    #[arg(long, short, value_name = "FILE|NAMESPACE/NAME", env = "TRIGON_EXPLAIN_TRIGGER")]
    trigger: Option<String>,
    /// Of the Triggers in the file, the one with this name [default: all]
    #[arg(long, short, value_name = "[NAMESPACE/]NAME", env = "TRIGON_EXPLAIN_NAME", requires = "trigger")]
    name: Option<String>,
    /// All Triggers of this Broker; with a file, the Broker whose events are meant
    #[arg(long, short, value_name = "NAMESPACE/NAME", env = "TRIGON_EXPLAIN_BROKER")]
    broker: Option<BrokerId>,
    /// The event: a file with it in the JSON format of CloudEvents, - for standard input
    #[arg(long, short, value_name = "FILE", env = "TRIGON_EXPLAIN_EVENT")]
    event: Option<String>,
    /// The event: what was accepted with this id
    #[arg(long, env = "TRIGON_EXPLAIN_ID")]
    id: Option<String>,
    /// Only with this source, where several have that id
    #[arg(long, short, env = "TRIGON_EXPLAIN_SOURCE", conflicts_with = "event")]
    source: Option<String>,
    /// For people, or one JSON object per Broker
    #[arg(long, short, env = "TRIGON_OUTPUT", default_value = "text")]
    output: OutputFormat,
    #[command(flatten)]
    remote: RemoteArguments,
}

const EXAMPLES: &str = "\
Examples:
  trigon explain --trigger default/orders --id 17
  trigon explain --broker default/default --id 17 --source /shop
  trigon explain --trigger orders.yaml --event event.json
  trigon explain --trigger orders.yaml --id 17
  trigon explain --trigger default/orders --event - --output json <event.json | jq '.events[].triggers[].matches'

A file is read if there is one of that name; otherwise it is the name of a Trigger. With files for both, nothing needs
to run. A Trigger of a file and an --id: whether the event would match, before the file is in force.

An --id is looked for among the newest records of the Broker's topic. What is told of it is true now: WAITS, IN FLIGHT,
DELIVERED, DEAD-LETTERED and PARKED only where trigon knows it, FINISHED where the Trigger is past it and nobody knows
how. Ask all dispatchers with --admin: each knows its own partitions.

Exit status: 0 when a Trigger wants the event, 1 when none does, 2 when that could not be found out.";

/// Whether a Trigger that was asked about wants an event that was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Wanted,
    Unwanted,
}

/// Explains, and ends with exit status 1 when no Trigger wants the event.
///
/// # Errors
/// When it could not be found out, or the answer is no.
pub(crate) async fn run(arguments: &ExplainArguments, terminal: &Terminal) -> Result<(), Failure> {
    match explain(arguments, terminal).await {
        Ok(Answer::Wanted) => Ok(()),
        Ok(Answer::Unwanted) => Err(Failure::Reported),
        Err(Failure::Failed(message)) => Err(Failure::Unanswered(message)),
        Err(other) => Err(other),
    }
}

async fn explain(arguments: &ExplainArguments, terminal: &Terminal) -> Result<Answer, Failure> {
    let file = arguments.trigger.as_ref().map(PathBuf::from).filter(|path| path.exists());
    let interests = match &file {
        Some(path) => Some(of_file(path, arguments.name.as_deref(), terminal)?),
        None => None,
    };
    let pages = match (&arguments.event, interests) {
        (Some(event), Some(interests)) => vec![judged(&read_event(event)?, &interests)],
        (Some(event), None) => {
            let json = json::write(&without_data(&read_event(event)?));
            let path = path(&arguments.question()?);
            vec![Remote::new(&arguments.remote)?.ask(&path, &json).await?]
        }
        (None, Some(interests)) => {
            let mut pages = Vec::new();
            for interest in &interests {
                let mut page = look_up(arguments, arguments.question_of(interest)?, terminal).await?;
                page.events.iter_mut().try_for_each(|event| rejudge(event, interest))?;
                pages.push(page);
            }
            pages
        }
        (None, None) => vec![look_up(arguments, arguments.question()?, terminal).await?],
    };
    for page in &pages {
        match arguments.output {
            OutputFormat::Text => terminal.print(text::page(page)?)?,
            OutputFormat::Json => {
                let json = serde_json::to_string(page).expect("texts and numbers are JSON");
                terminal.print(format_args!("{json}\n"))?;
            }
        }
        page.notes.iter().try_for_each(|note| terminal.note(styled(BAD, note)))?;
    }
    // An event that is not found is no answer.
    if let (Some(id), Some(page)) = (&arguments.id, pages.iter().find(|page| page.events.is_empty())) {
        return Err(Failure::Failed(not_found(id, arguments.source.as_deref(), page)));
    }
    let mut all = pages.iter().flat_map(|page| &page.events).flat_map(|event| &event.triggers);
    Ok(if all.any(|trigger| trigger.matches) { Answer::Wanted } else { Answer::Unwanted })
}

impl ExplainArguments {
    /// What is asked about a Trigger or Broker that runs.
    fn question(&self) -> Result<ExplainQuestion, Failure> {
        if let Some(name) = &self.trigger
            && let Err(error) = name.parse::<TriggerId>()
        {
            let message =
                format!("--trigger: there is no file {name}, and as the name of a trigger: {error}");
            return Err(Failure::Usage(message));
        }
        if self.trigger.is_some() && self.broker.is_some() {
            return Err(Failure::Usage("a trigger that runs has its broker: leave --broker out".to_owned()));
        }
        if self.name.is_some() {
            return Err(Failure::Usage(
                "--name picks from a file, and --trigger names none that is there".to_owned(),
            ));
        }
        Ok(ExplainQuestion {
            id: self.id.clone(),
            source: self.source.clone(),
            trigger: self.trigger.clone(),
            broker: self.broker.as_ref().map(ToString::to_string),
        })
    }

    /// What is asked about a Trigger of a file, which may not be in force.
    fn question_of(&self, interest: &Interest) -> Result<ExplainQuestion, Failure> {
        let broker = self.broker.as_ref().or(interest.broker.as_ref()).ok_or_else(|| {
            Failure::Usage(format!(
                "{} names no broker: say with --broker whose events are meant",
                interest.trigger
            ))
        })?;
        Ok(ExplainQuestion {
            id: self.id.clone(),
            source: self.source.clone(),
            trigger: Some(interest.trigger.to_string()),
            broker: Some(broker.to_string()),
        })
    }
}

fn path(question: &ExplainQuestion) -> String {
    let given = [
        ("id", &question.id),
        ("source", &question.source),
        ("trigger", &question.trigger),
        ("broker", &question.broker),
    ];
    let given =
        given.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_ref()?))));
    format!("/v1/explain?{}", given.collect::<Vec<_>>().join("&"))
}

/// Asks all processes: each knows of its own partitions.
async fn look_up(
    arguments: &ExplainArguments,
    question: ExplainQuestion,
    terminal: &Terminal,
) -> Result<ExplainedPage, Failure> {
    let remote = Remote::new(&arguments.remote)?;
    let Answers { values, unreached } = remote.get_all::<ExplainedPage>(&path(&question)).await?;
    unreached.iter().try_for_each(|note| terminal.note(styled(BAD, note)))?;
    let merged = values.into_iter().reduce(|mut all, page| {
        all.merge(page);
        all
    });
    Ok(merged.unwrap_or_default())
}

/// The Triggers of a file that are meant.
fn of_file(path: &Path, name: Option<&str>, terminal: &Terminal) -> Result<Vec<Interest>, Failure> {
    let manifests = Manifests::read(&[path]).map_err(|error| Failure::Failed(error.to_string()))?;
    let mut interests = match manifests.interests() {
        Ok(interests) => interests,
        Err(problems) => {
            terminal.note(check::lines(&problems).trim_end())?;
            return Err(Failure::Failed(format!("could not read the filters in {}", path.display())));
        }
    };
    let names: Vec<_> = interests.iter().map(|interest| interest.trigger.to_string()).collect();
    if let Some(name) = name {
        interests.retain(|interest| interest.trigger.to_string() == name || interest.trigger.name == name);
    }
    if interests.is_empty() {
        let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let wanted = name.map(|name| format!(" {name}")).unwrap_or_default();
        return Err(Failure::Failed(format!(
            "there is no trigger{wanted} in {}, only {there}",
            path.display()
        )));
    }
    for interest in interests.iter().filter(|interest| interest.is_overriding) {
        terminal.note(format_args!(
            "{}: spec.filter is not looked at, because spec.filters is there",
            interest.trigger
        ))?;
    }
    Ok(interests)
}

fn read_event(source: &str) -> Result<Event, Failure> {
    let tried = || format!("could not read {}", if source == "-" { "standard input" } else { source });
    let bytes = match source {
        "-" => DataSource::Input.read(),
        path => fs::read(path).map(Bytes::from),
    };
    let bytes = bytes.map_err(|error| Failure::of(tried(), &error))?;
    json::parse(&bytes).map_err(|error| Failure::of(format_args!("{} as an event", tried()), &error))
}

/// What Triggers of a file make of an event.
fn judged(event: &Event, interests: &[Interest]) -> ExplainedPage {
    let filters = interests.iter().map(|interest| (interest.trigger.to_string(), &interest.filter));
    let event = ExplainedEvent::of(event, filters, &mut Room::default());
    ExplainedPage { events: vec![event], ..ExplainedPage::default() }
}

/// Puts what a Trigger of a file makes of an event in place of what the one in force does.
fn rejudge(event: &mut ExplainedEvent, interest: &Interest) -> Result<(), Failure> {
    let parsed = shown::event_of(&event.event)?;
    let explanation = interest.filter.explain(&parsed);
    let trigger = interest.trigger.to_string();
    let in_force = event.triggers.drain(..).find(|known| known.trigger == trigger);
    let matches = match &event.only {
        Some(only) => *only == trigger,
        None => explanation.passes,
    };
    let filter = interest.filter.to_string();
    let other_filter = in_force.as_ref().map(|known| known.filter.clone()).filter(|known| *known != filter);
    let standing = in_force.and_then(|known| known.standing);
    event.triggers = vec![ExplainedTrigger { trigger, matches, filter, explanation, standing, other_filter }];
    Ok(())
}

/// Where an event was looked for in vain.
fn not_found(id: &str, source: Option<&str>, page: &ExplainedPage) -> String {
    let source = source.map(|source| format!(" and source {source}")).unwrap_or_default();
    let broker = page.broker.as_deref().unwrap_or_default();
    let older: u64 = page.searched.iter().map(|searched| searched.from.saturating_sub(searched.start)).sum();
    let looked: u64 = page.searched.iter().map(|searched| searched.to.saturating_sub(searched.from)).sum();
    let rest = if older > 0 { format!("; {older} older ones were not looked at") } else { String::new() };
    format!("no event with id {id}{source} is among the newest {looked} records of {broker}{rest}")
}

#[cfg(test)]
mod tests;
