//! Whether the run was able to show anything: its faults bit, its load was enough, its unknown share small. And its figures.

use super::Expect;
use super::book::{Book, Fact, Later, What};
use super::finding::{Anomaly, Figures, Findings, Spread};
use crate::history::{FaultEvent, FaultOutcome, Nanos, Outcome};
use crate::name::Nemesis;

const SECOND: u64 = 1_000_000_000;

/// When the last fault was healed; none where there was no fault.
pub(super) fn healed_at(faults: &[FaultEvent]) -> Option<Nanos> {
    changed_at(faults.iter().filter(|fault| fault.nemesis != Nemesis::None))
}

/// When the harness last touched a node, be it after the faults and the load.
pub(super) fn changed_at<'f>(faults: impl IntoIterator<Item = &'f FaultEvent>) -> Option<Nanos> {
    faults.into_iter().filter(|fault| fault.outcome == FaultOutcome::Healed).last().map(|fault| fault.time)
}

pub(super) struct Coverage {
    expect: Expect,
    faults: Vec<FaultEvent>,
    /// Total outages with the time to come back, in order, not overlapping.
    outages: Vec<(Nanos, Nanos)>,
    /// Heals whose first ack is still awaited, as an index into `heals`.
    heals: Vec<Nanos>,
    awaited: usize,
    recoveries: Vec<u64>,
    first: Option<Nanos>,
    last_load: Nanos,
    last_ack: Option<Nanos>,
    acked_outside: u64,
    silence_max: u64,
}

impl Coverage {
    pub(super) fn new(expect: &Expect, faults: &[FaultEvent]) -> Self {
        let mut outages: Vec<(Nanos, Nanos)> = Vec::new();
        for (n, fault) in faults.iter().enumerate().filter(|(_, fault)| fault.nemesis.is_total_outage() && fault.outcome == FaultOutcome::Installed) {
            let healed = faults[n..]
                .iter()
                .find(|other| other.nemesis == fault.nemesis && other.target == fault.target && other.outcome == FaultOutcome::Healed);
            let end = healed.map_or(Nanos::MAX, |healed| healed.time.saturating_add(expect.ack_within.as_nanos() as u64));
            match outages.last_mut() {
                Some(last) if last.1 >= fault.time => last.1 = last.1.max(end),
                _ => outages.push((fault.time, end)),
            }
        }
        Self {
            expect: expect.clone(),
            faults: faults.to_vec(),
            outages,
            heals: faults
                .iter()
                .filter(|fault| fault.outcome == FaultOutcome::Healed && fault.nemesis != Nemesis::None)
                .map(|fault| fault.time)
                .collect(),
            awaited: 0,
            recoveries: Vec::new(),
            first: None,
            last_load: 0,
            last_ack: None,
            acked_outside: 0,
            silence_max: 0,
        }
    }

    pub(super) fn observe(&mut self, fact: &Fact<'_>) {
        let first = *self.first.get_or_insert(fact.at);
        let is_load = self.expect.load.is_none_or(|load| fact.at.saturating_sub(first) <= load.as_nanos() as u64);
        // What is asked when the load is over is no load.
        let is_asked_last = match &fact.what {
            What::Read { is_final, .. } | What::Edited { is_final, .. } => *is_final,
            What::Later { step, .. } => matches!(step, Later::Count(_)),
            What::Named { takes, .. } => !takes,
            what => matches!(what, What::Received { .. } | What::Hook { .. } | What::Searched { .. } | What::Unread { .. } | What::Push { .. }),
        };
        if is_asked_last {
            return;
        }
        if fact.outcome == Outcome::Invoke && is_load {
            self.last_load = fact.at;
        }
        if fact.outcome != Outcome::Ok {
            return;
        }
        if matches!(fact.what, What::Send { .. }) {
            while self.heals.get(self.awaited).is_some_and(|heal| *heal <= fact.at) {
                self.recoveries.push((fact.at - self.heals[self.awaited]) / 1_000_000);
                self.awaited += 1;
            }
        }
        if !is_load {
            return;
        }
        self.last_load = fact.at;
        let before = self.last_ack.replace(fact.at).unwrap_or(fact.at);
        let is_out = |from: Nanos, to: Nanos| self.outages.iter().any(|(begin, end)| from <= *end && to >= *begin);
        if !is_out(fact.at, fact.at) {
            self.acked_outside += 1;
        }
        if fact.at - before > self.silence_max && !is_out(before, fact.at) {
            self.silence_max = fact.at - before;
        }
    }

    pub(super) fn finish(mut self, book: &Book, lines: u64, findings: &mut Findings) -> Figures {
        let first = self.first.unwrap_or(0);
        let out: u64 = self.outages.iter().map(|(from, to)| (*to).min(self.last_load).saturating_sub((*from).max(first))).sum();
        let seconds = self.last_load.saturating_sub(first).saturating_sub(out) as f64 / SECOND as f64;
        let acked_per_second = if seconds > 0.0 { self.acked_outside as f64 / seconds } else { 0.0 };
        let unknown = book.invoked.saturating_sub(book.acked + book.failed);
        let unknown_per_mille = unknown * 1_000 / book.invoked.max(1);
        if acked_per_second < self.expect.acked_per_second_min {
            let floor = self.expect.acked_per_second_min;
            findings.unknown(format!("{acked_per_second:.1} acked operations a second outside total outages, below the floor of {floor}"));
        }
        if unknown_per_mille > self.expect.unknown_per_mille_max {
            findings.unknown(format!("the fate of {unknown_per_mille} in 1,000 operations is unknown"));
        }
        for nemesis in self.expect.required.iter().filter(|nemesis| **nemesis != Nemesis::None) {
            self.require(*nemesis, findings);
        }
        if self.expect.snapshots {
            self.require_snapshot(findings);
        }
        self.recoveries.sort_unstable();
        let sent = || book.all().filter(|(_, message)| message.attempts > 0);
        let is_bit = |fault: &&FaultEvent| {
            fault.outcome == FaultOutcome::Installed && fault.evidence.bit.is_some_and(|bit| bit > 0) || self.is_bit_later(fault)
        };
        Figures {
            lines,
            invoked: book.invoked,
            acked: book.acked,
            failed: book.failed,
            unknown,
            messages: sent().count() as u64,
            messages_acked: sent().filter(|(_, message)| message.acked_at.is_some()).count() as u64,
            messages_recovered: sent().filter(|(_, message)| message.acked_at.is_none() && message.place.is_some()).count() as u64,
            channels: book.channels.len() as u64,
            acked_per_second,
            unknown_per_mille,
            recovery_ms: Spread {
                count: self.recoveries.len() as u64,
                p50: self.recoveries.get(self.recoveries.len() / 2).copied().unwrap_or(0),
                max: self.recoveries.last().copied().unwrap_or(0),
            },
            silence_max_ms: self.silence_max / 1_000_000,
            faults_installed: self.faults.iter().filter(|fault| fault.outcome == FaultOutcome::Installed).count() as u64,
            faults_bit: self.faults.iter().filter(|fault| fault.outcome == FaultOutcome::Installed).filter(is_bit).count() as u64,
        }
    }

    /// The counters of a fault over its whole life stand on its heal.
    fn is_bit_later(&self, fault: &FaultEvent) -> bool {
        let healed = self.faults.iter().find(|other| {
            other.outcome == FaultOutcome::Healed && other.nemesis == fault.nemesis && other.target == fault.target && other.time >= fault.time
        });
        healed.and_then(|healed| healed.evidence.bit).is_some_and(|bit| bit > 0)
    }

    /// A node that was away for longer than any log reaches back must have installed a snapshot.
    fn require_snapshot(&self, findings: &mut Findings) {
        let back = self.faults.iter().rfind(|fault| fault.nemesis == Nemesis::None && fault.outcome == FaultOutcome::Healed);
        match back.map(|fault| fault.evidence.bit) {
            Some(Some(1..)) => {}
            Some(_) => findings.report(Anomaly::FaultNeverBit, || "a node came back without a snapshot, so logs were not cut".to_owned()),
            None => findings.unknown("no node was restarted from a snapshot".to_owned()),
        }
    }

    fn require(&self, nemesis: Nemesis, findings: &mut Findings) {
        let of = || self.faults.iter().filter(move |fault| fault.nemesis == nemesis);
        if of().any(|fault| fault.evidence.bit.is_some_and(|bit| bit > 0) && matches!(fault.outcome, FaultOutcome::Installed | FaultOutcome::Healed))
        {
            return;
        }
        if of().any(|fault| fault.outcome == FaultOutcome::Installed) {
            findings.report(Anomaly::FaultNeverBit, || nemesis.to_string());
        } else if let Some(skipped) = of().find(|fault| fault.outcome == FaultOutcome::Skipped) {
            findings.unknown(format!("{nemesis} could not be made here: {}", skipped.evidence.note));
        } else {
            findings.unknown(format!("{nemesis} was never in place"));
        }
    }
}
