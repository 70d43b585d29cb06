//! What is said to somebody who is away is pushed to their device, once a minute of one conversation at most; not while it is connected, nor what was read elsewhere.
//!
//! A push that was under way when its device came, or when another one read, is lawful: a provider takes up to [`UNDER_WAY`] to have it. While faults last a server may
//! not know yet that a device came, and each fault may cost one push more: who sends it and dies before that is noted is followed by one who sends it again.
//! What was said before the device left may have reached it there.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Property;
use super::book::{Book, ChannelIx, Fact, UserIx, What};
use super::finding::{Anomaly, Findings};
use crate::history::{Nanos, PushStep};

/// A push may come so long after it was decided.
const UNDER_WAY: Nanos = Duration::from_secs(25).as_nanos() as u64;
/// Of one conversation there is one push in a minute; a little less, since providers do not all take as long.
const EVERY: Nanos = Duration::from_secs(50).as_nanos() as u64;

pub(super) struct Pushes {
    faults: u64,
    /// From when on it is known at once who is connected.
    settled_at: Option<Nanos>,
    of: BTreeMap<(UserIx, ChannelIx), Pushed>,
}

/// Pushes to a user about a conversation.
#[derive(Default)]
struct Pushed {
    /// Whether the device is connected, since when, and with which line that was said.
    here: Option<(bool, Nanos)>,
    /// The highest that was said while it was away, and has to be pushed.
    said: u64,
    /// The highest that was read, and when.
    reads: Vec<(u64, Nanos)>,
    /// The highest that a push named.
    pushed: u64,
    count: u64,
    first: Nanos,
    last: Nanos,
    is_ended: bool,
}

impl Pushes {
    pub(super) fn new(faults: usize, healed_at: Option<Nanos>, within: Duration) -> Self {
        let within = u64::try_from(within.as_nanos()).unwrap_or(u64::MAX);
        Self { faults: faults as u64, settled_at: healed_at.map(|at| at.saturating_add(within)), of: BTreeMap::new() }
    }
}

impl Property for Pushes {
    fn observe(&mut self, book: &Book, fact: &Fact<'_>, findings: &mut Findings) {
        let (What::Push { channel, step }, Some(user)) = (&fact.what, fact.user) else { return };
        let is_settled = self.settled_at.is_none_or(|at| fact.at >= at);
        let pushed = self.of.entry((user, *channel)).or_default();
        match *step {
            PushStep::Here(is_here) => {
                if is_here {
                    // It takes what it has missed over its session.
                    pushed.said = 0;
                }
                if pushed.here.is_none_or(|(was, _)| was != is_here) {
                    pushed.here = Some((is_here, fact.at));
                }
            }
            PushStep::Said(seq) => {
                if pushed.here.is_some_and(|(is_here, _)| !is_here) {
                    pushed.said = pushed.said.max(seq);
                }
            }
            PushStep::Read(seq) => pushed.reads.push((seq, fact.at)),
            PushStep::Came(seq) => {
                let since = self.settled_at.unwrap_or(0);
                if let Some((true, at)) = pushed.here
                    && is_settled
                    && fact.at >= at.max(since).saturating_add(UNDER_WAY)
                {
                    findings
                        .report(Anomaly::PushConnected, || format!("line {}: to {}, who had been connected for long", fact.line, book.user(user)));
                }
                let was_read = pushed.reads.iter().any(|(read, at)| *read >= seq && fact.at >= at.saturating_add(UNDER_WAY));
                if was_read && is_settled {
                    findings.report(Anomaly::PushAfterRead, || format!("line {}: about seq {seq}, to {}", fact.line, book.user(user)));
                }
                if pushed.count == 0 {
                    pushed.first = fact.at;
                }
                (pushed.count, pushed.last, pushed.pushed) = (pushed.count + 1, fact.at, pushed.pushed.max(seq));
            }
            PushStep::End => pushed.is_ended = true,
        }
    }

    fn finish(&mut self, book: &Book, findings: &mut Findings) {
        for ((user, channel), pushed) in &self.of {
            let whose = || format!("to {} about {}", book.user(*user), book.channel(*channel));
            let lawful = 1 + (pushed.last - pushed.first) / EVERY + self.faults;
            if pushed.count > lawful {
                findings.report(Anomaly::PushTooMany, || format!("{}: {} pushes, {lawful} at most", whose(), pushed.count));
            }
            let read = pushed.reads.iter().map(|(seq, _)| *seq).max().unwrap_or(0);
            if !pushed.is_ended {
                if pushed.said > 0 {
                    findings.unknown(format!("pushes {} were not waited for", whose()));
                }
            } else if pushed.said > read && pushed.pushed < pushed.said {
                findings.report(Anomaly::PushLost, || format!("{}: up to seq {} was said, {} pushed", whose(), pushed.said, pushed.pushed));
            }
        }
    }
}
