//! What is acked in a channel is posted to its webhook, in the channel's order, at least once; and nothing else is.
//!
//! A channel of these has one webhook, registered before the first message. What comes again is lawful, however late.

use std::collections::{BTreeMap, BTreeSet};

use super::Property;
use super::book::{Book, ChannelIx, Fact, MessageIx, What};
use super::finding::{Anomaly, Findings};

#[derive(Default)]
pub(super) struct Hooks(BTreeMap<ChannelIx, Told>);

#[derive(Default)]
struct Told {
    messages: BTreeSet<MessageIx>,
    last: u64,
    /// When all was there that was to come.
    ended: Option<u64>,
}

impl Property for Hooks {
    fn observe(&mut self, book: &Book, fact: &Fact<'_>, findings: &mut Findings) {
        let What::Hook { channel, told } = fact.what else { return };
        let hook = self.0.entry(channel).or_default();
        let Some((message, seq)) = told else {
            hook.ended = Some(fact.at);
            return;
        };
        if book.message(message).attempts == 0 {
            findings.report(Anomaly::Phantom, || format!("line {}: a webhook was told of {}, which nobody sent", fact.line, book.name(message)));
        }
        if hook.messages.insert(message) && seq < hook.last {
            findings.report(Anomaly::HookBackwards, || {
                format!("line {}: {} at {seq}, for the first time, after one at {}", fact.line, book.name(message), hook.last)
            });
        }
        hook.last = hook.last.max(seq);
    }

    fn finish(&mut self, book: &Book, findings: &mut Findings) {
        for (channel, hook) in &self.0 {
            if hook.ended.is_none() {
                findings.unknown(format!("the webhook of {} was not waited for", book.channel(*channel)));
            }
        }
        for (message, known) in book.all() {
            let Some(Told { messages, ended: Some(ended), .. }) = known.channel.and_then(|channel| self.0.get(&channel)) else { continue };
            if known.acked_at.is_some_and(|at| at.nanos() <= *ended) && !messages.contains(&message) {
                findings.report(Anomaly::HookLost, || book.tell(message));
            }
        }
    }
}
