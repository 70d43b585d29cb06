//! Streams a history from a file, line by line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::event::{Event, Nanos};
use super::fault::FaultEvent;
use super::line::{Line, ShapeError};

/// Longest line that is read: a longer one is refused, so that one read cannot fill the memory.
pub const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A line that says nothing this format knows.
#[derive(Debug, thiserror::Error)]
#[error("{file}, line {line}")]
pub struct LineError {
    /// Name of the file.
    pub file: String,
    /// Number of the line, from 1.
    pub line: u64,
    /// What is wrong.
    #[source]
    pub cause: LineCause,
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct LineCause(#[from] Cause);

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Shape(#[from] ShapeError),
    #[error("not a line of this format")]
    Json(#[from] serde_json::Error),
    #[error("the line is cut short: the writer stopped in the middle")]
    Torn,
    #[error("longer than {LINE_BYTES_MAX} bytes")]
    TooLong,
    #[error("time goes back from {before} to {time}")]
    TimeBack { before: Nanos, time: Nanos },
}

/// Why a history cannot be read further.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file.
    #[error("reading {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A line.
    #[error(transparent)]
    Line(#[from] LineError),
}

/// Reads events in the order of the file. Stops at the first error.
pub struct Reader<R> {
    from: R,
    path: PathBuf,
    buffer: Vec<u8>,
    line: u64,
    last: Nanos,
}

impl Reader<BufReader<File>> {
    /// Opens a history.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        let file = File::open(path).map_err(|cause| HistoryError::Io { path: path.to_owned(), cause })?;
        Ok(Self::new(BufReader::with_capacity(1 << 20, file), path))
    }
}

impl<R: BufRead> Reader<R> {
    /// Reads from anything; `path` only names it in errors.
    pub fn new(from: R, path: &Path) -> Self {
        Self { from, path: path.to_owned(), buffer: Vec::new(), line: 0, last: 0 }
    }

    /// The next event with the number of its line, or none at the end. Empty lines are passed over.
    ///
    /// # Errors
    /// The file cannot be read, or the line is no event, is cut short, or is earlier than the one before it.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<(u64, Event<'_>)>, HistoryError> {
        if !next_line(&mut self.from, &self.path, &mut self.buffer, &mut self.line)? {
            return Ok(None);
        }
        let event = Line::parse(&self.buffer).map_err(|cause| line_error(&self.path, self.line, cause.into()))?;
        if event.time < self.last {
            return Err(line_error(&self.path, self.line, Cause::TimeBack { before: self.last, time: event.time }).into());
        }
        self.last = event.time;
        Ok(Some((self.line, event)))
    }
}

fn line_error(path: &Path, line: u64, cause: Cause) -> LineError {
    let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    LineError { file, line, cause: cause.into() }
}

/// Puts the next line that is not empty into `buffer`; false at the end.
fn next_line(from: &mut impl BufRead, path: &Path, buffer: &mut Vec<u8>, line: &mut u64) -> Result<bool, HistoryError> {
    loop {
        buffer.clear();
        let limit = LINE_BYTES_MAX as u64 + 2;
        let count = from.by_ref().take(limit).read_until(b'\n', buffer).map_err(|cause| HistoryError::Io { path: path.to_owned(), cause })?;
        if count == 0 {
            return Ok(false);
        }
        *line += 1;
        if buffer.last() != Some(&b'\n') {
            let cause = if count as u64 == limit { Cause::TooLong } else { Cause::Torn };
            return Err(line_error(path, *line, cause).into());
        }
        if !buffer.trim_ascii().is_empty() {
            return Ok(true);
        }
    }
}

/// Reads a whole `nemesis.jsonl`, which is short.
///
/// # Errors
/// The file cannot be read, or a line is no fault.
pub fn read_faults(path: &Path) -> Result<Vec<FaultEvent>, HistoryError> {
    let file = File::open(path).map_err(|cause| HistoryError::Io { path: path.to_owned(), cause })?;
    let (mut from, mut buffer, mut line, mut faults) = (BufReader::new(file), Vec::new(), 0, Vec::<FaultEvent>::new());
    while next_line(&mut from, path, &mut buffer, &mut line)? {
        let fault: FaultEvent = serde_json::from_slice(&buffer).map_err(|cause| line_error(path, line, cause.into()))?;
        let before = faults.last().map_or(0, |last| last.time);
        if fault.time < before {
            return Err(line_error(path, line, Cause::TimeBack { before, time: fault.time }).into());
        }
        faults.push(fault);
    }
    Ok(faults)
}
