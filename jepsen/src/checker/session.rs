//! What a device sent or saw, its later reads have, on whatever node.

use super::Property;
use super::book::{Book, Fact, What};
use super::finding::{Anomaly, Findings};
use super::intern::Map;
use super::range::TimedMax;
use crate::history::Outcome;

#[derive(Default)]
pub(super) struct Session {
    /// By (device, channel).
    devices: Map<(u32, u32), Own>,
    /// By read under way: own acked and seen positions when it began.
    begun: Map<u64, (u64, u64)>,
}

#[derive(Default)]
struct Own {
    acked: TimedMax,
    seen: TimedMax,
}

impl Property for Session {
    fn observe(&mut self, book: &Book, fact: &Fact<'_>, findings: &mut Findings) {
        let device = fact.device.0;
        match &fact.what {
            What::Send { channel, seq: Some(seq), .. } if fact.outcome == Outcome::Ok => {
                self.devices.entry((device, channel.0)).or_default().acked.raise(fact.at, *seq);
            }
            What::Received { channel, seen: Some(seq), .. } => self.devices.entry((device, channel.0)).or_default().seen.raise(fact.at, *seq),
            What::Read { channel, .. } if fact.outcome == Outcome::Invoke => {
                if let Some(own) = self.devices.get(&(device, channel.0)) {
                    self.begun.insert(fact.op, (own.acked.before(fact.at), own.seen.before(fact.at)));
                }
            }
            What::Read { channel, items, .. } => {
                let (acked, seen) = self.begun.remove(&fact.op).unwrap_or((0, 0));
                if fact.outcome != Outcome::Ok {
                    return;
                }
                if let Some(reach) = fact.what.reach() {
                    let tell = |what: u64| {
                        format!("line {}: {} up to {reach} for {}, which had {what}", fact.line, book.channel(*channel), book.devices.text(device))
                    };
                    if reach < acked {
                        findings.report(Anomaly::ReadYourWrites, || tell(acked));
                    }
                    if reach < seen {
                        findings.report(Anomaly::NonmonotonicRead, || tell(seen));
                    }
                }
                if !items.is_empty() {
                    self.devices.entry((device, channel.0)).or_default().seen.raise(fact.at, fact.what.last());
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self, _: &Book, _: &mut Findings) {}
}
