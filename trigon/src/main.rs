//! The `trigon` binary: everything that Trigon does, started from one command line.
//!
//! Arguments → logging → the command → exit status. The environment and the arguments are read in this crate
//! only; `standalone.rs`, `ingress.rs` and `dispatcher.rs` show how the processes of the broker are put together.

use std::process::ExitCode;

use clap::Parser;
use trigon_runtime::telemetry;

use crate::arguments::{Arguments, Command};
use crate::failure::{Chain, Failure};
use crate::terminal::Terminal;

mod admin;
mod arguments;
mod check;
mod client;
mod dispatcher;
mod explain;
mod failure;
mod feed;
mod ingress;
mod kafka;
mod list;
mod listen;
mod manifests;
mod merge;
mod newest;
mod parked;
mod process;
mod remote;
mod routes;
mod send;
mod serving;
mod shown;
mod sink;
mod standalone;
mod store;
mod table;
mod tail;
mod terminal;
mod values;

/// A fifth of the CPU time per delivery went into the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let terminal = Terminal::of_process();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // Help and the version come this way too, with an exit status of 0.
        Err(error) => error.exit(),
    };
    match start(arguments, &terminal) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message() {
                // There is nowhere left to say that standard error is closed.
                drop(terminal.note(message));
            }
            failure.exit_code()
        }
    }
}

fn start(arguments: Arguments, terminal: &Terminal) -> Result<(), Failure> {
    let filter = arguments.log.filter(&arguments.command);
    telemetry::init(filter, arguments.log.format.into())
        .map_err(|error| Failure::Usage(format!("--log: {}", Chain(&error))))?;
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::of("could not start the threads of the process", &error))?;
    let ended = runtime.block_on(run(arguments.command, terminal));
    // A thread that waits for standard input must not keep the process.
    runtime.shutdown_background();
    ended
}

async fn run(command: Command, terminal: &Terminal) -> Result<(), Failure> {
    match command {
        Command::Standalone(arguments) => standalone::run(*arguments, terminal).await,
        Command::Ingress(arguments) => ingress::run(*arguments, terminal).await,
        Command::Dispatcher(arguments) => dispatcher::run(*arguments, terminal).await,
        Command::Send(arguments) => send::run(&arguments, terminal).await,
        Command::Sink(arguments) => sink::run(arguments, terminal).await,
        Command::Tail(arguments) => tail::run(&arguments, terminal).await,
        Command::Brokers(arguments) => list::brokers(&arguments, terminal).await,
        Command::Triggers(arguments) => list::triggers(&arguments, terminal).await,
        Command::Parked { command } => parked::run(&command, terminal).await,
        Command::Check(arguments) => check::run(&arguments, terminal).await,
        Command::Explain(arguments) => explain::run(&arguments, terminal).await,
        Command::Completions { shell } => terminal.print(arguments::completions(shell)?),
    }
}
