//! After heal, every channel that is tried acks in time. A channel stands for its group: the runner tries one of each.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Property;
use super::book::{Book, ChannelIx, Fact, What};
use super::finding::{Anomaly, Findings};
use crate::history::{Nanos, Outcome};

pub(super) struct Liveness {
    healed_at: Option<Nanos>,
    within: Nanos,
    /// By channel: first attempt after heal, and whether an answer came in time.
    tried: BTreeMap<ChannelIx, (Nanos, bool)>,
    last: Nanos,
}

impl Liveness {
    pub(super) fn new(healed_at: Option<Nanos>, within: Duration) -> Self {
        Self { healed_at, within: within.as_nanos() as u64, tried: BTreeMap::new(), last: 0 }
    }
}

impl Property for Liveness {
    fn observe(&mut self, _: &Book, fact: &Fact<'_>, _: &mut Findings) {
        self.last = fact.at;
        let Some(healed_at) = self.healed_at.filter(|healed_at| fact.at >= *healed_at) else { return };
        let What::Send { channel, is_not_member, .. } = &fact.what else { return };
        match fact.outcome {
            Outcome::Invoke => {
                self.tried.entry(*channel).or_insert_with(|| (fact.at.max(healed_at), false));
            }
            // A refusal for good was logged: that group works.
            Outcome::Ok | Outcome::Fail { is_final: true } => self.answer(*channel, fact.at),
            Outcome::Fail { .. } if *is_not_member => self.answer(*channel, fact.at),
            Outcome::Fail { .. } | Outcome::Info => {}
        }
    }

    fn finish(&mut self, book: &Book, findings: &mut Findings) {
        let Some(healed_at) = self.healed_at else { return };
        if self.tried.is_empty() {
            findings.unknown("nothing was sent after heal, so nothing is known about who serves again".to_owned());
        }
        for (channel, (tried, is_answered)) in &self.tried {
            let waited = self.last.saturating_sub(*tried);
            if !is_answered && waited >= self.within {
                let after = (tried - healed_at) / 1_000_000;
                findings.report(Anomaly::NotLive, || {
                    format!("{}: first tried {after} ms after heal, no ack within {} ms", book.channel(*channel), self.within / 1_000_000)
                });
            }
        }
    }
}

impl Liveness {
    fn answer(&mut self, channel: ChannelIx, at: Nanos) {
        let within = self.within;
        let entry = self.tried.entry(channel).or_insert((at, true));
        entry.1 |= at <= entry.0.saturating_add(within);
    }
}
