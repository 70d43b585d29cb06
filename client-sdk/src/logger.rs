//! What the SDK has to say to a developer, handed to the app: without anything global.
//!
//! In: lines of the client's task. Out: calls of the app's function. Invariants: no text, name or token of a user is in a line; lines of other libraries, and of
//! other clients, do not come here. Not here: what is worth a line (where it happens).

use std::{
    fmt::{self, Write as _},
    sync::Arc,
};

use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::NoSubscriber,
};

/// How much a line matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum LogLevel {
    /// Something that should not be.
    Error,
    /// Something to look at.
    Warn,
    /// Now and then.
    Info,
    /// To find out why: connections, retries, moves.
    Debug,
    /// All else.
    Trace,
}

/// One line.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LogRecord {
    /// How much it matters.
    pub level: LogLevel,
    /// The part of the SDK that says it.
    pub target: &'static str,
    /// What, with what belongs to it as `name=value`.
    pub text: String,
}

/// An app's function for lines.
pub(crate) type Logger = Arc<dyn Fn(&LogRecord) + Send + Sync>;

/// Hands lines of this crate to the app.
pub(crate) struct Lines {
    logger: Logger,
    /// While there is but one subscriber, tracing asks whoever is current where a line is first met, another client's task perhaps, and takes their no for good.
    _second: Dispatch,
}

impl Lines {
    pub(crate) fn new(logger: Logger) -> Self {
        Self { logger, _second: Dispatch::new(NoSubscriber::default()) }
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with(env!("CARGO_CRATE_NAME"))
    }
    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let level = match *metadata.level() {
            Level::ERROR => LogLevel::Error,
            Level::WARN => LogLevel::Warn,
            Level::INFO => LogLevel::Info,
            Level::DEBUG => LogLevel::Debug,
            Level::TRACE => LogLevel::Trace,
        };
        let mut line = Line::default();
        event.record(&mut line);
        (self.logger)(&LogRecord { level, target: metadata.target(), text: line.message + &line.fields });
    }
    // There are no spans.
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_line_has_what_belongs_to_it_and_lines_of_others_do_not_come() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&lines);
        let logger: Logger = Arc::new(move |line| seen.lock().expect("no panic").push(line.clone()));
        tracing::subscriber::with_default(Lines::new(logger), || {
            tracing::warn!(edge = %"host:1", tries = 3, "not there");
            tracing::error!(target: "quinn", "somebody else's");
        });
        let line = LogRecord { level: LogLevel::Warn, target: module_path!(), text: "not there edge=host:1 tries=3".to_owned() };
        assert_eq!(*lines.lock().expect("no panic"), [line]);
    }

    #[test]
    fn a_line_that_is_first_met_by_a_client_without_a_logger_comes_all_the_same() {
        let say = || tracing::warn!("often");
        let lines = Arc::new(Mutex::new(0));
        let seen = Arc::clone(&lines);
        let subscriber = Dispatch::new(Lines::new(Arc::new(move |_| *seen.lock().expect("no panic") += 1)));
        say();
        tracing::dispatcher::with_default(&subscriber, say);
        assert_eq!(*lines.lock().expect("no panic"), 1);
    }
}
