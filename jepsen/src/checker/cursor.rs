//! A user's read position in a channel is a maximum: it never goes back, keeps what was acked, and is only what somebody set or sent.
//!
//! A plain read must have what its own device set or saw; a linearizable or final one, what any of the user's devices did.

use std::collections::BTreeSet;

use super::Property;
use super::book::{Book, ChannelIx, DeviceIx, Fact, What};
use super::finding::{Anomaly, Findings};
use super::intern::Map;
use super::range::TimedMax;
use crate::history::Outcome;

/// Whose: the user, or the device where the history names no user.
type Owner = (bool, u32);

#[derive(Default)]
pub(super) struct Cursor {
    owners: Map<(Owner, u32), Marks>,
    devices: Map<(u32, u32), Marks>,
    begun: Map<u64, Floor>,
    /// What was ever asked for, own sends included: they move the position too.
    possible: BTreeSet<(Owner, ChannelIx, u64)>,
    /// Read, but set by nobody before: judged in the end, since the ack of an own send may come later.
    strange: Vec<(u64, ChannelIx, u64)>,
}

#[derive(Default)]
struct Marks {
    set: TimedMax,
    got: TimedMax,
}

struct Floor {
    own: (u64, u64),
    any: (u64, u64),
}

impl Marks {
    fn before(&self, at: u64) -> (u64, u64) {
        (self.set.before(at), self.got.before(at))
    }
}

fn owner(fact: &Fact<'_>) -> Owner {
    match fact.user {
        Some(user) => (true, user.0),
        None => (false, fact.device.0),
    }
}

impl Cursor {
    fn marks(&mut self, fact: &Fact<'_>, channel: ChannelIx) -> [&mut Marks; 2] {
        let DeviceIx(device) = fact.device;
        [self.owners.entry((owner(fact), channel.0)).or_default(), self.devices.entry((device, channel.0)).or_default()]
    }
}

impl Property for Cursor {
    fn observe(&mut self, book: &Book, fact: &Fact<'_>, findings: &mut Findings) {
        if let (What::Unread { channel, counts: Some((shown, counted)) }, Outcome::Ok) = (&fact.what, fact.outcome)
            && shown != counted
        {
            findings
                .report(Anomaly::UnreadWrong, || format!("line {}: {shown} unread in {}, {counted} are there", fact.line, book.channel(*channel)));
        }
        match &fact.what {
            What::CursorSet { channel, position } => match fact.outcome {
                Outcome::Invoke => {
                    self.possible.insert((owner(fact), *channel, *position));
                }
                Outcome::Ok => self.marks(fact, *channel).into_iter().for_each(|marks| marks.set.raise(fact.at, *position)),
                _ => {}
            },
            What::CursorGet { channel, .. } if fact.outcome == Outcome::Invoke => {
                let [any, own] = self.marks(fact, *channel).map(|marks| marks.before(fact.at));
                self.begun.insert(fact.op, Floor { own, any });
            }
            What::CursorGet { channel, position, is_linearizable, is_final } => {
                let floor = self.begun.remove(&fact.op);
                let (Outcome::Ok, Some(floor), Some(position)) = (fact.outcome, floor, *position) else { return };
                let (set, got) = if *is_linearizable || *is_final { floor.any } else { floor.own };
                let tell = |what: &str| format!("line {}: position {position} of {}, {what}", fact.line, book.channel(*channel));
                if position < got {
                    findings.report(Anomaly::CursorBackwards, || tell(&format!("after {got} was read")));
                } else if position < set {
                    findings.report(Anomaly::CursorLost, || tell(&format!("after {set} was acked")));
                }
                if position > 0 && !self.possible.contains(&(owner(fact), *channel, position)) {
                    self.strange.push((fact.line, *channel, position));
                }
                self.marks(fact, *channel).into_iter().for_each(|marks| marks.got.raise(fact.at, position));
            }
            _ => {}
        }
    }

    fn finish(&mut self, book: &Book, findings: &mut Findings) {
        for (line, channel, position) in &self.strange {
            let is_sent =
                book.slot(*channel, *position).is_some_and(|message| !book.message(message).is_system && book.message(message).attempts > 0);
            if !is_sent {
                findings
                    .report(Anomaly::CursorPhantom, || format!("line {line}: position {position} of {}, which nobody set", book.channel(*channel)));
            }
        }
    }
}
