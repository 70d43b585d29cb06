//! What is seen was sent, before, to that channel, with those bytes, and not by a send that failed for certain.

use super::Property;
use super::book::{Book, ChannelIx, Fact, MessageIx, What};
use super::finding::{Anomaly, Findings};
use super::intern::Map;
use crate::history::Nanos;

#[derive(Default)]
pub(super) struct Origin {
    /// Seen before anybody sent them: judged in the end. One sight each.
    early: Map<u32, Early>,
    /// Seen at all, by message.
    seen: Vec<bool>,
}

struct Early {
    line: u64,
    at: Nanos,
    channel: ChannelIx,
    payload: Option<u64>,
}

impl Origin {
    fn see(&mut self, book: &Book, fact: &Fact<'_>, channel: ChannelIx, message: MessageIx, payload: Option<u64>, findings: &mut Findings) {
        let known = book.message(message);
        if known.is_system {
            return;
        }
        let at = message.0 as usize;
        if self.seen.len() <= at {
            self.seen.resize(book.messages.len(), false);
        }
        self.seen[at] = true;
        match known.channel {
            None => {
                self.early.entry(message.0).or_insert(Early { line: fact.line, at: fact.at, channel, payload });
            }
            Some(sent) if sent != channel => {
                findings.report(Anomaly::CrossChannel, || format!("line {}: {} is seen in {}", fact.line, book.tell(message), book.channel(channel)));
            }
            Some(_) => corrupt(book, fact.line, message, payload, findings),
        }
    }
}

fn corrupt(book: &Book, line: u64, message: MessageIx, payload: Option<u64>, findings: &mut Findings) {
    if let (Some(sent), Some(seen)) = (book.message(message).payload(), payload)
        && sent != seen
    {
        findings.report(Anomaly::CorruptValue, || format!("line {line}: {} has other bytes than were sent", book.tell(message)));
    }
}

impl Property for Origin {
    fn observe(&mut self, book: &Book, fact: &Fact<'_>, findings: &mut Findings) {
        match &fact.what {
            What::Read { channel, items, .. } => {
                for item in *items {
                    self.see(book, fact, *channel, item.message, item.payload, findings);
                }
            }
            What::Received { channel, message, payload, .. } => self.see(book, fact, *channel, *message, *payload, findings),
            _ => {}
        }
    }

    fn finish(&mut self, book: &Book, findings: &mut Findings) {
        let mut early: Vec<_> = self.early.iter().collect();
        early.sort_by_key(|(_, sight)| sight.line);
        for (message, sight) in early {
            let message = MessageIx(*message);
            let known = book.message(message);
            match (known.channel, known.invoked_at) {
                (Some(sent), _) if sent != sight.channel => {
                    findings.report(Anomaly::CrossChannel, || {
                        format!("line {}: {} is seen in {}", sight.line, book.tell(message), book.channel(sight.channel))
                    });
                }
                (Some(_), Some(sent_at)) => {
                    corrupt(book, sight.line, message, sight.payload, findings);
                    if sight.at < sent_at.nanos() {
                        findings.report(Anomaly::FutureRead, || {
                            format!("line {}: {} was sent {} ns later", sight.line, book.name(message), sent_at.nanos() - sight.at)
                        });
                    }
                }
                _ => findings.report(Anomaly::Phantom, || format!("line {}: {} in {}", sight.line, book.name(message), book.channel(sight.channel))),
            }
        }
        for (message, known) in book.all() {
            let is_there = known.acked_at.is_some() || self.seen.get(message.0 as usize).copied().unwrap_or(false);
            let is_failed = known.attempts > 0 && known.fails == known.attempts;
            if is_there && (is_failed || known.is_refused) {
                findings.report(Anomaly::AbortedRead, || book.tell(message));
            }
        }
    }
}
