//! Order across messages: real time, a device's own numbers, and what two readers saw.

use std::collections::BTreeMap;

use super::Property;
use super::book::{Book, ChannelIx, DeviceIx, Fact, MessageIx, What};
use super::finding::{Anomaly, Findings};
use super::intern::Map;
use super::range::TimedMax;
use crate::history::Outcome;

#[derive(Default)]
pub(super) struct Order {
    /// By channel: the highest position that was acked or seen.
    known: Map<u32, TimedMax>,
    /// By message: what was acked or seen when it was first sent.
    floors: Vec<u64>,
    /// Numbered sends of a device to a channel.
    numbered: BTreeMap<(DeviceIx, ChannelIx), Vec<(u64, MessageIx)>>,
    /// The last delivery without a position on a device's stream, and who followed whom.
    last: Map<(u32, u32), u32>,
    follows: Vec<(u32, u32)>,
}

impl Order {
    fn note_number(&mut self, fact: &Fact<'_>, channel: ChannelIx, message: MessageIx, number: Option<u64>) {
        if let Some(number) = number {
            self.numbered.entry((fact.device, channel)).or_default().push((number, message));
        }
    }

    fn raise(&mut self, channel: ChannelIx, at: u64, seq: u64) {
        self.known.entry(channel.0).or_default().raise(at, seq);
    }
}

impl Property for Order {
    fn observe(&mut self, book: &Book, fact: &Fact<'_>, findings: &mut Findings) {
        match &fact.what {
            What::Send { channel, message, client_seq, is_first: true, .. } if fact.outcome == Outcome::Invoke => {
                let floor = self.known.get(&channel.0).map_or(0, |known| known.before(fact.at));
                if self.floors.len() <= message.0 as usize {
                    self.floors.resize(message.0 as usize + 1, 0);
                }
                self.floors[message.0 as usize] = floor;
                self.note_number(fact, *channel, *message, *client_seq);
            }
            What::Send { channel, message, seq: Some(seq), client_seq, .. } if fact.outcome == Outcome::Ok => {
                // The SDK tells the number once it has given one.
                self.note_number(fact, *channel, *message, *client_seq);
                self.raise(*channel, fact.at, *seq);
            }
            What::Read { channel, items, .. } if !items.is_empty() => {
                let place =
                    |message: MessageIx| Some(book.message(message)).filter(|known| known.channel == Some(*channel)).and_then(|known| known.place);
                for pair in items.windows(2).filter(|pair| pair[0].seq < pair[1].seq) {
                    if let (Some(a), Some(b)) = (place(pair[0].message), place(pair[1].message))
                        && a > b
                    {
                        findings.report(Anomaly::OrderDisagreement, || {
                            format!("line {}: {} before {}, elsewhere after it", fact.line, book.name(pair[0].message), book.name(pair[1].message))
                        });
                    }
                }
                self.raise(*channel, fact.at, fact.what.last());
            }
            What::Received { channel, seen: Some(seq), .. } => self.raise(*channel, fact.at, *seq),
            What::Received { channel, seen: None, message, .. } => {
                if let Some(before) = self.last.insert((fact.device.0, channel.0), message.0)
                    && before != message.0
                {
                    self.follows.push((before, message.0));
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self, book: &Book, findings: &mut Findings) {
        for (message, known) in book.all() {
            let floor = self.floors.get(message.0 as usize).copied().unwrap_or(0);
            if let Some(place) = known.place.filter(|place| place.get() < floor) {
                findings.report(Anomaly::RealtimeOrder, || format!("{} was sent when {floor} was known, and stands at {place}", book.tell(message)));
            }
        }
        for sends in self.numbered.values_mut() {
            sends.sort_unstable();
            sends.dedup();
            let placed: Vec<_> = sends.iter().filter_map(|(number, message)| Some((*number, *message, book.message(*message).place?))).collect();
            for pair in placed.windows(2).filter(|pair| pair[1].2 < pair[0].2) {
                findings.report(Anomaly::DeviceOrder, || {
                    format!(
                        "number {} of a device stands at {}, its number {} at {}: {}",
                        pair[0].0,
                        pair[0].2,
                        pair[1].0,
                        pair[1].2,
                        book.tell(pair[1].1)
                    )
                });
            }
        }
        for (before, after) in cycle(&mut self.follows) {
            findings.report(Anomaly::OrderDisagreement, || {
                format!("{} before {} for one device, after it for another", book.name(MessageIx(before)), book.name(MessageIx(after)))
            });
        }
    }
}

/// The pairs that are left when everything that nothing precedes has been taken away, again and again: each lies on a cycle or behind one. Those behind are taken away from the other end.
fn cycle(follows: &mut Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    for _ in 0..2 {
        follows.sort_unstable();
        follows.dedup();
        let mut before: Map<u32, u32> = Map::default();
        for (_, after) in follows.iter() {
            *before.entry(*after).or_default() += 1;
        }
        let mut free: Vec<u32> = follows.iter().map(|(from, _)| *from).filter(|from| !before.contains_key(from)).collect();
        free.dedup();
        let mut gone: Map<u32, ()> = Map::default();
        while let Some(one) = free.pop() {
            if gone.insert(one, ()).is_some() {
                continue;
            }
            let start = follows.partition_point(|(from, _)| *from < one);
            for (_, after) in follows[start..].iter().take_while(|(from, _)| *from == one) {
                if let Some(count) = before.get_mut(after) {
                    *count -= 1;
                    if *count == 0 {
                        free.push(*after);
                    }
                }
            }
        }
        follows.retain(|(from, after)| !gone.contains_key(from) && !gone.contains_key(after));
        for pair in follows.iter_mut() {
            *pair = (pair.1, pair.0);
        }
    }
    follows.clone()
}
