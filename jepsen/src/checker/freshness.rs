//! A linearizable read has all that was acked or seen before it began.

use super::Property;
use super::book::{Book, ChannelIx, Fact, UserIx, What};
use super::finding::{Anomaly, Findings};
use super::intern::Map;
use super::range::TimedMax;
use crate::history::Outcome;

#[derive(Default)]
pub(super) struct Freshness {
    /// By channel: the highest position that was acked or seen.
    known: Map<u32, TimedMax>,
    /// By read under way: the highest position that was known when it began.
    begun: Map<u64, u64>,
    /// Users who were ever asked to be removed: their reads may end early, rightly.
    removed: std::collections::BTreeSet<(ChannelIx, UserIx)>,
}

impl Property for Freshness {
    fn observe(&mut self, book: &Book, fact: &Fact<'_>, findings: &mut Findings) {
        match &fact.what {
            What::Send { channel, seq: Some(seq), .. } if fact.outcome == Outcome::Ok => {
                self.known.entry(channel.0).or_default().raise(fact.at, *seq)
            }
            What::Received { channel, seen: Some(seq), .. } => self.known.entry(channel.0).or_default().raise(fact.at, *seq),
            What::Member { channel, member, adds: false, .. } => {
                self.removed.insert((*channel, *member));
            }
            What::Read { channel, .. } if fact.outcome == Outcome::Invoke => {
                self.begun.insert(fact.op, self.known.get(&channel.0).map_or(0, |known| known.before(fact.at)));
            }
            What::Read { channel, is_linearizable, items, .. } => {
                let known = self.begun.remove(&fact.op).unwrap_or(0);
                if fact.outcome != Outcome::Ok {
                    return;
                }
                let is_removed = fact.user.is_some_and(|user| self.removed.contains(&(*channel, user)));
                if let Some(reach) = fact.what.reach().filter(|reach| *reach < known && *is_linearizable && !is_removed) {
                    findings.report(Anomaly::StaleRead, || {
                        format!("line {}: {} up to {reach}, when {known} was known before it began", fact.line, book.channel(*channel))
                    });
                }
                if !items.is_empty() {
                    self.known.entry(channel.0).or_default().raise(fact.at, fact.what.last());
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self, _: &Book, _: &mut Findings) {}
}
