//! What happened, in order: a hash of it always, its lines when asked for.
//!
//! In: events with their numbers, and the simulated time. Out: a hash; equal seeds must give equal ones. Bound: [`LINES_MAX`] lines are
//! kept, the newest.

use std::{collections::VecDeque, fmt::Write as _, time::Duration};

/// Lines that are kept.
const LINES_MAX: usize = 200_000;

/// The trace of a run.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    events: u64,
    lines: Option<VecDeque<String>>,
}

impl Trace {
    /// An empty one. Keeps lines if `verbose`.
    pub(crate) fn new(verbose: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, events: 0, lines: verbose.then(VecDeque::new) }
    }
    /// Notes an event.
    pub(crate) fn note(&mut self, at: Duration, what: &'static str, numbers: &[u64]) {
        self.events += 1;
        let micros = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
        what.bytes().for_each(|byte| self.mix(u64::from(byte)));
        self.mix(micros);
        numbers.iter().for_each(|number| self.mix(*number));
        if let Some(lines) = &mut self.lines {
            if lines.len() >= LINES_MAX {
                lines.pop_front();
            }
            let mut line = format!("{:>10.3} ms  {what}", at.as_secs_f64() * 1_000.0);
            for number in numbers {
                let _ = write!(line, " {number}");
            }
            lines.push_back(line);
        }
    }
    /// Of everything noted.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
    /// How much was noted.
    pub(crate) fn events(&self) -> u64 {
        self.events
    }
    /// The lines kept.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().flatten().map(String::as_str)
    }

    fn mix(&mut self, number: u64) {
        self.hash = (self.hash ^ number).wrapping_mul(0x0000_0100_0000_01b3);
    }
}
