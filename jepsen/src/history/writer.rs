//! Writes a history, one line an event.

use std::io::{self, Write};

use super::event::{Event, Nanos};
use super::fault::FaultEvent;
use super::line::Line;

/// Appends lines to a file. Whoever stamps the time writes under the same lock, so that `time` never goes back.
pub struct Writer<W: Write> {
    to: W,
    last: Nanos,
}

impl<W: Write> Writer<W> {
    /// Writes to `to`, which should be buffered.
    pub fn new(to: W) -> Self {
        Self { to, last: 0 }
    }

    /// Appends one event.
    ///
    /// # Errors
    /// The line cannot be written.
    ///
    /// # Panics
    /// Its time is before the last one's.
    pub fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        self.stamp(event.time);
        serde_json::to_writer(&mut self.to, &Line::of(event))?;
        self.to.write_all(b"\n")
    }

    /// Appends one fault line (of `nemesis.jsonl`, a file of its own).
    ///
    /// # Errors
    /// The line cannot be written.
    ///
    /// # Panics
    /// Its time is before the last one's.
    pub fn fault(&mut self, fault: &FaultEvent) -> io::Result<()> {
        self.stamp(fault.time);
        serde_json::to_writer(&mut self.to, fault)?;
        self.to.write_all(b"\n")
    }

    /// Hands everything to the file.
    ///
    /// # Errors
    /// The file refuses.
    pub fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }

    /// Flushes and gives the file back.
    ///
    /// # Errors
    /// The file refuses.
    pub fn into_inner(mut self) -> io::Result<W> {
        self.to.flush()?;
        Ok(self.to)
    }

    fn stamp(&mut self, time: Nanos) {
        assert!(time >= self.last, "time goes back from {} to {time}", self.last);
        self.last = time;
    }
}
