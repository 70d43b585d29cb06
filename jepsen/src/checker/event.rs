//! A device's stream has no hole and no repeat, also after it resumed. What it jumps over, the device must have read.

use super::Property;
use super::book::{Book, ChannelIx, DeviceIx, Fact, What};
use super::finding::{Anomaly, Findings};
use super::intern::Map;
use super::range::RangeSet;
use crate::history::Outcome;

#[derive(Default)]
pub(super) struct Stream {
    /// By (device, channel).
    streams: Map<(u32, u32), Own>,
}

#[derive(Default)]
struct Own {
    last: u64,
    /// Jumps not yet known to be filled: line, first and last position.
    jumps: Vec<(u64, u64, u64)>,
    read: RangeSet,
}

impl Property for Stream {
    fn observe(&mut self, book: &Book, fact: &Fact<'_>, findings: &mut Findings) {
        match &fact.what {
            What::Received { channel, seen: Some(seq), .. } => {
                let own = self.streams.entry((fact.device.0, channel.0)).or_default();
                if *seq <= own.last {
                    findings.report(Anomaly::NonmonotonicEvent, || {
                        format!(
                            "line {}: {} of {} after {}, for {}",
                            fact.line,
                            seq,
                            book.channel(*channel),
                            own.last,
                            book.devices.text(fact.device.0)
                        )
                    });
                    return;
                }
                if own.last > 0 && *seq > own.last + 1 && !own.read.covers(own.last + 1, seq - 1) {
                    own.jumps.push((fact.line, own.last + 1, seq - 1));
                }
                own.last = *seq;
            }
            // A final read fills nothing: it is the harness that looks, not the device that caught up.
            What::Read { channel, is_final: false, items, withheld, .. } if fact.outcome == Outcome::Ok => {
                let own = self.streams.entry((fact.device.0, channel.0)).or_default();
                let mut run: Option<(u64, u64)> = None;
                for item in *items {
                    match &mut run {
                        Some((_, to)) if item.seq == *to + 1 => *to = item.seq,
                        _ => {
                            if let Some((from, to)) = run {
                                own.read.add(from, to);
                            }
                            run = Some((item.seq, item.seq));
                        }
                    }
                }
                if let Some((from, to)) = run {
                    own.read.add(from, to);
                }
                for range in *withheld {
                    own.read.add(range.from, range.to);
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self, book: &Book, findings: &mut Findings) {
        let mut gaps: Vec<_> = self
            .streams
            .iter()
            .flat_map(|((device, channel), own)| own.jumps.iter().map(move |jump| (*jump, DeviceIx(*device), ChannelIx(*channel), own)))
            .filter(|((_, from, to), _, _, own)| !own.read.covers(*from, *to))
            .map(|(jump, device, channel, _)| (jump, device, channel))
            .collect();
        gaps.sort_unstable();
        for ((line, from, to), device, channel) in gaps {
            findings.report(Anomaly::EventGap, || {
                format!("line {line}: {} of {} lacks {from} to {to}", book.devices.text(device.0), book.channel(channel))
            });
        }
    }
}
