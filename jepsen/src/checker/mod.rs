//! Judges a history: one file per property, each in time linear in the history, but for membership, which is searched within a bound.
//!
//! In: events in the order of time, faults, and what the run was meant to show ([`Expect`]). Out: a [`Verdict`].
//! Invariants: the same files give the same verdict on every machine; a history that is wrong in itself is never held against Kith.
//! Bounds: about 200 bytes a message, 5 a position, and the operations under way; texts are not kept.
//! Not here: reading files (`history`), making the run (the runner).

mod book;
mod coverage;
mod cursor;
mod divergence;
mod durability;
mod edit;
mod event;
mod finding;
mod freshness;
mod hook;
mod identity;
mod intern;
mod later;
mod linear;
mod liveness;
mod membership;
mod name;
mod order;
mod origin;
mod presence;
mod push;
mod range;
mod search;
mod session;
mod shape;

use std::time::Duration;

use book::{Book, Fact, Seen};
pub use finding::{Anomaly, Answer, Figures, Findings, Found, Spread, Verdict};

use crate::history::{Event, FaultEvent, HistoryError, Reader};
use crate::name::{Nemesis, Workload};
use crate::plan::Plan;

/// One promise.
trait Property {
    /// Sees each line once, in order; the book knows the line already.
    fn observe(&mut self, book: &Book, fact: &Fact<'_>, findings: &mut Findings);
    /// The history is over.
    fn finish(&mut self, book: &Book, findings: &mut Findings);
}

/// What a run was meant to show. What is absent is not asked for.
#[derive(Clone, Debug)]
pub struct Expect {
    /// Faults that must have bitten.
    pub required: Vec<Nemesis>,
    /// How many replicas must have been read in the end.
    pub nodes: Option<usize>,
    /// Acked operations per second outside total outages, below which the run shows nothing.
    pub acked_per_second_min: f64,
    /// How long the load was to last, from the first operation: what single loads do after it to end well says nothing about rate and silence.
    pub load: Option<Duration>,
    /// Operations of unknown fate in a thousand, above which the run shows nothing.
    pub unknown_per_mille_max: u64,
    /// How soon after heal a channel that is tried must ack.
    pub ack_within: Duration,
    /// How soon after heal all replicas must be equal.
    pub equal_within: Duration,
    /// The same where a replica is rebuilt.
    pub rebuilt_within: Duration,
    /// When all has settled after heal: from then on nobody who stays may be shown gone.
    pub present_within: Duration,
    /// Whether a node must have come back from a snapshot only.
    pub snapshots: bool,
    /// Whether final reads are needed: without them, nothing is said about what was kept.
    pub final_reads: bool,
    /// Examples kept of each anomaly.
    pub examples_max: usize,
    /// Steps that the search over membership may take.
    pub search_steps_max: u64,
}

impl Default for Expect {
    fn default() -> Self {
        Self {
            required: Vec::new(),
            nodes: None,
            acked_per_second_min: 0.0,
            load: None,
            unknown_per_mille_max: 900,
            ack_within: Duration::from_secs(15),
            equal_within: Duration::from_secs(60),
            rebuilt_within: Duration::from_secs(120),
            present_within: Duration::from_secs(20),
            snapshots: false,
            final_reads: true,
            examples_max: 5,
            search_steps_max: 2_000_000,
        }
    }
}

impl Expect {
    /// What a planned run must show: its faults, final reads of all its replicas, 50 acked operations a second.
    pub fn of(plan: &Plan) -> Self {
        Self {
            required: plan.required(),
            nodes: Some(usize::from(plan.request.nodes)),
            acked_per_second_min: 50.0,
            load: Some(Duration::from_secs(plan.request.seconds)),
            snapshots: plan.request.workloads.contains(&Workload::Snapshot),
            ..Self::default()
        }
    }
}

/// A check under way.
pub struct Checker {
    book: Book,
    properties: Vec<Box<dyn Property>>,
    coverage: coverage::Coverage,
    findings: Findings,
    items: Vec<Seen>,
    lines: u64,
}

impl Checker {
    /// Begins a check. `faults` are in the order of time.
    pub fn new(expect: &Expect, faults: &[FaultEvent]) -> Self {
        let healed_at = coverage::healed_at(faults);
        let changed_at = coverage::changed_at(faults);
        let equal_within = if faults.iter().any(|fault| fault.nemesis.rebuilds()) { expect.rebuilt_within } else { expect.equal_within };
        Self {
            book: Book::default(),
            properties: vec![
                Box::new(identity::Identity),
                Box::new(origin::Origin::default()),
                Box::new(shape::Shape),
                Box::new(durability::Durability::new(expect.final_reads)),
                Box::new(divergence::Divergence::new(expect, changed_at, equal_within)),
                Box::new(order::Order::default()),
                Box::new(freshness::Freshness::default()),
                Box::new(session::Session::default()),
                Box::new(event::Stream::default()),
                Box::new(cursor::Cursor::default()),
                Box::new(membership::Membership::new(expect.search_steps_max)),
                Box::new(edit::Edit::default()),
                Box::new(search::Searches::default()),
                Box::new(name::Names::default()),
                Box::new(later::Promises::default()),
                Box::new(hook::Hooks::default()),
                Box::new(presence::Presence::new(healed_at, expect.present_within)),
                Box::new(push::Pushes::new(faults.len(), healed_at, expect.present_within)),
                Box::new(liveness::Liveness::new(healed_at, expect.ack_within)),
            ],
            coverage: coverage::Coverage::new(expect, faults),
            findings: Findings::new(expect.examples_max),
            items: Vec::new(),
            lines: 0,
        }
    }

    /// Takes the next event; `line` is its number in the file.
    pub fn observe(&mut self, line: u64, event: &Event<'_>) {
        self.lines += 1;
        let Some(fact) = self.book.resolve(line, event, &mut self.items, &mut self.findings) else { return };
        self.coverage.observe(&fact);
        for property in &mut self.properties {
            property.observe(&self.book, &fact, &mut self.findings);
        }
    }

    /// Notes that the history cannot be read further, which is an error of the harness.
    pub fn broken(&mut self, error: &HistoryError) {
        self.findings.harness(|| {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(error);
            while let Some(deeper) = cause {
                let more = deeper.to_string();
                if !text.ends_with(&more) {
                    text = format!("{text}: {more}");
                }
                cause = deeper.source();
            }
            text
        });
    }

    /// The verdict.
    pub fn finish(mut self) -> Verdict {
        for property in &mut self.properties {
            property.finish(&self.book, &mut self.findings);
        }
        let figures = self.coverage.finish(&self.book, self.lines, &mut self.findings);
        Verdict::of(self.findings, figures)
    }
}

/// Judges a whole history.
pub fn check<R: std::io::BufRead>(mut reader: Reader<R>, faults: &[FaultEvent], expect: &Expect) -> Verdict {
    let mut checker = Checker::new(expect, faults);
    loop {
        match reader.next() {
            Ok(Some((line, event))) => checker.observe(line, &event),
            Ok(None) => break,
            Err(error) => {
                checker.broken(&error);
                break;
            }
        }
    }
    checker.finish()
}
