//! What the SDK has to say to a developer, handed to the app.

use kith_client::LogRecord;

use crate::error::ChatError;

/// How much a line matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, uniffi::Enum)]
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

/// One line: nothing that users wrote is in it.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct LogLine {
    /// How much it matters.
    pub level: LogLevel,
    /// The part of the SDK that says it.
    pub part: String,
    /// What, with what belongs to it as `name=value`.
    pub text: String,
}

impl From<&LogRecord> for LogLine {
    fn from(line: &LogRecord) -> Self {
        let level = match line.level {
            kith_client::LogLevel::Error => LogLevel::Error,
            kith_client::LogLevel::Warn => LogLevel::Warn,
            kith_client::LogLevel::Info => LogLevel::Info,
            kith_client::LogLevel::Debug => LogLevel::Debug,
            _ => LogLevel::Trace,
        };
        Self { level, part: line.target.to_owned(), text: line.text.clone() }
    }
}

/// Is given lines; an app's own. It is called by the client's task, which waits for it: write the line and return.
#[uniffi::export(with_foreign)]
pub trait LogSink: Send + Sync {
    /// Takes a line. If it fails, the line is lost.
    fn log(&self, line: LogLine) -> Result<(), ChatError>;
}
