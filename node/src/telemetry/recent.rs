//! The last lines of the log, kept in memory for whoever supports this node.
//!
//! In: lines as they are written. Out: the same, oldest first. Bounds: [`LINES_MAX`] and [`BYTES_MAX`]; the oldest go.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use tracing_subscriber::fmt::MakeWriter;

/// The last lines. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Recent(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Recent {
    /// All that is kept, oldest first, each with its line end.
    pub fn text(&self) -> String {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.lines.iter().map(String::as_str).collect()
    }

    fn push(&self, line: &[u8]) {
        let line = plain(&String::from_utf8_lossy(line));
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += line.len();
        kept.lines.push_back(line);
        while kept.lines.len() > LINES_MAX || kept.bytes > BYTES_MAX {
            let Some(oldest) = kept.lines.pop_front() else { break };
            kept.bytes -= oldest.len();
        }
    }
}

impl<'a> MakeWriter<'a> for Recent {
    type Writer = Both<'a>;
    fn make_writer(&'a self) -> Both<'a> {
        Both(self)
    }
}

/// Writes a line to standard error and keeps it.
#[derive(Debug)]
pub struct Both<'a>(&'a Recent);

impl Write for Both<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // A line is one write. That standard error is closed is no reason to forget it.
        self.0.push(line);
        io::stderr().write_all(line)?;
        Ok(line.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Without the colours of a terminal.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut parts = line.split('\x1b');
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        // `[` … `m`.
        text.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
    }
    text
}

/// Lines that are kept.
const LINES_MAX: usize = 2_000;
/// Their bytes.
const BYTES_MAX: usize = 512 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_the_oldest_go() {
        let recent = Recent::default();
        for number in 0..LINES_MAX + 5 {
            recent.push(format!("line {number}\n").as_bytes());
        }
        let text = recent.text();
        assert_eq!(text.lines().next(), Some("line 5"));
        assert_eq!(text.lines().count(), LINES_MAX);
        let long = [b'x'; BYTES_MAX / 2];
        (0..3).for_each(|_| recent.push(&long));
        assert!(recent.text().len() <= BYTES_MAX, "{}", recent.text().len());
    }

    #[test]
    fn colours_are_for_terminals() {
        assert_eq!(plain("\x1b[2m12:00\x1b[0m \x1b[32m INFO\x1b[0m node started\n"), "12:00  INFO node started\n");
    }
}
