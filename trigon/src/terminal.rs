//! Standard output and standard error: the only place that writes to them.
//!
//! Results go to standard output, everything about them to standard error. Colours are left out where nobody
//! sees them. A reader that went away ends the command quietly, as [`Failure::OutputClosed`].

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;

use crate::failure::Failure;

/// Where a command writes. Cloning shares the streams.
#[derive(Clone)]
pub(crate) struct Terminal {
    streams: Arc<Mutex<Streams>>,
    shows_progress: bool,
}

struct Streams {
    output: Box<dyn Write + Send>,
    error: Box<dyn Write + Send>,
}

/// The form of a command's results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON value, or one per line.
    Json,
}

/// What is worth finding at a glance.
pub(crate) const BOLD: Style = Style::new().bold();
/// What is there for completeness.
pub(crate) const DIM: Style = Style::new().dimmed();
/// What went well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What needs a look.
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
/// Names of things.
pub(crate) const NAME: Style = AnsiColor::Cyan.on_default();

impl Terminal {
    /// The streams of the process.
    pub(crate) fn of_process() -> Self {
        let output = Box::new(anstream::AutoStream::auto(io::stdout()));
        let error = Box::new(anstream::AutoStream::auto(io::stderr()));
        let shows_progress = io::stderr().is_terminal();
        Self { streams: Arc::new(Mutex::new(Streams { output, error })), shows_progress }
    }

    /// Writes a result, which ends with a line break of its own, to standard output.
    pub(crate) fn print(&self, result: impl Display) -> Result<(), Failure> {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let output = &mut streams.output;
        // Flushed at once: whoever reads a pipe waits for this line, and the next one may be long in coming.
        write!(output, "{result}").and_then(|()| output.flush()).map_err(|error| failure(&error))
    }

    /// Writes a line to standard error.
    pub(crate) fn note(&self, line: impl Display) -> Result<(), Failure> {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(streams.error, "{line}").map_err(|error| failure(&error))
    }

    /// Replaces the line of progress on standard error, when somebody looks at it; an empty one removes it.
    pub(crate) fn progress(&self, line: impl Display) -> Result<(), Failure> {
        if !self.shows_progress {
            return Ok(());
        }
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let error = &mut streams.error;
        write!(error, "\r\x1b[2K{line}").and_then(|()| error.flush()).map_err(|error| failure(&error))
    }
}

/// A text in a style.
pub(crate) fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

fn failure(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::OutputClosed,
        _ => Failure::of("could not write the output", error),
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! A terminal whose streams a test reads.

    use super::*;

    /// What was written.
    #[derive(Clone, Default)]
    pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        /// All of it so far, without colours.
        pub(crate) fn text(&self) -> String {
            let bytes = self.0.lock().unwrap().clone();
            anstream::adapter::strip_str(&String::from_utf8(bytes).unwrap()).to_string()
        }
    }

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Terminal {
        /// A terminal, and its standard output and error.
        pub(crate) fn captured() -> (Self, Written, Written) {
            let (output, error) = (Written::default(), Written::default());
            (Self::of(output.clone(), error.clone()), output, error)
        }

        /// A terminal that writes here.
        pub(crate) fn of(output: impl Write + Send + 'static, error: impl Write + Send + 'static) -> Self {
            let streams = Streams { output: Box::new(output), error: Box::new(error) };
            Self { streams: Arc::new(Mutex::new(streams)), shows_progress: false }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Closed(io::ErrorKind);

    impl Write for Closed {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_ends_quietly_and_a_full_disk_does_not() {
        let terminal = Terminal::of(Closed(io::ErrorKind::BrokenPipe), io::sink());
        assert_eq!(terminal.print("x\n"), Err(Failure::OutputClosed));
        let terminal = Terminal::of(Closed(io::ErrorKind::StorageFull), io::sink());
        let failure = terminal.print("x\n").unwrap_err();
        assert!(failure.message().unwrap().starts_with("could not write the output: "), "{failure:?}");
    }

    #[test]
    fn results_and_notes_go_to_streams_of_their_own() {
        let (terminal, output, error) = Terminal::captured();
        terminal.print(format!("{}\n", styled(GOOD, "sent"))).unwrap();
        terminal.note("one event").unwrap();
        terminal.progress("50 %").unwrap();
        assert_eq!((output.text(), error.text()), ("sent\n".to_owned(), "one event\n".to_owned()));
    }
}
